"""
Bytes to lines, lines to replies, in order. No business word in here.

::

    client                         DriverProtocol                      dispatch
      | -- line -------------------> |  one request at a time             |
      |                              | -- line -------------------------> |
      | -- more lines -------------> |  held back, up to one line's limit |
      |                              | <------------------- reply, later -|
      | <------------------- reply - |                                    |
      | -- FIN --------------------> |  what was sent is still answered   |
      | <--------- replies, FIN ---- |                                    |

A client that does not read its replies is not read from; a line that is too long, and the server's
own end, hang up in a way that lets the client read what was said before.

Who may connect, how much of what, and for how long, is up to what stands around this: see
:mod:`evcharge.net.guards`.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from evcharge.net.sending import end_sending, sender
from evcharge.wire.last_resort import LastResort

LINES_PER_TURN, TURN_S = 64, 0.002
"""Lines that one connection may have handled, and how long, before the others get their turn."""

LINGER_S = 5.0
"""How long a client that was hung up on may take to notice, seconds."""


class LastReply(bytes):
    """A reply after which the client is hung up on."""

    __slots__ = ()


class Client(Protocol):
    """Whoever has made a connection, as the guards know it; nothing in here looks inside."""

    @property
    def name(self) -> str:
        """Where it comes from, for the log."""

    def disconnected(self) -> None:
        """The connection has ended."""


class Standing(Enum):
    """Whom a connection waits for."""

    IDLE = "a request"
    IN_A_LINE = "the rest of a line"
    UNREAD = "its replies being read"
    BUSY = "the server"


@implementer(IHalfCloseableProtocol, IPushProducer)
class DriverProtocol(LineReceiver):
    """One connection: it holds bytes and the order of replies, nothing about a user."""

    delimiter = b"\n"
    factory: DriverFactory
    transport: Any

    _waiting: Deferred[Any] | None = None
    """The request that is being carried out."""
    _replies_unread = False
    _not_read_from = False
    _at_eof = False
    _hung_up = False
    _draining = False
    _lost = False

    _begun = False
    """Whether a line has come that says which protocol the client speaks."""

    seen: tuple[Standing, int, float] | None = None
    """How it stood when it was last looked at, after how many lines, and since when: see
    :mod:`evcharge.net.guards.timeouts`."""
    lines = 0
    """Whole lines that have been read."""
    _turn_ends = LINES_PER_TURN
    """The number of lines at which the others get their turn, and the time of it."""
    _turn_ends_at: float | None = None

    def __init__(self, factory: DriverFactory, client: Client | None = None) -> None:
        self.factory = factory
        self.client = client
        # One byte more, for the carriage return that telnet puts before the line end.
        self.MAX_LENGTH = factory.max_line + 1

    # Transport -> lines

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._write = sender(self.transport)
        # As its producer, this protocol is told when the client does not read its replies.
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self.factory.received_bytes += len(data)
        self._begin_turn()
        super().dataReceived(data)
        if self.paused and len(self._buffer) > self.factory.max_line:
            self._not_read_from = True
            self.transport.pauseProducing()

    def lineReceived(self, line: bytes) -> None:
        if line.endswith(b"\r"):
            line = line[:-1]
        if len(line) > self.factory.max_line:
            return self.lineLengthExceeded(line)
        self.lines += 1
        if not self._begun:
            line = self._begin(line)
        if line and not line.isspace():
            self._carry_out(line)
        elif self._buffer:
            self._drop_blank_lines()
        if self._buffer and not self.paused and self._turn_is_over():
            self._waiting = self.factory.next_turn().addBoth(self._next_turn)
            self.paused = True
        return None

    def _begin(self, line: bytes) -> bytes:
        """What is left of a line that may be the first; nothing, where the client is hung up on."""
        if self.lines == 1:
            line = line.removeprefix(BOM_UTF8)
        if not line or line.isspace():
            return b""
        self._begun = True
        last = self.factory.other_protocol(line, self.client, self.transport.getHost)
        if last is None:
            return line
        self.factory.sent_bytes += len(last)
        self._write(last)
        self.hang_up()
        return b""

    def _drop_blank_lines(self) -> None:
        # One by one, a flood of them would let no thread have the interpreter for long.
        blank = len(self._buffer) - len(self._buffer.lstrip())
        self._buffer = self._buffer[self._buffer.rfind(self.delimiter, 0, blank) + 1 :]

    def lineLengthExceeded(self, line: bytes) -> None:
        self._reply(self.factory.too_large())
        self.hang_up()

    def rawDataReceived(self, data: bytes) -> None:
        """Raw mode is entered by hanging up only: what still comes is dropped."""

    # Turns, so that nobody waits for one who sends much

    def _begin_turn(self) -> None:
        self._turn_ends = self.lines + LINES_PER_TURN
        self._turn_ends_at = None

    def _turn_is_over(self) -> bool:
        now = self.factory.seconds()
        if self._turn_ends_at is None:
            self._turn_ends_at = now + TURN_S
        return self.lines >= self._turn_ends or now >= self._turn_ends_at

    def _next_turn(self, ignored: None) -> None:
        self._begin_turn()
        self._go_on(None)

    # Lines -> replies

    def _carry_out(self, line: bytes) -> None:
        try:
            reply = self.factory.dispatch(line, self.client)
        except Exception:
            reply = self.factory.last_resort(Failure())
        if isinstance(reply, Deferred):
            self._waiting = reply
            self.paused = True
            reply.addCallbacks(self._answer, self._answer_all_the_same)
            reply.addErrback(self._break_off)
        else:
            self._reply(reply)
            if isinstance(reply, LastReply):
                self.hang_up()

    def _answer(self, reply: bytes) -> None:
        """Send a reply that was waited for, and take up the next line."""
        if not self._lost:
            self._reply(reply)
        self._go_on(None)

    def _answer_all_the_same(self, failure: Failure) -> None:
        """Answer a request whose reply could not be made, which ought not to happen."""
        self._answer(self.factory.last_resort(failure))

    def _break_off(self, failure: Failure) -> None:
        """End a connection that cannot be answered: it would wait for ever, and unseen."""
        self.factory.last_resort(failure)
        self.transport.abortConnection()

    def _reply(self, reply: bytes) -> None:
        self.factory.sent_bytes += len(reply) + 1
        self._write(reply + self.delimiter)

    def _go_on(self, ignored: None) -> None:
        """Take up the next line, unless something holds it back."""
        self._waiting = None
        self._continue()

    def _continue(self) -> None:
        if self._lost or self._waiting is not None or self._replies_unread:
            return
        self.paused = False
        if self._busyReceiving:
            # The reply was there at once: whoever handed the line in goes on with the next.
            return
        if self._buffer:
            super().dataReceived(b"")
            if self.paused or self._hung_up:
                return
        if self._draining or self._at_eof:
            self._end()
        elif self._not_read_from:
            # What is left is part of a line, whose rest must come for it to be judged.
            self._not_read_from = False
            self.transport.resumeProducing()

    # The client does not read, or has said all it wants to

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._replies_unread = self._not_read_from = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._replies_unread = False
        self._continue()

    def readConnectionLost(self) -> None:
        """The client has closed its writing half; what it sent before is answered first."""
        if self._hung_up:
            self.transport.loseConnection()
            return
        self._at_eof = True
        if self._buffer:
            # A last line without its end is a line all the same: `printf '{…}' | nc`.
            self._buffer += self.delimiter
        if not self.paused:
            self._continue()

    def writeConnectionLost(self) -> None:
        """Our own hanging up has gone out; the client's end is still to come."""

    # The end

    @property
    def name(self) -> str:
        """Where it comes from, for the log."""
        return "somebody" if self.client is None else self.client.name

    @property
    def standing(self) -> Standing:
        """Whom it waits for now."""
        if self._waiting is not None or self._hung_up:
            return Standing.BUSY
        if self._replies_unread or self._at_eof:
            return Standing.UNREAD
        return Standing.IN_A_LINE if self._buffer else Standing.IDLE

    def drain(self) -> None:
        """Answer the requests that have been read, then hang up."""
        if self._hung_up or self._draining:
            return
        self._draining = True
        self.transport.pauseProducing()
        # What has come of a line that is not whole yet is no request.
        self._buffer = self._buffer[: self._buffer.rfind(self.delimiter) + 1]
        self._continue()

    def give_up(self) -> None:
        """Have the request that is being carried out answered now, with its failure."""
        if self._waiting is not None:
            self._waiting.cancel()

    def abandon(self) -> None:
        """
        Have the request that is being carried out answered now, with its failure, and hang up; what
        else was read is dropped. Where not even that helps, cut the connection.
        """
        late = self._waiting
        self._draining = True
        self.clearLineBuffer()
        self.give_up()
        if self._waiting is late:
            # No answer came; or it was hung up on long ago, and is there all the same.
            self.transport.abortConnection()

    def _end(self) -> None:
        if self._at_eof:
            # TLS waits for its producer to have done.
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """
        Send what is to be sent, then our end, and wait for the client's.

        Closing at once while input is still unread would reset the connection, and the client
        could lose the replies that are on their way.
        """
        if self._hung_up:
            return
        self._hung_up = True
        self.setRawMode()
        self.clearLineBuffer()
        self.paused = False
        # A producer that is paused would keep the transport from ever ending.
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        end_sending(self.transport)
        self.factory.abort_later(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self.paused = True
        self.clearLineBuffer()
        self.factory.connection_lost(self)


class DriverFactory(Factory):
    """
    Makes the protocol of each connection, and ends them all.

    :param dispatch: one line, without its end, and who sent it -> one reply, without its end, or a
        Deferred of it; when that is cancelled it gives the reply that says so.
    :param too_large: makes the reply to a line over the limit.
    :param max_line: the most bytes of a line, without its end.
    :param connected: the address of a new connection -> who has made it.
    :param other_protocol: a connection's first line, who sent it, and what gives the address that
        it came to -> None, or, where that is another protocol than ours, all that is said before
        the end.
    :param last_resort: makes the reply where `dispatch` has failed, which it ought not to.
    """

    noisy = False

    def __init__(
        self,
        dispatch: Callable[[bytes, Any], bytes | Deferred[bytes]],
        too_large: Callable[[], bytes],
        clock: IReactorTime,
        max_line: int = 65536,
        connected: Callable[[IAddress | None], Client | None] = lambda address: None,
        other_protocol: Callable[[bytes, Any, Callable[[], Any]], bytes | None] = lambda *_: None,
        last_resort: Callable[[Failure], bytes] | None = None,
    ) -> None:
        self.dispatch = dispatch
        self.other_protocol = other_protocol
        self.last_resort = last_resort or LastResort(clock.seconds).line
        self.too_large = too_large
        self.max_line = max_line
        self.seconds = clock.seconds
        self.connections: set[DriverProtocol] = set()
        self.received_bytes = self.sent_bytes = 0
        self._connected = connected
        self._clock = clock
        self._aborts: dict[DriverProtocol, IDelayedCall] = {}
        self._when_empty: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> DriverProtocol:  # type: ignore[override]
        return DriverProtocol(self, self._connected(addr))

    def next_turn(self) -> Deferred[None]:
        """Fires when the reactor has seen to the other connections."""
        turn: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._clock.callLater(0, turn.callback, None)
        return turn

    def abort_later(self, connection: DriverProtocol) -> None:
        """Give the client of `connection` a while to close it too."""
        self._aborts[connection] = self._clock.callLater(
            LINGER_S, connection.transport.abortConnection
        )

    def connection_lost(self, connection: DriverProtocol) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        if connection.client is not None:
            connection.client.disconnected()
        abort = self._aborts.pop(connection, None)
        if abort is not None and abort.active():
            abort.cancel()
        if not self.connections:
            waiting, self._when_empty = self._when_empty, []
            for done in waiting:
                done.callback(None)

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
