"""
Drivers' requests over a few TCP connections that all of them share.

Replies are told apart by the ids of their requests. Lost connections are made anew; what had no
reply by then has none. What the server is too busy for is asked again, more slowly.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from evcharge.simulator.drivers import Diary, Said
from evcharge.simulator.listening import Ear, Listening, Tell

TIMEOUT_S = 45.0
"""How long a reply may take: longer than the server gives its storage."""

LOOK_S = 5.0
"""How often it is looked whether one takes longer."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
"""Before it is tried to connect again."""

REFUSED_S, LONGEST_REFUSED_S = 1.0, 8.0
"""For how long nothing is asked when the server has said that it is too much, or it cannot: twice
as long each time until it takes one."""

FIRST_SPACING_S, LONGEST_SPACING_S, SHORTER = 0.02, 2.0, 0.98
"""Between two requests then: twice as long each time, and shorter with each that is answered."""

MOST_AT_ONCE = 4
"""Requests that may be under way then: who goes on when it is too much is hung up on."""

BUSY = {(429, "rate_limited"), (503, "unavailable")}
"""Replies after which the same request is to be sent again, later."""

LONGEST_LINE = 64 * 1024 * 1024

_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode

Answered = Callable[[Said | None], object]


@attrs.define(eq=False)
class Pending:
    """A request that has no reply yet."""

    type: str
    data: Mapping[str, Any]
    answered: Answered
    since: float
    """When it was first to be sent, by the reactor."""
    link: Link | None = None
    """Over which it has to go; None: any."""
    sent: float = 0.0
    """When it was sent the last time."""


