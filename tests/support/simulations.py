"""Scenarios of one station, whose drivers do what a test wants."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import attrs

from evcharge.simulator.distributions import Distribution, number
from evcharge.simulator.networks import Sources
from evcharge.simulator.parts import (
    Change,
    Choose,
    Demand,
    Driver,
    Faults,
    NetworkKeys,
    Options,
    Study,
    Zone,
)
from evcharge.simulator.scenario import Scenario

HERE = (-12.25, -38.95)
CAR = {
    "brand": "A",
    "model": "B",
    "battery_capacity": 60,
    "energy_consumption": 0.15,
    "max_speed": 160,
    "dc_power_kw": 50,
    "dc_connectors": ["CCS2"],
    "dc_curve": [[0, 50], [100, 50]],
    "dc_curve_source": "measured",
}
"""Charges by 50 kW, whatever is in its battery: 0.72 minutes a per cent."""

HABIT = Choose(habit=1.0)
"""Of those who do not ask where to go."""

NO_FAULTS, USUAL = Faults(), Options()

PLAIN = Driver(
    start_percent=Distribution("uniform", (10.0, 75.0)),
    target_percent=number(80.0),
    city_trip_km=number(0.0),
    choose=Choose(0.0, 1.0, 0.0),
    books=0.0,
    joins_queue=0.0,
    accepts_eta_minutes=number(float("inf")),
    patience_minutes=number(float("inf")),
    answers_offer_minutes=number(0.0),
    no_show=0.0,
    second_try=0.0,
    overstay_minutes=number(0.0),
)
"""Comes unannounced, charges 3.6 to 50.4 minutes, all equally likely, and goes; or goes at once."""


def sources(*slots: int, car: dict[str, Any] = CAR, connectors: str = "CCS2") -> Sources:
    """A network of stations with so many EVSEs of 50 kW, in one place, at R$ 2,00 a kWh."""
    rows = ["id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos;"
            "potenciaKW;precoKWh;conectores"]  # fmt: skip
    rows += [
        f"{i};Posto {i};Rua {i};{HERE[0] - 0.02 * (i - 1)};{HERE[1]};{there};50;2.00;{connectors}"
        for i, there in enumerate(slots, 1)
    ]
    return Sources("test", "\n".join(rows).encode(), None, json.dumps({"Car": car}).encode())


def one_station(
    slots: int,
    an_hour: float,
    days: int = 1,
    driver: Driver = PLAIN,
    warm_up_hours: float = 0.0,
    seed: int = 7,
    changes: tuple[Change, ...] = (),
    faults: Faults = NO_FAULTS,
    options: Options = USUAL,
    more: tuple[int, ...] = (),
    zone: Zone | None = None,
    car: dict[str, Any] = CAR,
    **ways: Any,
) -> Scenario:
    """
    A scenario of a station, at which drivers are born.

    :param an_hour: how many, on average.
    :param more: EVSEs of other stations, each 2.2 km further away.
    :param ways: what is other with the drivers.
    """
    zone = zone or Zone("here", centre=HERE, radius_km=0.0)
    return Scenario(
        demand=Demand(24.0 * an_hour, zones=(zone,)),
        title="A station",
        start=datetime(2026, 3, 2),
        days=days,
        network=NetworkKeys(options=options, changes=changes),
        driver=attrs.evolve(driver, **ways),
        faults=faults,
        study=Study(seed=seed, warm_up_hours=warm_up_hours),
        sources=sources(slots, *more, car=car),
    )
