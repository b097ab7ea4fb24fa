"""What an SQL database is for: processes that share it, and what one of them does to another."""

import contextlib
import ctypes.util
import errno
import itertools
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import psycopg
from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets.evses import parse_evses
from evcharge.datasets.files import EVSES, TARIFFS, shipped
from evcharge.datasets.tariffs import parse_tariffs
from evcharge.models.charging import Piece, Profile
from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.session import ChargingSession
from evcharge.models.tariffs import parse_tariff, tariff_key
from evcharge.models.user import User
from evcharge.rules.claims import ARRIVE, Claim
from evcharge.rules.journey import UNKNOWN_STATION, UNKNOWN_USER, AddUser, ListStations, held_at
from evcharge.rules.leaving import STOP_AND_LEAVE, Leave
from evcharge.rules.operation import Operation
from evcharge.rules.receipts import ListReceipts
from evcharge.rules.sweep import Sweep
from evcharge.storage import Storage, StorageError, StorageUnavailable, carry_out
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.location import parse
from evcharge.storage.sql import schema, used
from evcharge.storage.sql.databases import Sqlite
from evcharge.storage.sql.rows import MODEL_FIGURES
from evcharge.storage.sql.store import SqlStorage
from evcharge.testing import NOON
from evcharge.utils.ids import uuid7
from tests.support import engines, postgres
from tests.support.confined import ALLOW, ERRNO, PR_SET_NO_NEW_PRIVS, Filter
from tests.support.logged import logged
from tests.support.operations import (
    NO_FREE_SLOT,
    a_session,
    a_user,
    add_user,
    available,
    end_journey,
    find_user,
    leave,
    next_free,
    station,
    stations,
    sweep,
    take,
    take_slot,
    unseated,
    until_done,
    user_ids,
)
from tests.support.tools import need
from tests.support.waiting import until

engines.share()

PATIENCE_S = 20.0
FLUSHES = ("fsync", "fdatasync")


def take_and_see(storage: Storage, user_id: str) -> ChargingSession:
    """The session of a user who pays, with its EVSE."""
    (session,) = storage.execute([take(a_session(user_id))])
    assert isinstance(session, ChargingSession), session
    return session


class Held:
    """A storage whose next batch has done all that it does, and waits for us to commit it."""

    def __init__(self, storage: SqlStorage) -> None:
        self._begin = storage._database.begin
        self._database = storage._database
        self._ready, self._go = threading.Event(), threading.Event()
        storage._database.begin = self._held

    @contextlib.contextmanager
    def _held(self, write: bool) -> Iterator[Any]:
        self._database.begin = self._begin
        with self._begin(write) as connection:
            yield connection
            self._ready.set()
            assert self._go.wait(PATIENCE_S)

    def ready(self) -> None:
        """Wait until it could commit."""
        assert self._ready.wait(PATIENCE_S)

    def commit(self) -> None:
        self._go.set()


class PostgresCase(SynchronousTestCase):
    """Several storages in one PostgreSQL database, as servers have them."""

    options = ""

    def setUp(self) -> None:
        self.server = postgres.shared()
        self.url = self.server.url(self.server.create_database())

    def make(self, options: str = "") -> SqlStorage:
        storage = parse(self.url + (options or self.options), "").storage()
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def waiting(self) -> int:
        """How many transactions wait for another one."""
        return self.server._ask(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            f"AND datname = '{self.url.rpartition('/')[2]}'"
        )

    def run_against(self, first: Any, one: Storage, second: Any, other: Storage) -> tuple[Any, Any]:
        """
        Carry out `second` while `first` has done all but commit: it has to wait for that.

        :return: what they result in.
        """
        held = Held(one)
        with ThreadPoolExecutor(2) as threads:
            try:
                before = threads.submit(one.execute, [first])
                held.ready()
                after: Future[Any] = threads.submit(until_done, other, second)
                until(lambda: after.done() or self.waiting(), "it waits, or does not")
                self.assertFalse(after.done(), after)
            finally:
                held.commit()
            return before.result(PATIENCE_S)[0], after.result(PATIENCE_S)


