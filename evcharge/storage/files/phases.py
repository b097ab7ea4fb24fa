"""In which order what has happened is written in a data directory. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from evcharge.rules.events import (
    ClocksSet,
    Event,
    EvseStatusSet,
    NetworkChanged,
    PaymentListed,
    PlaceLeft,
    PlaceTaken,
    ReceiptIssued,
    SessionChanged,
    SlotFreed,
    SlotTaken,
    UserAdded,
    UserRemoved,
)

Change: TypeAlias = (
    UserAdded
    | UserRemoved
    | SlotTaken
    | SlotFreed
    | SessionChanged
    | PlaceTaken
    | PlaceLeft
    | EvseStatusSet
    | ReceiptIssued
    | PaymentListed
)
SLOTS = (SlotTaken, SlotFreed, SessionChanged, PlaceTaken, PlaceLeft, EvseStatusSet)
"""What is written in stations' files."""
Phase = list[tuple[int, Change]]
"""Events, each with its place in the batch."""


def user_of(change: Change, owners: Mapping[str, str]) -> str:
    """Whom an event is about; of an EVSE, which one."""
    if isinstance(change, UserAdded):
        return change.user.user_id
    if isinstance(change, UserRemoved):
        return change.user_id
    if isinstance(change, (PlaceTaken, PlaceLeft)):
        return change.place.user_id
    if isinstance(change, EvseStatusSet):
        return f"EVSE {change.evse_uid}"
    if isinstance(change, ReceiptIssued):
        return owners[change.receipt.receipt_id]
    if isinstance(change, PaymentListed):
        receipt_id = change.payment.refund_of or change.payment.receipt_id
        return owners.get(receipt_id, receipt_id)
    return change.session.user_id


def station_of(change: Change) -> int:
    """At which station something changes."""
    if isinstance(change, (PlaceTaken, PlaceLeft)):
        return change.place.station_id
    if isinstance(change, EvseStatusSet):
        return change.station_id
    assert isinstance(change, (SlotTaken, SlotFreed, SessionChanged)), change
    return change.session.station_id


Phases: TypeAlias = tuple[Phase, Phase, Phase, Phase]


def rounds(events: Sequence[Event], owners: Mapping[str, str]) -> Iterator[Phases]:
    """
    The phases in which events are written, receipts, users, stations, users; as often as need be.

    Those of a user come in their order, each in a phase of its own: so a slot that is taken and
    given back in one batch is written in between, and its payment listed. A place in line is given
    up together with what comes of it, or after that, if that is at another station.
    """
    phases: Phases = ([], [], [], [])
    reached: dict[str, tuple[int, Change]] = {}
    for place, event in _in_order(events):
        if isinstance(event, (ClocksSet, NetworkChanged)):
            continue
        user_id = user_of(event, owners)
        at, before = reached.get(user_id, (-1, event))
        number = 1
        if isinstance(event, ReceiptIssued):
            number = 0
        elif isinstance(event, (*SLOTS, PaymentListed)):
            number = 2
        elif at >= 1 and isinstance(event, UserRemoved):
            number = 3
        if number < at or (number == at and not _goes_with(event, before)):
            yield phases
            phases, reached = ([], [], [], []), {}
            number = 1 if number == 3 else number
        reached[user_id] = (number, event)
        phases[number].append((place, event))
    yield phases


def _goes_with(event: Change, before: Change) -> bool:
    """Whether an event of a user may be written in one step with the one before it."""
    if isinstance(event, PaymentListed):
        return True
    if isinstance(before, PaymentListed) or isinstance(event, (UserAdded, UserRemoved)):
        return False
    is_end = isinstance(before, (PlaceLeft, SlotFreed))
    begins = isinstance(event, (SlotTaken, PlaceTaken))
    if isinstance(before, SlotFreed):
        begins = isinstance(event, PlaceTaken)
    return is_end and begins and station_of(event) == station_of(before)


def _in_order(events: Sequence[Event]) -> Iterator[tuple[int, Event]]:
    """Events with their places; who goes from one station to another comes there first."""
    later: dict[str, tuple[int, PlaceLeft]] = {}
    for place, event in enumerate(events):
        if isinstance(event, PlaceLeft):
            following = events[place + 1] if place + 1 < len(events) else None
            if (
                isinstance(following, (SlotTaken, PlaceTaken))
                and user_of(following, {}) == event.place.user_id
                and station_of(following) != event.place.station_id
            ):
                later[event.place.user_id] = (place, event)
                continue
        yield place, event
        if isinstance(event, (SlotTaken, PlaceTaken)):
            held = later.pop(user_of(event, {}), None)
            if held is not None:
                yield held
