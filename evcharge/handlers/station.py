"""SELECTION_STATION: the best station. PAYMENT: a slot of it, paid; or the end of the journey."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any

import attrs

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.station import ChargingSession, StationState, plan_session
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.outcomes import NO_STATION, Phrase, Refusal, Reply, invalid
from evcharge.planning.nearest import nearest
from evcharge.planning.selection import CRITERIA, Candidate, rank_around, rank_stations
from evcharge.rules.journey import EndJourney, FindUser, ListStations, TakeSlot
from evcharge.storage import Eventual
from evcharge.utils.figures import kilometres, minutes, reais
from evcharge.utils.numbers import finite_number, millionths
from evcharge.utils.texts import beginning
from evcharge.wire.fields import (
    POSITION,
    USER_ID,
    Boolean,
    Choice,
    Data,
    Field,
    StationId,
)

MOST_ALTERNATIVES = 4

LONGEST_KEY = 40
"""How much of a station's id that is none is repeated, characters."""

ENDED = Phrase("Viagem encerrada", "Journey ended")


def sent_to(best: Candidate, language: str) -> str:
    """What a driver is told of the best station: its name, and the figures."""
    name = best.state.station.name
    away = kilometres(best.distance_km, language)
    travel, charge = (minutes(s / 60, language) for s in (best.travel_s, best.charge_s))
    wait = minutes(best.wait_s / 60, language) if best.wait_s > 0 else None
    price = reais(float(best.price), language)
    if language == "pt":
        waiting = f", espera de {wait}" if wait else ""
        return (
            f"Posto indicado: {name}, a {away}: viagem de {travel}{waiting}, "
            f"recarga de {charge} por {price}"
        )
    waiting = f", {wait} of waiting" if wait else ""
    return (
        f"Suggested station: {name}, {away} away: {travel} of travel{waiting}, "
        f"{charge} of charging for {price}"
    )


def paid(session: ChargingSession, language: str) -> str:
    """What a driver is told whose slot is paid; the same whenever it is asked again."""
    station, price = session.station_id, reais(float(session.amount), language)
    charge = minutes(session.charge_minutes, language)
    if language == "pt":
        return (
            f"Pagamento confirmado, vaga reservada no posto {station}: {price}, "
            f"{charge} até o fim da recarga"
        )
    return (
        f"Payment confirmed, slot reserved at station {station}: {price}, "
        f"{charge} to the end of charging"
    )


@attrs.frozen
class Listed:
    """Distances that a client worked out, km, by the ids of their stations."""

    distances: Mapping[str, float]
    entries: int = 0
    """How many the client sent, those that are no distances included."""

    def of(self, stations: Stations) -> list[tuple[StationState, float]]:
        """The stations that there are of these, each with its distance."""
        return [
            (state, distance)
            for key, distance in self.distances.items()
            if (state := stations.get(key)) is not None
        ]


NOTHING_LISTED = Listed({})


@attrs.frozen
class DistanceList:
    """
    An object of station id -> `{"distance_origin_position": km}`, read as :class:`Listed`.

    What is no distance is passed over, unless nothing else is there.
    """

    places = ((), ("*",), ("*", "distance_origin_position"))
    must_be = Phrase("um objeto", "an object")

    def read(self, name: str, value: object) -> Listed | Refusal:
        if not isinstance(value, dict):
            return invalid(name, self.must_be)
        distances: dict[str, float] = {}
        for key, entry in value.items():
            if isinstance(entry, dict):
                distance = entry.get("distance_origin_position")
                if type(distance) is not float:
                    distance = finite_number(distance)
                if distance is not None and 0 <= distance < inf:
                    distances[key] = distance + 0.0  # never -0
        if value and not distances:
            return _not_understood(name, *next(iter(value.items())))
        return Listed(distances, len(value))


def _not_understood(name: str, key: str, entry: object) -> Refusal:
    """Why the entry `key` of a list of distances is none."""
    key = beginning(key, LONGEST_KEY)
    if not isinstance(entry, dict):
        return invalid(
            f"{name}.{key}",
            Phrase(
                'um objeto {"distance_origin_position": km}',
                'an object {"distance_origin_position": km}',
            ),
        )
    return invalid(
        f"{name}.{key}.distance_origin_position",
        Phrase(
            "um número de km não menor que 0, com ponto decimal e sem unidade (4.5)",
            "a number of km not under 0, with a decimal point and no unit (4.5)",
        ),
    )


