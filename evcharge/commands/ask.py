"""`evcharge ask`: one request, and its reply for a person to read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from evcharge.client import NoReply
from evcharge.commands import FAILED, SUCCESS, USAGE, Exit
from evcharge.commands.connecting import add_server_options, connect, silent
from evcharge.commands.tables import cell, clean, has_parts, records, width
from evcharge.outcomes import Phrase
from evcharge.utils.numbers import with_point

TYPES = (
    "START, LOGIN, NAVIGATION, PLAN, SELECTION_STATION, PAYMENT, RESERVE, ARRIVE, STOP, CANCEL, "
    "STATUS, RECEIPT, HISTORY, SUBSCRIBE"
)

NOT_SHOWN = Phrase("(fora da tabela: {names}; veja --json)", "(not shown: {names}; see --json)")

INDENT = "  "


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    parser = commands.add_parser(
        "ask",
        help="send one request to a server and print its reply",
        example="evcharge ask START",
        description=(
            "Sends one request to a running server and prints its reply. A value that is JSON is "
            'sent as JSON: 40, true, \'{"latitude": -12.27, "longitude": -38.97}\'. Any other is '
            "sent as text, and so is '\"40\"'. Exit status: 0 when the reply's code is 200, 1 when "
            "it is another, 2 for wrong usage, 3 when no reply comes."
        ),
    )
    parser.add_argument("type", metavar="TYPE", help=f"type of the request: {TYPES}")
    parser.add_argument(
        "fields",
        nargs="*",
        default=[],
        metavar="FIELD=VALUE",
        help="field of the request's data, as battery_car=40",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the reply as it came, on one line"
    )
    add_server_options(parser, "en")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> NoReturn:
    """
    Send the request, print the reply, and exit with the status that it stands for.

    :raise Exit: the command is used wrongly, or no reply comes.
    """
    kind, data = options.type.upper(), _data(options.fields)
    try:
        json.dumps([kind, data], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Exit("what is to be sent must be UTF-8", USAGE) from None
    lines: list[bytes] = []
    try:
        with connect(options, lambda way, line: lines.append(line)) as server:
            reply = server.request(kind, **data)
    except NoReply as error:
        raise silent(options, error) from None
    if options.json:
        sys.stdout.buffer.write(lines[-1] + b"\n")
        sys.stdout.flush()
    else:
        for line in shown(reply, width(), options.language):
            print(line)
    if reply["data"].get("reason") == "invalid_field":
        for name, value in data.items():
            advice = with_point(value) if isinstance(value, str) else ""
            if advice and f" {name} " in reply["status"]["message"]:
                print(f"evcharge: {name}={value}{advice}", file=sys.stderr)
    sys.exit(SUCCESS if reply["status"]["code"] == 200 else FAILED)


def _data(fields: Sequence[str]) -> dict[str, Any]:
    """The data that `fields` say. Exit: one of them is no FIELD=VALUE."""
    data: dict[str, Any] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals or not name:
            raise Exit(
                f"a field is FIELD=VALUE, as battery_car=40, not {field!r}; quote a value that has "
                'spaces: selected_car="Tesla Model 3"',
                USAGE,
            )
        if name in data:
            raise Exit(f"{name} is given twice", USAGE)
        data[name] = _value(value)
    return data


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(text: str) -> float:
    """A number that JSON can have; ValueError: NaN, or too large for anybody to read."""
    number = float(text)
    if number - number != 0:
        raise ValueError(text)
    return number


def shown(reply: Mapping[str, Any], most: int, language: str) -> Iterator[str]:
    """
    A reply as lines for a person: how it went, what it says, single values, then tables.

    :param most: how wide a table may be, characters.
    """
    status, data = reply["status"], reply["data"]
    yield clean(f"{status['code']} {status['message']}")
    if data.get("message", status["message"]) != status["message"]:
        yield cell(data["message"])
    values = dict(_values(data))
    parts = {name: rows for name, value in values.items() if (rows := _rows(value))}
    single = {name: value for name, value in values.items() if name not in (*parts, "message")}
    longest = max(map(len, single), default=0)
    for name, value in single.items():
        yield f"{clean(name):<{longest}}  {cell(value)}"
    for name, rows in parts.items():
        yield ""
        yield f"{clean(name)}:"
        lines, left_out = records(rows, most - len(INDENT))
        for line in lines:
            yield f"{INDENT}{line}".rstrip()
        if left_out:
            yield INDENT + NOT_SHOWN.say(language, {"names": clean(", ".join(left_out))})


def _values(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What there is to show, by its name; what has tables in it is shown value by value."""
    for name, value in data.items():
        if isinstance(value, dict) and not _rows(value) and any(map(_rows, value.values())):
            yield from ((f"{name}.{part}", each) for part, each in value.items())
        else:
            yield name, value


def _rows(value: Any) -> Sequence[Mapping[str, Any]] | None:
    """What is best shown as a table: objects, in a list or keyed by what they are called."""
    if not value or not has_parts(value):
        return None
    entries = list(value.values()) if isinstance(value, dict) else value
    if not all(entry and isinstance(entry, dict) for entry in entries):
        return None
    if isinstance(value, dict):
        return [{"": key, **entry} for key, entry in value.items()]
    return list(entries)
