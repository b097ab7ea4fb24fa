"""`evcharge backup`, `migrate` and `export`: copies of a storage."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evcharge.commands import USAGE, Exit
from evcharge.commands.storages import (
    DIRECTORY,
    NAMED,
    add_storage,
    location,
    must_exist,
    told,
    warn,
)
from evcharge.storage.backup import back_up_directory, back_up_sqlite
from evcharge.storage.contents import tariffs_by_id
from evcharge.storage.location import Location


def add_to(commands: Any) -> None:
    """Add the commands to the console script."""
    backup = commands.add_parser(
        "backup",
        help="copy a storage, also while a server runs on it",
        example="evcharge backup --storage sqlite:///evcharge.db copy.db",
        description=(
            "Copies a storage, also while a server runs on it: an SQLite file to a file, a data "
            "directory to a directory. A server can be started on the copy. It has every payment "
            "that was answered before the command began. PostgreSQL has a command of its own: "
            "pg_dump."
        ),
    )
    add_storage(backup)
    backup.add_argument(
        "target", metavar="TARGET", help="file or directory to make; nothing may be there yet"
    )
    backup.set_defaults(run=told(_backup))
    migrate = commands.add_parser(
        "migrate",
        help="copy everything from one storage into another",
        example="evcharge migrate --from files --to sqlite:///evcharge.db",
        description=(
            "Copies everything into a storage that is empty or not there yet, or copies nothing: "
            "cars, stations, users, sessions, queues, receipts, payments. The source stays as it "
            "is. Stop the servers on both first, unless the source is PostgreSQL: there, it copies "
            "what there is at one moment. Then start the servers on the target."
        ),
    )
    migrate.add_argument(
        "--from", dest="source", metavar="URL", required=True, help=f"storage to copy: {NAMED}"
    )
    migrate.add_argument(
        "--to", dest="target", metavar="URL", required=True, help=f"storage to fill: {NAMED}"
    )
    migrate.add_argument(
        "--data",
        default=DIRECTORY,
        help="data directory, used by the storage files (default %(default)s)",
    )
    migrate.set_defaults(run=told(_migrate))
    export = commands.add_parser(
        "export",
        help="copy everything from a storage into files that people can read",
        example="evcharge export --storage sqlite:///evcharge.db --data my-network",
        description=(
            "Writes everything that a storage has into a new data directory. It does what migrate "
            "does with the target files:DIR. A server can be started on what it writes."
        ),
    )
    add_storage(export)
    export.add_argument(
        "--data", metavar="DIR", required=True, help="directory to make, missing or empty"
    )
    export.set_defaults(run=told(_export))


def _backup(options: argparse.Namespace) -> None:
    source = location("--storage", options.storage)
    if source.kind == "postgresql":
        words = ["pg_dump", "--format=custom", f"--file={options.target}", source.name]
        raise Exit(f"PostgreSQL makes its own copy while servers run: {shlex.join(words)}")
    if "://" in options.target or options.target.startswith("files:"):
        raise Exit(f"TARGET is the path of a file or directory, not {options.target!r}", USAGE)
    target = Path(options.target).absolute()
    if source.kind == "sqlite":
        with tqdm(unit="page", disable=None) as bar:

            def tick(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            back_up_sqlite(source.path, target, tick)
        print(f"{target}: a copy of {source.name}, {target.stat().st_size} bytes")
        return
    made = back_up_directory(source.path, target)
    warn(f"{path}: is not copied" for path in made.left_out)
    if made.changed:
        warn([f"{source.name}: changes faster than it can be copied: the copy has every payment "
              "that was answered before it began; of what came later it may have a part only "
              f"({made.changed} files changed during the last round)"])  # fmt: skip
    print(f"{target}: a copy of {source.name}, {made.files} files")


def _migrate(options: argparse.Namespace) -> None:
    _copy(
        location("--from", options.source, options.data),
        location("--to", options.target, options.data),
    )


def _export(options: argparse.Namespace) -> None:
    _copy(
        location("--storage", options.storage, DIRECTORY),
        location("--data", f"files:{options.data}", DIRECTORY),
    )


def _copy(source: Location, target: Location) -> None:
    if _place(source) == _place(target):
        raise Exit(f"{source.name}: is both the source and the target")
    must_exist(source)
    writer = target.storage()
    with source.storage().read_contents(time.time()) as contents:
        warn(contents.remarks)
        if contents.loose_rows and target.kind != "files":
            warn([f"{len(contents.loose_rows)} of the wrong rows name no station of their own: a "
                   "database cannot keep them, and they are not copied"])  # fmt: skip
        lost = len(contents.tariffs) - len(tariffs_by_id(contents.tariffs))
        if lost and target.kind != "files":
            warn([f"{lost} of the tariffs have no id of their own: a database cannot keep "
                   "them, and they are not copied"])  # fmt: skip
        counts = Counter(users=0, sessions=0, receipts=0, payments=0)
        with tqdm(total=contents.count, unit="record", disable=None) as bar:

            def tick(kind: str) -> None:
                counts[kind] += 1
                bar.update()

            writer.write_contents(contents.counted(tick))
    print(
        f"{target.name}: everything is there now: {len(contents.car_models)} car models, "
        f"{len(contents.stations)} stations, "
        + ", ".join(f"{number} {kind}" for kind, number in counts.items())
    )


def _place(location: Location) -> Sequence[object]:
    """What two locations have in common that are one storage."""
    names = ("host", "hostaddr", "port", "dbname")
    return (location.kind, os.path.realpath(location.path), *map(location.parameters.get, names))
