"""Where a server says why it cannot start: the log, and where a person looks."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from twisted.logger import Logger

from evcharge.net.ports import CannotListen
from evcharge.storage import StorageError
from evcharge.utils.warnings import warnings_shown


class Exit(SystemExit, Exception):
    """
    Ends the process with status 1.

    As a SystemExit it needs no traceback. As an Exception it makes twistd tidy up, and tell the
    terminal that a daemon was started from, which would else wait for ever.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(1)
        self._problem = problem

    def __str__(self) -> str:
        return self._problem


_OURS = f"{Exit.__module__}.{Exit.__name__}: ".encode()
WORDS_OF_TWISTD = f"An error has occurred: {_OURS!r}".rstrip("'")
"""How twistd begins to say that a daemon has ended by our exception."""


class Terminal:
    """
    The terminal that a process was started from.

    Where twistd makes a daemon of it, twistd has the process that started the daemon say that it
    could not start, in two lines and the words of a traceback, cut off after 100 bytes. Here the
    daemon itself says why, in one line, and the other process is silent.

    :param log_is_seen: whether the log goes to the standard output.
    """

    log = Logger()

    def __init__(self, log_is_seen: bool = True) -> None:
        self._log_is_seen = log_is_seen
        self._descriptor = -1

    def keep(self) -> None:
        """Keep it for the daemon, whose own descriptors lead nowhere."""
        with contextlib.suppress(OSError):
            self._descriptor = os.dup(2)
            # What twistd writes to.
            stream: Any = _Without(sys.__stderr__, WORDS_OF_TWISTD)
            setattr(sys, "__stderr__", stream)  # noqa: B010

    def let_go(self) -> None:
        """The daemon runs: whoever waits for the terminal to be free waits no longer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextlib.contextmanager
    def or_exit(self) -> Iterator[None]:
        """
        Start something, or end the process with one line that says why it cannot be.

        That, and each warning, is in the log, and is said here too.
        """
        with warnings_shown(self._say):
            try:
                yield
            except (StorageError, CannotListen) as error:
                self._exit(str(error))
            except OSError as error:
                self._exit(f"cannot start: {error}")

    def _exit(self, problem: str) -> NoReturn:
        self.log.critical("{problem}", problem=problem, at_terminal=f"evcharge: {problem}")
        raise Exit(problem)

    def _say(self, line: str) -> None:
        """Say a line, unless the log is seen here."""
        if self._said_by_daemon(line) or sys.__stderr__ is None:
            return
        if not (self._log_is_seen and _same_file(1, 2)):
            sys.__stderr__.write(f"{line}\n")
            sys.__stderr__.flush()

    def _said_by_daemon(self, line: str) -> bool:
        try:
            if self._descriptor < 0 or os.path.sameopenfile(self._descriptor, 2):
                return False
            os.write(self._descriptor, f"{line}\n".encode())
        except OSError:
            return False
        return True


def _same_file(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return True


class _Without:
    """A stream without what begins with some words."""

    def __init__(self, stream: Any, words: str) -> None:
        self._stream = stream
        self._words = words

    def write(self, text: str) -> int:
        if text.startswith(self._words):
            return len(text)
        written: int = self._stream.write(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
