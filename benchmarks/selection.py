"""
What SELECTION_STATION costs over many stations, by each criterion, and NAVIGATION beside it.

Whole requests, answered by a server in memory: what transport and disk take is not there. It
prints µs of CPU per request, the lowest of all rounds. With `--source` another checkout is measured
in turn with this one, each round in a process of its own.

    python benchmarks/selection.py [--stations 1000] [--rounds 5] [--source ../another/checkout]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CAR = "Tesla Model 3"
PLACE = {"latitude": -12.2664, "longitude": -38.9663}
REQUESTS = 30
"""Requests of a kind in a round, one after another."""


def measured(stations: int) -> dict[str, float]:
    """µs of CPU per request, by what was asked, of the evcharge that is imported."""
    import attrs

    from evcharge.rules.journey import ListStations
    from evcharge.storage.memory import MemoryStorage
    from evcharge.testing import MemoryServer, shipped_network

    shipped: Any = shipped_network()
    states = [state.station for state in shipped.recall(ListStations())]
    # As dense as the shipped network, in rows to the east of it.
    many = [
        attrs.evolve(
            states[number % len(states)],
            station_id=number + 1,
            longitude=states[number % len(states)].longitude + number / stations / 2,
        )
        for number in range(stations)
    ]
    if hasattr(shipped, "catalogue"):
        catalogue = shipped.catalogue()
        storage = MemoryStorage(catalogue.car_models, many, catalogue.tariffs)
    else:
        storage = MemoryStorage(shipped.car_models(), many)
    server = MemoryServer(storage)
    login = server.request("LOGIN", user_name="Ana", selected_car=CAR, battery_car=60)
    user = {"user_id": login["data"]["user_id"]}
    listed = {str(n + 1): {"distance_origin_position": (n * 7919) % 60} for n in range(10)}
    protocol, transport = server.connect()
    costs = {}
    for name, kind, data in (
        *((c, "SELECTION_STATION", {"position": PLACE, "criterion": c}) for c in CRITERIA),
        ("ten distances", "SELECTION_STATION", {"list_stations": listed}),
        ("NAVIGATION", "NAVIGATION", {"route_distance": 180}),
    ):
        message = {"type": kind, "data": {**user, **data}, "status": {}, "timestamp": ""}
        line = json.dumps(message).encode() + b"\n"
        times = REQUESTS if "position" in data else 100 * REQUESTS
        for asked in (1, times):
            began = time.process_time()
            for _ in range(asked):
                protocol.dataReceived(line)
            costs[name] = (time.process_time() - began) / asked * 1e6
            reply = transport.take().splitlines()[-1]
            assert b'"code":200' in reply, reply
    return costs


CRITERIA = ("distance", "time", "price")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--stations", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--source", type=Path, help="another checkout, to compare with this one")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(measured(options.stations)))
        return
    sources = {"here": ROOT, **({"there": options.source} if options.source else {})}
    lowest: dict[str, dict[str, float]] = {name: {} for name in sources}
    for _ in range(options.rounds):
        for name, source in sources.items():
            done = subprocess.run(
                [sys.executable, __file__, "--once", f"--stations={options.stations}"],
                env={**os.environ, "PYTHONPATH": str(source.resolve())},
                check=True,
                capture_output=True,
                text=True,
            )
            for asked, cost in json.loads(done.stdout).items():
                lowest[name][asked] = min(cost, lowest[name].get(asked, cost))
    heads = [*sources, "ratio"] if options.source else [*sources]
    print("| µs of CPU | " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * len(sources) + ("---:|" if options.source else ""))
    for asked in lowest["here"]:
        figures = [lowest[name][asked] for name in sources]
        ratio = f" | {figures[0] / figures[1]:.2f}" if len(figures) > 1 else ""
        print(f"| {asked} | " + " | ".join(f"{figure:.0f}" for figure in figures) + ratio + " |")


if __name__ == "__main__":
    main()
