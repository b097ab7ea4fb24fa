"""Simulated users: makes those that are missing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from evcharge.models.electric_car import TARGET_PERCENT, CarModel, ElectricCar
from evcharge.models.estimates import choose_evse, plan_charge
from evcharge.models.evse import Evse, plugs_of
from evcharge.models.session import CHARGING, FINISHED, FREE, RESERVED, WAITING, ChargingSession
from evcharge.models.slots import StationState
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.user import User
from evcharge.rules.claims import ARRIVE, PAY, RESERVE, Claim, Wishes
from evcharge.rules.journey import AddUser, ListStations
from evcharge.rules.leaving import STOP_IT, Leave
from evcharge.rules.operation import Operation
from evcharge.rules.waiting import InLine
from evcharge.storage import Storage, StorageError, carry_out
from evcharge.utils.ids import uuid7

Progress = Callable[[Iterable[int]], Iterable[int]]

BATCH = 500
"""Users that are made at once."""

TO_THE_LINE = 5
"""Of so many users one goes to the station where there is a line."""

IN_LINE = 5
"""How many wait there."""

SHORT_S = 600.0
"""A charge that takes less is none for which others would have to wait, seconds."""

WHAT_THEY_DO = {PAY: 0.55, ARRIVE: 0.2, FINISHED: 0.1, RESERVED: 0.15}
"""What those do who are put elsewhere, and which share of them: charge, and go, or stay, once that
is done; stand there charged; are on the way."""


@attrs.frozen
class Made:
    """What :func:`make_users` made."""

    users: int
    states: Mapping[str, int]
    """How many of them are in each state, where some are."""
    line_at: Station | None
    """Where those wait who do."""


def make_users(
    storage: Storage,
    count: int,
    seed: int | None,
    now: float,
    progress: Progress = lambda numbers: numbers,
) -> Made:
    """
    Make the simulated users `Cliente_1` to `Cliente_<count>` that are not there.

    Each has a random car at 10 to 100 % of its battery. One under 80 % is put at a random station
    with a free slot, while there is one, where it charges to 80 %, has done so, or is expected.
    One in five goes to a certain station, where some wait once it is full. All of that began
    before `now`, by the operations of any other driver, and goes on.

    :param seed: the same seed gives each name the same car and battery, and, on an equal network,
        the same station and state, for as long.
    :param now: seconds since the epoch.
    :param progress: is given the numbers of the users to make, and gives them on.
    :raise StorageError: there is no car for them.
    """
    there = {user.user_name for user in storage.users()}
    missing = [number for number in range(1, count + 1) if f"Cliente_{number}" not in there]
    catalogue = storage.catalogue()
    models = sorted(catalogue.models.items())
    if missing and not models:
        raise StorageError("no users can be made: the catalogue has no car model that can be used")
    base = random.SystemRandom().getrandbits(64) if seed is None else seed
    states: Stations = carry_out(storage, ListStations())
    stations = _Stations.of(states, random.Random(f"{base}/line"), now)
    numbers = iter(progress(missing))
    found: Counter[str] = Counter()
    while batch := list(islice(numbers, BATCH)):
        logins: list[Operation[Any]] = []
        claims: list[Claim] = []
        ends: list[Operation[Any]] = []
        for number in batch:
            chance = random.Random(f"{base}/{number}")
            name, model = chance.choice(models)
            percent = chance.uniform(10, 100)
            visit = None
            if percent < TARGET_PERCENT:
                visit = stations.visit(chance, model, percent, number % TO_THE_LINE == 0)
            began = now if visit is None else visit.began
            login = began - chance.uniform(60, 600)
            car = ElectricCar.charged_to(model, percent)
            user = User(uuid7(login), f"Cliente_{number}", car, login, car_key=name)
            logins.append(AddUser(user))
            if visit is not None:
                claims.append(visit.claim(user.user_id))
            if visit is not None and visit.ended is not None:
                ends.append(Leave(user.user_id, STOP_IT, visit.ended))
        _all(storage, logins)
        took = [*_all(storage, claims)]
        found[FINISHED] += sum(isinstance(each, ChargingSession) for each in _all(storage, ends))
        found[WAITING] += sum(isinstance(each, InLine) for each in took)
        for each in took:
            if isinstance(each, ChargingSession):
                found[each.state] += 1
    found[CHARGING] -= found[FINISHED]
    found[FREE] = len(missing) - found.total()
    return Made(len(missing), +found, stations.line_at if found[WAITING] else None)


@attrs.frozen
class _Visit:
    """What a user does at a station."""

    station_id: int
    intent: str
    """As of a :class:`Claim`."""
    began: float
    """Seconds since the epoch."""
    ended: float | None = None
    """When charging ended of a car that still stands there."""
    arrival_minutes: int = 0
    waits: bool = False

    def claim(self, user_id: str) -> Claim:
        """What the user did."""
        return Claim(
            user_id,
            str(self.station_id),
            uuid7(self.began),
            self.began,
            intent=self.intent,
            wait=self.waits,
            wishes=Wishes(arrival_minutes=self.arrival_minutes),
        )


@attrs.define
class _Stations:
    """The stations, as users are put there one after another."""

    now: float
    line_at: Station | None
    """Where there is a line, or is to be one; None where there is no station."""
    free_in_line: list[Evse]
    """The EVSEs there that anybody may take; none where others waited before."""
    waiting: int
    """How many wait there."""
    latest: float
    """The last that happened there, seconds since the epoch."""
    free: dict[int, list[Evse]]
    """Those of every other station, by its id."""

    @classmethod
    def of(cls, states: Iterable[StationState], chance: random.Random, now: float) -> _Stations:
        """
        The stations as they are.

        :param chance: by which the station is chosen where there is to be a line, if there is none.
        """
        states = list(states)
        free = {
            state.station.station_id: [] if state.queue_length else state.station.free(state.held)
            for state in states
        }
        line = next((state for state in states if state.queue_length), None)
        if line is None and states:
            # Few fill it, and it is not long until one of them leaves.
            few = [state for state in states if 2 <= state.max_slots <= 4] or states
            most_kw = max(state.station.power_kw or 0.0 for state in few)
            line = chance.choice([s for s in few if (s.station.power_kw or 0.0) >= most_kw / 2])
        if line is None:
            return cls(now, None, [], 0, 0.0, free)
        # Since when others have been there is not known.
        latest = now if line.is_occupied else 0.0
        free_in_line = free.pop(line.station.station_id)
        return cls(now, line.station, free_in_line, line.queue_length, latest, free)

    def visit(
        self, chance: random.Random, model: CarModel, percent: float, to_the_line: bool
    ) -> _Visit | None:
        """What a user does whose car is to be charged; None: nothing, as there is no room."""
        elsewhere = [
            station_id
            for station_id, evses in self.free.items()
            if any(plugs_of(model, kind) for kind in {evse.kind for evse in evses})
        ]
        if self.line_at is not None and (to_the_line or not elsewhere):
            visit = self._to_the_line(chance, self.line_at, model, percent)
            if visit is not None:
                return visit
        if not elsewhere:
            return None
        station_id = chance.choice(elsewhere)
        seconds = _take(self.free[station_id], model, percent)
        (does,) = chance.choices([*WHAT_THEY_DO], [*WHAT_THEY_DO.values()])
        if does == RESERVED:
            began = self.now - chance.uniform(1, 9) * 60
            return _Visit(station_id, RESERVE, began, arrival_minutes=chance.randint(10, 40))
        if does == FINISHED:
            ended = self.now - chance.uniform(1, 20) * 60
            return _Visit(station_id, ARRIVE, ended - seconds, ended)
        return _Visit(station_id, does, self.now - chance.uniform(0.05, 0.95) * seconds)

    def _to_the_line(
        self, chance: random.Random, station: Station, model: CarModel, percent: float
    ) -> _Visit | None:
        """What one does who goes where there is a line; None: goes elsewhere."""
        station_id = station.station_id
        plan = plan_charge(model, station.kinds, percent, TARGET_PERCENT)
        if plan is None or plan[1].seconds < SHORT_S:
            # The slots are to be taken for long enough that others can have come since.
            return None
        if choose_evse(model, self.free_in_line, percent, TARGET_PERCENT) is not None:
            seconds = _take(self.free_in_line, model, percent)
            began = self.now - chance.uniform(0.3, 0.9) * seconds
            self.latest = max(self.latest, began)
            return _Visit(station_id, PAY, began)
        if self.waiting >= IN_LINE:
            return None
        self.waiting += 1
        self.latest += chance.uniform(0.1, 0.4) * (self.now - self.latest)
        minutes = chance.randint(1, 15)
        return _Visit(station_id, RESERVE, self.latest, arrival_minutes=minutes, waits=True)


def _take(free: list[Evse], model: CarModel, percent: float) -> float:
    """Take the EVSE that a car is given; how long it charges there, seconds."""
    chosen = choose_evse(model, free, percent, TARGET_PERCENT)
    assert chosen is not None
    free.remove(chosen[0])
    return chosen[1].seconds


def _all(storage: Storage, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
    """Carry out operations; raises how one broke. Where the network changed, some are refused."""
    results = storage.execute(operations)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results