class LockTests(PostgresCase):
    """An operation waits for another one, in another process, that decides about the same."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = self.make(), self.make()
        people = [f"u{n}" for n in range(1, 10)]
        self.one.execute([AddUser(a_user(user_id)) for user_id in people])

    def against(self, first: Operation[Any], second: Operation[Any]) -> tuple[Any, Any]:
        one, other = self.run_against(first, self.one, second, self.other)
        return unseated(one), unseated(other)

    def fill(self, left: int) -> None:
        """Have a station with `left` free slots."""
        for number in range(available(self.one) - left):
            add_user(self.one, a_user(f"f{number}"))
            take_slot(self.one, a_session(f"f{number}"))

    def counted(self, storage: Storage, station_id: int = 7) -> int:
        (states,) = storage.execute([ListStations()])
        (state,) = (s for s in states if s.station.station_id == station_id)
        return state.available_slots

    def test_last_slot(self) -> None:
        """Of two who want the last slot of a station, one has it."""
        self.fill(1)
        won, lost = self.against(take(a_session("u1")), take(a_session("u2")))
        self.assertEqual(won, a_session("u1"))
        self.assertEqual(lost, NO_FREE_SLOT)
        self.assertEqual(self.counted(self.other), 0)

    def test_two_stations(self) -> None:
        """A user who pays at two stations at once stands at one of them."""
        won, lost = self.against(take(a_session("u1")), take(a_session("u1", 8)))
        self.assertEqual(won, a_session("u1"))
        self.assertEqual(lost, held_at(7))

    def test_one_station(self) -> None:
        """A user who pays twice at once at a station has one slot, and one receipt."""
        before = available(self.one)
        again = take(a_session("u1", end=NOON + 99))
        self.assertEqual(self.against(take(a_session("u1")), again), (a_session("u1"),) * 2)
        self.assertEqual(self.counted(self.other), before - 1)

    def test_two_vehicles(self) -> None:
        """Two who pay at once at a station stand at two of its EVSEs."""
        one, other = self.run_against(
            take(a_session("u1")), self.one, take(a_session("u2")), self.other
        )
        evses = station(self.one, 7).station.evses
        self.assertEqual(len({one.evse_uid, other.evse_uid} & {e.uid for e in evses}), 2)

    def test_paid_and_ended(self) -> None:
        """The end of a journey frees the slot that was being paid for meanwhile."""
        before = available(self.one)
        self.assertEqual(self.against(take(a_session("u1")), leave("u1")), (a_session("u1"), None))
        self.assertEqual(self.counted(self.other), before)
        self.assertNotIn("u1", user_ids(self.other))

    def test_ended_and_paid(self) -> None:
        """Nobody pays whose journey was being ended meanwhile."""
        before = available(self.one)
        ended, paid = self.against(leave("u1"), take(a_session("u1")))
        self.assertIsNone(ended)
        self.assertEqual(paid, UNKNOWN_USER)
        self.assertEqual(self.counted(self.other), before)

    def test_ended_twice(self) -> None:
        """A journey ends once."""
        ended, again = self.against(leave("u1"), leave("u1"))
        self.assertIsNone(ended)
        self.assertEqual(again, UNKNOWN_USER)

    def test_swept_and_paid(self) -> None:
        """Nobody pays who is being removed because of never having paid."""
        swept, paid = self.against(Sweep(NOON, NOON + 1), take(a_session("u1")))
        self.assertEqual(swept.removed, 9)
        self.assertEqual(paid, UNKNOWN_USER)

    def test_swept_and_ended(self) -> None:
        """A session that a sweep is ending is ended once."""
        take_slot(self.one, a_session("u1"))
        before = available(self.one)
        swept, ended = self.against(Sweep(NOON + 60, 0), leave("u1"))
        self.assertEqual(swept.freed, 1)
        self.assertEqual(ended, UNKNOWN_USER)
        self.assertEqual(self.counted(self.other), before + 1)

    def test_all_locked(self) -> None:
        """A sweep that can end nothing now does not ask to be repeated at once."""
        from evcharge.rules import sweep as rules

        self.patch(rules, "MOST_SWEPT", 3)
        for number in range(1, 4):
            take_slot(self.one, a_session(f"u{number}", number))
        with self.one._database.begin(write=True) as connection:
            connection.exec_driver_sql("SELECT 1 FROM users FOR UPDATE")
            swept = sweep(self.other, NOON + 60, 0)
            self.assertEqual((swept.freed, swept.removed, swept.more), (0, 0, False))
        self.assertEqual(sweep(self.other, NOON + 60, 0).freed, 3)

    def test_passed_over(self) -> None:
        """A sweep passes over a user who is locked, but not for ever: the fourth waits."""
        for number in (1, 2):
            take_slot(self.one, a_session(f"u{number}", number))
        with ThreadPoolExecutor(1) as thread:
            with self.one._database.begin(write=True) as connection:
                connection.exec_driver_sql("SELECT 1 FROM users WHERE user_id = 'u1' FOR UPDATE")
                freed = [sweep(self.other, NOON + 60, 0).freed for _ in range(3)]
                self.assertEqual(freed, [1, 0, 0])
                waits = thread.submit(sweep, self.other, NOON + 60, 0)
                until(lambda: waits.done() or self.waiting(), "it waits, or does not")
                self.assertFalse(waits.done(), waits)
            self.assertEqual(waits.result(PATIENCE_S).freed, 1)

    def test_paid_while_looked_for(self) -> None:
        """A payment that is committed while a sweep looks for who never paid is left alone."""
        with self.one._database.begin(write=True) as connection:
            # The sweep reads users through this, so that it can be stopped while it does.
            connection.exec_driver_sql(
                "CREATE SCHEMA slow;"
                "CREATE FUNCTION slow.stop() RETURNS boolean LANGUAGE sql VOLATILE AS "
                "'SELECT pg_advisory_xact_lock_shared(1) IS NOT NULL';"
                "CREATE VIEW slow.users AS SELECT * FROM public.users WHERE slow.stop()"
            )
        sweeper = self.make("?options=-csearch_path%3Dslow,public")
        with ThreadPoolExecutor(1) as thread:
            with self.one._database.begin(write=True) as connection:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
                swept = thread.submit(sweep, sweeper, NOON, NOON + 1)
                until(self.waiting, "it waits")
                take_slot(self.other, a_session("u1"))
            self.assertEqual(swept.result(PATIENCE_S).removed, 8)
        self.assertEqual(user_ids(self.one), ["u1"])
        self.assertEqual(take_slot(self.one, a_session("u1", end=NOON + 99)), a_session("u1"))

    def locked(self, table: str, key: str, value: object) -> bool:
        with self.one._database.begin(write=True) as connection:
            return not connection.exec_driver_sql(
                f"SELECT 1 FROM {table} WHERE {key} = '{value}' FOR UPDATE SKIP LOCKED"
            ).all()

    def test_order(self) -> None:
        """Rows are locked in the order of their ids, wherever they lie, users before stations."""
        # The first of each lies behind the others, and the database is told to read in that order.
        with self.one._database.begin(write=True) as connection:
            connection.exec_driver_sql("UPDATE users SET user_name = 'A' WHERE user_id = 'u1'")
            connection.exec_driver_sql("UPDATE stations SET name = 'A' WHERE station_id = 1")
        other = self.make("?options=-cenable_indexscan%3Doff%20-cenable_bitmapscan%3Doff")
        batch = [take(a_session("u1", 9)), take(a_session("u2", 1))]
        waits_for = (("users", "user_id", "u2", "u1"), ("stations", "station_id", 9, 1))
        for table, key, held, first in waits_for:
            with ThreadPoolExecutor(1) as thread:
                with self.other._database.begin(write=True) as connection:
                    connection.exec_driver_sql(
                        f"SELECT 1 FROM {table} WHERE {key} = '{held}' FOR UPDATE"
                    )
                    done = thread.submit(other.execute, batch)
                    until(lambda done=done: done.done() or self.waiting(), "it waits, or does not")
                    self.assertTrue(self.locked(table, key, first), table)
                    self.assertEqual(self.locked("users", "user_id", "u2"), True)
                    self.assertEqual(self.locked("stations", "station_id", 1), table == "stations")
                results = done.result(PATIENCE_S)
            self.assertEqual([type(result) for result in results], [ChargingSession] * 2)

    def test_crosswise(self) -> None:
        """Batches of several processes about the same users and stations never stop one another."""
        storages = [self.one, self.other, self.make()]
        people = [f"u{n}" for n in range(1, 10)]
        barrier = threading.Barrier(len(storages))

        def work(number: int, storage: SqlStorage) -> None:
            ids = people if number % 2 else people[::-1]
            for _ in range(15):
                barrier.wait(PATIENCE_S)
                storage.execute([take(a_session(u, n)) for n, u in enumerate(ids, 1)])
                barrier.wait(PATIENCE_S)
                storage.execute([leave(u) for u in ids[number:]])
                storage.execute([AddUser(a_user(u)) for u in people])

        with self.one._database.begin(write=True) as connection:
            # Receipts of the same sessions, over and over.
            connection.exec_driver_sql("ALTER TABLE payments DROP CONSTRAINT payments_pkey")
        with ThreadPoolExecutor(len(storages)) as threads:
            # Whoever is in a ring gets TryAgain, which ends this.
            list(threads.map(work, range(len(storages)), storages))


class StricterLevelTests(LockTests):
    """The same, where the role, or somebody in the URL, asks for a stricter isolation."""

    options = "?options=-cdefault_transaction_isolation%3D" + "repeatable%5C%20read"


class OthersTests(PostgresCase):
    """What else comes between."""

    def test_cancelled(self) -> None:
        """A statement that the database gives up, as it takes too long, is tried again."""
        one, other = self.make(), self.make("?options=-cstatement_timeout%3D100")
        add_user(one, a_user())
        with one._database.begin(write=True) as connection:
            connection.exec_driver_sql("SELECT 1 FROM users FOR UPDATE")
            self.assertRaises(TryAgain, take_slot, other, a_session())
        self.assertEqual(take_slot(other, a_session()), a_session())

    def test_end_not_seen(self) -> None:
        """Who stops, and is gone when the connection is lost, is told the receipt all the same."""
        storage = self.make()
        add_user(storage, a_user())
        carry_out(storage, Claim("u1", "7", uuid7(NOON), NOON, intent=ARRIVE))
        stop = Leave("u1", STOP_AND_LEAVE, NOON + 60)
        dialect = storage._database._engine.dialect
        commit = dialect.do_commit

        def is_lost(connection: Any) -> None:
            commit(connection)
            raise psycopg.OperationalError

        self.patch(dialect, "do_commit", is_lost)
        self.assertRaises(TryAgain, storage.execute, [stop])
        self.patch(dialect, "do_commit", commit)
        receipt = carry_out(storage, stop)
        self.assertEqual(carry_out(storage, ListReceipts("u1", 2)), [receipt])
        self.assertEqual(carry_out(storage, stop), UNKNOWN_USER)

    def test_first_starts(self) -> None:
        """Two first starts at once on an empty database both come about."""
        one, other = (parse(self.url, "").storage() for _ in range(2))
        held = Held(one)
        with ThreadPoolExecutor(2) as threads:
            try:
                first = threads.submit(one.open, NOON)
                held.ready()
                second = threads.submit(other.open, NOON)
                until(lambda: second.done() or self.waiting(), "it waits, or does not")
                self.assertFalse(second.done(), second)
            finally:
                held.commit()
            for storage, opened in ((one, first), (other, second)):
                self.assertEqual(opened.result(PATIENCE_S).stations, 36)
                self.addCleanup(storage.close)

    def test_list_is_dated(self) -> None:
        """A list of stations is as old as the begin of the batch that has read it."""
        storage = self.make()
        seconds = 100.0
        storage._monotonic = lambda: seconds

        def slow(*_: object) -> None:
            nonlocal seconds
            seconds += 0.2

        event.listen(storage._database._engine, "after_cursor_execute", slow)
        storage.execute([ListStations()])
        event.remove(storage._database._engine, "after_cursor_execute", slow)
        self.assertGreater(seconds, 100.3)
        seconds = 100.49
        self.assertIsNotNone(storage.recall(ListStations()))
        seconds = 100.51
        self.assertIsNone(storage.recall(ListStations()))


class SqlContract:
    """What every database does, and only they."""

    def make(self) -> SqlStorage:
        raise NotImplementedError

    def write(self, storage: SqlStorage, statement: str) -> None:
        with storage._database.begin(write=True) as connection:
            connection.exec_driver_sql(statement)

    def test_ended_twice(self) -> None:
        """Of two ends of one journey in a batch, one finds nobody there."""
        storage = self.make()
        storage.execute([AddUser(a_user("u1")), AddUser(a_user("u2"))])
        take_slot(storage, a_session())
        results = storage.execute([leave("u1"), leave("u2"), leave("u1")])
        self.assertEqual(list(results[:2]), [None, None])
        self.assertEqual(results[2], UNKNOWN_USER)

    def test_nobody_stands(self) -> None:
        """A session whose user's record was lost is held until its end, and ends."""
        storage = self.make()
        before = available(storage)
        add_user(storage, a_user())
        take_slot(storage, a_session())
        self.write(storage, "DELETE FROM users")
        storage.close()
        storage = self.make()
        self.assertEqual(available(storage), before - 1)
        self.assertEqual(sweep(storage, NOON + 59, 0).freed, 0)
        self.assertEqual(sweep(storage, NOON + 60, 0).freed, 1)
        self.assertEqual(available(storage), before)

    def test_remembered(self) -> None:
        """What a sweep did is what the process that swept shows, without reading it."""
        storage = self.make()
        storage._monotonic = lambda: 0.0
        storage._known.listed_at = 0.0
        before = available(storage)
        storage.execute([AddUser(a_user(u)) for u in ("u1", "u2", "u3")])
        take_slot(storage, a_session("u1"))
        take_slot(storage, a_session("u2", end=NOON + 99))
        self.assertEqual(available(storage), before - 2)
        self.assertEqual(next_free(station(storage, 7)), NOON + 60)
        sweep(storage, NOON + 60, NOON + 1)
        self.assertEqual(available(storage), before - 1)
        self.assertEqual(next_free(station(storage, 7)), NOON + 99)
        for user_id in ("u1", "u3"):
            self.assertEqual(find_user(storage, user_id), UNKNOWN_USER)
        self.assertEqual(find_user(storage, "u2"), a_user("u2"))

    def test_many_tariffs(self) -> None:
        """A session keeps its tariff, also where there are more of them than memory holds."""
        self.patch(used, "MOST_KNOWN", 0)
        storage = self.make()
        keys = []
        for number in (1, 2, 3):
            parts = [{"type": "ENERGY", "price": number, "step_size": 1}]
            body = {"id": "x", "currency": "BRL", "elements": [{"price_components": parts}]}
            tariff = parse_tariff(body)
            keys.append(tariff_key(tariff))
            add_user(storage, a_user(f"u{number}"))
            session = a_session(f"u{number}", number)
            take_slot(storage, attrs.evolve(session, tariff=attrs.evolve(tariff, body=body)))
        known = used.UsedTariffs()
        with storage._database.begin(write=False) as connection:
            for some in (keys[:1], keys):
                found = known.find(connection, some)
                self.assertLessEqual({*some}, found.keys())
        storage.close()
        with storage.read_contents(NOON) as contents:
            list(contents.users)
            self.assertEqual([tariff_key(s.tariff) for s in contents.sessions], keys)

    def test_one_evse(self) -> None:
        """The database itself refuses a second vehicle at an EVSE."""
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        again = "INSERT INTO sessions SELECT * FROM ({}) AS one".format(
            "SELECT "
            + ", ".join("'u2'" if c.name == "user_id" else c.name for c in schema.sessions.c)
            + " FROM sessions"
        )
        self.assertRaises(IntegrityError, self.write, storage, again)
        elsewhere = again.replace(" evse_uid", " evse_uid || 'x'")
        self.write(storage, elsewhere)

    def test_given_on(self) -> None:
        """An EVSE that is left is taken again in the same batch."""
        storage = self.make()
        people = [f"u{n}" for n in range(available(storage) + 1)]
        storage.execute([AddUser(a_user(user_id)) for user_id in people])
        *_, left = (take_and_see(storage, user_id) for user_id in people[:-1])
        _, taken = storage.execute([leave(people[-2]), take(a_session(people[-1]))])
        self.assertEqual(taken.evse_uid, left.evse_uid)

    def test_every_figure(self) -> None:
        """A session is read as it was written, how it charges too."""
        charging = attrs.evolve(
            a_session(),
            connector="CCS2 é",
            start_percent=1 / 3,
            target_percent=80.0,
            energy_kwh=0.1 + 0.2,
            profile=Profile((Piece(0.1 + 0.2, 1e-6, 130.0), Piece(1.0, 130.0, 1 / 3))),
            assumed=("car_curve", "price"),
        )
        storage = self.make()
        add_user(storage, a_user())
        self.assertEqual(take_slot(storage, charging), charging)
        storage.close()
        storage = self.make()
        self.assertEqual(take_slot(storage, a_session(end=0)), charging)

    def test_car(self) -> None:
        """
        A user's row has the key of the model and the facts that count without the catalogue; with
        it, the model is the catalogue's one.
        """
        storage = self.make()
        name = "Tesla Model 3"
        model = storage.catalogue().models[name]
        self.assertIsNotNone(model.dc_curve)
        bare = CarModel.from_facts(model.facts())
        users = [
            User(user_id, "Ana", ElectricCar(model, 20.5), NOON, key, 70.0)
            for user_id, key in (("u1", name), ("u2", "Gone"), ("u3", None))
        ]
        storage.execute([AddUser(user) for user in users])
        with storage._database.begin(write=False) as connection:
            cars = set(connection.exec_driver_sql("SELECT car FROM users").scalars())
        (car,) = map(json.loads, cars)
        self.assertEqual(
            car,
            {
                "model": {field: getattr(model, field) for field in MODEL_FIGURES},
                "battery_level_kwh": 20.5,
            },
        )
        storage.close()
        storage = self.make()
        known = storage.catalogue().models[name]
        for user in users:
            found = find_user(storage, user.user_id)
            expected = known if user.car_key == name else bare
            self.assertEqual(found, attrs.evolve(user, car=ElectricCar(expected, 20.5)))
        self.assertIs(find_user(storage, "u1").car.model, known)

    def test_shipped(self) -> None:
        """A new database has the shipped EVSEs and tariffs."""
        storage = self.make()
        evses = parse_evses(shipped(EVSES), EVSES).evses
        self.assertEqual(
            {s.station.station_id: s.station.own_evses for s in stations(storage)}, evses
        )
        tariffs = parse_tariffs(shipped(TARIFFS), TARIFFS)
        known = storage.catalogue().tariffs
        self.assertEqual([tariff.body for tariff in known.values()], list(tariffs.everything))
        storage.close()
        with storage.read_contents(NOON) as contents:
            self.assertEqual(tuple(contents.tariffs), tariffs.everything)
            self.assertEqual(
                {r.station.station_id: r.station.own_evses for r in contents.stations}, evses
            )

    def test_lacks_a_tariff(self) -> None:
        """A station whose tariff, or a connector's, is not there or is wrong is out of service."""
        storage = self.make()
        tariff_id = next(iter(storage.catalogue().tariffs))
        evses = '[{"uid": "8-A", "connectors": [{"id": "1", "name": "x", "tariff_ids": ["%s"]}]}]'
        for number, (place, there) in enumerate(
            (
                ("tariff_id = 'nowhere'", False),
                (f"tariff_id = '{tariff_id}'", True),
                (f"tariff_id = NULL, evses = '{evses % 'nowhere'}'", False),
                (f"evses = '{evses % tariff_id}'", True),
                ("evses = '[]'", False),
                ("evses = 'no JSON'", False),
            )
        ):
            self.write(storage, f"UPDATE stations SET {place} WHERE station_id = 8")
            self.write(storage, "UPDATE network SET version = version + 1")
            storage.close()
            events = logged(self)
            storage = self.make()
            self.assertEqual(8 in {s.station.station_id for s in stations(storage)}, there, place)
            told = [event["id"] for event in events if "out of service" in event["log_format"]]
            self.assertEqual(told, [] if there else [8], place)
            add_user(storage, a_user(f"u{number}"))
            taken = take_slot(storage, a_session(f"u{number}", 8))
            self.assertEqual(isinstance(taken, ChargingSession), there, place)
            self.assertTrue(there or taken == UNKNOWN_STATION, place)
            end_journey(storage, f"u{number}")
        self.write(storage, "UPDATE stations SET evses = NULL WHERE station_id = 8")
        self.write(storage, f"UPDATE stations SET tariff_id = '{tariff_id}' WHERE station_id = 8")
        for body in ('{"id": "x"}', "no JSON"):
            self.write(storage, f"UPDATE tariffs SET body = '{body}'")
            self.write(storage, "UPDATE network SET version = version + 1")
            storage.close()
            storage = self.make()
            self.assertNotIn(8, {s.station.station_id for s in stations(storage)}, body)

    def test_row_that_cannot_be(self) -> None:
        """A row with an enormous number of slots, or no time zone, costs that station alone."""
        storage = self.make()
        self.write(storage, "UPDATE stations SET evses = NULL WHERE station_id = 8")
        for column, value, why in (
            ("max_slots", 2_000_000_000, "must be a whole number up to 10000, not 2000000000"),
            ("time_zone", "'Mars'", "'Mars' is no time zone, such as America/Bahia"),
        ):
            said = f"table stations, station 8, {column}: {why}"
            self.write(storage, f"UPDATE stations SET {column} = {value} WHERE station_id = 8")
            self.write(storage, "UPDATE network SET version = version + 1")
            storage.close()
            events = logged(self)
            storage = self.make()
            found = [s.station.station_id for s in stations(storage)]
            self.assertEqual(found, [i for i in range(1, 37) if i != 8])
            self.assertIn(said, [event.get("problem") for event in events])
            add_user(storage, a_user(column))
            self.assertEqual(take_slot(storage, a_session(column, 8)), UNKNOWN_STATION)
            storage.close()
            with self.assertRaises(StorageError) as raised, storage.read_contents(NOON):
                pass
            self.assertEqual(str(raised.exception), said)
            storage = self.make()
            self.write(storage, "UPDATE stations SET max_slots = 4 WHERE station_id = 8")

    def test_one_at_a_time(self) -> None:
        """Threads that share a storage carry out one batch at a time."""
        storage = self.make()
        begin, inside = storage._database.begin, threading.Semaphore()
        together, started = threading.Event(), threading.Event()

        @contextlib.contextmanager
        def watched(write: bool) -> Iterator[Any]:
            if not inside.acquire(blocking=False):
                together.set()
                raise AssertionError("two at once")
            try:
                with begin(write) as connection:
                    yield connection
                    started.set()
                    together.wait(0.5)
            finally:
                inside.release()

        storage._database.begin = watched
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(add_user, storage, a_user("u1"))
            self.assertTrue(started.wait(PATIENCE_S))
            second = threads.submit(add_user, storage, a_user("u2"))
            for done in (first, second):
                done.result(PATIENCE_S)
        self.assertFalse(together.is_set())


