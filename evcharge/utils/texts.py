"""Text, and what only looks like it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from itertools import islice

LONGEST = 200
"""How much of a name is compared, characters: it takes the square of that."""


MOST_NAMES = 1000
"""How many names are looked at for one like another."""


def is_unicode(text: str) -> bool:
    """Whether `text` can be written in UTF-8: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def counted(number: int, what: str) -> str:
    """A number and what it counts, in English: `1 station`, `36 stations`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def beginning(text: str, longest: int) -> str:
    """The first `longest` characters of `text`, and a sign where it goes on."""
    return text if len(text) <= longest else text[:longest] + "…"


def alike(name: str, names: Iterable[str], most: int = 1) -> list[str]:
    """Those of `names` that `name` may have been meant for, the nearest first."""
    there = {each.casefold()[:LONGEST]: each for each in names}
    found = difflib.get_close_matches(name.casefold()[:LONGEST], there, n=most, cutoff=0.5)
    return [there[each] for each in found]


def did_you_mean(name: str, names: Iterable[str], before: str = "") -> str:
    """
    The end of a message about a `name` that there is not: the nearest one; nothing where none is.

    :param before: what is put before it, as `--`.
    """
    return "".join(f"; did you mean {before}{near}?" for near in alike(name, names))


def akin(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """
    Those of `names` that have words of more than two letters in common with `name`, those with the
    most first. Only so many are looked at: it must not take long, however often somebody asks.
    """
    words = _words(name)
    looked_at = islice(names, MOST_NAMES) if words else ()
    common = {each: len(words & _words(each)) for each in looked_at}
    found = [each for each, count in common.items() if count]
    return sorted(found, key=lambda each: -common[each])[:most]


def _words(name: str) -> set[str]:
    return {word for word in re.split(r"\W+", name.casefold()) if len(word) > 2}
