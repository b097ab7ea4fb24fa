"""The figures where sessions begin and end while all of them are asked for."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from evcharge.push.figures import INTERVAL_S, Figures
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
        self.clock = Clock()
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
