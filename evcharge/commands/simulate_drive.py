"""`evcharge simulate drive`: the drivers of a scenario at a running server, over TCP."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Mapping, Sized
from typing import Any

import attrs
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import LoopingCall

from evcharge.commands import FAILED, INTERRUPTED, NO_REPLY, USAGE, Exit
from evcharge.commands.endpoints import endpoint_of
from evcharge.commands.tables import Column, clean, table, width
from evcharge.simulator.arrivals import COOL_DOWN_S
from evcharge.simulator.crowd import Crowd
from evcharge.simulator.drivers import Said
from evcharge.simulator.known import Known
from evcharge.simulator.over_tcp import Connections
from evcharge.simulator.pace import MOST_LATE_S, Arrivals, Lateness, Pace
from evcharge.simulator.replication import OUTCOMES
from evcharge.simulator.scenario import Scenario
from evcharge.simulator.texts import called
from evcharge.utils.texts import counted
from evcharge.utils.time_utils import HOUR_S, iso_utc

LOOK_S = 0.2
"""How often it is looked whether it is over, and what the server has refused."""

AGAIN_S = 300.0
"""How often START is asked again: a server's network changes while it runs."""

SHOWN_FINDINGS = 10

LEFT_OUT = (
    "left out: what operators do (faults, stations, prices), as no driver may tell a server; cars "
    "on the map; more than one replication"
)
RATES = "--rate-per-address, --rate-per-connection"
LIMITS: Mapping[str, str] = {
    "connections": "its --max-connections-per-address and --max-connections, or fewer here with "
    "--connections",
    "429 LOGIN": f"its --max-pending-logins, {RATES}",
    "503 SUBSCRIBE": "its --max-subscribers",
}
"""What to look at where the server refuses something, by what and with which code."""
OTHER_LIMITS: Mapping[str, str] = {
    "429": f"its {RATES}",
    "503": "the server's log: its storage cannot keep up, or it is shutting down",
}
"""Likewise, by the code alone."""


