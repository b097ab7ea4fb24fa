"""Storages that their user may not use: who that is, and the command that cures it."""

import contextlib
import errno
import io
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from evcharge.cli import main
from evcharge.net.ports import CannotListen, ListeningPort, endpoint
from evcharge.net.tls.certificate import CertificateError, CertificateService
from evcharge.process.logs import log_file
from evcharge.storage import StorageError
from evcharge.storage.location import parse
from evcharge.utils.permissions import remedy
from tests.support.certificates import make_certificate
from tests.support.permissions import acting_as

UID, GID = 47110, 47111
"""A user and a group that no machine knows."""


class CureTests(SynchronousTestCase):
    """Root's storages, and others, opened by a user who is not root."""

    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root may become another user")
        # Where the tests run, another user may not get to.
        self.folder = Path(tempfile.mkdtemp(prefix="evcharge"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)
        # Nor to Python's modules, which are loaded when they are first needed.
        self.open(f"sqlite:///{self.folder}/first.db")
        for path in self.folder.iterdir():
            path.unlink()

    def open(self, url: str) -> None:
        storage = parse(url, "").storage()
        try:
            storage.open(time.time())
        finally:
            storage.close()

    def refused(self, url: str) -> str | None:
        """What is said of a storage that cannot be opened; None: it can."""
        with acting_as(UID, GID):
            try:
                self.open(url)
            except StorageError as error:
                self.assertRegex(
                    str(error), rf"^/\S.*: Permission denied, for user {UID}; .*as root: "
                )
                return str(error)
        return None

    def cures(self, url: str) -> list[str]:
        """The commands that are named one after another, each carried out, until it opens."""
        found: list[str] = []
        while (problem := self.refused(url)) is not None:
            command = problem.partition("; as root: ")[2]
            self.assertNotEqual(command, "", problem)
            found.append(command.replace(str(self.folder), "HERE"))
            self.assertEqual(found.count(found[-1]), 1, "it has not helped")
            subprocess.run(command, shell=True, check=True)
        return found

    def give_root(self, path: Path, mode: int) -> None:
        os.chown(path, 0, 0)
        path.chmod(mode)

    def test_no_cure(self) -> None:
        """Where the modes allow what was refused, that is said; where nobody sees them, nothing."""
        theirs = self.folder / "theirs"
        theirs.mkdir()
        os.chown(theirs, UID, GID)
        refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with acting_as(UID, GID):
            said = remedy(refused, theirs, theirs, True)
            self.assertIn(f", for user {UID}", said)
            self.assertIn("; the modes allow it, so a security module (SELinux, AppArmor)", said)
            self.assertEqual(remedy(OSError(errno.EIO, "x"), theirs, theirs, True), "")

            def fails(*_: object, **more: object) -> bool:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

            self.patch(os, "access", fails)
            self.assertEqual(remedy(refused, theirs, theirs, True), f", for user {UID}")

    def test_of_root(self) -> None:
        """A data directory that is root's, all of it or a part."""
        data = self.folder / "data"
        url = f"files:{data}"
        self.open(url)
        cure = f"chown -R {UID}:{GID} HERE/data"
        self.assertEqual(self.cures(url), [cure])
        for name, mode in (
            ("", 0o755),
            ("", 0o700),
            ("users", 0o700),
            (".lock", 0o600),
            ("car_models.json", 0o600),
        ):
            if not name:
                self.give_root(data / ".lock", 0o600)
            self.give_root(data / name, mode)
            self.assertEqual(self.cures(url), [cure], name)

    def test_missing(self) -> None:
        """One that is not there, in a place that is root's; a name may have spaces."""
        cure = f"install -d -o {UID} -g {GID} -m 700"
        for name, shown in (
            ("data", "HERE/data"),
            ("the data", "'HERE/the data'"),
            ("deep/er/data", "HERE/deep/er/data"),
        ):
            self.assertEqual(self.cures(f"files:{self.folder}/{name}"), [f"{cure} {shown}"])
        url = f"sqlite:///{self.folder}/new/evcharge.db"
        self.assertEqual(self.cures(url), [f"{cure} HERE/new"])

    def test_mode(self) -> None:
        """One that is the user's own, with a mode that forbids it."""
        data = self.folder / "data"
        self.cures(f"files:{data}")
        for name in ("", "stations", "users", "car_models.json", ".lock"):
            (data / name).chmod(0)
            self.assertEqual(self.cures(f"files:{data}"), ["chmod -R u+rwX HERE/data"])

    def test_way(self) -> None:
        """One behind a folder that lets its owner alone through."""
        home = self.folder / "home"
        for url in (f"files:{home}/data", f"sqlite:///{home}/deeper/evcharge.db"):
            home.mkdir()
            home.chmod(0o700)
            through, *_ = self.cures(url)
            self.assertEqual(through, "chmod o+x HERE/home")
            shutil.rmtree(home)

    def test_sqlite(self) -> None:
        """A database in a folder of root's; one of root's, or a part of one, in the user's own."""
        folder = self.folder / "own"
        url = f"sqlite:///{folder}/evcharge.db"
        self.open(url)
        self.give_root(folder, 0o755)
        for path in folder.iterdir():
            self.give_root(path, 0o644)
        names = sorted(path.name for path in folder.iterdir())
        self.assertEqual(names, ["evcharge.db", "evcharge.db-lock"])
        files = " ".join(f"HERE/own/{name}" for name in names)
        self.assertEqual(self.cures(url), [f"chown {UID}:{GID} HERE/own {files}"])
        for name in (*names, "evcharge.db-shm", "evcharge.db-wal"):
            (folder / name).touch()
            self.give_root(folder / name, 0o644)
            self.assertEqual(self.cures(url), [f"chown {UID}:{GID} HERE/own/{name}"])
        (folder / "evcharge.db").chmod(0o400)
        self.assertEqual(self.cures(url), ["chmod u+rwX HERE/own/evcharge.db"])
        self.give_root(folder, 0o700)
        self.assertEqual(self.cures(url), [f"chown -R {UID}:{GID} HERE/own"])

    def test_folder_of_others(self) -> None:
        """A folder that has other things is not given away: one in it is made."""
        (self.folder / "theirs").touch()
        problem = self.refused(f"sqlite:///{self.folder}/evcharge.db")
        told, _, command = problem.partition("as root: ")
        self.assertTrue(told.endswith("; choose a folder of its own for it, "), told)
        self.assertEqual(command, f"install -d -o {UID} -g {GID} -m 700 {self.folder}/evcharge")
        subprocess.run(command, shell=True, check=True)
        self.assertEqual(self.cures(f"sqlite:///{self.folder}/evcharge/evcharge.db"), [])

    def test_one_file(self) -> None:
        """A file of a station or a user that has become root's is named with the same command."""
        data = self.folder / "data"
        self.cures(f"files:{data}")
        user = data / "users" / "00000000-0000-4000-8000-000000000001.json"
        user.touch()
        for path in (user, data / "stations" / "station_7.json"):
            self.give_root(path, 0o600)
        with capturedLogs() as events, acting_as(UID, GID):
            self.open(f"files:{data}")
        said = [event for event in map(formatEvent, events) if "Permission denied" in event]
        self.assertEqual(len(said), 2, said)
        for text in said:
            self.assertIn(f"for user {UID}; as root: chown -R {UID}:{GID} {data}", text)

    def test_log(self) -> None:
        """A log that may not be written stops the start with one line."""
        path = self.folder / "log"
        with acting_as(UID, GID):
            stopped = self.assertRaises(SystemExit, log_file, str(path), True)
        self.assertIn(f"cannot log to {path}: Permission denied, for user {UID}; ", stopped.code)
        stopped = self.assertRaises(SystemExit, log_file, str(path / "x" / "y"), False)
        self.assertEqual(
            stopped.code, f"evcharge: cannot log to {path}/x/y: No such file or directory"
        )

    def test_only_read(self) -> None:
        """A file that is only to be read: a certificate, its key, a table; linked to, too."""
        archive, live = self.folder / "archive", self.folder / "live"
        for folder in (archive, live):
            folder.mkdir()
        make_certificate(archive)
        (live / "key.pem").symlink_to(archive / "key.pem")
        (live / "certificate.pem").write_bytes((archive / "certificate.pem").read_bytes())
        live.chmod(0o700)
        archive.chmod(0o700)
        (archive / "key.pem").chmod(0o600)
        files = f"{live}/certificate.pem", f"{live}/key.pem"
        found = []
        while True:
            # Ways to a file are opened, and the file itself is given to its reader.
            try:
                with acting_as(UID, GID):
                    CertificateService(*files, None, time.time).read()
                break
            except CertificateError as error:
                told, _, command = str(error).partition("; as root: ")
            self.assertRegex(told, rf"^--tls-\S+ {live}/\S+: Permission denied, for user {UID}$")
            found.append(command.replace(str(self.folder), "HERE"))
            self.assertEqual(found.count(found[-1]), 1, "it has not helped")
            subprocess.run(command, shell=True, check=True)
        self.assertEqual(
            found,
            [
                "chmod o+x HERE/live",
                "chmod o+x HERE/archive",
                f"chown {UID}:{GID} HERE/archive/key.pem",
            ],
        )
        (archive / "key.pem").chmod(0)
        command = ["bootstrap", "--stations", f"{archive}/key.pem"]
        with contextlib.redirect_stderr(io.StringIO()) as said:
            # Root may read it. Another user may not get to the modules that this has loaded.
            self.assertRaises(SystemExit, main, command)
        self.assertNotIn("Permission denied", said.getvalue())
        with acting_as(UID, GID), contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertRaises(SystemExit, main, command)
        self.assertIn(
            f"{archive}/key.pem: Permission denied, for user {UID}; "
            f"as root: chmod u+rwX {archive}/key.pem\n",
            said.getvalue(),
        )

    def test_socket(self) -> None:
        """The file of a socket, in a folder of root's."""
        description = f"unix:{self.folder}/socket:mode=660"
        port = ListeningPort("port", description, endpoint(reactor, description), Factory())
        with acting_as(UID, GID):
            error = self.assertRaises(CannotListen, port.open)
        told, _, command = str(error).partition("; as root: ")
        self.assertEqual(told, f"cannot listen on {description}: Permission denied, for user {UID}")
        self.assertEqual(command, f"chown -R {UID}:{GID} {self.folder}")

    def test_of_all(self) -> None:
        """No folder of the system, nor anybody's home, is given away, whatever is in it."""
        cure = f"as root: install -d -o {UID} -g {GID} -m 700 /root/evcharge"
        for url in ("files:/root", "sqlite:////root/evcharge.db"):
            problem = self.refused(url)
            self.assertTrue(problem.endswith(f"; choose a folder of its own for it, {cure}"))


class RemedyTests(SynchronousTestCase):
    """Where no command would cure it."""

    def test_other_errors(self) -> None:
        """Of other errors nothing is said."""
        for number in (errno.ENOSPC, errno.EROFS, errno.ENOENT):
            error = OSError(number, os.strerror(number))
            self.assertEqual(remedy(error, Path("/x"), Path("/x"), is_folder=True), "")

    def test_not_by_modes(self) -> None:
        """What the modes allow, or root may not, is forbidden by something else."""
        place = Path(self.mktemp()).absolute()
        place.mkdir()
        for number in (errno.EACCES, errno.EPERM):
            said = remedy(OSError(number, ""), place, place, is_folder=True)
            self.assertIn(f", for user {os.geteuid()} (", said)
            self.assertIn("security module", said)
