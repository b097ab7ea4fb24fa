"""Luck: the same everywhere, and as it is said to be spread."""

import math
from itertools import pairwise
from statistics import fmean

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.streams import (
    KINDS,
    Distribution,
    choice,
    parts_of,
    poisson,
    uniforms,
)

DISTRIBUTIONS = {
    "number": Distribution.number(3.5),
    "uniform": Distribution("uniform", (10.0, 75.0)),
    "exponential": Distribution("exponential", (27.0,)),
    "triangular": Distribution("triangular", (8.0, 25.0, 60.0)),
    "weibull": Distribution("weibull", (30.0, 1.5)),
    "lognormal": Distribution("lognormal", (6.0, 0.7)),
    "table": Distribution("table", (80.0, 0.8, 100.0, 0.1, 60.0, 0.1)),
}


def draws(number: int) -> list[float]:
    return [uniforms(7, 0, "test", n)[0] for n in range(number)]


class UniformTests(SynchronousTestCase):
    """Uniform numbers."""

    def test_known(self) -> None:
        """They are the same on every machine."""
        self.assertEqual(uniforms(7, 0, "driver", 17, 3)[0], 0.2170303942331293)

    def test_keys(self) -> None:
        """Each part of the key counts, in its place."""
        keys = [(7, 0, "a", 1), (7, 1, "a", 1), (8, 0, "a", 1), (7, 0, "a", 2), (7, 0, "b", 1)]
        found = {uniforms(*key) for key in keys}
        self.assertEqual(len(found), len(keys))
        self.assertEqual(len(set(uniforms(7, 0, "a"))), 8)

    def test_spread(self) -> None:
        """They are spread evenly, and neighbours have nothing in common."""
        found = sorted(draws(20_000))
        n = len(found)
        off = max(abs((i + 1) / n - value) for i, value in enumerate(found))
        # The Kolmogorov-Smirnov distance that one in a thousand is above.
        self.assertLess(off, 1.95 / math.sqrt(n))
        pairs = draws(20_001)
        common = fmean((a - 0.5) * (b - 0.5) for a, b in pairwise(pairs)) * 12
        self.assertLess(abs(common), 0.03)


class PoissonTests(SynchronousTestCase):
    """Numbers of people."""

    def test_moments(self) -> None:
        """Mean and variance are the mean that was asked for, of few and of very many."""
        for mean in (0.3, 5.0, 75.0, 1200.0):
            parts = parts_of(mean)
            found = [
                poisson(mean, [uniforms(7, n, "n", part)[0] for part in range(parts)])
                for n in range(4000)
            ]
            average = fmean(found)
            variance = fmean((number - average) ** 2 for number in found)
            self.assertLess(abs(average - mean), 4 * math.sqrt(mean / 4000))
            self.assertLess(abs(variance / mean - 1), 0.12)

    def test_nobody(self) -> None:
        """Where nobody is expected nobody comes."""
        self.assertEqual((parts_of(0.0), poisson(0.0, [])), (0, 0))

    @given(st.floats(0, 480), st.floats(0, 20), st.floats(0, 1, exclude_max=True))
    def test_grows(self, mean: float, more: float, draw: float) -> None:
        """The same luck brings as many, or more, where more are expected."""
        self.assertLessEqual(poisson(mean, [draw]), poisson(mean + more, [draw]))


class DistributionTests(SynchronousTestCase):
    """Values that are drawn."""

    def test_means(self) -> None:
        """Each kind has the mean that it says."""
        self.assertEqual({*DISTRIBUTIONS}, {*KINDS})
        for name, each in DISTRIBUTIONS.items():
            found = [each.at(draw) for draw in draws(20_000)]
            self.assertLess(abs(fmean(found) / each.mean - 1), 0.03, name)

    @given(st.sampled_from(KINDS[:-1]), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
    def test_inverse(self, kind: str, draw: float, part: float) -> None:
        """A greater number gives no smaller value, and each a finite one."""
        each = DISTRIBUTIONS[kind]
        self.assertTrue(math.isfinite(each.at(draw)))
        self.assertLessEqual(each.at(draw * part), each.at(draw) + 1e-9)

    def test_known(self) -> None:
        """Some values, by hand."""
        for name, draw, value in (
            ("uniform", 0.5, 42.5),
            ("exponential", 1 - math.exp(-1), 27.0),
            ("triangular", 0.0, 8.0),
            ("triangular", 17 / 52, 25.0),
            ("lognormal", 0.5, 6.0),
            ("weibull", 1 - math.exp(-1), 30.0),
            ("table", 0.79, 80.0),
            ("table", 0.81, 100.0),
            ("table", 1 - 2**-53, 60.0),
        ):
            self.assertAlmostEqual(DISTRIBUTIONS[name].at(draw), value, 9)

    def test_choice(self) -> None:
        """One of several, by their shares; of none that has no share."""
        shares = {"time": 0.5, "distance": 0.3, "price": 0.2, "never": 0.0}
        found = [choice(shares, draw) for draw in (0.0, 0.49, 0.51, 0.81, 1 - 2**-53)]
        self.assertEqual(found, ["time", "time", "distance", "price", "price"])
