"""
What operators do in a scenario: EVSEs that are added, that break and are mended, and prices.

All of it is operations, or what OCPI says of tariffs: there is no rule of its own in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import attrs

from evcharge.datasets.evses import check_evses
from evcharge.models.evse import IN_SERVICE, Evse, EvseKind, kind_of, natural
from evcharge.models.network import Network
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff
from evcharge.models.tariffs.parsing import parse_tariff
from evcharge.process.virtual_clock import VirtualClock
from evcharge.rules.network import ChangeNetwork
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.sweep import HandOn
from evcharge.simulator.distributions import Distribution
from evcharge.simulator.networks import LoadedNetwork
from evcharge.simulator.parts import Change, TariffTime
from evcharge.simulator.scenario import Scenario
from evcharge.simulator.streams import to_the_ms, uniforms
from evcharge.storage import Perform
from evcharge.utils.time_utils import iso_utc

BROKEN = "OUTOFORDER"

DAY_S, HOUR_S = 86400.0, 3600.0


def begin_with(scenario: Scenario, loaded: LoadedNetwork) -> LoadedNetwork:
    """The network with what is other in a scenario from its start on, and with all its prices."""
    stations = dict(loaded.stations)
    tariffs = dict(loaded.tariffs)
    for change in scenario.network.changes:
        if change.at is None:
            stations[change.station_id] = changed(stations[change.station_id], change)
    # Of two for one time the later one in the scenario goes first.
    for number, time in enumerate(scenario.network.tariffs):
        tariff = _dated(tariffs[time.tariff_id], time, number, scenario)
        tariffs[tariff.tariff_id] = tariff
        station = stations[time.station_id]
        stations[time.station_id] = _priced(station, tariff.tariff_id)
    return LoadedNetwork(loaded.car_models, stations, tariffs)


def _dated(tariff: Tariff, time: TariffTime, number: int, scenario: Scenario) -> Tariff:
    """A tariff that holds for some time."""
    instants = (iso_utc(scenario.instant(each)) for each in (time.begin, time.end))
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
    """

    scenario: Scenario
    replication: int
    clock: VirtualClock
    perform: Perform
    stations: Callable[[], Iterable[Station]]
    _watched: set[str] = attrs.field(factory=set)
    """EVSEs that may break, by uid."""

    def begin(self) -> None:
        """Plan what is to be done."""
        for change in self.scenario.network.changes:
            if change.status is not None or change.at is not None:
                at = self.scenario.begin
                if change.at is not None:
                    at = max(at, self.scenario.instant(change.at))
                self.clock.call_at(at, self._change, change)
        self._watch()

    def _do(self, operation: Any) -> None:
        self.perform(operation)

    def _change(self, change: Change) -> None:
        now, terms = self.clock.seconds(), self.scenario.terms
        if change.status is not None:
            station = next(s for s in self.stations() if s.station_id == change.station_id)
            for evse in station.evses:
                self._do(SetEvseStatus(evse.uid, change.status, None, now, terms))
            return

        def become(network: Network) -> Network:
            record = network.stations[change.station_id]
            record = attrs.evolve(record, station=changed(record.station, change))
            return attrs.evolve(network, stations={**network.stations, change.station_id: record})

        self._do(ChangeNetwork(become, now))
        self._do(HandOn(now, terms))
        self._watch()

    def _watch(self) -> None:
        """Have the EVSEs break that do not do so yet."""
        if not self.scenario.faults.mean_days_between:
            return
        for station in self.stations():
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
        terms = self.scenario.terms
        self._do(SetEvseStatus(uid, BROKEN, None, self.clock.seconds(), terms))
        repair_s = self.scenario.faults.repair_hours.draw(self._luck(uid, number)[1]) * HOUR_S
        self.clock.call_at(self._later(repair_s), self._mend, uid, number)

    def _mend(self, uid: str, number: int) -> None:
        terms = self.scenario.terms
        self._do(SetEvseStatus(uid, IN_SERVICE, None, self.clock.seconds(), terms))
        self._wait_for_fault(uid, number + 1)
