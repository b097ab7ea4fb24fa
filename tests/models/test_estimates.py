"""What a charge is expected to take and to cost: the worked numbers, and by which tariff."""

import json
from decimal import Decimal
from importlib import resources
from zoneinfo import ZoneInfo

from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import CarModel
from evcharge.models.estimates import (
    ChargePlan,
    Prices,
    estimate,
    flat_tariff,
    plan_charge,
)
from evcharge.models.evse import Connector, EvseKind, kind_of_row
from evcharge.models.tariffs import Tariff, parse_tariff

SHIPPED = json.loads(resources.files("evcharge").joinpath("data/car_models.json").read_text())
BAHIA = ZoneInfo("America/Bahia")
NOON = 1_790_000_000.0


def tariff(tariff_id: str, *elements: dict, **more: object) -> Tariff:
    return parse_tariff({"id": tariff_id, "currency": "BRL", "elements": list(elements), **more})


def energy(price: float, **restrictions: object) -> dict:
    parts = [{"type": "ENERGY", "price": price, "step_size": 1}]
    return {"price_components": parts, "restrictions": restrictions or None}


def planned(name: str, kind: EvseKind, start: float, target: float = 80.0) -> ChargePlan:
    found = plan_charge(CarModel.from_facts(SHIPPED[name]), [kind], start, target)
    assert found is not None
    return found[1]


class EstimateTests(SynchronousTestCase):
    """Minutes, energy and price of a planned charge."""

    def test_worked(self) -> None:
        """The worked examples, to the cent."""
        fast = kind_of_row(("CCS2", "CHAdeMO"), 150.0)
        plan = planned("Tesla Model 3", fast, 21.64)
        self.assertAlmostEqual(plan.seconds / 60, 15.439, 3)
        self.assertAlmostEqual(plan.energy_kwh, 29.18)
        price = flat_tariff(Decimal("2.75"))
        self.assertEqual(estimate(price, plan, NOON, BAHIA), Decimal("80.25"))
        plan = planned("Tesla Model 3", kind_of_row(("CCS2",), 120.0), 40)
        two = tariff("two", energy(3, min_power=100), energy(2))
        self.assertEqual(estimate(two, plan, NOON, BAHIA), Decimal("52.04"))

    def test_exact(self) -> None:
        """Money comes from exact quantities: 43.725 is 43.73."""
        plan = planned("Tesla Model 3", kind_of_row(("CCS2",), 150.0), 48.2)
        self.assertEqual(
            estimate(flat_tariff(Decimal("2.75")), plan, NOON, BAHIA), Decimal("43.73")
        )

    def test_nothing_to_charge(self) -> None:
        """A car that is charged already takes no time, no energy and no money."""
        plan = planned("Tesla Model 3", kind_of_row(("CCS2",), 150.0), 90)
        self.assertEqual((plan.seconds, plan.energy_kwh, plan.profile.pieces), (0.0, 0.0, ()))
        for by in (flat_tariff(Decimal(2)), tariff("two", energy(3, min_power=100), energy(2))):
            self.assertEqual(estimate(by, plan, NOON, BAHIA), Decimal("0.00"))

    def test_amperes(self) -> None:
        """Of AC the current is known, of DC it is not."""
        by_current = tariff("amperes", energy(9, min_current=10), energy(1))
        for names, cost in ((("Type 2",), "270.00"), (("CCS2",), "30.00")):
            plan = planned("Renault Zoe", kind_of_row(names, 22.0), 0, 57.6923076923077)
            self.assertEqual(estimate(by_current, plan, NOON, BAHIA), Decimal(cost))

    def test_quickest_kind(self) -> None:
        """Of several kinds of EVSE it is the one of the shortest charge."""
        slow, fast = kind_of_row(("Type 2",), 22.0), kind_of_row(("CCS2",), 150.0)
        for kinds in ([slow, fast], [fast, slow]):
            found = plan_charge(CarModel.from_facts(SHIPPED["Tesla Model 3"]), kinds, 10, 80)
            self.assertIs(found and found[0], fast)
        leaf = CarModel.from_facts(SHIPPED["Nissan Leaf"])
        self.assertIsNone(plan_charge(leaf, [fast], 10, 80))


class ChoiceTests(SynchronousTestCase):
    """By which tariff a session goes."""

    def of(self, prices: Prices, ids: tuple[str, ...] = (), at: float = NOON) -> tuple[str, bool]:
        known = {
            "now": tariff("now", energy(1)),
            "later": tariff("later", energy(1), start_date_time="2030-01-01T00:00:00Z"),
            "over": tariff("over", energy(1), end_date_time="2020-01-01T00:00:00Z"),
        }
        connector = Connector("1", "CCS2", None, tariff_ids=ids)
        found, is_known = prices.tariff(connector, known, at)
        return found.tariff_id, is_known

    def test_order(self) -> None:
        """The connector's first that holds; the station's; its price; the network's."""
        whole = Prices("now", Decimal(3))
        self.assertEqual(
            self.of(Prices("later", Decimal(3)), ("over", "gone", "now")), ("now", True)
        )
        self.assertEqual(self.of(whole, ("later",)), ("now", True))
        self.assertEqual(self.of(whole, ("later",), 1_900_000_000.0), ("later", True))
        self.assertEqual(self.of(Prices("over", Decimal(3))), ("3 BRL/kWh", True))
        self.assertEqual(self.of(Prices()), ("2 BRL/kWh", False))

    def test_bounds(self) -> None:
        """A tariff holds from its start on, and no more at its end."""
        bounded = tariff(
            "t",
            energy(1),
            start_date_time="2030-01-01T00:00:00Z",
            end_date_time="2030-01-01T00:00:10Z",
        )
        begin = 1_893_456_000.0
        found = [bounded.holds_at(begin + s) for s in (-0.001, 0, 9.999, 10)]
        self.assertEqual(found, [False, True, True, False])
