"""A data directory: what its files are called, who owns it, and what they say of the slots."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
from twisted.logger import Logger

from evcharge.datasets import DatasetError, StationRows
from evcharge.datasets.files import CARS, STATIONS
from evcharge.models.electric_car import CarModel
from evcharge.models.evse import STATUSES as EVSE_STATUSES
from evcharge.models.evse import EvseStatus
from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks, D
from evcharge.storage import StorageError, StorageUnavailable
from evcharge.storage.durable import TEMPORARY, Folder, make_folder
from evcharge.storage.files.network import to_write
from evcharge.storage.files.receipts import ReceiptFiles
from evcharge.storage.files.records import (
    read_object,
    read_table,
    read_user,
    table_record,
    to_json,
    user_record,
)
from evcharge.storage.files.used import UsedTariffs
from evcharge.storage.files.vehicles import Beside
from evcharge.storage.lock import Lock
from evcharge.storage.private import shown
from evcharge.utils.numbers import whole_number
from evcharge.utils.permissions import remedy

PAYMENTS = "payments.jsonl"
CLOCK = "clock.json"
"""What is known of the clocks by which instants are: :meth:`Clocks.record`. Often missing."""
STATUSES = "evse_status.json"
"""What an operator has said of EVSEs while a server ran, by uid. Often missing."""
RECEIPTS, USED = "receipts", "tariffs_used"
"""Folders, which are made when something is kept there."""
LOCK = ".lock"
DAMAGED = ".damaged"

K = TypeVar("K")


class DataDirectory:
    """
    The files of a data directory, for whoever owns it.

    A user's id becomes the name of a file only where it is a key of the users in memory, or ours.
    """

    log = Logger()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = Folder(path)
        self.stations = Folder(path / "stations")
        self.users = Folder(path / "users")
        self.used = UsedTariffs(path / USED)
        self.receipts = ReceiptFiles(path / RECEIPTS, self.used)
        self.statuses: Mapping[str, EvseStatus] = {}
        """What its file says of EVSEs, once it has been read."""
        self.clocks = Clocks()
        """Those by which the instants in its files are, once they have been read."""
        self.unlisted: set[int] = set()
        """Stations that no row names: their files go when nobody stands there any more."""
        self._lock = Lock(path / LOCK, str(path))

    # Owning

    def own(self) -> None:
        """
        Take the directory for this process; the kernel frees it however the process ends.

        :raise StorageError: another process has it, or it has other things.
        :raise OSError: it cannot be made, or reached.
        """
        try:
            make_folder(self.path)
        except FileExistsError:
            raise StorageError(f"{self.path}: is not a directory") from None
        ours = {CARS, STATIONS, "stations", "users"}
        there = names(self.path)
        if any(not name.startswith(".") and name != "lost+found" for name in there) and not (
            ours.intersection(there)
        ):
            raise StorageError(
                f"{self.path}: is not a data directory of evcharge, and not empty; "
                "name one that is, or a new one"
            )
        self._lock.acquire()

    def hold(self) -> None:
        """
        Hold its folders open, made where they are missing, and with all that is in them for good:
        whoever changed it may have ended before it was. OSError.
        """
        self.root.open()
        for folder in (self.stations, self.users):
            make_folder(folder.path)
            folder.open()
        for folder in (self.root, self.stations, self.users):
            folder.flush()

    def fill(self, cars: Mapping[str, Any] | None, stations: StationRows | None) -> None:
        """
        Make what is missing, as :func:`evcharge.storage.files.network.to_write` has it.

        :raise DatasetError: there is a mistake in what is there.
        :raise OSError: it cannot be made.
        """
        # What is there is read before anything is written, so that a mistake in it stops all.
        for path, content in to_write(self.path, cars, stations):
            self.root.write(path.name, content)
        for folder in (self.root, self.stations, self.users):
            left = [name for name in folder.names() if name.endswith(TEMPORARY)]
            for error in folder.change(dict.fromkeys(left)).values():
                raise error

    def check(self) -> None:
        """StorageUnavailable: it may be another process's by now."""
        self._lock.check()

    def release(self) -> None:
        """Let go of it, as far as it was taken."""
        self.used.close()
        self.receipts.close()
        for folder in (self.users, self.stations, self.root):
            folder.close()
        self._lock.release()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """StorageError for whatever is wrong with the directory."""
        try:
            yield
        except OSError as error:
            where = Path(os.fsdecode(error.filename)) if error.filename else self.path
            raise StorageError(f"{shown(where)}: {self.reason(error, where)}") from error
        except DatasetError as error:
            raise StorageError(str(error)) from error

    def reason(self, error: Exception, path: Path) -> str:
        """What is wrong with a file of it, and what to do where its user may not use it."""
        if not isinstance(error, OSError):
            return str(error)
        return f"{error.strerror or error}{remedy(error, path, self.path, is_folder=True)}"

    # Names

    def station_path(self, station_id: int) -> Path:
        """Where a station's file is."""
        return self.stations.path / station_file(station_id)

    def user_path(self, user_id: str) -> Path:
        """Where a user's file is."""
        return self.users.path / user_file(user_id)

    def station_id(self, name: str) -> int | None:
        """Whose file this is, of those among the stations; None where it is no station's."""
        number = whole_number(name.removeprefix("station_").removesuffix(".json"))
        return number if number is not None and name == station_file(number) else None

    # Clocks

    def read_clocks(self) -> None:
        """
        Read what is known of the clocks: before any record, which would not be right.

        :raise StorageError: it cannot be known.
        :raise OSError: it cannot be read.
        """
        path = self.path / CLOCK
        try:
            self.clocks = Clocks.of_record(read_object(path))
        except FileNotFoundError:
            self.clocks = Clocks()
        except ValueError as error:
            raise StorageError(
                f"{path}: {error}; it says how far the times in the other files are to be moved: "
                "put it right, or remove it if they are right as they stand"
            ) from None

    def write_clocks(self, clocks: Clocks) -> None:
        """Have other clocks, and all that they say was moved with them, at once. OSError."""
        self.root.write(CLOCK, to_json(clocks.record()))
        self.clocks = clocks

    def _true(self, record: D) -> D:
        """A record that was read, as it is in truth."""
        if record.clock > self.clocks.number:
            # Of a clock that nothing is known of any more.
            return record.moved(0.0, 0)
        return self.clocks.true(record)

    def _written(self, record: D) -> D:
        """A record as it is written."""
        return self.clocks.kept(record, None, self.clocks.plainly(record.clock))

    def is_right(self, record: D) -> bool:
        """Whether what was written of a record, when it was read or made, is right as it stands."""
        return not self.clocks.moved(record.clock)

    # Statuses of EVSEs

    def read_statuses(self) -> None:
        """
        Read what was said of EVSEs.

        :raise StorageError: the file is damaged.
        :raise OSError: it cannot be read.
        """
        path = self.path / STATUSES
        self.statuses = {}
        try:
            for uid, facts in read_object(path).items():
                self.statuses = {**self.statuses, uid: _status(uid, facts)}
        except FileNotFoundError:
            pass
        except ValueError as error:
            raise StorageError(
                f"{path}: {error}; it says which EVSEs are out of service: put it right, or remove "
                "it if all are as evses.json says"
            ) from None

    def write_statuses(self, statuses: Mapping[str, EvseStatus]) -> None:
        """Have that said of EVSEs, for good. OSError."""
        self.root.write(STATUSES, statuses_json(statuses))
        self.statuses = statuses

    # Users

    def read_user(self, user_id: str, models: Mapping[str, CarModel]) -> User:
        """
        A user, whose car is one of the catalogue's `models` where that is known.

        ValueError: the file is damaged; OSError: it cannot be read.
        """
        return self._true(read_user(self.user_path(user_id), models))

    def write_users(self, users: Mapping[str, User | None]) -> dict[str, OSError]:
        """
        Write the files of users, or remove the file of each who is None here, for good.

        :return: of those for whom it failed, why; see :meth:`Folder.change`.
        """
        files = {
            user_id: None if user is None else to_json(user_record(self._written(user)))
            for user_id, user in users.items()
        }
        return _change(self.users, files, user_file)

    # Stations

    def write_tables(self, tables: Iterable[SlotTable]) -> dict[int, OSError]:
        """
        Write the slots of stations, for good.

        :return: of those for which it failed, why; see :meth:`Folder.change`.
        """
        tables = list(tables)
        standing = [session for table in tables for session in table.sessions.values()]
        try:
            # Before any file names them.
            self.used.keep(session.tariff for session in standing if session.tariff is not None)
        except OSError as error:
            return dict.fromkeys((table.station_id for table in tables), error)
        files = {
            table.station_id: to_json(self._record(table))
            if table.sessions or table.waiting or table.station_id not in self.unlisted
            else None
            for table in tables
        }
        return _change(self.stations, files, station_file)

    def _record(self, table: SlotTable) -> dict[str, Any]:
        return table_record(table.each(self._written))

    def read_tables(
        self,
        stations: Mapping[int, Station],
        beside: Beside,
    ) -> tuple[dict[int, SlotTable], dict[int, str], set[int]]:
        """
        Read the slot tables.

        :return: those that can be read; of the others, what is wrong; and the ids of those whose
            file does not say them right.
        """
        tables: dict[int, SlotTable] = {}
        broken: dict[int, str] = {}
        changed: set[int] = set()
        for name in names(self.stations.path):
            station_id = self.station_id(name)
            if station_id is None:
                continue
            try:
                table, is_right = self.read_table(station_id, stations.get(station_id), beside)
            except ValueError as error:
                broken[station_id] = str(error)
                continue
            tables[station_id] = table
            if not is_right:
                changed.add(station_id)
        return tables, broken, changed

    def read_table(
        self,
        station_id: int,
        station: Station | None,
        beside: Beside,
    ) -> tuple[SlotTable, bool]:
        """
        The slots that the file of a station holds, and whether it says them right.

        :param station: its row; None where it has none.
        :raise ValueError: names the file, and what is wrong with it.
        """
        path = self.station_path(station_id)
        try:
            record = read_object(path)
            table = read_table(record, station_id, station, beside)
        except (ValueError, ArithmeticError, OSError) as error:
            raise ValueError(f"{path}: cannot be used: {self.reason(error, path)}") from error
        said = whole_number(record.get("total_slots", record.get("max_slots")))
        if station is not None and station.own_evses and said not in (None, table.max_slots):
            self.log.warn(
                "{path}: {said} slots, but there are {count} EVSEs of the station; these count",
                path=str(path),
                said=said,
                count=table.max_slots,
            )
        table = table.each(self._true)
        return table, self._record(table) == record

    def strange_stations(self) -> list[Path]:
        """What has the name of a station's file, nearly."""
        return [
            self.stations.path / name
            for name in names(self.stations.path)
            if name.startswith("station_")
            and name.endswith(".json")
            and self.station_id(name) is None
        ]


