"""The terminal that a daemon was started from, where people look why there is none."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any


class Terminal:
    """
    The terminal of a process that twistd is about to make a daemon of.

    twistd has the process that started the daemon say that it could not start, in two lines and
    the words of a traceback, cut off after 100 bytes. Here the daemon itself says why, in one line,
    and the other process is silent.

    :param ours: the class of the exceptions that the daemon ends by, having said why.
    """

    def __init__(self, ours: type[BaseException]) -> None:
        name = f"{ours.__module__}.{ours.__name__}: ".encode()
        self._words_of_twistd = f"An error has occurred: {name!r}".rstrip("'")
        self._descriptor = -1

    def keep(self) -> None:
        """Keep it for the daemon, whose own descriptors lead nowhere."""
        with contextlib.suppress(OSError):
            self._descriptor = os.dup(2)
            # What twistd writes to.
            stream: Any = _Without(sys.__stderr__, self._words_of_twistd)
            setattr(sys, "__stderr__", stream)  # noqa: B010

    def say(self, line: str) -> bool:
        """Say a line, where this is the daemon; whether it was said."""
        try:
            if self._descriptor < 0 or os.path.sameopenfile(self._descriptor, 2):
                return False
            os.write(self._descriptor, f"{line}\n".encode())
        except OSError:
            return False
        return True

    def let_go(self) -> None:
        """The daemon runs: whoever waits for the terminal to be free waits no longer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


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
