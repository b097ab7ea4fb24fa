"""
The HTTP port for those who watch the server: whether it lives, whether it is ready, its metrics.

::

    GET /health/live     200 while the process runs
    GET /health/ready    200 when drivers may be sent here; 503 and the reason otherwise
    GET /metrics         for Prometheus

Where operators have a token, :mod:`evcharge.web.operator` has its side here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, TimeoutError, gatherResults, maybeDeferred, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from evcharge.net.guards.service import Guards
from evcharge.net.ports import ListeningPort, PortService, endpoint
from evcharge.net.protocol import DriverFactory
from evcharge.push.hub import Hub
from evcharge.rules.journey import FindUser, ListStations
from evcharge.storage import Perform
from evcharge.watch.exposition import CONTENT_TYPE, exposition, families
from evcharge.watch.metrics import Metrics, Present
from evcharge.web.operator import ROOT, Operator

PATHS = (b"/health/live", b"/health/ready", b"/metrics")

LONGEST_BODY = 64 * 1024
"""What may be sent to the port with a request, bytes; only an operator's is for something."""

REQUEST_S = 10
"""How long a request that has begun may take to come whole, seconds."""

REFUSED_S = 2
"""How long one whose body is not read may read the reply, before the connection ends, seconds."""

PROBE_S = 2.0
"""How long the storage may take to answer before it counts as away, seconds."""

SHARED_S = 1.0
"""How long one probe's result is good for all who ask, seconds."""

IDLE_S = 60
"""How long a connection to the port may be idle, seconds."""

MOST_CONNECTIONS = 50
"""Connections to the port; for those beyond, idle ones are closed. They have descriptors of their
own, see :data:`evcharge.net.guards.descriptors.RESERVED`."""

NOBODY = "00000000-0000-0000-0000-000000000000"
"""A user id that nobody has."""


class Watched(Protocol):
    """What can be watched."""

    def trouble(self) -> Deferred[str | None]:
        """Why no drivers should be sent here; None: they may."""

    def metrics(self) -> Deferred[bytes]:
        """The metrics, as Prometheus reads them."""


class Counting(Protocol):
    """What counts the bytes of its connections."""

    received_bytes: int
    sent_bytes: int


class Shared:
    """
    Asks once for all who want to know at about the same time.

    :param ask: what is asked; its Deferred does not fail.
    """

    def __init__(self, ask: Callable[[], Deferred[str | None]], clock: IReactorTime) -> None:
        self._ask = ask
        self._clock = clock
        self._asked_at = float("-inf")
        self._waiting: list[Deferred[str | None]] = []
        self._found: str | None = None

    def __call__(self) -> Deferred[str | None]:
        """The answer, which may have been got :data:`SHARED_S` ago."""
        if not self._waiting and self._clock.seconds() - self._asked_at < SHARED_S:
            return succeed(self._found)
        done: Deferred[str | None] = Deferred()
        self._waiting.append(done)
        if len(self._waiting) == 1:
            self._ask().addCallback(self._answered)
        return done

    def _answered(self, found: str | None) -> None:
        self._found = found
        self._asked_at = self._clock.seconds()
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(found)


