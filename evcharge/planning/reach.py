"""Whether a trip can be made at all, by whatever stops; and where not, why. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from math import inf

import attrs

from evcharge.planning.piecewise import NOTHING_KWH
from evcharge.planning.roads import column, row
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

    :param stations: by number, those that may be stopped at.
    """
    found = _first_blocked(task, stations)
    if found is None:
        return None
    leg, charge = found
    return Blocked(leg, _missing(task, stations, leg, charge))


def carried(task: Task, stations: Sequence[int]) -> bool:
    """Whether there is a plan: the same, without what is missing."""
    return _first_blocked(task, stations) is None


def _first_blocked(task: Task, stations: Sequence[int]) -> tuple[int, float] | None:
    """
    The first leg that cannot be driven, and with how much it is begun at the most.

    Whoever leaves with more gets no less far: so each leg is begun with the most that is possible.
    """
    charge = task.start_kwh
    for leg in task.legs:
        found = _arriving(task, stations, leg, charge)
        if found < task.floor(leg) - NOTHING_KWH:
            return leg, charge
        charge = max(found, task.floor(leg))
    return None


def _arriving(task: Task, stations: Sequence[int], leg: int, charge: float) -> float:
    """With how much one arrives at the end of a leg at the most; under 0: one does not."""
    begin, end = task.places[leg], task.places[leg + 1]
    left, most = [*{task.nodes[station] for station in stations}], task.most_kwh
    to_end = dict(zip(left, column(task.energy, end, left), strict=True))
    best, ahead = charge - row(task.energy, begin, [end])[0], [(begin, charge)]
    while ahead and left:
        node, has = ahead.pop()
        reach = has - task.reserve_kwh + NOTHING_KWH
        # Who arrives with more than that cannot charge there.
        full = has - task.most_kwh + NOTHING_KWH
        # The farther one gets, the fewer are left to be looked at: thousands take no second.
        far = []
        for other, energy in zip(left, row(task.energy, node, left), strict=True):
            if full < energy <= reach:
                ahead.append((other, most))
                best = max(best, most - to_end[other])
            else:
                far.append(other)
        left = far
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
    left = dict.fromkeys((task.nodes[station] for station in stations), inf)
    nodes = [*left]
    to_end = dict(zip(nodes, column(task.energy, end, nodes), strict=True))
    to_end[begin] = row(task.energy, begin, [end])[0]
    missing, worst, ahead = inf, 0.0, [(begin, charge)]
    while ahead:
        node, has = ahead.pop()
        missing = min(missing, max(worst, to_end[node] + task.floor(leg) - has))
        others = [*left]
        for other, energy in zip(others, row(task.energy, node, others), strict=True):
            lacks = energy + task.reserve_kwh - has
            if lacks <= worst:
                del left[other]
                ahead.append((other, task.most_kwh))
            elif lacks < left[other]:
                left[other] = lacks
        if not ahead and left:
            near = min(left, key=left.__getitem__)
            worst = left.pop(near)
            if worst < missing:
                ahead.append((near, task.most_kwh))
    return missing


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
