"""The messages, as the protocol page describes them, on a server in memory."""

import gc
import json
from codecs import BOM_UTF8
from decimal import Decimal
from math import log

import attrs
from hypothesis import HealthCheck, example, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.station import Station
from evcharge.rules.network import ChangeNetwork
from evcharge.storage import StorageUnavailable, carry_out
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import NOON, MemoryServer, call_now
from tests.support.examples import examples, given
from tests.support.journey import CARS, login, outcome, server, station
from tests.support.messages import TYPES, good_data
from tests.support.operations import stations

FIELDS = sorted({name for data in good_data("").values() for name in data})


class EnvelopeTests(SynchronousTestCase):
    """What every request and reply has in common."""

    def one(self, line: bytes) -> dict:
        (reply,) = MemoryServer().send(line + b"\n")
        return reply

    def test_success(self) -> None:
        """A reply has the four fields, the time in milliseconds, and the request's id."""
        reply = self.one(b'{"type":"LOGIN","data":{},"status":{},"timestamp":"","id":"a-1"}')
        self.assertEqual(list(reply), ["type", "data", "status", "timestamp", "id"])
        self.assertEqual((reply["type"], reply["id"]), ("LOGIN", "a-1"))
        self.assertEqual(reply["timestamp"], "2025-04-07T13:45:12.678Z")

    def test_invalid_json(self) -> None:
        """What is not UTF-8, not JSON, or not an object, is invalid JSON."""
        for line in (b"xx", b"\xff", b"[]", b"1", b"[" * 16000, b'{"a":NaN}', b'"\\ud800"', b"\\n"):
            reply = self.one(line)
            self.assertEqual(outcome(reply), (400, "invalid_json"), line[:20])
            self.assertEqual(reply["status"]["message"], "JSON inválido")
            self.assertEqual(reply["data"]["message"], "JSON inválido")
            self.assertEqual(reply["type"], "error")

    def test_missing(self) -> None:
        """All the envelope's missing fields are named, and what could be read is repeated."""
        reply = self.one(b'{"type":"START","id":3,"status":{}}')
        self.assertEqual(
            reply["status"],
            {"code": 400, "message": "Campos obrigatórios ausentes (data, timestamp)"},
        )
        self.assertEqual((reply["type"], reply["id"]), ("START", 3))

    def test_wrong_types(self) -> None:
        """A field of the wrong type is named."""
        good = {"type": "START", "data": {}, "status": {}, "timestamp": ""}
        wrong = {
            "type": [1, None, "a\nb", "x" * 201],
            "data": [[1], [[]], "x", "", 0, False],
            "id": [True, 1.5, None, [], "x" * 129, 2**53 + 1, -(2**53) - 1, 10**40],
        }
        for field, values in wrong.items():
            for value in values:
                reply = self.one(json.dumps({**good, field: value}).encode())
                self.assertEqual(outcome(reply), (400, "invalid_field"), (field, value))
                self.assertIn(field, reply["data"]["message"])
                if field == "type":
                    # A text that is too long is a text.
                    self.assertIn("de 0 a 200 caracteres", reply["data"]["message"])

    def test_unknown_type(self) -> None:
        """An unknown type is 404, and repeated."""
        reply = self.one(b'{"type":"FLY","data":{},"status":{},"timestamp":""}')
        self.assertEqual((reply["type"], *outcome(reply)), ("FLY", 404, "unknown_type"))

    def test_typed_line_end(self) -> None:
        """A backslash and an n behind the brace, and a carriage return, are passed over."""
        line = b'{"type":"START","data":{},"status":{},"timestamp":""}'
        for end in (b"\\n", b"\r", b"\\n\r", b" \\n "):
            self.assertEqual(self.one(line + end)["status"]["code"], 200)

    def test_huge_numbers(self) -> None:
        """A number too large to be finite is an invalid field, not invalid JSON."""
        for number in (b"1e999", b"9" * 400, b"9" * 5000, b'"1e999"'):
            reply = self.one(
                b'{"type":"LOGIN","data":{"user_name":"a","selected_car":"Tesla Model 3",'
                b'"battery_car":' + number + b'},"status":{},"timestamp":""}'
            )
            self.assertEqual(outcome(reply), (400, "invalid_field"))
            self.assertIn("battery_car", reply["data"]["message"])

    def test_english(self) -> None:
        """With English texts the codes and reasons stay."""
        (reply,) = MemoryServer(language="en").send(b'{"type":"START"}\n')
        self.assertEqual(
            reply["data"]["message"], "Required fields are missing (data, status, timestamp)"
        )

    @settings(max_examples=examples(75), deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.one_of(
            st.binary(max_size=300),
            st.recursive(
                st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            ).map(lambda value: json.dumps(value).encode()),
            st.fixed_dictionaries(
                {
                    "type": st.sampled_from(TYPES),
                    "data": st.dictionaries(
                        st.sampled_from(FIELDS),
                        st.none()
                        | st.booleans()
                        | st.floats()
                        | st.integers()
                        | st.text()
                        | st.lists(st.integers())
                        | st.dictionaries(
                            st.sampled_from(["latitude", "longitude", "1"]), st.floats()
                        ),
                    ),
                    "status": st.just({}),
                    "timestamp": st.just(""),
                }
            ).map(lambda value: json.dumps(value).encode()),
        )
    )
    @example(BOM_UTF8)
    def test_any_line(self, line: bytes) -> None:
        """No line whatever gets a 500 or a silence, or changes what is kept."""
        to = server(station(1))
        before = list(to.storage.users()), stations(to.storage)
        replies = to.send(line + b"\n")
        lines = line.removeprefix(BOM_UTF8).split(b"\n")
        self.assertEqual(len(replies), sum(1 for part in lines if part.strip()))
        for reply in replies:
            self.assertIn(reply["status"]["code"], (200, 400, 404))
        if all(reply["type"] != "LOGIN" or outcome(reply)[0] != 200 for reply in replies):
            self.assertEqual((list(to.storage.users()), stations(to.storage)), before)


