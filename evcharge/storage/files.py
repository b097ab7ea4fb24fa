"""
The data directory: one JSON file a station and a user, which people can read.

A station's file says who stands there and what was paid; it is the truth. A user's file says who
logged in with which car. `payments.jsonl` lists every payment taken, for the operator's books; it
follows from the stations' files and is completed from them after a crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from evcharge.datasets import StationRows, parse_car_models
from evcharge.models.station import ChargingSession, SlotTable
from evcharge.models.user import User
from evcharge.storage import Operation, StorageUnavailable, Summary, Sweep, SweepResult
from evcharge.storage.contents import Contents
from evcharge.storage.directory import (
    DAMAGED,
    PAYMENTS,
    DataDirectory,
    station_file,
    unavailable,
    user_file,
)
from evcharge.storage.directory_copying import read_directory, write_directory
from evcharge.storage.durable import TEMPORARY, Unsettled
from evcharge.storage.memory import MemoryStorage
from evcharge.storage.network_files import CARS, STATIONS, read_rows, to_write
from evcharge.storage.payment_list import PaymentList
from evcharge.storage.private import shown, warn_of_readers
from evcharge.storage.records import (
    one_station_each,
    paid_sessions,
    read_user,
    table_record,
    to_json,
    user_record,
)


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
        self._doubted_users: set[str] = set()
        """Those whose file may be there or not, whatever memory says: a step ended half-way. Before
        it is acted upon, the file is made to say what memory does."""
        self._doubted_slots: dict[str, int] = {}
        """User id -> the station whose file may say something else of the user."""

    # Opening

    def open(self, now: float) -> Summary:
        try:
            with self._directory.explained():
                self._directory.own()
                self._directory.hold()
                self._fill()
                self._load(now)
                # Ids are the names of users' files, and stand in stations' files.
                warn_of_readers(self.log, self._directory.users.path, self._directory.stations.path)
        except BaseException:
            self._directory.release()
            raise
        return self._summary()

    def close(self) -> None:
        # Where another server may have the directory, the list is that one's.
        with contextlib.suppress(StorageUnavailable):
            self._directory.check()
            self._list_payments()
        self._directory.release()

    def _fill(self) -> None:
        """Make what is missing, from the shipped data."""
        # What is there is read before anything is written, so that a mistake in it stops both.
        root = self._directory.root
        for path, content in to_write(root.path, self._more_cars, self._more_stations):
            root.write(path.name, content)
        for folder in (root, self._directory.stations, self._directory.users):
            for name in folder.names():
                if name.endswith(TEMPORARY):
                    folder.remove(name)

    def _load(self, now: float) -> None:
        cars, rows = self._directory.path / CARS, self._directory.path / STATIONS
        self._car_models = parse_car_models(cars.read_bytes(), str(cars))
        stations = read_rows(rows).stations
        for name in self._directory.users.names():
            if name.endswith(".json"):
                self._load_user(self._directory.users.path / name)
        tables, broken, changed = self._directory.read_tables(stations, now, self._users.get)
        for problem in broken.values():
            self.log.error("{problem}; the station is out of service", problem=problem)
        for path in self._directory.strange_stations():
            self.log.warn("{path}: not a station's file, left alone", path=str(path))
        # Before any session ends whose payment only its station's file may have.
        self._payments.compare(paid_sessions(tables.values()))
        self._list_payments()
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
            if station_id not in stations:
                self.log.warn(
                    "{path}: {rows} has no station {id}: it is not in service",
                    path=str(self._directory.station_path(station_id)),
                    rows=str(rows),
                    id=station_id,
                )
            self._put_station(stations.get(station_id), table)
        self._list()

    def _load_user(self, path: Path) -> None:
        try:
            user = read_user(path)
        except OSError as error:
            self.log.error(
                "{path}: cannot be read, so its user is unknown: {error}",
                path=shown(path),
                error=self._directory.reason(error, path),
            )
        except ValueError as error:
            aside = _free_name(path)
            self._directory.users.rename(path.name, aside.name)
            self._directory.users.flush()
            self.log.error(
                "{path}: damaged: {error}; set aside as {aside}",
                path=shown(path),
                error=str(error),
                aside=Path(shown(aside)).name,
            )
        else:
            self._put_user(user)

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
        for user_id in [*self._doubted_slots, *self._doubted_users]:
            try:
                self._settle(user_id)
            except StorageUnavailable as error:
                failure = error
        result = super()._sweep(operation)
        if failure is not None:
            raise failure
        return result

    def _settle(self, user_id: str) -> None:
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
                with contextlib.suppress(OSError):
                    self._write_slots(before)
                raise

    def _write_slots(self, slots: SlotTable) -> None:
        station_id = slots.station_id
        self._directory.stations.write(station_file(station_id), to_json(table_record(slots)))
        if self._doubted_slots:
            self._doubted_slots = {
                user_id: doubted
                for user_id, doubted in self._doubted_slots.items()
                if doubted != station_id
            }

    def _save_users(self, users: Sequence[User]) -> None:
        folder = self._directory.users
        ids = [user.user_id for user in users]
        with unavailable(folder.path / user_file(ids[0]) if len(ids) == 1 else folder.path):
            try:
                for user in users:
                    folder.replace(user_file(user.user_id), to_json(user_record(user)))
                folder.flush()
            except OSError:
                # All of them or none.
                self._doubt(ids)
                raise
        self._doubted_users.difference_update(ids)

    def _delete_user(self, user_id: str) -> None:
        folder = self._directory.users
        with unavailable(self._directory.user_path(user_id)):
            try:
                folder.remove(user_file(user_id))
                folder.flush()
            except Unsettled:
                self._doubt([user_id])
                raise

    def _doubt(self, ids: Sequence[str]) -> None:
        """Have the files of users say again what memory does: now, or before it matters."""
        self._doubted_users.update(ids)
        with contextlib.suppress(OSError):
            self._write_users(ids)

    def _write_users(self, ids: Sequence[str]) -> None:
        folder = self._directory.users
        for user_id in ids:
            user = self._users.get(user_id)
            if user is None:
                folder.remove(user_file(user_id))
            else:
                folder.replace(user_file(user_id), to_json(user_record(user)))
        folder.flush()
        self._doubted_users.difference_update(ids)

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
                error=error.strerror or str(error),
            )

    # Copying

    def read_contents(self, now: float) -> AbstractContextManager[Contents]:
        """See :func:`evcharge.storage.directory_copying.read_directory`."""
        return read_directory(self._directory, now)

    def write_contents(self, contents: Contents) -> None:
        """See :func:`evcharge.storage.directory_copying.write_directory`."""
        write_directory(self._directory, contents)


def _free_name(path: Path) -> Path:
    """A name beside `path` for a damaged file, under which none is kept yet."""
    aside, number = path.with_name(path.name + DAMAGED), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{DAMAGED}-{number}")
    return aside
