"""Claiming an EVSE of a station, or a place in its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from evcharge.models.estimates import ChargePlan, choose_evse
from evcharge.models.evse import Evse, plugs_of
from evcharge.models.receipts import Payment
from evcharge.models.session import FREE, RESERVED, WAITING, ChargingSession, Place, plan_session
from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff
from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.models.user import User
from evcharge.outcomes import NO_SLOT, WAITING_LIST_FULL, Refusal
from evcharge.rules import states
from evcharge.rules.events import CLAIMED, LEFT
from evcharge.rules.journey import (
    UNKNOWN_STATION,
    UNKNOWN_USER,
    held_at,
    no_connector,
    no_evse,
    number_of,
    wrong_state,
)
from evcharge.rules.operation import Needs, Operation
from evcharge.rules.sessions import Step, begun, percents
from evcharge.rules.states import MAY, REPEATS
from evcharge.rules.view import View
from evcharge.rules.waiting import InLine, next_place, open_to, turn
from evcharge.utils.numbers import millionths

PAY, RESERVE, ARRIVE = INTENTS = ("pay", "reserve", "arrive")
"""What an EVSE is claimed for: to charge, paid ahead; to be kept; to charge, paid at the end."""


@attrs.frozen
class Wishes:
    """What a driver may say of a claim; None, for an EVSE that is held already, changes nothing."""

    arrival_minutes: float = 0.0
    """Until the arrival, simulated."""
    arrival_percent: float | None = None
    """The car's state of charge when it arrives; None: that of its login."""
    target_percent: float | None = None
    """To which state of charge it is to charge; None: as the login said."""
    evse_uid: str | None = None
    """A certain EVSE; None: the best for this car."""
    leaves_when_done: bool = False
    """Whether the car goes as soon as it is charged; with a payment ahead it does."""


NO_WISHES = Wishes()

Plan = Callable[
    [User, Station, Evse, ChargePlan, Mapping[str, Tariff], str, float, Terms], ChargingSession
]
"""Works out the session of a user who charges from now on, as :func:`plan_session`; pure."""


