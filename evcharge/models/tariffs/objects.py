"""Tariffs, what is priced by them, and the bill: values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

import attrs

Kind = Literal["reserved", "charging", "idle"]
Outcome = Literal["used", "expired", "cancelled"]
"""What became of a reservation."""

FLAT, ENERGY, TIME, PARKING_TIME = "FLAT", "ENERGY", "TIME", "PARKING_TIME"
RESERVATION_TIME = "RESERVATION_TIME"
"""The dimension of a bill's line for the time of a reservation: a component TIME in the tariff."""
RESERVATION, RESERVATION_EXPIRES = "RESERVATION", "RESERVATION_EXPIRES"
MIN_PRICE, MAX_PRICE = "MIN_PRICE", "MAX_PRICE"

LINE_DIMENSIONS = (ENERGY, TIME, PARKING_TIME, RESERVATION_TIME, FLAT, MIN_PRICE, MAX_PRICE)
"""What a bill's line may be for."""

UNITS = {ENERGY: "kWh", TIME: "h", PARKING_TIME: "h", RESERVATION_TIME: "h"}
"""Of a line's quantity and price; lines without have pieces."""


@attrs.frozen(eq=False)
class PriceComponent:
    """A price in one dimension. Two that say the same are two: each has a line of its own."""

    dimension: str
    """FLAT, ENERGY, TIME or PARKING_TIME."""
    price: Fraction
    """Without VAT, per piece, kWh or hour."""
    vat: Fraction | None
    """Per cent; None: none applies."""
    step_size: int
    """Wh or seconds; a block that has begun is paid for whole."""
    with_vat: Fraction = attrs.field(init=False, repr=False)
    """The price with VAT; without any, the same object."""

    @with_vat.default
    def _with_vat(self) -> Fraction:
        return self.price * (100 + self.vat) / 100 if self.vat else self.price


@attrs.frozen
class Restrictions:
    """When an element holds: all of these at once; what is None restricts nothing."""

    start_time: time | None = None
    """Local, inclusive."""
    end_time: time | None = None
    """Local, exclusive; 00:00 is the end of the day."""
    start_date: date | None = None
    end_date: date | None = None
    """Exclusive."""
    min_kwh: Fraction | None = None
    """Inclusive, as the other least ones; the most ones are exclusive."""
    max_kwh: Fraction | None = None
    min_current: Fraction | None = None
    """Amperes, the sum of all phases."""
    max_current: Fraction | None = None
    min_power: Fraction | None = None
    """kW."""
    max_power: Fraction | None = None
    min_duration: Fraction | None = None
    """Seconds since charging began."""
    max_duration: Fraction | None = None
    day_of_week: frozenset[int] | None = None
    """0 is Monday, as in :meth:`datetime.date.weekday`."""
    reservation: str | None = None
    """RESERVATION or RESERVATION_EXPIRES: the element is for reserved time, and for no other."""

    @property
    def is_by_clock(self) -> bool:
        """Whether it is all the same how much is charged, how fast, and how long."""
        clock = Restrictions(
            self.start_time,
            self.end_time,
            self.start_date,
            self.end_date,
            day_of_week=self.day_of_week,
        )
        return self == clock


NO_RESTRICTIONS = Restrictions()


@attrs.frozen
class TariffElement:
    """Prices, and when they hold."""

    components: tuple[PriceComponent, ...]
    restrictions: Restrictions = NO_RESTRICTIONS


@attrs.frozen
class Limit:
    """A least or a highest price of a session."""

    excl_vat: Fraction
    incl_vat: Fraction | None = None


