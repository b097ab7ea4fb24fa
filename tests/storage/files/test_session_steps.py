"""Each step of what becomes of sessions and lines fails, or is the last, in a data directory."""

import errno
import json
import shutil
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import ElectricCar
from evcharge.models.evse import Evse
from evcharge.models.network import StationRecord
from evcharge.models.session import OFFERED
from evcharge.models.station import Station
from evcharge.models.user import User
from evcharge.outcomes import Refusal
from evcharge.rules.claims import ARRIVE, PAY, RESERVE, Claim, Wishes
from evcharge.rules.events import Event, PlaceLeft, PlaceTaken
from evcharge.rules.journey import AddUser
from evcharge.rules.leaving import CANCEL_IT, END_JOURNEY, STOP_AND_LEAVE, STOP_IT, Leave
from evcharge.rules.operation import Operation
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.sweep import Sweep
from evcharge.storage import Storage, StorageUnavailable, carry_out
from evcharge.storage.contents import Contents
from evcharge.storage.files.contents import copied
from evcharge.storage.files.directory import PAYMENTS
from evcharge.storage.files.store import FileStorage
from evcharge.testing import NOON
from evcharge.utils.ids import uuid7
from tests.support.calls import Calls, Killed
from tests.support.drivers_machine import (
    ALIKE,
    CAR_FACTS,
    CARS,
    FAST,
    MIXED,
    TARIFF,
    TERMS,
)
from tests.support.folders import new_folder

EMPTY = Station(
    9,
    "Norte",
    "Rua C",
    -12.27,
    -38.97,
    2,
    price_kwh=Decimal("2.00"),
    own_evses=(Evse("9-1", FAST), Evse("9-2", FAST)),
    tariff_id="tudo",
)
NETWORK = Contents(
    CAR_FACTS,
    [StationRecord(station, True, {}) for station in (MIXED, ALIKE, EMPTY)],
    (),
    (),
    (),
    0,
    tariffs=[TARIFF.body],
)
MINUTE = 60 / TERMS.time_scale
"""A simulated one, seconds."""
NOW = NOON + 4 * MINUTE
"""When something fails."""
LATER = NOW + 400 * MINUTE
"""When everything is due."""


def a_driver(user_id: str, car: str = "both") -> User:
    return User(user_id, "Ana", ElectricCar.charged_to(CARS[car], 20.0), NOON, car)


def claim(
    user_id: str, station: int, intent: str, now: float = NOW, wait: bool = False, **wishes: Any
) -> Claim:
    return Claim(user_id, str(station), uuid7(now), now, TERMS, intent, wait, Wishes(0.0, **wishes))


def leave(user_id: str, how: str, now: float = NOW) -> Leave:
    return Leave(user_id, how, now, TERMS)


def status(uid: str, status: str = "OUTOFORDER") -> SetEvseStatus:
    return SetEvseStatus(uid, status, None, NOW, TERMS)


BEFORE: Sequence[Operation[Any]] = [
    *[AddUser(a_driver(u)) for u in ("free", "paid", "walked", "held", "first", "second")],
    *[AddUser(a_driver(u)) for u in ("offered", "third", "stands", "leaving", "moved")],
    claim("paid", 7, PAY, NOON, evse_uid="7-1"),
    claim("walked", 7, ARRIVE, NOON, evse_uid="7-2", leaves_when_done=False),
    claim("held", 7, RESERVE, NOON, evse_uid="7-3"),
    claim("first", 7, RESERVE, NOON, wait=True),
    claim("second", 7, RESERVE, NOON, wait=True),
    claim("leaving", 8, PAY, NOON, evse_uid="8-1"),
    claim("stands", 8, ARRIVE, NOON, evse_uid="8-2", leaves_when_done=False),
    claim("offered", 8, RESERVE, NOON, wait=True),
    claim("third", 8, RESERVE, NOON, wait=True),
    claim("moved", 9, RESERVE, NOON, evse_uid="9-1"),
    leave("stands", STOP_IT, NOON + 2 * MINUTE),
    leave("leaving", STOP_AND_LEAVE, NOON + 3 * MINUTE),
]
"""Station 7 is full, with two in line, at 8 there is one to whom an EVSE is offered, another in
line, and a car that is charged, and at 9 one EVSE is reserved."""

