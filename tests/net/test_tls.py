"""TLS on real sockets: half-closing, hanging up, renewal of the certificate, and mistakes."""

import contextlib
import gc
import itertools
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from evcharge.net.connections import LINGER_S
from evcharge.net.protocol import DriverFactory
from evcharge.net.tls.certificate import CertificateService
from evcharge.net.tls.connection import HANDSHAKE_S, TOLD_S, TURN_S, TLSFactory
from evcharge.process.options import Options
from evcharge.process.virtual_clock import VirtualClock
from evcharge.tap import makeService
from evcharge.testing import MemoryTransport
from tests.support.certificates import make_certificate
from tests.support.servers import LINE, TLSTestCase, memory_kib, memory_of
from tests.support.tools import need

REQUEST = LINE.encode() + b"\n"
LOGIN = (
    b'{"type":"LOGIN","data":{"user_name":"Ana","selected_car":"Tesla Model 3","battery_car":40},'
    b'"status":{},"timestamp":""}\n'
)


class ConnectionTests(TLSTestCase):
    """Connections over TLS do as plain ones do."""

    def test_both_ports(self) -> None:
        """The same server answers on both ports; the certificate is the one it was given."""
        server = self.serve()
        client = self.connect()
        client.sendall(LOGIN)
        user = self.line(client)["data"]["user_id"]
        self.assertIn(client.version(), ("TLSv1.2", "TLSv1.3"))
        reply = self.client(server).request("NAVIGATION", user_id=user, route_distance=1)
        self.assertTrue(reply["data"]["can_complete"])

    def test_pipelined(self) -> None:
        """Requests in many records are answered in order, and so are those of one."""
        self.serve()
        client = self.connect()
        for chunk in (REQUEST * 300, LOGIN * 100):
            client.sendall(chunk)
            for _ in range(chunk.count(b"\n")):
                self.assertEqual(self.line(client)["status"]["code"], 200)

    def test_megabyte(self) -> None:
        """A megabyte of requests, sent without waiting, is answered whole."""
        self.serve()
        request = LINE.replace("START", "NAVIGATION").encode() + b"\n"
        rest = request * (1_000_000 // len(request))
        missing = rest.count(b"\n")
        client = self.connect()
        client.setblocking(False)
        while missing:
            self.assertTrue(select.select([client], [client] if rest else [], [], 20)[0:2])
            if rest:
                with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    rest = rest[client.send(rest[:16384]) :]
            with contextlib.suppress(ssl.SSLWantReadError):
                got = client.recv(65536)
                self.assertNotEqual(got, b"")
                missing -= got.count(b"\n")
        self.assertEqual((missing, rest), (0, b""))

    def test_half_close(self) -> None:
        """After the client's closing alert all that it asked is answered, then the server ends."""
        self.serve()
        # Python's own sockets read no more once they have sent it.
        client = self.openssl(SSL.Context(SSL.TLS_CLIENT_METHOD))
        client.sendall(LOGIN * 20 + REQUEST)
        client.shutdown()
        got = b""
        with self.assertRaises(SSL.ZeroReturnError):
            while True:
                got += client.recv(65536)
        codes = [json.loads(line)["status"]["code"] for line in got.splitlines()]
        self.assertEqual(codes, [200] * 21)

    def test_openssl(self) -> None:
        """`openssl s_client` gets its replies."""
        self.serve()
        self.assertEqual(self.openssl_client(), 200)

    def openssl_client(self, *options: str) -> int:
        """The code that `openssl s_client` gets for a request."""
        need("openssl")
        command = ["openssl", "s_client", "-quiet", "-no_ign_eof", "-verify_return_error", *options]
        command += ["-CAfile", str(self.certificate), "-connect", f"127.0.0.1:{self.tls_port}"]
        client = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        client.stdin.write(LOGIN)
        client.stdin.flush()
        reply = json.loads(client.stdout.readline())
        client.communicate(timeout=20)
        return reply["status"]["code"]

    def test_alpn(self) -> None:
        """Whatever a client says that it could speak, it speaks with the server."""
        server = self.serve()
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(["h2", "http/1.1", "x" * 255])
        client = self.connect(context=context)
        client.sendall(REQUEST)
        self.assertEqual(self.line(client)["status"]["code"], 200)
        self.assertIsNone(client.selected_alpn_protocol())
        self.assertEqual(self.openssl_client("-alpn", "h2,http/1.1,evcharge/1"), 200)
        self.assertEqual(self.openssl_client("-alpn", "evcharge/1", "-tls1_2"), 200)
        server.end()
        self.assertNotIn("Refused", "".join(server.log))

    def test_alpn_curl(self) -> None:
        """curl, which says that it could speak HTTP, is told where it is, with TLS and without."""
        need("curl")
        self.serve()
        for scheme in ("https", "http"):
            done = subprocess.run(
                ["curl", "--silent", "--show-error", "--max-time", "20",
                 "--cacert", self.certificate, "--write-out", "%{http_code}",
                 f"{scheme}://localhost:{self.tls_port}/"],
                capture_output=True, text=True, timeout=30,
            )  # fmt: skip
            self.assertEqual(done.stderr, "")
            self.assertIn(f"Porta {self.tls_port} do evcharge", done.stdout)
            self.assertEqual(done.stdout.splitlines()[-1], "400")

    def endpoints(self) -> list[str]:
        """The kinds of ports that this version of Twisted itself has speak TLS."""
        folder = Path(self.mktemp()).absolute()
        self.certificate, key = make_certificate(folder)
        self.other, _ = make_certificate(folder / "other", "other", host="other.test")
        ports = [
            f"ssl:0:privateKey={key}:certKey={self.certificate}:interface=127.0.0.1",
            f"tls:{folder}:port=0:interface=127.0.0.1",
        ]
        for port in ports[1:]:
            try:
                serverFromString(None, port)
            except ValueError:
                # Not every version has it.
                ports.remove(port)
        return ports

    def test_alpn_endpoint(self) -> None:
        """So is one of a port that Twisted itself has speak TLS, drivers' or watchers'."""
        for port in self.endpoints():
            context = ssl.create_default_context(cafile=str(self.certificate))
            context.load_verify_locations(self.other)
            context.check_hostname = False
            context.set_alpn_protocols(["h2", "evcharge/1"])
            server = self.start(Path(self.mktemp()), "--http-port", port, port=port).wait()
            (http,) = [line.rsplit(":", 1)[1] for line in server.log if "http://" in line]
            for number, said, heard in (
                (server.port, REQUEST, b"{"),
                (int(http), b"GET /health/live HTTP/1.0\r\n\r\n", b"200 OK"),
            ):
                # By the name some choose the certificate, and all that goes with it.
                for name in ("localhost", "other.test", None):
                    with (
                        socket.create_connection(("127.0.0.1", number), 20) as plain,
                        context.wrap_socket(plain, server_hostname=name) as client,
                    ):
                        client.sendall(said)
                        self.assertIn(heard, client.recv(100))
                        self.assertIsNone(client.selected_alpn_protocol())

    def test_endpoint_hangs_up(self) -> None:
        """Who is hung up on at such a port gets the closing alert, and the log has no traceback."""
        cases = (
            (9, b"x" * 300_000, b"too_large"),
            (9, b"GET / HTTP/1.1\r\n", b"HTTP/1.1 400"),
            (1, b"", b"unavailable"),
        )
        for port, (most, said, heard) in itertools.product(self.endpoints(), cases):
            server = self.start(Path(self.mktemp()), f"--max-connections={most}", port=port).wait()
            self.tls_port = server.port
            first = self.connect()
            first.sendall(REQUEST)
            first.recv(1)
            client = self.connect()
            client.sendall(said)
            self.assertIn(heard, self.ended(client))
            client.unwrap()
            first.close()
            server.end()
            self.assertNotIn("Traceback", "".join(server.log))

    def test_fin(self) -> None:
        """A client that ends its half without the alert gets its replies too."""
        server = self.serve()
        client = self.connect()
        client.sendall(LOGIN * 5)
        raw = socket.socket(fileno=os.dup(client.fileno()))
        raw.settimeout(20)
        raw.shutdown(socket.SHUT_WR)
        codes = [self.line(client)["status"]["code"] for _ in range(5)]
        self.assertEqual(codes, [200] * 5)
        self.assertEqual(self.ended(client), b"")
        # And no closing alert is waited for that cannot come.
        raw.settimeout(LINGER_S / 2)
        self.assertEqual(raw.recv(1), b"")
        raw.close()
        self.assertEqual(server.end(), -signal.SIGTERM)

    def test_too_large(self) -> None:
        """A line over the limit gets its reply, then a closing alert and no broken connection."""
        self.serve()
        client = self.connect()
        client.sendall(b"x" * 300_000)
        self.assertEqual(self.line(client)["status"]["code"], 413)
        self.assertEqual(self.ended(client), b"")
        # Once both have said so the connection ends.
        plain = client.unwrap()
        plain.settimeout(LINGER_S / 2)
        self.assertEqual(plain.recv(1), b"")
        plain.close()

    def test_drain(self) -> None:
        """At the server's end what was read is answered, and idle clients hear of it properly."""
        server = self.serve()
        idle, busy = self.connect(), self.connect()
        idle.sendall(REQUEST)
        self.line(idle)
        busy.sendall(LOGIN * 50)
        self.line(busy)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(idle), b"")
        replies = self.ended(busy).splitlines()
        self.assertEqual({json.loads(reply)["status"]["code"] for reply in replies}, {200})
        self.assertEqual(len(replies), 49)
        busy.close()
        idle.close()
        self.assertEqual(server.process.wait(20), -signal.SIGTERM)

    def test_not_reading(self) -> None:
        """A client that does not read is not read from, and takes little memory."""
        server = self.serve("--unread-timeout", "1")
        client = self.connect()
        client.settimeout(0.5)
        before = memory_kib(server)
        sent = 0
        try:
            while sent < 50_000_000:
                sent += client.send(REQUEST * 200)
        except (TimeoutError, ssl.SSLWantWriteError, ConnectionError, ssl.SSLEOFError):
            pass
        self.assertLess(sent, 50_000_000)
        self.assertLess(memory_kib(server) - before, 10 * 1024)
        self.wait_for(server, "replies left unread")

    def test_plain_text(self) -> None:
        """Plain text on the TLS port, and TLS on the plain one, end tidily."""
        server = self.serve()
        with socket.create_connection(("127.0.0.1", self.tls_port), 20) as client:
            client.sendall(REQUEST)
            self.assertNotIn(b"Sucesso", b"".join(iter(lambda: client.recv(65536), b"")))
        context = ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("127.0.0.1", server.port), 20)
        self.addCleanup(plain.close)
        with self.assertRaises(OSError):
            context.wrap_socket(plain, server_hostname="localhost")
        self.connect().close()
        server.end()
        self.assertNotIn("Traceback", "".join(server.log))

    def test_no_handshake(self) -> None:
        """A client that never ends its handshake is not waited for, and counts as a connection."""
        server = self.serve("--idle-timeout", "0.5", "--max-connections", "1")
        with socket.create_connection(("127.0.0.1", self.tls_port), 20) as client:
            client.sendall(b"\x16\x03\x01")
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(client.recv(1), b"")
        self.wait_for(server, "no request for too long")

    def test_no_renegotiation(self) -> None:
        """A client cannot have the server negotiate again and again."""
        self.serve()
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = self.openssl(context)
        client.renegotiate()
        with self.assertRaises(SSL.Error) as caught:
            client.do_handshake()
        self.assertIn("no renegotiation", str(caught.exception))

    def test_versions(self) -> None:
        """TLS 1.1 is refused, 1.2 and 1.3 are spoken."""
        self.serve()
        for version, spoken in (
            (ssl.TLSVersion.TLSv1_1, False),
            (ssl.TLSVersion.TLSv1_2, True),
            (ssl.TLSVersion.TLSv1_3, True),
        ):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self.certificate)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            with warnings.catch_warnings():
                # Asking for an old version is warned of.
                warnings.simplefilter("ignore")
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                context.maximum_version = version
            with socket.create_connection(("127.0.0.1", self.tls_port), 20) as plain:
                if not spoken:
                    with self.assertRaises(OSError):
                        context.wrap_socket(plain, server_hostname="localhost")
                    continue
                with context.wrap_socket(plain, server_hostname="localhost") as client:
                    client.sendall(REQUEST)
                    self.assertEqual(self.line(client)["status"]["code"], 200)


