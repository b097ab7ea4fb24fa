"""NAVIGATION: whether a trip is within range."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs

from evcharge.handlers import Answer, Reply, then
from evcharge.models.user import User
from evcharge.storage import Eventual, FindUser, Perform
from evcharge.utils.figures import kilometres
from evcharge.wire.fields import Data, number, require, text


def within_range(language: str, range_km: float, trip_km: float) -> str:
    """What a driver is told whose battery suffices."""
    reach, trip = kilometres(range_km, language), kilometres(trip_km, language)
    if language == "pt":
        return f"A viagem pode ser feita com a carga atual: autonomia de {reach}, viagem de {trip}"
    return f"The trip is within the present range: a range of {reach}, a trip of {trip}"


def out_of_range(language: str, range_km: float, trip_km: float) -> str:
    """What a driver is told whose battery does not suffice."""
    reach, trip = kilometres(range_km, language), kilometres(trip_km, language)
    if language == "pt":
        return f"A carga atual não basta para a viagem: autonomia de {reach}, viagem de {trip}"
    return f"The trip is beyond the present range: a range of {reach}, a trip of {trip}"


@attrs.frozen
class Navigation:
    """Answers NAVIGATION."""

    perform: Perform
    reads = (("user_id",), ("route_distance",))

    def handle(self, data: Data) -> Eventual[Answer]:
        require(data, "user_id", "route_distance")
        distance = number(data, "route_distance", 0, over=True)
        return then(self.perform(FindUser(text(data, "user_id"))), self._reply, distance)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"can_complete": False, "autonomy": 0}

    def _reply(self, user: User, distance_km: float) -> Reply:
        range_km = user.car.range_km()
        can_complete = distance_km < range_km
        told = within_range if can_complete else out_of_range
        return Reply(
            {"can_complete": can_complete, "autonomy": range_km},
            say=partial(told, range_km=range_km, trip_km=distance_km),
        )
