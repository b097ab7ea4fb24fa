"""Mistakes in a data set, as people are told of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evcharge.utils.texts import beginning

MOST_LISTED = 20
"""How many lines one list of mistakes has at most, before it only counts."""


MOST_SHOWN = 60
"""How much of a cell or a name is repeated, characters."""


class DatasetError(Exception):
    """A data set has mistakes: `problems` names each, with its source and place."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(listed(self.problems)))


def listed(problems: Sequence[str]) -> list[str]:
    """The first of `problems`, and how many more there are."""
    more = len(problems) - MOST_LISTED
    return [*problems[:MOST_LISTED], *([f"… and {more} more"] if more > 0 else [])]


def shown(text: str) -> str:
    """Text of a data set as a message has it: not all of it, and nothing that moves a cursor."""
    start = beginning(text, MOST_SHOWN)
    return start if start.isprintable() else repr(start)
