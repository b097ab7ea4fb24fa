"""The rules of the journey over records in memory; what keeps them durable is up to a subclass."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evcharge.models.station import ChargingSession, SlotTable, Station, StationState
from evcharge.models.user import User
from evcharge.storage import (
    NoFreeSlot,
    SlotHeldElsewhere,
    Summary,
    SweepResult,
    UnknownStation,
    UnknownUser,
)

_USER_LOCKS = 256


class MemoryStorage:
    """
    A storage that forgets: for tests, and the base of those that do not.

    Records are immutable and replaced whole, after they are durable, so reading needs no lock.
    Whoever changes something takes the user's lock first, then the station's, and no second one of
    either kind. A subclass makes the changes durable in the `_save_…`, `_delete_…` and
    `_record_…` methods; one that raises leaves the records in memory as they were.
    """

    def __init__(
        self,
        car_models: Mapping[str, Mapping[str, Any]] | None = None,
        stations: Sequence[Station] = (),
    ) -> None:
        self._car_models: Mapping[str, Mapping[str, Any]] = car_models or {}
        self._users: dict[str, User] = {}
        self._slots: dict[int, SlotTable] = {}
        self._states: dict[int, StationState] = {}
        """The stations in service; `_slots` may know of others, whose sessions end all the same."""
        self._by_text: dict[str, Station] = {}
        self._held: dict[str, int] = {}
        """User id -> the station where the user stands: derived from `_slots`."""
        self._ends: list[tuple[float, str, int]] = []
        """A heap of what is to end, (when, user id, station id), so that a sweep looks at nothing
        else. Entries of sessions that ended early are passed over when their time comes."""
        self._logins: list[tuple[float, str]] = []
        """A heap of (login, user id), likewise."""
        self._heaps_lock = threading.Lock()
        self._user_locks = [threading.Lock() for _ in range(_USER_LOCKS)]
        self._station_locks: dict[int, threading.Lock] = {}
        for station in stations:
            self._put_station(station, SlotTable(station.station_id, station.max_slots))

    # Opening

    def open(self, now: float) -> Summary:
        return self._summary()

    def close(self) -> None:
        pass

    def _summary(self) -> Summary:
        return Summary(stations=len(self._states), users=len(self._users))

    def _put_station(self, station: Station | None, slots: SlotTable) -> None:
        """Take in a station's slots; without `station` they are kept but not in service."""
        self._station_locks[slots.station_id] = threading.Lock()
        self._slots[slots.station_id] = slots
        for session in slots.sessions.values():
            self._held[session.user_id] = slots.station_id
            heapq.heappush(
                self._ends, (session.estimated_timestamp, session.user_id, slots.station_id)
            )
        if station is not None:
            self._states[slots.station_id] = state = StationState.of(station, slots)
            self._by_text[str(slots.station_id)] = state.station

    def _put_user(self, user: User) -> None:
        self._users[user.user_id] = user
        with self._heaps_lock:
            heapq.heappush(self._logins, (user.created_timestamp, user.user_id))

    # Reading

    def car_models(self) -> Mapping[str, Mapping[str, Any]]:
        return self._car_models

    def stations(self) -> Sequence[StationState]:
        return tuple(self._states.values())

    def station(self, station_id: str) -> Station:
        try:
            return self._by_text[station_id]
        except KeyError:
            raise UnknownStation(station_id) from None

    def user(self, user_id: str) -> User:
        try:
            return self._users[user_id]
        except KeyError:
            raise UnknownUser() from None

    def users(self) -> Sequence[User]:
        return tuple(self._users.values())

    # Changing

    def add_user(self, user: User) -> None:
        with self._user_lock(user.user_id):
            if user.user_id not in self._users:
                self._save_user(user)
                self._put_user(user)

    def take_slot(self, session: ChargingSession) -> ChargingSession:
        user_id, station_id = session.user_id, session.station_id
        with self._user_lock(user_id):
            if user_id not in self._users:
                raise UnknownUser()
            if station_id not in self._states:
                raise UnknownStation(str(station_id))
            held = self._held.get(user_id)
            if held == station_id:
                return self._slots[station_id].sessions[user_id]
            if held is not None:
                raise SlotHeldElsewhere(held)
            with self._station_locks[station_id]:
                slots = self._slots[station_id]
                if slots.available_slots <= 0:
                    raise NoFreeSlot(str(station_id))
                self._replace_slots(slots.with_session(session))
                self._held[user_id] = station_id
            with self._heaps_lock:
                heapq.heappush(self._ends, (session.estimated_timestamp, user_id, station_id))
            self._record_payment(session)
            return session

    def end_journey(self, user_id: str) -> None:
        with self._user_lock(user_id):
            if user_id not in self._users:
                raise UnknownUser()
            # The slot first: a crash in between leaves a user who holds nothing and can ask again.
            held = self._held.get(user_id)
            if held is not None:
                self._leave(user_id, held)
            self._remove_user(user_id)

    def sweep(self, now: float, logged_in_before: float) -> SweepResult:
        freed = self._for_all_due(
            self._ends, now, lambda entry: self._end_session(entry[1], entry[2], now)
        )
        removed = self._for_all_due(
            self._logins, logged_in_before, lambda entry: self._remove_unpaid(entry[1])
        )
        return SweepResult(freed, removed)

    def _for_all_due(self, heap: list[Any], until: float, end: Callable[[Any], bool]) -> int:
        """
        End every entry of `heap` that is due; how many there were to end.

        One that fails stays in the heap for the next sweep and keeps no other from its end; the
        failure is raised when all have had their turn.
        """
        count = 0
        failed: list[Any] = []
        failure: Exception | None = None
        while (entry := self._pop_due(heap, until)) is not None:
            try:
                count += end(entry)
            except Exception as error:
                failed.append(entry)
                failure = error
        with self._heaps_lock:
            for entry in failed:
                heapq.heappush(heap, entry)
        if failure is not None:
            raise failure
        return count

    def _pop_due(self, heap: list[Any], until: float) -> Any:
        """The first entry of `heap` if it is due, else None."""
        with self._heaps_lock:
            return heapq.heappop(heap) if heap and heap[0][0] <= until else None

    def _end_session(self, user_id: str, station_id: int, now: float) -> bool:
        """End a session whose time has come; False where it has ended already."""
        with self._user_lock(user_id):
            session = self._slots[station_id].sessions.get(user_id)
            if session is None or session.estimated_timestamp > now:
                return False
            # The user first: a crash in between leaves a session that is over, which the next
            # sweep ends; the other way round it would leave a user who could pay again.
            self._remove_user(user_id)
            self._leave(user_id, station_id)
            return True

    def _remove_unpaid(self, user_id: str) -> bool:
        """Remove a user unless a session stands for it, whose end will."""
        with self._user_lock(user_id):
            if user_id in self._held or user_id not in self._users:
                return False
            self._remove_user(user_id)
            return True

    def _leave(self, user_id: str, station_id: int) -> None:
        with self._station_locks[station_id]:
            self._replace_slots(self._slots[station_id].without(user_id))
            self._held.pop(user_id, None)

    def _remove_user(self, user_id: str) -> None:
        if user_id in self._users:
            self._delete_user(user_id)
            del self._users[user_id]

    def _replace_slots(self, slots: SlotTable) -> None:
        """Make `slots` durable, then visible. The station's lock is held."""
        self._save_slots(slots)
        self._slots[slots.station_id] = slots
        state = self._states.get(slots.station_id)
        if state is not None:
            self._states[slots.station_id] = StationState.of(state.station, slots)

    def _user_lock(self, user_id: str) -> threading.Lock:
        return self._user_locks[hash(user_id) % _USER_LOCKS]

    # What a subclass makes durable; each may raise StorageUnavailable

    def _save_slots(self, slots: SlotTable) -> None:
        pass

    def _save_user(self, user: User) -> None:
        pass

    def _delete_user(self, user_id: str) -> None:
        pass

    def _record_payment(self, session: ChargingSession) -> None:
        pass
