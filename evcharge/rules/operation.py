"""What an operation is, and what it may ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from evcharge.rules.view import View

R = TypeVar("R")


@attrs.frozen
class Due:
    """What a sweep looks for. Its instants are by `clock`, None being the newest."""

    now: float
    """Sessions whose deadline has passed by then, seconds since the epoch."""
    logged_in_before: float
    """Users who logged in before then and hold no slot."""
    most: int
    """Of each kind, as others wait meanwhile."""
    clock: int | None


@attrs.frozen
class History:
    """Which receipts of a driver are looked at, the newest first: by the order of their ids."""

    driver_id: str
    most: int
    before: str | None
    """Those before this receipt; None: from the newest on."""


@attrs.define
class Needs:
    """Which records the operations of a batch look at."""

    seen: set[str] = attrs.field(factory=set)
    """Ids of users that are looked at, and not changed."""
    users: set[str] = attrs.field(factory=set)
    """Ids of users that may be changed; with each comes the session that it has, or the place in
    line, and the book of the station where that is."""
    standing: set[str] = attrs.field(factory=set)
    """Ids of users of whom it is looked at where they stand or wait: the same, not changed."""
    stations: set[int] = attrs.field(factory=set)
    """Ids of stations whose slots may be taken."""
    evses: set[str] = attrs.field(factory=set)
    """Uids of EVSEs of which something may be said; with each comes the book of its station."""
    receipts: set[str] = attrs.field(factory=set)
    """Ids of receipts, or of sessions by theirs, that are looked at."""
    histories: set[History] = attrs.field(factory=set)
    """What is asked of receipts that have been issued."""
    due: list[Due] = attrs.field(factory=list)
    states: bool = False
    """The state of every station."""
    sessions: bool = False
    """Every session."""
    steady: Callable[[], float] | None = None
    """By which seconds the storage's own time is to be told, where it is asked for."""
    catalogue: bool = False
    """The car models that can be chosen, and the tariffs."""
    network: bool = False
    """The network as a whole, and how many vehicles stand at each station."""
    sets_clock: bool = False
    """Whether the clock may be set."""
    newest_clock: int = 0
    """The newest of the clocks that the operations are by."""
    write: bool = False
    """Whether anything may change."""


@attrs.define
class Operation(Generic[R]):
    """
    Something that happens as a whole or not at all.

    It results in an `R`: where it may be refused, that is a :class:`evcharge.outcomes.Refusal` as
    well. An exception is an accident, or says that a record cannot be read now.
    """

    clock: int | None = attrs.field(default=None, init=False, eq=False, repr=False)
    """By which of the storage's clocks its instants are; None: by the newest."""

    def add_needs(self, needs: Needs) -> None:
        """Add to `needs` what it looks at."""
        raise NotImplementedError

    def decide(self, view: View) -> R:
        """
        Carry it out on `view`, or refuse.

        It raises, if ever, before its first change.
        """
        raise NotImplementedError
