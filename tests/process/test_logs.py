"""The log: as JSON, and small under attack."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from evcharge.healthcheck import healthy
from evcharge.process.logs import (
    MOST_KINDS,
    MOST_OF_A_KIND,
    WINDOW_S,
    Throttle,
    ThrottleService,
    log_file,
)
from evcharge.process.virtual_clock import VirtualClock
from tests.support.servers import ROOT, ServerTestCase
from tests.support.waiting import until


class ThrottleTests(SynchronousTestCase):
    """So many of a kind, and then how many more there were."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.written: list[dict] = []
        self.throttle = Throttle(lambda: self.now).before(self.written.append)
        self.throttle.is_on = True
        self.log = Logger("attack", observer=LogPublisher(self.throttle))

    def test_many(self) -> None:
        """Of many only some are written; when the time is over one line says what was left out."""
        for number in range(MOST_OF_A_KIND + 5):
            self.log.info("Refused {who}", who=number)
        self.assertEqual(len(self.written), MOST_OF_A_KIND)
        self.log.error("Something else")
        self.assertEqual(len(self.written), MOST_OF_A_KIND + 1)
        self.now += WINDOW_S
        self.throttle.look()
        told = self.written.pop()
        self.assertEqual((told["count"], told["last"]), (5, f"Refused {MOST_OF_A_KIND + 4}"))
        self.assertEqual(told["log_namespace"], "attack")
        self.log.info("Refused {who}", who="again")
        self.assertEqual(len(self.written), MOST_OF_A_KIND + 2)
        self.now += WINDOW_S
        self.throttle.look()
        self.assertEqual(len(self.written), MOST_OF_A_KIND + 2)

    def test_exempt(self) -> None:
        """What was asked for, or was looked at before, is written all the same."""
        for _ in range(MOST_OF_A_KIND * 2):
            self.log.info("a", asked_for=True)
            self.log.info("b", throttled=True)
        self.assertEqual(len(self.written), MOST_OF_A_KIND * 4)

    def test_off(self) -> None:
        """Before the server has started everything is."""
        self.throttle.is_on = False
        for _ in range(MOST_OF_A_KIND * 2):
            self.log.info("a")
        self.assertEqual(len(self.written), MOST_OF_A_KIND * 2)

    def test_kinds(self) -> None:
        """However many kinds there are, memory is bounded, and so is what is written."""
        for number in range(MOST_KINDS * 3):
            self.log.info(f"kind {number}")
        self.assertEqual(len(self.written), MOST_KINDS + MOST_OF_A_KIND)


class LastTests(SynchronousTestCase):
    """What is left out while a server ends."""

    def test_told(self) -> None:
        """It is told when all has ended, and what is over sooner by the next event."""
        clock = VirtualClock()
        triggers: list[tuple] = []
        clock.addSystemEventTrigger = lambda *trigger: triggers.append(trigger)
        written: list[dict] = []
        throttle = Throttle(clock.seconds).before(written.append)
        log = Logger("end", observer=LogPublisher(throttle))
        service = ThrottleService(throttle, clock)
        clock.advance(WINDOW_S)
        service.startService()
        service.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
        for _ in range(MOST_OF_A_KIND + 5):
            log.info("a reply could not be sent")
        self.assertEqual(len(written), MOST_OF_A_KIND)
        ((phase, event, tell),) = triggers
        self.assertEqual((phase, event), ("after", "shutdown"))
        tell()
        self.assertEqual(written[-1]["count"], 5)

    def test_daemon(self) -> None:
        """A daemon has no standard output to log to."""
        stopped = self.assertRaises(SystemExit, log_file, "-", False)
        self.assertIn("cannot log to stdout", str(stopped))
        self.assertIs(log_file("-", True), sys.stdout)


