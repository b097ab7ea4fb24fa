"""The examples for proxies in docs/operation: the web port behind real HAProxy and real nginx."""

import http.client
import json
import re
import socket
import ssl
import subprocess
import time
from pathlib import Path

from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.certificates import make_certificate
from tests.support.ports import free_port
from tests.support.servers import LOGIN, ROOT, Server, ServerTestCase
from tests.support.tools import need
from tests.support.waiting import LIMIT_S, until

FOLDER = ROOT / "docs" / "operation"
NAME = "carga.example.org"
COMMAND = re.compile(r" evcharge((?: --[a-z-]+(?: (?!-)\S+)?)+)")


class Https(http.client.HTTPSConnection):
    """A connection to the proxy, as if its name led there."""

    def __init__(self, port: int, trusted: ssl.SSLContext, source: str = "127.0.0.1") -> None:
        super().__init__(NAME, port, timeout=LIMIT_S)
        self._trusted = trusted
        self._source = source

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), LIMIT_S, (self._source, 0))
        self.sock = self._trusted.wrap_socket(plain, server_hostname=NAME)

    def ask(self, method: str, path: str, data: object = None, **headers: str) -> tuple[int, bytes]:
        """The code of an answer, and its body."""
        body = None if data is None else json.dumps(data)
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.request(method, path, body, headers)
        answer = self.getresponse()
        return answer.status, answer.read()


class Behind:
    """What is so behind either: the tests of both, below."""

    example: str
    """The file in docs/operation."""

    def begin(self, *options: str, **other: str) -> Server:
        """
        The server as the example's first lines start it, and the proxy in front of it.

        :param other: what of the example's text is to be another, and what.
        """
        need(self.example.partition(".")[0])
        self.web, self.plain, self.port = free_port(), free_port(), free_port()
        self.folder = Path(self.mktemp()).absolute()
        paths = make_certificate(self.folder, NAME, host=NAME)
        self.trusted = ssl.create_default_context(cafile=str(paths[0]))
        text = (FOLDER / self.example).read_text()
        server = self.start(Path(self.mktemp()), *self.command(text), *options).wait()
        text = self.here(text.replace("127.0.0.1:8080", f"127.0.0.1:{self.web}"), *paths)
        for old, new in other.items():
            old = old.replace("_", " ")
            self.assertIn(old, text)
            text = text.replace(old, new)
        config = self.folder / self.example
        config.write_text(text)
        log = (self.folder / "log").open("w")
        self.addCleanup(log.close)
        self.proxy = subprocess.Popen(self.started(config), stdout=log, stderr=log)
        self.addCleanup(self.proxy.wait)
        self.addCleanup(self.proxy.terminate)
        said = (self.folder / "log").open()
        self.addCleanup(said.close)
        until(self.listens, "the proxy listens", process=self.proxy, log=said)
        return server

    def command(self, text: str) -> list[str]:
        """The server's options in a comment, with a free web port; without the drivers' port."""
        lines = [line for line in text.splitlines()[:4] if line.startswith("#")]
        said = " ".join(line.strip("#\\ ") for line in lines)
        words = COMMAND.search(said)[1].split()
        self.assertIn("localhost:8080", words)
        if "--port" in words:
            at = words.index("--port")
            del words[at : at + 2]
        return [word.replace("8080", str(self.web)) for word in words]

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), LIMIT_S).close()
        except ConnectionRefusedError:
            return False
        return True

    def https(self, source: str = "127.0.0.1") -> Https:
        connection = Https(self.port, self.trusted, source)
        self.addCleanup(connection.close)
        return connection

    def socket(self, **options: object) -> ClientConnection:
        """A WebSocket, of a page of the server's own unless `options` say otherwise."""
        plain = socket.create_connection(("127.0.0.1", self.port), LIMIT_S)
        address = f"{NAME}:{self.port}"
        connection = connect(
            f"wss://{address}/api/v1/socket?lang=en",
            sock=plain,
            ssl=self.trusted,
            open_timeout=LIMIT_S,
            **{"origin": f"https://{address}", **options},
        )
        self.addCleanup(connection.close)
        return connection

    def say(self, connection: ClientConnection, kind: str, **data: object) -> dict:
        """The reply to a message."""
        request = {"type": kind, "data": data, "status": {}, "timestamp": ""}
        connection.send(json.dumps(request))
        return json.loads(connection.recv(LIMIT_S))

    def login(self, connection: Https) -> str:
        """The id of a user who has logged in."""
        code, body = connection.ask("POST", "/api/v1/login", LOGIN)
        self.assertEqual(code, 200, body)
        return json.loads(body)["data"]["user_id"]

    def pay(self, connection: Https, user_id: str) -> None:
        choice = {"user_id": user_id, "id_station": 7, "confirmation": True}
        code, body = connection.ask("POST", "/api/v1/payment", choice)
        self.assertEqual((code, json.loads(body)["data"]["confirmation"]), (200, True))

    def test_http(self) -> None:
        """The page, and requests over one connection; names are passed on, and judged."""
        self.begin()
        connection = self.https()
        code, body = connection.ask("GET", "/")
        self.assertEqual(code, 200)
        self.assertIn(b"<!doctype html>", body.lower())
        self.pay(connection, self.login(connection))
        for headers, expected in (
            ({"Host": "other.example"}, 421),
            ({"Origin": f"https://{NAME}:{self.port}"}, 200),
            ({"Origin": "https://other.example"}, 403),
        ):
            code, body = connection.ask("GET", "/api/v1/cars", **headers)
            self.assertEqual(code, expected, body[:200])

    def test_plain(self) -> None:
        """Who comes without TLS is sent to it, and who has come is to stay with it."""
        self.begin()
        plain = http.client.HTTPConnection("127.0.0.1", self.plain, timeout=LIMIT_S)
        self.addCleanup(plain.close)
        plain.request("GET", "/api/v1/cars?a=b", headers={"Host": NAME})
        answer = plain.getresponse()
        self.assertIn(answer.status, (301, 302))
        self.assertEqual(answer.headers["Location"], f"https://{NAME}/api/v1/cars?a=b")
        connection = self.https()
        connection.request("GET", "/api/v1/cars")
        self.assertIn("max-age=", connection.getresponse().headers["Strict-Transport-Security"])

    def test_websocket(self) -> None:
        """A WebSocket goes through, with its events; that of another page does not."""
        self.begin()
        listening = self.socket()
        reply = self.say(listening, "SUBSCRIBE", topics=["stations"], stations=[7])
        self.assertEqual(reply["status"], {"code": 200, "message": "Success"})
        connection = self.https()
        self.pay(connection, self.login(connection))
        event = json.loads(listening.recv(LIMIT_S))
        self.assertEqual(event["data"]["stations"]["7"]["available_slots"], 1)
        with self.assertRaises(InvalidStatus) as caught:
            self.socket(origin="https://other.example")
        self.assertEqual(caught.exception.response.status_code, 403)

    def test_live(self) -> None:
        """Server-Sent Events come one by one, while the answer goes on."""
        self.begin()
        listening, connection = self.https(), self.https()
        listening.request("GET", "/api/v1/live?topics=stations&stations=7")
        answer = listening.getresponse()
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.event(answer, "snapshot")["snapshot"]["stations"].keys(), {"7"})
        self.pay(connection, self.login(connection))
        self.assertEqual(self.event(answer, "change")["stations"]["7"]["available_slots"], 1)

    def event(self, answer: http.client.HTTPResponse, kind: str) -> dict:
        """The data of the next event of a kind."""
        for line in answer:
            if line == f"event: {kind}\n".encode():
                return json.loads(answer.readline().partition(b"data: ")[2])
        raise AssertionError(f"no {kind}")


