"""Plans a route of a published instance: python plan.py planner-vectors.json"""

import json
import sys

from evcharge.planning.piecewise import PiecewiseLinear
from evcharge.planning.trips import Plan, PlanStation, Trip, plan

with open(sys.argv[1]) as file:
    instance = json.load(file)["instance"]

# Rows and columns are nodes; Wh become kWh, and each 5 kWh take an hour.
energy = [[wh / 1000 for wh in row] for row in instance["energy_wh"]]
hours = [[kwh / 5 for kwh in row] for row in energy]
curves = {
    kind: PiecewiseLinear.of(
        zip((wh / 1000 for wh in curve["charge_wh"]), curve["time_h"], strict=True)
    )
    for kind, curve in instance["curves"].items()
}
stations = [PlanStation(int(node), curves[kind]) for node, kind in instance["stations"].items()]

route = [0, 40, 12, 33, 38, 16, 0]
trip = Trip(
    places=route,
    energy_kwh=energy,
    hours=hours,
    stays_h=[0.5 if node else 0.0 for node in route],
    start_kwh=8.0,
    capacity_kwh=16.0,
    reserve_kwh=0.0,
    # The last place must be left with what reaches the nearest station.
    arrival_kwh=min(energy[route[-1]][station.index] for station in stations),
    most_kwh=16.0,
)
found = plan(trip, stations)
assert isinstance(found, Plan), found
print(f"{found.hours:.6f} h, at most {found.gap_h} h more than the best")
for stop in found.stops:
    node = stations[stop.station].index
    print(f"node {node}: {stop.arrive_kwh:.5f} kWh -> {stop.depart_kwh:.5f} kWh")
