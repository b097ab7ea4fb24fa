"""
The PROXY protocol: a proxy before the server tells for whom it connects (HAProxy, versions 1, 2).

Twisted has parsers for its headers, and a wrapper that uses them. That one wants the whole header
in the first piece that comes, drops a connection that the client closes by halves, and makes the
protocol of a connection before its address is known. So only the parsers are used.

The specification: https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt
"""

from __future__ import annotations

import ipaddress
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.haproxy._exceptions import InvalidProxyHeader
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.python.failure import Failure
from zope.interface import implementer

from evcharge.net.guards import PROXY_HEADER, OnRefused
from evcharge.net.guards.clients import counted_under

V1_START, V1_END, V1_LONGEST = b"PROXY ", b"\r\n", 107
V2_START, V2_FIXED, V2_LONGEST = V2Parser.PREFIX, 16, 4096

HEADER_S = 10.0
"""How long a header may take to come, seconds."""

MOST_PENDING = 1000
"""Connections whose header has not come yet; more are refused."""


class NoHeader(Exception):
    """What came is not a PROXY header."""


def header_length(data: bytes) -> int | None:
    """
    How long the header at the start of `data` is, bytes.

    :return: None where too little has come to say.
    :raise NoHeader: there is none.
    """
    if data.startswith(V1_START) or V1_START.startswith(data):
        end = data.find(V1_END, 0, V1_LONGEST)
        if end >= 0:
            return end + len(V1_END)
        if len(data) >= V1_LONGEST:
            raise NoHeader("no end of line")
        return None
    if data.startswith(V2_START) or V2_START.startswith(data):
        if len(data) < V2_FIXED:
            return None
        length = V2_FIXED + int.from_bytes(data[14:16], "big")
        if length > V2_LONGEST:
            raise NoHeader("too long")
        return length
    raise NoHeader("no PROXY header")


def client_of(header: bytes) -> IAddress | None:
    """
    The address that a whole header tells.

    :return: None where the proxy speaks for itself, or does not know.
    :raise NoHeader: the header is broken.
    """
    if header.split()[:2] == [b"PROXY", b"UNKNOWN"]:
        # Twisted wants addresses here, which the specification leaves out.
        return None
    try:
        if header.startswith(V1_START):
            told = V1Parser.parse(header[: -len(V1_END)])
        else:
            told = V2Parser.parse(header)
        _check(told.source)
        _check(told.destination)
    except (InvalidProxyHeader, ValueError, LookupError) as error:
        # The parsers let out what they stumble over.
        raise NoHeader("a broken PROXY header") from error
    client: IAddress | None = told.source
    return client


def _check(address: IAddress | None) -> None:
    """ValueError: what the parsers took for an address is none of its kind."""
    if isinstance(address, IPv4Address):
        ipaddress.IPv4Address(address.host)
    elif isinstance(address, IPv6Address):
        if ipaddress.IPv6Address(address.host).scope_id is not None:
            raise ValueError("an interface means nothing on another machine")
    else:
        return
    if not 0 <= address.port <= 65535:
        raise ValueError("a port that is none")


class ProxyFactory(Factory):
    """
    Reads the header of each connection, and only then has `inner` make its protocol.

    :param inner: is given the client's true address, and may refuse it.
    """

    noisy = False

    def __init__(
        self,
        inner: IProtocolFactory,
        clock: IReactorTime,
        on_refused: OnRefused,
        most_pending: int = MOST_PENDING,
    ) -> None:
        self.inner = inner
        self.clock = clock
        self._on_refused = on_refused
        self._most_pending = most_pending
        self.pending = 0
        """Connections whose header has not come yet."""

    def doStart(self) -> None:
        self.inner.doStart()

    def doStop(self) -> None:
        self.inner.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        if self.pending >= self._most_pending:
            self.refused(addr)
            return None
        return HeaderReader(self, addr)

    def refused(self, proxy: IAddress | None) -> None:
        """Tell of a connection without a good header."""
        self._on_refused(PROXY_HEADER, counted_under(proxy)[0])


@implementer(IHalfCloseableProtocol)
class HeaderReader(Protocol):
    """The protocol of a connection until its header has been read: then another one takes over."""

    _late: IDelayedCall | None = None
    _data = b""

    def __init__(self, factory: ProxyFactory, proxy: IAddress | None) -> None:
        self._factory = factory
        self._proxy = proxy

    def connectionMade(self) -> None:
        self._factory.pending += 1
        self._late = self._factory.clock.callLater(HEADER_S, self._refuse)

    def dataReceived(self, data: bytes) -> None:
        if self._late is None:
            return
        self._data += data
        try:
            length = header_length(self._data)
            if length is None or len(self._data) < length:
                return
            client = client_of(self._data[:length])
        except NoHeader:
            self._refuse()
            return
        self._settle()
        self._hand_over(self._proxy if client is None else client, self._data[length:])

    def _hand_over(self, client: IAddress | None, rest: bytes) -> None:
        transport: Any = self.transport
        inner: Any = self._factory.inner.buildProtocol(client)  # type: ignore[arg-type]
        if inner is None:
            transport.loseConnection()
            return
        transport.protocol = inner
        inner.makeConnection(transport)
        if rest:
            inner.dataReceived(rest)

    def _refuse(self) -> None:
        self._settle()
        self._factory.refused(self._proxy)
        transport: Any = self.transport
        transport.abortConnection()

    def _settle(self) -> None:
        """The header has come, or never will."""
        if self._late is not None:
            self._factory.pending -= 1
            if self._late.active():
                self._late.cancel()
            self._late = None

    def readConnectionLost(self) -> None:
        """The end came before the header."""
        transport: Any = self.transport
        transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing is sent before the header has come."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._settle()
