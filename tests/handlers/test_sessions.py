"""RESERVE, ARRIVE, STOP, CANCEL, STATUS, RECEIPT, HISTORY: what programs are told, and when."""

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.evse import Connector, Evse, EvseKind
from evcharge.models.tariffs import parse_tariff
from evcharge.models.terms import Terms
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.sweep import Sweep
from evcharge.testing import NOON, MemoryServer
from tests.support import journey
from tests.support.journey import login, outcome, server, station

SCALE = 60.0
MINUTE_S = 60 / SCALE

SESSION_FIELDS = {
    "user_id", "state", "since", "id_station", "name_station", "id_evse", "connector",
    "receipt_id", "start_percent", "target_percent", "battery_percent", "energy_kwh",
    "planned_energy_kwh", "power_kw", "cost", "amount", "estimated_timestamp",
    "expires_timestamp", "assumed",
}  # fmt: skip
WAITING_FIELDS = {
    "user_id", "state", "since", "id_station", "name_station", "position", "queue_length",
    "eta_minutes", "eta_earliest_minutes", "eta_latest_minutes",
}  # fmt: skip
RECEIPT_FIELDS = {
    "receipt_id", "final", "state", "end_reason", "id_station", "name_station", "id_evse",
    "connector", "reserved_from", "started", "charged_until", "ended", "energy_kwh",
    "start_percent", "end_percent", "average_power_kw", "reservation_minutes", "charge_minutes",
    "idle_minutes", "lines", "total_excl_vat", "total", "paid", "currency", "tariff",
}  # fmt: skip
LINE_FIELDS = {
    "dimension", "quantity", "unit", "price", "vat", "step_size", "excl_vat", "incl_vat",
}  # fmt: skip
NO_SLOT_FIELDS = {"user_id", "message", "reason", "queue_length", "eta_minutes"}

ACTIONS = {
    "FREE": ["RESERVE", "ARRIVE", "PAYMENT"],
    "WAITING": ["CANCEL"],
    "OFFERED": ["RESERVE", "ARRIVE", "PAYMENT", "CANCEL"],
    "RESERVED": ["ARRIVE", "PAYMENT", "CANCEL"],
    "CHARGING": ["STOP"],
    "FINISHED": ["STOP"],
}
"""What an app draws its buttons from."""

NAMES = (("CCS2", "IEC_62196_T2_COMBO"), ("CHAdeMO", "CHADEMO"))
FITTING = {"Small": {**journey.CARS["Small"], "dc_connectors": ["CCS2"], "ac_connectors": []}}
"""A car that one of them fits."""

TARIFF = {
    "id": "t",
    "currency": "BRL",
    "elements": [
        {
            "price_components": [
                {"type": "FLAT", "price": 5, "step_size": 1},
                {"type": "TIME", "price": 6, "step_size": 60},
            ],
            "restrictions": {"reservation": "RESERVATION"},
        },
        {
            "price_components": [{"type": "FLAT", "price": 9, "step_size": 1}],
            "restrictions": {"reservation": "RESERVATION_EXPIRES"},
        },
        {
            "price_components": [
                {"type": "ENERGY", "price": 2, "step_size": 1},
                {"type": "FLAT", "price": 1, "step_size": 1},
            ]
        },
    ],
}

MESSAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "RESERVE": ("RESERVE", {}),
    "WAIT": ("RESERVE", {"wait": True}),
    "ARRIVE": ("ARRIVE", {}),
    "PAY": ("PAYMENT", {"confirmation": True}),
    "END": ("PAYMENT", {"confirmation": False, "id_station": 1}),
    "STOP": ("STOP", {}),
    "STAY": ("STOP", {"leave": False}),
    "CANCEL": ("CANCEL", {}),
}

# By each message, to which station where it names one (1 is the driver's own, 2 has a free EVSE,
# 3 is full): the state afterwards of one who was in that of the column, or why not.
TABLE = """
            FREE      WAITING   OFFERED   RESERVED  CHARGING  FINISHED
RESERVE 1   RESERVED  WAITING   RESERVED  RESERVED  wrong     wrong
RESERVE 2   RESERVED  RESERVED  already   already   already   already
RESERVE 3   no_slot   no_slot   already   already   already   already
WAIT 1      RESERVED  WAITING   RESERVED  RESERVED  wrong     wrong
WAIT 2      RESERVED  RESERVED  already   already   already   already
WAIT 3      WAITING   WAITING   already   already   already   already
ARRIVE 1    CHARGING  no_slot   CHARGING  CHARGING  CHARGING  FINISHED
ARRIVE 2    CHARGING  CHARGING  already   already   already   already
ARRIVE 3    no_slot   no_slot   already   already   already   already
PAY 1       CHARGING  no_slot   CHARGING  CHARGING  CHARGING  FINISHED
PAY 2       CHARGING  CHARGING  already   already   already   already
PAY 3       no_slot   no_slot   already   already   already   already
END         gone      gone      gone      gone      gone      gone
STOP        wrong     wrong     wrong     wrong     gone      gone
STAY        wrong     wrong     wrong     wrong     FINISHED  FINISHED
CANCEL      FREE      FREE      FREE      FREE      wrong     wrong
"""

REASONS = {
    "wrong": (409, "wrong_state"),
    "already": (409, "already_reserved"),
    "no_slot": (200, "no_slot"),
}


