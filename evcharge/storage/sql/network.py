"""The network in a database: the cars, the stations, and how many slots of them are free."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs
from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.sql.elements import BindParameter
from twisted.logger import Logger

from evcharge.datasets import (
    StationRows,
    check_car_models,
    listed,
    other_columns,
    parse_car_models,
    parse_stations,
)
from evcharge.datasets.files import CARS, STATIONS, shipped
from evcharge.models import network as models
from evcharge.models.network import StationRecord
from evcharge.models.station import Station, StationState
from evcharge.rules.events import NetworkChanged
from evcharge.storage.sql import schema
from evcharge.storage.sql.rows import car_row, station_of, station_row

_log = Logger()
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_sessions, _stations = schema.sessions.c, schema.stations.c

COUNT_SESSIONS = select(
    _sessions.station_id, func.count(), func.min(_sessions.estimated_timestamp)
).group_by(_sessions.station_id)
ENDS = select(_sessions.estimated_timestamp).order_by(_sessions.estimated_timestamp)
LOCK_NETWORK = select(schema.network.c.id).with_for_update(read=True, key_share=True)
"""Holds up nobody, and is written down."""
_CHANGE_STATION = update(schema.stations).where(_stations.station_id == bindparam("key"))
_REMOVE_STATION = delete(schema.stations).where(_stations.station_id == bindparam("key"))
COUNT_SOME_SESSIONS = COUNT_SESSIONS.where(_sessions.station_id.in_(_ids))


@attrs.frozen
class Network:
    """The cars, and the stations in service by id."""

    version: int
    """As the table `network` counts it."""
    car_models: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    stations: Mapping[int, Station] = attrs.field(factory=dict)


def fill(
    connection: Connection,
    cars: Mapping[str, Any] | None,
    stations: StationRows | None,
) -> None:
    """
    Add what is missing of the network.

    :param cars: models that there shall be, and
    :param stations: stations, likewise; in place of None a database that has none gets the shipped.
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
    ids = set(connection.execute(select(_stations.station_id)).scalars())
    if stations is None and not ids:
        stations = parse_stations(shipped(STATIONS), STATIONS)
    new_stations = []
    if stations is not None:
        new_stations = [
            station_row(stations.stations[station_id], other_columns(cells))
            for station_id, cells in stations.rows.items()
            if station_id not in ids
        ]
    if new_cars:
        connection.execute(insert(schema.car_models), new_cars)
    if new_stations:
        connection.execute(insert(schema.stations), new_stations)
    if new_cars or new_stations:
        _count_change(connection)


def whole(connection: Connection, lock: bool) -> tuple[models.Network, dict[int, int]]:
    """
    All that a database says of the network, and at which stations how many vehicles stand.

    :param lock: whether nobody else is to change that before the end of the transaction.
    """
    rows = select(schema.stations).order_by(_stations.station_id)
    if lock:
        # No vehicle comes meanwhile, either.
        connection.execute(select(schema.network.c.id).with_for_update(key_share=True))
        rows = rows.with_for_update()
    cars = connection.execute(select(schema.car_models).order_by(schema.car_models.c.place))
    records = {
        row.station_id: StationRecord(
            station_of(row), row.in_service, json.loads(row.other_columns)
        )
        for row in connection.execute(rows)
    }
    network = models.Network({row.name: json.loads(row.facts) for row in cars}, records)
    # By a statement of its own, begun with the stations locked: it sees every session.
    return network, {row[0]: row[1] for row in connection.execute(COUNT_SESSIONS)}


def change(connection: Connection, event: NetworkChanged) -> None:
    """Have another network."""
    known = event.before.stations
    rows = {
        station_id: {
            **station_row(record.station, record.other_columns),
            "in_service": record.in_service,
        }
        for station_id, record in event.put.items()
    }
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


def read(connection: Connection, known: int) -> Network | None:
    """The cars and the stations; None where their version is the one that is `known`."""
    version = connection.execute(select(schema.network.c.version)).scalar_one()
    if version == known:
        return None
    cars = connection.execute(select(schema.car_models).order_by(schema.car_models.c.place))
    rows = connection.execute(
        select(schema.stations).where(_stations.in_service).order_by(_stations.station_id)
    )
    catalogue = check_car_models(
        {row.name: json.loads(row.facts) for row in cars}, "table car_models"
    )
    for problem in listed(catalogue.problems):
        _log.warn("{problem}; no driver can log in with it", problem=problem)
    return Network(
        version,
        catalogue.models,
        {row.station_id: station_of(row) for row in rows},
    )


def states(
    connection: Connection, network: Network, ids: Collection[int], some: bool
) -> dict[int, StationState]:
    """The states of the stations of `ids` that are in service; but for `some`, of all occupied."""
    if some:
        rows = connection.execute(COUNT_SOME_SESSIONS, {"ids": list(ids)})
    else:
        rows = connection.execute(COUNT_SESSIONS)
    taken = {row[0]: (row[1], row[2]) for row in rows}
    found = {}
    for station_id in {*ids, *taken}:
        station = network.stations.get(station_id)
        if station is None:
            continue
        count, next_free = taken.get(station_id, (0, None))
        if count > station.max_slots:
            # Lowered under its vehicles: more than one has to leave before a slot is free.
            ends = ENDS.where(_sessions.station_id == station_id).limit(1)
            next_free = connection.execute(ends.offset(count - station.max_slots)).scalar()
        found[station_id] = StationState.counted(station, count, next_free)
    return found
