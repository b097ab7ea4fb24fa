"""One contract for every storage: results, idempotency, concurrency, crash, restart."""

import itertools
import json
import multiprocessing
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from sqlalchemy import event
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets import StationRows, parse_stations
from evcharge.datasets.files import EVSES, STATIONS
from evcharge.models.estimates import choose_evse
from evcharge.models.session import FREE, ChargingSession, plan_session
from evcharge.rules import sweep as rules
from evcharge.rules.journey import (
    UNKNOWN_STATION,
    UNKNOWN_USER,
    AddUser,
    FindUser,
    ListSessions,
    ListStations,
    held_at,
)
from evcharge.rules.operation import Needs, Operation
from evcharge.rules.sweep import SweepResult
from evcharge.rules.view import NotLoaded, View
from evcharge.storage import Storage, StorageError, StorageUnavailable, carry_out
from evcharge.storage.files.store import FileStorage
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.location import parse
from evcharge.storage.memory import MemoryStorage
from evcharge.storage.records import MOST_STALE
from evcharge.storage.sql.databases import Postgres, Sqlite
from evcharge.storage.sql.store import SqlStorage
from evcharge.testing import NOON, shipped_network
from tests.support import engines, postgres
from tests.support.examples import examples, given
from tests.support.folders import NETWORK
from tests.support.operations import (
    MODEL,
    NO_FREE_SLOT,
    a_session,
    a_user,
    add_user,
    available,
    end_journey,
    find_user,
    leave,
    next_free,
    pay,
    station,
    stations,
    sweep,
    take,
    take_slot,
    unseated,
    until_done,
    user_ids,
)

engines.share()