class SessionTestCase(SynchronousTestCase):
    """Drivers at a network of three stations, the last of which is full."""

    def setUp(self) -> None:
        self.start()

    def start(self, *options: str) -> None:
        """A server anew."""
        self.server = server(
            station(1, power_kw=50.0), station(2, 2, power_kw=50.0), station(3, power_kw=50.0),
            time_scale=SCALE, options=options,
        )  # fmt: skip
        self.users: list[str] = []
        """Those who have logged in since, but for the one at station 3."""
        self.ask("ARRIVE", login(self.server), id_station=3, target_percent=100)

    def login(self, *args: Any, **more: Any) -> str:
        user = login(self.server, *args, **more)
        self.users.append(user)
        return user

    def ask(self, kind: str, user: str, **more: Any) -> dict[str, Any]:
        """The data of the reply to a user."""
        return self.server.request(kind, user_id=user, **more)["data"]

    def status(self, user: str) -> dict[str, Any]:
        return self.ask("STATUS", user)

    def receipt(self, receipt_id: str) -> dict[str, Any]:
        return self.server.request("RECEIPT", receipt_id=receipt_id)["data"]

    def history(self, driver_id: str, **more: Any) -> dict[str, Any]:
        return self.server.request("HISTORY", driver_id=driver_id, **more)["data"]

    def minutes(self, minutes: float) -> None:
        """Let simulated minutes pass."""
        self.server.advance(minutes * MINUTE_S)

    def driver(self, state: str, **more: Any) -> str:
        """A driver in a state at station 1; it takes no time."""
        user = self.login(**more)
        if state in ("WAITING", "OFFERED"):
            holder = self.login()
            self.ask("ARRIVE", holder, id_station=1)
            self.ask("RESERVE", user, id_station=1, wait=True)
            if state == "OFFERED":
                self.ask("STOP", holder)
        elif state == "RESERVED":
            self.ask("RESERVE", user, id_station=1, arrival_minutes=10)
        elif state in ("CHARGING", "FINISHED"):
            self.ask("ARRIVE", user, id_station=1)
            if state == "FINISHED":
                self.ask("STOP", user, leave=False)
        self.assertEqual(self.status(user)["state"], state)
        return user

    def shown(self, number: int = 1) -> dict[str, Any]:
        """A station as START has it."""
        key = str(number)
        return self.server.request("START", stations=[key])["data"]["station_models"][key]


class PairTests(SessionTestCase):
    """Each message in each state, as the contract's table has it."""

    def test_every_pair(self) -> None:
        """Each leads where it should; what is refused changes nothing, and a repeat neither."""
        heads, *rows = [line.split() for line in TABLE.strip().splitlines()]
        for row in rows:
            at = row[1 : len(row) - len(heads)]
            for before, after in zip(heads, row[1 + len(at) :], strict=True):
                self.one(before, row[0], at, after)
                for user in self.users:
                    self.ask("PAYMENT", user, id_station=1, confirmation=False)
                self.users.clear()

    def one(self, before: str, message: str, at: list[str], after: str) -> None:
        """One cell of the table."""
        cell = f"{message} {at} in {before}"
        user = self.driver(before)
        kind, more = MESSAGES[message]
        if at:
            more = {**more, "id_station": at[0]}
        stood, shown = self.status(user), [self.shown(number) for number in (1, 2, 3)]
        reply = self.server.request(kind, user_id=user, **more)
        data, standing = reply["data"], self.status(user)
        self.assertEqual(data["user_id"], user)
        self.assertTrue(data["message"])
        if after in REASONS:
            self.assertEqual(outcome(reply), REASONS[after], cell)
            self.assertEqual(standing, stood, cell)
            self.assertEqual([self.shown(number) for number in (1, 2, 3)], shown)
            if after == "wrong":
                self.assertEqual(data["state"], before)
            return
        self.assertEqual(outcome(reply), (200, None), cell)
        if after == "gone":
            self.assertEqual(standing["reason"], "user_not_found")
            return
        self.assertEqual((standing["state"], standing["actions"]), (after, ACTIONS[after]), cell)
        if after == "FREE":
            self.assertEqual(set(data), {"user_id", "state", "message"})
            self.assertEqual(set(standing), {"user_id", "state", "actions", "server_timestamp"})
        else:
            fields = WAITING_FIELDS if after == "WAITING" else SESSION_FIELDS
            self.assertEqual(set(standing), {*fields, "actions", "server_timestamp"})
            if kind != "PAYMENT":
                self.assertEqual(set(data), {*fields, "message"})
                self.assertEqual({**standing, **data, "message": ""}, {**standing, "message": ""})
            else:
                self.assertEqual(data["confirmation"], True)
                for field in ("id_station", "receipt_id", "id_evse", "amount", "state"):
                    self.assertEqual(data[field], standing[field], field)
        shown = [self.shown(number) for number in (1, 2, 3)]
        again = self.server.request(kind, user_id=user, **more)
        self.assertEqual(again["data"], data, cell)
        self.assertEqual(self.status(user), standing, cell)
        self.assertEqual([self.shown(number) for number in (1, 2, 3)], shown)

    def test_unknown_user(self) -> None:
        """Who is not there is told so, by each message about a user, and which user was meant."""
        for message, (kind, more) in MESSAGES.items():
            reply = self.server.request(kind, **{"id_station": 1, **more, "user_id": "nobody"})
            self.assertEqual(outcome(reply), (404, "user_not_found"), message)
            self.assertEqual(reply["data"]["user_id"], "nobody")
        self.assertEqual(self.status("nobody")["reason"], "user_not_found")

    def test_unknown_station(self) -> None:
        """A station that is not there is not found, whatever the id looks like."""
        user = self.login()
        for key in (99, "99", "01", "", "é", -1, 10**30, "x" * 200):
            for kind in ("RESERVE", "ARRIVE", "PAYMENT"):
                reply = self.server.request(
                    kind, user_id=user, id_station=key, **MESSAGES["PAY"][1]
                )
                self.assertEqual(outcome(reply), (404, "station_not_found"), (kind, key))
        self.assertEqual(self.status(user)["state"], "FREE")


