"""Reading and writing the two data sets of a network: the cars (JSON) and the stations (CSV)."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from evcharge.models.electric_car import CarModel
from evcharge.models.station import DEFAULT_PRICE_KWH, Station
from evcharge.utils.numbers import finite_number, whole_number

COLUMNS = (
    "id",
    "nomeDoPosto",
    "endereço",
    "latitude",
    "longitude",
    "quantidadeDeVeiculosSimultaneos",
)
OPTIONAL_COLUMNS = ("potenciaKW", "precoKWh", "conectores")
MOST_SLOTS = 1000


class DatasetError(Exception):
    """A data set has mistakes: `problems` names each, with its source and place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse_car_models(content: bytes, source: str) -> dict[str, dict[str, Any]]:
    """
    Read a catalogue.

    :param content: JSON, an object keyed by the model's name.
    :param source: where it is from, for the messages.
    :return: the facts of each model, whatever it has of them, with the numbers as numbers.
    :raise DatasetError: names every model and field that is wrong.
    """
    try:
        catalogue = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DatasetError([f"{source}: not JSON: {error}"]) from None
    if not isinstance(catalogue, dict):
        raise DatasetError([f"{source}: must be a JSON object keyed by model name"])
    problems = []
    models = {}
    for name, facts in catalogue.items():
        if not isinstance(facts, dict):
            problems.append(f"{source}: model {name!r}: must be an object")
            continue
        try:
            models[name] = {**facts, **CarModel.from_facts(facts).facts()}
        except ValueError as error:
            problems.append(f"{source}: model {name!r}: {error}")
    try:
        json.dumps(catalogue, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        problems.append(f"{source}: has text that is not Unicode (half of a surrogate pair)")
    if not catalogue:
        problems.append(f"{source}: has no car model")
    if problems:
        raise DatasetError(problems)
    return models


@attrs.frozen
class StationRows:
    """The stations of a CSV file, with the file's own columns and cells."""

    columns: list[str]
    rows: dict[int, Mapping[str, str]]
    stations: dict[int, Station]
    """By id, like the rows, in id order."""


def parse_stations(content: bytes, source: str) -> StationRows:
    """
    Read the stations of a network.

    :param content: UTF-8 CSV separated by ';' with the columns of :data:`COLUMNS`, optionally
        those of :data:`OPTIONAL_COLUMNS`, and any others.
    :param source: where it is from, for the messages.
    :raise DatasetError: names every line and column that is wrong.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError([f"{source}: not UTF-8: byte {error.start}"]) from None
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";", strict=True)
    problems: list[str] = []
    rows: dict[int, Mapping[str, str]] = {}
    stations: dict[int, Station] = {}
    lines: dict[int, int] = {}
    try:
        columns = [unicodedata.normalize("NFC", name.strip()) for name in (reader.fieldnames or ())]
        reader.fieldnames = columns
        absent = [name for name in COLUMNS if name not in columns]
        if absent:
            raise DatasetError([f"{source}: line 1: column {name!r} is missing" for name in absent])
        for row in reader:
            line = reader.line_num
            if not any(value for value in row.values()):
                continue
            station, wrong = _station(row)
            station_id = whole_number(row["id"])
            if station_id is not None and lines.setdefault(station_id, line) != line:
                wrong.append(f"column id: {station_id} is on line {lines[station_id]} already")
            problems += [f"{source}: line {line}, {problem}" for problem in wrong]
            if station is not None:
                rows[station.station_id] = {
                    name: value or "" for name, value in row.items() if isinstance(name, str)
                }
                stations[station.station_id] = station
    except csv.Error as error:
        problems.append(f"{source}: line {reader.line_num}: {error}")
    if not rows and not problems:
        problems.append(f"{source}: has no station")
    if problems:
        raise DatasetError(problems)
    return StationRows(columns, rows, dict(sorted(stations.items())))


def _station(row: Mapping[Any, Any]) -> tuple[Station | None, list[str]]:
    """A row's station, or None, and what is wrong with the row, column by column."""
    wrong: list[str] = []

    def cell(name: str) -> str:
        return (row.get(name) or "").strip()

    def number(
        name: str, least: float, most: float, whole: bool = False, optional: bool = False
    ) -> Any:
        text = cell(name)
        if not text:
            if not optional:
                wrong.append(f"column {name}: is missing")
            return None
        value = whole_number(text) if whole else finite_number(text)
        if value is None:
            kind = "a whole number" if whole else "a number"
            wrong.append(f"column {name}: {text!r} is not {kind}")
        elif not least <= value <= most:
            wrong.append(f"column {name}: {text} is out of range ({least:g} to {most:g})")
        else:
            return value
        return None

    station_id = number("id", 0, 2**31 - 1, whole=True)
    name = cell("nomeDoPosto")
    if not name:
        wrong.append("column nomeDoPosto: is missing")
    latitude = number("latitude", -90, 90)
    longitude = number("longitude", -180, 180)
    slots = number("quantidadeDeVeiculosSimultaneos", 1, MOST_SLOTS, whole=True)
    power = number("potenciaKW", 0.1, 10_000, optional=True)
    number("precoKWh", 0, 10_000, optional=True)
    if None in row:
        wrong.append(f"after the last column: {len(row[None])} cells too many")
    if wrong:
        return None, wrong
    price = cell("precoKWh")
    return (
        Station(
            station_id=station_id,
            name=name,
            address=cell("endereço"),
            latitude=latitude,
            longitude=longitude,
            max_slots=slots,
            power_kw=power,
            price_kwh=Decimal(price) if price else DEFAULT_PRICE_KWH,
            connectors=tuple(c.strip() for c in cell("conectores").split(",") if c.strip()),
        ),
        wrong,
    )


def merge_car_models(there: Mapping[str, Any], more: Mapping[str, Any]) -> bytes:
    """The catalogue `there` with the models that only `more` has, as JSON."""
    return json.dumps({**more, **there}, ensure_ascii=False, indent=1).encode() + b"\n"


def merge_stations(there: StationRows | None, more: StationRows) -> bytes:
    """The rows `there`, as they are, and those that only `more` has, as CSV."""
    first = more if there is None else there
    columns = [*first.columns, *(name for name in more.columns if name not in first.columns)]
    rows = {**more.rows, **first.rows}
    return station_csv(columns, [row for _, row in sorted(rows.items())])


def station_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A file of stations; a row may lack columns. :func:`parse_stations` reads the same cells."""
    lines = []
    for cells in (dict(zip(columns, columns, strict=True)), *rows):
        text = io.StringIO(newline="")
        # With this end of line a cell that has any part of it is quoted.
        csv.DictWriter(text, columns, "", delimiter=";", lineterminator="\r\n").writerow(cells)
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines).encode()
