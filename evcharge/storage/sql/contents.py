"""Everything in a database, read and written as a whole: what copies one storage into another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, delete, func, insert, literal, select
from sqlalchemy.exc import DBAPIError

from evcharge.datasets import DatasetError
from evcharge.models.receipts import Payment, Receipt
from evcharge.models.session import ChargingSession
from evcharge.storage import StorageError
from evcharge.storage.contents import Contents, right
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.sql import clocks as sql_clocks
from evcharge.storage.sql import network, schema
from evcharge.storage.sql.databases import Database, first_line
from evcharge.storage.sql.rows import (
    car_row,
    payment_row,
    place_row,
    receipt_of,
    receipt_row,
    session_of,
    session_row,
    station_row,
    status_rows,
    tariff_rows,
    user_of,
    user_row,
)
from evcharge.storage.sql.standing import Standing
from evcharge.storage.sql.used import UsedTariffs, tariff_of, used_row

T = TypeVar("T")

CHUNK = 1000
"""Rows that a copy reads and writes at a time."""


@contextlib.contextmanager
def explained(database: Database) -> Iterator[None]:
    """StorageError for what the database says."""
    try:
        yield
    except DBAPIError as error:
        raise StorageError(f"{database.name}: {first_line(error)}") from None
    except (TryAgain, DatasetError) as error:
        raise StorageError(str(error)) from None


def prepare(database: Database, connection: Connection) -> None:
    """
    Bring the schema up to date.

    :raise StorageError: another program, or a newer evcharge, made its tables; or the database
        cannot keep every text.
    """
    database.check(connection)
    if schema.version(connection) == schema.HEAD:
        return
    try:
        schema.upgrade(connection)
    except schema.NewerSchema as error:
        raise StorageError(
            f"{database.name}: was made by a newer evcharge, or by another program ({error})"
        ) from None


@contextlib.contextmanager
def read(database: Database) -> Iterator[Contents]:
    """
    Everything in the database, read in one transaction, as it was when that began.

    :raise StorageError: it is in use (SQLite), cannot be reached, or has no tables of ours.
    """
    with explained(database):
        database.acquire()
        try:
            with database.begin(write=False) as connection:
                yield _contents(database, connection)
        finally:
            database.release()


def _contents(database: Database, connection: Connection) -> Contents:
    database.check(connection)
    version = schema.version(connection)
    if version is None:
        raise StorageError(f"{database.name}: has no tables of evcharge")
    if version != schema.HEAD:
        raise StorageError(
            f"{database.name}: has tables of version {version}, not {schema.HEAD}; "
            "start the server of this evcharge on it first, or use a newer one"
        )
    clocks = sql_clocks.read(connection)
    sessions, stations = schema.sessions.c, schema.stations.c
    known = select(stations.station_id)
    lost = connection.execute(
        select(sessions.station_id).where(sessions.station_id.not_in(known)).limit(1)
    ).scalar()
    if lost is not None:
        raise StorageError(
            f"{database.name}: sessions stand at station {lost}, which is not in the table stations"
        )
    there, _ = network.whole(connection, lock=False)
    streamed = (schema.users, schema.sessions, schema.receipts, schema.payments)
    # All of them, however many: what is not there would be lost.
    used = {row.key: tariff_of(row.body) for row in connection.execute(select(schema.tariffs_used))}
    standing = Standing(connection, clocks, UsedTariffs())
    counts = [
        connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in streamed
    ]
    return Contents(
        car_models=there.car_models,
        tariffs=there.tariffs,
        stations=list(there.stations.values()),
        users=_rows(
            database, connection, select(schema.users), lambda row: clocks.copy(user_of(row, {}))
        ),
        sessions=_rows(
            database,
            connection,
            select(schema.sessions).order_by(sessions.station_id),
            lambda row: clocks.copy(session_of(row, used)),
        ),
        receipts=_rows(
            database,
            connection,
            select(schema.receipts).order_by(schema.receipts.c.receipt_id),
            lambda row: receipt_of(row, used),
        ),
        waiting=[clocks.named(place) for place in standing.line({})],
        statuses=network.statuses(connection),
        payments=_rows(
            database,
            connection,
            select(schema.payments),
            lambda row: right(Payment(**row._mapping), clocks),
        ),
        count=sum(counts),
        clocks=clocks.copied(),
    )


def _rows(
    database: Database, connection: Connection, query: Any, of: Callable[[Any], T]
) -> Iterator[T]:
    """What a query finds, a part at a time."""
    # Whoever asks for the next one may be writing to another database.
    with explained(database):
        for row in connection.execute(query, execution_options={"yield_per": CHUNK}):
            yield of(row)


def write(database: Database, contents: Contents) -> None:
    """
    Fill the database, its tables made where they are missing, in one transaction.

    :raise StorageError: it is in use (SQLite), cannot be reached, has something in its tables,
        or cannot keep a part of this.
    """
    with explained(database):
        database.acquire()
        try:
            with database.begin(write=True) as connection:
                prepare(database, connection)
                _write(database, connection, contents)
        finally:
            database.release()


def _write(database: Database, connection: Connection, contents: Contents) -> None:
    # First, as the key keeps another process from filling the tables at the same time.
    version = connection.execute(select(func.max(schema.network.c.version))).scalar()
    connection.execute(delete(schema.network))
    connection.execute(insert(schema.network).values(id=1, version=(version or 0) + 1))
    sql_clocks.fill(connection, contents.clocks)
    for table in schema.metadata.sorted_tables:
        if table in (schema.network, schema.clock):
            continue
        if connection.execute(select(literal(1)).select_from(table).limit(1)).scalar():
            raise StorageError(
                f"{database.name}: is not empty: the table {table.name} has rows (a "
                "server fills a database with the shipped network when it starts on it); name "
                "a new database, or drop this one's tables"
            )
    used = _Used()
    for table, rows in (
        (
            schema.car_models,
            (
                car_row(place, name, facts)
                for place, (name, facts) in enumerate(contents.car_models.items())
            ),
        ),
        (schema.tariffs, tariff_rows(contents.tariffs)),
        (schema.stations, map(station_row, contents.stations)),
        (schema.users, map(user_row, contents.users)),
        (schema.sessions, map(used.of_session, contents.sessions)),
        (schema.waiting, map(place_row, contents.waiting)),
        (schema.evse_status, status_rows(contents.statuses)),
        (schema.receipts, map(used.of_receipt, contents.receipts)),
        (schema.payments, map(payment_row, contents.payments)),
    ):
        _insert(database, connection, table, rows)
    rows = [used_row(key, body) for key, body in used.bodies.items()]
    _insert(database, connection, schema.tariffs_used, rows)


class _Used:
    """The tariffs of what is being written."""

    def __init__(self) -> None:
        self.bodies: dict[str, object] = {}

    def of_session(self, session: ChargingSession) -> Mapping[str, Any]:
        """The row of a session."""
        row = session_row(session)
        if session.tariff is not None:
            self.bodies[row["tariff_key"]] = session.tariff.body
        return row

    def of_receipt(self, receipt: Receipt) -> Mapping[str, Any]:
        """The row of a receipt."""
        row = receipt_row(receipt)
        if row["tariff_key"] is not None:
            self.bodies[row["tariff_key"]] = receipt.body["tariff"]
        return row


def _insert(
    database: Database, connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]
) -> None:
    rows = iter(rows)
    # A list of payments that was put together from several may name one more than once.
    repeatable = table is schema.payments
    statement = database.insert_new(table) if repeatable else insert(table)
    while chunk := list(islice(rows, CHUNK)):
        try:
            inserted = connection.execute(statement, chunk).rowcount
        except (DBAPIError, ArithmeticError, ValueError) as error:
            raise StorageError(
                f"{database.name}: table {table.name}: {first_line(error)}"
            ) from None
        if repeatable and inserted != len(chunk):
            _compare(connection, chunk)


def _compare(connection: Connection, payments: list[Mapping[str, Any]]) -> None:
    """StorageError: the table says something else of one of `payments`."""
    receipts = schema.payments.c.receipt_id
    query = select(schema.payments).where(receipts.in_([p["receipt_id"] for p in payments]))
    there = {row.receipt_id: dict(row._mapping) for row in connection.execute(query)}
    for payment in payments:
        if there[payment["receipt_id"]] != payment:
            raise StorageError(
                f"payment {payment['receipt_id']}: stands twice in the list, and differs"
            )
