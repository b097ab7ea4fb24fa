"""`evcharge backup`: a copy that opens, and has all that was answered, while the server runs."""

import errno
import os
import re
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage import StorageError
from evcharge.storage.backup import back_up_directory, back_up_sqlite
from evcharge.storage.files.store import PAYMENTS, FileStorage
from evcharge.storage.location import parse
from evcharge.testing import NOON
from tests.support import postgres
from tests.support.calls import Calls
from tests.support.commands import run
from tests.support.operations import a_session, a_user, add_user, end_journey, sweep, take_slot
from tests.support.servers import LOGIN, ROOT, Client, Server, ServerTestCase
from tests.support.transcripts import replay, shell
from tests.support.waiting import until


def receipts(url: str) -> set[str]:
    """The payments in a storage, which is opened as a server would, and closed again."""
    storage = parse(url, "").storage()
    storage.open(time.time())
    storage.close()
    with storage.read_contents(time.time()) as contents:
        return {payment.receipt_id for payment in contents.payments}


def owed(url: str) -> dict[str, Decimal]:
    """By what the payments of a storage miss the total of each receipt in it, where they do."""
    with parse(url, "").storage().read_contents(time.time()) as contents:
        missing = {receipt.receipt_id: receipt.total for receipt in contents.receipts}
        assert missing
        for payment in contents.payments:
            receipt_id = payment.refund_of or payment.receipt_id
            if receipt_id in missing:
                missing[receipt_id] -= payment.amount
    return {receipt_id: amount for receipt_id, amount in missing.items() if amount}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class RunningServerTests(ServerTestCase):
    """Drivers pay, charge and leave while the copy is made."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.answered: list[str] = []
        """The receipts of the payments that were answered, in order."""
        self.stopped = threading.Event()

    def drive(self, server: Server, station: int, leaves: bool) -> None:
        """Pay again and again until the test ends; some leave before their time is up."""
        client = Client(server.port)
        while not self.stopped.is_set():
            user = client.request("LOGIN", **LOGIN)["data"]["user_id"]
            paid = client.request("PAYMENT", user_id=user, id_station=station, confirmation=True)
            if "receipt_id" in paid["data"]:
                self.answered.append(paid["data"]["receipt_id"])
            if leaves:
                client.request("PAYMENT", user_id=user, id_station=station, confirmation=False)
        client.close()

    def under_load(self, storage: str, copy: str) -> None:
        """Make copies of a storage that is written to, and open them."""
        options = ("--storage", storage, "--time-scale", "100000", "--sweep-interval", "0.05")
        server = self.start(self.folder / "data", *options).wait()
        threads = [
            threading.Thread(target=self.drive, args=(server, station, station % 2 == 0))
            for station in (1, 2, 3)
        ]
        for thread in threads:
            thread.start()
        try:
            until(lambda: len(self.answered) > 20, "payments", log=server.log)
            for number in range(3):
                before = set(self.answered)
                target = self.folder / f"copy{number}"
                status, out, _ = run("backup", "--storage", storage, str(target))
                self.assertEqual(status, 0)
                self.assertIn(f"{target}: a copy of ", out)
                self.assertEqual(before - receipts(f"{copy}{target}"), set())
                self.assertEqual(owed(f"{copy}{target}"), {})
                count = len(self.answered)
                until(lambda count=count: len(self.answered) > count + 10, "more payments")
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()
        self.assertEqual(server.end(), -15)
        # The server lost nothing by it, either.
        self.assertEqual(set(self.answered) - receipts(storage), set())
        self.assertEqual(owed(storage), {})

    def test_sqlite(self) -> None:
        """Of an SQLite file."""
        self.under_load(f"sqlite:///{self.folder}/a.db", "sqlite:///")

    def test_files(self) -> None:
        """Of a data directory."""
        self.under_load(f"files:{self.folder / 'data'}", "files:")


class BackupCase(SynchronousTestCase):
    """Has a folder, with a storage of either kind in it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.data, self.database = self.folder / "data", self.folder / "a.db"
        for url in (f"files:{self.data}", f"sqlite:///{self.database}"):
            storage = parse(url, "").storage()
            storage.open(NOON)
            for number in range(5):
                add_user(storage, a_user(f"u{number}"))
                take_slot(storage, a_session(f"u{number}", station=1 + number % 2, end=NOON + 60))
            storage.close()
        self.target = self.folder / "new" / "copy"

    def refused(self, *words: str, source: str, target: str | None = None, status: int = 1) -> None:
        """The command says so in a line, and leaves nothing."""
        before = tree(self.folder)
        found, out, err = run("backup", "--storage", source, target or str(self.target))
        self.assertEqual((found, out), (status, ""), err)
        for word in words:
            self.assertIn(word, err)
        self.assertEqual(err.count("\n"), 1)
        self.assertEqual(tree(self.folder), before)
        self.assertEqual(list(self.folder.rglob(".*.copying")), [])


