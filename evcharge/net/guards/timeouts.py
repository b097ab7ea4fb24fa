"""How long it may take: to send a request, to end a line, to be answered, to read the replies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, TypeAlias

from twisted.internet.interfaces import IReactorTime

from evcharge.net.guards import IDLE, SLOW_LINE, SLOW_REQUEST, UNANSWERED, UNREAD, OnRefused
from evcharge.net.guards.limits import Limits
from evcharge.net.states import Standing

LOOK_S, SHORTEST_LOOK_S = 1.0, 0.05
"""How often connections are looked at, seconds; more often where a limit is short."""

LOOKS_PER_TURN, ENDS_PER_TURN = 500, 10
"""
Connections that are looked at, and of them ended, in one turn of the reactor: a millisecond or two,
in which nobody else is served.
"""

KEPT_S, REQUEST_S = 60.0, 10.0
"""How long a connection of HTTP is kept between two requests, and how long the head of one may take
to come, and its body, seconds."""

MARGIN_S = 10.0
"""How much longer than its storage the server may take for a request, seconds."""


Limited: TypeAlias = Mapping[Standing, tuple[float | None, str | None]]
"""How long each may stand so, seconds, None: for ever; and why it is ended then, one of
:data:`evcharge.net.guards.REASONS`, None: nobody is refused anything."""


def of_lines(limits: Limits, storage_s: float) -> Limited:
    """How long connections may take that speak our lines."""
    return {
        Standing.IDLE: (limits.idle_s, IDLE),
        Standing.IN_A_LINE: (limits.line_s, SLOW_LINE),
        Standing.UNREAD: (limits.unread_s, UNREAD),
        Standing.BUSY: (storage_s + MARGIN_S, UNANSWERED),
        Standing.LISTENING: (None, IDLE),
    }


def of_http(limits: Limits, storage_s: float) -> Limited:
    """How long those may take that speak HTTP; who keeps one for later is refused nothing."""
    return {
        **of_lines(limits, storage_s),
        Standing.IDLE: (KEPT_S, None),
        Standing.IN_A_LINE: (REQUEST_S, SLOW_REQUEST),
    }


class Timed(Protocol):
    """A connection that may take too long."""

    transport: Any
    seen: tuple[Standing, int, float] | None
    """How it stood when it was last looked at, at which progress, and since when."""

    @property
    def name(self) -> str:
        """Where it comes from, for the log."""

    @property
    def standing(self) -> Standing:
        """Whom it waits for now."""

    @property
    def progress(self) -> int:
        """How much was done for the client."""

    def probe(self) -> None:
        """
        Where its client has closed its half, find out whether it is there at all, by sending what
        tells it nothing: one that has gone sends the same end, but answers with a reset.
        """

    def hang_up(self) -> None:
        """Send what is to be sent, then our end."""

    def abandon(self) -> None:
        """End it, though something is still being carried out for it."""


class Timeouts:
    """
    Ends the connections that take too long.

    Looking at all of them now and then costs less than a timer for each, which every request would
    set back. So a limit holds to a look or two, and never too early.

    :param connections: those that are open, at any time.
    :param limits: how long each may stand so, and why it is ended then.
    """

    def __init__(
        self,
        connections: Collection[Timed],
        clock: IReactorTime,
        limits: Limited,
        on_refused: OnRefused,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._on_refused = on_refused
        self._limits = limits
        self._to_see: list[Timed] = []
        """Those that are still to be looked at, in turns to come."""
        shortest = min([limit for limit, _ in self._limits.values() if limit], default=4 * LOOK_S)
        self.look_s = max(SHORTEST_LOOK_S, min(LOOK_S, shortest / 4))
        """How often to look, seconds."""

    def look(self) -> bool:
        """
        End those that have taken too long: of all that are open, some in each turn of the reactor.

        :return: whether some are still to be looked at, in another turn.
        """
        if not self._to_see:
            # Of very many, this is work enough for one turn.
            self._to_see = list(self._connections)
            return bool(self._to_see)
        now = self._clock.seconds()
        ended = 0
        for _ in range(min(len(self._to_see), LOOKS_PER_TURN)):
            ended += self._see(self._to_see.pop(), now)
            if ended == ENDS_PER_TURN:
                break
        return bool(self._to_see)

    def _see(self, connection: Timed, now: float) -> bool:
        """Look at one; whether it had to end."""
        if connection not in self._connections:
            return False
        standing, progress = connection.standing, connection.progress
        seen = connection.seen
        if seen is None or seen[0] is not standing or seen[1] != progress:
            connection.seen = (standing, progress, now)
            return False
        if standing is Standing.BUSY:
            connection.probe()
        limit, reason = self._limits[standing]
        if limit is None or now - seen[2] < limit:
            return False
        # One that is still there after that has all the time anew.
        connection.seen = None
        self._end(connection, reason)
        return True

    def _end(self, connection: Timed, reason: str | None) -> None:
        if reason is not None:
            self._on_refused(reason, connection.name)
        if reason == UNREAD:
            # It would not read the end of what it is sent either.
            connection.transport.abortConnection()
        elif reason == UNANSWERED:
            connection.abandon()
        else:
            connection.hang_up()
