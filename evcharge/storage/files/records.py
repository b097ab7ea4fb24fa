"""The records of a data directory, and what its files say of them: JSON, and rows of a CSV."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from evcharge.datasets import MOST_SLOTS, TARIFF_COLUMNS, station_csv
from evcharge.datasets.stations import OWN_COLUMNS
from evcharge.models.electric_car import MOST_FIGURE, TARGET_PERCENT, CarModel, ElectricCar
from evcharge.models.network import StationRecord
from evcharge.models.receipts import Payment
from evcharge.models.session import ChargingSession
from evcharge.models.slots import MOST_EVSES, SlotTable
from evcharge.models.station import Station
from evcharge.models.user import User
from evcharge.storage.files.vehicles import (
    Planning,
    clock_of,
    given,
    read_session,
    session_record,
)
from evcharge.utils.ids import ending
from evcharge.utils.numbers import finite_number, whole_number
from evcharge.utils.time_utils import iso_utc


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


def read_user(path: Path, models: Mapping[str, CarModel]) -> User:
    """
    The user whose file this is. ValueError: it is damaged; OSError: it can't be read.

    :param models: those of the catalogue: a car is one of them where its name is there, else what
        the file says of it.
    """
    # The file's name has the id; inside it may be missing.
    user_id = path.name.removesuffix(".json")
    return user_of(user_id, read_object(path), path.stat().st_mtime, models)


def user_of(
    user_id: str,
    record: Mapping[str, Any],
    otherwise_created: float,
    models: Mapping[str, CarModel],
) -> User:
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
    key = record.get("selected_car")
    if key is not None and not isinstance(key, str):
        raise ValueError("selected_car must be text")
    target = finite_number(record.get("target_percent", TARGET_PERCENT))
    if target is None or not 0 < target <= 100:
        raise ValueError("target_percent must be a number over 0, up to 100")
    created = finite_number(record.get("created_timestamp"))
    return User(
        user_id=user_id,
        user_name=str(record.get("user_name", "")),
        car=ElectricCar(models.get(key or "", model), level),
        created_timestamp=otherwise_created if created is None else created,
        car_key=key,
        target_percent=target,
        clock=clock_of(record),
    )


def read_table(
    record: Mapping[str, Any],
    station_id: int,
    station: Station | None,
    planning: Planning,
) -> SlotTable:
    """
    The slots that a station's file holds, each vehicle at an EVSE where the station is known.

    :raise ValueError, ArithmeticError: it says none.
    """
    name = "total_slots" if "total_slots" in record else "max_slots"
    said = record.get(name, station.max_slots if station else None)
    slots = whole_number(said)
    if slots is None or not 0 <= slots <= MOST_EVSES:
        raise ValueError(f"{name} must be a whole number up to {MOST_EVSES}, not {said!r}")
    vehicles = record.get("vehicles", {})
    if not isinstance(vehicles, dict):
        raise ValueError("vehicles must be an object")
    sessions = {
        user_id: read_session(user_id, station_id, facts, station, planning)
        for user_id, facts in vehicles.items()
    }
    table = SlotTable(station_id, slots, sessions)
    if len(table.held) < sum(bool(session.evse_uid) for session in sessions.values()):
        raise ValueError("vehicles: two of them stand at one EVSE")
    return table if station is None else table.at(station)


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
        **given("selected_car", user.car_key),
        **given(
            "target_percent", user.target_percent if user.target_percent != TARGET_PERCENT else None
        ),
        **given("clock", user.clock or None),
    }


def table_record(table: SlotTable) -> dict[str, Any]:
    total = None if table.usable_slots == table.max_slots else table.max_slots
    return {
        "id": table.station_id,
        "max_slots": table.usable_slots,
        **given("total_slots", total),
        "available_slots": table.available_slots,
        "vehicles": {
            user_id: session_record(session) for user_id, session in table.sessions.items()
        },
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
        **given("clock", payment.clock or None),
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
        clock=clock_of(facts),
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
    cells = [_cells(record) for record in records]
    known = dict.fromkeys(
        name
        for name in OWN_COLUMNS
        if name not in TARIFF_COLUMNS or any(row.get(name) for row in cells)
    )
    others = dict.fromkeys(name for record in records for name in record.other_columns)
    more = dict.fromkeys(name for cells in wrong for name in cells if name)
    return station_csv([*{**known, **others, **more}], cells, wrong)


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
        "" if station.price_kwh is None else station.price_kwh,
        ",".join(station.connectors),
        station.tariff_id or "",
        station.time_zone or "",
    )
    return {
        **record.other_columns,
        **dict(zip(OWN_COLUMNS, cells, strict=True)),
    }
