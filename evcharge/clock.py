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

    Charging ends by the server's time. Were it the system's clock, setting that ahead would free
    slots which were paid for. So the server's time starts as the system's, goes by a steady source,
    and is steered towards the system's: while they differ it goes up to a twentieth faster or
    slower, as adjtime has it. An hour off is made up in twenty, and one that is taken back soon
    leaves next to nothing.

    :param wall: the system's clock, seconds since the epoch.
    :param steady: seconds since anything; they are never set.
    :param lead_s: of another process's clock on this machine, to go on with its time; otherwise
        the time starts as the system's.
    """

    name = "clock"
    log = Logger()

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        lead_s: float | None = None,
    ) -> None:
        self._wall = wall
        self._steady = steady_source() if steady is None else steady
        self._looked_at = self._steady()
        self._lead_s = wall() - self._looked_at if lead_s is None else lead_s
        self._steering_s = 0.0
        """What the lead is to change by until the next look."""
        self._was_off_s = 0.0
        self._differs = False
        """Whether the last that was logged is that the clocks differ."""
        self._loop: LoopingCall | None = None

    def seconds(self) -> float:
        """The present, seconds since the epoch."""
        now = self._steady()
        return now + self._lead_at(now)

    @property
    def lead_s(self) -> float:
        """How far the server's time is ahead of the steady source, seconds."""
        return self._lead_at(self._steady())

    def _lead_at(self, now: float) -> float:
        # Bit by bit, as in one step the time would go back; and when the next look is late, no more
        # than was to be made up.
        return self._lead_s + self._steering_s * min((now - self._looked_at) / LOOK_S, 1.0)

    def steer(self) -> None:
        """Look at the system's clock, move towards it until the next look, and log a difference."""
        now = self._steady()
        self._lead_s = self._lead_at(now)
        self._looked_at = now
        off_s = self._wall() - (now + self._lead_s)
        most_s = LOOK_S * MOST_STEERING
        self._steering_s = max(-most_s, min(off_s, most_s))
        if abs(off_s) > JUMP_S:
            if abs(off_s - self._was_off_s) > JUMP_S:
                self._differs = True
                self.log.warn(
                    "The system's clock has been set by {by:+.0f} s; the server's time follows "
                    "slowly, so that no charging ends too soon or too late: it is {off:+.0f} s off",
                    by=off_s - self._was_off_s,
                    off=-off_s,
                )
        elif self._differs:
            self._differs = False
            self.log.warn("The system's clock and the server's time agree again")
        self._was_off_s = off_s

    def keep_steady(self, reactor: IReactorTime) -> None:
        """
        Have the reactor's timers go by the steady source, and this clock by the reactor's timers.

        By the system's clock, as Twisted has it, setting that back would stop all of them for as
        long. They are not steered either: so they measure how long something takes. What
        `reactor.seconds` says is good for nothing else.
        """
        # Calls that were scheduled before stay right, as the timers begin at the system's time.
        steady, began = self._steady, self._wall() - self._steady()
        reactor.seconds = lambda: steady() + began  # type: ignore[method-assign]
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
