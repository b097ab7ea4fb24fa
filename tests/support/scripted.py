"""Servers that do what a test has them do, and commands that are run against them."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import evcharge

ROOT = Path(evcharge.__file__).resolve().parent.parent
COMMAND = [sys.executable, "-c", "from evcharge.cli import main; main()"]


def scripted(test: SynchronousTestCase, serve: Callable[[socket.socket], object]) -> int:
    """
    Listen on a free port until the test ends.

    :param serve: called with each connection, in turn; it is closed afterwards.
    :return: the port.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            # A client that has left is no failure of the server's.
            with connection, contextlib.suppress(OSError):
                connection.settimeout(20)
                serve(connection)

    thread = threading.Thread(target=run)
    thread.start()

    def stop() -> None:
        # What waits in accept() is woken by this, but not by closing alone.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)

    test.addCleanup(stop)
    return listener.getsockname()[1]


def a_line(connection: socket.socket) -> dict[str, Any]:
    """The next request; what came behind it is lost."""
    received = b""
    while not received.endswith(b"\n"):
        part = connection.recv(65536)
        if not part:
            raise ConnectionError
        received += part
    return json.loads(received)


def says(*lines: bytes) -> Callable[[socket.socket], None]:
    """A server that answers one request with these lines, and then waits for the client to go."""

    def serve(connection: socket.socket) -> None:
        a_line(connection)
        for line in lines:
            connection.sendall(line)
        connection.recv(1)

    return serve


def silence(connection: socket.socket) -> None:
    """A server that never answers."""
    while connection.recv(65536):
        pass


def passes_on(
    port: int, loses: Callable[[dict[str, Any]], bool], waits: bool = False
) -> Callable[..., None]:
    """
    A server that has another one answer, and loses the replies to some requests.

    :param waits: whether it then waits for the client to go, rather than hang up.
    """

    def serve(connection: socket.socket) -> None:
        request = a_line(connection)
        with socket.create_connection(("127.0.0.1", port), 20) as other:
            other.sendall(json.dumps(request).encode() + b"\n")
            with other.makefile("rb") as replies:
                reply = replies.readline()
        if not loses(request):
            connection.sendall(reply)
        elif waits:
            connection.recv(1)

    return serve


def reply(number: Any = 1, kind: str = "LOGIN", code: int = 200, **data: Any) -> bytes:
    """A line as the server sends it."""
    whole = {
        "type": kind,
        "data": data,
        "status": {"code": code, "message": "Sucesso"},
        "timestamp": "2025-04-07T13:45:12.678Z",
    }
    if number is not None:
        whole["id"] = number
    return json.dumps(whole).encode() + b"\n"


def environment(**more: str) -> dict[str, str]:
    """What commands are run with: 80 columns, the package, and Python as it is by default."""
    ours = {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": ""}
    return {**os.environ, **ours, **more}


def command(*words: str, answers: str = "", **more: str) -> subprocess.CompletedProcess:
    """Run `evcharge` with these arguments to its end; what it said, as text."""
    return subprocess.run(
        [*COMMAND, *words],
        input=answers,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env=environment(**more),
    )