@attrs.frozen(eq=False)
class Tariff:
    """An OCPI 2.2.1 tariff, as :func:`evcharge.models.tariffs.parse_tariff` reads it."""

    tariff_id: str
    currency: str
    elements: tuple[TariffElement, ...]
    min_price: Limit | None = None
    max_price: Limit | None = None
    start_timestamp: float | None = None
    """From when on it may be used, seconds since the epoch, inclusive."""
    end_timestamp: float | None = None
    """Until when, exclusive."""
    body: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """The object that it was read from, unknown fields too."""

    plain: bool = attrs.field(init=False, repr=False)
    """Whether it can be priced from totals: nothing of it depends on when, or in which order, and
    there are no blocks."""
    energy_price: tuple[int, int] | None = attrs.field(init=False, repr=False)
    """The numerator and denominator of what a kWh costs with VAT, where that is all that there is
    to say of a session without idle time; else None."""
    energy_by_clock: bool = attrs.field(init=False, repr=False)
    """Whether a session without idle time costs what a kWh costs at its time of day."""
    least_price_kwh: float = attrs.field(init=False, repr=False)
    """No more than what a kWh costs with VAT at any time; 0 where it may be free."""

    @plain.default
    def _plain(self) -> bool:
        components = [c for element in self.elements for c in element.components]
        dimensions = {component.dimension for component in components}
        return (
            all(element.restrictions == NO_RESTRICTIONS for element in self.elements)
            and all(component.step_size == 1 for component in components)
            and len(dimensions) == len(components)
        )

    @energy_price.default
    def _energy_price(self) -> tuple[int, int] | None:
        components = [c for element in self.elements for c in element.components]
        prices = [c for c in components if c.dimension != PARKING_TIME]
        bounded = self.min_price is not None or self.max_price is not None
        if bounded or not self.plain or [c.dimension for c in prices] != [ENERGY]:
            return None
        return prices[0].with_vat.as_integer_ratio()

    @energy_by_clock.default
    def _energy_by_clock(self) -> bool:
        elements = [e for e in self.elements if e.restrictions.reservation is None]
        components = [c for element in elements for c in element.components]
        return (
            self.min_price is None
            and self.max_price is None
            and all(e.restrictions.is_by_clock for e in elements)
            and all(c.dimension in (ENERGY, PARKING_TIME) for c in components)
            and all(c.step_size == 1 for c in components)
        )

    @least_price_kwh.default
    def _least_price_kwh(self) -> float:
        elements = [e for e in self.elements if e.restrictions.reservation is None]
        priced = [(e, c) for e in elements for c in e.components if c.dimension == ENERGY]
        always = any(element.restrictions == NO_RESTRICTIONS for element, _ in priced)
        if not always or self.max_price is not None:
            return 0.0
        return float(min(component.with_vat for _, component in priced))

    def holds_at(self, timestamp: float) -> bool:
        """Whether a session that starts at `timestamp`, seconds since the epoch, may go by it."""
        return (self.start_timestamp is None or self.start_timestamp <= timestamp) and (
            self.end_timestamp is None or timestamp < self.end_timestamp
        )


@lru_cache(maxsize=20_000)
def tariff_key(tariff: Tariff | None) -> str | None:
    """What names a tariff by its content: 12 hexadecimal digits of the SHA-256 of its object."""
    if tariff is None:
        return None
    return body_key(tariff.body)


def body_key(body: Mapping[str, Any]) -> str:
    """The same, of the object."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@attrs.frozen
class Segment:
    """
    A part of a session. Segments of one session follow one another without a gap.

    Where the powers are given, power is linear in energy between them; else energy is taken evenly.
    """

    kind: Kind
    start_timestamp: float
    """Seconds since the epoch."""
    seconds: float
    energy_kwh: float = 0.0
    from_kw: float | None = None
    to_kw: float | None = None
    """The power at its begin and its end, kW."""
    current_a: float | None = None
    """The sum of all phases, amperes; None where unknown, as with DC."""
    outcome: Outcome | None = None
    """What became of the reservation, if the segment is reserved."""


@attrs.frozen
class Line:
    """A line of a bill: what one price component comes to."""

    dimension: str
    quantity: Fraction
    """kWh, hours or pieces, whole blocks included."""
    price: Fraction
    """Without VAT, of one of them."""
    vat: Fraction | None
    """Per cent."""
    step_size: int
    excl_vat: Fraction
    incl_vat: Fraction

    @property
    def unit(self) -> str:
        """Of the quantity; empty for pieces."""
        return UNITS.get(self.dimension, "")


@attrs.frozen
class Bill:
    """What a session costs; nothing is rounded but the two totals."""

    lines: tuple[Line, ...]
    """In order of first use; the last may be MIN_PRICE or MAX_PRICE, with the difference."""
    excl_vat_exact: Fraction
    incl_vat_exact: Fraction
    excl_vat: Decimal
    """Two decimal places, half up, as the other one."""
    incl_vat: Decimal
