"""Databases of every earlier version: what was begun there goes on, and ends with a receipt."""

import json
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Table, create_engine, insert, select, text
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.receipts import Payment
from evcharge.models.session import CHARGING
from evcharge.rules.operator import SetEvseStatus
from evcharge.storage import Storage, StorageError, carry_out
from evcharge.storage.location import parse
from evcharge.storage.sql import schema
from evcharge.testing import NOON, MemoryServer
from tests.storage.sql.test_schema import revisions
from tests.support import engines, postgres
from tests.support.servers import ServerTestCase

engines.share()

CAR = {
    "brand": "Fiat",
    "model": "500e",
    "battery_capacity": 40.0,
    "energy_consumption": 0.16,
    "max_speed": 150.0,
}
"""Of which nothing else is known, as in a catalogue of an earlier installation."""

USER = {
    "user_name": "Ana",
    "brand": "Fiat",
    "model": "500e",
    "battery_capacity_kwh": 40.0,
    "consumption_kwh_per_km": 0.16,
    "max_speed_km_h": 150.0,
    "battery_level_kwh": 20.0,
    "created_timestamp": NOON - 60,
}

ENDS = {"first": 60.0, "second": 120.0, "third": 180.0, "away": 30.0}
"""Who charges, and for how much longer, seconds."""
STATIONS = {"first": 7, "second": 7, "third": 7, "away": 8}

PROFILE = [[8.0, 50.0, 50.0], [4.0, 50.0, 25.0]]
"""kWh, kW at the begin, kW at the end; known since a version."""


def receipt_id(user_id: str) -> str:
    """That of a user's payment."""
    return f"0196-{user_id}"


NAVIGATED = "A viagem pode ser feita com a carga atual: autonomia de 125 km, viagem de 100 km"
SELECTED = (
    "Posto indicado: Posto 8, a 4 km: viagem de 2 min, recarga de 13 min por R$ 31,60, "
    "conector CCS2"
)
PAID = (
    "Pagamento confirmado, vaga reservada no posto 8: R$ 30,00, 12 min até o fim da recarga, "
    "vaga 8-2 (CCS2)"
)


class Earlier:
    """A database of an earlier version, with drivers who charge, and one who does not."""

    def __init__(self, url: str, revision: str, now: float = NOON) -> None:
        self.url, self.revision, self.now = url, revision, now
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            schema.upgrade(connection, revision)
            tables = MetaData()
            for name, rows in self.rows():
                table = Table(name, tables, autoload_with=connection)
                there = table.columns.keys()
                for row in rows:
                    known = {key: row[key] for key in row if key in there}
                    connection.execute(insert(table).values(known))
        engine.dispose()

    def rows(self) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
        """What the tables have; no version has all of these columns."""
        yield "network", [{"id": 1, "version": 3}]
        yield "car_models", [{"name": "Fiat 500e", "place": 0, "facts": json.dumps(CAR)}]
        yield "stations", [self.station(7, 3), self.station(8, 2)]
        car = {key: USER[key] for key in USER if key.endswith(("kwh", "km", "km_h"))}
        model = {key: car[key] for key in car if key != "battery_level_kwh"}
        model |= {"brand": "Fiat", "model": "500e", "ac_limit_kw": None, "dc_limit_kw": None}
        as_one = json.dumps({"model": model, "battery_level_kwh": 20.0})
        yield (
            "users",
            [{**USER, "user_id": one, "car": as_one} for one in (*STATIONS, "idle")],
        )
        yield "sessions", [self.session(user_id) for user_id in STATIONS]
        yield (
            "payments",
            [
                {
                    "receipt_id": receipt_id(user_id),
                    "paid_timestamp": self.now - 30,
                    "station_id": at,
                    "amount": "12.30",
                    "user_end": user_id,
                    "user_start": user_id,
                }
                for user_id, at in STATIONS.items()
            ],
        )

    def station(self, station_id: int, slots: int) -> dict[str, Any]:
        return {
            "station_id": station_id,
            "in_service": True,
            "name": f"Posto {station_id}",
            "address": "Rua A",
            "latitude": -12.25,
            "longitude": -38.95,
            "max_slots": slots,
            "power_kw": 60.0,
            "price_kwh": "2.50",
            "connectors": '["CCS2"]',
            "other_columns": "{}",
        }

    def session(self, user_id: str) -> dict[str, Any]:
        at = STATIONS[user_id]
        number = sorted((u for u in STATIONS if STATIONS[u] == at), key=ENDS.__getitem__)
        return {
            "user_id": user_id,
            "station_id": at,
            "estimated_timestamp": self.now + ENDS[user_id],
            "receipt_id": receipt_id(user_id),
            "amount": "12.30",
            "charge_minutes": (ENDS[user_id] + 30) / 60,
            "paid_timestamp": self.now - 30,
            "evse_uid": f"{at}-{number.index(user_id) + 1}",
            "assumed": "[]",
            **({} if user_id == "second" else self.charge()),
        }

    def charge(self) -> dict[str, Any]:
        """How it charges, which a version may not have known of a driver."""
        return {
            "connector": "CCS2",
            "start_percent": 50.0,
            "target_percent": 80.0,
            "energy_kwh": 12.0,
            "profile": json.dumps(PROFILE),
        }

    def knows_charges(self, user_id: str) -> bool:
        """Whether it is known how a user charges."""
        return self.revision >= "0005" and user_id != "second"


