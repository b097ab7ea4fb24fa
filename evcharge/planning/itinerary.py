"""
A plan as a driver is told it: exactly, by how cars charge and what tariffs say.

The search takes charges as lines from point to point, and prices as one figure a kWh, an hour and a
stop. Here each charge of the plan that it has found is worked out; what is told is that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from math import fsum
from typing import Any

import attrs

from evcharge.models.estimates import ChargePlan, estimate, plan_charge
from evcharge.models.slots import StationState
from evcharge.planning.planner import FRONT, Asked, Found, solve
from evcharge.planning.sites import Look, sites
from evcharge.planning.trips import Plan, Stop, never

SAME_PRICE = 0.006
"""Prices of a stop that differ by no more are one: that which is told is rounded, BRL."""

TARIFF_TIME = "tariff_time"
"""What replies call it where the search went by another price than the one that is told."""


@attrs.define
class Itinerary:
    """What is told of a plan."""

    plan: dict[str, Any]
    """The field `plan` of a reply to PLAN."""
    assumed: set[str]
    """What was not known of its stops."""


def planned(
    asked: Asked,
    look: Look,
    states: Sequence[StationState],
    avoid: Collection[str] = (),
    time_is_up: Callable[[], bool] = never,
) -> dict[str, Any]:
    """
    Search for the plan of a trip, here and now; gives what :func:`reply` tells of it.

    :param asked: without its sites.
    :param states: of the stations where one may stop.
    :param avoid: ids of those that the driver does not want.
    :param time_is_up: see :func:`evcharge.planning.planner.solve`.
    """
    there = sites(look, states, asked.places[0], asked.hours_per_km, avoid)
    return reply(solve(attrs.evolve(asked, sites=there), time_is_up), asked, look, states)


def reply(found: Found, asked: Asked, look: Look, states: Iterable[StationState]) -> dict[str, Any]:
    """
    All that is told of a trip, but for its `message`.

    :param states: those of the stations that were looked at, as they were then.
    """
    stops = {found.sites[each.station].station_id for plan in found.plans for each in plan.stops}
    by_id = {
        state.station.station_id: state for state in states if state.station.station_id in stops
    }
    told = [tell(asked, found, plan, look, by_id) for plan in found.plans]
    data: dict[str, Any] = {"feasible": bool(told)}
    if told:
        if asked.criterion == FRONT:
            data["plans"] = [each.plan for each in told]
        data["plan"] = told[0].plan
    elif found.why is not None:
        data |= {
            "blocked_leg": found.why.blocked_leg,
            "missing_km": _told(found.why.missing_km),
            "start_percent_needed": found.why.start_percent_needed,
            "reserve_percent_possible": found.why.reserve_percent_possible,
        }
    data["stations_considered"] = len(found.sites)
    data["assumed"] = [
        *assumptions(asked, found),
        *sorted({name for each in told for name in each.assumed}),
    ]
    return data


def tell(
    asked: Asked, found: Found, plan: Plan, look: Look, states: Mapping[int, StationState]
) -> Itinerary:
    """
    Work a plan out.

    :param found: of which it is one.
    :param states: by id, those of the stations of its stops.
    """
    return _Telling(asked, found, look, states).tell(plan)


def assumptions(asked: Asked, found: Found) -> list[str]:
    """What was not known of the trip itself, as replies name it."""
    names = [] if asked.matrix is not None else ["road"]
    if asked.matrix is None and asked.speed_km_h is None:
        names.append("speed")
    names.append("consumption")
    # Only where money counts, see planning.trips.
    if any(plan.gap_h is None for plan in found.plans):
        names.append("wait")
    if found.why is not None and not found.why.is_known:
        names.append("search_time")
    if not found.is_metric:
        names.append("matrix_triangle")
    return names


def _told(figure: float) -> float:
    """A figure with more decimals than anybody reads: what is added up of them is right."""
    return round(figure, 9) + 0.0


@attrs.define
class _Telling:
    """One plan, being told."""

    asked: Asked
    found: Found
    look: Look
    states: Mapping[int, StationState]
    clock: float = 0.0
    """Minutes since departure."""
    price: Decimal = Decimal(0)
    charge_minutes: float = 0.0
    wait_minutes: float = 0.0
    assumed: set[str] = attrs.field(factory=set)

    def percent(self, kwh: float) -> float:
        return _told(kwh / self.asked.model.battery_capacity_kwh * 100.0)

    def tell(self, plan: Plan) -> Itinerary:
        asked = self.asked
        stays = [*asked.stays_minutes] or [0.0] * len(asked.places)
        legs: list[dict[str, Any]] = []
        stops: list[dict[str, Any]] = []
        here: dict[str, Any] = {"place": 0}
        self.clock, left, consumption = (
            stays[0],
            iter(plan.stops),
            asked.model.consumption_kwh_per_km,
        )
        for drive, following in zip(plan.drives, [*plan.drives[1:], None], strict=True):
            minutes = 60.0 * drive.hours
            self.clock += minutes
            # The last drive of a leg ends at a place, each other one at a stop.
            ends = following is None or following.place != drive.place
            stop = None if ends else next(left)
            there: dict[str, Any]
            if stop is None:
                there = {"place": drive.place + 1}
            else:
                there = {"id_station": str(self.found.sites[stop.station].station_id)}
            legs.append(
                {
                    "from": here,
                    "to": there,
                    "distance_km": _told(drive.energy_kwh / consumption),
                    "travel_minutes": _told(minutes),
                    "depart_percent": self.percent(drive.depart_kwh),
                    "arrive_percent": self.percent(drive.arrive_kwh),
                }
            )
            here = there
            if stop is None:
                self.clock += stays[drive.place + 1]
            else:
                stops.append(self.stop(stop))
        gap = plan.gap_h
        differs = {"searched_price": round(plan.money, 2)} if TARIFF_TIME in self.assumed else {}
        return Itinerary(
            {
                "distance_km": _told(fsum(leg["distance_km"] for leg in legs)),
                "total_minutes": _told(self.clock),
                "drive_minutes": _told(60.0 * plan.drive_h),
                "charge_minutes": _told(self.charge_minutes),
                "wait_minutes": _told(self.wait_minutes),
                "stop_minutes": _told(asked.stop_minutes * len(stops)),
                "stay_minutes": _told(fsum(stays)),
                "energy_kwh": _told(fsum(stop["energy_kwh"] for stop in stops)),
                "price": float(self.price),
                "arrival_percent": self.percent(plan.arrival_kwh),
                "gap_minutes": None if gap is None else _told(60.0 * gap),
                "legs": legs,
                "stops": stops,
                **differs,
            },
            self.assumed,
        )

    def stop(self, stop: Stop) -> dict[str, Any]:
        """What is told of a stop, at which the clock goes on."""
        site, asked, look = self.found.sites[stop.station], self.asked, self.look
        state = self.states[site.station_id]
        station = state.station
        arrive, depart = self.percent(stop.arrive_kwh), self.percent(stop.depart_kwh)
        charge = self.charge(state, arrive, depart)
        arrives = self.clock
        wait = max(0.0, 60.0 * site.free_at_h - arrives)
        starts = arrives + wait + asked.stop_minutes
        minutes = charge.seconds / 60.0
        begin = look.now + 60.0 * starts / look.terms.time_scale
        tariff, is_known = station.prices.tariff(charge.plug.connector, look.tariffs, begin)
        price = estimate(tariff, charge, begin, station.zone(look.terms.zone))
        if abs(float(price) - stop.money) > SAME_PRICE:
            self.assumed.add(TARIFF_TIME)
        self.assumed.update(charge.assumed(is_known))
        self.clock = starts + minutes
        self.price += price
        self.charge_minutes += minutes
        self.wait_minutes += wait
        connector, average = charge.plug.connector, charge.average_kw
        return {
            "id_station": station.key,
            "name_station": station.name,
            "latitude": station.latitude,
            "longitude": station.longitude,
            "connector": None if connector is None else connector.name,
            "place": stop.place,
            "arrive_minutes": _told(arrives),
            "start_minutes": _told(starts),
            "depart_minutes": _told(self.clock),
            "arrive_percent": arrive,
            "depart_percent": depart,
            "energy_kwh": _told(stop.depart_kwh - stop.arrive_kwh),
            "charge_minutes": _told(minutes),
            "wait_minutes": _told(wait),
            "average_power_kw": None if average is None else _told(average),
            "price": float(price),
            "queue_length": state.queue_length,
        }

    def charge(self, state: StationState, arrive: float, depart: float) -> ChargePlan:
        """The charge at a stop: the shortest one that there is."""
        kinds = list(dict.fromkeys(evse.kind for evse in state.station.in_order))
        found = plan_charge(self.asked.model, kinds, arrive, depart)
        assert found is not None, state
        return found[1]
