"""The report's tables: what stands behind each picture, and all figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import attrs

from evcharge.simulator import report_words as say
from evcharge.simulator.replication import NETWORK, Place
from evcharge.simulator.report_view import View
from evcharge.simulator.statistics import Interval
from evcharge.simulator.summaries import HOURS, by_hour, differences, first_shown, steady
from evcharge.simulator.words import (
    COUNT,
    FIGURES,
    SHARE,
    number,
    off,
    with_interval,
    written,
)

OF_VARIANTS = ("lost_share", "wait_mean", "wait_p95", "utilisation", "kwh", "revenue")
"""Figures by which all variants are compared; of the others those that are shown."""
OF_PLACES = (
    *("born", "lost", "lost_share", "sessions", "wait_mean", "wait_p95"),
    *("utilisation", "idle_share", "kwh", "peak_kw", "revenue"),
)
OF_HOURS = {
    **{"born": say.BORN, "served": say.SERVED, "lost": say.LOST_ONES},
    **{"kwh": say.MEAN_KW, "queue": say.MEAN_QUEUE, "charging": say.CHARGING},
    "revenue": say.REVENUE,
}
NEAR = 0.05
"""A share no further from 0 or 1 than this has a lopsided interval: its least and most are told."""

VARIANTS, HOURLY, STATIONS = "variants", "hours", "stations"
"""What tables are called inside a page, that pictures have behind them."""


@attrs.frozen
class Table:
    """A table of text."""

    name: str
    """Inside the page: what a picture has it behind it by."""
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(view: View, behind: Iterable[Table]) -> Iterable[str]:
    """
    All tables, as HTML.

    :param behind: pictures' own.
    """
    if len(view.study.results) > 1:
        yield _variants(view)
    yield _network(view)
    yield from _steady(view)
    for variant in view.both:
        for kind, phrase in (("zone", say.ZONES), ("station", say.STATIONS_OF)):
            there = [place for place in view.places if place.kind == kind]
            if there:
                caption = view.say(phrase, setting=view.name(variant))
                name = STATIONS if (kind, variant) == ("station", view.chosen) else ""
                yield _of_places(view, caption, there, variant, name)
    for variant in view.shown:
        name = HOURLY if variant == view.shown[0] else ""
        caption = f"{view.say(say.HOURS)}, {view.name(variant)}"
        yield from _folded(caption, _of_hours(view, variant, caption, name))
    for each in behind:
        rows = [
            (escape(head), [_cell(escape(cell), None) for cell in cells])
            for head, *cells in each.rows
        ]
        html = table(escape(each.caption), [*map(escape, each.heads)], rows, each.name)
        yield from _folded(each.caption, html)


def off_or_ends(found: Interval, kind: str, language: str) -> Sequence[str]:
    """How far a mean may be off; of a share near 0 or 1 its least and its most, too."""
    words = [off(found, kind, language)]
    if found.half_width is not None and kind == SHARE and not NEAR < found.mean < 1 - NEAR:
        least, most = (written(end, kind, language) for end in (found.least, found.most))
        words.append(say.RANGE.say(language, {"least": least, "most": most}))
    return words


def _variants(view: View) -> str:
    """A row for each variant, with what it differs by from the first."""
    figures = [
        name
        for name in OF_VARIANTS
        if any(view.found(v, NETWORK, name) is not None for v in range(len(view.study.results)))
    ]
    apart = {name: [None, *differences(view.study, NETWORK, name)] for name in figures}
    rows = []
    for variant in range(len(view.study.results)):
        cells = [
            _compared(view, view.found(variant, NETWORK, name), apart[name][variant], name)
            for name in figures
        ]
        rows.append((escape(view.name(variant)), cells))
    heads = [view.say(say.VARIANT), *(view.say(FIGURES[name].phrase) for name in figures)]
    caption = f"{view.say(say.SWEEP)}; {view.say(say.COMPARED, first=view.name(0))}"
    return table(escape(caption), [*map(escape, heads)], rows, VARIANTS)


def _network(view: View) -> str:
    """All figures, a column for each variant that is shown."""
    rows = []
    for name, figure in FIGURES.items():
        found = [view.found(variant, NETWORK, name) for variant in view.shown]
        if all(each is None for each in found):
            continue
        apart = [None, *differences(view.study, NETWORK, name)]
        cells = [
            _compared(view, each, apart[variant], name)
            for variant, each in zip(view.shown, found, strict=True)
        ]
        is_bad = name == "refused" and any(each and each.most > 0 for each in found)
        label = escape(view.say(figure.phrase))
        rows.append((f'<span class="bad">{label}</span>' if is_bad else label, cells))
    heads = [view.say(say.FIGURE), *map(view.name, view.shown)]
    caption = view.say(say.NETWORK)
    if len(view.study.results) > 1:
        caption += f"; {view.say(say.COMPARED, first=view.name(0))}"
    return table(escape(caption), [*map(escape, heads)], rows)


def _compared(view: View, found: Interval | None, apart: Interval | None, name: str) -> str:
    """A figure, and by how much it is more than that of the first variant."""
    kind, language = FIGURES[name].kind, view.language
    if found is None:
        return "<td>–</td>"
    first, *ends = off_or_ends(found, kind, language)
    shown = f"{written(found.mean, kind, language)} {first}"
    small = list(ends)
    if apart is not None and apart.least == apart.most == 0.0:
        small.append(view.say(say.EQUAL))
    elif apart is not None:
        small.append(with_interval(apart, kind, language, signed=True))
        if apart.half_width is not None and not apart.is_apart_from_0:
            small.append(view.say(say.SAME))
    shown += "".join(f"<br><small>{escape(each)}</small>" for each in small)
    is_bad = name == "refused" and found.most > 0
    return _cell(f'<span class="bad">{shown}</span>' if is_bad else shown, found.mean)


def _steady(view: View) -> Iterable[str]:
    """Of one long run, what its batches say."""
    found = steady(view.study, view.chosen)
    if not found:
        return
    rows = []
    for name, batches in found.items():
        correlation = number(batches.correlation, view.language, 2)
        if batches.is_too_short:
            correlation += f" · {view.say(say.TOO_SHORT)}"
        # By the hour it is kW that kWh are.
        phrase = OF_HOURS.get(name) or FIGURES[name].phrase
        kind = COUNT if name in OF_HOURS else FIGURES[name].kind
        cells = [
            _cell(with_interval(batches.interval, kind, view.language), batches.interval.mean),
            _cell(escape(correlation), batches.correlation),
        ]
        rows.append((escape(view.say(phrase)), cells))
    heads = [view.say(each) for each in (say.FIGURE, say.OVER_BATCHES, say.LAG_1)]
    yield table(escape(view.say(say.STEADY)), [*map(escape, heads)], rows)
    text = view.say(say.STEADY_SAID, confidence=view.per_cent)
    yield f'<p class="muted">{escape(text)}</p>'


def _of_places(view: View, caption: str, there: Sequence[Place], variant: int, name: str) -> str:
    figures = [
        figure
        for figure in OF_PLACES
        if any(view.found(variant, place.key, figure) is not None for place in there)
    ]
    are_stations = there[0].kind == "station"
    heads = [view.say(say.PLACE), *([view.say(say.EVSES)] if are_stations else [])]
    heads += [view.say(FIGURES[figure].phrase) for figure in figures]
    rows = []
    for place in there:
        cells = [_cell(str(place.evses), place.evses)] if are_stations else []
        for figure in figures:
            found = view.found(variant, place.key, figure)
            shown = with_interval(found, FIGURES[figure].kind, view.language)
            cells.append(_cell(shown, None if found is None else found.mean))
        rows.append((escape(place.name), cells))
    return table(escape(caption), [*map(escape, heads)], rows, name, sorts=True)


def _of_hours(view: View, variant: int, caption: str, name: str) -> str:
    found = {figure: by_hour(view.study, variant, NETWORK, figure) for figure in HOURS}
    found = {figure: hours for figure, hours in found.items() if hours}
    first = first_shown(view.study)
    rows = [
        (
            f"{(first + hour) % 24:02}:00",
            [
                _cell(with_interval(hours[hour], COUNT, view.language), hours[hour].mean)
                for hours in found.values()
            ],
        )
        for hour in range(min(map(len, found.values()), default=0))
    ]
    heads = [view.say(say.HOUR), *(view.say(OF_HOURS[figure]) for figure in found)]
    return table(escape(caption), [*map(escape, heads)], rows, name) if rows else ""


def _folded(caption: str, html: str) -> Iterable[str]:
    if html:
        yield f"<details><summary>{escape(caption)}</summary>{html}</details>"


def table(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    name: str = "",
    sorts: bool = False,
) -> str:
    """
    A table; what it is given is HTML.

    :param rows: the head of each, and its cells.
    :param name: inside the page, if anything refers to it.
    """
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{head}</th>{"".join(cells)}</tr>\n' for head, cells in rows
    )
    named = f' id="table-{name}"' if name else ""
    return (
        f'<div class="box wide"{named} tabindex="0" role="region" aria-label="{caption}">'
        f"<table{' data-sorts' if sorts else ''}><caption>{caption}</caption>"
        f"<thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )


def _cell(shown: str, value: float | None) -> str:
    data = "" if value is None else f' data-value="{value:.9g}"'
    return f"<td{data}>{shown}</td>"
