"""Ports of the loopback interface."""

import contextlib
import random
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
    """
    One that is free with each family. The system gives it to nobody who wants just any: until it is
    taken, other tests have clients and servers by the hundred.
    """
    while True:
        port = _LUCK.randrange(10_000, 32_000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for family, host in families().items():
                stack.enter_context(socket.create_server((host, port), family=family))
            return port


_LUCK = random.SystemRandom()
"""Not the common one, which Hypothesis begins anew for each example: the same ports everywhere."""
