"""SUBSCRIBE: the state as a whole, and then what changes, over one connection."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.stations import Stations
from evcharge.net.states import Standing
from evcharge.rules.operator import SetEvseStatus
from evcharge.testing import NOON, MemoryServer
from tests.support.ears import shown
from tests.support.journey import login, outcome, server, station
from tests.support.servers import request_line
from tests.support.streams import LIVE, Subscriber


class SubscribeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = server(station(1, 2), station(2, 1), station(3, 0))

    def pay(self, number: int = 1, user: str = "") -> str:
        user = user or login(self.server)
        paid = self.server.request("PAYMENT", user_id=user, id_station=number, confirmation=True)
        self.assertTrue(paid["data"]["confirmation"])
        return user


class StationTests(SubscribeTestCase):
    """The topic `stations`."""

    def test_snapshot(self) -> None:
        """The reply has all stations as START has them, and what else changes of them."""
        listener = Subscriber(self.server, topics=["stations"])
        self.assertEqual(outcome(listener.reply), (200, None))
        data = listener.reply["data"]
        self.assertEqual(
            (data.keys(), data["interval_ms"]), ({"seq", "interval_ms", "snapshot"}, 100)
        )
        stations = data["snapshot"]["stations"]
        for key, fields in self.server.request("START")["data"]["station_models"].items():
            self.assertEqual({name: stations[key][name] for name in fields}, fields)
            self.assertLessEqual(LIVE, stations[key].keys())
        states = {key: (s["state"], s["out_of_service"]) for key, s in stations.items()}
        in_service = ("in_service", 0)
        self.assertEqual(states, {"1": in_service, "2": in_service, "3": ("out_of_service", 0)})

    def test_event(self) -> None:
        """A change comes as a line of its own, in the envelope of replies, with the id."""
        _, transport = connection = self.server.connect()
        line = request_line("SUBSCRIBE", topics=["stations"])
        connection[0].dataReceived(line.replace(b'"timestamp"', b'"id": "map", "timestamp"'))
        (reply,) = (json.loads(line) for line in transport.take().splitlines())
        self.pay()
        self.assertEqual(transport.take(), b"")
        self.server.advance(0.1)
        (event,) = (json.loads(line) for line in transport.take().splitlines())
        self.assertEqual(list(event), ["type", "data", "status", "timestamp", "id"])
        self.assertEqual((reply["id"], event["id"], event["type"]), ("map", "map", "EVENT"))
        self.assertEqual(event["status"], {"code": 200, "message": "Sucesso"})
        self.assertEqual(event["timestamp"], "2025-04-07T13:45:12.778Z")
        self.assertGreater(event["data"].pop("seq"), reply["data"]["seq"])
        fields = {"available_slots": 1, "max_slots": 2, "out_of_service": 0, "queue_length": 0}
        self.assertEqual(event["data"], {"stations": {"1": {**fields, "state": "in_service"}}})

    def test_no_event(self) -> None:
        """Who has not subscribed gets no event, whatever happens, and nor does who ended it."""
        plain, ended = Subscriber(self.server), Subscriber(self.server, topics=["stations"])
        self.assertEqual(ended.request("SUBSCRIBE", topics=[])["data"]["snapshot"], {})
        self.pay()
        self.assertEqual((plain.hear(60), ended.hear(60)), ([], []))

    def test_between_replies(self) -> None:
        """Requests go on, and their replies keep their order; events are lines between them."""
        listener = Subscriber(self.server)
        user = login(self.server)
        sent = b"".join(
            request_line(kind, **data)
            for kind, data in (
                ("SUBSCRIBE", {"topics": ["stations"]}),
                ("PAYMENT", {"user_id": user, "id_station": 2, "confirmation": True}),
                ("NAVIGATION", {"user_id": user, "route_distance": 1}),
            )
        )
        replies = listener.send(sent)
        types = [reply["type"] for reply in replies]
        self.assertEqual(types, ["SUBSCRIBE", "PAYMENT", "NAVIGATION"])
        (event,) = listener.hear()
        self.assertEqual(event["stations"]["2"]["available_slots"], 0)

    def test_replaced(self) -> None:
        """Another SUBSCRIBE takes the place of the first; one that is refused does not."""
        listener = Subscriber(self.server, topics=["stations"], stations=[1])
        again = listener.request("SUBSCRIBE", topics=["stations"], stations=["2", "77"])
        self.assertEqual(again["data"]["snapshot"]["stations"].keys(), {"2"})
        refused = listener.request("SUBSCRIBE", topics=["weather"])
        self.assertEqual(outcome(refused), (400, "invalid_field"))
        self.pay(1)
        self.pay(2)
        self.assertEqual([event["stations"].keys() for event in listener.hear()], [{"2"}])
        self.assertEqual(self.server.engine.hub.subscribers, 1)

    def test_area(self) -> None:
        """Who wishes for an area is told of the stations in it."""
        area = {"south": -13, "west": -38.945, "north": "-12", "east": -38.925}
        listener = Subscriber(self.server, topics=["stations"], area=area)
        snapshot = listener.reply["data"]["snapshot"]
        self.assertEqual(snapshot["stations"].keys(), {"1", "2"})
        self.pay(1)
        self.assertEqual([event["stations"].keys() for event in listener.hear()], [{"1"}])

    def test_interval(self) -> None:
        """A wished pause is kept, and the server's own not undercut."""
        listener = Subscriber(self.server, topics=["stations"], interval_ms=1000)
        fast = Subscriber(self.server, topics=["stations"], interval_ms=50)
        pauses = [one.reply["data"]["interval_ms"] for one in (listener, fast)]
        self.assertEqual(pauses, [1000, 100])
        lines = 0
        for _ in range(20):
            user = self.pay()
            lines += len(listener.hear(0.1))
            self.server.request("PAYMENT", user_id=user, id_station=1, confirmation=False)
            lines += len(listener.hear(0.1))
        self.assertIn(lines, (4, 5))

    def test_out_of_service(self) -> None:
        """An EVSE that an operator takes out of service is told, and which are left."""
        listener = Subscriber(self.server, topics=["stations"])
        for status, told in (
            ("OUTOFORDER", {"available_slots": 0, "max_slots": 0, "out_of_service": 1}),
            ("IN_SERVICE", {"available_slots": 1, "max_slots": 1, "out_of_service": 0}),
        ):
            self.server.engine.perform(SetEvseStatus("2-1", status, None, NOON))
            (event,) = listener.hear()
            state = "in_service" if told["max_slots"] else "out_of_service"
            self.assertEqual(event["stations"], {"2": {**told, "queue_length": 0, "state": state}})

    def test_sweep(self) -> None:
        """What the monitor ends is told as well."""
        self.pay(2)
        listener = Subscriber(self.server, topics=["stations"])
        for _ in range(200):
            self.server.advance(60)
        told = [line["data"] for line in listener.take() if "stations" in line["data"]]
        self.assertEqual([event["stations"]["2"]["available_slots"] for event in told], [1])

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["pay", "reserve", "leave", "wait"]),
                              st.integers(1, 2), st.integers(0, 5)), max_size=25))  # fmt: skip
    def test_state(self, steps: list[tuple[str, int, int]]) -> None:
        """Snapshot and events are the state, whatever drivers do and whenever one reads."""
        self.server = server(station(1, 2), station(2, 1), options=["--unread-timeout", "0"])
        self.pay(1)
        users = [login(self.server) for _ in range(6)]
        listener = Subscriber(self.server, topics=["stations"])
        known = {
            key: {name: value for name, value in fields.items() if name in LIVE}
            for key, fields in listener.reply["data"]["snapshot"]["stations"].items()
        }
        for what, number, who in steps:
            user = {"user_id": users[who], "id_station": number}
            if what == "reserve":
                self.server.request("RESERVE", wait=True, **user)
            elif what == "wait":
                if who % 2:
                    listener.protocol.pauseProducing()
                else:
                    listener.protocol.resumeProducing()
                self.server.advance(0.07 if number == 1 else 400)
            else:
                self.server.request("PAYMENT", confirmation=what == "pay", **user)
        listener.protocol.resumeProducing()
        self.server.advance(0.1)
        self.server.advance(0.1)
        for line in listener.take():
            known.update(line["data"].get("stations", {}))
        self.assertEqual(known, shown(self.server.storage.records.states))  # type: ignore[attr-defined]


