"""The web port by itself: whose pages may ask, how much, how long, and that all are answered."""

import gc
import json
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from evcharge.net.guards.connection_limit import TOLD_S
from evcharge.net.guards.timeouts import KEPT_S, REQUEST_S
from evcharge.testing import MemoryServer
from evcharge.web.channel import REQUESTS_PER_TURN
from tests.support.frames import TEXT, UPGRADE, frame
from tests.support.posting import Answer
from tests.support.streams import web_of
from tests.support.visitors import HEAD, Visitor, pass_time, posted, reason, request

LOGIN = b'{"user_name":"Ana","selected_car":"Tesla Model 3","battery_car":40}'
OPEN = b"HTTP/1.1 100 Continue\r\n\r\n"
SECURE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "geolocation=(self)",
}
PATHS = ("/", "/static/app.css", "/api/v1/cars", "/api/v1/live?topics=stations", "/nothing")


class SiteTestCase(SynchronousTestCase):
    """A web port in memory."""

    def serve(self, *options: str, to: MemoryServer | None = None, **settings: Any) -> MemoryServer:
        """Serve; the settings are those of the web port."""
        self.server = MemoryServer(options=options, language="en") if to is None else to
        self.web = web_of(self.server, **settings)
        return self.server

    def visit(self, host: str = "127.0.0.1") -> Visitor:
        visitor = Visitor(self.web, host)
        self.addCleanup(self.close, visitor)
        return visitor

    def close(self, visitor: Visitor) -> None:
        visitor.protocol.connectionLost()

    def ask(self, path: str = "/api/v1/cars", method: str = "GET", head: str = HEAD) -> Answer:
        """Ask over a connection of its own."""
        return self.visit().ask(request(path, method, head))


class HostTests(SiteTestCase):
    """By which names the server may be asked for."""

    def test_names(self) -> None:
        """IP addresses, localhost and the names it was told are; all others are 421."""
        self.serve(hosts=("carga.example.org",))
        for name, code in (
            ("127.0.0.1", 200),
            ("127.0.0.1:8080", 200),
            ("203.0.113.7", 200),
            ("[::1]", 200),
            ("[2001:db8::7]:8080", 200),
            ("localhost", 200),
            ("LocalHost.:8080", 200),
            ("carga.example.org", 200),
            ("CARGA.example.org.:443", 200),
            ("evil.example", 421),
            ("other.carga.example.org", 421),
            ("127.0.0.1.evil.example", 421),
            ("localhost.evil.example", 421),
            ("x@127.0.0.1", 421),
            ("127.1", 421),
            ("2130706433", 421),
            ("::1", 421),
            ("[127.0.0.1]", 421),
            ("[::1", 421),
            ("", 421),
        ):
            self.assertEqual(self.ask(head=f"Host: {name}\r\n").code, code, name)

    def test_everywhere(self) -> None:
        """On no path is another name answered, and each time the log has it."""
        server = self.serve()
        for path in PATHS:
            answer = self.ask(path, head="Host: evil.example\r\n")
            self.assertEqual(reason(answer), (421, "unknown_host"), path)
        upgrade = UPGRADE.replace(b"localhost", b"evil.example")
        self.assertEqual(reason(self.visit().ask(upgrade)), (421, "unknown_host"))
        self.assertEqual(server.refused, ["host"] * (len(PATHS) + 1))

    def test_which(self) -> None:
        """One Host there has to be, and not two."""
        self.serve()
        for head in ("", HEAD + HEAD, HEAD + "Host: localhost\r\n"):
            self.assertEqual(reason(self.ask(head=head)), (400, "invalid_http"), head)

    def test_absolute(self) -> None:
        """Who asks as one asks a proxy is asked for the name that is in the address."""
        self.serve()
        self.assertEqual(self.ask("http://localhost:8080/api/v1/cars").code, 200)
        self.assertEqual(self.ask("HTTP://evil.example/api/v1/cars").code, 421)
        self.assertEqual(self.ask("http://localhost/api/v1/cars", head="").code, 400)

    def test_not_read(self) -> None:
        """Of one that is refused the body is not asked for, nor carried out."""
        server = self.serve()
        visitor = self.visit()
        head = "Host: evil.example\r\nExpect: 100-continue\r\nContent-Length: 100\r\n"
        self.assertEqual(reason(visitor.ask(request("/", "POST", head))), (421, "unknown_host"))
        self.assertTrue(visitor.is_over)
        self.visit().send(posted("/api/v1/login", LOGIN, "Host: evil.example\r\n"))
        self.assertEqual(server.metrics.web_requests["/api/v1/login", 200], 0)


