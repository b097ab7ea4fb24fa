"""Lines in, replies out: order, limits, half-closing, draining."""

import json
import socket

from hypothesis import settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from evcharge.net.connections import LINGER_S
from evcharge.net.protocol import MOST_UNSENT, DriverFactory, Standing, State
from evcharge.net.receiver import LINES_PER_TURN, TURN_S
from evcharge.testing import MemoryServer, MemoryTransport
from tests.support.examples import given


class DriverProtocolTests(SynchronousTestCase):
    """One connection over a transport in memory; a dispatch that answers when it is told to."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[bytes, Deferred[bytes]]] = []
        self.factory = DriverFactory(self.dispatch, lambda: b"too large", self.clock, 10)
        self.protocol = self.factory.buildProtocol(None)
        self.transport = MemoryTransport()
        self.protocol.makeConnection(self.transport)

    def dispatch(self, line: bytes, client: object) -> Deferred[bytes]:
        done: Deferred[bytes] = Deferred(lambda d: d.callback(b"cancelled"))
        self.asked.append((line, done))
        if line == b"now":
            done.callback(b"at once")
        return done

    def answer(self, number: int) -> None:
        line, done = self.asked[number]
        done.callback(b"re:" + line)

    def test_one_after_another(self) -> None:
        """Pipelined requests are carried out one by one and answered in order."""
        self.protocol.dataReceived(b"a\nb\r\n\n  \nnow\nc")
        self.assertEqual([line for line, _ in self.asked], [b"a"])
        self.answer(0)
        self.answer(1)
        self.assertEqual([line for line, _ in self.asked], [b"a", b"b", b"now"])
        self.assertEqual(self.transport.take(), b"re:a\nre:b\nat once\n")
        self.protocol.dataReceived(b"d\n")
        self.answer(3)
        self.assertEqual(self.transport.take(), b"re:cd\n")

    def written(self) -> list[bytes]:
        """What is sent from now on, each piece by itself."""
        pieces: list[bytes] = []
        self.protocol._write = pieces.append
        return pieces

    def test_together(self) -> None:
        """Replies to lines that came together go out together."""
        pieces = self.written()
        self.protocol.dataReceived(b"now\n" * 16)
        self.assertEqual(pieces, [b"at once\n" * 16])

    def test_together_later(self) -> None:
        """So does a reply that was waited for with those that are ready behind it."""
        pieces = self.written()
        self.protocol.dataReceived(b"now\na\nnow\nnow\nb\nnow\n")
        self.assertEqual(pieces, [b"at once\n"])
        self.answer(1)
        self.assertEqual(pieces[1:], [b"re:a\n" + b"at once\n" * 2])
        self.answer(4)
        self.assertEqual(pieces[2:], [b"re:b\nat once\n"])

    def test_collected(self) -> None:
        """No more than a few replies are collected, and none for a client that does not read."""
        reply, pieces = b"x" * (MOST_UNSENT // 3), []

        def full(piece: bytes) -> None:
            pieces.append(piece)
            if len(pieces) == 2:
                self.protocol.pauseProducing()

        self.factory.dispatch = lambda line, client: reply
        self.protocol._write = full
        self.protocol.dataReceived(b"a\n" * 8)
        self.assertEqual(pieces, [(reply + b"\n") * 3] * 2)
        self.assertIs(self.protocol.state, State.UNREAD)
        self.protocol.resumeProducing()
        self.assertEqual(pieces[2:], [(reply + b"\n") * 2])
        self.assertIs(self.protocol.state, State.READING)

    def test_states(self) -> None:
        """Each state follows on what its row of the table says."""
        protocol = self.protocol
        states = [protocol.state]
        for step in (
            lambda: protocol.dataReceived(b"a\nb\n"),
            protocol.pauseProducing,
            protocol.resumeProducing,
            protocol.pauseProducing,
            lambda: self.answer(0),
            protocol.resumeProducing,
            lambda: self.answer(1),
            lambda: protocol.dataReceived(b"c\nd\n"),
            protocol.drain,
            lambda: self.answer(2),
            protocol.pauseProducing,
            lambda: self.answer(3),
            protocol.resumeProducing,
            protocol.connectionLost,
        ):
            step()
            states.append(protocol.state)
        self.assertEqual(
            [state.name for state in states],
            ["READING", "BUSY", "UNREAD", "BUSY", "UNREAD", "UNREAD", "BUSY", "READING", "BUSY"]
            + ["DRAINING"] * 4
            + ["LINGERING", "GONE"],
        )

    def test_hang_up_unread(self) -> None:
        """One whose last reply fills the transport's buffer is hung up on all the same, once."""

        def full(piece: bytes) -> None:
            self.transport.write(piece)
            self.protocol.pauseProducing()

        self.protocol._write = full
        self.protocol.dataReceived(b"x" * 12)
        self.assertEqual(self.transport.take(), b"too large\n")
        self.assertTrue(self.transport.write_closed)
        self.assertIs(self.protocol.state, State.LINGERING)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_turns(self) -> None:
        """One whose requests take long gives way to others sooner than one whose do not."""

        def slow(line: bytes, client: object) -> bytes:
            self.clock.rightNow += TURN_S / 2
            return b"."

        self.factory.dispatch = slow
        self.protocol.dataReceived(b"a\n" * 10)
        self.assertEqual(self.transport.take(), b".\n" * 3)
        self.clock.advance(0)
        self.assertEqual(self.transport.take(), b".\n" * 7)

    def test_turn_by_time(self) -> None:
        """A turn is over after 2 ms, however few the lines were."""

        def slow(line: bytes, client: object) -> bytes:
            self.clock.rightNow += 0.0011
            return b"."

        self.factory.dispatch = slow
        self.protocol.dataReceived(b"a\n" * 10)
        self.assertEqual(len(self.transport.take()) // 2, 3)

    def test_byte_order_mark(self) -> None:
        """A mark before the first line is no part of it, nor makes a line of a blank one."""
        mark = b"\xef\xbb\xbf"
        for first, lines in (
            (b"now\r\n", [b"now"]), (b"\nnow\n", [b"now"]), (b"\r\n", []), (b" \n" * 3, []),
        ):  # fmt: skip
            for size in (1, 2, 100):
                self.setUp()
                for start in range(0, len(mark + first), size):
                    self.protocol.dataReceived((mark + first)[start : start + size])
                self.assertEqual([line for line, _ in self.asked], lines)
                self.protocol.dataReceived(mark + b"now\n")
                self.assertEqual([line for line, _ in self.asked], [*lines, mark + b"now"])
        self.setUp()
        self.protocol.dataReceived(mark + b"now")
        self.protocol.readConnectionLost()
        self.assertEqual([line for line, _ in self.asked], [b"now"])

    def test_other_protocol(self) -> None:
        """One whose first line is of another protocol is told so, and hung up on."""
        shown: list[bytes] = []

        def other_protocol(line: bytes, client: object, host: object) -> bytes | None:
            shown.append(line)
            return b"goodbye" if line == b"hello" else None

        self.factory.other_protocol = other_protocol
        self.protocol.dataReceived(b"\n \nhello\nnow\n")
        self.assertEqual((self.transport.take(), self.asked), (b"goodbye", []))
        self.assertTrue(self.transport.write_closed)
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(MemoryTransport())
        self.protocol.dataReceived(b"now\nhello\n")
        self.assertEqual([line for line, _ in self.asked], [b"now", b"hello"])
        self.assertEqual(shown, [b"hello", b"now"])

    def assertIncident(self, reply: bytes, error: type[Exception]) -> None:
        """The constant reply, of which the log has the incident and the failure."""
        message = json.loads(reply)
        self.assertEqual(
            (message["type"], message["status"]["code"], message["data"]["reason"]),
            ("error", 500, "internal"),
        )
        self.assertEqual(list(message["data"]), ["message", "reason", "incident"])
        self.assertTrue(message["timestamp"].endswith("Z"))
        self.assertEqual(len(self.flushLoggedErrors(error)), 1)

    def test_dispatch_fails(self) -> None:
        """Where `dispatch` fails, now or later, there is a reply, and the next line is read."""

        def dispatch(line: bytes, client: object) -> Deferred[bytes]:
            if line == b"raise":
                raise ZeroDivisionError("secret")
            if line == b"fail":
                return fail(ValueError("secret"))
            return self.dispatch(line, client)

        self.factory.dispatch = dispatch
        self.protocol.dataReceived(b"raise\nnow\nfail\nnow\n")
        replies = self.transport.take().splitlines()
        self.assertEqual(replies[1::2], [b"at once"] * 2)
        self.assertIncident(replies[0], ZeroDivisionError)
        self.assertIncident(replies[2], ValueError)
        self.protocol.dataReceived(b"a\nnow\n")
        self.asked[-1][1].errback(KeyError("secret"))
        replies = self.transport.take().splitlines()
        self.assertEqual(replies[1:], [b"at once"])
        self.assertIncident(replies[0], KeyError)
        self.assertEqual(self.protocol.standing, Standing.IDLE)

    def test_fails_after_the_end(self) -> None:
        """A request that fails once its connection is lost is logged, and that is all."""
        self.protocol.dataReceived(b"a\nb\n")
        self.protocol.connectionLost()
        self.asked[0][1].errback(KeyError())
        self.assertEqual((self.transport.take(), len(self.asked)), (b"", 1))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_no_reply_at_all(self) -> None:
        """What is no reply ends the connection, which else would wait for ever, and unseen."""
        self.protocol.dataReceived(b"a\nb\n")
        self.asked[0][1].callback(None)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_half_close(self) -> None:
        """After the client's end every reply is sent, the last line's too, then ours follows."""
        self.protocol.dataReceived(b"a\nb")
        self.protocol.readConnectionLost()
        self.assertFalse(self.transport.disconnecting)
        self.answer(0)
        self.assertFalse(self.transport.disconnecting)
        self.answer(1)
        self.assertEqual(self.transport.take(), b"re:a\nre:b\n")
        self.assertTrue(self.transport.disconnecting)

    def test_half_close_at_once(self) -> None:
        """Replies that are there at once, as Deferreds, do not end what comes behind them."""
        self.protocol.dataReceived(b"a\nnow\nnow\nnow")
        self.protocol.readConnectionLost()
        self.answer(0)
        self.assertEqual(self.transport.take(), b"re:a\n" + b"at once\n" * 3)
        self.assertTrue(self.transport.disconnecting)

    def test_nothing_sent(self) -> None:
        """A client that says nothing and closes is closed."""
        self.protocol.readConnectionLost()
        self.assertTrue(self.transport.disconnecting)

    def test_too_long(self) -> None:
        """A line over the limit gets its reply in order, then the client is hung up on."""
        self.protocol.dataReceived(b"0123456789\r\na\n")
        self.protocol.dataReceived(b"x" * 12)
        self.answer(0)
        self.answer(1)
        self.assertEqual(self.transport.take(), b"re:0123456789\nre:a\ntoo large\n")
        self.assertTrue(self.transport.write_closed)
        self.protocol.dataReceived(b"more\nlines\n")
        self.assertEqual(len(self.asked), 2)
        self.assertEqual(LINGER_S, 5)
        self.clock.advance(4.9)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.aborted)

    def test_too_long_by_one(self) -> None:
        """Eleven bytes are too long where ten are the limit, whether or not their end has come."""
        for line in (
            *(b"0123456789a\n", b"0123456789a\r\n", b"0123456789abcdef\nnow\n"),
            *(b"0123456789a", b"0123456789\r\r"),
        ):
            self.setUp()
            self.protocol.dataReceived(line)
            self.assertEqual(self.transport.take(), b"too large\n")
            self.assertEqual(self.asked, [])
            self.protocol.readConnectionLost()
            self.assertTrue(self.transport.disconnecting)

    def test_unread_replies(self) -> None:
        """A client that does not read its replies is not read from, until it does."""
        self.protocol.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.protocol.dataReceived(b"now\n")
        self.assertEqual(self.asked, [])
        self.protocol.resumeProducing()
        self.assertEqual(self.transport.take(), b"at once\n")
        self.assertEqual(self.transport.producerState, "producing")

    def test_unread_while_waiting(self) -> None:
        """Both a request under way and unread replies hold the next line back."""
        self.protocol.dataReceived(b"a\nb\n")
        self.protocol.pauseProducing()
        self.protocol.resumeProducing()
        self.assertEqual(len(self.asked), 1)
        self.protocol.pauseProducing()
        self.answer(0)
        self.assertEqual(len(self.asked), 1)
        self.protocol.resumeProducing()
        self.assertEqual(len(self.asked), 2)

    def test_bounded(self) -> None:
        """While a request is under way, no more than a line's limit is read ahead."""
        self.protocol.dataReceived(b"a\n" + b"b\n" * 6)
        self.assertEqual(self.transport.producerState, "paused")
        self.answer(0)
        self.assertEqual(self.transport.producerState, "paused")
        for number in range(1, 7):
            self.answer(number)
        self.assertEqual(self.transport.producerState, "producing")

    def test_full_buffer(self) -> None:
        """A line that fills what may be read ahead does not keep its own end from coming."""
        self.protocol.dataReceived(b"a\n0123456789\r")
        self.answer(0)
        self.assertEqual(self.transport.producerState, "producing")
        self.protocol.dataReceived(b"\n")
        self.answer(1)
        self.assertEqual(self.transport.take(), b"re:a\nre:0123456789\n")

    def test_blank_lines(self) -> None:
        """Any number of blank lines is dropped at once, and nothing of the line behind them."""
        self.protocol.dataReceived(b" \n\r\n\t\v\f\n\n" * LINES_PER_TURN + b"now\n\n\n \n  \n")
        self.assertEqual([line for line, _ in self.asked], [b"now"])
        self.assertEqual(self.protocol.lines, 3)
        self.protocol.dataReceived(b"\n\n no")
        self.protocol.dataReceived(b"w\n")
        self.assertEqual([line for line, _ in self.asked], [b"now", b" now"])

    def test_fair(self) -> None:
        """After some lines the other connections get their turn, blank lines counted."""
        self.protocol.dataReceived(b"now\n" * (LINES_PER_TURN - 1) + b"\nnow\n")
        self.assertEqual(len(self.asked), LINES_PER_TURN - 1)
        self.clock.advance(0)
        self.assertEqual(len(self.asked), LINES_PER_TURN)

    def test_lost(self) -> None:
        """Once the connection is lost nothing more is carried out or sent."""
        self.protocol.dataReceived(b"a\nb\n")
        self.protocol.connectionLost()
        self.answer(0)
        self.assertEqual((len(self.asked), self.transport.take()), (1, b""))
        self.assertEqual(self.factory.connections, set())

    def test_lost_unread(self) -> None:
        """A connection that was not read from is not read from again once it is lost."""
        self.protocol.dataReceived(b"a\n" + b"b\n" * 6)
        self.protocol.connectionLost()
        self.answer(0)
        self.assertEqual(self.transport.producerState, "paused")

    def test_drain(self) -> None:
        """To drain is to answer what was read, hang up, and wait for the client to go."""
        self.protocol.dataReceived(b"a\nb\nhalf")
        drained = self.factory.drain()
        self.assertEqual(self.transport.producerState, "paused")
        self.answer(0)
        self.assertFalse(self.transport.write_closed)
        self.answer(1)
        self.assertEqual(self.transport.take(), b"re:a\nre:b\n")
        self.assertTrue(self.transport.write_closed)
        self.assertNoResult(drained)
        self.protocol.connectionLost()
        self.successResultOf(drained)
        self.assertEqual(len(self.asked), 2)

    def test_drain_half_a_line(self) -> None:
        """Half a line is no request, though the client closes its half behind it."""
        self.protocol.dataReceived(b"a\nhalf")
        self.factory.drain()
        self.protocol.readConnectionLost()
        self.answer(0)
        self.assertEqual([line for line, _ in self.asked], [b"a"])
        self.assertEqual(self.transport.take(), b"re:a\n")
        self.assertTrue(self.transport.disconnecting)

    def test_drain_late(self) -> None:
        """What is not answered in time is answered with the failure of its cancelling."""
        self.protocol.dataReceived(b"a\nnow\n")
        self.factory.drain()
        self.factory.give_up()
        self.assertEqual(self.transport.take(), b"cancelled\nat once\n")
        self.assertTrue(self.transport.write_closed)
        self.factory.abort()
        self.assertTrue(self.transport.aborted)

    def test_drain_nobody(self) -> None:
        """With no connection there is nothing to wait for."""
        self.protocol.connectionLost()
        self.successResultOf(self.factory.drain())

    @settings(deadline=None)
    @given(
        st.lists(
            st.sampled_from([b"now", b"", b" ", b"\r", b"\t\v\f ", b" now", b"x" * 10]),
            max_size=200,
        ),
        st.data(),
    )
    def test_any_chunks(self, lines: list[bytes], data: st.DataObject) -> None:
        """However the bytes are cut up, each line that is not blank is carried out once."""
        self.setUp()
        stream = b"".join(line + b"\n" for line in lines)
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            self.protocol.dataReceived(stream[:size])
            stream = stream[size:]
        answered = 0
        for _ in range(len(lines) + 2):
            self.clock.advance(0)
            for number in range(answered, len(self.asked)):
                if not self.asked[number][1].called:
                    self.answer(number)
                answered = number + 1
        self.assertEqual([line for line, _ in self.asked], [line for line in lines if line.strip()])


