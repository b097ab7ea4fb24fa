"""The sweep: ends what has ended."""

from __future__ import annotations

import attrs

from evcharge.rules.operation import Due, Needs, Operation
from evcharge.rules.view import View

MOST_SWEPT = 1000
"""Sessions, and users, that one sweep ends at most: drivers' requests wait for it."""


@attrs.frozen
class SweepResult:
    """What one sweep did."""

    freed: int
    """Slots whose charging had ended."""
    removed: int
    """Users who logged in and never paid."""
    more: bool = False
    """Whether there may be more to end: the next sweep need not wait."""


@attrs.define
class Sweep(Operation[SweepResult]):
    """End what has ended, or a part of it where it is much."""

    now: float
    """Slots whose charging ended by then are freed, and their users removed."""
    logged_in_before: float
    """Users who logged in before then and hold no slot are removed."""

    def add_needs(self, needs: Needs) -> None:
        needs.write = True
        needs.due.append(Due(self.now, self.logged_in_before, MOST_SWEPT, self.clock))

    def decide(self, view: View) -> SweepResult:
        by_s = view.moved(self.clock)
        now, logged_in_before = self.now + by_s, self.logged_in_before + by_s
        freed = removed = 0
        for user_id in view.due:
            session = view.session(user_id)
            if session is not None and session.estimated_timestamp <= now:
                # The user first: a crash in between leaves a session that is over, which the next
                # sweep ends; the other way round it would leave a user who could pay again.
                view.remove(user_id)
                view.give_back(session)
                freed += 1
        for user_id in view.unpaid:
            user = view.user(user_id)
            if user is None or view.session(user_id) is not None:
                continue
            if user.created_timestamp < logged_in_before:
                view.remove(user_id)
                removed += 1
        more = view.more_due and freed + removed > 0
        return SweepResult(freed, removed, more or view.more_to_write)
