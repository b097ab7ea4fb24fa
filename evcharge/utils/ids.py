"""Ids that cannot be guessed, and what may be said of one."""

from __future__ import annotations

import os

_MOST_SAID = 6
"""Characters: 24 random bits of the 74 that our ids have."""


def uuid7(now: float) -> str:
    """
    Make a UUID of version 7 (RFC 9562): the milliseconds of `now`, then 74 random bits.

    Ids made one after another stand one after another, so that a database which keeps its rows in
    their order writes few pages for many of them.

    :param now: seconds since the epoch.
    :return: its text, 36 characters. The random bits are from the system's source.
    """
    random = int.from_bytes(os.urandom(10), "big")
    value = (
        (int(now * 1000) & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (random >> 62 & 0xFFF) << 64
        | 0b10 << 62
        | random & 0x3FFF_FFFF_FFFF_FFFF
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def ending(user_id: str) -> str:
    """
    What a log or a list may have of a user's id, which is a bearer secret: its last characters.

    Of ours they are random, so they tell users apart; the first ones are the time. They are never
    more than a third of the id, and nothing of one of two characters.
    """
    return user_id[len(user_id) - min(_MOST_SAID, len(user_id) // 3) :]
