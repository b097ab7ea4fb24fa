"""Electric cars: what the catalogue knows of a model, and a car with its battery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from evcharge.utils.numbers import finite_number

TARGET_PERCENT = 80.0
"""State of charge, per cent of the capacity, that a charging session brings a car to."""

DEFAULT_POWER_KW = 50.0
"""Charging power assumed where neither the station's nor the car's limit is known, kW."""

TRAVEL_SPEED_SHARE = 0.7
"""Share of a car's top speed at which it is taken to travel."""

LEAST_FIGURE, MOST_FIGURE = 1e-6, 1e6
"""Bounds of a car's figures, in whatever unit: within them every result stays finite."""

LEAST_CONSUMPTION, MOST_CONSUMPTION = 0.02, 3.0
"""Bounds of what a vehicle of any kind consumes, kWh/km: what is beyond has another unit."""

LEAST_BATTERY, MOST_BATTERY = 0.5, 2000.0
"""Bounds of a vehicle's battery, kWh, likewise."""


@attrs.frozen
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

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> CarModel:
        """
        Read a model from its JSON form, the one of `car_models.json` and of a user's file.

        :param facts: `brand`, `model`, `battery_capacity` (kWh), `energy_consumption` (kWh/km),
            `max_speed` (km/h); optionally `ac_power_kw`, `dc_power_kw` (kW).
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
        )
        if wrong:
            raise ValueError("; ".join(wrong))
        return model

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
        """The JSON form that :meth:`from_facts` reads; limits that are not known are left out."""
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

    def battery_at_destination_kwh(self, distance_km: float) -> float:
        """What is in the battery after `distance_km`, kWh; negative where it does not reach."""
        return self.battery_level_kwh - distance_km * self.model.consumption_kwh_per_km

    def energy_to_target_kwh(self, target_percent: float = TARGET_PERCENT) -> float:
        """Energy that brings the battery to `target_percent` of its capacity, kWh, 0 or more."""
        target_kwh = self.model.battery_capacity_kwh * target_percent / 100
        return max(0.0, target_kwh - self.battery_level_kwh)

    def charge_time_s(self, energy_kwh: float, station_power_kw: float | None, ac: bool) -> float:
        """
        How long it takes to charge `energy_kwh`, seconds.

        :param station_power_kw: what the station gives at most, kW; None where unknown.
        :param ac: whether the station has AC connectors only, so that the car's AC limit counts.
        """
        power_kw = station_power_kw
        car_limit_kw = self.model.ac_limit_kw if ac else self.model.dc_limit_kw
        if power_kw is None or (car_limit_kw is not None and car_limit_kw < power_kw):
            power_kw = car_limit_kw
        return energy_kwh / (DEFAULT_POWER_KW if power_kw is None else power_kw) * 3600

    def travel_time_s(self, distance_km: float) -> float:
        """How long `distance_km` takes at 70 % of the car's top speed, seconds."""
        return distance_km / (self.model.max_speed_km_h * TRAVEL_SPEED_SHARE) * 3600
