"""The server's time, where the system's clock is set; all of it in virtual time."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.clock import LOOK_S, MOST_STEERING, SteadyClock, keep_steady, steady_source
from evcharge.process.timekeeper import MADE_AT, Follower, Timekeeper
from evcharge.process.virtual_clock import VirtualClock
from evcharge.rules.clocks import Clocks
from evcharge.rules.events import ClocksSet, Event
from evcharge.rules.journey import AddUser
from evcharge.rules.operation import Needs
from evcharge.rules.timekeeping import SetClock
from evcharge.rules.view import View
from evcharge.storage import Perform, StorageError, StorageUnavailable, carry_out
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import shipped_network
from tests.support.examples import given
from tests.support.logged import logged
from tests.support.operations import (
    a_session,
    a_user,
    add_user,
    find_user,
    next_free,
    station,
    take,
    take_slot,
)

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0

OwnTime = Callable[[Callable[[], float]], tuple[float, float]]

NOW = MADE_AT + 100 * DAY_S
"""A time that may be."""


class SteadyClockTests(SynchronousTestCase):
    """The clock on a source of the tests' own."""

    def setUp(self) -> None:
        self.true = 0.0
        """Seconds that have passed."""
        self.clock = SteadyClock(lambda: self.true, 1e9)

    def test_steered(self) -> None:
        """It is moved by a twentieth of what passes at most, bit by bit, and no further."""
        self.clock.steer(HOUR_S)
        self.true = 0.5
        self.assertAlmostEqual(self.clock.seconds(), 1e9 + 0.525)
        # The next look is late.
        self.true = 100.0
        self.assertAlmostEqual(self.clock.seconds(), 1e9 + 100.05)
        self.clock.steer(-0.01)
        self.true = 101.0
        self.assertAlmostEqual(self.clock.seconds(), 1e9 + 101.04)
        self.assertAlmostEqual(self.clock.lead_s, 1e9 + 0.04)
        self.assertEqual((MOST_STEERING, LOOK_S), (0.05, 1.0))

    def test_jump(self) -> None:
        """It jumps as far as it is told, and is steered no more."""
        self.clock.steer(1.0)
        self.true = 0.5
        self.clock.jump(-HOUR_S)
        self.assertAlmostEqual(self.clock.seconds(), 1e9 + 0.525 - HOUR_S)
        self.true = 1.5
        self.assertAlmostEqual(self.clock.seconds(), 1e9 + 1.525 - HOUR_S)

    @given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(-1e5, 1e5)), max_size=50))
    def test_any(self, steps: list[tuple[float, float]]) -> None:
        """However it is steered, its seconds are a twentieth longer or shorter at most."""
        self.setUp()
        for passed, off_s in steps:
            before = self.clock.seconds()
            self.clock.steer(off_s)
            # Nothing is made up in no time.
            self.assertAlmostEqual(self.clock.seconds(), before, 5)
            self.true += passed
            went = self.clock.seconds() - before
            self.assertLessEqual(abs(went - passed), min(passed, 1) * MOST_STEERING + 1e-5)

    def test_beginning(self) -> None:
        """It begins at the system's time, or as far ahead as it is told."""
        self.assertApproximates(SteadyClock(lambda: 7.0).seconds(), time.time(), 5)
        self.assertEqual(SteadyClock(lambda: 7.0, 100.0).seconds(), 107.0)

    def test_timers(self) -> None:
        """A reactor's timers begin at the system's time, and go by the steady source alone."""
        reactor = VirtualClock()
        keep_steady(reactor, lambda: self.true)
        began = reactor.seconds()
        self.assertApproximates(began, time.time(), 5)
        self.true = 20.0
        self.assertEqual(reactor.seconds(), began + 20)

    def test_source(self) -> None:
        """The source of this machine goes on, during a suspend too where it can be told."""
        source = steady_source()
        self.assertLessEqual(source(), source())
        if hasattr(time, "CLOCK_BOOTTIME"):
            self.assertApproximates(source(), time.clock_gettime(time.CLOCK_BOOTTIME), 1)
            asked: list[int] = []
            self.patch(time, "clock_gettime", lambda which: asked.append(which) or 1.0)
            self.assertEqual((steady_source()(), asked), (1.0, [time.CLOCK_BOOTTIME]))


