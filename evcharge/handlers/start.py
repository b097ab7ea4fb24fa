"""START: the cars and the stations of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, TypeVar

import attrs

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.evse import Connector, Evse, EvseKind
from evcharge.models.slots import KindState, StationState
from evcharge.models.tariffs import Tariff, price_of_energy
from evcharge.outcomes import Reply
from evcharge.rules.journey import ListStations
from evcharge.storage import Eventual
from evcharge.utils.geo_utils import distance_km
from evcharge.wire.envelope import encode_part
from evcharge.wire.fields import POSITION, Field, Integer, ListOf, StationId

T = TypeVar("T")

MOST_STATIONS = 1000
"""The most stations that one reply carries."""

MOST_NAMED = 100
"""The most stations that a request may name."""


@attrs.frozen
class Start(Handler):
    """Answers START."""

    TYPE = "START"
    FIELDS = (
        Field("position", POSITION, optional=True),
        Field("limit", Integer(1, MOST_STATIONS), optional=True),
        Field("stations", ListOf(StationId(), MOST_NAMED), optional=True),
    )

    _parts: dict[str, tuple[object, Any, Any]] = attrs.field(factory=dict, init=False)
    """What was written last of the catalogue, of each station's state, and of all of them, each
    with what it was written of."""

    def handle(
        self,
        position: Mapping[str, float] | None = None,
        limit: int = MOST_STATIONS,
        stations: Sequence[str | None] | None = None,
    ) -> Eventual[Answer]:
        return then(self.context.perform(ListStations()), self._reply, position, limit, stations)

    def _reply(
        self,
        states: Sequence[StationState],
        position: Mapping[str, float] | None,
        limit: int,
        named: Sequence[str | None] | None,
    ) -> Reply:
        cars = self._part("car_models", self.context.catalogue().car_models, encode_part)
        if named is not None:
            return Reply({"car_models": cars, **self._named(states, frozenset(named))})
        if len(states) > limit:
            return Reply(
                {
                    "car_models": cars,
                    "total_stations": len(states),
                    "truncated": True,
                    "station_models": self._stations(_nearest(states, position, limit)),
                }
            )
        return Reply({"car_models": cars, "station_models": self._all(states)})

    def _all(self, states: Sequence[StationState]) -> Any:
        """All stations, written anew only when one of them, or a price, has changed."""
        now = self.context.now()
        changing = self._part("changing", states, _by_tariff)
        prices = [self._price(state, now) for state in changing]
        return self._part(
            "station_models", states, lambda states: encode_part(self._stations(states)), prices
        )

    def _stations(self, states: Sequence[StationState]) -> dict[str, Any]:
        now = self.context.now()
        return {state.station.key: self._station(state, now) for state in states}

    def _station(self, state: StationState, now: float) -> Any:
        """A station, written anew only when it, or its price, has changed."""
        price = self._price(state, now) if state.station.by_tariff else None

        def describe(state: StationState) -> Any:
            return encode_part(self._describe(state, now))

        return self._part(state.station.key, state, describe, price)

    def _describe(self, state: StationState, now: float) -> dict[str, Any]:
        tariff, is_known = self._tariff(state, now)
        known = self.context.catalogue().tariffs.get(tariff.tariff_id)
        # What is made of the price of a station's row is no tariff that anybody knows by an id.
        price = _price_kwh(state, tariff, now, self.context.zone)
        return _describe(state, tariff, known is tariff, is_known, price)

    def _tariff(self, state: StationState, now: float) -> tuple[Tariff, bool]:
        """The tariff of who charges by the station's first connector now, and if it is known."""
        station = state.station
        first = next((c for kind in station.kinds for c in kind.connectors), None)
        return station.prices.tariff(first, self.context.catalogue().tariffs, now)

    def _price(self, state: StationState, now: float) -> float | None:
        return _price_kwh(state, self._tariff(state, now)[0], now, self.context.zone)

    def _named(self, states: Sequence[StationState], keys: frozenset[str | None]) -> dict[str, Any]:
        """Those of the stations that were asked for, with all that is known of them."""
        known, now = self.context.catalogue().tariffs, self.context.now()
        stations, tariffs = {}, {}
        for state in states:
            station = state.station
            if station.key not in keys:
                continue
            stations[station.key] = {
                **self._describe(state, now),
                "evses": _describe_evses(state),
            }
            ids = (t for kind in station.kinds for c in kind.connectors for t in c.tariff_ids)
            for tariff_id in (*ids, station.tariff_id):
                if tariff_id is not None and tariff_id in known:
                    tariffs[tariff_id] = known[tariff_id].body
        return {"station_models": stations, "tariffs": tariffs}

    def _part(self, key: str, value: T, describe: Callable[[T], Any], price: Any = None) -> Any:
        """`value`, described; anew only when it is another object than before, or its price is."""
        known = self._parts.get(key)
        if known is None or known[0] is not value or known[1] != price:
            known = self._parts[key] = (value, price, describe(value))
        return known[2]


