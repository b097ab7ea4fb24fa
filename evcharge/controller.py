"""Message type to handler, and any outcome to one reply, for every transport; no bytes in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.handlers import Answer, Handler
from evcharge.outcomes import (
    INTERNAL,
    SUCCESS,
    UNAVAILABLE,
    UNKNOWN_TYPE,
    Outcome,
    Phrase,
    Refusal,
    Reply,
)
from evcharge.storage import Eventual
from evcharge.storage.group_commit import Unavailable
from evcharge.utils.ids import ending
from evcharge.wire.envelope import UNREADABLE_TYPE, Request
from evcharge.wire.fields import Data, places
from evcharge.wire.last_resort import LastResort, new_incident

Guard: TypeAlias = Callable[[Callable[[Data], Eventual[Answer]], Data, Any], Eventual[Answer]]
"""Stands around a handler: it is given that, the request's data and who sent it."""

NO_GUARDS: Mapping[str, Guard] = {}

UNKNOWN = "unknown"
"""What requests of a type that there is not are counted under."""


class Controller:
    """
    Answers requests.

    :param handlers: by message type, as :func:`evcharge.handlers.handlers` makes them.
    :param now: the present, seconds since the epoch.
    :param language: of the texts, "pt" or "en".
    :param verbose: whether to log a line for each request.
    :param answered: called with the type, the code and the seconds it took, for each request.
    :param guards: by message type; may refuse a request, or take note of its reply.
    :param seconds: a clock that nobody sets, by which it is measured how long a request took; by
        default the present will do.
    """

    log = Logger()

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        now: Callable[[], float],
        language: str = "pt",
        verbose: bool = False,
        guards: Mapping[str, Guard] = NO_GUARDS,
        answered: Callable[[str, int, float], None] | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._answered = answered
        self._seconds = now if seconds is None else seconds
        self._handlers = handlers
        self._guards = guards
        self._language = language
        self._verbose = verbose
        self._notes = verbose or answered is not None
        self._closed = False
        self.success = SUCCESS.phrase.say(language)
        """The text of a success."""
        self.reads = {kind: list(places(handler.FIELDS)) for kind, handler in handlers.items()}
        """The places in its data that a request of each type reads, for whoever decodes it."""
        self.last_resort = LastResort(now, language, self._count_last_resort)
        """Makes the reply where making one has failed."""

    def _count_last_resort(self) -> None:
        if self._answered is not None:
            self._answered(UNREADABLE_TYPE, INTERNAL.code, 0.0)

    def close(self) -> None:
        """From now on answer every request with `unavailable`."""
        self._closed = True

    def answer(self, request: Request, client: Any = None) -> Eventual[Reply]:
        """
        Carry out a request.

        :param client: who sent it, for the guards.
        :return: the reply, whatever the request and whatever happens, or a Deferred that fires
            with it, and never fails; cancelled, it fires with `unavailable`, though what was begun
            may still be done.
        """
        try:
            if self._answered is not None:
                request.began = self._seconds()
            if request.refusal is not None:
                return self._refused(request.refusal, request)
            handler = self._handlers.get(request.type)
            if handler is None:
                types = {"types": list(self._handlers)}
                return self._refused(Refusal(UNKNOWN_TYPE, more=types), request)
            if self._closed:
                return self._refused(Refusal(UNAVAILABLE), request)
            try:
                answer: Any
                guard = self._guards.get(request.type)
                if guard is None:
                    answer = handler.answer(request.data)
                else:
                    answer = guard(handler.answer, request.data, client)
                # An abstract class, for which isinstance() would look for registered ones.
                if type(answer) is not Deferred:
                    return self._done(answer, request)
            except Exception:
                return self.failed(Failure(), request)
            # The errback is for both: a reply that cannot be made is a failure as well.
            return answer.addCallback(self._done, request).addErrback(self.failed, request)
        except Exception:
            return self.last_resort.reply(Failure())

    def refuse(self, request: Request, refusal: Refusal) -> Reply:
        """The reply to a request that is not carried out."""
        try:
            if self._answered is not None:
                request.began = self._seconds()
            return self._refused(refusal, request)
        except Exception:
            return self.last_resort.reply(Failure())

    def failed(self, failure: Failure, request: Request) -> Reply:
        """The reply to a request that ends in `failure`."""
        try:
            if failure.check(Unavailable, CancelledError):
                refusal = Refusal(UNAVAILABLE)
                why = failure.getErrorMessage() or "it was given up"
                self.log.warn("{type} not served: {error}", type=request.type, error=why)
            else:
                incident = new_incident()
                refusal = Refusal(INTERNAL, more={"incident": incident})
                self.log.failure(
                    "Incident {incident} in {type}",
                    failure=failure,
                    incident=incident,
                    type=request.type,
                )
            return self._refused(refusal, request)
        except Exception:
            return self.last_resort.reply(Failure())

    def _done(self, answer: Answer, request: Request) -> Reply:
        if isinstance(answer, Refusal):
            return self._refused(answer, request)
        outcome, data = answer.outcome, answer.data
        if outcome is SUCCESS:
            message = self.success
            if answer.say is not None:
                data["message"] = answer.say(self._language)
        else:
            message = data["message"] = outcome.phrase.say(self._language)
            data["reason"] = outcome.reason
        answer.type, answer.id, answer.message = request.type, request.id, message
        if self._notes:
            self._note(outcome, request)
        return answer

    def _refused(self, refusal: Refusal, request: Request) -> Reply:
        outcome, language = refusal.outcome, self._language
        handler = self._handlers.get(request.type)
        fields = {} if handler is None else handler.on_failure(request.data)
        message = outcome.phrase.say(language, refusal.figures)
        data = {**fields, "message": message, "reason": outcome.reason}
        for name, value in refusal.more.items():
            data[name] = value.say(language) if isinstance(value, Phrase) else value
        if self._notes:
            self._note(outcome, request)
        return Reply(data, outcome, None, request.type, message, request.id)

    def _note(self, outcome: Outcome, request: Request) -> None:
        """Count and log a request that ends in `outcome`."""
        if self._answered is not None:
            kind = request.type
            if kind not in self._handlers and kind != UNREADABLE_TYPE:
                # What a client makes up is no label.
                kind = UNKNOWN
            self._answered(kind, outcome.code, self._seconds() - request.began)
        if self._verbose:
            user_id = request.data.get("user_id")
            self.log.info(
                "{type} {code} {reason} user {user}",
                type=request.type if request.type in self._handlers else UNREADABLE_TYPE,
                code=outcome.code,
                reason=outcome.reason or "ok",
                user=f"…{ending(user_id)!r}" if isinstance(user_id, str) and user_id else "-",
                asked_for=True,
            )
