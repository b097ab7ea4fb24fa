"""The web ports of real servers: sockets, TLS, workers, a proxy before them, and their end."""

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from evcharge.web.request import JSON
from tests.support import postgres
from tests.support.certificates import make_certificate
from tests.support.frames import TEXT, UPGRADE, frame
from tests.support.posting import Answer
from tests.support.servers import LOGIN, ROOT, V1, HealthTestCase, Server, memory_kib
from tests.support.visitors import posted, request
from tests.support.waiting import LIMIT_S, until

WEB = ("--web-port", "tcp:0:interface=127.0.0.1")
LEAFLET = "/static/vendor/leaflet-1.9.4/leaflet.js"


class WebTestCase(HealthTestCase):
    """A real server with a web port."""

    def web(self, *options: str, **more: Any) -> Server:
        return self.serve(*WEB, *options, **more)

    def connect(self, port: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", port), LIMIT_S)
        self.addCleanup(client.close)
        return client

    def post(
        self, port: int, path: str, data: object, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, dict[str, Any]]:
        """Post over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        self.addCleanup(connection.close)
        connection.request("POST", path, json.dumps(data), {"Content-Type": JSON, **headers})
        reply = connection.getresponse()
        return reply.status, reply.headers, json.loads(reply.read())


def read_answers(client: socket.socket, count: int = 1) -> list[Answer]:
    """So many whole answers."""
    found = []
    with client.makefile("rb") as file:
        for _ in range(count):
            first, *others = iter(lambda: file.readline().rstrip().decode(), "")
            head = {n.lower(): value for n, value in (line.split(": ", 1) for line in others)}
            body = file.read(int(head["content-length"]))
            found.append(Answer(int(first.split()[1]), head, body))
    return found


def read_answer(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One whole answer: its code, its head, its body."""
    (found,) = read_answers(client)
    return found.code, found.headers, found.body


def read_all(client: socket.socket) -> bytes:
    """What comes until the end."""
    return b"".join(iter(lambda: client.recv(65536), b""))


class PortTests(WebTestCase):
    """One process."""

    def test_journey(self) -> None:
        """The log says where the page is, and one connection carries a journey."""
        server = self.web()
        port = server.web_port
        self.wait_for(server, f"The page is at http://127.0.0.1:{port}\n")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        self.addCleanup(connection.close)
        connection.request("GET", "/")
        reply = connection.getresponse()
        self.assertIn(b"<title>", reply.read())
        self.assertEqual(reply.headers["Content-Type"], "text/html; charset=utf-8")
        user = None
        for path, data in (
            ("/api/v1/login", LOGIN),
            ("/api/v1/navigation", {"route_distance": 1}),
            ("/api/v1/payment", {"id_station": 1, "confirmation": True}),
        ):
            data = {**data, "user_id": user} if user else data
            connection.request("POST", path, json.dumps(data), {"Content-Type": JSON})
            reply = json.loads(connection.getresponse().read())
            self.assertEqual(reply["status"]["code"], 200, reply)
            user = user or reply["data"]["user_id"]
        samples = self.samples()
        self.assertEqual(samples["evcharge_connections",], 1)
        self.assertEqual(samples["evcharge_web_requests_total", "200", "/"], 1)
        self.assertEqual(samples["evcharge_web_requests_total", "200", "/api/v1/login"], 1)
        self.assertGreater(samples["evcharge_sent_bytes_total",], 1000)
        self.assertGreater(samples["evcharge_received_bytes_total",], 300)
        self.assertEqual(server.end(), -signal.SIGTERM)
        self.assertNotIn("Traceback", "".join(server.log))

    def test_sockets(self) -> None:
        """A connection that becomes WebSocket is counted as one still, and as such."""
        server = self.web("--max-connections", "1")
        client = self.connect(server.web_port)
        client.sendall(UPGRADE)
        self.assertIn(b" 101 ", client.recv(20))
        self.assertEqual(self.samples()["evcharge_websockets",], 1)
        self.assertEqual(self.samples()["evcharge_connections",], 1)
        code, headers, body = read_answer(self.connect(server.web_port))
        self.assertEqual((code, headers["retry-after"]), (503, "1"))
        self.assertEqual(json.loads(body)["data"]["reason"], "unavailable")
        client.close()
        until(
            lambda: self.samples().get(("evcharge_websocket_closed_total", "1006")) == 1,
            "its end is counted",
            process=server.process,
        )
        self.assertEqual(self.samples()["evcharge_websockets",], 0)

    def test_closed_half(self) -> None:
        """What `nc -N` has sent is answered, whatever the storage takes for it."""
        server = self.web()
        client = self.connect(server.web_port)
        client.sendall(posted("/api/v1/login", json.dumps(LOGIN).encode()) + request("/nothing"))
        client.shutdown(socket.SHUT_WR)
        said = read_all(client)
        self.assertEqual([said.count(b"HTTP/1.1 200"), said.count(b"HTTP/1.1 404")], [1, 1])

    def test_unread(self) -> None:
        """Who asks for much and reads nothing takes no memory, and is given up."""
        server = self.web("--unread-timeout", "3")
        port = server.web_port
        before = memory_kib(server)
        clients = [self.connect(port) for _ in range(20)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(request(LEAFLET) * 200)
        self.assertEqual(self.get("/health/ready")[0], 200)
        until(
            lambda: self.samples().get(("evcharge_refused_total", "unread")) == len(clients),
            "they are given up",
            process=server.process,
        )
        # 20 × 200 × 145 KiB were asked for.
        self.assertLess(memory_kib(server) - before, 30_000)

    def test_much(self) -> None:
        """Who asks for much at once has all of it in the end."""
        server = self.web()
        client = self.connect(server.web_port)
        client.sendall(request(LEAFLET) * 30)
        bodies = {answer.body for answer in read_answers(client, 30)}
        self.assertEqual([len(body) > 140_000 for body in bodies], [True])

    def test_proxy(self) -> None:
        """Behind a proxy the client is who the PROXY header says, whatever HTTP says."""
        server = self.web("--proxy-protocol", "--max-connections-per-address", "1")
        first = self.connect(server.web_port)
        asked = request("/api/v1/cars").replace(
            b"\r\n\r\n", b"\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n"
        )
        first.sendall(V1 + asked)
        self.assertEqual(read_answer(first)[0], 200)
        second = self.connect(server.web_port)
        second.sendall(V1 + asked)
        code, _, body = read_answer(second)
        self.assertEqual((code, json.loads(body)["data"]["reason"]), (429, "rate_limited"))
        self.wait_for(server, "Refused 203.0.113.7: too many connections from there")
        third = self.connect(server.web_port)
        third.sendall(asked)
        with contextlib.suppress(ConnectionError):
            self.assertEqual(read_all(third), b"")

    def test_not_imported(self) -> None:
        """Without a web port, nothing is imported of what answers there."""
        wanted = {"evcharge.web.site", "evcharge.web.request", "twisted.web.http", "websockets"}
        self.assertEqual(wanted & self.imported_by(), set())
        self.assertEqual(wanted - self.imported_by(*WEB), set())

    def imported_by(self, *options: str) -> set[str]:
        """What a server imports until it starts."""
        program = (
            "import sys; from evcharge.tap import Options, makeService\n"
            "options = Options(); options.parseOptions(sys.argv[1:]); makeService(options)\n"
            "print(*sys.modules)"
        )
        command = [sys.executable, "-c", program, "--data", self.mktemp(), *options]
        return set(subprocess.check_output(command, text=True, cwd=ROOT).split())


class EndTests(WebTestCase):
    """SIGTERM."""

    def test_drain(self) -> None:
        """What is being carried out is answered, and no connection is kept then."""
        database = postgres.shared()
        server = self.web("--storage", database.url(database.create_database()))
        idle, busy = self.connect(server.web_port), self.connect(server.web_port)
        idle.sendall(request("/nothing"))
        self.assertEqual(read_answer(idle)[0], 404)
        database.pause()
        try:
            # Who has answered the first has read the second.
            busy.sendall(request("/nothing") + posted("/api/v1/login", json.dumps(LOGIN).encode()))
            self.assertEqual(read_answer(busy)[0], 404)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(read_all(idle), b"")
        finally:
            database.resume()
        code, headers, body = read_answer(busy)
        self.assertIn(code, (200, 503), body)
        self.assertEqual(headers["connection"], "close")
        self.assertEqual(read_all(busy), b"")
        self.assertEqual(server.process.wait(LIMIT_S), -signal.SIGTERM)
        self.assertNotIn("Traceback", "".join(server.log))


class TLSTests(WebTestCase):
    """HTTPS."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.certificate, self.key = make_certificate(self.folder)
        self.server = self.serve(
            *("--web-tls-port", "tcp:0:interface=127.0.0.1"),
            *("--tls-certificate", str(self.certificate), "--tls-key", str(self.key)),
        )
        self.tls_port = self.server.web_tls_port

    def encrypted(self, *protocols: str) -> ssl.SSLSocket:
        """A connection whose client could speak one of these."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if protocols:
            context.set_alpn_protocols(protocols)
        client = context.wrap_socket(self.connect(self.tls_port), server_hostname="localhost")
        self.addCleanup(client.close)
        return client

    def test_protocols(self) -> None:
        """HTTP/1.1 is chosen of what a browser offers; all may go on that offer nothing of it."""
        self.wait_for(self.server, f"The page is at https://127.0.0.1:{self.tls_port}\n")
        for offered, chosen in (
            (["h2", "http/1.1"], "http/1.1"),
            (["http/1.1"], "http/1.1"),
            (["h2"], None),
            ([], None),
        ):
            client = self.encrypted(*offered)
            self.assertEqual(client.selected_alpn_protocol(), chosen)
            client.sendall(request(LEAFLET) + request("/api/v1/cars"))
            answers = read_answers(client, 2)
            self.assertEqual([answer.code for answer in answers], [200, 200])
            self.assertGreater(len(answers[0].body), 140_000)
            self.assertIn("max-age=", answers[0].headers["strict-transport-security"])

    def test_beyond(self) -> None:
        """WebSocket and streams of events are there over TLS, and end with the server."""
        asked = {"type": "START", "data": {}, "status": {}, "timestamp": "", "id": "s"}
        spoken, told = self.encrypted("http/1.1"), self.encrypted()
        spoken.sendall(UPGRADE + frame(TEXT, json.dumps(asked).encode()))
        told.sendall(request("/api/v1/live?topics=stations"))
        for client, expected in ((spoken, b'"id":"s"}'), (told, b"event: snapshot\n")):
            said = b""
            while expected not in said:
                more = client.recv(65536)
                self.assertNotEqual(more, b"", said)
                said += more
        self.server.process.send_signal(signal.SIGTERM)
        read_all(told)
        # Closed, as who goes away says. It waits for our Close, and in the end resets.
        said = b""
        while b"\x88\x02\x03\xe9" not in said:
            more = spoken.recv(65536)
            self.assertNotEqual(more, b"", said)
            said += more
        for client in (spoken, told):
            client.close()
        self.assertEqual(self.server.process.wait(LIMIT_S), -signal.SIGTERM)

    def test_bad_request(self) -> None:
        """A request that is none has its whole answer and a proper end here too."""
        client = self.encrypted()
        client.sendall(b"nonsense\r\n\r\n" + b"x" * 100_000)
        code, headers, body = read_answer(client)
        self.assertEqual((code, headers["connection"]), (400, "close"))
        self.assertEqual(json.loads(body)["data"]["reason"], "invalid_http")
        self.assertEqual(client.recv(1), b"")

    def test_plain(self) -> None:
        """Who asks in plain is told that it is HTTPS."""
        client = self.connect(self.tls_port)
        client.sendall(request("/"))
        code, headers, body = read_answer(client)
        self.assertEqual((code, headers["connection"]), (400, "close"))
        self.assertEqual(json.loads(body)["data"]["reason"], "not_encrypted")
        self.assertNotIn("strict-transport-security", headers)
        self.assertEqual(self.samples()["evcharge_refused_total", "plain_text"], 1)

    def test_read_again(self) -> None:
        """On SIGHUP new connections have the new certificate, and those that there are go on."""
        client = self.encrypted()
        make_certificate(self.folder, name="renewed")
        self.server.process.send_signal(signal.SIGHUP)
        self.wait_for(self.server, "CN=renewed")
        client.sendall(request("/api/v1/cars"))
        self.assertEqual(read_answer(client)[0], 200)
        subject = self.encrypted().getpeercert()["subject"]
        self.assertEqual(subject, ((("commonName", "renewed"),),))


class WorkerTests(WebTestCase):
    """Several processes at one web port."""

    def test_workers(self) -> None:
        """Both answer, over HTTP and WebSocket, and their answers are counted for each."""
        file = Path(self.mktemp()).absolute()
        server = self.web("--workers", "2", "--storage", f"sqlite:///{file}.db")
        self.wait_for_workers(server)
        port = server.web_port
        self.wait_for(server, f"The page is at http://127.0.0.1:{port}\n")
        code, _, reply = self.post(port, "/api/v1/login", LOGIN)
        user = {"user_id": reply["data"]["user_id"]}
        for _ in range(30):
            self.assertEqual(self.post(port, "/api/v1/status", user)[0], 200)
        samples = self.samples()
        counts = [
            samples.get(("evcharge_web_requests_total", "200", "/api/v1/status", number), 0)
            for number in "12"
        ]
        self.assertEqual((code, sum(counts)), (200, 30))
        self.assertGreater(min(counts), 0)
        client = self.connect(port)
        client.sendall(UPGRADE)
        self.assertIn(b" 101 ", client.recv(20))
        self.assertEqual(sum(self.samples()["evcharge_websockets", n] for n in "12"), 1)
        self.assertEqual(server.end(), -signal.SIGTERM)
        self.assertNotIn("Traceback", "".join(server.log))
