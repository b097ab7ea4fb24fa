"""What a simulated car does, for who shows it."""

from __future__ import annotations

import attrs

from evcharge.simulator.parts import Point

DRIVING, STANDING_IN_LINE, STANDING_AT_EVSE = ("driving", "waiting", "charging")


@attrs.frozen
class Doing:
    """What a car does while its driver waits."""

    state: str
    """One of the above; at an EVSE a car is charged, or has been."""
    place: Point
    to_place: Point
    """Where it is when that is over."""
    percent: float
    to_percent: float
    """What is in the battery then."""
