"""Token buckets: how much of a rate is left."""

from __future__ import annotations

import attrs

LEAST_BURST = 10.0
"""Requests that may come at once under any rate: a driver's whole journey."""


@attrs.define(eq=False)
class TokenBucket:
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
    debt: float = 0.0
    """How far under zero it is by requests that were carried out."""

    @classmethod
    def full(cls, rate: float, now: float) -> TokenBucket:
        """A bucket that nothing has been taken of yet."""
        size = max(rate, LEAST_BURST)
        return cls(rate, size, size, now)

    def take(self, now: float) -> bool:
        """Take a token; whether there was one."""
        back = (now - self.at) * self.rate
        self.tokens = min(self.size, self.tokens + back)
        self.debt = max(0.0, self.debt - back)
        self.at = now
        had_one = self.tokens >= 1
        self.tokens = max(self.tokens - 1, -self.size - self.debt)
        return had_one

    def has(self, more: int) -> bool:
        """Whether one who has just taken a token may have so many more; also one who never could,
        as there is no room for as many."""
        return self.tokens >= more or more >= self.size

    def spend(self, more: int) -> None:
        """Take so many more, be it that there are not as many: then the others are owed."""
        self.tokens -= more
        self.debt = max(0.0, -self.tokens)

    @property
    def is_overdrawn(self) -> bool:
        """Whether all has been taken that could be, and as much again."""
        return self.tokens <= -self.size - self.debt

    def is_full(self, now: float) -> bool:
        """Whether it holds all that it can."""
        return self.tokens + (now - self.at) * self.rate >= self.size
