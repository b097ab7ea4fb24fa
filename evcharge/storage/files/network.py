"""The network in a data directory: the catalogue of cars, and the rows of the stations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import attrs
from twisted.logger import Logger

from evcharge.datasets import Catalogue as CarCatalogue
from evcharge.datasets import (
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
from evcharge.datasets.evses import EvseRows, evse_facts, evses_json, read_evses
from evcharge.datasets.files import CARS, EVSES, OUT_OF_SERVICE, STATIONS, TARIFFS, shipped
from evcharge.datasets.tariffs import TariffRows, read_tariffs, tariffs_json
from evcharge.datasets.together import lacking_tariffs, names_of_others, together, with_evses
from evcharge.models.catalogue import Catalogue
from evcharge.models.network import StationRecord
from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.storage.contents import Contents
from evcharge.storage.files.records import stations_csv, unnamed

T = TypeVar("T")


def to_write(
    directory: Path, cars: Mapping[str, Any] | None, stations: StationRows | None
) -> list[tuple[Path, bytes]]:
    """
    The files to write so that a directory has what it is to have, each with its content.

    What is there is read for that: where it cannot be read at all, nothing is written. Single
    models and rows that are wrong stay as they are.

    :param cars: models that there shall be, and
    :param stations: stations, likewise; in place of None a directory that has none gets the
        shipped, with their EVSEs and tariffs.
    :raise DatasetError: there is a mistake in what is there, or one of `stations` names a tariff
        that there is not.
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
        if stations is None:
            # They belong to the shipped stations, and so come before these: who is interrupted in
            # between goes on.
            beside = [directory / name for name in (TARIFFS, EVSES)]
            files += [(file, shipped(file.name)) for file in beside if not os.path.lexists(file)]
        content = shipped(STATIONS) if stations is None else merge_stations(None, stations)
        files.append((path, content))
    elif stations is not None:
        files.append((path, merge_stations(read_rows(path), stations)))
    if stations is not None:
        tariffs = _read_there(directory / TARIFFS, read_tariffs, TariffRows({}, ())).tariffs
        lacking = lacking_tariffs(stations, EvseRows({}, {}), tariffs)
        if lacking:
            raise DatasetError(chain(*lacking.values()))
    return files


def read_rows(path: Path) -> StationRows:
    """The rows of a file that may be missing. DatasetError: it is no table of stations."""
    return _read_there(path, read_stations, StationRows([], {}, {}))


def _read_there(path: Path, read: Callable[[bytes, str], T], missing: T) -> T:
    """What `read` makes of a file that may be missing."""
    return read(path.read_bytes(), str(path)) if os.path.lexists(path) else missing


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


@attrs.frozen
class UsableNetwork:
    """What of a network can be used."""

    catalogue: Catalogue = attrs.field(factory=Catalogue)
    stations: Mapping[int, Station] = attrs.field(factory=dict)
    """In service, by id, in id order."""
    known: Mapping[int, Station] = attrs.field(factory=dict)
    """Those too that are not, as far as they can be read."""
    rows: Collection[int] | None = None
    """Every station that has a row, also a wrong one; None where these cannot be read."""
    resting: Collection[int] | None = None
    """The same of the rows that are kept for later."""


def usable_network(directory: Path, log: Logger, with_doubts: bool) -> UsableNetwork:
    """
    What of a network can be used; the log has what is wrong with the rest.

    :param with_doubts: whether it is to have what may be wrong, too.
    :raise PermissionError: a file must not be read: who may put that right has to.
    """
    cars = usable_cars(directory / CARS, log)
    tariffs = _read_or_tell(
        log,
        directory / TARIFFS,
        read_tariffs,
        TariffRows({}, ()),
        "no station that names a tariff is in service",
    ) or TariffRows({}, ())
    catalogue = Catalogue(cars, tariffs.tariffs)
    nothing = "no station is in service"
    rows = _read_or_tell(log, directory / STATIONS, read_stations, StationRows([], {}, {}), nothing)
    evses = _read_or_tell(log, directory / EVSES, read_evses, EvseRows({}, {}), nothing)
    if rows is None or evses is None:
        return UsableNetwork(catalogue)
    resting = None
    with contextlib.suppress(DatasetError, OSError):
        resting = read_rows(directory / OUT_OF_SERVICE).known
    found = together(rows, evses, tariffs.tariffs, resting or ())
    doubts = [*rows.doubts, *rows.out_of_place(), *found.doubts] if with_doubts else []
    for problems in (tariffs.problems, evses.problems, [*rows.problems, *found.problems], doubts):
        for problem in listed(problems):
            log.warn("{problem}", problem=problem)
    if rows.wrong:
        log.warn(
            "{path}: wrong rows: {count}; their stations are out of service until they are put "
            "right and the server is started again",
            path=str(directory / STATIONS),
            count=len(rows.wrong),
        )
    beside = [i for i in rows.stations if i not in found.stations]
    if beside:
        log.warn(
            "{path}: stations whose EVSEs or tariffs are wrong: {count}; they are out of service "
            "until that is put right and the server is started again",
            path=str(directory),
            count=len(beside),
        )
    return UsableNetwork(catalogue, found.stations, found.known, rows.known, resting)