class TimekeeperTestCase(SynchronousTestCase):
    """A timekeeper over a storage in memory; time passes by :meth:`go`."""

    def setUp(self) -> None:
        self.timers = VirtualClock()
        self.set_by = 0.0
        """By how much the system's clock is wrong."""
        self.clock = SteadyClock(self.timers.seconds, 0.0)
        self.storage: MemoryStorage = shipped_network()
        self.refused = 0
        """How often the storage is still to refuse."""
        self.events = logged(self)

    def wall(self) -> float:
        return NOW + self.timers.seconds() + self.set_by

    def perform(self, operation: Any) -> Any:
        operation.clock = self.clock.number
        if self.refused:
            self.refused -= 1
            raise StorageUnavailable("no space left")
        return carry_out(self.storage, operation)

    def begin(self, set_by: float = 0.0, boot: str = "boot 1") -> Timekeeper:
        """Start a server, by a clock that is wrong."""
        self.set_by = set_by
        perform: Perform = self.perform
        keeper = Timekeeper(self.clock, self.timers, perform, wall=self.wall, boot=boot)
        keeper.begin(self.storage)
        keeper.startService()
        self.addCleanup(lambda: keeper.running and keeper.stopService())
        return keeper

    def go(self, seconds: int) -> None:
        for _ in range(seconds):
            self.timers.advance(1)

    def off(self) -> float:
        """By how much the present differs from the true time."""
        return self.clock.seconds() - NOW - self.timers.seconds()

    def told(self) -> list[str]:
        return [formatEvent(e) for e in self.events if "clock" in e["log_format"]]

    def pay(self, user_id: str, minutes: float = 60, station: int = 7) -> float:
        """Have a driver log in and pay, for so long; the end."""
        now = self.clock.seconds()
        add_user(self.storage, a_user(user_id, now))
        return take_slot(
            self.storage, a_session(user_id, station, end=now + minutes * 60, paid=now)
        ).estimated_timestamp

    def end(self, user_id: str) -> float:
        return self.storage.records.session(user_id).estimated_timestamp