class RefusedTests(TLSTestCase):
    """Connections that come to nothing."""

    def setUp(self) -> None:
        self.server = self.serve("--http-port", "0")
        (line,) = [line for line in self.server.log if "http://" in line]
        self.http = line.split("http://")[1].strip()

    def counted(self, reason: str) -> int:
        """How many were refused for `reason`."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=20) as reply:
            (line,) = [
                line
                for line in reply.read().decode().splitlines()
                if line.startswith(f'evcharge_refused_total{{reason="{reason}"}}')
            ]
        return int(float(line.split()[1]))

    def fail_with(self, context: ssl.SSLContext) -> None:
        with (
            socket.create_connection(("127.0.0.1", self.tls_port), 20) as plain,
            self.assertRaises(OSError),
        ):
            context.wrap_socket(plain, server_hostname="localhost")

    def test_handshakes(self) -> None:
        """A handshake that fails is logged, with the address and the reason, and counted."""
        known = ssl.create_default_context(cafile=str(self.certificate))
        other_cipher = ssl.create_default_context(cafile=str(self.certificate))
        other_cipher.maximum_version = ssl.TLSVersion.TLSv1_2
        # The certificate has no RSA key.
        other_cipher.set_ciphers("AES128-GCM-SHA256")
        old = ssl.create_default_context(cafile=str(self.certificate))
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings():
            # Asking for an old version is warned of.
            warnings.simplefilter("ignore")
            old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        for context, why in (
            (other_cipher, "no shared cipher"),
            (old, "unsupported protocol"),
            (ssl.create_default_context(), "the client says: unknown ca"),
        ):
            self.fail_with(context)
            self.wait_for(self.server, f"Refused 127.0.0.1: a TLS connection that failed: {why}")
        with socket.create_connection(("127.0.0.1", self.tls_port), 20) as client:
            client.sendall(b"\x16\x03\x01")
        self.wait_for(self.server, "the client went away in the middle of it")
        self.assertEqual(self.counted("tls_failed"), 4, self.server.log)
        # Nor is it one of these who only looks whether the port is open, or who has been served.
        socket.create_connection(("127.0.0.1", self.tls_port), 20).close()
        self.connect(known).close()
        client = self.connect(known)
        client.sendall(REQUEST)
        self.line(client)
        client.close()
        self.assertEqual(self.counted("tls_failed"), 4)
        self.server.end()
        self.assertEqual("".join(self.server.log).count("Refused 127.0.0.1"), 4)

    def test_plain_text(self) -> None:
        """What is sent to be read is logged for what it is, and counted."""
        for number, (said, what) in enumerate(
            (
                (REQUEST, "JSON"),
                (b"\xef\xbb\xbf" + REQUEST, "JSON"),
                (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP"),
                (b"HEAD / HTTP/1.0\r\n\r\n", "HTTP"),
                (b"\r\nhelp\r\n", "text"),
                ("Olá\n".encode(), "text"),
                (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "a PROXY header (--proxy-protocol)"),
                (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", "a PROXY header (--proxy-protocol)"),
            ),
            1,
        ):
            with socket.create_connection(("127.0.0.1", self.tls_port), 20) as client:
                client.sendall(said)
                told = b"".join(iter(lambda: client.recv(65536), b""))
            if what == "HTTP":
                head, _, body = told.partition(b"\r\n\r\n")
                self.assertTrue(head.startswith(b"HTTP/1.1 400 "))
                here = f"Porta {self.tls_port} do evcharge".encode()
                self.assertTrue(body.startswith(b"" if said.startswith(b"HEAD") else here))
            elif "PROXY" in what:
                self.assertEqual(told, b"")
            else:
                reply = json.loads(told)
                self.assertEqual(reply["status"]["code"], 400)
                self.assertIn("esta porta fala TLS", reply["data"]["detail"])
            self.wait_for(
                self.server,
                f"Refused 127.0.0.1: plain text on the port for TLS (--tls-port): {what}",
            )
            self.assertEqual(self.counted("plain_text"), number)
        self.assertEqual(self.counted("tls_failed"), 0)


class WireTransport(MemoryTransport):
    """In memory, what a socket can be told too."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    setTcpKeepAlive = setTcpNoDelay


