"""A server of one process: an engine, and the ports where drivers come."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger

from evcharge import __version__
from evcharge.net.guards import REASONS
from evcharge.net.guards.other_protocols import OtherProtocols
from evcharge.net.guards.service import Guards
from evcharge.net.lines import Lines
from evcharge.net.ports import ListeningPort, PortService
from evcharge.net.protocol import DriverFactory
from evcharge.outcomes import TOO_LARGE, Outcome
from evcharge.process.clock import SteadyClock
from evcharge.process.engine import Engine, InOrder
from evcharge.process.planners.parent import Planners
from evcharge.process.settings import Settings
from evcharge.process.terminal import Terminal
from evcharge.storage import Storage
from evcharge.storage.threads import StorageThread
from evcharge.utils.texts import counted
from evcharge.watch.metrics import Metrics
from evcharge.web.settings import WebSettings

if TYPE_CHECKING:
    from evcharge.net.tls.certificate import CertificateService
    from evcharge.web.health import Watched
    from evcharge.web.operator import Operator
    from evcharge.web.site import WebFactory

ANSWER_S = 4.0
"""How long the requests that were read may take once the server is to end, seconds."""

FLUSH_S = 0.5
"""How long the last replies may then take to go out, seconds."""

COLLECT_AFTER = 20_000
"""
Objects that are made, and not ended by themselves, before the garbage is collected.

