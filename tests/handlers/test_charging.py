"""What a driver is told of a charge: EVSEs, minutes, energy, prices, and what is not known."""

from decimal import Decimal
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.evse import Connector, Evse, EvseKind
from evcharge.models.station import Station
from evcharge.models.tariffs import parse_tariff
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import NOON, MemoryServer, shipped_network
from evcharge.utils.time_utils import iso_utc
from tests.support import journey
from tests.support.journey import CARS, login, outcome, select, server, station

CCS = Connector("1", "CCS2", "IEC_62196_T2_COMBO", "CABLE", "DC")
CHADEMO = Connector("2", "CHAdeMO", "CHADEMO", "CABLE", "DC", 50.0)
TYPE_2 = Connector("1", "Type 2", "IEC_62196_T2", "SOCKET", "AC_3_PHASE", 22.0)
DC_50, DC_150, AC_22 = EvseKind((CCS,), 50.0), EvseKind((CCS,), 150.0), EvseKind((TYPE_2,), 22.0)
NIGHT = {
    "id": "noite",
    "currency": "BRL",
    "elements": [
        {
            "price_components": [{"type": "ENERGY", "price": 1.0, "step_size": 1}],
            "restrictions": {"start_time": "22:00", "end_time": "06:00"},
        },
        {"price_components": [{"type": "ENERGY", "price": 3.0, "step_size": 1}]},
    ],
}
SHIPPED = shipped_network().catalogue().car_models
ALL_CARS = {
    **SHIPPED,
    "Small": CARS["Small"],
    "DC only": {**SHIPPED["BMW i3"], "ac_connectors": []},
    "No limit": {**CARS["Small"], "dc_connectors": ["CCS2"]},
}


def posts(number: int, *evses: Evse, **facts: Any) -> Station:
    """A station whose EVSEs are named."""
    return attrs.evolve(station(number, len(evses), **facts), own_evses=evses)


def network(*stations: Station, tariffs: tuple[dict, ...] = (), **options: Any) -> MemoryServer:
    """A server with the shipped catalogue, some cars besides, and these stations."""
    parsed = [attrs.evolve(parse_tariff(body), body=body) for body in tariffs]
    known = {tariff.tariff_id: tariff for tariff in parsed}
    return MemoryServer(journey.make_storage(ALL_CARS, stations, known), **options)


def pay(to: MemoryServer, user: str, at: object = 1, **more: object) -> dict:
    return to.request("PAYMENT", user_id=user, id_station=at, confirmation=True, **more)


