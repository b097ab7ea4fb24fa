"""
Which station to send a car to: pure functions of a car, stations, distances and now.

Not every station is looked at closely. Each has a rank that it has at the best, which costs little;
the true one is worked out of those only that may be among the best by it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import Any

import attrs

from evcharge.models.electric_car import ElectricCar
from evcharge.models.estimates import ChargePlan, Priced, estimate, plan_charge
from evcharge.models.evse import Evse, EvseKind, plugs_of, quickest, to_the_ms
from evcharge.models.slots import Soonest, StationState
from evcharge.models.tariffs import Tariff
from evcharge.models.terms import Terms
from evcharge.planning.nearest import Nearest
from evcharge.rules.waiting import open_to, turn


@attrs.define
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
    """Of those out of range, with how far away it is, km; it may be missing where another station
    was found."""

    def count(self, trip: _Trip, kinds: Sequence[EvseKind], number: int = 1) -> None:
        """Count stations in range where no EVSE that fits is ever free; they have such EVSEs."""
        if kinds and all(trip.least_s(kind) == inf for kind in kinds):
            self.no_connector += number
        else:
            self.not_in_service += number


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
    terms: Terms
    user_id: str
    """Whose trip it is, who may be in line somewhere."""
    by_time: bool
    """Whether stations are compared by how long the charge takes."""
    _least: dict[int, float] = attrs.field(factory=dict, init=False)
    """What :meth:`least_s` said of a kind of EVSE, by its `id`: those that are alike are mostly one
    object, so there is no need to look into it."""
    _firsts: dict[Soonest, tuple[float, float]] = attrs.field(factory=dict, init=False)
    """What :meth:`first` said."""
    lines: dict[int, list[Evse]] = attrs.field(factory=dict, init=False)
    """The EVSEs that fit at each station where others wait in line, by its id: those that are open
    to the car, or else those that it may be given in its turn."""
    _seen: list[EvseKind] = attrs.field(factory=list, init=False)
    """Those kinds: while they are here, no other has the id of one."""

    def least_s(self, kind: EvseKind) -> float:
        """
        No more than the shortest charge takes at such an EVSE, infinite where nothing fits: where
        it matters what it takes with what is in the battery now, of which less is left later.
        """
        known = self._least.get(id(kind))
        if known is not None:
            return known
        plugs, least_s = plugs_of(self.car.model, kind), 0.0
        if not plugs:
            least_s = inf
        elif self.by_time:
            least_s = quickest(plugs, self.car.percent, self.target_percent)[1]
        self._seen.append(kind)
        self._least[id(kind)] = least_s
        return least_s

    def first(self, soonest: Soonest) -> tuple[float, float]:
        """
        When the first EVSE that fits is free, and no more than the charge takes there; infinite
        where none ever is.
        """
        found = self._firsts.get(soonest)
        if found is not None:
            return found
        free_at, least_s, known = inf, inf, self._least
        for kind, at in soonest.at:
            charge_s = known.get(id(kind))
            if charge_s is None:
                charge_s = self.least_s(kind)
            if charge_s != inf:
                if at < free_at:
                    free_at = at
                if charge_s < least_s:
                    least_s = charge_s
        found = self._firsts[soonest] = free_at, least_s
        return found

    def free_at(self, state: StationState) -> float:
        """When the first EVSE that fits is free, or, where others wait, it is the car's turn."""
        slots = state.slots if state.queue_length else None
        if slots is None:
            return self.first(state.soonest)[0]
        station, model = state.station, self.car.model
        fitting = [evse for evse in station.in_order if plugs_of(model, evse.kind)]
        open_evses = [evse for evse in open_to(station, slots, self.user_id) if evse in fitting]
        self.lines[station.station_id] = open_evses or fitting
        if open_evses:
            return -inf
        place = slots.place(self.user_id)
        expected = turn(station, slots, self.now, self.terms, model, place)
        return inf if expected is None else self.now + self.terms.real_s(expected.minutes * 60)

    def until_charging_s(self, free_at: float, distance_km: float) -> float:
        """Travel and wait together."""
        # Not the wait by itself: with its rounding, who is nearer might seem to take longer.
        travel_s = self.car.travel_time_s(distance_km)
        if free_at == -inf:
            return travel_s
        return max(travel_s, (free_at - self.now) * self.terms.time_scale)

    def begin(self, free_at: float, distance_km: float) -> float:
        """When charging begins, seconds since the epoch."""
        return self.now + self.until_charging_s(free_at, distance_km) / self.terms.time_scale

    def start_percent(self, distance_km: float) -> float:
        """The state of charge at the arrival."""
        return max(0.0, self.car.percent_after(distance_km))

    def energy_kwh(self, distance_km: float) -> float:
        """What is charged."""
        percent = max(0.0, self.target_percent - self.start_percent(distance_km))
        return percent * self.car.model.battery_capacity_kwh / 100.0

    def plan(self, state: StationState, free_at: float, distance_km: float) -> ChargePlan:
        """The charge, at the EVSE that the car is given."""
        kinds: Sequence[EvseKind]
        line = self.lines.get(state.station.station_id)
        if line is not None:
            kinds = [evse.kind for evse in line]
        elif free_at == -inf:
            # Of several that are as good it is the one whose EVSE comes first.
            kinds = state.free_kinds
        else:
            kinds = [e.kind for e in state.kinds if e.next_free_timestamp == free_at]
        start = self.start_percent(distance_km)
        found = plan_charge(self.car.model, kinds, start, self.target_percent)
        assert found is not None, state
        return found[1]

    def price(self, state: StationState, begin: float, plan: ChargePlan) -> tuple[Decimal, bool]:
        """What the charge costs that begins then, and whether that is known."""
        station = state.station
        tariff, is_known = station.prices.tariff(plan.plug.connector, self.tariffs, begin)
        return estimate(tariff, plan, begin, station.zone(self.terms.zone)), is_known

    def candidate(
        self, state: StationState, free_at: float, distance_km: float, plan: ChargePlan
    ) -> Candidate:
        travel_s = self.car.travel_time_s(distance_km)
        wait_s = max(0.0, (free_at - self.now) * self.terms.time_scale - travel_s)
        begin = self.now + (travel_s + wait_s) / self.terms.time_scale
        price, is_known = self.price(state, begin, plan)
        line = self.lines.get(state.station.station_id)
        if line is not None:
            fitting = len(line) if free_at == -inf else 0
        elif free_at == -inf:
            fitting = sum(each.free for each in state.kinds if self.least_s(each.kind) != inf)
        else:
            fitting = 0
        return Candidate(
            state=state,
            distance_km=distance_km,
            travel_s=travel_s,
            wait_s=wait_s,
            plan=plan,
            price=price,
            fitting_slots=fitting,
            assumed=plan.assumed(is_known),
        )


