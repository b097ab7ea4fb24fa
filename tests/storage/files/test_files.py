"""The data directory: earlier ones open, damage is contained, nothing is lost."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets.files import CARS, STATIONS
from evcharge.models.session import ChargingSession
from evcharge.rules.clocks import Clocks, Newest
from evcharge.rules.journey import UNKNOWN_STATION, UNKNOWN_USER, AddUser, FindUser
from evcharge.rules.sweep import Sweep
from evcharge.rules.timekeeping import SetClock
from evcharge.storage import StorageError, StorageUnavailable, carry_out
from evcharge.storage.files.directory import PAYMENTS
from evcharge.storage.files.store import FileStorage
from evcharge.testing import NOON
from tests.support.calls import Calls
from tests.support.logged import logged
from tests.support.operations import (
    a_session,
    a_user,
    add_user,
    available,
    end_journey,
    find_user,
    leave,
    pay,
    stations,
    sweep,
    take,
    take_slot,
    unseated,
    user_ids,
)


class FileStorageTests(SynchronousTestCase):
    """What is particular to a data directory."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp())

    def make(self) -> FileStorage:
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def again(self, storage: FileStorage) -> FileStorage:
        storage.close()
        return self.make()

    def read(self, name: str) -> dict:
        return json.loads((self.data / name).read_text())

    def write(self, name: str, content: object) -> Path:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def test_format(self) -> None:
        """The files have the fields that other programs read."""
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        record = self.read("stations/station_7.json")
        self.assertEqual(record["id"], 7)
        self.assertEqual(record["available_slots"] + len(record["vehicles"]), record["max_slots"])
        self.assertEqual(record["vehicles"]["u1"]["estimated_timestamp"], NOON + 60)
        user = self.read("users/u1.json")
        self.assertEqual((user["user_id"], user["user_name"]), ("u1", "Ana"))
        self.assertEqual(
            user["user_car"],
            {
                "brand": "Tesla",
                "model": "Model 3",
                "battery_capacity": 50,
                "current_battery": 20,
                "energy_consumption": 0.153,
                "max_speed": 225,
            },
        )

    def earlier(self) -> None:
        """A directory as an earlier installation left it."""
        cars = {
            "Leaf": {
                "brand": "Nissan",
                "model": "Leaf",
                "battery_capacity": "40",
                "energy_consumption": 0.16,
                "max_speed": 144,
            }
        }
        self.write(CARS, cars)
        self.write(
            STATIONS,
            "id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos\r\n"
            "7;Centro;Rua A;-12.25;-38.95;4\r\n8;Sul;Rua B;-12.26;-38.96;2\r\n"
            "9;Norte;Rua C;-12.27;-38.97;1\r\n",
        )
        vehicles = {
            "charging": {"estimated_timestamp": NOON + 500},
            "finished": {"estimated_timestamp": NOON - 500},
            "gone": {"estimated_timestamp": NOON + 100},
        }
        self.write(
            "stations/station_7.json",
            {"id": 7, "max_slots": 4, "available_slots": 2, "vehicles": vehicles},
        )
        self.write("stations/station_8.json", {"id": 8, "available_slots": 1, "max_slots": 2})
        car = {**cars["Leaf"], "current_battery": 10}
        for user_id in ("charging", "finished", "idle"):
            self.write(f"users/{user_id}.json", {"user_name": "Ana", "user_car": car})

    def test_earlier_format(self) -> None:
        """A directory of an earlier installation opens as it is, and is put right."""
        self.earlier()
        storage = self.make()
        self.assertEqual([s.available_slots for s in stations(storage)], [1, 2, 1])
        self.assertEqual(
            sorted(u.user_id for u in storage.users()), ["charging", "finished", "idle"]
        )
        result = sweep(storage, NOON, 0)
        self.assertEqual((result.freed, result.removed), (1, 0))
        # The slot of a user whose file is gone is held until its end: it was paid for.
        self.assertEqual(available(storage, 7), 2)
        first = take_slot(storage, a_session("charging", 7))
        self.assertEqual(first.estimated_timestamp, NOON + 500)
        self.assertEqual(take_slot(self.again(storage), a_session("charging", 7)), first)
        self.assertEqual(self.read("stations/station_7.json")["available_slots"], 2)
        self.assertFalse((self.data / PAYMENTS).exists())

    def test_two_stations(self) -> None:
        """A user who stands at two stations keeps the one where charging ends last."""
        self.earlier()
        self.write(
            "stations/station_9.json",
            {"id": 9, "max_slots": 1, "vehicles": {"charging": {"estimated_timestamp": NOON}}},
        )
        storage = self.make()
        self.assertEqual(available(storage, 9), 1)
        self.assertEqual(available(storage, 7), 1)
        self.assertEqual(self.read("stations/station_9.json")["vehicles"], {})

    def test_damaged_user(self) -> None:
        """A damaged user file is set aside; its paid slot stays, the rest goes on."""
        storage = self.make()
        for user_id in ("u1", "u2"):
            add_user(storage, a_user(user_id))
        take_slot(storage, a_session())
        before = available(storage)
        storage.close()
        for content in ("{", "[]", "{}", '{"user_car":{}}', "\x00", "[" * 9999):
            self.write("users/u1.json", content)
            storage = self.make()
            self.assertEqual([user.user_id for user in storage.users()], ["u2"])
            self.assertEqual(available(storage), before)
            storage.close()
        self.assertEqual(len(list(self.data.glob("users/u1.json.damaged*"))), 6)

    def test_damaged_station(self) -> None:
        """A damaged station file takes that station out of service, and is left as it is."""
        storage = self.make()
        add_user(storage, a_user())
        storage.close()
        for content in ("", "{", "[]", '{"max_slots":"x"}', '{"max_slots":1,"vehicles":[]}',
                        '{"max_slots":-1,"vehicles":{"a":{}}}', '{"vehicles":{"a":5}}',
                        '{"vehicles":{"\\ud800":{}}}',
                        '{"vehicles":{"a":{"paid_timestamp":1744033512678000}}}',
                        '{"vehicles":{"a":{"estimated_timestamp":"soon"}}}'):  # fmt: skip
            path = self.write("stations/station_7.json", content)
            storage = self.make()
            # Who was not there before cannot stand there: that station is none, to them.
            add_user(storage, a_user("new"))
            self.assertEqual(take_slot(storage, a_session("new")), UNKNOWN_STATION)
            end_journey(storage, "new")
            self.assertEqual(len(stations(storage)), 35)
            storage.close()
            self.assertEqual(path.read_text(), content)

    def test_unreadable(self) -> None:
        """A file that cannot be read at all stops only what depends on it."""
        self.make().close()
        (self.data / "stations" / "station_7.json").unlink()
        (self.data / "stations" / "station_7.json").mkdir()
        (self.data / "users" / "u1.json").mkdir()
        storage = self.make()
        self.assertEqual(len(stations(storage)), 35)
        self.assertEqual(find_user(storage, "u1"), UNKNOWN_USER)

    def test_station_without_row(self) -> None:
        """A station that the CSV does not have is not in service, but its sessions end."""
        self.write(
            "stations/station_99.json",
            {"max_slots": 1, "vehicles": {"x": {"estimated_timestamp": NOON - 1}}},
        )
        self.write("stations/notes.json", "{")
        self.write("stations/station_x.json", "{")
        storage = self.make()
        self.assertNotIn(99, [s.station.station_id for s in stations(storage)])
        self.assertEqual(sweep(storage, NOON, 0).freed, 1)

    def test_not_ours(self) -> None:
        """A folder of other things, a file, and a place that cannot be made are refused."""
        self.write("thesis.txt", "x")
        self.assertIn("not a data directory", str(self.assertRaises(StorageError, self.make)))
        self.data = self.data / "thesis.txt"
        self.assertIn("not a directory", str(self.assertRaises(StorageError, self.make)))
        self.data = self.data / "sub"
        self.assertIn("Not a directory", str(self.assertRaises(StorageError, self.make)))

    def test_owned(self) -> None:
        """A second process, or storage, is refused while the first is open."""
        storage = self.make()
        error = self.assertRaises(StorageError, FileStorage(self.data).open, NOON)
        self.assertIn(f"in use by another evcharge process ({os.getpid()})", str(error))
        self.again(storage)

    def test_leftovers(self) -> None:
        """What a crash left half-written is cleared away."""
        self.make().close()
        path = self.write("users/u9.json.tmp", "{")
        self.make()
        self.assertFalse(path.exists())

    def test_payments(self) -> None:
        """Every payment is listed once, also when the process ended before it could be."""
        storage = self.make()
        for user_id in ("u1", "u2"):
            add_user(storage, a_user(user_id))
            take_slot(storage, a_session(user_id))
        storage.close()
        listed = (self.data / PAYMENTS).read_bytes()
        first, second = listed.splitlines(keepends=True)
        # Of the last one an editor may have left out the end of the line.
        for content in (listed, first, b"", first + second[:20], listed[:-1], first[:-1], None):
            if content is None:
                (self.data / PAYMENTS).unlink()
            else:
                (self.data / PAYMENTS).write_bytes(content)
            self.make().close()
            after = (self.data / PAYMENTS).read_bytes()
            self.assertEqual(sorted(after.splitlines(keepends=True)), sorted([first, second]))
        self.assertEqual(json.loads(first)["amount_brl"], 12.3)
        for user_id in ("u1", "u2"):
            storage = self.make()
            end_journey(storage, user_id)
            storage.close()
            # Of these the stations' files know nothing any more.
            (self.data / PAYMENTS).write_bytes(listed[:-1])
            self.make().close()
            self.assertEqual((self.data / PAYMENTS).read_bytes(), listed)

    def test_disk_full(self) -> None:
        """A write that fails changes nothing, and the next one is served."""
        storage = self.make()
        add_user(storage, a_user())
        before = available(storage)
        calls = Calls(self, self.data)

        def fill_up() -> None:
            calls.fail_where(lambda call: call.kind == "write")

        fill_up()
        self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
        self.assertRaises(StorageUnavailable, add_user, storage, a_user("u2"))
        calls.clear()
        self.assertEqual(available(storage), before)
        self.assertEqual(find_user(storage, "u2"), UNKNOWN_USER)
        take_slot(storage, a_session())
        fill_up()
        self.assertRaises(StorageUnavailable, sweep, storage, NOON + 60, 0)
        calls.clear()
        self.assertEqual(sweep(storage, NOON + 60, 0).freed, 1)

    def test_flush_fails(self) -> None:
        """A write whose last flush fails is taken back, so that disk and memory agree."""
        storage = self.make()
        add_user(storage, a_user())
        before = available(storage)
        calls = Calls(self, self.data)
        calls.fail_where(lambda call: str(call) in ("fsync users", "fsync stations"))
        self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
        self.assertRaises(StorageUnavailable, add_user, storage, a_user("u2"))
        calls.clear()
        end_journey(storage, "u1")
        storage = self.again(storage)
        self.assertEqual((available(storage), storage.users()), (before, ()))

    def test_nothing_left(self) -> None:
        """A write that fails leaves no file beside."""
        storage = self.make()
        calls = Calls(self, self.data)
        for number in range(4):
            for how in ("before", "after", "half"):
                calls.fail(number, how)
                self.assertRaises(StorageUnavailable, add_user, storage, a_user())
                calls.clear()
                self.assertEqual(list((self.data / "users").glob("*.tmp")), [])

    def test_twice_and_unlisted(self) -> None:
        """A slot is not freed at the start before its payment is in the list."""
        self.earlier()
        session = {"estimated_timestamp": NOON + 9, "amount": 1, "charge_minutes": 1}
        for station in (7, 8):
            paid = {**session, "receipt_id": f"r{station}", "paid_timestamp": NOON + station}
            record = {"id": station, "max_slots": 2, "vehicles": {"charging": paid}}
            self.write(f"stations/station_{station}.json", record)
        (self.data / PAYMENTS).mkdir()
        error = self.assertRaises(StorageError, self.make)
        self.assertIn(f"{PAYMENTS}: Is a directory", str(error))
        self.assertIn("r7", (self.data / "stations" / "station_7.json").read_text())
        (self.data / PAYMENTS).rmdir()
        self.make()
        self.assertEqual(sorted(self.listed()), ["r7", "r8"])

    def test_batch_of_some(self) -> None:
        """Of a batch in which one file cannot be written all else is done, and stays done."""
        storage = self.make()
        for user_id in ("u1", "u2", "u3"):
            add_user(storage, a_user(user_id))
        take_slot(storage, a_session("u2", 8))
        for name in ("stations/station_7.json.tmp", "users/u5.json.tmp"):
            (self.data / name).mkdir()
        operations = [
            AddUser(a_user("u4")),
            AddUser(a_user("u5")),
            take(a_session("u1", 7)),
            leave("u2"),
            take(a_session("u3", 8)),
        ]
        results = storage.execute(operations)
        for failed in (1, 2):
            self.assertIsInstance(results[failed], StorageUnavailable)
        self.assertEqual((results[0], results[3]), (None, None))
        self.assertEqual(unseated(results[4]), a_session("u3", 8))
        for name in ("stations/station_7.json.tmp", "users/u5.json.tmp"):
            (self.data / name).rmdir()
        self.assertEqual(user_ids(storage), ["u1", "u3", "u4"])
        storage = self.again(storage)
        self.assertEqual(user_ids(storage), ["u1", "u3", "u4"])
        held = take_slot(storage, a_session("u3", 8, end=NOON + 99))
        self.assertEqual(held, a_session("u3", 8))

    def test_decided_again(self) -> None:
        """What was decided on something that did not come about is decided anew."""
        storage = self.make()
        for user_id in ("u1", "u2"):
            add_user(storage, a_user(user_id))
        take_slot(storage, a_session())
        calls = Calls(self, self.data)
        calls.fail(0, "before")
        left, find, again, paid = storage.execute(
            [leave("u1"), FindUser("u1"), take(a_session()), take(a_session("u2", 8))]
        )
        self.assertIsInstance(left, StorageUnavailable)
        self.assertEqual((find, unseated(again)), (a_user(), a_session()))
        self.assertEqual(unseated(paid), a_session("u2", 8))
        self.assertEqual(user_ids(self.again(storage)), ["u1", "u2"])

    def test_slot_not_freed(self) -> None:
        """Nobody gets a slot whose vehicle was to leave in the same batch, and has not."""
        storage = self.make()
        number = available(storage)
        for at in range(2 * number):
            add_user(storage, a_user(f"u{at}"))
        for at in range(number):
            take_slot(storage, a_session(f"u{at}"))
        calls = Calls(self, self.data)
        calls.fail_where(lambda call: str(call) == "unlink users/u0.json")
        payments = [take(a_session(f"u{number + at}", end=NOON + 99)) for at in range(number)]
        swept, *paid = storage.execute([Sweep(NOON + 60, 0), *payments])
        calls.clear()
        self.assertIsInstance(swept, StorageUnavailable)
        (failed,) = [r for r in paid if isinstance(r, Exception)]
        self.assertIsInstance(failed, StorageUnavailable)
        self.assertEqual(available(storage), 0)
        self.assertIn("u0", self.read("stations/station_7.json")["vehicles"])
        self.assertEqual(sweep(storage, NOON + 60, 0).freed, 1)

    def test_delete_fails(self) -> None:
        """A user whose file cannot be removed is there until it is."""
        storage = self.make()
        calls = Calls(self, self.data)
        for number, how in ((0, "before"), (0, "after"), (1, "before"), (1, "after"), (1, "on")):
            add_user(storage, a_user())
            calls.fail(number, how)
            self.assertRaises(StorageUnavailable, end_journey, storage, "u1")
            self.assertEqual(find_user(storage, "u1"), a_user())
            # It may be on the disk or not, and nothing is done for this user before it is.
            calls.fail_where(lambda call: call.path.startswith("users"))
            self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
            calls.clear()
            take_slot(storage, a_session())
            self.assertTrue((self.data / "users" / "u1.json").exists())
            calls.clear()
            take_slot(storage, a_session())
            self.assertEqual(calls.made, [])
            end_journey(storage, "u1")

    def test_left_behind(self) -> None:
        """Who has left, but for a file that could not be removed, goes with the next sweep."""
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session(end=NOON + 9999))
        sweep(storage, NOON, NOON + 1)
        calls = Calls(self, self.data)
        calls.fail_where(lambda call: str(call) == "unlink users/u1.json")
        self.assertRaises(StorageUnavailable, end_journey, storage, "u1")
        calls.clear()
        sweep(storage, NOON, NOON + 1)
        self.assertEqual(user_ids(storage), [])
        self.assertEqual(available(storage, 7), 2)
        self.assertEqual(len((self.data / PAYMENTS).read_text().splitlines()), 1)

    def test_settled(self) -> None:
        """What was in doubt is settled once: by the next request, by a sweep, or at the close."""
        storage = self.make()
        calls = Calls(self, self.data)

        def doubt() -> None:
            """Have a new user, a payment, and another user's end fail in the flush."""
            end_journey(storage, "u1")
            add_user(storage, a_user("u1"))
            add_user(storage, a_user("u2"))
            calls.fail_where(lambda call: str(call) in ("fsync users", "fsync stations"))
            self.assertRaises(StorageUnavailable, add_user, storage, a_user("u3"))
            self.assertRaises(StorageUnavailable, take_slot, storage, a_session("u1"))
            self.assertRaises(StorageUnavailable, end_journey, storage, "u2")
            calls.clear()

        def settled() -> None:
            users = sorted(path.name for path in (self.data / "users").iterdir())
            self.assertEqual(users, ["u1.json", "u2.json"])
            self.assertEqual(self.read("stations/station_7.json")["vehicles"], {})

        add_user(storage, a_user("u1"))
        doubt()
        self.assertEqual(end_journey(storage, "u3"), UNKNOWN_USER)
        sweep(storage, NOON, 0)
        settled()
        calls.clear()
        sweep(storage, NOON, 0)
        self.assertEqual(calls.made, [])
        doubt()
        calls.fail_where(lambda call: call.path.startswith("stations"))
        self.assertRaises(StorageUnavailable, sweep, storage, NOON, 0)
        calls.clear()
        storage.close()
        settled()
        storage = self.make()
        doubt()
        add_user(storage, a_user("u3"))
        end_journey(storage, "u2")
        take_slot(storage, a_session("u1"))
        self.assertEqual(user_ids(storage), ["u1", "u3"])
        calls.clear()
        sweep(storage, NOON, 0)
        self.assertEqual(calls.made, [])
        self.assertEqual(user_ids(self.again(storage)), ["u1", "u3"])

    def test_failed_logins(self) -> None:
        """Logins that fail leave nothing to be put right where nothing changed, else one flush."""
        storage = self.make()
        calls = Calls(self, self.data)
        for failing, made in (
            ("write users/u1.json.tmp", []),
            ("fsync users/u1.json.tmp", []),
            ("fsync users", ["fsync users"]),
        ):
            calls.fail_where(lambda call, failing=failing: str(call) == failing)
            for _ in range(20):
                self.assertRaises(StorageUnavailable, add_user, storage, a_user("u1"))
            calls.clear()
            sweep(storage, NOON, 0)
            flushes = [str(call) for call in calls.made if call.kind == "fsync"]
            self.assertEqual(flushes, made, failing)
            self.assertEqual(list((self.data / "users").iterdir()), [])
        # They would be more and more while nothing can be flushed.
        calls.fail_where(lambda call: str(call) == "fsync users")
        for number in range(20):
            self.assertRaises(StorageUnavailable, add_user, storage, a_user(f"u{number}"))
        self.assertLess(len(list((self.data / "users").iterdir())), 3)

    def test_doubted_not_swept(self) -> None:
        """A user who may stand somewhere, as far as the disk knows, is not one who never paid."""
        storage = self.make()
        add_user(storage, a_user())
        calls = Calls(self, self.data)
        calls.fail_where(lambda call: str(call) == "fsync stations")
        self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
        self.assertRaises(StorageUnavailable, sweep, storage, NOON, NOON + 1)
        self.assertEqual(find_user(storage, "u1"), a_user())
        calls.clear()
        self.assertEqual(sweep(storage, NOON, NOON + 1).removed, 1)

    def test_user_deleted_by_hand(self) -> None:
        """A user whose file somebody deleted goes at the end like any other."""
        storage = self.make()
        add_user(storage, a_user())
        (self.data / "users" / "u1.json").unlink()
        self.assertEqual(sweep(storage, NOON, NOON + 1).removed, 1)

    def test_descriptors(self) -> None:
        """Each descriptor that a change takes is given back; two storages leave none behind."""
        self.make().close()
        before = len(os.listdir("/proc/self/fd"))
        storage = self.make()
        opened = len(os.listdir("/proc/self/fd"))
        for number in range(20):
            add_user(storage, a_user(f"u{number}"))
            take_slot(storage, a_session(f"u{number}", 1 + number))
        self.assertEqual(len(os.listdir("/proc/self/fd")), opened)
        storage.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_put_right(self) -> None:
        """A directory that could not be opened is opened by the same process once it is right."""
        self.make().close()
        path = self.data / "users"
        path.rename(self.data / "away")
        path.write_text("")
        self.assertRaises(StorageError, self.make)
        path.unlink()
        (self.data / "away").rename(path)
        self.make()

    def test_sweep_passes_over(self) -> None:
        """A station that cannot be written keeps no other from being swept."""
        storage = self.make()
        for number in (1, 2, 3):
            add_user(storage, a_user(f"u{number}"))
            take_slot(storage, a_session(f"u{number}", number))
        obstacle = self.data / "stations" / "station_1.json.tmp"
        obstacle.mkdir()
        self.assertRaises(StorageUnavailable, sweep, storage, NOON + 60, 0)
        self.assertEqual(list(storage.records.held), ["u1"])
        obstacle.rmdir()
        self.assertEqual(sweep(storage, NOON + 60, 0).freed, 1)

    def test_folder_replaced(self) -> None:
        """Nothing is written into a folder that took the place of the one that was opened."""
        storage = self.make()
        add_user(storage, a_user())
        pay = partial(take_slot, storage, a_session())
        login = partial(add_user, storage, a_user("u2"))
        for name, changes in (("stations", [pay]), ("users", [login]), (".", [login, pay])):
            folder = (self.data / name).resolve()
            away = folder.with_name("away")
            for change in changes:
                there = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
                folder.rename(away)
                self.assertRaises(StorageUnavailable, change)
                folder.mkdir()
                self.assertRaises(StorageUnavailable, change)
                self.assertEqual(list(folder.iterdir()), [])
                folder.rmdir()
                found = {folder / p.relative_to(away): p.stat() for p in away.rglob("*")}
                found = {path: stat.st_mtime_ns for path, stat in found.items()}
                self.assertEqual(found, there)
                away.rename(folder)
                change()
                end_journey(storage, "u2" if change is login else "u1")
                add_user(storage, a_user())

    def test_lock_removed(self) -> None:
        """Where a second server could own the directory as well, the first one gives up."""
        for replace in (lambda path: None, lambda path: path.write_text("1\n")):
            self.data = Path(self.mktemp())
            storage = self.make()
            for user_id in ("u1", "u0"):
                add_user(storage, a_user(user_id))
            (self.data / PAYMENTS).mkdir()
            take_slot(storage, a_session("u0", 8))
            (self.data / PAYMENTS).rmdir()
            (self.data / ".lock").unlink()
            replace(self.data / ".lock")
            calls = Calls(self, self.data)
            error = self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
            self.assertIn(f"{self.data}/.lock: was removed or replaced", str(error))
            self.assertRaises(StorageUnavailable, sweep, storage, NOON, NOON + 1)
            self.assertEqual(calls.made, [])
            other = FileStorage(self.data)
            other.open(NOON)
            self.addCleanup(other.close)
            slots = available(other)
            add_user(other, a_user("u2"))
            take_slot(other, a_session("u2"))
            self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
            calls.clear()
            storage.close()
            # The list is the other one's as well.
            self.assertEqual(calls.made, [])
            self.assertEqual(available(other), slots - 1)
            self.assertRaises(StorageError, FileStorage(self.data).open, NOON)

    def test_lock_removed_meanwhile(self) -> None:
        """What was done while the lock was lost is not told as done."""
        storage = self.make()
        add_user(storage, a_user())
        session = a_session()

        def plan(*_: object) -> ChargingSession:
            (self.data / ".lock").unlink()
            return session

        operation = pay("u1", "7", plan)
        self.assertRaises(StorageUnavailable, storage.execute, [operation])

    def test_lock_replaced_at_start(self) -> None:
        """A lock file that is replaced just before it is locked is not taken for the lock."""
        lock = fcntl.flock

        def late(descriptor: int, how: int) -> None:
            self.patch(fcntl, "flock", lock)
            path = self.data / ".lock"
            path.unlink()
            path.write_text("")
            lock(descriptor, how)

        self.patch(fcntl, "flock", late)
        self.make()
        self.assertRaises(StorageError, FileStorage(self.data).open, NOON)

    def test_links(self) -> None:
        """Where a file is written beside its place, nothing is written through a link there."""
        storage = self.make()
        add_user(storage, a_user())
        victim = self.data.with_name("victim")
        victim.write_text("mine")
        for name in ("stations/station_7.json", "users/u2.json"):
            (self.data / f"{name}.tmp").symlink_to(victim.resolve())
        take_slot(storage, a_session())
        add_user(storage, a_user("u2"))
        (self.data / "users" / "u3.json.tmp").symlink_to(victim.resolve())
        storage = self.again(storage)
        self.assertEqual(victim.read_text(), "mine")
        self.assertFalse((self.data / "users" / "u3.json.tmp").is_symlink())
        self.assertEqual(user_ids(storage), ["u1", "u2"])
        storage.close()
        (self.data / ".lock").unlink()
        (self.data / ".lock").symlink_to(victim.resolve())
        self.assertRaises(StorageError, self.make)
        self.assertEqual(victim.read_text(), "mine")

    def test_folder_unreadable(self) -> None:
        """A folder that cannot be listed is not an empty one."""
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        storage.close()
        listdir = os.listdir
        for name in ("stations", "users"):

            def refuse(where: Any, name: str = name) -> list[str]:
                path = os.readlink(f"/proc/self/fd/{where}") if isinstance(where, int) else where
                if os.fspath(path).endswith(name):
                    raise PermissionError(13, "Permission denied", path)
                return listdir(where)

            self.patch(os, "listdir", refuse)
            error = self.assertRaises(StorageError, self.make)
            self.assertIn(f"{name}: Permission denied", str(error))
        self.patch(os, "listdir", listdir)
        self.assertEqual(take_slot(self.make(), a_session(end=NOON + 99)), a_session())

    def test_link_to_nowhere(self) -> None:
        """A catalogue, or rows, that are a link to what is not there just now are not made anew."""
        self.make().close()
        for name in (CARS, STATIONS):
            path = self.data / name
            content = path.read_bytes()
            path.unlink()
            path.symlink_to("/nowhere/at/all")
            # What depends on it waits; see test_network_files.
            self.make().close()
            self.assertTrue(path.is_symlink())
            path.unlink()
            path.write_bytes(content)

    def test_later_payment(self) -> None:
        """Of two stations where a user stands that of the later payment counts; both are named."""
        self.earlier()
        for station, paid, end in ((7, NOON - 9, NOON + 900), (8, NOON - 5, NOON + 50)):
            session = {
                "estimated_timestamp": end,
                "receipt_id": f"r{station}",
                "amount": 1.5,
                "charge_minutes": 3.0,
                "paid_timestamp": paid,
            }
            record = {"id": station, "max_slots": 2, "vehicles": {"charging": session}}
            self.write(f"stations/station_{station}.json", record)
        events = logged(self)
        storage = self.make()
        self.assertEqual((available(storage, 7), available(storage, 8)), (2, 1))
        (said,) = (
            text
            for text in map(formatEvent, events)
            if "stood at stations 8 and 7; the latter is freed" in text
        )
        self.assertIn("at 8 2025-04-07T13:45:07.678Z (receipt r8)", said)
        self.assertIn("at 7 2025-04-07T13:45:03.678Z (receipt r7)", said)
        self.assertEqual(sorted(self.listed()), ["r7", "r8"])

    def owing(self) -> FileStorage:
        """A storage with the users u1 and u2, and a payment of u1 that could not be listed."""
        storage = self.make()
        for user_id in ("u1", "u2"):
            add_user(storage, a_user(user_id))
        (self.data / PAYMENTS).mkdir()
        take_slot(storage, a_session("u1"))
        (self.data / PAYMENTS).rmdir()
        return storage

    def listed(self) -> list[str]:
        lines = (self.data / PAYMENTS).read_text().splitlines()
        return [json.loads(line)["receipt_id"] for line in lines]

    def test_payments_owed(self) -> None:
        """A payment that could not be listed is listed with the next one."""
        take_slot(self.owing(), a_session("u2"))
        self.assertEqual(self.listed(), ["r-u1-7", "r-u2-7"])

    def test_owed_at_sweep(self) -> None:
        """Or by a sweep, before its session ends, and also where it goes on."""
        for now in (NOON, NOON + 60):
            self.data = Path(self.mktemp())
            sweep(self.owing(), now, 0)
            self.assertEqual(self.listed(), ["r-u1-7"])

    def test_owed_at_close(self) -> None:
        """Or when the storage is closed."""
        self.owing().close()
        self.assertEqual(self.listed(), ["r-u1-7"])

    def test_owed_at_end(self) -> None:
        """Or when the journey ends, which it does not before."""
        storage = self.owing()
        before = available(storage)
        (self.data / PAYMENTS).mkdir()
        for end in (lambda: end_journey(storage, "u1"), lambda: sweep(storage, NOON + 60, 0)):
            self.assertRaises(StorageUnavailable, end)
            self.assertEqual(find_user(storage, "u1"), a_user())
            self.assertEqual(available(storage), before)
        # Users whose payments are listed, or who have none, are not kept.
        end_journey(storage, "u2")
        (self.data / PAYMENTS).rmdir()
        end_journey(storage, "u1")
        self.assertEqual(self.listed(), ["r-u1-7"])

    def test_list_unreadable(self) -> None:
        """A list that cannot be read at the start keeps nobody from anything but ending."""
        self.owing()._directory.release()
        (self.data / PAYMENTS).mkdir()
        events = logged(self)
        storage = self.make()
        self.assertIn(f"{PAYMENTS}: Is a directory", "".join(map(formatEvent, events)))
        take_slot(storage, a_session("u2"))
        self.assertRaises(StorageUnavailable, end_journey, storage, "u1")
        # The others tell whether the clock is wrong, without which no server starts.
        newest: list[Newest] = []

        def decide(clocks: Clocks, look: Callable[[], Newest]) -> Clocks:
            newest.append(look())
            return clocks

        carry_out(storage, SetClock(decide))
        self.assertEqual(newest, [Newest(NOON, None)])
        (self.data / PAYMENTS).rmdir()
        (self.data / PAYMENTS).write_text('{"receipt_id": "r-u2-7"}\n')
        end_journey(storage, "u1")
        self.assertEqual(sorted(self.listed()), ["r-u1-7", "r-u2-7"])

    def test_torn_line(self) -> None:
        """A line of which a part was written is cut off, at once or before the next one."""
        calls = Calls(self, self.data)
        for more in ((), ("ftruncate",)):
            shutil.rmtree(self.data, ignore_errors=True)
            storage = self.make()
            for user_id in ("u1", "u2", "u3"):
                add_user(storage, a_user(user_id))
            take_slot(storage, a_session("u1"))
            whole = (self.data / PAYMENTS).read_bytes()
            calls.fail_where(
                lambda call, more=more: call.path == PAYMENTS and call.kind in more,
                half=lambda call: call.path == PAYMENTS,
            )
            take_slot(storage, a_session("u2"))
            torn = (self.data / PAYMENTS).read_bytes() != whole
            self.assertEqual(torn, bool(more))
            calls.clear()
            take_slot(storage, a_session("u3", 8))
            self.assertEqual(self.listed(), ["r-u1-7", "r-u2-7", "r-u3-8"])
            storage.close()

    def test_strange_lines(self) -> None:
        """Lines of the list that hold no payment are left as they are."""
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        storage.close()
        path = self.data / PAYMENTS
        listed = path.read_bytes()
        strange = b'5\n{}\n[]\nnull\n"receipt_id"\n' + b"[" * 9999 + b"\n\xff\n\n"
        path.write_bytes(strange)
        self.make().close()
        self.assertEqual(path.read_bytes(), strange + listed)
        path.write_bytes(strange + listed)
        self.make().close()
        self.assertEqual(path.read_bytes(), strange + listed)
