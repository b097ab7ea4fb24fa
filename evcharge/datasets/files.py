"""What the files of a network are called, and those that come with evcharge."""

from __future__ import annotations

from importlib import resources

CARS = "car_models.json"
STATIONS = "feira_de_santana_stations.csv"
ROADS = "estradas.csv"
"""Examples of stations on the roads out of the city, which a network has where it is asked for."""
EVSES = "evses.json"
TARIFFS = "tariffs.json"
OUT_OF_SERVICE = "stations_out_of_service.csv"
"""Rows of stations that are not in service, kept for whoever puts them back. Often missing."""


def shipped(name: str) -> bytes:
    """The file `name` of the data that comes with evcharge."""
    return (resources.files("evcharge") / "data" / name).read_bytes()
