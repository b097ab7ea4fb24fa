"""A clock whose time passes only where it is let pass, from one call to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from math import inf, isfinite, nextafter
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

LEAST_STALE = 64
"""So many entries of calls that are off are left in the heap at any rate."""


@implementer(IDelayedCall)
class VirtualCall:
    """A call that is to come; see :class:`VirtualClock`."""

    __slots__ = ("_at", "_clock", "args", "called", "cancelled", "f", "kwargs", "number")

    def __init__(
        self,
        clock: VirtualClock,
        at: float,
        number: int,
        f: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._clock = clock
        self._at = at
        self.number = number
        """Of its entry in the heap; an entry by another number is stale."""
        self.f = f
        self.args = args
        self.kwargs = kwargs
        self.called = self.cancelled = False

    def getTime(self) -> float:
        """When it comes, seconds of the clock."""
        return self._at

    def active(self) -> bool:
        """Whether it is still to come."""
        return not (self.called or self.cancelled)

    def cancel(self) -> None:
        """
        Have it not come.

        :raise AlreadyCalled, AlreadyCancelled: it has come, or is off already.
        """
        self._check()
        self.cancelled = True
        # What it would be called with may be a lot, and its entry stays for a while.
        self.f, self.args, self.kwargs = _nothing, (), {}
        self._clock.forget()

    def reset(self, secondsFromNow: float) -> None:
        """
        Have it come so many seconds from now.

        :raise AlreadyCalled, AlreadyCancelled: as :meth:`cancel`.
        """
        self._check()
        self._move(self._clock.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        """
        Have it come so many seconds later than it would.

        :raise AlreadyCalled, AlreadyCancelled: as :meth:`cancel`.
        """
        self._check()
        self._move(self._at + secondsLater)

    def _check(self) -> None:
        if self.cancelled:
            raise AlreadyCancelled
        if self.called:
            raise AlreadyCalled

    def _move(self, at: float) -> None:
        self._at = max(at, self._clock.seconds())
        self.number = self._clock.enter(self)
        self._clock.forget()


def _nothing() -> None:
    pass


@implementer(IReactorTime)
class VirtualClock:
    """
    A reactor's timers, of which those that are due come when somebody lets time pass.

    Time goes from call to call: within each, :meth:`seconds` is the instant for which that was
    scheduled, however far time is let pass at once. Calls for the same instant come in the order
    in which they were scheduled. What a call costs goes by the logarithm of how many there are.

    :param now: where it begins, seconds.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._heap: list[tuple[float, int, VirtualCall]] = []
        self._numbers = count()
        self._stale = 0
        """How many entries of the heap are of calls that are off, or come at another time."""

    def seconds(self) -> float:
        """The present, seconds."""
        return self._now

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> VirtualCall:
        """Have something called `delay` seconds from now."""
        return self._schedule(self._later(delay), callable, args, kwargs)

    def call_at(self, at: float, f: Callable[..., object], /, *args: Any) -> VirtualCall:
        """Have something called at an instant, seconds of this clock."""
        return self._schedule(at, f, args, {})

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """The calls that are still to come, in their order."""
        return [call for _, number, call in sorted(self._heap) if _stands(call, number)]

    @property
    def next_at(self) -> float:
        """When the next call comes, seconds; infinite where none is to come."""
        heap = self._heap
        while heap and not _stands(heap[0][2], heap[0][1]):
            heapq.heappop(heap)
            self._stale -= 1
        return heap[0][0] if heap else inf

    def step(self) -> None:
        """Go to the next call, and make it; IndexError: there is none."""
        while True:
            at, number, call = heapq.heappop(self._heap)
            if _stands(call, number):
                break
            self._stale -= 1
        self._now = at
        call.called = True
        call.f(*call.args, **call.kwargs)

    def advance_to(self, at: float) -> None:
        """Let time pass until an instant, and make the calls for it and before, those that are new
        included."""
        while self.next_at <= at:
            self.step()
        self._now = max(self._now, at)

    def advance(self, amount: float) -> None:
        """Let `amount` seconds pass, as :meth:`advance_to` does."""
        self.advance_to(self._later(amount))

    def pump(self, timings: Sequence[float]) -> None:
        """Let time pass by each of `timings`, seconds, in turn."""
        for amount in timings:
            self.advance(amount)

    def _later(self, seconds: float) -> float:
        """
        The instant that is so much later, or the next one that a float can tell.

        No reactor calls too early: who is called in a loop would take the rest for one more turn.
        """
        at = self._now + seconds
        return at if at - self._now >= seconds else nextafter(at, inf)

    def _schedule(
        self, at: float, f: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> VirtualCall:
        if not at >= self._now or not isfinite(at):
            raise ValueError(f"a call for {at!r}, at {self._now!r}")
        number = next(self._numbers)
        call = VirtualCall(self, at, number, f, args, kwargs)
        heapq.heappush(self._heap, (at, number, call))
        return call

    def enter(self, call: VirtualCall) -> int:
        """Put a call in once more, which comes at another time now; the number of its entry."""
        number = next(self._numbers)
        heapq.heappush(self._heap, (call.getTime(), number, call))
        return number

    def forget(self) -> None:
        """An entry is stale; where most of them are, the heap is made anew of the others."""
        self._stale += 1
        if self._stale > LEAST_STALE and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if _stands(entry[2], entry[1])]
            heapq.heapify(self._heap)
            self._stale = 0


def _stands(call: VirtualCall, number: int) -> bool:
    """Whether an entry of that number is the one by which the call comes."""
    return call.number == number and not call.cancelled
