"""Several processes on one port: real ones, their ends and kills, and what keeps them running."""

import contextlib
import errno
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, formatEventAsClassicLogText
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from evcharge.process.clock import SteadyClock
from evcharge.process.virtual_clock import VirtualClock
from evcharge.process.workers.messages import (
    ANSWER,
    ASK,
    LONGEST_LINE,
    SOCKET,
    TIME,
    Beginning,
    LineSplitter,
)
from evcharge.process.workers.parent import Workers
from evcharge.process.workers.sockets import ACCEPT_PAUSE_S, SharedPort
from evcharge.process.workers.worker import ASK_S, END_S, Worker
from evcharge.storage.location import STORAGE_VARIABLE, without_password
from evcharge.tap import Options, makeService
from tests.support import postgres
from tests.support.drivers import Driver
from tests.support.logged import logged
from tests.support.servers import LOGIN, ROOT, Client, Server, ServerTestCase, request_line
from tests.support.waiting import LIMIT_S, until


def state(pid: int) -> str:
    """The letter of a process's state; Z, a zombie, where it is no more."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
    return text.rpartition(")")[2].split()[0]


def gone(pids: object) -> Callable[[], bool]:
    return lambda: all(state(pid) == "Z" for pid in pids)


class WorkersTestCase(ServerTestCase):
    """Starts servers of several processes, on an SQLite file."""

    def serve(self, workers: int = 2, *options: str, file: Path | None = None, **more: str):
        self.file = file or Path(self.mktemp()).absolute()
        server = self.start(
            self.file.parent,
            *("--storage", f"sqlite:///{self.file}", "--workers", str(workers)),
            # No sweep but the first holds the database while a worker is stopped.
            *("--sweep-interval", "86400", *options),
            **more,
        )
        return server

    def ready(self, server: Server) -> Server:
        """Wait until every worker accepts."""
        server.wait()
        self.addCleanup(self.end_workers, server)
        self.wait_for(server, "worker 1", " listens on ")
        self.wait_for(server, "worker 2", " listens on ")
        return server

    def wait_for(self, server: Server, *words: str, times: int = 1) -> None:
        """Wait for as many lines of the log that have all of `words`."""
        until(
            lambda: sum(all(w in line for w in words) for line in list(server.log)) >= times,
            f"{words} in the log",
            log=server.log,
        )

    def pids(self, server: Server) -> dict[int, int]:
        """Number -> process of each worker, the latest."""
        found = re.findall(r"Worker (\d+) is process (\d+)", "".join(list(server.log)))
        return {int(number): int(pid) for number, pid in found}

    def end_workers(self, server: Server) -> None:
        self.stop(server)
        pids = self.pids(server).values()
        try:
            until(gone(pids), "the workers end with their parent")
        finally:
            for pid in pids:
                if state(pid) != "Z":
                    os.kill(pid, signal.SIGKILL)

    @contextlib.contextmanager
    def paused(self, pids: list[int]) -> Iterator[None]:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: all(state(pid) == "T" for pid in pids), "the workers are stopped")
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def client_of(self, server: Server, number: int) -> Client:
        """A client whom this worker serves: no other can accept it."""
        pids = self.pids(server)
        with self.paused([pid for other, pid in pids.items() if other != number]):
            client = self.client(server)
            # What no storage is asked for: another worker may be paused in a transaction.
            self.assertEqual(client.request("FLY")["status"]["code"], 404)
        return client


class SharingTests(WorkersTestCase):
    """Two workers are one server."""

    def test_truth(self) -> None:
        """What one worker was told, the other knows at once."""
        server = self.ready(self.serve())
        one, two = self.client_of(server, 1), self.client_of(server, 2)

        def free(client: Client) -> int:
            return client.request("START")["data"]["station_models"]["1"]["available_slots"]

        before = free(two)
        for teller, asked in ((one, two), (two, one)):
            user = teller.request("LOGIN", **LOGIN)["data"]["user_id"]
            known = {"user_id": user, "route_distance": 1}
            self.assertEqual(asked.request("NAVIGATION", **known)["status"]["code"], 200)
            place = {"user_id": user, "id_station": 1}
            paid = teller.request("PAYMENT", **place, confirmation=True)
            self.assertTrue(paid["data"]["confirmation"])
            self.assertEqual((free(asked), free(teller)), (before - 1, before - 1))
            again = asked.request("PAYMENT", **place, confirmation=True)
            self.assertEqual(again["data"], paid["data"])
            asked.request("PAYMENT", **place, confirmation=False)
            self.assertEqual((free(teller), free(asked)), (before, before))
            self.assertEqual(teller.request("NAVIGATION", **known)["status"]["code"], 404)

    def test_last_slots(self) -> None:
        """Drivers who rush to one station by way of both workers get exactly its slots."""
        self.rush(self.ready(self.serve()))

    def test_last_slots_postgresql(self) -> None:
        """So they do where the database is a server."""
        database = postgres.shared()
        url = database.url(database.create_database())
        options = ("--storage", url, "--workers", "2", "--sweep-interval", "86400")
        self.rush(self.ready(self.start(Path(self.mktemp()), *options)))

    def rush(self, server: Server) -> None:
        clients = [self.client_of(server, 1 + n % 2) for n in range(24)]
        stations = clients[0].request("START")["data"]["station_models"]
        slots = stations["1"]["max_slots"]
        self.assertLess(slots, len(clients))
        users = [client.request("LOGIN", **LOGIN)["data"]["user_id"] for client in clients]
        start = threading.Barrier(len(clients), timeout=LIMIT_S)
        paid: list[dict] = []

        def pay(client: Client, user: str) -> None:
            start.wait()
            reply = client.request("PAYMENT", user_id=user, id_station=1, confirmation=True)
            paid.append(reply)

        threads = [
            threading.Thread(target=pay, args=pair) for pair in zip(clients, users, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(paid), len(clients))
        self.assertEqual([reply["data"]["confirmation"] for reply in paid].count(True), slots)
        self.assertNotIn(503, [reply["status"]["code"] for reply in paid])

        def free() -> int:
            stations = clients[0].request("START")["data"]["station_models"]
            return stations["1"]["available_slots"]

        # PostgreSQL is asked for the stations now and then only.
        until(lambda: free() == 0, "the station is seen to be full")

    def test_environment(self) -> None:
        """The storage may be named by the environment, and the workers tell it to nobody."""
        file = Path(self.mktemp()).absolute().with_name("told-to-nobody.db")
        self.patch(os, "environ", {**os.environ, STORAGE_VARIABLE: f"sqlite:///{file}"})
        server = self.ready(self.start(file.parent, "--workers", "2"))
        self.wait_for(server, f"data in {file}:")
        for pid in self.pids(server).values():
            for told in ("environ", "cmdline"):
                self.assertNotIn(file.name, Path(f"/proc/{pid}/{told}").read_text())

    def test_unix_socket(self) -> None:
        """A Unix socket keeps its mode and its path while workers come and go."""
        path = Path("/tmp") / f"evcharge-{os.getpid()}-{id(self)}.sock"
        # Server.wait wants a port in the log, so this one is waited for by hand.
        server = self.serve(port=f"unix:{path}:mode=600")
        server.read()
        self.addCleanup(self.end_workers, server)

        def ask() -> int:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(LIMIT_S)
                client.connect(str(path))
                client.sendall(b'{"type":"START","data":{},"status":{},"timestamp":""}\n')
                return json.loads(client.makefile("rb").readline())["status"]["code"]

        for number in (1, 2):
            self.wait_for(server, f"worker {number}", f" listens on {path}")
        self.assertEqual(ask(), 200)
        for number, pid in self.pids(server).items():
            os.kill(pid, signal.SIGTERM)
            self.wait_for(server, f"worker {number}", f" listens on {path}", times=2)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(ask(), 200)
        self.assertEqual(server.end(), -signal.SIGTERM)
        self.assertFalse(path.exists())


class EndTests(WorkersTestCase):
    """Ends and kills."""

    def test_worker_killed(self) -> None:
        """A worker that is killed is replaced, nobody is refused, and what was paid is paid."""
        server = self.ready(self.serve())
        paid: dict[str, dict] = {}
        answered: list[str] = []
        refused: list[Exception] = []
        over = threading.Event()

        def drive() -> None:
            while not over.is_set():
                try:
                    client = Client(server.port)
                except ConnectionRefusedError as error:
                    refused.append(error)
                    return
                try:
                    while not over.is_set():
                        user = client.request("LOGIN", **LOGIN)["data"]["user_id"]
                        answered.append(user)
                        place = {"user_id": user, "id_station": 1 + len(answered) % 36}
                        reply = client.request("PAYMENT", **place, confirmation=True)
                        if reply["data"]["confirmation"]:
                            paid[user] = reply["data"]
                        if len(answered) % 20:
                            # From here until the answer, either is right.
                            paid.pop(user, None)
                            client.request("PAYMENT", **place, confirmation=False)
                except (OSError, ValueError):
                    pass
                finally:
                    client.close()

        threads = [threading.Thread(target=drive) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for kill, number in enumerate((1, 2, 1), 1):
                most = len(answered) + 20
                until(lambda most=most: len(answered) > most, "drivers are served")
                os.kill(self.pids(server)[number], signal.SIGKILL)
                self.wait_for(
                    server, f"Worker {number} has ended with SIGKILL", times=kill // 3 + 1
                )
                self.wait_for(server, f"worker {number}", " listens on ", times=kill // 3 + 2)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(refused, [])
        clients = [self.client_of(server, number) for number in (1, 2)]
        for user, data in paid.items():
            for client in clients:
                again = client.request(
                    "PAYMENT", user_id=user, id_station=data["id_station"], confirmation=True
                )
                self.assertEqual(again["data"], data)
        stations = clients[0].request("START")["data"]["station_models"].values()
        taken = sum(s["max_slots"] - s["available_slots"] for s in stations)
        # One whose answer was lost with its worker may have paid as well.
        self.assertGreaterEqual(taken, len(paid))
        self.assertLessEqual(taken, len(paid) + 3 * len(threads))

    def test_drain(self) -> None:
        """At SIGTERM whatever was read is answered by each worker, and all processes end."""
        server = self.ready(self.serve())
        clients = [self.client_of(server, number) for number in (1, 2)]
        for client in clients:
            # They have five seconds for these, whatever else the machine does.
            client.socket.sendall(request_line("LOGIN", **LOGIN) * 50)
        for client in clients:
            client.replies.readline()
        server.process.send_signal(signal.SIGTERM)
        # A service manager may well tell them all.
        for pid in self.pids(server).values():
            os.kill(pid, signal.SIGTERM)
        began = time.monotonic()
        for client in clients:
            rest = client.replies.read().splitlines()
            client.close()
            self.assertEqual(len(rest), 49)
            for line in rest:
                self.assertEqual(json.loads(line)["status"]["code"], 200)
        self.assertEqual(server.process.wait(LIMIT_S), -signal.SIGTERM)
        self.assertLess(time.monotonic() - began, END_S)
        self.assertTrue(gone(self.pids(server).values())())
        self.assertRaises(ConnectionRefusedError, Client, server.port)
        self.wait_for(server, "Server Shut Down")
        self.assertNotIn("is killed", "".join(server.log))
        self.assertNotIn("Traceback", "".join(server.log))

    def test_parent_killed(self) -> None:
        """Workers whose parent is no more answer what they have read, and end."""
        server = self.ready(self.serve())
        client = self.client_of(server, 2)
        client.socket.sendall(request_line("LOGIN", **LOGIN) * 200)
        client.replies.readline()
        server.process.kill()
        self.assertEqual(len(client.replies.read().splitlines()), 199)
        client.close()
        until(gone(self.pids(server).values()), "the workers end")
        server = self.serve(file=self.file).wait()
        self.wait_for(server, "36 stations, 200 users")

    def test_interrupt(self) -> None:
        """Ctrl-C, which reaches every process, ends the parent and lets the workers drain."""
        server = self.ready(self.serve())
        pids = self.pids(server)
        # Until they serve, SIGTERM would end them at once.
        for number in pids:
            self.client_of(server, number)
        for pid in pids.values():
            os.kill(pid, signal.SIGINT)
        self.assertEqual(self.client(server).request("START")["status"]["code"], 200)
        self.assertEqual(server.end(signal.SIGINT), -signal.SIGINT)
        self.assertEqual(self.pids(server), pids)
        self.assertTrue(gone(pids.values())())
        self.assertEqual("".join(server.log).count("has ended with status 0"), 2)

    def test_hung(self) -> None:
        """A worker that does not end is killed."""
        server = self.ready(self.serve())
        pids = self.pids(server)
        # Until they serve, SIGTERM would end them at once.
        for number in pids:
            self.client_of(server, number)
        os.kill(pids[1], signal.SIGSTOP)
        self.assertEqual(server.end(), -signal.SIGTERM)
        self.assertTrue(gone(pids.values())())
        self.wait_for(server, "Worker 1 has not ended within")
        self.wait_for(server, "Worker 2 has ended with status 0")


class RefusedTests(WorkersTestCase):
    """Starts that cannot be."""

    def refused(self, *words: str, server: Server) -> None:
        out, err = server.process.communicate(timeout=LIMIT_S)
        self.assertEqual(server.process.returncode, 1, out + err)
        self.assertNotIn("Traceback", out + err)
        for word in words:
            self.assertIn(word, (err or out).splitlines()[-1])

    def test_files(self) -> None:
        """Several processes cannot share files."""
        server = self.start(Path(self.mktemp()), "--workers", "2")
        self.refused("--workers", "files", server=server)

    def test_storage(self) -> None:
        """A file that cannot be made is one line and status 1, of the parent."""
        self.refused("/proc/", server=self.serve(file=Path("/proc/nothing/here.db")))

    def test_port_taken(self) -> None:
        """So is a port that is taken."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = self.serve(port=f"tcp:{port}:interface=127.0.0.1")
            self.refused(f"cannot listen on tcp:{port}", "in use", server=server)

    def test_in_use(self) -> None:
        """No other server comes between the workers, whether it has some itself or not."""
        server = self.ready(self.serve())
        for workers in (1, 2):
            second = self.serve(workers, file=self.file)
            self.refused("is in use by another evcharge process (workers)", server=second)
        self.assertEqual(server.end(), -signal.SIGTERM)
        self.assertEqual(self.serve(1, file=self.file).wait().end(), -signal.SIGTERM)

    def test_options(self) -> None:
        """A number, a storage or an endpoint that does not do is named."""
        sqlite = ("--storage", "sqlite:///x.db")
        for arguments, words in (
            (("--workers", "0"), "--workers must be"),
            (("--workers", "x"), "--workers must be"),
            (("--workers", "65"), "--workers must be"),
            (("--workers", "2"), "--workers 2 needs a storage"),
            (
                ("--workers", "2", *sqlite, "--port", "haproxy:tcp:8888"),
                "needs a --port",
            ),
        ):
            error = self.assertRaises(UsageError, Options().parseOptions, list(arguments))
            self.assertIn(words, str(error))
        for port in ("8888", "localhost:8888", "tcp6:8888", "unix:/run/evcharge.sock"):
            Options().parseOptions(["--workers", "2", *sqlite, "--port", port])


