"""The soak's drivers who follow their sessions: right ones add up, and what is wrong is found."""

import heapq
import itertools
import random
import types
from collections.abc import Callable, Coroutine, Generator
from decimal import Decimal
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak_audit import Account, Book, Found, Hold, Wait
from benchmarks.soak_charges import Network
from benchmarks.soak_sessions import Means, Visit, audit_sessions
from evcharge.models.terms import Terms
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.sweep import Sweep
from evcharge.storage import carry_out
from evcharge.testing import MemoryServer

TIME_SCALE, TTL_S = 200.0, 60.0

Change = Callable[[str, dict[str, Any]], None]
"""Changes the reply to a message of a kind."""


@types.coroutine
def passing(seconds: float) -> Generator[float, None, None]:
    """Wait until so much time has passed by the server's clock."""
    yield seconds


class Town:
    """A server in memory, and drivers who make visits; time passes from one to the next."""

    late_s = 0.0
    """How long the answer to a PAYMENT takes."""
    times = 1
    """How often a driver has to ask."""
    life = 1
    """Of the server."""

    def __init__(self, change: Change | None = None, fragile: str = "", seed: int = 1) -> None:
        self.server = MemoryServer(time_scale=TIME_SCALE, user_ttl=TTL_S, sweep_interval=1.0)
        self.network = Network(TIME_SCALE)
        self.book = Book(TTL_S, fragile=frozenset(fragile.split()))
        self.chance = random.Random(seed)
        self._change = change
        self._ready: list[tuple[float, int, Coroutine[float, None, None]]] = []
        self._numbers = itertools.count()
        self.stopping = False

    def now(self) -> float:
        return self.server.clock.seconds()

    async def insist(self, kind: str, data: dict[str, Any]) -> tuple[dict[str, Any], int]:
        reply = self.server.request(kind, **data)
        if self._change is not None:
            self._change(kind, reply["data"])
        if kind == "PAYMENT" and self.late_s:
            await passing(self.late_s)
        return reply, self.times

    def means(self) -> Means:
        """By what its drivers live."""
        life, stopping = lambda: self.life, lambda: self.stopping
        return Means(self.insist, passing, self.now, self.chance, life, stopping)

    async def drive(self, stations: list[str], cars: list[str]) -> None:
        """One driver, who comes again and again."""
        means = self.means()
        while not self.stopping:
            await passing(self.chance.uniform(0.0, 3.0))
            car, percent = self.chance.choice(cars), float(self.chance.randint(1, 79))
            name = f"Driver {next(self._numbers)}"
            login = {"user_name": name, "selected_car": car, "battery_car": percent}
            reply, _ = await self.insist("LOGIN", login)
            user_id, driver_id = reply["data"]["user_id"], reply["data"]["driver_id"]
            account = Account(name, self.now(), self.now(), car=car, start_percent=percent)
            account.visits, account.driver_id = True, driver_id
            self.book.users[user_id] = account
            at = self.chance.choice(stations)
            try:
                await Visit(means, self.book, self.network, user_id, account, at).run()
            except TypeError as wrong:
                # Of a reply that lacks what it must have, as in the soak itself.
                self.book.find(repr(wrong))

    def spend(self, seconds: float, drivers: list[Coroutine[float, None, None]]) -> None:
        """Let time pass."""
        end = self.now() + seconds
        for driver in drivers:
            heapq.heappush(self._ready, (self.now(), next(self._numbers), driver))
        while self._ready and self._ready[0][0] <= end:
            at, _, driver = heapq.heappop(self._ready)
            if at > self.now():
                # Deadlines in between are met, each at its instant or a sweep later.
                self.server.advance(at - self.now())
            try:
                wait_s = driver.send(None)
            except StopIteration:
                continue
            heapq.heappush(self._ready, (self.now() + wait_s, next(self._numbers), driver))
        for _, _, driver in self._ready:
            driver.close()

    async def breaks(self) -> None:
        """An operator takes EVSEs out of service, and back."""
        broken: str | None = None
        evses = [uid for at in sorted(self.book.fragile) for uid in self.network.evses[at]]
        while True:
            await passing(self.chance.uniform(0.2, 1.0))
            uid, status = (broken, "IN_SERVICE") if broken else (None, "OUTOFORDER")
            broken = None if broken else self.chance.choice(evses)
            terms = Terms(TIME_SCALE)
            operation = SetEvseStatus(uid or broken or "", status, None, self.now(), terms)
            carry_out(self.server.storage, operation)

    def found(self) -> Found:
        return Found(None, [], [], self.server.storage.payments)

    def audit(self) -> str:
        return audit_sessions(self.book, self.network, self.found())


