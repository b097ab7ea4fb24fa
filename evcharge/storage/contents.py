"""All that a storage keeps, as values: what is copied from one storage into another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import attrs

from evcharge.models.evse import EvseStatus
from evcharge.models.network import StationRecord
from evcharge.models.receipts import Payment, Receipt
from evcharge.models.session import ChargingSession, Place
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks
from evcharge.utils.texts import is_unicode

T = TypeVar("T")


def right(payment: Payment, clocks: Clocks) -> Payment:
    """A payment as it is to be by `clocks`: the list is history, but for what is marked."""
    return clocks.copy(payment) if payment.clock else payment


def listed(payment: Payment, clocks: Clocks) -> Payment:
    """A payment, whose time is right, with the name of the clock while that may prove wrong."""
    paid = payment.paid_timestamp
    is_named = clocks.is_marked(payment.clock) or (paid is not None and clocks.is_new(paid))
    return clocks.kept(payment, None, clocks.number if is_named else 0)


def tariffs_by_id(bodies: Iterable[Any]) -> dict[str, Any]:
    """Those tariffs that a database can keep: each has an id of its own, the first of several."""
    found: dict[str, Any] = {}
    for body in bodies:
        tariff_id = body.get("id") if isinstance(body, Mapping) else None
        if isinstance(tariff_id, str) and is_unicode(tariff_id) and "\0" not in tariff_id:
            found.setdefault(tariff_id, body)
    return found


@attrs.frozen
class Contents:
    """
    Everything in a storage.

    What there can be much of is read from the storage as it is asked for: once, whole, and in the
    order users, sessions, receipts, payments. Each may raise StorageError; a storage that finds
    damage reads on to the end of the payments, to name all of it.
    """

    car_models: Mapping[str, Any]
    """In the catalogue's order, with all their facts; those that cannot be used, as they are."""
    stations: Sequence[StationRecord]
    """In id order; every session stands at one of them."""
    users: Iterable[User]
    sessions: Iterable[ChargingSession]
    """Those of one station follow one another. A user has one at most."""
    payments: Iterable[Payment]
    """Those of the sessions too."""
    count: int
    """How many users, sessions, receipts and payments there are, or nearly so many."""
    receipts: Iterable[Receipt] = ()
    """Those of sessions that are over."""
    waiting: Sequence[Place] = ()
    """All places in line, each at one of the stations, of users who hold no EVSE."""
    statuses: Mapping[str, EvseStatus] = attrs.field(factory=dict)
    """What an operator has said of EVSEs since, by uid."""
    clocks: Clocks = attrs.field(factory=Clocks)
    """Where one was suspect: what is to be known of the records that name it."""
    remarks: Sequence[str] = ()
    """For people: what was found beside the network, and is not part of it; what is wrong in it."""
    tariffs: Sequence[Any] = ()
    """OCPI 2.2.1 Tariff objects, in their order; those that cannot be used, as they are."""
    loose_rows: Sequence[Mapping[str, str]] = ()
    """Cells of wrong rows that name no station, or one that another row names: only files can keep
    them."""

    def counted(self, tick: Callable[[str], object]) -> Contents:
        """The same; of each user, session, receipt and payment, `tick` is told the kind."""

        def counted(kind: str, records: Iterable[T]) -> Iterator[T]:
            for record in records:
                tick(kind)
                yield record

        return attrs.evolve(
            self,
            users=counted("users", self.users),
            sessions=counted("sessions", self.sessions),
            receipts=counted("receipts", self.receipts),
            payments=counted("payments", self.payments),
        )


class Copyable(Protocol):
    """What a storage does to be copied. It is not open: it opens and closes itself."""

    def read_contents(self, now: float) -> AbstractContextManager[Contents]:
        """
        Everything in the storage as it is at one moment; nothing changes it meanwhile, or is seen
        to.

        :param now: seconds since the epoch.
        :raise StorageError: there is no storage, or it cannot be read whole.
        """

    def write_contents(self, contents: Contents) -> None:
        """
        Keep `contents`, all of it or nothing, and for good.

        :raise StorageError: the storage is not empty, or cannot keep it.
        """
