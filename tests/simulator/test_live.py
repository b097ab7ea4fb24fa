"""Simulated drivers in a server's own process, by virtual time."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import attrs
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from evcharge.handlers.plan import Plan
from evcharge.models.evse import IN_SERVICE
from evcharge.planning.itinerary import planned
from evcharge.process.settings import SimulationSettings
from evcharge.process.virtual_clock import VirtualClock
from evcharge.rules.journey import ListSessions
from evcharge.rules.operator import SetEvseStatus
from evcharge.simulator.distributions import number
from evcharge.simulator.live import LEAVE_S, Live
from evcharge.simulator.parts import Change, Faults, TariffTime
from evcharge.simulator.scenario import Scenario
from evcharge.storage import Summary
from evcharge.testing import MemoryServer, shipped_network
from tests.support.journey import server, station
from tests.support.simulations import HABIT, HERE, one_station
from tests.support.streams import Subscriber

SPEED = 60.0
HOUR_S = 3600.0 / SPEED
"""An hour of theirs, real seconds."""

START = datetime(2026, 3, 2)
AWAY = attrs.evolve(one_station(1, 1.0).demand.zones[0], radius_km=3.0)
"""A zone from which one has to drive."""


class LiveTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.logged: list[str] = []
        self.levels: list[str] = []

        def observe(event: Any) -> None:
            if event.get("log_namespace", "").startswith("evcharge.simulator"):
                self.logged.append(formatEvent(event))
                self.levels.append(event["log_level"].name)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def begin(
        self,
        scenario: Scenario,
        to: MemoryServer | None = None,
        for_ever: bool = False,
        users: int = 0,
        **how: Any,
    ) -> Live:
        """Begin at a server that is new, unless there is one."""
        self.server = to or MemoryServer(shipped_network(), time_scale=SPEED, **how)
        engine, clock = self.server.engine, self.server.clock
        engine._opened.summary = Summary(36, users)
        settings = SimulationSettings(scenario, "test.toml", SPEED, for_ever)
        self.live = Live(settings, engine, clock, clock.seconds)
        self.live.startService()
        self.addCleanup(self.live.stopService)
        return self.live

    def hours(self, number: float) -> None:
        self.server.advance(number * HOUR_S)

    def stations(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.request("START")["data"]["station_models"]
        return found

    def held(self) -> int:
        return sum(each["max_slots"] - each["available_slots"] for each in self.stations().values())

    def said(self, pattern: str) -> str:
        """The one line of the log that is so."""
        (line,) = [line for line in self.logged if re.search(pattern, line)]
        return line


class DriverTests(LiveTestCase):
    """Drivers come, charge and go."""

    def test_day(self) -> None:
        """A new server has the scenario's network; all who come are served, and then it is over."""
        self.begin(one_station(40, 10.0, choose=HABIT))
        crowd = self.live.crowd
        assert crowd is not None
        (there,) = self.stations().values()
        self.assertEqual((there["name_station"], there["max_slots"]), ("Posto 1", 40))
        self.said("^Simulates test.toml at 60 x real time: 240 drivers a day from 2026-03-02 00:00")
        self.hours(23.9)
        self.assertGreater(crowd.born, 150)
        self.hours(3)
        self.assertEqual(crowd.outcomes, {"served": crowd.born})
        self.assertEqual((crowd.actors, self.held()), ({}, 0))
        self.said(f"^The simulation of test.toml is over: {crowd.born} came: {crowd.born} served")
        self.assertIsNone(self.live.crowd)
        reply = self.server.request("SUBSCRIBE", topics=["vehicles", "simulation"])
        self.assertEqual(reply["data"]["snapshot"], {})
        self.assertEqual(self.server.storage.records.users, {})

    def test_minutes(self) -> None:
        """Each minute a line has the simulated time, the drivers and how late they are."""
        self.begin(one_station(40, 10.0, choose=HABIT))
        self.hours(1.01)
        self.assertRegex(
            self.said("drivers there"),
            r"^Simulation, 2026-03-02 01:00: \d+ drivers there; \d+ came: \d+ served, 0 lost, "
            r"0 ended otherwise; late by 0\.00 s of simulated time, 99 of 100 by at most 0\.00 s$",
        )

    def test_seen(self) -> None:
        """A subscriber sees cars drive, wait and charge: each where it is, and with its battery."""
        self.begin(one_station(1, 2.0, choose=HABIT, joins_queue=1.0, zone=AWAY, speed_km_h=10.0))
        listener = Subscriber(self.server, topics=["vehicles", "simulation"])
        snapshot = listener.reply["data"]["snapshot"]
        self.assertEqual(snapshot["vehicles"], {})
        self.assertEqual(
            snapshot["simulation"],
            {"timestamp": "2026-03-02T03:00:00.000Z", "speed": 60.0, "seed": 7},
        )
        percents: dict[tuple[str, str], list[float]] = defaultdict(list)
        there, at = {}, defaultdict(list)
        for _ in range(8 * 60 * 5):
            for event in listener.hear(0.2):
                for key, car in event.get("vehicles", {}).items():
                    self.assertRegex(key, r"^sim-\d+$")
                    at[key].append(self.server.clock.seconds())
                    before = there.get(key)
                    if before is not None and before["state"] == car["state"]:
                        percents[car["state"], key].append(
                            car["battery_percent"] - before["battery_percent"]
                        )
                    if car["state"] != "driving":
                        self.assertEqual((car["latitude"], car["longitude"]), HERE)
                    there[key] = car
                for key in event.get("vehicles_gone", ()):
                    del there[key]
        signs = {
            state: {d for (s, _), ds in percents.items() if s == state for d in map(_sign, ds)}
            for state in ("driving", "waiting", "charging")
        }
        self.assertLessEqual(signs["driving"], {0, -1})
        self.assertIn(-1, signs["driving"])
        self.assertLessEqual(signs["charging"], {0, 1})
        self.assertIn(1, signs["charging"])
        self.assertLessEqual(signs["waiting"], {0})
        self.assertGreater(self.live.crowd.outcomes["served_after_wait"], 1)
        for times in at.values():
            self.assertGreaterEqual(min([b - a for a, b in pairwise(times)] or [1]), 0.19)

    def test_offers(self) -> None:
        """Who waits is told when it is the turn, and takes the offer within its own time."""
        self.begin(
            one_station(
                1, 1.5, days=3, choose=HABIT, joins_queue=1.0, answers_offer_minutes=number(2.0)
            )
        )
        self.hours(72)
        crowd = self.live.crowd
        assert crowd is not None
        self.assertGreater(crowd.outcomes["served_after_wait"], 30)
        self.assertEqual(crowd.outcomes["offer_lapsed"], 0)
        self.assertEqual(crowd.findings, {})

    later_on: VirtualClock | None = None

    def in_thread(self, f: Callable[..., Any], *args: Any) -> Deferred[Any]:
        if self.later_on is None:
            return execute(f, *args)
        return deferLater(self.later_on, 0.003, f, *args)

    def test_storage_with_a_thread(self) -> None:
        """It goes likewise where replies come later."""
        to = MemoryServer(shipped_network(), time_scale=SPEED, in_thread=self.in_thread)
        self.later_on = to.clock
        self.begin(one_station(2, 3.0, choose=HABIT, joins_queue=1.0), to)
        to.advance(1)
        self.hours(24)
        crowd = self.live.crowd
        assert crowd is not None
        ended = crowd.outcomes
        self.assertGreater(ended["served"], 30)
        self.assertGreater(ended["served_after_wait"], 3)
        self.assertEqual((crowd.findings, set(ended)), ({}, {"served", "served_after_wait"}))
        lateness = re.search(r"late by ([\d.]+) s", self.logged[-1])
        assert lateness is not None
        self.assertGreater(float(lateness[1]), 0.1)

    def test_plans_at_once(self) -> None:
        """Who has a trip planned while others have one gets the reply as they do."""
        to = MemoryServer(shipped_network(), time_scale=SPEED)

        def solve(*what: Any) -> Deferred[dict[str, Any]]:
            """As another process does, some time later."""
            return deferLater(to.clock, 0.3, planned, *what)

        context = attrs.evolve(to.engine.context, solve=solve)
        to.controller._handlers["PLAN"] = Plan(context)
        north = attrs.evolve(AWAY, centre=(HERE[0] + 0.1, HERE[1]), trip_to=((-12.97, -38.5),))
        self.begin(one_station(200, 400.0, zone=north, start_percent=number(20.0)), to)
        self.hours(2)
        crowd = self.live.crowd
        assert crowd is not None
        self.assertGreater(crowd.outcomes["served"], 400)
        self.assertEqual((crowd.findings, set(crowd.outcomes)), ({}, {"served"}))
        asking = [actor for actor in crowd.actors if actor.asks == "PLAN"]
        self.assertLess(len(asking), 20)

    def test_no_limit(self) -> None:
        """How many users an address may have logged in is no limit for simulated ones."""
        self.begin(
            one_station(40, 30.0, choose=HABIT, zone=AWAY, speed_km_h=5.0),
            options=["--max-pending-logins=1"],
        )
        self.hours(3)
        crowd = self.live.crowd
        assert crowd is not None
        self.assertGreater(crowd.outcomes["served"], 10)
        self.assertEqual((crowd.findings, set(crowd.outcomes)), ({}, {"served"}))

    def test_finding(self) -> None:
        """A reply that is in no script is in the log, and the others go on."""
        self.begin(one_station(40, 10.0, choose=HABIT))
        self.hours(2)
        self.server.engine.close()
        self.hours(1)
        crowd = self.live.crowd
        assert crowd is not None
        self.assertGreater(crowd.outcomes["refused"], 3)
        line = next(line for line in self.logged if "in no script" in line)
        self.assertRegex(
            line, r"^A simulated driver \(here/0/2/\d+\) got .*: LOGIN: 503 unavailable"
        )
        self.assertIn("error", self.levels)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


