"""WebSocket of real servers, to clients that others have written."""

import json
import signal
import ssl
import subprocess
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.certificates import make_certificate
from tests.support.servers import LOGIN, Server, ServerTestCase, request_line
from tests.support.sockets import COMES_TO, JOURNEY
from tests.support.tools import node
from tests.support.waiting import LIMIT_S

PORT = ("--web-port", "tcp:0:interface=127.0.0.1")


class ClientTests(ServerTestCase):
    """The client of the library `websockets`."""

    def serve(self, *options: str) -> Server:
        return self.start(Path(self.mktemp()), *PORT, *options).wait()

    def connect(self, server: Server, path: str = "/api/v1/socket", **more: Any) -> Any:
        client = connect(f"ws://127.0.0.1:{server.web_port}{path}", **more)
        self.addCleanup(client.close)
        return client

    def request(self, client: ClientConnection, kind: str, **data: Any) -> dict[str, Any]:
        client.send(request_line(kind, **data).decode())
        reply: dict[str, Any] = json.loads(client.recv(LIMIT_S))
        return reply

    def journey(self, client: ClientConnection) -> None:
        user = self.request(client, "LOGIN", **LOGIN)["data"]["user_id"]
        paid = self.request(client, "PAYMENT", user_id=user, id_station=1, confirmation=True)
        self.assertTrue(paid["data"]["confirmation"])
        # In fragments of a generator's own.
        client.send(iter(["{", '"type"', "", ":1}"]))
        self.assertEqual(json.loads(client.recv(LIMIT_S))["status"]["code"], 400)
        self.assertGreater(client.ping().wait(LIMIT_S), 0)

    def test_journey(self) -> None:
        """A journey; many requests that are not waited for; and its end, which is clean."""
        client = self.connect(self.serve())
        self.journey(client)
        for _ in range(300):
            client.send(request_line("START", limit=1).decode())
        for _ in range(300):
            self.assertEqual(json.loads(client.recv(LIMIT_S))["status"]["code"], 200)
        client.close(1000, "bye")
        self.assertEqual((client.close_code, client.close_reason), (1000, "bye"))

    def test_tls(self) -> None:
        """The same over TLS, to a client that could speak HTTP/2 as well."""
        certificate, key = make_certificate(Path(self.mktemp()).absolute())
        options = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
        server = self.serve("--web-tls-port", "tcp:0:interface=127.0.0.1", *options)
        (line,) = [line for line in server.log if " listens on " in line]
        port = int(line.split("HTTPS on ")[1].split(";")[0].rsplit(":", 1)[1])
        context = ssl.create_default_context(cafile=str(certificate))
        context.set_alpn_protocols(["h2", "http/1.1"])
        client: Any = connect(
            f"wss://127.0.0.1:{port}/api/v1/socket", ssl=context, server_hostname="localhost"
        )
        self.addCleanup(client.close)
        self.journey(client)
        self.assertEqual(client.socket.selected_alpn_protocol(), "http/1.1")
        client.close()
        self.assertEqual(client.close_code, 1000)

    def test_origin(self) -> None:
        """A page of another site is not let in."""
        server = self.serve()
        self.connect(server, origin=f"http://127.0.0.1:{server.web_port}")
        with self.assertRaises(InvalidStatus) as caught:
            self.connect(server, origin="http://evil.example")
        self.assertEqual(caught.exception.response.status_code, 403)

    def test_end(self) -> None:
        """As the server ends, what was asked is answered, and the end is its own: 1001."""
        server = self.serve()
        clients = [self.connect(server) for _ in range(3)]
        for client in clients:
            self.request(client, "START", limit=1)
            for _ in range(20):
                client.send(request_line("START", limit=1).decode())
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            replies = 0
            with self.assertRaises(ConnectionClosed) as caught:
                while client.recv(LIMIT_S):
                    replies += 1
            self.assertEqual(caught.exception.rcvd.code, 1001)
            self.assertLessEqual(replies, 20)
        self.assertEqual(server.process.wait(LIMIT_S), -signal.SIGTERM)

    def test_limit(self) -> None:
        """A message over the limit ends the connection, which the client can tell: 1009."""
        client = self.connect(self.serve("--max-line", "2000"))
        self.request(client, "START", pad="x" * 1900)
        client.send("x" * 1_000_000)
        with self.assertRaises(ConnectionClosed) as caught:
            client.recv(LIMIT_S)
        self.assertEqual(caught.exception.rcvd.code, 1009)


if NODE := node():

    class NodeTests(ServerTestCase):
        """The client of Node, where a version that has one is there."""

        def test_journey(self) -> None:
            """The same as Chromium's."""
            server = self.start(Path(self.mktemp()), *PORT).wait()
            address = f"ws://127.0.0.1:{server.web_port}/api/v1/socket"
            script = (
                f"({JOURNEY})({json.dumps(address)}).then((r) => console.log(JSON.stringify(r)))"
            )
            command = [*NODE, "--eval", script]
            done = subprocess.run(command, capture_output=True, check=True, timeout=LIMIT_S)
            self.assertEqual(json.loads(done.stdout), COMES_TO)
