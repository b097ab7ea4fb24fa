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


@attrs.frozen
class Interval:
    """In which a mean lies, as far as what was seen tells."""

    mean: float
    half_width: float

    def has(self, value: float) -> bool:
        return abs(value - self.mean) <= self.half_width

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.half_width:.4f}"


def interval(means: Sequence[float], confidence: float = 0.99) -> Interval:
    """
    In which the true mean lies, by Student's t.

    :param means: of batches: parts of a run that are so long that they hardly know of one another.
    """
    half = t_quantile(len(means) - 1, confidence) * statistics.stdev(means) / math.sqrt(len(means))
    return Interval(statistics.fmean(means), half)


def batches(values: Sequence[float], count: int) -> list[float]:
    """The means of so many parts of equal length; what is over at the end is left out."""
    size = len(values) // count
    return [statistics.fmean(values[size * n : size * (n + 1)]) for n in range(count)]


def t_within(degrees: int, t: float) -> float:
    """How likely Student's t is between -t and t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    cos_2 = math.cos(angle) ** 2
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for factor in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cos_2 * (factor - 1) / factor
    total *= math.sin(angle)
    return 2.0 / math.pi * (angle + total) if odd else total


def t_quantile(degrees: int, confidence: float) -> float:
    """Between minus this and this Student's t is with that probability."""
    low, high = 0.0, 1.0
    while t_within(degrees, high) < confidence:
        high *= 2.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if t_within(degrees, middle) < confidence else (low, middle)
    return high
