"""NAVIGATION: whether a trip is within range."""

from __future__ import annotations

from typing import Any

import attrs

from evcharge.errors import Phrase
from evcharge.fields import Data, number, require, text
from evcharge.handlers import Reply, then
from evcharge.models.user import User
from evcharge.storage import Eventual, FindUser, Perform

WITHIN_RANGE = Phrase(
    "A viagem pode ser feita com a carga atual", "The trip is within the present range"
)
OUT_OF_RANGE = Phrase(
    "A carga atual não basta para a viagem", "The trip is beyond the present range"
)


@attrs.frozen
class Navigation:
    """Answers NAVIGATION."""

    perform: Perform

    def handle(self, data: Data) -> Eventual[Reply]:
        require(data, "user_id", "route_distance")
        distance = number(data, "route_distance", 0, over=True)
        return then(self.perform(FindUser(text(data, "user_id"))), self._reply, distance)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"can_complete": False, "autonomy": 0}

    def _reply(self, user: User, distance_km: float) -> Reply:
        can_complete = user.car.can_reach(distance_km)
        return Reply(
            {"can_complete": can_complete, "autonomy": user.car.range_km()},
            phrase=WITHIN_RANGE if can_complete else OUT_OF_RANGE,
        )
