"""JSON files as people write them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from evcharge.datasets.problems import DatasetError
from evcharge.utils.objects import shown

MOST_LEVELS = 64
"""How deep the facts of a car, an EVSE or a tariff may be nested."""

MOST_DIGITS = 400
"""An integer of more digits than any figure has stays text, and is none."""


class Doubled(dict[str, Any]):
    """An object in which a name is there more than once; the last one counts."""

    twice: tuple[str, ...] = ()
    """Those names."""


def read_json(content: bytes, source: str, parse_float: Callable[[str], Any] | None = None) -> Any:
    """
    What a file of JSON holds.

    :param source: where it is from, for the message.
    :param parse_float: makes numbers that are not whole of their text; else they are floats.
    :raise DatasetError: it is not JSON.
    """
    try:
        text = content.decode("utf-8-sig", "surrogateescape")
        return json.loads(
            text, parse_int=_integer, parse_float=parse_float, object_pairs_hook=_object
        )
    except RecursionError:
        raise DatasetError([f"{source}: not JSON: nested too deeply"]) from None
    except ValueError as error:
        raise DatasetError([f"{source}: not JSON: {error}"]) from None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MOST_DIGITS else digits


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = Doubled(found)
    doubled.twice = tuple(name for name, times in Counter(n for n, _ in pairs).items() if times > 1)
    return doubled


def named_twice(value: object, path: str = "") -> Iterator[str]:
    """The paths of what is in a value that a file holds more than once under one name."""
    if isinstance(value, dict):
        for name in value.twice if isinstance(value, Doubled) else ():
            yield f"{path}{shown(name)[1:-1]}"
        for name, part in value.items():
            yield from named_twice(part, f"{path}{shown(name)[1:-1]}.")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from named_twice(part, f"{path.removesuffix('.')}[{number}].")


def why_unwritable(value: object) -> str | None:
    """Why a value that a file holds could not be written again, or sent; None where it can."""
    if _is_deeper(value, MOST_LEVELS):
        # What can be read just so could not be written where START is answered.
        return f"is nested more than {MOST_LEVELS} levels deep"
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return "has text that is not Unicode"
    return None


def _is_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects are nested in `value` more than so many times."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in inner)
