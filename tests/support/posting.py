"""HTTP to a web port in memory, and a server in memory whose requests come by POST."""

import json
from codecs import BOM_UTF8
from typing import Any

import attrs
from twisted.internet.address import IPv4Address

from evcharge.testing import MemoryServer, MemoryTransport
from evcharge.web.site import WebFactory
from tests.support.streams import web_of


@attrs.frozen
class Answer:
    """What a request of HTTP is answered with."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def reply(self) -> dict[str, Any]:
        """The envelope; its code is HTTP's, too."""
        reply: dict[str, Any] = json.loads(self.body)
        assert reply["status"]["code"] == self.code, (self.code, reply)
        return reply


def ask(
    web: WebFactory, method: str, path: str, body: bytes | None = None, **headers: str
) -> Answer:
    """
    Send a request over a connection of its own.

    :param headers: further ones, their names with `_` for `-`.
    """
    sent = {"host": "127.0.0.1", **{name.replace("_", "-"): v for name, v in headers.items()}}
    if body is not None:
        sent = {"content-type": "application/json", "content-length": str(len(body)), **sent}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    protocol: Any = web.buildProtocol(IPv4Address("TCP", "127.0.0.1", 0))
    transport = MemoryTransport()
    transport.protocol = protocol
    protocol.makeConnection(transport)
    protocol.dataReceived(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b""))
    said, _, content = transport.take().partition(b"\r\n\r\n")
    first, *others = said.decode("latin-1").split("\r\n")
    told = {name.lower(): value for name, value in (line.split(": ", 1) for line in others)}
    if method != "HEAD" and not first.endswith("304 Not Modified"):
        assert told["content-length"] == str(len(content)), (told, content[:200])
    return Answer(int(first.split()[1]), told, content)


class PostServer(MemoryServer):
    """A server in memory to which every request comes by POST."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.web = web_of(self)

    def send(self, sent: bytes) -> list[dict[str, Any]]:
        """Post each line as a message of its own."""
        lines = sent.removeprefix(BOM_UTF8).split(b"\n")
        return [
            ask(self.web, "POST", "/api/v1/messages", line).reply for line in lines if line.strip()
        ]

    def request(self, kind: str, /, **data: Any) -> dict[str, Any]:
        """Post the data of a request where its type has its path."""
        path = "/api/v1/" + kind.lower().replace("_", "-")
        return ask(self.web, "POST", path, json.dumps(data).encode()).reply
