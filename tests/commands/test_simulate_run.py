"""`evcharge simulate run` and `report`, run as people run them."""

import json
import re
import shlex
import signal
import subprocess
from pathlib import Path

from tests.commands.test_simulate import SimulateTestCase
from tests.simulator.test_study import files
from tests.support.scripted import COMMAND, command, environment
from tests.support.waiting import until

SMALL = ("--set", "demand.drivers_per_day=60", "--replications", "2")


class RunTests(SimulateTestCase):
    """A study, from the command to its results."""

    def run_it(self, name: str, *words: str) -> dict[str, bytes]:
        """The files of results, by name."""
        folder = self.folder / name
        # Processes to run so little in would take longer to begin than it does.
        line = (*SMALL, "--workers=1", *words)
        said = self.said("run", "weekday", *line, "--out", str(folder))
        self.assertIn(str(folder), said)
        return files(folder)

    def test_same_bytes(self) -> None:
        """The same results with one process or two, and the command that repeats them."""
        one = self.run_it("one")
        two = self.folder / "two"
        done = command("simulate", "run", "weekday", *SMALL, "--workers=2", "--out", str(two))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(str(two), done.stdout)
        self.assertEqual(one, files(two))
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

    def test_other_language(self) -> None:
        """The command in a report makes that report, in its language."""
        words = ("--replications=1", "--language", "en")
        one = self.run_it("one", *words)
        before = one["report.html"].decode()
        line = re.search("<pre>evcharge (simulate run [^<]*)</pre>", before)
        assert line is not None
        self.said(*shlex.split(line[1])[1:], "--out", str(self.folder / "two"))
        self.assertEqual(files(self.folder / "two"), one)
        self.said("report", str(self.folder / "one"))
        self.assertIn('lang="pt-BR"', (self.folder / "one" / "report.html").read_text())
        self.said("report", str(self.folder / "one"), "--language=en")
        self.assertEqual(files(self.folder / "one"), one)

    def test_anywhere(self) -> None:
        """Report and manifest, too, are the same in another time zone and language of the machine,
        and whatever order strings are kept in."""
        one = self.run_it("one", "--vary", "driver.books=0,1", "--replications=1")
        elsewhere = {"TZ": "Asia/Tokyo", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "5"}
        line = ("simulate", "run", "weekday", *SMALL, "--vary", "driver.books=0,1")
        other = self.folder / "other"
        done = command(*line, "--replications=1", "--out", str(other), **elsewhere)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("report.html", one)
        self.assertEqual(files(other), one)

    def test_report_of_two(self) -> None:
        """Two results have one report, which says how it is made again."""
        self.run_it("a")
        self.run_it("b", "--set", "driver.books=1")
        folders = [str(self.folder / name) for name in ("a", "b")]
        out = self.folder / "both"
        self.said("report", *folders, "--language=en", "--out", str(out))
        text = (out / "report.html").read_text()
        again = f"evcharge simulate report {' '.join(folders)} --language en"
        self.assertIn(f"<pre>{again}</pre>", text)
        self.said("report", folders[0], "--out", str(self.folder / "c"))
        self.assertTrue((self.folder / "c" / "report.html").exists())
        self.assertIn("is named twice", self.said("report", folders[0], folders[0], status=1))
        said = self.said("report", *folders, "--out", str(out / "report.html"), status=1)
        self.assertEqual(said, f"evcharge: {out}/report.html: is a file, not a folder\n")

    def test_no_room(self) -> None:
        """A report for which there is no room is told, and what was there is as it was."""
        before = self.run_it("out")
        line = shlex.join([*COMMAND, "simulate", "report", str(self.folder / "out")])
        done = subprocess.run(
            ["sh", "-c", f"ulimit -f 1; exec {line} --language en"],
            capture_output=True,
            text=True,
            env=environment(PYTHONDONTWRITEBYTECODE="1", MPLCONFIGDIR=str(self.folder)),
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, f"evcharge: {self.folder}/out: File too large\n")
        self.assertEqual(files(self.folder / "out"), before)

    def test_interrupted_report(self) -> None:
        """Ctrl-C while the report is made says by what it is made again."""
        self.run_it("out")
        out = self.folder / "out"
        for name in ("stations.csv", "report.html"):
            (out / name).unlink()
        process = subprocess.Popen(
            [*COMMAND, "simulate", "report", str(out)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        # The pictures are made after the tables.
        until((out / "stations.csv").exists, "the tables")
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
        self.assertEqual((said, process.returncode), ("", 130))
        self.assertEqual(
            errors,
            f"evcharge: {out}: the report is not written; it is by: "
            f"evcharge simulate report {out}\n",
        )
        self.assertEqual([name for name in files(out) if name.endswith(".tmp")], [])

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
