"""What a client may have and do, and for how long."""

from __future__ import annotations

import attrs

MOST_PER_ADDRESS = 1000
"""Connections from one address, where nothing else was asked for and it is not this machine."""

MOST_PENDING_LOGINS = 10_000
"""Users of one address who neither hold an EVSE nor wait, where nothing else was asked for,
likewise."""

PLAN_COST = 50
"""As how many requests a PLAN counts, where nothing else was asked for."""


@attrs.frozen(kw_only=True)
class Limits:
    """The limits of a server; a rate or a time that is None is no limit."""

    connections: int
    """In all."""
    connections_per_address: int | None = None
    """None: :data:`MOST_PER_ADDRESS`, but any number from this machine; 0: any number."""
    pending_logins: int | None = None
    """Users of an address who neither hold an EVSE nor wait. None:
    :data:`MOST_PENDING_LOGINS`, likewise."""
    subscribers: int = 5000
    """Who listen to what changes, in all."""
    user_ttl_s: float
    """After which a user is removed who neither holds an EVSE nor waits, seconds from the login."""
    rate_per_connection: float | None = None
    """Requests a second."""
    rate_per_address: float | None = None
    plan_cost: int = PLAN_COST
    """As how many requests a PLAN counts."""
    idle_s: float | None = None
    """Until the next line begins."""
    line_s: float | None = None
    """From there to its end."""
    unread_s: float | None = None
    """Until the replies have been read."""
    proxy_protocol: bool = False
    """Whether connections come through a proxy, which says for whom."""
