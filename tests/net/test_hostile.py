"""A real server among clients that mean harm, and among many that mean none."""

import json
import os
import resource
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest

from evcharge.net.guards.connection_limit import MOST_TOLD
from tests.support.certificates import make_certificate, tls_options
from tests.support.hostile import NAVIGATION, START
from tests.support.servers import LOGIN, ROOT, Client, Server, ServerTestCase, memory_kib

SECONDS = 2.5
"""How long each hostile client goes on, at first."""


def have_descriptors(number: int) -> None:
    """See to it that this process may open so many files more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number += len(os.listdir("/proc/self/fd")) + 100
    if hard != resource.RLIM_INFINITY and hard < number:
        raise SkipTest(f"a process may have {hard} file descriptors here, and this needs {number}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def p99_of(waits: list[float]) -> float:
    """The longest but for one in a hundred."""
    return statistics.quantiles(waits, n=100)[98]


class HostileTests(ServerTestCase):
    """One hostile client takes next to nothing from the others, whatever it does."""

    MOST_KIB = 10 * 1024
    MOST_S, MOST_TIMES = 0.05, 20
    """How long the other one may wait: so many seconds, or so many times what it waits with nobody
    else there, on a machine that has other things to do."""

    ATTEMPTS = 4
    """What else runs on a machine only ever makes a client wait longer, and do less: each attempt
    lasts twice as long as the one before."""

    def suffer(self, kind: str, *options: str, least: int = 0) -> None:
        """
        Have a hostile client go on while another one is served.

        :param least: what the first is to do.
        """
        for attempt in range(self.ATTEMPTS):
            seconds = SECONDS * 2**attempt
            done, grown_kib, calm, waits = self.try_once(kind, seconds, *options)
            self.assertLess(grown_kib, self.MOST_KIB)
            most = max(self.MOST_S, self.MOST_TIMES * p99_of(calm))
            if len(waits) > 100 and p99_of(waits) < most and done >= least:
                return
        self.fail(f"{kind} did {done}, and {len(waits)} waits were up to {p99_of(waits)} s: {most}")

    def try_once(
        self, kind: str, seconds: float, *options: str
    ) -> tuple[int, int, list[float], list[float]]:
        """
        What the hostile client did, the memory it cost (KiB), and how long the other one waited
        before it came, and while it was there.
        """
        server = self.start(Path(self.mktemp()), *options).wait()
        client = self.client(server)
        calm = []
        # What the first requests make is not to be counted.
        for _ in range(200):
            client.request("START")
            calm.append(self.wait_of(client))
        before = most = memory_kib(server)
        port = server.tls_port if "--tls-port" in options else server.port
        hostile = subprocess.Popen(
            [sys.executable, "-m", "tests.support.hostile", kind, str(port), str(seconds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        waits = []
        while hostile.poll() is None:
            waits.append(self.wait_of(client))
            if len(waits) % 20 == 0:
                most = max(most, memory_kib(server))
            # A driver, not another flood.
            time.sleep(0.001)
        done = json.loads(hostile.communicate()[0])["done"]
        self.assertEqual(hostile.returncode, 0)
        self.assertEqual(self.client(server).request("START")["status"]["code"], 200)
        # The next attempt may want its storage.
        self.stop(server)
        return done, most - before, calm, waits

    def wait_of(self, client: Client) -> float:
        """How long a client waits for an answer, seconds."""
        began = time.perf_counter()
        # Of somebody who is not there, so that the thread of the storage is asked too.
        reply = client.request("NAVIGATION", user_id="nobody", route_distance=10)
        self.assertEqual(reply["status"]["code"], 404)
        return time.perf_counter() - began

    def test_never_reads(self) -> None:
        """One who never reads."""
        self.suffer("never_reads")

    def test_byte_by_byte(self) -> None:
        """Many connections on which a byte comes now and then."""
        self.suffer("byte_by_byte")

    def test_byte_by_byte_ended(self) -> None:
        """Their lines are not waited for."""
        server = self.start(Path(self.mktemp()), "--line-timeout", "0.5").wait()
        client = self.client(server)
        began = time.monotonic()
        with self.assertRaises(OSError):
            while time.monotonic() - began < 20:
                client.socket.sendall(b"x")
                client.socket.settimeout(0.05)
                try:
                    if client.socket.recv(1) == b"":
                        raise ConnectionError("hung up on")
                except TimeoutError:
                    pass
        self.assertLess(time.monotonic() - began, 10)
        self.wait_for(server, "a line that took too long")

    def test_long_lines(self) -> None:
        """Lines of 64 KiB."""
        self.suffer("long_lines", least=1)

    def test_too_long_lines(self) -> None:
        """Lines over the limit."""
        self.suffer("too_long_lines")

    def test_tiny_lines(self) -> None:
        """Lines of nothing, and of a byte."""
        self.suffer("tiny_lines")

    def test_blank_lines(self) -> None:
        """Lines of nothing: they kept the thread of the storage from running."""
        self.suffer("blank_lines")

    def test_opens_and_closes(self) -> None:
        """One who opens and closes connections as fast as can be."""
        self.suffer("opens_and_closes", least=100)

    def test_shakes_hands(self) -> None:
        """One who begins TLS over many connections at once, and leaves it there."""
        options = tls_options(*make_certificate(Path(self.mktemp()).absolute()))
        self.suffer("shakes_hands", *options, least=1000)

    def test_pipelines(self) -> None:
        """One who sends 100,000 requests at once."""
        self.suffer("pipelines", least=1_000_000)

    def test_pipelines_big(self) -> None:
        """One who does, and whose replies are big."""
        self.suffer("pipelines_big", least=1_000_000)

    def test_logs_in(self) -> None:
        """One who logs in for ever is stopped, and leaves no more than was allowed."""
        data = Path(self.mktemp()).absolute()
        self.suffer("logs_in", "--max-pending-logins", "500", "--storage", f"sqlite:///{data}.db")


class ManyTests(ServerTestCase):
    """Many clients at once."""

    IDLE, ACTIVE = 10_000, 5_000

    def connect(self, server: Server, number: int) -> list[socket.socket]:
        clients = []
        for _ in range(number):
            client = socket.create_connection(("127.0.0.1", server.port), 20)
            self.addCleanup(client.close)
            clients.append(client)
        return clients

    def test_idle(self) -> None:
        """10,000 idle connections take at most 4 KiB of the process each."""
        have_descriptors(self.IDLE)
        server = self.start(Path(self.mktemp())).wait()
        client = self.client(server)
        client.request("START")
        before = memory_kib(server)
        clients = self.connect(server, self.IDLE)
        # All have been let in once the last one is answered.
        for one in (clients[-1], clients[0]):
            one.sendall(START)
            self.assertIn(b"Sucesso", one.recv(1 << 20))
        self.assertLess((memory_kib(server) - before) / self.IDLE, 4)
        self.assertEqual(client.request("START")["status"]["code"], 200)

    def test_fair(self) -> None:
        """Of 5,000 who ask again and again none waits ten times as long as most."""
        have_descriptors(self.ACTIVE)
        server = self.start(Path(self.mktemp())).wait()
        watch = selectors.DefaultSelector()
        asked: dict[socket.socket, float] = {}
        waits: list[float] = []
        for client in self.connect(server, self.ACTIVE):
            client.setblocking(False)
            watch.register(client, selectors.EVENT_READ)
            asked[client] = 0.0
        began = time.perf_counter()
        for client in asked:
            client.send(NAVIGATION)
            asked[client] = time.perf_counter()
        while waiting := sum(1 for since in asked.values() if since):
            self.assertLess(time.perf_counter() - began, 60, f"{waiting} are not answered")
            for key, _ in watch.select(1):
                client: socket.socket = key.fileobj
                client.recv(4096)
                now = time.perf_counter()
                waits.append(now - asked[client])
                asked[client] = 0.0
                if now - began < 4 or len(waits) < 3 * self.ACTIVE:
                    client.send(NAVIGATION)
                    asked[client] = now
        self.assertGreater(len(waits), 2 * self.ACTIVE)
        self.assertLess(max(waits), 10 * statistics.median(waits))


class LimitTests(ServerTestCase):
    """Connection limits of a real server."""

    def test_descriptors(self) -> None:
        """
        Where a process may have few file descriptors, fewer connections are let in, which the log
        says; those who are not are told, and those who are find all in order.
        """
        few = ["sh", "-c", 'ulimit -n 220; exec "$@"', "sh"]
        server = self.start(Path(self.mktemp()), before=few).wait()
        self.wait_for(server, "for 20 connections, not for the 16384 of")
        clients = [self.client(server) for _ in range(20)]
        for client in clients:
            self.assertEqual(client.request("START")["status"]["code"], 200)
        for _ in range(30):
            refused = self.client(server)
            self.assertEqual(json.loads(refused.replies.readline())["status"]["code"], 503)
        self.assertEqual(clients[0].request("LOGIN", **LOGIN)["status"]["code"], 200)

    def test_refused(self) -> None:
        """Those who are told that they are not let in take no descriptor from the others."""
        few = ["sh", "-c", 'ulimit -n 250; exec "$@"', "sh"]
        server = self.start(Path(self.mktemp()), before=few).wait()
        clients = [self.client(server) for _ in range(50)]
        for client in clients:
            client.request("START")
        refused = [self.client(server) for _ in range(250)]
        for client in clients:
            self.assertEqual(client.request("LOGIN", **LOGIN)["status"]["code"], 200)
        told = [client.replies.readline() for client in refused]
        self.assertGreaterEqual(sum(b'"code":503' in line for line in told), MOST_TOLD)

    def test_headless(self) -> None:
        """Behind a proxy, those who send no header leave descriptors for all else."""
        few = ["sh", "-c", 'ulimit -n 300; exec "$@"', "sh"]
        server = self.start(Path(self.mktemp()), "--proxy-protocol", before=few).wait()
        client = self.client(server)
        client.socket.sendall(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 8888\r\n")
        client.request("START")
        for _ in range(150):
            # Some of them wait for ever, others are closed.
            self.client(server)
        self.assertEqual(client.request("LOGIN", **LOGIN)["status"]["code"], 200)

    def test_rush(self) -> None:
        """Many who come at once are let in one after another, none has to try again."""
        server = self.start(Path(self.mktemp())).wait()
        server.process.send_signal(signal.SIGSTOP)
        clients = []
        for _ in range(400):
            # A second later the network would ask again by itself.
            client = socket.create_connection(("127.0.0.1", server.port), 0.9)
            self.addCleanup(client.close)
            clients.append(client)
        server.process.send_signal(signal.SIGCONT)
        for client in clients:
            client.settimeout(20)
            client.sendall(START)
            self.assertIn(b"Sucesso", client.recv(1 << 20))

    def test_edge(self) -> None:
        """The connection over the limit is told; when another one has left, the next is let in."""
        server = self.start(Path(self.mktemp()), "--max-connections-per-address", "3").wait()
        clients = [self.client(server) for _ in range(3)]
        for client in clients:
            self.assertEqual(client.request("START")["status"]["code"], 200)
        refused = self.client(server)
        self.assertEqual(json.loads(refused.replies.readline())["status"]["code"], 429)
        self.assertEqual(refused.replies.read(), b"")
        clients.pop().close()
        while True:
            # The server may hear of the newcomer before it hears of the end.
            client = Client(server.port)
            self.addCleanup(client.close)
            reply = client.request("START")
            if reply["status"]["code"] == 200:
                break
            self.assertEqual(reply["status"]["code"], 429)
        self.wait_for(server, "Refused 127.0.0.1: too many connections from there")
