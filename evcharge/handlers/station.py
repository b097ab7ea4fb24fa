"""SELECTION_STATION: the best station. PAYMENT: a slot of it, paid; or the end of the journey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs

from evcharge.handlers import Answer, Reply, then
from evcharge.models.station import ChargingSession, StationState, plan_session
from evcharge.models.user import User
from evcharge.outcomes import NO_STATION, Phrase, RequestFailed, invalid, missing
from evcharge.planning.selection import CRITERIA, Candidate, rank_stations
from evcharge.storage import (
    EndJourney,
    Eventual,
    FindUser,
    ListStations,
    Perform,
    TakeSlot,
)
from evcharge.utils.figures import kilometres, minutes, reais
from evcharge.utils.geo_utils import distance_km
from evcharge.utils.numbers import finite_number
from evcharge.utils.texts import beginning
from evcharge.wire.fields import (
    Data,
    boolean,
    choice,
    is_text,
    mapping,
    position,
    require,
    station_id,
    text,
)

MOST_ALTERNATIVES = 4

LONGEST_KEY = 40
"""How much of a station's id that is none is repeated, characters."""

ENDED = Phrase("Viagem encerrada", "Journey ended")


Distances = Callable[[Sequence[StationState]], list[tuple[StationState, float]]]
"""Those of some stations whose distance is known, each with that, km."""


def sent_to(language: str, best: Candidate) -> str:
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


def paid(language: str, session: ChargingSession) -> str:
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


def _echo_user(data: Data) -> str | None:
    user_id = data.get("user_id")
    return str(user_id) if is_text(user_id) else None


@attrs.frozen
class SelectionStation:
    """
    Answers SELECTION_STATION.

    :param now: the present, seconds since the epoch.
    :param time_scale: how many times faster than real time charging goes.
    """

    perform: Perform
    now: Callable[[], float]
    time_scale: float
    reads = (
        ("user_id",),
        ("criterion",),
        ("list_stations",),
        ("list_stations", "*"),
        ("list_stations", "*", "distance_origin_position"),
        ("position",),
        ("position", "latitude"),
        ("position", "longitude"),
    )

    def handle(self, data: Data) -> Eventual[Answer]:
        if "list_stations" in data or "position" in data:
            require(data, "user_id")
        else:
            # Either of the two would do.
            raise missing(
                *(name for name in ("user_id",) if name not in data), "list_stations/position"
            )
        user_id = text(data, "user_id")
        criterion = (
            choice(data, "criterion", tuple(CRITERIA)) if "criterion" in data else "distance"
        )
        entries = 0
        if "list_stations" in data:
            distances, entries = _given(data), len(data["list_stations"])
        else:
            distances = _measured(*position(data))
        return then(
            self.perform(FindUser(user_id, whereabouts=True)),
            self._with_stations,
            user_id,
            criterion,
            distances,
            entries,
        )

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {
            "user_id": _echo_user(data),
            "id_station": None,
            "price_loading": 0,
            "distance_km": None,
            "travel_minutes": None,
            "wait_minutes": None,
            "charge_minutes": None,
            "alternatives": [],
        }

    def _with_stations(
        self, user: User, user_id: str, criterion: str, distances: Distances, entries: int
    ) -> Eventual[Answer]:
        def choose(states: Sequence[StationState]) -> Reply:
            known = distances(states)
            ranked = rank_stations(
                user.car,
                known,
                criterion,
                self.now(),
                self.time_scale,
                1 + MOST_ALTERNATIVES,
            )
            if ranked:
                best, *others = ranked
                reply = Reply(
                    {
                        "user_id": user_id,
                        **_figures(best),
                        "alternatives": [_figures(candidate) for candidate in others],
                    },
                    say=partial(sent_to, best=best),
                )
            else:
                reply = Reply(self.on_failure({"user_id": user_id}), NO_STATION)
            if entries > len(known):
                reply.data["ignored"] = entries - len(known)
            return reply

        return then(self.perform(ListStations()), choose)


def _given(data: Data) -> Distances:
    """
    The distances that the client worked out; what is none is passed over.

    :raise RequestFailed: `list_stations` is no object, or has entries of which none is understood.
    """
    listed = mapping(data, "list_stations")
    given: dict[str, float] = {}
    for key, entry in listed.items():
        if isinstance(entry, dict):
            distance = finite_number(entry.get("distance_origin_position"))
            if distance is not None and distance >= 0:
                given[key] = distance
    if listed and not given:
        raise _not_understood(*next(iter(listed.items())))

    def look_up(states: Sequence[StationState]) -> list[tuple[StationState, float]]:
        return [(state, given[state.station.key]) for state in states if state.station.key in given]

    return look_up


def _not_understood(key: str, entry: object) -> RequestFailed:
    """Why the entry `key` of a `list_stations` is no distance."""
    key = beginning(key, LONGEST_KEY)
    if not isinstance(entry, dict):
        return invalid(
            f"list_stations.{key}",
            Phrase(
                'um objeto {"distance_origin_position": km}',
                'an object {"distance_origin_position": km}',
            ),
        )
    return invalid(
        f"list_stations.{key}.distance_origin_position",
        Phrase(
            "um número de km não menor que 0, com ponto decimal e sem unidade (4.5)",
            "a number of km not under 0, with a decimal point and no unit (4.5)",
        ),
    )


def _measured(latitude: float, longitude: float) -> Distances:
    """The distances from a place to every station."""

    def measure(states: Sequence[StationState]) -> list[tuple[StationState, float]]:
        return [
            (
                state,
                distance_km(latitude, longitude, state.station.latitude, state.station.longitude),
            )
            for state in states
        ]

    return measure


def _figures(candidate: Candidate) -> dict[str, Any]:
    return {
        "id_station": candidate.state.station.key,
        "price_loading": float(candidate.price),
        "distance_km": round(candidate.distance_km, 6),
        "travel_minutes": round(candidate.travel_s / 60, 6),
        "wait_minutes": round(candidate.wait_s / 60, 6),
        "charge_minutes": round(candidate.charge_s / 60, 6),
    }


@attrs.frozen
class Payment:
    """
    Answers PAYMENT.

    :param new_id: makes an id that cannot be guessed.
    :param now: the present, seconds since the epoch.
    :param time_scale: how many times faster than real time charging goes.
    """

    perform: Perform
    new_id: Callable[[], str]
    now: Callable[[], float]
    time_scale: float
    reads = (("user_id",), ("id_station",), ("confirmation",))

    def handle(self, data: Data) -> Eventual[Answer]:
        require(data, "user_id", "id_station", "confirmation")
        user_id = text(data, "user_id")
        station = station_id(data, "id_station")
        if not boolean(data, "confirmation"):
            # Whichever station is named, the slot that is freed is the one that the user holds.
            return then(self.perform(EndJourney(user_id)), self._ended, user_id, station)
        plan = partial(
            plan_session, receipt_id=self.new_id(), now=self.now(), time_scale=self.time_scale
        )
        return then(self.perform(TakeSlot(user_id, station, plan)), self._paid)

    def on_failure(self, data: Data) -> dict[str, Any]:
        station = data.get("id_station")
        if isinstance(station, int) and not isinstance(station, bool) and abs(station) < 10**20:
            station = str(station)
        return {
            "user_id": _echo_user(data),
            "id_station": station if is_text(station) else None,
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
            say=partial(paid, session=session),
        )

    def _ended(self, _: None, user_id: str, station: str) -> Reply:
        return Reply(
            {"user_id": user_id, "id_station": station, "confirmation": False}, say=ENDED.say
        )
