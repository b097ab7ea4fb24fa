"""Sessions, places in line and receipts in a data directory, as people find them there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.receipts import Receipt
from evcharge.models.session import CHARGING, FREE, OFFERED, RESERVED, WAITING, ChargingSession
from evcharge.rules.claims import PAY, RESERVE, Claim
from evcharge.rules.events import WITHDRAWN, Event, PlaceLeft
from evcharge.rules.journey import AddUser, FindStanding
from evcharge.rules.leaving import CANCEL_IT, STOP_AND_LEAVE, Leave
from evcharge.rules.network import ChangeNetwork
from evcharge.rules.operation import Operation
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.receipts import FindReceipt, ListReceipts
from evcharge.rules.sweep import Sweep
from evcharge.storage import StorageUnavailable, carry_out
from evcharge.storage.files.directory import PAYMENTS
from evcharge.storage.files.store import FileStorage
from evcharge.testing import NOON
from evcharge.utils.ids import uuid7
from tests.storage.test_network_change import with_stations
from tests.support.calls import Calls
from tests.support.logged import logged
from tests.support.operations import a_user, available


class SessionFileTests(SynchronousTestCase):
    """A full station, of which one EVSE is reserved, and where one waits."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp())
        self.storage = self.open(NOON)
        self.count = available(self.storage)
        for user_id in ("driver-1", "driver-2", "driver-w"):
            self.do(AddUser(a_user(user_id)))
        self.assertEqual(self.count, 2)
        self.do(Claim("driver-1", "7", uuid7(NOON), NOON, intent=PAY))
        self.do(Claim("driver-2", "7", uuid7(NOON), NOON, intent=RESERVE))
        self.do(Claim("driver-w", "7", uuid7(NOON), NOON, intent=RESERVE, wait=True))

    def open(self, now: float) -> FileStorage:
        storage = FileStorage(self.data)
        storage.open(now)
        self.addCleanup(storage.close)
        return storage

    def again(self, now: float = NOON) -> None:
        self.storage.close()
        self.storage = self.open(now)

    def do(self, operation: Operation[Any]) -> Any:
        return carry_out(self.storage, operation)

    def file(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.data / "stations/station_7.json").read_bytes())
        slots = record["available_slots"] + len(record["vehicles"])
        self.assertEqual(slots, record["max_slots"])
        return record

    def session(self, user_id: str) -> ChargingSession:
        session = self.storage.records.session(user_id)
        assert session is not None, user_id
        return session

    def paid(self) -> list[tuple[str, float, str | None]]:
        lines = map(json.loads, (self.data / PAYMENTS).read_bytes().splitlines())
        return [(each["receipt_id"], each["amount_brl"], each.get("refund_of")) for each in lines]

    def test_opened_again(self) -> None:
        """Sessions and places are the same after a restart, and the file is not written anew."""
        before, record = self.storage.records.slots[7], self.file()
        self.assertEqual(record["vehicles"]["driver-2"]["state"], RESERVED)
        self.assertNotIn("state", record["vehicles"]["driver-1"])
        self.assertEqual([place["user_id"] for place in record["waiting"]], ["driver-w"])
        self.again()
        self.assertEqual(self.storage.records.slots[7], before)
        self.assertEqual(self.file(), record)

    def test_handed_on(self) -> None:
        """What is given up is offered in the same step, and the place in line is gone."""
        receipt = self.do(Leave("driver-2", CANCEL_IT, NOON + 60))
        self.assertEqual(self.file()["vehicles"]["driver-w"]["state"], OFFERED)
        self.assertNotIn("waiting", self.file())
        self.again()
        self.assertEqual(self.session("driver-w").state, OFFERED)
        self.assertEqual(self.do(FindReceipt(receipt.receipt_id)), receipt)

    def test_receipt(self) -> None:
        """A receipt is found after its user is gone; what was paid comes to its total."""
        receipt: Receipt = self.do(Leave("driver-1", STOP_AND_LEAVE, NOON + 120))
        self.again()
        self.assertEqual(self.do(FindReceipt(receipt.receipt_id)), receipt)
        self.assertEqual(list(self.do(ListReceipts("driver-1", 20))), [receipt])
        self.assertEqual(list(self.do(ListReceipts("driver-1", 20, receipt.receipt_id))), [])
        paid = self.paid()
        self.assertEqual([of for _, _, of in paid], [None, receipt.receipt_id])
        self.assertAlmostEqual(sum(amount for _, amount, _ in paid), float(receipt.total))
        self.assertEqual([p.name for p in (self.data / "receipts").iterdir()], ["2025-04-07.jsonl"])

    def test_over_at_opening(self) -> None:
        """A session whose receipt is there is ended at the opening, and what is owed is listed."""
        session = self.file()["vehicles"]["driver-1"]
        receipt = self.do(Leave("driver-1", STOP_AND_LEAVE, NOON + 120))
        self.storage.close()
        # As if nothing but the receipt had been written.
        path = self.data / "stations/station_7.json"
        record = json.loads(path.read_bytes())
        del record["vehicles"]["driver-w"]
        record["vehicles"]["driver-1"] = session
        path.write_text(json.dumps(record))
        lines = (self.data / PAYMENTS).read_bytes().splitlines(keepends=True)
        (self.data / PAYMENTS).write_bytes(lines[0])
        calls = Calls(self, self.data)
        self.storage = self.open(NOON + 130)
        # Whoever wrote the receipt may have been killed before it was on the disk.
        made = list(map(str, calls.made))
        flushed = [made.index(f"fsync receipts{name}") for name in ("/2025-04-07.jsonl", "")]
        self.assertLess(max(flushed), made.index("unlink users/driver-1.json"))
        self.do(Sweep(NOON + 130, 0))
        self.assertNotIn("driver-1", self.file()["vehicles"])
        self.assertEqual([of for _, _, of in self.paid()], [None, receipt.receipt_id])
        lines = (self.data / "receipts/2025-04-07.jsonl").read_bytes().splitlines()
        self.assertEqual(len(lines), 1)

    def test_late(self) -> None:
        """A hold that ran out while no server was there lasts two minutes more."""
        self.again(NOON + 86400)
        self.assertEqual(self.session("driver-2").expires_timestamp, NOON + 86400 + 120)
        self.assertEqual(self.session("driver-1").state, CHARGING)

    def test_status(self) -> None:
        """What was said of an EVSE is known after a restart, and the file counts without it."""
        uid = self.session("driver-2").evse_uid
        self.do(SetEvseStatus(uid, "OUTOFORDER", "cabo cortado", NOON + 60))
        record = self.file()
        self.assertEqual((record["max_slots"], record["total_slots"]), (1, 2))
        self.assertEqual([p["user_id"] for p in record["waiting"]], ["driver-2", "driver-w"])
        self.again()
        self.assertEqual(self.file(), record)
        said = json.loads((self.data / "evse_status.json").read_bytes())
        self.assertEqual(said[uid]["reason"], "cabo cortado")

    def test_two_put_out(self) -> None:
        """Two whose EVSEs went out of service at once have a place each, where that was cut off."""
        self.do(Leave("driver-1", STOP_AND_LEAVE, NOON))
        self.do(Claim("driver-w", "7", uuid7(NOON), NOON, intent=RESERVE))
        uids = [self.session(user_id).evse_uid for user_id in ("driver-2", "driver-w")]
        path = self.data / "stations/station_7.json"
        before = path.read_bytes()
        for uid in uids:
            self.do(SetEvseStatus(uid, "OUTOFORDER", None, NOON + 60))
        self.assertEqual(len({place["place"] for place in self.file()["waiting"]}), 2)
        self.storage.close()
        # As if nothing but what is said of the EVSEs and the receipts had been written.
        path.write_bytes(before)
        self.storage = self.open(NOON + 70)
        self.assertEqual(len({place["place"] for place in self.file()["waiting"]}), 2)

    def test_moved_to_one_not_given_back(self) -> None:
        """Nobody is moved to an EVSE whose vehicle goes in the same batch, where that fails."""
        self.do(Leave("driver-w", CANCEL_IT, NOON))
        left, uid = (self.session(user_id).evse_uid for user_id in ("driver-1", "driver-2"))
        # Where no receipt can be written.
        (self.data / "receipts").touch()
        results = self.storage.execute(
            [
                Leave("driver-1", STOP_AND_LEAVE, NOON + 60),
                SetEvseStatus(uid, "OUTOFORDER", None, NOON + 60),
            ]
        )
        self.assertEqual([type(result) for result in results], [StorageUnavailable] * 2)
        self.assertEqual(self.session("driver-2").evse_uid, uid)
        (self.data / "receipts").unlink()
        self.do(Leave("driver-1", STOP_AND_LEAVE, NOON + 60))
        self.do(Sweep(NOON + 60, 0))
        self.assertEqual([v["evse"] for v in self.file()["vehicles"].values()], [left])
        self.again()
        self.assertEqual(self.session("driver-2").evse_uid, left)

    def test_station_gone(self) -> None:
        """Who waits at a station that leaves the network waits no more, and others hear of it."""
        heard: list[Event] = []
        self.storage.listeners.append(lambda events: heard.extend(events))
        self.do(ChangeNetwork(with_stations(gone=(7,)), NOON + 60))
        for _ in range(2):
            self.assertNotIn("waiting", self.file())
            self.assertEqual({*self.file()["vehicles"]}, {"driver-1", "driver-2"})
            self.assertEqual(self.do(FindStanding("driver-w")).state, FREE)
            self.again()
        (left,) = [event for event in heard if isinstance(event, PlaceLeft)]
        self.assertEqual((left.place.user_id, left.why), ("driver-w", WITHDRAWN))
        receipt = self.do(Leave("driver-1", STOP_AND_LEAVE, NOON + 120))
        self.do(Leave("driver-2", CANCEL_IT, NOON + 120))
        self.again()
        self.assertFalse((self.data / "stations/station_7.json").exists())
        self.assertEqual(self.do(FindReceipt(receipt.receipt_id)), receipt)

    def test_empty_station_gone(self) -> None:
        """Of a station that leaves the network and has nothing but a line there is no file."""
        there = self.storage.records.states.get("8")
        assert there is not None
        (uid,) = [evse.uid for evse in there.station.evses]
        self.do(AddUser(a_user("driver-x")))
        self.do(SetEvseStatus(uid, "OUTOFORDER", None, NOON))
        self.do(Claim("driver-x", "8", uuid7(NOON), NOON, intent=RESERVE, wait=True))
        self.assertEqual(self.do(FindStanding("driver-x")).state, WAITING)
        self.do(ChangeNetwork(with_stations(gone=(8,)), NOON + 60))
        for _ in range(2):
            self.assertFalse((self.data / "stations/station_8.json").exists())
            self.assertEqual(self.do(FindStanding("driver-x")).state, FREE)
            self.again()

    def changed(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Close, and open again when the station's file has been changed by hand."""
        self.storage.close()
        path = self.data / "stations/station_7.json"
        record = json.loads(path.read_bytes())
        change(record)
        path.write_text(json.dumps(record))
        self.events = logged(self)
        self.storage = self.open(NOON)

    def out_of_service(self, *said: str) -> None:
        """Only station 7 is, for which the log has a reason; who is there waits."""
        states = self.storage.records.states
        self.assertEqual((states.get("7"), len(list(states))), (None, 35))
        log = [formatEvent(event) for event in self.events]
        self.assertTrue(any(all(each in line for each in said) for line in log), log)
        for user_id in ("driver-1", "driver-2", "driver-w"):
            asked = Claim(user_id, "8", uuid7(NOON), NOON, intent=RESERVE)
            self.assertRaises(StorageUnavailable, self.do, asked)

    def test_damaged(self) -> None:
        """A damaged vehicle or place takes its station out of service, and no other."""
        right = self.file()

        def put_right(record: dict[str, Any]) -> None:
            record.update(right)

        for name, wrong, change in (
            ("waiting …-w", "place", lambda r: r["waiting"][0].update(place="first")),
            ("waiting …-w", "joined", lambda r: r["waiting"][0].update(joined_timestamp="x")),
            ("waiting", "two places", lambda r: r["waiting"].append(r["waiting"][0])),
            ("vehicle …-2", "state", lambda r: r["vehicles"]["driver-2"].update(state="?")),
            ("vehicle …-1", "profile", lambda r: r["vehicles"]["driver-1"].update(profile=3)),
        ):
            self.changed(change)
            self.out_of_service("station_7.json", name, wrong)
            self.changed(put_right)
            self.assertEqual(self.file(), right)
            self.assertEqual(len(list(self.storage.records.states)), 36)

    def test_user_not_read(self) -> None:
        """Who waits in line, but whose file cannot be read now, keeps the place until it can be."""
        right, read = self.file(), Path.read_bytes

        def refuse(path: Path) -> bytes:
            if path.name == "driver-w.json":
                raise PermissionError(13, "Permission denied", str(path))
            return read(path)

        self.patch(Path, "read_bytes", refuse)
        self.changed(lambda record: None)
        self.out_of_service("station_7.json", "waiting …-w", "its user cannot be read")
        self.patch(Path, "read_bytes", read)
        self.assertEqual(self.file(), right)
        self.do(Sweep(NOON, 0))
        self.assertEqual(self.storage.records.lines, {"driver-w": 7})
        self.assertEqual(self.file(), right)

    def test_late_when_read(self) -> None:
        """A hold that ran out while its station could not be read lasts two minutes more."""
        right = self.file()
        self.changed(lambda record: record.update(vehicles=3))
        path = self.data / "stations/station_7.json"
        path.write_text(json.dumps(right))
        self.do(Sweep(NOON + 86400, 0))
        self.assertEqual(self.session("driver-2").expires_timestamp, NOON + 86400 + 120)

    def test_damaged_receipt(self) -> None:
        """A damaged receipt costs the station whose session it may end, or nothing but itself."""
        session = self.session("driver-1")
        day = self.data / "receipts/2025-04-07.jsonl"
        day.parent.mkdir()
        line = json.dumps({"receipt_id": session.receipt_id, "total": "much"}) + "\n"
        day.write_text(line)
        self.changed(lambda record: None)
        self.out_of_service("station_7.json", f"{day}: line 1: driver_id must be text")
        self.assertRaises(StorageUnavailable, self.do, FindReceipt(session.receipt_id))
        day.write_text(line.replace(session.receipt_id, "another"))
        self.do(Sweep(NOON, 0))
        self.assertEqual(self.session("driver-1"), session)
        receipt: Receipt = self.do(Leave("driver-1", STOP_AND_LEAVE, NOON + 120))
        self.changed(lambda record: None)
        log = [formatEvent(event) for event in self.events]
        self.assertEqual(
            [e for e in log if "left out" in e],
            [f"{day}: line 1: driver_id must be text; this receipt is left out"],
        )
        day.write_text(day.read_text() + '{"driver_id": "driver-1"}\n')
        self.assertEqual(list(self.do(ListReceipts("driver-1", 20))), [receipt])

    def test_receipts_not_read(self) -> None:
        """Where the receipts of a day cannot be read now, who may have one waits until then."""
        day = self.data / "receipts/2025-04-07.jsonl"
        day.mkdir(parents=True)
        self.changed(lambda record: None)
        self.out_of_service("station_7.json", f"{day}: cannot be read")
        day.rmdir()
        self.do(Sweep(NOON, 0))
        self.assertEqual(len(list(self.storage.records.states)), 36)

    def test_found_over_later(self) -> None:
        """A session that is over is so too when its station can be read only later."""
        right = self.file()
        receipt = self.do(Leave("driver-1", STOP_AND_LEAVE, NOON + 120))
        self.changed(lambda record: record.update(vehicles=3))
        path = self.data / "stations/station_7.json"
        path.write_text(json.dumps(right))
        self.do(Sweep(NOON + 120, 0))
        self.do(Sweep(NOON + 120, 0))
        self.assertNotIn("driver-1", self.file()["vehicles"])
        self.assertEqual(self.do(FindReceipt(receipt.receipt_id)), receipt)
        self.assertEqual(
            len((self.data / "receipts/2025-04-07.jsonl").read_bytes().splitlines()), 1
        )
