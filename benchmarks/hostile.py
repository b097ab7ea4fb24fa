"""
What one hostile client takes from another one, and what an idle connection takes of memory.

For each kind of client in tests/support/hostile.py a new server, one such client for some seconds,
and one that asks a NAVIGATION and a LOGIN every few milliseconds: its waits, and by how much the
server's memory grew, to which those who log in add. Times are in ms. Then idle connections are
opened.

    python benchmarks/hostile.py [--seconds 5] [--idle 10000]
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.certificates import make_certificate, tls_options  # noqa: E402
from tests.support.servers import (  # noqa: E402
    Client,
    Server,
    memory_kib,
)

LOGIN = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}

KINDS = (
    "nobody",
    "never_reads",
    "byte_by_byte",
    "long_lines",
    "too_long_lines",
    "tiny_lines",
    "blank_lines",
    "opens_and_closes",
    "shakes_hands",
    "pipelines",
    "pipelines_big",
    "logs_in",
)


def suffer(kind: str, seconds: float, folder: Path) -> str:
    """One row of the table."""
    options = []
    if kind == "shakes_hands":
        options = tls_options(*make_certificate(folder / "tls"))
    server = Server(folder / kind, *options).wait()
    port = server.tls_port if options else server.port
    try:
        client = Client(server.port)
        for _ in range(200):
            client.request("START")
            user = client.request("LOGIN", **LOGIN)["data"]["user_id"]
            client.request("NAVIGATION", user_id=user, route_distance=10)
        before = most = memory_kib(server)
        hostile = None
        if kind != "nobody":
            hostile = subprocess.Popen(
                [sys.executable, "-m", "tests.support.hostile", kind, str(port), str(seconds)],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
            )
        waits: dict[str, list[float]] = {"NAVIGATION": [], "LOGIN": []}
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for request, data in (
                ("NAVIGATION", {"user_id": user, "route_distance": 10}),
                ("LOGIN", LOGIN),
            ):
                began = time.perf_counter()
                client.request(request, **data)
                waits[request].append((time.perf_counter() - began) * 1000)
                time.sleep(0.001)
            if len(waits["LOGIN"]) % 20 == 0:
                most = max(most, memory_kib(server))
        if hostile is not None:
            hostile.wait(30)
        client.close()
    finally:
        server.process.kill()
        server.process.wait()
    columns = [kind.replace("_", " ")]
    for times in waits.values():
        p99 = statistics.quantiles(times, n=100)[98]
        columns += [f"{statistics.median(times):.2f}", f"{p99:.2f}", f"{max(times):.1f}"]
    return f"| {' | '.join(columns)} | {(most - before) / 1024:.1f} |"


def idle(number: int, folder: Path) -> str:
    """What an idle connection takes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Server(folder / "idle").wait()
    try:
        client = Client(server.port)
        client.request("START")
        before = memory_kib(server)
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(number)]
        Client(server.port).request("START")
        each = (memory_kib(server) - before) / number
        for one in clients:
            one.close()
    finally:
        server.process.kill()
        server.process.wait()
    return f"{number} idle connections: {each:.2f} KiB of the server's memory each"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0].strip())
    parser.add_argument("--seconds", type=float, default=5.0, help="for each kind")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory(prefix="evcharge-hostile-") as name:
        print("| the hostile client | NAVIGATION p50 | p99 | most | LOGIN p50 | p99 | most | MiB |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for kind in KINDS:
            print(suffer(kind, options.seconds, Path(name)), flush=True)
        print()
        print(idle(options.idle, Path(name)))


if __name__ == "__main__":
    main()
