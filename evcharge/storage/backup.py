"""Copies of a storage that a server may be using meanwhile: each takes its place whole, or not."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import attrs

from evcharge.datasets.files import CARS, STATIONS
from evcharge.storage import StorageError
from evcharge.storage.durable import TEMPORARY, flush_file, flush_folder, make_folder
from evcharge.storage.files.directory import CLOCK, LOCK, PAYMENTS, RECEIPTS, USED, names
from evcharge.storage.private import FOLDER_MODE, private, shown
from evcharge.utils.permissions import remedy_to_read

HALF_COPY = ".copying"
"""The end of the name under which a copy is made."""

MOST_ROUNDS = 50
"""How often a directory is looked at for what has changed meanwhile, before that is put up with."""

PAGES = 1000
"""Of an SQLite file, copied at a time."""

BUSY_S = 30.0
"""How long another process may keep an SQLite file from being read, seconds."""

SUBFOLDERS = ("stations", "users", RECEIPTS, USED)
"""A receipt is there before its session is gone from its station's file, and goes behind that."""

_Seen: TypeAlias = tuple[int, ...]
"""What of a file's state is another one after each change."""


def back_up_sqlite(
    source: Path, target: Path, tick: Callable[[int, int], object] = lambda done, total: None
) -> None:
    """
    Copy an SQLite file as it is at one moment.

    :param target: the copy, a file for its owner alone.
    :param tick: is told how many pages are copied, and how many there are.
    :raise StorageError: there is no database of evcharge at `source`, or something at `target`, or
        the copy cannot be made.
    """

    def progress(_: int, remaining: int, total: int) -> None:
        tick(total - remaining, total)

    with _explained(source, target), _new_place(target) as place:
        source.stat()  # For its error: SQLite has one for everything.
        os.close(private(str(place), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        with (
            contextlib.closing(_connect(source)) as reader,
            contextlib.closing(_connect(place)) as writer,
        ):
            # One transaction to the end: what servers write meanwhile neither waits nor is seen,
            # and no page is copied twice.
            reader.execute("BEGIN")
            query = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
            if reader.execute(query).fetchone() is None:
                raise StorageError(f"{source}: has no tables of evcharge")
            reader.backup(writer, pages=PAGES, progress=progress)
            (verdict,) = writer.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                what = " ".join(verdict.split())
                raise StorageError(f"{source}: is damaged, so that nothing is copied: {what}")
        flush_file(place)


def _connect(path: Path) -> sqlite3.Connection:
    # The mode keeps it from making a file.
    url = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(url, BUSY_S, isolation_level=None, uri=True)


@attrs.frozen
class CopiedDirectory:
    """What :func:`back_up_directory` made."""

    files: int
    """How many there are in the copy."""
    changed: int
    """How many the last round found changed: 0, or the copy is not of one moment."""
    left_out: list[Path]
    """Folders that are no part of a data directory."""


def back_up_directory(source: Path, target: Path, rounds: int = MOST_ROUNDS) -> CopiedDirectory:
    """
    Copy a data directory, and then again and again what has changed meanwhile, until nothing has:
    so it is copied as it was at one moment. The lock, and what is being written, are left out.

    :param target: the copy, a directory for its owner alone.
    :param rounds: after so many it is left as it is. Also then it has every payment that was
        answered before the first.
    :raise StorageError: there is no data directory at `source`, or something at `target`, or the
        copy cannot be made.
    """
    with _explained(source, target):
        for path in (source, source / CARS, source / STATIONS):
            path.stat()  # For its error.
        if source.resolve() in target.resolve().parents:
            raise StorageError(f"{target}: is in the directory that is to be copied")
        with _new_place(target) as place:
            copy = _Copy(source, place)
            changed = copy.update()
            while changed and rounds > 1:
                changed, rounds = copy.update(), rounds - 1
            copy.flush()
        _, folders, _ = next(os.walk(source))
        others = sorted(set(folders) - {*SUBFOLDERS, "lost+found"})
        return CopiedDirectory(len(copy.seen), changed, [source / name for name in others])


class _Copy:
    """A copy of a data directory, brought up to date round by round."""

    FOLDERS = (*map(Path, SUBFOLDERS), Path())

    LAST = (PAYMENTS, CLOCK)
    """A payment may leave its station's file once the list has it: so the list goes behind them.
    Of the clocks that records name something has to be known: that goes behind everything."""

    def __init__(self, source: Path, place: Path) -> None:
        self._source = source
        self._place = place
        self.seen: dict[Path, _Seen] = {}
        """The files that are copied, by their path in the directory, as they were then."""
        place.mkdir(FOLDER_MODE)
        for name in SUBFOLDERS:
            (place / name).mkdir(FOLDER_MODE)

    def update(self) -> int:
        """Copy what is new or changed, and drop what is gone: how many files that were."""
        there: set[Path] = set()
        changed = 0
        for path in self._paths():
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(self._source / path)
                if not stat.S_ISREG(found.st_mode):
                    continue
                if self.seen.get(path) != _seen(found):
                    changed += 1
                    self._copy(path)
                there.add(path)
        for path in self.seen.keys() - there:
            changed += 1
            del self.seen[path]
            (self._place / path).unlink(missing_ok=True)
        return changed

    def _paths(self) -> Iterator[Path]:
        left_out = (LOCK, *self.LAST)
        for folder in self.FOLDERS:
            for name in names(self._source / folder):
                if name not in left_out and not name.endswith(TEMPORARY):
                    yield folder / name
        yield from map(Path, self.LAST)

    def _copy(self, path: Path) -> None:
        """Copy a file. FileNotFoundError: it is gone."""
        with open(self._source / path, "rb") as file:
            # As it is before it is read: what is added meanwhile makes another round.
            self.seen[path] = _seen(os.fstat(file.fileno()))
            with open(self._place / path, "wb", opener=private) as copy:
                shutil.copyfileobj(file, copy)

    def flush(self) -> None:
        """Have all of it on the disk. OSError."""
        # Everything at once, which file by file would take long; that then says how it went.
        os.sync()
        for path in self.seen:
            flush_file(self._place / path)
        for folder in self.FOLDERS:
            flush_folder(self._place / folder)


def _seen(found: os.stat_result) -> _Seen:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@contextlib.contextmanager
def _new_place(target: Path) -> Iterator[Path]:
    """
    A path in a private folder beside `target`, for what takes that place when the block ends.

    :raise StorageError: there is something at `target`.
    :raise OSError: nothing can be made there.
    """
    _must_be_free(target)
    make_folder(target.parent)
    folder = Path(tempfile.mkdtemp(HALF_COPY, f".{target.name}.", target.parent))
    try:
        yield folder / target.name
        _must_be_free(target)
        (folder / target.name).rename(target)
        flush_folder(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _must_be_free(target: Path) -> None:
    if os.path.lexists(target):
        raise StorageError(f"{target}: is there already; name a place where there is nothing yet")


@contextlib.contextmanager
def _explained(source: Path, target: Path) -> Iterator[None]:
    """StorageError for whatever keeps `source` from being copied to `target`."""
    try:
        yield
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if error.filename else target
        cure = remedy_to_read(error, path) if source in (path, *path.parents) else ""
        raise StorageError(f"{shown(path)}: {error.strerror or error}{cure}") from error
    except sqlite3.Error as error:
        raise StorageError(f"{source}: cannot be copied to {target}: {error}") from error
