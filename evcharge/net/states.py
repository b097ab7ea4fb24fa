"""What a connection does, and whom it waits for."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a connection does: see :class:`evcharge.net.protocol.DriverProtocol`."""

    READING = "takes up lines as they come"
    BUSY = "waits for a reply, or for its turn"
    UNREAD = "waits for its replies to be read"
    DRAINING = "answers what has come, and takes no more"
    LINGERING = "has said all, and waits for the client's end"
    GONE = "is lost"


class Standing(Enum):
    """Whom a connection waits for, and how long that may take."""

    IDLE = "a request"
    IN_A_LINE = "the rest of a line"
    UNREAD = "its replies being read"
    BUSY = "the server"
    LISTENING = "news"
