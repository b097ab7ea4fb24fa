"""WebSocket at a web port in memory: the handshake, and what a connection is held to."""

import gc
import json
import weakref
from typing import Any

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from evcharge.net.connections import LINGER_S
from evcharge.net.guards import IDLE, SLOW_LINE
from tests.support.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    close,
    fragments,
    frame,
    frames,
)
from tests.support.journey import login, outcome
from tests.support.messages import good_data
from tests.support.servers import LOGIN, request_line
from tests.support.sockets import Socket, SocketServer

START = request_line("START", limit=1)[:-1]


class SocketTestCase(SynchronousTestCase):
    """A server in memory, and clients of its web port."""

    def serve(self, *options: str, **more: Any) -> None:
        self.server = SocketServer(options=options, **more)

    def connect(self, upgrade: bytes = UPGRADE, host: str = "127.0.0.1") -> Socket:
        socket = Socket(self.server.web, host, upgrade)
        self.assertTrue(socket.head.startswith(b"HTTP/1.1 101 "), socket.head)
        return socket

    def replies(self, socket: Socket) -> list[dict[str, Any]]:
        return [json.loads(line) for line in socket.take().splitlines()]

    def reply(self, socket: Socket, frames: bytes) -> dict[str, Any]:
        """The one reply to some frames."""
        socket.send(frames)
        (reply,) = self.replies(socket)
        return reply