class MemoryTests(SynchronousTestCase):
    """Connections over TLS without sockets."""

    def test_after_the_end(self) -> None:
        """What a client sends behind its closing alert is not kept, while it waits for a reply."""
        reply: Deferred[bytes] = Deferred()
        self.connect(SSL.Context(SSL.TLS_CLIENT_METHOD), lambda line, client: reply)
        client = self.client
        client.send(REQUEST)
        client.shutdown()
        self.exchange()
        before = memory_of(os.getpid())
        for _ in range(1000):
            self.protocol.dataReceived(b"x" * 65536)
        self.assertLess(memory_of(os.getpid()) - before, 10 * 1024)
        reply.callback(b"reply")
        self.exchange()
        self.assertEqual(client.recv(100), b"reply\n")
        self.assertRaises(SSL.ZeroReturnError, client.recv, 100)
        self.assertTrue(self.transport.disconnecting)

    def test_no_handshake(self) -> None:
        """A handshake that does not end is cut off, and one that has ended is left alone."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.connect(context)
        self.clock.advance(HANDSHAKE_S)
        self.assertFalse(self.transport.aborted)
        hello = SSL.Connection(context, None)
        hello.set_connect_state()
        with contextlib.suppress(SSL.WantReadError):
            hello.do_handshake()
        for piece in (b"", hello.bio_read(1 << 20)[:-1]):
            self.connect(context, piece=piece)
            self.clock.advance(HANDSHAKE_S - 0.1)
            self.assertFalse(self.transport.aborted)
            self.clock.advance(0.1)
            self.assertTrue(self.transport.aborted)
            self.assertEqual(self.refused, [("tls_handshake", "somebody", "")])
        self.connect(context, piece=b"")
        self.lose(self.protocol)
        self.clock.advance(HANDSHAKE_S)
        self.assertEqual(self.refused, [])

    def test_alpn(self) -> None:
        """Of what a client could speak, what the factory prefers is chosen; or nothing."""

        @implementer(IProtocolNegotiationFactory)
        class Web(DriverFactory):
            """One whose protocol has a name."""

            def acceptableProtocols(self) -> list[bytes]:
                return [b"http/1.1", b"http/1.0"]

        for offered, chosen in (
            ([b"http/1.0", b"h2", b"http/1.1"], b"http/1.1"),
            ([b"http/1.0"], b"http/1.0"),
            ([b"h2"], b""),
            ([], b""),
        ):
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            if offered:
                context.set_alpn_protos(offered)
            for inner, expected in ((Web, chosen), (DriverFactory, b"")):
                self.connect(context, inner=inner)
                self.assertEqual(self.client.get_alpn_proto_negotiated(), expected)
                self.assertEqual(self.refused, [])

    def test_turned_away(self) -> None:
        """Who sends plain text is told, may take a moment to read it, and is not listened to."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        for leaves in (False, True):
            self.connect(context, piece=REQUEST)
            self.assertEqual(self.transport.take(), b"no TLS\n")
            self.assertTrue(self.transport.write_closed)
            for more in (REQUEST, b"\x16\x03\x01"):
                self.protocol.dataReceived(more)
            self.clock.advance(TOLD_S - 0.1)
            self.assertFalse(self.transport.disconnecting)
            if leaves:
                self.protocol.readConnectionLost()
            else:
                self.clock.advance(0.1)
            self.assertEqual(self.transport.aborted, not leaves)
            self.assertTrue(self.transport.disconnecting)
            self.lose(self.protocol)
            self.assertEqual(self.transport.take(), b"")
            self.assertEqual(self.refused, [(REQUEST, "somebody")])

    def test_late_alert(self) -> None:
        """What a client finds wrong right after the handshake is told, but not that it goes."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.connect(context)
        self.client.bio_write(b"\x17\x03\x03\0\x20" + bytes(32))
        self.assertRaises(SSL.Error, self.client.recv, 100)
        self.exchange()
        self.assertEqual(
            self.refused, [("tls_failed", "somebody", "the client says: bad record mac")]
        )
        self.connect(context)
        self.lose(self.protocol)
        self.assertEqual(self.refused, [])

    def test_turns(self) -> None:
        """Of many handshakes only so many are worked at before everybody else gets their turn."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)

        turns: list[Callable[[], None]] = []

        class Ticking(Clock):
            """A clock that goes on when it is looked at; the test says when it is whose turn."""

            def seconds(self) -> float:
                self.rightNow += TURN_S / 2.5
                return self.rightNow

            def callLater(self, delay: float, call: Callable, *args: object) -> object:
                if delay:
                    return super().callLater(delay, call, *args)
                turns.append(call)
                return call

        self.clock = Ticking()
        factory = self.factory()
        transports = []
        for _ in range(10):
            protocol, transport = factory.buildProtocol(None), WireTransport()
            protocol.makeConnection(transport)
            self.addCleanup(self.lose, protocol)
            client = SSL.Connection(context, None)
            client.set_connect_state()
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            hello = client.bio_read(1 << 20)
            protocol.dataReceived(hello[:9])
            # While it waits nothing more is read.
            self.assertEqual(transport.producerState, "paused")
            protocol.dataReceived(hello[9:])
            transports.append((protocol, transport))
        # One that goes meanwhile is passed over.
        self.lose(transports.pop(1)[0])
        answered = [0]
        while turns:
            self.assertEqual(len(turns), 1)
            turns.pop()()
            answered.append(sum(1 for _, transport in transports if transport.value()))
            self.assertLessEqual(answered[-1] - answered[-2], 3)
        self.assertEqual(answered[-1], 9)
        self.assertEqual({t.producerState for _, t in transports}, {"producing"})

    def test_failing(self) -> None:
        """A connection that fails at its turn is given up, and does not end the turns."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)

        def fail(line: bytes, client: object) -> None:
            """No reply, which is a bug."""

        self.connect(context, fail, said=REQUEST)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.connect(context)
        self.assertFalse(self.transport.aborted)

    def test_no_garbage(self) -> None:
        """However a connection ends, nothing is left that only a collection would find."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.addCleanup(gc.enable)
        gc.disable()
        for piece in (None, b"", b"\x16\x03\x01\x02\x00", b"no TLS", b"GET / HTTP/1.1\r\n\r\n"):
            gc.collect()
            for _ in range(100):
                self.connect(context, piece=piece)
                self.lose(self.protocol)
            # Less than one each: the first of a kind leave some.
            self.assertLess(gc.collect(), 100)

    def test_stopped(self) -> None:
        """A service that has stopped leaves the signal as it was."""
        before = signal.getsignal(signal.SIGHUP)
        self.service.startService()
        self.assertNotEqual(signal.getsignal(signal.SIGHUP), before)
        self.service.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)

    def test_old_versions(self) -> None:
        """TLS 1.1 is refused for what it is, and not only for the ciphers that it goes with."""
        for version, spoken in ((SSL.TLS1_1_VERSION, False), (SSL.TLS1_2_VERSION, True)):
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_min_proto_version(SSL.TLS1_VERSION)
            context.set_max_proto_version(version)
            self.service.read()
            for side in (context, self.service._context):
                side.set_cipher_list(b"ALL:@SECLEVEL=0")
            if spoken:
                self.connect(context)
                self.assertEqual(self.client.get_protocol_version(), version)
            else:
                with self.assertRaises(SSL.Error) as caught:
                    self.connect(context)
                self.assertIn("version", str(caught.exception))

    def setUp(self) -> None:
        certificate, key = make_certificate(Path(self.mktemp()))
        self.clock = VirtualClock()
        self.service = CertificateService(certificate, key, self.clock, self.clock.seconds)
        self.service.read()

    def connect(
        self,
        context: SSL.Context,
        dispatch: Callable[[bytes, object], Deferred[bytes]] = lambda line, client: Deferred(),
        piece: bytes | None = None,
        said: bytes = b"",
        inner: type[DriverFactory] = DriverFactory,
    ) -> None:
        """
        Connect a client, and let the handshake end; SSL.Error: it is refused.

        :param piece: all that the client says, in place of a handshake.
        :param said: what it says with the end of the handshake.
        """
        self.protocol = self.factory(dispatch, inner).buildProtocol(None)
        self.transport = WireTransport()
        self.protocol.makeConnection(self.transport)
        self.addCleanup(self.lose, self.protocol)
        if piece is not None:
            if piece:
                self.protocol.dataReceived(piece)
                self.clock.advance(0)
            return
        self.client = SSL.Connection(context, None)
        self.client.set_connect_state()
        for _ in range(3):
            with contextlib.suppress(SSL.WantReadError):
                self.client.do_handshake()
                if said:
                    self.client.send(said)
                    said = b""
            self.exchange()

    def factory(
        self,
        dispatch: Callable[[bytes, object], Deferred[bytes]] = lambda line, client: Deferred(),
        inner: type[DriverFactory] = DriverFactory,
    ) -> TLSFactory:
        """What makes the server's side of a connection."""
        drivers = inner(dispatch, lambda: b"", self.clock)
        self.refused: list[tuple[str, str]] = []
        return TLSFactory(
            self.service,
            drivers,
            self.clock,
            lambda *refused: self.refused.append(refused),
            self.turn_away,
        )

    def turn_away(self, text: bytes, who: str, host: object) -> bytes:
        """What is said to `who` sends plain text."""
        self.refused.append((text, who))
        return b"no TLS\n"

    def lose(self, protocol: TLSMemoryBIOProtocol) -> None:
        """End the connection, unless it has ended."""
        if protocol in protocol.factory.protocols:
            protocol.connectionLost(Failure(connectionDone.value))

    def exchange(self) -> None:
        """Carry what either side has written to the other."""
        with contextlib.suppress(SSL.WantReadError):
            self.protocol.dataReceived(self.client.bio_read(1 << 20))
            self.clock.advance(0)
        if self.transport.value():
            self.client.bio_write(self.transport.take())


