"""What replications say together."""

import math
import random

from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.statistics import (
    batch_means,
    difference,
    interval,
    percentile,
    student_t,
)

DEGREES = (1, 2, 3, 9, 19, 120, 999)
# By SciPy 1.17.1, `t.ppf((1 + confidence) / 2, degrees)`; any printed table has them shorter.
STUDENT_T = {
    0.5: (
        1.0,
        0.8164965809277,
        0.7648923284043,
        0.7027221467513,
        0.687621460204,
        0.6765397249125,
        0.6747354103467,
    ),
    0.8: (
        3.0776835371753,
        1.8856180831641,
        1.6377443536962,
        1.3830287383966,
        1.3277282090268,
        1.2886462336564,
        1.2823995700374,
    ),
    0.9: (
        6.313751514675,
        2.9199855803537,
        2.3533634348018,
        1.8331129326562,
        1.7291328115214,
        1.6576508993552,
        1.6463803454275,
    ),
    0.95: (
        12.7062047361747,
        4.3026527297495,
        3.1824463052837,
        2.2621571627982,
        2.0930240544083,
        1.9799304050824,
        1.9623414611334,
    ),
    0.99: (
        63.6567411628715,
        9.9248432009183,
        5.8409093097334,
        3.2498355415921,
        2.860934606465,
        2.6174211451069,
        2.5807596372676,
    ),
    0.999: (
        636.6192487687898,
        31.5990545764454,
        12.923978636688,
        4.7809125859312,
        3.8834058525921,
        3.3734537685625,
        3.3002924403988,
    ),
    0.9999: (
        6366.197671316637,
        99.99249984375,
        28.00013001095,
        6.5936825839449,
        4.8974615888622,
        4.0253899500584,
        3.9063595611022,
    ),
}


class StudentTests(SynchronousTestCase):
    """Student's t without SciPy."""

    def test_table(self) -> None:
        """It is what SciPy has, to eleven digits, from one degree of freedom to a thousand."""
        for confidence, row in STUDENT_T.items():
            for degrees, expected in zip(DEGREES, row, strict=True):
                found = student_t(confidence, degrees)
                self.assertLess(abs(found / expected - 1), 1e-11, (confidence, degrees, found))


class IntervalTests(SynchronousTestCase):
    """A mean, and how far it may be from the truth."""

    def test_interval(self) -> None:
        """Five numbers have the interval that a hand comes to."""
        found = interval([4.0, 6.0, 5.0, 7.0, 8.0], 0.95)
        # s is √2.5, and t of four degrees 2.7764451051977934.
        self.assertAlmostEqual(found.mean, 6.0, 12)
        self.assertAlmostEqual(found.half_width or 0.0, 2.7764451051977934 * math.sqrt(0.5), 11)
        self.assertEqual((found.n, found.least, found.most), (5, 4.0, 8.0))
        self.assertAlmostEqual(found.high - found.low, 2 * (found.half_width or 0.0), 12)

    def test_one_number(self) -> None:
        """One replication has no interval, and not one of width 0."""
        found = interval([0.3], 0.95)
        self.assertEqual((found.mean, found.half_width, found.n), (0.3, None, 1))
        self.assertFalse(found.is_apart_from_0)

    def test_no_number(self) -> None:
        """Of nothing there is no mean."""
        self.assertRaises(ValueError, interval, [], 0.95)
        self.assertRaises(ValueError, percentile, [], 0.5)

    def test_coverage(self) -> None:
        """Of a thousand studies of a queue M/M/1, 93 to 97 % have the true wait in theirs."""
        random_ = random.Random(1)
        load, held = 0.3, 0
        true_wait = load / (1 - load)
        for _ in range(1000):
            waits = [_mean_wait(random_, load, drivers=150) for _ in range(10)]
            found = interval(waits, 0.95)
            held += found.low <= true_wait <= found.high
        self.assertGreaterEqual(held, 930)
        self.assertLessEqual(held, 970)