class SelectionStation(Handler):
    """Answers SELECTION_STATION."""

    TYPE = "SELECTION_STATION"
    FIELDS = (
        USER_ID,
        Field("criterion", Choice(tuple(CRITERIA)), optional=True),
        Field("list_stations", DistanceList(), instead=Field("position", POSITION)),
    )

    def handle(
        self,
        user_id: str,
        criterion: str = "distance",
        list_stations: Listed = NOTHING_LISTED,
        position: Mapping[str, float] | None = None,
    ) -> Eventual[Answer]:
        return then(
            self.context.perform(FindUser(user_id, whereabouts=True)),
            self._with_stations,
            criterion,
            list_stations,
            position,
        )

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {
            "user_id": USER_ID.repeated(data),
            "id_station": None,
            "price_loading": 0,
            "distance_km": None,
            "travel_minutes": None,
            "wait_minutes": None,
            "charge_minutes": None,
            "alternatives": [],
        }

    def _with_stations(
        self, user: User, criterion: str, listed: Listed, position: Mapping[str, float] | None
    ) -> Eventual[Answer]:
        def choose(stations: Stations) -> Reply:
            now, time_scale = self.context.now(), self.context.time_scale
            most = 1 + MOST_ALTERNATIVES
            ignored = 0
            if position is None:
                known = listed.of(stations)
                ignored = listed.entries - len(known)
                ranked = rank_stations(user.car, known, criterion, now, time_scale, most)
            else:
                place = position["latitude"], position["longitude"]
                tree = nearest(stations)
                ranked = rank_around(user.car, tree, *place, criterion, now, time_scale, most)
            if ranked:
                best, *others = ranked
                reply = Reply(
                    {
                        "user_id": user.user_id,
                        **_figures(best),
                        "alternatives": [_figures(candidate) for candidate in others],
                    },
                    say=partial(sent_to, best),
                )
            else:
                reply = Reply(self.on_failure({"user_id": user.user_id}), NO_STATION)
            if ignored:
                reply.data["ignored"] = ignored
            return reply

        return then(self.context.perform(ListStations()), choose)


def _figures(candidate: Candidate) -> dict[str, Any]:
    return {
        "id_station": candidate.state.station.key,
        "price_loading": float(candidate.price),
        "distance_km": millionths(candidate.distance_km),
        "travel_minutes": millionths(candidate.travel_s / 60),
        "wait_minutes": millionths(candidate.wait_s / 60) if candidate.wait_s else 0.0,
        "charge_minutes": millionths(candidate.charge_s / 60),
    }


ID_STATION = Field("id_station", StationId())


class Payment(Handler):
    """Answers PAYMENT."""

    TYPE = "PAYMENT"
    FIELDS = (USER_ID, ID_STATION, Field("confirmation", Boolean()))
    GUARD = "payment"

    def handle(self, user_id: str, id_station: str | None, confirmation: bool) -> Eventual[Answer]:
        context = self.context
        if not confirmation:
            # Whichever station is named, the slot that is freed is the one that the user holds.
            return then(context.perform(EndJourney(user_id)), self._ended, user_id, id_station)
        plan = partial(
            plan_session,
            receipt_id=context.new_id(),
            now=context.now(),
            time_scale=context.time_scale,
        )
        return then(context.perform(TakeSlot(user_id, id_station or "", plan)), self._paid)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {
            "user_id": USER_ID.repeated(data),
            "id_station": ID_STATION.repeated(data),
            "confirmation": False,
        }

    def _paid(self, session: ChargingSession) -> Reply:
        return Reply(
            {
                "user_id": session.user_id,
                "id_station": str(session.station_id),
                "confirmation": True,
                "amount": float(session.amount),
                "receipt_id": session.receipt_id,
                "estimated_timestamp": session.estimated_timestamp,
                "charge_minutes": round(session.charge_minutes, 6),
            },
            say=partial(paid, session),
        )

    def _ended(self, _: None, user_id: str, id_station: str | None) -> Reply:
        return Reply(
            {"user_id": user_id, "id_station": id_station, "confirmation": False}, say=ENDED.say
        )
