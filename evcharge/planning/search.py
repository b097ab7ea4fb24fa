"""
The search for the best plan of a trip: labels that are paths, each with its whole frontier. Pure.

In the spirit of Froger et al. (2019) and Baum et al. (2019). A label is a path, with the frontier
of leaving its end. They are taken from a heap in the order of the least that any plan costs that
begins so; the first one at the destination is thus the best plan. What a label is good for is
measured at each node of each leg by the envelope, the lower one of all frontiers there: only that
part of its frontier goes on that is lower. Power need not fall with the charge.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import ceil, inf

import attrs

from evcharge.planning.piecewise import (
    NOTHING_KWH,
    Frontier,
    PiecewiseLinear,
    charged,
    driven,
    is_lower,
    lowered,
    part,
    waited,
)
from evcharge.planning.roads import Roads, Straight, column, row

TIE_H = 1e-9
"""By how much a plan must be better that has a stop more."""

TIE_H_KWH = 1e-12
"""The same for a kWh more on the road."""

SAME_PLAN_H = 1e-10
"""Plans whose costs differ by no more cost the same."""

PLACE = -1
"""Stands for a station where a path, or a way, ends at a place."""

Stops = list[tuple[int, int]]
"""The leg and the station of each stop, in order."""


@attrs.frozen(eq=False)
class Task:
    """A trip as the search sees it: whatever something costs, it is hours."""

    places: Sequence[int]
    """Nodes, which are the numbers of the roads' rows."""
    energy: Roads
    """kWh."""
    hours: Roads
    stays: Sequence[float]
    """Hours at each place."""
    start_kwh: float
    reserve_kwh: float
    """With how much one arrives anywhere at the least."""
    arrival_kwh: float
    """The same at the end; not under the reserve."""
    most_kwh: float
    """With how much one leaves a station at the most."""
    nodes: Sequence[int]
    """Of each station."""
    curves: Sequence[PiecewiseLinear]
    """What it costs at each to be charged from nothing, up to `most_kwh`."""
    stops: Sequence[float]
    """What stopping costs at each."""
    free_at: Sequence[float]
    """When each is free; 0 where that is not waited for, or the cost is not the clock."""

    @property
    def legs(self) -> range:
        return range(len(self.places) - 1)

    def floor(self, leg: int) -> float:
        """With how much one has to arrive at the end of a leg."""
        return self.arrival_kwh if leg == len(self.places) - 2 else self.reserve_kwh

    def ready(self, station: int, arriving: Frontier) -> Frontier:
        """A frontier of arriving at a station, when it is free."""
        free_at = self.free_at[station]
        return waited(*arriving, free_at) if free_at > 0.0 else arriving

    def leaving(self, station: int, ready: Frontier) -> Frontier | None:
        """That after the stop; None: there is nothing to charge."""
        curve = self.curves[station]
        return charged(*ready, curve.xs, curve.ys, self.stops[station])


class Label:
    """A path, with the frontier of leaving its end."""

    __slots__ = ("frontier", "leg", "node", "parent", "station")

    def __init__(
        self, leg: int, node: int, station: int, parent: Label | None, frontier: Frontier
    ) -> None:
        self.leg, self.node, self.parent, self.frontier = leg, node, parent, frontier
        self.station = station
        """Its number; PLACE where the path ends at a place, from which the leg begins."""

    @property
    def stops(self) -> Stops:
        """Those on the path."""
        found: Stops = []
        label: Label | None = self
        while label is not None:
            if label.station != PLACE:
                found.append((label.leg, label.station))
            label = label.parent
        return found[::-1]


@attrs.define
class Best:
    """The best plan that a search has found so far."""

    stops: Stops | None = None
    """Its stops; None where there is none."""
    cost: float = inf
    """Of it."""
    least: float = -inf
    """No plan that the search may find costs less."""


