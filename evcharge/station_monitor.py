"""The sweep: frees what has ended, every few seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.rules.sweep import Sweep, SweepResult
from evcharge.storage import Perform
from evcharge.storage.group_commit import Unavailable

END_S = 0.5
"""How long a sweep may take to end when the server does, seconds."""


class StationMonitor(Service):
    """
    Sweeps the storage.

    :param perform: carries out the storage's operations.
    :param clock: whose timers have it sweep.
    :param now: the present, seconds since the epoch.
    :param interval: seconds between two sweeps.
    :param user_ttl: seconds after which a user who never paid is removed.
    :param terms: what sessions go by.
    :param swept: called when a sweep has ended, with the seconds it took and its result; None: it
        failed.
    """

    log = Logger()
    name = "station monitor"

    def __init__(
        self,
        perform: Perform,
        clock: IReactorTime,
        now: Callable[[], float],
        interval: float,
        user_ttl: float,
        terms: Terms = DEFAULT_TERMS,
        swept: Callable[[float, SweepResult | None], None] = lambda seconds, result: None,
    ) -> None:
        self._told = swept
        self._terms = terms
        self._began = 0.0
        self._perform = perform
        self._clock = clock
        self._now = now
        self._interval = interval
        self._user_ttl = user_ttl
        self._loop: LoopingCall | None = None
        self._sweep: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        self._loop = LoopingCall(self._tick)
        self._loop.clock = self._clock
        # The loop never waits and its body never fails: either would end the sweeps for good.
        self._loop.start(self._interval, now=True)

    def stopService(self) -> Deferred[None]:
        """Fires when a sweep that is under way has ended; after :data:`END_S` all the same."""
        super().stopService()
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
        if self._sweep is None:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._sweep.addCallback(ended.callback)
        return ended.addTimeout(END_S, self._clock).addErrback(lambda _: None)

    def _tick(self) -> None:
        if self._sweep is not None:
            self.log.warn("The previous sweep is still under way")
            return
        done = self._once().addErrback(self._failed)
        self._sweep = done
        done.addCallback(self._ended)

    def _once(self) -> Deferred[None]:
        self._began = self._clock.seconds()
        now = self._now()
        sweep: Deferred[Any] = maybeDeferred(
            self._perform, Sweep(now, now - self._user_ttl, self._terms)
        )
        done: Deferred[None] = sweep.addCallback(self._swept)
        return done

    def _swept(self, result: SweepResult) -> Deferred[None] | None:
        self._told(self._clock.seconds() - self._began, result)
        if result.freed or result.removed:
            self.log.info(
                "Sweep: {freed} slots freed, {removed} users who never paid removed",
                freed=result.freed,
                removed=result.removed,
            )
        # What is left of much goes on at once, with the drivers' requests in between.
        return self._once() if result.more and self.running else None

    def _failed(self, failure: Failure) -> None:
        self._told(self._clock.seconds() - self._began, None)
        if failure.check(Unavailable):
            # No fault of ours, and so without a traceback.
            self.log.error(
                "The sweep failed; the next one will try again: {problem}",
                problem=failure.getErrorMessage(),
            )
        else:
            self.log.failure("The sweep failed; the next one will try again", failure=failure)

    def _ended(self, _: None) -> None:
        self._sweep = None
