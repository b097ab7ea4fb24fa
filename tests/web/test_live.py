"""SUBSCRIBE as Server-Sent Events."""

import json
import random
import re
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from evcharge.push import FORMS
from evcharge.push.simulation import Course, Simulation
from evcharge.rules.operator import SetEvseStatus
from evcharge.testing import MemoryServer
from evcharge.web.live import COMMENT_S
from evcharge.web.site import WebFactory
from tests.support.ears import shown
from tests.support.examples import examples
from tests.support.journey import login, server, station
from tests.support.servers import request_line
from tests.support.streams import LIVE, Browser, Socket, Stream, Subscriber, web_of


class StreamTestCase(SynchronousTestCase):
    path = "/api/v1/live"

    def setUp(self) -> None:
        self.serve()

    def serve(self, *options: str, **more: Any) -> None:
        self.server = server(station(1, 2), station(2, 1), station(3, 0), options=options, **more)
        self.web = web_of(self.server)

    def stream(self, query: str = "topics=stations", **more: str) -> Stream:
        return Stream(self.server, self.web, f"{self.path}?{query}", **more)

    def subscribe(self, **data: Any) -> dict[str, Any]:
        """The data of the reply to a SUBSCRIBE over TCP."""
        reply: dict[str, Any] = self.server.request("SUBSCRIBE", **data)["data"]
        return reply

    def pay(self, number: int = 1) -> str:
        user = login(self.server)
        paid = self.server.request("PAYMENT", user_id=user, id_station=number, confirmation=True)
        self.assertTrue(paid["data"]["confirmation"])
        return user


