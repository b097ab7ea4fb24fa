"""LOGIN: a driver with a car and its battery becomes a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.user import User
from evcharge.outcomes import Phrase, Reply, invalid
from evcharge.rules.journey import AddUser
from evcharge.rules.network import ListCars
from evcharge.rules.view import CarModels
from evcharge.storage import Eventual
from evcharge.wire.fields import Data, Field, Number, Text


@attrs.frozen
class Login(Handler):
    """Answers LOGIN."""

    TYPE = "LOGIN"
    FIELDS = (
        Field("user_name", Text(1, 100, numbers=True)),
        Field("selected_car", Text(numbers=True)),
        Field("battery_car", Number(0, 100)),
    )
    GUARD = "login"

    _models: dict[str, tuple[object, CarModel]] = attrs.field(factory=dict, init=False)
    """The models that were read of the catalogue, each with what it was read from."""

    def handle(self, user_name: str, selected_car: str, battery_car: float) -> Eventual[Answer]:
        cars = self.context.perform(ListCars())
        return then(cars, self._log_in, user_name, selected_car, battery_car)

    def _log_in(
        self, cars: CarModels, user_name: str, selected_car: str, battery_car: float
    ) -> Eventual[Answer]:
        context = self.context
        facts = cars.get(selected_car)
        if facts is None:
            return invalid(
                "selected_car",
                Phrase("um dos modelos de car_models", "one of the models of car_models"),
            )
        user = User(
            user_id=context.new_id(),
            user_name=user_name,
            car=ElectricCar.charged_to(self._model(selected_car, facts), battery_car),
            created_timestamp=context.now(),
        )
        return then(context.perform(AddUser(user)), self._added, user.user_id)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"user_id": None}

    def _model(self, name: str, facts: Mapping[str, Any]) -> CarModel:
        known = self._models.get(name)
        if known is None or known[0] is not facts:
            known = self._models[name] = (facts, CarModel.from_facts(facts))
        return known[1]

    def _added(self, _: None, user_id: str) -> Reply:
        return Reply({"user_id": user_id})
