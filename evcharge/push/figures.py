"""The figures of the network, a point every quarter of a minute: of nobody in particular."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.models.receipts import Course
from evcharge.models.session import CHARGING, FINISHED, OFFERED, RESERVED, ChargingSession
from evcharge.models.stations import Stations
from evcharge.models.terms import Terms
from evcharge.rules.events import Event, ReceiptIssued, SessionChanged, SlotTaken
from evcharge.rules.journey import ListSessions, ListStations
from evcharge.storage import Perform
from evcharge.storage.group_commit import Unavailable
from evcharge.utils.numbers import millionths
from evcharge.utils.time_utils import iso_utc

INTERVAL_S = 15.0
"""Between two points, seconds."""

MOST_POINTS = 240
"""An hour of them."""

MOST_MINUTES = 24 * 60
"""A day of points, one a minute."""

MINUTE_S = 60.0 - INTERVAL_S / 2
"""How long after a point of a minute there is another; points may be a little early."""

STEPS_PER_TURN = 500
"""Stations, or sessions, that are looked at in one turn of the reactor: less than 2 ms."""

DONE = object()


class Figures(Service):
    """
    Keeps the figures.

    :param now: the present, seconds since the epoch.
    :param terms: what sessions go by.
    """

    name = "figures"
    log = Logger()

    def __init__(
        self,
        perform: Perform,
        clock: IReactorTime,
        now: Callable[[], float],
        terms: Terms,
    ) -> None:
        self._perform = perform
        self._clock = clock
        self._now = now
        self._terms = terms
        self.on_point: Callable[[], object] = lambda: None
        """Called when there is a new point."""
        self.points: deque[dict[str, Any]] = deque(maxlen=MOST_POINTS)
        """The points of the last hour, the oldest first."""
        self.minutes: deque[dict[str, Any]] = deque(maxlen=MOST_MINUTES)
        """Those of the last day, one a minute."""
        self._minute_at = float("-inf")
        """When the last of them was, seconds since the epoch."""
        self._charging: dict[str, ChargingSession] = {}
        """Sessions that have begun to charge and still stand, by receipt."""
        self._sessions = 0
        """How many have begun to charge since the start."""
        self._delivered_kwh = 0.0
        """By those that are over, less what the others had been given before the start."""
        self._later: set[str] | None = None
        """Sessions of which something was heard since all of them were asked for, by receipt: the
        answer may be older. None while they are not asked for."""
        self._is_first = True
        self._next: IDelayedCall | None = None
        self._more: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._next = self._clock.callLater(0, self._look)

    def stopService(self) -> None:
        super().stopService()
        for call in (self._next, self._more):
            if call is not None and call.active():
                call.cancel()

    def happened(self, events: Sequence[Event]) -> None:
        """Count what this process has done."""
        for event in events:
            if isinstance(event, (SlotTaken, SessionChanged)):
                session = event.session
                self._put_later(session.receipt_id)
                began = session.state == CHARGING and session.receipt_id not in self._charging
                if began or session.receipt_id in self._charging:
                    self._charging[session.receipt_id] = session
                self._sessions += began
            elif isinstance(event, ReceiptIssued):
                receipt = event.receipt
                self._put_later(receipt.receipt_id)
                if self._charging.pop(receipt.receipt_id, None) is not None:
                    self._delivered_kwh += receipt.body["energy_kwh"] or 0.0

    def _put_later(self, receipt_id: str) -> None:
        if self._later is not None:
            self._later.add(receipt_id)

    def _end(self, receipt_id: str, at: float) -> None:
        session = self._charging.pop(receipt_id, None)
        if session is not None:
            self._delivered_kwh += self._energy_kwh(session, at)

    def _energy_kwh(self, session: ChargingSession, now: float) -> float:
        return Course.of(session, now, self._terms).energy_kwh or 0.0

    def _look(self) -> None:
        self._next = self._clock.callLater(INTERVAL_S, self._look)
        stations: Deferred[Any] = maybeDeferred(self._perform, ListStations())
        stations.addCallback(self._listed).addErrback(self._failed)

    def _listed(self, stations: Stations) -> Deferred[Any]:
        self._later = set()
        sessions: Deferred[Any] = maybeDeferred(self._perform, ListSessions())
        return sessions.addCallback(self._seen, stations)

    def _failed(self, failure: Failure) -> None:
        self._later = None
        if not failure.check(Unavailable):
            self.log.failure("The figures could not be worked out", failure=failure)

    def _seen(self, sessions: Sequence[ChargingSession], stations: Stations) -> None:
        if not self.running:
            return
        now = self._now()
        self._compare(sessions, now)
        self._later = None
        self._go_on(self._make_point(sessions, stations, now))

    def _compare(self, sessions: Sequence[ChargingSession], now: float) -> None:
        """Follow what other processes have done, of which there are no events."""
        later = self._later or ()
        listed = {
            session.receipt_id: session
            for session in sessions
            if session.state in (CHARGING, FINISHED) and session.receipt_id not in later
        }
        for receipt_id in self._charging.keys() - listed.keys() - set(later):
            self._end(receipt_id, now)
        for receipt_id, session in listed.items():
            if receipt_id not in self._charging:
                if self._is_first:
                    self._delivered_kwh -= self._energy_kwh(session, now)
                else:
                    self._sessions += 1
            self._charging[receipt_id] = session
        self._is_first = False

    def _make_point(
        self, sessions: Sequence[ChargingSession], stations: Stations, now: float
    ) -> Iterator[None]:
        """Work a point out, step by step, and keep it."""
        reserved = sum(session.state in (OFFERED, RESERVED) for session in sessions)
        charging, begun = [*self._charging.values()], self._sessions
        slots = held = out_of_service = waiting = 0
        load_kw, energy_kwh = 0.0, self._delivered_kwh
        for state in stations:
            slots += state.max_slots
            held += len(state.held)
            out_of_service += sum(kind.out_of_service for kind in state.kinds)
            waiting += state.queue_length
            yield
        for session in charging:
            course = Course.of(session, now, self._terms)
            energy_kwh += course.energy_kwh or 0.0
            if session.state == CHARGING and session.profile is not None:
                load_kw += session.profile.power_after(course.charge_s)
            yield
        self._keep(
            {
                "timestamp": iso_utc(now),
                "slots": slots,
                "occupied": max(0, held - reserved),
                "reserved": reserved,
                "out_of_service": out_of_service,
                "queue_length": waiting,
                "load_kw": millionths(load_kw),
                "energy_kwh": millionths(max(0.0, energy_kwh)),
                "sessions": begun,
            },
            now,
        )

    def _keep(self, point: dict[str, Any], now: float) -> None:
        self.points.append(point)
        # A clock that was set back must not leave a gap.
        if not 0 <= now - self._minute_at < MINUTE_S:
            self.minutes.append(point)
            self._minute_at = now
        self.on_point()

    def _go_on(self, steps: Iterator[None]) -> None:
        """Take some of the steps in this turn of the reactor, and the others in those to come."""
        for _ in range(STEPS_PER_TURN):
            if next(steps, DONE) is DONE:
                return
        self._more = self._clock.callLater(0, self._go_on, steps)
