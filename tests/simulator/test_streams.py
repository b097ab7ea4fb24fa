"""Luck: the same everywhere, and spread evenly."""

import math
from itertools import pairwise
from statistics import fmean

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.streams import parts_of, poisson, uniforms


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

    def test_luck(self) -> None:
        """The greatest draw that there is brings many, and not as many as a float can count."""
        most = 1.0 - 2.0**-53
        self.assertEqual([poisson(mean, [most]) for mean in (0.1, 1.4, 499.6)], [10, 21, 693])

    @given(st.floats(0, 480), st.floats(0.001, 20), st.floats(0, 1 - 1e-9))
    def test_grows(self, mean: float, more: float, draw: float) -> None:
        """The same luck brings as many, or more, where more are expected: to nine digits."""
        self.assertLessEqual(poisson(mean, [draw]), poisson(mean + more, [draw]))
