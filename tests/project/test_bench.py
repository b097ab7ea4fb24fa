"""Tests of `benchmarks/requests.py`, as far as they need nothing of the machine's."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial import unittest

ROOT = Path(__file__).resolve().parents[2]


class InstructionsTest(unittest.TestCase):
    """What valgrind is needed for."""

    def test_says_in_one_line_how_to_get_valgrind(self) -> None:
        """Without valgrind, counting instructions ends at once and names the package."""
        empty = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, empty)
        done = subprocess.run(
            [sys.executable, "benchmarks/requests.py", "--instructions"],
            cwd=ROOT,
            env={**os.environ, "PATH": empty},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            done.stderr,
            "requests.py: valgrind counts instructions: install it "
            "(Debian: apt install valgrind)\n",
        )
