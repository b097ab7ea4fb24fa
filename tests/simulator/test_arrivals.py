"""Who comes when: the hours of local days, of which clocks show some twice, and others not."""

from datetime import datetime, timezone

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.arrivals import Hour, hours, people
from evcharge.simulator.parts import Demand
from evcharge.simulator.scenario import Scenario
from evcharge.simulator.world import run
from tests.support.simulations import one_station


def on(day: datetime, days: int = 1) -> Scenario:
    """In New York, where clocks go forward on 8 March 2026, and back on 1 November."""
    scenario = one_station(40, 10.0, days=days)
    return attrs.evolve(scenario, start=day, time_zone="America/New_York")


class HourTests(SynchronousTestCase):
    """The hours of a day."""

    def hours(self, scenario: Scenario) -> list[Hour]:
        """All of them, each an hour after the one before."""
        found = list(hours(scenario))
        begins = [hour.begin for hour in found]
        self.assertEqual(begins, [scenario.begin + 3600.0 * n for n in range(len(found))])
        self.assertEqual(begins[-1] + 3600.0, scenario.end)
        return found

    def test_plain(self) -> None:
        """A day has 24, as clocks show them, and begins at its own midnight."""
        found = self.hours(on(datetime(2026, 3, 2)))
        self.assertEqual([hour.local for hour in found], [*range(24)])
        self.assertEqual([hour.number for hour in found], [*range(24)])
        begin = datetime.fromtimestamp(found[0].begin, timezone.utc)
        self.assertEqual(begin.isoformat(), "2026-03-02T05:00:00+00:00")

    def test_short(self) -> None:
        """A day of 23 hours has none at two."""
        found = self.hours(on(datetime(2026, 3, 8)))
        self.assertEqual([hour.local for hour in found], [0, 1, *range(3, 24)])
        self.assertEqual([hour.number for hour in found], [*range(23)])

    def test_long(self) -> None:
        """A day of 25 hours has two at one, which are two hours, each with people of its own."""
        scenario = on(datetime(2026, 11, 1))
        found = self.hours(scenario)
        self.assertEqual([hour.local for hour in found], [0, 1, *range(1, 24)])
        self.assertEqual([hour.number for hour in found], [*range(25)])
        first, second = (
            people(scenario, scenario.demand.zones, hour, 0, ["Car"]) for hour in found[1:3]
        )
        self.assertTrue(first and second)
        self.assertFalse({p.identity for p in first} & {p.identity for p in second})
        self.assertGreaterEqual(second[0].born, found[2].begin)

    def test_days_after(self) -> None:
        """The days after it begin at their own midnights again."""
        found = self.hours(on(datetime(2026, 3, 7), days=3))
        self.assertEqual(len(found), 71)
        self.assertEqual([hour.begin for hour in found if hour.number == 0], [
            on(datetime(2026, 3, day)).begin for day in (7, 8, 9)
        ])  # fmt: skip
        self.assertEqual(found[-1].day, 2)

    def test_within_a_day(self) -> None:
        """Who begins within a day has the rest of it, and of the last day the first part."""
        found = list(hours(on(datetime(2026, 3, 2, 17, 30))))
        self.assertEqual([hour.local for hour in found], [*range(17, 24), *range(18)])
        self.assertEqual({hour.day for hour in found}, {0, 1})


class DayTests(SynchronousTestCase):
    """A run over such a day."""

    def test_run(self) -> None:
        """It has figures for each of its hours, and people by what clocks show."""
        for day, length in ((datetime(2026, 3, 8), 23), (datetime(2026, 11, 1), 25)):
            scenario = on(day)
            by_hour = tuple(1.0 if hour == 1 else 0.0 for hour in range(24))
            demand = Demand(240.0, by_hour=by_hour, zones=scenario.demand.zones)
            found = run(attrs.evolve(scenario, demand=demand), 0)
            born = found.hours["network"]["born"]
            self.assertEqual(len(born), length)
            self.assertEqual([n for n, number in enumerate(born) if number], [1, 2][: length - 22])
