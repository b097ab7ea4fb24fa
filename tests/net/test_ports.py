"""Ports by IPv4 and IPv6, those that cannot be had, and what a person is told."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.python.monkey import MonkeyPatcher
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from evcharge.healthcheck import healthy
from evcharge.net.ports import LOOPBACK, MOST_TRIES, CannotListen, ListeningPort, endpoint
from evcharge.process.options import Options
from tests.support.ports import families, free_port
from tests.support.servers import LINE, Server, ServerTestCase


class PortTests(TestCase):
    """Ports opened in this process, where the system may be made to refuse."""

    def open(self, description: str, option: str = "port") -> ListeningPort:
        accepts = Factory()
        accepts.noisy = False
        port = ListeningPort(option, description, endpoint(reactor, description), accepts)
        port.open()
        self.addCleanup(port.listening.stopListening)
        return port

    def refused(self, description: str, option: str = "port") -> str:
        """What is said of a port that cannot be opened."""
        return str(self.assertRaises(CannotListen, self.open, description, option))

    def before(self, call: str, family: int, do: Callable[[object], None]) -> MonkeyPatcher:
        """Have `do` come before each call of `socket` or `bind` for sockets of a family."""

        class Socket(socket.socket):
            def __init__(self, kind: int = socket.AF_INET, *more: int, **named: object) -> None:
                if (call, kind) == ("socket", family):
                    do(None)
                super().__init__(kind, *more, **named)

            def bind(self, address: tuple) -> None:
                if (call, self.family) == ("bind", family):
                    do(address)
                super().bind(address)

        return self.patch(socket, "socket", Socket)

    def fail(self, call: str, family: int, number: int) -> MonkeyPatcher:
        """Have the system refuse `socket` or `bind` to sockets of a family."""

        def refuse(_: object) -> None:
            raise OSError(number, os.strerror(number))

        return self.before(call, family, refuse)

    def test_without_family(self) -> None:
        """A family that the machine does not have, or has turned off, is left out."""
        for missing in LOOPBACK:
            for call, number in (
                ("socket", errno.EAFNOSUPPORT),
                ("bind", errno.EADDRNOTAVAIL),
            ):
                there = [host for family, host in families().items() if family != missing]
                refusal = self.fail(call, missing, number)
                port = self.open("localhost:0")
                refusal.restore()
                self.assertEqual([one.getHost().host for one in port.sockets], there)

    def test_without_both(self) -> None:
        """Without either that is what is said."""
        self.fail("socket", socket.AF_INET6, errno.EAFNOSUPPORT)
        self.fail("bind", socket.AF_INET, errno.EADDRNOTAVAIL)
        self.assertIn("Address family not supported", self.refused("0"))

    def test_other_failure(self) -> None:
        """Any other failure with one family is one of the port, and nothing is left open."""
        open_files = len(os.listdir("/proc/self/fd"))
        self.fail("socket", socket.AF_INET6, errno.EMFILE)
        self.assertIn("Too many open files", self.refused("0"))
        self.assertEqual(len(os.listdir("/proc/self/fd")), open_files)

    def test_one_number(self) -> None:
        """A free port is one that is free with both families."""
        taken = []

        def take(address: tuple) -> None:
            # Somebody else has the port that IPv4 has just been given: at first, and then not.
            if len(taken) < MOST_TRIES - 1:
                taken.append(None)
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

        # Twisted keeps a descriptor back from the first port on.
        self.open("0")
        open_files = len(os.listdir("/proc/self/fd"))
        self.before("bind", socket.AF_INET6, take)
        port = self.open("0")
        self.assertEqual(len(taken), MOST_TRIES - 1)
        self.assertEqual(len({one.getHost().port for one in port.sockets}), 1)
        # Those that were tried before are closed.
        self.assertEqual(len(os.listdir("/proc/self/fd")), open_files + len(port.sockets))

    def test_taken(self) -> None:
        """A port that is taken with one family only is taken; the option is named, and make's."""
        for family, host in families().items():
            with socket.create_server((host, 0), family=family) as other:
                port = other.getsockname()[1]
                for description in (f"localhost:{port}", f"{port}"):
                    problem = self.refused(description)
                    self.assertIn(f":{port}: Address already in use; ", problem)
                    self.assertEqual("cannot listen on [" in problem, family == socket.AF_INET6)
                    self.assertTrue(problem.endswith("by --port (make run PORT=…)"), problem)
                    problem = self.refused(description, "http-port")
                    self.assertTrue(problem.endswith("another port by --http-port"), problem)
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            problem = self.refused(f"tcp:{port}:interface=127.0.0.1")
            self.assertIn("--port (make run PORT=…)", problem)

    def test_socket_file(self) -> None:
        """The file of a socket is named that cannot be made, or that another process has."""
        folder = Path(self.mktemp()).absolute()
        problem = self.refused(f"unix:{folder}/socket")
        self.assertEqual(
            problem, f"cannot listen on unix:{folder}/socket: No such file or directory"
        )
        folder.mkdir()
        self.open(f"unix:{folder}/socket")
        problem = self.refused(f"unix:{folder}/socket")
        self.assertEqual(
            problem,
            f"cannot listen on unix:{folder}/socket: Cannot acquire lock; another process has it, "
            "the one that the .lock beside it leads to",
        )
        long = folder / ("x" * 120)
        self.assertEqual(
            self.refused(f"unix:{long}"), f"cannot listen on unix:{long}: AF_UNIX path too long"
        )

    def test_root(self) -> None:
        """A port that is for root says so."""
        self.fail("bind", socket.AF_INET, errno.EACCES)
        self.assertIn("Permission denied; ports under 1024 are for root", self.refused("443"))

    def test_descriptions(self) -> None:
        """A number, `localhost:` and a number, or an endpoint; else the option is named."""
        for option, value, description in (
            ("port", " 9000 ", "9000"),
            ("port", "0", "0"),
            ("port", "65535", "65535"),
            ("port", "localhost:9000", "localhost:9000"),
            ("port", "tcp:9000", "tcp:9000"),
            ("http-port", "9000", "localhost:9000"),
            ("http-port", "localhost:9000", "localhost:9000"),
            ("http-port", "tcp:9000", "tcp:9000"),
        ):
            options = Options()
            options.parseOptions([f"--{option}", value])
            self.assertEqual(
                {"port": options.settings.port, "http-port": options.settings.http_port}[option],
                description,
            )
        for value in (
            *("65536", "localhost:65536", "localhost:", "localhost:x", "localhost:-1", "-1", ""),
            *("²", "localhost:²", "1" * 5000, "localhost"),
        ):
            for option in ("port", "tls-port", "http-port"):
                error = self.assertRaises(
                    UsageError, Options().parseOptions, [f"--{option}", value]
                )
                self.assertIn(f"--{option} ", str(error))


