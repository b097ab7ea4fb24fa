"""Records as rows of the tables, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from evcharge.models.electric_car import ElectricCar
from evcharge.models.session import ChargingSession
from evcharge.models.station import Station
from evcharge.models.user import User
from evcharge.storage.contents import Payment
from evcharge.utils.texts import is_unicode


def user_row(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "user_name": user.user_name,
        "car": msgspec.json.encode(user.car).decode(),
        "created_timestamp": user.created_timestamp,
        "clock": user.clock,
    }


_read_car = msgspec.json.Decoder(ElectricCar).decode


def user_of(row: Any) -> User:
    return User(row.user_id, row.user_name, _read_car(row.car), row.created_timestamp, row.clock)


def session_row(session: ChargingSession) -> dict[str, Any]:
    return {
        "user_id": session.user_id,
        "station_id": session.station_id,
        "estimated_timestamp": session.estimated_timestamp,
        "receipt_id": session.receipt_id,
        "amount": session.amount,
        "charge_minutes": session.charge_minutes,
        "paid_timestamp": session.paid_timestamp,
        "clock": session.clock,
    }


def session_of(row: Any) -> ChargingSession:
    return ChargingSession(**row._mapping)


def payment_row(payment: Payment) -> dict[str, Any]:
    return {
        "receipt_id": payment.receipt_id,
        "paid_timestamp": payment.paid_timestamp,
        "station_id": payment.station_id,
        "amount": payment.amount,
        "user_end": payment.user_end,
        "clock": payment.clock,
    }


def car_row(place: int, name: str, facts: object) -> dict[str, Any]:
    """A model's row; `place` is its place in the catalogue."""
    return {"name": name, "place": place, "facts": _json(facts)}


def station_row(station: Station, other_columns: Mapping[str, str]) -> dict[str, Any]:
    """A station's row; `other_columns` are cells of its CSV row, in which others have columns."""
    return {
        "station_id": station.station_id,
        "in_service": True,
        "name": station.name,
        "address": station.address,
        "latitude": station.latitude,
        "longitude": station.longitude,
        "max_slots": station.max_slots,
        "power_kw": station.power_kw,
        "price_kwh": station.price_kwh,
        "connectors": _json(station.connectors),
        "other_columns": _json(other_columns),
    }


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Bytes that were no text have no other way into a database.
    return text if is_unicode(text) else json.dumps(value)


def station_of(row: Any) -> Station:
    return Station(
        station_id=row.station_id,
        name=row.name,
        address=row.address,
        latitude=row.latitude,
        longitude=row.longitude,
        max_slots=row.max_slots,
        power_kw=row.power_kw,
        price_kwh=row.price_kwh,
        connectors=tuple(json.loads(row.connectors)),
    )
