"""
Whether the line at a station is the queue of the textbook: the project's own operations, by a clock
of their own, against Erlang.

Drivers come by a Poisson process to a station whose EVSEs fit all, reserve or wait in line, begin
to charge as soon as they may, for an exponential time, and leave when it is over. Each deadline is
met at its instant. For each row the table has what the theory says, and the interval in which the
true mean lies with 99 % by what was seen: of batches of every seed, without its first arrivals.

    python benchmarks/queues.py [--seeds 20] [--arrivals 20000]

With far fewer arrivals the batches are too short for the busier rows: a rush is longer than they
are, and the intervals too narrow.

The exit status is 1 where a figure is outside, somebody was overtaken, a wait was another one than
was expected at joining (all do here as they have said), or the cars in line, added up over time,
are not the waits of the drivers, added up: Little's law.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.queueing import ROWS, Queue, batches  # noqa: E402
from evcharge.models.electric_car import CarModel, ElectricCar  # noqa: E402
from evcharge.models.session import OFFERED, ChargingSession  # noqa: E402
from evcharge.models.station import Station  # noqa: E402
from evcharge.models.terms import Terms  # noqa: E402
from evcharge.models.user import User  # noqa: E402
from evcharge.rules.claims import ARRIVE, RESERVE, Claim, Wishes  # noqa: E402
from evcharge.rules.events import Event, SlotTaken  # noqa: E402
from evcharge.rules.journey import AddUser, ListStations  # noqa: E402
from evcharge.rules.operation import Operation  # noqa: E402
from evcharge.rules.sweep import BEGINNINGS, Sweep  # noqa: E402
from evcharge.simulator.statistics import Interval, interval  # noqa: E402
from evcharge.storage.memory import MemoryStorage  # noqa: E402
from evcharge.testing import NOON  # noqa: E402

UNKNOWN_CAR = CarModel("A", "car", 40.0, 0.2, 130.0)
"""Of which nothing is known but its battery: it charges with what the station has, all the time."""

MOST_MEANS = 50.0
"""A battery is so large that a charge may take so many times the mean: no draw is ever cut."""

CONFIDENCE = 0.99

LONG_MIN = 10.0
"""Of waits longer than this the share is compared, too: it tells in which order turns came."""

WARM_UP = 0.1
"""The share of a run's arrivals that is not counted: it begins with nobody there."""

BATCHES = 3
"""Of each run: so long that at the busiest station each is many times what a rush takes to go."""


class VirtualTime:
    """
    A storage in memory whose time passes from one instant to the next at which something happens.

    :param terms: what sessions go by.
    """

    def __init__(self, stations: Sequence[Station], terms: Terms) -> None:
        self.storage = MemoryStorage(stations=stations)
        self.storage.listeners.append(self._hear)
        self.terms = terms
        self.now = NOON
        self.due = math.inf
        """When the next deadline may be."""
        self.offers: deque[ChargingSession] = deque()
        """Offers that were made, and that nobody has taken from here."""

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, BEGINNINGS):
                self.due = min(self.due, event.session.due_timestamp)
            if isinstance(event, SlotTaken) and event.session.state == OFFERED:
                self.offers.append(event.session)

    def length(self, station: str) -> int:
        """How many are in line at a station, as START says it."""
        states = self.storage.recall(ListStations())
        state = None if states is None else states.get(station)
        assert state is not None, station
        return state.queue_length

    def do(self, *operations: Operation[Any]) -> Any:
        """Carry them out in one batch, now; the result of the last one."""
        results = self.storage.execute(operations)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results[-1]

    def pass_until(self, instant: float) -> None:
        """It is `instant` now, seconds since the epoch."""
        self.now = instant

    def sweep(self) -> None:
        """Let time pass until the next deadline, and end what is due."""
        self.pass_until(self.due)
        self.due = math.inf
        swept = self.do(Sweep(self.now, -math.inf, self.terms))
        if swept.next_due is not None:
            self.due = min(self.due, swept.next_due)


