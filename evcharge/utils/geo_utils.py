"""Distances on the globe."""

from __future__ import annotations

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
    a, b = radians(latitude), radians(to_latitude)
    h = sin((b - a) / 2) ** 2 + cos(a) * cos(b) * sin(radians(to_longitude - longitude) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(h)))
