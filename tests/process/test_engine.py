"""A server without its ports: by virtual time, with a storage in memory."""

import json

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from evcharge.net.lines import Lines
from evcharge.process.clock import SteadyClock
from evcharge.process.engine import Alone, Engine, Here, InOrder
from evcharge.process.options import Options
from evcharge.process.virtual_clock import VirtualClock
from evcharge.testing import NOON, MemoryServer, shipped_network
from evcharge.watch.metrics import Metrics


class EngineTests(SynchronousTestCase):
    """It answers, and its time passes, without a reactor."""

    def setUp(self) -> None:
        options = Options()
        options.parseOptions(["--sweep-interval", "5", "--user-ttl", "60"])
        self.settings = options.settings
        self.serve(Here())

    def serve(self, thread: Here | Alone) -> None:
        """Have an engine, not started yet."""
        self.timers = VirtualClock()
        self.metrics = Metrics()
        self.engine = Engine(
            self.settings,
            shipped_network(),
            self.timers,
            SteadyClock(self.timers.seconds, lead_s=NOON),
            thread,
            self.metrics,
            keeps_time=False,
        )
        self.lines = Lines(self.engine.controller, lambda: NOON + self.timers.seconds())

    def reply(self, kind: str, **data: object) -> dict:
        line = json.dumps({"type": kind, "data": data, "status": {}, "timestamp": ""}).encode()
        answered = maybeDeferred(self.lines.dispatch, line)
        return json.loads(self.successResultOf(answered))

    def test_day(self) -> None:
        """It is started, serves, sweeps, and is stopped."""
        self.engine.startService()
        self.assertEqual((self.engine.summary.stations, self.engine.summary.users), (36, 0))
        reply = self.reply("LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=40)
        self.assertEqual(reply["status"]["code"], 200, reply)
        user_id = reply["data"]["user_id"]
        known = self.reply("NAVIGATION", user_id=user_id, route_distance=1)
        self.assertEqual(known["status"]["code"], 200, known)
        self.timers.advance(66)
        gone = self.reply("NAVIGATION", user_id=user_id, route_distance=1)
        self.assertEqual(gone["data"]["reason"], "user_not_found")
        self.assertEqual(self.metrics.removed, 1)
        self.successResultOf(self.engine.stopService())
        self.assertEqual(self.timers.getDelayedCalls(), [])

    def test_alone(self) -> None:
        """Where nobody else asks, what is asked for is done at once, by no timer."""
        self.serve(Alone())
        self.test_day()

    def test_clock(self) -> None:
        """What is stored goes by the clock that the engine is given."""
        self.engine.startService()
        before = self.reply("START")["timestamp"]
        self.timers.advance(3600)
        self.assertEqual(
            (before[11:19], self.reply("START")["timestamp"][11:19]), ("13:45:12", "14:45:12")
        )


@attrs.define(eq=False)
class Part(Service):
    """One of several services."""

    said: list[str]
    stopped: Deferred | None = None
    fails: bool = False

    def startService(self) -> None:
        self.said.append(f"{self.name} starts")

    def stopService(self) -> Deferred | None:
        self.said.append(f"{self.name} stops")
        if self.fails:
            raise RuntimeError("cannot stop")
        return self.stopped


class InOrderTests(SynchronousTestCase):
    """The parts of a server start and stop one after another."""

    def test_order(self) -> None:
        """The next one stops when the one before has, and be it with a failure."""
        said: list[str] = []
        slow: Deferred = Deferred()
        parts = InOrder()
        for part in (Part(said), Part(said, fails=True), Part(said, slow)):
            part.name = str(len(list(parts)))
            part.setServiceParent(parts)
        parts.startService()
        self.assertEqual(said, ["0 starts", "1 starts", "2 starts"])
        stopped = parts.stopService()
        self.assertEqual(said[3:], ["2 stops"])
        self.assertNoResult(stopped)
        slow.errback(RuntimeError("has not stopped"))
        self.assertEqual(said[3:], ["2 stops", "1 stops", "0 stops"])
        self.successResultOf(stopped)


class MemoryServerTests(SynchronousTestCase):
    """The server in memory."""

    def test_connections(self) -> None:
        """Requests one after another leave no connection open; one that is made stays."""
        server = MemoryServer()
        for _ in range(3):
            self.assertEqual(server.request("START")["status"]["code"], 200)
        self.assertEqual(len(server.factory.connections), 0)
        server.connect()
        self.assertEqual(len(server.factory.connections), 1)
