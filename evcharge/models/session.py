"""Sessions: an EVSE that is held for a driver, from an offer or a payment until it is given on."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from evcharge.models.charging import Profile
from evcharge.models.estimates import ChargePlan, estimate
from evcharge.models.evse import Evse, EvseKind, plugs_of, quickest
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff, tariff_key
from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.models.user import User

FREE = "FREE"
"""Of a user who neither holds an EVSE nor waits for one."""
WAITING = "WAITING"
"""Of one who has a place in the line of a station."""

OFFERED, RESERVED, CHARGING, FINISHED = LIVE = ("OFFERED", "RESERVED", "CHARGING", "FINISHED")
"""The states of a session that holds an EVSE: offered to one who waited, kept for one on the way,
charging, and charged, but still there."""

COMPLETED, CANCELLED, NO_SHOW = FINAL = ("COMPLETED", "CANCELLED", "NO_SHOW")
"""The states in which a session ends."""


@attrs.frozen
class ChargingSession:
    """An EVSE that is held for a driver. Instants are seconds since the epoch."""

    user_id: str
    station_id: int
    estimated_timestamp: float
    """When charging ends; of one that has not begun, when that is expected."""
    receipt_id: str
    amount: Decimal
    """What all of it is expected to cost, BRL with two places."""
    charge_minutes: float
    """How long charging takes, simulated."""
    paid_timestamp: float | None
    """When `amount` was paid, ahead; None where what it comes to is paid at the end, and for a
    vehicle that an earlier installation let in, whose payment this one has not seen."""
    evse_uid: str = ""
    """Which EVSE it is; empty in an earlier record: it gets one of those that its station has."""
    connector: str | None = None
    """The name of the connector; None where unknown."""
    start_percent: float | None = None
    """State of charge at the begin, per cent; None, like all that follows, in an earlier record."""
    target_percent: float | None = None
    energy_kwh: float | None = None
    """What is charged."""
    profile: Profile | None = None
    """How."""
    assumed: tuple[str, ...] = ()
    """What was not known when this was worked out."""
    state: str = CHARGING
    """One of :data:`LIVE`."""
    since_timestamp: float | None = None
    """Since when it is in that state; None in an earlier record, as the tariff."""
    expires_timestamp: float | None = None
    """Until when it is offered or reserved, or may stand there charged; None while it charges."""
    leaves_when_done: bool = True
    """Whether the car goes as soon as it is charged."""
    reserved_timestamp: float | None = None
    """Since when it was reserved; None where it never was."""
    started_timestamp: float | None = None
    """When charging began; None before, and in an earlier record."""
    stopped_timestamp: float | None = None
    """When charging ended of a car that still stands there; None before."""
    tariff: Tariff | None = attrs.field(default=None, eq=tariff_key, repr=False)
    """By which it is priced to its end, whatever becomes of the network's tariffs."""
    driver_id: str | None = None
    """Whose it is: what ties journeys together; None in an earlier record."""
    clock: int = attrs.field(default=0, eq=False)
    """By which of its clocks the storage has the instants: its own business."""

    @property
    def peak_kw(self) -> float | None:
        """The highest power in it, kW; None where nothing is charged, or it is not known."""
        return None if self.profile is None else self.profile.peak_kw or None

    @property
    def due_timestamp(self) -> float:
        """When the next deadline is, which it passes without anybody's doing."""
        expires = self.expires_timestamp
        return self.estimated_timestamp if expires is None else expires

    @property
    def paid(self) -> Decimal:
        """What was paid ahead, BRL."""
        # An earlier installation let nobody charge who had not paid, and did not always note when.
        earlier = self.state in (CHARGING, FINISHED) and self.started_timestamp is None
        return self.amount if earlier or self.paid_timestamp is not None else Decimal("0.00")

    def started(self, terms: Terms) -> float:
        """When charging began, also of a vehicle of an earlier record."""
        if self.started_timestamp is not None:
            return self.started_timestamp
        return self.estimated_timestamp - terms.real_s(self.charge_minutes * 60)

    def arrival_s(self, terms: Terms) -> float:
        """How long the drive was to take that is still to come when it was offered, simulated."""
        since = self.estimated_timestamp if self.since_timestamp is None else self.since_timestamp
        ahead_s = terms.simulated_s(since, self.estimated_timestamp)
        return max(0.0, ahead_s - self.charge_minutes * 60)

    def finished(self, at: float, terms: Terms) -> ChargingSession:
        """The same, once its vehicle charges no more, and stays."""
        return attrs.evolve(
            self,
            state=FINISHED,
            since_timestamp=at,
            stopped_timestamp=at,
            expires_timestamp=at + terms.real_s(terms.idle_s),
        )

    def charged(self, now: float, terms: Terms) -> ChargingSession:
        """The same at an instant: finished, where it is charged by then and its vehicle stays."""
        end = self.estimated_timestamp
        if self.state != CHARGING or self.leaves_when_done or end > now:
            return self
        return self.finished(end, terms)

    def moved(self, by_s: float, clock: int) -> ChargingSession:
        """The same session, `by_s` later, by another `clock`."""

        def later(instant: float | None) -> float | None:
            return None if instant is None else instant + by_s

        return attrs.evolve(
            self,
            estimated_timestamp=self.estimated_timestamp + by_s,
            paid_timestamp=later(self.paid_timestamp),
            since_timestamp=later(self.since_timestamp),
            expires_timestamp=later(self.expires_timestamp),
            reserved_timestamp=later(self.reserved_timestamp),
            started_timestamp=later(self.started_timestamp),
            stopped_timestamp=later(self.stopped_timestamp),
            clock=clock,
        )


