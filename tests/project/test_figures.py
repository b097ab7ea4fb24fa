"""The pictures of the documentation: all are there, are shown somewhere, and are not heavy."""

import re

from PIL import Image
from twisted.trial.unittest import SynchronousTestCase

from tests.support.servers import ROOT

FIGURES = ROOT / "docs" / "figures"
MOST_BYTES = {".gif": 1_000_000, ".png": 250_000, ".svg": 100_000}
LEAST_FRAMES, LEAST_MS = 50, 5000


class FigureTests(SynchronousTestCase):
    """What is in docs/figures."""

    def test_shown(self) -> None:
        """Each picture that a page shows is there, and each that is there is shown."""
        pages = [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]
        shown = {
            (page.parent / path).resolve()
            for page in pages
            for path in re.findall(r"!\[[^\]]+\]\(([^)]*figures/[^)]*)\)", page.read_text())
        }
        there = {path for path in FIGURES.rglob("*") if path.is_file()}
        self.assertEqual(shown, there)

    def test_weight(self) -> None:
        """None is a long wait."""
        for path in FIGURES.rglob("*.*"):
            self.assertLessEqual(path.stat().st_size, MOST_BYTES[path.suffix], path.name)

    def test_moving(self) -> None:
        """Those that the READMEs begin with move, for some seconds and for ever again."""
        for page in ROOT.glob("README*.md"):
            first = re.search(r"!\[.*\]\((.*)\)", page.read_text())[1]
            with Image.open(ROOT / first) as picture:
                self.assertEqual((picture.format, picture.info["loop"]), ("GIF", 0))
                lasts = []
                for number in range(picture.n_frames):
                    picture.seek(number)
                    lasts.append(picture.info["duration"])
            self.assertGreaterEqual(len(lasts), LEAST_FRAMES)
            self.assertGreaterEqual(sum(lasts), LEAST_MS)
