"""A car is one value: what more is known of cars needs no more columns."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CHUNK = 1000
"""Users that are written at a time: there may be more than memory holds."""

FIGURES = (
    "brand",
    "model",
    "battery_capacity_kwh",
    "consumption_kwh_per_km",
    "max_speed_km_h",
    "ac_limit_kw",
    "dc_limit_kw",
)


def upgrade() -> None:
    """Make the table anew, its users beside it meanwhile."""
    connection = op.get_bind()
    op.execute("CREATE TABLE users_0003 AS SELECT * FROM users")
    op.drop_index("users_created_timestamp", "users")
    op.drop_table("users")
    users = op.create_table(
        "users",
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column(
            "car", sa.Text, nullable=False, comment="JSON object: its model, and its battery in kWh"
        ),
        sa.Column(
            "created_timestamp", sa.Double, nullable=False, comment="seconds since the epoch"
        ),
        sa.Column(
            "clock",
            sa.Integer,
            nullable=False,
            server_default=sa.text("0"),
            comment="by which clock its instants are",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("users_created_timestamp", "users", ["created_timestamp"])
    # By a database's own functions a figure would not come out exactly as it was.
    some = sa.text("SELECT * FROM users_0003 WHERE user_id > :after ORDER BY user_id LIMIT :most")
    after = ""
    while rows := connection.execute(some, {"after": after, "most": CHUNK}).all():
        connection.execute(sa.insert(users), [_row(row._mapping) for row in rows])
        after = rows[-1].user_id
    op.drop_table("users_0003")


def _row(row: sa.RowMapping) -> dict[str, object]:
    car = {
        "model": {name: row[name] for name in FIGURES},
        "battery_level_kwh": row["battery_level_kwh"],
    }
    return {
        **{name: row[name] for name in ("user_id", "user_name", "created_timestamp", "clock")},
        "car": json.dumps(car, ensure_ascii=False),
    }
