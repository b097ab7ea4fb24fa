"""`evcharge plan`: a trip beyond the range: where to stop, and how far to charge there."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evcharge.commands import USAGE, Exit
from evcharge.commands.numbers import figure
from evcharge.commands.plan_network import Picture, from_files
from evcharge.commands.plan_vectors import cases
from evcharge.commands.tables import Column, clean, table, width
from evcharge.models.electric_car import CarModel
from evcharge.models.terms import DEFAULT_TERMS
from evcharge.planning.itinerary import planned, reply
from evcharge.planning.planner import (
    CRITERIA,
    MOST_PLACES,
    RESERVE_PERCENT,
    RESERVE_PERCENTS,
    ROAD_FACTORS,
    SPEEDS_KM_H,
    STOP_MINUTES,
    STOPS_MINUTES,
    VALUE_OF_HOUR,
    VALUES_OF_HOUR,
    Asked,
    straight,
)
from evcharge.planning.sites import Look
from evcharge.planning.trips import ROAD_FACTOR
from evcharge.utils.figures import decimal
from evcharge.utils.numbers import finite_number


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    parser = commands.add_parser(
        "plan",
        help="plan where to charge on a trip",
        example='evcharge plan --car "Kia EV6" --battery 30 --from -12.3,-39 --to -13,-38.5',
        description=(
            "Plans a trip beyond the range: where to stop, how far to charge, when you arrive and "
            "what it costs. It prints the best plan that there is. Without --storage or --stations "
            "it uses the stations that come with evcharge: those of the city, and examples on the "
            "roads out of it. Roads count as straight lines, made longer by --road-factor."
        ),
    )
    what = parser.add_argument_group("the trip")
    what.add_argument("--car", metavar="NAME", help="name of the car model in the catalogue")
    what.add_argument(
        "--battery", metavar="%", type=figure(0, 100), help="state of charge at departure, in %%"
    )
    what.add_argument(
        "--from", dest="origin", metavar="LAT,LON", type=_place, help="where you start, in degrees"
    )
    what.add_argument("--to", metavar="LAT,LON", type=_place, help="where you go, in degrees")
    what.add_argument(
        "--via",
        metavar="LAT,LON",
        type=_place,
        action="append",
        default=[],
        help="place to pass on the way; may be repeated",
    )
    what.add_argument(
        "--criterion",
        choices=CRITERIA,
        default=CRITERIA[0],
        help="what the best plan is; front: all from the fastest to the cheapest "
        "(default %(default)s)",
    )
    what.add_argument(
        "--value-of-hour",
        metavar="BRL",
        type=figure(*VALUES_OF_HOUR),
        default=VALUE_OF_HOUR,
        help="what an hour is worth, for --criterion balanced (default %(default)g)",
    )
    what.add_argument(
        "--reserve",
        metavar="%",
        type=figure(*RESERVE_PERCENTS),
        default=RESERVE_PERCENT,
        help="least state of charge on arrival anywhere, in %% (default %(default)g)",
    )
    what.add_argument(
        "--arrival",
        metavar="%",
        type=figure(0, 100),
        help="least state of charge at the destination, in %% (default: that of --reserve)",
    )
    what.add_argument(
        "--max",
        metavar="%",
        type=figure(0, 100),
        default=100.0,
        help="highest state of charge to charge to, in %% (default %(default)g)",
    )
    what.add_argument(
        "--stop-minutes",
        metavar="MINUTES",
        type=figure(*STOPS_MINUTES),
        default=STOP_MINUTES,
        help="minutes that a stop takes beside charging (default %(default)g)",
    )
    what.add_argument(
        "--road-factor",
        metavar="FACTOR",
        type=figure(*ROAD_FACTORS),
        default=ROAD_FACTOR,
        help="how many times longer roads are than straight lines (default %(default)g)",
    )
    what.add_argument(
        "--speed",
        metavar="KM/H",
        type=figure(*SPEEDS_KM_H),
        help="driving speed (default: 80, or 70 %% of the car's top speed if that is less)",
    )
    what.add_argument(
        "--avoid",
        metavar="STATION",
        action="append",
        default=[],
        help="id of a station where you do not want to charge; may be repeated",
    )
    where = parser.add_argument_group("the network").add_mutually_exclusive_group()
    where.add_argument(
        "--storage", metavar="URL", help="take cars, stations and present drivers from this storage"
    )
    where.add_argument(
        "--stations", metavar="FILE", type=Path, help="take the stations from this CSV file"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the data that a reply to PLAN has, as JSON"
    )
    parser.add_argument(
        "--vectors",
        metavar="FILE",
        type=Path,
        help="solve the cases of this file instead, and print a line of JSON for each",
    )
    parser.set_defaults(run=run)


def _place(text: str) -> tuple[float, float]:
    latitude, comma, longitude = text.partition(",")
    found = finite_number(latitude), finite_number(longitude)
    if not comma or found[0] is None or found[1] is None:
        raise argparse.ArgumentTypeError(
            f"must be latitude and longitude, with points, as -12.2664,-38.9663, not {text!r}"
        )
    if abs(found[0]) > 90 or abs(found[1]) > 180:
        raise argparse.ArgumentTypeError(f"{text!r} is no place on Earth")
    return found[0], found[1]


def run(options: argparse.Namespace) -> None:
    """
    Print the plan.

    :raise Exit: something is missing or wrong, or there is no plan.
    """
    if options.vectors is not None:
        for case in cases(options.vectors):
            print(case.solved())
        return
    missing = [
        name
        for name, value in (
            ("--car", options.car),
            ("--battery", options.battery),
            ("--from", options.origin),
            ("--to", options.to),
        )
        if value is None
    ]
    if missing:
        raise Exit(f"{', '.join(missing)} must be given; see: evcharge plan --help", USAGE)
    if options.max <= options.reserve:
        raise Exit(f"--max must be more than --reserve, which is {options.reserve:g}", USAGE)
    if len(options.via) > MOST_PLACES - 2:
        raise Exit(f"--via can be given {MOST_PLACES - 2} times at the most", USAGE)
    picture = _picture(options)
    known = {state.station.key for state in picture.states}
    for key in options.avoid:
        if key not in known:
            raise Exit(f"--avoid: there is no station {key!r}", USAGE)
    name, model = picture.model(options.car)
    data = answer(options, model, picture)
    if options.json:
        print(json.dumps(data, ensure_ascii=False))
        return
    if not data["feasible"]:
        raise Exit(reason(data))
    for line in report(name, data):
        print(clean(line))


def _picture(options: argparse.Namespace) -> Picture:
    if options.storage is None:
        return from_files(options.stations)
    # Who has none need not wait for it to be imported.
    from evcharge.commands.plan_storage import from_storage

    return from_storage(options)


def answer(options: argparse.Namespace, model: CarModel, picture: Picture) -> dict[str, Any]:
    """What a reply to PLAN has of a trip."""
    asked = Asked(
        model,
        options.battery,
        [options.origin, *options.via, options.to],
        criterion=options.criterion,
        value_of_hour=options.value_of_hour,
        reserve_percent=options.reserve,
        arrival_percent=options.arrival,
        max_percent=options.max,
        stop_minutes=options.stop_minutes,
        road_factor=options.road_factor,
        speed_km_h=options.speed,
    )
    look = Look(model, time.time(), DEFAULT_TERMS, picture.tariffs)
    found = straight(asked)
    if found is None:
        return planned(asked, look, picture.states, options.avoid)
    return reply(found, asked, look, ())


def reason(data: Mapping[str, Any]) -> str:
    """Why there is no plan, for a person."""
    needed, possible = data["start_percent_needed"], data["reserve_percent_possible"]
    leg, missing = data["blocked_leg"] + 1, data["missing_km"]
    helps = [
        f"{needed} % in the battery" if needed is not None else "",
        f"a reserve of {possible} %" if possible is not None else "",
    ]
    what = " or with ".join(filter(None, helps))
    return f"no plan is possible: on leg {leg} of the trip {missing:.1f} km are missing; " + (
        f"there is one with {what}" if what else "neither more battery nor less reserve helps"
    )


def _span(minutes: float) -> str:
    whole = round(minutes)
    return f"{whole // 60} h {whole % 60:02} min" if whole >= 60 else f"{whole} min"


def report(name: str, data: Mapping[str, Any]) -> Iterator[str]:
    """A plan, or several, as lines of text."""
    plans = data.get("plans") or [data["plan"]]
    for number, plan in enumerate(plans):
        if number:
            yield ""
        stops = len(plan["stops"])
        yield (
            f"{name}: {plan['distance_km']:.1f} km in {_span(plan['total_minutes'])}, "
            f"{stops or 'no'} stop{'' if stops == 1 else 's'}, "
            f"R$ {decimal(plan['price'], 'en', 2)}, arrives with {plan['arrival_percent']:.1f} %"
        )
        yield from _table(plan)
    assumed = ", ".join(data["assumed"])
    yield f"{data['stations_considered']} stations considered; assumed: {assumed}"


def _table(plan: Mapping[str, Any]) -> Iterator[str]:
    """Where one is, and when, as a table."""
    destination = {"place": sum("place" in leg["to"] for leg in plan["legs"])}
    stops, clock = iter(plan["stops"]), 0.0
    begin = f"{plan['legs'][0]['depart_percent']:.1f} %"
    rows = [("departure", "", "0:00", "", begin, *[""] * 4)]
    for leg in plan["legs"]:
        clock += leg["travel_minutes"]
        km, arrive = f"{leg['distance_km']:.1f}", f"{leg['arrive_percent']:.1f} %"
        if "place" in leg["to"]:
            place = f"place {leg['to']['place']}"
            where = "destination" if leg["to"] == destination else place
            rows.append((where, km, _clock(clock), arrive, *[""] * 5))
            continue
        stop = next(stops)
        rows.append(
            (
                f"{stop['id_station']} {stop['name_station']}",
                km,
                _clock(clock),
                arrive,
                f"{stop['depart_percent']:.1f} %",
                f"{stop['energy_kwh']:.2f}",
                f"{stop['charge_minutes']:.1f} min",
                f"{stop['wait_minutes']:.1f} min",
                f"{stop['price']:.2f}",
            )
        )
        clock = stop["depart_minutes"]
    names = ("", "km", "at", "arrive", "leave", "kWh", "charge", "wait", "R$")
    columns = [
        Column(name, [row[at] for row in rows], figures=at > 0) for at, name in enumerate(names)
    ]
    return table(columns, width())


def _clock(minutes: float) -> str:
    """Since departure."""
    whole = round(minutes)
    return f"{whole // 60}:{whole % 60:02}"
