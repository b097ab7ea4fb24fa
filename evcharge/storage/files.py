"""
The data directory: one JSON file a station and a user, which people can read.

A station's file says who stands there and what was paid; it is the truth. A user's file says who
logged in with which car. `payments.jsonl` lists every payment taken, for the operator's books; it
follows from the stations' files and is completed from them after a crash.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import Logger

from evcharge.datasets import (
    COLUMNS,
    OPTIONAL_COLUMNS,
    DatasetError,
    StationRows,
    parse_car_models,
)
from evcharge.models.station import ChargingSession, SlotTable, Station
from evcharge.models.user import User
from evcharge.storage import StorageError, StorageUnavailable, Summary, Sweep, SweepResult
from evcharge.storage.contents import Contents, Payment, StationRecord
from evcharge.storage.lock import Lock
from evcharge.storage.memory import MemoryStorage
from evcharge.storage.network_files import (
    CARS,
    OUT_OF_SERVICE,
    STATIONS,
    copied,
    read_rows,
    to_write,
)
from evcharge.storage.private import FOLDER_MODE, private, shown, warn_of_readers
from evcharge.storage.records import (
    LookUp,
    may_begin,
    one_station_each,
    paid_sessions,
    payment_line,
    read_object,
    read_payment,
    read_table,
    read_user,
    table_record,
    to_json,
    unnamed,
    user_of,
    user_record,
)
from evcharge.utils.ids import ending
from evcharge.utils.numbers import whole_number

PAYMENTS = "payments.jsonl"
LOCK = ".lock"
TEMPORARY = ".tmp"
HALF_COPY = ".copying"
DAMAGED = ".damaged"


def write_durably(path: Path, content: bytes) -> None:
    """
    Replace `path` by `content` at once and for good: a crash leaves the old file or the new one.

    :raise OSError: nothing has changed, or the new file is there but may not survive a crash.
    """
    write_file(path, content)
    _sync_folder(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """
    Replace `path` by `content` at once; for good when its folder has been synchronised too.

    :raise OSError: nothing has changed.
    """
    beside = path.with_name(path.name + TEMPORARY)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    _sync(folder, os.O_DIRECTORY)


def _sync(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _unavailable(what: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"{shown(what)}: {error.strerror or error}") from error


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
        self._directory = directory
        self._owned = Lock(directory / LOCK, str(directory))
        self._payments_owed: list[ChargingSession] = []

    # Opening

    def open(self, now: float) -> Summary:
        try:
            with self._explained():
                self._own()
                self._fill()
                self._load(now)
                # Ids are the names of users' files, and stand in stations' files.
                warn_of_readers(self.log, self._users_folder, self._stations_folder)
        except StorageError:
            self.close()
            raise
        return self._summary()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """StorageError for whatever is wrong with the directory."""
        try:
            yield
        except OSError as error:
            where = Path(os.fsdecode(error.filename)) if error.filename else self._directory
            raise StorageError(f"{shown(where)}: {error.strerror or error}") from error
        except DatasetError as error:
            raise StorageError(str(error)) from error

    def close(self) -> None:
        self._list_payments()
        self._owned.release()

    def _own(self) -> None:
        """Take the directory for this process; the kernel frees it however the process ends."""
        try:
            self._directory.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        except FileExistsError:
            raise StorageError(f"{self._directory}: is not a directory") from None
        ours = {CARS, STATIONS, "stations", "users"}
        there = {path.name for path in self._directory.iterdir()}
        if any(not name.startswith(".") and name != "lost+found" for name in there) and not (
            ours & there
        ):
            raise StorageError(
                f"{self._directory}: is not a data directory of evcharge, and not empty; "
                "name one that is, or a new one"
            )
        self._owned.acquire()

    def _fill(self) -> None:
        """Make what is missing, from the shipped data."""
        for name in ("stations", "users"):
            (self._directory / name).mkdir(FOLDER_MODE, exist_ok=True)
        # What is there is read before anything is written, so that a mistake in it stops both.
        for path, content in to_write(self._directory, self._more_cars, self._more_stations):
            write_durably(path, content)
        for folder in (self._directory, self._stations_folder, self._users_folder):
            for leftover in folder.glob(f"*{TEMPORARY}"):
                leftover.unlink()

    def _load(self, now: float) -> None:
        cars, rows = self._directory / CARS, self._directory / STATIONS
        self._car_models = parse_car_models(cars.read_bytes(), str(cars))
        stations = read_rows(rows).stations
        for path in sorted(self._users_folder.glob("*.json")):
            self._load_user(path)
        tables, broken, changed = self._load_tables(stations, now, self._users.get)
        for problem in broken.values():
            self.log.error("{problem}; the station is out of service", problem=problem)
        for path in self._strange_stations():
            self.log.warn("{path}: not a station's file, left alone", path=str(path))
        for freed, remark in one_station_each(tables):
            changed.add(freed)
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
                    path=str(self._station_path(station_id)),
                    rows=str(rows),
                    id=station_id,
                )
            self._put_station(stations.get(station_id), table)
        self._list()
        self._complete_payments()

    def _load_user(self, path: Path) -> None:
        try:
            user = read_user(path)
        except OSError as error:
            self.log.error(
                "{path}: cannot be read: {error}; its user is unknown",
                path=shown(path),
                error=error.strerror or str(error),
            )
        except ValueError as error:
            aside = _free_name(path)
            path.rename(aside)
            self.log.error(
                "{path}: damaged: {error}; set aside as {aside}",
                path=shown(path),
                error=str(error),
                aside=Path(shown(aside)).name,
            )
        else:
            self._put_user(user)

    def _load_tables(
        self, stations: Mapping[int, Station], now: float, look_up: LookUp
    ) -> tuple[dict[int, SlotTable], dict[int, str], set[int]]:
        """
        Read the slot tables.

        :return: those that can be read; of the others, what is wrong; and the ids of those whose
            file does not say them right.
        """
        tables: dict[int, SlotTable] = {}
        broken: dict[int, str] = {}
        changed: set[int] = set()
        for path in self._stations_folder.glob("station_*.json"):
            station_id = self._station_id(path)
            if station_id is None:
                continue
            try:
                record = read_object(path)
                table = read_table(record, station_id, stations.get(station_id), now, look_up)
            except (ValueError, ArithmeticError, OSError) as error:
                broken[station_id] = f"{path}: cannot be used: {error}"
                continue
            tables[station_id] = table
            if table_record(table) != record:
                changed.add(station_id)
        return tables, broken, changed

    def _station_id(self, path: Path) -> int | None:
        """Whose file this is; None where it is no station's."""
        station_id = whole_number(path.stem.removeprefix("station_"))
        return (
            station_id
            if station_id is not None and path == self._station_path(station_id)
            else None
        )

    def _strange_stations(self) -> list[Path]:
        """What has the name of a station's file, nearly."""
        named = sorted(self._stations_folder.glob("station_*.json"))
        return [path for path in named if self._station_id(path) is None]

    # Saving

    def _save_slots(self, slots: SlotTable) -> None:
        with _unavailable(self._station_path(slots.station_id)):
            try:
                self._write_slots(slots)
            except OSError:
                # The file may have been replaced and only the flush have failed: it must not say
                # what the caller is told did not happen.
                with contextlib.suppress(OSError):
                    self._write_slots(self._slots[slots.station_id])
                raise

    def _write_slots(self, slots: SlotTable) -> None:
        write_durably(self._station_path(slots.station_id), to_json(table_record(slots)))

    def _save_users(self, users: Sequence[User]) -> None:
        paths = [self._user_path(user.user_id) for user in users]
        with _unavailable(paths[0] if len(paths) == 1 else self._users_folder):
            try:
                for path, user in zip(paths, users, strict=True):
                    write_file(path, to_json(user_record(user)))
                _sync_folder(self._users_folder)
            except OSError:
                for path in paths:
                    with contextlib.suppress(OSError):
                        path.unlink()
                raise

    def _delete_user(self, user_id: str) -> None:
        path = self._user_path(user_id)
        with _unavailable(path):
            path.unlink(missing_ok=True)
            _sync_folder(path.parent)

    # The list of payments

    def _record_payment(self, session: ChargingSession) -> None:
        self._payments_owed.append(session)
        self._list_payments()

    def _sweep(self, operation: Sweep) -> SweepResult:
        # Before the sessions end whose files still have what the list has not.
        self._list_payments()
        return super()._sweep(operation)

    def _list_payments(self) -> None:
        if not self._payments_owed:
            return
        try:
            self._append_payments()
        except OSError as error:
            # The payment stands, the station's file has it: the next one, each sweep and the
            # closing try again.
            self.log.error(
                "{path}: {error}; the payment will be listed later",
                path=str(self._directory / PAYMENTS),
                error=str(error),
            )

    def _append_payments(self) -> None:
        lines = b"".join(payment_line(Payment.of(session)) for session in self._payments_owed)
        path = self._directory / PAYMENTS
        # Unbuffered: a buffer would write what is left of it when the file is closed.
        with open(path, "ab", buffering=0, opener=private) as file:
            start = os.fstat(file.fileno()).st_size
            try:
                if file.write(lines) != len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(start)
                raise
        self._payments_owed.clear()

    def _complete_payments(self) -> None:
        """List the payments that the stations' files have and an interrupted process did not."""
        path = self._directory / PAYMENTS
        unlisted = paid_sessions(self._slots.values())
        if path.exists():
            whole = 0
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    whole += len(line)
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        unlisted.pop(json.loads(line)["receipt_id"], None)
            if whole < path.stat().st_size:
                # The last line was being written when the process ended.
                os.truncate(path, whole)
        if unlisted:
            self._payments_owed.extend(unlisted.values())
            self._append_payments()

    # Copying

    @contextlib.contextmanager
    def read_contents(self, now: float) -> Iterator[Contents]:
        """
        Everything in the directory, which is owned meanwhile and left as it is.

        What its files do not note is worked out as at the opening.

        :param now: seconds since the epoch.
        :raise StorageError: there is no data directory, or another process has it; once all is
            read, names each file that is damaged.
        """
        with self._explained():
            for path in (self._directory, self._directory / CARS, self._directory / STATIONS):
                # For its error, before anything is made.
                path.stat()
            self._own()
            try:
                yield self._contents(now)
            finally:
                self.close()

    def _contents(self, now: float) -> Contents:
        cars = self._directory / CARS
        rows = read_rows(self._directory / STATIONS)
        resting = read_rows(self._directory / OUT_OF_SERVICE)
        tables, broken, _ = self._load_tables(rows.stations, now, self._look_up)
        remarks = [remark for _, remark in one_station_each(tables)]
        remarks += [f"{path}: is not copied" for path in self._foreign()]
        stations = {
            **{station_id: unnamed(table) for station_id, table in tables.items()},
            **resting.stations,
            **rows.stations,
        }
        cells = {**resting.rows, **rows.rows}
        sessions = [s for _, table in sorted(tables.items()) for s in table.sessions.values()]
        users = [name for name in _names(self._users_folder) if name.endswith(".json")]
        problems = [problem for _, problem in sorted(broken.items())]
        return Contents(
            car_models=parse_car_models(cars.read_bytes(), str(cars)),
            stations=[
                StationRecord(
                    attrs.evolve(station, max_slots=tables[station_id].max_slots)
                    if station_id in tables
                    else station,
                    station_id in rows.stations,
                    {
                        name: cell
                        for name, cell in cells.get(station_id, {}).items()
                        if name not in (*COLUMNS, *OPTIONAL_COLUMNS)
                    },
                )
                for station_id, station in sorted(stations.items())
            ],
            users=self._read_users(users, problems),
            sessions=sessions,
            payments=self._read_payments(paid_sessions(tables.values()), problems),
            count=len(users) + len(sessions) + _lines(self._directory / PAYMENTS),
            remarks=remarks,
        )

    def _look_up(self, user_id: str) -> User | None:
        """A user whose id stands in a station's file; None where there is none to be read."""
        with contextlib.suppress(OSError, ValueError):
            # Only a plain name is looked for.
            if "/" not in user_id:
                return read_user(self._user_path(user_id))
        return None

    def _foreign(self) -> list[Path]:
        """Files that this storage has no use for."""
        ours = {CARS, STATIONS, OUT_OF_SERVICE, PAYMENTS, LOCK, "stations", "users", "lost+found"}
        paths = [
            *(self._directory / name for name in _names(self._directory) if name not in ours),
            *(
                path
                for path in map(self._stations_folder.joinpath, _names(self._stations_folder))
                if self._station_id(path) is None
            ),
            *(
                self._users_folder / name
                for name in _names(self._users_folder)
                if not name.endswith(".json")
            ),
        ]
        return [path for path in paths if path.suffix != TEMPORARY]

    def _read_users(self, names: Sequence[str], problems: list[str]) -> Iterator[User]:
        for name in names:
            path = self._users_folder / name
            try:
                user = read_user(path)
                # Text that is not Unicode is kept nowhere else.
                to_json(user_record(user))
            except (ValueError, OSError) as error:
                problems.append(f"{path}: {getattr(error, 'strerror', None) or error}")
            else:
                yield user

    def _read_payments(
        self, unlisted: dict[str, ChargingSession], problems: list[str]
    ) -> Iterator[Payment]:
        """The list of payments, completed by those of `unlisted`; then `problems`, raised."""
        path = self._directory / PAYMENTS
        if path.exists():
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n") and any(
                        may_begin(line, Payment.of(session)) for session in unlisted.values()
                    ):
                        # It was being written when the process ended.
                        break
                    if not line.strip():
                        continue
                    try:
                        payment = read_payment(line)
                    except ValueError as error:
                        problems.append(f"{path}: line {number}: {error}")
                    else:
                        unlisted.pop(payment.receipt_id, None)
                        yield payment
        yield from map(Payment.of, unlisted.values())
        if problems:
            raise StorageError("\n  ".join(["damaged, so that nothing is copied:", *problems]))

    def write_contents(self, contents: Contents) -> None:
        """
        Make the directory, of `contents`.

        It is made beside its place, and takes it when it is whole and on the disk.

        :raise StorageError: the directory is there and not empty, or cannot be made of this.
        """
        place = self._directory.resolve()
        half = FileStorage(place.with_name(f".{place.name}{HALF_COPY}"))
        with self._explained():
            if place.exists() and any(place.iterdir()):
                raise StorageError(
                    f"{self._directory}: is not empty; name a new directory, or move this one away"
                )
            half._own()
            try:
                half._write(contents)
                if place.exists():
                    half._directory.chmod(place.stat().st_mode)
                half._directory.replace(place)
                _sync_folder(place.parent)
            except BaseException:
                shutil.rmtree(half._directory, ignore_errors=True)
                raise
            finally:
                half.close()

    def _write(self, contents: Contents) -> None:
        """Write everything, and have it on the disk, in place of what an earlier try has left."""
        for name in _names(self._directory):
            if name not in (LOCK, "lost+found"):
                path = self._directory / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for folder in (self._users_folder, self._stations_folder):
            folder.mkdir(FOLDER_MODE)
        for name, content in copied(contents).items():
            (self._directory / name).write_bytes(content)
        for user in contents.users:
            # It names a file: as a key of `_users` does, which is our own.
            if not user.user_id or "/" in user.user_id or "\0" in user.user_id:
                raise StorageError(f"user …{ending(user.user_id)!r}: this id cannot name a file")
            record = user_record(user)
            with _refused(f"user …{ending(user.user_id)}"):
                user_of(user.user_id, record, user.created_timestamp)
            self._user_path(user.user_id).write_bytes(to_json(record))
        slots = {r.station.station_id: r.station.max_slots for r in contents.stations}
        for station_id, sessions in groupby(contents.sessions, attrgetter("station_id")):
            standing = {session.user_id: session for session in sessions}
            table = SlotTable(station_id, slots.pop(station_id), standing)
            with _refused(f"station {station_id}"):
                read_table(table_record(table), station_id, None, 0, lambda _: None)
            self._station_path(station_id).write_bytes(to_json(table_record(table)))
        for station_id, number in slots.items():
            table = SlotTable(station_id, number)
            self._station_path(station_id).write_bytes(to_json(table_record(table)))
        with open(self._directory / PAYMENTS, "wb", opener=private) as file:
            for payment in contents.payments:
                with _refused(f"payment {payment.receipt_id}"):
                    line = payment_line(payment)
                    read_payment(line)
                file.write(line)
        # Everything at once, which file by file would take long; that then says how it went.
        os.sync()
        for folder in (self._users_folder, self._stations_folder, self._directory):
            with os.scandir(folder) as entries:
                for entry in entries:
                    _sync(Path(entry.path))
            _sync_folder(folder)

    # Names of files. A user's id becomes one only where it is a key of `_users`, or our own.

    @property
    def _stations_folder(self) -> Path:
        return self._directory / "stations"

    @property
    def _users_folder(self) -> Path:
        return self._directory / "users"

    def _station_path(self, station_id: int) -> Path:
        return self._stations_folder / f"station_{station_id}.json"

    def _user_path(self, user_id: str) -> Path:
        return self._users_folder / f"{user_id}.json"


def _free_name(path: Path) -> Path:
    """A name beside `path` for a damaged file, under which none is kept yet."""
    aside, number = path.with_name(path.name + DAMAGED), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{DAMAGED}-{number}")
    return aside


def _names(folder: Path) -> list[str]:
    """What is in a folder that may be missing, in order."""
    return sorted(os.listdir(folder)) if folder.exists() else []


def _lines(path: Path) -> int:
    """How many lines a file has, which may be missing."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """StorageError for a record that could not be read again if it were written."""
    try:
        yield
    except (ValueError, ArithmeticError) as error:
        raise StorageError(f"{what}: cannot be kept in files: {error}") from None