@attrs.frozen
class Criterion:
    """By what stations are compared."""

    figure: Callable[[_Trip, StationState, float, float, ChargePlan], Any]
    """That of a station, of when an EVSE that fits is free, of how far away it is, km, and of the
    charge there."""
    at_best: Callable[[_Trip, Priced, float, float, float], Any]
    """No more than that of any of several stations, for less work: of their tariffs, and of the
    least of when an EVSE is free, of how far away one is, and of how long the charge takes."""


def _distance(
    trip: _Trip, state: StationState, free_at: float, distance_km: float, plan: ChargePlan
) -> Any:
    # Stations where nothing is free come after all where something is, the soonest done first.
    return (0, 0.0) if free_at == -inf else (1, _time(trip, state, free_at, distance_km, plan))


def _distance_at_best(
    trip: _Trip, priced: Priced, free_at: float, distance_km: float, least_s: float
) -> Any:
    if free_at == -inf:
        return 0, 0.0
    return 1, _time_at_best(trip, priced, free_at, distance_km, least_s)


def _time(
    trip: _Trip, state: StationState, free_at: float, distance_km: float, plan: ChargePlan
) -> Any:
    # What takes as long, reckoned in other pieces, must not come later for another last digit.
    return to_the_ms(trip.until_charging_s(free_at, distance_km) + plan.seconds)


def _time_at_best(
    trip: _Trip, priced: Priced, free_at: float, distance_km: float, least_s: float
) -> Any:
    # Less by what rounding may take away.
    return trip.until_charging_s(free_at, distance_km) + least_s - 0.001


def _price(
    trip: _Trip, state: StationState, free_at: float, distance_km: float, plan: ChargePlan
) -> Any:
    # Stations where nothing is free come after all where something is, as by the distance.
    return free_at != -inf, float(trip.price(state, trip.begin(free_at, distance_km), plan)[0])


