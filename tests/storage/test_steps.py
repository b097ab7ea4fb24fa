"""Every step of every operation fails once, or is the last: what was answered is there."""

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import psycopg
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets import parse_stations
from evcharge.datasets.files import CARS, EVSES, STATIONS, TARIFFS
from evcharge.models.evse import Evse
from evcharge.models.session import ChargingSession
from evcharge.outcomes import Refusal
from evcharge.rules.claims import Claim
from evcharge.rules.journey import UNKNOWN_USER, AddUser, held_at
from evcharge.rules.leaving import Leave
from evcharge.rules.operation import Operation
from evcharge.rules.sweep import Sweep
from evcharge.storage import Storage, StorageError, StorageUnavailable
from evcharge.storage.files import network
from evcharge.storage.files.directory import PAYMENTS
from evcharge.storage.files.store import FileStorage
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.location import parse
from evcharge.storage.sql.databases import Sqlite
from evcharge.storage.sql.store import SqlStorage
from evcharge.testing import NOON
from tests.support import engines, postgres
from tests.support.calls import Calls, Killed
from tests.support.folders import NETWORK, ONE_CAR, new_folder
from tests.support.operations import (
    a_session,
    a_user,
    add_user,
    available,
    end_journey,
    leave,
    stations,
    sweep,
    take,
    take_slot,
)

engines.share()


@attrs.frozen
class State:
    """A user as a storage has it."""

    there: bool
    station: int | None = None
    receipt: str | None = None


GONE, IDLE = State(False), State(True)


@attrs.define
class Told:
    """What may be, after what was answered: of each user, the states that are possible."""

    states: dict[str, set[State]] = attrs.field(factory=dict)
    receipts: set[str] = attrs.field(factory=set)
    """Of payments that were answered."""

    def hear(self, operation: Operation[Any], answer: Any) -> str | None:
        """Take in an answer, None for none at all; says what is wrong with it."""
        if isinstance(operation, Sweep):
            return self._swept(operation, answer)
        user_id = operation.user.user_id if isinstance(operation, AddUser) else operation.user_id
        before = self.states.get(user_id, {GONE})
        unknown = isinstance(answer, (StorageUnavailable, TryAgain, Killed))
        after = set(before) if unknown else set()
        for state in before:
            for end in _ends(operation, state):
                if unknown or _fits(operation, state, end, answer):
                    after.add(end)
        self.states[user_id] = after
        if isinstance(answer, ChargingSession):
            self.receipts.add(answer.receipt_id)
        return None if after else f"{before} was answered by {answer!r}"

    def _swept(self, sweep: Sweep, answer: Any) -> str | None:
        failed = isinstance(answer, Exception | Killed)
        for user_id, states in self.states.items():
            after = set()
            for state in states:
                if state.station is not None:
                    over = sweep.now >= NOON + 60
                else:
                    over = state.there and sweep.logged_in_before > NOON
                if not over or failed:
                    after.add(state)
                if over:
                    after.add(GONE)
                    if state.station is not None and failed:
                        after.add(attrs.evolve(state, there=False))
            self.states[user_id] = after
        return None


def _ends(operation: Operation[Any], state: State) -> list[State]:
    """What an operation may make of a state; last, what it does as a whole."""
    if isinstance(operation, AddUser):
        return [attrs.evolve(state, there=True)]
    if not state.there:
        return [state]
    if isinstance(operation, Leave):
        return [state, IDLE, GONE]
    assert isinstance(operation, Claim)
    if state.station is not None:
        return [state]
    session = operation.plan(None, None, Evse("7-1"), None, {})  # type: ignore[arg-type]
    return [State(True, session.station_id, session.receipt_id)]


def _fits(operation: Operation[Any], state: State, end: State, answer: Any) -> bool:
    """Whether `answer` is right when `operation` makes `end` of `state`."""
    if answer == UNKNOWN_USER:
        return not state.there and not isinstance(operation, AddUser)
    if isinstance(operation, AddUser):
        return answer is None
    if not state.there:
        return False
    if isinstance(operation, Leave):
        return answer is None and end == GONE
    assert isinstance(operation, Claim)
    if isinstance(answer, Refusal):
        return answer == held_at(end.station or 0) and str(end.station) != operation.station_id
    return (
        isinstance(answer, ChargingSession)
        and (answer.station_id, answer.receipt_id) == (end.station, end.receipt)
        and str(end.station) == operation.station_id
    )


