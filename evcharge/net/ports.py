"""
Where the server listens.

A port is described by its number, ``8888``: at all addresses of this machine, of IPv4 and of IPv6;
by ``localhost:8888``: for this machine only, by both as well; or as Twisted describes endpoints.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, execute, gatherResults, inlineCallbacks, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from evcharge.utils.permissions import remedy
from evcharge.utils.texts import counted

BACKLOG = 1024
"""Connections that may wait to be accepted: Twisted's 50 are soon there when many come at once."""

LAYERED_ENDPOINTS = ("ssl", "tls", "haproxy")
"""Endpoints that put a layer of their own between the socket and what they serve."""

LOCAL = "localhost:"
"""What stands before the number of a port that is for this machine only."""

EVERYWHERE = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
"""What a machine without IPv6, or with IPv6 turned off, has to say to it."""

SPOKEN = {"tls-port": "TLS on ", "web-port": "HTTP on ", "web-tls-port": "HTTPS on "}
"""What is spoken on a port, by its option, where it is not our lines in plain."""

OF_MAKE = {"port": "PORT", "web-port": "WEB"}
"""What `make run` calls an option."""

PAGES = {"web-port": "http", "web-tls-port": "https"}
"""How the addresses of those ports begin, by their options, where the page is."""

MOST_TRIES = 20
"""How often a port is chosen anew that the other family has in use already."""


def port_number(description: str) -> int | None:
    """The number of a port that is described by it; None for an endpoint."""
    number = description.removeprefix(LOCAL)
    return int(number) if number.isascii() and number.isdigit() else None


def endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """The endpoint that `description` means."""
    found: IStreamServerEndpoint
    number = port_number(description)
    if number is not None:
        hosts = LOOPBACK if description.startswith(LOCAL) else EVERYWHERE
        return BothFamilies(reactor, hosts, number)
    kind = description.partition(":")[0]
    if kind in ("tcp", "tcp6", "unix") and ":backlog=" not in description:
        with contextlib.suppress(TypeError):
            found = serverFromString(reactor, f"{description}:backlog={BACKLOG}")
            return found
        # It says what the backlog is by its place.
    found = serverFromString(reactor, description)
    if kind in LAYERED_ENDPOINTS:
        from evcharge.net.tls.alpn import answer_alpn_at

        answer_alpn_at(found)
    return found


