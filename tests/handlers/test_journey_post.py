"""The messages by POST: tests over TCP again, over HTTP; and that both say the same."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.testing import MemoryServer
from tests.handlers import test_charging, test_journey, test_sessions
from tests.support import journey
from tests.support.journey import login, outcome, station
from tests.support.messages import TYPES, good_data
from tests.support.posting import PostServer, ask
from tests.support.scenarios import OF_TRANSPORTS, SESSIONS


class ByPost:
    """Every server in memory is asked by POST."""

    def setUp(self) -> None:
        for module in (journey, test_journey, test_charging, test_sessions):
            self.patch(module, "MemoryServer", PostServer)
        super().setUp()


def by_post(tests: type) -> type:
    """The `tests`, by POST."""
    return type(f"Post{tests.__name__}", (ByPost, tests), {"__doc__": tests.__doc__})


for _tests in (*OF_TRANSPORTS, *SESSIONS):
    _class = by_post(_tests)
    globals()[_class.__name__] = _class
del _class, _tests  # else they would run once more


class SameTests(SynchronousTestCase):
    """TCP and POST are two ways to the same replies."""

    def setUp(self) -> None:
        self.tcp = MemoryServer(journey.make_storage(journey.CARS, [station(1), station(2)]))
        self.post = PostServer(journey.make_storage(journey.CARS, [station(1), station(2)]))

    def both(self, kind: str, **data: Any) -> dict[str, Any]:
        """The reply to a request, which is the same by both ways."""
        reply = self.tcp.request(kind, **data)
        self.assertEqual(self.post.request(kind, **data), reply)
        body = {"type": kind, "data": data, "status": {}, "timestamp": "", "id": 7}
        line = json.dumps(body).encode()
        if kind not in ("LOGIN", "PAYMENT", "RESERVE", "ARRIVE", "STOP", "CANCEL"):
            self.assertEqual(self.post.send(line), self.tcp.send(line + b"\n"))
        return reply

    def test_journey(self) -> None:
        """A whole journey, and what is refused on it, comes to the same replies."""
        self.both("START")
        car = {"user_name": "Ana", "selected_car": "Small", "battery_car": 40}
        self.assertEqual(outcome(self.both("LOGIN", **{**car, "battery_car": 101}))[0], 400)
        user = self.both("LOGIN", **car)["data"]["user_id"]
        self.both("NAVIGATION", user_id=user, route_distance="12.5")
        self.both("NAVIGATION", user_id="nobody", route_distance=1)
        self.both("SELECTION_STATION", user_id=user, list_stations={"1": {}})
        place = {"latitude": -12.25, "longitude": -38.94}
        self.both("SELECTION_STATION", user_id=user, position=place)
        self.both("RESERVE", user_id=user, id_station="2")
        self.both("PAYMENT", user_id=user, id_station="1", confirmation=True)
        self.both("CANCEL", user_id=user)
        paid = self.both("PAYMENT", user_id=user, id_station="1", confirmation=True)["data"]
        other = self.both("LOGIN", **car)["data"]["user_id"]
        self.both("ARRIVE", user_id=other, id_station=1)
        self.both("STATUS", user_id=user)
        for to in (self.tcp, self.post):
            to.advance(60)
        self.both("STATUS", user_id=user)
        self.both("RECEIPT", receipt_id=paid["receipt_id"])
        self.both("STOP", user_id=user)
        self.both("RECEIPT", receipt_id=paid["receipt_id"])
        self.both("HISTORY", driver_id=user)

    def test_every_message(self) -> None:
        """Each message with all of its fields, but SUBSCRIBE, is answered alike."""
        users = login(self.tcp), login(self.post)
        self.assertEqual(*users)
        for kind, data in good_data(users[0]).items():
            if kind != "SUBSCRIBE":
                self.both(kind, **data)

    def test_subscribe(self) -> None:
        """SUBSCRIBE, to which one reply is no answer, is refused by both paths, and says why."""
        sent = {"type": "SUBSCRIBE", "data": {"topics": []}, "status": 0, "timestamp": 0, "id": "x"}
        (posted,) = self.post.send(json.dumps(sent).encode())
        for reply in (posted, self.post.request("SUBSCRIBE", topics=["stations"])):
            self.assertEqual((reply["type"], *outcome(reply)),
                             ("SUBSCRIBE", 404, "needs_connection"))  # fmt: skip
            self.assertIn("/api/v1/socket", reply["data"]["message"])
        self.assertEqual(posted["id"], "x")
        self.assertEqual(self.post.engine.hub.subscribers, 0)

    def test_paths(self) -> None:
        """Every message has a path, and no other type has one."""
        for kind in TYPES:
            path = "/api/v1/" + kind.lower().replace("_", "-")
            answer = ask(self.post.web, "POST", path, b"[1]")
            self.assertEqual(answer.reply["type"], kind)
            self.assertNotEqual(outcome(answer.reply)[1], "unknown_path")
        for path in ("/api/v1/fly", "/api/v1/LOGIN", "/api/v1/login/", "/api/v1/selection_station"):
            answer = ask(self.post.web, "POST", path, b"{}")
            self.assertEqual(outcome(answer.reply), (404, "unknown_path"))
