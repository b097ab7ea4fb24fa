"""Numbers on a command line, that are told what they must be."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from evcharge.utils.numbers import finite_number, with_point


def whole(least: int, most: int) -> Callable[[str], int]:
    """What reads an option's whole number from `least` to `most`; argparse tells of another."""

    def read(text: str) -> int:
        try:
            # Not by a float, which has fewer digits than a seed.
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, not {text!r}"
            )
        return number

    return read


def figure(least: float, most: float) -> Callable[[str], float]:
    """Likewise any number."""

    def read(text: str) -> float:
        number = finite_number(text)
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"must be a number from {least:g} to {most:g}, not {text!r}{with_point(text)}"
            )
        return number

    return read
