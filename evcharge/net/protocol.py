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
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from evcharge.net.connections import Client, Connections
from evcharge.net.listening import Listening
from evcharge.net.receiver import FairLineReceiver
from evcharge.net.replies import LastReply
from evcharge.net.sending import end_sending, is_clear, sender
from evcharge.net.states import Standing, State
from evcharge.wire.last_resort import LastResort

READING, BUSY, UNREAD, DRAINING, LINGERING, GONE = State

MOST_UNSENT = 16 * 1024
"""Replies that are collected before they are sent, bytes: each copies those before it."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class DriverProtocol(Listening, FairLineReceiver):
    """
    One connection: it holds bytes and the order of replies, nothing about a user.

    ========= ==================== ======================== ========================================
    state     what comes is        lines that have come     until
    ========= ==================== ======================== ========================================
    READING   read                 are taken up             one has to be waited for: BUSY
    BUSY      read, up to one      are held back            its reply is there, or the others have
              line's limit                                  had their turn: READING
    UNREAD    not read             are held back            the client has read its replies: BUSY or
                                                            READING
    DRAINING  not read             are taken up, and held   all are answered: LINGERING
                                   back for the same
                                   reasons
    LINGERING read, and dropped    are dropped              the client has closed too, or after
                                                            `LINGER_S`: GONE
    GONE      -                    are dropped              -
    ========= ==================== ======================== ========================================

    UNREAD is entered from READING and BUSY whenever the transport's buffer is full. The end of the
    client's half leads to DRAINING, as the server's own end does; a line too long, a last reply,
    another protocol and a timeout lead to LINGERING at once, where :data:`LINGER_S` of
    :mod:`.connections` begin; the loss of the connection leads to GONE. :meth:`_enter` alone
    pauses, resumes and hangs up.

    Replies are sent when no more lines can be taken up: those ready together go out together.
    """

    factory: DriverFactory
    transport: Any

    state = READING
    _request: Deferred[Any] | None = None
    """What the next line waits for: the reply to the last one, or the others' turn."""
    _replies_unread = False
    """Whether the transport's buffer is full."""
    _client_ended = False
    _is_read = True

    _unsent = b""
    """Replies that are ready."""

    _begun = False
    """Whether a line has come that says which protocol the client speaks."""

    seen: tuple[Standing, int, float] | None = None
    """How it stood when it was last looked at, at which progress, and since when: see
    :mod:`evcharge.net.guards.timeouts`."""

    def __init__(self, factory: DriverFactory, client: Client | None = None) -> None:
        self.factory = factory
        self.client = client

    # States

    def _enter(self, state: State) -> None:
        """Be in `state` from now on: pause, resume and hang up as it wants it."""
        before, self.state = self.state, state
        if state is DRAINING or self._has_ended:
            self.listen(None)
        if state is READING:
            self.paused = False
            if not self._is_read:
                self._read(True)
        elif state is BUSY:
            self.paused = True
            if self.left > self.factory.max_line:
                # Until the lines that have come are taken up.
                self._read(False)
        elif state is UNREAD:
            self.paused = True
            self._read(False)
        elif state is DRAINING:
            self.paused = self._request is not None or self._replies_unread
            self._read(False)
        elif state is LINGERING:
            self.paused = True
            if before is not LINGERING:
                self.clearLineBuffer()
                self._send()
                # TLS waits for its producer to have done, any transport for one that is paused.
                self.transport.unregisterProducer()
            self._hang_up()
        else:
            self.paused = True
            self.clearLineBuffer()
            self._unsent = b""

    def _read(self, wanted: bool) -> None:
        if wanted is not self._is_read:
            self._is_read = wanted
            if wanted:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _hang_up(self) -> None:
        if self._client_ended:
            self.transport.loseConnection()
        else:
            # Closing at once while input is still unread would reset the connection, and the client
            # could lose the replies that are on their way.
            self._read(True)
            end_sending(self.transport)
            self.factory.abort_later(self)

    def _wait(self) -> None:
        """Hold the next line back, for the request that there is or for the client to read."""
        if self.state is DRAINING:
            self._enter(DRAINING)
        elif not self._has_ended:
            self._enter(UNREAD if self._replies_unread else BUSY)

    def _go_on(self) -> None:
        """Take up the next line, unless something holds it back."""
        if self._request is None and not self._replies_unread:
            self.paused = False
            # Where a reply was there at once, whoever took up its line goes on with the next.
            if not self._taking_lines:
                self._take_up()
        else:
            self._send()

    @property
    def _has_ended(self) -> bool:
        """Whether nothing more will be said."""
        return self.state is LINGERING or self.state is GONE

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
        if not self.paused:
            self._buffer += data
            if not self._taking_lines:
                self._take_up()
        elif not self._has_ended:
            self._buffer += data
            self._wait()

    def before_next_line(self, turn_is_over: bool) -> None:
        if len(self._unsent) > MOST_UNSENT:
            self._send()
        if turn_is_over:
            self._request = self.factory.next_turn().addBoth(self._next_turn)
            self._wait()

    def _take_up(self) -> None:
        """Take up lines, send the replies that are ready, and enter the state that follows."""
        if self._buffer:
            self.take_lines()
        if self._unsent:
            self._send()
        if self.paused:
            return
        if len(self._buffer) > self.factory.max_line + self._buffer.endswith(b"\r"):
            # Whatever its end. Of a carriage return it is not known whether that belongs to it.
            self.lineLengthExceeded(self._buffer)
        elif self.state is DRAINING:
            self._enter(LINGERING)
        elif self.state is not READING:
            # What is left is part of a line, whose rest must come for it to be judged.
            self._enter(READING)

    def _next_turn(self, ignored: None) -> None:
        self._request = None
        if not self._has_ended:
            self._go_on()

    # Lines -> replies

    def lineReceived(self, line: bytes) -> None:
        if line.endswith(b"\r"):
            line = line[:-1]
        if len(line) > self.factory.max_line:
            self.lineLengthExceeded(line)
            return
        if not self._begun:
            line = self._begin(line)
        if not line or line.isspace():
            self.skip_blank_lines()
            return
        try:
            reply: Any = self.factory.dispatch(line, self.client)
        except Exception:
            reply = self.factory.last_resort(Failure())
        # An abstract class, for which isinstance() would look for registered ones.
        if type(reply) is Deferred:
            self._request = reply
            self._enter(DRAINING if self.state is DRAINING else BUSY)
            reply.addBoth(self._answer)
        else:
            self._unsent += reply + b"\n"
            if type(reply) is not bytes:
                self._heed(reply)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._unsent += self.factory.too_large() + b"\n"
        self.hang_up()

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
        self._unsent = last
        self.hang_up()
        return b""

    def _answer(self, reply: bytes | Failure) -> None:
        """Send a reply that was waited for, and take up the next line."""
        self._request = None
        try:
            if isinstance(reply, Failure):
                reply = self.factory.last_resort(reply)
            if not self._has_ended:
                self._unsent += reply + b"\n"
                if type(reply) is not bytes:
                    self._heed(reply)
                self._go_on()
        except Exception:
            # It cannot be answered, and would wait for ever, and unseen.
            self.factory.last_resort(Failure())
            self.transport.abortConnection()

    def _heed(self, reply: Any) -> None:
        """Do what follows from a reply that is more than one."""
        if isinstance(reply, LastReply):
            self.hang_up()
        else:
            self.listen(None if self.state is DRAINING else reply)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, b""
        if unsent:
            self.factory.sent_bytes += len(unsent)
            self._write(unsent)

    # The client does not read, or has said all it wants to

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._replies_unread = True
        self._wait()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._replies_unread = False
        if self._request is not None or self._has_ended:
            self._wait()
        else:
            self._go_on()

    def readConnectionLost(self) -> None:
        """The client has closed its writing half; what it sent before is answered first."""
        self._client_ended = True
        if self.state is LINGERING:
            self._enter(LINGERING)
            return
        if self.left:
            # A last line without its end is a line all the same: `printf '{…}' | nc`.
            self._buffer += self.delimiter
        self._enter(DRAINING)
        self._go_on()

    def writeConnectionLost(self) -> None:
        """Our own hanging up has gone out; the client's end is still to come."""

    # The end

    @property
    def name(self) -> str:
        """Where it comes from, for the log."""
        return "somebody" if self.client is None else self.client.name

    @property
    def can_hear(self) -> bool:
        """Whether a line that is told now goes out at once, and stays in nobody's memory."""
        return not (self._replies_unread or self._has_ended) and is_clear(self.transport)

    def tell(self, line: bytes) -> None:
        """Send a line that is no reply, between two that are."""
        if self._unsent:
            self._unsent += line
            self._send()
        else:
            self.factory.sent_bytes += len(line)
            self._write(line)

    @property
    def standing(self) -> Standing:
        """Whom it waits for now."""
        if self._request is not None:
            return Standing.BUSY
        if self._replies_unread or self._client_ended or self.is_behind:
            return Standing.UNREAD
        if self.state is LINGERING:
            # That it does not end is for the server to see to.
            return Standing.BUSY
        if self._buffer:
            return Standing.IN_A_LINE
        return Standing.LISTENING if self.listens else Standing.IDLE

    def probe(self) -> None:
        """Where the client has closed its half, send a blank, which a reply may begin with."""
        if self._client_ended and not (self._has_ended or self._replies_unread):
            self._write(b" ")

    def drain(self) -> None:
        """Answer the requests that have been read, then hang up."""
        if self.state is DRAINING or self._has_ended:
            return
        # What has come of a line that is not whole yet is no request.
        self._buffer = self._buffer[: self._buffer.rfind(self.delimiter) + 1]
        self._enter(DRAINING)
        self._go_on()

    def give_up(self) -> None:
        """Have the request that is being carried out answered now, with its failure."""
        if self._request is not None:
            self._request.cancel()

    def abandon(self) -> None:
        """Give up, drop what else was read, and hang up; where that does not help, cut it."""
        late = self._request
        if not self._has_ended:
            self.clearLineBuffer()
            self._enter(DRAINING)
            self.give_up()
        if self._request is late:
            # No answer came; or it was hung up on long ago, and is there all the same.
            self.transport.abortConnection()

    def hang_up(self) -> None:
        """Send what is to be sent, then our end, and wait for the client's."""
        if not self._has_ended:
            self._enter(LINGERING)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._enter(GONE)
        self.factory.connection_lost(self)


class DriverFactory(Connections):
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
        super().__init__(clock)
        self.dispatch = dispatch
        self.other_protocol = other_protocol
        self.last_resort = last_resort or LastResort(clock.seconds).line
        self.too_large = too_large
        self.max_line = max_line
        self.received_bytes = self.sent_bytes = 0
        self._connected = connected

    def buildProtocol(self, addr: IAddress | None) -> DriverProtocol:  # type: ignore[override]
        return DriverProtocol(self, self._connected(addr))
