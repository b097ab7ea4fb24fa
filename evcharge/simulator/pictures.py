"""
The report's pictures: SVG by matplotlib, the same bytes each time.

Colours are names here, which the page gives their values to: light, dark, in print. Lines that have
different colours have different dashes, too.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator, ScalarFormatter

from evcharge.simulator.words import number, plain_number

STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "evcharge",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
"""Text stays text; names inside are made of the drawing alone."""

INK, MUTED, GRID, SURFACE = "#010101", "#020202", "#030303", "#040404"
SERIES = ("#1101a1", "#1101a2", "#1101a3", "#1101a4", "#1101a5", "#1101a6")
"""Stand for colours until the drawing is done."""

NAMES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    SURFACE: "var(--surface)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)},
}

DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))

WIDTH = 4.8
"""Inches: two stand beside one another on a screen, one on a telephone."""
LETTERS = 68
"""Of a legend that are as wide as a picture."""
MOST_NAMED = 6
"""Things of a picture that have their names in it."""
LONGEST_NAME = 26
"""Of a thing in a picture; its table has it whole."""


@attrs.frozen
class About:
    """What goes for a picture as a whole."""

    name: str
    """Before all names inside, of which a page may have each but once."""
    alt: str
    """What it says to who does not see it."""
    language: str


@attrs.frozen
class Line:
    """A row of numbers with a band about it."""

    name: str
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@attrs.frozen
class Panel:
    """A part of a picture: lines over the same numbers."""

    title: str
    lines: Sequence[Line]


@attrs.frozen
class Dot:
    """Something at a place in a picture."""

    name: str
    x: float
    y: float
    size: float
    """0 to 1: its area."""
    inner: float = 0.0
    """0 to 1: the area of what is marked of it."""
    told: str = ""
    """Where the mouse is over it."""
    rank: float = 0.0
    """Those that have the greatest are named."""


@attrs.frozen
class Row:
    """A mean with its interval."""

    name: str
    mean: float
    low: float
    high: float
    told: str


@attrs.frozen
class Bar:
    """A span in a row."""

    row: int
    begin: float
    end: float
    series: int
    told: str


def panels(of: Sequence[Panel], at: Sequence[float], x: str, about: About) -> str:
    """Pictures of lines, one below the other, over the same numbers `at`, which are called `x`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.5 + 1.3 * len(of)), layout="constrained")
        axes = list(figure.subplots(len(of), 1, sharex=True, squeeze=False)[:, 0])
        for axis, panel in zip(axes, of, strict=True):
            axis.set_title(panel.title, color=INK)
            for number, line in enumerate(panel.lines):
                colour = SERIES[number % len(SERIES)]
                dash = DASHES[number % len(DASHES)]
                axis.fill_between(
                    at, line.low, line.high, color=colour, alpha=_faint(panel.lines), linewidth=0
                )
                axis.plot(at, line.values, color=colour, linestyle=dash, label=line.name)
            axis.set_ylim(bottom=0)
            _numbers(axis.yaxis, about)
        axes[-1].set_xlabel(x, color=INK)
        _by_hour(axes[-1])
        _legend(figure, max(axes, key=lambda axis: len(axis.lines)))
        return _svg(figure, axes, about)


