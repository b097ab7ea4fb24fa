"""The HTTP port of a real server: health, readiness and metrics, of one process and of workers."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from evcharge.net.guards import REASONS
from evcharge.net.guards.service import Guards
from evcharge.process.virtual_clock import VirtualClock
from evcharge.process.workers.watch import WorkersWatch
from evcharge.rules.journey import UNKNOWN_USER
from evcharge.rules.sweep import SweepResult
from evcharge.testing import MemoryServer
from evcharge.watch.exposition import exposition, families, together
from evcharge.watch.metrics import SECONDS, Histogram, Metrics, Present
from evcharge.web.health import (
    IDLE_S,
    LONGEST_BODY,
    MOST_CONNECTIONS,
    PROBE_S,
    SHARED_S,
    ServerWatch,
    site,
)
from tests.support import postgres
from tests.support.servers import LOGIN, HealthTestCase
from tests.support.waiting import until

MOST_FILES = 250
PRLIMIT = ["prlimit", f"--nofile={MOST_FILES}"]


class ServerTests(HealthTestCase):
    """One process."""

    def test_paths(self) -> None:
        """Each path gives what it is for, and nothing else is there; no line of the log is made."""
        server = self.serve()
        self.assertEqual(self.get("/health/live"), (200, "alive\n"))
        self.assertEqual(self.get("/health/ready"), (200, "ready\n"))
        self.assertEqual(self.get("/health/ready", "HEAD"), (200, ""))
        self.assertEqual(self.get("/")[0], 404)
        self.assertEqual(self.get("/metrics/more")[0], 404)
        self.assertEqual(self.get("/metrics", "POST")[0], 405)
        self.assertTrue(self.http.startswith("127.0.0.1:"))
        server.end()
        self.assertNotIn("/health", "".join(server.log))
        self.assertNotIn("Traceback", "".join(server.log))

    def test_metrics(self) -> None:
        """What drivers do is counted, and what they make up is no label."""
        server = self.serve("--sweep-interval", "0.05")
        client = self.client(server)
        self.journey(client)
        samples = self.samples()
        for labels, value in (
            (("200", "LOGIN"), 1),
            (("400", "LOGIN"), 1),
            (("200", "NAVIGATION"), 1),
            (("200", "PAYMENT"), 1),
            (("404", "unknown"), 1),
            (("400", "error"), 1),
        ):
            self.assertEqual(samples[("evcharge_requests_total", *labels)], value)
        self.assertEqual(samples["evcharge_request_duration_seconds_count", "LOGIN"], 2)
        self.assertGreater(samples["evcharge_request_duration_seconds_sum", "LOGIN"], 0)
        self.assertEqual(samples["evcharge_connections",], 1)
        self.assertEqual(samples["evcharge_slots", "taken"], 1)
        self.assertEqual(samples["evcharge_stations", "available"], 36)
        self.assertGreater(samples["evcharge_received_bytes_total",], 500)
        self.assertGreater(samples["evcharge_sent_bytes_total",], 500)
        self.assertGreaterEqual(samples["evcharge_storage_batch_size_count",], 2)
        self.assertGreaterEqual(samples["evcharge_storage_batch_duration_seconds_count",], 2)
        self.assertEqual(samples["evcharge_storage_retries_total",], 0)
        self.assertGreaterEqual(samples["evcharge_sweep_duration_seconds_count",], 1)
        self.assertEqual(samples["evcharge_sweeps_failed_total",], 0)
        self.assertGreater(samples["process_resident_memory_bytes",], 1e6)

    def test_refused(self) -> None:
        """So is who is refused, by the reason."""
        server = self.serve("--max-connections-per-address", "1")
        self.client(server).request("START")
        self.client(server).replies.readline()
        self.assertEqual(self.samples()["evcharge_refused_total", "address_connections"], 1)

    def test_draining(self) -> None:
        """While the server ends it lives, and is not ready."""
        data = Path(self.mktemp()).absolute()
        database = postgres.shared()
        url = database.url(database.create_database())
        server = self.serve("--storage", url, data=data)
        client = self.client(server)
        database.pause()
        try:
            # The server cannot end before it has answered this, or given up.
            client.begin("LOGIN", **LOGIN)
            server.process.send_signal(signal.SIGTERM)
            until(
                lambda: self.get("/health/ready") == (503, "the server is shutting down\n"),
                "it says that it is about to end",
                process=server.process,
            )
            self.assertEqual(self.get("/health/live"), (200, "alive\n"))
            self.assertEqual(client.reply()["status"]["code"], 503)
        finally:
            database.resume()

    def test_away(self) -> None:
        """A server whose database hangs is not ready, and is again when that is back."""
        database = postgres.shared()
        url = database.url(database.create_database())
        server = self.serve("--storage", url)
        self.assertEqual(self.get("/health/ready")[0], 200)
        database.pause()
        try:
            time.sleep(SHARED_S)
            host, port = self.http.split(":")
            with socket.create_connection((host, int(port)), 20) as impatient:
                impatient.sendall(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
            code, text = self.get("/health/ready")
            self.assertEqual(code, 503)
            self.assertIn("the storage", text)
            self.assertNotIn(("evcharge_stations", "full"), self.samples())
        finally:
            database.resume()
        self.wait_until_ready(server)
        self.assertNotIn("could not be answered", "".join(server.log))
        self.assertNotIn("Traceback", "".join(server.log))

    def test_ipv6(self) -> None:
        """The log's address is one that can be asked, also where it has colons of its own."""
        self.serve("--http-port", r"tcp6:0:interface=\:\:1")
        self.assertTrue(self.http.startswith("[::1]:"), self.http)
        self.assertEqual(self.get("/health/live"), (200, "alive\n"))

    def test_descriptors(self) -> None:
        """However many watch, and with all the drivers there may be, users can be written."""
        server = self.start(Path(self.mktemp()), "--http-port", "0", before=PRLIMIT).wait()
        (line,) = [line for line in server.log if "http://" in line]
        self.http = line.split("http://")[1].strip()
        most = int(self.samples()["evcharge_connections_limit",])
        self.assertLess(most, MOST_FILES)
        drivers = [self.client(server) for _ in range(most)]
        for driver in drivers:
            driver.request("START")
        host, port = self.http.split(":")
        for _ in range(MOST_FILES):
            watcher = socket.create_connection((host, int(port)), 20)
            self.addCleanup(watcher.close)
        # When this is answered, all before it have been seen to.
        self.assertEqual(self.get("/health/live"), (200, "alive\n"))
        self.assertEqual(drivers[0].request("LOGIN", **LOGIN)["status"]["code"], 200)

    def test_idle(self) -> None:
        """However many connections are idle, or send a request by and by, the next is answered."""
        self.serve()
        host, port = self.http.split(":")
        idle = []
        for number in range(MOST_CONNECTIONS):
            watcher = socket.create_connection((host, int(port)), 20)
            self.addCleanup(watcher.close)
            if number % 2:
                watcher.sendall(b"GET /health/ready HTTP/1.1\r\nX-More: ")
            idle.append(watcher)
        for _ in range(5):
            self.assertEqual(self.get("/health/live"), (200, "alive\n"))
            self.assertEqual(self.get("/health/ready"), (200, "ready\n"))
            self.samples()
        # Only the first of them had to go: those who were answered have gone by themselves.
        with contextlib.suppress(ConnectionError):
            self.assertEqual(idle[0].recv(1), b"")
        idle[-2].sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b" 200 ", idle[-2].recv(1000))

    def test_bodies(self) -> None:
        """What is sent with a request is not kept, and not listened to for ever."""
        self.serve()
        host, port = self.http.split(":")
        head = b"POST /metrics HTTP/1.1\r\nHost: x\r\n"
        with socket.create_connection((host, int(port)), 20) as small:
            small.sendall(head + b"Content-Length: 3\r\n\r\nabc")
            self.assertIn(b" 405 ", small.recv(1000))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for body in (
            b"Content-Length: 1000000000\r\n\r\n" + b"x" * (LONGEST_BODY + 1),
            b"Transfer-Encoding: chunked\r\n\r\n" + 2 * chunk,
        ):
            big = socket.create_connection((host, int(port)), 20)
            with big, contextlib.suppress(ConnectionError):
                big.sendall(head + body)
                self.assertEqual(big.recv(1000), b"")
        self.assertEqual(self.get("/health/live"), (200, "alive\n"))

    def test_port_taken(self) -> None:
        """A port that is taken is one line that names it."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = self.start(Path(self.mktemp()), "--http-port", str(port))
            out, err = server.process.communicate(timeout=20)
        self.assertEqual(server.process.returncode, 1, out)
        self.assertIn(f"cannot listen on 127.0.0.1:{port}: Address already in use", err)


class WorkerTests(HealthTestCase):
    """Several processes behind one HTTP port."""

    def test_workers(self) -> None:
        """All of them are told of, each under its number."""
        data = Path(self.mktemp()).absolute()
        server = self.serve("--workers", "2", "--storage", f"sqlite:///{data}.db")
        self.wait_until_ready(server)
        self.wait_for_workers(server)
        for _ in range(20):
            client = self.client(server)
            client.request("START")
            client.close()
        samples = self.samples()
        counts = [samples.get(("evcharge_requests_total", "200", "START", n), 0) for n in "12"]
        self.assertEqual(sum(counts), 20)
        # Labels in the order of their names: code, type, worker.
        self.assertIn(("process_resident_memory_bytes", "1"), samples)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(20), -signal.SIGTERM)
        self.assertNotIn("Traceback", "".join(server.log))

    def test_stopped(self) -> None:
        """One that hangs is shown as such, and the others are told of all the same."""
        data = Path(self.mktemp()).absolute()
        server = self.serve("--workers", "2", "--storage", f"sqlite:///{data}.db")
        self.wait_for_workers(server)
        log = "".join(server.log)
        pid = int(log.split("Worker 1 is process ")[1].split()[0])
        os.kill(pid, signal.SIGSTOP)
        try:
            samples = self.samples()
            self.assertEqual([samples["evcharge_worker_up", n] for n in "12"], [0, 1])
            self.assertEqual(self.get("/health/ready")[0], 200)
        finally:
            os.kill(pid, signal.SIGCONT)

    def test_draining(self) -> None:
        """While they end they are not ready, however lately they were."""
        data = Path(self.mktemp()).absolute()
        server = self.serve("--workers", "2", "--storage", f"sqlite:///{data}.db")
        self.wait_until_ready(server)
        # It does not hang up, so its worker waits for it.
        self.client(server).request("START")
        server.process.terminate()
        self.wait_for(server, "Received SIGTERM")
        self.assertEqual(self.get("/health/ready"), (503, "the server is shutting down\n"))
        self.assertEqual(self.get("/health/live"), (200, "alive\n"))

    def test_shared(self) -> None:
        """However often readiness is asked for, the workers' storage is asked once a second."""
        data = Path(self.mktemp()).absolute()
        server = self.serve(
            "--workers", "2", "--storage", f"sqlite:///{data}.db", "--sweep-interval", "86400"
        )
        self.wait_until_ready(server)
        key = "evcharge_storage_batch_size_count", "1"
        # With one of them it is ready.
        batches = until(lambda: self.samples().get(key), "worker 1 asks the storage")
        began = time.monotonic()
        for _ in range(100):
            self.assertEqual(self.get("/health/ready")[0], 200)
        asked = (time.monotonic() - began) / SHARED_S + 2
        batches = self.samples()[key] - batches
        # Each time for a user that nobody has, and for the stations; and now once for the metrics.
        self.assertLessEqual(batches, 2 * asked + 2)


