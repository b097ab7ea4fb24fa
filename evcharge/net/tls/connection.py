"""Connections over TLS, which can be closed by halves, and whose handshakes take turns."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import deque
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from evcharge.net.guards import TLS_FAILED, TLS_HANDSHAKE, OnRefused

HANDSHAKE_S = 10.0
"""How long a handshake may take, seconds."""

TOLD_S = 1.0
"""How long a client that does not speak TLS may take to read why it is not listened to, seconds."""

TURN_S = 0.002
"""How long handshakes may be worked at before everybody else gets their turn, seconds."""


def told(error: Any) -> str:
    """What OpenSSL says of an error; nothing where a connection has just ended."""
    if isinstance(error, SSL.SysCallError) or not error.args:
        return ""
    reasons = [reason for _, _, reason in error.args[0] if reason]
    return ", ".join(each for each in dict.fromkeys(reasons) if "unexpected eof" not in each)


def is_text(data: bytes) -> bool:
    """Whether what a client sent first is something to be read: TLS begins with no such byte."""
    first = data[:1]
    return b" " <= first <= b"~" or first.isspace() or first == BOM_UTF8[:1]


class EncryptedConnection(SSL.Connection):
    """
    An OpenSSL connection of which the client may close its half.

    Twisted drops a connection when the client's closing alert comes, and with it the replies that
    are still being worked out.
    """

    def __init__(self, context: SSL.Context, protocol: Any) -> None:
        super().__init__(context, None)
        # Not every version of Twisted does this, and ALPN goes by it.
        self.set_app_data(protocol)

    def recv(self, *args: Any, **more: Any) -> bytes:
        try:
            return super().recv(*args, **more)
        except SSL.ZeroReturnError:
            protocol: Any = self.get_app_data()
            if protocol.disconnecting:
                raise
            protocol.client_ended()
            # There is nothing to read, and will not be.
            raise SSL.WantReadError() from None


@implementer(IHalfCloseableProtocol)
class EncryptedProtocol(TLSMemoryBIOProtocol):
    """TLS around a driver's protocol, which may close its half too."""

    factory: TLSFactory
    transport: Any
    _late: IDelayedCall
    _began = False
    """Whether anything has come at all."""
    _early = b""
    """What has come of the handshake, and waits for its turn."""
    _refused = False
    _turned_away = False
    """Whether it is told in plain text to go away, and nothing else is done with it."""
    _client_ended = False
    _transport_ended = False

    def makeConnection(self, transport: Any) -> None:
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        self._late = self.factory.clock.callLater(HANDSHAKE_S, self._look_at_handshake)
        super().makeConnection(transport)

    def _look_at_handshake(self) -> None:
        if not self._handshakeDone:
            self._refuse(TLS_HANDSHAKE)
            self.abortConnection()

    def _turn_away(self, text: bytes) -> None:
        """Tell a client that does not speak TLS why it is not listened to."""
        self._refused = self._turned_away = self._lostTLSConnection = True
        self._late.reset(TOLD_S)
        inner: Any = self.wrappedProtocol
        self.transport.write(self.factory.plain_text(text, inner.name, self.transport.getHost()))
        # What it sends meanwhile is read and dropped: closing before would reset the connection,
        # and the client could lose what it is told.
        self.transport.loseWriteConnection()

    def _refuse(self, reason: str, detail: str = "") -> None:
        """Tell of a connection that comes to nothing, once."""
        if not self._refused:
            self._refused = True
            inner: Any = self.wrappedProtocol
            self.factory.on_refused(reason, inner.name, detail)

    def _failed(self, why: str) -> None:
        """
        Tell of a handshake that failed.

        :param why: what OpenSSL says; nothing, where the connection has ended. Whoever just looks
            whether the port is open, as balancers do, has failed at nothing.
        """
        alert = why.rpartition(" alert ")[2] if " alert " in why else ""
        if self._aborted or (self._handshakeDone and not alert):
            # It was ended from here, or not by TLS. An alert may come a moment after the handshake,
            # where a client looks at the certificate only then.
            return
        if alert:
            self._refuse(TLS_FAILED, f"the client says: {alert}")
        elif why:
            self._refuse(TLS_FAILED, why)
        elif self._began:
            self._refuse(TLS_FAILED, "the client went away in the middle of it")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._late.active():
            self._late.cancel()
        self._early = b""
        super().connectionLost(reason)

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        if reason is not None:
            # With its traceback it would keep, and be kept by, the frame that it was made in:
            # garbage of 100 KiB that only a collection finds, for each client that just goes.
            reason.cleanFailure()
            self._failed(told(reason.value))
        super()._tlsShutdownFinished(reason)

    def dataReceived(self, bytes: bytes) -> None:
        # Nothing counts that comes after the closing alert, and OpenSSL would keep all of it.
        if self._client_ended or self._turned_away:
            return
        if self._handshakeDone:
            super().dataReceived(bytes)
            return
        if not self._began:
            self._began = True
            if is_text(bytes):
                self._turn_away(bytes)
                return
        if not self._early:
            self.transport.pauseProducing()
            self.factory.await_turn(self)
        self._early += bytes

    def shake_hands(self) -> None:
        """Go on with the handshake, unless the connection has ended while it waited."""
        early, self._early = self._early, b""
        if early:
            self.transport.resumeProducing()
            super().dataReceived(early)

    def client_ended(self) -> None:
        """The client has said that it will send no more."""
        if not self._client_ended:
            self._client_ended = True
            inner: Any = self.wrappedProtocol
            inner.readConnectionLost()

    def readConnectionLost(self) -> None:
        """
        The client's FIN, with or without its closing alert.

        Someone on the way could have forged one without; but a request that is cut short is no
        JSON object.
        """
        self._transport_ended = True
        if self.disconnecting or self._turned_away:
            self.transport.loseConnection()
        else:
            if not self._handshakeDone:
                self._failed("")
            self.client_ended()

    def writeConnectionLost(self) -> None:
        """Nothing here closes the transport by halves."""

    def loseConnection(self) -> None:
        """Say that no more will be sent; the connection ends when the client says the same."""
        super().loseConnection()
        if self._transport_ended:
            # The client's closing alert will not come any more.
            self.transport.loseConnection()