class ServerTests(ServerTestCase):
    """A real server's log."""

    def run_to_file(self, *options: str, before: tuple = ()) -> tuple[subprocess.Popen, Path]:
        log = Path(self.mktemp()).absolute()
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from twisted.scripts.twistd import run; run()",
                "--nodaemon",
                "--pidfile=",
                *before,
                "--logfile",
                str(log),
                "evcharge",
                "--port",
                "tcp:0:interface=127.0.0.1",
                "--data",
                self.mktemp(),
                *options,
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process, log

    def wait(self, process: subprocess.Popen, log: Path) -> int:
        """Wait until it listens; where."""
        until(
            lambda: log.exists() and " listens on " in log.read_text(),
            "it listens",
            process=process,
        )
        return int(log.read_text().split(" listens on ")[1].split(";")[0].rsplit(":", 1)[1])

    def test_json(self) -> None:
        """Each line is an object: time, level, place, text, and what the text was made of."""
        process, log = self.run_to_file("--log-format", "json", "--verbose")
        port = self.wait(process, log)
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(b"{}\n")
            client.recv(1000)
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        text = log.read_text()
        for rotated in log.parent.glob(f"{log.name}.*"):
            text = rotated.read_text() + text
        events = [json.loads(line) for line in text.splitlines()]
        for event in events:
            self.assertIsInstance(event["log_time"], float)
            self.assertIsInstance(event["text"], str)
            self.assertIn("log_level", event)
            self.assertIn("log_namespace", event)
        (request,) = [event for event in events if event.get("code") == 400]
        self.assertEqual(request["text"], "error 400 missing_fields user -")
        self.assertTrue([event for event in events if " listens on " in event["text"]])

    def test_sentences(self) -> None:
        """A person reads where it listens, and not by which of its parts."""
        process, log = self.run_to_file("--http-port", "0")
        # Until it answers, the reactor may not run yet, and a signal is not its own.
        self.assertTrue(healthy("127.0.0.1", self.wait(process, log)))
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        lines = [line.partition("] ")[2] for line in log.read_text().splitlines()]
        begin, health, listens, *_, end = lines
        self.assertRegex(begin, r"^twistd \S+ \(.*\) starting up\.$")
        self.assertRegex(health, r"^Metrics and health at http://")
        self.assertRegex(listens, r"^evcharge \S+ listens on ")
        self.assertEqual(end, "Server Shut Down.")
        self.assertEqual([line for line in lines if "Closed)" in line], [])

    def test_workers_json(self) -> None:
        """So is each line of a worker."""
        data = Path(self.mktemp()).absolute()
        process, log = self.run_to_file(
            "--log-format", "json", "--workers", "2", "--storage", f"sqlite:///{data}.db",
            "--max-connections-per-address", "1",
        )  # fmt: skip
        port = self.wait(process, log)
        clients = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(3)]
        for client in clients:
            self.addCleanup(client.close)
        until(lambda: "Refused" in log.read_text(), "a client is refused", process=process)
        process.terminate()
        process.wait(20)
        events = [json.loads(line) for line in log.read_text().splitlines()]
        refused = [event for event in events if "Refused" in event["text"]]
        self.assertEqual(refused[0]["reason"], "address_connections")
        self.assertIn(refused[0]["worker"], (1, 2))

    def test_flood(self) -> None:
        """Thousands who are refused make few lines; the last one says how many they were."""
        server = self.start(Path(self.mktemp()), "--max-connections-per-address", "1").wait()
        self.client(server).request("START")
        for _ in range(2000):
            with socket.create_connection(("127.0.0.1", server.port), 20) as client:
                client.recv(1000)
        server.end()
        self.assertEqual("".join(server.log).count("Refused"), MOST_OF_A_KIND + 1)
        (line,) = [line for line in server.log if "more like this" in line]
        self.assertIn(f"{2000 - MOST_OF_A_KIND} more like this were not logged", line)

    def test_verbose(self) -> None:
        """A line for each request is what --verbose is for."""
        server = self.start(Path(self.mktemp()), "--verbose").wait()
        client = self.client(server)
        for _ in range(MOST_OF_A_KIND * 2):
            client.request("START")
        client.close()
        server.end()
        lines = [line for line in server.log if "START 200" in line]
        self.assertEqual(len(lines), MOST_OF_A_KIND * 2)

    def test_together(self) -> None:
        """JSON goes with no logger of the operator's own choice."""
        for before in (("--syslog",), ("--logger", "twisted.logger.globalLogPublisher")):
            process, _ = self.run_to_file("--log-format", "json", before=before)
            out, err = process.communicate(timeout=20)
            self.assertEqual(process.returncode, 1)
            self.assertIn("--log-format json goes with neither", out + err)

    def test_python_m_twisted(self) -> None:
        """`python -m twisted` logs by itself, and is not told otherwise without a word."""
        done = subprocess.run(
            [sys.executable, "-m", "twisted", "evcharge", "--log-format", "json"],
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--log-format json is for twistd", done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