class VisitTests(SynchronousTestCase):
    """Visits to a server in memory."""

    def town(
        self, change: Change | None = None, fragile: str = "", seconds: float = 20.0, seed: int = 1
    ) -> Town:
        town = Town(change, fragile, seed)
        cars = ["Tesla Model 3", "Nissan Leaf", "BYD Dolphin", "BYD King"]
        drivers = [town.drive(["2", "5"], cars) for _ in range(20)]
        town.spend(seconds, [*drivers, *([town.breaks()] if fragile else [])])
        return town

    def test_right(self) -> None:
        """All that drivers may do is done, and adds up."""
        town = self.town(seconds=60.0)
        told = town.audit()
        self.assertEqual(town.book.findings, [])
        self.assertRegex(told, r"sessions: \d\d+ holds, \d\d+ places in line, \d\d+ offers")
        ends = {state for _, state in town.book.totals.values()}
        self.assertEqual(ends, {"COMPLETED", "CANCELLED", "NO_SHOW"})
        for event in ("visits", "late", "looked for a free EVSE", "paid ahead", "found nothing"):
            self.assertGreater(town.book.events[event], 0, event)

    def test_broken(self) -> None:
        """So it does where EVSEs are put out of service, and back."""
        town = self.town(fragile="2 5", seconds=60.0)
        town.audit()
        self.assertEqual(town.book.findings, [])
        self.assertTrue(any(wait.returned for wait in town.book.waits))

    def visit(self, town: Town) -> Visit:
        """A driver's at a station where nobody is."""
        login = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}
        user_id = town.server.request("LOGIN", **login)["data"]["user_id"]
        account = Account("Ana", town.now(), town.now(), car="Tesla Model 3", start_percent=40.0)
        return Visit(town.means(), town.book, town.network, user_id, account, "2")

    def test_told_late(self) -> None:
        """Who learns late that charging has begun had the EVSE since then, not since that."""
        town = Town()
        began, town.late_s = town.now(), 60.0
        town.spend(town.late_s, [self.visit(town)._claim("PAYMENT", confirmation=True)])
        (hold,) = town.book.holds
        self.assertAlmostEqual(hold.since, began, 3)
        self.assertEqual(town.book.findings, [])

    def test_paid_late(self) -> None:
        """Who pays when the reservation has run out charges as anybody may."""
        town = Town()
        visit = self.visit(town)
        town.spend(0.0, [visit._claim("RESERVE")])
        reserved = visit._told
        town.server.advance(60.0)
        town.spend(0.0, [visit._claim("PAYMENT", confirmation=True)])
        self.assertEqual(visit._state, "CHARGING")
        self.assertNotEqual(visit._told["receipt_id"], reserved["receipt_id"])
        self.assertEqual(town.book.findings, [])

    def test_late_at_another_server(self) -> None:
        """A hold may be honoured late by a server that was not there meanwhile, and by no other."""
        self.assertEqual([self.honoured_late(life) for life in (1, 2)], [1, 0])

    def honoured_late(self, life: int) -> int:
        """How often that is found where the server has such a life by then."""
        town = Town()
        visit = self.visit(town)
        town.spend(0.0, [visit._claim("RESERVE")])
        receipt = visit._told["receipt_id"]

        def honoured(kind: str, told: dict[str, Any]) -> None:
            if kind == "ARRIVE":
                told["receipt_id"], town.life = receipt, life

        town._change = honoured
        town.spend(60.0, [visit._be_late()])
        self.assertEqual(visit._state, "CHARGING")
        return sum("after its deadline" in finding for finding in town.book.findings)

    def test_over_unseen(self) -> None:
        """Who asks again may have charged meanwhile, and be gone."""
        town = Town()
        visit = self.visit(town)
        town.spend(0.0, [visit._claim("RESERVE")])
        town.times = 2
        arrive = {"id_station": "2", "leaves_when_done": True, "target_percent": 41.0}
        town.server.request("ARRIVE", user_id=visit._user_id, **arrive)
        town.server.advance(10.0)
        town.spend(0.0, [visit._claim("ARRIVE")])
        self.assertEqual((visit._state, town.book.findings), ("GONE", []))

    def test_listed_late(self) -> None:
        """Who has left by a deadline is in the list of receipts once a sweep has come."""
        town = Town()
        visit = self.visit(town)
        town.server.monitor.stopService()
        town.spend(0.0, [visit._claim("PAYMENT", confirmation=True)])
        town.server.advance(100.0)
        sweep = Sweep(town.now(), 0.0, Terms(TIME_SCALE))

        async def sweeps() -> None:
            await passing(1.0)
            carry_out(town.server.storage, sweep)

        visit._account.driver_id = visit._user_id
        town.spend(2.0, [visit._do("STATUS"), visit._settle(), sweeps()])
        self.assertEqual((visit._state, town.book.findings), ("GONE", []))

    def test_wrong(self) -> None:
        """What a driver may not be told, each by itself."""
        for kind, state, field, change, finding in (
            ("STATUS", "CHARGING", "energy_kwh", lambda x: x + 0.01, "kWh are charged"),
            ("STATUS", "FINISHED", "battery_percent", lambda x: 101.0, "it is over "),
            ("STATUS", "CHARGING", "server_timestamp", lambda x: x + 5.0, "minutes have passed"),
            ("STATUS", "CHARGING", "start_percent", lambda x: x + 1.0, "it is to charge from"),
            ("STATUS", "CHARGING", "id_evse", lambda x: "2-99", "at another EVSE"),
            ("STATUS", "CHARGING", "id_station", lambda x: "7", "it is at another station"),
            ("STATUS", "WAITING", "position", lambda x: 0, "0 in a line of"),
            ("STATUS", "WAITING", "position", lambda x: x + 20, "its position was"),
            ("STATUS", "WAITING", "since", lambda x: "2025-04-07T13:45:12.678Z", "another one"),
            ("STATUS", "WAITING", "eta_latest_minutes", lambda x: -1.0, "its turn is expected"),
            ("STATUS", "OFFERED", "expires_timestamp", lambda x: x + 1.0, "it should hold for"),
            ("STATUS", "OFFERED", "actions", lambda x: ["STOP"], "it may do ['STOP']"),
            ("STATUS", "OFFERED", "state", lambda x: "CHARGING", "it is CHARGING"),
            ("STATUS", "RESERVED", "state", lambda x: "FREE", "it is FREE"),
            ("RESERVE", "RESERVED", "expires_timestamp", lambda x: x - 1.0, "it should hold for"),
            ("RESERVE", "RESERVED", "state", lambda x: "CHARGING", "it is CHARGING"),
            ("ARRIVE", "CHARGING", "state", lambda x: "FINISHED", "it is FINISHED"),
            ("PAYMENT", "CHARGING", "receipt_id", lambda x: "r", "it has another receipt"),
            ("RECEIPT", "COMPLETED", "total", lambda x: x + 0.01, "it costs"),
            ("RECEIPT", "COMPLETED", "energy_kwh", lambda x: x + 0.01, "kWh were charged"),
            ("RECEIPT", "COMPLETED", "charge_minutes", lambda x: x + 1.0, "minutes: {"),
            ("RECEIPT", "COMPLETED", "end_percent", lambda x: 101.0, "it was charged to"),
            ("RECEIPT", "COMPLETED", "final", lambda x: False, "has no final receipt"),
            ("RECEIPT", "NO_SHOW", "end_reason", lambda x: "target", "it ended so"),
            ("HISTORY", None, "receipts", lambda x: [], "HISTORY has []"),
            ("START", None, "station_models", self.all_free, "free at the same time"),
            ("START", None, "station_models", self.none_waits, "the line there is empty"),
            ("START", None, "station_models", self.one_more, "START shows "),
        ):
            done = []

            def wrong(
                asked: str,
                told: dict[str, Any],
                kind: str = kind,
                state: str | None = state,
                field: str = field,
                change: Callable[[Any], Any] = change,
                done: list[object] = done,
            ) -> None:
                if asked == kind and told.get("state") == state and field in told:
                    told[field] = change(told[field])
                    done.append(told)

            town = self.town(wrong)
            town.audit()
            self.assertTrue(done, (kind, state, field))
            self.assertIn(finding, "\n".join(town.book.findings), (kind, state, field))

    def all_free(self, stations: dict[str, Any]) -> dict[str, Any]:
        for station in stations.values():
            for evse in station["evses"]:
                evse["status"] = "AVAILABLE"
        return stations

    def none_waits(self, stations: dict[str, Any]) -> dict[str, Any]:
        return {key: {**station, "queue_length": 0} for key, station in stations.items()}

    def one_more(self, stations: dict[str, Any]) -> dict[str, Any]:
        for station in stations.values():
            station["available_slots"] += 1
        return stations