class UpgradeContract:
    """What each kind of database does."""

    def url(self) -> str:
        """That of a new database."""
        raise NotImplementedError

    def served(self, *options: str) -> Iterator[tuple[Earlier, Storage, MemoryServer]]:
        """A server of each earlier version's database."""
        for revision in revisions()[:-1]:
            earlier = Earlier(self.url(), revision)
            storage = parse(earlier.url, "").storage()
            summary = storage.open(NOON)
            self.assertEqual((summary.stations, summary.users), (2, 5))
            yield earlier, storage, MemoryServer(storage, options=options)
            storage.close()

    def payments(self, earlier: Earlier) -> dict[str, list[Payment]]:
        """The list, by receipt."""
        found: dict[str, list[Payment]] = {}
        with parse(earlier.url, "").storage().read_contents(NOON) as contents:
            for payment in contents.payments:
                found.setdefault(payment.refund_of or payment.receipt_id, []).append(payment)
        return found

    def test_go_on(self) -> None:
        """Who charges goes on charging, has the same payment, and is told what is known."""
        for earlier, _, server in self.served():
            for user_id, at in STATIONS.items():
                paid = server.request("PAYMENT", user_id=user_id, id_station=at, confirmation=True)[
                    "data"
                ]
                session = earlier.session(user_id)
                knows = earlier.knows_charges(user_id)
                told = {
                    "user_id": user_id,
                    "id_station": str(at),
                    "confirmation": True,
                    "amount": 12.3,
                    "receipt_id": receipt_id(user_id),
                    "estimated_timestamp": session["estimated_timestamp"],
                    "charge_minutes": session["charge_minutes"],
                }
                self.assertEqual({key: paid[key] for key in told}, told)
                status = server.request("STATUS", user_id=user_id)["data"]
                self.assertEqual(status["state"], CHARGING)
                self.assertEqual(status["actions"], ["STOP"])
                self.assertEqual(status["id_evse"], session["evse_uid"])
                self.assertEqual(status["planned_energy_kwh"], 12.0 if knows else None)
                for name in ("energy_kwh", "battery_percent", "power_kw"):
                    self.assertEqual(status[name] is not None, knows, (name, status))
                so_far = server.request("RECEIPT", receipt_id=receipt_id(user_id))["data"]
                self.assertEqual((so_far["final"], so_far["paid"]), (False, 12.3))
                self.assertEqual(so_far["started"], "2025-04-07T13:44:42.678Z")
                self.assertEqual(status["since"], so_far["started"])

    def test_deadlines(self) -> None:
        """A sweep, which goes by the deadlines in the table, knows those of old sessions."""
        for earlier, _, _ in self.served():
            engine = create_engine(earlier.url.replace("postgresql:", "postgresql+psycopg:"))
            self.addCleanup(engine.dispose)
            with engine.begin() as connection:
                query = select(schema.sessions.c.user_id, schema.sessions.c.due_timestamp)
                dues = {row.user_id: row.due_timestamp for row in connection.execute(query)}
            self.assertEqual(dues, {user_id: NOON + end for user_id, end in ENDS.items()})

    def test_end(self) -> None:
        """Each session ends at its time with a receipt of what was paid, and nothing more is."""
        for earlier, storage, server in self.served():
            server.advance(200.0)
            for user_id in STATIONS:
                gone = server.request("STATUS", user_id=user_id)
                self.assertEqual(gone["data"]["reason"], "user_not_found")
                told = server.request("RECEIPT", receipt_id=receipt_id(user_id))["data"]
                knows = earlier.knows_charges(user_id)
                self.assertEqual(
                    [told[name] for name in ("final", "state", "end_reason", "total", "paid")],
                    [True, "COMPLETED", "target", 12.3, 12.3],
                )
                self.assertEqual(told["energy_kwh"], 12.0 if knows else None)
                self.assertEqual(told["end_percent"], 80.0 if knows else None)
                # As it has no other, the driver is the user.
                history = server.request("HISTORY", driver_id=user_id)["data"]
                self.assertEqual(history["receipts"], [told])
            self.assertEqual(server.request("STATUS", user_id="idle")["data"]["state"], "FREE")
            storage.close()
            for user_id, listed in self.payments(earlier).items():
                self.assertEqual([str(each.amount) for each in listed], ["12.30"], user_id)
            storage.open(NOON)

    def test_left(self) -> None:
        """Who leaves in any way has a receipt, and what was paid is its total."""
        for earlier, storage, server in self.served("--idle-minutes", "1"):
            server.advance(10.0)
            stop = {"user_id": "first", "receipt_id": receipt_id("first")}
            stopped = server.request("STOP", **stop)["data"]
            self.assertEqual(stopped["end_reason"], "stopped")
            self.assertEqual(server.request("STOP", **stop)["data"], stopped)
            stays = server.request("STOP", user_id="second", leave=False)["data"]
            self.assertEqual(stays["state"], "FINISHED")
            leave = {"id_station": 7, "confirmation": False}
            self.assertEqual(
                server.request("PAYMENT", user_id="third", **leave)["status"]["code"], 200
            )
            broken = SetEvseStatus("8-1", "OUTOFORDER", None, NOON + 10)
            carry_out(storage, broken)
            server.advance(200.0)
            reasons = {}
            for user_id in STATIONS:
                (told,) = server.request("HISTORY", driver_id=user_id)["data"]["receipts"]
                reasons[user_id] = told["end_reason"]
                self.assertTrue(told["final"])
            self.assertEqual(
                reasons,
                {
                    "first": "stopped",
                    "second": "idle_limit",
                    "third": "journey_ended",
                    "away": "operator",
                },
            )
            storage.close()
            with parse(earlier.url, "").storage().read_contents(NOON) as contents:
                totals = {each.receipt_id: each.total for each in contents.receipts}
            paid = {
                receipt: sum((each.amount for each in listed), Decimal(0))
                for receipt, listed in self.payments(earlier).items()
            }
            self.assertEqual(totals, paid)
            storage.open(NOON)

    def test_line(self) -> None:
        """Others wait in line for those of an earlier version, and are offered their EVSEs."""
        for _, _, server in self.served():
            login = {"user_name": "B", "selected_car": "Fiat 500e", "battery_car": 50}
            user = server.request("LOGIN", **login)["data"]["user_id"]
            for user_id in (user, "idle"):
                told = server.request("RESERVE", user_id=user_id, id_station=7, wait=True)["data"]
                self.assertEqual(told["state"], "WAITING")
            self.assertEqual([told["position"], told["eta_minutes"]], [2, 2.0])
            server.advance(60.0)
            offered = server.request("STATUS", user_id=user)["data"]
            self.assertEqual((offered["state"], offered["id_evse"]), ("OFFERED", "7-1"))
            begun = server.request("ARRIVE", user_id=user, id_station=7)["data"]
            self.assertEqual(begun["state"], CHARGING)
            server.advance(60.0)
            self.assertEqual(server.request("STATUS", user_id="idle")["data"]["state"], "OFFERED")

    def test_old_client(self) -> None:
        """A program that knows nothing new is told, word for word, what it was told before."""
        for _, storage, server in self.served():
            shown = server.request("START")["data"]
            station = shown["station_models"]["8"]
            right = {
                "name_station": "Posto 8",
                "address": "Rua A",
                "latitude": -12.25,
                "longitude": -38.95,
                "max_slots": 2,
                "available_slots": 1,
                "power_kw": 60.0,
                "price_kwh": 2.5,
                "connectors": ["CCS2"],
            }
            self.assertEqual({key: station[key] for key in right}, right)
            self.assertEqual(shown["car_models"]["Fiat 500e"], CAR)
            login = {"user_name": "B", "selected_car": "Fiat 500e", "battery_car": "50"}
            replied = server.request("LOGIN", **login)
            self.assertEqual(replied["status"], {"code": 200, "message": "Sucesso"})
            user = replied["data"]["user_id"]
            for kind, asked, right in (
                (
                    "NAVIGATION",
                    {"route_distance": 100},
                    {
                        "can_complete": True,
                        "autonomy": 125.0,
                        "message": NAVIGATED,
                    },
                ),
                (
                    "SELECTION_STATION",
                    {
                        "list_stations": {
                            "7": {"distance_origin_position": 1},
                            "8": {"distance_origin_position": "4"},
                        }
                    },
                    {
                        "user_id": user,
                        "id_station": "8",
                        "price_loading": 31.6,
                        "distance_km": 4.0,
                        "travel_minutes": 2.285714,
                        "wait_minutes": 0.0,
                        "charge_minutes": 12.64,
                        "message": SELECTED,
                    },
                ),
                (
                    "PAYMENT",
                    {"id_station": 8, "confirmation": True},
                    {
                        "user_id": user,
                        "id_station": "8",
                        "confirmation": True,
                        "amount": 30.0,
                        "estimated_timestamp": NOON + 720.0,
                        "charge_minutes": 12.0,
                        "message": PAID,
                    },
                ),
            ):
                for _ in range(2):
                    replied = server.request(kind, user_id=user, **asked)
                    self.assertEqual(replied["status"], {"code": 200, "message": "Sucesso"})
                    told = {key: replied["data"].get(key) for key in right}
                    self.assertEqual(told, right)
            receipt = replied["data"]["receipt_id"]
            full = server.request("PAYMENT", user_id="idle", id_station=7, confirmation=True)
            self.assertEqual(full["status"], {"code": 200, "message": "Sem vagas disponíveis"})
            elsewhere = server.request("PAYMENT", user_id=user, id_station=7, confirmation=True)
            self.assertEqual(
                elsewhere["status"], {"code": 409, "message": "Usuário já tem reserva no posto 8"}
            )
            server.advance(720.0)
            gone = server.request("NAVIGATION", user_id=user, route_distance=1)
            self.assertEqual(gone["status"], {"code": 404, "message": "Usuário não encontrado"})
            told = server.request("RECEIPT", receipt_id=receipt)["data"]
            self.assertEqual((told["total"], told["energy_kwh"]), (30.0, 12.0))
            free = {s.station.station_id: s.available_slots for s in storage.records.states}
            self.assertEqual(free, {7: 3, 8: 2})

    def test_newer(self) -> None:
        """An older program refuses the tables of a newer one, and leaves them as they are."""
        earlier = Earlier(self.url(), revisions()[-2])
        engine = create_engine(earlier.url.replace("postgresql:", "postgresql+psycopg:"))
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        storage = parse(earlier.url, "").storage()
        error = self.assertRaises(StorageError, storage.open, NOON)
        self.assertIn("was made by a newer evcharge", str(error))
        with engine.begin() as connection:
            self.assertEqual(schema.version(connection), "9999")

    def test_copied_first(self) -> None:
        """What is to be copied has to be brought up to date first, and says how."""
        earlier = Earlier(self.url(), "0003")
        reading = parse(earlier.url, "").storage().read_contents(NOON)
        error = str(self.assertRaises(StorageError, reading.__enter__))
        self.assertIn("has tables of version 0003, not ", error)
        self.assertIn("start the server of this evcharge on it first", error)


class SqliteUpgradeTests(UpgradeContract, SynchronousTestCase):
    """An SQLite file."""

    def url(self) -> str:
        return f"sqlite:///{self.mktemp()}.db"


class PostgresUpgradeTests(UpgradeContract, ServerTestCase):
    """A PostgreSQL database."""

    def url(self) -> str:
        return postgres.shared().url(postgres.shared().create_database())

    def test_two_at_once(self) -> None:
        """Two servers that start at once on the tables of an earlier version both come about."""
        for revision in (revisions()[0], revisions()[-2]):
            now = time.time()
            earlier = Earlier(self.url(), revision, now)
            servers = [self.start(Path(self.mktemp()), "--storage", earlier.url) for _ in range(2)]
            for server in servers:
                client = self.client(server.wait())
                for user_id in STATIONS:
                    told = client.request("RECEIPT", receipt_id=receipt_id(user_id))["data"]
                    self.assertEqual((told["total"], told["paid"]), (12.3, 12.3))
            for server in servers:
                server.end()
