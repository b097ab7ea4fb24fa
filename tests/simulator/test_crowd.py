"""Drivers at a running server, by whatever way their requests get there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator import networks
from evcharge.simulator.crowd import Actor, Crowd
from evcharge.simulator.drivers import Diary, Said, Sleep
from evcharge.simulator.known import Known
from evcharge.simulator.pace import Arrivals, Pace
from evcharge.simulator.scenario import Scenario
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import MemoryServer
from tests.support.simulations import HABIT, one_station

SPEED = 60.0
HOUR_S = 3600.0 / SPEED
"""An hour of theirs."""


class Way:
    """Brings requests to a server in memory, but for those that are to be lost."""

    def __init__(self, to: MemoryServer) -> None:
        self.to = to
        self.loses = ""
        self.holds = ""
        """The types of requests whose replies are lost, or kept back."""
        self.held: list[Callable[[], object]] = []
        self.asked: list[str] = []
        self.tells: dict[str, Callable[[Mapping[str, Any]], object]] = {}

    def ask(self, kind: str, data: Mapping[str, Any], answered: Callable[..., object]) -> None:
        self.asked.append(kind)
        reply = self.to.request(kind, **data)
        said = None if kind in self.loses else Said(reply["status"]["code"], reply["data"])
        if kind in self.holds:
            self.held.append(lambda: answered(said))
        else:
            answered(said)

    def listen(self, diary: Diary, waits: bool, tell: Callable[..., object]) -> None:
        self.tells[diary.user_id] = tell

    def hush(self, user_id: str) -> None:
        self.tells.pop(user_id, None)

    def see(self) -> None:
        """Tell everybody how the journey stands."""
        for user_id, tell in list(self.tells.items()):
            tell(self.to.request("STATUS", user_id=user_id)["data"])


class CrowdTests(SynchronousTestCase):
    """A server of one station."""

    def begin(self, scenario: Scenario) -> None:
        network = networks.load(scenario.sources)
        storage = MemoryStorage(network.car_models, [*network.stations.values()], {})
        self.server = MemoryServer(storage, time_scale=SPEED)
        clock = self.server.clock
        self.pace = Pace(clock, scenario.begin, SPEED, wall=clock.seconds)
        self.way = Way(self.server)
        told = self.server.request("START")["data"]
        self.moves: list[tuple[Actor, Sleep | None]] = []
        self.crowd = Crowd(
            self.pace,
            scenario.driver,
            Known.of(told),
            self.way,
            lambda *move: self.moves.append(move),
        )
        zones = scenario.demand.zones
        self.arrivals = Arrivals(self.pace, scenario, zones, ["Car"], self.crowd.come)
        self.arrivals.start()
        self.addCleanup(self.arrivals.stop)

    def held(self) -> int:
        """How many EVSEs are held."""
        (station,) = self.server.request("START")["data"]["station_models"].values()
        return station["max_slots"] - station["available_slots"]

    def users(self) -> int:
        """How many the server knows."""
        return len(self.server.storage.records.users)  # type: ignore[attr-defined]

    def leave(self) -> list[int]:
        """Have all leave; what is written once they have."""
        left: list[int] = []
        self.arrivals.stop()
        self.crowd.leave(lambda: left.append(1))
        return left

    def test_served(self) -> None:
        """Drivers charge for as long as the server says, faster than real time, and go."""
        self.begin(one_station(40, 10.0, choose=HABIT))
        self.server.advance(24 * HOUR_S)
        crowd = self.crowd
        self.assertGreater(crowd.born, 150)
        self.assertEqual(set(crowd.outcomes), {"served"})
        self.assertEqual(crowd.born, crowd.outcomes["served"] + len(crowd.actors))
        self.assertEqual(crowd.findings, {})
        self.server.advance(HOUR_S)
        self.assertEqual((len(crowd.actors), self.held()), (0, 0))
        self.assertEqual(crowd.outcomes["served"], crowd.born)
        ended = [actor for actor, sleep in self.moves if sleep is None]
        self.assertEqual(len(ended), crowd.born)

    def test_told(self) -> None:
        """Who waits in line goes on when told of the offer, and what is no news wakes nobody."""
        self.begin(one_station(1, 3.0, choose=HABIT, joins_queue=1.0))
        for _ in range(24 * 60):
            self.server.advance(HOUR_S / 60)
            self.way.see()
            # Who has taken an offer then charges, which is news once more.
            self.way.see()
            moves = len(self.moves)
            self.way.see()
            self.assertEqual(len(self.moves), moves)
        self.assertGreater(self.crowd.outcomes["served_after_wait"], 5)
        self.assertEqual(self.crowd.findings, {})

    def test_lost_reply(self) -> None:
        """Who has no reply ends as a finding, and nothing stays held."""
        self.begin(one_station(40, 10.0, choose=HABIT))
        self.way.loses = "ARRIVE"
        self.server.advance(24 * HOUR_S)
        crowd = self.crowd
        self.assertEqual(crowd.findings, {"ARRIVE: no reply": crowd.born})
        self.assertEqual(crowd.outcomes, {"refused": crowd.born})
        self.assertEqual((self.held(), crowd.actors), (0, {}))

    def test_odd_reply(self) -> None:
        """A reply that lacks what a driver goes by is a finding too."""
        self.begin(one_station(40, 10.0, choose=HABIT))
        ask = self.way.ask

        def less(kind: str, data: Mapping[str, Any], answered: Callable[..., object]) -> None:
            ask(kind, data, lambda said: answered(Said(200, {}) if kind == "LOGIN" else said))

        self.way.ask = less  # type: ignore[method-assign]
        self.server.advance(6 * HOUR_S)
        (finding,) = self.crowd.findings
        self.assertIn("LOGIN", finding)
        self.assertIn("'user_id'", finding)

    def test_leave(self) -> None:
        """All who are there give up what they hold, who book and do not come included."""
        self.begin(one_station(40, 30.0, choose=HABIT, books=0.5, no_show=0.5))
        self.server.advance(12 * HOUR_S)
        crowd = self.crowd
        there = len(crowd.actors)
        self.assertGreater(self.held(), there / 2)
        self.assertGreater(crowd.outcomes["no_show"], 10)
        self.assertEqual(self.leave(), [1])
        self.assertEqual((self.held(), crowd.actors), (0, {}))
        self.assertEqual(crowd.outcomes["still_there"], there)
        self.assertEqual(sum(crowd.outcomes.values()), crowd.born)

    def test_leave_while_asking(self) -> None:
        """Who waits for a reply leaves when it has come, and holds nothing either."""
        self.begin(one_station(40, 30.0, choose=HABIT))
        self.server.advance(12 * HOUR_S)
        for self.way.holds in ("LOGIN", "ARRIVE"):
            self.server.advance(HOUR_S / 2)
        self.assertGreater(len(self.way.held), 5)
        left = self.leave()
        self.assertEqual(left, [])
        for answer in self.way.held:
            answer()
        self.assertEqual(left, [1])
        self.assertEqual((self.held(), self.users(), self.crowd.actors), (0, 0, {}))

    def test_who_is_lost_is_forgotten(self) -> None:
        """Who goes without charging is not left behind in the server for a day."""
        self.begin(one_station(1, 30.0, choose=HABIT))
        self.server.advance(24 * HOUR_S)
        self.assertGreater(self.crowd.outcomes["balked"], 100)
        self.server.advance(HOUR_S)
        self.assertLess(self.users(), 5)
