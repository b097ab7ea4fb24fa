"""
A batch in a database: what it reads and locks, and what it writes.

Rows are locked in one order - users by id, the network where it changes, then stations by id - so
that processes which share the database wait for one another but never in a ring. Who is at a
station, and who waits there, changes only where its row is locked, and is read after that. Users
whom nobody asked for, such as one whose turn it is, are locked only if nobody has to be waited for,
and a sweep does the same with stations: what others have locked it passes over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from evcharge.models.receipts import Receipt
from evcharge.models.session import ChargingSession, Place
from evcharge.models.slots import Book, StationState
from evcharge.models.stations import Stations
from evcharge.models.tariffs import Tariff
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks, Newest
from evcharge.rules.events import ClocksSet, Event, NetworkChanged, stations_of
from evcharge.rules.operation import Due, Needs
from evcharge.rules.view import View
from evcharge.storage.contents import listed
from evcharge.storage.due import claim_ends
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.sql import clocks as sql_clocks
from evcharge.storage.sql import network, schema
from evcharge.storage.sql import sweep as sql_sweep
from evcharge.storage.sql.databases import Database
from evcharge.storage.sql.known import Known
from evcharge.storage.sql.network import Network
from evcharge.storage.sql.standing import Standing
from evcharge.storage.sql.statements import (
    FIND_BY_RECEIPT,
    FIND_HOLDERS,
    FIND_RECEIPTS,
    FIND_STATION_IDS,
    FIND_USERS,
    LOCK_FREE_STATIONS,
    LOCK_STATIONS,
    LOCK_USERS,
    Changes,
    history,
)
from evcharge.storage.sql.written import Written


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
        self._passed: set[str] = set()
        """Users whose rows others have locked."""
        self._held: dict[int, Any] = {}
        """The rows of stations that are locked; None for each that is not there."""
        self._standing = Standing(connection, self._clocks, known.used)
        self._tariffs: dict[str, Tariff] = {}
        """Those that new sessions go by."""
        self._found: list[User] = []
        """Users who were read."""
        self._sweeps = False
        self._tells = False
        """Whether it is told to somebody what was found of a user."""
        self._written = False
        """Whether a row was changed or locked: then the commit is, in the end, durable with all
        that was committed before it."""
        self._failure: DBAPIError | None = None
        self.removed: dict[str, Receipt | None] = {}
        """Users who are not there any more, once this is committed, each with the receipt of the
        session that ended, if one did."""

    _view: View
    """What was loaded, and what has been made of it."""

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
        self._standing = Standing(self._connection, self._clocks, self._known.used)
        self._tells = bool(needs.users)
        self._sweeps = bool(needs.due)
        self._view = view = self._from_memory(needs) if self._alone else self._read(needs)
        if needs.network:
            there, taken = network.whole(self._connection, lock=True)
            lines = self._known.records.waiting() if self._alone else self._standing.lines()
            view.know_network(there, taken, lines)
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
            view.every_session = self._standing.sessions(rows)
        if needs.receipts or needs.histories:
            self._find_receipts(needs, view)
        if needs.steady is not None:
            view.own_time = self._database.lead_s(self._connection, needs.steady)
        return view

    def _from_memory(self, needs: Needs) -> View:
        view = self._known.records.load(
            needs, Clocks.anew, self._known.leaving, drivers=self._driver
        )
        missing = [user_id for user_id, user in view.users.items() if user is None]
        if missing:
            found = self._users(self._connection.execute(FIND_USERS, {"ids": missing}))
            view.users.update(found)
        return view

    def _read(self, needs: Needs) -> View:
        connection, locked, at = self._connection, set(needs.users), set(needs.stations)
        evses = self._stations_of(needs.evses) if needs.evses else {}
        at.update(station_id for station_id in evses.values() if station_id is not None)
        if needs.write:
            locked |= self._known.passed_often() if needs.due else set()
            if needs.evses:
                uids = {"ids": list(needs.evses)}
                locked.update(connection.execute(FIND_HOLDERS, uids).scalars())
        looked_at = locked | needs.standing
        users: dict[str, User | Exception | None] = dict.fromkeys(needs.seen | looked_at)
        for ids, query in ((users.keys() - locked, FIND_USERS), (locked, LOCK_USERS)):
            if ids:
                users.update(self._users(connection.execute(query, {"ids": list(ids)})))
        self._written |= any(users[user_id] is not None for user_id in locked)
        self._mine |= locked
        where = self._standing.whereabouts(looked_at) if looked_at else {}
        if needs.network:
            # All of the stations, in their order: it would not do to begin with some of them.
            network.whole(connection, lock=True)
        elif needs.evses and needs.write:
            connection.execute(network.LOCK_TO_CHANGE)
        at.update(where.values())
        if at and needs.write:
            # After all of the users: see the head of this module.
            self._hold(connection.execute(LOCK_STATIONS, {"ids": list(at)}).all())
        books = self._books(at) if at else {}
        if needs.write:
            for station_id in at - self._held.keys():
                # Its row is not there: of others who stand there it is not known what they do.
                book = books[station_id]
                self._passed |= set() if book is None else book.slots.sessions.keys() - locked
        sessions: dict[str, ChargingSession | Exception | None] = dict.fromkeys(looked_at)
        places: dict[str, Place | Exception | None] = {}
        for user_id, station_id in where.items():
            book = books.get(station_id)
            if book is not None:
                sessions[user_id] = book.slots.sessions.get(user_id)
                places[user_id] = book.slots.place(user_id)
        view = View(
            self._clocks,
            users,
            sessions,
            books,
            names=Clocks.anew,
            leaving=self._known.leaving,
            places=places,
            has=self._may_change,
            drivers=self._driver,
        )
        view.evses.update(evses)
        if needs.evses and needs.write:
            self._hold_holders(needs.evses, books)
        return view

    def _books(self, station_ids: Collection[int]) -> dict[int, Book | None]:
        return self._standing.books(station_ids, self._held, self._look)

    def _stations_of(self, uids: Collection[str]) -> dict[str, int | None]:
        """The stations in service that have EVSEs, by the uids of these."""
        found: dict[str, int | None] = dict.fromkeys(uids)
        for station in self._look().stations.values():
            found.update((e.uid, station.station_id) for e in station.evses if e.uid in found)
        return found

    def _hold(self, rows: Sequence[Any]) -> None:
        self._held.update((row.station_id, row) for row in rows)
        self._written |= bool(rows)

    def _hold_holders(self, uids: Collection[str], books: Mapping[int, Book | None]) -> None:
        """
        Have those who hold EVSEs locked, also where it is another one than before.

        :raise TryAgain: a request has locked one.
        """
        for book in filter(None, books.values()):
            for session in book.slots.sessions.values():
                if session.evse_uid in uids and not self._may_change(session.user_id):
                    raise TryAgain(f"{self._database.name}: an EVSE's driver is being answered")

    def _may_change(self, user_id: str) -> bool:
        """Whether a user may be changed whose station we have: it waits for nobody."""
        if user_id not in self._mine and user_id not in self._passed:
            with self._breaking():
                free = sql_sweep.free(self._connection, [user_id])
            (self._mine if free else self._passed).add(user_id)
        return user_id in self._mine

    def _driver(self, user_id: str) -> User | None:
        if self._alone and (user := self._known.records.users.get(user_id)) is not None:
            return user
        with self._breaking():
            found = self._users(self._connection.execute(FIND_USERS, {"ids": [user_id]}))
        return found.get(user_id)

    def _find_receipts(self, needs: Needs, view: View) -> None:
        ids = {"ids": list(needs.receipts)}
        if needs.receipts and not self._alone:
            at = set(self._connection.execute(FIND_BY_RECEIPT, ids).scalars())
            for book in filter(None, self._books(at).values() if at else ()):
                for session in book.slots.sessions.values():
                    if session.receipt_id in needs.receipts:
                        view.receipts[session.receipt_id] = (session, book)
        if needs.receipts:
            # After the sessions: one may be ending.
            found = self._standing.receipts(FIND_RECEIPTS, ids)
            view.receipts.update((receipt.receipt_id, receipt) for receipt in found)
        for asked in needs.histories:
            view.histories[asked] = self._standing.receipts(history(asked))

    def _users(self, rows: Iterable[Any]) -> dict[str, User]:
        users = self._standing.users(rows, self._present.catalogue.models)
        self._found.extend(users.values())
        return users

    def _newest(self) -> Newest:
        with self._breaking():
            return sql_clocks.newest(self._connection, self._clocks)

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        """What a rule asks for: where that fails it is no operation that breaks, but the batch."""
        try:
            yield
        except DBAPIError as error:
            self._failure = error
            raise

    def _look(self, version: int | None = None) -> Network:
        """The network, read anew where it has changed; its `version`, where that is known."""
        known = self._present.version
        if not self._looked or version not in (None, known):
            self._network = network.read(self._connection, known, version) or self._network
            self._looked = True
        return self._present

    def _list(self) -> None:
        """Read the states of all stations."""
        there = self._look()
        is_new = there.version != self._version
        # A look at each station would cost more the more there are, twice a second.
        others = there.stations.keys() if is_new else self._known.occupied | self._states.keys()
        self._states = self._standing.states(there, others)
        self._lists_all = True
        if is_new:
            self._stations, self._version = Stations(self._states.values()), there.version

    # Sweeping: the last to lock anything, and it waits for nothing, so that it is part of no ring

    def claim(self, view: View, due: Due) -> None:
        by_s = self._clocks.moved(due.clock)
        now = due.now + by_s
        view.more_to_write |= self._rewriting.go_on(self._connection, self._clocks, now)
        if self._alone:
            claim_ends(self._known.records, view, now, due.most)
        else:
            self._claim_ends(view, now, due.most)
        self._claim_unpaid(view, due.logged_in_before + by_s, due.most)

    def _claim_ends(self, view: View, now: float, most: int) -> None:
        connection = self._connection
        due = sql_sweep.due(connection, self._clocks, now, most)
        at = dict.fromkeys(row.station_id for row in due)
        at.update(dict.fromkeys(sql_sweep.waited_at(connection)))
        # Those that a request has locked are left to the next sweep, or to that request.
        new = [station_id for station_id in at if station_id not in self._held]
        if new:
            ids = {"ids": new}
            self._hold(connection.execute(LOCK_FREE_STATIONS, ids).all())
            there = connection.execute(FIND_STATION_IDS, ids).scalars()
            self._held.update(dict.fromkeys(set(new).difference(there)))
        users = {row.user_id for row in due} - self._mine
        free = sql_sweep.free(connection, users)
        self._mine |= free
        self._passed |= users - free
        mine = [station_id for station_id in new if station_id in self._held]
        if mine:
            # With all of that locked: it is as it will be until we change it.
            view.books.update(self._books(mine))
        passed = self._known.passed
        self._known.passed = {
            row.user_id: passed.get(row.user_id, 0) + 1
            for row in due
            if row.user_id not in self._mine or row.station_id not in self._held
        }
        view.due += [i for i in at if i in self._held and i not in view.due]
        view.next_due = sql_sweep.next_due(connection, now)
        view.more_due |= len(due) == most

    def _claim_unpaid(self, view: View, before: float, most: int) -> None:
        rows = sql_sweep.unpaid(self._connection, self._clocks, before, most)
        users = self._standing.users(rows, self._present.catalogue.models)
        view.more_due |= len(users) == most
        if users and not self._alone:
            # Looked at again now that they are locked: one may have paid in between.
            for user_id in self._standing.whereabouts(users):
                users.pop(user_id, None)
            self._mine |= users.keys()
        view.unpaid += users
        view.users.update(users)
        view.sessions.update(dict.fromkeys(users))

    # Writing

    def save(self, events: Sequence[Event]) -> Mapping[int, Exception]:
        if self._failure is not None:
            raise self._failure
        connection, changes, written = self._connection, self._changes, Written()
        relist = False
        for event in events:
            written.follow(event)
            if isinstance(event, NetworkChanged):
                network.change(connection, event)
                self._network, self._looked = network.read(connection, known=-1), True
                relist = self._written = True
            elif isinstance(event, ClocksSet):
                relist = True
                self._clocks = event.after
                sql_clocks.fill(connection, event.after)
                sql_clocks.move(connection, event.before, event.after)
        changed = stations_of(events)
        self.removed = {user_id: written.over.get(user_id) for user_id in written.removed}
        self._tariffs = written.tariffs
        written.end_rows(connection, changes)
        if written.freed:
            there = (self._network or self._known.network).stations
            # Of those that others have taken out of service it may not be known yet.
            left = changed if self._sweeps and not self._alone else changed - there.keys()
            if left:
                network.drop_left(connection, left)
        if written.added:
            self._written |= changes.add_users(connection, written.added.values()) > 0
        written.begin_rows(connection, changes, self._known.used.known)
        if written.payments:
            payments = (listed(each, self._clocks) for each in written.payments)
            changes.list_payments(connection, payments)
        if written.statuses:
            network.set_statuses(connection, written.statuses)
            if not self._alone:
                self._network, self._looked = network.read(connection, known=-1), True
                relist = True
        if self._tells or written.added:
            # What these are told may be what an earlier commit has left, such as one that was tried
            # before and whose end was not seen.
            self._database.affirm(connection, self._written)
        if not self._alone:
            self._see_states(changed, relist)
        return {}

    def _see_states(self, changed: Iterable[int], all_are: bool) -> None:
        """Have the states that are others now."""
        there = self._network or self._known.network
        if all_are or (changed and there.version != self._version):
            self._list()
            return
        for station_id in changed:
            station, book = there.stations.get(station_id), self._view.books[station_id]
            if station is not None and book is not None:
                self._states[station_id] = StationState.of(station, book.slots.at(station))

    # What became true with the commit

    def remember(self) -> None:
        """Have what is known follow what was read; it was committed."""
        known, records = self._known, self._known.records
        known.used.remember(self._tariffs)
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
