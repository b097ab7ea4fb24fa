"""`evcharge simulate drive` over days, which pass at once: a server, and connections, in memory."""

import gc
import io
from argparse import Namespace
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from evcharge.commands import INTERRUPTED
from evcharge.commands.simulate_drive import Show
from evcharge.process.virtual_clock import VirtualClock
from evcharge.simulator import networks
from evcharge.simulator.drivers import Diary
from evcharge.simulator.scenario import Scenario
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import MemoryServer
from tests.support.simulations import HABIT, one_station

SPEED = 60.0
HOUR_S = 3600.0 / SPEED


class Wire:
    """A client's transport: what it writes the server has at once, and it is answered in time."""

    disconnecting = False
    is_stuck = False

    def __init__(self, server: MemoryServer, client: Any) -> None:
        self.client = client
        self.to, self.back = server.connect()
        self.later = server.clock.callLater
        self.is_open = True

    def write(self, data: bytes) -> None:
        self.to.dataReceived(data)
        self.later(0, self.pump)

    def pump(self) -> None:
        """Let the client have what has come."""
        came = b"" if self.is_stuck or not self.is_open else self.back.take()
        if came:
            self.client.dataReceived(came)

    def setTcpNoDelay(self, on: bool) -> None:
        """There is nothing that could be delayed."""

    def abortConnection(self) -> None:
        self.is_open = False
        self.client.connectionLost(Failure(ConnectionDone()))


class Reactor:
    """A clock that can be stopped."""

    def __init__(self, clock: VirtualClock) -> None:
        self.callLater, self.seconds = clock.callLater, clock.seconds
        self.running = True

    def stop(self) -> None:
        self.running = False


class LongTests(SynchronousTestCase):
    """Drivers who come for ever."""

    def begin(self, scenario: Scenario, speed: float = SPEED, connections: int = 5) -> None:
        network = networks.load(scenario.sources)
        storage = MemoryStorage(network.car_models, [*network.stations.values()], {})
        self.server = MemoryServer(storage, time_scale=SPEED)
        self.wires: list[Wire] = []
        self.reactor = Reactor(self.server.clock)
        options = Namespace(
            scenario="a", server="tcp:a:1", speed=speed, hours=None, for_ever=True,
            connections=connections,
        )  # fmt: skip
        self.show = Show(self.reactor, options, scenario, self)
        self.out, self.err = io.StringIO(), io.StringIO()
        with redirect_stdout(self.out), redirect_stderr(self.err):
            self.show.start()
            self.go(1.0)

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        """A connection, as an endpoint makes one."""
        client: Any = factory.buildProtocol(None)  # type: ignore[arg-type]
        wire = Wire(self.server, client)
        self.wires.append(wire)
        client.makeConnection(wire)
        return succeed(client)

    def go(self, seconds: float) -> None:
        """Let real time pass."""
        with redirect_stdout(self.out), redirect_stderr(self.err):
            for _ in range(round(seconds * 2)):
                self.server.advance(0.5)
                for wire in self.wires:
                    wire.pump()

    def test_days(self) -> None:
        """Each minute it tells how it goes; in memory are those who are there, and no others."""
        self.begin(one_station(2, 4.0, choose=HABIT, joins_queue=0.8, no_show=0.1, books=0.2))
        self.go(72 * HOUR_S)
        crowd = self.show.crowd
        self.assertGreater(crowd.born, 200)
        lines = [line for line in self.out.getvalue().splitlines() if "came, " in line]
        self.assertEqual(len(lines), 72)
        self.assertRegex(
            lines[-1],
            r"^simulated 2026-03-05T0\d:\d\d:\d\d.\d+Z: \d+ came, \d+ still there; "
            r"\d+ served, .*; late by \d+\.\d\d s \(median\), \d+\.\d\d s \(p99\), simulated$",
        )
        self.assertGreater(crowd.outcomes["served_after_wait"], 20)
        self.assertEqual((self.err.getvalue(), dict(crowd.findings)), ("", {}))
        gc.collect()
        known = sum(isinstance(each, Diary) for each in gc.get_objects())
        # An EVSE may be kept for who does not come: these are known for a day or so.
        absent = crowd.outcomes["no_show"]
        self.assertLessEqual(known, len(crowd.actors) + absent)
        self.assertLess(absent + len(crowd.actors), crowd.born / 4)

    def test_leave(self) -> None:
        """At the end all leave, and it is told how it went."""
        self.begin(one_station(20, 30.0, choose=HABIT))
        self.go(3 * HOUR_S)
        there = len(self.show.crowd.actors)
        with redirect_stdout(self.out), redirect_stderr(self.err):
            self.show.interrupt()
        self.go(2.0)
        self.assertFalse(self.reactor.running)
        assert self.show.end is not None
        self.assertEqual(self.show.end.status, INTERRUPTED)
        self.assertRegex(self.out.getvalue(), rf"\nstill_there +{there} ")
        self.assertEqual(len(self.server.storage.records.users), 0)  # type: ignore[attr-defined]

    def test_too_fast(self) -> None:
        """Where things come over half a minute late it is said that the speed is too high."""
        self.begin(one_station(20, 30.0, choose=HABIT))
        self.go(61.0)
        self.assertNotIn("too high", self.err.getvalue())
        for is_stuck in (True, False):
            for wire in self.wires:
                wire.is_stuck = is_stuck
            self.go(2.0)
        self.go(57.0)
        self.assertIn("over 30 s late (p99): --speed 60 is too high", self.err.getvalue())
