"""A plan as a reply has it, driven again: by nothing but the reply and how cars charge."""

from collections.abc import Iterable, Mapping
from typing import Any
from unittest import TestCase

from evcharge.models.electric_car import CarModel
from evcharge.models.evse import plugs_of
from evcharge.models.slots import StationState
from evcharge.planning.planner import Asked, Matrix
from evcharge.utils.geo_utils import distance_km

ASKED = (
    "criterion",
    "value_of_hour",
    "reserve_percent",
    "arrival_percent",
    "max_percent",
    "stop_minutes",
    "road_factor",
    "speed_km_h",
)
"""Fields of a PLAN that a trip has by the same names."""


def replayed(
    case: TestCase,
    model: CarModel,
    battery_percent: float,
    data: Mapping[str, Any],
    reply: Mapping[str, Any],
    states: Iterable[StationState],
) -> None:
    """
    Drive all plans of a reply to PLAN.

    :param battery_percent: with which the user has logged in.
    :param data: what was asked.
    :param reply: its data.
    """
    case.assertTrue(reply["feasible"])
    matrix = data.get("matrix")
    asked = Asked(
        model,
        data.get("battery_percent", battery_percent),
        [(place["latitude"], place["longitude"]) for place in data["places"]],
        stays_minutes=[place.get("stay_minutes", 0.0) for place in data["places"]],
        matrix=None
        if matrix is None
        else Matrix(
            matrix["distance_km"],
            matrix["travel_minutes"],
            [int(key) for key in matrix["stations"]],
        ),
        **{name: data[name] for name in ASKED if name in data},
    )
    there = {state.station.key: state for state in states}
    plans = reply["plans"] if data.get("criterion") == "front" else [reply["plan"]]
    case.assertEqual(plans[0], reply["plan"])
    for plan in plans:
        retold(case, asked, plan, there)
        if data.get("wait") == "ignore":
            case.assertEqual(plan["wait_minutes"], 0)


def retold(
    case: TestCase, asked: Asked, plan: Mapping[str, Any], there: Mapping[str, StationState]
) -> None:
    """Drive a plan again, as a reply has it, by how the car charges."""
    model = asked.model
    stays = list(asked.stays_minutes) or [0.0] * len(asked.places)
    percent, clock, stops, place = asked.battery_percent, stays[0], list(plan["stops"]), 0
    here: Any = asked.places[0]
    arrival = asked.reserve_percent if asked.arrival_percent is None else asked.arrival_percent
    energy = price = charging = waiting = driven = far = 0.0

    def roads(leg: Mapping[str, Any], here: Any, to: Any) -> tuple[float, float]:
        """How far, km, and how long, minutes, a leg has to be."""
        matrix = asked.matrix
        if matrix is None:
            km = distance_km(*here, *to) * asked.road_factor
            return km, km / asked.speed * 60
        rows = [
            end["place"]
            if "place" in end
            else len(asked.places) + list(matrix.stations).index(int(end["id_station"]))
            for end in (leg["from"], leg["to"])
        ]
        return tuple(each[rows[0]][rows[1]] for each in (matrix.distance_km, matrix.travel_minutes))

    def close(told: float, is_so: float, what: str) -> None:
        case.assertLess(abs(told - is_so), 1e-6, (what, told, is_so, plan))

    for leg in plan["legs"]:
        stop = stops.pop(0) if "id_station" in leg["to"] else None
        to = asked.places[place + 1]
        if stop is not None:
            station = there[stop["id_station"]].station
            case.assertEqual(leg["to"], {"id_station": station.key})
            to = station.latitude, station.longitude
            case.assertEqual((stop["latitude"], stop["longitude"]), to)
        km, minutes = roads(leg, here, to)
        close(leg["distance_km"], km, "km")
        close(leg["travel_minutes"], minutes, "minutes")
        close(leg["depart_percent"], percent, "percent on leaving")
        percent -= km * model.consumption_kwh_per_km / model.battery_capacity_kwh * 100
        close(leg["arrive_percent"], percent, "percent on arriving")
        case.assertGreaterEqual(leg["arrive_percent"], asked.reserve_percent - 1e-9)
        clock, here, driven, far = clock + minutes, to, driven + minutes, far + km
        if stop is None:
            place += 1
            case.assertEqual(leg["to"], {"place": place})
            clock += stays[place]
            continue
        case.assertEqual(stop["place"], place)
        close(stop["arrive_minutes"], clock, "arrival")
        close(stop["arrive_percent"], percent, "percent at a stop")
        clock += stop["wait_minutes"] + asked.stop_minutes
        close(stop["start_minutes"], clock, "start")
        case.assertGreater(stop["depart_percent"], percent)
        case.assertLessEqual(stop["depart_percent"], asked.max_percent + 1e-9)
        taken = (stop["depart_percent"] - percent) * model.battery_capacity_kwh / 100
        close(stop["energy_kwh"], taken, "energy")
        seconds = [
            plug.rate.seconds(percent, stop["depart_percent"])
            for evse in station.evses
            if evse.in_service
            for plug in plugs_of(model, evse.kind)
        ]
        # Charges that take as long to the ms are alike: then the EVSE that leaves more is taken.
        shortest = min(seconds, key=lambda each: abs(each / 60 - stop["charge_minutes"]))
        case.assertLess(shortest - min(seconds), 1e-3, plan)
        close(stop["charge_minutes"], shortest / 60, "charge")
        clock += stop["charge_minutes"]
        close(stop["depart_minutes"], clock, "departure")
        percent = stop["depart_percent"]
        energy, price = energy + taken, price + stop["price"]
        charging, waiting = charging + shortest / 60, waiting + stop["wait_minutes"]
    case.assertEqual((stops, place), ([], len(asked.places) - 1))
    case.assertGreaterEqual(percent, arrival - 1e-9)
    close(plan["arrival_percent"], percent, "percent at the end")
    for name, is_so in (
        ("total_minutes", clock),
        ("drive_minutes", driven),
        ("charge_minutes", charging),
        ("wait_minutes", waiting),
        ("stop_minutes", asked.stop_minutes * len(plan["stops"])),
        ("stay_minutes", sum(stays)),
        ("energy_kwh", energy),
        ("price", price),
        ("distance_km", far),
    ):
        close(plan[name], is_so, name)
    parts = ("drive", "charge", "wait", "stop", "stay")
    close(plan["total_minutes"], sum(plan[f"{each}_minutes"] for each in parts), "sum")