class StorageContract:
    """What every storage does; a subclass makes one with the shipped network, and opens it anew."""

    processes = True
    """Whether several processes may have it open."""

    def make(self, stations: StationRows | None = None) -> Storage:
        """A storage, open; a new one has `stations` in place of the shipped ones."""
        raise NotImplementedError

    def again(self, storage: Storage) -> Storage:
        storage.close()
        return self.make()

    def both(self, storage: Storage) -> Iterator[Storage]:
        """The storage that is still open, whose memory answers; then the same, opened again."""
        yield storage
        yield self.again(storage)

    def test_users(self) -> None:
        """A user who was added is there, once, until the journey ends."""
        storage = self.make()
        add_user(storage, a_user())
        add_user(storage, a_user())
        for opened in self.both(storage):
            self.assertEqual(find_user(opened, "u1"), a_user())
            self.assertEqual(list(opened.users()), [a_user()])
        storage = opened
        end_journey(storage, "u1")
        for opened in self.both(storage):
            self.assertEqual(find_user(opened, "u1"), UNKNOWN_USER)
            self.assertEqual(end_journey(opened, "u1"), UNKNOWN_USER)
            self.assertEqual(take_slot(opened, a_session()), UNKNOWN_USER)
            self.assertEqual(list(opened.users()), [])

    def test_every_figure(self) -> None:
        """A user's figures come back as they were, the awkward ones too."""
        storage = self.make()
        user = a_user("ç-🚗")
        car = attrs.evolve(
            user.car,
            battery_level_kwh=1 / 3,
            model=attrs.evolve(user.car.model, ac_limit_kw=7.4, consumption_kwh_per_km=1e-6),
        )
        user = attrs.evolve(user, car=car, user_name="'; DROP TABLE users; --")
        add_user(storage, user)
        self.assertEqual(find_user(self.again(storage), "ç-🚗"), user)

    def test_take_slot(self) -> None:
        """A slot is taken once, and its payment stays the same."""
        storage = self.make()
        add_user(storage, a_user())
        before = available(storage)
        self.assertEqual(take_slot(storage, a_session()), a_session())
        for opened in self.both(storage):
            self.assertEqual(next_free(station(opened, 7)), NOON + 60)
            self.assertEqual(take_slot(opened, a_session(end=NOON + 99)), a_session())
            self.assertEqual(available(opened), before - 1)
            self.assertEqual(take_slot(opened, a_session(station=1)), held_at(7))
            self.assertEqual(find_user(opened, "u1"), a_user())
        storage = opened
        end_journey(storage, "u1")
        for opened in self.both(storage):
            self.assertEqual(available(opened), before)
            self.assertIsNone(next_free(station(opened, 7)))

    def test_every_session(self) -> None:
        """Every session is there to be looked at, with how it charges."""
        storage = self.make()
        self.assertEqual(list(carry_out(storage, ListSessions())), [])
        for user in ("u1", "u2"):
            add_user(storage, a_user(user))
        plan = partial(plan_session, receipt_id="r", now=NOON)
        (session,) = storage.execute([pay("u1", "7", plan)])
        take_slot(storage, a_session("u2", station=1))
        for opened in self.both(storage):
            listed = {one.user_id: one for one in carry_out(opened, ListSessions())}
            self.assertEqual(listed.keys(), {"u1", "u2"})
            self.assertEqual(listed["u1"].profile, session.profile)
            self.assertEqual(listed["u1"].receipt_id, "r")

    def test_planned(self) -> None:
        """The session is planned with the user and the station that the storage has."""
        storage = self.make()
        add_user(storage, a_user())
        plan = partial(plan_session, receipt_id="r", now=NOON)
        (session,) = storage.execute([pay("u1", "7", plan)])
        there = station(storage, 7).station
        chosen = choose_evse(MODEL, there.evses, 40, 80)
        assert chosen is not None
        self.assertEqual(session, plan(a_user(), there, *chosen, {}))
        self.assertGreater(session.amount, 0)
        again = take_slot(self.again(storage), a_session())
        self.assertEqual(again, unseated(session))

    def test_refused(self) -> None:
        """Who or what is not there is named by the exception."""
        storage = self.make()
        self.assertEqual(take_slot(storage, a_session()), UNKNOWN_USER)
        add_user(storage, a_user())
        session = a_session()
        for name in ("999", "", "x", "07", "7 ", "-7", "7.0", "9" * 30, "٧"):
            results = storage.execute([pay("u1", name, lambda user, station: session)])
            self.assertEqual(results[0], UNKNOWN_STATION, name)

    def test_batch(self) -> None:
        """Operations of one batch have their results in order, each succeeding or failing alone."""
        storage = self.make()
        slots = available(storage)
        people = [f"u{n}" for n in range(slots + 2)]
        self.assertEqual(
            list(storage.execute([AddUser(a_user(u)) for u in people])), [None] * len(people)
        )

        def breaks(*all_of_it: object) -> Any:
            raise ZeroDivisionError

        results = storage.execute(
            [
                FindUser("u0"),
                pay(people[-1], "7", breaks),
                *(take(a_session(u)) for u in people[:-1]),
                take(a_session("u0", end=NOON + 5)),
                take(a_session("u0", station=1)),
                leave("nobody"),
                FindUser("nobody"),
                leave(people[-1]),
                AddUser(a_user("new")),
            ]
        )
        self.assertEqual(results[0], a_user("u0"))
        self.assertIsInstance(results[1], ZeroDivisionError)
        self.assertEqual(
            list(map(unseated, results[2 : 2 + slots])), [a_session(u) for u in people[:slots]]
        )
        self.assertEqual(
            list(map(unseated, results[2 + slots :])),
            [NO_FREE_SLOT, a_session("u0"), held_at(7), UNKNOWN_USER, UNKNOWN_USER, None, None],
        )
        for opened in self.both(storage):
            self.assertEqual(available(opened), 0)
            self.assertEqual(user_ids(opened), sorted([*people[:-1], "new"]))
            self.assertEqual(find_user(opened, "new"), a_user("new"))
            self.assertEqual(find_user(opened, people[-1]), UNKNOWN_USER)
            self.assertEqual(take_slot(opened, a_session("u0", end=NOON + 5)), a_session("u0"))

    def test_long_ids(self) -> None:
        """A station with the longest of ids is paid at like any other; a longer one is none."""
        ids = [10**9, 2**31 - 1]
        rows = "".join(f"{number};Sul;Rua B;-12.26;-38.96;3\n" for number in ids)
        storage = self.make(parse_stations(NETWORK + rows.encode(), "network"))
        people = [f"u{number}" for number in ids]
        storage.execute([AddUser(a_user(user_id)) for user_id in people])
        for user_id, number in zip(people, ids, strict=True):
            session = a_session(user_id, number)
            self.assertEqual(take_slot(storage, session), session)
            self.assertEqual(available(storage, number), 2)
        results = storage.execute(
            [
                pay("u1000000000", "2147483648", lambda user, station: a_session()),
                pay("u1000000000", "9999999999", lambda user, station: a_session()),
                leave("u1000000000"),
            ]
        )
        self.assertEqual(list(results), [UNKNOWN_STATION, UNKNOWN_STATION, None])
        self.assertEqual(available(storage, 10**9), 3)

    def test_age_limit(self) -> None:
        """Who logged in just when the limit is may still pay; who did so before may not."""
        storage = self.make()
        add_user(storage, a_user("before", NOON - 0.001))
        add_user(storage, a_user("just then", NOON))
        self.assertEqual(sweep(storage, 0, NOON), SweepResult(0, 1))
        for opened in self.both(storage):
            self.assertEqual(user_ids(opened), ["just then"])
            self.assertEqual(sweep(opened, 0, NOON), SweepResult(0, 0))

    def test_much_due(self) -> None:
        """A sweep of very much ends a part of it, and says that there is more."""
        self.patch(rules, "MOST_SWEPT", 3)
        storage = self.make()
        people = [f"u{n}" for n in range(9)]
        storage.execute([AddUser(a_user(u)) for u in people])
        storage.execute([take(a_session(u, n)) for n, u in enumerate(people[:5], 1)])
        told = [sweep(storage, NOON + 60, NOON + 1) for _ in range(3)]
        self.assertEqual(told, [SweepResult(3, 3, True), SweepResult(2, 1), SweepResult(0, 0)])
        self.assertEqual(user_ids(storage), [])
        for number in range(1, 6):
            self.assertEqual(available(storage, number), station(storage, number).station.max_slots)

    def close_all(self, storage: Storage) -> Storage:
        """The storage once an operator has taken every station out of service."""
        raise NotImplementedError

    def test_none_in_service(self) -> None:
        """Where the last station has gone out of service, none is listed, and none paid at."""
        storage = self.make()
        add_user(storage, a_user())
        self.assertEqual(len(stations(storage)), 36)
        storage = self.close_all(storage)
        self.assertEqual(list(stations(storage)), [])
        self.assertEqual(take_slot(storage, a_session()), UNKNOWN_STATION)

    def test_breaks_alone(self) -> None:
        """An operation that breaks when it has changed something has changed nothing."""
        storage = self.make()
        before = available(storage)
        people = ["u1", "u2", "u3"]
        storage.execute([AddUser(a_user(user_id)) for user_id in people])
        results = storage.execute(
            [take(a_session("u1")), Breaks("u2"), take(a_session("u2")), leave("u3")]
        )
        self.assertIsInstance(results[1], ZeroDivisionError)
        self.assertEqual(
            list(map(unseated, [results[0], *results[2:]])),
            [a_session("u1"), a_session("u2"), None],
        )
        for opened in self.both(storage):
            self.assertEqual(user_ids(opened), ["u1", "u2"])
            self.assertEqual(available(opened), before - 2)

    def test_not_loaded(self) -> None:
        """What an operation does not say it needs is not "not there": to look at it is a fault."""
        storage = self.make()
        add_user(storage, a_user())
        results = storage.execute([Forgets("u1", what) for what in Forgets.LOOKS])
        self.assertEqual([type(result) for result in results], [NotLoaded] * len(Forgets.LOOKS))

    def test_sweep(self) -> None:
        """A sweep ends what has ended, once, and removes who never paid."""
        storage = self.make()
        for user_id in ("u1", "u2", "u3"):
            add_user(storage, a_user(user_id))
        slots = {number: available(storage, number) for number in (7, 8)}
        take_slot(storage, a_session("u1", end=NOON + 60))
        take_slot(storage, a_session("u2", 8, end=NOON + 600))
        storage = self.again(storage)
        result = sweep(storage, NOON + 60, NOON - 1)
        self.assertEqual((result.freed, result.removed), (1, 0))
        for opened in self.both(storage):
            self.assertEqual(find_user(opened, "u1"), UNKNOWN_USER)
            self.assertEqual(available(opened, 7), slots[7])
            self.assertEqual(find_user(opened, "u3"), a_user("u3"))
        storage = opened
        result = sweep(storage, NOON + 60, NOON + 1)
        self.assertEqual((result.freed, result.removed), (0, 1))
        for opened in self.both(storage):
            self.assertEqual(find_user(opened, "u3"), UNKNOWN_USER)
            self.assertEqual(available(opened, 8), slots[8] - 1)
            self.assertEqual(next_free(station(opened, 8)), NOON + 600)
            self.assertEqual(user_ids(opened), ["u2"])
            again = sweep(opened, NOON + 60, NOON + 1)
            self.assertEqual((again.freed, again.removed), (0, 0))

    def lower(self, storage: Storage, station_id: int, slots: int) -> Storage:
        """The storage opened again, once an operator has lowered a station."""
        raise NotImplementedError

    def test_over_full(self) -> None:
        """A station that was lowered under its vehicles works, and shrinks as they leave."""
        storage = self.make()
        place = next(s.station for s in stations(storage) if s.available_slots >= 5)
        number = place.station_id
        people = [f"u{n}" for n in range(5)]
        storage.execute([AddUser(a_user(u)) for u in [*people, "late"]])
        for n, user_id in enumerate(people):
            take_slot(storage, a_session(user_id, number, end=NOON + 60 * (5 - n)))
        storage = self.lower(storage, number, 2)

        def shown() -> tuple[int, int, float | None]:
            state = station(storage, number)
            end = next_free(state)
            return (
                state.max_slots,
                state.available_slots,
                None if end is None else (end - NOON) / 60,
            )

        # Four have to leave before there is a slot.
        self.assertEqual(shown(), (5, 0, 4))
        late = a_session("late", number)
        self.assertEqual(take_slot(storage, late), NO_FREE_SLOT)
        elsewhere = a_session("u1", 1 + number % 30)
        self.assertEqual(take_slot(storage, elsewhere), held_at(number))
        again = a_session("u1", number, end=NOON + 999)
        self.assertEqual(take_slot(storage, again).estimated_timestamp, NOON + 240)
        end_journey(storage, "u3")
        self.assertEqual(shown(), (4, 0, 4))
        self.assertEqual(sweep(storage, NOON + 60, 0).freed, 1)
        self.assertEqual(shown(), (3, 0, 4))
        storage = self.lower(storage, number, 2)
        self.assertEqual(shown(), (3, 0, 4))
        end_journey(storage, "u0")
        self.assertEqual(shown(), (2, 0, 3))
        self.assertEqual(take_slot(storage, late), NO_FREE_SLOT)
        self.assertEqual(sweep(storage, NOON + 180, 0).freed, 1)
        self.assertEqual(shown(), (2, 1, 4))
        self.assertEqual(take_slot(storage, late), late)
        storage = self.lower(storage, number, 0)
        # No slot will ever be free here.
        self.assertEqual(shown(), (2, 0, None))
        for user_id in ("late", "u1"):
            end_journey(storage, user_id)
        self.assertEqual(shown(), (0, 0, None))

    def test_threads(self) -> None:
        """Threads that hammer one station get exactly its slots."""
        storage = self.make()
        slots = available(storage)

        def hammer(number: int) -> bool:
            user_id = f"u{number}"
            add_user(storage, a_user(user_id))
            return take_slot(storage, a_session(user_id)) != NO_FREE_SLOT

        with ThreadPoolExecutor(8) as threads:
            won = sum(threads.map(hammer, range(20)))
        self.assertEqual(won, slots)
        self.assertEqual(available(storage), 0)
        self.assertEqual(available(self.again(storage)), 0)

    def run_invariant(self, storage: Storage, steps: list[tuple[int, int, int]]) -> None:
        """Whatever is done, the storage agrees with a plain model of it."""
        users: set[str] = set()
        held: dict[str, tuple[int, float]] = {}
        slots = {s.station.station_id: s.station.max_slots for s in stations(storage)}
        run = next(_runs)
        now = NOON
        for kind, who, where in steps:
            user_id, now = f"{run}-{who}", now + 1
            session = a_session(user_id, 1 + where, end=now + 4)
            session = attrs.evolve(session, receipt_id=f"{run}-{who}-{now}")
            if kind == 0:
                add_user(storage, a_user(user_id, NOON + 10**6))
                users.add(user_id)
            elif kind == 1:
                taken = sum(1 for at, _ in held.values() if at == 1 + where)
                (result,) = storage.execute([take(session)])
                if user_id not in users:
                    self.assertEqual(result, UNKNOWN_USER)
                elif user_id in held and held[user_id][0] == 1 + where:
                    self.assertEqual(result.estimated_timestamp, held[user_id][1])
                elif user_id in held:
                    self.assertEqual(result, held_at(held[user_id][0]))
                elif taken == slots[1 + where]:
                    self.assertEqual(result, NO_FREE_SLOT)
                else:
                    self.assertEqual(unseated(result), session)
                    held[user_id] = (1 + where, now + 4)
            elif kind == 2:
                (result,) = storage.execute([leave(user_id)])
                self.assertEqual(result == UNKNOWN_USER, user_id not in users)
                users.discard(user_id)
                held.pop(user_id, None)
            else:
                over = {u for u, (_, end) in held.items() if end <= now}
                self.assertEqual(sweep(storage, now, 0).freed, len(over))
                users -= over
                for user_id in over:
                    del held[user_id]
            states = storage.execute([ListStations()])[0]
            free = {s.station.station_id: s.available_slots for s in states}
            for station_id in (1, 2):
                taken = sum(1 for at, _ in held.values() if at == station_id)
                self.assertEqual(free[station_id], slots[station_id] - taken)
        storage.execute([leave(user_id) for user_id in users])

    def test_invariant(self) -> None:
        """No sequence of operations loses or doubles a slot."""
        storage = self.make()
        step = st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 1))

        @settings(
            max_examples=examples(10),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(st.lists(step, max_size=30))
        def check(steps: list[tuple[int, int, int]]) -> None:
            self.run_invariant(storage, steps)

        check()


_runs = itertools.count()


@attrs.define
class Breaks(Operation[None]):
    """Frees a slot that it has just taken, removes the user, and breaks."""

    user_id: str

    def add_needs(self, needs: Needs) -> None:
        take(a_session(self.user_id)).add_needs(needs)

    def decide(self, view: View) -> None:
        view.give_back(view.take(a_session(self.user_id), None, 0.0, FREE), 0.0, FREE)
        view.take(a_session(self.user_id), None, 0.0, FREE)
        view.remove(self.user_id)
        raise ZeroDivisionError


@attrs.define
class Forgets(Operation[object]):
    """Looks at something that it does not say it needs."""

    LOOKS: ClassVar[dict[str, Callable[[View], object]]] = {
        "user": lambda view: view.user("u1"),
        "session": lambda view: view.session("u1"),
        "book": lambda view: view.book(7),
        "states": lambda view: view.states(),
        "newest": lambda view: view.newest(),
    }
    user_id: str
    what: str

    def add_needs(self, needs: Needs) -> None:
        needs.write = True

    def decide(self, view: View) -> object:
        return self.LOOKS[self.what](view)


class MemoryStorageTests(StorageContract, SynchronousTestCase):
    """The contract, in memory."""

    def make(self, stations: StationRows | None = None) -> MemoryStorage:
        if stations is not None:
            return MemoryStorage({}, list(stations.stations.values()))
        return shipped_network()

    def again(self, storage: Storage) -> Storage:
        return storage

    def lower(self, storage: MemoryStorage, station_id: int, slots: int) -> Storage:
        records = storage.records
        table = attrs.evolve(records.slots[station_id], max_slots=slots)
        state = records.states.get(str(station_id))
        assert state is not None
        # It has no EVSEs but its slots.
        records.put_stations([(attrs.evolve(state.station, own_evses=()), table)])
        return storage

    def test_none_in_service(self) -> None:
        """Nobody can take its stations out of service; it may have none."""
        storage = MemoryStorage({}, [])
        add_user(storage, a_user())
        self.assertEqual(list(stations(storage)), [])
        self.assertEqual(take_slot(storage, a_session()), UNKNOWN_STATION)

    def test_memory_is_bounded(self) -> None:
        """What has ended early takes no memory, however much of it there was."""
        storage = self.make()
        storage.execute([AddUser(a_user(f"u{number}", NOON + number)) for number in range(3)])
        take_slot(storage, a_session("u0", 8, end=NOON + 100))
        for number in range(MOST_STALE + 10):
            add_user(storage, a_user("early", NOON - 1))
            take_slot(storage, a_session("early", end=NOON + 1 + number))
            end_journey(storage, "early")
        for heap in (storage.records.logins, storage.records.ends):
            self.assertLess(len(heap), MOST_STALE)
        # What stands is still ended in its time.
        self.assertEqual(sweep(storage, NOON + 99, NOON + 1.5).removed, 1)
        self.assertEqual(sweep(storage, NOON + 100, NOON + 1.5).freed, 1)
        self.assertEqual(user_ids(storage), ["u2"])


class InTables:
    """What storages in databases have in common."""

    def lower(self, storage: SqlStorage, station_id: int, slots: int) -> Storage:
        with storage._database.begin(write=True) as connection:
            # It has no EVSEs but its slots.
            connection.exec_driver_sql(
                f"UPDATE stations SET max_slots = {slots}, evses = NULL"
                f" WHERE station_id = {station_id}"
            )
        return self.again(storage)

    def close_all(self, storage: SqlStorage) -> Storage:
        with storage._database.begin(write=True) as connection:
            connection.exec_driver_sql("UPDATE stations SET in_service = false")
            connection.exec_driver_sql("UPDATE network SET version = version + 1")
        return self.again(storage)


class InSharedTables(InTables):
    """What those have in common that several processes share."""

    def close_all(self, storage: SqlStorage) -> Storage:
        super().close_all(self.make())
        # A server that runs sees it when it lists them anew.
        storage._known.listed_at = float("-inf")
        return storage

    def test_present_tariff(self) -> None:
        """A payment costs what the station asks for now, whatever was listed before."""
        storage = self.make()
        add_user(storage, a_user())
        stations(storage)
        with storage._database.begin(write=True) as connection:
            connection.exec_driver_sql(
                "UPDATE stations SET price_kwh = '9.99', power_kw = 11 WHERE station_id = 7"
            )
        plan = partial(plan_session, receipt_id="r", now=NOON)
        (session,) = storage.execute([pay("u1", "7", plan)])
        # 20 kWh to 80 % of 50 kWh, 11 kW at most.
        self.assertEqual(str(session.amount), "199.80")
        self.assertAlmostEqual(session.charge_minutes, 20 / 11 * 60)


class FileStorageTests(StorageContract, SynchronousTestCase):
    """The contract, in a data directory."""

    def lower(self, storage: FileStorage, station_id: int, slots: int) -> Storage:
        storage.close()
        path = self.data / "stations" / f"station_{station_id}.json"
        record = json.loads(path.read_bytes())
        path.write_text(json.dumps({**record, "max_slots": slots}))
        # It has no EVSEs but its slots.
        named = json.loads((self.data / EVSES).read_bytes())
        named.pop(str(station_id), None)
        (self.data / EVSES).write_text(json.dumps(named))
        storage = self.make()
        # What the operator wrote stays.
        record = json.loads(path.read_bytes())
        free = max(0, slots - len(record["vehicles"]))
        self.assertEqual((record["max_slots"], record["available_slots"]), (slots, free))
        return storage

    def close_all(self, storage: FileStorage) -> Storage:
        storage.close()
        path = self.data / STATIONS
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
        return self.make()

    def setUp(self) -> None:
        self.data = Path(self.mktemp())

    def make(self, stations: StationRows | None = None) -> FileStorage:
        storage = FileStorage(self.data, None, stations)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage


class SqliteStorageTests(InTables, StorageContract, SynchronousTestCase):
    """The contract, in an SQLite file that one process owns."""

    shared = False

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "evcharge.db"

    def make(self, stations: StationRows | None = None) -> SqlStorage:
        storage = SqlStorage(Sqlite(self.path, self.shared), None, stations)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def test_owned(self) -> None:
        """A second storage is refused while the first is open."""
        storage = self.make()
        error = self.assertRaises(StorageError, SqlStorage(Sqlite(self.path)).open, NOON)
        self.assertIn("in use by another evcharge process", str(error))
        self.again(storage)

    def test_durable(self) -> None:
        """Each commit is flushed, which no kill of a process could tell."""
        with self.make()._database.begin(write=False) as connection:
            told = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous")
            ]
        self.assertEqual(told, ["wal", 2])

    def test_no_database(self) -> None:
        """Another file, a folder, and a database of others are refused, and left as they are."""
        self.path.parent.mkdir()
        self.path.write_text("Dear diary")
        error = self.assertRaises(StorageError, self.make)
        self.assertIn(str(self.path), str(error))
        self.assertEqual(self.path.read_text(), "Dear diary")
        self.path.unlink()
        self.path.mkdir()
        self.assertRaises(StorageError, self.make)
        self.path.rmdir()
        with sqlite3.connect(self.path) as other:
            other.execute("CREATE TABLE users (name TEXT)")
        other.close()
        self.assertIn("users", str(self.assertRaises(StorageError, self.make)))

    def test_newer(self) -> None:
        """A database of a newer evcharge is refused."""
        self.make().close()
        with sqlite3.connect(self.path) as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.close()
        self.assertIn("newer", str(self.assertRaises(StorageError, self.make)))

    def test_unwritable(self) -> None:
        """A database that cannot be written says so, and serves again when it can."""
        storage = self.make()
        add_user(storage, a_user())
        with storage._database.begin(write=False) as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
        self.assertRaises(StorageUnavailable, add_user, storage, a_user("u2"))
        self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
        self.assertEqual(find_user(storage, "u1"), a_user())
        with storage._database.begin(write=False) as connection:
            connection.exec_driver_sql("PRAGMA query_only = OFF")
        self.assertEqual(take_slot(storage, a_session()), a_session())
        self.assertEqual(user_ids(storage), ["u1"])

    def test_removed(self) -> None:
        """A file that is removed or replaced under the server is written no more."""
        for name in ("evcharge.db", "evcharge.db-wal", "evcharge.db-lock"):
            storage = self.make()
            add_user(storage, a_user())
            slots = available(storage)
            path = self.path.with_name(name)
            away = path.with_name("away")
            path.rename(away)
            for there in (False, True):
                if there:
                    path.write_bytes(away.read_bytes())
                error = self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
                self.assertIn(f"{path}: was removed or replaced", str(error))
                self.assertRaises(StorageUnavailable, sweep, storage, NOON, NOON + 1)
                self.assertEqual(find_user(storage, "u1"), a_user())
            away.rename(path)
            # Memory and the file still say the same.
            self.assertEqual(available(storage), slots)
            session = attrs.evolve(a_session(), receipt_id=name)
            take_slot(storage, session)
            storage = self.again(storage)
            self.assertEqual(take_slot(storage, a_session()), session)
            end_journey(storage, "u1")
            storage.close()

    def test_removed_with_folder(self) -> None:
        """Nor is one whose folder is gone."""
        storage = self.make()
        shutil.rmtree(self.path.parent)
        self.assertRaises(StorageUnavailable, add_user, storage, a_user())

    def test_removed_at_commit(self) -> None:
        """What was committed to a file that is gone is not told as done, then or later."""
        storage = self.make()
        add_user(storage, a_user())
        away = self.path.with_name("away")
        event.listen(
            storage._database._engine,
            "commit",
            lambda connection: self.path.rename(away),
            once=True,
        )
        self.assertRaises(StorageUnavailable, take_slot, storage, a_session())
        away.rename(self.path)
        # Memory does not have what the file has.
        self.assertRaises(StorageUnavailable, add_user, storage, a_user("u2"))
        storage = self.again(storage)
        self.assertEqual(take_slot(storage, a_session(end=NOON + 99)), a_session())

    def test_memory_is_bounded(self) -> None:
        """Of many users the first are forgotten, and found again in the database."""
        from evcharge.storage.sql import store

        self.patch(store, "MOST_USERS_KEPT", 3)
        storage = self.make()
        storage.execute([AddUser(a_user(f"u{n}")) for n in range(10)])
        self.assertEqual(len(storage.records.users), 3)
        self.assertIsNone(storage.recall(FindUser("u0")))
        self.assertEqual(find_user(storage, "u0"), a_user("u0"))
        take_slot(storage, a_session("u3"))
        end_journey(storage, "u3")
        self.assertEqual(len(user_ids(storage)), 9)


