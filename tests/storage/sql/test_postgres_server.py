"""Real server processes over a real PostgreSQL that dies, hangs, and is replaced."""

import signal
import threading
import time
from collections.abc import Callable, Set
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evcharge.outcomes import Refusal
from evcharge.rules.journey import UNKNOWN_USER, AddUser
from evcharge.storage import Storage
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.location import parse
from evcharge.testing import NOON
from tests.support import postgres
from tests.support.operations import (
    a_session,
    a_user,
    find_user,
    leave,
    pay,
    take,
    unseated,
    until_done,
    user_ids,
)
from tests.support.servers import LOGIN, Client, Server, ServerTestCase
from tests.support.waiting import until

ANSWERED_S = 2.0
"""Within which a request is answered whatever the database does."""

BACK_S = 5.0
"""Within which all works again once the database is there."""


def timed(client: Client, kind: str, **data: Any) -> tuple[int, float]:
    began = time.monotonic()
    code = client.request(kind, **data)["status"]["code"]
    return code, time.monotonic() - began


class PostgresServerTestCase(ServerTestCase):
    """Servers that share a database."""

    def serve(self, url: str, *options: str) -> Server:
        return self.start(Path(self.mktemp()), "--storage", url, *options).wait()

    def login(self, client: Client) -> str:
        reply = client.request("LOGIN", **LOGIN)
        self.assertEqual(reply["status"]["code"], 200, reply)
        return reply["data"]["user_id"]

    def available(self, client: Client, station: int) -> int:
        return client.request("START")["data"]["station_models"][str(station)]["available_slots"]


class OutageTests(PostgresServerTestCase):
    """The database goes away, and comes back."""

    def outage(self, begin: Callable[[], object], end: Callable[[], object]) -> None:
        """503 in time while it is away, on the same connections; then all works again, in time."""
        database = postgres.shared()
        server = self.serve(database.url(database.create_database()))
        client, others = self.client(server), [self.client(server) for _ in range(10)]
        user = self.login(client)
        paid = client.request("PAYMENT", user_id=user, id_station=1, confirmation=True)
        begin()
        try:
            with ThreadPoolExecutor(10) as threads:
                for _ in range(3):
                    replies = list(
                        threads.map(
                            lambda other: timed(
                                other, "NAVIGATION", user_id=user, route_distance=1
                            ),
                            others,
                        )
                    )
                    self.assertEqual({code for code, _ in replies}, {503}, replies)
                    self.assertLess(max(seconds for _, seconds in replies), ANSWERED_S)
            code, seconds = timed(
                client, "LOGIN", user_name="B", selected_car="Tesla Model 3", battery_car=4
            )
            self.assertEqual(code, 503)
            self.assertLess(seconds, ANSWERED_S)
        finally:
            end()
        until(
            lambda: timed(client, "NAVIGATION", user_id=user, route_distance=1)[0] == 200,
            "the database is back",
            BACK_S,
        )
        for other in others:
            self.assertEqual(timed(other, "NAVIGATION", user_id=user, route_distance=1)[0], 200)
        again = client.request("PAYMENT", user_id=user, id_station=1, confirmation=True)
        self.assertEqual(again["data"]["receipt_id"], paid["data"]["receipt_id"])
        self.assertEqual(self.available(client, 1), 7)
        self.login(client)
        self.assertEqual(server.end(), -signal.SIGTERM)

    def test_killed(self) -> None:
        """It is killed, and started anew."""
        self.outage(postgres.shared().kill, postgres.shared().start)

    def test_stopped(self) -> None:
        """It is shut down, and started anew."""
        self.outage(postgres.shared().stop, postgres.shared().start)

    def test_hangs(self) -> None:
        """It hangs without closing its connections, and goes on."""
        self.outage(postgres.shared().pause, postgres.shared().resume)

    def test_end_in_outage(self) -> None:
        """A server ends in time though the database hangs."""
        database = postgres.shared()
        server = self.serve(database.url(database.create_database()))
        client = self.client(server)
        user = self.login(client)
        database.pause()
        try:
            client.begin("NAVIGATION", user_id=user, route_distance=1)
            began = time.monotonic()
            self.assertEqual(server.end(), -signal.SIGTERM)
            self.assertLess(time.monotonic() - began, 7)
            self.assertEqual(client.reply()["status"]["code"], 503)
        finally:
            database.resume()


