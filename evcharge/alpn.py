"""
ALPN: by which clients of TLS say what they would like to speak.

Twisted answers an offer of which it speaks nothing with an empty name. OpenSSL ends the handshake
then, and so browsers and curl, which always offer something, could not connect at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolNegotiationFactory


def answer_alpn(context: SSL.Context) -> None:
    """
    Have the connections of `context` choose what both sides speak, or nothing.

    What is spoken here is up to the factory behind TLS, which may provide
    `IProtocolNegotiationFactory`. The drivers' protocol has no name of its own: it is spoken where
    nothing was chosen.
    """
    context.set_alpn_select_callback(_choose)


def _choose(connection: SSL.Connection, offered: Sequence[bytes]) -> Any:
    # Before Twisted 26 an ssl: port of the drivers asks for nothing, and does not tell whose it is.
    ours: Any = getattr(connection.get_app_data(), "factory", None)
    factory = IProtocolNegotiationFactory(getattr(ours, "wrappedFactory", None), None)
    spoken = () if factory is None else factory.acceptableProtocols()
    return next((name for name in spoken if name in offered), SSL.NO_OVERLAPPING_PROTOCOLS)
