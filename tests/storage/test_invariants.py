"""What holds after whatever drivers, an operator and time do, in each storage."""

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage.memory import MemoryStorage
from tests.support.drivers_machine import CAR_FACTS, STATIONS, TARIFF, DriversMachine
from tests.support.examples import examples


class InvariantTests(SynchronousTestCase):
    """Invariants 1 to 9 of the domain."""

    def run_machine(self, machine: type[DriversMachine], count: int) -> None:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine,
            settings=settings(max_examples=examples(count), stateful_step_count=40, deadline=None),
        )

    def test_memory(self) -> None:
        """In memory."""

        def make() -> MemoryStorage:
            storage = MemoryStorage(CAR_FACTS, STATIONS, {"tudo": TARIFF})
            storage.open(0.0)
            return storage

        class Machine(DriversMachine):
            pass

        Machine.make = staticmethod(make)
        self.run_machine(Machine, 100)
