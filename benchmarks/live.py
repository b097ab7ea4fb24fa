"""
What 2,000 subscribers cost a server's drivers, how late they are told, and the memory of those who
do not read.

Some 50 changes a second are made by drivers who pay and leave; others ask NAVIGATION meanwhile, and
how long that takes is measured without subscribers and with them, in turn. How late subscribers are
told the server says itself (`evcharge_live_lag_seconds`), from when a change is durable. Then as
many subscribe and never read, and the server's memory is looked at for a while.

    python benchmarks/live.py [--subscribers 2000] [--seconds 10] [--rounds 3]

The server has one core to itself where there are two, all others share another one. Goals: drivers'
p99 at most 1.2 times that without, the lag's at most the interval and 100 ms, memory flat.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import resource
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

INTERVAL_S = 0.1
CHANGES_PER_S = 50
DRIVERS, PAUSE_S = 20, 0.05
"""Connections that ask, and how long each waits between two requests, seconds."""

LOGIN = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}


def line(kind: str, **data: Any) -> bytes:
    """A request."""
    request = {"type": kind, "data": data, "status": {}, "timestamp": ""}
    return json.dumps(request).encode() + b"\n"


class Client:
    """One blocking connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")

    def request(self, kind: str, **data: Any) -> Any:
        """The data of the reply."""
        self.socket.sendall(line(kind, **data))
        return json.loads(self.replies.readline())["data"]


def change(port: int, ready: Any, told: Any) -> None:
    """Have drivers pay and leave, so many times a second."""
    client = Client(port)
    ready.set()
    begun, number = time.monotonic(), 0
    while True:
        user = client.request("LOGIN", **LOGIN)["user_id"]
        station = 1 + number // 2 % 8
        for confirmation in (True, False):
            client.request("PAYMENT", user_id=user, id_station=station, confirmation=confirmation)
            number += 1
            time.sleep(max(0.0, begun + number / CHANGES_PER_S - time.monotonic()))


def ask(port: int, ready: Any, told: Any) -> None:
    """Ask NAVIGATION over and over; each second tell how long the replies took, seconds."""
    clients = [Client(port) for _ in range(DRIVERS)]
    request = line(
        "NAVIGATION", user_id=clients[0].request("LOGIN", **LOGIN)["user_id"], route_distance=90
    )
    ready.set()
    took: list[float] = []
    due = [time.monotonic() + PAUSE_S * n / DRIVERS for n in range(DRIVERS)]
    tell_at = time.monotonic() + 1
    while True:
        for number, client in enumerate(clients):
            time.sleep(max(0.0, due[number] - time.monotonic()))
            began = time.monotonic()
            client.socket.sendall(request)
            client.replies.readline()
            took.append(time.monotonic() - began)
            due[number] += PAUSE_S
        if time.monotonic() >= tell_at:
            told.put(took)
            took, tell_at = [], tell_at + 1


def listen(port: int, ready: Any, told: Any, number: int = 0, reads: bool = True) -> None:
    """Subscribe so many times, and read what comes, twenty times a second, or do not."""
    selector = selectors.DefaultSelector()
    for _ in range(number):
        connection = socket.create_connection(("127.0.0.1", port), 60)
        connection.sendall(line("SUBSCRIBE", topics=["stations"]))
        connection.recv(65536)
        selector.register(connection, selectors.EVENT_READ)
    ready.set()
    # Who measures is on the same core.
    os.nice(10)
    while reads:
        time.sleep(0.05)
        for key, _ in selector.select():
            key.fileobj.recv(65536)  # type: ignore[union-attr]
    signal.pause()


@contextlib.contextmanager
def running(role: Callable[..., None], port: int, cores: set[int], **more: Any) -> Iterator[Any]:
    """Have a process do something; gives the queue by which it tells."""
    ready, told = multiprocessing.Event(), multiprocessing.Queue()  # type: ignore[var-annotated]

    def begin() -> None:
        os.sched_setaffinity(0, cores)
        role(port, ready, told, **more)

    process = multiprocessing.get_context("fork").Process(target=begin, daemon=True)
    process.start()
    try:
        if not ready.wait(120):
            sys.exit(f"{role.__name__} was not ready within two minutes")
        yield told
    finally:
        process.kill()
        process.join()


