"""
A real server that is starved: of disk, of permission, of file descriptors, of its database.

Each time what cannot be done is answered with 503, the log says why, what can be done is done, and
when the trouble is over all works again without a restart, and adds up.
"""

import contextlib
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest

from benchmarks.soak_audit import Account, Book, audit
from tests.support import postgres
from tests.support.servers import LOGIN, Client, Server, ServerTestCase, request_line
from tests.support.tools import need
from tests.support.waiting import until

DAY_S = 86400.0
"""After which a user who never paid is removed, unless the server is told otherwise."""


class FaultTestCase(ServerTestCase):
    """A server that is asked before, during and after a trouble."""

    def setUp(self) -> None:
        self.book = Book(DAY_S)
        self.logins = 0
        self.clients: list[Client] = []

    def client(self, server: Server) -> Client:
        self.clients.append(super().client(server))
        return self.clients[-1]

    def log_in(self, client: Client) -> tuple[int, str]:
        self.logins += 1
        name, asked = f"Ana {self.logins}", time.time()
        reply = client.request("LOGIN", **{**LOGIN, "user_name": name})
        code, user_id = reply["status"]["code"], reply["data"]["user_id"]
        if code == 200:
            self.book.users[user_id] = Account(name, asked, time.time())
        else:
            self.assertEqual((code, reply["data"]["reason"], user_id), (503, "unavailable", None))
            # Whoever is answered so does not know.
            self.book.lost_logins.add(name)
        return code, user_id

    def pay(self, client: Client, user_id: str) -> int:
        reply = client.request("PAYMENT", user_id=user_id, id_station=3, confirmation=True)
        code, data = reply["status"]["code"], reply["data"]
        account = self.book.users[user_id]
        if code == 200:
            self.assertTrue(data["confirmation"])
            account.stage, account.station, account.tried = "charging", "3", ""
            account.receipt, account.amount = data["receipt_id"], data["amount"]
            account.ends = data["estimated_timestamp"]
        else:
            self.assertEqual((code, data["confirmation"]), (503, False))
            account.stage, account.tried = "unsure", "3"
        return code

    def go_through(
        self, server: Server, begin: Callable[[], None], end: Callable[[], None], *words: str
    ) -> None:
        """Ask before a trouble begins, while it lasts, and when it has ended."""
        client = self.client(server)
        _, early = self.log_in(client)
        _, late = self.log_in(client)
        self.assertEqual(self.pay(client, early), 200)
        begin()
        try:
            self.assertEqual(self.log_in(client)[0], 503)
            self.assertEqual(self.pay(client, late), 503)
            # What needs no writing is done, also for those who come just now.
            for one in (client, self.client(server)):
                self.assertEqual(one.request("START")["status"]["code"], 200)
                reply = one.request("NAVIGATION", user_id=late, route_distance=1)
                self.assertEqual(reply["status"]["code"], 200)
        finally:
            end()
        self.assertEqual(self.log_in(client)[0], 200)
        self.assertEqual(self.pay(client, late), 200)
        self.assertEqual(self.log_in(self.client(server))[0], 200)
        for word in (*words, "not served"):
            self.wait_for(server, word)
        self.assertNotIn("Traceback", "".join(server.log))

    def check_books(self, server: Server, url: str, data: Path) -> None:
        """End the server, and hold what it kept against what it said."""
        # A server waits for its clients to leave.
        for client in self.clients:
            client.close()
        server.end()
        audit(self.book, url, data, time.time())
        self.assertEqual(self.book.findings, [])


