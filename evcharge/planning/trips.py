"""
The best plan of a trip beyond the range: where to stop, and how far to charge there. Pure.

A library function: nothing of a server is needed. Units are kWh, hours and BRL; instants are hours
since departure. What is given, and what the best is, says docs/planner.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import fsum, inf
from typing import cast

import attrs

from evcharge.models.electric_car import TRAVEL_SPEED_SHARE, CarModel
from evcharge.planning.chains import charges, ways, without_idle
from evcharge.planning.passes import best, promise
from evcharge.planning.piecewise import NOTHING_KWH, PiecewiseLinear
from evcharge.planning.reach import Blocked, carried
from evcharge.planning.roads import Distances, Place, Roads, Straight, row
from evcharge.planning.search import PLACE, SAME_PLAN_H, TIE_H, Best, Stops, Task

ROAD_FACTOR = 1.3
"""By how much roads are taken to be longer than great circles."""

MOST_KM_H = 80.0
"""No car is taken to drive faster on a trip."""

MOST_PLANS = 8
"""Of a front."""


@attrs.frozen
class Weights:
    """What counts, and how much. ValueError where it cannot be."""

    value_of_hour: float | None = None
    """What an hour is worth, BRL; None: money does not count."""

    def __attrs_post_init__(self) -> None:
        if self.value_of_hour is not None and not self.value_of_hour > 0.0:
            raise ValueError(f"value_of_hour must be more than 0, not {self.value_of_hour:g}")

    @property
    def hours_of_money(self) -> float:
        """How many hours a real is worth."""
        return 0.0 if self.value_of_hour is None else 1.0 / self.value_of_hour


TIME = Weights()
PRICE = Weights(0.01)
"""A cent an hour, so that ties and absurd detours end."""


@attrs.frozen
class PlanStation:
    """A station as a place to stop at."""

    index: int
    """Its node: the number of its row in the trip's matrices."""
    charge: PiecewiseLinear
    """Hours from empty to a charge, kWh: to that of a full battery."""
    price_kwh: float = 0.0
    """BRL."""
    price_hour: float = 0.0
    """BRL an hour of charging."""
    fee: float = 0.0
    """BRL a stop."""
    stop_h: float = 0.0
    """What stopping takes beside charging and waiting."""
    free_at_h: float = 0.0
    """Nobody charges there before that."""


@attrs.frozen
class Trip:
    """
    Where one goes, and with which battery.

    Roads need not be a metric: but where going straight takes more than going by a station, a plan
    may stop there to charge 0.01 Wh. ValueError where a figure cannot be.
    """

    places: Sequence[int]
    """Their nodes in order, two at least: numbers of rows of the matrices. One may come twice."""
    energy_kwh: Roads
    """From each node to each other."""
    hours: Roads
    """The same."""
    stays_h: Sequence[float]
    """At each place; whoever stays does not charge."""
    start_kwh: float
    capacity_kwh: float
    reserve_kwh: float
    """With how much one arrives anywhere at the least."""
    arrival_kwh: float
    """The same for the last place; the reserve counts there, too."""
    most_kwh: float
    """With how much one leaves a station at the most."""

    def __attrs_post_init__(self) -> None:
        if len(self.places) < 2 or len(self.stays_h) != len(self.places):
            raise ValueError("a trip must have two places or more, and a stay for each")
        if not 0.0 <= self.reserve_kwh < self.most_kwh <= self.capacity_kwh:
            raise ValueError(
                "most_kwh must be more than reserve_kwh, which is 0 or more, and no more than "
                f"capacity_kwh, not {self.most_kwh:g}"
            )

    @classmethod
    def between(
        cls,
        points: Sequence[Place],
        stations: Sequence[Place],
        model: CarModel,
        start_percent: float,
        *,
        reserve_percent: float = 10.0,
        arrival_percent: float | None = None,
        most_percent: float = 100.0,
        stays_h: Sequence[float] = (),
        road_factor: float = ROAD_FACTOR,
        speed_km_h: float | None = None,
    ) -> Trip:
        """
        A trip by straight lines. The nodes of its stations come after those of its places.

        :param points: latitude and longitude of each place, degrees; so of each station.
        :param arrival_percent: without it the reserve.
        :param stays_h: at each place; without it nobody stays.
        :param road_factor: by how much roads are longer than great circles.
        :param speed_km_h: without it :func:`cruising_km_h`.
        """
        distances = Distances([*points, *stations])
        speed = cruising_km_h(model) if speed_km_h is None else speed_km_h
        capacity = model.battery_capacity_kwh
        arrival = reserve_percent if arrival_percent is None else arrival_percent
        return cls(
            range(len(points)),
            Straight(distances, road_factor * model.consumption_kwh_per_km),
            Straight(distances, road_factor / speed),
            stays_h or [0.0] * len(points),
            capacity * start_percent / 100.0,
            capacity,
            capacity * reserve_percent / 100.0,
            capacity * arrival / 100.0,
            capacity * most_percent / 100.0,
        )