class TimekeeperTests(TimekeeperTestCase):
    """A clock that was right at the start."""

    def test_small(self) -> None:
        """A minute is followed smoothly, and what stands is left where it is."""
        self.begin()
        end = self.pay("u1")
        self.set_by = MINUTE_S - 1
        self.go(101)
        self.assertAlmostEqual(self.off(), 100 * MOST_STEERING, 3)
        self.go(1200)
        self.assertAlmostEqual(self.off(), MINUTE_S - 1, 3)
        self.assertEqual(self.end("u1"), end)
        first, second = self.told()
        self.assertIn("The system's clock has been set by +59 s; the server's time follows", first)
        self.assertIn("agree again", second)

    def test_drift(self) -> None:
        """A clock that is a little fast is followed, without a word."""
        self.begin()
        for _ in range(1000):
            self.set_by += 0.001
            self.go(1)
        self.assertAlmostEqual(self.off(), self.set_by, 2)
        self.assertEqual(self.told(), [])

    def test_jump(self) -> None:
        """More than a minute is followed within five seconds, and all that stands moves with it."""
        self.begin()
        end = self.pay("u1")
        for by in (HOUR_S, -30 * DAY_S, 61.0):
            before = self.set_by
            self.set_by = by
            self.go(5)
            self.assertAlmostEqual(self.off(), by, 3)
            self.assertEqual(self.end("u1"), end + by)
            self.assertEqual(find_user(self.storage, "u1").created_timestamp, NOW + by)
            state = station(self.storage, 7)
            self.assertEqual(next_free(state), end + by)
            self.assertIn(f"has been set by {by - before:+.0f} s", self.told()[-1])
        self.set_by = 0.0
        self.go(5)
        self.assertEqual(self.end("u1"), end)

    def test_stays(self) -> None:
        """What does not stay for three looks is no jump, nor is a clock that is never the same."""
        self.begin()
        end = self.pay("u1")
        for by in (HOUR_S, 0.0, -HOUR_S, HOUR_S):
            self.set_by = by
            self.go(2)
            self.assertAlmostEqual(self.off(), 0, 3)
        self.set_by = 0.0
        self.go(10)
        self.assertEqual((self.end("u1"), self.told()), (end, []))

    def test_spans(self) -> None:
        """An hour ahead, and back, ends nothing sooner or later than was promised."""
        self.begin()
        began = self.timers.seconds()
        self.pay("u1", 10)
        self.go(60)
        self.set_by = HOUR_S
        self.go(60)
        self.pay("u2", 10)
        self.go(60)
        self.set_by = 0.0
        self.go(60)
        for user_id, minutes in (("u1", 10), ("u2", 12)):
            left_s = self.end(user_id) - self.clock.seconds()
            passed_s = self.timers.seconds() - began
            self.assertAlmostEqual(left_s, minutes * 60 - passed_s, 3)

    def test_cannot_follow(self) -> None:
        """Where the storage cannot be written the present waits for it, and all goes on by that."""
        self.begin()
        end = self.pay("u1")
        self.set_by = HOUR_S
        self.refused = 10
        self.go(11)
        self.assertAlmostEqual(self.off(), 0, 3)
        self.assertEqual(self.end("u1"), end)
        self.pay("u2")
        (told,) = self.told()
        self.assertIn("no space left", told)
        self.go(2)
        self.assertAlmostEqual(self.off(), HOUR_S, 3)
        self.assertEqual(self.end("u1"), end + HOUR_S)
        self.assertEqual(self.end("u2"), end + HOUR_S + 11)

    def test_waits(self) -> None:
        """Until the storage has answered it is asked once; what comes meanwhile is moved too."""
        self.begin().stopService()
        end = self.pay("u1")
        waiting: list[tuple[SetClock, Deferred[Any]]] = []

        def submit(operation: Any) -> Deferred[Any]:
            operation.clock = self.clock.number
            waiting.append((operation, Deferred()))
            return waiting[-1][1]

        keeper = Timekeeper(self.clock, self.timers, submit, wall=self.wall, boot="boot 1")
        keeper.startService()
        self.addCleanup(keeper.stopService)
        self.set_by = HOUR_S
        self.go(20)
        ((operation, answer),) = waiting
        clocks = carry_out(self.storage, operation)
        # By the present as it still is.
        late = AddUser(a_user("u2", self.clock.seconds()))
        late.clock = self.clock.number
        carry_out(self.storage, late)
        answer.callback(clocks)
        self.assertAlmostEqual(self.off(), HOUR_S, 3)
        self.assertEqual(self.end("u1"), end + HOUR_S)
        self.assertEqual(find_user(self.storage, "u2").created_timestamp, NOW + 20 + HOUR_S)

    def test_drift_noted(self) -> None:
        """A clock that drifts for long, and by more than a minute in the end, was not set."""
        keeper = self.begin()
        self.set_by = HOUR_S
        self.go(5)
        end = self.pay("u1", 600)
        for _ in range(4500):
            self.set_by += 0.02
            self.go(1)
        keeper.stopService()
        self.begin(self.set_by)
        self.assertEqual(self.end("u1"), end)
        self.assertNotIn("while no server ran", "".join(self.told()))

    def test_stopped(self) -> None:
        """When it has stopped no timer is left."""
        self.begin().stopService()
        self.assertEqual(self.timers.getDelayedCalls(), [])


