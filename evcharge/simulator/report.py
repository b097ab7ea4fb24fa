"""
The report of a study: one page that needs nothing from anywhere, and tables beside it.

A sentence comes first, then cards, pictures, tables, all that is assumed, and how to repeat it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evcharge.outcomes import Phrase
from evcharge.simulator import report_words as say
from evcharge.simulator.replication import NETWORK, Place
from evcharge.simulator.statistics import Interval
from evcharge.simulator.study import Study
from evcharge.simulator.summaries import (
    HOURS,
    by_hour,
    differences,
    first_shown,
    places,
    summary,
)
from evcharge.simulator.tables import write_tables
from evcharge.simulator.whole import write_whole
from evcharge.simulator.words import (
    COUNT,
    FIGURES,
    SHARE,
    number,
    off,
    per_cent,
    setting,
    with_interval,
    written,
)

REPORT = "report.html"
EXTRA = "for report.html: pip install 'evcharge[simulation]'"

CARDS = (
    *("lost_share", "wait_mean", "wait_p95", "utilisation"),
    *("born", "kwh", "peak_kw", "revenue"),
)
OF_PLACES = (
    *("born", "lost", "lost_share", "sessions", "wait_mean", "wait_p95"),
    *("utilisation", "idle_share", "kwh", "peak_kw", "revenue"),
)
NEAR = 0.05
"""A share no further from 0 or 1 than this has a lopsided interval: its least and most are told."""


def write(study: Study, language: str, folder: Path | None = None) -> bool:
    """
    Write the tables and the report of a study, each file whole.

    :param language: "pt" or "en".
    :param folder: where, if it is not the study's own.
    :return: whether there is a report: without matplotlib there are the tables alone, and the
        person is to be told of :data:`EXTRA`.
    :raise OSError: a file cannot be written.
    :raise StudyError: a replication cannot be read any more.
    """
    to = folder or study.folder
    to.mkdir(parents=True, exist_ok=True)
    write_tables(study, to)
    try:
        version("matplotlib")
    except PackageNotFoundError:
        return False
    write_whole(to / REPORT, page(study, language))
    return True


def chosen(study: Study) -> int:
    """The variant that the report is about: of those after the first, which loses the fewest."""
    means = {
        variant: found.mean
        for variant, results in enumerate(study.results)
        if variant and (found := summary(results, NETWORK, "lost_share", study.plan.confidence))
    }
    return min(means, key=lambda variant: means[variant]) if means else 0


def page(study: Study, language: str) -> str:
    """The report as HTML."""
    return _Page(study, language).written()


class _Page:
    def __init__(self, study: Study, language: str) -> None:
        self.study, self.language = study, language
        self.chosen = chosen(study)
        self.places = places(study)
        self.names = [setting(each.settings, language) for each in study.plan.variants]
        self.per_cent = per_cent(study.plan.confidence, language)

    def say(self, phrase: Phrase, **values: object) -> str:
        """A text in the report's language, for HTML."""
        return escape(phrase.say(self.language, values))

    def found(self, variant: int, place: str, figure: str) -> Interval | None:
        results = self.study.results[variant]
        return summary(results, place, figure, self.study.plan.confidence)

    def written(self) -> str:
        plan = self.study.plan
        title = escape(plan.title or say.REPORT.say(self.language))
        return "\n".join(
            (
                "<!DOCTYPE html>",
                f'<html lang="{"pt-BR" if self.language == "pt" else "en"}">',
                '<head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{title} · evcharge</title>",
                f"<style>\n{_file('report.css')}</style></head>",
                "<body><header>",
                f"<h1>{title}</h1>",
                f'<p class="lead">{escape(self.sentence())}</p>',
                f'<p class="muted">{self.subtitle()}</p>',
                *self.warnings(),
                "</header><main>",
                self.cards(),
                *self.pictures(),
                f"<h2>{self.say(say.TABLES)}</h2>",
                *self.tables(),
                *self.assumptions(),
                *self.again(),
                "</main>",
                f"<script>\n{_file('report.js')}</script>",
                "</body></html>\n",
            )
        )

    def sentence(self) -> str:
        """What the study comes to."""
        base = self.found(0, NETWORK, "lost_share")
        other = self.found(self.chosen, NETWORK, "lost_share")
        if base is None or other is None:
            return say.NOBODY.say(self.language)
        if self.chosen == 0:
            wait = with_unit(self.found(0, NETWORK, "wait_mean"), "wait_mean", self.language)
            certain = f" ({self.certain(base)})"
            lost = written(base.mean, SHARE, self.language)
            values = {"lost": lost, "certain": certain, "wait": wait}
            return say.LOST.say(self.language, values)
        apart = differences(self.study, NETWORK, "lost_share")[self.chosen - 1]
        if apart is None:
            return say.NOBODY.say(self.language)
        phrase = say.INSTEAD if apart.is_apart_from_0 or apart.n == 1 else say.NOT_APART
        return phrase.say(
            self.language,
            {
                "setting": self.names[self.chosen],
                "first": self.names[0],
                "lost": written(other.mean, SHARE, self.language),
                "base": written(base.mean, SHARE, self.language),
                "points": written(apart.mean, SHARE, self.language, signed=True),
                "certain": f", {self.certain(apart, signed=True)}",
            },
        )

    def certain(self, found: Interval, signed: bool = False) -> str:
        """How sure a share is: `IC 95 % 5,2 a 6,0`."""
        if found.half_width is None:
            return say.ONE_ALONE.say(self.language)
        low, high = (number(100 * end, self.language, 1, signed) for end in (found.low, found.high))
        values = {"confidence": self.per_cent, "low": low, "high": high}
        return say.CERTAIN.say(self.language, values)

    def subtitle(self) -> str:
        plan = self.study.plan
        days, many = plan.days, plan.replications
        return self.say(
            say.SUBTITLE,
            days=(say.ONE_DAY if days == 1 else say.DAYS).say(self.language, {"n": days}),
            start=plan.start.replace("T", " ")[:16],
            replications=(say.ONE_REPLICATION if many == 1 else say.REPLICATIONS).say(
                self.language, {"n": many}
            ),
            seed=plan.seed,
            version=self.study.versions["evcharge"],
        )

    def warnings(self) -> Iterable[str]:
        plan = self.study.plan
        if not self.study.is_complete:
            done, of = sum(map(len, self.study.results)), plan.replications * len(plan.variants)
            yield f'<p class="bad" role="note">{self.say(say.INCOMPLETE, done=done, of=of)}</p>'
        refused = [self.found(v, NETWORK, "refused") for v in range(len(plan.variants))]
        most = max((found.mean for found in refused if found is not None), default=0.0)
        if most > 0:
            text = self.say(say.REFUSED, refused=number(most, self.language, 2))
            yield f'<p class="bad" role="note">{text}</p>'

    def cards(self) -> str:
        found = [self.card(figure) for figure in CARDS]
        return f'<ul class="cards">{"".join(found)}</ul>'

    def card(self, figure: str) -> str:
        kind = FIGURES[figure].kind
        value = self.found(self.chosen, NETWORK, figure)
        if value is None:
            return ""
        small = off(value, kind, self.language)
        if self.chosen:
            base = self.found(0, NETWORK, figure)
            if base is not None:
                shown = written(base.mean, kind, self.language)
                small += f" · {self.say(say.FIRST, value=shown)}"
        label = escape(FIGURES[figure].phrase.say(self.language))
        return f"<li>{label}<b>{written(value.mean, kind, self.language)}</b><small>{small}</small>"

    def pictures(self) -> Iterable[str]:
        # Without matplotlib there is no report; and it takes a second to be imported.
        from evcharge.simulator.report_pictures import all_pictures

        yield f'<h2>{self.say(say.PICTURES)}</h2><div class="pictures">'
        for picture in all_pictures(self.study, self.language, self.chosen):
            yield f"<figure><h3>{escape(picture.title)}</h3>{picture.svg}"
            yield f"<figcaption>{escape(picture.said)}</figcaption></figure>"
        yield "</div>"

    def tables(self) -> Iterable[str]:
        yield self.network_table()
        for variant in dict.fromkeys((0, self.chosen)):
            for kind, phrase in (("zone", say.ZONES), ("station", say.STATIONS_OF)):
                there = [place for place in self.places if place.kind == kind]
                if there:
                    caption = self.say(phrase, setting=self.names[variant])
                    yield self.places_table(caption, there, variant)
        yield from self.hours_tables()

    def network_table(self) -> str:
        """All figures: a column a variant, and one a difference."""
        variants = range(len(self.study.results))
        heads = [self.say(say.FIGURE), *map(escape, self.names)]
        heads += [
            f"{self.say(say.DIFFERENCE)}: {escape(self.names[variant])}" for variant in variants[1:]
        ]
        rows = []
        for name, figure in FIGURES.items():
            found = [self.found(variant, NETWORK, name) for variant in variants]
            if all(each is None for each in found):
                continue
            cells = [self.cell(each, figure.kind) for each in found]
            for each in differences(self.study, NETWORK, name):
                cells.append(self.cell(each, figure.kind, signed=True))
            rows.append((escape(figure.phrase.say(self.language)), cells))
        return _table(self.say(say.NETWORK), heads, rows)

    def cell(self, found: Interval | None, kind: str, signed: bool = False) -> str:
        """A figure, and what there is to say of its interval."""
        shown = with_interval(found, kind, self.language, signed)
        if found is None or found.half_width is None:
            return _cell(shown, found)
        if signed and not found.is_apart_from_0:
            shown += f"<br><small>{self.say(say.SAME)}</small>"
        elif not signed and kind == SHARE and not NEAR < found.mean < 1 - NEAR:
            ends = [written(end, kind, self.language) for end in (found.least, found.most)]
            shown += f"<br><small>{self.say(say.RANGE, least=ends[0], most=ends[1])}</small>"
        return _cell(shown, found)

    def places_table(self, caption: str, there: Sequence[Place], variant: int) -> str:
        figures = [
            name
            for name in OF_PLACES
            if any(self.found(variant, place.key, name) is not None for place in there)
        ]
        heads = [self.say(say.PLACE), self.say(say.EVSES)] if there[0].kind == "station" else None
        labels = [escape(FIGURES[name].phrase.say(self.language)) for name in figures]
        rows = []
        for place in there:
            cells = [_cell(str(place.evses), None, place.evses)] if heads else []
            for name in figures:
                found = self.found(variant, place.key, name)
                cells.append(_cell(with_interval(found, FIGURES[name].kind, self.language), found))
            rows.append((escape(place.name), cells))
        return _table(caption, [*(heads or [self.say(say.PLACE)]), *labels], rows, sorts=True)

    def hours_tables(self) -> Iterable[str]:
        heads = {
            **{"born": say.BORN, "served": say.SERVED, "lost": say.LOST_ONES},
            **{"kwh": say.MEAN_KW, "queue": say.MEAN_QUEUE, "charging": say.CHARGING},
        }
        for variant in dict.fromkeys((0, self.chosen)):
            found = {name: by_hour(self.study, variant, NETWORK, name) for name in HOURS}
            found = {name: hours for name, hours in found.items() if hours}
            count = min(map(len, found.values()), default=0)
            first = first_shown(self.study)
            rows = [
                (
                    f"{(first + hour) % 24:02}:00",
                    [
                        _cell(with_interval(hours[hour], COUNT, self.language), hours[hour])
                        for hours in found.values()
                    ],
                )
                for hour in range(count)
            ]
            if rows:
                caption = f"{self.say(say.HOURS)}, {escape(self.names[variant])}"
                table = _table(
                    caption, [self.say(say.HOUR), *(self.say(heads[n]) for n in found)], rows
                )
                yield f"<details><summary>{caption}</summary>{table}</details>"

    def assumptions(self) -> Iterable[str]:
        plan = self.study.plan
        yield f"<h2>{self.say(say.ASSUMED)}</h2><ul>"
        *always, warm_up = say.ASSUMPTIONS
        for phrase in always:
            yield f"<li>{self.say(phrase)}</li>"
        if plan.warm_up_hours:
            yield f"<li>{self.say(warm_up, warm_up=f'{plan.warm_up_hours:g}')}</li>"
        yield "</ul>"
        rows = [
            (escape(key), [f'<td class="text">{escape(str(value))}</td>'])
            for key, value in _flat(plan.scenario, "")
        ]
        heads = [self.say(say.KEY), self.say(say.VALUE)]
        table = _table(self.say(say.SCENARIO), heads, rows)
        yield f"<details><summary>{self.say(say.ALL_VALUES)}</summary>{table}</details>"
        yield f"<h2>{self.say(say.SCENARIO)}</h2>"
        for name, text in plan.files.items():
            yield f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"

    def again(self) -> Iterable[str]:
        yield f"<h2>{self.say(say.AGAIN)}</h2>"
        yield f"<pre>{escape(shlex.join(self.study.plan.command))}</pre>"
        versions = ", ".join(f"{name} {number}" for name, number in self.study.versions.items())
        with_them = self.say(say.MADE_WITH, versions=versions, matplotlib=version("matplotlib"))
        yield f'<p class="muted">{self.say(say.AGAIN_SAID)} {with_them}</p>'


def with_unit(found: Interval | None, figure: str, language: str) -> str:
    """A mean alone, as a sentence has it."""
    return "–" if found is None else written(found.mean, FIGURES[figure].kind, language)


def _file(name: str) -> str:
    return (resources.files("evcharge") / "simulator" / name).read_text("utf-8")


def _table(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    sorts: bool = False,
) -> str:
    """
    A table; what it is given is HTML.

    :param rows: the head of each, and its cells.
    """
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{head}</th>{"".join(cells)}</tr>\n' for head, cells in rows
    )
    sorting = " data-sorts" if sorts else ""
    return (
        f'<div class="box wide" tabindex="0" role="region" aria-label="{caption}">'
        f"<table{sorting}><caption>{caption}</caption>"
        f"<thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )


def _cell(shown: str, found: Interval | None, value: float | None = None) -> str:
    if found is not None:
        value = found.mean
    data = "" if value is None else f' data-value="{value:.9g}"'
    return f"<td{data}>{shown}</td>"


def _flat(value: Any, key: str) -> Iterable[tuple[str, Any]]:
    """All values of a scenario, each by its whole key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{key}.{place}")
    else:
        yield key, value
