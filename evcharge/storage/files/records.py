"""The records of a data directory, and what its files say of them: JSON, and rows of a CSV."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from evcharge.datasets import COLUMNS, MOST_SLOTS, OPTIONAL_COLUMNS, station_csv
from evcharge.models.electric_car import MOST_FIGURE, CarModel, ElectricCar
from evcharge.models.network import StationRecord
from evcharge.models.session import ChargingSession
from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.models.user import User
from evcharge.storage.contents import Payment
from evcharge.utils.ids import ending
from evcharge.utils.numbers import finite_number, whole_number
from evcharge.utils.time_utils import iso_utc

LookUp = Callable[[str], User | None]
"""Finds a user by id."""


def to_json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that the file holds. ValueError: it holds none; OSError: it can't be read."""
    try:
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


def read_user(path: Path) -> User:
    """The user whose file this is. ValueError: it is damaged; OSError: it can't be read."""
    # The file's name has the id; inside it may be missing.
    return user_of(path.name.removesuffix(".json"), read_object(path), path.stat().st_mtime)


def user_of(user_id: str, record: Mapping[str, Any], otherwise_created: float) -> User:
    facts = record.get("user_car")
    if not isinstance(facts, dict):
        raise ValueError("user_car must be an object")
    level = finite_number(facts.get("current_battery"))
    if level is None or not 0 <= level <= MOST_FIGURE:
        raise ValueError(f"user_car.current_battery must be a number from 0 to {MOST_FIGURE:g}")
    try:
        model = CarModel.from_facts(facts)
    except ValueError as error:
        raise ValueError(f"user_car.{error}") from None
    created = finite_number(record.get("created_timestamp"))
    return User(
        user_id=user_id,
        user_name=str(record.get("user_name", "")),
        car=ElectricCar(model, level),
        created_timestamp=otherwise_created if created is None else created,
        clock=_clock(record),
    )


def _clock(record: Mapping[str, Any]) -> int:
    """The clock that a record names; 0 where it names none."""
    return max(0, whole_number(record.get("clock")) or 0)


def read_table(
    record: Mapping[str, Any],
    station_id: int,
    station: Station | None,
    now: float,
    look_up: LookUp,
) -> SlotTable:
    """The slots that a station's file holds. ValueError, ArithmeticError: it says none."""
    slots = whole_number(record.get("max_slots", station.max_slots if station else None))
    if slots is None or slots < 0:
        raise ValueError(f"max_slots must be a whole number, not {record.get('max_slots')!r}")
    vehicles = record.get("vehicles", {})
    if not isinstance(vehicles, dict):
        raise ValueError("vehicles must be an object")
    sessions = {
        user_id: _read_session(user_id, station_id, facts, station, now, look_up)
        for user_id, facts in vehicles.items()
    }
    return SlotTable(station_id, slots, sessions)


def _read_session(
    user_id: str,
    station_id: int,
    facts: Any,
    station: Station | None,
    now: float,
    look_up: LookUp,
) -> ChargingSession:
    """A vehicle's session; what an earlier installation did not note is worked out."""
    if not isinstance(facts, dict):
        raise ValueError(f"vehicle …{ending(user_id)}: must be an object")
    charge_s, amount = 0.0, Decimal("0.00")
    noted = facts.keys() >= {"estimated_timestamp", "amount", "charge_minutes"}
    user = None if noted else look_up(user_id)
    if user is not None and station is not None:
        charge_s = station.charge_time_s(user.car)
        amount = station.price(user.car.energy_to_target_kwh())
    elif user is not None:
        # At a station that is not known it takes as long as anywhere, not no time at all.
        charge_s = user.car.charge_time_s(user.car.energy_to_target_kwh(), None, ac=False)

    def number(name: str, default: float) -> float:
        value = finite_number(facts.get(name, default))
        if value is None:
            raise ValueError(f"vehicle …{ending(user_id)}: {name} must be a number")
        return value

    paid = facts.get("paid_timestamp")
    receipt_id = str(facts.get("receipt_id") or uuid4())
    # What could not be written again later is better refused now.
    (user_id + receipt_id).encode()
    if paid is not None:
        iso_utc(number("paid_timestamp", 0))
    return ChargingSession(
        user_id=user_id,
        station_id=station_id,
        estimated_timestamp=number("estimated_timestamp", now + charge_s),
        receipt_id=receipt_id,
        amount=Decimal(f"{number('amount', float(amount)):.2f}"),
        charge_minutes=number("charge_minutes", charge_s / 60),
        paid_timestamp=None if paid is None else number("paid_timestamp", 0),
        clock=_clock(facts),
    )


def one_station_each(tables: dict[int, SlotTable]) -> list[tuple[int, str]]:
    """
    Let each user stand at one station, that of the later payment.

    :return: each station where a slot was freed, and what there is to say about it.
    """
    best: dict[str, ChargingSession] = {}
    freed = []
    for table in list(tables.values()):
        for session in table.sessions.values():
            other = best.setdefault(session.user_id, session)
            if other is session:
                continue
            other, session = sorted((other, session), key=_precedence)
            best[session.user_id] = session
            tables[other.station_id] = tables[other.station_id].without(other.user_id)
            remark = (
                f"user …{ending(session.user_id)} stood at stations {session.station_id} and "
                f"{other.station_id}; the latter is freed, as the later payment holds: "
                f"{_described(session)}; {_described(other)}"
            )
            freed.append((other.station_id, remark))
    return freed