class CopyTests(BackupCase):
    """What is in a copy, and what happens where there is none."""

    def test_directory(self) -> None:
        """A directory is copied for its owner alone, without its lock and what is half-written."""
        (self.data / "users" / "u9.json.tmp").write_text("{")
        (self.data / "mine.txt").write_text("x")
        self.data.chmod(0o755)
        self.assertEqual(
            run("backup", "--storage", f"files:{self.data}", str(self.target))[::2], (0, "")
        )
        expected = tree(self.data)
        del expected[".lock"], expected["users/u9.json.tmp"]
        self.assertEqual(tree(self.target), expected)
        for path in (self.target, *self.target.rglob("*")):
            wanted = 0o700 if path.is_dir() else 0o600
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), wanted, path)
        self.assertEqual(receipts(f"files:{self.target}"), receipts(f"files:{self.data}"))

    def test_file(self) -> None:
        """An SQLite file is copied for its owner alone, with what only its WAL has."""
        reader = sqlite3.connect(self.database)
        self.addCleanup(reader.close)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM users").fetchall()
        storage = parse(f"sqlite:///{self.database}", "").storage()
        storage.open(NOON)
        self.addCleanup(storage.close)
        add_user(storage, a_user("u9"))
        take_slot(storage, a_session("u9", station=3))
        self.database.chmod(0o644)
        self.assertEqual(
            run("backup", "--storage", f"sqlite:///{self.database}", str(self.target))[::2],
            (0, ""),
        )
        self.assertEqual(stat.S_IMODE(self.target.stat().st_mode), 0o600)
        self.assertEqual(list(self.target.parent.iterdir()), [self.target])
        self.assertEqual(len(receipts(f"sqlite:///{self.target}")), 6)

    def test_left_out(self) -> None:
        """A folder that is no part of a data directory is named, as it is not copied."""
        (self.data / "older" / "users").mkdir(parents=True)
        status, _, err = run("backup", "--storage", f"files:{self.data}", str(self.target))
        self.assertEqual(status, 0)
        self.assertEqual(err, f"evcharge: {self.data / 'older'}: is not copied\n")

    def test_refused(self) -> None:
        """What cannot be copied, or not to there, is said in a line that names it."""
        files, sqlite = f"files:{self.data}", f"sqlite:///{self.database}"
        for source in (files, sqlite):
            self.refused(f"{self.database}: is there already", source=source,
                         target=str(self.database))  # fmt: skip
            self.refused("TARGET is the path", source=source, target="sqlite:///x.db", status=2)
        self.refused("data/in/it: is in the directory", source=files,
                     target=str(self.data / "in" / "it"))  # fmt: skip
        self.refused("none: No such file or directory", source=f"files:{self.folder / 'none'}")
        self.refused("none: No such file or directory", source=f"sqlite:///{self.folder / 'none'}")
        (self.folder / "empty").mkdir()
        self.refused("car_models.json: No such file", source=f"files:{self.folder / 'empty'}")
        shutil.copy(self.database, self.folder / "other.db")
        other = sqlite3.connect(self.folder / "other.db")
        other.execute("DROP TABLE alembic_version")
        other.close()
        self.refused("has no tables of evcharge", source=f"sqlite:///{self.folder / 'other.db'}")
        (self.folder / "text.db").write_text("no database at all\n" * 100)
        self.refused("text.db", "not a database", source=f"sqlite:///{self.folder / 'text.db'}")

    def test_postgresql(self) -> None:
        """PostgreSQL is left to its own program, which is named, without a password."""
        url = postgres.shared().url("a")
        self.refused("pg_dump", "postgres:***@", source=url)

    def test_damaged_database(self) -> None:
        """A database that is damaged is not taken for a good copy."""
        content = bytearray(self.database.read_bytes())
        name = content.index(b"Tesla")
        page = name // 4096 * 4096
        content[page : page + 8] = b"\xff" * 8
        self.database.write_bytes(content)
        self.refused("a.db: is damaged", source=f"sqlite:///{self.database}")

    def test_on_the_disk(self) -> None:
        """All of a copy is flushed before it takes its place, and its place afterwards."""
        for url, copied in ((f"files:{self.data}", "payments.jsonl"),
                            (f"sqlite:///{self.database}", "")):  # fmt: skip
            calls = Calls(self, self.folder)
            target = self.folder / url.partition(":")[0]
            self.assertEqual(run("backup", "--storage", url, str(target))[0], 0)
            made = [re.sub(r"\.\w+\.[^/]*copying/", "", str(call)) for call in calls.made]
            renamed = made.index(f"rename {target.name}")
            flushed = made.index(f"fsync {Path(target.name, copied)}")
            self.assertLess(flushed, renamed)
            self.assertGreater(len(made) - made[::-1].index("fsync ."), renamed)

    def test_disk_full(self) -> None:
        """Where there is no room nothing is left, and no half a copy."""
        for url in (f"files:{self.data}", f"sqlite:///{self.database}"):
            calls = Calls(self, self.target.parent)
            calls.fail(0, "before", errno.ENOSPC)
            self.refused("No space left on device", source=url)
            calls.clear()


