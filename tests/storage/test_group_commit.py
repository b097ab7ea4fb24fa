"""Group commit: what shares a batch, what fails alone, what is tried again, who gives up."""

import math
from collections.abc import Callable, Sequence

from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.virtual_clock import VirtualClock
from evcharge.storage.group_commit import (
    MOST_AT_ONCE,
    MOST_GIVEN_UP,
    WATCH_S,
    GroupCommit,
    TryAgain,
    Unavailable,
)
from tests.support.examples import given


class GroupCommitTests(SynchronousTestCase):
    """A batch executor in the test's hands: each batch ends when the test says so."""

    def setUp(self) -> None:
        self.clock = VirtualClock()
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
        self.clock.advance(0.9)
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

    def carry_on(self, *bad: object) -> list[list]:
        """End the batches that come, those that have a bad operation badly; which there were."""
        seen = []
        while self.group.pending:
            seen.append(self.end_one(*bad))
        return seen

    def end_one(self, *bad: object) -> list:
        """End the batch that is under way, badly where it has a bad operation; which it was."""
        batch = self.last()
        if set(batch) & set(bad):
            self.end(ValueError(", ".join(map(str, batch))))
        else:
            self.end([f"did {operation}" for operation in batch])
        # Over the rest.
        self.clock.advance(0.01)
        return batch

    def test_breaks_alone(self) -> None:
        """An operation that breaks its batch breaks for itself alone, though nobody comes later."""
        self.submit("first")
        waiting = self.submit("good", "bad", "fine")
        self.end([None])
        self.assertEqual(
            self.carry_on("bad"),
            [["good", "bad", "fine"], ["good", "bad"], ["good"], ["bad"], ["fine"]],
        )
        self.assertEqual(self.successResultOf(waiting[0]), "did good")
        self.assertEqual(str(self.failureResultOf(waiting[1], ValueError).value), "bad")
        self.assertEqual(self.successResultOf(waiting[2]), "did fine")
        self.assertEqual([size for size, _, _ in self.told], [1, 3, 2, 1, 1, 1])

    def test_found_by_halves(self) -> None:
        """Wherever it is, it is found in two attempts a halving; the others get their results."""
        number = MOST_AT_ONCE
        for bad in (0, 1, number // 3, number // 2, number - 2, number - 1):
            self.setUp()
            self.submit("first")
            waiting = self.submit(*range(number))
            self.end([None])
            seen = self.carry_on(bad)
            self.assertLessEqual(len(seen) - 1, 2 * math.ceil(math.log2(number)))
            self.failureResultOf(waiting.pop(bad), ValueError)
            others = [n for n in range(number) if n != bad]
            self.assertEqual(
                [self.successResultOf(d) for d in waiting], [f"did {n}" for n in others]
            )

    def test_all_break(self) -> None:
        """Where all of them do, each of them is told, and nothing is left."""
        self.submit("first")
        waiting = self.submit(*range(21))
        self.end([None])
        self.carry_on(*range(21))
        for number, deferred in enumerate(waiting):
            self.assertEqual(str(self.failureResultOf(deferred, ValueError).value), str(number))

    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=8),
        st.lists(st.integers(0, 71), max_size=6),
    )
    def test_order(self, arrivals: list[int], bad: list[int]) -> None:
        """
        Whoever comes when, and whichever break, one that was submitted before another one is
        carried out before it, or in the same batch; and each is told what came of it.
        """
        self.setUp()
        waiting: list[Deferred] = []
        seen: list[list[int]] = []
        for count in arrivals:
            waiting += self.submit(*range(len(waiting), len(waiting) + count))
            seen.append(self.end_one(*bad))
        seen += self.carry_on(*bad)
        told = [batch for batch in seen if len(batch) == 1 or not set(batch) & set(bad)]
        self.assertEqual([n for batch in told for n in batch], list(range(len(waiting))))
        for number, deferred in enumerate(waiting):
            if number in bad:
                self.failureResultOf(deferred, ValueError)
            else:
                self.assertEqual(self.successResultOf(deferred), f"did {number}")

    def test_part_hangs(self) -> None:
        """Of a part that hangs, those set apart behind it are not left to wait for ever either."""
        self.submit("first")
        waiting = self.submit("bad", "fine", "good", "well")
        self.end([None])
        self.end(ValueError())
        self.assertEqual(self.last(), ["bad", "fine"])
        self.clock.pump([0.1] * 16)
        for deferred in waiting:
            self.failureResultOf(deferred, Unavailable)
        self.end(["late", "late"])
        self.assertEqual(self.group.pending, 0)

    def test_part_unavailable(self) -> None:
        """A part that finds the storage away fails so, and keeps no other from its result."""
        self.submit("first")
        waiting = self.submit("a", "b", "c", "d")
        self.end([None])
        self.end(ValueError())
        self.end(Unavailable("disk full"))
        self.end(["C", "D"])
        for deferred in waiting[:2]:
            self.failureResultOf(deferred, Unavailable)
        self.assertEqual([self.successResultOf(d) for d in waiting[2:]], ["C", "D"])

    def test_one_lost_patience(self) -> None:
        """When a batch ends after one of it was given up, the other one hears how, well or not."""
        for result in (["Early", "Late"], Unavailable("disk full")):
            self.setUp()
            self.submit("first")
            (early,) = self.submit("early")
            self.clock.pump([0.1] * 9)
            (late,) = self.submit("late")
            self.end([None])
            self.assertEqual(self.last(), ["early", "late"])
            self.clock.pump([0.1] * 7)
            self.failureResultOf(early, Unavailable)
            self.assertNoResult(late)
            self.end(result)
            if isinstance(result, Exception):
                self.failureResultOf(late, Unavailable)
            else:
                self.assertEqual(self.successResultOf(late), "Late")

    def test_number_of_results(self) -> None:
        """An executor that loses count leaves nobody waiting."""
        (one,) = self.submit("one")
        waiting = self.submit("a", "b")
        self.end([])
        self.failureResultOf(one, ValueError)
        self.end(["A"])
        self.end(["A"])
        self.end(["B"])
        self.assertEqual([self.successResultOf(d) for d in waiting], ["A", "B"])

    def test_unavailable(self) -> None:
        """A batch that cannot be carried out at all fails whole, at once."""
        self.submit("first")
        waiting = self.submit("a", "b")
        self.end([None])
        self.end(Unavailable("disk full"))
        for deferred in waiting:
            self.failureResultOf(deferred, Unavailable)
        self.assertEqual(len(self.batches), 2)

    def test_one_refused(self) -> None:
        """One that ends in an exception takes nothing from those of its batch."""
        self.submit("first")
        waiting = self.submit("a", "b", "c")
        self.end([None])
        self.end(["A", Unavailable("its file"), "C"])
        self.assertEqual(self.successResultOf(waiting[0]), "A")
        self.failureResultOf(waiting[1], Unavailable)
        self.assertEqual(self.successResultOf(waiting[2]), "C")
        self.assertEqual(len(self.batches), 2)

    def test_nobody_left(self) -> None:
        """A batch of which all have gone is neither carried out nor counted."""
        self.submit("first")
        for gone in self.submit("a", "b"):
            gone.addErrback(lambda _: None)
            gone.cancel()
        self.end([None])
        self.assertEqual((len(self.batches), len(self.told), self.group.pending), (1, 1, 0))
        (later,) = self.submit("later")
        self.end(["Later"])
        self.assertEqual(self.successResultOf(later), "Later")

    def test_one_watch(self) -> None:
        """However many batches there were, one watch looks after the patience of all."""
        for number in range(20):
            self.submit(number)
            self.end([None])
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(WATCH_S)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hangs_for_long(self) -> None:
        """While a batch hangs, nothing is kept of those who came later and were given up."""
        self.submit("hangs")[0].addErrback(lambda _: None)
        for _ in range(30):
            waiting = self.submit(*range(100))
            self.clock.pump([0.1] * 17)
            for deferred in waiting:
                self.failureResultOf(deferred, Unavailable)
            self.assertEqual(self.group.pending, 1)
        self.end([None])
        self.assertEqual((len(self.batches), self.group.pending), (1, 0))

    def test_given_up_in_turns(self) -> None:
        """Of very many who lose patience only some are given up in one turn of the reactor."""
        turns: list[list] = []
        turn = self.group._look

        def look() -> None:
            turns.append([])
            turn()

        self.group._look = look  # type: ignore[method-assign]
        self.submit("first")
        for deferred in self.submit(*range(2 * MOST_AT_ONCE)):
            deferred.addErrback(lambda failure: turns[-1].append(failure))
        self.end([None])
        self.clock.pump([0.1] * 17)
        sizes = [len(turn) for turn in turns if turn]
        self.assertEqual(sum(sizes), 2 * MOST_AT_ONCE)
        self.assertLessEqual(max(sizes), MOST_GIVEN_UP)

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
        self.end(TryAgain("no connection"))
        self.group.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
