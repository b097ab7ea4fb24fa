"""`evcharge charge`: how long a car charges, and with which power, as the server works it out."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evcharge.commands import USAGE, Exit
from evcharge.commands.numbers import figure
from evcharge.commands.tables import width
from evcharge.datasets import DatasetError, listed, read_car_models
from evcharge.datasets.evses import MOST_POWER_KW
from evcharge.datasets.files import CARS, shipped
from evcharge.models.electric_car import CarModel
from evcharge.models.estimates import ChargePlan, plan_charge
from evcharge.models.evse import EvseKind, connector_of, kind_of_row
from evcharge.utils.texts import alike

MARGIN, MOST_WIDTH, LEAST_WIDTH, HEIGHT = 11, 60, 20, 12
"""Of the drawn curve, in characters; the margin is what stands to the left of it."""

BLOCKS = " ▁▂▃▄▅▆▇█"


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    parser = commands.add_parser(
        "charge",
        help="work out how long a car charges",
        example='evcharge charge "Tesla Model 3" --from 10 --to 80',
        description=(
            "Works out how long a car charges from one state of charge to another, how much energy "
            "that is, and draws the power, all as the server does."
        ),
    )
    parser.add_argument("model", metavar="MODEL", help="name of the car model in the catalogue")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="%",
        default=10.0,
        type=figure(0, 100),
        help="state of charge at the beginning, in %% (default 10)",
    )
    parser.add_argument(
        "--to",
        dest="target",
        metavar="%",
        default=80.0,
        type=figure(0, 100),
        help="state of charge at the end, in %% (default 80)",
    )
    parser.add_argument(
        "--power",
        metavar="KW",
        type=figure(0.1, MOST_POWER_KW),
        help="power of the EVSE, in kW (default: what the car can take)",
    )
    parser.add_argument(
        "--connector",
        metavar="NAME",
        help='connector, such as "Type 2" (default: the car\'s for DC, or else for AC)',
    )
    parser.add_argument(
        "--cars",
        metavar="FILE",
        type=Path,
        help="JSON file of car models (default: the shipped one)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """
    Print the charge.

    :raise Exit: there is no such model, or the connector does not fit it.
    """
    name, model = find_model(options.model, options.cars)
    if options.target <= options.start:
        raise Exit(f"--to must be more than --from, which is {options.start:g}", USAGE)
    kind = _evse(model, options.connector, options.power)
    found = plan_charge(model, [kind], options.start, options.target)
    if found is None:
        has = ", ".join([*(model.dc_connectors or ()), *(model.ac_connectors or ())])
        raise Exit(f"{options.connector} does not fit a {name}, which has {has or 'none'}")
    for line in report(name, found[1], options.power):
        print(line)


def find_model(name: str, path: Path | None) -> tuple[str, CarModel]:
    """
    The model of a catalogue that is called so, however people write it, and its name there.

    :raise Exit: there is none, or nothing to read.
    """
    if path is None:
        source, content = "the shipped catalogue", shipped(CARS)
    else:
        source = str(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise Exit(f"{path}: {error.strerror or error}", USAGE) from None
    try:
        catalogue = read_car_models(content, source)
    except DatasetError as error:
        raise Exit("\n  ".join(listed(error.problems)), USAGE) from None
    if name in catalogue.everything and name not in catalogue.models:
        raise Exit("\n  ".join(listed(catalogue.problems)), USAGE)
    known = known_name(name, catalogue.models, source)
    return known, CarModel.from_facts(catalogue.models[known])


def known_name(name: str, models: Iterable[str], source: str) -> str:
    """
    The one of some models that is called so, however people write it.

    :raise Exit: there is none; names those that are written like it.
    """
    names = {each.casefold(): each for each in models}
    known = names.get(name.casefold())
    if known is not None:
        return known
    like = ", ".join(alike(name, names.values(), 3) or sorted(names.values())[:3])
    raise Exit(f"{source} has no model {name!r}; it has {like}, …", USAGE)


def _evse(model: CarModel, connector: str | None, power_kw: float | None) -> EvseKind:
    if connector is None:
        names = model.dc_connectors or model.ac_connectors or ()
        return kind_of_row(names[:1], power_kw)
    if connector_of("1", connector).is_dc is None:
        raise Exit(f"{connector!r} is no connector that is known, such as CCS2 or Type 2", USAGE)
    return kind_of_row([connector], power_kw)


def report(name: str, plan: ChargePlan, power_kw: float | None) -> Iterator[str]:
    """What is said of a charge, as lines of text."""
    profile, connector = plan.profile, plan.plug.connector
    by = f" by {connector.name}" if connector is not None else ""
    at = "" if power_kw is None else f" at {power_kw:g} kW"
    yield f"{name}{at}{by}, {plan.start_percent:g} % to {plan.target_percent:g} %"
    yield (
        f"{plan.seconds / 60:.1f} minutes, {plan.energy_kwh:.2f} kWh, "
        f"{profile.average_kw:.1f} kW on average, {profile.peak_kw:.1f} kW at most"
    )
    if plan.plug.assumed:
        yield f"assumed, as it is not known: {', '.join(plan.plug.assumed)}"
    yield ""
    span = plan.target_percent - plan.start_percent
    columns = max(LEAST_WIDTH, min(MOST_WIDTH, width() - MARGIN))
    percents = [plan.start_percent + span * (n + 0.5) / columns for n in range(columns)]
    powers = [plan.plug.rate.power_kw(percent) for percent in percents]
    yield from draw(powers, plan.start_percent, plan.target_percent)


def draw(powers: Sequence[float], start_percent: float, target_percent: float) -> Iterator[str]:
    """
    The power from one state of charge to another, as lines of text.

    :param powers: kW, one for each column, evenly from the one to the other.
    """
    top, scale = max(powers), len(BLOCKS) - 1
    places = 0 if top >= 20 else 1
    heights = [round(power / top * HEIGHT * scale) for power in powers]
    for row in range(HEIGHT - 1, -1, -1):
        level = top * (row + 1) / HEIGHT
        label = f"{level:>6.{places}f} kW " if row % 4 == 3 else " " * 10
        cells = (BLOCKS[min(max(height - row * scale, 0), scale)] for height in heights)
        yield f"{label}│{''.join(cells)}".rstrip()
    yield f"{'':10}└{'─' * len(powers)}"
    left, right = f"{start_percent:g} %", f"{target_percent:g} %"
    yield f"{'':11}{left}{right:>{len(powers) - len(left)}}"
