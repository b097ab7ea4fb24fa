"""
How soon a server shows what another one did, over a PostgreSQL database that they share.

One storage takes a slot and frees it, over and over; another one, as another process would, is
asked for the stations all the while. Prints how long after the commit the change was seen.

    python benchmarks/availability.py postgresql://user@/bench
"""

from __future__ import annotations

import random
import statistics
import sys
import time

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.user import User
from evcharge.rules.claims import Claim
from evcharge.rules.journey import AddUser, ListStations
from evcharge.rules.leaving import END_JOURNEY, Leave
from evcharge.storage import Storage, carry_out
from evcharge.storage.location import parse
from evcharge.utils.ids import uuid7

ROUNDS = 200


def available(storage: Storage) -> int:
    """The free slots of all stations, as START would count them."""
    known = storage.recall(ListStations())
    states = carry_out(storage, ListStations()) if known is None else known
    return sum(state.available_slots for state in states)


def seen_after(storage: Storage, before: int) -> float:
    """Ask until it is not what it was before; how long that took, ms."""
    began = time.monotonic()
    while available(storage) == before:
        time.sleep(0.001)
    return (time.monotonic() - began) * 1000


def main() -> None:
    """Measure, and print."""
    if len(sys.argv) != 2:
        sys.exit("usage: availability.py postgresql://…")
    one, other = (parse(sys.argv[1], "").storage() for _ in range(2))
    one.open(time.time())
    other.open(time.time())
    car = ElectricCar(CarModel("", "", 50.0, 0.2, 150.0), 10.0)
    waits = []
    for _ in range(ROUNDS):
        user = User(uuid7(time.time()), "benchmark", car, time.time())
        carry_out(one, AddUser(user))
        for change in (
            Claim(user.user_id, "1", user.user_id, time.time()),
            Leave(user.user_id, END_JOURNEY, time.time()),
        ):
            # At any moment of the other one's half a second.
            time.sleep(random.uniform(0, 0.5))
            before = available(other)
            carry_out(one, change)
            waits.append(seen_after(other, before))
    one.close()
    other.close()
    print(
        f"seen after {statistics.median(waits):.0f} ms (median of {len(waits)}), "
        f"{max(waits):.0f} ms at most"
    )


if __name__ == "__main__":
    main()
