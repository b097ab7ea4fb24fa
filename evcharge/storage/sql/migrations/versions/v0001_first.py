"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    money = sa.Numeric().with_variant(sa.Text(), "sqlite")
    op.create_table(
        "network",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer, nullable=False),
        comment="One row: version goes up with each change of car_models or stations",
    )
    op.create_table(
        "car_models",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("place", sa.Integer, nullable=False, comment="in the catalogue"),
        sa.Column("facts", sa.Text, nullable=False, comment="JSON, as in car_models.json"),
    )
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
        sa.Column("price_kwh", money, nullable=False, comment="BRL"),
        sa.Column("connectors", sa.Text, nullable=False, comment="JSON list"),
        sa.Column(
            "other_columns",
            sa.Text,
            nullable=False,
            comment="JSON object: what else its CSV row had",
        ),
    )
    op.create_table(
        "users",
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("brand", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("battery_capacity_kwh", sa.Double, nullable=False),
        sa.Column("consumption_kwh_per_km", sa.Double, nullable=False),
        sa.Column("max_speed_km_h", sa.Double, nullable=False),
        sa.Column("ac_limit_kw", sa.Double),
        sa.Column("dc_limit_kw", sa.Double),
        sa.Column("battery_level_kwh", sa.Double, nullable=False),
        sa.Column(
            "created_timestamp", sa.Double, nullable=False, comment="seconds since the epoch"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("users_created_timestamp", "users", ["created_timestamp"])
    op.create_table(
        "sessions",
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("station_id", sa.Integer, nullable=False),
        sa.Column(
            "estimated_timestamp", sa.Double, nullable=False, comment="end, seconds since the epoch"
        ),
        sa.Column("receipt_id", sa.Text, nullable=False),
        sa.Column("amount", money, nullable=False, comment="BRL"),
        sa.Column("charge_minutes", sa.Double, nullable=False),
        sa.Column("paid_timestamp", sa.Double, comment="seconds since the epoch"),
        sqlite_with_rowid=False,
    )
    op.create_index("sessions_station_id", "sessions", ["station_id", "estimated_timestamp"])
    op.create_index("sessions_estimated_timestamp", "sessions", ["estimated_timestamp"])
    op.create_table(
        "payments",
        sa.Column("receipt_id", sa.Text, primary_key=True),
        sa.Column("paid_timestamp", sa.Double, comment="seconds since the epoch"),
        sa.Column("station_id", sa.Integer, nullable=False),
        sa.Column("amount", money, nullable=False, comment="BRL"),
        sa.Column(
            "user_start",
            sa.Text,
            nullable=False,
            comment="the first characters of the user's id",
        ),
        sqlite_with_rowid=False,
    )
