"""A process that is killed at any step of what becomes of sessions and the line, over databases."""

import itertools
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, delete, event, select
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import ElectricCar
from evcharge.models.session import CHARGING, FREE, LIVE, RESERVED, WAITING
from evcharge.models.user import User
from evcharge.rules.claims import ARRIVE, PAY, RESERVE
from evcharge.rules.journey import AddUser, FindStanding, ListStations, Standing
from evcharge.rules.leaving import (
    CANCEL_IT,
    END_JOURNEY,
    STOP_AND_LEAVE,
    STOP_IT,
    Leave,
)
from evcharge.rules.operation import Operation
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.sweep import Sweep
from evcharge.storage import carry_out
from evcharge.storage.location import parse
from evcharge.storage.sql import schema
from evcharge.storage.sql.store import SqlStorage
from evcharge.testing import NOON
from tests.storage.test_invariants import NETWORK, opened
from tests.storage.test_sessions import claim
from tests.support import engines, postgres
from tests.support.calls import Killed
from tests.support.drivers_machine import CARS, TERMS

engines.share()

SOON = NOON + TERMS.real_s(60.0)
LATER = NOON + TERMS.real_s(86400.0)

FIRST: Sequence[Operation[Any]] = (
    *(
        AddUser(User(user_id, "Ana", ElectricCar.charged_to(CARS[car], 20.0), NOON, car))
        for user_id, car in (*dict.fromkeys("rfwvcpm", "fast").items(), ("n", "both"))
    ),
    claim("f", "8", ARRIVE),
    claim("r", "8", RESERVE, arrival_minutes=30.0),
    claim("w", "8", RESERVE, wait=True, arrival_minutes=5.0),
    claim("v", "8", RESERVE, wait=True),
    claim("c", "7", ARRIVE),
    claim("p", "7", PAY),
    Leave("f", STOP_IT, SOON, TERMS),
)
"""Then r is reserved and f finished at the two EVSEs of station 8, where w and v wait; c charges at
station 7, and p, who has paid ahead."""

BATCHES: dict[str, Sequence[Operation[Any]]] = {
    "reserves": [claim("n", "7", RESERVE)],
    "joins the line": [claim("n", "8", RESERVE, wait=True)],
    "leaves the line for an EVSE": [Leave("c", STOP_AND_LEAVE, SOON, TERMS), claim("v", "7", PAY)],
    "hands on": [Leave("r", CANCEL_IT, SOON, TERMS)],
    "hands on, and is accepted": [
        Leave("f", STOP_AND_LEAVE, SOON, TERMS),
        claim("w", "8", RESERVE, arrival_minutes=3.0),
    ],
    "ends": [Leave("c", STOP_AND_LEAVE, SOON, TERMS)],
    "ends what was paid": [Leave("p", END_JOURNEY, SOON, TERMS)],
    "is put out of service": [SetEvseStatus("8-2", "OUTOFORDER", "cut", SOON, TERMS)],
    "is put out of service while it charges": [
        SetEvseStatus("7-1", "OUTOFORDER", None, SOON, TERMS)
    ],
    "is all due": [Sweep(LATER, 0.0, TERMS)],
    "all of it": [
        claim("m", "8", RESERVE, wait=True),
        Leave("p", END_JOURNEY, SOON, TERMS),
        claim("n", "7", RESERVE),
        Leave("r", CANCEL_IT, SOON, TERMS),
        claim("w", "8", ARRIVE),
        SetEvseStatus("8-1", "OUTOFORDER", "cut", SOON, TERMS),
        Leave("c", STOP_AND_LEAVE, SOON, TERMS),
        Sweep(SOON, 0.0, TERMS),
    ],
}
"""What a process is about to do in one go."""

LOST = -1
"""In place of a step: all was done, and nobody was told."""


