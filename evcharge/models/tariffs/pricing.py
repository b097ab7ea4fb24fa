"""
The bill of a session.

A session is cut into pieces in which nothing changes that a restriction looks at; in each piece
every dimension goes to the first element that holds and has a price for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import attrs

from evcharge.models.tariffs.moments import DAY_S, Borders, Moment, holds
from evcharge.models.tariffs.objects import (
    ENERGY,
    FLAT,
    MAX_PRICE,
    MIN_PRICE,
    PARKING_TIME,
    RESERVATION,
    RESERVATION_EXPIRES,
    RESERVATION_TIME,
    TIME,
    Bill,
    Limit,
    Line,
    Outcome,
    PriceComponent,
    Segment,
    Tariff,
    TariffElement,
)

ZERO = Fraction(0)
WH, HOUR_S = 1000, 3600

STRETCH_S = 900
"""Prices by the time of day are remembered for each of these, seconds: few change within one."""

NOTHING = (ZERO, ZERO, None, None)
"""What a session has at its begin, as far as a tariff looks at the time of day only."""


def price(tariff: Tariff, segments: Sequence[Segment], zone: tzinfo) -> Bill:
    """
    What a session costs.

    :param segments: in order. Their energies and seconds are rounded to 1 mWh and 1 ms, and then
        taken as exact.
    :param zone: whose local time the tariff's hours and days are.
    :return: in the tariff's currency.
    """
    has_charged = any(segment.kind == "charging" for segment in segments)
    if tariff.plain:
        return _bill(tariff, _totals(tariff, segments), has_charged)
    borders = Borders.of(tariff)
    ordinary = [e for e in tariff.elements if e.restrictions.reservation is None]
    used: dict[tuple[str, PriceComponent], Fraction] = {}
    """Quantities, in Wh, seconds or pieces, by what they are and at which price."""
    last: dict[str, PriceComponent] = {}
    """Of each dimension the component that was active last."""
    flat_of: set[bool] = set()
    """Whether the session, and its reservation, has had its FLAT."""
    for piece in _pieces(segments, borders, zone):
        elements = _for_reservation(tariff, piece.outcome) if piece.reserved else ordinary
        holding = [e for e in elements if holds(e.restrictions, piece.moment)]
        if piece.reserved not in flat_of:
            flat = _first(holding, FLAT)
            if flat is not None:
                flat_of.add(piece.reserved)
                used[FLAT, flat] = used.get((FLAT, flat), ZERO) + 1
        for dimension, component_type, quantity in piece.quantities():
            component = _first(holding, component_type)
            if component is not None:
                last[dimension] = component
                key = (dimension, component)
                used[key] = used.get(key, ZERO) + quantity
    _round_up_to_steps(used, last)
    return _bill(tariff, used, has_charged)


def energy_bill(tariff: Tariff, energy_kwh: float, idle_s: float) -> Bill | None:
    """
    The bill of a session without a reservation by its totals, in less time than :func:`price`
    takes; None where the tariff looks at more than the energy and the idle time.

    :param idle_s: for how long the car stood there charged, seconds.
    """
    if tariff.energy_price is None:
        return None
    components = {c.dimension: c for element in tariff.elements for c in element.components}
    used = {(ENERGY, components[ENERGY]): Fraction(round(energy_kwh * 10**6), 1000)}
    if idle_s and PARKING_TIME in components:
        used[PARKING_TIME, components[PARKING_TIME]] = Fraction(round(idle_s * 1000), 1000)
    return _bill(tariff, used, has_charged=True)


def energy_total(
    tariff: Tariff, energy_kwh: float, begin: float, seconds: float, zone: tzinfo
) -> Decimal | None:
    """
    What a session costs with VAT in which `energy_kwh` is charged, and nothing else happens; None
    where the tariff looks at more than that, and at the time of day, or another begins in it. It is
    what :func:`price` comes to, in less time.

    :param begin: when it begins, seconds since the epoch.
    :param seconds: how long it takes.
    :param zone: whose local time the tariff's hours and days are.
    """
    price_kwh = tariff.energy_price
    if price_kwh is None:
        if not tariff.energy_by_clock:
            return None
        until, price_kwh = energy_price_at(tariff, begin // STRETCH_S, zone)
        if price_kwh is None or not begin + seconds <= until:
            return None
    return _of_energy(price_kwh, energy_kwh)


@lru_cache(maxsize=1000)
def energy_price_at(
    tariff: Tariff, stretch: float, zone: tzinfo
) -> tuple[float, tuple[int, int] | None]:
    """
    Until when a kWh costs the same from the begin of a stretch on, and how much with VAT: numerator
    and denominator; None where it is free, or changes in the stretch.

    :param tariff: one that looks at nothing but the energy and the time.
    :param stretch: which one of :data:`STRETCH_S` since the epoch.
    """
    begin = stretch * STRETCH_S
    borders = Borders.of(tariff).clock_seconds(begin, Fraction(DAY_S), zone)
    until = begin + float(min(borders, default=DAY_S))
    local = datetime.fromtimestamp(begin, zone)
    ordinary = (e for e in tariff.elements if e.restrictions.reservation is None)
    holding = (e for e in ordinary if holds(e.restrictions, Moment(local, *NOTHING)))
    component = _first(holding, ENERGY)
    if component is None or until < begin + STRETCH_S:
        return until, None
    return until, component.with_vat.as_integer_ratio()


def _of_energy(price_kwh: tuple[int, int], energy_kwh: float) -> Decimal:
    numerator, denominator = price_kwh
    doubled = 200 * round(energy_kwh * 10**6) * numerator
    return Decimal((doubled // (10**6 * denominator) + 1) // 2).scaleb(-2)


def price_of_energy(
    tariff: Tariff, now: float, zone: tzinfo, power_kw: float | None
) -> Fraction | None:
    """
    What a kWh costs with VAT to one who begins to charge; 0 where it is free now, None where it
    never has a price.

    :param now: seconds since the epoch.
    :param zone: as for :func:`price`.
    :param power_kw: with which power one charges; None where unknown.
    """
    elements = [e for e in tariff.elements if e.restrictions.reservation is None]
    if _first(elements, ENERGY) is None:
        return None
    moment = Moment(datetime.fromtimestamp(now, zone), ZERO, ZERO, _figure(power_kw), None)
    component = _first((e for e in elements if holds(e.restrictions, moment)), ENERGY)
    return ZERO if component is None else component.with_vat


def _totals(
    tariff: Tariff, segments: Sequence[Segment]
) -> dict[tuple[str, PriceComponent], Fraction]:
    """The quantities of a session by a tariff of which nothing depends on when, or how fast."""
    components = {c.dimension: c for element in tariff.elements for c in element.components}
    totals: dict[str, int] = {}
    """In mWh, milliseconds and pieces."""
    for segment in segments:
        milliseconds = round(segment.seconds * 1000)
        if segment.kind == "reserved":
            continue
        totals[FLAT] = 1
        if segment.kind == "idle":
            totals[PARKING_TIME] = totals.get(PARKING_TIME, 0) + milliseconds
        else:
            totals[ENERGY] = totals.get(ENERGY, 0) + round(segment.energy_kwh * 10**6)
            totals[TIME] = totals.get(TIME, 0) + milliseconds
    return {
        (dimension, components[dimension]): Fraction(total, 1 if dimension == FLAT else 1000)
        for dimension, total in totals.items()
        if dimension in components
    }


def _bill(
    tariff: Tariff,
    used: Mapping[tuple[str, PriceComponent], Fraction],
    has_charged: bool,
) -> Bill:
    """The bill of quantities, in Wh, seconds and pieces."""
    lines = [_line(dimension, component, q) for (dimension, component), q in used.items() if q]
    # Most bills have one line: to add it to nothing would take as long as all else.
    (excl, incl), *others = [(line.excl_vat, line.incl_vat) for line in lines] or [(ZERO, ZERO)]
    for more, more_incl in others:
        excl, incl = excl + more, incl + more_incl
    limits: list[tuple[str, Limit | None]] = [(MAX_PRICE, tariff.max_price)]
    if has_charged:
        limits.insert(0, (MIN_PRICE, tariff.min_price))
    for name, limit in limits:
        if limit is None:
            continue
        bounded = _bounded(excl, incl, limit, max if name == MIN_PRICE else min)
        if bounded != (excl, incl):
            more, more_incl = bounded[0] - excl, bounded[1] - incl
            lines.append(Line(name, Fraction(1), more, None, 1, more, more_incl))
            excl, incl = bounded
    excl_vat = cents(excl)
    return Bill(tuple(lines), excl, incl, excl_vat, excl_vat if incl is excl else cents(incl))


def cents(amount: Fraction) -> Decimal:
    """An amount with two decimal places, half up."""
    # Halves of cents are exact in whole numbers; a division of decimals would have rounded before.
    numerator, denominator = amount.as_integer_ratio()
    whole = (abs(numerator) * 200 + denominator) // (2 * denominator)
    return Decimal(-whole if numerator < 0 else whole).scaleb(-2)


def _first(elements: Iterable[TariffElement], dimension: str) -> PriceComponent | None:
    for element in elements:
        for component in element.components:
            if component.dimension == dimension:
                return component
    return None


def _for_reservation(tariff: Tariff, outcome: Outcome | None) -> list[TariffElement]:
    """
    The elements for reserved time, in the order in which each dimension looks at them.

    Of a reservation that ran out, prices for that go before the others, wherever they stand: so of
    two FLATs one counts.
    """
    wanted = (RESERVATION_EXPIRES, RESERVATION) if outcome == "expired" else (RESERVATION,)
    return [
        element
        for kind in wanted
        for element in tariff.elements
        if element.restrictions.reservation == kind
    ]


# Pieces


@attrs.frozen
class _Piece:
    """A part of a session in which no restriction begins or ceases to hold."""

    kind: str
    seconds: Fraction
    energy_kwh: Fraction
    moment: Moment
    """In the middle of it."""
    outcome: Outcome | None

    @property
    def reserved(self) -> bool:
        return self.kind == "reserved"

    def quantities(self) -> Iterator[tuple[str, str, Fraction]]:
        """What there is to pay for: dimension, type of the component, and how much (Wh, s)."""
        if self.kind == "reserved":
            yield RESERVATION_TIME, TIME, self.seconds
        elif self.kind == "idle":
            yield PARKING_TIME, PARKING_TIME, self.seconds
        else:
            yield ENERGY, ENERGY, self.energy_kwh * WH
            yield TIME, TIME, self.seconds


def _pieces(segments: Iterable[Segment], borders: Borders, zone: tzinfo) -> Iterator[_Piece]:
    energy, seconds = ZERO, ZERO
    for segment in segments:
        flow = _Flow.of(segment)
        counted = segment.kind != "reserved"
        cuts = {(ZERO, ZERO), (flow.seconds, flow.energy_kwh)}
        cuts |= {
            (at, flow.energy_at(at))
            for at in borders.clock_seconds(segment.start_timestamp, flow.seconds, zone)
        }
        if counted:
            durations = (border - seconds for border in borders.durations_s)
            cuts |= {(at, flow.energy_at(at)) for at in durations if 0 < at < flow.seconds}
            levels = {border - energy for border in borders.energies_kwh}
            levels |= {e for b in borders.powers_kw if (e := flow.energy_at_power(b)) is not None}
            cuts |= {(flow.seconds_at(e), e) for e in levels if 0 < e < flow.energy_kwh}
        # Each by itself: rounding may have put two cuts of nearly one instant in another order.
        times, energies = sorted(at for at, _ in cuts), sorted(e for _, e in cuts)
        for number in range(max(1, len(cuts) - 1)):
            start, end = times[number], times[min(number + 1, len(times) - 1)]
            before, after = energies[number], energies[min(number + 1, len(energies) - 1)]
            middle_s, middle_kwh = (start + end) / 2, (before + after) / 2
            yield _Piece(
                segment.kind,
                end - start,
                after - before,
                Moment(
                    datetime.fromtimestamp(segment.start_timestamp + float(middle_s), zone),
                    energy + middle_kwh if counted else ZERO,
                    seconds + middle_s if counted else ZERO,
                    flow.power_at(middle_kwh),
                    flow.current_a,
                ),
                segment.outcome,
            )
        if counted:
            energy += flow.energy_kwh
            seconds += flow.seconds


@attrs.frozen
class _Flow:
    """How energy flows in one segment; times and energies are counted from its begin."""

    seconds: Fraction
    energy_kwh: Fraction
    from_kw: Fraction | None
    to_kw: Fraction | None
    current_a: Fraction | None

    @classmethod
    def of(cls, segment: Segment) -> _Flow:
        seconds = Fraction(round(segment.seconds * 1000), 1000)
        if segment.kind != "charging":
            return cls(seconds, ZERO, ZERO, ZERO, ZERO)
        energy = Fraction(round(segment.energy_kwh * 10**6), 10**6)
        from_kw, to_kw = _figure(segment.from_kw), _figure(segment.to_kw)
        if from_kw is None or to_kw is None:
            from_kw = to_kw = energy * HOUR_S / seconds if seconds else None
        return cls(seconds, energy, from_kw, to_kw, _figure(segment.current_a))

    @property
    def _growth(self) -> float | None:
        """The logarithm of the power at the end by that at the begin; None: energy flows evenly."""
        if not self.from_kw or not self.to_kw or self.from_kw == self.to_kw:
            return None
        return math.log(self.to_kw / self.from_kw)

    def energy_at(self, seconds: Fraction) -> Fraction:
        if not self.seconds:
            return ZERO
        share = seconds / self.seconds
        growth = self._growth
        if growth is None:
            return self.energy_kwh * share
        part = math.expm1(growth * float(share)) / math.expm1(growth)
        return min(Fraction(round(float(self.energy_kwh) * part * 10**6), 10**6), self.energy_kwh)

    def seconds_at(self, energy_kwh: Fraction) -> Fraction:
        share = energy_kwh / self.energy_kwh
        growth = self._growth
        if growth is None:
            return self.seconds * share
        part = math.log1p(float(share) * math.expm1(growth)) / growth
        return min(Fraction(round(float(self.seconds) * part * 1000), 1000), self.seconds)

    def power_at(self, energy_kwh: Fraction) -> Fraction | None:
        if self.from_kw is None or self.to_kw is None or not self.energy_kwh:
            return self.from_kw
        return self.from_kw + (self.to_kw - self.from_kw) * energy_kwh / self.energy_kwh

    def energy_at_power(self, power_kw: Fraction) -> Fraction | None:
        if self.from_kw is None or self.to_kw is None or self.from_kw == self.to_kw:
            return None
        return self.energy_kwh * (power_kw - self.from_kw) / (self.to_kw - self.from_kw)


def _figure(value: float | None) -> Fraction | None:
    """A power or a current, without what reckoning in floats has added."""
    return None if value is None else Fraction(round(value * 10**6), 10**6)


# Steps, lines, limits


def _round_up_to_steps(
    used: dict[tuple[str, PriceComponent], Fraction], last: dict[str, PriceComponent]
) -> None:
    """
    Have each total paid for in whole blocks, once a session.

    The block, and the price of what it adds, are those of the component active last. Of charging
    and idle time only one is rounded: idle time, wherever it had a price. (OCPI's last word on it,
    for charging behind idle time, names parking alone.) A step of 1 has no blocks: quantities are
    exact.
    """
    for dimension in (ENERGY, RESERVATION_TIME, PARKING_TIME if PARKING_TIME in last else TIME):
        component = last.get(dimension)
        if component is None or component.step_size == 1:
            continue
        total = sum((q for (kind, _), q in used.items() if kind == dimension), ZERO)
        blocks = math.ceil(total / component.step_size)
        used[dimension, component] += blocks * component.step_size - total


def _line(dimension: str, component: PriceComponent, quantity: Fraction) -> Line:
    by_unit = _BY_UNIT.get(dimension, HOUR_S)
    # A division of fractions takes three times as long.
    units = Fraction(quantity.numerator, quantity.denominator * by_unit)
    excl_vat = units * component.price
    with_vat = component.with_vat
    return Line(
        dimension,
        units,
        component.price,
        component.vat,
        component.step_size,
        excl_vat,
        excl_vat if with_vat is component.price else units * with_vat,
    )


_BY_UNIT = {FLAT: 1, ENERGY: WH}


def _bounded(
    excl: Fraction,
    incl: Fraction,
    limit: Limit,
    bound: Callable[[Fraction, Fraction], Fraction],
) -> tuple[Fraction, Fraction]:
    """Both totals, each bounded by its own limit; one without keeps its proportion to the other."""
    bounded = bound(excl, limit.excl_vat)
    if limit.incl_vat is not None:
        return bounded, bound(incl, limit.incl_vat)
    return bounded, incl if bounded == excl else bounded * (incl / excl if excl else Fraction(1))
