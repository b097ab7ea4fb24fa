"""The line at a station is the queue of the textbook."""

import math
import random
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.queueing import ROWS, Queue, batches, erlang_b
from benchmarks.queues import Held, Run, one
from evcharge.simulator.statistics import interval, student_t


class TheoryTests(SynchronousTestCase):
    """The formulas, and intervals."""

    def test_published(self) -> None:
        """Each figure of six queues, as another program has worked them out."""
        for queue, *right in (
            (Queue(1, 0.5, 30), 1.0, 0.5, 30.0, 0.5, 0.423241),
            (Queue(1, 0.8, 30), 1.6, 0.8, 120.0, 3.2, 0.748406),
            (Queue(2, 1.5, 30), 3.0, 0.642857, 38.5714, 1.92857, 0.544167),
            (Queue(4, 3.2, 24), 8.0, 0.596432, 17.8930, 2.38573, 0.427363),
            (Queue(6, 4.5, 20), 13.5, 0.421652, 5.6220, 1.26496, 0.199174),
            (Queue(8, 7.2, 25), 17.28, 0.701533, 21.9229, 6.31380, 0.509418),
        ):
            self.assertIn(queue, ROWS)
            found = (
                queue.arrivals_per_h,
                queue.share_waiting,
                queue.wait_min,
                queue.length,
                queue.share_over(10.0),
            )
            for figure, value, digits in zip(found, right, (2, 6, 4, 5, 6), strict=True):
                self.assertEqual(round(figure, digits), value, queue)

    def test_blocking(self) -> None:
        """Erlang's B, by its sum: of one, two and three servers."""
        for servers in (1, 2, 3):
            terms = [0.8**count / math.factorial(count) for count in range(servers + 1)]
            self.assertAlmostEqual(erlang_b(servers, 0.8), terms[-1] / sum(terms), 14)

    def test_quantiles(self) -> None:
        """Student's t, as printed in tables."""
        for degrees, confidence, t in (
            (1, 0.99, 63.657),
            (2, 0.99, 9.925),
            (9, 0.99, 3.250),
            (59, 0.99, 2.662),
            (10, 0.95, 2.228),
            (19, 0.9, 1.729),
        ):
            self.assertEqual(round(student_t(confidence, degrees), 3), t)

    def test_interval(self) -> None:
        """It has the true mean as often as it says, and not much more often."""
        chance = random.Random(1)
        tries = [interval([chance.gauss(3.0, 1.0) for _ in range(5)], 0.9) for _ in range(2000)]
        share = sum(found.low <= 3.0 <= found.high for found in tries) / len(tries)
        self.assertTrue(0.88 <= share <= 0.92, share)
        self.assertEqual(batches([1.0, 3.0, 5.0, 7.0, 9.0], 2), [2.0, 6.0])


class LineTests(SynchronousTestCase):
    """The project's own list, driven through its operations by a clock of their own."""

    def held(self, runs: Sequence[Run]) -> str:
        return "\n".join(Held.of(ROWS[2], runs, 10).problems)

    def test_erlang(self) -> None:
        """
        Two EVSEs: the share who wait, the mean wait and the mean length are Erlang's, and each wait
        is as was expected at joining.
        """
        run = one(ROWS[2], 3000, seed=1)
        self.assertEqual(self.held([run]), "")
        self.assertEqual(len(run.waits), 3000)

    def test_wrong(self) -> None:
        """Other waits, another length, and another order are found."""
        run = one(ROWS[2], 500, seed=1)
        self.assertEqual(self.held([run]), "")
        late = [wait + 3600.0 for wait in run.waits]
        self.assertIn("W should be 38.5714", self.held([Run(run.arrivals, late, run.areas)]))
        self.assertIn("Little's law", self.held([Run(run.arrivals, late, run.areas)]))
        more = [[*parts, 3600.0] for parts in run.areas]
        self.assertIn("L should be 1.9286", self.held([Run(run.arrivals, run.waits, more)]))
        run.overtaken = 2
        self.assertIn("2 were offered an EVSE before their turn", self.held([run]))
        run.most_off = 0.01
        self.assertIn("a charge was off by 0.01", self.held([run]))
        run.most_wrong_s = 1.0
        self.assertIn("a turn was expected 1 s off", self.held([run]))
