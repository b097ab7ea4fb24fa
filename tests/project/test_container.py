"""The Docker image: what goes into it, and what it does before the server starts."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from evcharge.process.options import Options
from evcharge.storage import StorageError
from evcharge.storage.files.store import FileStorage
from tests.support.permissions import acting_as
from tests.support.servers import ROOT

STRANGERS = (
    "privkey.pem",
    "fullchain.pem",
    "server.key",
    "id_ed25519",
    ".env",
    ".git/config",
    ".venv/bin/python",
    "notes.txt",
    "setup.cfg.orig",
    "evcharge.db",
    "evcharge-data/users/someone.json",
    "data/car_models.json",
    "evcharge/privkey.pem",
    "evcharge/data/customers.csv",
    "evcharge/data/evcharge.db-wal",
    "evcharge/storage/privkey.pem",
    "evcharge/web/page/app/privkey.pem",
    "evcharge/web/page/notes.txt",
    "evcharge/__pycache__/tap.cpython-312.pyc",
    "evcharge.egg-info/PKG-INFO",
    "twisted/plugins/dropin.cache",
    "twisted/privkey.pem",
    "tools/release.py",
    "tools/privkey.pem",
    "tests/project/test_container.py",
    "docs/index.md",
    "_trial_temp/test.log",
)
"""What may lie in a checkout, and is not for the image."""


def pattern(text: str) -> re.Pattern[str]:
    """A pattern of .dockerignore, for paths of files and folders."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text.strip("/"))
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(wild.get(part) or re.escape(part) for part in parts) + r"\Z")


