"""PLAN: a trip beyond the range: where to stop, and how far to charge there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.slots import StationState
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.outcomes import NO_PLAN, TOO_MANY_IN_REACH, Phrase, Refusal, Reply, invalid
from evcharge.planning.itinerary import reply
from evcharge.planning.planner import (
    CRITERIA,
    MOST_PLACES,
    RESERVE_PERCENT,
    RESERVE_PERCENTS,
    ROAD_FACTORS,
    SPEEDS_KM_H,
    STOPS_MINUTES,
    VALUES_OF_HOUR,
    Asked,
    Matrix,
    straight,
)
from evcharge.planning.sites import Look, within_reach
from evcharge.rules.journey import FindUser, ListStations
from evcharge.storage import Eventual
from evcharge.wire.fields import (
    ARRIVAL_PERCENT,
    POSITION,
    USER_ID,
    Choice,
    Data,
    Field,
    ListOf,
    Number,
    Object,
    StationId,
    Text,
)

MOST_AVOIDED = 100

MOST_ROWS = 500
"""Of a matrix; a line of the usual length has fewer. Checking one goes by their cube."""

MOST_FAR = 1e9
"""Who says that a way has more kilometres or minutes means that there is none."""

EXPECTED = "expected"
WAITS = (EXPECTED, "ignore")
"""What counts of the time until an EVSE is free."""

_ID = re.compile("0|[1-9][0-9]*")
"""A station's id, as messages have it."""

ROWS = ListOf(
    ListOf(Number(0), MOST_ROWS, Phrase("números", "numbers")),
    MOST_ROWS,
    Phrase("linhas", "rows"),
)


def stops_told(count: int, language: str) -> str:
    """What a driver is told of a plan with so many stops."""
    if language == "pt":
        if not count:
            return "Viagem sem parada para recarga"
        return f"Viagem com {count} parada{'s' if count > 1 else ''} para recarga"
    if not count:
        return "A trip without a stop to charge"
    return f"A trip with {count} stop{'s' if count > 1 else ''} to charge"


class Plan(Handler):
    """Answers PLAN."""

    TYPE = "PLAN"
    FIELDS = (
        USER_ID,
        Field(
            "places",
            ListOf(
                Object(
                    (
                        *POSITION.fields,
                        Field("name", Text(numbers=True), optional=True),
                        Field("stay_minutes", Number(0, 1440), optional=True),
                    )
                ),
                MOST_PLACES,
                Phrase("lugares", "places"),
                least=2,
            ),
        ),
        Field("battery_percent", Number(0, 100), optional=True),
        Field("criterion", Choice(CRITERIA), optional=True),
        Field("value_of_hour", Number(*VALUES_OF_HOUR), optional=True),
        Field("reserve_percent", Number(*RESERVE_PERCENTS), optional=True),
        ARRIVAL_PERCENT,
        Field("max_percent", Number(0, 100, over=True), optional=True),
        Field("stop_minutes", Number(*STOPS_MINUTES), optional=True),
        Field("road_factor", Number(*ROAD_FACTORS), optional=True),
        Field("speed_km_h", Number(*SPEEDS_KM_H), optional=True),
        Field("wait", Choice(WAITS), optional=True),
        Field("avoid", ListOf(StationId(), MOST_AVOIDED), optional=True),
        Field(
            "matrix",
            Object(
                (
                    Field("distance_km", ROWS),
                    Field("travel_minutes", ROWS),
                    Field("stations", ListOf(StationId(), MOST_ROWS)),
                )
            ),
            optional=True,
        ),
    )
    GUARD = "plan"

    def handle(
        self,
        user_id: str,
        places: Sequence[Mapping[str, Any]],
        battery_percent: float | None = None,
        wait: str = EXPECTED,
        avoid: Sequence[str | None] = (),
        matrix: Mapping[str, Any] | None = None,
        **wishes: Any,
    ) -> Eventual[Answer]:
        def asked_by(user: User) -> Eventual[Answer]:
            wrong = _wrong(wishes, matrix, len(places))
            if wrong is not None:
                return wrong
            car = user.car
            percent = battery_percent
            if percent is None:
                percent = min(100.0, car.battery_level_kwh / car.model.battery_capacity_kwh * 100)
            asked = Asked(
                car.model,
                percent,
                [(place["latitude"], place["longitude"]) for place in places],
                stays_minutes=[place.get("stay_minutes", 0.0) for place in places],
                matrix=None if matrix is None else _roads(matrix),
                **wishes,
            )
            look = self._look(user, waits=wait == EXPECTED)
            found = straight(asked)
            if found is not None:
                return _reply(reply(found, asked, look, ()))
            return then(
                self.context.perform(ListStations()),
                self._search,
                asked,
                look,
                None if matrix is None else matrix["stations"],
                avoid,
            )

        return then(self.context.perform(FindUser(user_id)), asked_by)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"feasible": False}

    def _look(self, user: User, waits: bool) -> Look:
        context = self.context
        return Look(
            user.car.model,
            context.now(),
            context.terms,
            context.catalogue().tariffs,
            user.user_id,
            waits,
            context.plan_error_s,
        )

    def _search(
        self,
        stations: Stations,
        asked: Asked,
        look: Look,
        keys: Sequence[str | None] | None,
        avoid: Sequence[str | None],
    ) -> Eventual[Answer]:
        """
        Have a plan looked for that stops somewhere.

        :param keys: at which stations alone, by id.
        """
        most = self.context.most_stations
        # What is told of the plan is to be of the same picture, whatever changes meanwhile.
        states: Sequence[StationState]
        if keys is None:
            states = [*stations]
            if len(states) > most:
                states = within_reach(states, asked.model, asked.places)
        else:
            states = [state for key in keys if key and (state := stations.get(key)) is not None]
        if len(states) > most:
            return Refusal(TOO_MANY_IN_REACH, {"most": most})
        solved = self.context.solve(asked, look, states, {key for key in avoid if key})
        return then(solved, _reply)


