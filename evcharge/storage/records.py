"""What a storage that nobody else changes keeps in memory: the records, as they are in truth."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, TypeVar, cast

from evcharge.datasets import check_car_models
from evcharge.datasets.tariffs import check_tariffs
from evcharge.datasets.together import TARIFF, named_tariffs
from evcharge.models.catalogue import Catalogue
from evcharge.models.session import ChargingSession
from evcharge.models.slots import SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks, Newest, newest
from evcharge.rules.events import (
    Event,
    NetworkChanged,
    SlotFreed,
    SlotTaken,
    UserAdded,
    UserRemoved,
)
from evcharge.rules.journey import FindUser, ListStations
from evcharge.rules.network import FindCatalogue
from evcharge.rules.operation import Due, Needs, Operation
from evcharge.rules.view import Book, View, record_moved

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
        """User id -> the station where the user stands: derived from `slots`."""
        self.ends: list[tuple[float, str, int]] = []
        """A heap of what is to end, (when, user id, station id), so that a sweep looks at nothing
        else. Entries of sessions that ended early are dropped when their time comes, or when they
        are most of them."""
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
                station = station.with_slots(slots.max_slots)
                slots = slots.at(station)
            self.slots[slots.station_id] = slots
            for session in slots.sessions.values():
                self._put_session(session)
            if station is not None:
                states[slots.station_id] = StationState.of(station, slots)
        self.states = Stations(states.values())

    def _put_session(self, session: ChargingSession) -> None:
        self.held[session.user_id] = session.station_id
        heapq.heappush(
            self.ends, (session.estimated_timestamp, session.user_id, session.station_id)
        )

    def order_logins(self) -> None:
        """Make the heap of logins anew, of those who are there."""
        self.logins = [(user.created_timestamp, user_id) for user_id, user in self.users.items()]
        heapq.heapify(self.logins)

    def order_ends(self) -> None:
        """Make the heap of ends anew, of those that stand."""
        self.ends = [
            (session.estimated_timestamp, session.user_id, slots.station_id)
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
        if type(operation) is FindCatalogue:
            return cast(R, self.catalogue)
        return None

    def session(self, user_id: str) -> ChargingSession | None:
        """The session that holds the user's slot; None where it holds none."""
        station_id = self.held.get(user_id)
        return None if station_id is None else self.slots[station_id].sessions[user_id]

    def book(self, station_id: int) -> Book | None:
        """The station and its slots; None where no such station is in service."""
        state = self.states.get(str(station_id))
        if state is None:
            return None
        return Book(state.station, self.slots[station_id].held)

    def taken(self) -> dict[int, int]:
        """How many vehicles stand at each station, where some do."""
        return {i: len(slots.sessions) for i, slots in self.slots.items() if slots.sessions}

    def load(
        self,
        needs: Needs,
        names: Callable[[Clocks, int | None], int] = Clocks.plainly,
        leaving: Collection[str] = (),
    ) -> View:
        """
        What a batch looks at; of users only those that memory holds.

        :param names: as for :class:`evcharge.rules.view.View`, and
        :param leaving: likewise.
        """
        view = View(
            self.clocks,
            {user_id: self.users.get(user_id) for user_id in (*needs.seen, *needs.users)},
            {user_id: self.session(user_id) for user_id in needs.users},
            {station_id: self.book(station_id) for station_id in needs.stations},
            self.states if needs.states else None,
            names,
            leaving,
        )
        view.known = self.catalogue
        if needs.sets_clock:
            view.newest = self.newest
        return view

    def claim(
        self, view: View, due: Due, may_end: Callable[[str], bool] = lambda user_id: True
    ) -> None:
        """
        Add to `view` what is due.

        It stays in the heaps, and is dropped from there when it is found to have ended: so nothing
        is to be put back where it cannot be.

        :param may_end: whether what a user has may end now.
        """
        by_s = self.clocks.moved(due.clock)
        self.claim_ends(view, due.now + by_s, due.most, may_end)
        self._claim_logins(view, due.logged_in_before + by_s, due.most, may_end)

    def claim_ends(
        self,
        view: View,
        now: float,
        most: int,
        may_end: Callable[[str], bool] = lambda user_id: True,
    ) -> None:
        """Add to `view` sessions that have ended by `now`, with their users."""

        def stands(entry: tuple[float, str, int]) -> bool:
            session = self.slots[entry[2]].sessions.get(entry[1])
            return session is not None and session.estimated_timestamp == entry[0]

        for _, user_id, _ in _claimed(
            view, self.ends, lambda entry: entry[0] <= now, stands, most, may_end
        ):
            view.due.append(user_id)
            view.users[user_id] = self.users.get(user_id)
            view.sessions[user_id] = self.session(user_id)

    def _claim_logins(
        self, view: View, before: float, most: int, may_end: Callable[[str], bool]
    ) -> None:
        def is_unpaid(entry: tuple[float, str]) -> bool:
            user = self.users.get(entry[1])
            # With the end of a session its user goes as well.
            return (
                user is not None
                and user.created_timestamp == entry[0]
                and entry[1] not in self.held
            )

        for _, user_id in _claimed(
            view, self.logins, lambda entry: entry[0] < before, is_unpaid, most, may_end
        ):
            view.unpaid.append(user_id)
            view.users[user_id] = self.users[user_id]
            view.sessions[user_id] = None

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
            elif isinstance(event, SlotTaken):
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
                freed.append(session.user_id)
                changed.add(session.station_id)
            elif isinstance(event, NetworkChanged):
                self.change_network(event)
            else:
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
            slots = slots.with_slots(record.station.max_slots).at(record.station)
            self.slots[station_id] = slots
            states.pop(station_id, None)
            named = named_tariffs(record.station, TARIFF)
            if record.is_usable and all(tariff_id in tariffs for _, tariff_id in named):
                states[station_id] = StationState.of(record.station, slots)
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


Entry = TypeVar("Entry", bound=tuple[Any, ...])


def _claimed(
    view: View,
    heap: list[Entry],
    is_due: Callable[[Entry], bool],
    stands: Callable[[Entry], bool],
    most: int,
    may_end: Callable[[str], bool],
) -> list[Entry]:
    """The first entries of `heap` that are due; those of what has ended already are dropped."""
    claimed: list[Entry] = []
    waiting: list[Entry] = []
    while heap and is_due(heap[0]) and len(claimed) < most:
        entry = heapq.heappop(heap)
        if stands(entry):
            (claimed if may_end(entry[1]) else waiting).append(entry)
    for entry in (*claimed, *waiting):
        heapq.heappush(heap, entry)
    view.more_due |= len(claimed) == most
    return claimed