class RenewalTests(TLSTestCase):
    """SIGHUP."""

    def test_renewal(self) -> None:
        """New connections get the new certificate, and those that are open go on."""
        server = self.serve()
        client = self.connect()
        old = client.getpeercert(True)
        make_certificate(self.folder, "renewed")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(server, "CN=renewed")
        self.assertNotEqual(self.connect().getpeercert(True), old)
        client.sendall(REQUEST)
        self.assertEqual(self.line(client)["status"]["code"], 200)

    def test_broken_renewal(self) -> None:
        """Files that cannot be used are named in the log, and the old ones stay."""
        server = self.serve()
        old = self.connect().getpeercert(True)
        other, _ = make_certificate(self.folder / "other")
        kept = self.certificate.read_bytes()
        for content, word in ((b"", "no certificate"), (other.read_bytes(), "not the key")):
            self.certificate.write_bytes(content)
            server.process.send_signal(signal.SIGHUP)
            self.wait_for(server, word)
        self.certificate.write_bytes(kept)
        self.assertEqual(self.connect().getpeercert(True), old)

    def test_workers(self) -> None:
        """All workers read it again."""
        data = Path(self.mktemp()).absolute()
        server = self.serve("--workers", "2", "--storage", f"sqlite:///{data}.db")
        # The workers have only begun.
        make_certificate(self.folder, "renewed")
        for _ in range(5):
            server.process.send_signal(signal.SIGHUP)
            self.wait_for(server, "CN=renewed")
        client = self.connect()
        client.sendall(REQUEST)
        self.assertEqual(self.line(client)["status"]["code"], 200)
        # One that has not read it once would do so while it is written.
        self.wait_for(server, " listens on ", 3)
        make_certificate(self.folder, "again")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(server, "CN=again", 3)
        for _ in range(10):
            self.connect().sendall(REQUEST)
        self.assertNotIn("has ended", "".join(server.log))
        self.assertEqual(server.end(), -signal.SIGTERM)

    def test_draining(self) -> None:
        """The parent waits for its workers, whatever is asked of it meanwhile."""
        data = Path(self.mktemp()).absolute()
        server = self.serve("--workers", "2", "--storage", f"sqlite:///{data}.db")
        # One that has only begun ends at once.
        self.wait_for(server, " listens on ", 3)
        # It does not hang up, so its worker waits for it.
        client = self.connect()
        client.sendall(REQUEST)
        self.line(client)
        server.process.terminate()
        self.wait_for(server, "Received SIGTERM")
        server.process.send_signal(signal.SIGHUP)
        self.assertEqual(server.process.wait(20), -signal.SIGTERM)
        server.reading.join()
        self.assertEqual("".join(server.log).count("has ended with status 0"), 2)

    def test_signal(self) -> None:
        """Without TLS SIGHUP is none of the server's business, and ends it."""
        server = self.start(Path(self.mktemp())).wait()
        self.assertEqual(server.end(signal.SIGHUP), -signal.SIGHUP)

    def test_old(self) -> None:
        """The log tells of a certificate that has ended, or soon will."""
        server = self.serve(days=13)
        self.wait_for(server, "ends at")
        server.end()
        server = self.serve(days=-1)
        self.wait_for(server, "has ended")