def _by_tariff(states: Sequence[StationState]) -> list[StationState]:
    return [state for state in states if state.station.by_tariff]


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


def _price_kwh(
    state: StationState, tariff: Tariff, now: float, zone: tzinfo | None
) -> float | None:
    """What a kWh costs now with VAT, BRL; None where energy has no price."""
    station = state.station
    price = price_of_energy(tariff, now, station.zone(zone), station.shown_power_kw)
    return None if price is None else float(price)


def _describe(
    state: StationState, tariff: Tariff, has_id: bool, is_known: bool, price: float | None
) -> dict[str, Any]:
    station = state.station
    return {
        "name_station": station.name,
        "address": station.address,
        "latitude": station.latitude,
        "longitude": station.longitude,
        "max_slots": state.max_slots,
        "available_slots": state.available_slots,
        "power_kw": station.shown_power_kw,
        "price_kwh": price,
        "connectors": station.shown_connectors,
        "evse_groups": _describe_groups(state.kinds),
        "tariff": tariff.tariff_id if has_id else None,
        "price_known": is_known,
    }


def _describe_groups(states: Sequence[KindState]) -> list[dict[str, Any]]:
    """The EVSEs, those together that look alike, though their tariffs may differ."""
    groups: list[dict[str, Any]] = []
    for state in states:
        group = {
            "connectors": _describe_connectors(state.kind),
            "total": state.total,
            "available": state.free,
            "out_of_service": state.out_of_service,
        }
        alike = next((g for g in groups if g["connectors"] == group["connectors"]), None)
        if alike is None:
            groups.append(group)
        else:
            for count in ("total", "available", "out_of_service"):
                alike[count] += group[count]
    return groups


def _describe_connectors(kind: EvseKind) -> list[dict[str, Any]]:
    return [_describe_connector(connector, kind) for connector in kind.connectors]


def _describe_connector(connector: Connector, kind: EvseKind) -> dict[str, Any]:
    powers = [p for p in (connector.max_power_kw, kind.max_power_kw) if p is not None]
    return {
        "standard": connector.standard,
        "name": connector.name,
        "power_type": connector.power_type,
        "power_kw": min(powers, default=None),
    }


def _describe_evses(state: StationState) -> list[dict[str, Any]]:
    free = {evse.uid for evse in state.station.free(state.held)}
    return [
        {
            "uid": evse.uid,
            "status": "AVAILABLE" if evse.uid in free else _status(evse),
            # When it was taken is not known here.
            "since": None if evse.in_service and evse.uid not in free else evse.since,
            "connectors": _describe_connectors(evse.kind),
        }
        for evse in state.station.evses
    ]


def _status(evse: Evse) -> str:
    """Of one that is not free."""
    return "CHARGING" if evse.in_service else evse.status
