"""Records as rows of the tables, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

import attrs
import msgspec

from evcharge.datasets.evses import check_evses, evse_facts
from evcharge.datasets.problems import DatasetError
from evcharge.models.charging import Piece, Profile
from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.evse import Evse, EvseStatus
from evcharge.models.network import StationRecord
from evcharge.models.receipts import Payment, Receipt
from evcharge.models.session import ChargingSession, Place
from evcharge.models.slots import MOST_EVSES
from evcharge.models.station import DEFAULT_TIME_ZONE, Station, zone_of
from evcharge.models.tariffs import Tariff, body_key, tariff_key
from evcharge.models.user import User
from evcharge.storage.contents import tariffs_by_id
from evcharge.storage.sql import schema
from evcharge.utils.texts import is_unicode

MODEL_FIGURES = (
    "brand",
    "model",
    "battery_capacity_kwh",
    "consumption_kwh_per_km",
    "max_speed_km_h",
    "ac_limit_kw",
    "dc_limit_kw",
)
"""What a user's row keeps of the car's model. All else is the catalogue's alone."""

STATION_COLUMNS = tuple(
    column for column in schema.stations.c if column.name not in ("in_service", "other_columns")
)
"""What a station is made of."""


class _Car(msgspec.Struct):
    """A user's car as a row has it."""

    model: msgspec.Raw
    battery_level_kwh: float


_read_car = msgspec.json.Decoder(_Car).decode
_read_pieces = msgspec.json.Decoder(list[tuple[float, float, float]]).decode
_to_json = msgspec.json.encode


@lru_cache(maxsize=1000)
def _model_json(model: CarModel) -> msgspec.Raw:
    return msgspec.Raw(_to_json({name: getattr(model, name) for name in MODEL_FIGURES}))


@lru_cache(maxsize=1000)
def _model_of(text: bytes) -> CarModel:
    facts = msgspec.json.decode(text)
    return CarModel(**{name: facts[name] for name in MODEL_FIGURES})


def user_row(user: User) -> dict[str, Any]:
    car = _Car(_model_json(user.car.model), user.car.battery_level_kwh)
    return {
        "user_id": user.user_id,
        "user_name": user.user_name,
        "car": _to_json(car).decode(),
        "created_timestamp": user.created_timestamp,
        "clock": user.clock,
        "car_key": user.car_key,
        "target_percent": user.target_percent,
        "driver_id": user.driver_id,
    }


def user_of(row: Any, models: Mapping[str, CarModel]) -> User:
    """
    A user.

    :param models: those of the catalogue, by name: where it has the car's, that is the one.
    """
    car = _read_car(row.car)
    model = models.get(row.car_key) or _model_of(bytes(car.model))
    return User(
        row.user_id,
        row.user_name,
        ElectricCar(model, car.battery_level_kwh),
        row.created_timestamp,
        row.car_key,
        row.target_percent,
        row.user_id if row.driver_id is None else row.driver_id,
        row.clock,
    )


def session_row(session: ChargingSession) -> dict[str, Any]:
    profile = None
    if session.profile is not None:
        pieces = [(p.energy_kwh, p.from_kw, p.to_kw) for p in session.profile.pieces]
        profile = _to_json(pieces).decode()
    return {
        "user_id": session.user_id,
        "station_id": session.station_id,
        "evse_uid": session.evse_uid,
        "estimated_timestamp": session.estimated_timestamp,
        "receipt_id": session.receipt_id,
        "amount": session.amount,
        "charge_minutes": session.charge_minutes,
        "paid_timestamp": session.paid_timestamp,
        "connector": session.connector,
        "start_percent": session.start_percent,
        "target_percent": session.target_percent,
        "energy_kwh": session.energy_kwh,
        "profile": profile,
        "assumed": _to_json(session.assumed).decode(),
        "clock": session.clock,
        "state": session.state,
        "since_timestamp": session.since_timestamp,
        "due_timestamp": session.due_timestamp,
        "expires_timestamp": session.expires_timestamp,
        "leaves_when_done": session.leaves_when_done,
        "reserved_timestamp": session.reserved_timestamp,
        "started_timestamp": session.started_timestamp,
        "stopped_timestamp": session.stopped_timestamp,
        "tariff_key": tariff_key(session.tariff),
        "driver_id": session.driver_id,
    }


