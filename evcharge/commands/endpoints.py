"""The server that `simulate drive` goes to: its endpoint, and whom to trust there."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, clientFromString, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from evcharge.commands import USAGE, Exit


def endpoint_of(reactor: Any, options: argparse.Namespace) -> IStreamClientEndpoint:
    """
    Where the server is.

    :raise Exit: --server or --ca say nothing of use.
    """
    words = re.split(r"(?<!\\):", options.server)
    wrong = Exit(
        f"--server {options.server}: must be tcp:HOST:PORT or tls:HOST:PORT, as "
        "tcp:127.0.0.1:8888 (an IPv6 address has its colons written as \\:)",
        USAGE,
    )
    if len(words) < 3 or words[0] not in ("tcp", "tls") or not words[1]:
        raise wrong
    if not (words[2].isascii() and words[2].isdecimal() and 0 < int(words[2][:6]) < 65536):
        raise wrong
    if options.ca is None:
        try:
            named: IStreamClientEndpoint = clientFromString(reactor, options.server)
            return named
        except (ValueError, TypeError, LookupError):
            raise wrong from None
    if words[0] != "tls" or len(words) > 3:
        raise Exit("--ca goes with --server tls:HOST:PORT", USAGE)
    host = words[1].replace("\\:", ":")
    trusted = trustRootFromCertificates(_certificates(options.ca))
    there = HostnameEndpoint(reactor, host, int(words[2]))
    wrapped: IStreamClientEndpoint = wrapClientTLS(
        optionsForClientTLS(host, trustRoot=trusted), there
    )
    return wrapped


def _certificates(path: Path) -> list[Certificate]:
    try:
        text = path.read_text("ascii", "replace")
    except OSError as error:
        raise Exit(f"--ca {path}: {error.strerror or error}", USAGE) from None
    found = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S)
    try:
        certificates = [Certificate.loadPEM(each.encode()) for each in found]
    except Exception:
        certificates = []
    if not certificates:
        raise Exit(f"--ca {path}: has no certificates in PEM form", USAGE)
    return certificates