class OriginTests(SiteTestCase):
    """Which pages may talk to the server."""

    def test_own(self) -> None:
        """Its own may, by either scheme; a page elsewhere may not, and nothing of it is done."""
        server = self.serve()
        for origin, code in (
            ("http://127.0.0.1", 200),
            ("https://127.0.0.1", 200),
            ("http://127.0.0.1:8080", 403),
            ("http://evil.example", 403),
            ("null", 403),
            ("", 403),
            ("http://127.0.0.1\r\nOrigin: http://127.0.0.1", 403),
        ):
            head = f"{HEAD}Origin: {origin}\r\n"
            self.assertEqual(self.ask(head=head).code, code, origin)
            (answer,) = self.visit().send(posted("/api/v1/login", LOGIN, head))
            self.assertEqual(answer.code, code, origin)
            if code == 403:
                self.assertEqual(answer.reply["data"]["reason"], "forbidden_origin")
        self.assertEqual(server.metrics.web_requests["/api/v1/login", 200], 2)
        self.assertEqual(set(server.refused), {"origin"})

    def test_socket(self) -> None:
        """So it is with WebSocket, which no browser keeps to its own server."""
        self.serve()
        for origin, code in (("http://localhost", 101), ("http://evil.example", 403)):
            visitor = self.visit()
            upgrade = UPGRADE.replace(b"\r\n\r\n", f"\r\nOrigin: {origin}\r\n\r\n".encode())
            self.assertEqual(visitor.ask(upgrade).code, code)

    def test_elsewhere(self) -> None:
        """A page that was allowed may read the answer; of others browsers are told nothing."""
        self.serve(origins=("https://app.example.org",))
        answer = self.ask(head=HEAD + "Origin: https://app.example.org\r\n")
        self.assertEqual(answer.code, 200)
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://app.example.org")
        self.assertIn("ETag", answer.headers["access-control-expose-headers"])
        self.assertIn("Origin", answer.headers["vary"])
        answer = self.ask("/nothing", head=HEAD + "Origin: https://app.example.org\r\n")
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://app.example.org")
        self.assertNotIn("access-control-allow-origin", self.ask().headers)
        self.assertEqual(self.ask(head=HEAD + "Origin: https://b.example\r\n").code, 403)

    def test_preflight(self) -> None:
        """A browser that asks first is told what may be done, for such a page alone."""
        self.serve(origins=("https://app.example.org",))
        asks = "Access-Control-Request-Method: POST\r\n"
        answer = self.ask(
            "/api/v1/login", "OPTIONS", f"{HEAD}Origin: https://app.example.org\r\n{asks}"
        )
        self.assertEqual((answer.code, answer.body), (204, b""))
        self.assertNotIn("content-length", answer.headers)
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://app.example.org")
        self.assertIn("POST", answer.headers["access-control-allow-methods"])
        self.assertIn("Content-Type", answer.headers["access-control-allow-headers"])
        answer = self.ask("/api/v1/login", "OPTIONS", f"{HEAD}Origin: http://127.0.0.1\r\n{asks}")
        self.assertEqual(answer.code, 405)
        self.assertNotIn("access-control-allow-methods", answer.headers)
        answer = self.ask(
            "/api/v1/login", "OPTIONS", f"{HEAD}Origin: http://evil.example\r\n{asks}"
        )
        self.assertEqual(answer.code, 403)


