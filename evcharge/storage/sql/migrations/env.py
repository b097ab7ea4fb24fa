"""Runs the scripts over the connection that :mod:`evcharge.storage.sql.schema` hands in."""

from alembic import context

from evcharge.storage.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
# The transaction is the caller's: all scripts are carried out, or none is.
context.run_migrations()