class DiskTests(FaultTestCase):
    """A disk that takes no more."""

    def grow_no_more(self, kind: str) -> None:
        """No file of the server may grow: what the kernel says then is much like a full disk."""
        data = Path(self.mktemp()).absolute()
        url = "files" if kind == "files" else f"sqlite:///{data}.db"
        server = self.start(data, "--storage", url).wait()
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)

        def limit(size: int) -> None:
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))

        self.go_through(server, lambda: limit(0), lambda: limit(hard))
        self.check_books(server, url, data)

    def test_no_growth_files(self) -> None:
        """Files that may not grow."""
        self.grow_no_more("files")

    def test_no_growth_sqlite(self) -> None:
        """A database that may not grow."""
        self.grow_no_more("sqlite")

    def small_disk(self) -> Path:
        """A disk of a megabyte."""
        if os.geteuid() != 0:
            raise SkipTest("only root may mount a small disk")
        disk = Path(self.mktemp()).absolute()
        disk.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], capture_output=True
        )
        if done.returncode:
            raise SkipTest(f"this machine mounts nothing: {done.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(disk)])
        return disk

    def full(self, kind: str) -> None:
        disk = self.small_disk()
        data = disk / "data"
        url = "files" if kind == "files" else f"sqlite:///{disk}/soak.db"
        server = self.start(data, "--storage", url).wait()
        self.addCleanup(server.process.wait)
        self.addCleanup(server.process.kill)
        filler = disk / "filler"

        def fill() -> None:
            with open(filler, "wb", buffering=0) as file:
                size = 1 << 16
                while size:
                    try:
                        file.write(b"\0" * size)
                    except OSError:
                        size //= 2

        self.go_through(server, fill, filler.unlink, "o space left" if kind == "files" else "full")
        self.check_books(server, url, data)

    def test_full_files(self) -> None:
        """A full disk under the data directory."""
        self.full("files")

    def test_full_sqlite(self) -> None:
        """A full disk under the database."""
        self.full("sqlite")

    def test_full_log(self) -> None:
        """A full disk under the log costs lines of it, and nothing else."""
        disk = self.small_disk()
        (disk / "filler").write_bytes(b"\0" * 1_900_000)
        data = Path(self.mktemp()).absolute()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        run = "from twisted.scripts.twistd import run; run()"
        server = self.start(
            data,
            "--verbose",
            port=f"tcp:{port}:interface=127.0.0.1",
            launch=("-c", run, "--logfile", str(disk / "log")),
        )

        def connected() -> Client | None:
            try:
                return Client(port)
            except ConnectionRefusedError:
                return None

        client = until(connected, "it listens", process=server.process)
        self.addCleanup(client.close)
        for _ in range(3000):
            self.assertEqual(client.request("NAVIGATION", user_id="x")["status"]["code"], 400)
        self.assertEqual(self.log_in(client)[0], 200)
        (disk / "filler").unlink()
        client.request("LOGIN", **{**LOGIN, "battery_car": "the last"})
        # Where the disk was full, a line may end in the middle of a character.
        self.assertIn(b"LOGIN 400", (disk / "log").read_bytes().splitlines()[-1])
        server.process.kill()
        server.process.wait()


class PermissionTests(FaultTestCase):
    """A place that may not be written to any more."""

    def without_privileges(self) -> list[str]:
        """What has modes count for a server that is started by root."""
        if os.geteuid() != 0:
            return []
        need("setpriv")
        return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]

    def test_modes(self) -> None:
        """A data directory whose modes forbid it, for a server that is not root."""
        data = Path(self.mktemp()).absolute()
        server = self.start(data, before=self.without_privileges()).wait()
        folders = [data / "users", data / "stations"]

        def change(mode: int) -> None:
            for folder in folders:
                folder.chmod(mode)

        self.addCleanup(change, 0o700)
        self.go_through(server, lambda: change(0o500), lambda: change(0o700), "Permission denied")
        self.check_books(server, "files", data)

    def test_sqlite(self) -> None:
        """A database that was open before has all that it needs, and goes on."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        url = f"sqlite:///{folder}/evcharge.db"
        before = self.without_privileges()
        server = self.start(folder, "--storage", url, before=before).wait()
        client = self.client(server)
        self.addCleanup(folder.chmod, 0o700)
        for path in (*folder.iterdir(), folder):
            path.chmod(0o500 if path.is_dir() else 0o400)
        _, user = self.log_in(client)
        self.assertEqual(self.pay(client, user), 200)
        for path in (folder, *folder.iterdir()):
            path.chmod(0o700 if path.is_dir() else 0o600)
        self.check_books(server, url, folder)


class RemovalTests(FaultTestCase):
    """A storage that somebody takes away under the server."""

    def moved(self, url: str, data: Path, place: Path, *words: str) -> None:
        """Move `place` away and back."""
        server = self.start(data, "--storage", url).wait()
        away = place.with_name("away")
        self.go_through(server, lambda: place.rename(away), lambda: away.rename(place), *words)
        self.check_books(server, url, data)

    def test_directory(self) -> None:
        """A data directory that is moved away, and back."""
        data = Path(self.mktemp()).absolute()
        self.moved("files", data, data, ".lock: was removed or replaced")

    def test_users(self) -> None:
        """A folder in it."""
        data = Path(self.mktemp()).absolute()
        server = self.start(data).wait()
        client = self.client(server)
        _, user = self.log_in(client)
        (data / "users").rename(data / "away")
        self.assertEqual(self.log_in(client)[0], 503)
        (data / "away").rename(data / "users")
        self.assertEqual(self.log_in(client)[0], 200)
        self.assertEqual(self.pay(client, user), 200)
        self.check_books(server, "files", data)

    def database_moved(self, place: str) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        url = f"sqlite:///{folder}/evcharge.db"
        self.moved(url, folder, (folder / place).resolve(), " was removed or replaced")

    def test_database(self) -> None:
        """An SQLite file."""
        self.database_moved("evcharge.db")

    def test_database_folder(self) -> None:
        """The folder that an SQLite file is in."""
        self.database_moved(".")

    def test_database_with_workers(self) -> None:
        """An SQLite file that several processes share."""
        data = Path(self.mktemp()).absolute()
        url = f"sqlite:///{data}.db"
        server = self.start(data, "--storage", url, "--workers", "2").wait()
        client = self.client(server)
        self.assertEqual(self.log_in(client)[0], 200)
        place = Path(f"{data}.db")
        place.unlink()
        self.assertEqual(self.log_in(client)[0], 503)
        self.wait_for(server, " was removed or replaced")

    def test_second_server(self) -> None:
        """Where the lock was removed a second server starts, and the first one sells no more."""
        data = Path(self.mktemp()).absolute()
        first = self.start(data, "--sweep-interval", "0.1").wait()
        client = self.client(first)
        _, user = self.log_in(client)
        (data / ".lock").unlink()
        self.wait_for(first, ".lock: was removed or replaced, so that another server may use")
        second = self.start(data).wait()
        self.assertEqual(self.pay(client, user), 503)
        self.assertEqual(self.log_in(client)[0], 503)
        self.assertEqual(client.request("START")["status"]["code"], 200)
        newcomer = self.client(second)
        self.assertEqual(self.pay(newcomer, user), 200)
        self.assertEqual(self.log_in(newcomer)[0], 200)
        client.close()
        first.end()
        self.check_books(second, "files", data)


class DescriptorTests(FaultTestCase):
    """No file descriptor left."""

    def limit(self, pid: int, most: int | None) -> None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        if most is None:
            most = hard
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, hard))

    def test_used_up(self) -> None:
        """Writing fails, newcomers wait or are closed, and all works when there are some again."""
        data = Path(self.mktemp()).absolute()
        server = self.start(data).wait()
        pid = server.process.pid
        client = self.client(server)
        _, user = self.log_in(client)
        self.limit(pid, 3)
        try:
            self.assertEqual(self.log_in(client)[0], 503)
            self.assertEqual(self.pay(client, user), 503)
            self.assertEqual(client.request("START")["status"]["code"], 200)
            for _ in range(20):
                newcomer = self.client(server)
                newcomer.socket.settimeout(0.05)
                # It waits, or was closed; never is it half served.
                with contextlib.suppress(OSError):
                    newcomer.request("START")
        finally:
            self.limit(pid, None)
        self.assertEqual(self.pay(client, user), 200)
        self.assertEqual(self.log_in(self.client(server))[0], 200)
        self.wait_for(server, "Too many open files")
        self.assertLess(len(server.log), 200)
        self.check_books(server, "files", data)

    def test_workers(self) -> None:
        """A worker that has none left lets nobody in until it has some, and serves those it has."""
        data = Path(self.mktemp()).absolute()
        url = f"sqlite:///{data}.db"
        server = self.start(data, "--storage", url, "--workers", "2").wait()
        client = self.client(server)
        _, user = self.log_in(client)
        self.wait_for(server, " is process ", times=2)
        pids = [int(line.rsplit(" ", 1)[1]) for line in server.log if " is process " in line]
        for pid in pids:
            self.limit(pid, 3)
        newcomers = []
        try:
            self.assertEqual(client.request("START")["status"]["code"], 200)
            newcomers = [self.client(server) for _ in range(5)]
            self.wait_for(server, "cannot be accepted")
        finally:
            for pid in pids:
                self.limit(pid, None)
        for newcomer in newcomers:
            self.assertEqual(newcomer.request("START")["status"]["code"], 200)
        self.assertEqual(self.pay(client, user), 200)
        self.check_books(server, url, data)


class HangTests(FaultTestCase):
    """A database that hangs, and does not close."""

    def test_postgresql(self) -> None:
        """PostgreSQL that is stopped in the middle: 503 within its patience, and then all again."""
        database = postgres.shared()
        url = database.url(database.create_database())
        data = Path(self.mktemp()).absolute()
        server = self.start(data, "--storage", url).wait()
        client = self.client(server)
        _, user = self.log_in(client)
        database.pause()
        try:
            for ask in (lambda: self.log_in(client)[0], lambda: self.pay(client, user)):
                began = time.monotonic()
                self.assertEqual(ask(), 503)
                self.assertLess(time.monotonic() - began, 3)
            # Connections are let in, and stay.
            self.client(server)
        finally:
            database.resume()
        began = time.monotonic()
        while self.pay(client, user) != 200:
            self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(self.log_in(self.client(server))[0], 200)
        self.wait_for(server, "not served")
        self.check_books(server, url, data)

    def test_sqlite(self) -> None:
        """A database file that another program has locked: the server waits, and then goes on."""
        data = Path(self.mktemp()).absolute()
        url = f"sqlite:///{data}.db"
        server = self.start(data, "--storage", url).wait()
        client = self.client(server)
        _, user = self.log_in(client)
        other = sqlite3.connect(f"{data}.db", isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        client.begin("PAYMENT", user_id=user, id_station=3, confirmation=True)
        self.assertEqual(self.client(server).request("START")["status"]["code"], 200)
        other.execute("ROLLBACK")
        self.assertTrue(client.reply()["data"]["confirmation"])
        self.assertEqual(self.pay(client, user), 200)
        self.check_books(server, url, data)


class StopTests(FaultTestCase):
    """A process that stands still for a while."""

    def test_stopped(self) -> None:
        """One that is stopped and goes on serves as if nothing had been."""
        data = Path(self.mktemp()).absolute()
        server = self.start(data).wait()
        client = self.client(server)
        _, user = self.log_in(client)
        server.process.send_signal(signal.SIGSTOP)
        client.socket.sendall(request_line("START"))
        server.process.send_signal(signal.SIGCONT)
        self.assertEqual(client.reply()["status"]["code"], 200)
        self.assertEqual(self.pay(client, user), 200)
        self.check_books(server, "files", data)
