"""
What operators do in a scenario: EVSEs that are added, that break and are mended, and prices.

All of it is operations, or what OCPI says of tariffs: there is no rule of its own in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.datasets.evses import check_evses
from evcharge.models.evse import IN_SERVICE, Evse, EvseKind, kind_of, natural
from evcharge.models.network import Network
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff
from evcharge.models.tariffs.parsing import parse_tariff
from evcharge.models.terms import Terms
from evcharge.rules.network import ChangeNetwork
from evcharge.rules.operation import Operation
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.sweep import HandOn
from evcharge.simulator.distributions import Distribution
from evcharge.simulator.networks import LoadedNetwork
from evcharge.simulator.parts import Change, TariffTime
from evcharge.simulator.scenario import Scenario
from evcharge.simulator.streams import to_the_ms, uniforms
from evcharge.storage import Eventual, Perform
from evcharge.utils.time_utils import DAY_S, HOUR_S, iso_utc

BROKEN = "OUTOFORDER"


class Timers(Protocol):
    """Calls at instants, seconds since the epoch, as they are in a scenario."""

    def seconds(self) -> float:
        """The present."""

    def call_at(self, at: float, f: Callable[..., object], /, *args: Any) -> Any:
        """Have something called at an instant."""


def begin_with(
    scenario: Scenario, loaded: LoadedNetwork, real: Callable[[float], float] = lambda at: at
) -> LoadedNetwork:
    """
    The network with what is other in a scenario from its start on, and with all its prices.

    :param real: makes an instant of the server's clock of one of the scenario's.
    """
    stations = dict(loaded.stations)
    tariffs = dict(loaded.tariffs)
    for change in scenario.network.changes:
        if change.at is None:
            stations[change.station_id] = changed(stations[change.station_id], change)
    # Of two for one time the later one in the scenario goes first.
    for number, time in enumerate(scenario.network.tariffs):
        tariff = _dated(tariffs[time.tariff_id], time, number, scenario, real)
        tariffs[tariff.tariff_id] = tariff
        station = stations[time.station_id]
        stations[time.station_id] = _priced(station, tariff.tariff_id)
    return LoadedNetwork(loaded.car_models, stations, tariffs)


def _dated(
    tariff: Tariff,
    time: TariffTime,
    number: int,
    scenario: Scenario,
    real: Callable[[float], float],
) -> Tariff:
    """A tariff that holds for some time."""
    instants = (iso_utc(real(scenario.instant(each))) for each in (time.begin, time.end))
    dated = dict(zip(("start_date_time", "end_date_time"), instants, strict=True))
    return parse_tariff({**tariff.body, "id": f"{tariff.tariff_id}@{number}", **dated})


def _priced(station: Station, tariff_id: str) -> Station:
    """A station at which a tariff goes before all others, while it holds."""

    def kind(of: EvseKind) -> EvseKind:
        connectors = (
            attrs.evolve(each, tariff_ids=(tariff_id, *each.tariff_ids)) for each in of.connectors
        )
        return kind_of(tuple(connectors), of.max_power_kw)

    if any(not each.connectors for each in station.kinds):
        return attrs.evolve(station, tariff_id=tariff_id)
    own = tuple(attrs.evolve(evse, kind=kind(evse.kind)) for evse in station.evses)
    return attrs.evolve(station, own_evses=own, max_slots=len(own), statuses={})


def changed(station: Station, change: Change) -> Station:
    """A station with more EVSEs, or fewer; statuses are operations of their own."""
    if change.add_evses:
        if not station.own_evses:
            return attrs.evolve(station, max_slots=station.max_slots + change.add_evses)
        best = max(station.own_evses, key=lambda evse: evse.kind.power_kw or 0.0)
        taken = {evse.uid for evse in station.own_evses}
        uids = (uid for n in count(1) if (uid := f"{station.station_id}-{n}") not in taken)
        more = [Evse(next(uids), best.kind) for _ in range(change.add_evses)]
        return _with(station, (*station.own_evses, *more))
    if change.evses is not None:
        key = str(station.station_id)
        named = check_evses({key: list(change.evses)}, "").evses[station.station_id]
        return _with(station, (*station.evses, *named))
    if change.remove_evses:
        if not station.own_evses:
            slots = max(0, station.max_slots - change.remove_evses)
            return attrs.evolve(station, max_slots=slots)
        in_order = sorted(station.own_evses, key=lambda evse: natural(evse.uid))
        kept = {evse.uid for evse in in_order[: max(0, len(in_order) - change.remove_evses)]}
        return _with(station, tuple(evse for evse in station.own_evses if evse.uid in kept))
    return station


def _with(station: Station, own: tuple[Evse, ...]) -> Station:
    return attrs.evolve(station, own_evses=own, max_slots=len(own))


@attrs.define(eq=False)
class Operators:
    """
    Those who do it, when it is time.

    :param stations: gives those that there are.
    :param now: the present by the server's clock, seconds since the epoch.
    :param changes: what is to become of the stations, once.
    """

    log = Logger()

    scenario: Scenario
    replication: int
    clock: Timers
    perform: Perform
    stations: Callable[[], Eventual[Iterable[Station]]]
    now: Callable[[], float]
    terms: Terms
    changes: Sequence[Change]
    _watched: set[str] = attrs.field(factory=set, init=False)
    """EVSEs that may break, by uid."""
    _out: dict[str, None] = attrs.field(factory=dict, init=False)
    """Those that they have taken out of service."""
    _broken: set[str] = attrs.field(factory=set, init=False)
    """Those that are out of service by a fault, and nobody has said anything of since."""
    _is_over: bool = attrs.field(default=False, init=False)

    def begin(self) -> None:
        """Plan what is to be done."""
        for change in self.changes:
            if change.status is not None or change.at is not None:
                at = self.scenario.begin
                if change.at is not None:
                    at = max(at, self.scenario.instant(change.at))
                self.clock.call_at(at, self._change, change)
        self._watch()

    def end(self) -> Deferred[Any]:
        """
        Do nothing any more, and have all in service again that they have taken out.

        :return: fires when that is done.
        """
        self._is_over = True
        return gatherResults([maybeDeferred(self._set, uid, IN_SERVICE) for uid in list(self._out)])

    def _set(self, uid: str, status: str) -> Eventual[Any]:
        if status == IN_SERVICE:
            self._out.pop(uid, None)
        else:
            self._out[uid] = None
        return self._do(SetEvseStatus(uid, status, None, self.now(), self.terms))

    def _do(self, operation: Operation[Any]) -> Eventual[Any]:
        done = self.perform(operation)
        return done.addErrback(self._failed) if isinstance(done, Deferred) else done

    def _then(self, value: Eventual[Any], go_on: Callable[..., object], *args: Any) -> None:
        """Go on with a value: at once, where it is there."""
        if isinstance(value, Deferred):
            value.addCallback(go_on, *args).addErrback(self._failed)
        else:
            go_on(value, *args)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("What operators do in the scenario could not be done", failure=failure)

    def _change(self, change: Change) -> None:
        if self._is_over:
            return
        if change.status is not None:
            self._then(self.stations(), self._set_all, change.station_id, change.status)
            return

        def become(network: Network) -> Network:
            record = network.stations[change.station_id]
            record = attrs.evolve(record, station=changed(record.station, change))
            return attrs.evolve(network, stations={**network.stations, change.station_id: record})

        self._then(self._do(ChangeNetwork(become, self.now())), self._hand_on)

    def _hand_on(self, _: object) -> None:
        self._do(HandOn(self.now(), self.terms))
        self._watch()

    def _set_all(self, stations: Iterable[Station], station_id: int, status: str) -> None:
        for station in stations:
            if station.station_id == station_id:
                for evse in station.evses:
                    self._broken.discard(evse.uid)
                    self._set(evse.uid, status)

    def _watch(self) -> None:
        """Have the EVSEs break that do not do so yet."""
        if self.scenario.faults.mean_days_between:
            self._then(self.stations(), self._watch_all)

    def _watch_all(self, stations: Iterable[Station]) -> None:
        for station in stations:
            for evse in station.evses:
                if evse.uid not in self._watched:
                    self._watched.add(evse.uid)
                    self._wait_for_fault(evse.uid, 0)

    def _luck(self, uid: str, number: int) -> tuple[float, ...]:
        return uniforms(self.scenario.study.seed, self.replication, "fault", uid, number)

    def _later(self, seconds: float) -> float:
        return self.clock.seconds() + to_the_ms(seconds)

    def _wait_for_fault(self, uid: str, number: int) -> None:
        faults = self.scenario.faults
        spread = Distribution("exponential", (faults.mean_days_between * DAY_S,))
        in_service_s = spread.draw(self._luck(uid, number)[0])
        self.clock.call_at(self._later(in_service_s), self._break, uid, number)

    def _break(self, uid: str, number: int) -> None:
        if not self._is_over:
            self._then(self.stations(), self._break_one, uid, number)

    def _break_one(self, stations: Iterable[Station], uid: str, number: int) -> None:
        if not any(evse.uid == uid for station in stations for evse in station.in_order):
            # Others have taken it out of service, and it is theirs to say when it is back.
            self._wait_for_fault(uid, number + 1)
            return
        self._broken.add(uid)
        self._set(uid, BROKEN)
        repair_s = self.scenario.faults.repair_hours.draw(self._luck(uid, number)[1]) * HOUR_S
        self.clock.call_at(self._later(repair_s), self._mend, uid, number)

    def _mend(self, uid: str, number: int) -> None:
        if self._is_over:
            return
        if uid in self._broken:
            self._broken.discard(uid)
            self._set(uid, IN_SERVICE)
        self._wait_for_fault(uid, number + 1)