def run(options: argparse.Namespace, scenario: Scenario) -> None:
    """
    Have the drivers of a scenario use a server.

    :raise Exit: it cannot be; or there were findings, or Ctrl-C, and all has been told.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    if options.for_ever and options.hours is not None:
        raise Exit("either --hours or --for-ever", USAGE)
    show = Show(reactor, options, scenario, endpoint_of(reactor, options))
    before = {
        sig: signal.signal(sig, lambda *_: reactor.callFromThread(show.interrupt))
        for sig in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        reactor.callWhenRunning(show.start)
        reactor.run(installSignalHandlers=False)
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)
    if show.end is not None:
        raise show.end


class Show:
    """
    The drivers at the server, from the first connection to the last words.

    :param endpoint: where the server is.
    """

    crowd: Crowd
    pace: Pace
    arrivals: Arrivals

    def __init__(
        self,
        reactor: Any,
        options: argparse.Namespace,
        scenario: Scenario,
        endpoint: IStreamClientEndpoint,
    ) -> None:
        self.end: Exit | None = None
        """How the command ends; None: well."""
        self._reactor = reactor
        self._options = options
        self._scenario = scenario
        self._connections = Connections(reactor, endpoint, options.connections, self._warn)
        self._look = LoopingCall(self._look_around)
        self._plans = True
        """Whether the server plans trips, if anybody asks it to."""
        self._goes = False
        """Whether drivers go about."""
        self._is_over = False
        """Whether nobody comes any more."""
        self._interrupted = False
        self._told: set[str] = set()
        """Findings, and what the server refuses, that the person has been told of."""
        self._worst = Lateness(0, 0.0, 0.0)
        """How late things were in the worst minute."""

    def start(self) -> None:
        """Begin."""
        self._begin().addErrback(self._fail)

    def _fail(self, failure: Any) -> None:
        if failure.check(Exit) is None:
            failure.printTraceback()
        self._finish(failure.value if failure.check(Exit) else Exit("it could not go on"))

    @inlineCallbacks
    def _begin(self) -> Any:
        try:
            yield self._connections.open_first()
        except Exception as error:
            raise self._nobody(error) from None
        started = yield self._asked("START")
        heard = yield self._asked("SUBSCRIBE", topics=[])
        if started is None or heard is None:
            raise self._no_reply()
        if started.code != 200:
            raise Exit(f"{self._server}: START: {started.code} {clean(str(started.reason))}")
        self._connections.listening.is_possible = heard.reason != "unknown_type"
        if any(zone.trip_to for zone in self._scenario.demand.zones):
            planned = yield self._asked("PLAN")
            if planned is None:
                raise self._no_reply()
            self._plans = planned.reason != "unknown_type"
        try:
            self._check(started.data)
            self._drive(started.data)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            # A server of another kind may say anything.
            why = f"{type(error).__name__} {error}"
            raise Exit(f"{self._server}: START: its reply is not as expected: {why}") from None

    @property
    def _server(self) -> str:
        return str(self._options.server)

    def _asked(self, kind: str, **data: Any) -> Deferred[Said | None]:
        answered: Deferred[Said | None] = Deferred()
        self._connections.ask(kind, data, answered.callback)
        return answered

    def _nobody(self, error: Exception) -> Exit:
        if isinstance(error, ConnectionRefusedError):
            why = "no server there: start one with: make run"
        elif isinstance(error, DNSLookupError):
            why = "the name is not known"
        else:
            why = str(error) or type(error).__name__
        return Exit(f"{self._server}: {why}", NO_REPLY)

    def _no_reply(self) -> Exit:
        if self._connections.refusals["connections"]:
            why = f"it takes no more connections: {LIMITS['connections']}"
        elif self._connections.is_foreign:
            why = "what answers there is no evcharge server: check the port, and tcp: or tls:"
        else:
            why = f"no reply, the connection was closed: {self._connections.why_lost}"
        return Exit(f"{self._server}: {why}", NO_REPLY)

    def _check(self, told: Mapping[str, Any]) -> None:
        """Whether this scenario can be at this server, at this speed. Exit: it cannot."""
        speed, scale = self._options.speed, told.get("time_scale")
        if scale is None:
            if speed != 1.0:
                self._warn(
                    f"the server does not tell its --time-scale: --speed {speed:g} is right "
                    f"only where that is {speed:g}"
                )
        elif abs(scale - speed) > 1e-9 * speed:
            raise Exit(
                f"--speed is {speed:g}, but the server's --time-scale is {scale:g}: they have to "
                "be the same",
                USAGE,
            )
        cars, stations = told["car_models"], told["station_models"]
        if not cars or not stations:
            raise Exit(f"{self._server}: has {_there(stations, cars)}")
        missing = [name for name, _ in self._scenario.fleet or () if name not in cars]
        if missing:
            names = ", ".join(missing)
            raise Exit(f"{self._options.scenario}: fleet: the server has no {names}")

    def _drive(self, told: Mapping[str, Any]) -> None:
        """Have drivers come."""
        options, scenario = self._options, self._scenario
        speed = options.speed
        cars, stations = told["car_models"], told["station_models"]
        how = "" if self._connections.listening.is_possible else ", of an earlier version"
        title = f"{called(scenario.title, 'en')}: " if scenario.title else ""
        self._say(
            f"{title}{_there(stations, cars)} at {self._server}{how}, "
            f"{speed:g} times as fast as real time"
        )
        if told.get("truncated"):
            self._say(f"of {told['total_stations']} stations these alone are known to drivers")
        self._say(LEFT_OUT)
        ways = scenario.driver
        if not self._connections.listening.is_possible:
            self._say("its drivers know START, LOGIN, NAVIGATION, SELECTION_STATION and PAYMENT")
            ways = attrs.evolve(ways, old_app=1.0)
        if not self._plans:
            self._say(
                "it plans no trips: who goes to another city charges at the nearest station on the "
                "way"
            )
        self._say("Ctrl-C: nobody comes any more, all give up what they hold; twice: at once")
        self.pace = Pace(
            self._reactor, scenario.begin, speed, wall=lambda: self._connections.server_now
        )
        self.crowd = Crowd(self.pace, ways, Known.of(told), self._connections)
        places = [(each["latitude"], each["longitude"]) for each in stations.values()]
        self.arrivals = Arrivals(
            self.pace,
            scenario,
            scenario.zones_at(places),
            list(cars),
            self.crowd.come,
            self._nobody_comes,
            self._missed,
            options.for_ever,
        )
        if options.hours is not None:
            self.pace.call_at(scenario.begin + options.hours * HOUR_S, self._nobody_comes)
        self._goes = True
        self._connections.open_others()
        self.arrivals.start()
        self.pace.tell(self._tell_minute)
        self._look.clock = self._reactor
        self._look.start(LOOK_S, now=False)
        self._connections.later(AGAIN_S, self._ask_again)

    def _missed(self, hours: int) -> None:
        self._warn(f"left out {counted(hours, 'hour')}: this machine slept, or is too slow")

    def _ask_again(self) -> None:
        """Have those who come from now on know of the stations that there are now."""

        def told(said: Said | None) -> None:
            if said is not None and said.code == 200:
                self.crowd.known = Known.of(said.data)

        self._connections.ask("START", {}, told)
        self._connections.later(AGAIN_S, self._ask_again)

    # What is told

    def _say(self, text: str) -> None:
        self._print(text, sys.stdout)

    def _warn(self, text: str) -> None:
        self._print(f"evcharge: {text}", sys.stderr)

    def _print(self, text: str, to: Any) -> None:
        try:
            print(text, file=to, flush=True)
        except (OSError, Exit):
            # Nobody reads: that is no reason to leave something held.
            if not self._interrupted:
                self.interrupt()

    def _tell_minute(self, late: Lateness) -> None:
        self._keep(late)
        crowd = self.crowd
        ended = ", ".join(f"{crowd.outcomes[o]} {o}" for o in OUTCOMES if crowd.outcomes[o])
        self._say(
            f"simulated {iso_utc(self.pace.seconds())}: {crowd.born} came, "
            f"{len(crowd.actors)} still there; {ended or 'none has ended'}; {_late(late)}"
        )
        if late.is_too_much:
            self._warn(
                f"over {MOST_LATE_S:g} s late (p99): --speed {self._options.speed:g} is too high "
                "for this machine, or its server"
            )

    def _keep(self, late: Lateness) -> None:
        if late.count and late.p99_s >= self._worst.p99_s:
            self._worst = late

    def _look_around(self) -> None:
        for finding in self.crowd.findings:
            if finding not in self._told:
                self._told.add(finding)
                self._warn(f"a finding: {clean(finding)}")
        for what in self._connections.refusals:
            if what not in self._told:
                self._told.add(what)
                self._warn(f"the server refuses {_refused(what)}; all come from this address")
        if self._is_over and not self.crowd.actors and not self._interrupted:
            self._is_over = False
            self.crowd.leave(self._end)

    def summary(self) -> Iterator[str]:
        """How it went, in lines."""
        crowd, connections = self.crowd, self._connections
        outcomes = [each for each in OUTCOMES if crowd.outcomes[each]]
        counts = [crowd.outcomes[each] for each in outcomes]
        names, numbers = [*outcomes, "born"], [*counts, crowd.born]
        shares = [f"{100 * each / max(1, crowd.born):.1f} %" for each in numbers]
        columns = [
            Column("outcome", names),
            Column("drivers", numbers, figures=True),
            Column("share", shares, figures=True),
        ]
        yield from table(columns, width())
        yield f"lateness, in the worst minute: {_late(self._worst)}"
        for what, times in connections.refusals.items():
            yield f"refused by the server {counted(times, 'time')}: {_refused(what)}"
        if connections.losses:
            yield f"connections lost: {connections.losses}"
        for finding, times in crowd.findings.most_common(SHOWN_FINDINGS):
            yield f"finding, {counted(times, 'time')}: {clean(finding)}"
        if len(crowd.findings) > SHOWN_FINDINGS:
            yield f"and {counted(len(crowd.findings) - SHOWN_FINDINGS, 'other finding')}"

    # The end

    def _nobody_comes(self) -> None:
        if self._is_over or self._interrupted:
            return
        self._is_over = True
        self.arrivals.stop()
        self._say(f"nobody comes any more; {len(self.crowd.actors)} still there")
        self.pace.call_at(self.pace.seconds() + COOL_DOWN_S, self._cool)

    def _cool(self) -> None:
        if self._is_over and not self._interrupted:
            self._is_over = False
            self.crowd.leave(self._end)

    def interrupt(self) -> None:
        """Ctrl-C: have all leave; the second time, end."""
        ends_now = self._interrupted or not self._goes
        self._interrupted = True
        if ends_now:
            self._finish(Exit("ended at once; what was held is still held", INTERRUPTED))
            return
        self._warn(f"{counted(len(self.crowd.actors), 'driver')} to leave; again: at once")
        self.arrivals.stop()
        self.crowd.leave(self._end)

    def _end(self) -> None:
        self._keep(self.pace.lateness())
        for line in self.summary():
            self._say(line)
        if self._interrupted:
            self._finish(Exit("interrupted", INTERRUPTED))
        elif self.crowd.findings:
            self._finish(Exit(counted(self.crowd.findings.total(), "finding"), FAILED))
        else:
            self._finish(None)

    def _finish(self, end: Exit | None) -> None:
        self.end = end
        self._goes = False
        if self._look.running:
            self._look.stop()
        self._connections.close()
        if self._reactor.running:
            self._reactor.stop()


def _there(stations: Sized, cars: Sized) -> str:
    return f"{counted(len(stations), 'station')} and {counted(len(cars), 'car')}"


def _late(late: Lateness) -> str:
    return f"late by {late.median_s:.2f} s (median), {late.p99_s:.2f} s (p99), simulated"


def _refused(what: str) -> str:
    hint = LIMITS.get(what) or OTHER_LIMITS.get(what.split()[0], "the server's log")
    return f"{what}: look at {hint}"
