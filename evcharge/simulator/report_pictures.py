"""Which pictures the report has of a study, with what is said of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import attrs

from evcharge.outcomes import Phrase
from evcharge.simulator import pictures
from evcharge.simulator import report_words as say
from evcharge.simulator.pictures import Bar, Dot, Line, Panel, Row
from evcharge.simulator.replication import NETWORK, DriverRecord
from evcharge.simulator.statistics import Interval
from evcharge.simulator.study import Study
from evcharge.simulator.summaries import (
    by_hour,
    differences,
    first_hour,
    first_shown,
    is_folded,
    places,
    summary,
    waiting_longer,
)
from evcharge.simulator.words import (
    FIGURES,
    SHARE,
    number,
    per_cent,
    setting,
    with_interval,
    written,
)

MOST_LINES = len(pictures.SERIES)
"""Variants whose lines a picture has: the first ones, and the last one."""

MINUTES = tuple(range(0, 241, 2))
"""For which the share is shown of those who waited longer."""

POINT = re.compile(r">(−?\d+)\.(\d+(?: %)?)<")
"""In a text that is a number."""

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


@attrs.frozen
class Picture:
    """An SVG element, and what stands about it."""

    title: str
    svg: str
    said: str


@attrs.frozen
class Drawn:
    """What all pictures of a report are drawn by."""

    study: Study
    language: str
    chosen: int
    """The variant that the report is about, beside the first."""

    def say(self, phrase: Phrase, **values: object) -> str:
        """A text in the report's language."""
        return phrase.say(self.language, values)

    def name(self, variant: int) -> str:
        """What a variant is called."""
        return setting(self.study.plan.variants[variant].settings, self.language)

    def per_cent(self) -> str:
        """The confidence: `95`."""
        return per_cent(self.study.plan.confidence, self.language)

    def shown(self) -> Sequence[int]:
        """The variants that have lines of their own."""
        of = range(len(self.study.results))
        return of if len(of) <= MOST_LINES else [*of[: MOST_LINES - 1], of[-1]]


def all_pictures(study: Study, language: str, chosen: int) -> Sequence[Picture]:
    """
    Those that there is something to show in, in order.

    :param chosen: the variant that is shown beside the first.
    :raise StudyError: a replication cannot be read any more.
    """
    drawn = Drawn(study, language, chosen)
    each: Sequence[Callable[[Drawn], Picture | None]] = (
        *(_sweep, _apart, _hours, _waits, _stations, _map, _gantt),
    )
    found = [picture for draw in each if (picture := draw(drawn)) is not None]
    if language == "pt":
        # Numbers at the axes are matplotlib's, which has no languages.
        return [attrs.evolve(each, svg=POINT.sub(r">\1,\2<", each.svg)) for each in found]
    return found


def _line(name: str, of: Sequence[Interval]) -> Line:
    low = [max(0.0, found.low) for found in of]
    return Line(name, [found.mean for found in of], low, [found.high for found in of])


def _hours(drawn: Drawn) -> Picture | None:
    study = drawn.study
    if len(study.results) == 1:
        names = (("born", say.BORN), ("served", say.SERVED), ("lost", say.LOST_ONES))
        of = [(0, figure, drawn.say(phrase)) for figure, phrase in names]
        title = say.PER_HOUR
    else:
        of = [(variant, "lost", drawn.name(variant)) for variant in drawn.shown()]
        title = say.LOST_PER_HOUR
    rows = [(title, of)] + [
        (phrase, [(variant, figure, drawn.name(variant)) for variant in drawn.shown()])
        for figure, phrase in (("kwh", say.MEAN_KW), ("queue", say.MEAN_QUEUE))
    ]
    shown = []
    for phrase, row in rows:
        found = [(name, by_hour(study, v, NETWORK, figure)) for v, figure, name in row]
        lines = [_line(name, values) for name, values in found if values]
        if lines:
            shown.append(Panel(drawn.say(phrase), lines))
    if not shown:
        return None
    count = min(len(line.values) for panel in shown for line in panel.lines)
    at = [first_shown(study) + hour + 0.5 for hour in range(count)]
    said = drawn.say(say.HOURS_SAID, confidence=drawn.per_cent())
    tops = [
        drawn.say(
            say.AT_MOST,
            panel=panel.title,
            line=line.name,
            value=number(max(line.values), drawn.language, 1),
            hour=int(at[line.values.index(max(line.values))]) % 24,
        )
        for panel in shown
        for line in panel.lines
    ]
    alt = drawn.say(say.HOURS_ALT, panels="; ".join(tops))
    svg = pictures.panels(shown, at, drawn.say(say.HOUR), alt, "hours")
    return Picture(
        drawn.say(say.HOURS), svg, said + (drawn.say(say.DAY_MEAN) if is_folded(study) else "")
    )