Requests leave none. But Twisted leaves four, half a KiB, for each call in a thread.
"""


def no_other_protocol(*_: object) -> None:
    """What a connection is asked whose protocol is known."""


def driver_factory(
    settings: Settings,
    storage_s: float,
    lines: Lines,
    other_protocols: OtherProtocols | None,
    guards: Guards,
    timers: IReactorTime,
) -> DriverFactory:
    """
    What makes drivers' protocols, with `guards` before what answers `lines`.

    :param storage_s: how long the storage may take, seconds.
    :param other_protocols: looks at each connection's first line; None: nobody does.
    """
    factory = DriverFactory(
        guards.dispatch(lines),
        partial(lines.refuse, TOO_LARGE),
        timers,
        settings.max_line,
        guards.addresses.connected,
        other_protocols or no_other_protocol,
        lines.last_resort,
    )
    guards.watch(factory.connections, storage_s)
    return factory


class DriverService(PortService):
    """
    Listens for drivers' programs.

    Stopping: no new connections; the requests that were read are answered and the bytes are out;
    what is not answered within :data:`ANSWER_S` gets `unavailable`; then the connections end.
    """

    name = "drivers"
    finished = given_up = 0
    """Clients who still waited when it was to end: those whose requests were carried out, and those
    who were answered that it is not known."""

    def __init__(
        self,
        ports: Sequence[ListeningPort],
        factories: Sequence[DriverFactory | WebFactory],
        engine: Engine,
        clock: Any,
    ) -> None:
        super().__init__(ports)
        self._factories = factories
        self._engine = engine
        self._clock = clock

    @inlineCallbacks
    def stopService(self) -> Any:
        self.finished = sum(factory.waiting for factory in self._factories)
        yield super().stopService()
        late = [
            self._clock.callLater(ANSWER_S, self._refuse),
            self._clock.callLater(ANSWER_S + FLUSH_S, self._abort),
        ]
        yield gatherResults([factory.drain() for factory in self._factories])
        for call in late:
            if call.active():
                call.cancel()

    def _refuse(self) -> None:
        self.given_up = sum(factory.waiting for factory in self._factories)
        self.finished = max(0, self.finished - self.given_up)
        self._engine.close()
        for factory in self._factories:
            factory.give_up()

    def _abort(self) -> None:
        for factory in self._factories:
            factory.abort()


class Server(InOrder):
    """
    The whole server; drivers go before its engine does.

    :param storage: not open yet.
    :param endpoints: where drivers come: one for each of the `ports` of the settings.
    :param reactor: its timers go by steady seconds.
    :param clock: says what time it is.
    :param terminal: where it is said why the server cannot start.
    :param keeps_time: whether it is to keep the clock right; else somebody else does.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        endpoints: Sequence[IStreamServerEndpoint],
        reactor: Any,
        clock: SteadyClock,
        terminal: Terminal,
        keeps_time: bool = True,
    ) -> None:
        super().__init__()
        metrics = self._metrics = Metrics(REASONS, settings.terms)
        self._settings = settings
        self._reactor = reactor
        self._terminal = terminal
        guards = Guards(settings.limits, reactor, metrics.refused)
        planners = Planners(settings.planning, reactor, metrics)
        self._engine = engine = Engine(
            settings,
            storage,
            reactor,
            clock,
            StorageThread(reactor),
            metrics,
            guards.around,
            keeps_time,
            solve=planners.solve,
        )
        # So long some may wait for whom nothing is wrong.
        patience_s = max(storage.patience_s, planners.patience_s)
        guards.subscribers.listening = lambda: engine.hub.subscribers
        lines = Lines(engine.controller, clock.seconds)
        other_protocols = guards.other_protocols(lines, settings.language)
        factory = driver_factory(settings, patience_s, lines, other_protocols, guards, reactor)

        def layers(
            inner: IProtocolFactory, say: Callable[[Outcome], bytes] | None
        ) -> IProtocolFactory:
            """What a connection goes through before it comes to `inner`, which may be TLS."""
            return guards.behind_proxy(guards.limit_connections(inner, say), len(endpoints))

        certificate = self._tls = self._certificate(settings, reactor, clock.seconds)

        def encrypted(inner: IProtocolFactory, plain_text: Callable[..., bytes]) -> Any:
            from evcharge.net.tls.connection import TLSFactory

            assert certificate is not None
            return TLSFactory(certificate, inner, reactor, guards.on_refused, plain_text)

        factories: list[DriverFactory | WebFactory] = [factory]
        sockets: Sequence[DriverFactory] | None = None
        ways_in = {"port": layers(factory, lines.refuse_connection)}
        if "tls-port" in settings.ports:
            inner = encrypted(factory, other_protocols.unencrypted)
            ways_in["tls-port"] = layers(inner, None)
        if settings.web is not None:
            # Only then, as it is big.
            web, sockets = self._web(settings, settings.web, patience_s, guards, clock)
            factories += [web, *sockets]
            ways_in["web-port"] = layers(web, web.refusal)
            if settings.web.tls_port is not None:
                inner = encrypted(web, web.unencrypted)
                ways_in["web-tls-port"] = layers(inner, None)
        ports = [
            ListeningPort(option, port, listening, ways_in[option])
            for (option, port), listening in zip(settings.ports.items(), endpoints, strict=True)
        ]
        self.watch: Watched | None = None
        """Where somebody may ask: what they are told."""
        if settings.http_port is not None:
            from evcharge.web.health import ServerWatch

            self.watch = ServerWatch(
                metrics,
                engine.perform,
                factories,
                sockets,
                guards,
                engine.hub,
                lambda: bool(self.running),
                reactor,
            )
        self._drivers = DriverService(ports, factories, engine, reactor)
        for part in (engine, planners, guards, self._drivers):
            part.setServiceParent(self)
        if settings.simulation is not None:
            # Only then, as it is big.
            from evcharge.simulator.live import Live

            Live(settings.simulation, engine, reactor, clock.seconds).setServiceParent(self)

    def _certificate(
        self, settings: Settings, reactor: Any, now: Callable[[], float]
    ) -> CertificateService | None:
        """What TLS is spoken with, if it is."""
        if settings.tls is None:
            return None
        # Only then, as it is big.
        from evcharge.net.tls.certificate import CertificateService

        certificate = CertificateService(settings.tls.certificate, settings.tls.key, reactor, now)
        certificate.setServiceParent(self)
        return certificate

    def _web(
        self,
        settings: Settings,
        web: WebSettings,
        storage_s: float,
        guards: Guards,
        clock: SteadyClock,
    ) -> tuple[WebFactory, Sequence[DriverFactory]]:
        """What answers at the web ports, and whose connections speak WebSocket there."""
        from evcharge.web.request import WebContext
        from evcharge.web.site import WebFactory

        engine, reactor = self._engine, self._reactor
        lines = {
            language: Lines(controller, clock.seconds)
            for language, controller in engine.controllers.items()
        }
        sockets = {
            language: driver_factory(settings, storage_s, each, None, guards, reactor)
            for language, each in lines.items()
        }
        context = WebContext(
            controllers=engine.controllers,
            lines=lines,
            drivers=sockets,
            perform=engine.perform,
            catalogue=engine.storage.catalogue,
            now=clock.seconds,
            figures=engine.figures,
            guards=guards,
            metrics=self._metrics,
            web=web,
            language=settings.language,
            max_line=settings.max_line,
            time_scale=settings.terms.time_scale,
            time_zone=settings.terms.time_zone,
            clock=reactor,
        )
        return WebFactory(context, storage_s), [*sockets.values()]

    def operator(self) -> Operator | None:
        """Who answers operators, where they may ask."""
        settings = self._settings
        if settings.operator_token_file is None:
            return None
        from evcharge.web.operator import Operator

        return Operator(
            settings.operator_token_file,
            self._engine.context,
            settings.language,
            self._metrics.operator_requests,
        )

    def privilegedStartService(self) -> None:
        with self._terminal.or_exit():
            super().privilegedStartService()

    def startService(self) -> None:
        with self._terminal.or_exit():
            super().startService()
        # What was imported and opened stays: no collection need ever look at it again. And as
        # requests leave next to no cycles behind, collecting them can wait.
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 100)
        summary = self._engine.summary
        self.log.info(
            "evcharge {version} listens on {addresses}; data in {storage}: "
            "{stations} stations, {users} users",
            version=__version__,
            addresses=self._drivers.addresses,
            storage=self._settings.storage.name,
            stations=summary.stations,
            users=summary.users,
            at_terminal=self._drivers.at_terminal(
                self._settings.storage.name, summary.stations, summary.users
            ),
        )
        self._drivers.say_page()

    @inlineCallbacks
    def stopService(self) -> Any:
        yield super().stopService()
        finished, given_up = self._drivers.finished, self._drivers.given_up
        said = "stopped; "
        if finished:
            said += f"requests of {counted(finished, 'client')} finished, "
        if given_up:
            said += f"those of {counted(given_up, 'client')} answered with 503: done, or not"
        else:
            said += "nothing lost"
        self.log.info("{said}", said=said, at_terminal=said)

    def read_again(self) -> None:
        """Read the TLS certificate again, if there is one."""
        if self._tls is not None:
            self._tls.read_again()
