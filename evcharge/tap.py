"""From the command line to running services: what `twistd evcharge` does."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.interfaces import (
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger

from evcharge import __version__
from evcharge.controller import Controller
from evcharge.handlers import Context, handlers
from evcharge.net.guards import REASONS
from evcharge.net.guards.service import Guards
from evcharge.net.lines import Lines
from evcharge.net.ports import CannotListen, ListeningPort, PortService, endpoint
from evcharge.net.protocol import DriverFactory
from evcharge.outcomes import TOO_LARGE
from evcharge.process.clock import SteadyClock, keep_steady
from evcharge.process.logs import ThrottleService, is_seen, warnings_shown
from evcharge.process.options import Options
from evcharge.process.settings import Settings
from evcharge.process.terminal import Terminal
from evcharge.process.timekeeper import Timekeeper
from evcharge.station_monitor import StationMonitor
from evcharge.storage import Operation, Storage, StorageError, performer
from evcharge.storage.group_commit import GroupCommit
from evcharge.storage.location import without_password
from evcharge.storage.threads import StorageThread
from evcharge.utils.process_title import hide_passwords
from evcharge.watch.metrics import Metrics

if TYPE_CHECKING:
    from evcharge.net.tls.certificate import CertificateService
    from evcharge.process.workers import Workers
    from evcharge.web.health import Watched

ANSWER_S = 4.0
"""How long the requests that were read may take once the server is to end, seconds."""

FLUSH_S = 0.5
"""How long the last replies may then take to go out, and a sweep to end, seconds."""

COLLECT_AFTER = 20_000
"""
Objects that are made, and not ended by themselves, before the garbage is collected.

