"""Everything in a data directory, read and written as a whole: what copies one into another."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path

from evcharge.datasets import listed
from evcharge.datasets.files import CARS, EVSES, OUT_OF_SERVICE, STATIONS, TARIFFS
from evcharge.models.catalogue import Catalogue
from evcharge.models.receipts import Payment, Receipt
from evcharge.models.session import COMPLETED, ChargingSession, Place
from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.models.terms import DEFAULT_TERMS
from evcharge.models.user import User
from evcharge.storage import StorageError
from evcharge.storage.contents import Contents
from evcharge.storage.durable import TEMPORARY, flush_file, flush_folder
from evcharge.storage.files import changing
from evcharge.storage.files.directory import (
    CLOCK,
    LOCK,
    PAYMENTS,
    RECEIPTS,
    STATUSES,
    USED,
    DataDirectory,
    names,
    statuses_json,
)
from evcharge.storage.files.network import NetworkFiles, copied
from evcharge.storage.files.payments import read_payments
from evcharge.storage.files.receipts import END, lines_of, read_receipt, receipt_line
from evcharge.storage.files.records import (
    one_place_each,
    one_station_each,
    paid_ahead,
    payment_line,
    read_payment,
    read_table,
    table_record,
    to_json,
    unnamed,
    user_of,
    user_record,
)
from evcharge.storage.files.vehicles import Beside
from evcharge.storage.private import FOLDER_MODE, private
from evcharge.utils.ids import ending
from evcharge.utils.texts import is_unicode

HALF_COPY = ".copying"

CHUNK = 1000
"""Receipts that are written at a time."""


@contextlib.contextmanager
def read_directory(directory: DataDirectory, now: float) -> Iterator[Contents]:
    """
    Everything in the directory, which is owned meanwhile and left as it is.

    What its files do not note is worked out as at the opening.

    :param now: seconds since the epoch.
    :raise StorageError: there is no data directory, or another process has it; once all is
        read, names each file that is damaged.
    """
    with directory.explained():
        for path in (directory.path, directory.path / CARS, directory.path / STATIONS):
            # For its error, before anything is made.
            path.stat()
        directory.own()
        if (directory.path / changing.CHANGE).exists():
            # It was interrupted, and is done all the same.
            directory.hold()
            changing.finish(directory)
        try:
            yield _contents(directory, now)
        finally:
            directory.release()


def _contents(directory: DataDirectory, now: float) -> Contents:
    directory.read_clocks()
    clocks = directory.clocks

    def look_up(user_id: str) -> User | None:
        """A user whose id stands in a station's file; None where there is none to be read."""
        with contextlib.suppress(OSError, ValueError):
            # Only a plain name is looked for.
            if "/" not in user_id:
                return directory.read_user(user_id, models)
        return None

    path, payments = directory.path / CARS, directory.path / PAYMENTS
    there = NetworkFiles.read(directory.path)
    cars, rows, resting = there.cars, there.rows, there.resting
    models = Catalogue(cars.models).models
    beside = Beside(now, look_up, there.tariffs.tariffs, directory.used.get, DEFAULT_TERMS)
    problems: list[str] = []
    try:
        directory.read_statuses()
    except StorageError as error:
        problems.append(str(error))
    known = {i: station.with_statuses(directory.statuses) for i, station in there.stations.items()}
    read, broken, _ = directory.read_tables(known, beside)
    problems += [problem for _, problem in sorted(broken.items())]
    # A database refuses two vehicles at one EVSE, and be it one that nobody knows.
    tables = {station_id: table.seated(unnamed(table)) for station_id, table in read.items()}
    unlisted = paid_ahead(tables.values())
    remarks = [remark for _, remark in one_station_each(tables)]
    remarks += [remark for _, remark in one_place_each(tables)]
    standing = {
        session.receipt_id: session
        for table in tables.values()
        for session in table.sessions.values()
    }
    # A session whose receipt is there is over, and with it, mostly, the journey.
    # What is damaged is named when all receipts are read.
    over = directory.receipts.find(standing, damaged={})
    gone = {standing[i].user_id for i, each in over.items() if each.body["state"] == COMPLETED}
    unlisted.update(
        (payment.receipt_id, payment) for payment in directory.receipts.unlisted(payments, [])
    )
    remarks += [f"{path}: is not copied" for path in _foreign(directory)]
    if there.problems:
        remarks += [*there.problems, "what is wrong is copied as it is"]
    remarks += listed([*resting.doubts, *rows.doubts])
    remarks += [
        f'{there.evses.source}: "{key}": there is no such station: is not copied'
        for key in there.loose_evses
    ]
    # No database, and no client, could name such a model.
    nameless = [name for name in cars.everything if not is_unicode(name)]
    remarks += [f"{path}: model {name!r}: is not copied" for name in nameless]
    # As they were read they are right already, but for the clock that they name.
    sessions = [
        clocks.named(session)
        for _, table in sorted(tables.items())
        for session in table.sessions.values()
        if session.receipt_id not in over
    ]
    waiting = [
        clocks.named(place) for _, table in sorted(tables.items()) for place in table.waiting
    ]
    users = [
        name
        for name in names(directory.users.path)
        if name.endswith(".json") and name.removesuffix(".json") not in gone
    ]

    def all_payments() -> Iterator[Payment]:
        yield from read_payments(payments, unlisted, problems, clocks)
        if problems:
            raise StorageError("\n  ".join(["damaged, so that nothing is copied:", *problems]))

    return Contents(
        car_models={n: facts for n, facts in cars.everything.items() if n not in nameless},
        stations=list(there.records(tables).values()),
        users=_read_users(directory, users, problems),
        sessions=sessions,
        payments=all_payments(),
        receipts=directory.receipts.everything(problems),
        waiting=waiting,
        statuses=directory.statuses,
        count=len(users) + len(sessions) + directory.receipts.count() + lines_of(payments),
        clocks=clocks.copied(),
        remarks=remarks,
        tariffs=there.tariffs.everything,
        loose_rows=there.loose_rows,
    )


