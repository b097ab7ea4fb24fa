"""What has happened: the values that a storage makes durable, and that memory follows."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from evcharge.models.network import Network, StationRecord
from evcharge.models.session import ChargingSession
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks


@attrs.frozen
class UserAdded:
    """A driver has logged in; or has done so before, and this is the same user."""

    user: User


@attrs.frozen
class UserRemoved:
    """A journey is over. The user's record may be gone already."""

    user_id: str


@attrs.frozen
class SlotTaken:
    """A vehicle holds a slot from now on, and its payment was taken."""

    session: ChargingSession


@attrs.frozen
class SlotFreed:
    """A vehicle holds its slot no more."""

    session: ChargingSession


@attrs.frozen
class ClocksSet:
    """All that stands was moved, as far as the clocks were; it is the first event of a batch."""

    before: Clocks
    after: Clocks


@attrs.frozen
class NetworkChanged:
    """
    The network is another one; before it in a batch there is nothing but the clocks that were set.
    """

    before: Network
    after: Network

    @property
    def put(self) -> dict[int, StationRecord]:
        """The stations that are new or other ones, by id."""
        before = self.before.stations
        return {i: record for i, record in self.after.stations.items() if before.get(i) != record}

    @property
    def gone(self) -> list[int]:
        """The ids of the stations that are not there any more; nobody stands at one."""
        return [i for i in self.before.stations if i not in self.after.stations]


Event: TypeAlias = UserAdded | UserRemoved | SlotTaken | SlotFreed | ClocksSet | NetworkChanged
"""
The order of two events is that of their writes, where a crash may come between these. Records in
them are in truth as they say, and name the clock that they are to be kept by.
"""
