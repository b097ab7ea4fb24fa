"""TLS: the certificate, and connections that can be closed by halves."""

from __future__ import annotations

import os
import signal
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.application.service import Service
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from evcharge.net.alpn import answer_alpn
from evcharge.net.guards import TLS_FAILED, TLS_HANDSHAKE, OnRefused
from evcharge.net.ports import CannotListen
from evcharge.utils.permissions import remedy_to_read

SOON_S = 14 * 86400.0
"""How long before a certificate ends the log begins to warn, seconds."""

HANDSHAKE_S = 10.0
"""How long a handshake may take, seconds."""

GOODBYE_S = 1.0
"""How long a client that does not speak TLS may take to read why it is not listened to, seconds."""

TURN_S = 0.002
"""How long handshakes may be worked at before everybody else gets their turn, seconds."""


class CertificateError(CannotListen):
    """The certificate or its key cannot be used: names the option and the file."""


@implementer(IOpenSSLServerConnectionCreator)
class CertificateService(Service):
    """
    The certificate of new connections: read at the start, and again on SIGHUP.

    :param certificate: the path of its PEM file, and
    :param key: that of its private key.
    :param now: the present, seconds since the epoch.
    :param on_read_again: called when it has been read again.
    """

    name = "certificate"
    log = Logger()

    def __init__(
        self,
        certificate: str,
        key: str,
        reactor: Any,
        now: Callable[[], float],
        on_read_again: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_read_again = on_read_again
        self._certificate = certificate
        self._key = key
        self._reactor = reactor
        self._now = now
        self._context: SSL.Context | None = None
        self._before: Any = None
        """Who cared for SIGHUP before we did."""

    def privilegedStartService(self) -> None:
        # The key may be one that only root can read.
        super().privilegedStartService()
        self._read_once()

    def startService(self) -> None:
        super().startService()
        self._read_once()
        self._before = signal.signal(signal.SIGHUP, self._hung_up)

    def stopService(self) -> None:
        super().stopService()
        if self._before is not None:
            signal.signal(signal.SIGHUP, self._before)

    def _read_once(self) -> None:
        if self._context is None:
            self.read()

    def _hung_up(self, *_: object) -> None:
        self._reactor.callFromThread(self.read_again)

    def read(self) -> None:
        """Read the files. CertificateError: they cannot be used, and what was read before stays."""
        first = self._first_certificate()
        context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
        answer_alpn(context)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        try:
            context.use_certificate_chain_file(self._certificate)
        except SSL.Error as error:
            raise _unusable("certificate", self._certificate, error) from None
        self._check_key()
        try:
            context.use_privatekey_file(self._key)
        except SSL.Error as error:
            if "mismatch" in str(error):
                raise self._mismatch() from None
            raise _unusable("key", self._key, error) from None
        try:
            context.check_privatekey()
        except SSL.Error:
            raise self._mismatch() from None
        self._context = context
        self._tell(first)

    def _first_certificate(self) -> x509.Certificate:
        content = _readable("certificate", self._certificate)
        try:
            return x509.load_pem_x509_certificates(content)[0]
        except (ValueError, IndexError):
            raise CertificateError(
                f"--tls-certificate {self._certificate}: it holds no certificate in PEM form"
            ) from None

    def _check_key(self) -> None:
        """See to it that OpenSSL will find a key, and not ask the terminal for a passphrase."""
        content = _readable("key", self._key)
        try:
            load_pem_private_key(content, None)
        except TypeError:
            raise CertificateError(
                f"--tls-key {self._key}: it has a passphrase, and there is nobody to ask for it"
            ) from None
        except (ValueError, UnsupportedAlgorithm):
            raise CertificateError(
                f"--tls-key {self._key}: it holds no private key in PEM form"
            ) from None

    def _mismatch(self) -> CertificateError:
        return CertificateError(
            f"--tls-key {self._key}: it is not the key of the certificate in {self._certificate}"
        )

    def _tell(self, certificate: x509.Certificate) -> None:
        """Log which certificate there is, and whether it will do for a while."""
        ends = certificate.not_valid_after_utc
        left_s = (ends - datetime.fromtimestamp(self._now(), timezone.utc)).total_seconds()
        told = {
            "subject": certificate.subject.rfc4514_string() or "no name",
            "ends": ends.isoformat(),
            "path": self._certificate,
        }
        if left_s < 0:
            self.log.error("The TLS certificate of {subject} has ended at {ends} ({path})", **told)
        elif left_s < SOON_S:
            self.log.warn("The TLS certificate of {subject} ends at {ends} ({path})", **told)
        else:
            self.log.info("TLS certificate of {subject}, until {ends} ({path})", **told)

    def read_again(self) -> None:
        """Read the files anew; where they cannot be used, say so and go on with what there was."""
        try:
            self.read()
        except CertificateError as error:
            self.log.error("The TLS certificate stays as it was: {problem}", problem=str(error))
        else:
            self._on_read_again()

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """What encrypts a new connection."""
        assert self._context is not None, "the certificate is read before anything listens"
        return _Connection(self._context, tlsProtocol)


def _readable(option: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CertificateError(
            f"--tls-{option} {path}: {os.strerror(error.errno or 0)}"
            f"{remedy_to_read(error, Path(path))}"
        ) from None


def _unusable(option: str, path: str, error: SSL.Error) -> CertificateError:
    return CertificateError(f"--tls-{option} {path}: {_told(error) or 'it cannot be used'}")


def _told(error: Any) -> str:
    """What OpenSSL says of an error; nothing where a connection has just ended."""
    if isinstance(error, SSL.SysCallError) or not error.args:
        return ""
    reasons = [reason for _, _, reason in error.args[0] if reason]
    return ", ".join(each for each in dict.fromkeys(reasons) if "unexpected eof" not in each)


def is_text(data: bytes) -> bool:
    """Whether what a client sent first is something to be read: TLS begins with no such byte."""
    first = data[:1]
    return b" " <= first <= b"~" or first.isspace() or first == BOM_UTF8[:1]


class _Connection(SSL.Connection):
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
class _DriverTLS(TLSMemoryBIOProtocol):
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
        self._late.reset(GOODBYE_S)
        inner: Any = self.wrappedProtocol
        self.transport.write(self.factory.stranger(text, inner.name, self.transport.getHost()))
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
            self._failed(_told(reason.value))
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

    :param stranger: the first of some plain text, who sent it, and where it came to -> what is said
        before the connection ends.
    """

    log = Logger()
    protocol = _DriverTLS

    def __init__(
        self,
        certificate: CertificateService,
        inner: IProtocolFactory,
        clock: IReactorTime,
        on_refused: OnRefused,
        stranger: Callable[[bytes, str, Any], bytes],
    ) -> None:
        super().__init__(certificate, False, inner, clock)
        self.stranger = stranger
        self.clock = clock
        self.on_refused = on_refused
        self._waiting: deque[_DriverTLS] = deque()
        self._next_turn: IDelayedCall | None = None

    def _applyProtocolNegotiation(self, connection: SSL.Connection) -> None:
        """Older versions of Twisted would put their answer to ALPN in the place of ours."""

    def await_turn(self, connection: _DriverTLS) -> None:
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
