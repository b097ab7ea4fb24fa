"""
Keeps the present right: follows the system's clock, or the storage's own, and what is stored too.

::

    each second   how far is the present off?
      a minute at most: it is steered there, and nobody notices
      more, and the same at three looks: the clock was set.  The storage moves its instants (or what
      began by a wrong clock), all in one step; then the present jumps as far.

The storage goes first. An operation says by which of the storage's clocks its instants are, so that
it does not matter which of the two is carried out first; and where the storage cannot be written,
everything stays right by the old time until it can.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge import MADE
from evcharge.process.clock import LOOK_S, SteadyClock, boot_id
from evcharge.rules.clocks import (
    MOST_STEERED_S,
    Clocks,
    Decide,
    Newest,
    Reading,
    at_jump,
    at_start,
    doubt,
    in_words,
)
from evcharge.rules.operation import Operation
from evcharge.rules.timekeeping import ReadClock, SetClock, TimeTold
from evcharge.storage import Perform, Storage, StorageError, carry_out
from evcharge.storage.group_commit import TryAgain, Unavailable

R = TypeVar("R")

LOOKS = 3
"""At how many looks in turn the clock has to be off by the same before that is a jump."""

TOLD_S = 2.0
"""A difference that is logged, seconds."""

NOTED_S = 30.0
"""How far the system's clock may have drifted from the steady seconds before that is noted."""

MADE_AT = datetime.fromisoformat(f"{MADE}T00:00:00+00:00").timestamp()
"""When this version was made, seconds since the epoch: no clock before that is right."""

MOST_TRIES = 3
"""How often the clock of a storage that others have too is tried to be set at the start."""

LOOKS_AT_START = 6
"""
How often it is looked at the start, by the time of a storage that others may have open too, before
that is taken for wrong, or for set: those who run need less to follow it.
"""


@attrs.define
class _Start:
    """What is found, and decided, at a look at the start."""

    reading: Reading
    may_wait: bool
    """Whether there will be another look, so that nothing need be changed by this one."""
    before: Clocks = attrs.field(factory=Clocks)
    found: Newest = attrs.field(factory=Newest)
    waits: bool = False

    def decide(self, clocks: Clocks, newest: Callable[[], Newest]) -> Clocks:
        self.before, self.found = clocks, newest()
        after = at_start(clocks, self.found, self.reading, MADE_AT)
        self.waits = self.may_wait and after is not clocks
        return clocks if self.waits else after


