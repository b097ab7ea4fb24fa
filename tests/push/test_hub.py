"""The hub: what listeners are told, when, and at which price."""

import random
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.slots import SlotTable, StationState
from evcharge.models.stations import Stations
from evcharge.push import Area, Wishes
from evcharge.push.hub import LOOK_S, Hub
from evcharge.storage.group_commit import Unavailable
from tests.support.ears import Ear, begin, shown, wishes
from tests.support.journey import station


class SlowClock(Clock):
    """A clock that goes on, by so much, whenever somebody looks, and counts its calls."""

    step = 0.0
    turns = 0

    def callLater(self, when: float, what: Any, *args: Any, **more: Any) -> Any:
        def turn() -> None:
            self.turns += 1
            what(*args, **more)

        return super().callLater(when, turn)

    def seconds(self) -> float:
        self.rightNow += self.step
        return self.rightNow


class HubTestCase(SynchronousTestCase):
    """Has a hub and some stations, whose slots a test sets."""

    def setUp(self) -> None:
        self.clock: Any = SlowClock()
        self.stations = self.network(1, 2, 3)
        self.sent: list[float | None] = []
        self.merged = 0
        self.points: list[dict[str, Any]] = []
        self.hub = Hub(
            lambda operation: self.stations,  # type: ignore[arg-type, return-value]
            self.clock, 0.1, self.find, self.points,
            lambda form, lag_s: self.sent.append(lag_s), self.count,
        )  # fmt: skip
        self.hub.see(self.stations)

    def count(self, lines: int) -> None:
        self.merged += lines

    def find(self, user_id: str) -> Any:
        """How a user's journey stands."""
        raise NotImplementedError

    def network(self, *ids: int) -> Stations:
        return Stations(StationState.of(station(i, 9), SlotTable(i, 9)) for i in ids)

    def set(self, number: int, slots: int) -> None:
        """A station has so many slots now, and this process has done that."""
        self.put(number, slots)
        self.hub.happened([], self.clock.seconds())

    def put(self, number: int, slots: int) -> None:
        self.stations.put(StationState.of(station(number, slots), SlotTable(number, slots)))

    def ear(self, *topics: str, **more: Any) -> Ear:
        ear = Ear(self.clock)
        ear.subscription = begin(self.hub, ear, wishes(*topics, **more))  # type: ignore[attr-defined]
        return ear

    def slots(self, ear: Ear) -> list[dict[str, int]]:
        """What an ear has heard of the slots, line by line."""
        return [
            {key: fields["available_slots"] for key, fields in line.get("stations", {}).items()}
            for line in ear.take()
        ]


