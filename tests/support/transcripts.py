"""The commands that a page shows in its `console` blocks, run again."""

import os
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.servers import ROOT
from tests.support.tools import need


def shell(folder: Path, line: str) -> str:
    """What a command line prints in `folder`, where `evcharge` is that of this checkout."""
    program = f"{sys.executable} -c 'from evcharge.cli import main; main()'"
    done = subprocess.run(
        [need("bash"), "-c", f'evcharge() {{ {program} "$@"; }}; {line}'],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def replay(test: SynchronousTestCase, page: Path, folder: Path) -> int:
    """
    Run the commands of a page: each prints what the page says, where `…` may be anything.

    :return: how many there are.
    """
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.M | re.S)
    commands = [each for block in blocks for each in re.split(r"^\$ ", block, flags=re.M)[1:]]
    for each in commands:
        line, _, shown = each.partition("\n")
        pattern = ".*".join(map(re.escape, shown.split("…")))
        test.assertRegex(shell(folder, line), rf"\A{pattern}\Z")
    return len(commands)
