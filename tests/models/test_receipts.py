"""What sessions come to: the worked figures, and that what was estimated is what is billed."""

from decimal import Decimal
from typing import Any

import attrs
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets import parse_car_models
from evcharge.datasets.files import CARS as CAR_FILE
from evcharge.datasets.files import shipped
from evcharge.models.catalogue import Catalogue
from evcharge.models.electric_car import ElectricCar
from evcharge.models.evse import Connector, Evse, kind_of
from evcharge.models.receipts import Payment, Receipt
from evcharge.models.session import ChargingSession
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff, parse_tariff
from evcharge.models.terms import Terms
from evcharge.models.user import User
from evcharge.rules.claims import ARRIVE, PAY, RESERVE, Claim, Wishes
from evcharge.rules.journey import AddUser
from evcharge.rules.leaving import CANCEL_IT, END_JOURNEY, STOP_AND_LEAVE, STOP_IT, Leave
from evcharge.rules.receipts import FindReceipt, ListReceipts
from evcharge.rules.sweep import Sweep
from evcharge.storage import carry_out
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import NOON
from tests.support.drivers_machine import TARIFF
from tests.support.examples import given

MODELS = Catalogue(parse_car_models(shipped(CAR_FILE), CAR_FILE)).models


def tariff(*components: dict[str, Any], **restrictions: Any) -> Tariff:
    """A tariff of one element."""
    element = {"price_components": list(components), "restrictions": restrictions}
    return parse_tariff({"id": "x", "currency": "BRL", "elements": [element]})


class Visit:
    """A driver at a station of one EVSE."""

    def __init__(
        self,
        power_kw: float,
        charged_by: Tariff | None = None,
        price: str = "2.75",
        percent: float = 40.0,
        scale: float = 1.0,
        model: str = "Tesla Model 3",
    ) -> None:
        connector = Connector("1", "CCS2", "IEC_62196_T2_COMBO", power_type="DC")
        place = Station(
            7,
            "Centro",
            "Rua A",
            -12.25,
            -38.95,
            1,
            price_kwh=Decimal(price),
            own_evses=(Evse("7-1", kind_of((connector,), power_kw)),),
            tariff_id=None if charged_by is None else charged_by.tariff_id,
        )
        tariffs = {} if charged_by is None else {charged_by.tariff_id: charged_by}
        self.storage = MemoryStorage({}, [place], tariffs)
        self.terms = Terms(scale)
        self.now = NOON
        car = ElectricCar.charged_to(MODELS[model], percent)
        self.do(AddUser(User("u1", "Ana", car, NOON, driver_id="d1")))

    def do(self, operation: Any) -> Any:
        return carry_out(self.storage, operation)

    def claim(self, intent: str, **wishes: Any) -> ChargingSession:
        claim = Claim("u1", "7", "r1", self.now, self.terms, intent)
        claim.wishes = Wishes(**wishes)
        found = self.do(claim)
        assert isinstance(found, ChargingSession), found
        return found

    def leave(self, how: str) -> Any:
        return self.do(Leave("u1", how, self.now, self.terms))

    def wait(self, minutes: float) -> None:
        self.now += self.terms.real_s(minutes * 60)

    def end(self) -> Receipt:
        """Have the session end by itself."""
        while True:
            due = self.do(Sweep(self.now, 0, self.terms)).next_due
            if due is None:
                break
            self.now = due
        return self.receipt()

    def receipt(self) -> Receipt:
        found = self.do(FindReceipt("r1"))
        assert isinstance(found, Receipt), found
        paid = sum((p.amount for p in self.payments()), Decimal(0))
        assert paid == found.total, (paid, found)
        return found

    def payments(self) -> list[Payment]:
        return self.storage.payments