class FieldTests(SessionTestCase):
    """What is said of a session."""

    def test_reserved(self) -> None:
        """A reservation is told by when to come, what is expected, and nothing that is not yet."""
        user = self.login()
        told = self.ask("RESERVE", user, id_station=1, arrival_minutes=10, arrival_percent=30)
        expected = {
            "state": "RESERVED",
            "since": "2025-04-07T13:45:12.678Z",
            "id_station": "1",
            "name_station": "Posto 1",
            "id_evse": "1-1",
            "start_percent": 30.0,
            "target_percent": 80.0,
            "battery_percent": None,
            "energy_kwh": 0.0,
            "planned_energy_kwh": 25.0,
            "power_kw": None,
            "cost": 0.0,
            "amount": 50.0,
            "expires_timestamp": NOON + 25 * MINUTE_S,
            "estimated_timestamp": NOON + 40 * MINUTE_S,
        }
        self.assertEqual({field: told[field] for field in expected}, expected)
        self.assertIn("price", told["assumed"])

    def test_charging(self) -> None:
        """What is charged so far is that of the moment, to the end, and no more after it."""
        user = self.login()
        told = self.ask("ARRIVE", user, id_station=1)
        self.assertEqual((told["battery_percent"], told["expires_timestamp"]), (40.0, None))
        for minutes, energy, percent, power in (
            (6, 5.0, 50.0, 50.0),
            (12, 15.0, 70.0, 50.0),
            (6, 20.0, 80.0, 0.0),
            (20, 20.0, 80.0, 0.0),
        ):
            self.minutes(minutes)
            told = self.status(user)
            self.assertAlmostEqual(told["energy_kwh"], energy, 5)
            self.assertAlmostEqual(told["battery_percent"], percent, 5)
            self.assertEqual(told["power_kw"], power)
            self.assertAlmostEqual(told["cost"], 2 * energy, 2)
            self.assertEqual((told["amount"], told["planned_energy_kwh"]), (40.0, 20.0))
        self.assertEqual(told["state"], "FINISHED")
        self.assertAlmostEqual(told["expires_timestamp"], NOON + 54 * MINUTE_S, 5)

    def test_times(self) -> None:
        """`since` is text in UTC, and each `…_timestamp` a number of seconds."""
        for state in ("WAITING", "OFFERED", "RESERVED", "CHARGING", "FINISHED"):
            self.start()
            told = self.status(self.driver(state))
            self.assertEqual(told["since"], "2025-04-07T13:45:12.678Z")
            for field, value in told.items():
                if field.endswith("_timestamp") and value is not None:
                    self.assertIsInstance(value, float, field)
            self.assertEqual(told["server_timestamp"], NOON)

    def test_no_slot(self) -> None:
        """Where nothing is free, it is told how many wait and when one's turn would come."""
        user = self.login()
        for kind in ("RESERVE", "ARRIVE"):
            told = self.ask(kind, user, id_station=3)
            self.assertEqual(set(told), NO_SLOT_FIELDS)
            self.assertEqual((told["queue_length"], told["eta_minutes"]), (0, 36.0))
        told = self.ask("PAYMENT", user, id_station=3, confirmation=True)
        self.assertEqual(set(told), {*NO_SLOT_FIELDS, "id_station", "confirmation"})
        self.assertIs(told["confirmation"], False)

    def test_message(self) -> None:
        """A program that shows the message alone shows what its driver needs."""
        user, waits = self.login(), self.login()
        for kind, who, more, says in (
            ("RESERVE", user, {"id_station": 1},
             "Vaga 1-1 reservada no posto 1, recarga prevista de R$ 40,00"),
            ("RESERVE", waits, {"id_station": 1, "wait": True},
             "Lugar 1 na fila do posto 1, vez prevista em 24 min"),
            ("ARRIVE", user, {"id_station": 1}, "Recarga na vaga 1-1 do posto 1, 24 min ao todo"),
            ("STOP", user, {"leave": False}, "Recarga terminada na vaga 1-1 do posto 1: R$ 10,00"),
            ("ARRIVE", user, {"id_station": 1},
             "Recarga terminada na vaga 1-1 do posto 1: R$ 10,00"),
            ("STOP", user, {}, "Recarga encerrada: R$ 10,00"),
            ("CANCEL", waits, {}, "Vaga ou lugar na fila liberado"),
        ):  # fmt: skip
            if kind == "STOP" and who == user and not self.status(user)["energy_kwh"]:
                self.minutes(6)
            self.assertEqual(self.ask(kind, who, **more)["message"], says)


