"""Real servers, and clients of theirs that block."""

import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from OpenSSL import SSL
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import evcharge
from tests.support.certificates import make_certificate, tls_options
from tests.support.forked import Forked
from tests.support.waiting import LIMIT_S, until

ROOT = Path(evcharge.__file__).resolve().parent.parent
LOGIN = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}
LINE = '{"type":"START","data":{},"status":{},"timestamp":""}'
V1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 8888\r\n"
"""What a proxy sends first."""


TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")


class Server:
    """
    `twistd evcharge` on a free port of the loopback interface.

    :param before: the program that is to start Python, with its arguments.
    :param launch: what Python is to run. Where there is neither it forks from a process that has
        imported all that it needs (:mod:`tests.support.forked`).
    :param modules: a folder where it, and what it starts, looks for modules first.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        port: str = "tcp:0:interface=127.0.0.1",
        before: Sequence[str] = (),
        launch: Sequence[str] = (),
        modules: str = "",
    ) -> None:
        arguments = ["--nodaemon", "--pidfile=", "evcharge", "--port", port, "--data", str(data)]
        arguments += options
        places = filter(None, [modules, str(ROOT)])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        self.process: Forked | subprocess.Popen
        if before or launch:
            self.process = subprocess.Popen(
                [*before, sys.executable, *(launch or TWISTD), *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        else:
            self.process = Forked(arguments, environment, modules)
        self.log: list[str] = []
        self.clients: list[Client] = []

    def wait(self) -> "Server":
        """Wait until it listens."""
        for line in self.process.stdout:
            self.log.append(line)
            if " listens on " in line:
                self.port = int(line.split(" listens on ")[1].split(";")[0].rsplit(":", 1)[1])
                self.read()
                return self
        raise AssertionError("".join(self.log) + self.process.stderr.read())

    @property
    def tls_port(self) -> int:
        """Where it speaks TLS."""
        return self._port_of("TLS on ")

    @property
    def web_port(self) -> int:
        """Where it speaks HTTP."""
        return self._port_of("HTTP on ")

    @property
    def web_tls_port(self) -> int:
        """Where it does over TLS."""
        return self._port_of("HTTPS on ")

    def _port_of(self, spoken: str) -> int:
        # The first: workers say the same after it.
        line = next(line for line in self.log if " listens on " in line)
        return int(line.split(spoken)[1].split(";")[0].split(" and ")[0].rsplit(":", 1)[1])

    def read(self) -> None:
        """Read the log from now on."""
        self.reading = threading.Thread(
            target=lambda: self.log.extend(self.process.stdout), daemon=True
        )
        self.reading.start()

    def end(self, sig: int = signal.SIGTERM) -> int:
        """End it; its exit status. Its clients hang up as well, or it would wait for them."""
        self.process.send_signal(sig)
        for client in self.clients:
            client.hang_up()
        status = self.process.wait(LIMIT_S)
        self.reading.join(LIMIT_S)
        self.process.stderr.close()
        return status


def request_line(kind: str, **data: object) -> bytes:
    """A request, with its line end."""
    request = {"type": kind, "data": data, "status": {}, "timestamp": ""}
    return json.dumps(request).encode() + b"\n"


class Client:
    """A blocking client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT_S)
        self.replies = self.socket.makefile("rb")

    def request(self, kind: str, **data: object) -> dict:
        self.socket.sendall(request_line(kind, **data))
        return self.reply()

    def begin(self, kind: str, **data: object) -> None:
        """Send a request, and do not wait for its reply: when this returns the server has it."""
        # Both come together: who has answered the first has read the second.
        self.socket.sendall(request_line("FLY") + request_line(kind, **data))
        assert self.reply()["status"]["code"] == 404

    def reply(self) -> dict:
        """The next one."""
        reply = self.replies.readline()
        if not reply.endswith(b"\n"):
            raise ConnectionError("no reply")
        return json.loads(reply)

    def hang_up(self) -> None:
        """Say that no request comes any more; what is answered can still be read."""
        # It may be closed, or the server gone.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.replies.close()
        self.socket.close()