class HandshakeTests(SocketTestCase):
    """From HTTP to WebSocket."""

    def setUp(self) -> None:
        self.serve()

    def refused(self, upgrade: bytes) -> tuple[int, bytes, dict[str, Any]]:
        """The code, the head and the envelope that come instead of a connection."""
        socket = Socket(self.server.web, upgrade=upgrade)
        body = json.loads(socket._sent)
        code = int(socket.head.split()[1])
        self.assertEqual(body["status"]["code"], code)
        return code, socket.head.lower(), body

    def test_accepted(self) -> None:
        """The key is answered as RFC 6455 has it, with no subprotocol and no extension."""
        socket = self.connect(
            UPGRADE[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
            b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
        )
        self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", socket.head)
        self.assertNotIn(b"Extensions", socket.head)
        self.assertNotIn(b"Protocol:", socket.head)
        self.assertEqual(self.reply(socket, frame(TEXT, START))["status"]["code"], 200)

    def test_at_once(self) -> None:
        """What is sent with the request for it, or byte by byte, is read as well."""
        sent = UPGRADE + frame(TEXT, START) * 3
        socket = self.connect(sent)
        self.assertEqual(len(self.replies(socket)), 3)
        slow = Socket(self.server.web, upgrade=b"")
        for byte in sent:
            slow.protocol.dataReceived(bytes([byte]))
        slow._sent = slow.transport.take().partition(b"\r\n\r\n")[2]
        self.assertEqual(len(self.replies(slow)), 3)

    def test_refused(self) -> None:
        """A request that is no handshake is answered by HTTP, and says what would be one."""
        code, head, body = self.refused(UPGRADE.replace(b"GET", b"POST"))
        self.assertEqual((code, outcome(body)[1]), (405, "method_not_allowed"))
        self.assertIn(b"\nallow: get", head)
        for before, after, expected in (
            (b"Upgrade: websocket\r\n", b"", 426),
            (b"Upgrade: websocket", b"Upgrade: h2c", 426),
            (b"Connection: Upgrade\r\n", b"", 426),
            (b"Version: 13", b"Version: 8", 400),
            (b"Sec-WebSocket-Version: 13\r\n", b"", 400),
            (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", 400),
            (b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ=", 400),
            (b"dGhlIHNhbXBsZSBub25jZQ==", b"x" * 9000, 400),
            (b"Connection: Upgrade\r\n", b"Connection: Upgrade\r\n" * 200, 400),
            (b" HTTP/1.1", b" HTTP/1.0", 400),
        ):
            with self.subTest(before=before, after=after[:40]):
                code, head, body = self.refused(UPGRADE.replace(before, after))
                self.assertEqual(code, expected)
                self.assertIn(b"\nsec-websocket-version: 13", head)
                self.assertEqual(b"\nupgrade: websocket" in head, code == 426)

    def test_path(self) -> None:
        """What only begins like its path is another one, which there is not."""
        for path in (b"/api/v1/sockets", b"/api/v1/socket/"):
            code, _, body = self.refused(UPGRADE.replace(b"/api/v1/socket", path))
            self.assertEqual((code, outcome(body)[1]), (404, "unknown_path"))

    def test_kept_after_refusal(self) -> None:
        """A client that is told what it has done wrong may try again."""
        socket = Socket(self.server.web, upgrade=UPGRADE.replace(b"Upgrade: websocket\r\n", b""))
        self.assertIn(b" 426 ", socket.head)
        socket.protocol.dataReceived(UPGRADE)
        self.assertTrue(socket.transport.take().startswith(b"HTTP/1.1 101 "))

    def test_nothing_of_http(self) -> None:
        """Nothing is left of the request, nor of what read it, though no garbage is collected."""
        seen = []
        channel_of = self.server.web.buildProtocol

        def build(address: Any) -> Any:
            channel = channel_of(address)
            seen.append(weakref.ref(channel))
            return channel

        self.server.web.buildProtocol = build
        gc.disable()
        self.addCleanup(gc.enable)
        socket = self.connect()
        self.assertEqual([one() for one in seen], [None])
        self.assertEqual(self.server.web.connections, set())
        self.assertEqual(self.reply(socket, frame(TEXT, START))["status"]["code"], 200)

    def test_language(self) -> None:
        """Its texts are in the language that its handshake wishes for."""
        for path, head, message in (
            (b"", b"", "Sucesso"),
            (b"", b"Accept-Language: en-GB,pt;q=0.5\r\n", "Success"),
            (b"?lang=en", b"", "Success"),
            (b"?lang=pt", b"Accept-Language: en\r\n", "Sucesso"),
        ):
            upgrade = UPGRADE.replace(b"/socket", b"/socket" + path)[:-2] + head + b"\r\n"
            reply = self.reply(self.connect(upgrade), frame(TEXT, START))
            self.assertEqual(reply["status"]["message"], message)


class MessageTests(SocketTestCase):
    """A message is a request, and a reply is a message."""

    def setUp(self) -> None:
        self.serve()
        self.socket = self.connect()

    def test_kinds(self) -> None:
        """Text, binary, and fragments of either are read as UTF-8."""
        line = request_line("FLY", x="ação")[:-1]
        for sent in (
            frame(TEXT, line),
            frame(BINARY, line),
            b"".join(fragments([line[:20], line[20:57], b"", line[57:]])),
            b"".join(fragments([line[:20], line[20:]], BINARY)),
        ):
            self.assertEqual(outcome(self.reply(self.socket, sent)), (404, "unknown_type"))
        latin = line.replace("ação".encode(), "ação".encode("latin-1"))
        for opcode in (TEXT, BINARY):
            reply = self.reply(self.socket, frame(opcode, b'{"type":"\xff"}'))
            self.assertEqual(outcome(reply), (400, "invalid_json"))
        self.assertIn(outcome(self.reply(self.socket, frame(TEXT, latin)))[0], (400, 404))

    def test_line_feeds(self) -> None:
        """Line feeds inside a message are blanks; of nothing but blanks it is no request."""
        request = json.dumps(json.loads(START), indent=2).encode() + b"\n"
        self.assertEqual(self.reply(self.socket, frame(TEXT, request))["status"]["code"], 200)
        reply = self.reply(self.socket, frame(TEXT, START + b"\n" + START))
        self.assertEqual(outcome(reply), (400, "invalid_json"))
        self.socket.send(frame(TEXT, b"\n \r\n") + frame(TEXT))
        self.assertEqual(self.replies(self.socket), [])

    def test_order(self) -> None:
        """Replies keep the order of requests, and their ids."""
        self.socket.dataReceived(
            b"".join(
                b'{"type":"%b","data":{},"status":{},"timestamp":"","id":%d}\n' % (kind, number)
                for number, kind in enumerate([b"START", b"LOGIN", b"FLY"] * 50)
            )
        )
        while self.server.clock.getDelayedCalls()[0].getTime() <= self.server.clock.seconds():
            self.server.advance(0)
        self.assertEqual([each["id"] for each in self.replies(self.socket)], list(range(150)))

    def test_limit(self) -> None:
        """A message as long as a line may be is answered; a longer one by 1009, and no 413."""
        request = START.replace(b'"limit": 1', b'"limit": 1, "pad": "%b"')
        longest = request.replace(b"%b", b"x" * (65536 - len(request) + 2))
        self.assertEqual(len(longest), 65536)
        self.assertEqual(self.reply(self.socket, frame(TEXT, longest))["status"]["code"], 200)
        self.socket.send(frame(TEXT, longest + b" ")[:12])
        self.assertEqual((self.socket.take(), self.socket.closed), (b"", 1009))

    def test_same_as_tcp(self) -> None:
        """Whatever a message, its reply is byte for byte the line that TCP gives."""
        user = login(self.server, car="Tesla Model 3")
        for kind, data in good_data(user).items():
            if kind in ("LOGIN", "PAYMENT", "RESERVE", "SUBSCRIBE", "ARRIVE"):
                continue
            line = request_line(kind, **data)
            by_tcp, transport = super(SocketServer, self.server).connect()
            by_tcp.dataReceived(line)
            self.socket.dataReceived(line)
            self.assertEqual(self.socket.take(), transport.take(), kind)

    def test_other_protocols(self) -> None:
        """What looks like another protocol, which a line of TCP may be, is just no JSON."""
        for sent in (b"GET / HTTP/1.1", b"\x16\x03\x01\x02", b"SSH-2.0-x"):
            reply = self.reply(self.connect(), frame(BINARY, sent))
            self.assertEqual(outcome(reply), (400, "invalid_json"))

    def test_fault(self) -> None:
        """An internal fault is answered with its incident, and the connection stays."""

        def call(f: Any, *args: Any) -> Any:
            return fail(ZeroDivisionError())

        self.server = SocketServer(in_thread=call)
        socket = self.connect()
        for _ in range(2):
            socket.dataReceived(request_line("LOGIN", **LOGIN))
            (reply,) = self.replies(socket)
            self.assertEqual(outcome(reply), (500, "internal"))
            self.assertTrue(reply["data"]["incident"])
        self.assertEqual(self.reply(socket, frame(TEXT, START))["status"]["code"], 200)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))


class LimitTests(SocketTestCase):
    """The limits are those of all connections."""

    def end_of(self, socket: Socket) -> int | None:
        socket.take()
        return socket.closed

    def test_idle(self) -> None:
        """Pongs are life; pings of the client are not."""
        self.serve("--idle-timeout", "40")
        lives, pings = self.connect(), self.connect()
        for _ in range(50):
            self.server.advance(1)
            lives.take()
            pings.send(frame(PING))
            for opcode, data in pings.take_frames():
                if opcode == CLOSE:
                    pings.closed = int.from_bytes(data, "big")
        self.assertEqual((lives.closed, pings.closed), (None, 1008))
        self.assertEqual(self.server.refused, [IDLE])
        self.server.advance(LINGER_S)
        self.assertTrue(pings.transport.aborted)

    def test_silent(self) -> None:
        """Who sends no pong for a minute is cut off."""
        self.serve()
        lives, silent = self.connect(), self.connect()
        for _ in range(300):
            self.server.advance(1)
            lives.take()
        self.assertEqual((lives.pings, lives.transport.aborted), (10, False))
        self.assertTrue(silent.transport.aborted)

    def test_slow_message(self) -> None:
        """A message that is not ended in time is waited for no longer."""
        self.serve("--line-timeout", "5")
        for begun in (frame(TEXT, b"x" * 100)[:-1], frame(TEXT, b"x", final=False), b"\x81"):
            socket = self.connect()
            socket.send(begun)
            for _ in range(8):
                self.server.advance(1)
                if begun == frame(TEXT, b"x", final=False):
                    # Between fragments there may be some; they end no message.
                    socket.send(frame(PONG))
            self.assertEqual(self.end_of(socket), 1008)
        self.assertEqual(self.server.refused, [SLOW_LINE] * 3)

    def test_rate(self) -> None:
        """Its messages count as requests."""
        self.serve("--rate-per-connection", "5")
        socket = self.connect()
        socket.send(frame(TEXT, START) * 30)
        codes = [reply["status"]["code"] for reply in self.replies(socket)]
        self.assertIn(429, codes)
        self.assertEqual(codes[0], 200)

    def test_connections(self) -> None:
        """It counts as a connection, from the beginning to the end, whichever that is."""
        self.serve()
        addresses = self.server.guards.addresses
        for end in (
            lambda socket: socket.send(close(1000)),
            lambda socket: socket.send(frame(TEXT, mask=None)),
            lambda socket: socket.protocol.readConnectionLost(),
            lambda socket: None,
        ):
            socket = self.connect()
            self.assertEqual(addresses.connections, 1)
            end(socket)
            socket.protocol.connectionLost()
            self.assertEqual(addresses.connections, 0)

    def test_codes(self) -> None:
        """Connections are counted by the codes that ended them; what a client makes up is one."""
        self.serve()
        for code in (1000, 1001, 3000, 4000, 4999):
            self.connect().send(close(code))
        self.connect().protocol.connectionLost()
        counts = {1000: 1, 1001: 1, 3000: 3, 1006: 1}
        self.assertEqual(self.server.metrics.websockets_closed, counts)

    def test_drained(self) -> None:
        """As the server ends, replies go out, then Close 1001."""
        self.serve()
        socket = self.connect()
        socket.send(frame(TEXT, START) * 3)
        done = [each.drain() for each in self.server.web.context.drivers.values()]
        self.assertEqual(len(self.replies(socket)), 3)
        self.assertEqual(socket.closed, 1001)
        socket.send(close(1001))
        socket.protocol.connectionLost()
        for each in done:
            self.successResultOf(each)

    def test_events_forgotten(self) -> None:
        """A subscription ends with its connection."""
        self.serve()
        socket = self.connect()
        socket.dataReceived(request_line("SUBSCRIBE", topics=["stations"]))
        hub = self.server.engine.hub
        self.assertEqual(hub.listening["websocket"], 1)
        socket.send(close(1000))
        self.assertEqual(hub.listening["websocket"], 0)

    def test_one_frame(self) -> None:
        """What is told to many is framed once, for all whose subscription has the same id."""
        self.serve()
        sockets = [self.connect() for _ in range(5)]
        told: list[bytes] = []
        for socket, number in zip(sockets, [1, 1, 1, 2, 2], strict=True):
            asked = json.loads(request_line("SUBSCRIBE", topics=["stations"]))
            self.reply(socket, frame(TEXT, json.dumps({**asked, "id": number}).encode()))
            socket.protocol._send = told.append
        driver = self.connect()
        driver.dataReceived(request_line("LOGIN", **LOGIN))
        (user,) = [reply["data"]["user_id"] for reply in self.replies(driver)]
        driver.dataReceived(request_line("RESERVE", user_id=user, id_station=1))
        self.server.advance(0.1)
        self.assertEqual((len(told), len({id(each) for each in told})), (5, 2))
        ids = [json.loads(frames(each)[0][1])["id"] for each in told]
        self.assertEqual(ids, [1, 1, 1, 2, 2])
