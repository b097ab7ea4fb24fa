"""`evcharge simulate run` and `report`, run as people run them."""

import json
from pathlib import Path

from tests.commands.test_simulate import SimulateTestCase

SMALL = ("--set", "demand.drivers_per_day=60", "--replications", "2")


class RunTests(SimulateTestCase):
    """A study, from the command to its results."""

    def run_it(self, name: str, *words: str) -> dict[str, bytes]:
        """The files of results, by name."""
        folder = self.folder / name
        said = self.said("run", "weekday", *SMALL, *words, "--out", str(folder))
        self.assertIn(str(folder), said)
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    def test_same_bytes(self) -> None:
        """The same results with one process or two, and the command that repeats them."""
        one = self.run_it("one", "--workers", "1")
        two = self.run_it("two", "--workers=2")
        self.assertEqual(one, two)
        for name in ("manifest.json", "figures.json", "figures.csv", "hours.csv", "drivers.csv"):
            self.assertIn(name, one)
        self.assertEqual(
            json.loads(one["manifest.json"])["plan"]["command"],
            ["evcharge", "simulate", "run", "weekday", *SMALL],
        )

    def test_goes_on(self) -> None:
        """Asked again, it runs what is missing; other results are not written over."""
        before = self.run_it("out")
        lost = self.folder / "out" / "replications" / "base-1.json"
        lost.unlink()
        self.assertEqual(self.run_it("out"), before)
        words = ("run", "weekday", "--seed=8", "--out", str(self.folder / "out"))
        self.assertIn("has results of another run", self.said(*words, status=1))
        self.assertEqual((self.folder / "out" / "figures.csv").read_bytes(), before["figures.csv"])

    def test_report(self) -> None:
        """The tables are written again from what was run."""
        before = self.run_it("out")
        (self.folder / "out" / "figures.csv").unlink()
        self.said("report", str(self.folder / "out"))
        self.assertEqual((self.folder / "out" / "figures.csv").read_bytes(), before["figures.csv"])
        said = self.said("report", str(self.folder), status=1)
        self.assertIn("has no results", said)

    def test_variants(self) -> None:
        """Values of a key are compared."""
        files = self.run_it("out", "--vary", "driver.books=0,1", "--records=figures")
        self.assertIn("replications/books=0-0.json", files)
        self.assertIn("replications/books=1-1.json", files)
        self.assertNotIn("drivers.csv", files)

    def test_storage(self) -> None:
        """The data of one run is kept where that is wanted; of several, or beside others, not."""
        url = f"sqlite:///{self.folder / 'kept.sqlite'}"
        kept = self.run_it("kept", "--replications=1", "--storage", url)
        self.assertEqual(kept, self.run_it("plain", "--replications=1"))
        words = ("run", "weekday", *SMALL, "--storage", url, "--out", str(self.folder / "more"))
        self.assertIn("is not empty", self.said(*words, "--replications=1", status=1))
        self.assertIn("of one run, not of 2", self.said(*words, status=2))
        self.assertFalse((self.folder / "more" / "replications" / "base-0.json").exists())
        wrong = ("--replications=1", "--cluster", "tcp://127.0.0.1:1")
        self.assertIn("not go with --cluster", self.said(*words, *wrong, status=2))
        self.assertIn("must be files", self.said("run", "weekday", "--replications=1", "--storage",
                                                 "mysql://a", status=1))  # fmt: skip

    def test_mistakes(self) -> None:
        """A scenario with mistakes is not run, and nothing is written."""
        out = self.folder / "out"
        said = self.said("run", "weekday", "--set=days=0", "--out", str(out), status=1)
        self.assertEqual(
            said, "evcharge: --set: days: must be a whole number from 1 to 36600, not 0\n"
        )
        self.assertFalse(Path(out).exists())
