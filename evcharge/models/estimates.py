"""What a charge is expected to take and to cost, before it happens; and by which tariff. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import attrs

from evcharge.models.charging import Profile
from evcharge.models.electric_car import CarModel
from evcharge.models.evse import Connector, Evse, EvseKind, Plug, natural, plugs_of, to_the_ms
from evcharge.models.tariffs import (
    ENERGY,
    PriceComponent,
    Segment,
    Tariff,
    TariffElement,
    energy_total,
    price,
)

DEFAULT_PRICE_KWH = Decimal("2.00")
"""What a kWh costs where nobody says it, BRL."""

PRICE = "price"
"""What replies call it where that was assumed."""

LINE_VOLTS = 230.0
"""Between a line and neutral: what turns the power of an AC connector into amperes."""


@attrs.define
class ChargePlan:
    """A charge as it is expected: by which connector, from which state of charge to which."""

    plug: Plug
    capacity_kwh: float
    """Of the battery."""
    start_percent: float
    target_percent: float
    seconds: float
    """How long it takes, simulated."""
    energy_kwh: float = attrs.field(init=False)
    """What is charged; 0 where the target is reached already."""

    def __attrs_post_init__(self) -> None:
        percent = max(0.0, self.target_percent - self.start_percent)
        self.energy_kwh = percent * self.capacity_kwh / 100.0

    @property
    def peak_kw(self) -> float | None:
        """The highest power in it, kW; None where nothing is charged."""
        return self.plug.rate.peak_kw(self.start_percent, self.target_percent) or None

    @property
    def average_kw(self) -> float | None:
        """Energy by time, kW; None where nothing is charged."""
        return self.energy_kwh / self.seconds * 3600.0 if self.seconds > 0.0 else None

    @property
    def profile(self) -> Profile:
        """Its pieces."""
        return self.plug.rate.profile(self.start_percent, self.target_percent)

    def assumed(self, price_is_known: bool) -> tuple[str, ...]:
        """What was not known when it was worked out, and priced."""
        return self.plug.assumed if price_is_known else (*self.plug.assumed, PRICE)

    def segments(self, begin: float) -> list[Segment]:
        """
        What a tariff is asked about.

        :param begin: when charging begins, seconds since the epoch.
        """
        return charging_segments(self.profile, self.plug.connector, begin)


def charging_segments(profile: Profile, connector: Connector | None, begin: float) -> list[Segment]:
    """
    What a tariff is asked about a charge, or a part of one.

    :param begin: when it begins, seconds since the epoch.
    """
    is_ac = connector is not None and connector.is_dc is False
    found = []
    for piece in profile.pieces:
        # The sum over the phases, which is even, as AC power is; of DC it is not known.
        amperes = piece.from_kw * 1000.0 / LINE_VOLTS if is_ac else None
        seconds = piece.seconds
        found.append(
            Segment(
                "charging", begin, seconds, piece.energy_kwh, piece.from_kw, piece.to_kw, amperes
            )
        )
        begin += seconds
    return found


def plan_charge(
    model: CarModel, kinds: Iterable[EvseKind], start_percent: float, target_percent: float
) -> tuple[EvseKind, ChargePlan] | None:
    """
    The kind of EVSE that a car is given, and its charge there; None: none of them fits.

    That of the shortest charge; then the one with the least power, then the fewest connectors, so
    that what is best for the next is left; then the first.

    :param kinds: of EVSEs that are free.
    """
    best: tuple[EvseKind, Plug, float] | None = None
    least = math.inf
    for kind in kinds:
        for plug in plugs_of(model, kind):
            seconds = plug.rate.seconds(start_percent, target_percent)
            compared = to_the_ms(seconds)
            if compared < least or (
                compared == least and best is not None and _leaves_more(kind, best[0])
            ):
                best, least = (kind, plug, seconds), compared
    if best is None:
        return None
    kind, plug, seconds = best
    capacity = model.battery_capacity_kwh
    return kind, ChargePlan(plug, capacity, start_percent, target_percent, seconds)


def _leaves_more(one: EvseKind, other: EvseKind) -> bool:
    """Whether the next driver is left more where one of this kind is taken than of the other."""
    return _best_of(one) < _best_of(other)


def _best_of(kind: EvseKind) -> tuple[float, int]:
    power = kind.power_kw if kind.max_power_kw is None else kind.max_power_kw
    return math.inf if power is None else power, len(kind.connectors)


def choose_evse(
    model: CarModel, free: Sequence[Evse], start_percent: float, target_percent: float
) -> tuple[Evse, ChargePlan] | None:
    """
    The EVSE that a car is given, of several that are alike the one with the smallest uid, and its
    charge there; None: none of them fits.

    :param free: EVSEs that are in service, and that nobody holds.
    """
    first: dict[EvseKind, Evse] = {}
    for evse in sorted(free, key=lambda evse: natural(evse.uid)):
        first.setdefault(evse.kind, evse)
    # Of kinds that are as good, too, it is the one that comes first.
    found = plan_charge(model, first, start_percent, target_percent)
    return None if found is None else (first[found[0]], found[1])


@lru_cache(maxsize=10_000)
def flat_tariff(price_kwh: Decimal) -> Tariff:
    """A tariff by which a kWh costs the same at all times, without VAT."""
    component = PriceComponent(ENERGY, Fraction(price_kwh), None, 1)
    # 2 and 2.00 are one price, and so one tariff, whichever was asked for first.
    tariff_id, currency = f"{price_kwh.normalize():f} BRL/kWh", "BRL"
    shown = {"type": ENERGY, "price": float(price_kwh), "step_size": 1}
    body = {
        "id": tariff_id,
        "currency": currency,
        "elements": [{"price_components": [shown]}],
    }
    return Tariff(tariff_id, currency, (TariffElement((component,)),), body=body)


@attrs.frozen
class Prices:
    """By what a station's sessions are priced, where its connectors do not say."""

    tariff_id: str | None = None
    """The tariff of the whole station."""
    price_kwh: Decimal | None = None
    """Else what a kWh costs, BRL; None where nobody says it."""
    flat: Tariff = attrs.field(init=False, eq=False, repr=False)
    """The tariff where none is named, or none that is named holds."""

    @flat.default
    def _flat(self) -> Tariff:
        return flat_tariff(DEFAULT_PRICE_KWH if self.price_kwh is None else self.price_kwh)

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
        return self.flat, self.price_kwh is not None