class MoneyTests(SynchronousTestCase):
    """The worked figures."""

    def test_stopped(self) -> None:
        """Five minutes at 120 kW and 2.75 a kWh are 9.958428 kWh, and cost 27.39."""
        visit = Visit(120.0)
        visit.claim(ARRIVE)
        visit.wait(5)
        receipt = visit.leave(STOP_AND_LEAVE)
        self.assertEqual(str(receipt.total), "27.39")
        body = receipt.body
        self.assertEqual((body["energy_kwh"], body["charge_minutes"]), (9.958428, 5.0))
        self.assertAlmostEqual(body["end_percent"], 59.917, 3)
        self.assertEqual((body["state"], body["end_reason"]), ("COMPLETED", "stopped"))
        self.assertEqual(
            body["lines"],
            [
                {
                    "dimension": "ENERGY",
                    "quantity": 9.958428,
                    "unit": "kWh",
                    "price": 2.75,
                    "vat": None,
                    "step_size": 1,
                    "excl_vat": 27.3857,
                    "incl_vat": 27.3857,
                }
            ],
        )
        self.assertEqual(
            [(p.receipt_id, str(p.amount)) for p in visit.payments()], [("r1", "27.39")]
        )

    def test_by_power(self) -> None:
        """12.0408 kWh at 100 kW and over, 7.9592 under it: 52.04."""
        by_power = parse_tariff(
            {
                "id": "potencia",
                "currency": "BRL",
                "elements": [
                    {
                        "price_components": [{"type": "ENERGY", "price": 3, "step_size": 1}],
                        "restrictions": {"min_power": 100},
                    },
                    {"price_components": [{"type": "ENERGY", "price": 2, "step_size": 1}]},
                ],
            }
        )
        visit = Visit(120.0, by_power)
        self.assertEqual(str(visit.claim(PAY).amount), "52.04")
        self.assertEqual(str(visit.end().total), "52.04")

    def test_idle(self) -> None:
        """21 minutes at 1.00 an hour, 16 idle ones at 2.00, in steps of 10: 1.02."""
        hours = tariff(
            {"type": "TIME", "price": 1, "step_size": 600},
            {"type": "PARKING_TIME", "price": 2, "step_size": 600},
        )
        visit = Visit(50.0, hours)
        visit.claim(ARRIVE)
        visit.wait(21)
        visit.leave(STOP_IT)
        visit.wait(16)
        live = visit.do(FindReceipt("r1"))
        self.assertIsInstance(live[0], ChargingSession)
        body = visit.leave(STOP_AND_LEAVE).body
        self.assertEqual((body["charge_minutes"], body["idle_minutes"]), (21.0, 16.0))
        self.assertEqual((body["total"], body["charged_until"]), (1.02, "2025-04-07T14:06:12.678Z"))

    def test_refund(self) -> None:
        """Who has paid ahead and leaves early has the rest back, by an entry of its own."""
        visit = Visit(120.0)
        amount = visit.claim(PAY).amount
        self.assertEqual(str(amount), "55.00")
        visit.wait(5)
        self.assertIsNone(visit.leave(END_JOURNEY))
        receipt = visit.receipt()
        self.assertEqual((str(receipt.total), receipt.body["paid"]), ("27.39", 55.0))
        self.assertEqual(receipt.body["end_reason"], "journey_ended")
        first, second = visit.payments()
        self.assertEqual((first.receipt_id, first.refund_of), ("r1", None))
        self.assertEqual((str(second.amount), second.refund_of), ("-27.61", "r1"))
        self.assertNotEqual(second.receipt_id, "r1")
        self.assertEqual(visit.do(ListReceipts("d1", 5)), [receipt])

    def test_reservation(self) -> None:
        """A reservation costs its time to whoever gives it up, and a fee to who stays away."""
        for wait, how, state, total in (
            (10, CANCEL_IT, "CANCELLED", "1.00"),
            (10, END_JOURNEY, "CANCELLED", "1.00"),
            (15, None, "NO_SHOW", "6.50"),
        ):
            visit = Visit(50.0, TARIFF)
            visit.claim(RESERVE)
            visit.wait(wait)
            if how is None:
                visit.end()
            else:
                visit.leave(how)
            receipt = visit.receipt()
            self.assertEqual((receipt.body["state"], str(receipt.total)), (state, total))
            self.assertEqual(receipt.body["reservation_minutes"], float(wait))
            self.assertEqual(receipt.body["energy_kwh"], 0.0)


class EstimateTests(SynchronousTestCase):
    """What was estimated is what is billed, where that is what happened."""

    @given(
        st.sampled_from(sorted(MODELS)),
        st.floats(0, 100),
        st.floats(1, 100),
        st.sampled_from([22.0, 50.0, 150.0]),
        st.sampled_from([1.0, 60.0, 7.3]),
        st.sampled_from([None, TARIFF]),
        st.floats(0, 120),
    )
    def test_same(
        self,
        model: str,
        percent: float,
        target: float,
        power_kw: float,
        scale: float,
        charged_by: Tariff | None,
        away: float,
    ) -> None:
        """By PAYMENT, and by RESERVE and ARRIVE at the minute that was announced."""
        if "CCS2" not in (MODELS[model].dc_connectors or ()):
            return
        visit = Visit(power_kw, charged_by, percent=percent, scale=scale, model=model)
        amount = visit.claim(PAY, target_percent=target).amount
        receipt = visit.end()
        self.assertEqual(receipt.total, amount)
        self.assertEqual(len(visit.payments()), 1)
        self.assertLessEqual(receipt.body["end_percent"], max(percent, target) + 1e-6)
        for ends in (True, False):
            visit = Visit(power_kw, charged_by, percent=percent, scale=scale, model=model)
            reserved = visit.claim(RESERVE, target_percent=target, arrival_minutes=away)
            visit.wait(away)
            session = visit.claim(ARRIVE, leaves_when_done=ends)
            self.assertEqual(session.amount, reserved.amount)
            self.assertEqual(session.receipt_id, reserved.receipt_id)
            if ends:
                self.assertEqual(visit.end().total, reserved.amount)
            else:
                visit.now = session.estimated_timestamp
                self.assertEqual(visit.leave(STOP_AND_LEAVE).total, reserved.amount)

    def test_unknown(self) -> None:
        """Where it is not known what was charged, as of earlier records, the amount is paid."""
        visit = Visit(50.0)
        claim = Claim("u1", "7", "r1", NOON, visit.terms)
        claim.plan = lambda *_: attrs.evolve(
            ChargingSession("u1", 7, NOON + 60, "r1", Decimal("12.30"), 1.0, NOON), evse_uid="7-1"
        )
        visit.do(claim)
        receipt = visit.end()
        self.assertEqual((str(receipt.total), receipt.body["energy_kwh"]), ("12.30", None))
        self.assertEqual(receipt.body["lines"], [])