class SharedSqliteStorageTests(InSharedTables, StorageContract, SynchronousTestCase):
    """The contract, in an SQLite file that several processes of one server share."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "evcharge.db"

    def make(self, stations: StationRows | None = None) -> SqlStorage:
        storage = SqlStorage(Sqlite(self.path, shared=True), None, stations)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def test_not_alone(self) -> None:
        """What one process does the other knows at once."""
        one, other = self.make(), self.make()
        add_user(one, a_user())
        self.assertEqual(find_user(other, "u1"), a_user())
        before = available(one)
        take_slot(other, a_session())
        self.assertEqual((available(one), available(other)), (before - 1, before - 1))
        end_journey(one, "u1")
        self.assertEqual(find_user(other, "u1"), UNKNOWN_USER)
        self.assertEqual((available(one), available(other)), (before, before))
        self.assertRaises(StorageError, SqlStorage(Sqlite(self.path)).open, NOON)


class PostgresStorageTests(InSharedTables, StorageContract, SynchronousTestCase):
    """The contract, in a PostgreSQL database."""

    def setUp(self) -> None:
        self.url = postgres.shared().url(postgres.shared().create_database())

    def make(self, stations: StationRows | None = None) -> SqlStorage:
        storage = parse(self.url, "").storage(None, stations)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def test_one_statement(self) -> None:
        """Reads, and inserts, of one kind are one statement for the whole batch."""
        storage = self.make()
        statements: list[str] = []
        event.listen(
            storage._database._engine,
            "before_cursor_execute",
            lambda connection, cursor, statement, *more: statements.append(statement.split()[0]),
        )
        people = [f"u{n}" for n in range(20)]
        storage.execute([AddUser(a_user(u)) for u in people])
        self.assertEqual(statements, ["INSERT"])
        statements.clear()
        storage.execute([FindUser(u) for u in people])
        self.assertEqual(statements, ["SELECT"])
        statements.clear()
        storage.execute([take(a_session(u, n)) for n, u in enumerate(people, 1)])
        self.assertEqual(statements.count("INSERT"), 2)
        self.assertEqual(len(statements), 7)

    def test_not_alone(self) -> None:
        """What one process does the other knows at once, and of slots within a second."""
        one, other = self.make(), self.make()
        seconds = 0.0
        for storage in (one, other):
            storage._monotonic = lambda: seconds
            storage._known.listed_at = 0.0
        add_user(one, a_user())
        self.assertEqual(find_user(other, "u1"), a_user())
        before = available(one)
        self.assertEqual(available(other), before)
        take_slot(other, a_session())
        self.assertEqual(available(other), before - 1)
        seconds = 0.51
        self.assertIsNone(one.recall(ListStations()))
        self.assertEqual(available(one), before - 1)

    def test_sweeps_share(self) -> None:
        """Two sweeps at once wait for nothing, and end each session once."""
        one, other = self.make(), self.make()
        people = [f"u{n}" for n in range(30)]
        one.execute([AddUser(a_user(u)) for u in people])
        ids = [s.station.station_id for s in stations(one)]
        one.execute([take(a_session(u, n)) for u, n in zip(people, ids, strict=False)])
        add_user(one, a_user("locked"))
        take_slot(one, a_session("locked", 31))
        with other._database.begin(write=True) as connection:
            # As a request does that is about this user.
            connection.exec_driver_sql("SELECT 1 FROM users WHERE user_id = 'locked' FOR UPDATE")
            self.assertEqual(sweep(one, NOON + 60, 0).freed, 30)
        self.assertEqual(sweep(one, NOON + 60, 0).freed, 1)

    def test_sweeps_at_once(self) -> None:
        """Sweeps of several processes that race end everything, and nothing twice."""
        storages = [self.make() for _ in range(3)]
        people = [f"u{n:03}" for n in range(150)]
        places = [
            state.station.station_id
            for state in stations(storages[0])
            for _ in range(state.available_slots)
        ]
        storages[0].execute([AddUser(a_user(u)) for u in people])
        taken = storages[0].execute(
            [take(a_session(u, n)) for u, n in zip(people, places, strict=False)]
        )
        self.assertEqual({type(result) for result in taken}, {ChargingSession})
        with ThreadPoolExecutor(3) as threads:
            results = list(threads.map(lambda s: sweep(s, NOON + 60, 0), storages))
        left = sweep(storages[0], NOON + 60, 0).freed
        self.assertEqual(sum(result.freed for result in results) + left, 150)
        self.assertEqual(user_ids(storages[0]), [])

    def test_new_network(self) -> None:
        """Stations that are added while the server runs are seen, and can be paid at."""
        storage = self.make()
        with storage._database.begin(write=True) as connection:
            connection.exec_driver_sql(
                "INSERT INTO stations (station_id, in_service, name, address, latitude, longitude,"
                " max_slots, connectors, other_columns) SELECT 77, in_service, name, address,"
                " latitude, longitude, 3, connectors, other_columns FROM stations"
                " WHERE station_id = 7"
            )
        add_user(storage, a_user())
        self.assertEqual(take_slot(storage, a_session(station=77)), a_session(station=77))
        with storage._database.begin(write=True) as connection:
            connection.exec_driver_sql("UPDATE network SET version = version + 1")
        storage._known.listed_at = float("-inf")
        self.assertEqual(available(storage, 77), 2)

    def test_lost_at_commit(self) -> None:
        """A journey that ended though the commit's answer was lost ends well when tried again."""
        storage = self.make()
        add_user(storage, a_user())
        begin = storage._database.begin

        def lose(write: bool) -> Any:
            return _LosesAnswer(begin(write), storage._database)

        storage._database.begin = lose
        self.assertRaises(TryAgain, end_journey, storage, "u1")
        storage._database.begin = begin
        end_journey(storage, "u1")
        self.assertEqual(end_journey(storage, "u1"), UNKNOWN_USER)

    def test_connection_lost(self) -> None:
        """A connection that the server has ended is made anew."""
        storage = self.make()
        add_user(storage, a_user())
        server = postgres.shared()
        server.stop()
        self.addCleanup(server.start)
        self.assertRaises(TryAgain, add_user, storage, a_user("u2"))
        server.start()
        add_user(storage, a_user("u2"))
        self.assertEqual(user_ids(storage), ["u1", "u2"])

    def test_killed(self) -> None:
        """What was answered outlives a kill -9 of the database."""
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        postgres.shared().kill()
        self.assertRaises(TryAgain, add_user, storage, a_user("u2"))
        postgres.shared().start()
        self.assertEqual(take_slot(storage, a_session(end=NOON + 99)), a_session())

    def test_interrupted(self) -> None:
        """A transaction that hangs ends when it is interrupted."""
        storage = self.make()
        add_user(storage, a_user())
        server = postgres.shared()
        server.pause()
        try:
            timer = threading.Timer(0.3, storage.interrupt)
            timer.start()
            self.assertRaises(TryAgain, add_user, storage, a_user("u2"))
            timer.join()
        finally:
            server.resume()
        add_user(storage, a_user("u2"))

    def test_cannot_open(self) -> None:
        """A server that is not there, and a wrong password, are one line without the password."""
        server = postgres.shared()
        for url in (
            "postgresql://postgres:secret@127.0.0.1:1/x",
            server.url("nowhere"),
            server.url("x").replace(":secret@", ":wrongsecret@"),
        ):
            error = self.assertRaises(StorageError, parse(url, "").storage().open, NOON)
            self.assertNotIn("secret", str(error))
            self.assertEqual(len(str(error).splitlines()), 1, error)