class ServerWatch:
    """
    Watches one server process.

    :param factories: what makes the connections of its ports.
    :param sockets: those of them whose connections speak WebSocket; None: there is no web port.
    :param is_running: whether the server is not about to end.
    """

    def __init__(
        self,
        metrics: Metrics,
        perform: Perform,
        factories: Sequence[Counting],
        sockets: Sequence[DriverFactory] | None,
        guards: Guards,
        hub: Hub,
        is_running: Callable[[], bool],
        clock: IReactorTime,
    ) -> None:
        self._metrics = metrics
        self._perform = perform
        self._factories = factories
        self._sockets = sockets
        self._guards = guards
        self._hub = hub
        self._is_running = is_running
        self._clock = clock
        self._probed = Shared(self._probe, clock)

    def trouble(self) -> Deferred[str | None]:
        """Whether the server is to end, or the storage does not answer."""
        if not self._is_running():
            return succeed("the server is shutting down")
        return self._probed()

    def _probe(self) -> Deferred[str | None]:
        # Nobody has this id: that the storage says so is all that it is asked for.
        probe: Deferred[Any] = maybeDeferred(self._perform, FindUser(NOBODY))
        probe.addTimeout(PROBE_S, self._clock)
        return probe.addCallbacks(lambda _: None, self._probe_failed)

    def _probe_failed(self, failure: Failure) -> str | None:
        if failure.check(TimeoutError):
            return f"the storage has not answered within {PROBE_S:g} seconds"
        return "the storage does not answer"

    def metrics(self) -> Deferred[bytes]:
        """The metrics; without those of the stations where the storage does not answer."""
        stations: Deferred[Any] = maybeDeferred(self._perform, ListStations())
        stations.addTimeout(PROBE_S, self._clock)
        stations.addErrback(lambda _: ())
        return gatherResults([self.trouble(), stations]).addCallback(self._expose)

    def _expose(self, found: list[Any]) -> bytes:
        trouble, stations = found
        present = Present(
            is_ready=trouble is None,
            connections=self._guards.addresses.connections,
            most_connections=self._guards.most_connections,
            received_bytes=sum(each.received_bytes for each in self._factories),
            sent_bytes=sum(each.sent_bytes for each in self._factories),
            websockets=self._count_sockets(),
            stations=stations,
            subscribers=self._hub.listening,
        )
        return exposition(families(self._metrics, present))

    def _count_sockets(self) -> int | None:
        if self._sockets is None:
            return None
        return sum(len(factory.connections) for factory in self._sockets)


class Health(Resource):
    """Answers all that is asked over the HTTP port."""

    isLeaf = True
    log = Logger()

    def __init__(self, watched: Watched, operator: Operator | None = None) -> None:
        super().__init__()
        self._watched = watched
        self.operator = operator

    def render(self, request: Any) -> Any:
        """Answer one request."""
        if self.operator is not None and request.path.startswith(ROOT):
            self.operator.render(request, request.body, partial(self._finish, request))
            return NOT_DONE_YET
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        path = request.path
        if path not in PATHS:
            return self._say(request, 404, "there are /health/live, /health/ready and /metrics\n")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return self._say(request, 405, "only GET and HEAD\n")
        if path == b"/health/live":
            return self._say(request, 200, "alive\n")
        if path == b"/health/ready":
            answer = self._watched.trouble().addCallback(self._ready, request)
        else:
            answer = self._watched.metrics().addCallback(self._metrics, request)
        answer.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _say(self, request: Request, code: int, text: str) -> bytes:
        request.setResponseCode(code)
        return text.encode()

    def _ready(self, trouble: str | None, request: Request) -> None:
        body = b"ready\n" if trouble is None else f"{trouble}\n".encode()
        self._finish(request, 200 if trouble is None else 503, body)

    def _metrics(self, body: bytes, request: Request) -> None:
        request.setHeader(b"content-type", CONTENT_TYPE.encode())
        self._finish(request, 200, body)

    def _failed(self, failure: Failure, request: Request) -> None:
        self.log.failure("{path} could not be answered", failure=failure, path=request.path)
        self._finish(request, 500, b"the log says why\n")

    def _finish(self, request: Request, code: int, body: bytes) -> None:
        if request.channel is None:
            # The client has not waited.
            return
        request.setResponseCode(code)
        request.setHeader(b"content-length", str(len(body)).encode())
        request.write(b"" if request.method == b"HEAD" else body)
        request.finish()


