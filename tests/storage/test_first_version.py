"""From 0.1 to this version, and back by the copy: with data that 0.1's own server wrote."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage.location import parse
from evcharge.testing import MemoryServer
from tests.support import engines
from tests.support.commands import run
from tests.support.servers import ROOT

engines.share()

WROTE = json.loads((ROOT / "tests" / "data" / "version-0.1.json").read_text())
"""
What it left when it ended: files by their path, or SQL. Ana had paid R$ 28.00 for 109 minutes at
station 7, which charged at 11 kW, and Bia had logged in. Two stations and a car are kept.
"""
NOW = 1795707460.0
"""A minute later."""
MINUTES = 109.090909


class FirstVersionContract:
    """What each storage of that version does."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.copy = self.folder / "copy"
        self.make()

    def make(self) -> None:
        """Write what that version left."""
        raise NotImplementedError

    def url(self, path: Path) -> str:
        """That of the storage at a path."""
        raise NotImplementedError

    def content(self, path: Path) -> Any:
        """All that a storage has, as that version can read it."""
        raise NotImplementedError

    def users(self) -> tuple[str, str]:
        """The ids of Ana and Bia."""
        raise NotImplementedError

    def serve(self, path: Path) -> MemoryServer:
        """Start this version on a storage."""
        storage = parse(self.url(path), "").storage()
        storage.open(NOW)
        self.addCleanup(storage.close)
        return MemoryServer(storage, now=NOW)

    def test_there(self) -> None:
        """Who charges keeps slot, end and price, and gets a receipt; others reserve and pay."""
        ana, bia = self.users()
        server = self.serve(self.data)
        paid = server.request("PAYMENT", user_id=ana, id_station=7, confirmation=True)["data"]
        self.assertEqual((paid["amount"], paid["charge_minutes"]), (28.0, MINUTES))
        status = server.request("STATUS", user_id=ana)["data"]
        self.assertEqual((status["state"], status["receipt_id"]), ("CHARGING", paid["receipt_id"]))
        held = server.request("RESERVE", user_id=bia, id_station=7)["data"]
        self.assertEqual(held["state"], "RESERVED")
        self.assertNotEqual(held["id_evse"], status["id_evse"])
        begun = server.request("ARRIVE", user_id=bia, id_station=7)["data"]
        # 10 kWh at the price of the station, which has no tariff.
        self.assertEqual((begun["state"], begun["amount"]), ("CHARGING", 14.0))
        server.advance(MINUTES * 60)
        told = server.request("RECEIPT", receipt_id=paid["receipt_id"])["data"]
        self.assertEqual((told["final"], told["total"], told["paid"]), (True, 28.0, 28.0))

    def test_back(self) -> None:
        """The copy that this version makes before it opens the data is what 0.1 wrote."""
        before = self.content(self.data)
        status, said, error = run("backup", "--storage", self.url(self.data), str(self.copy))
        self.assertEqual((status, error), (0, ""), said)
        self.assertEqual(self.content(self.data), before)
        ana, _ = self.users()
        self.serve(self.data).request("STOP", user_id=ana)
        self.assertNotEqual(self.content(self.data), before)
        self.assertEqual(self.content(self.copy), before)
        # From where one can go forth again.
        again = self.serve(self.copy).request("STATUS", user_id=ana)["data"]
        self.assertEqual(again["state"], "CHARGING")


class FilesTests(FirstVersionContract, SynchronousTestCase):
    """A data directory."""

    def make(self) -> None:
        self.data = self.folder / "data"
        for name, text in WROTE["files"].items():
            path = self.data / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, newline="")

    def url(self, path: Path) -> str:
        return f"files:{path}"

    def content(self, path: Path) -> dict[str, bytes]:
        return {
            str(each.relative_to(path)): each.read_bytes()
            for each in path.rglob("*")
            if each.is_file() and each.name != ".lock"
        }

    def users(self) -> tuple[str, str]:
        names = {
            json.loads(text)["user_name"]: json.loads(text)["user_id"]
            for name, text in WROTE["files"].items()
            if name.startswith("users/")
        }
        return names["Ana"], names["Bia"]


class SQLiteTests(FirstVersionContract, SynchronousTestCase):
    """An SQLite file of the first version that had it."""

    def make(self) -> None:
        self.data = self.folder / "evcharge.db"
        with closing(sqlite3.connect(self.data)) as database:
            database.executescript("\n".join(WROTE["sqlite"]))

    def url(self, path: Path) -> str:
        return f"sqlite:///{path}"

    def content(self, path: Path) -> list[str]:
        with closing(sqlite3.connect(path)) as database:
            return list(database.iterdump())

    def users(self) -> tuple[str, str]:
        with closing(sqlite3.connect(self.data)) as database:
            names = dict(database.execute("SELECT user_name, user_id FROM users"))
        return names["Ana"], names["Bia"]
