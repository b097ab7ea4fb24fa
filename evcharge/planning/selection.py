"""Which station to send a car to: pure functions of a car, stations, distances and now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import islice
from math import inf
from typing import Any

import attrs

from evcharge.models.electric_car import ElectricCar
from evcharge.models.station import StationState, price_of
from evcharge.planning.nearest import Nearest, Offer, soonest


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
    energy_kwh: float = attrs.field(init=False)
    """What brings the car's battery to the target."""
    _energy: Decimal = attrs.field(init=False)
    """The same, for prices."""
    _prices: dict[Decimal, Decimal] = attrs.field(factory=dict, init=False)
    """What it costs, by what a kWh does: few prices are asked by many stations."""

    def __attrs_post_init__(self) -> None:
        self.energy_kwh = self.car.energy_to_target_kwh()
        self._energy = Decimal(repr(self.energy_kwh))

    def charge_s(self, offer: Offer) -> float:
        return self.car.charge_time_s(self.energy_kwh, offer.power_kw, offer.ac_only)

    def until_s(self, soonest: float) -> float:
        """From now until a slot is free; infinitely long ago where one is."""
        return (soonest - self.now) * self.time_scale

    def total_s(self, soonest: float, offers: Sequence[Offer], distance_km: float) -> float:
        """Travel, wait and charging together."""
        # Not the wait by itself: with its rounding, who is nearer might seem to take longer.
        charging_from_s = max(self.car.travel_time_s(distance_km), self.until_s(soonest))
        return charging_from_s + min(map(self.charge_s, offers))

    def price(self, price_kwh: Decimal) -> Decimal:
        price = self._prices.get(price_kwh)
        if price is None:
            price = self._prices[price_kwh] = price_of(self._energy, price_kwh)
        return price

    def candidate(self, state: StationState, distance_km: float) -> Candidate:
        station = state.station
        travel_s = self.car.travel_time_s(distance_km)
        return Candidate(
            state=state,
            distance_km=distance_km,
            travel_s=travel_s,
            wait_s=max(0.0, self.until_s(soonest(state)) - travel_s),
            charge_s=self.charge_s(station),
            price=self.price(station.price_kwh),
        )


CriterionRank = Callable[[_Trip, float, Sequence[Offer], float], tuple[Any, ...]]
"""As :data:`evcharge.planning.nearest.Rank`."""


def _by_distance(
    trip: _Trip, soonest: float, offers: Sequence[Offer], distance_km: float
) -> tuple[Any, ...]:
    # Stations without a free slot come after all that have one, the soonest done first.
    return (0, 0.0) if soonest == -inf else (1, trip.total_s(soonest, offers, distance_km))


def _by_time(
    trip: _Trip, soonest: float, offers: Sequence[Offer], distance_km: float
) -> tuple[Any, ...]:
    return (trip.total_s(soonest, offers, distance_km),)


def _by_price(
    trip: _Trip, soonest: float, offers: Sequence[Offer], distance_km: float
) -> tuple[Any, ...]:
    return (trip.price(min([offer.price_kwh for offer in offers])),)


CRITERIA: dict[str, CriterionRank] = {
    "distance": _by_distance,
    "time": _by_time,
    "price": _by_price,
}


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
    trip, range_km, rank = _Trip(car, now, time_scale), car.range_km(), CRITERIA[criterion]
    # Only what the criterion asks for is worked out for every station, the rest for the best.
    ranked = sorted(
        (
            rank(trip, free_at, (state.station,), distance),
            distance,
            state.station.station_id,
            state,
        )
        for state, distance in distances
        if distance < range_km
        # One without a slot that is free, or will be, is no station to go to.
        and (free_at := soonest(state)) != inf
    )
    return [trip.candidate(state, distance) for _, distance, _, state in ranked[:most]]


def rank_around(
    car: ElectricCar,
    tree: Nearest,
    latitude: float,
    longitude: float,
    criterion: str,
    now: float,
    time_scale: float,
    most: int,
) -> list[Candidate]:
    """
    As :func:`rank_stations` of all stations of `tree`, with their distances from a place.

    :param latitude: degrees, WGS 84, like the longitude.
    """
    trip = _Trip(car, now, time_scale)
    criterion_rank = CRITERIA[criterion]

    def rank(free_at: float, offers: Sequence[Offer], distance_km: float) -> Any:
        return None if free_at == inf else criterion_rank(trip, free_at, offers, distance_km)

    ranked = islice(tree.search(latitude, longitude, car.range_km(), rank), most)
    return [trip.candidate(state, distance) for _, distance, state in ranked]
