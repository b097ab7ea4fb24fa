"""
Runs tests as `python -m twisted.trial` does, and says at the end which took longest, and how to get
the tools for want of which some were skipped.

    python -Wall tools/tests.py --jobs 2 tests
"""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.scripts import trial
from twisted.trial._dist.disttrial import DistTrialRunner

from tests.support import watcher
from tests.support.tools import HOW

MEMORY, KEPT = Path("/dev/shm"), Path("_trial_temp")
NEEDED = 2 << 30
"""Bytes that have to be free in memory for the tests' files."""

TESTS, MODULES = 10, 5
"""Of how many it is said how long they took."""

began: dict[str, float] = {}
took: Counter[str] = Counter()
packages: list[str] = []
"""A package for each test that was skipped for want of it."""


# Trial tells its reporter of a test when it has ended; only this one hears when it begins.
class Reporter(DistTrialRunner._distReporterFactory):  # type: ignore[misc, name-defined]
    """Takes down how long each test takes, from its process being asked to its last word."""

    def startTest(self, test: object) -> None:
        began[test.id()] = time.monotonic()  # type: ignore[attr-defined]
        super().startTest(test)

    def stopTest(self, test: object) -> None:
        name = test.id()  # type: ignore[attr-defined]
        took[name] = time.monotonic() - began.pop(name)
        super().stopTest(test)

    def addSkip(self, test: object, reason: str) -> None:
        if HOW in str(reason):
            packages.append(str(reason).partition(HOW)[2])
        super().addSkip(test, reason)


def report() -> Sequence[str]:
    """What to say at the end."""
    modules: Counter[str] = Counter()
    for name, seconds in took.items():
        modules[name.rsplit(".", 2)[0]] += seconds
    lines = []
    if len(took) > TESTS:
        lines.append(f"\nWhat took longest of {took.total():.0f} s:")
        for counted, most in ((modules, MODULES), (took, TESTS)):
            lines += [f"{seconds:6.1f} s  {name}" for name, seconds in counted.most_common(most)]
    if packages:
        lines.append(
            f"\nFor want of tools {len(packages)} tests were skipped. On Debian and Ubuntu, "
            f"as root: {HOW}{' '.join(sorted(set(packages)))}"
        )
    return lines


def in_memory() -> Path | None:
    """A folder in memory for what tests write and flush very often; None where that cannot be."""
    # In containers there are often but 64 MB, and no program may run there.
    try:
        there = os.statvfs(MEMORY)
        if there.f_bavail * there.f_frsize < NEEDED or there.f_flag & os.ST_NOEXEC:
            return None
        # Short, as a socket's path has at most 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="ev-", dir=MEMORY))
    except OSError:
        return None
    watcher.remove(folder)
    # Some tests are run by somebody else.
    folder.chmod(0o755)
    return folder


def run() -> None:
    """Run the tests; what they wrote is in `_trial_temp` then, as trial has it, if one failed."""
    folder = in_memory()
    if folder is None:
        return trial.run()
    written = folder / "t"
    sys.argv.insert(1, f"--temp-directory={written}")
    try:
        trial.run()
    except SystemExit as ended:
        if ended.code and written.exists():
            shutil.rmtree(KEPT, ignore_errors=True)
            # All but sockets and the like, of which it tells at the end.
            with contextlib.suppress(shutil.Error):
                shutil.copytree(written, KEPT, symlinks=True, dirs_exist_ok=True)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    DistTrialRunner._distReporterFactory = Reporter
    try:
        run()
    finally:
        print(*report(), sep="\n")