def _precedence(session: ChargingSession) -> tuple[float, float, int]:
    """Of two sessions of a user the one for which this is greater is the user's."""
    paid = float("-inf") if session.paid_timestamp is None else session.paid_timestamp
    return (paid, session.estimated_timestamp, -session.station_id)


def _described(session: ChargingSession) -> str:
    paid = session.paid_timestamp
    payment = "not noted" if paid is None else f"{iso_utc(paid)} (receipt {session.receipt_id})"
    return f"at {session.station_id} {payment}"


def user_record(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "user_name": user.user_name,
        "user_car": {**user.car.model.facts(), "current_battery": user.car.battery_level_kwh},
        "created_timestamp": user.created_timestamp,
        **_named(user.clock),
    }


def _named(clock: int) -> dict[str, int]:
    return {"clock": clock} if clock else {}


def table_record(table: SlotTable) -> dict[str, Any]:
    return {
        "id": table.station_id,
        "max_slots": table.max_slots,
        "available_slots": table.available_slots,
        "vehicles": {
            user_id: _session_record(session) for user_id, session in table.sessions.items()
        },
    }


def _session_record(session: ChargingSession) -> dict[str, Any]:
    return {
        "estimated_timestamp": session.estimated_timestamp,
        "receipt_id": session.receipt_id,
        "amount": float(session.amount),
        "charge_minutes": session.charge_minutes,
        "paid_timestamp": session.paid_timestamp,
        **_named(session.clock),
    }


def paid_sessions(tables: Iterable[SlotTable]) -> dict[str, ChargingSession]:
    """The sessions whose payment is to be in the list, by receipt."""
    return {
        session.receipt_id: session
        for table in tables
        for session in table.sessions.values()
        if session.paid_timestamp is not None
    }


def payment_line(payment: Payment) -> bytes:
    paid = payment.paid_timestamp
    line = {
        "receipt_id": payment.receipt_id,
        "paid": iso_utc(paid) if paid is not None else None,
        "station": payment.station_id,
        "amount_brl": float(payment.amount),
        "user": payment.user_end,
        **_named(payment.clock),
    }
    return json.dumps(line).encode() + b"\n"


def may_begin(torn: bytes, payment: Payment) -> bool:
    """Whether `torn` is the start of a line for `payment`, also as earlier versions wrote it."""
    line = payment_line(payment)
    # Those named the user, which stands last, by other characters of the id.
    before_user = line[: line.index(b', "user"')]
    return line.startswith(torn) or torn.startswith(before_user)


def read_payment(line: bytes) -> Payment:
    """The payment that a line of the list holds. ValueError: it holds none."""
    try:
        facts = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    return payment_of(facts)


def payment_of(facts: Any) -> Payment:
    """The payment that a line of the list holds, once it is decoded. ValueError: it holds none."""
    if not isinstance(facts, dict):
        raise ValueError("must be a JSON object")
    for name in ("receipt_id", "user"):
        if not isinstance(facts.get(name), str):
            raise ValueError(f"{name} must be text")
        facts[name].encode()
    paid, station_id = facts.get("paid"), whole_number(facts.get("station"))
    amount = finite_number(facts.get("amount_brl"))
    if station_id is None:
        raise ValueError("station must be a whole number")
    if amount is None:
        raise ValueError("amount_brl must be a number")
    # With the cents of a round amount, and all there is of another one.
    cents = f"{amount:.2f}"
    return Payment(
        receipt_id=facts["receipt_id"],
        paid_timestamp=None if paid is None else _timestamp(paid),
        station_id=station_id,
        amount=Decimal(cents if float(cents) == amount else repr(amount)),
        user_end=facts["user"],
        clock=_clock(facts),
    )


def _timestamp(text: object) -> float:
    """The point in time that `iso_utc` has written, seconds since the epoch. ValueError."""
    with contextlib.suppress(ValueError, TypeError):
        if isinstance(text, str):
            time = datetime.fromisoformat(text.replace("Z", "+00:00"))
            if time.tzinfo is not None:
                return time.timestamp()
    raise ValueError(f"paid must be a time such as 2025-04-07T13:45:12.678Z, not {text!r}")


# The rows of the stations


def unnamed(table: SlotTable) -> Station:
    """What is known of a station that has no row."""
    return Station(table.station_id, "", "", 0.0, 0.0, table.max_slots)


def stations_csv(
    records: Sequence[StationRecord], wrong: Sequence[Mapping[str, str]] = ()
) -> bytes:
    """
    The rows of `records`, with each column that one of them has.

    :param wrong: the cells of rows that are wrong, to be kept as they are.
    """
    known = dict.fromkeys((*COLUMNS, *OPTIONAL_COLUMNS))
    others = dict.fromkeys(name for record in records for name in record.other_columns)
    more = dict.fromkeys(name for cells in wrong for name in cells if name)
    return station_csv([*{**known, **others, **more}], map(_cells, records), wrong)


def _cells(record: StationRecord) -> dict[str, Any]:
    station = record.station
    cells = (
        station.station_id,
        station.name,
        station.address,
        station.latitude,
        station.longitude,
        # The row has to have some; how many there are, the station's own file says.
        min(max(station.max_slots, 1), MOST_SLOTS),
        "" if station.power_kw is None else station.power_kw,
        station.price_kwh,
        ",".join(station.connectors),
    )
    return {
        **record.other_columns,
        **dict(zip((*COLUMNS, *OPTIONAL_COLUMNS), cells, strict=True)),
    }
