"""Whether a trip can be made at all, by whatever stops; and where not, why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import attrs

from evcharge.planning.piecewise import NOTHING_KWH
from evcharge.planning.roads import row
from evcharge.planning.search import Task


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
    left = [task.nodes[station] for station in stations]
    most = task.most_kwh
    best, ahead = -inf, [(begin, charge)]
    while ahead:
        node, has = ahead.pop()
        *energies, last = row(task.energy, node, [*left, end])
        best = max(best, has - last)
        reach = has - task.reserve_kwh + NOTHING_KWH
        ahead += [(other, most) for other, e in zip(left, energies, strict=True) if e <= reach]
        left = [other for other, e in zip(left, energies, strict=True) if e > reach]
    return best


def _missing(task: Task, stations: Sequence[int], leg: int, charge: float) -> float:
    """The least that is missing on the worst way of a chain over a leg."""
    begin, end = task.places[leg], task.places[leg + 1]
    left = {station: inf for station in stations}
    missing, node, has, worst = inf, begin, charge, 0.0
    while True:
        others = list(left)
        *energies, last = row(task.energy, node, [*(task.nodes[o] for o in others), end])
        missing = min(missing, max(worst, last + task.floor(leg) - has))
        for other, energy in zip(others, energies, strict=True):
            left[other] = min(left[other], max(worst, energy + task.reserve_kwh - has))
        if not left:
            return missing
        near = min(left, key=left.__getitem__)
        worst = left.pop(near)
        if worst >= missing:
            return missing
        node, has = task.nodes[near], task.most_kwh


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
