"""Servers in memory that are spoken to by WebSocket, and by TLS."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address

from evcharge.net.tls.certificate import CertificateService
from evcharge.net.tls.connection import TLSFactory
from evcharge.testing import MemoryServer, MemoryTransport
from evcharge.web.site import WebFactory
from tests.support.certificates import make_certificate
from tests.support.frames import CLOSE, PONG, TEXT, UPGRADE, frame, take_frame
from tests.support.streams import web_of

JOURNEY = """
async (address) => {
    const socket = new WebSocket(address);
    const waiting = [], events = [];
    socket.onmessage = ({data}) => {
        const reply = JSON.parse(data);
        reply.type === "EVENT" ? events.push(reply) : waiting.shift()(reply);
    };
    const closed = new Promise((done) => { socket.onclose = done; });
    await new Promise((done) => { socket.onopen = done; });
    const ask = (type, data) => new Promise((done) => {
        waiting.push(done);
        socket.send(JSON.stringify({type, data, status: {}, timestamp: ""}, null, 2));
    });
    const many = await Promise.all(Array.from({length: 200}, (_, i) => ask("FLY" + i, {})));
    const user_name = "Conceição 🚗".repeat(8);
    const car = {user_name, selected_car: "Tesla Model 3", battery_car: 40};
    const user_id = (await ask("LOGIN", car)).data.user_id;
    await ask("SUBSCRIBE", {topics: ["user"], user_id});
    const paid = await ask("PAYMENT", {user_id, id_station: 1, confirmation: true});
    while (!events.length) await new Promise((done) => setTimeout(done, 10));
    socket.send("x".repeat(70000));
    const {code, wasClean} = await closed;
    return {
        many: many.map(({type}) => type),
        paid: paid.data.confirmation,
        told: events[0].data.user !== undefined,
        code,
        wasClean,
    };
}
"""
"""Requests in order, an event, and a message that is too long, as a script in a browser does it."""

COMES_TO = {
    "many": [f"FLY{number}" for number in range(200)],
    "paid": True,
    "told": True,
    "code": 1009,
    "wasClean": True,
}
"""What it gives."""


class Socket:
    """
    A client of WebSocket in memory, which seems to be one of lines: each is a message.

    It is a connection and its transport at once, as :meth:`evcharge.testing.MemoryServer.connect`
    gives them.
    """

    def __init__(self, web: WebFactory, host: str = "127.0.0.1", upgrade: bytes = UPGRADE) -> None:
        self.transport = MemoryTransport()
        protocol: Any = web.buildProtocol(IPv4Address("TCP", host, 0))
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        self.transport.protocol.dataReceived(upgrade)
        self.head, _, self._sent = self.transport.take().partition(b"\r\n\r\n")
        self._line = b""
        self.closed: int | None = None
        """The code of the server's Close."""
        self.pings = 0

    @property
    def protocol(self) -> Any:
        """Whatever has the connection now."""
        return self.transport.protocol

    def dataReceived(self, lines: bytes) -> None:
        """Send each whole line as a message."""
        *whole, self._line = (self._line + lines).split(b"\n")
        for line in whole:
            self.send(frame(TEXT, line))

    def send(self, frames: bytes) -> None:
        """Send frames."""
        self.protocol.dataReceived(frames)

    def take_frames(self) -> list[tuple[int, bytes]]:
        """What the server has sent since the last time."""
        self._sent += self.transport.take()
        found = []
        while (taken := take_frame(self._sent)) is not None:
            one, self._sent = taken
            found.append(one)
        return found

    def take(self) -> bytes:
        """Each message that the server has sent since the last time, as a line."""
        lines = b""
        for opcode, data in self.take_frames():
            if opcode == TEXT:
                assert b"\n" not in data
                lines += data + b"\n"
            elif opcode == CLOSE:
                self.closed = int.from_bytes(data[:2], "big")
            else:
                # As any client does.
                self.pings += 1
                self.send(frame(PONG, data))
        return lines


class SocketServer(MemoryServer):
    """A server in memory that is spoken to by WebSocket."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.web = web_of(self)

    def connect(self, host: str = "127.0.0.1") -> tuple[Any, Any]:
        """A new connection, and its transport."""
        socket = Socket(self.web, host)
        assert socket.head.startswith(b"HTTP/1.1 101 "), socket.head
        return socket, socket


class Wire(MemoryTransport):
    """A transport that can be told what a socket can."""

    def setTcpNoDelay(self, wanted: bool) -> None:
        """As a socket."""

    def setTcpKeepAlive(self, wanted: bool) -> None:
        """As a socket."""


class Encrypted:
    """A client of TLS in memory, which seems to be one of lines."""

    def __init__(self, server: TLSServer, host: str) -> None:
        self.transport = Wire()
        self._clock = server.clock
        protocol: Any = server.encrypts.buildProtocol(IPv4Address("TCP", host, 0))
        self.protocol = self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        self._tls = SSL.Connection(server.client_context, None)
        self._tls.set_connect_state()
        while not self._shaken():
            self._exchange()

    def _shaken(self) -> bool:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def _exchange(self) -> None:
        """Have everything come where it is to."""
        while True:
            try:
                self.protocol.dataReceived(self._tls.bio_read(1 << 20))
            except SSL.WantReadError:
                break
        self._clock.advance(0)
        if said := self.transport.take():
            self._tls.bio_write(said)

    def dataReceived(self, data: bytes) -> None:
        """Send bytes, encrypted."""
        for at in range(0, len(data), 16384):
            self._tls.send(data[at : at + 16384])
        self._exchange()

    def take(self) -> bytes:
        """What the server has sent since the last time."""
        self._exchange()
        got = b""
        while True:
            try:
                got += self._tls.recv(1 << 16)
            except SSL.WantReadError:
                return got


class TLSServer(MemoryServer):
    """A server in memory that is spoken to by TLS."""

    made: tuple[Path, Path] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if TLSServer.made is None:
            TLSServer.made = make_certificate(Path(mkdtemp(dir=".")).absolute())
        certificate, key = TLSServer.made
        service = CertificateService(str(certificate), str(key), self.clock, self.clock.seconds)
        service.startService()
        self.encrypts = TLSFactory(
            service, self.accepts, self.clock, lambda *_: None, lambda *_: b""
        )
        self.client_context = SSL.Context(SSL.TLS_CLIENT_METHOD)

    def connect(self, host: str = "127.0.0.1") -> tuple[Any, Any]:
        """A new connection, and its transport."""
        encrypted = Encrypted(self, host)
        return encrypted, encrypted
