"""One contract for every storage: the clock that is set, and the instants that move with it."""

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection
from twisted.trial.unittest import SynchronousTestCase

from evcharge.outcomes import Refusal
from evcharge.rules.clocks import PROBATION_S, Clocks, Newest, at_jump
from evcharge.rules.journey import AddUser, FindUser
from evcharge.rules.operation import Operation
from evcharge.rules.sweep import Sweep
from evcharge.rules.timekeeping import ReadClock, SetClock
from evcharge.storage import Storage, carry_out
from evcharge.storage.files.store import FileStorage
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.location import parse
from evcharge.storage.sql import clocks as sql_clocks
from evcharge.storage.sql.databases import Sqlite
from evcharge.storage.sql.store import SqlStorage
from evcharge.testing import NOON
from tests.storage import test_storage
from tests.support import engines, postgres
from tests.support.clocks import (
    DAY_S,
    HOUR_S,
    move_all,
    put_right,
    reading,
    session_of,
    set_clock,
    suspect,
)
from tests.support.operations import (
    a_session,
    a_user,
    add_user,
    available,
    find_user,
    leave,
    next_free,
    station,
    sweep,
    take,
    take_slot,
    unseated,
    user_ids,
)

engines.share()


def by(operation: Operation[Any], number: int) -> Operation[Any]:
    operation.clock = number
    return operation