class InProcessTests(TestCase):
    """The parent in this process."""

    async def test_restart(self) -> None:
        """It serves by way of its workers, starts them again, and leaves none."""
        options = Options()
        file = Path(self.mktemp()).absolute()
        options.parseOptions(
            [
                *("--port", "tcp:0:interface=127.0.0.1"),
                *("--storage", f"sqlite:///{file}", "--workers", "2"),
            ]
        )
        events = logged(self)

        def seen() -> list[str]:
            return [formatEventAsClassicLogText(event) or "" for event in events]

        async def ready(times: int) -> None:
            limit = reactor.seconds() + LIMIT_S
            while (
                sum(
                    "evcharge.process.server.Server#info" in line and "listens" in line
                    for line in seen()
                )
                < times
            ):
                self.assertLess(reactor.seconds(), limit, "".join(seen()))
                await deferLater(reactor, 0.02)

        parent = makeService(options)
        self.assertIsInstance(parent, Workers)
        parent.privilegedStartService()
        parent.startService()
        try:
            await ready(2)
            endpoint = clientFromString(reactor, f"tcp:{parent._ports.addresses}")
            driver = await connectProtocol(endpoint, Driver())
            self.assertEqual((await driver.request("START"))["status"]["code"], 200)
            pids = [worker.transport.pid for worker in parent.workers]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            await driver.lost
            # The connection waits until there is a worker again.
            driver = await connectProtocol(endpoint, Driver())
            self.assertEqual((await driver.request("START"))["status"]["code"], 200)
            await ready(4)
        finally:
            await parent.stopService()
        await driver.lost
        pids += [int(pid) for pid in re.findall(r"is process (\d+)", "".join(seen()))]
        self.assertEqual(len(set(pids)), 4)
        self.assertTrue(gone(pids)())
        self.assertTrue(
            any("[worker 1: evcharge.process.server.Server#info]" in line for line in seen())
        )


