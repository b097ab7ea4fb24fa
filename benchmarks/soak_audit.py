"""
What the drivers of a soak were told, and whether the storage agrees.

:class:`Book` is what all of them note down; :func:`audit` holds the storage of a server that has
ended against it. Where a driver was told nothing, either is right, and no more than that.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from evcharge.models.receipts import Payment
from evcharge.models.session import ChargingSession
from evcharge.models.user import User
from evcharge.storage import StorageError
from evcharge.storage.contents import Contents
from evcharge.storage.location import parse
from evcharge.storage.private import shown
from evcharge.utils.ids import ending

SWEEP_S = 1.0
"""Between two sweeps of the server, seconds."""

SLACK_S = 5.0
"""How near to its end a user or a session may be found either way, seconds."""

LATE_S = SWEEP_S + SLACK_S

MOST_GROWTH_KIB = 10 * 1024
"""How much the server's memory may grow while nothing kills it, KiB."""

MOST_REMAINS_BYTES, NOISE_KIB = 64, 1024
"""What may remain in memory of a journey that has ended, and what memory varies by anyway, KiB."""

USER_KIB = 2
"""About what a user takes in memory, KiB."""

LONGEST_CHARGE_S = 600.0
"""About what any car takes at any post, to 100 % at one phase, at a soak's pace, seconds."""

MOST_FINDINGS = 100


@attrs.define
class Account:
    """What is known of one user."""

    name: str
    """As the LOGIN had it; no two LOGINs have the same."""
    asked: float
    """When the LOGIN was sent, and"""
    since: float
    """answered, both in seconds since the epoch."""
    stage: str = "waiting"
    """`waiting`: logged in; `charging`; `left`; `unsure`: something was asked and not answered."""
    tried: str = ""
    """The station of a payment that may have been taken, though it was never said."""
    station: str = ""
    receipt: str = ""
    amount: float = 0.0
    ends: float = 0.0
    """When charging ends, seconds since the epoch."""
    leaves: float = math.inf
    """When the driver said so."""
    car: str = ""
    arrival_percent: float | None = None
    """As PAYMENT has it; else it is the battery of the LOGIN."""
    start_percent: float = 0.0
    target_percent: float = 80.0
    driver_id: str = ""
    visits: bool = False
    """Whether it is a driver of :mod:`benchmarks.soak_sessions`, which has an audit of its own."""

    def may_be_gone(self, now: float, ttl_s: float) -> bool:
        """Whether the sweep may have removed the user, if nothing else did."""
        if self.stage == "charging":
            return now > self.ends - SLACK_S
        return bool(self.tried) or now - self.asked > ttl_s - SLACK_S

    def places(self, session: ChargingSession | None, now: float, ttl_s: float) -> set[str]:
        """
        Where the user may be: "gone", "waiting", or at a station, which has a number.

        :param session: what the user was found to hold.
        """
        if self.stage == "left":
            return {"gone"}
        charges = self.stage == "charging"
        found = {"gone"} if self.stage == "unsure" or self.may_be_gone(now, ttl_s) else set()
        # Who has charged may be seen between the end of the session and that of the user.
        until = self.ends if charges else self.since + ttl_s
        if now <= until + LATE_S and (not charges or "gone" in found):
            found.add("waiting")
        if session and session.receipt_id == (self.receipt or session.receipt_id):
            ends = self.ends if charges else session.estimated_timestamp
            found |= {self.tried, self.station} - {""} if now <= ends + LATE_S else set()
        return found


@attrs.define
class Charge:
    """A payment that was answered, and what was asked for."""

    account: Account
    asked: float
    """When it was sent first, and"""
    answered: float
    """last answered, seconds since the epoch."""
    told: dict[str, Any]

    @property
    def held_until(self) -> float:
        """Until when the vehicle stood there for certain."""
        return min(self.account.leaves, self.told["estimated_timestamp"])


@attrs.define
class Hold:
    """An EVSE that somebody held, all the time between two instants, seconds since the epoch."""

    evse: str
    receipt: str
    since: float
    until: float
    name: str


