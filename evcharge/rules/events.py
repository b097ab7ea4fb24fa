"""What has happened: the values that a storage makes durable, and that memory follows."""

from __future__ import annotations

from typing import TypeAlias

import attrs

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


Event: TypeAlias = UserAdded | UserRemoved | SlotTaken | SlotFreed | ClocksSet
"""
The order of two events is that of their writes, where a crash may come between these. Records in
them are in truth as they say, and name the clock that they are to be kept by.
"""
