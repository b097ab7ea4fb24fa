"""The data directory: earlier ones open, damage is contained, nothing is lost."""

import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage import StorageError, StorageUnavailable, UnknownStation, UnknownUser
from evcharge.storage.durable import Folder, Unsettled
from evcharge.storage.files import CARS, PAYMENTS, STATIONS, FileStorage
from evcharge.testing import NOON
from tests.operations import (
    a_session,
    a_user,
    add_user,
    available,
    end_journey,
    find_user,
    stations,
    sweep,
    take_slot,
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
                        '{"max_slots":0,"vehicles":{"a":{}}}', '{"vehicles":{"a":5}}',
                        '{"vehicles":{"\\ud800":{}}}',
                        '{"vehicles":{"a":{"paid_timestamp":1744033512678000}}}',
                        '{"vehicles":{"a":{"estimated_timestamp":"soon"}}}'):  # fmt: skip
            path = self.write("stations/station_7.json", content)
            storage = self.make()
            self.assertRaises(UnknownStation, take_slot, storage, a_session())
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
        self.assertRaises(UnknownUser, find_user, storage, "u1")

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

    def test_broken_data_sets(self) -> None:
        """A catalogue or CSV with mistakes stops the start, each mistake named."""
        for name, content, words in (
            (CARS, "{", ["car_models.json", "not JSON"]),
            (CARS, "[]", ["object"]),
            (CARS, "{}", ["no car model"]),
            (CARS, '{"A":5,"B":{"battery_capacity":-1}}', ["'A'", "'B'", "battery_capacity"]),
            (STATIONS, "", ["column 'id' is missing"]),
            (STATIONS, "\ufeffid;nomeDoPosto\n", ["latitude"]),
        ):
            self.data = Path(self.mktemp())
            self.write(name, content)
            error = self.assertRaises(StorageError, self.make)
            for word in words:
                self.assertIn(word, str(error))

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
        for content in (listed, first, b"", first + second[:20], None):
            if content is None:
                (self.data / PAYMENTS).unlink()
            else:
                (self.data / PAYMENTS).write_bytes(content)
            self.make().close()
            after = (self.data / PAYMENTS).read_bytes()
            self.assertEqual(sorted(after.splitlines(keepends=True)), sorted([first, second]))
        self.assertEqual(json.loads(first)["amount_brl"], 12.3)

    def test_disk_full(self) -> None:
        """A write that fails changes nothing, and the next one is served."""
        storage = self.make()
        add_user(storage, a_user())
        before = available(storage)

        def full(folder: Folder, name: str, content: bytes) -> None:
            raise OSError(28, "No space left on device")

        with_space = Folder.replace
        self.patch(Folder, "replace", full)
        self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
        self.assertRaises(StorageUnavailable, add_user, storage, a_user("u2"))
        self.patch(Folder, "replace", with_space)
        self.assertEqual(available(storage), before)
        self.assertRaises(UnknownUser, find_user, storage, "u2")
        take_slot(storage, a_session())
        self.patch(Folder, "replace", full)
        self.assertRaises(StorageUnavailable, sweep, storage, NOON + 60, 0)
        self.patch(Folder, "replace", with_space)
        self.assertEqual(sweep(storage, NOON + 60, 0).freed, 1)

    def test_flush_fails(self) -> None:
        """A write whose last flush fails is taken back, so that disk and memory agree."""
        storage = self.make()
        add_user(storage, a_user())
        before = available(storage)

        def fails(folder: Folder) -> None:
            raise Unsettled(5, "Input/output error")

        works = Folder.flush
        self.patch(Folder, "flush", fails)
        self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
        self.assertRaises(StorageUnavailable, add_user, storage, a_user("u2"))
        self.patch(Folder, "flush", works)
        end_journey(storage, "u1")
        storage = self.again(storage)
        self.assertEqual((available(storage), storage.users()), (before, ()))

    def test_sweep_passes_over(self) -> None:
        """A station that cannot be written keeps no other from being swept."""
        storage = self.make()
        for number in (1, 2, 3):
            add_user(storage, a_user(f"u{number}"))
            take_slot(storage, a_session(f"u{number}", number))
        obstacle = self.data / "stations" / "station_1.json.tmp"
        obstacle.mkdir()
        self.assertRaises(StorageUnavailable, sweep, storage, NOON + 60, 0)
        self.assertEqual(list(storage._held), ["u1"])
        obstacle.rmdir()
        self.assertEqual(sweep(storage, NOON + 60, 0).freed, 1)

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
        """Or by a sweep, before its session ends."""
        sweep(self.owing(), NOON + 60, 0)
        self.assertEqual(self.listed(), ["r-u1-7"])

    def test_owed_at_close(self) -> None:
        """Or when the storage is closed, though the journey has ended."""
        storage = self.owing()
        end_journey(storage, "u1")
        storage.close()
        self.assertEqual(self.listed(), ["r-u1-7"])