class FakeWorker:
    """A worker that answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred] = []

    def ask(self) -> Deferred:
        self.asked.append(Deferred())
        return self.asked[-1]


class WorkersWatchTests(SynchronousTestCase):
    """Readiness of several processes by itself."""

    def setUp(self) -> None:
        self.parent = SimpleNamespace(workers=[FakeWorker(), FakeWorker()], running=True)
        self.watch = WorkersWatch(self.parent.workers, lambda: self.parent.running, VirtualClock())

    def answer(self, number: int, answer: object) -> None:
        self.parent.workers[number].asked[-1].callback(answer)

    def test_one(self) -> None:
        """One that is ready is enough, while another one hangs."""
        asked = self.watch.trouble()
        self.answer(1, {"trouble": None})
        self.assertIsNone(self.successResultOf(asked))
        self.answer(0, None)

    def test_none(self) -> None:
        """Where none is, all that they say is told."""
        asked = self.watch.trouble()
        self.answer(1, {"trouble": "the storage does not answer"})
        self.assertNoResult(asked)
        self.answer(0, None)
        self.assertEqual(
            self.successResultOf(asked), "a worker does not answer; the storage does not answer"
        )

    def test_ending(self) -> None:
        """Where all is about to end meanwhile, that is told."""
        asked = self.watch.trouble()
        self.parent.running = False
        self.answer(1, {"trouble": None})
        self.assertIn("shutting down", self.successResultOf(asked))
        self.answer(0, None)


class SlowWatched:
    """Something watched that answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred] = []

    def trouble(self) -> Deferred:
        self.asked.append(Deferred())
        return self.asked[-1]


