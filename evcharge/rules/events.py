"""
What has happened: the values that a storage makes durable, that memory follows, and that others
hear of.

:func:`told` says what of it is for everybody's eyes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from evcharge.models.evse import EvseStatus
from evcharge.models.network import Network, StationRecord
from evcharge.models.receipts import Payment, Receipt
from evcharge.models.session import FREE, OFFERED, ChargingSession, Place
from evcharge.models.slots import Book
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks

OFFER_ENDS = ACCEPTED, DECLINED, RAN_OUT, WITHDRAWN = (
    "accepted",
    "declined",
    "expired",
    "withdrawn",
)
"""What may become of an offer."""

MADE_AN_OFFER, CLAIMED, LEFT = ("offered", "claimed", "left")

PLACE_ENDS = (MADE_AN_OFFER, CLAIMED, LEFT, WITHDRAWN)
"""What may become of a place in line."""


@attrs.frozen
class UserAdded:
    """A driver has logged in; or has done so before, and this is the same user."""

    user: User


@attrs.frozen
class UserRemoved:
    """A journey is over. The user's record may be gone already."""

    user_id: str


@attrs.frozen
class SlotTaken:
    """An EVSE is held from now on, for the first time by this session."""

    session: ChargingSession
    at: float = attrs.field(default=0.0, eq=False)
    """When that was, seconds since the epoch, as in all events: the instant of its cause."""
    before: str = attrs.field(default=FREE, eq=False)
    """In which state the user was: FREE or WAITING."""
    book: Book | None = attrs.field(default=None, eq=False, repr=False)
    """The station as it is then; None where it is not known."""


@attrs.frozen
class SlotFreed:
    """An EVSE is not held any more: the session is over."""

    session: ChargingSession
    """As it was."""
    at: float = attrs.field(default=0.0, eq=False)
    after: str = attrs.field(default=FREE, eq=False)
    """In which state it ended; of an offer that was none yet, FREE or WAITING."""
    end_reason: str | None = attrs.field(default=None, eq=False)
    outcome: str | None = attrs.field(default=None, eq=False)
    """What became of the offer, if it was one."""
    book: Book | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class SessionChanged:
    """A session goes on in another state, or at another EVSE of its station."""

    before: ChargingSession
    session: ChargingSession
    at: float = attrs.field(default=0.0, eq=False)
    book: Book | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def outcome(self) -> str | None:
        """What became of the offer, if it was one: it was accepted, where it stands no more."""
        return ACCEPTED if self.before.state == OFFERED != self.session.state else None


@attrs.frozen
class PlaceTaken:
    """Somebody waits in line."""

    place: Place
    at: float = attrs.field(default=0.0, eq=False)
    queue_length: int = attrs.field(default=0, eq=False)


@attrs.frozen
class PlaceLeft:
    """Somebody waits there no more."""

    place: Place
    at: float = attrs.field(default=0.0, eq=False)
    why: str = attrs.field(default=LEFT, eq=False)
    queue_length: int = attrs.field(default=0, eq=False)


@attrs.frozen
class EvseStatusSet:
    """An operator says something else of an EVSE."""

    station_id: int
    evse_uid: str
    status: EvseStatus
    at: float = attrs.field(default=0.0, eq=False)


@attrs.frozen
class ReceiptIssued:
    """A session is over, and this is what it came to."""

    receipt: Receipt
    at: float = attrs.field(default=0.0, eq=False)


@attrs.frozen
class PaymentListed:
    """Something was paid, or given back."""

    payment: Payment
    at: float = attrs.field(default=0.0, eq=False)


@attrs.frozen
class ClocksSet:
    """All that stands was moved, as far as the clocks were; it is the first event of a batch."""

    before: Clocks
    after: Clocks


@attrs.frozen
class NetworkChanged:
    """
    The network is another one; before it in a batch there is nothing but the clocks that were set.
    """

    before: Network
    after: Network
    at: float = attrs.field(default=0.0, eq=False)

    @property
    def put(self) -> dict[int, StationRecord]:
        """The stations that are new or other ones, by id."""
        before = self.before.stations
        return {i: record for i, record in self.after.stations.items() if before.get(i) != record}

    @property
    def gone(self) -> list[int]:
        """The ids of the stations that are not there any more; nobody stands at one."""
        return [i for i in self.before.stations if i not in self.after.stations]


