"""
Who is told of changes by which connection.

A connection listens to one thing: all but the first one have a driver each told, those first who
wait for an EVSE. Where these are too many, the first connection listens to their stations, and when
one of these changes, the driver asks. Others who are too many hear nothing until their own time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from evcharge.simulator.drivers import Diary, Said

AGAIN_S = 15.0
"""After which it is tried again to listen, where the server lets no more."""

MOST_NAMED = 100
"""Stations that a SUBSCRIBE may name."""

INTERVAL_MS = 50
"""The least time between two events: at a high speed it is much."""

Tell = Callable[[Mapping[str, Any]], object]


@attrs.define(eq=False)
class Ear:
    """A driver who listens."""

    diary: Diary
    waits: bool
    """Whether it is an EVSE that the driver waits for, who must not miss it."""
    tell: Tell
    line: Line | None = None
    """By which it is told."""
    last: Mapping[str, Any] | None = None
    """What it was told last."""

    def hear(self, journey: Mapping[str, Any]) -> None:
        """Be told."""
        self.last = journey
        self.tell(journey)


class Line(Protocol):
    """A connection."""

    number: int
    ear: Ear | None
    """Who is told by it."""


class Lines(Protocol):
    """All connections."""

    @property
    def links(self) -> Sequence[Line | None]:
        """By their numbers; None: it is not there now."""

    refusals: Counter[str]
    """How often the server has refused something, by the code and what it was."""

    def ask_over(
        self,
        kind: str,
        data: Mapping[str, Any],
        answered: Callable[[Said | None], object],
        link: Any = None,
    ) -> None:
        """Send a request over a connection; None: over any."""

    def later(self, delay_s: float, f: Callable[..., object], *args: Any) -> None:
        """Call `f` after so many seconds."""


class Listening:
    """Gives those who listen a connection."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._ears: dict[str, Ear] = {}
        """Those who listen, by user id."""
        self._unheard: dict[Ear, None] = {}
        """Those of them who wait and have no connection for themselves."""
        self._stations: frozenset[str] = frozenset()
        """Which the first connection listens to."""
        self.is_possible = True
        """Whether the server tells anybody of changes."""

    def listen(self, diary: Diary, waits: bool, tell: Tell) -> None:
        """Have a driver told, as :class:`evcharge.simulator.crowd.Outlet` has it."""
        if not self.is_possible or diary.user_id is None:
            return
        ear = self._ears.get(diary.user_id)
        if ear is None:
            ear = self._ears[diary.user_id] = Ear(diary, waits, tell)
        ear.waits, ear.tell = waits, tell
        if not waits:
            self._unheard.pop(ear, None)
        self._place(ear)
        if ear.last is not None:
            tell(ear.last)

    def hush(self, user_id: str) -> None:
        """Tell a driver nothing any more."""
        ear = self._ears.pop(user_id, None)
        if ear is None:
            return
        self._unheard.pop(ear, None)
        if ear.line is not None:
            ear.line.ear = None
            self._place_next()

    def connected(self, line: Line) -> None:
        """A connection is there."""
        if line.number == 0:
            self._stations = frozenset()
            if self._unheard:
                self._listen_to_stations(next(iter(self._unheard)))
        else:
            self._place_next()

    def lost(self, line: Line) -> None:
        """A connection is gone."""
        ear, line.ear = line.ear, None
        if ear is not None:
            ear.line = None
            self._place(ear)

    def heard(self, line: Line, data: Mapping[str, Any]) -> None:
        """An event has come."""
        journey = data.get("user")
        if journey is not None and line.ear is not None:
            line.ear.hear(journey)
        changed = data.get("stations") or ()
        for ear in list(self._unheard) if changed else ():
            if ear.diary.station in changed:
                self._see(ear)

    def _place_next(self) -> None:
        """There is room for one more: who waits goes first."""
        ear = next(iter(self._unheard), None)
        ear = ear or next((each for each in self._ears.values() if each.line is None), None)
        if ear is not None:
            self._place(ear)

    def _place(self, ear: Ear) -> None:
        """Find a connection for who listens; one who waits may have that of one who does not."""
        if ear.line is not None:
            return
        lines = [each for each in self._lines.links[1:] if each is not None]
        line = next((each for each in lines if each.ear is None), None)
        if line is None and ear.waits:
            line = next((e for e in lines if e.ear is not None and not e.ear.waits), None)
        if line is None:
            if ear.waits and ear not in self._unheard:
                self._unheard[ear] = None
                self._listen_to_stations(ear)
            return
        if line.ear is not None:
            line.ear.line = None
        self._unheard.pop(ear, None)
        ear.line, line.ear = line, ear
        wishes = {"topics": ["user"], "user_id": ear.diary.user_id, "interval_ms": INTERVAL_MS}
        self._lines.ask_over("SUBSCRIBE", wishes, lambda said: self._told(ear, line, said), line)

    def _told(self, ear: Ear, line: Line, said: Said | None) -> None:
        """What came of listening to a journey."""
        if said is None or line.ear is not ear:
            return
        if said.code == 200:
            ear.hear(said.data["snapshot"]["user"])
        elif said.reason == "user_not_found":
            ear.hear(said.data)
        else:
            ear.line = line.ear = None
            self._refused(ear, said)

    def _refused(self, ear: Ear, said: Said) -> None:
        self._lines.refusals[f"{said.code} SUBSCRIBE"] += 1
        self._lines.later(AGAIN_S, self._place_again, ear)

    def _place_again(self, ear: Ear) -> None:
        if self._ears.get(ear.diary.user_id or "") is ear:
            self._place(ear)

    def _listen_to_stations(self, ear: Ear) -> None:
        """Have the first connection listen to where those are who have none for themselves."""
        first, station = self._lines.links[0], ear.diary.station
        if first is None:
            return
        if station in self._stations:
            self._see(ear)
            return
        there = {each.diary.station for each in self._unheard}
        self._stations = frozenset(sorted(key for key in there if key is not None)[:MOST_NAMED])
        wishes = {
            "topics": ["stations"],
            "stations": sorted(self._stations),
            "interval_ms": INTERVAL_MS,
        }
        self._lines.ask_over("SUBSCRIBE", wishes, self._told_of_stations, first)

    def _told_of_stations(self, said: Said | None) -> None:
        """What came of that."""
        if said is not None and said.code == 200:
            for ear in list(self._unheard):
                self._see(ear)
            return
        self._stations = frozenset()
        if said is not None:
            for ear in list(self._unheard):
                del self._unheard[ear]
                self._refused(ear, said)

    def _see(self, ear: Ear) -> None:
        """See how the journey of one who waits stands."""

        def seen(said: Said | None) -> None:
            if said is not None and ear in self._unheard:
                ear.hear(said.data)

        self._lines.ask_over("STATUS", {"user_id": ear.diary.user_id}, seen)