@attrs.define
class Run:
    """What was seen of one station."""

    arrivals: list[float] = attrs.field(factory=list)
    """When drivers came, seconds since the epoch."""
    waits: list[float] = attrs.field(factory=list)
    """How long each of them was in line, in the order in which they came, seconds."""
    areas: list[list[float]] = attrs.field(factory=list)
    """Between an arrival and the next one: how many were in line by how long, in seconds."""
    overtaken: int = 0
    """Offers to others than the first in line."""
    most_off: float = 0.0
    """By which share of it a charge took another time than was drawn, at most."""
    most_wrong_s: float = 0.0
    """By how much a wait was another one than was expected at joining, at most, seconds."""

    def adds_up(self) -> bool:
        """Little's law: cars in line over time, and waits over drivers, are one sum, exactly."""
        # Instants of these years have so few digits that their differences are exact, and `fsum`
        # rounds once.
        return math.fsum(part for area in self.areas for part in area) == math.fsum(self.waits)

    def means(self, count: int) -> Mapping[str, Sequence[float]]:
        """Each figure, of so many batches, without the warm-up."""
        first = int(len(self.waits) * WARM_UP)
        size = (len(self.waits) - first - 1) // count
        bounds = [first + size * number for number in range(count + 1)]
        waits = self.waits[first : bounds[-1]]
        return {
            "C": batches([float(wait > 0.0) for wait in waits], count),
            "W": batches([wait / 60.0 for wait in waits], count),
            "L": [
                math.fsum(part for area in self.areas[begin:end] for part in area)
                / (self.arrivals[end] - self.arrivals[begin])
                for begin, end in pairwise(bounds)
            ],
            "long": batches([float(wait > LONG_MIN * 60.0) for wait in waits], count),
        }


class Line(VirtualTime):
    """One station whose EVSEs fit all, and its drivers."""

    def __init__(self, queue: Queue, arrivals: int, seed: int) -> None:
        power_kw = UNKNOWN_CAR.battery_capacity_kwh / (MOST_MEANS * queue.charge_min / 60.0)
        station = Station(1, "Posto", "", 0.0, 0.0, queue.evses, power_kw)
        super().__init__([station], Terms(most_waiting=arrivals))
        self._queue, self._count = queue, arrivals
        self._chance = random.Random(f"{queue} {seed}")
        self._waiting: deque[int] = deque()
        """The numbers of those in line, the first one first."""
        self._minutes: list[float] = []
        """How long each driver charges."""
        self._expected: dict[int, float] = {}
        """When those in line were told that their turn would be."""
        self._in_line = 0
        self.seen = Run()

    def run(self) -> Run:
        """Have all drivers come, and go."""
        instant = self.now
        for _ in range(self._count):
            instant += self._chance.expovariate(self._queue.arrivals_per_h / 3600.0)
            self._meet(instant)
            self.pass_until(instant)
            self._arrive()
        self._meet(math.inf)
        return self.seen

    def pass_until(self, instant: float) -> None:
        if self.seen.areas:
            self.seen.areas[-1].append(self._in_line * (instant - self.now))
        super().pass_until(instant)

    def _meet(self, instant: float) -> None:
        """Meet all deadlines until then; each offer is accepted at once."""
        while self.due <= instant and self.due < math.inf:
            self.sweep()
            while self.offers:
                self._accept(int(self.offers.popleft().user_id))
            self._in_line = self.length("1")

    def _arrive(self) -> None:
        seen, number = self.seen, len(self.seen.arrivals)
        seen.arrivals.append(self.now)
        seen.waits.append(0.0)
        seen.areas.append([])
        minutes = self._chance.expovariate(1.0 / self._queue.charge_min)
        self._minutes.append(minutes)
        percent = 100.0 * minutes / (MOST_MEANS * self._queue.charge_min)
        user = User(str(number), "Ana", ElectricCar(UNKNOWN_CAR, 0.0), self.now)
        wishes = Wishes(arrival_percent=0.0, target_percent=percent)
        reserve = self._claim(number, RESERVE, wishes, wait=True)
        found = self.do(AddUser(user), reserve)
        if isinstance(found, ChargingSession):
            self._charge(number)
        else:
            self._waiting.append(number)
            self._expected[number] = self.now + found.turn.minutes * 60.0
        self._in_line = self.length("1")

    def _claim(self, number: int, intent: str, wishes: Wishes, wait: bool = False) -> Claim:
        user_id, now, terms = str(number), self.now, self.terms
        return Claim(user_id, "1", f"r{number}", now, terms, intent, wait=wait, wishes=wishes)

    def _accept(self, number: int) -> None:
        self.seen.overtaken += number != self._waiting[0]
        self._waiting.remove(number)
        self.seen.waits[number] = self.now - self.seen.arrivals[number]
        wrong_s = abs(self.now - self._expected.pop(number))
        self.seen.most_wrong_s = max(self.seen.most_wrong_s, wrong_s)
        self._charge(number)

    def _charge(self, number: int) -> None:
        session = self.do(self._claim(number, ARRIVE, Wishes(leaves_when_done=True)))
        off = abs(session.charge_minutes / self._minutes[number] - 1.0)
        self.seen.most_off = max(self.seen.most_off, off)


