"""Which station to send a car to: pure functions of a car, stations, distances and now."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from evcharge.models.electric_car import ElectricCar
from evcharge.models.estimates import PRICE, ChargePlan, estimate, plan_charge
from evcharge.models.evse import EvseKind, Plug, plugs_of, quickest
from evcharge.models.slots import KindState, StationState
from evcharge.models.tariffs import Tariff


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


@attrs.frozen
class _Stop:
    """What is known of a station once it is known that it can be reached, and fits."""

    state: StationState
    distance_km: float
    travel_s: float
    wait_s: float
    kinds: list[KindState]
    """Of the EVSEs that the car may be given there."""
    start_percent: float
    """State of charge at the arrival."""


@attrs.define
class _Trip:
    """What is the same for all stations that one car may go to."""

    car: ElectricCar
    target_percent: float
    tariffs: Mapping[str, Tariff]
    now: float
    time_scale: float
    _plugs: dict[EvseKind, tuple[Plug, ...]] = attrs.field(factory=dict, init=False)

    def plugs(self, kind: EvseKind) -> tuple[Plug, ...]:
        found = self._plugs.get(kind)
        if found is None:
            found = self._plugs[kind] = plugs_of(self.car.model, kind)
        return found

    def stop(self, state: StationState, distance_km: float) -> _Stop | None:
        """What going there means; None: there is, and will be, nothing free that fits."""
        travel_s = self.car.travel_time_s(distance_km)
        fitting = [each for each in state.kinds if self.plugs(each.kind)]
        free = [each for each in fitting if each.free]
        if free:
            wait_s = 0.0
        else:
            ends = [each.next_free_timestamp for each in fitting]
            first = min((end for end in ends if end is not None), default=None)
            if first is None:
                return None
            free = [each for each in fitting if each.next_free_timestamp == first]
            wait_s = max(0.0, (first - self.now) * self.time_scale - travel_s)
        start = max(0.0, self.car.percent_after(distance_km))
        return _Stop(state, distance_km, travel_s, wait_s, free, start)

    def charge_s(self, stop: _Stop) -> float:
        """How long the shortest charge there takes."""
        start, target = stop.start_percent, self.target_percent
        return min(quickest(self.plugs(each.kind), start, target)[1] for each in stop.kinds)

    def total_s(self, stop: _Stop) -> float:
        """Travel, wait and charging together."""
        return stop.travel_s + stop.wait_s + self.charge_s(stop)

    def plan(self, stop: _Stop) -> ChargePlan:
        kinds = [each.kind for each in stop.kinds]
        found = plan_charge(self.car.model, kinds, stop.start_percent, self.target_percent)
        assert found is not None, stop
        return found[1]

    def price(self, stop: _Stop, plan: ChargePlan) -> tuple[Decimal, bool]:
        """What the charge costs, and whether that is known."""
        begin = self.now + (stop.travel_s + stop.wait_s) / self.time_scale
        station = stop.state.station
        tariff, is_known = station.prices.tariff(plan.plug.connector, self.tariffs, begin)
        return estimate(tariff, plan, begin, station.zone), is_known

    def candidate(self, stop: _Stop) -> Candidate:
        plan = self.plan(stop)
        price, is_known = self.price(stop, plan)
        return Candidate(
            stop.state,
            stop.distance_km,
            stop.travel_s,
            stop.wait_s,
            plan,
            price,
            sum(each.free for each in stop.kinds),
            plan.plug.assumed if is_known else (*plan.plug.assumed, PRICE),
        )


Rank = Callable[[_Trip, _Stop], tuple[Any, ...]]


def _by_distance(trip: _Trip, stop: _Stop) -> tuple[Any, ...]:
    # Stations where nothing is free come after all where something is, the soonest done first.
    return (0, 0.0) if stop.kinds[0].free else (1, trip.total_s(stop))


def _by_time(trip: _Trip, stop: _Stop) -> tuple[Any, ...]:
    return (trip.total_s(stop),)


def _by_price(trip: _Trip, stop: _Stop) -> tuple[Any, ...]:
    return (trip.price(stop, trip.plan(stop))[0],)


CRITERIA: dict[str, Rank] = {"distance": _by_distance, "time": _by_time, "price": _by_price}


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
    rank, range_km = CRITERIA[criterion], car.range_km()
    trip = _Trip(car, target_percent, tariffs, now, time_scale)
    excluded = Excluded()
    ranked: list[tuple[tuple[Any, ...], float, int, _Stop]] = []
    for state, distance in distances:
        if distance >= range_km:
            excluded.out_of_range += 1
            far = (distance, state)
            if excluded.nearest is None or _nearer(far, excluded.nearest):
                excluded.nearest = far
        elif not any(trip.plugs(each.kind) for each in state.kinds):
            excluded.no_connector += 1
        else:
            stop = trip.stop(state, distance)
            if stop is None:
                excluded.not_in_service += 1
            else:
                ranked.append((rank(trip, stop), distance, state.station.station_id, stop))
    best = heapq.nsmallest(most, ranked)
    # Only what the criterion asks for is worked out for every station, the rest for the best.
    return Selection([trip.candidate(stop) for *_, stop in best], excluded)


def _nearer(one: tuple[float, StationState], other: tuple[float, StationState]) -> bool:
    return (one[0], one[1].station.station_id) < (other[0], other[1].station.station_id)
