"""What is under /api/v1 beside the messages that are posted: look-ups, and what HTTP brings."""

import json
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage import StorageUnavailable
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import MemoryServer, MemoryTransport, shipped_network
from tests.support.journey import CARS, outcome, server, station
from tests.support.posting import Answer, ask
from tests.support.streams import web_of

LOGIN = b'{"user_name":"Ana","selected_car":"Small","battery_car":40}'

HEADING = ("car_models", "time_scale")
"""What START tells beside stations."""


class MirrorTestCase(SynchronousTestCase):
    """A web port in memory."""

    def serve(self, to: MemoryServer) -> MemoryServer:
        self.server, self.web = to, web_of(to)
        return to

    def get(self, path: str, **headers: str) -> Answer:
        return ask(self.web, "GET", f"/api/v1/{path}", **headers)

    def post(self, path: str, body: bytes = b"{}", **headers: str) -> Answer:
        return ask(self.web, "POST", f"/api/v1/{path}", body, **headers)

    def data(self, path: str) -> dict[str, Any]:
        """What a look-up shows."""
        answer = self.get(path)
        self.assertEqual((answer.code, answer.headers["content-type"]), (200, "application/json"))
        return answer.reply["data"]


class LookUpTests(MirrorTestCase):
    """What can be looked up are parts of START, a tariff, and figures."""

    def setUp(self) -> None:
        self.serve(MemoryServer())
        self.start = self.server.request("START")["data"]

    def test_parts(self) -> None:
        """Cars and stations are those of START, and nothing else is there."""
        for path, name in (("cars", "car_models"), ("stations", "station_models")):
            self.assertEqual(self.data(path), {name: self.start[name]})

    def test_nearest(self) -> None:
        """Of more stations than are wished for, the nearest are shown, as by START."""
        place = {"latitude": -12.2664, "longitude": -38.9663}
        found = self.data("stations?latitude=-12.2664&longitude=-38.9663&limit=3")
        asked = self.server.request("START", position=place, limit=3)["data"]
        self.assertEqual(list(found["station_models"]), list(asked["station_models"]))
        self.assertEqual(found, {name: asked[name] for name in asked if name not in HEADING})
        self.assertEqual(len(self.data("stations?limit=2")["station_models"]), 2)

    def test_station(self) -> None:
        """One station is shown with its EVSEs and tariffs; one that is not there is not found."""
        asked = self.server.request("START", stations=["9"])["data"]
        self.assertEqual(self.data("stations/9"), {n: asked[n] for n in asked if n not in HEADING})
        self.assertEqual(self.data("stations/%39"), self.data("stations/9"))
        for key in ("nowhere", "99", "9%2F", "9%20", "%FF", "x" * 200):
            reply = self.get(f"stations/{key}").reply
            self.assertEqual(outcome(reply), (404, "station_not_found"), key)
        for key in ("x" * 201, "%00"):
            self.assertEqual(outcome(self.get(f"stations/{key}").reply)[0], 400)

    def test_tariff(self) -> None:
        """A tariff is shown as its owner wrote it; one that there is not is named."""
        tariffs = shipped_network().catalogue().tariffs
        self.assertEqual(len(tariffs), 2)
        for key, tariff in tariffs.items():
            self.assertEqual(self.data(f"tariffs/{key}"), {"tariffs": {key: tariff.body}})
        reply = self.get("tariffs/nenhuma", accept_language="en").reply
        self.assertEqual(outcome(reply), (404, "tariff_not_found"))
        self.assertEqual(reply["data"]["message"], "No tariff nenhuma")

    def test_geojson(self) -> None:
        """Each station is a point, longitude first, with its name and how it is now."""
        answer = self.get("stations.geojson")
        self.assertEqual(answer.headers["content-type"], "application/geo+json")
        found = json.loads(answer.body)
        self.assertEqual(found["type"], "FeatureCollection")
        self.assertEqual([f["id"] for f in found["features"]], list(self.start["station_models"]))
        for feature in found["features"]:
            told = self.start["station_models"][feature["id"]]
            self.assertEqual(feature["type"], "Feature")
            self.assertEqual(
                feature["geometry"],
                {"type": "Point", "coordinates": [told["longitude"], told["latitude"]]},
            )
            properties = feature["properties"]
            self.assertEqual(properties["name"], told["name_station"])
            self.assertEqual(properties["slots"], told["max_slots"])
            for name in ("address", "available_slots", "price_kwh", "connectors", "queue_length"):
                self.assertEqual(properties[name], told[name])
        one = json.loads(self.get("stations.geojson?latitude=-12&longitude=-39&limit=1").body)
        self.assertEqual((len(one["features"]), one["total_stations"]), (1, 36))

    def test_geojson_changes(self) -> None:
        """The points are as the stations are now, though they are not written anew each time."""
        before = self.get("stations.geojson").body
        self.assertEqual(self.get("stations.geojson").body, before)
        user = self.server.request(
            "LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=40
        )["data"]["user_id"]
        self.server.request("ARRIVE", user_id=user, id_station="1")
        after = json.loads(self.get("stations.geojson").body)["features"][0]["properties"]
        self.assertEqual(after["available_slots"], after["slots"] - 1)

    def test_large_network(self) -> None:
        """It is said that some of more than 1,000 stations are left out, of the points too."""
        self.serve(server(*(station(number) for number in range(1, 1102))))
        for path, name in (("stations", "data"), ("stations.geojson", "features")):
            found = json.loads(self.get(path).body)
            told = found["data"] if name == "data" else found
            self.assertEqual((told["total_stations"], told["truncated"]), (1101, True))

    def test_figures(self) -> None:
        """The figures have a point a minute, of as many hours as are wished for, one by default."""
        self.server.advance(0)
        for _ in range(4 * 90):
            self.server.advance(15)
        for path, most in (("figures", 60), ("figures?hours=1", 60), ("figures?hours=24", 91)):
            points = self.data(path)["figures"]
            self.assertEqual(len(points), most, path)
            self.assertEqual(points[-1]["timestamp"], "2025-04-07T15:15:12.678Z")
        first, second = points[:2]
        self.assertEqual(first["slots"], 169)
        self.assertEqual(second["timestamp"], "2025-04-07T13:46:12.678Z")

    def test_wrong_parameters(self) -> None:
        """A parameter that is wrong, twice there or half there is named; others are passed over."""
        for path, name in (
            ("stations?limit=0", "limit"),
            ("stations?limit=", "limit"),
            ("stations?limit=1&limit=2", "limit"),
            ("stations?latitude=91&longitude=0", "latitude"),
            ("stations?latitude=%FF&longitude=0", "latitude"),
            ("stations?latitude=1", "longitude"),
            ("stations.geojson?longitude=1", "latitude"),
            ("figures?hours=25", "hours"),
            ("figures?hours=1.5", "hours"),
        ):
            reply = self.get(path).reply
            self.assertEqual(outcome(reply)[0], 400, path)
            self.assertIn(name, reply["data"]["message"])
        for path in ("stations?user_id=x&further=1", "cars?limit=0", "figures?"):
            self.assertEqual(self.get(path).code, 200)

    def test_user(self) -> None:
        """Nothing of a user can be looked up, whose id would be in an address and in logs."""
        for path in ("status", "receipt", "history"):
            answer = self.get(f"{path}?user_id=x")
            self.assertEqual((answer.code, answer.headers["allow"]), (405, "POST"))