class WorkedTests(SynchronousTestCase):
    """What the shipped cars take at the shipped stations."""

    def test_minutes(self) -> None:
        """It is as it was worked out by hand, in SELECTION_STATION and in PAYMENT."""
        for car, battery, target, at, minutes, connector in (
            ("Tesla Model 3", 40, 80, "9", 24.000, "CCS2"),
            ("Tesla Model 3", 40, 80, "3", 20.000, "CCS2"),
            ("Tesla Model 3", 40, 80, "30", 12.242, "CCS2"),
            ("Tesla Model 3", 40, 80, "1", 11.540, "CCS2"),
            ("Tesla Model 3 Long Range", 10, 80, "1", 25.939, "CCS2"),
            ("Tesla Model 3 Long Range", 10, 80, "9", 62.160, "CCS2"),
            ("Nissan Leaf", 10, 80, "9", 40.008, "CHAdeMO"),
            ("Nissan Leaf", 10, 80, "1", 40.008, "CHAdeMO"),
            ("Hyundai Kona Electric", 20, 80, "3", 43.492, "CCS2"),
            ("BYD Dolphin", 10, 80, "9", 36.961, "CCS2"),
            ("Porsche Taycan 4S", 10, 80, "1", 19.880, "CCS2"),
            ("Nissan Leaf", 20, 80, "7", 373.091, "Type 2"),
            ("Nissan Leaf", 20, 80, "2", 207.273, "Type 2"),
            ("Renault Zoe", 20, 80, "7", 170.182, "Type 2"),
            ("Renault Zoe", 20, 80, "2", 85.091, "Type 2"),
            ("Chevrolet Bolt EV", 20, 80, "7", 290.000, "Type 2"),
        ):
            to = MemoryServer()
            user = login(to, battery, car, target_percent=target)
            for data in (select(to, user, {at: 0}), pay(to, user, at)["data"]):
                case = (car, battery, at)
                self.assertAlmostEqual(data["charge_minutes"], minutes, 3, case)
                self.assertEqual((data["id_station"], data["connector"]), (at, connector), case)

    def test_unknown(self) -> None:
        """A car and a post of which nothing is known go by 50 kW."""
        facts = {"battery_capacity": 40, "energy_consumption": 0.2, "max_speed": 100}
        to = MemoryServer(MemoryStorage({"A": {"brand": "", "model": "A", **facts}}, [station(1)]))
        user = login(to, 75, "A")
        for data in (select(to, user, {"1": 0}), pay(to, user)["data"]):
            self.assertAlmostEqual(data["charge_minutes"], 2.4)
            self.assertEqual(data["assumed"], ["connectors", "car_limit", "station_power", "price"])

    def test_arrival(self) -> None:
        """The drive is charged as well, in what SELECTION_STATION says of each station."""
        to = MemoryServer()
        user = login(to, 40, "Tesla Model 3")
        near = select(to, user, {"1": 60, "9": 60, "8": 0})
        far, farther = sorted(near["alternatives"], key=lambda each: each["id_station"])
        for data, minutes, price in ((far, 15.439, 80.25), (farther, 35.016, 56.90)):
            self.assertAlmostEqual(data["charge_minutes"], minutes, 3)
            self.assertEqual(data["price_loading"], price)
            self.assertEqual((data["arrival_percent"], data["energy_kwh"]), (21.64, 29.18))
        self.assertEqual((near["id_station"], near["arrival_percent"]), ("8", 40))
        self.assertEqual((near["energy_kwh"], near["target_percent"]), (20, 80))
        # Who does not say how it arrives is billed for the battery of the login.
        for more, start, energy, amount in (
            ({}, 40, 20, 55.00),
            ({"arrival_percent": far["arrival_percent"]}, 21.64, 29.18, 80.25),
            ({"arrival_percent": 0, "target_percent": "50"}, 0, 25, 68.75),
        ):
            paid = pay(to, login(to, 40, "Tesla Model 3"), 1, **more)["data"]
            self.assertEqual((paid["start_percent"], paid["energy_kwh"]), (start, energy))
            self.assertEqual(paid["amount"], amount)

    def test_exact_money(self) -> None:
        """Money is made of exact quantities: 15.9 kWh at 2.75 are 43.725: 43.73."""
        to = MemoryServer()
        user = login(to, 48.2, "Tesla Model 3")
        self.assertEqual(select(to, user, {"1": 0})["price_loading"], 43.73)
        self.assertEqual(pay(to, user, 1)["data"]["amount"], 43.73)

    def test_powers(self) -> None:
        """The powers are what this car gets there, not what the post says."""
        to = MemoryServer()
        for car, at, highest, average in (
            ("Tesla Model 3", "30", 120.0, 20 / 12.242 * 60),
            ("Nissan Leaf", "7", 3.666667, 3.666667),
            ("Nissan Leaf", "2", 6.6, 6.6),
        ):
            data = select(to, login(to, 40, car), {at: 0})
            self.assertEqual(data["power_kw"], highest)
            self.assertAlmostEqual(data["average_power_kw"], average, 2)
            self.assertEqual(pay(to, login(to, 40, car), at)["data"]["power_kw"], highest)


