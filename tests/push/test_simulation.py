"""The cars of a simulation, as listeners are told of them."""

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.stations import Stations
from evcharge.process.virtual_clock import VirtualClock
from evcharge.push.hub import Hub
from evcharge.push.simulation import MOST_VEHICLES, Course, Simulation
from tests.support.ears import Ear, begin, wishes

SPEED = 60.0

HERE, THERE = (-12.25, -38.95), (-12.23, -38.91)


def course(
    begin: float,
    lasts_s: float,
    place: tuple[float, float] = HERE,
    to_place: tuple[float, float] = THERE,
    state: str = "driving",
    percent: tuple[float, float] = (40.0, 30.0),
) -> Course:
    return Course(state, place, to_place, begin, begin + lasts_s, *percent)


class Reader:
    """Knows what snapshot and events have told it, as a map does."""

    def __init__(self, simulation: Simulation, ear: Ear) -> None:
        self.ear = ear
        self.cars = dict(simulation.vehicles())

    def read(self) -> None:
        for line in self.ear.take():
            self.cars.update(line.get("vehicles", {}))
            for key in line.get("vehicles_gone", ()):
                self.cars.pop(key, None)


class SimulationTests(SynchronousTestCase):
    """What is told."""

    def setUp(self) -> None:
        self.clock = VirtualClock(1000.0)
        self.hub = Hub(
            lambda operation: Stations(),  # type: ignore[arg-type, return-value]
            self.clock, 0.1, lambda user_id: {},
        )  # fmt: skip
        self.simulation = Simulation(self.clock, self.now, SPEED, 7)
        self.hub.simulate(self.simulation)

    def now(self) -> float:
        return 1.7e9 + (self.clock.seconds() - 1000.0) * SPEED

    def come(self, lasts_s: float = 600.0, **how: Any) -> str:
        key = self.simulation.come(course(self.now(), lasts_s, **how))
        assert key is not None
        return key

    def ear(self, *topics: str, interval_s: float = 0.1) -> Ear:
        ear = Ear(self.clock)  # type: ignore[arg-type]
        begin(self.hub, ear, wishes(*(topics or ["vehicles"]), interval_s=interval_s))
        return ear

    def test_straight_line(self) -> None:
        """A car is on the straight line between its two places, by the clock, and then stands."""
        ear, key = self.ear(), self.come(600.0)
        self.clock.advance(5)
        car = ear.take()[-1]["vehicles"][key]
        # The line is made a tenth of a second after it was looked.
        part = (5 - 0.1) / 10
        self.assertEqual(car["state"], "driving")
        self.assertAlmostEqual(car["latitude"], -12.25 + 0.02 * part, places=3)
        self.assertAlmostEqual(car["longitude"], -38.95 + 0.04 * part, places=3)
        self.assertAlmostEqual(car["battery_percent"], 40 - 10 * part, delta=0.3)
        self.clock.advance(20)
        self.assertEqual(
            ear.take()[-1]["vehicles"][key],
            {"latitude": THERE[0], "longitude": THERE[1], "battery_percent": 30.0,
             "state": "driving"},
        )  # fmt: skip

    def test_listened_before(self) -> None:
        """Who listens before there is a simulation is told of it when there is."""
        self.hub.simulation = None
        ear = self.ear("vehicles", "simulation")
        self.hub.simulate(Simulation(self.clock, self.now, SPEED, 8))
        self.hub.simulation.come(course(self.now(), 600.0))
        self.clock.advance(2)
        told = {key: value for line in ear.take() for key, value in line.items()}
        self.assertEqual((list(told["vehicles"]), told["simulation"]["seed"]), (["sim-1"], 8))

    def test_stands_exactly_there(self) -> None:
        """A car that charges is told where its station is, to the last digit, and its battery."""
        place = (-12.2551234567, -38.9651234567)
        key = self.come(600, place=place, to_place=place, state="charging", percent=(20.0, 80.0))
        self.clock.advance(5)
        (car,) = self.simulation.vehicles().values()
        self.assertEqual((car["latitude"], car["longitude"]), place)
        self.assertAlmostEqual(car["battery_percent"], 50.0)
        self.assertEqual(key, "sim-1")

    def test_five_a_second(self) -> None:
        """However short the interval, a car is told of five times a second at most."""
        ear, key = self.ear(), self.come(6000.0)
        for number in range(1000):
            percent = number / 100, number / 100
            self.simulation.moved(key, course(self.now(), 0.0, percent=percent))
            self.clock.advance(0.01)
        self.assertGreater(len(ear.at), 45)
        self.assertLessEqual(len(ear.at), 50)
        self.assertGreaterEqual(min(b - a for a, b in pairwise(ear.at)), 0.2 - 1e-6)

    def test_only_those_that_moved(self) -> None:
        """A car that stands with a full battery is told once, one that drives each time."""
        ear = self.ear()
        stands = self.come(0.0, place=HERE, to_place=HERE, state="waiting", percent=(9.0, 9.0))
        drives = self.come(6000.0)
        self.clock.advance(3)
        told = Counter(key for line in ear.take() for key in line["vehicles"])
        self.assertEqual(told[stands], 1)
        self.assertGreater(told[drives], 10)

    def test_gone(self) -> None:
        """Of a car that is gone its id is told, and no other car has that for a minute."""
        ear, key = self.ear(), self.come(600.0)
        self.clock.advance(1)
        ear.take()
        self.simulation.gone(key)
        self.clock.advance(1)
        self.assertEqual(
            [line for line in ear.take() if line], [{"vehicles": {}, "vehicles_gone": [key]}]
        )
        self.assertNotEqual(self.come(), key)
        self.clock.advance(60)
        self.assertEqual(self.come(), key)

    def test_clock(self) -> None:
        """What time it is in the simulation is told once a second."""
        ear = self.ear("simulation")
        self.clock.advance(10)
        lines = ear.take()
        self.assertIn(len(lines), (9, 10))
        self.assertEqual(lines[0].keys(), {"simulation"})
        self.assertEqual((lines[0]["simulation"]["speed"], lines[0]["simulation"]["seed"]), (60, 7))
        self.assertEqual(lines[-1]["simulation"]["timestamp"][:16], "2023-11-14T22:22")

    def test_nobody_listens(self) -> None:
        """Without a listener, and after the last one, there is no timer."""
        self.come()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        ear = Ear(self.clock)  # type: ignore[arg-type]
        subscription = begin(self.hub, ear, wishes("vehicles"))
        other = begin(self.hub, ear, wishes("figures"))
        self.clock.advance(1)
        subscription.end()
        ear.take()
        self.clock.advance(10)
        self.assertEqual(ear.take(), [])
        other.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_listened_to(self) -> None:
        """Who listens to stations alone hears of no car."""
        ear = self.ear("stations")
        self.ear("vehicles")
        self.come()
        self.clock.advance(5)
        self.assertEqual(ear.take(), [])

    def test_end(self) -> None:
        """When it is over all cars are gone, and the clock is none; and then nothing is told."""
        ear = self.ear("vehicles", "simulation")
        keys = [self.come(), self.come()]
        self.clock.advance(2)
        ear.take()
        self.simulation.end()
        self.clock.advance(0.2)
        (line,) = ear.take()
        self.assertEqual(line, {"vehicles": {}, "vehicles_gone": keys, "simulation": None})
        self.clock.advance(10)
        self.assertEqual(ear.take(), [])
        self.assertIsNone(self.simulation.clock())

    def test_most(self) -> None:
        """So many cars are shown, and no more until some are gone."""
        for _ in range(MOST_VEHICLES):
            self.come()
        more = course(self.now(), 60)
        self.assertIsNone(self.simulation.come(more))
        self.simulation.gone("sim-5")
        self.clock.advance(62)
        self.assertEqual(self.simulation.come(more), "sim-5")

    def test_bounded(self) -> None:
        """For one who never reads two changes are kept, and ids go by how many cars there are."""
        ear = self.ear("vehicles", "simulation")
        ear.can_hear = False
        for _ in range(3000):
            key = self.come(30.0)
            self.clock.advance(0.3)
            self.simulation.gone(key)
        (subscription,) = self.hub._owing
        self.assertEqual(len(subscription.owed), 2)
        self.assertEqual(len(self.hub._queue), 0)
        # A minute of them.
        self.assertLess(len(self.simulation._vehicles), 61 / 0.3 + 5)

    def test_missed(self) -> None:
        """Who could not hear is told of each car that has moved meanwhile, not of the last ones."""
        first, second = self.come(0.0), self.come(0.0)
        ear = self.ear()
        ear.can_hear = False
        for key in (first, second):
            self.simulation.moved(key, course(self.now(), 0.0, THERE, HERE))
            self.clock.advance(1)
        ear.can_hear = True
        self.clock.advance(1)
        (line,) = ear.take()
        self.assertEqual(line["vehicles"], self.simulation.vehicles())

    STEPS = st.lists(
        st.tuples(
            st.sampled_from(["come", "move", "gone", "pass", "deaf", "hear"]),
            st.integers(0, 9),
            st.floats(0.0, 3.0),
        ),
        max_size=80,
    )

    @given(steps=STEPS, interval_s=st.sampled_from([0.1, 0.5, 2.0]))
    def test_state(self, steps: list[tuple[str, int, float]], interval_s: float) -> None:
        """Snapshot and events are where the cars are, however slowly one reads."""
        self.setUp()
        keys: list[str] = [self.come(300.0)]
        self.clock.advance(0.05)
        reader = Reader(self.simulation, self.ear(interval_s=interval_s))
        for step, number, passes_s in steps:
            if step == "come":
                keys.append(self.come(passes_s * 100))
            elif step == "deaf" or step == "hear":
                reader.ear.can_hear = step == "hear"
            elif keys and step == "move":
                key = keys[number % len(keys)]
                self.simulation.moved(key, course(self.now(), passes_s * 100, THERE, HERE))
            elif keys and step == "gone":
                self.simulation.gone(keys.pop(number % len(keys)))
            self.clock.advance(passes_s)
            reader.read()
        reader.ear.can_hear = True
        self.clock.advance(20)
        reader.read()
        self.assertEqual(reader.cars, self.simulation.vehicles())
        self.assertEqual(reader.cars.keys(), set(keys))