class FakeProcess:
    """A process's transport."""

    pid = 42

    def __init__(self) -> None:
        self.written = b""
        self.signals: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


class WorkerTests(SynchronousTestCase):
    """What keeps one worker running."""

    def setUp(self) -> None:
        self.clock = VirtualClock()
        self.processes: list[FakeProcess] = []
        self.problem: Exception | None = None
        self.worker = Worker(3, lambda: b"{}\n", self.spawn, self.clock)
        self.seen = logged(self)

    def spawn(self, worker: Worker) -> None:
        if self.problem is not None:
            raise self.problem
        self.processes.append(FakeProcess())
        worker.makeConnection(self.processes[-1])

    def die(self, reason: Exception | None = None) -> None:
        self.worker.processEnded(Failure(reason or ProcessTerminated(1)))

    def texts(self) -> str:
        return "\n".join(formatEvent(event) for event in self.seen)

    def test_no_answer(self) -> None:
        """One that does not answer is waited for so long, and nothing is left of the question."""
        self.worker.start()
        for _ in range(10):
            asked = self.worker.ask()
            self.clock.advance(ASK_S - 0.1)
            self.assertNoResult(asked)
            self.clock.advance(0.2)
            self.assertIsNone(self.successResultOf(asked))
        self.assertEqual(self.worker._asking, [])
        asked = self.worker.ask()
        self.worker.childDataReceived(1, b'!"late, for all"\n')
        self.assertEqual(self.successResultOf(asked), "late, for all")
        self.clock.advance(ASK_S)

    def test_half_an_answer(self) -> None:
        """One that is killed while it answers is started again, and whoever asked is told."""
        self.worker.start()
        asked = self.worker.ask()
        self.worker.childDataReceived(1, b'!{"trouble": nu')
        self.die(ProcessTerminated(None, signal.SIGKILL))
        self.assertIsNone(self.successResultOf(asked))
        self.clock.advance(1)
        self.assertEqual(len(self.processes), 2)
        asked = self.worker.ask()
        self.worker.childDataReceived(1, b'!{"trouble": null}\n')
        self.assertEqual(self.successResultOf(asked), {"trouble": None})

    def test_options(self) -> None:
        """Each process is told the options."""
        self.worker.start()
        self.assertEqual(self.processes[0].written, b"{}\n")

    def test_pauses(self) -> None:
        """One that lived long is started again at once, others after a growing pause."""
        self.worker.start()
        for pause in (1, 2, 4, 8, 10, 10):
            started = len(self.processes)
            self.die()
            self.clock.advance(pause - 0.1)
            self.assertEqual(len(self.processes), started)
            self.clock.advance(0.2)
            self.assertEqual(len(self.processes), started + 1)
        self.clock.advance(5)
        for pause in (0, 1):
            started = len(self.processes)
            self.die(ProcessTerminated(None, signal.SIGKILL))
            self.clock.advance(pause)
            self.assertEqual(len(self.processes), started + 1)
        self.assertIn("Worker 3 has ended with status 1; the next one starts in 8 s", self.texts())
        self.assertIn("Worker 3 has ended with SIGKILL; the next one starts in 0 s", self.texts())

    def test_cannot_spawn(self) -> None:
        """Where no process can be made, that is tried again."""
        self.problem = OSError(errno.EAGAIN, "no more processes")
        self.worker.start()
        self.clock.advance(1)
        self.problem = None
        self.clock.advance(2)
        self.assertEqual(len(self.processes), 1)
        self.assertIn("no more processes", self.texts())

    def test_stop(self) -> None:
        """A process is asked to end, and no other is started."""
        self.worker.start()
        stopped = self.worker.stop()
        self.assertEqual(self.processes[0].signals, ["TERM"])
        self.assertNoResult(stopped)
        self.die(ProcessDone(0))
        self.successResultOf(stopped)
        self.clock.advance(100)
        self.assertEqual((len(self.processes), self.processes[0].signals), (1, ["TERM"]))

    def test_stop_late(self) -> None:
        """One that does not end is killed."""
        self.worker.start()
        stopped = self.worker.stop()
        self.clock.advance(END_S)
        self.assertEqual(self.processes[0].signals, ["TERM", "KILL"])
        self.die(ProcessTerminated(None, signal.SIGKILL))
        self.successResultOf(stopped)

    def test_stop_in_pause(self) -> None:
        """One that waits to be started is not started any more."""
        self.worker.start()
        self.die()
        self.successResultOf(self.worker.stop())
        self.clock.advance(100)
        self.assertEqual((len(self.processes), self.processes[0].signals), (1, []))

    def test_log(self) -> None:
        """A process's events are in the log with its number; what is no event is a warning."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from twisted.logger import Logger, globalLogBeginner\n"
                "from evcharge.process.workers.child import _log_to, _pipe_to_parent\n"
                "globalLogBeginner.beginLoggingTo([_log_to(_pipe_to_parent())])\n"
                "log = Logger('there')\n"
                "log.info('all {well!r}', well=object)\n"
                "try:\n    1 / 0\n"
                "except ZeroDivisionError:\n    log.failure('went wrong')\n"
                "import os; os.write(1, b'stray'); os.write(2, b' text')",
            ],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.worker.start()
        half = len(done.stdout) // 2
        self.worker.childDataReceived(1, done.stdout[:half])
        self.worker.childDataReceived(1, done.stdout[half:] + b'{"log_time": 1')
        self.worker.childDataReceived(2, done.stderr)
        self.worker.childDataReceived(1, b'\n[]\n{"log_namespace": "x"}\n')
        self.die()
        lines = [formatEventAsClassicLogText(e) for e in self.seen if e.get("worker") == 3]
        text = "".join(line or "" for line in lines)
        self.assertIn("[worker 3: there#info] all <class 'object'>\n", text)
        self.assertIn("[worker 3: there#critical] went wrong\n", text)
        self.assertIn("ZeroDivisionError: division by zero", text)
        self.assertIn("[worker 3: stderr] stray text\n", text)
        self.assertIn('[worker 3: stderr] {"log_time": 1\n', text)
        self.assertIn("[worker 3: stderr] []\n", text)

    def test_lines(self) -> None:
        """Lines come whole, and one without an end is not kept for ever."""
        taken: list[bytes] = []
        lines = LineSplitter(taken.append)
        for data in (b"a", b"b\nc\n\nd", b"\n"):
            lines.add(data)
        self.assertEqual(taken, [b"ab", b"c", b"", b"d"])
        for _ in range(10):
            lines.add(b"x" * (LONGEST_LINE // 2 + 1))
        self.assertEqual(len(taken), 4 + 5)
        self.assertEqual(lines._rest, b"")


class PortTests(SynchronousTestCase):
    """Accepting from a socket that others have too."""

    def test_out_of_descriptors(self) -> None:
        """What cannot be accepted is left for a while, and nothing remains after the end."""

        class Full:
            family = socket.AF_INET
            setblocking = staticmethod(lambda _: None)
            fileno = staticmethod(lambda: 99)
            close = staticmethod(lambda: None)

            def accept(self) -> None:
                raise OSError(errno.EMFILE, "too many open files")

        memory = MemoryReactorClock()
        port = SharedPort(Full(), Factory(), memory)
        port.startListening()
        self.assertIn(port, memory.getReaders())
        for _ in range(2):
            port.doRead()
            self.assertNotIn(port, memory.getReaders())
            memory.advance(ACCEPT_PAUSE_S)
            self.assertIn(port, memory.getReaders())
        port.doRead()
        port.stopListening()
        self.assertEqual(memory.getDelayedCalls(), [])

    def test_quicker(self) -> None:
        """A connection that another process took is not waited for; the address is the socket's."""
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as listening:
                listening.bind((address, 0))
                listening.listen()
                port = SharedPort(listening, Factory(), MemoryReactorClock())
                port.doRead()
                self.assertEqual(port.getHost().host, address)