STEPS: dict[str, Sequence[Operation[Any]]] = {
    "reserve": [claim("free", 9, RESERVE)],
    "join": [claim("free", 7, RESERVE, wait=True)],
    "arrive": [claim("held", 7, ARRIVE)],
    "pay for what is reserved": [claim("held", 7, PAY)],
    "accept": [claim("offered", 8, RESERVE)],
    "accept and pay": [claim("offered", 8, PAY)],
    "decline": [leave("offered", CANCEL_IT)],
    "cancel": [leave("held", CANCEL_IT)],
    "leave the line": [leave("first", CANCEL_IT)],
    "end a journey in line": [leave("first", END_JOURNEY)],
    "end a journey before it begins": [leave("held", END_JOURNEY)],
    "stop, with a refund": [leave("paid", STOP_AND_LEAVE)],
    "stop and stay": [leave("walked", STOP_IT)],
    "stop, to pay": [leave("walked", STOP_AND_LEAVE)],
    "go": [leave("stands", STOP_AND_LEAVE)],
    "offers run out": [Sweep(NOON + 9 * MINUTE, 0.0, TERMS)],
    "nobody came": [Sweep(NOON + 16 * MINUTE, 0.0, TERMS)],
    "charged, and stood too long": [Sweep(LATER, 0.0, TERMS)],
    "out of order, reserved": [status("7-3")],
    "out of order, charging": [status("7-1")],
    "out of order, offered": [status("8-1")],
    "out of order, another free": [status("9-1")],
    "take a place elsewhere": [claim("first", 9, PAY)],
    "wait elsewhere": [claim("first", 8, RESERVE, wait=True)],
}
"""What fails, or is interrupted, one operation each."""

BATCHES: dict[str, Sequence[Operation[Any]]] = {
    "of several": [
        AddUser(a_driver("new")),
        claim("new", 7, RESERVE, wait=True),
        leave("held", CANCEL_IT),
        leave("paid", STOP_AND_LEAVE),
        claim("third", 9, RESERVE),
        status("8-2"),
    ],
    "with a sweep": [
        claim("free", 9, PAY),
        Sweep(NOON + 16 * MINUTE, 0.0, TERMS),
        leave("walked", STOP_AND_LEAVE, NOON + 16 * MINUTE),
        claim("offered", 9, RESERVE, NOON + 16 * MINUTE),
    ],
}
"""The same of several at once."""


@attrs.define
class Seen:
    """How often places in line were taken and left."""

    places: dict[str, int] = attrs.field(factory=dict)

    def hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, (PlaceTaken, PlaceLeft)):
                by = 1 if isinstance(event, PlaceTaken) else -1
                user_id = event.place.user_id
                self.places[user_id] = self.places.get(user_id, 0) + by