class ToldTests(StreamTestCase):
    """What a stream is told."""

    def test_snapshot(self) -> None:
        """It begins with the state as a whole, as SUBSCRIBE's reply has it, and when to retry."""
        stream = self.stream("topics=stations,figures")
        self.assertEqual(stream.code, 200)
        self.assertEqual(stream.headers["content-type"], "text/event-stream")
        self.assertEqual(stream.headers["cache-control"], "no-store")
        self.assertIn("nosniff", stream.headers["x-content-type-options"])
        self.assertNotIn("content-length", stream.headers)
        self.assertNotIn("transfer-encoding", stream.headers)
        self.assertIn(b"\nretry: 2000\n", stream._left)
        ((name, data),) = stream.take()
        other = self.subscribe(topics=["stations", "figures"])
        self.assertEqual((name, other.pop("seq") > data.pop("seq")), ("snapshot", True))
        self.assertEqual(data, other)

    def test_simulation(self) -> None:
        """Cars, and the clock they go by, are told alike over TCP, WebSocket and here."""
        clock = self.server.clock
        simulation = Simulation(clock, clock.seconds, 60.0, 7)
        self.server.engine.hub.simulate(simulation)
        begin, goal = clock.seconds(), (-12.2, -38.9)
        key = simulation.come(Course("driving", (-12.3, -39.0), goal, begin, begin + 1, 40.0, 30.0))
        topics = ["vehicles", "simulation"]
        stream, tcp = self.stream("topics=vehicles,simulation"), Subscriber(self.server)
        socket = Socket(self.server, self.web)
        (_, data), *_ = stream.take()
        socket.send(request_line("SUBSCRIBE", topics=topics).rstrip() + b" " * 100)
        for other in (tcp.request("SUBSCRIBE", topics=topics), *socket.take()):
            self.assertEqual(other["data"]["snapshot"], data["snapshot"])
        car = {"latitude": -12.3, "longitude": -39.0, "battery_percent": 40.0, "state": "driving"}
        self.assertEqual(data["snapshot"]["vehicles"], {key: car})
        self.assertEqual(data["snapshot"]["simulation"].keys(), {"timestamp", "speed", "seed"})
        self.server.advance(1.4)
        car = {"latitude": -12.2, "longitude": -38.9, "battery_percent": 30.0, "state": "driving"}
        for told in (stream.hear(0), *([e["data"] for e in t.take()] for t in (tcp, socket))):
            self.assertEqual(told[-1]["vehicles"], {key: car})
            self.assertEqual(sum("simulation" in each for each in told), 1)
        simulation.end()
        self.server.advance(0.2)
        for told in (stream.hear(0), *([e["data"] for e in t.take()] for t in (tcp, socket))):
            self.assertEqual((told[-1]["vehicles_gone"], told[-1]["simulation"]), ([key], None))
        self.assertEqual(self.subscribe(topics=topics)["snapshot"], {})

    def test_change(self) -> None:
        """A change is told with the data of the EVENT about it."""
        stream = self.stream()
        protocol, transport = self.server.connect()
        protocol.dataReceived(request_line("SUBSCRIBE", topics=["stations"]))
        transport.take()
        stream.take()
        self.pay()
        self.server.advance(0.1)
        fields = {"available_slots": 1, "max_slots": 2, "out_of_service": 0, "queue_length": 0}
        (told,) = stream.hear(0)
        self.assertGreater(told.pop("seq"), 1)
        self.assertEqual(told, {"stations": {"1": {**fields, "state": "in_service"}}})
        self.assertIn(b'"available_slots":1', transport.take())

    def test_comment(self) -> None:
        """Each quarter of a minute a comment says that it still stands."""
        first = self.stream()
        self.server.advance(10)
        second = self.stream()
        streams = (first, second)
        for stream in streams:
            stream.take()
        said: list[list[int]] = [[], []]
        for second_ in range(1, 41):
            self.server.advance(1)
            for number, stream in enumerate(streams):
                if ("", None) in stream.take():
                    said[number].append(second_)
        self.assertEqual(said, [[5, 20, 35], [15, 30]])
        for stream in streams:
            stream.protocol.connectionLost()
        timers = len(self.server.clock.getDelayedCalls())
        self.server.advance(2 * COMMENT_S)
        self.assertLess(len(self.server.clock.getDelayedCalls()), timers)

    def test_filters(self) -> None:
        """Stations, an area and a pause are wished for as lists in the address."""
        west = self.stream("topics=stations&area=-13,-39,-12,-38.935&interval_ms=2000")
        ((_, data),) = west.take()
        self.assertEqual((data["snapshot"]["stations"].keys(), data["interval_ms"]), ({"1"}, 2000))
        some = self.stream("topics=stations&stations=2,3&stations=77")
        ((_, data),) = some.take()
        self.assertEqual(data["snapshot"]["stations"].keys(), {"2", "3"})
        self.pay(1)
        self.pay(2)
        self.assertEqual([told["stations"].keys() for told in some.hear()], [{"2"}])
        self.assertEqual([told["stations"].keys() for told in west.hear(2)], [{"1"}])

    def test_one_record(self) -> None:
        """What is told to many is written once."""
        streams = [self.stream() for _ in range(3)]
        told: list[bytes] = []
        for stream in streams:
            stream.protocol._write = told.append
        self.pay()
        self.server.advance(0.1)
        self.assertEqual((len(told), len({id(record) for record in told})), (3, 1))


class Known:
    """One who listens in some way, and what it knows of the stations by that."""

    def __init__(self, of: MemoryServer, web: WebFactory, form: str) -> None:
        self.form = form
        line = request_line("SUBSCRIBE", topics=["stations", "figures"])
        if form == "tcp":
            self.ear: Any = Subscriber(of)
            self.ear.protocol.dataReceived(line)
        elif form == "websocket":
            self.ear = Socket(of, web)
            self.ear.send(line + b" " * 126)
        else:
            self.ear = Stream(of, web, "/api/v1/live?topics=stations,figures")
        self.is_deaf = False
        self.seq = 0
        self.lines: list[Any] = []
        (first,) = self.take()
        snapshot = first["snapshot"]
        self.figures = snapshot["figures"][-1]
        self.stations = {
            key: {name: value for name, value in fields.items() if name in LIVE}
            for key, fields in snapshot["stations"].items()
        }

    def take(self) -> list[Any]:
        """The `data` of what has come, in order."""
        told = self.ear.take()
        if self.form == "sse":
            data = [each for _, each in told if each is not None]
        else:
            data = [line["data"] for line in told]
        self.lines += told
        for each in data:
            assert each["seq"] > self.seq
            self.seq = each["seq"]
        return data

    def hear(self) -> None:
        """Take what has come over."""
        for data in self.take():
            self.stations.update(data.get("stations", {}))
            self.figures = data.get("figures", self.figures)

    def turn(self) -> None:
        """Stop to read, or go on."""
        self.is_deaf = not self.is_deaf
        producer = self.ear.transport.producer
        (producer.pauseProducing if self.is_deaf else producer.resumeProducing)()

    def show_life(self) -> None:
        """What a browser does by itself, though the page may not read."""
        if self.form == "websocket":
            self.ear.pong()


