"""
docs/simulator/tutorial.md, and its Portuguese twin: the commands run again, and each number and
picture is theirs.
"""

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

NUMBER = re.compile(r"(?<![\w.,−+])(?:± |[−+])?\d(?:[\d.,]*\d)?(?: %| points| pontos)?")
"""With its sign and its unit: 12 is not 12 %, and not ± 12."""


SHOWN = re.compile(r"^```console\n.*?^```\n|^[>|][^\n]*\n|!\[.*?\]", re.M | re.S)
"""What is not a person's, but has come out."""
CODE = re.compile(r"^```.*?^```\n|`[^`\n]*`|\]\(.*?\)", re.M | re.S)


class TutorialTests(SynchronousTestCase):
    """The page in both languages, and what comes of its commands."""

    def setUp(self) -> None:
        self.pages = {name: path.read_text("utf-8") for name, path in tutorial.PAGES.items()}

    def test_made(self) -> None:
        """
        All that commands print, reports say and tables hold comes again as it is shown; and the
        pictures are the reports', byte for byte where the same library drew them.
        """
        # In one test: what takes long is to run the commands, and each may be in another process.
        with TemporaryDirectory() as folder:
            made = tutorial.made(Path(folder))
        self.assertEqual(set(made), {"en", "pt"})
        for language, (page, pictures) in made.items():
            self.assertEqual(page.splitlines(), self.pages[language].splitlines())
            self.assertGreaterEqual(len(tutorial.commands(page)), 8)
            self.assertGreaterEqual(len(tutorial.TABLE.findall(page)), 6)
            self.assertNotIn("…", page)
            folder = tutorial.PICTURES[language]
            kept = {path.name: path.read_text("utf-8") for path in folder.glob("*.svg")}
            self.assertEqual(sorted(kept), sorted(pictures))
            self.assertGreaterEqual(len(kept), 3)
            for name, svg in kept.items():
                if f"<!-- matplotlib {version('matplotlib')} -->" in svg:
                    self.assertEqual(svg, pictures[name])
                said = [re.search('aria-label="(.*?)"', each)[1] for each in (svg, pictures[name])]
                self.assertEqual(*said)

    def test_numbers(self) -> None:
        """Each number in the text stands in what came out, or in a command."""
        for page in self.pages.values():
            shown = NUMBER.findall("\n".join(SHOWN.findall(page)))
            told = NUMBER.findall(CODE.sub("", SHOWN.sub("", page)))
            self.assertGreater(len(told), 30)
            self.assertEqual([each for each in told if each not in shown], [])

    def test_keys(self) -> None:
        """What the text says of the scenarios is in them."""
        told = (("terminal", "habit = 0.8"), ("weekday", "price = 0.2"))
        for name, said in told:
            self.assertIn(said, shipped_scenarios()[name])
        for page in self.pages.values():
            found = re.findall(r"`([a-z]+ = [\d.]+)`", SHOWN.sub("", page))
            self.assertEqual(found, [said for _, said in told])

    def test_scenarios(self) -> None:
        """Each scenario on the page can be read."""
        found = re.findall(r"^```toml\n(.*?)^```", self.pages["en"], re.M | re.S)
        self.assertTrue(found)
        for content in found:
            path = Path(self.mktemp())
            path.write_text(content, "utf-8")
            self.assertTrue(read(str(path)).network.tariffs)
