"""What a session has come to: energy, minutes and money, so far or in the end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs

from evcharge.models.charging import Profile
from evcharge.models.estimates import charging_segments
from evcharge.models.evse import Connector
from evcharge.models.session import (
    CANCELLED,
    CHARGING,
    COMPLETED,
    FINISHED,
    NO_SHOW,
    OFFERED,
    RESERVED,
    ChargingSession,
)
from evcharge.models.station import Station
from evcharge.models.tariffs import Bill, Line, Outcome, Segment, energy_bill, energy_total, price
from evcharge.models.terms import Terms
from evcharge.utils.ids import derived_id, ending
from evcharge.utils.numbers import millionths, rounded
from evcharge.utils.time_utils import iso_utc

TARGET, STOPPED, IDLE_LIMIT, EXPIRED, BY_DRIVER, BY_OPERATOR, JOURNEY_ENDED = END_REASONS = (
    "target",
    "stopped",
    "idle_limit",
    "expired",
    "cancelled",
    "operator",
    "journey_ended",
)
"""Why a session may end."""

ENDS = (
    (COMPLETED, TARGET),
    (COMPLETED, STOPPED),
    (COMPLETED, IDLE_LIMIT),
    (COMPLETED, BY_OPERATOR),
    (COMPLETED, JOURNEY_ENDED),
    (CANCELLED, BY_DRIVER),
    (CANCELLED, BY_OPERATOR),
    (CANCELLED, JOURNEY_ENDED),
    (NO_SHOW, EXPIRED),
)
"""In which state a session may end, and why."""

AT_DEADLINE: Mapping[str, tuple[str, str]] = {
    RESERVED: (NO_SHOW, EXPIRED),
    CHARGING: (COMPLETED, TARGET),
    FINISHED: (COMPLETED, IDLE_LIMIT),
}
"""In which state a session ends whose deadline has passed, and why; one that charges only where its
car goes then."""

NOTHING = Decimal("0.00")

_OUTCOMES: Mapping[str, Outcome] = {NO_SHOW: "expired", CANCELLED: "cancelled"}


@attrs.define
class Course:
    """What has happened in a session until an instant."""

    reserved_s: float | None
    """For how long it was reserved, simulated seconds; None where it never was."""
    profile: Profile | None
    """What was to be charged; None where that is not known."""
    charge_s: float = 0.0
    idle_s: float = 0.0
    energy_kwh: float | None = 0.0
    """What was charged; None where that is not known."""
    power_kw: float | None = None
    """The power at that instant; None before charging began, and where it is not known."""
    charged_until: float | None = None
    """When charging ended, seconds since the epoch; None where it has not, or never began."""
    is_whole: bool = False
    """Whether all was charged that was to be."""

    @property
    def charged(self) -> Profile | None:
        """What was charged, and how; None where that is not known."""
        profile = self.profile
        return profile if profile is None or self.is_whole else profile.until(self.charge_s)

    @classmethod
    def of(cls, session: ChargingSession, until: float, terms: Terms) -> Course:
        """What has happened in `session` until an instant, seconds since the epoch."""
        has_begun = session.state in (CHARGING, FINISHED)
        reserved_s = None
        if session.reserved_timestamp is not None:
            end = session.started(terms) if has_begun else until
            reserved_s = terms.simulated_s(session.reserved_timestamp, end)
        profile = session.profile
        if not has_begun:
            return cls(reserved_s, profile)
        full_s, ended = session.charge_minutes * 60, session.stopped_timestamp
        end = session.estimated_timestamp
        stops = min(until, end) if ended is None else ended
        whole = stops >= end
        energy: float | None
        power: float | None = None
        if whole:
            charge_s, ended = full_s, end
            energy = session.energy_kwh
        else:
            # By its own begin and end: the time scale may have been another one.
            began = session.started(terms)
            share = (stops - began) / (end - began) if end > began else 1.0
            charge_s = full_s * min(1.0, max(0.0, share))
            energy, power = (None, None) if profile is None else profile.after(charge_s)
        idle_s = 0.0
        if ended is not None:
            power = 0.0
            idle_s = terms.simulated_s(ended, until)
        if profile is None:
            energy = power = None
        return cls(reserved_s, profile, charge_s, idle_s, energy, power, ended, whole)

    def percent(self, session: ChargingSession) -> float | None:
        """The state of charge; None where it is not known."""
        start, target, planned = session.start_percent, session.target_percent, session.energy_kwh
        energy = self.energy_kwh
        if start is None or target is None or energy is None:
            return None
        return start + (target - start) * min(1.0, energy / planned) if planned else start


def segments_of(
    session: ChargingSession,
    course: Course,
    station: Station | None,
    terms: Terms,
    outcome: Outcome = "used",
) -> list[Segment]:
    """
    What a tariff is asked about a session.

    :param station: where it is; None where that is not known any more.
    :param outcome: of its reservation, if it had one.
    """
    begin = session.reserved_timestamp
    segments = []
    if begin is not None:
        reserved_s = course.reserved_s or 0.0
        segments.append(Segment("reserved", begin, reserved_s, outcome=outcome))
        begin += reserved_s
    charged = course.charged
    if session.state not in (CHARGING, FINISHED) or charged is None:
        return segments
    if begin is None:
        begin = session.started(terms)
    segments += charging_segments(charged, connector_of(session, station), begin)
    if course.idle_s > 0.0:
        segments.append(Segment("idle", begin + course.charge_s, course.idle_s))
    return segments


def connector_of(session: ChargingSession, station: Station | None) -> Connector | None:
    """By which connector the vehicle charges; None where that is not known."""
    evse = None if station is None else station.evse(session.evse_uid)
    connectors = () if evse is None else evse.kind.connectors
    return next((each for each in connectors if each.name == session.connector), None)


def bill_of(
    session: ChargingSession,
    course: Course,
    station: Station | None,
    terms: Terms,
    outcome: Outcome = "used",
) -> Bill | None:
    """What a session comes to; None where it is not known what was charged, or by which tariff."""
    tariff = session.tariff
    if tariff is None or course.profile is None:
        return None
    if session.state in (CHARGING, FINISHED) and course.energy_kwh is not None:
        # Of most tariffs it is known without a look at how it was charged.
        bill = energy_bill(tariff, course.energy_kwh, course.idle_s)
        if bill is not None:
            return bill
    zone = terms.zone if station is None else station.zone(terms.zone)
    return price(tariff, segments_of(session, course, station, terms, outcome), zone)


def cost_so_far(
    session: ChargingSession, course: Course, station: Station | None, terms: Terms
) -> Decimal:
    """What a session has come to, BRL with two places."""
    if session.state == OFFERED:
        return NOTHING
    tariff, energy = session.tariff, course.energy_kwh
    # Of most tariffs it is known without a bill: of what asks for energy alone, always.
    if (
        tariff is not None
        and energy is not None
        and not course.idle_s
        and (tariff.energy_price is not None or course.reserved_s is None)
    ):
        zone = terms.zone if station is None else station.zone(terms.zone)
        total = energy_total(tariff, energy, session.started(terms), course.charge_s, zone)
        if total is not None:
            return total
    bill = bill_of(session, course, station, terms)
    return session.amount if bill is None else bill.incl_vat


def expected(
    session: ChargingSession, reserved_s: float, station: Station, terms: Terms
) -> Decimal:
    """
    What a session is expected to cost, its reservation and all of its charge, BRL.

    :param reserved_s: for how long it is reserved before it charges, simulated seconds.
    """
    profile = session.profile
    if profile is None:
        return session.amount
    charge_s, energy = session.charge_minutes * 60, session.energy_kwh
    course = Course(reserved_s, profile, charge_s, energy_kwh=energy, is_whole=True)
    bill = bill_of(attrs.evolve(session, state=CHARGING), course, station, terms)
    return session.amount if bill is None else bill.incl_vat


@attrs.frozen
class Receipt:
    """The receipt of a session."""

    receipt_id: str
    driver_id: str
    """A secret, and so not in the body."""
    user_end: str
    """The last characters of the user's id."""
    station_id: int
    paid_timestamp: float | None
    """When it was paid ahead, seconds since the epoch; None where it was not."""
    ended_timestamp: float
    """When the session ended, likewise; of one that still lives, the present."""
    total: Decimal
    """BRL, two places, with VAT."""
    paid: Decimal
    """What of it was paid ahead; more, perhaps."""
    body: Mapping[str, Any]
    """What RECEIPT replies: an object of JSON."""


