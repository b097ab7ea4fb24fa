"""Reading numbers that may come as text."""

from __future__ import annotations

import math
import re

# What JSON calls a number, with the sign and the missing digits that people also type.
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")


def finite_number(value: object) -> float | None:
    """
    Read a finite number.

    :param value: an int, a float, or a string of up to 200 characters holding a decimal number.
    :return: the number, or None where `value` is none: booleans, NaN, infinities and numbers too
        large to be finite are not numbers here. It is never -0: people would be told of -0 km.
    """
    if type(value) is float:
        return value + 0.0 if math.isfinite(value) else None
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip(" \t")
        if len(value) > 200 or not _DECIMAL.match(value):
            return None
    elif not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number + 0.0 if math.isfinite(number) else None


def with_point(text: str) -> str:
    """The end of a message about a `text` that is no number, where it is one with a comma."""
    plain = text.strip().replace(",", ".")
    return f"; write a point: {plain}" if "," in text and finite_number(plain) is not None else ""


def whole_number(value: object) -> int | None:
    """
    Read an integer, as :func:`finite_number` reads a number; ``5.0`` and ``"5"`` are 5.

    :return: the integer, or None where `value` is none.
    """
    number = finite_number(value)
    if number is None or not number.is_integer():
        return None
    return int(number)


def millionths(value: float) -> float:
    """`value`, a finite one, rounded to six decimals, in less time than `round` takes."""
    # From 2 ** 53 millionths on, a float has no more decimals than six.
    return round(value * 1e6) / 1e6 if abs(value) < 9e9 else value


def rounded(figure: float | None) -> float | None:
    """A figure as replies have it, in :func:`millionths`; None, where it is not known."""
    return None if figure is None else millionths(figure)
