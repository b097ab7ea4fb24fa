"""
The data directory: one JSON file a station and a user, which people can read.

A station's file says who stands there and what was paid; it is the truth. A user's file says who
logged in with which car. `payments.jsonl` lists every payment taken, for the operator's books; it
follows from the stations' files and is completed from them after a crash.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
from twisted.logger import Logger

from evcharge.datasets import (
    DatasetError,
    StationRows,
    merge_car_models,
    merge_stations,
    parse_car_models,
    parse_stations,
)
from evcharge.models.electric_car import MOST_FIGURE, CarModel, ElectricCar
from evcharge.models.station import ChargingSession, SlotTable, Station
from evcharge.models.user import User
from evcharge.storage import StorageError, StorageUnavailable, Summary, Sweep, SweepResult
from evcharge.storage.memory import MemoryStorage
from evcharge.utils.numbers import finite_number, whole_number
from evcharge.utils.time_utils import iso_utc

CARS = "car_models.json"
STATIONS = "feira_de_santana_stations.csv"
PAYMENTS = "payments.jsonl"
LOCK = ".lock"
TEMPORARY = ".tmp"
DAMAGED = ".damaged"


def shipped(name: str) -> bytes:
    """The file `name` of the data that comes with evcharge."""
    return (resources.files("evcharge") / "data" / name).read_bytes()


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
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _unavailable(what: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"{what}: {error.strerror or error}") from error


def _to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


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
        self._owned: Any = None
        self._payments_owed: list[ChargingSession] = []

    # Opening

    def open(self, now: float) -> Summary:
        try:
            self._own()
            self._fill()
            self._load(now)
        except OSError as error:
            self.close()
            where = error.filename or self._directory
            raise StorageError(f"{where}: {error.strerror or error}") from error
        except DatasetError as error:
            self.close()
            raise StorageError(str(error)) from error
        except StorageError:
            self.close()
            raise
        return self._summary()

    def close(self) -> None:
        self._list_payments()
        if self._owned is not None:
            self._owned.close()
            self._owned = None

    def _own(self) -> None:
        """Take the directory for this process; the kernel frees it however the process ends."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
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
        self._owned = open(self._directory / LOCK, "a+")  # noqa: SIM115 - held open while we run
        try:
            fcntl.flock(self._owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._owned.seek(0)
            owner = self._owned.read().strip() or "unknown"
            raise StorageError(
                f"{self._directory}: is in use by another evcharge process ({owner})"
            ) from None
        self._owned.truncate(0)
        self._owned.write(f"{os.getpid()}\n")
        self._owned.flush()

    def _fill(self) -> None:
        """Make what is missing, from the shipped data."""
        for name in ("stations", "users"):
            (self._directory / name).mkdir(exist_ok=True)
        # What is there is read before anything is written, so that a mistake in it stops both.
        for path, content in [*self._cars_to_write(), *self._stations_to_write()]:
            write_durably(path, content)
        for folder in (self._directory, self._stations_folder, self._users_folder):
            for leftover in folder.glob(f"*{TEMPORARY}"):
                leftover.unlink()

    def _cars_to_write(self) -> list[tuple[Path, bytes]]:
        path, more = self._directory / CARS, self._more_cars
        if not path.exists():
            return [(path, shipped(CARS) if more is None else merge_car_models({}, more))]
        if more is None:
            return []
        return [(path, merge_car_models(parse_car_models(path.read_bytes(), str(path)), more))]

    def _stations_to_write(self) -> list[tuple[Path, bytes]]:
        path, more = self._directory / STATIONS, self._more_stations
        if not path.exists():
            return [(path, shipped(STATIONS) if more is None else merge_stations(None, more))]
        if more is None:
            return []
        return [(path, merge_stations(parse_stations(path.read_bytes(), str(path)), more))]

    def _load(self, now: float) -> None:
        cars, rows = self._directory / CARS, self._directory / STATIONS
        self._car_models = parse_car_models(cars.read_bytes(), str(cars))
        stations = parse_stations(rows.read_bytes(), str(rows)).stations
        for path in sorted(self._users_folder.glob("*.json")):
            self._load_user(path)
        tables, broken, changed = self._load_tables(stations, now)
        changed |= self._one_station_each(tables)
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
            user = _read_user(path)
        except OSError as error:
            self.log.error(
                "{path}: cannot be read: {error}; its user is unknown",
                path=str(path),
                error=error.strerror or str(error),
            )
        except ValueError as error:
            aside = _free_name(path)
            path.rename(aside)
            self.log.error(
                "{path}: damaged: {error}; set aside as {aside}",
                path=str(path),
                error=str(error),
                aside=aside.name,
            )
        else:
            self._put_user(user)

    def _load_tables(
        self, stations: Mapping[int, Station], now: float
    ) -> tuple[dict[int, SlotTable], set[int], set[int]]:
        """The readable slot tables, the ids of the broken ones, and of those to write anew."""
        tables: dict[int, SlotTable] = {}
        broken: set[int] = set()
        changed: set[int] = set()
        for path in self._stations_folder.glob("station_*.json"):
            station_id = whole_number(path.stem.removeprefix("station_"))
            if station_id is None or path != self._station_path(station_id):
                self.log.warn("{path}: not a station's file, left alone", path=str(path))
                continue
            try:
                record = _read_object(path)
                table, as_written = self._read_table(
                    record, station_id, stations.get(station_id), now
                )
            except (ValueError, ArithmeticError, OSError) as error:
                broken.add(station_id)
                self.log.error(
                    "{path}: cannot be used: {error}; the station is out of service",
                    path=str(path),
                    error=str(error),
                )
                continue
            tables[station_id] = table
            if not as_written:
                changed.add(station_id)
        return tables, broken, changed

    def _read_table(
        self, record: Mapping[str, Any], station_id: int, station: Station | None, now: float
    ) -> tuple[SlotTable, bool]:
        """The slots that a station's file holds, and whether the file says them right."""
        slots = whole_number(record.get("max_slots", station.max_slots if station else None))
        if slots is None or slots < 0:
            raise ValueError(f"max_slots must be a whole number, not {record.get('max_slots')!r}")
        vehicles = record.get("vehicles", {})
        if not isinstance(vehicles, dict):
            raise ValueError("vehicles must be an object")
        if len(vehicles) > slots:
            raise ValueError(f"{len(vehicles)} vehicles stand at {slots} slots")
        sessions = {
            user_id: self._read_session(user_id, station_id, facts, station, now)
            for user_id, facts in vehicles.items()
        }
        table = SlotTable(station_id, slots, sessions)
        return table, _table_record(table) == record

    def _read_session(
        self, user_id: str, station_id: int, facts: Any, station: Station | None, now: float
    ) -> ChargingSession:
        """A vehicle's session; what an earlier installation did not note is worked out."""
        if not isinstance(facts, dict):
            raise ValueError(f"vehicle {user_id[:8]}…: must be an object")
        user = self._users.get(user_id)
        charge_s, amount = 0.0, Decimal("0.00")
        if user is not None and station is not None:
            charge_s = station.charge_time_s(user.car)
            amount = station.price(user.car.energy_to_target_kwh())

        def number(name: str, default: float) -> float:
            value = finite_number(facts.get(name, default))
            if value is None:
                raise ValueError(f"vehicle {user_id[:8]}…: {name} must be a number")
            return value

        paid = facts.get("paid_timestamp")
        receipt_id = str(facts.get("receipt_id") or uuid4())
        # What could not be written again later is better refused now.
        (user_id + receipt_id).encode()
        if paid is not None:
            iso_utc(number("paid_timestamp", 0))
        return ChargingSession(
            user_id=user_id,
            station_id=station_id,
            estimated_timestamp=number("estimated_timestamp", now + charge_s),
            receipt_id=receipt_id,
            amount=Decimal(f"{number('amount', float(amount)):.2f}"),
            charge_minutes=number("charge_minutes", charge_s / 60),
            paid_timestamp=None if paid is None else number("paid_timestamp", 0),
        )

    def _one_station_each(self, tables: dict[int, SlotTable]) -> set[int]:
        """Let each user stand at one station, the one where charging ends last."""
        best: dict[str, ChargingSession] = {}
        changed: set[int] = set()
        for table in list(tables.values()):
            for session in table.sessions.values():
                other = best.setdefault(session.user_id, session)
                if other is session:
                    continue
                if session.estimated_timestamp > other.estimated_timestamp:
                    best[session.user_id] = session
                    session, other = other, session
                tables[session.station_id] = tables[session.station_id].without(session.user_id)
                changed.add(session.station_id)
                self.log.warn(
                    "user {user}… stood at stations {kept} and {freed}; the latter is freed",
                    user=session.user_id[:8],
                    kept=other.station_id,
                    freed=session.station_id,
                )
        return changed

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
        write_durably(self._station_path(slots.station_id), _to_json(_table_record(slots)))

    def _save_users(self, users: Sequence[User]) -> None:
        paths = [self._user_path(user.user_id) for user in users]
        with _unavailable(paths[0] if len(paths) == 1 else self._users_folder):
            try:
                for path, user in zip(paths, users, strict=True):
                    write_file(path, _to_json(_user_record(user)))
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
        lines = b"".join(_payment_line(session) for session in self._payments_owed)
        path = self._directory / PAYMENTS
        # Unbuffered: a buffer would write what is left of it when the file is closed.
        with path.open("ab", buffering=0) as file:
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
        unlisted = {
            session.receipt_id: session
            for table in self._slots.values()
            for session in table.sessions.values()
            if session.paid_timestamp is not None
        }
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


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object that the file holds. ValueError: it holds none; OSError: it can't be read."""
    try:
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


def _read_user(path: Path) -> User:
    record = _read_object(path)
    facts = record.get("user_car")
    if not isinstance(facts, dict):
        raise ValueError("user_car must be an object")
    level = finite_number(facts.get("current_battery"))
    if level is None or not 0 <= level <= MOST_FIGURE:
        raise ValueError(f"user_car.current_battery must be a number from 0 to {MOST_FIGURE:g}")
    try:
        model = CarModel.from_facts(facts)
    except ValueError as error:
        raise ValueError(f"user_car.{error}") from None
    created = finite_number(record.get("created_timestamp"))
    return User(
        # The file's name has the id; inside it may be missing.
        user_id=path.name.removesuffix(".json"),
        user_name=str(record.get("user_name", "")),
        car=ElectricCar(model, level),
        created_timestamp=path.stat().st_mtime if created is None else created,
    )


def _user_record(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "user_name": user.user_name,
        "user_car": {**user.car.model.facts(), "current_battery": user.car.battery_level_kwh},
        "created_timestamp": user.created_timestamp,
    }


def _table_record(table: SlotTable) -> dict[str, Any]:
    return {
        "id": table.station_id,
        "max_slots": table.max_slots,
        "available_slots": table.available_slots,
        "vehicles": {
            user_id: _session_record(session) for user_id, session in table.sessions.items()
        },
    }


def _session_record(session: ChargingSession) -> dict[str, Any]:
    return {
        **attrs.asdict(session, filter=attrs.filters.exclude("user_id", "station_id")),
        "amount": float(session.amount),
    }


def _payment_line(session: ChargingSession) -> bytes:
    paid = session.paid_timestamp
    line = {
        "receipt_id": session.receipt_id,
        "paid": iso_utc(paid) if paid is not None else None,
        "station": session.station_id,
        "amount_brl": float(session.amount),
        "user": session.user_id[:8],
    }
    return json.dumps(line).encode() + b"\n"
