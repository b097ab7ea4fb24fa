"""
The storage in an SQL database: the rules of the journey as statements, many operations at a time.

Rows are locked in one order - users by id, then stations by id - so that processes which share the
database wait for one another but never in a ring. A sweep passes over what others have locked.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from evcharge.datasets import StationRows
from evcharge.models.station import ChargingSession, SlotTable, Station, StationState
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks
from evcharge.rules.journey import (
    AddUser,
    EndJourney,
    FindUser,
    ListStations,
    TakeSlot,
)
from evcharge.rules.operation import Operation
from evcharge.rules.sweep import Sweep, SweepResult
from evcharge.rules.timekeeping import ReadClock, SetClock, TimeTold
from evcharge.storage import Summary
from evcharge.storage.contents import Contents
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.sql import clocks as sql_clocks
from evcharge.storage.sql import contents as copying
from evcharge.storage.sql import network, schema
from evcharge.storage.sql import sweep as sql_sweep
from evcharge.storage.sql.databases import Database
from evcharge.storage.sql.network import COUNT_SOME_SESSIONS, Network
from evcharge.storage.sql.rows import session_of, station_of, user_of
from evcharge.storage.sql.statements import (
    FIND_SESSIONS,
    FIND_USERS,
    LOCK_STATIONS,
    LOCK_USERS,
    Batch,
    Changes,
    by_id,
    decide,
)

R = TypeVar("R")

MOST_USERS_KEPT = 100_000
"""Users that memory holds at most, 0.35 KiB each."""

MOST_SWEPT = 1000
"""Sessions, and users, that one sweep ends at most: drivers' requests wait for it."""


