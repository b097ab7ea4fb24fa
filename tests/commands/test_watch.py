"""`evcharge watch`: a table that changes as the stations do."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

from evcharge.client import Client
from tests.support.ports import free_port
from tests.support.scripted import COMMAND, command, environment, reply, says, scripted
from tests.support.servers import LOGIN, ServerTestCase
from tests.support.waiting import LIMIT_S


class Watching:
    """`evcharge watch`, under way; what it writes is waited for."""

    def __init__(self, *words: str, terminal: bool = False) -> None:
        self.said = ""
        if terminal:
            self.output, end = pty.openpty()
            os.set_blocking(self.output, False)
            os.environ.setdefault("TERM", "xterm")
        else:
            self.output, end = os.pipe()
        self.process = subprocess.Popen(
            [*COMMAND, "watch", *words], stdout=end, stderr=end, env=environment(LINES="12")
        )
        os.close(end)

    def until(self, pattern: str) -> str:
        """Wait until something like this was written; all that was written up to its end."""
        ends = time.monotonic() + LIMIT_S
        while (found := re.search(pattern, self.said, re.S)) is None:
            ready, _, _ = select.select([self.output], [], [], max(0, ends - time.monotonic()))
            try:
                part = os.read(self.output, 65536) if ready else b""
            except OSError:
                part = b""
            if not part:
                raise AssertionError(f"no {pattern} in {self.said}")
            self.said += part.decode()
        said, self.said = self.said[: found.end()], self.said[found.end() :]
        return said

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(LIMIT_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.output)


class WatchTests(ServerTestCase):
    """Against a real server."""

    def setUp(self) -> None:
        self.server = self.start(Path(self.mktemp())).wait()

    def watch(self, *words: str, port: int = 0, terminal: bool = False) -> Watching:
        watching = Watching("--port", str(port or self.server.port), *words, terminal=terminal)
        self.addCleanup(watching.close)
        return watching

    def pay(self, station: int, port: int = 0) -> None:
        with Client(port=port or self.server.port) as server:
            user = server.request("LOGIN", **LOGIN)["data"]["user_id"]
            paid = server.request("PAYMENT", user_id=user, id_station=station, confirmation=True)
            self.assertTrue(paid["data"]["confirmation"])

    def test_log(self) -> None:
        """Into a pipe it writes the table, and then a line for each change."""
        watching = self.watch("--stations", "7,9,1")
        said = watching.until(r"9  Centro de Abastecimento .*\n")
        self.assertRegex(said, r"\A3 postos, 16 de 16 vagas livres, fila 0 · ao vivo, [\d:]{8}\n")
        self.assertRegex(said, r"\nid  Posto +Livres  Fila +kW  R\$/kWh\n")
        self.assertRegex(said, r"\n 7  Paço Municipal Maria Quitéria +2/2 +0 +11 +1,40\n")
        self.pay(5)
        self.pay(7)
        said = watching.until(r"Quitéria: 1/2, fila 0\n")
        self.assertRegex(said, r"\A[\d:]{8}  7  Paço Municipal Maria Quitéria: 1/2, fila 0\n\Z")
        self.assertEqual(watching.interrupt(), 130)

    def test_terminal(self) -> None:
        """A terminal shows as much of the table as it has room for, and is then as before."""
        watching = self.watch("--language", "en", terminal=True)
        said = watching.until("more: --stations chooses.*\x1b\\[J")
        self.assertTrue(said.startswith("\x1b[?1049h\x1b[?25l\x1b[H36 stations, 169 of 169 slots"))
        shown = said.splitlines()
        self.assertLessEqual(len(shown), 12)
        self.assertLessEqual(max(len(re.sub("\x1b[^a-zA-Z]*.", "", line)) for line in shown), 80)
        self.pay(1)
        said = watching.until("\x1b\\[1m[^\x1b]*\x1b\\[0m")
        self.assertRegex(said, r"\x1b\[1m 1  Boulevard Shopping +7/8 ")
        watching.process.send_signal(signal.SIGINT)
        watching.until("\x1b\\[\\?25h\x1b\\[\\?1049l")
        self.assertEqual(watching.process.wait(LIMIT_S), 130)

    def test_lost(self) -> None:
        """When the server goes it says so, and goes on when there is one again."""
        port, data = free_port(), Path(self.mktemp())
        first = self.start(data, port=f"tcp:{port}:interface=127.0.0.1").wait()
        watching = self.watch("--stations", "7", port=port)
        watching.until(r" 2/2 .*\n")
        self.assertEqual(first.end(), -signal.SIGTERM)
        self.assertEqual(watching.until("\n"), "Sem conexão – tentando de novo\n")
        self.start(data, port=f"tcp:{port}:interface=127.0.0.1").wait()
        said = watching.until(r" 2/2 .*\n")
        self.assertEqual(said.count("Sem conexão"), 0)
        self.pay(7, port)
        watching.until("1/2, fila 0\n")


class EndTests(ServerTestCase):
    """What cannot be watched."""

    def test_refused(self) -> None:
        """What the server refuses is said, and which option helps."""
        answer = reply(1, "SUBSCRIBE", 400, message="São postos demais", reason="too_many_stations")
        done = command("watch", "--port", str(scripted(self, says(answer))))
        told = "evcharge: São postos demais (--stations 7,9)\n"
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", told))

    def test_no_server(self) -> None:
        """Where no server answers at the beginning it ends, and says what to try."""
        done = command("watch", "--port", str(free_port()))
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertIn("make run", done.stderr)

    def test_usage(self) -> None:
        """Ids that are none are wrong usage."""
        done = command("watch", "--stations", "7,,9")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("must be ids of stations, as 7,9, not '7,,9'", done.stderr)
