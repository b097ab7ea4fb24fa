"""Carrying out a batch on a storage that makes a part of it durable, or nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.rules.clocks import Reading
from evcharge.rules.events import ClocksSet, Event, SlotFreed, UserAdded
from evcharge.rules.journey import UNKNOWN_USER, AddUser, FindUser
from evcharge.rules.sweep import Sweep, SweepResult
from evcharge.rules.timekeeping import SetClock
from evcharge.storage import StorageUnavailable
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import NOON
from tests.support.operations import (
    NO_FREE_SLOT,
    a_session,
    a_user,
    add_user,
    find_user,
    leave,
    sweep,
    take,
    take_slot,
    unseated,
    user_ids,
)

FULL = StorageUnavailable("no space left")


class Failing(MemoryStorage):
    """A storage where some of what happens cannot be made durable."""

    fails: Callable[[Event], bool] = staticmethod(lambda event: False)

    def __init__(self) -> None:
        super().__init__({}, [Station(7, "Centro", "Rua A", -12.25, -38.95, 1)])
        self.saved: list[Sequence[Event]] = []

    def save(self, events: Sequence[Event]) -> Mapping[int, Exception]:
        self.saved.append(list(events))
        # With one event of a user all others fail, as they rest on it.
        failing = {_user_id(event) for event in events if self.fails(event)}
        return {n: FULL for n, event in enumerate(events) if _user_id(event) in failing}


def _user_id(event: Any) -> str | None:
    for name in ("user", "session"):
        event = getattr(event, name, event)
    return getattr(event, "user_id", None)


class ExecuteTests(SynchronousTestCase):
    """One batch."""

    def setUp(self) -> None:
        self.storage = Failing()

    def execute(self, *operations: Any) -> list[Any]:
        return list(self.storage.execute(operations))

    def test_some_fail(self) -> None:
        """What is not durable did not happen; who else is in the batch is not concerned."""
        self.storage.fails = lambda event: _user_id(event) == "u2"
        results = self.execute(AddUser(a_user()), AddUser(a_user("u2")), AddUser(a_user("u3")))
        self.assertEqual(results, [None, FULL, None])
        self.assertEqual(user_ids(self.storage), ["u1", "u3"])

    def test_rests_on_it(self) -> None:
        """Who was told something by what failed is told anew, by what is."""
        for user_id in ("u1", "u2"):
            add_user(self.storage, a_user(user_id))
        take_slot(self.storage, a_session())
        self.storage.fails = lambda event: isinstance(event, SlotFreed)
        # It would be free, and nobody there, if the first had ended.
        results = self.execute(
            leave("u1"), FindUser("u1"), leave("u1"), FindUser("u2"), take(a_session())
        )
        self.assertEqual(results[0], FULL)
        self.assertEqual(results[1], a_user())
        self.assertEqual(results[2], FULL)
        self.assertEqual([results[3], unseated(results[4])], [a_user("u2"), a_session()])
        self.storage.fails = lambda event: False
        results = self.execute(take(a_session("u2")), leave("u1"), FindUser("u1"))
        self.assertEqual(unseated(results[0]), NO_FREE_SLOT)
        self.assertEqual(results[1:], [None, UNKNOWN_USER])

    def test_sweep_goes_on(self) -> None:
        """A sweep of which a part fails is told so, ends the rest, and comes back to that part."""
        storage = self.storage
        for number in (8, 9):
            place = Station(number, "Sul", "Rua B", -12.26, -38.96, 1)
            storage.records.put_stations([(place, SlotTable(number, 1))])
        for number in (7, 8, 9):
            add_user(storage, a_user(f"u{number}"))
            take_slot(storage, a_session(f"u{number}", number))
        storage.fails = lambda event: _user_id(event) == "u8"
        self.assertEqual(self.execute(Sweep(NOON + 60, 0)), [FULL])
        self.assertEqual(user_ids(storage), ["u8"])
        storage.fails = lambda event: False
        self.assertEqual(sweep(storage, NOON + 60, 0), SweepResult(1, 0))
        self.assertEqual(user_ids(storage), [])

    def test_all_fail(self) -> None:
        """Where a batch cannot be saved at all, memory is as it was."""
        add_user(self.storage, a_user())

        def save(events: Sequence[Event]) -> Mapping[int, Exception]:
            raise FULL

        self.storage.save = save  # type: ignore[method-assign]
        self.assertRaises(StorageUnavailable, self.execute, leave("u1"))
        self.assertEqual(find_user(self.storage, "u1"), a_user())

    def test_clock_first(self) -> None:
        """The clock is set before all else, wherever that stands in the batch."""
        reading = Reading(NOON, 0.0, "")
        add = AddUser(a_user())
        add.clock = 0
        results = self.execute(
            add, SetClock(lambda before, newest: before.all_moved(0, 100.0, reading))
        )
        (events,) = self.storage.saved
        self.assertEqual([type(event) for event in events], [ClocksSet, UserAdded])
        self.assertEqual(results, [None, self.storage.records.clocks])
        self.assertEqual(find_user(self.storage, "u1"), a_user(created=NOON + 100))

    def test_nothing_to_write(self) -> None:
        """A batch that only looks saves nothing."""
        add_user(self.storage, a_user())
        self.storage.saved.clear()
        self.assertEqual(self.execute(FindUser("u1")), [a_user()])
        self.assertEqual(self.storage.saved, [])
