"""Frontiers: what is done to them, held against their definitions point by point."""

from bisect import bisect_left
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.planning.piecewise import (
    Frontier,
    PiecewiseLinear,
    charged,
    driven,
    is_lower,
    lowered,
    part,
    value_at,
    waited,
)
from tests.support.examples import examples, given
from tests.support.plans import curves

FULL = 20
STEP = 1 / 16
"""Beside each point, where jumps show."""


@st.composite
def frontiers(draw: st.DrawFn) -> Frontier:
    """Frontiers with flat parts, jumps, and ends anywhere; none jumps at its first charge."""
    xs = sorted(draw(st.lists(st.integers(0, FULL), min_size=1, max_size=6, unique=True)))
    ys, found = [float(draw(st.integers(0, 9)))], [float(xs[0])]
    for x in xs[1:]:
        found.append(float(x))
        ys.append(ys[-1] + draw(st.sampled_from([0.0, 0.25, 1.0, 3.0])))
        if x != xs[-1] and draw(st.booleans()):
            found.append(float(x))
            ys.append(ys[-1] + draw(st.sampled_from([0.5, 2.0])))
    return found, ys


def at(frontier: Frontier, x: float) -> float:
    """What a frontier is at a charge; above its end infinite."""
    return value_at(*frontier, x) if x <= frontier[0][-1] else float("inf")


def places(*frontiers: Frontier) -> list[float]:
    """Charges between which nothing of interest is, and some between."""
    found = {x + beside for xs, _ in frontiers for x in xs for beside in (-STEP, 0.0, STEP)}
    found |= {float(x) / 2 for x in range(2 * FULL + 1)}
    return sorted(found)


class FrontierTests(SynchronousTestCase):
    """Frontiers."""

    def rising(self, frontier: Frontier) -> None:
        """No frontier falls, or goes back."""
        for figures in frontier:
            for one, other in pairwise(figures):
                self.assertLessEqual(one, other + 1e-12)

    @settings(max_examples=examples(400))
    @given(frontiers(), frontiers())
    def test_lowered(self, old: Frontier, new: Frontier) -> None:
        """Of two it is the lower one everywhere; and beyond what is told the new one is nowhere
        the lower one."""
        found = lowered(*old, *new)
        low, high = (float("inf"), 0.0) if found is None else found[2:]
        for x in places(old, new):
            before, after = at(old, x), at(new, x)
            if found is not None:
                self.assertAlmostEqual(min(at(found[:2], x), 1e9), min(before, after, 1e9))
            if after < before - 1e-9:
                self.assertLessEqual(low, max(x, old[0][0], new[0][0]))
                self.assertGreaterEqual(high, min(x, high if x <= new[0][0] else x))
        if found is not None:
            self.rising(found[:2])
            kept = part(*new, low, high)
            self.rising(kept)
            for x in places(old, new):
                if low < x <= high:
                    self.assertAlmostEqual(at(kept, x), at(new, x))

    @settings(max_examples=examples(400))
    @given(frontiers(), frontiers(), st.sampled_from([0.0, 0.5]))
    def test_is_lower(self, old: Frontier, new: Frontier, more: float) -> None:
        """Whether any of it is lower is told of all charges that both have."""
        old = [*dict(zip(*old, strict=True))], [*dict(zip(*old, strict=True)).values()]
        new = part(*new, new[0][0], min(new[0][-1], old[0][-1]))
        first, last = new[0][0], new[0][-1]
        wanted = any(
            at(new, x) + more < at(old, x) - 1e-9 for x in places(old, new) if first <= x <= last
        )
        if first <= old[0][-1]:
            self.assertEqual(is_lower(*new, more, old), wanted)

    @settings(max_examples=examples(200))
    @given(frontiers(), st.integers(0, 12), st.integers(0, 5))
    def test_driven(self, frontier: Frontier, energy: int, floor: int) -> None:
        """After a drive there is less, at the cost of having had more; nothing is under the
        floor."""
        found = driven(*frontier, energy, 0.5, floor)
        if found is None:
            self.assertLess(frontier[0][-1], energy + floor)
            return
        self.rising(found)
        self.assertGreaterEqual(found[0][0], floor)
        for x in places(frontier):
            if x >= floor:
                self.assertAlmostEqual(
                    min(at(found, x), 1e9), min(at(frontier, x + energy) + 0.5, 1e9)
                )

    @settings(max_examples=examples(200))
    @given(frontiers(), st.integers(0, 12))
    def test_waited(self, frontier: Frontier, until: int) -> None:
        """Nobody goes on before it is free."""
        found = waited(*frontier, until)
        self.rising(found)
        for x in places(frontier):
            self.assertAlmostEqual(min(at(found, x), 1e9), min(max(at(frontier, x), until), 1e9))

    @settings(max_examples=examples(400), deadline=None)
    @given(frontiers(), curves(FULL), st.integers(1, FULL))
    def test_charged(self, frontier: Frontier, whole: PiecewiseLinear, most: int) -> None:
        """With each charge one leaves at the least cost of all with which one may arrive."""
        curve = whole.until(most)
        found = charged(*frontier, curve.xs, curve.ys, 0.25)
        first = frontier[0][0]
        if first >= most:
            self.assertIsNone(found)
            return
        assert found is not None
        self.rising(found)
        self.assertEqual((found[0][0], found[0][-1]), (first, most))
        arriving = sorted({*places(frontier), *curve.xs})
        for x in arriving:
            if first <= x <= most:
                from_there = [
                    curve(x) - curve(a) + at(frontier, a) for a in arriving if first <= a <= x
                ]
                self.assertAlmostEqual(at(found, x), 0.25 + min(from_there))


class FunctionTests(SynchronousTestCase):
    """Functions from point to point."""

    def test_wrong_points(self) -> None:
        """Points that no function goes through are refused, naming the one that is wrong."""
        for points, why in (
            ([(0, 0)], "two points"),
            ([(0, 0), (0, 1)], "point 2"),
            ([(0, 0), (5, 1), (9, 0.5)], "point 3"),
            ([(0, 0), (5, float("inf"))], "finite"),
        ):
            with self.assertRaisesRegex(ValueError, why):
                PiecewiseLinear.of(points)

    @given(curves(FULL), st.integers(1, FULL - 1))
    def test_until(self, curve: PiecewiseLinear, end: int) -> None:
        """A function that ends earlier is the same until then."""
        cut = curve.until(end)
        self.assertEqual(cut.xs[-1], end)
        for x in cut.xs:
            self.assertEqual(cut(x), curve(x))
        self.assertLess(bisect_left(curve.xs, end), len(curve.xs))
