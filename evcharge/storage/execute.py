"""Carrying operations out: the one way in which a storage is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from evcharge.rules.events import Event
from evcharge.rules.network import ChangeNetwork
from evcharge.rules.operation import Due, Needs, Operation
from evcharge.rules.timekeeping import SetClock
from evcharge.rules.view import View


class Transaction(Protocol):
    """What a store does for one batch: :meth:`load`, :meth:`claim` for each sweep, :meth:`save`."""

    def load(self, needs: Needs) -> View:
        """
        The records that were asked for.

        Those that may be changed are locked, where others share the storage: users first, then
        stations, each in the order of their ids; whoever has them is waited for.
        """

    def claim(self, view: View, due: Due) -> None:
        """
        Add to `view` users and sessions that are due, and say in `due`, `unpaid` and `more_due`
        which they are. What cannot end now is left out.

        It waits for nobody: what others have locked it passes over.
        """

    def save(self, events: Sequence[Event]) -> Mapping[int, Exception]:
        """
        Make what happened durable, by the end of the transaction at the latest.

        Called where something may be written, though nothing were to be.

        :return: which of the events (the places in `events`) did not come about, and why; whatever
            rests on one of them, such as another event of the same user, did not either.
        :raise TryAgain, Unavailable: none of them did, as far as is known.
        """


class Store(Protocol):
    """What a storage is to :func:`execute`, which is called by one thread at a time."""

    listeners: list[Callable[[Sequence[Event]], None]]
    """Who hears what has happened, once it is durable and memory has followed."""

    def transaction(self, write: bool) -> AbstractContextManager[Transaction]:
        """
        A batch: all of what it saves stands for good once it has ended well.

        :raise TryAgain, Unavailable: nothing was changed, as far as is known.
        """

    def apply(self, events: Sequence[Event]) -> None:
        """Have memory follow what has happened, and is durable."""


def execute(store: Store, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
    """
    Carry out operations, each of which sees what those before it have done.

    What sets the clock goes first, wherever it stands, and then what changes the network: all else
    is then by the clocks, and at the stations, that are.

    :return: in their order, the result of each, or the exception by which it broke; one that breaks
        changes nothing, and breaks no other.
    :raise TryAgain, Unavailable: none of them was carried out, as far as is known.
    """
    needs = Needs()
    for operation in operations:
        operation.add_needs(needs)
        if operation.clock is not None and operation.clock > needs.newest_clock:
            needs.newest_clock = operation.clock
    order: Sequence[int] = range(len(operations))
    if needs.sets_clock or needs.network:
        order = sorted(order, key=lambda place: _turn(operations[place]))
    results: list[Any] = [None] * len(operations)
    ends: list[int] = []
    failed: Mapping[int, Exception] = {}
    with store.transaction(needs.write) as transaction:
        view = transaction.load(needs)
        for due in needs.due:
            transaction.claim(view, due)
        events = view.events
        for place in order:
            mark = view.mark()
            try:
                results[place] = operations[place].decide(view)
            except Exception as error:
                view.wind_back(mark)
                results[place] = error
            ends.append(len(events))
        if needs.write:
            failed = transaction.save(events)
    if not failed:
        _follow(store, events)
        return results
    _follow(store, [event for number, event in enumerate(events) if number not in failed])
    begin = 0
    again: list[int] = []
    for place, end in zip(order, ends, strict=True):
        problem = next((failed[number] for number in range(begin, end) if number in failed), None)
        if problem is not None:
            results[place] = problem
        elif begin == end:
            # It may have been decided on what did not come about.
            again.append(place)
        begin = end
    if again:
        for place, result in zip(
            again, execute(store, [operations[place] for place in again]), strict=True
        ):
            results[place] = result
    return results


def _follow(store: Store, events: Sequence[Event]) -> None:
    store.apply(events)
    if events:
        for listener in store.listeners:
            listener(events)


def _turn(operation: Operation[Any]) -> int:
    if isinstance(operation, SetClock):
        return 0
    return 1 if isinstance(operation, ChangeNetwork) else 2
