"""
Which station to send a car to: pure functions of a car, stations, distances and now.

Not every station is looked at closely. Each has a rank that it has at the best, which costs little;
the true one is worked out of those only that may be among the best by it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from math import inf
from typing import Any

import attrs

from evcharge.models.electric_car import ElectricCar
from evcharge.models.estimates import PRICE, ChargePlan, estimate, plan_charge
from evcharge.models.evse import EvseKind, plugs_of, quickest
from evcharge.models.slots import StationState
from evcharge.models.tariffs import Tariff, energy_total


@attrs.frozen
class Candidate:
    """A reachable station where something fits the car, with what going there means for it."""

    state: StationState
    distance_km: float
    travel_s: float
    wait_s: float
    """From the arrival until an EVSE that fits is free; 0 where one is."""
    plan: ChargePlan
    """The charge there."""
    price: Decimal
    """BRL with two places."""
    fitting_slots: int
    """EVSEs that are free and fit."""
    assumed: tuple[str, ...]
    """What was not known."""


@attrs.define
class Excluded:
    """How many stations a car is not sent to, by why."""

    out_of_range: int = 0
    no_connector: int = 0
    not_in_service: int = 0
    nearest: tuple[float, StationState] | None = None
    """Of those out of range, with how far away it is, km."""


@attrs.frozen
class Selection:
    """The best stations, best first, and what became of the others."""

    candidates: list[Candidate]
    excluded: Excluded


@attrs.define
class _Trip:
    """
    What is the same for all stations that one car may go to.

    When an EVSE that fits is free, `free_at`, is in seconds since the epoch; -inf where one is.
    """

    car: ElectricCar
    target_percent: float
    tariffs: Mapping[str, Tariff]
    now: float
    time_scale: float
    _least: dict[int, float | None] = attrs.field(factory=dict, init=False)
    _seen: list[EvseKind] = attrs.field(factory=list, init=False)
    """The kinds of which that says something: while they are here no other has the id of one."""

    def least_s(self, kind: EvseKind) -> float | None:
        """
        How long the shortest charge takes with what is in the battery now, which is no longer than
        with what is left at an arrival; None: nothing fits.
        """
        # Those that are alike are mostly one object: there is no need to look into it.
        key = id(kind)
        if key in self._least:
            return self._least[key]
        self._seen.append(kind)
        least_s = self._least[key] = self._charge_s([kind], self.car.percent)
        return least_s

    def fits(self, state: StationState) -> bool:
        """Whether any of a station's EVSEs, if it has one, has what fits the car."""
        return not state.kinds or any(self.least_s(e.kind) is not None for e in state.kinds)

    def open_kinds(self, state: StationState, free_at: float) -> list[EvseKind]:
        """Of the EVSEs that the car may be given."""
        if free_at == -inf:
            open_then = (each.kind for each in state.kinds if each.free)
        else:
            open_then = (e.kind for e in state.kinds if e.next_free_timestamp == free_at)
        return [kind for kind in open_then if self.least_s(kind) is not None]

    def start_percent(self, distance_km: float) -> float:
        """The state of charge at the arrival."""
        return max(0.0, self.car.percent_after(distance_km))

    def until_charging_s(self, free_at: float, distance_km: float) -> float:
        """Travel and wait together."""
        # Not the wait by itself: with its rounding, who is nearer might seem to take longer.
        return max(self.car.travel_time_s(distance_km), (free_at - self.now) * self.time_scale)

    def total_s(self, state: StationState, free_at: float, distance_km: float) -> float:
        """Travel, wait and charging together."""
        kinds = self.open_kinds(state, free_at)
        charge_s = self._charge_s(kinds, self.start_percent(distance_km))
        assert charge_s is not None, state
        return self.until_charging_s(free_at, distance_km) + charge_s

    def _charge_s(self, kinds: Iterable[EvseKind], start_percent: float) -> float | None:
        plugs = [plug for kind in kinds for plug in plugs_of(self.car.model, kind)]
        return quickest(plugs, start_percent, self.target_percent)[1] if plugs else None

    def energy_kwh(self, distance_km: float) -> float:
        """What is charged."""
        percent = max(0.0, self.target_percent - self.start_percent(distance_km))
        return percent * self.car.model.battery_capacity_kwh / 100.0

    def plan(self, state: StationState, free_at: float, distance_km: float) -> ChargePlan:
        """The charge."""
        kinds, start = self.open_kinds(state, free_at), self.start_percent(distance_km)
        found = plan_charge(self.car.model, kinds, start, self.target_percent)
        assert found is not None, state
        return found[1]

    def price(
        self, state: StationState, plan: ChargePlan, free_at: float, distance_km: float
    ) -> tuple[Decimal, bool]:
        """What the charge costs, and whether that is known."""
        begin = self.now + self.until_charging_s(free_at, distance_km) / self.time_scale
        station = state.station
        tariff, is_known = station.prices.tariff(plan.plug.connector, self.tariffs, begin)
        return estimate(tariff, plan, begin, station.zone), is_known

    def candidate(self, state: StationState, free_at: float, distance_km: float) -> Candidate:
        plan = self.plan(state, free_at, distance_km)
        price, is_known = self.price(state, plan, free_at, distance_km)
        travel_s = self.car.travel_time_s(distance_km)
        fitting = (each for each in state.kinds if self.least_s(each.kind) is not None)
        return Candidate(
            state=state,
            distance_km=distance_km,
            travel_s=travel_s,
            wait_s=max(0.0, (free_at - self.now) * self.time_scale - travel_s),
            plan=plan,
            price=price,
            fitting_slots=sum(each.free for each in fitting),
            assumed=plan.plug.assumed if is_known else (*plan.plug.assumed, PRICE),
        )


