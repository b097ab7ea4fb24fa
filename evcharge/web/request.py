"""A request of HTTP, as those see it who answer at the web ports, and what they answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request as HTTPRequest
from twisted.web.http import parse_qs

from evcharge.controller import Controller
from evcharge.models.catalogue import Catalogue
from evcharge.net.guards.clients import CountedClient
from evcharge.net.guards.service import Guards
from evcharge.net.lines import Lines
from evcharge.net.protocol import DriverFactory
from evcharge.outcomes import LANGUAGES, NOTHING, TOO_LARGE, Outcome, Refusal, Reply
from evcharge.push.figures import Figures
from evcharge.push.hub import Hub
from evcharge.storage import Perform
from evcharge.utils.time_utils import iso_utc
from evcharge.watch.metrics import Metrics
from evcharge.web.settings import WebSettings
from evcharge.wire.envelope import Request, encode

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
    time_scale: float
    """Simulated minutes a minute, for charges."""
    clock: IReactorTime


class WebRequest(HTTPRequest):
    """A request, whole and in memory."""

    channel: Any
    body = b""
    """At most `max_line` bytes."""
    route = "unknown"
    """What metrics call it; whoever answers says so. A path that a client makes up is no label."""

    pending: Deferred[Any] | None = None
    """What is being carried out for it; cancelled, it is answered with `unavailable`."""

    @property
    def client(self) -> CountedClient:
        """Whose connection it came over."""
        client: CountedClient = self.channel.client
        return client

    @client.setter
    def client(self, address: object) -> None:
        """Twisted would have its address there: `getClientAddress`."""

    def header(self, name: bytes) -> bytes | None:
        """The value of a header; None where there is none, or more than one."""
        values = self.requestHeaders.getRawHeaders(name) or ()
        return values[0] if len(values) == 1 else None

    @property
    def language(self) -> str:
        """Which texts its sender reads: by `?lang=`, its Accept-Language, else the server's."""
        named: str = self.args.get(b"lang", [b""])[-1].decode("latin-1")
        if named in LANGUAGES:
            return named
        asked = b",".join(self.requestHeaders.getRawHeaders(b"accept-language") or ())
        context: WebContext = self.channel.site.context
        return accepted_language(asked.decode("latin-1"), context.language)

    def prepare(self, code: int, kind: str, headers: Mapping[bytes, bytes] | None = None) -> None:
        """
        Say how it is answered: all of the head, but the length of the body.

        :param code: HTTP's.
        :param kind: the type of the content.
        """
        self.setResponseCode(code)
        for name, value in {**SECURITY, **(headers or {})}.items():
            self.responseHeaders.setRawHeaders(name, [value])
        self.responseHeaders.setRawHeaders(b"content-type", [kind.encode()])

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
        self.prepare(code, kind, headers)
        self.responseHeaders.setRawHeaders(b"content-length", [b"%d" % len(body)])
        self.write(b"" if self.method == b"HEAD" else body)
        self.finish()

    def answer(self, reply: Reply, headers: Mapping[bytes, bytes] | None = None) -> None:
        """Answer with a reply in its envelope; its code is HTTP's too."""
        code = reply.outcome.code
        more = {b"cache-control": b"no-store"}
        if code in (429, 503):
            more[b"retry-after"] = b"1"
        if self.channel is not None:
            now = self.channel.site.context.now()
            self.reply(code, JSON, encode(reply, iso_utc(now)) + b"\n", {**more, **(headers or {})})

    def refuse(
        self,
        outcome: Outcome,
        figures: Mapping[str, object] = NOTHING,
        headers: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Answer with the envelope of a refusal."""
        controller = self.channel.site.context.controllers[self.language]
        self.answer(controller.refuse(Request(), Refusal(outcome, figures)), headers)

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


Answerer: TypeAlias = Callable[[WebRequest], object]
"""Answers a request, now or later."""
