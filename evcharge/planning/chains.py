"""A given chain of stops: how far to charge at each, at the least cost. Pure."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

import attrs

from evcharge.planning.piecewise import (
    NOTHING_KWH,
    SAME_H,
    Frontier,
    PiecewiseLinear,
    driven,
    value_at,
)
from evcharge.planning.roads import row
from evcharge.planning.search import PLACE, Stops, Task

TOKEN_KWH = 1e-5
"""What is charged at a stop that only is for the way."""


@attrs.frozen
class Way:
    """From one node to the next."""

    leg: int
    here: int
    there: int
    station: int
    """Which one is there; PLACE: it is the end of the leg."""
    energy: float
    hours: float


def ways(task: Task, stops: Stops) -> list[Way]:
    """The ways by a chain of stops, in order."""
    nodes = [(0, task.places[0], PLACE)]
    for leg in task.legs:
        nodes += [(leg, task.nodes[station], station) for at, station in stops if at == leg]
        nodes.append((leg, task.places[leg + 1], PLACE))
    return [
        Way(
            leg,
            here,
            there,
            station,
            row(task.energy, here, [there])[0],
            row(task.hours, here, [there])[0],
        )
        for (_, here, _), (leg, there, station) in pairwise(nodes)
    ]


def charges(task: Task, stops: Stops) -> tuple[float, list[tuple[float, float]]] | None:
    """
    What a chain of stops costs at the least, and with which charge one arrives at each stop and
    leaves it for that, kWh; None where it does not carry.
    """
    frontier: Frontier = [task.start_kwh], [task.stays[0]]
    arriving: list[tuple[Way, Frontier, Frontier]] = []
    there = ways(task, stops)
    for each in there:
        floor = task.reserve_kwh if each.station != PLACE else task.floor(each.leg)
        arrived = driven(*frontier, each.energy, each.hours, floor)
        if arrived is None:
            return None
        if each.station == PLACE:
            stay = task.stays[each.leg + 1]
            frontier = arrived[0], [y + stay for y in arrived[1]]
            continue
        ready = task.ready(each.station, arrived)
        left = task.leaving(each.station, ready)
        if left is None:
            return None
        frontier = left
        arriving.append((each, ready, left))
    # Backwards: with how much one has to leave, and thus to arrive.
    found: list[tuple[float, float]] = []
    need = frontier[0][0]
    for each in reversed(there):
        if each.station != PLACE:
            _, arrived, left = arriving.pop()
            leave = min(max(need, left[0][0]), left[0][-1])
            need = _arrival(arrived, task.curves[each.station], leave)
            found.append((need, leave))
        need += each.energy
    return frontier[1][0], found[::-1]


def _arrival(arriving: Frontier, curve: PiecewiseLinear, leave: float) -> float:
    """With which charge to arrive so that it costs the least to leave with that."""
    xs, ys = arriving
    highest = min(leave, xs[-1])
    low, high = bisect_right(curve.xs, xs[0]), bisect_right(curve.xs, highest)
    kinks = sorted({*xs[: bisect_right(xs, highest)], *curve.xs[low:high], highest})
    costs = [value_at(xs, ys, x) - curve(x) for x in kinks]
    least = min(costs) + SAME_H
    return next(x for x, cost in zip(kinks, costs, strict=True) if cost <= least)


def without_idle(task: Task, stops: Stops) -> tuple[Stops, list[tuple[float, float]]]:
    """
    A chain of stops that carries, without those at which nothing would be charged, and the charges.

    Where roads are no metric a way over a station may be shorter than the straight one: then that
    stop stays, and next to nothing is charged there.
    """
    cost, found = _must(charges(task, stops))
    for number, (arrive, leave) in enumerate(found):
        if leave - arrive <= NOTHING_KWH:
            fewer = [*stops[:number], *stops[number + 1 :]]
            less = charges(task, fewer)
            if less is not None and less[0] <= cost + SAME_H:
                return without_idle(task, fewer)
    more = 0.0
    told: list[tuple[float, float]] = []
    for arrive, leave in found:
        arrive += more
        least = leave if leave - arrive > NOTHING_KWH else min(arrive + TOKEN_KWH, task.most_kwh)
        if least - arrive <= NOTHING_KWH and told:
            # It is full: less is charged at the stop before.
            begin, end = told[-1]
            some = min(TOKEN_KWH, (end - begin) / 2)
            told[-1], arrive = (begin, end - some), arrive - some
        more = least - leave
        told.append((arrive, least))
    return stops, told


def _must(
    found: tuple[float, list[tuple[float, float]]] | None,
) -> tuple[float, list[tuple[float, float]]]:
    if found is None:
        raise ValueError("this chain of stops does not carry")
    return found