class AnswerTests(SiteTestCase):
    """What all answers have."""

    def answers(self) -> Sequence[Answer]:
        """One of each kind."""
        tag = self.ask("/").headers["etag"]
        return [
            *(self.ask(path) for path in PATHS if "live" not in path),
            self.ask("/", "HEAD"),
            self.ask("/", "POST"),
            self.ask("/", head=f"{HEAD}If-None-Match: {tag}\r\n"),
            self.ask(head="Host: evil.example\r\n"),
            self.ask(head=f"{HEAD}Origin: null\r\n"),
            self.visit().ask(b"nonsense\r\n\r\n"),
            self.visit().ask(b'{"type":"START"}\n'),
            self.visit().ask(request(head=f"{HEAD}X: {'x' * 17000}\r\n")),
            self.visit().ask(posted("/api/v1/login", b"x" * 70_000)),
            self.visit().ask(posted("/api/v1/login", LOGIN)),
            self.ask("/api/v1/socket"),
        ]

    def test_security(self) -> None:
        """Whatever the answer, browsers are told to run nothing that is not the server's."""
        self.serve()
        answers = self.answers()
        codes = {200, 304, 400, 403, 404, 405, 413, 421, 426, 431}
        self.assertEqual({answer.code for answer in answers}, codes)
        for answer in answers:
            for name, value in SECURE.items():
                self.assertEqual(answer.headers[name], value, answer)
            policy = answer.headers["content-security-policy"].split("; ")
            self.assertIn("default-src 'none'", policy)
            self.assertIn("img-src 'self' data:", policy)
            self.assertEqual(answer.headers["date"], "Mon, 07 Apr 2025 13:45:12 GMT")
            self.assertNotIn("strict-transport-security", answer.headers)
            self.assertNotIn("server", answer.headers)

    def test_stream(self) -> None:
        """An answer without end has them too, and says how it ends."""
        self.serve()
        visitor = self.visit()
        visitor.protocol.dataReceived(request("/api/v1/live?topics=stations"))
        head = visitor.transport.take().partition(b"\r\n\r\n")[0].decode()
        for name, value in {**SECURE, "connection": "close"}.items():
            self.assertIn(f"{name}: {value}".lower(), head.lower())
        self.assertNotIn("content-length", head.lower())

    def test_tiles(self) -> None:
        """Tiles add their hosts to where images come from, and nothing else."""
        for tiles, hosts in (
            ("https://tiles.example.org/{z}/{x}/{y}.png", "https://tiles.example.org"),
            ("http://10.0.0.5:8000/{z}/{x}/{y}?k=1", "http://10.0.0.5:8000"),
            (
                "https://{s}.t.example/{z}/{x}/{y}.png",
                "https://a.t.example https://b.t.example https://c.t.example",
            ),
        ):
            self.serve(map_tiles=tiles)
            policy = self.ask("/").headers["content-security-policy"].split("; ")
            self.assertIn(f"img-src 'self' data: {hosts}", policy)
            self.assertIn("connect-src 'self'", policy)

    def test_metrics(self) -> None:
        """Each is counted by its route and code; what a client makes up is no route."""
        metrics = self.serve().metrics
        self.answers()
        self.ask("/made/up")
        routes = {route for route, _ in metrics.web_requests}
        self.assertTrue({"/", "/api/v1/socket", "unknown"} <= routes)
        self.assertFalse([route for route in routes if "made" in route or "nothing" in route])
        self.assertEqual(metrics.web_requests["/api/v1/login", 200], 1)
        self.assertEqual(metrics.web_requests["/api/v1/socket", 426], 1)
        self.assertEqual(metrics.web_requests["unknown", 431], 1)

    def test_mistake(self) -> None:
        """A mistake of the server's own is a 500 with its incident, and the connection goes on."""
        self.serve()
        self.patch(self.web, "_beginnings", [(b"/", lambda asked: asked.no_such_thing)])
        visitor = self.visit()
        answer = visitor.ask(request("/"))
        self.assertEqual(reason(answer), (500, "internal"))
        self.assertIn("incident", answer.reply["data"])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        failing: Deferred[None] = Deferred()
        self.patch(self.web, "_beginnings", [(b"/", lambda asked: failing)])
        self.assertEqual(visitor.send(request("/")), [])
        failing.errback(ZeroDivisionError())
        self.assertEqual([answer.code for answer in visitor.answers()], [500])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class HTTPTests(SiteTestCase):
    """What HTTP asks of a server."""

    def test_bad_requests(self) -> None:
        """What is no request gets a whole answer, and then the end."""
        self.serve()
        for sent, code in (
            (b"GET /\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\n\r\n", 400),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            (b"G{T / HTTP/1.1\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00", 400),
            (b'{"type":"START"}\n', 400),
            (b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n", 400),
            (request(head=HEAD + "no colon\r\n"), 400),
            (request(head=HEAD + "b@d: name\r\n"), 400),
            (request(head=HEAD + "b@d: name\r\nfine: one\r\n"), 400),
            (request(head=HEAD + "Content-Length: -1\r\n"), 400),
            (request(head=HEAD + "Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
            (request(head=HEAD + f"Content-Length: {'9' * 5000}\r\n"), 400),
            (request(head=HEAD + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
            (request(head=HEAD + "Transfer-Encoding: gzip\r\n"), 400),
            (request(head=HEAD + "Transfer-Encoding: chunked\r\n") + b"zz\r\n", 400),
            (request(head=HEAD + "Transfer-Encoding: chunked\r\n") + b"1\r\nxxx", 400),
            (request(head=HEAD + "x: y\r\n" * 501), 400),
            (request(head=HEAD + f"x: {'y' * 17000}\r\n"), 431),
            (request(head=HEAD + f"x: {'y' * 100}\r\n" * 170), 431),
            (b"GET /" + b"x" * 20_000, 431),
        ):
            visitor = self.visit()
            found = visitor.send(sent)
            self.assertEqual([answer.code for answer in found], [code], sent[:99])
            (answer,) = found
            self.assertEqual(answer.reply["status"]["code"], code)
            self.assertEqual(answer.headers["connection"], "close")
            self.assertTrue(visitor.is_over, sent[:60])
            # What still comes is dropped.
            self.assertEqual(visitor.send(request()), [])

    def test_kept(self) -> None:
        """Connections are kept, unless the client wants otherwise or speaks HTTP/1.0."""
        self.serve()
        visitor = self.visit()
        for _ in range(3):
            answer = visitor.ask(request())
            self.assertNotIn("connection", answer.headers)
        self.assertFalse(visitor.is_over)
        for sent in (
            request(head=HEAD + "Connection: close\r\n"),
            request(head=HEAD + "Connection: x,Close\r\n"),
            request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        ):
            visitor = self.visit()
            answer = visitor.ask(sent)
            self.assertEqual((answer.code, answer.headers["connection"]), (200, "close"))
            self.assertTrue(visitor.is_over)

    def test_continue(self) -> None:
        """A client that waits to be told to go on is, where there is something to send."""
        self.serve()
        visitor = self.visit()
        head, _, body = posted("/api/v1/login", LOGIN, HEAD + "Expect: 100-continue\r\n").partition(
            b"\r\n\r\n"
        )
        visitor.protocol.dataReceived(head + b"\r\n\r\n")
        self.assertEqual(visitor.transport.take(), OPEN)
        self.assertEqual(visitor.ask(body).code, 200)
        self.assertEqual(visitor.ask(request(head=HEAD + "Expect: 100-continue\r\n")).code, 200)

    def test_chunked(self) -> None:
        """A body may come in chunks."""
        self.serve()
        head = HEAD + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in LOGIN) + b"0\r\n\r\n"
        answer = self.visit().ask(request("/api/v1/login", "POST", head) + chunks)
        self.assertEqual(answer.code, 200)

    def test_too_large(self) -> None:
        """A body over the limit is refused by its length, or when so much of it has come."""
        self.serve("--max-line", "1000")
        fits = b'{"pad":"' + b"x" * 990 + b'"}'
        self.assertEqual(self.visit().ask(posted("/api/v1/start", fits)).code, 200)
        over = HEAD + "Expect: 100-continue\r\nContent-Length: 1001\r\n"
        chunked = request("/api/v1/start", "POST", HEAD + "Transfer-Encoding: chunked\r\n")
        for sent in (
            request("/api/v1/start", "POST", over),
            chunked.replace(b"\r\n\r\n", b"\r\nExpect: x\r\n\r\n") + b"3e9\r\n" + b"x" * 1001,
            chunked + (b"1f4\r\n" + b"x" * 500 + b"\r\n") * 3 + b"0\r\n\r\n" + request(),
        ):
            visitor = self.visit()
            self.assertEqual(reason(visitor.ask(sent)), (413, "too_large"))
            self.assertTrue(visitor.is_over)
            self.assertEqual(visitor.send(b"x" * 100_000), [])

    def test_no_file(self) -> None:
        """However long it may be, no body is put into a file."""
        self.serve("--max-line", "1000000")
        for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile"):
            self.patch(tempfile, name, None)
        body = json.dumps({"pad": "x" * 900_000}).encode()
        self.assertEqual(self.visit().ask(posted("/api/v1/start", body)).code, 200)
        form = HEAD + "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 500000\r\n"
        answer = self.visit().ask(request("/api/v1/start", "POST", form) + b"x" * 500_000)
        self.assertEqual(answer.code, 415)

    def test_pipelined(self) -> None:
        """Requests that come together are answered in order, and some in each turn."""
        server = self.serve()
        visitor = self.visit()
        count = 3 * REQUESTS_PER_TURN
        sent = b"".join(posted("/api/v1/messages", json.dumps(each).encode()) for each in [
            {"type": "FLY", "data": {}, "id": number} for number in range(count)
        ])  # fmt: skip
        answers = visitor.send(sent)
        self.assertEqual(len(answers), REQUESTS_PER_TURN)
        for _ in range(3):
            server.advance(0)
            answers += visitor.answers()
        self.assertEqual([answer.reply["id"] for answer in answers], list(range(count)))
        self.assertEqual(visitor.ask(request()).code, 200)

    def test_ahead(self) -> None:
        """Who sends faster than is answered is not read from meanwhile, and answered whole."""
        server = self.serve()
        visitor = self.visit()
        turns: list[Any] = []

        def later(seconds: float, turn: Any) -> Any:
            turns.append(turn)
            return server.clock.callLater(10**6, turn)

        self.patch(visitor.protocol, "_later", later)
        visitor.protocol.dataReceived(request("/nothing") * 4000)
        answered, paused = len(visitor.answers()), 0
        while turns:
            paused += visitor.transport.producerState == "paused"
            turns.pop()()
            answered += len(visitor.answers())
        self.assertEqual((answered, visitor.transport.producerState), (4000, "producing"))
        self.assertGreater(paused, 100)

    def test_bit_by_bit(self) -> None:
        """Requests may come a byte at a time."""
        self.serve()
        visitor = self.visit()
        found = []
        for byte in (posted("/api/v1/start", b"{}") + request()) * 2:
            found += visitor.send(bytes([byte]))
        self.assertEqual([answer.code for answer in found], [200] * 4)

    def test_half(self) -> None:
        """Who has closed one half is answered all the same, and then the connection ends."""
        self.serve()
        visitor = self.visit()
        visitor.protocol.dataReceived(request() + request("/nothing"))
        visitor.protocol.readConnectionLost()
        self.assertEqual([answer.code for answer in visitor.answers()], [200, 404])
        self.assertTrue(visitor.transport.disconnecting)
        visitor = self.visit()
        visitor.protocol.dataReceived(request()[:20])
        visitor.protocol.readConnectionLost()
        self.assertEqual([answer.code for answer in visitor.answers()], [400])
        self.assertTrue(visitor.transport.disconnecting)


class PatienceTests(SiteTestCase):
    """How long clients may take."""

    def test_head(self) -> None:
        """A head must be whole in time, however many bytes of it still come."""
        server = self.serve()
        visitor = self.visit()
        for byte in request()[: round(4 * (REQUEST_S - 0.5))]:
            self.assertEqual(visitor.send(bytes([byte])), [])
            pass_time(server, 0.25)
        self.assertFalse(visitor.is_over)
        pass_time(server, 2.75)
        self.assertEqual([reason(each) for each in visitor.answers()], [(408, "slow_request")])
        self.assertTrue(visitor.is_over)
        self.assertEqual(server.refused, ["slow_request"])

    def test_body(self) -> None:
        """So must a body, which has as long again."""
        server = self.serve()
        visitor = self.visit()
        sent = posted("/api/v1/login", LOGIN)
        visitor.send(sent[:20])
        pass_time(server, REQUEST_S - 2)
        visitor.send(sent[20 : -len(LOGIN)])
        pass_time(server, REQUEST_S - 2)
        self.assertFalse(visitor.is_over)
        pass_time(server, 4.25)
        self.assertEqual([reason(each) for each in visitor.answers()], [(408, "slow_request")])

    def test_idle(self) -> None:
        """A connection is kept for a while after each request, and nobody is refused anything."""
        server = self.serve("--idle-timeout", "5")
        visitor = self.visit()
        for _ in range(2):
            self.assertEqual(visitor.ask(request()).code, 200)
            pass_time(server, KEPT_S - 1)
            self.assertFalse(visitor.is_over)
        pass_time(server, 3.25)
        self.assertTrue(visitor.is_over)
        self.assertEqual((visitor.transport.take(), server.refused), (b"", []))
        # One that does not end its side is given up.
        pass_time(server, 5)
        self.assertTrue(visitor.transport.aborted)

    def test_unread(self) -> None:
        """Who does not read is not read from, and given up after --unread-timeout."""
        server = self.serve("--unread-timeout", "20")
        visitor = self.visit()
        visitor.ask(request())
        visitor.protocol.pauseProducing()
        self.assertEqual(visitor.transport.producerState, "paused")
        self.assertEqual(visitor.send(request()), [])
        pass_time(server, 19)
        self.assertFalse(visitor.transport.aborted)
        pass_time(server, 3)
        self.assertTrue(visitor.transport.aborted)
        self.assertEqual(server.refused, ["unread"])

    def test_read_again(self) -> None:
        """Who reads on after a while is answered what it has asked meanwhile."""
        self.serve()
        visitor = self.visit()
        visitor.protocol.pauseProducing()
        self.assertEqual(visitor.send(request()), [])
        visitor.protocol.resumeProducing()
        self.assertEqual([answer.code for answer in visitor.answers()], [200])
        self.assertEqual(visitor.transport.producerState, "producing")

    def test_last(self) -> None:
        """A last answer is not cut short for who reads it slowly, and for nobody kept for ever."""
        server = self.serve("--unread-timeout", "60")
        for reads in (True, False):
            visitor = self.visit()
            beneath: Any = Connection.__new__(Connection)
            beneath.dataBuffer, beneath._tempDataBuffer = b"unread", []
            visitor.transport.transport = beneath
            visitor.ask(request(head=f"{HEAD}Connection: close\r\n"))
            pass_time(server, 50)
            self.assertFalse(visitor.transport.aborted)
            if reads:
                beneath.dataBuffer = b""
            pass_time(server, 12)
            self.assertTrue(visitor.transport.aborted)
            self.assertEqual(server.refused, [] if reads else ["unread"])

    def test_slices(self) -> None:
        """A long answer is in memory for who reads it, slice by slice."""
        self.serve()
        visitor = self.visit()
        whole = self.ask("/static/vendor/leaflet-1.9.4/leaflet.js")
        written = visitor.transport.write

        def write(data: bytes) -> None:
            written(data)
            visitor.protocol.pauseProducing()

        self.patch(visitor.protocol, "_write", write)
        visitor.protocol.dataReceived(request("/static/vendor/leaflet-1.9.4/leaflet.js"))
        found, slices = b"", 0
        while more := visitor.transport.take():
            self.assertLessEqual(len(more), 65536)
            found, slices = found + more, slices + 1
            visitor.protocol.resumeProducing()
        self.assertEqual((found.partition(b"\r\n\r\n")[2], slices), (whole.body, 4))


class LimitTests(SiteTestCase):
    """The limits are those of all ports, and count together."""

    def test_rate(self) -> None:
        """Requests over the rate are 429, whole; who goes on all the same is hung up on."""
        server = self.serve("--rate-per-connection", "10")
        visitor = self.visit()
        answers = [visitor.ask(request()) for _ in range(15)]
        self.assertEqual([each.code for each in answers], [200] * 10 + [429] * 5)
        self.assertEqual(reason(answers[-1]), (429, "rate_limited"))
        self.assertEqual(answers[-1].headers["retry-after"], "1")
        server.advance(1)
        self.assertEqual(visitor.ask(request()).code, 200)
        while not visitor.is_over:
            last = visitor.ask(request())
        self.assertEqual((last.code, last.headers["connection"]), (429, "close"))
        self.assertEqual(server.refused, ["rate"])

    def test_one_rate(self) -> None:
        """Lines, requests of HTTP and messages of WebSocket take from one bucket."""
        server = self.serve("--rate-per-address", "10")
        line = b'{"type":"FLY","data":{},"status":{},"timestamp":""}\n'
        self.assertEqual([r["status"]["code"] for r in server.send(line * 4)], [404] * 4)
        self.assertEqual([self.ask().code for _ in range(4)], [200] * 4)
        visitor = self.visit()
        self.assertEqual(visitor.ask(UPGRADE).code, 101)
        # One message is left.
        visitor.protocol.dataReceived(frame(TEXT, line[:-1]) * 2)
        said = visitor.transport.take()
        self.assertEqual((said.count(b'"code":404'), said.count(b'"code":429')), (1, 1))
        self.assertEqual(self.ask().code, 429)

    def test_connections(self) -> None:
        """Who comes when the house is full gets a whole answer, before it has asked."""
        for option, code in (("--max-connections", 503), ("--max-connections-per-address", 429)):
            server = self.serve(option, "1")
            accepts = server.guards.limit_connections(self.web, self.web.refusal)
            first = Visitor(self.web, accepts=accepts)
            second = Visitor(self.web, accepts=accepts)
            (answer,) = second.answers()
            self.assertEqual(answer.code, code)
            self.assertEqual(answer.reply["status"]["code"], code)
            self.assertEqual(answer.headers["retry-after"], "1")
            self.assertEqual(answer.headers["connection"], "close")
            self.assertTrue(second.is_over)
            self.assertEqual(first.ask(request()).code, 200)
            server.advance(TOLD_S)

    def test_counted_once(self) -> None:
        """A connection is one, before and after it becomes WebSocket or a stream."""
        addresses = self.serve().guards.addresses
        for sent in (UPGRADE, request("/api/v1/live?topics=stations")):
            visitor = Visitor(self.web)
            self.assertEqual(addresses.connections, 1)
            visitor.protocol.dataReceived(sent)
            self.assertEqual(addresses.connections, 1)
            visitor.protocol.connectionLost()
            self.assertEqual((addresses.connections, len(self.web.connections)), (0, 0))


class EndTests(SiteTestCase):
    """The server's end."""

    def serve_slowly(self) -> None:
        """Serve where the storage takes its time."""
        self.calls: list[tuple[Deferred[Any], Any, Any]] = []

        def later(f: Any, *args: Any) -> Deferred[Any]:
            self.calls.append((Deferred(), f, args))
            return self.calls[-1][0]

        self.serve(to=MemoryServer(in_thread=later, language="en"))

    def carry_out(self) -> None:
        """Have the storage do what waits for it."""
        while self.calls:
            done, f, args = self.calls.pop()
            done.callback(f(*args))

    def test_drain(self) -> None:
        """What is being carried out is answered, all others end, and then it is empty."""
        self.serve_slowly()
        idle, begun, busy = self.visit(), self.visit(), self.visit()
        idle.ask(request())
        begun.send(request()[:20])
        self.assertEqual(busy.send(posted("/api/v1/login", LOGIN) + request()), [])
        done = self.web.drain()
        self.assertTrue(idle.is_over and begun.is_over)
        self.assertEqual(idle.transport.take() + begun.transport.take(), b"")
        self.assertFalse(busy.is_over)
        self.carry_out()
        (answer,) = busy.answers()
        self.assertEqual((answer.code, answer.headers["connection"]), (200, "close"))
        self.assertTrue(busy.is_over)
        self.assertNoResult(done)
        for visitor in (idle, begun, busy):
            visitor.protocol.connectionLost()
        self.successResultOf(done)

    def test_give_up(self) -> None:
        """What takes too long then is answered as unavailable."""
        self.serve_slowly()
        visitor = self.visit()
        self.assertEqual(visitor.send(posted("/api/v1/login", LOGIN)), [])
        self.web.drain()
        self.web.give_up()
        self.assertEqual([reason(each) for each in visitor.answers()], [(503, "unavailable")])
        self.assertTrue(visitor.is_over)
        self.carry_out()
        self.assertEqual(visitor.transport.take(), b"")

    def test_unanswered(self) -> None:
        """So it is at any time with what nobody answers; that is the server's fault."""
        self.serve()
        asked: list[Any] = []
        self.patch(self.web, "_beginnings", [(b"/", asked.append)])
        visitor = self.visit()
        visitor.send(request())
        pass_time(self.server, self.server.storage.patience_s + 13)
        self.assertEqual([reason(each) for each in visitor.answers()], [(503, "unavailable")])
        self.assertEqual(self.server.refused, ["unanswered"])
        self.assertTrue(visitor.is_over)
        asked[0].reply(200, "text/plain", b"late")
        self.assertEqual(visitor.transport.take(), b"")

    def test_gone(self) -> None:
        """Who is gone before the answer is told nothing, and nothing is left of it."""
        self.serve_slowly()
        visitor = Visitor(self.web)
        visitor.send(posted("/api/v1/login", LOGIN))
        visitor.protocol.connectionLost()
        self.carry_out()
        self.assertEqual(visitor.transport.take(), b"")
        self.assertEqual(
            (len(self.web.connections), self.server.guards.addresses.connections), (0, 0)
        )

    def test_no_garbage(self) -> None:
        """Nothing of a connection has to be collected, however it has ended."""
        self.serve()
        chunked = HEAD + "Transfer-Encoding: chunked\r\n"
        for sent in (
            request(),
            request()[:20],
            request("/", "POST", HEAD + "Content-Length: 10\r\n") + b"x",
            request("/", "POST", chunked) + b"5\r\nx",
            request("/", "POST", chunked) + (b"ffff\r\n" + b"x" * 65535 + b"\r\n") * 3,
            request("/", "POST", HEAD + "Content-Length: 100000\r\n"),
            posted("/api/v1/login", LOGIN),
            b"nonsense\r\n\r\n",
            UPGRADE,
            request("/api/v1/live?topics=stations"),
        ):
            visitor = Visitor(self.web)
            kept = weakref.ref(visitor.protocol)
            visitor.protocol.dataReceived(sent)
            gc.collect()
            gc.disable()
            self.addCleanup(gc.enable)
            # As the reactor's transports do.
            visitor.transport.producer = None
            protocol, visitor.transport.protocol = visitor.transport.protocol, None
            protocol.connectionLost(Failure(ConnectionDone()))
            del protocol
            self.assertIsNone(kept(), sent[:60])
