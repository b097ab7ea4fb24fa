"""
What changes, as Server-Sent Events: SUBSCRIBE for `curl -N` and for a browser's EventSource.

::

    GET /api/v1/live?topics=stations --> SUBSCRIBE --> its reply
    event: snapshot  <--- the reply's data -------------+ |
    event: change    <--- an EVENT's data <--- Stream <---+ its subscription
    :                <--- every 15 s

Once it has begun, a stream is no HTTP any more: what it is told goes out as it is, without chunks,
so that one record does for all, and neither request nor channel are kept for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from evcharge.handlers.subscribe import Subscribe
from evcharge.net.guards import SUBSCRIBERS
from evcharge.net.guards.clients import CountedClient
from evcharge.net.sending import is_clear, sender
from evcharge.net.states import Standing
from evcharge.outcomes import RATE_LIMITED, Phrase, Refusal, Reply, invalid
from evcharge.push import SSE, USER
from evcharge.push.hub import SLICE_S, Subscription
from evcharge.web.request import WebContext, WebRequest
from evcharge.wire.envelope import Request

PATH = "/api/v1/live"

COMMENT_S = 15.0
"""How often a stream says that it still stands, seconds: what stands between ends silent ones."""

COMMENT = b":\n\n"

MOST_OF_ADDRESS = 6
"""Streams from one address, unless it is this machine."""

HEADERS: Mapping[bytes, bytes] = {
    b"cache-control": b"no-store",
    # Else nginx would collect events before it passes them on.
    b"x-accel-buffering": b"no",
}

# After how long to connect again, ms.
END_OF_SNAPSHOT = b"\nretry: 2000\n\n"

NO_USER = Phrase(
    "sem user: um endereço fica em históricos e logs; use SUBSCRIBE por WebSocket ou TCP",
    "without user: an address ends in histories and logs; use SUBSCRIBE over WebSocket or TCP",
)
NO_USER_ID = Phrase(
    "omitido: um endereço fica em históricos e logs; use SUBSCRIBE por WebSocket ou TCP",
    "left out: an address ends in histories and logs; use SUBSCRIBE over WebSocket or TCP",
)
AN_AREA = Phrase("south,west,north,east, em graus", "south,west,north,east, in degrees")
AT_MOST = Phrase(
    f"Até {MOST_OF_ADDRESS} de um endereço ao mesmo tempo",
    f"At most {MOST_OF_ADDRESS} from one address at a time",
)

encode = msgspec.json.Encoder().encode


def record(data: Mapping[str, Any]) -> bytes:
    """An event, as a stream is told it."""
    return b"event: change\ndata: " + encode(data) + b"\n\n"


def asked_by(query: Mapping[bytes, Sequence[bytes]]) -> dict[str, Any] | Refusal:
    """The data of the SUBSCRIBE that an address stands for; lists are `a,b` in it, or `a` twice."""

    def listed(name: bytes) -> list[str]:
        # What is not UTF-8 is no topic, no id and no number either.
        parts = b",".join(query[name]).decode(errors="replace").split(",")
        return [part.strip() for part in parts if part.strip()]

    if b"user_id" in query:
        return invalid("user_id", NO_USER_ID)
    data: dict[str, Any] = {}
    if b"topics" in query and (topics := listed(b"topics")):
        if USER in topics:
            return invalid("topics", NO_USER)
        data["topics"] = topics
    if b"stations" in query:
        data["stations"] = listed(b"stations")
    if b"area" in query:
        borders = listed(b"area")
        if len(borders) != 4:
            return invalid("area", AN_AREA)
        data["area"] = dict(zip(("south", "west", "north", "east"), borders, strict=True))
    if b"interval_ms" in query:
        data["interval_ms"] = ",".join(listed(b"interval_ms"))
    return data


@implementer(IHalfCloseableProtocol, IPushProducer)
class Stream:
    """
    One connection that is told what changes: a :class:`evcharge.push.Listener`.

    It takes the place of the channel that its request came over. What comes from the client is
    dropped.
    """

    __slots__ = (
        "_ended",
        "_is_paused",
        "_write",
        "client",
        "progress",
        "seen",
        "subscription",
        "transport",
    )

    form_name = SSE
    form = staticmethod(record)

    def __init__(
        self,
        client: CountedClient,
        subscription: Subscription,
        ended: Callable[[Stream], object],
    ) -> None:
        self._ended = ended
        self.client = client
        self.subscription = subscription
        self._is_paused = False
        self.progress = 0
        """How much it was told."""
        self.seen: tuple[Standing, int, float] | None = None
        """See :mod:`evcharge.net.guards.timeouts`."""

    def begin(self, transport: Any, snapshot: bytes) -> None:
        """Send the state as a whole, and from now on what changes."""
        self.transport = transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        self._write = sender(transport)
        self._write(b"event: snapshot\ndata: " + snapshot + END_OF_SNAPSHOT)
        self.subscription.begin(self)

    # What the hub sees

    @property
    def can_hear(self) -> bool:
        """Whether an event goes out at once, and stays in nobody's memory."""
        return not self._is_paused and is_clear(self.transport)

    def hear(self, event: bytes) -> None:
        """Take an event, or a comment."""
        self.progress += 1
        self._write(event)

    # What the timeouts see

    @property
    def name(self) -> str:
        """Where it comes from, for the log."""
        return self.client.name

    @property
    def standing(self) -> Standing:
        """Whom it waits for now."""
        return Standing.LISTENING if self.can_hear else Standing.UNREAD

    def hang_up(self) -> None:
        """Send what is to be sent, then our end."""
        self.subscription.end()
        # Who has a producer is not ended.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    drain = abandon = give_up = hang_up

    # What the transport sees

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._is_paused = False

    def stopProducing(self) -> None:
        """The connection is lost, as will be said."""

    def dataReceived(self, data: bytes) -> None:
        """There is nothing to be asked here."""

    def readConnectionLost(self) -> None:
        """The client has closed its half: it listens no more."""
        self.hang_up()

    def writeConnectionLost(self) -> None:
        """Nothing here closes the transport by halves."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended."""
        self.subscription.end()
        self._ended(self)