def pay(user_id: str, station: int) -> Claim:
    """A payment, with a receipt that no other one has."""
    session = a_session(user_id, station)
    return take(attrs.evolve(session, receipt_id=f"{session.receipt_id}-{next(_receipts)}"))


_receipts = itertools.count()


FIRST: dict[str, Sequence[Operation[Any]]] = {
    "login": [AddUser(a_user("new"))],
    "logins": [AddUser(a_user("new")), AddUser(a_user("newer"))],
    "pay": [pay("idle", 7)],
    "leave": [leave("here")],
    "leave unpaid": [leave("idle")],
    "end": [Sweep(NOON + 60, 0)],
    "expire": [Sweep(NOON, NOON + 1)],
    "batch": [AddUser(a_user("new")), pay("idle", 7), leave("here")],
    "pay and leave": [pay("idle", 7), leave("idle"), pay("other", 7)],
    "end among others": [
        AddUser(a_user("new")),
        Sweep(NOON + 60, 0),
        pay("idle", 7),
        pay("other", 8),
    ],
}
"""What fails, or is interrupted."""

THEN: dict[str, Sequence[Operation[Any]]] = {
    "nothing": [],
    "again": [pay("idle", 7), pay("here", 7)],
    "elsewhere": [pay("idle", 8), pay("here", 8)],
    "leave": [leave("idle"), leave("here")],
    "others": [pay("other", 7), AddUser(a_user("new"))],
    "sweep": [Sweep(NOON + 60, NOON + 1)],
}
"""What is asked next."""
SOME = {name: THEN[name] for name in ("again", "leave")}


def differing(hows: Sequence[str], kind: str) -> list[str]:
    """The ways in which a step of a kind may fail; what cannot be halved fails before it."""
    return [how for how in hows if how != "half" or kind == "write"]


