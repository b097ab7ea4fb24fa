"""Who holds EVSEs, and who waits for them, as a transaction reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from evcharge.datasets import DatasetError
from evcharge.models.electric_car import CarModel
from evcharge.models.receipts import Receipt
from evcharge.models.session import ChargingSession, Place
from evcharge.models.slots import Book, SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks, D
from evcharge.storage.sql import schema
from evcharge.storage.sql.network import Network, in_service
from evcharge.storage.sql.rows import place_of, receipt_of, session_of, station_of, user_of
from evcharge.storage.sql.statements import (
    FIND_LINE,
    FIND_SESSIONS,
    FIND_WAITING,
    FIND_WHEREABOUTS,
)
from evcharge.storage.sql.used import UsedTariffs

_sessions = schema.sessions.c
_NOTHING = Decimal(0)

SHOWN = select(
    _sessions.user_id,
    _sessions.station_id,
    _sessions.estimated_timestamp,
    _sessions.charge_minutes,
    _sessions.evse_uid,
    _sessions.state,
    _sessions.since_timestamp,
    _sessions.expires_timestamp,
    _sessions.leaves_when_done,
)
"""What of sessions is to be seen in the state of a station."""


class Standing:
    """
    Reads who stands where.

    :param clocks: those that instants are by.
    :param used: the tariffs that sessions go by.
    """

    def __init__(self, connection: Connection, clocks: Clocks, used: UsedTariffs) -> None:
        self._connection = connection
        self._clocks = clocks
        self._used = used

    def _true(self, record: D) -> D:
        return self._clocks.true(record) if self._clocks.moved_s else record

    def users(self, rows: Iterable[Any], models: Mapping[str, CarModel]) -> dict[str, User]:
        """The users of rows, by id; `models` as for :func:`user_of`."""
        return {row.user_id: self._true(user_of(row, models)) for row in rows}

    def sessions(self, rows: Iterable[Any]) -> list[ChargingSession]:
        """The sessions of rows."""
        rows = list(rows)
        tariffs = self._used.find(self._connection, {row.tariff_key for row in rows})
        return [self._true(session_of(row, tariffs)) for row in rows]

    def places(self, rows: Iterable[Any], models: Mapping[str, CarModel]) -> list[Place]:
        """The places in line of rows, which have their users beside them."""
        return [
            self._true(place_of(row, self._true(user_of(row, models))))
            for row in rows
            if row.place is not None
        ]

    def receipts(self, query: Any, *parameters: Mapping[str, Any]) -> list[Receipt]:
        """The receipts that a query finds."""
        rows = self._connection.execute(query, *parameters).all()
        tariffs = self._used.find(self._connection, {row.tariff_key for row in rows})
        return [receipt_of(row, tariffs) for row in rows]

    def whereabouts(self, user_ids: Collection[str]) -> dict[str, int]:
        """The stations where users hold an EVSE, or wait for one."""
        rows = self._connection.execute(FIND_WHEREABOUTS, {"ids": list(user_ids)}).all()
        return {user_id: station_id for user_id, station_id in rows}

    def books(
        self,
        station_ids: Collection[int],
        locked: Mapping[int, Any],
        look: Callable[[int], Network],
    ) -> dict[int, Book | None]:
        """
        The books of stations.

        :param locked: the rows of those that are, which are as these say: None, not there.
        :param look: from the network's version to the network.
        """
        ids = {"ids": list(station_ids)}
        # By statements of their own, begun with the stations locked: they see all who are there.
        sessions = self.sessions(self._connection.execute(FIND_SESSIONS, ids))
        line = self._connection.execute(FIND_LINE, ids).all()
        network = look(line[0].version)
        places = self.places(line, network.catalogue.models)
        books: dict[int, Book | None] = {}
        for station_id, (here, waiting) in _by_station(station_ids, sessions, places).items():
            station = network.stations.get(station_id)
            if station_id in locked:
                station = _present(locked[station_id], network)
            slots = SlotTable(station_id, 0, here, waiting=waiting)
            if station is not None:
                slots = slots.with_slots(station.max_slots).at(station)
            books[station_id] = Book(station, slots) if station or here or waiting else None
        return books

    def everyone(self, models: Mapping[str, CarModel]) -> dict[int, SlotTable]:
        """Who is at each station where somebody is, by its id; of slots they say nothing."""
        sessions = self.sessions(self._connection.execute(select(schema.sessions)))
        found = _by_station((), sessions, self.line(models))
        return {
            station_id: SlotTable(station_id, 0, here, waiting=waiting)
            for station_id, (here, waiting) in found.items()
        }

    def line(self, models: Mapping[str, CarModel]) -> list[Place]:
        """Everybody who waits."""
        return self.places(self._connection.execute(FIND_WAITING), models)

    def lines(self) -> dict[int, list[Place]]:
        """The same, by station; of their cars it is not known how they charge."""
        found: dict[int, list[Place]] = {}
        for place in self.line({}):
            found.setdefault(place.station_id, []).append(place)
        return found

    def states(self, network: Network, ids: Collection[int]) -> dict[int, StationState]:
        """The states of the stations of `ids`, and of all that are occupied, if in service."""
        # Nothing else of it is looked at.
        sessions = [
            ChargingSession(
                row.user_id,
                row.station_id,
                row.estimated_timestamp,
                "",
                _NOTHING,
                row.charge_minutes,
                None,
                row.evse_uid,
                state=row.state,
                since_timestamp=row.since_timestamp,
                expires_timestamp=row.expires_timestamp,
                leaves_when_done=row.leaves_when_done,
            )
            for row in self._connection.execute(SHOWN)
        ]
        places = self.line(network.catalogue.models)
        found = {}
        for station_id, (here, waiting) in _by_station(ids, sessions, places).items():
            station = network.stations.get(station_id)
            if station is not None:
                slots = SlotTable(station_id, station.max_slots, here, waiting=waiting)
                found[station_id] = StationState.of(station, slots.at(station))
        return found


def _present(row: Any, network: Network) -> Station | None:
    """The station of a row, None: there is none; None where it is not in service."""
    if row is None or not row.in_service:
        return None
    with contextlib.suppress(DatasetError):
        station = in_service(station_of(row), network.catalogue.tariffs)
        return station.with_statuses(network.statuses)
    return None


def _by_station(
    ids: Iterable[int], sessions: Iterable[ChargingSession], places: Iterable[Place]
) -> dict[int, tuple[dict[str, ChargingSession], tuple[Place, ...]]]:
    """Who is at the stations of `ids`, and at others where somebody is."""
    standing: dict[int, dict[str, ChargingSession]] = {station_id: {} for station_id in ids}
    lines: dict[int, list[Place]] = {}
    for session in sessions:
        standing.setdefault(session.station_id, {})[session.user_id] = session
    for place in places:
        standing.setdefault(place.station_id, {})
        lines.setdefault(place.station_id, []).append(place)
    return {
        station_id: (here, tuple(sorted(lines.get(station_id, ()), key=lambda p: p.number)))
        for station_id, here in standing.items()
    }
