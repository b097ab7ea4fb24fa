"""`evcharge bootstrap`, `migrate` and `export`: storages are filled, and copied."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm
from twisted.internet.defer import Deferred, inlineCallbacks

from evcharge.bootstrap import make_users
from evcharge.commands import Exit
from evcharge.datasets import (
    DatasetError,
    StationRows,
    listed,
    parse_car_models,
    parse_stations,
)
from evcharge.process.logs import warnings_shown
from evcharge.storage import ListStations, StorageError, carry_out
from evcharge.storage.contents import Copyable
from evcharge.storage.group_commit import TryAgain, Unavailable
from evcharge.storage.location import FORMS, STORAGE_VARIABLE, Location, parse, without_password
from evcharge.utils.permissions import remedy_to_read
from evcharge.utils.process_title import hide_passwords

DIRECTORY = "evcharge-data"
FETCH_TIMEOUT_S = 30.0
FETCH_LIMIT_BYTES = 64 * 1024 * 1024
MOST_USERS = 1_000_000


class SourceError(Exception):
    """A file or URL cannot be read: says which, and why."""


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, not {text!r}"
            )
        return number

    return read


def add_to(commands: Any) -> None:
    """Add the commands to the console script."""
    # Before anything can go wrong, and be said with what was typed.
    hide_passwords(without_password)
    storage: dict[str, Any] = {
        "metavar": "URL",
        "default": os.environ.get(STORAGE_VARIABLE) or "files",
        "help": f"{FORMS} (the environment's {STORAGE_VARIABLE}, or files)",
    }
    bootstrap = commands.add_parser(
        "bootstrap",
        help="make what is missing of a network: stations, cars, simulated users",
        description=(
            "Makes what is missing: the storage, its stations and cars, and simulated users, some "
            "of whom are charging. What is there stays as it is; run again, it tops up. No server "
            "may be running on a data directory or an SQLite file; on PostgreSQL they may."
        ),
    )
    bootstrap.add_argument("--storage", **storage)
    bootstrap.add_argument(
        "--data", default=DIRECTORY, help="data directory of the storage files (%(default)s)"
    )
    bootstrap.add_argument(
        "--stations", metavar="FILE-or-URL", help="CSV of stations (the shipped one)"
    )
    bootstrap.add_argument("--cars", metavar="FILE-or-URL", help="JSON of car models (the shipped)")
    bootstrap.add_argument(
        "--users",
        type=_whole(0, MOST_USERS),
        default=150,
        help="simulated users that there shall be (%(default)s)",
    )
    bootstrap.add_argument(
        "--seed",
        type=_whole(0, 2**63 - 1),
        help="makes the same cars, batteries and stations again",
    )
    bootstrap.set_defaults(run=_told(_bootstrap))
    migrate = commands.add_parser(
        "migrate",
        help="copy everything from one storage into another",
        description=(
            "Copies everything - cars, stations, users, charging sessions, payments - into a "
            "storage that is empty or not there yet: all of it or nothing. The source stays as it "
            "is. No server may be running on either, but for a PostgreSQL source: of that, what is "
            "there at one moment is copied. Once it is done, start the servers on the target."
        ),
    )
    forms = f"{FORMS}, or an existing directory"
    migrate.add_argument(
        "--from", dest="source", metavar="URL", required=True, help=f"storage to copy: {forms}"
    )
    migrate.add_argument(
        "--to", dest="target", metavar="URL", required=True, help=f"storage to fill: {forms}"
    )
    migrate.add_argument(
        "--data", default=DIRECTORY, help="directory that the URL files means (%(default)s)"
    )
    migrate.set_defaults(run=_told(_migrate))
    export = commands.add_parser(
        "export",
        help="copy everything from a storage into a new data directory, which people can read",
        description=(
            "Writes everything that a storage has as a data directory. It is migrate with the "
            "target files:DIR; a server can be started on what it writes."
        ),
    )
    export.add_argument("--storage", **storage)
    export.add_argument(
        "--data", metavar="DIR", required=True, help="directory to make, missing or empty"
    )
    export.set_defaults(run=_told(_export))


def _told(command: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """Have `command` end by an :class:`Exit` where a person can do something about it."""

    def run(options: argparse.Namespace) -> None:
        try:
            command(options)
        except Exception as error:
            # Where it can be raised, it is imported already; else it would take a while.
            database = sys.modules.get("sqlalchemy.exc")
            ours = (SourceError, StorageError, Unavailable, TryAgain)
            known = ours if database is None else (*ours, database.DBAPIError)
            if not isinstance(error, known):
                raise
            raise Exit(_text(error)) from None

    return run


def _text(error: Exception) -> str:
    # What a driver says, without the statement and its values.
    return without_password(str(getattr(error, "orig", error)).strip())


def _location(option: str, text: str, directory: str) -> Location:
    """The storage that an option names. Exit: it names none."""
    try:
        return parse(text, directory)
    except ValueError as error:
        if os.path.isdir(text):
            return parse(f"files:{text}", directory)
        raise Exit(f"{option} {error}") from None


def _bootstrap(options: argparse.Namespace) -> None:
    location = _location("--storage", options.storage, options.data)
    contents = _read_sources([s for s in (options.cars, options.stations) if s is not None])
    cars, stations = _parse(options, contents)
    storage = location.storage(cars, stations)
    with warnings_shown(_say):
        storage.open(time.time())
    try:
        states = carry_out(storage, ListStations())
        if stations is not None:
            doubts = stations.out_of_place(state.station for state in states)
            _warn(listed([*stations.doubts, *doubts]))
        made = make_users(storage, options.users, options.seed, time.time(), _progress)
        states = carry_out(storage, ListStations())
    finally:
        storage.close()
    print(
        f"{location.name}: {len(states)} stations with "
        f"{sum(state.available_slots for state in states)} free slots; "
        f"{made.users} users made, {made.charging} of them charging"
    )


def _migrate(options: argparse.Namespace) -> None:
    _copy(
        _location("--from", options.source, options.data),
        _location("--to", options.target, options.data),
    )


def _export(options: argparse.Namespace) -> None:
    _copy(
        _location("--storage", options.storage, DIRECTORY),
        _location("--data", f"files:{options.data}", DIRECTORY),
    )


def _copy(source: Location, target: Location) -> None:
    if _place(source) == _place(target):
        raise Exit(f"{source.name}: is both the source and the target")
    if source.kind != "postgresql" and not source.path.exists():
        # A storage would be made.
        raise Exit(f"{source.name}: no such file or directory")
    reader: Copyable = source.storage()
    writer: Copyable = target.storage()
    with reader.read_contents(time.time()) as contents:
        _warn(contents.remarks)
        if contents.loose_rows and target.kind != "files":
            _warn([f"{len(contents.loose_rows)} of the wrong rows name no station of their own: a "
                   "database cannot keep them, and they are not copied"])  # fmt: skip
        counts = Counter(users=0, sessions=0, payments=0)
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


def _parse(
    options: argparse.Namespace, contents: dict[str, bytes]
) -> tuple[dict[str, dict[str, Any]] | None, StationRows | None]:
    """The cars and stations that were named. Exit: names every mistake in both."""
    cars = stations = None
    problems: list[str] = []
    if options.cars is not None:
        try:
            cars = parse_car_models(contents[options.cars], options.cars)
        except DatasetError as error:
            problems += error.problems
    if options.stations is not None:
        try:
            stations = parse_stations(contents[options.stations], options.stations)
        except DatasetError as error:
            problems += error.problems
    if problems:
        lines = [f"  {problem}" for problem in listed(problems)]
        raise Exit("\n".join(["nothing was written:", *lines]))
    return cars, stations


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        _say(f"evcharge: {line}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _progress(numbers: Iterable[int]) -> Iterable[int]:
    """A progress bar, where a person is watching."""
    return tqdm(numbers, desc="users", unit="user", disable=None)


def _read_sources(sources: Sequence[str]) -> dict[str, bytes]:
    """The content of each file or http(s) URL. SourceError."""
    contents: dict[str, bytes] = {}
    urls = [source for source in sources if source.startswith(("http://", "https://"))]
    for source in sources:
        if source not in urls:
            try:
                contents[source] = Path(source).read_bytes()
            except OSError as error:
                cure = remedy_to_read(error, Path(source))
                raise SourceError(f"{source}: {error.strerror or error}{cure}") from None
    if urls:
        contents.update(_fetch_all(urls))
    return contents


def _fetch_all(urls: Sequence[str]) -> dict[str, bytes]:
    """Fetch `urls` with the reactor, which runs for as long as that takes."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    contents: dict[str, bytes] = {}
    problems: list[str] = []

    @inlineCallbacks
    def fetch() -> Any:
        for url in urls:
            try:
                contents[url] = yield fetch_limited(url, reactor)
            except SourceError as error:
                problems.append(str(error))
        reactor.stop()

    reactor.callWhenRunning(fetch)
    reactor.run()
    if problems:
        raise SourceError("; ".join(problems))
    return contents


