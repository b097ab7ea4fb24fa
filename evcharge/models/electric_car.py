"""Electric cars: what the catalogue knows of a model, and a car with its battery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import attrs

from evcharge.utils.numbers import finite_number, whole_number

T = TypeVar("T")

TARGET_PERCENT = 80.0
"""State of charge, per cent of the capacity, that a charging session brings a car to."""

TRAVEL_SPEED_SHARE = 0.7
"""Share of a car's top speed at which it is taken to travel."""

LEAST_FIGURE, MOST_FIGURE = 1e-6, 1e6
"""Bounds of a car's figures, in whatever unit: within them every result stays finite."""

LEAST_CONSUMPTION, MOST_CONSUMPTION = 0.02, 3.0
"""Bounds of what a vehicle of any kind consumes, kWh/km: what is beyond has another unit."""

LEAST_BATTERY, MOST_BATTERY = 0.5, 2000.0
"""Bounds of a vehicle's battery, kWh, likewise."""


Curve = tuple[tuple[float, float], ...]
"""Points: state of charge, per cent, and power, kW."""

MEASURED, DEFAULT = CURVE_SOURCES = ("measured", "default")
"""Where a DC curve may be from: measured, or a shape that is the same for all."""

LEAST_POWER_KW = 1.0
"""What a car takes at least while it charges by DC, kW: with the power of a published curve that
ends at 0 kW, a full battery would take for ever. A curve gets above it somewhere."""


# Its hash is asked for with every charge that is worked out.
@attrs.frozen(cache_hash=True)
class CarModel:
    """A model of car."""

    brand: str
    model: str
    battery_capacity_kwh: float
    """Usable battery, kWh."""
    consumption_kwh_per_km: float
    max_speed_km_h: float
    ac_limit_kw: float | None = None
    """What the onboard charger takes at most from an AC connector, kW; None where unknown."""
    dc_limit_kw: float | None = None
    """What the battery takes at most from a DC connector, kW; None where unknown."""
    ac_phases: int | None = None
    """How many phases the onboard charger uses, 1 to 3; None where unknown."""
    ac_connectors: tuple[str, ...] | None = None
    """Names of the connectors that it has for AC, none perhaps; None where unknown."""
    dc_connectors: tuple[str, ...] | None = None
    """The same for DC."""
    dc_curve: Curve | None = None
    """What it takes by DC, linear between the points, from 0 to 100 %; None where unknown."""
    dc_curve_is_default: bool = False
    """Whether that is a shape that all cars have, and nobody measured it."""

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> CarModel:
        """
        Read a model from its JSON form, the one of `car_models.json` and of a user's file.

        :param facts: `brand`, `model`, `battery_capacity` (kWh), `energy_consumption` (kWh/km),
            `max_speed` (km/h); optionally `ac_power_kw`, `dc_power_kw` (kW), `ac_phases` (1 to 3),
            `ac_connectors`, `dc_connectors` (names), `dc_curve` (`[[percent, kW], …]`) and
            `dc_curve_source` (`measured` or `default`).
        :raise ValueError: names each field that is missing or wrong.
        """
        wrong: list[str] = []

        def positive(name: str) -> float:
            number = finite_number(facts.get(name))
            if name not in facts:
                wrong.append(f"{name} is missing")
            elif number is None or not LEAST_FIGURE <= number <= MOST_FIGURE:
                # Of a number that is too long not even its digits could be shown.
                shown = f"{facts[name]!r:.60}"
                wrong.append(f"{name} must be a number over 0, up to {MOST_FIGURE:g}, not {shown}")
            else:
                return number
            return 0.0

        def told(name: str, read: Callable[[Any], T]) -> T | None:
            """What `read` makes of a field, if it is there; it raises ValueError: what must be."""
            if facts.get(name) is None:
                return None
            try:
                return read(facts[name])
            except ValueError as error:
                wrong.append(f"{name} {error}")
                return None

        for name in ("brand", "model"):
            if not isinstance(facts.get(name, ""), str):
                wrong.append(f"{name} must be text, not {facts[name]!r:.60}")
        model = cls(
            brand=facts.get("brand", ""),
            model=facts.get("model", ""),
            battery_capacity_kwh=positive("battery_capacity"),
            consumption_kwh_per_km=positive("energy_consumption"),
            max_speed_km_h=positive("max_speed"),
            ac_limit_kw=positive("ac_power_kw") if facts.get("ac_power_kw") is not None else None,
            dc_limit_kw=positive("dc_power_kw") if facts.get("dc_power_kw") is not None else None,
            ac_phases=told("ac_phases", _phases),
            ac_connectors=told("ac_connectors", _names),
            dc_connectors=told("dc_connectors", _names),
            dc_curve=told("dc_curve", _curve),
            dc_curve_is_default=told("dc_curve_source", _source) == DEFAULT,
        )
        if wrong:
            raise ValueError("; ".join(wrong))
        return _one(model)

    def implausible(self) -> list[str]:
        """
        Which figures no vehicle has, and in which units they might be: for a person, who puts them
        right. A car that a driver has already is computed with as it is.
        """
        wrong = []
        consumption, battery = self.consumption_kwh_per_km, self.battery_capacity_kwh
        if not LEAST_CONSUMPTION <= consumption <= MOST_CONSUMPTION:
            meant = [
                f"{consumption:g} {unit} would be {value:.3g}"
                for unit, value in (
                    ("Wh/km", consumption / 1000),
                    ("kWh/100 km", consumption / 100),
                    ("km/kWh", 1 / consumption),
                )
                if LEAST_CONSUMPTION <= value <= MOST_CONSUMPTION
            ]
            wrong.append(
                f"energy_consumption must be {LEAST_CONSUMPTION:g} to {MOST_CONSUMPTION:g} kWh/km, "
                f"not {consumption:g} "
                f"({'; '.join(meant) or 'is it in Wh/km, kWh/100 km or km/kWh?'})"
            )
        if not LEAST_BATTERY <= battery <= MOST_BATTERY:
            in_wh = f"{battery:g} Wh would be {battery / 1000:.3g}"
            wrong.append(
                f"battery_capacity must be {LEAST_BATTERY:g} to {MOST_BATTERY:g} kWh, "
                f"not {battery:g}" + (f" ({in_wh})" if battery > MOST_BATTERY else "")
            )
        return wrong

    def facts(self) -> dict[str, Any]:
        """
        What a user's record keeps of it, as :meth:`from_facts` reads it, without limits that are
        not known. Curve, phases and connectors are the catalogue's alone.
        """
        facts: dict[str, Any] = {
            "brand": self.brand,
            "model": self.model,
            "battery_capacity": self.battery_capacity_kwh,
            "energy_consumption": self.consumption_kwh_per_km,
            "max_speed": self.max_speed_km_h,
        }
        if self.ac_limit_kw is not None:
            facts["ac_power_kw"] = self.ac_limit_kw
        if self.dc_limit_kw is not None:
            facts["dc_power_kw"] = self.dc_limit_kw
        return facts


