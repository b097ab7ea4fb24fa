"""
The tables of the SQL storage, and how a database comes to have them.

The numbered scripts in `migrations/versions` make every database, a new one too; the tables here
are what statements are made of, and a test holds the one against the other.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    inspect,
    select,
    text,
    true,
)
from sqlalchemy.types import TypeDecorator

HEAD = "0006"
"""The version that this evcharge works with: the last of the scripts."""


class DecimalText(TypeDecorator[Decimal]):
    """A decimal number as text: SQLite has no exact type for one."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Any) -> Decimal | None:
        return None if value is None else Decimal(value)


def _money() -> Numeric[Decimal]:
    return Numeric().with_variant(DecimalText(), "sqlite")


def _clock() -> Column[int]:
    return Column(
        "clock",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="by which clock its instants are",
    )


metadata = MetaData()

network = Table(
    "network",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    comment="One row: version goes up with each change of car_models, stations or tariffs",
)

car_models = Table(
    "car_models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("place", Integer, nullable=False, comment="in the catalogue"),
    Column("facts", Text, nullable=False, comment="JSON, as in car_models.json"),
)

stations = Table(
    "stations",
    metadata,
    Column("station_id", Integer, primary_key=True, autoincrement=False),
    Column("in_service", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("latitude", Double, nullable=False, comment="degrees, WGS 84"),
    Column("longitude", Double, nullable=False, comment="degrees, WGS 84"),
    Column("max_slots", Integer, nullable=False),
    Column("power_kw", Double),
    Column("price_kwh", _money(), comment="BRL"),
    Column("connectors", Text, nullable=False, comment="JSON list"),
    Column("other_columns", Text, nullable=False, comment="JSON object: what else its CSV row had"),
    Column("evses", Text, comment="JSON list, as in evses.json"),
    Column("tariff_id", Text, comment="of the table tariffs"),
    Column("time_zone", Text, comment="IANA name"),
)

tariffs = Table(
    "tariffs",
    metadata,
    Column("tariff_id", Text, primary_key=True),
    Column("place", Integer, nullable=False, comment="in the list"),
    Column("body", Text, nullable=False, comment="JSON: an OCPI 2.2.1 Tariff object"),
)

users = Table(
    "users",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("user_name", Text, nullable=False),
    Column("car", Text, nullable=False, comment="JSON object: its model, and its battery in kWh"),
    Column("created_timestamp", Double, nullable=False, comment="seconds since the epoch"),
    _clock(),
    Column("car_key", Text, comment="of the table car_models, which knows more of the car"),
    Column(
        "target_percent",
        Double,
        nullable=False,
        server_default=text("80"),
        comment="to which it is charged",
    ),
    Column("driver_id", Text, comment="of the first journey; null: its own"),
    Index("users_created_timestamp", "created_timestamp"),
    # Ids made one after another are neighbours: kept in their own order, many rows go to one page.
    sqlite_with_rowid=False,
)

sessions = Table(
    "sessions",
    metadata,
    # No foreign key: a paid slot is held until its end, though its user's record were lost.
    Column("user_id", Text, primary_key=True),
    Column("station_id", Integer, nullable=False),
    Column("evse_uid", Text, nullable=False, comment="of the EVSE where it stands"),
    Column("estimated_timestamp", Double, nullable=False, comment="end, seconds since the epoch"),
    Column("receipt_id", Text, nullable=False),
    Column("amount", _money(), nullable=False, comment="BRL"),
    Column("charge_minutes", Double, nullable=False),
    Column("paid_timestamp", Double, comment="seconds since the epoch"),
    Column("connector", Text, comment="its name"),
    Column("start_percent", Double, comment="state of charge"),
    Column("target_percent", Double, comment="state of charge"),
    Column("energy_kwh", Double, comment="what is charged"),
    Column("profile", Text, comment="JSON list of pieces: kWh, kW at its begin, kW at its end"),
    Column("assumed", Text, nullable=False, comment="JSON list: what was not known"),
    _clock(),
    Column("state", Text, nullable=False, server_default=text("'CHARGING'")),
    Column("since_timestamp", Double, comment="of the state, seconds since the epoch"),
    Column(
        "due_timestamp",
        Double,
        nullable=False,
        server_default=text("0"),
        comment="next deadline, seconds since the epoch",
    ),
    Column("expires_timestamp", Double, comment="seconds since the epoch"),
    Column("leaves_when_done", Boolean, nullable=False, server_default=true()),
    Column("reserved_timestamp", Double, comment="seconds since the epoch"),
    Column("started_timestamp", Double, comment="seconds since the epoch"),
    Column("stopped_timestamp", Double, comment="seconds since the epoch"),
    Column("tariff_key", Text, comment="of the table tariffs_used"),
    Column("driver_id", Text),
    # The database itself refuses an EVSE that would be given twice.
    Index("sessions_evse", "station_id", "evse_uid", unique=True),
    Index("sessions_due_timestamp", "due_timestamp"),
    sqlite_with_rowid=False,
)

waiting = Table(
    "waiting",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("station_id", Integer, nullable=False),
    Column("place", Integer, nullable=False, comment="in line: the lowest number is the first"),
    Column("joined_timestamp", Double, nullable=False, comment="seconds since the epoch"),
    Column("arrival_minutes", Double, nullable=False),
    Column("arrival_percent", Double, nullable=False, comment="state of charge"),
    Column("target_percent", Double, nullable=False, comment="state of charge"),
    _clock(),
    Index("waiting_place", "station_id", "place", unique=True),
    sqlite_with_rowid=False,
)

evse_status = Table(
    "evse_status",
    metadata,
    Column("evse_uid", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("since", Text, nullable=False, comment="ISO 8601, UTC"),
    Column("reason", Text),
)

tariffs_used = Table(
    "tariffs_used",
    metadata,
    Column("key", Text, primary_key=True, comment="by its content"),
    Column("body", Text, nullable=False, comment="JSON: an OCPI 2.2.1 Tariff object"),
)

receipts = Table(
    "receipts",
    metadata,
    Column("receipt_id", Text, primary_key=True),
    Column("driver_id", Text, nullable=False),
    Column("user_end", Text, nullable=False, comment="the last characters of its id"),
    Column("paid_timestamp", Double, comment="ahead, seconds since the epoch"),
    Column("ended_timestamp", Double, nullable=False, comment="seconds since the epoch"),
    Column("tariff_key", Text, comment="of the table tariffs_used"),
    Column("body", Text, nullable=False, comment="JSON: the rest of it"),
    Index("receipts_driver_id", "driver_id", "receipt_id"),
    sqlite_with_rowid=False,
)

payments = Table(
    "payments",
    metadata,
    Column("receipt_id", Text, primary_key=True),
    Column("paid_timestamp", Double, comment="seconds since the epoch"),
    Column("station_id", Integer, nullable=False),
    Column("amount", _money(), nullable=False, comment="BRL"),
    Column("user_end", Text, nullable=False, comment="the last characters of the user's id"),
    _clock(),
    Column("refund_of", Text, comment="receipt of which it is the difference"),
    # Of those few that a wrong clock has marked.
    Index(
        "payments_clock",
        "clock",
        postgresql_where=text("clock <> 0"),
        sqlite_where=text("clock <> 0"),
    ),
    sqlite_with_rowid=False,
)

clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False, comment="of the newest clock"),
    Column(
        "marked_from", Integer, comment="what is by this clock or a later one is by a wrong one"
    ),
    Column("boot_id", Text, nullable=False, comment="of the machine where it began"),
    Column(
        "lead_s",
        Double,
        nullable=False,
        comment="how far it is ahead of that machine's steady seconds",
    ),
    Column("since", Double, nullable=False, comment="when it began, by itself"),
    Column(
        "moved_s",
        Text,
        nullable=False,
        comment="JSON object: how far what is by an earlier clock was moved, seconds",
    ),
    comment="One row: what is known of the clocks that instants are by",
)

_alembic_version = Table("alembic_version", MetaData(), Column("version_num", Text))


class NewerSchema(Exception):
    """The database was made by a newer evcharge."""


def version(connection: Connection) -> str | None:
    """The version of the schema that the database has; None where it has none."""
    if not inspect(connection).has_table(_alembic_version.name):
        return None
    found: str | None = connection.execute(select(_alembic_version.c.version_num)).scalar()
    return found


def upgrade(connection: Connection, revision: str = "head") -> None:
    """
    Bring the database to `revision`, in the transaction of `connection`.

    :raise NewerSchema: the database has a version that no script here makes.
    """
    # Alembic takes a while to import, and is needed once in the life of a database.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "evcharge:storage/sql/migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise NewerSchema(str(error)) from None
