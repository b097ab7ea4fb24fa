"""
What planning trips costs other drivers: how long NAVIGATION takes while two PLANs are always under
way, beside how long it takes without.

The server plans in two processes, among stations that are made up along the roads out of the city.
Drivers ask NAVIGATION over twenty connections, 400 times a second, without PLANs and with them, in
turn; whoever has a plan asks for the next one at once.

    python benchmarks/planners.py [--stations 1000] [--seconds 10] [--rounds 3]

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

from live import LOGIN, Client, ask, collected, cpu_s, p99_ms, running, serving

PLACES = [
    {"latitude": -12.2664, "longitude": -38.9663},
    {"latitude": -16.9, "longitude": -39.6},
]
"""A trip of some 670 km of road."""

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
        [pick(place[name] for place in PLACES) for name in ("latitude", "longitude")]
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
    """Ask NAVIGATION, nicely."""
    os.nice(NICENESS)
    ask(port, ready, told)


def planned(port: int, ready: Any, told: Any) -> None:
    """Ask for one plan after another; tell how long each took, seconds."""
    os.nice(NICENESS)
    client = Client(port)
    user = client.request("LOGIN", **LOGIN)["user_id"]
    first = client.request("PLAN", user_id=user, places=PLACES)
    if not first.get("feasible"):
        sys.exit(f"there is no plan: {first}")
    ready.set()
    while True:
        began = time.monotonic()
        client.request("PLAN", user_id=user, places=PLACES)
        told.put(time.monotonic() - began)


@contextlib.contextmanager
def planning(port: int, cores: set[int]) -> Iterator[list[Any]]:
    """Have two plans always under way."""
    with running(planned, port, cores) as one, running(planned, port, cores) as another:
        yield [one, another]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--stations", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10, help="a measurement takes")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cores = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network(folder / "stations.csv", options.stations)
        made = [*EVCHARGE, "--data", str(folder / "data"), "--users", "0"]
        subprocess.run([*made, "--stations", str(folder / "stations.csv")], check=True)
        pid, port, _ = stack.enter_context(serving(folder, cores, "--plan-workers", "2"))
        asked = stack.enter_context(running(drivers, port, cores))
        collected(asked, 2)
        ratios = []
        for _ in range(options.rounds):
            used = cpu_s(pid)
            without = p99_ms(collected(asked, options.seconds))
            used = cpu_s(pid) - used
            with planning(port, cores) as plans:
                used_too = cpu_s(pid)
                beside = p99_ms(collected(asked, options.seconds))
                used_too = cpu_s(pid) - used_too
                took = [each.get() for each in plans for _ in range(each.qsize())]
            ratios.append(beside / without)
            print(
                f"drivers' p99 {without:.2f} ms without, {beside:.2f} ms beside two plans: "
                f"{ratios[-1]:.2f} x; {len(took) / options.seconds:.1f} plans a second, "
                f"{statistics.median(took):.2f} s each, "
                f"{(used_too - used) / len(took) * 1e3:.1f} ms of the server's own CPU",
                flush=True,
            )
        print(f"median {statistics.median(ratios):.2f} x (goal 1.2)")


if __name__ == "__main__":
    main()
