"""
How long a car charges, how much it takes, and with which power: in closed form, never in steps.

While a car charges, its power is linear in the energy that it has taken, piece by piece: so a DC
curve is kept (power by state of charge, linear between its points), and so AC is (constant). With
``P`` going from ``P0`` to ``P1`` over an energy ``E``, ``dt = dE / P`` gives

- the time of a piece, ``E ln(P1 / P0) / (P1 - P0)``, and
- after a time ``t``, with ``a = (P1 - P0) / E``: the power ``P0 exp(a t)`` and the energy
  ``P0 (exp(a t) - 1) / a``.

No losses: energy on the meter is energy in the battery.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import attrs

from evcharge.models.electric_car import LEAST_POWER_KW, CarModel

DEFAULT_POWER_KW = 50.0
"""Charging power assumed where neither the station's nor the car's limit is known, kW."""

ONE_PHASE_MOST_KW = 7.4
"""An AC connector of up to this power has one phase where nothing is said of it, else three."""

MOST_RATES = 20_000
"""How many pairs of a model and a supply are remembered with what was worked out for them."""

_EQUAL = 1e-9
"""Powers that differ by less than this part of themselves are one."""

CAR_CURVE = "car_curve"
CAR_LIMIT = "car_limit"
CAR_PHASES = "car_phases"
STATION_POWER = "station_power"
"""What was assumed because it is not known, as replies name it."""


@attrs.frozen
class Piece:
    """A part of a charge in which the power is linear in the energy taken."""

    energy_kwh: float
    from_kw: float
    to_kw: float

    @property
    def seconds(self) -> float:
        """How long it takes."""
        if self.energy_kwh <= 0.0:
            return 0.0
        return 3600.0 * _hours(self.energy_kwh, self.from_kw, self.to_kw)

    def energy_after(self, seconds: float) -> float:
        """The energy taken after `seconds` of it, kWh."""
        hours = seconds / 3600.0
        change = self.to_kw - self.from_kw
        if self.energy_kwh <= 0.0:
            return 0.0
        if abs(change) < _EQUAL * self.from_kw:
            taken = self.from_kw * hours
        else:
            rate = change / self.energy_kwh
            taken = self.from_kw * math.expm1(rate * hours) / rate
        return min(max(taken, 0.0), self.energy_kwh)

    def power_at(self, energy_kwh: float) -> float:
        """The power when `energy_kwh` of it has been taken, kW."""
        if self.energy_kwh <= 0.0:
            return self.to_kw
        return self.from_kw + (self.to_kw - self.from_kw) * (energy_kwh / self.energy_kwh)

    def energy_at(self, power_kw: float) -> float | None:
        """The energy taken when the power is `power_kw`, kWh; None where it never is, or always."""
        change = self.to_kw - self.from_kw
        if change == 0.0:
            return None
        share = (power_kw - self.from_kw) / change
        return self.energy_kwh * share if 0.0 <= share <= 1.0 else None

    def split(self, energy_kwh: float) -> tuple[Piece, Piece]:
        """The part in which the first `energy_kwh` is taken, and what remains."""
        power = self.power_at(energy_kwh)
        return (
            Piece(energy_kwh, self.from_kw, power),
            Piece(self.energy_kwh - energy_kwh, power, self.to_kw),
        )


def _hours(energy_kwh: float, from_kw: float, to_kw: float) -> float:
    change = to_kw - from_kw
    if abs(change) < _EQUAL * from_kw:
        return energy_kwh / from_kw
    return energy_kwh * math.log1p(change / from_kw) / change


@attrs.frozen
class Profile:
    """A charge from its begin to its end: pieces that follow one another."""

    pieces: tuple[Piece, ...] = ()

    @property
    def energy_kwh(self) -> float:
        return math.fsum(piece.energy_kwh for piece in self.pieces)

    @property
    def seconds(self) -> float:
        return math.fsum(piece.seconds for piece in self.pieces)

    @property
    def peak_kw(self) -> float:
        """The highest power in it, kW; 0 where nothing is charged."""
        return max((max(p.from_kw, p.to_kw) for p in self.pieces), default=0.0)

    @property
    def average_kw(self) -> float:
        """Energy by time, kW; 0 where nothing is charged."""
        seconds = self.seconds
        return self.energy_kwh / seconds * 3600.0 if seconds > 0.0 else 0.0

    def energy_after(self, seconds: float) -> float:
        """The energy taken `seconds` after the begin, kWh; after the end all of it."""
        return self.until(seconds).energy_kwh

    def power_after(self, seconds: float) -> float:
        """The power `seconds` after the begin, kW; 0 at the end and after it."""
        return self.after(seconds)[1]

    def after(self, seconds: float) -> tuple[float, float]:
        """The energy taken `seconds` after the begin, kWh, and the power then, kW."""
        energy = 0.0
        for piece in self.pieces:
            length = piece.seconds
            if seconds < length:
                taken = piece.energy_after(seconds)
                return energy + taken, piece.power_at(taken)
            energy += piece.energy_kwh
            seconds -= length
        return energy, 0.0

    def until(self, seconds: float) -> Profile:
        """The charge if it is stopped `seconds` after its begin."""
        return self.split(seconds)[0]

    def split(self, seconds: float) -> tuple[Profile, Profile]:
        """What is charged in the first `seconds`, and what remains; together they are this."""
        left = max(seconds, 0.0)
        for number, piece in enumerate(self.pieces):
            length = piece.seconds
            if left < length:
                before, after = piece.split(piece.energy_after(left))
                first = (
                    (*self.pieces[:number], before)
                    if before.energy_kwh > 0.0
                    else (self.pieces[:number])
                )
                return Profile(first), Profile((after, *self.pieces[number + 1 :]))
            left -= length
        return self, Profile()


@attrs.frozen(cache_hash=True)
class Supply:
    """What a car is charged by: one connector of an EVSE, as far as it matters here."""

    dc: bool
    power_kw: float | None
    """The least of the known powers of EVSE and connector; None where neither is known."""
    phases: int | None = None
    """Of an AC connector; None where unknown, or it is a DC one."""


class Rate:
    """
    How a car charges by a supply: its power at each state of charge.

    :param capacity_kwh: of the battery, kWh.
    :param points: state of charge, per cent, from 0 to 100, and power there, kW, over 0.
    :param assumed: what was not known of car and supply.
    """

    __slots__ = ("_hours", "_kwh_per_percent", "_percents", "_powers", "_target", "assumed")

    def __init__(
        self, capacity_kwh: float, points: Sequence[tuple[float, float]], assumed: tuple[str, ...]
    ) -> None:
        self.assumed = assumed
        self._target = (0.0, 0.0)
        """A state of charge, and the hours to it: nearly all drivers charge to the same one."""
        self._kwh_per_percent = capacity_kwh / 100.0
        self._percents = [percent for percent, _ in points]
        self._powers = [power for _, power in points]
        self._hours = [0.0]
        """At each point, from the first one."""
        for (percent, power), (next_percent, next_power) in pairwise(points):
            energy = (next_percent - percent) * self._kwh_per_percent
            self._hours.append(self._hours[-1] + _hours(energy, power, next_power))

    def power_kw(self, percent: float) -> float:
        """The power at a state of charge, kW."""
        at = self._at(percent)
        return self._power(at, percent)

    def seconds(self, start_percent: float, target_percent: float) -> float:
        """How long it takes from one state of charge to another, 0 where there is nothing to do."""
        start, target = _bounded(start_percent, target_percent)
        if target <= start:
            return 0.0
        known = self._target
        if known[0] != target:
            known = self._target = (target, self._hours_to(target))
        return 3600.0 * (known[1] - self._hours_to(start))

    def peak_kw(self, start_percent: float, target_percent: float) -> float:
        """The highest power from one state of charge to another, 0 where nothing is charged."""
        start, target = _bounded(start_percent, target_percent)
        if target <= start:
            return 0.0
        first, last = self._at(start), self._at(target)
        ends = self._power(first, start), self._power(last, target)
        return max(*ends, *self._powers[first + 1 : last + 1])

    def profile(self, start_percent: float, target_percent: float) -> Profile:
        """The charge from one state of charge to another."""
        start, target = _bounded(start_percent, target_percent)
        if target <= start:
            return Profile()
        first, last = self._at(start), self._at(target)
        knots = [(start, self._power(first, start))]
        knots += [
            (self._percents[at], self._powers[at])
            for at in range(first + 1, last + 1)
            if start < self._percents[at] < target
        ]
        knots.append((target, self._power(last, target)))
        return Profile(
            tuple(
                Piece((to - percent) * self._kwh_per_percent, power, to_power)
                for (percent, power), (to, to_power) in pairwise(knots)
            )
        )

    def chords(self, error_s: float) -> list[tuple[float, float]]:
        """
        Points of the time that it takes from empty, between which a straight line is nowhere more
        than `error_s` off: energies, kWh, and hours.

        Its error is the same for all parts of a piece that take as long as one another.
        """
        found = [(0.0, 0.0)]
        for at, hours in enumerate(self._hours[1:]):
            energy = (self._percents[at + 1] - self._percents[at]) * self._kwh_per_percent
            piece = Piece(energy, self._powers[at], self._powers[at + 1])
            parts = _parts(piece, error_s / 3600.0)
            begin, before = self._percents[at] * self._kwh_per_percent, self._hours[at]
            for part in range(1, parts):
                part_s = piece.seconds * part / parts
                found.append((begin + piece.energy_after(part_s), before + part_s / 3600.0))
            found.append((self._percents[at + 1] * self._kwh_per_percent, hours))
        return found

    def _at(self, percent: float) -> int:
        """The number of the piece in which a state of charge is."""
        return bisect_right(self._percents, percent, 1, len(self._percents) - 1) - 1

    def _power(self, at: int, percent: float) -> float:
        start, end = self._percents[at], self._percents[at + 1]
        from_kw, to_kw = self._powers[at], self._powers[at + 1]
        return from_kw + (to_kw - from_kw) * ((percent - start) / (end - start))

    def _hours_to(self, percent: float) -> float:
        at = bisect_right(self._percents, percent, 1, len(self._percents) - 1) - 1
        energy = (percent - self._percents[at]) * self._kwh_per_percent
        if energy <= 0.0:
            return self._hours[at]
        return self._hours[at] + _hours(energy, self._powers[at], self._power(at, percent))


def _parts(piece: Piece, error_h: float) -> int:
    """In how many parts that take as long a piece is to be cut so that a chord of each is near."""
    change = abs(piece.to_kw - piece.from_kw)
    if piece.energy_kwh <= 0.0 or change < _EQUAL * piece.from_kw:
        return 1
    # In time constants the chord of a part with so much growth, as a logarithm, is off by no more
    # than its square by 8.
    growth, constant_h = math.log(piece.to_kw / piece.from_kw), piece.energy_kwh / change
    return math.ceil(abs(growth) * math.sqrt(constant_h / (8.0 * error_h))) or 1


def _bounded(start_percent: float, target_percent: float) -> tuple[float, float]:
    return (
        start_percent if start_percent > 0.0 else 0.0,
        target_percent if target_percent < 100.0 else 100.0,
    )


@lru_cache(maxsize=MOST_RATES)
def rate_of(model: CarModel, supply: Supply) -> Rate:
    """
    How cars of a model charge by a supply. The caller sees to it that the connector fits.
    """
    return (_dc if supply.dc else _ac)(model, supply)


def _dc(model: CarModel, supply: Supply) -> Rate:
    capacity, limit, power = model.battery_capacity_kwh, model.dc_limit_kw, supply.power_kw
    if model.dc_curve is not None:
        assumed = (CAR_CURVE,) if model.dc_curve_is_default else ()
        return Rate(capacity, _bent(model.dc_curve, least_power(limit, power)), assumed)
    if limit is not None:
        curve = default_curve(limit, model.ac_limit_kw)
        # The limit counts under the floor, too.
        return Rate(capacity, _bent(curve, least_power(limit, power)), (CAR_CURVE,))
    missing = (CAR_LIMIT,) if power is not None else (CAR_LIMIT, STATION_POWER)
    return Rate(capacity, _flat(DEFAULT_POWER_KW if power is None else power), missing)


def default_curve(dc_limit_kw: float, ac_limit_kw: float | None) -> list[tuple[float, float]]:
    """
    The shape of a car's DC curve of which only the highest power is known.

    It is the default shape of Chargeprice's data set of electric vehicles: nearly all of the power
    to 75 %, then falling to what the onboard charger takes.
    """
    last = ac_limit_kw if ac_limit_kw is not None and ac_limit_kw <= dc_limit_kw else None
    return [
        (0.0, 0.95 * dc_limit_kw),
        (75.0, dc_limit_kw),
        (100.0, 0.1 * dc_limit_kw if last is None else last),
    ]


def _ac(model: CarModel, supply: Supply) -> Rate:
    limit, power = model.ac_limit_kw, supply.power_kw
    assumed = [] if limit is not None else [CAR_LIMIT]
    if power is None:
        gives = None
        if limit is None:
            assumed.append(STATION_POWER)
    else:
        phases = supply.phases or (1 if power <= ONE_PHASE_MOST_KW else 3)
        if model.ac_phases is None:
            assumed.append(CAR_PHASES)
        gives = power / phases * min(phases, model.ac_phases or phases)
    found = least_power(gives, limit)
    points = _flat(DEFAULT_POWER_KW if found is None else found)
    return Rate(model.battery_capacity_kwh, points, tuple(assumed))


def least_power(*powers: float | None) -> float | None:
    """The least of those powers that are known; None where none is."""
    return min((power for power in powers if power is not None), default=None)


def _flat(power_kw: float) -> list[tuple[float, float]]:
    return [(0.0, power_kw), (100.0, power_kw)]


def _bent(curve: Iterable[tuple[float, float]], cap_kw: float | None) -> list[tuple[float, float]]:
    """A curve between the floor of 1 kW and the cap, with a point wherever it meets one of them."""
    cap = math.inf if cap_kw is None else cap_kw
    points: list[tuple[float, float]] = []
    for percent, power in _crossings(list(curve), (LEAST_POWER_KW, cap)):
        point = (percent, min(cap, max(power, LEAST_POWER_KW)))
        if not points or point[0] > points[-1][0]:
            points.append(point)
    return points


def _crossings(
    curve: Sequence[tuple[float, float]], levels: Iterable[float]
) -> Iterator[tuple[float, float]]:
    """The points of a curve, and those between them where it crosses a level."""
    levels = [level for level in levels if math.isfinite(level)]
    for (percent, power), (next_percent, next_power) in pairwise(curve):
        yield percent, power
        low, high = sorted((power, next_power))
        crossed = [
            (percent + (next_percent - percent) * (level - power) / (next_power - power), level)
            for level in levels
            if low < level < high
        ]
        yield from sorted(crossed)
    yield curve[-1]
