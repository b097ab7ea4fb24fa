"""
A batch in a database: what it reads and locks, and what it writes.

Rows are locked in one order - users by id, then stations by id - so that processes which share the
database wait for one another but never in a ring. A sweep passes over what others have locked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from evcharge.datasets import DatasetError
from evcharge.models.receipts import Payment
from evcharge.models.session import ChargingSession
from evcharge.models.slots import Book, SlotTable, StationState
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks, D, Newest
from evcharge.rules.events import (
    ClocksSet,
    Event,
    NetworkChanged,
    PaymentListed,
    SlotFreed,
    SlotTaken,
    UserAdded,
    UserRemoved,
)
from evcharge.rules.operation import Due, Needs
from evcharge.rules.view import View
from evcharge.storage.contents import listed
from evcharge.storage.records import Records
from evcharge.storage.sql import clocks as sql_clocks
from evcharge.storage.sql import network, schema
from evcharge.storage.sql import sweep as sql_sweep
from evcharge.storage.sql.databases import Database
from evcharge.storage.sql.network import Network
from evcharge.storage.sql.rows import session_of, station_of, user_of
from evcharge.storage.sql.statements import (
    FIND_HELD,
    FIND_SESSIONS,
    FIND_SESSIONS_AT,
    FIND_USERS,
    LOCK_STATIONS,
    LOCK_USERS,
    Changes,
)

MOST_PASSED = 3
"""How often sweeps pass over a user whom others have locked, before one waits for that."""


@attrs.define
class Known:
    """What a process knows of a database between two batches."""

    records: Records
    """Where the process is alone: all but users, of whom there may be too many. Else the clocks,
    and the states of the stations as they were listed."""
    network: Network = attrs.field(factory=lambda: Network(version=-1))
    looked_at: float = float("-inf")
    """When it was seen that this is the network, in the storage's own seconds."""
    listed_at: float = float("-inf")
    """When the states were listed, likewise."""
    listed_version: int = -1
    """Of the network whose stations were listed."""
    occupied: set[int] = attrs.field(factory=set)
    """Stations where vehicles stood when they were listed, where the process is not alone."""
    leaving: set[str] = attrs.field(factory=set)
    """Users whose removal was to be committed when the connection was lost."""
    passed: dict[str, int] = attrs.field(factory=dict)
    """Users whose session is over, and how often sweeps have passed over it."""


