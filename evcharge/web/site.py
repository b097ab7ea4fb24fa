"""
The web ports: HTTP as twisted.web reads it, and who answers which path.

::

    a connection --> ConnectionLimit --> WebChannel --> WebRequest --> who answers its path
                     (TLS before it)     HTTP/1.1       Host, Origin   socket, live, mirror, pages
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from zope.interface import implementer

from evcharge.net.connections import Connections
from evcharge.net.guards import PLAIN_TEXT
from evcharge.net.proxy import V1_START, V2_START
from evcharge.outcomes import NOT_ENCRYPTED, UNKNOWN_PATH, Outcome, Refusal
from evcharge.utils.time_utils import iso_utc
from evcharge.web import live, socket
from evcharge.web.answers import JSON, Heads
from evcharge.web.channel import WebChannel
from evcharge.web.live import Live
from evcharge.web.mirror import Mirror
from evcharge.web.origins import Origins
from evcharge.web.pages import Pages
from evcharge.web.request import UNKNOWN, Answerer, WebContext, WebRequest, no_store
from evcharge.web.socket import Socket
from evcharge.wire.envelope import Request, encode


def whole_paths(context: WebContext) -> Mapping[bytes, Answerer]:
    """Who answers one path alone, whose connection leaves HTTP."""
    return {socket.PATH.encode(): Socket(context), live.PATH.encode(): Live(context)}


def beginnings(context: WebContext) -> Sequence[tuple[bytes, Answerer]]:
    """Who answers the other paths, by what they begin with; the first that fits."""
    return [(b"/api/", Mirror(context)), (b"/", Pages(context))]


@implementer(IProtocolNegotiationFactory)
class WebFactory(Connections):
    """Makes the connections of the web ports: channels of HTTP, and streams that come of them."""

    noisy = False

    def __init__(self, context: WebContext, storage_s: float) -> None:
        super().__init__(context.clock)
        self.context = context
        self.origins = Origins(context.web.hosts, context.web.origins)
        self.heads = Heads(context.web.map_tiles, context.now, self.origins.are_many)
        self.received_bytes = self.sent_bytes = 0
        self.is_draining = False
        self._whole_paths = whole_paths(context)
        self._beginnings = beginnings(context)
        context.guards.watch(self.connections, storage_s, http=True)

    def acceptableProtocols(self) -> list[bytes]:
        """What is chosen of what a client of TLS could speak."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> WebChannel:
        return WebChannel(self, self.context.guards.addresses.connected(addr))

    def refusal(self, outcome: Outcome, is_secure: bool = False) -> bytes:
        """All that one is sent who is not let in, or whose request is none."""
        context, code = self.context, outcome.code
        reply = context.controllers[context.language].refuse(Request(), Refusal(outcome))
        body = encode(reply, iso_utc(context.now())) + b"\n"
        context.metrics.web_requests[UNKNOWN, code] += 1
        return self.heads(code, JSON, len(body), no_store(code), is_secure) + body

    def unencrypted(self, text: bytes, who: str, host: object) -> bytes:
        """All that one is sent who sends plain text, or a plain request, where TLS is spoken."""
        if text.startswith((V1_START, V2_START)):
            # A proxy hands on to its client whatever is said.
            what, last = "a PROXY header (--proxy-protocol)", b""
        else:
            what, last = "HTTP", self.refusal(NOT_ENCRYPTED)
        self.context.guards.on_refused(PLAIN_TEXT, who, what)
        return last

    def answerer(self, path: bytes) -> Answerer:
        """Who answers a path."""
        if path in self._whole_paths:
            return self._whole_paths[path]
        for beginning, answer in self._beginnings:
            if path.startswith(beginning):
                return answer
        return lambda request: request.refuse(UNKNOWN_PATH)

    def log(self, request: WebRequest) -> None:
        """Twisted would write a line for each request."""

    def drain(self) -> Deferred[None]:
        self.is_draining = True
        return super().drain()