class FailoverTests(PostgresServerTestCase):
    """The primary dies, and its synchronous standby takes its place."""

    def test_promoted(self) -> None:
        """No answered payment is lost, and the servers go on without a restart."""
        primary = postgres.Postgres()
        self.addCleanup(primary.close)
        name = primary.create_database()
        standby = primary.standby()
        self.addCleanup(standby.close)
        server = self.serve(
            f"postgresql://{primary.user}:{primary.password}@{primary.host}:{primary.port},"
            f"{standby.host}:{standby.port}/{name}?target_session_attrs=read-write"
        )
        client = self.client(server)
        answered: dict[str, str] = {}
        stop = threading.Event()

        def drive() -> None:
            driver = Client(server.port)
            station = 0
            while not stop.is_set():
                station = station % 36 + 1
                login = driver.request(
                    "LOGIN", user_name="A", selected_car="Tesla Model 3", battery_car=10
                )
                if login["status"]["code"] != 200:
                    continue
                user = login["data"]["user_id"]
                reply = driver.request(
                    "PAYMENT", user_id=user, id_station=station, confirmation=True
                )
                if reply["data"].get("confirmation"):
                    answered[user] = f"{station} {reply['data']['receipt_id']}"
            driver.close()

        drivers = [threading.Thread(target=drive) for _ in range(4)]
        for driver in drivers:
            driver.start()
        try:
            until(lambda: len(answered) > 30, "drivers are served")
            primary.kill()
            until(
                lambda: timed(client, "NAVIGATION", user_id="x", route_distance=1)[0] == 503,
                "it is seen that the database is gone",
            )
            standby.promote()
            promoted = time.monotonic()
            until(
                lambda: timed(client, "NAVIGATION", user_id="x", route_distance=1)[0] == 404,
                "the standby is found",
                BACK_S,
            )
            self.assertLess(time.monotonic() - promoted, BACK_S)
            self.login(client)
        finally:
            stop.set()
            for driver in drivers:
                driver.join(20)
        self.assertGreater(len(answered), 30)
        for user, paid in answered.items():
            station, receipt = paid.split()
            reply = client.request("PAYMENT", user_id=user, id_station=station, confirmation=True)
            self.assertEqual(reply["data"].get("receipt_id"), receipt, reply)


