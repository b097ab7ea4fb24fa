"""The PROXY header: however it comes in pieces, whatever it holds; and a real HAProxy."""

import json
import socket
import struct
import subprocess
from pathlib import Path

from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from evcharge.net.proxy import (
    HEADER_S,
    V2_LONGEST,
    V2_START,
    NoHeader,
    ProxyFactory,
    client_of,
    header_length,
)
from evcharge.process.virtual_clock import VirtualClock
from evcharge.testing import MemoryServer, MemoryTransport
from tests.support.certificates import make_certificate
from tests.support.examples import given
from tests.support.servers import LINE, V1, ServerTestCase
from tests.support.tools import need
from tests.support.waiting import until

PROXY = IPv4Address("TCP", "10.0.0.1", 5)


def v2(command: int, family: int, addresses: bytes) -> bytes:
    return (
        V2_START + bytes([0x20 | command, family]) + struct.pack("!H", len(addresses)) + addresses
    )


V2 = v2(1, 0x11, bytes([203, 0, 113, 7, 10, 0, 0, 1]) + struct.pack("!HH", 4711, 8888))
V2_IPV6 = v2(
    1,
    0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack("!HH", 4711, 8888),
)
LOCAL = v2(0, 0, b"")
REQUEST = LINE.encode() + b"\n"


class Recorder(Protocol):
    """Keeps what comes to the protocol behind the header."""

    def __init__(self, factory: "Recorders", address: IAddress | None) -> None:
        self.recorders = factory
        factory.addresses.append(address)

    def dataReceived(self, data: bytes) -> None:
        self.recorders.data += data


class Recorders(Factory):
    noisy = False

    def __init__(self) -> None:
        self.addresses: list[IAddress | None] = []
        self.data = b""

    def buildProtocol(self, addr: IAddress | None) -> Recorder:
        return Recorder(self, addr)


