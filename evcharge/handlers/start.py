"""START: the cars and the stations of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from evcharge.handlers import Answer, Reply, then
from evcharge.models.connectors import shown_connectors
from evcharge.models.station import StationState
from evcharge.storage import Eventual, ListStations, Perform
from evcharge.utils.geo_utils import distance_km
from evcharge.wire.envelope import encode_part
from evcharge.wire.fields import Data, integer, position

T = TypeVar("T")

MOST_STATIONS = 1000
"""The most stations that one reply carries."""


@attrs.frozen
class Start:
    """
    Answers START.

    :param car_models: gives the catalogue.
    """

    perform: Perform
    car_models: Callable[[], Mapping[str, Mapping[str, Any]]]
    reads = (("limit",), ("position",), ("position", "latitude"), ("position", "longitude"))
    _parts: dict[Any, tuple[object, Any]] = attrs.field(factory=dict, init=False)
    """What was written last of the catalogue, and of each station's state."""

    def handle(self, data: Data) -> Eventual[Answer]:
        place = position(data) if "position" in data else None
        limit = integer(data, "limit", 1, MOST_STATIONS) if "limit" in data else MOST_STATIONS
        return then(self.perform(ListStations()), self._reply, place, limit)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {}

    def _reply(
        self,
        states: Sequence[StationState],
        place: tuple[float, float] | None,
        limit: int,
    ) -> Reply:
        reply: dict[str, Any] = {"car_models": self._part("car_models", self.car_models())}
        if len(states) > limit:
            reply["total_stations"] = len(states)
            reply["truncated"] = True
            states = _nearest(states, place, limit)
        reply["station_models"] = {
            state.station.key: self._part(state.station.key, state, _describe) for state in states
        }
        return Reply(reply)

    def _part(self, key: str, value: T, describe: Callable[[T], Any] = lambda value: value) -> Any:
        """`value`, described and written; anew only when it is another object than before."""
        known = self._parts.get(key)
        if known is None or known[0] is not value:
            known = self._parts[key] = (value, encode_part(describe(value)))
        return known[1]


def _nearest(
    states: Sequence[StationState], place: tuple[float, float] | None, limit: int
) -> Sequence[StationState]:
    """The `limit` stations nearest to `place`, nearest first; without it the first by id."""
    if place is None:
        return states[:limit]
    here = place

    def far(state: StationState) -> tuple[float, int]:
        station = state.station
        return (distance_km(*here, station.latitude, station.longitude), station.station_id)

    return sorted(states, key=far)[:limit]


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