Event: TypeAlias = (
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
    | ClocksSet
    | NetworkChanged
)
"""
The order of two events is that of their writes, where a crash may come between these. Records in
them are in truth as they say, and name the clock that they are to be kept by.
"""


# For everybody's eyes


@attrs.frozen
class PublicEvent:
    """What may be told of an event: no user, driver or receipt is in it."""

    at: float
    """Seconds since the epoch."""
    type: str
    id_station: str | None
    data: Mapping[str, Any]


def told(events: Sequence[Event]) -> Iterator[PublicEvent]:
    """What may be told of events, in their order."""
    for event in events:
        if isinstance(event, SlotTaken):
            session = event.session
            yield _slot("slot.taken", event.at, session, event.book)
            yield _changed(event.at, session, event.before, session.state, None)
            if session.state == OFFERED:
                yield _of(event.at, "offer.made", session, id_evse=session.evse_uid)
        elif isinstance(event, SlotFreed):
            session = event.session
            yield _changed(event.at, session, session.state, event.after, event.end_reason)
            if event.outcome is not None:
                yield _offer_ended(event.at, session, event.outcome)
            yield _slot("slot.freed", event.at, session, event.book)
        elif isinstance(event, SessionChanged):
            before, session = event.before, event.session
            yield _changed(event.at, session, before.state, session.state, None)
            if before.evse_uid != session.evse_uid:
                yield _slot("slot.freed", event.at, before, event.book)
                yield _slot("slot.taken", event.at, session, event.book)
            if event.outcome is not None:
                yield _offer_ended(event.at, before, event.outcome)
        elif isinstance(event, (PlaceTaken, PlaceLeft)):
            length = {"queue_length": event.queue_length}
            station = str(event.place.station_id)
            yield PublicEvent(event.at, "queue.changed", station, length)
        elif isinstance(event, EvseStatusSet):
            said = {"id_evse": event.evse_uid, **attrs.asdict(event.status)}
            yield PublicEvent(event.at, "evse.status", str(event.station_id), said)
        elif isinstance(event, ReceiptIssued):
            energy = {"energy_kwh": event.receipt.body["energy_kwh"]}
            yield PublicEvent(event.at, "receipt.issued", str(event.receipt.station_id), energy)
        elif isinstance(event, NetworkChanged):
            yield PublicEvent(event.at, "network.changed", None, {})


def _of(at: float, kind: str, session: ChargingSession, **data: Any) -> PublicEvent:
    return PublicEvent(at, kind, str(session.station_id), data)


def _changed(
    at: float, session: ChargingSession, before: str, after: str, end_reason: str | None
) -> PublicEvent:
    data = {"id_evse": session.evse_uid, "from": before, "to": after, "end_reason": end_reason}
    return _of(at, "session.changed", session, **data)


def _offer_ended(at: float, session: ChargingSession, outcome: str) -> PublicEvent:
    return _of(at, "offer.ended", session, id_evse=session.evse_uid, outcome=outcome)


def _slot(kind: str, at: float, session: ChargingSession, book: Book | None) -> PublicEvent:
    free = held = length = 0
    if book is not None:
        free, held = len(book.free()), len(book.slots.sessions)
        length = len(book.slots.waiting)
    return _of(
        at,
        kind,
        session,
        id_evse=session.evse_uid,
        available_slots=free,
        max_slots=free + held,
        queue_length=length,
    )


def user_of(event: Event) -> str | None:
    """Whose journey may stand otherwise now; None: nobody's by this alone."""
    if isinstance(event, (SlotTaken, SlotFreed, SessionChanged)):
        return event.session.user_id
    if isinstance(event, (PlaceTaken, PlaceLeft)):
        return event.place.user_id
    return event.user_id if isinstance(event, UserRemoved) else None


def stations_of(events: Sequence[Event]) -> set[int]:
    """The stations of which something may be shown otherwise now, but for another network."""
    found: set[int] = set()
    for event in events:
        if isinstance(event, (SlotTaken, SlotFreed, SessionChanged)):
            found.add(event.session.station_id)
        elif isinstance(event, (PlaceTaken, PlaceLeft)):
            found.add(event.place.station_id)
        elif isinstance(event, EvseStatusSet):
            found.add(event.station_id)
    return found
