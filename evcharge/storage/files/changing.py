"""
Another network in a data directory: several files that change at once, as far as anybody can tell.

The new ones are written beside the old, then a small file that says what is to be done with them;
from then on it is done, also where it is interrupted: at the next opening it is gone on with.
"""

from __future__ import annotations

import contextlib
from typing import Any

from evcharge.datasets import merge_car_models
from evcharge.models.slots import SlotTable
from evcharge.rules.events import NetworkChanged
from evcharge.storage import StorageError
from evcharge.storage.files.directory import DataDirectory, station_file
from evcharge.storage.files.durable import Folder
from evcharge.storage.files.network import (
    CARS,
    EVSES,
    OUT_OF_SERVICE,
    STATIONS,
    TARIFFS,
    NetworkFiles,
    evses_and_tariffs,
    rows_files,
)
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
    for number, slots in note["max_slots"].items():
        out = note.get("out_of_service", {}).get(number, [])
        stations[station_file(int(number))] = _with_slots(directory, int(number), slots, out)
    for number in note["gone"]:
        stations[station_file(number)] = None
    _write(directory.stations, stations)
    _write(root, {CHANGE: None})


def _with_slots(directory: DataDirectory, station_id: int, slots: int, out: list[str]) -> bytes:
    """A station's file with another number of slots; who stands there is what it says."""
    record: dict[str, Any] = table_record(SlotTable(station_id, slots))
    with contextlib.suppress(FileNotFoundError):
        record.update(read_object(directory.station_path(station_id)))
    held = {vehicle.get("evse") for vehicle in record["vehicles"].values()}
    usable = slots - len(set(out) - held)
    record["max_slots"] = usable
    record["available_slots"] = max(0, usable - len(record["vehicles"]))
    record.pop("total_slots", None)
    return to_json(record if usable == slots else {**record, "total_slots": slots})


def _write(folder: Folder, files: dict[str, Any]) -> None:
    for error in folder.change(files).values():
        raise error