class Link(LineReceiver):
    """A connection."""

    delimiter = b"\n"
    MAX_LENGTH = LONGEST_LINE

    def __init__(self, connections: Connections, number: int) -> None:
        self._connections = connections
        self.number = number
        self.pending: dict[int, Pending] = {}
        """Those that were sent, by their ids, in that order."""
        self.ear: Ear | None = None
        self.listens_as: int | None = None
        """The id of its latest SUBSCRIBE."""
        self.is_answered = False
        """Whether any reply has come."""

    def ask(self, number: int, request: Pending) -> None:
        """Send a request under an id."""
        self.pending[number] = request
        if request.type == "SUBSCRIBE":
            self.listens_as = number
        message = {"type": request.type, "data": request.data, "status": {}, "timestamp": ""}
        self.sendLine(_encode({**message, "id": number}))

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.setTcpNoDelay(True)  # type: ignore[attr-defined]
        self._connections.connected(self)

    def lineReceived(self, line: bytes) -> None:
        try:
            said = _decode(line)
            kind, number, data = said["type"], said.get("id"), said["data"]
            code, at = said["status"]["code"], said["timestamp"].replace("Z", "+00:00")
            self._connections.server_now = datetime.fromisoformat(at).timestamp()
        except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError):
            kind, number, data, code = None, None, None, None
        if not (isinstance(data, dict) and isinstance(code, int)):
            self._connections.foreign(self)
            return
        if kind == "EVENT":
            if number == self.listens_as:
                self._connections.listening.heard(self, data)
            return
        request = self.pending.pop(number, None) if isinstance(number, int) else None
        if request is not None:
            self.is_answered = True
            self._connections.replied(request, Said(code, data))
        elif kind == "error":
            self._connections.sent_away(Said(code, data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connections.lost(self, reason.getErrorMessage())


class Connections:
    """
    The connections to a server, made anew when they are lost; an
    :class:`evcharge.simulator.crowd.Outlet`.

    :param endpoint: where the server is.
    :param number: how many.
    :param say: called with what a person should know at once.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        number: int,
        say: Callable[[str], object],
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._say = say
        self.links: list[Link | None] = [None] * number
        """By their numbers; None: it is not there now."""
        self._pauses = [FIRST_PAUSE_S] * number
        """Before the next time that each is tried."""
        self._queue: deque[Pending] = deque()
        """What is to be sent."""
        self._next_at = 0.0
        """Before which nothing is sent, by the reactor."""
        self._spacing_s = 0.0
        self._refused_s = REFUSED_S
        """For how long nothing is sent the next time that the server refuses."""
        self._sending: IDelayedCall | None = None
        self._ids = 0
        self.listening = Listening(self)
        self._calls: set[IDelayedCall] = set()
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor
        self._is_closed = False
        self.server_now = 0.0
        """The server's clock when it said what is being read, seconds since the epoch."""
        self._is_cut = False
        """Whether there was no connection any more, and no reply has come since."""
        self.losses = 0
        """Connections that were lost."""
        self.why_lost = ""
        """Why the last one was."""
        self.is_foreign = False
        """Whether something else than a server's line has come."""
        self.refusals: Counter[str] = Counter()
        """How often the server has said that it was too much, or that it cannot, by what for."""

    # Connections

    def open_first(self) -> Deferred[Any]:
        """Connect once; fails with why it cannot be."""
        self._watch.start(LOOK_S, now=False)
        return self._endpoint.connect(Factory.forProtocol(lambda: Link(self, 0)))

    def open_others(self) -> None:
        """Have all others connect, and any that is lost."""
        for number in range(1, len(self.links)):
            self._connect(number)

    def close(self) -> None:
        """Close all; who waits for a reply has none."""
        self._is_closed = True
        if self._watch.running:
            self._watch.stop()
        for call in [*self._calls, *([self._sending] if self._sending else [])]:
            if call.active():
                call.cancel()
        for link in filter(None, self.links):
            self._abort(link)

    @property
    def open(self) -> int:
        """How many there are."""
        return sum(link is not None for link in self.links)

    def _connect(self, number: int) -> None:
        if self._is_closed:
            return
        made = self._endpoint.connect(Factory.forProtocol(lambda: Link(self, number)))
        made.addErrback(lambda _: self._connect_later(number))

    def _connect_later(self, number: int) -> None:
        pause_s = self._pauses[number]
        self._pauses[number] = min(2 * pause_s, LONGEST_PAUSE_S)
        self.later(pause_s, self._connect, number)

    def later(self, delay_s: float, f: Callable[..., object], *args: Any) -> None:
        """Call `f` after so many seconds, if all are not closed by then."""

        def call() -> None:
            self._calls.discard(delayed)
            f(*args)

        if not self._is_closed:
            delayed = self._reactor.callLater(delay_s, call)
            self._calls.add(delayed)

    def connected(self, link: Link) -> None:
        """A connection is there."""
        if self._is_closed:
            self._abort(link)
            return
        self.links[link.number] = link
        self.listening.connected(link)
        self._send()

    def lost(self, link: Link, why: str) -> None:
        """A connection is gone: what was asked over it has no reply."""
        self.why_lost = why
        if self.links[link.number] is link:
            self.links[link.number] = None
        if self._is_closed:
            return
        if link.is_answered:
            self._pauses[link.number] = FIRST_PAUSE_S
            self.losses += 1
        # The last one of them may be one over which no reply has come.
        if self.losses and not self.open and not self._is_cut:
            self._is_cut = True
            self._say("no connection any more; trying again")
        self._connect_later(link.number)
        self.listening.lost(link)
        for request in link.pending.values():
            request.answered(None)
        link.pending.clear()
        self._send()

    def foreign(self, link: Link) -> None:
        """What came over a connection is no line of the protocol."""
        self.is_foreign = True
        self._abort(link)

    def _abort(self, link: Link) -> None:
        assert link.transport is not None
        link.transport.abortConnection()  # type: ignore[attr-defined]

    def sent_away(self, said: Said) -> None:
        """The server does not take a connection."""
        self.refusals["connections"] += 1

    def _look(self) -> None:
        """Give up what takes too long."""
        latest = self._reactor.seconds() - TIMEOUT_S
        for link in filter(None, list(self.links)):
            if any(request.sent < latest for request in link.pending.values()):
                self._abort(link)
        while self._queue and self._queue[0].since < latest:
            self._queue.popleft().answered(None)

    # Requests

    def ask(self, kind: str, data: Mapping[str, Any], answered: Answered) -> None:
        """Send a request; see :class:`evcharge.simulator.crowd.Outlet`."""
        self.ask_over(kind, data, answered)

    def ask_over(
        self, kind: str, data: Mapping[str, Any], answered: Answered, link: Any = None
    ) -> None:
        """Likewise, over one of the connections; None: over any."""
        self._queue.append(Pending(kind, data, answered, self._reactor.seconds(), link))
        self._send()

    def _send(self) -> None:
        """Send what there is to send, no faster than the server takes it."""
        if self._sending is not None or self._is_closed:
            return
        while self._queue:
            now = self._reactor.seconds()
            if now < self._next_at:
                self._sending = self._reactor.callLater(self._next_at - now, self._send_again)
                return
            if self._spacing_s and self._under_way >= MOST_AT_ONCE:
                return
            request = self._queue[0]
            link = request.link
            if link is None:
                there = [each for each in self.links if each is not None]
                if not there:
                    return
                link = min(there, key=lambda each: len(each.pending))
            self._queue.popleft()
            if self.links[link.number] is not link:
                request.answered(None)
                continue
            self._ids += 1
            self._next_at = now + self._spacing_s
            request.sent = now
            link.ask(self._ids, request)

    def _send_again(self) -> None:
        self._sending = None
        self._send()

    @property
    def _under_way(self) -> int:
        """How many requests wait for their replies."""
        return sum(len(link.pending) for link in self.links if link is not None)

    def replied(self, request: Pending, said: Said) -> None:
        """A reply has come."""
        now = self._reactor.seconds()
        if self._is_cut:
            self._is_cut = False
            self._say("connected again")
        if (said.code, said.reason) not in BUSY:
            self._refused_s = REFUSED_S
            self._spacing_s = self._spacing_s * SHORTER
            if self._spacing_s < FIRST_SPACING_S / 2:
                self._spacing_s = 0.0
            request.answered(said)
        else:
            self.refusals[f"{said.code} {request.type}"] += 1
            if now >= self._next_at - self._spacing_s:
                # Else it is one of those that were under way already.
                spacing_s = max(FIRST_SPACING_S, 2 * self._spacing_s)
                self._spacing_s = min(LONGEST_SPACING_S, spacing_s)
                self._next_at = now + self._refused_s
                self._refused_s = min(LONGEST_REFUSED_S, 2 * self._refused_s)
            if now - request.since < TIMEOUT_S:
                self._queue.appendleft(request)
            else:
                request.answered(said)
        self._send()

    # Listening

    def listen(self, diary: Diary, waits: bool, tell: Tell) -> None:
        """Have a driver told; see :class:`evcharge.simulator.crowd.Outlet`."""
        self.listening.listen(diary, waits, tell)

    def hush(self, user_id: str) -> None:
        """Tell a driver nothing any more."""
        self.listening.hush(user_id)
