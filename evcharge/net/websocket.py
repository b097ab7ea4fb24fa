"""
WebSocket: messages over a connection, as a transport beneath a protocol of lines. As TLS is.

::

    client                        WebSocket                       a protocol of lines
      | -- frames of a message ----> |  -- the message, LF ----------> |  dataReceived
      | <------------ one frame ---- |  <------------ a line, LF ----- |  write
      | <----------- ping, pong ---- |                                 |
      | -- Close ------------------> |  -- connectionLost -----------> |
      | <----------- Close --------- |  <- loseWriteConnection ------- |

`websockets` reads and judges all but messages that are one short frame each, of which nothing but
the length has to be known; what is sent is such frames, too. Who speaks over it is not known in
here.

RFC 6455.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol as Reader
from websockets.protocol import Side, State

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask
from zope.interface import implementer

from evcharge.net.sending import end_sending, sender

MOST_FRAGMENTS = 64
"""Frames of one message: those of no bytes are limited by no size."""

SLICE, TURN_S = 4096, 0.002
"""How much is read at a time, bytes, and how long in one turn of the reactor, seconds: the smallest
frames have six bytes, and take as long as larger ones."""

PING_S, SILENT_S = 30.0, 60.0
"""How often a client is asked whether it is there, and how long it may say nothing, seconds."""

TEXT = 0x80 | Opcode.TEXT
"""How a final frame of text begins."""

FINAL, MASKED = (TEXT, 0x80 | Opcode.BINARY), 0x80
"""How a message begins that is one frame, and the bit of a mask beside its length."""

MESSAGES = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
"""The frames that have something of a message."""

SILENT = logging.getLogger(__name__)
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
"""What the library would say of each connection."""

PING = Frame(Opcode.PING, b"").serialize(mask=False)
PINGS_PER_TURN = 100
"""Clients that are asked in one turn of the reactor."""

GOING_AWAY, REFUSED = CloseCode.GOING_AWAY, CloseCode.POLICY_VIOLATION
FAULT = CloseCode.INTERNAL_ERROR
"""Why a server closes: it ends itself, the client has reached a limit, it has made a mistake."""


def frame(message: bytes) -> bytes:
    """A message of UTF-8 as one frame of a server."""
    length = len(message)
    if length < 126:
        return b"%c%c%b" % (TEXT, length, message)
    if length < 65536:
        return b"%c\x7e%b%b" % (TEXT, length.to_bytes(2, "big"), message)
    return b"%c\x7f%b%b" % (TEXT, length.to_bytes(8, "big"), message)


def frames(lines: bytes) -> bytes:
    """Lines, each with its end, as a frame each."""
    if lines.find(b"\n") == len(lines) - 1:
        return frame(lines[:-1])
    return b"".join(map(frame, lines[:-1].split(b"\n")))


def whole_messages(data: bytes, most: int) -> tuple[bytes, bytes]:
    """
    The messages that `data` begins with, if each is one short frame, as lines; and what is left.

    Nearly all are so, and for these few bytes of a head the library takes as long as all else does.
    Whatever is not just so is left to it.

    :param data: begins with a frame, and no message is under way.
    """
    lines, at, end = b"", 0, len(data)
    while at + 6 <= end and data[at] in FINAL and data[at + 1] >= MASKED:
        length, body = data[at + 1] - MASKED, at + 6
        if length == 126:
            length, body = data[at + 2] << 8 | data[at + 3], at + 8
        if length > most or length == 127 or body + length > end:
            break
        at = body + length
        message = apply_mask(data[body:at], data[body - 4 : body])
        lines += message.replace(b"\n", b" ") + b"\n"
    return lines, data[at:]


@implementer(IHalfCloseableProtocol, ITransport)
class WebSocket(Protocol):
    """
    One connection behind its handshake: the protocol of a transport, and the transport of another.

    :param inner: speaks over it, in lines; each message is one. A protocol that has `hang_up` too,
        by which it is told to say no more, and may be closed by halves.
    :param most: the longest message, bytes.
    :param clock: its timers are the server's.
    :param closed: called once, with this and the code by which it was closed.
    """

    form_name = "websocket"
    transport: Any

    close_code: int = REFUSED
    """What the client is told when `inner` says that it has said all."""
    pongs = 0
    """How often the client has shown that it is there."""
    _fragments = 0
    """Frames of the message that has not come whole."""
    _frame_bytes = 0
    """What has come of the frame that has not come whole."""
    _left = b""
    """What has come, and waits for its turn."""
    _turn: IDelayedCall | None = None
    _is_paused = False
    """Whether `inner` wants nothing more for now."""
    _is_read = True
    _is_closing = False
    """Whether a Close is out: nothing more is said."""
    _is_over = False
    """Whether there is nothing to be read any more either; what comes is dropped."""

    def __init__(
        self,
        inner: Any,
        most: int,
        clock: IReactorTime,
        closed: Callable[[WebSocket, int], object],
    ) -> None:
        self._inner = inner
        # Not what has made the handshake: that has more layers, and takes twice the memory.
        self._reader = Reader(Side.SERVER, max_size=most, logger=SILENT)
        self._most = most
        self._clock = clock
        self._closed = closed
        self._message = bytearray()
        self.heard_at = clock.seconds()
        """When the client last showed that it is there."""

    def connectionMade(self) -> None:
        self._send = sender(self.transport)
        self._inner.makeConnection(self)

    # Transport -> messages

    @property
    def is_in_a_message(self) -> bool:
        """Whether a message has begun to come, and not ended."""
        return self._fragments > 0 or self._frame_bytes > 0

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            # Closing at once while input is still unread would reset the connection, and the client
            # could lose the Close that is on its way.
            return
        if self._left:
            self._left += data
        elif len(data) <= SLICE:
            self._take(data)
        else:
            self._left = data
            self._take_up()

    def _take_up(self) -> None:
        """Read what has come, as far as there is time in this turn, and `inner` wants it."""
        self._turn = None
        ends, at = self._clock.seconds() + TURN_S, 0
        while at < len(self._left) and not (self._is_paused or self._is_over):
            self._take(self._left[at : at + SLICE])
            at += SLICE
            if self._clock.seconds() >= ends:
                break
        self._left = b"" if self._is_over else self._left[at:]
        self._read()

    def _read(self) -> None:
        """Have the transport read, or not, and what it has read already taken up."""
        if self._left and not self._is_paused and self._turn is None:
            self._turn = self._clock.callLater(0, self._take_up)
        wanted = not self._left and not self._is_paused
        if wanted is not self._is_read:
            self._is_read = wanted
            if wanted:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _take(self, data: bytes) -> None:
        reader = self._reader
        lines = b""
        if not self._frame_bytes and not self._fragments and reader.state is State.OPEN:
            lines, data = whole_messages(data, self._most)
            if lines and not data:
                self._inner.dataReceived(lines)
                return
        reader.receive_data(data)
        self._frame_bytes += len(data)
        events: list[Any] = reader.events_received()
        for event in events:
            length = len(event.data)
            # Its head with the mask, and a longer length.
            self._frame_bytes -= length + (6 if length < 126 else 8 if length < 65536 else 14)
            if event.opcode in MESSAGES:
                lines += self._add(event)
            elif event.opcode is Opcode.PONG:
                self.pongs += 1
                self.heard_at = self._clock.seconds()
        if lines and not self._is_closing:
            self._inner.dataReceived(lines)
        written = reader.data_to_send()
        if written and not self._is_closing:
            # Pongs; or a Close.
            self._send(b"".join(written))
        if reader.eof_sent:
            self._end()

    def _add(self, event: Any) -> bytes:
        """A line, where this frame ends a message."""
        if event.fin and not self._fragments:
            return bytes(event.data).replace(b"\n", b" ") + b"\n"
        self._fragments += 1
        if self._fragments > MOST_FRAGMENTS:
            if self._reader.state is State.OPEN:
                self._reader.fail(REFUSED, "too many fragments")
            return b""
        self._message += event.data
        if not event.fin:
            return b""
        message, self._message, self._fragments = self._message, bytearray(), 0
        return bytes(message).replace(b"\n", b" ") + b"\n"

    def _end(self) -> None:
        """Nothing more is said, nor read: what is still to come on either side is dropped."""
        if self._is_over:
            return
        reader = self._reader
        self._is_closing = self._is_over = True
        self._message = bytearray()
        told = reader.close_sent or reader.close_rcvd
        self._closed(self, int(told.code if told else CloseCode.ABNORMAL_CLOSURE))
        # As the transport's producer `inner` has had its time, too.
        self._inner.hang_up()
        end_sending(self.transport)

    def readConnectionLost(self) -> None:
        """The client's end; where it had not said Close, what it sent before is answered first."""
        left, self._left = self._left, b""
        if left:
            self._take(left)
        if self._is_closing:
            self._end()
            self.transport.loseConnection()
        else:
            self.close_code = CloseCode.NORMAL_CLOSURE
            self._inner.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Our own end has gone out; the client's is still to come."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if not self._is_over:
            self._is_closing = self._is_over = True
            sent = self._reader.close_sent
            # A Close that was not answered has its reason all the same; but 1000 is said to those
            # who have gone without a word.
            code = CloseCode.ABNORMAL_CLOSURE if sent is None else sent.code
            if code == CloseCode.NORMAL_CLOSURE:
                code = CloseCode.ABNORMAL_CLOSURE
            self._closed(self, int(code))
        self._left = b""
        self._inner.connectionLost(reason)

    # Messages -> transport

    def write(self, lines: bytes) -> None:
        """Send each of some whole lines as a message; nothing, behind a Close."""
        if not self._is_closing:
            self._send(frames(lines))

    def write_frame(self, framed: bytes) -> None:
        """Send what :func:`frame` has made; nothing, behind a Close."""
        if not self._is_closing:
            self._send(framed)

    def writeSequence(self, lines: Iterable[bytes]) -> None:
        """Send lines that together are whole."""
        self.write(b"".join(lines))

    def ping(self) -> None:
        """Ask the client whether it is there."""
        if not self._is_closing:
            self._send(PING)

    def loseWriteConnection(self) -> None:
        """Say Close, by :attr:`close_code`, and wait for the client's."""
        if not self._is_closing:
            self._is_closing = True
            if self._reader.state is State.OPEN:
                self._reader.send_close(self.close_code)
            # Else the client's own Close came with what this follows from, and its answer is ready.
            self._send(b"".join(self._reader.data_to_send()))

    def loseConnection(self) -> None:
        """Say Close, and wait for nothing."""
        self.loseWriteConnection()
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """End it now, whatever is still to be sent."""
        self.transport.abortConnection()

    # The rest of a transport

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """`producer` is told when the client does not read."""
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """It is told no more."""
        self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """`inner` wants nothing more for now."""
        self._is_paused = True
        self._read()

    def resumeProducing(self) -> None:
        """`inner` wants to have what comes."""
        self._is_paused = False
        self.heard_at = self._clock.seconds()
        self._read()

    def stopProducing(self) -> None:
        """The connection is lost: who produced for it tells what it read from, as it would TCP."""
        self.transport.loseConnection()

    @property
    def is_silent(self) -> bool:
        """Whether the client has been asked, and not been heard for too long."""
        return not self._is_paused and self._clock.seconds() - self.heard_at >= SILENT_S

    def getHost(self) -> IAddress:
        """Where it came to."""
        host: IAddress = self.transport.getHost()
        return host

    def getPeer(self) -> IAddress:
        """Where it comes from."""
        peer: IAddress = self.transport.getPeer()
        return peer


class KeepAlive:
    """Asks clients now and then whether they are there, and ends those that do not say so."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: dict[WebSocket, float] = {}
        """When each is asked next, the first one first."""
        self._look_at: IDelayedCall | None = None

    def add(self, connection: WebSocket) -> None:
        """Look after one more."""
        self._due[connection] = self._clock.seconds() + PING_S
        self._plan()

    def remove(self, connection: WebSocket) -> None:
        """Look after one less."""
        self._due.pop(connection, None)
        if not self._due and self._look_at is not None:
            self._look_at.cancel()
            self._look_at = None

    def _plan(self) -> None:
        if self._due and self._look_at is None:
            first = next(iter(self._due.values()))
            delay = max(0.0, first - self._clock.seconds())
            self._look_at = self._clock.callLater(delay, self._look)

    def _look(self) -> None:
        self._look_at = None
        now = self._clock.seconds()
        # Each look at the first of a dict passes over all that have been taken from before it.
        for connection, due_at in list(islice(self._due.items(), PINGS_PER_TURN)):
            if due_at > now:
                break
            del self._due[connection]
            if connection.is_silent:
                connection.abortConnection()
            else:
                self._due[connection] = now + PING_S
                connection.ping()
        self._plan()
