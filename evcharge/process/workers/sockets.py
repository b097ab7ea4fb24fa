"""Sockets that the parent listens with, and the workers accept from."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from evcharge.net.ports import ListeningPort, Sockets

ACCEPT_PAUSE_S = 0.5
"""After a connection could not be accepted, seconds."""


class WorkersPort(ListeningPort):
    """A port that is opened here, and that the workers accept from."""

    def _opened(self, listening: IListeningPort) -> None:
        super()._opened(listening)
        for each in self.sockets:
            each.stopReading()  # type: ignore[attr-defined]


@implementer(IStreamServerEndpoint)
class InheritedEndpoint:
    """
    Where the parent listens.

    :param descriptors: of the sockets.
    """

    def __init__(self, reactor: Any, descriptors: Sequence[int]) -> None:
        self._reactor = reactor
        self._descriptors = descriptors

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Accept drivers, as the other workers do."""
        ports = [
            SharedPort(socket.socket(fileno=descriptor), factory, self._reactor)
            for descriptor in self._descriptors
        ]
        for port in ports:
            port.startListening()
        return succeed(Sockets(ports))


@implementer(IListeningPort)
class SharedPort(FileDescriptor):
    """
    Accepts from a socket that other processes listen on as well.

    Twisted's own port takes all the connections that wait, so that one worker had nearly all of a
    rush; and one that adopts a Unix socket sets the mode of its path, shuts the socket down for
    everybody and removes the path.
    """

    log = Logger()
    reactor: Any

    def __init__(self, listening: socket.socket, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(reactor)
        listening.setblocking(False)
        self._socket = listening
        self._factory = factory
        self._pause: IDelayedCall | None = None

    def fileno(self) -> int:
        return self._socket.fileno()

    def startListening(self) -> None:
        self._factory.doStart()
        self.startReading()

    def doRead(self) -> None:
        """Accept one connection."""
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            # Another worker was quicker, or the driver has left.
            return
        except OSError as error:
            # No file descriptors are left, above all. The socket would be ready again at once.
            self.log.error("A connection cannot be accepted: {problem}", problem=error)
            self.stopReading()
            self._pause = self.reactor.callLater(ACCEPT_PAUSE_S, self.startReading)
            return
        with accepted, contextlib.suppress(OSError):
            accepted.setblocking(False)
            # It works with a copy of the descriptor.
            self.reactor.adoptStreamConnection(
                accepted.fileno(), self._socket.family, self._factory
            )

    def stopListening(self) -> Deferred[None]:
        """Accept no more; whoever waits is the other workers' to serve."""
        self.stopReading()
        if self._pause is not None and self._pause.active():
            self._pause.cancel()
        self._socket.close()
        self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IAddress:
        name = self._socket.getsockname()
        if self._socket.family == socket.AF_UNIX:
            return UNIXAddress(name)
        kind = IPv6Address if self._socket.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", *name[:2])
