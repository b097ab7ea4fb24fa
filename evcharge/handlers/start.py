"""START: the cars and the stations of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from itertools import islice
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import attrs

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.charging import least_power
from evcharge.models.evse import Connector, Evse, EvseKind
from evcharge.models.session import CHARGING, FINISHED, OFFERED, RESERVED
from evcharge.models.slots import KindState, StationState
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.tariffs import Tariff, price_of_energy
from evcharge.outcomes import Reply
from evcharge.planning.nearest import nearest
from evcharge.rules.journey import ListStations
from evcharge.storage import Eventual
from evcharge.utils.time_utils import iso_utc
from evcharge.wire.envelope import encode_part
from evcharge.wire.fields import POSITION, Field, Integer, ListOf, StationId

T = TypeVar("T")

MOST_STATIONS = 1000
"""The most stations that one reply carries."""

MOST_NAMED = 100
"""The most stations that a request may name."""

MOST_PARTS = 20_000
"""How much of what was written is kept at most: some 0.5 KiB for each station."""


@attrs.define
class Whole:
    """All stations as they were written last."""

    changes: dict[str, StationState]
    """Those that are others since."""
    by_tariff: list[Station]
    """Those whose price changes with the time."""
    prices: list[float | None] = attrs.field(factory=list)
    """What was written of them."""
    part: Any = None


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
    """What was written last of the catalogue, and of each station's state, each with what it was
    written of."""
    _whole: WeakKeyDictionary[Stations, Whole] = attrs.field(factory=WeakKeyDictionary, init=False)

    def handle(
        self,
        position: Mapping[str, float] | None = None,
        limit: int = MOST_STATIONS,
        stations: Sequence[str | None] | None = None,
    ) -> Eventual[Answer]:
        return then(self.context.perform(ListStations()), self._reply, position, limit, stations)

    def _reply(
        self,
        stations: Stations,
        position: Mapping[str, float] | None,
        limit: int,
        named: Sequence[str | None] | None,
    ) -> Reply:
        cars = self._part("car_models", self.context.catalogue().car_models, lambda cars: cars)
        found: Mapping[str, Any]
        if named is not None:
            found = self._named(stations, named)
        elif len(stations) > limit:
            found = {
                "total_stations": len(stations),
                "truncated": True,
                "station_models": self.some_stations(_first(stations, position, limit)),
            }
        else:
            found = {"station_models": self.all_stations(stations)}
        return Reply({"car_models": cars, **found, "time_scale": self.context.terms.time_scale})

    def all_stations(self, stations: Stations) -> Any:
        """All stations, written anew only when one of them, or a price, has changed."""
        whole = self._whole.get(stations)
        if whole is None:
            by_tariff = [state.station for state in stations if state.station.by_tariff]
            whole = self._whole[stations] = Whole(stations.follow(), by_tariff)
        now = self.context.now()
        prices = [self._price(station, now) for station in whole.by_tariff]
        if whole.changes or whole.part is None or whole.prices != prices:
            # Before they are looked at: what changes meanwhile is there the next time.
            whole.changes.clear()
            whole.prices = prices
            whole.part = encode_part(self.some_stations(stations))
        return whole.part

    def some_stations(self, states: Iterable[StationState]) -> dict[str, Any]:
        now = self.context.now()
        return {state.station.key: self._station(state, now) for state in states}

    def _station(self, state: StationState, now: float) -> Any:
        """A station, written anew only when it, or its price, has changed."""
        station = state.station
        price = self._price(station, now) if station.by_tariff else None
        return self._part(station.key, state, lambda state: self.describe(state, now), price)

    def describe(self, state: StationState, now: float) -> dict[str, Any]:
        tariff, is_known = self._tariff(state.station, now)
        known = self.context.catalogue().tariffs.get(tariff.tariff_id)
        # What is made of the price of a station's row is no tariff that anybody knows by an id.
        price = _price_kwh(state.station, tariff, now, self.context.terms.zone)
        return _describe(state, tariff, known is tariff, is_known, price)

    def _tariff(self, station: Station, now: float) -> tuple[Tariff, bool]:
        """The tariff of who charges by the station's first connector now, and if it is known."""
        first = next((c for kind in station.kinds for c in kind.connectors), None)
        return station.prices.tariff(first, self.context.catalogue().tariffs, now)

    def _price(self, station: Station, now: float) -> float | None:
        return _price_kwh(station, self._tariff(station, now)[0], now, self.context.terms.zone)

    def _named(self, stations: Stations, keys: Sequence[str | None]) -> dict[str, Any]:
        """Those of the stations that were asked for, with all that is known of them."""
        known, now = self.context.catalogue().tariffs, self.context.now()
        found, tariffs = {}, {}
        for key in keys:
            state = None if key is None else stations.get(key)
            if state is None:
                continue
            station = state.station
            found[station.key] = {**self.describe(state, now), "evses": _describe_evses(state)}
            ids = (t for kind in station.kinds for c in kind.connectors for t in c.tariff_ids)
            for tariff_id in (*ids, station.tariff_id):
                if tariff_id is not None and tariff_id in known:
                    tariffs[tariff_id] = known[tariff_id].body
        return {"station_models": found, "tariffs": tariffs}

    def _part(self, key: str, value: T, describe: Callable[[T], Any], price: Any = None) -> Any:
        """`value`, described and written; anew only when it, or its price, is another."""
        known = self._parts.get(key)
        if known is None or known[0] is not value or known[1] != price:
            if len(self._parts) >= MOST_PARTS:
                self._parts.clear()
            known = self._parts[key] = (value, price, encode_part(describe(value)))
        return known[2]


def _first(
    stations: Stations, place: Mapping[str, float] | None, limit: int
) -> Iterable[StationState]:
    """The `limit` stations nearest to `place`, nearest first; without it the first by id."""
    if place is None:
        return islice(stations, limit)
    latitude, longitude = place["latitude"], place["longitude"]
    found = nearest(stations).search(latitude, longitude, lambda *_: ())
    return [state for _, _, state in islice(found, limit)]


def _price_kwh(station: Station, tariff: Tariff, now: float, zone: tzinfo | None) -> float | None:
    """What a kWh costs now with VAT, BRL; None where energy has no price."""
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
        "queue_length": state.queue_length,
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
    return {
        "standard": connector.standard,
        "name": connector.name,
        "power_type": connector.power_type,
        "power_kw": least_power(connector.max_power_kw, kind.max_power_kw),
    }


def _describe_evses(state: StationState) -> list[dict[str, Any]]:
    free = {evse.uid for evse in state.station.free(state.held)}
    return [
        {
            "uid": evse.uid,
            **_describe_status(evse, state, evse.uid in free),
            "connectors": _describe_connectors(evse.kind),
        }
        for evse in state.station.evses
    ]


SHOWN_AS = {OFFERED: "RESERVED", RESERVED: "RESERVED", CHARGING: "CHARGING", FINISHED: "BLOCKED"}
"""What OCPI calls an EVSE with a session in each state."""


def _describe_status(evse: Evse, state: StationState, is_free: bool) -> dict[str, Any]:
    if is_free:
        return {"status": "AVAILABLE", "since": evse.since}
    if not evse.in_service:
        return {"status": evse.status, "since": evse.since}
    # One that is none of the free ones though nobody holds it makes up for one that is gone.
    held, since = state.held.get(evse.uid, (CHARGING, None))
    return {"status": SHOWN_AS[held], "since": None if since is None else iso_utc(since)}