@attrs.frozen
class Place:
    """A place in the line of a station, for any EVSE there that fits; it holds none."""

    user: User = attrs.field(eq=False)
    """Who waits, as the user's own record has it."""
    station_id: int
    number: int
    """The lower one comes first; unique at its station."""
    joined_timestamp: float
    """Seconds since the epoch."""
    arrival_minutes: float
    """How far away the driver is who is offered an EVSE, simulated."""
    start_percent: float
    """State of charge at the arrival, per cent."""
    target_percent: float
    clock: int = attrs.field(default=0, eq=False)
    """By which of its clocks the storage has the instant: its own business."""
    user_id: str = attrs.field(init=False, repr=False)
    _charges: list[Any] = attrs.field(factory=list, init=False, eq=False, repr=False)
    """What :meth:`charges_s` said last, and of which station."""

    @user_id.default
    def _user_id(self) -> str:
        return self.user.user_id

    def fits(self, kind: EvseKind) -> bool:
        """Whether the car can be charged by such an EVSE."""
        return bool(plugs_of(self.user.car.model, kind))

    def charges_s(self, station: Station) -> list[tuple[int, float]]:
        """
        The EVSEs of a station that fit, by their number in its `in_order`, and how long the car
        charges there, simulated seconds.
        """
        known = self._charges
        if not known or known[0] is not station:
            model = self.user.car.model
            fitting = [
                (number, quickest(plugs, self.start_percent, self.target_percent)[1])
                for number, evse in enumerate(station.in_order)
                if (plugs := plugs_of(model, evse.kind))
            ]
            # Both at once: another thread may be asking the same.
            self._charges[:] = known = [station, fitting]
        found: list[tuple[int, float]] = known[1]
        return found

    def moved(self, by_s: float, clock: int) -> Place:
        """The same place, taken `by_s` later, by another `clock`."""
        return attrs.evolve(self, joined_timestamp=self.joined_timestamp + by_s, clock=clock)


def plan_session(
    user: User,
    station: Station,
    evse: Evse,
    plan: ChargePlan,
    tariffs: Mapping[str, Tariff],
    receipt_id: str,
    now: float,
    terms: Terms = DEFAULT_TERMS,
) -> ChargingSession:
    """
    Work out the session that a payment of `user` at `now` would start.

    :param evse: of the station, and
    :param plan: the charge there.
    :param tariffs: those of the network, by id.
    :param now: seconds since the epoch.
    """
    connector = plan.plug.connector
    tariff, is_known = station.prices.tariff(connector, tariffs, now)
    return ChargingSession(
        user_id=user.user_id,
        station_id=station.station_id,
        estimated_timestamp=now + plan.seconds / terms.time_scale,
        receipt_id=receipt_id,
        amount=estimate(tariff, plan, now, station.zone(terms.zone)),
        charge_minutes=plan.seconds / 60,
        paid_timestamp=now,
        evse_uid=evse.uid,
        connector=None if connector is None else connector.name,
        start_percent=plan.start_percent,
        target_percent=plan.target_percent,
        energy_kwh=plan.energy_kwh,
        profile=plan.profile,
        assumed=plan.assumed(is_known),
        since_timestamp=now,
        started_timestamp=now,
        tariff=tariff,
        driver_id=user.driver_id,
    )