class TargetTests(SynchronousTestCase):
    """To which state of charge a car is charged."""

    def test_login(self) -> None:
        """LOGIN sets it, 80 % where it says nothing; the other messages may say another."""
        to = server(station(1, 9, power_kw=40.0))
        data = {"user_name": "Ana", "selected_car": "Small", "battery_car": 40}
        self.assertEqual(to.request("LOGIN", **data)["data"]["target_percent"], 80)
        reply = to.request("LOGIN", **data, target_percent="60.5")["data"]
        self.assertEqual(reply["target_percent"], 60.5)
        user = reply["user_id"]
        for more, target in (({}, 60.5), ({"target_percent": 100}, 100), ({}, 60.5)):
            found = select(to, user, {"1": 0}, **more)
            self.assertEqual(found["target_percent"], target)
            self.assertAlmostEqual(found["energy_kwh"], (target - 40) / 2)
        for more, target in (({"target_percent": 90}, 90), ({}, 90)):
            paid = pay(to, user, **more)["data"]
            self.assertEqual((paid["target_percent"], paid["energy_kwh"]), (target, 25))

    def test_reached(self) -> None:
        """Where it is reached already nothing is charged, and there is no power to speak of."""
        to = server(station(1))
        user = login(to, 90)
        for data in (select(to, user, {"1": 0}), pay(to, user)["data"]):
            self.assertEqual((data["energy_kwh"], data["charge_minutes"]), (0, 0))
            self.assertIsNone(data["power_kw"])
            self.assertIsNone(data.get("average_power_kw"))
            self.assertEqual(data.get("price_loading", data.get("amount")), 0)

    def test_bounds(self) -> None:
        """What is no such percentage is refused by name; the bounds themselves are allowed."""
        to = server(station(1, 99))
        login_data = {"user_name": "Ana", "selected_car": "Small", "battery_car": 40}
        for kind, data, field, least, most in (
            ("LOGIN", login_data, "target_percent", 1e-9, 100),
            ("SELECTION_STATION", {"list_stations": {}}, "target_percent", 1e-9, 100),
            ("PAYMENT", {"id_station": 1, "confirmation": True}, "target_percent", 1e-9, 100),
            ("PAYMENT", {"id_station": 1, "confirmation": True}, "arrival_percent", 0, 100),
            ("NAVIGATION", {"route_distance": 1}, "reserve_percent", 0, 50),
        ):
            below = 0 if least else -0.1
            for value, code in (
                (least, 200), (str(most), 200), (below, 400), (most + 0.1, 400), (None, 400),
                ("x", 400), (True, 400), ([], 400),
            ):  # fmt: skip
                user = {} if kind == "LOGIN" else {"user_id": login(to)}
                reply = to.request(kind, **user, **data, **{field: value})
                self.assertEqual(outcome(reply)[0], code, (kind, field, value))
                if code == 400:
                    self.assertEqual(reply["data"]["reason"], "invalid_field")
                    self.assertIn(field, reply["data"]["message"])


class ReserveTests(SynchronousTestCase):
    """NAVIGATION, with and without a reserve."""

    def ask(self, distance: float, **more: object) -> tuple:
        to = server()
        data = to.request("NAVIGATION", user_id=login(to, 40), route_distance=distance, **more)[
            "data"
        ]
        return tuple(data[name] for name in ("can_complete", "arrival_percent", "margin_km"))

    def test_reserve(self) -> None:
        """What is left at the end, and how far that is from the reserve; 100 km are 40 %."""
        for distance, reserve, told in (
            (60, {}, (True, 16, 40)),
            (60, {"reserve_percent": 0}, (True, 16, 40)),
            (60, {"reserve_percent": 10}, (True, 16, 15)),
            (60, {"reserve_percent": "16"}, (False, 16, 0)),
            (60, {"reserve_percent": 20}, (False, 16, -10)),
            (60, {"reserve_percent": 50}, (False, 16, -85)),
            (100, {}, (False, None, 0)),
            (130.5, {}, (False, None, -30.5)),
            (130.5, {"reserve_percent": 10}, (False, None, -55.5)),
        ):
            self.assertEqual(self.ask(distance, **reserve), told, (distance, reserve))