@attrs.define(eq=False)
class Wait:
    """A place in line that somebody had, likewise."""

    name: str
    car: str
    station: str
    since: float
    until: float
    returned: bool
    """Whether it was given before all others, as an EVSE was put out of service."""
    offered: float | None = None
    """When an EVSE was offered for it, seconds since the epoch, and"""
    evse: str = ""
    """which one, and"""
    told: float = math.inf
    """when its driver was told of it, likewise."""

    def went_first(self, other: Wait, by_s: float) -> bool:
        """
        Whether an EVSE was offered for it while `other`, who came before, was in line for certain,
        and by more than `by_s` seconds.

        Not by its instant alone: that is of the request by which it was made, of which others may
        be told later.
        """
        assert self.offered is not None
        offered_later = other.offered is not None and other.offered > self.offered
        return other.until > by_s + (self.offered if offered_later else self.told)


@attrs.define
class Book:
    """What all drivers were told, and what is wrong with it."""

    ttl_s: float
    """After which the server removes a user who never paid, seconds."""
    users: dict[str, Account] = attrs.field(factory=dict)
    lost_logins: set[str] = attrs.field(factory=set)
    """The names in LOGINs that were not answered: each may have made one user."""
    replies: Counter[tuple[str, int, str]] = attrs.field(factory=Counter)
    """By type, code and reason."""
    events: Counter[str] = attrs.field(factory=Counter)
    charges: list[Charge] = attrs.field(factory=list)
    unserved: set[tuple[str, str, bool]] = attrs.field(factory=set)
    """Of payments that found nothing: car, station, and whether something would have fitted."""
    fragile: frozenset[str] = frozenset()
    """The stations whose EVSEs are put out of service now and then."""
    killed: float = 0.0
    """When the server was ended last, seconds since the epoch."""
    disorder_s: float = 0.0
    """How long after one that came later a request may be carried out, as by another process."""
    holds: list[Hold] = attrs.field(factory=list)
    waits: list[Wait] = attrs.field(factory=list)
    totals: dict[str, tuple[float, str]] = attrs.field(factory=dict)
    """Of final receipts that were shown: what they come to, BRL, and how the session ended."""
    findings: list[str] = attrs.field(factory=list)
    untold_findings: int = 0

    def find(self, what: str, wrong: object = True) -> None:
        """Note something that should not be, where it is `wrong`."""
        if wrong and len(self.findings) < MOST_FINDINGS:
            self.findings.append(what)
        else:
            self.untold_findings += bool(wrong)

    def present(self, now: float) -> int:
        """About how many users the server has, as far as was told."""
        count = 0
        for account in reversed(self.users.values()):
            if now - account.since > self.ttl_s + LONGEST_CHARGE_S:
                break
            until = account.ends if account.stage == "charging" else account.since + self.ttl_s
            count += account.stage != "left" and now < until
        return count


@attrs.define
class Found:
    """What a storage holds that no server has open."""

    contents: Contents
    users: list[User]
    sessions: list[ChargingSession]
    payments: list[Payment]


def read(url: str, data: Path) -> Found:
    """Read a storage whole. StorageError: it cannot be."""
    with parse(url, str(data)).storage().read_contents(time.time()) as contents:
        return Found(contents, *map(list, (contents.users, contents.sessions, contents.payments)))


def audit(book: Book, url: str, data: Path, now: float) -> str:
    """
    Hold what is in the storage against what the drivers were told.

    :param now: when the server was ended, seconds since the epoch.
    :return: what to print; what is wrong is in the book's findings.
    """
    try:
        found = read(url, data)
    except StorageError as error:
        book.find(f"the storage cannot be read: {error}")
        return "nothing could be audited"
    for remark in found.contents.remarks:
        book.find(f"the storage remarks: {remark}")
    # That one user stands at two stations no table can say; files are looked at below.
    taken = Counter(session.station_id for session in found.sessions)
    for station in (record.station for record in found.contents.stations):
        here, slots = taken[station.station_id], station.max_slots
        told = f"{here} stand at the {slots} slots of station {station.station_id}"
        book.find(told, here > slots)
    standing = Counter((session.station_id, session.evse_uid) for session in found.sessions)
    for (station_id, uid), count in standing.items():
        told = f"{count} stand at EVSE {uid!r} of station {station_id}"
        book.find(told, count > 1 or not uid)
    if url == "files":
        _audit_files(book, data)
    _audit_users(book, found, now)
    audit_payments(book, found)
    return (
        f"audited: {len(found.contents.stations)} stations, {len(found.users)} users, "
        f"{len(found.sessions)} sessions, {len(found.payments)} payments against "
        f"{len(book.users)} users and {sum(1 for a in book.users.values() if a.receipt)} receipts"
    )


