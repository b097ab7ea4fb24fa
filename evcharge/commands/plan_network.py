"""The network on which `evcharge plan` plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from evcharge.commands import USAGE, Exit
from evcharge.commands.charge import known_name
from evcharge.datasets import DatasetError, listed, parse_stations, read_car_models
from evcharge.datasets.evses import parse_evses
from evcharge.datasets.files import CARS, EVSES, ROADS, STATIONS, TARIFFS, shipped
from evcharge.datasets.tariffs import parse_tariffs
from evcharge.datasets.together import together
from evcharge.models.catalogue import Catalogue
from evcharge.models.electric_car import CarModel
from evcharge.models.slots import SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff


@attrs.frozen
class Picture:
    """A network at one moment."""

    source: str
    """For people."""
    models: Mapping[str, CarModel]
    """By name."""
    tariffs: Mapping[str, Tariff]
    """By id."""
    states: Sequence[StationState]

    def model(self, name: str) -> tuple[str, CarModel]:
        """
        The model of a name, however people write it, and its name here.

        :raise Exit: there is none.
        """
        known = known_name(name, self.models, self.source)
        return known, self.models[known]


def from_files(path: Path | None) -> Picture:
    """
    The network that comes with evcharge, with the stations on the roads; or that of a CSV.

    :raise Exit: the file cannot be used.
    """
    models = Catalogue(read_car_models(shipped(CARS), CARS).models).models
    if path is None:
        rows = parse_stations(shipped(STATIONS), STATIONS)
        tariffs = parse_tariffs(shipped(TARIFFS), TARIFFS).tariffs
        found = together(rows, parse_evses(shipped(EVSES), EVSES), tariffs).stations
        stations = [*found.values(), *parse_stations(shipped(ROADS), ROADS).stations.values()]
        return Picture("the shipped catalogue", models, tariffs, _free(stations))
    try:
        rows = parse_stations(path.read_bytes(), str(path))
    except OSError as error:
        raise Exit(f"{path}: {error.strerror or error}", USAGE) from None
    except DatasetError as error:
        raise Exit("\n  ".join(listed(error.problems)), USAGE) from None
    return Picture("the shipped catalogue", models, {}, _free([*rows.stations.values()]))


def _free(stations: Sequence[Station]) -> list[StationState]:
    """Stations where nobody is."""
    return [
        StationState.of(each, SlotTable(each.station_id, each.max_slots).at(each))
        for each in stations
    ]
