"""START: the cars and the stations of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from math import inf
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import attrs

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.connectors import shown_connectors
from evcharge.models.station import StationState
from evcharge.models.stations import Stations
from evcharge.outcomes import Reply
from evcharge.planning.nearest import nearest
from evcharge.rules.journey import ListStations
from evcharge.storage import Eventual
from evcharge.wire.envelope import encode_part
from evcharge.wire.fields import POSITION, Field, Integer

T = TypeVar("T")

MOST_STATIONS = 1000
"""The most stations that one reply carries."""

MOST_PARTS = 20_000
"""How much of what was written is kept at most: some 0.5 KiB for each station."""


@attrs.define
class Whole:
    """All stations as they were written last."""

    changes: dict[str, StationState]
    """Those that are others since."""
    part: Any = None


@attrs.frozen
class Start(Handler):
    """Answers START."""

    TYPE = "START"
    FIELDS = (
        Field("position", POSITION, optional=True),
        Field("limit", Integer(1, MOST_STATIONS), optional=True),
    )

    _parts: dict[Any, tuple[object, Any]] = attrs.field(factory=dict, init=False)
    """What was written last of the catalogue, and of each station's state."""
    _whole: WeakKeyDictionary[Stations, Whole] = attrs.field(factory=WeakKeyDictionary, init=False)

    def handle(
        self, position: Mapping[str, float] | None = None, limit: int = MOST_STATIONS
    ) -> Eventual[Answer]:
        return then(self.context.perform(ListStations()), self._reply, position, limit)

    def _reply(self, stations: Stations, position: Mapping[str, float] | None, limit: int) -> Reply:
        cars = self._part("car_models", self.context.car_models())
        if len(stations) > limit:
            return Reply(
                {
                    "car_models": cars,
                    "total_stations": len(stations),
                    "truncated": True,
                    "station_models": self._stations(_first(stations, position, limit)),
                }
            )
        return Reply({"car_models": cars, "station_models": self._all(stations)})

    def _all(self, stations: Stations) -> Any:
        """All stations, written anew only when one of them has changed."""
        whole = self._whole.get(stations)
        if whole is None:
            whole = self._whole[stations] = Whole(stations.follow())
        if whole.changes or whole.part is None:
            # Before they are looked at: what changes meanwhile is there the next time.
            whole.changes.clear()
            whole.part = encode_part(self._stations(stations))
        return whole.part

    def _stations(self, states: Iterable[StationState]) -> dict[str, Any]:
        return {
            state.station.key: self._part(state.station.key, state, _describe) for state in states
        }

    def _part(self, key: str, value: T, describe: Callable[[T], Any] = lambda value: value) -> Any:
        """`value`, described and written; anew only when it is another object than before."""
        known = self._parts.get(key)
        if known is None or known[0] is not value:
            if len(self._parts) >= MOST_PARTS:
                self._parts.clear()
            known = self._parts[key] = (value, encode_part(describe(value)))
        return known[1]


def _first(
    stations: Stations, place: Mapping[str, float] | None, limit: int
) -> Iterable[StationState]:
    """The `limit` stations nearest to `place`, nearest first; without it the first by id."""
    if place is None:
        return islice(stations, limit)
    latitude, longitude = place["latitude"], place["longitude"]
    found = nearest(stations).search(latitude, longitude, inf, lambda *_: ())
    return [state for _, _, state in islice(found, limit)]


def _describe(state: StationState) -> dict[str, Any]:
    station = state.station
    return {
        "name_station": station.name,
        "address": station.address,
        "latitude": station.latitude,
        "longitude": station.longitude,
        "max_slots": station.max_slots,
        "available_slots": state.available_slots,
        "power_kw": station.power_kw,
        "price_kwh": float(station.price_kwh),
        "connectors": shown_connectors(station.connectors),
    }
