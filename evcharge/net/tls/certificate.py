"""The certificate and its key: read, checked, and read again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.application.service import Service
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from evcharge.net.ports import CannotListen
from evcharge.net.tls.alpn import answer_alpn
from evcharge.net.tls.connection import EncryptedConnection, told
from evcharge.utils.permissions import remedy_to_read

SOON_S = 14 * 86400.0
"""How long before a certificate ends the log begins to warn, seconds."""


class CertificateError(CannotListen):
    """The certificate or its key cannot be used: names the option and the file."""


@implementer(IOpenSSLServerConnectionCreator)
class CertificateService(Service):
    """
    The certificate of new connections: read at the start, and again on SIGHUP.

    :param certificate: the path of its file, its chain behind it, in PEM form.
    :param key: the path of the key's file, likewise.
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
        return EncryptedConnection(self._context, tlsProtocol)


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
    return CertificateError(f"--tls-{option} {path}: {told(error) or 'it cannot be used'}")
