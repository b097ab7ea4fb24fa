"""The records of a data directory, and what its files say of them: JSON, and rows of a CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from evcharge.datasets import MOST_SLOTS, TARIFF_COLUMNS, station_csv
from evcharge.datasets.stations import OWN_COLUMNS
from evcharge.models.electric_car import MOST_FIGURE, TARGET_PERCENT, CarModel, ElectricCar
from evcharge.models.network import StationRecord
from evcharge.models.receipts import Payment
from evcharge.models.session import ChargingSession, Place
from evcharge.models.slots import MOST_EVSES, SlotTable
from evcharge.models.station import Station
from evcharge.models.user import User
from evcharge.storage.files.vehicles import (
    Beside,
    clock_of,
    given,
    place_record,
    read_place,
    read_session,
    session_record,
    timestamp_of,
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
    driver_id = record.get("driver_id")
    if driver_id is not None and not isinstance(driver_id, str):
        raise ValueError("driver_id must be text")
    created = finite_number(record.get("created_timestamp"))
    return User(
        user_id=user_id,
        user_name=str(record.get("user_name", "")),
        car=ElectricCar(models.get(key or "", model), level),
        created_timestamp=otherwise_created if created is None else created,
        car_key=key,
        target_percent=target,
        driver_id=driver_id or user_id,
        clock=clock_of(record),
    )


def read_table(
    record: Mapping[str, Any],
    station_id: int,
    station: Station | None,
    beside: Beside,
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
        user_id: read_session(user_id, station_id, facts, station, beside)
        for user_id, facts in vehicles.items()
    }
    places = record.get("waiting", [])
    if not isinstance(places, list):
        raise ValueError("waiting must be a list")
    read = [read_place(station_id, facts, beside) for facts in places]
    waiting = sorted((place for place in read if place), key=lambda place: place.number)
    if len({place.user_id for place in waiting}) < len(waiting):
        raise ValueError("waiting: somebody has two places")
    table = SlotTable(station_id, slots, sessions, waiting=tuple(waiting))
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


def one_place_each(tables: dict[int, SlotTable]) -> list[tuple[int, str]]:
    """
    Let nobody wait who has a session, or wait at two stations: the later place holds.

    :return: each station where a place was left, and what there is to say about it.
    """
    standing = {user_id for table in tables.values() for user_id in table.sessions}
    best: dict[str, Place] = {}
    for place in (place for table in tables.values() for place in table.waiting):
        other = best.get(place.user_id)
        if other is None or place.joined_timestamp > other.joined_timestamp:
            best[place.user_id] = place
    left = []
    for table in list(tables.values()):
        for place in table.waiting:
            user_id = place.user_id
            if user_id in standing or best[user_id] is not place:
                at = place.station_id
                tables[at] = tables[at].without_place(user_id)
                left.append((at, f"user …{ending(user_id)} waits at station {at} no more"))
    return left


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
        **given("driver_id", user.driver_id if user.driver_id != user.user_id else None),
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
        **given("waiting", [place_record(place) for place in table.waiting] or None),
    }


def paid_ahead(tables: Iterable[SlotTable]) -> dict[str, Payment]:
    """The payments of sessions that are to be in the list, by receipt."""
    return {
        session.receipt_id: Payment.of(session)
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
        **given("refund_of", payment.refund_of),
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
    refund_of = facts.get("refund_of")
    if refund_of is not None and not isinstance(refund_of, str):
        raise ValueError("refund_of must be text")
    # With the cents of a round amount, and all there is of another one.
    cents = f"{amount:.2f}"
    return Payment(
        receipt_id=facts["receipt_id"],
        paid_timestamp=None if paid is None else timestamp_of("paid", paid),
        station_id=station_id,
        amount=Decimal(cents if float(cents) == amount else repr(amount)),
        user_end=facts["user"],
        clock=clock_of(facts),
        refund_of=refund_of,
    )


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