def _price_at_best(
    trip: _Trip, priced: Priced, free_at: float, distance_km: float, least_s: float
) -> Any:
    least = trip.energy_kwh(distance_km) * priced.least_kwh(trip.tariffs)
    # Less by what rounding may take away.
    return free_at != -inf, least - 0.01


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
    terms: Terms,
    most: int,
    user_id: str = "",
) -> Selection:
    """
    The best stations that `car` can reach and be charged at, best first.

    :param target_percent: to which state of charge it is to be charged.
    :param distances: stations, each with how far away it is, km.
    :param criterion: a key of :data:`CRITERIA`. Equals go by distance, then by id.
    :param tariffs: those of the network, by id.
    :param now: seconds since the epoch.
    :param most: how many stations at the most.
    :param user_id: whose car it is, who waits for nobody behind in a line.
    """
    trip = _Trip(car, target_percent, tariffs, now, terms, user_id, criterion == "time")
    at_best, range_km, excluded = CRITERIA[criterion].at_best, car.range_km(), Excluded()
    ahead: list[tuple[Any, float, int, StationState]] = []
    for state, distance in distances:
        if distance >= range_km:
            excluded.out_of_range += 1
            far = (distance, state)
            if excluded.nearest is None or _nearer(far, excluded.nearest):
                excluded.nearest = far
            continue
        free_at, least_s = trip.first(state.soonest)
        if free_at == inf:
            excluded.count(trip, [each.kind for each in state.kinds])
            continue
        order = at_best(trip, state.station.priced, free_at, distance, least_s)
        ahead.append((order, distance, state.station.station_id, state))
    return Selection(_best(trip, _popped(ahead), criterion, most), excluded)


def _popped(
    ahead: list[tuple[Any, float, int, StationState]],
) -> Iterator[tuple[Any, float, StationState]]:
    """What is in a list, in order: no more of it is sorted than is asked for."""
    heapq.heapify(ahead)
    while ahead:
        order, distance, _, state = heapq.heappop(ahead)
        yield order, distance, state


def rank_around(
    car: ElectricCar,
    target_percent: float,
    tree: Nearest,
    place: tuple[float, float],
    criterion: str,
    tariffs: Mapping[str, Tariff],
    now: float,
    terms: Terms,
    most: int,
    user_id: str = "",
) -> Selection:
    """
    As :func:`rank_stations` of all stations of `tree`, with their distances from a place.

    :param place: its latitude and longitude, degrees.
    """
    trip = _Trip(car, target_percent, tariffs, now, terms, user_id, criterion == "time")
    at_best, range_km, excluded = CRITERIA[criterion].at_best, car.range_km(), Excluded()

    def rank(soonest: Soonest, priced: Priced, distance_km: float) -> Any:
        free_at, least_s = trip.first(soonest)
        return None if free_at == inf else at_best(trip, priced, free_at, distance_km, least_s)

    found = _best(trip, tree.search(*place, rank, range_km), criterion, most)
    in_range = tree.count(*place, range_km)
    excluded.out_of_range = len(tree) - in_range.total()
    for equipment, number in in_range.items():
        if all(trip.least_s(kind) == inf for kind in equipment.usable):
            excluded.count(trip, equipment.kinds, number)
    if excluded.out_of_range and not found:
        beyond = tree.search(*place, lambda *_: (), from_km=range_km)
        _, away, state = next(beyond)
        excluded.nearest = away, state
    return Selection(found, excluded)


def _best(
    trip: _Trip, in_order: Iterator[tuple[Any, float, StationState]], criterion: str, most: int
) -> list[Candidate]:
    """
    The best of stations that come in the order of what they have at the best.

    Only those are looked at closely that may be among the best by that.
    """
    figure, found = CRITERIA[criterion].figure, list[Candidate]()
    known: list[tuple[Any, float, int, float, ChargePlan, StationState]] = []
    """Those that were looked at: a heap."""
    ahead = next(in_order, None)
    while len(found) < most and (known or ahead):
        if known and (ahead is None or known[0][:3] <= (*ahead[:2], ahead[2].station.station_id)):
            _, distance, _, free_at, plan, state = heapq.heappop(known)
            found.append(trip.candidate(state, free_at, distance, plan))
            continue
        assert ahead is not None
        _, distance, state = ahead
        free_at = trip.free_at(state)
        plan = trip.plan(state, free_at, distance)
        order = figure(trip, state, free_at, distance, plan)
        heapq.heappush(known, (order, distance, state.station.station_id, free_at, plan, state))
        ahead = next(in_order, None)
    return found


def _nearer(one: tuple[float, StationState], other: tuple[float, StationState]) -> bool:
    return (one[0], one[1].station.station_id) < (other[0], other[1].station.station_id)
