"""Stations as GeoJSON (RFC 7946), for maps and tables of people's own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROPERTIES = {
    "name": "name_station",
    "address": "address",
    "slots": "max_slots",
    "available_slots": "available_slots",
    "queue_length": "queue_length",
    "power_kw": "power_kw",
    "price_kwh": "price_kwh",
    "price_known": "price_known",
    "connectors": "connectors",
    "tariff": "tariff",
}
"""What is said of a station, and what START calls it."""


def feature_collection(stations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A FeatureCollection of stations as START has them, by id."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": key,
                "geometry": {
                    "type": "Point",
                    "coordinates": [station["longitude"], station["latitude"]],
                },
                "properties": {name: station[called] for name, called in PROPERTIES.items()},
            }
            for key, station in stations.items()
        ],
    }