@lru_cache(maxsize=20_000)
def _one(model: CarModel) -> CarModel:
    """
    A model, the same object for all that are alike: what is worked out for a model is found again
    by that, without a look at all its figures, whoever has read it.
    """
    return model


def _phases(value: Any) -> int:
    phases = whole_number(value)
    if phases is None or not 1 <= phases <= 3:
        raise ValueError(f"must be 1, 2 or 3, not {value!r:.60}")
    return phases


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ValueError(f"must be a list of names, not {value!r:.60}")
    return tuple(value)


def _source(value: Any) -> str:
    if value not in CURVE_SOURCES:
        raise ValueError(f"must be {' or '.join(CURVE_SOURCES)}, not {value!r:.60}")
    return str(value)


def _curve(value: Any) -> Curve:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of [percent, kW], not {value!r:.60}")
    points: list[tuple[float, float]] = []
    for number, point in enumerate(value, 1):
        of_two = isinstance(point, list) and len(point) == 2
        percent, power = map(finite_number, point) if of_two else (None, None)
        if percent is None or power is None:
            raise ValueError(f"point {number} must be [percent, kW], not {point!r:.60}")
        if not 0 <= power <= MOST_FIGURE:
            raise ValueError(f"point {number} must have 0 to {MOST_FIGURE:g} kW, not {power:g}")
        if points and percent <= points[-1][0]:
            raise ValueError(
                f"point {number} must be at more than {points[-1][0]:g} %, not at {percent:g} %"
            )
        points.append((percent, power))
    if len(points) < 2 or (points[0][0], points[-1][0]) != (0, 100):
        raise ValueError("must go from 0 to 100 %")
    if max(power for _, power in points) <= LEAST_POWER_KW:
        raise ValueError(f"must get above {LEAST_POWER_KW:g} kW somewhere")
    return tuple(points)


@attrs.frozen
class ElectricCar:
    """A car of some model, with what is in its battery."""

    model: CarModel
    battery_level_kwh: float

    @classmethod
    def charged_to(cls, model: CarModel, percent: float) -> ElectricCar:
        """A car whose state of charge is `percent` (0 to 100) of its capacity."""
        return cls(model, model.battery_capacity_kwh * percent / 100)

    def range_km(self) -> float:
        """How far the present battery reaches, km: energy / consumption."""
        return self.battery_level_kwh / self.model.consumption_kwh_per_km

    def reach_km(self, percent: float) -> float:
        """How far `percent` of its capacity reaches, km."""
        capacity = self.model.battery_capacity_kwh
        return capacity * percent / 100.0 / self.model.consumption_kwh_per_km

    @property
    def percent(self) -> float:
        """State of charge, per cent of the capacity."""
        return self.battery_level_kwh / self.model.battery_capacity_kwh * 100.0

    def percent_after(self, distance_km: float) -> float:
        """State of charge after `distance_km`, per cent; negative where it does not reach."""
        used_kwh = distance_km * self.model.consumption_kwh_per_km
        return (self.battery_level_kwh - used_kwh) / self.model.battery_capacity_kwh * 100.0

    def travel_time_s(self, distance_km: float) -> float:
        """How long `distance_km` takes at 70 % of the car's top speed, seconds."""
        return distance_km / (self.model.max_speed_km_h * TRAVEL_SPEED_SHARE) * 3600
