"""How many users of one address may be logged in who neither hold an EVSE nor wait for one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from evcharge.handlers import Answer, then
from evcharge.net.guards import PENDING_LOGINS, OnRefused
from evcharge.net.guards.clients import Address, Addresses, CountedClient
from evcharge.net.guards.limits import MOST_PENDING_LOGINS
from evcharge.outcomes import RATE_LIMITED, Refusal, Reply
from evcharge.storage import Eventual
from evcharge.wire.fields import Data

Handle = Callable[[Data], Eventual[Answer]]

FORGOTTEN_PER_TURN = 500
"""Users that are forgotten in one turn of the reactor because they have been removed."""


class PendingLogins:
    """
    Stands around the handlers of LOGIN, and of what a user is none of the pending by, or is again.

    It counts what this process has seen: a user who pays at another one counts here until
    `user_ttl_s` has passed.

    :param most: users from one address; None: :data:`MOST_PENDING_LOGINS`, but any number from this
        machine; 0: any number.
    :param user_ttl_s: after which one of the pending is removed, seconds from the login.
    :param seconds: the present.
    """

    def __init__(
        self,
        addresses: Addresses,
        most: int | None,
        user_ttl_s: float,
        seconds: Callable[[], float],
        on_refused: OnRefused,
    ) -> None:
        self._addresses = addresses
        self._most = most
        self._user_ttl_s = user_ttl_s
        self._seconds = seconds
        self._on_refused = on_refused
        self._pending: dict[str, tuple[Address, float]] = {}
        """User id -> where the login came from, and when; the oldest first."""

    def login(self, handle: Handle, data: Data, client: CountedClient) -> Eventual[Answer]:
        """LOGIN; refused where too many from there are pending."""
        address = client.address
        most = address.limit(self._most, MOST_PENDING_LOGINS)
        if most is None:
            return handle(data)
        if address.pending_logins >= most:
            self._on_refused(PENDING_LOGINS, address.name)
            return Refusal(RATE_LIMITED)
        # Counted before it is known to succeed: many may be under way at a time.
        address.pending_logins += 1
        try:
            reply = handle(data)
        except Exception:
            self._release(address)
            raise
        if isinstance(reply, Deferred):
            return reply.addCallbacks(
                self._logged_in, self._failed, callbackArgs=(address,), errbackArgs=(address,)
            )
        return self._logged_in(reply, address)

    def _logged_in(self, reply: Answer, address: Address) -> Answer:
        if isinstance(reply, Refusal):
            self._release(address)
            return reply
        self._pending[reply.data["user_id"]] = (address, self._seconds())
        return reply

    def _failed(self, failure: Failure, address: Address) -> Failure:
        self._release(address)
        return failure

    def claim(self, handle: Handle, data: Data, client: CountedClient) -> Eventual[Answer]:
        """PAYMENT, RESERVE, ARRIVE: one who holds an EVSE, waits, or has left, is not pending."""
        return then(handle(data), self._answered, data)

    def _answered(self, reply: Reply, data: Data) -> Reply:
        if "state" in reply.data or data.get("confirmation") is False:
            self._forget(reply.data["user_id"])
        return reply

    def cancel(self, handle: Handle, data: Data, client: CountedClient) -> Eventual[Answer]:
        """CANCEL: one who has given up what there was is pending again."""
        return then(handle(data), self._given_up, client.address)

    def _given_up(self, reply: Reply, address: Address) -> Reply:
        user_id = reply.data["user_id"]
        limited = address.limit(self._most, MOST_PENDING_LOGINS) is not None
        if limited and user_id not in self._pending:
            address.pending_logins += 1
            self._pending[user_id] = (address, self._seconds())
        return reply

    def tidy(self) -> bool:
        """
        Forget the users who are not there any more.

        :return: whether there may be others, for another turn of the reactor.
        """
        latest = self._seconds() - self._user_ttl_s
        # In one pass: to find its first entry, a dict passes over all that were removed before.
        gone = [
            user_id
            for user_id, (_, since) in islice(self._pending.items(), FORGOTTEN_PER_TURN)
            if since <= latest
        ]
        for user_id in gone:
            self._forget(user_id)
        return len(gone) == FORGOTTEN_PER_TURN

    def _forget(self, user_id: str) -> None:
        pending = self._pending.pop(user_id, None)
        if pending is not None:
            self._release(pending[0])

    def _release(self, address: Address) -> None:
        address.pending_logins -= 1
        self._addresses.forget(address)
