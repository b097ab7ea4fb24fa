"""What a listener is told: one line of what has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from evcharge.models.slots import StationState
from evcharge.push import Form

Change: TypeAlias = tuple[str, str]
"""A topic, and of what in it something is other than it was: a station's id, a user's, nothing.
Of many cars that move it is one change."""


def live_fields(state: StationState | None) -> dict[str, Any]:
    """What changes of a station, all of it; None: it is in service no more."""
    if state is None:
        return {
            "available_slots": 0,
            "max_slots": 0,
            "out_of_service": 0,
            "queue_length": 0,
            "state": "out_of_service",
        }
    return {
        "available_slots": state.available_slots,
        "max_slots": state.max_slots,
        "out_of_service": sum(kind.out_of_service for kind in state.kinds),
        "queue_length": state.queue_length,
        "state": "in_service" if state.max_slots else "out_of_service",
    }


class Line:
    """
    One event: made when somebody takes it, of what is so then, and written once for each form.

    :param changes: what it tells of, each with when it changed.
    :param at: when it is due, seconds of the hub's clock.
    :param data: makes its `data` of what has changed.
    """

    __slots__ = ("_data", "_written", "at", "changes", "since")

    def __init__(
        self,
        changes: Mapping[Change, float],
        at: float,
        data: Callable[[Mapping[Change, float]], Mapping[str, Any]],
    ) -> None:
        self.changes = changes
        self.at = at
        self.since = min(changes.values(), default=None)
        """When the first of it changed; None where nothing has."""
        self._data: Any = data
        self._written: dict[Form, bytes] = {}

    def written(self, form: Form) -> bytes:
        """It in a form."""
        written = self._written.get(form)
        if written is None:
            if not self._written:
                self._data = self._data(self.changes)
            written = self._written[form] = form(self._data)
        return written
