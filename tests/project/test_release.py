"""A release is the same bytes, whenever and wherever it is built."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import evcharge
from tests.support.servers import ROOT

TAG = f"v{evcharge.__version__}"
WHO = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
for role in ("AUTHOR", "COMMITTER"):
    WHO |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test"}
    WHO |= {f"GIT_{role}_DATE": "1000000000 +0200"}


class ReleaseTests(SynchronousTestCase):
    """tools/release.py."""

    def setUp(self) -> None:
        """A repository of what is in this checkout, with a tag."""
        self.repository = Path(self.mktemp()).absolute()
        self.repository.mkdir()
        for part in ("evcharge", "twisted", "docs", "tests", "tools", "benchmarks"):
            leave = shutil.ignore_patterns("__pycache__", "_trial_temp*", "*.cache")
            shutil.copytree(ROOT / part, self.repository / part, ignore=leave)
        for path in ROOT.iterdir():
            if path.suffix in (".toml", ".cfg", ".in", ".md", ".txt", ".yml") or path.name in (
                "Dockerfile",
                "LICENSE",
                "Makefile",
            ):
                shutil.copy(path, self.repository)
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "all")
        self.git("tag", TAG)

    def git(self, *arguments: str, **more: str) -> None:
        environment = {**os.environ, **WHO, **more}
        subprocess.run(
            ["git", *arguments],
            cwd=self.repository,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

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
        self.assertEqual({m.mode for m in members if m.isfile()}, {0o644})
        shipped = {member.name.partition("/")[2] for member in members}
        for name in ("constraints.txt", "docs/operation/evcharge.service", "tools/release.py"):
            self.assertIn(name, shipped)
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
