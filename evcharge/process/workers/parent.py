"""The parent of the workers: listens, keeps the time for them, and keeps them running."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import DeferredList, inlineCallbacks
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from evcharge import __version__
from evcharge.handlers import Context
from evcharge.net.ports import PortService
from evcharge.process.clock import SteadyClock
from evcharge.process.engine import InOrder, StorageService
from evcharge.process.settings import Settings
from evcharge.process.terminal import Terminal
from evcharge.process.timekeeper import Timekeeper
from evcharge.process.workers.messages import SOCKET, STDERR, STDIN, STDOUT, Beginning
from evcharge.process.workers.sockets import WorkersPort
from evcharge.process.workers.worker import Worker
from evcharge.rules.events import Event
from evcharge.storage.location import STORAGE_VARIABLE
from evcharge.storage.threads import StorageThread

if TYPE_CHECKING:
    from evcharge.process.workers.watch import WorkersWatch
    from evcharge.web.operator import Operator

TOLD_S = 0.001
"""By how much the time has to have become another one before the workers are told, seconds."""


class Workers(InOrder):
    """
    Listens for the workers, and keeps them running.

    On SIGHUP they read the TLS certificate again.

    Stopping: the workers drain and end, and only then the socket is closed.

    :param endpoints: where drivers come: one for each of the `ports` of the settings.
    :param reactor: its timers go by steady seconds.
    :param clock: says what time it is.
    :param terminal: where it is said why the server cannot start.
    """

    name = "workers"
    log = Logger()

    def __init__(
        self,
        settings: Settings,
        endpoints: Sequence[IStreamServerEndpoint],
        reactor: Any,
        clock: SteadyClock,
        terminal: Terminal,
    ) -> None:
        super().__init__()
        nobody = Factory()
        nobody.noisy = False
        self._listening = [
            WorkersPort(*place, listening, nobody)
            for place, listening in zip(settings.ports.items(), endpoints, strict=True)
        ]
        self._ports = PortService(self._listening)
        self._ports.setServiceParent(self)
        self._certificate: Service | None = None
        if settings.tls is not None:
            from evcharge.net.tls.certificate import CertificateService

            self._certificate = CertificateService(
                settings.tls.certificate, settings.tls.key, reactor, clock.seconds, self._read_again
            )
        self.workers: list[Worker] = []
        self.watch: WorkersWatch | None = None
        """Where somebody may ask: what they are told."""
        if settings.http_port is not None:
            from evcharge.process.workers.watch import WorkersWatch

            self.watch = WorkersWatch(
                self.workers, lambda: bool(self.running), reactor, settings.terms
            )
        self._settings = settings
        self._reactor = reactor
        self._clock = clock
        self._terminal = terminal
        storage = settings.storage.storage(shared=True)
        self._storage = StorageService(
            storage, reactor, clock, StorageThread(reactor), self._happened
        )
        self._context = Context(
            self._storage.perform, storage.catalogue, clock.seconds, terms=settings.terms
        )
        self._timekeeper = Timekeeper(clock, reactor, self._storage.perform, self._tell_time)
        self._time_told = clock.lead_s, clock.number
        # A worker finds the modules where we do, wherever twistd goes. The settings tell it all.
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        }
        self._environment.pop(STORAGE_VARIABLE, None)

    def _happened(self, events: Sequence[Event], at: float) -> None:
        if self.watch is not None:
            self.watch.sessions.happened(events)

    def operator(self) -> Operator | None:
        """Who answers operators, where they may ask: the parent by itself."""
        if self._settings.operator_token_file is None or self.watch is None:
            return None
        from evcharge.web.operator import Operator

        return Operator(
            self._settings.operator_token_file,
            self._context,
            self._settings.language,
            self.watch.operator_requests,
        )

    def privilegedStartService(self) -> None:
        with self._terminal.or_exit():
            super().privilegedStartService()

    def startService(self) -> None:
        with self._terminal.or_exit():
            super().startService()
            if self._certificate is not None:
                # Mistakes in it are told once, and not by each worker. Not before privileges are
                # laid down: the workers have to read it without them.
                self._certificate.startService()
            # Alone, for once: mistakes are told here, and the workers find everything made.
            storage = self._settings.storage.storage()
            summary = storage.open(self._clock.seconds())
            try:
                self._timekeeper.begin(storage)
            finally:
                storage.close()
            # From now on it keeps other servers out of the file, also while no worker runs; and it
            # is asked what time it is.
            self._storage.setServiceParent(self)
            self._timekeeper.setServiceParent(self)
        self.log.info(
            "evcharge {version} listens on {addresses}; {workers} workers; data in {storage}: "
            "{stations} stations, {users} users",
            version=__version__,
            addresses=self._ports.addresses,
            workers=self._settings.workers,
            storage=self._settings.storage.name,
            stations=summary.stations,
            users=summary.users,
            at_terminal=self._ports.at_terminal(
                self._settings.storage.name, summary.stations, summary.users
            ),
        )
        self._ports.say_page()
        for number in range(1, self._settings.workers + 1):
            worker = Worker(number, self._beginning, self._spawn, self._reactor)
            self.workers.append(worker)
            worker.start()

    def _beginning(self) -> bytes:
        # A worker that is started again may find that the system's clock has been set meanwhile.
        sockets = [len(port.sockets) for port in self._listening]
        return Beginning(self._settings, self._clock.lead_s, self._clock.number, sockets).to_line()

    def _tell_time(self) -> None:
        lead_s, number = time = self._clock.lead_s, self._clock.number
        if number == self._time_told[1] and abs(lead_s - self._time_told[0]) < TOLD_S:
            return
        self._time_told = time
        for worker in self.workers:
            worker.tell_time(lead_s, number)

    def _read_again(self) -> None:
        if not self.running:
            return
        for worker in self.workers:
            worker.read_again()

    def _spawn(self, worker: Worker) -> None:
        sockets = [each.fileno() for port in self._listening for each in port.sockets]  # type: ignore[attr-defined]
        self._reactor.spawnProcess(
            worker,
            sys.executable,
            [sys.executable, "-m", "evcharge.process.workers.child"],
            env=self._environment,
            childFDs={STDIN: "w", STDOUT: "r", STDERR: "r", **dict(enumerate(sockets, SOCKET))},
        )

    @inlineCallbacks
    def stopService(self) -> Any:
        self.running = 0
        yield DeferredList([worker.stop() for worker in self.workers])
        yield super().stopService()
        # Only now, as a SIGHUP would else end us before the workers.
        if self._certificate is not None:
            self._certificate.stopService()
