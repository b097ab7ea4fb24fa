"""Sessions with their states, the line, EVSEs' status and receipts, as databases keep them."""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import ElectricCar
from evcharge.models.receipts import Receipt
from evcharge.models.session import (
    CHARGING,
    FINISHED,
    FREE,
    OFFERED,
    RESERVED,
    WAITING,
    ChargingSession,
)
from evcharge.models.slots import StationState
from evcharge.models.user import User
from evcharge.outcomes import Refusal
from evcharge.rules.claims import ARRIVE, RESERVE, Claim, Wishes
from evcharge.rules.journey import (
    AddUser,
    FindStanding,
    ListSessions,
    ListStations,
    Standing,
)
from evcharge.rules.leaving import CANCEL_IT, END_JOURNEY, STOP_AND_LEAVE, STOP_IT, Leave
from evcharge.rules.operator import FindEvse, SetEvseStatus
from evcharge.rules.receipts import FindReceipt, ListReceipts
from evcharge.rules.sessions import LATE_S
from evcharge.rules.sweep import Sweep
from evcharge.storage import StorageUnavailable, carry_out
from evcharge.storage.contents import Contents
from evcharge.storage.group_commit import TryAgain
from evcharge.storage.location import parse
from evcharge.storage.sql.store import SqlStorage
from evcharge.testing import NOON
from tests.storage.test_invariants import NETWORK, opened
from tests.support import engines, postgres
from tests.support.clocks import DAY_S, move_all
from tests.support.drivers_machine import CARS, TERMS

engines.share()

MINUTE_S = TERMS.real_s(60.0)


