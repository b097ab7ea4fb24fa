"""
For how long looking after very many connections keeps the server from all else.

Who is idle for too long, is never answered, or is to be forgotten, is looked for now and then, a
few at a time. This has the server's guards look for very many of each kind, in memory, and prints
the longest turn of the reactor that came of it, in ms of CPU: for that long nobody else is served.
The pauses of the garbage collector, which come of all that there is, are not counted.

    python benchmarks/turns.py [--connections 50000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import gc
import ipaddress
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from twisted.internet.address import IPv4Address  # noqa: E402
from twisted.internet.base import ReactorBase  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402
from twisted.logger import globalLogBeginner  # noqa: E402

from evcharge.controller import Controller  # noqa: E402
from evcharge.net.guards.service import Guards  # noqa: E402
from evcharge.net.lines import Lines  # noqa: E402
from evcharge.net.protocol import DriverFactory, DriverProtocol  # noqa: E402
from evcharge.outcomes import Reply  # noqa: E402
from evcharge.process.logs import Throttle, text_observer  # noqa: E402
from evcharge.process.options import Options  # noqa: E402
from evcharge.storage.group_commit import GroupCommit  # noqa: E402
from evcharge.testing import MemoryTransport  # noqa: E402

LOGIN = b'{"type":"LOGIN","data":{},"status":{},"timestamp":""}\n'
PATIENCE_S = 30.0


class Reactor(ReactorBase):
    """A reactor without a network, whose time is what it has worked and what it skips."""

    _skipped = 0.0

    def installWaker(self) -> None:
        """There is no thread to wake it."""

    def seconds(self) -> float:
        """The present."""
        return self._skipped + time.thread_time()

    def longest_turn(self, seconds: float) -> float:
        """Let time pass: the longest turn of it, ms of CPU."""
        longest, ends = 0.0, self.seconds() + seconds
        while self.seconds() < ends:
            wait = self.timeout()
            self._skipped += 1.0 if wait is None else wait
            began = time.thread_time()
            self.runUntilCurrent()
            longest = max(longest, time.thread_time() - began)
        return longest * 1000


class Handler:
    """Answers every request in the same way."""

    FIELDS = ()
    GUARD = "login"

    def __init__(self, handle: Callable[[Any], Any]) -> None:
        self.answer = handle

    def on_failure(self, data: Any) -> dict[str, Any]:
        """Nothing."""
        return {}


class Server:
    """What looks after connections, and does nothing else."""

    def __init__(self, *options: str, handle: Callable[[Any], Any] = lambda data: None) -> None:
        parsed = Options()
        parsed.parseOptions(options)
        self.reactor = Reactor()
        self.refused: list[str] = []
        self.guards = Guards(parsed.settings.limits, self.reactor, self.refused.append)
        controller = Controller(
            {"LOGIN": Handler(handle)}, self.reactor.seconds, guards=self.guards.around
        )
        self.factory = DriverFactory(
            self.guards.dispatch(Lines(controller, self.reactor.seconds)),
            lambda: b"",
            self.reactor,
            connected=self.guards.addresses.connected,
        )
        self.guards.watch(self.factory.connections, PATIENCE_S)
        self.guards.startService()

    def connect(self, number: int) -> DriverProtocol:
        """One more connection, from an address of its own."""
        protocol = self.factory.buildProtocol(
            IPv4Address("TCP", str(ipaddress.IPv4Address(number)), 0)
        )
        transport = MemoryTransport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol


def idle(number: int) -> float:
    """Looking at all of them, and finding nothing."""
    server = Server("--idle-timeout", "1000")
    for address in range(number):
        server.connect(address)
    return server.reactor.longest_turn(30)


def idle_for_too_long(number: int) -> float:
    """Ending all of them, in one look."""
    server = Server("--idle-timeout", "20")
    for address in range(number):
        server.connect(address)
    longest = server.reactor.longest_turn(40)
    assert server.refused == ["idle"] * number, len(server.refused)
    return longest


def never_answered(number: int) -> float:
    """Answering all of them in place of what should have."""
    server = Server(handle=lambda data: Deferred())
    for address in range(number):
        server.connect(address).dataReceived(LOGIN)
    longest = server.reactor.longest_turn(60)
    assert server.refused == ["unanswered"] * number, len(server.refused)
    return longest


def gone(number: int) -> float:
    """Looking at them after all have gone at once."""
    server = Server("--idle-timeout", "1000")
    connections = [server.connect(address) for address in range(number)]
    server.reactor.longest_turn(20)
    for connection in connections:
        connection.connectionLost()
    return server.reactor.longest_turn(20)


def hung_storage(number: int) -> float:
    """Answering all of them because the storage hangs."""
    server = Server(handle=lambda data: group.submit(data))
    group: GroupCommit[Any] = GroupCommit(
        lambda _: (),
        lambda f, *args: Deferred(),
        server.reactor,
        PATIENCE_S,
        lambda start: start(),
    )
    connections = [server.connect(address) for address in range(number)]
    for connection in connections:
        connection.dataReceived(LOGIN)
    longest = server.reactor.longest_turn(36)
    assert all(b'"code":503' in connection.transport.value() for connection in connections)
    return longest


def addresses(number: int) -> float:
    """Forgetting as many addresses, and the rate of each."""
    server = Server("--rate-per-address", "1")
    for address in range(number):
        connection = server.connect(address)
        connection.dataReceived(b"x\n")
        connection.connectionLost()
    longest = server.reactor.longest_turn(30)
    assert_forgotten(server.guards.addresses)
    return longest


def pending_logins(number: int) -> float:
    """Forgetting as many users of one address who never paid."""
    ids = itertools.count()
    server = Server(
        *("--max-pending-logins", str(number), "--user-ttl", "60"),
        handle=lambda data: Reply({"user_id": str(next(ids))}),
    )
    connection = server.connect(0)
    for _ in range(number):
        connection.dataReceived(LOGIN)
    connection.connectionLost()
    assert next(ids) == number
    longest = server.reactor.longest_turn(80)
    assert_forgotten(server.guards.addresses)
    return longest


def assert_forgotten(known: Any) -> None:
    """Nobody is known any more."""
    assert len(known) == 0, len(known)


MEASURES: Collection[Callable[[int], float]] = (
    idle,
    idle_for_too_long,
    never_answered,
    gone,
    hung_storage,
    addresses,
    pending_logins,
)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0].strip())
    parser.add_argument("--connections", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    gc.disable()
    with open(os.devnull, "w") as nowhere:
        throttle = Throttle().before(text_observer(nowhere))
        throttle.is_on = True
        globalLogBeginner.beginLoggingTo([throttle], redirectStandardIO=False)
        print(f"| {options.connections} | longest turn, ms of CPU | of all rounds |")
        print("|---|---:|---:|")
        for measure in MEASURES:
            longest = []
            for _ in range(options.rounds):
                longest.append(measure(options.connections))
                gc.collect()
            what = (measure.__doc__ or "").rstrip(".")
            print(f"| {what} | {statistics.median(longest):.1f} | {max(longest):.1f} |", flush=True)


if __name__ == "__main__":
    main()
