"""
Where the network is kept: the operations of the journey, each atomic and idempotent.

The methods block: :mod:`evcharge.storage.threads` calls them off the reactor's thread. They may be
called from any number of threads at once. What they return is durable before they return it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred

from evcharge.models.station import ChargingSession, Station, StationState
from evcharge.models.user import User

P = ParamSpec("P")
R = TypeVar("R")


class StorageError(Exception):
    """The storage cannot be opened: says which file or option, and what is wrong with it."""


class StorageUnavailable(Exception):
    """The storage cannot be reached or written now; the operation may be tried again."""


class UnknownUser(Exception):
    """No user has this id."""


class UnknownStation(Exception):
    """No station that is in service has this id."""


class NoFreeSlot(Exception):
    """Every slot of the station is taken."""


class SlotHeldElsewhere(Exception):
    """The user holds a slot at another station, `station_id`."""

    def __init__(self, station_id: int) -> None:
        super().__init__(station_id)
        self.station_id = station_id


@attrs.frozen
class SweepResult:
    """What one sweep did."""

    freed: int
    """Slots whose charging had ended."""
    removed: int
    """Users who logged in and never paid."""


@attrs.frozen
class Summary:
    """What the storage holds."""

    stations: int
    users: int


class Storage(Protocol):
    """What a storage does. Every method may raise :class:`StorageUnavailable`."""

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

    def stations(self) -> Sequence[StationState]:
        """The stations in service and their slots at this moment, in id order."""

    def station(self, station_id: str) -> Station:
        """One station. UnknownStation: none in service has this id."""

    def user(self, user_id: str) -> User:
        """One user. UnknownUser: none has this id."""

    def users(self) -> Sequence[User]:
        """All users, in no order."""

    def add_user(self, user: User) -> None:
        """Keep a user who logs in; doing it again with the same user changes nothing."""

    def take_slot(self, session: ChargingSession) -> ChargingSession:
        """
        Take a slot for `session` and record its payment: both or neither.

        :return: the session that holds the user's slot: `session` itself, or the one that held
            the slot already, in which case `session` is forgotten.
        :raise UnknownUser: the user is not there (any more).
        :raise UnknownStation: the station is not in service.
        :raise SlotHeldElsewhere: the user stands at another station.
        :raise NoFreeSlot: the station is full.
        """

    def end_journey(self, user_id: str) -> None:
        """Free the slot that the user holds, if any, and remove the user. UnknownUser."""

    def sweep(self, now: float, logged_in_before: float) -> SweepResult:
        """
        End what has ended.

        :param now: free the slots whose charging ended by then, and remove their users.
        :param logged_in_before: remove the users who logged in before then and hold no slot.
        """


class Call(Protocol):
    """Calls a blocking function somewhere it may block: ``call(f, *args) -> Deferred``."""

    def __call__(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Deferred[R]: ...
