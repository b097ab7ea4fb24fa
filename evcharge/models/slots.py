"""Who holds which EVSE of a station, who waits for one, and what that leaves for others."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import count
from math import inf
from operator import attrgetter, is_
from typing import Any, TypeAlias

import attrs

from evcharge.models.evse import Evse, EvseKind, natural
from evcharge.models.session import ChargingSession, Place
from evcharge.models.station import Station

MOST_EVSES = 10_000
"""How many a station may be said to have where none is named: each of them is known by itself."""


@attrs.frozen
class SlotTable:
    """
    The slots of one station and who holds them.

    One that was lowered under its vehicles has more of them than slots, until enough have left.
    """

    station_id: int
    max_slots: int
    """How many EVSEs there are, in service or not."""
    sessions: Mapping[str, ChargingSession] = attrs.field(factory=dict)
    """By user id."""
    out_of_service: frozenset[str] = frozenset()
    """The uids of the EVSEs that are, whether or not a vehicle stands there."""
    waiting: tuple[Place, ...] = ()
    """Those in line, the first one first."""

    @property
    def usable_slots(self) -> int:
        """How many EVSEs are in service, or held."""
        unused = self.out_of_service - self.held if self.out_of_service else ()
        return self.max_slots - len(unused)

    @property
    def available_slots(self) -> int:
        """How many may be taken."""
        return max(0, self.usable_slots - len(self.sessions))

    @property
    def held(self) -> set[str]:
        """The uids of the EVSEs at which vehicles stand."""
        return {session.evse_uid for session in self.sessions.values()}

    def with_session(self, session: ChargingSession) -> SlotTable:
        """The table once `session` has taken a slot of it."""
        return self._with({**self.sessions, session.user_id: session}, self.waiting)

    def place(self, user_id: str) -> Place | None:
        """The place in line of a user; None where the user does not wait here."""
        for place in self.waiting:
            if place.user_id == user_id:
                return place
        return None

    @cached_property
    def turns(self) -> dict[str, Any]:
        """What was worked out of the turns of those in line, by user id: as long as this stands."""
        return {}

    def with_place(self, place: Place) -> SlotTable:
        """The table once somebody has a place in line."""
        waiting = sorted((*self.waiting, place), key=lambda place: place.number)
        return self._with(self.sessions, tuple(waiting))

    def without_place(self, user_id: str) -> SlotTable:
        """The table once `user_id` waits no more."""
        waiting = tuple(place for place in self.waiting if place.user_id != user_id)
        return self._with(self.sessions, waiting)

    def with_slots(self, max_slots: int) -> SlotTable:
        """The table of a station that has so many slots from now on."""
        return SlotTable(self.station_id, max(0, max_slots), self.sessions, waiting=self.waiting)

    def each(self, change: Callable[[Any], Any]) -> SlotTable:
        """The table with each session, and each place in line, changed."""
        changed = {user_id: change(session) for user_id, session in self.sessions.items()}
        waiting = tuple(map(change, self.waiting))
        if all(map(is_, changed.values(), self.sessions.values())) and all(
            map(is_, waiting, self.waiting)
        ):
            return self
        return self._with(changed, waiting)

    def without(self, user_id: str) -> SlotTable:
        """The table once `user_id` has left."""
        left = {key: value for key, value in self.sessions.items() if key != user_id}
        return self._with(left, self.waiting)

    def _with(
        self, sessions: Mapping[str, ChargingSession], waiting: tuple[Place, ...]
    ) -> SlotTable:
        return SlotTable(self.station_id, self.max_slots, sessions, self.out_of_service, waiting)

    def at(self, station: Station) -> SlotTable:
        """The table of `station`: with its EVSEs, if they are named, and each session at one."""
        out = frozenset(evse.uid for evse in station.evses if not evse.in_service)
        slots = len(station.own_evses) or self.max_slots
        return attrs.evolve(self, max_slots=slots, out_of_service=out).seated(station)

    def seated(self, station: Station) -> SlotTable:
        """
        The table in which each session has an EVSE.

        Those of an earlier installation name none: they get those that are left, the first to end
        the first one.
        """
        nowhere = [session for session in self.sessions.values() if not session.evse_uid]
        if not nowhere:
            return self
        names = _names(station, self.held)
        nowhere.sort(key=lambda session: (session.estimated_timestamp, session.user_id))
        seats = {session.user_id: next(names) for session in nowhere}
        sessions = {
            user_id: attrs.evolve(session, evse_uid=seats[user_id]) if user_id in seats else session
            for user_id, session in self.sessions.items()
        }
        return self._with(sessions, self.waiting)


def _names(station: Station, taken: set[str]) -> Iterator[str]:
    """The uids of a station's EVSEs that are not taken, and then others that it could have."""
    uids = sorted((evse.uid for evse in station.evses), key=natural)
    yield from (uid for uid in uids if uid not in taken)
    known = {*uids, *taken}
    yield from (uid for uid in (f"{station.station_id}-{n}" for n in count(1)) if uid not in known)


@attrs.frozen
class Book:
    """A station, and who holds its EVSEs or waits for one."""

    station: Station | None
    """None where it is not in service."""
    slots: SlotTable

    def free(self) -> list[Evse]:
        """The EVSEs that nobody holds and that are in service."""
        return [] if self.station is None else self.station.free(self.slots.held)


