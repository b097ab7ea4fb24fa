"""The soak itself: a short one adds up, and its audit finds what does not."""

import json
import subprocess
import sys
import time
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak import Account, Book, audit, read
from evcharge.bootstrap import make_users
from evcharge.storage.urls import parse
from tests.test_server import ROOT


class RunTests(SynchronousTestCase):
    """The program."""

    def soak(self, *options: str) -> str:
        done = subprocess.run(
            [sys.executable, "benchmarks/soak.py", *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_short(self) -> None:
        """A short run with kills adds up."""
        out = self.soak("--seconds", "9", "--connections", "40", "--kill-every", "2")
        self.assertIn("server ended by", out)
        self.assertIn("all adds up", out)


class AuditTests(SynchronousTestCase):
    """What is wrong with a storage is found."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp())
        self.now = time.time()
        storage = parse("files", str(self.data)).storage()
        storage.open(self.now)
        make_users(storage, 30, 7, self.now)
        storage.close()
        self.book = Book()
        _, users, sessions, _ = read("files", self.data)
        self.assertGreater(len(sessions), 5)
        for user in users:
            self.book.users[user.user_id] = Account(user.user_name, self.now)
        for session in sessions:
            account = self.book.users[session.user_id]
            account.stage, account.station = "charging", str(session.station_id)
            account.receipt, account.amount = session.receipt_id, float(session.amount)
            account.ends = session.estimated_timestamp
        self.session = sessions[0]
        self.station = self.data / "stations" / f"station_{self.session.station_id}.json"

    def findings(self, now: float | None = None) -> str:
        audit(self.book, "files", self.data, self.now if now is None else now)
        return "\n".join(self.book.findings)

    def test_right(self) -> None:
        """Where nothing is wrong nothing is found."""
        self.assertEqual(self.findings(), "")

    def test_slot_given_back(self) -> None:
        """A slot that was given back though it was paid for."""
        station = json.loads(self.station.read_text())
        del station["vehicles"][self.session.user_id]
        station["available_slots"] += 1
        self.station.write_text(json.dumps(station))
        self.assertIn("is charging, and holds None", self.findings())

    def test_slot_lost(self) -> None:
        """A slot that nobody has."""
        station = json.loads(self.station.read_text())
        station["available_slots"] -= 1
        self.station.write_text(json.dumps(station))
        self.assertIn("does not add up", self.findings())

    def test_payments(self) -> None:
        """A payment that is listed twice, or not at all, or that nobody was told of."""
        path = self.data / "payments.jsonl"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines, lines[0]]) + "\n")
        self.assertIn("is listed 2 times", self.findings())
        other = {**json.loads(lines[0]), "receipt_id": "00000000-0000-4000-8000-000000000000"}
        path.write_text("\n".join([*lines, json.dumps(other)]) + "\n")
        self.book.findings.clear()
        self.assertIn("1 payments nobody was told of", self.findings())
        # Those who still stand are listed anew, so it has to be one who does not.
        account = self.book.users[self.session.user_id]
        self.book.users["gone"] = attrs.evolve(account, receipt="lost", ends=0.0)
        self.book.findings.clear()
        self.assertIn("has paid, and the payment is not listed", self.findings())

    def test_users(self) -> None:
        """A user who is gone, one nobody knows of, one who has left, one who stays for ever."""
        path = next(
            p for p in (self.data / "users").iterdir() if self.session.user_id not in p.name
        )
        user_id = path.stem
        kept = path.read_text()
        account = self.book.users[user_id]
        waits = account.stage == "waiting"
        path.unlink()
        self.assertIn("is not there" if waits else "is charging, and holds", self.findings())
        path.write_text(kept)
        self.book.findings.clear()
        del self.book.users[user_id]
        self.assertIn("users nobody knows of", self.findings())
        self.book.users[user_id] = account
        account.stage = "left"
        self.book.findings.clear()
        self.assertIn("has left, and is there", self.findings())
        self.assertIn("has charged, and is there", self.findings(self.now + 1e6))
