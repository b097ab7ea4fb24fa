"""Simulated time on a reactor's, who comes by it, and how late that is."""

from datetime import datetime
from itertools import islice

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.virtual_clock import VirtualClock
from evcharge.simulator.arrivals import hours, people
from evcharge.simulator.pace import Arrivals, Lateness, Pace, hours_of
from tests.support.simulations import one_station

HOUR_S = 3600.0


class Machine(VirtualClock):
    """A clock whose seconds go on while nothing is called."""

    asleep_s = 0.0

    def seconds(self) -> float:
        return super().seconds() + self.asleep_s


class PaceTest(SynchronousTestCase):
    """Between the simulated time and the reactor's."""

    @given(
        speed=st.floats(1, 600),
        delays=st.lists(st.floats(0, 1e6), min_size=1, max_size=20),
    )
    def test_calls_come_at_their_simulated_instants(self, speed: float, delays: list) -> None:
        """Each call comes when it is that late by simulated time, whatever the speed."""
        clock, begin = VirtualClock(5.0e8), 1.7e9
        pace, came = Pace(clock, begin, speed), []
        due = sorted(begin + delay for delay in delays)
        for at in due[::-1]:
            pace.call_at(at, lambda at: came.append((at, pace.seconds())), at)
        clock.advance(max(delays) / speed + 1)
        self.assertEqual(due, sorted(at for at, _ in came))
        for instant, at in came:
            self.assertAlmostEqual(instant, at, places=2)

    def test_what_is_over_comes_at_once(self) -> None:
        """A call for an instant in the past is made now."""
        clock = VirtualClock()
        pace, came = Pace(clock, 1000.0, 60.0), []
        pace.call_at(0.0, came.append, 1)
        clock.advance(0)
        self.assertEqual([1], came)

    def test_replies_instants_become_simulated_ones(self) -> None:
        """What is a minute away by the server's clock is an hour away at 60 x."""
        clock = VirtualClock(100.0)
        pace = Pace(clock, 1.7e9, 60.0, wall=lambda: clock.seconds() + 5000.0)
        clock.advance(10)
        self.assertAlmostEqual(1.7e9 + 600 + HOUR_S, pace.to_simulated(clock.seconds() + 5060.0))

    def test_each_minute_is_told_how_late_things_were(self) -> None:
        """Median and 99th percentile are those of the last minute, in simulated seconds."""
        clock = VirtualClock()
        pace, told = Pace(clock, 0.0, 60.0), []
        pace.tell(told.append)
        for late_s in range(1, 101):
            pace.done(pace.seconds() - late_s)
        clock.advance(60)
        self.assertEqual(Lateness(100, 50.0, 99.0), attrs.evolve(told[0], median_s=50.0))
        self.assertAlmostEqual(50.0, told[0].median_s)
        self.assertTrue(told[0].is_too_much)
        clock.advance(60)
        self.assertEqual([Lateness(0, 0.0, 0.0)], told[1:])
        pace.stop()
        self.assertEqual([], clock.getDelayedCalls())


class ArrivalsTest(SynchronousTestCase):
    """Who comes, and when."""

    def begin(self, scenario, speed=60.0, **how):
        self.clock = Machine()
        self.pace = Pace(self.clock, scenario.begin, speed)
        self.came, self.ended = [], []
        come = lambda person: self.came.append((person, self.pace.seconds()))  # noqa: E731
        over = lambda: self.ended.append(self.pace.seconds())  # noqa: E731
        arrivals = Arrivals(self.pace, scenario, scenario.demand.zones, [], come, over, **how)
        arrivals.start()
        return arrivals

    def test_those_come_who_come_in_a_run(self) -> None:
        """The same people as in replication 0, each when born, and then it is over."""
        scenario = attrs.evolve(one_station(1, 12.0, days=1), fleet=(("Car", 1.0),))
        self.begin(scenario)
        self.clock.advance(24 * 60 + 1)
        zones = scenario.demand.zones
        wanted = [p for hour in hours(scenario) for p in people(scenario, zones, hour, 0, [])]
        self.assertEqual(
            [person.identity for person in wanted], [person.identity for person, _ in self.came]
        )
        self.assertTrue(all(abs(person.born - at) < 1e-3 for person, at in self.came))
        self.assertEqual(1, len(self.ended))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_for_ever_goes_on_after_the_last_day(self) -> None:
        """Days after the scenario's only one have people too, and one call is kept at a time."""
        scenario = attrs.evolve(one_station(1, 12.0, days=1), fleet=(("Car", 1.0),))
        arrivals = self.begin(scenario, 600.0, for_ever=True)
        self.clock.advance(20 * 144)
        days = {person.day for person, _ in self.came}
        self.assertEqual(set(range(20)), days - {20})
        self.assertEqual([], self.ended)
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        arrivals.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_for_ever_grows_no_further(self) -> None:
        """After the scenario's end the demand is what it has become by then."""
        scenario = one_station(1, 10.0, days=365)
        demand = attrs.evolve(scenario.demand, growth_per_year=1.0)
        scenario = attrs.evolve(scenario, demand=demand, start=datetime(2026, 3, 2))
        late = islice(hours_of(scenario, True), 365 * 24 * 3, None, 1000)
        means = {round(s.demand.mean(0, 0, s.years(hour.begin)), 1) for s, hour in islice(late, 20)}
        self.assertEqual({20.0}, means)

    def test_who_is_too_late_does_not_come(self) -> None:
        """A machine that slept for a day is told so, and only the last hours' people come."""
        scenario = attrs.evolve(one_station(1, 12.0, days=10), fleet=(("Car", 1.0),))
        arrivals = self.begin(scenario, missed=lambda hours: missed.append(hours))
        missed: list[int] = []
        self.clock.advance(30)
        before = len(self.came)
        self.clock.asleep_s = 5 * 24 * 60
        self.clock.advance(60)
        self.assertEqual(1, len(missed))
        self.assertIn(missed[0], range(5 * 24 - 4, 5 * 24))
        # The present hour's are there already.
        old = [p for p, _ in self.came[before:] if p.day < 4 and (p.day, p.hour) != (0, 0)]
        self.assertEqual([], old)
        self.assertNotEqual([], [p for p, _ in self.came[before:] if p.day == 5])
        arrivals.stop()