class EvseTests(SynchronousTestCase):
    """Which EVSE a car is given, and where none fits."""

    def test_given(self) -> None:
        """No driver is slowed, and what is best for the next is left."""
        for car, given in (
            ("BMW i3", "7-1"),
            ("Hyundai Kona Electric", "7-2"),
            ("Nissan Leaf", "7-4"),
            ("BYD King", "7-3"),
        ):
            to = network(
                posts(
                    7,
                    Evse("7-2", DC_150),
                    Evse("7-10", DC_50),
                    Evse("7-1", DC_50),
                    Evse("7-3", AC_22),
                    Evse("7-4", EvseKind((CCS, CHADEMO), 150.0)),
                )
            )
            paid = pay(to, login(to, 20, car), 7)["data"]
            self.assertEqual((paid["id_evse"], paid["state"]), (given, "CHARGING"), car)

    def test_natural_order(self) -> None:
        """Of EVSEs that are alike the smallest uid is taken, 7-2 before 7-10."""
        to = network(posts(7, *(Evse(f"7-{n}", DC_50) for n in (10, 2, 1))))
        taken = [pay(to, login(to, 20, "BMW i3"), 7)["data"]["id_evse"] for _ in range(3)]
        self.assertEqual(taken, ["7-1", "7-2", "7-10"])

    def test_same_again(self) -> None:
        """PAYMENT asked again says the same of the EVSE, however the car would now arrive."""
        to = network(posts(7, Evse("7-1", AC_22), Evse("7-2", DC_50)))
        user = login(to, 20, "BMW i3")
        first = pay(to, user, 7, arrival_percent=10)["data"]
        self.assertEqual((first["id_evse"], first["connector"]), ("7-2", "CCS2"))
        to.advance(60)
        self.assertEqual(pay(to, user, "7", arrival_percent=70, target_percent=75)["data"], first)

    def test_no_connector(self) -> None:
        """A station where nothing fits is not suggested, nor taken; a full one still is full."""
        for language, message in (
            ("pt", "Nenhum conector do posto 8 serve no carro"),
            ("en", "No connector of station 8 fits the car"),
        ):
            to = network(
                posts(8, Evse("8-1", DC_150)), posts(9, Evse("9-1", AC_22)), language=language
            )
            user = login(to, 50, "BYD King")
            found = select(to, user, {"8": 0, "9": 1})
            self.assertEqual((found["id_station"], found["alternatives"]), ("9", []))
            self.assertEqual(found["excluded"]["no_connector"], 1)
            reply = pay(to, user, 8)
            self.assertEqual(outcome(reply), (409, "no_compatible_connector"))
            self.assertEqual(reply["data"]["message"], message)
            self.assertEqual(
                (reply["data"]["confirmation"], reply["data"]["id_station"]), (False, "8")
            )
            self.assertEqual(outcome(pay(to, user, 9)), (200, None))
            self.assertEqual(outcome(pay(to, login(to, 50, "BYD King"), 9)), (200, "no_slot"))
            self.assertEqual(
                outcome(pay(to, login(to, 50, "BYD King"), 7)), (404, "station_not_found")
            )

    def test_fitting_full(self) -> None:
        """Where all that fits is taken the station is full for this car, whatever else is free."""
        to = network(posts(7, Evse("7-1", DC_50), Evse("7-2", AC_22)))
        end = pay(to, login(to, 20, "BMW i3"), 7)["data"]["charge_minutes"]
        facts = to.request("START")["data"]["station_models"]["7"]
        self.assertEqual((facts["max_slots"], facts["available_slots"]), (2, 1))
        user = login(to, 20, "DC only")
        self.assertEqual(outcome(pay(to, user, 7)), (200, "no_slot"))
        found = select(to, user, {"7": 0})
        self.assertEqual((found["fitting_slots"], found["connector"]), (0, "CCS2"))
        self.assertAlmostEqual(found["wait_minutes"], end, 5)
        found = select(to, login(to, 20, "BMW i3"), {"7": 0})
        self.assertEqual((found["fitting_slots"], found["connector"]), (1, "Type 2"))
        self.assertEqual(found["wait_minutes"], 0)


