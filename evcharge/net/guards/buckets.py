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

    @classmethod
    def full(cls, rate: float, now: float) -> TokenBucket:
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
