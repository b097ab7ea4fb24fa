"""
RESERVE, ARRIVE, STOP, CANCEL, STATUS: a driver's session, from the way there to its end.

What is told of a session is worked out for the moment in which it is asked for.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from evcharge.handlers.handler import Answer, Handler, after, then
from evcharge.models.receipts import Course, Receipt, cost_so_far
from evcharge.models.session import (
    CHARGING,
    FINISHED,
    FREE,
    OFFERED,
    RESERVED,
    ChargingSession,
)
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.terms import MOST_ARRIVAL_MINUTES, Terms
from evcharge.outcomes import Phrase, Refusal, Reply
from evcharge.rules.claims import ARRIVE, RESERVE, Claim, Wishes
from evcharge.rules.journey import UNKNOWN_USER, FindStanding, ListStations, Standing
from evcharge.rules.leaving import CANCEL_IT, STOP_AND_LEAVE, STOP_IT, Leave
from evcharge.rules.receipts import FindReceipt
from evcharge.rules.states import ACTIONS
from evcharge.rules.waiting import InLine
from evcharge.storage import Eventual
from evcharge.utils.figures import minutes, reais
from evcharge.utils.numbers import millionths, rounded
from evcharge.utils.time_utils import iso_utc
from evcharge.wire.fields import (
    ARRIVAL_PERCENT,
    TARGET_PERCENT,
    USER_ID,
    Boolean,
    Data,
    Field,
    Number,
    StationId,
    Text,
)

ID_STATION = Field("id_station", StationId())
ID_EVSE = Field("id_evse", Text(1), optional=True)

GIVEN_UP = Phrase("Vaga ou lugar na fila liberado", "Slot or place in the queue given up")


def session_fields(
    session: ChargingSession, station: Station | None, now: float, terms: Terms
) -> dict[str, Any]:
    """
    What replies say of a session.

    :param station: where it is; None where that is not in service.
    :param now: seconds since the epoch.
    """
    state = session.state
    course = Course.of(session, now, terms)
    battery = None if state in (OFFERED, RESERVED) else course.percent(session)
    since = session.since_timestamp
    if since is None and state == CHARGING:
        since = session.started(terms)
    return {
        "state": state,
        "since": None if since is None else iso_utc(since),
        "id_station": str(session.station_id),
        "name_station": None if station is None else station.name,
        "id_evse": session.evse_uid or None,
        "connector": session.connector,
        "receipt_id": session.receipt_id,
        "start_percent": rounded(session.start_percent),
        "target_percent": session.target_percent,
        "battery_percent": rounded(battery),
        "energy_kwh": rounded(course.energy_kwh),
        "planned_energy_kwh": rounded(session.energy_kwh),
        "power_kw": rounded(course.power_kw),
        "cost": float(cost_so_far(session, course, station, terms)),
        "amount": float(session.amount),
        "estimated_timestamp": session.estimated_timestamp,
        "expires_timestamp": session.expires_timestamp,
        "assumed": list(session.assumed),
    }


def waiting_fields(line: InLine, station: Station | None) -> dict[str, Any]:
    """What replies say of a place in line."""
    turn = line.turn
    return {
        "state": "WAITING",
        "since": iso_utc(line.place.joined_timestamp),
        "id_station": str(line.place.station_id),
        "name_station": None if station is None else station.name,
        "position": line.position,
        "queue_length": line.queue_length,
        "eta_minutes": None if turn is None else millionths(turn.minutes),
        "eta_earliest_minutes": None if turn is None else millionths(turn.earliest),
        "eta_latest_minutes": None if turn is None else millionths(turn.latest),
    }


def reserved(session: ChargingSession, language: str) -> str:
    """What a driver is told for whom an EVSE is kept."""
    evse, station, price = (
        session.evse_uid,
        session.station_id,
        reais(float(session.amount), language),
    )
    if language == "pt":
        return f"Vaga {evse} reservada no posto {station}, recarga prevista de {price}"
    return f"Slot {evse} is kept at station {station}, charging is expected to cost {price}"


def in_line(line: InLine, language: str) -> str:
    """What a driver is told who waits."""
    station, position = line.place.station_id, line.position
    eta = None if line.turn is None else minutes(line.turn.minutes, language)
    if language == "pt":
        told = f"Lugar {position} na fila do posto {station}"
        return told if eta is None else f"{told}, vez prevista em {eta}"
    told = f"Number {position} in the queue of station {station}"
    return told if eta is None else f"{told}, turn expected in {eta}"


def charging(session: ChargingSession, language: str) -> str:
    """What a driver is told whose car charges."""
    evse, station = session.evse_uid, session.station_id
    left = minutes(session.charge_minutes, language)
    if language == "pt":
        return f"Recarga na vaga {evse} do posto {station}, {left} ao todo"
    return f"Charging at slot {evse} of station {station}, {left} in all"


def finished(session: ChargingSession, cost: float, language: str) -> str:
    """
    What a driver is told whose car is charged, and still there.

    :param cost: so far, BRL.
    """
    evse, station, price = session.evse_uid, session.station_id, reais(cost, language)
    if language == "pt":
        return f"Recarga terminada na vaga {evse} do posto {station}: {price}"
    return f"Charged at slot {evse} of station {station}: {price}"


def ended(receipt: Receipt, language: str) -> str:
    """What a driver is told who has gone."""
    total = reais(float(receipt.total), language)
    return f"Recarga encerrada: {total}" if language == "pt" else f"Charging ended: {total}"


def given_up(receipt: Receipt, language: str) -> str:
    """What a driver is told who has given up what costs something."""
    total = reais(float(receipt.total), language)
    return f"Reserva encerrada: {total}" if language == "pt" else f"Reservation ended: {total}"


class SessionHandler(Handler):
    """What messages about a session have in common."""

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"user_id": USER_ID.repeated(data)}

    def _tell(self, user_id: str, found: ChargingSession | InLine) -> Eventual[Answer]:
        """The reply that says what a user has now."""
        return then(self.context.perform(ListStations()), self._told, user_id, found)

    def _told(self, stations: Stations, user_id: str, found: ChargingSession | InLine) -> Reply:
        context = self.context
        at = found.place if isinstance(found, InLine) else found
        state = stations.get(str(at.station_id))
        station = None if state is None else state.station
        if isinstance(found, InLine):
            fields = waiting_fields(found, station)
            return Reply({"user_id": user_id, **fields}, say=partial(in_line, found))
        fields = session_fields(found, station, context.now(), context.terms)
        if found.state == FINISHED:
            say = partial(finished, found, fields["cost"])
        else:
            say = partial(reserved if found.state == RESERVED else charging, found)
        return Reply({"user_id": user_id, **fields}, say=say)


class Reserve(SessionHandler):
    """Answers RESERVE."""

    TYPE = "RESERVE"
    FIELDS = (
        USER_ID,
        ID_STATION,
        Field("wait", Boolean(), optional=True),
        Field("arrival_minutes", Number(0, MOST_ARRIVAL_MINUTES), optional=True),
        ARRIVAL_PERCENT,
        TARGET_PERCENT,
        ID_EVSE,
    )
    GUARD = "claim"

    def handle(
        self,
        user_id: str,
        id_station: str | None,
        wait: bool = False,
        arrival_minutes: float = 0.0,
        arrival_percent: float | None = None,
        target_percent: float | None = None,
        id_evse: str | None = None,
    ) -> Eventual[Answer]:
        context = self.context
        wishes = Wishes(arrival_minutes, arrival_percent, target_percent, id_evse)
        claim = Claim(
            user_id,
            id_station or "",
            context.new_id(),
            context.now(),
            context.terms,
            RESERVE,
            wait,
            wishes,
        )
        return then(context.perform(claim), partial(self._tell, user_id))


class Arrive(SessionHandler):
    """Answers ARRIVE."""

    TYPE = "ARRIVE"
    FIELDS = (
        USER_ID,
        ID_STATION,
        ID_EVSE,
        ARRIVAL_PERCENT,
        TARGET_PERCENT,
        Field("leaves_when_done", Boolean(), optional=True),
    )
    GUARD = "claim"

    def handle(
        self,
        user_id: str,
        id_station: str | None,
        id_evse: str | None = None,
        arrival_percent: float | None = None,
        target_percent: float | None = None,
        leaves_when_done: bool = False,
    ) -> Eventual[Answer]:
        context = self.context
        wishes = Wishes(0.0, arrival_percent, target_percent, id_evse, leaves_when_done)
        claim = Claim(
            user_id,
            id_station or "",
            context.new_id(),
            context.now(),
            context.terms,
            ARRIVE,
            wishes=wishes,
        )
        return then(context.perform(claim), partial(self._tell, user_id))


class Stop(SessionHandler):
    """Answers STOP."""

    TYPE = "STOP"
    FIELDS = (
        USER_ID,
        Field("leave", Boolean(), optional=True),
        Field("receipt_id", Text(1), optional=True),
    )

    def handle(
        self, user_id: str, leave: bool = True, receipt_id: str | None = None
    ) -> Eventual[Answer]:
        context = self.context
        how = STOP_AND_LEAVE if leave else STOP_IT
        left = context.perform(Leave(user_id, how, context.now(), context.terms))
        if receipt_id is None:
            return then(left, self._stopped, user_id)
        return after(left, partial(self._or_receipt, user_id, receipt_id))

    def _stopped(self, left: Receipt | ChargingSession, user_id: str) -> Eventual[Answer]:
        if isinstance(left, Receipt):
            return Reply({"user_id": user_id, **left.body}, say=partial(ended, left))
        return self._tell(user_id, left)

    def _or_receipt(
        self, user_id: str, receipt_id: str, left: Receipt | ChargingSession | Refusal
    ) -> Eventual[Answer]:
        """Where the user is gone, what was answered when that came to be."""
        if left == UNKNOWN_USER:
            found = self.context.perform(FindReceipt(receipt_id))
            return after(found, partial(self._again, user_id))
        return left if isinstance(left, Refusal) else self._stopped(left, user_id)

    def _again(self, user_id: str, found: Any) -> Eventual[Answer]:
        return self._stopped(found, user_id) if isinstance(found, Receipt) else UNKNOWN_USER


class Cancel(SessionHandler):
    """Answers CANCEL."""

    TYPE = "CANCEL"
    FIELDS = (USER_ID,)
    GUARD = "cancel"

    def handle(self, user_id: str) -> Eventual[Answer]:
        context = self.context
        given_up = Leave(user_id, CANCEL_IT, context.now(), context.terms)
        return then(context.perform(given_up), self._reply, user_id)

    def _reply(self, receipt: Receipt | None, user_id: str) -> Reply:
        data: dict[str, Any] = {"user_id": user_id, "state": FREE}
        if receipt is None or not receipt.total:
            return Reply(data, say=GIVEN_UP.say)
        data["receipt"] = receipt.body
        return Reply(data, say=partial(given_up, receipt))


class Status(SessionHandler):
    """Answers STATUS."""

    TYPE = "STATUS"
    FIELDS = (USER_ID,)

    def handle(self, user_id: str) -> Eventual[Answer]:
        return then(self.context.perform(FindStanding(user_id)), self._reply)

    def _reply(self, standing: Standing) -> Answer:
        now, terms = self.context.now(), self.context.terms
        shown = standing.at(now, terms)
        if shown is None:
            return UNKNOWN_USER
        book = shown.book
        station = None if book is None else book.station
        fields: dict[str, Any] = {"state": FREE}
        if shown.session is not None:
            fields = session_fields(shown.session, station, now, terms)
        elif shown.place is not None:
            assert book is not None
            line = InLine.of(shown.place, station, book.slots, now, terms)
            fields = waiting_fields(line, station)
        return Reply(
            {
                "user_id": shown.user.user_id,
                **fields,
                "actions": ACTIONS[fields["state"]],
                "server_timestamp": now,
            }
        )
