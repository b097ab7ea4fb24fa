"""evcharge.client, and what uses it to see whether a server lives."""

import json
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.client import Client, NoReply
from evcharge.healthcheck import healthy
from tests.support.certificates import make_certificate, tls_options
from tests.support.ports import free_port
from tests.support.scripted import environment, reply, says, scripted, silence
from tests.support.servers import Server, ServerTestCase

PARTS = ("type", "data", "status")
LOGIN: dict[str, Any] = {"user_name": "Zoé", "selected_car": "Tesla Model 3", "battery_car": 40}


class RequestTests(ServerTestCase):
    """Requests to real servers."""

    def connect(self, server: Server, **more: Any) -> Client:
        client = Client("127.0.0.1", server.port, **more)
        self.addCleanup(client.close)
        return client

    def test_request(self) -> None:
        """A reply is returned whole, whatever its code, and each line is told of."""
        server = self.start(Path(self.mktemp())).wait()
        lines: list[tuple[str, bytes]] = []
        with Client(port=server.port, on_line=lambda *line: lines.append(line)) as client:
            done = client.request("LOGIN", **LOGIN)
            refused = client.request(
                "NAVIGATION", user_id="nobody", route_distance=1, self=2, kind=3
            )
            start = client.request("START")
        self.assertEqual((done["type"], done["status"]["code"], done["id"]), ("LOGIN", 200, 1))
        self.assertEqual(len(done["data"]["user_id"]), 36)
        self.assertEqual((refused["status"]["code"], refused["id"]), (404, 2))
        self.assertEqual(refused["data"]["reason"], "user_not_found")
        self.assertEqual(len(start["data"]["station_models"]), 36)
        self.assertEqual([way for way, _ in lines], [">", "<"] * 3)
        self.assertEqual(json.loads(lines[0][1])["data"], LOGIN)
        self.assertEqual(json.loads(lines[1][1]), done)

    def test_of_the_connection(self) -> None:
        """What a server says where it knows no id is the reply: a line too long, a full house."""
        server = self.start(Path(self.mktemp()), "--max-connections-per-address", "1").wait()
        client = self.connect(server)
        self.assertEqual(client.request("START")["status"]["code"], 200)
        refused = self.connect(server).request("START")
        self.assertEqual((refused["type"], refused["status"]["code"]), ("error", 429))
        too_large = client.request("LOGIN", user_name="x" * 100_000)
        self.assertEqual(too_large["status"]["code"], 413)

    def test_tls(self) -> None:
        """TLS is spoken to whom one trusts; every other combination says what is wrong."""
        certificate, key = make_certificate(Path(self.mktemp()).absolute())
        server = self.start(Path(self.mktemp()), *tls_options(certificate, key)).wait()
        trusting = ssl.create_default_context(cafile=str(certificate))
        with Client("localhost", server.tls_port, tls=trusting) as client:
            self.assertEqual(client.request("START")["status"]["code"], 200)
        for host, port, tls, kind in (
            ("localhost", server.tls_port, True, ssl.SSLCertVerificationError),
            ("127.0.0.1", server.tls_port, trusting, ssl.SSLCertVerificationError),
            ("localhost", server.port, trusting, ssl.SSLError),
        ):
            with self.assertRaises(NoReply) as raised:
                Client(host, port, tls=tls)
            self.assertIsInstance(raised.exception.__cause__, kind)
            self.assertIn(f"{host}:{port}: ", str(raised.exception))
        with Client("127.0.0.1", server.tls_port) as client:
            self.assertEqual(client.request("START")["status"]["code"], 400)