def _foreign(directory: DataDirectory) -> list[Path]:
    """Files that a storage has no use for."""
    ours = {
        *(CARS, STATIONS, OUT_OF_SERVICE, EVSES, TARIFFS, PAYMENTS, CLOCK, LOCK),
        *(STATUSES, RECEIPTS, USED, "stations", "users", "lost+found"),
    }
    paths = [
        *(directory.path / name for name in names(directory.path) if name not in ours),
        *(
            directory.stations.path / name
            for name in names(directory.stations.path)
            if directory.station_id(name) is None
        ),
        *(
            folder.path / name
            for folder, end in (
                (directory.users, ".json"),
                (directory.receipts.folder, END),
                (directory.used.folder, ".json"),
            )
            for name in names(folder.path)
            if not name.endswith(end)
        ),
    ]
    return [path for path in paths if path.suffix != TEMPORARY]


def _read_users(
    directory: DataDirectory, files: Sequence[str], problems: list[str]
) -> Iterator[User]:
    for name in files:
        path = directory.users.path / name
        try:
            user = directory.clocks.named(directory.read_user(name.removesuffix(".json"), {}))
            # Text that is not Unicode is kept nowhere else.
            to_json(user_record(user))
        except (ValueError, OSError) as error:
            problems.append(f"{path}: {getattr(error, 'strerror', None) or error}")
        else:
            yield user


def write_directory(directory: DataDirectory, contents: Contents) -> None:
    """
    Make the directory, of `contents`.

    It is made beside its place, and takes it when it is whole and on the disk.

    :raise StorageError: the directory is there and not empty, or cannot be made of this.
    """
    place = directory.path.resolve()
    half = DataDirectory(place.with_name(f".{place.name}{HALF_COPY}"))
    with directory.explained():
        if place.exists() and any(place.iterdir()):
            raise StorageError(
                f"{directory.path}: is not empty; name a new directory, or move this one away"
            )
        if half.path.is_symlink():
            # What it leads to is not ours to empty.
            half.path.unlink()
        half.own()
        try:
            _write(half, contents)
            if place.exists():
                half.path.chmod(place.stat().st_mode)
            half.path.replace(place)
            flush_folder(place.parent)
        except BaseException:
            shutil.rmtree(half.path, ignore_errors=True)
            raise
        finally:
            half.release()


