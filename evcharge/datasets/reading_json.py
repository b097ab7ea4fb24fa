"""JSON files as people write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from evcharge.datasets.problems import DatasetError

MOST_DIGITS = 400
"""An integer of more digits than any figure has stays text, and is none."""


def read_json(content: bytes, source: str, parse_float: Callable[[str], Any] | None = None) -> Any:
    """
    What a file of JSON holds.

    :param source: where it is from, for the message.
    :param parse_float: makes numbers that are not whole of their text; else they are floats.
    :raise DatasetError: it is not JSON.
    """
    try:
        text = content.decode("utf-8-sig", "surrogateescape")
        return json.loads(text, parse_int=_integer, parse_float=parse_float)
    except RecursionError:
        raise DatasetError([f"{source}: not JSON: nested too deeply"]) from None
    except ValueError as error:
        raise DatasetError([f"{source}: not JSON: {error}"]) from None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MOST_DIGITS else digits