class ShutDownTests(SynchronousTestCase):
    """The server's end, seen through the controller."""

    def test_unavailable(self) -> None:
        """A request that is given up is answered 503, with its id; so is one that comes later."""
        waiting: list[Deferred[object]] = []

        def never(f: object, *args: object) -> Deferred[object]:
            waiting.append(Deferred())
            return waiting[-1]

        server = MemoryServer(in_thread=never)
        protocol, transport = server.connect()
        line = (
            b'{"type":"NAVIGATION","data":{"user_id":"x","route_distance":1},'
            b'"status":{},"timestamp":"","id":1}\n'
        )
        protocol.dataReceived(line * 2)
        server.factory.drain()
        server.controller.close()
        server.factory.give_up()
        replies = [json.loads(reply) for reply in transport.take().splitlines()]
        self.assertEqual([reply["status"]["code"] for reply in replies], [503, 503])
        self.assertEqual([reply["id"] for reply in replies], [1, 1])
        self.assertTrue(transport.write_closed)


class SocketTests(TestCase):
    """A connection over a real socket."""

    async def test_options(self) -> None:
        """Replies do not wait for one another, and a client that has vanished is noticed."""
        asked: Deferred[None] = Deferred()

        def dispatch(line: bytes, client: object) -> bytes:
            reactor.callLater(0, asked.callback, None)
            return b"."

        factory = DriverFactory(dispatch, lambda: b"", reactor)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        with socket.create_connection(("127.0.0.1", port.getHost().port), 20) as client:
            client.sendall(b"a\n")
            await asked
            (connection,) = factory.connections
            self.assertTrue(connection.transport.getTcpNoDelay())
            self.assertTrue(connection.transport.getTcpKeepAlive())
            drained = factory.drain()
        await drained