class AuditTests(SynchronousTestCase):
    """What is wrong between what two drivers were told."""

    disorder_s = 0.0

    def findings(self, *holds: Hold, waits: tuple[Wait, ...] = ()) -> list[str]:
        book = Book(TTL_S, disorder_s=self.disorder_s)
        book.holds += holds
        book.waits += waits
        audit_sessions(book, Network(TIME_SCALE), None)
        return book.findings

    def test_held_twice(self) -> None:
        """An EVSE is held by one at a time."""
        one = Hold("2-1", "a", 100.0, 110.0, "Ana")
        self.assertEqual(self.findings(one, Hold("2-1", "b", 110.0, 120.0, "Bia")), [])
        self.assertEqual(self.findings(one, Hold("2-2", "b", 105.0, 120.0, "Bia")), [])
        (finding,) = self.findings(one, Hold("2-1", "b", 109.0, 120.0, "Bia"))
        self.assertIn("an EVSE was held twice", finding)

    def test_disorder(self) -> None:
        """Of several workers one may be behind another one by a little, and no more."""
        first = Wait("Ana", "Tesla Model 3", "1", 100.0, 120.0, False)
        second = Wait("Bia", "Tesla Model 3", "1", 101.5, 110.0, False, 111.0, "1-1", 111.5)
        holds = Hold("2-1", "a", 100.0, 110.0, "Ana"), Hold("2-1", "b", 108.5, 120.0, "Bia")
        for disorder_s, count in ((0.0, 2), (1.0, 2), (2.0, 0)):
            self.disorder_s = disorder_s
            findings = self.findings(*holds, waits=(first, second))
            self.assertEqual(len(findings), count)

    def test_order(self) -> None:
        """Who came first into line is the first, unless the EVSE does not fit."""
        first = Wait("Ana", "Tesla Model 3", "1", 100.0, 120.0, False)
        second = Wait("Bia", "Tesla Model 3", "1", 101.0, 110.0, False, 111.0, "1-1", 119.0)
        (finding,) = self.findings(waits=(first, second))
        self.assertIn("was offered an EVSE before", finding)
        for change in (
            # The offer is not seen at once, nor is its own, whenever it was last seen to wait.
            {"until": 118.0},
            {"until": 118.0, "offered": 110.5},
            {"since": 102.0},
            {"car": "BYD King"},
            {"station": "2"},
        ):
            self.assertEqual(self.findings(waits=(attrs.evolve(first, **change), second)), [])
        offered = attrs.evolve(first, until=118.0, offered=112.0)
        (finding,) = self.findings(waits=(offered, second))
        self.assertIn("was offered an EVSE before", finding)
        second.returned = True
        self.assertEqual(self.findings(waits=(first, second)), [])

    def test_money(self) -> None:
        """What was paid, less what was given back, is the total."""
        town = Town()
        town.spend(30.0, [town.drive(["2"], ["Tesla Model 3"]) for _ in range(10)])
        payments = town.server.storage.payments
        town.audit()
        self.assertEqual(town.book.findings, [])
        for number, payment in enumerate(payments):
            if (payment.refund_of or payment.receipt_id) in town.book.totals:
                town.book.findings.clear()
                payments[number] = attrs.evolve(payment, amount=payment.amount + Decimal("0.01"))
                town.audit()
                self.assertIn("which came to", "\n".join(town.book.findings))
                payments[number] = payment
