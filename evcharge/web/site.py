"""
The web ports: HTTP as twisted.web reads it, and who answers which path.

::

    a connection --> ConnectionLimit --> WebChannel --> WebRequest --> who answers its path
                     (TLS before it)     HTTP/1.1       Host, Origin   socket, live, mirror, pages
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

from evcharge.net.guards.clients import CountedClient
from evcharge.outcomes import UNKNOWN_PATH
from evcharge.web.live import Live
from evcharge.web.mirror import Mirror
from evcharge.web.pages import Pages
from evcharge.web.request import Answerer, WebContext, WebRequest
from evcharge.web.socket import Socket

IDLE_S = 60
"""How long a connection may be idle between two requests, seconds."""


def answerers(context: WebContext) -> Sequence[tuple[bytes, Answerer]]:
    """Who answers the paths that begin with what; the first that fits."""
    return [
        (b"/api/v1/socket", Socket(context)),
        (b"/api/v1/live", Live(context)),
        (b"/api/", Mirror(context)),
        (b"/", Pages(context)),
    ]


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

    def hand_over(self, protocol: Any) -> Any:
        """
        Have `protocol` take the connection over from here on, and nothing be left of HTTP.

        :param protocol: is to be given the transport; it tells the client's `disconnected`, and
            whoever drains the server looks after it elsewhere.
        :return: the transport.
        """
        transport: Any = self.transport
        self.setTimeout(None)
        transport.unregisterProducer()
        self.site.connection_lost(self)
        # Each keeps the other, and only a collection would find them.
        self.requests.clear()
        # What has come behind the request is for it too.
        self.rawDataReceived = protocol.dataReceived  # type: ignore[method-assign]
        if hasattr(transport, "wrappedProtocol"):
            # What encrypts.
            transport.wrappedProtocol = protocol
        else:
            transport.protocol = protocol
        # Where much came behind the request, the channel has stopped reading.
        transport.resumeProducing()
        return transport

    def drain(self) -> None:
        """Answer what has been read, then end."""
        self.persistent = 0
        if not self.requests:
            self.loseConnection()

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
        self.channels: set[Any] = set()
        """The connections that speak HTTP, and those that are streams of events."""
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

    def connection_lost(self, channel: Any) -> None:
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
            channel.drain()
        if not self.channels and not done.called:
            self._when_empty.remove(done)
            done.callback(None)
        return done

    def give_up(self) -> None:
        """What is still being carried out is answered by who carries it out."""

    def abort(self) -> None:
        """End every connection now, whatever is still to be sent."""
        for channel in list(self.channels):
            channel.transport.abortConnection()
