"""Which station to send a car to: pure functions of a car, stations, distances and now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import attrs

from evcharge.models.electric_car import ElectricCar
from evcharge.models.station import StationState


@attrs.frozen
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

    @property
    def total_s(self) -> float:
        return self.travel_s + self.wait_s + self.charge_s


Rank = Callable[[Candidate], tuple[Any, ...]]


def _by_distance(candidate: Candidate) -> tuple[Any, ...]:
    # Stations without a free slot come after all that have one, the soonest done first.
    if candidate.state.available_slots > 0:
        return (0, 0)
    return (1, candidate.total_s)


def _by_time(candidate: Candidate) -> tuple[Any, ...]:
    return (candidate.total_s,)


def _by_price(candidate: Candidate) -> tuple[Any, ...]:
    return (candidate.price,)


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
    rank = CRITERIA[criterion]
    candidates = [
        candidate
        for state, distance in distances
        if car.can_reach(distance)
        and (candidate := _weigh(car, state, distance, now, time_scale)) is not None
    ]
    candidates.sort(key=lambda c: (*rank(c), c.distance_km, c.state.station.station_id))
    return candidates[:most]


def _weigh(
    car: ElectricCar, state: StationState, distance_km: float, now: float, time_scale: float
) -> Candidate | None:
    """What going to a station means; None where no slot of it will ever be free."""
    station = state.station
    travel_s = car.travel_time_s(distance_km)
    if state.available_slots > 0:
        wait_s = 0.0
    elif state.next_free_timestamp is None:
        return None
    else:
        wait_s = max(0.0, (state.next_free_timestamp - now) * time_scale - travel_s)
    return Candidate(
        state=state,
        distance_km=distance_km,
        travel_s=travel_s,
        wait_s=wait_s,
        charge_s=station.charge_time_s(car),
        price=station.price(car.energy_to_target_kwh()),
    )
