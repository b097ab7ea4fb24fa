"""Group commit: what shares a batch, what fails alone, what is tried again, who gives up."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage.group_commit import MOST_AT_ONCE, GroupCommit, TryAgain, Unavailable


class GroupCommitTests(SynchronousTestCase):
    """A batch executor in the test's hands: each batch ends when the test says so."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.batches: list[tuple[list, Deferred]] = []
        self.interrupts = 0
        self.told: list[tuple[int, float, int]] = []
        self.group = GroupCommit(
            self.execute,
            self.in_thread,
            self.clock,
            1.5,
            lambda start: start(),
            self.interrupt,
            lambda *told: self.told.append(told),
        )

    def execute(self, operations: Sequence) -> Sequence:
        raise AssertionError("called by in_thread only")

    def in_thread(self, f: object, operations: list) -> Deferred:
        self.assertEqual(f, self.execute)
        self.batches.append((operations, Deferred()))
        return self.batches[-1][1]

    def interrupt(self) -> None:
        self.interrupts += 1

    def submit(self, *operations: object) -> list[Deferred]:
        return [self.group.submit(operation) for operation in operations]

    def last(self) -> list:
        return self.batches[-1][0]

    def end(self, result: object) -> None:
        """End the batch that is under way."""
        done = self.batches[-1][1]
        if isinstance(result, Exception):
            done.errback(Failure(result))
        else:
            done.callback(result)

    def test_shared(self) -> None:
        """What arrives while a batch is under way shares the next one; results are in order."""
        (first,) = self.submit("a")
        rest = self.submit("b", "c", "d")
        self.assertEqual(len(self.batches), 1)
        self.end(["A"])
        self.assertEqual(self.successResultOf(first), "A")
        self.assertEqual(self.last(), ["b", "c", "d"])
        self.end(["B", KeyError("c"), "D"])
        self.assertEqual(self.successResultOf(rest[0]), "B")
        self.failureResultOf(rest[1], KeyError)
        self.assertEqual(self.successResultOf(rest[2]), "D")
        self.assertEqual((len(self.batches), self.group.pending), (2, 0))

    def test_soon(self) -> None:
        """A batch starts when it is told to, with all that has come by then."""
        starts: list[Callable[[], None]] = []
        self.group = GroupCommit(self.execute, self.in_thread, self.clock, 1.5, starts.append)
        waiting = self.submit("a", "b")
        self.assertEqual((self.batches, len(starts)), ([], 1))
        starts.pop()()
        self.assertEqual(self.last(), ["a", "b"])
        waiting += self.submit("c")
        self.end(["A", "B"])
        starts.pop()()
        self.assertEqual(self.last(), ["c"])
        self.end(["C"])
        self.assertEqual([self.successResultOf(d) for d in waiting], ["A", "B", "C"])
        self.assertEqual(starts, [])

    def took(self, seconds: float) -> None:
        """Have a batch of two be carried out for a while, and end."""
        self.submit("first")
        self.submit("b", "c")
        self.end([None])
        self.assertEqual(self.last(), ["b", "c"])
        self.clock.advance(seconds)
        self.end(["B", "C"])

    def test_rests(self) -> None:
        """After a batch of several there is a rest as long as it took, but not a long one."""
        for took, rest in ((0.004, 0.004), (0.5, 0.01)):
            self.took(took)
            waiting = self.submit("d", "e")
            self.clock.advance(rest - 0.001)
            self.assertEqual(self.last(), ["b", "c"])
            self.clock.advance(0.0011)
            self.assertEqual(self.last(), ["d", "e"])
            self.end(["D", "E"])
            self.assertEqual([self.successResultOf(d) for d in waiting], ["D", "E"])
            self.clock.advance(1)

    def test_most(self) -> None:
        """A batch has a bound; what is over goes with the next."""
        self.submit("first", *range(MOST_AT_ONCE + 1))
        self.end([None])
        self.assertEqual(len(self.last()), MOST_AT_ONCE)
        self.end([None] * MOST_AT_ONCE)
        self.assertEqual(self.last(), [MOST_AT_ONCE])

    def test_tried_again(self) -> None:
        """A batch that met a conflict is tried again whole: at once, then after growing pauses."""
        self.submit("a")
        waiting = self.submit("b", "c")
        self.end(["A"])
        self.end(TryAgain("conflict"))
        for attempt, pause in enumerate((0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.25), 3):
            if pause:
                self.clock.advance(pause - 0.005)
                self.assertEqual(len(self.batches), attempt - 1)
            self.clock.advance(0.006)
            self.assertEqual((len(self.batches), self.last()), (attempt, ["b", "c"]))
            if pause < 0.25:
                self.end(TryAgain("conflict"))
        self.end(["B", "C"])
        self.assertEqual([self.successResultOf(d) for d in waiting], ["B", "C"])

    def test_gives_up(self) -> None:
        """What cannot be done in time fails as unavailable, and who comes later is served."""
        waiting = self.submit("a", "b")
        while not waiting[0].called:
            self.end(TryAgain("no connection"))
            self.clock.advance(0.25)
        self.assertGreaterEqual(self.clock.seconds(), 1.5)
        self.assertLess(self.clock.seconds(), 2.0)
        for deferred in waiting:
            self.assertIn("no connection", self.failureResultOf(deferred, Unavailable).value.args)
        (later,) = self.submit("c")
        self.clock.advance(0.25)
        while self.last() != ["c"]:
            self.end(TryAgain("no connection"))
            self.clock.advance(0.25)
        self.end(["C"])
        self.assertEqual(self.successResultOf(later), "C")

    def test_stuck(self) -> None:
        """A batch that hangs is interrupted; nobody waits for it longer than the patience."""
        (first,) = self.submit("a")
        self.clock.advance(0.7)
        (second,) = self.submit("b")
        self.clock.pump([0.1] * 8)
        self.failureResultOf(first, Unavailable)
        self.assertNoResult(second)
        self.assertTrue(self.interrupts)
        self.clock.pump([0.1] * 8)
        self.failureResultOf(second, Unavailable)
        self.end(["late"])
        (third,) = self.submit("c")
        self.assertEqual(self.last(), ["c"])
        self.end(["C"])
        self.assertEqual(self.successResultOf(third), "C")

    def test_breaks_alone(self) -> None:
        """An operation that breaks its batch breaks for itself alone."""
        self.submit("first")
        waiting = self.submit("good", "bad", "fine")
        self.end([None])
        self.end(ValueError("in it somewhere"))
        (later,) = self.submit("later")
        self.assertEqual(self.last(), ["good"])
        self.end(["Good"])
        self.assertEqual(self.last(), ["bad"])
        self.end(ValueError("here"))
        self.assertEqual(self.last(), ["fine"])
        self.end(["Fine"])
        self.assertEqual(self.last(), ["later"])
        self.end(["Later"])
        self.assertEqual(self.successResultOf(waiting[0]), "Good")
        self.failureResultOf(waiting[1], ValueError)
        self.assertEqual(self.successResultOf(waiting[2]), "Fine")
        self.assertEqual(self.successResultOf(later), "Later")

    def test_unavailable(self) -> None:
        """A batch that cannot be carried out at all fails whole, at once."""
        self.submit("first")
        waiting = self.submit("a", "b")
        self.end([None])
        self.end(Unavailable("disk full"))
        for deferred in waiting:
            self.failureResultOf(deferred, Unavailable)
        self.assertEqual(len(self.batches), 2)

    def test_cancelled(self) -> None:
        """What nobody waits for any more is left out of the next attempt."""
        self.submit("first")
        gone, stays = self.submit("gone", "stays")
        gone.addErrback(lambda _: None)
        gone.cancel()
        self.end([None])
        self.assertEqual(self.last(), ["stays"])
        self.end(["Stays"])
        self.assertEqual(self.successResultOf(stays), "Stays")

    def test_told(self) -> None:
        """Each batch is told of with its size, time and attempts, and also one all gave up on."""
        self.submit("first")
        self.clock.advance(0.25)
        waiting = self.submit("second", "third")
        self.end([None])
        self.assertEqual(self.told, [(1, 0.25, 1)])
        while len(self.told) < 2:
            self.end(TryAgain("no connection"))
            self.clock.advance(0.25)
        for deferred in waiting:
            self.failureResultOf(deferred, Unavailable)
        size, seconds, attempts = self.told[1]
        self.assertEqual((size, attempts), (2, len(self.batches) - 1))
        self.assertGreaterEqual(seconds, 1.5)

    def test_close(self) -> None:
        """Closed, it leaves no call behind."""
        self.submit("a")
        self.group.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
