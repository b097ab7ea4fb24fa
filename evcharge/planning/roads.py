"""What it takes to drive between places and stations: matrices, or straight lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, isqrt, radians
from typing import Protocol

from evcharge.utils.geo_utils import distances_from

Place = tuple[float, float]
"""Latitude and longitude, degrees."""


class Roads(Protocol):
    """Figures of the way from each node to each other: energies, or hours."""

    def __getitem__(self, node: int, /) -> Sequence[float]:
        """Those from a node to all."""


class Distances:
    """
    Great circles between places, worked out when they are asked for.

    :param places: of the nodes.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._others = [(b := radians(latitude), cos(b), far) for latitude, far in places]
        self.all = range(len(places))
        self._known: dict[int, tuple[Sequence[int], list[float]]] = {}

    def row(self, node: int, others: Sequence[int]) -> list[float]:
        """Between a node and others, km, one way or the other."""
        known = self._known.get(node)
        if known is None or known[0] is not others:
            distance, there = distances_from(*self._places[node]), self._others
            known = others, [distance(*there[other]) for other in others]
            self._known[node] = known
        return known[1]

    def bundles(self, nodes: Sequence[int]) -> list[list[int]]:
        """Nodes in lists of those near one another: as many lists as each has nodes."""
        places, each = self._places, isqrt(len(nodes)) + 1
        strip = each * (isqrt(each) + 1)
        by_latitude = sorted(nodes, key=places.__getitem__)
        found = []
        for first in range(0, len(by_latitude), strip):
            part = by_latitude[first : first + strip]
            part.sort(key=lambda node: places[node][1])
            found += [part[at : at + each] for at in range(0, len(part), each)]
        return found


class Straight:
    """
    Figures that grow with the great circle.

    :param factor: the figure of a kilometre of it.
    """

    def __init__(self, distances: Distances, factor: float) -> None:
        self._distances = distances
        self._factor = factor
        self._all = distances.all

    def __getitem__(self, node: int) -> Sequence[float]:
        return self.row(node, self._all)

    def row(self, node: int, others: Sequence[int]) -> list[float]:
        """Between a node and others."""
        factor = self._factor
        return [km * factor for km in self._distances.row(node, others)]

    def bundles(self, nodes: Sequence[int]) -> list[list[int]]:
        """See :meth:`Distances.bundles`."""
        return self._distances.bundles(nodes)


def row(roads: Roads, node: int, others: Sequence[int]) -> list[float]:
    """The figures from a node to others."""
    if isinstance(roads, Straight):
        return roads.row(node, others)
    there = roads[node]
    return [there[other] for other in others]


def column(roads: Roads, node: int, others: Sequence[int]) -> list[float]:
    """The figures from others to a node."""
    if isinstance(roads, Straight):
        return roads.row(node, others)
    return [roads[other][node] for other in others]


def is_triangular(roads: Roads, count: int) -> bool:
    """Whether going straight is never more than going by a third node."""
    rows = [list(roads[node]) for node in range(count)]
    return all(
        straight <= there + on + 1e-9 * (1.0 + straight)
        for here in rows
        for there, by in zip(here, rows, strict=True)
        for straight, on in zip(here, by, strict=True)
    )
