"""
Whether turns in line come when it was said: a network of the project's own, by a clock of its own.

Drivers come to stations at random, reserve or wait in line, ask now and then when their turn is
expected, and give up waiting, decline, say nothing, are late, never come, leave their cars there,
or go as soon as they are charged. Each offer has to come within every interval that was told of it,
from joining on, and to nobody while somebody who fits the EVSE was there before.

    python benchmarks/offers.py [--offers 100000]

Four kinds of network are driven:

- alike: at a station the EVSEs that a car fits are alike, and nobody stops before the target. No
  offer may be outside of what was told.
- stopping: the same, but some drivers stop early, of which nobody can know. None may be late.
- powers: all cars fit all EVSEs, which have powers of many kinds, and
- mixed: cars fit EVSEs of several kinds. Who gives up then also decides who is given which EVSE, so
  that one who charges slowly may be where that was not planned, and an offer be late, which is
  counted; none may be early.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.queues import VirtualTime  # noqa: E402
from evcharge.models.electric_car import CarModel, ElectricCar  # noqa: E402
from evcharge.models.evse import Connector, Evse, kind_of, plugs_of  # noqa: E402
from evcharge.models.session import ChargingSession  # noqa: E402
from evcharge.models.station import Station  # noqa: E402
from evcharge.models.terms import Terms  # noqa: E402
from evcharge.models.user import User  # noqa: E402
from evcharge.rules.claims import ARRIVE, PAY, RESERVE, Claim, Wishes  # noqa: E402
from evcharge.rules.journey import AddUser, FindStanding  # noqa: E402
from evcharge.rules.leaving import (  # noqa: E402
    CANCEL_IT,
    END_JOURNEY,
    STOP_AND_LEAVE,
    STOP_IT,
    Leave,
)
from evcharge.rules.waiting import InLine  # noqa: E402

ALIKE, STOPPING, POWERS, MIXED = NETWORKS = ("alike", "stopping", "powers", "mixed")
"""The four kinds."""

CCS2, CHADEMO, TYPE_2 = (
    Connector("1", "CCS2", "IEC_62196_T2_COMBO", "CABLE", "DC"),
    Connector("1", "CHAdeMO", "CHADEMO", "CABLE", "DC"),
    Connector("1", "Type 2", "IEC_62196_T2", "SOCKET", "AC_3_PHASE"),
)
POWERS_KW = {CCS2: (60.0, 120.0, 180.0), CHADEMO: (50.0, 60.0), TYPE_2: (7.4, 11.0, 22.0)}

ONE_WAY = (
    CarModel("A", "CCS2", 60.0, 0.17, 170.0, None, 130.0, None, (), ("CCS2",)),
    CarModel("A", "CHAdeMO", 40.0, 0.17, 150.0, None, 50.0, None, (), ("CHAdeMO",)),
    CarModel("A", "hybrid", 10.0, 0.19, 180.0, 6.6, None, 1, ("Type 2",), ()),
)
ALL_CCS2 = (
    CarModel("C", "small", 40.0, 0.16, 150.0, None, 50.0, None, (), ("CCS2",)),
    CarModel("C", "usual", 60.0, 0.17, 170.0, None, 130.0, None, (), ("CCS2",)),
    CarModel("C", "large", 90.0, 0.2, 180.0, None, 250.0, None, (), ("CCS2",)),
)
CCS2_KW = (22.0, 50.0, 60.0, 120.0, 180.0)

SEVERAL_WAYS = (
    *ONE_WAY,
    CarModel("B", "CCS2 and AC", 77.0, 0.17, 180.0, 11.0, 175.0, 3, ("Type 2",), ("CCS2",)),
    CarModel("B", "all", 52.0, 0.16, 140.0, 22.0, 50.0, 3, ("Type 2",), ("CCS2", "CHAdeMO")),
)

STATIONS = 10
"""Of one town."""

BETWEEN_MIN = 60.0
"""Between two drivers who come to one EVSE, simulated minutes: it is busy nearly all the time."""

ROUNDING_S = 1e-3
"""How far an instant may be off by being said in minutes, seconds."""

TIME_SCALE = 4.0
"""Charging goes so many times faster than the clock: minutes are not to be taken for real ones."""


@attrs.define(eq=False)
class Driver:
    """One driver, and what was told."""

    user_id: str
    station: Station
    model: CarModel
    arrival_min: float
    lost: bool = False
    """Whether this one never arrives."""
    joined: float = math.nan
    """When this one came into line, seconds since the epoch."""
    expected: float = math.nan
    """When an offer was expected then, likewise, as the rest."""
    earliest: float = -math.inf
    """The latest `earliest` of all that were told, and"""
    latest: float = math.inf
    """the earliest `latest`: within all of them is within these."""
    width: float = math.nan
    """How long the interval was, that was told at joining."""
    stage: int = 0
    """What was planned for an earlier one is off."""


@attrs.define
class Told:
    """What was seen of the offers of one network."""

    offers: int = 0
    asked: int = 0
    early: int = 0
    late: int = 0
    overtaken: int = 0
    widths: list[float] = attrs.field(factory=list)
    """Of the intervals told at joining, simulated minutes, of each offer."""
    errors: list[float] = attrs.field(factory=list)
    """By how much the offer came after what was expected at joining, simulated minutes."""
    waits: list[float] = attrs.field(factory=list)
    """From joining to the offer, simulated minutes."""
    ways: Counter[str] = attrs.field(factory=Counter)
    """What drivers did, and how often."""

    def add(self, other: Told) -> None:
        for name in ("offers", "asked", "early", "late", "overtaken", "widths", "errors", "waits"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.ways.update(other.ways)

    def problems(self, network: str) -> list[str]:
        """What may not be."""
        found = [f"{self.overtaken} were offered an EVSE before others who fit"]
        found += [f"{self.early} came before the earliest that was told"] * (network != STOPPING)
        is_sure = network in (ALIKE, STOPPING)
        found += [f"{self.late} came after the latest that was told"] * is_sure
        return [f"{network}: {told}" for told in found if not told.startswith("0 ")]


class Town(VirtualTime):
    """Stations of one network, and their drivers."""

    def __init__(self, network: str, seed: int) -> None:
        self.chance = random.Random(f"{network} {seed}")
        self.network = network
        self.told = Told()
        stations = [self._station(number) for number in range(1, STATIONS + 1)]
        super().__init__(stations, Terms(TIME_SCALE))
        self._agenda: list[tuple[float, int, Driver, int, Callable[[Driver], None]]] = []
        self._numbers = itertools.count()
        self._drivers: dict[str, Driver] = {}
        self._lines: dict[int, list[Driver]] = {station.station_id: [] for station in stations}
        self._models = {MIXED: SEVERAL_WAYS, POWERS: ALL_CCS2}.get(network, ONE_WAY)
        self._evses = {evse.uid: evse for station in stations for evse in station.evses}
        self._arrivals = [(self.now, number, station) for number, station in enumerate(stations)]

    def _station(self, number: int) -> Station:
        chance, evses = self.chance, []
        possible = {CCS2: CCS2_KW} if self.network == POWERS else POWERS_KW
        powers = {one: chance.choice(kws) for one, kws in possible.items()}
        for count in range(1, chance.randint(1, 6) + 1):
            connector = chance.choice(list(powers))
            if self.network in (POWERS, MIXED):
                powers[connector] = chance.choice(possible[connector])
            power = powers[connector]
            kind = kind_of((attrs.evolve(connector, max_power_kw=power),), power)
            evses.append(Evse(f"{number}-{count}", kind))
        return Station(number, "Posto", "", 0.0, 0.0, len(evses), own_evses=tuple(evses))

    def run(self, offers: int) -> Told:
        """Let time pass until so many offers were made."""
        heapq.heapify(self._arrivals)
        while self.told.offers < offers:
            planned = self._agenda[0][0] if self._agenda else math.inf
            instant = min(self._arrivals[0][0], planned)
            if self.due <= instant:
                self.sweep()
            elif planned == instant:
                self.pass_until(instant)
                _, _, driver, stage, act = heapq.heappop(self._agenda)
                if stage == driver.stage:
                    act(driver)
            else:
                self._arrive()
            while self.offers:
                self._offered(self.offers.popleft())
        return self.told

    def _plan(self, driver: Driver, minutes: float, act: Callable[[Driver], None]) -> None:
        """Have a driver do something in so many simulated minutes, if nothing comes before it."""
        instant = self.now + self.terms.real_s(minutes * 60.0)
        heapq.heappush(self._agenda, (instant, next(self._numbers), driver, driver.stage, act))

    # What drivers do

    def _arrive(self) -> None:
        instant, number, station = heapq.heappop(self._arrivals)
        self.pass_until(instant)
        chance = self.chance
        gap_s = self.terms.real_s(chance.expovariate(len(station.evses) / (BETWEEN_MIN * 60.0)))
        heapq.heappush(self._arrivals, (instant + gap_s, number, station))
        arrival_min = chance.choice((0.0, 0.0, chance.uniform(0.0, 40.0)))
        user_id = str(next(self._numbers))
        # Nearly all come to where their cars fit.
        kind = chance.choice(station.evses).kind
        fitting = [model for model in self._models if plugs_of(model, kind)]
        model = chance.choice(self._models if chance.random() < 0.05 else fitting)
        driver = Driver(user_id, station, model, arrival_min)
        driver.lost = chance.random() < 0.1
        start, target = chance.uniform(5.0, 60.0), chance.choice((80.0, 80.0, 100.0))
        user = User(user_id, "Ana", ElectricCar(driver.model, start), self.now)
        wishes = Wishes(arrival_min, start, target)
        if not arrival_min and chance.random() < 0.5:
            self.told.ways["walked in"] += 1
            if isinstance(self.do(AddUser(user), self._claim(driver, ARRIVE)), ChargingSession):
                self._charges(driver)
                return
        found = self.do(AddUser(user), self._claim(driver, RESERVE, wishes, wait=True))
        if isinstance(found, ChargingSession):
            self._on_the_way(driver)
        elif isinstance(found, InLine):
            self._drivers[user_id] = driver
            self._lines[station.station_id].append(driver)
            driver.joined = self.now
            self._note(driver, found)
            self._plan(driver, chance.expovariate(1 / 30.0), self._ask)
            if chance.random() < 0.15:
                self._plan(driver, chance.uniform(0.0, 90.0), self._give_up)
        else:
            self.told.ways["nothing fits, or the line is full"] += 1
            self.do(Leave(user_id, END_JOURNEY, self.now, self.terms))

    def _claim(
        self, driver: Driver, intent: str, wishes: Wishes | None = None, wait: bool = False
    ) -> Claim:
        wishes = Wishes(driver.arrival_min) if wishes is None else wishes
        station, receipt = driver.station.key, f"r{next(self._numbers)}"
        return Claim(driver.user_id, station, receipt, self.now, self.terms, intent, wait, wishes)

    def _leave(self, driver: Driver, how: str) -> Any:
        driver.stage += 1
        return self.do(Leave(driver.user_id, how, self.now, self.terms))

    def _note(self, driver: Driver, line: InLine) -> None:
        """What a driver in line is told of its turn."""
        turn = line.turn
        assert turn is not None
        self.told.asked += 1

        def instant(minutes: float) -> float:
            return self.now + self.terms.real_s(minutes * 60.0)

        driver.earliest = max(driver.earliest, instant(turn.earliest))
        driver.latest = min(driver.latest, instant(turn.latest))
        if math.isnan(driver.expected):
            driver.expected = instant(turn.minutes)
            driver.width = turn.latest - turn.earliest

    def _ask(self, driver: Driver) -> None:
        standing = self.storage.recall(FindStanding(driver.user_id))
        assert standing is not None and standing.place is not None, standing
        slots = standing.book.slots
        self._note(driver, InLine.of(standing.place, driver.station, slots, self.now, self.terms))
        self._plan(driver, self.chance.expovariate(1 / 30.0), self._ask)

    def _give_up(self, driver: Driver) -> None:
        self.told.ways["gave up waiting"] += 1
        self._lines[driver.station.station_id].remove(driver)
        self._leave(driver, CANCEL_IT)

    def _offered(self, session: ChargingSession) -> None:
        driver, told = self._drivers.pop(session.user_id), self.told
        driver.stage += 1
        line = self._lines[session.station_id]
        kind = self._evses[session.evse_uid].kind
        before = line[: line.index(driver)]
        told.overtaken += any(plugs_of(other.model, kind) for other in before)
        line.remove(driver)
        told.offers += 1
        told.early += self.now < driver.earliest - ROUNDING_S
        told.late += self.now > driver.latest + ROUNDING_S
        told.widths.append(driver.width)
        simulated = self.terms.time_scale / 60.0
        told.errors.append((self.now - driver.expected) * simulated)
        told.waits.append((self.now - driver.joined) * simulated)
        # Within the window, or not at all.
        chance = self.chance
        offer_min = self.terms.offer_s / 60.0
        delay = chance.choice((0.0, chance.uniform(0.0, offer_min * 0.999)))
        way = chance.random()
        if way < 0.1:
            told.ways["let an offer run out"] += 1
            driver.stage += 1
        elif way < 0.2:
            self._plan(driver, delay, self._decline)
        else:
            self._plan(driver, delay, self._accept if way < 0.8 else self._charge)

    def _decline(self, driver: Driver) -> None:
        self.told.ways["declined"] += 1
        self._leave(driver, CANCEL_IT)

    def _accept(self, driver: Driver) -> None:
        self.do(self._claim(driver, RESERVE))
        self._on_the_way(driver)

    def _on_the_way(self, driver: Driver) -> None:
        chance, hold_min = self.chance, self.terms.hold_s / 60.0
        driver.stage += 1
        way = chance.random()
        if driver.lost:
            self.told.ways["never came"] += 1
        elif way < 0.1:
            self._plan(driver, chance.uniform(0.0, driver.arrival_min), self._decline)
        else:
            late = way < 0.4
            self.told.ways["came late"] += late
            begin, end = (1.0, hold_min * 0.999) if late else (0.0, 0.0)
            share = 1.0 if late else chance.uniform(0.3, 1.0)
            minutes = driver.arrival_min * share + chance.uniform(begin, end)
            self._plan(driver, minutes, self._charge)

    def _charge(self, driver: Driver) -> None:
        intent = PAY if self.chance.random() < 0.2 else ARRIVE
        leaves = self.chance.random() < 0.3
        self.do(self._claim(driver, intent, Wishes(leaves_when_done=leaves)))
        self._charges(driver)

    def _charges(self, driver: Driver) -> None:
        """What is planned for one whose car charges."""
        driver.stage += 1
        standing = self.storage.recall(FindStanding(driver.user_id))
        assert standing is not None and standing.session is not None, standing
        session, chance = standing.session, self.chance
        if self.network == STOPPING and chance.random() < 0.3:
            self._plan(driver, session.charge_minutes * chance.random(), self._stop)
        elif not session.leaves_when_done and chance.random() < 0.7:
            idle_min = self.terms.idle_s / 60.0
            minutes = session.charge_minutes + chance.uniform(0.01, idle_min * 0.999)
            self._plan(driver, minutes, self._go)

    def _stop(self, driver: Driver) -> None:
        self.told.ways["stopped early"] += 1
        standing = self.storage.recall(FindStanding(driver.user_id))
        # Who said to leave when it is charged, does so when it is not.
        stays = self.chance.random() < 0.3 and not standing.session.leaves_when_done
        self._leave(driver, STOP_IT if stays else STOP_AND_LEAVE)

    def _go(self, driver: Driver) -> None:
        self.told.ways["left the car there for a while"] += 1
        self._leave(driver, STOP_AND_LEAVE)


def one(network: str, offers: int, seed: int) -> Told:
    """One town, in a process of its own."""
    return Town(network, seed).run(offers)


def row(network: str, told: Told) -> str:
    """A row of the table."""
    deciles = statistics.quantiles([abs(error) for error in told.errors], n=10)
    cells = (
        network,
        f"{told.offers:,}",
        f"{told.asked:,}",
        f"{told.early:,}",
        f"{told.late:,}",
        f"{statistics.median(told.waits):.0f}",
        f"{statistics.fmean(told.errors):+.1f}",
        f"{deciles[4]:.1f}",
        f"{deciles[8]:.0f}",
        f"{statistics.median(told.widths):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Drive the networks, and print what came of it; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0].strip())
    add = parser.add_argument
    add("--offers", type=int, default=100_000, help="of each network; default %(default)s")
    add("--towns", type=int, default=40, help="among which they are shared; default %(default)s")
    add("--network", choices=NETWORKS, nargs="*", default=NETWORKS, help="default: all")
    add("--jobs", type=int, help="processes; default: one a core")
    options = parser.parse_args(arguments)
    began, problems = time.monotonic(), []
    print(
        "| network | offers | told | early | late | median wait, min | mean error, min "
        "| median of its size | 90 % within | median width |\n|---|" + "---:|" * 9
    )
    with ProcessPoolExecutor(options.jobs) as pool:
        for network in options.network:
            each = math.ceil(options.offers / options.towns)
            seeds = range(1, options.towns + 1)
            told = Told()
            for part in pool.map(partial(one, network, each), seeds):
                told.add(part)
            problems += told.problems(network)
            print(row(network, told), flush=True)
            ways = "; ".join(f"{count:,} {way}" for way, count in sorted(told.ways.items()))
            print(f"  {network}: {ways}", file=sys.stderr)
    print(f"\nin {time.monotonic() - began:.0f} s")
    print(*(problems or ["no offer was where it may not be"]), sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
