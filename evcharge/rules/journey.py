"""The driver's journey: who is there, and where; which slots there are; and common refusals."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from evcharge.models.session import (
    FREE,
    OFFERED,
    RESERVED,
    WAITING,
    ChargingSession,
    Place,
)
from evcharge.models.slots import Book
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.terms import Terms
from evcharge.models.user import User
from evcharge.outcomes import (
    ALREADY_RESERVED,
    EVSE_NOT_FOUND,
    NO_CONNECTOR,
    STATION_NOT_FOUND,
    USER_NOT_FOUND,
    WRONG_STATE,
    Refusal,
)
from evcharge.rules.operation import Needs, Operation
from evcharge.rules.view import NotLoaded, View

UNKNOWN_USER = Refusal(USER_NOT_FOUND)
UNKNOWN_STATION = Refusal(STATION_NOT_FOUND)


def no_connector(station: Station) -> Refusal:
    """The refusal where nothing at a station fits the car."""
    return Refusal(NO_CONNECTOR, {"station": station.station_id})


def no_evse(station: Station) -> Refusal:
    """The refusal where a station has no such EVSE."""
    return Refusal(EVSE_NOT_FOUND, {"station": station.station_id})


def wrong_state(state: str) -> Refusal:
    """The refusal of what does not go with the state in which the user is."""
    return Refusal(WRONG_STATE, {"state": state}, {"state": state})


@attrs.define
class Standing:
    """A user, and where: with a session, a place in line, or neither."""

    user: User
    session: ChargingSession | None
    place: Place | None
    book: Book | None
    """Of the station; None where there is neither."""

    @property
    def state(self) -> str:
        """FREE, WAITING or that of the session."""
        if self.session is not None:
            return self.session.state
        return FREE if self.place is None else WAITING

    def at(self, now: float, terms: Terms) -> Standing | None:
        """
        The same at an instant, seconds since the epoch, with what is due ended, though no sweep has
        come; None: the user is gone then.
        """
        if self.session is None or self.session.due_timestamp > now:
            return self
        session = self.session.charged(now, terms)
        if session.due_timestamp > now:
            return Standing(self.user, session, None, self.book)
        if session.state in (OFFERED, RESERVED):
            return Standing(self.user, None, None, None)
        return None


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
class FindStanding(Operation[Standing | Refusal]):
    """Where a user stands or waits, with the station's book. Refused: there is no such user."""

    user_id: str

    def add_needs(self, needs: Needs) -> None:
        needs.standing.add(self.user_id)

    def decide(self, view: View) -> Standing | Refusal:
        user = view.user(self.user_id)
        if user is None:
            return UNKNOWN_USER
        session, place = view.session(self.user_id), view.place(self.user_id)
        at = session or place
        return Standing(user, session, place, None if at is None else view.book(at.station_id))


@attrs.define
class ListSessions(Operation[Sequence[ChargingSession]]):
    """Every session, in no order."""

    def add_needs(self, needs: Needs) -> None:
        needs.sessions = True

    def decide(self, view: View) -> Sequence[ChargingSession]:
        if view.every_session is None:
            raise NotLoaded("every session")
        return view.every_session


LARGEST_ID = 2**31 - 1
"""The largest id that a station can have."""


def number_of(station_id: str) -> int | None:
    """The number that a station's id, as text, is; None where no station can have such an id."""
    if not (station_id.isascii() and station_id.isdigit() and len(station_id) <= 10):
        return None
    number = int(station_id)
    # "07" is another text than the one that START shows.
    return number if number <= LARGEST_ID and str(number) == station_id else None
