"""What a batch of operations may look at, and what they have made of it so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar

from evcharge.models.catalogue import Catalogue
from evcharge.models.evse import EvseStatus
from evcharge.models.network import Network
from evcharge.models.receipts import Payment, Receipt
from evcharge.models.session import ChargingSession, Place
from evcharge.models.slots import Book, SlotTable
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks, D, Newest
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

T = TypeVar("T")

_numbers = count(1)

NOBODY: Mapping[str, Receipt | None] = {}
"""Of users who are gone by a commit whose end was not seen: there are none."""


class NotLoaded(Exception):
    """A rule looks at a record that its operation does not say it needs."""


class View:
    """
    The records that were loaded for a batch; what changes is seen by whatever is decided next.

    All instants are in truth as they say. In place of a record there may be the exception that is
    raised where a rule looks at it: it cannot be read now.

    :param clocks: those of the storage.
    :param users: those asked for, None for each that is not there.
    :param sessions: of users that were asked for, None for each that holds no EVSE.
    :param books: of the stations asked for, and of those where these users hold an EVSE or wait;
        None for each that there is not.
    :param states: of every station, where they were asked for.
    :param names: which clock a record names that was made by one: a method of `Clocks`.
    :param leaving: users whose removal was to be committed when its end was not seen, each with
        the receipt of the session that ended, if one did.
    :param places: in line, of the same users, None for each that does not wait.
    :param has: whether a user may be changed whom nobody asked for, such as one whose time is up,
        or whose turn it is. Who may not stays as is until the next sweep.
    :param drivers: finds the users who hold the EVSEs that were asked for; None where one is not
        there.
    """

    def __init__(
        self,
        clocks: Clocks,
        users: dict[str, User | Exception | None],
        sessions: dict[str, ChargingSession | Exception | None],
        books: dict[int, Book | None],
        states: Stations | None = None,
        names: Callable[[Clocks, int | None], int] = Clocks.plainly,
        leaving: Mapping[str, Receipt | None] = NOBODY,
        places: dict[str, Place | Exception | None] | None = None,
        has: Callable[[str], bool] = lambda user_id: True,
        drivers: Callable[[str], User | None] = lambda user_id: None,
    ) -> None:
        self.number = next(_numbers)
        """Tells this batch from the others of this process."""
        self._drivers = drivers
        self.places = {} if places is None else places
        self.may_change = has
        self.clocks = clocks
        self.users = users
        self.sessions = sessions
        self.books = books
        self.listed = states
        self.every_session: Sequence[ChargingSession] | None = None
        """All of them, where they were asked for."""
        self._names = names
        self._leaving = leaving
        self.events: list[Event] = []
        """What was decided so far, in order."""
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self.due: list[int] = []
        """Stations where something was due when they were claimed, or somebody could be offered an
        EVSE; their books are there."""
        self.next_due: float | None = None
        """When something is due next that was not claimed, as far as is known."""
        self.unpaid: list[str] = []
        """Users who held no EVSE and did not wait, and had logged in long ago, when they were
        claimed."""
        self.more_due = False
        """Whether as many were claimed as may be, so that there may be more."""
        self.more_to_write = False
        """Whether the storage has something to write anew that need not wait for the next sweep."""
        self.newest: Callable[[], Newest] = _not_loaded
        """The latest instants in the storage, where the clock may be set."""
        self.known: Catalogue | None = None
        """The cars and the tariffs, where they were asked for."""
        self._network: dict[None, Network | Exception | None] = {}
        """The network as a whole, where it was asked for."""
        self._taken: dict[int, int] = {}
        """How many vehicles stand at each station, likewise."""
        self._lines: Mapping[int, Collection[Place]] = {}
        """Who waits at each station, likewise, where somebody does."""
        self.evses: dict[str, int | None] = {}
        """The station of each EVSE that was asked for, None for one that there is not."""
        self.receipts: dict[str, Receipt | tuple[ChargingSession, Book] | Exception | None] = {}
        """What was asked for by its receipt: one that is final, or else the session that has it,
        with its station."""
        self.histories: dict[Any, Collection[Receipt] | Exception | None] = {}
        """The receipts of drivers, by what was asked for, the newest first."""
        self.issued: dict[str, Receipt] = {}
        """The receipts of sessions that have ended in this batch."""
        self.own_time: tuple[float | None, float] = (None, 0.0)
        """How far the storage's own time is ahead of the steady seconds, None where it has none,
        and by how much that may be wrong."""

    # Looking; each raises what stands in place of a record, and NotLoaded, unless it says otherwise

    def user(self, user_id: str) -> User | None:
        """The user; None where there is none."""
        return _of(self.users, user_id)

    def driver(self, user_id: str) -> User | None:
        """A user whom nobody asked for, but who holds an EVSE that was."""
        user = self.users.get(user_id) or self._drivers(user_id)
        return user if isinstance(user, User) else None

    def session(self, user_id: str) -> ChargingSession | None:
        """The session that holds the user's slot; None where it holds none."""
        return _of(self.sessions, user_id)

    def place(self, user_id: str) -> Place | None:
        """The user's place in line; None where the user does not wait, or was not asked for."""
        place = self.places.get(user_id)
        if isinstance(place, Exception):
            raise place
        return place

    def book(self, station_id: int) -> Book | None:
        """The station and who is there; None where there is no such station."""
        return _of(self.books, station_id)

    def receipt(self, receipt_id: str) -> Receipt | tuple[ChargingSession, Book] | None:
        """
        A receipt, or the session that is to have it, with its station; None: there is neither, or
        it was not asked for.
        """
        found = self.receipts.get(receipt_id)
        if isinstance(found, Exception):
            raise found
        return found

    def history(self, asked: Any) -> Collection[Receipt]:
        """Receipts of a driver, the newest first, as :class:`History` asks for them."""
        return _of(self.histories, asked) or ()

    def states(self) -> Stations:
        """The state of every station in service, as it was before the batch, or later."""
        if self.listed is None:
            raise NotLoaded("states")
        return self.listed

    def catalogue(self) -> Catalogue:
        """The cars that can be chosen, and the tariffs."""
        if self.known is None:
            raise NotLoaded("the catalogue")
        return self.known

    def check_whereabouts(self, user_id: str) -> None:
        """Raise why nobody can tell now where the user stands, if that is so."""
        session = self.sessions.get(user_id)
        if isinstance(session, Exception):
            raise session

    def was_leaving(self, user_id: str) -> bool:
        """Whether the user is gone by an attempt before this one, whose end was not seen."""
        return user_id in self._leaving

    def left_with(self, user_id: str) -> Receipt | None:
        """With which receipt such a user has gone, if there was one."""
        return self._leaving.get(user_id)

    def know_network(
        self,
        network: Network | Exception,
        taken: Mapping[int, int],
        lines: Mapping[int, Collection[Place]] | None = None,
    ) -> None:
        """
        The network as a whole.

        :param taken: how many vehicles stand at stations, where some do.
        :param lines: who waits at stations, where somebody does.
        """
        self._network[None] = network
        self._taken.update(taken)
        self._lines = {} if lines is None else lines

    def network(self) -> Network:
        """The network as a whole."""
        network = _of(self._network, None)
        assert network is not None
        return network

    def taken(self, station_id: int) -> int:
        """How many vehicles stand at a station, in service or not, of the network as a whole."""
        self.network()
        return self._taken.get(station_id, 0)

    def line(self, station_id: int) -> Collection[Place]:
        """Who waits at a station, likewise."""
        self.network()
        return self._lines.get(station_id, ())

    def moved(self, clock: int | None) -> float:
        """How far an instant by a clock, or by the newest, has been moved since, seconds."""
        return self.clocks.moved(clock)

    # Changing; `clock` is the one by which the record was made, None the newest

    def add(self, user: User, clock: int | None) -> None:
        """A driver logs in."""
        user = self.clocks.kept(user, clock, self._names(self.clocks, clock))
        self._put(self.users, user.user_id, user)
        self.events.append(UserAdded(user))

    def remove(self, user_id: str) -> None:
        """A journey is over; the user may not even be there."""
        self._put(self.users, user_id, None)
        self.events.append(UserRemoved(user_id))

    def take(
        self, session: ChargingSession, clock: int | None, at: float, before: str
    ) -> ChargingSession:
        """
        An EVSE is held from now on; the session as it is kept. Its instants are in truth as it
        says, as those of all that is changed below.

        :param at: the instant of the cause, seconds since the epoch.
        :param before: in which state the user was.
        """
        session = self.clocks.kept(session, None, self._names(self.clocks, clock))
        book = self._books(session.station_id, lambda slots: slots.with_session(session))
        self._count(session.station_id, 1)
        self._put(self.sessions, session.user_id, session)
        self.events.append(SlotTaken(session, at, before, book))
        return session

    def change(
        self, before: ChargingSession, session: ChargingSession, clock: int | None, at: float
    ) -> ChargingSession:
        """A session goes on in another state, or at another EVSE; it, as it is kept."""
        session = self.clocks.kept(session, None, self._names(self.clocks, clock))
        book = self._books(session.station_id, lambda slots: slots.with_session(session))
        self._put(self.sessions, session.user_id, session)
        self.events.append(SessionChanged(before, session, at, book))
        return session

    def give_back(
        self,
        session: ChargingSession,
        at: float,
        after: str,
        end_reason: str | None = None,
        outcome: str | None = None,
    ) -> None:
        """
        An EVSE is given back, and the session is over.

        :param at: the instant of the cause, seconds since the epoch.
        :param after: in which state it ends.
        :param outcome: what became of the offer, if it was one.
        """
        book = self._books(session.station_id, lambda slots: slots.without(session.user_id))
        self._count(session.station_id, -1)
        self._put(self.sessions, session.user_id, None)
        self.events.append(SlotFreed(session, at, after, end_reason, outcome, book))

    def join(self, place: Place, clock: int | None, at: float) -> Place:
        """Somebody waits in line; the place as it is kept."""
        place = self.clocks.kept(place, None, self._names(self.clocks, clock))
        book = self._books(place.station_id, lambda slots: slots.with_place(place))
        self._put(self.places, place.user_id, place)
        self.events.append(PlaceTaken(place, at, _length(book)))
        return place

    def leave_line(self, place: Place, at: float, why: str) -> None:
        """Somebody waits no more."""
        book = self._books(place.station_id, lambda slots: slots.without_place(place.user_id))
        self._put(self.places, place.user_id, None)
        self.events.append(PlaceLeft(place, at, why, _length(book)))

    def set_status(self, station_id: int, evse_uid: str, status: EvseStatus, at: float) -> None:
        """An operator says something else of an EVSE."""
        book = self.book(station_id)
        assert book is not None and book.station is not None, station_id
        station = book.station
        station = station.with_statuses({**station.statuses, evse_uid: status})
        self._put(self.books, station_id, Book(station, book.slots.at(station)))
        self.events.append(EvseStatusSet(station_id, evse_uid, status, at))

    def issue(self, receipt: Receipt, at: float) -> None:
        """A session is over, and this is what it came to."""
        self._put(self.issued, receipt.receipt_id, receipt)
        self.events.append(ReceiptIssued(receipt, at))

    def list_payment(self, payment: Payment, at: float) -> None:
        """Something was paid, or given back."""
        self.events.append(PaymentListed(payment, at))

    def _books(self, station_id: int, change: Callable[[SlotTable], SlotTable]) -> Book | None:
        """Change who is at a station; its book then, if it is known."""
        book = self.books.get(station_id)
        if book is not None:
            book = Book(book.station, change(book.slots))
            self._put(self.books, station_id, book)
        return book

    def _count(self, station_id: int, by: int) -> None:
        if self._network:
            self._put(self._taken, station_id, self._taken.get(station_id, 0) + by)

    def set_clocks(self, after: Clocks) -> None:
        """There are other clocks, and all that stands is moved as far as they say."""
        before, self.clocks = self.clocks, after
        for user_id, user in self.users.items():
            if isinstance(user, User):
                self.users[user_id] = record_moved(user, before, after)
        for user_id, session in self.sessions.items():
            if isinstance(session, ChargingSession):
                self.sessions[user_id] = record_moved(session, before, after)
        for user_id, place in self.places.items():
            if isinstance(place, Place):
                self.places[user_id] = record_moved(place, before, after)
        for station_id, book in self.books.items():
            if book is not None:
                slots = book.slots.each(lambda record: record_moved(record, before, after))
                self.books[station_id] = Book(book.station, slots)
        if self.events and isinstance(last := self.events[-1], ClocksSet):
            # Set twice in a batch, it is set once, as far as both say.
            before = last.before
            del self.events[-1]
        self.events.append(ClocksSet(before, after))

    def change_network(self, after: Network, at: float) -> None:
        """The network is another one."""
        before = self.network()
        self._put(self._network, None, after)
        for station_id, known in list(self.books.items()):
            record = after.stations.get(station_id)
            slots = SlotTable(station_id, 0) if known is None else known.slots
            station = None
            if record is not None:
                slots = slots.with_slots(record.station.max_slots)
                if record.is_usable:
                    said = known.station.statuses if known is not None and known.station else {}
                    station = record.station.with_statuses(said)
                    slots = slots.at(station)
            self._put(self.books, station_id, Book(station, slots))
        if self.events and isinstance(last := self.events[-1], NetworkChanged):
            # Two changes in a batch are one.
            before = last.before
            del self.events[-1]
        self.events.append(NetworkChanged(before, after, at))

    def _put(self, records: dict[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((records, key, records.get(key)))
        records[key] = value

    # An operation that breaks

    def mark(self) -> tuple[int, int]:
        """Where :meth:`wind_back` goes back to."""
        return len(self.events), len(self._undo)

    def wind_back(self, mark: tuple[int, int]) -> None:
        """Take back all that has been decided since `mark`."""
        events, changes = mark
        for records, key, before in reversed(self._undo[changes:]):
            records[key] = before
        del self.events[events:], self._undo[changes:]


def _length(book: Book | None) -> int:
    return 0 if book is None else len(book.slots.waiting)


def record_moved(record: D, before: Clocks, after: Clocks) -> D:
    """A record that is right by some clocks, as it is by those after them."""
    by_s = after.moved(record.clock) - before.moved(record.clock)
    return record.moved(by_s, record.clock) if by_s else record


def _of(records: Mapping[Any, T | Exception | None], key: Any) -> T | None:
    try:
        record = records[key]
    except KeyError:
        raise NotLoaded(key) from None
    if isinstance(record, Exception):
        raise record
    return record


def _not_loaded() -> Newest:
    raise NotLoaded("the newest instants")
