"""The network in a data directory: the catalogue of cars, and the rows of the stations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import Logger

from evcharge.datasets import (
    Catalogue,
    DatasetError,
    StationRows,
    WrongRow,
    listed,
    merge_car_models,
    merge_stations,
    other_columns,
    parse_stations,
    read_car_models,
    read_stations,
)
from evcharge.datasets.files import CARS, OUT_OF_SERVICE, STATIONS, shipped
from evcharge.models.network import StationRecord
from evcharge.models.station import SlotTable, Station
from evcharge.storage.contents import Contents
from evcharge.storage.files.records import stations_csv, unnamed


def to_write(
    directory: Path, cars: Mapping[str, Any] | None, stations: StationRows | None
) -> list[tuple[Path, bytes]]:
    """
    The files to write so that a directory has what it is to have, each with its content.

    What is there is read for that: where it cannot be read at all, nothing is written. Single
    models and rows that are wrong stay as they are.

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
        there = read_car_models(path.read_bytes(), str(path))
        files.append((path, merge_car_models(there.everything, cars)))
    path = directory / STATIONS
    if not os.path.lexists(path):
        content = shipped(STATIONS) if stations is None else merge_stations(None, stations)
        files.append((path, content))
    elif stations is not None:
        files.append((path, merge_stations(read_rows(path), stations)))
    return files


def read_rows(path: Path) -> StationRows:
    """The rows of a file that may be missing. DatasetError: it is no table of stations."""
    if not os.path.lexists(path):
        return StationRows([], {}, {})
    return read_stations(path.read_bytes(), str(path))


def usable_cars(path: Path, log: Logger) -> dict[str, dict[str, Any]]:
    """
    The models of a catalogue that can be used; the log has what is wrong with the others.

    :raise PermissionError: the file must not be read: who may put that right has to.
    """
    try:
        catalogue = read_car_models(path.read_bytes(), str(path))
    except PermissionError:
        raise
    except (DatasetError, OSError) as error:
        _unreadable(log, path, error, "no driver can log in")
        return {}
    for problem in listed(catalogue.problems):
        log.warn("{problem}", problem=problem)
    if catalogue.problems:
        log.warn(
            "{path}: no driver can log in with the models that are wrong, until they are put right "
            "and the server is started again",
            path=str(path),
        )
    return catalogue.models


def usable_rows(path: Path, log: Logger, with_doubts: bool) -> StationRows | None:
    """
    The rows of the stations; None where there are none to be read. The log has what is wrong.

    :param with_doubts: whether it is to have what may be wrong, too.
    :raise PermissionError: the file must not be read: who may put that right has to.
    """
    try:
        rows = read_rows(path)
    except PermissionError:
        raise
    except (DatasetError, OSError) as error:
        _unreadable(log, path, error, "no station is in service")
        return None
    doubts = [*rows.doubts, *rows.out_of_place()] if with_doubts else []
    for problem in listed([*rows.problems, *doubts]):
        log.warn("{problem}", problem=problem)
    if rows.wrong:
        log.warn(
            "{path}: wrong rows: {count}; their stations are out of service until they are put "
            "right and the server is started again",
            path=str(path),
            count=len(rows.wrong),
        )
    return rows


def tell_of_no_row(log: Logger, file: Path, station_id: int) -> None:
    """Log that a station which has a file has no row."""
    log.warn(
        "{path}: {rows} has no station {id}: it is not in service",
        path=str(file),
        rows=STATIONS,
        id=station_id,
    )


def _unreadable(log: Logger, path: Path, error: DatasetError | OSError, so: str) -> None:
    problems = (
        [f"{path}: {error.strerror or error}"] if isinstance(error, OSError) else error.problems
    )
    for problem in listed(problems):
        log.error("{problem}", problem=problem)
    log.error(
        "{path}: cannot be read, so that {so} until it is put right and the server is started "
        "again; who is charging goes on",
        path=str(path),
        so=so,
    )


@attrs.frozen
class NetworkFiles:
    """What the files of the network say; what is wrong in them, too."""

    cars: Catalogue
    rows: StationRows
    resting: StationRows
    """Of the stations that are out of service."""

    @classmethod
    def read(cls, directory: Path) -> NetworkFiles:
        """Read those in `directory`. DatasetError: one cannot be understood; OSError: nor read."""
        path = directory / CARS
        return cls(
            read_car_models(path.read_bytes(), str(path)),
            read_rows(directory / STATIONS),
            read_rows(directory / OUT_OF_SERVICE),
        )

    @property
    def known(self) -> dict[int, Station]:
        """Every station that has a row, as far as that can be read."""
        return {**self.resting.known, **self.rows.known}

    @property
    def wrong(self) -> list[WrongRow]:
        """The rows that are wrong."""
        return [*self.resting.wrong, *self.rows.wrong]

    @property
    def loose_rows(self) -> list[Mapping[str, str]]:
        """The cells of those that name no station, or one that another row names."""
        return [row.cells for row in self.wrong if row.station is None]

    def records(self, tables: Mapping[int, SlotTable]) -> dict[int, StationRecord]:
        """The stations by id, those too that have a table of slots and no row."""
        cells: dict[int, Mapping[str, str]] = {
            station_id: other_columns(row)
            for station_id, row in {**self.resting.rows, **self.rows.rows}.items()
        }
        cells.update({row.station.station_id: row.cells for row in self.wrong if row.station})
        unlisted = {station_id: unnamed(table) for station_id, table in tables.items()}

        def record(station_id: int, station: Station) -> StationRecord:
            table = tables.get(station_id)
            # A row that is wrong may not say how many there are.
            slots = table.max_slots if table is not None else station.max_slots or -1
            return StationRecord(
                attrs.evolve(station, max_slots=slots),
                station_id in self.rows.stations,
                cells.get(station_id, {}),
            )

        stations = sorted({**unlisted, **self.known}.items())
        return {station_id: record(station_id, station) for station_id, station in stations}


def rows_files(
    stations: Iterable[StationRecord], loose_rows: Sequence[Mapping[str, str]]
) -> dict[str, bytes]:
    """
    The rows of stations, by the name of the file.

    :param loose_rows: the cells of further ones, which are wrong.
    :raise DatasetError: they could not be read again.
    """
    files: dict[str, bytes] = {}
    stations = list(stations)
    for name, in_service in ((STATIONS, True), (OUT_OF_SERVICE, False)):
        # A station without a name had no row.
        records = [
            r for r in stations if r.in_service is in_service and r.station.name and not r.is_unread
        ]
        # Those whose rows cannot be read are put right where people look for them.
        unread = [r.other_columns for r in stations if r.is_unread] if in_service else []
        loose = loose_rows if in_service else []
        if records:
            parse_stations(stations_csv(records), name)
        if records or in_service:
            files[name] = stations_csv(records, [*unread, *loose])
    return files


def copied(contents: Contents) -> dict[str, bytes]:
    """
    The catalogue and the rows of a copy, by the name of the file.

    :raise DatasetError: rows of stations could not be read again.
    """
    files = rows_files(contents.stations, contents.loose_rows)
    return {CARS: merge_car_models({}, contents.car_models), **files}
