"""
Another network in a data directory: several files that change at once, as far as anybody can tell.

The new ones are written beside the old, then a small file that says what is to be done with them;
from then on it is done, also where it is interrupted: at the next opening it is gone on with.
"""

from __future__ import annotations

import contextlib
from typing import Any

from evcharge.datasets import merge_car_models
from evcharge.datasets.files import CARS, EVSES, OUT_OF_SERVICE, STATIONS, TARIFFS
from evcharge.models.slots import SlotTable
from evcharge.rules.events import NetworkChanged
from evcharge.storage import StorageError
from evcharge.storage.durable import Folder
from evcharge.storage.files.directory import DataDirectory, station_file
from evcharge.storage.files.network import NetworkFiles, evses_and_tariffs, rows_files
from evcharge.storage.files.records import read_object, table_record, to_json

CHANGE = "change.json"
"""What is to be done. Mostly missing."""

FILES = (CARS, STATIONS, OUT_OF_SERVICE, EVSES, TARIFFS)
"""Those that it may be about."""

NEW = ".new"
"""The end of the name of a file that is to take the place of another one."""


def change(directory: DataDirectory, event: NetworkChanged) -> None:
    """
    Have the files say another network, all of them for good.

    :raise OSError: none of them does, or all of them will after the next opening.
    """
    before, after = event.before, event.after
    files: dict[str, bytes | None] = {}
    if before.car_models != after.car_models:
        files[CARS] = merge_car_models({}, after.car_models)
    if (before.stations, before.tariffs) != (after.stations, after.tariffs):
        there = NetworkFiles.read(directory.path)
        stations = after.stations.values()
        files.update(dict.fromkeys((OUT_OF_SERVICE, EVSES, TARIFFS)))
        files.update(rows_files(stations, there.loose_rows))
        files.update(evses_and_tariffs(stations, after.tariffs, there.loose_evses))
    _write(directory.root, {name + NEW: content for name, content in files.items() if content})
    put = event.put.items()
    slots = {str(number): max(0, record.station.max_slots) for number, record in put}
    out = {
        str(number): [evse.uid for evse in record.station.own_evses if not evse.in_service]
        for number, record in put
    }
    note = {
        "replace": [name for name, content in files.items() if content],
        "remove": [name for name, content in files.items() if content is None],
        "max_slots": slots,
        "out_of_service": {number: uids for number, uids in out.items() if uids},
        "gone": event.gone,
    }
    _write(directory.root, {CHANGE: to_json(note)})
    finish(directory)


def finish(directory: DataDirectory) -> None:
    """
    Go on with a change that was interrupted, if there is one.

    :raise StorageError: what is to be done cannot be read.
    :raise OSError: it is not done yet.
    """
    root = directory.root
    left = [name for name in root.names() if name.endswith(NEW)]
    path = directory.path / CHANGE
    try:
        note = read_object(path)
    except FileNotFoundError:
        _write(root, dict.fromkeys(left))
        return
    except ValueError as error:
        raise StorageError(f"{path}: {error}; it says how the network was to be changed") from None
    for name in note["replace"]:
        if name in FILES and name + NEW in left:
            root.rename(name + NEW, name)
    root.flush()
    _write(root, {name: None for name in note["remove"] if name in FILES})
    stations: dict[str, bytes | None] = {}
    for station_id in (*map(int, note["max_slots"]), *note["gone"]):
        record = _read(directory, station_id)
        if record is None:
            # Out of service until it is put right: nobody knows who stands there.
            continue
        slots = note["max_slots"].get(str(station_id))
        if slots is not None:
            out = note.get("out_of_service", {}).get(str(station_id), [])
            stations[station_file(station_id)] = to_json(_with_slots(record, slots, out))
        elif not record["vehicles"]:
            # Else somebody has come while that was interrupted, and goes on standing there.
            stations[station_file(station_id)] = None
    _write(directory.stations, stations)
    _write(root, {CHANGE: None})


def _with_slots(record: dict[str, Any], slots: int, out: list[str]) -> dict[str, Any]:
    """What a station's file says of so many slots, those of `out` not in service."""
    vehicles = record["vehicles"].values()
    held = {vehicle.get("evse") for vehicle in vehicles if isinstance(vehicle, dict)}
    usable = slots - len(set(out) - held)
    record.pop("total_slots", None)
    record.update(max_slots=usable, available_slots=max(0, usable - len(vehicles)))
    return record if usable == slots else {**record, "total_slots": slots}


def _read(directory: DataDirectory, station_id: int) -> dict[str, Any] | None:
    """What a station's file says, which may be missing; None where it cannot be read."""
    record: dict[str, Any] = table_record(SlotTable(station_id, 0))
    try:
        with contextlib.suppress(FileNotFoundError):
            record.update(read_object(directory.station_path(station_id)))
    except ValueError:
        return None
    return record if isinstance(record["vehicles"], dict) else None


def _write(folder: Folder, files: dict[str, Any]) -> None:
    for error in folder.change(files).values():
        raise error
