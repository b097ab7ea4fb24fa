"""
Several processes that serve one port: what `twistd evcharge --workers N` does.

::

    parent                              worker, `python -m evcharge.process.workers`
      | listens, and never accepts        |
      | -- fd 3: a listening socket ----> |  accepts; from fd 4 on: further ones
      | -- stdin: options, time, once --> |
      | -- stdin: the end --------------> |  the parent is gone: drains and ends
      | <- stdout: its log, as JSON ----- |
      | -- stdin: a question -----------> |  how it is, for those who watch
      | <- stdout: the answer ----------- |
      | <- stderr: what went wrong ------ |
      | -- stdin: what has to be done --> |  reads the TLS certificate again
      | -- stdin: the time, when it ----> |  goes by that: the parent alone looks at the
      |           is another one          |  system's clock, or at the database's
      | -- SIGTERM ---------------------> |  drains and ends

As the socket is the parent's, drivers are let in while a worker is started again: they wait.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING, Any, TextIO

import attrs
import msgspec
from twisted.application.service import MultiService, Service
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, DeferredList, gatherResults, inlineCallbacks, succeed
from twisted.internet.error import ProcessExitedAlready, ReactorNotRunning
from twisted.internet.fdesc import readFromFD
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import (
    LogEvent,
    Logger,
    eventFromJSON,
    globalLogBeginner,
    globalLogPublisher,
    jsonFileLogObserver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from evcharge import __version__
from evcharge.net.ports import ListeningPort, PortService, Sockets
from evcharge.process.clock import SteadyClock, keep_steady
from evcharge.process.logs import Throttle, ThrottleService, as_json_event
from evcharge.process.settings import Settings
from evcharge.process.shared_time import SharedTime
from evcharge.process.timekeeper import Follower
from evcharge.storage.location import STORAGE_VARIABLE
from evcharge.tap import ANSWER_S, FLUSH_S, Server, or_exit

if TYPE_CHECKING:
    from evcharge.web.health import Watched

STDIN, STDOUT, STDERR, SOCKET = range(4)
"""A worker's file descriptors; there may be further sockets behind the first."""

END_S = ANSWER_S + FLUSH_S + 2.0
"""How long a worker may take to end before it is killed, seconds."""

