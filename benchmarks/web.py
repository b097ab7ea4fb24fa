"""
What the web ports cost beside TCP: requests over WebSocket and by POST, events, and memory.

Both sides are measured in one run, in turn, on the same server: NAVIGATION over TCP, over WebSocket
and by POST (kept alive), 50 connections, one request at a time and 16; an EVENT to one subscriber,
over TCP, WebSocket and Server-Sent Events; the memory of a subscriber of each kind; and what
a web port that nobody uses costs drivers over TCP.

    python benchmarks/web.py [--rounds 5] [--seconds 3] [--only requests events memory idle]

The server has one core to itself, all others share another one.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.live import LOGIN, Client, change, line, memory_kib, running
from benchmarks.requests import cpu_ns

CONNECTIONS, DEPTH = 50, 16
GOALS = {"websocket": 1.6, "post": 6.5, f"websocket, {DEPTH} outstanding": 1.0}
LINE_GOALS = {"tcp": 0.3, "websocket": 0.3, "sse": 0.5}
MEMORY_GOALS_KIB = {"websocket": 6, "sse": 8}
MASK = b"\x01\x02\x03\x04"


def masked(message: bytes) -> bytes:
    """A client's frame of text."""
    length = len(message)
    head = b"\x81" + (
        bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    )
    body = bytes(byte ^ MASK[number % 4] for number, byte in enumerate(message))
    return head + MASK + body


def connected(port: int) -> socket.socket:
    """A connection."""
    found = socket.create_connection(("127.0.0.1", port), 30)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def to_websocket(port: int) -> socket.socket:
    """A connection that speaks WebSocket."""
    found = connected(port)
    key = base64.b64encode(os.urandom(16)).decode()
    found.sendall(
        f"GET /api/v1/socket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += found.recv(1)
    if b" 101 " not in head:
        sys.exit(head.decode())
    return found


def posted(port: int, path: str, data: Any) -> bytes:
    """A POST."""
    body = json.dumps(data).encode()
    return (
        f"POST /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Way:
    """
    A way to ask NAVIGATION, over so many connections.

    :param connect: makes one.
    :param request: its bytes. All replies are as long as the first.
    """

    def __init__(
        self, connect: Callable[[], socket.socket], request: bytes, depth: int = 1
    ) -> None:
        self._depth = depth
        self._request = request
        self._selector = selectors.DefaultSelector()
        first = connect()
        first.sendall(request)
        time.sleep(0.3)
        reply = first.recv(65536)
        if b'"code":200' not in reply:
            sys.exit(reply.decode(errors="replace"))
        self._length = len(reply)
        self._connections = [first, *(connect() for _ in range(CONNECTIONS - 1))]
        for connection in self._connections:
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, [0])

    def ask(self, seconds: float) -> int:
        """Keep asking; how many were answered."""
        burst, whole = self._request * self._depth, self._length * self._depth
        for connection in self._connections:
            connection.send(burst)
        answered, waiting = 0, CONNECTIONS
        ends = time.monotonic() + seconds
        while waiting:
            goes_on = time.monotonic() < ends
            for key, _ in self._selector.select(10):
                connection: Any = key.fileobj
                key.data[0] += len(connection.recv(262144))
                if key.data[0] >= whole:
                    key.data[0] = 0
                    answered += self._depth
                    if goes_on:
                        connection.send(burst)
                    else:
                        waiting -= 1
        return answered

    def cpu_us(self, pid: int, seconds: float) -> float:
        """The server's CPU a request."""
        self.ask(0.3)
        before = cpu_ns(pid)
        answered = self.ask(seconds)
        return (cpu_ns(pid) - before) / 1e3 / answered

    def close(self) -> None:
        """End."""
        for connection in self._connections:
            connection.close()


@contextlib.contextmanager
def serving(folder: Path, cores: set[int], web: bool = True) -> Iterator[tuple[int, int, int]]:
    """A server; its process, the drivers' port, and the web port."""
    program = "from twisted.scripts.twistd import run; run()"
    words = ["--nodaemon", "--pidfile=", "evcharge", "--port", "tcp:0:interface=127.0.0.1"]
    words += ["--web-port", "tcp:0:interface=127.0.0.1"] * web
    words += ["--data", str(folder / "data"), "--max-subscribers", "100000"]
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", program, *words],
            stdout=log, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )  # fmt: skip
        try:
            ends = time.monotonic() + 60
            while " listens on " not in (said := (folder / "log").read_text()):
                if time.monotonic() > ends or server.poll() is not None:
                    sys.exit(said)
                time.sleep(0.1)
            ports = re.findall(r"127\.0\.0\.1:(\d+)", said)
            yield server.pid, int(ports[0]), int(ports[1]) if web else 0
        finally:
            server.terminate()
            server.wait(30)