def survival(lines: Sequence[Line], at: Sequence[float], x: str, about: About) -> str:
    """Shares that go down, on a scale of powers of ten."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axis = figure.subplots()
        least = 1.0
        for number, line in enumerate(lines):
            colour = SERIES[number % len(SERIES)]
            dash = DASHES[number % len(DASHES)]
            # Of 0 there is no logarithm.
            shown = [value if value > 0 else float("nan") for value in line.values]
            least = min([least, *(value for value in line.values if value > 0)])
            axis.fill_between(
                at,
                [max(low, least / 10) for low in line.low],
                [max(high, least / 10) for high in line.high],
                color=colour,
                alpha=_faint(lines),
                linewidth=0,
                step="post",
            )
            axis.step(at, shown, where="post", color=colour, linestyle=dash, label=line.name)
        axis.set_yscale("log")
        axis.set_ylim(least / 1.5, 1.0)
        axis.yaxis.set_major_formatter(
            lambda value, _: f"{plain_number(100 * value, about.language)} %"
        )
        axis.yaxis.set_minor_formatter(lambda value, _: "")
        axis.set_xlabel(x, color=INK)
        _legend(figure, axis)
        return _svg(figure, [axis], about)


def dots(
    of: Sequence[Dot],
    x: str,
    y: str,
    about: About,
    legend: Sequence[str] = (),
    as_map: bool = False,
) -> str:
    """
    Discs at their places, the largest under the others, with the names of some.

    :param legend: what the discs are, and what is marked of each.
    :param as_map: whether x and y are degrees of longitude and latitude.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2 if as_map else 3.3), layout="constrained")
        axis = figure.subplots()
        told = {}
        by_size = sorted(of, key=lambda dot: -dot.size)
        for number, dot in enumerate(by_size):
            area = 12 + 400 * dot.size
            found = axis.scatter(
                [dot.x], [dot.y], s=area, color=SERIES[0], alpha=0.55, linewidths=0
            )
            found.set_gid(f"told-{number}")
            told[f"told-{number}"] = dot.told
            inner = area * dot.inner
            if inner > 1:
                axis.scatter([dot.x], [dot.y], s=inner, color=SERIES[1], linewidths=0)
        middle = (min(dot.x for dot in of) + max(dot.x for dot in of)) / 2
        for dot in _named(of, MOST_NAMED):
            is_right = dot.x > middle
            text = axis.annotate(
                _short(dot.name),
                (dot.x, dot.y),
                (-4 if is_right else 4, 4),
                textcoords="offset points",
                horizontalalignment="right" if is_right else "left",
                color=INK,
                fontsize=7,
            )
            text.set_in_layout(False)
        axis.set_xlabel(x, color=INK)
        axis.set_ylabel(y, color=INK)
        axis.margins(0.1)
        if as_map:
            axis.set_aspect("equal", adjustable="datalim")
            axis.locator_params(nbins=5)
        else:
            top = max([dot.y for dot in of if dot.y > 0], default=1.0)
            axis.set_ylim(-0.08 * top, 1.2 * top)
        _numbers(axis.xaxis, about)
        _numbers(axis.yaxis, about)
        if legend:
            marks = [
                Line2D([], [], color=colour, marker="o", linestyle="none", alpha=alpha, label=text)
                for colour, alpha, text in zip(SERIES[:2], (0.55, 1.0), legend, strict=True)
            ]
            figure.legend(handles=marks, labelcolor=INK, ncols=2, loc="outside upper left")
        return _svg(figure, [axis], about, told)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1].rstrip(" -") + "…"


def _named(of: Sequence[Dot], most: int) -> Sequence[Dot]:
    """Those that are named: of the greatest rank, and with a line of their own for it."""
    found: list[Dot] = []
    high = max(dot.y for dot in of) - min(dot.y for dot in of) or 1.0
    for dot in sorted(of, key=lambda dot: -dot.rank):
        has_room = all(abs(dot.y - each.y) > 0.06 * high for each in found)
        if has_room and len(found) < most:
            found.append(dot)
    return found


