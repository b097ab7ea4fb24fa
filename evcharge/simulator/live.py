"""A scenario in a server's own process: its drivers come beside those from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import (
    Deferred,
    TimeoutError,
    inlineCallbacks,
    maybeDeferred,
    succeed,
)
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.datasets.files import TARIFFS, shipped
from evcharge.datasets.tariffs import parse_tariffs
from evcharge.models.network import Network, StationRecord
from evcharge.models.station import Station, zone_of
from evcharge.models.stations import Stations
from evcharge.process.engine import Engine
from evcharge.process.settings import SimulationSettings
from evcharge.push.simulation import Course, Simulation
from evcharge.rules.journey import ListStations
from evcharge.rules.network import ChangeNetwork, NetworkChange
from evcharge.simulator import networks
from evcharge.simulator.acts import Operators, begin_with
from evcharge.simulator.arrivals import COOL_DOWN_S
from evcharge.simulator.crowd import Actor, Crowd
from evcharge.simulator.doing import Doing
from evcharge.simulator.drivers import Sleep
from evcharge.simulator.inside import Inside
from evcharge.simulator.known import Known
from evcharge.simulator.networks import Sources
from evcharge.simulator.pace import Arrivals, Lateness, Pace
from evcharge.simulator.replication import LOST, SERVED
from evcharge.simulator.scenario import Scenario
from evcharge.storage import Eventual
from evcharge.utils.texts import counted
from evcharge.utils.time_utils import HOUR_S

OVER_S = 600.0
"""How often it is looked then whether they have left, simulated seconds."""

RENEW_S = HOUR_S
"""How often drivers learn anew which stations there are, simulated seconds."""

LEAVE_S = 3.0
"""How long drivers and operators may take to leave when it is to end, seconds."""


class Shown:
    """The cars of drivers, as listeners see them."""

    def __init__(self, simulation: Simulation, now: Callable[[], float]) -> None:
        self._simulation = simulation
        self._now = now
        self._cars: dict[Actor, tuple[str | None, Doing]] = {}
        """The id of each, if it is shown, and what it does."""

    def moved(self, actor: Actor, sleep: Sleep | None) -> None:
        """A driver begins to do something, or has ended."""
        key, before = self._cars.get(actor, (None, None))
        doing = actor.diary.doing
        if sleep is None:
            self._cars.pop(actor, None)
            if key is not None:
                self._simulation.gone(key)
        elif doing is not None and doing is not before:
            now = self._now()
            course = Course(
                doing.state,
                doing.place,
                doing.to_place,
                now,
                # Who waits without end stands there all the same.
                now if doing.percent == doing.to_percent else sleep.until,
                doing.percent,
                doing.to_percent,
            )
            if key is None:
                key = self._simulation.come(course)
            else:
                self._simulation.moved(key, course)
            self._cars[actor] = (key, doing)


class Live(Service):
    """
    The simulation: it starts when the server listens, and is the first to stop.

    What fails in it is in the log, and the server goes on.

    :param reactor: whose timers it goes by.
    :param now: the server's present, seconds since the epoch.
    """

    name = "simulation"
    log = Logger()

    def __init__(
        self,
        settings: SimulationSettings,
        engine: Engine,
        reactor: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._scenario = settings.scenario
        self._engine = engine
        self._reactor = reactor
        self._now = now
        self._inside = Inside(engine, reactor)
        self.crowd: Crowd | None = None
        """The drivers; None: there is no simulation now."""
        self._timers: dict[Callable[[], object], IDelayedCall] = {}
        """What comes at simulated instants, for the whole of it."""

    def startService(self) -> None:
        super().startService()
        self._begin().addErrback(self._failed)

    def stopService(self) -> Any:
        super().stopService()
        return self._end()

    def _failed(self, failure: Failure) -> None:
        self.log.failure("The simulation cannot go on", failure=failure)

    # How it begins

    @inlineCallbacks
    def _begin(self) -> Any:
        settings, scenario, reactor = self._settings, self._scenario, self._reactor
        self._pace = pace = Pace(reactor, scenario.begin, settings.speed, self._now)
        is_own, stations = yield maybeDeferred(self._install)
        started = yield self._inside.look_around()
        if not self.running:
            return
        problem = _why_not(scenario, started)
        if problem is not None:
            self.log.error("Nothing is simulated: {problem}", problem=problem)
            return
        places = [(each.latitude, each.longitude) for each in stations]
        zones = scenario.demand.zones if is_own else scenario.zones_at(places)
        self._simulation = Simulation(reactor, pace.seconds, pace.speed, scenario.study.seed)
        self._shown = Shown(self._simulation, pace.seconds)
        known = Known.of(started)
        self.crowd = Crowd(pace, scenario.driver, known, self._inside, self._moved)
        self._operators = Operators(
            scenario,
            0,
            pace,
            self._engine.perform,
            self._stations,
            self._now,
            self._engine.context.terms,
            scenario.network.changes if is_own else (),
        )
        self._arrivals = Arrivals(
            pace, scenario, zones, list(known.cars), self.crowd.come, self._nobody_comes,
            self._missed, settings.for_ever,
        )  # fmt: skip
        self._say_beginning()
        self._engine.hub.simulate(self._simulation)
        self._inside.start()
        self._operators.begin()
        self._arrivals.start()
        pace.tell(self._say_figures)
        self._call_after(RENEW_S, self._renew)

    def _install(self) -> Eventual[tuple[bool, Sequence[Station]]]:
        """
        Give a new storage the scenario's network.

        :return: whether it has that now, and its stations.
        """
        loaded = networks.load(self._scenario.sources)
        begun = begin_with(self._scenario, loaded, self._pace.to_real)
        records = {key: StationRecord(each, True, {}) for key, each in begun.stations.items()}
        tariffs = [tariff.body for tariff in begun.tariffs.values()]
        wanted = Network(begun.car_models, records, tariffs)
        has_users = self._engine.summary.users > 0

        def is_new(network: Network) -> bool:
            return not has_users and _is_shipped(network)

        def become(network: Network) -> Network:
            return wanted if is_new(network) else network

        def installed(change: NetworkChange) -> tuple[bool, Sequence[Station]]:
            before = change.before
            is_own = is_new(before) or _same(before, wanted)
            there = [record.station for record in change.after.stations.values()]
            if not is_own:
                self._say_left_out(len(there))
            return is_own, there

        done = self._engine.perform(ChangeNetwork(become, self._now()))
        return done.addCallback(installed) if isinstance(done, Deferred) else installed(done)

    def _stations(self) -> Eventual[Iterable[Station]]:
        found = self._engine.perform(ListStations())
        return found.addCallback(_of) if isinstance(found, Deferred) else _of(found)

    # While it goes on

    def _call_after(self, seconds: float, f: Callable[[], object]) -> None:
        self._timers[f] = self._pace.call_at(self._pace.seconds() + seconds, f)

    def _moved(self, actor: Actor, sleep: Sleep | None) -> None:
        self._shown.moved(actor, sleep)
        diary = actor.diary
        if sleep is None and diary.finding is not None:
            self.log.error(
                "A simulated driver ({driver}) got a reply that is in no script: {finding}",
                driver=diary.person.identity,
                finding=diary.finding,
            )

    def _renew(self) -> None:
        self._call_after(RENEW_S, self._renew)
        self._inside.look_around().addCallback(self._renewed).addErrback(self._failed)

    def _renewed(self, started: Mapping[str, Any]) -> None:
        if self.crowd is not None and _why_not(self._scenario, started) is None:
            self.crowd.known = Known.of(started)

    def _missed(self, hours: int) -> None:
        self.log.warn(
            "Nobody came to the simulation for {hours}: this machine slept, or is too slow for "
            "{speed:g} x",
            hours=counted(hours, "simulated hour"),
            speed=self._pace.speed,
        )

    # How it ends

    def _nobody_comes(self) -> None:
        self._ends_at = self._pace.seconds() + COOL_DOWN_S
        self._look_whether_over()

    def _look_whether_over(self) -> None:
        assert self.crowd is not None
        if self.crowd.actors and self._pace.seconds() < self._ends_at:
            self._call_after(OVER_S, self._look_whether_over)
            return
        crowd = self.crowd
        self._end().addCallback(lambda _: self._say_end(crowd)).addErrback(self._failed)

    def _end(self) -> Deferred[Any]:
        """Have all drivers leave; fires when they have."""
        crowd, self.crowd = self.crowd, None
        if crowd is None:
            return succeed(None)
        self._arrivals.stop()
        self._pace.stop()
        for call in self._timers.values():
            if call.active():
                call.cancel()
        left: Deferred[Any] = Deferred()
        crowd.leave(lambda: left.callback(None))
        left.addCallback(lambda _: self._operators.end())
        left.addTimeout(LEAVE_S, self._reactor)
        return left.addErrback(self._not_in_time).addCallback(self._left)

    def _not_in_time(self, failure: Failure) -> None:
        failure.trap(TimeoutError)
        self.log.warn(
            "Not all simulated drivers could leave in time: what they hold ends by itself"
        )

    def _left(self, _: object) -> None:
        self._simulation.end()
        self._inside.stop()

    # What is said of it

    def _local(self, at: float) -> str:
        zone = zone_of(self._scenario.time_zone)
        return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"

    def _say_beginning(self) -> None:
        scenario, settings = self._scenario, self._settings
        until = "for ever" if settings.for_ever else f"until {self._local(scenario.end)}"
        self.log.info(
            "Simulates {name} at {speed:g} x real time: {drivers:g} drivers a day from {begin} on, "
            "{until} ({zone}), seed {seed}",
            name=settings.name,
            speed=settings.speed,
            drivers=scenario.demand.drivers_per_day,
            begin=self._local(scenario.begin),
            until=until,
            zone=scenario.time_zone,
            seed=scenario.study.seed,
        )

    def _say_left_out(self, stations: int) -> None:
        network = self._scenario.network
        left_out = ["the scenario's network"]
        left_out += ["its changes"] if network.changes else []
        left_out += ["its prices"] if network.tariffs else []
        self.log.warn(
            "The storage keeps the {stations} that it has already; left out of the simulation "
            "{left_out}. A new storage gets the scenario's network",
            stations=counted(stations, "station"),
            left_out=" and ".join(left_out),
        )

    def _say_figures(self, lateness: Lateness) -> None:
        assert self.crowd is not None
        self.log.info(
            "Simulation, {when}: {there} there; {figures}; late by {median} s of simulated "
            "time, 99 of 100 by at most {p99} s",
            when=self._local(self._pace.seconds()),
            there=counted(len(self.crowd.actors), "driver"),
            figures=_figures(self.crowd),
            median=f"{lateness.median_s:.2f}",
            p99=f"{lateness.p99_s:.2f}",
        )
        if lateness.is_too_much:
            self.log.warn(
                "{speed:g} x is too fast for this machine: take a lower --speed",
                speed=self._pace.speed,
            )

    def _say_end(self, crowd: Crowd) -> None:
        self.log.info(
            "The simulation of {name} is over: {figures}. The server goes on",
            name=self._settings.name,
            figures=_figures(crowd),
        )


def _of(stations: Stations) -> Iterable[Station]:
    return [state.station for state in stations]


def _figures(crowd: Crowd) -> str:
    ended = crowd.outcomes
    served = sum(ended[outcome] for outcome in SERVED)
    lost = sum(ended[outcome] for outcome in LOST)
    others = ended.total() - served - lost
    return f"{crowd.born} came: {served} served, {lost} lost, {others} ended otherwise"


def _same(one: Network, other: Network) -> bool:
    return (
        one.car_models == other.car_models
        and one.stations == other.stations
        and list(one.tariffs) == list(other.tariffs)
    )


def _is_shipped(network: Network) -> bool:
    """Whether it is the one that a new storage gets, and nobody has changed it."""
    loaded = networks.load(Sources())
    records = {key: StationRecord(each, True, {}) for key, each in loaded.stations.items()}
    tariffs = parse_tariffs(shipped(TARIFFS), TARIFFS).tariffs.values()
    return _same(network, Network(loaded.car_models, records, [each.body for each in tariffs]))


def _why_not(scenario: Scenario, started: Mapping[str, Any]) -> str | None:
    """Why a scenario cannot go at a network of which START says this; None: it can."""
    if "reason" in started:
        return f"START says {started['reason']}"
    if started.get("truncated"):
        most, there = len(started["station_models"]), started["total_stations"]
        return f"there are {there} stations, and simulated drivers know {most} at most"
    if not started["station_models"]:
        return "there are no stations"
    unknown = [car for car, _ in scenario.fleet or () if car not in started["car_models"]]
    if unknown:
        return f"[fleet] names {', '.join(unknown)}, which the storage's car models do not have"
    return None
