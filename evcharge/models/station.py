"""Stations, the sessions that stand at them, and what a session costs."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal

import attrs

from evcharge.models.connectors import connector_kind
from evcharge.models.electric_car import ElectricCar
from evcharge.models.user import User

DEFAULT_PRICE_KWH = Decimal("2.00")
"""Tariff of a station that has none of its own, BRL per kWh."""

_CENT = Decimal("0.01")


@attrs.frozen
class Station:
    """A charging station, as the network describes it."""

    station_id: int
    name: str
    address: str
    latitude: float
    """Degrees, WGS 84, like the longitude."""
    longitude: float
    max_slots: int
    """How many vehicles charge at once."""
    power_kw: float | None = None
    """What one connector gives at most, kW; None where unknown."""
    price_kwh: Decimal = DEFAULT_PRICE_KWH
    """BRL per kWh."""
    connectors: tuple[str, ...] = ()
    """Kinds of connector, as they were written (`Tipo 2`, `CCS2`, …); empty where unknown."""
    key: str = attrs.field(init=False, eq=False, repr=False)
    """The id as text, as messages have it."""

    ac_only: bool = attrs.field(init=False, eq=False, repr=False)
    """Whether it has connectors, and none that is known to be a DC one."""

    @key.default
    def _key(self) -> str:
        return str(self.station_id)

    @ac_only.default
    def _ac_only(self) -> bool:
        # One that is not known is not taken for DC: its driver would be told too short a time.
        kinds = map(connector_kind, self.connectors)
        return bool(self.connectors) and not any(kind and kind.is_dc for kind in kinds)

    def price(self, energy_kwh: float) -> Decimal:
        """What `energy_kwh` costs here, BRL with two places, halves rounded up."""
        return price_of(Decimal(repr(energy_kwh)), self.price_kwh)

    def charge_time_s(self, car: ElectricCar) -> float:
        """How long `car` charges here to reach the target, seconds."""
        return car.charge_time_s(car.energy_to_target_kwh(), self.power_kw, self.ac_only)


def price_of(energy_kwh: Decimal, price_kwh: Decimal) -> Decimal:
    """What `energy_kwh` costs at `price_kwh`, BRL with two places, halves rounded up."""
    return (energy_kwh * price_kwh).quantize(_CENT, ROUND_HALF_UP)


@attrs.frozen
class ChargingSession:
    """A vehicle that stands at a station, and the payment that holds its slot."""

    user_id: str
    station_id: int
    estimated_timestamp: float
    """When charging ends, seconds since the epoch."""
    receipt_id: str
    amount: Decimal
    """BRL with two places."""
    charge_minutes: float
    paid_timestamp: float | None
    """When the payment was taken, seconds since the epoch; None for a vehicle that an earlier
    installation let in, whose payment this one has not seen."""
    clock: int = attrs.field(default=0, eq=False)
    """By which of its clocks the storage has the instants: its own business."""

    def moved(self, by_s: float, clock: int) -> ChargingSession:
        """The same session, `by_s` later, by another `clock`."""
        paid = self.paid_timestamp
        return attrs.evolve(
            self,
            estimated_timestamp=self.estimated_timestamp + by_s,
            paid_timestamp=None if paid is None else paid + by_s,
            clock=clock,
        )


def plan_session(
    user: User,
    station: Station,
    receipt_id: str,
    now: float,
    time_scale: float,
) -> ChargingSession:
    """
    Work out the session that a payment of `user` at `now` would start.

    :param now: seconds since the epoch.
    :param time_scale: how many times faster than real time charging goes.
    """
    charge_s = station.charge_time_s(user.car)
    return ChargingSession(
        user_id=user.user_id,
        station_id=station.station_id,
        estimated_timestamp=now + charge_s / time_scale,
        receipt_id=receipt_id,
        amount=station.price(user.car.energy_to_target_kwh()),
        charge_minutes=charge_s / 60,
        paid_timestamp=now,
    )


@attrs.frozen
class SlotTable:
    """
    The slots of one station and who holds them: ``available + len(sessions) == max_slots``.

    One that was lowered under its vehicles has more of them than slots, until enough have left.
    """

    station_id: int
    max_slots: int
    sessions: Mapping[str, ChargingSession] = attrs.field(factory=dict)
    """By user id."""

    @property
    def available_slots(self) -> int:
        return max(0, self.max_slots - len(self.sessions))

    def with_session(self, session: ChargingSession) -> SlotTable:
        """The table once `session` has taken a slot of it."""
        sessions = {**self.sessions, session.user_id: session}
        return SlotTable(self.station_id, self.max_slots, sessions)

    def with_slots(self, max_slots: int) -> SlotTable:
        """The table of a station that has so many slots from now on."""
        return SlotTable(self.station_id, max(0, max_slots), self.sessions)

    def each(self, change: Callable[[ChargingSession], ChargingSession]) -> SlotTable:
        """The table with each session changed."""
        changed = {user_id: change(session) for user_id, session in self.sessions.items()}
        if all(changed[user_id] is session for user_id, session in self.sessions.items()):
            return self
        return attrs.evolve(self, sessions=changed)

    def without(self, user_id: str) -> SlotTable:
        """The table once `user_id` has left."""
        left = {key: value for key, value in self.sessions.items() if key != user_id}
        return SlotTable(self.station_id, self.max_slots, left)


@attrs.frozen
class StationState:
    """A station at one moment: what selection needs to know of its slots."""

    station: Station
    available_slots: int
    next_free_timestamp: float | None
    """When the first of its sessions ends that frees a slot, seconds since the epoch; None where
    none does."""

    @property
    def is_occupied(self) -> bool:
        """Whether a vehicle stands there."""
        return self.available_slots < self.station.max_slots

    @classmethod
    def of(cls, station: Station, slots: SlotTable) -> StationState:
        """The state of `station`, whose slots are `slots`."""
        if station.max_slots != slots.max_slots:
            station = attrs.evolve(station, max_slots=slots.max_slots)
        ends = [session.estimated_timestamp for session in slots.sessions.values()]
        # Of one that is over-full more than one has to leave before a slot is free.
        first = len(ends) - slots.max_slots
        if first <= 0:
            next_free = min(ends, default=None)
        else:
            next_free = heapq.nsmallest(first + 1, ends)[first] if slots.max_slots else None
        return cls.counted(station, len(ends), next_free)

    @classmethod
    def counted(
        cls, station: Station, taken: int, next_free_timestamp: float | None
    ) -> StationState:
        """The state of `station`, of whose slots `taken` are; where it has fewer, it has these."""
        if taken > station.max_slots:
            return cls(attrs.evolve(station, max_slots=taken), 0, next_free_timestamp)
        return cls(station, station.max_slots - taken, next_free_timestamp)
