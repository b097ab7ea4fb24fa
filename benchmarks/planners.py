"""
What planning trips costs other drivers: how long NAVIGATION takes while two PLANs are always under
way, beside how long it takes without.

The server plans in two processes, among the shipped stations or so many that are made up along the
roads out of the city. A driver asks NAVIGATION again as soon as it is answered (with `--steady`
twenty do it 400 times a second), without PLANs and with them, in turn; whoever has a plan asks for
the next one at once.

    python benchmarks/planners.py [--stations 1000] [--steady] [--seconds 10] [--rounds 5]

All processes share the machine's cores; those that make the load are nice to the server. Goal: the
drivers' p99 is at most 1.2 times that without.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from live import LOGIN, Client, ask, collected, line, p99_ms, running, serving

FEIRA, SALVADOR, SOUTH = [
    {"latitude": latitude, "longitude": longitude}
    for latitude, longitude in ((-12.2664, -38.9663), (-12.9714, -38.5014), (-16.9, -39.6))
]
"""From the first one to the others are some 120 and 670 km of road."""

COLUMNS = (
    "id",
    "nomeDoPosto",
    "endereço",
    "latitude",
    "longitude",
    "quantidadeDeVeiculosSimultaneos",
    "potenciaKW",
    "precoKWh",
    "conectores",
)

EVCHARGE = (sys.executable, "-c", "from evcharge.cli import main; main()", "bootstrap")

NICENESS = 10
"""Of those who make the load."""


def network(path: Path, stations: int) -> None:
    """Write a CSV of so many stations about the trip."""
    luck = random.Random(1)
    (south, west), (north, east) = (
        [pick(place[name] for place in (FEIRA, SOUTH)) for name in ("latitude", "longitude")]
        for pick in (min, max)
    )
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number in range(1, stations + 1):
            rows.writerow(
                [
                    *(number, f"Posto {number}", "BR-101"),
                    round(luck.uniform(south - 1, north + 1), 4),
                    round(luck.uniform(west - 1, east + 1), 4),
                    *(4, luck.choice([50, 60, 100, 150]), luck.choice([1.8, 2.1, 2.6]), "CCS2"),
                ]
            )


def drivers(port: int, ready: Any, told: Any) -> None:
    """Ask NAVIGATION at a steady rate, nicely."""
    os.nice(NICENESS)
    ask(port, ready, told)


def driver(port: int, ready: Any, told: Any) -> None:
    """Ask NAVIGATION, one after another; each second tell how long the replies took, seconds."""
    os.nice(NICENESS)
    client = Client(port)
    user = client.request("LOGIN", **LOGIN)["user_id"]
    request = line("NAVIGATION", user_id=user, route_distance=90)
    ready.set()
    took: list[float] = []
    tell_at = time.monotonic() + 1
    while True:
        began = time.monotonic()
        client.socket.sendall(request)
        client.replies.readline()
        ended = time.monotonic()
        took.append(ended - began)
        if ended >= tell_at:
            told.put(took)
            took, tell_at = [], tell_at + 1


def planned(port: int, ready: Any, told: Any, places: list[dict[str, float]]) -> None:
    """Ask for one plan after another; tell how long each took, seconds."""
    os.nice(NICENESS)
    client = Client(port)
    user = client.request("LOGIN", **LOGIN)["user_id"]
    first = client.request("PLAN", user_id=user, places=places)
    if not first.get("feasible"):
        sys.exit(f"there is no plan: {first}")
    ready.set()
    while True:
        began = time.monotonic()
        client.request("PLAN", user_id=user, places=places)
        told.put(time.monotonic() - began)


@contextlib.contextmanager
def planning(port: int, cores: set[int], **trip: Any) -> Iterator[list[Any]]:
    """Have two plans always under way."""
    with (
        running(planned, port, cores, **trip) as one,
        running(planned, port, cores, **trip) as another,
    ):
        yield [one, another]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--stations", type=int, help="made up; else the shipped ones")
    parser.add_argument("--steady", action="store_true", help="drivers ask at a steady rate")
    parser.add_argument("--seconds", type=int, default=10, help="a measurement takes")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cores = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = [*EVCHARGE, "--data", str(folder / "data"), "--users", "0"]
        trip = {"places": [FEIRA, SALVADOR]}
        if options.stations is not None:
            network(folder / "stations.csv", options.stations)
            made += ["--stations", str(folder / "stations.csv")]
            trip = {"places": [FEIRA, SOUTH]}
        subprocess.run(made, check=True)
        _, port, _ = stack.enter_context(serving(folder, cores, "--plan-workers", "2"))
        asked = stack.enter_context(running(drivers if options.steady else driver, port, cores))
        collected(asked, 2)
        ratios = []
        for _ in range(options.rounds):
            without = p99_ms(collected(asked, options.seconds))
            with planning(port, cores, **trip) as plans:
                beside = p99_ms(collected(asked, options.seconds))
                took = [each.get() for each in plans for _ in range(each.qsize())]
            ratios.append(beside / without)
            print(
                f"drivers' p99 {without:.2f} ms without, {beside:.2f} ms beside two plans: "
                f"{ratios[-1]:.2f} x; {len(took) / options.seconds:.1f} plans a second, "
                f"{statistics.median(took) * 1e3:.1f} ms each",
                flush=True,
            )
        print(f"median {statistics.median(ratios):.2f} x (goal 1.2)")


if __name__ == "__main__":
    main()