class SessionStepsTests(SynchronousTestCase):
    """A data directory with drivers in each state, of which each call to the kernel fails."""

    def setUp(self) -> None:
        folder = new_folder(self)
        self.data, self.template = folder / "data", folder / "template"
        self.template.mkdir()
        for name, content in copied(NETWORK).items():
            (self.template / name).write_bytes(content)
        storage = FileStorage(self.template, terms=TERMS)
        storage.open(NOON)
        for operation in BEFORE:
            answer = carry_out(storage, operation)
            self.assertFalse(isinstance(answer, (Refusal, Exception)), (operation, answer))
        session = storage.records.session("offered")
        assert session is not None
        self.assertEqual(session.state, OFFERED)
        storage.close()
        self.data.mkdir()
        self.calls = Calls(self, self.data)

    def make(self) -> FileStorage:
        shutil.rmtree(self.data)
        shutil.copytree(self.template, self.data)
        return self.open(NOW)

    def open(self, now: float) -> FileStorage:
        storage = FileStorage(self.data, terms=TERMS)
        storage.open(now)
        self.calls.clear()
        return storage

    def ask(self, storage: Storage, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        """Have a batch carried out; None for what nobody has answered."""
        try:
            return storage.execute(operations)
        except Killed:
            return [None] * len(operations)
        except StorageUnavailable as error:
            return [error] * len(operations)

    # What is there

    def summary(self, storage: FileStorage) -> dict[str, Any]:
        """What is there, on the disk and in memory, which are to be the same; see :meth:`hold`."""
        found: dict[str, Any] = {user.user_id: ["FREE"] for user in storage.users()}
        on_disk: dict[str, Any] = {}
        for table in storage.records.slots.values():
            path = self.data / "stations" / f"station_{table.station_id}.json"
            record = json.loads(path.read_bytes())
            # 1.
            self.assertEqual(
                record["available_slots"] + len(record["vehicles"]), record["max_slots"]
            )
            self.assertEqual(record["available_slots"], table.available_slots)
            for user_id, facts in record["vehicles"].items():
                # 2.
                self.assertNotIn(user_id, on_disk)
                on_disk[user_id] = [facts.get("state", "CHARGING"), facts["evse"], facts["amount"]]
            for number, facts in enumerate(record.get("waiting", [])):
                self.assertNotIn(facts["user_id"], on_disk)
                on_disk[facts["user_id"]] = ["WAITING", table.station_id, number]
            self.assertEqual(len(table.held), len(table.sessions))
            for user_id, session in table.sessions.items():
                self.assertEqual(found[user_id], ["FREE"])
                found[user_id] = [session.state, session.evse_uid, float(session.amount)]
            for number, place in enumerate(table.waiting):
                self.assertEqual(found[place.user_id], ["FREE"])
                found[place.user_id] = ["WAITING", place.station_id, number]
            # 3.
            book = storage.records.book(table.station_id)
            assert book is not None
            for evse in book.free():
                for place in table.waiting:
                    self.assertFalse(place.fits(evse.kind), (place, evse))
        users = {path.stem for path in (self.data / "users").glob("*.json")}
        self.assertEqual(found, {**{user_id: ["FREE"] for user_id in users}, **on_disk})
        out = {f"{e.uid} {e.status}" for s in storage.records.states for e in s.station.evses}
        return {**found, "evses": sorted(out), "money": self.money(storage)}

    def money(self, storage: FileStorage) -> dict[str, list[Any]]:
        """Of each session that is over, or paid ahead, what its driver was charged."""
        paid: dict[str, Decimal] = {}
        entries: set[str] = set()
        for line in (self.data / PAYMENTS).read_text().splitlines():
            facts = json.loads(line)
            self.assertNotIn(facts["receipt_id"], entries)
            entries.add(facts["receipt_id"])
            key = facts.get("refund_of") or facts["receipt_id"]
            paid[key] = paid.get(key, Decimal(0)) + Decimal(str(facts["amount_brl"]))
        found: dict[str, list[Any]] = {}
        live = storage.records.receipts
        for path in sorted((self.data / "receipts").iterdir()):
            for line in path.read_text().splitlines():
                facts = json.loads(line)
                receipt_id = facts["receipt_id"]
                # 7: one receipt of a session that is over, by which its payments are.
                self.assertNotIn(receipt_id, live)
                total = Decimal(str(facts["total"]))
                self.assertEqual(paid.pop(receipt_id, Decimal(0)), total, facts)
                found.setdefault(facts["driver_id"], []).append(
                    [facts["state"], facts["end_reason"], facts["energy_kwh"], str(total)]
                )
        for table in storage.records.slots.values():
            for session in table.sessions.values():
                self.assertEqual(paid.pop(session.receipt_id, Decimal(0)), session.paid)
        self.assertEqual(paid, {})
        return found

    def finish(self, storage: FileStorage, operations: Sequence[Operation[Any]]) -> dict[str, Any]:
        """What is there once a sweep has come, and once all has been asked for again."""
        now = max(getattr(operation, "now", NOW) for operation in operations)
        sweep = Sweep(now, 0.0, TERMS)
        self.assertNotIsInstance(carry_out(storage, sweep), Exception)
        swept = self.summary(storage)
        for operation in operations:
            answer = carry_out(storage, operation)
            self.assertNotIsInstance(answer, Exception)
        self.summary(storage)
        return swept

    def opened_again(self, storage: FileStorage, now: float = NOW) -> FileStorage:
        """The same directory, after its server was killed."""
        self.calls.clear()
        storage._directory.release()
        return self.open(now)

    def hold(self, name: str, operations: Sequence[Operation[Any]], offset: int) -> None:
        """Fail each step, in one way or another, and hold what comes of it against the rules."""
        storage = self.make()
        untouched = self.summary(storage)
        self.calls.clear()
        answers = self.ask(storage, operations)
        steps = [str(call) for call in self.calls.made]
        self.assertNotEqual(steps, [], name)
        for answer in answers:
            self.assertFalse(isinstance(answer, (Refusal, Exception)), (name, answer))
        done = self.summary(storage)
        storage._directory.release()
        ways = ("before", "after", "half", "on")
        for number in range(len(steps)):
            for how in ("killed", ways[(number + offset) % 4]):
                error = (errno.ENOSPC, errno.EIO)[number % 2]
                try:
                    self.fail_once(operations, number, how, error, untouched, done)
                except BaseException as problem:
                    what = f"{name}, {steps[number]} ({number}) fails {how}"
                    raise AssertionError(what) from problem

    def fail_once(
        self,
        operations: Sequence[Operation[Any]],
        number: int,
        how: str,
        error: int,
        untouched: dict[str, Any],
        done: dict[str, Any],
    ) -> None:
        storage = self.make()
        seen = Seen({user_id: 1 for user_id in storage.records.lines})
        storage.listeners.append(seen.hear)
        self.calls.fail(number, how, error)
        answers = self.ask(storage, operations)
        self.calls.clear()
        if how == "killed":
            storage = self.opened_again(storage, max(getattr(o, "now", NOW) for o in operations))
            self.summary(storage)
        swept = self.finish(storage, operations)
        now = self.summary(storage)
        if how == "killed" and isinstance(operations[0], Sweep):
            # Who was not heard has two minutes more, so that other things come about.
            self.assertLessEqual(done["money"].keys(), {*now["money"], *now})
        elif len(operations) == 1:
            self.assertEqual(now, done)
            (operation,), (answer,) = operations, answers
            if isinstance(operation, Sweep) or (answer and not isinstance(answer, Exception)):
                self.assertEqual(swept, done)
            elif isinstance(operation, Leave) and operation.how == END_JOURNEY:
                # Who goes last may be there yet, with nothing.
                halfway = {**done, operation.user_id: ["FREE"]}
                self.assertIn(swept, (untouched, halfway, done))
            else:
                self.assertIn(swept, (untouched, done))
        if how != "killed":
            # 5: a place ends once.
            lines = storage.records.lines
            self.assertEqual({u: n for u, n in seen.places.items() if n}, dict.fromkeys(lines, 1))
        storage = self.opened_again(storage)
        self.assertEqual(self.summary(storage), now)
        self.assertEqual([str(path) for path in self.data.rglob("*.tmp")], [])
        storage._directory.release()

    def test_each(self) -> None:
        """What fails is done by halves nowhere, and is whole once it is asked for again."""
        for offset, (name, operations) in enumerate(STEPS.items()):
            self.hold(name, operations, offset)

    def test_batches(self) -> None:
        """Nor is it where several are carried out at once."""
        for offset, (name, operations) in enumerate(BATCHES.items()):
            self.hold(name, operations, offset)