class StepsContract:
    """What holds for each storage; a subclass makes the trouble."""

    HOWS: Sequence[str] = ("before",)
    """In which ways a step may fail that fails once."""
    THEN: Mapping[str, Sequence[Operation[Any]]] = THEN
    """What is asked next."""

    def make(self) -> Storage:
        """A storage with the network above and nobody in it, which is open."""
        raise NotImplementedError

    def kill(self, storage: Storage) -> None:
        """End it as if its process were killed."""
        raise NotImplementedError

    def again(self) -> Storage:
        """Open anew the storage that was killed."""
        raise NotImplementedError

    def look(self, storage: Storage) -> None:
        """Look at what only this kind of storage has."""

    def listed(self, storage: Storage) -> list[str]:
        """The receipts in the list of payments."""
        raise NotImplementedError

    def filled(self) -> tuple[Storage, Told]:
        """A storage with some users."""
        storage = self.make()
        storage.execute([AddUser(a_user(u)) for u in ("idle", "here", "other")])
        take_slot(storage, a_session("here", 7))
        told = Told({"idle": {IDLE}, "other": {IDLE}, "here": {State(True, 7, "r-here-7")}})
        told.receipts.add("r-here-7")
        return storage, told

    def ask(self, storage: Storage, told: Told, operations: Sequence[Operation[Any]]) -> None:
        """Have a batch carried out, and take in its answers."""
        answers: Sequence[Any]
        try:
            answers = storage.execute(operations) if operations else []
        except (StorageUnavailable, TryAgain, Killed) as error:
            answers = [error] * len(operations)
        for operation, answer in zip(operations, answers, strict=True):
            self.assertIsNone(told.hear(operation, answer), (operation, told))

    def hold(self, storage: Storage, told: Told, what: object) -> None:
        """Hold a storage that was opened again against what was answered."""
        self.look(storage)
        there = {user.user_id for user in storage.users()}
        standing = self.standing(storage)
        for user_id in {*told.states, *there, *standing}:
            station, receipt = standing.get(user_id, (None, None))
            state = State(user_id in there, station, receipt)
            self.assertIn(state, told.states.get(user_id, {GONE}), (what, user_id))
        listed = self.listed(storage)
        self.assertEqual(len(listed), len(set(listed)), what)
        self.assertLessEqual(told.receipts, set(listed), what)
        self.assertLessEqual({receipt for _, receipt in standing.values()}, set(listed), what)
        for state in stations(storage):
            there_now = sum(1 for at, _ in standing.values() if at == state.station.station_id)
            self.assertEqual(state.available_slots, 3 - there_now, what)

    def standing(self, storage: Storage) -> dict[str, tuple[int, str]]:
        """Who stands where, with which receipt."""
        raise NotImplementedError

    def trouble(self, storage: Storage, number: int, how: str) -> None:
        """Have the step fail that has a number, counted from now on: see `Calls.fail`."""
        raise NotImplementedError

    def no_trouble(self) -> list[str]:
        """Have nothing fail any more; of which kind each step was."""
        raise NotImplementedError

    def break_each(
        self,
        hows: Sequence[str],
        lasting: bool,
        then: Mapping[str, Sequence[Operation[Any]]] | None = None,
    ) -> None:
        """Fail each step of each operation, ask for more, kill it, and look what is there."""
        for first, operations in FIRST.items():
            for number, kind in enumerate(self.steps(operations)):
                ways = differing(hows, kind)
                for how, (name, more) in itertools.product(ways, (then or self.THEN).items()):
                    storage, told = self.filled()
                    self.trouble(storage, number, how)
                    self.ask(storage, told, operations)
                    if not lasting:
                        self.no_trouble()
                    self.ask(storage, told, more)
                    self.kill(storage)
                    what = f"{first}, step {number} fails {how}, then {name}"
                    self.hold(self.again(), told, what)

    def steps(self, operations: Sequence[Operation[Any]]) -> list[str]:
        """Of which kinds the steps of a batch are where nothing fails."""
        storage, told = self.filled()
        self.trouble(storage, -1, "before")
        self.ask(storage, told, operations)
        kinds = self.no_trouble()
        self.kill(storage)
        self.hold(self.again(), told, "nothing failed")
        return kinds

    def test_passing(self) -> None:
        """A step that fails once, whether it was carried out or not, parts memory from nothing."""
        self.break_each(self.HOWS, lasting=False)

    def test_lasting(self) -> None:
        """Nor do steps that fail from then on."""
        self.break_each(["on"], lasting=True)

    def test_killed(self) -> None:
        """A process that is killed before any step has done a thing or not, nothing by halves."""
        # The dead are asked nothing.
        self.break_each(["killed"], lasting=True, then={"nothing": []})


class FileStepsTests(StepsContract, SynchronousTestCase):
    """A data directory, of which each call to the kernel fails."""

    HOWS = ("before", "after", "half")

    def setUp(self) -> None:
        folder = new_folder(self)
        self.data, self.template = folder / "data", folder / "template"
        self.data.mkdir()
        self.template.mkdir()
        (self.template / CARS).write_bytes(ONE_CAR)
        (self.template / STATIONS).write_bytes(NETWORK)
        self.calls = Calls(self, self.data)

    def make(self) -> FileStorage:
        shutil.rmtree(self.data)
        shutil.copytree(self.template, self.data)
        return self.again()

    def again(self) -> FileStorage:
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage._directory.release)
        return storage

    def kill(self, storage: FileStorage) -> None:
        self.no_trouble()
        storage._directory.release()
        # No crash leaves a user at two stations, or a file that is not whole.
        users: list[str] = []
        for path in (self.data / "stations").glob("*.json"):
            users += json.loads(path.read_bytes())["vehicles"]
        self.assertEqual(len(users), len(set(users)), users)

    def look(self, storage: FileStorage) -> None:
        for path in (self.data / "stations").glob("*.json"):
            record = json.loads(path.read_bytes())
            count = record["available_slots"] + len(record["vehicles"])
            self.assertEqual(count, record["max_slots"])
        self.assertEqual([str(p) for p in self.data.glob("*/*.tmp")], [])

    def listed(self, storage: FileStorage) -> list[str]:
        lines = (self.data / PAYMENTS).read_text().splitlines()
        return [json.loads(line)["receipt_id"] for line in lines]

    def standing(self, storage: FileStorage) -> dict[str, tuple[int, str]]:
        return {
            user_id: (session.station_id, session.receipt_id)
            for table in storage.records.slots.values()
            for user_id, session in table.sessions.items()
        }

    def trouble(self, storage: Storage, number: int, how: str) -> None:
        self.calls.fail(number, how)

    def no_trouble(self) -> list[str]:
        kinds = [call.kind for call in self.calls.made]
        self.calls.clear()
        return kinds


