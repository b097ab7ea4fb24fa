"""SELECTION_STATION: the best station. PAYMENT: a slot of it, paid; or the end of the journey."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any

import attrs

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.session import ChargingSession
from evcharge.models.slots import StationState
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.outcomes import NO_STATION, Phrase, Refusal, Reply, invalid
from evcharge.planning.nearest import nearest
from evcharge.planning.selection import CRITERIA, Candidate, rank_around, rank_stations
from evcharge.rules.claims import NO_WISHES, Claim, Wishes
from evcharge.rules.journey import FindUser, ListStations
from evcharge.rules.leaving import END_JOURNEY, Leave
from evcharge.storage import Eventual
from evcharge.utils.figures import kilometres, minutes, reais
from evcharge.utils.numbers import finite_number, millionths, rounded
from evcharge.utils.texts import beginning
from evcharge.wire.fields import (
    ARRIVAL_PERCENT,
    POSITION,
    TARGET_PERCENT,
    USER_ID,
    Boolean,
    Choice,
    Data,
    Field,
    StationId,
)

MOST_ALTERNATIVES = 4

FURTHER_FIGURES = (
    "arrival_percent",
    "target_percent",
    "energy_kwh",
    "power_kw",
    "average_power_kw",
    "connector",
    "fitting_slots",
    "queue_length",
)
"""What is said of a station besides; null where there is none."""

LONGEST_KEY = 40
"""How much of a station's id that is none is repeated, characters."""

ENDED = Phrase("Viagem encerrada", "Journey ended")


def sent_to(best: Candidate, language: str) -> str:
    """What a driver is told of the best station: its name, the figures, and the connector."""
    name = best.state.station.name
    away = kilometres(best.distance_km, language)
    travel, charge = (minutes(s / 60, language) for s in (best.travel_s, best.plan.seconds))
    wait = minutes(best.wait_s / 60, language) if best.wait_s > 0 else None
    price = reais(float(best.price), language)
    plug = best.plan.plug.connector
    if language == "pt":
        by = "" if plug is None else f", conector {plug.name}"
        waiting = f", espera de {wait}" if wait else ""
        return (
            f"Posto indicado: {name}, a {away}: viagem de {travel}{waiting}, "
            f"recarga de {charge} por {price}{by}"
        )
    by = "" if plug is None else f", connector {plug.name}"
    waiting = f", {wait} of waiting" if wait else ""
    return (
        f"Suggested station: {name}, {away} away: {travel} of travel{waiting}, "
        f"{charge} of charging for {price}{by}"
    )


def paid(session: ChargingSession, language: str) -> str:
    """What a driver is told whose slot is paid, and which it is; the same when asked again."""
    station, price = session.station_id, reais(float(session.amount), language)
    charge = minutes(session.charge_minutes, language)
    # Where nothing is known of connectors all slots are alike.
    at = "" if session.connector is None else f"{session.evse_uid} ({session.connector})"
    if language == "pt":
        return (
            f"Pagamento confirmado, vaga reservada no posto {station}: {price}, "
            f"{charge} até o fim da recarga" + (at and f", vaga {at}")
        )
    return (
        f"Payment confirmed, slot reserved at station {station}: {price}, "
        f"{charge} to the end of charging" + (at and f", slot {at}")
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
        TARGET_PERCENT,
    )

    def handle(
        self,
        user_id: str,
        criterion: str = "distance",
        list_stations: Listed = NOTHING_LISTED,
        position: Mapping[str, float] | None = None,
        target_percent: float | None = None,
    ) -> Eventual[Answer]:
        return then(
            self.context.perform(FindUser(user_id, whereabouts=True)),
            self._with_stations,
            criterion,
            list_stations,
            position,
            target_percent,
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
            **dict.fromkeys(FURTHER_FIGURES),
            "assumed": [],
            "alternatives": [],
        }

    def _with_stations(
        self,
        user: User,
        criterion: str,
        listed: Listed,
        position: Mapping[str, float] | None,
        target_percent: float | None,
    ) -> Eventual[Answer]:
        def choose(stations: Stations) -> Reply:
            target = user.target_percent if target_percent is None else target_percent
            ignored = 0
            how = (
                criterion,
                self.context.catalogue().tariffs,
                self.context.now(),
                self.context.terms,
                1 + MOST_ALTERNATIVES,
                user.user_id,
            )
            if position is None:
                distances = listed.of(stations)
                ignored = listed.entries - len(distances)
                found = rank_stations(user.car, target, distances, *how)
            else:
                place = position["latitude"], position["longitude"]
                found = rank_around(user.car, target, nearest(stations), place, *how)
            if found.candidates:
                best, *others = found.candidates
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
                if found.excluded.nearest is not None:
                    reply.data["nearest_out_of_range"] = _far(*found.excluded.nearest, user)
            reply.data["excluded"] = {
                "out_of_range": found.excluded.out_of_range,
                "no_connector": found.excluded.no_connector,
                "not_in_service": found.excluded.not_in_service,
            }
            if ignored:
                reply.data["ignored"] = ignored
            return reply

        return then(self.context.perform(ListStations()), choose)