@contextlib.contextmanager
def fresh(cores: set[int], web: bool = True) -> Iterator[tuple[int, int, int]]:
    """A server of its own, and its folder."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), cores, web) as server,
    ):
        yield server


def medians(samples: dict[str, list[float]], unit: str) -> None:
    """Print what was found, with the range."""
    for name, found in samples.items():
        least, most = min(found), max(found)
        print(f"  {name}: {statistics.median(found):.1f} {unit} ({least:.1f} to {most:.1f})")


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], goal: float) -> None:
    """Print the median of what one is of the other in the same round."""
    found = [one / other for one, other in zip(ours, theirs, strict=True)]
    print(
        f"{name}: {statistics.median(found):.2f} x "
        f"({min(found):.2f} to {max(found):.2f}; goal {goal})",
        flush=True,
    )


def requests(cores: set[int], options: argparse.Namespace) -> None:
    """What a request costs, by each way."""
    with fresh(cores) as (pid, port, web):
        user = Client(port).request("LOGIN", **LOGIN)["user_id"]
        data = {"user_id": user, "route_distance": 90}
        request = line("NAVIGATION", **data)
        message = masked(request.rstrip(b"\n"))
        ways = {
            "tcp": Way(lambda: connected(port), request),
            "websocket": Way(lambda: to_websocket(web), message),
            "post": Way(lambda: connected(web), posted(web, "navigation", data)),
            f"tcp, {DEPTH} outstanding": Way(lambda: connected(port), request, DEPTH),
            f"websocket, {DEPTH} outstanding": Way(lambda: to_websocket(web), message, DEPTH),
        }
        samples: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                samples[name].append(way.cpu_us(pid, options.seconds))
        print("NAVIGATION, the server's CPU a request:")
        medians(samples, "us")
        for name, goal in GOALS.items():
            beside = f"tcp, {DEPTH} outstanding" if "outstanding" in name else "tcp"
            ratio(f"{name} beside {beside}", samples[name], samples[beside], goal)
        for way in ways.values():
            way.close()


class Listeners:
    """Subscribers of one kind, whom a process reads for."""

    def __init__(self, kind: str, port: int, web: int, number: int) -> None:
        self.kind = kind
        self.connections = [self._one(port, web) for _ in range(number)]
        for connection in self.connections:
            connection.settimeout(30)
            connection.recv(65536)

    def _one(self, port: int, web: int) -> socket.socket:
        subscribe = line("SUBSCRIBE", topics=["stations"])
        if self.kind == "tcp":
            found = connected(port)
            found.sendall(subscribe)
        elif self.kind == "websocket":
            found = to_websocket(web)
            found.sendall(masked(subscribe.rstrip(b"\n")))
        else:
            found = connected(web)
            found.sendall(
                b"GET /api/v1/live?topics=stations HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % web
            )
        return found

    def read(self, seconds: float) -> int:
        """Read what comes; how many events that was."""
        selector = selectors.DefaultSelector()
        for connection in self.connections:
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
        events = 0
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            time.sleep(0.02)
            for key, _ in selector.select(left):
                socket_: Any = key.fileobj
                events += socket_.recv(65536).count(b'"seq"')
        return events

    def close(self) -> None:
        """End."""
        for connection in self.connections:
            connection.close()


def events(cores: set[int], apart: set[int], options: argparse.Namespace) -> None:
    """What one event to one subscriber costs, beside a request."""
    kinds = ("tcp", "websocket", "sse")
    samples: dict[str, list[float]] = {"a request over tcp": [], **{kind: [] for kind in kinds}}
    with fresh(cores) as (pid, port, web):
        user = Client(port).request("LOGIN", **LOGIN)["user_id"]
        request = line("NAVIGATION", user_id=user, route_distance=90)
        with running(change, port, apart):
            for _ in range(options.rounds):
                before = cpu_ns(pid)
                time.sleep(options.seconds)
                without = (cpu_ns(pid) - before) / options.seconds
                way = Way(lambda: connected(port), request)
                samples["a request over tcp"].append(way.cpu_us(pid, options.seconds))
                way.close()
                for kind in kinds:
                    listeners = Listeners(kind, port, web, options.subscribers)
                    listeners.read(0.5)
                    before = cpu_ns(pid)
                    began = time.monotonic()
                    told = listeners.read(options.seconds)
                    used = cpu_ns(pid) - before - without * (time.monotonic() - began)
                    samples[kind].append(used / 1e3 / told)
                    listeners.close()
                    time.sleep(0.5)
    print(f"One event to one of {options.subscribers} subscribers, the server's CPU:")
    medians(samples, "us")
    for kind, goal in LINE_GOALS.items():
        ratio(f"{kind} beside a request", samples[kind], samples["a request over tcp"], goal)


def memory(cores: set[int], options: argparse.Namespace) -> None:
    """What the server keeps for a subscriber."""
    print("Memory of a subscriber:")
    for kind in ("tcp", "websocket", "sse"):
        with fresh(cores) as (pid, port, web):
            # Whatever the first ones have made is there before it is counted.
            first = Listeners(kind, port, web, 200)
            before = memory_kib(pid)
            more = Listeners(kind, port, web, options.subscribers)
            time.sleep(1)
            each = (memory_kib(pid) - before) / options.subscribers
            goal = MEMORY_GOALS_KIB.get(kind)
            print(f"  {kind}: {each:.1f} KiB" + (f" (goal {goal})" if goal else ""), flush=True)
            first.close()
            more.close()


def idle(cores: set[int], options: argparse.Namespace) -> None:
    """What a web port that nobody uses costs drivers over TCP."""
    samples: dict[bool, list[float]] = {False: [], True: []}
    for number in range(options.rounds):
        for web in (False, True) if number % 2 else (True, False):
            with fresh(cores, web) as (pid, port, _):
                user = Client(port).request("LOGIN", **LOGIN)["user_id"]
                way = Way(
                    lambda port=port: connected(port),  # type: ignore[misc]
                    line("NAVIGATION", user_id=user, route_distance=90),
                )
                way.ask(1)
                samples[web].append(way.cpu_us(pid, options.seconds))
                way.close()
    print("NAVIGATION over TCP, the server's CPU a request:")
    medians({"without a web port": samples[False], "with one": samples[True]}, "us")
    ratio("with one beside without", samples[True], samples[False], 1.02)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="a measurement takes")
    parser.add_argument("--subscribers", type=int, default=500)
    parser.add_argument("--only", nargs="+", choices=("requests", "events", "memory", "idle"))
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    own, *others = sorted(os.sched_getaffinity(0))
    apart = set(others) or {own}
    os.sched_setaffinity(0, apart)
    wanted = options.only or ("requests", "events", "memory", "idle")
    if "requests" in wanted:
        requests({own}, options)
    if "events" in wanted:
        events({own}, apart, options)
    if "memory" in wanted:
        memory({own}, options)
    if "idle" in wanted:
        idle({own}, options)


if __name__ == "__main__":
    main()
