"""Real servers, whose clock is wrong, and set while they run."""

import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psycopg

from tests.support import postgres, watcher
from tests.support.servers import Client, HealthTestCase, Server
from tests.support.tools import need
from tests.support.waiting import until

HOUR_S, DAY_S = 3600.0, 86400.0

FOLLOWS_S = 5.0
"""Within how many seconds a server has to follow a clock that has been set."""

LIE = """
import pathlib, time
true = time.time
path = pathlib.Path(__file__).with_name("set_by")
time.time = lambda: true() + float(path.read_text())
"""


@functools.cache
def lying() -> Path:
    """A folder with what Python imports first, which then tells the time that a test says."""
    folder = Path(tempfile.mkdtemp(prefix="lie-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    watcher.remove(folder)
    (folder / "lie.py").write_text(LIE)
    (folder / "sitecustomize.py").write_text("import lie")
    return folder


class Driver:
    """A driver's program, which sees what a driver sees."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def ahead_s(self) -> float:
        """By how much the server's replies are ahead of the true time."""
        shown = self.client.request("START")["timestamp"].replace("Z", "+00:00")
        return datetime.fromisoformat(shown).timestamp() - time.time()

    def login(self, battery: int = 10) -> str:
        return self.client.request(
            "LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=battery
        )["data"]["user_id"]

    def pay(self, user: str, station: int = 1) -> dict:
        """Pay, or ask what was paid."""
        reply = self.client.request("PAYMENT", user_id=user, id_station=station, confirmation=True)
        assert reply["data"]["confirmation"], reply
        return reply["data"]

    def is_there(self, user: str) -> bool:
        reply = self.client.request("NAVIGATION", user_id=user, route_distance=1)
        return reply["status"]["code"] == 200


class LyingTestCase(HealthTestCase):
    """Servers to whom the system's clock is what a test says."""

    def setUp(self) -> None:
        # What asks for the system's time asks Python, which tells it what a set clock would. The
        # workers look for modules where their parent does. One folder serves all tests, so that
        # servers can be forks of one process that has been lied to since it began.
        self.folder = lying()
        self.lie(0)

    def serve(self, *options: str, **more: object) -> Server:
        return super().serve(*options, modules=str(self.folder), **more)

    def lie(self, by_s: float) -> None:
        """Have the clock be wrong by so much, from now on."""
        # At once: it may be read just now.
        (self.folder / "new").write_text(str(by_s))
        (self.folder / "new").rename(self.folder / "set_by")

    def driver(self, server: Server) -> Driver:
        return Driver(self.client(server))

    def follows(self, server: Server, by_s: float) -> None:
        """Wait until the server goes by a clock that is wrong by so much, as it soon has to."""
        driver = self.driver(server)
        until(
            lambda: abs(driver.ahead_s() - by_s) <= 2,
            f"a clock that is {by_s:+.0f} s wrong",
            FOLLOWS_S,
            log=server.log,
        )


class SetClockTests(LyingTestCase):
    """A clock that is set while servers run."""

    def test_set(self) -> None:
        """An hour ahead nobody's slot is freed, and an hour back those that end are, in time."""
        server = self.serve("--sweep-interval", "0.05", "--time-scale", "60")
        driver = self.driver(server)
        user = driver.login(10)
        began = time.monotonic()
        paid = driver.pay(user)
        lasts_s = paid["charge_minutes"] * 60 / 60
        self.assertGreater(lasts_s, 15)
        for by_s in (HOUR_S, 0.0, -HOUR_S):
            self.lie(by_s)
            self.follows(server, by_s)
            again = driver.pay(user)
            self.assertEqual(
                again, {**paid, "estimated_timestamp": paid["estimated_timestamp"] + by_s}
            )
        while driver.is_there(user):
            self.assertLess(time.monotonic() - began, lasts_s + 3)
            time.sleep(0.05)
        self.assertGreater(time.monotonic() - began, lasts_s - 1)

    def test_workers(self) -> None:
        """
        Workers go by one time, also those that are started again; what stands moves once.
        """
        data = Path(self.mktemp()).absolute()
        server = self.serve(
            *("--workers", "2", "--storage", f"sqlite:///{data}.db"),
            *("--sweep-interval", "0.1", "--time-scale", "10"),
        )
        # The parent's, and one of each worker.
        self.wait_for(server, " listens on ", times=3)
        driver = self.driver(server)
        user = driver.login()
        paid = driver.pay(user)
        self.assertGreater(paid["charge_minutes"] * 60 / 10, 60)
        self.lie(HOUR_S)
        self.follows(server, HOUR_S)
        pids = [int(pid) for pid in re.findall(r"Worker \d is process (\d+)", "".join(server.log))]
        self.assertEqual(len(pids), 2)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        # The new ones sweep when they start.
        self.wait_for(server, " listens on ", times=5)
        for number in "12":
            key = "evcharge_sweep_duration_seconds_count", number
            until(lambda key=key: self.samples().get(key), "it has swept", process=server.process)
        # Whoever of them it is who answers.
        for _ in range(10):
            driver = self.driver(server)
            self.assertApproximates(driver.ahead_s(), HOUR_S, 1)
            self.assertEqual(
                driver.pay(user),
                {**paid, "estimated_timestamp": paid["estimated_timestamp"] + HOUR_S},
            )

    def test_worker_killed_meanwhile(self) -> None:
        """Workers that die while the clock is set find it set, and what stands moved once."""
        data = Path(self.mktemp()).absolute()
        server = self.serve(
            *("--workers", "2", "--storage", f"sqlite:///{data}.db"), "--time-scale", "10"
        )
        self.wait_for(server, " listens on ", times=3)
        user = self.driver(server).login()
        paid = self.driver(server).pay(user)
        self.lie(-HOUR_S)
        limit = time.monotonic() + FOLLOWS_S
        while "has been set by" not in "".join(server.log):
            self.assertLess(time.monotonic(), limit)
            for pid in re.findall(r"Worker \d is process (\d+)", "".join(server.log))[-2:]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.3)
        self.follows(server, -HOUR_S)
        for _ in range(4):
            self.assertEqual(
                self.driver(server).pay(user),
                {**paid, "estimated_timestamp": paid["estimated_timestamp"] - HOUR_S},
            )


class WrongAtTheStartTests(LyingTestCase):
    """A clock that is wrong when the server starts, and is put right later, with each storage."""

    def storages(self) -> Iterator[tuple[str, ...]]:
        """The options of a storage of each kind that a machine has for itself."""
        for name in ("files", "sqlite", "workers"):
            folder = Path(self.mktemp()).absolute()
            self.data = folder
            yield {
                "files": ("--data", str(folder)),
                "sqlite": ("--storage", f"sqlite:///{folder}.db"),
                "workers": ("--storage", f"sqlite:///{folder}.db", "--workers", "2"),
            }[name]

    def begin(self, by_s: float, options: tuple[str, ...]) -> Server:
        self.lie(by_s)
        server = self.serve(*options, "--sweep-interval", "0.1")
        if "--workers" in options:
            self.wait_for(server, " listens on ", times=3)
        return server

    def end(self, server: Server, options: tuple[str, ...]) -> None:
        """End it as a power failure does, as far as that can be told from a process that ends."""
        if "--workers" in options:
            server.end()
        else:
            server.end(signal.SIGKILL)

    def right_end(self, paid: dict, began: float) -> float:
        """When charging that began then has to end, in true seconds since the epoch."""
        return began + paid["charge_minutes"] * 60

    def test_put_right(self) -> None:
        """What began by it lasts as long as was promised, whenever the server is started again."""
        wrong_s = -20 * DAY_S
        for options in self.storages():
            # All is right.
            server = self.begin(0, options)
            old = self.driver(server).login()
            old_paid = self.driver(server).pay(old)
            self.end(server, options)
            # The machine starts, and does not know the time.
            server = self.begin(wrong_s, options)
            self.wait_for(server, "The system's clock is wrong: it says")
            driver = self.driver(server)
            self.assertApproximates(driver.ahead_s(), wrong_s, 1)
            first, began = driver.login(), time.time()
            first_paid = driver.pay(first, 2)
            self.assertApproximates(
                first_paid["estimated_timestamp"], self.right_end(first_paid, began) + wrong_s, 2
            )
            self.assertEqual(driver.pay(old), old_paid)
            # Before it is put right the server ends, and starts.
            self.end(server, options)
            server = self.begin(wrong_s, options)
            driver = self.driver(server)
            self.assertEqual(driver.pay(old), old_paid)
            self.assertEqual(driver.pay(first, 2), first_paid)
            second = driver.login()
            second_paid = driver.pay(second, 3)
            self.lie(0)
            self.follows(server, 0)
            for again in range(3):
                driver = self.driver(server)
                self.assertEqual(driver.pay(old), old_paid)
                for user, station, paid in ((first, 2, first_paid), (second, 3, second_paid)):
                    self.assertApproximates(
                        driver.pay(user, station)["estimated_timestamp"],
                        paid["estimated_timestamp"] - wrong_s,
                        1,
                    )
                # And afterwards.
                self.end(server, options)
                if again < 2:
                    server = self.begin(0, options)
                    self.assertNotIn("wrong", "".join(server.log))

    def test_put_right_meanwhile(self) -> None:
        """So it does where no server runs when the clock is put right."""
        for options in self.storages():
            server = self.begin(-20 * DAY_S, options)
            driver = self.driver(server)
            user = driver.login()
            paid = driver.pay(user)
            self.end(server, options)
            # It passes while no server runs.
            time.sleep(1)
            server = self.begin(0, options)
            self.wait_for(server, "clock is right again")
            again = self.driver(server).pay(user)
            self.assertApproximates(
                again["estimated_timestamp"], paid["estimated_timestamp"] + 20 * DAY_S, 1
            )
            self.assertEqual({**again, "estimated_timestamp": paid["estimated_timestamp"]}, paid)
            server.end()

    def test_files(self) -> None:
        """The files soon say so, and the list of payments at once."""
        folder = Path(self.mktemp()).absolute()
        server = self.begin(-20 * DAY_S, ("--data", str(folder)))
        driver = self.driver(server)
        user = driver.login()
        driver.pay(user)
        self.assertIn('"clock": ', (folder / "payments.jsonl").read_text())
        self.lie(0)
        self.follows(server, 0)
        (line,) = (folder / "payments.jsonl").read_text().splitlines()
        listed = json.loads(line)
        paid = datetime.fromisoformat(listed["paid"].replace("Z", "+00:00")).timestamp()
        self.assertApproximates(paid, time.time(), 15)
        station = folder / "stations" / "station_1.json"
        files = (station, folder / "users" / f"{user}.json")
        until(
            lambda: not any('"clock"' in file.read_text() for file in files),
            "the files are written anew",
            5,
        )
        (vehicle,) = json.loads(station.read_text())["vehicles"].values()
        self.assertApproximates(vehicle["paid_timestamp"], paid, 0.01)

    def test_in_advance(self) -> None:
        """A machine that starts at the beginning of time, or an hour late, is followed likewise."""
        for by_s in (-time.time() + 100, -HOUR_S, 90.0):
            folder = Path(self.mktemp()).absolute()
            server = self.begin(by_s, ("--data", str(folder)))
            driver = self.driver(server)
            user = driver.login()
            paid = driver.pay(user)
            self.lie(0)
            self.follows(server, 0)
            self.assertApproximates(
                driver.pay(user)["estimated_timestamp"], paid["estimated_timestamp"] - by_s, 1
            )
            server.end()

    def test_fake_time(self) -> None:
        """The kernel's clock, as a program of any language sees it: 20 days behind at boot."""
        library = need("libfaketime")
        said = self.folder / "faketime"
        said.write_text("-20d\n")
        fake = (
            "env",
            f"LD_PRELOAD={library}",
            f"FAKETIME_TIMESTAMP_FILE={said}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )
        data = Path(self.mktemp()).absolute()
        server = self.start(data, before=fake).wait()
        self.wait_for(server, "clock is wrong")
        # Time for a look at the wrong clock.
        time.sleep(1)
        said.write_text("+0\n")
        self.follows(server, 0)
        driver = self.driver(server)
        user, began = driver.login(), time.time()
        paid = driver.pay(user, 9)
        self.assertApproximates(paid["estimated_timestamp"], self.right_end(paid, began), 2)
        server.end()
        server = self.start(data, before=fake).wait()
        self.assertEqual(self.driver(server).pay(user, 9), paid)


class DatabaseTimeTests(LyingTestCase):
    """Servers that share a PostgreSQL database go by its time."""

    def setUp(self) -> None:
        super().setUp()
        shared = postgres.shared()
        name = shared.create_database()
        self.url = shared.url(name)
        self.ask("CREATE SCHEMA fake")
        self.ask("CREATE TABLE fake.clock (set_by double precision)")
        self.ask("INSERT INTO fake.clock VALUES (0)")
        self.ask(
            "CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
            "'SELECT pg_catalog.clock_timestamp() + make_interval(secs => set_by) FROM fake.clock'"
        )
        # Of functions of one name, that of the first schema here is called.
        self.ask(f"ALTER DATABASE {name} SET search_path = public, fake, pg_catalog")

    def ask(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def set_database(self, by_s: float) -> None:
        self.ask(f"UPDATE fake.clock SET set_by = {by_s}")

    def serve_both(self, *options: str) -> list[Server]:
        """Two servers, one of which thinks that it is an hour later, the other a day earlier."""
        servers = []
        for by_s in (HOUR_S, -DAY_S):
            self.lie(by_s)
            servers.append(self.serve("--storage", self.url, *options))
        return servers

    def test_its_time(self) -> None:
        """Whatever their own clocks say, and however they are set."""
        first, second = self.serve_both("--sweep-interval", "0.1")
        self.assertNotIn("wrong", "".join(first.log + second.log))
        user = self.driver(first).login()
        paid = self.driver(second).pay(user)
        self.assertApproximates(
            paid["estimated_timestamp"], time.time() + paid["charge_minutes"] * 60, 2
        )
        self.lie(-HOUR_S)
        # Time enough to follow it, which none must.
        time.sleep(FOLLOWS_S)
        for server in (first, second):
            driver = self.driver(server)
            self.assertApproximates(driver.ahead_s(), 0, 1)
            self.assertEqual(driver.pay(user), paid)

    def test_is_set(self) -> None:
        """When the database's clock is set both follow, and what stands moves once."""
        servers = self.serve_both("--sweep-interval", "0.1")
        drivers = [self.driver(server) for server in servers]
        user = drivers[0].login()
        paid = drivers[1].pay(user)
        for by_s in (30 * DAY_S, -HOUR_S, 0.0):
            self.set_database(by_s)
            for server in servers:
                self.follows(server, by_s)
            for driver in drivers:
                again = driver.pay(user)
                self.assertEqual(
                    again, {**paid, "estimated_timestamp": paid["estimated_timestamp"] + by_s}
                )

    def test_wrong_at_the_start(self) -> None:
        """A database that is behind what it has is wrong: both mark what begins, and move that."""
        (first, *_) = servers = self.serve_both()
        old = self.driver(first).login()
        paid = self.driver(first).pay(old)
        for server in servers:
            server.end()
        self.set_database(-20 * DAY_S)
        servers = self.serve_both("--sweep-interval", "0.1")
        for server in servers:
            self.wait_for(server, "The database's clock is wrong")
        drivers = [self.driver(server) for server in servers]
        self.assertApproximates(drivers[0].ahead_s(), -20 * DAY_S, 2)
        new = drivers[0].login()
        began = drivers[1].pay(new, 2)
        self.assertEqual(drivers[1].pay(old), paid)
        self.set_database(0)
        for server in servers:
            self.follows(server, 0)
        for driver in drivers:
            self.assertEqual(driver.pay(old), paid)
            self.assertApproximates(
                driver.pay(new, 2)["estimated_timestamp"],
                began["estimated_timestamp"] + 20 * DAY_S,
                1,
            )

    def test_workers(self) -> None:
        """So do workers, by their parent."""
        self.lie(HOUR_S)
        server = self.serve("--storage", self.url, "--workers", "2")
        self.wait_for(server, " listens on ", times=3)
        self.assertApproximates(self.driver(server).ahead_s(), 0, 1)
        user = self.driver(server).login()
        paid = self.driver(server).pay(user)
        self.set_database(DAY_S)
        self.follows(server, DAY_S)
        for _ in range(5):
            driver = self.driver(server)
            self.assertApproximates(driver.ahead_s(), DAY_S, 1)
            self.assertEqual(
                driver.pay(user),
                {**paid, "estimated_timestamp": paid["estimated_timestamp"] + DAY_S},
            )