def statuses_json(statuses: Mapping[str, EvseStatus]) -> bytes:
    """The file of what was said of EVSEs."""
    return to_json(
        {
            uid: {name: value for name, value in attrs.asdict(said).items() if value is not None}
            for uid, said in statuses.items()
        }
    )


def _status(uid: str, facts: Any) -> EvseStatus:
    if not isinstance(facts, dict) or facts.get("status") not in EVSE_STATUSES:
        raise ValueError(f'"{uid}": status must be one of {", ".join(EVSE_STATUSES)}')
    since, reason = facts.get("since", ""), facts.get("reason")
    if not isinstance(since, str) or not isinstance(reason, str | None):
        raise ValueError(f'"{uid}": since and reason must be text')
    return EvseStatus(facts["status"], since, reason)


def station_file(station_id: int) -> str:
    """The name of a station's file."""
    return f"station_{station_id}.json"


def user_file(user_id: str) -> str:
    """The name of a user's file."""
    return f"{user_id}.json"


def names(folder: Path) -> list[str]:
    """What is in a folder that may be missing, in order. OSError: it cannot be read."""
    # Never "nothing", where that is not known: what seems to be missing is made anew.
    return sorted(os.listdir(folder)) if os.path.lexists(folder) else []


def _change(
    folder: Folder, contents: Mapping[K, bytes | None], name: Callable[[K], str]
) -> dict[K, OSError]:
    """Change files in a folder, by what they are about."""
    errors = folder.change({name(key): content for key, content in contents.items()})
    return {key: errors[name(key)] for key in contents if name(key) in errors} if errors else {}


def unavailable(what: Path, error: OSError) -> StorageUnavailable:
    """What a change ends in that `error` keeps from coming about; names `what`."""
    return StorageUnavailable(f"{shown(what)}: {error.strerror or error}")


@contextlib.contextmanager
def needed(what: Path) -> Iterator[None]:
    """StorageUnavailable for an OSError; names `what`."""
    try:
        yield
    except OSError as error:
        raise unavailable(what, error) from error


def free_name(path: Path) -> Path:
    """A name beside `path` for a damaged file, under which none is kept yet."""
    aside, number = path.with_name(path.name + DAMAGED), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{DAMAGED}-{number}")
    return aside
