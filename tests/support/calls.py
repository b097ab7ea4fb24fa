"""What is asked of the kernel for the files of a folder: recorded in order, and made to fail."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

KINDS = ("open", "write", "fsync", "rename", "replace", "unlink", "ftruncate", "truncate", "mkdir")
"""Functions of `os` that change files, or make a change last."""


@attrs.frozen
class Call:
    """One call."""

    kind: str
    path: str
    """Of the file, below the folder; of a rename, the new one."""
    size: int | None = None
    """How long a file was when it was flushed, or renamed; None for a folder."""

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


class Killed(BaseException):
    """The process is no more."""


@attrs.frozen
class Attempt:
    """A call that a test may carry out, or not."""

    number: int
    """From 0."""
    call: Call
    function: Callable[..., Any]
    args: tuple[Any, ...]
    more: dict[str, Any]

    def carry_out(self) -> Any:
        return self.function(*self.args, **self.more)

    def write_half(self) -> None:
        """Write half of what was to be written."""
        descriptor, content = self.args
        self.function(descriptor, content[: len(content) // 2])


class Calls:
    """
    Stands between a test and the kernel, for what concerns the files below `root`.

    :param test: at whose end all is as before.
    """

    def __init__(self, test: SynchronousTestCase, root: Path) -> None:
        self.made: list[Call] = []
        self._root = os.path.realpath(root)
        self._trouble: Callable[[Attempt], Any] = Attempt.carry_out
        for kind in KINDS:
            test.patch(os, kind, self._between(kind, getattr(os, kind)))

    def clear(self) -> None:
        """Forget what was recorded; nothing fails any more."""
        self.made.clear()
        self._trouble = Attempt.carry_out

    def fail(self, number: int, how: str, error: int = errno.EIO) -> None:
        """
        From now on have a call fail.

        :param number: of the call, the next one being 0.
        :param how: `before` it is carried out; `after` it was; `half`: a write that writes a part,
            or any other call before it is carried out; `on`: this and all that follow, before they
            are carried out; `killed`: likewise, as what is no error.
        """

        def trouble(attempt: Attempt) -> Any:
            if attempt.number < number or (attempt.number > number and how not in ("on", "killed")):
                return attempt.carry_out()
            if how == "killed":
                raise Killed
            if how == "after":
                attempt.carry_out()
            if how == "half" and attempt.call.kind == "write":
                attempt.write_half()
            raise OSError(error, os.strerror(error), attempt.call.path)

        self.clear()
        self._trouble = trouble

    def fail_where(
        self, wanted: Callable[[Call], bool], half: Callable[[Call], bool] = lambda call: False
    ) -> None:
        """From now on have every call fail that is `wanted`; of others write half, then fail."""

        def trouble(attempt: Attempt) -> Any:
            partly = attempt.call.kind == "write" and half(attempt.call)
            if partly:
                attempt.write_half()
            if partly or wanted(attempt.call):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), attempt.call.path)
            return attempt.carry_out()

        self.clear()
        self._trouble = trouble

    def _between(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def between(*args: Any, **more: Any) -> Any:
            writes = kind != "open" or args[1] & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY)
            if not writes or (path := self._path(kind, args, more)) is None:
                return function(*args, **more)
            call = Call(kind, path, self._size(kind, args, more))
            attempt = Attempt(len(self.made), call, function, args, more)
            self.made.append(call)
            return self._trouble(attempt)

        return between

    def _size(self, kind: str, args: Any, more: Any) -> int | None:
        if kind == "fsync":
            file = os.stat(args[0])
        elif kind in ("rename", "replace"):
            file = os.stat(args[0], dir_fd=more.get("src_dir_fd"))
        else:
            return None
        return None if stat.S_ISDIR(file.st_mode) else file.st_size

    def _path(self, kind: str, args: Any, more: Any) -> str | None:
        """Which file below the root a call is about; None for all others."""
        if kind in ("rename", "replace"):
            where, folder = args[1], more.get("dst_dir_fd")
        else:
            where, folder = args[0], more.get("dir_fd")
        if isinstance(where, int):
            path = os.readlink(f"/proc/self/fd/{where}")
        elif folder is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fspath(where))
        else:
            path = os.path.abspath(os.fspath(where))
        if path != self._root and not path.startswith(self._root + os.sep):
            return None
        return path[len(self._root) + 1 :] or "."
