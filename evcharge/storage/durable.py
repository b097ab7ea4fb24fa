"""Files that outlive a crash: written beside, flushed, renamed; and their folder is flushed."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from evcharge.storage.private import FOLDER_MODE

TEMPORARY = ".tmp"
"""The end of the name under which a file is written before it takes its place."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

MOST_OPEN = 32
"""Files that are open at once, at most: descriptors are for clients."""


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
        for error in self.change({name: content}).values():
            raise error

    def change(self, files: Mapping[str, bytes | None]) -> dict[str, OSError]:
        """
        Replace files by their contents here, or remove them where that is None, for good.

        Each is changed at once, and whatever becomes of the others.

        :return: those that are not changed for good, and why: with Unsettled they may be.
        """
        if not files:
            return {}
        failed: dict[str, OSError] = {}
        items = list(files.items())
        changed = False
        try:
            self._look()
            for start in range(0, len(items), MOST_OPEN):
                changed |= self._change(dict(items[start : start + MOST_OPEN]), failed)
            if changed:
                os.fsync(self._descriptor)
                self._look()
        except OSError as error:
            why = Unsettled(error.errno, error.strerror) if changed else error
            failed = {**dict.fromkeys(files, why), **failed}
        for name, problem in failed.items():
            # Else it is a name without a folder, or that of the file beside.
            problem.filename, problem.filename2 = str(self.path / name), None
        return failed

    def _change(self, files: Mapping[str, bytes | None], failed: dict[str, OSError]) -> bool:
        """Change some files; whether anything may be changed now, and is to be flushed."""
        self._write_beside(files, failed)
        changed = False
        for name, content in files.items():
            beside = name + TEMPORARY
            if name not in failed:
                changed = True
                try:
                    if content is None:
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=self._descriptor)
                    else:
                        self._rename(beside, name)
                except OSError as error:
                    failed[name] = Unsettled(error.errno, error.strerror)
            if name in failed and content is not None:
                self._clear(beside)
        return changed

    def _write_beside(self, files: Mapping[str, bytes | None], failed: dict[str, OSError]) -> None:
        """Have the contents on the disk, each beside the place that it is to take."""
        opened: dict[str, int] = {}
        try:
            for name, content in files.items():
                if content is not None:
                    try:
                        opened[name] = self._new(name + TEMPORARY)
                        write_all(opened[name], content)
                    except OSError as error:
                        failed[name] = error
            # Once all are written, so that the disk does them in one go.
            for name, descriptor in opened.items():
                if name not in failed:
                    try:
                        os.fsync(descriptor)
                    except OSError as error:
                        failed[name] = error
        finally:
            for descriptor in opened.values():
                os.close(descriptor)

    @contextlib.contextmanager
    def rewriting(self, name: str, mode: int) -> Iterator[int]:
        """
        A descriptor for what replaces the file `name` when the block ends; where that raises,
        nothing does. It is for good when :meth:`flush` has come back.

        :param mode: of the new file.
        """
        beside = name + TEMPORARY
        with self._named(name):
            self._look()
            try:
                descriptor = self._new(beside)
                try:
                    os.fchmod(descriptor, mode)
                    yield descriptor
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                self._rename(beside, name)
            except BaseException:
                self._clear(beside)
                raise

    def rename(self, name: str, to: str) -> None:
        """Give the file `name` another one, for good. OSError."""
        with self._named(name):
            self._look()
            self._rename(name, to)
            self.flush()

    def flush(self) -> None:
        """Have what was made, replaced or removed in it stay so. OSError: it may not."""
        with self._named(""):
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

    def _new(self, name: str) -> int:
        """A descriptor for a new file. OSError."""
        try:
            return os.open(name, _NEW, 0o666, dir_fd=self._descriptor)
        except FileExistsError:
            # A crash has left it, or somebody put it there: a link perhaps, to a file of theirs.
            os.unlink(name, dir_fd=self._descriptor)
            return os.open(name, _NEW, 0o666, dir_fd=self._descriptor)

    def _rename(self, name: str, to: str) -> None:
        os.rename(name, to, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

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
