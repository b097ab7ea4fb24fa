"""PLAN: where to stop on a trip, and how far to charge; or why there is no plan."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.rules.journey import ListStations
from evcharge.testing import MemoryServer
from tests.handlers.test_lengths import figure
from tests.support.examples import examples, given
from tests.support.journey import outcome
from tests.support.retold import replayed
from tests.support.servers import request_line

FEIRA = {"latitude": -12.2664, "longitude": -38.9663}
SALVADOR = {"latitude": -12.9714, "longitude": -38.5014}
CONQUISTA = {"latitude": -14.8615, "longitude": -40.8442}
TESLA = "Tesla Model 3"
BATTERY = 40.0


def longest(reply: dict[str, Any]) -> int:
    """How long a reply may be, bytes, by what docs/protocol.md says."""
    data = reply["data"]
    plans = [*data.get("plans", ()), *([data["plan"]] if "plan" in data else [])]
    found = figure(r"\| PLAN \| ([\d,]+), for each plan")
    plan = figure(r"for each plan (\d+) \(of a `front`")
    leg = figure(r"for each of its legs (\d+)")
    stop = figure(r"for each of its stops (\d+)")
    for each in plans:
        found += plan + leg * len(each["legs"]) + stop * len(each["stops"])
        texts = [one for at in each["stops"] for one in (at["name_station"], at["connector"])]
        found += len("".join(texts).encode())
    return found


def replies(sent: bytes) -> list[dict[str, Any]]:
    """The replies that a server has sent."""
    return [json.loads(each) for each in sent.splitlines()]


class PlanTestCase(SynchronousTestCase):
    """A server in memory, and one who has logged in."""

    def setUp(self) -> None:
        self.serve()

    def serve(self, *options: str, **more: Any) -> None:
        self.server = MemoryServer(options=options, **more)
        self.user = self.login()

    def login(self) -> str:
        who = {"user_name": "Ana", "selected_car": TESLA, "battery_car": BATTERY}
        return str(self.server.request("LOGIN", **who)["data"]["user_id"])

    def ask(self, **data: Any) -> dict[str, Any]:
        """The reply to a PLAN, from Feira to Salvador unless it says where; what it tells is so."""
        data = {"places": [FEIRA, SALVADOR], **data}
        reply = self.server.request("PLAN", **{"user_id": self.user, **data})
        self.assertLessEqual(len(json.dumps(reply, ensure_ascii=False).encode()), longest(reply))
        if reply["data"].get("feasible"):
            model = self.server.storage.catalogue().models[TESLA]
            states = self.server.engine.perform(ListStations())
            replayed(self, model, BATTERY, data, reply["data"], states)
        else:
            self.assertNotIn("plan", reply["data"])
        return reply

    def plan(self, **data: Any) -> dict[str, Any]:
        """The plan that there is."""
        reply = self.ask(**data)
        self.assertEqual(reply["status"]["code"], 200, reply)
        return reply["data"]["plan"]

    def wrong(self, field: str, **data: Any) -> str:
        """What is said of a field that is wrong."""
        reply = self.ask(**data)
        self.assertEqual(outcome(reply), (400, "invalid_field"), data)
        self.assertIs(reply["data"]["feasible"], False)
        begin = f"Campo inválido: {field} deve ser "
        self.assertEqual(reply["data"]["message"][: len(begin)], begin)
        return reply["data"]["message"][len(begin) :]


class PlanTests(PlanTestCase):
    """Plans."""

    def test_stops(self) -> None:
        """Each criterion has its stop, and the texts say how many there are."""
        for battery, criterion, station in (
            (40, "time", "35"),
            (40, "balanced", "18"),
            (40, "price", "6"),
            (20, "time", "32"),
            (20, "price", "6"),
        ):
            reply = self.ask(battery_percent=battery, criterion=criterion)["data"]
            (stop,) = reply["plan"]["stops"]
            self.assertEqual((stop["id_station"], stop["queue_length"]), (station, 0))
            self.assertEqual(reply["plan"]["gap_minutes"], 0)
            self.assertEqual(reply["stations_considered"], 25)
            self.assertEqual(reply["assumed"], ["road", "speed", "consumption"])
            self.assertEqual(reply["message"], "Viagem com 1 parada para recarga")
        legs = self.plan()["legs"]
        self.assertEqual(
            [(leg["from"], leg["to"]) for leg in legs],
            [({"place": 0}, {"id_station": "35"}), ({"id_station": "35"}, {"place": 1})],
        )

    def test_within_range(self) -> None:
        """Who need not stop is told so, and no station is looked at."""
        reply = self.ask(battery_percent=90, places=[FEIRA, SALVADOR, FEIRA])["data"]
        self.assertEqual((reply["plan"]["stops"], reply["stations_considered"]), ([], 0))
        self.assertEqual(reply["message"], "Viagem sem parada para recarga")
        self.assertEqual([leg["to"]["place"] for leg in reply["plan"]["legs"]], [1, 2])

    def test_english(self) -> None:
        """The texts are there in English too."""
        self.serve(language="en")
        told = {
            self.ask(**more)["data"]["message"]
            for more in ({}, {"battery_percent": 90}, {"places": [FEIRA, CONQUISTA]})
        }
        self.assertEqual(
            told,
            {
                "A trip with 1 stop to charge",
                "A trip without a stop to charge",
                "No plan is possible",
            },
        )

    def test_login(self) -> None:
        """Without a state of charge it is that of LOGIN."""
        self.assertEqual(self.plan()["legs"][0]["depart_percent"], BATTERY)
        self.assertEqual(self.plan(battery_percent=33)["legs"][0]["depart_percent"], 33)

    def test_wishes(self) -> None:
        """What is wished for is heeded."""
        self.assertNotEqual(self.plan(avoid=["35", 1])["stops"][0]["id_station"], "35")
        slow = self.plan(speed_km_h=40, road_factor=1, stop_minutes=11)
        self.assertAlmostEqual(slow["drive_minutes"], slow["distance_km"] / 40 * 60, 6)
        self.assertEqual(slow["stop_minutes"], 11 * len(slow["stops"]))
        self.assertGreaterEqual(self.plan(reserve_percent=20)["arrival_percent"], 20)
        self.assertEqual(round(self.plan(arrival_percent=30)["arrival_percent"], 9), 30)
        stays = [{**FEIRA, "stay_minutes": 7}, {**SALVADOR, "stay_minutes": 5.5, "name": "Lá"}]
        self.assertEqual(self.plan(places=[FEIRA, *stays[1:]])["stay_minutes"], 5.5)
        dear = self.plan(criterion="balanced", value_of_hour=1000)
        self.assertEqual(dear["stops"][0]["id_station"], "35")

    def test_front(self) -> None:
        """A front has all plans, of which `plan` is the fastest."""
        data = self.ask(criterion="front")["data"]
        self.assertGreater(len(data["plans"]), 1)
        self.assertEqual(data["plans"][0]["stops"], self.plan()["stops"])
        self.assertEqual(data["plans"][-1]["stops"], self.plan(criterion="price")["stops"])

    def test_one_picture(self) -> None:
        """Who waits where an EVSE is held is told so, and not one who wishes not to know."""
        data = {"id_station": 35, "confirmation": True}
        others = [self.login() for _ in range(12)]
        for other in others:
            self.server.request("PAYMENT", user_id=other, **data)
        waits = {stop["id_station"]: stop for stop in self.plan()["stops"]}
        ignored = self.plan(wait="ignore")
        self.assertEqual(ignored["stops"][0]["id_station"], "35")
        self.assertTrue("35" not in waits or waits["35"]["wait_minutes"] > 0)

    def test_changes_nothing(self) -> None:
        """Nothing is held, and no user is another."""
        before = self.server.request("START")["data"]
        self.ask()
        self.assertEqual(self.server.request("START")["data"], before)
        self.assertEqual(self.server.request("STATUS", user_id=self.user)["data"]["state"], "FREE")


class NoPlanTests(PlanTestCase):
    """Where there is none."""

    def test_why(self) -> None:
        """It is said on which leg, what is missing, and what would help."""
        reply = self.ask(places=[FEIRA, SALVADOR, CONQUISTA])
        self.assertEqual(outcome(reply), (200, "no_plan"))
        data = reply["data"]
        self.assertEqual((data["feasible"], data["blocked_leg"]), (False, 1))
        self.assertGreater(data["missing_km"], 0)
        self.assertEqual(
            (data["start_percent_needed"], data["reserve_percent_possible"]), (None, None)
        )
        self.assertEqual(data["message"], "Nenhum plano possível")

    def test_helps(self) -> None:
        """With what would help there is a plan, and with a per cent less there is none."""
        data = self.ask(battery_percent=2)["data"]
        needed, possible = data["start_percent_needed"], data["reserve_percent_possible"]
        for percent, feasible in ((needed, True), (needed - 1, False)):
            self.assertIs(self.ask(battery_percent=percent)["data"]["feasible"], feasible)
        for percent, feasible in ((possible, True), (possible + 1, False)):
            reply = self.ask(battery_percent=2, reserve_percent=percent)
            self.assertIs(reply["data"]["feasible"], feasible)

    def test_user(self) -> None:
        """Nobody plans for a user who is not known."""
        reply = self.server.request("PLAN", user_id="x", places=[FEIRA, SALVADOR])
        self.assertEqual(outcome(reply), (404, "user_not_found"))

    def test_too_many(self) -> None:
        """More stations than the operator allows are refused; what need not stop is planned."""
        self.serve("--plan-stations", "35")
        reply = self.ask()
        self.assertEqual(outcome(reply), (400, "too_many_stations"))
        self.assertIn("35", reply["data"]["message"])
        self.assertTrue(self.ask(battery_percent=90)["data"]["feasible"])
        self.serve("--plan-stations", "36")
        self.assertTrue(self.ask()["data"]["feasible"])

    def test_out_of_reach(self) -> None:
        """Stations that are far from the trip do not count."""
        self.serve("--plan-stations", "1")
        far = [{"latitude": 50 + n, "longitude": 8} for n in range(6)]
        self.assertEqual(outcome(self.ask(places=far)), (200, "no_plan"))


class FieldTests(PlanTestCase):
    """What is wrong with a request."""

    def test_names(self) -> None:
        """Each place, and each row, is named by its number."""
        self.assertEqual(
            self.wrong("places[1].latitude", places=[FEIRA, {**SALVADOR, "latitude": 91}]),
            "um número de -90 a 90",
        )
        self.assertEqual(self.wrong("places", places=[FEIRA]), "uma lista de 2 a 12 lugares")
        self.wrong("places", places=[FEIRA] * 13)
        self.wrong("places[0]", places=[1, 2])
        self.wrong("places[0].name", places=[{**FEIRA, "name": True}, SALVADOR])
        self.assertTrue(self.plan(places=[{**FEIRA, "name": 7}, SALVADOR]))
        reply = self.ask(places=[FEIRA, {"latitude": 1}])
        self.assertEqual(outcome(reply), (400, "missing_fields"))
        self.assertIn("(places[1].longitude)", reply["data"]["message"])
        self.wrong("avoid", avoid=["1"] * 101)
        self.wrong("avoid[0]", avoid=[None])

    def test_most(self) -> None:
        """One must be able to charge over the reserve."""
        self.assertEqual(
            self.wrong("max_percent", max_percent=10),
            "um número maior que reserve_percent, até 100",
        )
        self.wrong("max_percent", max_percent=30, reserve_percent=30)
        self.assertTrue(self.plan(max_percent=46, reserve_percent=9)["stops"])

    def test_large(self) -> None:
        """A number that is too large is told where it stands."""
        asked = (
            b'{"type":"PLAN","data":{"user_id":"x","places":[{"latitude":1e999,"longitude":0},'
            b'{"latitude":0,"longitude":0}]},"status":{},"timestamp":""}\n'
        )
        (reply,) = self.server.send(asked)
        self.assertEqual(outcome(reply), (400, "invalid_field"))
        self.assertIn("places[0].latitude", reply["data"]["message"])

    @settings(max_examples=examples(100), deadline=None)
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "battery_percent": st.floats(-10, 110),
                "value_of_hour": st.floats(-1, 1100),
                "reserve_percent": st.floats(-5, 55),
                "arrival_percent": st.floats(-10, 110),
                "max_percent": st.floats(-10, 110),
                "stop_minutes": st.floats(-5, 65),
                "road_factor": st.floats(0.5, 3.5),
                "speed_km_h": st.floats(5, 210),
            },
        )
    )
    def test_bounds(self, data: dict[str, float]) -> None:
        """Numbers within their bounds are planned with, and the first that is not is named."""
        bounds = {
            "battery_percent": (0, 100),
            "value_of_hour": (0.01, 1000),
            "reserve_percent": (0, 50),
            "arrival_percent": (0, 100),
            "max_percent": (data.get("reserve_percent", 10), 100),
            "stop_minutes": (0, 60),
            "road_factor": (1, 3),
            "speed_km_h": (10, 200),
        }
        reply = self.ask(criterion="balanced", **data)
        wrong = {
            name
            for name, (least, most) in bounds.items()
            if name in data and not (least < data[name] <= most if name == "max_percent"
                                     else least <= data[name] <= most)
        }  # fmt: skip
        if not wrong:
            self.assertIn(outcome(reply), [(200, None), (200, "no_plan")])
        else:
            self.assertEqual(outcome(reply), (400, "invalid_field"))
            self.assertIn(reply["data"]["message"].split()[2], wrong)


class MatrixTests(PlanTestCase):
    """Other roads."""

    def matrix(self, **changes: Any) -> dict[str, Any]:
        return {
            "distance_km": [[0, 120, 1], [120, 0, 119], [1, 119, 0]],
            "travel_minutes": [[0, 130, 2], [130, 0, 128], [2, 128, 0]],
            "stations": ["6"],
            **changes,
        }

    def test_roads(self) -> None:
        """They take the place of straight lines, and no other station is considered."""
        data = self.ask(matrix=self.matrix())["data"]
        self.assertEqual(data["stations_considered"], 1)
        self.assertEqual(data["assumed"], ["consumption"])
        self.assertEqual(data["plan"]["distance_km"], 120)
        self.assertEqual([leg["travel_minutes"] for leg in data["plan"]["legs"]], [2, 128])
        for more in ({"stations": ["none"]}, {"stations": [10**30]}, {"stations": ["006"]}):
            reply = self.ask(matrix=self.matrix(**more))
            self.assertEqual(reply["data"]["stations_considered"], 0)

    def test_triangle(self) -> None:
        """Where the straight way is not the shortest it is said."""
        rows = [[0, 120, 1], [120, 0, 100], [1, 100, 0]]
        data = self.ask(matrix=self.matrix(distance_km=rows))["data"]
        self.assertEqual(data["assumed"], ["consumption", "matrix_triangle"])

    def test_faster_with_a_stop(self) -> None:
        """Within range, too, the way over a station may be the faster one."""
        minutes = [[0, 130, 2], [130, 0, 20], [2, 20, 0]]
        data = self.ask(matrix=self.matrix(travel_minutes=minutes), battery_percent=100)["data"]
        self.assertEqual(data["assumed"], ["consumption", "matrix_triangle"])
        self.assertEqual([stop["id_station"] for stop in data["plan"]["stops"]], ["6"])
        self.assertLess(data["plan"]["total_minutes"], 130)

    def test_triangle_of_places(self) -> None:
        """It is said of who need not stop, and of places alone."""
        for minutes, more in (([[0, 9, 1], [9, 0, 1], [1, 1, 0]], ["matrix_triangle"]),
                              ([[0, 2, 1], [2, 0, 1], [1, 1, 0]], [])):  # fmt: skip
            rows = {"distance_km": minutes, "travel_minutes": minutes, "stations": []}
            data = self.ask(matrix=rows, places=[FEIRA, SALVADOR, FEIRA])["data"]
            self.assertEqual(data["assumed"], ["consumption", *more])
            self.assertEqual(data["plan"]["stops"], [])

    def test_no_road(self) -> None:
        """A way that is farther than any is none."""
        rows = [[0, 1e300, 1], [1e300, 0, 1e300], [1, 1e300, 0]]
        reply = self.ask(matrix=self.matrix(distance_km=rows, travel_minutes=rows))
        self.assertEqual(outcome(reply), (200, "no_plan"))

    def test_wrong(self) -> None:
        """It is square, has 0 from each to itself, and each station once."""
        rows = self.matrix()["distance_km"]
        self.wrong("matrix.distance_km", matrix=self.matrix(distance_km=rows[:2]))
        self.assertEqual(
            self.wrong(
                "matrix.travel_minutes[1]",
                matrix=self.matrix(travel_minutes=[rows[0], rows[1][:2], rows[2]]),
            ),
            "uma lista de 3 números",
        )
        self.wrong(
            "matrix.distance_km[2][2]", matrix=self.matrix(distance_km=[*rows[:2], [1, 119, 3]])
        )
        self.wrong(
            "matrix.distance_km[0][1]", matrix=self.matrix(distance_km=[[0, -1, 1], *rows[1:]])
        )
        self.wrong("matrix.stations", matrix=self.matrix(stations=["6", 6]))
        self.wrong("matrix.stations", matrix=self.matrix(stations=6))
        self.wrong("matrix", matrix=[])


class CostTests(PlanTestCase):
    """A PLAN counts as many requests."""

    def codes(self, *kinds: str) -> list[int]:
        """What becomes of requests over one connection."""
        protocol, transport = self.server.connect("198.51.100.1")
        data = {"user_id": self.user, "places": [FEIRA, SALVADOR], "route_distance": 1}
        codes = []
        for kind in kinds:
            protocol.dataReceived(request_line(kind, **data))
            (reply,) = replies(transport.take())
            self.assertEqual(reply["type"], kind)
            codes.append(reply["status"]["code"])
        self.transport = transport
        return codes

    def test_fifty(self) -> None:
        """Two of them are a hundred requests, of a connection as of an address."""
        for limit in ("connection", "address"):
            self.serve(f"--rate-per-{limit}", "100")
            self.assertEqual(self.codes("PLAN", "PLAN", "PLAN", "NAVIGATION"), [200, 200, 429, 429])
            self.server.advance(0.6)
            self.assertEqual(
                self.codes("PLAN", "NAVIGATION"), [200, 200], "a new connection, or some time"
            )

    def test_cost(self) -> None:
        """The operator says how many."""
        self.serve("--rate-per-connection", "10", "--plan-cost", "2")
        self.assertEqual(self.codes(*["PLAN"] * 6), [200] * 5 + [429])

    def test_slow(self) -> None:
        """Where as many requests cannot come at once one PLAN can, and the others are owed then."""
        self.serve("--rate-per-connection", "10")
        self.assertEqual(
            self.codes("NAVIGATION", "PLAN", "PLAN", "NAVIGATION"), [200, 200, 429, 429]
        )
        self.assertFalse(self.transport.write_closed)

    def test_any_number(self) -> None:
        """Without a limit there may be any number."""
        self.assertEqual(self.codes(*["PLAN"] * 5), [200] * 5)
