"""Whether a trip can be made at all, by whatever stops; and where not, why. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from math import inf

import attrs

from evcharge.planning.piecewise import NOTHING_KWH
from evcharge.planning.roads import Roads, Straight, column, row
from evcharge.planning.search import Stops, Task


@attrs.frozen
class Blocked:
    """A leg that no chain of stations carries."""

    leg: int
    missing_kwh: float
    """How much more would have to fit between two stops for the one that lacks the least."""


def blocked(task: Task, stations: Sequence[int], time_is_up: Callable[[], bool]) -> Blocked | None:
    """
    The first leg that cannot be driven; None: there is a plan.

    :param stations: by number, those that may be stopped at.
    :param time_is_up: asked now and then: then what is missing is more than need be.
    """
    found = _chain(task, stations, True)
    if isinstance(found, list):
        return None
    leg, charge = found
    return Blocked(leg, _missing(task, stations, leg, charge, time_is_up))


def carried(task: Task, stations: Sequence[int]) -> bool:
    """Whether there is a plan: the same, without what is missing."""
    return isinstance(_chain(task, stations, True), list)


def some_chain(task: Task, stations: Sequence[int], carefully: bool) -> Stops | None:
    """
    A chain of stops that carries if one leaves each of them full, found without a search.

    :param carefully: arrive at each place with the most that is possible, not with what suffices
        there: then it is found if there is one.
    :return: None: by that there is none.
    """
    found = _chain(task, stations, carefully)
    return found if isinstance(found, list) else None


def _chain(task: Task, stations: Sequence[int], carefully: bool) -> Stops | tuple[int, float]:
    """The same; or the first leg that cannot be driven, and with how much it is begun at most."""
    begins: list[tuple[float, Stops]] = [(task.start_kwh, [])]
    for leg in task.legs:
        floor = task.floor(leg)
        enough = inf if carefully and leg < task.legs[-1] else floor
        ends = [
            (max(charge, floor), chain)
            for charge, chain in _over_leg(task, stations, leg, begins, enough)
            if charge >= floor - NOTHING_KWH
        ]
        if not ends:
            return leg, max(charge for charge, _ in begins)
        begins = ends
    return begins[0][1]


def _over_leg(
    task: Task,
    stations: Sequence[int],
    leg: int,
    begins: Sequence[tuple[float, Stops]],
    enough: float,
) -> list[tuple[float, Stops]]:
    """
    With how much one arrives at the end of a leg at the most, or once it is enough; and the stops
    since departure.

    Whoever leaves with more gets no less far, but for one thing: who has not stopped yet, and has
    as much as can be charged up to or more, can stop nowhere. So that is a way of its own.

    :param begins: the same for the begin of the leg.
    """
    begin, end, most = task.places[leg], task.places[leg + 1], task.most_kwh
    straight = row(task.energy, begin, [end])[0]
    # Of where the leg begins there are several: ~0, ~1.
    best, last, full = -inf, ~0, []
    for number, (charge, chain) in enumerate(begins):
        if not chain and charge - straight > most - NOTHING_KWH:
            full.append((charge - straight, chain))
        elif charge - straight > best:
            best, last = charge - straight, ~number
    if full and full[0][0] >= enough - NOTHING_KWH:
        return full
    there = {task.nodes[station]: station for station in reversed(stations)}
    nodes = [*there]
    to_end = dict(zip(nodes, column(task.energy, end, nodes), strict=True))
    left, before = _Left(task.energy, nodes), dict[int, int]()
    enough = min(enough, most - min(to_end.values(), default=0.0))
    # Nearest to the end first: that takes few of them, and few stops.
    ahead = [(0.0, ~number) for number in range(len(begins))]
    heapq.heapify(ahead)
    while ahead and best < enough - NOTHING_KWH:
        _, here = heapq.heappop(ahead)
        charge, chain = (most, [(leg, here)]) if here >= 0 else begins[~here]
        over = -1.0 if chain else charge - most + NOTHING_KWH
        reach = charge - task.reserve_kwh + NOTHING_KWH
        for other in left.take(begin if here < 0 else here, over, reach):
            before[other] = here
            heapq.heappush(ahead, (to_end[other], other))
            if most - to_end[other] > best:
                best, last = most - to_end[other], other
    stops: Stops = []
    while last >= 0:
        stops.append((leg, there[last]))
        last = before[last]
    return [*full, (best, begins[~last][1] + stops[::-1])]


@attrs.define(eq=False)
class _Bundle:
    """Nodes near one another."""

    middle: int
    """One of them,"""
    radius: float
    """and from it to the farthest; infinite where that says nothing of other nodes."""
    nodes: list[int]
    lacks: list[float]
    """How much is missing to get to each."""
    least: float = inf
    """The least of it,"""
    most: float = inf
    """and the most."""


class _Left:
    """
    The nodes that are not reached yet. Great circles have them in bundles: a whole one is known at
    once to be too far, or thousands would each be compared with all others.
    """

    def __init__(self, roads: Roads, nodes: list[int]) -> None:
        self._roads = roads
        bundles = roads.bundles(nodes) if isinstance(roads, Straight) else [(nodes, 0, inf)]
        self._bundles = [
            _Bundle(middle, radius, near, [inf] * len(near)) for near, middle, radius in bundles
        ]

    def take(self, node: int, over: float, reach: float) -> list[int]:
        """Those to which one needs more than `over` from a node, and no more than `reach`."""
        found: list[int] = []
        for bundle, nearest in self._around(node):
            if nearest > reach:
                continue
            far: list[int] = []
            for other, energy in zip(
                bundle.nodes, row(self._roads, node, bundle.nodes), strict=True
            ):
                (found if over < energy <= reach else far).append(other)
            bundle.nodes = far
        return found

    def take_with(self, node: int, over: float, missing: float) -> list[int]:
        """
        Those to which one gets from a node with so much more, where the battery is good for `over`;
        of the others it is known henceforth how much they lack.
        """
        found: list[int] = []
        for bundle, nearest in self._around(node):
            if nearest - over >= bundle.most:
                continue
            energies = row(self._roads, node, bundle.nodes)
            left = []
            for other, energy, lacks in zip(bundle.nodes, energies, bundle.lacks, strict=True):
                if energy - over <= missing:
                    found.append(other)
                else:
                    left.append((other, min(lacks, energy - over)))
            bundle.nodes, bundle.lacks = [other for other, _ in left], [lacks for _, lacks in left]
            bundle.least = min(bundle.lacks, default=inf)
            bundle.most = max(bundle.lacks, default=inf)
        return found

    def nearest(self) -> float:
        """How much the one lacks that lacks the least; infinite: there is none."""
        return min((bundle.least for bundle in self._bundles), default=inf)

    def take_nearest(self) -> int:
        """That one."""
        bundle = min(self._bundles, key=lambda each: each.least)
        at = bundle.lacks.index(bundle.least)
        del bundle.lacks[at]
        bundle.least = min(bundle.lacks, default=inf)
        return bundle.nodes.pop(at)

    def _around(self, node: int) -> Iterable[tuple[_Bundle, float]]:
        """Bundles that are left, and how near any node of each may be to a node at the nearest."""
        self._bundles = [each for each in self._bundles if each.nodes]
        to_middle = row(self._roads, node, [each.middle for each in self._bundles])
        for bundle, energy in zip(self._bundles, to_middle, strict=True):
            yield bundle, energy - bundle.radius


def _missing(
    task: Task,
    stations: Sequence[int],
    leg: int,
    charge: float,
    time_is_up: Callable[[], bool],
) -> float:
    """The least that is missing on the worst way of a chain over a leg."""
    begin, end, floor = task.places[leg], task.places[leg + 1], task.floor(leg)
    nodes = [*{task.nodes[station] for station in stations}]
    to_end = dict(zip(nodes, column(task.energy, end, nodes), strict=True))
    to_end[begin] = row(task.energy, begin, [end])[0]
    left = _Left(task.energy, nodes)
    missing, worst, ahead = inf, 0.0, [(begin, charge)]
    while ahead:
        node, has = ahead.pop()
        missing = min(missing, max(worst, to_end[node] + floor - has))
        if time_is_up():
            break
        others = left.take_with(node, has - task.reserve_kwh, worst)
        ahead += [(other, task.most_kwh) for other in others]
        if not ahead and left.nearest() < missing:
            worst = left.nearest()
            ahead.append((left.take_nearest(), task.most_kwh))
    return missing


def least(
    carries: Callable[[int], bool], over: int, most: int, time_is_up: Callable[[], bool]
) -> int | None:
    """
    The least whole number over one, up to another, for which something is so; None: for none.

    :param carries: whether it is, and so for all that are greater.
    :param time_is_up: asked each time: then it is one that suffices, or None where none is known.
    """
    if over >= most or time_is_up() or not carries(most):
        return None
    low, high = over, most
    while high - low > 1 and not time_is_up():
        middle = (low + high) // 2
        if carries(middle):
            high = middle
        else:
            low = middle
    return high
