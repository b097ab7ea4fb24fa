"""From the command line to running services: what `twistd evcharge` does."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from evcharge import __version__
from evcharge.controller import Controller, journey
from evcharge.errors import LANGUAGES
from evcharge.protocol import DriverFactory
from evcharge.station_monitor import StationMonitor
from evcharge.storage import Operation, Storage, StorageError, performer
from evcharge.storage.group_commit import GroupCommit
from evcharge.storage.threads import StorageThread
from evcharge.storage.urls import STORAGE_VARIABLE, parse, without_password
from evcharge.utils.numbers import finite_number, whole_number
from evcharge.utils.process_title import hide_passwords

ANSWER_S = 4.0
"""How long the requests that were read may take once the server is to end, seconds."""

FLUSH_S = 0.5
"""How long the last replies may then take to go out, and a sweep to end, seconds."""

MOST_WORKERS = 64

COLLECT_AFTER = 50_000
"""Objects that are made, and not ended by themselves, before the garbage is collected."""

SHARED_ENDPOINTS = ("tcp", "tcp6", "unix")
"""Endpoints that are a listening socket and nothing more: several processes can accept from it."""

_log = Logger()


def _number(option: str, least: float, most: float) -> Callable[[str], float]:
    def coerce(value: str) -> float:
        number = finite_number(value)
        if number is None or not least <= number <= most:
            raise UsageError(
                f"--{option} must be a number from {least:g} to {most:g}, not {value!r}"
            )
        return number

    return coerce


def _whole(option: str, least: int, most: int) -> Callable[[str], int]:
    def coerce(value: str) -> int:
        number = whole_number(value)
        if number is None or not least <= number <= most:
            raise UsageError(
                f"--{option} must be a whole number from {least} to {most}, not {value!r}"
            )
        return number

    return coerce


def _endpoint(value: str) -> str:
    """A number is a TCP port; anything else describes an endpoint."""
    if not value.strip().isdigit():
        try:
            # Only to see whether it can be read: nothing listens yet.
            serverFromString(None, value)
        except (ValueError, TypeError, LookupError, OSError) as error:
            raise UsageError(f"--port {value!r} describes no endpoint: {error}") from None
        return value
    port = int(value)
    if port > 65535:
        raise UsageError(f"--port must be a number from 0 to 65535, not {value!r}")
    return f"tcp:{port}"


def _language(value: str) -> str:
    if value not in LANGUAGES:
        raise UsageError(f"--language must be one of {', '.join(LANGUAGES)}, not {value!r}")
    return value


class Options(UsageOptions):
    """The options of `twistd evcharge`."""

    synopsis = "[options]"
    longdesc = (
        "Runs the charging-network server: drivers' programs speak newline-delimited JSON to it "
        "over TCP. Everything is kept in the storage."
    )
    optParameters = [  # noqa: RUF012 - how twisted.python.usage wants it
        [
            "port",
            "p",
            "tcp:8888",
            "Port to listen on: a number, or an endpoint description such as "
            "tcp:8888:interface=127.0.0.1 or unix:/run/evcharge.sock.",
            _endpoint,
        ],
        [
            "data",
            "d",
            "evcharge-data",
            "Data directory of the storage `files`; made and filled when it is missing or empty.",
        ],
        [
            "storage",
            "s",
            None,
            "Where everything is kept: files (the data directory), sqlite:///path/evcharge.db or "
            "postgresql://… Without it the environment's EVCHARGE_STORAGE, or files.",
        ],
        [
            "workers",
            None,
            1,
            "Processes that serve the port together, where the storage is sqlite or postgresql.",
            _whole("workers", 1, MOST_WORKERS),
        ],
        [
            "sweep-interval",
            None,
            5.0,
            "Seconds between two sweeps of the station monitor.",
            _number("sweep-interval", 0.01, 86400),
        ],
        [
            "user-ttl",
            None,
            86400.0,
            "Seconds after which a user who never paid is removed.",
            _number("user-ttl", 1, 10**9),
        ],
        [
            "time-scale",
            None,
            1.0,
            "How many times faster than real time charging goes (60: an hour in a minute).",
            _number("time-scale", 0.001, 10**6),
        ],
        ["language", "l", "pt", "Language of the texts: pt or en.", _language],
        [
            "max-line",
            None,
            65536,
            "Longest line that is read, bytes.",
            _whole("max-line", 256, 16 * 1024 * 1024),
        ],
    ]
    optFlags = [  # noqa: RUF012 - how twisted.python.usage wants it
        ["verbose", "v", "Log a line for each request, with the start of the user's id only."]
    ]

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        print(f"evcharge {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        if not self["data"]:
            raise UsageError("--data must name a directory")
        # twistd changes its working directory before it starts the services.
        self["data"] = os.path.abspath(self["data"])
        try:
            self["storage"] = parse(
                self["storage"] or os.environ.get(STORAGE_VARIABLE) or "files", self["data"]
            )
        except ValueError as error:
            raise UsageError(f"--storage {error}") from None
        if self["workers"] > 1:
            self._check_shareable()

    def _check_shareable(self) -> None:
        workers, port = self["workers"], self["port"]
        if not self["storage"].shareable:
            raise UsageError(
                f"--workers {workers} needs a storage that processes can share, "
                "sqlite:///FILE or postgresql://…, not files"
            )
        if port.partition(":")[0] not in SHARED_ENDPOINTS:
            kinds = ", ".join(f"{kind}:" for kind in SHARED_ENDPOINTS)
            raise UsageError(f"--workers {workers} needs a --port that is {kinds}, not {port!r}")


class PortService(Service):
    """Listens at an endpoint."""

    def __init__(self, endpoint: IStreamServerEndpoint, factory: IProtocolFactory) -> None:
        self._endpoint = endpoint
        self._accepts = factory
        self._port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        # Ports under 1024 are bound before twistd lays its privileges down.
        self._listen()

    def startService(self) -> None:
        super().startService()
        self._listen()

    def _listen(self) -> None:
        """Listen unless we do. CannotListenError, or another, where it is not possible."""
        if self._port is not None:
            return
        problems: list[Failure] = []
        self._endpoint.listen(self._accepts).addCallbacks(self._listening, problems.append)
        if problems:
            problems[0].raiseException()

    def _listening(self, port: IListeningPort) -> None:
        self._port = port

    @inlineCallbacks
    def _stop_listening(self) -> Any:
        if self._port is not None:
            port, self._port = self._port, None
            yield port.stopListening()

    @property
    def address(self) -> str:
        """Where we listen, for the log."""
        host: Any = self._port.getHost() if self._port is not None else None
        if host is None:
            return "nowhere"
        if hasattr(host, "port"):
            return f"{host.host}:{host.port}"
        return os.fsdecode(getattr(host, "name", str(host)))


class DriverService(PortService):
    """
    Listens for drivers' programs.

    Stopping: no new connections; the requests that were read are answered and the bytes are out;
    what is not answered within :data:`ANSWER_S` gets `unavailable`; then the connections end.
    """

    name = "drivers"

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        factory: DriverFactory,
        controller: Controller,
        clock: Any,
    ) -> None:
        super().__init__(endpoint, factory)
        self._factory = factory
        self._controller = controller
        self._clock = clock

    @inlineCallbacks
    def stopService(self) -> Any:
        super().stopService()
        yield self._stop_listening()
        late = [
            self._clock.callLater(ANSWER_S, self._refuse),
            self._clock.callLater(ANSWER_S + FLUSH_S, self._factory.abort),
        ]
        yield self._factory.drain()
        for call in late:
            if call.active():
                call.cancel()

    def _refuse(self) -> None:
        self._controller.close()
        self._factory.give_up()


class StorageService(Service):
    """Opens the storage when the server starts, and closes it when all else has ended."""

    name = "storage"

    def __init__(
        self,
        storage: Storage,
        group_commit: GroupCommit[Operation[Any]],
        thread: StorageThread,
        now: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._group_commit = group_commit
        self._thread = thread
        self._now = now

    def startService(self) -> None:
        super().startService()
        self.summary = self._storage.open(self._now())

    def stopService(self) -> None:
        super().stopService()
        self._group_commit.close()
        # With a write still stuck in a thread, no other process may have the storage before this
        # one is gone.
        if not self._thread.busy:
            self._storage.close()


class Server(MultiService):
    """
    The whole server: its parts start in order and stop in the opposite one, one after another.

    Drivers go first, then the monitor, whose last sweep may end, then the thread, then the
    storage, which no one uses any more.

    :param storage: not open yet.
    :param endpoint: where drivers come.
    """

    log = Logger()

    def __init__(
        self,
        options: Mapping[str, Any],
        storage: Storage,
        endpoint: IStreamServerEndpoint,
        reactor: Any,
    ) -> None:
        super().__init__()
        now = reactor.seconds
        self._options = options
        self._reactor = reactor
        thread = StorageThread(reactor)
        group_commit: GroupCommit[Operation[Any]] = GroupCommit(
            storage.execute,
            thread,
            reactor,
            storage.patience_s,
            # Unlike a timer, it cares for no clock that is set back.
            reactor.callFromThread,
            storage.interrupt,
        )
        perform = performer(storage, group_commit.submit)
        controller = Controller(
            journey(perform, storage.car_models, now, options["time-scale"]),
            now,
            options["language"],
            bool(options["verbose"]),
        )
        factory = DriverFactory(
            controller.dispatch, controller.too_large, reactor, options["max-line"]
        )
        self._storage_service = StorageService(storage, group_commit, thread, now)
        self._drivers = DriverService(endpoint, factory, controller, reactor)
        for part in (
            self._storage_service,
            thread,
            StationMonitor(perform, reactor, options["sweep-interval"], options["user-ttl"]),
            self._drivers,
        ):
            part.setServiceParent(self)

    def privilegedStartService(self) -> None:
        with or_exit(self._options["port"]):
            super().privilegedStartService()

    def startService(self) -> None:
        with or_exit(self._options["port"]):
            super().startService()
        # What was imported and opened stays: no collection need ever look at it again. And as
        # requests leave next to no cycles behind, collecting them can wait.
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 100)
        summary = self._storage_service.summary
        self.log.info(
            "evcharge {version} listens on {address}; data in {storage}: "
            "{stations} stations, {users} users",
            version=__version__,
            address=self._drivers.address,
            storage=self._options["storage"].name,
            stations=summary.stations,
            users=summary.users,
        )

    @inlineCallbacks
    def stopService(self) -> Any:
        self.running = 0
        for part in reversed(list(self)):
            stopped = part.stopService()
            if not isinstance(stopped, Deferred):
                continue
            if part is not self._drivers:
                # The drivers' service keeps its own limit.
                stopped.addTimeout(FLUSH_S, self._reactor)
            yield DeferredList([stopped], consumeErrors=True)


@contextlib.contextmanager
def or_exit(port: str) -> Iterator[None]:
    """
    Start something, or end the process with one line that says why it cannot be.

    :param port: what was to be listened on.
    """
    try:
        yield
    except StorageError as error:
        _exit(str(error))
    except CannotListenError as error:
        problem = getattr(error.socketError, "strerror", None) or error.socketError
        _exit(f"cannot listen on {port}: {problem}")
    except OSError as error:
        _exit(f"cannot start: {error}")


def _exit(problem: str) -> NoReturn:
    _log.critical("{problem}", problem=problem)
    # twistd's log goes to the standard output, or to a file: say it where a person looks,
    # unless that is one place.
    if sys.__stderr__ is not None and not _same_file(1, 2):
        sys.__stderr__.write(f"evcharge: {problem}\n")
        sys.__stderr__.flush()
    raise Exit(problem)


class Exit(SystemExit, Exception):
    """
    Ends the process with status 1.

    As a SystemExit it needs no traceback. As an Exception it makes twistd tidy up, and tell the
    terminal that a daemon was started from, which would else wait for ever.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(1)
        self._problem = problem

    def __str__(self) -> str:
        return self._problem


def _same_file(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return True


def makeService(options: Options) -> Service:
    """The server that `options` ask for."""
    from twisted.internet import reactor

    hide_passwords(without_password)
    endpoint = serverFromString(reactor, options["port"])
    if options["workers"] > 1:
        # It makes a server of its own in each of its processes, and so has to know this module.
        from evcharge.workers import Workers

        return Workers(options, endpoint, reactor)
    return Server(options, options["storage"].storage(), endpoint, reactor)
