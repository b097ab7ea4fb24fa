"""
The web ports: HTTP as twisted.web reads it, and who answers which path.

::

    a connection --> ConnectionLimit --> WebChannel --> WebRequest --> who answers its path
                     (TLS before it)     HTTP/1.1       Host, Origin   socket, live, mirror, pages
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, parse_qs
from twisted.web.http import Request as HTTPRequest
from zope.interface import implementer

from evcharge.controller import Controller
from evcharge.models.catalogue import Catalogue
from evcharge.net.guards.clients import CountedClient
from evcharge.net.guards.service import Guards
from evcharge.net.lines import Lines
from evcharge.net.protocol import DriverFactory
from evcharge.outcomes import LANGUAGES, NOTHING, TOO_LARGE, UNKNOWN_PATH, Outcome, Refusal
from evcharge.push.figures import Figures
from evcharge.push.hub import Hub
from evcharge.storage import Perform
from evcharge.utils.time_utils import iso_utc
from evcharge.watch.metrics import Metrics
from evcharge.web.settings import WebSettings
from evcharge.wire.envelope import Request, encode

IDLE_S = 60
"""How long a connection may be idle between two requests, seconds."""

JSON = "application/json"

SECURITY: Mapping[bytes, bytes] = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"geolocation=(self)",
}
"""What every answer has."""


@attrs.frozen(kw_only=True)
class WebContext:
    """What those work with who answer."""

    controllers: Mapping[str, Controller]
    """By the language of their texts."""
    lines: Mapping[str, Lines]
    """Likewise."""
    drivers: Mapping[str, DriverFactory]
    """Likewise: whose connections those are that speak WebSocket."""
    perform: Perform
    catalogue: Callable[[], Catalogue]
    now: Callable[[], float]
    """The present, seconds since the epoch."""
    hub: Hub
    figures: Figures
    guards: Guards
    metrics: Metrics
    web: WebSettings
    language: str
    """Of texts, for who wishes for none."""
    max_line: int
    """The longest body of a request, bytes."""
    clock: IReactorTime


Answerer: TypeAlias = "Callable[[WebRequest], object]"
"""Answers a request, now or later."""


def answerers(context: WebContext) -> Sequence[tuple[bytes, Answerer]]:
    """Who answers the paths that begin with what; the first that fits."""
    return ()


class WebRequest(HTTPRequest):
    """A request, whole and in memory."""

    channel: WebChannel
    body = b""
    """At most `max_line` bytes."""
    route = "unknown"
    """What metrics call it; whoever answers says so. A path that a client makes up is no label."""

    @property
    def client(self) -> CountedClient:
        """Whose connection it came over."""
        return self.channel.client

    @client.setter
    def client(self, address: object) -> None:
        """Twisted would have its address there: `getClientAddress`."""

    def header(self, name: bytes) -> bytes | None:
        """The value of a header; None where there is none, or more than one."""
        values = self.requestHeaders.getRawHeaders(name) or ()
        return values[0] if len(values) == 1 else None

    @property
    def language(self) -> str:
        """Which texts its sender reads: by its Accept-Language, else the server's."""
        asked = b",".join(self.requestHeaders.getRawHeaders(b"accept-language") or ())
        return accepted_language(asked.decode("latin-1"), self.channel.site.context.language)

    def reply(
        self, code: int, kind: str, body: bytes, headers: Mapping[bytes, bytes] | None = None
    ) -> None:
        """
        Answer; nothing happens where the client is gone.

        :param code: HTTP's.
        :param kind: the type of the content.
        """
        if self._disconnected or self.finished:
            return
        self.setResponseCode(code)
        for name, value in {**SECURITY, **(headers or {})}.items():
            self.responseHeaders.setRawHeaders(name, [value])
        self.responseHeaders.setRawHeaders(b"content-type", [kind.encode()])
        self.responseHeaders.setRawHeaders(b"content-length", [b"%d" % len(body)])
        self.write(b"" if self.method == b"HEAD" else body)
        self.finish()

    def refuse(self, outcome: Outcome, figures: Mapping[str, object] = NOTHING) -> None:
        """Answer with the envelope of a refusal; its code is HTTP's too."""
        context = self.channel.site.context
        controller = context.controllers[self.language]
        reply = controller.refuse(Request(), Refusal(outcome, figures))
        headers = {b"cache-control": b"no-store"}
        self.reply(outcome.code, JSON, encode(reply, iso_utc(context.now())) + b"\n", headers)

    # What twisted.web calls

    def parseCookies(self) -> None:
        """There are none."""

    def gotLength(self, length: int | None) -> None:
        """A head has come. Nothing is ever put into a file."""
        self._chunks: list[bytes] = []
        self._left = self.channel.site.context.max_line

    def handleContentChunk(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._chunks.append(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, query = path.partition(b"?")
        self.args = parse_qs(query, True)
        self.body = b"".join(self._chunks)
        if self._left < 0:
            self.refuse(TOO_LARGE)
            return
        self.channel.site.answerer(self.path)(self)


def accepted_language(header: str, otherwise: str) -> str:
    """The language that an Accept-Language wishes for most, of those that there are."""
    best, found = 0.0, otherwise
    for part in header.split(","):
        name, _, weight = part.partition(";")
        language = name.strip().lower().partition("-")[0]
        try:
            value = float(weight.partition("=")[2]) if weight.strip() else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and value > best:
            best, found = value, language
    return found


class WebChannel(HTTPChannel):
    """One connection of HTTP."""

    site: WebFactory
    requestFactory = WebRequest
    client: CountedClient

    @property
    def name(self) -> str:
        """Where it comes from, for the log."""
        return self.client.name

    def connectionMade(self) -> None:
        self.site.channels.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.client.disconnected()
        self.site.connection_lost(self)


@implementer(IProtocolNegotiationFactory)
class WebFactory(ServerFactory):
    """Makes the connections of the web ports, and ends them all."""

    noisy = False

    def __init__(self, context: WebContext) -> None:
        self.context = context
        self.channels: set[WebChannel] = set()
        self._answerers = answerers(context)
        self._when_empty: list[Deferred[None]] = []

    def acceptableProtocols(self) -> list[bytes]:
        """What is chosen of what a client of TLS could speak."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> WebChannel:
        channel: Any = WebChannel()
        channel.site = channel.factory = self
        channel.client = self.context.guards.addresses.connected(addr)
        channel.timeOut = IDLE_S
        channel.callLater = self.context.clock.callLater
        made: WebChannel = channel
        return made

    def answerer(self, path: bytes) -> Answerer:
        """Who answers a path."""
        for beginning, answer in self._answerers:
            if path.startswith(beginning):
                return answer
        return lambda request: request.refuse(UNKNOWN_PATH)

    def log(self, request: WebRequest) -> None:
        """Twisted would write a line for each request."""

    def connection_lost(self, channel: WebChannel) -> None:
        """Forget a connection."""
        self.channels.discard(channel)
        if not self.channels:
            waiting, self._when_empty = self._when_empty, []
            for done in waiting:
                done.callback(None)

    def drain(self) -> Deferred[None]:
        """Have every connection answer what it has read and end; fires when all are gone."""
        done: Deferred[None] = Deferred()
        self._when_empty.append(done)
        for channel in list(self.channels):
            channel.persistent = 0
            if not channel.requests:
                channel.loseConnection()
        if not self.channels and not done.called:
            self._when_empty.remove(done)
            done.callback(None)
        return done

    def give_up(self) -> None:
        """What is still being carried out is answered by who carries it out."""

    def abort(self) -> None:
        """End every connection now, whatever is still to be sent."""
        for channel in list(self.channels):
            transport: Any = channel.transport
            transport.abortConnection()