class DeadlineTests(SessionTestCase):
    """What passes by itself, at its instant."""

    def test_hold(self) -> None:
        """A reservation holds for the way and the hold; then it is a no-show, and a walk-in."""
        user = self.driver("RESERVED")
        told = self.status(user)
        self.minutes(24.99)
        self.assertEqual(self.status(user)["state"], "RESERVED")
        self.minutes(0.01)
        self.assertEqual(self.status(user)["state"], "FREE")
        receipt = self.receipt(told["receipt_id"])
        self.assertEqual((receipt["state"], receipt["end_reason"]), ("NO_SHOW", "expired"))
        self.assertEqual(receipt["reservation_minutes"], 25.0)
        arrived = self.ask("ARRIVE", user, id_station=1)
        self.assertEqual(arrived["state"], "CHARGING")
        self.assertNotEqual(arrived["receipt_id"], told["receipt_id"])

    def test_offer(self) -> None:
        """An offer holds for five minutes; the place is gone with it, and nothing is owed."""
        user = self.driver("OFFERED")
        told = self.status(user)
        self.assertAlmostEqual(told["expires_timestamp"], NOON + 5 * MINUTE_S, 5)
        self.minutes(5)
        self.assertEqual(self.status(user)["state"], "FREE")
        self.assertEqual(self.receipt(told["receipt_id"])["reason"], "receipt_not_found")
        self.assertEqual(self.history(user)["receipts"], [])
        self.assertEqual(self.shown()["available_slots"], 1)

    def test_target(self) -> None:
        """A car stays where it is charged, for half an hour, unless its driver said otherwise."""
        user, leaves = self.login(), self.login()
        self.ask("ARRIVE", user, id_station=1)
        told = self.ask("ARRIVE", leaves, id_station=2, leaves_when_done=True)
        self.minutes(24)
        self.assertEqual(self.status(user)["state"], "FINISHED")
        self.assertEqual(self.status(leaves)["reason"], "user_not_found")
        self.assertEqual(self.receipt(told["receipt_id"])["end_reason"], "target")
        self.minutes(30)
        self.assertEqual(self.status(user)["reason"], "user_not_found")
        (receipt,) = self.history(user)["receipts"]
        self.assertEqual((receipt["state"], receipt["end_reason"]), ("COMPLETED", "idle_limit"))
        self.assertEqual((receipt["charge_minutes"], receipt["idle_minutes"]), (24.0, 30.0))

    def test_nobody_looked(self) -> None:
        """What has fallen due is shown as done, at its instant, though no sweep has come."""
        for state, minutes, after, receipt in (
            ("OFFERED", 5, "FREE", None),
            ("RESERVED", 25, "FREE", ("NO_SHOW", "expired", 25.0, 0.0)),
            ("CHARGING", 24, "FINISHED", ("FINISHED", None, 0.0, 1.0)),
            ("CHARGING", 54, None, ("COMPLETED", "idle_limit", 0.0, 30.0)),
            ("FINISHED", 30, None, ("COMPLETED", "idle_limit", 0.0, 30.0)),
        ):
            self.start()
            self.server.monitor.stopService()
            user = self.driver(state)
            told = self.status(user)
            self.minutes(minutes + 1)
            self.assertEqual(self.status(user).get("state"), after, state)
            found = self.receipt(told["receipt_id"])
            fields = ("state", "end_reason", "reservation_minutes", "idle_minutes")
            if receipt is None:
                self.assertEqual(found["reason"], "receipt_not_found")
            else:
                self.assertEqual(tuple(found[field] for field in fields), receipt)
                self.assertEqual(found["final"], receipt[1] is not None)
                # It is the one that is issued, once somebody looks.
                self.ask("ARRIVE", user, id_station=3)
                self.assertEqual(self.receipt(told["receipt_id"]), found)

    def test_never_paid(self) -> None:
        """A user's day counts from LOGIN, and spares who holds or waits."""
        holds, waits, free = (self.login() for _ in range(3))
        self.ask("RESERVE", holds, id_station=1, arrival_minutes=120)
        self.ask("RESERVE", waits, id_station=3, wait=True)
        self.server.monitor.stopService()
        for late, states in ((-1, ("RESERVED", "WAITING", "FREE")), (1, ("RESERVED", "WAITING"))):
            sweep = Sweep(self.server.clock.seconds(), NOON + late, Terms(time_scale=SCALE))
            self.server.engine.perform(sweep)
            found = [self.status(user).get("state") for user in (holds, waits, free)]
            self.assertEqual(tuple(filter(None, found)), states)
        self.ask("CANCEL", waits)
        self.server.engine.perform(sweep)
        self.assertEqual(self.status(waits)["reason"], "user_not_found")

    def test_options(self) -> None:
        """How long each of them holds is the operator's choice."""
        self.start("--hold-minutes=3", "--offer-minutes=2", "--idle-minutes=4")
        for state, minutes in (("RESERVED", 13), ("OFFERED", 2), ("FINISHED", 4)):
            user = self.driver(state)
            expires = self.status(user)["expires_timestamp"] - self.server.clock.seconds()
            self.assertAlmostEqual(expires, minutes * MINUTE_S, 5)
            self.ask("PAYMENT", user, id_station=1, confirmation=False)


class MoneyTests(SessionTestCase):
    """Receipts, and what is paid."""

    def paid(self, receipt_id: str) -> list[float]:
        """The entries of a session in the list of payments."""
        return [
            float(each.amount)
            for each in self.server.storage.payments
            if receipt_id in (each.receipt_id, each.refund_of)
        ]

    def test_paid_ahead(self) -> None:
        """The estimate is paid at once; who leaves early has the rest back."""
        user = self.login()
        told = self.ask("PAYMENT", user, id_station=1, confirmation=True)
        self.assertEqual(self.paid(told["receipt_id"]), [40.0])
        self.minutes(6)
        self.ask("STOP", user)
        self.assertEqual(self.paid(told["receipt_id"]), [40.0, -30.0])
        receipt = self.receipt(told["receipt_id"])
        self.assertEqual((receipt["paid"], receipt["total"]), (40.0, 10.0))

    def test_paid_at_the_end(self) -> None:
        """Other sessions are paid when they are over, by one entry, or none where it is nothing."""
        user, other = self.login(), self.driver("RESERVED")
        told = self.ask("ARRIVE", user, id_station=2)
        self.minutes(6)
        self.assertEqual(self.paid(told["receipt_id"]), [])
        self.ask("STOP", user)
        self.assertEqual(self.paid(told["receipt_id"]), [10.0])
        nothing = self.status(other)["receipt_id"]
        self.ask("CANCEL", other)
        self.assertEqual((self.receipt(nothing)["total"], self.paid(nothing)), (0.0, []))

    def test_receipt(self) -> None:
        """A receipt has all its fields, and they add up; so far, before it is final."""
        user = self.login()
        told = self.ask("RESERVE", user, id_station=1, arrival_minutes=10)
        states = ["RESERVED"]
        found = self.receipt(told["receipt_id"])
        self.minutes(10)
        self.ask("ARRIVE", user, id_station=1)
        for minutes in (6, 20):
            self.minutes(minutes)
            found = self.receipt(told["receipt_id"])
            self.assertEqual((set(found), found["final"]), (RECEIPT_FIELDS, False))
            self.assertEqual(found["total"], self.status(user)["cost"])
            states.append(found["state"])
        self.assertEqual(states, ["RESERVED", "CHARGING", "FINISHED"])
        self.ask("STOP", user, receipt_id=told["receipt_id"])
        found = self.receipt(told["receipt_id"])
        self.assertEqual(set(found), RECEIPT_FIELDS)
        for field, value in {
            "final": True, "state": "COMPLETED", "end_reason": "stopped", "id_station": "1",
            "id_evse": "1-1", "energy_kwh": 20.0, "start_percent": 40.0, "end_percent": 80.0,
            "average_power_kw": 50.0, "reservation_minutes": 10.0, "charge_minutes": 24.0,
            "idle_minutes": 2.0, "total": 40.0, "paid": 0.0, "currency": "BRL",
            "reserved_from": "2025-04-07T13:45:12.678Z", "started": "2025-04-07T13:45:22.678Z",
            "charged_until": "2025-04-07T13:45:46.678Z", "ended": "2025-04-07T13:45:48.678Z",
        }.items():  # fmt: skip
            self.assertEqual(found[field], value, field)
        self.assertTrue(all(set(line) == LINE_FIELDS for line in found["lines"]))
        self.assertEqual(sum(line["incl_vat"] for line in found["lines"]), 40.0)
        self.assertEqual(found["tariff"]["currency"], "BRL")

    def test_as_announced(self) -> None:
        """What comes as it was estimated costs what was announced, to the cent."""
        user, other = self.login(33.3), self.login(33.3)
        told = self.ask("PAYMENT", user, id_station=1, confirmation=True)
        ahead = self.ask("RESERVE", other, id_station=2, arrival_minutes=7.5)
        self.minutes(7.5)
        self.ask("ARRIVE", other, id_station=2)
        self.server.advance(self.status(other)["estimated_timestamp"] - self.server.clock.seconds())
        self.ask("STOP", other)
        for each in (told, ahead):
            receipt = self.receipt(each["receipt_id"])
            self.assertEqual((receipt["total"], receipt["final"]), (each["amount"], True))
            self.assertEqual(sum(self.paid(each["receipt_id"])), each["amount"])


