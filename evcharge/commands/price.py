"""`evcharge price`: the bill of a session by a tariff, line by line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

from evcharge.commands import USAGE, Exit
from evcharge.models.tariffs import Bill, Segment, TariffError, parse_tariff, price
from evcharge.models.tariffs.objects import Kind, Line, Outcome
from evcharge.utils.numbers import finite_number

MOST_SECONDS = 366 * 86400.0
"""The longest session that is priced."""

FIRST_YEAR, LAST_YEAR = 1900, 9000
"""In which it may begin."""


def _unusable(text: str) -> Exit:
    return Exit(text, USAGE)


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    parser = commands.add_parser(
        "price",
        help="price a session: evcharge price --tariff tariff.json --session session.json",
        description=(
            "Reckons what a session costs by an OCPI 2.2.1 tariff, and prints the receipt line by "
            "line. The session file has start (local time), time_zone, segments (each with kind: "
            "reserved, charging or idle; seconds; for charging energy_kwh, and if known power_kw, "
            "or power_from_kw and power_to_kw, and current_a) and, where there was a reservation, "
            "reservation_outcome: used, expired or cancelled."
        ),
    )
    parser.add_argument("--tariff", metavar="FILE", required=True, help="JSON of a tariff object")
    parser.add_argument("--session", metavar="FILE", required=True, help="JSON of a session")
    parser.add_argument("--json", action="store_true", help="print totals and lines as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """
    Print the receipt.

    :raise Exit: a file cannot be used.
    """
    try:
        tariff = parse_tariff(_read(options.tariff))
    except TariffError as error:
        raise _unusable("\n  ".join([f"{options.tariff}: is no tariff", *error.problems])) from None
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


def receipt(bill: Bill) -> Iterator[str]:
    """A bill as a table, and its totals."""
    head = ("", "quantity", "", "price", "VAT %", "step", "excl. VAT", "incl. VAT")
    rows = [head]
    for line in bill.lines:
        facts = line_facts(line)
        rows.append(
            (
                line.dimension,
                f"{facts['quantity']:g}",
                line.unit,
                f"{facts['price']:g}",
                "-" if line.vat is None else f"{facts['vat']:g}",
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
        return json.loads(Path(path).read_bytes().decode("utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        raise _unusable(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise _unusable(f"{path}: is not JSON: {error}") from None


def read_session(value: object, source: str) -> tuple[list[Segment], ZoneInfo]:
    """
    Read a session.

    :param value: the JSON object that :func:`add_to` describes.
    :param source: its file, for the messages.
    :return: its segments, and the zone whose time its start is in.
    :raise Exit: names each field that is wrong.
    """
    if not isinstance(value, Mapping):
        raise _unusable(f"{source}: must be a JSON object")
    reader = _Session()
    session = reader.session(value)
    if session is None:
        raise _unusable("\n  ".join([f"{source}: is no session", *reader.problems]))
    return session


class _Session:
    """Reads, and collects what is wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def session(self, value: Mapping[str, Any]) -> tuple[list[Segment], ZoneInfo] | None:
        zone = self._zone(value.get("time_zone"))
        start = self._start(value.get("start"))
        outcome = value.get("reservation_outcome")
        if outcome is not None and outcome not in get_args(Outcome):
            self._wrong("reservation_outcome", "used, expired or cancelled")
        found = value.get("segments")
        if not isinstance(found, list) or not found:
            self._wrong("segments", "a list of one segment or more")
            found = []
        facts = [self._segment(f"segments[{n}]", segment) for n, segment in enumerate(found)]
        if sum(fact[1].get("seconds", 0.0) for fact in facts if fact) > MOST_SECONDS:
            self._wrong("segments", f"no longer than {MOST_SECONDS:.0f} seconds together")
        if self.problems or zone is None or start is None:
            return None
        at = (start if start.tzinfo is not None else start.replace(tzinfo=zone)).timestamp()
        segments = []
        for kind, figures in (fact for fact in facts if fact is not None):
            segments.append(
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
        return segments, zone

    def _wrong(self, path: str, must: str) -> None:
        self.problems.append(f"{path}: must be {must}")

    def _zone(self, value: object) -> ZoneInfo | None:
        try:
            if isinstance(value, str):
                return ZoneInfo(value)
        except (ValueError, OSError, LookupError):
            pass
        self._wrong("time_zone", "an IANA time zone such as America/Bahia")
        return None

    def _start(self, value: object) -> datetime | None:
        try:
            if isinstance(value, str):
                start = datetime.fromisoformat(value.replace("Z", "+00:00"))
                # There is no day before the first, and none after the last, which zones may need.
                if FIRST_YEAR <= start.year <= LAST_YEAR:
                    return start
        except ValueError:
            pass
        self._wrong("start", "a local time such as 2026-11-25T21:30:00")
        return None

    def _segment(self, path: str, value: object) -> tuple[Kind, dict[str, float]] | None:
        if not isinstance(value, Mapping):
            self._wrong(path, "an object")
            return None
        kind: Any = value.get("kind")
        if kind not in get_args(Kind):
            self._wrong(f"{path}.kind", "reserved, charging or idle")
        figures: dict[str, float] = {}
        bounds: dict[str, float] = {"seconds": MOST_SECONDS}
        for name in ("energy_kwh", "power_kw", "power_from_kw", "power_to_kw", "current_a"):
            bounds[name] = 1e6
        read: Callable[[object], float | None] = finite_number
        for name, most in bounds.items():
            given = value.get(name)
            if given is None and name != "seconds":
                continue
            number = read(float(given) if isinstance(given, Decimal) else given)
            if number is None or not 0 <= number <= most:
                self._wrong(f"{path}.{name}", f"a number from 0 to {most:g}")
            else:
                figures[name] = number
        if ("power_from_kw" in figures) != ("power_to_kw" in figures):
            self._wrong(path, "given power_from_kw and power_to_kw together")
        return kind, figures
