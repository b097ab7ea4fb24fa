"""
What an operator may ask over HTTP, and by `evcharge evse`: drivers have no such messages.

They are none of :data:`evcharge.handlers.MESSAGES`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.evse import LONGEST_UID, STATUSES
from evcharge.models.slots import StationState
from evcharge.outcomes import Phrase, Reply
from evcharge.rules.operator import FindEvse, SetEvseStatus
from evcharge.storage import Eventual
from evcharge.wire.fields import Choice, Data, Field, Text

UID = Field("uid", Text(1, LONGEST_UID))

STANDS = Phrase(
    "{evse} no posto {station}: {status}{since}{reason}; {free} de {slots} vagas livres",
    "{evse} at station {station}: {status}{since}{reason}; {free} of {slots} slots free",
)
SINCE = Phrase(" desde {since}", " since {since}")
NOTHING = Phrase("", "")


class ShowEvse(Handler):
    """How an EVSE is."""

    TYPE = "SHOW_EVSE"
    FIELDS: ClassVar[tuple[Field, ...]] = (UID,)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"uid": UID.repeated(data)}

    def handle(self, uid: str) -> Eventual[Answer]:
        return then(self.context.perform(FindEvse(uid)), _as_it_is, uid)


class SetEvse(ShowEvse):
    """Says of an EVSE that it is out of service, or in it."""

    TYPE = "EVSE"
    FIELDS = (UID, Field("status", Choice(STATUSES)), Field("reason", Text(), optional=True))

    def answer(self, data: Data) -> Eventual[Answer]:
        if "reason" in data and data["reason"] is None:
            # As the reply has it where there is none.
            data = {name: value for name, value in data.items() if name != "reason"}
        return super().answer(data)

    def handle(  # type: ignore[override]
        self, uid: str, status: str, reason: str = ""
    ) -> Eventual[Answer]:
        context = self.context
        operation = SetEvseStatus(uid, status, reason or None, context.now(), context.terms)
        return then(context.perform(operation), _as_it_is, uid)


OPERATOR_MESSAGES = (SetEvse, ShowEvse)


def _as_it_is(state: StationState, uid: str) -> Answer:
    station, evse = state.station, state.station.evse(uid)
    assert evse is not None, uid
    data = {
        "uid": uid,
        "status": evse.status,
        "since": evse.since,
        "reason": evse.reason,
        "id_station": station.key,
        "name_station": station.name,
        "available_slots": state.available_slots,
        "max_slots": state.max_slots,
        "queue_length": state.queue_length,
    }

    def say(language: str) -> str:
        since = SINCE if evse.since else NOTHING
        return STANDS.say(
            language,
            {
                "evse": uid,
                "station": f"{station.key} {station.name}".rstrip(),
                "status": evse.status,
                "since": since.say(language, {"since": evse.since}),
                "reason": f" ({evse.reason})" if evse.reason else "",
                "free": state.available_slots,
                "slots": state.max_slots,
            },
        )

    return Reply(data, say=say)
