"""Reads the rows of a table as stations."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal

from evcharge.datasets.columns import COLUMNS, FIGURES, Figure, meaning
from evcharge.datasets.problems import DatasetError, shown
from evcharge.datasets.stations import StationRows, WrongRow, unused
from evcharge.datasets.tables import (
    NotANumber,
    Number,
    Row,
    Table,
    TableError,
    has_decimal_comma,
    has_wrong_bytes,
    read_number,
    read_table,
)
from evcharge.models.connectors import connector_kind, connector_names
from evcharge.models.station import Station, zone_of
from evcharge.utils.numbers import finite_number


def parse_stations(content: bytes, source: str) -> StationRows:
    """
    Read stations that are to be taken in.

    :param content: CSV as people have it, with the columns of :data:`COLUMNS`, optionally those of
        :data:`OPTIONAL_COLUMNS` and :data:`TARIFF_COLUMNS`, and any others.
    :param source: where it is from, for the messages.
    :raise DatasetError: names every line and column that is wrong.
    """
    rows = _Reader(_table(content, source), source, words_follow=False).read()
    if rows.problems:
        raise DatasetError(rows.problems)
    return rows


def read_stations(content: bytes, source: str) -> StationRows:
    """
    Read the stations that a network has. A number may be followed by words, which is a doubt.

    :param content: as for :func:`parse_stations`.
    :param source: likewise.
    :raise DatasetError: it is no table, or a column is missing.
    """
    return _Reader(_table(content, source), source, words_follow=True).read()


def _table(content: bytes, source: str) -> Table:
    try:
        return read_table(content, lambda title: meaning(title) != "")
    except TableError as error:
        raise DatasetError([f"{source}: {error}"]) from None


class _Reader:
    """
    Reads the rows of a table as stations.

    :param words_follow: whether words may stand behind a number, and the like.
    :raise DatasetError: a column is missing, or two mean the same.
    """

    def __init__(self, table: Table, source: str, words_follow: bool) -> None:
        self._table = table
        self._source = source
        self._words_follow = words_follow
        self._problems: list[str] = []
        self._doubts = [f"{source}: {doubt}" for doubt in table.doubts]
        titles = [unicodedata.normalize("NFC", cell.strip()) for cell in table.header.cells]
        self._columns = self._name_columns(titles)
        self._titles = dict(zip(self._columns, titles, strict=True))
        self._points_group = self._look_for_commas()
        self._lines: dict[int, int] = {}

    def _name_columns(self, titles: Sequence[str]) -> list[str]:
        columns: list[str] = []
        meant: dict[str, str] = {}
        problems = []
        for title in titles:
            name = meaning(title)
            if name and name != title and name in titles and self._words_follow:
                # Of the network's own columns, one that is called so cannot be taken away.
                self._doubts.append(f"{self._where}: column {title!r} is not read beside {name!r}")
                name = ""
            if name and name in meant:
                problems.append(f"columns {meant[name]!r} and {title!r} both mean {name}")
            meant.setdefault(name, title)
            # Every column is kept, also one that has no name, or that of another.
            columns.append(unused(name or title, columns))
        lacking = [name for name in COLUMNS if name not in columns]
        if len(lacking) == len(COLUMNS):
            problems.append(
                f"has none of the columns {', '.join(COLUMNS)}; is {self._table.separator!r} what "
                "separates them? It can be ';', ',', a tab or '|'"
            )
        elif lacking:
            problems.append(f"columns missing: {', '.join(lacking)}")
        if problems:
            raise DatasetError([f"{self._where}: {problem}" for problem in problems])
        return columns

    @property
    def _where(self) -> str:
        return f"{self._source}: line {self._table.header.line}"

    def _look_for_commas(self) -> dict[str, bool]:
        """For each column of numbers, whether a point in it stands between thousands."""
        commas = {}
        for name in (figure.name for figure in FIGURES if figure.name in self._columns):
            place = self._columns.index(name)
            cells = (row.cells[place] for row in self._table.rows if len(row.cells) > place)
            commas[name] = any("," in cell and has_decimal_comma(cell) for cell in cells)
        everywhere = self._table.separator == ";" and any(commas.values())
        return dict.fromkeys(commas, True) if everywhere else commas

    def read(self) -> StationRows:
        """The rows."""
        rows: dict[int, Mapping[str, str]] = {}
        stations: dict[int, Station] = {}
        read: dict[int, Row] = {}
        wrong: list[WrongRow] = []
        for row in self._table.rows:
            before = len(self._problems)
            cells, numbers, station = self._read_row(row)
            is_wrong = station is None or len(self._problems) > before
            if self._may_hold_rows(row):
                what = f"line {row.line}: its quotes go on to line {row.last_line}"
                told = self._problems if is_wrong else self._doubts
                told.append(f"{self._source}: {what}")
            if station is None or is_wrong:
                wrong.append(WrongRow({n: cell for n, cell in cells.items() if cell}, station))
            else:
                stations[station.station_id] = station
                rows[station.station_id] = {**cells, **numbers}
                read[station.station_id] = row
        if not self._table.rows:
            self._problems.append(f"{self._source}: has no station")
        return StationRows(
            self._columns,
            rows,
            dict(sorted(stations.items())),
            wrong,
            self._problems,
            self._doubts,
            self._source,
            read,
        )

    def _may_hold_rows(self, row: Row) -> bool:
        """Whether quotes that were forgotten may have made other rows part of this one."""
        if row.last_line == row.line:
            return False
        required = max(map(self._columns.index, COLUMNS))
        separators = max(cell.count(self._table.separator) for cell in row.cells)
        return len(row.cells) <= required or separators >= len(COLUMNS) - 1

    def _read_row(self, row: Row) -> tuple[dict[str, str], dict[str, str], Station | None]:
        """A row's cells, its numbers as programs write them, and its station as far as it goes."""
        if row.fault is not None:
            position, what = row.fault
            line, character = row.at(position)
            self._problems.append(f"{self._source}: line {line}: {what}, at character {character}")
            return {"id": row.text}, {}, None
        lacking = [""] * (len(self._columns) - len(row.cells))
        cells = dict(zip(self._columns, [*row.cells, *lacking], strict=False))
        numbers = {}
        for figure in FIGURES:
            plain = self._read_figure(row, cells.get(figure.name, "").strip(), figure)
            if plain:
                numbers[figure.name] = plain
        station_id = int(float(numbers["id"])) if "id" in numbers else None
        if station_id is not None and self._lines.setdefault(station_id, row.line) != row.line:
            self._wrong(row, "id", f"{station_id} is on line {self._lines[station_id]} already")
            station_id = None
        name = cells["nomeDoPosto"].strip()
        if not name:
            self._wrong(row, "nomeDoPosto", "is missing")
        connectors = connector_names(cells.get("conectores", ""))
        for connector in connectors:
            if connector_kind(connector) is None:
                what = f"{shown(repr(connector))} is not a connector that is known"
                self._doubt(row, "conectores", f"{what}; it is not taken for DC")
        zone = cells.get("fusoHorario", "").strip()
        if zone:
            try:
                zone_of(zone)
            except ValueError as error:
                self._wrong(row, "fusoHorario", shown(str(error)))
        self._look_at_the_rest(row, cells)
        if station_id is None:
            return cells, numbers, None
        price = numbers.get("precoKWh")
        return (
            cells,
            numbers,
            Station(
                station_id=station_id,
                name=_text(name),
                address=_text(cells["endereço"].strip()),
                latitude=float(numbers.get("latitude", 0)),
                longitude=float(numbers.get("longitude", 0)),
                max_slots=int(float(numbers.get("quantidadeDeVeiculosSimultaneos", 0))),
                power_kw=float(numbers["potenciaKW"]) if "potenciaKW" in numbers else None,
                price_kwh=Decimal(price) if price else None,
                connectors=tuple(map(_text, connectors)),
                tariff_id=_text(cells.get("tarifa", "").strip()) or None,
                time_zone=_text(zone) or None,
            ),
        )

    def _read_figure(self, row: Row, text: str, figure: Figure) -> str | None:
        """The number in a cell, as programs write it; None where it is missing or wrong."""
        if not text:
            if not figure.is_optional:
                self._wrong(row, figure.name, "is missing")
            return None
        kind = "a whole number" if figure.is_whole else "a number"
        try:
            number = read_number(text, self._points_group[figure.name])
        except NotANumber as error:
            otherwise = finite_number(error.otherwise)
            what = f"{shown(repr(text))} is not {kind}" + (f": {error.why}" if error.why else "")
            perhaps = f" ({otherwise!r}?)" if otherwise is not None else ""
            self._wrong(row, figure.name, what + perhaps)
            return None
        value = float(number.plain)
        if figure.is_whole and not value.is_integer():
            self._wrong(row, figure.name, f"{shown(repr(text))} is not {kind}")
        elif not figure.least <= value <= figure.most:
            limits = f"({figure.least:g} to {figure.most:g})"
            what = f"{shown(text)} is out of range {limits}{_perhaps(number, figure)}"
            self._wrong(row, figure.name, what)
        elif number.words and not self._words_follow:
            what = f"{shown(repr(text))} is not {kind}: words follow it"
            self._wrong(row, figure.name, what)
        else:
            if number.words:
                self._doubt(row, figure.name, f"{shown(repr(text))} is read as {number.plain}")
            if figure.name == "precoKWh" and value == 0:
                self._doubt(row, figure.name, f"{shown(text)} means that charging is free")
            return number.plain
        return None

    def _look_at_the_rest(self, row: Row, cells: dict[str, str]) -> None:
        """What is wrong with a row that is not in one cell of numbers."""
        beyond = row.cells[len(self._columns) :]
        if any(cell.strip() for cell in beyond):
            line, character = row.place(len(self._columns))
            self._problems.append(
                f"{self._source}: line {row.line}, after the last column: "
                f"{len(beyond)} cells too many, at character {character} of line {line}"
            )
            cells[""] = ";".join(beyond)
        if has_wrong_bytes(row.text):
            for name, cell in cells.items():
                if has_wrong_bytes(cell):
                    self._wrong(row, name, "has bytes that are not text in UTF-8")

    def _wrong(self, row: Row, name: str, what: str) -> None:
        self._problems.append(self._said(row, name, what))

    def _doubt(self, row: Row, name: str, what: str) -> None:
        self._doubts.append(self._said(row, name, what))

    def _said(self, row: Row, name: str, what: str) -> str:
        place = self._columns.index(name) if name in self._columns else len(self._columns)
        line, character = row.place(place)
        title = shown(self._titles.get(name, name))
        return f"{self._source}: line {line}, column {title}: {what}, at character {character}"


def _perhaps(number: Number, figure: Figure) -> str:
    """What a number that is out of range may have been."""
    value = float(number.plain)
    meant = [finite_number(number.otherwise)]
    if figure.name in ("latitude", "longitude"):
        meant += [float(f"{value:e}".partition("e")[0]) * 10**power for power in (2, 1, 0)]
    fitting = [m for m in meant if m is not None and figure.least <= m <= figure.most]
    perhaps = f" ({fitting[0]:.10g}?)" if fitting else ""
    if figure.name in ("latitude", "longitude"):
        return f": the decimal point may have been lost{perhaps}"
    if figure.name == "precoKWh" and value > figure.most:
        return f": it is BRL per kWh{perhaps}"
    return perhaps


def _text(text: str) -> str:
    """The same without bytes that are none: of a row that is wrong, something may have them."""
    return text.encode("utf-8", "replace").decode() if has_wrong_bytes(text) else text
