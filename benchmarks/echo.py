"""
The yardstick: the least that a Twisted server of JSON lines can do, and nothing of evcharge.

Each line is parsed with the library that evcharge uses too, and answered with a constant line of
the size of a NAVIGATION reply. Usage: `python echo.py PORT`.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

REPLY = msgspec.json.encode(
    {
        "type": "NAVIGATION",
        "data": {
            "can_complete": True,
            "autonomy": 179.73856209150327,
            "message": "A viagem pode ser feita com a carga atual",
        },
        "status": {"code": 200, "message": "Sucesso"},
        "timestamp": "2025-04-07T13:45:12.678Z",
    }
)

parse = msgspec.json.Decoder().decode


class Echo(LineReceiver):
    """Parses each line, and answers with :data:`REPLY`."""

    delimiter = b"\n"
    transport: Any

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:
        parse(line)
        self.sendLine(REPLY)


def main() -> None:
    """Serve until the process is told to end."""
    loop: Any = reactor
    loop.listenTCP(int(sys.argv[1]), Factory.forProtocol(Echo), interface="127.0.0.1")
    loop.run()


if __name__ == "__main__":
    main()