class HeaderTests(SynchronousTestCase):
    """Reading headers."""

    def test_clients(self) -> None:
        """The client's address is what the header tells, where it tells one."""
        for header, client in (
            (V1, IPv4Address("TCP", "203.0.113.7", 4711)),
            (b"PROXY TCP6 2001:db8::7 ::1 4711 8888\r\n", IPv6Address("TCP", "2001:db8::7", 4711)),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
            (V2, IPv4Address("TCP", "203.0.113.7", 4711)),
            (V2_IPV6, IPv6Address("TCP", "2001:db8:0:0:0:0:0:7", 4711)),
            (LOCAL, None),
            (v2(1, 0, b""), None),
            (v2(1, 0x31, b"/a".ljust(108, b"\0") * 2), UNIXAddress(b"/a")),
            # With a field of the kind that more may be told in.
            (
                V2[:14] + struct.pack("!H", 12 + 7) + V2[16:] + b"\x04\0\4abcd",
                IPv4Address("TCP", "203.0.113.7", 4711),
            ),
        ):
            self.assertEqual(header_length(header), len(header))
            self.assertEqual(header_length(header + b"more\r\n"), len(header))
            self.assertEqual(client_of(header), client)

    def test_broken(self) -> None:
        """What is no header is known as such."""
        for data in (
            REQUEST,
            b"\x16\x03\x01",
            b"PROXY" + b" " * 200,
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 8888" + b" " * 80 + b"\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 x 8888\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 99999 8888\r\n",
            b"PROXY TCP4 evil\x1b[2J 10.0.0.1 1 8888\r\n",
            b"PROXY TCP4 \xff 10.0.0.1 1 8888\r\n",
            b"PROXY TCP4 203.0.113.7\r\n",
            b"PROXY TCP4 2001:db8::7 10.0.0.1 1 8888\r\n",
            b"PROXY TCP6 203.0.113.7 ::1 1 8888\r\n",
            b"PROXY TCP6 fe80::7%\x1b[2J ::1 1 8888\r\n",
            b"PROXY TCP4 203.0.113.7 nowhere 1 8888\r\n",
            b"PROXY \r\n",
            b"PROXY UDP4 203.0.113.7 10.0.0.1 1 8888\r\n",
            V2[:12] + b"\x11" + V2[13:],
            V2[:12] + b"\x2f" + V2[13:],
            V2[:13] + b"\xff" + V2[14:],
            v2(1, 0x11, b"\0\0"),
            V2[:14] + struct.pack("!H", V2_LONGEST) + V2[16:],
        ):
            with self.assertRaises(NoHeader):
                length = header_length(data)
                self.assertIsNotNone(length)
                client_of(data[:length])

    @given(st.one_of(st.binary(), st.binary().map(lambda b: b"PROXY " + b + b"\r\n")))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are a header, the start of one, or none; nothing else is raised."""
        self.read(data)

    @given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=300))
    def test_any_v2(self, command: int, family: int, addresses: bytes) -> None:
        """So are any that look like version 2."""
        length = struct.pack("!H", len(addresses))
        self.read(V2_START + bytes([command, family]) + length + addresses)

    def read(self, data: bytes) -> None:
        try:
            length = header_length(data)
            if length is not None and len(data) >= length:
                client_of(data[:length])
        except NoHeader:
            pass


class ConnectionTests(SynchronousTestCase):
    """Connections that start with a header."""

    def setUp(self) -> None:
        self.clock = VirtualClock()
        self.inner = Recorders()
        self.refused: list[tuple[str, str]] = []
        self.factory = ProxyFactory(
            self.inner, self.clock, lambda reason, who: self.refused.append((reason, who)), 3
        )

    def connect(self) -> MemoryTransport:
        transport = MemoryTransport()
        transport.protocol = self.factory.buildProtocol(PROXY)
        transport.protocol.makeConnection(transport)
        return transport

    @given(st.sampled_from([V1, V2, V2_IPV6, LOCAL]), st.data())
    def test_pieces(self, header: bytes, data: st.DataObject) -> None:
        """In whatever pieces header and requests come, the requests come through whole."""
        self.setUp()
        transport = self.connect()
        sent = header + REQUEST * 2
        while sent:
            size = data.draw(st.integers(1, len(sent)))
            transport.protocol.dataReceived(sent[:size])
            sent = sent[size:]
        self.assertEqual(self.inner.data, REQUEST * 2)
        (address,) = self.inner.addresses
        self.assertEqual(address == PROXY, header == LOCAL)
        self.assertEqual((self.factory.pending, self.refused), (0, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_none(self) -> None:
        """Without one the connection is cut off, and nothing has come through."""
        transport = self.connect()
        transport.protocol.dataReceived(REQUEST)
        self.assertTrue(transport.aborted)
        transport.protocol.dataReceived(V1 + REQUEST)
        transport.protocol.connectionLost()
        self.assertEqual((self.inner.addresses, self.factory.pending), ([], 0))
        self.assertEqual(self.refused, [("proxy_header", "10.0.0.1")])

    def test_late(self) -> None:
        """One that does not come in time is not waited for."""
        transport = self.connect()
        transport.protocol.dataReceived(V1[:-1])
        self.clock.advance(HEADER_S - 0.01)
        self.assertFalse(transport.aborted)
        self.clock.advance(0.01)
        self.assertTrue(transport.aborted)

    def test_end(self) -> None:
        """A connection that ends before its header is closed."""
        transport = self.connect()
        transport.protocol.readConnectionLost()
        self.assertTrue(transport.disconnecting)
        transport.protocol.connectionLost()
        self.assertEqual((self.factory.pending, self.clock.getDelayedCalls()), (0, []))

    def test_half_close(self) -> None:
        """Behind the header the connection may be closed by halves, with a request open or none."""
        self.factory.inner = MemoryServer().accepts
        for sent, replies in ((V1, 0), (V1 + REQUEST[:-1], 1)):
            transport = self.connect()
            transport.protocol.dataReceived(sent)
            self.assertFalse(transport.disconnecting)
            transport.protocol.readConnectionLost()
            self.assertEqual(transport.take().count(b"\n"), replies)
            self.assertTrue(transport.disconnecting)
            transport.protocol.connectionLost()

    def test_pending(self) -> None:
        """Only so many may be without a header at a time."""
        waiting = [self.connect() for _ in range(3)]
        self.assertIsNone(self.factory.buildProtocol(PROXY))
        waiting[0].protocol.dataReceived(V1)
        self.assertIsNotNone(self.factory.buildProtocol(PROXY))

    def test_limits(self) -> None:
        """The limits go by the true address; who is not let in is told."""
        server = MemoryServer(options=["--max-connections-per-address", "1"])
        self.factory.inner = server.accepts
        first, second = self.connect(), self.connect()
        first.protocol.dataReceived(V1 + REQUEST)
        second.protocol.dataReceived(V1)
        other = self.connect()
        other.protocol.dataReceived(V1.replace(b"113.7", b"113.8") + REQUEST)
        mapped = self.connect()
        mapped.protocol.dataReceived(b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 8888\r\n")
        for transport, code in ((first, 200), (second, 429), (other, 200), (mapped, 429)):
            self.assertEqual(json.loads(transport.take())["status"]["code"], code)
        first.protocol.connectionLost()
        third = self.connect()
        third.protocol.dataReceived(V1 + REQUEST)
        self.assertEqual(json.loads(third.take())["status"]["code"], 200)


class ServerTests(ServerTestCase):
    """A real server behind a proxy."""

    def test_headers(self) -> None:
        """With --proxy-protocol a header lets in, closed by halves too, and nothing else does."""
        server = self.start(Path(self.mktemp()), "--proxy-protocol").wait()
        for header in (V1, V2, V2_IPV6, LOCAL):
            with socket.create_connection(("127.0.0.1", server.port), 20) as client:
                client.sendall(header + REQUEST)
                client.shutdown(socket.SHUT_WR)
                reply = b"".join(iter(lambda c=client: c.recv(65536), b""))
                self.assertIn(b"Sucesso", reply)
        with socket.create_connection(("127.0.0.1", server.port), 20) as client:
            client.sendall(REQUEST)
            with self.assertRaises(ConnectionError):
                if client.recv(65536) == b"":
                    raise ConnectionError
        self.assertNotIn("Traceback", "".join(server.log))

    def test_tls(self) -> None:
        """TLS comes after the header, also to workers, and both in pieces; it half-closes too."""
        certificate, key = make_certificate(Path(self.mktemp()).absolute())
        server = self.start(
            Path(self.mktemp()),
            *("--proxy-protocol", "--workers", "2"),
            *("--storage", f"sqlite:///{Path(self.mktemp()).absolute()}"),
            *("--tls-port", "tcp:0:interface=127.0.0.1"),
            *("--tls-certificate", str(certificate), "--tls-key", str(key)),
        ).wait()
        line = next(line for line in server.log if " listens on " in line)
        port = int(line.split("TLS on ")[1].split(";")[0].rsplit(":", 1)[1])
        for header in (V1, V2):
            plain = socket.create_connection(("127.0.0.1", port), 20)
            self.addCleanup(plain.close)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
            client.set_connect_state()
            with self.assertRaises(SSL.WantReadError):
                client.do_handshake()
            for byte in header + client.bio_read(65536):
                plain.send(bytes([byte]))
            while True:
                client.bio_write(self.more(plain))
                try:
                    client.do_handshake()
                    break
                except SSL.WantReadError:
                    continue
            client.send(REQUEST)
            client.shutdown()
            plain.sendall(client.bio_read(65536))
            got = b""
            with self.assertRaises(SSL.ZeroReturnError):
                while True:
                    try:
                        got += client.recv(65536)
                    except SSL.WantReadError:
                        client.bio_write(self.more(plain))
            self.assertIn(b"Sucesso", got)

    def test_haproxy(self) -> None:
        """Through a real HAProxy, of either version, the limits and the log go by the client."""
        need("haproxy")
        server = self.start(
            Path(self.mktemp()), "--proxy-protocol", "--max-connections-per-address", "1"
        ).wait()
        with (
            socket.create_server(("127.0.0.1", 0)) as one,
            socket.create_server(("127.0.0.1", 0)) as other,
        ):
            ports = [one.getsockname()[1], other.getsockname()[1]]
        lines = ["defaults", " mode tcp", " timeout connect 5s", " timeout client 20s"]
        lines += [" timeout server 20s"]
        for port, send in zip(ports, ("send-proxy", "send-proxy-v2"), strict=True):
            lines += [f"listen drivers{port}", f" bind 127.0.0.1:{port}"]
            lines += [f" server evcharge 127.0.0.1:{server.port} {send}"]
        config = Path(self.mktemp())
        config.write_text("\n".join(lines) + "\n")
        proxy = subprocess.Popen(
            ["haproxy", "-db", "-f", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.terminate)
        for port, one, other in zip(
            ports, ("127.0.0.2", "127.0.0.4"), ("127.0.0.3", "127.0.0.5"), strict=True
        ):
            first = self.to_proxy(port, proxy, one)
            first.sendall(REQUEST)
            self.assertIn(b"Sucesso", self.some(first))
            self.assertIn(b'"code":429', self.rest(self.to_proxy(port, proxy, one)))
            self.wait_for(server, f"Refused {one}: ")
            for client in (first, self.to_proxy(port, proxy, other)):
                client.sendall(REQUEST)
                client.shutdown(socket.SHUT_WR)
                self.assertIn(b"Sucesso", self.rest(client))

    def to_proxy(self, port: int, proxy: subprocess.Popen, source: str) -> socket.socket:
        """Connect to a proxy that is just starting."""

        def connected() -> socket.socket | None:
            try:
                return socket.create_connection(("127.0.0.1", port), 20, (source, 0))
            except ConnectionRefusedError:
                return None

        client = until(connected, "the proxy listens", process=proxy)
        self.addCleanup(client.close)
        return client

    def some(self, client: socket.socket) -> bytes:
        """A whole line."""
        got = b""
        while not got.endswith(b"\n"):
            got += self.more(client)
        return got

    def more(self, client: socket.socket) -> bytes:
        """What comes next, which is not the end."""
        got = client.recv(65536)
        self.assertNotEqual(got, b"")
        return got

    def rest(self, client: socket.socket) -> bytes:
        """All that comes until the end."""
        return b"".join(iter(lambda: client.recv(65536), b""))