@attrs.define
class Claim(Operation[ChargingSession | InLine | Refusal]):
    """
    Take an EVSE of a station for a user, or a place in its line, in one step with what that means
    elsewhere: both or neither.

    Results in the session that holds the user's EVSE, which may be the one that did already, or in
    the user's place in line. Refused: the user is not there (any more), the station is not in
    service or has no such EVSE, the user holds one at another one, nothing here fits the car, no
    EVSE that does is free for this user, the line is full, or there is something else that the
    user does here.
    """

    user_id: str
    station_id: str
    receipt_id: str
    """Of the session, where one begins."""
    now: float
    """Seconds since the epoch."""
    terms: Terms = DEFAULT_TERMS
    intent: str = PAY
    """One of :data:`INTENTS`."""
    wait: bool = False
    """Whether to wait in line where nothing is free, with the intent to reserve."""
    wishes: Wishes = NO_WISHES
    plan: Plan = plan_session
    """Called at most once for each attempt."""
    number: int | None = attrs.field(init=False, eq=False, repr=False)
    """The number that `station_id` is."""

    @number.default
    def _number(self) -> int | None:
        return number_of(self.station_id)

    def add_needs(self, needs: Needs) -> None:
        needs.write = needs.catalogue = True
        needs.users.add(self.user_id)
        if self.number is not None:
            needs.stations.add(self.number)

    def decide(self, view: View) -> ChargingSession | InLine | Refusal:
        if view.user(self.user_id) is None:
            return UNKNOWN_USER
        step = Step(view, self.now + view.moved(self.clock), self.terms, self.clock)
        held = view.session(self.user_id) or view.place(self.user_id)
        if held is not None and held.station_id != self.number:
            step.advance(held.station_id)
        step.advance(self.number)
        user, session = view.user(self.user_id), view.session(self.user_id)
        if user is None:
            # It was over, though nobody had looked.
            return UNKNOWN_USER
        if session is not None and session.station_id == self.number:
            return self._at_own(step, user, session)
        book = None if self.number is None else view.book(self.number)
        if book is None or book.station is None:
            return UNKNOWN_STATION
        if session is not None:
            return held_at(session.station_id)
        return self._at(step, user, book.station, book.slots)

    def _at(
        self, step: Step, user: User, station: Station, slots: SlotTable
    ) -> ChargingSession | InLine | Refusal:
        """What becomes of one who holds no EVSE."""
        view, model = step.view, user.car.model
        if station.kinds and not any(plugs_of(model, kind) for kind in station.kinds):
            return no_connector(station)
        free = open_to(station, slots, self.user_id)
        uid = None if self.wait else self.wishes.evse_uid
        if uid is not None:
            evse = station.evse(uid)
            if evse is None:
                return no_evse(station)
            if not plugs_of(model, evse.kind):
                return no_connector(station)
            free = [evse for evse in free if evse.uid == uid]
        start, target = self._percents(user)
        found = choose_evse(model, free, start, target)
        place = view.place(self.user_id)
        if found is None:
            if self.intent == RESERVE:
                if place is not None and place.station_id == station.station_id:
                    return InLine.of(place, station, slots, step.now, self.terms)
                if self.wait:
                    return self._join(step, user, place, station, slots)
            return full(station, slots, step.now, self.terms, user, place)
        tariffs = view.catalogue().tariffs
        session = self.plan(user, station, *found, tariffs, self.receipt_id, self.now, self.terms)
        if step.now != self.now:
            session = session.moved(step.now - self.now, session.clock)
        if self.intent == RESERVE:
            session = step.kept(session, station, RESERVED, self.wishes.arrival_minutes * 60)
        elif self.intent == ARRIVE:
            leaves = self.wishes.leaves_when_done
            session = attrs.evolve(session, paid_timestamp=None, leaves_when_done=leaves)
        if place is not None:
            view.leave_line(place, step.now, CLAIMED)
        before = FREE if place is None else WAITING
        session = view.take(session, self.clock, step.now, before)
        if self.intent == PAY:
            view.list_payment(Payment.of(session), step.now)
        return session

    def _percents(self, user: User) -> tuple[float, float]:
        wishes = self.wishes
        return (
            user.car.percent if wishes.arrival_percent is None else wishes.arrival_percent,
            user.target_percent if wishes.target_percent is None else wishes.target_percent,
        )

    def _join(
        self, step: Step, user: User, place: Place | None, station: Station, slots: SlotTable
    ) -> InLine | Refusal:
        """A place at the end of the line; one elsewhere is left."""
        if len(slots.waiting) >= self.terms.most_waiting:
            return Refusal(WAITING_LIST_FULL, {"station": station.station_id})
        if place is not None:
            step.view.leave_line(place, step.now, LEFT)
        joined = Place(
            user,
            station.station_id,
            next_place(slots.waiting),
            step.now,
            self.wishes.arrival_minutes,
            *self._percents(user),
        )
        joined = step.view.join(joined, self.clock, step.now)
        slots = slots.with_place(joined)
        return InLine.of(joined, station, slots, step.now, self.terms)

    def _at_own(
        self, step: Step, user: User, session: ChargingSession
    ) -> ChargingSession | Refusal:
        """What becomes of one who holds an EVSE here."""
        state, cause = session.state, _CAUSES[self.intent]
        if (state, cause) not in MAY:
            return wrong_state(state)
        if (state, cause) in REPEATS:
            return session
        station = step.station(session)
        if station is None:
            return UNKNOWN_STATION
        evse: Evse | None = station.evse(session.evse_uid)
        uid = None if self.wait else self.wishes.evse_uid
        if uid is not None and uid != session.evse_uid:
            evse = station.evse(uid)
            if evse is None:
                return no_evse(station)
            book = step.view.book(session.station_id)
            assert book is not None
            if evse not in open_to(station, book.slots, self.user_id):
                return full(station, book.slots, step.now, self.terms, user, None)
        start, target = percents(session, user)
        wishes = self.wishes
        start = start if wishes.arrival_percent is None else wishes.arrival_percent
        target = target if wishes.target_percent is None else wishes.target_percent
        found = None if evse is None else choose_evse(user.car.model, [evse], start, target)
        if found is None:
            return no_connector(station)
        tariffs, now = step.view.catalogue().tariffs, step.now
        changed = begun(session, station, *found, tariffs, now, self.terms)
        if self.intent == RESERVE:
            changed = step.kept(changed, station, RESERVED, wishes.arrival_minutes * 60)
        elif self.intent == ARRIVE:
            changed = attrs.evolve(changed, leaves_when_done=wishes.leaves_when_done)
        else:
            changed = attrs.evolve(changed, leaves_when_done=True, paid_timestamp=now)
        changed = step.view.change(session, changed, self.clock, now)
        if self.intent == PAY:
            step.view.list_payment(Payment.of(changed), now)
        if changed.evse_uid != session.evse_uid:
            step.offer(session.station_id)
        return changed


_CAUSES = {PAY: states.PAY, RESERVE: states.RESERVE, ARRIVE: states.ARRIVE}


def full(
    station: Station,
    slots: SlotTable,
    now: float,
    terms: Terms,
    user: User,
    place: Place | None,
) -> Refusal:
    """The refusal where no EVSE that fits is free for a user, and what waiting would mean."""
    here = place if place is not None and place.station_id == station.station_id else None
    expected = turn(station, slots, now, terms, user.car.model, here)
    return Refusal(
        NO_SLOT,
        more={
            "queue_length": len(slots.waiting),
            "eta_minutes": None if expected is None else millionths(expected.minutes),
        },
    )