class StandbyTests(PostgresServerTestCase):
    """A standby that each commit waits for is not there: nobody is told what it may not have."""

    def setUp(self) -> None:
        self.primary = postgres.Postgres()
        self.addCleanup(self.primary.close)
        self.url = self.primary.url(self.primary.create_database())

    def opened(self) -> Storage:
        storage = parse(self.url, "").storage()
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def wait_for_wait(self, done: Future, but: Set = frozenset()) -> None:
        """Wait until a transaction does for the standby, other than those of `but`, or is done."""
        until(lambda: done.done() or self.primary.waiting() - but, "the standby is waited for")

    def waits(self, done: Future, *, but: set) -> set:
        """The transaction that comes to wait for the standby, other than those of `but`."""
        self.wait_for_wait(done, but)
        self.assertFalse(done.done(), done)
        return self.primary.waiting() - but

    def cut(self, how: str, waiting: set) -> None:
        for pid, _ in waiting:
            self.primary._ask(f"select {how}({pid})")

    def test_tried_again(self) -> None:
        """What is tried again after its commit was not confirmed waits as it did the first time."""
        storage = self.opened()
        # The one says that the commit was a success, the other one says nothing.
        for how in ("pg_cancel_backend", "pg_terminate_backend"):
            user = a_user(how)
            for operation in (AddUser(user), take(a_session(how)), leave(how)):
                self.primary.wait_for_standby("nowhere")
                with ThreadPoolExecutor(1) as thread:
                    done = thread.submit(until_done, storage, operation)
                    try:
                        first = self.waits(done, but=set())
                        self.cut(how, first)
                        self.waits(done, but=first)
                    finally:
                        self.primary.wait_for_standby("")
                    self.assertNotIsInstance(done.result(20), (Exception, Refusal))

    def test_asked_elsewhere(self) -> None:
        """Nor is another server's client told what the first commit did."""
        storage, other = self.opened(), self.opened()
        for operation, outcome in (
            (AddUser(a_user()), None),
            (take(a_session()), a_session()),
            (leave("u1"), UNKNOWN_USER),
            (pay("u1", "999", lambda user, station: a_session()), UNKNOWN_USER),
        ):
            self.primary.wait_for_standby("nowhere")
            with ThreadPoolExecutor(2) as threads:
                try:
                    first = threads.submit(storage.execute, [operation])
                    self.cut("pg_terminate_backend", self.waits(first, but=set()))
                    self.assertRaises(TryAgain, first.result, 20)
                    self.assertEqual(self.primary.waiting(), set())
                    done = threads.submit(until_done, other, operation)
                    self.waits(done, but=set())
                finally:
                    self.primary.wait_for_standby("")
                self.assertEqual(unseated(done.result(20)), outcome)

    def test_away_for_long(self) -> None:
        """While it is away nothing is left behind in the database by those who gave up."""
        storage = self.opened()
        self.primary.wait_for_standby("nowhere")
        waited = 0
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evcharge'"
        try:
            with ThreadPoolExecutor(1) as thread:
                for number in range(5):
                    done = thread.submit(storage.execute, [AddUser(a_user(f"u{number}"))])
                    self.wait_for_wait(done)
                    # It may have given up by itself, where much else goes on.
                    waited += not done.done()
                    storage.interrupt()
                    self.assertRaises(TryAgain, done.result, 20)
                    until(lambda: self.primary._ask(count) == 0, "the statement is cancelled")
        finally:
            self.primary.wait_for_standby("")
        self.assertGreater(waited, 0)
        until_done(storage, AddUser(a_user("u9")))
        self.assertIn("u9", user_ids(storage))

    def test_stopped(self) -> None:
        """A LOGIN is not answered while the standby is down, and is there when it takes over."""
        standby = self.primary.standby()
        self.addCleanup(standby.close)
        client = self.client(self.serve(self.url))
        self.login(client)
        standby.stop()
        with ThreadPoolExecutor(1) as thread:
            login = {"user_name": "B", "selected_car": "Tesla Model 3", "battery_car": 4}
            done = thread.submit(timed, client, "LOGIN", **login)
            self.cut("pg_terminate_backend", self.waits(done, but=set()))
            code, seconds = done.result(20)
        self.assertEqual(code, 503)
        self.assertLess(seconds, ANSWERED_S)
        standby.start()
        until(lambda: timed(client, "LOGIN", **login)[0] == 200, "LOGIN is served", BACK_S)
        user = self.login(client)
        self.primary.kill()
        standby.promote()
        ours = parse(standby.url(self.url.rpartition("/")[2]), "").storage()
        ours.open(NOON)
        self.addCleanup(ours.close)
        self.assertEqual(find_user(ours, user).user_name, "Ana")


class ManyServersTests(PostgresServerTestCase):
    """Several servers, one database."""

    def test_one_station(self) -> None:
        """Drivers of three servers who hammer one station get exactly its slots."""
        database = postgres.shared()
        url = database.url(database.create_database())
        servers = [self.serve(url, "--sweep-interval", "0.2") for _ in range(3)]
        clients = [self.client(servers[n % 3]) for n in range(24)]
        slots = self.available(clients[0], 1)

        def hammer(client: Client) -> bool:
            user = self.login(client)
            reply = client.request("PAYMENT", user_id=user, id_station=1, confirmation=True)
            self.assertEqual(reply["status"]["code"], 200, reply)
            return reply["data"]["confirmation"]

        with ThreadPoolExecutor(24) as threads:
            won = sum(threads.map(hammer, clients))
        self.assertEqual(won, slots)
        began = time.monotonic()
        for client in clients[:3]:
            until(lambda client=client: self.available(client, 1) == 0, "it is seen full", 1)
        self.assertLess(time.monotonic() - began, 1.0)

    def test_any_server(self) -> None:
        """A journey may go from server to server, and one ends what another began."""
        database = postgres.shared()
        url = database.url(database.create_database())
        one, other = (
            self.client(self.serve(url, "--time-scale", "1000", "--sweep-interval", "0.2"))
            for _ in range(2)
        )
        user = self.login(one)
        self.assertEqual(timed(other, "NAVIGATION", user_id=user, route_distance=1)[0], 200)
        paid = other.request("PAYMENT", user_id=user, id_station=3, confirmation=True)
        again = one.request("PAYMENT", user_id=user, id_station=3, confirmation=True)
        self.assertEqual(paid["data"], again["data"])
        self.assertEqual(
            one.request("PAYMENT", user_id=user, id_station=4, confirmation=True)["status"]["code"],
            409,
        )
        until(
            lambda: timed(one, "NAVIGATION", user_id=user, route_distance=1)[0] == 404,
            "the journey ends",
        )
        until(
            lambda: self.available(other, 3) == self.available(one, 3) == 6,
            "both see the slot free",
            1,
        )