class UserTests(SubscribeTestCase):
    """The topic `user`."""

    def test_journey(self) -> None:
        """A driver is told each change of the own journey, as STATUS tells it, to its end."""
        user = login(self.server)
        listener = Subscriber(self.server, topics=["user"], user_id=user)
        self.assertEqual(listener.reply["data"]["snapshot"]["user"]["state"], "FREE")
        told = []
        for kind, data in (
            ("RESERVE", {"id_station": 1}),
            ("ARRIVE", {"id_station": 1}),
            ("STOP", {"leave": False}),
        ):
            self.server.request(kind, user_id=user, **data)
            (event,) = listener.hear()
            status = self.server.request("STATUS", user_id=user)["data"]
            self.assertEqual(event["user"].keys(), status.keys())
            told.append((event["user"]["state"], event["user"]["actions"] == status["actions"]))
        self.assertEqual(told, [("RESERVED", True), ("CHARGING", True), ("FINISHED", True)])
        self.server.request("STOP", user_id=user)
        (event,) = listener.hear()
        self.assertEqual(event["user"], {"user_id": user, "reason": "user_not_found"})
        self.pay()
        self.assertEqual(listener.hear(5), [])

    def test_line(self) -> None:
        """Who waits is told of the place in line, and of the offer."""
        first = self.pay(2)
        others = [login(self.server) for _ in range(2)]
        for other in others:
            self.server.request("RESERVE", user_id=other, id_station=2, wait=True)
        listener = Subscriber(self.server, topics=["user"], user_id=others[1])
        self.assertEqual(listener.reply["data"]["snapshot"]["user"]["position"], 2)
        self.server.request("CANCEL", user_id=others[0])
        (event,) = listener.hear()
        self.assertEqual((event["user"]["state"], event["user"]["position"]), ("WAITING", 1))
        self.server.request("PAYMENT", user_id=first, id_station=2, confirmation=False)
        (event,) = listener.hear()
        self.assertEqual(event["user"]["state"], "OFFERED")

    def test_others(self) -> None:
        """Nobody is told of another's journey."""
        user = login(self.server)
        listener = Subscriber(self.server, topics=["user"], user_id=user)
        self.pay()
        self.assertEqual(listener.hear(5), [])

    def test_unknown(self) -> None:
        """A user who is not there cannot be listened to."""
        reply = Subscriber(self.server, topics=["user"], user_id="nobody").reply
        self.assertEqual(outcome(reply), (404, "user_not_found"))
        reply = Subscriber(self.server, topics=["stations", "user"]).reply
        self.assertEqual(outcome(reply), (400, "missing_fields"))
        self.assertEqual(self.server.engine.hub.subscribers, 0)

    def test_one_line(self) -> None:
        """What has changed of the journey and of the stations comes in one line."""
        user = login(self.server)
        listener = Subscriber(self.server, topics=["user", "stations"], user_id=user)
        self.pay(1, user)
        (event,) = listener.hear()
        self.assertEqual(event.keys(), {"seq", "stations", "user"})
        # No end of its own needs the server to remember whose it was.
        listener.transport.loseConnection()
        listener.protocol.connectionLost()
        self.assertEqual(self.server.engine.hub._journeys._known, {})