def _audit_files(book: Book, data: Path) -> None:
    """The files themselves: what reads them puts some things right that should be so already."""
    standing: Counter[str] = Counter()
    receipts: list[str] = []
    for path in sorted((data / "stations").glob("*.json")):
        try:
            station = json.loads(path.read_text())
            vehicles = station["vehicles"]
            standing.update(vehicles.keys())
            paid_ahead = (one for one in vehicles.values() if one.get("paid_timestamp") is not None)
            receipts += [vehicle["receipt_id"] for vehicle in paid_ahead]
            slots = station["available_slots"] + len(vehicles)
            book.find(f"{path.name} does not add up: {station}", slots != station["max_slots"])
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            book.find(f"{path.name} is no station's file: {error!r}")
    for user_id, count in standing.items():
        book.find(f"…{ending(user_id)} stands at {count} stations", count > 1)
    for path in (data / "users").iterdir():
        book.find(f"{Path(shown(path)).name} is left among the users", path.suffix != ".json")
    path = data / "payments.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    listed = {json.loads(line)["receipt_id"] for line in lines}
    for receipt in receipts:
        told = f"a slot is held by payment {receipt}, which {path.name} does not list"
        book.find(told, receipt not in listed)


def _audit_users(book: Book, found: Found, now: float) -> None:
    here = {user.user_id: user for user in found.users}
    held = {session.user_id: session for session in found.sessions}
    strangers: Counter[str] = Counter()
    for user_id, user in here.items():
        if account := book.users.get(user_id):
            told = f"{account} is there as {user.user_name!r}"
            book.find(told, user.user_name != account.name)
            continue
        strangers[user.user_name] += 1
        over = now - user.created_timestamp > book.ttl_s + SWEEP_S + SLACK_S
        told = f"{user.user_name} has never paid, and is still there"
        book.find(told, over and user_id not in held)
    for name, count in strangers.items():
        book.find(f"a user nobody knows of: {name!r}", name not in book.lost_logins)
        book.find(f"one LOGIN made {count} users: {name!r}", count > 1 and name in book.lost_logins)
    for user_id in held:
        told = f"a slot is held by …{ending(user_id)}, who"
        book.find(f"{told} cannot have paid", user_id not in book.users)
        book.find(f"{told} is not there", user_id not in here)
    for user_id, account in book.users.items():
        if account.visits:
            told = f"{account} has left, and is there: {held.get(user_id)}"
            book.find(told, account.stage == "left" and user_id in here)
            continue
        session = held.get(user_id)
        place = str(session.station_id) if session else "waiting" if user_id in here else "gone"
        places = account.places(session, now, book.ttl_s)
        told = f"{account} should be {places}, and is {place}: {session}"
        book.find(told, place not in places)


def audit_payments(book: Book, found: Found) -> None:
    """Hold the list of payments against what drivers were told that they paid."""
    for receipt, count in Counter(payment.receipt_id for payment in found.payments).items():
        book.find(f"payment {receipt} is listed {count} times", count > 1)
    listed = {payment.receipt_id: payment for payment in found.payments}
    settled = Counter(payment.refund_of for payment in found.payments if payment.refund_of)
    for receipt, count in settled.items():
        told_of = f"payment {receipt} was settled {count} times, and is {listed.get(receipt)}"
        book.find(told_of, count > 1 or receipt not in listed)
    told: dict[str, str] = {}
    visitors: set[str] = set()
    possible: Counter[tuple[str, str]] = Counter()
    for user_id, account in book.users.items():
        end = ending(user_id)
        if account.visits:
            visitors.add(end)
            continue
        if not account.receipt:
            possible[account.tried, end] += bool(account.tried)
            continue
        other = told.get(account.receipt)
        book.find(f"{account} has the receipt of …{other}", other)
        told[account.receipt] = end
        if (payment := listed.get(account.receipt)) is None:
            book.find(f"{account} has paid, and the payment is not listed")
            continue
        said = (float(payment.amount), str(payment.station_id), payment.user_end)
        right = (account.amount, account.station, end)
        book.find(f"{account} has paid, and {payment} is listed", said != right)
    for session in found.sessions:
        unlisted = session.paid_timestamp is not None and session.receipt_id not in listed
        book.find(f"a slot is held by {session}, whose payment is not listed", unlisted)
    for receipt, payment in listed.items():
        if receipt in told or payment.refund_of or payment.user_end in visitors:
            continue
        # Of a user whose payment was not answered there may be one, at that station.
        key = (str(payment.station_id), payment.user_end)
        book.find(f"nobody was told of {payment}, or can have made it", possible[key] <= 0)
        possible[key] -= 1


