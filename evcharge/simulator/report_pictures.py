"""Which pictures the report has of a study, with what is said of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from evcharge.outcomes import Phrase
from evcharge.simulator import pictures
from evcharge.simulator import report_words as say
from evcharge.simulator.pictures import About, Bar, Dot, Line, Panel, Row
from evcharge.simulator.replication import NETWORK, DriverRecord
from evcharge.simulator.report_tables import HOURLY, STATIONS, VARIANTS, Table
from evcharge.simulator.report_view import View
from evcharge.simulator.statistics import Interval
from evcharge.simulator.summaries import (
    by_hour,
    differences,
    first_hour,
    first_shown,
    is_folded,
    summary,
    waiting_longer,
)
from evcharge.simulator.words import (
    FIGURES,
    KWH,
    MONEY,
    SHARE,
    number,
    with_interval,
    written,
)
from evcharge.utils.time_utils import DAY_S, HOUR_S

WAITS, GANTT = "waits", "gantt"
"""What tables are called inside a page, that two of the pictures have."""

MINUTES = tuple(range(0, 241))
"""For which the share is shown of those who waited longer."""

TOLD = (0, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240)
"""Those of them that the table has."""


@attrs.frozen
class Picture:
    """An SVG element, and what stands about it."""

    title: str
    svg: str
    said: str
    behind: str
    """The name of the table behind it."""
    table: Table | None = None
    """That one, where no other picture has it too."""


def all_pictures(view: View) -> Sequence[Picture]:
    """
    Those that there is something to show in, in order.

    :raise StudyError: a replication cannot be read any more.
    """
    each: Sequence[Callable[[View], Picture | None]] = (
        *(_sweep, _apart, _hours, _waits, _stations, _map, _gantt),
    )
    return [picture for draw in each if (picture := draw(view)) is not None]


def _about(view: View, name: str, alt: str) -> About:
    return About(name, alt, view.language)


def _line(name: str, of: Sequence[Interval]) -> Line:
    low = [max(0.0, found.low) for found in of]
    return Line(name, [found.mean for found in of], low, [found.high for found in of])


def _hours(view: View) -> Picture | None:
    study = view.study
    if len(study.results) == 1:
        names = (("born", say.BORN), ("served", say.SERVED), ("lost", say.LOST_ONES))
        of = [(0, figure, view.say(phrase)) for figure, phrase in names]
        title = say.PER_HOUR
    else:
        of = [(variant, "lost", view.name(variant)) for variant in view.shown]
        title = say.LOST_PER_HOUR
    rows = [(title, of)] + [
        (phrase, [(variant, figure, view.name(variant)) for variant in view.shown])
        for figure, phrase in (("kwh", say.MEAN_KW), ("queue", say.MEAN_QUEUE))
    ]
    shown = []
    for phrase, row in rows:
        found = [(name, by_hour(study, v, NETWORK, figure)) for v, figure, name in row]
        lines = [_line(name, values) for name, values in found if values]
        if lines:
            shown.append(Panel(view.say(phrase), lines))
    if not shown:
        return None
    count = min(len(line.values) for panel in shown for line in panel.lines)
    at = [first_shown(study) + hour + 0.5 for hour in range(count)]
    said = view.say(say.HOURS_SAID, confidence=view.per_cent)
    tops = [
        view.say(
            say.AT_MOST,
            panel=panel.title,
            line=line.name,
            value=number(max(line.values), view.language, 1),
            hour=int(at[line.values.index(max(line.values))]) % 24,
        )
        for panel in shown
        for line in panel.lines
    ]
    alt = view.say(say.HOURS_ALT, panels="; ".join(tops))
    svg = pictures.panels(shown, at, view.say(say.HOUR), _about(view, "hours", alt))
    said += view.say(say.DAY_MEAN) if is_folded(study) else ""
    return Picture(view.say(say.HOURS), svg, said, HOURLY)


def _waits(view: View) -> Picture | None:
    if not view.study.plan.has_drivers:
        return None
    waited = {
        view.name(variant): found
        for variant in view.shown
        if (found := waiting_longer(view.study, variant, MINUTES)) is not None
    }
    lines = [_line(name, found) for name, found in waited.items() if found[0].mean > 0.0]
    if not lines:
        return None
    # Where nobody waited any more there is nothing to see.
    most = max(number for line in lines for number, value in enumerate(line.values) if value > 0.0)
    count = min(len(MINUTES), most + 2)
    cut = [
        Line(line.name, line.values[:count], line.low[:count], line.high[:count]) for line in lines
    ]
    told = [
        view.say(say.WAITS_ALT, line=name, share=share, minutes=minutes)
        for name, found in waited.items()
        for minutes in (0, 10, 30)
        for share in (written(found[minutes].mean, SHARE, view.language),)
    ]
    alt = "; ".join(told) + "."
    svg = pictures.survival(
        cut, MINUTES[:count], view.say(say.MINUTES_WAITED), _about(view, "waits", alt)
    )
    table = _waits_table(view, waited)
    return Picture(view.say(say.WAITS), svg, view.say(say.WAITS_SAID), WAITS, table)


def _waits_table(view: View, waited: Mapping[str, Sequence[Interval]]) -> Table:
    heads = [view.say(say.VARIANT)]
    heads += [view.say(say.WAITS_LONGER, minutes=minutes) for minutes in TOLD]
    rows = [
        [name, *(with_interval(found[minutes], SHARE, view.language) for minutes in TOLD)]
        for name, found in waited.items()
    ]
    return Table(WAITS, view.say(say.WAITS), heads, rows)


def _of_stations(view: View, figure: str) -> dict[str, float]:
    """A figure's mean for each station that has one, in the variant that is shown."""
    plan = view.study.plan
    results = view.study.results[view.chosen]
    found = {
        place.key: summary(results, place.key, figure, plan.confidence)
        for place in view.places
        if place.kind == "station"
    }
    return {key: value.mean for key, value in found.items() if value is not None}