class NetworkTests(LiveTestCase):
    """At which stations."""

    def test_present_stations(self) -> None:
        """A server with a network of its own keeps it, and says what is left out."""
        scenario = one_station(2, 1.0, choose=HABIT, changes=(Change(1, add_evses=3),))
        scenario = attrs.evolve(scenario, raw={"demand": {}})
        to = server(station(1, 2), station(2, 1), time_scale=SPEED)
        self.begin(scenario, to)
        self.assertEqual(len(self.stations()), 2)
        self.assertEqual(
            self.said("left out"),
            "The storage keeps the 2 stations that it has already; left out of the simulation the "
            "scenario's network and its changes. A new storage gets the scenario's network",
        )

    def test_shipped_network_with_users(self) -> None:
        """The shipped network is kept too, where somebody has used it."""
        self.begin(one_station(2, 1.0, choose=HABIT), users=3)
        self.assertEqual(len(self.stations()), 36)

    def test_again(self) -> None:
        """A server that begins anew on the scenario's network has it still."""
        scenario = one_station(2, 1.0, choose=HABIT, changes=(Change(1, add_evses=3),))
        self.begin(scenario)
        self.live.stopService()
        again = MemoryServer(self.server.storage, time_scale=SPEED)
        self.begin(scenario, again, users=5)
        (there,) = self.stations().values()
        self.assertEqual(there["max_slots"], 5)
        self.assertEqual([line for line in self.logged if "left out" in line], [])

    def test_unknown_cars(self) -> None:
        """Of a fleet that the server does not know it is said; it goes on without drivers."""
        scenario = attrs.evolve(one_station(2, 1.0), fleet=(("Kombi", 1.0),))
        self.begin(scenario, server(station(1, 2)))
        self.assertEqual(
            self.said("Nothing"),
            "Nothing is simulated: [fleet] names Kombi, which the storage's car models do not have",
        )
        self.assertIsNone(self.live.crowd)
        self.assertEqual(self.server.request("START")["status"]["code"], 200)