class CopyTests(MirrorTestCase):
    """Copies of what is public are asked after."""

    PATHS = ("cars", "stations", "stations/1", "stations.geojson", "figures", "openapi.json")

    def setUp(self) -> None:
        self.serve(server(station(1), station(2)))

    def test_same(self) -> None:
        """Who has a copy is told that it is right, though time has passed; it may have several."""
        for path in self.PATHS:
            answer = self.get(path)
            self.assertEqual(answer.headers["cache-control"], "no-cache")
            tag = answer.headers["etag"]
            self.server.advance(1)
            for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
                again = self.get(path, if_none_match=known)
                self.assertEqual((again.code, again.body), (304, b""), (path, known))
                self.assertEqual(again.headers["etag"], tag)
            for known in ('"other"', tag[:-2] + '"'):
                self.assertEqual(self.get(path, if_none_match=known).code, 200)

    def test_changed(self) -> None:
        """It is another one when a station is, or the language of the texts."""
        user = self.server.request("LOGIN", **json.loads(LOGIN))["data"]["user_id"]
        paths = ("stations", "stations/1", "stations.geojson", "cars")
        tags = {path: self.get(path).headers["etag"] for path in paths}
        other = self.get("stations", accept_language="en")
        self.assertNotEqual(other.headers["etag"], tags["stations"])
        self.assertIn("accept-language", other.headers["vary"].lower())
        self.server.request("PAYMENT", user_id=user, id_station=1, confirmation=True)
        changed = [path for path in paths if self.get(path).headers["etag"] != tags[path]]
        self.assertEqual(changed, ["stations", "stations/1", "stations.geojson"])

    def test_head(self) -> None:
        """HEAD is like GET, but for the body, where all is well and where it is not."""
        for path in (*self.PATHS, "stations/9", "nowhere", "login"):
            got, head = self.get(path), ask(self.web, "HEAD", f"/api/v1/{path}")
            self.assertEqual((head.code, head.body), (got.code, b""))
            for headers in (got.headers, head.headers):
                headers.pop("date", None)
            self.assertEqual(head.headers, got.headers)
            self.assertEqual(int(head.headers["content-length"]), len(got.body))


