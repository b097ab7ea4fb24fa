"""
What stands between the network and the drivers' protocol: how many clients, how much, how long.

::

    a connection --> ConnectionLimit --> DriverProtocol --> RateLimit --> Controller
                     so many in all,     lines, replies     so many       PendingLogins
                     so many from        ^                  requests      so many users
                     an address          | ends what        a second      of an address
                                         | takes too long                 who hold nothing
                                         Timeouts               SubscriberLimit
                                                                so many who listen
                                                                PlanLimit
                                                                as so many requests

Each has one job and knows none of the others; what they count by is in :mod:`.clients`, and
:mod:`.service` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger, LogLevel

CONNECTIONS = "connections"
ADDRESS_CONNECTIONS = "address_connections"
RATE = "rate"
PENDING_LOGINS = "pending_logins"
SUBSCRIBERS = "subscribers"
PROXY_HEADER = "proxy_header"
TLS_HANDSHAKE = "tls_handshake"
TLS_FAILED = "tls_failed"
PLAIN_TEXT = "plain_text"
OTHER_PROTOCOL = "other_protocol"
ORIGIN = "origin"
HOST = "host"
IDLE = "idle"
SLOW_REQUEST = "slow_request"
SLOW_LINE = "slow_line"
UNREAD = "unread"
UNANSWERED = "unanswered"

REASONS = {
    CONNECTIONS: "too many connections (--max-connections)",
    ADDRESS_CONNECTIONS: "too many connections from there (--max-connections-per-address)",
    RATE: "too many requests (--rate-per-connection, --rate-per-address)",
    PENDING_LOGINS: "too many users who neither hold an EVSE nor wait (--max-pending-logins)",
    SUBSCRIBERS: "too many subscribers (--max-subscribers)",
    PROXY_HEADER: "no PROXY header came (--proxy-protocol)",
    TLS_HANDSHAKE: "a TLS handshake that took too long",
    TLS_FAILED: "a TLS connection that failed",
    PLAIN_TEXT: "plain text on the port for TLS (--tls-port)",
    OTHER_PROTOCOL: "another protocol than the port is for, such as HTTP or TLS",
    ORIGIN: "a page of another server (--web-origin)",
    HOST: "asked for by a name that is not the server's (--web-host)",
    IDLE: "no request for too long (--idle-timeout)",
    SLOW_LINE: "a line that took too long (--line-timeout)",
    SLOW_REQUEST: "an HTTP request that took too long",
    UNREAD: "replies left unread for too long (--unread-timeout)",
    UNANSWERED: "kept waiting by the server for too long, which is a fault of its own",
}
"""Why a client is refused: what metrics call it, and what the log says."""


class OnRefused(Protocol):
    """Called with one of :data:`REASONS` and the client's address, for each client refused."""

    def __call__(self, reason: str, who: str, detail: str = "", /) -> None:
        """`detail`: what more there is to say of the reason."""


class Refusals:
    """
    Says who was refused, in the log and to whoever counts.

    :param counted: called with one of :data:`REASONS`.
    """

    log = Logger()

    def __init__(self, counted: Callable[[str], None] | None = None) -> None:
        self._counted = counted

    def __call__(self, reason: str, who: str, detail: str = "", /) -> None:
        if self._counted is not None:
            self._counted(reason)
        why = f"{REASONS[reason]}: {detail}" if detail else REASONS[reason]
        # Its own fault is not to be lost among those of clients.
        level = LogLevel.error if reason == UNANSWERED else LogLevel.info
        self.log.emit(level, "Refused {who}: {why}", who=who, why=why, reason=reason)
