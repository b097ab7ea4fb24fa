"""The server's time: the system's, but without its jumps."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

LOOK_S = 1.0
"""How often the system's clock is looked at, seconds."""

MOST_STEERING = 0.05
"""By what part of the time that passes the server's time is moved towards the system's at most."""

JUMP_S = 2.0
"""A difference that is logged, seconds."""


def _steady() -> float:
    """Seconds since some time in the past; nobody sets them, and they pass during a suspend too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def steady_source() -> Callable[[], float]:
    """The best source of steady seconds that this machine has."""
    return _steady if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic


class SteadyClock(Service):
    """
    Seconds since the epoch that never jump and never go back.

    Charging ends, and timers go off, by the server's time. Were it the system's clock, setting that
    ahead would free slots which were paid for, and setting it back would stop all timers for as
    long. So the server's time starts as the system's, goes by a steady source, and is steered
    towards the system's by a twentieth of the time that passes, as adjtime does: an hour off is
    made up in twenty, and one that is taken back soon leaves next to nothing.

    :param wall: the system's clock, seconds since the epoch.
    :param steady: seconds since anything; they are never set.
    """

    name = "clock"
    log = Logger()

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
    ) -> None:
        self._wall = wall
        self._steady = steady_source() if steady is None else steady
        self._looked_at = self._steady()
        self._offset = wall() - self._looked_at
        self._was_off_s = 0.0
        self._loop: LoopingCall | None = None

    def seconds(self) -> float:
        """The present, seconds since the epoch."""
        return self._steady() + self._offset

    def steer(self) -> None:
        """Move towards the system's clock, and say so when that has jumped."""
        now = self._steady()
        off_s = self._wall() - (now + self._offset)
        most_s = (now - self._looked_at) * MOST_STEERING
        self._looked_at = now
        self._offset += max(-most_s, min(off_s, most_s))
        if abs(off_s - self._was_off_s) > JUMP_S:
            if abs(off_s) > JUMP_S:
                self.log.warn(
                    "The system's clock has been set by {by:+.0f} s; the server's time follows "
                    "slowly, so that no charging ends too soon or too late: it is {off:+.0f} s off",
                    by=off_s - self._was_off_s,
                    off=-off_s,
                )
            else:
                self.log.warn("The system's clock has been set, and agrees with the server again")
        self._was_off_s = off_s

    def rule(self, reactor: IReactorTime) -> None:
        """Have the reactor, its timers included, go by this time."""
        # Calls that were scheduled before stay right: both have begun at the system's time.
        reactor.seconds = self.seconds  # type: ignore[method-assign]
        self._reactor = reactor

    def startService(self) -> None:
        super().startService()
        self._loop = LoopingCall(self.steer)
        self._loop.clock = self._reactor
        self._loop.start(LOOK_S, now=False)

    def stopService(self) -> None:
        super().stopService()
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