class _LosesAnswer:
    """A transaction that is committed, of which the caller hears that the connection was lost."""

    def __init__(self, transaction: Any, database: Postgres) -> None:
        self._transaction, self._database = transaction, database

    def __enter__(self) -> Any:
        return self._transaction.__enter__()

    def __exit__(self, *why: Any) -> None:
        from psycopg import OperationalError
        from sqlalchemy.exc import DBAPIError

        self._transaction.__exit__(*why)
        raise DBAPIError("COMMIT", None, OperationalError("server closed the connection"))


HAMMERED = range(1, 11)
"""Stations."""


def _hammer(url: str, worker: int, together: Any, results: Any) -> None:
    """In a process of its own: pay at one station after another, at once with the others."""
    storage = parse(url, "").storage(shared=True)
    storage.open(NOON)
    won = []
    for station_id in HAMMERED:
        slots = station(storage, station_id).station.max_slots
        people = [f"{worker}-{station_id}-{number}" for number in range(slots)]
        storage.execute([AddUser(a_user(user_id)) for user_id in people])
        # They have all opened their storage, and each has as many drivers as there are slots.
        together.wait(30)
        taken = [until_done(storage, take(a_session(u, station_id))) for u in people]
        won.append(sum(isinstance(result, ChargingSession) for result in taken))
    results.put(won)
    storage.close()


