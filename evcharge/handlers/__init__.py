"""What the server does for each type of message; no reactor, no transport, no thread in here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred

from evcharge.errors import SUCCESS, USER_NOT_FOUND, Outcome, Phrase, RequestFailed
from evcharge.fields import Data, text
from evcharge.models.user import User
from evcharge.storage import Call, Storage, UnknownUser


@attrs.frozen
class Reply:
    """What a handler answers: `phrase`, if any, becomes the data's `message`."""

    data: dict[str, Any]
    outcome: Outcome = SUCCESS
    phrase: Phrase | None = None
    values: Mapping[str, object] = attrs.field(factory=dict)


class Handler(Protocol):
    """Handles one type of message."""

    def handle(self, data: Data) -> Deferred[Reply]:
        """
        Answer a request.

        :raise RequestFailed: it cannot be answered; the Deferred may fail with it too.
        """

    def on_failure(self, data: Data) -> dict[str, Any]:
        """The fields that a reply has when the request fails; `data` has not been checked."""


def find_user(call: Call, storage: Storage, data: Data) -> Deferred[User]:
    """
    The user whom `data["user_id"]` names.

    :raise RequestFailed: it is not text; or the Deferred fails with `user_not_found`.
    """

    def unknown(failure: Any) -> User:
        failure.trap(UnknownUser)
        raise RequestFailed(USER_NOT_FOUND)

    return call(storage.user, text(data, "user_id")).addErrback(unknown)