class SuspectTests(TimekeeperTestCase):
    """A clock that is wrong at the start."""

    def stood(self) -> float:
        """A driver who paid while the clock was right, in an earlier start of the machine."""
        self.begin(boot="boot 0").stopService()
        return self.pay("old", 600)

    def test_put_right(self) -> None:
        """What began by the wrong clock moves with it, what stood before stays; it is told."""
        end = self.stood()
        self.begin(-20 * DAY_S)
        (warning,) = self.told()
        self.assertIn("The system's clock is wrong: it says 20", warning)
        self.assertIn("when somebody last logged in or paid here", warning)
        wrong_end = self.pay("new")
        self.go(3)
        self.set_by = 0.0
        self.go(5)
        self.assertAlmostEqual(self.off(), 0, 3)
        self.assertEqual(self.end("old"), end)
        self.assertEqual(self.end("new"), wrong_end + 20 * DAY_S)
        self.assertIn("has been set by +1728000 s", self.told()[-1])
        self.assertIn("what began by the wrong one is moved with it", self.told()[-1])
        # From now on it is trusted.
        self.set_by = HOUR_S
        self.go(5)
        self.assertEqual(self.end("old"), end + HOUR_S)
        self.assertEqual(self.end("new"), wrong_end + 20 * DAY_S + HOUR_S)

    def test_before_it_was_made(self) -> None:
        """With nothing in the storage, the day on which the version was made tells."""
        self.begin(-101 * DAY_S)
        self.assertIn("when this version of evcharge was made", self.told()[0])
        self.begin(-99 * DAY_S)
        self.assertEqual(len(self.told()), 2)
        self.assertIn("is right again", self.told()[1])

    def test_a_little_behind(self) -> None:
        """A clock that is a minute behind what stands is followed like any such difference."""
        self.stood()
        self.begin(-MINUTE_S)
        self.assertEqual(self.told(), [])

    def test_still_wrong(self) -> None:
        """A wrong clock that is set to another wrong time stays suspect, and all ends well."""
        end = self.stood()
        self.begin(-20 * DAY_S)
        left_s = self.pay("new") - self.clock.seconds()
        self.set_by = -10 * DAY_S
        self.go(5)
        self.assertIn("and is still wrong", self.told()[-1])
        self.assertAlmostEqual(self.end("new") - self.clock.seconds(), left_s - 5, 3)
        self.pay("newer", station=8)
        self.set_by = 0.0
        self.go(5)
        self.assertEqual(self.end("old"), end)
        for user_id, passed_s in (("new", 10), ("newer", 5)):
            self.assertAlmostEqual(self.end(user_id) - self.clock.seconds(), 3600 - passed_s, 3)

    def test_restart_before(self) -> None:
        """A restart by the same wrong clock changes nothing."""
        end = self.stood()
        self.begin(-20 * DAY_S).stopService()
        self.pay("new")
        self.go(10)
        self.begin(-20 * DAY_S)
        self.assertIn("clock is wrong", self.told()[-1])
        self.pay("newer", station=8)
        self.set_by = 0.0
        self.go(5)
        self.assertEqual(self.end("old"), end)
        for user_id, passed_s in (("new", 15), ("newer", 5)):
            self.assertAlmostEqual(self.end(user_id) - self.clock.seconds(), 3600 - passed_s, 3)

    def test_put_right_meanwhile(self) -> None:
        """Where the clock is put right while no server runs, the next one knows by how much."""
        end = self.stood()
        self.begin(-20 * DAY_S).stopService()
        self.pay("new")
        self.go(10)
        self.begin(0.0)
        self.assertIn("is right again", self.told()[-1])
        self.assertIn("moved by +1728000 s", self.told()[-1])
        self.assertEqual(self.end("old"), end)
        self.assertAlmostEqual(self.end("new") - self.clock.seconds(), 3590, 3)

    def test_restart_after(self) -> None:
        """So does one after it was put right; and the clock that was trusted by then still is."""
        end = self.stood()
        keeper = self.begin(-20 * DAY_S)
        self.pay("new")
        self.set_by = 0.0
        self.go(5)
        keeper.stopService()
        self.begin(0.0)
        self.assertEqual(self.end("old"), end)
        self.set_by = HOUR_S
        self.go(5)
        self.assertEqual(self.end("old"), end + HOUR_S)
        self.assertAlmostEqual(self.end("new") - self.clock.seconds(), 3590, 3)

    def test_another_start_of_the_machine(self) -> None:
        """Where it is not known how much time has passed it is taken for none: nobody loses any."""
        end = self.stood()
        self.begin(-20 * DAY_S, "boot 1").stopService()
        self.pay("new")
        for by, boot in ((-20 * DAY_S, "boot 2"), (-21 * DAY_S, "boot 3"), (0.0, "boot 4")):
            self.go(1000)
            self.begin(by, boot).stopService()
            self.assertAlmostEqual(self.end("new") - self.clock.seconds(), 3600, 0)
        self.assertIn("is right again", self.told()[-1])
        self.assertEqual(self.end("old"), end)

    def test_set_while_no_server_ran(self) -> None:
        """A clock that had been set, and was set back while no server ran, is seen through."""
        self.begin().stopService()
        keeper = self.begin()
        end = self.pay("u1")
        self.set_by = HOUR_S
        self.go(5)
        keeper.stopService()
        self.begin(0.0).stopService()
        self.assertIn("was set by -3600 s while no server ran", self.told()[-1])
        self.assertEqual(self.end("u1"), end)
        self.begin(2 * HOUR_S)
        self.assertEqual(self.end("u1"), end + 2 * HOUR_S)

    def test_set_before_it_was_made(self) -> None:
        """What was set meanwhile to a time that cannot be is wrong all the same."""
        keeper = self.begin()
        self.set_by = HOUR_S
        self.go(5)
        end = self.pay("u1")
        keeper.stopService()
        keeper = self.begin(-101 * DAY_S)
        self.assertIn("clock is wrong", self.told()[-1])
        self.assertEqual(self.end("u1"), end)

    def test_unknown_start_of_the_machine(self) -> None:
        """Where the machine does not say which start of it this is, two are not taken for one."""
        self.stood()
        self.begin(-20 * DAY_S, "").stopService()
        self.pay("new")
        self.go(1000)
        self.begin(-10 * DAY_S, "").stopService()
        self.assertAlmostEqual(self.end("new") - self.clock.seconds(), 3600, 0)

    def test_set_first_while_no_server_ran(self) -> None:
        """So is one that is set for the first time then, or is not yet seen to be set."""
        for seen_s in (0, 1):
            self.setUp()
            keeper = self.begin()
            self.go(1)
            end = self.pay("u1")
            if seen_s:
                self.set_by = HOUR_S
                self.go(seen_s)
            keeper.stopService()
            self.begin(HOUR_S).stopService()
            self.assertIn("was set by +3600 s while no server ran", self.told()[-1])
            self.assertEqual(self.end("u1"), end + HOUR_S)
            self.begin(0.0)
            self.assertEqual(self.end("u1"), end)

    def test_noted(self) -> None:
        """It is noted in each start of the machine, as soon as the storage can; it tells nobody."""
        for boot in ("boot 1", "boot 2"):
            self.refused = 2
            keeper = self.begin(boot=boot)
            self.go(2)
            self.assertNotEqual(self.storage.records.clocks.boot_id, boot)
            self.go(1)
            self.assertEqual(self.storage.records.clocks.boot_id, boot)
            self.assertEqual(self.storage.records.clocks.lead_s, NOW)
            keeper.stopService()
        self.assertEqual(self.told(), [])

    def test_cannot_be_noted(self) -> None:
        """A start that cannot note a wrong clock is none: what began by it would end too soon."""
        self.patch(self.storage, "save", self.fail_to_save)
        error = self.assertRaises(StorageError, self.begin, -101 * DAY_S)
        self.assertIn("no space left", str(error))
        # Where there is nothing to note it does not matter.
        self.begin(0.0)

    def fail_to_save(self, events: Sequence[Event]) -> dict[int, Exception]:
        if events:
            raise StorageUnavailable("no space left")
        return {}


