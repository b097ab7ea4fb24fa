"""Plans of trips, held against what shares no code with the planner: a grid, and a replay."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any
from unittest import TestCase

import attrs
from hypothesis import strategies as st

from evcharge.planning.piecewise import PiecewiseLinear
from evcharge.planning.trips import TIME, NoPlan, Plan, PlanStation, Trip, Weights, never, plan

CLOSE = 1e-9


@attrs.frozen
class Case:
    """A trip whose charges and energies are whole numbers."""

    trip: Trip
    stations: Sequence[PlanStation]


def hours_to(points: Sequence[tuple[float, float]], charge: float) -> float:
    """The time to charge from empty, between two points of which it lies."""
    for (x, y), (next_x, next_y) in pairwise(points):
        if x - CLOSE <= charge <= next_x + CLOSE:
            return y + (next_y - y) * (charge - x) / (next_x - x)
    raise AssertionError(f"{charge} is beyond {points}")


def replay(case: TestCase, trip: Trip, stations: Sequence[PlanStation], found: Plan) -> None:
    """
    Drive a plan: the battery is never under the reserve, each stop charges, and times and money
    add up.
    """
    charge, clock, money, waits = trip.start_kwh, trip.stays_h[0], 0.0, 0.0
    stops, node, leg = list(found.stops), trip.places[0], 0

    def close(told: float, is_so: float, what: object) -> None:
        case.assertLess(abs(told - is_so), CLOSE, (what, told, is_so, found))

    for drive in found.drives:
        case.assertEqual((drive.here, drive.place), (node, leg))
        energy, hours = (matrix[node][drive.there] for matrix in (trip.energy_kwh, trip.hours))
        close(drive.energy_kwh, energy, "energy")
        close(drive.hours, hours, "hours")
        close(drive.depart_kwh, charge, "charge on leaving")
        node, charge, clock = drive.there, charge - energy, clock + hours
        close(drive.arrive_kwh, charge, "charge on arriving")
        case.assertGreaterEqual(charge, trip.reserve_kwh - CLOSE, found)
        stop = stops[0] if stops and drive is not _last_of(found, leg) else None
        if stop is None:
            leg += 1
            case.assertEqual(node, trip.places[leg])
            clock += trip.stays_h[leg]
            continue
        stops.pop(0)
        station = stations[stop.station]
        case.assertEqual((stop.place, station.index), (leg, node))
        close(stop.arrive_h, clock, "arrival")
        close(stop.arrive_kwh, charge, "charge at a stop")
        case.assertGreater(stop.depart_kwh, charge + CLOSE, "nothing is charged")
        case.assertLessEqual(stop.depart_kwh, trip.most_kwh + CLOSE)
        wait = max(0.0, station.free_at_h - clock)
        close(stop.wait_h, wait, "wait")
        close(stop.start_h, clock + wait + station.stop_h, "start")
        points = station.charge.points
        hours = hours_to(points, stop.depart_kwh) - hours_to(points, charge)
        close(stop.charge_h, hours, "charge")
        paid = station.fee + station.price_hour * hours
        paid += station.price_kwh * (stop.depart_kwh - charge)
        close(stop.money, paid, "money of a stop")
        clock, charge = stop.start_h + hours, stop.depart_kwh
        close(stop.depart_h, clock, "departure")
        money, waits = money + paid, waits + wait
    case.assertEqual((stops, leg), ([], len(trip.places) - 1))
    case.assertGreaterEqual(charge, trip.arrival_kwh - CLOSE)
    close(found.arrival_kwh, charge, "charge at the end")
    close(found.hours, clock, "hours")
    close(found.money, money, "money")
    close(found.drive_h, sum(drive.hours for drive in found.drives), "driving")
    close(found.stay_h, sum(trip.stays_h), "stays")


def _last_of(found: Plan, leg: int) -> object:
    return [drive for drive in found.drives if drive.place == leg][-1]


def planned(
    case: TestCase,
    trip: Trip,
    stations: Sequence[PlanStation],
    weights: Weights = TIME,
    deadline: Callable[[], bool] = never,
) -> Plan | NoPlan:
    """A plan that has been replayed, or that there is none."""
    found = plan(trip, stations, weights, deadline)
    if isinstance(found, Plan):
        replay(case, trip, stations, found)
    return found


def must(found: Plan | NoPlan) -> Plan:
    """A plan that there is."""
    assert isinstance(found, Plan), found
    return found


def on_grid(
    trip: Trip, stations: Sequence[PlanStation], value_of_hour: float | None = None
) -> float | None:
    """
    What the best plan costs, in hours, that charges whole kWh only: Dijkstra's algorithm over leg,
    node and charge. None: there is none. Where money counts, nobody may have to wait.
    """
    real = 0.0 if value_of_hour is None else 1.0 / value_of_hour
    energy, hours = trip.energy_kwh, trip.hours
    last, most, reserve = len(trip.places) - 1, int(trip.most_kwh), trip.reserve_kwh
    times = [
        [hours_to(station.charge.points, charge) for charge in range(most + 1)]
        for station in stations
    ]
    begin = (0, trip.places[0], int(trip.start_kwh))
    best = {begin: trip.stays_h[0]}
    heap = [(trip.stays_h[0], begin)]
    while heap:
        cost, state = heapq.heappop(heap)
        leg, node, charge = state
        if cost > best[state]:
            continue
        if leg == last:
            return cost
        there = trip.places[leg + 1]
        left = charge - int(energy[node][there])
        after: list[tuple[float, tuple[int, int, int]]] = []
        if left >= max(reserve, trip.arrival_kwh if leg + 1 == last else 0):
            stay = trip.stays_h[leg + 1]
            after.append((cost + hours[node][there] + stay, (leg + 1, there, left)))
        for station, time in zip(stations, times, strict=True):
            left = charge - int(energy[node][station.index])
            if station.index == node or left < reserve:
                continue
            begins = max(cost + hours[node][station.index], station.free_at_h) + station.stop_h
            begins += station.fee * real
            for full in range(left + 1, most + 1):
                taken = time[full] - time[left]
                paid = station.price_kwh * (full - left) + station.price_hour * taken
                after.append((begins + taken + paid * real, (leg, station.index, full)))
        for new_cost, new in after:
            if new_cost < best.get(new, float("inf")):
                best[new] = new_cost
                heapq.heappush(heap, (new_cost, new))
    return None


def metric(matrix: list[list[float]]) -> list[list[float]]:
    """A matrix in which no way is longer than one over other nodes."""
    nodes = range(len(matrix))
    for over in nodes:
        for here in nodes:
            for there in nodes:
                way = matrix[here][over] + matrix[over][there]
                matrix[here][there] = min(matrix[here][there], way)
    return matrix


@st.composite
def curves(draw: st.DrawFn, full: int) -> PiecewiseLinear:
    """How a battery is charged: power rises and falls."""
    xs = sorted({0, full, *draw(st.lists(st.integers(1, full - 1), max_size=4))})
    ys = [0.0]
    for x, next_x in pairwise(xs):
        ys.append(ys[-1] + (next_x - x) / draw(st.sampled_from([7, 15, 30, 60, 110, 300])))
    return PiecewiseLinear.of(zip(xs, ys, strict=True))


@st.composite
def cases(draw: st.DrawFn, waits: bool = True, prices: bool = False) -> Case:
    """
    Trips over one leg to three, with up to five stations, with whole numbers of kWh: most can be
    made, and some cannot. No two stations are at one place, so that a grid tells them apart.
    """
    full = draw(st.sampled_from([20, 30, 40]))
    legs, number = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    side = draw(st.sampled_from([full // 2, full]))
    far = st.integers(0, side)
    points = draw(
        st.lists(st.tuples(far, far), min_size=legs + 1 + number, max_size=legs + 1 + number)
    )
    energy: list[list[float]] = metric(
        [[abs(x - to_x) + abs(y - to_y) for to_x, to_y in points] for x, y in points]
    )
    slow = draw(st.lists(st.integers(0, 9), min_size=len(points), max_size=len(points)))
    hours = metric(
        [
            [(each + slow[here] * (here != there)) / 40 for there, each in enumerate(row)]
            for here, row in enumerate(energy)
        ]
    )
    reserve = draw(st.sampled_from([0, 3, 5]))
    stop = draw(st.sampled_from([0.0, 0.05, 0.2]))
    stations = []
    for at in range(number):
        free_at = draw(st.sampled_from([0.0, 0.0, 0.413, 0.771, 1.319])) if waits else 0.0
        price = draw(st.sampled_from([0.5, 1.0, 1.7, 2.5])) if prices else 0.0
        by_hour = draw(st.sampled_from([0.0, 0.0, 6.0])) if prices else 0.0
        fee = draw(st.sampled_from([0.0, 2.0])) if prices else 0.0
        stations.append(
            PlanStation(legs + 1 + at, draw(curves(full)), price, by_hour, fee, stop, free_at)
        )
    route = [0, *draw(st.lists(st.integers(0, legs), min_size=legs, max_size=legs))]
    trip = Trip(
        route,
        energy,
        hours,
        [0.0, *(draw(st.sampled_from([0.0, 0.1])) for _ in range(legs))],
        draw(st.integers(reserve, full)),
        full,
        reserve,
        draw(st.sampled_from([reserve, 10, 15])),
        draw(st.sampled_from([full, full, full - 5])),
    )
    return Case(trip, stations)


def published(vectors: Mapping[str, Any], route: Mapping[str, Any]) -> Case:
    """A case of `routes` or `other_starts`, kWh."""
    instance, nodes = vectors["instance"], route["route"]
    energy = [[wh / 1000 for wh in row] for row in instance["energy_wh"]]
    curves_of = {
        name: PiecewiseLinear.of(
            (wh / 1000, h) for wh, h in zip(curve["charge_wh"], curve["time_h"], strict=True)
        )
        for name, curve in instance["curves"].items()
    }
    stations = [
        PlanStation(int(node), curves_of[kind]) for node, kind in instance["stations"].items()
    ]
    end = nodes[-1]
    is_station = str(end) in instance["stations"]
    left = 0.0 if is_station else min(energy[end][station.index] for station in stations)
    full = instance["battery_wh"] / 1000
    trip = Trip(
        nodes,
        energy,
        [[kwh / 5 for kwh in row] for row in energy],
        [0.5 if 1 <= node <= 40 else 0.0 for node in nodes],
        route.get("start_wh", instance["battery_wh"]) / 1000,
        full,
        0.0,
        left,
        full,
    )
    return Case(trip, stations)


def made(case: Mapping[str, Any]) -> Case:
    """A case of `made`."""
    stations = [
        PlanStation(
            int(node),
            PiecewiseLinear.of(zip(each["charge"], each["time_h"], strict=True)),
            stop_h=case["stop_h"],
            free_at_h=each.get("free_at_h", 0.0),
        )
        for node, each in case["stations"].items()
    ]
    trip = Trip(
        case["route"],
        case["energy"],
        case["time_h"],
        [0.0, *(case["service_h"].get(str(node), 0.0) for node in case["route"][1:])],
        case["start"],
        case["battery"],
        case["least"],
        case["least_at_end"],
        case["most"],
    )
    return Case(trip, stations)
