"""What an operator says of EVSEs, while drivers go on."""

from __future__ import annotations

import attrs

from evcharge.models.evse import EvseStatus
from evcharge.models.slots import StationState
from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.outcomes import UNKNOWN_EVSE, Refusal
from evcharge.rules.operation import Needs, Operation
from evcharge.rules.sessions import Step
from evcharge.rules.view import View
from evcharge.utils.time_utils import iso_utc


@attrs.define
class SetEvseStatus(Operation[StationState | Refusal]):
    """
    Take an EVSE out of service, or back into it, in one step with what that means for those who
    hold it, or wait.

    Results in the station's state then. Refused: no station in service has such an EVSE.
    """

    evse_uid: str
    status: str
    """One of :data:`evcharge.models.evse.STATUSES`."""
    reason: str | None
    now: float
    """Seconds since the epoch."""
    terms: Terms = DEFAULT_TERMS

    def add_needs(self, needs: Needs) -> None:
        needs.write = needs.catalogue = True
        needs.evses.add(self.evse_uid)

    def decide(self, view: View) -> StationState | Refusal:
        station_id = view.evses.get(self.evse_uid)
        book = None if station_id is None else view.book(station_id)
        if station_id is None or book is None or book.station is None:
            return Refusal(UNKNOWN_EVSE, {"evse": self.evse_uid})
        step = Step(view, self.now + view.moved(self.clock), self.terms, self.clock)
        step.advance(station_id)
        evse = book.station.evse(self.evse_uid)
        assert evse is not None, self.evse_uid
        status = EvseStatus(self.status, iso_utc(step.now), self.reason)
        if (evse.status, evse.reason) != (self.status, self.reason):
            view.set_status(station_id, self.evse_uid, status, step.now)
        # Again too: where it is written in several steps, one may have failed.
        book = view.books[station_id]
        assert book is not None
        for session in list(book.slots.sessions.values()):
            if session.evse_uid == self.evse_uid and not status.in_service:
                step.put_out(session)
        step.offer(station_id)
        book = view.books[station_id]
        assert book is not None and book.station is not None
        return StationState.of(book.station, book.slots)


@attrs.define
class FindEvse(Operation[StationState | Refusal]):
    """
    Look at an EVSE.

    Results in the state of its station. Refused: no station in service has such an EVSE.
    """

    evse_uid: str

    def add_needs(self, needs: Needs) -> None:
        needs.evses.add(self.evse_uid)

    def decide(self, view: View) -> StationState | Refusal:
        station_id = view.evses.get(self.evse_uid)
        book = None if station_id is None else view.book(station_id)
        if book is None or book.station is None:
            return Refusal(UNKNOWN_EVSE, {"evse": self.evse_uid})
        return StationState.of(book.station, book.slots)