class PublicTests(SubscribeTestCase):
    """What is told to everybody."""

    def test_nobody_in_it(self) -> None:
        """No user, driver or receipt is in a public line."""
        listener = Subscriber(self.server, topics=["stations", "figures"])
        said = json.dumps(listener.reply)
        users = [login(self.server) for _ in range(4)]
        for user in users:
            data = {"user_id": user, "id_station": 2}
            self.server.request("RESERVE", wait=True, **data)
            self.server.advance(20)
        for user in users:
            self.server.request("PAYMENT", user_id=user, id_station=2, confirmation=False)
            self.server.advance(20)
        lines = listener.take()
        self.assertGreater(len(lines), 6)
        said += json.dumps(lines)
        # Ids of users and receipts are made by one counter here.
        self.assertNotIn("00000000-0000-4000-8000", said)


class FigureTests(SubscribeTestCase):
    """The topic `figures`."""

    def test_points(self) -> None:
        """There is a point each quarter of a minute, for an hour, and each new one is told."""
        self.server.advance(0)
        listener = Subscriber(self.server, topics=["figures"])
        (first,) = listener.reply["data"]["snapshot"]["figures"]
        names = {"timestamp", "slots", "occupied", "reserved", "out_of_service", "queue_length"}
        self.assertEqual(first.keys(), names | {"load_kw", "energy_kwh", "sessions"})
        self.assertEqual((first["slots"], first["occupied"], first["sessions"]), (3, 0, 0))
        told = []
        for _ in range(20):
            self.server.advance(1)
            told += [line["data"] for line in listener.take()]
        self.assertEqual([event.keys() for event in told], [{"seq", "figures"}])
        for _ in range(400):
            self.server.advance(15)
        again = Subscriber(self.server, topics=["figures"]).reply["data"]["snapshot"]["figures"]
        self.assertEqual(len(again), 240)

    def point(self) -> dict[str, Any]:
        self.server.advance(15)
        return self.server.engine.figures.points[-1]

    def test_figures(self) -> None:
        """A point says who charges, at which power, and what was charged since the start."""
        self.server.advance(0)
        user = self.pay(1)
        waits = login(self.server)
        self.server.request("RESERVE", user_id=login(self.server), id_station=2)
        self.server.request("RESERVE", user_id=waits, id_station=2, wait=True)
        point = self.point()
        kwh = 50 * 15 / 3600
        self.assertEqual(
            {name: point[name] for name in ("occupied", "reserved", "queue_length", "load_kw")},
            {"occupied": 1, "reserved": 1, "queue_length": 1, "load_kw": 50.0},
        )
        self.assertAlmostEqual(point["energy_kwh"], kwh, 4)
        self.assertEqual(point["sessions"], 1)
        self.server.advance(5)
        self.server.request("PAYMENT", user_id=user, id_station=1, confirmation=False)
        point = self.point()
        self.assertEqual((point["load_kw"], point["occupied"], point["sessions"]), (0.0, 0, 1))
        self.assertAlmostEqual(point["energy_kwh"], kwh * 4 / 3, 4)

    def test_restart(self) -> None:
        """What others had been given before the start is not counted."""
        self.server.advance(0)
        self.pay(1)
        self.server.advance(300)
        again = MemoryServer(self.server.storage, now=self.server.clock.seconds())
        again.advance(0)
        again.advance(15)
        point = again.engine.figures.points[-1]
        self.assertEqual((point["load_kw"], point["sessions"]), (50.0, 0))
        self.assertAlmostEqual(point["energy_kwh"], 50 * 15 / 3600, 4)