class IdempotenceTests(SessionTestCase):
    """The same again."""

    def test_stop(self) -> None:
        """STOP again is the same receipt, to whoever says which; to others nobody is there."""
        user = self.driver("CHARGING")
        receipt_id = self.status(user)["receipt_id"]
        self.minutes(3)
        first = self.ask("STOP", user, receipt_id=receipt_id)
        self.assertEqual(set(first), {*RECEIPT_FIELDS, "user_id", "message"})
        for leave in (True, False):
            self.assertEqual(self.ask("STOP", user, receipt_id=receipt_id, leave=leave), first)
        self.assertEqual(self.ask("STOP", user)["reason"], "user_not_found")
        self.assertEqual(self.ask("STOP", user, receipt_id="x")["reason"], "user_not_found")

    def test_history(self) -> None:
        """A driver's receipts are found page by page, the newest first, when the user is gone."""
        driver, ids = "6f1f2b9c-3c1e-4c53-9a55-0f8a7c5de001", []
        for number in range(5):
            user = self.login(driver_id=driver)
            ids.append(self.ask("ARRIVE", user, id_station=1)["receipt_id"])
            self.minutes(1 + number)
            self.ask("STOP", user)
        ids.reverse()
        told = self.history(driver)
        self.assertEqual([each["receipt_id"] for each in told["receipts"]], ids)
        self.assertIs(told["more"], False)
        self.assertTrue(all(set(each) == RECEIPT_FIELDS for each in told["receipts"]))
        found, before, pages = [], {}, 0
        while pages < 3:
            told = self.history(driver, limit=2, **before)
            found += [each["receipt_id"] for each in told["receipts"]]
            before, pages = {"before": found[-1]}, pages + 1
            self.assertIs(told["more"], pages < 3)
        self.assertEqual(found, ids)
        self.assertEqual(self.history(user)["receipts"], [])

    def test_lost_payment(self) -> None:
        """A payment whose reply was lost is found by the user's id, after its end too."""
        user = self.login()
        told = self.ask("PAYMENT", user, id_station=1, confirmation=True)
        self.assertEqual(self.ask("PAYMENT", user, id_station=1, confirmation=True), told)
        self.minutes(24)
        self.assertEqual(self.status(user)["reason"], "user_not_found")
        (receipt,) = self.history(user)["receipts"]
        self.assertEqual(receipt["receipt_id"], told["receipt_id"])
        self.assertEqual((receipt["paid"], receipt["total"]), (told["amount"], told["amount"]))

    def test_unchanged(self) -> None:
        """A reservation, or a place, stays as it is whatever else is said of it again."""
        for state in ("RESERVED", "WAITING"):
            self.start()
            user = self.driver(state)
            stood = self.status(user)
            more = {"arrival_minutes": 90, "target_percent": 60, "arrival_percent": 5}
            for wait in (False, True):
                self.ask("RESERVE", user, id_station=1, wait=wait, id_evse="1-9", **more)
                self.assertEqual(self.status(user), stood)

    def test_offer(self) -> None:
        """An offer is accepted with the drive and the charge that are said now."""
        user = self.driver("OFFERED")
        told = self.ask("RESERVE", user, id_station=1, arrival_minutes=20, target_percent=60)
        self.assertAlmostEqual(told["expires_timestamp"], NOON + 35 * MINUTE_S, 5)
        self.assertEqual((told["target_percent"], told["amount"]), (60.0, 20.0))
        user = self.driver_offered_any()
        told = self.ask("RESERVE", user, id_station=2, wait=True, id_evse="no such")
        self.assertEqual(told["state"], "RESERVED")

    def driver_offered_any(self) -> str:
        """One who is offered an EVSE of station 2."""
        holders = [self.login() for _ in range(2)]
        for holder in holders:
            self.ask("ARRIVE", holder, id_station=2)
        user = self.login()
        self.ask("RESERVE", user, id_station=2, wait=True)
        self.ask("STOP", holders[0])
        return user


