"""Giving up an EVSE, or a place in line."""

from __future__ import annotations

import attrs

from evcharge.models.receipts import Receipt
from evcharge.models.session import FREE, WAITING, ChargingSession
from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.outcomes import Refusal
from evcharge.rules import states
from evcharge.rules.events import LEFT
from evcharge.rules.journey import UNKNOWN_USER, wrong_state
from evcharge.rules.operation import Needs, Operation
from evcharge.rules.sessions import Step
from evcharge.rules.states import MAY
from evcharge.rules.view import View

CANCEL_IT, STOP_IT, STOP_AND_LEAVE, END_JOURNEY = HOWS = (
    "cancel",
    "stop",
    "stop_and_leave",
    "end_journey",
)
"""How a user leaves: gives up what has not begun; ends charging, but stays; goes; goes, whatever
there is."""


@attrs.define
class Leave(Operation[Receipt | ChargingSession | Refusal | None]):
    """
    Give up an EVSE, or a place in line, in one step with its receipt, and with handing it on.

    Results in the final receipt of the session that is over, in the session that goes on, or in
    None, where there is neither. Refused: the user is not there, or that is nothing for the state
    in which the user is.
    """

    user_id: str
    how: str
    """One of :data:`HOWS`."""
    now: float
    """Seconds since the epoch."""
    terms: Terms = DEFAULT_TERMS

    def add_needs(self, needs: Needs) -> None:
        needs.write = needs.catalogue = True
        needs.users.add(self.user_id)

    def decide(self, view: View) -> Receipt | ChargingSession | Refusal | None:
        ends = self.how == END_JOURNEY
        if view.user(self.user_id) is None:
            if ends and view.was_leaving(self.user_id):
                return None
            stops = self.how in (STOP_IT, STOP_AND_LEAVE)
            return (view.left_with(self.user_id) if stops else None) or UNKNOWN_USER
        step = Step(view, self.now + view.moved(self.clock), self.terms, self.clock)
        held = view.session(self.user_id)
        at = held or view.place(self.user_id)
        if at is not None:
            step.advance(at.station_id)
        session, place = view.session(self.user_id), view.place(self.user_id)
        over = None if held is None else view.issued.get(held.receipt_id)
        if view.user(self.user_id) is None:
            # It was over, though nobody had looked: what is asked for is done, but there is nothing
            # left to give up.
            return UNKNOWN_USER if self.how == CANCEL_IT else over
        if ends:
            step.end_journey(self.user_id)
            return over
        state = session.state if session is not None else FREE if place is None else WAITING
        if (state, _LEAVING[self.how]) not in MAY:
            return wrong_state(state)
        if session is not None:
            if self.how == CANCEL_IT:
                return step.give_up(session)
            return step.stop(session, self.how == STOP_AND_LEAVE)
        if place is not None:
            view.leave_line(place, step.now, LEFT)
        return over


_LEAVING = {
    CANCEL_IT: states.CANCEL,
    STOP_IT: states.STOP_AND_STAY,
    STOP_AND_LEAVE: states.STOP,
}