class StartTests(SynchronousTestCase):
    """START."""

    def test_shipped(self) -> None:
        """The shipped network has at least 24 cars and 30 stations, all fields filled."""
        data = MemoryServer().request("START")["data"]
        self.assertGreaterEqual(len(data["car_models"]), 24)
        self.assertGreaterEqual(len(data["station_models"]), 30)
        for found in data["station_models"].values():
            self.assertEqual(found["available_slots"], found["max_slots"])
            self.assertTrue(-12.34 < found["latitude"] < -12.17)
            self.assertTrue(-39.05 < found["longitude"] < -38.85)
            self.assertTrue(1 <= found["max_slots"] <= 8)
            self.assertTrue(7.4 <= found["power_kw"] <= 150)
            self.assertTrue(1.2 <= found["price_kwh"] <= 2.8)
            self.assertTrue(found["connectors"] and found["name_station"] and found["address"])
        self.assertNotIn("truncated", data)

    def test_large_network(self) -> None:
        """Of more than 1,000 stations the nearest are sent, without a position the first."""
        to = server(*(station(number) for number in range(1, 1102)))
        data = to.request("START")["data"]
        self.assertEqual(list(data["station_models"]), [str(n) for n in range(1, 1001)])
        self.assertEqual((data["total_stations"], data["truncated"]), (1101, True))
        place = {"latitude": -12.25, "longitude": -38.95 + 10.5}
        data = to.request("START", position=place, limit="3")["data"]
        self.assertEqual(list(data["station_models"]), ["1050", "1049", "1051"])

    def test_time_scale(self) -> None:
        """START tells how fast time goes, whichever stations it is asked for."""
        for scale in (1, 60, 0.5):
            to = server(station(1), station(2), time_scale=scale)
            for data in ({}, {"limit": 1}, {"stations": [2]}, {"stations": []}):
                self.assertEqual(to.request("START", **data)["data"]["time_scale"], scale)

    def test_limit(self) -> None:
        """A limit is honoured at any size; where there are no more stations nothing is left out."""
        to = server(*(station(number) for number in range(1, 8)))
        place = {"latitude": -12.25, "longitude": -38.95 + 0.052}
        for data, ids in (
            ({"limit": 1}, "1"),
            ({"limit": "3"}, "123"),
            ({"limit": 3, "position": place}, "564"),
            ({"limit": 6, "position": place}, "564738"[:5] + "2"),
        ):
            found = to.request("START", **data)["data"]
            self.assertEqual("".join(found["station_models"]), ids)
            self.assertEqual((found["total_stations"], found["truncated"]), (7, True))
            self.assertEqual(set(found["car_models"]), set(CARS))
        for data in ({}, {"limit": 7}, {"limit": 1000}, {"position": place}, {"limit": 7.0}):
            found = to.request("START", **data)["data"]
            self.assertEqual("".join(found["station_models"]), "1234567")
            self.assertNotIn("truncated", found)
            self.assertNotIn("total_stations", found)

    def test_thousand(self) -> None:
        """A network of a thousand stations is sent whole, of one more the last is left out."""
        for size in (1000, 1001):
            data = server(*(station(n + 1) for n in range(size))).request("START")["data"]
            self.assertEqual(len(data["station_models"]), 1000)
            self.assertEqual(data.get("total_stations"), 1001 if size > 1000 else None)

    def test_same_place(self) -> None:
        """Of stations at one place those of the smaller ids come first."""
        to = server(*(Station(n, "P", "R", -12.25, -38.95, 1) for n in (12, 3, 7)))
        place = {"latitude": -12.25, "longitude": -38}
        data = to.request("START", limit=2, position=place)["data"]
        self.assertEqual(list(data["station_models"]), ["3", "7"])

    def test_bad_limits(self) -> None:
        """A wrong position or limit is named, whatever the network's size."""
        for data, field in (
            ({"limit": 0}, "limit"),
            ({"limit": 1001}, "limit"),
            ({"limit": True}, "limit"),
            ({"position": []}, "position"),
            ({"position": {"latitude": 91, "longitude": 0}}, "position.latitude"),
            ({"position": {"latitude": 1}}, "position.longitude"),
        ):
            reply = MemoryServer().request("START", **data)
            self.assertEqual(reply["status"]["code"], 400)
            self.assertIn(field, reply["data"]["message"])


