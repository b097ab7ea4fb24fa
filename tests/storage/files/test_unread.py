"""Stations, and users, whose file cannot be read: nobody is told that nothing was there."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from evcharge.rules.journey import UNKNOWN_STATION, UNKNOWN_USER, FindStanding, FindUser
from evcharge.storage import StorageUnavailable, carry_out
from evcharge.storage.files.directory import PAYMENTS
from evcharge.storage.files.store import FileStorage
from evcharge.storage.files.unread import ids_in
from evcharge.testing import NOON, MemoryServer
from tests.support.examples import examples, given
from tests.support.logged import logged
from tests.support.operations import (
    a_session,
    a_user,
    add_user,
    available,
    end_journey,
    find_user,
    stations,
    sweep,
    take_slot,
    user_ids,
)

IDS = {name: f"0196135a-{n:04}-7000-8000-00000000000{n}" for n, name in enumerate("abcdef")}


class UnreadCase(SynchronousTestCase):
    """Users a, b and c stand at station 9, d at station 8; e and f stand nowhere."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp())
        storage = self.make()
        for user_id in IDS.values():
            add_user(storage, a_user(user_id))
        for name in "abc":
            take_slot(storage, self.session(name, 9))
        take_slot(storage, self.session("d", 8))
        storage.close()
        self.path = self.data / "stations" / "station_9.json"
        self.whole = self.path.read_bytes()
        self.events = logged(self)

    @property
    def log(self) -> list[str]:
        """What the log says."""
        return [formatEvent(event) for event in self.events]

    def session(self, name: str, station: int, end: float = NOON + 600) -> Any:
        return a_session(IDS[name], station, end)

    def make(self) -> FileStorage:
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def broken(self, content: bytes) -> FileStorage:
        """A storage that was opened on the file of station 9 as it is given."""
        self.path.write_bytes(content)
        return self.make()

    def waits(self, storage: FileStorage, name: str, at: int = 9) -> None:
        """Neither pays, at the same station or another, nor is anything said of the user's slot."""
        for station in (at, 1):
            self.assertRaises(
                StorageUnavailable, take_slot, storage, self.session(name, station, NOON + 999)
            )
        self.assertRaises(StorageUnavailable, end_journey, storage, IDS[name])
        for asked in (FindUser(IDS[name], whereabouts=True), FindStanding(IDS[name])):
            self.assertIsNone(storage.recall(asked))
            self.assertRaises(StorageUnavailable, carry_out, storage, asked)
        # What has nothing to do with it is answered.
        self.assertEqual(find_user(storage, IDS[name]), a_user(IDS[name]))

    def goes_on(self, storage: FileStorage, name: str) -> None:
        """Pays at another station, and leaves it again."""
        asked = FindUser(IDS[name], whereabouts=True)
        self.assertEqual(storage.recall(asked), a_user(IDS[name]))
        before = available(storage, 1)
        take_slot(storage, self.session(name, 1))
        end_journey(storage, IDS[name])
        self.assertEqual(available(storage, 1), before)
        add_user(storage, a_user(IDS[name]))

    def mended(self, storage: FileStorage) -> None:
        """Put the file right; the next sweep brings back what was there."""
        self.path.write_bytes(self.whole)
        sweep(storage, NOON, 0)
        self.is_as_before(storage)

    def is_as_before(self, storage: FileStorage) -> None:
        for name in "abc":
            held = take_slot(storage, self.session(name, 9, NOON + 999))
            self.assertEqual(held, self.session(name, 9))
        numbers = [state.station.station_id for state in stations(storage)]
        self.assertEqual(numbers, sorted(numbers))
        slots = next(s for s in stations(storage) if s.station.station_id == 9)
        self.assertEqual(slots.station.max_slots - slots.available_slots, 3)
        self.assertEqual(self.path.read_bytes(), self.whole)
        listed = (self.data / PAYMENTS).read_text()
        for name in "abc":
            self.assertEqual(listed.count(f"r-{IDS[name]}-9"), 1)


