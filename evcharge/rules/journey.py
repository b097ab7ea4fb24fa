"""The driver's journey: who is there, which slots there are, taking one, and the end."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from evcharge.models.station import ChargingSession, Station
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.outcomes import (
    ALREADY_RESERVED,
    NO_SLOT,
    STATION_NOT_FOUND,
    USER_NOT_FOUND,
    Refusal,
)
from evcharge.rules.operation import Needs, Operation
from evcharge.rules.view import View

UNKNOWN_USER = Refusal(USER_NOT_FOUND)
UNKNOWN_STATION = Refusal(STATION_NOT_FOUND)
NO_FREE_SLOT = Refusal(NO_SLOT)


def held_at(station_id: int) -> Refusal:
    """The refusal of a slot to one who holds one at another station."""
    return Refusal(ALREADY_RESERVED, {"station": station_id})


@attrs.define
class FindUser(Operation[User | Refusal]):
    """
    One user. Refused: none has this id.

    It raises where the user, or with `whereabouts` where the user stands, cannot be read now.
    """

    user_id: str
    whereabouts: bool = False
    """Whether it must be known where the user stands, and be it nowhere: who asks where to go is
    sent nowhere else."""

    def add_needs(self, needs: Needs) -> None:
        needs.seen.add(self.user_id)

    def decide(self, view: View) -> User | Refusal:
        user = view.user(self.user_id)
        if user is None:
            return UNKNOWN_USER
        if self.whereabouts:
            view.check_whereabouts(self.user_id)
        return user


@attrs.define
class ListStations(Operation[Stations]):
    """
    The stations in service and their slots, not more than a second old.

    They are live: as long as these stations are in service, the result is the same object.
    """

    def add_needs(self, needs: Needs) -> None:
        needs.states = True

    def decide(self, view: View) -> Stations:
        return view.states()


@attrs.define
class AddUser(Operation[None]):
    """Keep a user who logs in; doing it again with the same user changes nothing."""

    user: User

    def add_needs(self, needs: Needs) -> None:
        # Its id is new, or the same login is carried out again: nobody has to look.
        needs.write = True

    def decide(self, view: View) -> None:
        view.add(self.user, self.clock)


@attrs.define
class TakeSlot(Operation[ChargingSession | Refusal]):
    """
    Take a slot of a station for a user and record its payment: both or neither.

    Results in the session that holds the user's slot: the planned one, or the one that held the
    slot already. Refused: the user is not there (any more), the station is not in service, the user
    stands at another one, or this one is full.
    """

    user_id: str
    station_id: str
    plan: Callable[[User, Station], ChargingSession]
    """Works the session out; pure, and called at most once for each attempt."""
    number: int | None = attrs.field(init=False, eq=False, repr=False)
    """The number that `station_id` is."""

    @number.default
    def _number(self) -> int | None:
        return number_of(self.station_id)

    def add_needs(self, needs: Needs) -> None:
        needs.write = True
        needs.users.add(self.user_id)
        if self.number is not None:
            needs.stations.add(self.number)

    def decide(self, view: View) -> ChargingSession | Refusal:
        user = view.user(self.user_id)
        if user is None:
            return UNKNOWN_USER
        session = view.session(self.user_id)
        if session is not None and session.station_id == self.number:
            return session
        book = None if self.number is None else view.book(self.number)
        if book is None:
            return UNKNOWN_STATION
        if session is not None:
            return held_at(session.station_id)
        if book.free <= 0:
            return NO_FREE_SLOT
        return view.take(self.plan(user, book.station), self.clock)


@attrs.define
class EndJourney(Operation[Refusal | None]):
    """Free the slot that the user holds, if any, and remove the user. Refused: there is none."""

    user_id: str

    def add_needs(self, needs: Needs) -> None:
        needs.write = True
        needs.users.add(self.user_id)

    def decide(self, view: View) -> Refusal | None:
        if view.user(self.user_id) is None:
            return None if view.was_leaving(self.user_id) else UNKNOWN_USER
        # The slot first: a crash in between leaves a user who holds nothing and can ask again.
        session = view.session(self.user_id)
        if session is not None:
            view.give_back(session)
        view.remove(self.user_id)
        return None


LARGEST_ID = 2**31 - 1
"""The largest id that a station can have."""


def number_of(station_id: str) -> int | None:
    """The number that a station's id, as text, is; None where no station can have such an id."""
    if not (station_id.isascii() and station_id.isdigit() and len(station_id) <= 10):
        return None
    number = int(station_id)
    # "07" is another text than the one that START shows.
    return number if number <= LARGEST_ID and str(number) == station_id else None
