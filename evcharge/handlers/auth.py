"""LOGIN: a driver with a car and its battery becomes a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from evcharge.handlers import Answer, Reply, then
from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.user import User
from evcharge.outcomes import Phrase, invalid
from evcharge.storage import AddUser, Eventual, Perform
from evcharge.wire.fields import Data, name_text, number, require


@attrs.frozen
class Login:
    """
    Answers LOGIN.

    :param car_models: gives the catalogue.
    :param new_id: makes an id that cannot be guessed.
    :param now: the present, seconds since the epoch.
    """

    perform: Perform
    car_models: Callable[[], Mapping[str, Mapping[str, Any]]]
    new_id: Callable[[], str]
    now: Callable[[], float]
    reads = (("user_name",), ("selected_car",), ("battery_car",))
    _models: dict[str, tuple[object, CarModel]] = attrs.field(factory=dict, init=False)
    """The models that were read of the catalogue, each with what it was read from."""

    def handle(self, data: Data) -> Eventual[Answer]:
        require(data, "user_name", "selected_car", "battery_car")
        name = name_text(data, "user_name", 1, 100)
        selected = name_text(data, "selected_car")
        percent = number(data, "battery_car", 0, 100)
        facts = self.car_models().get(selected)
        if facts is None:
            raise invalid(
                "selected_car",
                Phrase("um dos modelos de car_models", "one of the models of car_models"),
            )
        user = User(
            user_id=self.new_id(),
            user_name=name,
            car=ElectricCar.charged_to(self._model(selected, facts), percent),
            created_timestamp=self.now(),
        )
        return then(self.perform(AddUser(user)), self._added, user.user_id)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"user_id": None}

    def _model(self, name: str, facts: Mapping[str, Any]) -> CarModel:
        known = self._models.get(name)
        if known is None or known[0] is not facts:
            known = self._models[name] = (facts, CarModel.from_facts(facts))
        return known[1]

    def _added(self, _: None, user_id: str) -> Reply:
        return Reply({"user_id": user_id})
