"""What a study came to: each figure over its replications, and how variants differ. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from evcharge.simulator.replication import LOST, NETWORK, DriverRecord, Place, Replication
from evcharge.simulator.statistics import (
    BATCHES,
    Batches,
    Interval,
    batch_means,
    difference,
    interval,
)
from evcharge.simulator.study import Study

HOURS = ("born", "served", "lost", "kwh", "queue", "charging", "revenue")
"""What there is of each hour."""

MOST_HOURS = 48
"""That are shown one by one."""


def places(study: Study) -> Sequence[Place]:
    """All places that there are figures of, in order; each as the first variant has it."""
    found: dict[str, Place] = {}
    for results in study.results:
        for place in results[0].places if results else ():
            found.setdefault(place.key, place)
    return list(found.values())


def values(results: Sequence[Replication], place: str, figure: str) -> dict[int, float]:
    """A figure of a place by the number of the replication, where there is one."""
    found = ((each.number, each.figures.get(place, {}).get(figure)) for each in results)
    return {number: value for number, value in found if value is not None}


def summary(
    results: Sequence[Replication], place: str, figure: str, confidence: float
) -> Interval | None:
    """A figure of a place over the replications; None where no replication has one."""
    found = [*values(results, place, figure).values()]
    return interval(found, confidence) if found else None


def differences(study: Study, place: str, figure: str) -> Sequence[Interval | None]:
    """
    By how much each variant but the first has more of a figure than the first one, in pairs of the
    same replication; all of these intervals hold at once with the study's confidence.
    """
    base, *others = (values(results, place, figure) for results in study.results)
    found: list[Interval | None] = []
    for other in others:
        both = [number for number in base if number in other]
        pairs = [base[number] for number in both], [other[number] for number in both]
        found.append(
            difference(*pairs, study.plan.confidence, comparisons=len(others)) if both else None
        )
    return found


def first_hour(study: Study) -> int:
    """Of the day, the one in which the window begins."""
    begin = datetime.fromisoformat(study.plan.start) + timedelta(hours=study.plan.warm_up_hours)
    return begin.hour


def first_shown(study: Study) -> int:
    """Of the day, the hour that the first value of :func:`by_hour` is of."""
    return 0 if is_folded(study) else first_hour(study)


def is_folded(study: Study) -> bool:
    """Whether hours are those of the day, on the mean of all days: the window is long."""
    plan = study.plan
    return 24 * plan.days - plan.warm_up_hours > MOST_HOURS


def by_hour(study: Study, variant: int, place: str, figure: str) -> Sequence[Interval]:
    """
    A figure of a place in each hour of the window, over the replications; or of the day, see
    :func:`is_folded`.
    """
    first, folded = first_hour(study), is_folded(study)
    rows = []
    for each in study.results[variant]:
        hours = each.hours.get(place, {}).get(figure, ())
        if hours and folded:
            days = [hours[(hour - first) % 24 :: 24] for hour in range(24)]
            hours = tuple(math.fsum(day) / len(day) for day in days)
        if hours:
            rows.append(hours)
    return [interval(hour, study.plan.confidence) for hour in zip(*rows, strict=True)]


def is_counted(study: Study, driver: DriverRecord) -> bool:
    """Whether a driver was born in the window: nobody is after it, be its last day of 25 hours."""
    return driver.born >= study.plan.warm_up_hours * 3600.0


def waiting_longer(
    study: Study, variant: int, minutes: Sequence[float]
) -> Sequence[Interval] | None:
    """
    Which share of those who came to charge waited longer than each number of minutes, over the
    replications; None where drivers were not kept, or nobody came.
    """
    rows = []
    for each in study.results[variant]:
        waits = sorted(
            driver.waited / 60.0
            for driver in study.drivers(variant, each.number)
            if driver.arrived is not None and is_counted(study, driver)
        )
        if waits:
            rows.append([1.0 - bisect_right(waits, most) / len(waits) for most in minutes])
    if not rows:
        return None
    return [interval(column, study.plan.confidence) for column in zip(*rows, strict=True)]


def steady(study: Study, variant: int) -> Mapping[str, Batches]:
    """
    What the batches of one long run say of the steady state: of drivers, in the order in which they
    come, and of hours. Empty where there are several replications, or no warm-up.
    """
    plan, results = study.plan, study.results[variant]
    if plan.replications > 1 or not plan.warm_up_hours or not results:
        return {}
    drivers = sorted(
        (each for each in study.drivers(variant, results[0].number) if is_counted(study, each)),
        key=lambda driver: driver.born,
    )
    hours = results[0].hours.get(NETWORK, {})
    found: dict[str, Sequence[float]] = {
        "lost_share": [float(driver.outcome in LOST) for driver in drivers],
        "wait_mean": [driver.waited / 60.0 for driver in drivers if driver.arrived is not None],
        **{name: hours.get(name, ()) for name in ("kwh", "queue", "charging")},
    }
    return {
        name: batch_means(values, plan.confidence)
        for name, values in found.items()
        if len(values) >= BATCHES
    }
