"""The storage in an SQL database: one SQLite file, or PostgreSQL."""
