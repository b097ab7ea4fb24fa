"""Stations whose file cannot be read: who may stand there waits until it can be."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import attrs

from evcharge.models.station import Station

_VEHICLES = b'"vehicles"'
_KEY = re.compile(rb'"([^"\\]+)"\s*:\s*\{')
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CUT = re.compile(rb'[{,]\s*"([^"]{13,})\Z')
"""A key at the very end, with its second quote missing: of our ids, at least the millisecond."""


@attrs.frozen
class Unread:
    """A station whose file cannot be read."""

    station: Station | None
    """As its row has it; None where it has none."""
    problem: str
    """Names the file, and what is wrong with it."""
    users: frozenset[str] | None
    """Who stands there; None: nobody can tell."""


class Waiting:
    """
    Who waits for a station to be read again.

    Where nobody can tell who stands at one of them, it is whoever was there at the start and stands
    nowhere else.
    """

    def __init__(self) -> None:
        self.stations: Mapping[int, Unread] = {}
        """By id; replaced whole, as others may be looking at it."""
        self.earlier: frozenset[str] = frozenset()
        """Who was there at the start."""

    def put(self, station_id: int, unread: Unread | None) -> None:
        """Take in a station that cannot be read, or one that can be again."""
        stations = {key: value for key, value in self.stations.items() if key != station_id}
        self.stations = stations if unread is None else {**stations, station_id: unread}

    def who(self, station_id: int, file: Path) -> frozenset[str] | None:
        """Who stands at one of them, by its file and what was known; None: nobody can tell."""
        known = self.stations.get(station_id)
        before = None if known is None else known.users
        try:
            users = ids_in(file.read_bytes(), self.earlier)
        except OSError:
            return before
        # Whoever mends it may not be ready: what it has lost meanwhile may come back.
        return users if users is None or before is None else users | before

    def waited_for(self, user_id: str, stands: bool) -> Unread | None:
        """
        The station that a user waits for, if any.

        :param stands: whether the user stands at a station that can be read.
        """
        for unread in self.stations.values():
            if unread.users is not None:
                if user_id in unread.users:
                    return unread
            elif not stands and user_id in self.earlier:
                return unread
        return None


def ids_in(content: bytes, known: Collection[str]) -> frozenset[str] | None:
    """
    Whose ids, of vehicles and in line, are still found in the file of a station that cannot be
    used.

    :param known: the ids of users.
    :return: None where none is found, so that it may be anybody.
    """
    try:
        record = json.loads(content)
        places = record.get("waiting") or []
        waiting = [place["user_id"] for place in places if isinstance(place, dict)]
        return frozenset({*record["vehicles"].keys(), *waiting})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    # Of text in two bytes a character the ids are found as well.
    content = content.replace(b"\0", b"")
    _, _, vehicles = content.partition(_VEHICLES)
    found = {_text(key) for key in _KEY.findall(vehicles)}
    found.update(
        text
        for text in map(_text, [*content.split(b'"'), *_UUID.findall(content)])
        if text in known
    )
    cut = _CUT.search(content)
    if cut is not None:
        beginning = _text(cut.group(1))
        found.update(user_id for user_id in known if user_id.startswith(beginning))
    return frozenset(found) or None


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