class KillsContract:
    """What holds in each kind of database."""

    shared = False
    url: str
    reader: Engine
    """Of the database, past the storage."""

    def begin(self) -> None:
        """Have a database with the drivers of :data:`FIRST`, and say its URL."""
        raise NotImplementedError

    def fill(self, url: str) -> None:
        storage = opened(url)
        for operation in FIRST:
            carry_out(storage, operation)
        states = [storage_state(storage, user_id) for user_id in "rfwvcpn"]
        self.assertEqual(
            states,
            [RESERVED, "FINISHED", WAITING, WAITING, CHARGING, CHARGING, FREE],
        )
        storage.close()

    def make(self) -> SqlStorage:
        return opened(self.url, self.shared)

    def killed(self, number: int, batch: Sequence[Operation[Any]]) -> bool:
        """
        Have a process carry out a batch, and be killed before a step; whether it was.

        :param number: of the step, from 0, or :data:`LOST`.
        """
        storage, steps = self.make(), itertools.count()
        engine = storage._database._engine

        def step(*_: Any) -> None:
            if next(steps) == number:
                raise Killed

        def commit(connection: Any) -> None:
            connection.commit()
            raise Killed

        if number == LOST:
            self.patch(engine.dialect, "do_commit", commit)
        else:
            for name in ("before_cursor_execute", "commit"):
                event.listen(engine, name, step)
        try:
            storage.execute(batch)
        except Killed:
            return True
        else:
            return False
        finally:
            # The dead are asked nothing.
            number = LOST - 1
            storage.close()

    def test_killed(self) -> None:
        """Nothing is there by halves, lost, or twice, once they have asked again."""
        for name, batch in BATCHES.items():
            self.begin()
            self.reader = create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
            self.addCleanup(self.reader.dispose)
            begun, rows = self.everything(name), self.rows()
            for number in itertools.count():
                if not self.killed(number, batch):
                    break
                # So it adds up as before, too.
                self.assertEqual(self.rows(), rows, (name, number))
            self.assertGreater(number, 2, name)
            done = self.everything(name)
            self.assertNotEqual(done, begun, name)
            self.begin()
            self.assertTrue(self.killed(LOST, batch), name)
            self.assertEqual(self.everything(name), done, name)
            # Who was not answered asks again.
            storage = self.make()
            storage.execute(batch)
            storage.close()
            self.assertEqual(self.everything(name), done, name)

    def rows(self) -> dict[str, list[Any]]:
        """The rows of all tables."""
        with self.reader.connect() as connection:
            return {
                table.name: sorted(map(str, connection.execute(select(table))))
                for table in schema.metadata.sorted_tables
            }

    def everything(self, what: str) -> dict[str, list[Any]]:
        """All that is in the tables, by table, once it was seen to add up."""
        with self.make_closed().read_contents(NOON) as contents:
            users = {user.user_id for user in contents.users}
            sessions = list(contents.sessions)
            receipts = {receipt.receipt_id: receipt for receipt in contents.receipts}
            waiting = list(contents.waiting)
            paid: dict[str, Decimal] = defaultdict(Decimal)
            payments = list(contents.payments)
            statuses = dict(contents.statuses)
        for payment in payments:
            paid[payment.refund_of or payment.receipt_id] += payment.amount
        # 2: an EVSE has one session, a user one session or place, and is there.
        self.assertEqual(set(Counter(s.evse_uid for s in sessions).values()), {1}, what)
        held = Counter(each.user_id for each in (*sessions, *waiting))
        self.assertLessEqual(set(held.values()), {1}, what)
        self.assertLessEqual(held.keys(), users, what)
        # 7: what is over has a receipt, which is what was paid; what goes on has none.
        for receipt_id, receipt in receipts.items():
            self.assertEqual(paid.pop(receipt_id, Decimal("0.00")), receipt.total, what)
        live = {session.receipt_id: session for session in sessions}
        self.assertFalse(live.keys() & receipts.keys(), what)
        for receipt_id, amount in paid.items():
            self.assertEqual(amount, live[receipt_id].paid, what)
        self.look(what)
        return {
            "users": sorted(users),
            "sessions": sorted(sessions, key=lambda session: session.user_id),
            "receipts": [receipts[key] for key in sorted(receipts)],
            "waiting": sorted(waiting, key=lambda place: place.user_id),
            "payments": sorted(payments, key=lambda payment: payment.receipt_id),
            "statuses": sorted(statuses.items(), key=str),
        }

    def make_closed(self) -> SqlStorage:
        storage = parse(self.url, "").storage()
        assert isinstance(storage, SqlStorage)
        return storage

    def look(self, what: str) -> None:
        """1, 3: slots add up, and nobody waits in vain, for whoever opens the database."""
        storage = self.make()
        for state in carry_out(storage, ListStations()):
            held = len(state.held)
            self.assertEqual(state.available_slots + held, state.max_slots, what)
        for user_id in "wvnmr":
            standing = carry_out(storage, FindStanding(user_id))
            if isinstance(standing, Standing) and standing.place is not None:
                assert standing.book is not None
                free = [evse for evse in standing.book.free() if standing.place.fits(evse.kind)]
                self.assertEqual(free, [], what)
            if isinstance(standing, Standing) and standing.session is not None:
                self.assertIn(standing.session.state, LIVE)
        storage.close()


def storage_state(storage: SqlStorage, user_id: str) -> str:
    standing = carry_out(storage, FindStanding(user_id))
    assert isinstance(standing, Standing), standing
    return standing.state


class SqliteKillsTests(KillsContract, SynchronousTestCase):
    """An SQLite file that one process has."""

    def setUp(self) -> None:
        self.filled = Path(self.mktemp()).absolute()
        url = f"sqlite:///{self.filled}"
        parse(url, "").storage().write_contents(NETWORK)
        self.fill(url)

    def begin(self) -> None:
        path = Path(self.mktemp()).absolute()
        shutil.copy(self.filled, path)
        self.url = f"sqlite:///{path}"


class SharedSqliteKillsTests(SqliteKillsTests):
    """One that several processes share."""

    shared = True


class PostgresKillsTests(KillsContract, SynchronousTestCase):
    """A PostgreSQL database, whose server sees that the process is gone."""

    def setUp(self) -> None:
        self.url = postgres.shared().url(postgres.shared().create_database())
        parse(self.url, "").storage().write_contents(NETWORK)

    def begin(self) -> None:
        storage = self.make()
        with storage._database.begin(write=True) as connection:
            for table in (
                schema.users,
                schema.sessions,
                schema.waiting,
                schema.evse_status,
                schema.receipts,
                schema.payments,
            ):
                connection.execute(delete(table))
        storage.close()
        self.fill(self.url)
