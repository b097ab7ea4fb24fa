"""
What a driver asks about a trip, and what is found: plain values, so that another process can do it.

Pure: the same answer wherever it is worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor

import attrs

from evcharge.models.electric_car import CarModel
from evcharge.planning.reach import least
from evcharge.planning.roads import Place, is_triangular
from evcharge.planning.sites import Site
from evcharge.planning.trips import (
    MOST_PLANS,
    PRICE,
    ROAD_FACTOR,
    TIME,
    NoPlan,
    Plan,
    PlanStation,
    Trip,
    Weights,
    cruising_km_h,
    direct,
    front,
    is_possible,
    may_better,
    never,
    plan,
    undominated,
)

BALANCED, FRONT = "balanced", "front"
CRITERIA = ("time", "price", BALANCED, FRONT)

VALUE_OF_HOUR = 20.0
"""What an hour is worth where nobody says it, BRL."""
RESERVE_PERCENT = 10.0
"""With which state of charge one arrives at the least where nobody says it."""
STOP_MINUTES = 5.0
"""What a stop takes beside charging and waiting where nobody says it."""

MOST_PLACES = 12
"""Of a trip."""
VALUES_OF_HOUR = 0.01, 1000.0
"""The least and the most that may be asked for; so of those that follow."""
RESERVE_PERCENTS = 0.0, 50.0
STOPS_MINUTES = 0.0, 60.0
ROAD_FACTORS = 1.0, 3.0
SPEEDS_KM_H = 10.0, 200.0


@attrs.frozen
class Matrix:
    """Somebody else's roads: over the places, then the stations."""

    distance_km: Sequence[Sequence[float]]
    travel_minutes: Sequence[Sequence[float]]
    stations: Sequence[int]
    """Their ids."""


@attrs.frozen
class Asked:
    """A trip as a driver asks for it."""

    model: CarModel
    battery_percent: float
    places: Sequence[Place]
    """Two at least."""
    sites: Sequence[Site] = ()
    """Where one may stop; with a matrix only at those that it has."""
    stays_minutes: Sequence[float] = ()
    """At each place; without it nobody stays."""
    criterion: str = CRITERIA[0]
    value_of_hour: float = VALUE_OF_HOUR
    """BRL, where the criterion is `balanced`."""
    reserve_percent: float = RESERVE_PERCENT
    arrival_percent: float | None = None
    """At the last place; None: the reserve."""
    max_percent: float = 100.0
    """Over the reserve."""
    stop_minutes: float = STOP_MINUTES
    road_factor: float = ROAD_FACTOR
    speed_km_h: float | None = None
    """None: :func:`evcharge.planning.trips.cruising_km_h`."""
    matrix: Matrix | None = None

    @property
    def speed(self) -> float:
        """km/h, on roads."""
        return cruising_km_h(self.model) if self.speed_km_h is None else self.speed_km_h

    @property
    def hours_per_km(self) -> float:
        """How long a kilometre of the great circle takes."""
        return self.road_factor / self.speed

    @property
    def weights(self) -> Weights:
        """What counts; of a front what counts for its first plan."""
        if self.criterion == "price":
            return PRICE
        return Weights(self.value_of_hour) if self.criterion == BALANCED else TIME

    def trip(self, sites: Sequence[Site]) -> Trip:
        """The trip, where one may stop at those."""
        stays = [minutes / 60.0 for minutes in self.stays_minutes]
        trip = Trip.between(
            self.places,
            [(site.latitude, site.longitude) for site in sites],
            self.model,
            self.battery_percent,
            reserve_percent=self.reserve_percent,
            arrival_percent=self.arrival_percent,
            most_percent=self.max_percent,
            stays_h=stays,
            road_factor=self.road_factor,
            speed_km_h=self.speed_km_h,
        )
        matrix = self.matrix
        if matrix is None:
            return trip
        known = {each: at for at, each in enumerate(matrix.stations, len(self.places))}
        nodes = [*range(len(self.places)), *(known[site.station_id] for site in sites)]
        consumption = self.model.consumption_kwh_per_km
        return attrs.evolve(
            trip,
            energy_kwh=[[matrix.distance_km[a][b] * consumption for b in nodes] for a in nodes],
            hours=[[matrix.travel_minutes[a][b] / 60.0 for b in nodes] for a in nodes],
        )

    def stations(self, sites: Sequence[Site]) -> list[PlanStation]:
        """Those, as the trip knows them."""
        stop_h = self.stop_minutes / 60.0
        return [
            PlanStation(
                at, each.charge, each.price_kwh, each.price_hour, each.fee, stop_h, each.free_at_h
            )
            for at, each in enumerate(sites, len(self.places))
        ]


@attrs.frozen
class Why:
    """Why there is no plan, and what would help."""

    blocked_leg: int
    """The first one that no chain of stations carries."""
    missing_km: float
    start_percent_needed: int | None
    """The least battery with which there is a plan; None where a full one does not help."""
    reserve_percent_possible: int | None
    """The greatest reserve with which there is one; None where none at all does not help."""
    is_known: bool = True
    """Whether that is so; False where time was up: less may suffice, and None says nothing."""