def _read_or_tell(
    log: Logger, path: Path, read: Callable[[bytes, str], T], missing: T, so: str
) -> T | None:
    """
    What `read` makes of a file; `missing` where there is none, None where it cannot be read.

    :raise PermissionError: it must not be read: who may put that right has to.
    """
    if not os.path.lexists(path):
        return missing
    try:
        return read(path.read_bytes(), str(path))
    except PermissionError:
        raise
    except (DatasetError, OSError) as error:
        _unreadable(log, path, error, so)
        return None


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

    cars: CarCatalogue
    rows: StationRows
    resting: StationRows
    """Of the stations that are out of service."""
    evses: EvseRows
    tariffs: TariffRows

    @classmethod
    def read(cls, directory: Path) -> NetworkFiles:
        """Read those in `directory`. DatasetError: one cannot be understood; OSError: nor read."""
        path = directory / CARS
        return cls(
            read_car_models(path.read_bytes(), str(path)),
            read_rows(directory / STATIONS),
            read_rows(directory / OUT_OF_SERVICE),
            _read_there(directory / EVSES, read_evses, EvseRows({}, {})),
            _read_there(directory / TARIFFS, read_tariffs, TariffRows({}, ())),
        )

    @property
    def known(self) -> dict[int, Station]:
        """Every station that has a row, as far as that can be read."""
        return {**self.resting.known, **self.rows.known}

    @property
    def stations(self) -> dict[int, Station]:
        """The same with their EVSEs, but for those of which these are wrong."""
        return with_evses(self.known, self.evses)

    @property
    def problems(self) -> list[str]:
        """What is wrong in any of them."""
        beside = names_of_others(self.stations, self.rows, self.evses, self.tariffs.tariffs)
        return [
            *listed(self.cars.problems),
            *listed(self.tariffs.problems),
            *listed(self.evses.problems),
            *listed([*self.resting.problems, *self.rows.problems, *chain(*beside.values())]),
        ]

    @property
    def loose_evses(self) -> dict[str, Any]:
        """What there is of EVSEs of stations that have no row, as it is."""
        known = {str(station_id) for station_id in self.known}
        return {key: value for key, value in self.evses.everything.items() if key not in known}

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
            is_wrong = station_id in self.evses.wrong
            return StationRecord(
                station.with_slots(slots),
                station_id in self.rows.stations,
                cells.get(station_id, {}),
                self.evses.everything[str(station_id)] if is_wrong else None,
            )

        stations = sorted({**unlisted, **self.known, **self.stations}.items())
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


def evses_and_tariffs(
    stations: Iterable[StationRecord], tariffs: Sequence[Any], loose_evses: Mapping[str, Any]
) -> dict[str, bytes]:
    """
    The EVSEs and the tariffs of a network, by the name of the file; there is none for nothing.

    :param loose_evses: those of stations that it does not have, as they are.
    """
    evses: dict[str, Any] = {}
    for record in stations:
        own = record.station.own_evses
        if record.wrong_evses is not None:
            evses[record.station.key] = record.wrong_evses
        elif own:
            evses[record.station.key] = [evse_facts(evse) for evse in own]
    evses.update(loose_evses)
    files = {EVSES: evses_json(evses)} if evses else {}
    return {**files, TARIFFS: tariffs_json(tariffs)} if tariffs else files


def copied(contents: Contents) -> dict[str, bytes]:
    """
    The network of a copy, by the name of the file.

    :raise DatasetError: rows of stations could not be read again.
    """
    return {
        CARS: merge_car_models({}, contents.car_models),
        **rows_files(contents.stations, contents.loose_rows),
        **evses_and_tariffs(contents.stations, contents.tariffs, {}),
    }
