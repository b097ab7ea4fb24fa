"""Copies of a data directory, in which there is every kind of record, in every state."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets.files import CARS, EVSES, STATIONS, TARIFFS
from evcharge.models.session import LIVE
from evcharge.outcomes import Refusal
from evcharge.rules.claims import ARRIVE, PAY, RESERVE, Claim, Wishes
from evcharge.rules.journey import AddUser
from evcharge.rules.leaving import CANCEL_IT, STOP_AND_LEAVE, STOP_IT, Leave
from evcharge.rules.operation import Operation
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.sweep import Sweep
from evcharge.storage import StorageError, carry_out
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.testing import NOON
from evcharge.utils.ids import uuid7
from tests.support import postgres
from tests.support.calls import Calls
from tests.support.operations import a_user

MINUTE_S = 60.0


def fill(data: Path) -> None:
    """Have drivers in every state, and receipts of every end."""
    storage = FileStorage(data)
    storage.open(NOON - 7 * 86400)

    def do(operation: Operation[Any]) -> Any:
        result = carry_out(storage, operation)
        assert not isinstance(result, (Refusal, StorageError)), result
        return result

    def claim(user_id: str, intent: str, at: float = NOON, **more: Any) -> None:
        user = attrs.evolve(a_user(user_id), target_percent=90.0, driver_id=f"d-{user_id}")
        do(AddUser(user))
        do(Claim(user_id, "7", uuid7(at), at, intent=intent, **more))

    # Station 7 has two EVSEs.
    earlier = NOON - 6 * 86400
    claim("missed", RESERVE, earlier)
    do(Sweep(earlier + 86400, 0.0))
    claim("refunded", PAY, NOON - 3600)
    do(Leave("refunded", STOP_AND_LEAVE, NOON - 3600 + MINUTE_S))
    claim("cancelled", RESERVE, NOON - 1800, wishes=Wishes(arrival_minutes=5.0))
    do(Leave("cancelled", CANCEL_IT, NOON - 1800 + MINUTE_S))
    claim("finished", ARRIVE)
    claim("left", RESERVE)
    claim("offered", RESERVE, wait=True)
    claim("second", RESERVE, wait=True, wishes=Wishes(arrival_minutes=3.5, target_percent=70.0))
    claim("third", RESERVE, NOON + 1, wait=True)
    do(Leave("finished", STOP_IT, NOON + MINUTE_S))
    do(Leave("left", CANCEL_IT, NOON + MINUTE_S))
    for user_id, intent, station_id in (
        ("reserved", RESERVE, "8"),
        ("paid", PAY, "9"),
        ("charging", ARRIVE, "10"),
        ("free", None, ""),
    ):
        do(AddUser(a_user(user_id)))
        if intent is not None:
            do(Claim(user_id, station_id, uuid7(NOON), NOON, intent=intent))
    do(SetEvseStatus("10-4", "OUTOFORDER", "cabo cortado", NOON))
    storage.close()


def lines_of(folder: Path) -> dict[str, list[bytes]]:
    """
    The lines of each file, in one order; of JSON, without the comma that is between two. Not those
    of the network, where an operator may have written a figure otherwise.
    """
    return {
        str(path.relative_to(folder)): sorted(
            line.rstrip(b",") for line in path.read_bytes().splitlines()
        )
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", CARS, STATIONS, EVSES, TARIFFS)
    }


def changed(before: dict[str, list[bytes]], after: dict[str, list[bytes]]) -> list[Any]:
    """What is in one and not in the other, each with the name of the file."""
    pairs = [
        {(name, line) for name, lines in each.items() for line in lines} for each in (before, after)
    ]
    counts = [{name: len(lines) for name, lines in each.items()} for each in (before, after)]
    return sorted(pairs[0] ^ pairs[1]) or sorted(counts[0].items() ^ counts[1].items())


class DirectoryCopyTests(SynchronousTestCase):
    """What a directory has, and what its copies have."""

    maxDiff = None

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.data = self.folder / "data"
        fill(self.data)

    def copy(self, source: str, target: str) -> list[str]:
        """Copy one storage to another: what is said of it."""
        with parse(source, "").storage().read_contents(NOON + 2 * MINUTE_S) as contents:
            ticks: list[str] = []
            parse(target, "").storage().write_contents(contents.counted(ticks.append))
            # Of payments that are not listed yet it does not know.
            self.assertIn(len(ticks) - contents.count, (0, 1))
            return list(contents.remarks)

    def at(self, name: str) -> str:
        return f"files:{self.folder / name}"

    def sqlite(self, name: str) -> str:
        return f"sqlite:///{self.folder / name}"

    def rows(self, url: str) -> list[Any]:
        """All that a database has, in one order."""
        with parse(url, "").storage().read_contents(NOON) as contents:
            records = (contents.users, contents.sessions, contents.receipts, contents.payments)
            return [
                *(sorted(each, key=repr) for each in records),
                [attrs.astuple(place, recurse=False)[1:] for place in contents.waiting],
                contents.statuses,
                contents.stations,
            ]

    def test_every_record(self) -> None:
        """The directory has every state of a session, a line, and receipts of every end."""
        with parse(self.at("data"), "").storage().read_contents(NOON) as contents:
            users = {user.user_id: user.driver_id for user in contents.users}
            self.assertEqual(users["second"], "d-second")
            states = {session.state: session for session in contents.sessions}
            self.assertEqual({*states}, {*LIVE})
            self.assertTrue(all(each.tariff is not None for each in states.values()))
            ends = {receipt.body["end_reason"] for receipt in contents.receipts}
            self.assertEqual(ends, {"expired", "stopped", "cancelled"})
            self.assertTrue(any(payment.refund_of for payment in contents.payments))
            self.assertEqual([place.user_id for place in contents.waiting], ["second", "third"])
            self.assertEqual(contents.statuses["10-4"].reason, "cabo cortado")

    def test_same_bytes(self) -> None:
        """Through databases and back each file has the same lines, and opens as it is."""
        server = postgres.shared()
        urls = [self.at("data"), self.at("a"), self.sqlite("a.db"),
                server.url(server.create_database()), self.at("b")]  # fmt: skip
        before = lines_of(self.data)
        for source, target in pairwise(urls):
            self.assertEqual(self.copy(source, target), [])
        for name in ("a", "b"):
            self.assertEqual(changed(before, lines_of(self.folder / name)), [])
            storage = FileStorage(self.folder / name)
            storage.open(NOON + 2 * MINUTE_S)
            storage.close()
            self.assertEqual(changed(before, lines_of(self.folder / name)), [])
        for line in ("receipts", "tariffs_used"):
            self.assertEqual((self.folder / "b" / line).stat().st_mode & 0o777, 0o700)

    def test_same_rows(self) -> None:
        """From a database to files, and to a database again, everything is the same."""
        self.copy(self.at("data"), self.sqlite("a.db"))
        self.copy(self.sqlite("a.db"), self.at("a"))
        self.copy(self.at("a"), self.sqlite("b.db"))
        before = self.rows(self.sqlite("a.db"))
        self.assertTrue(all(before))
        self.assertEqual(self.rows(self.sqlite("b.db")), before)

    def test_foreign(self) -> None:
        """What is no file of evcharge's is named, as it is not copied."""
        others = [self.data / "receipts/notes.txt", self.data / "tariffs_used/old.bak"]
        for path in others:
            path.write_text("x")
        remarks = self.copy(self.at("data"), self.at("a"))
        self.assertEqual(remarks, [f"{path}: is not copied" for path in others])

    def test_damaged(self) -> None:
        """All that is damaged is named at once, and nothing is copied."""
        (receipts,) = (self.data / "receipts").glob("2025-04-07.jsonl")
        lines = receipts.read_bytes().splitlines(keepends=True)
        standing = json.loads((self.data / "stations/station_9.json").read_bytes())["vehicles"]
        half = json.dumps({"receipt_id": standing["paid"]["receipt_id"]}).encode() + b"\n"
        receipts.write_bytes(b"".join([b"{}\n", half, *lines]))
        (self.data / "evse_status.json").write_text('{"10-4": {"status": "BROKEN"}}')
        path = self.data / "stations/station_7.json"
        record = json.loads(path.read_bytes())
        record["waiting"][0]["place"] = "first"
        path.write_text(json.dumps(record))
        (self.data / "users/free.json").write_text("{")
        with self.assertRaises(StorageError) as caught:
            self.copy(self.at("data"), self.at("a"))
        said = str(caught.exception)
        for words in (
            f"{receipts}: line 1: receipt_id must be text",
            f"{receipts}: line 2: driver_id must be text",
            'evse_status.json: "10-4": status must be one of',
            "station_7.json: cannot be used: waiting …nd: place must be a whole number",
            "free.json: not JSON",
        ):
            self.assertIn(words, said)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["data"])

    def test_places_twice(self) -> None:
        """Who waits at two stations, or has a session too, has one of them in the copy."""
        seven, eight = (self.data / f"stations/station_{number}.json" for number in (7, 8))
        places = json.loads(seven.read_bytes())["waiting"]
        record = json.loads(eight.read_bytes())
        second = {**places[0], "joined_timestamp": NOON + 5}
        record["waiting"] = [second, {**places[0], "user_id": "charging", "place": 2}]
        eight.write_text(json.dumps(record))
        remarks = self.copy(self.at("data"), self.sqlite("a.db"))
        self.assertEqual(remarks, ["user …nd waits at station 7 no more",
                                   "user …ng waits at station 8 no more"])  # fmt: skip
        self.copy(self.sqlite("a.db"), self.at("a"))
        there = json.loads((self.folder / "a/stations/station_8.json").read_bytes())
        self.assertEqual(there["waiting"], [second])

    def test_flushed(self) -> None:
        """Where a receipt, a tariff or their folder is not on the disk for good, nothing is."""
        calls = Calls(self, self.folder)
        for what in ("receipts", "receipts/2025-04-07.jsonl", "tariffs_used", "evse_status.json"):
            calls.clear()
            calls.fail_where(lambda call, what=what: str(call) == f"fsync .a.copying/{what}")
            self.assertRaises(StorageError, self.copy, self.at("data"), self.at("a"))
            self.assertEqual([path.name for path in self.folder.iterdir()], ["data"], what)
        calls.clear()
        self.copy(self.at("data"), self.at("a"))