class PostTests(MirrorTestCase):
    """What HTTP brings with a request that is posted."""

    def setUp(self) -> None:
        self.serve(server(station(1)))

    def test_not_kept(self) -> None:
        """No reply to what is posted is to be kept anywhere."""
        for path, body in (("login", LOGIN), ("login", b"{}"), ("status", b'{"user_id":"x"}')):
            self.assertEqual(self.post(path, body).headers["cache-control"], "no-store")

    def test_methods(self) -> None:
        """A method that a path has not is told which it has; nothing is done."""
        for method, path, allowed in (
            ("GET", "login", "POST"),
            ("HEAD", "login", "POST"),
            ("PUT", "messages", "POST"),
            ("DELETE", "stations/1", "GET, HEAD"),
            ("POST", "stations", "GET, HEAD"),
            ("POST", "cars", "GET, HEAD"),
            ("PATCH", "openapi.json", "GET, HEAD"),
            ("TRACE", "figures", "GET, HEAD"),
        ):
            answer = ask(self.web, method, f"/api/v1/{path}", LOGIN)
            self.assertEqual((answer.code, answer.headers["allow"]), (405, allowed), (method, path))
            if method != "HEAD":
                self.assertEqual(outcome(answer.reply), (405, "method_not_allowed"))
                self.assertIn(allowed, answer.reply["data"]["message"])
        self.assertEqual(list(self.server.storage.users()), [])

    def test_media_type(self) -> None:
        """Only JSON is taken, so that a page elsewhere cannot post without being asked first."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            answer = self.post("login", LOGIN, content_type=kind)
            self.assertEqual(outcome(answer.reply), (415, "unsupported_media_type"), kind)
        bare = ask(self.web, "POST", "/api/v1/login", None, content_length="0")
        self.assertEqual(outcome(bare.reply), (415, "unsupported_media_type"))
        self.assertEqual(list(self.server.storage.users()), [])
        for kind in ("application/json", "Application/JSON; charset=utf-8"):
            self.assertEqual(self.post("login", LOGIN, content_type=kind).code, 200)

    def test_data(self) -> None:
        """A body that is no object is refused as a request's data is; null and [] count as {}."""
        for body in (b"null", b"[]", b"{}", b" {}\n", b"\xef\xbb\xbf{}"):
            self.assertEqual(self.post("start", body).code, 200, body)
        for body in (b"1", b'"x"', b"[1]", b"true"):
            reply = self.post("start", body).reply
            self.assertEqual((reply["type"], *outcome(reply)), ("START", 400, "invalid_field"))
            self.assertIn("data deve ser um objeto", reply["data"]["message"])
        for body in (b"", b"{", b"\xff", b'{"a":NaN}', b'"\\ud800"'):
            reply = self.post("start", body).reply
            self.assertEqual((reply["type"], *outcome(reply)), ("START", 400, "invalid_json"))
            self.assertTrue(reply["data"]["detail"])

    def test_language(self) -> None:
        """Texts are in the language that is asked for, else in the server's; codes stay."""
        wished = {"en": "en", "en-GB, pt;q=0.5": "en", "pt-BR": "pt", "de": "pt", "": "pt"}
        for header, language in wished.items():
            message = self.post("login", accept_language=header).reply["data"]["message"]
            begins = {"pt": "Campos obrigatórios", "en": "Required fields"}[language]
            self.assertTrue(message.startswith(begins), (header, message))
        self.serve(server(station(1), language="en"))
        self.assertIn("Required", self.post("login").reply["data"]["message"])
        portuguese = self.post("login", accept_language="pt-BR,pt;q=0.9")
        self.assertIn("Campos", portuguese.reply["data"]["message"])
        told = self.post("nowhere", accept_language="en").reply
        self.assertEqual(told["data"]["message"], "Unknown path")

    def test_too_many(self) -> None:
        """Who logs in too often is told when to try again."""
        self.serve(server(station(1), options=["--max-pending-logins", "1"]))
        self.assertEqual(self.post("login", LOGIN).code, 200)
        answer = self.post("login", LOGIN)
        self.assertEqual((outcome(answer.reply)[0], answer.headers["retry-after"]), (429, "1"))

    def test_away(self) -> None:
        """Where the storage is away it is said when to try again."""
        self.serve(server(station(1), in_thread=lambda *_: fail(StorageUnavailable("away"))))
        self.flushLoggedErrors()
        answer = self.post("login", LOGIN)
        self.assertEqual(outcome(answer.reply), (503, "unavailable"))
        self.assertEqual(answer.headers["retry-after"], "1")

    def test_unwritable(self) -> None:
        """A reply that cannot be written is an incident, not a silence."""
        self.serve(MemoryServer(MemoryStorage({"A": {**CARS["Small"], "note": "\ud800"}})))
        for answer in (self.post("start"), self.get("cars")):
            self.assertEqual(outcome(answer.reply), (500, "internal"))
        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 2)

    def begin(self) -> tuple[Any, MemoryTransport]:
        """Post LOGIN over a connection that stays: its two ends."""
        protocol: Any = self.web.buildProtocol(None)
        transport = MemoryTransport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        head = (
            "POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(LOGIN)}\r\n\r\n"
        )
        protocol.dataReceived(head.encode() + LOGIN)
        return protocol, transport

    def test_given_up(self) -> None:
        """What is not done when the server has to end is answered with 503."""
        self.serve(server(station(1), in_thread=lambda *_: Deferred()))
        _, transport = self.begin()
        self.web.drain()
        self.assertEqual(transport.take(), b"")
        self.web.give_up()
        self.assertTrue(transport.take().startswith(b"HTTP/1.1 503 "))

    def test_gone(self) -> None:
        """A client that has gone before its reply gets none, and nothing breaks."""
        waiting: list[Deferred[Any]] = []

        def later(f: Any, *args: Any) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1].addCallback(lambda _: f(*args))

        to = self.serve(server(station(1), in_thread=later))
        protocol, transport = self.begin()
        protocol.connectionLost(Failure(ConnectionDone()))
        while waiting:
            waiting.pop().callback(None)
        self.assertEqual((transport.take(), len(list(to.storage.users()))), (b"", 1))