class LoginTests(SynchronousTestCase):
    """LOGIN."""

    def test_fields(self) -> None:
        """What is wrong is named; nobody is logged in."""
        good = {"user_name": "Ana", "selected_car": "Small", "battery_car": "50"}
        to = server()
        for field, values in {
            "user_name": ["", "x" * 101, 10**100, True, None, [], "a\x00", "a\x7f"],
            "selected_car": ["Trabant", 1, "x" * 201, False, None, []],
            "battery_car": [-0.1, 100.1, True, "", "x", "nan", "inf", None, []],
        }.items():
            for value in values:
                reply = to.request("LOGIN", **{**good, field: value})
                self.assertEqual(outcome(reply), (400, "invalid_field"), (field, value))
                self.assertIn(field, reply["data"]["message"])
        self.assertEqual(list(to.storage.users()), [])
        self.assertEqual(outcome(to.request("LOGIN", **good)), (200, None))

    def test_bounds(self) -> None:
        """Each bound is itself allowed."""
        to = server()
        good = {"user_name": "Ana", "selected_car": "Small", "battery_car": 50}
        for field, value in (
            ("user_name", "x"), ("user_name", "é" * 100), ("battery_car", 0), ("battery_car", "0"),
            ("battery_car", 100), ("battery_car", "1e2"),
        ):  # fmt: skip
            reply = to.request("LOGIN", **{**good, field: value})
            self.assertEqual(outcome(reply), (200, None), (field, value))
        levels = sorted(user.car.battery_level_kwh for user in to.storage.users())
        self.assertEqual(levels, [0, 0, 25, 25, 50, 50])

    def test_names_all_missing(self) -> None:
        """All missing fields are named at once."""
        reply = server().request("LOGIN", selected_car="Small")
        self.assertEqual(
            reply["data"],
            {
                "user_id": None,
                "message": "Campos obrigatórios ausentes (user_name, battery_car)",
                "reason": "missing_fields",
            },
        )


class NavigationTests(SynchronousTestCase):
    """NAVIGATION."""

    def test_range(self) -> None:
        """A trip is possible when the battery is above zero at its end."""
        to = server()
        user = login(to, 40)
        for distance, possible in ((99.9, True), ("99.9", True), (100, False), (101, False)):
            data = to.request("NAVIGATION", user_id=user, route_distance=distance)["data"]
            self.assertEqual((data["can_complete"], data["autonomy"]), (possible, 100.0))
            self.assertTrue(data["message"])

    def test_message(self) -> None:
        """The message says which it is, with the range and the trip, as people write them."""
        for language, near, far in (
            (
                "pt",
                "A viagem pode ser feita com a carga atual: autonomia de 100 km, viagem de 12,5 km",
                "A carga atual não basta para a viagem: autonomia de 100 km, viagem de 180 km",
            ),
            (
                "en",
                "The trip is within the present range: a range of 100 km, a trip of 12.5 km",
                "The trip is beyond the present range: a range of 100 km, a trip of 180 km",
            ),
        ):
            to = server(language=language)
            user = login(to, 40)
            for distance, message in ((12.5, near), (180, far), ("180", far)):
                data = to.request("NAVIGATION", user_id=user, route_distance=distance)["data"]
                self.assertEqual(data["message"], message)

    def test_failures(self) -> None:
        """A failure says that the trip is not possible."""
        to = server()
        user = login(to)
        for data, expected in (
            ({"user_id": user, "route_distance": 0}, (400, "invalid_field")),
            ({"user_id": "nobody", "route_distance": 1}, (404, "user_not_found")),
            ({"user_id": 5, "route_distance": 1}, (400, "invalid_field")),
            ({"user_id": user}, (400, "missing_fields")),
        ):
            reply = to.request("NAVIGATION", **data)
            self.assertEqual(outcome(reply), expected)
            self.assertEqual((reply["data"]["can_complete"], reply["data"]["autonomy"]), (False, 0))


