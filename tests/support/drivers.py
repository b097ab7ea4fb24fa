"""A client in the reactor of the tests."""

import json

from twisted.internet.defer import Deferred
from twisted.protocols.basic import LineReceiver


class Driver(LineReceiver):
    """Sends requests, and waits for replies one by one."""

    delimiter = b"\n"
    MAX_LENGTH = 10**6

    def __init__(self) -> None:
        self.waiting: list[Deferred] = []
        self.lost: Deferred = Deferred()

    def request(self, kind: str, **data: object) -> Deferred:
        request = {"type": kind, "data": data, "status": {}, "timestamp": "", "id": kind}
        self.sendLine(json.dumps(request).encode())
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def lineReceived(self, line: bytes) -> None:
        self.waiting.pop(0).callback(json.loads(line))

    def connectionLost(self, reason: object) -> None:
        self.lost.callback(None)
