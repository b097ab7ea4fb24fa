"""A batch of operations on a database: its statements, and what it has come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

import attrs
from sqlalchemy import Connection, Dialect, bindparam, delete, insert, select
from sqlalchemy.sql.dml import Delete, Insert
from sqlalchemy.sql.elements import BindParameter

from evcharge.models.station import ChargingSession, Station, StationState
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks, D
from evcharge.rules.journey import TakeSlot
from evcharge.rules.operation import Operation
from evcharge.storage.contents import Payment
from evcharge.storage.sql import schema
from evcharge.storage.sql.databases import Database
from evcharge.storage.sql.network import Network
from evcharge.storage.sql.rows import payment_row, session_row, user_row

T = TypeVar("T")

_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_users, _sessions, _stations = schema.users.c, schema.sessions.c, schema.stations.c

# Made once: to make a statement costs more than to carry it out for one row.
FIND_USERS = select(schema.users).where(_users.user_id.in_(_ids))
LOCK_USERS = FIND_USERS.order_by(_users.user_id).with_for_update()
FIND_SESSIONS = select(schema.sessions).where(_sessions.user_id.in_(_ids))
LOCK_STATIONS = (
    select(schema.stations)
    .where(_stations.station_id.in_(_ids), _stations.in_service)
    .order_by(_stations.station_id)
    .with_for_update()
)
DELETE_SESSION = delete(schema.sessions).where(_sessions.user_id == bindparam("id"))
DELETE_USER = delete(schema.users).where(_users.user_id == bindparam("id"))


@attrs.define
class Batch:
    """What is done while a batch is carried out, and becomes true with its commit."""

    began: float
    operations: Sequence[Operation[Any]]
    clocks: Clocks
    """By which the rows are."""
    results: list[Any] = attrs.field(
        default=attrs.Factory(lambda self: [None] * len(self.operations), takes_self=True)
    )
    users: dict[str, User] = attrs.field(factory=dict)
    """Users that were read or added."""
    begun: list[ChargingSession] = attrs.field(factory=list)
    """Sessions that took a slot."""
    gone: set[str] = attrs.field(factory=set)
    """Users who were removed, from the slots that they held too."""
    written: bool = False
    """Whether a row was changed or locked: then its commit is, in the end, durable with all that
    was committed before it."""
    changed: set[int] = attrs.field(factory=set)
    """Stations whose slots have changed."""
    network: Network | None = None
    """Read anew, where it has changed."""
    states: dict[int, StationState] = attrs.field(factory=dict)
    all_states: bool = False
    """Whether `states` are all there are; else they are those that changed."""
    all_begun: bool = False
    """Whether `begun` are all sessions, read anew, and no user in memory is right any more."""

    def of(self, kind: type[T]) -> list[tuple[int, T]]:
        """The operations of a kind, each with its place."""
        return [(n, op) for n, op in enumerate(self.operations) if isinstance(op, kind)]

    def true(self, of: Callable[[Any], D]) -> Callable[[Any], D]:
        """What reads records of rows by `of`, as they are in truth."""
        return (lambda row: self.clocks.true(of(row))) if self.clocks.moved_s else of


class ManyRows:
    """
    A statement for many rows at a time, which the driver is handed as they are.

    That costs a third of what SQLAlchemy takes to look at each.
    """

    def __init__(self, statement: Insert | Delete, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        order: Sequence[str] | None = compiled.positiontup
        self._in_order: Callable[[dict[str, Any]], Any] | None = None
        """The values of a row as the driver wants them, where that is not by name."""
        if order is not None:
            # Of one name it would be a value, and no tuple.
            self._in_order = itemgetter(*order) if len(order) > 1 else lambda row: (row[order[0]],)
        columns = statement.table.columns
        self._converters = [
            (name, convert)
            for name in compiled.params
            if name in columns
            and (convert := columns[name].type.dialect_impl(dialect).bind_processor(dialect))
        ]
        """For the columns whose values the driver does not know."""

    def execute(self, connection: Connection, rows: Iterable[dict[str, Any]]) -> int:
        """Carry it out with `rows`, by column or parameter; how many rows of the table it took."""
        rows = list(rows)
        for name, convert in self._converters:
            for row in rows:
                row[name] = convert(row[name])
        parameters: list[Any] = rows
        if self._in_order is not None:
            parameters = list(map(self._in_order, rows))
        return connection.exec_driver_sql(self._sql, parameters).rowcount


class Changes:
    """The changes that are made to many rows at a time."""

    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        self._insert_users = ManyRows(database.insert_new(schema.users), dialect)
        self._insert_sessions = ManyRows(insert(schema.sessions), dialect)
        self._insert_payments = ManyRows(insert(schema.payments), dialect)
        self._delete_sessions = ManyRows(DELETE_SESSION, dialect)
        self._delete_users = ManyRows(DELETE_USER, dialect)

    def add_users(self, connection: Connection, users: Iterable[User]) -> int:
        """Add those of the users who are not there yet; how many they were."""
        return self._insert_users.execute(connection, map(user_row, users))

    def begin_sessions(
        self, connection: Connection, sessions: Sequence[ChargingSession], clocks: Clocks
    ) -> None:
        """Have sessions take their slots, and list their payments."""
        self._insert_sessions.execute(connection, map(session_row, sessions))
        payments = (Payment.of(session).listed(clocks) for session in sessions)
        self._insert_payments.execute(connection, map(payment_row, payments))

    def remove(self, connection: Connection, ids: Iterable[str]) -> None:
        """Remove users, and free the slots that they hold."""
        keys = [{"id": user_id} for user_id in ids]
        self._delete_sessions.execute(connection, keys)
        self._delete_users.execute(connection, keys)


def decide(
    operation: TakeSlot,
    users: Mapping[str, User],
    held: Mapping[str, ChargingSession],
    stations: Mapping[str, Station],
    free: Mapping[int, int],
) -> ChargingSession:
    """The session that holds the user's slot, or would; raises why there is none."""
    user = users.get(operation.user_id)
    if user is None:
        raise UnknownUser()
    session = held.get(operation.user_id)
    if session is not None and str(session.station_id) == operation.station_id:
        return session
    station = stations.get(operation.station_id)
    if station is None:
        raise UnknownStation(operation.station_id)
    if session is not None:
        raise SlotHeldElsewhere(session.station_id)
    if free[station.station_id] <= 0:
        raise NoFreeSlot(operation.station_id)
    return operation.plan(user, station)


def by_id(read: Callable[[Any], T], rows: Iterable[Any]) -> dict[str, T]:
    return {row[0]: read(row) for row in rows}
