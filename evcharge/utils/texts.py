"""Text, and what only looks like it."""

from __future__ import annotations


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
