"""The console script: what it lists, what it says to wrong words, and a full disk."""

import contextlib
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge import cli
from tests.support.scripted import environment
from tests.support.servers import ROOT, ServerTestCase

COMMAND = [sys.executable, "-c", "from evcharge.cli import main; main()"]

FULL = (1, ["evcharge: the output cannot be written: No space left on device"])


class OutputTests(ServerTestCase):
    """Each command says why it cannot tell what it has to."""

    def said(self, *arguments: str, **more: str) -> tuple[int, list[str]]:
        """With which status a command ends whose output goes to a full disk, and what it says."""
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(**more),
            )
        return done.returncode, done.stderr.splitlines()

    def test_full(self) -> None:
        """Every command that prints ends with a message and a status."""
        server = self.start(Path(self.mktemp())).wait()
        at = ("--port", str(server.port))
        data = Path(self.mktemp()).absolute()
        examples = ROOT / "docs" / "examples"
        files = (f"--tariff={examples}/tariff.json", f"--session={examples}/session.json")
        for arguments in (
            ("--help",),
            ("--version",),
            ("price", "--help"),
            ("charge", "Tesla Model 3"),
            ("price", *files),
            ("price", "--json", *files),
            ("simulate", "new", "--list"),
            ("simulate", "check", "weekday"),
            ("ask", *at, "START"),
            ("ask", *at, "--json", "START"),
            ("drive", *at),
            ("watch", *at),
            ("bootstrap", "--data", str(data), "--users", "1"),
            ("evse", "1-1", "--storage", f"files:{data}"),
            ("migrate", "--from", f"files:{data}", "--to", f"sqlite:///{data}.db"),
            ("backup", "--storage", f"files:{data}", f"{data}-copy"),
            ("export", "--storage", f"sqlite:///{data}.db", "--data", f"{data}-out"),
            ("apply", f"{data}-out", "--storage", f"sqlite:///{data}.db"),
        ):
            self.assertEqual(self.said(*arguments), FULL, arguments)

    def test_unbuffered(self) -> None:
        """Whoever buffers, it is the same."""
        for arguments in (("--help",), ("charge", "Tesla Model 3")):
            self.assertEqual(self.said(*arguments, PYTHONUNBUFFERED="1"), FULL, arguments)

    def test_closed(self) -> None:
        """Where there is no output at all, a command does what it does."""
        shell = ["sh", "-c", '"$@" >&-', "sh", *COMMAND, "charge", "Tesla Model 3"]
        done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, env=environment())
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class WordsTests(SynchronousTestCase):
    """What a person types, and is told."""

    def run_(self, *words: str, columns: int = 80) -> tuple[object, str, str]:
        """Status, output and errors of a command."""
        self.patch(os, "environ", {**os.environ, "COLUMNS": str(columns)})
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as errors,
            self.assertRaises(SystemExit) as ended,
        ):
            cli.main(words)
        return ended.exception.code, out.getvalue(), errors.getvalue()

    def test_alone(self) -> None:
        """Without a command each is listed with an example, as --help does; it is wrong usage."""
        for words in ((), ("simulate",)):
            status, out, told = self.run_(*words)
            self.assertEqual((status, out), (2, ""))
            self.assertEqual(self.run_(*words, "--help"), (0, told, ""))
        _, _, told = self.run_()
        for name in cli.COMMANDS:
            self.assertRegex(told, rf"\n  {name} +\S.*\n( {{5,}}\S.*\n)* +evcharge {name} ")
        self.assertIn("\n  ask        send one request to a server and print its reply\n", told)
        self.assertIn("\n             evcharge ask START\n", told)

    def test_width(self) -> None:
        """Nothing but an example is wider than the terminal."""
        for words in (("--help",), ("simulate", "--help"), ("ask", "--help"), ("plan", "--help")):
            for columns in (50, 80):
                _, told, _ = self.run_(*words, columns=columns)
                wide = [line for line in told.splitlines() if len(line) > columns]
                self.assertEqual([line for line in wide if "  evcharge " not in line], [])
                self.assertTrue(columns < 80 or not wide, wide)
                self.assertNotRegex(told, r"-\n|[ ]\n")

    def test_examples(self) -> None:
        """Each example can be typed as it is."""
        parser = cli._parser("")
        found = [*parser._commands.choices.values()]
        for each in found:
            if each._commands is not None:
                found += each._commands.choices.values()
            program, *words = shlex.split(each.example)
            self.assertEqual(program, "evcharge")
            self.assertTrue(callable(parser.parse_args(words).run), each.example)

    def test_wrong(self) -> None:
        """Wrong words get one line: what is wrong, the nearest there is, and what lists all."""
        for words, program, said in (
            ("aks", "", "no such command: aks; did you mean ask? (`evcharge --help` lists all)"),
            ("ask --prot 9 START", " ask", "no such option: --prot; did you mean --port?"),
            ("ask --port", " ask", "--port needs a value"),
            ("ask", " ask", "TYPE is missing, as in: evcharge ask START"),
            ("ask --tls=1 START", " ask", "--tls takes no value"),
            ("ask --t START", " ask", "--t is short for several: --tls, --timeout"),
            ("ask A --language fr", " ask", "--language must be one of pt, en, not 'fr'"),
            ("charge a b", " charge", "'b' is one too many"),
            ("charge a --from x", " charge", "--from must be a number from 0 to 100, not 'x'"),
            ("simulate rnu", " simulate", "no such command: rnu; did you mean run?"),
            ("simulate new --lst", " simulate new", "no such option: --lst; did you mean --list?"),
            ("evse 7-1 --http x --storage y", " evse", "leave out --storage or --http"),
            ("--bad", "", "no such option: --bad (`evcharge --help` lists all options)"),
        ):
            status, told, errors = self.run_(*words.split())
            self.assertEqual((status, told, errors.count("\n")), (2, "", 1), words)
            self.assertTrue(errors.startswith(f"evcharge{program}: {said}"), errors)
            self.assertIn(f"(`evcharge{program} --help` lists all", errors)
