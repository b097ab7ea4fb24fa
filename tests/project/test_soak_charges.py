"""The soak's own arithmetic of charges: it agrees with the server, and finds what is wrong."""

import math
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak_audit import Account, Book, Charge
from benchmarks.soak_charges import Network, audit_charges
from benchmarks.soak_sessions import audit_sessions
from evcharge.testing import NOON, MemoryServer
from tests.support.journey import login

CAR = "Tesla Model 3"


class ChargeTests(SynchronousTestCase):
    """What drivers are told of their charges."""

    def setUp(self) -> None:
        self.network = Network(1)
        self.book = Book(60.0)
        self.server = MemoryServer(time_scale=1)

    def charge(self, car: str = CAR, at: str = "1", start: float = 40, target: float = 80) -> None:
        """Have a car charged, and leave; nothing is noted where it cannot be."""
        to = self.server
        user = login(to, start, car, target_percent=target)
        told = to.request("PAYMENT", user_id=user, id_station=at, confirmation=True)["data"]
        if not told["confirmation"]:
            self.book.unserved.add((car, at, told["reason"] != "no_compatible_connector"))
            return
        to.request("PAYMENT", user_id=user, id_station=at, confirmation=False)
        account = Account("Driver", NOON, NOON, car=car, start_percent=start, target_percent=target)
        self.book.charges.append(Charge(account, NOON, NOON, told))

    def findings(self) -> list[str]:
        self.book.findings.clear()
        audit_charges(self.book, self.network)
        audit_sessions(self.book, self.network, None)
        return list(self.book.findings)

    def test_right(self) -> None:
        """Every car of the catalogue at posts of all kinds: it is as the server says."""
        for car in self.network.cars:
            for at, start, target in (
                ("1", 10, 80),
                ("2", 20, 100),
                ("34", 47, 95.5),
                ("7", 90, 80),
            ):
                self.book.charges.clear()
                self.charge(car, at, start, target)
                self.assertEqual(self.findings(), [], f"{car} at {at}")
        self.assertTrue(self.book.unserved)

    def test_wrong(self) -> None:
        """A figure that is not what it should be, each by itself."""
        self.charge()
        (charge,) = self.book.charges
        right = charge.told
        for field, value, problem in (
            ("charge_minutes", right["charge_minutes"] * 1.002, "it takes 11.5"),
            ("energy_kwh", 20.0001, "it takes 20.000000 kWh"),
            ("amount", 54.99, "it costs 55.00"),
            ("start_percent", 41.0, "it is charged from 40 % to 80 %"),
            ("target_percent", 90.0, "it is charged from 40 % to 80 %"),
            ("estimated_timestamp", right["estimated_timestamp"] + 2, "it ends 2.0 s late"),
            ("id_evse", "1-99", "station 1 has no EVSE 1-99"),
            ("id_evse", "2-1", "station 1 has no EVSE 2-1"),
            ("connector", "CHAdeMO", "it is not charged by CHAdeMO"),
        ):
            told: dict[str, Any] = {**right, field: value}
            self.book.charges[:] = [attrs.evolve(charge, told=told)]
            findings = self.findings()
            self.assertTrue(findings, field)
            self.assertIn(f"a {CAR}: {problem}", findings[0])

    def test_held_twice(self) -> None:
        """An EVSE is held by one vehicle, until it has charged, or its driver says so."""
        self.charge()
        (one,) = self.book.charges
        later = attrs.evolve(one, asked=NOON + 60, answered=NOON + 60)
        end = one.told["estimated_timestamp"] + 60
        later.told = {**one.told, "receipt_id": "another", "estimated_timestamp": end}
        self.book.charges.append(later)
        (finding,) = self.findings()
        self.assertIn("an EVSE was held twice", finding)
        self.assertIn(one.told["id_evse"], finding)
        one.account = attrs.evolve(one.account, leaves=NOON + 50)
        self.assertEqual(self.findings(), [])
        one.account.leaves = math.inf
        later.asked = later.answered = one.told["estimated_timestamp"] + 1
        later.told["estimated_timestamp"] += 60 * 60
        self.assertNotIn("held twice", "\n".join(self.findings()))

    def test_told_late(self) -> None:
        """Who asks again after a crash learns late of a charge that has ended long since."""
        self.charge()
        (one,) = self.book.charges
        told = {**one.told, "receipt_id": "another"}
        told.update(charge_minutes=0.0, estimated_timestamp=NOON - 10)
        ended = attrs.evolve(one, asked=NOON - 10, answered=NOON + 30, told=told)
        self.book.charges.append(ended)
        self.assertNotIn("held twice", "\n".join(self.findings()))
        told["estimated_timestamp"] = NOON + 10
        self.assertIn("held twice", "\n".join(self.findings()))

    def test_unserved(self) -> None:
        """That nothing fits, and that all is taken that would."""
        self.book.unserved = {("Nissan Leaf", "1", True), ("BYD King", "34", False)}
        self.assertEqual(self.findings(), [])
        self.book.unserved = {(CAR, "1", False)}
        (finding,) = self.findings()
        self.assertEqual(finding, f"a {CAR} was told that something does not fit at station 1")