def _waits(drawn: Drawn) -> Picture | None:
    if not drawn.study.plan.has_drivers:
        return None
    lines, told = [], []
    for variant in drawn.shown():
        found = waiting_longer(drawn.study, variant, MINUTES)
        if found is None or found[0].mean == 0.0:
            continue
        name = drawn.name(variant)
        lines.append(_line(name, found))
        for minutes in (0, 10, 30):
            share = written(found[MINUTES.index(minutes)].mean, SHARE, drawn.language)
            told.append(drawn.say(say.WAITS_ALT, line=name, share=share, minutes=minutes))
    if not lines:
        return None
    # Where nobody waited any more there is nothing to see.
    most = max(number for line in lines for number, value in enumerate(line.values) if value > 0.0)
    count = min(len(MINUTES), most + 2)
    cut = [
        Line(line.name, line.values[:count], line.low[:count], line.high[:count]) for line in lines
    ]
    alt = "; ".join(told) + "."
    svg = pictures.survival(cut, MINUTES[:count], drawn.say(say.MINUTES_WAITED), alt, "waits")
    return Picture(drawn.say(say.WAITS), svg, drawn.say(say.WAITS_SAID))


def _of_stations(drawn: Drawn, figure: str) -> dict[str, float]:
    """A figure's mean for each station that has one, in the variant that is shown."""
    plan = drawn.study.plan
    results = drawn.study.results[drawn.chosen]
    found = {
        place.key: summary(results, place.key, figure, plan.confidence)
        for place in places(drawn.study)
        if place.kind == "station"
    }
    return {key: value.mean for key, value in found.items() if value is not None}


def _stations(drawn: Drawn) -> Picture | None:
    used, lost = _of_stations(drawn, "utilisation"), _of_stations(drawn, "lost_share")
    kwh, born = _of_stations(drawn, "kwh"), _of_stations(drawn, "born")
    most = max(kwh.values(), default=0.0)
    names = {place.key: place.name for place in places(drawn.study)}
    both = [key for key in used if key in lost and key in kwh]
    if not both or not most:
        return None
    language = drawn.language
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
    alt = drawn.say(
        say.STATIONS_ALT,
        n=len(both),
        most=names[top],
        used=written(used[top], SHARE, language),
    )
    svg = pictures.dots(dots, x, y, alt, "stations")
    return Picture(_titled(drawn, say.STATIONS), svg, drawn.say(say.STATIONS_SAID))


def _titled(drawn: Drawn, phrase: Phrase) -> str:
    title = drawn.say(phrase)
    if len(drawn.study.results) == 1:
        return title
    return f"{title}, {drawn.say(say.OF, setting=drawn.name(drawn.chosen))}"


