"""
What the drivers of a soak were told, and whether the storage agrees.

:class:`Book` is what all of them note down; :func:`audit` holds the storage of a server that has
ended against it. Where a driver was told nothing, either is right, and no more than that.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from evcharge.models.station import ChargingSession
from evcharge.models.user import User
from evcharge.storage import StorageError
from evcharge.storage.contents import Contents, Payment
from evcharge.storage.location import parse
from evcharge.storage.private import shown
from evcharge.utils.ids import ending

SWEEP_S = 1.0
"""Between two sweeps of the server, seconds."""

SLACK_S = 5.0
"""How near to its end a user or a session may be found either way, seconds."""

MOST_GROWTH_KIB = 10 * 1024
"""How much the server's memory may grow while nothing kills it, KiB."""

MOST_REMAINS_BYTES, NOISE_KIB = 64, 1024
"""What may remain in memory of a journey that has ended, and what memory varies by anyway, KiB."""

USER_KIB = 2
"""About what a user takes in memory, KiB."""

LONGEST_CHARGE_S = 150.0
"""About what any car takes at any station, at a soak's pace, seconds."""

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

    def may_be_gone(self, now: float, ttl_s: float) -> bool:
        """Whether the sweep may have removed the user, if nothing else did."""
        if self.stage == "charging":
            return now > self.ends - SLACK_S
        return bool(self.tried) or now - self.asked > ttl_s - SLACK_S


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
    findings: list[str] = attrs.field(factory=list)
    untold_findings: int = 0

    def find(self, what: str) -> None:
        """Note something that should not be."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(what)
        else:
            self.untold_findings += 1

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
    storage = parse(url, str(data)).storage()
    with storage.read_contents(time.time()) as contents:
        return Found(
            contents, list(contents.users), list(contents.sessions), list(contents.payments)
        )


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
    _audit_slots(book, found)
    if url == "files":
        _audit_files(book, data)
    _audit_users(book, found, now)
    _audit_payments(book, found)
    return (
        f"audited: {len(found.contents.stations)} stations, {len(found.users)} users, "
        f"{len(found.sessions)} sessions, {len(found.payments)} payments against "
        f"{len(book.users)} users and {sum(1 for a in book.users.values() if a.receipt)} receipts"
    )


def _audit_slots(book: Book, found: Found) -> None:
    # That one user stands at two stations no table can say; files are looked at below.
    taken = Counter(session.station_id for session in found.sessions)
    for record in found.contents.stations:
        station = record.station
        if taken[station.station_id] > station.max_slots:
            book.find(
                f"{taken[station.station_id]} stand at the {station.max_slots} slots of station "
                f"{station.station_id}"
            )


def _audit_files(book: Book, data: Path) -> None:
    """The files themselves: what reads them puts some things right that should be so already."""
    standing: Counter[str] = Counter()
    receipts: list[str] = []
    for path in sorted((data / "stations").glob("*.json")):
        try:
            station = json.loads(path.read_text())
            vehicles = station["vehicles"]
            held = [vehicle["receipt_id"] for vehicle in vehicles.values()]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            book.find(f"{path.name} is no station's file: {error!r}")
            continue
        if station["available_slots"] + len(vehicles) != station["max_slots"]:
            book.find(f"{path.name} does not add up: {station}")
        standing.update(vehicles.keys())
        receipts += held
    for user_id, count in standing.items():
        if count > 1:
            book.find(f"…{ending(user_id)} stands at {count} stations")
    for path in (data / "users").iterdir():
        if path.suffix != ".json":
            book.find(f"{Path(shown(path)).name} is left among the users")
    path = data / "payments.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    listed = {json.loads(line)["receipt_id"] for line in lines}
    for receipt in receipts:
        if receipt not in listed:
            book.find(f"a slot is held by payment {receipt}, which {path.name} does not list")


def _audit_users(book: Book, found: Found, now: float) -> None:
    here = {user.user_id: user for user in found.users}
    held = {session.user_id: session for session in found.sessions}
    strangers: Counter[str] = Counter()
    for user_id, user in here.items():
        account = book.users.get(user_id)
        if account is None:
            strangers[user.user_name] += 1
            if (
                user_id not in held
                and now - user.created_timestamp > book.ttl_s + SWEEP_S + SLACK_S
            ):
                book.find(f"{user.user_name} has never paid, and is still there")
        elif user.user_name != account.name:
            book.find(f"{account} is there as {user.user_name!r}")
    for name, count in strangers.items():
        if name not in book.lost_logins:
            book.find(f"a user nobody knows of: {name!r}")
        elif count > 1:
            book.find(f"one LOGIN made {count} users: {name!r}")
    for user_id in held:
        if user_id not in book.users:
            book.find(f"a slot is held by …{ending(user_id)}, who cannot have paid")
        if user_id not in here:
            book.find(f"a slot is held by …{ending(user_id)}, who is not there")
    for user_id, account in book.users.items():
        _audit_account(book, account, user_id in here, held.get(user_id), now)


def _audit_account(
    book: Book, account: Account, is_here: bool, session: ChargingSession | None, now: float
) -> None:
    if account.stage == "left":
        if is_here or session is not None:
            book.find(f"{account} has left, and is there")
    elif account.stage == "charging":
        if now < account.ends - SLACK_S:
            if session is None or session.receipt_id != account.receipt or not is_here:
                book.find(f"{account} is charging, and holds {session}")
            elif str(session.station_id) != account.station:
                book.find(f"{account} is charging at station {session.station_id}")
        elif now > account.ends + SWEEP_S + SLACK_S and (session is not None or is_here):
            book.find(f"{account} has charged, and is there")
    else:
        if session is not None:
            told = account.receipt or session.receipt_id
            if session.receipt_id != told or str(session.station_id) not in (
                account.tried,
                account.station,
            ):
                book.find(f"{account} has not paid, and holds {session}")
            elif now > session.estimated_timestamp + SWEEP_S + SLACK_S:
                book.find(f"{account} has charged, and holds {session}")
        elif now - account.since > book.ttl_s + SWEEP_S + SLACK_S and is_here:
            book.find(f"{account} has never paid, and is still there")
        if account.stage == "waiting" and not is_here and not account.may_be_gone(now, book.ttl_s):
            book.find(f"{account} has logged in, and is not there")


def _audit_payments(book: Book, found: Found) -> None:
    for receipt, count in Counter(payment.receipt_id for payment in found.payments).items():
        if count > 1:
            book.find(f"payment {receipt} is listed {count} times")
    listed = {payment.receipt_id: payment for payment in found.payments}
    told: dict[str, str] = {}
    possible: Counter[tuple[str, str]] = Counter()
    for user_id, account in book.users.items():
        if not account.receipt:
            possible[account.tried, ending(user_id)] += bool(account.tried)
            continue
        if account.receipt in told:
            book.find(f"{account} has the receipt of …{ending(told[account.receipt])}")
        told[account.receipt] = user_id
        payment = listed.get(account.receipt)
        if payment is None:
            book.find(f"{account} has paid, and the payment is not listed")
        elif (float(payment.amount), str(payment.station_id), payment.user_end) != (
            account.amount,
            account.station,
            ending(user_id),
        ):
            book.find(f"{account} has paid, and {payment} is listed")
    for session in found.sessions:
        if session.receipt_id not in listed:
            book.find(f"a slot is held by {session}, whose payment is not listed")
    for receipt, payment in listed.items():
        if receipt not in told:
            # Of a user whose payment was not answered there may be one, at that station.
            key = (str(payment.station_id), payment.user_end)
            if possible[key] <= 0:
                book.find(f"nobody was told of {payment}, or can have made it")
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
        if charges and account.stage != "left":
            ending[account.station or account.tried] += 1
    for record in found.contents.stations:
        key = record.station.key
        free = record.station.max_slots - taken[key]
        if not free - ending[key] <= shown[key]["available_slots"] <= free:
            book.find(f"START shows station {key} as {shown[key]}; {free} slots are free")


def memory(book: Book, samples: Sequence[tuple[int, int]]) -> str:
    """
    Compare the server's memory after a warm-up, a third of the time, with that at the end.

    :param samples: one a second, without a kill in between: memory, KiB, and users.
    :return: what to print; growth over :data:`MOST_GROWTH_KIB` is in the book's findings.
    """
    settled = samples[len(samples) // 3 :]
    if len(settled) < 6:
        return "memory: the run was too short to say"
    part = max(2, len(settled) // 5)
    first, last = _median(settled[:part]), _median(settled[-part:])
    if last[0] - first[0] > MOST_GROWTH_KIB:
        book.find(
            f"memory has grown from {first[0]:.0f} to {last[0]:.0f} KiB in {len(settled)} s, with "
            f"{first[1]:.0f} and {last[1]:.0f} users"
        )
    return (
        f"memory in {len(settled)} s without kills: {first[0] / 1024:.1f} MiB at first with about "
        f"{first[1]:.0f} users, {last[0] / 1024:.1f} at last with {last[1]:.0f}, "
        f"{max(kib for kib, _ in settled) / 1024:.1f} at most"
    )


@attrs.frozen
class Ended:
    """What had ended at one moment."""

    kib: int
    """The server's memory then, KiB."""
    journeys: int
    """That drivers had ended."""
    lost_logins: int
    """LOGINs that were not answered: each may have made a user, who stays."""