LONG_LIFE_S = 5.0
"""A worker that lived so long is started again at once, seconds."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 10.0
"""Before one that lived shorter is started again: each time twice as long."""

ACCEPT_PAUSE_S = 0.5
"""After a connection could not be accepted, seconds."""

ASK, ANSWER = b"?", b"!"
"""The line that the parent asks a worker by, and what the line that answers it begins with."""

READ_AGAIN = b"r"
"""The line that the parent tells a worker to read the TLS certificate again by."""

TIME = b"t"
"""What the line begins with by which the parent tells a worker the time."""

TOLD_S = 0.001
"""By how much the time has to have become another one before the workers are told, seconds."""

ASK_S = 3.0
"""How long a worker may take to answer, seconds."""

LONGEST_LINE = 256 * 1024
"""What is kept of a line whose end has not come yet, bytes."""


# The parent


class Workers(MultiService):
    """
    Listens for the workers, and keeps them running.

    On SIGHUP they read the TLS certificate again.

    Stopping: the workers drain and end, and only then the socket is closed.
    """

    name = "workers"
    log = Logger()

    def __init__(
        self,
        settings: Settings,
        endpoints: Sequence[IStreamServerEndpoint],
        reactor: Any,
        clock: SteadyClock,
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
                settings.tls.certificate,
                settings.tls.key,
                reactor,
                clock.seconds,
                self._read_again,
            )
        self.watch: Watched | None = None
        """Where somebody may ask: what they are told."""
        if settings.http_port is not None:
            self.watch = WorkersWatch(self, reactor)
        self._settings = settings
        self._reactor = reactor
        self._clock = clock
        self._location = settings.storage
        self._time = SharedTime(
            self._location.storage(shared=True), clock, reactor, self._tell_time
        )
        self._time_told = clock.lead_s, clock.number
        # A worker finds the modules where we do, wherever twistd goes. The options tell it all.
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        }
        self._environment.pop(STORAGE_VARIABLE, None)
        self.workers: list[Worker] = []

    def privilegedStartService(self) -> None:
        with or_exit():
            super().privilegedStartService()

    def startService(self) -> None:
        with or_exit():
            super().startService()
            if self._certificate is not None:
                # Mistakes in it are told once, and not by each worker. Not before privileges are
                # laid down: the workers have to read it without them.
                self._certificate.startService()
            # Alone, for once: mistakes are told here, and the workers find everything made.
            storage = self._location.storage()
            summary = storage.open(self._clock.seconds())
            try:
                self._time.begin(storage)
            finally:
                storage.close()
            # From now on it keeps other servers out of the file, also while no worker runs.
            self._time.setServiceParent(self)
        self.log.info(
            "evcharge {version} listens on {addresses}; {workers} workers; data in {storage}: "
            "{stations} stations, {users} users",
            version=__version__,
            addresses=self._ports.addresses,
            workers=self._settings.workers,
            storage=self._location.name,
            stations=summary.stations,
            users=summary.users,
        )
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
        sockets = [_fileno(listening) for port in self._listening for listening in port.sockets]
        self._reactor.spawnProcess(
            worker,
            sys.executable,
            [sys.executable, "-m", "evcharge.process.workers"],
            env=self._environment,
            childFDs={STDIN: "w", STDOUT: "r", STDERR: "r", **dict(enumerate(sockets, SOCKET))},
        )

    @inlineCallbacks
    def stopService(self) -> Any:
        self.running = 0
        yield DeferredList([worker.stop() for worker in self.workers])
        for part in reversed(list(self)):
            yield part.stopService()
        # Only now, as a SIGHUP would else end us before the workers.
        if self._certificate is not None:
            self._certificate.stopService()


class WorkersWatch:
    """Watches all workers."""

    def __init__(self, parent: Workers, clock: IReactorTime) -> None:
        from evcharge.web.health import Shared

        self._parent = parent
        self._asked = Shared(self._ask_for_one, clock)

    def trouble(self) -> Deferred[str | None]:
        """Whether all is about to end, or no worker is ready."""
        if not self._parent.running:
            return succeed("the server is shutting down")
        return self._asked()

    def _ask_for_one(self) -> Deferred[str | None]:
        # The first that is ready will do: another one that hangs would take its time.
        asked = [worker.ask().addCallback(self._see_ready) for worker in self._parent.workers]
        one: Deferred[Any] = DeferredList(asked, fireOnOneCallback=True, consumeErrors=True)
        return one.addCallback(self._trouble)

    def _see_ready(self, answer: Any) -> None:
        trouble = "a worker does not answer" if answer is None else answer["trouble"]
        if trouble is not None:
            raise _NotReady(trouble)

    def _trouble(self, found: Any) -> str | None:
        if not self._parent.running:
            return "the server is shutting down"
        if isinstance(found, tuple):
            return None
        return "; ".join(dict.fromkeys(str(failure.value) for _, failure in found))

    def metrics(self) -> Deferred[bytes]:
        """The metrics of all, by worker."""
        asked = DeferredList([worker.ask() for worker in self._parent.workers])
        return asked.addCallback(self._together)

    def _together(self, answers: list[tuple[bool, Any]]) -> bytes:
        from evcharge.watch.exposition import together

        return together(
            {
                number: None if answer is None else answer["metrics"]
                for number, (_, answer) in enumerate(answers, 1)
            }
        )


class _NotReady(Exception):
    """A worker that is not; says why."""


class WorkersPort(ListeningPort):
    """A port that is opened here, and that the workers accept from."""

    def _opened(self, listening: IListeningPort) -> None:
        super()._opened(listening)
        for each in self.sockets:
            each.stopReading()  # type: ignore[attr-defined]


def _fileno(listening: Any) -> int:
    return int(listening.fileno())


class Worker(ProcessProtocol):
    """
    One of the workers: its process, and the next one when that has ended.

    :param number: by which the log tells the workers apart, from 1.
    :param beginning: makes the line that a process is to read first.
    :param spawn: makes a process whose protocol this is. OSError: it cannot be made.
    """

    log = Logger()

    def __init__(
        self,
        number: int,
        beginning: Callable[[], bytes],
        spawn: Callable[[Worker], None],
        clock: IReactorTime,
    ) -> None:
        self._number = number
        self._beginning = beginning
        self._spawn = spawn
        self._clock = clock
        self._began = 0.0
        self._pause_s = 0.0
        self._pipes: dict[int, Lines] = {}
        self._again: IDelayedCall | None = None
        """While no process runs: the start of the next one."""
        self._late: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None
        self._asking: list[Deferred[Any]] = []
        """Those who wait for what the process has to tell of itself."""

    def ask(self) -> Deferred[Any]:
        """
        What the process tells of itself: `trouble`, as text or None, and `metrics`; None where it
        does not answer.
        """
        asking: Deferred[Any] = Deferred()
        if self._again is not None or self.transport is None:
            asking.callback(None)
            return asking
        self._asking.append(asking)
        transport: Any = self.transport
        transport.write(ASK + b"\n")
        asking.addTimeout(ASK_S, self._clock)
        return asking.addErrback(self._gave_up, asking)

    def _told(self, answer: Any) -> None:
        asking, self._asking = self._asking, []
        for one in asking:
            one.callback(answer)

    def _gave_up(self, _: Failure, asking: Deferred[Any]) -> None:
        self._asking.remove(asking)

    def start(self) -> None:
        """Start a process."""
        self._again = None
        self._began = self._clock.seconds()
        self._pipes = {STDOUT: Lines(self._logged), STDERR: Lines(self._complained)}
        try:
            self._spawn(self)
        except OSError as error:
            self._start_again(f"cannot be started: {error}")

    def stop(self) -> Deferred[None]:
        """Have the process end, and start no other; fires when it has."""
        self._stopped = Deferred()
        if self._again is not None:
            self._again.cancel()
            self._stopped.callback(None)
        else:
            self._signal("TERM")
            self._late = self._clock.callLater(END_S, self._kill)
        return self._stopped

    def read_again(self) -> None:
        """Have the process, if there is one, read the TLS certificate again."""
        # Not by a signal: one that has only begun would end by it.
        self._tell(READ_AGAIN)

    def tell_time(self, lead_s: float, number: int) -> None:
        """Tell the process, if there is one, the present: see :class:`SteadyClock`."""
        self._tell(TIME + json.dumps([lead_s, number]).encode())

    def _tell(self, line: bytes) -> None:
        if self._again is None and self.transport is not None:
            transport: Any = self.transport
            transport.write(line + b"\n")

    def _kill(self) -> None:
        self.log.error(
            "Worker {worker} has not ended within {limit:g} s and is killed",
            worker=self._number,
            limit=END_S,
        )
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        transport: Any = self.transport
        with contextlib.suppress(ProcessExitedAlready):
            transport.signalProcess(name)

    def _start_again(self, problem: str) -> None:
        lived_long = self._clock.seconds() - self._began >= LONG_LIFE_S
        pause = max(FIRST_PAUSE_S, min(2 * self._pause_s, LONGEST_PAUSE_S))
        self._pause_s = 0.0 if lived_long else pause
        self.log.error(
            "Worker {worker} {problem}; the next one starts in {pause:g} s",
            worker=self._number,
            problem=problem,
            pause=self._pause_s,
        )
        self._again = self._clock.callLater(self._pause_s, self.start)

    # What the process does

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.log.info("Worker {worker} is process {pid}", worker=self._number, pid=transport.pid)
        # Standard input stays open: it ends when we do, however that may be.
        transport.write(self._beginning())

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._pipes[childFD].add(data)

    def _logged(self, line: bytes) -> None:
        try:
            if line.startswith(ANSWER):
                self._told(json.loads(line[len(ANSWER) :]))
                return
            event = eventFromJSON(line.decode())
            namespace, level = event["log_namespace"], event["log_level"].name
        except (ValueError, TypeError, LookupError, AttributeError):
            # The half of a line that it was killed at.
            self._complained(line)
            return
        event["worker"] = self._number
        event["log_system"] = f"worker {self._number}: {namespace}#{level}"
        globalLogPublisher(event)

    def _complained(self, line: bytes) -> None:
        self.log.warn(
            "{text}",
            text=line[:1000].decode(errors="replace"),
            worker=self._number,
            log_system=f"worker {self._number}: stderr",
        )

    def processEnded(self, reason: Failure) -> None:
        for pipe in self._pipes.values():
            pipe.end()
        self._told(None)
        ended: Any = reason.value
        how = signal.Signals(ended.signal).name if ended.signal else f"status {ended.exitCode}"
        if self._stopped is None:
            self._start_again(f"has ended with {how}")
            return
        if self._late is not None and self._late.active():
            self._late.cancel()
        self.log.info("Worker {worker} has ended with {how}", worker=self._number, how=how)
        self._stopped.callback(None)


class Lines:
    """Cuts what comes through a pipe into lines; one that does not end, into pieces."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Take the lines that end with `data`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > LONGEST_LINE:
            self.end()

    def end(self) -> None:
        """Take what has no end."""
        rest, self._rest = self._rest, b""
        if rest:
            self._take(rest)