class Transaction:
    """
    One batch.

    :param began: when, in the storage's own seconds.
    """

    def __init__(
        self,
        database: Database,
        connection: Connection,
        changes: Changes,
        rewriting: sql_clocks.Rewriting,
        known: Known,
        began: float,
    ) -> None:
        self._database = database
        self._connection = connection
        self._changes = changes
        self._rewriting = rewriting
        self._known = known
        self._began = began
        self._alone = database.states_age_s is None
        self._clocks = known.records.clocks
        self._network: Network | None = None
        """Read anew, where it has changed."""
        self._stations = known.records.states
        """Those there are, with the states that they had, where they are still the same ones."""
        self._version = known.listed_version
        """Of the network whose stations they are."""
        self._states: dict[int, StationState] = {}
        """Read anew where we are not alone: those that were or are occupied, or that changed."""
        self._looked = False
        """Whether it was looked whether the network has changed."""
        self._lists_all = False
        self._mine: set[str] = set()
        """Users whose rows are locked, or not there."""
        self._found: list[User] = []
        """Users who were read."""
        self._sweeps = False
        self._tells = False
        """Whether it is told to somebody what was found of a user."""
        self._written = False
        """Whether a row was changed or locked: then the commit is, in the end, durable with all
        that was committed before it."""
        self._failure: DBAPIError | None = None
        self.removed: set[str] = set()
        """Users who are not there any more, once this is committed."""

    @property
    def _present(self) -> Network:
        """The network, as far as it is known."""
        return self._network or self._known.network

    # Reading

    def load(self, needs: Needs) -> View:
        known = self._clocks.number
        if needs.sets_clock:
            self._clocks = sql_clocks.read(self._connection, lock=True)
            self._written = True
        elif not self._alone and (
            needs.due or needs.steady is not None or needs.newest_clock > known
        ):
            self._clocks = sql_clocks.read(self._connection)
        self._tells = bool(needs.users)
        self._sweeps = bool(needs.due)
        view = self._from_memory(needs) if self._alone else self._read(needs)
        if needs.network:
            view.know_network(*network.whole(self._connection, lock=True))
        if not self._alone and (needs.states or self._clocks.number != known):
            self._list()
            # Its states are put in when this is committed, before anybody is told.
            view.listed = self._stations
        if needs.catalogue:
            view.known = (self._known.network if self._alone else self._look()).catalogue
        if needs.sets_clock:
            view.newest = self._newest
        if needs.sessions and not self._alone:
            rows = self._connection.execute(select(schema.sessions))
            view.every_session = [self._true(session_of(row)) for row in rows]
        if needs.steady is not None:
            view.own_time = self._database.lead_s(self._connection, needs.steady)
        return view

    def _from_memory(self, needs: Needs) -> View:
        view = self._known.records.load(needs, Clocks.anew, self._known.leaving)
        missing = [user_id for user_id, user in view.users.items() if user is None]
        if missing:
            found = self._users(self._connection.execute(FIND_USERS, {"ids": missing}))
            view.users.update(found)
        return view

    def _read(self, needs: Needs) -> View:
        users: dict[str, User | Exception | None] = dict.fromkeys(needs.seen | needs.users)
        sessions: dict[str, ChargingSession | Exception | None] = dict.fromkeys(needs.users)
        books: dict[int, Book | None] = dict.fromkeys(needs.stations)
        seen, locked = needs.seen - needs.users, needs.users | self._waited_for(needs)
        if seen:
            rows = self._connection.execute(FIND_USERS, {"ids": list(seen)})
            users.update(self._users(rows))
        if locked:
            rows = self._connection.execute(LOCK_USERS, {"ids": list(locked)})
            found = self._users(rows)
            users.update(found)
            self._written |= bool(found)
        self._mine |= needs.users
        if needs.users:
            sessions.update(self._sessions(needs.users))
        if needs.network:
            # All of the stations, in their order: it would not do to begin with some of them.
            network.whole(self._connection, lock=True)
        at = needs.stations | {
            s.station_id for s in sessions.values() if isinstance(s, ChargingSession)
        }
        books.update(dict.fromkeys(at))
        if at:
            # After all of the users: see the head of this module.
            ids = {"ids": list(at)}
            stations = self._connection.execute(LOCK_STATIONS, ids).all()
            self._written |= bool(stations)
            # By a statement of its own, begun with the stations locked: it sees every session.
            for number, evse_uid in self._connection.execute(FIND_HELD, ids).all():
                if evse_uid is None:
                    self._look(version=number)
            tariffs = self._present.catalogue.tariffs
            for row in stations:
                slots = SlotTable(row.station_id, row.max_slots)
                books[row.station_id] = Book(None, slots)
                with contextlib.suppress(DatasetError):
                    station = network.in_service(station_of(row), tariffs)
                    books[station.station_id] = Book(station, slots.at(station))
            for row in self._connection.execute(FIND_SESSIONS_AT, ids):
                book = books.get(row.station_id)
                if book is not None:
                    slots = book.slots.with_session(self._true(session_of(row)))
                    books[row.station_id] = Book(book.station, slots)
        return View(
            self._clocks,
            users,
            sessions,
            books,
            names=Clocks.anew,
            leaving=self._known.leaving,
            has=self._mine.__contains__,
        )

    def _waited_for(self, needs: Needs) -> set[str]:
        """Users whom sweeps have passed over too often: this one waits until it has them."""
        passed = self._known.passed
        often = {u for u, times in passed.items() if times >= MOST_PASSED} if needs.due else set()
        for user_id in often:
            # Where it waits in vain, others go on before the next one does.
            del passed[user_id]
        return often

    def _users(self, rows: Iterable[Any]) -> dict[str, User]:
        models = self._present.catalogue.models
        users = {row.user_id: self._true(user_of(row, models)) for row in rows}
        self._found.extend(users.values())
        return users

    def _sessions(self, user_ids: Collection[str]) -> dict[str, ChargingSession]:
        rows = self._connection.execute(FIND_SESSIONS, {"ids": list(user_ids)})
        return {row.user_id: self._true(session_of(row)) for row in rows}

    def _true(self, record: D) -> D:
        return self._clocks.true(record) if self._clocks.moved_s else record

    def _newest(self) -> Newest:
        try:
            return sql_clocks.newest(self._connection, self._clocks)
        except DBAPIError as error:
            # It is no operation that breaks: the whole batch does.
            self._failure = error
            raise

    def _look(self, version: int | None = None) -> Network:
        """The network, read anew where it has changed; its `version`, where that is known."""
        if not self._looked:
            known = self._known.network.version
            self._network = network.read(self._connection, known, version)
            self._looked = True
        return self._present

    def _list(self) -> None:
        """Read the states of all stations."""
        there = self._look()
        is_new = there.version != self._version
        # A look at each station would cost more the more there are, twice a second.
        others = there.stations.keys() if is_new else self._known.occupied | self._states.keys()
        self._states = network.states(self._connection, there, others, some=False)
        self._lists_all = True
        if is_new:
            self._stations, self._version = Stations(self._states.values()), there.version

    # Sweeping: the last to lock anything, and it waits for nothing, so that it is part of no ring

    def claim(self, view: View, due: Due) -> None:
        by_s = self._clocks.moved(due.clock)
        now = due.now + by_s
        view.more_to_write |= self._rewriting.go_on(self._connection, self._clocks, now)
        if self._alone:
            self._known.records.claim_ends(view, now, due.most)
        else:
            self._claim_ends(view, now, due.most)
        self._claim_unpaid(view, due.logged_in_before + by_s, due.most)

    def _claim_ends(self, view: View, now: float, most: int) -> None:
        rows = sql_sweep.due(self._connection, self._clocks, now, most)
        sessions = {row.user_id: self._true(session_of(row)) for row in rows}
        # Those that a request has locked are left to the next sweep.
        free = sql_sweep.free(self._connection, sessions.keys())
        passed = self._known.passed
        self._known.passed = {u: passed.get(u, 0) + 1 for u in sessions.keys() - free}
        self._mine |= free
        for user_id in sorted(free):
            session = sessions[user_id]
            at = session.station_id
            if at not in view.due:
                view.due.append(at)
            book = view.books.get(at) or Book(None, SlotTable(at, 0))
            view.books[at] = Book(book.station, book.slots.with_session(session))
        view.more_due |= len(sessions) == most

    def _claim_unpaid(self, view: View, before: float, most: int) -> None:
        rows = sql_sweep.unpaid(self._connection, self._clocks, before, most)
        models = self._present.catalogue.models
        users = {row.user_id: self._true(user_of(row, models)) for row in rows}
        view.unpaid += users
        view.users.update(users)
        view.sessions.update(dict.fromkeys(users))
        if users and not self._alone:
            # Looked at again now that they are locked: one may have paid in between.
            view.sessions.update(self._sessions(users))
        view.more_due |= len(users) == most

    # Writing

    def save(self, events: Sequence[Event]) -> Mapping[int, Exception]:
        if self._failure is not None:
            raise self._failure
        added: dict[str, User] = {}
        taken: dict[str, ChargingSession] = {}
        freed: set[str] = set()
        payments: list[Payment] = []
        changed: set[int] = set()
        relist = False
        for event in events:
            if isinstance(event, UserAdded):
                added[event.user.user_id] = event.user
            elif isinstance(event, UserRemoved):
                added.pop(event.user_id, None)
                self.removed.add(event.user_id)
            elif isinstance(event, SlotTaken):
                taken[event.session.user_id] = event.session
                changed.add(event.session.station_id)
            elif isinstance(event, SlotFreed):
                if taken.pop(event.session.user_id, None) is None:
                    freed.add(event.session.user_id)
                changed.add(event.session.station_id)
            elif isinstance(event, NetworkChanged):
                network.change(self._connection, event)
                self._network, self._looked = network.read(self._connection, known=-1), True
                relist = self._written = True
            elif isinstance(event, PaymentListed):
                payments.append(event.payment)
            elif isinstance(event, ClocksSet):
                relist = True
                self._clocks = event.after
                sql_clocks.fill(self._connection, event.after)
                sql_clocks.move(self._connection, event.before, event.after)
        connection, changes = self._connection, self._changes
        if freed:
            changes.end_sessions(connection, freed)
            there = (self._network or self._known.network).stations
            # Of those that others have taken out of service it may not be known yet.
            left = changed if self._sweeps and not self._alone else changed - there.keys()
            if left:
                network.drop_left(connection, left)
        if self.removed:
            changes.remove_users(connection, self.removed)
        if added:
            self._written |= changes.add_users(connection, added.values()) > 0
        if taken:
            changes.begin_sessions(connection, taken.values())
        if payments:
            changes.list_payments(connection, (listed(each, self._clocks) for each in payments))
        if self._tells or added:
            # What these are told may be what an earlier commit has left, such as one that was tried
            # before and whose end was not seen.
            self._database.affirm(connection, self._written)
        if not self._alone:
            self._see_states(changed, relist)
        return {}

    def _see_states(self, changed: set[int], all_are: bool) -> None:
        """Read the states anew that are others now."""
        there = self._network or self._known.network
        if all_are or (changed and there.version != self._version):
            self._list()
        elif changed:
            self._states.update(network.states(self._connection, there, changed, some=True))

    # What became true with the commit

    def remember(self) -> None:
        """Have what is known follow what was read; it was committed."""
        known, records = self._known, self._known.records
        if self._network is not None:
            known.network = self._network
        if self._looked:
            known.looked_at = self._began
        if self._alone:
            for user in self._found:
                records.put_user(user)
            return
        records.clocks = self._clocks
        if self._lists_all:
            known.listed_at, known.listed_version = self._began, self._version
        records.states = self._stations
        for state in self._states.values():
            occupied = known.occupied.add if state.is_occupied else known.occupied.discard
            occupied(state.station.station_id)
            if state != records.states.get(state.station.key):
                records.states.put(state)
