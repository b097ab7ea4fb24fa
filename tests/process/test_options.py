"""The options, and the page that is made of them."""

import re
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.options import Options
from tests.support.servers import ROOT

PAGE = ROOT / "docs" / "operation" / "options.md"
ROW = re.compile(r"^\| `--([\w-]+)`(?:, `-(\w)`)? \| (.+) \|$", re.M)


class PageTests(SynchronousTestCase):
    """docs/operation/options.md and --help name the same options."""

    def setUp(self) -> None:
        text = PAGE.read_text().partition("\n## Ports")[0]
        self.rows = {name: (short, said) for name, short, said in ROW.findall(text)}

    def test_names(self) -> None:
        """Each option stands in a table, with its short form, and no other."""
        usage = Options().getUsage()
        listed = re.findall(r"^ +(?:-(\w), )?--([\w-]+)=?(?: |$)", usage, re.M)
        self.assertEqual(
            {name: short for name, (short, _) in self.rows.items()},
            {name: short for short, name in listed if name not in ("help", "version")},
        )

    def test_made(self) -> None:
        """What is said of each is what the code says, as tools/options.py writes it."""
        made = subprocess.run(
            [sys.executable, str(ROOT / "tools" / "options.py"), "--print"],
            env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        self.assertEqual(PAGE.read_text(), made, "run: python tools/options.py")
        self.assertIn("From 1 to 64. Default: `1`.", self.rows["workers"][1])
        self.assertIn("Default: `5`.", self.rows["sweep-interval"][1])
