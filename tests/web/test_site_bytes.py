"""Whatever bytes come to a web port, and in whatever pieces."""

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.testing import MemoryServer
from evcharge.web.site import WebFactory
from tests.support.posting import Answer
from tests.support.streams import web_of
from tests.support.visitors import HEAD, Visitor, posted, request

CHUNKED = (
    request(
        "/api/v1/start",
        "POST",
        HEAD + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
    )
    + b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: x\r\n\r\n"
)
REQUESTS = [
    request("/nothing"),
    request("/api/v1/cars"),
    request("/static/vendor/leaflet-1.9.4/leaflet.js", "HEAD").replace(b"HEAD", b"POST"),
    request("/nothing", "PUT"),
    request(head="Host: evil.example\r\n"),
    posted("/api/v1/start", b"{}"),
    posted("/api/v1/start", b"[" * 100),
    posted("/api/v1/login", b'{"user_name":"\xff"}'),
    CHUNKED,
    b"\r\n" + request("/nothing"),
]
PIECES = [
    *(b"GET ", b"POST ", b"/api/v1/start", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r"),
    *(b"Host: 127.0.0.1\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Origin: null\r\n", b"5\r\n"),
    *(b"Content-Type: application/json\r\n", b"0\r\n\r\n", b"hello", b": ", b"\x00", b"\xff\xfe"),
]


def told(answers: list[Answer]) -> list[tuple[int, str | None, object]]:
    """What does not change from one time to the next."""
    return [(answer.code, answer.headers.get("connection"), answer.body) for answer in answers]


class BytesTests(SynchronousTestCase):
    """A web port in memory."""

    def setUp(self) -> None:
        self.server = MemoryServer()
        self.web: WebFactory = web_of(self.server)

    def answers(self, pieces: list[bytes]) -> list[Answer]:
        """All that is answered to bytes that come in pieces."""
        visitor = Visitor(self.web)
        found: list[Answer] = []
        try:
            for piece in pieces:
                visitor.protocol.dataReceived(piece)
            for _ in range(10):
                self.server.advance(0)
                found += visitor.answers()
            if visitor.is_over:
                self.assertEqual(visitor.send(request()), [])
        finally:
            visitor.protocol.connectionLost()
        self.assertEqual(
            (len(self.web.connections), self.server.guards.addresses.connections), (0, 0)
        )
        return found

    @settings(max_examples=100)
    @given(
        requests=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=40),
        cuts=st.lists(st.integers(0, 20_000), max_size=20),
    )
    def test_pieces(self, requests: list[bytes], cuts: list[int]) -> None:
        """Requests are answered each as by itself, however they are cut and put together."""
        alone = [told(self.answers([each])) for each in requests]
        whole = b"".join(requests)
        places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
        pieces = [whole[a:b] for a, b in pairwise(places)]
        self.assertEqual([[one] for one in told(self.answers(pieces))], alone)

    @settings(max_examples=300)
    @given(
        pieces=st.lists(
            st.one_of(st.sampled_from(PIECES), st.sampled_from(REQUESTS), st.binary(max_size=20)),
            max_size=30,
        )
    )
    def test_anything(self, pieces: list[bytes]) -> None:
        """Whatever comes, what is said is whole answers, and no mistake of the server's."""
        for answer in self.answers(pieces):
            self.assertLess(answer.code, 500)
            if answer.code >= 400:
                self.assertEqual(json.loads(answer.body)["status"]["code"], answer.code)
        self.assertEqual(self.flushLoggedErrors(), [])
