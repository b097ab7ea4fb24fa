"""
The report of a study: one page that needs nothing from anywhere, and tables beside it.

A sentence comes first, then cards, pictures, tables, all that is assumed, and how to repeat it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from html import escape
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evcharge.outcomes import Phrase
from evcharge.simulator import report_words as say
from evcharge.simulator.replication import NETWORK
from evcharge.simulator.report_tables import Table, off_or_ends, table, tables
from evcharge.simulator.report_view import LOST_SHARE, View, chosen
from evcharge.simulator.statistics import Interval
from evcharge.simulator.study import Study
from evcharge.simulator.summaries import differences
from evcharge.simulator.tables import write_tables
from evcharge.simulator.texts import called
from evcharge.simulator.whole import write_whole
from evcharge.simulator.words import FIGURES, SHARE, number, written

REPORT = "report.html"
EXTRA = "for report.html: pip install 'evcharge[simulation]'"

CARDS = (
    *("lost_share", "wait_mean", "wait_p95", "utilisation"),
    *("born", "kwh", "peak_kw", "revenue"),
)


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


def page(study: Study, language: str) -> str:
    """The report as HTML."""
    return _Page(View(study, language, chosen(study))).written()


class _Page:
    def __init__(self, view: View) -> None:
        self.view, self.study, self.language = view, view.study, view.language
        self.behind: list[Table] = []
        """Tables that pictures have."""

    def say(self, phrase: Phrase, **values: object) -> str:
        """A text in the report's language, for HTML."""
        return escape(self.view.say(phrase, **values))

    def written(self) -> str:
        plan = self.study.plan
        title = escape(called(plan.title, self.language) or self.view.say(say.REPORT))
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
                f'<section class="tables"><h2>{self.say(say.TABLES)}</h2>',
                *tables(self.view, self.behind),
                "</section>",
                *self.assumptions(),
                *self.again(),
                "</main>",
                f"<script>\n{_file('report.js')}</script>",
                "</body></html>\n",
            )
        )

    def sentence(self) -> str:
        """What the study comes to."""
        base = self.view.found(0, NETWORK, LOST_SHARE)
        other = self.view.found(self.view.chosen, NETWORK, LOST_SHARE)
        if base is None or other is None:
            return say.NOBODY.say(self.language)
        if self.view.chosen == 0:
            waits = self.view.found(0, NETWORK, "wait_mean")
            kind = FIGURES["wait_mean"].kind
            wait = written(waits.mean, kind, self.language) if waits is not None else "–"
            certain = f" ({self.certain(base)})"
            lost = written(base.mean, SHARE, self.language)
            values = {"lost": lost, "certain": certain, "wait": wait}
            return say.LOST.say(self.language, values)
        apart = differences(self.study, NETWORK, LOST_SHARE)[self.view.chosen - 1]
        if apart is None:
            return say.NOBODY.say(self.language)
        phrase = say.INSTEAD if apart.is_apart_from_0 or apart.n == 1 else say.NOT_APART
        return phrase.say(
            self.language,
            {
                "setting": self.view.name(self.view.chosen),
                "first": self.view.name(0),
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
        values = {"confidence": self.view.per_cent, "low": low, "high": high}
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
        if self.study.unlike:
            text = self.say(say.UNLIKE, keys=", ".join(self.study.unlike))
            yield f'<p class="note" role="note">{text}</p>'
        refused = [self.view.found(v, NETWORK, "refused") for v in range(len(plan.variants))]
        most = max((found.mean for found in refused if found is not None), default=0.0)
        if most > 0:
            text = self.say(say.REFUSED, refused=number(most, self.language, 2))
            yield f'<p class="bad" role="note">{text}</p>'

    def cards(self) -> str:
        found = [self.card(figure) for figure in CARDS]
        return f'<ul class="cards">{"".join(found)}</ul>'

    def card(self, figure: str) -> str:
        kind = FIGURES[figure].kind
        value = self.view.found(self.view.chosen, NETWORK, figure)
        if value is None:
            return ""
        small = list(off_or_ends(value, kind, self.language))
        base = self.view.found(0, NETWORK, figure) if self.view.chosen else None
        if base is not None:
            shown = written(base.mean, kind, self.language)
            small.append(self.view.say(say.FIRST, value=shown))
        label = escape(self.view.say(FIGURES[figure].phrase))
        # A number and its unit are not parted at the end of a line.
        under = " · ".join(f"<span>{escape(each)}</span>" for each in small)
        shown = written(value.mean, kind, self.language)
        return f"<li>{label}<b>{shown}</b><small>{under}</small></li>"

    def pictures(self) -> Iterable[str]:
        # Without matplotlib there is no report; and it takes a second to be imported.
        from evcharge.simulator.report_pictures import all_pictures

        yield f'<h2>{self.say(say.PICTURES)}</h2><div class="pictures">'
        for picture in all_pictures(self.view):
            if picture.table is not None:
                self.behind.append(picture.table)
            yield f"<figure><h3>{escape(picture.title)}</h3>{picture.svg}"
            behind = f'<a href="#table-{picture.behind}">{self.say(say.THE_TABLE)}</a>'
            yield f"<figcaption>{escape(picture.said)} {behind}</figcaption></figure>"
        yield "</div>"

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
        values = table(self.say(say.SCENARIO), heads, rows)
        yield f"<details><summary>{self.say(say.ALL_VALUES)}</summary>{values}</details>"
        yield f"<h2>{self.say(say.SCENARIO)}</h2>"
        for name, text in plan.files.items():
            yield f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"

    def again(self) -> Iterable[str]:
        yield f"<h2>{self.say(say.AGAIN)}</h2>"
        yield f"<pre>{escape(shlex.join(self.study.plan.command))}</pre>"
        versions = ", ".join(f"{name} {number}" for name, number in self.study.versions.items())
        with_them = self.say(say.MADE_WITH, versions=versions, matplotlib=version("matplotlib"))
        yield f'<p class="muted">{self.say(say.AGAIN_SAID)} {with_them}</p>'


def _file(name: str) -> str:
    return (resources.files("evcharge") / "simulator" / name).read_text("utf-8")


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
