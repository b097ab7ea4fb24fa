"""
One run of a scenario: the engine, a clock that goes from event to event, and the drivers.

At a server that runs it is :mod:`evcharge.simulator.crowd` that has them go on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from evcharge.handlers.session import Status
from evcharge.handlers.subscribe import find_journey
from evcharge.models.network import Network, StationRecord
from evcharge.outcomes import INTERNAL, Reply
from evcharge.process.clock import SteadyClock
from evcharge.process.engine import Alone, Engine
from evcharge.process.options import Options
from evcharge.process.virtual_clock import VirtualCall, VirtualClock
from evcharge.rules.events import Event, user_of
from evcharge.rules.journey import ListSessions, ListStations
from evcharge.simulator import networks
from evcharge.simulator.acts import Operators, begin_with
from evcharge.simulator.areas import Broken, Window
from evcharge.simulator.arrivals import COOL_DOWN_S, Person, hours, people
from evcharge.simulator.drivers import Ask, Diary, DriverScript, Journey, Said
from evcharge.simulator.known import Known
from evcharge.simulator.networks import LoadedNetwork
from evcharge.simulator.observe import Observer
from evcharge.simulator.records import Records
from evcharge.simulator.replication import Replication
from evcharge.simulator.scenario import Scenario
from evcharge.simulator.streams import new_id
from evcharge.simulator.texts import called
from evcharge.storage import Storage
from evcharge.storage.contents import Contents
from evcharge.storage.location import CopyableStorage, Location
from evcharge.storage.memory import MemoryStorage
from evcharge.utils.time_utils import HOUR_S, iso_utc
from evcharge.watch.metrics import Metrics
from evcharge.wire.envelope import Request, decode, encode

SWEEP_S = HOUR_S
"""Between two sweeps at the most: what is due is known, and has one of its own."""

FORGET_S = 48 * HOUR_S
"""For how long a receipt is kept: longer than any journey."""

STILL_THERE = "still_there"

_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


class RunError(Exception):
    """An invariant broke: says in which run, and when."""


@attrs.define(eq=False)
class Actor:
    """A driver on the clock."""

    diary: Diary
    journey: Journey
    timer: VirtualCall | None = None
    """When it goes on by itself."""
    told: VirtualCall | None = None
    """When it is told of its journey; only one who listens is."""


class World:
    """
    A scenario as it goes once.

    :param by_bytes: whether requests and replies are written as lines, and read: the digest is of
        those then, else of what became of the drivers.
    :param kept: a storage for it, not open, which must be empty: it is opened, and has the
        scenario's network; None: it is in memory alone.
    :raise StorageError: that storage has data, or cannot be opened.
    """

    def __init__(
        self,
        scenario: Scenario,
        replication: int,
        by_bytes: bool = False,
        kept: CopyableStorage | None = None,
    ) -> None:
        self.scenario = scenario
        self.replication = replication
        self.terms = terms = scenario.terms
        self.clock = clock = VirtualClock(scenario.begin)
        self.network = begin_with(scenario, networks.load(scenario.sources))
        stations = [*self.network.stations.values()]
        network = self.network.car_models, stations, self.network.tariffs
        self.storage: Storage = MemoryStorage(*network) if kept is None else kept
        if kept is not None:
            kept.write_contents(_contents(self.network))
            kept.open(scenario.begin)
        begin = scenario.begin + scenario.study.warm_up_hours * HOUR_S
        self.window = Window(begin, scenario.end)
        self.observer = Observer(self.window, terms, clock.seconds)
        parsed = Options()
        parsed.parseOptions([f"--sweep-interval={SWEEP_S}"])
        self.engine = Engine(
            attrs.evolve(parsed.settings, terms=terms),
            self.storage,
            clock,
            SteadyClock(clock.seconds, lead_s=0.0),
            Alone(),
            Metrics(terms=terms),
            keeps_time=False,
            new_id=self._new_id,
        )
        self.storage.listeners.append(self._heard)
        self._answer = self.engine.controller.answer
        self._status = Status(self.engine.context)
        self._by_bytes = by_bytes
        self._lines = hashlib.sha256()
        self._broken: Broken | None = None
        self._ids = 0
        self._hours = hours(scenario)
        self._is_over = False
        """Whether nobody comes any more."""
        self._actors: dict[Actor, None] = {}
        """Those who are there, in the order in which they came."""
        self._listening: dict[str, Actor] = {}
        """Those who are to be told, by user id."""
        self.records = Records(self.window, scenario.begin)
        self.operators = Operators(
            scenario,
            replication,
            clock,
            self.engine.perform,
            self._stations,
            clock.seconds,
            terms,
            scenario.network.changes,
        )

    def _new_id(self) -> str:
        self._ids += 1
        seed = self.scenario.study.seed
        return new_id(seed, self.replication, self._ids, self.clock.seconds())

    def _stations(self) -> Sequence[Any]:
        states: Any = self.engine.perform(ListStations())
        return [state.station for state in states]

    # The run

    def run(self) -> Replication:
        """
        Let it all happen.

        :raise RunError: an invariant does not hold.
        """
        try:
            return self._run()
        except Broken as error:
            at = iso_utc(self.clock.seconds())
            seed = f"seed {self.scenario.study.seed}, replication {self.replication}"
            raise RunError(f"{seed}, at {at}: {error}") from error

    def _run(self) -> Replication:
        clock, begin = self.clock, self.scenario.begin
        records = {i: StationRecord(s, True, {}) for i, s in self.network.stations.items()}
        self.observer.begin(Network({}, records), begin)
        self.engine.monitor.startService()
        self.operators.begin()
        # Of other replies the data is at hand; parts of this one are written already.
        self.known = Known.of(self._by_lines("START", {})[1])
        self._next_hour()
        limit = self.scenario.end + COOL_DOWN_S
        while (next_at := clock.next_at) <= limit and not (
            self._is_over and not self._actors and self.observer.is_empty
        ):
            if next_at < clock.seconds():
                raise Broken("an event was left before the present")
            clock.step()
            if self._broken is not None:
                raise self._broken
        clock.advance_to(max(clock.seconds(), self.scenario.end))
        for actor in list(self._actors):
            actor.journey.close()
            self._end(actor, STILL_THERE)
        standing: Any = self.engine.perform(ListSessions())
        self.observer.end(clock.seconds(), standing)
        self.engine.monitor.stopService()
        self._check_born()
        digest = self._lines if self._by_bytes else self.records.digest
        title, zones = called(self.scenario.title, "en"), self.scenario.demand.zones
        return Replication(
            self.replication,
            *self.records.figures(self.observer, self._stations(), zones, title),
            self.records.gone.all(),
            digest.hexdigest(),
        )

    def _check_born(self) -> None:
        if self.records.born != len(self.records.gone):
            raise Broken(f"{self.records.born} were born, {len(self.records.gone)} have ended")

    def _next_hour(self) -> None:
        """Have those come who are born in the next hour."""
        hour = next(self._hours, None)
        if hour is None:
            self._is_over = True
            return
        now = self.clock.seconds()
        for person in people(
            self.scenario, self.scenario.demand.zones, hour, self.replication, list(self.known.cars)
        ):
            self.clock.call_at(max(now, person.born), self._begin, person)
        self.clock.call_at(max(now, hour.begin + HOUR_S), self._next_hour)
        self._forget(now - FORGET_S)

    def _forget(self, before: float) -> None:
        """Let go of what nobody asks for any more: memory is for who is there."""
        if not isinstance(self.storage, MemoryStorage):
            return
        self.storage.payments.clear()
        receipts = self.storage.receipts
        for receipt_id, receipt in list(receipts.items()):
            if receipt.ended_timestamp >= before:
                break
            del receipts[receipt_id]

    # Drivers

    def _begin(self, person: Person) -> None:
        self.records.born += 1
        diary = Diary(person)
        script = DriverScript(diary, self.scenario.driver, self.known, self.clock.seconds)
        actor = Actor(diary, script.run())
        self._actors[actor] = None
        self._go_on(actor, None)

    def _go_on(self, actor: Actor, value: Any) -> None:
        """Let a driver do what comes next, until it has to wait."""
        send = actor.journey.send
        while True:
            try:
                step = send(value)
            except StopIteration as end:
                self._end(actor, end.value)
                return
            if isinstance(step, Ask):
                value = self._ask(step.type, step.data)
            else:
                if step.until < math.inf:
                    at = max(step.until, self.clock.seconds())
                    actor.timer = self.clock.call_at(at, self._resume, actor)
                if step.listens and actor.diary.user_id is not None:
                    self._listening[actor.diary.user_id] = actor
                return

    def _resume(self, actor: Actor, value: Any = None) -> None:
        """Wake a driver, who has waited for the time or to be told."""
        for call in (actor.timer, actor.told):
            if call is not None and call.active():
                call.cancel()
        actor.timer = actor.told = None
        self._listening.pop(actor.diary.user_id or "", None)
        self._go_on(actor, value)

    def _heard(self, events: Sequence[Event]) -> None:
        try:
            self.observer.happened(events)
        except Broken as error:
            # Whoever asked would take it for a fault of the request.
            self._broken = self._broken or error
        if not self._listening:
            return
        for event in events:
            actor = self._listening.get(user_of(event) or "")
            if actor is not None and actor.told is None:
                # When this is over: the storage must not be asked meanwhile.
                actor.told = self.clock.call_at(self.clock.seconds(), self._tell, actor)

    def _tell(self, actor: Actor) -> None:
        """Tell a driver how the journey stands, as the hub tells who has subscribed."""
        assert actor.diary.user_id is not None
        self._resume(actor, find_journey(self._status, actor.diary.user_id))

    def _end(self, actor: Actor, outcome: str) -> None:
        for call in (actor.timer, actor.told):
            if call is not None and call.active():
                call.cancel()
        self._listening.pop(actor.diary.user_id or "", None)
        del self._actors[actor]
        self.records.add(actor.diary, outcome)
        if actor.diary.finding is not None and str(INTERNAL.reason) in actor.diary.finding:
            raise Broken(f"{actor.diary.person.identity}: {actor.diary.finding}")

    # Requests

    def _ask(self, kind: str, data: Mapping[str, Any]) -> Said:
        if self._by_bytes:
            status, told = self._by_lines(kind, data)
            return Said(status["code"], told)
        reply: Any = self._answer(Request(kind, data))
        return Said(reply.outcome.code, reply.data)

    def _by_lines(self, kind: str, data: Mapping[str, Any]) -> tuple[Any, Any]:
        line = _encode({"type": kind, "data": data, "status": {}, "timestamp": ""})
        reply: Any = self._answer(decode(line, self.engine.controller.reads))
        assert isinstance(reply, Reply)
        answer = encode(reply, iso_utc(self.clock.seconds()))
        self._lines.update(line + b"\n" + answer + b"\n")
        told = _decode(answer)
        return told["status"], told["data"]


def _contents(network: LoadedNetwork) -> Contents:
    """What a storage has before anybody comes."""
    records = [StationRecord(station, True, {}) for station in network.stations.values()]
    tariffs = [tariff.body for tariff in network.tariffs.values()]
    return Contents(network.car_models, records, (), (), (), count=0, tariffs=tariffs)


def run(
    scenario: Scenario, replication: int, by_bytes: bool = False, keep: Location | None = None
) -> Replication:
    """
    One run of a :class:`World`.

    :param keep: where all is kept, as a server would keep it; None: nowhere.
    :raise RunError: an invariant does not hold.
    :raise StorageError: there is data, or it cannot be opened.
    """
    if keep is None:
        return World(scenario, replication, by_bytes).run()
    storage = keep.storage(terms=scenario.terms)
    world = World(scenario, replication, by_bytes, storage)
    try:
        return world.run()
    finally:
        storage.close()
