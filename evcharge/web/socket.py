"""WebSocket: from a request for it to a driver's protocol, which speaks over messages then."""

from __future__ import annotations

from websockets.http11 import Request
from websockets.server import ServerProtocol

from evcharge.net.protocol import DriverProtocol
from evcharge.net.states import Standing
from evcharge.net.websocket import FAULT, GOING_AWAY, SILENT, KeepAlive, WebSocket, frame
from evcharge.outcomes import INVALID_HANDSHAKE, UPGRADE_REQUIRED
from evcharge.web.request import WebContext, WebRequest

PATH = "/api/v1/socket"

HANDSHAKE = (
    b"connection",
    b"upgrade",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"sec-websocket-protocol",
    b"sec-websocket-extensions",
)
"""The headers that a handshake goes by."""

VERSION = {b"sec-websocket-version": b"13"}
UPGRADE = {**VERSION, b"upgrade": b"websocket", b"connection": b"upgrade"}
"""What one is told whose handshake is none that is understood, or none at all."""

OF_CLIENTS = 3000
"""The first of the codes that clients may make up: no labels, they are counted as this one."""


class SharedFrame:
    """An event as a frame, made once for all who are told it in turn, and with the same end."""

    _event = _tail = _frame = b""

    def __call__(self, event: bytes, tail: bytes) -> bytes:
        """The frame of a line that `tail` ends."""
        if event is not self._event or tail != self._tail:
            self._event, self._tail = event, tail
            self._frame = frame(event + tail[:-1])
        return self._frame


class SocketProtocol(DriverProtocol):
    """A driver's protocol over messages."""

    transport: WebSocket
    framed: SharedFrame

    def hear(self, event: bytes) -> None:
        self._heard += 1
        self._send()
        self.factory.sent_bytes += len(event) + len(self._tail)
        self.transport.write_frame(self.framed(event, self._tail))

    @property
    def standing(self) -> Standing:
        """Whom it waits for now."""
        standing = super().standing
        if standing in (Standing.IDLE, Standing.LISTENING) and self.transport.is_in_a_message:
            return Standing.IN_A_LINE
        return standing

    @property
    def progress(self) -> int:
        """How much was done for the client; and how often it has shown that it is there."""
        transport = self.transport
        # In a message nothing else is progress: it is to end.
        return super().progress + (0 if transport.is_in_a_message else transport.pongs)

    def probe(self) -> None:
        if self._client_ended:
            self.transport.ping()

    def drain(self) -> None:
        self.transport.close_code = GOING_AWAY
        super().drain()

    def abandon(self) -> None:
        self.transport.close_code = FAULT
        super().abandon()


class Socket:
    """Answers requests for WebSocket."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._alive = KeepAlive(context.clock)
        self._framed = SharedFrame()

    def __call__(self, request: WebRequest) -> None:
        """Make a connection of HTTP one of WebSocket, or say why not."""
        request.route = PATH
        if not request.allows("GET"):
            return
        handshake = ServerProtocol(logger=SILENT)
        # It waits for the request's bytes, and would take none of what follows without.
        handshake.receive_data(_head(request))
        asked = handshake.events_received()
        if not asked or not isinstance(asked[0], Request):
            request.refuse(INVALID_HANDSHAKE, headers=VERSION)
            return
        response = handshake.accept(asked[0])
        if response.status_code != 101:
            is_none = response.status_code == 426
            outcome = UPGRADE_REQUIRED if is_none else INVALID_HANDSHAKE
            request.refuse(outcome, headers=UPGRADE if is_none else VERSION)
            return
        handshake.send_response(response)
        request.count(response.status_code)
        context = self._context
        inner = SocketProtocol(context.drivers[request.language], request.client)
        inner.framed = self._framed
        connection = WebSocket(inner, context.max_line, context.clock, self._closed)
        self._alive.add(connection)
        transport = request.channel.hand_over(connection)
        transport.write(b"".join(handshake.data_to_send()))
        connection.makeConnection(transport)

    def _closed(self, connection: WebSocket, code: int) -> None:
        self._alive.remove(connection)
        self._context.metrics.websockets_closed[min(code, OF_CLIENTS)] += 1


def _head(request: WebRequest) -> bytes:
    """What a handshake goes by of a request, as it came."""
    lines = [b"GET / HTTP/1.1" if request.clientproto == b"HTTP/1.1" else b"GET / HTTP/1.0"]
    for name in HANDSHAKE:
        for value in request.requestHeaders.getRawHeaders(name) or ():
            lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])