class LosableTransport(StringTransport):
    """A transport that its connection can be lost at, as at a socket's."""

    lost = False

    def __init__(self, protocol: object) -> None:
        super().__init__()
        self._protocol = protocol

    def connectionLost(self, reason: Failure) -> None:
        self.lost = True
        self._protocol.connectionLost(reason)


class SiteTests(SynchronousTestCase):
    """The port without a network."""

    ASK = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"

    def setUp(self) -> None:
        self.watched = SlowWatched()
        self.port = site(self.watched, VirtualClock())

    def connect(self) -> tuple:
        """A connection: its protocol, None where it is not let in, and its transport."""
        protocol = self.port.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1234))
        transport = LosableTransport(protocol)
        if protocol is not None:
            protocol.makeConnection(transport)
        return protocol, transport

    def lost(self, connections: list[tuple]) -> list[int]:
        """Leave out the connections that were cut, which had the numbers that are returned."""
        lost = [number for number, (_, transport) in enumerate(connections) if transport.lost]
        for number in reversed(lost):
            connections.pop(number)
        return lost

    def test_longest_idle(self) -> None:
        """A newcomer takes the place of the one that has been idle for longest, and is answered."""
        connections = [self.connect() for _ in range(MOST_CONNECTIONS)]
        # The first one asks and is answered: it is idle for the shortest time now.
        connections[0][0].dataReceived(self.ASK)
        self.watched.asked.pop().callback(None)
        # The second one trickles, and so is idle as long as it is here.
        connections[1][0].dataReceived(self.ASK[:-2])
        connections.append(self.connect())
        self.assertEqual(self.lost(connections), [1])
        connections[-1][0].dataReceived(self.ASK)
        self.watched.asked.pop().callback(None)
        self.assertIn(b" 200 ", connections[-1][1].value())
        connections.append(self.connect())
        self.assertEqual(self.lost(connections), [1])
        self.assertEqual(len(connections), MOST_CONNECTIONS)

    def test_being_answered(self) -> None:
        """One that is being answered keeps its place; where all are, a newcomer gets none."""
        connections = [self.connect() for _ in range(MOST_CONNECTIONS)]
        for protocol, _ in connections[:-1]:
            protocol.dataReceived(self.ASK)
        connections.append(self.connect())
        self.assertEqual(self.lost(connections), [MOST_CONNECTIONS - 1])
        connections[-1][0].dataReceived(self.ASK)
        self.assertIsNone(self.connect()[0])
        self.assertEqual(self.lost(connections), [])
        # Whoever has gone without its answer is in nobody's way any more.
        _, transport = connections.pop()
        transport.connectionLost(Failure(ConnectionDone()))
        newcomer = self.connect()
        self.assertIsNotNone(newcomer[0])
        for asked in self.watched.asked:
            asked.callback(None)
        self.connect()
        self.assertTrue(newcomer[1].lost)
        self.assertEqual(self.lost(connections), [])
        self.connect()
        self.assertEqual(self.lost(connections), [0])

    def test_next_one_asked(self) -> None:
        """So does one whose next request came with the one that has just been answered."""
        connections = [self.connect() for _ in range(MOST_CONNECTIONS)]
        connections[0][0].dataReceived(self.ASK * 2)
        self.watched.asked.pop().callback(None)
        self.assertEqual(len(self.watched.asked), 1)
        for protocol, _ in connections[1:]:
            protocol.dataReceived(self.ASK)
        self.assertIsNone(self.connect()[0])
        self.assertEqual(self.lost(connections), [])

    def test_idle(self) -> None:
        """A connection over which nothing is asked is closed after a while."""
        clock = VirtualClock()
        port = site(None, clock)
        protocol = port.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1234))
        transport = StringTransport()
        protocol.makeConnection(transport)
        clock.advance(IDLE_S - 1)
        self.assertFalse(transport.disconnecting)
        clock.advance(1)
        self.assertTrue(transport.disconnecting)


