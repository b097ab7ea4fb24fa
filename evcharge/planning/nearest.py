"""
Of very many stations those that come first for whoever stands somewhere, without a look at all.

The stations are in a tree of groups, by where they are: as points on a sphere of radius 1, where
there is no date line and no pole. Of each group it is known in which box it lies, and the best that
any of its stations has. A search goes on with what comes first, be it a group, which it opens, or a
station, which it finds; and it takes a group for the best station that could be in it. So it finds
exactly what sorting all stations would, and never opens a group that is too far away, or full.

Where the stations are does not change, so the tree stays. Which slots are free does, and is
followed by looking anew at the station's own group, and at those that it is a part of.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from math import asin, cos, inf, radians, sin, sqrt
from typing import Any
from weakref import WeakKeyDictionary

from evcharge.models.slots import StationState
from evcharge.models.stations import Stations
from evcharge.utils.geo_utils import EARTH_RADIUS_KM, distance_km

SMALLEST = 16
"""The most stations of a group that has no parts."""
PARTS = 4
"""The most parts of a group."""

ROUNDING = 1e-14
"""
More than two formulas may differ by for the square of half a chord of a sphere of radius 1: about
a metre where there is no distance.
"""

Point = tuple[float, float, float]
Box = tuple[float, float, float, float, float, float]
"""The least and the most x, the same of y, and of z."""


Rank = Callable[[float, float], Any]
"""
By what a station comes before another: of when a slot is free, as :func:`soonest` says, and of how
far it is away, km. None: it is not looked for.

