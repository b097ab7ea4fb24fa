"""
The line of a station: who may take an EVSE, who is next, and when one's turn is expected. Pure.

A turn is no promise of a time; the order is. When it is expected is worked out by playing the line
forward, whenever somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        expected = turn(station, slots, now, terms, place.user.car.model, place)
        return cls(place, position(station, slots, place), expected, len(slots.waiting))


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
    kinds = [kind for kind in station.kinds if place.fits(kind)]
    before = before_of(slots.waiting, place.user_id)
    return 1 + sum(any(other.fits(kind) for kind in kinds) for other in before)


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