def session_of(row: Any, tariffs: Mapping[str, Tariff]) -> ChargingSession:
    """
    A session.

    :param tariffs: those that are used, by their keys.
    """
    fields = dict(row._mapping)
    if fields["profile"] is not None:
        pieces = _read_pieces(fields["profile"])
        fields["profile"] = Profile(tuple(Piece(*piece) for piece in pieces))
    fields["assumed"] = _names(fields["assumed"])
    key = fields.pop("tariff_key")
    if key is not None:
        fields["tariff"] = tariffs.get(key)
    # It follows from the others.
    del fields["due_timestamp"]
    return ChargingSession(**fields)


def place_row(place: Place) -> dict[str, Any]:
    return {
        "user_id": place.user_id,
        "station_id": place.station_id,
        "place": place.number,
        "joined_timestamp": place.joined_timestamp,
        "arrival_minutes": place.arrival_minutes,
        "arrival_percent": place.start_percent,
        "target_percent": place.target_percent,
        "clock": place.clock,
    }


def place_of(row: Any, user: User) -> Place:
    """A place in line of `user`, of a row that has it under the names of :data:`PLACE`."""
    return Place(
        user,
        row.station_id,
        row.place,
        row.joined_timestamp,
        row.arrival_minutes,
        row.arrival_percent,
        row.wanted_percent,
        row.place_clock,
    )


_waiting = schema.waiting.c
PLACE = (
    _waiting.station_id,
    _waiting.place,
    _waiting.joined_timestamp,
    _waiting.arrival_minutes,
    _waiting.arrival_percent,
    _waiting.target_percent.label("wanted_percent"),
    _waiting.clock.label("place_clock"),
)
"""The columns of a place in line, where they stand beside those of its user."""


def receipt_row(receipt: Receipt) -> dict[str, Any]:
    body = dict(receipt.body)
    tariff = body.pop("tariff")
    try:
        text = _to_json(body).decode()
    except UnicodeError:
        text = _json(body)
    return {
        "receipt_id": receipt.receipt_id,
        "driver_id": receipt.driver_id,
        "user_end": receipt.user_end,
        "paid_timestamp": receipt.paid_timestamp,
        "ended_timestamp": receipt.ended_timestamp,
        "tariff_key": None if tariff is None else _key_of(tariff),
        "body": text,
    }


def _key_of(body: Mapping[str, Any]) -> str:
    """What names a tariff, worked out once for as long as it is the same object."""
    known = _keys.get(id(body))
    if known is None or known[0] is not body:
        if len(_keys) >= MOST_KEYS:
            _keys.clear()
        _keys[id(body)] = known = (body, body_key(body))
    return known[1]


_keys: dict[int, tuple[Mapping[str, Any], str]] = {}
MOST_KEYS = 1000


def receipt_of(row: Any, tariffs: Mapping[str, Tariff]) -> Receipt:
    """
    A receipt.

    :param tariffs: as for :func:`session_of`.
    """
    body = json.loads(row.body)
    tariff = tariffs.get(row.tariff_key)
    return Receipt(
        row.receipt_id,
        row.driver_id,
        row.user_end,
        int(body["id_station"]),
        row.paid_timestamp,
        row.ended_timestamp,
        Decimal(f"{body['total']:.2f}"),
        Decimal(f"{body['paid']:.2f}"),
        {**body, "tariff": None if tariff is None else tariff.body},
    )


