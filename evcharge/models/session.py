"""Sessions: vehicles that stand at an EVSE, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from decimal import Decimal

import attrs

from evcharge.models.charging import Profile
from evcharge.models.estimates import PRICE, ChargePlan, estimate
from evcharge.models.evse import Evse
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff
from evcharge.models.user import User


@attrs.frozen
class ChargingSession:
    """A vehicle that stands at a station, and the payment that holds its EVSE."""

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
    clock: int = attrs.field(default=0, eq=False)
    """By which of its clocks the storage has the instants: its own business."""

    @property
    def peak_kw(self) -> float | None:
        """The highest power in it, kW; None where nothing is charged, or it is not known."""
        return None if self.profile is None else self.profile.peak_kw or None

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
    evse: Evse,
    plan: ChargePlan,
    tariffs: Mapping[str, Tariff],
    receipt_id: str,
    now: float,
    time_scale: float,
    zone: tzinfo | None = None,
) -> ChargingSession:
    """
    Work out the session that a payment of `user` at `now` would start.

    :param evse: of the station, and
    :param plan: the charge there.
    :param tariffs: those of the network, by id.
    :param now: seconds since the epoch.
    :param time_scale: how many times faster than real time charging goes.
    :param zone: of the network, for stations that have none of their own.
    """
    connector = plan.plug.connector
    tariff, is_known = station.prices.tariff(connector, tariffs, now)
    return ChargingSession(
        user_id=user.user_id,
        station_id=station.station_id,
        estimated_timestamp=now + plan.seconds / time_scale,
        receipt_id=receipt_id,
        amount=estimate(tariff, plan, now, station.zone(zone)),
        charge_minutes=plan.seconds / 60,
        paid_timestamp=now,
        evse_uid=evse.uid,
        connector=None if connector is None else connector.name,
        start_percent=plan.start_percent,
        target_percent=plan.target_percent,
        energy_kwh=plan.energy_kwh,
        profile=plan.profile,
        assumed=plan.plug.assumed if is_known else (*plan.plug.assumed, PRICE),
    )
