"""
What planning a trip costs: published routes beside frvcpy, trips among many stations, and a PLAN
within range beside a NAVIGATION.

Seconds of CPU, the lowest of all rounds; the worst of several networks. frvcpy is measured in the
same process, in turn, where it can be imported (`pip install frvcpy`): only its `solve()` counts.

    python benchmarks/planning.py [--rounds 5] [--networks 5] [--only routes|stations|range]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evcharge.commands.plan_vectors import cases  # noqa: E402
from evcharge.datasets.cars import parse_car_models  # noqa: E402
from evcharge.datasets.files import CARS, shipped  # noqa: E402
from evcharge.models.charging import Supply, rate_of  # noqa: E402
from evcharge.models.electric_car import CarModel  # noqa: E402
from evcharge.planning.piecewise import PiecewiseLinear  # noqa: E402
from evcharge.planning.trips import (  # noqa: E402
    PRICE,
    TIME,
    Plan,
    PlanStation,
    Trip,
    Weights,
    plan,
)
from evcharge.testing import MemoryServer  # noqa: E402

VECTORS = ROOT / "tests" / "data" / "planner-vectors.json"
CAR = "Tesla Model 3"
POWERS_KW = (50.0, 60.0, 80.0, 100.0, 120.0, 150.0)
CRITERIA = {"time": TIME, "balanced": Weights(20.0), "price": PRICE}
DEGREE_KM = 111.195
"""Of latitude."""
MANY = 500
"""Lines in a row."""
WIDE = 0.25
"""How far stations are off the straight line, in parts of its length."""


def cpu(work: Callable[[], Any]) -> float:
    """Seconds that some work takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def routes(rounds: int) -> None:
    """The published routes, all after one another."""
    published = [case for case in cases(VECTORS) if case.of == "routes"]

    def ours() -> None:
        for case in published:
            plan(case.trip, case.stations)

    took, theirs = [], []
    solvers = of_frvcpy()
    for _ in range(rounds):
        took.append(cpu(ours))
        if solvers is not None:
            made = solvers()
            theirs.append(cpu(lambda made=made: [solver.solve() for solver in made]))
    print(f"{len(published)} routes: {min(took):.3f} s", end="")
    if theirs:
        print(f"; frvcpy {min(theirs):.3f} s: {min(took) / min(theirs):.2f} times as much")
    else:
        print("; frvcpy is not installed, to compare: pip install frvcpy")


def of_frvcpy() -> Callable[[], Sequence[Any]] | None:
    """What makes a solver for each of the routes; None where there is none."""
    try:
        from frvcpy.solver import Solver
    except ImportError:
        return None
    whole = json.loads(VECTORS.read_text())
    instance = whole["instance"]
    first, last = map(int, instance["service_h"]["nodes"].split("-"))
    each = instance["service_h"]["each"]
    energy = instance["energy_wh"]
    as_theirs = {
        "energy_matrix": energy,
        "time_matrix": [[wh / 5000 for wh in row] for row in energy],
        "process_times": [each if first <= n <= last else 0.0 for n in range(len(energy))],
        "max_q": instance["battery_wh"],
        "t_max": instance["limit_h"],
        "css": [{"node_id": int(n), "cs_type": kind} for n, kind in instance["stations"].items()],
        "breakpoints_by_type": [
            {"cs_type": kind, "time": curve["time_h"], "charge": curve["charge_wh"]}
            for kind, curve in instance["curves"].items()
        ],
    }

    def make() -> Sequence[Any]:
        return [
            Solver(as_theirs, list(route["route"]), instance["battery_wh"])
            for route in whole["routes"]
        ]

    for solver, route in zip(make(), whole["routes"], strict=True):
        hours, _ = solver.solve()
        if abs(hours - route["objective_h"]) > 1e-3:
            raise SystemExit(f"frvcpy: {route['name']} takes {hours}, not {route['objective_h']}")
    return make