class LineTests(SessionTestCase):
    """The line of a station."""

    def test_order(self) -> None:
        """First come, first served; who declines is out, and who comes later does not overtake."""
        holder = self.driver("CHARGING")
        first, second, late = (self.login() for _ in range(3))
        for number, user in enumerate((first, second), 1):
            told = self.ask("RESERVE", user, id_station=1, wait=True)
            self.assertEqual((told["position"], told["queue_length"]), (number, number))
        self.ask("STOP", holder)
        for kind, more in (MESSAGES["RESERVE"], MESSAGES["ARRIVE"], MESSAGES["PAY"]):
            told = self.ask(kind, late, id_station=1, **more)
            self.assertEqual((told["reason"], told["queue_length"]), ("no_slot", 1))
        self.assertEqual(self.status(first)["state"], "OFFERED")
        self.assertEqual(self.status(second)["position"], 1)
        self.ask("CANCEL", first)
        self.assertEqual(self.status(second)["state"], "OFFERED")
        self.assertEqual(self.ask("RESERVE", first, id_station=1)["reason"], "no_slot")
        self.ask("CANCEL", second)
        self.assertEqual(self.ask("ARRIVE", late, id_station=1)["state"], "CHARGING")

    def test_full(self) -> None:
        """The line of a station has an end, and who is not let in keeps the place elsewhere."""
        self.start("--queue-limit=2")
        self.driver("CHARGING")
        for _ in range(2):
            self.ask("RESERVE", self.login(), id_station=1, wait=True)
        user = self.login()
        self.ask("RESERVE", user, id_station=3, wait=True)
        stood = self.status(user)
        reply = self.server.request("RESERVE", user_id=user, id_station=1, wait=True)
        self.assertEqual(outcome(reply), (409, "waiting_list_full"))
        self.assertEqual(self.status(user), stood)
        self.assertEqual((self.shown()["queue_length"], self.shown(3)["queue_length"]), (2, 1))

    def test_interval(self) -> None:
        """The estimate and its interval are those of the contract's example."""
        self.start()
        one, other = (self.login(0) for _ in range(2))
        self.ask("ARRIVE", one, id_station=2, target_percent=20, leaves_when_done=True)
        self.ask("ARRIVE", other, id_station=2, target_percent=100 / 3)
        etas = []
        for arrival, target in ((0, 125 / 3), (6, 50), (0, 80)):
            user = self.login(0)
            told = self.ask(
                "RESERVE", user, id_station=2, wait=True,
                arrival_minutes=arrival, target_percent=target,
            )  # fmt: skip
            etas.append(tuple(round(told[f"eta_{each}minutes"], 3)
                              for each in ("", "earliest_", "latest_")))  # fmt: skip
        self.assertEqual(etas, [(12, 12, 12), (20, 12, 50), (37, 12, 87)])

    def test_broken(self) -> None:
        """Where all that fits is out of service a place stays, and nobody knows for how long."""
        user = self.driver("WAITING")
        self.operator("1-1", "OUTOFORDER")
        told = self.status(user)
        self.assertEqual(told["state"], "WAITING")
        for field in ("eta_minutes", "eta_earliest_minutes", "eta_latest_minutes"):
            self.assertIsNone(told[field])
        self.operator("1-1", "IN_SERVICE")
        self.assertEqual(self.status(user)["state"], "OFFERED")

    def operator(self, uid: str, status: str) -> None:
        """Have the operator say what an EVSE is."""
        now, terms = self.server.clock.seconds(), Terms(time_scale=SCALE)
        self.server.engine.perform(SetEvseStatus(uid, status, None, now, terms))

    def test_before_all(self) -> None:
        """Whose reservation breaks is the first in line, owes nothing, and has a receipt."""
        user = self.driver("RESERVED")
        told = self.status(user)
        behind = self.login()
        self.ask("RESERVE", behind, id_station=1, wait=True)
        self.minutes(2)
        self.operator("1-1", "OUTOFORDER")
        now = self.status(user)
        self.assertEqual((now["state"], now["position"]), ("WAITING", 1))
        self.assertEqual(self.status(behind)["position"], 2)
        receipt = self.receipt(told["receipt_id"])
        self.assertEqual(
            (receipt["state"], receipt["end_reason"], receipt["total"]),
            ("CANCELLED", "operator", 0.0),
        )

    def test_selection(self) -> None:
        """SELECTION_STATION has a driver wait for all who are in line before, less the way."""
        holder = self.driver("CHARGING")
        waits = self.login()
        self.ask("RESERVE", waits, id_station=1, wait=True)
        user = self.login()
        joined = self.ask("PAYMENT", user, id_station=1, confirmation=True)["eta_minutes"]
        listed = {"1": {"distance_origin_position": 7.0}}
        told = self.ask("SELECTION_STATION", user, list_stations=listed)
        self.assertEqual((told["queue_length"], told["fitting_slots"]), (1, 0))
        self.assertAlmostEqual(told["wait_minutes"], joined - told["travel_minutes"], 5)
        self.assertEqual(joined, 48.0)
        told = self.ask("SELECTION_STATION", waits, list_stations=listed)
        self.assertAlmostEqual(told["wait_minutes"], 24.0 - told["travel_minutes"], 5)
        self.ask("STOP", holder)
        self.ask("CANCEL", waits)
        told = self.ask("SELECTION_STATION", user, list_stations=listed)
        self.assertEqual((told["wait_minutes"], told["fitting_slots"]), (0.0, 1))


