"""SUBSCRIBE: what changes, told as it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.handlers.session import Status
from evcharge.handlers.start import MOST_NAMED, MOST_STATIONS, Start
from evcharge.models.slots import StationState
from evcharge.models.stations import Stations
from evcharge.outcomes import TOO_MANY_STATIONS, Phrase, Refusal, Reply, invalid, missing
from evcharge.push import (
    FIGURES,
    SIMULATION,
    STATIONS,
    TOPICS,
    USER,
    VEHICLES,
    Area,
    Push,
    Wishes,
)
from evcharge.push.lines import live_fields
from evcharge.rules.journey import ListStations
from evcharge.storage import Eventual
from evcharge.wire.fields import Choice, Field, Integer, ListOf, Number, Object, StationId, Text

MOST_TOPICS = 20
"""Topics that a request may name, some of them more than once."""

NOT_BESIDE = Phrase("omitido onde há stations", "left out where there is stations")
NOT_NORTHERN = Phrase("não maior que area.north", "not over area.north")


class Snapshot(Start):
    """The stations as START shows them, and what else changes of them."""

    def describe(self, state: StationState, now: float) -> dict[str, Any]:
        return {**super().describe(state, now), **live_fields(state)}


@attrs.frozen
class Subscribe(Handler):
    """Answers SUBSCRIBE."""

    TYPE = "SUBSCRIBE"
    FIELDS = (
        Field("topics", ListOf(Choice(TOPICS), MOST_TOPICS, Phrase("tópicos", "topics"))),
        Field("stations", ListOf(StationId(), MOST_NAMED), optional=True),
        Field(
            "area",
            Object(
                (
                    Field("south", Number(-90, 90)),
                    Field("west", Number(-180, 180)),
                    Field("north", Number(-90, 90)),
                    Field("east", Number(-180, 180)),
                )
            ),
            optional=True,
        ),
        Field("user_id", Text(), optional=True),
        Field("interval_ms", Integer(50, 60_000), optional=True),
    )
    GUARD = "subscribe"

    _snapshot: Snapshot = attrs.field(init=False)

    _status: Status = attrs.field(init=False)

    @_status.default
    def _new_status(self) -> Status:
        return Status(self.context)

    @_snapshot.default
    def _new_snapshot(self) -> Snapshot:
        return Snapshot(self.context)

    def handle(
        self,
        topics: Sequence[str],
        stations: Sequence[str | None] | None = None,
        area: Mapping[str, float] | None = None,
        user_id: str | None = None,
        interval_ms: int = 0,
    ) -> Eventual[Answer]:
        if area is not None:
            if stations is not None:
                return invalid("area", NOT_BESIDE)
            if area["south"] > area["north"]:
                return invalid("area.south", NOT_NORTHERN)
        if USER in topics and user_id is None:
            return missing("user_id")
        wishes = Wishes(
            frozenset(topics),
            max(interval_ms / 1000, self._hub.interval_s),
            None if stations is None else frozenset(key for key in stations if key is not None),
            None if area is None else Area(**area),
            user_id if USER in topics else None,
        )
        if wishes.user_id is None:
            return self._list(None, wishes)
        return then(self._status.handle(wishes.user_id), self._list, wishes)

    @property
    def _hub(self) -> Push:
        hub = self.context.hub
        assert hub is not None
        return hub

    def _list(self, status: Reply | None, wishes: Wishes) -> Eventual[Answer]:
        return then(self.context.perform(ListStations()), self._begin, status, wishes)

    def _begin(self, stations: Stations, status: Reply | None, wishes: Wishes) -> Answer:
        # From here on nothing is waited for: what changes after the snapshot is told.
        hub = self._hub
        hub.see(stations)
        snapshot: dict[str, Any] = {}
        if STATIONS in wishes.topics:
            shown = _shown(stations, wishes)
            if len(shown) > MOST_STATIONS:
                return Refusal(TOO_MANY_STATIONS, {"most": MOST_STATIONS})
            is_whole = shown is stations
            snapshot[STATIONS] = (
                self._snapshot.all_stations(stations)
                if is_whole
                else self._snapshot.some_stations(shown)
            )
        if status is not None:
            snapshot[USER] = status.data
        if FIGURES in wishes.topics:
            snapshot[FIGURES] = list(hub.points)
        clock = None if hub.simulation is None else hub.simulation.clock()
        if hub.simulation is not None and clock is not None:
            if VEHICLES in wishes.topics:
                snapshot[VEHICLES] = hub.simulation.vehicles()
            if SIMULATION in wishes.topics:
                snapshot[SIMULATION] = clock
        return Reply(
            {
                "seq": hub.next_seq(),
                "interval_ms": round(wishes.interval_s * 1000),
                "snapshot": snapshot,
            },
            subscription=hub.subscription(wishes, snapshot.get(USER)),
        )


def find_journey(status: Handler, user_id: str) -> Eventual[Mapping[str, Any]]:
    """
    How a user's journey stands, as STATUS says it; of a user who is gone, the reason.

    :param status: the handler of STATUS.
    """
    answer = status.handle(user_id=user_id)
    if isinstance(answer, Deferred):
        return answer.addCallback(partial(_found, user_id))
    return _found(user_id, answer)


def _found(user_id: str, answer: Answer) -> Mapping[str, Any]:
    if isinstance(answer, Refusal):
        return {"user_id": user_id, "reason": answer.outcome.reason}
    data: Mapping[str, Any] = answer.data
    return data


def _shown(stations: Stations, wishes: Wishes) -> Stations | Sequence[StationState]:
    """Those of the stations that are wished for."""
    if wishes.area is not None:
        area = wishes.area
        return [s for s in stations if area.has(s.station.latitude, s.station.longitude)]
    if wishes.stations is not None:
        found = map(stations.get, sorted(wishes.stations))
        return [state for state in found if state is not None]
    return stations