class OptionsLineTests(SynchronousTestCase):
    """The settings on their way to a worker."""

    def test_same(self) -> None:
        """They arrive as they were."""
        for url in (
            "sqlite:////tmp/x.db",
            "postgresql://u:s3cret@h:5433/db?sslmode=require",
            "postgresql://u:s3cret@/db?host=one:5432&host=two:5433",
        ):
            options = Options()
            options.parseOptions(["--storage", url, "--workers", "2", "--verbose", "-l", "en"])
            beginning = Beginning(options.settings, 1e9 + 0.1, 3, [2, 1])
            self.assertEqual(Beginning.from_line(beginning.to_line()), beginning)


class BeginningTests(SynchronousTestCase):
    """A worker by itself, with the test as its parent."""

    def begin(self, *said: bytes) -> subprocess.Popen:
        """A worker that is told this right behind the options; `port` is where it listens."""
        file = Path(self.mktemp()).absolute()
        options = Options()
        options.parseOptions(
            ["--storage", f"sqlite:///{file}", "--workers", "2", "--http-port", "0"]
        )
        storage = options.settings.storage.storage()
        storage.open(time.time())
        storage.close()
        self.clock = SteadyClock()

        def give_socket() -> None:
            os.dup2(listening.fileno(), SOCKET)
            os.set_inheritable(SOCKET, True)

        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            worker = subprocess.Popen(
                [sys.executable, "-m", "evcharge.process.workers.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=give_socket,
                close_fds=False,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self.addCleanup(worker.communicate)
        self.addCleanup(worker.kill)
        worker.stdin.write(Beginning(options.settings, self.clock.lead_s, 0, [1]).to_line())
        worker.stdin.writelines(line + b"\n" for line in said)
        worker.stdin.flush()
        return worker

    def test_asked_early(self) -> None:
        """What the parent says right behind the options is heard too."""
        worker = self.begin(ASK)
        answers: list[bytes] = []

        def read() -> None:
            for line in worker.stdout:
                if line.startswith(ANSWER):
                    answers.append(line)
                    return

        reader = threading.Thread(target=read)
        reader.start()
        reader.join(LIMIT_S)
        worker.kill()
        reader.join()
        self.assertEqual(len(answers), 1)
        self.assertIsNone(json.loads(answers[0][1:])["trouble"])

    def test_told_the_time(self) -> None:
        """It goes by the parent's time: smoothly, but at once by another clock."""
        worker = self.begin()

        def told(lead_s: float, number: int) -> None:
            worker.stdin.write(TIME + json.dumps([lead_s, number]).encode() + b"\n")
            worker.stdin.flush()

        client = Client(self.port)
        self.addCleanup(client.close)

        def ahead_s() -> float:
            shown = client.request("START")["timestamp"].replace("Z", "+00:00")
            return datetime.fromisoformat(shown).timestamp() - self.clock.seconds()

        self.assertApproximates(ahead_s(), 0, 1)
        told(self.clock.lead_s + 30, 0)
        time.sleep(2.5)
        self.assertTrue(0.02 < ahead_s() < 0.5, ahead_s())
        told(self.clock.lead_s + 86400, 1)
        until(lambda: ahead_s() > 10, "it has jumped")
        self.assertApproximates(ahead_s(), 86400, 1)


class TitleTests(SynchronousTestCase):
    """No password in the list of processes."""

    URL = "postgresql://u:s3cret@127.0.0.1:%d/db?password=s3cret"

    def title(self, *arguments: str) -> tuple[list[str], list[str], str]:
        """The command line before and after, and the short name of the process."""
        code = (
            "from pathlib import Path\n"
            "from evcharge.storage.location import without_password\n"
            "from evcharge.utils.process_title import hide_passwords\n"
            "me = Path('/proc/self/cmdline')\n"
            "before = me.read_text(); hide_passwords(without_password)\n"
            "print(repr([before, me.read_text(), Path('/proc/self/comm').read_text()]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        before, after, name = eval(done.stdout)
        return before, after, name.strip()

    def test_hidden(self) -> None:
        """An argument with a password is shown without it, and nothing else is changed."""
        before, after, name = self.title("--storage", self.URL % 1, "--port=8888")
        self.assertIn("s3cret", before)
        self.assertNotIn("s3cret", after)
        self.assertIn(without_password(self.URL % 1), after)
        self.assertEqual(" ".join(after.rstrip("\0").split("\0")).split()[-1], "--port=8888")
        self.assertEqual(name, self.title()[2])

    def test_none(self) -> None:
        """A command line without one stays as it is."""
        before, after, _ = self.title("--storage", "sqlite:///x.db")
        self.assertEqual(before, after)

    def test_twistd(self) -> None:
        """It holds for twistd, in the foreground and as a daemon, and in what it says."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for foreground in (True, False):
            # Someone who takes connections and says nothing: there is time to look.
            with socket.create_server(("127.0.0.1", 0)) as silent:
                pidfile = folder / f"{foreground}.pid"
                process = subprocess.Popen(
                    [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
                    + ["--nodaemon"] * foreground
                    + [f"--pidfile={pidfile}", "--logfile", str(folder / "log"), "evcharge"]
                    + ["--port", "tcp:0:interface=127.0.0.1", "--workers", "2"]
                    + ["--storage", self.URL % silent.getsockname()[1]],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    cwd=folder,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
                silent.settimeout(LIMIT_S)
                silent.accept()[0].close()
                until(pidfile.exists, "twistd notes its process")
                until(pidfile.read_text, "twistd notes its process")
                shown = Path(f"/proc/{pidfile.read_text()}/cmdline").read_text()
                self.assertIn("--storage postgresql://u:***@", shown)
                self.assertNotIn("s3cret", shown)
            out, _ = process.communicate(timeout=LIMIT_S)
            self.assertEqual(process.returncode, 1, out)
            self.assertNotIn("s3cret", out)
            if not foreground:
                # Else there is the log only, as the two outputs are one here.
                self.assertIn("PostgreSQL database db", out)
        self.assertNotIn("s3cret", (folder / "log").read_text())
        self.assertIn("PostgreSQL database db on 127.0.0.1", (folder / "log").read_text())
