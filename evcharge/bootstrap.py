"""Simulated users: makes those that are missing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import attrs

from evcharge.models.electric_car import TARGET_PERCENT, ElectricCar
from evcharge.models.estimates import choose_evse
from evcharge.models.evse import plugs_of
from evcharge.models.session import ChargingSession
from evcharge.models.user import User
from evcharge.rules.claims import Claim
from evcharge.rules.journey import AddUser, ListStations
from evcharge.rules.operation import Operation
from evcharge.storage import Storage, StorageError, carry_out
from evcharge.utils.ids import uuid7

Progress = Callable[[Iterable[int]], Iterable[int]]

BATCH = 500
"""Users that are made at once."""


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
    :raise StorageError: there is no car for them.
    """
    there = {user.user_name for user in storage.users()}
    missing = [number for number in range(1, count + 1) if f"Cliente_{number}" not in there]
    catalogue = storage.catalogue()
    models = sorted(catalogue.models.items())
    if missing and not models:
        raise StorageError("no users can be made: the catalogue has no car model that can be used")
    states = carry_out(storage, ListStations())
    free = {state.station.station_id: state.station.free(state.held) for state in states}
    base = random.SystemRandom().getrandbits(64) if seed is None else seed
    numbers = iter(progress(missing))
    charging = 0
    while batch := list(islice(numbers, BATCH)):
        logins: list[Operation[Any]] = []
        payments: list[Operation[Any]] = []
        for number in batch:
            chance = random.Random(f"{base}/{number}")
            name, model = chance.choice(models)
            percent = chance.uniform(10, 100)
            car = ElectricCar.charged_to(model, percent)
            user = User(uuid7(now), f"Cliente_{number}", car, now, car_key=name)
            logins.append(AddUser(user))
            room = [
                station_id
                for station_id, evses in free.items()
                if any(plugs_of(model, kind) for kind in {evse.kind for evse in evses})
            ]
            if percent < TARGET_PERCENT and room:
                station_id = chance.choice(room)
                chosen = choose_evse(model, free[station_id], percent, TARGET_PERCENT)
                assert chosen is not None
                free[station_id].remove(chosen[0])
                payments.append(Claim(user.user_id, str(station_id), uuid7(now), now))
        _all(storage, logins)
        charging += sum(isinstance(took, ChargingSession) for took in _all(storage, payments))
    return Made(len(missing), charging)


def _all(storage: Storage, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
    """Carry out operations; raises how one broke. Where the network changed, some are refused."""
    results = storage.execute(operations)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results
