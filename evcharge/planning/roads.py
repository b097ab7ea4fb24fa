"""What it takes to drive between places and stations: matrices, or straight lines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, isqrt, radians
from typing import Protocol

from evcharge.utils.geo_utils import distances_from

Place = tuple[float, float]
"""Latitude and longitude, degrees."""

Bundle = tuple[list[int], int, float]
"""Nodes near one another, the middle one, and the figure of the way from that to the farthest."""


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
        self._bundled: tuple[list[int], list[Bundle]] | None = None

    def row(self, node: int, others: Sequence[int]) -> list[float]:
        """Between a node and others, km, one way or the other."""
        known = self._known.get(node)
        if known is None or known[0] is not others:
            distance, there = distances_from(*self._places[node]), self._others
            known = others, [distance(*there[other]) for other in others]
            self._known[node] = known
        return known[1]

    def bundles(self, nodes: list[int]) -> list[Bundle]:
        """
        Nodes in bundles of those near one another, about as many as each of them has nodes: the
        nodes of each, the middle one of them, and how far any is from that at the most, km.
        """
        if self._bundled is None or self._bundled[0] != nodes:
            found = []
            for near in self._near(nodes, isqrt(len(nodes)) + 1):
                middle = near[len(near) // 2]
                distance, there = distances_from(*self._places[middle]), self._others
                found.append((near, middle, max(distance(*there[other]) for other in near)))
            self._bundled = nodes, found
        return self._bundled[1]

    def _near(self, nodes: Sequence[int], most: int) -> list[list[int]]:
        """Nodes, cut in two across where they are the widest until none has more than so many."""
        if len(nodes) <= most:
            return [[*nodes]] if nodes else []
        places, middle = self._places, len(nodes) // 2
        latitudes, longitudes = zip(*(places[node] for node in nodes), strict=True)
        south, north = min(latitudes), max(latitudes)
        wide = (max(longitudes) - min(longitudes)) * cos(radians((south + north) / 2))
        across = 1 if wide > north - south else 0
        ordered = sorted(nodes, key=lambda node: places[node][across])
        return self._near(ordered[:middle], most) + self._near(ordered[middle:], most)


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

    def bundles(self, nodes: list[int]) -> list[Bundle]:
        """See :meth:`Distances.bundles`, with the figure of that many kilometres."""
        factor = self._factor
        return [(near, middle, km * factor) for near, middle, km in self._distances.bundles(nodes)]


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


def is_triangular(roads: Roads, count: int, time_is_up: Callable[[], bool]) -> bool:
    """
    Whether going straight is known never to be more than going by a third node.

    :param time_is_up: asked for each node, as it goes by their cube; then it is not known.
    """
    rows = [list(roads[node]) for node in range(count)]
    for here in rows:
        if time_is_up():
            return False
        for there, by in zip(here, rows, strict=True):
            for straight, on in zip(here, by, strict=True):
                if straight > there + on + 1e-9 * (1.0 + straight):
                    return False
    return True
