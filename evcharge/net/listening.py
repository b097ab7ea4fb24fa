"""A connection that listens: what it is told between its replies."""

from __future__ import annotations

from typing import Any

from evcharge.net.connections import Client
from evcharge.net.replies import Subscribed
from evcharge.push import TCP, Form
from evcharge.push.hub import Subscription


class Listening:
    """What a connection has that may listen: the part of it that the hub knows."""

    form_name = TCP
    form: Form
    client: Client | None
    transport: Any
    lines: int
    """Whole lines that have been taken up."""
    _subscription: Subscription | None = None
    _tail = b""
    _heard = 0
    """Events so far."""

    @property
    def can_hear(self) -> bool:
        """Whether a line that is told now goes out at once, and stays in nobody's memory."""
        raise NotImplementedError

    def tell(self, line: bytes) -> None:
        """Send a line that is no reply, between two that are."""
        raise NotImplementedError

    @property
    def listens(self) -> bool:
        """Whether it has subscribed to something."""
        return self._subscription is not None

    @property
    def is_behind(self) -> bool:
        """Whether it is to be told something, and does not read."""
        subscription = self._subscription
        return subscription is not None and bool(subscription.owed) and not self.can_hear

    @property
    def progress(self) -> int:
        """How much was done for the client: lines taken up, and told."""
        return self.lines + self._heard

    def listen(self, reply: Subscribed | None) -> None:
        """Be told what `reply` promises from now on, and nothing else."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.end()
        elif reply is None:
            return
        if reply is not None and not reply.subscription.is_for_nothing:
            self.form, self._tail = reply.form, reply.tail
            # What frames its lines says so.
            self.form_name = getattr(self.transport, "form_name", TCP)
            self._subscription = reply.subscription
            self._subscription.begin(self)
        if self.client is not None:
            self.client.listens = self.listens

    def hear(self, event: bytes) -> None:
        """Take an event."""
        self._heard += 1
        self.tell(event + self._tail)