def _write(directory: DataDirectory, contents: Contents) -> None:
    """Write everything, and have it on the disk, in place of what an earlier try has left."""
    for name in names(directory.path):
        if name not in (LOCK, "lost+found"):
            path = directory.path / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for folder in (directory.users, directory.stations):
        folder.path.mkdir(FOLDER_MODE)
    for name, content in copied(contents).items():
        (directory.path / name).write_bytes(content)
    if contents.clocks.suspect:
        (directory.path / CLOCK).write_bytes(to_json(contents.clocks.record()))
    for user in contents.users:
        # It names a file: as a key of the users in memory does, which is our own.
        if not user.user_id or "/" in user.user_id or "\0" in user.user_id:
            raise StorageError(f"user …{ending(user.user_id)!r}: this id cannot name a file")
        record = user_record(user)
        with _refused(f"user …{ending(user.user_id)}"):
            user_of(user.user_id, record, user.created_timestamp, {})
        directory.user_path(user.user_id).write_bytes(to_json(record))
    _write_stations(directory, contents)
    for receipts in _chunks(contents.receipts):
        for receipt in receipts:
            with _refused(f"receipt {receipt.receipt_id}"):
                directory.used.keep_body(receipt.body.get("tariff"))
                read_receipt(receipt_line(receipt), directory.used)
        for error in directory.receipts.append(receipts).values():
            raise error
    with open(directory.path / PAYMENTS, "wb", opener=private) as file:
        for payment in contents.payments:
            with _refused(f"payment {payment.receipt_id}"):
                line = payment_line(payment)
                read_payment(line)
            file.write(line)
    # Everything at once, which file by file would take long; that then says how it went.
    os.sync()
    for path in (directory.users.path, directory.stations.path, directory.path):
        for name in names(path):
            flush_file(path / name)
        flush_folder(path)


def _write_stations(directory: DataDirectory, contents: Contents) -> None:
    """Write who stands and waits where, and what is said of EVSEs."""
    if contents.statuses:
        (directory.path / STATUSES).write_bytes(statuses_json(contents.statuses))
    stations = {
        record.station.station_id: record.station.with_statuses(contents.statuses)
        for record in contents.stations
    }
    lines: dict[int, list[Place]] = {}
    for place in contents.waiting:
        lines.setdefault(place.station_id, []).append(place)

    def write(station: Station, sessions: Iterable[ChargingSession]) -> None:
        at = station.station_id
        standing = {session.user_id: session for session in sessions}
        waiting = sorted(lines.get(at, ()), key=attrgetter("number"))
        table = SlotTable(at, station.max_slots, standing, waiting=tuple(waiting)).at(station)
        users = {place.user_id: place.user for place in waiting}
        with _refused(f"station {at}"):
            directory.used.keep([s.tariff for s in standing.values() if s.tariff])
            beside = Beside(0, users.get, {}, directory.used.get, DEFAULT_TERMS)
            read_table(table_record(table), at, None, beside)
        directory.station_path(at).write_bytes(to_json(table_record(table)))

    for station_id, sessions in groupby(contents.sessions, attrgetter("station_id")):
        write(stations.pop(station_id), sessions)
    for station in stations.values():
        # A row that is wrong will say how many slots there are when it has been put right.
        if station.max_slots >= 0:
            write(station, ())


def _chunks(receipts: Iterable[Receipt]) -> Iterator[list[Receipt]]:
    """Receipts, as many at a time as are on the disk together."""
    left = iter(receipts)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """StorageError for a record that could not be read again if it were written."""
    try:
        yield
    except (ValueError, ArithmeticError) as error:
        raise StorageError(f"{what}: cannot be kept in files: {error}") from None
