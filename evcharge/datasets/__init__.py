"""
The two data sets of a network, read and written: the cars (JSON) and the stations (CSV).

Each is read in two ways. `parse_…` is for what is taken in: any mistake refuses all of it. `read_…`
is for what a network has already: a mistake costs the station or the model that has it.
"""

from __future__ import annotations

from evcharge.datasets.cars import (
    Catalogue,
    check_car_models,
    merge_car_models,
    parse_car_models,
    read_car_models,
)
from evcharge.datasets.columns import COLUMNS, MOST_SLOTS, OPTIONAL_COLUMNS, TARIFF_COLUMNS
from evcharge.datasets.problems import DatasetError, listed
from evcharge.datasets.reading import parse_stations, read_stations
from evcharge.datasets.stations import (
    StationRows,
    WrongRow,
    merge_stations,
    other_columns,
    station_csv,
)

__all__ = [
    "COLUMNS",
    "MOST_SLOTS",
    "OPTIONAL_COLUMNS",
    "TARIFF_COLUMNS",
    "Catalogue",
    "DatasetError",
    "StationRows",
    "WrongRow",
    "check_car_models",
    "listed",
    "merge_car_models",
    "merge_stations",
    "other_columns",
    "parse_car_models",
    "parse_stations",
    "read_car_models",
    "read_stations",
    "station_csv",
]