class Live:
    """Answers `GET /api/v1/live`."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._streams: OrderedDict[Stream, float] = OrderedDict()
        """When each is to have a comment, seconds of the clock; the soonest first."""
        self._next: IDelayedCall | None = None

    def __call__(self, request: WebRequest) -> None:
        request.route = PATH
        if not request.allows("GET", "HEAD"):
            return
        data = asked_by(request.args)
        if isinstance(data, Refusal):
            self._refuse(request, data)
            return
        controller = self._context.controllers[request.language]
        reply = controller.answer(Request(Subscribe.TYPE, data), request.client)
        if isinstance(reply, Deferred):
            request.pending = reply
            reply.addCallback(partial(self._answer, request)).addErrback(request.fail)
        else:
            self._answer(request, reply)

    def _refuse(self, request: WebRequest, refusal: Refusal) -> None:
        controller = self._context.controllers[request.language]
        request.answer(controller.refuse(Request(Subscribe.TYPE), refusal))

    def _answer(self, request: WebRequest, reply: Reply) -> None:
        if request.channel is None:
            # The client is gone.
            return
        if reply.subscription is None:
            request.answer(reply)
            return
        client = request.client
        if not client.address.is_local and client.address.streams >= MOST_OF_ADDRESS:
            self._context.guards.on_refused(SUBSCRIBERS, client.name)
            self._refuse(request, Refusal(RATE_LIMITED, more={"detail": AT_MOST}))
            return
        if request.begin_stream("text/event-stream", HEADERS):
            self._begin(request, reply)

    def _begin(self, request: WebRequest, reply: Reply) -> None:
        channel, client = request.channel, request.client
        stream = Stream(client, reply.subscription, partial(self._ended, channel.site))
        client.listens = True
        client.address.streams += 1
        self._streams[stream] = self._context.clock.seconds() + COMMENT_S
        if self._next is None:
            self._next = self._context.clock.callLater(COMMENT_S, self._comment)
        # The factory ends it with the others.
        channel.site.connections.add(stream)
        stream.begin(channel.hand_over(stream), encode(reply.data))
        if channel.is_ending:
            # Whoever says so has said it to the channel.
            stream.hang_up()

    def _ended(self, site: Any, stream: Stream) -> None:
        del self._streams[stream]
        stream.client.address.streams -= 1
        site.connection_lost(stream)

    def _comment(self) -> None:
        """Say of those streams whose time it is that they still stand, some in each turn."""
        self._next = None
        clock, streams = self._context.clock, self._streams
        ends = clock.seconds() + SLICE_S
        while streams:
            stream, due = next(iter(streams.items()))
            now = clock.seconds()
            if due > now or now >= ends:
                self._next = clock.callLater(max(0.0, due - now), self._comment)
                return
            streams[stream] = now + COMMENT_S
            streams.move_to_end(stream)
            if stream.can_hear:
                stream.hear(COMMENT)
