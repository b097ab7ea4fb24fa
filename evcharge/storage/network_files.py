"""The network in a data directory: the catalogue of cars, and the rows of the stations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from evcharge.datasets import (
    StationRows,
    merge_car_models,
    merge_stations,
    parse_car_models,
    parse_stations,
)
from evcharge.storage.contents import Contents
from evcharge.storage.records import stations_csv

CARS = "car_models.json"
STATIONS = "feira_de_santana_stations.csv"
OUT_OF_SERVICE = "stations_out_of_service.csv"
"""Rows of stations that are not in service, kept for whoever puts them back. Often missing."""


def shipped(name: str) -> bytes:
    """The file `name` of the data that comes with evcharge."""
    return (resources.files("evcharge") / "data" / name).read_bytes()


def to_write(
    directory: Path, cars: Mapping[str, Any] | None, stations: StationRows | None
) -> list[tuple[Path, bytes]]:
    """
    The files to write so that a directory has what it is to have, each with its content.

    What is there is read for that, so that a mistake in it stops all of it.

    :param cars: models that there shall be, and
    :param stations: stations, likewise; in place of None a directory that has none gets the
        shipped.
    """
    files: list[tuple[Path, bytes]] = []
    path = directory / CARS
    # A link that leads nowhere just now is no missing file.
    if not os.path.lexists(path):
        files.append((path, shipped(CARS) if cars is None else merge_car_models({}, cars)))
    elif cars is not None:
        there = parse_car_models(path.read_bytes(), str(path))
        files.append((path, merge_car_models(there, cars)))
    path = directory / STATIONS
    if not os.path.lexists(path):
        content = shipped(STATIONS) if stations is None else merge_stations(None, stations)
        files.append((path, content))
    elif stations is not None:
        files.append((path, merge_stations(read_rows(path), stations)))
    return files


def read_rows(path: Path) -> StationRows:
    """The rows of a file that may be missing. DatasetError."""
    if not os.path.lexists(path):
        return StationRows([], {}, {})
    return parse_stations(path.read_bytes(), str(path))


def copied(contents: Contents) -> dict[str, bytes]:
    """
    The catalogue and the rows of a copy, by the name of the file.

    :raise DatasetError: they could not be read again.
    """
    files = {CARS: merge_car_models({}, contents.car_models)}
    parse_car_models(files[CARS], CARS)
    for name, in_service in ((STATIONS, True), (OUT_OF_SERVICE, False)):
        # A station without a name had no row.
        records = [r for r in contents.stations if r.in_service is in_service and r.station.name]
        if records or in_service:
            files[name] = stations_csv(records)
            parse_stations(files[name], name)
    return files
