"""The two kinds of database: how each is reached, owned, and what its errors mean."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from select import POLLIN, POLLOUT, poll
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect, Double, cast, create_engine, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import Table
from sqlalchemy.sql.dml import Insert
from twisted.logger import Logger

from evcharge.storage import StorageError, StorageUnavailable
from evcharge.storage.durable import flush_file
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.lock import Lock
from evcharge.storage.private import private, warn_of_readers
from evcharge.storage.sql.network import LOCK_NETWORK
from evcharge.utils.permissions import USE_FILE, remedy


class StatementRefused(Exception):
    """
    A database does not carry out a statement.

    It says so in the first line of what the database says: further ones repeat rows.
    """


class Database(Protocol):
    """What the SQL storage needs to know of a database."""

    name: str
    """For messages: says where it is, without a password."""
    patience_s: float
    """As in :class:`evcharge.storage.Storage`."""
    states_age_s: float | None
    """How old the stations' states in memory may be, seconds; None where this process alone
    changes the database, so that its memory is true."""

    dialect: Dialect

    def acquire(self) -> None:
        """Own the database, as far as its kind wants it. StorageError: another process does."""

    def release(self) -> None:
        """Let go of it."""

    def begin(self, write: bool) -> contextlib.AbstractContextManager[Connection]:
        """A transaction, committed at the end of the block, or rolled back where it raises."""

    def affirm(self, connection: Connection, locked: bool) -> None:
        """
        Have what a transaction has found be for good with its commit, as an earlier one may have
        left what is not. It has, or has not, `locked` or changed a row.
        """

    def check(self, connection: Connection) -> None:
        """StorageError: the database cannot keep every text that a driver may send."""

    def lead_s(
        self, connection: Connection, steady: Callable[[], float]
    ) -> tuple[float | None, float]:
        """
        How far the database's own time is ahead of steady seconds, None where it is this machine's;
        and by how much that may be wrong.
        """

    def insert_new(self, table: Table) -> Insert:
        """An INSERT that passes over rows whose key is there."""

    def meaning(self, error: DBAPIError) -> Exception:
        """
        TryAgain, StorageUnavailable, or another exception where it is neither.

        What it says has no values of a row: ids of users are among them.
        """

    def interrupt(self) -> None:
        """Have a transaction that waits for the network end with an error."""


class Sqlite:
    """
    An SQLite file: in WAL mode, each commit flushed to the disk.

    :param path: made where it is missing, its folder too.
    :param shared: whether other processes of the same server have it open too.
    """

    log = Logger()
    patience_s = 30.0

    def __init__(self, path: Path, shared: bool = False) -> None:
        self.name = str(path)
        self.states_age_s = 0.0 if shared else None
        self._shared = shared
        # Whatever links lead to it, it has one lock, and SQLite's own files are beside it.
        self._path = Path(os.path.realpath(path))
        self._owned = Lock(self._path.with_name(self._path.name + "-lock"), self.name)
        self._file, self._wal, self._folder = str(path), f"{self._path}-wal", str(path.parent)
        self._linked = os.path.islink(path)
        self._identity: tuple[int, int] | None = None
        """Of the file that is open."""
        self._doubtful = shared
        """Whether there may be, in the WAL, a commit that failed in the end: it will count if all
        end before another one takes its place. What other processes met with is not known."""
        self._engine = create_engine(
            f"sqlite:///{self._path}", connect_args={"timeout": 5}, hide_parameters=True
        )
        self.dialect = self._engine.dialect
        event.listen(self._engine, "connect", self._connected)
        event.listen(self._engine, "begin", self._begun)

    @staticmethod
    def _connected(connection: Any, _: object) -> None:
        # Transactions are begun by ourselves: Python's module begins them late, and only to read.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -16000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @staticmethod
    def _begun(connection: Connection) -> None:
        # One that read before it wrote could find, too late, that another has written since.
        write = connection.get_execution_options().get("write", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    def acquire(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._make()
            self._owned.acquire(self._shared)
            self._identity = _identity(_stat(self._file))
            with contextlib.suppress(FileNotFoundError):
                flush_file(Path(self._wal))  # Who wrote it may have been killed before.
        except OSError as error:
            raise StorageError(
                f"{error.filename}: {error.strerror or error}"
                f"{remedy(error, Path(error.filename), self._path, is_folder=False)}"
            ) from None

    def _make(self) -> None:
        """Make the file, private, where it is missing. OSError: it, or one beside it, is no use."""
        # SQLite gives the files that it makes beside it the same mode.
        with contextlib.suppress(FileExistsError):
            os.close(private(str(self._path), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        for path in (f"{self._path}{part}" for part in ("", "-wal", "-shm")):
            # SQLite would not say which of them it may not use. Not by opening it: closing it
            # again would drop the locks that this process may have.
            if os.path.lexists(path) and not os.access(path, USE_FILE, effective_ids=True):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        if not self._shared:
            warn_of_readers(self.log, self._path)

    def release(self) -> None:
        self._engine.dispose()
        self._owned.release()

    @contextlib.contextmanager
    def begin(self, write: bool) -> Iterator[Connection]:
        with self._engine.connect().execution_options(write=write) as connection:
            try:
                with connection.begin():
                    connection.info["changes"] = _changes(connection)
                    yield connection
                    if write:
                        self._look(connection)
            except DBAPIError as error:
                # Of what there was no room for, or no turn, the end is not there.
                fails_early = any(word in str(error.orig) for word in ("full", *_OCCUPIED))
                self._doubtful |= not fails_early
                if not fails_early:
                    self._look(connection)  # SQLite has no words for a file that was removed.
                raise
            if write:
                try:
                    self._look(connection)
                except StorageUnavailable:
                    # What was committed may be nowhere, or come back: memory cannot follow that.
                    self._identity = _NOWHERE
                    raise
                if _changes(connection) != connection.info["changes"]:
                    self._doubtful = self._shared

    def affirm(self, connection: Connection, locked: bool) -> None:
        if not self._doubtful or _changes(connection) != connection.info["changes"]:
            return
        # Nobody uses this number. It stands in the file's first page, which so is written.
        number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {(number + 1) % 2**31}")
        connection.info["changes"] = None

    def _look(self, connection: Connection) -> None:
        """StorageUnavailable: the files that are open may not be those at their paths any more."""
        info = connection.info
        folder = _stat(self._folder)
        seen = folder and (folder.st_dev, folder.st_ino, folder.st_mtime_ns)
        # Whatever is removed or replaced changes its folder: this is looked at twice in a batch.
        if seen is not None and seen == info.get("folder"):
            return
        self._owned.check()
        wal = _stat(self._wal)
        for path, found, opened in (
            (self._file, _identity(_stat(self._file)), self._identity),
            (self._wal, _identity(wal), info.setdefault("wal", _identity(wal))),
        ):
            # SQLite goes on with files that were removed, in which nobody will find a thing.
            if found != opened:
                raise StorageUnavailable(
                    f"{path}: was removed or replaced under the server; put it back, or start the "
                    "server again"
                )
        # A folder's time is no finer than some milliseconds. That of the next change is another one
        # for sure where something was written since the last. A link has the WAL elsewhere.
        settled = folder and wal and wal.st_mtime_ns > folder.st_mtime_ns
        info["folder"] = seen if settled and not self._linked else None

    def check(self, connection: Connection) -> None:
        """Each of its encodings is one of Unicode's."""

    def lead_s(
        self, connection: Connection, steady: Callable[[], float]
    ) -> tuple[float | None, float]:
        return None, 0.0

    def insert_new(self, table: Table) -> Insert:
        return sqlite.insert(table).on_conflict_do_nothing()

    def meaning(self, error: DBAPIError) -> Exception:
        text = str(error.orig)
        if any(word in text for word in _OCCUPIED):
            return TryAgain(f"{self.name}: {text}")
        if type(error.orig).__name__ in ("OperationalError", "InternalError"):
            # A full disk, a file gone or read-only.
            return StorageUnavailable(f"{self.name}: {text}")
        return error

    def interrupt(self) -> None:
        """Nothing here waits for another machine."""