class StationTests(UnreadCase):
    """A station's file."""

    def test_ids_found(self) -> None:
        """Who is still named in the file waits, and nobody else."""
        storage = self.broken(self.whole[:-5])
        for name in "abc":
            self.waits(storage, name)
        for name in "ef":
            self.goes_on(storage, name)
        held = self.session("d", 8)
        self.assertEqual(take_slot(storage, self.session("d", 8, NOON + 999)), held)
        add_user(storage, a_user("new"))
        self.assertEqual(take_slot(storage, a_session("new", 9)), UNKNOWN_STATION)
        self.assertEqual(self.path.read_bytes(), self.whole[:-5])
        self.mended(storage)

    def test_none_found(self) -> None:
        """Where nobody is named all wait who were there and stand nowhere else."""
        for content in (b"", b"\0" * 300, b"{", b"[]", b'{"max_slots": "x"}', b"\xff\xfe{"):
            storage = self.broken(content)
            for name in "abcef":
                self.waits(storage, name)
            held = self.session("d", 8)
            self.assertEqual(take_slot(storage, self.session("d", 8, NOON + 999)), held)
            add_user(storage, a_user("new"))
            take_slot(storage, a_session("new", 1))
            end_journey(storage, "new")
            self.mended(storage)
            self.goes_on(storage, "e")
            storage.close()

    def test_unreadable(self) -> None:
        """A file that is there and cannot be read at all may name anybody."""
        self.path.unlink()
        self.path.mkdir()
        storage = self.make()
        self.waits(storage, "e")
        self.path.rmdir()
        # It may be on its way here: nothing is made in its place.
        sweep(storage, NOON, 0)
        self.assertFalse(self.path.exists())
        self.waits(storage, "e")
        self.mended(storage)

    def test_half_way(self) -> None:
        """Who was named waits also while less of the file is there than before."""
        storage = self.broken(self.whole[:-5])
        # As it may be while it is being written anew.
        self.path.write_bytes(self.whole[: self.whole.index(IDS["b"].encode())])
        sweep(storage, NOON, 0)
        for name in "abc":
            self.waits(storage, name)
        self.goes_on(storage, "e")
        self.mended(storage)

    def test_taken_away(self) -> None:
        """A file that is taken away to be put right leaves waiting who stood there."""
        storage = self.broken(self.whole[:-5])
        self.path.unlink()
        sweep(storage, NOON, 0)
        self.waits(storage, "a")
        self.goes_on(storage, "e")
        self.mended(storage)

    def test_who_left(self) -> None:
        """One who stood elsewhere and has left is not kept waiting."""
        storage = self.broken(b"")
        end_journey(storage, IDS["d"])
        self.assertEqual(find_user(storage, IDS["d"]), UNKNOWN_USER)
        self.mended(storage)

    def test_not_swept(self) -> None:
        """Who waits is not removed as one who never paid; when nobody waits they are."""
        storage = self.broken(b"")
        result = sweep(storage, NOON, NOON + 1)
        self.assertEqual((result.freed, result.removed), (0, 0))
        self.assertEqual(user_ids(storage), sorted(IDS.values()))
        # Half mended it says who stands there.
        self.path.write_bytes(self.whole[:-5])
        self.assertEqual(sweep(storage, NOON, NOON + 1).removed, 2)
        self.assertEqual(user_ids(storage), sorted(IDS[name] for name in "abcd"))
        add_user(storage, a_user(IDS["e"]))
        self.assertEqual(sweep(storage, NOON, NOON + 1).removed, 1)
        storage.close()
        for name in "ef":
            (self.data / "users" / f"{IDS[name]}.json").write_bytes(
                (self.data / "users" / f"{IDS['a']}.json").read_bytes()
            )
        storage = self.broken(b"")
        self.assertEqual(sweep(storage, NOON, NOON + 1).removed, 0)
        self.path.write_bytes(self.whole)
        self.assertEqual(sweep(storage, NOON, NOON + 1).removed, 2)
        self.is_as_before(storage)

    def test_ends(self) -> None:
        """Sessions that ended while the file could not be read end when it can be."""
        storage = self.broken(b"")
        self.assertEqual(sweep(storage, NOON + 700, 0).freed, 1)
        self.path.write_bytes(self.whole)
        self.assertEqual(sweep(storage, NOON + 700, 0).freed, 3)
        self.assertEqual(user_ids(storage), sorted([IDS["e"], IDS["f"]]))

    def test_told(self) -> None:
        """The start says which file, what is wrong and how many wait; and so when that changes."""
        storage = self.broken(self.whole[:-5])
        (said,) = (line for line in self.log if str(self.path) in line)
        self.assertIn("not JSON", said)
        self.assertIn("3 drivers wait for it", said)
        for _ in range(3):
            sweep(storage, NOON, 0)
        self.assertEqual(len([line for line in self.log if str(self.path) in line]), 1)
        self.path.write_bytes(self.whole.replace(b'"max_slots":', b'"max_slots": "many", "x":'))
        sweep(storage, NOON, 0)
        self.assertIn("max_slots must be a whole number", self.log[-1])
        self.path.write_bytes(b"{")
        sweep(storage, NOON, 0)
        self.assertIn("5 drivers wait for it", self.log[-1])
        self.mended(storage)
        self.assertIn(f"{self.path}: can be read again", self.log[-1])

    def test_one_waits(self) -> None:
        """One driver is one driver."""
        record = json.loads(self.whole)
        record["vehicles"] = {IDS["a"]: {"amount": "much"}}
        self.broken(json.dumps(record).encode())
        self.assertIn("1 driver waits for it", self.log[-1])

    def test_nobody_stands(self) -> None:
        """Where the file says that nobody stands there nobody waits."""
        storage = self.broken(b'{"max_slots": "x", "vehicles": {}}')
        for name in "abcef":
            self.goes_on(storage, name)

    def test_mended_otherwise(self) -> None:
        """A file that is put right with other vehicles than it seemed to have is taken as it is."""
        cut = self.whole[: self.whole.index(IDS["b"].encode()) - 10]
        storage = self.broken(cut)
        # Nobody can know of b, who pays later, and of c, who pays with a clock that is slow.
        later = attrs.evolve(self.session("b", 1), paid_timestamp=NOON + 9)
        earlier = attrs.evolve(self.session("c", 2), paid_timestamp=NOON - 9)
        before = {number: available(storage, number) for number in (1, 2)}
        take_slot(storage, later)
        take_slot(storage, earlier)
        self.path.write_bytes(self.whole)
        sweep(storage, NOON, 0)
        for again in (False, True):
            storage = self.make() if again else storage
            self.assertEqual(take_slot(storage, self.session("b", 1, NOON + 999)), later)
            held = take_slot(storage, self.session("c", 9, NOON + 999))
            self.assertEqual(held, self.session("c", 9))
            self.assertEqual(available(storage, 1), before[1] - 1)
            self.assertEqual(available(storage, 2), before[2])
            storage.close()
        said = [line for line in self.log if "the later payment holds" in line]
        self.assertEqual(len(said), 2)
        listed = (self.data / PAYMENTS).read_text()
        for receipt in (f"r-{IDS[name]}-{at}" for name, at in (("b", 9), ("b", 1), ("c", 9))):
            self.assertIn(receipt, listed)

    def test_list_owed(self) -> None:
        """Where the list of payments cannot be written the station waits until it can be."""
        (self.data / PAYMENTS).unlink()
        storage = self.broken(b"")
        (self.data / PAYMENTS).unlink()
        (self.data / PAYMENTS).mkdir()
        self.path.write_bytes(self.whole)
        self.assertRaises(StorageUnavailable, sweep, storage, NOON, 0)
        self.waits(storage, "a")
        (self.data / PAYMENTS).rmdir()
        sweep(storage, NOON, 0)
        self.is_as_before(storage)
        self.assertEqual((self.data / PAYMENTS).read_text().count(f"r-{IDS['a']}-9"), 1)

    def test_without_row(self) -> None:
        """A station that is in no row keeps who stands there waiting as well."""
        self.path.rename(self.path.with_name("station_99.json"))
        self.path = self.path.with_name("station_99.json")
        storage = self.broken(self.whole[:-5])
        self.waits(storage, "a", at=99)
        self.path.write_bytes(self.whole.replace(b'"id": 9', b'"id": 99'))
        sweep(storage, NOON, 0)
        held = take_slot(storage, self.session("a", 99, NOON + 999))
        self.assertEqual(held, attrs.evolve(self.session("a", 9), station_id=99))
        self.assertNotIn(99, [state.station.station_id for state in stations(storage)])

    def test_on_the_wire(self) -> None:
        """Drivers who wait get 503 for what concerns their slot, and answers to all else."""
        storage = self.broken(self.whole[:-5])
        server = MemoryServer(storage)
        user = {"user_id": IDS["a"]}
        place = {"latitude": -12.25, "longitude": -38.95}
        for kind, data, code in (
            ("PAYMENT", {"id_station": 9, "confirmation": True}, 503),
            ("PAYMENT", {"id_station": 1, "confirmation": True}, 503),
            ("PAYMENT", {"id_station": 9, "confirmation": False}, 503),
            ("SELECTION_STATION", {"position": place}, 503),
            ("STATUS", {}, 503),
            ("NAVIGATION", {"route_distance": 5}, 200),
        ):
            reply = server.request(kind, **user, **data)
            self.assertEqual(reply["status"]["code"], code, reply)
        start = server.request("START")["data"]["station_models"]
        self.assertNotIn("9", start)
        self.path.write_bytes(self.whole)
        server.advance(5)
        reply = server.request("PAYMENT", **user, id_station=9, confirmation=True)
        self.assertEqual(reply["data"]["receipt_id"], f"r-{IDS['a']}-9")
        self.assertIn("9", server.request("START")["data"]["station_models"])
        reply = server.request("PAYMENT", **user, id_station=9, confirmation=False)
        self.assertEqual(reply["status"]["code"], 200)


