"""Ids of users are bearer secrets: who may read the files, what logs and replies give away."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage import Storage
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.testing import NOON, MemoryServer, shipped_network
from evcharge.utils.ids import ending
from tests.support import postgres
from tests.support.operations import a_session, a_user, add_user, take_slot
from tests.support.servers import LOGIN, ROOT, Client, Server, ServerTestCase
from tests.support.waiting import until

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)
NEVER_WAS = "01900000-0000-7000-8000-000000000000"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class ModeTests(SynchronousTestCase):
    """No other user of the machine may read what is made."""

    def setUp(self) -> None:
        # What most systems have: everybody may read a new file.
        self.addCleanup(os.umask, os.umask(0o022))
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(0o755)
        self.data, self.database = self.folder / "data", self.folder / "evcharge.db"

    def opened(self, url: str) -> Storage:
        storage = parse(url, str(self.data)).storage()
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def fill(self, storage: Storage) -> None:
        add_user(storage, a_user())
        take_slot(storage, a_session())

    def start(self, *options: str) -> list[str]:
        """What a server that starts and ends says of readers."""
        server = Server(self.data, *options)
        try:
            server.wait()
        finally:
            server.process.terminate()
            rest, _ = server.process.communicate(timeout=20)
        return [line for line in server.log + rest.splitlines() if "every user of" in line]

    def test_directory(self) -> None:
        """A data directory is its owner's alone, and so are the folders and the list in it."""
        self.fill(self.opened("files"))
        for folder in (self.data, self.data / "users", self.data / "stations"):
            self.assertEqual(mode(folder), 0o700, folder)
        for name in (".lock", "payments.jsonl"):
            self.assertEqual(mode(self.data / name), 0o600, name)

    def test_sqlite(self) -> None:
        """So are a database and the files beside it."""
        self.fill(self.opened(f"sqlite:///{self.database}"))
        names = sorted(path.name for path in self.folder.glob("evcharge.db*"))
        self.assertEqual(
            names, ["evcharge.db", "evcharge.db-lock", "evcharge.db-shm", "evcharge.db-wal"]
        )
        for name in names:
            self.assertEqual(mode(self.folder / name), 0o600, name)

    def test_copies(self) -> None:
        """So is what `evcharge migrate` makes."""
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.fill(storage)
        storage.close()
        copied = self.folder / "copied"
        for source, target in (
            (f"files:{self.data}", f"sqlite:///{self.database}"),
            (f"sqlite:///{self.database}", f"files:{copied}"),
        ):
            subprocess.run(
                [sys.executable, "-c", "from evcharge.cli import main; main()",
                 "migrate", "--from", source, "--to", target],
                check=True,
                capture_output=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        self.assertEqual(mode(self.database), 0o600)
        for folder in (copied, copied / "users", copied / "stations"):
            self.assertEqual(mode(folder), 0o700, folder)
        self.assertEqual(mode(copied / "payments.jsonl"), 0o600)

    def test_installed_earlier(self) -> None:
        """What is there keeps its modes, and its operator is told what others may read."""
        self.assertEqual(self.start(), [])
        self.assertEqual(self.start("--storage", f"sqlite:///{self.database}"), [])
        for folder in (self.data, self.data / "users", self.data / "stations"):
            folder.chmod(0o755)
        self.database.chmod(0o644)
        (said,) = self.start()
        self.assertIn(f"chmod -R o= {self.data / 'users'}", said)
        (said,) = self.start("--storage", f"sqlite:///{self.database}", "--workers", "2")
        self.assertIn(f"chmod -R o= {self.database}", said)
        for folder in (self.data, self.data / "users", self.data / "stations"):
            self.assertEqual(mode(folder), 0o755)
        self.assertEqual(mode(self.database), 0o644)
        # Nobody else gets past this one.
        self.data.chmod(0o750)
        self.assertEqual(self.start(), [])


class LogTests(ServerTestCase):
    """A log never has the whole id of a user."""

    def login(self, client: Client) -> dict:
        return client.request("LOGIN", **LOGIN)

    def end(self, server: Server) -> str:
        """All that the server has said."""
        # Until it answers, the reactor may not run yet, and a signal is not its own.
        self.client(server).request("NAVIGATION", user_id="x", route_distance=1)
        server.process.terminate()
        server.process.wait(20)
        until(lambda: "Server Shut Down" in "".join(server.log), "it ends", log=server.log)
        return "".join(server.log) + server.process.stderr.read()

    def test_broken_directory(self) -> None:
        """Users' files are named by their ids; where they cannot be written, no log has one."""
        data = Path(self.mktemp()).absolute()
        server = self.start(data, "--verbose", "--user-ttl", "1", "--sweep-interval", "0.1").wait()
        client = self.client(server)
        # The folder is gone in a way that hinders root as well.
        self.addCleanup(shutil.rmtree, data)
        user_id = self.login(client)["data"]["user_id"]
        (data / "users").rename(data / "away")
        (data / "users").write_text("")
        self.assertEqual(self.login(client)["status"]["code"], 503)
        ending = client.request("PAYMENT", user_id=user_id, id_station=1, confirmation=False)
        self.assertEqual(ending["status"]["code"], 503)
        self.wait_for(server, "sweep failed")
        self.wait_for(server, "Not a directory", times=3)
        said = self.end(server)
        self.assertIn(f"…{user_id[-6:]}.json: Not a directory", said)
        self.assertEqual(UUID.findall(said), [])

    def test_damaged_files(self) -> None:
        """Neither has what the start says of users' files, nor why it cannot be."""
        data = Path(self.mktemp()).absolute()
        (data / "users").mkdir(parents=True)
        (data / "users" / f"{NEVER_WAS}.json").write_text("{")
        (data / "users" / f"{NEVER_WAS[:-1]}1.json").mkdir()
        server = self.start(data).wait()
        # It says that it listens a moment before it heeds a signal.
        self.client(server).request("START")
        said = self.end(server)
        self.assertIn("users/…000000.json: damaged", said)
        self.assertIn("set aside as …000000.json.damaged", said)
        self.assertIn("users/…000001.json: cannot be read", said)
        self.assertEqual(UUID.findall(said), [])
        (data / "users" / f"{NEVER_WAS}.json.tmp").mkdir()
        server = self.start(data)
        out, err = server.process.communicate(timeout=20)
        self.assertEqual(server.process.returncode, 1)
        self.assertIn("users/…000000.json.tmp: ", err)
        self.assertEqual(UUID.findall(out + err), [])

    def test_postgresql(self) -> None:
        """Nor has what PostgreSQL says of a row, though it repeats the row."""
        shared = postgres.shared()
        database = shared.create_database()
        server = self.start(
            Path(self.mktemp()), "--storage", shared.url(database), "--verbose"
        ).wait()
        client = self.client(server)
        with psycopg.connect(shared.url(database), autocommit=True) as connection:
            connection.execute("ALTER TABLE users ADD CHECK (user_name <> 'Ana')")
        reply = self.login(client)
        self.assertEqual(reply["status"]["code"], 500)
        said = self.end(server)
        self.assertIn(reply["data"]["incident"], said)
        self.assertIn("violates check constraint", said)
        self.assertEqual(UUID.findall(said), [])


class EndingTests(SynchronousTestCase):
    """What may be said of an id."""

    def test_lengths(self) -> None:
        """The last six characters; of a short id, never more than a third."""
        self.assertEqual(ending("0190a1b2-0000-7000-8000-0123456789ab"), "6789ab")
        for length in range(201):
            user_id = "0123456789" * 20
            said = ending(user_id[:length])
            self.assertTrue(user_id[:length].endswith(said))
            self.assertEqual(len(said), min(6, length // 3))

    def test_logged(self) -> None:
        """A line for a request has no more of it, whatever the client takes for one."""
        ids = ("", "a", "a1", "abc", "a" * 15, "\n" * 36, "\u2028" * 36, "x" * 10_000, 5, None, {})
        for user_id in ids:
            lines: list[str] = []
            server = MemoryServer(options=["--verbose"])
            server.controller.log = Logger(
                observer=lambda event, lines=lines: lines.append(formatEvent(event))
            )
            request = {"user_id": user_id, "id_station": 1, "confirmation": True}
            server.request("PAYMENT", **request)
            (line,) = lines
            said = line.partition(" user ")[2]
            self.assertLessEqual(len(line.splitlines()), 1)
            if isinstance(user_id, str) and user_id:
                self.assertEqual(said, f"…{user_id[len(user_id) - min(6, len(user_id) // 3) :]!r}")
            else:
                self.assertEqual(said, "-")


class ListedContract:
    """The list of payments."""

    def test_listed(self) -> None:
        """A payment names its user by the end of the id, one whose id is short by nothing."""
        storage = self.storage()
        storage.open(NOON)
        for user_id in ("0190a1b2-0000-7000-8000-0123456789ab", "u1"):
            add_user(storage, a_user(user_id))
            take_slot(storage, a_session(user_id))
        storage.close()
        with storage.read_contents(NOON) as contents:
            self.assertEqual({payment.user_end for payment in contents.payments}, {"6789ab", ""})


class FilesListedTests(ListedContract, SynchronousTestCase):
    """In a data directory."""

    def storage(self) -> Storage:
        return parse("files", self.mktemp()).storage()


class SqliteListedTests(ListedContract, SynchronousTestCase):
    """In SQLite."""

    def storage(self) -> Storage:
        return parse(f"sqlite:///{self.mktemp()}", "").storage()


class PostgresListedTests(ListedContract, SynchronousTestCase):
    """In PostgreSQL."""

    def storage(self) -> Storage:
        running = postgres.shared()
        return parse(running.url(running.create_database()), "").storage()


class RepliesContract:
    """One answer for every id that is nobody's."""

    def open(self) -> Storage:
        raise NotImplementedError

    def test_unknown_ids(self) -> None:
        """An id that never was, one that has gone and one that is none get the same reply."""
        server = MemoryServer(self.open())
        real, gone = (server.request("LOGIN", **LOGIN)["data"]["user_id"] for _ in range(2))
        server.request("PAYMENT", user_id=gone, id_station=1, confirmation=False)
        ids = [NEVER_WAS, gone, real[:-1], real[:-1] + "x", f"{real} ", f"../users/{real}", "",
               "%", "_" * 36, "' OR 1=1 --", "x" * 200, "\N{BLACK SQUARE}"]  # fmt: skip
        for kind, data in (
            ("NAVIGATION", {"route_distance": 1}),
            ("SELECTION_STATION", {"list_stations": {}}),
            ("PAYMENT", {"id_station": 1, "confirmation": True}),
            ("PAYMENT", {"id_station": "nowhere", "confirmation": True}),
            ("PAYMENT", {"id_station": 1, "confirmation": False}),
        ):
            replies = set()
            for user_id in ids:
                reply = server.request(kind, user_id=user_id, **data)
                self.assertEqual(reply["data"]["reason"], "user_not_found", user_id)
                if "user_id" in reply["data"]:
                    # What was asked, whatever it was.
                    self.assertEqual(reply["data"].pop("user_id"), user_id)
                replies.add(json.dumps(reply, sort_keys=True))
            self.assertEqual(len(replies), 1, kind)
            for wrong in (None, 1, True, [], {}, "x" * 201, "\0", f"{real}\n"):
                reply = server.request(kind, user_id=wrong, **data)
                self.assertEqual(reply["data"]["reason"], "invalid_field", wrong)
                self.assertNotIn(real, json.dumps(reply).replace(f"{real}\\n", ""))
        # All of them left the real one as it was.
        reply = server.request("NAVIGATION", user_id=real, route_distance=1)
        self.assertEqual(reply["status"]["code"], 200)


class MemoryRepliesTests(RepliesContract, SynchronousTestCase):
    """In memory."""

    def open(self) -> Storage:
        return shipped_network()


class OpenedRepliesTests(RepliesContract, SynchronousTestCase):
    """In a data directory."""

    def open(self) -> Storage:
        return self.opened("files")

    def opened(self, url: str) -> Storage:
        storage = parse(url, self.mktemp()).storage()
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage


class SqliteRepliesTests(OpenedRepliesTests):
    """In SQLite."""

    def open(self) -> Storage:
        return self.opened(f"sqlite:///{self.mktemp()}")


class PostgresRepliesTests(OpenedRepliesTests):
    """In PostgreSQL."""

    def open(self) -> Storage:
        running = postgres.shared()
        return self.opened(running.url(running.create_database()))
