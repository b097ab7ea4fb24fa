"""What `twistd evcharge` calls: options in, a service out."""

from __future__ import annotations

from twisted.application.service import Service

from evcharge.net.ports import endpoint
from evcharge.process.clock import SteadyClock, keep_steady
from evcharge.process.logs import ThrottleService
from evcharge.process.options import Options as Options
from evcharge.process.server import Server
from evcharge.process.terminal import Terminal
from evcharge.storage.location import without_password
from evcharge.utils.process_title import hide_passwords


def makeService(options: Options) -> Service:
    """The server that `options` ask for."""
    from twisted.internet import reactor

    settings, log = options.settings, options.log
    hide_passwords(without_password)
    terminal = Terminal(log_is_seen=log is None or log.is_seen)
    if options.parent is not None and not options.parent.get("nodaemon", True):
        terminal.keep()
        reactor.callWhenRunning(terminal.let_go)
    clock = SteadyClock()
    keep_steady(reactor, clock.steady)
    endpoints = [endpoint(reactor, port) for port in settings.ports.values()]
    if settings.workers > 1:
        # Only then, as most need none of it.
        from evcharge.process.workers.parent import Workers

        server: Server | Workers = Workers(settings, endpoints, reactor, clock, terminal)
    else:
        storage = settings.storage.storage(terms=settings.terms)
        server = Server(settings, storage, endpoints, reactor, clock, terminal)
    if settings.http_port is not None:
        from evcharge.web.health import HealthService

        assert server.watch is not None
        port, operator = settings.http_port, server.operator()
        HealthService(port, server.watch, reactor, operator).first_of(server)
    if log is not None:
        ThrottleService(log.throttle, reactor).setServiceParent(server)
    return server