class SelectionTests(SynchronousTestCase):
    """SELECTION_STATION."""

    def select(self, to: MemoryServer, user: str, distances: dict, **more: object) -> dict:
        listed = {key: {"distance_origin_position": km} for key, km in distances.items()}
        return to.request("SELECTION_STATION", user_id=user, list_stations=listed, **more)["data"]

    def test_figures(self) -> None:
        """The figures of the station follow the formulas."""
        to = server(station(1, power_kw=40.0, price_kwh=Decimal("1.99")))
        data = self.select(to, login(to), {"1": "7"})
        self.assertEqual(data["id_station"], "1")
        # 7 km take 1.4 kWh, which are charged besides the 20 that bring the battery to 80 %.
        self.assertEqual(data["price_loading"], 42.59)
        self.assertEqual((data["distance_km"], data["travel_minutes"]), (7, 6))
        self.assertEqual((data["wait_minutes"], data["charge_minutes"]), (0, 32.1))
        self.assertEqual(data["alternatives"], [])

    def test_power(self) -> None:
        """The weaker of station and car counts, AC where there are only AC connectors."""
        # Of a car without a curve: to 75 % from 95 % of its power to all of it, linearly, and from
        # there to what it takes by AC.
        full, at_40, at_80 = 149.0, 149.0 * (0.95 + 0.05 * 40 / 75), 149.0 - (149.0 - 11.0) / 5
        shape_h = 17.5 * log(full / at_40) / (full - at_40) + 2.5 * log(at_80 / full) / (
            at_80 - full
        )
        for facts, hours in (
            ({"power_kw": 22.0, "connectors": ("Type 2",)}, 20 / 11),
            ({"power_kw": 22.0}, 20 / 22),
            ({"power_kw": 150.0, "connectors": ("CCS2", "Type 2")}, shape_h),
            ({}, shape_h),
        ):
            to = server(station(1, **facts))
            data = self.select(to, login(to, 40, "Tesla Model 3"), {"1": 0})
            self.assertAlmostEqual(data["charge_minutes"], 60 * hours, places=5)
        to = server(station(1))
        self.assertAlmostEqual(self.select(to, login(to), {"1": 0})["charge_minutes"], 24)

    def test_criteria(self) -> None:
        """Distance and price want a free slot, time its least; equals go by distance."""
        to = server(
            station(1, power_kw=10.0, price_kwh=Decimal("2")),
            station(2, power_kw=100.0, price_kwh=Decimal("3")),
            station(3, power_kw=10.0, price_kwh=Decimal("2")),
            station(4, power_kw=10.0, price_kwh=Decimal("2")),
        )
        other = login(to)
        to.request("PAYMENT", user_id=other, id_station=1, confirmation=True)
        user = login(to)
        distances = {"1": 1, "2": 5, "3": 3, "4": 3, "99": 0, "x": 1}
        order = {"distance": "3421", "time": "2341", "price": "3421"}
        for criterion, expected in order.items():
            data = self.select(to, user, distances, criterion=criterion)
            got = [data["id_station"], *(each["id_station"] for each in data["alternatives"])]
            self.assertEqual("".join(got), expected, criterion)
        self.assertEqual(self.select(to, user, distances)["id_station"], "3")

    def test_all_full(self) -> None:
        """Where every station is full, distance takes the least total time, price the cheapest."""
        to = server(
            station(1, power_kw=20.0, price_kwh=Decimal("3")),
            station(2, power_kw=40.0, price_kwh=Decimal("4")),
        )
        for number in (1, 2):
            to.request("PAYMENT", user_id=login(to), id_station=number, confirmation=True)
        data = self.select(to, login(to), {"1": 0, "2": 7})
        self.assertEqual((data["id_station"], data["wait_minutes"]), ("2", 24))
        self.assertEqual(data["alternatives"][0]["wait_minutes"], 60)
        data = self.select(to, login(to), {"1": 0, "2": 7}, criterion="price")
        self.assertEqual(data["id_station"], "1")

    def test_none(self) -> None:
        """Nothing is found where all is out of range, of no station, or nothing is there."""
        to = server(station(1), station(2))
        user = login(to)
        for distances in ({}, {"1": 100}, {"9": 1}, {"": 0}):
            data = self.select(to, user, distances)
            self.assertEqual(data["message"], "Nenhum posto disponível")
            self.assertEqual(data["reason"], "no_station")
            self.assertEqual(
                (data["id_station"], data["price_loading"], data["user_id"]), (None, 0, user)
            )

    def test_ignored(self) -> None:
        """What is no distance, or of no station, is passed over, and counted."""
        to = server(station(1), station(2))
        user = login(to)
        good = {"distance_origin_position": 1}
        for others in (
            {"2": {"distance_origin_position": "4,5"}},
            {"2": 4.5},
            {"2": None},
            {"2": {}},
            {"2": []},
            {"2": {"distance_origin_position": "4.5 km"}},
            {"2": {"distance_origin_position": -0.1}},
            {"2": {"distance_origin_position": True}},
            {"9": good, "01": good, " 1": {"distance_origin_position": "x"}},
        ):
            for listed in ({"1": good, **others}, {**others, "1": good}):
                reply = to.request("SELECTION_STATION", user_id=user, list_stations=listed)
                data = reply["data"]
                self.assertEqual((data["id_station"], data["ignored"]), ("1", len(others)), listed)
                self.assertEqual(data["alternatives"], [])
        data = self.select(to, user, {"9": 1, "8": 1})
        self.assertEqual((data["reason"], data["ignored"]), ("no_station", 2))
        data = self.select(to, user, {"1": 500, "2": 100})
        self.assertEqual(data["reason"], "no_station")
        self.assertNotIn("ignored", data)
        self.assertNotIn("ignored", self.select(to, user, {"1": 1, "2": "0"}))

    def test_not_understood(self) -> None:
        """Where no entry is understood, the first is named, and what it must be."""
        to = server(station(1), station(3))
        user = login(to)
        distance = "list_stations.3.distance_origin_position deve ser um número de km"
        for first, words in (
            ({"distance_origin_position": "4,5"}, distance),
            ({"distance_origin_position": "4.5 km"}, distance),
            ({"distance_origin_position": -1}, distance),
            ({"distance_origin_position": None}, distance),
            ({"distance_origin_position": {}}, distance),
            ({"distance": 4.5}, distance),
            (4.5, 'list_stations.3 deve ser um objeto {"distance_origin_position": km}'),
            ("4.5", 'list_stations.3 deve ser um objeto {"distance_origin_position": km}'),
            ([4.5], "list_stations.3 deve ser um objeto"),
            (None, "list_stations.3 deve ser um objeto"),
        ):
            for more in ({}, {"1": "x"}, {"9": {"distance_origin_position": "x"}}):
                listed = {"3": first, **more}
                reply = to.request("SELECTION_STATION", user_id=user, list_stations=listed)
                self.assertEqual(outcome(reply), (400, "invalid_field"), listed)
                self.assertIn(words, reply["data"]["message"])
                self.assertIsNone(reply["data"]["id_station"])
        long = to.request("SELECTION_STATION", user_id=user, list_stations={"x" * 9999: 1})
        self.assertLess(len(long["data"]["message"]), 200)

    def test_both(self) -> None:
        """Where both are given the distances count, and the place is not looked at."""
        to = server(station(1), station(2))
        listed = {"2": {"distance_origin_position": 1}}
        for place in ({"latitude": -12.25, "longitude": -38.94}, "nowhere"):
            reply = to.request(
                "SELECTION_STATION", user_id=login(to), list_stations=listed, position=place
            )
            self.assertEqual(reply["data"]["id_station"], "2")
            self.assertEqual(reply["data"]["alternatives"], [])

    def test_message(self) -> None:
        """The message has the station and its figures, and the wait where there is one."""
        for language, free, full in (
            (
                "pt",
                "Posto indicado: Posto 1, a 7 km: viagem de 6 min, recarga de 32 min por R$ 42,59",
                "Posto indicado: Posto 1, a 7 km: viagem de 6 min, espera de 24 min, "
                "recarga de 32 min por R$ 42,59",
            ),
            (
                "en",
                "Suggested station: Posto 1, 7 km away: 6 min of travel, 32 min of charging "
                "for R$ 42.59",
                "Suggested station: Posto 1, 7 km away: 6 min of travel, 24 min of waiting, "
                "32 min of charging for R$ 42.59",
            ),
        ):
            to = server(station(1, power_kw=40.0, price_kwh=Decimal("1.99")), language=language)
            other, user = login(to), login(to)
            self.assertEqual(self.select(to, user, {"1": 7})["message"], free)
            to.request("PAYMENT", user_id=other, id_station=1, confirmation=True)
            self.assertEqual(self.select(to, user, {"1": 7})["message"], full)

    def test_wait_in_fast_time(self) -> None:
        """The wait is in simulated minutes, however fast time goes."""
        to = server(station(1, power_kw=40.0), time_scale=60)
        to.request("PAYMENT", user_id=login(to), id_station=1, confirmation=True)
        data = self.select(to, login(to), {"1": 7})
        self.assertEqual((data["travel_minutes"], data["wait_minutes"]), (6, 24))
        to.advance(4.9)
        data = self.select(to, login(to), {"1": 35})
        self.assertEqual((data["travel_minutes"], data["wait_minutes"]), (30, 0))

    def test_position(self) -> None:
        """From a position the server works the distances out; four alternatives at the most."""
        to = MemoryServer()
        user = login(to, 40, "Tesla Model 3")
        place = {"latitude": -12.2016, "longitude": "-38.9719"}
        data = to.request("SELECTION_STATION", user_id=user, position=place)["data"]
        self.assertEqual(data["id_station"], "2")
        self.assertEqual(data["distance_km"], 0)
        self.assertEqual(len(data["alternatives"]), 4)
        distances = [each["distance_km"] for each in data["alternatives"]]
        self.assertEqual(distances, sorted(distances))

    def test_failures(self) -> None:
        """A failure names no station and no price."""
        to = server(station(1))
        user = login(to)
        for data, expected in (
            ({"user_id": user}, (400, "missing_fields")),
            ({}, (400, "missing_fields")),
            ({"list_stations": {}}, (400, "missing_fields")),
            ({"user_id": user, "list_stations": []}, (400, "invalid_field")),
            ({"user_id": user, "list_stations": {}, "criterion": "fun"}, (400, "invalid_field")),
            ({"user_id": user, "list_stations": {}, "criterion": []}, (400, "invalid_field")),
            ({"user_id": user, "list_stations": {}, "criterion": 1}, (400, "invalid_field")),
            ({"user_id": user, "list_stations": {}, "criterion": None}, (400, "invalid_field")),
            (
                {"user_id": user, "position": {"latitude": "x", "longitude": 1}},
                (400, "invalid_field"),
            ),
            ({"user_id": "nobody", "list_stations": {}}, (404, "user_not_found")),
        ):
            reply = to.request("SELECTION_STATION", **data)
            self.assertEqual(outcome(reply), expected, data)
            self.assertIsNone(reply["data"]["id_station"])
            self.assertEqual(reply["data"]["price_loading"], 0)
            self.assertEqual(reply["data"]["user_id"], data.get("user_id"))
        for user in (5, "x" * 201, "\n", None, ["x"]):
            reply = to.request("SELECTION_STATION", user_id=user, list_stations={})
            self.assertEqual(outcome(reply), (400, "invalid_field"))
            self.assertIsNone(reply["data"]["user_id"])