def _mean_wait(random_: random.Random, load: float, drivers: int) -> float:
    """Of one replication of M/M/1 that begins in its steady state; a service takes 1 on average."""
    wait = random_.expovariate(1 - load) if random_.random() < load else 0.0
    waits = []
    for _ in range(drivers):
        waits.append(wait)
        wait = max(0.0, wait + random_.expovariate(1.0) - random_.expovariate(load))
    return math.fsum(waits) / drivers


class DifferenceTests(SynchronousTestCase):
    """Variants that had the same drivers."""

    def test_paired(self) -> None:
        """What days have in common falls out of the difference, be they ever so different."""
        base, other = [0.10, 0.50, 0.90, 0.30], [0.08, 0.47, 0.88, 0.27]
        found = difference(base, other, 0.95)
        self.assertAlmostEqual(found.mean, -0.025, 12)
        self.assertTrue(found.is_apart_from_0)
        alone = interval(base, 0.95)
        self.assertLess(found.half_width or 1.0, (alone.half_width or 0.0) / 50)

    def test_bonferroni(self) -> None:
        """More comparisons make each interval wider: as a confidence of 0.99 for five of 0.95."""
        base, other = [1.0, 2.0, 4.0], [2.0, 2.5, 6.0]
        among_five = difference(base, other, 0.95, comparisons=5)
        alone = difference(base, other, 0.99)
        self.assertAlmostEqual(among_five.half_width or 0.0, alone.half_width or 1.0, 9)

    def test_not_apart(self) -> None:
        """Where 0 is inside, or nothing differs at all, they cannot be told apart."""
        self.assertFalse(difference([1.0, 2.0, 3.0], [2.0, 1.0, 3.5], 0.95).is_apart_from_0)
        self.assertFalse(difference([1.0, 2.0], [1.0, 2.0], 0.95).is_apart_from_0)
        self.assertFalse(difference([1.0], [2.0], 0.95).is_apart_from_0)

    def test_other_numbers_of_replications(self) -> None:
        """Pairs are of the same replications, so there are as many of both."""
        self.assertRaises(ValueError, difference, [1.0, 2.0], [1.0], 0.95)


class BatchTests(SynchronousTestCase):
    """One long run."""

    def test_batches(self) -> None:
        """Twenty batches of a run without memory have its mean, and neighbours that differ."""
        random_ = random.Random(3)
        found = batch_means([random_.random() for _ in range(20_000)], 0.95)
        self.assertEqual(found.interval.n, 20)
        self.assertLess(abs(found.interval.mean - 0.5), 0.01)
        self.assertFalse(found.is_too_short)

    def test_too_short(self) -> None:
        """A run that drifts as slowly as it is long is told to be too short."""
        found = batch_means([math.sin(step / 100) for step in range(600)], 0.95)
        self.assertGreater(found.correlation, 0.7)
        self.assertTrue(found.is_too_short)

    def test_alternating(self) -> None:
        """Neighbours that are opposite correlate by nearly -1; those that never differ, by 0."""
        self.assertAlmostEqual(batch_means([1.0, -1.0] * 10, 0.95).correlation, -0.95, 9)
        self.assertEqual(batch_means([2.0] * 40, 0.95).correlation, 0.0)

    def test_remainder(self) -> None:
        """What is too many for batches of the same size is left out where the run begins."""
        self.assertEqual(batch_means([100.0, *[1.0] * 40], 0.95).interval.mean, 1.0)
        self.assertRaises(ValueError, batch_means, [1.0] * 19, 0.95)


class PercentileTests(SynchronousTestCase):
    """Exact percentiles."""

    def test_percentile(self) -> None:
        """A percentile is a value that somebody had, in whatever order they are given."""
        waits = [float(number) for number in range(1, 21)]
        random.Random(5).shuffle(waits)
        for share, expected in ((0.0, 1), (0.5, 10), (0.9, 18), (0.95, 19), (0.99, 20), (1.0, 20)):
            self.assertEqual(percentile(waits, share), expected, share)
        self.assertEqual(percentile([7.0], 0.5), 7.0)
