"""Sessions have states and receipts, and drivers wait in line."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SINCE_EPOCH = "seconds since the epoch"


def upgrade() -> None:
    """Have vehicles charge that stand there, and add what is new."""
    op.add_column(
        "users", sa.Column("driver_id", sa.Text, comment="of the first journey; null: its own")
    )
    op.add_column(
        "payments", sa.Column("refund_of", sa.Text, comment="receipt of which it is the difference")
    )
    for column in (
        sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'CHARGING'")),
        sa.Column("since_timestamp", sa.Double, comment="of the state, seconds since the epoch"),
        sa.Column(
            "due_timestamp",
            sa.Double,
            nullable=False,
            server_default=sa.text("0"),
            comment="next deadline, seconds since the epoch",
        ),
        sa.Column("expires_timestamp", sa.Double, comment=SINCE_EPOCH),
        sa.Column("leaves_when_done", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("reserved_timestamp", sa.Double, comment=SINCE_EPOCH),
        sa.Column("started_timestamp", sa.Double, comment=SINCE_EPOCH),
        sa.Column("stopped_timestamp", sa.Double, comment=SINCE_EPOCH),
        sa.Column("tariff_key", sa.Text, comment="of the table tariffs_used"),
        sa.Column("driver_id", sa.Text),
    ):
        op.add_column("sessions", column)
    op.execute("UPDATE sessions SET due_timestamp = estimated_timestamp")
    op.drop_index("sessions_estimated_timestamp", "sessions")
    op.create_index("sessions_due_timestamp", "sessions", ["due_timestamp"])
    op.create_table(
        "waiting",
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("station_id", sa.Integer, nullable=False),
        sa.Column(
            "place", sa.Integer, nullable=False, comment="in line: the lowest number is the first"
        ),
        sa.Column("joined_timestamp", sa.Double, nullable=False, comment=SINCE_EPOCH),
        sa.Column("arrival_minutes", sa.Double, nullable=False),
        sa.Column("arrival_percent", sa.Double, nullable=False, comment="state of charge"),
        sa.Column("target_percent", sa.Double, nullable=False, comment="state of charge"),
        sa.Column(
            "clock",
            sa.Integer,
            nullable=False,
            server_default=sa.text("0"),
            comment="by which clock its instants are",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("waiting_place", "waiting", ["station_id", "place"], unique=True)
    op.create_table(
        "evse_status",
        sa.Column("evse_uid", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("since", sa.Text, nullable=False, comment="ISO 8601, UTC"),
        sa.Column("reason", sa.Text),
    )
    op.create_table(
        "tariffs_used",
        sa.Column("key", sa.Text, primary_key=True, comment="by its content"),
        sa.Column("body", sa.Text, nullable=False, comment="JSON: an OCPI 2.2.1 Tariff object"),
    )
    op.create_table(
        "receipts",
        sa.Column("receipt_id", sa.Text, primary_key=True),
        sa.Column("driver_id", sa.Text, nullable=False),
        sa.Column("user_end", sa.Text, nullable=False, comment="the last characters of its id"),
        sa.Column("paid_timestamp", sa.Double, comment="ahead, seconds since the epoch"),
        sa.Column("ended_timestamp", sa.Double, nullable=False, comment=SINCE_EPOCH),
        sa.Column("tariff_key", sa.Text, comment="of the table tariffs_used"),
        sa.Column("body", sa.Text, nullable=False, comment="JSON: the rest of it"),
        sqlite_with_rowid=False,
    )
    op.create_index("receipts_driver_id", "receipts", ["driver_id", "receipt_id"])