class SecretTests(SessionTestCase):
    """What is nobody else's business."""

    def test_others(self) -> None:
        """No reply to a driver has another's id, name or receipt in it, be it refused."""
        told: dict[str, list[str]] = {}
        names = {state: f"driver {state}" for state in ACTIONS}
        users = {}
        for state in ("RESERVED", "WAITING"):
            user = self.server.request(
                "LOGIN", user_name=names[state], selected_car="Small", battery_car=40
            )["data"]["user_id"]
            users[state] = user
            self.ask("RESERVE", user, id_station=1, wait=True)
        receipt_id = self.status(users["RESERVED"])["receipt_id"]
        secrets = {*users.values(), *names.values(), receipt_id}
        user = self.login()
        for number in (1, 2, 3):
            for kind, more in MESSAGES.values():
                data = self.ask(kind, user, **{"id_station": number, **more})
                told.setdefault(kind, []).append(str(data))
                told.setdefault("STATUS", []).append(str(self.status(user)))
                if self.status(user).get("reason") == "user_not_found":
                    user = self.login()
        told["START"] = [str(self.server.request("START", stations=["1", "2", "3"]))]
        for kind, replies in told.items():
            for reply in replies:
                for secret in secrets:
                    self.assertNotIn(secret, reply, kind)


class ChoiceTests(SessionTestCase):
    """What a driver may say of an EVSE, of the charge, and of the way."""

    def start(self, *options: str) -> None:
        """A server anew, of stations with two kinds of connectors, one, and unknown ones."""
        plugs = [Connector("1", name, standard) for name, standard in NAMES]
        evses = (
            Evse("1-1", EvseKind((plugs[0],), 50.0)),
            Evse("1-2", EvseKind((plugs[0],), 50.0)),
            Evse("1-3", EvseKind((plugs[1],), 50.0)),
        )
        # The connectors of the first one are not known.
        unknown = Evse("3-1", EvseKind((), 50.0)), attrs.evolve(evses[0], uid="3-2")
        self.server = MemoryServer(
            journey.make_storage(
                FITTING,
                [
                    attrs.evolve(station(1, 3), own_evses=evses),
                    attrs.evolve(station(2, 1), own_evses=(attrs.evolve(evses[2], uid="2-1"),)),
                    attrs.evolve(station(3, 2), own_evses=unknown),
                ],
            ),
            time_scale=SCALE,
        )
        self.users = []

    def reason(self, kind: str, user: str, **more: Any) -> tuple:
        return outcome(self.server.request(kind, user_id=user, **more))

    def test_reasons(self) -> None:
        """An EVSE may be asked for that is there, free, and fits; else it is told why not."""
        users = {kind: self.login() for kind in ("RESERVE", "ARRIVE")}
        for kind, user in users.items():
            for number, uid, why in (
                (2, None, (409, "no_compatible_connector")),
                (2, "2-1", (409, "no_compatible_connector")),
                (1, "1-3", (409, "no_compatible_connector")),
                (1, "1-4", (404, "evse_not_found")),
                (1, "2-1", (404, "evse_not_found")),
                (1, "", (400, "invalid_field")),
                (1, "x" * 201, (400, "invalid_field")),
                (1, 11, (400, "invalid_field")),
            ):
                more = {} if uid is None else {"id_evse": uid}
                self.assertEqual(self.reason(kind, user, id_station=number, **more), why)
            self.assertEqual(self.status(user)["state"], "FREE")
        told = self.ask("RESERVE", users["RESERVE"], id_station=1, id_evse="1-2")
        self.assertEqual(told["id_evse"], "1-2")
        again = {"id_station": 1, "id_evse": "1-2"}
        self.assertEqual(self.reason("ARRIVE", users["ARRIVE"], **again), (200, "no_slot"))
        self.assertEqual(self.ask("ARRIVE", users["RESERVE"], id_station=1)["id_evse"], "1-2")

    def test_another(self) -> None:
        """Who has reserved may arrive at another EVSE that is free; the receipt stays the same."""
        user, waits = self.login(), [self.login() for _ in range(2)]
        told = self.ask("RESERVE", user, id_station=1)
        arrived = self.ask("ARRIVE", user, id_station=1, id_evse="1-2")
        self.assertEqual((told["id_evse"], arrived["id_evse"]), ("1-1", "1-2"))
        self.assertEqual(arrived["receipt_id"], told["receipt_id"])
        for each, state in zip(waits, ("RESERVED", "WAITING"), strict=True):
            self.assertEqual(self.ask("RESERVE", each, id_station=1, wait=True)["state"], state)
        self.assertEqual(
            self.reason("ARRIVE", waits[0], id_station=1, id_evse="1-2"), (200, "no_slot")
        )
        self.assertEqual(self.status(waits[0])["state"], "RESERVED")

    def test_ranges(self) -> None:
        """What is out of its range is refused by its name, and takes nothing."""
        user = self.login()
        for kind, field, good, bad in (
            ("RESERVE", "arrival_minutes", (0, "7", 120), (-1, 120.5, "x", True, None, 1e308)),
            ("RESERVE", "arrival_percent", (0, "50", 100), (-0.1, 100.1, False, None, [])),
            ("RESERVE", "target_percent", (0.1, "50", 100), (0, 100.1, True, None, {})),
            ("RESERVE", "wait", (True, False), (1, "true", None, [])),
            ("ARRIVE", "arrival_percent", (0, "50", 100), (-0.1, 100.1, False, None, [])),
            ("ARRIVE", "target_percent", (0.1, "50", 100), (0, 100.1, True, None, {})),
            ("ARRIVE", "leaves_when_done", (True, False), (1, "true", None, [])),
            ("STOP", "leave", (True, False), (1, "true", None, [])),
        ):
            for value in bad:
                reply = self.server.request(kind, user_id=user, id_station=1, **{field: value})
                self.assertEqual(outcome(reply), (400, "invalid_field"), (field, value))
                self.assertIn(field, reply["data"]["message"])
                self.assertEqual(reply["data"]["user_id"], user)
                self.assertEqual(self.status(user)["state"], "FREE")
            for value in good:
                who = self.login()
                if kind == "STOP":
                    self.ask("ARRIVE", who, id_station=1)
                reply = self.server.request(kind, user_id=who, id_station=1, **{field: value})
                self.assertEqual(outcome(reply), (200, None), (field, value))
                self.ask("PAYMENT", who, id_station=1, confirmation=False)

    def test_driver(self) -> None:
        """A driver's id is a UUID that LOGIN repeats; without it, it is the first user's."""
        known = "6f1f2b9c-3c1e-4c53-9a55-0f8a7c5de001"
        data = {"user_name": "Ana", "selected_car": "Small", "battery_car": 40}
        told = self.server.request("LOGIN", **data)["data"]
        self.assertEqual(told["driver_id"], told["user_id"])
        for driver, code in (
            (known, 200), (known.replace("-4c", "-7c"), 200), (known.replace("-4c", "-1c"), 400),
            (known.replace("-9a", "-0a"), 400), (known[1:], 400), ("", 400), (None, 400), (7, 400),
        ):  # fmt: skip
            reply = self.server.request("LOGIN", driver_id=driver, **data)
            self.assertEqual(reply["status"]["code"], code, driver)
            if code == 200:
                self.assertEqual(reply["data"]["driver_id"], driver)
        for field, values in (("driver_id", ("", None, 5, "x" * 201)), ("limit", (0, 51, 1.5))):
            for value in values:
                reply = self.server.request("HISTORY", **{"driver_id": known, field: value})
                self.assertEqual(outcome(reply), (400, "invalid_field"), (field, value))
        self.assertEqual(self.history(known, limit=50), {"receipts": [], "more": False})


