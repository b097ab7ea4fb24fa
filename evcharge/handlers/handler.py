"""What the handlers have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, TypeAlias

import attrs
from twisted.internet.defer import Deferred

from evcharge.models.catalogue import Catalogue
from evcharge.models.slots import StationState
from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.outcomes import Refusal, Reply
from evcharge.planning.itinerary import planned
from evcharge.planning.planner import Asked
from evcharge.planning.sites import ERROR_S, Look
from evcharge.push import Push
from evcharge.storage import Eventual, Perform
from evcharge.utils.ids import uuid7
from evcharge.wire.fields import Data, Field, read

Answer: TypeAlias = Reply | Refusal
"""What becomes of a request."""


MOST_STATIONS = 5000
"""Of which a trip is planned, where nothing else was asked for."""


Solve: TypeAlias = Callable[
    [Asked, Look, Sequence[StationState], Collection[str]], Eventual[dict[str, Any] | Refusal]
]
"""Searches for the plan of a trip, and gives what is told of it, as
:func:`evcharge.planning.itinerary.planned` does, here and now."""


@attrs.frozen
class Context:
    """What the handlers work with."""

    perform: Perform
    """Carries out the storage's operations."""
    catalogue: Callable[[], Catalogue]
    """Gives what the network knows, as :meth:`evcharge.storage.Storage.catalogue` does."""
    now: Callable[[], float]
    """The present, seconds since the epoch."""
    hub: Push | None = None
    """Tells who subscribes what changes; None where nobody can."""
    terms: Terms = DEFAULT_TERMS
    """What sessions go by."""
    solve: Solve = planned
    most_stations: int = MOST_STATIONS
    """Of which one is planned."""
    plan_error_s: float = ERROR_S
    """How far a plan's search may be off in the time of a charge, seconds."""
    new_id: Callable[[], str] = attrs.field()
    """Makes the ids of users and receipts: they must not be guessable."""

    @new_id.default
    def _uuid7(self) -> Callable[[], str]:
        return lambda: uuid7(self.now())


@attrs.frozen
class Handler:
    """Answers one type of message."""

    TYPE: ClassVar[str]
    FIELDS: ClassVar[tuple[Field, ...]]
    """The fields of its data, in the order in which they are read."""
    GUARD: ClassVar[str | None] = None
    """What stands around it, of those that :mod:`evcharge.net.guards.service` has."""

    context: Context

    def answer(self, data: Data) -> Eventual[Answer]:
        """What becomes of a request with `data`. What it may raise is a fault, or Unavailable."""
        asked = read(self.FIELDS, data)
        return asked if isinstance(asked, Refusal) else self.handle(**asked)

    def handle(self, *_: Any, **asked: Any) -> Eventual[Answer]:
        """
        Answer a request that is as it should be.

        :param asked: what was read of each field that is there, by its name.
        """
        raise NotImplementedError

    def on_failure(self, data: Data) -> dict[str, Any]:
        """The fields that a reply has when the request is refused; `data` has not been checked."""
        return {}


def after(value: Eventual[Any], go_on: Callable[[Any], Eventual[Answer]]) -> Eventual[Answer]:
    """Go on with `value`, be it a :class:`Refusal`."""
    return value.addCallback(go_on) if type(value) is Deferred else go_on(value)


def then(
    value: Eventual[Any], go_on: Callable[..., Eventual[Answer]], *args: Any
) -> Eventual[Answer]:
    """
    Go on with `value`, unless it is a :class:`Refusal`: that is the answer then.

    It is gone on with now, where it is there, since most are and a Deferred costs more.
    """
    # It is an abstract class: isinstance() would look for registered ones.
    if type(value) is Deferred:
        return value.addCallback(_then, go_on, args)
    return value if isinstance(value, Refusal) else go_on(value, *args)


def _then(
    value: Any, go_on: Callable[..., Eventual[Answer]], args: tuple[Any, ...]
) -> Eventual[Answer]:
    return value if isinstance(value, Refusal) else go_on(value, *args)