class WhyTests(SynchronousTestCase):
    """Why a driver is not sent somewhere."""

    def test_excluded(self) -> None:
        """The stations that were looked at and left out are counted, by why."""
        broken = Evse("4-1", DC_50, status="OUTOFORDER")
        to = network(
            posts(1, Evse("1-1", DC_50)),
            posts(2, Evse("2-1", AC_22)),
            posts(3, Evse("3-1", EvseKind((CHADEMO,)))),
            posts(4, broken),
            station(5),
            station(6),
        )
        user = login(to, 50, "BMW i3")
        found = select(to, user, {"1": 1, "2": 1, "3": 1, "4": 1, "5": 1000, "6": 900})
        self.assertEqual(
            found["excluded"], {"out_of_range": 2, "no_connector": 1, "not_in_service": 1}
        )
        self.assertNotIn("nearest_out_of_range", found)
        nothing = {"out_of_range": 0, "no_connector": 0, "not_in_service": 0}
        self.assertEqual(select(to, user, {"1": 1})["excluded"], nothing)
        self.assertEqual(select(to, user, {})["excluded"], nothing)

    def test_nearest(self) -> None:
        """Where none is within range, the nearest is named, and how much is missing."""
        to = server(station(1), station(2), station(3))
        user = login(to, 40)
        found = select(to, user, {"1": 130, "3": 112.5, "2": 112.5})
        self.assertEqual(
            found["nearest_out_of_range"],
            {"id_station": "2", "distance_km": 112.5, "missing_km": 12.5},
        )
        self.assertEqual(found["excluded"]["out_of_range"], 3)
        place = {"latitude": -12.25, "longitude": -37.0}
        found = to.request("SELECTION_STATION", user_id=user, position=place)["data"]
        self.assertEqual(found["nearest_out_of_range"]["id_station"], "3")
        self.assertNotIn("nearest_out_of_range", select(to, user, {}))
        self.assertNotIn("nearest_out_of_range", select(to, user, {"1": 1, "2": 130}))

    def test_null(self) -> None:
        """Where there is no station, no figure is one of it."""
        to = server(station(1))
        for user in (login(to), "nobody"):
            data = select(to, user, {})
            for name in (
                "arrival_percent", "target_percent", "energy_kwh", "power_kw", "average_power_kw",
                "connector", "fitting_slots", "distance_km",
            ):  # fmt: skip
                self.assertIsNone(data[name], name)
            self.assertEqual((data["assumed"], data["alternatives"]), ([], []))

    def test_assumed(self) -> None:
        """What was not known is named, in SELECTION_STATION and in PAYMENT; else nothing is."""
        priced = {"price_kwh": Decimal("2")}
        for car, place, assumed in (
            ("BMW i3", posts(1, Evse("1-1", DC_50), **priced), []),
            ("BMW i3", posts(1, Evse("1-1", DC_50)), ["price"]),
            ("BYD Dolphin", posts(1, Evse("1-1", DC_50), **priced), ["car_curve"]),
            ("BYD Han", posts(1, Evse("1-1", AC_22), **priced), ["car_phases"]),
            ("BMW i3", station(1, power_kw=50.0, **priced), ["connectors"]),
            ("BMW i3", posts(1, Evse("1-1", EvseKind((CCS,))), **priced), []),
            ("No limit", posts(1, Evse("1-1", DC_50), **priced), ["car_limit"]),
            ("No limit", posts(1, Evse("1-1", EvseKind((CCS,))), **priced),
             ["car_limit", "station_power"]),
            ("Small", posts(1, Evse("1-1", DC_50), **priced), ["connectors", "car_limit"]),
        ):  # fmt: skip
            to = network(place)
            user = login(to, 40, car)
            found = select(to, user, {"1": 1})
            self.assertEqual(found["assumed"], assumed, (car, place))
            self.assertEqual(pay(to, user)["data"]["assumed"], assumed)