@implementer(IStreamServerEndpoint)
@attrs.define(eq=False)
class BothFamilies:
    """
    A port of IPv4 and of IPv6, which is what a person means by its number.

    A family that this machine does not have is left out. There are two sockets rather than one of
    IPv6 for both: so an IPv4 client has an IPv4 address, in the log as in the system's tables, and
    the two loopback addresses are no different.

    :param hosts: family -> the address to listen at.
    :param number: of the port; 0: one that is free with both.
    """

    _reactor: Any
    _hosts: Mapping[socket.AddressFamily, str]
    _number: int

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Fires with :class:`Sockets`. OSError, with the address as its file name: it cannot be."""
        return execute(self._listen, factory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        with contextlib.ExitStack() as ours:
            return Sockets(
                [
                    # It works with a copy of the descriptor.
                    self._reactor.adoptStreamPort(one.fileno(), one.family, factory)
                    for one in self._bound(ours)
                ]
            )

    def _bound(self, ours: contextlib.ExitStack) -> Sequence[socket.socket]:
        """Listening sockets, which `ours` will close."""
        for _ in range(MOST_TRIES - 1):
            with contextlib.ExitStack() as tried:
                try:
                    found = self._try(tried)
                except OSError as error:
                    if self._number or error.errno != errno.EADDRINUSE:
                        raise
                else:
                    ours.push(tried.pop_all())
                    return found
        return self._try(ours)

    def _try(self, ours: contextlib.ExitStack) -> Sequence[socket.socket]:
        found: list[socket.socket] = []
        number, missing = self._number, None
        for family, host in self._hosts.items():
            try:
                one = socket.create_server((host, number), family=family, backlog=BACKLOG)
            except OSError as error:
                # Its own text is a programmer's.
                plain = OSError(error.errno, os.strerror(error.errno or 0), shown(host, number))
                if error.errno not in NO_SUCH_FAMILY:
                    raise plain from error
                missing = plain
            else:
                found.append(ours.enter_context(one))
                one.setblocking(False)
                number = one.getsockname()[1]
        if missing is not None and not found:
            raise missing
        return found


@implementer(IListeningPort)
@attrs.define(eq=False)
class Sockets:
    """Several sockets that are one port."""

    each: Sequence[IListeningPort]

    def startListening(self) -> None:
        """They do already."""

    def stopListening(self) -> Deferred[Any]:
        """Fires when none of them listens any more."""
        return gatherResults([maybeDeferred(one.stopListening) for one in self.each])

    def getHost(self) -> IAddress:
        """The address of the first."""
        return self.each[0].getHost()


def shown(host: str, number: int) -> str:
    """An address as people write it: one of IPv6 has colons of its own."""
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


class CannotListen(Exception):
    """A port that cannot be listened on: says which, why, and what to do."""


@attrs.define(eq=False)
class ListeningPort:
    """A port: the option that it comes from, where it is, and what its connections come to."""

    option: str
    description: str
    endpoint: IStreamServerEndpoint
    accepts: IProtocolFactory
    listening: IListeningPort | None = None

    @property
    def sockets(self) -> Sequence[IListeningPort]:
        """What it listens with; none while it does not."""
        if self.listening is None:
            return ()
        return self.listening.each if isinstance(self.listening, Sockets) else (self.listening,)

    def open(self) -> None:
        """Listen, unless we do. CannotListen: it is not possible."""
        if self.listening is not None:
            return
        problems: list[Failure] = []
        self.endpoint.listen(self.accepts).addCallbacks(self._opened, problems.append)
        if problems:
            error: Any = problems[0].value
            why = getattr(error, "socketError", error)
            where = None
            if port_number(self.description) is not None:
                # Which of its addresses it is; the error of another endpoint names what it likes.
                where = getattr(why, "filename", None)
            told = getattr(why, "strerror", None) or why
            raise CannotListen(
                f"cannot listen on {where or self.description}: {told}{self._cure(why)}"
            )

    def _cure(self, why: object) -> str:
        """What to do about an error, of the system or a text of Twisted's, as a sentence's end."""
        number = getattr(why, "errno", None)
        if number == errno.EADDRINUSE:
            # Who typed `make run` knows of no option.
            name = OF_MAKE.get(self.option)
            make = f" (make run {name}=…)" if name else ""
            return f"; end what listens there, or choose another port by --{self.option}{make}"
        if why == "Cannot acquire lock":
            return "; another process has it, the one that the .lock beside it leads to"
        if isinstance(why, PermissionError) and self.description.startswith("unix:"):
            folder = Path(self.description.split(":")[1]).parent
            return remedy(why, folder, folder, is_folder=True)
        if number == errno.EACCES:
            return "; ports under 1024 are for root, or who has the capability CAP_NET_BIND_SERVICE"
        return ""

    def _opened(self, listening: IListeningPort) -> None:
        self.listening = listening

    @property
    def address(self) -> str:
        """Where it is, for the log."""
        return " and ".join(map(_address, self.sockets)) or "nowhere"


def _address(listening: IListeningPort) -> str:
    host: Any = listening.getHost()
    if hasattr(host, "port"):
        return shown(host.host, host.port)
    return os.fsdecode(getattr(host, "name", str(host)))


class PortService(Service):
    """Listens, at one port or several."""

    log = Logger()

    def __init__(self, ports: Sequence[ListeningPort]) -> None:
        self._ports = ports

    def privilegedStartService(self) -> None:
        # Ports under 1024 are bound before twistd lays its privileges down.
        self._listen()

    def startService(self) -> None:
        super().startService()
        self._listen()

    def _listen(self) -> None:
        for port in self._ports:
            port.open()

    def say_page(self) -> None:
        """Tell who reads the log where the page is, if there is one."""
        if self.page is not None:
            # At a terminal it is told with the rest.
            self.log.info("The page is at {address}", address=self.page, at_terminal="")

    def stopService(self) -> Deferred[None]:
        """Fires when nothing is listened at any more."""
        super().stopService()
        stopped: Deferred[None] = self._stop_listening()
        return stopped

    @inlineCallbacks
    def _stop_listening(self) -> Any:
        for port in self._ports:
            if port.listening is not None:
                listening, port.listening = port.listening, None
                yield listening.stopListening()

    @property
    def page(self) -> str | None:
        """Where a browser on this machine finds the page; None: there is none that it could."""
        for port in self._ports:
            scheme = PAGES.get(port.option)
            for each in port.sockets if scheme else ():
                host: Any = each.getHost()
                if hasattr(host, "port"):
                    name = (
                        LOOPBACK[socket.AF_INET] if host.host in EVERYWHERE.values() else host.host
                    )
                    return f"{scheme}://{shown(name, host.port)}"
        return None

    def at_terminal(self, storage: str, stations: int, users: int) -> str:
        """
        The lines for a person at a terminal once it listens.

        :param storage: where the data is, and how many stations and users are there.
        """
        told = {"Apps": "nowhere", "Map": "none; --web-port 8080 shows one"}
        example = "evcharge ask START"
        for port in self._ports:
            host: Any = port.sockets[0].getHost() if port.sockets else None
            if port.option != "port" or not hasattr(host, "port"):
                continue
            everywhere = host.host in EVERYWHERE.values()
            name = LOOPBACK[socket.AF_INET] if everywhere else host.host
            told["Apps"] = shown(name, host.port) + ", from other machines too" * everywhere
            example += f" --host {name}" * (name not in LOOPBACK.values())
            example += f" --port {host.port}" * (host.port != 8888)
        if told["Apps"] == "nowhere":
            told["Apps"] = "; ".join(port.address for port in self._ports)
        told["Map"] = self.page or told["Map"]
        beside = os.path.join(os.path.dirname(sys.argv[0]), "evcharge")
        if os.path.exists(beside) and shutil.which("evcharge") is None:
            # In an environment that is not active.
            example = beside.removeprefix(os.getcwd() + os.sep) + example.removeprefix("evcharge")
        network = f"{counted(stations, 'station')}, {counted(users, 'user')}"
        told |= {"Data": f"{storage} ({network})", "Try": f"{example}     Stop: Ctrl-C"}
        return "\n".join(f"{name + ':':6} {text}" for name, text in told.items())

    @property
    def addresses(self) -> str:
        """Where we listen, for the log: the plain port first."""
        return "; ".join(f"{SPOKEN.get(port.option, '')}{port.address}" for port in self._ports)
