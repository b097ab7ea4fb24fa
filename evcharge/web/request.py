"""A request of HTTP, as those see it who answer at the web ports, and what they answer with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.http import parse_qs

from evcharge.controller import Controller
from evcharge.models.catalogue import Catalogue
from evcharge.net.guards import HOST, ORIGIN
from evcharge.net.guards.clients import CountedClient
from evcharge.net.guards.rates import Taken
from evcharge.net.guards.service import Guards
from evcharge.net.lines import Lines
from evcharge.net.protocol import DriverFactory
from evcharge.outcomes import (
    FORBIDDEN_ORIGIN,
    INTERNAL,
    LANGUAGES,
    METHOD_NOT_ALLOWED,
    NOTHING,
    RATE_LIMITED,
    TOO_LARGE,
    UNAVAILABLE,
    UNCLEAR_HOST,
    UNKNOWN_HOST,
    Outcome,
    Refusal,
    Reply,
)
from evcharge.push.figures import Figures
from evcharge.storage import Perform
from evcharge.utils.time_utils import iso_utc
from evcharge.watch.metrics import Metrics
from evcharge.web.answers import JSON, NO_BODY
from evcharge.web.origins import shown
from evcharge.web.settings import WebSettings
from evcharge.wire.envelope import Request, encode

UNKNOWN = "unknown"
"""What metrics call a path that a client makes up: it is no label."""

NO_HEADERS: Mapping[bytes, bytes] = {}

NO_STORE = {b"cache-control": b"no-store"}

ALLOW_ORIGIN, EXPOSE_HEADERS = b"access-control-allow-origin", b"access-control-expose-headers"
EXPOSED = b"Allow, ETag, Retry-After"
"""What a page elsewhere may read of the head of an answer, beside what all may."""

PREFLIGHT: Mapping[bytes, bytes] = {
    b"access-control-allow-methods": b"GET, HEAD, POST",
    b"access-control-allow-headers": b"Accept-Language, Content-Type, If-None-Match",
    b"access-control-max-age": b"600",
}
"""What a browser learns that asks before it has a page elsewhere post something."""


_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE)


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
    time_zone: str
    """Whose local time the page shows of a simulation."""
    clock: IReactorTime


class WebRequest(HTTPRequest):
    """A request, whole and in memory."""

    channel: Any = None
    """None: the client is gone, or is answered."""
    body = b""
    """At most `max_line` bytes."""
    route = UNKNOWN
    """What metrics call it; whoever answers says so."""
    pending: Deferred[Any] | None = None
    """What the answer waits for, if whoever answers says so."""
    _readable = NO_HEADERS
    """By which headers the page may read the answer that asks, if that is one from elsewhere."""

    def __init__(self, channel: Any, *more: Any) -> None:
        super().__init__(channel, *more)
        self.client: CountedClient = channel.client
        """Whose connection it came over."""
        self.site = channel.site
        self.context: WebContext = channel.site.context

    @property
    def language(self) -> str:
        """Which texts its sender reads: by `?lang=`, its Accept-Language, else the server's."""
        named: str = self.args.get(b"lang", [b""])[-1].decode("latin-1")
        if named in LANGUAGES:
            return named
        asked = self.requestHeaders.getRawHeaders(b"accept-language")
        if asked is None:
            return self.context.language
        return accepted_language(b",".join(asked).decode("latin-1"), self.context.language)

    def head(
        self,
        code: int,
        kind: str,
        length: int | None,
        headers: Mapping[bytes, bytes] = NO_HEADERS,
    ) -> bytes:
        """
        The head of its answer, which is counted herewith.

        :param code: HTTP's.
        :param kind: the type of the content.
        :param length: that of the content, bytes; None: it ends when the connection does.
        """
        self.count(code)
        channel = self.channel
        if self._readable:
            headers = {**headers, **self._readable}
        if length is None:
            channel.persistent = 0
        head: bytes = self.site.heads(
            code, kind, length, headers, channel.is_secure, not channel.persistent
        )
        return head

    def count(self, code: int) -> None:
        """It is answered so."""
        self.code = code
        self.context.metrics.web_requests[self.route, code] += 1

    def reply(
        self, code: int, kind: str, body: bytes, headers: Mapping[bytes, bytes] | None = None
    ) -> None:
        """
        Answer; nothing happens where the client is gone.

        :param code: HTTP's.
        :param kind: the type of the content.
        """
        if self.channel is None or self.finished:
            return
        head = self.head(code, kind, len(body), headers or NO_HEADERS)
        self.startedWriting = 1
        self.channel.send(self, head, b"" if self.method == b"HEAD" or code in NO_BODY else body)

    def begin_stream(self, kind: str, headers: Mapping[bytes, bytes]) -> bool:
        """
        Begin an answer that has no end but that of the connection.

        :return: whether something is to follow: to HEAD nothing is.
        """
        self.startedWriting = 1
        head = self.head(200, kind, None, headers)
        if self.method == b"HEAD":
            self.channel.send(self, head, b"")
            return False
        self.channel.transport.write(head)
        return True

    def answer(self, reply: Reply, headers: Mapping[bytes, bytes] | None = None) -> None:
        """Answer with a reply in its envelope; its code is HTTP's too."""
        code = reply.outcome.code
        body = encode(reply, iso_utc(self.context.now())) + b"\n"
        self.reply(code, JSON, body, {**no_store(code), **(headers or NO_HEADERS)})

    def refuse(
        self,
        outcome: Outcome,
        figures: Mapping[str, object] = NOTHING,
        headers: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Answer with the envelope of a refusal."""
        controller = self.context.controllers[self.language]
        self.answer(controller.refuse(Request(), Refusal(outcome, figures)), headers)

    def allows(self, *methods: str) -> bool:
        """Whether its method is one of those that there are; else it is refused."""
        allowed = ", ".join(methods)
        if self.method.decode("latin-1") in methods:
            return True
        self.refuse(METHOD_NOT_ALLOWED, {"methods": allowed}, {b"allow": allowed.encode()})
        return False

    def fail(self, failure: Failure) -> None:
        """Answer that the server has made a mistake, which the log has."""
        line = self.context.lines[self.language].last_resort(failure)
        if self.startedWriting and self.channel is not None:
            self.channel.transport.abortConnection()
        self.reply(INTERNAL.code, JSON, line + b"\n", NO_STORE)

    def give_up(self) -> None:
        """Have what it waits for answered now, with its failure."""
        if self.pending is not None:
            self.pending.cancel()
        if self.channel is not None and not self.startedWriting:
            self.refuse(UNAVAILABLE)

    # What twisted.web calls

    def parseCookies(self) -> None:
        """There are none."""

    def gotLength(self, length: int | None) -> None:
        """A head has come. Nothing is ever put into a file."""
        channel = self.channel
        self.method, self.uri, self.clientproto = channel._command, channel._path, channel._version
        self._left = self.context.max_line
        self._content = bytearray()
        self._refusal = self._judged()
        if length == 0:
            # There is nothing to be told to send.
            self.requestHeaders.removeHeader(b"expect")
        elif self._refusal is not None:
            self._cut(self._refusal)
        elif length is not None and length > self._left:
            self._cut(TOO_LARGE)

    def handleContentChunk(self, data: bytes) -> None:
        if self.channel is not None:
            self._left -= len(data)
            if self._left >= 0:
                self._content += data
            else:
                self._cut(TOO_LARGE)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of it has come."""
        try:
            self.body = bytes(self._content)
            if self._refusal is not None:
                self.refuse(self._refusal)
            elif not self._is_too_many() and not self._is_preflight():
                answered = self.site.answerer(self.path)(self)
                if isinstance(answered, Deferred):
                    answered.addErrback(self.fail)
        except Exception:
            self.fail(Failure())

    def _cut(self, outcome: Outcome) -> None:
        """Refuse it, and do not read the rest; its sender is not told to send it, either."""
        self.requestHeaders.removeHeader(b"expect")
        self._content = bytearray()
        self.channel.persistent = 0
        self.refuse(outcome)

    def _judged(self) -> Outcome | None:
        """Why it is refused, whatever is asked for; None: it is not."""
        headers, origins = self.requestHeaders, self.site.origins
        hosts = headers.getRawHeaders(b"host") or ()
        target, host = self.uri, hosts[0] if len(hosts) == 1 else None
        if (absolute := _ABSOLUTE.fullmatch(target)) is not None:
            # As to a proxy: it says whom it asks, whatever Host says.
            host, target = host and absolute[1], b"/" + absolute[2].removeprefix(b"/")
        self.path, _, query = target.partition(b"?")
        self.args = parse_qs(query, True) if query else {}
        if host is None:
            return UNCLEAR_HOST
        if not origins.is_here(host):
            self._log_refused(HOST, host)
            return UNKNOWN_HOST
        named = headers.getRawHeaders(b"origin") or ()
        if not origins.may_ask(named, host):
            self._log_refused(ORIGIN, b", ".join(named))
            return FORBIDDEN_ORIGIN
        if named and origins.is_elsewhere(named[0]):
            self._readable = {ALLOW_ORIGIN: named[0], EXPOSE_HEADERS: EXPOSED}
        return None

    def _log_refused(self, reason: str, sent: bytes) -> None:
        self.context.guards.on_refused(reason, self.client.name, shown(sent))

    def _is_too_many(self) -> bool:
        """Whether it is refused, as there are too many of its sender's."""
        rates = self.context.guards.rates
        if rates is None or (taken := rates.take(self.client)) is Taken.ONE:
            return False
        if taken is Taken.OVERDRAWN:
            self.channel.persistent = 0
        self.refuse(RATE_LIMITED)
        return True

    def _is_preflight(self) -> bool:
        """Whether a browser only asks what a page elsewhere may do; it is told."""
        wished = self.requestHeaders.getRawHeaders(b"access-control-request-method")
        if self.method != b"OPTIONS" or not self._readable or wished is None:
            return False
        self.route = "preflight"
        self.reply(204, JSON, b"", PREFLIGHT)
        return True


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


def no_store(code: int) -> Mapping[bytes, bytes]:
    """The headers of an answer that nobody is to keep: of one that may be had soon, when."""
    return {**NO_STORE, b"retry-after": b"1"} if code in (429, 503) else NO_STORE


Answerer: TypeAlias = Callable[[WebRequest], object]
"""Answers a request, now or later."""