STEP = st.tuples(
    st.sampled_from(["pay", "reserve", "leave", "operate", "wait", "turn"]),
    st.integers(1, 2),
    st.integers(0, 5),
)


class AlikeTests(StreamTestCase):
    """Lines, WebSocket and streams are told the same."""

    def listen(self) -> list[Known]:
        return [Known(self.server, self.web, form) for form in FORMS]

    def do(self, what: str, number: int, user: str, listeners: Sequence[Known]) -> None:
        data = {"user_id": user, "id_station": number}
        if what == "reserve":
            self.server.request("RESERVE", wait=True, **data)
        elif what == "operate":
            status = "OUTOFORDER" if user < self.users[3] else "IN_SERVICE"
            at = self.server.clock.seconds()
            self.server.engine.perform(SetEvseStatus(f"{number}-1", status, None, at))
        elif what == "wait":
            for _ in range(20):
                self.server.advance(0.002 if number == 1 else 20)
                for one in listeners:
                    one.show_life()
        else:
            self.server.request("PAYMENT", confirmation=what == "pay", **data)

    @settings(max_examples=examples(100), deadline=None)
    @given(st.lists(st.lists(STEP, max_size=4), max_size=8), st.sets(st.integers(0, 2)))
    def test_state(self, moments: list[list[tuple[str, int, int]]], deaf: set[int]) -> None:
        """At any moment snapshot and events are the state, for all who have read."""
        self.serve("--unread-timeout", "0")
        self.server.advance(0)
        self.users = [login(self.server) for _ in range(6)]
        listeners = self.listen()
        for number in deaf:
            listeners[number].turn()
        ends = [[("turn", 1, number) for number in range(3)]] * 2
        for steps in [*moments, *ends]:
            for what, number, who in steps:
                if what == "turn":
                    listeners[who % 3].turn()
                else:
                    self.do(what, number, self.users[who], listeners)
            # Whoever could not hear is told at a later tick.
            self.server.advance(0.1)
            self.server.advance(0.1)
            so = shown(self.server.storage.records.states)  # type: ignore[attr-defined]
            for one in listeners:
                if not one.is_deaf:
                    one.hear()
                    self.assertEqual(one.stations, so, one.form)
                    self.assertEqual(one.figures, self.server.engine.figures.points[-1], one.form)

    def test_same_data(self) -> None:
        """Each is told the same at the same time, in a line, a message or a record."""
        self.server.advance(0)
        listeners = self.listen()
        for number in (1, 2, 1):
            self.pay(number)
            self.server.advance(0.1)
        self.server.advance(60)
        told = [[{**data, "seq": 0} for data in one.take()] for one in listeners]
        self.assertEqual(told[1:], told[:1] * 2)
        self.assertGreater(len(told[0]), 3)
        self.assertEqual(listeners[0].lines[1:], listeners[1].lines[1:])
        self.assertEqual(self.server.engine.hub.listening, dict.fromkeys(FORMS, 1))

    def test_nobody_in_it(self) -> None:
        """No user, driver or receipt is in a public line, whatever happens meanwhile."""
        listeners = self.listen() if self.server.advance(0) is None else []
        self.users = [login(self.server) for _ in range(6)]
        chance = random.Random(14)
        for _ in range(400):
            what = chance.choice(["pay", "reserve", "leave", "operate", "wait", "stop"])
            user = chance.randrange(6)
            if what == "stop":
                self.server.request("STOP", user_id=self.users[user])
                self.users[user] = login(self.server)
            else:
                self.do(what, chance.choice((1, 2)), self.users[user], listeners)
            self.server.advance(0.1)
        for one in listeners:
            one.take()
            said = json.dumps(one.lines)
            self.assertGreater(len(one.lines), 100)
            # Ids of users and receipts are made by one counter here; who logs in is Ana.
            self.assertNotIn("00000000-0000-4000-8000", said)
            self.assertNotIn("Ana", said)
            names = set(re.findall(r'"(\w+)":', said))
            self.assertEqual(
                {name for name in names if re.search("user|driver|receipt", name)}, set()
            )