class LengthTests(SynchronousTestCase):
    """How long lines get, as docs/protocol.md has it."""

    def test_lengths(self) -> None:
        """Neither the snapshot nor an event is longer than is said."""
        self.server = server(*(station(10**8 + n, 100 + n) for n in range(40)))
        for _ in range(300):
            self.server.advance(15)
        data = {"topics": ["stations", "figures"]}
        protocol, transport = self.server.connect()
        protocol.dataReceived(request_line("SUBSCRIBE", **data).replace(b'""', b'"", "id": 1'))
        snapshot = len(transport.take())
        start = len(json.dumps(self.server.request("START")["data"]["station_models"]).encode())
        self.assertLess(snapshot, 500 + start + 40 * 60 + 240 * 300)
        states = self.server.storage.records.states  # type: ignore[attr-defined]
        self.server.engine.hub.see(Stations(states))
        for state in states:
            self.server.engine.hub.change(("stations", state.station.key))
        self.server.engine.hub.new_point()
        self.server.advance(0.1)
        self.assertLess(len(transport.take()), 500 + 40 * 140 + 300)


class LimitTests(SubscribeTestCase):
    """Who may listen, and what is refused."""

    def test_wrong(self) -> None:
        """What does not go together is refused, and names the field."""
        area = {"south": -13, "west": -39, "north": -12, "east": -38}
        for data, reason, field in (
            ({}, "missing_fields", "topics"),
            ({"topics": "stations"}, "invalid_field", "topics"),
            ({"topics": ["stations", 1]}, "invalid_field", "topics[1]"),
            ({"topics": ["stations"], "stations": ["1"], "area": area}, "invalid_field", "area"),
            ({"topics": ["stations"], "area": {**area, "south": 0}}, "invalid_field", "area.south"),
            ({"topics": ["stations"], "area": {"south": 0}}, "missing_fields", "area.west"),
            ({"topics": ["stations"], "stations": [1] * 101}, "invalid_field", "stations"),
            ({"topics": ["stations"], "interval_ms": 49}, "invalid_field", "interval_ms"),
            ({"topics": ["stations"], "interval_ms": 60001}, "invalid_field", "interval_ms"),
        ):
            listener = Subscriber(self.server)
            reply = listener.request("SUBSCRIBE", **data)
            self.assertEqual(outcome(reply), (400, reason), data)
            self.assertIn(field, reply["data"]["message"])
        self.assertEqual(self.server.engine.hub.subscribers, 0)

    def test_simulation(self) -> None:
        """Topics of a simulation are topics; without one there is nothing of them."""
        reply = Subscriber(self.server, topics=["vehicles", "simulation"]).reply
        self.assertEqual((outcome(reply), reply["data"]["snapshot"]), ((200, None), {}))

    def test_too_many_stations(self) -> None:
        """A network over 1,000 stations is listened to in parts."""
        big = server(*(station(number) for number in range(1, 1002)))
        reply = Subscriber(big, topics=["stations"]).reply
        self.assertEqual(outcome(reply), (400, "too_many_stations"))
        area = {"south": -90, "west": -38.945, "north": 90, "east": 0}
        everywhere = {"south": -90, "west": -180, "north": 90, "east": 180}
        reply = Subscriber(big, topics=["stations"], area=everywhere).reply
        self.assertEqual(outcome(reply), (400, "too_many_stations"))
        for data in ({"topics": ["stations"], "stations": ["7"]}, {"topics": ["figures"]}):
            self.assertEqual(outcome(Subscriber(big, **data).reply), (200, None))
        some = Subscriber(big, topics=["stations"], area={**area, "east": -38.5}).reply
        self.assertEqual(outcome(some), (200, None))

    def test_too_many(self) -> None:
        """A full house refuses, but not one who is there already; who goes makes room."""
        self.server = server(station(1), options=["--max-subscribers", "2"])
        first, second = (Subscriber(self.server, topics=["stations"]) for _ in range(2))
        third = Subscriber(self.server, topics=["stations"])
        self.assertEqual(outcome(third.reply), (503, "too_many_subscribers"))
        self.assertEqual(self.server.refused, ["subscribers"])
        for data in ({"topics": ["figures"]}, {"topics": ["stations"], "stations": [1]}):
            self.assertEqual(outcome(first.request("SUBSCRIBE", **data)), (200, None))
        self.assertEqual(outcome(third.request("SUBSCRIBE", topics=[])), (200, None))
        second.protocol.connectionLost()
        self.assertEqual(outcome(third.request("SUBSCRIBE", topics=["stations"])), (200, None))

    def test_none(self) -> None:
        """With --max-subscribers 0 nobody may."""
        none = server(station(1), options=["--max-subscribers", "0"])
        reply = Subscriber(none, topics=["stations"]).reply
        self.assertEqual(outcome(reply), (503, "too_many_subscribers"))

    def test_rate(self) -> None:
        """Subscribing counts as one request; events do not."""
        self.server = server(station(1, 9), options=["--rate-per-connection", "2"])
        listener = Subscriber(self.server, topics=["stations"])
        for _ in range(9):
            self.pay()
            self.assertEqual(len(listener.hear()), 1)
        codes = [
            reply["status"]["code"]
            for _ in range(30)
            for reply in listener.send(request_line("SUBSCRIBE", topics=[]))
        ]
        self.assertIn(429, codes)
        self.assertEqual(codes[0], 200)