def network(
    count: int, km: float, seed: int, model: CarModel
) -> tuple[Callable[[], Trip], list[PlanStation]]:
    """What makes a trip of so many kilometres, and stations about it."""
    chance = random.Random(seed)
    degrees = km / 1.3 / DEGREE_KM
    places, stations = [], []
    for number in range(count):
        along, beside = chance.uniform(-0.05, 1.05), chance.uniform(-WIDE, WIDE)
        places.append((-12.0 - degrees * along, -39.0 + degrees * beside))
        rate = rate_of(model, Supply(True, chance.choice(POWERS_KW)))
        price = chance.uniform(1.5, 3.0)
        charge = PiecewiseLinear.of(rate.chords(5.0))
        stations.append(PlanStation(2 + number, charge, price, stop_h=5 / 60))
    ends = [(-12.0, -39.0), (-12.0 - degrees, -39.0)]
    return lambda: Trip.between(ends, places, model, 90.0), stations


def many(rounds: int, networks: int) -> None:
    """Trips among many stations, the way between them worked out each time."""
    model = CarModel.from_facts(parse_car_models(shipped(CARS), CARS)[CAR])
    print(f"| stations | km | {' | '.join(CRITERIA)} |")
    print("|---|---|---|---|---|")
    for count in (20, 50, 200, 1000):
        for km in (500.0, 1000.0):
            cells = []
            for weights in CRITERIA.values():
                worst, stops = 0.0, 0
                for seed in range(networks):
                    trip, stations = network(count, km, seed, model)
                    times = []
                    for _ in range(rounds):
                        begin = time.process_time()
                        found = plan(trip(), stations, weights)
                        times.append(time.process_time() - begin)
                    worst = max(worst, min(times))
                    if isinstance(found, Plan):
                        stops = max(stops, len(found.stops))
                cells.append(f"{worst:.3f} s, {stops} stops")
            print(f"| {count} | {km:.0f} | {' | '.join(cells)} |", flush=True)


def within_range(rounds: int) -> None:
    """A PLAN that needs no stop beside a NAVIGATION: lines of one driver, handled in memory."""
    server = MemoryServer(options=["--rate-per-connection", "0", "--rate-per-address", "0"])
    login = {"user_name": "Ana", "selected_car": CAR, "battery_car": 90}
    user_id = server.request("LOGIN", **login)["data"]["user_id"]
    ends = ((-12.2664, -38.9663), (-12.9714, -38.5014))
    places = [dict(zip(("latitude", "longitude"), end, strict=True)) for end in ends]
    protocol, transport = server.connect()
    took: dict[str, float] = {}
    for _ in range(rounds):
        for kind, data in (("PLAN", {"places": places}), ("NAVIGATION", {"route_distance": 121.2})):
            asked = {"type": kind, "data": {"user_id": user_id, **data}}
            line = json.dumps({**asked, "status": {}, "timestamp": ""}).encode() + b"\n"

            def ask(line: bytes = line, kind: str = kind) -> None:
                for _ in range(MANY):
                    protocol.dataReceived(line)
                    if b'"code":200' not in (reply := transport.take()):
                        raise SystemExit(f"{kind} is answered {reply.decode()}")

            took[kind] = min(cpu(ask) / MANY, took.get(kind, 1.0))
    plan_s, navigation_s = took.values()
    print(
        f"within range: PLAN {plan_s * 1e6:.0f} us, NAVIGATION {navigation_s * 1e6:.0f} us: "
        f"{plan_s / navigation_s:.2f} times as much"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--only", choices=("routes", "stations", "range"))
    options = parser.parse_args()
    if options.only in (None, "routes"):
        routes(options.rounds)
    if options.only in (None, "stations"):
        many(options.rounds, options.networks)
    if options.only in (None, "range"):
        within_range(options.rounds)


if __name__ == "__main__":
    main()
