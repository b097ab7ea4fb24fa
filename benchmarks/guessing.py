"""
Whether replies tell by their timing how much of a guessed user's id is right.

Asks a server that runs, over one connection and in random order, for ids that share nothing with a
real one, the time when it was made, or all but the last character. Prints the median of each kind,
and those of its two halves: so far apart they lie by mere chance.

    python benchmarks/guessing.py PORT [QUESTIONS]
"""

from __future__ import annotations

import json
import random
import socket
import statistics
import sys
import time
import uuid

RIGHT = {"nothing": 0, "the time": 15, "all but one": 35}
"""How many characters of a guess are right: the first 15 are a time, and the kind of UUID."""


class Client:
    """A blocking connection to the loopback interface."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")

    def ask(self, kind: str, **data: object) -> tuple[dict, float]:
        """The reply's data, and how long it took, microseconds."""
        request = {"type": kind, "data": data, "status": {}, "timestamp": ""}
        line = json.dumps(request).encode() + b"\n"
        began = time.perf_counter_ns()
        self._socket.sendall(line)
        reply = self._replies.readline()
        return json.loads(reply)["data"], (time.perf_counter_ns() - began) / 1000


def main() -> None:
    """Measure, and print."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: guessing.py PORT [QUESTIONS]")
    client = Client(int(sys.argv[1]))
    questions = int(sys.argv[2]) if len(sys.argv) == 3 else 20_000
    login = {"user_name": "benchmark", "selected_car": "Tesla Model 3", "battery_car": 40}
    users = [client.ask("LOGIN", **login)[0]["user_id"] for _ in range(1000)]
    took: dict[str, list[float]] = {kind: [] for kind in RIGHT}
    for _ in range(questions):
        kind = random.choice(list(RIGHT))
        real, other = random.choice(users), str(uuid.uuid4())
        right = RIGHT[kind]
        wrong = random.choice([c for c in "0123456789abcdef" if c != real[right]])
        guess = real[:right] + wrong + other[right + 1 :]
        data, lasted = client.ask("NAVIGATION", user_id=guess, route_distance=1)
        if data["reason"] != "user_not_found":
            sys.exit(f"error: {data}")
        took[kind].append(lasted)
    for user_id in users:
        client.ask("PAYMENT", user_id=user_id, id_station=1, confirmation=False)
    for kind, times in took.items():
        halves = statistics.median(times[::2]), statistics.median(times[1::2])
        print(
            f"{kind} right: median {statistics.median(times):.1f} us of {len(times)}, "
            f"of its halves {halves[0]:.1f} and {halves[1]:.1f} us"
        )


if __name__ == "__main__":
    main()