class Bounds:
    """
    The least that it takes to the end.

    :param stations: by number, those that may be stopped at.
    """

    def __init__(self, task: Task, stations: Sequence[int]) -> None:
        self.nodes = [task.nodes[station] for station in stations]
        curves = {id(curve): curve for curve in (task.curves[each] for each in stations)}
        self.slope = min((curve.least_slope for curve in curves.values()), default=0.0)
        """Of a kWh that is charged."""
        self.stop = min((task.stops[station] for station in stations), default=0.0)
        """Of a stop."""
        self._room = max(task.most_kwh - task.reserve_kwh, NOTHING_KWH)
        self._task = task
        self._between: list[list[list[float]]] = []
        if not isinstance(task.energy, Straight):
            self._between = [
                [row(roads, node, self.nodes) for node in self.nodes]
                for roads in (task.energy, task.hours)
            ]
        count = len(task.places)
        self.energy, self.hours = [task.arrival_kwh] * count, [0.0] * count
        """From leaving each place, with what must be left at the end."""
        self.ends: list[tuple[list[float], list[float]]] = []
        """On each leg, the same from leaving each of the stations."""
        for leg in reversed(task.legs):
            energy, hours = self.energy[leg + 1], self.hours[leg + 1] + task.stays[leg + 1]
            energies, times = self._to(leg)
            self.energy[leg], self.hours[leg] = energies.pop() + energy, times.pop() + hours
            self.ends.insert(0, ([e + energy for e in energies], [h + hours for h in times]))

    def _to(self, leg: int) -> tuple[list[float], list[float]]:
        """The shortest from each station, and from its begin, to the end of a leg."""
        task, end = self._task, self._task.places[leg + 1]
        others = [*self.nodes, task.places[leg]]
        energies, hours = column(task.energy, end, others), column(task.hours, end, others)
        if self._between:
            for roads, figures, between in zip(
                (task.energy, task.hours), (energies, hours), self._between, strict=True
            ):
                _shorten(figures, [*between, row(roads, others[-1], self.nodes)])
        return energies, hours

    def stops(self, missing_kwh: float) -> float:
        """What it costs at the least to stop for so much."""
        if missing_kwh <= NOTHING_KWH:
            return 0.0
        return ceil((missing_kwh - NOTHING_KWH) / self._room) * self.stop


def _shorten(figures: list[float], rows: Sequence[Sequence[float]]) -> None:
    """
    Have no figure be more than going by another node takes: not all roads are a metric.

    :param rows: from the node of each figure to those of the first ones, by which one may go.
    """
    left = set(range(len(rows[0])))
    ends = range(len(rows[0]), len(rows))
    while left:
        over = min(left, key=figures.__getitem__)
        left.remove(over)
        figure = figures[over]
        for number in (*left, *ends):
            by = rows[number][over] + figure
            if by < figures[number] - NOTHING_KWH:
                figures[number] = by


Hop = tuple[float, float, float, int, float]
"""
The way to a station: its energy, first as they are in order of it; the least cost from here of a
plan that stops there, but for what is charged; what all that would cost at the least that it needs
from here to the end; the station; and what the way costs.
"""