class PaymentTests(SynchronousTestCase):
    """PAYMENT, and the monitor's part of the journey."""

    def pay(self, to: MemoryServer, user: str, at: object = 1, confirmation: object = True) -> dict:
        return to.request("PAYMENT", user_id=user, id_station=at, confirmation=confirmation)

    def free(self, to: MemoryServer, number: int = 1) -> int:
        return to.request("START")["data"]["station_models"][str(number)]["available_slots"]

    def test_paid_once(self) -> None:
        """The same request again gives the same answer and takes nothing more."""
        to = server(station(1, 2, power_kw=40.0))
        user = login(to)
        first = self.pay(to, user)
        self.assertEqual(first["data"]["confirmation"], True)
        self.assertEqual(first["data"]["id_station"], "1")
        self.assertEqual(first["data"]["amount"], 40.0)
        self.assertEqual(first["data"]["charge_minutes"], 30)
        self.assertAlmostEqual(first["data"]["estimated_timestamp"], NOON + 1800)
        to.advance(10)
        self.assertEqual(self.pay(to, user, "1")["data"], first["data"])
        self.assertEqual(self.free(to), 1)

    def test_message(self) -> None:
        """The message has the station, the amount and how long it takes, and does not change."""
        for language, message in (
            (
                "pt",
                "Pagamento confirmado, vaga reservada no posto 7: R$ 40,00, "
                "30 min até o fim da recarga",
            ),
            (
                "en",
                "Payment confirmed, slot reserved at station 7: R$ 40.00, "
                "30 min to the end of charging",
            ),
        ):
            to = server(station(7, power_kw=40.0), language=language)
            user = login(to)
            for _ in range(3):
                self.assertEqual(self.pay(to, user, 7)["data"]["message"], message)
                to.advance(500)

    def test_full(self) -> None:
        """At a full station nothing is taken."""
        to = server(station(1))
        self.pay(to, login(to))
        reply = self.pay(to, login(to))
        self.assertEqual(outcome(reply), (200, "no_slot"))
        self.assertEqual(reply["status"]["message"], "Sem vagas disponíveis")
        self.assertEqual(reply["data"]["confirmation"], False)

    def test_elsewhere(self) -> None:
        """Who holds a slot elsewhere is told where."""
        to = server(station(1), station(7))
        user = login(to)
        self.pay(to, user, 7)
        reply = self.pay(to, user, 1)
        self.assertEqual(outcome(reply), (409, "already_reserved"))
        self.assertEqual(reply["data"]["message"], "Usuário já tem reserva no posto 7")
        self.assertEqual(self.free(to, 1), 1)

    def test_end(self) -> None:
        """A refusal ends the journey and frees the slot, whichever station it names."""
        to = server(station(1), station(2))
        user = login(to)
        self.pay(to, user)
        reply = self.pay(to, user, 2, False)
        self.assertEqual((outcome(reply), reply["data"]["confirmation"]), ((200, None), False))
        self.assertEqual((reply["data"]["user_id"], reply["data"]["id_station"]), (user, "2"))
        self.assertEqual(reply["data"]["message"], "Viagem encerrada")
        self.assertEqual(self.free(to), 1)
        self.assertEqual(outcome(self.pay(to, user, 2, False)), (404, "user_not_found"))

    def test_long_ids(self) -> None:
        """An integer longer than any station's id is repeated as none, paid or ended."""
        for number, repeated in ((10**20 - 1, "9" * 20), (10**20, None), (-(10**300), None)):
            to = server(station(1))
            user = login(to)
            for confirmation, expected in (
                (True, (404, "station_not_found")),
                (False, (200, None)),
            ):
                reply = self.pay(to, user, number, confirmation)
                self.assertEqual(outcome(reply), expected)
                self.assertEqual(reply["data"]["id_station"], repeated)

    def test_failures(self) -> None:
        """Failures take nothing."""
        to = server(station(1))
        user = login(to)
        for data, expected in (
            ((user, 9), (404, "station_not_found")),
            ((user, "../1"), (404, "station_not_found")),
            ((user, "01"), (404, "station_not_found")),
            ((user, 10**50), (404, "station_not_found")),
            ((user, 10**300), (404, "station_not_found")),
            ((user, 10**4200), (400, "invalid_field")),
            ((user, 1.0), (400, "invalid_field")),
            ((user, True), (400, "invalid_field")),
            ((user, None), (400, "invalid_field")),
            ((user, 1, "true"), (400, "invalid_field")),
            ((user, 1, 1), (400, "invalid_field")),
            (("../../etc/passwd", 1), (404, "user_not_found")),
            (("nobody", 1, False), (404, "user_not_found")),
        ):
            reply = self.pay(to, *data)
            self.assertEqual(outcome(reply), expected, data)
            who, at, *_ = data
            self.assertEqual(reply["data"]["user_id"], who)
            known = isinstance(at, str) or (type(at) is int and at < 10**20)
            self.assertEqual(reply["data"]["id_station"], str(at) if known else None)
        self.assertEqual(self.free(to), 1)

    def test_sweep(self) -> None:
        """Within a sweep of the end of charging the slot is free and the user gone."""
        to = server(station(1, power_kw=40.0), time_scale=60)
        user = login(to)
        data = self.pay(to, user)["data"]
        self.assertAlmostEqual(data["estimated_timestamp"], NOON + 30)
        self.assertEqual(data["charge_minutes"], 30)
        to.advance(29)
        self.assertEqual(self.free(to), 0)
        to.advance(6)
        self.assertEqual(self.free(to), 1)
        self.assertEqual(outcome(self.pay(to, user)), (404, "user_not_found"))

    def test_unpaid(self) -> None:
        """A user who never paid is removed after its time; one who charges is not."""
        to = server(station(1, power_kw=0.5), user_ttl=100)
        charging, idle = login(to), login(to)
        self.pay(to, charging)
        for _ in range(3):
            to.advance(50)
        self.assertEqual([user.user_id for user in to.storage.users()], [charging])
        self.assertEqual(outcome(self.pay(to, idle)), (404, "user_not_found"))

    # It is one test for each storage.
    @settings(
        max_examples=examples(15),
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors],
    )
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["login", "pay", "leave", "advance"]),
                st.integers(0, 5),
                st.integers(1, 3),
            ),
            max_size=60,
        )
    )
    def test_slots_add_up(self, steps: list) -> None:
        """Over any interleaving the slots are those of a simple model, and always add up."""
        slots = {1: 1, 2: 2, 3: 1}
        to = server(*(station(number, count, power_kw=600.0) for number, count in slots.items()))
        users: list[str] = []
        model: dict[str, tuple[int, float]] = {}
        for step, who, where in steps:
            user = users[who % len(users)] if users else "nobody"
            if step == "login":
                users.append(login(to))
            elif step == "pay":
                code = outcome(self.pay(to, user, where))
                taken = sum(1 for at, _ in model.values() if at == where)
                if user not in users:
                    self.assertEqual(code, (404, "user_not_found"))
                elif user in model:
                    self.assertEqual(code[0], 200 if model[user][0] == where else 409)
                elif taken == slots[where]:
                    self.assertEqual(code, (200, "no_slot"))
                else:
                    self.assertEqual(code, (200, None))
                    model[user] = where, to.clock.seconds() + 120
            elif step == "leave":
                expected = 200 if user in users else 404
                self.assertEqual(outcome(self.pay(to, user, where, False))[0], expected)
                if user in users:
                    users.remove(user)
                model.pop(user, None)
            else:
                to.advance(5 * (1 + who * 6))
                for gone in [u for u, (_, end) in model.items() if end <= to.clock.seconds()]:
                    del model[gone]
                    users.remove(gone)
            for state in stations(to.storage):
                number = state.station.station_id
                taken = sum(1 for at, _ in model.values() if at == number)
                self.assertEqual(state.available_slots, slots[number] - taken)


