"""
The journey that `evcharge drive` takes a person on: what is known on the way, and the end of it.

::

    look_around -> introduce -> plan_trip -> locate -> choose -> decide -> leave
                       ^            |          ^        ^  |     ^ |  |      ^
                       |            |          '--------|--'     '-'  |      |
                       |            |                   '-------------'      |
                       |            '--- no need, none wanted ---------------'
                       '--- another journey ---- decide

Each step asks, sends what is to be sent, and names the step that follows. They are those of
:mod:`~evcharge.commands.search`, until a station is chosen, and of
:mod:`~evcharge.commands.actions`: what may be done there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from evcharge.commands.questions import Person
from evcharge.commands.tables import clean
from evcharge.outcomes import Phrase
from evcharge.utils.figures import decimal, minutes

FREE, WAITING, OFFERED, RESERVED, CHARGING, FINISHED = (
    "FREE",
    "WAITING",
    "OFFERED",
    "RESERVED",
    "CHARGING",
    "FINISHED",
)
"""The states that STATUS tells."""

GONE = "GONE"
"""The state of who is not known to the server, or not any more."""


class Refused(Exception):
    """The server has answered a request with another code than 200."""

    def __init__(self, reply: Mapping[str, Any]) -> None:
        super().__init__(clean(f"{reply['status']['code']} {reply['status']['message']}"))
        self.code: int = reply["status"]["code"]
        self.reason = reply["data"].get("reason")

    @property
    def is_failure(self) -> bool:
        """Whether the server could not do it, or does not know whether it did."""
        return self.code >= 500


class Journey:
    """
    What is known on the way.

    :param send: sends a request, `send(kind, data)`, and returns the whole reply.
    """

    def __init__(
        self, person: Person, send: Callable[[str, dict[str, Any]], Mapping[str, Any]]
    ) -> None:
        self.person = person
        self._send = send
        self.is_over = False
        self.unanswered: Mapping[str, Any] = {}
        """The `type` of the request that has had no reply, with the fields of its data."""
        self.cars: Mapping[str, Mapping[str, Any]] = {}
        self.stations: Mapping[str, Mapping[str, Any]] = {}
        self.user_id: str | None = None
        self.driver_id: str | None = None
        """What makes several journeys those of one driver."""
        self.has_history = False
        """Whether this driver has had a receipt."""
        self.search: dict[str, Any] = {}
        """What SELECTION_STATION is asked with."""
        self.offer: Mapping[str, Any] = {}
        """The station that was chosen, and its figures."""
        self.charge_minutes = 0.0
        """How long the whole charge takes, simulated."""
        self.status: Mapping[str, Any] = {"state": GONE}
        """How things stand: what STATUS said last, or what was done since."""
        self.receipt_id: str | None = None
        """Of the session that there is, as far as the person was told."""

    def request(self, kind: str, **data: Any) -> Any:
        """
        Send a request; the data of its reply.

        :raise Refused: its code is not 200.
        :raise NoReply: none came.
        """
        self.unanswered = {**data, "type": kind}
        reply = self._send(kind, data)
        if reply["status"]["code"] == 200:
            self.unanswered = {}
            return reply["data"]
        refused = Refused(reply)
        if not refused.is_failure:
            self.unanswered = {}
        raise refused

    def look(self) -> None:
        """
        STATUS: how things stand now.

        :raise Refused, NoReply: as :meth:`request`.
        """
        try:
            self.status = self.request("STATUS", user_id=self.user_id)
        except Refused as error:
            if error.reason != "user_not_found":
                raise
            self.forgotten()

    def forgotten(self) -> None:
        """The server knows the user no more."""
        self.user_id = None
        self.status = {"state": GONE}

    @property
    def station_name(self) -> str:
        """What the station is called that was chosen, or where the person is."""
        return self.name(self.status.get("id_station") or self.offer.get("id_station"))

    def name(self, station_id: Any) -> str:
        """What a station is called; in a large network not all are known by name."""
        station = self.stations.get(station_id, {})
        return clean(station.get("name_station", f"#{station_id}"))


class Step(Protocol):
    """A part of the journey."""

    def __call__(self, journey: Journey, /) -> Step | None:
        """Go it; the next one. None: the person decides, if the journey is not over."""


FORGET_NOW = Phrase(
    "Encerrar a jornada? O servidor então esquece você",
    "End the journey? The server then forgets you",
)
ENDED = Phrase("Jornada encerrada.", "The journey is over.")
OVER = Phrase("A jornada já tinha terminado.", "The journey was over already.")


def leave(journey: Journey) -> None:
    """PAYMENT once more: the end of the journey of who holds nothing, if it is wanted now."""
    person = journey.person
    print()
    journey.is_over = True
    if not person.confirm(FORGET_NOW, True):
        return
    station_id = journey.offer.get("id_station", "0")
    try:
        journey.request(
            "PAYMENT", user_id=journey.user_id, id_station=station_id, confirmation=False
        )
        said = ENDED
    except Refused as error:
        if error.reason != "user_not_found":
            raise
        said = OVER
    journey.forgotten()
    person.say(said)


def moment(timestamp: float, language: str) -> str:
    """When something is, by this machine's clock and time zone: `às 14:09`, `at 14:09`."""
    then, now = datetime.fromtimestamp(timestamp), datetime.now()
    near = abs((then - now).total_seconds()) < 120
    time = then.strftime("%H:%M:%S" if near else "%H:%M")
    if then.date() == now.date() or near:
        return f"às {time}" if language == "pt" else f"at {time}"
    if language == "pt":
        return f"em {then:%d/%m/%Y} às {time}"
    return f"on {then:%Y-%m-%d} at {time}"


def instant(text: str) -> float:
    """The seconds since the epoch of an instant as replies have it, `2025-04-07T13:45:12.678Z`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def tenths(value: float, language: str) -> str:
    """A figure with one decimal, if it has any."""
    return decimal(value, language, 0 if round(value, 1) % 1 == 0 else 1)


def short_minutes(value: float, language: str) -> str:
    """A time, short enough for a table: `24 min`, `< 1 min`."""
    return "< 1 min" if 0 < value < 0.5 else minutes(value, language)