class HaproxyTests(Behind, ServerTestCase):
    """haproxy.cfg."""

    example = "haproxy.cfg"

    def here(self, text: str, certificate: Path, key: Path) -> str:
        """The example with what this machine has."""
        both = self.folder / "both.pem"
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        text = text.replace("/etc/haproxy/carga.example.org.pem", str(both))
        text = text.replace("bind :443", f"bind 127.0.0.1:{self.port}")
        text = text.replace("bind :80\n", f"bind 127.0.0.1:{self.plain}\n")
        return text.replace("bind :9999", f"bind 127.0.0.1:{free_port()}")

    def started(self, config: Path) -> list[str]:
        return ["haproxy", "-db", "-f", str(config)]

    def test_clients(self) -> None:
        """The server's limits go by the address of each client."""
        server = self.begin("--max-connections-per-address", "1")
        first = self.https("127.0.0.2")
        self.assertEqual(first.ask("GET", "/api/v1/cars")[0], 200)
        code, body = self.https("127.0.0.2").ask("GET", "/api/v1/cars")
        self.assertEqual((code, json.loads(body)["data"]["reason"]), (429, "rate_limited"))
        self.assertEqual(self.https("127.0.0.3").ask("GET", "/api/v1/cars")[0], 200)
        self.wait_for(server, "Refused 127.0.0.2: ")

    def test_tunnel(self) -> None:
        """A WebSocket may be silent for longer than a request."""
        self.begin(
            **{"timeout_client_70s": "timeout client 1s", "timeout_server_70s": "timeout server 1s"}
        )
        listening = self.socket(ping_interval=None)
        time.sleep(3)
        self.assertEqual(self.say(listening, "START")["status"]["code"], 200)


class NginxTests(Behind, ServerTestCase):
    """nginx.conf."""

    example = "nginx.conf"

    def here(self, text: str, certificate: Path, key: Path) -> str:
        """The example with what this machine has, in a whole configuration."""
        text = text.replace("/etc/nginx/tls/fullchain.pem", str(certificate))
        text = text.replace("/etc/nginx/tls/privkey.pem", str(key))
        text = re.sub(r"listen \[::\].*\n", "", text)
        text = text.replace("listen 443", f"listen 127.0.0.1:{self.port}")
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.plain};")
        places = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return (
            f"daemon off;\npid {self.folder}/pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{places}{text}}}\n"
        )

    def started(self, config: Path) -> list[str]:
        return [need("nginx"), "-p", str(self.folder), "-e", "stderr", "-c", str(config)]

    def test_limits(self) -> None:
        """nginx itself refuses who asks for too much."""
        self.begin(**{"rate=20r/s": "rate=1r/m"})
        connection = self.https("127.0.0.2")
        codes = [connection.ask("GET", "/api/v1/tariffs/none")[0] for _ in range(105)]
        self.assertEqual((codes[0], codes[-1]), (404, 429))
        self.assertEqual(self.https("127.0.0.3").ask("GET", "/api/v1/cars")[0], 200)