def receipt_of(
    session: ChargingSession,
    at: float,
    station: Station | None,
    terms: Terms,
    state: str | None = None,
    end_reason: str | None = None,
) -> Receipt:
    """
    The receipt of a session that ends at an instant, seconds since the epoch, or lives.

    :param station: where it is; None where that is not known any more.
    :param state: in which of :data:`FINAL` it ends; None: it lives.
    :param end_reason: one of :data:`END_REASONS`. What the operator cancels costs nothing.
    """
    course = Course.of(session, at, terms)
    has_begun = session.state in (CHARGING, FINISHED)
    charged_until = course.charged_until
    if charged_until is None and has_begun and state is not None:
        charged_until = at
    free = (state == CANCELLED and end_reason == BY_OPERATOR) or session.state == OFFERED
    bill = (
        None
        if free
        else bill_of(session, course, station, terms, _OUTCOMES.get(state or "", "used"))
    )
    if free:
        total = excl_vat = NOTHING
    elif bill is None:
        total = excl_vat = session.amount
    else:
        total, excl_vat = bill.incl_vat, bill.excl_vat
    energy, seconds = course.energy_kwh, course.charge_s
    body = {
        "receipt_id": session.receipt_id,
        "final": state is not None,
        "state": state or session.state,
        "end_reason": end_reason,
        "id_station": str(session.station_id),
        "name_station": None if station is None else station.name,
        "id_evse": session.evse_uid or None,
        "connector": session.connector,
        "reserved_from": _iso(session.reserved_timestamp),
        "started": _iso(session.started(terms) if has_begun else None),
        "charged_until": _iso(charged_until),
        "ended": _iso(None if state is None else at),
        "energy_kwh": rounded(energy),
        "start_percent": rounded(session.start_percent),
        "end_percent": rounded(course.percent(session)),
        "average_power_kw": rounded(energy / seconds * 3600 if energy and seconds else None),
        "reservation_minutes": millionths((course.reserved_s or 0.0) / 60),
        "charge_minutes": millionths(seconds / 60),
        "idle_minutes": millionths(course.idle_s / 60),
        "lines": [] if bill is None else [_line(line) for line in bill.lines],
        "total_excl_vat": float(excl_vat),
        "total": float(total),
        "paid": float(session.paid),
        "currency": "BRL" if session.tariff is None else session.tariff.currency,
        "tariff": None if session.tariff is None else session.tariff.body,
    }
    return Receipt(
        session.receipt_id,
        session.driver_id or session.user_id,
        ending(session.user_id),
        session.station_id,
        session.paid_timestamp,
        at,
        total,
        session.paid,
        body,
    )


