"""
What is seen of a run: the engine's events, and what they come to at each station and in all.

What breaks an invariant is a :class:`evcharge.simulator.areas.Broken`, which says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import attrs

from evcharge.models.network import Network, StationRecord
from evcharge.models.receipts import NOTHING, Course
from evcharge.models.session import CHARGING, FINISHED, OFFERED, RESERVED, ChargingSession
from evcharge.models.slots import Book
from evcharge.models.terms import Terms
from evcharge.rules.events import (
    Event,
    EvseStatusSet,
    NetworkChanged,
    PaymentListed,
    PlaceLeft,
    PlaceTaken,
    ReceiptIssued,
    SessionChanged,
    SlotFreed,
    SlotTaken,
)
from evcharge.simulator.areas import (
    AREAS,
    EVSES,
    IDLE,
    OUT,
    QUEUE,
    RESERVING,
    Broken,
    Seen,
    Window,
)

_OF_STATE = {OFFERED: RESERVING, RESERVED: RESERVING, CHARGING: CHARGING, FINISHED: IDLE}

SAME_KWH = 1e-6
"""How far apart the same energy may be that is reckoned in two ways, for each receipt, kWh."""
SAME = 1e-9
"""Likewise areas, of the greater one."""


@attrs.define(eq=False)
class Observer:
    """
    Sees a run.

    :param now: the present, seconds since the epoch.
    """

    window: Window
    terms: Terms
    now: Callable[[], float]
    stations: dict[int, Seen] = attrs.field(factory=dict)
    network: Seen = attrs.field(init=False)
    _evses: dict[int, set[str]] = attrs.field(factory=dict)
    """The EVSEs that each station has now, by uid."""
    _removed: set[str] = attrs.field(factory=set)
    """Those that are gone once the car has left that stood there when they were removed."""
    _out: set[str] = attrs.field(factory=set)  # Those too that are gone.
    _at: dict[str, tuple[int, str]] = attrs.field(factory=dict)
    """User id -> where the user holds an EVSE, or waits: then it is ''."""
    _joined: dict[str, float] = attrs.field(factory=dict)
    _since: dict[str, float] = attrs.field(factory=dict)
    """User id -> when the car began to charge."""
    _waits_s: float = 0.0
    """In the window, of those whose wait has ended."""
    _charges_s: float = 0.0
    """Likewise of those who charged."""
    _receipts: int = 0
    _receipts_kwh: float = 0.0
    _profiles_kwh: float = 0.0
    _totals: Decimal = NOTHING
    _payments: Decimal = NOTHING
    _last: float = -math.inf

    @network.default
    def _network(self) -> Seen:
        return Seen(self.window)

    def begin(self, network: Network, at: float) -> None:
        """These are the stations."""
        for station_id, record in network.stations.items():
            self._put(station_id, record, at)

    def _put(self, station_id: int, record: StationRecord, at: float) -> None:
        """A station is so from now on."""
        uids = {evse.uid for evse in record.station.evses} if record.in_service else set()
        held = {uid for where, uid in self._at.values() if where == station_id and uid}
        self._removed = (self._removed - uids) | (held - uids)
        self._have(station_id, uids | held, at)

    def _have(self, station_id: int, uids: set[str], at: float) -> None:
        before, self._evses[station_id] = self._evses.get(station_id, set()), uids
        self._add(station_id, EVSES, len(uids) - len(before), at)
        self._add(station_id, OUT, len(uids & self._out) - len(before & self._out), at)

    def _of(self, station_id: int) -> Seen:
        seen = self.stations.get(station_id)
        if seen is None:
            seen = self.stations[station_id] = Seen(self.window)
        return seen

    def _add(self, station_id: int, what: str, by: int, at: float) -> None:
        self._of(station_id).areas[what].add(by, at)
        self.network.areas[what].add(by, at)

    # What happens

    def happened(self, events: Sequence[Event]) -> None:
        """Take in what has happened; Broken: it cannot have."""
        now = self.now()
        if now < self._last:
            raise Broken("the clock has gone back")
        self._last = now
        for event in events:
            if isinstance(event, SlotTaken):
                self._take(event.session, event.at)
            elif isinstance(event, SlotFreed):
                self._leave(event.session, event.at)
                if (uid := event.session.evse_uid) in self._removed:
                    there = event.session.station_id
                    self._have(there, self._evses[there] - {uid}, event.at)
            elif isinstance(event, SessionChanged):
                self._leave(event.before, event.at)
                self._take(event.session, event.at)
            elif isinstance(event, PlaceTaken):
                self._seat(event.place.user_id, event.place.station_id, "")
                self._joined[event.place.user_id] = event.at
                self._add(event.place.station_id, QUEUE, 1, event.at)
            elif isinstance(event, PlaceLeft):
                del self._at[event.place.user_id]
                joined = self._joined.pop(event.place.user_id)
                self._waits_s += self.window.part(joined, event.at)
                self._add(event.place.station_id, QUEUE, -1, event.at)
            elif isinstance(event, EvseStatusSet):
                self._set_status(event)
            elif isinstance(event, ReceiptIssued):
                self._receipts += 1
                self._receipts_kwh += event.receipt.body["energy_kwh"] or 0.0
                self._totals += event.receipt.total
                for seen in (self._of(event.receipt.station_id), self.network):
                    seen.bill(event.receipt.total, event.at)
            elif isinstance(event, PaymentListed):
                self._pay(event)
            elif isinstance(event, NetworkChanged):
                for station_id, record in event.put.items():
                    self._put(station_id, record, event.at)
            if isinstance(event, (SlotTaken, SlotFreed, SessionChanged)):
                _check(event.book)

    def _seat(self, user_id: str, station_id: int, evse_uid: str) -> None:
        if user_id in self._at:
            raise Broken(f"a user is at two places: {self._at[user_id]}, {station_id} {evse_uid}")
        self._at[user_id] = station_id, evse_uid

    def _take(self, session: ChargingSession, at: float) -> None:
        self._seat(session.user_id, session.station_id, session.evse_uid)
        self._add(session.station_id, _OF_STATE[session.state], 1, at)
        if session.state == CHARGING and session.user_id not in self._since:
            self._since[session.user_id] = at
            if self.window.begin <= at < self.window.end:
                self._of(session.station_id).sessions += 1
                self.network.sessions += 1

    def _leave(self, session: ChargingSession, at: float) -> None:
        if self._at.pop(session.user_id, None) != (session.station_id, session.evse_uid):
            raise Broken(f"a user leaves {session.evse_uid}, and was elsewhere")
        self._add(session.station_id, _OF_STATE[session.state], -1, at)
        if session.state == CHARGING:
            began = self._since.pop(session.user_id)
            self._charges_s += self.window.part(began, at)
            self._charge(session, at)

    def _charge(self, session: ChargingSession, at: float) -> None:
        """A charge has ended, or the run has."""
        course = Course.of(session, at, self.terms)
        if course.profile is None:
            return
        begin = session.started(self.terms)
        kwh = self._of(session.station_id).charge(course.profile, begin, course.charge_s)
        self.network.charge(course.profile, begin, course.charge_s)
        self._profiles_kwh += kwh

    def _set_status(self, event: EvseStatusSet) -> None:
        out = self._out - {event.evse_uid}
        self._out, before = out if event.status.in_service else out | {event.evse_uid}, self._out
        if event.evse_uid in self._evses[event.station_id]:
            self._add(event.station_id, OUT, len(self._out) - len(before), event.at)

    def _pay(self, event: PaymentListed) -> None:
        amount = event.payment.amount
        self._payments += amount
        if self.window.begin <= event.at < self.window.end:
            for seen in (self._of(event.payment.station_id), self.network):
                seen.revenue += amount
                if amount < 0:
                    seen.refunds -= amount

    # The end

    @property
    def is_empty(self) -> bool:
        """Whether nobody holds an EVSE or waits."""
        return not self._at

    def end(self, at: float, standing: Iterable[ChargingSession]) -> None:
        """
        The run is over: settle what stands, and hold all to what is always so.

        :param standing: the sessions that are not over.
        :raise Broken: something is not so.
        """
        ahead, more_kwh = NOTHING, 0.0
        for session in standing:
            ahead += session.paid
            if session.state == CHARGING:
                before = self._profiles_kwh
                self._charges_s += self.window.part(self._since[session.user_id], at)
                self._charge(session, at)
                more_kwh += self._profiles_kwh - before
            elif session.state == FINISHED:
                more_kwh += Course.of(session, at, self.terms).energy_kwh or 0.0
        for seen in (*self.stations.values(), self.network):
            for area in seen.areas.values():
                area.settle(at)
        self._waits_s += math.fsum(self.window.part(joined, at) for joined in self._joined.values())
        most = SAME_KWH * (1 + self._receipts)
        if abs(self._receipts_kwh + more_kwh - self._profiles_kwh) > most:
            raise Broken(
                f"receipts have {self._receipts_kwh:.6f} kWh, profiles "
                f"{self._profiles_kwh - more_kwh:.6f}"
            )
        if self._payments - ahead != self._totals:
            raise Broken(f"payments are {self._payments - ahead} BRL, receipts {self._totals}")
        self._same("waits", self.network.areas[QUEUE].total, self._waits_s)
        self._same("charges", self.network.areas[CHARGING].total, self._charges_s)
        by_hour = math.fsum(self.network.quarters)
        if abs(by_hour - self.network.kwh) > most:
            raise Broken(f"quarters have {by_hour:.6f} kWh, the window {self.network.kwh:.6f}")
        for what in AREAS:
            parts = math.fsum(seen.areas[what].total for seen in self.stations.values())
            self._same(what, self.network.areas[what].total, parts)

    def _same(self, what: str, area: float, other: float) -> None:
        """Little's law as an identity of areas."""
        if abs(area - other) > SAME * max(1.0, area) + 1e-3:
            raise Broken(f"the area of {what} is {area!r} s, their sum {other!r} s")


def _check(book: Book | None) -> None:
    """No EVSE is held twice, and what is available and held is what there is."""
    if book is None or book.station is None:
        return
    slots = book.slots
    if len(slots.held) != len(slots.sessions):
        raise Broken(f"an EVSE of station {slots.station_id} has two cars")
    if len(book.free()) != slots.available_slots:
        raise Broken(
            f"station {slots.station_id} has {len(book.free())} free EVSEs, and says "
            f"{slots.available_slots}"
        )