@attrs.frozen
class Priced:
    """By which tariffs sessions may go at a station, or at several."""

    price_kwh: float
    """The least that a kWh costs with VAT where none that is named holds, BRL."""
    named: frozenset[str] = frozenset()
    """The ids of those."""

    @classmethod
    def of(cls, prices: Prices, kinds: Iterable[EvseKind]) -> Priced:
        """Those of a station: of its own, and of its EVSEs."""
        named = {i for kind in kinds for connector in kind.connectors for i in connector.tariff_ids}
        if prices.tariff_id is not None:
            named.add(prices.tariff_id)
        return cls(prices.flat.least_price_kwh, frozenset(named))

    @classmethod
    def of_all(cls, parts: Sequence[Priced]) -> Priced:
        """Those of several stations, of which there is one at least."""
        named = frozenset().union(*(part.named for part in parts))
        return cls(min(part.price_kwh for part in parts), named)

    def least_kwh(self, tariffs: Mapping[str, Tariff]) -> float:
        """
        No more than what a kWh costs with VAT, BRL.

        :param tariffs: those of the network, by id.
        """
        found = [tariffs[each].least_price_kwh for each in self.named if each in tariffs]
        return min(self.price_kwh, *found) if found else self.price_kwh


def estimate(tariff: Tariff, plan: ChargePlan, begin: float, zone: tzinfo) -> Decimal:
    """
    What a planned charge costs with VAT, two decimal places.

    :param begin: when it begins, seconds since the epoch.
    :param zone: whose local time the tariff's hours and days are.
    """
    total = energy_total(tariff, plan.energy_kwh, begin, plan.seconds, zone)
    return price(tariff, plan.segments(begin), zone).incl_vat if total is None else total
