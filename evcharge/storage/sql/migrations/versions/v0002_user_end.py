"""Payments name the user by the end of the id, which is random; the start of it is the time."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the column; what is in it stays."""
    op.alter_column("payments", "user_start", new_column_name="user_end")
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("payments", "user_end", comment="the last characters of the user's id")
