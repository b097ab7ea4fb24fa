"""The server's time, where the system's clock is set, by itself and in a real server."""

import os
import re
import signal
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from evcharge.clock import MOST_STEERING, SteadyClock, steady_source
from tests.test_health import HealthTestCase
from tests.test_server import Server

HOUR_S = 3600.0


class SteadyClockTests(SynchronousTestCase):
    """The clock on sources of the tests' own."""

    def setUp(self) -> None:
        self.true = 0.0
        """Seconds that have passed."""
        self.set_by = 0.0
        """By how much the system's clock has been set."""
        self.clock = SteadyClock(lambda: 1e9 + self.true + self.set_by, lambda: self.true)
        self.events: list[dict] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def go(self, seconds: int) -> None:
        for _ in range(seconds):
            self.true += 1
            self.clock.steer()

    def off(self) -> float:
        """By how much the server's time differs from what it was to be without any setting."""
        return self.clock.seconds() - 1e9 - self.true

    def told(self) -> list[str]:
        return [formatEvent(e) for e in self.events if "clock" in e["log_format"]]

    def test_ahead_and_back(self) -> None:
        """An hour ahead for a minute moves the server by three seconds, which it makes up again."""
        self.go(10)
        self.set_by = HOUR_S
        self.go(61)
        self.assertAlmostEqual(self.off(), 60 * MOST_STEERING, 3)
        self.set_by = 0
        self.go(62)
        self.assertAlmostEqual(self.off(), 0, 3)
        first, second, third = self.told()
        self.assertIn("has been set by +3600 s", first)
        self.assertIn("has been set by -3600 s", second)
        self.assertIn("agree again", third)

    def test_back(self) -> None:
        """An hour back never takes the server's time back, whenever it is looked at."""
        self.set_by = -HOUR_S
        before = self.clock.seconds()
        for tenth in range(1000):
            self.true += 0.1
            if tenth % 10 == 9:
                self.clock.steer()
            now = self.clock.seconds()
            self.assertGreater(now, before + 0.1 * (1 - MOST_STEERING) - 1e-6)
            before = now

    def test_agrees_again(self) -> None:
        """A clock that stays where it was set is followed until both agree, which is told once."""
        self.set_by = HOUR_S
        self.go(int(HOUR_S / MOST_STEERING) + 2)
        self.assertAlmostEqual(self.off(), HOUR_S, 3)
        first, second = self.told()
        self.assertIn("has been set by +3600 s", first)
        self.assertIn("agree again", second)

    def test_pause(self) -> None:
        """A process that was stopped for a while makes up no more than it was to, and is silent."""
        self.set_by = HOUR_S
        self.go(10)
        off_s = self.off()
        self.true += HOUR_S
        self.assertAlmostEqual(self.off(), off_s + MOST_STEERING, 3)
        self.go(10)
        self.assertAlmostEqual(self.off(), off_s + 10 * MOST_STEERING, 3)
        self.assertEqual(len(self.told()), 1)

    def test_lead(self) -> None:
        """Another process goes on with the time of the first, whatever its system's clock says."""
        self.go(10)
        self.set_by = HOUR_S
        another = SteadyClock(
            lambda: 1e9 + self.true + self.set_by, lambda: self.true, self.clock.lead_s
        )
        self.assertEqual(another.seconds(), self.clock.seconds())
        self.true += 100
        self.assertEqual(another.seconds(), self.clock.seconds())

    def test_drift(self) -> None:
        """A clock that is a little fast is followed, without a word."""
        for _ in range(1000):
            self.set_by += 0.001
            self.go(1)
        self.assertAlmostEqual(self.off(), self.set_by, 2)
        self.assertEqual(self.told(), [])

    @given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(-1e5, 1e5)), max_size=50))
    def test_any(self, steps: list[tuple[float, float]]) -> None:
        """However it is set, the server's seconds are a twentieth longer or shorter at most."""
        self.setUp()
        for passed, by in steps:
            before = self.clock.seconds()
            self.set_by = by
            self.true += passed
            went = self.clock.seconds() - before
            self.assertLessEqual(abs(went - passed), min(passed, 1) * MOST_STEERING + 1e-5)
            self.clock.steer()
            # Nothing is made up in no time.
            self.assertAlmostEqual(self.clock.seconds() - before, went, 5)

    def test_timers(self) -> None:
        """A reactor's timers begin at the system's time and are not steered, as the clock is."""
        reactor = Clock()
        clock = SteadyClock(lambda: 1e9 + self.true + self.set_by, lambda: self.true)
        clock.keep_steady(reactor)
        self.assertEqual(reactor.seconds(), 1e9)
        clock.startService()
        self.set_by = HOUR_S
        self.true = 10.0
        reactor.advance(0)
        self.true = 20.0
        self.assertEqual(reactor.seconds(), 1e9 + 20)
        self.assertAlmostEqual(clock.seconds(), 1e9 + 20 + MOST_STEERING)
        clock.stopService()
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_source(self) -> None:
        """The source of this machine goes on."""
        source = steady_source()
        self.assertLessEqual(source(), source())


