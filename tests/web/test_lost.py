"""Connections of the web port that real sockets lose, in every way."""

import socket
import struct
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from evcharge.testing import MemoryServer
from tests.support.frames import TEXT, UPGRADE, frame
from tests.support.streams import web_of

START = frame(TEXT, b'{"type":"START","data":{},"status":{},"timestamp":""}')
STREAM = b"GET /api/v1/live?topics=stations HTTP/1.1\r\nHost: localhost\r\n\r\n"
CARS = b"GET /api/v1/cars HTTP/1.1\r\nHost: localhost\r\n\r\n"


class LostTests(TestCase):
    """Nothing is left of them."""

    async def lose(self, sent: bytes, reset: bool, half: bool = False) -> None:
        server = MemoryServer()
        web = web_of(server)
        listening: Any = reactor.listenTCP(0, web, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(listening.stopListening)
        client = socket.create_connection(("127.0.0.1", listening.getHost().port))
        try:
            client.sendall(sent)
            await until(lambda: server.guards.addresses.connections == 1)
            client.setblocking(False)
            await until(lambda: has_come(client))
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if half:
                client.shutdown(socket.SHUT_WR)
                await until(lambda: server.guards.addresses.connections == 0)
        finally:
            client.close()
        await until(lambda: server.guards.addresses.connections == 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_all(self) -> None:
        """By a reset, by its end, and by half of it: HTTP, WebSocket, a stream of events."""
        for sent in (CARS, STREAM, UPGRADE, UPGRADE + START * 40):
            for reset, half in ((True, False), (False, False), (False, True)):
                await self.lose(sent, reset, half)


def has_come(client: socket.socket) -> bool:
    """Whether something has been said to a client."""
    try:
        return bool(client.recv(1000))
    except BlockingIOError:
        return False


async def until(so: Any) -> None:
    """Wait until it is so."""
    for _ in range(500):
        if so():
            return
        await deferLater(reactor, 0.01)  # type: ignore[arg-type]
    raise AssertionError("it does not come about")
