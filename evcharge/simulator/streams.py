"""
Luck: uniform numbers by who draws them and what for.

No generator has a state here. So one more driver, charger or decision changes nobody else's luck,
and the same scenario with the same seed is the same day on every Python and every machine.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import TypeAlias

Uniforms: TypeAlias = tuple[float, float, float, float, float, float, float, float]
"""Eight numbers, each from 0 to under 1."""

MOST_MEAN = 500.0
"""Of one part of a Poisson number: ``exp(-800)`` is 0 to a float."""

_WORDS = struct.Struct("<8Q").unpack


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


def new_id(seed: int, replication: int, number: int, now: float) -> str:
    """
    An id in the form of :func:`evcharge.utils.ids.uuid7`, which anybody can work out.

    :param now: seconds since the epoch.
    """
    key = f"{seed}/{replication}/id/{number}".encode()
    digits = hashlib.blake2b(key, digest_size=16).hexdigest()
    time = f"{int(now * 1000) & 0xFFFF_FFFF_FFFF:012x}"
    variant = "89ab"[int(digits[3], 16) & 3]
    return f"{time[:8]}-{time[8:]}-7{digits[:3]}-{variant}{digits[4:7]}-{digits[7:19]}"


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
    while draw >= below:
        number += 1
        chance *= mean / number
        if number > mean and below + chance == below:
            # Of a draw next to 1: the sum gets no further, in as many digits as there are.
            break
        below += chance
    return number


def to_the_ms(instant: float) -> float:
    """An instant, seconds, as it is drawn: libraries differ in the last digit of a logarithm."""
    return round(instant, 3)


def to_a_hundredth(percent: float) -> float:
    """A state of charge, per cent, as it is drawn: see :func:`to_the_ms`."""
    return round(percent, 2)
