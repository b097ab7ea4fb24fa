"""Whether a trip can be made at all, by whatever stops; and where not, why. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from math import inf

import attrs

from evcharge.planning.piecewise import NOTHING_KWH
from evcharge.planning.search import PLACE, Stops, Task


@attrs.frozen
class Blocked:
    """A leg that no chain of stations carries."""

    leg: int
    missing_kwh: float
    """How much more would have to fit between two stops for the one that lacks the least."""


def blocked(task: Task, stations: Sequence[int]) -> Blocked | None:
    """
    The first leg that cannot be driven; None: there is a plan.

    Whoever leaves with more gets no less far: so each leg is begun with the most that is possible.

    :param stations: by number, those that may be stopped at.
    """
    charge = task.start_kwh
    for leg in task.legs:
        found = _arriving(task, stations, leg, charge)
        if found < task.floor(leg) - NOTHING_KWH:
            return Blocked(leg, _missing(task, stations, leg, charge))
        charge = max(found, task.floor(leg))
    return None


def _arriving(task: Task, stations: Sequence[int], leg: int, charge: float) -> float:
    """With how much one arrives at the end of a leg at the most; under 0: one does not."""
    begin, end = task.places[leg], task.places[leg + 1]
    left, most = {task.nodes[station] for station in stations}, task.most_kwh
    best, ahead = -inf, [(begin, charge)]
    while ahead:
        node, has = ahead.pop()
        energies = task.energy[node]
        best = max(best, has - energies[end])
        reach = has - task.reserve_kwh + NOTHING_KWH
        # Who arrives with more than that cannot charge there.
        full = has - task.most_kwh + NOTHING_KWH
        near = [other for other in left if full < energies[other] <= reach]
        ahead += [(other, most) for other in near]
        left.difference_update(near)
    return best


def some_chain(task: Task, stations: Sequence[int], carefully: bool) -> Stops | None:
    """
    A chain of stops that carries if one leaves each of them full, found without a search.

    :param carefully: arrive at each place with the most that is possible, not as soon as possible:
        then it is found if there is one.
    :return: None: by that there is none.
    """
    chain: Stops = []
    charge = task.start_kwh
    for leg in task.legs:
        found = _over_leg(task, stations, leg, charge, carefully and leg < task.legs[-1])
        if found is None:
            return None
        stops, charge = found
        chain += [(leg, station) for station in stops]
    return chain


def _over_leg(
    task: Task, stations: Sequence[int], leg: int, charge: float, with_most: bool
) -> tuple[list[int], float] | None:
    """The stops over a leg, and with how much one arrives: with the most, or by the quickest."""
    end, floor = task.places[leg + 1], task.floor(leg) - NOTHING_KWH
    costs, before = {PLACE: 0.0}, dict[int, int]()
    ahead, passed = [(0.0, PLACE)], set[int]()
    best: tuple[tuple[float, float], int, float] | None = None
    while ahead:
        cost, here = heapq.heappop(ahead)
        if here in passed:
            continue
        passed.add(here)
        node = task.places[leg] if here == PLACE else task.nodes[here]
        has = charge if here == PLACE else task.most_kwh
        energies, hours = task.energy[node], task.hours[node]
        left, takes = has - energies[end], cost + hours[end]
        order = (-left, takes) if with_most else (takes, -left)
        if left >= floor and (best is None or order < best[0]):
            best = order, here, left
        for there in stations:
            arrives = has - energies[task.nodes[there]]
            if task.reserve_kwh - NOTHING_KWH <= arrives < task.most_kwh - NOTHING_KWH:
                new = cost + hours[task.nodes[there]] + task.stops[there]
                if there not in passed and new < costs.get(there, inf):
                    costs[there], before[there] = new, here
                    heapq.heappush(ahead, (new, there))
    if best is None:
        return None
    _, here, left = best
    stops = []
    while here != PLACE:
        stops.append(here)
        here = before[here]
    return stops[::-1], max(left, task.floor(leg))


def _missing(task: Task, stations: Sequence[int], leg: int, charge: float) -> float:
    """The least that is missing on the worst way of a chain over a leg."""
    begin, end = task.places[leg], task.places[leg + 1]
    left = {task.nodes[station]: inf for station in stations}
    missing, node, has, worst = inf, begin, charge, 0.0
    while True:
        energies = task.energy[node]
        missing = min(missing, max(worst, energies[end] + task.floor(leg) - has))
        for other in left:
            lacks = energies[other] + task.reserve_kwh - has
            left[other] = min(left[other], max(worst, lacks))
        if not left:
            return missing
        near = min(left, key=left.__getitem__)
        worst = left.pop(near)
        if worst >= missing:
            return missing
        node, has = near, task.most_kwh


def least(carries: Callable[[int], bool], over: int, most: int) -> int | None:
    """
    The least whole number over one, up to another, for which something is so; None: for none.

    :param carries: whether it is, and so for all that are greater.
    """
    if over >= most or not carries(most):
        return None
    low, high = over, most
    while high - low > 1:
        middle = (low + high) // 2
        if carries(middle):
            high = middle
        else:
            low = middle
    return high
