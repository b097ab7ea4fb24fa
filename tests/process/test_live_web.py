"""What changes, told by real servers at their web ports: to curl, by WebSocket, and to many."""

import json
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from evcharge.client import Client as Program
from tests.process.test_live import leave, pay
from tests.support import postgres
from tests.support.certificates import make_certificate
from tests.support.servers import (
    LOGIN,
    HealthTestCase,
    Server,
    ServerTestCase,
    memory_kib,
    request_line,
    tls_options,
)
from tests.support.streams import event
from tests.support.tools import need
from tests.support.waiting import LIMIT_S, until

WEB = ("--web-port", "tcp:0:interface=127.0.0.1")


class Curl:
    """`curl -N`, which follows the network."""

    def __init__(self, address: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [need("curl"), "-sN", "--max-time", "60", *options, address],
            stdout=subprocess.PIPE,
            text=True,
        )

    def next(self) -> tuple[str, Any]:
        """The name and the data of the next record; comments are "" and None."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            if line == "\n":
                return event("\n".join(lines))
            lines.append(line.rstrip("\n"))
        raise ConnectionError("it has ended")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class CurlListener(Curl):
    """Knows the stations by it."""

    def __init__(self, port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}/api/v1/live?topics=stations")
        name, data = self.next()
        assert name == "snapshot"
        self.known = data["snapshot"]["stations"]

    def until(self, station: int, free: int) -> None:
        """Listen until so many slots are free."""
        ends = time.monotonic() + LIMIT_S
        while self.known[str(station)]["available_slots"] != free:
            assert time.monotonic() < ends, self.known[str(station)]
            _, data = self.next()
            for key, fields in (data or {}).get("stations", {}).items():
                self.known[key].update(fields)


class SocketListener:
    """Knows the stations by WebSocket."""

    def __init__(self, port: int) -> None:
        self.client = connect(f"ws://127.0.0.1:{port}/api/v1/socket")
        self.client.send(request_line("SUBSCRIBE", topics=["stations"]).decode())
        self.known = json.loads(self.client.recv(LIMIT_S))["data"]["snapshot"]["stations"]

    def until(self, station: int, free: int) -> None:
        """Listen until so many slots are free."""
        while self.known[str(station)]["available_slots"] != free:
            data = json.loads(self.client.recv(LIMIT_S))["data"]
            for key, fields in data.get("stations", {}).items():
                self.known[key].update(fields)

    def close(self) -> None:
        """End."""
        self.client.close()


class StreamTests(HealthTestCase):
    """A server of one process."""

    def curl(self, address: str, *options: str) -> Curl:
        curl = Curl(address, *options)
        self.addCleanup(curl.close)
        return curl

    def test_curl(self) -> None:
        """curl -N is told what changes, and ends when the server does, at once."""
        server = self.serve(*WEB)
        curl = CurlListener(server.web_port)
        self.addCleanup(curl.close)
        user = pay(server.port, 7)
        curl.until(7, 1)
        leave(server.port, user)
        curl.until(7, 2)
        self.assertEqual(self.samples()["evcharge_subscribers", "sse"], 1)
        self.assertGreaterEqual(self.samples()["evcharge_events_sent_total", "sse"], 2)
        began = time.monotonic()
        self.assertEqual(server.end(), -signal.SIGTERM)
        self.assertEqual(curl.process.wait(LIMIT_S), 0)
        self.assertLess(time.monotonic() - began, 4)

    def test_head_and_refusal(self) -> None:
        """curl -I is answered and done; a refusal is a whole answer, that curl -f fails by."""
        server = self.serve(*WEB)
        address = f"http://127.0.0.1:{server.web_port}/api/v1/live"
        head = self.curl(f"{address}?topics=stations", "-I").process.communicate(timeout=LIMIT_S)[0]
        self.assertIn("text/event-stream", head)
        refused = self.curl(f"{address}?topics=user&lang=en")
        said = json.loads(refused.process.communicate(timeout=LIMIT_S)[0])
        self.assertEqual(said["data"]["reason"], "invalid_field")
        failed = self.curl(f"{address}?topics=user", "-f")
        failed.process.communicate(timeout=LIMIT_S)
        self.assertEqual(failed.process.returncode, 22)
        self.assertEqual(self.samples()["evcharge_subscribers", "sse"], 0)

    def test_tls(self) -> None:
        """The same over TLS."""
        folder = Path(self.mktemp()).absolute()
        certificate, key = make_certificate(folder)
        options = tls_options(certificate, key)
        server = self.serve(*options, "--web-tls-port", "tcp:0:interface=127.0.0.1")
        said = next(line for line in server.log if " listens on " in line)
        port = int(said.split("HTTPS on ")[1].split(";")[0].rsplit(":", 1)[1])
        curl = self.curl(
            f"https://localhost:{port}/api/v1/live?topics=stations&stations=7",
            *("--cacert", str(certificate), "--resolve", f"localhost:{port}:127.0.0.1"),
        )
        self.assertEqual(curl.next()[0], "snapshot")
        pay(server.port, 7)
        _, data = curl.next()
        self.assertEqual(data["stations"]["7"]["available_slots"], 1)
        self.assertEqual(server.end(), -signal.SIGTERM)
        self.assertEqual(curl.process.wait(LIMIT_S), 0)

    def unread(self, server: Server, form: str) -> socket.socket:
        """One who asks for what changes, and never reads it."""
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # By it the server's kernel reckons how much it keeps: over the loopback, megabytes.
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        one.connect(("127.0.0.1", server.web_port if form == "sse" else server.port))
        self.addCleanup(one.close)
        if form == "sse":
            one.sendall(b"GET /api/v1/live?topics=stations HTTP/1.1\r\nHost: localhost\r\n\r\n")
        else:
            one.sendall(request_line("SUBSCRIBE", topics=["stations"]))
        return one

    def test_memory(self) -> None:
        """A stream costs at most 8 KiB: nothing of HTTP is kept for it."""
        server = self.serve(*WEB)
        # What the first ones have the server load, and take for all.
        for _ in range(100):
            self.unread(server, "sse").recv(1)
        before = memory_kib(server)
        for _ in range(400):
            self.unread(server, "sse").recv(1)
        self.assertEqual(self.samples()["evcharge_subscribers", "sse"], 500)
        self.assertLess((memory_kib(server) - before) / 400, 8)

    def coalesced(self) -> float:
        return self.samples()["evcharge_events_coalesced_total",]

    def test_unread(self) -> None:
        """Whoever does not read costs no memory however much changes, and gets the end of it."""
        server = self.serve(*WEB, "--unread-timeout", "0")
        many = [self.unread(server, "sse") for _ in range(150)]
        stop = threading.Event()

        def change() -> None:
            with Program(port=server.port) as program:
                while not stop.is_set():
                    users = []
                    for station in range(1, 37):
                        users.append(program.request("LOGIN", **LOGIN)["data"]["user_id"])
                        place = {"user_id": users[-1], "id_station": station}
                        program.request("PAYMENT", confirmation=True, **place)
                    for user in users:
                        place = {"user_id": user, "id_station": 1}
                        program.request("PAYMENT", confirmation=False, **place)

        changing = threading.Thread(target=change, daemon=True)
        changing.start()
        self.addCleanup(stop.set)
        # Until what the kernel takes for those is full.
        until(lambda: self.coalesced() > 3000, "events that wait for who does not read")
        before = memory_kib(server)
        until(lambda: self.coalesced() > 9000, "more of them")
        grown = memory_kib(server) - before
        # 36 stations of 200 bytes each, and what the server does besides.
        self.assertLess(grown, 150 * 36 * 200 / 1024 + 2000)
        stop.set()
        changing.join(LIMIT_S)
        # So many at a time there never were before.
        for _ in range(3):
            pay(server.port, 9)
        with Program(port=server.port) as program:
            stations = program.request("START")["data"]["station_models"]
        wanted = {key: stations[key]["available_slots"] for key in ("1", "8", "9")}
        slow = many[0]
        slow.settimeout(LIMIT_S)
        known: dict[str, Any] = {}
        said = b""
        while {key: known.get(key, {}).get("available_slots") for key in wanted} != wanted:
            *records, said = (said + slow.recv(65536)).rpartition(b"\r\n\r\n")[2].split(b"\n\n")
            for name, data in map(event, map(bytes.decode, records)):
                for key, fields in ((data or {}).get("stations") or {}).items():
                    known.setdefault(key, {}).update(fields)
                if name == "snapshot":
                    known = data["snapshot"]["stations"]


class SharedTests(ServerTestCase):
    """Several processes on one storage."""

    def test_workers(self) -> None:
        """Workers on one PostgreSQL tell at the web port what each of them changes."""
        database = postgres.shared()
        storage = ("--storage", database.url(database.create_database()))
        server = self.start(Path(self.mktemp()), "--workers", "2", *WEB, *storage).wait()
        self.check(server.web_port, [server.port] * 5)

    def test_two_servers(self) -> None:
        """So do two servers on one PostgreSQL: of what is done at the other one."""
        database = postgres.shared()
        storage = ("--storage", database.url(database.create_database()))
        servers = [self.start(Path(self.mktemp()), *WEB, *storage).wait() for _ in range(2)]
        self.check(servers[0].web_port, [servers[1].port] * 3)

    def check(self, web_port: int, ports: list[int]) -> None:
        listeners: list[Any] = []
        for kind in (CurlListener, SocketListener) * 3:
            listeners.append(kind(web_port))
            self.addCleanup(listeners[-1].close)
        users = []
        for taken, port in enumerate(ports, 1):
            users.append(pay(port, 1))
            for listener in listeners:
                listener.until(1, 8 - taken)
        for user in users:
            leave(ports[0], user)
        for listener in listeners:
            listener.until(1, 8)