class ConnectionTests(SubscribeTestCase):
    """The subscription is the connection's own."""

    def test_ends_with_it(self) -> None:
        """However the connection ends, the subscription does, and leaves nothing behind."""
        for end in (
            lambda listener: listener.protocol.connectionLost(),
            lambda listener: listener.protocol.readConnectionLost(),
            lambda listener: listener.protocol.drain(),
            lambda listener: listener.protocol.hang_up(),
            lambda listener: listener.protocol.dataReceived(b"x" * 70000),
        ):
            listener = Subscriber(self.server, topics=["stations", "figures"])
            self.assertEqual(self.server.engine.hub.subscribers, 1)
            end(listener)
            self.assertEqual(self.server.engine.hub.subscribers, 0)
            listener.take()
            self.pay(1)
            self.server.advance(30)
            self.assertEqual(listener.take(), [])
            self.setUp()

    def test_half_closed(self) -> None:
        """Who has closed the writing half is answered, and listens no more."""
        listener = Subscriber(self.server)
        listener.protocol.dataReceived(request_line("SUBSCRIBE", topics=["stations"])[:-1])
        listener.protocol.readConnectionLost()
        (reply,) = listener.take()
        self.assertEqual(outcome(reply), (200, None))
        self.assertEqual(self.server.engine.hub.subscribers, 0)
        self.assertTrue(listener.transport.disconnecting)

    def test_not_idle(self) -> None:
        """Who listens is not idle; who has ended it is."""
        self.server = server(station(1), options=["--idle-timeout", "100"])
        listener = Subscriber(self.server, topics=["stations"])
        for _ in range(300):
            self.server.advance(1)
        self.assertFalse(listener.transport.write_closed)
        self.assertIs(listener.protocol.standing, Standing.LISTENING)
        listener.take()
        listener.request("SUBSCRIBE", topics=[])
        for _ in range(110):
            self.server.advance(1)
        self.assertTrue(listener.transport.write_closed)
        self.assertEqual(self.server.refused, ["idle"])

    def test_slow(self) -> None:
        """Who does not read gets one line of all that was missed, and is cut off after a minute."""
        listener = Subscriber(self.server, topics=["stations"])
        listener.protocol.pauseProducing()
        for _ in range(10):
            user = self.pay(1)
            self.server.advance(0.2)
            self.server.request("PAYMENT", user_id=user, id_station=1, confirmation=False)
            self.server.advance(0.2)
        self.pay(2)
        self.assertEqual(listener.hear(0.2), [])
        listener.protocol.resumeProducing()
        (event,) = listener.hear(0.1)
        slots = {key: fields["available_slots"] for key, fields in event["stations"].items()}
        self.assertEqual(slots, {"1": 2, "2": 0})
        listener.protocol.pauseProducing()
        for _ in range(70):
            self.server.advance(1)
        self.assertTrue(listener.transport.aborted)
        self.assertEqual(self.server.refused, ["unread"])

    def test_fault(self) -> None:
        """A fault of the hub keeps no driver from the reply, and nobody from what comes after."""
        listener = Subscriber(self.server, topics=["stations"])
        happened = self.server.engine.hub.happened
        self.server.engine.hub.happened = lambda *_: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        self.pay(1)
        self.server.engine.hub.happened = happened  # type: ignore[method-assign]
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.pay(2)
        (event,) = listener.hear()
        self.assertEqual(event["stations"].keys(), {"1", "2"})

    def test_nothing_kept(self) -> None:
        """With nobody left there is no timer of the hub's."""
        timers = len(self.server.clock.getDelayedCalls())
        listeners = [Subscriber(self.server, topics=["stations"]) for _ in range(3)]
        self.pay()
        self.assertGreater(len(self.server.clock.getDelayedCalls()), timers)
        for listener in listeners:
            listener.protocol.connectionLost()
        self.assertEqual(self.server.engine.hub._groups, {})
        self.assertLessEqual(len(self.server.clock.getDelayedCalls()), timers + 1)
