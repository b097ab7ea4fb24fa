"""Simulated users: makes those that are missing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial

import attrs

from evcharge.models.electric_car import TARGET_PERCENT, CarModel, ElectricCar
from evcharge.models.station import plan_session
from evcharge.models.user import User
from evcharge.storage import AddUser, ListStations, NoFreeSlot, Storage, TakeSlot, carry_out
from evcharge.utils.ids import uuid7

Progress = Callable[[Iterable[int]], Iterable[int]]


@attrs.frozen
class Made:
    """What :func:`make_users` made."""

    users: int
    charging: int
    """How many of them were put at a station."""


def make_users(
    storage: Storage,
    count: int,
    seed: int | None,
    now: float,
    progress: Progress = lambda numbers: numbers,
) -> Made:
    """
    Make the simulated users `Cliente_1` to `Cliente_<count>` that are not there.

    Each has a random car at 10 to 100 % of its battery. One under 80 % is put at a random station
    with a free slot, while there is one, to charge to 80 %.

    :param seed: the same seed gives each name the same car and battery, and, on an equal network,
        the same station.
    :param now: seconds since the epoch.
    :param progress: is given the numbers of the users to make, and gives them on.
    """
    there = {user.user_name for user in storage.users()}
    missing = [number for number in range(1, count + 1) if f"Cliente_{number}" not in there]
    models = sorted(storage.car_models().items())
    base = random.SystemRandom().getrandbits(64) if seed is None else seed
    charging = 0
    for number in progress(missing):
        chance = random.Random(f"{base}/{number}")
        _, facts = chance.choice(models)
        percent = chance.uniform(10, 100)
        car = ElectricCar.charged_to(CarModel.from_facts(facts), percent)
        user = User(uuid7(now), f"Cliente_{number}", car, now)
        carry_out(storage, AddUser(user))
        if percent < TARGET_PERCENT:
            charging += _put_somewhere(storage, user, chance, now)
    return Made(len(missing), charging)


def _put_somewhere(storage: Storage, user: User, chance: random.Random, now: float) -> bool:
    """Take a slot for the user at a random station; False where none is free."""
    states = carry_out(storage, ListStations())
    free = [state.station for state in states if state.available_slots > 0]
    if not free:
        return False
    plan = partial(plan_session, receipt_id=uuid7(now), now=now, time_scale=1.0)
    try:
        station_id = str(chance.choice(free).station_id)
        carry_out(storage, TakeSlot(user.user_id, station_id, plan))
    except NoFreeSlot:
        return False
    return True