def receipt_at(
    session: ChargingSession, now: float, station: Station | None, terms: Terms
) -> Receipt | None:
    """
    The receipt of a session at an instant: so far, or the final one where its deadline has passed
    by then, though no sweep has come; None: it was but an offer, and is over.
    """
    session = session.charged(now, terms)
    due = session.due_timestamp
    if due > now:
        return receipt_of(session, now, station, terms)
    if session.state == OFFERED:
        return None
    return receipt_of(session, due, station, terms, *AT_DEADLINE[session.state])


def _iso(instant: float | None) -> str | None:
    return None if instant is None else iso_utc(instant)


def _line(line: Line) -> dict[str, Any]:
    excl_vat = incl_vat = round(_float(line.excl_vat) * 1e4) / 1e4
    if line.incl_vat is not line.excl_vat:
        incl_vat = round(_float(line.incl_vat) * 1e4) / 1e4
    return {
        "dimension": line.dimension,
        "quantity": millionths(_float(line.quantity)),
        "unit": line.unit or None,
        "price": _float(line.price),
        "vat": None if line.vat is None else _float(line.vat),
        "step_size": line.step_size,
        "excl_vat": excl_vat,
        "incl_vat": incl_vat,
    }


def _float(fraction: Fraction) -> float:
    """The same as `float` makes of it, in less time."""
    numerator, denominator = fraction.as_integer_ratio()
    return numerator / denominator


@attrs.frozen
class Payment:
    """A payment that was taken, as the operator's books have it."""

    receipt_id: str
    paid_timestamp: float | None
    """Seconds since the epoch."""
    station_id: int
    amount: Decimal
    """BRL; negative where it was given back."""
    user_end: str
    """The last characters of the user's id; the first ones, where an earlier version took it."""
    clock: int = attrs.field(default=0, eq=False)
    """By which of its clocks a storage has the time: see :mod:`evcharge.rules.clocks`."""
    refund_of: str | None = None
    """The receipt that it makes up the difference to; None: it is the session's first one."""

    @classmethod
    def of(cls, session: ChargingSession) -> Payment:
        """What was paid ahead for `session`."""
        return cls(
            session.receipt_id,
            session.paid_timestamp,
            session.station_id,
            session.amount,
            ending(session.user_id),
            session.clock,
        )

    @classmethod
    def settling(cls, receipt: Receipt, clock: int = 0) -> Payment | None:
        """What is paid, or given back, with a final receipt; None: nothing is."""
        owed = receipt.total - receipt.paid
        if not owed:
            return None
        ahead = receipt.paid_timestamp is not None or receipt.paid > 0
        return cls(
            derived_id(receipt.receipt_id, "settled") if ahead else receipt.receipt_id,
            receipt.ended_timestamp,
            receipt.station_id,
            owed,
            receipt.user_end,
            clock,
            receipt.receipt_id if ahead else None,
        )

    def moved(self, by_s: float, clock: int) -> Payment:
        """The same payment, `by_s` later, by another `clock`."""
        paid = self.paid_timestamp
        later = None if paid is None else paid + by_s
        return attrs.evolve(self, paid_timestamp=later, clock=clock)