def remains(book: Book, samples: Sequence[Ended]) -> str:
    """
    Hold what the server's memory has grown by against the journeys that have ended meanwhile.

    :param samples: one a second, as for :func:`memory`; in its warm-up nothing is looked at.
    :return: what to print; more than :data:`MOST_REMAINS_BYTES` of each is in the book's findings.
    """
    settled = samples[len(samples) // 3 :]
    if len(settled) < 6:
        return "what remains of a journey: the run was too short to say"
    part = max(2, len(settled) // 5)

    def grown(figure: str) -> float:
        first, last = (
            statistics.median(getattr(sample, figure) for sample in samples)
            for samples in (settled[:part], settled[-part:])
        )
        return last - first

    journeys = grown("journeys")
    more = 1024 * (grown("kib") - USER_KIB * grown("lost_logins"))
    each = more / max(1.0, journeys)
    told = (
        f"of each of {journeys:.0f} journeys that ended {max(0.0, each):.0f} bytes of memory remain"
    )
    if more > NOISE_KIB * 1024 and each > MOST_REMAINS_BYTES:
        book.find(told)
    return told


def _median(samples: Iterable[tuple[int, int]]) -> tuple[float, float]:
    kib, users = zip(*samples, strict=True)
    return statistics.median(kib), statistics.median(users)