class ProcessesTests(SynchronousTestCase):
    """Processes that share one storage."""

    def hammer(self, url: str) -> None:
        storage = parse(url, "").storage(shared=True)
        storage.open(NOON)
        self.addCleanup(storage.close)
        there = {state.station.station_id: state.station.max_slots for state in stations(storage)}
        slots = [there[station_id] for station_id in HAMMERED]
        spawn = multiprocessing.get_context("spawn")
        together, results = spawn.Barrier(4), spawn.Queue()
        workers = [
            spawn.Process(target=_hammer, args=(url, n, together, results), daemon=True)
            for n in range(4)
        ]
        for worker in workers:
            worker.start()
        won = [results.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join(30)
        self.assertEqual([sum(each) for each in zip(*won, strict=True)], slots)
        storage._known.listed_at = float("-inf")
        self.assertEqual({available(storage, station_id) for station_id in HAMMERED}, {0})
        self.assertEqual(len(user_ids(storage)), 4 * sum(slots))

    def test_sqlite(self) -> None:
        """Processes that hammer the stations of an SQLite file get exactly their slots."""
        self.hammer(f"sqlite:///{Path(self.mktemp()).absolute()}.db")

    def test_postgresql(self) -> None:
        """And so do those of a PostgreSQL database."""
        self.hammer(postgres.shared().url(postgres.shared().create_database()))
