"""docs/simulator/tutorial.md: its commands run again, and each number and picture is theirs."""

import importlib.util
import re
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.scenario import read
from evcharge.simulator.tree import shipped_scenarios
from tests.support.servers import ROOT

SPEC = importlib.util.spec_from_file_location("tutorial", ROOT / "tools" / "tutorial.py")
tutorial = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tutorial)

NUMBER = re.compile(r"(?<![\w.,−+])(?:± |[−+])?\d(?:[\d.,]*\d)?(?: %| points)?")
"""With its sign and its unit: 12 is not 12 %, and not ± 12."""


SHOWN = re.compile(r"^```console\n.*?^```\n|^[>|][^\n]*\n|!\[.*?\]", re.M | re.S)
"""What is not a person's, but has come out."""
CODE = re.compile(r"^```.*?^```\n|`[^`\n]*`|\]\(.*?\)", re.M | re.S)


def made() -> tuple[str, dict[str, str]]:
    """The page and its pictures as they are when its commands have been run."""
    page = tutorial.PAGE.read_text("utf-8")
    with TemporaryDirectory() as folder:
        return tutorial.rewritten(page, tutorial.run_all(page, Path(folder)), Path(folder))


class TutorialTests(SynchronousTestCase):
    """The page, and what comes of its commands."""

    def setUp(self) -> None:
        self.page = tutorial.PAGE.read_text("utf-8")

    def test_made(self) -> None:
        """
        All that commands print, reports say and tables hold comes again as it is shown; and the
        pictures are the reports', byte for byte where the same library drew them.
        """
        # In one test: what takes long is to run the commands, and each may be in another process.
        page, pictures = made()
        self.assertEqual(page.splitlines(), self.page.splitlines())
        self.assertGreaterEqual(len(tutorial.commands(self.page)), 8)
        self.assertGreaterEqual(len(tutorial.TABLE.findall(self.page)), 6)
        self.assertNotIn("…", self.page)
        kept = {path.name: path.read_text("utf-8") for path in tutorial.PICTURES.iterdir()}
        self.assertEqual(sorted(kept), sorted(pictures))
        for name, svg in kept.items():
            if f"<!-- matplotlib {version('matplotlib')} -->" in svg:
                self.assertEqual(svg, pictures[name])
            said = [re.search('aria-label="(.*?)"', each)[1] for each in (svg, pictures[name])]
            self.assertEqual(*said)

    def test_numbers(self) -> None:
        """Each number in the text stands in what came out, or in a command."""
        shown = NUMBER.findall("\n".join(SHOWN.findall(self.page)))
        told = NUMBER.findall(CODE.sub("", SHOWN.sub("", self.page)))
        self.assertGreater(len(told), 30)
        self.assertEqual([each for each in told if each not in shown], [])

    def test_keys(self) -> None:
        """What the text says of the scenarios is in them."""
        text = SHOWN.sub("", self.page)
        for name, said in (("terminal", "habit = 0.8"), ("weekday", "price = 0.2")):
            self.assertIn(f"`{said}`", text)
            self.assertIn(said, shipped_scenarios()[name])
        self.assertEqual(re.findall(r"`[a-z]+ = [\d.]+`", text), ["`habit = 0.8`", "`price = 0.2`"])

    def test_scenarios(self) -> None:
        """Each scenario on the page can be read."""
        found = re.findall(r"^```toml\n(.*?)^```", self.page, re.M | re.S)
        self.assertTrue(found)
        for content in found:
            path = Path(self.mktemp())
            path.write_text(content, "utf-8")
            self.assertTrue(read(str(path)).network.tariffs)