class WatchTests(SynchronousTestCase):
    """Readiness by itself."""

    def setUp(self) -> None:
        self.server = MemoryServer()
        self.probes: list[Deferred] = []
        self.running = True
        guards: Guards = self.server.guards
        self.watch = ServerWatch(
            Metrics(),
            self.perform,
            [self.server.factory],
            None,
            guards,
            self.server.engine.hub,
            lambda: self.running,
            self.server.clock,
        )

    def perform(self, operation: object) -> Deferred:
        self.probes.append(Deferred())
        return self.probes[-1]

    def test_shared(self) -> None:
        """Those who ask at about the same time share a probe."""
        asked = [self.watch.trouble(), self.watch.trouble()]
        self.assertEqual(len(self.probes), 1)
        self.probes[0].callback(UNKNOWN_USER)
        self.assertEqual([self.successResultOf(d) for d in asked], [None, None])
        self.server.clock.advance(SHARED_S - 0.1)
        self.assertIsNone(self.successResultOf(self.watch.trouble()))
        self.assertEqual(len(self.probes), 1)
        self.server.clock.advance(0.1)
        self.watch.trouble()
        self.assertEqual(len(self.probes), 2)

    def test_ready_metric(self) -> None:
        """The metrics say whether the server is ready, as readiness itself does."""
        asked = self.watch.metrics()
        self.assertEqual(len(self.probes), 2)
        self.probes[0].callback([])
        self.probes[1].callback(UNKNOWN_USER)
        self.assertIn(b"\nevcharge_ready 1.0\n", self.successResultOf(asked))
        self.running = False
        asked = self.watch.metrics()
        self.probes[2].callback([])
        self.assertIn(b"\nevcharge_ready 0.0\n", self.successResultOf(asked))

    def test_troubles(self) -> None:
        """An error, no answer in time and the server's end are told apart."""
        asked = self.watch.trouble()
        self.probes[0].errback(OSError())
        self.assertEqual(self.successResultOf(asked), "the storage does not answer")
        self.server.clock.advance(SHARED_S)
        asked = self.watch.trouble()
        self.server.clock.advance(PROBE_S)
        self.assertIn("has not answered within 2 s", self.successResultOf(asked))
        self.running = False
        self.assertIn("shutting down", self.successResultOf(self.watch.trouble()))