def _stations(view: View) -> Picture | None:
    used, lost = _of_stations(view, "utilisation"), _of_stations(view, "lost_share")
    kwh, born = _of_stations(view, "kwh"), _of_stations(view, "born")
    most = max(kwh.values(), default=0.0)
    names = {place.key: place.name for place in view.places}
    both = [key for key in used if key in lost and key in kwh]
    if not both or not most:
        return None
    language = view.language
    dots = [
        Dot(
            names[key],
            100 * used[key],
            100 * lost[key],
            kwh[key] / most,
            rank=lost[key] * born.get(key, 0.0),
            told=f"{names[key]}: {written(used[key], SHARE, language)}, "
            f"{written(lost[key], SHARE, language)}, {number(kwh[key], language, 0)} kWh",
        )
        for key in both
    ]
    x, y = (
        f"{FIGURES[figure].phrase.say(language)}, %" for figure in ("utilisation", "lost_share")
    )
    top = max(both, key=lambda key: used[key])
    alt = view.say(
        say.STATIONS_ALT,
        n=len(both),
        most=names[top],
        used=written(used[top], SHARE, language),
    )
    svg = pictures.dots(dots, x, y, _about(view, "stations", alt))
    return Picture(_titled(view, say.STATIONS), svg, view.say(say.STATIONS_SAID), STATIONS)


def _titled(view: View, phrase: Phrase, **values: object) -> str:
    title = view.say(phrase, **values)
    if len(view.study.results) == 1:
        return title
    return f"{title}, {view.say(say.OF, setting=view.name(view.chosen))}"


def _map(view: View) -> Picture | None:
    born, lost = _of_stations(view, "born"), _of_stations(view, "lost")
    most = max(born.values(), default=0.0)
    there = [
        place
        for place in view.places
        if born.get(place.key) and place.latitude is not None and place.longitude is not None
    ]
    if len(there) < 2:
        return None
    dots = []
    for place in there:
        count, gone = born[place.key], lost.get(place.key, 0.0)
        told = f"{place.name}: {number(count, view.language, 1)} {view.say(say.BORN)}"
        told += f", {number(gone, view.language, 1)} {view.say(say.LOST_ONES)}"
        where = (place.longitude or 0.0, place.latitude or 0.0)
        dots.append(Dot(place.name, *where, count / most, gone / count, told, gone))
    top = max(there, key=lambda place: lost.get(place.key, 0.0))
    worst = number(lost.get(top.key, 0.0), view.language, 1)
    alt = view.say(say.MAP_ALT, n=len(there), most=top.name, lost=worst)
    axes = (view.say(say.LONGITUDE), view.say(say.LATITUDE))
    legend = (view.say(say.BORN), view.say(say.LOST_ONES))
    svg = pictures.dots(dots, *axes, _about(view, "map", alt), legend=legend, as_map=True)
    return Picture(_titled(view, say.MAP), svg, view.say(say.MAP_SAID), STATIONS)