The same is asked of a group, with the best of each that any of its stations has: none in it may
come before that.
"""


def soonest(state: StationState) -> float:
    """When a slot is free, seconds since the epoch: -inf where one is, inf where none ever is."""
    if state.available_slots > 0:
        return -inf
    ends = [each.next_free_timestamp for each in state.kinds]
    return min([end for end in ends if end is not None], default=inf)


class Group:
    """
    Stations that are near one another, and the best that any of them has.

    :param parts: the groups in it, or
    :param states: its stations, where it has none.
    """

    __slots__ = ("free", "full", "parts", "soonest", "states", "whole")

    def __init__(self, parts: Sequence[Group] = (), states: Sequence[StationState] = ()) -> None:
        self.parts = parts
        self.states = list(states)
        self.whole: Group | None = None
        """What it is a part of."""
        self.free: Box | None = None
        """Where those are that have a free slot; None where none has."""
        self.full: Box | None = None
        """The same of the others."""
        self.soonest = inf
        """When the others have one: the least of :func:`soonest`."""
        self.look()
        for part in parts:
            part.whole = self

    def look(self, boxes: bool = True) -> bool:
        """
        Look anew at its stations; whether anything is another than before.

        :param boxes: whether others may have a free slot than had.
        """
        before = (self.soonest, self.free, self.full)
        if self.parts:
            self.soonest = min([part.soonest for part in self.parts])
            if boxes:
                self.free = _around(part.free for part in self.parts)
                self.full = _around(part.full for part in self.parts)
        else:
            full = [state for state in self.states if state.available_slots <= 0]
            self.soonest = min(map(soonest, full), default=inf)
            if boxes:
                free = [state for state in self.states if state.available_slots > 0]
                self.free, self.full = _box(free), _box(full)
        return before != (self.soonest, self.free, self.full)


class Nearest:
    """
    The tree of some stations. It is asked, and follows them, in one thread.

    :param stations: whose states it follows.
    """

    def __init__(self, stations: Stations) -> None:
        self._changes = stations.follow()
        self._group_of: dict[str, Group] = {}
        states = list(stations)
        points = [_point(state.station.latitude, state.station.longitude) for state in states]
        sides = list(zip(*points, strict=True))

        def grouped(members: list[int], size: int) -> Group:
            """The group of these, given by their places in `states`; `size` are the most."""
            if len(members) <= SMALLEST:
                group = Group(states=[states[member] for member in members])
                self._group_of.update((state.station.key, group) for state in group.states)
                return group
            # In parts along the side on which they lie farthest apart, as far as some of them show.
            sample = members[:: len(members) // SMALLEST]
            longest = max(sides, key=lambda side: _length([side[member] for member in sample]))
            members.sort(key=longest.__getitem__)
            size //= PARTS
            return Group(
                [
                    grouped(members[begin : begin + size], size)
                    for begin in range(0, len(members), size)
                ]
            )

        size = SMALLEST
        while size < len(states):
            size *= PARTS
        self._root = grouped(list(range(len(states))), size)

    def search(
        self, latitude: float, longitude: float, within_km: float, rank: Rank
    ) -> Iterator[tuple[Any, float, StationState]]:
        """
        The stations nearer than `within_km` to a place, in their order: rank, distance and state.

        Equals go by distance, then by id. What changes meanwhile may be seen, or not.
        """
        self._follow()
        here = _point(latitude, longitude)
        # Their number has a group come before each station that is equal to it: what is in it may
        # be, too. No two have the same, so that what stands behind it is never compared.
        numbers = count(-1, -1)
        ahead: list[tuple[Any, float, int, Any]] = []
        opened: Sequence[Group] = (self._root,)
        kinds: tuple[bool, ...] = (True, False)
        while True:
            for group in opened:
                for is_free in kinds:
                    # Those that have a free slot apart from the others, as if in a tree of their
                    # own: else each group would be opened that has one farther away.
                    box = group.free if is_free else group.full
                    if box is not None and (away := _least_km(here, box)) < within_km:
                        free_at = -inf if is_free else group.soonest
                        order = rank(free_at, away)
                        if order is not None:
                            entry = (order, away, next(numbers), (group, is_free))
                            heapq.heappush(ahead, entry)
            if not ahead:
                return
            order, away, number, found = heapq.heappop(ahead)
            if number >= 0:
                opened = ()
                yield order, away, found
                continue
            group, is_free = found
            opened, kinds = group.parts, (is_free,)
            for state in group.states:
                if (state.available_slots > 0) is is_free:
                    station = state.station
                    away = distance_km(latitude, longitude, station.latitude, station.longitude)
                    if away < within_km:
                        order = rank(soonest(state), away)
                        if order is not None:
                            heapq.heappush(ahead, (order, away, station.station_id, state))

    def _follow(self) -> None:
        """See what has changed since the last time."""
        while self._changes:
            key, state = self._changes.popitem()
            group: Group | None = self._group_of[key]
            assert group is not None
            place = [one.station.key for one in group.states].index(key)
            before, group.states[place] = group.states[place], state
            boxes = (before.available_slots > 0) is not (state.available_slots > 0)
            while group is not None and group.look(boxes):
                group = group.whole


_known: WeakKeyDictionary[Stations, Nearest] = WeakKeyDictionary()


def nearest(stations: Stations) -> Nearest:
    """The tree of these stations: made the first time, in some 5 µs for each of them."""
    tree = _known.get(stations)
    if tree is None:
        tree = _known[stations] = Nearest(stations)
    return tree


def _point(latitude: float, longitude: float) -> Point:
    a, b = radians(latitude), radians(longitude)
    return cos(a) * cos(b), cos(a) * sin(b), sin(a)


def _length(side: Sequence[float]) -> float:
    return max(side) - min(side)


def _box(states: Sequence[StationState]) -> Box | None:
    """Around some stations; None where there is none."""
    if not states:
        return None
    points = [_point(state.station.latitude, state.station.longitude) for state in states]
    x, y, z = zip(*points, strict=True)
    return min(x), max(x), min(y), max(y), min(z), max(z)


def _around(boxes: Iterable[Box | None]) -> Box | None:
    """Around all of some boxes; None where there is none."""
    some = [box for box in boxes if box is not None]
    if len(some) < 2:
        return some[0] if some else None
    low_x, high_x, low_y, high_y, low_z, high_z = zip(*some, strict=True)
    return min(low_x), max(high_x), min(low_y), max(high_y), min(low_z), max(high_z)


def _least_km(here: Point, box: Box) -> float:
    """No more than the distance to whatever is in a box."""
    x, y, z = here
    low_x, high_x, low_y, high_y, low_z, high_z = box
    square = 0.0
    if x < low_x:
        square = (low_x - x) ** 2
    elif x > high_x:
        square = (x - high_x) ** 2
    if y < low_y:
        square += (low_y - y) ** 2
    elif y > high_y:
        square += (y - high_y) ** 2
    if z < low_z:
        square += (low_z - z) ** 2
    elif z > high_z:
        square += (z - high_z) ** 2
    square = square / 4 - ROUNDING
    if square <= 0:
        return 0.0
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(square)))
