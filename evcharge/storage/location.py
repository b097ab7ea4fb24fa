"""Which storage a person means: `files`, `sqlite:///…` or `postgresql://…`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from evcharge.datasets import StationRows
from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.storage import Storage
from evcharge.storage.contents import Copyable
from evcharge.storage.files.store import FileStorage

STORAGE_VARIABLE = "EVCHARGE_STORAGE"
"""The variable of the environment that names the storage: unlike a command line, it is private."""

FORMS = "files, files:DIRECTORY, sqlite:///FILE or postgresql://…"

_SECRET = re.compile(r"(?<=//)([^:/?]*:).*(?=@)|(password=)[^&\s]+", re.IGNORECASE)


def without_password(text: str) -> str:
    """`text` with `***` for whatever could be a password in a URL."""
    return _SECRET.sub(r"\1\2***", text)


class CopyableStorage(Storage, Copyable, Protocol):
    """A storage that can be copied as well."""


@attrs.frozen
class Location:
    """
    Where a storage is. Nothing is opened or looked at.

    :param kind: "files", "sqlite" or "postgresql".
    :param path: of the directory or the file, absolute.
    :param parameters: how PostgreSQL is reached, as libpq calls them.
    """

    kind: str
    name: str
    """For people: it has no password."""
    path: Path = Path()
    parameters: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def shareable(self) -> bool:
        """Whether several processes can serve it."""
        return self.kind != "files"

    def storage(
        self,
        more_cars: Mapping[str, Any] | None = None,
        more_stations: StationRows | None = None,
        shared: bool = False,
        terms: Terms = DEFAULT_TERMS,
    ) -> CopyableStorage:
        """
        The storage there, not open yet.

        :param more_cars: what to add to its network, and
        :param more_stations: likewise, where it does not have them.
        :param shared: whether other processes of the same server have it open too.
        :param terms: those of the network, as for :class:`FileStorage`.
        """
        if self.kind == "files":
            return FileStorage(self.path, more_cars, more_stations, terms)
        # Who keeps files need not wait for SQLAlchemy to be imported.
        from evcharge.storage.sql.databases import Database, Postgres, Sqlite
        from evcharge.storage.sql.store import SqlStorage

        database: Database = (
            Sqlite(self.path, shared) if self.kind == "sqlite" else Postgres(self.parameters)
        )
        return SqlStorage(database, more_cars, more_stations)


def parse(text: str, directory: str) -> Location:
    """
    Read what a person wrote.

    :param text: `files`, which means `directory`; `files:DIRECTORY`; or an URL as SQLAlchemy or
        libpq write them.
    :raise ValueError: it is none; says why, without a password.
    """
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme == "files":
        folder = rest.removeprefix("//") if colon else directory
        if not folder:
            raise ValueError(f"must name a directory: {FORMS}")
        return Location("files", os.path.abspath(folder), Path(os.path.abspath(folder)))
    kind = scheme.partition("+")[0]
    if colon and kind == "sqlite":
        return _sqlite(text)
    if colon and kind in ("postgresql", "postgres"):
        return _postgresql(text, scheme)
    raise ValueError(f"must be {FORMS}, not {without_password(text)!r}")


def _sqlite(text: str) -> Location:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError(f"{text!r} is no URL of an SQLite file: sqlite:///FILE") from None
    if url.drivername not in ("sqlite", "sqlite+pysqlite") or url.host or url.query:
        raise ValueError(f"{text!r}: only the file can be named: sqlite:///FILE")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ValueError(f"{text!r} names no file: sqlite:///FILE, sqlite:////absolute/FILE")
    path = os.path.abspath(url.database)
    return Location("sqlite", path, Path(path))


def _postgresql(text: str, scheme: str) -> Location:
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise ValueError(
            "needs psycopg, which is not installed: pip install 'evcharge[postgresql]'"
        ) from None
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError(f"{scheme}: PostgreSQL is reached by psycopg: postgresql://…")
    _, _, rest = text.partition(":")
    try:
        if text.count("host=") > 1:
            # SQLAlchemy's way to name several hosts, which libpq would read as the last one.
            url = make_url(f"postgresql+psycopg:{rest}")
            _, parameters = PGDialect_psycopg().create_connect_args(url)
        else:
            parameters = dict(conninfo_to_dict(f"postgresql:{rest}"))
    except (ProgrammingError, ArgumentError, ValueError):
        # What libpq says of it may repeat the password.
        raise ValueError(f"{without_password(text)!r} cannot be read as a PostgreSQL URL") from None
    parameters = {name: value for name, value in parameters.items() if name != "context"}
    return Location("postgresql", without_password(text), parameters=parameters)
