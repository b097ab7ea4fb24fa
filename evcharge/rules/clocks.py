"""
By which clocks the instants in a storage are, and what is done when one of them proves wrong; pure.

A storage numbers the clocks that its instants have been by, from 0 on. Each record says by which
one its instants are, and the storage says how far all that is by a clock has been moved since::

    instant in truth = instant in the record + moved_s[the record's clock]

So one small write moves everything there is, in one step; records are written anew later, one by
one. A record that somebody was still writing by the old clock is right all the same.

A clock that is taken for wrong is *suspect*. It has a number of its own, and what begins by it is
marked by that number: when it is put right, that moves with it, and what stood before stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar

import attrs

from evcharge.utils.numbers import finite_number, whole_number

MOST_STEERED_S = 60.0
"""A difference between two clocks that is followed smoothly, seconds; a greater one is a jump."""


PROBATION_S = 7 * 86400.0
"""For how long after it was set a clock may yet prove wrong, seconds. Payments that were listed by
it move with it until then."""


class Dated(Protocol):
    """A record that has instants."""

    @property
    def clock(self) -> int:
        """By which clock they are."""

    def moved(self: D, by_s: float, clock: int) -> D:
        """The same, later by as much, by another clock."""


D = TypeVar("D", bound=Dated)


@attrs.frozen
class Reading:
    """What a clock shows at one moment."""

    now: float
    """Seconds since the epoch."""
    lead_s: float
    """How far that is ahead of the machine's steady seconds."""
    boot_id: str
    """Of the machine's start that the steady seconds count from; empty where it is unknown."""
    shared: bool = False
    """Whether it is of a database, and so went on when this machine did not."""


@attrs.frozen
class Newest:
    """The latest instants in a storage that were the present once: logins, payments."""

    plain: float | None = None
    """Of what no suspect clock has marked, seconds since the epoch; None: there is none."""
    marked: float | None = None
    """Of what one has."""


def newest(clocks: Clocks, instants: Iterable[tuple[int, float | None]]) -> Newest:
    """The latest of instants that were the present once, each with the clock that it is by."""
    plain: list[float] = []
    marked: list[float] = []
    for clock, instant in instants:
        if instant is not None:
            (marked if clocks.is_marked(clock) else plain).append(instant)
    return Newest(max(plain, default=None), max(marked, default=None))