_OCCUPIED = ("locked", "busy")  # So says SQLite where another process has its turn.
_NOWHERE = (-1, -1)  # The identity of no file, not even of one that is not there.


def _changes(connection: Connection) -> int:
    """How many rows the connection has changed since it was made."""
    raw: Any = connection.connection.driver_connection
    return int(raw.total_changes)


def _stat(path: str) -> os.stat_result | None:
    """What there is at `path`; None where there is nothing."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    """What tells a file from others."""
    return found and (found.st_dev, found.st_ino)


# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SERIALIZATION = ("40001", "40P01", "55P03")
_CANCELLED = ("57014",)
_GONE = ("08", "57P", "25006")
_NO_ROOM = ("53", "58")

CANCEL_S = 2.0
"""How long the answer to a request to cancel a statement is waited for."""

_NOW = select(cast(func.extract("epoch", func.clock_timestamp()), Double))


class Postgres:
    """
    A PostgreSQL database, which any number of processes share.

    :param parameters: libpq's connection parameters.
    """

    # Whoever asks is answered within two seconds, also where the database is gone.
    patience_s = 1.5
    states_age_s: float | None = 0.5

    DEFAULTS: Mapping[str, str | int] = {
        "connect_timeout": 2,
        "application_name": "evcharge",
        # A peer that has vanished without a word is noticed soon, where the system can.
        "tcp_user_timeout": 5000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }
    OURS: Mapping[str, str] = {
        # Whatever the environment, the role or the URL say: text is any Unicode.
        "client_encoding": "utf8",
    }

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        # psycopg is an extra: who does without PostgreSQL need not have it.
        import psycopg

        self._psycopg = psycopg
        self._parameters = {**self.DEFAULTS, **parameters, **self.OURS}
        hosts = str(parameters.get("host") or parameters.get("hostaddr") or "the local socket")
        self.name = f"PostgreSQL database {parameters.get('dbname') or ''} on {hosts}"
        self._connection: Any = None
        self._unconfirmed = False
        """Whether the commit that was the last one did not wait for the standby to its end."""
        self._engine = create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            pool_size=1,
            max_overflow=1,
            # Slots are counted when their station is locked, so by what others have committed
            # by then; who only reads, by several statements, has all of it as of one moment.
            isolation_level="READ COMMITTED",
            hide_parameters=True,  # They are users' ids, which no log may have.
        )
        self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self.dialect = self._engine.dialect

    def _connect(self) -> Any:
        # None is prepared: a pooler on the way may give each transaction to another session.
        self._connection = self._psycopg.connect(prepare_threshold=None, **self._parameters)
        self._connection.add_notice_handler(self._noticed)
        return self._connection

    def _noticed(self, notice: Any) -> None:
        # By the function in PostgreSQL's source, as the text may be in any language: a statement
        # was cancelled, or took longer than the role may, while it waited for the standby.
        if notice.source_function == "SyncRepWaitForLSN":
            self._unconfirmed = True

    def acquire(self) -> None:
        """Nothing to own: the database itself keeps its users apart."""

    def release(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def begin(self, write: bool) -> Iterator[Connection]:
        self._unconfirmed = False
        with (self._engine if write else self._reader).begin() as connection:
            yield connection
        if self._unconfirmed:
            # A success, says PostgreSQL; what is there may be lost with this machine.
            raise TryAgain(f"{self.name}: its standby has not confirmed a commit")

    def affirm(self, connection: Connection, locked: bool) -> None:
        # A lock is written down, so that the commit waits for the standby. One that has nothing to
        # write would not, though it has seen what the standby may not have yet.
        if not locked:
            connection.execute(LOCK_NETWORK)

    def check(self, connection: Connection) -> None:
        info: Any = connection.connection.driver_connection.info  # type: ignore[union-attr]
        encoding = info.parameter_status("server_encoding")
        if encoding in (None, "UTF8"):
            return
        where = [("--host", info.host), ("--port", info.port), ("--username", info.user)]
        command = shlex.join(
            [
                "createdb",
                *(f"{option}={value}" for option, value in where if value),
                # Of the C locale, as another one may want an encoding of its own.
                *("--encoding=UTF8", "--locale=C", "--template=template0"),
                f"{info.dbname}_utf8",
            ]
        )
        raise StorageError(
            f"{self.name}: its encoding {encoding} cannot hold every name that a driver may have; "
            f"make a database that can: {command}"
        )

    def lead_s(
        self, connection: Connection, steady: Callable[[], float]
    ) -> tuple[float | None, float]:
        asked = steady()
        # Not the transaction's time, which stands still.
        now = connection.execute(_NOW).scalar_one()
        answered = steady()
        return now - (asked + answered) / 2, (answered - asked) / 2

    def insert_new(self, table: Table) -> Insert:
        return postgresql.insert(table).on_conflict_do_nothing()

    def meaning(self, error: DBAPIError) -> Exception:
        code = getattr(error.orig, "sqlstate", None) or ""
        text = f"{self.name}: {first_line(error)}"
        if code.startswith((*_SERIALIZATION, *_CANCELLED)):
            return TryAgain(text)
        lost = not code and isinstance(error.orig, self._psycopg.OperationalError)
        if lost or error.connection_invalidated or code.startswith(_GONE):
            # The next attempt asks the servers anew which of them can be written.
            self._engine.dispose()
            return TryAgain(text)
        if code.startswith(_NO_ROOM):
            return StorageUnavailable(text)
        return StatementRefused(f"{text} [SQL: {error.statement}]")

    def interrupt(self) -> None:
        connection = self._connection
        # Closing belongs to the thread that uses the connection; ending the stream under it makes
        # it do so.
        with contextlib.suppress(Exception):
            # What waits in the database, for a standby that is away, would not see that: until no
            # connection is left for anybody, with one more for each batch.
            if self._psycopg.capabilities.has_cancel_safe():
                request = connection.pgconn.cancel_conn()
                threading.Thread(target=_cancel, args=(request,), daemon=True).start()
            stream = socket.socket(fileno=os.dup(connection.fileno()))
            with stream:
                stream.shutdown(socket.SHUT_RDWR)


def _cancel(request: Any) -> None:
    """Send libpq's request to cancel a statement; where it cannot be, it is given up."""
    from psycopg.pq import PollingStatus

    events = {PollingStatus.READING: POLLIN, PollingStatus.WRITING: POLLOUT}
    with contextlib.suppress(Exception):
        request.start()
        while event := events.get(request.poll()):
            waiting = poll()
            waiting.register(request.socket, event)
            if not waiting.poll(CANCEL_S * 1000):
                break
        request.finish()


def first_line(error: object) -> str:
    """What a driver says, without SQLAlchemy's words around it."""
    text = str(getattr(error, "orig", error)).strip()
    return (text.splitlines() or [type(error).__name__])[0]
