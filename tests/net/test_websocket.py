"""WebSocket in memory: frames become lines, and lines frames."""

import gc
import tracemalloc
from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from evcharge.net import websocket
from evcharge.net.connections import LINGER_S
from evcharge.net.protocol import DriverFactory, DriverProtocol
from evcharge.net.replies import LastReply
from evcharge.net.websocket import (
    GOING_AWAY,
    MOST_FRAGMENTS,
    PING_S,
    PINGS_PER_TURN,
    SILENT_S,
    SLICE,
    KeepAlive,
    WebSocket,
)
from evcharge.process.virtual_clock import VirtualClock
from evcharge.testing import MemoryTransport
from tests.support.examples import given
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    close,
    fragments,
    frame,
    frames,
)


def upper(line: bytes, client: object) -> bytes:
    """Answers a line."""
    return line.upper()


MOST = 1000
"""The longest message, bytes."""


class Turns(VirtualClock):
    """A clock on which nothing is done in the turn that asks for it."""

    TURN_S = 1e-6

    def callLater(self, delay: float, *more: Any, **named: Any) -> Any:
        return super().callLater(max(delay, self.TURN_S), *more, **named)

    def turn(self) -> None:
        self.advance(self.TURN_S)


class Lines:
    """A protocol of lines that keeps what it gets."""

    def __init__(self) -> None:
        self.got = b""
        self.hung_up = self.lost = 0

    def makeConnection(self, transport: WebSocket) -> None:
        self.transport = transport
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        assert data.endswith(b"\n")
        self.got += data

    def hang_up(self) -> None:
        self.hung_up += 1

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost += 1

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    @property
    def lines(self) -> list[bytes]:
        return self.got.split(b"\n")[:-1]


class Pausing(MemoryTransport):
    """A transport that hands nothing over while it is paused, as that of a socket."""

    producer: Any

    def take_frames(self) -> list[tuple[int, bytes]]:
        return frames(self.take())


