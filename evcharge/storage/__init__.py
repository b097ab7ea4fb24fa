"""
Where the network is kept: what carries out the operations of :mod:`evcharge.rules`.

A :class:`Storage` carries out operations, many at once, blocking; each is atomic and idempotent.
The server reaches it through a :class:`Perform`, which answers from memory where the storage can,
and hands the rest to a group commit. What an operation results in is durable by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs
from twisted.internet.defer import Deferred

from evcharge.models.catalogue import Catalogue
from evcharge.models.user import User
from evcharge.rules.events import Event
from evcharge.rules.operation import Operation
from evcharge.storage.group_commit import Unavailable

R = TypeVar("R")

Eventual: TypeAlias = R | Deferred[R]
"""A value that is there already, or will be."""


Listener: TypeAlias = Callable[[Sequence[Event]], None]
"""Hears what has happened when it is durable, and memory has followed: in the storage's thread, and
so it must neither block nor raise."""


class StorageError(Exception):
    """The storage cannot be opened: says which file or option, and what is wrong with it."""


class StorageUnavailable(Unavailable):
    """The storage cannot be reached or written now; the operation may be tried again."""


@attrs.frozen
class Summary:
    """What the storage holds."""

    stations: int
    users: int


class Storage(Protocol):
    """
    What a storage does.

    The methods block, and may be called from any number of threads at once, but for
    :meth:`catalogue`, :meth:`recall` and :meth:`interrupt`, which never block.
    """

    patience_s: float
    """How long an operation may take before whoever waits is told that it did not come about."""
    listeners: list[Listener]
    """Who hears what has happened, in its order."""

    def open(self, now: float) -> Summary:
        """
        Open the storage, and put right what an interrupted process left.

        :param now: seconds since the epoch.
        :raise StorageError: it cannot be opened.
        """

    def close(self) -> None:
        """Let go of the storage. Nothing is called afterwards."""

    def catalogue(self) -> Catalogue:
        """The cars and the tariffs of the network; another object when they are others."""

    def recall(self, operation: Operation[R]) -> R | None:
        """The result of `operation`, where memory has it and it is true; else None."""

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        """
        Carry out operations that nothing orders among one another.

        :return: in their order, the result of each, be it a refusal, or the exception in which it
            ends.
        :raise TryAgain, Unavailable: none of them was carried out, as far as is known.
        """

    def interrupt(self) -> None:
        """Have an `execute` that waits for another machine end, with TryAgain."""

    def users(self) -> Iterable[User]:
        """All users, in no order."""


class Perform(Protocol):
    """Has an operation carried out, and never blocks."""

    def __call__(self, operation: Operation[R], /) -> Eventual[R]:
        """The result of `operation`, be it a refusal; raises, or fails with, how it broke."""


def performer(
    storage: Storage,
    submit: Callable[[Operation[Any]], Eventual[Any]],
    clock: Callable[[], int | None] = lambda: None,
) -> Perform:
    """
    What answers from the memory of `storage` where it can, and submits what is left.

    :param clock: the storage's clock by which the instants of an operation are.
    """
    recall = storage.recall

    def perform(operation: Operation[R], /) -> Eventual[R]:
        known = recall(operation)
        if known is not None:
            return known
        operation.clock = clock()
        return submit(operation)

    return perform


def carry_out(storage: Storage, operation: Operation[R]) -> R:
    """Carry out one operation, blocking; its result, be it a refusal, or raises how it broke."""
    (result,) = storage.execute([operation])
    if isinstance(result, Exception):
        raise result
    return result  # type: ignore[no-any-return]
