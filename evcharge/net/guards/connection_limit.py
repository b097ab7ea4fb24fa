"""How many connections there may be: so many in all, and so many from one address."""

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
from evcharge.net.guards.clients import Addresses
from evcharge.net.guards.limits import MOST_PER_ADDRESS
from evcharge.net.sending import end_sending
from evcharge.outcomes import RATE_LIMITED, UNAVAILABLE, Outcome

TOLD_S = 1.0
"""How long a client that is refused may take to read why."""

MOST_TOLD = 100
"""Refused clients that are told why at one time; those beyond are just closed."""


class ConnectionLimit(Factory):
    """
    Takes connections, or tells them why not.

    :param inner: makes the protocols of those within the limit, and has `addresses` count them.
    :param say: makes all that those beyond it get; None: they get nothing, as there is nothing that
        could be read before the connection is encrypted.
    :param most: connections in all.
    :param most_per_address: as :class:`evcharge.net.guards.limits.Limits` has it.
    """

    noisy = False

    def __init__(
        self,
        inner: IProtocolFactory,
        addresses: Addresses,
        clock: IReactorTime,
        say: Callable[[Outcome], bytes] | None,
        most: int,
        most_per_address: int | None,
        on_refused: OnRefused,
    ) -> None:
        self._inner = inner
        self._addresses = addresses
        self._clock = clock
        self._say = say
        self._most = most
        self._most_per_address = most_per_address
        self._on_refused = on_refused
        self.told = 0
        """Refused clients that are being told why."""

    def doStart(self) -> None:
        self._inner.doStart()

    def doStop(self) -> None:
        self._inner.doStop()

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        address = self._addresses.at(addr)
        if self._addresses.connections >= self._most:
            return self._refuse(CONNECTIONS, UNAVAILABLE, address.name)
        most = address.limit(self._most_per_address, MOST_PER_ADDRESS)
        if most is not None and address.connections >= most:
            return self._refuse(ADDRESS_CONNECTIONS, RATE_LIMITED, address.name)
        return self._inner.buildProtocol(addr)  # type: ignore[arg-type]

    def _refuse(self, reason: str, outcome: Outcome, who: str) -> IProtocol | None:
        self._on_refused(reason, who)
        if self._say is None or self.told >= MOST_TOLD:
            return None
        return RefusedConnection(self._say(outcome), self, self._clock)


@implementer(IHalfCloseableProtocol)
class RefusedConnection(Protocol):
    """Says why it is refused, and gives the client a moment to read it."""

    _late: IDelayedCall

    def __init__(self, said: bytes, limit: ConnectionLimit, clock: IReactorTime) -> None:
        self._said = said
        self._limit = limit
        self._clock = clock

    def connectionMade(self) -> None:
        self._limit.told += 1
        transport = self.transport
        assert transport is not None
        self._late = self._clock.callLater(TOLD_S, transport.abortConnection)  # type: ignore[attr-defined]
        transport.write(self._said)
        # What it sends meanwhile is read and dropped: closing before would reset the connection,
        # and what is said could be lost.
        end_sending(transport)

    def readConnectionLost(self) -> None:
        """The client has closed too."""
        assert self.transport is not None
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """All is out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._limit.told -= 1
        if self._late.active():
            self._late.cancel()
