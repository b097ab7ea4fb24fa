"""How many may listen to what changes."""

from __future__ import annotations

from collections.abc import Callable

from evcharge.handlers import Answer
from evcharge.net.guards import SUBSCRIBERS, OnRefused
from evcharge.net.guards.clients import CountedClient
from evcharge.outcomes import TOO_MANY_SUBSCRIBERS, Refusal
from evcharge.storage import Eventual
from evcharge.wire.fields import Data

Handle = Callable[[Data], Eventual[Answer]]


class SubscriberLimit:
    """
    Stands around the handler of SUBSCRIBE.

    :param most: subscribers of this process.
    """

    def __init__(self, most: int, on_refused: OnRefused) -> None:
        self._most = most
        self._on_refused = on_refused
        self.listening: Callable[[], int] = lambda: 0
        """How many there are."""

    def subscribe(self, handle: Handle, data: Data, client: CountedClient) -> Eventual[Answer]:
        """SUBSCRIBE; refused where there are too many, but for who is one already, or ends it."""
        if data.get("topics") and not client.listens and self.listening() >= self._most:
            self._on_refused(SUBSCRIBERS, client.name)
            return Refusal(TOO_MANY_SUBSCRIBERS)
        return handle(data)
