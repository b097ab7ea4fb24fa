"""Sessions, places in line and receipts in a data directory, as people find them there."""

import json
from pathlib import Path
from typing import Any

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
from evcharge.storage import carry_out
from evcharge.storage.files.directory import PAYMENTS
from evcharge.storage.files.store import FileStorage
from evcharge.testing import NOON
from evcharge.utils.ids import uuid7
from tests.storage.test_network_change import with_stations
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
        self.storage = self.open(NOON + 130)
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

    def test_damaged(self) -> None:
        """A damaged place takes its station out of service, and no other."""
        self.storage.close()
        path = self.data / "stations/station_7.json"
        record = json.loads(path.read_bytes())
        record["waiting"][0]["place"] = "first"
        path.write_text(json.dumps(record))
        self.storage = self.open(NOON)
        self.assertNotIn("7", self.storage.records.states)
        self.assertEqual(len(list(self.storage.records.states)), 35)
