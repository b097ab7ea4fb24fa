"""What a network knows that is no station's own: the cars, and the tariffs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from evcharge.models.electric_car import CarModel
from evcharge.models.tariffs import Tariff


@attrs.frozen(eq=False)
class Catalogue:
    """The models of cars and the tariffs of a network, each by its name."""

    car_models: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """The facts of each model, in the JSON form of `car_models.json`."""
    tariffs: Mapping[str, Tariff] = attrs.field(factory=dict)
    models: Mapping[str, CarModel] = attrs.field(init=False, repr=False)
    """The same models; drivers' cars share them."""

    @models.default
    def _models(self) -> Mapping[str, CarModel]:
        return {name: CarModel.from_facts(facts) for name, facts in self.car_models.items()}