# Between the two


@attrs.frozen
class Beginning:
    """What a worker is told first."""

    settings: Settings
    lead_s: float
    """The parent's :attr:`SteadyClock.lead_s`, and"""
    clock_number: int
    """its :attr:`SteadyClock.number`."""
    sockets: Sequence[int]
    """How many sockets each of the drivers' ports has."""

    def to_line(self) -> bytes:
        """It as one line of JSON."""
        return msgspec.json.encode(self, enc_hook=str) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Beginning:
        """What :meth:`to_line` wrote."""
        return msgspec.json.decode(line, type=cls, dec_hook=lambda kind, value: kind(value))


# A worker


def main() -> None:
    """Serve as a worker, until SIGTERM or the parent's end."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    # What goes to all processes goes to the parent too, which tells us when the time has come.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Without a buffer, which would keep what the parent has to say next.
    with open(STDIN, "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    if not line:
        sys.exit("evcharge: a worker is started by twistd evcharge --workers")
    pipe = _pipe_to_parent()
    throttle = Throttle().before(_log_to(pipe))
    globalLogBeginner.beginLoggingTo([throttle])
    beginning = Beginning.from_line(line)
    settings = beginning.settings
    clock = SteadyClock(lead_s=beginning.lead_s, number=beginning.clock_number)
    keep_steady(reactor, clock.steady)
    descriptors = count(SOCKET)
    endpoints = [
        InheritedEndpoint(reactor, list(islice(descriptors, number)))
        for number in beginning.sockets
    ]
    storage = settings.storage.storage(shared=True)
    server = Server(settings, storage, endpoints, reactor, clock, keeps_time=False)
    follower = Follower(clock, reactor)
    follower.setServiceParent(server)
    server.startService()
    reactor.addSystemEventTrigger("before", "shutdown", server.stopService)

    def end() -> None:
        # A service manager may tell every process, and then the parent tells us again.
        with contextlib.suppress(ReactorNotRunning):
            reactor.stop()

    def on_signal(*_: object) -> None:
        reactor.callFromThread(end)

    # The reactor sets a handler of its own when it starts; until then nothing is to be drained.
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, on_signal)

    def asked() -> None:
        if server.watch is not None:
            answers: list[Deferred[Any]] = [server.watch.trouble(), server.watch.metrics()]
            gatherResults(answers).addCallback(answer)

    def answer(told: list[Any]) -> None:
        trouble, metrics = told
        content = json.dumps({"trouble": trouble, "metrics": metrics.decode()})
        pipe.write(f"{ANSWER.decode()}{content}\n")
        pipe.flush()

    ThrottleService(throttle, reactor).setServiceParent(server)
    ParentWatch(reactor, asked, server.read_again, follower.tell, end).startReading()
    reactor.run()


def _pipe_to_parent() -> TextIO:
    """What was the standard output, which is the standard error from now on."""
    pipe = os.fdopen(os.dup(STDOUT), "w")
    # What prints by mistake is a complaint.
    os.dup2(STDERR, STDOUT)
    return pipe


def _log_to(pipe: TextIO) -> Callable[[LogEvent], None]:
    """Writes events to the parent."""
    write = jsonFileLogObserver(pipe, recordSeparator="")
    # The parent need not look at how many there are.
    return lambda event: write({**as_json_event(event), "throttled": True})


class ParentWatch(FileDescriptor):
    """
    Watches the standard input, whose end is the parent's.

    :param asked: called when the parent asks something.
    :param read_again: called when the TLS certificate is to be read again.
    :param tell_time: called with the parent's time, as :class:`Follower` has it.
    :param gone: called when the parent is no more.
    """

    connected = True

    def __init__(
        self,
        reactor: Any,
        asked: Callable[[], None],
        read_again: Callable[[], None],
        tell_time: Callable[[float, int], None],
        gone: Callable[[], None],
    ) -> None:
        super().__init__(reactor)
        self._lines = Lines(self._told)
        self._asked = asked
        self._read_again = read_again
        self._tell_time = tell_time
        self._gone = gone

    def fileno(self) -> int:
        return STDIN

    def doRead(self) -> Any:
        return readFromFD(STDIN, self._lines.add)

    def _told(self, line: bytes) -> None:
        if line == ASK:
            self._asked()
        elif line == READ_AGAIN:
            self._read_again()
        elif line.startswith(TIME):
            self._tell_time(*json.loads(line[len(TIME) :]))

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._gone()


@implementer(IStreamServerEndpoint)
class InheritedEndpoint:
    """
    Where the parent listens.

    :param descriptors: of the sockets.
    """

    def __init__(self, reactor: Any, descriptors: Sequence[int]) -> None:
        self._reactor = reactor
        self._descriptors = descriptors

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Accept drivers, as the other workers do."""
        ports = [
            SharedPort(socket.socket(fileno=descriptor), factory, self._reactor)
            for descriptor in self._descriptors
        ]
        for port in ports:
            port.startListening()
        return succeed(Sockets(ports))


