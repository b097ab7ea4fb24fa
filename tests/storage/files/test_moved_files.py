"""A data directory whose clock was set: what its files say, and what a crash leaves."""

import json
import shutil
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets.files import CARS, STATIONS, shipped
from evcharge.rules.claims import RESERVE, Claim
from evcharge.rules.clocks import PROBATION_S, Clocks
from evcharge.rules.leaving import CANCEL_IT, Leave
from evcharge.rules.receipts import FindReceipt
from evcharge.rules.sweep import Sweep
from evcharge.rules.timekeeping import SetClock
from evcharge.storage import Storage, StorageError, StorageUnavailable, carry_out
from evcharge.storage.files.moved import FORGOTTEN_S, MOST_WRITTEN
from evcharge.storage.files.store import FileStorage
from evcharge.testing import NOON
from evcharge.utils.ids import uuid7
from evcharge.utils.time_utils import iso_utc
from tests.support.calls import Calls, Killed
from tests.support.clocks import DAY_S, HOUR_S, move_all, put_right, reading, session_of, suspect
from tests.support.folders import NETWORK, new_folder
from tests.support.operations import (
    a_session,
    a_user,
    add_user,
    find_user,
    leave,
    sweep,
    take_slot,
    user_ids,
)


class FilesCase(SynchronousTestCase):
    """A data directory of two stations."""

    def setUp(self) -> None:
        folder = new_folder(self)
        self.data, self.template = folder / "data", folder / "template"
        self.template.mkdir()
        (self.template / CARS).write_bytes(shipped(CARS))
        (self.template / STATIONS).write_bytes(NETWORK)
        self.storage = self.make()

    def make(self) -> FileStorage:
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self.template, self.data)
        return self.open()

    def open(self) -> FileStorage:
        self.storage = storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def pay(self, user_id: str, now: float, station_id: int = 7) -> None:
        add_user(self.storage, a_user(user_id, now))
        take_slot(self.storage, a_session(user_id, station_id, end=now + HOUR_S, paid=now))

    def station(self, station_id: int = 7) -> dict[str, Any]:
        return json.loads((self.data / "stations" / f"station_{station_id}.json").read_text())

    def user(self, user_id: str) -> dict[str, Any]:
        return json.loads((self.data / "users" / f"{user_id}.json").read_text())

    def clock(self) -> Clocks | None:
        path = self.data / "clock.json"
        return Clocks.of_record(json.loads(path.read_text())) if path.exists() else None

    def listed(self) -> list[dict[str, Any]]:
        text = (self.data / "payments.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


class FilesTests(FilesCase):
    """What people read."""

    def test_as_ever(self) -> None:
        """Where no clock was wrong nothing of it is in the files."""
        self.pay("u1", NOON)
        self.storage.close()
        self.assertIsNone(self.clock())
        for path in self.data.rglob("*.json*"):
            self.assertNotIn("clock", path.read_text(), path)

    def test_marked(self) -> None:
        """By a wrong clock they say so; put right, that is gone, and the times are right."""
        self.pay("old", NOON)
        suspect(self.storage, NOON - DAY_S)
        self.assertTrue(self.clock().suspect)
        self.pay("new", NOON - DAY_S)
        vehicles = self.station()["vehicles"]
        self.assertNotIn("clock", vehicles["old"])
        self.assertEqual(vehicles["new"]["clock"], 1)
        self.assertEqual(vehicles["new"]["paid_timestamp"], NOON - DAY_S)
        self.assertEqual(self.user("new")["clock"], 1)
        self.assertEqual(self.listed()[1]["clock"], 1)
        put_right(self.storage, DAY_S)
        # The list at once, the others with the next sweep.
        self.assertEqual([line["paid"] for line in self.listed()], [iso_utc(NOON)] * 2)
        # That one could prove wrong as well.
        self.assertEqual([line.get("clock") for line in self.listed()], [None, 2])
        sweep(self.storage, NOON, 0)
        for vehicle in self.station()["vehicles"].values():
            self.assertEqual(vehicle["paid_timestamp"], NOON)
            self.assertEqual(vehicle["estimated_timestamp"], NOON + HOUR_S)
            self.assertNotIn("clock", vehicle)
        self.assertEqual(self.user("new")["created_timestamp"], NOON)
        self.assertNotIn("clock", self.user("new"))
        self.pay("last", NOON, 8)
        self.assertNotIn("clock", self.station(8)["vehicles"]["last"])
        sweep(self.storage, NOON + PROBATION_S, 0)
        self.assertEqual([line["paid"] for line in self.listed()], [iso_utc(NOON)] * 3)
        self.assertFalse([line for line in self.listed() if "clock" in line])

    def test_moved(self) -> None:
        """All that stands is written anew, and then how far it was moved is forgotten."""
        self.pay("u1", NOON)
        move_all(self.storage, HOUR_S, NOON + HOUR_S)
        self.assertEqual(self.clock().moved_s, {0: HOUR_S})
        # Before the others are written anew, who comes is told from them.
        self.pay("u2", NOON + HOUR_S, 8)
        self.assertEqual(self.station(8)["vehicles"]["u2"]["clock"], 1)
        now = NOON + HOUR_S
        sweep(self.storage, now, 0)
        self.assertEqual(self.station()["vehicles"]["u1"]["paid_timestamp"], NOON + HOUR_S)
        self.assertEqual(self.user("u1")["created_timestamp"], NOON + HOUR_S)
        self.assertEqual(self.clock().moved_s, {0: HOUR_S})
        sweep(self.storage, now + FORGOTTEN_S, 0)
        self.assertEqual(self.clock().moved_s, {})
        self.pay("u3", now, 8)
        self.assertNotIn("clock", self.station(8)["vehicles"]["u3"])
        # What is moved again is moved from where it is.
        move_all(self.storage, DAY_S, now + DAY_S)
        storage = self.open_again()
        for user_id, station_id in (("u1", 7), ("u2", 8), ("u3", 8)):
            session = session_of(storage, user_id, station_id)
            self.assertEqual(session.paid_timestamp, NOON + HOUR_S + DAY_S)

    def open_again(self) -> FileStorage:
        self.storage.close()
        return self.open()

    def test_holds_and_places(self) -> None:
        """Deadlines of holds, and who joined the line when, move too; receipts are history."""
        for number in range(5):
            add_user(self.storage, a_user(f"u{number}", NOON))
        for number in range(4):
            asked = Claim(f"u{number}", "7", uuid7(NOON), NOON, intent=RESERVE, wait=True)
            carry_out(self.storage, asked)
        receipt = carry_out(self.storage, Leave("u0", CANCEL_IT, NOON + 60))
        carry_out(self.storage, Claim("u4", "7", uuid7(NOON), NOON + 90, intent=RESERVE, wait=True))

        def instants(storage: FileStorage) -> dict[str, float | None]:
            table = storage.records.slots[7]
            held = {u: session.expires_timestamp for u, session in table.sessions.items()}
            since = {f"{u} since": s.since_timestamp for u, s in table.sessions.items()}
            waiting = {place.user_id: place.joined_timestamp for place in table.waiting}
            self.assertEqual((held.keys(), waiting.keys()), ({"u1", "u2", "u3"}, {"u4"}))
            return {**held, **since, **waiting}

        before = instants(self.storage)
        moved = {name: instant + DAY_S for name, instant in before.items() if instant}
        move_all(self.storage, DAY_S, NOON + DAY_S)
        self.assertEqual(instants(self.storage), moved)
        self.assertEqual(self.station()["waiting"][0]["joined_timestamp"], before["u4"])
        # Before the file is written anew, and after.
        self.assertEqual(instants(self.open_again()), moved)
        sweep(self.storage, NOON + DAY_S + 100, 0)
        sweep(self.storage, NOON + DAY_S + FORGOTTEN_S, 0)
        self.assertEqual(self.station()["waiting"][0]["joined_timestamp"], moved["u4"])
        self.assertEqual(self.clock().moved_s, {})
        self.assertEqual(instants(self.open_again()), moved)
        self.assertEqual(carry_out(self.storage, FindReceipt(receipt.receipt_id)), receipt)

    def test_many(self) -> None:
        """Of many files a sweep writes some, and the next one need not wait."""
        count = 2 * MOST_WRITTEN + 1
        for number in range(count):
            add_user(self.storage, a_user(f"u{number}", NOON))
        move_all(self.storage, HOUR_S)
        results = [sweep(self.storage, NOON + HOUR_S, 0) for _ in range(3)]
        self.assertEqual([result.more for result in results], [True, True, False])
        for number in range(count):
            self.assertEqual(self.user(f"u{number}")["created_timestamp"], NOON + HOUR_S)
        # However late it is, nothing is forgotten before all are written.
        move_all(self.storage, HOUR_S, NOON)
        sweep(self.storage, NOON + FORGOTTEN_S + 1, 0)
        storage = self.open_again()
        for number in range(count):
            user = find_user(storage, f"u{number}")
            self.assertEqual(user.created_timestamp, NOON + 2 * HOUR_S)
        # Those who leave meanwhile are in nobody's way.
        move_all(self.storage, HOUR_S)
        self.storage.execute([leave(f"u{number}") for number in range(count)])
        while sweep(self.storage, NOON + 2 * HOUR_S, 0).more:
            pass
        self.assertEqual(list((self.data / "users").iterdir()), [])

    def test_opened(self) -> None:
        """What an interrupted process has not written is right when the next one reads it."""
        self.pay("u1", NOON)
        self.pay("u2", NOON, 8)
        move_all(self.storage, HOUR_S)
        storage = self.open_again()
        self.assertEqual(session_of(storage, "u1").estimated_timestamp, NOON + 2 * HOUR_S)
        self.assertEqual(find_user(storage, "u2").created_timestamp, NOON + HOUR_S)
        self.assertEqual(self.station(8)["vehicles"]["u2"]["paid_timestamp"], NOON + HOUR_S)
        sweep(storage, NOON + HOUR_S, 0)
        self.assertEqual(self.user("u2")["created_timestamp"], NOON + HOUR_S)

    def test_unread(self) -> None:
        """A station that could not be read meanwhile is moved when it can be."""
        self.pay("u1", NOON)
        self.pay("u2", NOON, 8)
        self.storage.close()
        path = self.data / "stations" / "station_7.json"
        whole = path.read_text()
        path.write_text(whole[:-10])
        storage = self.open()
        move_all(storage, HOUR_S, NOON + HOUR_S)
        for _ in range(3):
            sweep(storage, NOON + HOUR_S + FORGOTTEN_S + 1, 0)
        self.assertEqual(self.clock().moved_s, {0: HOUR_S})
        path.write_text(whole)
        result = sweep(storage, NOON + HOUR_S + FORGOTTEN_S + 1, 0)
        self.assertEqual(result.freed, 0)
        self.assertEqual(session_of(storage, "u1").estimated_timestamp, NOON + 2 * HOUR_S)
        self.assertEqual(self.station()["vehicles"]["u1"]["paid_timestamp"], NOON + HOUR_S)

    def test_copied_by_hand(self) -> None:
        """Without the file of the clocks the times are those that stand there."""
        suspect(self.storage, NOON - DAY_S)
        self.pay("u1", NOON - DAY_S)
        self.storage.close()
        (self.data / "clock.json").unlink()
        storage = self.open()
        self.assertEqual(session_of(storage, "u1").paid_timestamp, NOON - DAY_S)
        self.assertNotIn("clock", self.station()["vehicles"]["u1"])
        move_all(storage, DAY_S)
        self.assertEqual(find_user(storage, "u1").created_timestamp, NOON)
        sweep(storage, NOON, 0)
        storage = self.open_again()
        self.assertEqual(session_of(storage, "u1").paid_timestamp, NOON)
        self.assertEqual(find_user(storage, "u1").created_timestamp, NOON)

    def test_damaged(self) -> None:
        """A file of the clocks that cannot be read stops the start: the times are not known."""
        self.pay("u1", NOON)
        self.storage.close()
        path = self.data / "clock.json"
        for text, problem in (
            ("", "not JSON"),
            ("[]", "must be a JSON object"),
            ("{}", "number must be a whole number"),
            ('{"number": -1}', "number must be a whole number"),
            ('{"number": 1, "marked_from": 2}', "marked_from must be null, or a whole number"),
            ('{"number": 1, "marked_from": "x"}', "marked_from must be null"),
            ('{"number": 1, "boot_id": 5}', "boot_id must be text"),
            ('{"number": 1, "lead_s": null}', "lead_s must be given in numbers"),
            ('{"number": 1, "moved_s": []}', "moved_s must be an object"),
            ('{"number": 1, "moved_s": {"x": 1}}', "moved_s must be given in numbers"),
            ('{"number": 1, "moved_s": {"0": "NaN"}}', "moved_s must be given in numbers"),
        ):
            path.write_text(text)
            for reads in (self.open, self.copy):
                error = str(self.assertRaises(StorageError, reads))
                self.assertIn(f"{path}: {problem}", error)
                self.assertIn("remove it if they are right as they stand", error)
        path.write_text('{"number": 1, "more": {}, "moved_s": {"0": 5}}')
        self.assertEqual(session_of(self.open(), "u1").paid_timestamp, NOON + 5)

    def copy(self) -> None:
        with FileStorage(self.data).read_contents(NOON):
            pass


CHANGES: dict[str, Callable[[Clocks], Clocks]] = {
    "ahead": lambda before: before.all_moved(before.number, DAY_S, reading(NOON)),
    "back": lambda before: before.all_moved(before.number, -DAY_S, reading(NOON - DAY_S - 1)),
    "right": lambda before: before.marked_moved(DAY_S, reading(NOON + DAY_S), False),
}


class StepsTests(FilesCase):
    """Each call to the kernel fails, or is the last."""

    def setUp(self) -> None:
        super().setUp()
        self.storage.close()
        self.calls = Calls(self, self.data)

    def filled(self, change: str) -> Storage:
        self.make()
        self.pay("u1", NOON)
        if change == "right":
            suspect(self.storage, NOON)
        self.pay("u2", NOON, 8)
        add_user(self.storage, a_user("u3", NOON))
        return self.storage

    def kill(self) -> None:
        self.calls.clear()
        # The kernel takes the descriptors; nothing else is done.
        self.storage._directory.release()

    def times(self, storage: FileStorage) -> set[float]:
        """How far what is to be moved was moved, as the storage has it, and as a copy has."""
        storage.close()
        with storage.read_contents(NOON) as contents:
            users = {user.user_id: user.created_timestamp for user in contents.users}
            sessions = {s.user_id: s.estimated_timestamp - HOUR_S for s in contents.sessions}
            payments = {p.receipt_id: p.paid_timestamp for p in contents.payments}
        self.assertEqual((users.keys(), sessions.keys()), ({"u1", "u2", "u3"}, {"u1", "u2"}))
        self.assertEqual(payments.keys(), {"r-u1-7", "r-u2-8"})
        self.payments = {payments[name] - NOON for name in ("r-u1-7", "r-u2-8")}
        self.stood = {users["u1"] - NOON, sessions["u1"] - NOON}
        return {users["u2"] - NOON, users["u3"] - NOON, sessions["u2"] - NOON}

    def test_each(self) -> None:
        """All that is to move has moved, or nothing; and all of it where that was answered."""
        for change, how in [
            (change, how)
            for change in CHANGES
            for how in ("before", "after", "half", "on", "killed")
        ]:
            number, steps = -1, 0
            while number < steps:
                self.filled(change)
                self.calls.fail(number, how)
                answered = self.ask(change)
                steps = len(self.calls.made)
                self.kill()
                what = f"{change}: step {number} of {steps} fails: {how}"
                times = self.times(self.open())
                by_s = {"ahead": DAY_S, "back": -DAY_S, "right": DAY_S}[change]
                self.assertIn(times, ({by_s}, {0.0}), what)
                if answered:
                    self.assertEqual(times, {by_s}, what)
                self.assertEqual(self.stood, {0.0} if change == "right" else times, what)
                if answered and change == "right":
                    self.assertEqual(self.payments, {0.0, by_s}, what)
                if change == "ahead":
                    self.assertEqual(self.payments, {0.0}, what)
                if answered and change == "back":
                    self.assertEqual(self.payments, {by_s}, what)
                number += 1

    def ask(self, change: str) -> bool:
        """Have the clock set, and sweeps; whether it was answered that it is set."""
        answered = False
        try:
            carry_out(self.storage, SetClock(lambda before, newest: CHANGES[change](before)))
            answered = True
            for _ in range(2):
                carry_out(self.storage, Sweep(NOON - 2 * DAY_S, 0))
            # Long after.
            carry_out(self.storage, Sweep(NOON + DAY_S + FORGOTTEN_S + 1 - 2 * DAY_S, 0))
        except (StorageUnavailable, Killed):
            pass
        return answered

    def test_on_it_goes(self) -> None:
        """After a failure it is tried again, and all is as it has to be, in the files too."""
        for change in CHANGES:
            by_s = {"ahead": DAY_S, "back": -DAY_S, "right": DAY_S}[change]
            for how in ("before", "after", "half"):
                number, steps = 0, 1
                while number < steps:
                    storage = self.filled(change)
                    self.calls.fail(number, how)
                    answered = self.ask(change)
                    steps = len(self.calls.made)
                    self.calls.clear()
                    if not answered:
                        self.ask(change)
                    for _ in range(2):
                        carry_out(storage, Sweep(NOON - 2 * DAY_S, 0))
                    what = f"{change}: step {number} of {steps} fails: {how}"
                    moved = {"u2", "u3"} if change == "right" else {"u1", "u2", "u3"}
                    for user_id in user_ids(storage):
                        wanted = NOON + by_s * (user_id in moved)
                        self.assertEqual(
                            find_user(storage, user_id).created_timestamp, wanted, what
                        )
                        self.assertEqual(self.user(user_id)["created_timestamp"], wanted, what)
                    for user_id, station_id in (("u1", 7), ("u2", 8)):
                        wanted = NOON + by_s * (user_id in moved)
                        vehicle = self.station(station_id)["vehicles"][user_id]
                        self.assertEqual(vehicle["paid_timestamp"], wanted, what)
                    self.kill()
                    number += 1
