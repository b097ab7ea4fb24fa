"""
Of very many stations those that come first for whoever stands somewhere, without a look at all.

The stations are in a tree of groups, by where they are: as points on a sphere of radius 1, where
there is no date line and no pole. Of each group it is known in which box it lies, when an EVSE of
each kind is free in it at the soonest, and by which tariffs it charges. A search goes on with what
comes first, be it a group, which it opens, or a station, which it finds; and it takes a group for
the best station that could be in it. So it finds exactly what sorting all stations would, and never
opens a group that is too far away, or full. And of each group it is known how many stations have
which kinds, so that those within a distance are counted with a look only where its circle runs.

Where the stations are does not change, so the tree stays. Which EVSEs are free does, and is
followed by looking anew at the station's own group, and at those that it is a part of.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from math import asin, cos, inf, pi, radians, sin, sqrt
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from evcharge.models.estimates import Priced
from evcharge.models.evse import EvseKind, without_ids
from evcharge.models.slots import Soonest, StationState
from evcharge.models.stations import Stations
from evcharge.utils.geo_utils import EARTH_RADIUS_KM, distances_from

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

Rank = Callable[[Soonest, Priced, float], Any]
"""
By what a station comes before another: of when which EVSE is free, of its tariffs, and of how far
it is away, km. None: it is not looked for.

The same is asked of a group, with the best of each that any of its stations has: none in it may
come before that.
"""


@attrs.frozen(eq=False)
class Equipment:
    """What a station has; where it is the same it is mostly one object, so it counts by that."""

    kinds: tuple[EvseKind, ...]
    """Those of its EVSEs."""
    usable: tuple[EvseKind, ...]
    """Those of them of which one is free, or will be."""


equipment_of = lru_cache(maxsize=20_000)(Equipment)


Member = tuple[float, float, float, Point, bool, Soonest, Priced, Equipment, StationState]
"""
A station: its latitude, radians, the cosine of that, its longitude, degrees, and where that is;
whether an EVSE is free, when which is, its tariffs, its equipment, and its state.

