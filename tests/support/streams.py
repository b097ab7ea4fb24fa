"""A web port in memory, and what Server-Sent Events are made of."""

import json
from typing import Any

from twisted.internet.address import IPv4Address

from evcharge.net.lines import Lines
from evcharge.process.server import driver_factory
from evcharge.testing import MemoryServer, MemoryTransport
from evcharge.web.request import WebContext
from evcharge.web.settings import WebSettings
from evcharge.web.site import WebFactory


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
            hub=engine.hub,
            figures=engine.figures,
            guards=server.guards,
            metrics=server.metrics,
            web=WebSettings("tcp:0", None, **settings),
            language=server.settings.language,
            max_line=server.settings.max_line,
            time_scale=server.settings.terms.time_scale,
            clock=server.clock,
        )
    )
    # They look at what they have been told of when they start.
    server.guards.stopService()
    server.guards.startService()
    return web


class Stream:
    """A connection to a web port in memory that asks for a stream."""

    def __init__(
        self,
        to: MemoryServer,
        web: WebFactory,
        path: str,
        host: str = "127.0.0.1",
        method: str = "GET",
        head: str = "",
    ) -> None:
        self.server = to
        self.transport = MemoryTransport()
        protocol: Any = web.buildProtocol(IPv4Address("TCP", host, 0))
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n"
        protocol.dataReceived(request.encode())
        said, _, self._left = self.transport.take().partition(b"\r\n\r\n")
        first, *others = said.decode().split("\r\n")
        self.code = int(first.split()[1])
        self.headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in others)
        }

    @property
    def protocol(self) -> Any:
        """Whatever has the connection now."""
        return self.transport.protocol

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
