"""The clock of tests and of the simulator: time goes from call to call."""

from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from evcharge.process.virtual_clock import VirtualClock


class VirtualClockTests(SynchronousTestCase):
    """A virtual clock."""

    def setUp(self) -> None:
        self.clock = VirtualClock(100.0)
        self.said: list[Any] = []

    def say(self, what: object = None) -> None:
        """Take down what is called when."""
        self.said.append((what, self.clock.seconds()))

    def test_interfaces(self) -> None:
        """It is what a reactor is to whoever has timers."""
        verifyObject(IReactorTime, self.clock)
        verifyObject(IDelayedCall, self.clock.callLater(1, self.say))

    def test_instants(self) -> None:
        """Within a call it is the instant of that call, however far time is let pass."""
        for delay in (3, 1, 2):
            self.clock.callLater(delay, self.say, delay)
        self.clock.advance(10)
        self.assertEqual(self.said, [(1, 101.0), (2, 102.0), (3, 103.0)])
        self.assertEqual(self.clock.seconds(), 110.0)

    def test_ties(self) -> None:
        """What is for the same instant comes in the order in which it was scheduled."""
        for name in "abc":
            self.clock.call_at(105.0, self.say, name)
        self.clock.callLater(0, self.clock.callLater, 5, self.say, "d")
        self.clock.advance(5)
        self.assertEqual([what for what, _ in self.said], ["a", "b", "c", "d"])

    def test_not_too_early(self) -> None:
        """A loop has as many turns as there is time for, whatever a float can tell of that."""
        clock = VirtualClock(1744033512.678)
        loop = LoopingCall(self.say)
        loop.clock = clock
        loop.start(0.05, now=False)
        for _ in range(1000):
            clock.advance(0.001)
        self.assertEqual(len(self.said), 20)

    def test_new_calls(self) -> None:
        """A call that a call schedules comes in its turn, while time is let pass."""
        loop = LoopingCall(self.say)
        loop.clock = self.clock
        loop.start(0.5)
        self.clock.advance(1)
        self.assertEqual([at for _, at in self.said], [100.0, 100.5, 101.0])
        loop.stop()
        self.clock.advance(10)
        self.assertEqual(len(self.said), 3)

    def test_arguments(self) -> None:
        """A call is made with what it was scheduled with."""
        self.clock.callLater(0, lambda *args, **kwargs: self.say((args, kwargs)), 1, x=2)
        self.clock.advance(0)
        self.assertEqual(self.said, [(((1,), {"x": 2}), 100.0)])

    def test_cancel(self) -> None:
        """A call that is off does not come, and neither can be called off twice."""
        off, made = self.clock.callLater(1, self.say), self.clock.callLater(2, self.say, "made")
        off.cancel()
        self.assertFalse(off.active())
        self.assertEqual(self.clock.next_at, 102.0)
        self.clock.advance(5)
        self.assertEqual(self.said, [("made", 102.0)])
        self.assertFalse(made.active())
        self.assertRaises(AlreadyCancelled, off.cancel)
        self.assertRaises(AlreadyCalled, made.cancel)
        self.assertRaises(AlreadyCalled, made.reset, 1)
        self.assertRaises(AlreadyCancelled, off.delay, 1)

    def test_own_cancel(self) -> None:
        """A call that is being made has been called."""
        call = self.clock.callLater(1, lambda: self.say(call.active()))
        self.clock.advance(1)
        self.assertEqual(self.said, [(False, 101.0)])

    def test_moved(self) -> None:
        """A call comes when it is moved to, sooner or later, and once."""
        sooner, later = self.clock.callLater(5, self.say, "s"), self.clock.callLater(2, self.say)
        sooner.reset(1)
        later.delay(4)
        self.assertEqual((sooner.getTime(), later.getTime()), (101.0, 106.0))
        self.assertEqual(self.clock.getDelayedCalls(), [sooner, later])
        self.clock.advance(20)
        self.assertEqual(self.said, [("s", 101.0), (None, 106.0)])

    def test_past(self) -> None:
        """Nothing is scheduled for the past, nor for no instant at all."""
        self.assertRaises(ValueError, self.clock.callLater, -0.1, self.say)
        for at in (99.9, inf, float("nan")):
            self.assertRaises(ValueError, self.clock.call_at, at, self.say)
        # What is moved there comes now.
        self.clock.callLater(5, self.say).delay(-10)
        self.clock.advance(0)
        self.assertEqual(self.said, [(None, 100.0)])

    def test_failing_call(self) -> None:
        """What a call raises is raised where time is let pass; the others come all the same."""
        self.clock.callLater(1, lambda: 1 / 0)
        self.clock.callLater(1, self.say)
        self.assertRaises(ZeroDivisionError, self.clock.advance, 1)
        self.clock.advance(0)
        self.assertEqual(self.said, [(None, 101.0)])

    def test_memory(self) -> None:
        """What is off does not stay, however often something is put off."""
        kept = self.clock.callLater(10**6, self.say)
        for _ in range(10_000):
            self.clock.callLater(10**6, self.say).cancel()
            kept.reset(10**6)
        self.assertLess(len(self.clock._heap), 200)
        self.assertEqual(self.clock.getDelayedCalls(), [kept])

    @given(st.lists(st.tuples(st.sampled_from("lrdca"), st.integers(0, 9)), max_size=60))
    def test_as_a_list(self, steps: list[tuple[str, int]]) -> None:
        """It does what a sorted list of calls would, whatever is called off and moved."""
        clock, said = VirtualClock(), list[tuple[float, int]]()
        calls: list[Any] = []
        due: dict[int, tuple[float, int]] = {}
        expected: list[tuple[float, int]] = []
        for turn, (step, n) in enumerate(steps):
            if step == "l":
                due[len(calls)] = (clock.seconds() + n, turn)
                calls.append(
                    clock.callLater(n, lambda i: said.append((clock.seconds(), i)), len(calls))
                )
            elif step == "a":
                until = clock.seconds() + n
                for i in sorted((i for i in due if due[i][0] <= until), key=due.__getitem__):
                    expected.append((due.pop(i)[0], i))
                clock.advance(n)
            elif due:
                i = [*due][n % len(due)]
                if step == "c":
                    calls[i].cancel()
                    del due[i]
                elif step == "r":
                    calls[i].reset(n)
                    due[i] = (clock.seconds() + n, turn)
                else:
                    calls[i].delay(n)
                    due[i] = (due[i][0] + n, turn)
            self.assertEqual(len(clock.getDelayedCalls()), len(due))
        self.assertEqual(said, expected)
