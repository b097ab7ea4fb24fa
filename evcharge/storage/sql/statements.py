"""The statements of a batch that drivers wait for, made once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Select, bindparam, delete, insert, select, union_all
from sqlalchemy.sql.dml import Delete, Insert
from sqlalchemy.sql.elements import BindParameter

from evcharge.models.receipts import Payment, Receipt
from evcharge.models.session import ChargingSession, Place
from evcharge.models.user import User
from evcharge.rules.operation import History
from evcharge.storage.sql import schema
from evcharge.storage.sql.databases import Database
from evcharge.storage.sql.rows import (
    PLACE,
    STATION_COLUMNS,
    payment_row,
    place_row,
    receipt_row,
    session_row,
    user_row,
)
from evcharge.storage.sql.used import used_row

_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_users, _sessions, _stations = schema.users.c, schema.sessions.c, schema.stations.c

# Made once: to make a statement costs more than to carry it out for one row.
FIND_USERS = select(schema.users).where(_users.user_id.in_(_ids))
LOCK_USERS = FIND_USERS.order_by(_users.user_id).with_for_update()
_waiting, _receipts = schema.waiting.c, schema.receipts.c
FIND_WHEREABOUTS = union_all(
    select(_sessions.user_id, _sessions.station_id).where(_sessions.user_id.in_(_ids)),
    select(_waiting.user_id, _waiting.station_id).where(_waiting.user_id.in_(_ids)),
)
"""At which stations users hold an EVSE, or wait for one."""
LOCK_STATIONS = (
    select(*STATION_COLUMNS, _stations.in_service)
    .where(_stations.station_id.in_(_ids))
    .order_by(_stations.station_id)
    .with_for_update()
)
LOCK_FREE_STATIONS = (
    select(*STATION_COLUMNS, _stations.in_service)
    .where(_stations.station_id.in_(_ids))
    .with_for_update(skip_locked=True)
)
FIND_STATION_IDS = select(_stations.station_id).where(_stations.station_id.in_(_ids))
FIND_SESSIONS = select(schema.sessions).where(_sessions.station_id.in_(_ids))
FIND_LINE = (
    select(schema.network.c.version, *PLACE, *schema.users.c)
    .select_from(
        schema.network.outerjoin(
            schema.waiting.join(schema.users, _users.user_id == _waiting.user_id),
            _waiting.station_id.in_(_ids),
        )
    )
    .order_by(_waiting.place)
)
"""Who waits at stations, and the version of the network, in each row; one row at least has that: to
ask for it by itself would take a statement more."""
FIND_WAITING = select(*PLACE, *schema.users.c).join(
    schema.users, _users.user_id == _waiting.user_id
)
"""Who waits anywhere."""
FIND_HOLDERS = select(_sessions.user_id).where(_sessions.evse_uid.in_(_ids))
FIND_RECEIPTS = select(schema.receipts).where(_receipts.receipt_id.in_(_ids))
FIND_BY_RECEIPT = select(_sessions.station_id).where(_sessions.receipt_id.in_(_ids))
DELETE_PLACE = delete(schema.waiting).where(_waiting.user_id == bindparam("id"))
DELETE_SESSION = delete(schema.sessions).where(_sessions.user_id == bindparam("id"))
DELETE_USER = delete(schema.users).where(_users.user_id == bindparam("id"))


def history(asked: History) -> Select[Any]:
    """Finds receipts of a driver, the newest first."""
    receipts = select(schema.receipts).where(_receipts.driver_id == asked.driver_id)
    if asked.before is not None:
        receipts = receipts.where(_receipts.receipt_id < asked.before)
    return receipts.order_by(_receipts.receipt_id.desc()).limit(asked.most)


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
        self._insert_places = ManyRows(insert(schema.waiting), dialect)
        self._delete_places = ManyRows(DELETE_PLACE, dialect)
        # The same receipt may be there by an attempt whose end was not seen.
        self._insert_receipts = ManyRows(database.insert_new(schema.receipts), dialect)
        self._insert_tariffs = ManyRows(database.insert_new(schema.tariffs_used), dialect)

    @classmethod
    def of(cls, database: Database) -> Changes:
        """Those of a kind of database, which are made once: that takes longer than most of them."""
        name = database.dialect.name
        if name not in _CHANGES:
            _CHANGES[name] = cls(database)
        return _CHANGES[name]

    def add_users(self, connection: Connection, users: Iterable[User]) -> int:
        """Add those of the users who are not there yet; how many they were."""
        return self._insert_users.execute(connection, map(user_row, users))

    def begin_sessions(self, connection: Connection, sessions: Iterable[ChargingSession]) -> None:
        """Have sessions take their slots."""
        self._insert_sessions.execute(connection, map(session_row, sessions))

    def list_payments(self, connection: Connection, payments: Iterable[Payment]) -> None:
        """Put payments in the list."""
        self._insert_payments.execute(connection, map(payment_row, payments))

    def end_sessions(self, connection: Connection, user_ids: Iterable[str]) -> None:
        """Free the slots that users hold."""
        self._delete_sessions.execute(connection, [{"id": user_id} for user_id in user_ids])

    def remove_users(self, connection: Connection, user_ids: Iterable[str]) -> None:
        """Remove users."""
        self._delete_users.execute(connection, [{"id": user_id} for user_id in user_ids])

    def take_places(self, connection: Connection, places: Iterable[Place]) -> None:
        """Have users wait in line."""
        self._insert_places.execute(connection, map(place_row, places))

    def leave_places(self, connection: Connection, user_ids: Iterable[str]) -> None:
        """Have users wait no more."""
        self._delete_places.execute(connection, [{"id": user_id} for user_id in user_ids])

    def issue_receipts(self, connection: Connection, receipts: Iterable[Receipt]) -> None:
        """Keep receipts."""
        self._insert_receipts.execute(connection, map(receipt_row, receipts))

    def use_tariffs(self, connection: Connection, bodies: Mapping[str, object]) -> None:
        """Keep tariffs, by their keys, which sessions or receipts go by."""
        # In one order: another process may be keeping some of the same.
        rows = [used_row(key, body) for key, body in sorted(bodies.items())]
        self._insert_tariffs.execute(connection, rows)


_CHANGES: dict[str, Changes] = {}
"""By the name of the dialect."""
