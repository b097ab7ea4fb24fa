"""
ALPN: by which clients of TLS say what they would like to speak.

Twisted answers an offer of which it speaks nothing with an empty name. OpenSSL ends the handshake
then, and so browsers and curl, which always offer something, could not connect at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolNegotiationFactory,
)
from zope.interface import implementer


def answer_alpn(context: SSL.Context) -> None:
    """
    Have the connections of `context` choose what both sides speak, or nothing.

    What is spoken here is up to the factory behind TLS, which may provide
    `IProtocolNegotiationFactory`. The drivers' protocol has no name of its own: it is spoken where
    nothing was chosen.
    """
    context.set_alpn_select_callback(_choose)


def answer_alpn_at(endpoint: Any) -> None:
    """Have the connections of `endpoint` do so, where it is one that Twisted has speak TLS."""
    # That of haproxy: may have one inside.
    inner = getattr(endpoint, "_wrappedEndpoint", endpoint)
    if hasattr(inner, "_sslContextFactory"):
        answer_alpn(inner._sslContextFactory.getContext())
    elif hasattr(inner, "connectionCreator"):
        inner.connectionCreator = _AnsweringCreator(inner.connectionCreator)


def _choose(connection: SSL.Connection, offered: Sequence[bytes]) -> Any:
    # Before Twisted 26 an ssl: port of the drivers asks for nothing, and does not tell whose it is.
    ours: Any = getattr(connection.get_app_data(), "factory", None)
    factory = IProtocolNegotiationFactory(getattr(ours, "wrappedFactory", None), None)
    spoken = () if factory is None else factory.acceptableProtocols()
    return next((name for name in spoken if name in offered), SSL.NO_OVERLAPPING_PROTOCOLS)


@implementer(IOpenSSLServerConnectionCreator)
class _AnsweringCreator:
    """
    Has the connections of another creator answer offers.

    :param creator: that of Twisted's `tls:` ports. Its connections begin with a default context,
        and change to another one when the client says by which name it knows the server.
    """

    def __init__(self, creator: Any) -> None:
        self._creator = creator
        self._answering: WeakSet[SSL.Context] = WeakSet()

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """What encrypts a new connection."""
        connection = _Connection(self.answering(self._creator.defaultContext), None)
        connection.answering = self.answering
        connection.set_app_data(tlsProtocol)
        return connection

    def answering(self, context: SSL.Context) -> SSL.Context:
        """`context`, which answers now: once there are connections of it, it cannot be changed."""
        if context not in self._answering:
            answer_alpn(context)
            self._answering.add(context)
        return context


class _Connection(SSL.Connection):
    """A connection that answers offers by each context that it changes to."""

    answering: Callable[[SSL.Context], SSL.Context]

    def set_context(self, context: SSL.Context) -> None:
        super().set_context(self.answering(context))
