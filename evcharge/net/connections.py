"""All the connections there are: whose turn it is, and how they end."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory

from evcharge.net.states import Standing

LINGER_S = 5.0
"""How long a client that was hung up on may take to notice, seconds."""


class Client(Protocol):
    """Whoever has made a connection, as the guards know it; nothing in here looks inside."""

    listens: bool
    """Whether it has subscribed to something: the connection says so."""

    @property
    def name(self) -> str:
        """Where it comes from, for the log."""

    def disconnected(self) -> None:
        """The connection has ended."""


class Connections(Factory):
    """
    Knows the open connections: drivers' protocols, or those of HTTP.

    :param clock: its timers are the server's.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.connections: set[Any] = set()
        self.seconds = clock.seconds
        self._clock = clock
        self._aborts: dict[Any, IDelayedCall] = {}
        self._when_empty: list[Deferred[None]] = []

    def next_turn(self) -> Deferred[None]:
        """Fires when the reactor has seen to the other connections."""
        turn: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._clock.callLater(0, turn.callback, None)
        return turn

    def abort_later(self, connection: Any) -> None:
        """Give the client of `connection` a while to close it too."""
        self._aborts[connection] = self._clock.callLater(
            LINGER_S, connection.transport.abortConnection
        )

    def connection_lost(self, connection: Any) -> None:
        """Forget a connection that has ended."""
        if connection.client is not None:
            connection.client.disconnected()
        abort = self._aborts.pop(connection, None)
        if abort is not None and abort.active():
            abort.cancel()
        self.forget(connection)

    def forget(self, connection: Any) -> None:
        """Look after a connection no more; it may go on, for somebody else."""
        self.connections.discard(connection)
        if not self.connections:
            waiting, self._when_empty = self._when_empty, []
            for done in waiting:
                done.callback(None)

    @property
    def waiting(self) -> int:
        """How many clients wait for a reply of the server's."""
        return sum(each.standing is Standing.BUSY for each in self.connections)

    def drain(self) -> Deferred[None]:
        """Have every connection answer what it has read and hang up; fires when all are gone."""
        done: Deferred[None] = Deferred()
        self._when_empty.append(done)
        for connection in list(self.connections):
            connection.drain()
        if not self.connections and not done.called:
            self._when_empty.remove(done)
            done.callback(None)
        return done

    def give_up(self) -> None:
        """Have every request that is still being carried out answered with its failure."""
        for connection in list(self.connections):
            connection.give_up()

    def abort(self) -> None:
        """End every connection now, whatever is still to be sent."""
        for connection in list(self.connections):
            connection.transport.abortConnection()
