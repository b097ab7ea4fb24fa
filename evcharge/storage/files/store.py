"""
The data directory: one JSON file a station and a user, which people can read.

A station's file says who stands there and what was paid; it is the truth. A user's file says who
logged in with which car. `payments.jsonl` lists every payment taken, for the operator's books; it
follows from the stations' files and is completed from them after a crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import Logger

from evcharge.datasets import StationRows
from evcharge.models.station import ChargingSession, SlotTable, Station
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks
from evcharge.rules.operation import Operation
from evcharge.rules.sweep import Sweep, SweepResult
from evcharge.storage import StorageUnavailable, Summary
from evcharge.storage.contents import Contents
from evcharge.storage.files.contents import read_directory, write_directory
from evcharge.storage.files.directory import (
    PAYMENTS,
    DataDirectory,
    free_name,
    station_file,
    unavailable,
    user_file,
)
from evcharge.storage.files.durable import Unsettled
from evcharge.storage.files.moved import MovedFiles
from evcharge.storage.files.network import (
    CARS,
    STATIONS,
    tell_of_no_row,
    usable_cars,
    usable_rows,
)
from evcharge.storage.files.payments import PaymentList
from evcharge.storage.files.records import one_station_each, paid_sessions, to_json
from evcharge.storage.files.unread import Unread, Waiting
from evcharge.storage.memory import MemoryStorage
from evcharge.storage.private import shown, warn_of_readers


class FileStorage(MemoryStorage):
    """
    A storage in a data directory, which it owns alone while it is open.

    :param directory: made, and filled with the shipped data, where it is missing or empty.
    :param more_cars: models to add to its catalogue, and
    :param more_stations: stations to add to its own, where it does not have them; in a new
        directory they take the place of the shipped ones.
    """

    log = Logger()

    def __init__(
        self,
        directory: Path,
        more_cars: Mapping[str, Any] | None = None,
        more_stations: StationRows | None = None,
    ) -> None:
        super().__init__()
        self._more_cars = more_cars
        self._more_stations = more_stations
        self._directory = DataDirectory(directory)
        self._payments = PaymentList(self._directory.root, PAYMENTS)
        self._moved = MovedFiles(
            self._directory,
            self._payments,
            lambda station_id: self._write_slots(self._slots[station_id]),
            self._write_users,
        )
        self._doubted_users: set[str] = set()
        """Those whose file may be there or not, whatever memory says: a step ended half-way. Before
        it is acted upon, the file is made to say what memory does."""
        self._doubted_slots: dict[str, int] = {}
        """User id -> the station whose file may say something else of the user."""
        self._unread_users: set[str] = set()
        """Those whose file is there, and cannot be read now."""
        self._waiting = Waiting()

    # Opening

    def open(self, now: float) -> Summary:
        try:
            with self._directory.explained():
                self._directory.own()
                self._directory.hold()
                self._directory.fill(self._more_cars, self._more_stations)
                self._load(now)
                # Ids are the names of users' files, and stand in stations' files.
                warn_of_readers(self.log, self._directory.users.path, self._directory.stations.path)
        except BaseException:
            self._directory.release()
            raise
        return self._summary()

    def close(self) -> None:
        # Where another server may have the directory, all in it is that one's.
        with contextlib.suppress(StorageUnavailable):
            self._directory.check()
            self._list_payments()
            for settle in self._doubts:
                with contextlib.suppress(StorageUnavailable):
                    settle()
        self._directory.release()

    def _load(self, now: float) -> None:
        self._clocks = self._moved.read()
        self._car_models = usable_cars(self._directory.path / CARS, self.log)
        # Of rows that were taken in just now, whoever took them in has been told.
        with_doubts = self._more_stations is None
        rows = usable_rows(self._directory.path / STATIONS, self.log, with_doubts)
        stations, known = (rows.stations, rows.known) if rows is not None else ({}, {})
        for name in self._directory.users.names():
            if name.endswith(".json"):
                self._load_user(self._directory.users.path / name)
        tables, broken, changed = self._directory.read_tables(known, now, self._users.get)
        for path in self._directory.strange_stations():
            self.log.warn("{path}: not a station's file, left alone", path=str(path))
        # Before any session ends whose payment only its station's file may have.
        self._payments.compare(paid_sessions(tables.values()))
        self._list_payments()
        if rows is None:
            # What a session costs is worked out, and kept, when the stations are known again.
            changed.clear()
        freed = one_station_each(tables)
        if freed:
            self._payments.settle()
        for station_id, remark in freed:
            changed.add(station_id)
            self.log.warn("{remark}", remark=remark)
        for station_id in sorted(changed):
            self._write_slots(tables[station_id])
        for station_id, station in stations.items():
            if station_id not in tables and station_id not in broken:
                tables[station_id] = SlotTable(station_id, station.max_slots)
                self._write_slots(tables[station_id])
        for station_id, table in sorted(tables.items()):
            # Of a row that is wrong, and a file of which there are none, that has been said.
            if rows is not None and station_id not in known:
                tell_of_no_row(self.log, self._directory.station_path(station_id), station_id)
            self._put_station(stations.get(station_id), table)
        self._list()
        if broken:
            self._waiting.earlier = frozenset(self._users) | self._unread_users
        for station_id, problem in broken.items():
            self._wait(station_id, stations.get(station_id), problem)

    def _wait(self, station_id: int, station: Station | None, problem: str) -> None:
        """Have who may stand at a station wait until it can be read."""
        users = self._waiting.who(station_id, self._directory.station_path(station_id))
        self._waiting.put(station_id, Unread(station, problem, users))
        # Some may wait no longer: who never paid is to go in time.
        self._order_logins()
        count = sum(map(self._waits, self._users))
        self.log.error(
            "{problem}; the station is out of service until the file is put right, and "
            "{count} {drivers} for it",
            problem=problem,
            count=count,
            drivers="driver waits" if count == 1 else "drivers wait",
        )

    def _load_user(self, path: Path) -> None:
        user_id = path.name.removesuffix(".json")
        try:
            user = self._directory.read_user(user_id)
        except FileNotFoundError:
            # Taken away since its name was seen.
            self._unread_users.discard(user_id)
        except IsADirectoryError as error:
            self._say_unread(path, error, "so its user is unknown")
        except OSError as error:
            if user_id not in self._unread_users:
                self._say_unread(path, error, "so its user waits until it can be")
            self._unread_users.add(user_id)
        except ValueError as error:
            self._unread_users.discard(user_id)
            aside = free_name(path)
            self._directory.users.rename(path.name, aside.name)
            self._directory.users.flush()
            self.log.error(
                "{path}: damaged: {error}; set aside as {aside}",
                path=shown(path),
                error=str(error),
                aside=Path(shown(aside)).name,
            )
        else:
            self._unread_users.discard(user_id)
            self._put_user(user)
            if not self._directory.is_right(user):
                self._moved.add([user.user_id])

    def _say_unread(self, path: Path, error: OSError, so: str) -> None:
        self.log.error(
            "{path}: cannot be read, {so}: {error}",
            path=shown(path),
            so=so,
            error=self._directory.reason(error, path),
        )

    # What could not be read

    def _waits(self, user_id: str) -> bool:
        return self._waiting.waited_for(user_id, user_id in self._held) is not None

    def _user(self, user_id: str) -> User:
        if user_id in self._unread_users:
            path = self._directory.user_path(user_id)
            raise StorageUnavailable(f"{shown(path)}: cannot be read")
        return super()._user(user_id)

    def _remove_unpaid(self, user_id: str) -> bool:
        return not self._waits(user_id) and super()._remove_unpaid(user_id)

    def _remove_user(self, user_id: str) -> None:
        if user_id in self._unread_users:
            self._delete_user(user_id)
            self._unread_users.discard(user_id)
        super()._remove_user(user_id)

    def _read_user_again(self, user_id: str) -> None:
        path = self._directory.user_path(user_id)
        with unavailable(path):
            self._load_user(path)

    def _read_station_again(self, station_id: int, unread: Unread, now: float) -> None:
        try:
            table, is_right = self._directory.read_table(
                station_id, unread.station, now, self._users.get
            )
        except ValueError as error:
            if str(error) != unread.problem:
                self._wait(station_id, unread.station, str(error))
            return
        with unavailable(self._directory.station_path(station_id)):
            self._mend(unread.station, table, is_right)

    def _mend(self, station: Station | None, table: SlotTable, is_right: bool) -> None:
        """Take in a station that can be read again, as its file has it. OSError."""
        station_id = table.station_id
        # As at the opening: the list first, then one station for each user.
        self._payments.compare(paid_sessions([table]))
        self._payments.settle()
        held = {self._held[user_id] for user_id in table.sessions if user_id in self._held}
        tables = {**{number: self._slots[number] for number in held}, station_id: table}
        for freed, remark in one_station_each(tables):
            self.log.warn("{remark}", remark=remark)
            is_right = is_right and freed != station_id
            if freed != station_id:
                for user_id in self._slots[freed].sessions.keys() - tables[freed].sessions.keys():
                    self._leave(user_id, freed)
        table = tables[station_id]
        if not is_right:
            self._write_slots(table)
        self._put_station(station, table)
        self._states = dict(sorted(self._states.items()))
        self._list()
        self._waiting.put(station_id, None)
        self._order_logins()
        self.log.info(
            "{path}: can be read again; vehicles that stand there: {count}",
            path=str(self._directory.station_path(station_id)),
            count=len(table.sessions),
        )

    # Carrying out

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        self._directory.check()
        results = super().execute(operations)
        # What was done in a directory that is another server's by now is not done.
        self._directory.check()
        return results

    def _sweep(self, operation: Sweep) -> SweepResult:
        # Before the sessions end whose files still have what the list has not.
        self._list_payments()
        failure: StorageUnavailable | None = None
        chores: list[Callable[[], None]] = [
            *self._doubts,
            *(partial(self._read_user_again, user_id) for user_id in self._unread_users),
            *(
                partial(self._read_station_again, station_id, unread, operation.now)
                for station_id, unread in self._waiting.stations.items()
            ),
            partial(self._follow, operation),
        ]
        for chore in chores:
            try:
                chore()
            except StorageUnavailable as error:
                failure = error
        result = super()._sweep(operation)
        if failure is not None:
            raise failure
        return attrs.evolve(result, more=result.more or bool(self._moved))

    def _settle(self, user_id: str) -> None:
        unread = self._waiting.waited_for(user_id, user_id in self._held)
        if unread is not None:
            raise StorageUnavailable(unread.problem)
        self._write_again(user_id)

    @property
    def _doubts(self) -> list[Callable[[], None]]:
        """What has the disk say what memory does, wherever it may not."""
        known = self._doubted_users & self._users.keys()
        again = [partial(self._write_again, user) for user in (*self._doubted_slots, *known)]
        return [self._forget_failed, *again]

    def _write_again(self, user_id: str) -> None:
        """Have the files that are in doubt about a user say what memory does."""
        station_id = self._doubted_slots.get(user_id)
        if station_id is not None:
            with unavailable(self._directory.station_path(station_id)):
                self._write_slots(self._slots[station_id])
        if user_id in self._doubted_users:
            with unavailable(self._directory.user_path(user_id)):
                self._write_users([user_id])

    # Saving

    def _save_slots(self, slots: SlotTable) -> None:
        before = self._slots[slots.station_id]
        with unavailable(self._directory.station_path(slots.station_id)):
            try:
                self._write_slots(slots)
            except Unsettled:
                changed = dict(slots.sessions.items() ^ before.sessions.items())
                self._doubted_slots.update(dict.fromkeys(changed, slots.station_id))
                raise

    def _write_slots(self, slots: SlotTable) -> None:
        station_id = slots.station_id
        content = to_json(self._directory.table_record(slots))
        self._directory.stations.write(station_file(station_id), content)
        self._moved.written(stations=[station_id])
        for user_id in [u for u, at in self._doubted_slots.items() if at == station_id]:
            del self._doubted_slots[user_id]

    def _save_users(self, users: Sequence[User]) -> None:
        folder = self._directory.users
        begun: list[str] = []
        where = folder.path if len(users) != 1 else self._directory.user_path(users[0].user_id)
        with unavailable(where):
            # Else there would be more of them with each login that fails.
            self._forget_failed()
            try:
                for user in users:
                    begun.append(user.user_id)
                    folder.replace(user_file(user.user_id), self._directory.user_content(user))
                folder.flush()
            except OSError as error:
                # Some may be there, and none shall be.
                self._doubted_users.update(begun if isinstance(error, Unsettled) else begun[:-1])
                raise

    def _delete_user(self, user_id: str) -> None:
        with unavailable(self._directory.user_path(user_id)):
            try:
                self._directory.users.remove(user_file(user_id))
                self._directory.users.flush()
            except Unsettled:
                self._doubted_users.add(user_id)
                raise

    def _forget_failed(self) -> None:
        """Leave nothing of users whose login failed."""
        failed = self._doubted_users - self._users.keys()
        if failed:
            with unavailable(self._directory.users.path):
                self._write_users(list(failed))

    def _write_users(self, ids: Sequence[str]) -> None:
        folder = self._directory.users
        for user_id in ids:
            user = self._users.get(user_id)
            if user is None:
                folder.remove(user_file(user_id))
            else:
                folder.replace(user_file(user_id), self._directory.user_content(user))
        folder.flush()
        self._doubted_users.difference_update(ids)
        self._moved.written(users=ids)

    # Clocks

    def _instants(self) -> Iterator[tuple[int, float | None]]:
        yield from super()._instants()
        # Of a list that cannot be read, it is not known.
        with contextlib.suppress(OSError):
            yield from self._payments.newest()

    def _save_clocks(self, before: Clocks, after: Clocks) -> None:
        self._moved.save(before, after)

    def _move(self, before: Clocks, after: Clocks) -> tuple[list[str], list[int]]:
        users, stations = super()._move(before, after)
        self._moved.add(users, stations)
        self._list_payments()
        return users, stations

    def _follow(self, sweep: Sweep) -> None:
        # What cannot be read now is still by the clock that it was by.
        all_read = not (self._unread_users or self._waiting.stations)
        now = sweep.now + self._clocks.moved(sweep.clock)
        self._clocks = self._moved.follow(self._clocks, now, all_read)

    # The list of payments

    def _record_payment(self, session: ChargingSession) -> None:
        self._payments.owe({session.receipt_id: session})
        self._list_payments()

    def _may_end(self, session: ChargingSession) -> None:
        if self._payments.owes(session.receipt_id):
            with unavailable(self._payments.path):
                self._payments.settle()

    def _list_payments(self) -> None:
        try:
            self._payments.settle()
        except OSError as error:
            # The payment stands, the station's file has it: the next one, each sweep and the
            # closing try again.
            self.log.error(
                "{path}: {error}; payments will be listed later",
                path=str(self._payments.path),
                error=self._directory.reason(error, self._payments.path),
            )

    # Copying

    def read_contents(self, now: float) -> AbstractContextManager[Contents]:
        """See :func:`evcharge.storage.files.contents.read_directory`."""
        return read_directory(self._directory, now)

    def write_contents(self, contents: Contents) -> None:
        """See :func:`evcharge.storage.files.contents.write_directory`."""
        write_directory(self._directory, contents)
