"""A storage's clocks, and sessions that they move."""

from collections.abc import Callable

from evcharge.models.session import ChargingSession
from evcharge.rules.clocks import Clocks, Newest, Reading
from evcharge.rules.journey import FindStanding, Standing
from evcharge.rules.timekeeping import SetClock
from evcharge.storage import Storage, carry_out
from evcharge.testing import NOON
from tests.support.operations import unseated

HOUR_S, DAY_S = 3600.0, 86400.0


def reading(now: float) -> Reading:
    return Reading(now, now - 1000.0, "a start of the machine")


def set_clock(
    storage: Storage, change: Callable[[Clocks], Clocks], newest: list[Newest] | None = None
) -> Clocks:
    """Have the clocks changed; they, and, where it is asked for, what stood by them."""

    def decide(before: Clocks, look: Callable[[], Newest]) -> Clocks:
        if newest is not None:
            newest.append(look())
        return change(before)

    return carry_out(storage, SetClock(decide))


def move_all(storage: Storage, by_s: float, now: float = NOON) -> Clocks:
    """Have all that stands moved, where it is `now` by the clock then."""
    return set_clock(storage, lambda before: before.all_moved(before.number, by_s, reading(now)))


def suspect(storage: Storage, now: float) -> Clocks:
    return set_clock(storage, lambda before: before.suspected(reading(now)))


def put_right(storage: Storage, by_s: float, still_suspect: bool = False) -> Clocks:
    return set_clock(
        storage, lambda before: before.marked_moved(by_s, reading(NOON), still_suspect)
    )


def session_of(storage: Storage, user_id: str, station_id: int = 7) -> ChargingSession:
    """The session of a user who holds an EVSE there, whatever time it is."""
    standing = carry_out(storage, FindStanding(user_id))
    assert isinstance(standing, Standing) and standing.session is not None, standing
    assert standing.session.station_id == station_id, standing
    session: ChargingSession = unseated(standing.session)
    return session