def _map(drawn: Drawn) -> Picture | None:
    born, lost = _of_stations(drawn, "born"), _of_stations(drawn, "lost")
    most = max(born.values(), default=0.0)
    there = [
        place
        for place in places(drawn.study)
        if born.get(place.key) and place.latitude is not None and place.longitude is not None
    ]
    if len(there) < 2:
        return None
    dots = []
    for place in there:
        count, gone = born[place.key], lost.get(place.key, 0.0)
        told = f"{place.name}: {number(count, drawn.language, 1)}"
        told += f", {number(gone, drawn.language, 1)} {drawn.say(say.LOST_ONES)}"
        where = (place.longitude or 0.0, place.latitude or 0.0)
        dots.append(Dot(place.name, *where, count / most, gone / count, told, gone))
    top = max(there, key=lambda place: lost.get(place.key, 0.0))
    worst = number(lost.get(top.key, 0.0), drawn.language, 1)
    alt = drawn.say(say.MAP_ALT, n=len(there), most=top.name, lost=worst)
    axes = (drawn.say(say.LONGITUDE), drawn.say(say.LATITUDE))
    svg = pictures.dots(dots, *axes, alt, "map", as_map=True, named=5)
    return Picture(_titled(drawn, say.MAP), svg, drawn.say(say.MAP_SAID))


def _sweep(drawn: Drawn) -> Picture | None:
    plan = drawn.study.plan
    if len(plan.variants) == 1:
        return None
    rows = []
    for variant, results in enumerate(drawn.study.results):
        found = summary(results, NETWORK, "lost_share", plan.confidence)
        if found is not None:
            rows.append(_row(drawn, variant, found))
    if not rows:
        return None
    alt = "; ".join(row.told for row in rows)
    svg = pictures.points(rows, drawn.say(say.LOST_PER_CENT), alt, "sweep")
    said = drawn.say(say.SWEEP_SAID, confidence=drawn.per_cent())
    return Picture(drawn.say(say.SWEEP), svg, said)


def _row(drawn: Drawn, variant: int, found: Interval, signed: bool = False) -> Row:
    name = drawn.name(variant)
    told = f"{name}: {with_interval(found, SHARE, drawn.language, signed)}"
    return Row(name, 100 * found.mean, 100 * found.low, 100 * found.high, told)


def _apart(drawn: Drawn) -> Picture | None:
    rows = [
        _row(drawn, variant, found, signed=True)
        for variant, found in enumerate(differences(drawn.study, NETWORK, "lost_share"), 1)
        if found is not None and found.half_width is not None
    ]
    if not rows:
        return None
    alt = "; ".join(row.told for row in rows)
    svg = pictures.points(rows, drawn.say(say.LOST_POINTS), alt, "apart", zero=True)
    said = drawn.say(say.APART_SAID, confidence=drawn.per_cent())
    return Picture(drawn.say(say.APART, first=drawn.name(0)), svg, said)


def _gantt(drawn: Drawn) -> Picture | None:
    results = drawn.study.results[drawn.chosen]
    if not drawn.study.plan.has_drivers or not results:
        return None
    begin = drawn.study.plan.warm_up_hours * HOUR_S
    drivers = [
        driver
        for driver in drawn.study.drivers(drawn.chosen, results[0].number)
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
        bars += _bars(driver, row, first_hour(drawn.study), begin)
    name = next(
        (each.name for each in results[0].places if each.key == f"station:{station}"), station
    )
    alt = drawn.say(say.GANTT_ALT, sessions=len(those), evses=len(evses), station=name)
    legend = (drawn.say(say.CHARGING), drawn.say(say.IDLE))
    svg = pictures.bars(evses, bars, legend, drawn.say(say.HOUR), alt, "gantt")
    title = drawn.say(say.GANTT, station=name)
    return Picture(title, svg, drawn.say(say.GANTT_SAID))


def _bars(driver: DriverRecord, row: int, first: int, begin: float) -> Sequence[Bar]:
    def hour(instant: float) -> float:
        return first + (instant - begin) / HOUR_S

    charging, ended, left = driver.charging or 0.0, driver.ended, driver.left
    if ended is None:
        return []
    bars = [Bar(row, hour(charging), hour(ended), 0, f"{driver.car}, {driver.kwh:.1f} kWh")]
    if left is not None and left > ended:
        bars.append(Bar(row, hour(ended), hour(left), 1, driver.car))
    return bars
