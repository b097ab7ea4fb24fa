"""Cars, stations and the choice among them: pure functions, and each of their bounds."""

from datetime import timezone
from decimal import Decimal

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.estimates import choose_evse
from evcharge.models.evse import Evse, EvseKind, kind_of_row
from evcharge.models.session import ChargingSession, plan_session
from evcharge.models.slots import KindState, SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.tariffs import energy_total
from evcharge.models.terms import Terms
from evcharge.models.user import User
from evcharge.planning.selection import CRITERIA, rank_stations
from tests.support.journey import CARS, station

FACTS = CARS["Tesla Model 3"]
CAR = ElectricCar.charged_to(CarModel.from_facts(CARS["Small"]), 40)
"""It reaches 100 km, and does 70 km in an hour."""


def session(user_id: str, ends: float) -> ChargingSession:
    return ChargingSession(user_id, 1, ends, "receipt", Decimal(1), 1.0, 0.0)


class CarTests(SynchronousTestCase):
    """What a catalogue may say."""

    def test_figures(self) -> None:
        """Figures may be as small and as large as results stay finite, and no more so."""
        for name in ("battery_capacity", "energy_consumption", "max_speed", "ac_power_kw",
                     "dc_power_kw"):  # fmt: skip
            for figure in (1e-6, 1e6, "1e6", 1):
                model = CarModel.from_facts({**FACTS, name: figure})
                self.assertEqual(model.facts()[name], float(figure))
            for figure in (9.99e-7, 1.0001e6, 0, -1, "", True, float("inf"), float("nan"), []):
                with self.assertRaisesRegex(ValueError, name):
                    CarModel.from_facts({**FACTS, name: figure})

    def test_texts(self) -> None:
        """Brand and model are text."""
        for name in ("brand", "model"):
            for wrong in (5, None, [], True):
                with self.assertRaisesRegex(ValueError, name):
                    CarModel.from_facts({**FACTS, name: wrong})

    def test_round_trip(self) -> None:
        """What was read is written, both limits too, and what is not known is left out."""
        for left_out in ((), ("ac_power_kw",), ("dc_power_kw",), ("ac_power_kw", "dc_power_kw")):
            facts = {name: value for name, value in FACTS.items() if name not in left_out}
            self.assertEqual(CarModel.from_facts(facts).facts(), facts)


class StationTests(SynchronousTestCase):
    """Prices, sessions and states."""

    def test_price(self) -> None:
        """Half a cent is rounded up, and what is a half is exact."""
        for energy, price, amount in (
            (0.125, "1", "0.13"), (1.005, "1", "1.01"), (2.675, "1", "2.68"), (0.5, "0.01", "0.01"),
            (0.124999, "1", "0.12"), (20.0, "1.99", "39.80"), (0.0, "2", "0.00"),
        ):  # fmt: skip
            tariff, _ = station(1, price_kwh=Decimal(price)).prices.tariff(None, {}, 0)
            self.assertEqual(str(energy_total(tariff, energy, 0, 0, timezone.utc)), amount)

    def test_session(self) -> None:
        """A session has the time of its payment, and ends the sooner the faster time goes."""
        place = station(1, power_kw=40.0)
        found = choose_evse(CAR.model, place.evses, 40, 80)
        assert found is not None
        planned = plan_session(User("u", "Ana", CAR, 0), place, *found, {}, "r", 1000, Terms(60))
        self.assertEqual((planned.paid_timestamp, planned.estimated_timestamp), (1000, 1030))
        self.assertEqual((planned.charge_minutes, planned.receipt_id), (30, "r"))
        self.assertEqual((planned.evse_uid, planned.energy_kwh), ("1-1", 20))
        self.assertEqual(planned.assumed, ("connectors", "car_limit", "price"))

    def test_state(self) -> None:
        """A station's state goes by the slots that it has now, and the first of them to free."""
        place = station(1, 3)
        slots = SlotTable(1, 3, {"a": session("a", 300), "b": session("b", 200)}).seated(place)
        self.assertEqual(
            {u: s.evse_uid for u, s in slots.sessions.items()}, {"a": "1-2", "b": "1-1"}
        )
        state = StationState.of(place, slots)
        self.assertEqual((state.max_slots, state.available_slots), (3, 1))
        (kind,) = state.kinds
        self.assertEqual((kind.total, kind.free, kind.next_free_timestamp), (3, 1, 200))
        (kind,) = StationState.of(station(1), SlotTable(1, 1)).kinds
        self.assertIsNone(kind.next_free_timestamp)

    def test_over_full(self) -> None:
        """A station that was lowered under its vehicles shrinks as they leave."""
        place = station(1, 2)
        ends = {name: session(name, end) for name, end in (("a", 300), ("b", 200), ("c", 400))}
        slots = SlotTable(1, 2, ends).seated(place)
        self.assertEqual([s.evse_uid for s in slots.sessions.values()], ["1-2", "1-1", "1-3"])
        for gone, shown, first in (("", (3, 0), 300), ("b", (2, 0), 300), ("a", (2, 1), 400)):
            slots = slots.without(gone)
            state = StationState.of(place, slots)
            self.assertEqual((state.max_slots, state.available_slots), shown, gone)
            self.assertEqual(len(place.free(slots.held)), shown[1])
            self.assertEqual(state.kinds[0].next_free_timestamp, first)

    def test_out_of_service(self) -> None:
        """An EVSE out of service is no slot, but while a vehicle stands there."""
        kind = kind_of_row(("CCS2",), 50.0)
        named = (Evse("A", kind), Evse("B", kind, "OUTOFORDER"), Evse("C", kind, "PLANNED"))
        place = station(1, 3, own_evses=named)
        there = SlotTable(1, 3, {"a": attrs.evolve(session("a", 300), evse_uid="B")})
        for slots, shown, out in ((SlotTable(1, 3), (1, 1), 2), (there, (2, 1), 1)):
            state = StationState.of(place, slots)
            self.assertEqual((state.max_slots, state.available_slots), shown)
            self.assertEqual(state.kinds[0].out_of_service, out)
            self.assertEqual([evse.uid for evse in place.free(slots.held)], ["A"])


