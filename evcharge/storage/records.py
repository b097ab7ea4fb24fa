"""What a storage that nobody else changes keeps in memory: the records, as they are in truth."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeVar, cast

from evcharge.datasets import check_car_models
from evcharge.datasets.tariffs import check_tariffs
from evcharge.datasets.together import TARIFF, named_tariffs
from evcharge.models.catalogue import Catalogue
from evcharge.models.evse import EvseStatus
from evcharge.models.receipts import Receipt
from evcharge.models.session import ChargingSession, Place
from evcharge.models.slots import Book, SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks, Newest, newest
from evcharge.rules.events import (
    ClocksSet,
    Event,
    EvseStatusSet,
    NetworkChanged,
    PlaceLeft,
    PlaceTaken,
    SessionChanged,
    SlotFreed,
    SlotTaken,
    UserAdded,
    UserRemoved,
)
from evcharge.rules.journey import FindStanding, FindUser, ListSessions, ListStations, Standing
from evcharge.rules.network import FindCatalogue
from evcharge.rules.operation import Needs, Operation
from evcharge.rules.view import NOBODY, View, record_moved

R = TypeVar("R")

MOST_STALE = 1000
"""Entries of a heap that may be of what has ended already, beyond as many as there are others."""


class Records:
    """
    The records in memory, which follow what has happened.

    They are immutable and replaced whole, after they are durable, so that :meth:`recall` needs no
    lock; all else is called by one thread at a time. Instants are in truth as they say.

    :param most_users: how many users are held, the first to come being the first to go; None: all.
    """

    def __init__(self, most_users: int | None = None) -> None:
        self._most_users = most_users
        self.catalogue = Catalogue()
        """What the network knows besides its stations."""
        self.users: dict[str, User] = {}
        self.slots: dict[int, SlotTable] = {}
        """Of all stations."""
        self.states = Stations()
        """Of the stations in service; `slots` may know of others, whose sessions end as well."""
        self.held: dict[str, int] = {}
        """User id -> the station where the user holds an EVSE: derived from `slots`."""
        self.lines: dict[str, int] = {}
        """User id -> the station in whose line the user waits: likewise."""
        self.receipts: dict[str, str] = {}
        """Receipt id -> the user whose session is to have it: likewise."""
        self.statuses: dict[str, EvseStatus] = {}
        """What an operator has said of EVSEs since, by uid."""
        self.ends: list[tuple[float, str, int]] = []
        """A heap of deadlines, (when, user id, station id), so that a sweep looks at nothing else.
        Those that were put off are dropped when their time comes, or when they are most of
        them."""
        self.logins: list[tuple[float, str]] = []
        """A heap of (login, user id), likewise."""
        self.clocks = Clocks()
        """Users and sessions in memory are right as they are; which clock they name is where they
        are kept: there, it may still be as that has it."""

    # Taking in

    def put_user(self, user: User) -> None:
        """Take in a user."""
        if self._most_users is not None and user.user_id not in self.users:
            while len(self.users) >= self._most_users:
                del self.users[next(iter(self.users))]
        self.users[user.user_id] = user
        heapq.heappush(self.logins, (user.created_timestamp, user.user_id))

    def put_stations(self, stations: Iterable[tuple[Station | None, SlotTable]]) -> None:
        """Take in stations with their slots; without the station these are kept only."""
        states = {state.station.station_id: state for state in self.states}
        for station, slots in stations:
            if station is not None:
                station = station.with_slots(slots.max_slots).with_statuses(self.statuses)
                slots = slots.at(station)
            self.slots[slots.station_id] = slots
            for session in slots.sessions.values():
                self._put_session(session)
            for place in slots.waiting:
                self.lines[place.user_id] = place.station_id
            if station is not None:
                states[slots.station_id] = StationState.of(station, slots)
        self.states = Stations(states.values())

    def _put_session(self, session: ChargingSession) -> None:
        self.held[session.user_id] = session.station_id
        self.receipts[session.receipt_id] = session.user_id
        heapq.heappush(self.ends, (session.due_timestamp, session.user_id, session.station_id))

    def order_logins(self) -> None:
        """Make the heap of logins anew, of those who are there."""
        self.logins = [(user.created_timestamp, user_id) for user_id, user in self.users.items()]
        heapq.heapify(self.logins)

    def order_ends(self) -> None:
        """Make the heap of ends anew, of those that stand."""
        self.ends = [
            (session.due_timestamp, session.user_id, slots.station_id)
            for slots in self.slots.values()
            for session in slots.sessions.values()
        ]
        heapq.heapify(self.ends)

    # Looking

    def recall(self, operation: Operation[R]) -> R | None:
        """As :meth:`evcharge.storage.Storage.recall`."""
        if type(operation) is FindUser:
            return cast("R | None", self.users.get(operation.user_id))
        if type(operation) is ListStations:
            return cast(R, self.states)
        if type(operation) is FindStanding:
            return cast("R | None", self._standing(operation.user_id))
        if type(operation) is FindCatalogue:
            return cast(R, self.catalogue)
        if type(operation) is ListSessions:
            return cast(R, self.every_session())
        return None

    def every_session(self) -> list[ChargingSession]:
        """All sessions that stand."""
        # Another thread may be putting others there: the stations are looked at all at once.
        return [one for slots in list(self.slots.values()) for one in slots.sessions.values()]

    def _standing(self, user_id: str) -> Standing | None:
        # Another thread may be putting others there: each is looked at once.
        user = self.users.get(user_id)
        if user is None:
            return None
        at, waits = self.held.get(user_id), False
        if at is None:
            at, waits = self.lines.get(user_id), True
        if at is None:
            return Standing(user, None, None, None)
        book = self.book(at)
        if book is None:
            return None
        session = None if waits else book.slots.sessions.get(user_id)
        place = book.slots.place(user_id) if waits else None
        if session is None and place is None:
            # It is just changing: it has to be asked for in turn.
            return None
        return Standing(user, session, place, book)

    def session(self, user_id: str) -> ChargingSession | None:
        """The session that holds the user's EVSE; None where it holds none."""
        station_id = self.held.get(user_id)
        return None if station_id is None else self.slots[station_id].sessions[user_id]

    def place(self, user_id: str) -> Place | None:
        """The user's place in line; None where the user does not wait."""
        station_id = self.lines.get(user_id)
        return None if station_id is None else self.slots[station_id].place(user_id)

    def book(self, station_id: int) -> Book | None:
        """The station and who is there; None where there is no such station."""
        slots = self.slots.get(station_id)
        if slots is None:
            return None
        state = self.states.get(str(station_id))
        return Book(None if state is None else state.station, slots)

    def session_of(self, receipt_id: str) -> tuple[ChargingSession, Book] | None:
        """The session that is to have a receipt, with its station; None: there is none."""
        user_id = self.receipts.get(receipt_id)
        session = None if user_id is None else self.session(user_id)
        book = None if session is None else self.book(session.station_id)
        return None if session is None or book is None else (session, book)

    def taken(self) -> dict[int, int]:
        """How many vehicles stand at each station, where some do."""
        return {i: len(slots.sessions) for i, slots in self.slots.items() if slots.sessions}

    def waiting(self) -> dict[int, tuple[Place, ...]]:
        """Who waits at each station, where somebody does."""
        return {station_id: self.slots[station_id].waiting for station_id in self.lines.values()}

    def load(
        self,
        needs: Needs,
        names: Callable[[Clocks, int | None], int] = Clocks.plainly,
        leaving: Mapping[str, Receipt | None] = NOBODY,
        has: Callable[[str], bool] = lambda user_id: True,
        drivers: Callable[[str], User | None] | None = None,
    ) -> View:
        """
        What a batch looks at; of users only those that memory holds.

        :param names: as for :class:`evcharge.rules.view.View`, and
        :param leaving: likewise, and
        :param has: likewise, and
        :param drivers: likewise; None: memory does.
        """
        looked_at = needs.users | needs.standing if needs.standing else needs.users
        stations = set(needs.stations)
        for user_id in looked_at:
            at = self.held.get(user_id, self.lines.get(user_id))
            if at is not None:
                stations.add(at)
        evses = {}
        if needs.evses:
            evses = self._stations_of(needs.evses)
            stations.update(at for at in evses.values() if at is not None)
        view = View(
            self.clocks,
            {user_id: self.users.get(user_id) for user_id in (*needs.seen, *looked_at)},
            {user_id: self.session(user_id) for user_id in looked_at},
            {station_id: self.book(station_id) for station_id in stations},
            self.states if needs.states else None,
            names,
            leaving,
            {user_id: self.place(user_id) for user_id in looked_at},
            has,
            drivers or self.users.get,
        )
        view.evses = dict(evses)
        view.receipts.update(
            (receipt_id, self.session_of(receipt_id)) for receipt_id in needs.receipts
        )
        view.known = self.catalogue
        if needs.sessions:
            view.every_session = self.every_session()
        if needs.sets_clock:
            view.newest = self.newest
        return view

    def _stations_of(self, uids: Collection[str]) -> dict[str, int | None]:
        """The stations in service that have EVSEs, by the uids of these."""
        found: dict[str, int | None] = dict.fromkeys(uids)
        for state in self.states:
            for evse in state.station.evses:
                if evse.uid in found:
                    found[evse.uid] = state.station.station_id
        return found

    def newest(self, *others: tuple[int, float | None]) -> Newest:
        """
        The latest of what was the present once.

        :param others: instants that are not in memory, each with the clock that it is by.
        """
        return newest(self.clocks, (*self.instants(), *others))

    def instants(self) -> Iterator[tuple[int, float | None]]:
        """What was the present once, each with the clock that it is by."""
        for user in self.users.values():
            yield user.clock, user.created_timestamp
        for slots in self.slots.values():
            for session in slots.sessions.values():
                yield session.clock, session.paid_timestamp

    # Following

    def apply(self, events: Iterable[Event]) -> None:
        """Follow what has happened."""
        changed: set[int] = set()
        freed: list[str] = []
        for event in events:
            if isinstance(event, UserAdded):
                self.put_user(event.user)
            elif isinstance(event, UserRemoved):
                self.users.pop(event.user_id, None)
            elif isinstance(event, (SlotTaken, SessionChanged)):
                session = event.session
                slots = self.slots[session.station_id]
                self.slots[session.station_id] = slots.with_session(session)
                self._put_session(session)
                changed.add(session.station_id)
            elif isinstance(event, SlotFreed):
                session = event.session
                slots = self.slots[session.station_id]
                self.slots[session.station_id] = slots.without(session.user_id)
                self.held.pop(session.user_id, None)
                self.receipts.pop(session.receipt_id, None)
                freed.append(session.user_id)
                changed.add(session.station_id)
            elif isinstance(event, (PlaceTaken, PlaceLeft)):
                self._follow_line(event, freed)
                changed.add(event.place.station_id)
            elif isinstance(event, EvseStatusSet):
                self._follow_status(event)
            elif isinstance(event, NetworkChanged):
                self.change_network(event)
            elif isinstance(event, ClocksSet):
                self.move(event.before, event.after)
        for user_id in freed:
            user = self.users.get(user_id)
            if user is not None:
                # Its end was not carried out whole: it is one who does not pay any more.
                heapq.heappush(self.logins, (user.created_timestamp, user_id))
        if changed:
            self.show(changed)
        # What stands bounds the memory, not what has happened.
        if len(self.logins) > 2 * len(self.users) + MOST_STALE:
            self.order_logins()
        if len(self.ends) > 2 * len(self.held) + MOST_STALE:
            self.order_ends()

    def _follow_line(self, event: PlaceTaken | PlaceLeft, freed: list[str]) -> None:
        place = event.place
        slots = self.slots.get(place.station_id)
        if isinstance(event, PlaceTaken):
            assert slots is not None, place
            self.slots[place.station_id] = slots.with_place(place)
            self.lines[place.user_id] = place.station_id
            return
        if slots is not None:
            # It may have left the network.
            self.slots[place.station_id] = slots.without_place(place.user_id)
        self.lines.pop(place.user_id, None)
        freed.append(place.user_id)

    def _follow_status(self, event: EvseStatusSet) -> None:
        self.statuses[event.evse_uid] = event.status
        state = self.states.get(str(event.station_id))
        if state is not None:
            station = state.station.with_statuses(self.statuses)
            slots = self.slots[event.station_id].at(station)
            self.slots[event.station_id] = slots
            self.states.put(StationState.of(station, slots))

    def show(self, station_ids: Iterable[int]) -> None:
        """Have the states of stations say what their slots are."""
        for station_id in station_ids:
            state = self.states.get(str(station_id))
            if state is not None:
                self.states.put(StationState.of(state.station, self.slots[station_id]))

    def change_network(self, event: NetworkChanged) -> None:
        """Have another network; who stands at a station goes on standing there."""
        after = event.after
        cars = check_car_models(after.car_models, "car models")
        tariffs = check_tariffs(after.tariffs, "tariffs").tariffs
        self.catalogue = Catalogue(cars.models, tariffs)
        states = {state.station.station_id: state for state in self.states}
        # With other tariffs a station may be in service, or not, that is the same as before.
        others = event.put if event.before.tariffs == after.tariffs else after.stations
        for station_id, record in others.items():
            slots = self.slots.get(station_id) or SlotTable(station_id, 0)
            station = record.station.with_statuses(self.statuses)
            slots = slots.with_slots(station.max_slots).at(station)
            self.slots[station_id] = slots
            states.pop(station_id, None)
            named = named_tariffs(record.station, TARIFF)
            if record.is_usable and all(tariff_id in tariffs for _, tariff_id in named):
                states[station_id] = StationState.of(station, slots)
        for station_id in event.gone:
            self.slots.pop(station_id, None)
            states.pop(station_id, None)
        self.states = Stations(states.values())

    def move(self, before: Clocks, after: Clocks) -> tuple[list[str], list[int]]:
        """
        Move what stands as far as the clocks were, which are those that are `after` now.

        :return: the users that were moved, and the stations where sessions were.
        """
        self.clocks = after
        users = {user_id: record_moved(user, before, after) for user_id, user in self.users.items()}
        users = {u: user for u, user in users.items() if user is not self.users[u]}
        self.users.update(users)
        stations = [
            slots.each(lambda session: record_moved(session, before, after))
            for slots in self.slots.values()
        ]
        stations = [slots for slots in stations if slots is not self.slots[slots.station_id]]
        for slots in stations:
            self.slots[slots.station_id] = slots
        ids = [slots.station_id for slots in stations]
        self.show(ids)
        self.order_ends()
        self.order_logins()
        return list(users), ids
