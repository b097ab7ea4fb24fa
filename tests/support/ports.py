"""Ports of the loopback interface."""

import contextlib
import socket

from evcharge.net.ports import LOOPBACK


def families() -> dict[socket.AddressFamily, str]:
    """The loopback address of each family that this machine has: nearly always both."""
    found = {}
    for family, host in LOOPBACK.items():
        with contextlib.suppress(OSError), socket.create_server((host, 0), family=family):
            found[family] = host
    return found


def free_port() -> int:
    """One that is free with each family."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            port = 0
            for family, host in families().items():
                one = stack.enter_context(socket.create_server((host, port), family=family))
                port = one.getsockname()[1]
            return port
