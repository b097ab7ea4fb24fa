"""
One connection of HTTP: twisted.web's reading of it, within limits, and with an answer to all.

Beyond what twisted.web does by itself, a request that is none gets a whole answer, as one does that
is too large or too slow; who does not read is not read from, and has no more than a slice of an
answer in memory; requests that come together take turns with everybody else's; the client may
close its half; and the last answer is not lost with what was not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

from evcharge.net.connections import LINGER_S
from evcharge.net.guards import OTHER_PROTOCOL
from evcharge.net.guards.clients import CountedClient
from evcharge.net.sending import end_sending, is_clear, sender
from evcharge.net.states import Standing
from evcharge.outcomes import INVALID_HTTP, LARGE_HEAD, SLOW_REQUEST, Outcome
from evcharge.web.request import WebRequest

SLICE = 64 * 1024
"""How much of an answer is given to the transport at a time, and how much may have come of requests
that wait for their turn before no more is read, bytes."""

REQUESTS_PER_TURN = 16
"""Requests of one connection that are taken up before the others get their turn."""

HTTP_11, CONTINUE = b"HTTP/1.1", b"HTTP/1.1 100 Continue\r\n\r\n"
"""The version that keeps connections, and the head in it that is passed over before an answer's."""

LONGEST_LENGTH = 40
"""The longest line that says how long a body is, bytes; that of no number is longer."""


