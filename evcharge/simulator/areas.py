"""
What is counted of a place in a run: areas under what stands, energy by the quarter hour, money.

Nothing is sampled: each area is an integral, exact, from event to event.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, MutableSequence
from decimal import Decimal

import attrs

from evcharge.models.charging import Profile
from evcharge.models.receipts import NOTHING
from evcharge.models.session import CHARGING
from evcharge.utils.time_utils import HOUR_S

QUARTER_S = 900.0


class Broken(Exception):
    """An invariant does not hold: there is a fault in the engine, or in the simulator."""


@attrs.frozen
class Window:
    """What counts, seconds since the epoch."""

    begin: float
    end: float

    @property
    def hours(self) -> int:
        """How many whole hours it has."""
        return int((self.end - self.begin) / HOUR_S)

    def part(self, begin: float, end: float) -> float:
        """How much of a span lies in it, seconds."""
        return max(0.0, min(end, self.end) - max(begin, self.begin))

    def hour(self, at: float) -> int | None:
        """In which of its whole hours an instant is; None: in none."""
        number = math.floor((at - self.begin) / HOUR_S)
        return number if 0 <= number < self.hours else None


@attrs.define(eq=False)
class Area:
    """How much of something there is, and the integral of that over the window."""

    window: Window
    value: int = 0
    since: float = 0.0
    total: float = 0.0
    """Times seconds."""
    most: int = 0
    """In the window."""
    by_hour: MutableSequence[float] | None = None

    def add(self, by: int, at: float) -> None:
        """There is so much more from an instant on, which may be a little before the last one."""
        if at < self.since:
            self._count(by, at, self.since)
        self.settle(at)
        self.value += by
        if self.value < 0:
            raise Broken(f"there is less than nothing of something: {self.value}")
        if self.value > self.most and self.window.begin <= at < self.window.end:
            self.most = self.value

    def settle(self, at: float) -> None:
        """Take in the time until an instant."""
        begin, self.since = self.since, max(at, self.since)
        if self.value and at > begin:
            if self.window.part(begin, at):
                self.most = max(self.most, self.value)
            self._count(self.value, begin, at)

    def _count(self, value: int, begin: float, end: float) -> None:
        self.total += value * self.window.part(begin, end)
        if self.by_hour is not None:
            for hour, seconds in _cut(self.window, begin, end, HOUR_S, len(self.by_hour)):
                self.by_hour[hour] += value * seconds


def _zeros(number: int) -> array[float]:
    return array("d", bytes(8 * number))


def _cut(
    window: Window, begin: float, end: float, span: float, most: int
) -> Iterable[tuple[int, float]]:
    """The parts of a time in each span of the window, by the number of the span."""
    number = max(0, math.floor((begin - window.begin) / span))
    while number < most:
        from_, to = window.begin + number * span, window.begin + (number + 1) * span
        if from_ >= end:
            return
        yield number, min(end, to) - max(begin, from_)
        number += 1


RESERVING = "reserving"
"""What is offered or kept for somebody, and stands empty."""
QUEUE, IDLE, OUT, EVSES = "queue", "idle", "out", "evses"
AREAS = (QUEUE, RESERVING, CHARGING, IDLE, OUT, EVSES)


@attrs.define(eq=False)
class Seen:
    """What is seen of a station, or of all of them."""

    window: Window
    areas: dict[str, Area] = attrs.field(init=False)
    by_hour_kwh: array[float] = attrs.field(init=False)
    by_hour_revenue: array[float] = attrs.field(init=False)
    """What receipts came to that were issued in each hour, BRL."""
    quarters: array[float] = attrs.field(init=False)
    """Energy by the quarter of an hour of the window, kWh."""
    kwh: float = 0.0
    sessions: int = 0
    """Charges that have begun in the window."""
    revenue: Decimal = NOTHING
    refunds: Decimal = NOTHING

    @areas.default
    def _areas(self) -> dict[str, Area]:
        found = {name: Area(self.window, since=self.window.begin) for name in AREAS}
        for name in (QUEUE, CHARGING):
            found[name].by_hour = _zeros(self.window.hours)
        return found

    @by_hour_kwh.default
    def _by_hour_kwh(self) -> array[float]:
        return _zeros(self.window.hours)

    @by_hour_revenue.default
    def _by_hour_revenue(self) -> array[float]:
        return _zeros(self.window.hours)

    @quarters.default
    def _quarters(self) -> array[float]:
        return _zeros(math.ceil((self.window.end - self.window.begin) / QUARTER_S))

    def charge(self, profile: Profile, begin: float, seconds: float) -> float:
        """Take in what was charged of a profile in so many seconds; all of that, kWh."""
        window, hours = self.window, len(self.by_hour_kwh)
        end = begin + seconds
        number = math.floor((begin - window.begin) / QUARTER_S)
        taken, total = 0.0, profile.energy_after(seconds)
        while taken < total:
            to = window.begin + (number + 1) * QUARTER_S
            until = total if to >= end else profile.energy_after(to - begin)
            energy, taken = until - taken, until
            if 0 <= number < len(self.quarters):
                self.kwh += energy
                self.quarters[number] += energy
                if number // 4 < hours:
                    self.by_hour_kwh[number // 4] += energy
            if to >= end:
                break
            number += 1
        return total

    def bill(self, total: Decimal, at: float) -> None:
        """Take in a receipt that is issued at an instant, BRL."""
        hour = self.window.hour(at)
        if hour is not None:
            self.by_hour_revenue[hour] += float(total)

    @property
    def peak(self) -> tuple[float, float] | None:
        """The greatest mean power over a quarter of an hour, kW, and when it began, hours from the
        begin of the window; None: nothing was charged."""
        kwh = max(self.quarters, default=0.0)
        return (kwh * 4.0, self.quarters.index(kwh) / 4.0) if kwh else None


def figures(seen: Seen) -> Mapping[str, float | None]:
    """The figures of a station, or of all, that events tell."""
    window = seen.window
    length = window.end - window.begin
    areas = {name: area.total for name, area in seen.areas.items()}
    evses, in_service = areas[EVSES], areas[EVSES] - areas[OUT]
    peak = seen.peak

    def share(area: float, of: float) -> float | None:
        return area / of if of > 0.0 else None

    held = areas[RESERVING] + areas[CHARGING] + areas[IDLE]
    return {
        "queue_mean": areas[QUEUE] / length,
        "queue_most": float(seen.areas[QUEUE].most),
        "occupancy": share(held, evses),
        "reserved_share": share(areas[RESERVING], evses),
        "idle_share": share(areas[IDLE], evses),
        "out_of_service_share": share(areas[OUT], evses),
        "utilisation": share(areas[CHARGING], in_service),
        "kwh": seen.kwh,
        "revenue": float(seen.revenue),
        "refunds": float(seen.refunds),
        "price_kwh": share(float(seen.revenue), seen.kwh),
        "peak_kw": 0.0 if peak is None else peak[0],
        "peak_at": None if peak is None else peak[1],
        "sessions": float(seen.sessions),
        "power_kw": share(seen.kwh * HOUR_S, areas[CHARGING]),
    }


def hours(seen: Seen) -> Mapping[str, tuple[float, ...]]:
    """What events tell of each hour."""
    queue, charging = (seen.areas[name].by_hour or [] for name in (QUEUE, CHARGING))
    return {
        "kwh": tuple(seen.by_hour_kwh),
        "queue": tuple(area / HOUR_S for area in queue),
        "charging": tuple(area / HOUR_S for area in charging),
        "revenue": tuple(round(total, 2) for total in seen.by_hour_revenue),
    }
