"""Who is let in: so many connections in all, and so many from one address."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from evcharge.net.guards import ADDRESS_CONNECTIONS, CONNECTIONS, OnRefused
from evcharge.net.guards.limits import MOST_PER_ADDRESS
from evcharge.net.guards.origins import Origins
from evcharge.net.sending import end_sending
from evcharge.outcomes import RATE_LIMITED, UNAVAILABLE, Outcome

GOODBYE_S = 1.0
"""How long a client that is not let in may take to read why."""

MOST_GOODBYES = 100
"""Clients that are told why at one time; those beyond are just closed."""


class Admission(Factory):
    """
    Lets connections in, or tells them why not.

    :param inner: makes the protocols of those who are let in, and has `origins` count them.
    :param say: makes the one line that those who are not let in get; None: they get nothing, as
        there is none that could be read before the connection is encrypted.
    :param most: connections in all.
    :param most_per_address: None: :data:`MOST_PER_ADDRESS`, but any number from this machine; 0:
        any number.
    """

    noisy = False

    def __init__(
        self,
        inner: IProtocolFactory,
        origins: Origins,
        clock: IReactorTime,
        say: Callable[[Outcome], bytes] | None,
        most: int,
        most_per_address: int | None,
        on_refused: OnRefused,
    ) -> None:
        self._inner = inner
        self._origins = origins
        self._clock = clock
        self._say = say
        self._most = most
        self._most_per_address = most_per_address
        self._on_refused = on_refused
        self.goodbyes = 0

    def doStart(self) -> None:
        self._inner.doStart()

    def doStop(self) -> None:
        self._inner.doStop()

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        origin = self._origins.at(addr)
        if self._origins.connections >= self._most:
            return self._refuse(CONNECTIONS, UNAVAILABLE, origin.name)
        most = origin.limit(self._most_per_address, MOST_PER_ADDRESS)
        if most is not None and origin.connections >= most:
            return self._refuse(ADDRESS_CONNECTIONS, RATE_LIMITED, origin.name)
        return self._inner.buildProtocol(addr)  # type: ignore[arg-type]

    def _refuse(self, reason: str, outcome: Outcome, who: str) -> IProtocol | None:
        self._on_refused(reason, who)
        if self._say is None or self.goodbyes >= MOST_GOODBYES:
            return None
        return Goodbye(self._say(outcome), self, self._clock)


@implementer(IHalfCloseableProtocol)
class Goodbye(Protocol):
    """Sends one line, and gives the client a moment to read it."""

    _late: IDelayedCall

    def __init__(self, line: bytes, admission: Admission, clock: IReactorTime) -> None:
        self._line = line
        self._admission = admission
        self._clock = clock

    def connectionMade(self) -> None:
        self._admission.goodbyes += 1
        transport = self.transport
        assert transport is not None
        self._late = self._clock.callLater(GOODBYE_S, transport.abortConnection)  # type: ignore[attr-defined]
        transport.write(self._line + b"\n")
        # What it sends meanwhile is read and dropped: closing before would reset the connection,
        # and the line could be lost.
        end_sending(transport)

    def readConnectionLost(self) -> None:
        """The client has closed too."""
        assert self.transport is not None
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """The line is out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._admission.goodbyes -= 1
        if self._late.active():
            self._late.cancel()
