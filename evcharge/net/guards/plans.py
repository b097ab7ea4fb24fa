"""What planning a trip costs a client, and that nobody plans for who has gone."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from evcharge.handlers import Answer
from evcharge.net.guards.clients import CountedClient
from evcharge.net.guards.rates import Rates
from evcharge.outcomes import RATE_LIMITED, Refusal
from evcharge.storage import Eventual
from evcharge.wire.fields import Data

Handle = Callable[[Data], Eventual[Answer]]


class PlanLimit:
    """
    Stands around the handler of PLAN.

    :param cost: as how many requests one counts.
    :param rates: of requests; None: there may be any number.
    """

    def __init__(self, cost: int, rates: Rates | None) -> None:
        self._more = cost - 1
        self._rates = rates

    def plan(self, handle: Handle, data: Data, client: CountedClient) -> Eventual[Answer]:
        """PLAN; refused where its sender may not send as many requests as it counts for."""
        if self._rates is not None and not self._rates.take_more(client, self._more):
            return Refusal(RATE_LIMITED)
        answer = handle(data)
        if type(answer) is not Deferred:
            return answer
        client.leaving = answer.cancel
        told: Deferred[Answer] = Deferred(lambda _: answer.cancel())

        def answered(result: Answer | Failure) -> None:
            # Who has gone is not there to be answered: nor is it counted as if that were so.
            if client.leaving is not None:
                client.leaving = None
                told.callback(result)

        answer.addBoth(answered)
        return told