class SessionsContract:
    """What each kind of database does."""

    shared = False
    url: str

    def problem(self) -> Exception:
        """What the driver raises where something fails."""
        raise NotImplementedError

    def make(self) -> SqlStorage:
        """A storage in the database, open."""
        storage = opened(self.url, self.shared)
        self.addCleanup(storage.close)
        return storage

    def both(self, storage: SqlStorage) -> Iterator[SqlStorage]:
        """The one that is open, and another one that opens the same database."""
        yield storage
        storage.close()
        yield self.make()

    def log_in(self, storage: SqlStorage, *user_ids: str, car: str = "fast") -> None:
        for user_id in user_ids:
            car_there = ElectricCar.charged_to(CARS[car], 20.0)
            user = User(user_id, "Ana", car_there, NOON, car, driver_id=f"d-{user_id}")
            carry_out(storage, AddUser(user))

    def standing(self, storage: SqlStorage, user_id: str) -> Standing:
        found = storage.recall(FindStanding(user_id)) or carry_out(storage, FindStanding(user_id))
        assert isinstance(found, Standing), found
        return found

    def states(self, storage: SqlStorage, *user_ids: str) -> list[str]:
        return [self.standing(storage, user_id).state for user_id in user_ids]

    def fill(self, storage: SqlStorage) -> None:
        """Have drivers in every state: r is reserved, f is finished, w and v wait at station 8."""
        self.log_in(storage, "r", "f", "w", "v", "c", "gone")
        for operation in (
            claim("f", "8", ARRIVE),
            claim("r", "8", RESERVE, arrival_minutes=30.0),
            claim("w", "8", RESERVE, wait=True, arrival_minutes=5.0, target_percent=60.0),
            claim("v", "8", RESERVE, wait=True),
            claim("c", "7", ARRIVE, leaves_when_done=True),
            claim("gone", "7", RESERVE),
            Leave("f", STOP_IT, NOON + MINUTE_S, TERMS),
            Leave("gone", CANCEL_IT, NOON + MINUTE_S, TERMS),
            SetEvseStatus("7-2", "OUTOFORDER", "cabo cortado", NOON, TERMS),
        ):
            result = carry_out(storage, operation)
            assert not isinstance(result, Refusal), result

    def test_kept(self) -> None:
        """All of it is there again for whoever opens the database, every figure the same."""
        storage = self.make()
        self.fill(storage)
        people = ("r", "f", "w", "v", "c", "gone")
        seen = [self.standing(storage, user_id) for user_id in people]
        self.assertEqual(
            [standing.state for standing in seen],
            [RESERVED, FINISHED, WAITING, WAITING, CHARGING, FREE],
        )
        states = [*carry_out(storage, ListStations())]
        (receipt,) = carry_out(storage, ListReceipts("d-gone", 20))
        for there in self.both(storage):
            again = [self.standing(there, user_id) for user_id in people]
            self.assertEqual(again, seen)
            self.assertEqual([s.place and s.place.user for s in again[2:4]],
                             [s.user for s in again[2:4]])  # fmt: skip
            self.assertEqual([s.session.tariff.body for s in again if s.session],
                             [s.session.tariff.body for s in seen if s.session])  # fmt: skip
            self.assertEqual([*carry_out(there, ListStations())], states)
            self.assertEqual([s.queue_length for s in states], [0, 2])
            self.assertEqual({s.user_id for s in carry_out(there, ListSessions())},
                             {"r", "f", "c"})  # fmt: skip
            state = carry_out(there, FindEvse("7-2"))
            self.assertEqual(state.station.evse("7-2").reason, "cabo cortado")
            self.assertIsInstance(carry_out(there, FindEvse("9-9")), Refusal)
            self.assertEqual([*carry_out(there, ListReceipts("d-gone", 20))], [receipt])
            self.assertEqual(carry_out(there, FindReceipt(receipt.receipt_id)), receipt)
            self.assertEqual(receipt.body["tariff"]["currency"], "BRL")

    def test_receipts(self) -> None:
        """A receipt is found by its id, before it is final too; a driver's, the newest first."""
        storage = self.make()
        for number in range(5):
            self.log_in(storage, "u")
            claimed = carry_out(storage, claim("u", "8", ARRIVE, receipt_id=f"r{number}"))
            self.assertIsInstance(claimed, ChargingSession)
            session, book = carry_out(storage, FindReceipt(f"r{number}"))
            self.assertEqual((session, book.station.station_id), (claimed, 8))
            ended = carry_out(storage, Leave("u", STOP_AND_LEAVE, NOON + number, TERMS))
            self.assertIsInstance(ended, Receipt)
        self.assertIsInstance(carry_out(storage, FindReceipt("r9")), Refusal)
        for there in self.both(storage):
            pages = [
                [r.receipt_id for r in carry_out(there, ListReceipts("d-u", 2, before))]
                for before in (None, "r3", "r0")
            ]
            self.assertEqual(pages, [["r4", "r3"], ["r2", "r1"], []])
            self.assertEqual([*carry_out(there, ListReceipts("d-other", 2))], [])
            self.assertEqual(carry_out(there, FindReceipt("r4")), ended)

    def test_offers(self) -> None:
        """Who is first in line is offered what is given back, by a sweep too."""
        storage = self.make()
        self.fill(storage)
        carry_out(storage, Leave("r", CANCEL_IT, NOON + MINUTE_S, TERMS))
        for there in self.both(storage):
            self.assertEqual(self.states(there, "r", "w", "v"), [FREE, OFFERED, WAITING])
        until = NOON + MINUTE_S + TERMS.real_s(TERMS.offer_s)
        swept = carry_out(there, Sweep(NOON + 2 * MINUTE_S, 0.0, TERMS))
        self.assertEqual((swept.freed, swept.next_due), (0, until))
        self.assertEqual(carry_out(there, Sweep(until, 0.0, TERMS)).freed, 1)
        for again in self.both(there):
            self.assertEqual(self.states(again, "r", "w", "v"), [FREE, FREE, OFFERED])

    def test_out_of_service(self) -> None:
        """Who is to charge at an EVSE that breaks gets another one, or is the first in line."""
        storage = self.make()
        self.fill(storage)
        uid = self.standing(storage, "r").session.evse_uid
        state = carry_out(storage, SetEvseStatus(uid, "OUTOFORDER", None, NOON + 1, TERMS))
        self.assertIsInstance(state, StationState)
        for there in self.both(storage):
            places = self.standing(there, "r").book.slots.waiting
            self.assertEqual([place.user_id for place in places], ["r", "w", "v"])
            self.assertEqual(carry_out(there, FindEvse(uid)).queue_length, 3)

    def test_moved(self) -> None:
        """With the clock all of it moves, but receipts, which are history."""
        storage = self.make()
        self.fill(storage)
        before = [self.standing(storage, user_id) for user_id in ("r", "f", "w", "c")]
        (receipt,) = carry_out(storage, ListReceipts("d-gone", 20))
        move_all(storage, DAY_S)
        for there in self.both(storage):
            for then in before:
                now = self.standing(there, then.user.user_id)
                for record, moved in ((then.session, now.session), (then.place, now.place)):
                    self.assertEqual(record and record.moved(DAY_S, 0), moved)
            self.assertEqual(carry_out(there, FindReceipt(receipt.receipt_id)), receipt)
            # By the new clock nothing is due, nor will it be before its time.
            self.assertEqual(carry_out(there, Sweep(NOON + DAY_S + 1, 0.0, TERMS)).freed, 0)

    def test_copied(self) -> None:
        """A copy has all of it, and a copy of that, of either kind, has too, and goes on."""
        storage = self.make()
        self.fill(storage)
        storage.close()
        source, there = self.url, everything(self.url)
        for copy in (
            f"sqlite:///{Path(self.mktemp()).absolute()}",
            postgres.shared().url(postgres.shared().create_database()),
            f"sqlite:///{Path(self.mktemp()).absolute()}",
        ):
            with parse(source, "").storage().read_contents(NOON) as contents:
                ticks: list[str] = []
                parse(copy, "").storage().write_contents(contents.counted(ticks.append))
                self.assertEqual(len(ticks), contents.count)
            self.assertEqual(everything(copy), there)
            source = copy
        storage = opened(copy)
        self.addCleanup(storage.close)
        self.assertEqual(self.states(storage, "r", "f", "w", "c"),
                         [RESERVED, FINISHED, WAITING, CHARGING])  # fmt: skip
        (receipt,) = carry_out(storage, ListReceipts("d-gone", 20))
        self.assertEqual(receipt.body["tariff"]["currency"], "BRL")
        # Whose turn it was it still is.
        carry_out(storage, Leave("r", CANCEL_IT, NOON + MINUTE_S, TERMS))
        self.assertEqual(self.states(storage, "r", "w", "v"), [FREE, OFFERED, WAITING])

    def test_failing(self) -> None:
        """A step of which any statement fails, or the commit, is not taken, and can be again."""
        storage = self.make()
        self.fill(storage)
        self.log_in(storage, "n")
        storage.close()
        failing: list[int] = []

        def step(*args: Any) -> None:
            failing[0] -= 1
            if failing[0] == -1:
                raise OperationalError("a statement", None, self.problem())

        for operation in (
            claim("n", "8", RESERVE, wait=True),
            Leave("r", CANCEL_IT, NOON + MINUTE_S, TERMS),
            claim("w", "8", RESERVE, arrival_minutes=3.0),
            SetEvseStatus("8-1", "OUTOFORDER", None, NOON + MINUTE_S, TERMS),
            SetEvseStatus("8-2", "OUTOFORDER", None, NOON + MINUTE_S, TERMS),
            SetEvseStatus("8-1", "IN_SERVICE", None, NOON + MINUTE_S, TERMS),
            Sweep(NOON + DAY_S, 0.0, TERMS),
        ):
            before = everything(self.url)
            for number in count():
                storage = self.make()
                seen = [*carry_out(storage, ListStations())]
                for name in ("before_cursor_execute", "commit"):
                    event.listen(storage._database._engine, name, step)
                failing[:] = [number]
                try:
                    carry_out(storage, operation)
                except (TryAgain, StorageUnavailable):
                    failing[:] = [-1]
                    # Nor has memory followed.
                    self.assertEqual([*carry_out(storage, ListStations())], seen)
                    storage.close()
                    self.assertEqual(everything(self.url), before)
                else:
                    failing[:] = [-1]
                    seen = [*carry_out(storage, ListStations())]
                    storage.close()
                    self.assertNotEqual(everything(self.url), before, operation)
                    again = self.make()
                    self.assertEqual([*carry_out(again, ListStations())], seen)
                    again.close()
                    break
            self.assertGreater(number, 2)

    def test_late(self) -> None:
        """What ran out while no server was there holds a little longer, where that is known."""
        storage = self.make()
        self.fill(storage)
        storage.close()
        session = self.standing(storage, "r").session
        assert session is not None
        late = session.due_timestamp + DAY_S
        there = parse(self.url, "").storage()
        assert isinstance(there, SqlStorage)
        there.open(late)
        there.close()
        there = self.make()
        carry_out(there, Sweep(late, 0.0, TERMS))
        self.assertEqual(self.states(there, "r"), [RESERVED])
        self.assertIsInstance(carry_out(there, FindStanding("f")), Refusal)
        carry_out(there, Sweep(late + LATE_S, 0.0, TERMS))
        self.assertEqual(self.states(there, "r"), [FREE])


