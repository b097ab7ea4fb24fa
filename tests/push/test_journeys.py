"""The journeys that are listened to, where other processes may change them too."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from evcharge.push.journeys import Journeys
from evcharge.rules.events import UserRemoved
from evcharge.storage.group_commit import Unavailable


class SharedTests(SynchronousTestCase):
    """Each is asked for in a storage that has to be waited for."""

    def setUp(self) -> None:
        self.asked: list[Deferred[Any]] = []
        self.changed: list[str] = []
        self.journeys = Journeys(self.find, self.changed.append)
        self.journeys.begin("u", {"state": "FREE", "server_timestamp": 1})
        self.answer(state="FREE", server_timestamp=2)

    def find(self, user_id: str) -> Deferred[Any]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def answer(self, **found: Any) -> None:
        self.asked.pop(0).callback(found)

    def test_looked_at(self) -> None:
        """It is looked at again and again, and told when something lasting is other."""
        self.assertEqual(self.changed, [])
        self.journeys.look()
        self.answer(state="CHARGING", battery_percent=40, server_timestamp=3)
        self.assertEqual(self.changed, ["u"])
        self.journeys.look()
        self.answer(state="CHARGING", battery_percent=41, server_timestamp=4)
        self.assertEqual(self.changed, ["u"])
        self.assertEqual(self.journeys.found("u")["battery_percent"], 41)

    def test_asked_once(self) -> None:
        """One is asked for once at a time; what happens meanwhile has it asked for once more."""
        self.journeys.look()
        self.journeys.look()
        self.journeys.happened([UserRemoved("u"), UserRemoved("other")])
        self.assertEqual(len(self.asked), 1)
        self.answer(state="FREE")
        self.assertEqual(len(self.asked), 1)
        self.answer(reason="user_not_found")
        self.assertEqual((self.asked, self.changed[-1]), ([], "u"))
        self.assertEqual(self.journeys.found("u"), {"reason": "user_not_found"})

    def test_storage_away(self) -> None:
        """While the storage is away it is tried again, and nothing is told."""
        self.journeys.look()
        self.asked.pop().errback(Unavailable("away"))
        self.journeys.look()
        self.answer(state="RESERVED")
        self.assertEqual(self.changed, ["u"])

    def test_end(self) -> None:
        """With the last who listens it is forgotten, though an answer is still to come."""
        self.journeys.begin("u", {"state": "FREE"})
        self.journeys.end("u")
        self.journeys.look()
        self.journeys.end("u")
        self.journeys.look()
        while self.asked:
            self.answer(state="CHARGING")
        self.assertEqual((self.changed, self.journeys._known), ([], {}))