class TellingTests(HubTestCase):
    """Changes become lines."""

    def test_change(self) -> None:
        """A change is told after the interval, with all that changes of a station."""
        ear = self.ear()
        self.set(1, 8)
        self.clock.advance(0.099)
        self.assertEqual(ear.take(), [])
        self.clock.advance(0.001)
        fields = {"available_slots": 8, "max_slots": 8, "out_of_service": 0}
        self.assertEqual(
            ear.take(), [{"stations": {"1": {**fields, "queue_length": 0, "state": "in_service"}}}]
        )

    def test_coalescing(self) -> None:
        """What changes many times within an interval is told once, as it is in the end."""
        ear = self.ear()
        for slots in range(1, 8):
            self.set(1, slots)
            self.set(2, slots)
        self.clock.advance(0.1)
        self.assertEqual(self.slots(ear), [{"1": 7, "2": 7}])
        self.assertEqual(self.merged, 12)
        self.clock.pump([0.1] * 20)
        self.assertEqual(ear.take(), [])

    def test_interval(self) -> None:
        """However often something changes, there is a line an interval."""
        ears = {interval: self.ear(interval_s=interval) for interval in (0.1, 0.25, 1.0)}
        for number in range(400):
            self.set(1, number % 9)
            self.clock.advance(0.01)
        for interval, ear in ears.items():
            pauses = [b - a for a, b in pairwise(ear.at)]
            self.assertGreaterEqual(min(pauses), interval - 1e-5)
            self.assertGreaterEqual(len(ear.at), int(4 / (interval + 0.11)))

    def test_one_writing(self) -> None:
        """A line is made and written once for all who wish for the same."""
        written = []

        def form(data: object) -> bytes:
            written.append(data)
            return b"{}"

        ears = [self.ear() for _ in range(5)]
        for ear in ears:
            ear.form = form
        self.set(1, 3)
        self.clock.advance(0.1)
        self.assertEqual(([len(ear.heard) for ear in ears], len(written)), ([1] * 5, 1))

    def test_filters(self) -> None:
        """Who wishes for some stations, or an area, hears of those alone."""
        some = self.ear(stations=frozenset({"1", "9"}))
        west, east = station(1).longitude, station(2).longitude
        area = self.ear(area=Area(-90, west - 0.001, 90, east - 0.001))
        none = self.ear("figures")
        for number in (1, 2, 3):
            self.set(number, 4)
        self.clock.advance(0.1)
        self.assertEqual(self.slots(some), [{"1": 4}])
        self.assertEqual(self.slots(area), [{"1": 4}])
        self.assertEqual(none.take(), [])

    def test_figures(self) -> None:
        """New figures are told; with what else has changed, in one line."""
        ear = self.ear("stations", "figures")
        self.points.append({"slots": 27})
        self.hub.new_point()
        self.set(2, 5)
        self.clock.advance(0.1)
        (line,) = ear.take()
        self.assertEqual((line["figures"], line["stations"].keys()), ({"slots": 27}, {"2"}))

    def test_quiet(self) -> None:
        """After half a minute without a change a line says so, with nothing but its number."""
        ear = self.ear()
        self.clock.pump([0.5] * 59)
        self.assertEqual(ear.heard, [])
        self.clock.pump([0.5] * 3)
        (line,) = ear.heard
        self.assertEqual(line.keys(), {"seq"})
        self.clock.pump([0.5] * 60)
        self.assertEqual(len(ear.heard), 2)

    def test_numbers(self) -> None:
        """The numbers of lines grow."""
        ears = [self.ear(), self.ear(stations=frozenset({"1"}))]
        for number in range(50):
            self.set(1, number % 7)
            self.clock.advance(0.1)
        for ear in ears:
            numbers = [line["seq"] for line in ear.heard]
            self.assertGreater(len(numbers), 40)
            self.assertEqual(numbers, sorted(set(numbers)))

    def test_failing_listener(self) -> None:
        """One who cannot be told keeps nobody else from it, and is told nothing more."""
        broken, ear = self.ear(), self.ear()
        broken.hear = lambda event: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        self.set(1, 3)
        self.clock.advance(0.1)
        self.assertEqual(self.slots(ear), [{"1": 3}])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.hub.subscribers, 1)


class SlowTests(HubTestCase):
    """Who does not read."""

    def test_merged(self) -> None:
        """One who could not hear is told by one line how it is, as soon as it can."""
        ear, other = self.ear(), self.ear()
        ear.can_hear = False
        for number in range(1, 9):
            self.set(1, number)
            if number < 4:
                self.set(2, number)
            self.clock.advance(0.1)
        self.assertEqual(len(other.heard), 8)
        self.set(3, 2)
        ear.can_hear = True
        self.clock.advance(0.1)
        self.assertEqual(self.slots(ear), [{"1": 8, "2": 3, "3": 2}])
        self.set(3, 1)
        self.clock.advance(0.1)
        self.assertEqual(self.slots(ear), [{"3": 1}])

    def test_bounded(self) -> None:
        """What is kept for one who never reads goes by the stations, not by the time."""
        ear = self.ear()
        ear.can_hear = False
        sizes = set()
        for number in range(1000):
            self.set(1 + number % 3, number % 9)
            self.clock.advance(0.1)
            if number > 5:
                sizes.add(len(ear.subscription.owed))  # type: ignore[attr-defined]
        self.assertEqual(sizes, {3})
        self.assertEqual(len(self.hub._queue), 0)

    def test_interval(self) -> None:
        """Whoever hears now and then is told no more often than it wishes."""
        ear, other = self.ear(interval_s=0.3), self.ear()
        draw = random.Random(7)
        for number in range(2000):
            ear.can_hear = draw.random() < 0.3
            self.set(1, number % 9)
            self.clock.advance(0.01)
        pauses = [b - a for a, b in pairwise(ear.at)]
        self.assertGreaterEqual(min(pauses), 0.3 - 1e-5)
        self.assertGreater(len(other.at), 150)

    def test_lag(self) -> None:
        """The lag of those who read is from when it was durable; others count for none."""
        self.ear()
        deaf = self.ear()
        deaf.can_hear = False
        self.put(1, 3)
        self.clock.advance(0.02)
        self.hub.happened([], self.clock.seconds() - 0.02)
        self.clock.advance(0.1)
        deaf.can_hear = True
        self.clock.advance(0.1)
        (first, second) = self.sent
        self.assertAlmostEqual(first or 0, 0.12)
        self.assertIsNone(second)

    @given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.booleans()), max_size=60))
    def test_state(self, steps: list[tuple[int, int, bool]]) -> None:
        """Snapshot and events are the state, whatever changes and whenever one reads."""
        self.setUp()
        known = shown(self.stations)
        ear = self.ear()
        for number, slots, hears in steps:
            ear.can_hear = hears
            self.set(number, slots)
            self.clock.advance(0.07)
        ear.can_hear = True
        self.clock.pump([0.1] * 3)
        for line in ear.take():
            known.update(line["stations"])
        self.assertEqual(known, shown(self.stations))


