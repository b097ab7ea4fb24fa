"""When the restrictions of a tariff hold, and where in a session that may change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from fractions import Fraction

import attrs

from evcharge.models.tariffs.objects import Restrictions, Tariff

DAY_S = 86400
MIDNIGHT = time(0, 0)


@attrs.frozen
class Moment:
    """All that restrictions may look at; None where it is not known."""

    local: datetime
    energy_kwh: Fraction
    """Since charging began."""
    seconds: Fraction
    """Since charging began, idle time included, a reservation not."""
    power_kw: Fraction | None
    current_a: Fraction | None


def holds(restrictions: Restrictions, moment: Moment) -> bool:
    """Whether all restrictions hold at a moment; one on what is not known does not."""
    r = restrictions
    return (
        _between(moment.energy_kwh, r.min_kwh, r.max_kwh)
        and _between(moment.seconds, r.min_duration, r.max_duration)
        and _between(moment.power_kw, r.min_power, r.max_power)
        and _between(moment.current_a, r.min_current, r.max_current)
        and (r.day_of_week is None or moment.local.weekday() in r.day_of_week)
        and (r.start_date is None or r.start_date <= moment.local.date())
        and (r.end_date is None or moment.local.date() < r.end_date)
        and _in_hours(moment.local.time(), r.start_time, r.end_time)
    )


def _between(value: Fraction | None, least: Fraction | None, most: Fraction | None) -> bool:
    if least is None and most is None:
        return True
    if value is None:
        return False
    return (least is None or least <= value) and (most is None or value < most)


def _in_hours(now: time, start: time | None, end: time | None) -> bool:
    if start is None and end is None:
        return True
    start = MIDNIGHT if start is None else start
    if end is None or end == MIDNIGHT:
        # To the end of the day; with a start at midnight that is all of it.
        return start <= now
    if start == end:
        return True
    if start < end:
        return start <= now < end
    return start <= now or now < end


@attrs.frozen
class Borders:
    """Where the restrictions of a tariff may begin or cease to hold."""

    clock: frozenset[time]
    """Local times of day."""
    energies_kwh: frozenset[Fraction]
    durations_s: frozenset[Fraction]
    powers_kw: frozenset[Fraction]

    @classmethod
    def of(cls, tariff: Tariff) -> Borders:
        """Those of all elements of a tariff."""
        all_of = [element.restrictions for element in tariff.elements]
        clock = {t for r in all_of for t in (r.start_time, r.end_time) if t is not None}
        if clock or any(r.day_of_week or r.start_date or r.end_date for r in all_of):
            clock.add(MIDNIGHT)
        return cls(
            frozenset(clock),
            _known(f for r in all_of for f in (r.min_kwh, r.max_kwh)),
            _known(f for r in all_of for f in (r.min_duration, r.max_duration)),
            _known(f for r in all_of for f in (r.min_power, r.max_power)),
        )

    def clock_seconds(
        self, start_timestamp: float, seconds: Fraction, zone: tzinfo
    ) -> set[Fraction]:
        """When, in so many seconds from a start, a local border is crossed; seconds from there."""
        if not self.clock or seconds <= 0:
            return set()
        end = start_timestamp + float(seconds)
        instants = set(_changes_of_offset(start_timestamp, end, zone))
        for day in _days(start_timestamp, end, zone):
            for at in self.clock:
                # A time that comes twice is two borders; one that does not come is none, and a cut
                # too many where nothing changes does no harm.
                for fold in (0, 1):
                    instants.add(datetime.combine(day, at, zone).replace(fold=fold).timestamp())
        return {
            Fraction(round((instant - start_timestamp) * 1000), 1000)
            for instant in instants
            if start_timestamp < instant < end
        }


def _known(figures: Iterable[Fraction | None]) -> frozenset[Fraction]:
    return frozenset(figure for figure in figures if figure is not None)


def _days(start: float, end: float, zone: tzinfo) -> Iterator[date]:
    day = datetime.fromtimestamp(start, zone).date()
    last = datetime.fromtimestamp(end, zone).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


def _changes_of_offset(start: float, end: float, zone: tzinfo) -> Iterator[float]:
    """The instants at which the zone's clocks are put forward or back."""
    low = start
    while low < end:
        high = min(low + DAY_S, end)
        if _offset(low, zone) != _offset(high, zone):
            before, after = low, high
            while after - before > 0.0005:
                middle = (before + after) / 2
                if _offset(middle, zone) == _offset(low, zone):
                    before = middle
                else:
                    after = middle
            # Clocks are changed at whole seconds.
            yield float(round(after))
        low = high


def _offset(instant: float, zone: tzinfo) -> timedelta | None:
    return datetime.fromtimestamp(instant, timezone.utc).astimezone(zone).utcoffset()
