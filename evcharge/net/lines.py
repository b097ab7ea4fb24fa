"""Lines for the controller: each is decoded, has its request answered, and the reply encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from evcharge.controller import Controller
from evcharge.net.replies import Subscribed
from evcharge.outcomes import INTERNAL, NOTHING, Outcome, Refusal, Reply
from evcharge.utils.time_utils import iso_utc
from evcharge.wire.envelope import Request, decode, encode, encode_event, end_of_event


class Lines:
    """
    Answers lines.

    :param now: the present, seconds since the epoch.
    """

    def __init__(self, controller: Controller, now: Callable[[], float]) -> None:
        self._controller = controller
        self._answer = controller.answer
        self._reads = controller.reads
        self._now = now
        self.last_resort = controller.last_resort.line
        """Makes the reply where making one has failed, given the Failure."""
        self._event_form = self._event

    def dispatch(self, line: bytes, client: Any = None) -> bytes | Deferred[bytes]:
        """
        Answer the request that `line` holds.

        :param client: who sent it, for the guards.
        :return: the reply, whatever the line and whatever happens, or a Deferred that fires with
            it, and never fails; cancelled, it fires with `unavailable`, though what was begun may
            still be done.
        """
        try:
            request = decode(line, self._reads)
            reply = self._answer(request, client)
            if not isinstance(reply, Reply):
                return reply.addCallback(self._written, request)
        except Exception:
            return self.last_resort(Failure())
        return self._written(reply, request)

    def refuse(
        self, outcome: Outcome, line: bytes | None = None, more: Mapping[str, object] = NOTHING
    ) -> bytes:
        """
        The reply to a line that is not answered, or to one who is not even listened to.

        :param more: further fields of its data, as for :class:`evcharge.outcomes.Refusal`.
        """
        try:
            request = Request() if line is None else decode(line, self._reads)
        except Exception:
            return self.last_resort(Failure())
        return self._written(self._controller.refuse(request, Refusal(outcome, more=more)), request)

    def refuse_connection(self, outcome: Outcome) -> bytes:
        """All that one is sent who is not let in: a reply with its end."""
        return self.refuse(outcome) + b"\n"

    def _written(self, reply: Reply, request: Request) -> bytes:
        try:
            line = encode(reply, iso_utc(self._now()))
            if reply.subscription is None:
                return line
            subscribed = Subscribed(line)
            subscribed.subscription = reply.subscription
            subscribed.form = self._event_form
            subscribed.tail = end_of_event(reply.id) + b"\n"
            return subscribed
        except Exception:
            if reply.outcome is INTERNAL:
                return self.last_resort(Failure())
            return self._written(self._controller.failed(Failure(), request), request)

    def _event(self, data: Mapping[str, Any]) -> bytes:
        """How events are written: a line that lacks its end."""
        return encode_event(data, self._controller.success, iso_utc(self._now()))
