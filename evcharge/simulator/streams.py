"""
Luck: uniform numbers by who draws them and what for, and what is drawn with each.

No generator has a state here. So one more driver, charger or decision changes nobody else's luck,
and the same scenario with the same seed is the same day on every Python and every machine.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import TypeAlias

import attrs

Uniforms: TypeAlias = tuple[float, float, float, float, float, float, float, float]
"""Eight numbers, each from 0 to under 1."""

MOST_MEAN = 500.0
"""Of one part of a Poisson number: ``exp(-800)`` is 0 to a float."""

_WORDS = struct.Struct("<8Q").unpack
_normal = NormalDist().inv_cdf
_LEAST = 2.0**-54
"""In the place of 0, where the inverse is infinite: half of the least that is not 0."""


def uniforms(seed: int, replication: int, *key: object) -> Uniforms:
    """
    Eight uniform numbers, from 0 to under 1.

    :param key: who draws, and what for; as text, joined by `/`.
    """
    text = "/".join(map(str, (seed, replication, *key)))
    a, b, c, d, e, f, g, h = _WORDS(hashlib.blake2b(text.encode()).digest())
    scale = 2.0**-53
    return (
        (a >> 11) * scale,
        (b >> 11) * scale,
        (c >> 11) * scale,
        (d >> 11) * scale,
        (e >> 11) * scale,
        (f >> 11) * scale,
        (g >> 11) * scale,
        (h >> 11) * scale,
    )


def poisson(mean: float, draws: Sequence[float]) -> int:
    """
    A Poisson number by inversion: of the same draws a greater mean makes it greater, or the same.

    :param draws: uniform numbers, one for each :data:`MOST_MEAN` of the mean, or part of it.
    """
    total = 0
    parts = parts_of(mean)
    for number, draw in enumerate(draws[:parts]):
        total += _poisson(min(MOST_MEAN, mean - number * MOST_MEAN), draw)
    return total


def parts_of(mean: float) -> int:
    """How many uniform numbers :func:`poisson` takes."""
    return max(0, math.ceil(mean / MOST_MEAN))


def _poisson(mean: float, draw: float) -> int:
    number, chance = 0, math.exp(-mean)
    below = chance
    while draw >= below and chance > 0.0:
        number += 1
        chance *= mean / number
        below += chance
    return number


@attrs.frozen
class Distribution:
    """
    From a uniform number to a value, by inversion: one number, one value.

    ============ ========================= =====================================================
    kind         values                    value
    ============ ========================= =====================================================
    number       its value                 always that
    uniform      least, greatest           equally likely between
    exponential  mean                      from 0 on
    triangular   least, likeliest, greatest between
    weibull      scale, shape              from 0 on
    lognormal    median, sigma             from 0 on; sigma: of the logarithm
    table        value, share, value, …    one of them; shares add up to 1
    ============ ========================= =====================================================
    """

    kind: str
    values: tuple[float, ...]

    @classmethod
    def number(cls, value: float) -> Distribution:
        """What is always the same."""
        return cls("number", (value,))

    def at(self, draw: float) -> float:
        """The value for a uniform number, from 0 to under 1."""
        return _INVERSES[self.kind](self.values, draw)

    @property
    def mean(self) -> float:
        """The mean of its values."""
        return _MEANS[self.kind](self.values)


def _triangular(values: Sequence[float], draw: float) -> float:
    least, mode, greatest = values
    span = greatest - least
    if span <= 0.0:
        return least
    if draw * span < mode - least:
        return least + math.sqrt(draw * span * (mode - least))
    return greatest - math.sqrt((1.0 - draw) * span * (greatest - mode))


def _table(values: Sequence[float], draw: float) -> float:
    shares = accumulate(values[1::2])
    for value, below in zip(values[::2], shares, strict=True):
        if draw < below:
            return value
    # Shares may add up to a little less than 1.
    return values[-2]


_INVERSES: Mapping[str, Callable[[Sequence[float], float], float]] = {
    "number": lambda v, u: v[0],
    "uniform": lambda v, u: v[0] + (v[1] - v[0]) * u,
    "exponential": lambda v, u: -v[0] * math.log1p(-u),
    "triangular": _triangular,
    "weibull": lambda v, u: v[0] * (-math.log1p(-u)) ** (1.0 / v[1]),
    "lognormal": lambda v, u: v[0] * math.exp(v[1] * _normal(max(u, _LEAST))),
    "table": _table,
}

_MEANS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "number": lambda v: v[0],
    "uniform": lambda v: (v[0] + v[1]) / 2,
    "exponential": lambda v: v[0],
    "triangular": lambda v: sum(v) / 3,
    "weibull": lambda v: v[0] * math.gamma(1.0 + 1.0 / v[1]),
    "lognormal": lambda v: v[0] * math.exp(v[1] ** 2 / 2),
    "table": lambda v: math.fsum(map(math.prod, zip(v[::2], v[1::2], strict=True))),
}

KINDS = tuple(_INVERSES)
"""The kinds of distribution."""


def choice(shares: Mapping[str, float], draw: float) -> str:
    """One of the keys of `shares`, which add up to 1, in their order."""
    below = 0.0
    for name, share in shares.items():
        below += share
        if draw < below:
            return name
    return [name for name, share in shares.items() if share > 0.0][-1]


def to_the_ms(instant: float) -> float:
    """An instant, seconds, as it is drawn: libraries differ in the last digit of a logarithm."""
    return round(instant, 3)


def to_a_hundredth(percent: float) -> float:
    """A state of charge, per cent, as it is drawn: see :func:`to_the_ms`."""
    return round(percent, 2)
