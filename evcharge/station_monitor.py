"""The sweep: ends what is due, as soon as it is, and hands on what is free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.rules.events import Event
from evcharge.rules.sweep import BEGINNINGS, Sweep, SweepResult
from evcharge.storage import Perform
from evcharge.storage.group_commit import Unavailable

LEAST_WAIT_S = 0.02
"""How soon a sweep comes after another one at the least, seconds: what is due in between it ends
together."""

END_S = 0.5
"""How long a sweep may take to end when the server does, seconds."""


class StationMonitor(Service):
    """
    Sweeps the storage: as soon as something is due, and now and then at any rate.

    :param perform: carries out the storage's operations.
    :param clock: whose timers have it sweep.
    :param now: the present, seconds since the epoch.
    :param interval: seconds between two sweeps at the most.
    :param user_ttl: seconds after the login after which a user is removed who neither holds an
        EVSE nor waits.
    :param swept: called when a sweep has ended, with the seconds it took and its result; None: it
        failed.
    :param terms: what sessions go by.
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
        swept: Callable[[float, SweepResult | None], None] = lambda seconds, result: None,
        terms: Terms = DEFAULT_TERMS,
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
        self._next: IDelayedCall | None = None
        """The sweep that comes before it would be time, as something is due."""
        self._next_due = inf

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
        self._expect_nothing()
        if self._sweep is None:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._sweep.addCallback(ended.callback)
        return ended.addTimeout(END_S, self._clock).addErrback(lambda _: None)

    def hear(self, events: Sequence[Event], soon: Callable[[Callable[[], object]], None]) -> None:
        """
        Be told what has happened, in another thread.

        :param soon: has something called in the reactor's.
        """
        dues = [e.session.due_timestamp for e in events if isinstance(e, BEGINNINGS)]
        if dues and min(dues) < self._next_due:
            soon(partial(self.expect, min(dues)))

    def expect(self, due: float) -> None:
        """Have a sweep when something is due, seconds since the epoch, or a little later."""
        if not self.running or due >= self._next_due:
            return
        self._expect_nothing()
        wait_s = max(LEAST_WAIT_S, due - self._now())
        if wait_s < self._interval:
            self._next_due = due
            self._next = self._clock.callLater(wait_s, self._come)

    def _expect_nothing(self) -> None:
        self._next_due = inf
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _come(self) -> None:
        due, self._next, self._next_due = self._next_due, None, inf
        if self._sweep is None:
            self._tick()
        else:
            self.expect(due)

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
                "Sweep: {freed} slots freed, {removed} users removed who held nothing",
                freed=result.freed,
                removed=result.removed,
            )
        if result.next_due is not None:
            self.expect(result.next_due)
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
