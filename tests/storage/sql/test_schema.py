"""The schema: a database that was brought up to date equals one made from the tables."""

from decimal import Decimal
from typing import Any

import attrs
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, create_engine, insert, inspect
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.receipts import Payment
from evcharge.models.slots import SlotTable
from evcharge.models.user import User
from evcharge.storage.location import parse
from evcharge.storage.sql import schema
from evcharge.storage.sql.migrations import versions
from evcharge.storage.sql.migrations.versions import v0004_car
from evcharge.testing import NOON
from tests.support import postgres
from tests.support.operations import find_user

SQLITE = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name != 'alembic_version'"
POSTGRES = """
SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default,
       col_description(table_name::regclass, ordinal_position),
       obj_description(table_name::regclass)
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name != 'alembic_version'
UNION ALL
SELECT tablename, indexname, 0, indexdef, '', '', '', ''
FROM pg_indexes WHERE schemaname = 'public' AND tablename != 'alembic_version'
"""


def revisions() -> list[str]:
    """Every version there was, the oldest first."""
    scripts = ScriptDirectory(str(versions.__path__[0]).removesuffix("/versions"))
    return [script.revision for script in scripts.walk_revisions()][::-1]


class SchemaTests(SynchronousTestCase):
    """Made by the scripts, and made from the tables."""

    def postgres(self) -> Any:
        url = postgres.shared().url(postgres.shared().create_database())
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        self.addCleanup(engine.dispose)
        return engine

    def sqlite(self) -> Any:
        engine = create_engine(f"sqlite:///{self.mktemp()}")
        self.addCleanup(engine.dispose)
        return engine

    def described(self, connection: Connection) -> list[tuple[Any, ...]]:
        query = SQLITE if connection.dialect.name == "sqlite" else POSTGRES
        return sorted(
            tuple(" ".join(str(cell).split()) for cell in row)
            for row in connection.exec_driver_sql(query)
        )

    def test_head(self) -> None:
        """The version that the code works with is the last script's."""
        self.assertEqual(revisions()[-1], schema.HEAD)

    def test_equal(self) -> None:
        """Brought up to date from nothing, and version by version, it equals a fresh one."""
        for make in (self.sqlite, self.postgres):
            with make().begin() as connection:
                schema.metadata.create_all(connection)
                fresh = self.described(connection)
            self.assertTrue(fresh)
            for steps in (["head"], revisions()):
                with make().begin() as connection:
                    for step in steps:
                        schema.upgrade(connection, step)
                    self.assertEqual(self.described(connection), fresh)
                    self.assertEqual(schema.version(connection), schema.HEAD)
                    context = MigrationContext.configure(
                        connection, opts={"compare_type": True, "compare_server_default": True}
                    )
                    self.assertEqual(compare_metadata(context, schema.metadata), [])

    def test_whole(self) -> None:
        """An upgrade that fails leaves nothing behind."""
        for make in (self.sqlite, self.postgres):
            engine = make()
            connection = engine.connect()
            if engine.dialect.name == "sqlite":
                # As evcharge begins its transactions: Python's module leaves out the making of
                # tables.
                connection.connection.driver_connection.isolation_level = None
                connection.exec_driver_sql("BEGIN")
            schema.upgrade(connection)
            connection.rollback()
            self.assertIsNone(schema.version(connection))
            self.assertEqual(self.described(connection), [])
            connection.close()

    def test_old_is_brought_up_to_date(self) -> None:
        """A storage opens a database of each earlier version, and has what it had."""
        paid = Payment("r1", NOON, 7, Decimal("12.30"), "01900000")
        for revision in revisions():
            for url in (
                f"sqlite:///{self.mktemp()}.db",
                postgres.shared().url(postgres.shared().create_database()),
            ):
                engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
                with engine.begin() as connection:
                    schema.upgrade(connection, revision)
                    names = [
                        column["name"] for column in inspect(connection).get_columns("payments")
                    ]
                    connection.exec_driver_sql(
                        f"INSERT INTO payments ({', '.join(names[:5])}) "
                        f"VALUES ('r1', {NOON}, 7, '12.30', '01900000')"
                    )
                engine.dispose()
                storage = parse(url, "").storage()
                self.assertEqual(storage.open(0).stations, 36)
                storage.close()
                with storage.read_contents(0) as contents:
                    self.assertEqual(list(contents.payments), [paid])

    def test_old_users(self) -> None:
        """Users of each earlier version have the car that they had, every figure of it exactly."""
        row = {
            "user_id": "ç-🚗",
            "user_name": 'Ana "\\"',
            "brand": "O'\"\n\u2028",
            "model": "é",
            "battery_capacity_kwh": 50.1,
            "consumption_kwh_per_km": 1 / 3,
            "max_speed_km_h": 0.1 + 0.2,
            "ac_limit_kw": None,
            "dc_limit_kw": 1e-6,
            "battery_level_kwh": 20.000000000000004,
            "created_timestamp": NOON + 1 / 7,
        }
        model = CarModel(
            *(row[name] for name in row if name in attrs.fields_dict(CarModel))  # type: ignore[arg-type]
        )
        user = User(
            "ç-🚗", 'Ana "\\"', ElectricCar(model, 20.000000000000004), row["created_timestamp"]
        )
        many = v0004_car.CHUNK + 2
        for revision in ("0001", "0002", "0003"):
            for url in (
                f"sqlite:///{self.mktemp()}.db",
                postgres.shared().url(postgres.shared().create_database()),
            ):
                engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
                with engine.begin() as connection:
                    schema.upgrade(connection, revision)
                    users = Table("users", MetaData(), autoload_with=connection)
                    others = [{**row, "user_id": f"{number:05}"} for number in range(many)]
                    connection.execute(insert(users), [row, *others])
                engine.dispose()
                storage = parse(url, "").storage()
                self.assertEqual(storage.open(0).users, many + 1)
                self.assertEqual(find_user(storage, "ç-🚗"), user)
                self.assertEqual({each.car for each in storage.users()}, {user.car})
                storage.close()

    def test_old_sessions(self) -> None:
        """Vehicles of each earlier version stand at EVSEs, the first to end at the first one."""
        ends = {"u1": 30.0, "u2": 10.0, "é": 20.0, "u0": 20.0, "late": 40.0}
        for revision in revisions()[:-2]:
            for url in (
                f"sqlite:///{self.mktemp()}.db",
                postgres.shared().url(postgres.shared().create_database()),
            ):
                engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
                with engine.begin() as connection:
                    schema.upgrade(connection, revision)
                    tables = MetaData()
                    for name, rows in (
                        ("network", [{"id": 1, "version": 3}]),
                        # One of them has more vehicles than slots.
                        ("stations", [a_station(7, 3), a_station(8, 12)]),
                        (
                            "sessions",
                            [
                                *(a_session(user_id, 7, end) for user_id, end in ends.items()),
                                *(a_session(f"8-{n}", 8, 50.0 - n) for n in range(12)),
                            ],
                        ),
                    ):
                        table = Table(name, tables, autoload_with=connection)
                        connection.execute(insert(table), rows)
                engine.dispose()
                storage = parse(url, "").storage()
                storage.open(NOON)
                storage.close()
                with storage.read_contents(0) as contents:
                    records = {r.station.station_id: r.station for r in contents.stations}
                    list(contents.users)
                    sessions = {session.user_id: session for session in contents.sessions}
                self.assertEqual(str(records[7].price_kwh), "2.50")
                self.assertEqual(records[8].max_slots, 12)
                there = [sessions[user_id] for user_id in ("u2", "u0", "é", "u1", "late")]
                self.assertEqual(
                    [each.evse_uid for each in there], ["7-1", "7-2", "7-3", "7-4", "7-5"]
                )
                self.assertEqual([each.estimated_timestamp for each in there], [10, 20, 20, 30, 40])
                self.assertEqual({str(each.amount) for each in there}, {"12.30"})
                for each in there:
                    self.assertEqual((each.state, each.leaves_when_done), ("CHARGING", True))
                    self.assertEqual(each.due_timestamp, each.estimated_timestamp)
                for station_id, station in records.items():
                    here = {u: s for u, s in sessions.items() if s.station_id == station_id}
                    bare = {u: attrs.evolve(s, evse_uid="") for u, s in here.items()}
                    seated = SlotTable(station_id, station.max_slots, bare).seated(station)
                    self.assertEqual(dict(seated.sessions), here)


def a_station(station_id: int, slots: int) -> dict[str, Any]:
    """A row of the first version."""
    return {
        "station_id": station_id,
        "in_service": True,
        "name": "Centro",
        "address": "",
        "latitude": -12.25,
        "longitude": -38.95,
        "max_slots": slots,
        "price_kwh": "2.50",
        "connectors": "[]",
        "other_columns": "{}",
    }


def a_session(user_id: str, station_id: int, end: float) -> dict[str, Any]:
    """Likewise."""
    return {
        "user_id": user_id,
        "station_id": station_id,
        "estimated_timestamp": end,
        "receipt_id": f"r-{user_id}",
        "amount": "12.30",
        "charge_minutes": 1.5,
    }
