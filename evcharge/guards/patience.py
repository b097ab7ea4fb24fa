"""How long a connection may take: to send a request, to end a line, to read its replies."""

from __future__ import annotations

from collections.abc import Collection

import attrs
from twisted.internet.interfaces import IReactorTime

from evcharge.guards import IDLE, SLOW_LINE, UNREAD, OnRefused
from evcharge.protocol import DriverProtocol, Standing

LOOK_S, SHORTEST_LOOK_S = 1.0, 0.05
"""How often connections are looked at, seconds; more often where a limit is short."""


@attrs.frozen
class Limits:
    """Seconds that may pass; None: any number."""

    idle_s: float | None
    line_s: float | None
    unread_s: float | None


class Patience:
    """
    Ends the connections that take too long; those that wait for the server have all the time.

    Looking at all of them now and then costs less than a timer for each, which every request would
    set back. So a limit holds to a look or two, and never too early.

    :param connections: those that are open, at any time.
    """

    def __init__(
        self,
        connections: Collection[DriverProtocol],
        clock: IReactorTime,
        limits: Limits,
        on_refused: OnRefused,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._on_refused = on_refused
        self._limits = {
            Standing.IDLE: (limits.idle_s, IDLE),
            Standing.IN_A_LINE: (limits.line_s, SLOW_LINE),
            Standing.UNREAD: (limits.unread_s, UNREAD),
        }
        self._seen: dict[DriverProtocol, tuple[Standing, int, float]] = {}
        """How each stood at the last look, after how many lines, and since when."""
        shortest = min([limit for limit, _ in self._limits.values() if limit], default=4 * LOOK_S)
        self.look_s = max(SHORTEST_LOOK_S, min(LOOK_S, shortest / 4))
        """How often to look, seconds."""

    def look(self) -> None:
        """End those that have taken too long."""
        now = self._clock.seconds()
        before, self._seen = self._seen, {}
        for connection in list(self._connections):
            standing, lines = connection.standing, connection.lines
            if standing is Standing.BUSY:
                continue
            seen = before.get(connection)
            if seen is None or seen[0] is not standing or seen[1] != lines:
                self._seen[connection] = (standing, lines, now)
                continue
            limit, reason = self._limits[standing]
            if limit is not None and now - seen[2] >= limit:
                self._end(connection, reason)
            else:
                self._seen[connection] = seen

    def _end(self, connection: DriverProtocol, reason: str) -> None:
        self._on_refused(reason, connection.name)
        if reason == UNREAD:
            # It would not read the end of what it is sent either.
            connection.transport.abortConnection()
        else:
            connection.hang_up()
