"""NAVIGATION: whether a trip is within range."""

from __future__ import annotations

from functools import partial
from typing import Any

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.user import User
from evcharge.outcomes import Reply
from evcharge.rules.journey import FindUser
from evcharge.storage import Eventual
from evcharge.utils.figures import kilometres
from evcharge.utils.numbers import millionths
from evcharge.wire.fields import USER_ID, Data, Field, Number


def within_range(range_km: float, trip_km: float, language: str) -> str:
    """What a driver is told whose battery suffices."""
    reach, trip = kilometres(range_km, language), kilometres(trip_km, language)
    if language == "pt":
        return f"A viagem pode ser feita com a carga atual: autonomia de {reach}, viagem de {trip}"
    return f"The trip is within the present range: a range of {reach}, a trip of {trip}"


def out_of_range(range_km: float, trip_km: float, language: str) -> str:
    """What a driver is told whose battery does not suffice."""
    reach, trip = kilometres(range_km, language), kilometres(trip_km, language)
    if language == "pt":
        return f"A carga atual não basta para a viagem: autonomia de {reach}, viagem de {trip}"
    return f"The trip is beyond the present range: a range of {reach}, a trip of {trip}"


class Navigation(Handler):
    """Answers NAVIGATION."""

    TYPE = "NAVIGATION"
    FIELDS = (
        USER_ID,
        Field("route_distance", Number(0, over=True)),
        Field("reserve_percent", Number(0, 50), optional=True),
    )

    def handle(
        self, user_id: str, route_distance: float, reserve_percent: float = 0.0
    ) -> Eventual[Answer]:
        return then(
            self.context.perform(FindUser(user_id)), self._reply, route_distance, reserve_percent
        )

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"can_complete": False, "autonomy": 0}

    def _reply(self, user: User, distance_km: float, reserve_percent: float) -> Reply:
        car = user.car
        range_km = car.range_km()
        margin_km = range_km - distance_km
        can_complete = margin_km > 0
        arrival = millionths(car.percent_after(distance_km)) if can_complete else None
        if reserve_percent:
            margin_km -= car.reach_km(reserve_percent)
            can_complete = margin_km > 0
        told = within_range if can_complete else out_of_range
        return Reply(
            {
                "can_complete": can_complete,
                "autonomy": range_km,
                "arrival_percent": arrival,
                "margin_km": millionths(margin_km),
            },
            say=partial(told, range_km, distance_km),
        )