def fetch_limited(
    url: str,
    reactor: Any,
    timeout_s: float = FETCH_TIMEOUT_S,
    limit_bytes: int = FETCH_LIMIT_BYTES,
) -> Deferred[bytes]:
    """
    Fetch a URL.

    :return: fires with the body. SourceError: it cannot be had, takes longer than `timeout_s` or
        is larger than `limit_bytes`.
    """
    import treq
    from twisted.internet.error import ConnectError, DNSLookupError
    from twisted.web.client import Agent, RedirectAgent, ResponseFailed

    client = treq.client.HTTPClient(RedirectAgent(Agent(reactor, connectTimeout=timeout_s)))

    @inlineCallbacks
    def fetch() -> Any:
        response = yield client.get(url, unbuffered=True)
        parts: list[bytes] = []
        size = 0

        def collect(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size > limit_bytes:
                raise SourceError(f"{url}: is larger than {limit_bytes} bytes")
            parts.append(data)

        yield treq.collect(response, collect)
        if response.code != 200:
            raise SourceError(f"{url}: the server answered {response.code}")
        return b"".join(parts)

    def explain(failure: Any) -> bytes:
        if failure.check(SourceError):
            failure.raiseException()
        if failure.check(ConnectError, DNSLookupError, ResponseFailed):
            raise SourceError(f"{url}: cannot be fetched: {failure.getErrorMessage()}")
        raise SourceError(f"{url}: cannot be fetched: {failure.value!r}")

    def took_too_long(_: object, limit_s: float) -> NoReturn:
        raise SourceError(f"{url}: took longer than {limit_s:g} seconds")

    fetched: Deferred[bytes] = fetch().addTimeout(timeout_s, reactor, took_too_long)
    return fetched.addErrback(explain)