class EndTests(StreamTestCase):
    """How a stream ends."""

    def test_ends(self) -> None:
        """However it ends, nothing is left of it."""
        timers = len(self.server.clock.getDelayedCalls())
        for end, is_gone in (
            (lambda stream: stream.protocol.connectionLost(), True),
            (lambda stream: stream.protocol.readConnectionLost(), False),
            (lambda stream: self.web.drain(), False),
        ):
            stream = self.stream()
            self.assertEqual(self.server.engine.hub.listening["sse"], 1)
            end(stream)
            self.assertEqual(self.server.engine.hub.subscribers, 0)
            if not is_gone:
                self.assertTrue(stream.transport.disconnecting)
                stream.protocol.connectionLost()
            self.assertEqual(self.web.connections, set())
            self.assertEqual(self.server.guards.addresses.connections, 0)
        self.server.advance(COMMENT_S)
        self.assertLessEqual(len(self.server.clock.getDelayedCalls()), timers + 1)

    def test_ended_before(self) -> None:
        """One whose end has come before its snapshot was there begins with that, and ends."""
        controller = self.web.context.controllers["pt"]
        answer, waiting = controller.answer, []

        def later(*asked: Any) -> Deferred[Any]:
            waiting.append(Deferred().addCallback(lambda _: answer(*asked)))
            return waiting[-1]

        self.patch(controller, "answer", later)
        for end in (
            lambda stream: stream.protocol.readConnectionLost(),
            lambda _: self.web.drain(),
        ):
            stream = Browser(self.server, self.web)
            stream.protocol.dataReceived(
                b"GET /api/v1/live?topics=stations HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            end(stream)
            waiting.pop().callback(None)
            self.assertIn(b"event: snapshot", stream.transport.take())
            self.assertTrue(stream.transport.disconnecting)
            self.assertEqual(self.server.engine.hub.subscribers, 0)
            stream.protocol.connectionLost()

    def test_drained(self) -> None:
        """The server's end waits for streams to be gone, and they go at once."""
        stream = self.stream()
        done = self.web.drain()
        self.assertNoResult(done)
        stream.protocol.connectionLost()
        self.successResultOf(done)

    def test_slow(self) -> None:
        """Who does not read is told once what was missed, and is cut off after a minute."""
        stream = self.stream()
        stream.take()
        stream.protocol.pauseProducing()
        for number in (1, 1, 2):
            self.pay(number)
            self.server.advance(20)
        self.assertEqual(stream.take(), [])
        stream.protocol.resumeProducing()
        (told,) = stream.hear()
        slots = {key: fields["available_slots"] for key, fields in told["stations"].items()}
        self.assertEqual(slots, {"1": 0, "2": 0})
        stream.protocol.pauseProducing()
        for _ in range(70):
            self.server.advance(1)
        self.assertTrue(stream.transport.aborted)
        self.assertEqual(self.server.refused, ["unread"])


class RefusalTests(StreamTestCase):
    """Who gets none."""

    def refused(self, code: int, reason: str, **more: Any) -> str:
        """The message of a refusal."""
        stream = self.stream(**more)
        body = stream.body
        self.assertEqual((stream.code, stream.headers["content-type"]), (code, "application/json"))
        self.assertEqual((body["status"]["code"], body["data"]["reason"]), (code, reason))
        message: str = body["data"]["message"]
        return message

    def test_user(self) -> None:
        """No user is in an address, and the refusal says what to do instead."""
        user = login(self.server)
        for query in ("topics=user", "topics=stations,user", f"topics=stations&user_id={user}"):
            message = self.refused(
                400, "invalid_field", query=query, head="Accept-Language: en\r\n"
            )
            self.assertIn("use SUBSCRIBE over WebSocket or TCP", message)
            self.assertNotIn(user, message)
        self.assertEqual(self.server.engine.hub.subscribers, 0)

    def test_wrong(self) -> None:
        """What is missing or wrong is refused as SUBSCRIBE refuses it, and names the field."""
        for query, reason, field in (
            ("", "missing_fields", "topics"),
            ("topics=", "missing_fields", "topics"),
            ("topics=weather", "invalid_field", "topics[0]"),
            ("topics=stations,%ff", "invalid_field", "topics[1]"),
            ("topics=stations&area=1,2,3", "invalid_field", "area"),
            ("topics=stations&area=5,2,3,4", "invalid_field", "area.south"),
            ("topics=stations&area=1,2,3,x", "invalid_field", "area.east"),
            ("topics=stations&area=1,2,3,4&stations=1", "invalid_field", "area"),
            ("topics=stations&stations=a%00b", "invalid_field", "stations[0]"),
            ("topics=stations&interval_ms=x", "invalid_field", "interval_ms"),
            ("topics=stations&interval_ms=49", "invalid_field", "interval_ms"),
            ("topics=stations&stations=" + "1," * 101, "invalid_field", "stations"),
        ):
            self.assertIn(field, self.refused(400, reason, query=query), query)

    def test_language(self) -> None:
        """The texts are in the language that the address or the browser names."""
        for query, head, text in (
            ("", "", "Campos obrigatórios"),
            ("", "Accept-Language: en-GB, pt;q=0.5\r\n", "Required fields"),
            ("lang=pt", "Accept-Language: en\r\n", "Campos obrigatórios"),
            ("lang=en", "", "Required fields"),
        ):
            self.assertIn(text, self.refused(400, "missing_fields", query=query, head=head))

    def test_method(self) -> None:
        """It is a GET, or a HEAD, which is answered alike and holds nothing."""
        stream = self.stream(method="HEAD")
        get = self.stream()
        self.assertEqual((stream.code, stream.take()), (200, []))
        self.assertEqual(stream.headers.items() - get.headers.items(), set())
        self.assertEqual(self.server.engine.hub.subscribers, 1)
        self.refused(405, "method_not_allowed", method="POST", head="Content-Length: 0\r\n")
        self.assertEqual(self.stream(method="PUT").headers["allow"], "GET, HEAD")

    def test_full_house(self) -> None:
        """There are as many as --max-subscribers says, over TCP and in streams together."""
        self.serve("--max-subscribers", "2")
        streams = [self.stream() for _ in range(2)]
        self.refused(503, "too_many_subscribers")
        self.assertEqual(self.stream().headers["retry-after"], "1")
        reply = self.server.request("SUBSCRIBE", topics=["stations"])
        self.assertEqual(reply["status"]["code"], 503)
        streams[0].protocol.connectionLost()
        self.assertEqual(self.stream().code, 200)

    def test_address(self) -> None:
        """From an address there are six, from this machine any number."""
        far = "203.0.113.7"
        streams = [self.stream(host=far) for _ in range(6)]
        self.refused(429, "rate_limited", host=far)
        self.assertIn("6", self.stream(host=far).body["data"]["detail"])
        self.assertEqual(self.server.refused, ["subscribers"] * 2)
        self.assertEqual(self.stream(host="203.0.113.8").code, 200)
        for _ in range(8):
            self.assertEqual(self.stream().code, 200)
        streams[0].protocol.connectionLost()
        self.assertEqual(self.stream(host=far).code, 200)

    def test_path(self) -> None:
        """What only begins like its path is another one."""
        self.path = "/api/v1/lives"
        self.refused(404, "unknown_path")