def shown(found: Interval) -> str:
    """A mean, and half of the interval that it lies in."""
    return f"{found.mean:.4f} ± {found.half_width or 0.0:.4f}"


@attrs.define
class Held:
    """A row of the table: what theory says, and what was seen."""

    queue: Queue
    seen: Mapping[str, Interval]
    problems: list[str]

    @classmethod
    def of(cls, queue: Queue, runs: Sequence[Run], count: int) -> Held:
        """
        Hold runs of a station against the theory.

        :param count: batches of each run.
        """
        means = [run.means(count) for run in runs]
        seen = {
            name: interval([x for each in means for x in each[name]], CONFIDENCE)
            for name in means[0]
        }
        right = cls.theory(queue)
        problems = [
            f"{name} should be {right[name]:.4f}, and is {shown(seen[name])}"
            for name in seen
            if not seen[name].low <= right[name] <= seen[name].high
        ]
        for run in runs:
            if run.overtaken:
                problems.append(f"{run.overtaken} were offered an EVSE before their turn")
            if not run.adds_up():
                problems.append("Little's law does not hold")
            if run.most_off > 1e-9:
                problems.append(f"a charge was off by {run.most_off:g}")
            if run.most_wrong_s > 1e-3:
                problems.append(f"a turn was expected {run.most_wrong_s:g} s off")
        return cls(queue, seen, problems)

    @staticmethod
    def theory(queue: Queue) -> Mapping[str, float]:
        """What should be seen."""
        return {
            "C": queue.share_waiting,
            "W": queue.wait_min,
            "L": queue.length,
            "long": queue.share_over(LONG_MIN),
        }

    def __str__(self) -> str:
        right = self.theory(self.queue)
        cells = [f"{self.queue.evses}", f"{self.queue.load:g}"]
        cells += [f"{right[name]:.4f} | {shown(self.seen[name])}" for name in self.seen]
        return f"| {' | '.join(cells)} |"


def one(queue: Queue, arrivals: int, seed: int) -> Run:
    """One run, in a process of its own."""
    return Line(queue, arrivals, seed).run()


def main() -> int:
    """Hold all rows against the theory, and print them; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0].strip())
    add = parser.add_argument
    add("--seeds", type=int, default=20, help="runs of each row; default %(default)s")
    add("--arrivals", type=int, default=20_000, help="drivers in each; default %(default)s")
    add("--rows", type=int, nargs="*", default=[], help="some of them, from 1 on; default: all")
    add("--jobs", type=int, help="processes; default: one a core")
    options = parser.parse_args()
    rows = [ROWS[number - 1] for number in options.rows] or ROWS
    began, problems = time.monotonic(), []
    names = ("C", "W, min", "L", f"P(W > {LONG_MIN:g} min)")
    print("| c | a | " + " | ".join(f"{name} | seen" for name in names) + " |")
    print("|---:|---:|" + "---:|---:|" * len(names))
    with ProcessPoolExecutor(options.jobs) as pool:
        for queue in rows:
            seeds = range(1, options.seeds + 1)
            runs = list(pool.map(partial(one, queue, options.arrivals), seeds))
            held = Held.of(queue, runs, BATCHES)
            problems += [f"c {queue.evses}, a {queue.load:g}: {told}" for told in held.problems]
            print(held, flush=True)
    count = options.seeds * options.arrivals * len(rows)
    print(f"\n{count:,} drivers in {time.monotonic() - began:.0f} s")
    print(
        *(
            problems
            or ["all within 99 %, nobody overtaken, each wait as expected, Little's law exact"]
        ),
        sep="\n",
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