def cruising_km_h(model: CarModel) -> float:
    """How fast a car is taken to drive on a trip: at 80 km/h, or 70 % of its top speed if less."""
    return min(MOST_KM_H, model.max_speed_km_h * TRAVEL_SPEED_SHARE)


@attrs.frozen
class Drive:
    """From one node to the next."""

    place: int
    """The last place passed: 0 on the first leg."""
    here: int
    there: int
    energy_kwh: float
    hours: float
    depart_kwh: float
    arrive_kwh: float


@attrs.frozen
class Stop:
    """At a station, to charge."""

    place: int
    """The last place passed."""
    station: int
    """Its number among the stations."""
    arrive_kwh: float
    depart_kwh: float
    arrive_h: float
    """Since departure, like the two that follow."""
    start_h: float
    """When charging begins."""
    depart_h: float
    wait_h: float
    charge_h: float
    money: float


@attrs.frozen
class Plan:
    """The best that there is, or that was found in time."""

    drives: Sequence[Drive]
    stops: Sequence[Stop]
    hours: float
    """Driving, staying, waiting, stopping and charging."""
    drive_h: float
    stay_h: float
    money: float
    """BRL."""
    gap_h: float | None
    """By how much any plan may be better, in hours, where money counts at what it is worth; 0: by
    nothing. None: not known, as money counts, and some station is not free at once."""

    @property
    def arrival_kwh(self) -> float:
        return self.drives[-1].arrive_kwh

    def cost_h(self, weights: Weights) -> float:
        """What it costs, in hours."""
        return self.hours + self.money * weights.hours_of_money


@attrs.frozen
class NoPlan:
    """There is none."""

    leg: int
    """The first one that no chain of stations carries."""
    missing_kwh: float
    """What the chain lacks that lacks the least."""


def never() -> bool:
    """Time that is never up."""
    return False


def plan(
    trip: Trip,
    stations: Sequence[PlanStation],
    weights: Weights = TIME,
    deadline: Callable[[], bool] = never,
    known: Plan | None = None,
) -> Plan | NoPlan:
    """
    The best plan of a trip.

    Under :data:`TIME` it waits where waiting is best. Where money counts, each station that is not
    free when one could be there at the soonest costs that wait at any time of arrival; what is told
    of the plan that is found is true.

    :param weights: what counts.
    :param deadline: whether time is up: then it is the best plan so far.
    :param known: a plan of this trip by these stations, if there is one already: then it is the
        best of its chain of stops where no other is better.
    :return: of plans that are as good that with the fewest stops, then the least energy, then the
        first stations.
    """
    task = task_of(trip, stations, weights)
    found = best(task, deadline, _known_by(task, known))
    if isinstance(found, Blocked):
        return NoPlan(found.leg, found.missing_kwh)
    chain, charged = without_idle(task, found.stops or [])
    gap: float | None = max(0.0, found.cost - found.least)
    if chain and weights.value_of_hour is not None and any(_waits(trip, stations)):
        gap = None
    elif gap is not None and gap < TIE_H:
        gap = 0.0
    return _told(trip, stations, task, chain, charged, gap)


def direct(trip: Trip) -> Plan | None:
    """The plan of who need not stop; None where that is not within range. It takes no search."""
    clock, charge, drives = trip.stays_h[0], trip.start_kwh, []
    for leg, (here, there) in enumerate(pairwise(trip.places)):
        (energy,), (hours,) = row(trip.energy_kwh, here, [there]), row(trip.hours, here, [there])
        is_last = leg == len(trip.places) - 2
        floor = max(trip.arrival_kwh, trip.reserve_kwh) if is_last else trip.reserve_kwh
        left = charge - energy
        if left < floor - NOTHING_KWH:
            return None
        left = max(left, floor)
        drives.append(Drive(leg, here, there, energy, hours, charge, left))
        clock, charge = clock + hours, left
        clock += trip.stays_h[leg + 1]
    drive_h = fsum(each.hours for each in drives)
    return Plan(tuple(drives), (), clock, drive_h, fsum(trip.stays_h), 0.0, 0.0)


def may_better(
    trip: Trip, stations: Sequence[PlanStation], weights: Weights, known: Plan
) -> list[int]:
    """The numbers of the stations at which a better plan than one may stop: no other one does."""
    task = task_of(trip, stations, weights)
    least, _ = promise(task, range(len(stations)))
    cost = _known_by(task, known).cost
    return [number for number, each in enumerate(least) if each < cost]


def _known_by(task: Task, known: Plan | None) -> Best:
    """A plan, as the search knows it."""
    if known is None:
        return Best()
    chain = [(stop.place, stop.station) for stop in known.stops]
    cost, _ = charges(task, chain) or (inf, None)
    return Best(chain, cost) if cost < inf else Best()


def is_possible(trip: Trip, stations: Sequence[PlanStation]) -> bool:
    """Whether there is a plan of a trip. It takes no search."""
    return carried(task_of(trip, stations, TIME), range(len(stations)))


def _waits(trip: Trip, stations: Sequence[PlanStation]) -> Iterator[float]:
    return (_wait(trip, each) for each in stations)


