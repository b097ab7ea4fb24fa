"""
What becomes of sessions and of places in line: the steps of :mod:`evcharge.rules.states`.

A step is taken on a station's book in a view. Before anything is decided at a station, it is
brought up to the present: a deadline counts as passed at its instant, whether or not anybody has
looked.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import attrs

from evcharge.models.estimates import PRICE, ChargePlan, choose_evse
from evcharge.models.evse import Evse
from evcharge.models.receipts import (
    AT_DEADLINE,
    BY_DRIVER,
    BY_OPERATOR,
    JOURNEY_ENDED,
    STOPPED,
    Payment,
    Receipt,
    expected,
    receipt_of,
)
from evcharge.models.session import (
    CANCELLED,
    CHARGING,
    COMPLETED,
    FINISHED,
    FREE,
    OFFERED,
    RESERVED,
    WAITING,
    ChargingSession,
    Place,
    plan_session,
)
from evcharge.models.slots import Book
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff
from evcharge.models.terms import Terms
from evcharge.models.user import User
from evcharge.rules.events import DECLINED, LEFT, MADE_AN_OFFER, RAN_OUT, WITHDRAWN
from evcharge.rules.view import View
from evcharge.rules.waiting import first_place, next_offer
from evcharge.utils.ids import derived_id

MOST_LATE_S = 5.0
"""How long a request may have waited while a later one was carried out, seconds: no more than it
is waited for. What is further ahead is by another clock."""


@attrs.define
class Step:
    """At what instant, on whose terms, and by which clock a step is taken."""

    view: View
    now: float
    """Seconds since the epoch, in truth."""
    terms: Terms
    clock: int | None
    """Of the operation, which new records name."""

    def station(self, session: ChargingSession) -> Station | None:
        """Where a session is; None where that is not in service."""
        book = self.view.books.get(session.station_id)
        return None if book is None else book.station

    def advance(self, station_id: int | None) -> int:
        """
        Bring a station up to the present: end what is due, in order of deadline, and make offers.

        :return: how many EVSEs were given back.
        """
        book = None if station_id is None else self.view.books.get(station_id)
        if book is None or station_id is None:
            return 0
        # Of several processes that share a database one may be behind: time does not go back.
        most = self.now + MOST_LATE_S
        for session in book.slots.sessions.values():
            since = session.since_timestamp
            if since is not None and self.now < since <= most:
                self.now = since
        for place in book.slots.waiting:
            if self.now < place.joined_timestamp <= most:
                self.now = place.joined_timestamp
        freed = 0
        if any(session.due_timestamp <= self.now for session in book.slots.sessions.values()):
            freed = self._end_due(station_id)
        if book.slots.waiting:
            self.offer(station_id)
        return freed

    def _end_due(self, station_id: int) -> int:
        view, freed = self.view, 0
        book = view.books[station_id]
        assert book is not None
        due = [
            (session.due_timestamp, session.user_id)
            for session in book.slots.sessions.values()
            if session.due_timestamp <= self.now and view.may_change(session.user_id)
        ]
        heapq.heapify(due)
        while due:
            user_id = due[0][1]
            book = view.books[station_id]
            assert book is not None
            session = book.slots.sessions.get(user_id)
            if session is None or session.due_timestamp > self.now:
                heapq.heappop(due)
            else:
                freed += self._pass_deadline(session)
                # It may have another deadline, which comes after those of others.
                heapq.heapreplace(due, (self._next_due(station_id, user_id), user_id))
        return freed

    def _next_due(self, station_id: int, user_id: str) -> float:
        book = self.view.books[station_id]
        session = None if book is None else book.slots.sessions.get(user_id)
        return inf if session is None else session.due_timestamp

    def _pass_deadline(self, session: ChargingSession) -> bool:
        """What a deadline does to a session; whether its EVSE is given back."""
        at, state = session.due_timestamp, session.state
        if state == OFFERED:
            self.view.give_back(session, at, FREE, outcome=RAN_OUT)
        elif state == CHARGING and not session.leaves_when_done:
            self.finish(session, at, session.clock)
            return False
        else:
            self.end(session, at, *AT_DEADLINE[state])
        return True

    def offer(self, station_id: int) -> None:
        """Offer free EVSEs to those in line whose turn it is."""
        view = self.view
        while True:
            book = view.books[station_id]
            if book is None or book.station is None:
                return
            found = next_offer(book.station, book.slots, view.may_change)
            if found is None:
                return
            place, free = found
            session = self.offered(place, book.station, free)
            view.leave_line(place, self.now, MADE_AN_OFFER)
            view.take(session, self.clock, self.now, WAITING)

    # Sessions as they become

    def offered(self, place: Place, station: Station, free: list[Evse]) -> ChargingSession:
        """What one in line is offered, of EVSEs that fit."""
        chosen = choose_evse(place.user.car.model, free, place.start_percent, place.target_percent)
        assert chosen is not None, place
        view, what = self.view, f"offer {self.now!r}"
        if place.joined_timestamp >= self.now:
            # The driver may have had an offer at this very instant, and a receipt for what came of
            # it: two sessions must not have the same.
            what += f" {view.number} {len(view.events)}"
        receipt_id = derived_id(place.user_id, what, self.now)
        tariffs = view.catalogue().tariffs
        session = plan_session(
            place.user, station, *chosen, tariffs, receipt_id, self.now, self.terms
        )
        return self.kept(session, station, OFFERED, place.arrival_minutes * 60)

    def kept(
        self, session: ChargingSession, station: Station, state: str, arrival_s: float
    ) -> ChargingSession:
        """
        A session that was planned as if it charged from now on, where the driver is on the way.

        :param state: OFFERED or RESERVED.
        :param arrival_s: until the arrival, simulated seconds.
        """
        now, terms = self.now, self.terms
        span_s = terms.offer_s if state == OFFERED else arrival_s + terms.hold_s
        session = attrs.evolve(
            session,
            state=state,
            since_timestamp=now,
            estimated_timestamp=now + terms.real_s(arrival_s + session.charge_minutes * 60),
            expires_timestamp=now + terms.real_s(span_s),
            leaves_when_done=False,
            paid_timestamp=None,
            started_timestamp=None,
            reserved_timestamp=now,
        )
        session = attrs.evolve(session, amount=expected(session, arrival_s, station, terms))
        return session if state == RESERVED else attrs.evolve(session, reserved_timestamp=None)

    def finish(self, session: ChargingSession, at: float, clock: int | None) -> ChargingSession:
        """A vehicle charges no more, and stays."""
        return self.view.change(session, session.finished(at, self.terms), clock, at)

    def end(
        self,
        session: ChargingSession,
        at: float,
        state: str,
        end_reason: str,
        removes: bool | None = None,
    ) -> Receipt:
        """
        A session that was reserved or charged ends, with its receipt and what is to be paid.

        :param at: when, seconds since the epoch.
        :param removes: whether its user goes; None: with COMPLETED.
        """
        view = self.view
        receipt = receipt_of(session, at, self.station(session), self.terms, state, end_reason)
        # In this order, for the sake of a crash in between: a session whose receipt is there is
        # over, and one that is over whose user is still there could pay again.
        view.issue(receipt, at)
        if state == COMPLETED if removes is None else removes:
            view.remove(session.user_id)
        view.give_back(session, at, state, end_reason)
        payment = Payment.settling(receipt, session.clock)
        if payment is not None:
            view.list_payment(payment, at)
        return receipt

    # What a driver, or an operator, does

    def stop(self, session: ChargingSession, leaves: bool) -> Receipt | ChargingSession:
        """A driver ends charging, or leaves."""
        if leaves:
            receipt = self.end(session, self.now, COMPLETED, STOPPED)
            self.offer(session.station_id)
            return receipt
        if session.state == FINISHED:
            return session
        return self.finish(session, self.now, self.clock)

    def give_up(self, session: ChargingSession) -> Receipt | None:
        """A driver gives up an offer, or a reservation; what is owed."""
        receipt = None
        if session.state == OFFERED:
            self.view.give_back(session, self.now, FREE, outcome=DECLINED)
        else:
            receipt = self.end(session, self.now, CANCELLED, BY_DRIVER)
        self.offer(session.station_id)
        return receipt

    def end_journey(self, user_id: str) -> None:
        """A driver goes, whatever the state."""
        view = self.view
        session, place = view.session(user_id), view.place(user_id)
        if session is None:
            if place is not None:
                view.leave_line(place, self.now, LEFT)
            view.remove(user_id)
            return
        if session.state == OFFERED:
            view.remove(user_id)
            view.give_back(session, self.now, FREE, outcome=DECLINED)
        else:
            state = CANCELLED if session.state == RESERVED else COMPLETED
            self.end(session, self.now, state, JOURNEY_ENDED, removes=True)
        self.offer(session.station_id)

    def put_out(self, session: ChargingSession) -> None:
        """The EVSE of a session is out of service."""
        if session.state == FINISHED:
            # It is charged, and stands there all the same.
            return
        if session.state == CHARGING:
            self.end(session, self.now, COMPLETED, BY_OPERATOR)
            return
        view = self.view
        book, user = view.books[session.station_id], view.driver(session.user_id)
        assert book is not None and book.station is not None
        moved = user and self._moved(session, book, user)
        if moved:
            view.change(session, moved, session.clock, self.now)
            return
        if session.state == OFFERED:
            view.give_back(session, self.now, WAITING, BY_OPERATOR, WITHDRAWN)
        else:
            self.end(session, self.now, CANCELLED, BY_OPERATOR)
        if user:
            place = place_before_all(session, user, book.slots.waiting, self.now, self.terms)
            view.join(place, self.clock, self.now)

    def _moved(self, session: ChargingSession, book: Book, user: User) -> ChargingSession | None:
        """The session at another EVSE that is free; None: there is none that fits."""
        start, target = percents(session, user)
        chosen = choose_evse(user.car.model, book.free(), start, target)
        if chosen is None or book.station is None:
            return None
        return at_another(session, book.station, *chosen, self.terms)


def percents(session: ChargingSession, user: User) -> tuple[float, float]:
    """From which state of charge to which a session is to charge."""
    start, target = session.start_percent, session.target_percent
    return (
        user.car.percent if start is None else start,
        user.target_percent if target is None else target,
    )


def place_before_all(
    session: ChargingSession, user: User, waiting: Sequence[Place], now: float, terms: Terms
) -> Place:
    """
    The place of one whose EVSE went out of service at an instant, seconds since the epoch.

    :param waiting: the line.
    """
    start, target = percents(session, user)
    left_s = terms.simulated_s(now, session.estimated_timestamp)
    arrival_s = max(0.0, left_s - session.charge_minutes * 60)
    if session.state == OFFERED:
        arrival_s = session.arrival_s(terms)
    number = first_place(waiting)
    return Place(user, session.station_id, number, now, arrival_s / 60, start, target)


def at_another(
    session: ChargingSession, station: Station, evse: Evse, plan: ChargePlan, terms: Terms
) -> ChargingSession:
    """A session that is still to charge, at another EVSE; its tariff stays."""
    charge_s = session.charge_minutes * 60
    connector = plan.plug.connector
    session = attrs.evolve(
        session,
        evse_uid=evse.uid,
        connector=None if connector is None else connector.name,
        profile=plan.profile,
        energy_kwh=plan.energy_kwh,
        charge_minutes=plan.seconds / 60,
        assumed=plan.assumed(PRICE not in session.assumed),
        estimated_timestamp=session.estimated_timestamp + terms.real_s(plan.seconds - charge_s),
    )
    reserved = session.since_timestamp or session.estimated_timestamp
    ahead_s = terms.simulated_s(reserved, session.estimated_timestamp) - plan.seconds
    return attrs.evolve(session, amount=expected(session, max(0.0, ahead_s), station, terms))


def begun(
    session: ChargingSession,
    station: Station,
    evse: Evse,
    plan: ChargePlan,
    tariffs: Mapping[str, Tariff],
    now: float,
    terms: Terms,
) -> ChargingSession:
    """What was offered or reserved, once it charges; its tariff stays, if it was reserved."""
    planned = attrs.evolve(session, estimated_timestamp=now + terms.real_s(plan.seconds))
    connector = plan.plug.connector
    tariff, is_known = session.tariff, PRICE not in session.assumed
    if session.reserved_timestamp is None or tariff is None:
        tariff, is_known = station.prices.tariff(connector, tariffs, now)
    planned = attrs.evolve(
        planned,
        state=CHARGING,
        since_timestamp=now,
        started_timestamp=now,
        expires_timestamp=None,
        evse_uid=evse.uid,
        connector=None if connector is None else connector.name,
        start_percent=plan.start_percent,
        target_percent=plan.target_percent,
        energy_kwh=plan.energy_kwh,
        profile=plan.profile,
        charge_minutes=plan.seconds / 60,
        assumed=plan.assumed(is_known),
        tariff=tariff,
    )
    reserved_s = terms.simulated_s(session.reserved_timestamp or now, now)
    return attrs.evolve(planned, amount=expected(planned, reserved_s, station, terms))


LATE_S = 120.0
"""For how long an offer, or a reservation, holds yet that ran out while no server was there."""


def put_off(record: Any, now: float) -> Any:
    """A session, or a place in line, of whose driver nobody could hear until now."""
    if (
        not isinstance(record, ChargingSession)
        or record.state not in (OFFERED, RESERVED)
        or record.due_timestamp > now
    ):
        return record
    return attrs.evolve(record, expires_timestamp=now + LATE_S)
