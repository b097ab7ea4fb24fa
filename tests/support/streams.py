"""Those who listen to a server in memory: by lines, and by Server-Sent Events at its web port."""

import base64
import json
from typing import Any

from twisted.internet.address import IPv4Address

from evcharge.net.lines import Lines
from evcharge.net.protocol import DriverProtocol
from evcharge.process.server import driver_factory
from evcharge.testing import MemoryServer, MemoryTransport
from evcharge.web.request import WebContext
from evcharge.web.settings import WebSettings
from evcharge.web.site import WebFactory
from tests.support.servers import request_line


def web_of(server: MemoryServer, **settings: Any) -> WebFactory:
    """The web port of a server in memory."""
    engine = server.engine
    lines = {
        language: Lines(controller, server.clock.seconds)
        for language, controller in engine.controllers.items()
    }
    drivers = {
        language: driver_factory(
            server.settings, server.storage.patience_s, each, None, server.guards, server.clock
        )
        for language, each in lines.items()
    }
    web = WebFactory(
        WebContext(
            controllers=engine.controllers,
            lines=lines,
            drivers=drivers,
            perform=engine.perform,
            catalogue=server.storage.catalogue,
            now=server.clock.seconds,
            figures=engine.figures,
            guards=server.guards,
            metrics=server.metrics,
            web=WebSettings("tcp:0", None, **settings),
            language=server.settings.language,
            max_line=server.settings.max_line,
            time_scale=server.settings.terms.time_scale,
            time_zone=server.settings.terms.time_zone,
            clock=server.clock,
        ),
        server.storage.patience_s,
    )
    # They look at what they have been told of when they start.
    server.guards.stopService()
    server.guards.startService()
    return web


LIVE = {"available_slots", "max_slots", "out_of_service", "queue_length", "state"}


class Subscriber:
    """A connection that listens."""

    protocol: DriverProtocol
    transport: MemoryTransport

    def __init__(self, to: MemoryServer, **data: Any) -> None:
        self.server = to
        self.protocol, self.transport = to.connect()
        if data:
            self.reply = self.request("SUBSCRIBE", **data)

    def send(self, sent: bytes) -> list[dict[str, Any]]:
        self.protocol.dataReceived(sent)
        return self.take()

    def request(self, kind: str, **data: Any) -> dict[str, Any]:
        (reply,) = self.send(request_line(kind, **data))
        return reply

    def take(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.transport.take().splitlines()]

    def hear(self, seconds: float = 0.1) -> list[dict[str, Any]]:
        """The `data` of the events that come while time passes."""
        self.server.advance(seconds)
        lines = self.take()
        assert all(line["type"] == "EVENT" for line in lines), lines
        return [line["data"] for line in lines]


class Browser:
    """A connection to a web port in memory."""

    def __init__(self, to: MemoryServer, web: WebFactory, host: str = "127.0.0.1") -> None:
        self.server = to
        self.transport = MemoryTransport()
        protocol: Any = web.buildProtocol(IPv4Address("TCP", host, 0))
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    def ask(self, method: str, path: str, head: str = "") -> bytes:
        """Send a request; what comes behind the head of the answer."""
        request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n"
        self.protocol.dataReceived(request.encode())
        said, _, body = self.transport.take().partition(b"\r\n\r\n")
        first, *others = said.decode().split("\r\n")
        self.code = int(first.split()[1])
        self.headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in others)
        }
        return body

    @property
    def protocol(self) -> Any:
        """Whatever has the connection now."""
        return self.transport.protocol


class Stream(Browser):
    """One that asks for Server-Sent Events."""

    def __init__(
        self,
        to: MemoryServer,
        web: WebFactory,
        path: str = "/api/v1/live?topics=stations",
        host: str = "127.0.0.1",
        method: str = "GET",
        head: str = "",
    ) -> None:
        super().__init__(to, web, host)
        self._left = self.ask(method, path, head)

    @property
    def raw(self) -> bytes:
        """The body of an answer that is no stream."""
        return self._left

    @property
    def body(self) -> dict[str, Any]:
        """That of a refusal."""
        body: dict[str, Any] = json.loads(self._left)
        return body

    def take(self) -> list[tuple[str, Any]]:
        """The name and the data of what has come since the last time; comments are "" and None."""
        self._left += self.transport.take()
        *records, self._left = self._left.split(b"\n\n")
        return [event(record.decode()) for record in records]

    def hear(self, seconds: float = 0.1) -> list[Any]:
        """The data of the changes that come while time passes."""
        self.server.advance(seconds)
        return [data for name, data in self.take() if name == "change"]


def event(record: str) -> tuple[str, Any]:
    """The name and the data of a record, as EventSource would read it."""
    fields = dict(line.split(":", 1) for line in record.split("\n"))
    data = fields.get("data")
    return fields.get("event", "").strip(), None if data is None else json.loads(data)


class Socket(Browser):
    """One that speaks WebSocket."""

    def __init__(self, to: MemoryServer, web: WebFactory) -> None:
        super().__init__(to, web)
        head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key = base64.b64encode(bytes(16)).decode()
        self._left = self.ask("GET", "/api/v1/socket", f"{head}Sec-WebSocket-Key: {key}\r\n")
        assert self.code == 101, self.code

    def send(self, message: bytes) -> None:
        """A message in one frame, whose mask changes nothing."""
        length = len(message)
        assert 126 <= length < 65536, length
        frame = b"\x81\xfe" + length.to_bytes(2, "big") + bytes(4) + message
        self.protocol.dataReceived(frame)

    def pong(self) -> None:
        """Say that it is there."""
        self.protocol.dataReceived(b"\x8a\x80" + bytes(4))

    def take(self) -> list[dict[str, Any]]:
        """The messages that have come since the last time."""
        self._left += self.transport.take()
        messages = []
        while self._left:
            kind, length = self._left[:2]
            at = 2
            if length >= 126:
                at = 4 if length == 126 else 10
                length = int.from_bytes(self._left[2:at], "big")
            message, self._left = self._left[at : at + length], self._left[at + length :]
            assert (kind in (0x81, 0x89), len(message)) == (True, length)
            if kind == 0x81:
                messages.append(json.loads(message))
        return messages