class ClockContract:
    """What every storage does; the kinds are those of :class:`test_storage.StorageContract`."""

    kind: Any
    shared = False
    keeps_payments = True

    def setUp(self) -> None:
        self.kind.setUp(self)

    def make(self) -> Storage:
        return self.kind.make(self)

    def again(self, storage: Storage) -> Storage:
        return self.kind.again(self, storage)

    def pay(self, storage: Storage, user_id: str, now: float, station_id: int = 7) -> None:
        """Have a driver log in and pay for an hour."""
        add_user(storage, a_user(user_id, now))
        take_slot(storage, a_session(user_id, station_id, end=now + HOUR_S, paid=now))

    def both(self, storage: Storage, check: Callable[[Storage], None]) -> Storage:
        """Check something in the open storage, and in one that was opened anew."""
        check(storage)
        storage = self.again(storage)
        check(storage)
        return storage

    def payments(self, storage: Any) -> dict[str, float | None]:
        """The list of payments, by the user's receipt; the storage is closed."""
        storage.close()
        with storage.read_contents(NOON) as contents:
            list(contents.users)
            list(contents.sessions)
            return {payment.receipt_id: payment.paid_timestamp for payment in contents.payments}

    def test_all(self) -> None:
        """All that stands moves, as far as was asked, and is found there from then on."""
        storage = self.make()
        self.pay(storage, "u1", NOON)
        add_user(storage, a_user("u2", NOON + 5))
        state = move_all(storage, DAY_S)

        def check(storage: Storage) -> None:
            self.assertEqual(find_user(storage, "u1"), a_user("u1", NOON + DAY_S))
            self.assertEqual(find_user(storage, "u2"), a_user("u2", NOON + DAY_S + 5))
            self.assertEqual({u.created_timestamp for u in storage.users()},
                             {NOON + DAY_S, NOON + DAY_S + 5})  # fmt: skip
            session = session_of(storage, "u1")
            self.assertEqual(session.estimated_timestamp, NOON + DAY_S + HOUR_S)
            self.assertEqual(session.paid_timestamp, NOON + DAY_S)
            self.assertEqual(next_free(station(storage, 7)), NOON + DAY_S + HOUR_S)
            self.assertEqual(carry_out(storage, ReadClock(lambda: 0.0)).clocks.number, state.number)

        storage = self.both(storage, check)
        # The sweeps that come write what is written later, and end nothing.
        for _ in range(3):
            self.assertEqual(sweep(storage, NOON + DAY_S, NOON + DAY_S - 1).freed, 0)
        storage = self.both(storage, check)
        before = available(storage)
        result = sweep(storage, NOON + DAY_S + HOUR_S - 1, NOON + DAY_S - 1)
        self.assertEqual((result.freed, result.removed), (0, 0))
        result = sweep(storage, NOON + DAY_S + HOUR_S, NOON + DAY_S + 6)
        self.assertEqual((result.freed, result.removed), (1, 1))
        self.assertEqual(available(storage), before + 1)
        self.assertEqual(user_ids(self.again(storage)), [])

    def test_and_back(self) -> None:
        """What is moved and moved back is exactly where it was."""
        storage = self.make()
        self.pay(storage, "u1", NOON + 1 / 3)
        for by_s in (HOUR_S, -30 * DAY_S, -HOUR_S, 30 * DAY_S):
            state = move_all(storage, by_s)
        self.assertNotIn(0, state.moved_s)

        def check(storage: Storage) -> None:
            self.assertEqual(
                session_of(storage, "u1"), a_session(end=NOON + 1 / 3 + HOUR_S, paid=NOON + 1 / 3)
            )
            self.assertEqual(find_user(storage, "u1"), a_user(created=NOON + 1 / 3))

        self.both(storage, check)

    def test_marked(self) -> None:
        """What began by a suspect clock moves when that is put right, and nothing else does."""
        storage = self.make()
        self.pay(storage, "old", NOON)
        suspect(storage, NOON - 20 * DAY_S)
        storage = self.again(storage)
        self.pay(storage, "new", NOON - 20 * DAY_S, 8)
        add_user(storage, a_user("newer", NOON - 20 * DAY_S))
        # A change at the station where somebody stands changes nothing of who stood there.
        self.pay(storage, "neighbour", NOON - 20 * DAY_S, 7)
        carry_out(storage, leave("neighbour"))
        storage = self.again(storage)
        found: list[Newest] = []
        set_clock(storage, lambda before: before, found)
        self.assertEqual(found, [Newest(NOON, NOON - 20 * DAY_S)])
        state = put_right(storage, 20 * DAY_S)
        self.assertFalse(state.suspect)
        self.pay(storage, "last", NOON, 9)

        def check(storage: Storage) -> None:
            for user_id, station_id in (("old", 7), ("new", 8), ("last", 9)):
                session = session_of(storage, user_id, station_id)
                self.assertEqual(session.estimated_timestamp, NOON + HOUR_S, user_id)
                self.assertEqual(session.paid_timestamp, NOON)
                self.assertEqual(next_free(station(storage, station_id)), NOON + HOUR_S)
            for user_id in ("old", "new", "newer", "last"):
                self.assertEqual(find_user(storage, user_id).created_timestamp, NOON)
            # Nothing is marked any more.
            found.clear()
            set_clock(storage, lambda before: before, found)
            self.assertEqual(found, [Newest(NOON, None)])

        storage = self.both(storage, check)
        sweep(storage, NOON, 0)
        storage = self.both(storage, check)
        if self.keeps_payments:
            self.assertEqual(set(self.payments(storage).values()), {NOON})

    def test_still_suspect(self) -> None:
        """What is marked stays so where the clock is set to another wrong time."""
        storage = self.make()
        self.pay(storage, "old", NOON)
        suspect(storage, NOON - 20 * DAY_S)
        self.pay(storage, "new", NOON - 20 * DAY_S, 8)
        put_right(storage, 10 * DAY_S, still_suspect=True)
        storage = self.again(storage)
        self.pay(storage, "newer", NOON - 10 * DAY_S, 9)
        found: list[Newest] = []
        set_clock(storage, lambda before: before, found)
        self.assertEqual(found, [Newest(NOON, NOON - 10 * DAY_S)])
        put_right(storage, 10 * DAY_S)
        for user_id, station_id in (("old", 7), ("new", 8), ("newer", 9)):
            session = session_of(storage, user_id, station_id)
            self.assertEqual(session.estimated_timestamp, NOON + HOUR_S)

    def test_by_an_earlier_clock(self) -> None:
        """An operation that was made before its clock was set is carried out by the new one."""
        storage = self.make()
        self.pay(storage, "u1", NOON)
        before = carry_out(storage, ReadClock(lambda: 0.0)).clocks.number
        move_all(storage, -DAY_S)
        operations = [
            AddUser(a_user("u2")),
            # By the new one, nothing has ended and nobody is over time.
            Sweep(NOON + HOUR_S - 1, NOON - 1),
        ]
        _, result = storage.execute([by(operation, before) for operation in operations])
        self.assertEqual((result.freed, result.removed), (0, 0))
        session = a_session("u2", 8, end=NOON + HOUR_S)
        (taken,) = storage.execute([by(take(session), before)])
        self.assertEqual(taken.estimated_timestamp, NOON + HOUR_S - DAY_S)

        def check(storage: Storage) -> None:
            self.assertEqual(find_user(storage, "u2").created_timestamp, NOON - DAY_S)
            self.assertEqual(session_of(storage, "u2", 8), unseated(taken))

        storage = self.both(storage, check)
        (result,) = storage.execute([by(Sweep(NOON + HOUR_S, 0), before)])
        self.assertEqual(result.freed, 2)

    def test_one_batch(self) -> None:
        """Among other operations of a batch it does not matter where the setting stands."""
        for place in range(4):
            storage = self.make()
            number = carry_out(storage, ReadClock(lambda: 0.0)).clocks.number
            users = [f"{place}-{name}" for name in ("u1", "u2", "u3")]
            add_user(storage, a_user(users[0]))
            add_user(storage, a_user(users[2]))
            operations: list[Operation[Any]] = [
                by(AddUser(a_user(users[1])), number),
                by(take(a_session(users[0], 1 + 2 * place, end=NOON + HOUR_S)), number),
                by(Sweep(NOON + HOUR_S - 1, NOON - 1), number),
                FindUser(users[2]),
            ]
            setting = SetClock(
                lambda before, newest: before.all_moved(before.number, DAY_S, reading(NOON))
            )
            operations.insert(place, setting)
            results = storage.execute(operations)
            self.assertEqual([r for r in results if isinstance(r, Exception | Refusal)], [])
            self.assertEqual(results[place].moved(number), DAY_S)
            for user_id in users:
                self.assertEqual(find_user(storage, user_id).created_timestamp, NOON + DAY_S)
            session = session_of(storage, users[0], 1 + 2 * place)
            self.assertEqual(session.estimated_timestamp, NOON + HOUR_S + DAY_S)
            for user_id in users:
                carry_out(storage, leave(user_id))
            storage.close()

    def test_twice_in_a_batch(self) -> None:
        """Of two settings in one batch each moves what stands."""
        storage = self.make()
        self.pay(storage, "u1", NOON)
        setting = SetClock(
            lambda before, newest: before.all_moved(before.number, DAY_S, reading(NOON))
        )
        done = storage.execute([setting, setting])
        self.assertEqual(done[1].number, done[0].number + 1)

        def check(storage: Storage) -> None:
            self.assertEqual(find_user(storage, "u1").created_timestamp, NOON + 2 * DAY_S)
            self.assertEqual(session_of(storage, "u1").paid_timestamp, NOON + 2 * DAY_S)

        self.both(storage, check)

    def test_nothing(self) -> None:
        """Where nothing is to change, nothing does."""
        storage = self.make()
        self.pay(storage, "u1", NOON)
        state = set_clock(storage, lambda before: before)
        self.assertEqual(state, Clocks())
        self.assertEqual(session_of(storage, "u1"), a_session(end=NOON + HOUR_S))

    def test_newest(self) -> None:
        """The newest instant is the last login or payment; ends lie ahead, and do not count."""
        storage = self.make()
        found: list[Newest] = []

        def look(storage: Storage) -> Newest:
            set_clock(storage, lambda before: before, found)
            return found[-1]

        self.assertEqual(look(storage), Newest(None, None))
        add_user(storage, a_user("u1", NOON))
        self.assertEqual(look(storage), Newest(NOON, None))
        take_slot(storage, a_session(end=NOON + DAY_S, paid=NOON + 7))
        self.assertEqual(look(storage), Newest(NOON + 7, None))
        add_user(storage, a_user("u2", NOON + 8))
        storage = self.again(storage)
        self.assertEqual(look(storage), Newest(NOON + 8, None))
        for user_id in ("u1", "u2"):
            carry_out(storage, leave(user_id))
        if self.keeps_payments:
            # The list of payments remembers.
            self.assertEqual(look(storage), Newest(NOON + 7, None))
            self.assertEqual(look(self.again(storage)), Newest(NOON + 7, None))

    def test_history(self) -> None:
        """The list of payments stays as it is, but for what would be in the future."""
        if not self.keeps_payments:
            return
        storage = self.make()
        self.pay(storage, "u1", NOON - HOUR_S)
        move_all(storage, DAY_S)
        self.pay(storage, "u2", NOON + DAY_S, 8)
        move_all(storage, -DAY_S)
        paid = self.payments(storage)
        self.assertEqual(paid, {"r-u1-7": NOON - HOUR_S, "r-u2-8": NOON})

    def test_wrong_and_back(self) -> None:
        """A clock that is set wrong, and back, leaves every payment in the list at its time."""
        if not self.keeps_payments:
            return
        for by_s in (-HOUR_S, HOUR_S, -20 * DAY_S, 20 * DAY_S):
            self.setUp()
            storage = self.make()
            self.pay(storage, "u1", NOON)
            move_all(storage, by_s, NOON + 10 + by_s)
            self.pay(storage, "u2", NOON + 20 + by_s, 8)
            storage = self.again(storage)
            move_all(storage, by_s, NOON + 30 + 2 * by_s)
            self.pay(storage, "u3", NOON + 40 + 2 * by_s, 9)
            move_all(storage, -2 * by_s, NOON + 3 * DAY_S)
            self.pay(storage, "u4", NOON + 3 * DAY_S + 10, 10)
            paid = {"r-u1-7": NOON, "r-u2-8": NOON + 20, "r-u3-9": NOON + 40}
            self.assertEqual(self.payments(storage), {**paid, "r-u4-10": NOON + 3 * DAY_S + 10})

    def test_proved_right(self) -> None:
        """What was listed by a clock that nobody has put right since is history."""
        if not self.keeps_payments:
            return
        storage = self.make()
        self.pay(storage, "u1", NOON)
        move_all(storage, HOUR_S, NOON + HOUR_S)
        self.pay(storage, "u2", NOON + HOUR_S, 8)
        later = NOON + HOUR_S + PROBATION_S
        sweep(storage, later, 0)
        move_all(storage, DAY_S, later + DAY_S)
        self.pay(storage, "u3", later + DAY_S, 9)
        paid = {"r-u1-7": NOON, "r-u2-8": NOON + HOUR_S, "r-u3-9": later + DAY_S}
        self.assertEqual(self.payments(storage), paid)

    def test_copied(self) -> None:
        """A copy has the instants as they are in truth, and the marks of a clock that is wrong."""
        if not self.keeps_payments:
            return
        storage: Any = self.make()
        self.pay(storage, "old", NOON)
        move_all(storage, HOUR_S)
        suspect(storage, NOON - 20 * DAY_S)
        self.pay(storage, "new", NOON - 20 * DAY_S, 8)
        storage.close()
        for kind in (test_storage.FileStorageTests, test_storage.SqliteStorageTests):
            kind.setUp(self)
            folder = Path(self.mktemp())
            self.data, self.path = folder, folder.absolute() / "evcharge.db"
            target: Any = self.target(kind)
            with storage.read_contents(NOON) as contents:
                target.write_contents(contents)
            copy = kind.make(self)
            found: list[Newest] = []
            set_clock(copy, lambda before: before, found)
            self.assertEqual(found, [Newest(NOON + HOUR_S, NOON - 20 * DAY_S)])
            put_right(copy, 20 * DAY_S)
            self.assertEqual(session_of(copy, "old").estimated_timestamp, NOON + 2 * HOUR_S)
            self.assertEqual(session_of(copy, "new", 8).estimated_timestamp, NOON + HOUR_S)
            self.assertEqual(self.payments(copy), {"r-old-7": NOON, "r-new-8": NOON})

    def target(self, kind: Any) -> Any:
        if kind is test_storage.FileStorageTests:
            return FileStorage(self.data)
        return SqlStorage(Sqlite(self.path))


