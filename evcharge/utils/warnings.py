"""Warnings of the log, for those who look elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer


@implementer(ILogObserver)
@attrs.frozen(eq=False)
class _Aloud:
    """Says what is a warning, or worse."""

    say: Callable[[str], object]

    def __call__(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn:
            self.say(f"evcharge: {formatEvent(event)}")


@contextlib.contextmanager
def warnings_shown(say: Callable[[str], object]) -> Iterator[None]:
    """Meanwhile, what is logged as a warning, or as worse, is a line that `say` is given too."""
    aloud = _Aloud(say)
    globalLogPublisher.addObserver(aloud)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(aloud)
