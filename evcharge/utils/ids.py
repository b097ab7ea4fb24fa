"""Ids that cannot be guessed, and what may be said of one."""

from __future__ import annotations

import hashlib
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


def derived_id(secret: str, what: str, now: float | None = None) -> str:
    """
    Make an id that nobody can guess who does not know `secret`, and that is the same each time.

    :param what: tells ids of one secret apart.
    :param now: seconds since the epoch, which it begins with, as :func:`uuid7` has it; None: those
        that `secret` begins with, if it is such an id.
    """
    digits = hashlib.sha256(f"{what} {secret}".encode("utf-8", "surrogatepass")).hexdigest()
    if now is None:
        begin = secret[:8] + secret[9:13]
        is_id = len(secret) == 36 and not begin.strip("0123456789abcdef")
        milliseconds = begin if is_id else digits[20:32]
    else:
        milliseconds = f"{int(now * 1000) & 0xFFFF_FFFF_FFFF:012x}"
    variant = "89ab"[int(digits[3], 16) & 3]
    return (
        f"{milliseconds[:8]}-{milliseconds[8:]}-7{digits[:3]}-{variant}{digits[4:7]}-{digits[7:19]}"
    )


def ending(user_id: str) -> str:
    """
    What a log or a list may have of a user's id, which is a bearer secret: its last characters.

    Of ours they are random, so they tell users apart; the first ones are the time. They are never
    more than a third of the id, and nothing of one of two characters.
    """
    return user_id[len(user_id) - min(_MOST_SAID, len(user_id) // 3) :]