STEPS = (
    st.tuples(st.just("go"), st.integers(1, 20)),
    st.tuples(st.just("pay"), st.integers(0, 5)),
    st.tuples(st.just("restart"), st.just(0)),
)
"""What happens at all times, but for the clock that is set."""


class AnyClockTests(TimekeeperTestCase):
    """However clocks are set, and servers and machines started again."""

    def run_steps(self, steps: list[tuple[str, Any]]) -> dict[str, tuple[float, float]]:
        """By user, how much time is left until the end when all is right, and what was promised."""
        self.setUp()
        keeper = self.begin()
        # By then it is noted how far the clock is ahead.
        self.go(1)
        # So that an hour back is told from the right time.
        self.pay("first", 60, 9)
        ends = {"first": HOUR_S}
        boots = 1
        for kind, what in steps:
            if kind == "set":
                self.set_by = what
            elif kind == "go":
                self.go(what)
            elif kind == "pay" and f"u{what}" not in ends:
                self.pay(f"u{what}", 60, 1 + what)
                ends[f"u{what}"] = self.timers.seconds() + 3600
            elif kind in ("restart", "boot"):
                keeper.stopService()
                boots += kind == "boot"
                if kind == "boot":
                    self.set_by = what
                keeper = self.begin(self.set_by, f"boot {boots}")
                self.go(1)
        self.set_by = 0.0
        self.go(5)
        keeper.stopService()
        self.assertApproximates(self.off(), 0, MINUTE_S)
        now = self.wall()
        return {u: (self.end(u) - now, end - self.timers.seconds()) for u, end in ends.items()}

    @settings(deadline=None, database=None)
    @given(
        st.lists(
            st.one_of(
                *STEPS,
                st.tuples(st.just("set"), st.sampled_from([0.0, 20.0, HOUR_S, -HOUR_S, -2e6, 9e6])),
            ),
            max_size=25,
        )
    )
    def test_one_start_of_the_machine(self, steps: list[tuple[str, Any]]) -> None:
        """In one start of the machine, whoever paid has as much time as was promised."""
        for left_s, promised_s in self.run_steps(steps).values():
            # A minute is followed, and not moved.
            self.assertApproximates(left_s, promised_s, MINUTE_S)

    @settings(deadline=None, database=None)
    @given(
        st.lists(
            st.one_of(
                *STEPS,
                st.tuples(st.just("set"), st.sampled_from([0.0, 20.0])),
                st.tuples(
                    st.just("boot"), st.sampled_from([0.0, -20.0, -HOUR_S, -2e6, -9e6, -1e9])
                ),
            ),
            max_size=25,
        )
    )
    def test_wrong_at_boot(self, steps: list[tuple[str, Any]]) -> None:
        """Machines that start behind their time, or at it, take no time from anybody."""
        for left_s, promised_s in self.run_steps(steps).values():
            self.assertGreater(left_s, promised_s - 2 * MINUTE_S)


