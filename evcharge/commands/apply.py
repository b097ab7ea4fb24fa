"""`evcharge apply`: brings the network in a storage to what the files in a directory say."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from evcharge.commands.network import Kind, kinds, tariff_key
from evcharge.commands.storages import (
    SourceError,
    add_storage,
    location,
    must_exist,
    nothing_written,
    say,
    told,
    warn,
)
from evcharge.datasets import (
    DatasetError,
    StationRows,
    listed,
    parse_car_models,
    parse_stations,
)
from evcharge.datasets.difference import wanted_evses, wanted_stations
from evcharge.datasets.evses import EvseRows, parse_evses
from evcharge.datasets.files import CARS, EVSES, OUT_OF_SERVICE, STATIONS, TARIFFS
from evcharge.datasets.problems import shown
from evcharge.datasets.tariffs import TariffRows, check_tariffs, parse_tariffs
from evcharge.datasets.together import TARIFF, named_tariffs, other_numbers, strangers
from evcharge.models.network import Network, StationRecord
from evcharge.rules.network import ChangeNetwork
from evcharge.storage import carry_out
from evcharge.storage.contents import Copyable
from evcharge.utils.permissions import remedy_to_read
from evcharge.utils.warnings import warnings_shown

SHORT_NAME = "stations.csv"
"""What the file of stations may be called too: not every network is in Feira de Santana."""

T = TypeVar("T")


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    apply = commands.add_parser(
        "apply",
        help="change stations, cars and tariffs to what files say",
        example="evcharge apply my-network --dry-run",
        description=(
            f"Changes the network in a storage to what the files in DIR say, as export writes "
            f"them: {CARS}, {STATIONS} (or {SHORT_NAME}), {OUT_OF_SERVICE}, {EVSES}, {TARIFFS}. "
            "What has no file there stays as it is. Everything is changed in one step, or nothing. "
            "Drivers who are charging go on. Stop the server first, unless the storage is "
            "PostgreSQL: there, servers have the new network within a second."
        ),
    )
    apply.add_argument("directory", metavar="DIR", help="directory with the files")
    add_storage(apply)
    apply.add_argument(
        "--dry-run", action="store_true", help="only say what would change, and write nothing"
    )
    apply.add_argument(
        "--remove",
        action="store_true",
        help="take out the stations, EVSEs, tariffs and car models that are not in the files",
    )
    apply.set_defaults(run=told(_apply))


@attrs.frozen
class Wanted:
    """What the files say. None: there is no such file."""

    cars: Mapping[str, Any] | None
    stations: StationRows | None
    resting: StationRows | None
    """The stations that are out of service."""
    evses: EvseRows | None
    tariffs: TariffRows | None

    def records(self, there: Network, remove: bool) -> dict[int, StationRecord] | None:
        """
        The stations that there are to be; of those that are `there`, what no file speaks of stays.

        :param remove: whether EVSEs go that are not in the file of them.
        """
        found = self._rows(there)
        if self.evses is None:
            return found
        if found is None:
            found = dict(there.stations)
        elif not remove:
            # Those too that have no row in these files, and stay, but with other EVSEs.
            for station_id, own in self.evses.evses.items():
                record = there.stations.get(station_id)
                if record is not None and record.station.own_evses != own:
                    found.setdefault(station_id, record)
        return wanted_evses(self.evses, found, remove)

    def _rows(self, there: Network) -> dict[int, StationRecord] | None:
        if self.stations is None and self.resting is None:
            return None
        found: dict[int, StationRecord] = {}
        for rows, in_service in ((self.resting, False), (self.stations, True)):
            if rows is not None:
                found.update(wanted_stations(rows, in_service, there.stations))
        for station_id, record in there.stations.items():
            # A row that is wrong stands among those in service.
            rows = self.stations if record.in_service or record.is_unread else self.resting
            if rows is None:
                found.setdefault(station_id, record)
        return found

    def tariffs_of(self, there: Network, remove: bool) -> tuple[Any, ...]:
        """The tariffs that there are to be."""
        if self.tariffs is None:
            return tuple(there.tariffs)
        before = {tariff_key(body): body for body in there.tariffs}
        wanted = {tariff_key(body): body for body in self.tariffs.everything}
        return tuple(_merged(before, wanted, remove).values())

    def mistakes(self, before: Network, after: Network) -> list[str]:
        """
        What is wrong with the network that there comes to be: tariffs that are named and not there,
        and EVSEs of two stations that are called alike.
        """
        known = check_tariffs(after.tariffs, TARIFFS).tariffs
        rows, named_rows = self.stations, self.stations.stations if self.stations else {}
        source = self.evses.source if self.evses else "EVSE"
        homes: dict[str, int] = {}
        found: list[str] = []
        for station_id, record in after.stations.items():
            station = record.station
            for evse in station.evses:
                home = homes.setdefault(evse.uid, station_id)
                if home != station_id:
                    what = f"uid: stations {home} and {station_id} have one that is called so"
                    found.append(f'{source}: "{evse.uid}": {what}')
            if before.stations.get(station_id) == record and before.tariffs == after.tariffs:
                continue
            for place, tariff_id in named_tariffs(station, TARIFF):
                if tariff_id in known:
                    continue
                what = f"there is no tariff {shown(repr(tariff_id))}"
                if place != TARIFF:
                    found.append(f"{source}: {place}: {what}")
                elif rows and station_id in named_rows and place in rows.columns:
                    found.append(rows.said(station_id, place, what))
                else:
                    found.append(f"station {station_id}: {place}: {what}")
        return found

    def doubts(self, before: Network, after: Network) -> list[str]:
        """What may be wrong, of what the network comes to be."""
        stations = {number: record.station for number, record in after.stations.items()}
        in_service = [r.station for r in after.stations.values() if r.in_service]
        evses = self.evses or EvseRows({}, {})
        found = [*strangers(evses, {*before.stations, *stations})]
        if self.stations is not None:
            rows = self.stations
            found += [*rows.doubts, *rows.out_of_place(in_service)]
            found += other_numbers(rows, stations, evses)
        return found


def _apply(options: argparse.Namespace) -> None:
    place = location("--storage", options.storage)
    wanted = _read(Path(options.directory))
    must_exist(place)
    storage = place.storage()
    there = _network(storage)
    change = _change(wanted, options.remove)
    after = change(there)
    warn(listed(wanted.doubts(there, after)))
    if not options.dry_run and after != there:
        with warnings_shown(say):
            storage.open(time.time())
        try:
            # In it the network is looked at again: it may be another one by now.
            there = _named(carry_out(storage, ChangeNetwork(change, time.time())).before)
        finally:
            storage.close()
    stations = wanted.records(there, options.remove)
    _tell(place.name, kinds(there, wanted.cars, stations, wanted.tariffs), options)


def _network(storage: Copyable) -> Network:
    """The network in a storage."""
    with storage.read_contents(time.time()) as contents:
        records = {record.station.station_id: record for record in contents.stations}
        return _named(Network(contents.car_models, records, tuple(contents.tariffs)))


def _named(there: Network) -> Network:
    """A network without the stations that are gone and not empty yet."""
    stations = {i: record for i, record in there.stations.items() if not record.is_gone}
    return Network(there.car_models, stations, there.tariffs)


def _change(wanted: Wanted, remove: bool) -> Callable[[Network], Network]:
    """The network that there is -> the one that the files want, or Exit: they want a wrong one."""

    def change(there: Network) -> Network:
        cars, stations = wanted.cars, wanted.records(there, remove)
        after = Network(
            there.car_models if cars is None else _merged(there.car_models, cars, remove),
            there.stations if stations is None else _merged(there.stations, stations, remove),
            wanted.tariffs_of(there, remove),
        )
        _refuse(wanted.mistakes(there, after))
        return after

    return change


def _merged(there: Mapping[Any, T], wanted: Mapping[Any, T], remove: bool) -> dict[Any, T]:
    """What is wanted, in the order in which it is there, and without `remove` what else is."""
    kept = {key: wanted.get(key, value) for key, value in there.items()}
    if remove:
        kept = {key: value for key, value in kept.items() if key in wanted}
    return {**kept, **wanted}


# Reading


def _read(directory: Path) -> Wanted:
    """
    What the files of `directory` say.

    :raise SourceError: one cannot be read, or there is none of them.
    :raise Exit: names every mistake in them.
    """
    problems: list[str] = []

    def read(name: str, parse: Callable[[bytes, str], T]) -> T | None:
        path = directory / name
        try:
            return parse(path.read_bytes(), str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            cure = remedy_to_read(error, path)
            raise SourceError(f"{path}: {error.strerror or error}{cure}") from None
        except DatasetError as error:
            problems.extend(error.problems)
            return None

    if not directory.is_dir():
        raise SourceError(f"{directory}: no such directory")
    cars = read(CARS, parse_car_models)
    stations, short = read(STATIONS, parse_stations), read(SHORT_NAME, parse_stations)
    resting = read(OUT_OF_SERVICE, parse_stations)
    evses, tariffs = read(EVSES, parse_evses), read(TARIFFS, parse_tariffs)
    if stations is not None and short is not None:
        problems.append(f"{directory}: has both {STATIONS} and {SHORT_NAME}")
    stations = stations or short
    twice = (stations.rows.keys() if stations else set()) & (resting.rows if resting else {}).keys()
    problems += [f"{directory}: station {each} is in both files of stations" for each in twice]
    _refuse(problems)
    if all(found is None for found in (cars, stations, resting, evses, tariffs)):
        names = f"{CARS}, {STATIONS} (or {SHORT_NAME}), {OUT_OF_SERVICE}, {EVSES}, {TARIFFS}"
        raise SourceError(f"{directory}: has none of {names}")
    return Wanted(cars, stations, resting, evses, tariffs)


def _refuse(problems: list[str]) -> None:
    """Exit, if there are mistakes."""
    if problems:
        raise nothing_written(problems)


# Telling


def _tell(name: str, found: list[Kind], options: argparse.Namespace) -> None:
    for kind in found:
        for line in kind.new():
            print(line)
        for line in kind.changed():
            print(line)
        gone = "gone; whoever charges there goes on"
        stays = "not in the files, and stays; --remove takes it out"
        for key in kind.difference.gone:
            print(f"{kind.title(key)}: {gone if options.remove else stays}")
    for kind in found:
        print(kind.summary(options.remove))
    if not any(kind.is_changed(options.remove) for kind in found):
        print(f"{name}: nothing to do")
    elif options.dry_run:
        print(f"{name}: nothing was written, as this is a dry run")
    else:
        print(f"{name}: done")
