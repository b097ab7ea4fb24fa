"""Live push: who listens to what, and what they are told of the present; no transport in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import attrs

from evcharge.models.stations import Stations

STATIONS, USER, FIGURES = ("stations", "user", "figures")

VEHICLES, SIMULATION = ("vehicles", "simulation")

SIMULATED = frozenset({VEHICLES, SIMULATION})
"""Of these there is something only while a simulation runs."""

GONE = "vehicles_gone"
"""What an event calls those of the vehicles that are there no more."""

TOPICS = (STATIONS, USER, FIGURES, VEHICLES, SIMULATION)
"""What can be listened to."""

TCP, WEBSOCKET, SSE = ("tcp", "websocket", "sse")

FORMS = (TCP, WEBSOCKET, SSE)
"""By which ways somebody may listen, as metrics call them."""

Form: TypeAlias = Callable[[Mapping[str, Any]], bytes]
"""Writes the `data` of an event down: once for all who listen by the same form."""


class Simulated(Protocol):
    """A simulation, as handlers know it."""

    def vehicles(self) -> Mapping[str, Mapping[str, Any]]:
        """Where all cars are, by id."""

    def clock(self) -> Mapping[str, Any] | None:
        """What time it is in it; None once it is over."""


class Push(Protocol):
    """The hub, as handlers know it."""

    interval_s: float
    """The least time between two lines to the same listener."""
    points: Sequence[Mapping[str, Any]]
    """The figures of the last hour."""

    @property
    def simulation(self) -> Simulated | None:
        """The one that there is to see."""

    def see(self, stations: Stations) -> None:
        """These are the stations now: tell what is other than when they were last seen."""

    def next_seq(self) -> int:
        """The number of the next line."""

    def subscription(self, wishes: Wishes, journey: Mapping[str, Any] | None = None) -> Any:
        """
        What :class:`evcharge.outcomes.Reply` has for who wishes for something.

        :param journey: what is known of the user's, if that is wished for.
        """


class Listener(Protocol):
    """Whoever is told: a connection, as the hub knows it."""

    @property
    def form_name(self) -> str:
        """One of :data:`FORMS`."""

    @property
    def form(self) -> Form:
        """How events are written for it."""

    @property
    def can_hear(self) -> bool:
        """Whether it takes an event now, without keeping it."""

    def hear(self, event: bytes) -> None:
        """Take an event, written in its form."""


@attrs.frozen
class Area:
    """A part of the world, with its border: degrees, WGS 84. It may cross the 180th meridian."""

    south: float
    west: float
    north: float
    east: float

    def has(self, latitude: float, longitude: float) -> bool:
        """Whether a place is in it."""
        if not self.south <= latitude <= self.north:
            return False
        if self.west <= self.east:
            return self.west <= longitude <= self.east
        return longitude >= self.west or longitude <= self.east


@attrs.frozen
class Wishes:
    """What somebody listens to; those who wish for the same are told by the same line."""

    topics: frozenset[str]
    interval_s: float
    """The least time between two lines."""
    stations: frozenset[str] | None = None
    """The ids of stations; None: any."""
    area: Area | None = None
    """Where the stations are; None: anywhere."""
    user_id: str | None = None