class MemoryClockTests(ClockContract, SynchronousTestCase):
    """The contract, in memory."""

    kind = test_storage.MemoryStorageTests
    keeps_payments = False

    def setUp(self) -> None:
        pass


class FileClockTests(ClockContract, SynchronousTestCase):
    """The contract, in a data directory."""

    kind = test_storage.FileStorageTests


class SqliteClockTests(ClockContract, SynchronousTestCase):
    """The contract, in an SQLite file that one process owns."""

    kind = test_storage.SqliteStorageTests


class SharedSqliteClockTests(ClockContract, SynchronousTestCase):
    """The contract, in an SQLite file that several processes share."""

    kind = test_storage.SharedSqliteStorageTests


class PostgresClockTests(ClockContract, SynchronousTestCase):
    """The contract, in a PostgreSQL database."""

    kind = test_storage.PostgresStorageTests


class SharedClocksContract:
    """Servers that share a database, of which one hears of a clock before the others do."""

    def one_more(self) -> SqlStorage:
        raise NotImplementedError

    def setUp(self) -> None:
        self.begin()
        self.one, self.other = self.one_more(), self.one_more()
        add_user(self.one, a_user("u1", NOON))
        take_slot(self.one, a_session("u1", end=NOON + HOUR_S))

    def begin(self) -> None:
        raise NotImplementedError

    def rows(self, statement: str) -> list[Any]:
        with self.one._database.begin(write=True) as connection:
            return list(connection.exec_driver_sql(statement))

    def late(self, user_id: str, station_id: int) -> None:
        """Have a driver log in and pay at a server that goes by the first clock as yet."""
        session = a_session(user_id, station_id, end=NOON + HOUR_S)
        for operation in (AddUser(a_user(user_id, NOON)), take(session)):
            (result,) = self.other.execute([by(operation, 0)])
            self.assertNotIsInstance(result, (Exception, Refusal))

    def test_unheard(self) -> None:
        """What a server writes that has not heard of it is moved too; nobody ends it before."""
        for number, by_s in enumerate((DAY_S, -HOUR_S), 1):
            total_s = DAY_S if number == 1 else DAY_S - HOUR_S
            move_all(self.one, by_s, NOON + total_s)
            user_id = f"late {number}"
            self.late(user_id, 7 + number)
            for storage, now, clock in (
                (self.other, NOON + HOUR_S - 1, 0),
                (self.one, NOON + total_s + HOUR_S - 1, number),
            ):
                (result,) = storage.execute([by(Sweep(now, NOON - 1), clock)])
                self.assertEqual((result.freed, result.removed), (0, 0))
            for storage in (self.one, self.other):
                for user, station_id in (("u1", 7), (user_id, 7 + number)):
                    self.assertEqual(
                        session_of(storage, user, station_id).estimated_timestamp,
                        NOON + total_s + HOUR_S,
                    )
                    self.assertEqual(find_user(storage, user).created_timestamp, NOON + total_s)
            # They are written as they are in truth: indexes need it.
            self.assertEqual(
                {row[:2] for row in self.rows("SELECT estimated_timestamp, clock FROM sessions")},
                {(NOON + total_s + HOUR_S, number)},
            )
            self.assertEqual(
                {row[:2] for row in self.rows("SELECT created_timestamp, clock FROM users")},
                {(NOON + total_s, number)},
            )
        result = sweep(self.other, NOON + total_s + HOUR_S, 0)
        self.assertEqual(result.freed, 3)

    def test_between(self) -> None:
        """A sweep between whose statements the clock is set back ends nothing too soon."""
        read = sql_clocks.read
        asked: list[Connection] = []

        def read_and_set(connection: Connection, lock: bool = False) -> Clocks:
            found = read(connection, lock)
            if not asked:
                asked.append(connection)
                self.set_meanwhile(connection, found)
            return found

        self.patch(sql_clocks, "read", read_and_set)
        (result,) = self.other.execute([by(Sweep(NOON + HOUR_S - 1, NOON - 1), 0)])
        self.assertEqual(len(asked), 1)
        self.assertEqual((result.freed, result.removed), (0, 0))
        self.assertEqual(session_of(self.one, "u1").estimated_timestamp, NOON + HOUR_S - DAY_S)

    def set_meanwhile(self, connection: Connection, found: Clocks) -> None:
        """Have the clock set back, by another server where that can be in a transaction of ours."""
        after = found.all_moved(0, -DAY_S, reading(NOON - DAY_S))
        sql_clocks.fill(connection, after)
        sql_clocks.move(connection, found, after)

    def test_parts(self) -> None:
        """Of many users each sweep writes some."""
        self.patch(sql_clocks, "MOST_WRITTEN", 2)
        self.one.execute([AddUser(a_user(f"u{n}", NOON)) for n in range(2, 6)])
        move_all(self.one, HOUR_S)
        # By the times as they were, all of them would be over theirs.
        results = [sweep(self.other, NOON, NOON + 1) for _ in range(3)]
        self.assertEqual([result.more for result in results], [True, True, False])
        self.assertEqual([result.removed for result in results], [0, 0, 0])
        self.assertEqual(
            {row[0] for row in self.rows("SELECT created_timestamp FROM users")}, {NOON + HOUR_S}
        )

    def test_once(self) -> None:
        """Of several servers that see that the clock was set, one moves what stands."""
        barrier = threading.Barrier(2)

        def jump(storage: SqlStorage) -> Clocks:
            def decide(before: Clocks, newest: Callable[[], Newest]) -> Clocks:
                return at_jump(before, newest, 0, DAY_S, reading(NOON + DAY_S), 0.0)

            barrier.wait(20)
            while True:
                with contextlib.suppress(TryAgain):
                    return carry_out(storage, SetClock(decide))

        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(jump, (self.one, self.other)))
        self.assertEqual([clocks.moved_s for clocks in found], [{0: DAY_S}] * 2)
        for storage in (self.one, self.other):
            self.assertEqual(session_of(storage, "u1").estimated_timestamp, NOON + DAY_S + HOUR_S)

    def test_trusted_first(self) -> None:
        """Where the one that trusts the clock is the first to move, it moves what is marked too."""
        suspect(self.other, NOON)
        (_,) = self.other.execute([by(AddUser(a_user("u2", NOON)), 1)])
        for storage, mine in ((self.one, 0), (self.other, 1)):

            def decide(before: Clocks, newest: Any, mine: int = mine) -> Clocks:
                return at_jump(before, newest, mine, DAY_S, reading(NOON + DAY_S), NOON)

            decided = carry_out(storage, SetClock(decide))
            self.assertEqual((decided.moved_s, decided.suspect), ({0: DAY_S, 1: DAY_S}, False))
        for user_id in ("u1", "u2"):
            self.assertEqual(find_user(self.one, user_id).created_timestamp, NOON + DAY_S)

    def test_suspect_for_one(self) -> None:
        """A server to whom the clock seems wrong does not take others' drivers for marked ones."""
        suspect(self.other, NOON)
        told = carry_out(self.one, ReadClock(lambda: 0.0)).clocks
        self.assertEqual((told.number, told.joined_from(0)), (1, 0))
        (_,) = self.one.execute([by(AddUser(a_user("u2", NOON)), 0)])
        (_,) = self.other.execute([by(AddUser(a_user("u3", NOON)), 1)])
        put_right(self.other, DAY_S)
        for user_id, by_s in (("u1", 0.0), ("u2", 0.0), ("u3", DAY_S)):
            self.assertEqual(find_user(self.other, user_id).created_timestamp, NOON + by_s)
        # And then the one that trusts the clock, which all went by, moves the rest.
        decided = carry_out(
            self.one,
            SetClock(
                lambda before, newest: at_jump(
                    before, newest, 0, DAY_S, reading(NOON + DAY_S), NOON
                )
            ),
        )
        self.assertEqual(decided.moved_s, {0: DAY_S, 1: DAY_S})
        for storage in (self.one, self.other):
            # As each does every second.
            carry_out(storage, ReadClock(lambda: 0.0))
            for user_id in ("u1", "u2", "u3"):
                self.assertEqual(find_user(storage, user_id).created_timestamp, NOON + DAY_S)


