"""What keeps one worker running, in its parent."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, eventFromJSON, globalLogPublisher
from twisted.python.failure import Failure

from evcharge.process.restarts import next_pause_s
from evcharge.process.server import ANSWER_S, FLUSH_S
from evcharge.process.workers.messages import (
    ANSWER,
    ASK,
    READ_AGAIN,
    STDERR,
    STDOUT,
    TIME,
    LineSplitter,
)

END_S = ANSWER_S + FLUSH_S + 2.0
"""How long a worker may take to end before it is killed, seconds."""

ASK_S = 3.0
"""How long a worker may take to answer, seconds."""


class Worker(ProcessProtocol):
    """
    One of the workers: its process, and the next one when that has ended.

    :param number: by which the log tells the workers apart, from 1.
    :param beginning: makes the line that a process is to read first.
    :param spawn: makes a process whose protocol this is. OSError: it cannot be made.
    """

    log = Logger()
    transport: Any

    def __init__(
        self,
        number: int,
        beginning: Callable[[], bytes],
        spawn: Callable[[Worker], None],
        clock: IReactorTime,
    ) -> None:
        self._number = number
        self._beginning = beginning
        self._spawn = spawn
        self._clock = clock
        self._began = 0.0
        self._pause_s = 0.0
        self._pipes: dict[int, LineSplitter] = {}
        self._again: IDelayedCall | None = None
        """While no process runs: the start of the next one."""
        self._late: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None
        self._asking: list[Deferred[Any]] = []
        """Those who wait for what the process has to tell of itself."""

    def ask(self) -> Deferred[Any]:
        """
        What the process tells of itself: `trouble`, as text or None, and `metrics`; None where it
        does not answer.
        """
        asking: Deferred[Any] = Deferred()
        if not self._tell(ASK):
            asking.callback(None)
            return asking
        self._asking.append(asking)
        asking.addTimeout(ASK_S, self._clock)
        return asking.addErrback(self._gave_up, asking)

    def _told(self, answer: Any) -> None:
        asking, self._asking = self._asking, []
        for one in asking:
            one.callback(answer)

    def _gave_up(self, _: Failure, asking: Deferred[Any]) -> None:
        self._asking.remove(asking)

    def start(self) -> None:
        """Start a process."""
        self._again = None
        self._began = self._clock.seconds()
        self._pipes = {STDOUT: LineSplitter(self._logged), STDERR: LineSplitter(self._complained)}
        try:
            self._spawn(self)
        except OSError as error:
            self._start_again(f"cannot be started: {error}")

    def stop(self) -> Deferred[None]:
        """Have the process end, and start no other; fires when it has."""
        self._stopped = Deferred()
        if self._again is not None:
            self._again.cancel()
            self._stopped.callback(None)
        else:
            self._signal("TERM")
            self._late = self._clock.callLater(END_S, self._kill)
        return self._stopped

    def read_again(self) -> None:
        """Have the process, if there is one, read the TLS certificate again."""
        # Not by a signal: one that has only begun would end by it.
        self._tell(READ_AGAIN)

    def tell_time(self, lead_s: float, number: int) -> None:
        """Tell the process, if there is one, the present: see :class:`SteadyClock`."""
        self._tell(TIME + json.dumps([lead_s, number]).encode())

    def _tell(self, line: bytes) -> bool:
        """Tell the process a line; whether there is one."""
        if self._again is not None or self.transport is None:
            return False
        self.transport.write(line + b"\n")
        return True

    def _kill(self) -> None:
        self.log.error(
            "Worker {worker} has not ended within {limit:g} s and is killed",
            worker=self._number,
            limit=END_S,
        )
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess(name)

    def _start_again(self, problem: str) -> None:
        self._pause_s = next_pause_s(self._clock.seconds() - self._began, self._pause_s)
        self.log.error(
            "Worker {worker} {problem}; the next one starts in {pause:g} s",
            worker=self._number,
            problem=problem,
            pause=self._pause_s,
        )
        self._again = self._clock.callLater(self._pause_s, self.start)

    # What the process does

    def connectionMade(self) -> None:
        self.log.info(
            "Worker {worker} is process {pid}", worker=self._number, pid=self.transport.pid
        )
        # Standard input stays open: it ends when we do, however that may be.
        self.transport.write(self._beginning())

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._pipes[childFD].add(data)

    def _logged(self, line: bytes) -> None:
        try:
            if line.startswith(ANSWER):
                self._told(json.loads(line[len(ANSWER) :]))
                return
            event = eventFromJSON(line.decode())
            namespace, level = event["log_namespace"], event["log_level"].name
        except (ValueError, TypeError, LookupError, AttributeError):
            # The half of a line that it was killed at.
            self._complained(line)
            return
        event["worker"] = self._number
        event["log_system"] = f"worker {self._number}: {namespace}#{level}"
        globalLogPublisher(event)

    def _complained(self, line: bytes) -> None:
        self.log.warn(
            "{text}",
            text=line[:1000].decode(errors="replace"),
            worker=self._number,
            log_system=f"worker {self._number}: stderr",
        )

    def processEnded(self, reason: Failure) -> None:
        for pipe in self._pipes.values():
            pipe.end()
        self._told(None)
        ended: Any = reason.value
        how = signal.Signals(ended.signal).name if ended.signal else f"status {ended.exitCode}"
        if self._stopped is None:
            self._start_again(f"has ended with {how}")
            return
        if self._late is not None and self._late.active():
            self._late.cancel()
        self.log.info("Worker {worker} has ended with {how}", worker=self._number, how=how)
        self._stopped.callback(None)
