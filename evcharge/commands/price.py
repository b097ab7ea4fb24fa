"""`evcharge price`: the bill of a session by a tariff, line by line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from evcharge.commands import USAGE, Exit
from evcharge.datasets.problems import DatasetError
from evcharge.datasets.reading_json import read_json
from evcharge.models.station import DEFAULT_TIME_ZONE, zone_of
from evcharge.models.tariffs import Bill, Segment, TariffError, parse_tariff, price
from evcharge.models.tariffs.objects import Kind, Line, Outcome
from evcharge.utils.numbers import finite_number
from evcharge.utils.objects import ObjectReader

MOST_SECONDS = 366 * 86400.0
"""The longest session that is priced."""

FIRST_YEAR, LAST_YEAR = 1900, 9000
"""In which it may begin."""

MOST_FIGURE = 1e6
FIGURES = ("energy_kwh", "power_kw", "power_from_kw", "power_to_kw", "current_a")
"""What a segment may have, each up to that."""


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    parser = commands.add_parser(
        "price",
        help="work out what a session costs by a tariff",
        example="evcharge price --tariff tariff.json --session session.json",
        description=(
            "Works out what a session costs by an OCPI 2.2.1 tariff, and prints the receipt line "
            "by line. The session file has start (local time), time_zone and segments. Each "
            "segment has kind (reserved, charging or idle) and seconds. One of charging also has "
            "energy_kwh and, if known, current_a and power_kw, or power_from_kw and power_to_kw. "
            "If there was a reservation, the file has reservation_outcome: used, expired or "
            "cancelled."
        ),
    )
    parser.add_argument(
        "--tariff", metavar="FILE", required=True, help="JSON file of an OCPI tariff object"
    )
    parser.add_argument("--session", metavar="FILE", required=True, help="JSON file of the session")
    parser.add_argument("--json", action="store_true", help="print the totals and lines as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """
    Print the receipt.

    :raise Exit: a file cannot be used.
    """
    try:
        tariff = parse_tariff(_read(options.tariff))
    except TariffError as error:
        text = "\n  ".join([f"{options.tariff}: is no tariff", *error.problems])
        raise Exit(text, USAGE) from None
    segments, zone = read_session(_read(options.session), options.session)
    bill = price(tariff, segments, zone)
    if options.json:
        totals = {"total_excl_vat": str(bill.excl_vat), "total": str(bill.incl_vat)}
        print(json.dumps({**totals, "lines": [line_facts(line) for line in bill.lines]}))
        return
    print(f"tariff {tariff.tariff_id}, {tariff.currency}")
    for shown in receipt(bill):
        print(shown)


def line_facts(line: Line) -> dict[str, Any]:
    """A line as receipts have it in JSON."""
    return {
        "dimension": line.dimension,
        "quantity": round(float(line.quantity), 6),
        "unit": line.unit,
        "price": float(line.price),
        "vat": None if line.vat is None else float(line.vat),
        "step_size": line.step_size,
        "excl_vat": round(float(line.excl_vat), 4),
        "incl_vat": round(float(line.incl_vat), 4),
    }


def _plain(figure: float) -> str:
    """A number with up to six decimal places."""
    return f"{figure:.6f}".rstrip("0").rstrip(".")


def receipt(bill: Bill) -> Iterator[str]:
    """A bill as a table, and its totals."""
    head = ("", "quantity", "", "price", "VAT %", "step", "excl. VAT", "incl. VAT")
    rows = [head]
    for line in bill.lines:
        facts = line_facts(line)
        rows.append(
            (
                line.dimension,
                _plain(facts["quantity"]),
                line.unit,
                _plain(facts["price"]),
                "-" if line.vat is None else _plain(facts["vat"]),
                str(line.step_size),
                f"{facts['excl_vat']:.4f}",
                f"{facts['incl_vat']:.4f}",
            )
        )
    rows.append(("total", "", "", "", "", "", f"{bill.excl_vat}  ", f"{bill.incl_vat}  "))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = [
            cell.ljust(width) if number in (0, 2) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _read(path: str) -> Any:
    """The JSON value that a file holds, with decimal fractions as they stand there. Exit."""
    try:
        return read_json(Path(path).read_bytes(), path, Decimal)
    except OSError as error:
        raise Exit(f"{path}: {error.strerror or error}", USAGE) from None
    except DatasetError as error:
        raise Exit(str(error), USAGE) from None


def read_session(value: object, source: str) -> tuple[list[Segment], tzinfo]:
    """
    Read a session.

    :param value: the JSON object that :func:`add_to` describes.
    :param source: its file, for the messages.
    :return: its segments, and the zone whose time its start is in.
    :raise Exit: names each field that is wrong.
    """
    if not isinstance(value, Mapping):
        raise Exit(f"{source}: must be a JSON object", USAGE)
    reader = _Reader()
    session = reader.session(value)
    if session is None:
        raise Exit("\n  ".join([f"{source}: is no session", *reader.problems]), USAGE)
    return session


class _Reader(ObjectReader):
    """Reads a session."""

    def session(self, value: Mapping[str, Any]) -> tuple[list[Segment], tzinfo] | None:
        zone = self.required(value, "", "time_zone", self.zone)
        start = self.required(value, "", "start", self.start)
        outcome: Any = self.optional(
            value, "", "reservation_outcome", self.one_of(*get_args(Outcome))
        )
        segments = self.required(value, "", "segments", self.segments)
        if self.problems or zone is None or start is None or segments is None:
            return None
        at = (start if start.tzinfo is not None else start.replace(tzinfo=zone)).timestamp()
        found = []
        for kind, figures in segments:
            found.append(
                Segment(
                    kind,
                    at,
                    figures["seconds"],
                    figures.get("energy_kwh", 0.0),
                    figures.get("power_from_kw", figures.get("power_kw")),
                    figures.get("power_to_kw", figures.get("power_kw")),
                    figures.get("current_a"),
                    outcome if kind == "reserved" else None,
                )
            )
            at += figures["seconds"]
        return found, zone

    def zone(self, path: str, value: object) -> tzinfo | None:
        try:
            if isinstance(value, str):
                return zone_of(value)
        except ValueError:
            pass
        self.wrong(path, f"an IANA time zone such as {DEFAULT_TIME_ZONE}", value)
        return None

    def start(self, path: str, value: object) -> datetime | None:
        try:
            if isinstance(value, str):
                start = datetime.fromisoformat(value.replace("Z", "+00:00"))
                # There is no day before the first, and none after the last, which zones may need.
                if FIRST_YEAR <= start.year <= LAST_YEAR:
                    return start
        except ValueError:
            pass
        self.wrong(path, "a local time such as 2026-11-25T21:30:00", value)
        return None

    def segments(self, path: str, value: object) -> list[tuple[Kind, dict[str, float]]] | None:
        if not isinstance(value, list) or not value:
            self.wrong(path, "a list of one segment or more", value)
            return None
        found = [self.segment(f"{path}[{n}]", each) for n, each in enumerate(value)]
        segments = [segment for segment in found if segment is not None]
        if sum(figures.get("seconds", 0.0) for _, figures in segments) > MOST_SECONDS:
            self.problems.append(f"{path}: must be no longer than {MOST_SECONDS:.0f} s together")
        return segments

    def segment(self, path: str, value: object) -> tuple[Kind, dict[str, float]] | None:
        if not isinstance(value, Mapping):
            self.wrong(path, "an object", value)
            return None
        at = f"{path}."
        kind: Any = self.required(value, at, "kind", self.one_of(*get_args(Kind)))
        seconds = self.required(value, at, "seconds", self.figure(MOST_SECONDS))
        read = {name: self.optional(value, at, name, self.figure(MOST_FIGURE)) for name in FIGURES}
        figures = {name: figure for name, figure in read.items() if figure is not None}
        if ("power_from_kw" in figures) != ("power_to_kw" in figures):
            self.problems.append(f"{path}: must have power_from_kw and power_to_kw together")
        return kind, {"seconds": seconds or 0.0, **figures}

    def figure(self, most: float) -> Callable[[str, Any], float | None]:
        """Reads a number from 0 to `most`."""

        def read(path: str, value: object) -> float | None:
            number = finite_number(float(value) if isinstance(value, Decimal) else value)
            if number is None or not 0 <= number <= most:
                self.wrong(path, f"a number from 0 to {most:.0f}", value)
                return None
            return number

        return read
