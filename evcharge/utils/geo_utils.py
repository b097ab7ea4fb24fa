"""Distances on the globe."""

from __future__ import annotations

from collections.abc import Callable
from math import asin, cos, radians, sin, sqrt

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG, R1), km."""


def distance_km(
    latitude: float, longitude: float, to_latitude: float, to_longitude: float
) -> float:
    """
    Great-circle distance between two points.

    :param latitude: degrees, WGS 84, like the three that follow.
    :return: km, by the haversine formula (Sinnott, "Virtues of the Haversine", 1984). Roads are
        longer: it is a lower bound of what a car drives.
    """
    b = radians(to_latitude)
    return distances_from(latitude, longitude)(b, cos(b), to_longitude)


def distances_from(latitude: float, longitude: float) -> Callable[[float, float, float], float]:
    """
    What tells :func:`distance_km` from one point to many, for less work.

    :return: a function of the other latitude, radians, its cosine, and the other longitude,
        degrees.
    """
    a = radians(latitude)
    cos_a = cos(a)

    def distance(b: float, cos_b: float, to_longitude: float) -> float:
        h = sin((b - a) / 2) ** 2 + cos_a * cos_b * sin(radians(to_longitude - longitude) / 2) ** 2
        half_chord = sqrt(h)
        return 2 * EARTH_RADIUS_KM * asin(half_chord if half_chord < 1.0 else 1.0)

    return distance
