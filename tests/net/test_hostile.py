"""A real server among clients that mean harm, and among many that mean none."""

import json
import os
import resource
import selectors
import signal
import socket
import statistics
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest

from evcharge.net.guards.connection_limit import MOST_TOLD
from tests.support.certificates import make_certificate, tls_options
from tests.support.hostile import NAVIGATION, START
from tests.support.servers import LOGIN, Client, Server, ServerTestCase, memory_kib
from tests.support.suffering import HostileTestCase


def have_descriptors(number: int) -> None:
    """See to it that this process may open so many files more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number += len(os.listdir("/proc/self/fd")) + 100
    if hard != resource.RLIM_INFINITY and hard < number:
        raise SkipTest(f"a process may have {hard} file descriptors here, and this needs {number}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


class HostileTests(HostileTestCase):
    """One hostile client takes next to nothing from the others, whatever it does."""

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
