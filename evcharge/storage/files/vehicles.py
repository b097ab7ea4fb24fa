"""What a station's file says of each vehicle that stands there: its session."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import attrs

from evcharge.models.charging import Piece, Profile
from evcharge.models.estimates import plan_charge
from evcharge.models.evse import LONGEST_UID, Evse, EvseKind
from evcharge.models.session import CHARGING, LIVE, ChargingSession, Place, plan_session
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff, tariff_key
from evcharge.models.terms import Terms
from evcharge.models.user import User
from evcharge.utils.ids import ending
from evcharge.utils.numbers import finite_number, whole_number
from evcharge.utils.time_utils import iso_utc


@attrs.frozen
class Beside:
    """What else is known when a station's file is read."""

    now: float
    """From when on a session lasts that says no end, seconds since the epoch."""
    look_up: Callable[[str], User | None]
    """Finds a user by id. ValueError: there is one, of whom no more is known now."""
    tariffs: Mapping[str, Tariff]
    """Those of the network, by id."""
    used: Callable[[str], Tariff]
    """A tariff by its key. ValueError: it cannot be had."""
    terms: Terms


# What fields of all records have in common


def clock_of(record: Mapping[str, Any]) -> int:
    """The clock that a record names; 0 where it names none."""
    return max(0, whole_number(record.get("clock")) or 0)


def given(name: str, value: object) -> dict[str, object]:
    """The field of a record, which is left out where it says nothing."""
    return {} if value is None or value == "" else {name: value}


def timestamp_of(name: str, text: object) -> float:
    """The point in time that `iso_utc` has written, seconds since the epoch. ValueError."""
    with contextlib.suppress(ValueError, TypeError):
        if isinstance(text, str):
            time = datetime.fromisoformat(text.replace("Z", "+00:00"))
            if time.tzinfo is not None:
                return time.timestamp()
    raise ValueError(f"{name} must be a time such as 2025-04-07T13:45:12.678Z, not {text!r}")


# Sessions


def read_session(
    user_id: str,
    station_id: int,
    facts: Any,
    station: Station | None,
    beside: Beside,
) -> ChargingSession:
    """A vehicle's session; what an earlier installation did not note is worked out."""
    name = f"vehicle …{ending(user_id)}"
    if not isinstance(facts, dict):
        raise ValueError(f"{name}: must be an object")
    reader = _Facts(name, facts)
    receipt_id = str(facts.get("receipt_id") or uuid4())
    # What could not be written again later is better refused now.
    (user_id + receipt_id).encode()
    evse_uid = reader.text("evse", LONGEST_UID) or ""
    planned = ChargingSession(
        user_id, station_id, beside.now, receipt_id, Decimal("0.00"), 0.0, None
    )
    if not facts.keys() >= {"estimated_timestamp", "amount", "charge_minutes"}:
        user = beside.look_up(user_id)
        if user is not None:
            planned = _planned(user, station_id, station, evse_uid, receipt_id, beside)
    paid = facts.get("paid_timestamp")
    if paid is not None:
        iso_utc(reader.needed("paid_timestamp", 0))
    assumed = facts.get("assumed", list(planned.assumed))
    if not isinstance(assumed, list) or not all(isinstance(each, str) for each in assumed):
        raise ValueError(f"{name}: assumed must be a list of words")
    state = facts.get("state", CHARGING)
    if state not in LIVE:
        raise ValueError(f"{name}: state must be one of {', '.join(LIVE)}")
    leaves = facts.get("leaves_when_done", True)
    if not isinstance(leaves, bool):
        raise ValueError(f"{name}: leaves_when_done must be true or false")
    started = reader.number("started_timestamp", None)
    reserved = reader.number("reserved_timestamp", None)
    stopped = reader.number("stopped_timestamp", None)
    key = reader.text("tariff")
    return ChargingSession(
        user_id=user_id,
        station_id=station_id,
        estimated_timestamp=reader.needed("estimated_timestamp", planned.estimated_timestamp),
        receipt_id=receipt_id,
        amount=Decimal(f"{reader.needed('amount', float(planned.amount)):.2f}"),
        charge_minutes=reader.needed("charge_minutes", planned.charge_minutes),
        paid_timestamp=None if paid is None else reader.needed("paid_timestamp", 0),
        evse_uid=evse_uid,
        connector=reader.text("connector") or planned.connector,
        start_percent=reader.number("start_percent", planned.start_percent),
        target_percent=reader.number("target_percent", planned.target_percent),
        energy_kwh=reader.number("energy_kwh", planned.energy_kwh),
        profile=reader.profile() or planned.profile,
        assumed=tuple(assumed),
        state=state,
        since_timestamp=reader.since((stopped, started, reserved)),
        expires_timestamp=reader.number("expires_timestamp", None),
        leaves_when_done=leaves,
        reserved_timestamp=reserved,
        started_timestamp=started,
        stopped_timestamp=stopped,
        tariff=planned.tariff if key is None else beside.used(key),
        driver_id=reader.text("driver_id"),
        clock=clock_of(facts),
    )