class FollowerTests(SynchronousTestCase):
    """A worker's time."""

    def test_follows(self) -> None:
        """It goes to the parent's time smoothly, and at once where that is another clock."""
        timers = VirtualClock()
        clock = SteadyClock(timers.seconds, 1e9)
        follower = Follower(clock, timers)
        follower.startService()
        follower.tell(1e9 + 0.2, 0)
        for _ in range(2):
            timers.advance(1)
        self.assertAlmostEqual(clock.lead_s, 1e9 + MOST_STEERING, 3)
        for _ in range(10):
            timers.advance(1)
        self.assertAlmostEqual(clock.lead_s, 1e9 + 0.2, 3)
        follower.tell(2e9, 1)
        self.assertEqual((clock.lead_s, clock.number), (2e9, 1))
        timers.advance(1)
        self.assertEqual(clock.lead_s, 2e9)
        follower.stopService()
        self.assertEqual(timers.getDelayedCalls(), [])


class SharedTests(TimekeeperTestCase):
    """Servers on several machines that go by the clock of their storage."""

    def setUp(self) -> None:
        super().setUp()
        self.keepers: list[Timekeeper] = []
        self.clocks: list[SteadyClock] = []
        self.moves = 0
        load, apply = self.storage.load, self.storage.apply

        def timed(needs: Needs) -> View:
            view = load(needs)
            if needs.steady is not None:
                view.own_time = self.own_time(needs.steady)
                view.clocks = self.told_clocks or view.clocks
            return view

        def counted(events: Sequence[Event]) -> None:
            self.moves += sum(isinstance(event, ClocksSet) for event in events)
            apply(events)

        self.storage.load, self.storage.apply = timed, counted
        self.own_time: OwnTime = lambda steady: (self.wall() - steady(), 0.0)
        self.told_clocks: Clocks | None = None

    def server(self, meanwhile: Callable[[], None] = lambda: None) -> SteadyClock:
        """Start a server on a machine of its own; while it waits, others go on."""
        number = len(self.clocks) + 1
        # Each machine was started at another time, and thinks that it is another time.
        clock = SteadyClock(lambda: self.timers.seconds() + 1000.0 * number, 0.0)

        def perform(operation: Any) -> Any:
            operation.clock = clock.number
            return carry_out(self.storage, operation)

        def pause(seconds: float) -> None:
            meanwhile()
            self.timers.advance(seconds)

        keeper = Timekeeper(
            clock, self.timers, perform, wall=lambda: 0.0, boot=f"machine {number}", pause=pause
        )
        keeper.begin(self.storage)
        keeper.startService()
        self.addCleanup(lambda: keeper.running and keeper.stopService())
        self.keepers.append(keeper)
        self.clocks.append(clock)
        return clock

    def pay_at(self, clock: SteadyClock, user_id: str, station: int = 7) -> None:
        """Have a driver pay for an hour at a server."""
        now = clock.seconds()
        add = AddUser(a_user(user_id, now))
        pay = take(a_session(user_id, station, end=now + HOUR_S, paid=now))
        for operation in (add, pay):
            operation.clock = clock.number
            (result,) = self.storage.execute([operation])
            self.assertNotIsInstance(result, Exception)

    def agree(self, off_s: float) -> None:
        """All go by the storage's clock, and by the same number of it."""
        for clock in self.clocks:
            now = NOW + self.timers.seconds()
            self.assertAlmostEqual(clock.seconds() - now, off_s, 3)
        self.assertEqual(
            {clock.number for clock in self.clocks}, {self.storage.records.clocks.number}
        )

    def left(self, user_id: str) -> float:
        return self.end(user_id) - self.wall()

    def test_set(self) -> None:
        """All follow when it is set, and one of them moves what stands."""
        for _ in range(3):
            self.server()
        self.assertEqual(self.told(), [])
        self.pay_at(self.clocks[0], "u1")
        for moves, by_s in enumerate((HOUR_S, -DAY_S, 0.0), 1):
            self.set_by = by_s
            self.go(5)
            self.agree(by_s)
            self.assertEqual(self.moves, moves)
        self.assertAlmostEqual(self.left("u1"), HOUR_S - 15, 3)

    def test_started_meanwhile(self) -> None:
        """One that starts just when it was set goes by it too, and nobody moves a thing twice."""
        for by_s in (HOUR_S, -HOUR_S, -DAY_S, 0.0):
            self.setUp()
            first = self.server()
            self.pay_at(first, "u1")
            self.go(10)
            began = self.timers.seconds()
            self.set_by = by_s
            self.go(1)
            second = self.server()
            self.pay_at(second, "u2", 8)
            self.go(20)
            self.agree(by_s)
            self.assertEqual(self.moves, 1 if by_s else 0)
            self.assertFalse(self.storage.records.clocks.suspect)
            passed_s = self.timers.seconds() - began
            self.assertAlmostEqual(self.left("u1"), HOUR_S - passed_s - 10, 3)
            # By no more than the clock was wrong, in the seconds before all had followed.
            self.assertTrue(-1 <= self.left("u2") - (HOUR_S - passed_s) <= HOUR_S + 1)
            for keeper in self.keepers:
                keeper.stopService()

    def test_wrong(self) -> None:
        """Where it is wrong when they start, all of them mark what begins, and one moves that."""
        self.pay_at(self.server(), "old")
        end = self.end("old")
        self.keepers.pop().stopService()
        self.clocks.pop()
        self.set_by = -20 * DAY_S
        for number in range(3):
            self.server()
            self.assertEqual(len([w for w in self.told() if "clock is wrong" in w]), number + 1)
            self.go(100)
        self.pay_at(self.clocks[0], "u1", 8)
        self.pay_at(self.clocks[2], "u2", 9)
        self.go(100)
        self.agree(-20 * DAY_S)
        self.set_by = 0.0
        self.go(5)
        self.agree(0)
        self.assertEqual(self.moves, 2)
        self.assertEqual(self.end("old"), end)
        for user_id in ("u1", "u2"):
            self.assertAlmostEqual(self.left(user_id), HOUR_S - 105, 3)

    def test_exactness(self) -> None:
        """It is not followed more exactly than it is known."""
        clock = self.server()
        self.own_time = lambda steady: (self.wall() + next(noise) - steady(), 0.2)
        noise = itertools.cycle((0.1, -0.19, 0.15))
        self.go(10)
        self.agree(0)
        noise = itertools.repeat(0.3)
        self.go(10)
        self.assertAlmostEqual(clock.seconds() - self.wall(), 0.3 - 0.2, 1)

    def test_answered_late(self) -> None:
        """What the storage said before it was set takes nobody back."""
        self.server()
        before = self.storage.records.clocks
        self.set_by = HOUR_S
        self.go(5)
        self.told_clocks = before
        self.go(5)
        self.agree(HOUR_S)

    def test_late(self) -> None:
        """One that did not run when the clock was set finds it moved, and moves nothing."""
        for _ in range(2):
            self.server()
        self.pay_at(self.clocks[1], "u1")
        asleep = self.clocks[1]
        own_time = self.own_time
        away = True

        def answer(steady: Callable[[], float]) -> tuple[float, float]:
            if away and steady == asleep.steady:
                raise StorageUnavailable("away")
            return own_time(steady)

        self.own_time = answer
        self.set_by = DAY_S
        self.go(60)
        self.set_by = DAY_S + HOUR_S
        self.go(60)
        self.assertEqual(self.moves, 2)
        self.pay_at(asleep, "u2", 8)
        away = False
        self.go(2)
        self.agree(DAY_S + HOUR_S)
        self.assertEqual(self.moves, 2)
        self.assertAlmostEqual(self.left("u1"), HOUR_S - 122, 3)
        self.assertAlmostEqual(self.left("u2"), HOUR_S - 2, 3)