@attrs.frozen
class Found:
    """What there is of a trip."""

    sites: Sequence[Site]
    """Those that were considered; a plan's stops are numbers of them."""
    plans: Sequence[Plan] = ()
    """The best one; of a front all, the fastest first."""
    why: Why | None = None
    """Why there is none."""
    is_metric: bool = True
    """Whether going straight is known never to be more than going by another place."""


def straight(asked: Asked) -> Found | None:
    """
    The plan of who need not stop; None where that is not within range, or where a matrix has
    stations: the way over one of them may be shorter, and to find out takes a while.
    """
    if asked.matrix is not None and asked.matrix.stations:
        return None
    found = direct(asked.trip([]))
    if found is None:
        return None
    return Found([], [found], None, _is_metric(asked, [], never))


def solve(asked: Asked, time_is_up: Callable[[], bool]) -> Found:
    """
    The best plan of a trip, or why there is none.

    A car that can be charged by direct current stops at other posts where nothing else carries, or
    where that is better; for the sake of the price only where no plan is faster.

    :param time_is_up: asked now and then: then it is the best plan so far.
    """
    sites = [site for site in asked.sites if site.is_dc]
    slow = [site for site in asked.sites if not site.is_dc]
    best = _best(asked, sites, time_is_up)
    if slow and isinstance(best, NoPlan):
        sites = list(asked.sites)
        best = _best(asked, sites, time_is_up)
    elif slow and not isinstance(best, NoPlan):
        sites, best = _bettered(asked, sites, slow, best, time_is_up)
    why = _why(asked, sites, best, time_is_up) if isinstance(best, NoPlan) else None
    is_metric = _is_metric(asked, sites, time_is_up)
    return Found(sites, () if isinstance(best, NoPlan) else best, why, is_metric)


def _bettered(
    asked: Asked,
    sites: list[Site],
    slow: Sequence[Site],
    best: Sequence[Plan],
    time_is_up: Callable[[], bool],
) -> tuple[list[Site], Sequence[Plan]]:
    """The plans where the first may stop at slow posts, too, if that is better; and at which."""
    whole, first = [*sites, *slow], best[0]
    is_of_price = asked.criterion == "price"
    weights = TIME if is_of_price else asked.weights
    numbers = may_better(asked.trip(whole), asked.stations(whole), weights, first)
    promising = [whole[number] for number in numbers if number >= len(sites)]
    if not promising:
        return sites, best
    whole = [*sites, *promising]
    trip, stations = asked.trip(whole), asked.stations(whole)
    better = plan(trip, stations, weights, time_is_up, first)
    assert isinstance(better, Plan)
    is_slow = any(stop.station >= len(sites) for stop in better.stops)
    if is_of_price:
        less = first.cost_h(PRICE) - better.cost_h(PRICE)
        if not is_slow or less <= 0.0:
            return sites, best
        gap = None if first.gap_h is None else max(0.0, first.gap_h - less)
        return whole, [attrs.evolve(better, gap_h=gap)]
    # Where there is room its first stays: of a front of one plan that is the cheapest, too.
    others = best[1:] if asked.criterion != FRONT or len(best) == MOST_PLANS else best
    return whole if is_slow else sites, undominated([better, *others])


def _is_metric(asked: Asked, sites: Sequence[Site], time_is_up: Callable[[], bool]) -> bool:
    """Whether going straight is known never to be more than by another place, or a station."""
    if asked.matrix is None:
        return True
    trip, count = asked.trip(sites), len(asked.places) + len(sites)
    return all(is_triangular(each, count, time_is_up) for each in (trip.energy_kwh, trip.hours))


def _best(
    asked: Asked, sites: Sequence[Site], time_is_up: Callable[[], bool]
) -> Sequence[Plan] | NoPlan:
    """The plans with stops at some of the stations."""
    trip, stations = asked.trip(sites), asked.stations(sites)
    if asked.criterion == FRONT and (plans := front(trip, stations, time_is_up)):
        return plans
    found = plan(trip, stations, asked.weights, time_is_up)
    return found if isinstance(found, NoPlan) else [found]


def _why(asked: Asked, sites: Sequence[Site], found: NoPlan, time_is_up: Callable[[], bool]) -> Why:
    """What is missing, by whole per cents: more battery only helps, as does a smaller reserve."""
    trip, stations = asked.trip(sites), asked.stations(sites)
    battery, reserve = floor(asked.battery_percent), ceil(asked.reserve_percent)
    arrival = asked.arrival_percent

    def charged(percent: int) -> bool:
        start = trip.capacity_kwh * percent / 100.0
        return is_possible(attrs.evolve(trip, start_kwh=start), stations)

    def with_less(less: int) -> bool:
        kept = trip.capacity_kwh * (reserve - less) / 100.0
        left = kept if arrival is None else trip.arrival_kwh
        changed = attrs.evolve(trip, reserve_kwh=kept, arrival_kwh=left)
        return is_possible(changed, stations)

    needed = least(charged, battery, 100, time_is_up)
    less = least(with_less, 0, reserve, time_is_up)
    return Why(
        found.leg,
        found.missing_kwh / asked.model.consumption_kwh_per_km,
        needed,
        None if less is None else reserve - less,
        not time_is_up(),
    )
