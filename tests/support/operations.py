"""The storage's operations, one at a time and blocking, and records to try them with."""

import contextlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import attrs

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.evse import Evse
from evcharge.models.session import ChargingSession
from evcharge.models.slots import StationState
from evcharge.models.station import Station
from evcharge.models.user import User
from evcharge.outcomes import NO_SLOT, Refusal
from evcharge.rules.claims import Claim
from evcharge.rules.journey import AddUser, FindUser, ListStations
from evcharge.rules.leaving import END_JOURNEY, Leave
from evcharge.rules.operation import Operation
from evcharge.rules.sweep import Sweep, SweepResult
from evcharge.storage import Storage, carry_out
from evcharge.storage.group_commit import TryAgain
from evcharge.testing import NOON

MODEL = CarModel("Tesla", "Model 3", 50.0, 0.153, 225.0)


def a_user(user_id: str = "u1", created: float = NOON) -> User:
    return User(user_id, "Ana", ElectricCar(MODEL, 20.0), created)


def a_session(
    user_id: str = "u1",
    station: int = 7,
    end: float = NOON + 60,
    paid: float = NOON,
    evse: str = "",
) -> ChargingSession:
    return ChargingSession(
        user_id, station, end, f"r-{user_id}-{station}", Decimal("12.30"), 1.0, paid, evse
    )


def add_user(storage: Storage, user: User) -> None:
    return carry_out(storage, AddUser(user))


def find_user(storage: Storage, user_id: str) -> User:
    """From memory where it is there, else the long way."""
    known = storage.recall(FindUser(user_id))
    return carry_out(storage, FindUser(user_id)) if known is None else known


def stations(storage: Storage) -> Sequence[StationState]:
    known = storage.recall(ListStations())
    return list(carry_out(storage, ListStations()) if known is None else known)


def station(storage: Storage, station_id: int) -> StationState:
    (state,) = (s for s in stations(storage) if s.station.station_id == station_id)
    return state


def available(storage: Storage, station_id: int = 7) -> int:
    return station(storage, station_id).available_slots


def next_free(state: StationState) -> float | None:
    """When the first session ends there that frees a slot."""
    ends = [kind.next_free_timestamp for kind in state.kinds]
    return min((end for end in ends if end is not None), default=None)


def take(session: ChargingSession) -> Claim:
    """What has `session` begin, at the EVSE that it is given."""

    def plan(user: User, station: Station, evse: Evse, *_: Any) -> ChargingSession:
        return attrs.evolve(session, evse_uid=evse.uid)

    now = NOON if session.paid_timestamp is None else session.paid_timestamp
    return Claim(session.user_id, str(session.station_id), session.receipt_id, now, plan=plan)


def leave(user_id: str, now: float = NOON) -> Leave:
    """What ends the journey of a user."""
    return Leave(user_id, END_JOURNEY, now)


def pay(user_id: str, station_id: str, plan: Callable[..., ChargingSession]) -> Claim:
    """
    A payment.

    :param plan: makes the session, of the user, the station, the EVSE, the charge there, and the
        tariffs.
    """
    claim = Claim(user_id, station_id, f"r-{user_id}-{station_id}", NOON)
    claim.plan = lambda *args: plan(*args[:5])
    return claim


NO_FREE_SLOT = Refusal(NO_SLOT)
"""What :func:`unseated` makes of that refusal."""


def unseated(result: Any) -> Any:
    """
    A session without its EVSE, so that tests need not say which it is; or another result, without
    what it says of the line.
    """
    if isinstance(result, Refusal):
        return attrs.evolve(result, more={}) if result.outcome is NO_SLOT else result
    if isinstance(result, ChargingSession):
        return attrs.evolve(result, evse_uid="")
    return result


def take_slot(storage: Storage, session: ChargingSession) -> ChargingSession:
    return unseated(carry_out(storage, take(session)))


def end_journey(storage: Storage, user_id: str) -> None:
    return carry_out(storage, leave(user_id))


def sweep(storage: Storage, now: float, logged_in_before: float) -> SweepResult:
    return carry_out(storage, Sweep(now, logged_in_before))


def until_done(storage: Storage, operation: Operation[Any]) -> Any:
    """What an operation results in, tried again where it is to be, as group commit does."""
    while True:
        with contextlib.suppress(TryAgain):
            return storage.execute([operation])[0]


def user_ids(storage: Storage) -> list[str]:
    return sorted(user.user_id for user in storage.users())
