"""
What is asked about sessions and lines, and claiming where others wait, beside a NAVIGATION.

Whole requests, answered by a server in memory: what transport and disk take is not there. It
prints µs of CPU per request, the lowest of all rounds, and how that compares with a NAVIGATION, or
with the same where nobody waits.

    python benchmarks/sessions.py [--rounds 20]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evcharge.testing import MemoryServer

CAR = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 60}
CROWDED, FULL, FREE = "7", "5", "6"
"""Stations: with a line, full without one, and with something free. The first two are alike."""
WAITING = 20
REQUESTS = 100
"""Requests of a kind in a round, one after another."""


class Network:
    """A server where one station is full and has a line, and another one is full."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.protocol, self.transport = self.server.connect()
        for station in (CROWDED, FULL):
            while "reason" not in self.ask("PAYMENT", **self.at(station), confirmation=True):
                pass
        self.line = [self.at(CROWDED) for _ in range(WAITING)]
        for away, place in enumerate(self.line):
            self.ask("RESERVE", **place, wait=True, arrival_minutes=away)

    def at(self, station: str) -> dict[str, Any]:
        """A user who has just logged in, and a station."""
        return {"user_id": self.ask("LOGIN", **CAR)["user_id"], "id_station": station}

    def ask(self, kind: str, **data: Any) -> Any:
        """The data of a reply."""
        self.protocol.dataReceived(line(kind, **data))
        return json.loads(self.transport.take())["data"]

    def cost_us(self, request: bytes) -> float:
        """CPU time of a request."""
        began = time.process_time()
        for _ in range(REQUESTS):
            self.protocol.dataReceived(request)
        took = time.process_time() - began
        self.transport.take()
        return took / REQUESTS * 1e6


def line(kind: str, **data: Any) -> bytes:
    """A request."""
    message = {"type": kind, "data": data, "status": {}, "timestamp": ""}
    return json.dumps(message).encode() + b"\n"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    network = Network()
    walks, reserves, charges = (network.at(FREE) for _ in range(3))
    network.ask("RESERVE", **reserves, arrival_minutes=10)
    network.ask("PAYMENT", **charges, confirmation=True)
    who = walks["user_id"]
    navigation, nobody = "NAVIGATION", "PAYMENT, full, nobody waits"
    beside: dict[str, tuple[str, bytes]] = {
        navigation: ("", line("NAVIGATION", user_id=who, route_distance=90)),
        "STATUS, FREE": (navigation, line("STATUS", user_id=who)),
        "STATUS, RESERVED": (navigation, line("STATUS", user_id=reserves["user_id"])),
        "STATUS, CHARGING": (navigation, line("STATUS", user_id=charges["user_id"])),
    }
    for number in (1, WAITING):
        request = line("STATUS", user_id=network.line[number - 1]["user_id"])
        beside[f"STATUS, number {number} in line"] = (navigation, request)
    full, crowded = (
        line("PAYMENT", user_id=who, id_station=at, confirmation=True) for at in (FULL, CROWDED)
    )
    beside[nobody] = ("", full)
    beside[f"PAYMENT, full, {WAITING} wait"] = (nobody, crowded)
    lowest: dict[str, float] = {}
    for _ in range(rounds):
        for name, (_, request) in beside.items():
            lowest[name] = min(network.cost_us(request), lowest.get(name, float("inf")))
    print("| µs of CPU | | ratio |\n|---|---:|---:|")
    for name, (other, _) in beside.items():
        ratio = f"{lowest[name] / lowest[other]:.2f}" if other else ""
        print(f"| {name} | {lowest[name]:.1f} | {ratio} |")


if __name__ == "__main__":
    main()