def points(rows: Sequence[Row], x: str, about: About, zero: bool = False) -> str:
    """
    A mean with its interval in each row, from the top down.

    :param zero: whether a line shows where 0 is.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 0.34 * len(rows)), layout="constrained")
        axis = figure.subplots()
        for number, row in enumerate(rows):
            axis.plot([row.low, row.high], [number, number], color=SERIES[0], linewidth=2)
            (found,) = axis.plot(
                [row.mean], [number], color=SERIES[0], marker="o", markersize=6, linestyle="none"
            )
            found.set_gid(f"told-{number}")
        if zero:
            axis.axvline(0, color=INK, linewidth=0.8)
        else:
            axis.set_xlim(left=min(0.0, *(row.low for row in rows)))
        axis.set_yticks(range(len(rows)), [row.name for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlabel(x, color=INK)
        _numbers(axis.xaxis, about)
        told = {f"told-{number}": row.told for number, row in enumerate(rows)}
        return _svg(figure, [axis], about, told)


def bars(
    rows: Sequence[str],
    of: Sequence[Bar],
    legend: Sequence[str],
    hours: tuple[float, float],
    x: str,
    about: About,
) -> str:
    """
    Spans of time, a row each.

    :param legend: what each series is.
    :param hours: from and to which at least there is room.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.1 + 0.3 * len(rows)), layout="constrained")
        axis = figure.subplots()
        told = {}
        for number, bar in enumerate(of):
            found = axis.barh(
                bar.row,
                bar.end - bar.begin,
                left=bar.begin,
                height=0.62 if bar.series == 0 else 0.3,
                color=SERIES[bar.series],
                edgecolor=SURFACE,
                linewidth=0.6,
                label=legend[bar.series],
            )[0]
            found.set_gid(f"told-{number}")
            told[f"told-{number}"] = bar.told
        axis.set_yticks(range(len(rows)), rows)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel(x, color=INK)
        axis.set_xlim(hours[0], max([hours[1], *(bar.end for bar in of)]))
        _by_hour(axis)
        handles, labels = axis.get_legend_handles_labels()
        shown = dict(zip(labels, handles, strict=True))
        axis.legend(
            shown.values(),
            shown.keys(),
            labelcolor=INK,
            ncols=3,
            loc="lower left",
            bbox_to_anchor=(0, 1),
        )
        return _svg(figure, [axis], about, told)


def _faint(lines: Sequence[Line]) -> float:
    """How much of a band is seen: of many, less, as they lie upon one another."""
    return 0.18 if len(lines) < 3 else 0.1


def _numbers(axis: Axis, about: About) -> None:
    """Have the language's numbers at the ticks, of which matplotlib knows nothing."""
    axis.set_major_formatter(_Numbers(about.language))


class _Numbers(ScalarFormatter):
    def __init__(self, language: str) -> None:
        super().__init__(useOffset=False)
        self._language = language
        self.set_scientific(False)

    def __call__(self, value: float, position: int | None = None) -> str:
        places = len(super().__call__(value, position).partition(".")[2])
        return number(value, self._language, places)


def _legend(figure: Figure, axis: Axes) -> None:
    """Say above the drawing which line is which, in as many columns as there is room for."""
    handles, labels = axis.get_legend_handles_labels()
    if len(labels) > 1:
        columns = max(1, LETTERS // (max(map(len, labels)) + 8))
        figure.legend(
            handles,
            labels,
            labelcolor=INK,
            ncols=min(columns, len(labels)),
            loc="outside upper left",
            handlelength=3,
        )


def _by_hour(axis: Axes) -> None:
    """Have the hours of a day at the ticks."""
    begin, end = axis.get_xlim()
    axis.xaxis.set_major_locator(MultipleLocator(3 if end - begin < 32 else 6))
    axis.xaxis.set_major_formatter(lambda hour, _: f"{hour % 24:g}")


def _svg(
    figure: Figure, axes: Sequence[Axes], about: About, told: Mapping[str, str] | None = None
) -> str:
    """
    The drawing as an element of a page.

    :param told: what each thing says where the mouse is over it, by its name.
    """
    for axis in axes:
        axis.grid(color=GRID, linewidth=0.6)
        axis.tick_params(which="both", color=GRID, labelcolor=MUTED, labelsize=8)
        for spine in axis.spines.values():
            spine.set_color(GRID)
        axis.patch.set_alpha(0)
    figure.patch.set_alpha(0)
    written = io.StringIO()
    canvas = FigureCanvasSVG(figure)
    canvas.print_svg(
        written, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    for colour, value in NAMES.items():
        text = text.replace(colour, value)
    for thing, words in (told or {}).items():
        title = f"<title>{html.escape(words)}</title>"
        text = text.replace(f'<g id="{thing}">', f'<g id="{thing}">{title}', 1)
    text = re.sub(r'\bid="', f'id="{about.name}-', text)
    text = re.sub(r"url\(#", f"url(#{about.name}-", text)
    text = re.sub(r'href="#', f'href="#{about.name}-', text)
    # Its size is the page's matter.
    text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text, count=1)
    label = html.escape(about.alt)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip()
