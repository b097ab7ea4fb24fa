"""A release is the same bytes, whenever and wherever it is built."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import evcharge
from tests.support.ports import free_port
from tests.support.servers import ROOT
from tests.support.waiting import until

TAG = f"v{evcharge.__version__}"
WHO = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
for role in ("AUTHOR", "COMMITTER"):
    WHO |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test"}
    WHO |= {f"GIT_{role}_DATE": "1000000000 +0200"}


class ReleaseTestCase(SynchronousTestCase):
    """With a repository that has a tag."""

    def setUp(self) -> None:
        """A repository of what is in this checkout, with a tag."""
        self.repository = Path(self.mktemp()).absolute()
        self.repository.mkdir()
        for part in ("evcharge", "twisted", "docs", "tests", "tools", "benchmarks", "changelog.d"):
            leave = shutil.ignore_patterns("__pycache__", "_trial_temp*", "*.cache", "[0-9]*.md")
            shutil.copytree(ROOT / part, self.repository / part, ignore=leave)
        for path in ROOT.iterdir():
            if path.suffix in (".toml", ".cfg", ".in", ".md", ".txt", ".yml") or path.name in (
                "Dockerfile",
                "LICENSE",
                "Makefile",
            ):
                shutil.copy(path, self.repository)
        with (self.repository / "CHANGELOG.md").open("a") as changelog:
            changelog.write(f"\n## {TAG[1:]} (2001-09-09)\n")
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "all")
        self.git("tag", TAG)

    def git(self, *arguments: str, **more: str) -> str:
        environment = {**os.environ, **WHO, **more}
        return subprocess.run(
            ["git", *arguments],
            cwd=self.repository,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def release(self, repository: Path, tag: str = TAG, **environment: str) -> Path:
        """The folder of what is built; SystemExit: why nothing is."""
        out = Path(self.mktemp()).absolute()
        done = subprocess.run(
            [sys.executable, str(ROOT / "tools" / "release.py"), tag, "--out", str(out)],
            cwd=repository,
            env={**os.environ, **WHO, **environment},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        return out


class ReleaseTests(ReleaseTestCase):
    """tools/release.py."""

    def test_same_bytes(self) -> None:
        """Two builds of a tag, in other places, times, zones and umasks, are one."""
        one = self.release(self.repository)
        elsewhere = Path(self.mktemp()).absolute() / "deeper"
        shutil.copytree(self.repository, elsewhere)
        # What lies in the checkout is not what is built.
        (elsewhere / "evcharge" / "left_over.py").write_text("")
        (elsewhere / "evcharge" / "cli.py").write_text("")
        for path in elsewhere.rglob("*.py"):
            path.chmod(0o700)
        self.addCleanup(os.umask, os.umask(0o077))
        other = self.release(elsewhere, TZ="Asia/Tokyo", TMPDIR=str(elsewhere), LANG="C")
        names = sorted(path.name for path in one.iterdir())
        self.assertEqual(
            names,
            [
                f"evcharge-{evcharge.__version__}-py3-none-any.whl",
                f"evcharge-{evcharge.__version__}.tar.gz",
            ],
        )
        for name in names:
            self.assertEqual((one / name).read_bytes(), (other / name).read_bytes(), name)
        wheel, sdist = (one / name for name in names)
        with tarfile.open(sdist) as tar:
            members = tar.getmembers()
        self.assertEqual({member.mtime for member in members}, {1_000_000_000})
        self.assertEqual({(m.uid, m.gid, m.uname, m.gname) for m in members}, {(0, 0, "", "")})
        self.assertEqual({m.mode for m in members if m.isfile()}, {0o644, 0o755})
        shipped = {member.name.partition("/")[2] for member in members}
        kept = {name for name in self.git("ls-files").splitlines() if "changelog.d/" not in name}
        self.assertEqual(kept - shipped, set())
        made = {name for name in shipped if name and not (ROOT / name).exists()}
        self.assertLessEqual(made, {"PKG-INFO"} | {name for name in made if ".egg-info" in name})
        with zipfile.ZipFile(wheel) as zipped:
            self.assertEqual(
                {info.date_time for info in zipped.infolist()}, {(2001, 9, 9, 1, 46, 40)}
            )

    def test_refused(self) -> None:
        """A tag that is none, or of another version, is refused with a line that names it."""
        for tag, problem in (("v0.0.0", "v0.0.0"), ("other", "the tag other has the version")):
            if tag == "other":
                self.git("tag", tag)
            refused = self.assertRaises(SystemExit, self.release, self.repository, tag)
            self.assertIn(problem, str(refused))
            self.assertNotIn("Traceback", str(refused))

    def test_told(self) -> None:
        """One that the changelog says nothing of, or not all, is refused."""
        fragment = self.repository / "changelog.d" / "9.feature.1.md"
        changelog = self.repository / "CHANGELOG.md"
        for path, text, problem in (
            (fragment, "Something.", "has yet to take in changelog.d/9.feature.1.md"),
            (changelog, "# Changelog\n", f"has no part '## {TAG[1:]} (…)'"),
        ):
            path.write_text(text)
            self.git("add", "--all")
            self.git("commit", "--quiet", "--message", "more")
            self.git("tag", "--force", TAG)
            refused = str(self.assertRaises(SystemExit, self.release, self.repository))
            self.assertIn(problem, refused)
            fragment.unlink(missing_ok=True)

    def test_made(self) -> None:
        """One that says of itself that it is older than it is is refused: see the clock."""
        made = datetime.fromisoformat(f"{evcharge.MADE}T12:00:00+00:00")
        # No clock that is right may be before it.
        self.assertLess(made.date(), datetime.now(timezone.utc).date() + timedelta(days=1))
        for days, refused in ((30, False), (31, True)):
            when = f"{int((made + timedelta(days=days)).timestamp())} +0000"
            dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
            self.git("commit", "--quiet", "--amend", "--no-edit", f"--date={when}", **dates)
            self.git("tag", "--force", TAG)
            if refused:
                error = str(self.assertRaises(SystemExit, self.release, self.repository))
                self.assertIn(f"was made on {evcharge.MADE}, it says, and the tag's commit", error)
                self.assertNotIn("Traceback", error)
            else:
                self.release(self.repository)


class WheelTests(ReleaseTestCase):
    """The wheel alone, where there is no checkout and no git."""

    def setUp(self) -> None:
        """Install it into an empty environment, beside what it requires."""
        super().setUp()
        (wheel,) = self.release(self.repository).glob("*.whl")
        self.wheel = wheel
        self.environment = Path(self.mktemp()).absolute()
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", self.environment], check=True
        )
        (packages,) = self.environment.glob("lib/*/site-packages")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        # The pip of this environment takes its own evcharge for one that is there already.
        pip += ["--ignore-installed", "--disable-pip-version-check", "--no-warn-script-location"]
        python = self.environment / "bin" / "python"
        subprocess.run([*pip[:3], "--python", python, *pip[3:], wheel], check=True)
        # Behind the wheel, and without the links from there to this checkout.
        (packages / "required.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (self.environment / "bin" / "twistd").write_text(
            f"#!{python}\nfrom twisted.scripts.twistd import run\nrun()\n"
        )
        (self.environment / "bin" / "twistd").chmod(0o755)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.variables = {"PATH": str(self.environment / "bin"), "LANG": "C.UTF-8"}

    def run_there(self, *command: str, status: int = 0) -> str:
        """Run a command of the environment in an empty folder; what it prints."""
        done = subprocess.run(
            [self.environment / "bin" / command[0], *command[1:]],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout

    def test_whole(self) -> None:
        """It has each file of the package, and all that README says does what it says there."""
        with zipfile.ZipFile(self.wheel) as zipped:
            there = set(zipped.namelist())
        package = {name for name in self.git("ls-files", "evcharge", "twisted").splitlines()}
        self.assertEqual(package - there, set())
        self.assertEqual({name for name in there - package if ".dist-info/" not in name}, set())
        where = self.run_there("python", "-c", "import evcharge; print(evcharge.__file__)")
        self.assertTrue(where.startswith(str(self.environment)), where)
        self.assertEqual(self.run_there("evcharge", "--version"), f"evcharge {TAG[1:]}\n")
        trip = "--from -12.2664,-38.9663 --to -12.9714,-38.5014"
        for command, said in (
            ("evcharge --help", "evcharge simulate run"),
            ("evcharge charge 'Tesla Model 3' --to 80", "80 %"),
            (f"evcharge plan --car 'Tesla Model 3' --battery 25 {trip}", "54 stations considered"),
            ("evcharge bootstrap --storage sqlite:///net.db --roads --users 20", "20 users made"),
            ("evcharge backup --storage sqlite:///net.db copy.db", "a copy of"),
            ("evcharge export --storage sqlite:///net.db --data kept", "kept"),
            ("evcharge simulate new mine.toml", "mine.toml is written"),
            ("evcharge simulate check mine.toml", "drivers a day"),
            (
                "evcharge simulate run terminal --vary network.change.0.add_evses=0"
                " --replications 1 --workers 1 --out results",
                "results/report.html",
            ),
        ):
            printed = self.run_there(*shlex.split(command))
            self.assertIn(said, printed, f"{command}: {printed}")

    def test_served(self) -> None:
        """Its server answers drivers' programs and shows the page; the first program pays."""
        port, web = free_port(), free_port()
        with (self.folder / "log").open("w") as log:
            options = ["--language", "en", "--port", f"localhost:{port}"]
            options += ["--web-port", f"localhost:{web}", "--simulate", "demo", "--for-ever"]
            server = subprocess.Popen(
                [
                    self.environment / "bin" / "twistd",
                    "--nodaemon",
                    "--pidfile=",
                    "evcharge",
                    *options,
                ],
                cwd=self.folder,
                env=self.variables,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            until(
                lambda: " listens on " in (self.folder / "log").read_text(),
                "the server",
                process=server,
            )
            self.assertIn("200", self.run_there("evcharge", "ask", "START", "--port", str(port)))
            program = (ROOT / "docs" / "examples" / "first_client.py").read_text()
            program = program.replace("8888", str(port))
            self.assertIn("Payment confirmed", self.run_there("python", "-c", program))
            for name in (
                "",
                "static/app/main.js",
                "static/icon.svg",
                "api/v1/stations",
                "api/v1/openapi.json",
            ):
                with urllib.request.urlopen(f"http://localhost:{web}/{name}") as reply:
                    self.assertTrue(reply.read(), name)
        finally:
            server.terminate()
            self.assertEqual(server.wait(60), -signal.SIGTERM)
