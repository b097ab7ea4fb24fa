"""Where the server listens."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure

BACKLOG = 1024
"""Connections that may wait to be accepted: Twisted's 50 are soon there when many come at once."""


def listening_at(options: Mapping[str, Any]) -> list[str]:
    """The descriptions of the drivers' ports: the plain one, and the one for TLS, if any."""
    return [options[name] for name in ("port", "tls-port") if options[name] is not None]


def endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """The endpoint that `description` means."""
    found: IStreamServerEndpoint
    kind = description.partition(":")[0]
    if kind in ("tcp", "tcp6", "unix") and ":backlog=" not in description:
        with contextlib.suppress(TypeError):
            found = serverFromString(reactor, f"{description}:backlog={BACKLOG}")
            return found
        # It says what the backlog is by its place.
    found = serverFromString(reactor, description)
    return found


class CannotListen(Exception):
    """A port that cannot be listened on: says which, and why."""


@attrs.define(eq=False)
class Door:
    """A port: what it is called, where it is, and what its connections come to."""

    description: str
    endpoint: IStreamServerEndpoint
    accepts: IProtocolFactory
    port: IListeningPort | None = None

    def open(self) -> None:
        """Listen, unless we do. CannotListen: it is not possible."""
        if self.port is not None:
            return
        problems: list[Failure] = []
        self.endpoint.listen(self.accepts).addCallbacks(self._opened, problems.append)
        if problems:
            error: Any = problems[0].value
            why = getattr(error, "socketError", error)
            raise CannotListen(
                f"cannot listen on {self.description}: {getattr(why, 'strerror', None) or why}"
            )

    def _opened(self, port: IListeningPort) -> None:
        self.port = port

    @property
    def address(self) -> str:
        """Where it is, for the log."""
        host: Any = self.port.getHost() if self.port is not None else None
        if host is None:
            return "nowhere"
        if hasattr(host, "port"):
            # An IPv6 address has colons of its own.
            name = f"[{host.host}]" if ":" in host.host else host.host
            return f"{name}:{host.port}"
        return os.fsdecode(getattr(host, "name", str(host)))


class PortService(Service):
    """Listens, at one port or several."""

    def __init__(self, doors: Sequence[Door]) -> None:
        self._doors = doors

    def privilegedStartService(self) -> None:
        # Ports under 1024 are bound before twistd lays its privileges down.
        self._listen()

    def startService(self) -> None:
        super().startService()
        self._listen()

    def _listen(self) -> None:
        for door in self._doors:
            door.open()

    def stopService(self) -> Deferred[None]:
        """Fires when nothing is listened at any more."""
        super().stopService()
        stopped: Deferred[None] = self._stop_listening()
        return stopped

    @inlineCallbacks
    def _stop_listening(self) -> Any:
        for door in self._doors:
            if door.port is not None:
                port, door.port = door.port, None
                yield port.stopListening()

    @property
    def addresses(self) -> str:
        """Where we listen, for the log: the plain port first."""
        plain, *others = [door.address for door in self._doors]
        return "".join([plain, *(f"; TLS on {address}" for address in others)])
