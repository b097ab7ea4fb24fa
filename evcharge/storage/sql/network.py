"""The network in a database: cars, tariffs, stations, and which of their EVSEs are held."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.sql.elements import BindParameter
from twisted.logger import Logger

from evcharge.datasets import (
    DatasetError,
    StationRows,
    check_car_models,
    listed,
    other_columns,
    parse_car_models,
    parse_stations,
)
from evcharge.datasets.evses import EvseRows, parse_evses
from evcharge.datasets.files import CARS, EVSES, STATIONS, TARIFFS, shipped
from evcharge.datasets.problems import shown
from evcharge.datasets.tariffs import TariffRows, parse_tariffs, read_tariffs
from evcharge.datasets.together import lacking_tariffs, named_tariffs, with_evses
from evcharge.models import network as models
from evcharge.models.catalogue import Catalogue
from evcharge.models.evse import EvseStatus
from evcharge.models.network import StationRecord
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff
from evcharge.rules.events import NetworkChanged
from evcharge.storage.sql import schema
from evcharge.storage.sql.rows import (
    STATION_COLUMNS,
    car_row,
    record_of,
    station_of,
    station_row,
    status_rows,
    tariff_rows,
)

_log = Logger()
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_sessions, _stations, _tariff = schema.sessions.c, schema.stations.c, schema.tariffs.c

COUNT_SESSIONS = select(_sessions.station_id, func.count()).group_by(_sessions.station_id)
FIND_STATIONS = select(*STATION_COLUMNS).where(_stations.in_service).order_by(_stations.station_id)
FIND_TARIFFS = select(_tariff.body).order_by(_tariff.place)
LOCK_NETWORK = select(schema.network.c.id).with_for_update(read=True, key_share=True)
"""Holds up nobody, and is written down."""
LOCK_TO_CHANGE = select(schema.network.c.id).with_for_update(key_share=True)
"""Nobody else changes the network meanwhile."""
_CHANGE_STATION = update(schema.stations).where(_stations.station_id == bindparam("key"))
_REMOVE_STATION = delete(schema.stations).where(_stations.station_id == bindparam("key"))


@attrs.frozen
class Network:
    """The cars and the tariffs, and the stations in service by id."""

    version: int
    """As the table `network` counts it."""
    catalogue: Catalogue = attrs.field(factory=Catalogue)
    stations: Mapping[int, Station] = attrs.field(factory=dict)
    statuses: Mapping[str, EvseStatus] = attrs.field(factory=dict)
    """What an operator has said of EVSEs since, by uid."""


def fill(
    connection: Connection,
    cars: Mapping[str, Any] | None,
    stations: StationRows | None,
) -> None:
    """
    Add what is missing of the network.

    :param cars: models that there shall be, and
    :param stations: stations, likewise; in place of None a database that has none gets the shipped,
        with their EVSEs and tariffs.
    :raise DatasetError: one of those names a tariff that there is not.
    """
    if not connection.execute(select(func.count()).select_from(schema.network)).scalar():
        connection.execute(insert(schema.network).values(id=1, version=0))
    there = set(connection.execute(select(schema.car_models.c.name)).scalars())
    if cars is None and not there:
        cars = parse_car_models(shipped(CARS), CARS)
    new_cars = [
        car_row(place, name, facts)
        for place, (name, facts) in enumerate((cars or {}).items(), len(there))
        if name not in there
    ]
    known = set(connection.execute(select(_tariff.tariff_id)).scalars())
    ids = set(connection.execute(select(_stations.station_id)).scalars())
    evses = EvseRows({}, {})
    new_tariffs: list[dict[str, Any]] = []
    if stations is None and not ids:
        stations = parse_stations(shipped(STATIONS), STATIONS)
        evses = parse_evses(shipped(EVSES), EVSES)
        tariffs = tariff_rows(parse_tariffs(shipped(TARIFFS), TARIFFS).everything)
        new_tariffs = [row for row in tariffs if row["tariff_id"] not in known]
        known.update(row["tariff_id"] for row in new_tariffs)
    new_stations = []
    if stations is not None:
        there_are = with_evses(stations.stations, evses)
        lacking = lacking_tariffs(stations, evses, known)
        new = [station_id for station_id in stations.rows if station_id not in ids]
        if problems := [problem for i in new for problem in lacking.get(i, ())]:
            raise DatasetError(problems)
        new_stations = [
            station_row(StationRecord(there_are[i], True, other_columns(stations.rows[i])))
            for i in new
        ]
    for table, rows in (
        (schema.car_models, new_cars),
        (schema.tariffs, new_tariffs),
        (schema.stations, new_stations),
    ):
        if rows:
            connection.execute(insert(table), rows)
    if new_cars or new_tariffs or new_stations:
        _count_change(connection)


def whole(connection: Connection, lock: bool) -> tuple[models.Network, dict[int, int]]:
    """
    All that a database says of the network, and at which stations how many vehicles stand.

    :param lock: whether nobody else is to change that before the end of the transaction.
    """
    rows = select(*STATION_COLUMNS, _stations.in_service, _stations.other_columns)
    rows = rows.order_by(_stations.station_id)
    if lock:
        # No vehicle comes meanwhile, either.
        connection.execute(LOCK_TO_CHANGE)
        rows = rows.with_for_update()
    cars = connection.execute(select(schema.car_models).order_by(schema.car_models.c.place))
    network = models.Network(
        {row.name: json.loads(row.facts) for row in cars},
        {row.station_id: record_of(row) for row in connection.execute(rows)},
        tuple(json.loads(body) for body in connection.execute(FIND_TARIFFS).scalars()),
    )
    # By a statement of its own, begun with the stations locked: it sees every session.
    return network, {row[0]: row[1] for row in connection.execute(COUNT_SESSIONS)}


def change(connection: Connection, event: NetworkChanged) -> None:
    """Have another network."""
    known = event.before.stations
    rows = {station_id: station_row(record) for station_id, record in event.put.items()}
    if gone := event.gone:
        connection.execute(_REMOVE_STATION, [{"key": station_id} for station_id in gone])
    if new := [row for station_id, row in rows.items() if station_id not in known]:
        connection.execute(insert(schema.stations), new)
    if other := [{**row, "key": i} for i, row in rows.items() if i in known]:
        connection.execute(_CHANGE_STATION, other)
    cars = event.after.car_models
    if cars != event.before.car_models:
        connection.execute(delete(schema.car_models))
        if cars:
            places = enumerate(cars.items())
            new = [car_row(place, name, facts) for place, (name, facts) in places]
            connection.execute(insert(schema.car_models), new)
    tariffs = event.after.tariffs
    if tariffs != event.before.tariffs:
        connection.execute(delete(schema.tariffs))
        if new := tariff_rows(tariffs):
            connection.execute(insert(schema.tariffs), new)
    _count_change(connection)


def drop_left(connection: Connection, ids: Iterable[int]) -> None:
    """Remove those of some stations that are gone, and where nobody stands any more."""
    stands = select(_sessions.user_id).where(_sessions.station_id == _stations.station_id).exists()
    is_gone = and_(~_stations.in_service, _stations.name == "", _stations.other_columns == "{}")
    connection.execute(
        delete(schema.stations).where(_stations.station_id.in_(ids), is_gone, ~stands)
    )


def _count_change(connection: Connection) -> None:
    """Have every process see that the network is another one."""
    connection.execute(update(schema.network).values(version=schema.network.c.version + 1))


def read(connection: Connection, known: int, version: int | None = None) -> Network | None:
    """The network; None where its `version`, asked for if need be, is the one that is `known`."""
    if version is None:
        version = connection.execute(select(schema.network.c.version)).scalar_one()
    if version == known:
        return None
    rows = connection.execute(select(schema.car_models).order_by(schema.car_models.c.place))
    cars = check_car_models({row.name: json.loads(row.facts) for row in rows}, "table car_models")
    for problem in listed(cars.problems):
        _log.warn("{problem}; no driver can log in with it", problem=problem)
    tariffs, said = _tariffs(connection), statuses(connection)
    stations = {}
    for row in connection.execute(FIND_STATIONS):
        try:
            station = in_service(station_of(row), tariffs)
            stations[row.station_id] = station.with_statuses(said)
        except DatasetError as error:
            for problem in listed(error.problems):
                _log.warn(
                    "{problem}; station {id} is out of service until it is put right",
                    problem=problem,
                    id=row.station_id,
                )
    return Network(version, Catalogue(cars.models, tariffs), stations, said)


def statuses(connection: Connection) -> dict[str, EvseStatus]:
    """What an operator has said of EVSEs, by uid."""
    rows = connection.execute(select(schema.evse_status))
    return {row.evse_uid: EvseStatus(row.status, row.since, row.reason) for row in rows}


def set_statuses(connection: Connection, said: Mapping[str, EvseStatus]) -> None:
    """Keep what an operator says of EVSEs, by uid; every process sees it as another network."""
    evse_status = schema.evse_status
    connection.execute(delete(evse_status).where(evse_status.c.evse_uid.in_(list(said))))
    connection.execute(insert(evse_status), status_rows(said))
    _count_change(connection)


def _tariffs(connection: Connection) -> Mapping[str, Tariff]:
    """The tariffs that can be used."""
    bodies = connection.execute(FIND_TARIFFS).scalars()
    try:
        rows = read_tariffs(f"[{','.join(bodies)}]".encode(), "table tariffs")
    except DatasetError as error:
        rows = TariffRows({}, (), problems=tuple(error.problems))
    for problem in listed(rows.problems):
        _log.warn("{problem}", problem=problem)
    return rows.tariffs


def in_service(station: Station, tariffs: Mapping[str, Tariff]) -> Station:
    """
    The station, which goes by tariffs that there are.

    :raise DatasetError: one is not there, or is wrong.
    """
    if station.by_tariff:
        problems = [
            f"table stations, station {station.station_id}: {place}: there is no tariff "
            f"{shown(repr(tariff_id))}"
            for place, tariff_id in named_tariffs(station, _tariff.tariff_id.name)
            if tariff_id not in tariffs
        ]
        if problems:
            raise DatasetError(problems)
    return station
