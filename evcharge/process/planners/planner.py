"""What keeps one planner running, in its server."""

from __future__ import annotations

import contextlib
import pickle
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.models.slots import StationState
from evcharge.models.tariffs import Tariff
from evcharge.outcomes import Refusal
from evcharge.planning.planner import Asked
from evcharge.planning.sites import Look
from evcharge.process.planners.child import HEAD, packed
from evcharge.process.restarts import FIRST_PAUSE_S, next_pause_s

PART = 1000
"""Stations that are looked at in one turn of the reactor, whether the process knows them so,"""
MOST_TOLD = 10
"""and stations and sessions that it is told of: a tenth of a millisecond either."""

TRIPS_PER_S, MOST_AT_ONCE = 10, 5
"""How many trips a planner begins with while others than who asked for them are served, after so
many at once. Each takes the server, and whoever asked, the better part of a millisecond: those
others would feel hundreds of short ones a second."""

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
    done: Deferred[dict[str, Any] | Refusal]
    attempts: int = 0


class Planner(ProcessProtocol):
    """
    One of the planners: its process, and the next one when that has ended.

    :param number: by which the log tells them apart, from 1.
    :param seconds: how long a search may take.
    :param spawn: makes a process whose protocol this is. OSError: it cannot be made.
    :param found: called with a job that is done, what is told of the trip, or a Failure, and how
        long the search took, seconds.
    :param lost: called when its process has ended, or cannot be started, with the job, if any, that
        it was at.
    :param free: called when it may be free again.
    :param in_turn: has something done soon, which takes a tenth of a millisecond.
    :param others_are_served: whether it has to leave time to others.
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
        found: Callable[[Job, dict[str, Any] | Failure, float], object],
        lost: Callable[[Job | None], object],
        free: Callable[[], object],
        in_turn: Callable[[Callable[[], object]], object],
        others_are_served: Callable[[], bool],
    ) -> None:
        self._number = number
        self._seconds = seconds
        self._spawn = spawn
        self._clock = clock
        self._found = found
        self._lost = lost
        self._free = free
        self._in_turn = in_turn
        self._others_are_served = others_are_served
        self._began = 0.0
        self._pause_s = 0.0
        self._come = b""
        self._answer: bytes | None = None
        """What the process has answered, until it is read."""
        self._states: dict[int, StationState] = {}
        """The stations as the process knows them, by id,"""
        self._tariffs: Mapping[str, Tariff] | None = None
        """and the tariffs."""
        self._again: IDelayedCall | None = None
        """While no process runs: the start of the next one."""
        self._rest: IDelayedCall | None = None
        """Until it may begin with another trip."""
        self._paced_s = 0.0
        """When it would be at the end of its trips if each took its share of a second."""
        self._late: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    @property
    def is_free(self) -> bool:
        """Whether there is a process, which is at nothing, and may begin with something."""
        return all(each is None for each in (self._again, self._stopped, self.job, self._rest))

    @property
    def is_failing(self) -> bool:
        """Whether there is no process, as several have not lived long."""
        return self._again is not None and self._pause_s > FIRST_PAUSE_S

    def start(self) -> None:
        """Start a process."""
        self._again = None
        self._began = self._clock.seconds()
        self._come, self._answer = b"", None
        self._states = {}
        self._tariffs = None
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
        if self._rest is not None:
            self._rest.cancel()
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
        now = self._clock.seconds()
        begins = max(now, self._paced_s) if self._others_are_served() else now
        self._paced_s = begins + 1 / TRIPS_PER_S
        rest = self._paced_s - now - MOST_AT_ONCE / TRIPS_PER_S
        if rest > 0:
            self._rest = self._clock.callLater(rest, self._rested)
        self._in_turn(partial(self._tell, job, 0))

    def _tell(self, job: Job, first: int) -> None:
        """Tell the process of stations from that number on, if it knows them otherwise, and then of
        the trip."""
        if self.job is not job:
            return
        tariffs = job.look.tariffs
        if tariffs is not self._tariffs:
            self._tariffs = tariffs
            self.transport.write(packed(dict(tariffs)))
        known, others, told = self._states, [], 0
        for state in job.states[first : first + PART]:
            first += 1
            station_id = state.station.station_id
            if known.get(station_id) is not state:
                known[station_id] = state
                others.append(state)
                told += 1 + len(state.held) + state.queue_length
                if told >= MOST_TOLD:
                    break
        if others:
            self.transport.write(packed(others))
        if first < len(job.states):
            self._in_turn(partial(self._tell, job, first))
            return
        look = attrs.evolve(job.look, tariffs={})
        station_ids = [state.station.station_id for state in job.states]
        self.transport.write(packed((job.asked, look, station_ids, job.avoid, self._seconds)))
        self._late = self._clock.callLater(self._seconds + GRACE_S, self._take_too_long)

    def _rested(self) -> None:
        self._rest = None
        self._free()

    def _done(self, found: dict[str, Any] | Failure, seconds: float) -> None:
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
            self._answer, self._come = self._come[HEAD.size : end], self._come[end:]
            self._in_turn(self._read)

    def _read(self) -> None:
        """Read what was answered, unless that is done."""
        if self._answer is None or self.job is None:
            return
        answer, self._answer = pickle.loads(self._answer), None
        if isinstance(answer, str):
            self._done(Failure(SearchFailed(answer)), 0.0)
            return
        seconds, found = answer
        self._done(found, seconds)

    def errReceived(self, data: bytes) -> None:
        self.log.warn(
            "{text}",
            text=data[:1000].decode(errors="replace").rstrip(),
            log_system=f"planner {self._number}: stderr",
        )

    def processEnded(self, reason: Failure) -> None:
        self._read()
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
