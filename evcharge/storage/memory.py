"""The rules of the journey over records in memory; what keeps them durable is up to a subclass."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from evcharge.models.station import ChargingSession, SlotTable, Station, StationState
from evcharge.models.user import User
from evcharge.storage import (
    AddUser,
    EndJourney,
    FindUser,
    ListStations,
    NoFreeSlot,
    Operation,
    ReadClock,
    Refused,
    SetClock,
    SlotHeldElsewhere,
    StorageUnavailable,
    Summary,
    Sweep,
    SweepResult,
    TakeSlot,
    TimeTold,
    UnknownStation,
    UnknownUser,
)
from evcharge.storage.clocks import Clocks, D, Newest, newest

R = TypeVar("R")

MOST_STALE = 1000
"""Entries of a heap that may be of what has ended already, beyond as many as there are others."""


class MemoryStorage:
    """
    A storage that forgets: for tests, and the base of those that do not.

    Records are immutable and replaced whole, after they are durable, so that :meth:`recall` needs
    no lock; :meth:`execute` has one, and is alone. A subclass makes the changes durable in the
    `_save_…`, `_delete_…` and `_record_…` methods; one that raises leaves the records in memory as
    they were.
    """

    patience_s = 30.0

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
        self._listed: tuple[StationState, ...] = ()
        self._by_text: dict[str, Station] = {}
        self._held: dict[str, int] = {}
        """User id -> the station where the user stands: derived from `_slots`."""
        self._ends: list[tuple[float, str, int]] = []
        """A heap of what is to end, (when, user id, station id), so that a sweep looks at nothing
        else. Entries of sessions that ended early are passed over when their time comes, or
        dropped when they are most of them."""
        self._logins: list[tuple[float, str]] = []
        """A heap of (login, user id), likewise."""
        self._clocks = Clocks()
        """What users and sessions in memory have is right; which clock they name is where they are
        kept: there, it may still be as that has it."""
        self._lock = threading.Lock()
        self._methods: dict[type, Callable[[Any], Any]] = {
            FindUser: self._find_user,
            ListStations: lambda _: self._listed,
            TakeSlot: self._take_slot,
            EndJourney: self._end_journey,
            Sweep: self._sweep,
            ReadClock: lambda _: TimeTold(self._clocks),
            SetClock: self._set_clock,
        }
        for station in stations:
            self._put_station(station, SlotTable(station.station_id, station.max_slots))
        self._list()

    # Opening

    def open(self, now: float) -> Summary:
        return self._summary()

    def close(self) -> None:
        pass

    def interrupt(self) -> None:
        """Nothing here waits for another machine."""

    def _summary(self) -> Summary:
        return Summary(stations=len(self._states), users=len(self._users))

    def _put_station(self, station: Station | None, slots: SlotTable) -> None:
        """Take in a station's slots; without `station` they are kept but not in service."""
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
        heapq.heappush(self._logins, (user.created_timestamp, user.user_id))

    def _order_logins(self) -> None:
        self._logins = [(user.created_timestamp, user_id) for user_id, user in self._users.items()]
        heapq.heapify(self._logins)

    def _order_ends(self) -> None:
        self._ends = [
            (session.estimated_timestamp, session.user_id, slots.station_id)
            for slots in self._slots.values()
            for session in slots.sessions.values()
        ]
        heapq.heapify(self._ends)

    def _list(self) -> None:
        self._listed = tuple(self._states.values())

    # Reading

    def car_models(self) -> Mapping[str, Mapping[str, Any]]:
        return self._car_models

    def recall(self, operation: Operation[R]) -> R | None:
        if type(operation) is FindUser:
            if operation.whereabouts and self._waits(operation.user_id):
                return None
            return cast("R | None", self._users.get(operation.user_id))
        if type(operation) is ListStations:
            return cast(R, self._listed)
        return None

    def users(self) -> Sequence[User]:
        return tuple(self._users.values())

    def _find_user(self, operation: FindUser) -> User:
        user = self._user(operation.user_id)
        if operation.whereabouts:
            self._settle(operation.user_id)
        return user

    def _user(self, user_id: str) -> User:
        user = self._users.get(user_id)
        if user is None:
            raise UnknownUser()
        return user

    # Changing

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        with self._lock:
            # Logins first, as saving many users at once costs much less than one by one.
            new = [
                self._kept(operation.user, operation.clock)
                for operation in operations
                if isinstance(operation, AddUser)
            ]
            added = iter(self._add_users(new) if new else ())
            results = [
                next(added) if type(operation) is AddUser else self._outcome(operation)
                for operation in operations
            ]
            # What stands bounds the memory, not what has happened.
            if len(self._logins) > 2 * len(self._users) + MOST_STALE:
                self._order_logins()
            if len(self._ends) > 2 * len(self._held) + MOST_STALE:
                self._order_ends()
            return results

    def _outcome(self, operation: Operation[Any]) -> Any:
        try:
            return self._methods[type(operation)](operation)
        except Refused as error:
            # An answer, not an accident. With its traceback it would keep all that stood on the
            # stack alive, and be garbage that only a collection finds.
            return error.with_traceback(None)
        except Exception as error:
            return error

    def _add_users(self, users: Sequence[User]) -> list[Exception | None]:
        """Add users; None for each that is there now, or why it is not."""
        new = {user.user_id: user for user in users if user.user_id not in self._users}
        try:
            self._save_users(list(new.values()))
        except StorageUnavailable as error:
            if len(users) == 1:
                return [error]
            return [outcome for user in users for outcome in self._add_users([user])]
        for user in new.values():
            self._put_user(user)
        return [None] * len(users)

    def _take_slot(self, operation: TakeSlot) -> ChargingSession:
        user_id = operation.user_id
        user = self._user(user_id)
        self._settle(user_id)
        held = self._held.get(user_id)
        if held is not None and str(held) == operation.station_id:
            return self._slots[held].sessions[user_id]
        station = self._by_text.get(operation.station_id)
        if station is None:
            raise UnknownStation(operation.station_id)
        if held is not None:
            raise SlotHeldElsewhere(held)
        slots = self._slots[station.station_id]
        if slots.available_slots <= 0:
            raise NoFreeSlot(operation.station_id)
        session = self._kept(operation.plan(user, station), operation.clock)
        self._replace_slots(slots.with_session(session))
        self._held[user_id] = station.station_id
        heapq.heappush(self._ends, (session.estimated_timestamp, user_id, station.station_id))
        self._record_payment(session)
        return session

    def _end_journey(self, operation: EndJourney) -> None:
        user_id = operation.user_id
        self._user(user_id)
        self._settle(user_id)
        # The slot first: a crash in between leaves a user who holds nothing and can ask again.
        held = self._held.get(user_id)
        if held is not None:
            self._may_end(self._slots[held].sessions[user_id])
            self._leave(user_id, held)
        self._remove_user(user_id)

    def _sweep(self, operation: Sweep) -> SweepResult:
        by_s = self._clocks.moved(operation.clock)
        now = operation.now + by_s
        freed = self._for_all_due(
            self._ends, now, lambda entry: self._end_session(entry[1], entry[2], now)
        )
        removed = self._for_all_due(
            self._logins,
            operation.logged_in_before + by_s,
            lambda entry: self._remove_unpaid(entry[1]),
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
        while heap and heap[0][0] <= until:
            entry = heapq.heappop(heap)
            try:
                count += end(entry)
            except Exception as error:
                failed.append(entry)
                failure = error
        for entry in failed:
            heapq.heappush(heap, entry)
        if failure is not None:
            raise failure
        return count

    def _end_session(self, user_id: str, station_id: int, now: float) -> bool:
        """End a session whose time has come; False where it has ended already."""
        session = self._slots[station_id].sessions.get(user_id)
        if session is None or session.estimated_timestamp > now:
            return False
        self._settle(user_id)
        self._may_end(session)
        # The user first: a crash in between leaves a session that is over, which the next
        # sweep ends; the other way round it would leave a user who could pay again.
        self._remove_user(user_id)
        self._leave(user_id, station_id)
        return True

    def _remove_unpaid(self, user_id: str) -> bool:
        """Remove a user unless a session stands for it, whose end will."""
        if user_id in self._held or user_id not in self._users:
            return False
        self._settle(user_id)
        self._remove_user(user_id)
        return True

    def _leave(self, user_id: str, station_id: int) -> None:
        self._replace_slots(self._slots[station_id].without(user_id))
        self._held.pop(user_id, None)

    def _remove_user(self, user_id: str) -> None:
        if user_id in self._users:
            self._delete_user(user_id)
            del self._users[user_id]

    def _replace_slots(self, slots: SlotTable) -> None:
        """Make `slots` durable, then visible."""
        self._save_slots(slots)
        if self._show(slots):
            self._list()

    def _show(self, slots: SlotTable) -> bool:
        """Have memory say what `slots` are; whether they are in service."""
        self._slots[slots.station_id] = slots
        state = self._states.get(slots.station_id)
        if state is not None:
            self._states[slots.station_id] = StationState.of(state.station, slots)
        return state is not None

    # Clocks

    def _kept(self, record: D, clock: int | None) -> D:
        """A record that was made by a clock, as it is kept."""
        return self._clocks.kept(record, clock, self._clocks.plainly(clock))

    def _set_clock(self, operation: SetClock) -> Clocks:
        before = self._clocks
        after = operation.decide(before, self._newest)
        if after is not before:
            self._save_clocks(before, after)
            self._clocks = after
            if after.number != before.number:
                self._move(before, after)
        return after

    def _newest(self) -> Newest:
        """The latest of what was the present once."""
        return newest(self._clocks, self._instants())

    def _instants(self) -> Iterator[tuple[int, float | None]]:
        """What was the present once, each with the clock that it is by."""
        for user in self._users.values():
            yield user.clock, user.created_timestamp
        for slots in self._slots.values():
            for session in slots.sessions.values():
                yield session.clock, session.paid_timestamp

    def _move(self, before: Clocks, after: Clocks) -> tuple[list[str], list[int]]:
        """
        Move what stands, in memory, as far as the clocks were.

        :return: the users that were moved, and the stations where sessions were.
        """

        def moved(record: D) -> D:
            by_s = after.moved(record.clock) - before.moved(record.clock)
            return record.moved(by_s, record.clock) if by_s else record

        users = {user_id: moved(user) for user_id, user in self._users.items()}
        users = {u: user for u, user in users.items() if user is not self._users[u]}
        self._users.update(users)
        stations = [slots.each(moved) for slots in self._slots.values()]
        stations = [slots for slots in stations if slots is not self._slots[slots.station_id]]
        for slots in stations:
            self._show(slots)
        self._list()
        self._order_ends()
        self._order_logins()
        return list(users), [slots.station_id for slots in stations]

    # What a subclass knows better; each may raise StorageUnavailable

    def _waits(self, user_id: str) -> bool:
        """Whether the user may stand where nobody can tell now; `_settle` raises then."""
        return False

    def _settle(self, user_id: str) -> None:
        """Have it known for sure where the user stands, as it is about to change, or to be told."""

    def _may_end(self, session: ChargingSession) -> None:
        """Have everything that is to outlive the session taken from it."""

    # What a subclass makes durable; each may raise StorageUnavailable

    def _save_slots(self, slots: SlotTable) -> None:
        pass

    def _save_users(self, users: Sequence[User]) -> None:
        """All of them or none."""

    def _delete_user(self, user_id: str) -> None:
        pass

    def _save_clocks(self, before: Clocks, after: Clocks) -> None:
        """In one step, with everything that they say was moved."""

    def _record_payment(self, session: ChargingSession) -> None:
        pass
