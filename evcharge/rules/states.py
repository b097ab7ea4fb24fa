"""
The table of states: what becomes of a driver's session, or place in line, and by whom.

The picture in `docs/sessions.md` is made from it, and a test holds the operations against it.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from evcharge.models.session import (
    CANCELLED,
    CHARGING,
    COMPLETED,
    FINISHED,
    FREE,
    NO_SHOW,
    OFFERED,
    RESERVED,
    WAITING,
)

RESERVE, RESERVE_OR_WAIT, ARRIVE, PAY, STOP, STOP_AND_STAY, CANCEL, END_JOURNEY = DRIVERS = (
    "RESERVE",
    "RESERVE, wait",
    "ARRIVE",
    "PAYMENT true",
    "STOP",
    "STOP, leave false",
    "CANCEL",
    "PAYMENT false",
)
"""What a driver may do."""

TURN, DEADLINE = SERVERS = ("an EVSE came free", "deadline")
"""What happens by itself."""

OUT_OF_SERVICE, BACK_IN_SERVICE = OPERATORS = ("EVSE out of service", "EVSE back in service")
"""What an operator may do."""

CAUSES = (*DRIVERS, *SERVERS, *OPERATORS)


@attrs.frozen
class Transition:
    """A row of the table: from one state of a user to another."""

    before: str
    cause: str
    after: str
    ends: str | None = None
    """In which state the session ends, if it does."""
    when: str = ""
    """What has to be so, where a cause may lead to several states."""
    user_goes: bool = False
    """Whether the user is removed."""


FREE_EVSE, NO_EVSE = "an EVSE that fits is free", "none is free"
STAYS, GOES = "leaves_when_done is false", "leaves_when_done is true"
ANOTHER, NO_OTHER = "another one that fits is free", "no other one is free"

TABLE = (
    Transition(FREE, RESERVE, RESERVED, when=FREE_EVSE),
    Transition(FREE, RESERVE_OR_WAIT, RESERVED, when=FREE_EVSE),
    Transition(FREE, RESERVE_OR_WAIT, WAITING, when=NO_EVSE),
    Transition(FREE, ARRIVE, CHARGING, when=FREE_EVSE),
    Transition(FREE, PAY, CHARGING, when=FREE_EVSE),
    Transition(FREE, END_JOURNEY, FREE, user_goes=True),
    Transition(WAITING, RESERVE, RESERVED, when=FREE_EVSE),
    Transition(WAITING, RESERVE_OR_WAIT, RESERVED, when=FREE_EVSE),
    Transition(WAITING, RESERVE_OR_WAIT, WAITING, when=NO_EVSE),
    Transition(WAITING, ARRIVE, CHARGING, when=FREE_EVSE),
    Transition(WAITING, PAY, CHARGING, when=FREE_EVSE),
    Transition(WAITING, CANCEL, FREE),
    Transition(WAITING, TURN, OFFERED),
    Transition(WAITING, END_JOURNEY, FREE, user_goes=True),
    Transition(OFFERED, RESERVE, RESERVED),
    Transition(OFFERED, RESERVE_OR_WAIT, RESERVED),
    Transition(OFFERED, ARRIVE, CHARGING),
    Transition(OFFERED, PAY, CHARGING),
    Transition(OFFERED, CANCEL, FREE),
    Transition(OFFERED, DEADLINE, FREE),
    Transition(OFFERED, OUT_OF_SERVICE, OFFERED, when=ANOTHER),
    Transition(OFFERED, OUT_OF_SERVICE, WAITING, when=NO_OTHER),
    Transition(OFFERED, END_JOURNEY, FREE, user_goes=True),
    Transition(RESERVED, ARRIVE, CHARGING),
    Transition(RESERVED, PAY, CHARGING),
    Transition(RESERVED, CANCEL, FREE, CANCELLED),
    Transition(RESERVED, DEADLINE, FREE, NO_SHOW),
    Transition(RESERVED, OUT_OF_SERVICE, RESERVED, when=ANOTHER),
    Transition(RESERVED, OUT_OF_SERVICE, WAITING, CANCELLED, when=NO_OTHER),
    Transition(RESERVED, END_JOURNEY, FREE, CANCELLED, user_goes=True),
    Transition(CHARGING, STOP, FREE, COMPLETED, user_goes=True),
    Transition(CHARGING, STOP_AND_STAY, FINISHED),
    Transition(CHARGING, DEADLINE, FINISHED, when=STAYS),
    Transition(CHARGING, DEADLINE, FREE, COMPLETED, when=GOES, user_goes=True),
    Transition(CHARGING, OUT_OF_SERVICE, FREE, COMPLETED, user_goes=True),
    Transition(CHARGING, END_JOURNEY, FREE, COMPLETED, user_goes=True),
    Transition(FINISHED, STOP, FREE, COMPLETED, user_goes=True),
    Transition(FINISHED, DEADLINE, FREE, COMPLETED, user_goes=True),
    Transition(FINISHED, END_JOURNEY, FREE, COMPLETED, user_goes=True),
)
"""What changes. Beside it are the repeats, which change nothing: :data:`REPEATS`."""

REPEATS = {
    (FREE, CANCEL),
    (WAITING, RESERVE),
    (WAITING, RESERVE_OR_WAIT),
    (RESERVED, RESERVE),
    (RESERVED, RESERVE_OR_WAIT),
    (CHARGING, ARRIVE),
    (CHARGING, PAY),
    (FINISHED, ARRIVE),
    (FINISHED, PAY),
    (FINISHED, STOP_AND_STAY),
}
"""What is answered by what stands already."""

MAY = {(row.before, row.cause) for row in TABLE} | REPEATS
"""What is no mistake; of the rest a driver is told `wrong_state`."""

ACTIONS: Mapping[str, tuple[str, ...]] = {
    FREE: ("RESERVE", "ARRIVE", "PAYMENT"),
    WAITING: ("CANCEL",),
    OFFERED: ("RESERVE", "ARRIVE", "PAYMENT", "CANCEL"),
    RESERVED: ("ARRIVE", "PAYMENT", "CANCEL"),
    CHARGING: ("STOP",),
    FINISHED: ("STOP",),
}
"""The messages that an app offers its driver in each state."""
