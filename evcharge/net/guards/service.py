"""The guards that the limits ask for, put together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import DeferredLock, inlineCallbacks
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from evcharge.controller import Guard
from evcharge.handlers import MESSAGES
from evcharge.net.guards import Refusals
from evcharge.net.guards.clients import Addresses
from evcharge.net.guards.connection_limit import ConnectionLimit
from evcharge.net.guards.descriptors import make_room
from evcharge.net.guards.limits import Limits
from evcharge.net.guards.logins import PendingLogins
from evcharge.net.guards.other_protocols import UNENCRYPTED, OtherProtocols
from evcharge.net.guards.plans import PlanLimit
from evcharge.net.guards.rates import Dispatch, RateLimit, Rates
from evcharge.net.guards.subscribers import SubscriberLimit
from evcharge.net.guards.timeouts import Timed, Timeouts, of_http, of_lines
from evcharge.net.lines import Lines
from evcharge.net.proxy import MOST_PENDING, ProxyFactory
from evcharge.outcomes import INVALID_JSON, RATE_LIMITED, Outcome

TIDY_S = 10.0
"""How often what has come to nothing is forgotten, seconds."""


class Guards(Service):
    """
    Makes the guards, and has them look around now and then.

    :param counted: called with the reason, one of :data:`evcharge.net.guards.REASONS`, for each
        client refused.
    """

    name = "guards"
    log = Logger()

    def __init__(
        self,
        limits: Limits,
        clock: IReactorTime,
        counted: Callable[[str], None] | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self.on_refused = Refusals(counted)
        self.addresses = Addresses(clock.seconds)
        most = limits.connections
        if limits.proxy_protocol:
            # Those whose header has not come yet have descriptors too.
            most += MOST_PENDING
        room = make_room(most)
        self.most_headless = min(MOST_PENDING, room // 10) if limits.proxy_protocol else 0
        """Connections that may be waiting for their PROXY header at a time, over all ports."""
        self.most_connections = min(limits.connections, room - self.most_headless)
        self._logins = PendingLogins(
            self.addresses,
            limits.pending_logins,
            limits.user_ttl_s,
            clock.seconds,
            self.on_refused,
        )
        per_connection, per_address = limits.rate_per_connection, limits.rate_per_address
        self.rates: Rates | None = None
        """Of requests, over all ports; None: there may be any number."""
        if per_connection is not None or per_address is not None:
            self.rates = Rates(clock.seconds, per_connection, per_address, self.on_refused)
        self.subscribers = SubscriberLimit(limits.subscribers, self.on_refused)
        guards = {
            "login": self._logins.login,
            "claim": self._logins.claim,
            "cancel": self._logins.cancel,
            "subscribe": self.subscribers.subscribe,
            "plan": PlanLimit(limits.plan_cost, self.rates).plan,
        }
        self.around: Mapping[str, Guard] = {
            message.TYPE: guards[message.GUARD] for message in MESSAGES if message.GUARD is not None
        }
        """The guards that stand around the handlers, by message type."""
        self._timeouts: list[Timeouts] = []
        self._loops: list[LoopingCall] = []
        self._rounds = DeferredLock()
        """One round at a time: two would share the turns."""

    def dispatch(self, lines: Lines) -> Dispatch:
        """The dispatch of `lines`, at no higher rate than is allowed."""
        if self.rates is None:
            return lines.dispatch
        return RateLimit(lines.dispatch, partial(lines.refuse, RATE_LIMITED), self.rates)

    def other_protocols(self, lines: Lines, language: str) -> OtherProtocols:
        """What looks at the first line of each connection; `language` is that of its texts."""
        unencrypted = partial(lines.refuse, INVALID_JSON, None, {"detail": UNENCRYPTED})
        return OtherProtocols(lines.dispatch, unencrypted, language, self.on_refused)

    def limit_connections(
        self, inner: IProtocolFactory, say: Callable[[Outcome], bytes] | None
    ) -> ConnectionLimit:
        """
        What lets so many connections come to `inner`.

        :param say: makes all that those are sent who are refused; None where they could not read
            it.
        """
        return ConnectionLimit(
            inner,
            self.addresses,
            self._clock,
            say,
            self.most_connections,
            self._limits.connections_per_address,
            self.on_refused,
        )

    def behind_proxy(self, inner: IProtocolFactory, ports: int) -> IProtocolFactory:
        """
        What takes connections to `inner` from a proxy, where there is one.

        :param ports: how many there are to share what may be waiting.
        """
        if not self._limits.proxy_protocol:
            return inner
        return ProxyFactory(
            inner, self._clock, self.on_refused, max(1, self.most_headless // ports)
        )

    def watch(self, connections: Collection[Timed], storage_s: float, http: bool = False) -> None:
        """
        Have `connections`, those open at any time, end when they take too long.

        :param storage_s: how long the storage may take, seconds.
        :param http: whether it is HTTP that they speak.
        """
        limits = (of_http if http else of_lines)(self._limits, storage_s)
        self._timeouts.append(Timeouts(connections, self._clock, limits, self.on_refused))

    def startService(self) -> None:
        super().startService()
        if self.most_connections < self._limits.connections:
            self.log.warn(
                "There are file descriptors for {most} connections, not for the {asked} of "
                "--max-connections: raise the process's limit (ulimit -n, LimitNOFILE)",
                most=self.most_connections,
                asked=self._limits.connections,
            )
        for timeouts in self._timeouts:
            self._repeat(timeouts.look, timeouts.look_s)
        self._repeat(self.addresses.tidy, TIDY_S)
        self._repeat(self._logins.tidy, TIDY_S)

    def stopService(self) -> None:
        super().stopService()
        while self._loops:
            self._loops.pop().stop()

    def _repeat(self, work: Callable[[], bool], interval_s: float) -> None:
        """Have `work` done now and then, and again in the next turn while it says there is more."""
        loop = LoopingCall(self._rounds.run, self._round, work)
        loop.clock = self._clock
        loop.start(interval_s, now=False)
        self._loops.append(loop)

    @inlineCallbacks
    def _round(self, work: Callable[[], bool]) -> Any:
        # A failure would end the loop for good.
        try:
            while self.running and work():
                # The others have their turn in between.
                yield deferLater(self._clock, 0)
        except Exception:
            self.log.failure("The guards could not look around")
