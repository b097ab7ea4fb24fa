"""Simulated time on a reactor's: so many times as fast, and how late what is due comes by it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from evcharge.simulator.arrivals import Hour, Person, hours, people
from evcharge.simulator.parts import Zone
from evcharge.simulator.scenario import Scenario
from evcharge.simulator.statistics import percentile
from evcharge.utils.time_utils import HOUR_S

TOLD_S = 60.0
"""How often it is told how late things are, real seconds."""

MOST_LATE_S = 30.0
"""How late one of a hundred may be, simulated seconds, at a speed for which a machine will do."""

MOST_MEASURED = 100_000
"""Of how many calls it is kept how late they were: the last ones of a minute."""

MOST_BEHIND_S = 2 * HOUR_S
"""People who were born so long ago, simulated seconds, do not come any more: a machine that slept,
or is too slow, would have all of them come at once."""


@attrs.frozen
class Lateness:
    """How late what was due has been done, simulated seconds."""

    count: int
    median_s: float
    p99_s: float

    @property
    def is_too_much(self) -> bool:
        """Whether the speed is too high for this machine."""
        return self.p99_s > MOST_LATE_S

    @classmethod
    def of(cls, measured: Sequence[float]) -> Lateness:
        """What was measured, in short; of nothing it is 0."""
        if not measured:
            return cls(0, 0.0, 0.0)
        return cls(len(measured), percentile(measured, 0.5), percentile(measured, 0.99))


class Pace:
    """
    Simulated time, from now on.

    :param reactor: whose seconds are real ones, and never set.
    :param begin: what it is now, simulated seconds since the epoch.
    :param speed: how many simulated seconds there are in a real one.
    :param wall: the server's present, seconds since the epoch: see :meth:`to_simulated`.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        begin: float,
        speed: float,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self._reactor = reactor
        self._begin = begin
        self._began = reactor.seconds()
        self._wall = reactor.seconds if wall is None else wall
        self.speed = speed
        self._late: deque[float] = deque(maxlen=MOST_MEASURED)
        self._telling: IDelayedCall | None = None

    def seconds(self) -> float:
        """The simulated present, seconds since the epoch."""
        return self._begin + (self._reactor.seconds() - self._began) * self.speed

    def to_simulated(self, at: float) -> float:
        """An instant by the server's clock, seconds since the epoch, as a simulated one."""
        return self.seconds() + (at - self._wall()) * self.speed

    def to_real(self, at: float) -> float:
        """A simulated instant as one by the server's clock, seconds since the epoch."""
        return self._wall() + (at - self.seconds()) / self.speed

    def call_at(self, at: float, f: Callable[..., object], /, *args: Any) -> IDelayedCall:
        """Have something called at a simulated instant; at once, if that is over."""
        delay_s = max(0.0, at - self.seconds()) / self.speed
        return self._reactor.callLater(delay_s, f, *args)

    def done(self, due: float) -> None:
        """What was due at a simulated instant has been done now."""
        self._late.append(max(0.0, self.seconds() - due))

    def tell(self, told: Callable[[Lateness], object]) -> None:
        """Have `told` called each minute with how late the things of that minute were."""
        self._telling = self._reactor.callLater(TOLD_S, self._tell, told)

    def _tell(self, told: Callable[[Lateness], object]) -> None:
        self.tell(told)
        told(self.lateness())

    def lateness(self) -> Lateness:
        """How late the things were that were done since this was asked last, or told."""
        lateness = Lateness.of(self._late)
        self._late.clear()
        return lateness

    def stop(self) -> None:
        """Tell nothing any more."""
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        self._telling = None


def hours_of(scenario: Scenario, for_ever: bool) -> Iterator[tuple[Scenario, Hour]]:
    """
    The hours of a scenario, each with the scenario by which people come in it.

    :param for_ever: whether they go on, day after day; the demand grows no further then than it
        has by the scenario's end.
    """
    if not for_ever:
        for hour in hours(scenario):
            yield scenario, hour
        return
    # As many days as a calendar has.
    endless = attrs.evolve(scenario, days=(date.max - scenario.start.date()).days - 2)
    demand, end = scenario.demand, scenario.end
    a_day = demand.drivers_per_day * (1 + demand.growth_per_year) ** scenario.years(end)
    grown = attrs.evolve(demand, drivers_per_day=a_day, growth_per_year=0.0)
    as_at_the_end = attrs.evolve(endless, demand=grown)
    for hour in hours(endless):
        yield (endless if hour.begin < end else as_at_the_end), hour


class Arrivals:
    """
    Has people come at their instants; only those of the present hour are in memory.

    :param zones: where they come from.
    :param cars: the keys of the catalogue.
    :param come: called with each.
    :param over: called when nobody comes any more.
    :param missed: called with how many hours were left out, as they are too long ago.
    """

    def __init__(
        self,
        pace: Pace,
        scenario: Scenario,
        zones: Sequence[Zone],
        cars: Sequence[str],
        come: Callable[[Person], object],
        over: Callable[[], object] = lambda: None,
        missed: Callable[[int], object] = lambda hours: None,
        for_ever: bool = False,
    ) -> None:
        self._pace = pace
        self._zones = zones
        self._cars = cars
        self._come = come
        self._over = over
        self._missed = missed
        self._hours = hours_of(scenario, for_ever)
        self._here: deque[Person] = deque()
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Begin."""
        self._next_hour()

    def stop(self) -> None:
        """Have nobody come any more."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None

    def _next_hour(self) -> None:
        missed, latest = 0, self._pace.seconds() - MOST_BEHIND_S
        for scenario, hour in self._hours:
            if hour.begin >= latest:
                self._here.extend(people(scenario, self._zones, hour, 0, self._cars))
                self._wait(hour.begin + HOUR_S)
                break
            missed += 1
        else:
            self._over()
        if missed:
            self._missed(missed)

    def _wait(self, until: float) -> None:
        """Wait for the next one, or for the hour to be over."""
        if self._here:
            self._next = self._pace.call_at(self._here[0].born, self._arrive, until)
        else:
            self._next = self._pace.call_at(until, self._next_hour)

    def _arrive(self, until: float) -> None:
        person = self._here.popleft()
        self._wait(until)
        self._come(person)