To look at each of these where the station has it would take longer than all else.
"""


def _member(state: StationState) -> Member:
    station = state.station
    # Without their ids, so that there are few kinds, however many tariffs.
    at = [(without_ids(kind), when) for kind, when in state.soonest.at]
    kinds = tuple(without_ids(each.kind) for each in state.kinds)
    equipment = equipment_of(kinds, tuple(kind for kind, _ in at))
    latitude = radians(station.latitude)
    return (
        latitude,
        cos(latitude),
        station.longitude,
        _point(station.latitude, station.longitude),
        state.available_slots > 0,
        Soonest.of(at),
        station.priced,
        equipment,
        state,
    )


@attrs.frozen
class Side:
    """The stations of a group that have something free, or those that have not."""

    box: Box
    at: Mapping[EvseKind, float]
    """When the first EVSE of each kind is free."""
    soonest: Soonest = attrs.field(init=False, eq=False)

    @soonest.default
    def _soonest(self) -> Soonest:
        return Soonest(self.at.items())


class Group:
    """
    Stations that are near one another, and the best that any of them has.

    :param parts: the groups in it, or
    :param members: its stations, where it has none.
    """

    __slots__ = ("box", "equipment", "members", "parts", "priced", "sides", "whole")

    def __init__(self, parts: Sequence[Group] = (), members: Iterable[Member] = ()) -> None:
        self.parts = parts
        self.members = list(members)
        self.whole: Group | None = None
        """What it is a part of."""
        self.box: Box = _around([part.box for part in parts]) if parts else _box(self.members)
        self.priced: Priced = Priced.of_all(
            [part.priced for part in parts] or [member[6] for member in self.members]
        )
        self.sides: tuple[Side | None, Side | None] = (None, None)
        """Of those that have nothing free, and of those that have; None where there are none."""
        self.equipment: Mapping[Equipment, int] = {}
        """How many stations have which."""
        self.look()
        for part in parts:
            part.whole = self

    def look(self, at_equipment: bool = True) -> bool:
        """
        Look anew at its stations; whether anything is another than before.

        :param at_equipment: whether that may be another, too.
        """
        before = self.sides, self.equipment
        self.sides = self._side(False), self._side(True)
        if at_equipment:
            equipment = Counter([member[7] for member in self.members])
            for part in self.parts:
                equipment.update(part.equipment)
            self.equipment = equipment
        return before != (self.sides, self.equipment)

    def _side(self, is_free: bool) -> Side | None:
        at: dict[EvseKind, float] = {}
        if self.parts:
            sides = [side for part in self.parts if (side := part.sides[is_free]) is not None]
            for side in sides:
                _keep_least(at, side.soonest.at)
            return Side(_around([side.box for side in sides]), at) if sides else None
        members = [member for member in self.members if member[4] is is_free]
        for soonest in {member[5] for member in members}:
            _keep_least(at, soonest.at)
        return Side(_box(members), at) if members else None


def _keep_least(of: dict[EvseKind, float], found: Iterable[tuple[EvseKind, float]]) -> None:
    for kind, at in found:
        if at < of.get(kind, inf):
            of[kind] = at


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
                of = [states[member] for member in members]
                group = Group(members=map(_member, of))
                self._group_of.update((state.station.key, group) for state in of)
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
        self._root = grouped(list(range(len(states))), size) if states else None

    def search(
        self,
        latitude: float,
        longitude: float,
        rank: Rank,
        within_km: float = inf,
        from_km: float = 0.0,
    ) -> Iterator[tuple[Any, float, StationState]]:
        """
        The stations around a place, in their order: rank, distance and state.

        Equals go by distance, then by id. What changes meanwhile may be seen, or not.

        :param within_km: they are nearer than that,
        :param from_km: and no nearer than that.
        """
        self._follow()
        here, beyond = _point(latitude, longitude), _square(from_km)
        distance = distances_from(latitude, longitude)
        # Their number has a group come before each station that is equal to it: what is in it may
        # be, too. No two have the same, so that what stands behind it is never compared.
        numbers = count(-1, -1)
        ahead: list[tuple[Any, float, int, Any]] = []
        opened: Sequence[Group] = () if self._root is None else (self._root,)
        sides: tuple[bool, ...] = (True, False)
        while True:
            for group in opened:
                for is_free in sides:
                    # Those that have something free apart from the others, as if in a tree of their
                    # own: else each group would be opened that has one farther away.
                    side = group.sides[is_free]
                    if side is None or (away := _least_km(here, side.box)) >= within_km:
                        continue
                    if from_km and _most_square(here, side.box) < beyond:
                        continue
                    order = rank(side.soonest, group.priced, away)
                    if order is not None:
                        heapq.heappush(ahead, (order, away, next(numbers), (group, is_free)))
            if not ahead:
                return
            order, away, number, found = heapq.heappop(ahead)
            if number >= 0:
                opened = ()
                yield order, away, found
                continue
            group, is_free = found
            opened, sides = group.parts, (is_free,)
            for to, cos_to, to_longitude, _, free, at, priced, _, state in group.members:
                if free is is_free:
                    away = distance(to, cos_to, to_longitude)
                    if from_km <= away < within_km:
                        order = rank(at, priced, away)
                        if order is not None:
                            heapq.heappush(ahead, (order, away, state.station.station_id, state))

    def __len__(self) -> int:
        return len(self._group_of)

    def count(self, latitude: float, longitude: float, within_km: float) -> Counter[Equipment]:
        """How many stations that are nearer than that to a place have which equipment."""
        self._follow()
        here, within = _point(latitude, longitude), _square(within_km)
        distance = distances_from(latitude, longitude)
        found = Counter[Equipment]()
        ahead = [] if self._root is None else [self._root]
        while ahead:
            group = ahead.pop()
            if _least_square(here, group.box) >= within:
                continue
            if _most_square(here, group.box) < within:
                for equipment, number in group.equipment.items():
                    found[equipment] += number
            else:
                ahead += group.parts
                for to, cos_to, to_longitude, *_, equipment, _ in group.members:
                    if distance(to, cos_to, to_longitude) < within_km:
                        found[equipment] += 1
        return found

    def _follow(self) -> None:
        """See what has changed since the last time."""
        while self._changes:
            key, state = self._changes.popitem()
            group: Group | None = self._group_of[key]
            assert group is not None
            place = [member[-1].station.key for member in group.members].index(key)
            before, now = group.members[place], _member(state)
            group.members[place] = now
            is_other = now[7] is not before[7]
            while group is not None and group.look(at_equipment=is_other):
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


def _box(members: Iterable[Member]) -> Box:
    """Around some stations."""
    x, y, z = zip(*(member[3] for member in members), strict=True)
    return min(x), max(x), min(y), max(y), min(z), max(z)


def _around(boxes: Sequence[Box]) -> Box:
    """Around all of some boxes."""
    low_x, high_x, low_y, high_y, low_z, high_z = zip(*boxes, strict=True)
    return min(low_x), max(high_x), min(low_y), max(high_y), min(low_z), max(high_z)


def _square(km: float) -> float:
    """The square of half the chord between two places so far from each other."""
    return sin(min(km / EARTH_RADIUS_KM, pi) / 2) ** 2


def _least_square(here: Point, box: Box) -> float:
    """No more than that to whatever is in a box; it may be less than 0."""
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
    return square / 4 - ROUNDING


def _most_square(here: Point, box: Box) -> float:
    """No less than that to whatever is in a box."""
    x, y, z = here
    low_x, high_x, low_y, high_y, low_z, high_z = box
    square = max(x - low_x, high_x - x) ** 2
    square += max(y - low_y, high_y - y) ** 2
    square += max(z - low_z, high_z - z) ** 2
    return square / 4 + ROUNDING


def _least_km(here: Point, box: Box) -> float:
    """No more than the distance to whatever is in a box."""
    square = _least_square(here, box)
    return 0.0 if square <= 0 else 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(square)))
