"""The sweep: ends what is due, and hands on what is free."""

from __future__ import annotations

from math import inf

import attrs

from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.rules.events import SessionChanged, SlotTaken
from evcharge.rules.operation import Due, Needs, Operation
from evcharge.rules.sessions import Step
from evcharge.rules.view import View

BEGINNINGS = (SlotTaken, SessionChanged)
"""What gives a session another deadline."""

MOST_SWEPT = 1000
"""Sessions, and users, that one sweep ends at most: drivers' requests wait for it."""


@attrs.frozen
class SweepResult:
    """What one sweep did."""

    freed: int
    """Slots that were given back because their time was up."""
    removed: int
    """Users who logged in and neither hold an EVSE nor wait."""
    more: bool = False
    """Whether there may be more to end: the next sweep need not wait."""
    next_due: float | None = None
    """When something is due next, seconds since the epoch; None: nothing is, as far as is known."""


@attrs.define
class Sweep(Operation[SweepResult]):
    """Bring stations up to the present where something is due, or a part of them if it is much."""

    now: float
    """What is due by then, ends; offers are made to those whose turn it is."""
    logged_in_before: float
    """Users who logged in before then, hold no EVSE and do not wait are removed."""
    terms: Terms = DEFAULT_TERMS

    def add_needs(self, needs: Needs) -> None:
        needs.write = needs.catalogue = True
        needs.due.append(Due(self.now, self.logged_in_before, MOST_SWEPT, self.clock))

    def decide(self, view: View) -> SweepResult:
        by_s = view.moved(self.clock)
        now, logged_in_before = self.now + by_s, self.logged_in_before + by_s
        step = Step(view, now, self.terms, self.clock)
        begin = len(view.events)
        freed = sum(step.advance(station_id) for station_id in view.due)
        changed = len(view.events) > begin
        removed = 0
        for user_id in view.unpaid:
            user = view.user(user_id)
            if user is None or view.session(user_id) or view.place(user_id):
                continue
            if user.created_timestamp < logged_in_before:
                view.remove(user_id)
                removed += 1
        more = view.more_due and (changed or removed > 0)
        return SweepResult(freed, removed, more or view.more_to_write, self._next(view, now, by_s))

    def _next(self, view: View, now: float, by_s: float) -> float | None:
        """When something is due next, by the clock of whoever asks."""
        dues = [] if view.next_due is None else [view.next_due]
        dues += [e.session.due_timestamp for e in view.events if isinstance(e, BEGINNINGS)]
        later = min((due for due in dues if due > now), default=None)
        return None if later is None else later - by_s


@attrs.define
class HandOn(Operation[None]):
    """Offer what is free to those whose turn it is; nothing ends, whatever is due."""

    now: float
    """When the offers begin, seconds since the epoch."""
    terms: Terms = DEFAULT_TERMS

    def add_needs(self, needs: Needs) -> None:
        needs.write = needs.catalogue = True
        needs.due.append(Due(-inf, -inf, MOST_SWEPT, self.clock))

    def decide(self, view: View) -> None:
        step = Step(view, self.now + view.moved(self.clock), self.terms, self.clock)
        for station_id in view.due:
            step.offer(station_id)
