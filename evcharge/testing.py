"""
A server in memory, for tests: those of evcharge and those of the programs that talk to it.

>>> from evcharge.testing import MemoryServer
>>> server = MemoryServer()
>>> said = server.request("LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=40)
>>> said["data"]["user_id"]
'00000000-0000-4000-8000-000000000001'
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import StringTransport

from evcharge.datasets import parse_car_models, parse_stations
from evcharge.datasets.evses import parse_evses
from evcharge.datasets.files import CARS, EVSES, STATIONS, TARIFFS, shipped
from evcharge.datasets.tariffs import parse_tariffs
from evcharge.datasets.together import with_evses
from evcharge.net.guards.service import Guards
from evcharge.net.lines import Lines
from evcharge.net.protocol import DriverProtocol
from evcharge.process.clock import SteadyClock
from evcharge.process.engine import Engine, Here
from evcharge.process.options import Options
from evcharge.process.server import driver_factory
from evcharge.process.virtual_clock import VirtualClock
from evcharge.storage import Storage
from evcharge.storage.memory import MemoryStorage
from evcharge.watch.metrics import Metrics

P = ParamSpec("P")
R = TypeVar("R")

NOON = 1744033512.678
"""When a server in memory starts: 2025-04-07T13:45:12.678Z, seconds since the epoch."""


def call_now(f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Deferred[R]:
    """Call `f` at once: an :class:`evcharge.storage.group_commit.InThread` without a thread."""
    return execute(f, *args, **kwargs)


def shipped_network() -> MemoryStorage:
    """A storage in memory that holds the shipped cars, stations, EVSEs and tariffs."""
    rows = parse_stations(shipped(STATIONS), STATIONS)
    stations = with_evses(rows.stations, parse_evses(shipped(EVSES), EVSES))
    tariffs = parse_tariffs(shipped(TARIFFS), TARIFFS).tariffs
    return MemoryStorage(parse_car_models(shipped(CARS), CARS), [*stations.values()], tariffs)


class MemoryTransport(StringTransport):
    """A connection that keeps what the server sends, and can be closed by halves."""

    protocol: DriverProtocol
    aborted = False
    write_closed = False

    def loseWriteConnection(self) -> None:
        """The server has said all."""
        self.write_closed = True

    def abortConnection(self) -> None:
        """The server gives the connection up."""
        self.aborted = True
        self.loseConnection()

    def take(self) -> bytes:
        """What the server has sent since the last time."""
        sent: bytes = self.value()
        self.clear()
        return sent


class MemoryServer:
    """
    A whole server without sockets, threads or files; time passes only by :meth:`advance`.

    :param storage: already open; by default the shipped network, in memory.
    :param in_thread: where the storage is called; by default here and now.
    :param options: others of `twistd evcharge`, as they are typed there, for its limits:
        `["--rate-per-connection", "5"]`.
    :param now: when it starts, seconds since the epoch.
    """

    def __init__(
        self,
        storage: Storage | None = None,
        language: str = "pt",
        time_scale: float = 1.0,
        max_line: int = 65536,
        sweep_interval: float = 5.0,
        user_ttl: float = 86400.0,
        in_thread: Any = call_now,
        options: Sequence[str] = (),
        now: float = NOON,
    ) -> None:
        parsed = Options()
        parsed.parseOptions(
            [
                f"--language={language}",
                f"--time-scale={time_scale}",
                f"--max-line={max_line}",
                f"--sweep-interval={sweep_interval}",
                f"--user-ttl={user_ttl}",
                *options,
            ]
        )
        self.settings = settings = parsed.settings
        self.clock = VirtualClock(now)
        self.storage = shipped_network() if storage is None else storage
        numbers = itertools.count(1)
        self.refused: list[str] = []
        """Why clients were refused, each a key of :data:`evcharge.net.guards.REASONS`."""
        self.guards = Guards(settings.limits, self.clock, self.refused.append)
        self.metrics = Metrics(terms=settings.terms)
        self.engine = Engine(
            settings,
            self.storage,
            self.clock,
            SteadyClock(self.clock.seconds, lead_s=0.0),
            Here(in_thread),
            self.metrics,
            self.guards.around,
            keeps_time=False,
            new_id=lambda: f"00000000-0000-4000-8000-{next(numbers):012d}",
        )
        self.controller = self.engine.controller
        self.guards.subscribers.listening = lambda: self.engine.hub.subscribers
        lines = Lines(self.controller, self.clock.seconds)
        self.factory = driver_factory(
            settings,
            self.storage.patience_s,
            lines,
            self.guards.other_protocols(lines, settings.language),
            self.guards,
            self.clock,
        )
        self.accepts = self.guards.limit_connections(self.factory, lines.refuse_connection)
        self.guards.startService()
        self.monitor = self.engine.monitor
        # Of the engine these alone are started: the storage is open.
        self.monitor.startService()
        self.engine.figures.startService()

    def connect(self, host: str = "127.0.0.1") -> tuple[DriverProtocol, MemoryTransport]:
        """
        A new connection: the server's protocol, to be given bytes, and its transport.

        :param host: the IP address that it comes from.
        """
        protocol: Any = self.accepts.buildProtocol(IPv4Address("TCP", host, 0))
        transport = MemoryTransport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol, transport

    def send(self, sent: bytes) -> list[dict[str, Any]]:
        """Send bytes over a connection of their own, which stays; the replies that come at once."""
        protocol, transport = self.connect()
        return self._say(protocol, transport, sent)

    def _say(
        self, protocol: DriverProtocol, transport: MemoryTransport, sent: bytes
    ) -> list[dict[str, Any]]:
        protocol.dataReceived(sent)
        return [json.loads(line) for line in transport.take().splitlines()]

    def request(self, kind: str, /, **data: Any) -> dict[str, Any]:
        """Send one request over a connection of its own, close that, and return the reply."""
        request = {"type": kind, "data": data, "status": {}, "timestamp": ""}
        protocol, transport = self.connect()
        (reply,) = self._say(protocol, transport, json.dumps(request).encode() + b"\n")
        # All that are open are looked at again and again.
        transport.protocol.connectionLost(connectionDone)
        return reply

    def advance(self, seconds: float) -> None:
        """Let time pass, the sweeps that are due included."""
        self.clock.advance(seconds)
