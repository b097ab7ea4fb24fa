"""`evcharge bootstrap`: makes what is missing of a network."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm
from twisted.internet.defer import Deferred, inlineCallbacks

from evcharge.bootstrap import Made, make_users
from evcharge.commands.network import left_as_it_is
from evcharge.commands.numbers import whole
from evcharge.commands.storages import (
    DIRECTORY,
    SourceError,
    add_storage,
    location,
    nothing_written,
    say,
    told,
    warn,
)
from evcharge.datasets import (
    DatasetError,
    StationRows,
    listed,
    parse_car_models,
    parse_stations,
)
from evcharge.datasets.evses import EvseRows
from evcharge.datasets.files import ROADS, shipped
from evcharge.datasets.together import lacking_tariffs
from evcharge.models.network import Network
from evcharge.models.session import CHARGING, FINISHED, FREE, RESERVED, WAITING
from evcharge.rules.journey import ListStations
from evcharge.storage import carry_out
from evcharge.storage.contents import Copyable
from evcharge.utils.permissions import remedy_to_read
from evcharge.utils.warnings import warnings_shown

FETCH_TIMEOUT_S = 30.0
FETCH_LIMIT_BYTES = 64 * 1024 * 1024
MOST_USERS = 1_000_000

_STATES = {
    CHARGING: "charging",
    FINISHED: "charged and still there",
    RESERVED: "on the way to a reserved slot",
    WAITING: "in the queue of station {line_at}",
    FREE: "at no station",
}
"""What a person is told of users in each state."""


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    bootstrap = commands.add_parser(
        "bootstrap",
        help="fill a storage: stations, cars, simulated users",
        example="evcharge bootstrap --users 150",
        description=(
            "Makes what is missing in a storage: the storage itself, stations, cars and simulated "
            "users. Some users charge, some are charged and still there, some are on the way to a "
            "reserved slot, and some are in the queue of a full station. What is there stays as "
            "it is; run it again and it tops up. Stop the server first, unless the storage is "
            "PostgreSQL."
        ),
    )
    add_storage(bootstrap)
    bootstrap.add_argument(
        "--data",
        default=DIRECTORY,
        help="data directory, used by the storage files (default %(default)s)",
    )
    bootstrap.add_argument(
        "--stations", metavar="FILE-or-URL", help="CSV of stations (default: the shipped one)"
    )
    bootstrap.add_argument(
        "--roads",
        action="store_true",
        help="add the example stations on the roads out of Feira de Santana",
    )
    bootstrap.add_argument(
        "--cars", metavar="FILE-or-URL", help="JSON of car models (default: the shipped one)"
    )
    bootstrap.add_argument(
        "--users",
        type=whole(0, MOST_USERS),
        default=150,
        help="total number of simulated users (default %(default)s)",
    )
    bootstrap.add_argument(
        "--seed",
        type=whole(0, 2**63 - 1),
        help="number that makes the same cars, batteries, stations and states again",
    )
    bootstrap.set_defaults(run=told(_bootstrap))


def _bootstrap(options: argparse.Namespace) -> None:
    place = location("--storage", options.storage, options.data)
    contents = _read_sources([s for s in (options.cars, options.stations) if s is not None])
    cars, stations = _parse(options, contents)
    is_new = place.kind != "postgresql" and not place.path.exists()
    lacking = lacking_tariffs(stations, EvseRows({}, {}), ()) if is_new and stations else {}
    if lacking:
        # Before the storage is made: it, too, would be something that was written.
        raise nothing_written([*chain(*lacking.values())])
    files = [stations]
    if options.roads:
        # Afterwards: in a new directory the first file takes the place of the shipped one.
        files.append(parse_stations(shipped(ROADS), ROADS))
    for number, rows in enumerate(files):
        storage = place.storage(cars if number == 0 else None, rows)
        with warnings_shown(say):
            storage.open(time.time())
        try:
            states = carry_out(storage, ListStations())
            if rows is not None:
                doubts = rows.out_of_place(state.station for state in states)
                warn(listed([*rows.doubts, *doubts]))
            if rows is files[-1]:
                made = make_users(storage, options.users, options.seed, time.time(), _progress)
                states = carry_out(storage, ListStations())
        finally:
            storage.close()
        if cars is not None or rows is not None:
            _tell_what_differs(storage, cars if number == 0 else None, rows)
    print(
        f"{place.name}: {len(states)} stations with "
        f"{sum(state.available_slots for state in states)} free slots; "
        f"{_told(made)}"
    )


def _told(made: Made) -> str:
    """Which users were made, as a person is told."""
    at = made.line_at
    line_at = "" if at is None else f"{at.station_id} {at.name}"
    parts = [
        f"{made.states[state]} {words.format(line_at=line_at)}"
        for state, words in _STATES.items()
        if made.states.get(state)
    ]
    return f"{made.users} users made" + (f": {', '.join(parts)}" if parts else "")


def _tell_what_differs(
    storage: Copyable, cars: dict[str, dict[str, Any]] | None, stations: StationRows | None
) -> None:
    with storage.read_contents(time.time()) as contents:
        records = {record.station.station_id: record for record in contents.stations}
        lines = left_as_it_is(Network(contents.car_models, records), cars, stations)
    if lines:
        warn(listed(lines))
        warn(["what is there stays as it is; to have it changed: evcharge apply"])


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
        raise nothing_written(problems)
    return cars, stations


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