class Watcher(ProtocolWrapper):
    """A connection of one who watches."""

    factory: _AtMost
    asked: Request | None = None
    """A whole request of its that is being answered."""
    _late: IDelayedCall | None = None
    """While a request has begun to come: its end."""
    _refused = False

    def dataReceived(self, data: bytes) -> None:
        if self._refused:
            # What is sent all the same must be read, or the reply would be lost with it.
            return
        if self._late is None and self.asked is None:
            self._call_in(REQUEST_S, self.cut)
        super().dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._forget_late()
        super().connectionLost(reason)

    def _call_in(self, seconds: float, end: Callable[[], object]) -> None:
        self._forget_late()
        self._late = self.factory.clock.callLater(seconds, end)

    def _forget_late(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
        self._late = None

    def asks(self, request: Request) -> None:
        """A whole request has come."""
        self._forget_late()
        self.asked = request
        request.notifyFinish().addBoth(self._answered, request)

    def _answered(self, _: object, request: Request) -> None:
        if self.asked is request:
            # Else the next one is being answered already, which came together with this one.
            self.asked = None
            self.factory.answered(self)

    def refuse(self, reply: bytes) -> None:
        """Send a last reply, to a request that has not come whole and is not read on."""
        if not self._refused:
            self._refused = True
            self.write(reply)
            self._call_in(REFUSED_S, self.loseConnection)

    def cut(self) -> None:
        """Close the connection, at once and whether or not all that was sent has been read."""
        transport: Any = self
        while isinstance(transport, ProtocolWrapper):
            # TLS, where the port's description asks for it.
            transport = transport.transport
        # Not by abortConnection: the descriptor would be free in the reactor's next turn only, and
        # of many who come at once the last ones would find none.
        transport.connectionLost(Failure(ConnectionAborted()))


class ShortRequest(Request):
    """
    A request whose body is short, and kept in memory only for an operator's side that reads it.
    """

    body = b""
    _more = LONGEST_BODY

    def process(self) -> None:
        watcher: Any = self.channel.transport
        watcher.asks(self)
        super().process()

    @property
    def _operator(self) -> Operator | None:
        channel: Any = self.channel
        operator: Operator | None = channel.site.resource.operator
        return operator

    def gotLength(self, length: int | None) -> None:
        # Of nothing: what is longer would have a file made for it, and forms would be looked for.
        super().gotLength(0)
        if length is not None and length > LONGEST_BODY and self._operator is not None:
            self._too_large(self._operator)

    def handleContentChunk(self, data: bytes) -> None:
        self._more -= len(data)
        if self._more >= 0:
            if self._operator is not None:
                self.body += data
        elif self._operator is not None:
            self._too_large(self._operator)
        else:
            self.channel.forceAbortClient()

    def _too_large(self, operator: Operator) -> None:
        # It is not to be told to send the body, either.
        self.requestHeaders.removeHeader(b"expect")
        body = operator.too_large()
        head = (
            "HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        watcher: Any = self.channel.transport
        watcher.refuse(head.encode() + body)


def site(watched: Watched, reactor: Any, operator: Operator | None = None) -> IProtocolFactory:
    """What is to be listened with on the HTTP port."""
    inner = Site(Health(watched, operator), ShortRequest, reactor=reactor, timeout=IDLE_S)
    inner.displayTracebacks = False
    inner.noisy = False
    # Each scrape would be a line of the log.
    inner.log = lambda request: None  # type: ignore[method-assign]
    return _AtMost(inner, reactor)


class HealthService(PortService):
    """
    Listens for those who watch.

    It starts before all others and ends after them, so that whoever asks learns that no more
    drivers should be sent.

    :param port: its description, see :mod:`evcharge.net.ports`.
    """

    name = "health"
    log = Logger()

    def __init__(
        self, port: str, watched: Watched, reactor: Any, operator: Operator | None = None
    ) -> None:
        self._operator = operator
        accepts = site(watched, reactor, operator)
        super().__init__([ListeningPort("http-port", port, endpoint(reactor, port), accepts)])

    def _listen(self) -> None:
        if self._operator is not None:
            self._operator.start()
        super()._listen()

    def first_of(self, services: MultiService) -> None:
        """Become the first of `services`."""
        self.setServiceParent(services)
        services.services.insert(0, services.services.pop())

    def startService(self) -> None:
        super().startService()
        # One will do for whoever opens it.
        address = self.addresses.partition(" and ")[0]
        self.log.info("Metrics and health at http://{address}", address=address)


class _AtMost(WrappingFactory):
    """
    Lets :data:`MOST_CONNECTIONS` in; whoever comes then takes the place of the one that has been
    idle for longest. One that trickles a request is idle, too, until it is whole.
    """

    noisy = False
    protocol = Watcher
    protocols: dict[Watcher, Any]
    """The open connections, those first that were answered, or came, the longest ago."""

    def __init__(self, inner: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(inner)
        self.clock = clock

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if len(self.protocols) >= MOST_CONNECTIONS:
            idle = next((watcher for watcher in self.protocols if watcher.asked is None), None)
            if idle is None:
                return None
            idle.cut()
        return super().buildProtocol(addr)

    def answered(self, watcher: Watcher) -> None:
        """From now on `watcher` is idle."""
        if watcher in self.protocols:
            self.protocols[watcher] = self.protocols.pop(watcher)