def check_shown(
    book: Book, shown: Mapping[str, Mapping[str, Any]], asked: float, found: Found
) -> None:
    """
    Hold the stations of a last START against the storage.

    :param shown: its `station_models`; nobody has asked for anything since.
    :param asked: when, seconds since the epoch.
    """
    taken = Counter(str(session.station_id) for session in found.sessions)
    # The sweep may have freed a slot between the two.
    ending: Counter[str] = Counter()
    for account in book.users.values():
        may_have_paid = account.tried and asked - account.since < book.ttl_s + LONGEST_CHARGE_S
        charges = account.ends > asked - SLACK_S if account.receipt else may_have_paid
        if (charges or account.visits) and account.stage != "left":
            ending[account.station or account.tried] += 1
    for record in found.contents.stations:
        key = record.station.key
        free, seen = record.station.max_slots - taken[key], shown[key]["available_slots"]
        told = f"START shows station {key} as {shown[key]}; {free} slots are free"
        # Whose turn it is there may have been offered one in between.
        line = shown[key].get("queue_length", 0)
        book.find(told, not free - ending[key] <= seen <= free + line)


@attrs.frozen
class Sample:
    """The server at one moment."""

    kib: int
    """Its memory, KiB."""
    users: int
    """About how many it had."""
    journeys: int = 0
    """That drivers had ended."""
    lost_logins: int = 0
    """LOGINs that were not answered: each may have made a user, who stays."""


def memory(book: Book, samples: Sequence[Sample], early: bool) -> str:
    """
    Compare the server's memory after a warm-up, a third of the time, with that at the end.

    :param samples: one a second, without a kill in between.
    :param early: hold what it has grown by against the journeys that have ended meanwhile, too.
    :return: what to print; growth over :data:`MOST_GROWTH_KIB`, and more than
        :data:`MOST_REMAINS_BYTES` of each journey, is in the book's findings.
    """
    settled = samples[len(samples) // 3 :]
    if len(settled) < 6:
        return "memory, and what remains of a journey: the run was too short to say"
    part = max(2, len(settled) // 5)

    def middle(figure: str, some: Sequence[Sample]) -> float:
        return statistics.median(getattr(sample, figure) for sample in some)

    first, last = (
        {name: middle(name, some) for name in attrs.fields_dict(Sample)}
        for some in (settled[:part], settled[-part:])
    )
    grown = {name: last[name] - first[name] for name in first}
    book.find(
        f"memory has grown from {first['kib']:.0f} to {last['kib']:.0f} KiB in {len(settled)} s, "
        f"with {first['users']:.0f} and {last['users']:.0f} users",
        grown["kib"] > MOST_GROWTH_KIB,
    )
    told = (
        f"memory in {len(settled)} s without kills: {first['kib'] / 1024:.1f} MiB at first with "
        f"about {first['users']:.0f} users, {last['kib'] / 1024:.1f} at last with "
        f"{last['users']:.0f}, {max(sample.kib for sample in settled) / 1024:.1f} at most"
    )
    if not early:
        return told
    more_kib = grown["kib"] - USER_KIB * grown["lost_logins"]
    each = more_kib * 1024 / max(1.0, grown["journeys"])
    remains = (
        f"of each of {grown['journeys']:.0f} journeys that ended {max(0.0, each):.0f} bytes of "
        "memory remain"
    )
    book.find(remains, more_kib > NOISE_KIB and each > MOST_REMAINS_BYTES)
    return f"{told}\n{remains}"
