"""Where each key of a TOML file is written: `tomllib` does not say it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import attrs

Path = tuple[str | int, ...]
"""The keys and the numbers that lead to a value."""


@attrs.frozen
class Place:
    """Where something is written."""

    source: str
    """The file, or the option of the command line."""
    line: int
    """0 where that has none."""
    file: int
    """Which of the files it is, in the order in which they are told."""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACES = re.compile(r"[ \t]*")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def dotted(path: Iterable[str | int]) -> str:
    """A path as it is written: `demand.zone.0.share`, `fleet."BYD Dolphin"`."""
    parts = (part if isinstance(part, str) else str(part) for part in path)
    return ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in parts)


def lines_of(content: str) -> dict[Path, int]:
    """
    On which line each key is, by its path; entries of lists are keys by their number from 0.

    :param content: TOML that has been read without a mistake.
    """
    return _Scanner(content).scan()


class _Scanner:
    """Goes over a text that is known to be TOML."""

    def __init__(self, content: str) -> None:
        self._text = content
        self._at = 0
        self._found: dict[Path, int] = {(): 1}
        self._counts: dict[Path, int] = {}
        self._starts = [match.end() for match in re.finditer("\n", content)]
        self._line = 0

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return self._found
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return match.group()

    def _note(self, path: Path) -> None:
        # Only ever forwards.
        while self._line < len(self._starts) and self._starts[self._line] <= self._at:
            self._line += 1
        for n in range(1, len(path) + 1):
            self._found.setdefault(path[:n], self._line + 1)

    def _header(self) -> Path:
        is_list = self._text.startswith("[[", self._at)
        self._at += 2 if is_list else 1
        path: Path = ()
        names = self._names()
        for number, name in enumerate(names, 1):
            path = (*path, name)
            if number < len(names) or not is_list:
                path = self._last_of(path)
        if is_list:
            number = self._counts.get(path, 0)
            self._counts[path] = number + 1
            path = (*path, number)
        self._note(path)
        self._at += 2 if is_list else 1
        return path

    def _last_of(self, path: Path) -> Path:
        """Of a list of tables the last one is meant."""
        return (*path, self._counts[path] - 1) if path in self._counts else path

    def _names(self) -> list[str]:
        names = []
        while True:
            self._skip(_SPACES)
            if self._text[self._at] in "\"'":
                names.append(_unquoted(self._skip(_STRING)))
            else:
                names.append(self._skip(_BARE))
            self._skip(_SPACES)
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _pair(self, table: Path) -> None:
        start = self._at
        path: Path = (*table, *self._names())
        end, self._at = self._at, start
        self._note(path)
        self._at = end + 1
        self._skip(_SPACES)
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self._text[self._at]
        if opening == "[":
            self._inside("]", lambda number: self._entry((*path, number)))
        elif opening == "{":
            self._inside("}", lambda _: self._pair(path))
        elif opening in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_SCALAR)

    def _entry(self, path: Path) -> None:
        self._note(path)
        self._value(path)

    def _inside(self, closing: str, one: Callable[[int], None]) -> None:
        self._at += 1
        number = 0
        while True:
            self._skip(_BLANK)
            if self._text[self._at] == closing:
                break
            if self._text[self._at] == ",":
                self._at += 1
                continue
            one(number)
            number += 1
        self._at += 1


def _unquoted(text: str) -> str:
    if text.startswith("'"):
        return text[1:-1]

    def character(match: re.Match[str]) -> str:
        code = match.group(1)
        return _ESCAPES[code] if code in _ESCAPES else chr(int(code[1:], 16))

    return _ESCAPE.sub(character, text[1:-1])
