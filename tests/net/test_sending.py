"""Sending at once: in order, whole, and never around a wrapper."""

import os
import socket

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from evcharge.net.sending import is_clear, sender


class Talker(Protocol):
    """Says to the test when it is connected, and that it is not any more."""

    def __init__(self) -> None:
        self.made: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.made.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class SendingTests(TestCase):
    """Over a real socket."""

    async def connect(self, wrap: bool = False) -> tuple[Talker, socket.socket]:
        talker = Talker()
        factory: Factory = Factory.forProtocol(lambda: talker)
        factory.buildProtocol = lambda address: talker
        if wrap:
            factory = WrappingFactory(factory)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        client = socket.create_connection(("127.0.0.1", port.getHost().port), 20)
        self.addCleanup(client.close)
        await talker.made
        return talker, client

    async def test_at_once(self) -> None:
        """What the socket takes is with the client before the reactor's next turn."""
        talker, client = await self.connect()
        send = sender(talker.transport)
        send(b"one\n")
        self.assertEqual(client.recv(100), b"one\n")
        client.close()
        await talker.lost

    async def test_in_order(self) -> None:
        """More than the socket takes arrives whole, in order with what is written beside it."""
        talker, client = await self.connect()
        send = sender(talker.transport)
        parts = [os.urandom(100_000) for _ in range(60)]
        for number, part in enumerate(parts):
            (talker.transport.write if number % 7 == 3 else send)(part)
        talker.transport.loseConnection()

        def read() -> bytes:
            with client.makefile("rb") as stream:
                return stream.read()

        self.assertEqual(await deferToThread(read), b"".join(parts))
        await talker.lost

    async def test_clear(self) -> None:
        """A transport is clear when all is with the kernel, also beneath what wraps it."""
        for wrap in (False, True):
            talker, client = await self.connect(wrap)
            self.assertTrue(is_clear(talker.transport))
            talker.transport.write(bytes(20_000_000))
            self.assertFalse(is_clear(talker.transport))
            await deferToThread(lambda client=client: client.recv(1000, socket.MSG_PEEK))
            self.assertFalse(is_clear(talker.transport))

            def read(client: socket.socket = client) -> None:
                left = 20_000_000
                while left:
                    left -= len(client.recv(1_000_000))

            await deferToThread(read)
            self.assertTrue(is_clear(talker.transport))
            talker.transport.loseConnection()
            client.close()
            await talker.lost

    async def test_reset(self) -> None:
        """A connection that the client has reset is lost, and sending to it does nothing."""
        talker, client = await self.connect()
        send = sender(talker.transport)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        for _ in range(3):
            send(b"x")
        await talker.lost
        send(b"x")

    async def test_wrapped(self) -> None:
        """Through a wrapper everything is written by the wrapper, and nothing around it."""
        talker, client = await self.connect(wrap=True)
        self.assertNotIsInstance(talker.transport, Connection)
        self.assertTrue(hasattr(talker.transport, "writeSomeData"))
        self.assertEqual(sender(talker.transport), talker.transport.write)
        client.close()
        await talker.lost

    def test_encrypting(self) -> None:
        """TLS is such a wrapper."""
        self.assertFalse(issubclass(TLSMemoryBIOProtocol, Connection))
        transport = StringTransport()
        self.assertEqual(sender(transport), transport.write)
