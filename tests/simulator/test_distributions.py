"""Distributions: what they draw, and what is none."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.distributions import Distribution, pick, read_distribution

UNIFORM = st.floats(0, 1, exclude_max=True)
FIGURE = st.floats(0.01, 1000)


def forms() -> st.SearchStrategy[Any]:
    """A distribution of each form, as TOML has it."""
    pair = st.tuples(FIGURE, FIGURE).map(sorted)
    return st.one_of(
        FIGURE,
        pair.map(lambda p: {"uniform": p}),
        FIGURE.map(lambda mean: {"exponential": mean}),
        st.tuples(FIGURE, FIGURE, FIGURE).map(lambda t: {"triangular": sorted(t)}),
        st.tuples(FIGURE, st.floats(0.5, 5)).map(lambda t: {"weibull": list(t)}),
        st.tuples(FIGURE, st.floats(0, 1.5)).map(lambda t: {"lognormal": list(t)}),
    )


class DrawTests(SynchronousTestCase):
    """Draws go by the inverse of the distribution."""

    @given(forms(), UNIFORM, UNIFORM)
    def test_monotonic(self, form: Any, one: float, other: float) -> None:
        """A greater uniform number never draws less, and none draws beyond the ends."""
        found = read_distribution(form)
        low, high = found.draw(min(one, other)), found.draw(max(one, other))
        slack = 1e-9 * max(1.0, abs(high))
        self.assertLessEqual(low, high + slack)
        self.assertGreaterEqual(low, found.least - slack)
        self.assertLessEqual(high, found.most + slack)

    def test_quantiles(self) -> None:
        """Known quantiles of each."""
        for form, uniform, expected in (
            (7, 0.9, 7.0),
            ({"uniform": [10, 75]}, 0.5, 42.5),
            ({"exponential": 20}, 1 - math.exp(-1), 20.0),
            ({"triangular": [0, 5, 10]}, 0.5, 5.0),
            ({"triangular": [8, 25, 60]}, 17 / 52, 25.0),
            ({"triangular": [0, 0, 10]}, 0.75, 5.0),
            ({"triangular": [4, 4, 4]}, 0.3, 4.0),
            ({"weibull": [30, 2]}, 1 - math.exp(-1), 30.0),
            ({"lognormal": [6, 0.7]}, 0.5, 6.0),
            ({"lognormal": [1, 1]}, 0.8413447460685429, math.e),
        ):
            drawn = read_distribution(form).draw(uniform)
            self.assertAlmostEqual(drawn, expected, 9, str(form))

    def test_ends(self) -> None:
        """A uniform number of 0, and the last one before 1, draw something finite."""
        for form in ({"exponential": 5}, {"weibull": [5, 0.5]}, {"lognormal": [5, 1]}):
            for uniform in (0.0, 1 - 2**-53):
                self.assertTrue(math.isfinite(read_distribution(form).draw(uniform)), str(form))

    def test_table(self) -> None:
        """A table gives each value to its share, in its own order."""
        found = read_distribution({"table": [[80, 0.8], [100, 0.1], [60, 0.1]]})
        drawn = [found.draw((n + 0.5) / 100) for n in range(100)]
        self.assertEqual(drawn, [80.0] * 80 + [100.0] * 10 + [60.0] * 10)

    def test_table_to_the_end(self) -> None:
        """Shares that are a whole but for a digit leave nobody without a value, nor one of none."""
        found = read_distribution({"table": [[1, 0.1]] * 9 + [[2, 0.0999999999], [3, 0]]})
        self.assertEqual(found.draw(1 - 2**-53), 2.0)

    def test_pick(self) -> None:
        """A name has its share of the uniform numbers."""
        shares = (("time", 0.5), ("distance", 0.3), ("price", 0.2), ("habit", 0.0))
        drawn = [pick(shares, (n + 0.5) / 10) for n in range(10)]
        self.assertEqual(drawn, ["time"] * 5 + ["distance"] * 3 + ["price"] * 2)

    @given(forms())
    def test_mean(self, form: Any) -> None:
        """The mean is that of the draws."""
        found = read_distribution(form)
        steps = 20_000
        mean = math.fsum(found.draw((n + 0.5) / steps) for n in range(steps)) / steps
        self.assertAlmostEqual(mean / found.mean, 1.0, 1)


class ReadingTests(SynchronousTestCase):
    """What is no distribution is told why."""

    def why(self, value: Any) -> str:
        return str(self.assertRaises(ValueError, read_distribution, value))

    def test_mistakes(self) -> None:
        """Each form says what it wants."""
        any_of = (
            "must be a number, or a table of one of uniform, exponential, triangular, weibull, "
            "lognormal, table"
        )
        for value, expected in (
            ("20", any_of),
            (True, any_of),
            (math.nan, any_of),
            (10**400, any_of),
            ({}, any_of),
            ({"normal": [1, 2]}, any_of),
            ({"uniform": [1, 2], "exponential": 3}, any_of),
            ({"uniform": [1]}, "uniform: must be [from, to]"),
            ({"uniform": "1-2"}, "uniform: must be [from, to]"),
            ({"uniform": [2, 1]}, "uniform: [from, to] must be in order"),
            ({"exponential": []}, "exponential: must be a number, the mean"),
            ({"exponential": 0}, "exponential: the mean must be over 0, not 0"),
            ({"exponential": math.inf}, "exponential: must be a number, the mean"),
            (
                {"triangular": [1, 5, 3]},
                "triangular: [least, most likely, greatest] must be in order",
            ),
            ({"weibull": [3, 0]}, "weibull: the shape must be over 0, not 0"),
            ({"lognormal": [-6, 1]}, "lognormal: the median must be over 0, not -6"),
            ({"lognormal": [6, -1]}, "lognormal: the sigma must be over 0, not -1"),
            ({"table": []}, "table: must be a list of [value, share]"),
            ({"table": [[1, 0.5], [2]]}, "table: must be a list of [value, share]"),
            ({"table": [[1, 0.5], [2, 0.4]]}, "table: the shares add up to 0.9, not to 1"),
            ({"table": [[1, 1.5], [2, -0.5]]}, "table: a share is less than 0: -0.5"),
        ):
            self.assertEqual(self.why(value), expected, repr(value))

    def test_endless(self) -> None:
        """The number `inf` is one: patience that never ends."""
        self.assertEqual(read_distribution(math.inf), Distribution("number", (math.inf,)))
