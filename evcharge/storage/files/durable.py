"""Files that outlive a crash: written beside, flushed, renamed; and their folder is flushed."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from evcharge.storage.private import FOLDER_MODE

TEMPORARY = ".tmp"
"""The end of the name under which a file is written before it takes its place."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class Unsettled(OSError):
    """A change was made, and the disk did not say that it will stay: it may have either."""


class Folder:
    """
    A folder that is held open, through whose descriptor everything in it is reached.

    So a change that was made is flushed also where no further descriptor is to be had. Nothing is
    changed, and no change is for good, once the path of the folder leads elsewhere.

    Every OSError names the file, by its path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._identity: os.stat_result | None = None

    def open(self) -> None:
        """Hold it open. OSError."""
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        self._identity = os.fstat(self._descriptor)

    def close(self) -> None:
        """Let go of it, if it is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def names(self) -> list[str]:
        """What is in it, in order. OSError."""
        with self._named(""):
            return sorted(os.listdir(self._descriptor))

    def write(self, name: str, content: bytes) -> None:
        """
        Replace the file `name` by `content`, at once and for good.

        :raise Unsettled: the new file may be there, or the old one.
        :raise OSError: nothing has changed.
        """
        self.replace(name, content)
        self.flush()

    def replace(self, name: str, content: bytes) -> None:
        """The same, but for good only when :meth:`flush` has come back."""
        with self.rewriting(name) as descriptor:
            write_all(descriptor, content)

    @contextlib.contextmanager
    def rewriting(self, name: str, mode: int | None = None) -> Iterator[int]:
        """
        A descriptor for what replaces the file `name` when the block ends; where that raises,
        nothing does. It is for good when :meth:`flush` has come back.

        :param mode: of the new file; by default as new files have it.
        """
        beside = name + TEMPORARY
        with self._named(name):
            self._look()
            try:
                with self._new(beside) as descriptor:
                    if mode is not None:
                        os.fchmod(descriptor, mode)
                    yield descriptor
                    os.fsync(descriptor)
            except BaseException:
                self._clear(beside)
                raise
            try:
                with _unsettled():
                    os.rename(
                        beside, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor
                    )
            except OSError:
                self._clear(beside)
                raise

    def remove(self, name: str) -> None:
        """
        Remove the file `name`, if it is there: for good when :meth:`flush` has come back.

        :raise Unsettled: it may be gone.
        :raise OSError: nothing has changed.
        """
        with self._named(name):
            self._look()
            with _unsettled(), contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._descriptor)

    def rename(self, name: str, to: str) -> None:
        """Give the file `name` another one: for good when :meth:`flush` has come back."""
        with self._named(name):
            self._look()
            os.rename(name, to, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def flush(self) -> None:
        """
        Have what was replaced and removed stay so.

        :raise Unsettled: it may not.
        """
        with self._named(""), _unsettled():
            os.fsync(self._descriptor)
            self._look()

    @contextlib.contextmanager
    def opened(self, name: str, flags: int, mode: int = 0o600) -> Iterator[int]:
        """A descriptor of the file `name`, for a while; `mode` is that of a new one. OSError."""
        with self._named(name):
            self._look()
            descriptor = os.open(name, flags, mode, dir_fd=self._descriptor)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    def _look(self) -> None:
        """OSError: its path leads elsewhere."""
        # With the slash, what is no folder is an error of its own.
        there = os.stat(f"{self.path}/")
        if self._identity is None or not os.path.samestat(there, self._identity):
            raise OSError(errno.ESTALE, "another folder has taken its place")

    @contextlib.contextmanager
    def _new(self, name: str) -> Iterator[int]:
        try:
            descriptor = os.open(name, _NEW, 0o666, dir_fd=self._descriptor)
        except FileExistsError:
            # A crash has left it, or somebody put it there: a link perhaps, to a file of theirs.
            os.unlink(name, dir_fd=self._descriptor)
            descriptor = os.open(name, _NEW, 0o666, dir_fd=self._descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _clear(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._descriptor)

    @contextlib.contextmanager
    def _named(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Else it is a name without a folder, or that of the file beside.
            error.filename, error.filename2 = str(self.path / name), None
            raise


@contextlib.contextmanager
def _unsettled() -> Iterator[None]:
    """Unsettled for an OSError: of a call that changes something, or makes a change last."""
    try:
        yield
    except OSError as error:
        raise Unsettled(error.errno, error.strerror) from error


def write_all(descriptor: int, content: bytes) -> None:
    """Write `content`, however many calls that takes. OSError: a part of it may be written."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def make_folder(path: Path) -> None:
    """
    Make a folder for its owner alone, and those above it, where they are missing, for good.

    :raise OSError: it cannot be made.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    for folder in made:
        flush_folder(folder.parent)


def flush_file(path: Path) -> None:
    """Have what was written to a file stay. OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


def flush_folder(path: Path) -> None:
    """Have what was made or renamed in a folder stay. OSError."""
    # One that may be entered but not read cannot be flushed.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