@implementer(IHalfCloseableProtocol)
class WebChannel(HTTPChannel):
    """
    One connection of HTTP: a :class:`evcharge.net.guards.timeouts.Timed`.

    :param site: a :class:`evcharge.web.site.WebFactory`, which knows the open connections.
    :param client: who has made it.
    """

    requestFactory = WebRequest  # type: ignore[assignment]
    # It is looked after with all the others: a timer for each would be set back by every request.
    timeOut = None

    seen: tuple[Standing, int, float] | None = None
    progress = 0
    """How many heads, requests and slices of answers have come and gone."""
    is_secure = False
    """Whether it is encrypted."""
    _has_ended = False
    """Whether all has been said; what comes is dropped."""
    _client_ended = False
    _left: memoryview | None = None
    """What is still to be sent of an answer, if it is one of several slices."""
    _taken = 0
    """Requests of this turn."""
    _turn: IDelayedCall | None = None
    _is_behind = False
    """Whether more has come than is taken up in a turn."""
    _late: IDelayedCall | None = None

    def __init__(self, site: Any, client: CountedClient) -> None:
        super().__init__()
        self.site = self.factory = site
        self.client = client
        self._later: Callable[..., IDelayedCall] = site.context.clock.callLater

    def connectionMade(self) -> None:
        self.site.connections.add(self)
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpKeepAlive(True)
        self.is_secure = ISSLTransport.providedBy(transport)
        self._write: Callable[[bytes], None] = sender(transport)
        super().connectionMade()

    def hand_over(self, protocol: Any) -> Any:
        """
        Have `protocol` take the connection over from here on, and nothing be left of HTTP.

        :param protocol: is to be given the transport; it tells the client's `disconnected`, and
            whoever drains the server looks after it elsewhere.
        :return: the transport.
        """
        transport: Any = self.transport
        transport.unregisterProducer()
        self.site.forget(self)
        # Each keeps the other, and only a collection would find them.
        self.requests.clear()
        # What has come behind the request is for it too.
        self.rawDataReceived = protocol.dataReceived  # type: ignore[method-assign]
        self.paused = self._is_behind = False
        if hasattr(transport, "wrappedProtocol"):
            # What encrypts.
            transport.wrappedProtocol = protocol
        else:
            transport.protocol = protocol
        # Where much came behind the request, the channel has stopped reading.
        transport.resumeProducing()
        return transport

    # What comes

    def dataReceived(self, data: bytes) -> None:
        if self._has_ended:
            return
        self.site.received_bytes += len(data)
        if self._turn is None:
            self._taken = 0
        if not self.requests and not self._buffer and data[:1] in _NO_METHOD:
            # TLS, or lines of JSON: no end of a line that HTTP has may ever come.
            self.site.context.guards.on_refused(OTHER_PROTOCOL, self.name)
            self.refuse(INVALID_HTTP)
            return
        self._take(data)
        self._keep_up()

    def _take(self, data: bytes = b"") -> None:
        """Take up what has come."""
        if self._busyReceiving:
            # Whoever is about it goes on with it.
            self._buffer += data
            return
        LineReceiver.dataReceived(self, data)
        if self._has_ended:
            self.clearLineBuffer()
        elif self.line_mode and not self.paused and b"\n" in self._buffer:
            # It has no carriage return before it, and nothing would ever come of it.
            self.refuse(INVALID_HTTP)
        elif self._client_ended and not self.paused and not self._handlingRequest:
            if self.requests or self._buffer:
                self.refuse(INVALID_HTTP)
            else:
                self._end()

    def setLineMode(self, extra: bytes = b"") -> None:
        self.line_mode = 1
        self._take(extra)

    def allHeadersReceived(self) -> None:
        self.progress += 1
        super().allHeadersReceived()

    def headerReceived(self, line: bytes) -> bool:
        if self._has_ended:
            return False
        if len(line) > LONGEST_LENGTH and line[:15].lower() == b"content-length:":
            self.refuse(INVALID_HTTP)
            return False
        return bool(super().headerReceived(line))

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        if version != HTTP_11 or self.site.is_draining:
            return False
        wishes = b",".join(request.requestHeaders.getRawHeaders(b"connection") or ())
        return b"close" not in [wish.strip() for wish in wishes.lower().split(b",")]

    def allContentReceived(self) -> None:
        # Of one that was refused the rest may have come together with what was too much.
        if not self._has_ended:
            self.progress += 1
            super().allContentReceived()

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(LARGE_HEAD)

    def _respondToBadRequestAndDisconnect(self) -> None:
        is_large = self._receivedHeaderSize > self.totalHeadersSize
        self.refuse(LARGE_HEAD if is_large else INVALID_HTTP)

    def refuse(self, outcome: Outcome) -> None:
        """Refuse what is no request, or does not become one, and end."""
        if not self._has_ended:
            self._write(self.site.refusal(outcome, self.is_secure))
            self._end()

    # What is sent

    def send(self, request: WebRequest, head: bytes, body: bytes) -> None:
        """Send the answer of a request, and finish it when all is handed to the transport."""
        self.site.sent_bytes += len(head) + len(body)
        if len(body) <= SLICE:
            self._write(head + body)
            request.finish()
            return
        self._left = memoryview(body)
        self._write(head)
        self._go_on_sending()

    def _go_on_sending(self) -> None:
        while self._left is not None and not self._waitingForTransport:
            piece, self._left = self._left[:SLICE], self._left[SLICE:] or None
            self.progress += 1
            self._write(bytes(piece))
        if self._left is None and self._handlingRequest and self.requests[0].startedWriting:
            self.requests[0].finish()

    def requestDone(self, request: Any) -> None:
        self._taken += 1
        if self._taken >= REQUESTS_PER_TURN and self.persistent and not self.paused:
            # The others have their turn before the next one is taken up.
            self.paused = True
            self._turn = self._later(0, self._next_turn)
        super().requestDone(request)

    def _next_turn(self) -> None:
        self._turn = None
        self._taken = 0
        self.paused = self._waitingForTransport
        if not self.paused:
            self._take()
        self._keep_up()

    def _keep_up(self) -> None:
        """Read no more than is taken up."""
        was_behind, self._is_behind = self._is_behind, self.paused and len(self._buffer) > SLICE
        if self._has_ended:
            return
        if self._is_behind:
            # Each answer has it read again.
            self._networkProducer.pauseProducing()
        elif was_behind and not self._waitingForTransport and not self._handlingRequest:
            self._networkProducer.resumeProducing()

    def pauseProducing(self) -> None:
        """The transport's buffer is full: nothing more is taken up, nor read."""
        super().pauseProducing()
        self.paused = True
        self._networkProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        super().resumeProducing()
        if self._left is not None:
            self._go_on_sending()
        if self._waitingForTransport or self._has_ended or self._turn is not None:
            return
        self.paused = False
        self._take()

    # The end

    def drain(self) -> None:
        """Answer what is being answered, then end."""
        self.persistent = 0
        if not self._handlingRequest:
            self._end()

    def hang_up(self) -> None:
        """End, as the client takes too long; with an answer, if it is a request that does."""
        if self.standing is Standing.IN_A_LINE:
            self.refuse(SLOW_REQUEST)
        else:
            self._end()

    def give_up(self) -> None:
        """Have the request that is being carried out answered now, with its failure."""
        if self._handlingRequest and self.requests:
            self.requests[0].give_up()

    def abandon(self) -> None:
        """The same, and end."""
        self.persistent = 0
        self.give_up()
        if not self._has_ended:
            self._end()

    @property
    def is_ending(self) -> bool:
        """Whether the connection is to end with the answer: the client says no more, or we do."""
        return self._client_ended or bool(self.site.is_draining)

    def loseConnection(self) -> None:
        """What twisted.web does after the last answer."""
        self._end()

    def _end(self) -> None:
        """Send what is to be sent, then our end, and wait for the client's."""
        if self._has_ended:
            return
        self._has_ended = self.paused = True
        self._forget()
        transport: Any = self.transport
        # TLS waits for its producer to have done, any transport for one that is paused.
        transport.unregisterProducer()
        if self._client_ended:
            transport.loseConnection()
        else:
            # Closing at once while input is still unread would reset the connection, and the client
            # could lose the answer that is on its way.
            transport.resumeProducing()
            end_sending(transport)
        self._late = self._later(LINGER_S, self._linger)

    def _linger(self) -> None:
        """End, though the client has not; one that reads slowly reads to the end."""
        transport: Any = self.transport
        if is_clear(transport):
            transport.abortConnection()
        else:
            self._late = self._later(LINGER_S, self._linger)

    def _forget(self) -> None:
        """Drop what has come."""
        self._dataBuffer = []
        # It knows the channel, and only a collection would find them both.
        self._transferDecoder = None

    def readConnectionLost(self) -> None:
        """The client has closed its writing half; what it sent before is answered first."""
        self._client_ended = True
        if self._has_ended:
            transport: Any = self.transport
            transport.loseConnection()
        else:
            self._take()

    def writeConnectionLost(self) -> None:
        """Our own end has gone out; the client's is still to come."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._has_ended = self.paused = True
        self._left = None
        self.clearLineBuffer()
        self._forget()
        for call in (self._turn, self._late):
            if call is not None and call.active():
                call.cancel()
        super().connectionLost(reason)
        self.site.connection_lost(self)

    # What the timeouts see

    @property
    def name(self) -> str:
        """Where it comes from, for the log."""
        return self.client.name

    @property
    def standing(self) -> Standing:
        """Whom it waits for now."""
        if self._waitingForTransport or not is_clear(self.transport):
            return Standing.UNREAD
        if self._has_ended:
            # Its end is a matter of :data:`LINGER_S`.
            return Standing.LISTENING
        if self._handlingRequest:
            return Standing.BUSY
        if self.requests or self._buffer:
            return Standing.IN_A_LINE
        return Standing.IDLE

    def probe(self) -> None:
        """Where the client has closed its half, send a head that its answer's may follow."""
        request = self.requests[0]
        if self._client_ended and not request.startedWriting and request.clientproto == HTTP_11:
            self._write(CONTINUE)


_NO_METHOD = [bytes([byte]) for byte in range(256) if chr(byte) in '{["' or byte in (0x16, 0x80)]
"""What no request begins with, but what clients of other protocols send first."""
