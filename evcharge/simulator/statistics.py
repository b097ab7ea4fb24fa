"""
What replications say together: intervals, differences of pairs, batch means, percentiles. Pure.

Each number here is one replication's own figure. Drivers of one replication share a queue, so that
they say less than as many independent ones would: nothing here is of drivers of several of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import attrs

BATCHES = 20
"""Into how many batches one long run is cut."""
MOST_CORRELATION = 0.2
"""Of a batch with the next one, where the run is long enough to tell."""


@attrs.frozen
class Interval:
    """A mean, and how far it may be from the truth."""

    mean: float
    half_width: float | None
    """None where one number alone says nothing of it."""
    n: int
    """How many numbers it is of."""
    least: float
    most: float

    @property
    def low(self) -> float:
        """Where the interval begins; the mean itself where there is none."""
        return self.mean - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        """Where the interval ends; the mean itself where there is none."""
        return self.mean + (self.half_width or 0.0)

    @property
    def is_apart_from_0(self) -> bool:
        """Whether it is certain enough that the truth is not 0."""
        return self.half_width is not None and not self.low <= 0.0 <= self.high


@attrs.frozen
class Batches:
    """What one long run says of its steady state."""

    interval: Interval
    correlation: float
    """Of a batch with the next one, lag 1, from -1 to 1."""

    @property
    def is_too_short(self) -> bool:
        """Whether neighbours are so alike that the interval is narrower than it should be."""
        return self.correlation > MOST_CORRELATION


def interval(values: Sequence[float], confidence: float) -> Interval:
    """
    The mean ± t s/√n.

    :param values: one a replication, at least one.
    :param confidence: from 0 to 1, such as 0.95.
    :raise ValueError: there are no values.
    """
    n = len(values)
    if not n:
        raise ValueError("an interval needs a value")
    mean = math.fsum(values) / n
    half_width = None
    if n > 1:
        variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
        half_width = student_t(confidence, n - 1) * math.sqrt(variance / n)
    return Interval(mean, half_width, n, min(values), max(values))


def difference(
    base: Sequence[float], other: Sequence[float], confidence: float, comparisons: int = 1
) -> Interval:
    """
    By how much `other` is more than `base`, replication by replication: both had the same drivers.

    :param base, other: as many values each, in the order of the replications.
    :param comparisons: how many differences are looked at together. All their intervals hold
        at once with at least the confidence (Bonferroni).
    :raise ValueError: there are no values, or not as many of both.
    """
    pairs = zip(base, other, strict=True)
    return interval([b - a for a, b in pairs], 1.0 - (1.0 - confidence) / comparisons)


def batch_means(values: Sequence[float], confidence: float, batches: int = BATCHES) -> Batches:
    """
    The steady state of one long run, by the means of its batches.

    :param values: equally spaced in time, or one a driver; what is left over after batches of the
        same size is left out from the beginning, where the run was least steady.
    :raise ValueError: there are fewer values than batches.
    """
    size = len(values) // batches
    if size == 0:
        raise ValueError(f"{batches} batches need {batches} values, not {len(values)}")
    first = len(values) - size * batches
    means = [
        math.fsum(values[start : start + size]) / size for start in range(first, len(values), size)
    ]
    return Batches(interval(means, confidence), _lag_1(means))


def _lag_1(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    apart = [value - mean for value in values]
    square = math.fsum(each * each for each in apart)
    if square == 0.0:
        return 0.0
    return math.fsum(a * b for a, b in pairwise(apart)) / square


def percentile(values: Sequence[float], share: float) -> float:
    """
    The least of the values that `share` of them do not exceed: one that somebody had.

    :param values: in any order, at least one.
    :param share: from 0 to 1, such as 0.95.
    :raise ValueError: there are no values.
    """
    if not values:
        raise ValueError("a percentile needs a value")
    # 0.95 × 20 is a little more than 19 to a float.
    rank = math.ceil(round(share * len(values), 9))
    return sorted(values)[max(rank, 1) - 1]


@lru_cache(maxsize=1024)
def student_t(confidence: float, degrees: int) -> float:
    """
    Student's t, two-sided: as far from 0 a value is with the probability `confidence` at most.

    :param confidence: from 0 to under 1.
    :param degrees: of freedom, at least 1.
    """
    # The probability has a closed form in the angle (Abramowitz and Stegun, 26.7.3 and 26.7.4).
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        if _within(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(high)


def _within(angle: float, degrees: int) -> float:
    """How likely |t| is under ``tan(angle) × √degrees``."""
    sine, cosine = math.sin(angle), math.cos(angle)
    term = cosine if degrees % 2 else 1.0
    terms = [term] if degrees > 1 else []
    for k in range(degrees % 2 + 1, degrees - 2, 2):
        term *= cosine * cosine * k / (k + 1)
        terms.append(term)
    total = sine * math.fsum(terms)
    return 2.0 / math.pi * (angle + total) if degrees % 2 else total