class SqliteTests(SessionsContract, SynchronousTestCase):
    """An SQLite file that one process has."""

    def problem(self) -> Exception:
        return sqlite3.OperationalError("disk I/O error")

    def setUp(self) -> None:
        self.url = f"sqlite:///{Path(self.mktemp()).absolute()}"
        parse(self.url, "").storage().write_contents(NETWORK)


class SharedSqliteTests(SqliteTests):
    """One that several processes share."""

    shared = True


class PostgresTests(SessionsContract, SynchronousTestCase):
    """PostgreSQL, which processes on several machines may have."""

    def problem(self) -> Exception:
        return psycopg.OperationalError("server closed the connection unexpectedly")

    def setUp(self) -> None:
        self.url = postgres.shared().url(postgres.shared().create_database())
        parse(self.url, "").storage().write_contents(NETWORK)

    def test_late(self) -> None:
        """Others may have been there: what ran out has."""
        storage = self.make()
        self.fill(storage)
        late = NOON + DAY_S
        there = parse(self.url, "").storage()
        assert isinstance(there, SqlStorage)
        there.open(late)
        self.addCleanup(there.close)
        carry_out(there, Sweep(late, 0.0, TERMS))
        self.assertEqual(self.states(there, "r"), [FREE])

    def held(self, storage: SqlStorage, statement: str) -> Any:
        """A transaction of another process that has locked rows."""
        begun = storage._database.begin(write=True)
        connection = begun.__enter__()
        connection.exec_driver_sql(statement)
        return begun

    def test_turn_of_one_who_is_busy(self) -> None:
        """An EVSE is kept for one whose turn it is, while a request has the user locked."""
        one, other = self.make(), self.make()
        self.fill(one)
        self.log_in(one, "late")
        busy = self.held(other, "SELECT 1 FROM users WHERE user_id = 'w' FOR UPDATE")
        carry_out(one, Leave("r", CANCEL_IT, NOON + MINUTE_S, TERMS))
        self.assertEqual(self.states(one, "w"), [WAITING])
        # Nobody overtakes: there is one EVSE, which is w's.
        self.assertEqual(self.states(one, "v"), [WAITING])
        self.assertIsInstance(carry_out(one, claim("late", "8", ARRIVE)), Refusal)
        carry_out(one, Sweep(NOON + MINUTE_S, 0.0, TERMS))
        self.assertEqual(self.states(one, "w", "v"), [WAITING, WAITING])
        busy.__exit__(None, None, None)
        carry_out(one, Sweep(NOON + MINUTE_S, 0.0, TERMS))
        self.assertEqual(self.states(one, "w", "v"), [OFFERED, WAITING])

    def found(self, user_id: str, leaves: str, number: int) -> tuple[str | None, bool]:
        """
        What state a user is found to be in, None: gone, while somebody leaves; and whether that was
        so: there may be less statements.

        :param number: of the statement before which it is.
        """
        one, other = self.make(), self.make()
        self.log_in(one, "a", "b", "c", "w")
        for operation in (
            claim("a", "7", ARRIVE),
            claim("b", "8", ARRIVE),
            claim("c", "8", ARRIVE),
            claim("w", "8", RESERVE, wait=True),
        ):
            carry_out(one, operation)
        steps = count()

        def step(*_: Any) -> None:
            if next(steps) == number:
                carry_out(other, Leave(leaves, STOP_AND_LEAVE, NOON, TERMS))

        event.listen(one._database._engine, "before_cursor_execute", step)
        standing = carry_out(one, FindStanding(user_id))
        has_left = next(steps) > number
        for each in ("a", "b", "c", "w"):
            carry_out(one, Leave(each, END_JOURNEY, NOON, TERMS))
        one.close()
        other.close()
        return standing.state if isinstance(standing, Standing) else None, has_left

    def test_gone_while_looked_for(self) -> None:
        """Who leaves while somebody looks is there with all, or gone, and nothing in between."""
        for user_id, leaves, before, after in (
            ("a", "a", CHARGING, None),
            ("w", "b", WAITING, OFFERED),
        ):
            for number in count():
                state, has_left = self.found(user_id, leaves, number)
                self.assertIn(state, (before, after), number)
                if not has_left:
                    break
            self.assertGreater(number, 2)

    def test_busy_station(self) -> None:
        """A sweep passes over a station that a request has locked, and waits for nothing."""
        one, other = self.make(), self.make()
        self.fill(one)
        late = NOON + DAY_S
        busy = self.held(other, "SELECT 1 FROM stations WHERE station_id = 8 FOR UPDATE")
        self.assertEqual(carry_out(one, Sweep(late, 0.0, TERMS)).freed, 1)
        self.assertEqual(self.states(one, "r", "f", "w"), [RESERVED, FINISHED, WAITING])
        busy.__exit__(None, None, None)
        self.assertEqual(carry_out(one, Sweep(late, 0.0, TERMS)).freed, 2)
        self.assertEqual(self.states(one, "r", "w", "v"), [FREE, OFFERED, OFFERED])

    def test_status_is_known(self) -> None:
        """What one process is told of an EVSE, the others go by at once."""
        one, other = self.make(), self.make()
        self.log_in(one, "a", "b")
        for uid in ("8-1", "8-2"):
            carry_out(one, SetEvseStatus(uid, "OUTOFORDER", None, NOON, TERMS))
        self.assertIsInstance(carry_out(other, claim("a", "8", ARRIVE)), Refusal)
        carry_out(other, SetEvseStatus("8-2", "IN_SERVICE", None, NOON, TERMS))
        session = carry_out(one, claim("b", "8", ARRIVE))
        self.assertEqual(session.evse_uid, "8-2")


def claim(
    user_id: str,
    station: str,
    intent: str,
    wait: bool = False,
    receipt_id: str | None = None,
    **wishes: Any,
) -> Claim:
    """What a driver wants of a station at noon."""
    receipt_id = f"r-{user_id}" if receipt_id is None else receipt_id
    return Claim(user_id, station, receipt_id, NOON, TERMS, intent, wait, Wishes(**wishes))


def everything(url: str) -> Sequence[Any]:
    """All that is in a database, in one order."""
    with parse(url, "").storage().read_contents(NOON) as contents:
        assert isinstance(contents, Contents)
        return (
            sorted(contents.users, key=lambda user: user.user_id),
            sorted(contents.sessions, key=lambda session: session.user_id),
            sorted(contents.receipts, key=lambda receipt: receipt.receipt_id),
            sorted(contents.payments, key=lambda payment: payment.receipt_id),
            sorted(contents.waiting, key=lambda place: place.user_id),
            contents.statuses,
            contents.stations,
        )
