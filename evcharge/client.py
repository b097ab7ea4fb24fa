"""
A client, for people's own programs: plain sockets, the standard library alone, one call a request.

>>> with Client("127.0.0.1", 8888) as server:
...     login = server.request(
...         "LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=40
...     )
...     print(login["data"]["user_id"])

`request` returns the reply whole, whatever its code: what the server refuses is an answer too. Only
where no reply comes an exception is raised, :class:`NoReply`. It is then not known whether the
request was carried out. Each may be sent again over another :class:`Client`: what was done is not
done twice, but that a second LOGIN makes another user.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

PORT = 8888

TIMEOUT_S = 45.0
"""How long a reply may take, seconds. The server gives its storage 30 before it answers 503: who
waits for longer hears from itself what is wrong."""

LONGEST_LINE = 64 * 1024 * 1024
"""The longest line that is read, bytes: a hundred times START's reply for 1,000 stations."""


class NoReply(Exception):
    """
    No reply came: says from where, and why.

    Its `__cause__` tells the kinds apart: `ConnectionRefusedError`, nobody listens there;
    `socket.gaierror`, no such host; `TimeoutError`, it took too long; `ConnectionError`, the
    connection was lost; `ssl.SSLCertVerificationError`, the certificate is not believed;
    `ssl.SSLError`, TLS failed otherwise; `ValueError`, what came is no reply of evcharge's.
    """


class Client:
    """
    A connection to a server. It is for one thread at a time.

    :param host: its name or address.
    :param tls: whether to speak TLS: True believes the authorities that the system does, a context
        whomever that believes.
    :param timeout_s: how long connecting to an address, and each reply, may take, seconds.
    :param on_line: called with `">"` and each line that is sent, and with `"<"` and each that came,
        both without their ends.
    :raise NoReply: it cannot be connected to.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = PORT,
        tls: bool | ssl.SSLContext = False,
        timeout_s: float = TIMEOUT_S,
        on_line: Callable[[str, bytes], object] | None = None,
    ) -> None:
        self._where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._timeout_s = timeout_s
        self._on_line = on_line
        self._received = bytearray()
        self._requests = 0
        self._events: deque[dict[str, Any]] = deque()
        """Those that came while a reply was waited for."""
        with _or_no_reply(self._where):
            self._socket = _connected(host, port, tls, timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a second time it changes nothing."""
        self._socket.close()

    def request(self, kind: str, /, **data: Any) -> dict[str, Any]:
        """
        Send a request and wait for its reply.

        :param kind: its type, as `"LOGIN"`.
        :param data: the fields of its `data`.
        :return: the whole reply. `type` (text), `data` (dict) and `status` (dict of `code`, an
            integer, and `message`, text) are there for certain.
        :raise NoReply: none came. The connection is closed: go on with another :class:`Client`.
        :raise TypeError, ValueError: JSON has no way to say `data`; nothing was sent.
        """
        number = self._requests = self._requests + 1
        request = {"type": kind, "data": data, "status": {}, "timestamp": "", "id": number}
        line = json.dumps(request, ensure_ascii=False, allow_nan=False).encode()
        try:
            return self._exchange(line, number)
        except NoReply:
            self.close()
            raise

    def event(self) -> dict[str, Any]:
        """
        Wait for the next event of what a SUBSCRIBE has asked for: of each, in their order.

        The server sends one every half a minute at least.

        :return: the whole line; its `data` says what has changed.
        :raise NoReply: none came. The connection is closed: subscribe over another :class:`Client`.
        """
        if self._events:
            return self._events.popleft()
        ends = time.monotonic() + self._timeout_s
        try:
            while True:
                line = self._read_line(ends)
                if line["type"] == "EVENT":
                    return line
        except NoReply:
            self.close()
            raise

    def _exchange(self, line: bytes, number: int) -> dict[str, Any]:
        """Send a request's line, and wait for the reply with the id `number`."""
        ends = time.monotonic() + self._timeout_s
        self._tell(">", line)
        with _or_no_reply(self._where):
            if self._socket.fileno() < 0:
                raise ConnectionAbortedError("this connection is closed: make another Client")
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(line + b"\n")
        while True:
            reply = self._read_line(ends)
            # A line with another id, or none, is no reply to this. But what the server says where
            # it could not read an id, or of the connection as a whole, has none either: its type is
            # "error".
            if reply["type"] == "EVENT":
                self._events.append(reply)
            elif reply.get("id", number if reply["type"] == "error" else None) == number:
                return reply

    def _read_line(self, ends: float) -> dict[str, Any]:
        """What the next line says."""
        with _or_no_reply(self._where):
            line = self._next_line(ends)
        self._tell("<", line)
        with _or_no_reply(self._where):
            return _read(line)

    def _tell(self, way: str, line: bytes) -> None:
        if self._on_line is not None:
            self._on_line(way, line)

    def _next_line(self, ends: float) -> bytes:
        """The next line, without its end. OSError: it has not come by `ends`, or never will."""
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > LONGEST_LINE:
                raise ValueError(f"a line of more than {LONGEST_LINE} bytes")
            self._socket.settimeout(max(0.001, ends - time.monotonic()))
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionResetError("the connection was closed without a reply")
            self._received += part
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line


def _connected(host: str, port: int, tls: bool | ssl.SSLContext, timeout_s: float) -> socket.socket:
    try:
        connection = socket.create_connection((host, port), timeout_s)
    except UnicodeError:
        # No name has a part of more than 63 characters, or an empty one.
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
    try:
        # A request is one line in one segment; there is nothing to wait for.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not tls:
            return connection
        context = ssl.create_default_context() if tls is True else tls
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def _read(line: bytes) -> dict[str, Any]:
    """What a line from the server says, in the form of a reply. ValueError: it has another."""
    try:
        reply: dict[str, Any] = json.loads(line.decode())
        status = reply["status"]
        parts = [reply["type"], reply["data"], status["code"], status["message"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        parts = []
    if list(map(type, parts)) != [str, dict, int, str]:
        raise ValueError("what came is no reply of an evcharge server")
    return reply


@contextmanager
def _or_no_reply(where: str) -> Iterator[None]:
    """Make a :class:`NoReply` of what fails."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise NoReply(f"{where}: {why or error}") from error
