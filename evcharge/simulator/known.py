"""What drivers know of a network: what START has told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from evcharge.simulator.parts import Point
from evcharge.utils.geo_utils import distance_km


@attrs.frozen
class Known:
    """Cars and stations, by their keys."""

    cars: Mapping[str, Mapping[str, Any]]
    stations: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, started: Mapping[str, Any]) -> Known:
        """
        What the data of START's reply says.

        :raise LookupError: it has no cars, or no stations.
        """
        return cls(started["car_models"], started["station_models"])

    def away(self, place: Point, but: str | None = None) -> list[tuple[float, str]]:
        """How far away each station is but for one, km, and its id: the nearest first."""
        found = [
            (distance_km(*place, each["latitude"], each["longitude"]), key)
            for key, each in self.stations.items()
            if key != but
        ]
        return sorted(found)

    def place_of(self, station: str) -> Point:
        """Where a station is."""
        there = self.stations[station]
        return there["latitude"], there["longitude"]

    def on_the_way(
        self, place: Point, goal: Point, but: str | None = None
    ) -> list[tuple[float, str]]:
        """Likewise, those from which it is less far to the goal; all, if there is none."""
        left_km, there = distance_km(*place, *goal), self.away(place, but)
        return [
            each for each in there if distance_km(*self.place_of(each[1]), *goal) < left_km
        ] or there

    def fits(self, car: str, station: str) -> bool:
        """Whether a driver of such a car would try that station."""
        facts, there = self.cars[car], self.stations[station].get("connectors")
        own = (facts.get("ac_connectors"), facts.get("dc_connectors"))
        if not there or own == (None, None):
            return True
        return any(name in there for names in own if names for name in names)
