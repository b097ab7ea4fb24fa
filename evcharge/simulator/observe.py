"""
What is seen of a run: areas under what stands, from the engine's events; sums, from its receipts.

Nothing is sampled: each area is an integral, exact, from event to event. What breaks an invariant
is a :class:`Broken`, which says so.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from decimal import Decimal

import attrs

from evcharge.models.charging import Profile
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

HOUR_S = 3600.0
QUARTER_S = 900.0

SAME_KWH = 1e-6
"""How far apart the same energy may be that is reckoned in two ways, for each receipt, kWh."""
SAME = 1e-9
"""Likewise areas, of the greater one."""


class Broken(Exception):
    """An invariant does not hold: there is a fault in the engine, or in the simulator."""


@attrs.frozen
class Window:
    """What counts, seconds since the epoch."""

    begin: float
    end: float

    @property
    def hours(self) -> int:
        """How many whole hours it has."""
        return int((self.end - self.begin) / HOUR_S)

    def part(self, begin: float, end: float) -> float:
        """How much of a span lies in it, seconds."""
        return max(0.0, min(end, self.end) - max(begin, self.begin))

    def hour(self, at: float) -> int | None:
        """In which of its whole hours an instant is; None: in none."""
        number = math.floor((at - self.begin) / HOUR_S)
        return number if 0 <= number < self.hours else None


@attrs.define(eq=False)
class Area:
    """How much of something there is, and the integral of that over the window."""

    window: Window
    value: int = 0
    since: float = 0.0
    total: float = 0.0
    """Times seconds."""
    most: int = 0
    """In the window."""
    by_hour: MutableSequence[float] | None = None

    def add(self, by: int, at: float) -> None:
        """There is so much more from an instant on, which may be a little before the last one."""
        if at < self.since:
            self._count(by, at, self.since)
        self.settle(at)
        self.value += by
        if self.value < 0:
            raise Broken(f"there is less than nothing of something: {self.value}")
        if self.value > self.most and self.window.begin <= at < self.window.end:
            self.most = self.value

    def settle(self, at: float) -> None:
        """Take in the time until an instant."""
        begin, self.since = self.since, max(at, self.since)
        if self.value and at > begin:
            if self.window.part(begin, at):
                self.most = max(self.most, self.value)
            self._count(self.value, begin, at)

    def _count(self, value: int, begin: float, end: float) -> None:
        self.total += value * self.window.part(begin, end)
        if self.by_hour is not None:
            for hour, seconds in _cut(self.window, begin, end, HOUR_S, len(self.by_hour)):
                self.by_hour[hour] += value * seconds


def _zeros(number: int) -> array[float]:
    return array("d", bytes(8 * number))


def _cut(
    window: Window, begin: float, end: float, span: float, most: int
) -> Iterable[tuple[int, float]]:
    """The parts of a time in each span of the window, by the number of the span."""
    number = max(0, math.floor((begin - window.begin) / span))
    while number < most:
        from_, to = window.begin + number * span, window.begin + (number + 1) * span
        if from_ >= end:
            return
        yield number, min(end, to) - max(begin, from_)
        number += 1


RESERVING = "reserving"
"""What is offered or kept for somebody, and stands empty."""
QUEUE, IDLE, OUT, EVSES = "queue", "idle", "out", "evses"
AREAS = (QUEUE, RESERVING, CHARGING, IDLE, OUT, EVSES)
_OF_STATE = {OFFERED: RESERVING, RESERVED: RESERVING, CHARGING: CHARGING, FINISHED: IDLE}


@attrs.define(eq=False)
class Seen:
    """What is seen of a station, or of all of them."""

    window: Window
    areas: dict[str, Area] = attrs.field(init=False)
    by_hour_kwh: array[float] = attrs.field(init=False)
    quarters: array[float] = attrs.field(init=False)
    """Energy by the quarter of an hour of the window, kWh."""
    kwh: float = 0.0
    sessions: int = 0
    """Charges that have begun in the window."""
    revenue: Decimal = NOTHING
    refunds: Decimal = NOTHING

    @areas.default
    def _areas(self) -> dict[str, Area]:
        found = {name: Area(self.window, since=self.window.begin) for name in AREAS}
        for name in (QUEUE, CHARGING):
            found[name].by_hour = _zeros(self.window.hours)
        return found

    @by_hour_kwh.default
    def _by_hour_kwh(self) -> array[float]:
        return _zeros(self.window.hours)

    @quarters.default
    def _quarters(self) -> array[float]:
        return _zeros(math.ceil((self.window.end - self.window.begin) / QUARTER_S))

    def charge(self, profile: Profile, begin: float, seconds: float) -> float:
        """Take in what was charged of a profile in so many seconds; all of that, kWh."""
        window, hours = self.window, len(self.by_hour_kwh)
        end = begin + seconds
        number = math.floor((begin - window.begin) / QUARTER_S)
        taken, total = 0.0, profile.energy_after(seconds)
        while taken < total:
            to = window.begin + (number + 1) * QUARTER_S
            until = total if to >= end else profile.energy_after(to - begin)
            energy, taken = until - taken, until
            if 0 <= number < len(self.quarters):
                self.kwh += energy
                self.quarters[number] += energy
                if number // 4 < hours:
                    self.by_hour_kwh[number // 4] += energy
            if to >= end:
                break
            number += 1
        return total

    @property
    def peak(self) -> tuple[float, float] | None:
        """The greatest mean power over a quarter of an hour, kW, and when it began, hours from the
        begin of the window; None: nothing was charged."""
        kwh = max(self.quarters, default=0.0)
        return (kwh * 4.0, self.quarters.index(kwh) / 4.0) if kwh else None


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


def figures(seen: Seen) -> Mapping[str, float | None]:
    """The figures of a station, or of all, that events tell."""
    window = seen.window
    length = window.end - window.begin
    areas = {name: area.total for name, area in seen.areas.items()}
    evses, in_service = areas[EVSES], areas[EVSES] - areas[OUT]
    peak = seen.peak

    def share(area: float, of: float) -> float | None:
        return area / of if of > 0.0 else None

    held = areas[RESERVING] + areas[CHARGING] + areas[IDLE]
    return {
        "queue_mean": areas[QUEUE] / length,
        "queue_most": float(seen.areas[QUEUE].most),
        "occupancy": share(held, evses),
        "reserved_share": share(areas[RESERVING], evses),
        "idle_share": share(areas[IDLE], evses),
        "out_of_service_share": share(areas[OUT], evses),
        "utilisation": share(areas[CHARGING], in_service),
        "kwh": seen.kwh,
        "revenue": float(seen.revenue),
        "refunds": float(seen.refunds),
        "price_kwh": share(float(seen.revenue), seen.kwh),
        "peak_kw": 0.0 if peak is None else peak[0],
        "peak_at": None if peak is None else peak[1],
        "sessions": float(seen.sessions),
        "power_kw": share(seen.kwh * HOUR_S, areas[CHARGING]),
    }


def hours(seen: Seen) -> Mapping[str, tuple[float, ...]]:
    """What events tell of each hour."""
    queue, charging = (seen.areas[name].by_hour or [] for name in (QUEUE, CHARGING))
    return {
        "kwh": tuple(seen.by_hour_kwh),
        "queue": tuple(area / HOUR_S for area in queue),
        "charging": tuple(area / HOUR_S for area in charging),
    }