class OperatorTests(LiveTestCase):
    """What operators do in a scenario."""

    def test_changes(self) -> None:
        """Stations change at their instants."""
        changes = (
            Change(1, at=START + timedelta(hours=2), add_evses=3),
            Change(1, at=START + timedelta(hours=4), status="OUTOFORDER"),
            Change(1, at=START + timedelta(hours=5), status=IN_SERVICE),
        )
        self.begin(one_station(2, 0.0, changes=changes))
        slots = []
        for _ in range(6):
            self.hours(0.99)
            slots.append(self.stations()["1"]["available_slots"])
            self.hours(0.01)
        self.assertEqual(slots, [2, 2, 5, 5, 0, 5])

    def test_prices(self) -> None:
        """Who begins to charge within the hours of a price pays it, by the simulated clock."""
        scenario = one_station(40, 10.0, days=1, choose=HABIT)
        night = TariffTime(1, START + timedelta(hours=6), START + timedelta(hours=12), "ponta")
        scenario = attrs.evolve(scenario, network=attrs.evolve(scenario.network, tariffs=(night,)))
        self.begin(scenario)
        paid: dict[int, set[float]] = defaultdict(set)
        crowd = self.live.crowd
        assert crowd is not None
        end = crowd._end

        def note(actor: Any, outcome: str) -> None:
            diary = actor.diary
            if diary.kwh:
                paid[int((diary.charging - scenario.begin) // 3600)].add(
                    round(diary.paid / diary.kwh, 1)
                )
            end(actor, outcome)

        crowd._end = note  # type: ignore[method-assign]
        self.hours(23)
        before = {price for hour, prices in paid.items() for price in prices if hour < 6}
        within = {price for hour, prices in paid.items() for price in prices if 6 <= hour < 12}
        after = {price for hour, prices in paid.items() for price in prices if hour >= 12}
        self.assertEqual((before, after), ({2.0}, {2.0}))
        self.assertNotIn(2.0, within)
        self.assertTrue(within)

    def test_faults(self) -> None:
        """EVSEs break and are mended; at the end of the server all are in service."""
        faults = Faults(mean_days_between=0.5, repair_hours=number(3.0))
        self.begin(one_station(20, 5.0, days=2, choose=HABIT, faults=faults))
        free = set()
        for _ in range(45):
            self.hours(1)
            free.add(
                self.server.request("START", stations=["1"])["data"]["station_models"]["1"][
                    "available_slots"
                ]
            )
        self.assertGreater(self.live.crowd.outcomes["evicted"], 0)
        self.live.stopService()
        self.assertEqual((self.held(), self.stations()["1"]["available_slots"]), (0, 20))

    def test_not_theirs(self) -> None:
        """An EVSE that the operator has taken out of service is not put back by a fault's end."""
        faults = Faults(mean_days_between=0.1, repair_hours=number(1.0))
        self.begin(one_station(2, 0.0, days=4, faults=faults))
        (evse, _) = self.server.request("START", stations=["1"])["data"]["station_models"]["1"][
            "evses"
        ]
        terms, now = self.server.engine.context.terms, self.server.clock.seconds()
        self.server.engine.perform(SetEvseStatus(evse["uid"], "INOPERATIVE", None, now, terms))
        free = set()
        for _ in range(90):
            self.hours(1)
            free.add(self.stations()["1"]["available_slots"])
        self.assertEqual(free, {0, 1})
        self.live.stopService()
        self.assertEqual(self.stations()["1"]["available_slots"], 1)


class EndTests(LiveTestCase):
    """How it ends."""

    def test_stuck_storage(self) -> None:
        """Where the storage does not answer the server ends all the same, in its time."""
        stuck: list[Deferred[Any]] = []

        def in_thread(f: Callable[..., Any], *args: Any) -> Deferred[Any]:
            if not self.is_stuck:
                return execute(f, *args)
            stuck.append(Deferred())
            return stuck[-1]

        self.is_stuck = False
        self.begin(one_station(3, 6.0, choose=HABIT, joins_queue=1.0), in_thread=in_thread)
        self.hours(6)
        self.is_stuck = True
        ended = self.live.stopService()
        self.assertNoResult(ended)
        self.server.advance(LEAVE_S)
        self.successResultOf(ended)
        self.said("^Not all simulated drivers could leave in time")

    def test_stop(self) -> None:
        """When the server ends, drivers give up what they hold, and no timer is left."""
        self.begin(one_station(3, 6.0, choose=HABIT, joins_queue=1.0, zone=AWAY))
        self.hours(6.5)
        self.assertEqual(self.held(), 3)
        self.successResultOf(self.live.stopService())
        self.assertEqual(self.held(), 0)
        self.assertEqual(self.server.engine.perform(ListSessions()), [])
        self.server.monitor.stopService()
        self.server.engine.figures.stopService()
        self.server.guards.stopService()
        self.server.advance(1)
        calls = [call for call in self.server.clock.getDelayedCalls()]
        self.assertEqual([call for call in calls if "simulator" in repr(call.f)], [])

    def test_for_ever(self) -> None:
        """Days follow one another, and what is in memory goes by who is there."""
        faults = Faults(mean_days_between=2.0, repair_hours=number(3.0))
        self.begin(
            one_station(3, 4.0, choose=HABIT, joins_queue=1.0, zone=AWAY, faults=faults),
            for_ever=True,
        )
        crowd = self.live.crowd
        assert crowd is not None
        sizes: list[tuple[int, ...]] = []
        for _ in range(20):
            self.hours(24)
            sizes.append(
                (
                    len(crowd.actors),
                    len(self.live._shown._cars),
                    len(self.live._inside._tells),
                    len(self.live._inside._journeys._known),
                    len(self.live._simulation._vehicles) // 20,
                    len(self.server.storage.records.users) // 10,
                    len(self.server.clock.getDelayedCalls()) // 10,
                )
            )
        self.assertGreater(crowd.born, 30 * 60)
        for early, late in zip(
            zip(*sizes[:10], strict=True), zip(*sizes[10:], strict=True), strict=True
        ):
            self.assertLessEqual(max(late), 2 * max(early) + 3)
