"""Message type to handler, and any outcome to one reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.handlers import Answer, Handler
from evcharge.handlers.auth import Login
from evcharge.handlers.start import Start
from evcharge.handlers.station import Payment, SelectionStation
from evcharge.handlers.trip import Navigation
from evcharge.incidents import LastResort, new_incident
from evcharge.outcomes import (
    ALREADY_RESERVED,
    INTERNAL,
    NO_SLOT,
    NOTHING,
    STATION_NOT_FOUND,
    SUCCESS,
    UNAVAILABLE,
    UNKNOWN_TYPE,
    USER_NOT_FOUND,
    Outcome,
    Phrase,
    Refusal,
    RequestFailed,
)
from evcharge.storage import (
    Eventual,
    NoFreeSlot,
    Perform,
    SlotHeldElsewhere,
    UnknownStation,
    UnknownUser,
)
from evcharge.storage.group_commit import Unavailable
from evcharge.utils.ids import ending, uuid7
from evcharge.utils.time_utils import iso_utc
from evcharge.wire.envelope import UNREADABLE_TYPE, Request, decode, encode
from evcharge.wire.fields import Data

Guard: TypeAlias = Callable[[Callable[[Data], Eventual[Answer]], Data, Any], Eventual[Answer]]
"""Stands around a handler: it is given that, the request's data and who sent it."""

NO_GUARDS: Mapping[str, Guard] = {}

UNKNOWN = "unknown"
"""What requests of a type that there is not are counted under."""


def journey(
    perform: Perform,
    car_models: Callable[[], Mapping[str, Mapping[str, Any]]],
    now: Callable[[], float],
    time_scale: float = 1.0,
    new_id: Callable[[], str] | None = None,
) -> dict[str, Handler]:
    """
    The handlers of the driver's journey, by message type.

    :param perform: carries out the storage's operations.
    :param car_models: gives the catalogue, as :meth:`evcharge.storage.Storage.car_models` does.
    :param now: the present, seconds since the epoch.
    :param time_scale: how many times faster than real time charging goes.
    :param new_id: makes the ids of users and receipts: they must not be guessable.
    """
    if new_id is None:

        def new_id() -> str:
            return uuid7(now())

    return {
        "START": Start(perform, car_models),
        "LOGIN": Login(perform, car_models, new_id, now),
        "NAVIGATION": Navigation(perform),
        "SELECTION_STATION": SelectionStation(perform, now, time_scale),
        "PAYMENT": Payment(perform, new_id, now, time_scale),
    }


def _refusal(error: BaseException | None) -> Refusal | None:
    """What the client is told where an operation of the storage ends in `error`."""
    if isinstance(error, UnknownUser):
        return Refusal(USER_NOT_FOUND)
    if isinstance(error, UnknownStation):
        return Refusal(STATION_NOT_FOUND)
    if isinstance(error, NoFreeSlot):
        return Refusal(NO_SLOT)
    if isinstance(error, SlotHeldElsewhere):
        return Refusal(ALREADY_RESERVED, {"station": error.station_id})
    if isinstance(error, RequestFailed):
        return Refusal(error.outcome, error.values, error.more)
    return None


