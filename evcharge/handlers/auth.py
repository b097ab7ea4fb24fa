"""LOGIN: a driver with a car and its battery becomes a user."""

from __future__ import annotations

from typing import Any

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.catalogue import Catalogue
from evcharge.models.electric_car import TARGET_PERCENT as DEFAULT_TARGET_PERCENT
from evcharge.models.electric_car import ElectricCar
from evcharge.models.user import User
from evcharge.outcomes import Phrase, Reply, invalid
from evcharge.rules.journey import AddUser
from evcharge.rules.network import FindCatalogue
from evcharge.storage import Eventual
from evcharge.utils.texts import akin
from evcharge.wire.fields import TARGET_PERCENT, Data, DriverId, Field, Number, Text


class Login(Handler):
    """Answers LOGIN."""

    TYPE = "LOGIN"
    FIELDS = (
        Field("user_name", Text(1, 100, numbers=True)),
        Field("selected_car", Text(numbers=True)),
        Field("battery_car", Number(0, 100)),
        TARGET_PERCENT,
        Field("driver_id", DriverId(), optional=True),
    )
    GUARD = "login"

    def handle(
        self,
        user_name: str,
        selected_car: str,
        battery_car: float,
        target_percent: float = DEFAULT_TARGET_PERCENT,
        driver_id: str | None = None,
    ) -> Eventual[Answer]:
        return then(
            self.context.perform(FindCatalogue()),
            self._log_in,
            user_name,
            selected_car,
            battery_car,
            target_percent,
            driver_id,
        )

    def _log_in(
        self,
        catalogue: Catalogue,
        user_name: str,
        selected_car: str,
        battery_car: float,
        target_percent: float,
        driver_id: str | None,
    ) -> Eventual[Answer]:
        context = self.context
        model = catalogue.models.get(selected_car)
        if model is None:
            near = ", ".join(akin(selected_car, catalogue.models))
            return invalid(
                "selected_car",
                Phrase(
                    "um dos modelos de car_models" + (f"; parecidos: {near}" if near else ""),
                    "one of the models of car_models" + (f"; similar: {near}" if near else ""),
                ),
            )
        user_id = context.new_id()
        user = User(
            user_id=user_id,
            user_name=user_name,
            car=ElectricCar.charged_to(model, battery_car),
            created_timestamp=context.now(),
            car_key=selected_car,
            target_percent=target_percent,
            driver_id=driver_id or user_id,
        )
        return then(context.perform(AddUser(user)), self._added, user)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"user_id": None}

    def _added(self, _: None, user: User) -> Reply:
        return Reply(
            {
                "user_id": user.user_id,
                "target_percent": user.target_percent,
                "driver_id": user.driver_id,
            }
        )