def _wait(trip: Trip, station: PlanStation) -> float:
    """How long one waits at a station at the most, hours."""
    if station.free_at_h <= 0.0:
        return 0.0
    return max(0.0, station.free_at_h - row(trip.hours, trip.places[0], [station.index])[0])


def task_of(trip: Trip, stations: Sequence[PlanStation], weights: Weights) -> Task:
    """What the search is to do."""
    money = weights.hours_of_money
    counts = weights.value_of_hour is not None
    # Thousands of stations have few curves and prices.
    curves: dict[tuple[int, float, float], PiecewiseLinear] = {}
    for each in stations:
        kind = id(each.charge), each.price_kwh, each.price_hour
        if kind not in curves:
            curve = each.charge.until(trip.most_kwh)
            if curve.xs[0] > NOTHING_KWH or curve.xs[-1] < trip.most_kwh - NOTHING_KWH:
                raise ValueError(
                    f"charge of the station of node {each.index} must go from 0 to most_kwh, "
                    f"{trip.most_kwh:g}, not from {curve.xs[0]:g} to {curve.xs[-1]:g}"
                )
            if counts:
                by_hour, by_kwh = 1.0 + each.price_hour * money, each.price_kwh * money
                curve = PiecewiseLinear.of((x, y * by_hour + x * by_kwh) for x, y in curve.points)
            curves[kind] = curve
    return Task(
        trip.places,
        trip.energy_kwh,
        trip.hours,
        trip.stays_h,
        trip.start_kwh,
        trip.reserve_kwh,
        max(trip.arrival_kwh, trip.reserve_kwh),
        trip.most_kwh,
        [each.index for each in stations],
        [curves[id(each.charge), each.price_kwh, each.price_hour] for each in stations],
        [
            each.stop_h + each.fee * money + (_wait(trip, each) if counts else 0.0) + TIE_H
            for each in stations
        ],
        [0.0 if counts else each.free_at_h for each in stations],
    )


def _told(
    trip: Trip,
    stations: Sequence[PlanStation],
    task: Task,
    chain: Stops,
    charged: Sequence[tuple[float, float]],
    gap: float | None,
) -> Plan:
    """A plan from its stops, and the charges there: all that happens from departure to the end."""
    drives, stops = [], []
    clock, charge, passed = trip.stays_h[0], trip.start_kwh, iter(charged)
    for way in ways(task, chain):
        left = charge
        # With rounding it may be under the floor by nothing that matters, but nobody is told so.
        floor = task.floor(way.leg) if way.station == PLACE else task.reserve_kwh
        charge = max(charge - way.energy, floor)
        clock += way.hours
        drives.append(Drive(way.leg, way.here, way.there, way.energy, way.hours, left, charge))
        if way.station == PLACE:
            clock += trip.stays_h[way.leg + 1]
            continue
        station, (_, leave) = stations[way.station], next(passed)
        wait = max(0.0, station.free_at_h - clock)
        start = clock + wait + station.stop_h
        hours = station.charge(leave) - station.charge(charge)
        money = station.fee + station.price_hour * hours + station.price_kwh * (leave - charge)
        stop = Stop(
            way.leg, way.station, charge, leave, clock, start, start + hours, wait, hours, money
        )
        stops.append(stop)
        clock, charge = stop.depart_h, leave
    return Plan(
        tuple(drives),
        tuple(stops),
        clock,
        fsum(each.hours for each in drives),
        fsum(trip.stays_h),
        fsum(each.money for each in stops),
        gap,
    )


def front(
    trip: Trip, stations: Sequence[PlanStation], deadline: Callable[[], bool] = never
) -> list[Plan]:
    """
    Time against money: the fastest plan, the cheapest one, and between two neighbours that which is
    the best at the value of an hour at which both are as good, where it is better than they are.

    These are the plans on the convex edge, eight at the most, the fastest first; none is worse in
    both than another. Plans in the dents between them are not found (Aneja and Nair, 1979).

    :return: none where there is no plan.
    """
    fastest = plan(trip, stations, TIME, deadline)
    if isinstance(fastest, NoPlan):
        return []
    cheapest = cast(Plan, plan(trip, stations, PRICE, deadline, fastest))
    found, gaps = [fastest, cheapest], [(fastest, cheapest)]
    while gaps and len(found) < MOST_PLANS and not deadline():
        quick, cheap = gaps.pop(0)
        if quick.hours >= cheap.hours - SAME_PLAN_H or quick.money <= cheap.money:
            continue
        weights = Weights((quick.money - cheap.money) / (cheap.hours - quick.hours))
        between = cast(Plan, plan(trip, stations, weights, deadline, quick))
        if between.cost_h(weights) < quick.cost_h(weights) - TIE_H * 10:
            found.append(between)
            gaps += [(quick, between), (between, cheap)]
    return undominated(found)


def undominated(plans: Sequence[Plan]) -> list[Plan]:
    """Those that no other is as good as in both, the fastest first."""
    found: list[Plan] = []
    for each in sorted(plans, key=lambda each: (each.hours, each.money)):
        if not found or each.money < found[-1].money - SAME_PLAN_H:
            found.append(each)
    return found
