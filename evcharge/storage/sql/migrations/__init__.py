"""The numbered scripts that bring a database to the schema of this evcharge, for Alembic."""
