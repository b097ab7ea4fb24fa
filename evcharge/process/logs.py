"""The log: as text or as JSON, and never so much that it fills a disk."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TextIO

import attrs
from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    formatEvent,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from evcharge.utils.permissions import remedy

WINDOW_S = 60.0
MOST_OF_A_KIND = 30
"""Lines of one kind in one window; the others are only counted."""

MOST_KINDS = 500
"""Kinds that are told apart in one window; what is beyond counts as one."""

OBSERVER = f"{__name__}.observer"
"""What twistd is told to log by: it takes the name of a function."""

_INNER = re.compile(r".+ starting on .+|\((?:TCP|UNIX) Port .+ Closed\)|reactor class: \S+")
"""What Twisted says of its own parts, as in `ConnectionLimit starting on 8888`."""

_OF_TWISTD = re.compile(
    r"twistd \S+ \(.*\) starting up\.|Received SIG\w+, shutting down\.|Main loop terminated\.|"
    r"Server Shut Down\."
)
"""What twistd says when it starts and ends: at a terminal, the server says it in its own words."""

Write = Callable[[LogEvent], Any]


def text_observer(file: TextIO) -> Write:
    """Writes events as lines of text."""
    return textFileLogObserver(file)


def json_observer(file: TextIO) -> Write:
    """Writes events as JSON, an object a line."""
    write = jsonFileLogObserver(file, recordSeparator="")
    return lambda event: write(as_json_event(event))


FORMATS = {"text": text_observer, "json": json_observer}


@attrs.frozen
class Log:
    """
    The log as twistd is to have it: in one of :data:`FORMATS`, to where twistd would log.

    :param path: of the file that twistd was told of, if it was.
    """

    form: str
    path: str | None
    in_foreground: bool
    throttle: Throttle = attrs.field(factory=lambda: Throttle())
    """What keeps it small."""

    @property
    def is_seen(self) -> bool:
        """Whether it goes where a person would see it: to the standard output."""
        return self.in_foreground and self.path in (None, "", "-")

    def observer(self) -> Throttle:
        """What writes it. SystemExit: the file cannot be made."""
        file = log_file(self.path, self.in_foreground)
        write = for_people(FORMATS[self.form](file))
        if self.form == "text" and self.is_seen and file.isatty():
            write = for_terminal(file, write)
        return self.throttle.before(write)


_chosen: list[Log] = []
"""The log of this process: twistd takes no observer, but the name of a function that makes it."""


def choose(log: Log) -> None:
    """Have :func:`observer` make what writes `log`."""
    _chosen[:] = [log]


def observer() -> Throttle:
    """What writes the log that was chosen."""
    return _chosen[0].observer()


def log_file(path: str | None, in_foreground: bool) -> TextIO:
    """
    Where twistd would log: the file it was told of, the standard output, or `twistd.log`.

    A file is begun anew on SIGUSR1, as twistd does it. SystemExit: it cannot be made.
    """
    if path == "-" and not in_foreground:
        sys.exit("Daemons cannot log to stdout, exiting!")
    if path == "-" or (in_foreground and not path):
        return sys.stdout
    path = path or "twistd.log"
    try:
        file: Any = LogFile.fromFullPath(path)
    except OSError as error:
        cure = remedy(error, Path(path), Path(path), is_folder=False)
        sys.exit(f"evcharge: cannot log to {path}: {error.strerror or error}{cure}")
    if not signal.getsignal(signal.SIGUSR1):

        def rotate(*_: object) -> None:
            from twisted.internet import reactor

            reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

        signal.signal(signal.SIGUSR1, rotate)
    return file  # type: ignore[no-any-return]


def for_people(write: Write) -> Write:
    """Leaves out what names parts of the program: where it listens, the server says itself."""

    def observe(event: LogEvent) -> None:
        namespace = str(event.get("log_namespace"))
        is_twisted = namespace == "log_legacy" or namespace.startswith("twisted.")
        if not (is_twisted and not event.get("isError") and _INNER.fullmatch(formatEvent(event))):
            write(event)

    return observe


def for_terminal(file: TextIO, write: Write) -> Write:
    """
    Says to a person at a terminal what an event has for one, alone, in the place of its line; what
    twistd says of its start and end is left out.
    """

    def observe(event: LogEvent) -> None:
        told = event.get("at_terminal")
        if told:
            file.write(f"{told}\n")
            file.flush()
        elif told is None and (
            event.get("isError") or not _OF_TWISTD.fullmatch(formatEvent(event))
        ):
            write(event)

    return observe


def as_json_event(event: LogEvent) -> LogEvent:
    """
    What of an event can be told in JSON: its time, level and namespace, the `text` that a person
    would read, with the traceback if there is one, and its fields that are plain values.
    """
    # The text is made here: not every value can be told in JSON.
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    told = {
        name: value
        for name, value in event.items()
        if not name.startswith("log_")
        and (value is None or isinstance(value, (str, int, float)))
        and name not in ("isError", "why", "time", "system", "message", "format", "at_terminal")
    }
    told.update(
        {name: event.get(name) for name in ("log_time", "log_level", "log_namespace")},
        log_format="{text}",
        text=text,
    )
    return told


@implementer(ILogObserver)
class Throttle:
    """
    Lets :data:`MOST_OF_A_KIND` events of each kind through in a minute, and then says how many more
    there were.

    A kind is what one place in the code logs. Events that were `asked_for`, and those that another
    process has let through already (`throttled`), are not counted; nor is anything before the
    server has started, so that all that is wrong with the storage is told.

    :param seconds: a clock that nobody sets.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._write: Write = lambda event: None
        self.is_on = False
        self._began = 0.0
        self._seen: dict[Hashable, int] = {}
        self._last: dict[Hashable, LogEvent] = {}

    def before(self, write: Write) -> Throttle:
        """This, in front of `write`."""
        self._write = write
        return self

    def __call__(self, event: LogEvent) -> None:
        if not self.is_on or event.get("asked_for") or event.get("throttled"):
            self._write(event)
            return
        self.look()
        kind: Hashable = (
            event.get("log_namespace"),
            event.get("log_level"),
            event.get("log_format"),
        )
        if kind not in self._seen and len(self._seen) >= MOST_KINDS:
            kind = ()
        count = self._seen[kind] = self._seen.get(kind, 0) + 1
        if count <= MOST_OF_A_KIND:
            self._write(event)
        else:
            self._last[kind] = event

    def look(self) -> None:
        """Where the window is over, tell what was left out of it, and begin another."""
        if self._seconds() - self._began >= WINDOW_S:
            self.tell()

    def tell(self) -> None:
        """Tell what was left out, and begin another window."""
        left_out = [
            (self._seen[kind] - MOST_OF_A_KIND, event) for kind, event in self._last.items()
        ]
        self._began = self._seconds()
        self._seen = {}
        self._last = {}
        for count, event in left_out:
            self._write(
                {
                    "log_time": event.get("log_time", 0.0),
                    "log_level": event.get("log_level", LogLevel.info),
                    "log_namespace": event.get("log_namespace", "-"),
                    "log_format": "{count} more like this were not logged; the last one: {last}",
                    "count": count,
                    "last": eventAsText(
                        event, includeTimestamp=False, includeSystem=False, includeTraceback=False
                    ),
                }
            )


class ThrottleService(Service):
    """Turns a throttle on, and has it tell what it left out soon after, or when all has ended."""

    name = "log"

    def __init__(self, throttle: Throttle, reactor: Any) -> None:
        self._throttle = throttle
        self._reactor = reactor
        self._loop = LoopingCall(throttle.look)
        self._loop.clock = reactor

    def startService(self) -> None:
        super().startService()
        self._throttle.is_on = True
        self._loop.start(WINDOW_S / 4, now=False)
        # Other services end after this one, and may have much to say.
        self._reactor.addSystemEventTrigger("after", "shutdown", self._throttle.tell)

    def stopService(self) -> None:
        super().stopService()
        self._loop.stop()