def _figures(candidate: Candidate) -> dict[str, Any]:
    plan = candidate.plan
    return {
        "id_station": candidate.state.station.key,
        "price_loading": float(candidate.price),
        "distance_km": millionths(candidate.distance_km),
        "travel_minutes": millionths(candidate.travel_s / 60),
        "wait_minutes": millionths(candidate.wait_s / 60),
        "charge_minutes": millionths(plan.seconds / 60),
        "arrival_percent": millionths(plan.start_percent),
        "target_percent": plan.target_percent,
        "energy_kwh": millionths(plan.energy_kwh),
        "power_kw": rounded(plan.peak_kw),
        "average_power_kw": rounded(plan.average_kw),
        "connector": None if plan.plug.connector is None else plan.plug.connector.name,
        "fitting_slots": candidate.fitting_slots,
        "queue_length": candidate.state.queue_length,
        "assumed": list(candidate.assumed),
    }


def _far(distance_km: float, state: StationState, user: User) -> dict[str, Any]:
    return {
        "id_station": state.station.key,
        "distance_km": millionths(distance_km),
        "missing_km": millionths(distance_km - user.car.range_km()),
    }


ID_STATION = Field("id_station", StationId())


class Payment(Handler):
    """Answers PAYMENT."""

    TYPE = "PAYMENT"
    FIELDS = (
        USER_ID,
        ID_STATION,
        Field("confirmation", Boolean()),
        ARRIVAL_PERCENT,
        TARGET_PERCENT,
    )
    GUARD = "claim"

    def handle(
        self,
        user_id: str,
        id_station: str | None,
        confirmation: bool,
        arrival_percent: float | None = None,
        target_percent: float | None = None,
    ) -> Eventual[Answer]:
        context = self.context
        if not confirmation:
            # Whichever station is named, the slot that is freed is the one that the user holds.
            end = Leave(user_id, END_JOURNEY, context.now(), context.terms)
            return then(context.perform(end), self._ended, user_id, id_station)
        wishes = NO_WISHES
        if arrival_percent is not None or target_percent is not None:
            wishes = Wishes(arrival_percent=arrival_percent, target_percent=target_percent)
        claim = Claim(
            user_id,
            id_station or "",
            context.new_id(),
            context.now(),
            context.terms,
            wishes=wishes,
        )
        return then(context.perform(claim), self._paid)

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
                "charge_minutes": millionths(session.charge_minutes),
                "id_evse": session.evse_uid or None,
                "connector": session.connector,
                "power_kw": rounded(session.peak_kw),
                "energy_kwh": rounded(session.energy_kwh),
                "start_percent": rounded(session.start_percent),
                "target_percent": session.target_percent,
                "state": session.state,
                "assumed": list(session.assumed),
            },
            say=partial(paid, session),
        )

    def _ended(self, _: Any, user_id: str, id_station: str | None) -> Reply:
        return Reply(
            {"user_id": user_id, "id_station": id_station, "confirmation": False}, say=ENDED.say
        )