@attrs.frozen
class KindState:
    """The EVSEs of one kind at one moment."""

    kind: EvseKind
    total: int
    free: int
    out_of_service: int
    """Of those that nobody holds."""
    next_free_timestamp: float | None
    """When the first of its sessions ends that frees one, seconds since the epoch; None where none
    does."""


@attrs.frozen(eq=False)
class Soonest:
    """
    When an EVSE of which kind is free.

    It equals nothing but itself, so that what is worked out of it is soon found again: most
    stations share theirs with others.
    """

    at: Collection[tuple[EvseKind, float]]
    """Seconds since the epoch, -inf where one is free now; not the kinds of which none ever is."""

    @classmethod
    def of(cls, at: Collection[tuple[EvseKind, float]]) -> Soonest:
        """The one object there is of this, where all are free now."""
        if all(when == -inf for _, when in at):
            return _free_now(tuple(kind for kind, _ in at))
        return cls(at)


@lru_cache(maxsize=20_000)
def _free_now(kinds: tuple[EvseKind, ...]) -> Soonest:
    return Soonest([(kind, -inf) for kind in kinds])


Held: TypeAlias = tuple[str, float | None]
"""In which state an EVSE is held, and since when, seconds since the epoch, where that is known."""


@attrs.frozen
class StationState:
    """A station at one moment: what selection needs to know of its slots."""

    station: Station
    max_slots: int
    """EVSEs in service or held."""
    available_slots: int
    kinds: tuple[KindState, ...] = ()
    held: Mapping[str, Held] = attrs.field(factory=dict)
    """The EVSEs that are held, by uid."""
    queue_length: int = 0
    """How many drivers wait in line."""
    slots: SlotTable | None = attrs.field(default=None, eq=False)
    """Who holds its EVSEs, and who waits: None where nobody does, and it is only known what the
    sessions leave."""

    def __reduce__(self) -> tuple[Callable[..., StationState], tuple[Any, ...]]:
        # All of it follows from who holds its EVSEs, where that is known.
        if self.slots is not None:
            return _state, (self.station, self.slots)
        return StationState, _given(self)

    @cached_property
    def soonest(self) -> Soonest:
        """
        When an EVSE of which kind is free; where others wait for one, no later than its turn.
        """
        found = []
        for each in self.kinds:
            at = -inf if each.free else each.next_free_timestamp
            if self.queue_length and at != -inf:
                # When it is a car's turn depends on who waits before it, and on the car.
                evses = self.station.by_kind[each.kind]
                at = 0.0 if any(evse.in_service for evse in evses) else None
            if at is not None:
                found.append((each.kind, at))
        return Soonest.of(found)

    @cached_property
    def free_kinds(self) -> Sequence[EvseKind]:
        """The kinds of which an EVSE is free, in the order in which the first of each comes."""
        kinds = [each.kind for each in self.kinds if each.free]
        if len(kinds) > 1:
            kinds = list(dict.fromkeys(evse.kind for evse in self.station.free(self.held)))
        return kinds

    @property
    def is_occupied(self) -> bool:
        """Whether an EVSE is held there, or waited for."""
        return bool(self.held) or self.queue_length > 0

    @classmethod
    def of(cls, station: Station, slots: SlotTable) -> StationState:
        """The state of `station`, whose slots are `slots`."""
        held = {session.evse_uid: session for session in slots.sessions.values()}
        free = {evse.uid for evse in station.free(held)}
        beyond: list[ChargingSession] = []
        if len(station.kinds) == 1:
            known = {evse.uid for evse in station.evses}
            beyond = [session for uid, session in held.items() if uid not in known]
        kinds = tuple(
            _of_kind(kind, evses, free, held, beyond) for kind, evses in station.by_kind.items()
        )
        slots_there = len(free) + len(slots.sessions)
        waiting = len(slots.waiting)
        shown = {uid: (each.state, each.since_timestamp) for uid, each in held.items()}
        return cls(station, slots_there, len(free), kinds, shown, waiting, slots)


def _state(station: Station, slots: SlotTable) -> StationState:
    return StationState.of(station, slots)


_given = attrgetter(*(each.name for each in attrs.fields(StationState)))


def _of_kind(
    kind: EvseKind,
    evses: Sequence[Evse],
    free: set[str],
    held: Mapping[str, ChargingSession],
    beyond: Sequence[ChargingSession],
) -> KindState:
    """
    The state of one kind of EVSE.

    :param evses: those of it.
    :param beyond: of vehicles that stand at EVSEs of this kind that the station has no more.
    """
    number = in_service = out_of_service = 0
    ends = [session.due_timestamp for session in beyond]
    for evse in evses:
        session = held.get(evse.uid)
        if evse.in_service:
            in_service += 1
            if session is not None:
                ends.append(session.due_timestamp)
            elif evse.uid in free:
                number += 1
        elif session is None:
            out_of_service += 1
    # Of one that is over-full more than one has to leave before a slot is free.
    over = max(0, len(ends) - in_service)
    next_free = None
    if in_service and len(ends) > over:
        next_free = heapq.nsmallest(over + 1, ends)[over] if over else min(ends)
    return KindState(kind, len(evses), number, out_of_service, next_free)
