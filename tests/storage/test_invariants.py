"""What holds after whatever drivers, an operator and time do, in each storage."""

import shutil
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import delete
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.network import StationRecord
from evcharge.rules.events import Event
from evcharge.rules.operation import Operation
from evcharge.storage import Storage
from evcharge.storage.contents import Contents
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.storage.memory import MemoryStorage
from evcharge.storage.sql import schema
from evcharge.storage.sql.store import SqlStorage
from evcharge.testing import NOON
from tests.support import engines, postgres
from tests.support.drivers_machine import CAR_FACTS, STATIONS, TARIFF, DriversMachine
from tests.support.examples import examples
from tests.support.folders import new_folder

engines.share()

NETWORK = Contents(
    CAR_FACTS,
    [StationRecord(station, True, {}) for station in STATIONS],
    (),
    (),
    (),
    0,
    tariffs=[TARIFF.body],
)


class Several:
    """Processes that share a database, which carry out what there is to do by turns."""

    patience_s = 30.0

    def __init__(self, storages: Sequence[SqlStorage]) -> None:
        self.storages = storages
        self._turn = count()
        self.listeners: list[Callable[[Sequence[Event]], None]] = []
        for storage in storages:
            storage.listeners.append(self._hear)

    def _hear(self, events: Sequence[Event]) -> None:
        for listener in self.listeners:
            listener(events)

    def recall(self, operation: Operation[Any]) -> Any:
        """What is remembered may be half a second old."""
        return None

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        """Whose turn it is does it."""
        return self.storages[next(self._turn) % len(self.storages)].execute(operations)

    def close(self) -> None:
        """Close all."""
        for storage in self.storages:
            storage.close()


class InvariantTests(SynchronousTestCase):
    """Invariants 1 to 9 of the domain."""

    def run_machine(self, make: Callable[[], Any], number: int) -> None:
        class Machine(DriversMachine):
            pass

        Machine.make = staticmethod(make)
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Machine,
            settings=settings(max_examples=examples(number), stateful_step_count=40, deadline=None),
        )

    def test_memory(self) -> None:
        """In memory."""

        def make() -> Storage:
            storage = MemoryStorage(CAR_FACTS, STATIONS, {"tudo": TARIFF})
            storage.open(0.0)
            return storage

        self.run_machine(make, 60)

    def test_files(self) -> None:
        """In a data directory."""
        first = Path(self.mktemp()).absolute()
        parse(f"files:{first}", "").storage().write_contents(NETWORK)

        def make() -> Storage:
            folder = new_folder(self) / "data"
            shutil.copytree(first, folder)
            storage = FileStorage(folder)
            storage.open(NOON)
            return storage

        self.run_machine(make, 10)

    def test_sqlite(self) -> None:
        """In an SQLite file that one process has."""
        make = self.sqlite()
        self.run_machine(lambda: opened(make()), 8)

    def test_shared_sqlite(self) -> None:
        """In one that several processes share."""
        make = self.sqlite()

        def several() -> Several:
            url = make()
            return Several([opened(url, shared=True) for _ in range(2)])

        self.run_machine(several, 5)

    def test_postgres(self) -> None:
        """In PostgreSQL, by one process and by several."""
        url = postgres.shared().url(postgres.shared().create_database())
        parse(url, "").storage().write_contents(NETWORK)
        keeper = opened(url)
        self.addCleanup(keeper.close)

        def emptied() -> str:
            with keeper._database.begin(write=True) as connection:
                for table in (
                    schema.users,
                    schema.sessions,
                    schema.waiting,
                    schema.evse_status,
                    schema.receipts,
                    schema.payments,
                ):
                    connection.execute(delete(table))
            return url

        self.run_machine(lambda: opened(emptied()), 1)
        self.run_machine(lambda: Several([opened(emptied()) for _ in range(2)]), 2)

    def sqlite(self) -> Callable[[], str]:
        """Makes a new database with the network, and says its URL."""
        first = Path(self.mktemp()).absolute()
        parse(f"sqlite:///{first}", "").storage().write_contents(NETWORK)

        def make() -> str:
            path = Path(self.mktemp()).absolute()
            shutil.copy(first, path)
            return f"sqlite:///{path}"

        return make


def opened(url: str, shared: bool = False) -> SqlStorage:
    """A storage in the database of a URL."""
    storage = parse(url, "").storage(shared=shared) if shared else parse(url, "").storage()
    assert isinstance(storage, SqlStorage)
    storage.open(NOON)
    return storage