class IdsTests(UnreadCase):
    """Who is found in what is left of a file."""

    def test_cut_anywhere(self) -> None:
        """However short it was cut, nobody who stood there goes on, as far as a cut can tell."""
        for length in range(len(self.whole)):
            found = ids_in(self.whole[:length], IDS.values())
            for name in "abc":
                end = self.whole.index(IDS[name].encode()) + len(IDS[name])
                if found is not None and length >= end:
                    self.assertIn(IDS[name], found)
            self.assertFalse(found and found & {IDS[name] for name in "def"}, length)

    def test_other_text(self) -> None:
        """They are found in other encodings, and where quotes are gone."""
        text = self.whole.decode()
        abc = {IDS[name] for name in "abc"}
        for content in (
            text.encode("utf-16"),
            text.encode("utf-8-sig")[:-5],
            text.replace('"', "'").encode(),
            text.replace('"', "").encode(),
            b"\xff" + self.whole,
            self.whole.replace(b"vehicles", b"vehXcles"),
        ):
            found = ids_in(content, IDS.values())
            self.assertEqual(found, abc, content)

    def test_cut_within(self) -> None:
        """An id of which only the time and a part is left stands for those that begin so."""
        at = self.whole.index(IDS["b"].encode())
        self.assertEqual(ids_in(self.whole[: at + 20], IDS.values()), {IDS["a"], IDS["b"]})
        self.assertEqual(ids_in(self.whole[: at + 5], IDS.values()), {IDS["a"]})

    def test_strangers(self) -> None:
        """Ids of nobody are ids all the same: then it is known who stood there."""
        found = ids_in(self.whole[:-5], ["someone"])
        self.assertEqual(found, {IDS[name] for name in "abc"})

    @settings(max_examples=examples(50), deadline=None, database=None)
    @given(st.binary() | st.text(alphabet='{}[]",:0 \\').map(str.encode))
    def test_any_bytes(self, content: bytes) -> None:
        """Whatever a file holds, it is looked through."""
        ids_in(content, ["a"])
        ids_in(b'{"vehicles":' + content, ["a"])