class SelectionTests(SynchronousTestCase):
    """Which station is best."""

    def rank(self, *states: tuple[StationState, float], criterion: str = "distance", scale: float
             = 1) -> list:  # fmt: skip
        return rank_stations(CAR, 80, states, criterion, {}, 1000, Terms(scale), 5).candidates

    def state(self, available: int, ends: float | None, number: int = 1) -> StationState:
        place = station(number, 2)
        kinds = (KindState(place.evses[0].kind, 2, available, 0, ends),)
        return StationState(place, 2, available, kinds)

    def test_one_free(self) -> None:
        """Where one slot of two is taken there is nothing to wait for."""
        (found,) = self.rank((self.state(1, 9000), 7))
        self.assertEqual(found.wait_s, 0)

    def test_wait(self) -> None:
        """The wait is from the arrival, in simulated time, and never negative."""
        for ends, scale, wait in (
            (1600, 1, 240), (1360, 1, 0), (1100, 1, 0), (900, 1, 0), (1010, 60, 240), (1001, 60, 0),
        ):  # fmt: skip
            (found,) = self.rank((self.state(0, ends), 7), scale=scale)
            self.assertEqual((found.travel_s, found.wait_s), (360, wait), (ends, scale))

    def test_no_slots(self) -> None:
        """A station without a slot, and without a vehicle that would leave one, is none."""
        for criterion in CRITERIA:
            self.assertEqual(self.rank((self.state(0, None), 1), criterion=criterion), [])

    def test_reach(self) -> None:
        """A station at the very end of the range is not reached."""
        self.assertEqual(self.rank((self.state(1, None), 100)), [])
        self.assertEqual(len(self.rank((self.state(1, None), 99.999))), 1)

    def test_ties(self) -> None:
        """Of equals the nearer is first, then that of the smaller id, whatever their order."""
        for criterion in CRITERIA:
            near = [(self.state(1, None, number), 5) for number in (12, 3, 7)]
            found = self.rank(*near, (self.state(1, None, 1), 6), criterion=criterion)
            ids = [each.state.station.station_id for each in found]
            self.assertEqual(ids, [3, 7, 12, 1], criterion)


class DefaultTests(SynchronousTestCase):
    """What holds where a station says nothing."""

    def test_station(self) -> None:
        """A station without a tariff charges R$ 2.00 per kWh, and its connectors are unknown."""
        plain = Station(5, "P", "R", 0, 0, 1)
        tariff, is_known = plain.prices.tariff(None, {}, 0)
        self.assertEqual(
            (plain.key, str(energy_total(tariff, 1.0, 0, 0, timezone.utc)), is_known),
            ("5", "2.00", False),
        )
        self.assertEqual(plain.evses, (Evse("5-1", EvseKind()),))
