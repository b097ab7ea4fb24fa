"""How many requests a second a client may send."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from evcharge.net.guards import RATE, OnRefused
from evcharge.net.guards.buckets import TokenBucket
from evcharge.net.guards.clients import CountedClient
from evcharge.net.replies import LastReply

Dispatch = Callable[[bytes, Any], Any]


class Taken(Enum):
    """What came of taking a token for a request."""

    ONE = "the request is carried out"
    NONE = "it is refused"
    OVERDRAWN = "it is refused, as the ones before it were, and its sender went on all the same"


class Rates:
    """
    Counts requests, over whichever port they come.

    :param seconds: the present.
    :param per_connection: requests a second; None: any number.
    :param per_address: the same, for all the connections of an address together.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        per_connection: float | None,
        per_address: float | None,
        on_refused: OnRefused,
    ) -> None:
        self._seconds = seconds
        self._per_connection = per_connection
        self._per_address = per_address
        self._on_refused = on_refused

    def take(self, client: CountedClient) -> Taken:
        """Count a request of `client`; who is OVERDRAWN is to be hung up on."""
        now = self._seconds()
        empty = [bucket for bucket in self._buckets(client, now) if not bucket.take(now)]
        if not empty:
            return Taken.ONE
        if any(bucket.is_overdrawn for bucket in empty):
            # Once for a client, and not for each request: it is the requests that are too many.
            self._on_refused(RATE, client.name)
            return Taken.OVERDRAWN
        return Taken.NONE

    def take_more(self, client: CountedClient, more: int) -> bool:
        """Count a request of `client` that was let in as so many more; whether it may be."""
        # One who is not counted has none.
        buckets = [each for each in (client.bucket, client.address.bucket) if each is not None]
        if not all(bucket.has(more) for bucket in buckets):
            return False
        for bucket in buckets:
            bucket.spend(more)
        return True

    def _buckets(self, client: CountedClient, now: float) -> list[TokenBucket]:
        buckets = []
        if self._per_connection is not None:
            if client.bucket is None:
                client.bucket = TokenBucket.full(self._per_connection, now)
            buckets.append(client.bucket)
        if self._per_address is not None:
            address = client.address
            if address.bucket is None:
                address.bucket = TokenBucket.full(self._per_address, now)
            buckets.append(address.bucket)
        return buckets


class RateLimit:
    """
    A dispatch of no more requests a second than are allowed.

    :param dispatch: carries a request out.
    :param refuse: makes the reply to a line that is not carried out.
    """

    def __init__(self, dispatch: Dispatch, refuse: Callable[[bytes], bytes], rates: Rates) -> None:
        self._dispatch = dispatch
        self._refuse = refuse
        self._rates = rates

    def __call__(self, line: bytes, client: CountedClient) -> Any:
        """
        The reply to `line`, or a Deferred of it; a :class:`LastReply` to one who was told that
        there are too many, and went on.
        """
        taken = self._rates.take(client)
        if taken is Taken.ONE:
            return self._dispatch(line, client)
        reply = self._refuse(line)
        return LastReply(reply) if taken is Taken.OVERDRAWN else reply