class PriceTests(SynchronousTestCase):
    """What a charge costs, and by which tariff."""

    def test_unknown(self) -> None:
        """A station of which no price is known charges 2.00 a kWh, and says that it is assumed."""
        to = server(
            station(1), station(2, price_kwh=Decimal("2.00")), station(3, price_kwh=Decimal("0"))
        )
        facts = to.request("START")["data"]["station_models"]
        told = {key: (each["price_kwh"], each["price_known"]) for key, each in facts.items()}
        self.assertEqual(told, {"1": (2.0, False), "2": (2.0, True), "3": (0.0, True)})
        user = login(to)
        for at, price, is_assumed in (("1", 40, True), ("2", 40, False), ("3", 0, False)):
            found = select(to, user, {at: 0})
            self.assertEqual(found["price_loading"], price)
            self.assertEqual("price" in found["assumed"], is_assumed)

    def test_at_arrival(self) -> None:
        """The price is that of the hours in which the car would charge there."""
        place = attrs.evolve(posts(1, Evse("1-1", AC_22)), tariff_id="noite")
        # 10:45:12 local time; 60 km take 37 minutes.
        to = network(place, tariffs=(NIGHT,))
        user = login(to, 50, "Renault Zoe")
        day = select(to, user, {"1": 0}, target_percent=60)
        self.assertEqual((day["price_loading"], day["assumed"]), (15.6, []))
        to = network(place, tariffs=(NIGHT,), now=NOON + 11 * 3600 + 600)
        user = login(to, 50, "Renault Zoe")
        shown = to.request("START")["data"]["station_models"]["1"]
        self.assertEqual((shown["price_kwh"], shown["tariff"]), (3.0, "noite"))
        near, far = (select(to, user, {"1": km}, target_percent=60) for km in (0, 60))
        # Of 14 minutes nearly 5 are before 22:00, and after the drive none is.
        self.assertTrue(5.2 < near["price_loading"] < 15.6, near)
        self.assertAlmostEqual(far["price_loading"], far["energy_kwh"], 2)
        to.advance(900)
        shown = to.request("START")["data"]["station_models"]["1"]
        self.assertEqual(shown["price_kwh"], 1.0)
        self.assertEqual(pay(to, user, target_percent=60)["data"]["amount"], 5.2)

    def test_wait(self) -> None:
        """It is the price after the wait, where there is one, however fast time goes."""
        for scale in (1.0, 60.0):
            place = attrs.evolve(posts(1, Evse("1-1", AC_22)), tariff_id="noite")
            # From 21:30 on; the other one charges for an hour and a half.
            now = NOON + 11 * 3600 - 912
            to = network(place, tariffs=(NIGHT,), time_scale=scale, now=now)
            pay(to, login(to, 0, "Renault Zoe"), target_percent=63)
            found = select(to, login(to, 50, "Renault Zoe"), {"1": 0}, target_percent=60)
            self.assertGreater(found["wait_minutes"], 80)
            self.assertEqual(found["price_loading"], 5.2 if scale == 1 else 15.6)

    def test_which(self) -> None:
        """The connector's tariff counts, then the station's, then its price; those that hold."""
        old = {**NIGHT, "id": "velha", "end_date_time": "2020-01-01T00:00:00Z"}
        flat = {"id": "plana", "currency": "BRL", "elements": [NIGHT["elements"][1]]}
        with_old = EvseKind((attrs.evolve(CCS, tariff_ids=("velha",)),), 50.0)
        with_flat = EvseKind((attrs.evolve(CCS, tariff_ids=("velha", "plana")),), 50.0)
        price = {"price_kwh": Decimal("1.50")}
        for kind, tariff_id, facts, shown in (
            (with_flat, "noite", price, ("plana", 3.0, True)),
            (with_old, "noite", price, ("noite", 3.0, True)),
            (with_old, "velha", price, (None, 1.5, True)),
            (with_old, None, {}, (None, 2.0, False)),
            (DC_50, None, price, (None, 1.5, True)),
        ):
            place = attrs.evolve(posts(1, Evse("1-1", kind), **facts), tariff_id=tariff_id)
            to = network(place, tariffs=(NIGHT, old, flat))
            told = to.request("START")["data"]["station_models"]["1"]
            self.assertEqual((told["tariff"], told["price_kwh"], told["price_known"]), shown)
            found = select(to, login(to, 50, "BMW i3"), {"1": 0})
            self.assertEqual(found["price_loading"], round(11.37 * shown[1] + 1e-9, 2))
            self.assertEqual("price" in found["assumed"], not shown[2])

    def test_by_power(self) -> None:
        """A price that goes by the power is cut where the power crosses it: 52.04, not 53 or so."""
        by_power = {
            "id": "p",
            "currency": "BRL",
            "elements": [
                {
                    "price_components": [{"type": "ENERGY", "price": 2.00, "step_size": 1}],
                    "restrictions": {"max_power": 100.0},
                },
                {"price_components": [{"type": "ENERGY", "price": 3.00, "step_size": 1}]},
            ],
        }
        place = posts(1, Evse("1-1", EvseKind((CCS,), 120.0)))
        to = network(attrs.evolve(place, tariff_id="p"), tariffs=(by_power,))
        user = login(to, 40, "Tesla Model 3")
        found = select(to, user, {"1": 0})
        self.assertEqual((found["price_loading"], found["assumed"]), (52.04, []))
        self.assertEqual(pay(to, user)["data"]["amount"], 52.04)

    def test_no_energy_price(self) -> None:
        """A kWh that has no price by the tariff has none in START: null, not 0."""
        by_hour = {
            "id": "hora",
            "currency": "BRL",
            "elements": [{"price_components": [{"type": "TIME", "price": 6, "step_size": 1}]}],
        }
        to = network(
            attrs.evolve(posts(1, Evse("1-1", AC_22)), tariff_id="hora"), tariffs=(by_hour,)
        )
        told = to.request("START")["data"]["station_models"]["1"]
        self.assertEqual((told["price_kwh"], told["price_known"]), (None, True))
        found = select(to, login(to, 20, "Renault Zoe"), {"1": 0})
        self.assertAlmostEqual(found["charge_minutes"], 85.091, 3)
        self.assertEqual(found["price_loading"], 8.51)