def context(folder: Path) -> set[str]:
    """
    The files of `folder` that Docker is given.

    Of two ways in which builders read .dockerignore the stricter: a folder that is left out is not
    looked into, unless an exception begins with its name.
    """
    lines = [line.strip() for line in (folder / ".dockerignore").read_text().splitlines()]
    rules = [line for line in lines if line and not line.startswith("#")]
    compiled = [(pattern(rule.lstrip("!")), rule.startswith("!")) for rule in rules]
    exceptions = [rule[1:] for rule in rules if rule.startswith("!")]

    def is_out(path: Path) -> bool:
        out = False
        names = [str(path), *map(str, path.parents)][:-1]
        for rule, is_exception in compiled:
            if any(rule.match(name) for name in names):
                out = not is_exception
        return out

    found = set()

    def walk(inner: Path) -> None:
        for path in sorted((folder / inner).iterdir()):
            name = inner / path.name
            if not path.is_dir() or path.is_symlink():
                if not is_out(name):
                    found.add(str(name))
            elif not is_out(name) or any(rule.startswith(f"{name}/") for rule in exceptions):
                walk(name)

    walk(Path())
    return found


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, in order: word, and what is behind it."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = filter(None, text.replace("\\\n", " ").splitlines())
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def said(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def wheel(folder: Path) -> set[str]:
    """The files in the wheel that is built in `folder`."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
             "--no-build-isolation", "--wheel-dir", out, str(folder)],
            check=True, capture_output=True,
        )  # fmt: skip
        (path,) = Path(out).glob("*.whl")
        return set(zipfile.ZipFile(path).namelist())


class ContextTests(SynchronousTestCase):
    """What Docker is given of a checkout."""

    def needed(self) -> set[str]:
        """What the image is made of."""
        package = {
            str(path.relative_to(ROOT))
            for ending in ("*.py", "py.typed", "data/*.json", "data/*.csv", "data/scenarios/*")
            for path in (ROOT / "evcharge").rglob(ending)
        }
        page = {
            str(path.relative_to(ROOT))
            for path in (ROOT / "evcharge" / "web" / "page").rglob("*")
            if path.is_file()
        }
        beside = {
            *("LICENSE", "README.md", "constraints.txt", "pyproject.toml", "setup.cfg"),
            *("tools/entrypoint.sh", "twisted/plugins/evcharge_plugin.py"),
        }
        return package | page | beside

    def checkout(self) -> Path:
        """A checkout with all that is needed, and all that should not be there."""
        folder = Path(self.mktemp()).absolute()
        for name in (*self.needed(), ".dockerignore"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        for name in STRANGERS:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return folder

    def test_by_name(self) -> None:
        """It is what is needed, with every part of the package; no key, no data, no note."""
        self.assertEqual(context(self.checkout()), self.needed())

    def test_copied(self) -> None:
        """The image gets all of it, by name."""
        given = context(self.checkout())
        copied: set[str] = set()
        for line in said("COPY"):
            *sources, _ = line.split()
            for source in sources:
                self.assertNotIn(source, (".", "./", "/", "*"))
                found = {name for name in given if f"{name}/".startswith(f"{source}/")}
                self.assertTrue(found, source)
                copied |= found
        self.assertEqual(copied, given)
        self.assertEqual(said("ADD"), [])

    def test_builds(self) -> None:
        """The package is built of it as of the whole."""
        folder = self.checkout()
        given = Path(self.mktemp()).absolute()
        for name in context(folder):
            (given / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, given / name)
        built = {name for name in wheel(given) if ".dist-info/" not in name}
        expected = {name for name in self.needed() if name.startswith(("evcharge/", "twisted/"))}
        self.assertEqual(built, expected)


class DockerfileTests(SynchronousTestCase):
    """What the image is."""

    def test_start(self) -> None:
        """It starts as root, with what gives root up, and then runs the server, with a check."""
        self.assertEqual(said("USER"), [])
        (entry,), (command,) = map(json.loads, said("ENTRYPOINT")), map(json.loads, said("CMD"))
        script, user, folder = entry
        (copied,) = (line.split()[-1] for line in said("COPY") if "entrypoint.sh" in line)
        self.assertEqual(Path(copied).name, script)
        run = " ".join(said("RUN"))
        self.assertIn(f"chmod 755 {copied}", run)
        self.assertIn(f"groupadd --gid {user} evcharge", run)
        self.assertIn(f"useradd --uid {user} --gid {user} ", run)
        self.assertIn(f"--home-dir {folder} evcharge", run)
        self.assertIn(f"mkdir --mode=1777 {folder}", run)
        self.assertEqual(said("VOLUME"), [folder])
        self.assertEqual(command[:3], ["twistd", "--nodaemon", "--pidfile="])
        self.assertEqual(command[-2:], ["--data", folder])
        self.assertIn("evcharge.healthcheck", *said("HEALTHCHECK"))

    def test_ports(self) -> None:
        """The image and both services listen at what is published, where the host reaches them."""
        (command,) = map(json.loads, said("CMD"))
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
        shell = shlex.split(services["server-with-bootstrap"]["command"][-1].partition(" exec ")[2])
        self.assertNotIn("command", services["server"])
        for program, *arguments in (command, shell):
            self.assertEqual(program, "twistd")
            options = Options()
            options.parseOptions(arguments[arguments.index("evcharge") + 1 :])
            ports = (options.settings.port, options.settings.web.port)
            # What is described by a number is, of a web port, for the container alone.
            self.assertEqual(ports, ("8888", "tcp:8080"))
        published = {port.removeprefix("tcp:") for port in ports}
        self.assertEqual({*said("EXPOSE")[0].split()}, published)
        for service in services.values():
            self.assertEqual({port.partition(":")[2] for port in service["ports"]}, published)


class EntrypointTests(SynchronousTestCase):
    """The script that the image starts, run for real: as root, and as others."""

    user = 47120

    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root may give things to others")
        # Where the tests run, other users may not get to.
        self.folder = Path(tempfile.mkdtemp(prefix="evcharge"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)
        self.script = self.folder / "evcharge-entrypoint"
        shutil.copy(ROOT / "tools" / "entrypoint.sh", self.script)
        self.script.chmod(0o755)
        self.data = self.folder / "data"
        self.data.mkdir()
        self.data.chmod(0o755)

    def run_it(self, *command: str, as_user: int = 0, folder: Path | None = None) -> str:
        """What the command prints."""
        be = [f"--reuid={as_user}", f"--regid={as_user}", "--clear-groups"]
        done = subprocess.run(
            ["setpriv", *be, str(self.script), str(self.user), str(folder or self.data), *command],
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def owners(self) -> dict[str, int]:
        return {
            str(path.relative_to(self.folder)): path.lstat().st_uid
            for path in self.folder.rglob("*")
        }

    def fill(self) -> None:
        """A data directory, as a program that ran as root leaves one."""
        storage = FileStorage(self.data)
        storage.open(time.time())
        storage.close()
        (self.data / "users" / "-rf ; touch x\nand so on.json").touch()
        for path in self.data.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def test_of_root(self) -> None:
        """What is root's becomes the user's, who carries out the command with no rights of root."""
        self.fill()
        os.chown(self.data / "stations", 1000, 1000)
        shown = self.run_it("sh", "-c", 'id -u; id -g; id -G; echo "$HOME"; echo "$@"', "-", "a b")
        number = str(self.user)
        self.assertEqual(shown.splitlines(), [number, number, number, str(self.data), "a b"])
        owners = self.owners()
        self.assertEqual(owners.pop("evcharge-entrypoint"), 0)
        self.assertEqual(set(owners.values()), {self.user})
        self.assertEqual(self.data.stat().st_mode & 0o7777, 0o755)
        with acting_as(self.user):
            storage = FileStorage(self.data)
            storage.open(time.time())
            storage.close()

    def test_links(self) -> None:
        """Nothing outside of the volume is touched by way of a link, and the links stay."""
        self.fill()
        outside = self.folder / "outside"
        outside.mkdir()
        for name in ("one", "two"):
            (outside / name).touch()
        (self.data / "link").symlink_to(outside / "one")
        (self.data / "users" / "folder").symlink_to(outside)
        (self.data / "nowhere").symlink_to(self.folder / "nothing")
        os.link(outside / "two", self.data / "stations" / "two")
        os.mkfifo(self.data / "pipe")
        self.run_it("true")
        owners = self.owners()
        for name in ("", "/one", "/two"):
            self.assertEqual(owners[f"outside{name}"], 0)
        for name in ("link", "users/folder", "nowhere", "stations/two", "pipe"):
            self.assertEqual(owners[f"data/{name}"], 0)
        self.assertEqual(owners["data/car_models.json"], self.user)
        # Nor where the volume itself is one.
        (self.folder / "way").symlink_to(outside)
        self.run_it("true", folder=self.folder / "way")
        self.assertEqual(outside.stat().st_uid, 0)

    def test_new(self) -> None:
        """A new volume, where anybody may write, is the user's alone afterwards."""
        self.data.chmod(0o1777)
        self.run_it("touch", str(self.data / "made"))
        self.assertEqual(self.data.stat().st_mode & 0o7777, 0o700)
        self.assertEqual(self.owners()["data/made"], self.user)

    def test_other_user(self) -> None:
        """With `docker run --user` nothing changes hands, and a new volume can be used."""
        self.data.chmod(0o1777)
        os.chown(self.data, self.user, self.user)
        shown = self.run_it("sh", "-c", f"id -u; touch {self.data}/.made", as_user=1234)
        self.assertEqual(shown, "1234\n")
        self.assertEqual(self.owners()["data/.made"], 1234)
        self.assertEqual(self.owners()["data"], self.user)
        with acting_as(1234):
            storage = FileStorage(self.data)
            storage.open(time.time())
            storage.close()

    def test_not_possible(self) -> None:
        """What cannot be made the user's stops nothing: the server says what it lacks."""
        self.assertEqual(self.run_it("echo", "on", folder=Path("/proc/self")), "on\n")
        self.assertEqual(self.run_it("echo", "on", folder=self.folder / "nothing"), "on\n")

    def test_status(self) -> None:
        """The command takes the script's place: its process, its end."""
        for command, status in (("kill -TERM $$", -15), ("exit 7", 7)):
            done = subprocess.run(
                [str(self.script), str(self.user), str(self.data), "sh", "-c", command]
            )
            self.assertEqual(done.returncode, status)

    def test_denied(self) -> None:
        """A volume of somebody else's, with `--user`, says who is who."""
        self.fill()
        self.data.chmod(0o700)
        with acting_as(1234):
            problem = str(self.assertRaises(StorageError, FileStorage(self.data).open, 0.0))
        self.assertIn("for user 1234; as root: chown -R 1234:1234 ", problem)
