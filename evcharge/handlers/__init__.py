"""What the server does for each type of message; no reactor, no transport, no thread in here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred

from evcharge.outcomes import SUCCESS, Outcome
from evcharge.storage import Eventual
from evcharge.wire.envelope import Place
from evcharge.wire.fields import Data

T = TypeVar("T")
U = TypeVar("U")


@attrs.define
class Reply:
    """What a handler answers."""

    data: dict[str, Any]
    outcome: Outcome = SUCCESS
    say: Callable[[str], str] | None = None
    """What makes the data's `message`, if there is one: it is given the language."""


class Handler(Protocol):
    """Handles one type of message."""

    @property
    def reads(self) -> Sequence[Place]:
        """The places in a request's data that it looks at."""

    def handle(self, data: Data) -> Eventual[Reply]:
        """
        Answer a request.

        :raise RequestFailed: it cannot be answered; or what an operation of the storage ends in.
            A Deferred may fail with the same.
        """

    def on_failure(self, data: Data) -> dict[str, Any]:
        """The fields that a reply has when the request fails; `data` has not been checked."""


def then(value: Eventual[T], go_on: Callable[..., Eventual[U]], *args: Any) -> Eventual[U]:
    """Go on with `value`: now, where it is there, since most are and a Deferred costs more."""
    if isinstance(value, Deferred):
        return value.addCallback(go_on, *args)
    return go_on(value, *args)