class AssumedTests(SessionTestCase):
    """An EVSE among others whose connectors are not known: only memory can have one."""

    start = ChoiceTests.start

    def test_assumed(self) -> None:
        """What was not known is said of the EVSE that the driver has, whoever has changed it."""
        user = self.login()
        for kind in ("ARRIVE", "OUTOFORDER"):
            told = self.ask("RESERVE", user, id_station=3, id_evse="3-1")
            self.assertIn("connectors", told["assumed"])
            if kind == "ARRIVE":
                self.ask(kind, user, id_station=3, id_evse="3-2")
            else:
                now, perform = self.server.clock.seconds(), self.server.engine.perform
                perform(SetEvseStatus("3-1", kind, None, now, self.server.engine.context.terms))
            told = self.status(user)
            self.assertEqual(told["id_evse"], "3-2")
            self.assertNotIn("connectors", told["assumed"])
            self.ask("STOP", user)
            user = self.login()


class ReservationTests(SessionTestCase):
    """What a reservation costs, where the tariff has a price for it."""

    def start(self, *options: str) -> None:
        """A server anew, of stations by one tariff."""
        stations = [
            attrs.evolve(station(number, power_kw=50.0), tariff_id="t") for number in (1, 2)
        ]
        storage = journey.make_storage(journey.CARS, stations, {"t": parse_tariff(TARIFF)})
        self.server = MemoryServer(storage, time_scale=SCALE)
        self.users = []

    def test_given_up(self) -> None:
        """Who gives it up owes what it has come to, with the receipt in the reply; once."""
        user = self.driver("RESERVED")
        self.assertEqual((self.status(user)["cost"], self.status(user)["amount"]), (5.0, 47.0))
        self.minutes(4.5)
        self.assertEqual(self.status(user)["cost"], 5.5)
        told = self.ask("CANCEL", user)
        self.assertEqual(set(told), {"user_id", "state", "receipt", "message"})
        self.assertEqual(told["receipt"], self.receipt(told["receipt"]["receipt_id"]))
        self.assertEqual((told["receipt"]["total"], told["receipt"]["state"]), (5.5, "CANCELLED"))
        self.assertEqual(told["message"], "Reserva encerrada: R$ 5,50")
        self.assertEqual([line["dimension"] for line in told["receipt"]["lines"]],
                         ["FLAT", "RESERVATION_TIME"])  # fmt: skip
        self.assertNotIn("receipt", self.ask("CANCEL", user))

    def test_stayed_away(self) -> None:
        """Who does not come pays what the tariff has for that."""
        user = self.driver("RESERVED")
        self.minutes(25)
        (receipt,) = self.history(user)["receipts"]
        self.assertEqual((receipt["total"], receipt["end_reason"]), (11.5, "expired"))

    def test_paid_ahead(self) -> None:
        """Who pays at the EVSE pays for the reservation until then, too."""
        user = self.driver("RESERVED")
        self.minutes(5)
        told = self.ask("PAYMENT", user, id_station=1, confirmation=True)
        self.assertEqual(told["amount"], 5 + 0.5 + 1 + 40)
        self.minutes(24)
        receipt = self.receipt(told["receipt_id"])
        self.assertEqual((receipt["total"], receipt["paid"]), (46.5, 46.5))
        self.assertEqual((receipt["reservation_minutes"], receipt["charge_minutes"]), (5.0, 24.0))

    def test_as_announced(self) -> None:
        """Who arrives when it was announced pays what was."""
        user = self.driver("RESERVED")
        self.minutes(10)
        told = self.ask("ARRIVE", user, id_station=1)
        self.minutes(24)
        self.assertEqual((told["amount"], self.ask("STOP", user)["total"]), (47.0, 47.0))

    def test_offer(self) -> None:
        """An offer costs nothing; from when it is accepted on it is a reservation."""
        user = self.driver("OFFERED")
        self.assertEqual((self.status(user)["cost"], self.status(user)["amount"]), (0.0, 46.0))
        self.minutes(3)
        self.assertEqual(self.status(user)["cost"], 0.0)
        told = self.ask("PAYMENT", user, id_station=1, confirmation=True)
        self.assertEqual(told["amount"], 41.0)
        self.assertIsNone(self.receipt(told["receipt_id"])["reserved_from"])
