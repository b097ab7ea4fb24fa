"""`evcharge simulate`, run as people run it."""

import shlex
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.scenario import read
from tests.support.commands import run
from tests.support.scripted import COMMAND, environment


class SimulateTestCase(SynchronousTestCase):
    """Commands, and what they say."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "my.toml"

    def said(self, *words: str, status: int = 0) -> str:
        """What `evcharge simulate` says, where it ends with this status; nothing elsewhere."""
        # In this process: one of its own imports for a second, and matplotlib for another.
        found, said, errors = run("simulate", *words)
        self.assertEqual(found, status, errors)
        self.assertEqual(errors if status == 0 else said, "")
        return said if status == 0 else errors


class NewTests(SimulateTestCase):
    """The example that is written."""

    def test_new(self) -> None:
        """It is a scenario, and what it means is named as the next step."""
        said = self.said("new", str(self.file))
        self.assertIn(f"evcharge simulate check {self.file}", said)
        self.assertEqual(read(self.file).demand, read("weekday").demand)

    def test_there(self) -> None:
        """A file that is there stays as it is."""
        self.file.write_text("mine")
        said = self.said("new", str(self.file), status=1)
        self.assertEqual(said, f"evcharge: {self.file} is there already; nothing was written\n")
        self.assertEqual(self.file.read_text(), "mine")

    def test_cannot(self) -> None:
        """What cannot be written is said, and leaves nothing."""
        said = self.said("new", str(self.folder / "no" / "my.toml"), status=1)
        self.assertEqual(said, f"evcharge: {self.folder}/no/my.toml: No such file or directory\n")
        self.assertIn("needs the FILE", self.said("new", status=2))

    def test_full(self) -> None:
        """Nothing half-written is left where there is no room for all of it."""
        line = shlex.join([*COMMAND, "simulate", "new", str(self.file)])
        done = subprocess.run(
            ["sh", "-c", f"ulimit -f 1; exec {line}"],
            capture_output=True,
            text=True,
            env=environment(PYTHONDONTWRITEBYTECODE="1"),
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, f"evcharge: {self.file}: File too large\n")
        self.assertFalse(self.file.exists())

    def test_list(self) -> None:
        """The shipped ones are listed with their titles."""
        lines = self.said("new", "--list").splitlines()
        self.assertEqual(
            [line.split()[0] for line in lines],
            ["demo", "growth", "holiday", "terminal", "weekday"],
        )
        self.assertEqual(lines[-1], "weekday     Feira de Santana, a weekday")


class CheckTests(SimulateTestCase):
    """What a scenario means, or what is wrong with it."""

    def test_words(self) -> None:
        """In either language, with what is set on the command line."""
        said = self.said("check", "weekday", "--set", "days=7", "--vary", "driver.books=0,1")
        self.assertIn("900 drivers a day, 37.5 an hour", said)
        self.assertIn("driver.books: 0, 1", said)
        said = self.said("check", "weekday", "--set=days=7", "--language=pt")
        self.assertIn("900 motoristas por dia, 37,5 por hora", said)

    def test_mistakes(self) -> None:
        """All at once, by file, line and key, and those of options by option."""
        self.file.write_text("dais = 1\n[demand]\ndrivers_per_day = 'many'\n")
        said = self.said("check", str(self.file), "--seed", "x", "--replications=0", status=1)
        self.assertEqual(
            said.splitlines(),
            [
                f"evcharge: {self.file}:1: dais: there is no such key; the nearest is days",
                f"{self.file}:3: demand.drivers_per_day: must be a number from 0 to 1e+07, "
                'not "many"',
                '--seed: study.seed: must be a whole number from 0 to 9.22337e+18, not "x"',
                "--replications: study.replications: must be a whole number "
                "from 1 to 100000, not 0",
            ],
        )

    def test_options(self) -> None:
        """An option that cannot be read is told as such."""
        said = self.said("check", "weekday", "--set", "days", status=2)
        self.assertEqual(said, "evcharge: --set must be key=value, not 'days'\n")
        twice = ("--vary=driver.books=0", "--vary", "driver.books=1")
        said = self.said("check", "weekday", *twice, status=2)
        self.assertEqual(
            said, "evcharge: --vary: driver.books is there twice; all its values go into one\n"
        )

    def test_no_such_table(self) -> None:
        """A key in a table that there is not is told by the option that names it."""
        for option, value in (("--set", "network.chang.a=1"), ("--vary", "foo.bar=1,2")):
            said = self.said("check", "weekday", option, value, status=1)
            self.assertIn(f"evcharge: {option}: ", said)
            self.assertIn("there is no such key", said)


class ParserTests(SimulateTestCase):
    """Options of the others."""

    def test_help(self) -> None:
        """Each has a help with an example."""
        listed = " ".join(self.said("--help").split())
        for word in ("new", "check", "run", "report", "drive"):
            self.assertIn(f"evcharge simulate {word}", listed)
            self.assertIn("usage:", self.said(word, "--help"))

    def test_wrong(self) -> None:
        """Wrong values are told by their option."""
        for words, expected in (
            (("run", "weekday", "--workers=0"), "--workers must be a whole number from 1 to 256"),
            (
                ("run", "weekday", "--records=some"),
                "--records must be one of all, figures, not 'some'",
            ),
            (("drive", "weekday", "--speed=601"), "--speed must be a number from 1 to 600"),
            (("drive", "weekday", "--hours=0"), "--hours must be a number from 0.001"),
        ):
            self.assertIn(expected, self.said(*words, status=2))