Requests leave none. But Twisted leaves four, half a KiB, for each call in a thread.
"""

_log = Logger()


class DriverService(PortService):
    """
    Listens for drivers' programs.

    Stopping: no new connections; the requests that were read are answered and the bytes are out;
    what is not answered within :data:`ANSWER_S` gets `unavailable`; then the connections end.
    """

    name = "drivers"

    def __init__(
        self,
        ports: Sequence[ListeningPort],
        factory: DriverFactory,
        controller: Controller,
        clock: Any,
    ) -> None:
        super().__init__(ports)
        self._factory = factory
        self._controller = controller
        self._clock = clock

    @inlineCallbacks
    def stopService(self) -> Any:
        yield super().stopService()
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
    """
    Opens the storage when the server starts, and closes it when all else has ended.

    :param timekeeper: learns from the storage what time it is; None: that is known.
    """

    name = "storage"

    def __init__(
        self,
        storage: Storage,
        group_commit: GroupCommit[Operation[Any]],
        thread: StorageThread,
        now: Callable[[], float],
        timekeeper: Timekeeper | None,
    ) -> None:
        self._storage = storage
        self._group_commit = group_commit
        self._thread = thread
        self._now = now
        self._timekeeper = timekeeper

    def startService(self) -> None:
        super().startService()
        self.summary = self._storage.open(self._now())
        if self._timekeeper is not None:
            self._timekeeper.begin(self._storage)

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
    :param reactor: its timers go by steady seconds.
    :param clock: says what time it is.
    :param keeps_time: whether it is to keep that right; else somebody else does.
    :param endpoints: where drivers come: one for each of the `ports` of the settings.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        endpoints: Sequence[IStreamServerEndpoint],
        reactor: Any,
        clock: SteadyClock,
        keeps_time: bool = True,
    ) -> None:
        super().__init__()
        now = clock.seconds
        metrics = Metrics(REASONS)
        self._settings = settings
        self._reactor = reactor
        thread = StorageThread(reactor)
        group_commit: GroupCommit[Operation[Any]] = GroupCommit(
            storage.execute,
            thread,
            reactor,
            storage.patience_s,
            # It costs less than a timer of no time.
            reactor.callFromThread,
            storage.interrupt,
            metrics.carried_out,
        )
        perform = performer(storage, group_commit.submit, lambda: clock.number)
        timekeeper = Timekeeper(clock, reactor, perform) if keeps_time else None
        guards = Guards(settings.limits, reactor, metrics.refused)
        controller = Controller(
            handlers(Context(perform, storage.car_models, now, settings.time_scale)),
            now,
            settings.language,
            settings.verbose,
            guards.around,
            # What costs each request something is done only where it can be asked for.
            None if settings.http_port is None else metrics.answered,
            reactor.seconds,
        )
        lines = Lines(controller, now)
        other_protocols = guards.other_protocols(lines, settings.language)
        factory = DriverFactory(
            guards.dispatch(lines),
            partial(lines.refuse, TOO_LARGE),
            reactor,
            settings.max_line,
            guards.addresses.connected,
            other_protocols,
            lines.last_resort,
        )
        guards.watch(factory.connections, storage.patience_s)
        self._storage_service = StorageService(storage, group_commit, thread, now, timekeeper)

        def layers(inner: IProtocolFactory, told: Lines | None) -> IProtocolFactory:
            """What a connection goes through before it comes to `inner`, which may be TLS."""
            return guards.behind_proxy(guards.limit_connections(inner, told), len(endpoints))

        ways_in = [layers(factory, lines)]
        self._certificate: CertificateService | None = None
        if settings.tls is not None:
            # Only then, as it is big.
            from evcharge.net.tls.certificate import CertificateService
            from evcharge.net.tls.connection import TLSFactory

            certificate = self._certificate = CertificateService(
                settings.tls.certificate, settings.tls.key, reactor, now
            )
            certificate.setServiceParent(self)
            inner = TLSFactory(
                certificate, factory, reactor, guards.on_refused, other_protocols.unencrypted
            )
            ways_in.append(layers(inner, None))
        ports = [
            ListeningPort(*place, listening, way_in)
            for place, listening, way_in in zip(
                settings.ports.items(), endpoints, ways_in, strict=True
            )
        ]
        self.watch: Watched | None = None
        """Where somebody may ask: what they are told."""
        if settings.http_port is not None:
            from evcharge.web.health import ServerWatch

            self.watch = ServerWatch(
                metrics, perform, factory, guards, lambda: bool(self.running), reactor
            )
        self._drivers = DriverService(ports, factory, controller, reactor)
        for part in (
            self._storage_service,
            thread,
            *([] if timekeeper is None else [timekeeper]),
            StationMonitor(
                perform,
                reactor,
                now,
                settings.sweep_interval_s,
                settings.limits.user_ttl_s,
                metrics.swept,
            ),
            guards,
            self._drivers,
        ):
            part.setServiceParent(self)

    def privilegedStartService(self) -> None:
        with or_exit():
            super().privilegedStartService()

    def startService(self) -> None:
        with or_exit():
            super().startService()
        # What was imported and opened stays: no collection need ever look at it again. And as
        # requests leave next to no cycles behind, collecting them can wait.
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 100)
        summary = self._storage_service.summary
        self.log.info(
            "evcharge {version} listens on {addresses}; data in {storage}: "
            "{stations} stations, {users} users",
            version=__version__,
            addresses=self._drivers.addresses,
            storage=self._settings.storage.name,
            stations=summary.stations,
            users=summary.users,
        )

    def read_again(self) -> None:
        """Read the TLS certificate again, if there is one."""
        if self._certificate is not None:
            self._certificate.read_again()

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
def or_exit() -> Iterator[None]:
    """
    Start something, or end the process with one line that says why it cannot be.

    That, and each warning, is said where a person looks.
    """
    with warnings_shown(_say):
        try:
            yield
        except (StorageError, CannotListen) as error:
            _exit(str(error))
        except OSError as error:
            _exit(f"cannot start: {error}")


def _exit(problem: str) -> NoReturn:
    _log.critical("{problem}", problem=problem)
    raise Exit(problem)


def _say(line: str) -> None:
    """Say a line where a person looks, unless the log is seen there."""
    if _terminal.say(line):
        return
    if sys.__stderr__ is not None and not (is_seen() and _same_file(1, 2)):
        sys.__stderr__.write(f"{line}\n")
        sys.__stderr__.flush()


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


_terminal = Terminal(Exit)


def _same_file(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return True


def makeService(options: Options) -> Service:
    """The server that `options` ask for."""
    from twisted.internet import reactor

    hide_passwords(without_password)
    if options.parent is not None and not options.parent.get("nodaemon", True):
        _terminal.keep()
        reactor.callWhenRunning(_terminal.let_go)
    clock = SteadyClock()
    keep_steady(reactor, clock.steady)
    settings = options.settings
    endpoints = [endpoint(reactor, port) for port in settings.ports.values()]
    server: Server | Workers
    if settings.workers > 1:
        # It makes a server of its own in each of its processes, and so has to know this module.
        from evcharge.process.workers import Workers

        server = Workers(settings, endpoints, reactor, clock)
    else:
        server = Server(settings, settings.storage.storage(), endpoints, reactor, clock)
    if settings.http_port is not None:
        from evcharge.web.health import HealthService

        assert server.watch is not None
        HealthService(settings.http_port, server.watch, reactor).first_of(server)
    if options.throttle is not None:
        ThrottleService(options.throttle, reactor).setServiceParent(server)
    return server
