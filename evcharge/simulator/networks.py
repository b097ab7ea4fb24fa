"""The network of a scenario: its files, by content, so that they are the same in each process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs

from evcharge.datasets import DatasetError, parse_car_models, parse_stations
from evcharge.datasets.evses import parse_evses
from evcharge.datasets.files import CARS, EVSES, STATIONS, TARIFFS, shipped
from evcharge.datasets.tariffs import parse_tariffs
from evcharge.datasets.together import together
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff
from evcharge.simulator.parts import Change
from evcharge.utils.permissions import remedy_to_read

SHIPPED = "shipped"

SCENARIOS = "scenarios"
"""The folder of what is shipped for scenarios; its tariffs are added to those of each network."""


@attrs.frozen
class LoadedNetwork:
    """A network, read."""

    car_models: Mapping[str, Mapping[str, Any]]
    """The facts of each model, as of `car_models.json`."""
    stations: Mapping[int, Station]
    """By id, in id order."""
    tariffs: Mapping[str, Tariff]
    """By id."""


@attrs.frozen
class Sources:
    """Files of a network by content; None: the shipped one."""

    name: str = SHIPPED
    """What the scenario calls it."""
    stations: bytes | None = attrs.field(default=None, repr=False)
    evses: bytes | None = attrs.field(default=None, repr=False)
    cars: bytes | None = attrs.field(default=None, repr=False)
    tariffs: bytes | None = attrs.field(default=None, repr=False)
    is_directory: bool = False

    def load(self) -> LoadedNetwork:
        """
        Read the files.

        :raise DatasetError: names every mistake in them.
        """
        is_shipped = self.stations is None
        rows = parse_stations(self._content(self.stations, STATIONS), self._called(STATIONS))
        own_evses = self._content(self.evses, EVSES) if is_shipped else self.evses or b"{}"
        evses = parse_evses(own_evses, self._called(EVSES))
        cars = parse_car_models(self._content(self.cars, CARS), self._called(CARS))
        tariffs = parse_tariffs(self._content(self.tariffs, TARIFFS), self._called(TARIFFS))
        more = parse_tariffs(shipped(f"{SCENARIOS}/{TARIFFS}"), TARIFFS)
        known = {**more.tariffs, **tariffs.tariffs}
        whole = together(rows, evses, known)
        if whole.problems:
            raise DatasetError(whole.problems)
        return LoadedNetwork(cars, whole.stations, known)

    def _content(self, own: bytes | None, name: str) -> bytes:
        return shipped(name) if own is None else own

    def _called(self, name: str) -> str:
        if self.is_directory:
            return str(Path(self.name) / name)
        return self.name if name == STATIONS else name


@lru_cache(maxsize=4)
def load(sources: Sources) -> LoadedNetwork:
    """:meth:`Sources.load`, once for variants that have the same."""
    return sources.load()


def impossible(
    changes: Sequence[Change], stations: Mapping[int, Station]
) -> Iterator[tuple[int, str]]:
    """What changes ask for that stations cannot have: the number of each, and why."""
    uids = {evse.uid for station in stations.values() for evse in station.evses}
    left = {station_id: len(station.evses) for station_id, station in stations.items()}
    for number, change in enumerate(changes):
        for evse in change.evses or ():
            if evse["uid"] in uids:
                yield number, f"evses: there is one already that is called {evse['uid']}"
            uids.add(evse["uid"])
        left[change.station_id] += len(change.evses or ()) + (change.add_evses or 0)
        left[change.station_id] -= change.remove_evses or 0
        if left[change.station_id] < 0:
            what = left[change.station_id] + (change.remove_evses or 0)
            yield number, f"remove_evses: the station has {what} then"


def find(name: str, folder: Path) -> Sources:
    """
    The files that a scenario names.

    :param name: `shipped`, a CSV of stations, or a data directory.
    :param folder: where a path begins that is not absolute.
    :raise ValueError: they cannot be read; says why.
    """
    if name == SHIPPED:
        return Sources()
    if "://" in name:
        raise ValueError(
            "must be a file or a directory; of a database: evcharge export --storage URL "
            "--data DIRECTORY"
        )
    path = folder / name
    if not os.path.isdir(path):
        return Sources(str(path), _read(path))
    there = {each: path / each for each in (EVSES, CARS, TARIFFS)}
    more = {each: _read(path) if os.path.exists(path) else None for each, path in there.items()}
    stations = _read(path / STATIONS)
    return Sources(str(path), stations, more[EVSES], more[CARS], more[TARIFFS], is_directory=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        cure = remedy_to_read(error, path)
        raise ValueError(f"{path}: {error.strerror or error}{cure}") from None