@attrs.frozen
class Clocks:
    """The clocks that a storage knows of, and how far they were wrong."""

    number: int = 0
    """Of the newest, which goes on."""
    marked_from: int | None = None
    """Where the newest is suspect: what is by this clock or a later one is marked."""
    boot_id: str = ""
    """In which of the machine's starts the newest was last gone by; empty where it is unknown."""
    lead_s: float = 0.0
    """How far it was ahead of the machine's steady seconds in that start."""
    since: float = 0.0
    """When it began, by itself."""
    moved_s: Mapping[int, float] = attrs.field(factory=dict)
    """How far what is by an earlier clock was moved since, where it was, seconds."""

    @property
    def suspect(self) -> bool:
        """Whether the newest is taken for wrong."""
        return self.marked_from is not None

    def is_marked(self, number: int) -> bool:
        """Whether what is by a clock began while that was suspect, and it still is."""
        return self.marked_from is not None and number >= self.marked_from

    def is_new(self, now: float) -> bool:
        """Whether the newest was set not long ago, to a time that nobody takes for wrong yet."""
        return self.number > 0 and not self.suspect and now - self.since < PROBATION_S

    def moved(self, number: int | None) -> float:
        """How far what is by a clock, or by the newest, was moved since, seconds."""
        return 0.0 if number is None else self.moved_s.get(number, 0.0)

    def is_right(self, number: int) -> bool:
        """Whether what names this clock is right as it stands, and has to go on naming it."""
        return not number or (self.is_marked(number) and not self.moved(number))

    def anew(self, number: int | None) -> int:
        """
        The clock that is named where a record by `number`, or by the newest, is written now: its
        instants are right by that, and it keeps its mark.
        """
        if self.marked_from is None or number is None or number >= self.marked_from:
            return self.number
        return self.marked_from - 1

    def plainly(self, number: int | None) -> int:
        """The same, but 0, which need not be named, where that will do."""
        anew = self.anew(number)
        return anew if self.is_marked(anew) or self.moved(0) else 0

    def kept(self, record: D, number: int | None, name: int) -> D:
        """A record that was made by a clock, by the newest one; it is to name `name`."""
        by_s = self.moved(number)
        return record if not by_s and record.clock == name else record.moved(by_s, name)

    def true(self, record: D) -> D:
        """A record as it is in truth; it names the same clock."""
        by_s = self.moved(record.clock)
        return record.moved(by_s, record.clock) if by_s else record

    def named(self, record: D) -> D:
        """A record that is as in truth; it names a clock, the newest, where it is marked."""
        return self.kept(record, None, self.number if self.is_marked(record.clock) else 0)

    def copy(self, record: D) -> D:
        """The same of a record as it is kept."""
        return self.named(self.true(record))

    def copied(self) -> Clocks:
        """What is to be known with a copy of all records, each by :meth:`copy`."""
        return attrs.evolve(self, moved_s={}) if self.suspect else Clocks()

    def joined_from(self, number: int) -> int:
        """The clock to go by for who went by `number`."""
        # One whom nobody suspects has moved everything along with it: it does so again.
        if self.is_marked(self.number) and not self.is_marked(number) and not self.moved(number):
            return number
        return self.number

    def _next(
        self, reading: Reading, numbers: Iterable[int], by_s: float, marked_from: int | None = None
    ) -> Clocks:
        moved = dict(self.moved_s)
        for number in numbers:
            moved[number] = moved.get(number, 0.0) + by_s
        return Clocks(
            number=self.number + 1,
            marked_from=marked_from,
            boot_id=reading.boot_id,
            lead_s=reading.lead_s,
            since=reading.now,
            # What is back at its place need not be spoken of.
            moved_s={number: by_s for number, by_s in sorted(moved.items()) if by_s},
        )

    def suspected(self, reading: Reading) -> Clocks:
        """The clocks once a suspect one has begun."""
        return self._next(reading, (), 0.0, marked_from=self.number + 1)

    def marked_moved(self, by_s: float, reading: Reading, still_suspect: bool) -> Clocks:
        """The clocks once a suspect one has been set by `by_s`, to the right time or not."""
        assert self.marked_from is not None
        numbers = range(self.marked_from, self.number + 1)
        marked_from = self.marked_from if still_suspect else None
        return self._next(reading, numbers, by_s, marked_from=marked_from)

    def all_moved(self, mine: int, by_s: float, reading: Reading) -> Clocks:
        """The clocks once `mine` has been set by `by_s`, and all that stands is moved with it."""
        numbers = [n for n in range(self.number + 1) if n <= mine or self.is_marked(n)]
        return self._next(reading, numbers, by_s)

    def noted(self, lead_s: float, boot_id: str) -> Clocks:
        """The same where the newest clock is gone by in this start of the machine."""
        return attrs.evolve(self, lead_s=lead_s, boot_id=boot_id)

    def record(self) -> dict[str, Any]:
        """As an object of JSON."""
        return {
            **attrs.asdict(self),
            "moved_s": {str(number): by_s for number, by_s in self.moved_s.items()},
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Clocks:
        """What :meth:`record` made. ValueError: nothing of the kind."""
        number, boot_id = whole_number(record.get("number")), record.get("boot_id", "")
        marked_from = record.get("marked_from")
        marked = None if marked_from is None else whole_number(marked_from)
        if number is None or number < 0:
            raise ValueError("number must be a whole number")
        if marked_from is not None and (marked is None or not 0 < marked <= number):
            raise ValueError("marked_from must be null, or a whole number up to number")
        if not isinstance(boot_id, str):
            raise ValueError("boot_id must be text")
        moved = record.get("moved_s", {})
        if not isinstance(moved, dict):
            raise ValueError("moved_s must be an object")
        return cls(
            number,
            marked,
            boot_id,
            _figure("lead_s", record.get("lead_s", 0)),
            _figure("since", record.get("since", 0)),
            {
                int(_figure("moved_s", whole_number(name))): _figure("moved_s", by_s)
                for name, by_s in moved.items()
            },
        )


def _figure(name: str, value: object) -> float:
    figure = finite_number(value)
    if figure is None:
        raise ValueError(f"{name} must be given in numbers")
    return figure


Decide = Callable[[Clocks, Callable[[], Newest]], Clocks]
"""Works out the clocks that there shall be from those that there are and what stands by them; the
same object where nothing is to change. Pure, and called at most once for each attempt."""


def doubt(now: float, newest: float | None, made: float) -> str | None:
    """
    Why a clock that shows `now` cannot be right; None: it may be.

    :param newest: the latest instant in the storage that was the present once.
    :param made: when this version of evcharge was made.
    """
    if newest is not None and now < newest - MOST_STEERED_S:
        return f"{in_words(newest)}, when somebody last logged in or paid here"
    if now < made:
        return f"{in_words(made)}, when this version of evcharge was made"
    return None


def in_words(seconds: float) -> str:
    """A point in time, for people."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s since 1970"


def at_start(clocks: Clocks, newest: Newest, reading: Reading, made: float) -> Clocks:
    """
    The clocks once a server has started by one that shows `reading`.

    :param clocks: those that the storage has from before.
    :param made: when this version of evcharge was made, seconds since the epoch.
    """
    set_by = None
    if reading.boot_id and reading.boot_id == clocks.boot_id:
        # Its seconds went on, so what became of the clock while no server ran is known for sure.
        set_by = reading.lead_s - clocks.lead_s
        if abs(set_by) <= MOST_STEERED_S:
            return clocks
    wrong = doubt(reading.now, newest.plain, made) is not None
    if clocks.suspect:
        if set_by is None:
            # All that is known is that something was at that instant by the clock of another start
            # of the machine: as if it were just that now, so that nobody's slot is freed too soon.
            last = reading.now if newest.marked is None else newest.marked
            set_by = reading.now - last
            if wrong and reading.shared and set_by >= -MOST_STEERED_S:
                # Others go by it, as wrong as it is.
                return clocks
        return clocks.marked_moved(round(set_by), reading, still_suspect=wrong)
    if set_by is not None and reading.now >= made:
        # As if a server had run: else what ended meanwhile by the clock alone would be over.
        return clocks.all_moved(clocks.number, round(set_by), reading)
    return clocks.suspected(reading) if wrong else clocks


def at_jump(
    clocks: Clocks,
    newest: Callable[[], Newest],
    mine: int,
    by_s: float,
    reading: Reading,
    made: float,
) -> Clocks:
    """
    The clocks once the one that a running server goes by has been set.

    :param mine: its number.
    :param by_s: how far it was set, seconds.
    :param reading: what it shows now.
    """
    if clocks.moved(mine):
        # Another server has done it.
        return clocks
    if clocks.is_marked(mine):
        wrong = doubt(reading.now, newest().plain, made) is not None
        return clocks.marked_moved(by_s, reading, still_suspect=wrong)
    return clocks.all_moved(mine, by_s, reading)
