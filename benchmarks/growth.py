"""
What a request costs in a small network and in a very large one: CPU time of the server's thread.

`python benchmarks/growth.py` asks a server in memory, without sockets, and prints a Markdown table.
Stations stand in towns, of 500 each, as those who ask do; in the last rows all of the town's are
full. A million of them take 3 GiB and some minutes to make.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evcharge.datasets import parse_car_models  # noqa: E402
from evcharge.datasets.files import CARS, shipped  # noqa: E402
from evcharge.models.session import ChargingSession  # noqa: E402
from evcharge.models.slots import SlotTable  # noqa: E402
from evcharge.models.station import Station  # noqa: E402
from evcharge.net.lines import Lines  # noqa: E402
from evcharge.planning.nearest import nearest  # noqa: E402
from evcharge.storage.memory import MemoryStorage  # noqa: E402
from evcharge.testing import NOON, MemoryServer  # noqa: E402

SIZES = (1000, 100_000, 1_000_000)
TOWN = 500
"""Stations of one town."""
ASKED = 1000
"""How often each request is made."""

Place = tuple[float, float]
Make = Callable[[], bytes]
"""Makes the next request."""


class Network:
    """Stations in towns, and a server for them."""

    def __init__(self, size: int) -> None:
        self.chance = random.Random(size)
        self.towns = [self._town() for _ in range(max(1, size // TOWN))]
        self.size = size
        stations = [self._station(number) for number in range(1, size + 1)]
        self.storage = MemoryStorage(parse_car_models(shipped(CARS), CARS), stations)
        self.server = MemoryServer(self.storage)
        self.client = self.server.connect()[0].client
        self.lines = Lines(self.server.controller, lambda: NOON)
        self.user = self.log_in()

    def _town(self) -> Place:
        return self.chance.uniform(-30, 0), self.chance.uniform(-60, -40)

    def near(self, town: Place) -> Place:
        """A place in, or by, a town."""
        return town[0] + self.chance.gauss(0, 0.1), town[1] + self.chance.gauss(0, 0.1)

    def _station(self, number: int) -> Station:
        place = self.near(self.towns[number % len(self.towns)])
        price = Decimal(self.chance.randrange(150, 250)) / 100
        power = self.chance.choice((7.4, 22.0, 50.0, 150.0))
        return Station(
            number, f"Posto {number}", f"Rua {number}", *place, 4, power, price, ("CCS2",)
        )

    def log_in(self) -> str:
        """A user who has just logged in."""
        data = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 60}
        return str(self.ask(request("LOGIN", data))["data"]["user_id"])

    def fill(self, town: int) -> None:
        """Have a vehicle stand at each slot of a town's stations."""
        records = self.storage.records
        for slots in list(records.slots.values())[town - 1 :: len(self.towns)]:
            sessions = {
                f"{slots.station_id} {slot}": ChargingSession(
                    f"{slots.station_id} {slot}", slots.station_id,
                    NOON + self.chance.uniform(60, 3600), "", Decimal(1), 1.0, NOON,
                )
                for slot in range(slots.max_slots)
            }  # fmt: skip
            full = SlotTable(slots.station_id, slots.max_slots, sessions)
            records.slots[slots.station_id] = full
            records.show([slots.station_id])

    def ask(self, line: bytes) -> dict[str, Any]:
        """The reply to a request."""
        reply = self.lines.dispatch(line, self.client)
        if not isinstance(reply, bytes):
            replies: list[bytes] = []
            reply.addCallback(replies.append)
            (reply,) = replies
        answer: dict[str, Any] = json.loads(reply)
        assert answer["status"]["code"] == 200, answer
        return answer

    def cost_us(self, line: bytes) -> float:
        """What a request costs, microseconds of CPU."""
        began = time.thread_time_ns()
        self.lines.dispatch(line, self.client)
        return (time.thread_time_ns() - began) / 1000

    # The requests

    def position(self, town: Place | None = None) -> dict[str, float]:
        """Where somebody is who asks: in any town, or in this one."""
        latitude, longitude = self.near(town or self.chance.choice(self.towns))
        return {"latitude": latitude, "longitude": longitude}

    def selection(self, criterion: str, town: Place | None = None) -> Make:
        """SELECTION_STATION by position."""
        return lambda: request(
            "SELECTION_STATION",
            {"user_id": self.user, "position": self.position(town), "criterion": criterion},
        )

    def selection_of_ten(self) -> bytes:
        """SELECTION_STATION with ten distances."""
        numbers = (self.chance.randrange(self.size) + 1 for _ in range(10))
        named = {str(number): {"distance_origin_position": 12.5} for number in numbers}
        return request("SELECTION_STATION", {"user_id": self.user, "list_stations": named})

    def start(self) -> bytes:
        """START by position."""
        return request("START", {"position": self.position(), "limit": 20})

    def payment(self) -> bytes:
        """PAYMENT of another user, at any station; without the LOGIN before it."""
        number = self.chance.randrange(self.size) + 1
        data = {"user_id": self.log_in(), "id_station": str(number), "confirmation": True}
        return request("PAYMENT", data)


def request(kind: str, data: dict[str, Any]) -> bytes:
    """A line."""
    message = {"type": kind, "data": data, "status": {"code": 0, "message": ""}, "timestamp": ""}
    return json.dumps(message).encode()


def measure(size: int) -> Iterator[tuple[str, list[float]]]:
    """The costs of each kind of request in a network of so many stations."""
    network = Network(size)
    gc.collect()
    # As the server does: what is there is there for good.
    gc.freeze()
    began = time.thread_time_ns()
    nearest(network.storage.records.states)
    yield "the tree, once", [(time.thread_time_ns() - began) / 1000]
    kinds: dict[str, Make] = {
        "SELECTION_STATION by position": network.selection("distance"),
        "the same, by time": network.selection("time"),
        "the same, by price": network.selection("price"),
        "SELECTION_STATION of ten": network.selection_of_ten,
        "START by position, 20": network.start,
        "PAYMENT": network.payment,
    }
    for name, make in kinds.items():
        yield name, costs(network, make)
    network.fill(1)
    town = network.towns[1 % len(network.towns)]
    yield (
        "SELECTION_STATION by position, town full",
        costs(network, network.selection("distance", town)),
    )
    yield "the same, by time, town full", costs(network, network.selection("time", town))
    gc.unfreeze()


def costs(network: Network, make: Make) -> list[float]:
    """What each of many requests costs, after some that are not counted."""
    lines = [make() for _ in range(ASKED + 50)]
    return sorted([network.cost_us(line) for line in lines][50:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0].strip())
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="stations; default: all")
    sizes = parser.parse_args().sizes
    rows: dict[str, list[str]] = {}
    for size in sizes:
        for name, found in measure(size):
            middle = statistics.median(found)
            last = found[int(len(found) * 0.99)]
            shown = f"{middle:,.0f}" if len(found) == 1 else f"{middle:,.0f} / {last:,.0f}"
            rows.setdefault(name, []).append(shown)
            print(f"{size:,} stations: {name}: {shown} us", file=sys.stderr, flush=True)
    print(f"| median / p99, µs of CPU | {' | '.join(f'{size:,}' for size in sizes)} |")
    print(f"|---|{'---:|' * len(sizes)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