@implementer(IListeningPort)
class SharedPort(FileDescriptor):
    """
    Accepts from a socket that other processes listen on as well.

    Twisted's own port takes all the connections that wait, so that one worker had nearly all of a
    rush; and one that adopts a Unix socket sets the mode of its path, shuts the socket down for
    everybody and removes the path.
    """

    log = Logger()
    reactor: Any

    def __init__(self, listening: socket.socket, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(reactor)
        listening.setblocking(False)
        self._socket = listening
        self._factory = factory
        self._pause: IDelayedCall | None = None

    def fileno(self) -> int:
        return self._socket.fileno()

    def startListening(self) -> None:
        self._factory.doStart()
        self.startReading()

    def doRead(self) -> None:
        """Accept one connection."""
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            # Another worker was quicker, or the driver has left.
            return
        except OSError as error:
            # No file descriptors are left, above all. The socket would be ready again at once.
            self.log.error("A connection cannot be accepted: {problem}", problem=error)
            self.stopReading()
            self._pause = self.reactor.callLater(ACCEPT_PAUSE_S, self.startReading)
            return
        with accepted, contextlib.suppress(OSError):
            accepted.setblocking(False)
            # It works with a copy of the descriptor.
            self.reactor.adoptStreamConnection(
                accepted.fileno(), self._socket.family, self._factory
            )

    def stopListening(self) -> Deferred[None]:
        """Accept no more; whoever waits is the other workers' to serve."""
        self.stopReading()
        if self._pause is not None and self._pause.active():
            self._pause.cancel()
        self._socket.close()
        self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IAddress:
        name = self._socket.getsockname()
        if self._socket.family == socket.AF_UNIX:
            return UNIXAddress(name)
        kind = IPv6Address if self._socket.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", *name[:2])


if __name__ == "__main__":
    main()