def _reply(data: dict[str, Any]) -> Reply:
    """What a driver is told of a trip."""
    if not data["feasible"]:
        return Reply(data, NO_PLAN)
    return Reply(data, say=partial(stops_told, len(data["plan"]["stops"])))


def _wrong(
    wishes: Mapping[str, Any], matrix: Mapping[str, Any] | None, places: int
) -> Refusal | None:
    """Why fields do not go together: the most with the reserve, a matrix with so many places."""
    if wishes.get("max_percent", 100.0) <= wishes.get("reserve_percent", RESERVE_PERCENT):
        return invalid(
            "max_percent",
            Phrase(
                "um número maior que reserve_percent, até 100",
                "a number over reserve_percent, up to 100",
            ),
        )
    if matrix is None:
        return None
    keys = matrix["stations"]
    if len(set(keys)) < len(keys):
        return invalid("matrix.stations", Phrase("ids, cada um uma vez", "ids, each once"))
    count = places + len(keys)
    for name in ("distance_km", "travel_minutes"):
        rows = matrix[name]
        if len(rows) != count:
            return invalid(
                f"matrix.{name}",
                Phrase(
                    f"uma lista de {count} linhas: os lugares, depois os postos",
                    f"a list of {count} rows: the places, then the stations",
                ),
            )
        for number, row in enumerate(rows):
            if len(row) != count:
                return invalid(
                    f"matrix.{name}[{number}]",
                    Phrase(f"uma lista de {count} números", f"a list of {count} numbers"),
                )
            if row[number] != 0:
                return invalid(f"matrix.{name}[{number}][{number}]", Phrase("0", "0"))
    return None


def _roads(matrix: Mapping[str, Any]) -> Matrix:
    distances, minutes = (
        [[min(each, MOST_FAR) for each in row] for row in matrix[name]]
        for name in ("distance_km", "travel_minutes")
    )
    # Any other id is no station's, and none of those that are considered.
    ids = [int(key) if key and _ID.fullmatch(key) else -1 for key in matrix["stations"]]
    return Matrix(distances, minutes, ids)