class MistakeTests(TLSTestCase):
    """Files and options that are wrong."""

    def refused(self, *words: str) -> None:
        server = self.start(Path(self.mktemp()), *self.tls())
        out, err = server.process.communicate(timeout=20)
        self.assertEqual(server.process.returncode, 1, out + err)
        self.assertNotIn("Traceback", out + err)
        for word in words:
            self.assertIn(word, err.splitlines()[-1])

    def test_files(self) -> None:
        """Each mistake is one line that names the option and the file, and status 1."""
        folder = Path(self.mktemp()).absolute()
        good = make_certificate(folder)
        other = make_certificate(folder / "other")
        locked = folder / "locked.pem"
        locked.write_bytes(
            serialization.load_pem_private_key(good[1].read_bytes(), None).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        other_kind = folder / "rsa.pem"
        other_kind.write_bytes(
            rsa.generate_private_key(65537, 2048).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        garbage = folder / "garbage.pem"
        garbage.write_text("-----BEGIN CERTIFICATE-----\nnot\n-----END CERTIFICATE-----\n")
        for certificate, key, *words in (
            (folder / "none.pem", good[1], "--tls-certificate", "none.pem", "No such file"),
            (good[0], folder / "none.pem", "--tls-key", "none.pem", "No such file"),
            (good[0], other[1], "--tls-key", str(other[1]), "not the key of"),
            (good[1], good[1], "--tls-certificate", "no certificate"),
            (garbage, good[1], "--tls-certificate", "garbage.pem", "no certificate"),
            (good[0], other_kind, "--tls-key", "rsa.pem", "not the key of"),
            (good[0], good[0], "--tls-key", "certificate.pem", "no private key"),
            (good[0], garbage, "--tls-key", "garbage.pem", "no private key"),
            (good[0], locked, "--tls-key", "locked.pem", "has a passphrase"),
        ):
            self.certificate, self.key = certificate, key
            self.refused(*words)


class WorkersRightsTests(TestCase):
    """The parent of workers, in this process."""

    async def test_rights(self) -> None:
        """A key that workers may not read, as privileges are gone by then, stops the start."""
        folder = Path(self.mktemp()).absolute()
        certificate, key = make_certificate(folder)
        options = Options()
        options.parseOptions(
            [
                *("--port", "tcp:0:interface=127.0.0.1"),
                *("--storage", f"sqlite:///{folder}/network.db", "--workers", "2"),
                *("--tls-port", "tcp:0:interface=127.0.0.1"),
                *("--tls-certificate", str(certificate), "--tls-key", str(key)),
            ]
        )
        parent = makeService(options)
        parent.privilegedStartService()
        key.unlink()
        error = self.assertRaises(SystemExit, parent.startService)
        self.assertIn("--tls-key", str(error))
        await parent.stopService()


class OptionTests(SynchronousTestCase):
    """The options by themselves."""

    def test_all_or_none(self) -> None:
        """What is missing is named."""
        for given, missing in (
            (["--tls-port=1"], "--tls-certificate and --tls-key"),
            (["--tls-port=1", "--tls-key=k"], "--tls-certificate"),
            (["--tls-certificate=c", "--tls-key=k"], "--tls-port or --web-tls-port"),
            (["--web-tls-port=1"], "--tls-certificate and --tls-key"),
        ):
            error = self.assertRaises(UsageError, Options().parseOptions, given)
            self.assertEqual(str(error), f"TLS needs {missing} too")

    def test_plain_port(self) -> None:
        """Beside TLS the plain port is for this machine only, unless it is asked for."""
        options = Options()
        options.parseOptions(["--tls-port=8889", "--tls-certificate=c", "--tls-key=k"])
        self.assertEqual(options.settings.port, "localhost:8888")
        self.assertEqual(options.settings.tls.port, "8889")
        self.assertTrue(Path(options.settings.tls.key).is_absolute())
        options = Options()
        options.parseOptions(["--tls-port=1", "--tls-certificate=c", "--tls-key=k", "-p", "5"])
        self.assertEqual(options.settings.port, "5")

    def test_layers(self) -> None:
        """Endpoints with layers of their own leave no place for ours."""
        # Twisted reads the files of an ssl: endpoint when it is described.
        certificate, key = make_certificate(Path(self.mktemp()))
        tls = ["--tls-certificate=c", "--tls-key=k"]
        ssl_port = f"ssl:1:privateKey={key}:certKey={certificate}"
        for given, word in (
            ([*tls, f"--tls-port={ssl_port}"], "--tls-port must be a plain port"),
            (["--proxy-protocol", f"--port={ssl_port}"], "--proxy-protocol needs a --port"),
            (["--proxy-protocol", "--port=haproxy:tcp:1"], "--proxy-protocol needs a --port"),
            # Which not every version of Twisted has.
            ([*tls, "--tls-port=tls:/x"], "tls:"),
            (["--proxy-protocol", "--port=tls:/x"], "tls:"),
        ):
            error = self.assertRaises(UsageError, Options().parseOptions, given)
            self.assertIn(word, str(error))
        Options().parseOptions([f"--port={ssl_port}"])

    def test_wrong_port(self) -> None:
        """A port that is none is named; so is one that workers cannot share."""
        error = self.assertRaises(UsageError, Options().parseOptions, ["--tls-port=70000"])
        self.assertIn("--tls-port must be a number", str(error))
        tls = ["--tls-certificate=c", "--tls-key=k", "--workers=2", "--storage=sqlite:///a.db"]
        given = [*tls, "--tls-port=haproxy:tcp:8889"]
        error = self.assertRaises(UsageError, Options().parseOptions, given)
        self.assertIn("--tls-port that is tcp:", str(error))
