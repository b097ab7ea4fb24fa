"""What keeps one planner running, in its server."""

from __future__ import annotations

import contextlib
import pickle
import signal
from collections.abc import Callable, Collection, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.models.slots import StationState
from evcharge.outcomes import Refusal
from evcharge.planning.planner import Asked, Found
from evcharge.planning.sites import Look, Site, sites
from evcharge.process.planners.child import HEAD, packed
from evcharge.process.restarts import FIRST_PAUSE_S, next_pause_s

PART = 50
"""Stations that are made ready in one turn of the reactor: a fraction of a millisecond."""

GRACE_S = 30.0
"""How much longer than it may a search may take before its process is killed, seconds."""


class SearchFailed(Exception):
    """A fault in a search: says where."""


@attrs.define(eq=False)
class Job:
    """A trip that is to be searched for."""

    asked: Asked
    look: Look
    states: Sequence[StationState]
    """Of stations where one may stop, and of those that"""
    avoid: Collection[str]
    """are not wished for, by id."""
    done: Deferred[Found | Refusal]
    sites: list[Site] = attrs.field(factory=list)
    """What the planner has been told of."""
    attempts: int = 0


class Planner(ProcessProtocol):
    """
    One of the planners: its process, and the next one when that has ended.

    :param number: by which the log tells them apart, from 1.
    :param seconds: how long a search may take.
    :param spawn: makes a process whose protocol this is. OSError: it cannot be made.
    :param found: called with a job that is done, what was found, or a Failure, and how long the
        search took, seconds.
    :param lost: called when its process has ended, or cannot be started, with the job, if any, that
        it was at.
    :param free: called when there is a process again.
    """

    log = Logger()
    transport: Any = None
    job: Job | None = None

    def __init__(
        self,
        number: int,
        seconds: float,
        spawn: Callable[[Planner], object],
        clock: IReactorTime,
        found: Callable[[Job, Found | Failure, float], object],
        lost: Callable[[Job | None], object],
        free: Callable[[], object],
    ) -> None:
        self._number = number
        self._seconds = seconds
        self._spawn = spawn
        self._clock = clock
        self._found = found
        self._lost = lost
        self._free = free
        self._began = 0.0
        self._pause_s = 0.0
        self._come = b""
        self._again: IDelayedCall | None = None
        """While no process runs: the start of the next one."""
        self._late: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    @property
    def is_free(self) -> bool:
        """Whether there is a process, which is at nothing."""
        return self._again is None and self._stopped is None and self.job is None

    @property
    def is_failing(self) -> bool:
        """Whether there is no process, as several have not lived long."""
        return self._again is not None and self._pause_s > FIRST_PAUSE_S

    def start(self) -> None:
        """Start a process."""
        self._again = None
        self._began = self._clock.seconds()
        self._come = b""
        try:
            self._spawn(self)
        except OSError as error:
            # The next one will hardly do better.
            self._pause_s = FIRST_PAUSE_S
            self._start_again(f"cannot be started: {error}")
            self._lost(None)

    def stop(self) -> Deferred[None]:
        """End the process, whatever it is at, and start no other; fires when it has ended."""
        self._stopped = Deferred()
        if self._again is not None:
            self._again.cancel()
            self._stopped.callback(None)
        else:
            self._kill()
        return self._stopped

    def take(self, job: Job) -> None:
        """Do a job; only one who is free."""
        self.job = job
        job.attempts += 1
        job.sites = []
        self.transport.write(packed((job.asked, self._seconds)))
        self._tell(job, 0)

    def _tell(self, job: Job, first: int) -> None:
        """Tell the process of stations from that number on, and then to begin."""
        if self.job is not job:
            return
        asked = job.asked
        try:
            part = sites(
                job.look,
                job.states[first : first + PART],
                asked.places[0],
                asked.hours_per_km,
                job.avoid,
            )
        except Exception:
            self.transport.write(packed(None))
            self._done(Failure(), 0.0)
            return
        if part:
            job.sites += part
            self.transport.write(packed(part))
        if first + PART < len(job.states):
            self._clock.callLater(0, self._tell, job, first + PART)
        else:
            self.transport.write(packed([]))
            self._late = self._clock.callLater(self._seconds + GRACE_S, self._take_too_long)

    def _done(self, found: Found | Failure, seconds: float) -> None:
        self._forget_late()
        job, self.job = self.job, None
        assert job is not None
        self._found(job, found, seconds)

    def _take_too_long(self) -> None:
        self.log.error(
            "Planner {planner} does not end its search: it is killed", planner=self._number
        )
        self._kill()

    def _forget_late(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def _start_again(self, problem: str) -> None:
        self._pause_s = next_pause_s(self._clock.seconds() - self._began, self._pause_s)
        self.log.error(
            "Planner {planner} {problem}; the next one starts in {pause:g} s",
            planner=self._number,
            problem=problem,
            pause=self._pause_s,
        )
        self._again = self._clock.callLater(self._pause_s, self._start_and_go_on)

    def _start_and_go_on(self) -> None:
        self.start()
        self._free()

    # What the process does

    def connectionMade(self) -> None:
        self.log.info(
            "Planner {planner} is process {pid}", planner=self._number, pid=self.transport.pid
        )

    def outReceived(self, data: bytes) -> None:
        self._come += data
        while len(self._come) >= HEAD.size:
            (length,) = HEAD.unpack_from(self._come)
            end = HEAD.size + length
            if len(self._come) < end:
                return
            content, self._come = self._come[HEAD.size : end], self._come[end:]
            self._told(pickle.loads(content))

    def _told(self, answer: Any) -> None:
        job = self.job
        if job is None:
            return
        if isinstance(answer, str):
            self._done(Failure(SearchFailed(answer)), 0.0)
            return
        seconds, found, considered = answer
        there = [job.sites[number] for number in considered]
        self._done(attrs.evolve(found, sites=there), seconds)

    def errReceived(self, data: bytes) -> None:
        self.log.warn(
            "{text}",
            text=data[:1000].decode(errors="replace").rstrip(),
            log_system=f"planner {self._number}: stderr",
        )

    def processEnded(self, reason: Failure) -> None:
        self._forget_late()
        job, self.job = self.job, None
        ended: Any = reason.value
        how = signal.Signals(ended.signal).name if ended.signal else f"status {ended.exitCode}"
        if self._stopped is None:
            self._start_again(f"has ended with {how}")
        else:
            self.log.info("Planner {planner} has ended with {how}", planner=self._number, how=how)
        self._lost(job)
        if self._stopped is not None:
            self._stopped.callback(None)
