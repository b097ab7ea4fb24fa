"""What the theory of queues says of a line at a station, and means of what is not independent."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs


def erlang_b(servers: int, load: float) -> float:
    """
    The share of arrivals that find all servers busy, where none waits.

    :param load: arrivals in the mean time of a service.
    """
    share = 1.0
    for count in range(1, servers + 1):
        share = load * share / (count + load * share)
    return share


def erlang_c(servers: int, load: float) -> float:
    """The share of arrivals that wait, where all do who find all servers busy; `load < servers`."""
    lost = erlang_b(servers, load)
    return lost / (1.0 - load / servers * (1.0 - lost))


@attrs.frozen
class Queue:
    """Poisson arrivals, exponential charges, EVSEs that fit all, nobody leaves: M/M/c."""

    evses: int
    load: float
    """Arrivals in the mean time of a charge; under `evses`."""
    charge_min: float
    """Mean time of a charge, minutes."""

    @property
    def arrivals_per_h(self) -> float:
        return self.load / self.charge_min * 60.0

    @property
    def share_waiting(self) -> float:
        """The share of drivers who wait."""
        return erlang_c(self.evses, self.load)

    @property
    def wait_min(self) -> float:
        """The mean wait of all drivers, minutes."""
        return self.share_waiting * self.charge_min / (self.evses - self.load)

    @property
    def length(self) -> float:
        """The mean number of those in line."""
        return self.arrivals_per_h / 60.0 * self.wait_min

    def share_over(self, minutes: float) -> float:
        """The share of drivers who wait for longer than that; the first come are the first."""
        rate = (self.evses - self.load) / self.charge_min
        return self.share_waiting * math.exp(-rate * minutes)


ROWS = (
    Queue(1, 0.5, 30.0),
    Queue(1, 0.8, 30.0),
    Queue(2, 1.5, 30.0),
    Queue(4, 3.2, 24.0),
    Queue(6, 4.5, 20.0),
    Queue(8, 7.2, 25.0),
)
"""From a quiet post to a busy station."""


def batches(values: Sequence[float], count: int) -> list[float]:
    """The means of so many parts of equal length; what is over at the end is left out."""
    size = len(values) // count
    return [statistics.fmean(values[size * n : size * (n + 1)]) for n in range(count)]
