"""What is said at the end of the tests: which took longest, and how to get the tools they lack."""

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.servers import ROOT

EXAMPLE = """
import os
import socket
import time
from twisted.trial.unittest import SynchronousTestCase
from tests.support.tools import need

class ExampleTests(SynchronousTestCase):
    def test_long(self):
        time.sleep(0.2)

    def test_nc(self):
        need("bash", "nc")

    def test_haproxy(self):
        need("haproxy")

    def test_broken(self):
        folder = self.mktemp()
        os.mkdir(folder)
        os.mkfifo(folder + "/a")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(folder + "/b")
        open(folder + "/c", "w").close()
        self.fail("why not")

for number in range(10):
    setattr(ExampleTests, f"test_{number}", lambda self: None)
"""


class EndTests(SynchronousTestCase):
    """The last lines."""

    def test_end(self) -> None:
        """
        The longest test and module are named, and one command for all that is missing; what the
        tests wrote can be looked at.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "test_example.py").write_text(EXAMPLE)
        done = subprocess.run(
            [sys.executable, ROOT / "tools" / "tests.py", "--jobs=1", "test_example"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "PATH": "/nowhere"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual((done.returncode, "Traceback" in done.stderr), (1, False), done.stderr)
        self.assertTrue([*folder.glob("_trial_temp/**/test_broken/*/temp/c")])
        said = [line for line in done.stdout.splitlines() if line]
        end = said.index("FAILED (skips=2, failures=1, successes=11)")
        self.assertRegex(said[end + 1], r"^What took longest of \d+ s:$")
        took = {name: float(seconds) for seconds, _, name in map(str.split, said[end + 2 : -1])}
        self.assertEqual(len(took), 1 + 10)
        self.assertEqual(next(iter(took)), "test_example")
        self.assertGreaterEqual(took["test_example.ExampleTests.test_long"], 0.2)
        self.assertEqual(
            said[-1],
            "For want of tools 2 tests were skipped. On Debian and Ubuntu, as root: "
            "apt install bash haproxy",
        )