def _sweep(view: View) -> Picture | None:
    plan = view.study.plan
    if len(plan.variants) == 1:
        return None
    rows = []
    for variant, results in enumerate(view.study.results):
        found = summary(results, NETWORK, "lost_share", plan.confidence)
        if found is not None:
            rows.append(_row(view, variant, found))
    if not rows:
        return None
    alt = "; ".join(row.told for row in rows)
    svg = pictures.points(rows, view.say(say.LOST_PER_CENT), _about(view, "sweep", alt))
    said = view.say(say.SWEEP_SAID, confidence=view.per_cent)
    return Picture(view.say(say.SWEEP), svg, said, VARIANTS)


def _row(view: View, variant: int, found: Interval, signed: bool = False) -> Row:
    name = view.name(variant)
    told = f"{name}: {with_interval(found, SHARE, view.language, signed)}"
    return Row(name, 100 * found.mean, 100 * found.low, 100 * found.high, told)


def _apart(view: View) -> Picture | None:
    rows = [
        _row(view, variant, found, signed=True)
        for variant, found in enumerate(differences(view.study, NETWORK, "lost_share"), 1)
        if found is not None and found.half_width is not None
    ]
    if not rows:
        return None
    alt = "; ".join(row.told for row in rows)
    svg = pictures.points(rows, view.say(say.LOST_POINTS), _about(view, "apart", alt), zero=True)
    phrase = say.APART_UNLIKE if view.study.unlike else say.APART_SAID
    said = view.say(phrase, confidence=view.per_cent)
    return Picture(view.say(say.APART, first=view.name(0)), svg, said, VARIANTS)


def _gantt(view: View) -> Picture | None:
    results = view.study.results[view.chosen]
    if not view.study.plan.has_drivers or not results:
        return None
    begin = view.study.plan.warm_up_hours * HOUR_S
    drivers = [
        driver
        for driver in view.study.drivers(view.chosen, results[0].number)
        if driver.charging is not None
        and driver.evse is not None
        and begin <= driver.charging < begin + DAY_S
    ]
    counted: dict[str, int] = {}
    for driver in drivers:
        if driver.station is not None:
            counted[driver.station] = counted.get(driver.station, 0) + 1
    if not counted:
        return None
    station = max(counted, key=lambda key: counted[key])
    those = [driver for driver in drivers if driver.station == station]
    evses = sorted({driver.evse or "" for driver in those}, key=lambda name: (len(name), name))
    bars: list[Bar] = []
    for driver in those:
        row = evses.index(driver.evse or "")
        bars += _bars(view, driver, row, begin)
    name = next(
        (each.name for each in results[0].places if each.key == f"station:{station}"), station
    )
    alt = view.say(say.GANTT_ALT, sessions=len(those), evses=len(evses), station=name)
    legend = (view.say(say.CHARGING), view.say(say.IDLE))
    about = _about(view, "gantt", alt)
    first = first_hour(view.study)
    svg = pictures.bars(evses, bars, legend, (first, first + 24), view.say(say.HOUR), about)
    title = _titled(view, say.GANTT, station=name)
    table = _sessions(view, title, those)
    return Picture(title, svg, view.say(say.GANTT_SAID), GANTT, table)


def _sessions(view: View, title: str, those: Sequence[DriverRecord]) -> Table:
    begin = datetime.fromisoformat(view.study.plan.start)

    def at(instant: float | None) -> str:
        if instant is None:
            return "–"
        return (begin + timedelta(seconds=round(instant))).strftime("%H:%M")

    heads = (say.EVSE, say.FROM, say.UNTIL, say.LEFT, say.CAR, say.ENERGY, say.PAID)
    rows = [
        [
            *(each.evse or "", at(each.charging), at(each.ended), at(each.left), each.car),
            *(written(each.kwh, KWH, view.language), written(each.paid, MONEY, view.language)),
        ]
        for each in those
    ]
    return Table(GANTT, title, [view.say(head) for head in heads], rows)


def _bars(view: View, driver: DriverRecord, row: int, begin: float) -> Sequence[Bar]:
    def hour(instant: float) -> float:
        return first_hour(view.study) + (instant - begin) / HOUR_S

    charging, ended, left = driver.charging or 0.0, driver.ended, driver.left
    if ended is None:
        return []
    told = f"{driver.car}, {written(driver.kwh, KWH, view.language)}"
    bars = [Bar(row, hour(charging), hour(ended), 0, told)]
    if left is not None and left > ended:
        bars.append(Bar(row, hour(ended), hour(left), 1, driver.car))
    return bars