def _planned(
    user: User,
    station_id: int,
    station: Station | None,
    evse_uid: str,
    receipt_id: str,
    beside: Beside,
) -> ChargingSession:
    """A session that begins just now: for what an earlier installation did not note of one."""
    # At a station that is not known, or that has nothing for the car, it takes as long as where
    # nothing is known, not no time at all.
    place = station or Station(station_id, "", "", 0.0, 0.0, 0, price_kwh=Decimal(0))
    kinds = [evse.kind for evse in place.own_evses if evse.uid == evse_uid] or [*place.kinds]
    car, target = user.car, user.target_percent
    found = plan_charge(car.model, kinds, car.percent, target) or plan_charge(
        car.model, [EvseKind()], car.percent, target
    )
    assert found is not None
    kind, plan = found
    evse, tariffs, now = Evse(evse_uid, kind), beside.tariffs, beside.now
    # Nothing says how fast time went when it began.
    terms = attrs.evolve(beside.terms, time_scale=1.0)
    return plan_session(user, place, evse, plan, tariffs, receipt_id, now, terms)


class _Facts:
    """
    Reads what a station's file says of a vehicle. Each raises ValueError, which names it.

    :param name: of the vehicle, for the messages.
    """

    def __init__(self, name: str, facts: Mapping[str, Any]) -> None:
        self._name = name
        self._facts = facts

    def needed(self, name: str, default: float) -> float:
        """A number that is there, or `default`."""
        value = finite_number(self._facts.get(name, default))
        if value is None:
            raise ValueError(f"{self._name}: {name} must be a number")
        return value

    def number(self, name: str, default: float | None) -> float | None:
        """A number that may be missing; `default` then."""
        return default if self._facts.get(name) is None else self.needed(name, 0.0)

    def text(self, name: str, longest: int = 200) -> str | None:
        """Text that may be missing."""
        value = self._facts.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            raise ValueError(f"{self._name}: {name} must be text of up to {longest} characters")
        value.encode()
        return value

    def since(self, exact: Sequence[float | None]) -> float | None:
        """
        An instant in words, which may be missing.

        :param exact: instants in numbers, of which it may be one.
        """
        said = self._facts.get("since")
        if said is None:
            return None
        known = (one for one in exact if one is not None and iso_utc(one) == said)
        return next(known, None) or timestamp_of(f"{self._name}: since", said)

    def profile(self) -> Profile | None:
        """Pieces, which may be missing: kWh, and the kW at the begin and at the end of each."""
        pieces = self._facts.get("profile")
        if pieces is None:
            return None
        found = []
        for piece in pieces if isinstance(pieces, list) else [None]:
            numbers = list(map(finite_number, piece)) if isinstance(piece, list) else []
            known = [number for number in numbers if number is not None and number >= 0]
            if not len(numbers) == len(known) == 3 or not (known[1] > 0 and known[2] > 0):
                raise ValueError(f"{self._name}: profile must be a list of [kWh, kW, kW]")
            found.append(Piece(*known))
        return Profile(tuple(found))


def session_record(session: ChargingSession) -> dict[str, Any]:
    profile, since = session.profile, session.since_timestamp
    pieces = profile and [[p.energy_kwh, p.from_kw, p.to_kw] for p in profile.pieces]
    return {
        "estimated_timestamp": session.estimated_timestamp,
        "receipt_id": session.receipt_id,
        "amount": float(session.amount),
        "charge_minutes": session.charge_minutes,
        "paid_timestamp": session.paid_timestamp,
        **given("evse", session.evse_uid),
        **given("connector", session.connector),
        **given("start_percent", session.start_percent),
        **given("target_percent", session.target_percent),
        **given("energy_kwh", session.energy_kwh),
        **given("profile", pieces),
        **given("assumed", list(session.assumed) or None),
        **given("state", None if session.state == CHARGING else session.state),
        **given("since", None if since is None else iso_utc(since)),
        **given("expires_timestamp", session.expires_timestamp),
        **given("leaves_when_done", None if session.leaves_when_done else False),
        **given("reserved_timestamp", session.reserved_timestamp),
        **given("started_timestamp", session.started_timestamp),
        **given("stopped_timestamp", session.stopped_timestamp),
        **given("tariff", tariff_key(session.tariff)),
        **given("driver_id", session.driver_id),
        **given("clock", session.clock or None),
    }


# Places in line


def read_place(station_id: int, facts: Any, beside: Beside) -> Place | None:
    """A place in line; None: its user is not there any more."""
    if not isinstance(facts, dict) or not isinstance(facts.get("user_id"), str):
        raise ValueError("waiting: each must be an object with a user_id")
    user_id = facts["user_id"]
    user_id.encode()
    name = f"waiting …{ending(user_id)}"
    reader = _Facts(name, facts)
    number = whole_number(facts.get("place"))
    if number is None:
        raise ValueError(f"{name}: place must be a whole number")
    try:
        user = beside.look_up(user_id)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if user is None:
        return None
    return Place(
        user,
        station_id,
        number,
        reader.needed("joined_timestamp", beside.now),
        reader.needed("arrival_minutes", 0.0),
        reader.needed("arrival_percent", user.car.percent),
        reader.needed("target_percent", user.target_percent),
        clock_of(facts),
    )


def place_record(place: Place) -> dict[str, Any]:
    return {
        "user_id": place.user_id,
        "place": place.number,
        "joined_timestamp": place.joined_timestamp,
        "arrival_minutes": place.arrival_minutes,
        "target_percent": place.target_percent,
        "arrival_percent": place.start_percent,
        **given("clock", place.clock or None),
    }
