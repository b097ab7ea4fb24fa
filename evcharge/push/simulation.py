"""
The cars of a simulation on their way, and its clock: made up, so that anybody may see them.

Where a car is, is worked out when it is told, in closed form. What is kept is when each was last
told to be elsewhere; so memory goes by how many cars there are at a time, however slow a reader is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from evcharge.push import GONE, SIMULATION, VEHICLES
from evcharge.push.lines import Change
from evcharge.utils.time_utils import iso_utc

Place = tuple[float, float]
"""Latitude and longitude, degrees, WGS 84."""

"""What a car may do."""

MOVE_S = 0.2
"""The least time between two lines that tell of the same car, real seconds."""

TICK_S = 1.0
"""How often it is told what time it is in the simulation, real seconds."""

MOST_VEHICLES = 1000
"""So many cars are shown at a time: all of them may be in one line."""

FREE_S = 61.0
"""How long no other car has the id of one that is gone, real seconds: longer than the longest pause
between two lines to who reads."""

DECIMALS = 6
"""Of a place, degrees: a tenth of a metre."""


@attrs.frozen
class Course:
    """What a car does for some time, of simulated seconds since the epoch."""

    state: str
    """``driving``, ``waiting`` or ``charging``."""
    place: Place
    to_place: Place
    begin: float
    until: float
    """When it is there, and stands."""
    percent: float
    to_percent: float

    def at(self, now: float) -> Mapping[str, Any]:
        """How listeners are told of it."""
        if now >= self.until:
            return _shown(self.to_place, self.to_percent, self.state)
        part = max(0.0, now - self.begin) / (self.until - self.begin)
        percent = self.percent + (self.to_percent - self.percent) * part
        if self.place == self.to_place:
            return _shown(self.place, percent, self.state)
        way = zip(self.place, self.to_place, strict=True)
        latitude, longitude = (round(a + (b - a) * part, DECIMALS) for a, b in way)
        return _shown((latitude, longitude), percent, self.state)


def _shown(place: Place, percent: float, state: str) -> Mapping[str, Any]:
    latitude, longitude = place
    return {
        "latitude": latitude,
        "longitude": longitude,
        "battery_percent": round(percent, 2),
        "state": state,
    }


@attrs.define(eq=False)
class Vehicle:
    """A car, or the id of one that is gone."""

    course: Course | None = None
    """None: it is gone."""
    told: Mapping[str, Any] | None = None
    """How it was when that was last looked at."""
    other_at: float = 0.0
    """When that was last found to be other, seconds of the timers."""


class Simulation:
    """
    What listeners are told of a simulation: :meth:`Hub.simulate` has it told.

    :param clock: the timers.
    :param now: the simulated present, seconds since the epoch.
    :param speed: how many simulated seconds there are in a real one.
    :param seed: of the simulation's luck.
    """

    def __init__(
        self, clock: IReactorTime, now: Callable[[], float], speed: float, seed: int
    ) -> None:
        self._clock = clock
        self._now = now
        self._speed = speed
        self._seed = seed
        self._vehicles: dict[str, Vehicle] = {}
        self._free: deque[tuple[float, str]] = deque()
        """Ids of cars that are gone, with when another one may have them; the soonest first."""
        self._changed: Callable[[Change, float], object] = lambda change, since: None
        self._listened: Callable[[], bool] = lambda: False
        self._next: IDelayedCall | None = None
        self._tick_at = 0.0
        self.is_over = False

    # The cars

    def come(self, course: Course) -> str | None:
        """
        There is one more car.

        :return: its id; None: there are too many to be shown.
        """
        now = self._clock.seconds()
        if self._free and self._free[0][0] <= now:
            key = self._free.popleft()[1]
        elif len(self._vehicles) < MOST_VEHICLES:
            key = f"sim-{len(self._vehicles) + 1}"
            self._vehicles[key] = Vehicle()
        else:
            return None
        self.moved(key, course)
        return key

    def moved(self, key: str, course: Course) -> None:
        """A car does something else from now on."""
        self._vehicles[key].course = course

    def gone(self, key: str) -> None:
        """A car is here no more."""
        self._vehicles[key].course = None
        self._free.append((self._clock.seconds() + FREE_S, key))

    def end(self) -> None:
        """It is over: nobody is told any more, but that."""
        self.is_over = True
        for key, vehicle in self._vehicles.items():
            if vehicle.course is not None:
                self.gone(key)
        self._look()
        self._changed((SIMULATION, ""), self._clock.seconds())
        self.close()

    # What listeners see

    def vehicles(self) -> dict[str, Mapping[str, Any]]:
        """All cars, by id."""
        now = self._now()
        cars = self._vehicles.items()
        return {key: car.course.at(now) for key, car in cars if car.course is not None}

    def clock(self) -> Mapping[str, Any] | None:
        """What time it is in the simulation, and how fast that goes; None once it is over."""
        if self.is_over:
            return None
        return {"timestamp": iso_utc(self._now()), "speed": self._speed, "seed": self._seed}

    def told(self, topic: str, since: float) -> dict[str, Any]:
        """
        What an event has of a topic.

        :param since: of the vehicles it has those that have been elsewhere since then, seconds of
            the timers.
        """
        if topic == SIMULATION:
            return {SIMULATION: self.clock()}
        now = self._now()
        moved, gone = {}, []
        for key, car in self._vehicles.items():
            if car.other_at < since:
                continue
            if car.course is None:
                # Who has left since the last look is told of by the next.
                if car.told is None:
                    gone.append(key)
            else:
                moved[key] = car.course.at(now)
        return {VEHICLES: moved, GONE: gone} if gone else {VEHICLES: moved}

    # When it is told

    def tell(
        self, changed: Callable[[Change, float], object], listened: Callable[[], bool]
    ) -> None:
        """
        Have somebody told.

        :param changed: called with what of :meth:`told` is other, and since when.
        :param listened: whether anybody listens; see :meth:`wake`.
        """
        self._changed, self._listened = changed, listened

    def wake(self) -> None:
        """Somebody listens: look where the cars are, for as long as anybody does."""
        if self._next is None and not self.is_over:
            # Nobody has looked meanwhile, and who listens now has all of it.
            self._mark(self._clock.seconds())
            self._tick_at = self._clock.seconds() + TICK_S
            self._next = self._clock.callLater(MOVE_S, self._go_on)

    def close(self) -> None:
        """Have no timers."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None

    def _go_on(self) -> None:
        self._next = None
        if not self._listened():
            return
        self._next = self._clock.callLater(MOVE_S, self._go_on)
        now = self._clock.seconds()
        if now >= self._tick_at:
            self._tick_at = max(now, self._tick_at + TICK_S)
            self._changed((SIMULATION, ""), now)
        self._look()

    def _look(self) -> None:
        at = self._clock.seconds()
        if self._mark(at):
            self._changed((VEHICLES, ""), at)

    def _mark(self, at: float) -> bool:
        """Note which cars are other than they were, if any are."""
        now, is_other = self._now(), False
        for car in self._vehicles.values():
            told = None if car.course is None else car.course.at(now)
            if told != car.told:
                car.told, car.other_at, is_other = told, at, True
        return is_other
