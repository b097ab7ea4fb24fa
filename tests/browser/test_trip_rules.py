"""What a reply, an event or a wish makes of a journey in the page: its rules, without a screen."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from tests.support.browser import BrowserTestCase
from tests.support.examples import examples, given

RUN = """async (sent) => {
    const [kept, actions] = JSON.parse(sent);
    const { advance, begin, isUnderWay } = await import("/static/app/trip-journey.js");
    let state = begin(kept);
    for (const action of actions) {
        // A reply is to what is being asked, where the test does not say to what.
        if (action.is === "reply" && !("asked" in action)) {
            if (state.asking === null) continue;
            const { asking: asked } = state;
            state = advance(state, { ...action, ...action.by?.[asked.type], asked });
        } else state = advance(state, action);
    }
    return { ...state, isUnderWay: isUnderWay(state) };
}"""

PLACE = {"latitude": -12.25, "longitude": -38.95, "station": None}
OPTION = {"id_station": "7", "arrival_percent": 39, "travel_minutes": 0.4, "fitting_slots": 1}
FOUND = {**OPTION, "alternatives": [], "excluded": {}}
SESSION = {"user_id": "u", "id_station": "7", "id_evse": "7-1", "receipt_id": "r"}
RECEIPT = {"receipt_id": "r", "final": True, "total": 3.0, "end_percent": 61.4}
GONE = {"reason": "user_not_found", "message": "…"}
TO_CONFIRM = [
    {"is": "form", "form": {"car": "Tesla Model 3"}},
    {"is": "place", "place": PLACE},
    {"is": "reply", "code": 200, "data": {"user_id": "u"}},
    {"is": "reply", "code": 200, "data": FOUND},
    {"is": "confirm", "id": "7"},
    {"is": "reply", "code": 200, "data": {"station_models": {"7": {}}}},
]
TO_STATIONS = TO_CONFIRM[:4]
GOAL = {"latitude": -12.9714, "longitude": -38.5014}
PLANNED = {
    "feasible": True,
    "plans": [
        {
            "stops": [{"id_station": "7", "name_station": "Sete", "depart_percent": 45.13}],
            "legs": [{"distance_km": 3.2}, {"distance_km": 118.5}],
        }
    ],
}
STATUS = {"type": "STATUS", "data": {"user_id": "u"}}


def reply(code: int = 200, **data: Any) -> dict[str, Any]:
    """What comes of the question that is being asked."""
    return {"is": "reply", "code": code, "data": data}


def stands(state: str, **more: Any) -> dict[str, Any]:
    """What STATUS or an event says, that nobody has waited for."""
    data = {**SESSION, "state": state, **more}
    return {"is": "reply", "asked": STATUS, "code": 200, "data": data}


FAILED = [(404, GONE), (500, {"message": "…"})]
NOT_GIVEN = [
    (200, {"reason": "no_slot", "queue_length": 0, "eta_minutes": None, "message": "…"}),
    (409, {"reason": "wrong_state", "state": "FREE", "message": "…"}),
    (409, {"reason": "waiting_list_full", "message": "…"}),
    (404, {"reason": "station_not_found", "message": "…"}),
]
NOWHERE = {"id_station": None, "alternatives": [], "excluded": {"out_of_range": 1}}
STANDING = [
    (200, {**SESSION, "state": state}) for state in ("WAITING", "OFFERED", "RESERVED", "CHARGING")
]
FREE = (200, {"user_id": "u", "state": "FREE"})
PAID = {"confirmation": True, "state": "CHARGING", **SESSION, "start_percent": 40, "amount": 3.0}
ANSWERS = {
    "LOGIN": [(200, {"user_id": "u"}), (400, {"user_id": None, "message": "…"})],
    "SELECTION_STATION": [(200, FOUND), (200, NOWHERE), *FAILED],
    "START": [(200, {"station_models": {"7": {}}}), (200, {"station_models": {}})],
    "PAYMENT": [(200, PAID), *NOT_GIVEN, *FAILED],
    "RESERVE": [*STANDING, *NOT_GIVEN, *FAILED],
    "ARRIVE": [STANDING[-1], *NOT_GIVEN, *FAILED],
    "STATUS": [FREE, *STANDING, *FAILED],
    "STOP": [(200, RECEIPT), (200, {**SESSION, "state": "FINISHED"}), *FAILED],
    "CANCEL": [FREE, (200, {**FREE[1], "receipt": RECEIPT}), NOT_GIVEN[1], *FAILED],
    "RECEIPT": [(200, RECEIPT), (404, {"reason": "receipt_not_found", "message": "…"})],
    "PLAN": [(200, PLANNED), (200, {"feasible": False, "missing_km": 9.0}), *FAILED],
    "HISTORY": [(200, {"receipts": [RECEIPT]}), (200, {"receipts": []}), (503, {"message": "…"})],
}
"""What may come of each question."""

REPLIES = st.fixed_dictionaries(
    {kind: st.sampled_from(answers) for kind, answers in ANSWERS.items()}
).map(
    lambda chosen: {
        "is": "reply",
        "by": {kind: {"code": code, "data": data} for kind, (code, data) in chosen.items()},
    }
)
EVENTS = st.sampled_from(
    [stands(name) for name in ("FREE", "OFFERED", "RESERVED", "CHARGING", "FINISHED")]
)
WISHES = st.sampled_from(
    [{"is": name} for name in ("toPlace", "toStations", "pay", "reserve", "join", "search", "gone")]
    + [{"is": name} for name in ("toGoal", "plan", "takeStop")]
    + [{"is": "goal", "goal": GOAL}]
    + [{"is": "place", "place": PLACE}, {"is": "confirm", "id": "7"}]
)


class RulesTests(BrowserTestCase):
    """The rules of a journey, in the browser that goes by them."""

    def run_all(self, *actions: dict[str, Any], kept: dict[str, str] | None = None) -> dict:
        """What a journey is after these."""
        # As one text: Playwright looks at each part of anything else, which takes most of the time.
        return self.page.evaluate(RUN, json.dumps([kept or {}, actions]))

    def test_rules(self) -> None:
        """Each reply leads where the contract of the messages says, and nothing is asked twice."""
        self.serve()
        self.page = self.open()
        paid = reply(confirmation=True, state="CHARGING", **SESSION, start_percent=40, amount=3.0)

        state = self.run_all(*TO_CONFIRM, {"is": "pay"})
        self.assertEqual(
            state["asking"]["data"],
            {
                "user_id": "u",
                "id_station": "7",
                "arrival_percent": 39,
                "target_percent": 80,
                "confirmation": True,
            },
        )
        # Who has asked for a slot cannot ask for another before the answer.
        again = self.run_all(*TO_CONFIRM, {"is": "pay"}, {"is": "reserve"}, {"is": "toPlace"})
        self.assertEqual((again["step"], again["asking"]), ("confirm", state["asking"]))

        # Nor can whom the server does not know any more.
        for wish in ("pay", "reserve", "join"):
            state = self.run_all(*TO_CONFIRM, {"is": "gone"}, {"is": wish})
            self.assertEqual(state["asking"]["type"], "LOGIN", wish)

        state = self.run_all(*TO_CONFIRM, {"is": "pay"}, paid)
        self.assertEqual((state["step"], state["receiptId"]), ("charging", "r"))
        self.assertEqual(state["asking"], STATUS)

        full = reply(reason="no_slot", queue_length=2, eta_minutes=9, message="…")
        state = self.run_all(*TO_CONFIRM, {"is": "pay"}, full)
        self.assertEqual((state["step"], state["full"]), ("confirm", {"queue": 2, "eta": 9}))

        # An event before the reply, and the reply after it, come to the same.
        state = self.run_all(*TO_CONFIRM, {"is": "pay"}, stands("CHARGING"), paid)
        self.assertEqual((state["step"], state["session"]["paid"]), ("charging", 3.0))

        state = self.run_all(*TO_CONFIRM, {"is": "pay"}, paid, {"is": "gone"})
        self.assertEqual(state["asking"], {"type": "RECEIPT", "data": {"receipt_id": "r"}})
        state = self.run_all(*TO_CONFIRM, {"is": "pay"}, paid, {"is": "gone"}, reply(**RECEIPT))
        self.assertEqual(
            (state["step"], state["userId"], state["receiptId"]), ("receipt", None, None)
        )
        state = self.run_all(
            *TO_CONFIRM, {"is": "pay"}, paid, {"is": "gone"}, reply(**RECEIPT), {"is": "again"}
        )
        self.assertEqual((state["step"], state["form"]["battery"]), ("car", 61))

        # STOP names the receipt, so that it may be asked again.
        state = self.run_all(*TO_CONFIRM, {"is": "pay"}, paid, {"is": "stop", "leave": True})
        self.assertEqual(
            state["asking"]["data"], {"user_id": "u", "leave": True, "receipt_id": "r"}
        )

        # Where PAYMENT's reply was lost, and all is over, the newest receipt of the driver is it.
        kept = {"user_id": "u"}
        state = self.run_all(reply(404, **GONE), kept=kept)
        self.assertEqual(
            state["asking"], {"type": "HISTORY", "data": {"driver_id": "u", "limit": 1}}
        )
        state = self.run_all(reply(404, **GONE), reply(receipts=[]), kept=kept)
        self.assertEqual((state["step"], state["userId"]), ("over", None))

        # What another user's question comes to is nothing to this one.
        other = {
            "is": "reply",
            "asked": {"type": "STATUS", "data": {"user_id": "x"}},
            "code": 404,
            "data": GONE,
        }
        state = self.run_all(*TO_CONFIRM, {"is": "pay"}, paid, other)
        self.assertEqual(state["step"], "charging")

        for ended, key in (("OFFERED", "trip.offer_over"), ("WAITING", "trip.left_queue")):
            state = self.run_all(*TO_CONFIRM, {"is": "join"}, stands(ended), stands("FREE"))
            self.assertEqual(state["notice"], {"key": key})
        state = self.run_all(*TO_CONFIRM, {"is": "reserve"}, stands("RESERVED"), stands("WAITING"))
        self.assertEqual((state["step"], state["notice"]), ("waiting", {"key": "trip.fell"}))

    def test_plan(self) -> None:
        """A trip is planned from the car to its goal, and its first stop taken as planned."""
        self.serve()
        self.page = self.open()
        to_goal = [*TO_STATIONS, {"is": "toGoal"}, {"is": "goal", "goal": GOAL}]
        wished = [*to_goal, {"is": "keep", "reserve": 15}, {"is": "plan"}]
        question = {
            "type": "PLAN",
            "data": {
                "user_id": "u",
                "battery_percent": 40,
                "places": [{"latitude": -12.25, "longitude": -38.95}, GOAL],
                "reserve_percent": 15,
                "criterion": "front",
            },
        }
        state = self.run_all(*wished)
        self.assertEqual((state["step"], state["asking"]), ("goal", question))
        state = self.run_all(*TO_STATIONS, {"is": "plan"})
        self.assertEqual((state["step"], state["asking"]), ("goal", None))

        # Where the server has forgotten the driver, it is told of that one again, and then asked.
        state = self.run_all(*wished, reply(404, **GONE))
        self.assertEqual(state["asking"]["type"], "LOGIN")
        state = self.run_all(*wished, reply(404, **GONE), reply(user_id="u"))
        self.assertEqual((state["step"], state["asking"]), ("goal", question))

        state = self.run_all(*wished, reply(503, message="…"))
        self.assertEqual((state["step"], state["notice"]), ("goal", {"said": "…"}))
        planned = [*wished, reply(**PLANNED)]
        self.assertEqual(self.run_all(*planned)["step"], "plan")
        # A plan that nobody waits for any more changes nothing.
        state = self.run_all(*wished, {"is": "toStations"}, {**planned[-1], "asked": question})
        self.assertEqual((state["step"], state["plans"]), ("stations", None))

        taken = [*planned, {"is": "takeStop"}]
        self.assertEqual(self.run_all(*taken)["asking"]["data"]["target_percent"], 46)
        state = self.run_all(*taken, reply(**{**FOUND, "id_station": "9"}))
        self.assertEqual(
            state["asking"]["data"]["list_stations"], {"7": {"distance_origin_position": 3.2}}
        )
        state = self.run_all(*taken, reply(**FOUND), reply(**FOUND))
        self.assertEqual((state["step"], state["chosen"]), ("confirm", "7"))
        self.assertEqual([option["id_station"] for option in state["options"]], ["7"])
        self.assertEqual(state["asking"], {"type": "START", "data": {"stations": ["7"]}})

        # With a full battery there is nothing to look for but a way.
        full = {"is": "form", "form": {"car": "Tesla Model 3", "battery": 100}}
        state = self.run_all(full, {"is": "place", "place": PLACE})
        self.assertEqual((state["step"], state["asking"]), ("goal", None))

        # The journey after that one goes to the same place.
        paid = reply(confirmation=True, state="CHARGING", **SESSION, start_percent=40, amount=3.0)
        details = reply(station_models={"7": {}})
        pays = [*taken, reply(**FOUND), reply(**FOUND), details, {"is": "pay"}, paid]
        state = self.run_all(*pays, {"is": "gone"}, reply(**RECEIPT), {"is": "again"})
        self.assertEqual((state["step"], state["goal"]), ("car", GOAL))

    def test_any_order(self) -> None:
        """Whatever comes in whatever order, there is a step, and what it shows is there."""
        self.serve()
        self.page = self.open()

        @given(st.lists(st.one_of(REPLIES, REPLIES, EVENTS, WISHES), max_size=12))
        @settings(max_examples=examples(100))
        def run(actions: list[dict[str, Any]]) -> None:
            state = self.run_all(*TO_CONFIRM, *actions)
            if state["isUnderWay"]:
                self.assertIsNotNone(state["session"])
                self.assertIsNotNone(state["userId"])
            if state["step"] == "receipt":
                self.assertIsNotNone(state["receipt"])
                self.assertIsNone(state["userId"])
            if state["step"] == "stations":
                self.assertIsNotNone(state["options"])
            if state["step"] == "plan":
                self.assertIsNotNone(state["plans"])
            if state["step"] == "over":
                self.assertIsNone(state["asking"])

        run()
