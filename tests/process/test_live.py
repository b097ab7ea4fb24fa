"""What changes, told by real servers over real sockets."""

import time
from pathlib import Path
from typing import Any

from evcharge.client import Client as Program
from tests.support import postgres
from tests.support.servers import (
    LOGIN,
    Client,
    HealthTestCase,
    ServerTestCase,
    TLSTestCase,
    request_line,
)
from tests.support.waiting import LIMIT_S


class Listener(Client):
    """A client that listens to some stations."""

    def __init__(self, port: int, *stations: int) -> None:
        super().__init__(port)
        data = {"stations": list(stations)} if stations else {}
        self.known = self.request("SUBSCRIBE", topics=["stations"], **data)["data"]["snapshot"]
        self.known = self.known["stations"]

    def until(self, station: int, free: int) -> None:
        """Listen until so many slots are free."""
        ends = time.monotonic() + LIMIT_S
        while self.known[str(station)]["available_slots"] != free:
            assert time.monotonic() < ends, self.known[str(station)]
            self.take(self.reply())

    def take(self, line: dict[str, Any]) -> None:
        assert line["type"] == "EVENT", line
        for key, fields in line["data"].get("stations", {}).items():
            self.known[key].update(fields)


def pay(port: int, station: int) -> str:
    with Program(port=port) as server:
        user: str = server.request("LOGIN", **LOGIN)["data"]["user_id"]
        paid = server.request("PAYMENT", user_id=user, id_station=station, confirmation=True)
        assert paid["data"]["confirmation"], paid
    return user


def leave(port: int, user: str) -> None:
    with Program(port=port) as server:
        server.request("PAYMENT", user_id=user, id_station=1, confirmation=False)


class LiveTests(HealthTestCase):
    """A server of one process."""

    def listener(self, port: int, *stations: int) -> Listener:
        listener = Listener(port, *stations)
        self.addCleanup(listener.close)
        return listener

    def test_change(self) -> None:
        """A change is told over TCP; the metrics say to how many, and how soon."""
        server = self.serve()
        listeners = [self.listener(server.port) for _ in range(3)]
        user = pay(server.port, 7)
        for listener in listeners:
            listener.until(7, 1)
        leave(server.port, user)
        for listener in listeners:
            listener.until(7, 2)
        told = self.samples()
        self.assertEqual(told["evcharge_subscribers", "tcp"], 3)
        self.assertGreaterEqual(told["evcharge_events_sent_total", "tcp"], 6)
        self.assertGreaterEqual(told["evcharge_live_lag_seconds_count",], 6)

    def test_slow_reader(self) -> None:
        """Who does not read gets all replies in order, whole, and in the end what is so."""
        server = self.start(Path(self.mktemp())).wait()
        slow, other = self.listener(server.port), self.listener(server.port)
        asked = 1500
        slow.socket.sendall(request_line("START") * asked)
        for taken in range(1, 8):
            pay(server.port, 1)
            other.until(1, 8 - taken)
        answered = events = 0
        while answered < asked:
            line = slow.reply()
            if line["type"] == "EVENT":
                events += 1
                slow.take(line)
            else:
                self.assertEqual((line["type"], line["status"]["code"]), ("START", 200))
                answered += 1
        slow.until(1, 1)
        self.assertLess(events, 7)

    def test_program(self) -> None:
        """A program that listens may ask meanwhile, and misses nothing."""
        server = self.start(Path(self.mktemp())).wait()
        with Program(port=server.port) as program:
            program.request("SUBSCRIBE", topics=["stations"], stations=[7, 9])
            for station in (7, 9):
                pay(server.port, station)
                time.sleep(0.3)
            self.assertEqual(program.request("START", limit=1)["status"]["code"], 200)
            told = [program.event()["data"]["stations"] for _ in range(2)]
        self.assertEqual([set(each) for each in told], [{"7"}, {"9"}])


class TLSTests(TLSTestCase):
    """A server that speaks TLS."""

    def test_change(self) -> None:
        """A change is told over TLS as well."""
        server = self.serve()
        client = self.connect()
        client.sendall(request_line("SUBSCRIBE", topics=["stations"], stations=[7]))
        self.assertEqual(self.line(client)["status"]["code"], 200)
        pay(server.port, 7)
        event = self.line(client)["data"]
        self.assertEqual(event["stations"]["7"]["available_slots"], 1)


class SharedTests(ServerTestCase):
    """Several processes on one storage."""

    def check(self, *options: str) -> None:
        """All processes tell what each of them changes."""
        server = self.start(Path(self.mktemp()), "--workers", "2", *options).wait()
        listeners = []
        for _ in range(6):
            listener = Listener(server.port)
            self.addCleanup(listener.close)
            listeners.append(listener)
        users = []
        for taken in range(1, 6):
            users.append(pay(server.port, 1))
            for listener in listeners:
                listener.until(1, 8 - taken)
        for user in users:
            leave(server.port, user)
        for listener in listeners:
            listener.until(1, 8)

    def test_sqlite(self) -> None:
        """Workers on SQLite."""
        path = Path(self.mktemp()).absolute()
        self.check("--storage", f"sqlite:///{path}")

    def test_postgres(self) -> None:
        """Workers on PostgreSQL."""
        database = postgres.shared()
        self.check("--storage", database.url(database.create_database()))

    def test_journey(self) -> None:
        """A driver is told what was done over another process."""
        path = Path(self.mktemp()).absolute()
        server = self.start(
            Path(self.mktemp()), "--workers", "2", "--storage", f"sqlite:///{path}"
        ).wait()
        with Program(port=server.port) as program:
            user = program.request("LOGIN", **LOGIN)["data"]["user_id"]
            listeners = []
            for _ in range(6):
                listener = Client(server.port)
                self.addCleanup(listener.close)
                reply = listener.request("SUBSCRIBE", topics=["user"], user_id=user)
                self.assertEqual(reply["data"]["snapshot"]["user"]["state"], "FREE")
                listeners.append(listener)
            program.request("PAYMENT", user_id=user, id_station=9, confirmation=True)
            for listener in listeners:
                self.assertEqual(listener.reply()["data"]["user"]["state"], "CHARGING")
            program.request("PAYMENT", user_id=user, id_station=9, confirmation=False)
            for listener in listeners:
                self.assertEqual(listener.reply()["data"]["user"]["reason"], "user_not_found")