RECEIPT = [f"{kind} receipts/2025-04-07.jsonl" for kind in ("open", "write", "fsync")]
"""What is done for a receipt; and for the first one."""
FIRST_RECEIPT = ["mkdir receipts", "open .", "fsync .", "open receipts", *RECEIPT, "fsync receipts"]


class OrderTests(SynchronousTestCase):
    """The order in which a data directory is written, which only a power failure would tell."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp())
        self.data.mkdir()
        self.calls = Calls(self, self.data)

    def open(self) -> FileStorage:
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def made(self) -> list[str]:
        """The calls since the last time; what was renamed was flushed at its full length."""
        flushed: dict[str, int | None] = {}
        for call in self.calls.made:
            if call.kind == "fsync":
                flushed[call.path] = call.size
            elif call.kind == "rename" and f"{call.path}.tmp" in flushed:
                self.assertEqual(flushed.pop(f"{call.path}.tmp"), call.size, call)
        made = [str(call) for call in self.calls.made]
        self.calls.clear()
        return made

    def replaced(self, *paths: str) -> list[str]:
        """How files are replaced: all are written beside, then flushed, then renamed."""
        written = [f"{kind} {path}.tmp" for path in paths for kind in ("open", "write")]
        flushed = [f"fsync {path}.tmp" for path in paths]
        return [*written, *flushed, *(f"rename {path}" for path in paths)]

    def test_operations(self) -> None:
        """Each operation flushes what it wrote, and its folder behind it, in the order it needs."""
        storage = self.open()
        self.calls.clear()
        one, two = "users/u1.json", "users/u2.json"
        station = [*self.replaced("stations/station_7.json"), "fsync stations"]
        storage.execute([AddUser(a_user("u1")), AddUser(a_user("u2"))])
        self.assertEqual(self.made(), [*self.replaced(one, two), "fsync users"], "two logins")
        appended = [f"{kind} {PAYMENTS}" for kind in ("open", "write", "fsync")]
        take_slot(storage, a_session("u1"))
        self.assertEqual(self.made(), [*station, *appended, "fsync ."], "the first payment")
        take_slot(storage, a_session("u2", end=NOON + 90))
        self.assertEqual(self.made(), [*station, *appended], "another one")
        end_journey(storage, "u1")
        # A crash in between leaves a session that is over: its receipt is there.
        over = [*FIRST_RECEIPT, f"unlink {one}", "fsync users", *station]
        self.assertEqual(self.made(), over, "a journey ends")
        sweep(storage, NOON + 90, 0)
        # A crash in between leaves a session that is over.
        over = [*RECEIPT, f"unlink {two}", "fsync users", *station]
        self.assertEqual(self.made(), over, "charging ends")
        add_user(storage, a_user("u1"))
        self.calls.clear()
        sweep(storage, NOON, NOON + 1)
        self.assertEqual(self.made(), [f"unlink {one}", "fsync users"], "a user never pays")

    def test_batch(self) -> None:
        """A batch writes each station's file once, and flushes each folder once a phase."""
        storage = self.open()
        storage.execute([AddUser(a_user(f"u{number}")) for number in range(6)])
        storage.execute([take(a_session("u0", 7, NOON + 99)), take(a_session("u1", 8))])
        self.calls.clear()
        operations = [
            take(a_session("u2", 7, NOON + 99)),
            AddUser(a_user("u6")),
            leave("u0"),
            take(a_session("u3", 8, NOON + 99)),
            Sweep(NOON + 60, 0),
            take(a_session("u4", 7, NOON + 99)),
        ]
        results = storage.execute(operations)
        self.assertEqual([r for r in results if isinstance(r, Exception)], [])
        self.assertEqual(
            self.made(),
            [
                *FIRST_RECEIPT,
                *self.replaced("users/u6.json"),
                "unlink users/u0.json",
                "unlink users/u1.json",
                "fsync users",
                *self.replaced("stations/station_7.json", "stations/station_8.json"),
                "fsync stations",
                *(f"{kind} {PAYMENTS}" for kind in ("open", "write", "fsync")),
            ],
        )

    def test_both_in_a_batch(self) -> None:
        """A payment whose session ends in the same batch is listed before it ends."""
        storage = self.open()
        add_user(storage, a_user())
        add_user(storage, a_user("u2"))
        take_slot(storage, a_session("u2", 8))
        self.calls.clear()
        storage.execute([take(a_session()), leave("u1")])
        station = [*self.replaced("stations/station_7.json"), "fsync stations"]
        appended = [f"{kind} {PAYMENTS}" for kind in ("open", "write", "fsync")]
        gone = ["unlink users/u1.json", "fsync users"]
        self.assertEqual(self.made(), [*station, *appended, *FIRST_RECEIPT, *gone, *station])
        self.assertIn("r-u1-7", (self.data / PAYMENTS).read_text())

    def test_settling(self) -> None:
        """What was in doubt is flushed when it is settled."""
        storage = self.open()
        add_user(storage, a_user())
        for end, made in (
            (end_journey, [*self.replaced("users/u1.json"), "fsync users"]),
            (take_slot, [*self.replaced("stations/station_7.json"), "fsync stations"]),
        ):
            self.calls.fail_where(lambda call: str(call) in ("fsync users", "fsync stations"))
            about = a_session() if end is take_slot else "u1"
            self.assertRaises(StorageUnavailable, end, storage, about)
            self.calls.clear()
            sweep(storage, NOON, 0)
            self.assertEqual(self.made(), made)

    def test_opening(self) -> None:
        """What an opening makes, puts right or sets aside is flushed too."""
        shutil.rmtree(self.data)
        self.open().close()
        made = self.made()
        self.assertEqual(made[0], "mkdir .")
        for folder in ("stations", "users"):
            at = made.index(f"mkdir {folder}")
            self.assertEqual(made[at : at + 3], [f"mkdir {folder}", "open .", "fsync ."])
            # What an earlier process has put there may not have been flushed either.
            self.assertIn(f"fsync {folder}", made[: made.index(f"open {CARS}.tmp")])
        for name in (CARS, STATIONS):
            written = [*self.replaced(name), "fsync ."]
            at = made.index(written[0])
            self.assertEqual(made[at : at + len(written)], written)
        self.open().close()
        self.made()
        path = self.data / "stations" / "station_7.json"
        right = path.read_bytes()
        path.write_text(json.dumps({**json.loads(right), "available_slots": 0}))
        (self.data / "users" / "u1.json").write_text("{")
        self.open().close()
        made = self.made()
        self.assertEqual(
            made[made.index("rename users/u1.json.damaged") :][:2],
            ["rename users/u1.json.damaged", "fsync users"],
        )
        written = [*self.replaced("stations/station_7.json"), "fsync stations"]
        at = made.index(written[0])
        self.assertEqual(made[at : at + len(written)], written)
        self.assertEqual(path.read_bytes(), right)
        # What an earlier process has listed may not have been flushed.
        (self.data / PAYMENTS).write_text('{"receipt_id": "r"}\n')
        self.open()
        self.assertIn(f"fsync {PAYMENTS}", self.made())

    def test_short_writes(self) -> None:
        """A file of which the kernel takes a part at a time is written whole."""
        write = os.write
        storage = self.open()
        self.patch(os, "write", lambda to, content: write(to, content[:10]))
        add_user(storage, a_user())
        take_slot(storage, a_session())
        storage._directory.release()
        storage = self.open()
        self.assertEqual(take_slot(storage, a_session(end=NOON + 99)), a_session())
        self.assertEqual((self.data / PAYMENTS).read_text().count("r-u1-7"), 1)

    def test_moved_meanwhile(self) -> None:
        """A folder that is moved before what was written in it is flushed has not kept it."""
        storage = self.open()
        fsync, away = os.fsync, self.data / "away"

        def late(descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("users"):
                (self.data / "users").rename(away)
            fsync(descriptor)

        self.patch(os, "fsync", late)
        self.assertRaises(StorageUnavailable, add_user, storage, a_user())
        self.patch(os, "fsync", fsync)
        self.assertEqual(end_journey(storage, "u1"), UNKNOWN_USER)
        away.rename(self.data / "users")
        sweep(storage, NOON, 0)
        self.assertEqual(list((self.data / "users").iterdir()), [])

    def test_list_is_completed_first(self) -> None:
        """Of a user who stands at two stations both payments are listed before a slot is freed."""
        storage = self.open()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        storage.close()
        one = self.data / "stations" / "station_7.json"
        other = self.data / "stations" / "station_8.json"
        record = json.loads(one.read_text())
        record["vehicles"]["u1"].update(receipt_id="later", paid_timestamp=NOON + 1)
        other.write_text(json.dumps({**record, "id": 8}))
        (self.data / PAYMENTS).unlink()
        self.made()
        self.open()
        made = self.made()
        self.assertLess(
            made.index(f"fsync {PAYMENTS}"), made.index("rename stations/station_7.json")
        )
        self.assertIn("later", (self.data / PAYMENTS).read_text())
        self.assertIn("r-u1-7", (self.data / PAYMENTS).read_text())
        self.assertEqual(list(json.loads(one.read_text())["vehicles"]), [])

    def test_copy(self) -> None:
        """A copy is on the disk whole, each file and folder, before it takes its place."""
        storage = self.open()
        add_user(storage, a_user())
        storage.close()
        copy = self.data / "copy"
        synced: list[bool] = []
        self.patch(os, "sync", lambda: synced.append(True))
        self.calls.clear()
        with FileStorage(self.data).read_contents(NOON) as contents:
            FileStorage(copy).write_contents(contents)
        made = self.made()
        place = made.index("rename copy" if "rename copy" in made else "replace copy")
        self.assertEqual(synced, [True])
        for path in copy.rglob("*"):
            if path.name != ".lock":
                flushed = f"fsync .copy.copying/{path.relative_to(copy)}"
                self.assertIn(flushed, made[:place])
        self.assertIn("fsync .copy.copying", made[:place])
        self.assertIn("fsync .", made[place:])


class OpeningTests(SynchronousTestCase):
    """An opening that fails, or is killed, at each of its steps; and a file that is put right."""

    def setUp(self) -> None:
        folder = new_folder(self)
        self.data, self.template = folder / "data", folder / "template"
        self.data.mkdir()
        self.calls = Calls(self, self.data)

    def opened(self, storage: FileStorage) -> bool:
        """Open a storage, and let go of it as if it were killed; whether it came about."""
        try:
            storage.open(NOON)
            return True
        except (StorageError, Killed):
            return False
        finally:
            self.calls.clear()
            storage._directory.release()

    def break_each(self, prepare: Callable[[], None], check: Callable[[], None]) -> None:
        prepare()
        self.calls.clear()
        storage = FileStorage(self.data)
        storage.open(NOON)
        steps = list(self.calls.made)
        storage._directory.release()
        check()
        for number, step in enumerate(steps):
            for how in differing(("before", "after", "half", "on", "killed"), step.kind):
                prepare()
                self.calls.fail(number, how)
                self.opened(FileStorage(self.data))
                self.assertTrue(self.opened(FileStorage(self.data)), (str(step), how))
                check()

    def test_new(self) -> None:
        """A directory that is being made is made by the next one."""
        # What is shipped is larger, and made by the same steps again and again.
        shipped = {CARS: ONE_CAR, STATIONS: NETWORK, EVSES: b"{}", TARIFFS: b"[]"}
        self.patch(network, "shipped", shipped.__getitem__)

        def prepare() -> None:
            shutil.rmtree(self.data)
            self.data.mkdir()

        def check() -> None:
            self.assertEqual((self.data / CARS).read_bytes(), ONE_CAR)
            self.assertEqual((self.data / STATIONS).read_bytes(), NETWORK)
            self.assertEqual(len(list((self.data / "stations").iterdir())), 2)
            self.assertEqual(list((self.data / "users").iterdir()), [])

        self.break_each(prepare, check)

    def wrong(self) -> None:
        """A directory with much to put right."""
        shutil.rmtree(self.data)
        self.data.mkdir()
        (self.data / CARS).write_bytes(ONE_CAR)
        (self.data / STATIONS).write_bytes(NETWORK)
        storage = FileStorage(self.data)
        storage.open(NOON)
        for user_id in ("twice", "once"):
            add_user(storage, a_user(user_id))
            take_slot(storage, a_session(user_id, 7))
        storage._directory.release()
        one = self.data / "stations" / "station_7.json"
        other = self.data / "stations" / "station_8.json"
        record = json.loads(one.read_bytes())
        later = {**record["vehicles"]["twice"], "receipt_id": "later", "paid_timestamp": NOON + 9}
        table = {"id": 8, "max_slots": 3, "available_slots": 3, "vehicles": {"twice": later}}
        other.write_text(json.dumps(table))
        listed = (self.data / PAYMENTS).read_bytes()
        (self.data / PAYMENTS).write_bytes(listed[:-20])
        (self.data / "users" / "damaged.json").write_text("{")
        (self.data / "users" / "x.json.tmp").write_text("{")

    def test_wrong(self) -> None:
        """What is wrong in one is put right in the end, once, and no payment is lost on the way."""

        def check() -> None:
            stand: list[tuple[str, str, str]] = []
            for path in sorted((self.data / "stations").iterdir()):
                record = json.loads(path.read_bytes())
                for user_id, session in record["vehicles"].items():
                    stand.append((path.stem, user_id, session["receipt_id"]))
                self.assertEqual(
                    record["available_slots"], record["max_slots"] - len(record["vehicles"])
                )
            self.assertEqual(
                stand,
                [("station_7", "once", "r-once-7"), ("station_8", "twice", "later")],
            )
            lines = (self.data / PAYMENTS).read_text().splitlines()
            listed = sorted(json.loads(line)["receipt_id"] for line in lines)
            self.assertEqual(listed, ["later", "r-once-7", "r-twice-7"])
            names = sorted(path.name for path in (self.data / "users").iterdir())
            self.assertEqual(names, ["damaged.json.damaged", "once.json", "twice.json"])

        self.break_each(self.wrong, check)

    def test_mended(self) -> None:
        """A station's file that is put right is taken in whole, or with a later sweep."""
        # Far more than there are.
        for number, how in itertools.product(range(40), ("before", "after", "half", "on")):
            self.wrong()
            path = self.data / "stations" / "station_8.json"
            whole = path.read_bytes()
            path.write_bytes(whole[:-9])
            storage = FileStorage(self.data)
            storage.open(NOON)
            path.write_bytes(whole)
            self.calls.fail(number, how)
            with contextlib.suppress(StorageUnavailable):
                sweep(storage, NOON, 0)
            made = len(self.calls.made)
            self.calls.clear()
            pay_again = storage.execute([pay("twice", 7), pay("twice", 8)])
            sweep(storage, NOON, 0)
            told = [
                result.receipt_id for result in pay_again if isinstance(result, ChargingSession)
            ]
            self.assertIn(told, ([], ["later"]), (number, how))
            for again in (False, True):
                if again:
                    storage._directory.release()
                    storage = FileStorage(self.data)
                    storage.open(NOON)
                self.assertEqual(storage.execute([pay("twice", 8)])[0].receipt_id, "later")
                self.assertEqual(available(storage, 7), 2)
                self.assertEqual(available(storage, 8), 2)
            lines = (self.data / PAYMENTS).read_text().splitlines()
            listed = sorted(json.loads(line)["receipt_id"] for line in lines)
            self.assertEqual(listed, ["later", "r-once-7", "r-twice-7"])
            storage._directory.release()
        self.assertLess(made, 40)


STATION_ROWS = parse_stations(NETWORK, "network")


class SqlSteps(StepsContract):
    """A database, of which each statement, and the commit, fails."""

    def problem(self) -> Exception:
        """What the driver raises."""
        raise NotImplementedError

    def trouble(self, storage: SqlStorage, number: int, how: str) -> None:
        self.made = 0
        self.ill = True

        def step(*args: Any) -> None:
            at, self.made = self.made, self.made + 1
            if not self.ill or number < 0 or at < number or (at > number and how == "before"):
                return
            if how == "killed":
                raise Killed
            raise OperationalError("a statement", None, self.problem())

        for name in ("before_cursor_execute", "commit"):
            event.listen(storage._database._engine, name, step)

    def no_trouble(self) -> list[str]:
        self.ill = False
        return ["statement"] * self.made

    def kill(self, storage: SqlStorage) -> None:
        self.no_trouble()
        storage.close()

    def listed(self, storage: SqlStorage) -> list[str]:
        return [row.receipt_id for row in self.rows(storage, "payments")]

    def standing(self, storage: SqlStorage) -> dict[str, tuple[int, str]]:
        return {
            row.user_id: (row.station_id, row.receipt_id) for row in self.rows(storage, "sessions")
        }

    def rows(self, storage: SqlStorage, table: str) -> Sequence[Any]:
        with storage._database.begin(write=False) as connection:
            return connection.exec_driver_sql(f"SELECT * FROM {table}").all()


class SqliteStepsTests(SqlSteps, SynchronousTestCase):
    """An SQLite file that one process owns, so that memory answers for it."""

    shared = False

    def setUp(self) -> None:
        self.folder = new_folder(self)
        self.path, self.template = self.folder / "evcharge.db", self.folder / "template.db"
        storage = SqlStorage(Sqlite(self.template), json.loads(ONE_CAR), STATION_ROWS)
        storage.open(NOON)
        storage.close()

    def make(self) -> SqlStorage:
        for path in self.folder.glob("evcharge.db*"):
            path.unlink()
        shutil.copy(self.template, self.path)
        return self.again()

    def again(self) -> SqlStorage:
        storage = SqlStorage(Sqlite(self.path, self.shared))
        storage.open(NOON)
        return storage

    def problem(self) -> Exception:
        return sqlite3.OperationalError("disk I/O error")


class Shared(SqlSteps):
    """
    A database that several processes share. Memory decides nothing here: the storage that showed
    what is there serves the next test too, once nothing is there any more.
    """

    THEN = SOME
    kept: SqlStorage | None = None

    def make(self) -> SqlStorage:
        storage = self.kept or self.again()
        self.kept = None
        with storage._database.begin(write=True) as connection:
            for table in ("users", "sessions", "payments"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        return storage

    def again(self) -> SqlStorage:
        self.kept = storage = self.storage()
        storage.open(NOON)
        return storage

    def storage(self) -> SqlStorage:
        """One for the database, which is not open yet."""
        raise NotImplementedError

    def tearDown(self) -> None:
        if self.kept:
            self.kept.close()

    def test_lasting(self) -> None:
        """Nor do statements that fail from then on."""
        # Whatever is asked next, the database is asked first, and fails.
        self.break_each(["on"], lasting=True, then={"again": THEN["again"]})


class SharedSqliteStepsTests(Shared, SynchronousTestCase):
    """An SQLite file that several processes share."""

    def setUp(self) -> None:
        self.path = new_folder(self) / "evcharge.db"
        storage = SqlStorage(Sqlite(self.path, True), json.loads(ONE_CAR), STATION_ROWS)
        storage.open(NOON)
        storage.close()

    def storage(self) -> SqlStorage:
        return SqlStorage(Sqlite(self.path, True))

    def problem(self) -> Exception:
        return sqlite3.OperationalError("disk I/O error")


class PostgresStepsTests(Shared, SynchronousTestCase):
    """A PostgreSQL database, whose connection is lost."""

    def setUp(self) -> None:
        self.url = postgres.shared().url(postgres.shared().create_database())
        storage = parse(self.url, "").storage(json.loads(ONE_CAR), STATION_ROWS)
        storage.open(NOON)
        storage.close()

    def storage(self) -> SqlStorage:
        return parse(self.url, "").storage()

    def problem(self) -> Exception:
        return psycopg.OperationalError("server closed the connection unexpectedly")
