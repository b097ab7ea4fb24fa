"""Reading objects of JSON that people write: each mistake is named by its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def shown(value: object) -> str:
    """A value for a message, short, as JSON shows it."""
    if isinstance(value, str):
        text = '"' + value.encode("unicode_escape").decode() + '"'
    elif value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, Mapping):
        text = "an object"
    elif isinstance(value, (list, tuple)):
        text = "a list"
    elif isinstance(value, int) and abs(value) >= 10**100:
        text = "a number of very many digits"
    else:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


class ObjectReader:
    """Reads, and collects what is wrong. What is null counts as missing."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def wrong(self, path: str, must: str, value: object) -> None:
        """Say that the value at `path` must be something else."""
        self.problems.append(f"{path}: must be {must}, not {shown(value)}")

    def required(
        self, fields: Mapping[str, Any], path: str, name: str, read: Callable[[str, Any], T | None]
    ) -> T | None:
        """A field that has to be there."""
        if fields.get(name) is None:
            self.problems.append(f"{path}{name}: is missing")
            return None
        return read(path + name, fields[name])

    def optional(
        self, fields: Mapping[str, Any], path: str, name: str, read: Callable[[str, Any], T | None]
    ) -> T | None:
        """A field that may be missing."""
        return None if fields.get(name) is None else read(path + name, fields[name])

    def text(self, longest: int) -> Callable[[str, Any], str | None]:
        """Reads text that people can see."""

        def read(path: str, value: object) -> str | None:
            if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable():
                return value
            self.wrong(path, f"text of 1 to {longest} characters", value)
            return None

        return read

    def one_of(self, *choices: str) -> Callable[[str, Any], str | None]:
        """Reads one of some words."""

        def read(path: str, value: object) -> str | None:
            if isinstance(value, str) and value in choices:
                return value
            self.wrong(path, f"one of {', '.join(choices)}", value)
            return None

        return read
