"""Asks a server for START and exits 0 when it answers: `python -m evcharge.healthcheck [PORT]`."""

from __future__ import annotations

import json
import socket
import sys

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


if __name__ == "__main__":
    sys.exit(0 if healthy("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 8888) else 1)