class TLSFactory(TLSMemoryBIOFactory):
    """
    Encrypts the connections of `inner`, whose protocols are closed by halves.

    A handshake takes as much work as dozens of requests, and one client can begin a hundred at a
    time: so they wait for one another.

    :param creator: makes what encrypts a connection: a
        :class:`evcharge.net.tls.certificate.CertificateService`.
    :param plain_text: the first of some plain text, who sent it, and where it came to -> what is
        said before the connection ends.
    """

    log = Logger()
    protocol = EncryptedProtocol

    def __init__(
        self,
        creator: IOpenSSLServerConnectionCreator,
        inner: IProtocolFactory,
        clock: IReactorTime,
        on_refused: OnRefused,
        plain_text: Callable[[bytes, str, Any], bytes],
    ) -> None:
        super().__init__(creator, False, inner, clock)
        self.plain_text = plain_text
        self.clock = clock
        self.on_refused = on_refused
        self._waiting: deque[EncryptedProtocol] = deque()
        self._next_turn: IDelayedCall | None = None

    def _applyProtocolNegotiation(self, connection: SSL.Connection) -> None:
        """Older versions of Twisted would put their answer to ALPN in the place of ours."""

    def await_turn(self, connection: EncryptedProtocol) -> None:
        """Have `connection` go on with its handshake when its time has come."""
        self._waiting.append(connection)
        if self._next_turn is None:
            self._next_turn = self.clock.callLater(0, self._turn)

    def _turn(self) -> None:
        ends = self.clock.seconds() + TURN_S
        while True:
            connection = self._waiting.popleft()
            try:
                connection.shake_hands()
            except Exception:
                # The reactor would do the same; but the others must not wait for ever.
                self.log.failure("A TLS connection is given up")
                connection.abortConnection()
            if not self._waiting:
                self._next_turn = None
                return
            if self.clock.seconds() >= ends:
                self._next_turn = self.clock.callLater(0, self._turn)
                return