class UserTests(UnreadCase):
    """A user's file."""

    @contextlib.contextmanager
    def unreadable(self, name: str) -> Iterator[Callable[[], None]]:
        """The file of a user cannot be opened, as where its mode forbids it."""
        read = Path.read_bytes

        def refuse(path: Path) -> bytes:
            if path.name == f"{IDS[name]}.json":
                raise PermissionError(13, "Permission denied", str(path))
            return read(path)

        self.patch(Path, "read_bytes", refuse)
        try:
            yield lambda: self.patch(Path, "read_bytes", read)
        finally:
            self.patch(Path, "read_bytes", read)

    def test_unreadable(self) -> None:
        """A user whose file cannot be read just now is not unknown, and back when it can be."""
        for name, at in (("e", 1), ("a", 9)):
            with self.unreadable(name) as mend:
                storage = self.make()
                for _ in range(2):
                    sweep(storage, NOON, 0)
                    asked = FindUser(IDS[name])
                    self.assertRaises(StorageUnavailable, carry_out, storage, asked)
                    standing = FindStanding(IDS[name])
                    self.assertIsNone(storage.recall(standing))
                    self.assertRaises(StorageUnavailable, carry_out, storage, standing)
                    self.assertRaises(
                        StorageUnavailable, take_slot, storage, self.session(name, at)
                    )
                    self.assertRaises(StorageUnavailable, end_journey, storage, IDS[name])
                mend()
                sweep(storage, NOON, 0)
                self.assertEqual(find_user(storage, IDS[name]), a_user(IDS[name]))
                take_slot(storage, self.session(name, at))
                storage.close()
            self.assertEqual(
                len([line for line in self.log if "its user waits until it can be" in line]), 1
            )
            self.events.clear()

    def test_ends(self) -> None:
        """Its session ends in time, and then the file goes; so does who never paid, once read."""
        with self.unreadable("a") as mend:
            storage = self.make()
            sweep(storage, NOON + 600, 0)
            self.assertFalse((self.data / "users" / f"{IDS['a']}.json").exists())
            self.assertEqual(end_journey(storage, IDS["a"]), UNKNOWN_USER)
            mend()
            sweep(storage, NOON, 0)
            self.assertNotIn(IDS["a"], user_ids(storage))

    def test_with_station(self) -> None:
        """One who may stand at a station that cannot be read waits for that as well."""
        with self.unreadable("a") as mend:
            storage = self.broken(b"")
            mend()
            sweep(storage, NOON, 0)
            self.waits(storage, "a")
            self.mended(storage)

    def test_gone(self) -> None:
        """One whose file was taken away is unknown."""
        with self.unreadable("e") as mend:
            storage = self.make()
            os.unlink(self.data / "users" / f"{IDS['e']}.json")
            mend()
            sweep(storage, NOON, 0)
            self.assertEqual(end_journey(storage, IDS["e"]), UNKNOWN_USER)