class ServerTests(ServerTestCase):
    """Real servers, of one process and of several."""

    def addresses(self, server: Server) -> list[str]:
        line = next(line for line in server.log if " listens on " in line)
        return line.split(" listens on ")[1].split(";")[0].split(" and ")

    def check(self, port: str, hosts: dict[socket.AddressFamily, str], *options: str) -> Server:
        """A server at `port` is at these addresses, and answers at each loopback address."""
        server = self.start(Path(self.mktemp()), *options, port=port).wait()
        self.assertEqual(
            self.addresses(server),
            [f"{hosts[family]}:{server.port}" for family in families()],
        )
        if "--workers" in options:
            # The parent's, and one of each worker: a sign of life comes within 5 seconds or not.
            self.wait_for(server, " listens on ", times=3)
        for host in families().values():
            # Each worker in turn, very nearly.
            for _ in range(4):
                self.assertTrue(healthy(host, server.port), host)
        return server

    def shared(self) -> tuple[str, ...]:
        file = Path(self.mktemp()).absolute()
        return ("--storage", f"sqlite:///{file}", "--workers", "2")

    def test_number(self) -> None:
        """A number is a port of all addresses, of IPv4 and of IPv6."""
        everywhere = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "[::]"}
        self.check("0", everywhere)
        self.check("0", everywhere, *self.shared())

    def test_this_machine_only(self) -> None:
        """With `localhost:` it is one of this machine only."""
        loopback = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "[::1]"}
        self.check("localhost:0", loopback)
        self.check("localhost:0", loopback, *self.shared())

    def test_health(self) -> None:
        """The number of the HTTP port is one of this machine only, by both families."""
        for more in ((), self.shared()):
            port = free_port()
            server = self.start(Path(self.mktemp()), "--http-port", str(port), *more).wait()
            self.wait_for(server, f"health at http://127.0.0.1:{port}\n")
            for host in families().values():
                with socket.create_connection((host, port), 20) as client:
                    client.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
                    self.assertIn(b"alive", client.makefile("rb").read())

    def test_mapped(self) -> None:
        """A client of IPv4 is one to limits and in the log, also at a socket of IPv6."""
        if socket.AF_INET6 not in families():
            # An IPv6 socket there is not, so nothing to look at.
            return
        limit = ("--max-connections-per-address", "1")
        for port, host in (("tcp6:0", "127.0.0.1"), ("0", "127.0.0.1"), ("0", "::1")):
            server = self.start(Path(self.mktemp()), *limit, port=port).wait()
            with socket.create_connection((host, server.port), 20) as one:
                one.sendall(LINE.encode() + b"\n")
                self.assertIn(b"Sucesso", one.makefile("rb").readline())
                with socket.create_connection((host, server.port), 20) as other:
                    self.assertIn(b'"code":429', other.makefile("rb").readline())
            self.wait_for(server, f"Refused {host}: ")


class HealthCheckTests(SynchronousTestCase):
    """The command that asks whether a server answers."""

    def test_wrong_port(self) -> None:
        """A port that is none is said so in a line, without a traceback."""
        for port in ("abc", "", "-1", "65536", "٣", "8888x"):
            done = subprocess.run(
                [sys.executable, "-m", "evcharge.healthcheck", port],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            self.assertEqual(done.returncode, 1)
            self.assertEqual(
                done.stderr,
                f"evcharge.healthcheck: PORT must be a number from 0 to 65535, not {port!r}\n",
            )