class Search:
    """
    One search.

    :param stations: by number, those that may be stopped at.
    :param known: the best plan so far; it is to be better.
    """

    def __init__(self, task: Task, stations: Sequence[int], known: Best) -> None:
        self.best = known
        self.labels = 0
        """How many were looked at."""
        self._task, self._stations, self._limit = task, stations, known.cost
        self._bounds = Bounds(task, stations)
        self._others = [[*self._bounds.nodes, task.places[leg + 1]] for leg in task.legs]
        self._hops: dict[tuple[int, int], tuple[list[Hop], float, float]] = {}
        self._envelopes: dict[tuple[int, int], Frontier] = {}
        self._heap: list[tuple[float, int, Label, int, float, float]] = []
        """The key, a number, and the label, the station and the way by which it goes on."""
        self._pushed = 0

    def run(self, time_is_up: Callable[[], bool]) -> Best:
        """The best plan; where time is up first, the best one so far, if there is one."""
        task, heap, best = self._task, self._heap, self.best
        self._expand(Label(0, task.places[0], PLACE, None, ([task.start_kwh], [task.stays[0]])))
        while heap:
            key, _, parent, station, energy, hours = heapq.heappop(heap)
            self.labels += 1
            best.least = key
            if key >= self._limit:
                break
            if time_is_up():
                return best
            leg, frontier = parent.leg, parent.frontier
            left: Frontier | None
            known = self._envelopes.get((leg + (station == PLACE), station))
            if station != PLACE:
                node = task.nodes[station]
                left = driven(*frontier, energy, hours, task.reserve_kwh)
                if left is not None:
                    left = task.ready(station, left)
                    # What is not lower before it is charged is not lower afterwards.
                    if known is None or is_lower(*left, task.stops[station], known):
                        left = task.leaving(station, left)
                    else:
                        left = None
            elif leg == len(task.places) - 2:
                return best
            else:
                left = driven(*frontier, energy, hours, task.reserve_kwh)
                leg += 1
                node = task.places[leg]
            if left is None:
                continue
            if station == PLACE and left[0][0] > task.most_kwh - NOTHING_KWH:
                # Who has so much has not stopped yet, and cannot stop everywhere.
                pass
            elif known is None:
                self._envelopes[leg, station] = left
            else:
                better = lowered(*known, *left)
                if better is None:
                    continue
                xs, ys, low, high = better
                self._envelopes[leg, station] = xs, ys
                left = part(*left, low, high)
            self._expand(Label(leg, node, station, parent, left))
        best.least = self._limit
        return best

    def _ways(self, leg: int, node: int) -> tuple[list[Hop], float, float]:
        """The ways from a node to each station, and to the end of the leg: energy, and cost."""
        found = self._hops.get((leg, node))
        if found is None:
            task, bounds = self._task, self._bounds
            energies = row(task.energy, node, self._others[leg])
            costs = row(task.hours, node, self._others[leg])
            costs = [h + TIE_H_KWH * e for h, e in zip(costs, energies, strict=True)]
            end_energy, end_cost = energies.pop(), costs.pop() + task.stays[leg + 1]
            slope, most, stops = bounds.slope, task.most_kwh, task.stops
            hops = [
                (
                    energy,
                    cost + stops[station] + hours + bounds.stops(need - most),
                    slope * (need + energy),
                    station,
                    cost,
                )
                for station, energy, cost, need, hours in zip(
                    self._stations, energies, costs, *bounds.ends[leg], strict=True
                )
            ]
            hops.sort()
            found = self._hops[leg, node] = hops, end_energy, end_cost
        return found

    def _expand(self, label: Label) -> None:
        """Put all that may come next into the heap."""
        task, heap, limit, push = self._task, self._heap, self._limit, heapq.heappush
        leg, here, (xs, ys) = label.leg, label.station, label.frontier
        hops, end_energy, end_cost = self._ways(leg, label.node)
        slope, reserve, free_at = self._bounds.slope, task.reserve_kwh, task.free_at
        full, first, most = task.most_kwh - NOTHING_KWH, xs[0], xs[-1]
        # The lowest charge need not be the best one: whoever waited could charge meanwhile.
        spare = [y - slope * x for x, y in zip(xs, ys, strict=True)]
        least = inf
        for at in range(len(spare) - 1, -1, -1):
            if spare[at] < least:
                least = spare[at]
            else:
                spare[at] = least
        at, number = 0, self._pushed
        for energy, base, need, station, cost in hops:
            lowest = reserve + energy
            if lowest > most:
                if lowest > most + NOTHING_KWH:
                    break
                lowest = most
            if station == here:
                continue
            if lowest <= first:
                if first - energy >= full:
                    continue
                begin, value = ys[0], spare[0]
            else:
                while xs[at] < lowest:
                    at += 1
                left, begin = xs[at - 1], ys[at - 1]
                begin += (ys[at] - begin) * ((lowest - left) / (xs[at] - left))
                value = begin - slope * lowest
                if spare[at] < value:
                    value = spare[at]
            value += need
            key = base + (value if value > begin else begin)
            free = free_at[station]
            if free > 0.0:
                missing = need - slope * most
                late = base - cost + free + (missing if missing > 0.0 else 0.0)
                if late > key:
                    key = late
            if key < limit:
                number += 1
                push(heap, (key, number, label, station, energy, cost))
        self._pushed = number
        lowest = task.floor(leg) + end_energy
        if lowest <= most + NOTHING_KWH:
            self._expand_to_end(label, min(max(lowest, first), most), end_energy, end_cost, spare)

    def _expand_to_end(
        self, label: Label, lowest: float, energy: float, cost: float, spare: list[float]
    ) -> None:
        """The same for the place at which the leg ends."""
        bounds, leg, (xs, ys) = self._bounds, label.leg, label.frontier
        at = bisect_left(xs, lowest)
        begin = ys[at]
        if at and xs[at] > lowest:
            left, low = xs[at - 1], ys[at - 1]
            begin = low + (begin - low) * ((lowest - left) / (xs[at] - left))
        key = begin + cost
        if leg < len(bounds.ends) - 1:
            need = bounds.energy[leg + 1] + energy
            value = min(begin - bounds.slope * lowest, spare[at]) + bounds.slope * need
            key = max(begin, value) + cost + bounds.hours[leg + 1] + bounds.stops(need - xs[-1])
        elif key < self.best.cost:
            self.best.stops, self.best.cost = label.stops, key
            self._limit = min(self._limit, key + SAME_PLAN_H)
        if key < self._limit:
            self._pushed += 1
            heapq.heappush(self._heap, (key, self._pushed, label, PLACE, energy, cost))