class FailureTests(SynchronousTestCase):
    """What the server says when something behind it fails."""

    def failing(self, error: Exception) -> MemoryServer:
        to = server(station(1))

        def call(f: object, *args: object) -> Deferred:
            return fail(error)

        return MemoryServer(to.storage, in_thread=call)

    def test_unavailable(self) -> None:
        """A storage that cannot be reached is 503, with the fields of the message."""
        reply = self.failing(StorageUnavailable("x")).request(
            "NAVIGATION", user_id="x", route_distance=1
        )
        self.flushLoggedErrors()
        self.assertEqual(outcome(reply), (503, "unavailable"))
        self.assertEqual(reply["data"]["can_complete"], False)

    def test_internal(self) -> None:
        """An unforeseen failure is 500 with an incident, without the exception's text."""
        reply = self.failing(ZeroDivisionError("secret")).request(
            "NAVIGATION", user_id="x", route_distance=1
        )
        self.assertEqual(outcome(reply), (500, "internal"))
        self.assertTrue(reply["data"]["incident"])
        self.assertNotIn("secret", json.dumps(reply))
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    def test_new_catalogue(self) -> None:
        """A model of a new catalogue is as that one says, and not as it was remembered."""
        storage = MemoryStorage({"Small": CARS["Small"]}, [station(1)])
        to = MemoryServer(storage)
        login(to, 100)
        larger = {"Small": {**CARS["Small"], "battery_capacity": 80}}
        carry_out(storage, ChangeNetwork(lambda there: attrs.evolve(there, car_models=larger)))
        login(to, 100)
        levels = [user.car.battery_level_kwh for user in storage.users()]
        self.assertEqual(sorted(levels), [50, 80])

    def test_unwritable_reply(self) -> None:
        """A reply that cannot be written is an incident, not a silence."""
        to = MemoryServer(MemoryStorage({"A": {**CARS["Small"], "note": "\ud800"}}))
        self.assertEqual(outcome(to.request("START")), (500, "internal"))
        self.assertTrue(self.flushLoggedErrors(UnicodeEncodeError))

    def test_sweep_goes_on(self) -> None:
        """A sweep that failed is logged, and the next one comes all the same."""
        to = server(station(1, power_kw=40.0))
        calls: list[bool] = []

        def call(f: object, *args: object) -> Deferred:
            calls.append(True)
            if len(calls) == 1:
                return fail(OSError("disk"))
            return call_now(f, *args)

        again = MemoryServer(to.storage, in_thread=call)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        again.advance(5)
        self.assertEqual(len(calls), 2)


