"""What a batch of operations may look at, and what they have made of it so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import attrs

from evcharge.models.catalogue import Catalogue
from evcharge.models.evse import Evse
from evcharge.models.network import Network
from evcharge.models.session import ChargingSession
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks, D, Newest
from evcharge.rules.events import (
    ClocksSet,
    Event,
    NetworkChanged,
    SlotFreed,
    SlotTaken,
    UserAdded,
    UserRemoved,
)

T = TypeVar("T")


class NotLoaded(Exception):
    """A rule looks at a record that its operation does not say it needs."""


@attrs.frozen
class Book:
    """A station in service, and who stands there."""

    station: Station
    held: frozenset[str] | set[str]
    """The uids of the EVSEs at which vehicles stand."""

    def free(self) -> list[Evse]:
        """The EVSEs that may be taken."""
        return self.station.free(self.held)


class View:
    """
    The records that were loaded for a batch; what changes is seen by whatever is decided next.

    All instants are in truth as they say. In place of a record there may be the exception that is
    raised where a rule looks at it: it cannot be read now.

    :param clocks: those of the storage.
    :param users: those asked for, None for each that is not there.
    :param sessions: of users that may be changed, None for each that holds no slot.
    :param books: of the stations asked for, None for each that is not in service.
    :param states: of every station, where they were asked for.
    :param names: which clock a record names that was made by one: a method of `Clocks`.
    :param leaving: users whose removal was to be committed when its end was not seen.
    """

    def __init__(
        self,
        clocks: Clocks,
        users: dict[str, User | Exception | None],
        sessions: dict[str, ChargingSession | Exception | None],
        books: dict[int, Book | None],
        states: Stations | None = None,
        names: Callable[[Clocks, int | None], int] = Clocks.plainly,
        leaving: Collection[str] = (),
    ) -> None:
        self.clocks = clocks
        self.users = users
        self.sessions = sessions
        self.books = books
        self.listed = states
        self._names = names
        self._leaving = leaving
        self.events: list[Event] = []
        """What was decided so far, in order."""
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self.due: list[str] = []
        """Users whose session was due when it was claimed, the first to end first."""
        self.unpaid: list[str] = []
        """Users who held no slot, and had logged in long ago, when they were claimed."""
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
        self.own_time: tuple[float | None, float] = (None, 0.0)
        """How far the storage's own time is ahead of the steady seconds, None where it has none,
        and by how much that may be wrong."""

    # Looking; each raises NotLoaded, and what stands in place of a record

    def user(self, user_id: str) -> User | None:
        """The user; None where there is none."""
        return _of(self.users, user_id)

    def session(self, user_id: str) -> ChargingSession | None:
        """The session that holds the user's slot; None where it holds none."""
        return _of(self.sessions, user_id)

    def book(self, station_id: int) -> Book | None:
        """The station and its slots; None where no such station is in service."""
        return _of(self.books, station_id)

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

    def know_network(self, network: Network | Exception, taken: Mapping[int, int]) -> None:
        """The network as a whole, and the stations where vehicles stand: how many."""
        self._network[None] = network
        self._taken.update(taken)

    def network(self) -> Network:
        """The network as a whole."""
        network = _of(self._network, None)
        assert network is not None
        return network

    def taken(self, station_id: int) -> int:
        """How many vehicles stand at a station, in service or not, of the network as a whole."""
        self.network()
        return self._taken.get(station_id, 0)

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

    def take(self, session: ChargingSession, clock: int | None) -> ChargingSession:
        """A slot is taken, and paid for; the session as it is kept."""
        book = self.book(session.station_id)
        assert book is not None, session.station_id
        session = self.clocks.kept(session, clock, self._names(self.clocks, clock))
        held = book.held | {session.evse_uid}
        self._put(self.books, session.station_id, Book(book.station, held))
        self._count(session.station_id, 1)
        self._put(self.sessions, session.user_id, session)
        self.events.append(SlotTaken(session))
        return session

    def give_back(self, session: ChargingSession) -> None:
        """A slot is given back."""
        book = self.books.get(session.station_id)
        if book is not None:
            held = book.held - {session.evse_uid}
            self._put(self.books, session.station_id, Book(book.station, held))
        self._count(session.station_id, -1)
        self._put(self.sessions, session.user_id, None)
        self.events.append(SlotFreed(session))

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
        if self.events and isinstance(last := self.events[-1], ClocksSet):
            # Set twice in a batch, it is set once, as far as both say.
            before = last.before
            del self.events[-1]
        self.events.append(ClocksSet(before, after))

    def change_network(self, after: Network) -> None:
        """The network is another one."""
        before = self.network()
        self._put(self._network, None, after)
        for station_id, known in list(self.books.items()):
            record = after.stations.get(station_id)
            book = None
            if record is not None and record.is_usable:
                # Of one that was out of service, how many stand there is all that was loaded.
                there = (f"?{number}" for number in range(self._taken.get(station_id, 0)))
                book = Book(record.station, frozenset(there) if known is None else known.held)
            self._put(self.books, station_id, book)
        if self.events and isinstance(last := self.events[-1], NetworkChanged):
            # Two changes in a batch are one.
            before = last.before
            del self.events[-1]
        self.events.append(NetworkChanged(before, after))

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