class WebSocketCase(SynchronousTestCase):
    """One connection in memory."""

    def connect(self, inner: Any = None, most: int = MOST) -> None:
        self.clock = Turns()
        self.inner = Lines() if inner is None else inner
        self.closed: list[int] = []
        self.socket = WebSocket(
            self.inner, most, self.clock, lambda _, code: self.closed.append(code)
        )
        self.transport = Pausing()
        self.transport.protocol = self.socket
        self.socket.makeConnection(self.transport)

    def settle(self) -> None:
        """Have everything done that waits for its turn."""
        while self.clock.getDelayedCalls():
            self.clock.turn()

    def take(self) -> list[tuple[int, bytes]]:
        return self.transport.take_frames()

    def code_of_close(self) -> int:
        """The code of the Close that is all that the server has sent."""
        ((opcode, data),) = self.take()
        self.assertEqual(opcode, CLOSE)
        return int.from_bytes(data[:2], "big")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces."""
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


class FramingTests(WebSocketCase):
    """A message is a line, whatever frames and chunks it comes in."""

    @given(
        st.lists(
            st.tuples(
                st.binary(max_size=MOST) | st.text(max_size=MOST // 4).map(str.encode),
                st.lists(st.integers(0, MOST), max_size=MOST_FRAGMENTS - 1),
                st.sampled_from([TEXT, BINARY]),
                st.lists(st.sampled_from([PING, PONG]), max_size=3),
            ),
            max_size=5,
        ),
        st.lists(st.integers(0, 10**6), max_size=30),
    )
    def test_any(self, messages: list, chunks: list[int]) -> None:
        """Any message, cut into fragments and chunks anywhere, among pings, is the message."""
        self.connect()
        sent, pings = b"", []
        for number, (message, places, opcode, between) in enumerate(messages):
            pieces = fragments(cut(message, places), opcode)
            for at, control in enumerate(between):
                ping = b"%d %d" % (number, at)
                pieces.insert(at * 2, frame(control, ping))
                if control == PING:
                    pings.append((PONG, ping))
            sent += b"".join(pieces)
        for chunk in cut(sent, chunks):
            self.socket.dataReceived(chunk)
        self.settle()
        self.assertEqual(self.inner.lines, [each[0].replace(b"\n", b" ") for each in messages])
        self.assertEqual(self.take(), pings)
        self.assertFalse(self.socket.is_in_a_message)
        self.assertEqual(self.closed, [])

    def test_byte_by_byte(self) -> None:
        """What comes a byte at a time is in a message until that is whole."""
        self.connect()
        for byte in (sent := fragments([b"a", b"", b"b" * 200, b"c"]))[0] + b"".join(sent[1:]):
            self.assertEqual(self.inner.lines, [])
            self.socket.dataReceived(bytes([byte]))
            self.assertEqual(self.socket.is_in_a_message, not self.inner.got)
        self.assertEqual(self.inner.lines, [b"a" + b"b" * 200 + b"c"])

    def test_sizes(self) -> None:
        """Lines of each length are one frame each, of the shortest head."""
        self.connect()
        lengths = [0, 1, 125, 126, 127, 65535, 65536, 70000]
        for length in lengths:
            self.socket.write(b"x" * length + b"\n")
        self.assertEqual(self.take(), [(TEXT, b"x" * length) for length in lengths])

    def test_lines(self) -> None:
        """Lines that are written together are a message each."""
        self.connect()
        self.socket.write(b"one\ntwo\n\nfour\n")
        self.socket.writeSequence([b"fi", b"ve\nsix\n"])
        sent = [b"one", b"two", b"", b"four", b"five", b"six"]
        self.assertEqual(self.take(), [(TEXT, each) for each in sent])

    def test_longest(self) -> None:
        """A message as long as may be is taken, in one frame or in many."""
        self.connect()
        for pieces in ([b"x" * MOST], [b"x" * (MOST - 62), b"", *[b"x"] * 62]):
            self.socket.dataReceived(b"".join(fragments(pieces)))
        self.assertEqual(self.inner.lines, [b"x" * MOST] * 2)

    def test_large_chunk(self) -> None:
        """A megabyte that comes at once is taken up in turns, and not read beyond it meanwhile."""
        self.connect()
        self.patch(websocket, "TURN_S", 0.0)
        one = frame(TEXT, b"x" * 100)
        most = SLICE // len(one) + 1
        before, turns = 0, 0
        self.socket.dataReceived(one * 10_000)
        while len(self.inner.lines) < 10_000:
            self.assertLessEqual(len(self.inner.lines) - before, most)
            self.assertEqual(self.transport.producerState, "paused")
            before = len(self.inner.lines)
            self.clock.turn()
            turns += 1
        self.assertEqual(turns, 10_000 * len(one) // SLICE)
        self.assertEqual(self.transport.producerState, "producing")

    def test_paused(self) -> None:
        """What has come for one who wants nothing more waits, and nothing more is read."""
        self.connect()
        self.socket.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.socket.dataReceived(frame(TEXT, b"x" * 500) * 100)
        self.settle()
        self.assertEqual(self.inner.lines, [])
        self.socket.resumeProducing()
        self.settle()
        self.assertEqual(len(self.inner.lines), 100)
        self.assertEqual(self.transport.producerState, "producing")


class HostileFrameTests(WebSocketCase):
    """What is against the rules ends a connection, by a Close that says why."""

    def refused(self, code: int, *sent: bytes, most: int = MOST) -> None:
        """`sent` is answered by a Close alone; nothing of it, or behind it, is a line."""
        self.connect(most=most)
        for chunk in sent:
            self.socket.dataReceived(chunk)
        self.socket.dataReceived(frame(TEXT, b"late") + frame(PING) + close(1000))
        self.settle()
        self.assertEqual(self.code_of_close(), code)
        self.assertEqual(self.inner.lines, [])
        self.assertEqual(self.closed, [code])
        self.assertEqual(self.inner.hung_up, 1)
        self.assertTrue(self.transport.write_closed)
        self.socket.write(b"late\n")
        self.socket.ping()
        self.assertEqual(self.take(), [])
        # The end of the client's half is all that is waited for.
        self.assertFalse(self.transport.disconnecting)
        self.socket.readConnectionLost()
        self.assertTrue(self.transport.disconnecting)
        self.socket.connectionLost(Failure(ConnectionError()))
        self.assertEqual(self.inner.lost, 1)
        self.assertEqual(self.closed, [code])

    def test_protocol(self) -> None:
        """Frames that no client may send: 1002."""
        for sent in (
            frame(TEXT, b"x", mask=None),
            *(frame(TEXT, b"x", reserved=bits) for bits in (1, 2, 4)),
            *(frame(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
            *(frame(opcode, b"x" * 126) for opcode in (CLOSE, PING, PONG)),
            *(frame(opcode, b"x", final=False) for opcode in (PING, PONG)),
            frame(CONT, b"x"),
            frame(TEXT, b"x", final=False) + frame(TEXT, b"y"),
            frame(TEXT, b"x", final=False) + close(1000),
            frame(CLOSE, b"\x03"),
            *(close(code) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)),
        ):
            with self.subTest(sent=sent):
                self.refused(1002, sent)

    def test_close_text(self) -> None:
        """A Close whose reason is not UTF-8: 1007."""
        self.refused(1007, frame(CLOSE, b"\x03\xe8\xff"))

    def test_too_long(self) -> None:
        """A message over the limit, as soon as a head says so: 1009."""
        self.refused(1009, frame(TEXT, b"x" * (MOST + 1)))
        self.refused(1009, frame(TEXT, b"x" * (MOST + 1))[:4])
        self.refused(1009, frame(TEXT, b"x" * 70_000)[:10])
        self.refused(1009, b"\x81\xff" + b"\x7f" + b"\xff" * 7)
        self.refused(1009, *fragments([b"x" * 600, b"x" * 401]))

    def test_too_many_fragments(self) -> None:
        """More fragments than a message may have, though they be of nothing: 1008."""
        self.refused(1008, *fragments([b""] * (MOST_FRAGMENTS + 1)))
        self.refused(1008, b"".join(fragments([b"x"] * (MOST_FRAGMENTS + 5))))
        self.connect()
        self.socket.dataReceived(b"".join(fragments([b"x"] * MOST_FRAGMENTS)))
        self.assertEqual(self.inner.lines, [b"x" * MOST_FRAGMENTS])

    def test_answered_before(self) -> None:
        """What came before it, though at once with it, is a line, and answered before the Close."""
        factory = DriverFactory(upper, lambda: b"too large", VirtualClock(), MOST)
        self.connect(DriverProtocol(factory))
        self.socket.dataReceived(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(TEXT, mask=None))
        first, second, (opcode, data) = self.take()
        self.assertEqual([first, second], [(TEXT, b"A"), (TEXT, b"B")])
        self.assertEqual((opcode, data[:2]), (CLOSE, b"\x03\xea"))

    @given(st.lists(st.binary(max_size=200), max_size=5))
    def test_any_bytes(self, chunks: list[bytes]) -> None:
        """Whatever bytes come, no error does, and at most one Close, at the end."""
        self.connect()
        for chunk in chunks:
            self.socket.dataReceived(chunk)
        self.settle()
        sent = self.take()
        self.assertNotIn(CLOSE, [opcode for opcode, _ in sent[:-1]])
        self.assertEqual(len(self.closed), any(opcode == CLOSE for opcode, _ in sent))

    def test_endless(self) -> None:
        """Of a message that begins as a small one and never ends nothing much is kept."""
        for piece in (frame(CONT, b"", final=False), frame(CONT, b"x" * 10, final=False)):
            self.connect()
            self.socket.dataReceived(frame(TEXT, b"", final=False))
            gc.collect()
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            for _ in range(2000):
                self.socket.dataReceived(piece * 50)
            kept = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            self.assertLess(kept, 100_000)
            self.assertEqual(self.code_of_close(), 1008)


class ClosingTests(WebSocketCase):
    """How a connection ends."""

    def drivers(self, dispatch: Any, clock: VirtualClock | None = None) -> DriverFactory:
        factory = DriverFactory(dispatch, lambda: b"too large", clock or VirtualClock(), MOST)
        self.connect(DriverProtocol(factory))
        return factory

    def test_client(self) -> None:
        """A client's Close is answered by the same, and what it still had coming is dropped."""
        self.connect()
        for said in (b"\x03\xe8bye", b"\x0f\xa0", b""):
            with self.subTest(said=said):
                self.connect()
                self.socket.dataReceived(frame(TEXT, b"x") + frame(CLOSE, said) + frame(TEXT, b"y"))
                self.assertEqual(self.inner.lines, [b"x"])
                self.socket.write(b"late\n")
                self.assertEqual(self.take(), [(CLOSE, said)])
                self.assertTrue(self.transport.write_closed)
                self.assertEqual(self.closed, [int.from_bytes(said[:2] or b"\x03\xed", "big")])

    def test_server(self) -> None:
        """The server's Close says its code, and then nothing more; the client's ends it."""
        self.connect()
        self.socket.close_code = GOING_AWAY
        self.socket.loseWriteConnection()
        self.assertEqual(self.code_of_close(), 1001)
        self.assertFalse(self.transport.write_closed)
        self.socket.write(b"late\n")
        self.socket.dataReceived(frame(TEXT, b"late"))
        self.assertEqual((self.inner.lines, self.take()), ([], []))
        self.socket.dataReceived(close(1001))
        self.assertTrue(self.transport.write_closed)
        self.assertEqual(self.closed, [1001])

    def test_gone(self) -> None:
        """A client that just goes has closed abnormally: 1006, once."""
        for end in ("readConnectionLost", "connectionLost"):
            self.connect()
            getattr(self.socket, end)()
            if end == "readConnectionLost":
                self.assertTrue(self.transport.disconnecting)
                self.socket.connectionLost()
            self.assertEqual(self.closed, [1006])
            self.assertEqual(self.inner.lost, 1)

    def test_unanswered(self) -> None:
        """A Close that the client never answers counts by its own code when the connection goes."""
        self.connect()
        self.socket.close_code = GOING_AWAY
        self.socket.loseWriteConnection()
        self.socket.connectionLost()
        self.assertEqual(self.closed, [1001])

    def test_half_closed(self) -> None:
        """Who closes half of it without a Close is answered what it asked, then told 1000."""
        waiting: list[Deferred[bytes]] = []

        def later(line: bytes, client: object) -> Deferred[bytes]:
            waiting.append(Deferred())
            return waiting[-1].addCallback(lambda _: line.upper())

        factory = self.drivers(later)
        self.socket.dataReceived(frame(TEXT, b"a") + frame(TEXT, b"b"))
        # So much that it waits for its turn.
        self.socket.dataReceived(frame(TEXT, b"c") * 1000)
        self.socket.readConnectionLost()
        self.assertFalse(self.transport.disconnecting)
        while waiting:
            waiting.pop().callback(b"")
            factory._clock.advance(1)
        *replies, (opcode, data) = self.take()
        self.assertEqual(replies, [(TEXT, b"A"), (TEXT, b"B")] + [(TEXT, b"C")] * 1000)
        self.assertEqual((opcode, data), (CLOSE, b"\x03\xe8"))
        self.assertTrue(self.transport.disconnecting)
        self.socket.connectionLost()
        self.assertEqual(self.closed, [1006])

    def test_drained(self) -> None:
        """As the server ends, what was asked is answered, then comes its Close; later, the end."""
        clock = VirtualClock()
        factory = self.drivers(upper, clock)
        self.socket.dataReceived(frame(TEXT, b"a"))
        self.socket.close_code = GOING_AWAY
        done = factory.drain()
        first, (opcode, data) = self.take()
        self.assertEqual((first, opcode, data[:2]), ((TEXT, b"A"), CLOSE, b"\x03\xe9"))
        self.assertNoResult(done)
        clock.advance(LINGER_S)
        self.assertTrue(self.transport.aborted)
        self.socket.connectionLost()
        self.successResultOf(done)

    def test_last_reply_and_close(self) -> None:
        """Who is hung up on, and says Close at once with what that is for, gets both in order."""
        self.drivers(lambda line, client: LastReply(line.upper()))
        self.socket.dataReceived(frame(TEXT, b"a") + close(1000))
        first, (opcode, _) = self.take()
        self.assertEqual((first, opcode), ((TEXT, b"A"), CLOSE))
        self.assertTrue(self.transport.write_closed)

    def test_last_reply(self) -> None:
        """After a last reply comes a Close: 1008."""
        self.drivers(lambda line, client: LastReply(line.upper()))
        self.socket.dataReceived(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(PING, b"c"))
        first, *_, (opcode, data) = self.take()
        self.assertEqual((first, opcode, data[:2]), ((TEXT, b"A"), CLOSE, b"\x03\xf0"))

    def test_together(self) -> None:
        """Replies to messages that came together go out together; a single one at once."""
        self.drivers(upper)
        writes = []
        self.socket._send = writes.append
        self.socket.dataReceived(frame(TEXT, b"x") * 16)
        self.assertEqual([len(frames(each)) for each in writes], [16])
        self.socket.dataReceived(frame(TEXT, b"x"))
        self.assertEqual([len(frames(each)) for each in writes], [16, 1])


