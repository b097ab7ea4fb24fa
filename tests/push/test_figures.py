"""The figures where sessions begin and end while all of them are asked for."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.virtual_clock import VirtualClock
from evcharge.push.figures import INTERVAL_S, MOST_MINUTES, MOST_POINTS, Figures
from evcharge.rules.claims import ARRIVE, Claim
from evcharge.rules.events import Event
from evcharge.rules.journey import ListSessions
from evcharge.rules.leaving import STOP_AND_LEAVE, Leave
from evcharge.storage import carry_out
from evcharge.testing import NOON, shipped_network
from tests.support.drivers_machine import TERMS
from tests.support.operations import a_user, add_user


class LateAnswerTests(SynchronousTestCase):
    """A storage that says which sessions there were, when others have begun and ended since."""

    def setUp(self) -> None:
        self.storage = shipped_network()
        self.clock = VirtualClock()
        self.clock.advance(NOON)
        self.asked: list[tuple[Deferred[Any], Any]] = []
        """Who waits for the sessions, and what there were."""
        self.figures = Figures(self.perform, self.clock, self.clock.seconds, TERMS)
        self.storage.listeners.append(self.heard)
        self.figures.startService()
        self.addCleanup(self.figures.stopService)

    def heard(self, events: Sequence[Event]) -> None:
        self.figures.happened(events)

    def perform(self, operation: Any) -> Deferred[Any]:
        result = carry_out(self.storage, operation)
        if not isinstance(operation, ListSessions):
            return succeed(result)
        self.asked.append((Deferred(), result))
        return self.asked[-1][0]

    def point(self, *while_asked: Any) -> dict[str, Any]:
        """The next point, where something happens before the answer is there."""
        self.clock.advance(INTERVAL_S)
        for happens in while_asked:
            happens()
        waits, sessions = self.asked.pop()
        waits.callback(sessions)
        return self.figures.points[-1]

    def begin(self) -> None:
        add_user(self.storage, a_user())
        carry_out(self.storage, Claim("u1", "7", "r1", self.clock.seconds(), TERMS, ARRIVE))

    def stop(self) -> None:
        left = Leave("u1", STOP_AND_LEAVE, self.clock.seconds(), TERMS)
        self.energy = carry_out(self.storage, left).body["energy_kwh"]

    def test_once(self) -> None:
        """Each session counts once, and what it was given."""
        self.assertEqual(self.point()["sessions"], 0)
        for happens in ([self.begin], []):
            self.assertEqual(self.point(*happens)["sessions"], 1)
        self.assertEqual(self.point(self.stop)["sessions"], 1)
        self.assertGreater(self.energy, 0)
        for _ in range(2):
            point = self.point()
            self.assertEqual((point["sessions"], point["energy_kwh"]), (1, self.energy))


class DayTests(SynchronousTestCase):
    """How much is kept, and for how long."""

    def setUp(self) -> None:
        self.clock = VirtualClock()
        self.clock.advance(NOON)
        self.set_back_s = 0.0
        self.storage = shipped_network()
        self.figures = Figures(
            lambda operation: carry_out(self.storage, operation),
            self.clock, lambda: self.clock.seconds() - self.set_back_s, TERMS,
        )  # fmt: skip
        self.figures.startService()
        self.addCleanup(self.figures.stopService)
        self.clock.advance(0)

    def test_a_minute(self) -> None:
        """Of the points every fourth is kept for longer than an hour, the first one at once."""
        self.assertEqual([*self.figures.minutes], [*self.figures.points])
        self.clock.pump([INTERVAL_S] * 2 * MOST_POINTS)
        self.assertEqual(len(self.figures.points), MOST_POINTS)
        minutes = [point["timestamp"][11:16] for point in self.figures.minutes]
        self.assertEqual(len(minutes), 121)
        self.assertEqual((minutes[:3], minutes[-1]), (["13:45", "13:46", "13:47"], "15:45"))
        self.assertEqual(self.figures.minutes[-1], self.figures.points[-1])

    def test_a_day(self) -> None:
        """After a day as many points are kept as there are minutes in it, the newest ones."""
        self.clock.pump([INTERVAL_S] * 4 * (MOST_MINUTES + 5))
        first, last = self.figures.minutes[0]["timestamp"], self.figures.minutes[-1]["timestamp"]
        self.assertEqual((len(self.figures.minutes), first[:16], last[:16]), (
            MOST_MINUTES, "2025-04-07T13:51", "2025-04-08T13:50",
        ))  # fmt: skip

    def test_set_back(self) -> None:
        """Where the clock is set back by an hour, a point a minute goes on."""
        self.clock.pump([INTERVAL_S] * 8)
        self.set_back_s = 3600.0
        self.clock.pump([INTERVAL_S] * 8)
        self.assertEqual(len(self.figures.minutes), 5)