class SliceTests(HubTestCase):
    """Many listeners."""

    def test_slices(self) -> None:
        """They are served some in each turn of the reactor, and each once in a round."""
        ears = [self.ear() for _ in range(30)]
        turns = []
        for ear in ears:
            ear.form = lambda data: b"{}"
            ear.hear = lambda event: turns.append(self.clock.turns)  # type: ignore[method-assign]
        self.clock.step = 0.0005
        self.set(1, 3)
        self.clock.pump([0.05] * 5)
        self.assertEqual(len(turns), 30)
        parts = [turns.count(turn) for turn in sorted(set(turns))]
        self.assertGreater(len(parts), 10)
        self.assertLessEqual(max(parts), 4)

    def test_end_in_between(self) -> None:
        """One who ends while a round goes on is told nothing more."""
        ears = [self.ear() for _ in range(30)]
        hear = ears[0].hear

        def last_goes(event: bytes) -> None:
            hear(event)
            ears[29].subscription.end()  # type: ignore[attr-defined]

        ears[0].hear = last_goes  # type: ignore[method-assign]
        self.clock.step = 0.0005
        self.set(1, 3)
        self.clock.pump([0.05] * 5)
        self.assertEqual([len(ear.heard) for ear in ears], [1] * 29 + [0])


class BeginningTests(HubTestCase):
    """Who listens, and to which stations."""

    def test_nobody(self) -> None:
        """Without a listener there is no timer, before the first one and after the last."""
        self.set(1, 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        ears = [self.ear(), self.ear("figures")]
        self.set(1, 4)
        self.assertNotEqual(self.clock.getDelayedCalls(), [])
        for ear in ears:
            ear.subscription.end()  # type: ignore[attr-defined]
            ear.subscription.end()  # type: ignore[attr-defined]
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.hub.subscribers, self.hub._groups), (0, {}))

    def test_nothing(self) -> None:
        """Who wishes for nothing does not listen."""
        subscription = self.hub.subscription(Wishes(frozenset(), 0.1))
        subscription.begin(Ear(self.clock))
        self.assertEqual(self.hub.subscribers, 0)

    def test_others(self) -> None:
        """What other processes have changed is seen within half a second."""
        ear = self.ear()
        self.clock.advance(LOOK_S * 1.5)
        self.put(2, 6)
        self.clock.pump([0.05] * 10)
        self.assertEqual(self.slots(ear), [{"2": 6}])

    def test_other_network(self) -> None:
        """Stations that come, go and move are told of; areas are looked at anew."""
        ear, area = self.ear(), self.ear(area=Area(-90, -38.945, 90, -38.90))
        self.stations = self.network(1, 2, 5)
        self.clock.pump([LOOK_S, 0.1])
        (line,) = ear.take()
        self.assertEqual(
            {key: fields["state"] for key, fields in line["stations"].items()},
            {"3": "out_of_service", "5": "in_service"},
        )
        self.assertEqual([line["stations"].keys() for line in area.take()], [{"5"}])
        self.set(5, 3)
        self.clock.advance(0.1)
        self.assertEqual(self.slots(ear), [{"5": 3}])

    def test_storage_away(self) -> None:
        """While the storage is away nothing is told, and all of it afterwards."""
        there, self.stations = self.stations, None  # type: ignore[assignment]

        def perform(operation: object) -> Stations:
            if self.stations is None:
                raise Unavailable("away")
            return self.stations

        self.hub._perform = perform  # type: ignore[assignment]
        ear = self.ear()
        self.clock.pump([LOOK_S] * 5)
        self.stations = there
        self.put(1, 2)
        self.clock.pump([LOOK_S, 0.1])
        self.assertEqual(self.slots(ear), [{"1": 2}])