class ServerTestCase(SynchronousTestCase):
    """Starts servers, and ends those that a test leaves."""

    def start(self, data: Path, *options: str, **more: str) -> Server:
        server = Server(data, *options, **more)
        self.addCleanup(self.stop, server)
        return server

    def stop(self, server: Server) -> None:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        server.process.stdout.close()
        server.process.stderr.close()

    def wait_for(self, server: Server, text: str, times: int = 1) -> None:
        """Wait until the log has `text`."""
        until(
            lambda: "".join(server.log).count(text) >= times,
            f"{text!r} in the log",
            process=server.process,
            log=server.log,
        )

    def client(self, server: Server) -> Client:
        client = Client(server.port)
        server.clients.append(client)
        self.addCleanup(client.close)
        return client


def memory_kib(server: Server) -> int:
    """The memory that is the server's own, KiB."""
    return memory_of(server.process.pid)


def memory_of(pid: int) -> int:
    """The memory that is a process's own, KiB."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        raise SkipTest("memory is read off /proc, which this machine has not")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1])


class HealthTestCase(ServerTestCase):
    """A real server with an HTTP port."""

    def serve(self, *options: str, data: Path | None = None, **more: str) -> Server:
        data = Path(self.mktemp()) if data is None else data
        server = self.start(data, "--http-port", "0", *options, **more)
        server.wait()
        (line,) = [line for line in server.log if "Metrics and health at http://" in line]
        self.http = line.split("http://")[1].strip()
        return server

    def wait_until_ready(self, server: Server) -> None:
        """Wait until drivers may be sent there."""
        until(lambda: self.get("/health/ready")[0] == 200, "it is ready", process=server.process)

    def wait_for_workers(self, server: Server) -> None:
        """Wait until both workers answer."""
        until(
            lambda: [self.samples()["evcharge_worker_up", n] for n in "12"] == [1, 1],
            "both workers are up",
            process=server.process,
        )

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(f"http://{self.http}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def samples(self) -> dict[tuple, float]:
        """Each sample's value, by its name and its labels' values in the order of their names."""
        code, text = self.get("/metrics")
        self.assertEqual(code, 200)
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def journey(self, client: Client) -> str:
        """Log in, be refused once, and pay."""
        user = client.request("LOGIN", **LOGIN)["data"]["user_id"]
        client.request("LOGIN", **{**LOGIN, "battery_car": 101})
        client.request("NAVIGATION", user_id=user, route_distance=1)
        client.request("PAYMENT", user_id=user, id_station=1, confirmation=True)
        client.request("MADE_UP")
        client.socket.sendall(b"garbage\n")
        client.replies.readline()
        return user


class TLSTestCase(ServerTestCase):
    """A real server that speaks TLS on one port and plain text on another."""

    def serve(self, *options: str, days: int = 30) -> Server:
        self.folder = Path(self.mktemp()).absolute()
        self.certificate, self.key = make_certificate(self.folder, days=days)
        server = self.start(Path(self.mktemp()), *self.tls(), *options).wait()
        self.tls_port = server.tls_port
        return server

    def tls(self) -> list[str]:
        return tls_options(self.certificate, self.key)

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        context = context or ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("127.0.0.1", self.tls_port), LIMIT_S)
        self.addCleanup(plain.close)
        # An end without the closing alert is an error to us.
        client = context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)
        self.addCleanup(client.close)
        return client

    def openssl(self, context: SSL.Context) -> SSL.Connection:
        """A client without Python's own ideas."""
        plain = socket.create_connection(("127.0.0.1", self.tls_port))
        self.addCleanup(plain.close)
        # Python's own limit would make it a socket that does not block.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 20, 0))
        client = SSL.Connection(context, plain)
        client.set_connect_state()
        client.do_handshake()
        return client

    def line(self, client: ssl.SSLSocket) -> dict:
        got = b""
        while not got.endswith(b"\n"):
            more = client.recv(1)
            if not more:
                raise ConnectionError("no reply")
            got += more
        return json.loads(got)

    def ended(self, client: ssl.SSLSocket) -> bytes:
        """All that comes until the server's closing alert; an error where the connection breaks."""
        return b"".join(iter(lambda: client.recv(65536), b""))