class SilenceTests(SynchronousTestCase):
    """What is no reply."""

    def client(self, serve: Any, timeout_s: float = 20) -> Client:
        client = Client("127.0.0.1", scripted(self, serve), timeout_s=timeout_s)
        # Before the server ends, which waits for the client to go.
        self.addCleanup(client.close)
        return client

    def no_reply(self, kind: type[BaseException], serve: Any, timeout_s: float = 20) -> NoReply:
        """Nothing that `serve` does is a reply; the connection is closed, and stays so."""
        client = self.client(serve, timeout_s)
        with self.assertRaises(NoReply) as raised:
            client.request("START")
        self.assertIsInstance(raised.exception.__cause__, kind)
        with self.assertRaises(NoReply) as again:
            client.request("START")
        self.assertIn("closed: make another Client", str(again.exception))
        return raised.exception

    def test_unasked(self) -> None:
        """Lines that nobody asked for, before a reply and between two, are not taken for it."""

        def serve(connection: socket.socket) -> None:
            with connection.makefile("rb") as requests:
                requests.readline()
                connection.sendall(reply(None, "EVENT", n=1) + reply("map", "EVENT") + b"{")
                connection.sendall(reply(1, n=2)[1:] + reply(None, "EVENT", n=3))
                requests.readline()
                connection.sendall(reply(1, "EVENT", n=4) + reply(None, "LOGIN") + reply(2, n=5))
                requests.readline()
                connection.sendall(reply(2, "error", 500) + reply(None, "error", 500, n=6))

        client = self.client(serve)
        for n in (2, 5, 6):
            self.assertEqual(client.request("LOGIN")["data"]["n"], n)

    def test_garbage(self) -> None:
        """What is not in the form of a reply is none."""
        whole = json.loads(reply())
        for line in (
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\n",
            b"[]\n",
            b"null\n",
            b"[" * 100_000 + b"\n",
            b'{"\xff": 1}\n',
            reply().replace(b"{", b"", 1),
            *(
                json.dumps({**whole, name: 7}).encode() + b"\n"
                for name in ("type", "data", "status")
            ),
            reply(code="200"),
            b'{"type": "START", "data": {}, "status": {"code": 200}}\n',
        ):
            raised = self.no_reply(ValueError, says(line))
            self.assertIn("no reply of an evcharge server", str(raised))

    def test_closed(self) -> None:
        """A connection that ends, at once or in the middle of a line, is lost."""
        self.no_reply(ConnectionError, lambda connection: None)

        def half(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(reply()[:-10])

        self.no_reply(ConnectionError, half)

    def test_hangs(self) -> None:
        """A server that is silent is given up in time, and so is one that goes on and on."""

        def trickle(connection: socket.socket) -> None:
            while True:
                connection.sendall(b" ")
                time.sleep(0.01)

        def chatter(connection: socket.socket) -> None:
            while True:
                connection.sendall(reply(None, "EVENT"))
                time.sleep(0.01)

        for serve in (silence, trickle, chatter):
            began = time.monotonic()
            self.no_reply(TimeoutError, serve, 0.3)
            took = time.monotonic() - began
            self.assertGreaterEqual(took, 0.29)
            self.assertLess(took, 10)

    def test_not_there(self) -> None:
        """Where nobody is, that is what is said: not there, or no such name."""
        port = free_port()
        for host, kind in (
            ("127.0.0.1", ConnectionRefusedError),
            ("nobody.invalid", socket.gaierror),
            ("x" * 64 + ".example", socket.gaierror),
        ):
            with self.assertRaises(NoReply) as raised:
                Client(host, port)
            self.assertIsInstance(raised.exception.__cause__, kind)
            self.assertIn(f"{host}:{port}: ", str(raised.exception))

    def test_unsayable(self) -> None:
        """What JSON cannot say is the caller's mistake; nothing is sent, and all goes on."""
        client = self.client(says(reply(4)))
        for value in (float("nan"), "\ud800", object()):
            with self.assertRaises((TypeError, ValueError)):
                client.request("START", value=value)
        self.assertEqual(client.request("START")["id"], 4)


class HealthcheckTests(ServerTestCase):
    """`python -m evcharge.healthcheck`."""

    def run_it(self, port: int) -> int:
        return subprocess.run(
            [sys.executable, "-m", "evcharge.healthcheck", str(port)], env=environment(), timeout=60
        ).returncode

    def test_status(self) -> None:
        """It is 0 where a server answers, and 1 where none does."""
        server = self.start(Path(self.mktemp())).wait()
        self.assertEqual(self.run_it(server.port), 0)
        server.end()
        self.assertEqual(self.run_it(server.port), 1)

    def test_storage_lost(self) -> None:
        """A server that answers, but has lost its storage, is not healthy."""
        data = Path(self.mktemp())
        server = self.start(data).wait()
        self.assertTrue(healthy("127.0.0.1", server.port))
        (data / ".lock").unlink()
        self.assertFalse(healthy("127.0.0.1", server.port))

    def test_nothing_left(self) -> None:
        """Nothing is left of having asked: no user, and nothing in the log."""
        data = Path(self.mktemp())
        server = self.start(data).wait()
        before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
        self.assertTrue(healthy("127.0.0.1", server.port))
        after = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
        self.assertEqual(after, before)
        server.end()
        self.assertNotIn("NAVIGATION", "".join(server.log))


class ImportTests(SynchronousTestCase):
    """What is imported along."""

    def test_client(self) -> None:
        """People's programs get the client, and nothing that is not Python's own."""
        program = (
            "import sys; before = set(sys.modules); import evcharge.client\n"
            "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
            "print(sorted(tops - sys.stdlib_module_names))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment(), capture_output=True, text=True
        )
        self.assertEqual(done.stdout, "['evcharge']\n", done.stderr)