class Timekeeper(Service):
    """
    Follows the clock by which the server goes, and moves with it what the storage has.

    :param clock: the present, which is moved.
    :param timers: whose timers have it look.
    :param perform: carries out the storage's operations.
    :param told: called when the present may have become another one.
    :param wall: the system's clock, seconds since the epoch.
    :param boot: which of the machine's starts this is.
    :param pause: waits for some seconds, at the start.
    :param begins_with: the storage to :meth:`begin` with when it starts, open by then; None: it has
        begun by then.
    """

    name = "timekeeper"
    log = Logger()

    def __init__(
        self,
        clock: SteadyClock,
        timers: IReactorTime,
        perform: Perform,
        told: Callable[[], None] = lambda: None,
        wall: Callable[[], float] = time.time,
        boot: str | None = None,
        pause: Callable[[float], None] = time.sleep,
        begins_with: Storage | None = None,
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._perform = perform
        self._told = told
        self._wall = wall
        self._boot = boot_id() if boot is None else boot
        self._pause = pause
        self._begins_with = begins_with
        self._whose = "The system's"
        self._asks = False
        """Whether the storage has a time of its own, by which all who share it go."""
        self._asking = False
        self._right_lead_s = clock.lead_s
        """How far the present should be ahead of the steady seconds, by the last that is known."""
        self._clocks = Clocks()
        self._off_s = 0.0
        """How far the present was off at the last look."""
        self._looks = 0
        """At how many looks in turn it was off by so much, where that is a jump."""
        self._setting = False
        self._in_trouble = False
        """Whether the last that was logged of a jump is that the storage could not follow."""
        self._differs = False
        """Whether the last that was logged is that the clocks differ."""
        self._loop: LoopingCall | None = None

    # The start

    def begin(self, storage: Storage) -> None:
        """
        Set the clock, and have the storage, which has just been opened, note what kind it is.

        :raise StorageError: the storage cannot do so.
        """
        looks_left = LOOKS_AT_START
        while True:
            looks_left -= 1
            told = self._now(storage, ReadClock(self._clock.steady))
            if told.lead_s is None:
                self._right_lead_s = self._wall() - self._clock.steady()
            else:
                self._asks, self._whose = True, "The database's"
                self._right_lead_s = told.lead_s
            reading = self._reading(self._right_lead_s, self._asks)
            start = _Start(reading, may_wait=self._asks and looks_left > 0)
            self._clocks = self._now(storage, SetClock(start.decide))
            if not start.waits:
                break
            self._pause(LOOK_S)
        self._clock.jump(self._right_lead_s - self._clock.lead_s)
        self._clock.number = self._clocks.number
        self._tell_of_start(start)

    def _now(self, storage: Storage, operation: Operation[R]) -> R:
        for _ in range(MOST_TRIES - 1):
            with contextlib.suppress(Unavailable, TryAgain):
                return carry_out(storage, operation)
        try:
            return carry_out(storage, operation)
        except (Unavailable, TryAgain) as error:
            # It would not be known what is by a wrong clock, and slots would be freed too soon.
            raise StorageError(f"it cannot be noted what time it is: {error}") from error

    def _tell_of_start(self, start: _Start) -> None:
        before, after = start.before, self._clocks
        by_s = after.moved(before.number)
        if after.suspect:
            why = doubt(start.reading.now, start.found.plain, MADE_AT)
            self.log.warn(
                "{whose} clock is wrong: it says {now}, which is {why}. What begins now is moved "
                "when the clock is put right, so that it lasts as long as was promised; what stood "
                "before keeps its times",
                whose=self._whose,
                now=in_words(start.reading.now),
                why=f"before {why}" if why else "as far off as at an earlier start",
            )
        elif before.suspect:
            self.log.warn(
                "{whose} clock is right again: what began by the wrong one was moved by "
                "{by:+.0f} s, and lasts as long as was promised",
                whose=self._whose,
                by=by_s,
            )
        elif by_s:
            self.log.warn(
                "{whose} clock was set by {by:+.0f} s while no server ran: all that stands was "
                "moved with it, and lasts as long as was promised",
                whose=self._whose,
                by=by_s,
            )

    def _reading(self, lead_s: float, shared: bool = False) -> Reading:
        return Reading(self._clock.steady() + lead_s, lead_s, self._boot, shared)

    # Looking

    def startService(self) -> None:
        super().startService()
        if self._begins_with is not None:
            self.begin(self._begins_with)
        self._loop = LoopingCall(self._look)
        self._loop.clock = self._timers
        self._loop.start(LOOK_S, now=False)

    def stopService(self) -> None:
        super().stopService()
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def _look(self) -> None:
        # A failure would end the loop for good.
        try:
            self._look_once()
        except Exception:
            self.log.failure("The clock could not be looked at")

    def _look_once(self) -> None:
        if not self._asks:
            self._follow(self._wall() - self._clock.steady())
        elif not self._asking:
            self._asking = True
            asked: Deferred[Any] = maybeDeferred(self._perform, ReadClock(self._clock.steady))
            # While the storage is away, the present goes on as steadily as it did.
            asked.addCallbacks(self._answered, lambda failure: failure.trap(Unavailable, TryAgain))
            asked.addErrback(lambda failure: self.log.failure("No time", failure))
            asked.addBoth(self._asked)

    def _asked(self, _: object) -> None:
        self._asking = False

    def _answered(self, told: TimeTold) -> None:
        if told.lead_s is not None:
            self._right_lead_s = told.lead_s
            self._learn(told.clocks)
            self._follow(told.lead_s, told.error_s)

    def _follow(self, lead_s: float, error_s: float = 0.0) -> None:
        """
        Go towards a lead that the present should have.

        :param error_s: how exactly that is known.
        """
        self._right_lead_s = lead_s
        off_s = self._off()
        if abs(off_s) > MOST_STEERED_S:
            self._clock.steer(0.0)
            self._looks = self._looks + 1 if abs(off_s - self._off_s) < TOLD_S else 1
            if self._looks >= LOOKS and not self._setting:
                self._jump(round(off_s), lead_s)
        else:
            self._looks = 0
            self._clock.steer(off_s if abs(off_s) > error_s else 0.0)
            self._tell_of_difference(off_s)
            self._note(lead_s)
        self._off_s = off_s
        self._told()

    def _note(self, lead_s: float) -> None:
        """
        Have the storage note how far the clock is ahead, if it does not know.

        So a server that starts again knows how far it was set meanwhile. Of a time that many
        machines go by, each cannot note its own.
        """
        if self._clocks.boot_id == self._boot:
            is_known = abs(lead_s - self._clocks.lead_s) < NOTED_S
        else:
            is_known = self._asks or not self._boot
        if is_known or self._setting:
            return

        def decide(clocks: Clocks, newest: object) -> Clocks:
            mine = clocks.boot_id == self._boot or not self._asks
            return clocks.noted(lead_s, self._boot) if mine else clocks

        self._set(decide, lambda failure: failure.trap(Unavailable, TryAgain))

    def _tell_of_difference(self, off_s: float) -> None:
        if abs(off_s) > TOLD_S:
            by_s = off_s - self._off_s
            if abs(by_s) > TOLD_S:
                self._differs = True
                self.log.warn(
                    "{whose} clock has been set by {by:+.0f} s; the server's time follows slowly: "
                    "it is {off:+.0f} s off",
                    whose=self._whose,
                    by=by_s,
                    off=-off_s,
                )
        elif self._differs:
            self._differs = False
            self.log.warn("{whose} clock and the server's time agree again", whose=self._whose)

    # A jump

    def _jump(self, by_s: float, lead_s: float) -> None:
        """Have what is stored moved by `by_s`; then the present is."""
        decide = partial(
            at_jump,
            mine=self._clock.number,
            by_s=by_s,
            reading=self._reading(lead_s),
            made=MADE_AT,
        )
        self._set(decide, partial(self._failed, by_s=by_s))

    def _set(self, decide: Decide, failed: Callable[[Failure], object]) -> None:
        """Have the storage set its clock; `failed` is told where it cannot."""
        self._setting = True
        done: Deferred[Any] = maybeDeferred(self._perform, SetClock(decide))
        done.addCallbacks(self._learn, failed)
        done.addErrback(lambda failure: self.log.failure("The clock was set in vain", failure))
        done.addBoth(self._was_set)

    def _was_set(self, _: object) -> None:
        self._setting = False

    def _learn(self, clocks: Clocks) -> None:
        """Go by the clock that the storage goes by."""
        mine = self._clock.number
        if clocks.number < mine:
            # It was asked before we told it.
            return
        before, self._clocks = self._clocks, clocks
        by_s = clocks.moved(mine)
        if by_s:
            self._clock.jump(by_s)
            if (
                self._asks
                and abs(self._reading(self._right_lead_s).now - clocks.since) < MOST_STEERED_S
            ):
                # Just now the newest clock was the storage's own: others, who had another one
                # meanwhile, have moved more than we would have.
                self._clock.jump(self._off())
        self._clock.number = clocks.joined_from(mine)
        if by_s:
            self._off_s = self._off()
            self._tell_of_jump(by_s, before, clocks)
            self._told()

    def _off(self) -> float:
        """How far the present is off, as far as is known."""
        return self._right_lead_s - self._clock.lead_s

    def _tell_of_jump(self, by_s: float, before: Clocks, after: Clocks) -> None:
        self._in_trouble = False
        if after.suspect:
            what = "and is still wrong: what began by it is moved with it"
        elif before.suspect:
            what = "and is right now: what began by the wrong one is moved with it"
        else:
            what = "and all that stands is moved with it"
        self.log.warn(
            "{whose} clock has been set by {by:+.0f} s; the server's time follows at once, {what}, "
            "so that it lasts as long as was promised",
            whose=self._whose,
            by=by_s,
            what=what,
        )

    def _failed(self, failure: Failure, by_s: float) -> None:
        failure.trap(Unavailable, TryAgain)
        if not self._in_trouble:
            self._in_trouble = True
            self.log.error(
                "{whose} clock has been set by {by:+.0f} s, and the storage cannot follow: "
                "{problem}. That is tried again each second; until then all goes by the old time",
                whose=self._whose,
                by=by_s,
                problem=failure.getErrorMessage(),
            )


class Follower(Service):
    """
    Follows the time of another process of this machine, which tells its own.

    :param clock: the present here, which is moved.
    :param timers: whose timers have it look.
    """

    name = "follower"

    def __init__(self, clock: SteadyClock, timers: IReactorTime) -> None:
        self._clock = clock
        self._lead_s = clock.lead_s
        self._loop = LoopingCall(self._look)
        self._loop.clock = timers

    def startService(self) -> None:
        super().startService()
        self._loop.start(LOOK_S, now=False)

    def stopService(self) -> None:
        super().stopService()
        self._loop.stop()

    def tell(self, lead_s: float, number: int) -> None:
        """How far the other's present is ahead of the steady seconds, and which clock it is."""
        self._lead_s = lead_s
        if number != self._clock.number:
            self._clock.number = number
            self._clock.jump(lead_s - self._clock.lead_s)

    def _look(self) -> None:
        self._clock.steer(self._lead_s - self._clock.lead_s)
