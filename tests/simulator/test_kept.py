"""A run whose data is kept, as a server would keep it."""

import json
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.terms import DEFAULT_TERMS
from evcharge.simulator.parts import Change, Faults
from evcharge.simulator.world import run
from evcharge.storage import StorageError
from evcharge.storage.location import Location, parse
from tests.support.simulations import number, one_station

SCENARIO = one_station(
    2, 3.0, joins_queue=0.7, books=0.3, more=(1,), faults=Faults(0.5, number(2.0)),
    changes=(Change(1, at=None, add_evses=1),),
)  # fmt: skip


class KeptTests(SynchronousTestCase):
    """Storages of all kinds."""

    def location(self, kind: str) -> Location:
        """A new one."""
        return parse(f"{kind}{Path(self.mktemp()).absolute()}", "")

    def test_same(self) -> None:
        """It is the same run as in memory, and what happened in it can be looked into."""
        plain = run(SCENARIO, 0)
        for kind in ("sqlite:///", "files:"):
            where = self.location(kind)
            self.assertEqual(run(SCENARIO, 0, keep=where), plain)
            storage = where.storage(terms=DEFAULT_TERMS)
            with storage.read_contents(SCENARIO.end) as contents:
                stations = [record.station for record in contents.stations]
                list(contents.users), list(contents.sessions)
                kwh = sum(receipt.body["energy_kwh"] for receipt in contents.receipts)
                paid = sum(payment.amount for payment in contents.payments)
            self.assertEqual([len(station.evses) for station in stations], [3, 1])
            self.assertAlmostEqual(kwh, sum(d.kwh for d in plain.drivers), 3)
            self.assertAlmostEqual(float(paid), sum(d.paid for d in plain.drivers), 2)

    def test_bytes(self) -> None:
        """Each line is the same as well."""
        plain = run(SCENARIO, 0, by_bytes=True)
        kept = run(SCENARIO, 0, by_bytes=True, keep=self.location("sqlite:///"))
        self.assertEqual(kept.digest, plain.digest)

    def test_not_empty(self) -> None:
        """One that has data is refused, and left as it is."""
        a_day = attrs.evolve(SCENARIO, demand=attrs.evolve(SCENARIO.demand, drivers_per_day=3.0))
        for kind in ("sqlite:///", "files:"):
            where = self.location(kind)
            first = run(a_day, 0, keep=where)
            before = self.kept(where)
            error = self.assertRaises(StorageError, run, a_day, 1, keep=where)
            self.assertIn(str(where.path), str(error))
            self.assertIn("not empty", str(error))
            self.assertEqual(self.kept(where), before)
            self.assertTrue(first.drivers)

    def kept(self, where: Location) -> list[str]:
        """The receipts there."""
        with where.storage(terms=DEFAULT_TERMS).read_contents(SCENARIO.end) as contents:
            list(contents.users), list(contents.sessions)
            return [json.dumps(receipt.body, sort_keys=True) for receipt in contents.receipts]
