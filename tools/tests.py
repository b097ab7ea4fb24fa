"""
Runs tests as `python -m twisted.trial` does, and says at the end which took longest, and how to get
the tools for want of which some were skipped.

    python -Wall tools/tests.py --jobs 2 tests
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.scripts import trial
from twisted.trial._dist.disttrial import DistTrialRunner

from tests.support.tools import HOW

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


if __name__ == "__main__":
    DistTrialRunner._distReporterFactory = Reporter
    try:
        trial.run()
    finally:
        print(*report(), sep="\n")
