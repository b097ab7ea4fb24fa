"""The stations of a network, as a CSV file has them."""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import attrs

from evcharge.datasets.columns import (
    COLUMNS,
    FIGURES,
    OPTIONAL_COLUMNS,
    TARIFF_COLUMNS,
    meaning,
)
from evcharge.datasets.tables import Row
from evcharge.models.station import Station
from evcharge.utils.geo_utils import distance_km

FAR_KM = 500.0
"""How far from the middle of the others a station is not expected, km."""

MIDDLE = (-12.2503, -38.9598)
"""The middle of the shipped network: latitude and longitude, degrees."""


@attrs.frozen
class WrongRow:
    """A row that is no station, because something is wrong with it."""

    cells: Mapping[str, str]
    """As they are, by column; under "" what stands behind the last column."""
    station: Station | None
    """The station, as far as it can be read; None where it is not known which one it is."""


@attrs.frozen
class StationRows:
    """The stations of a CSV file, with the file's own columns and cells."""

    columns: Sequence[str]
    """Under the names of :data:`OWN_COLUMNS` where they mean those."""
    rows: Mapping[int, Mapping[str, str]]
    """With numbers as programs write them."""
    stations: Mapping[int, Station]
    """By id, like the rows, in id order."""
    wrong: Sequence[WrongRow] = ()
    problems: Sequence[str] = ()
    """What is wrong with those, cell by cell."""
    doubts: Sequence[str] = ()
    """What may be wrong with the others."""
    _source: str = ""
    _read: Mapping[int, Row] = attrs.field(factory=dict, eq=False, repr=False)

    @property
    def known(self) -> dict[int, Station]:
        """Every station that it names, the wrong rows' as far as they can be read."""
        wrong = {row.station.station_id: row.station for row in self.wrong if row.station}
        return {**wrong, **self.stations}

    def said(self, station_id: int, column: str, what: str) -> str:
        """What there is to say about a cell of a station that can be used."""
        line, character = self._read[station_id].place(self.columns.index(column))
        return f"{self._source}: line {line}, column {column}: {what}, at character {character}"

    def out_of_place(self, others: Iterable[Station] = ()) -> list[str]:
        """
        Which stations are far from where one would look for them, or would not be if their latitude
        were their longitude.

        :param others: the network that they come to.
        """
        places = {
            s.station_id: (s.latitude, s.longitude) for s in (*others, *self.stations.values())
        }
        latitudes = sorted(latitude for latitude, _ in places.values())
        longitudes = sorted(longitude for _, longitude in places.values())
        # A file that has all of them the wrong way round looks sound in itself.
        swapped = bool(places) and _is_near((median(longitudes), median(latitudes)), MIDDLE)
        doubts = []
        for station_id, station in self.stations.items():
            here = (station.latitude, station.longitude)
            middle = (
                MIDDLE
                if swapped or len(places) == 1
                else (_median_without(latitudes, here[0]), _median_without(longitudes, here[1]))
            )
            far = distance_km(*here, *middle)
            if far <= FAR_KM:
                continue
            of = "of the other stations" if middle is not MIDDLE else "of Feira de Santana"
            doubt = f"{here[0]:g}, {here[1]:g} is {far:.0f} km from the middle {of}"
            if _is_near((here[1], here[0]), middle):
                doubt += ": latitude and longitude seem to be swapped"
            row = self._read[station_id]
            place = self.columns.index("latitude")
            line, character = row.place(place)
            doubts.append(
                f"{self._source}: line {line}, columns latitude and longitude: {doubt}, "
                f"at character {character}"
            )
        return doubts


def _is_near(place: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs(place[0]) <= 90 and distance_km(*place, *other) <= FAR_KM


def _median_without(numbers: Sequence[float], one: float) -> float:
    """The median of sorted numbers without one of them."""
    place, left = bisect_left(numbers, one), len(numbers) - 1

    def nth(number: int) -> float:
        return numbers[number + (number >= place)]

    return (nth((left - 1) // 2) + nth(left // 2)) / 2


# Writing

OWN_COLUMNS = (*COLUMNS, *OPTIONAL_COLUMNS, *TARIFF_COLUMNS)
"""Those that a station is made of."""


def other_columns(cells: Mapping[str, str]) -> dict[str, str]:
    """What of a row evcharge has no use for."""
    return {name: cell for name, cell in cells.items() if name not in OWN_COLUMNS}


def merge_stations(there: StationRows | None, more: StationRows) -> bytes:
    """The rows `there`, the wrong ones too, and those of stations that only `more` has, as CSV."""
    if there is None:
        there = StationRows(more.columns, {}, {})
    columns = [*there.columns, *(name for name in more.columns if name not in there.columns)]
    known = there.known
    new = {number: row for number, row in more.rows.items() if number not in known}
    rows = sorted({**new, **there.rows}.items())
    return station_csv(columns, [row for _, row in rows], [row.cells for row in there.wrong])


def station_csv(
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    wrong: Iterable[Mapping[str, str]] = (),
) -> bytes:
    """
    A file of stations, of which :func:`read_stations` reads the same.

    :param columns: the names in the header; a row may lack some.
    :param rows: the cells of each, with numbers as programs write them.
    :param wrong: the cells of rows that are no stations, as they are: :class:`WrongRow`.
    """
    wrong = list(wrong)
    figures = [figure.name for figure in FIGURES]
    # Beside a decimal comma a point with three digits behind it is one between thousands.
    commas = any("," in row.get(name, "") for row in wrong for name in figures)
    lines = [_line(_titles(columns))]
    for row in rows:
        cells = (
            {**row, **{n: _no_thousands(row[n]) for n in figures if n in row}} if commas else row
        )
        lines.append(_line([cells.get(name, "") for name in columns]))
    for row in wrong:
        beyond = [row[""]] if row.get("") else []
        lines.append(_line([*(row.get(name, "") for name in columns), *beyond]))
    return "".join(lines).encode("utf-8", "surrogateescape")


def _titles(columns: Sequence[str]) -> list[str]:
    """The names, of which no two mean the same to :func:`read_stations`."""
    titles: list[str] = []
    for name in columns:
        meant = set(map(meaning, titles)) - {""}
        titles.append(unused(f"{name} #2", titles) if meaning(name) in meant else name)
    return titles


def unused(name: str, names: Collection[str]) -> str:
    """A name that is none of `names`; `name` itself, if it is one."""
    new, number = name or "#1", 1
    while new in names:
        number += 1
        new = f"{name} #{number}".strip()
    return new


def _no_thousands(cell: object) -> str:
    text = str(cell)
    return text + "0" if re.search(r"\.[0-9]{3}\Z", text) else text


def _line(cells: Sequence[object]) -> str:
    text = io.StringIO(newline="")
    # With this end of line a cell that has any part of it is quoted.
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"
