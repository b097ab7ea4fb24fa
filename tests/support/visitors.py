"""Clients of HTTP whose connections to a web port in memory are kept."""

import json
from typing import Any

from twisted.internet.address import IPv4Address

from evcharge.testing import MemoryServer, MemoryTransport
from evcharge.web.site import WebFactory
from tests.support.posting import Answer

HEAD = "Host: 127.0.0.1\r\n"


def request(path: str = "/api/v1/cars", method: str = "GET", head: str = HEAD) -> bytes:
    """A request without a body."""
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode()


def posted(path: str, body: bytes, head: str = HEAD) -> bytes:
    """A request with one."""
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return request(path, "POST", head) + body


class Visitor:
    """
    One connection.

    :param accepts: what makes the connections of the port; by default the port itself.
    """

    def __init__(self, web: WebFactory, host: str = "127.0.0.1", accepts: Any = None) -> None:
        self.transport = MemoryTransport()
        self._is_head = False
        protocol: Any = (accepts or web).buildProtocol(IPv4Address("TCP", host, 0))
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    @property
    def protocol(self) -> Any:
        """Whatever has the connection now."""
        return self.transport.protocol

    @property
    def is_over(self) -> bool:
        """Whether the server has said all."""
        return self.transport.write_closed or self.transport.disconnecting

    def send(self, data: bytes) -> list[Answer]:
        """Send bytes; the answers that have come since the last time."""
        self._is_head = data.startswith(b"HEAD")
        self.protocol.dataReceived(data)
        return self.answers()

    def ask(self, data: bytes) -> Answer:
        """Send what has one answer."""
        (answer,) = self.send(data)
        return answer

    def answers(self) -> list[Answer]:
        """The answers that have come since the last time, each of which is to be whole."""
        said, found = self.transport.take(), []
        while said:
            head, _, said = said.partition(b"\r\n\r\n")
            first, *others = head.decode("latin-1").split("\r\n")
            told = {n.lower(): value for n, value in (line.split(": ", 1) for line in others)}
            length = 0 if self._is_head else int(told.get("content-length", 0))
            found.append(Answer(int(first.split()[1]), told, said[:length]))
            assert len(said) >= length, (told, said)
            said = said[length:]
        return found


def pass_time(server: MemoryServer, seconds: float) -> None:
    """Let time pass in small steps, as it does."""
    for _ in range(round(seconds * 4)):
        server.advance(0.25)


def reason(answer: Answer) -> tuple[int, str]:
    """The code and the reason of a refusal."""
    return answer.code, json.loads(answer.body)["data"]["reason"]