class Controller:
    """
    Answers lines.

    :param handlers: by message type.
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
        self._now = now
        self._language = language
        self._verbose = verbose
        self._closed = False
        self._reads = {kind: handler.reads for kind, handler in handlers.items()}
        self._success = SUCCESS.phrase.say(language)
        self.last_resort = LastResort(now, language, self._count_last_resort)
        """Makes the reply where making one has failed."""

    def _count_last_resort(self) -> None:
        if self._answered is not None:
            self._answered(UNREADABLE_TYPE, INTERNAL.code, 0.0)

    def close(self) -> None:
        """From now on answer every request with `unavailable`."""
        self._closed = True

    def dispatch(self, line: bytes, visitor: Any = None) -> Eventual[bytes]:
        """
        Carry out the request that `line` holds.

        :param visitor: who sent it, for the guards.
        :return: the reply, whatever the line and whatever happens, or a Deferred that fires with
            it, and never fails; cancelled, it fires with `unavailable`, though what was begun may
            still be done.
        """
        try:
            if self._answered is None:
                request = decode(line, self._reads)
            else:
                began = self._seconds()
                request = decode(line, self._reads)
                request.began = began
            if request.failure is not None:
                return self._failed(Failure(request.failure), request)
            handler = self._handlers.get(request.type)
            if handler is None:
                unknown = RequestFailed(UNKNOWN_TYPE, {"types": list(self._handlers)})
                return self._failed(Failure(unknown), request)
            if self._closed:
                return self._failed(Failure(RequestFailed(UNAVAILABLE)), request)
            try:
                guard = self._guards.get(request.type)
                if guard is None:
                    reply = handler.handle(request.data)
                else:
                    reply = guard(handler.handle, request.data, visitor)
                if not isinstance(reply, Deferred):
                    return self._done(reply, request)
            except Exception:
                return self._failed(Failure(), request)
            # The errback is for both: a reply that cannot be written is a failure as well.
            return reply.addCallback(self._done, request).addErrback(self._failed, request)
        except Exception:
            return self.last_resort(Failure())

    def refuse(
        self,
        outcome: Outcome,
        line: bytes | None = None,
        more: Mapping[str, object] = NOTHING,
    ) -> bytes:
        """
        The reply to a line that is not carried out, or to one who is not even listened to.

        :param more: further fields of its data, as for :class:`evcharge.outcomes.RequestFailed`.
        """
        try:
            request = Request() if line is None else decode(line, self._reads)
            request.began = self._seconds()
        except Exception:
            return self.last_resort(Failure())
        return self._failed(Failure(RequestFailed(outcome, more)), request)

    def _done(self, reply: Answer, request: Request) -> bytes:
        if isinstance(reply, Refusal):
            return self._refused(reply, request)
        outcome, data = reply.outcome, reply.data
        if outcome is SUCCESS:
            message = self._success
            if reply.say is not None:
                data["message"] = reply.say(self._language)
        else:
            message = data["message"] = outcome.phrase.say(self._language)
            data["reason"] = outcome.reason
        return self._encode(request, outcome, message, data)

    def _failed(self, failure: Failure, request: Request) -> bytes:
        """The reply to a request that ends in `failure`."""
        try:
            return self._explain(failure, request)
        except Exception:
            return self.last_resort(Failure())

    def _explain(self, failure: Failure, request: Request) -> bytes:
        refusal = _refusal(failure.value)
        if refusal is None and failure.check(Unavailable, CancelledError):
            refusal = Refusal(UNAVAILABLE)
            why = failure.getErrorMessage() or "it was given up"
            self.log.warn("{type} not served: {error}", type=request.type, error=why)
        elif refusal is None:
            incident = new_incident()
            refusal = Refusal(INTERNAL, more={"incident": incident})
            self.log.failure(
                "Incident {incident} in {type}",
                failure=failure,
                incident=incident,
                type=request.type,
            )
        return self._refused(refusal, request)

    def _refused(self, refusal: Refusal, request: Request) -> bytes:
        outcome, language = refusal.outcome, self._language
        handler = self._handlers.get(request.type)
        fields = {} if handler is None else handler.on_failure(request.data)
        message = outcome.phrase.say(language, refusal.figures)
        data = {**fields, "message": message, "reason": outcome.reason}
        for name, value in refusal.more.items():
            data[name] = value.say(language) if isinstance(value, Phrase) else value
        return self._encode(request, outcome, message, data)

    def _encode(
        self, request: Request, outcome: Outcome, message: str, data: Mapping[str, Any]
    ) -> bytes:
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
        return encode(request.type, data, outcome.code, message, iso_utc(self._now()), request.id)
