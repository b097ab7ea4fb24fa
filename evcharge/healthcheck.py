"""Asks a server for START and exits 0 when it answers: `python -m evcharge.healthcheck [PORT]`."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence

TIMEOUT_S = 5.0


def healthy(host: str, port: int) -> bool:
    """Whether a server at `host`:`port` answers START with success, within 5 seconds a step."""
    request = {"type": "START", "data": {}, "status": {}, "timestamp": ""}
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as replies:
                return bool(json.loads(replies.readline())["status"]["code"] == 200)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def main(arguments: Sequence[str]) -> int | str:
    """The exit status: 0 where a server answers; or what is wrong with `arguments`."""
    port = arguments[0] if arguments else "8888"
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        return f"evcharge.healthcheck: PORT must be a number from 0 to 65535, not {port!r}"
    return 0 if healthy("127.0.0.1", int(port)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
