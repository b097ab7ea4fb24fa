"""Which station to send a car to: pure functions of a car, stations, distances and now."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import attrs

from evcharge.models.electric_car import ElectricCar
from evcharge.models.station import Station, StationState


@attrs.define
class Candidate:
    """A reachable station, with what going there means for the car."""

    state: StationState
    distance_km: float
    travel_s: float
    wait_s: float
    """From the arrival until a slot is free; 0 where one is."""
    charge_s: float
    price: Decimal
    """BRL with two places."""


@attrs.define
class _Trip:
    """What is the same for all stations that one car may go to."""

    car: ElectricCar
    now: float
    time_scale: float
    energy_kwh: float
    """What brings the car's battery to the target."""

    def charge_s(self, station: Station) -> float:
        return self.car.charge_time_s(self.energy_kwh, station.power_kw, station.ac_only)

    def wait_s(self, state: StationState, travel_s: float) -> float:
        if state.available_slots > 0 or state.next_free_timestamp is None:
            return 0.0
        return max(0.0, (state.next_free_timestamp - self.now) * self.time_scale - travel_s)

    def total_s(self, state: StationState, distance_km: float) -> float:
        """Travel, wait and charging together."""
        travel_s = self.car.travel_time_s(distance_km)
        return travel_s + self.wait_s(state, travel_s) + self.charge_s(state.station)

    def candidate(self, state: StationState, distance_km: float) -> Candidate:
        station = state.station
        travel_s = self.car.travel_time_s(distance_km)
        return Candidate(
            state=state,
            distance_km=distance_km,
            travel_s=travel_s,
            wait_s=self.wait_s(state, travel_s),
            charge_s=self.charge_s(station),
            price=station.price(self.energy_kwh),
        )


Rank = Callable[[_Trip, StationState, float], tuple[Any, ...]]


def _by_distance(trip: _Trip, state: StationState, distance_km: float) -> tuple[Any, ...]:
    # Stations without a free slot come after all that have one, the soonest done first.
    if state.available_slots > 0:
        return (0, 0.0)
    return (1, trip.total_s(state, distance_km))


def _by_time(trip: _Trip, state: StationState, distance_km: float) -> tuple[Any, ...]:
    return (trip.total_s(state, distance_km),)


def _by_price(trip: _Trip, state: StationState, distance_km: float) -> tuple[Any, ...]:
    return (state.station.price(trip.energy_kwh),)


CRITERIA: dict[str, Rank] = {"distance": _by_distance, "time": _by_time, "price": _by_price}


def rank_stations(
    car: ElectricCar,
    distances: Iterable[tuple[StationState, float]],
    criterion: str,
    now: float,
    time_scale: float,
    most: int,
) -> list[Candidate]:
    """
    The best stations that `car` can reach, best first.

    :param distances: stations, each with how far away it is, km.
    :param criterion: a key of :data:`CRITERIA`. Equals go by distance, then by id.
    :param now: seconds since the epoch.
    :param time_scale: how many times faster than real time charging goes.
    :param most: how many stations at the most.
    """
    rank, range_km = CRITERIA[criterion], car.range_km()
    trip = _Trip(car, now, time_scale, car.energy_to_target_kwh())
    # Only what the criterion asks for is worked out for every station, the rest for the best.
    ranked = heapq.nsmallest(
        most,
        (
            (rank(trip, state, distance), distance, state.station.station_id, state)
            for state, distance in distances
            if distance < range_km
            # One without a slot that is free, or will be, is no station to go to.
            and (state.available_slots > 0 or state.next_free_timestamp is not None)
        ),
    )
    return [trip.candidate(state, distance) for _, distance, _, state in ranked]
