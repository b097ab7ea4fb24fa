"""What the server does for each type of message; no reactor, no transport, no thread in here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import attrs
from twisted.internet.defer import Deferred

from evcharge.outcomes import SUCCESS, Outcome, Refusal
from evcharge.storage import Eventual
from evcharge.wire.envelope import Place
from evcharge.wire.fields import Data


@attrs.define
class Reply:
    """What a handler answers."""

    data: dict[str, Any]
    outcome: Outcome = SUCCESS
    say: Callable[[str], str] | None = None
    """What makes the data's `message`, if there is one: it is given the language."""


Answer: TypeAlias = Reply | Refusal
"""What becomes of a request."""


class Handler(Protocol):
    """Handles one type of message."""

    @property
    def reads(self) -> Sequence[Place]:
        """The places in a request's data that it looks at."""

    def handle(self, data: Data) -> Eventual[Answer]:
        """
        Answer a request.

        :raise RequestFailed: it cannot be answered; or what an operation of the storage ends in.
            A Deferred may fail with the same.
        """

    def on_failure(self, data: Data) -> dict[str, Any]:
        """The fields that a reply has when the request fails; `data` has not been checked."""


def then(
    value: Eventual[Any], go_on: Callable[..., Eventual[Answer]], *args: Any
) -> Eventual[Answer]:
    """
    Go on with `value`, unless it is a :class:`Refusal`: that is the answer then.

    It is gone on with now, where it is there, since most are and a Deferred costs more.
    """
    if isinstance(value, Deferred):
        return value.addCallback(_then, go_on, args)
    return value if isinstance(value, Refusal) else go_on(value, *args)


def _then(
    value: Any, go_on: Callable[..., Eventual[Answer]], args: tuple[Any, ...]
) -> Eventual[Answer]:
    return value if isinstance(value, Refusal) else go_on(value, *args)