@attrs.frozen
class Criterion:
    """By what stations are compared."""

    figure: Callable[[_Trip, StationState, float, float], Any]
    """That of a station, of when an EVSE that fits is free, and of how far away it is, km."""
    at_best: Callable[[_Trip, StationState, float, float, float], Any]
    """No more than that, for less work: of those, and of how long the charge takes at the least."""


def _distance(trip: _Trip, state: StationState, free_at: float, distance_km: float) -> Any:
    # Stations where nothing is free come after all where something is, the soonest done first.
    return (0, 0.0) if free_at == -inf else (1, trip.total_s(state, free_at, distance_km))


def _distance_at_best(
    trip: _Trip, state: StationState, free_at: float, distance_km: float, least_s: float
) -> Any:
    if free_at == -inf:
        return 0, 0.0
    return 1, trip.until_charging_s(free_at, distance_km) + least_s


def _time(trip: _Trip, state: StationState, free_at: float, distance_km: float) -> Any:
    return trip.total_s(state, free_at, distance_km)


def _time_at_best(
    trip: _Trip, state: StationState, free_at: float, distance_km: float, least_s: float
) -> Any:
    return trip.until_charging_s(free_at, distance_km) + least_s


def _price(trip: _Trip, state: StationState, free_at: float, distance_km: float) -> Any:
    return trip.price(state, trip.plan(state, free_at, distance_km), free_at, distance_km)[0]


def _price_at_best(
    trip: _Trip, state: StationState, free_at: float, distance_km: float, least_s: float
) -> Any:
    # Nothing is certain of a tariff that says more than what a kWh costs.
    tariff = None if state.station.by_tariff else state.station.prices.flat
    known = None if tariff is None else energy_total(tariff, trip.energy_kwh(distance_km))
    return Decimal(0) if known is None else known


CRITERIA = {
    "distance": Criterion(_distance, _distance_at_best),
    "time": Criterion(_time, _time_at_best),
    "price": Criterion(_price, _price_at_best),
}


def rank_stations(
    car: ElectricCar,
    target_percent: float,
    distances: Iterable[tuple[StationState, float]],
    criterion: str,
    tariffs: Mapping[str, Tariff],
    now: float,
    time_scale: float,
    most: int,
) -> Selection:
    """
    The best stations that `car` can reach and be charged at, best first.

    :param target_percent: to which state of charge it is to be charged.
    :param distances: stations, each with how far away it is, km.
    :param criterion: a key of :data:`CRITERIA`. Equals go by distance, then by id.
    :param tariffs: those of the network, by id.
    :param now: seconds since the epoch.
    :param time_scale: how many times faster than real time charging goes.
    :param most: how many stations at the most.
    """
    figure, at_best = CRITERIA[criterion].figure, CRITERIA[criterion].at_best
    trip, range_km = _Trip(car, target_percent, tariffs, now, time_scale), car.range_km()
    excluded = Excluded()
    ahead: list[tuple[Any, float, int, bool, StationState, float]] = []
    for state, distance in distances:
        if distance >= range_km:
            excluded.out_of_range += 1
            far = (distance, state)
            if excluded.nearest is None or _nearer(far, excluded.nearest):
                excluded.nearest = far
            continue
        free_at = least_s = inf
        for each in state.kinds:
            charge_s = trip.least_s(each.kind)
            if charge_s is not None:
                at = -inf if each.free else each.next_free_timestamp
                if at is not None and at <= free_at:
                    least_s = min(least_s, charge_s) if at == free_at else charge_s
                    free_at = at
        if free_at == inf:
            if trip.fits(state):
                excluded.not_in_service += 1
            else:
                excluded.no_connector += 1
            continue
        order = at_best(trip, state, free_at, distance, least_s)
        ahead.append((order, distance, state.station.station_id, False, state, free_at))
    heapq.heapify(ahead)
    candidates: list[Candidate] = []
    while ahead and len(candidates) < most:
        order, distance, station_id, is_true, state, free_at = heapq.heappop(ahead)
        if is_true:
            candidates.append(trip.candidate(state, free_at, distance))
        else:
            order = figure(trip, state, free_at, distance)
            heapq.heappush(ahead, (order, distance, station_id, True, state, free_at))
    return Selection(candidates, excluded)


def _nearer(one: tuple[float, StationState], other: tuple[float, StationState]) -> bool:
    return (one[0], one[1].station.station_id) < (other[0], other[1].station.station_id)
