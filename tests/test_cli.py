"""The console script, where its output cannot be written."""

import subprocess
import sys
from pathlib import Path

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
