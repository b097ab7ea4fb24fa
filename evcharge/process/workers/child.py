"""A worker's own process, which its parent starts: `python -m evcharge.process.workers.child`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from itertools import count, islice
from typing import Any, TextIO

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ReactorNotRunning
from twisted.internet.fdesc import readFromFD
from twisted.logger import LogEvent, globalLogBeginner, jsonFileLogObserver
from twisted.python.failure import Failure

from evcharge.process.clock import SteadyClock, keep_steady
from evcharge.process.logs import Throttle, ThrottleService, as_json_event
from evcharge.process.server import Server
from evcharge.process.terminal import Terminal
from evcharge.process.timekeeper import Follower
from evcharge.process.workers.messages import (
    ANSWER,
    ASK,
    READ_AGAIN,
    SOCKET,
    STDERR,
    STDIN,
    STDOUT,
    TIME,
    Beginning,
    LineSplitter,
)
from evcharge.process.workers.sockets import InheritedEndpoint


def main() -> None:
    """Serve as a worker, until SIGTERM or the parent's end."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    # What goes to all processes goes to the parent too, which tells us when the time has come.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Without a buffer, which would keep what the parent has to say next.
    with open(STDIN, "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    if not line:
        sys.exit("evcharge: a worker is started by twistd evcharge --workers")
    pipe = _pipe_to_parent()
    throttle = Throttle().before(_log_to(pipe))
    globalLogBeginner.beginLoggingTo([throttle])
    beginning = Beginning.from_line(line)
    settings = beginning.settings
    clock = SteadyClock(lead_s=beginning.lead_s, number=beginning.clock_number)
    keep_steady(reactor, clock.steady)
    descriptors = count(SOCKET)
    endpoints = [
        InheritedEndpoint(reactor, list(islice(descriptors, number)))
        for number in beginning.sockets
    ]
    storage = settings.storage.storage(shared=True)
    server = Server(settings, storage, endpoints, reactor, clock, Terminal(), keeps_time=False)
    follower = Follower(clock, reactor)
    follower.setServiceParent(server)
    server.startService()
    reactor.addSystemEventTrigger("before", "shutdown", server.stopService)

    def end() -> None:
        # A service manager may tell every process, and then the parent tells us again.
        with contextlib.suppress(ReactorNotRunning):
            reactor.stop()

    def on_signal(*_: object) -> None:
        reactor.callFromThread(end)

    # The reactor sets a handler of its own when it starts; until then nothing is to be drained.
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, on_signal)

    def said(line: bytes) -> None:
        if line == ASK and server.watch is not None:
            answers: list[Deferred[Any]] = [server.watch.trouble(), server.watch.metrics()]
            gatherResults(answers).addCallback(answer)
        elif line == READ_AGAIN:
            server.read_again()
        elif line.startswith(TIME):
            follower.tell(*json.loads(line[len(TIME) :]))

    def answer(told: list[Any]) -> None:
        trouble, metrics = told
        content = json.dumps({"trouble": trouble, "metrics": metrics.decode()})
        pipe.write(f"{ANSWER.decode()}{content}\n")
        pipe.flush()

    ThrottleService(throttle, reactor).setServiceParent(server)
    ParentWatch(reactor, LineSplitter(said).add, end).startReading()
    reactor.run()


def _pipe_to_parent() -> TextIO:
    """What was the standard output, which is the standard error from now on."""
    pipe = os.fdopen(os.dup(STDOUT), "w")
    # What prints by mistake is a complaint.
    os.dup2(STDERR, STDOUT)
    return pipe


def _log_to(pipe: TextIO) -> Callable[[LogEvent], None]:
    """Writes events to the parent."""
    write = jsonFileLogObserver(pipe, recordSeparator="")
    # The parent need not look at how many there are.
    return lambda event: write({**as_json_event(event), "throttled": True})


class ParentWatch(FileDescriptor):
    """
    Watches the standard input, whose end is the parent's.

    :param said: called with what the parent says.
    :param gone: called when the parent is no more.
    """

    connected = True

    def __init__(
        self, reactor: Any, said: Callable[[bytes], None], gone: Callable[[], None]
    ) -> None:
        super().__init__(reactor)
        self._said = said
        self._gone = gone

    def fileno(self) -> int:
        return STDIN

    def doRead(self) -> Any:
        return readFromFD(STDIN, self._said)

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._gone()


if __name__ == "__main__":
    main()
