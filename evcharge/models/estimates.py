"""What a charge is expected to take and to cost, before it happens; and by which tariff. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache

import attrs

from evcharge.models.charging import Profile
from evcharge.models.electric_car import CarModel
from evcharge.models.evse import Connector, EvseKind, Plug, plugs_of, quickest
from evcharge.models.tariffs import Segment, Tariff, energy_total, parse_tariff, price

DEFAULT_PRICE_KWH = Decimal("2.00")
"""What a kWh costs where nobody says it, BRL."""

PRICE = "price"
"""What replies call it where that was assumed."""

LINE_VOLTS = 230.0
"""Between a line and neutral: what turns the power of an AC connector into amperes."""


@attrs.frozen
class ChargePlan:
    """A charge as it is expected: by which connector, from which state of charge to which."""

    plug: Plug
    capacity_kwh: float
    """Of the battery."""
    start_percent: float
    target_percent: float
    seconds: float
    """How long it takes, simulated."""

    @property
    def energy_kwh(self) -> float:
        """What is charged; 0 where the target is reached already."""
        return max(0.0, self.target_percent - self.start_percent) * self.capacity_kwh / 100.0

    @property
    def profile(self) -> Profile:
        """Its pieces."""
        return self.plug.rate.profile(self.start_percent, self.target_percent)

    def segments(self, begin: float) -> list[Segment]:
        """
        What a tariff is asked about.

        :param begin: when charging begins, seconds since the epoch.
        """
        connector = self.plug.connector
        is_ac = connector is not None and connector.is_dc is False
        found = []
        for piece in self.profile.pieces:
            # The sum over the phases, which is even, as AC power is; of DC it is not known.
            amperes = piece.from_kw * 1000.0 / LINE_VOLTS if is_ac else None
            found.append(
                Segment(
                    "charging",
                    begin,
                    piece.seconds,
                    piece.energy_kwh,
                    piece.from_kw,
                    piece.to_kw,
                    amperes,
                )
            )
            begin += piece.seconds
        return found


def plan_charge(
    model: CarModel, kinds: Iterable[EvseKind], start_percent: float, target_percent: float
) -> tuple[EvseKind, ChargePlan] | None:
    """The shortest charge of a car at EVSEs of some kinds; None: none of them fits."""
    best: tuple[EvseKind, ChargePlan] | None = None
    for kind in kinds:
        plugs = plugs_of(model, kind)
        if not plugs:
            continue
        plug, seconds = quickest(plugs, start_percent, target_percent)
        if best is None or seconds < best[1].seconds:
            plan = ChargePlan(
                plug, model.battery_capacity_kwh, start_percent, target_percent, seconds
            )
            best = kind, plan
    return best


@lru_cache(maxsize=10_000)
def flat_tariff(price_kwh: Decimal) -> Tariff:
    """A tariff by which a kWh costs the same at all times, without VAT."""
    component = {"type": "ENERGY", "price": price_kwh, "step_size": 1}
    return parse_tariff(
        {
            "id": f"{price_kwh} BRL/kWh",
            "currency": "BRL",
            "elements": [{"price_components": [component]}],
        }
    )


@attrs.frozen
class Prices:
    """By what a station's sessions are priced, where its connectors do not say."""

    tariff_id: str | None = None
    """The tariff of the whole station."""
    price_kwh: Decimal | None = None
    """Else what a kWh costs, BRL; None where nobody says it."""

    def tariff(
        self, connector: Connector | None, tariffs: Mapping[str, Tariff], begin: float
    ) -> tuple[Tariff, bool]:
        """
        The tariff of a session that begins then, and whether it is known, not assumed.

        :param tariffs: those of the network, by id.
        :param begin: seconds since the epoch.
        """
        for tariff_id in connector.tariff_ids if connector is not None else ():
            tariff = tariffs.get(tariff_id)
            if tariff is not None and tariff.holds_at(begin):
                return tariff, True
        if self.tariff_id is not None:
            tariff = tariffs.get(self.tariff_id)
            if tariff is not None and tariff.holds_at(begin):
                return tariff, True
        if self.price_kwh is not None:
            return flat_tariff(self.price_kwh), True
        return flat_tariff(DEFAULT_PRICE_KWH), False


def estimate(tariff: Tariff, plan: ChargePlan, begin: float, zone: tzinfo) -> Decimal:
    """
    What a planned charge costs with VAT, two decimal places.

    :param begin: when it begins, seconds since the epoch.
    :param zone: whose local time the tariff's hours and days are.
    """
    total = energy_total(tariff, plan.energy_kwh)
    return price(tariff, plan.segments(begin), zone).incl_vat if total is None else total