@lru_cache(maxsize=1000)
def _names(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def payment_row(payment: Payment) -> dict[str, Any]:
    return {
        "receipt_id": payment.receipt_id,
        "paid_timestamp": payment.paid_timestamp,
        "station_id": payment.station_id,
        "amount": payment.amount,
        "user_end": payment.user_end,
        "clock": payment.clock,
        "refund_of": payment.refund_of,
    }


def car_row(place: int, name: str, facts: object) -> dict[str, Any]:
    """A model's row; `place` is its place in the catalogue."""
    return {"name": name, "place": place, "facts": _json(facts)}


def station_row(record: StationRecord) -> dict[str, Any]:
    station = record.station
    evses: Any = [evse_facts(evse) for evse in station.own_evses] or None
    if record.wrong_evses is not None:
        evses = record.wrong_evses
    return {
        "station_id": station.station_id,
        "in_service": record.in_service,
        "name": station.name,
        "address": station.address,
        "latitude": station.latitude,
        "longitude": station.longitude,
        "max_slots": station.max_slots,
        "power_kw": station.power_kw,
        "price_kwh": station.price_kwh,
        "connectors": _json(station.connectors),
        "other_columns": _json(record.other_columns),
        "evses": None if evses is None else _json(evses),
        "tariff_id": station.tariff_id,
        "time_zone": station.time_zone,
    }


def tariff_rows(bodies: Iterable[Any]) -> list[dict[str, Any]]:
    return [
        {"tariff_id": tariff_id, "place": place, "body": _json(body)}
        for place, (tariff_id, body) in enumerate(tariffs_by_id(bodies).items())
    ]


def status_rows(statuses: Mapping[str, EvseStatus]) -> list[dict[str, Any]]:
    """The rows of what an operator has said of EVSEs, by uid."""
    return [{"evse_uid": uid, **attrs.asdict(status)} for uid, status in statuses.items()]


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Bytes that were no text have no other way into a database.
    return text if is_unicode(text) else json.dumps(value)


def station_of(row: Any) -> Station:
    """
    A station, of a row that begins with :data:`STATION_COLUMNS`.

    :raise DatasetError: it is wrong.
    """
    return _station_of(*row[: len(STATION_COLUMNS)])


def record_of(row: Any) -> StationRecord:
    """
    A station as it is kept, of a row that has all columns, and begins with those.

    :raise DatasetError: something else than its EVSEs is wrong.
    """
    columns = json.loads(row.other_columns)
    try:
        return StationRecord(station_of(row), row.in_service, columns)
    except DatasetError:
        values = {column.name: row._mapping[column] for column in STATION_COLUMNS}
        station = _station_of(**{**values, "evses": None})
        return StationRecord(station, row.in_service, columns, _loaded(row.evses))


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@lru_cache(maxsize=10_000)
def _station_of(
    station_id: int,
    name: str,
    address: str,
    latitude: float,
    longitude: float,
    max_slots: int,
    power_kw: float | None,
    price_kwh: Decimal | None,
    connectors: str,
    evses: str | None,
    tariff_id: str | None,
    time_zone: str | None,
) -> Station:
    """The one station that a row is, until that is changed."""
    own_evses = () if evses is None else _evses_of(station_id, evses)
    place = f"table stations, station {station_id}"
    if not own_evses and max_slots > MOST_EVSES:
        what = f"must be a whole number up to {MOST_EVSES}, not {max_slots}"
        raise DatasetError([f"{place}, max_slots: {what}"])
    try:
        zone_of(time_zone or DEFAULT_TIME_ZONE)
    except ValueError as error:
        raise DatasetError([f"{place}, time_zone: {error}"]) from None
    return Station(
        station_id,
        name,
        address,
        latitude,
        longitude,
        len(own_evses) or max_slots,
        power_kw,
        price_kwh,
        tuple(json.loads(connectors)),
        own_evses,
        tariff_id,
        time_zone,
    )


def _evses_of(station_id: int, text: str) -> tuple[Evse, ...]:
    rows = check_evses({str(station_id): _loaded(text)}, "table stations, evses")
    if rows.problems:
        raise DatasetError(rows.problems)
    return rows.evses[station_id]
