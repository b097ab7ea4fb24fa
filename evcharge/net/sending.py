"""Sending a reply at once, where the socket takes it, and the end of all replies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.tcp import Connection


def sender(transport: Any) -> Callable[[bytes], None]:
    """
    What writes to `transport`, in order with its own `write`.

    Twisted keeps what is written until the next turn of the reactor, and asks the kernel twice for
    it: to be told that the socket can be written, and to be told no more. Nearly always it can be.
    """
    # Its very kind, and not whatever has the methods: a wrapper that encrypts seems to have them
    # too, and they would write around it.
    if isinstance(transport, Connection) and hasattr(transport, "_tempDataBuffer"):
        return partial(_send, transport)
    write: Callable[[bytes], None] = transport.write
    return write


def _send(transport: Any, data: bytes) -> None:
    # While something is still to be sent, this has to wait behind it.
    if transport.connected and not transport.dataBuffer and not transport._tempDataBuffer:
        try:
            sent = transport.socket.send(data)
        except OSError:
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    # What is left goes the usual way; and so does the news that the connection is lost.
    transport.write(data)


def end_sending(transport: Any) -> None:
    """Have `transport` send what it has, and then our end; the client's is still to come."""
    if ISSLTransport.providedBy(transport):
        # It is an alert of TLS: a FIN from beneath would come before what is still to be encrypted.
        transport.loseConnection()
    else:
        transport.loseWriteConnection()


def is_clear(transport: Any) -> bool:
    """Whether all that was written to `transport` has gone to the kernel."""
    while transport is not None and not isinstance(transport, Connection):
        # What encrypts, or counts.
        transport = getattr(transport, "transport", None)
    return transport is None or not (transport.dataBuffer or transport._tempDataBuffer)