class RoundsTests(BackupCase):
    """A directory is copied until it has not changed meanwhile."""

    def setUp(self) -> None:
        super().setUp()
        self.storage = FileStorage(self.data)
        self.storage.open(NOON)
        self.addCleanup(self.storage.close)
        self.rounds = 0

    def each_round(self, do: Callable[[int], Any]) -> None:
        """Have `do` be done at the end of each round, which is numbered from 1."""
        look = os.stat

        def looked(path: Any, *args: Any, **more: Any) -> os.stat_result:
            found = look(path, *args, **more)
            if path == self.data / PAYMENTS:
                self.rounds += 1
                do(self.rounds)
            return found

        self.patch(os, "stat", looked)

    def test_settles(self) -> None:
        """What changes during a round, comes or goes is made up for in the next."""

        def change(number: int) -> None:
            if number == 1:
                add_user(self.storage, a_user("new"))
                take_slot(self.storage, a_session("new", station=9))
                end_journey(self.storage, "u1")
            if number == 2:
                sweep(self.storage, NOON + 120, 0)

        self.each_round(change)
        made = back_up_directory(self.data, self.target)
        self.assertEqual((made.changed, self.rounds), (0, 4))
        expected = tree(self.data)
        del expected[".lock"]
        self.assertEqual(tree(self.target), expected)
        self.assertEqual(made.files, len(expected))

    def test_never_settles(self) -> None:
        """Where it goes on changing the copy is made all the same, and the person told so."""
        self.each_round(lambda number: add_user(self.storage, a_user(f"new{number}")))
        status, out, err = run("backup", "--storage", f"files:{self.data}", str(self.target))
        self.assertEqual(status, 0)
        self.assertIn(f"{self.target}: a copy", out)
        self.assertIn("changes faster than it can be copied", err)
        self.assertEqual(self.rounds, 50)
        self.assertEqual(len(receipts(f"files:{self.target}")), 5)

    def test_payment_that_ends(self) -> None:
        """A payment whose slot is freed while the files are read is in the copy, in one round."""
        self.storage.close()
        listed = (self.data / PAYMENTS).read_bytes()
        # The disk did not let it be listed before.
        (self.data / PAYMENTS).write_bytes(b"")
        station = self.data / "stations" / "station_1.json"
        look = os.stat

        def looked(path: Any, *args: Any, **more: Any) -> os.stat_result:
            if path == station:
                # Listed, then ended.
                (self.data / PAYMENTS).write_bytes(listed)
                station.write_text('{"id": 1, "max_slots": 8, "vehicles": {}}')
            return look(path, *args, **more)

        self.patch(os, "stat", looked)
        back_up_directory(self.data, self.target, rounds=1)
        self.assertIn("r-u0-1", receipts(f"files:{self.target}"))

    def test_interrupted(self) -> None:
        """Who presses Ctrl-C finds nothing half-made."""

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        self.each_round(interrupt)
        with self.assertRaises(KeyboardInterrupt):
            back_up_directory(self.data, self.target)
        with self.assertRaises(KeyboardInterrupt):
            back_up_sqlite(self.database, self.target, interrupt)
        self.assertEqual(list(self.target.parent.iterdir()), [])

    def test_another_was_quicker(self) -> None:
        """What has appeared at the target meanwhile stays, and there is no copy."""
        self.each_round(lambda _: self.target.write_text("other"))
        with self.assertRaisesRegex(StorageError, "is there already"):
            back_up_directory(self.data, self.target)
        self.assertEqual(list(self.target.parent.iterdir()), [self.target])
        self.assertEqual(self.target.read_text(), "other")


class PageTests(SynchronousTestCase):
    """The page about it."""

    def test_transcript(self) -> None:
        """The commands on the page say what it says that they do."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        shell(folder, "evcharge bootstrap --users 0")
        shell(folder, "evcharge bootstrap --storage sqlite:///evcharge.db --users 0")
        self.assertEqual(replay(self, ROOT / "docs" / "operation" / "backup.md", folder), 2)
