"""What every session of a network goes by, beside its tariff."""

from __future__ import annotations

from datetime import tzinfo

import attrs

from evcharge.models.station import DEFAULT_TIME_ZONE, zone_of

MOST_WAITING = 20
"""How many drivers wait in line at a station at the most, where nobody says it."""

MOST_ARRIVAL_MINUTES = 120
"""How far away a driver may be who reserves."""

LEAST_SPEED, MOST_SPEED = 1.0, 600.0
"""How many times as fast as real time a simulation may go that people look at."""


@attrs.frozen
class Terms:
    """For how long an EVSE is kept for whom, how many may wait, and how fast time goes."""

    time_scale: float = 1.0
    """How many times faster than real time charging goes."""
    hold_s: float = 15 * 60.0
    """For how long after the announced arrival a reservation holds, simulated seconds, as are the
    two that follow."""
    offer_s: float = 5 * 60.0
    """For how long an offer holds."""
    idle_s: float = 30 * 60.0
    """For how long a car may stand there that is charged."""
    most_waiting: int = MOST_WAITING
    """How many drivers wait in line at a station at the most."""
    time_zone: str = DEFAULT_TIME_ZONE
    """Whose local time tariffs go by, of stations that have none of their own: an IANA name."""

    def __attrs_post_init__(self) -> None:
        # Read now: later there may be no file descriptor left for it.
        zone_of(self.time_zone)

    @property
    def zone(self) -> tzinfo:
        """That time zone."""
        return zone_of(self.time_zone)

    def real_s(self, simulated_s: float) -> float:
        """How long that takes, real seconds."""
        return simulated_s / self.time_scale

    def simulated_s(self, begin: float, end: float) -> float:
        """How much simulated time there is between two instants, seconds; 0 where none is."""
        return max(0.0, end - begin) * self.time_scale


DEFAULT_TERMS = Terms()
