"""Tables and values as text, for a terminal that is only so wide."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

ELSEWHERE_COLUMNS = 120
"""How wide a table may be where no terminal says so, characters."""

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")

GAP = "  "

LONGEST_CELL = 40
"""No text makes its column wider, characters."""

READABLE = 16
"""A text column is left out rather than be narrower, characters."""


def width() -> int:
    """How wide the terminal is, or what the environment's COLUMNS says, characters."""
    return shutil.get_terminal_size((ELSEWHERE_COLUMNS, 24)).columns


def clean(text: str) -> str:
    """`text` without what a terminal would take for a command."""
    return CONTROLS.sub("�", text)


def cell(value: Any) -> str:
    """A value of JSON on one line, as a person writes it: `-` for null, lists with commas."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list) and value and not has_parts(value):
        return ", ".join(map(cell, value))
    return clean(json.dumps(value, ensure_ascii=False))


def has_parts(value: Any) -> bool:
    """Whether a value is too much for a cell: an object, or a list of lists or objects."""
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(entry, (dict, list)) for entry in value)
    )


class Column:
    """
    A column of a table.

    :param figures: whether the values are figures, also where they are text; so they are never cut.
    """

    def __init__(self, name: str, values: Sequence[Any], figures: bool = False) -> None:
        self.is_text = not figures and any(isinstance(value, (str, list, dict)) for value in values)
        self.cells = list(map(cell, values))
        self.head = [clean(name)]
        self.width = self._room_for(self.head)

    def break_head(self) -> None:
        """Make the column narrower by a head of several lines, broken behind each `_`."""
        parts = re.findall("[^_]*_|[^_]+", self.head[0])
        self.width = self._room_for(parts)
        self.head = [""]
        for part in parts:
            if len(self.head[-1] + part) <= self.width:
                self.head[-1] += part
            else:
                self.head.append(part)

    def _room_for(self, head: Sequence[str]) -> int:
        width = max(map(len, [*head, *self.cells]))
        return min(width, LONGEST_CELL) if self.is_text else width

    def fit(self, text: str) -> str:
        """A text in the column's width: numbers to the right, texts to the left, cut off."""
        if not self.is_text:
            return text.rjust(self.width)
        return text.ljust(self.width) if len(text) <= self.width else text[: self.width - 1] + "…"


def table(columns: Sequence[Column], most: int) -> Iterator[str]:
    """
    A table's lines, the head's first. Text columns are narrowed, the widest first, until it is no
    wider than `most`, or they could not be read any more.
    """
    while total(columns) > most:
        widest = max((c for c in columns if c.is_text), key=lambda c: c.width, default=None)
        if widest is None or widest.width <= READABLE:
            break
        widest.width -= 1
    height = max(len(column.head) for column in columns)
    heads = [[""] * (height - len(column.head)) + column.head for column in columns]
    for row in (*zip(*heads, strict=True), *zip(*(c.cells for c in columns), strict=True)):
        yield GAP.join(c.fit(text) for c, text in zip(columns, row, strict=True)).rstrip()


def records(rows: Sequence[Mapping[str, Any]], most: int) -> tuple[list[str], list[str]]:
    """
    A table of objects, no wider than `most`.

    :return: its lines, and the names of the columns that are left out: those of values with parts
        of their own; and for want of room texts before figures, the last first.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    shown = {
        name: Column(name, values)
        for name, values in columns.items()
        if name == names[0] or not any(map(has_parts, values))
    }
    # A number alone says nothing to a person: what it is called stays, too.
    keep = 2 if all(str(key).isdigit() for key in columns[names[0]]) else 1
    if total(shown.values()) > most:
        for column in shown.values():
            column.break_head()
    while len(shown) > keep and _least(shown.values()) > most:
        others = list(shown)[keep:]
        del shown[([name for name in others if shown[name].is_text] or others)[-1]]
    return list(table(list(shown.values()), most)), [name for name in names if name not in shown]


def numbered(names: Sequence[str], most: int) -> Sequence[str]:
    """`names` with their numbers from 1, in as many columns as `most` characters have room for."""
    cells = [f"{number:>4}  {name}" for number, name in enumerate(names, 1)]
    widest = max(map(len, cells))
    rows = math.ceil(len(cells) / max(1, most // (widest + 1)))
    padded = [cell.ljust(widest) for cell in cells]
    return [" ".join(padded[row::rows]).rstrip() for row in range(rows)]


def total(columns: Collection[Column]) -> int:
    """How wide a table of these columns is, characters."""
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def _least(columns: Collection[Column]) -> int:
    """How wide it is when its texts are as narrow as they may be."""
    return total(columns) - sum(
        c.width - READABLE for c in columns if c.is_text and c.width > READABLE
    )
