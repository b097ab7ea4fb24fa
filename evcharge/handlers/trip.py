"""NAVIGATION: whether a trip is within range."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred

from evcharge.errors import Phrase
from evcharge.fields import Data, number, require
from evcharge.handlers import Reply, find_user
from evcharge.models.user import User
from evcharge.storage import Call, Storage

WITHIN_RANGE = Phrase(
    "A viagem pode ser feita com a carga atual", "The trip is within the present range"
)
OUT_OF_RANGE = Phrase(
    "A carga atual não basta para a viagem", "The trip is beyond the present range"
)


@attrs.frozen
class Navigation:
    """Answers NAVIGATION."""

    storage: Storage
    call: Call

    def handle(self, data: Data) -> Deferred[Reply]:
        require(data, "user_id", "route_distance")
        distance = number(data, "route_distance", 0, over=True)
        return find_user(self.call, self.storage, data).addCallback(self._reply, distance)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"can_complete": False, "autonomy": 0}

    def _reply(self, user: User, distance_km: float) -> Reply:
        can_complete = user.car.can_reach(distance_km)
        return Reply(
            {"can_complete": can_complete, "autonomy": user.car.range_km()},
            phrase=WITHIN_RANGE if can_complete else OUT_OF_RANGE,
        )