class MetricsTests(SynchronousTestCase):
    """Counting, and what comes of it."""

    def test_histogram(self) -> None:
        """A value on a bound is in its bucket; the last bucket has all."""
        histogram = Histogram((1, 2))
        for value in (0.5, 1, 1.5, 2, 99):
            histogram.observe(value)
        self.assertEqual(histogram.buckets(), [("1", 2), ("2", 4), ("+Inf", 5)])
        self.assertEqual(histogram.total, 104)

    def test_counts(self) -> None:
        """What was reported is what is told."""
        metrics = Metrics(REASONS)
        # A counter that is not there yet cannot be seen to increase.
        begun = exposition(families(metrics, Present(True, 1, 2, 3, 4, []))).decode()
        for line in (
            "evcharge_incidents_total 0.0",
            *(f'evcharge_refused_total{{reason="{reason}"}} 0.0' for reason in REASONS),
        ):
            self.assertIn(f"{line}\n", begun)
        metrics.answered("START", 500, 0.1)
        metrics.answered("LOGIN", 500, 0.1)
        metrics.answered("LOGIN", 503, 0.1)
        metrics.refused("rate")
        metrics.swept(0.1, SweepResult(2, 3))
        metrics.swept(0.1, None)
        metrics.carried_out(7, 0.1, 3)
        text = exposition(families(metrics, Present(True, 1, 2, 3, 4, []))).decode()
        for line in (
            "evcharge_slots_freed_total 2.0",
            "evcharge_users_removed_total 3.0",
            "evcharge_sweeps_failed_total 1.0",
            "evcharge_sweep_duration_seconds_count 2.0",
            "evcharge_storage_retries_total 2.0",
            'evcharge_storage_batch_size_bucket{le="10.0"} 1.0',
            "evcharge_connections_limit 2.0",
            "evcharge_incidents_total 2.0",
            'evcharge_refused_total{reason="rate"} 1.0',
        ):
            self.assertIn(f"{line}\n", text)
        self.assertEqual(len(SECONDS), len(set(SECONDS)))

    def test_together(self) -> None:
        """Workers are told apart by a label."""
        metrics = Metrics()
        metrics.answered("START", 200, 0.1)
        one = exposition(families(metrics, Present(True, 1, 2, 3, 4, []))).decode()
        text = together({1: one, 2: None}).decode()
        self.assertIn('evcharge_worker_up{worker="2"} 0.0\n', text)
        self.assertIn('evcharge_requests_total{code="200",type="START",worker="1"} 1.0\n', text)
        self.assertEqual(text.count("# TYPE evcharge_requests_total counter\n"), 1)
