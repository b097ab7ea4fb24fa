"""START: the cars and the stations of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.connectors import shown_connectors
from evcharge.models.station import StationState
from evcharge.outcomes import Reply
from evcharge.rules.journey import ListStations
from evcharge.storage import Eventual
from evcharge.utils.geo_utils import distance_km
from evcharge.wire.envelope import encode_part
from evcharge.wire.fields import POSITION, Field, Integer

T = TypeVar("T")

MOST_STATIONS = 1000
"""The most stations that one reply carries."""


@attrs.frozen
class Start(Handler):
    """Answers START."""

    TYPE = "START"
    FIELDS = (
        Field("position", POSITION, optional=True),
        Field("limit", Integer(1, MOST_STATIONS), optional=True),
    )

    _parts: dict[Any, tuple[object, Any]] = attrs.field(factory=dict, init=False)
    """What was written last of the catalogue, of each station's state, and of all of them."""

    def handle(
        self, position: Mapping[str, float] | None = None, limit: int = MOST_STATIONS
    ) -> Eventual[Answer]:
        return then(self.context.perform(ListStations()), self._reply, position, limit)

    def _reply(
        self, states: Sequence[StationState], position: Mapping[str, float] | None, limit: int
    ) -> Reply:
        cars = self._part("car_models", self.context.car_models())
        if len(states) > limit:
            return Reply(
                {
                    "car_models": cars,
                    "total_stations": len(states),
                    "truncated": True,
                    "station_models": self._stations(_nearest(states, position, limit)),
                }
            )
        stations = self._part("station_models", states, self._stations)
        return Reply({"car_models": cars, "station_models": stations})

    def _stations(self, states: Sequence[StationState]) -> dict[str, Any]:
        return {
            state.station.key: self._part(state.station.key, state, _describe) for state in states
        }

    def _part(self, key: str, value: T, describe: Callable[[T], Any] = lambda value: value) -> Any:
        """`value`, described and written; anew only when it is another object than before."""
        known = self._parts.get(key)
        if known is None or known[0] is not value:
            known = self._parts[key] = (value, encode_part(describe(value)))
        return known[1]


def _nearest(
    states: Sequence[StationState], place: Mapping[str, float] | None, limit: int
) -> Sequence[StationState]:
    """The `limit` stations nearest to `place`, nearest first; without it the first by id."""
    if place is None:
        return states[:limit]
    latitude, longitude = place["latitude"], place["longitude"]

    def far(state: StationState) -> tuple[float, int]:
        station = state.station
        return (
            distance_km(latitude, longitude, station.latitude, station.longitude),
            station.station_id,
        )

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