class FloodTests(WebSocketCase):
    """A client that asks for pongs and never reads them."""

    def test_pings(self) -> None:
        """It is read no more once the transport is full, and again when it has read them."""
        factory = DriverFactory(upper, lambda: b"too large", VirtualClock(), MOST)
        self.connect(DriverProtocol(factory))
        self.socket.dataReceived(frame(PING, b"x" * 125))
        self.transport.producer.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.transport.producer.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")


class KeepAliveTests(SynchronousTestCase):
    """Clients are asked whether they are there."""

    def setUp(self) -> None:
        self.clock = Turns()
        self.alive = KeepAlive(self.clock)

    def connect(self) -> tuple[WebSocket, Pausing]:
        made = WebSocket(Lines(), 1000, self.clock, lambda one, _: self.alive.remove(one))
        transport = Pausing()
        transport.protocol = made
        made.makeConnection(transport)
        self.alive.add(made)
        return made, transport

    def pinged(self, transport: StringTransport) -> int:
        sent = transport.take_frames()
        self.assertEqual({opcode for opcode, _ in sent} - {PING}, set())
        return len(sent)

    def test_pings(self) -> None:
        """Every 30 s, each client; who answers goes on."""
        one, there = self.connect()
        for _ in range(10):
            self.clock.advance(PING_S - 0.1)
            self.assertEqual(self.pinged(there), 0)
            self.clock.advance(0.1)
            self.assertEqual(self.pinged(there), 1)
            one.dataReceived(frame(PONG))
        self.assertFalse(there.aborted)

    def test_silent(self) -> None:
        """Who does not answer for 60 s is aborted, whatever else it sends."""
        one, there = self.connect()
        for _ in range(int(SILENT_S / 10) - 1):
            self.clock.advance(10)
            one.dataReceived(frame(PING) + frame(TEXT, b"x"))
            there.take()
        self.assertFalse(there.aborted)
        self.clock.advance(10)
        self.assertTrue(there.aborted)
        one.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_read(self) -> None:
        """Who is not read cannot be heard, and is not silent."""
        one, there = self.connect()
        one.pauseProducing()
        self.clock.pump([10.0] * 30)
        self.assertFalse(there.aborted)
        one.resumeProducing()
        self.clock.pump([10.0] * 5)
        self.assertFalse(there.aborted)
        self.clock.pump([10.0] * 4)
        self.assertTrue(there.aborted)

    def test_many(self) -> None:
        """One timer is enough for all; of very many some are asked in each turn."""
        everybody = [self.connect() for _ in range(PINGS_PER_TURN * 3)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(PING_S)
        asked = [self.pinged(there) for _, there in everybody]
        self.assertEqual(sum(asked), PINGS_PER_TURN)
        self.clock.pump([2 * Turns.TURN_S] * 2)
        self.assertEqual([self.pinged(there) for _, there in everybody][PINGS_PER_TURN:], [1] * 200)
        for one, _ in everybody:
            one.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
