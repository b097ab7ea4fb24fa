"""The server's time, where the system's clock is set, by itself and in a real server."""

import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from evcharge.clock import MOST_STEERING, SteadyClock, steady_source
from tests.test_server import Server, ServerTestCase

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
        self.go(60)
        self.assertAlmostEqual(self.off(), 60 * MOST_STEERING, 3)
        self.set_by = 0
        self.go(61)
        self.assertAlmostEqual(self.off(), 0, 3)
        first, second, *more = self.told()
        self.assertIn("has been set by +3600 s", first)
        self.assertIn("has been set by -3600 s", second)
        self.assertEqual(more, [])

    def test_back(self) -> None:
        """An hour back never takes the server's time back."""
        self.set_by = -HOUR_S
        before = self.clock.seconds()
        for _ in range(100):
            self.go(1)
            self.assertGreater(self.clock.seconds(), before)
            before = self.clock.seconds()

    def test_agrees_again(self) -> None:
        """A clock that stays where it was set is followed until both agree."""
        self.set_by = HOUR_S
        self.go(int(HOUR_S / MOST_STEERING) + 1)
        self.assertAlmostEqual(self.off(), HOUR_S, 3)
        self.assertEqual(len(self.told()), 1)

    def test_drift(self) -> None:
        """A clock that is a little fast is followed, without a word."""
        for _ in range(1000):
            self.set_by += 0.001
            self.go(1)
        self.assertAlmostEqual(self.off(), self.set_by, 3)
        self.assertEqual(self.told(), [])

    @given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(-1e5, 1e5)), max_size=50))
    def test_any(self, steps: list[tuple[float, float]]) -> None:
        """However it is set, the server's seconds are a twentieth longer or shorter at most."""
        self.setUp()
        for passed, by in steps:
            before = self.clock.seconds()
            self.set_by = by
            self.true += passed
            self.clock.steer()
            went = self.clock.seconds() - before
            self.assertLessEqual(abs(went - passed), passed * MOST_STEERING + 1e-5)

    def test_rules(self) -> None:
        """A reactor that it rules goes by it, and it looks at the system's clock each second."""
        reactor = Clock()
        reactor.seconds = lambda: self.true
        clock = SteadyClock(lambda: self.true + self.set_by, lambda: self.true)
        clock.rule(reactor)
        self.assertEqual(reactor.seconds(), self.true)
        clock.startService()
        self.set_by = HOUR_S
        self.true = 10.0
        reactor.advance(0)
        self.assertAlmostEqual(clock.seconds(), 10 + 10 * MOST_STEERING)
        clock.stopService()
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_source(self) -> None:
        """The source of this machine goes on."""
        source = steady_source()
        self.assertLessEqual(source(), source())


LAUNCH = """
import sys, time
path, true = sys.argv.pop(1), time.time
def lying():
    with open(path) as file:
        return true() + float(file.read() or 0)
time.time = lying
from twisted.scripts.twistd import run
run()
"""


class ServerTests(ServerTestCase):
    """A real server whose system clock is set while it runs."""

    def serve(self, *options: str) -> Server:
        self.set_by = Path(self.mktemp()).absolute()
        self.set_by.write_text("0")
        # What asks for the system's time asks Python, which tells it what a set clock would.
        return self.start(
            Path(self.mktemp()), *options, launch=("-c", LAUNCH, str(self.set_by))
        ).wait()

    def set(self, server: Server, by: float) -> None:
        """Set the clock, and wait until the server has seen it."""
        said = "".join(server.log).count("has been set")
        self.set_by.with_suffix(".new").write_text(str(by))
        self.set_by.with_suffix(".new").rename(self.set_by)
        while "".join(server.log).count("has been set") == said:
            self.assertIsNone(server.process.poll())
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
            self.set_by.write_text(str(by))
            began = time.monotonic()
            user = pay(70)
            while is_there(user):
                self.assertLess(time.monotonic() - began, self.lasts_s * 1.1 + 2)
                time.sleep(0.01)
        self.set(server, 0)
        self.assertEqual(client.request("START")["status"]["code"], 200)