class EvseListTests(SynchronousTestCase):
    """What START says of EVSEs and tariffs."""

    def test_groups(self) -> None:
        """EVSEs that look alike are counted together; the slots are those in service, or held."""
        other_id = EvseKind((attrs.evolve(CCS, connector_id="9", tariff_ids=("noite",)),), 50.0)
        to = network(
            posts(
                7,
                Evse("7-1", DC_50),
                Evse("7-2", other_id),
                Evse("7-3", AC_22, "OUTOFORDER"),
                Evse("7-4", EvseKind((CCS, CHADEMO), 150.0)),
            ),
            tariffs=(NIGHT,),
        )
        pay(to, login(to, 20, "BMW i3"), 7)
        told = to.request("START")["data"]["station_models"]["7"]
        self.assertEqual((told["max_slots"], told["available_slots"]), (3, 2))
        self.assertEqual(
            (told["power_kw"], told["connectors"]), (150, ["CCS2", "Type 2", "CHAdeMO"])
        )
        ccs = {"standard": "IEC_62196_T2_COMBO", "name": "CCS2", "power_type": "DC"}
        self.assertEqual(
            told["evse_groups"],
            [
                {"connectors": [{**ccs, "power_kw": 50.0}],
                 "total": 2, "available": 1, "out_of_service": 0},
                {"connectors": [{"standard": "IEC_62196_T2", "name": "Type 2",
                                 "power_type": "AC_3_PHASE", "power_kw": 22.0}],
                 "total": 1, "available": 0, "out_of_service": 1},
                {"connectors": [{**ccs, "power_kw": 150.0},
                                {"standard": "CHADEMO", "name": "CHAdeMO", "power_type": "DC",
                                 "power_kw": 50.0}],
                 "total": 1, "available": 1, "out_of_service": 0},
            ],
        )  # fmt: skip

    def test_rows(self) -> None:
        """A station of which only a row is known has one EVSE for each slot; unknown is null."""
        to = server(
            station(1, 2, connectors=("CCS2", "Tipo 2", "Foo"), power_kw=60.0), station(2, 3)
        )
        one, two = to.request("START")["data"]["station_models"].values()
        (group,) = one["evse_groups"]
        self.assertEqual((group["total"], group["available"]), (2, 2))
        self.assertEqual(
            [(c["name"], c["standard"], c["power_kw"]) for c in group["connectors"]],
            [("CCS2", "IEC_62196_T2_COMBO", 60), ("Type 2", "IEC_62196_T2", 22), ("Foo", None, 60)],
        )
        self.assertEqual(
            two["evse_groups"],
            [{"connectors": [], "total": 3, "available": 3, "out_of_service": 0}],
        )
        self.assertEqual((two["power_kw"], two["connectors"]), (None, []))

    def test_all_broken(self) -> None:
        """A station whose EVSEs are all out of service is listed without slots; none goes there."""
        to = network(posts(7, Evse("7-1", DC_50, "INOPERATIVE")))
        told = to.request("START")["data"]["station_models"]["7"]
        self.assertEqual((told["max_slots"], told["available_slots"]), (0, 0))
        user = login(to, 20, "BMW i3")
        self.assertEqual(outcome(pay(to, user, 7)), (200, "no_slot"))
        self.assertIsNone(select(to, user, {"7": 1})["id_station"])

    def test_named(self) -> None:
        """Of stations that are named START says each EVSE, and the tariffs that they have."""
        since = "2026-11-25T12:00:00Z"
        kind = EvseKind((attrs.evolve(CCS, tariff_ids=("noite",)),), 50.0)
        to = network(
            posts(1, Evse("1-1", kind), Evse("1-2", AC_22, "OUTOFORDER", since, "cable")),
            posts(2, Evse("2-1", DC_50)),
            posts(3, Evse("3-1", DC_50)),
            tariffs=(NIGHT, {**NIGHT, "id": "outra"}),
        )
        pay(to, login(to, 20, "BMW i3"), 1)
        data = to.request("START", stations=[1, "2", "99", "x", 2, 10**30])["data"]
        self.assertEqual(list(data["station_models"]), ["1", "2"])
        self.assertEqual(data["tariffs"], {"noite": NIGHT})
        evses = data["station_models"]["1"]["evses"]
        self.assertEqual(
            [(each["uid"], each["status"], each["since"]) for each in evses],
            [("1-1", "CHARGING", iso_utc(NOON)), ("1-2", "OUTOFORDER", since)],
        )
        groups = [group["connectors"] for group in data["station_models"]["1"]["evse_groups"]]
        self.assertEqual([each["connectors"] for each in evses], groups)
        (free,) = data["station_models"]["2"]["evses"]
        self.assertEqual((free["uid"], free["status"]), ("2-1", "AVAILABLE"))
        without = {**data["station_models"]["2"]}
        del without["evses"]
        self.assertEqual(to.request("START")["data"]["station_models"]["2"], without)
        nothing = to.request("START", stations=[])["data"]
        self.assertEqual((nothing["station_models"], nothing["tariffs"]), ({}, {}))
        self.assertNotIn("tariffs", to.request("START")["data"])

    def test_bad_names(self) -> None:
        """What is no list of up to a hundred ids is refused by name."""
        to = server(station(1))
        for value, field in (
            ("1", "stations"), ({}, "stations"), (None, "stations"), (["1"] * 101, "stations"),
            ([1, None], "stations[1]"), ([1.5], "stations[0]"), ([True], "stations[0]"),
            (["x" * 201], "stations[0]"),
        ):  # fmt: skip
            reply = to.request("START", stations=value)
            self.assertEqual(outcome(reply), (400, "invalid_field"), value)
            self.assertIn(f" {field} deve ser ", reply["data"]["message"])
        self.assertEqual(outcome(to.request("START", stations=["1"] * 100)), (200, None))

    def test_shipped(self) -> None:
        """The shipped network says which EVSEs it has; those on the highways have tariffs."""
        to = MemoryServer()
        facts = to.request("START")["data"]["station_models"]
        for each in facts.values():
            groups = each["evse_groups"]
            self.assertEqual(sum(group["total"] for group in groups), each["max_slots"])
            self.assertTrue(all(group["connectors"] for group in groups))
            self.assertTrue(each["price_known"])
        told = {key: each["tariff"] for key, each in facts.items() if each["tariff"]}
        self.assertEqual(told, {"32": "estrada", "34": "noite"})
        self.assertGreater(len(facts["1"]["evse_groups"]), 1)
        self.assertEqual(facts["34"]["price_kwh"], 2.7)
        night = MemoryServer(now=NOON + 12 * 3600).request("START")["data"]["station_models"]
        self.assertEqual((night["34"]["price_kwh"], night["32"]["price_kwh"]), (1.9, 2.79))
