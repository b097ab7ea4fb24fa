"""Connections to a server that drivers share."""

import json

from twisted.internet.defer import succeed
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.virtual_clock import VirtualClock
from evcharge.simulator.over_tcp import Connections


class Transport(StringTransportWithDisconnection):
    """An end of a connection in memory."""

    def setTcpNoDelay(self, enabled) -> None:
        pass


class Endpoint:
    """A server that can be reached at once, and its ends of the connections."""

    def __init__(self) -> None:
        self.made = []

    def connect(self, factory):
        link = factory.buildProtocol(None)
        self.made.append(link)
        transport = Transport()
        transport.protocol = link
        link.makeConnection(transport)
        return succeed(link)


class LostTests(SynchronousTestCase):
    """What a person is told where connections are lost."""

    def reply(self, link) -> None:
        """Answer all that was asked over a connection."""
        for line in link.transport.value().splitlines():
            asked = json.loads(line)
            said = {"type": asked["type"], "id": asked["id"], "data": {}, "status": {"code": 200}}
            said["timestamp"] = "2026-03-02T00:00:00.000Z"
            link.dataReceived(json.dumps(said).encode() + b"\n")
        link.transport.clear()

    def test_last_one(self) -> None:
        """That none is left is told once, also where the last one has never had a reply."""
        clock, endpoint, said, answers = VirtualClock(), Endpoint(), [], []
        connections = Connections(clock, endpoint, 2, said.append)
        self.addCleanup(connections.close)
        connections.open_first()
        connections.open_others()
        first, second = endpoint.made
        connections.ask("START", {}, answers.append)
        self.reply(first)
        self.assertEqual(len(answers), 1)
        first.connectionLost(connectionDone)
        self.assertEqual(said, [])
        second.connectionLost(connectionDone)
        self.assertEqual(said, ["no connection any more; trying again"])
        clock.advance(1.0)
        # A server that takes connections and says nothing is not there again.
        for link in endpoint.made[2:]:
            link.connectionLost(connectionDone)
        self.assertEqual(len(said), 1)
        clock.advance(5.0)
        connections.ask("START", {}, answers.append)
        for link in endpoint.made[2:]:
            self.reply(link)
        self.assertEqual(said[1:], ["connected again"])
        self.assertEqual(connections.losses, 1)
