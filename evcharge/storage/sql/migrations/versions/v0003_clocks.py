"""By which clock an instant is, and what clocks there were."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    for table in ("users", "sessions", "payments"):
        op.add_column(
            table,
            sa.Column(
                "clock",
                sa.Integer,
                nullable=False,
                server_default=sa.text("0"),
                comment="by which clock its instants are",
            ),
        )
    op.create_index(
        "payments_clock",
        "payments",
        ["clock"],
        postgresql_where=sa.text("clock <> 0"),
        sqlite_where=sa.text("clock <> 0"),
    )
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False, comment="of the newest clock"),
        sa.Column(
            "marked_from",
            sa.Integer,
            comment="what is by this clock or a later one is by a wrong one",
        ),
        sa.Column("boot_id", sa.Text, nullable=False, comment="of the machine where it began"),
        sa.Column(
            "lead_s",
            sa.Double,
            nullable=False,
            comment="how far it is ahead of that machine's steady seconds",
        ),
        sa.Column("since", sa.Double, nullable=False, comment="when it began, by itself"),
        sa.Column(
            "moved_s",
            sa.Text,
            nullable=False,
            comment="JSON object: how far what is by an earlier clock was moved, seconds",
        ),
        comment="One row: what is known of the clocks that instants are by",
    )
