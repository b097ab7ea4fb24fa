"""
Where the network is kept: the operations of the journey, each atomic and idempotent.

A :class:`Storage` carries out operations, many at once, blocking. The server reaches it through a
:class:`Perform`, which answers from memory where the storage can, and hands the rest to a group
commit. What an operation results in is durable by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import attrs
from twisted.internet.defer import Deferred

from evcharge.models.station import ChargingSession, Station, StationState
from evcharge.models.user import User
from evcharge.storage.clocks import Clocks, Decide
from evcharge.storage.group_commit import Unavailable

R = TypeVar("R")

Eventual: TypeAlias = R | Deferred[R]
"""A value that is there already, or will be."""


class StorageError(Exception):
    """The storage cannot be opened: says which file or option, and what is wrong with it."""


class StorageUnavailable(Unavailable):
    """The storage cannot be reached or written now; the operation may be tried again."""


class Refused(Exception):
    """An operation that cannot be, as things are."""


class UnknownUser(Refused):
    """No user has this id."""


class UnknownStation(Refused):
    """No station that is in service has this id."""


class NoFreeSlot(Refused):
    """Every slot of the station is taken."""


class SlotHeldElsewhere(Refused):
    """The user holds a slot at another station, `station_id`."""

    def __init__(self, station_id: int) -> None:
        super().__init__(station_id)
        self.station_id = station_id


@attrs.define
class Operation(Generic[R]):
    """Something that a storage does as a whole or not at all, and that results in an `R`."""

    clock: int | None = attrs.field(default=None, init=False, eq=False, repr=False)
    """By which of the storage's clocks its instants are; None: by the newest."""


@attrs.define
class FindUser(Operation[User]):
    """
    One user. UnknownUser: none has this id.

    StorageUnavailable: the user, or with `whereabouts` where the user stands, cannot be read now.
    """

    user_id: str
    whereabouts: bool = False
    """Whether it must be known where the user stands, and be it nowhere: who asks where to go is
    sent nowhere else."""


@attrs.define
class AddUser(Operation[None]):
    """Keep a user who logs in; doing it again with the same user changes nothing."""

    user: User


@attrs.define
class ListStations(Operation[Sequence[StationState]]):
    """The stations in service and their slots, in id order, not more than a second old."""


@attrs.define
class TakeSlot(Operation[ChargingSession]):
    """
    Take a slot of a station for a user and record its payment: both or neither.

    Results in the session that holds the user's slot: the planned one, or the one that held the
    slot already.

    UnknownUser: the user is not there (any more). UnknownStation: the station is not in service.
    SlotHeldElsewhere: the user stands at another station. NoFreeSlot: the station is full.
    """

    user_id: str
    station_id: str
    plan: Callable[[User, Station], ChargingSession]
    """Works the session out; pure, and called at most once for each attempt."""


@attrs.define
class EndJourney(Operation[None]):
    """Free the slot that the user holds, if any, and remove the user. UnknownUser."""

    user_id: str


@attrs.frozen
class SweepResult:
    """What one sweep did."""

    freed: int
    """Slots whose charging had ended."""
    removed: int
    """Users who logged in and never paid."""
    more: bool = False
    """Whether there may be more to end: the next sweep need not wait."""


@attrs.define
class Sweep(Operation[SweepResult]):
    """End what has ended, or a part of it where it is much."""

    now: float
    """Slots whose charging ended by then are freed, and their users removed."""
    logged_in_before: float
    """Users who logged in before then and hold no slot are removed."""


@attrs.frozen
class TimeTold:
    """What a storage knows of the time."""

    clocks: Clocks
    lead_s: float | None = None
    """How far its own time is ahead of the steady seconds; None: it goes by the machine's."""
    error_s: float = 0.0
    """By how much that may be wrong."""


@attrs.define
class ReadClock(Operation[TimeTold]):
    """What time it is, where the storage has a time of its own, by which all who share it go."""

    steady: Callable[[], float]
    """Seconds since anything; nobody sets them."""


@attrs.define
class SetClock(Operation[Clocks]):
    """
    Have another clock, and the instants that stand moved as far as it says, in one step.

    Results in the clocks that there are then. Sessions and users, of which the latter may be
    written anew later, are moved; of the payments those that are marked by a suspect clock, and,
    where the clock was set back, those that would now be in the future.
    """

    decide: Decide


@attrs.frozen
class Summary:
    """What the storage holds."""

    stations: int
    users: int


class Storage(Protocol):
    """
    What a storage does.

    The methods block, and may be called from any number of threads at once, but for
    :meth:`car_models`, :meth:`recall` and :meth:`interrupt`, which never block.
    """

    patience_s: float
    """How long an operation may take before whoever waits is told that it did not come about."""

    def open(self, now: float) -> Summary:
        """
        Open the storage, and put right what an interrupted process left.

        :param now: seconds since the epoch.
        :raise StorageError: it cannot be opened.
        """

    def close(self) -> None:
        """Let go of the storage. Nothing is called afterwards."""

    def car_models(self) -> Mapping[str, Mapping[str, Any]]:
        """The catalogue: model name -> its facts, in the JSON form of `car_models.json`."""

    def recall(self, operation: Operation[R]) -> R | None:
        """The result of `operation`, where memory has it and it is true; else None."""

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        """
        Carry out operations that nothing orders among one another.

        :return: in their order, the result of each, or the exception in which it ends.
        :raise TryAgain, Unavailable: none of them was carried out, as far as is known.
        """

    def interrupt(self) -> None:
        """Have an `execute` that waits for another machine end, with TryAgain."""

    def users(self) -> Iterable[User]:
        """All users, in no order."""


class Perform(Protocol):
    """Has an operation carried out, and never blocks."""

    def __call__(self, operation: Operation[R], /) -> Eventual[R]:
        """The result of `operation`, which may also raise, or fail with, what it names."""


def performer(
    storage: Storage,
    submit: Callable[[Operation[Any]], Deferred[Any]],
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
    """Carry out one operation, blocking; raises what it ends in."""
    (result,) = storage.execute([operation])
    if isinstance(result, Exception):
        raise result
    return result  # type: ignore[no-any-return]
