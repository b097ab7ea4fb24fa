"""What a parent and its workers say to one another, over the pipes between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import msgspec

from evcharge.process.settings import Settings

STDIN, STDOUT, STDERR, SOCKET = range(4)
"""A worker's file descriptors; there may be further sockets behind the first."""

ASK, ANSWER = b"?", b"!"
"""The line that the parent asks a worker by, and what the line that answers it begins with."""

READ_AGAIN = b"r"
"""The line that the parent tells a worker to read the TLS certificate again by."""

TIME = b"t"
"""What the line begins with by which the parent tells a worker the time."""

LONGEST_LINE = 256 * 1024
"""What is kept of a line whose end has not come yet, bytes."""


@attrs.frozen
class Beginning:
    """What a worker is told first."""

    settings: Settings
    lead_s: float
    """The parent's :attr:`SteadyClock.lead_s`, and"""
    clock_number: int
    """its :attr:`SteadyClock.number`."""
    sockets: Sequence[int]
    """How many sockets each of the drivers' ports has."""

    def to_line(self) -> bytes:
        """It as one line of JSON."""
        return msgspec.json.encode(self, enc_hook=str) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Beginning:
        """What :meth:`to_line` wrote."""
        return msgspec.json.decode(line, type=cls, dec_hook=lambda kind, value: kind(value))


class LineSplitter:
    """Cuts what comes through a pipe into lines; one that does not end, into pieces."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Take the lines that end with `data`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > LONGEST_LINE:
            self.end()

    def end(self) -> None:
        """Take what has no end."""
        rest, self._rest = self._rest, b""
        if rest:
            self._take(rest)
