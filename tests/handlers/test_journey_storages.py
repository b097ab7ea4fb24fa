"""The messages, over every storage: tests on memory again on files, SQLite and PostgreSQL."""

import itertools
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import attrs

from evcharge.datasets import COLUMNS, OPTIONAL_COLUMNS, parse_stations
from evcharge.datasets.files import CARS, STATIONS
from evcharge.models.network import Network
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff
from evcharge.rules.network import ChangeNetwork
from evcharge.storage import Storage, carry_out
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.storage.sql.databases import Postgres, Sqlite
from evcharge.storage.sql.store import SqlStorage
from evcharge.testing import NOON
from tests.support import engines, journey, postgres
from tests.support.journey import station
from tests.support.scenarios import JOURNEYS, SESSIONS

engines.share()


def csv(stations: Sequence[Station]) -> bytes:
    """The stations, as a data directory has them."""
    rows = [";".join((*COLUMNS, *OPTIONAL_COLUMNS))]
    # A network has at least one; a test that names none does not look.
    for s in stations or [station(1)]:
        power, price = ("" if f is None else f for f in (s.power_kw, s.price_kwh))
        rows.append(
            f"{s.station_id};{s.name};{s.address};{s.latitude};{s.longitude};{s.max_slots};"
            f"{power};{price};{','.join(s.connectors)}"
        )
    return "\n".join(rows).encode()


def enriched(
    stations: Sequence[Station], tariffs: Mapping[str, Tariff], network: Network
) -> Network:
    """The network with what its rows do not say: tariffs, and EVSEs that have names."""
    records = {
        each.station_id: attrs.evolve(network.stations[each.station_id], station=each)
        for each in stations
    }
    bodies = [tariff.body for tariff in tariffs.values()]
    return attrs.evolve(network, stations=records, tariffs=bodies)


class Files:
    """Each storage in a data directory of its own."""

    def make(self, cars: Mapping[str, Any], stations: Sequence[Station]) -> Storage:
        data = Path(self.mktemp())
        data.mkdir()
        (data / CARS).write_text(json.dumps(cars))
        (data / STATIONS).write_bytes(csv(stations))
        return FileStorage(data)

    def setUp(self) -> None:
        storages: list[Storage] = []

        def opened(
            cars: Mapping[str, Any],
            stations: Sequence[Station],
            tariffs: Mapping[str, Tariff] | None = None,
        ) -> Storage:
            storage = self.make(cars, stations)
            storage.open(NOON)
            if tariffs or any(each.own_evses or each.tariff_id for each in stations):
                carry_out(storage, ChangeNetwork(partial(enriched, stations, tariffs or {})))
            # One test may make hundreds, and a server of PostgreSQL has but so many connections.
            storages.append(storage)
            if len(storages) > 20:
                storages.pop(0).close()
            self.addCleanup(storage.close)
            return storage

        self.patch(journey, "make_storage", opened)
        super().setUp()


class SqliteFile(Files):
    """Each storage in an SQLite file of its own: a copy, where one of its network was made."""

    made: ClassVar[dict[tuple[str, bytes], bytes]] = {}

    def make(self, cars: Mapping[str, Any], stations: Sequence[Station]) -> Storage:
        path, rows = Path(self.mktemp()).absolute(), csv(stations)
        network = json.dumps(cars), rows
        if network not in self.made:
            storage = SqlStorage(Sqlite(path), cars, parse_stations(rows, STATIONS))
            storage.open(NOON)
            storage.close()
            self.made[network] = path.read_bytes()
        path.write_bytes(self.made[network])
        return SqlStorage(Sqlite(path))


class PostgresDatabase(Files):
    """Each storage in a PostgreSQL schema of its own."""

    numbers = itertools.count()
    url = ""

    def make(self, cars: Mapping[str, Any], stations: Sequence[Station]) -> Storage:
        if not self.url:
            PostgresDatabase.url = postgres.shared().url(postgres.shared().create_database())
        schema = f"s{next(self.numbers)}"
        parameters = {**parse(self.url, "").parameters, "options": f"-csearch_path={schema}"}
        database = Postgres(parameters)
        with database.begin(write=True) as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        return SqlStorage(database, cars, parse_stations(csv(stations), STATIONS))


def over(place: type, tests: type) -> type:
    """The `tests`, with their storages in `place`."""
    return type(f"{place.__name__}{tests.__name__}", (place, tests), {"__doc__": tests.__doc__})


# What has to do with a storage; the rest would only be repeated.
for _place, _tests in itertools.product(
    (Files, SqliteFile, PostgresDatabase),
    (*JOURNEYS, *SESSIONS),
):
    _class = over(_place, _tests)
    globals()[_class.__name__] = _class
del _class, _tests  # else they would run once more
