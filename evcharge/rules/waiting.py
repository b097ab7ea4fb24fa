"""
The line of a station: who may take an EVSE, who is next, and when one's turn is expected. Pure.

A turn is no promise of a time; the order is. When it is expected is worked out by playing the line
forward, whenever somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import attrs

from evcharge.models.electric_car import CarModel
from evcharge.models.evse import Evse, plugs_of
from evcharge.models.session import CHARGING, FINISHED, OFFERED, ChargingSession, Place
from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.models.terms import Terms


@attrs.frozen
class Turn:
    """When an offer is expected, simulated minutes from now."""

    minutes: float
    earliest: float
    latest: float


@attrs.frozen
class InLine:
    """A place in line, and what that means at the moment."""

    place: Place
    position: int
    turn: Turn | None
    """None where no EVSE that fits is in service."""
    queue_length: int

    @classmethod
    def of(
        cls, place: Place, station: Station | None, slots: SlotTable, now: float, terms: Terms
    ) -> InLine:
        """
        What a place means at an instant, seconds since the epoch.

        :param station: None where it is not in service.
        """
        if station is None:
            return cls(place, 1 + slots.waiting.index(place), None, len(slots.waiting))
        known = slots.turns.get(place.user_id)
        if known is None or not known.holds(station, now, terms):
            known = slots.turns[place.user_id] = KnownTurn.of(place, station, slots, now, terms)
        return cls(place, known.position, known.at(now), len(slots.waiting))


@attrs.frozen
class KnownTurn:
    """
    A place's turn that was worked out, which need not be worked out again for every look at it.

    Where vehicles charge at all EVSEs that matter, it is at the same instants whenever one asks.
    """

    station: Station
    terms: Terms
    since: float
    """When it was worked out, seconds since the epoch."""
    until: float
    """Until when it holds; -inf where it held then alone."""
    position: int
    turn: Turn | None
    """As it was then."""

    @classmethod
    def of(
        cls, place: Place, station: Station, slots: SlotTable, now: float, terms: Terms
    ) -> KnownTurn:
        """Work it out, for `now`."""
        found = turn(station, slots, now, terms, place.user.car.model, place)
        until = _steady_until(station, slots, place)
        where = position(station, slots, place)
        return cls(station, terms, now, until, where, found)

    def holds(self, station: Station, now: float, terms: Terms) -> bool:
        """Whether it is the same now."""
        is_same = station is self.station and terms is self.terms
        return is_same and (now == self.since or self.since <= now <= self.until)

    def at(self, now: float) -> Turn | None:
        """It, as it is now, where it holds."""
        found = self.turn
        if found is None or now == self.since:
            return found
        gone = self.terms.simulated_s(self.since, now) / 60
        # By the last digit it may be less than nothing.
        return Turn(*(max(0.0, m - gone) for m in (found.minutes, found.earliest, found.latest)))


def _steady_until(station: Station, slots: SlotTable, place: Place) -> float:
    """Until when a turn is at the same instants; -inf where it is not."""
    held = {session.evse_uid: session for session in slots.sessions.values()}
    ahead = (*before_of(slots.waiting, place.user_id), place)
    numbers = {number for each in ahead for number, _ in each.charges_s(station)}
    until = inf
    for number in numbers:
        session = held.get(station.in_order[number].uid)
        if session is None or session.state != CHARGING:
            return -inf
        until = min(until, session.due_timestamp)
    return until


def open_to(station: Station, slots: SlotTable, user_id: str) -> list[Evse]:
    """
    The free EVSEs that a user may take: those that nobody in line before the user fits, which is
    anybody in line for one who is not.
    """
    free = station.free(slots.held)
    if not free or not slots.waiting:
        return free
    before = before_of(slots.waiting, user_id)
    return [evse for evse in free if not any(place.fits(evse.kind) for place in before)]


def before_of(waiting: Sequence[Place], user_id: str) -> Sequence[Place]:
    """Those in line before a user; all of them, where the user is not in it."""
    for number, place in enumerate(waiting):
        if place.user_id == user_id:
            return waiting[:number]
    return waiting


def position(station: Station, slots: SlotTable, place: Place) -> int:
    """1, and those before in line who could be given an EVSE that fits, too."""
    kinds, model = [kind for kind in station.kinds if place.fits(kind)], place.user.car.model
    if not kinds:
        return 1
    before = before_of(slots.waiting, place.user_id)
    return 1 + sum(
        # Of two cars of one model there is nothing to compare.
        other.user.car.model is model or any(other.fits(kind) for kind in kinds)
        for other in before
    )


def next_place(waiting: Sequence[Place]) -> int:
    """The number of one who joins at the end."""
    return waiting[-1].number + 1 if waiting else 1


def first_place(waiting: Sequence[Place]) -> int:
    """The number of one who comes before all others."""
    return waiting[0].number - 1 if waiting else 1


def turn(
    station: Station,
    slots: SlotTable,
    now: float,
    terms: Terms,
    model: CarModel,
    place: Place | None = None,
) -> Turn | None:
    """
    When a car of `model` may be offered an EVSE; None where none that fits is in service.

    Earliest, all who wait before give up, and whoever is not charging leaves at once; latest, all
    take as long as they may. Nobody stops before the target.

    :param now: seconds since the epoch.
    :param place: the car's in line; None: behind all others.
    """
    evses = station.in_order
    mine = [number for number, evse in enumerate(evses) if plugs_of(model, evse.kind)]
    if not mine:
        return None
    held = {session.evse_uid: session for session in slots.sessions.values()}
    spans = [_free_after(held.get(evse.uid), now, terms) for evse in evses]
    before = before_of(slots.waiting, "" if place is None else place.user_id)
    late_s = terms.offer_s + terms.hold_s + terms.idle_s
    plan, latest = [span[0] for span in spans], [span[2] for span in spans]
    for other in before:
        charges = other.charges_s(station)
        if charges:
            _take_turn(plan, charges, other.arrival_minutes * 60)
            _take_turn(latest, charges, other.arrival_minutes * 60 + late_s)
    return Turn(
        min(plan[number] for number in mine) / 60,
        min(spans[number][1] for number in mine) / 60,
        min(latest[number] for number in mine) / 60,
    )


def _take_turn(free: list[float], charges: Sequence[tuple[int, float]], away_s: float) -> None:
    """
    Have one in line take the EVSE that is free first.

    :param free: after how long each is free, seconds; it is changed.
    :param charges: how long the car charges at each that fits.
    """
    at, charge_s = charges[0]
    for number, seconds in charges:
        if free[number] < free[at]:
            at, charge_s = number, seconds
    free[at] += away_s + charge_s


def _free_after(
    session: ChargingSession | None, now: float, terms: Terms
) -> tuple[float, float, float]:
    """
    After how long an EVSE is free, as planned, at the earliest and at the latest, simulated
    seconds.

    :param session: that holds it.
    """
    if session is None:
        return 0.0, 0.0, 0.0
    idle_s, charge_s = terms.idle_s, session.charge_minutes * 60
    expires_s = terms.simulated_s(now, session.due_timestamp)
    if session.state == CHARGING:
        return expires_s, expires_s, expires_s + (0.0 if session.leaves_when_done else idle_s)
    if session.state == FINISHED:
        return 0.0, 0.0, expires_s
    if session.state == OFFERED:
        ahead_s = session.arrival_s(terms) + charge_s
        return ahead_s, 0.0, expires_s + terms.hold_s + ahead_s + idle_s
    planned_s = max(charge_s, terms.simulated_s(now, session.estimated_timestamp))
    return planned_s, 0.0, expires_s + charge_s + idle_s


def next_offer(
    station: Station, slots: SlotTable, may_have: Callable[[str], bool]
) -> tuple[Place, list[Evse]] | None:
    """
    Who is to be offered an EVSE next, and which ones are free for that; None: nobody.

    :param may_have: whether a user can be made an offer now; an EVSE is kept for one who cannot.
    """
    if not slots.waiting:
        return None
    free = station.free(slots.held)
    for place in slots.waiting:
        fitting = [evse for evse in free if place.fits(evse.kind)]
        if not fitting:
            continue
        if may_have(place.user_id):
            return place, fitting
        free.remove(fitting[0])
    return None