class SqlStorage:
    """
    A storage in a database.

    :param database: where it is.
    :param more_cars: models to add to its catalogue, and
    :param more_stations: stations to add to its own, where it does not have them; in a new
        database they take the place of the shipped ones.
    :param monotonic: seconds, by a clock that nobody sets.
    """

    def __init__(
        self,
        database: Database,
        more_cars: Mapping[str, Any] | None = None,
        more_stations: StationRows | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.patience_s = database.patience_s
        self.interrupt = database.interrupt
        self._database = database
        self._more_cars = more_cars
        self._more_stations = more_stations
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._clocks = Clocks()
        self._rewriting = sql_clocks.Rewriting(monotonic)
        self._network = Network(version=-1)
        self._states: dict[int, StationState] = {}
        self._listed: tuple[StationState, ...] = ()
        self._listed_at = float("-inf")
        self._alone = database.states_age_s is None
        """Whether memory is true: nobody else changes the database."""
        self._users: dict[str, User] = {}
        """Where we are alone: some users, the first to come the first to go."""
        self._slots: dict[int, SlotTable] = {}
        """Where we are alone: every slot table, those of stations out of service too."""
        self._held: dict[str, int] = {}
        """User id -> the station where the user stands: derived from `_slots`."""
        self._changes = Changes(database)
        self._in_doubt: set[str] = set()
        """Users whose removal was to be committed when the connection was lost."""

    # Opening

    def open(self, now: float) -> Summary:
        self._database.acquire()
        try:
            with contextlib.suppress(DBAPIError, TryAgain):
                return self._open()
            # Another process may have been making the same tables: then they are there now.
            with copying.explained(self._database):
                return self._open()
        except BaseException:
            self._database.release()
            raise

    def _open(self) -> Summary:
        with self._database.begin(write=True) as connection:
            copying.prepare(self._database, connection)
            network.fill(connection, self._more_cars, self._more_stations)
            sql_clocks.fill(connection)
            clocks = sql_clocks.read(connection)
            batch = Batch(self._monotonic(), [], clocks, all_states=True)
            batch.network = network.read(connection, self._network.version)
            if self._alone:
                self._read_sessions(batch, connection)
            else:
                batch.states = network.states(connection, batch.network or self._network, None)
            users = connection.execute(select(func.count()).select_from(schema.users)).scalar_one()
        self._remember(batch)
        return Summary(len(self._states), users)

    def close(self) -> None:
        with self._lock:
            self._database.release()

    # Reading

    def car_models(self) -> Mapping[str, Mapping[str, Any]]:
        return self._network.car_models

    def recall(self, operation: Operation[R]) -> R | None:
        age = self._database.states_age_s
        if type(operation) is FindUser:
            return cast("R | None", self._users.get(operation.user_id))
        if type(operation) is ListStations and (
            age is None or self._monotonic() - self._listed_at < age
        ):
            return cast(R, self._listed)
        return None

    def users(self) -> Iterator[User]:
        with self._database.begin(write=False) as connection:
            rows = connection.execution_options(yield_per=1000).execute(select(schema.users))
            clocks = sql_clocks.read(connection)
            for row in rows:
                yield clocks.true(user_of(row))

    # Carrying out

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        with self._lock:
            batch = Batch(self._monotonic(), operations, self._clocks)
            write = any(type(op) not in (FindUser, ListStations, ReadClock) for op in operations)
            try:
                with self._database.begin(write) as connection:
                    self._carry_out(batch, connection)
                    self._in_doubt |= batch.gone
            except DBAPIError as error:
                raise self._database.meaning(error) from error
            self._in_doubt.clear()
            self._remember(batch)
            for place, _ in batch.of(ListStations):
                batch.results[place] = self._listed
            return batch.results

    def _carry_out(self, batch: Batch, connection: Connection) -> None:
        added, found = batch.of(AddUser), batch.of(FindUser)
        taken, ended, swept = batch.of(TakeSlot), batch.of(EndJourney), batch.of(Sweep)
        # First, as it says by which clock all else is.
        self._see_to_clocks(batch, connection)
        if added:
            self._add_users(batch, connection, [operation for _, operation in added])
        if found:
            self._find_users(batch, connection, found)
        if taken or ended:
            # All of them before any station: see the head of this module.
            ids = {op.user_id for _, op in taken} | {op.user_id for _, op in ended}
            users = self._users_to_change(batch, connection, ids)
            held = self._sessions_of(batch, connection, ids)
            if taken:
                self._take_slots(batch, connection, taken, users, held)
            if ended:
                self._end_journeys(batch, connection, ended, users, held)
        for place, operation in swept:
            # The last to lock anything, and it waits for nothing: it cannot be part of a ring.
            batch.results[place] = self._sweep(batch, connection, operation)
        if added or taken or ended:
            # What these are told may be what an earlier commit has left, such as one that was tried
            # before and whose end was not seen.
            self._database.affirm(connection, batch.written)
        if self._alone:
            if batch.clocks.number != self._clocks.number:
                self._read_sessions(batch, connection)
            return
        if batch.of(ListStations) or batch.clocks.number != self._clocks.number:
            batch.network = network.read(connection, self._network.version)
            batch.states = network.states(connection, batch.network or self._network, None)
            batch.all_states = True
        elif batch.changed:
            batch.states = network.states(connection, self._network, batch.changed)

    def _see_to_clocks(self, batch: Batch, connection: Connection) -> None:
        """Set and read the clocks, where that is asked for or has to be known."""
        for place, operation in batch.of(SetClock):
            before = sql_clocks.read(connection, lock=True)
            after = operation.decide(before, partial(sql_clocks.newest, connection, before))
            if after is not before:
                sql_clocks.fill(connection, after)
                sql_clocks.move(connection, before, after)
            batch.clocks = batch.results[place] = after
            batch.written = True
        told = batch.of(ReadClock)
        if batch.clocks is self._clocks and not self._alone:
            newest = batch.clocks.number
            if told or any(op.clock is not None and op.clock > newest for op in batch.operations):
                batch.clocks = sql_clocks.read(connection)
        for place, asked in told:
            lead_s, error_s = self._database.lead_s(connection, asked.steady)
            batch.results[place] = TimeTold(batch.clocks, lead_s, error_s)

    def _read_sessions(self, batch: Batch, connection: Connection) -> None:
        """Read all sessions, for memory."""
        rows = connection.execute(select(schema.sessions))
        batch.begun = list(map(batch.true(session_of), rows))
        batch.users.clear()
        batch.all_begun = batch.all_states = True

    def _add_users(self, batch: Batch, connection: Connection, added: Sequence[AddUser]) -> None:
        clocks = batch.clocks
        users = [clocks.kept(op.user, op.clock, clocks.anew(op.clock)) for op in added]
        batch.written |= self._changes.add_users(connection, users) > 0
        for user in users:
            batch.users[user.user_id] = user

    def _find_users(
        self, batch: Batch, connection: Connection, found: list[tuple[int, FindUser]]
    ) -> None:
        wanted = {operation.user_id for _, operation in found}
        rows = connection.execute(FIND_USERS, {"ids": list(wanted)})
        users = by_id(batch.true(user_of), rows)
        batch.users.update(users)
        for place, operation in found:
            batch.results[place] = users.get(operation.user_id) or UnknownUser()

    def _take_slots(
        self,
        batch: Batch,
        connection: Connection,
        taken: list[tuple[int, TakeSlot]],
        users: dict[str, User],
        held: dict[str, ChargingSession],
    ) -> None:
        wanted = {operation.station_id for _, operation in taken}
        stations, free = self._stations_locked(batch, connection, wanted)
        clocks = batch.clocks
        for place, operation in taken:
            try:
                session = decide(operation, users, held, stations, free)
            except Refused as error:
                # As in memory: its traceback would make garbage of all that it came through.
                batch.results[place] = error.with_traceback(None)
                continue
            except Exception as error:
                batch.results[place] = error
                continue
            if operation.user_id not in held:
                session = clocks.kept(session, operation.clock, clocks.anew(operation.clock))
                held[session.user_id] = session
                free[session.station_id] -= 1
                batch.begun.append(session)
                batch.changed.add(session.station_id)
            batch.results[place] = session
        if batch.begun:
            self._changes.begin_sessions(connection, batch.begun, clocks)

    def _stations_locked(
        self, batch: Batch, connection: Connection, wanted: set[str]
    ) -> tuple[dict[str, Station], dict[int, int]]:
        """Those of the stations that are in service, by id as text; their free slots, by id."""
        ids = [int(text) for text in wanted if len(text) < 10 and text.isascii() and text.isdigit()]
        known = self._network.stations
        if self._alone:
            return (
                {str(number): known[number] for number in ids if number in known},
                {number: self._slots[number].available_slots for number in ids if number in known},
            )
        rows = connection.execute(LOCK_STATIONS, {"ids": ids}).all()
        batch.written |= bool(rows)
        # Counted by a statement of its own, begun with the stations locked: it sees every session.
        taken = {row[0]: row[1] for row in connection.execute(COUNT_SOME_SESSIONS, {"ids": ids})}
        return (
            {str(row.station_id): known.get(row.station_id) or station_of(row) for row in rows},
            {row.station_id: row.max_slots - taken.get(row.station_id, 0) for row in rows},
        )

    def _users_to_change(
        self, batch: Batch, connection: Connection, ids: set[str]
    ) -> dict[str, User]:
        """Those of the users who are there, locked."""
        known = {user_id: self._users[user_id] for user_id in ids & self._users.keys()}
        missing = ids - known.keys()
        if not missing:
            return known
        rows = connection.execute(LOCK_USERS, {"ids": list(missing)})
        found = by_id(batch.true(user_of), rows)
        batch.written |= bool(found)
        return known | found

    def _sessions_of(
        self, batch: Batch, connection: Connection, ids: set[str]
    ) -> dict[str, ChargingSession]:
        """The sessions of users."""
        if self._alone:
            return {
                user_id: self._slots[self._held[user_id]].sessions[user_id]
                for user_id in ids & self._held.keys()
            }
        rows = connection.execute(FIND_SESSIONS, {"ids": list(ids)})
        return by_id(batch.true(session_of), rows)

    def _end_journeys(
        self,
        batch: Batch,
        connection: Connection,
        ended: list[tuple[int, EndJourney]],
        users: dict[str, User],
        held: dict[str, ChargingSession],
    ) -> None:
        gone: set[str] = set()
        for place, operation in ended:
            user_id = operation.user_id
            if user_id in users and user_id not in gone:
                gone.add(user_id)
            elif user_id not in self._in_doubt:
                # Else it was removed by the attempt before this one, whose end was not seen.
                batch.results[place] = UnknownUser()
        if gone:
            self._changes.remove(connection, gone)
            batch.gone |= gone
            batch.changed.update(held[user_id].station_id for user_id in gone & held.keys())

    def _sweep(self, batch: Batch, connection: Connection, operation: Sweep) -> SweepResult:
        if not self._alone:
            batch.clocks = sql_clocks.read(connection)
        clocks = batch.clocks
        by_s = clocks.moved(operation.clock)
        more = self._rewriting.go_on(connection, clocks, operation.now + by_s)
        due = sql_sweep.due(connection, clocks, operation.now + by_s, MOST_SWEPT)
        # Those that a request has locked are left to the next sweep.
        ended = sql_sweep.free(connection, due.keys())
        if ended:
            self._changes.remove(connection, ended)
            batch.gone |= ended
            batch.changed.update(due[user_id] for user_id in ended)
        unpaid = sql_sweep.unpaid(connection, clocks, operation.logged_in_before + by_s, MOST_SWEPT)
        removed = set()
        if unpaid:
            # Looked at again now that they are locked: one may have paid in between.
            removed = unpaid - self._sessions_of(batch, connection, unpaid).keys()
            if removed:
                self._changes.remove(connection, removed)
            batch.gone |= removed
        more |= max(len(due), len(unpaid)) == MOST_SWEPT and bool(ended or removed)
        return SweepResult(len(ended), len(removed), more)

    # Copying

    def read_contents(self, now: float) -> contextlib.AbstractContextManager[Contents]:
        return copying.read(self._database)

    def write_contents(self, contents: Contents) -> None:
        copying.write(self._database, contents)

    # What memory keeps

    def _remember(self, batch: Batch) -> None:
        """What became true with the commit of `batch`."""
        self._clocks = batch.clocks
        if batch.network is not None:
            self._network = batch.network
        if self._alone:
            self._remember_alone(batch)
        if batch.all_states:
            self._states = batch.states
            self._listed_at = batch.began
        else:
            self._states.update(batch.states)
        if batch.states:
            self._listed = tuple(self._states.values())

    def _remember_alone(self, batch: Batch) -> None:
        """Where memory is true it follows what was done, and the states follow from it."""
        if batch.all_begun:
            for kept in (self._users, self._slots, self._held):
                kept.clear()
        for user_id, user in batch.users.items():
            if len(self._users) >= MOST_USERS_KEPT:
                del self._users[next(iter(self._users))]
            self._users[user_id] = user
        for session in batch.begun:
            slots = self._slots_at(session.station_id)
            self._slots[session.station_id] = slots.with_session(session)
            self._held[session.user_id] = session.station_id
        for user_id in batch.gone:
            self._users.pop(user_id, None)
            station_id = self._held.pop(user_id, None)
            if station_id is not None:
                self._slots[station_id] = self._slots[station_id].without(user_id)
        stations = self._network.stations
        changed = stations.keys() if batch.all_states else batch.changed & stations.keys()
        for station_id in changed:
            self._slots[station_id] = slots = self._slots_at(station_id)
            batch.states[station_id] = StationState.of(stations[station_id], slots)

    def _slots_at(self, station_id: int) -> SlotTable:
        slots = self._slots.get(station_id)
        if slots is not None:
            return slots
        station = self._network.stations.get(station_id)
        return SlotTable(station_id, station.max_slots if station is not None else 0)
