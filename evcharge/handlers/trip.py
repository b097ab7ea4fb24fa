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
    FIELDS = (USER_ID, Field("route_distance", Number(0, over=True)))

    def handle(self, user_id: str, route_distance: float) -> Eventual[Answer]:
        return then(self.context.perform(FindUser(user_id)), self._reply, route_distance)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"can_complete": False, "autonomy": 0}

    def _reply(self, user: User, distance_km: float) -> Reply:
        range_km = user.car.range_km()
        can_complete = distance_km < range_km
        told = within_range if can_complete else out_of_range
        return Reply(
            {"can_complete": can_complete, "autonomy": range_km},
            say=partial(told, range_km, distance_km),
        )
