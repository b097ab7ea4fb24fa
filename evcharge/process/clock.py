"""The present, and the steady seconds that timers go by."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

LOOK_S = 1.0
"""How often it is looked whether the present is right, seconds."""

MOST_STEERING = 0.05
"""By what part of the time that passes the present is moved towards the right one at most."""


def steady_source() -> Callable[[], float]:
    """The best source of steady seconds that this machine has."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        # Seconds since the machine started; they pass during a suspend too.
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


def boot_id() -> str:
    """Which of the machine's starts this is; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def keep_steady(reactor: IReactorTime, steady: Callable[[], float]) -> None:
    """
    Have a reactor's timers go by steady seconds.

    By the system's clock, as Twisted has it, setting that back would stop all of them for as long.
    They measure how long something takes, too: what `reactor.seconds` says is good for nothing
    else.
    """
    # Calls that were scheduled before stay right, as the timers begin at the system's time.
    began = time.time() - steady()
    reactor.seconds = lambda: steady() + began  # type: ignore[method-assign]


class SteadyClock:
    """
    The present, seconds since the epoch, which goes by steady seconds.

    Charging ends by it. Were it the system's clock, setting that ahead would free slots which were
    paid for. So it is steered, where it is a little off: it goes up to a twentieth faster or
    slower, as adjtime has it. It jumps where it is told to, and nowhere else.

    :param steady: seconds since anything; they are never set.
    :param lead_s: how far it is to be ahead of those, seconds; by default as far as the system's.
    :param number: see :attr:`number`.
    """

    def __init__(
        self,
        steady: Callable[[], float] | None = None,
        lead_s: float | None = None,
        number: int = 0,
    ) -> None:
        self.steady = steady_source() if steady is None else steady
        self.number = number
        """Which of the storage's clocks this is: see :mod:`evcharge.rules.clocks`."""
        self._looked_at = self.steady()
        self._lead_s = time.time() - self._looked_at if lead_s is None else lead_s
        self._steering_s = 0.0
        """What the lead is to change by until the next look."""

    def seconds(self) -> float:
        """The present, seconds since the epoch."""
        now = self.steady()
        return now + self._lead_at(now)

    @property
    def lead_s(self) -> float:
        """How far the present is ahead of the steady seconds."""
        return self._lead_at(self.steady())

    def _lead_at(self, now: float) -> float:
        # Bit by bit, as in one step the time would go back; and when the next look is late, no more
        # than was to be made up.
        passed = (now - self._looked_at) / LOOK_S
        return self._lead_s + (self._steering_s * passed if passed < 1.0 else self._steering_s)

    def steer(self, off_s: float) -> None:
        """Move by `off_s` until the next look, or as far as may be."""
        self.jump(0.0)
        most_s = LOOK_S * MOST_STEERING
        self._steering_s = max(-most_s, min(off_s, most_s))

    def jump(self, by_s: float) -> None:
        """Be `by_s` later, or earlier, at once; and steered no more."""
        now = self.steady()
        self._lead_s = self._lead_at(now) + by_s
        self._looked_at = now
        self._steering_s = 0.0
