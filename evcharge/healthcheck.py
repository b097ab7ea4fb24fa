"""
Asks a server for a sign of life, and exits 0 where it gives one: `python -m evcharge.healthcheck`.

A port may be named behind it; otherwise it is 8888. The question is the range of a user whom there
is not. It costs little, changes nothing, and is for the storage itself to answer: in its memory the
server has whom there is, and never whom there is not.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from evcharge.client import PORT, Client, NoReply

TIMEOUT_S = 5.0

NOBODY = "00000000-0000-0000-0000-000000000000"
"""A user id that nobody has."""


def healthy(host: str, port: int) -> bool:
    """Whether a server at `host`:`port`, and its storage, answer within 5 seconds a step."""
    try:
        with Client(host, port, timeout_s=TIMEOUT_S) as server:
            reply = server.request("NAVIGATION", user_id=NOBODY, route_distance=1)
    except NoReply:
        return False
    return bool(reply["data"].get("reason") == "user_not_found")


def main(arguments: Sequence[str]) -> int | str:
    """The exit status: 0 where a server answers; or what is wrong with `arguments`."""
    port = arguments[0] if arguments else str(PORT)
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        return f"evcharge.healthcheck: PORT must be a number from 0 to 65535, not {port!r}"
    return 0 if healthy("127.0.0.1", int(port)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