LIE = """
import pathlib, time
true = time.time
path = pathlib.Path(__file__).with_name("set_by")
time.time = lambda: true() + float(path.read_text())
"""

LAUNCH = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import lie
from twisted.scripts.twistd import run
run()
"""


class ServerTests(HealthTestCase):
    """A real server whose system clock is set while it runs."""

    def serve(self, *options: str, **more: object) -> Server:
        # What asks for the system's time asks Python, which tells it what a set clock would. The
        # workers look for modules where their parent does.
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "lie.py").write_text(LIE)
        (folder / "sitecustomize.py").write_text("import lie")
        self.set_by = folder / "set_by"
        self.set_by.write_text("0")
        return super().serve(*options, launch=("-c", LAUNCH, str(folder)), **more)

    def replace(self, by: float) -> None:
        # At once: it may be read just now.
        self.set_by.with_suffix(".new").write_text(str(by))
        self.set_by.with_suffix(".new").rename(self.set_by)

    def set(self, server: Server, by: float) -> None:
        """Set the clock, and wait until the server has seen it."""
        said = "".join(server.log).count("The system's clock")
        self.replace(by)
        limit = time.monotonic() + 30
        while "".join(server.log).count("The system's clock") == said:
            self.assertIsNone(server.process.poll())
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.01)

    def test_set(self) -> None:
        """
        An hour ahead nobody's slot is freed, and an hour back the slots that end are: timers and
        charging go on as if nothing had been, and both are logged.
        """
        server = self.serve("--sweep-interval", "0.05", "--time-scale", "300")
        client = self.client(server)

        def pay(battery: int) -> str:
            user = client.request(
                "LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=battery
            )["data"]["user_id"]
            paid = client.request("PAYMENT", user_id=user, id_station=1, confirmation=True)
            self.assertTrue(paid["data"]["confirmation"])
            self.lasts_s = paid["data"]["charge_minutes"] * 60 / 300
            return user

        def is_there(user: str) -> bool:
            reply = client.request("NAVIGATION", user_id=user, route_distance=1)
            return reply["status"]["code"] == 200

        began = time.monotonic()
        user = pay(10)
        self.assertGreater(self.lasts_s, 2)
        self.set(server, HOUR_S)
        # A sweep has come in between.
        time.sleep(0.2)
        self.assertTrue(is_there(user))
        self.assertLess(time.monotonic() - began, self.lasts_s)
        for by in (HOUR_S, -HOUR_S):
            self.replace(by)
            began = time.monotonic()
            user = pay(70)
            while is_there(user):
                self.assertLess(time.monotonic() - began, self.lasts_s * 1.1 + 2)
                time.sleep(0.01)
        self.set(server, 0)
        self.assertEqual(client.request("START")["status"]["code"], 200)

    def test_worker_restarted(self) -> None:
        """A worker that is started again goes on with the server's time, and frees no paid slot."""
        data = Path(self.mktemp()).absolute()
        server = self.serve(
            *("--workers", "2", "--storage", f"sqlite:///{data}.db"),
            *("--sweep-interval", "0.1", "--time-scale", "10"),
        )
        client = self.client(server)
        user = client.request(
            "LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=10
        )["data"]["user_id"]
        paid = client.request("PAYMENT", user_id=user, id_station=1, confirmation=True)["data"]
        self.assertTrue(paid["confirmation"])
        self.assertGreater(paid["charge_minutes"] * 60 / 10, 60)
        self.set(server, HOUR_S)
        # The first ones' too, which would else never come.
        self.wait_for(server, " listens on ", times=3)
        for line in list(server.log):
            if match := re.search(r"Worker \d is process (\d+)", line):
                os.kill(int(match[1]), signal.SIGKILL)
        # The new ones sweep when they start.
        self.wait_for(server, " listens on ", times=5)
        for number in "12":
            key = "evcharge_sweep_duration_seconds_count", number
            while not self.samples().get(key):
                self.assertIsNone(server.process.poll())
        again = self.client(server).request(
            "PAYMENT", user_id=user, id_station=1, confirmation=True
        )
        self.assertEqual(again["data"], paid)
