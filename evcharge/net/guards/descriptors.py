"""File descriptors: how many connections there can be."""

from __future__ import annotations

import resource

RESERVED = 200
"""
Descriptors for all else than drivers' connections: those who are being told that they are refused
(:data:`evcharge.net.guards.connection_limit.MOST_TOLD`), those who watch the server
(:data:`evcharge.web.health.MOST_CONNECTIONS`), and fifty for files, databases and logs.
"""


def make_room(connections: int) -> int:
    """
    Have the process allowed descriptors for so many connections, as far as that is possible.

    :return: how many connections there are descriptors for, `connections` at most, at least one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(1, min(connections, max(allowed, soft) - RESERVED))