class SqliteTests(SqlContract, SynchronousTestCase):
    """In an SQLite file that one process owns."""

    shared = False

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def make(self) -> SqlStorage:
        storage = parse(f"sqlite:///{self.path}", "").storage(shared=self.shared)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def test_linked(self) -> None:
        """A file that is removed behind a link is written no more either."""
        folder = self.path.with_name("elsewhere")
        folder.mkdir()
        (folder / "evcharge.db").touch()
        self.path.symlink_to(folder / "evcharge.db")
        storage = self.make()
        add_user(storage, a_user("u1"))
        add_user(storage, a_user("u2"))
        (folder / "evcharge.db").rename(folder / "away")
        self.assertRaises(StorageUnavailable, add_user, storage, a_user("u3"))
        (folder / "away").rename(folder / "evcharge.db")
        add_user(storage, a_user("u3"))
        self.assertEqual(user_ids(storage), ["u1", "u2", "u3"])

    def test_by_another_name(self) -> None:
        """A file has one lock, whatever links lead to it; and what a link leads to can change."""
        storage = self.make()
        add_user(storage, a_user("u1"))
        link = self.path.with_name(self.path.name + "-link")
        link.symlink_to(self.path)
        other = SqlStorage(Sqlite(link))
        error = self.assertRaises(StorageError, other.open, NOON)
        self.assertIn(f"{link}: is in use by another evcharge process", str(error))
        storage.close()
        other.open(NOON)
        self.addCleanup(other.close)
        self.assertEqual(user_ids(other), ["u1"])
        link.unlink()
        self.assertRaises(StorageUnavailable, add_user, other, a_user("u2"))

    def test_removed_at_the_end(self) -> None:
        """A file that is removed while a batch is committed is written no more, come what may."""
        storage = self.make()
        add_user(storage, a_user("u1"))
        look, looks = storage._database._look, itertools.count()

        def late(connection: Connection) -> None:
            if next(looks) == 1:
                self.path.rename(f"{self.path}-away")
            look(connection)

        self.patch(storage._database, "_look", late)
        for user_id in ("u2", "u3"):
            self.assertRaises(StorageUnavailable, add_user, storage, a_user(user_id))
        Path(f"{self.path}-away").rename(self.path)
        self.assertRaises(StorageUnavailable, add_user, storage, a_user("u3"))

    def test_not_flushed(self) -> None:
        """What was answered rests on no commit that failed, which is in the WAL all the same."""
        storage = self.make()
        # Where there are several processes, another one that has not met with it.
        other = self.make() if self.shared else storage
        for user_id in ("u1", "u2"):
            add_user(other, a_user(user_id))
            take_slot(storage, a_session(user_id))
        for user_id in ("u1", "u2"):
            failed = self.failing(errno.EIO, FLUSHES, end_journey, storage, user_id)
            self.assertIsInstance(failed.exception(), StorageUnavailable)
            session = take_slot(other, a_session(user_id, end=NOON + 99))
            self.assertEqual(session, a_session(user_id))
            again = self.killed()
            self.assertEqual(take_slot(again, a_session(user_id, end=NOON + 99)), session)

    def test_no_room(self) -> None:
        """What did not fit into the WAL is in no doubt: a payment is told again all the same."""
        if self.shared:
            return
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session())

        def leave_and_ask() -> ChargingSession:
            self.assertRaises(StorageUnavailable, end_journey, storage, "u1")
            return take_slot(storage, a_session(end=NOON + 99))

        told = self.failing(errno.ENOSPC, ("write", "pwrite64"), leave_and_ask)
        self.assertEqual(told.result(), a_session())

    def test_killed_before_the_flush(self) -> None:
        """What is found in the WAL at the opening is flushed before anything rests on it."""
        add_user(self.make(), a_user())
        flushed: list[str] = []
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            fsync(descriptor)

        self.patch(os, "fsync", watched)
        self.assertEqual(user_ids(self.killed()), ["u1"])
        self.assertEqual([Path(path).name for path in flushed], ["evcharge.db-wal"])

    def killed(self) -> SqlStorage:
        """What the next process finds where this one is killed now."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for part in ("", "-wal"):
            shutil.copy(f"{self.path}{part}", folder / f"evcharge.db{part}")
        storage = SqlStorage(Sqlite(folder / "evcharge.db", self.shared))
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def failing(self, error: int, calls: Sequence[str], ask: Any, *args: Any) -> Future[Any]:
        """Call `ask` where some calls to the system fail."""
        need("libseccomp")

        def confined() -> Any:
            ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            some = Filter(ALLOW)
            for call in calls:
                some.add(ERRNO | error, call)
            some.load()
            return ask(*args)

        # A thread that ends then, as nobody can be rid of such a filter.
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(confined)


class SharedSqliteTests(SqliteTests):
    """In one that several processes of a server share."""

    shared = True


class PostgresTests(PostgresCase, SqlContract):
    """In a PostgreSQL database."""