@contextlib.contextmanager
def serving(folder: Path, cores: set[int], *options: str) -> Iterator[tuple[int, int, int]]:
    """A server; its process, its port, and that of its metrics."""
    program = "from twisted.scripts.twistd import run; run()"
    words = ["--nodaemon", "--pidfile=", "evcharge", "--port", "tcp:0:interface=127.0.0.1"]
    words += ["--http-port", "0", "--data", str(folder / "data"), "--unread-timeout", "0"]
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", program, *words, "--max-subscribers", "100000", *options],
            stdout=log, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )  # fmt: skip
        try:
            ends = time.monotonic() + 60
            while True:
                said = (folder / "log").read_text()
                ports = [re.search(p, said) for p in (r"on [\d.]+:(\d+);", r"http://.*?:(\d+)")]
                if all(ports):
                    break
                if time.monotonic() > ends or server.poll() is not None:
                    sys.exit(said)
                time.sleep(0.1)
            yield server.pid, *(int(found[1]) for found in ports if found)
        finally:
            server.terminate()
            server.wait(30)


def lags(port: int) -> dict[float, float]:
    """How many lines were how late at most, so far, by bound in seconds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
        text = reply.read().decode()
    found = re.findall(r'^evcharge_live_lag_seconds_bucket\{le="(.*?)"\} (.*)', text, re.M)
    return {float(bound): float(count) for bound, count in found}


def bound_of(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The bound within which this share of what was counted in between lies, seconds."""
    counted = {bound: after[bound] - before[bound] for bound in after}
    return next(b for b, count in counted.items() if count >= share * counted[float("inf")])


def memory_kib(pid: int) -> int:
    """What is the process's own."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


def cpu_s(pid: int) -> float:
    """What the process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def p99_ms(took: list[float]) -> float:
    """The 99th percentile, ms."""
    return statistics.quantiles(took, n=100)[98] * 1000


def collected(told: Any, seconds: int) -> list[float]:
    """What is told in so many seconds from now on."""
    while not told.empty():
        told.get()
    return [one for _ in range(seconds) for one in told.get()]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--subscribers", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=10, help="a measurement takes")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    own, *others = sorted(os.sched_getaffinity(0))
    apart = set(others) or {own}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pid, port, http = stack.enter_context(serving(folder, {own}))
        stack.enter_context(running(change, port, apart))
        drivers = stack.enter_context(running(ask, port, apart))
        collected(drivers, 2)
        ratios = []
        for _ in range(options.rounds):
            used = cpu_s(pid)
            without = p99_ms(collected(drivers, options.seconds))
            used = cpu_s(pid) - used
            with running(listen, port, apart, number=options.subscribers):
                before, used_too = lags(http), cpu_s(pid)
                beside = p99_ms(collected(drivers, options.seconds))
                after, used_too = lags(http), cpu_s(pid) - used_too
            lines = after[float("inf")] - before[float("inf")]
            lag = bound_of(before, after, 0.99)
            ratios.append(beside / without)
            print(
                f"drivers' p99 {without:.2f} ms without, {beside:.2f} ms beside "
                f"{options.subscribers} subscribers: {ratios[-1]:.2f} x; "
                f"{lines / options.seconds:.0f} lines a second, "
                f"{(used_too - used) / lines * 1e6:.0f} us of CPU each, "
                f"p99 of the lag within {lag * 1000:.0f} ms (goal {INTERVAL_S * 1000 + 100:.0f})",
                flush=True,
            )
        print(f"median {statistics.median(ratios):.2f} x (goal 1.2)")
        with running(listen, port, apart, number=options.subscribers, reads=False):
            grown = []
            for _ in range(6):
                time.sleep(options.seconds / 2)
                grown.append(memory_kib(pid))
            print(f"{options.subscribers} who do not read: server's memory {grown} KiB")


if __name__ == "__main__":
    main()
