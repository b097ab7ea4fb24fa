"""The driver's journey: who is there, which slots there are, taking one, and the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from evcharge.models.estimates import ChargePlan, choose_evse
from evcharge.models.evse import Evse, plugs_of
from evcharge.models.session import ChargingSession
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.tariffs import Tariff
from evcharge.models.user import User
from evcharge.outcomes import (
    ALREADY_RESERVED,
    NO_CONNECTOR,
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


Plan = Callable[[User, Station, Evse, ChargePlan, Mapping[str, Tariff]], ChargingSession]
"""Works out the session of a user who charges at an EVSE of a station, by the network's tariffs;
pure."""


@attrs.define
class TakeSlot(Operation[ChargingSession | Refusal]):
    """
    Take an EVSE of a station for a user and record its payment: both or neither.

    Results in the session that holds the user's slot: the planned one, or the one that held the
    slot already. Refused: the user is not there (any more), the station is not in service, the user
    stands at another one, nothing here fits the car, or no EVSE that does is free.
    """

    user_id: str
    station_id: str
    plan: Plan
    """Called at most once for each attempt."""
    arrival_percent: float | None = None
    """The car's state of charge when it arrives; None: that of its login."""
    target_percent: float | None = None
    """To which state of charge it is to charge; None: as the login said."""
    number: int | None = attrs.field(init=False, eq=False, repr=False)
    """The number that `station_id` is."""

    @number.default
    def _number(self) -> int | None:
        return number_of(self.station_id)

    def add_needs(self, needs: Needs) -> None:
        needs.write = needs.catalogue = True
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
        car, station = user.car, book.station
        if station.kinds and not any(plugs_of(car.model, kind) for kind in station.kinds):
            return Refusal(NO_CONNECTOR, {"station": station.station_id})
        start = car.percent if self.arrival_percent is None else self.arrival_percent
        target = user.target_percent if self.target_percent is None else self.target_percent
        found = choose_evse(car.model, book.free(), start, target)
        if found is None:
            return NO_FREE_SLOT
        session = self.plan(user, station, *found, view.catalogue().tariffs)
        return view.take(session, self.clock)


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
