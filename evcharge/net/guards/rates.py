"""How many requests a second a client may send: token buckets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from evcharge.net.guards import RATE, OnRefused
from evcharge.net.protocol import Farewell

if TYPE_CHECKING:
    from evcharge.net.guards.origins import Visit

LEAST_BURST = 10.0
"""Requests that may come at once under any rate: a driver's whole journey."""

Dispatch = Callable[[bytes, Any], Any]


@attrs.define(eq=False)
class Bucket:
    """
    Tokens, one for each request; they come back at `rate` a second, up to `size`.

    Requests over the rate take tokens too, down to as many under zero: that is how one who goes on
    is told from one who waits.
    """

    rate: float
    size: float
    tokens: float
    at: float
    """When `tokens` was true, seconds."""

    @classmethod
    def full(cls, rate: float, now: float) -> Bucket:
        """A bucket that nothing has been taken of yet."""
        size = max(rate, LEAST_BURST)
        return cls(rate, size, size, now)

    def take(self, now: float) -> bool:
        """Take a token; whether there was one."""
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.rate)
        self.at = now
        had_one = self.tokens >= 1
        self.tokens = max(self.tokens - 1, -self.size)
        return had_one

    @property
    def is_overdrawn(self) -> bool:
        """Whether all has been taken that could be, and as much again."""
        return self.tokens <= -self.size

    def is_full(self, now: float) -> bool:
        """Whether it holds all that it can."""
        return self.tokens + (now - self.at) * self.rate >= self.size


class RateLimit:
    """
    A dispatch of no more requests a second than are allowed.

    :param dispatch: carries a request out.
    :param refuse: makes the reply to a line that is not carried out.
    :param seconds: the present.
    :param per_connection: requests a second; None: any number.
    :param per_address: the same, for all the connections of an address together.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        refuse: Callable[[bytes], bytes],
        seconds: Callable[[], float],
        per_connection: float | None,
        per_address: float | None,
        on_refused: OnRefused,
    ) -> None:
        self._dispatch = dispatch
        self._refuse = refuse
        self._seconds = seconds
        self._per_connection = per_connection
        self._per_address = per_address
        self._on_refused = on_refused

    def __call__(self, line: bytes, visit: Visit) -> Any:
        """
        The reply to `line`, or a Deferred of it; a :class:`Farewell` to one who was told that
        there are too many, and went on.
        """
        now = self._seconds()
        empty = [bucket for bucket in self._buckets(visit, now) if not bucket.take(now)]
        if not empty:
            return self._dispatch(line, visit)
        reply = self._refuse(line)
        if any(bucket.is_overdrawn for bucket in empty):
            # Once for a client, and not for each request: it is the requests that are too many.
            self._on_refused(RATE, visit.origin.name)
            return Farewell(reply)
        return reply

    def _buckets(self, visit: Visit, now: float) -> list[Bucket]:
        buckets = []
        if self._per_connection is not None:
            if visit.bucket is None:
                visit.bucket = Bucket.full(self._per_connection, now)
            buckets.append(visit.bucket)
        if self._per_address is not None:
            origin = visit.origin
            if origin.bucket is None:
                origin.bucket = Bucket.full(self._per_address, now)
            buckets.append(origin.bucket)
        return buckets