class SqliteSharedClocksTests(SharedClocksContract, SynchronousTestCase):
    """Workers on an SQLite file."""

    def begin(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "evcharge.db"

    def one_more(self) -> SqlStorage:
        storage = SqlStorage(Sqlite(self.path, shared=True))
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage


class PostgresSharedClocksTests(SharedClocksContract, SynchronousTestCase):
    """Servers on a PostgreSQL database."""

    def begin(self) -> None:
        self.url = postgres.shared().url(postgres.shared().create_database())

    def one_more(self) -> SqlStorage:
        storage = parse(self.url, "").storage()
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def set_meanwhile(self, connection: Connection, found: Clocks) -> None:
        move_all(self.one, -DAY_S, NOON - DAY_S)

    def test_one_after_another(self) -> None:
        """One that sets the clock while another one does waits for it, and sees what it did."""

        def decide(before: Clocks, newest: Callable[[], Newest]) -> Clocks:
            return at_jump(before, newest, 0, DAY_S, reading(NOON + DAY_S), 0.0)

        with psycopg.connect(self.url) as connection, ThreadPoolExecutor(1) as thread:
            connection.execute("SELECT * FROM clock FOR UPDATE")
            waits = thread.submit(carry_out, self.one, SetClock(decide))
            waiting = (
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            limit = time.monotonic() + 20
            while connection.execute(waiting).fetchone() != (1,):
                self.assertLess(time.monotonic(), limit)
                # Else what it tells stays the same within the transaction.
                connection.execute("SELECT pg_stat_clear_snapshot()")
            connection.execute("UPDATE clock SET number = 1, moved_s = '{\"0\": 5.0}'")
            connection.commit()
            self.assertEqual(waits.result(20).moved_s, {0: 5.0})

    def test_locked(self) -> None:
        """It waits for no row that a request has locked; a sweep comes to that later."""
        add_user(self.one, a_user("u2", NOON))
        take_slot(self.one, a_session("u2", 8, end=NOON + HOUR_S))
        with psycopg.connect(self.url) as connection:
            connection.execute("SELECT * FROM users WHERE user_id = 'u1' FOR UPDATE")
            connection.execute("SELECT * FROM sessions WHERE user_id = 'u1' FOR UPDATE")
            move_all(self.one, DAY_S, NOON + DAY_S)
            for _ in range(2):
                result = sweep(self.one, NOON + DAY_S + HOUR_S - 1, 0)
                self.assertEqual(result.freed, 0)
            for user_id in ("u1", "u2"):
                self.assertEqual(find_user(self.one, user_id).created_timestamp, NOON + DAY_S)
        self.assertEqual(sweep(self.one, NOON + DAY_S + HOUR_S - 1, 0).freed, 0)
        self.assertEqual(
            {row[0] for row in self.rows("SELECT clock FROM sessions")}
            | {row[0] for row in self.rows("SELECT clock FROM users")},
            {1},
        )
        self.assertEqual(sweep(self.one, NOON + DAY_S + HOUR_S, 0).freed, 2)
