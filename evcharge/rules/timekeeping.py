"""What time it is in a storage, and setting the clock that its instants are by."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from evcharge.rules.clocks import Clocks, Decide
from evcharge.rules.operation import Needs, Operation
from evcharge.rules.view import View


@attrs.frozen
class TimeTold:
    """What a storage knows of the time."""

    clocks: Clocks
    lead_s: float | None = None
    """How far its own time is ahead of the steady seconds; None: it goes by the machine's."""
    error_s: float = 0.0
    """By how much that may be wrong."""


@attrs.define
class ReadClock(Operation[TimeTold]):
    """What time it is, where the storage has a time of its own, by which all who share it go."""

    steady: Callable[[], float]
    """Seconds since anything; nobody sets them."""

    def add_needs(self, needs: Needs) -> None:
        needs.steady = self.steady

    def decide(self, view: View) -> TimeTold:
        lead_s, error_s = view.own_time
        return TimeTold(view.clocks, lead_s, error_s)


@attrs.define
class SetClock(Operation[Clocks]):
    """
    Have another clock, and the instants that stand moved as far as it says, in one step.

    Results in the clocks that there are then. Sessions and users, of which the latter may be
    written anew later, are moved; of the payments those that are marked by a suspect clock, and,
    where the clock was set back, those that would now be in the future.
    """

    choose: Decide

    def add_needs(self, needs: Needs) -> None:
        needs.write = needs.sets_clock = True

    def decide(self, view: View) -> Clocks:
        before = view.clocks
        after = self.choose(before, view.newest)
        if after is not before:
            view.set_clocks(after)
        return after
