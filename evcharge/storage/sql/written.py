"""What is to be written of what has happened in a batch, each row once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from sqlalchemy import Connection

from evcharge.models.evse import EvseStatus
from evcharge.models.receipts import Payment, Receipt
from evcharge.models.session import ChargingSession, Place
from evcharge.models.tariffs import Tariff, tariff_key
from evcharge.models.user import User
from evcharge.rules.events import (
    Event,
    EvseStatusSet,
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
from evcharge.storage.sql.statements import Changes


@attrs.define
class Written:
    """The rows that go, and those that come."""

    added: dict[str, User] = attrs.field(factory=dict)
    removed: set[str] = attrs.field(factory=set)
    sessions: dict[str, ChargingSession | None] = attrs.field(factory=dict)
    """By user id, as they are in the end; None: there is none."""
    places: dict[str, Place | None] = attrs.field(factory=dict)
    """Likewise."""
    old: set[str] = attrs.field(factory=set)
    """Users whose session has a row already."""
    old_places: set[str] = attrs.field(factory=set)
    """Likewise."""
    freed: bool = False
    tariffs: dict[str, Tariff] = attrs.field(factory=dict)
    """Those that sessions go by, by their keys."""
    receipts: list[Receipt] = attrs.field(factory=list)
    over: dict[str, Receipt] = attrs.field(factory=dict)
    """The last one of each user whose session has ended, by the user's id."""
    payments: list[Payment] = attrs.field(factory=list)
    statuses: dict[str, EvseStatus] = attrs.field(factory=dict)

    def follow(self, event: Event) -> None:
        """Take in what has happened next."""
        if isinstance(event, UserAdded):
            self.added[event.user.user_id] = event.user
        elif isinstance(event, UserRemoved):
            self.added.pop(event.user_id, None)
            self.removed.add(event.user_id)
        elif isinstance(event, SlotTaken):
            self._go_on(event.session)
        elif isinstance(event, SessionChanged):
            if event.session.user_id not in self.sessions:
                self.old.add(event.session.user_id)
            self._go_on(event.session)
        elif isinstance(event, SlotFreed):
            self.freed = True
            # It comes right before.
            if self.receipts and self.receipts[-1].receipt_id == event.session.receipt_id:
                self.over[event.session.user_id] = self.receipts[-1]
            _end(self.sessions, self.old, event.session.user_id)
        elif isinstance(event, PlaceTaken):
            self.places[event.place.user_id] = event.place
        elif isinstance(event, PlaceLeft):
            _end(self.places, self.old_places, event.place.user_id)
        elif isinstance(event, EvseStatusSet):
            self.statuses[event.evse_uid] = event.status
        elif isinstance(event, ReceiptIssued):
            self.receipts.append(event.receipt)
        elif isinstance(event, PaymentListed):
            self.payments.append(event.payment)

    def _go_on(self, session: ChargingSession) -> None:
        self.sessions[session.user_id] = session
        key = tariff_key(session.tariff)
        if key is not None and session.tariff is not None:
            self.tariffs[key] = session.tariff

    def end_rows(self, connection: Connection, changes: Changes) -> None:
        """Have the rows go of what is over, or will have another one."""
        if self.old:
            changes.end_sessions(connection, self.old)
        if self.old_places:
            changes.leave_places(connection, self.old_places)
        if self.removed:
            changes.remove_users(connection, self.removed)

    def begin_rows(
        self, connection: Connection, changes: Changes, known: Mapping[str, Tariff]
    ) -> None:
        """
        Have the rows come of what is new.

        :param known: tariffs that have theirs.
        """
        new = {key: tariff.body for key, tariff in self.tariffs.items() if key not in known}
        if new:
            changes.use_tariffs(connection, new)
        if sessions := _there(self.sessions.values()):
            changes.begin_sessions(connection, sessions)
        if places := _there(self.places.values()):
            changes.take_places(connection, places)
        if self.receipts:
            changes.issue_receipts(connection, self.receipts)


def _end(records: dict[str, Any], old: set[str], user_id: str) -> None:
    if user_id not in records:
        old.add(user_id)
    records[user_id] = None


def _there(records: Iterable[Any]) -> list[Any]:
    return [record for record in records if record is not None]
