"""The storage in an SQL database."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import attrs
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from evcharge.datasets import StationRows
from evcharge.models.catalogue import Catalogue
from evcharge.models.slots import SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks
from evcharge.rules.events import Event
from evcharge.rules.journey import ListStations
from evcharge.rules.network import FindCatalogue
from evcharge.rules.operation import Operation
from evcharge.rules.sessions import put_off
from evcharge.storage import Listener, Summary
from evcharge.storage.contents import Contents
from evcharge.storage.execute import execute
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.records import Records
from evcharge.storage.sql import clocks as sql_clocks
from evcharge.storage.sql import contents as copying
from evcharge.storage.sql import network, schema
from evcharge.storage.sql.databases import Database
from evcharge.storage.sql.known import Known
from evcharge.storage.sql.network import Network
from evcharge.storage.sql.rows import user_of
from evcharge.storage.sql.standing import Standing
from evcharge.storage.sql.statements import Changes
from evcharge.storage.sql.transaction import Transaction

R = TypeVar("R")

MOST_USERS_KEPT = 100_000
"""Users that memory holds at most, 0.35 KiB each."""


CARS_AGE_S = 0.5
"""How old the car models may be where others may change them, seconds."""


class SqlStorage:
    """
    A storage in a database.

    Where nobody else changes it, memory is true: it has the slots, and some of the users, so that
    rules decide from there and the database only records. Else each batch reads what it needs.

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
        self.records = Records(MOST_USERS_KEPT)
        self._database = database
        self._more_cars = more_cars
        self._more_stations = more_stations
        self._monotonic = monotonic
        self.listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._rewriting = sql_clocks.Rewriting(monotonic)
        self._changes = Changes.of(database)
        self._known = Known(self.records)
        self._alone = database.states_age_s is None

    # Opening

    def open(self, now: float) -> Summary:
        self._database.acquire()
        try:
            with copying.explained(self._database):
                with contextlib.suppress(DBAPIError, TryAgain):
                    return self._open(now)
                # Another process may have been making the same tables: then they are there now.
                return self._open(now)
        except BaseException:
            self._database.release()
            raise

    def _open(self, now: float) -> Summary:
        began = self._monotonic()
        with self._database.begin(write=True) as connection:
            copying.prepare(self._database, connection)
            network.fill(connection, self._more_cars, self._more_stations)
            sql_clocks.fill(connection)
            clocks = sql_clocks.read(connection)
            there = network.read(connection, known=-1)
            assert there is not None
            tables: Mapping[int, SlotTable] = {}
            states: Iterable[StationState] = ()
            standing = Standing(connection, clocks, self._known.used)
            if self._alone:
                tables = standing.everyone(there.catalogue.models)
                tables = _put_off(connection, self._changes, clocks, tables, now)
            else:
                every = there.stations.keys()
                states = standing.states(there, every).values()
            users = connection.execute(select(func.count()).select_from(schema.users)).scalar_one()
        self._known.network = there
        self._known.listed_at = self._known.looked_at = began
        self._known.listed_version = there.version
        self.records.clocks = clocks
        self._known.occupied = {state.station.station_id for state in states if state.is_occupied}
        self.records.states = Stations(states)
        if self._alone:
            self._take_in(there, tables)
        return Summary(len(there.stations), users)

    def _take_in(self, there: Network, tables: Mapping[int, SlotTable]) -> None:
        """Have memory know who stands where; `tables` have that, and no slots."""
        found: list[tuple[Station | None, SlotTable]] = []
        for station_id, station in there.stations.items():
            table = tables.get(station_id) or SlotTable(station_id, 0)
            found.append((station, attrs.evolve(table, max_slots=station.max_slots)))
        found += [(None, tables[at]) for at in tables.keys() - there.stations.keys()]
        self.records.statuses.update(there.statuses)
        self.records.put_stations(found)

    def close(self) -> None:
        with self._lock:
            self._database.release()

    # Reading

    def catalogue(self) -> Catalogue:
        return self._known.network.catalogue

    def recall(self, operation: Operation[R]) -> R | None:
        if type(operation) is FindCatalogue:
            is_known = self._alone or self._monotonic() - self._known.looked_at < CARS_AGE_S
            return cast(R, self.catalogue()) if is_known else None
        age = self._database.states_age_s
        if age is not None and (
            type(operation) is not ListStations or self._monotonic() - self._known.listed_at >= age
        ):
            return None
        return self.records.recall(operation)

    def users(self) -> Iterator[User]:
        with self._database.begin(write=False) as connection:
            rows = connection.execution_options(yield_per=1000).execute(select(schema.users))
            clocks, models = sql_clocks.read(connection), self.catalogue().models
            for row in rows:
                yield clocks.true(user_of(row, models))

    # Carrying out

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        with self._lock:
            return execute(self, operations)

    @contextlib.contextmanager
    def transaction(self, write: bool) -> Iterator[Transaction]:
        known, began = self._known, self._monotonic()
        try:
            with self._database.begin(write) as connection:
                transaction = Transaction(
                    self._database, connection, self._changes, self._rewriting, known, began
                )
                yield transaction
                known.leaving.update(transaction.removed)
        except DBAPIError as error:
            raise self._database.meaning(error) from error
        known.leaving.clear()
        transaction.remember()

    def apply(self, events: Sequence[Event]) -> None:
        # Else the database is asked anew.
        if self._alone:
            self.records.apply(events)

    # Copying

    def read_contents(self, now: float) -> contextlib.AbstractContextManager[Contents]:
        return copying.read(self._database)

    def write_contents(self, contents: Contents) -> None:
        copying.write(self._database, contents)


def _put_off(
    connection: Connection,
    changes: Changes,
    clocks: Clocks,
    tables: Mapping[int, SlotTable],
    now: float,
) -> Mapping[int, SlotTable]:
    """
    Who is where, when offers and reservations that ran out while no server was there hold a little
    longer.
    """
    after = {at: slots.each(lambda record: put_off(record, now)) for at, slots in tables.items()}
    late = [
        clocks.kept(session, None, clocks.anew(session.clock))
        for at, slots in after.items()
        if slots is not tables[at]
        for user_id, session in slots.sessions.items()
        if session is not tables[at].sessions[user_id]
    ]
    if late:
        changes.end_sessions(connection, [session.user_id for session in late])
        changes.begin_sessions(connection, late)
    return after
