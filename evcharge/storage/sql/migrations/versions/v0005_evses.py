"""Vehicles stand at EVSEs, of which no two are at one; stations have EVSEs, and tariffs."""

from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make stations and sessions anew, and add what is new."""
    money = sa.Numeric().with_variant(sa.Text(), "sqlite")
    op.create_table(
        "tariffs",
        sa.Column("tariff_id", sa.Text, primary_key=True),
        sa.Column("place", sa.Integer, nullable=False, comment="in the list"),
        sa.Column("body", sa.Text, nullable=False, comment="JSON: an OCPI 2.2.1 Tariff object"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_table_comment(
            "network",
            "One row: version goes up with each change of car_models, stations or tariffs",
        )
    op.add_column(
        "users",
        sa.Column(
            "car_key", sa.Text, comment="of the table car_models, which knows more of the car"
        ),
    )
    op.add_column(
        "users",
        sa.Column(
            "target_percent",
            sa.Double,
            nullable=False,
            server_default=sa.text("80"),
            comment="to which it is charged",
        ),
    )
    _make_stations(money)
    _make_sessions(money)


def _make_stations(money: "sa.Numeric[Any]") -> None:
    op.execute("CREATE TABLE stations_0004 AS SELECT * FROM stations")
    op.drop_table("stations")
    op.create_table(
        "stations",
        sa.Column("station_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("in_service", sa.Boolean, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("latitude", sa.Double, nullable=False, comment="degrees, WGS 84"),
        sa.Column("longitude", sa.Double, nullable=False, comment="degrees, WGS 84"),
        sa.Column("max_slots", sa.Integer, nullable=False),
        sa.Column("power_kw", sa.Double),
        sa.Column("price_kwh", money, comment="BRL"),
        sa.Column("connectors", sa.Text, nullable=False, comment="JSON list"),
        sa.Column(
            "other_columns",
            sa.Text,
            nullable=False,
            comment="JSON object: what else its CSV row had",
        ),
        sa.Column("evses", sa.Text, comment="JSON list, as in evses.json"),
        sa.Column("tariff_id", sa.Text, comment="of the table tariffs"),
        sa.Column("time_zone", sa.Text, comment="IANA name"),
    )
    op.execute(
        "INSERT INTO stations (station_id, in_service, name, address, latitude, longitude, "
        "max_slots, power_kw, price_kwh, connectors, other_columns) "
        "SELECT station_id, in_service, name, address, latitude, longitude, "
        "max_slots, power_kw, price_kwh, connectors, other_columns FROM stations_0004"
    )
    op.drop_table("stations_0004")


def _make_sessions(money: "sa.Numeric[Any]") -> None:
    connection = op.get_bind()
    op.execute("CREATE TABLE sessions_0004 AS SELECT * FROM sessions")
    for index in ("sessions_station_id", "sessions_estimated_timestamp"):
        op.drop_index(index, "sessions")
    op.drop_table("sessions")
    op.create_table(
        "sessions",
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("station_id", sa.Integer, nullable=False),
        sa.Column("evse_uid", sa.Text, nullable=False, comment="of the EVSE where it stands"),
        sa.Column(
            "estimated_timestamp", sa.Double, nullable=False, comment="end, seconds since the epoch"
        ),
        sa.Column("receipt_id", sa.Text, nullable=False),
        sa.Column("amount", money, nullable=False, comment="BRL"),
        sa.Column("charge_minutes", sa.Double, nullable=False),
        sa.Column("paid_timestamp", sa.Double, comment="seconds since the epoch"),
        sa.Column("connector", sa.Text, comment="its name"),
        sa.Column("start_percent", sa.Double, comment="state of charge"),
        sa.Column("target_percent", sa.Double, comment="state of charge"),
        sa.Column("energy_kwh", sa.Double, comment="what is charged"),
        sa.Column(
            "profile", sa.Text, comment="JSON list of pieces: kWh, kW at its begin, kW at its end"
        ),
        sa.Column("assumed", sa.Text, nullable=False, comment="JSON list: what was not known"),
        sa.Column(
            "clock",
            sa.Integer,
            nullable=False,
            server_default=sa.text("0"),
            comment="by which clock its instants are",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("sessions_evse", "sessions", ["station_id", "evse_uid"], unique=True)
    op.create_index("sessions_estimated_timestamp", "sessions", ["estimated_timestamp"])
    # Until now a station had slots alone: the first to end has the first of them. There may be
    # more vehicles than slots.
    standing = connection.execute(
        sa.text("SELECT station_id, estimated_timestamp, user_id FROM sessions_0004")
    ).all()
    move = sa.text(
        "INSERT INTO sessions (user_id, station_id, evse_uid, estimated_timestamp, receipt_id, "
        "amount, charge_minutes, paid_timestamp, assumed, clock) "
        "SELECT user_id, station_id, :evse_uid, estimated_timestamp, receipt_id, "
        "amount, charge_minutes, paid_timestamp, '[]', clock "
        "FROM sessions_0004 WHERE user_id = :user_id"
    )
    op.create_index("sessions_0004_user_id", "sessions_0004", ["user_id"])
    for station_id, rows in groupby(sorted(standing), key=lambda row: row.station_id):
        for number, row in enumerate(rows, 1):
            connection.execute(move, {"evse_uid": f"{station_id}-{number}", "user_id": row.user_id})
    op.drop_table("sessions_0004")