class GarbageTests(SynchronousTestCase):
    """Requests leave nothing behind that only a collection of the garbage would find."""

    def test_none(self) -> None:
        """
        Not one of them does, whether it is answered or refused: as garbage is collected rarely,
        a hostile client's lines would pile up until then.
        """
        here = server(station(1), station(2))
        user = login(here)
        protocol, transport = here.connect()

        def line(kind: str, **data: object) -> bytes:
            message = {"type": kind, "data": data, "status": {}, "timestamp": ""}
            return json.dumps(message).encode()

        def payment(user_id: str, station_id: int) -> bytes:
            return line("PAYMENT", user_id=user_id, id_station=station_id, confirmation=True)

        lines = [
            line("START"),
            line("START", pad="x" * 60000),
            line("LOGIN", user_name="Ana", selected_car="Small", battery_car=4),
            line("LOGIN", user_name=1, selected_car="Small", battery_car=4),
            line("NAVIGATION", user_id=user, route_distance=1),
            line("NAVIGATION", user_id="nobody", route_distance=1),
            line("SELECTION_STATION", user_id=user, list_stations={}),
            line("SELECTION_STATION", user_id="nobody", list_stations={}),
            payment(user, 1),
            payment(user, 2),
            payment(user, 3),
            payment("nobody", 1),
            payment(login(here), 1),
            line("UNKNOWN"),
            line("CONTROL\x01"),
            b"[" * 60000,
            b"\xff",
            b"{}",
            b'{"type":1}',
            b"1" * 5000,
            b"",
            b'{"type":"START","data":{"x":"'
            + b"x" * 60000
            + b'\\ud800"},"status":{},"timestamp":""}',
            b'{"type":"START","data":{"x":' + b"1" * 5000 + b'},"status":{},"timestamp":""}',
            b'{"type":"START","data":{"x":[' + b'"",' * 9000 + b'NaN]},"status":{},"timestamp":""}',
            b'{"type":"START","data":{"x":' + b"[" * 20000 + b"1" * 5000,
            "{“type”: “START”}".encode(),
            b'{"type": "LOGIN",',
            line("SELECTION_STATION", user_id=user, list_stations={"1": "x" * 1000}),
        ]
        self.addCleanup(gc.enable)
        gc.disable()
        # What other tests have left in this process is not looked at again each time.
        gc.collect()
        self.addCleanup(gc.unfreeze)
        gc.freeze()
        for sent in lines:
            for times in (1, 10):
                # The first time something may be remembered.
                for _ in range(times):
                    protocol.dataReceived(sent + b"\n")
                transport.take()
                garbage = gc.collect()
            self.assertEqual(garbage, 0, sent[:100])


class CarTests(SynchronousTestCase):
    """The physics."""

    def test_battery(self) -> None:
        """Range, battery at a destination and times follow from the figures."""
        car = ElectricCar.charged_to(CarModel.from_facts(CARS["Small"]), 40)
        self.assertEqual(car.battery_level_kwh, 20)
        self.assertAlmostEqual(car.range_km(), 100)
        self.assertAlmostEqual(car.percent, 40)
        self.assertAlmostEqual(car.percent_after(40), 24)
        self.assertAlmostEqual(car.reach_km(10), 25)
        self.assertAlmostEqual(car.travel_time_s(70), 3600)
