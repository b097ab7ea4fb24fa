"""The journeys that somebody listens to: how each stands, asked for anew when that may be other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.models.session import WAITING
from evcharge.rules.events import Event, NetworkChanged, stations_of, user_of
from evcharge.storage import Eventual
from evcharge.storage.group_commit import Unavailable

Found: TypeAlias = Mapping[str, Any]
"""The data of STATUS's reply."""

GOES_ON = frozenset(
    {
        "battery_percent",
        "energy_kwh",
        "power_kw",
        "cost",
        "eta_minutes",
        "eta_earliest_minutes",
        "eta_latest_minutes",
        "server_timestamp",
    }
)
"""What is another at each moment by itself: no change that anybody is told of."""


@attrs.define
class Journey:
    """What is known of one."""

    found: Found
    listeners: int = 0
    is_asked_for: bool = False
    is_other: bool = False
    """Whether it is known to be other than what was found."""
    again: bool = False
    """Whether it may be other by now than what was asked for."""
    is_shared: bool = False
    """Whether memory does not know it: then other processes may change it."""


class Journeys:
    """
    Those that are listened to.

    :param find: how a user's journey stands.
    :param changed: called with the user's id when that is other than it was.
    """

    log = Logger()

    def __init__(
        self, find: Callable[[str], Eventual[Found]], changed: Callable[[str], object]
    ) -> None:
        self._find = find
        self._changed = changed
        self._known: dict[str, Journey] = {}

    def begin(self, user_id: str, found: Found) -> None:
        """One more listens to a journey, and knows what was found."""
        known = self._known.setdefault(user_id, Journey(found))
        known.listeners += 1
        # It may have changed since.
        self._ask(user_id, known)

    def end(self, user_id: str) -> None:
        """One less does."""
        known = self._known[user_id]
        known.listeners -= 1
        if not known.listeners:
            del self._known[user_id]

    def found(self, user_id: str) -> Found:
        """How one stood when it was last asked for."""
        return self._known[user_id].found

    def happened(self, events: Sequence[Event]) -> None:
        """Ask for those anew that are other by what has happened."""
        if not self._known:
            return
        users = {user_of(event) for event in events}
        stations = {str(number) for number in stations_of(events)}
        is_other = any(isinstance(event, NetworkChanged) for event in events)
        for user_id, known in list(self._known.items()):
            # Who waits is told of the line, and when the turn may come.
            waits = known.found.get("state") == WAITING
            if user_id in users or (waits and (is_other or known.found["id_station"] in stations)):
                known.is_other = True
                self._ask(user_id, known)

    def look(self) -> None:
        """Ask for those anew that other processes may have changed."""
        for user_id, known in list(self._known.items()):
            if known.is_shared and not known.is_asked_for:
                self._ask(user_id, known)

    def _ask(self, user_id: str, known: Journey) -> None:
        if known.is_asked_for:
            known.again = True
            return
        known.again = False
        try:
            found = self._find(user_id)
        except Exception:
            self._failed(user_id, known, Failure())
            return
        known.is_shared = type(found) is Deferred
        if isinstance(found, Deferred):
            known.is_asked_for = True
            found.addCallback(partial(self._answered, user_id, known))
            found.addErrback(partial(self._failed, user_id, known))
        else:
            self._answered(user_id, known, found)

    def _answered(self, user_id: str, known: Journey, found: Found) -> None:
        known.is_asked_for = False
        if self._known.get(user_id) is not known:
            return
        before, known.found = known.found, found
        is_other, known.is_other = known.is_other, False
        if is_other or _lasting(before) != _lasting(found):
            self._changed(user_id)
        if known.again:
            self._ask(user_id, known)

    def _failed(self, user_id: str, known: Journey, failure: Failure) -> None:
        # The next look tries again.
        known.is_asked_for, known.is_shared = False, True
        if not failure.check(Unavailable):
            self.log.failure("A journey could not be looked at", failure=failure)


def _lasting(found: Found) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in GOES_ON}
