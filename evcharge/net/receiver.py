"""Bytes to lines, in turns, so that nobody waits for one who sends much."""

from __future__ import annotations

from typing import Any

from twisted.protocols.basic import LineReceiver

LINES_PER_TURN, TURN_S = 64, 0.002
"""Lines that one connection may have handled, and how long, before the others get their turn."""


class FairLineReceiver(LineReceiver):
    """
    A LineReceiver that is told when to take lines up, and gives way to others.

    That of Twisted copies all that is left for each line that it takes up. This one does so only
    when it stops before the end.
    """

    delimiter = b"\n"
    factory: Any
    """Its `seconds` gives the present."""
    lines = 0
    """Whole lines that have been taken up."""
    _at = 0
    """Where in the buffer the next line begins."""
    _taking_lines = False

    @property
    def left(self) -> int:
        """How much has come that is not taken up yet, bytes."""
        return len(self._buffer) - self._at

    def take_lines(self) -> None:
        """Call `lineReceived` with each line that has come, until `paused`, or for one turn."""
        turn_ends, turn_ends_at = self.lines + LINES_PER_TURN, None
        self._taking_lines = True
        try:
            while not self.paused and (end := self._buffer.find(b"\n", self._at)) >= 0:
                line = self._buffer[self._at : end]
                self._at = end + 1
                self.lines += 1
                self.lineReceived(line)
                if self._at == len(self._buffer) or self.paused:
                    break
                now = self.factory.seconds()
                if turn_ends_at is None:
                    turn_ends_at = now + TURN_S
                self.before_next_line(self.lines >= turn_ends or now >= turn_ends_at)
        finally:
            self._taking_lines = False
            if self._at:
                self._buffer, self._at = self._buffer[self._at :], 0

    def before_next_line(self, turn_is_over: bool) -> None:
        """Another line may follow at once: where the turn is over this is to set `paused`."""
        raise NotImplementedError

    def skip_blank_lines(self) -> None:
        """Pass over the blank lines that follow."""
        # One by one, a flood of them would let no thread have the interpreter for long.
        left = self._buffer[self._at :]
        blank = len(left) - len(left.lstrip())
        self._at += left.rfind(b"\n", 0, blank) + 1

    def clearLineBuffer(self) -> bytes:
        """Drop what has come and was not taken up; returns it."""
        dropped, self._buffer, self._at = self._buffer[self._at :], b"", 0
        return dropped
