"""
Functions that are linear from point to point: how long a charge takes, and what it costs at the
least to be somewhere with so much charge. Pure.

A **frontier** is the second kind, as two lists: charges, growing, and costs, never falling. It says
what it costs to be there with *at least* that much: so it is flat below its first charge, and there
is nothing above its last one. Two points at one charge are a jump; there the lower one holds, as
one has that much with it, and just above it the other. All that is done to frontiers here is exact.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf, isfinite

import attrs

NOTHING_KWH = 1e-9
"""Charges that differ by no more are one."""

SAME_H = 1e-11
"""Costs that differ by no more are one. Much less than what a tie is decided by."""

Frontier = tuple[list[float], list[float]]
"""Charges, kWh, and costs, hours."""


@attrs.frozen
class PiecewiseLinear:
    """
    A continuous function that grows from point to point, such as the hours of a charge from empty.

    ValueError where it does not: names the point.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def __attrs_post_init__(self) -> None:
        if len(self.xs) != len(self.ys) or len(self.xs) < 2:
            raise ValueError("there must be two points or more, each with two numbers")
        if not all(map(isfinite, (*self.xs, *self.ys))):
            raise ValueError("each number must be finite")
        for number, ((x, y), (next_x, next_y)) in enumerate(pairwise(self.points), 2):
            if next_x <= x or next_y < y:
                raise ValueError(
                    f"point {number} must come after the one before, and be no lower, "
                    f"not go from {x:g}, {y:g} to {next_x:g}, {next_y:g}"
                )

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> PiecewiseLinear:
        """That through points."""
        xs, ys = zip(*points, strict=True)
        return cls(tuple(map(float, xs)), tuple(map(float, ys)))

    @property
    def points(self) -> list[tuple[float, float]]:
        return list(zip(self.xs, self.ys, strict=True))

    def __call__(self, x: float) -> float:
        """Its value; beyond its ends that of the end."""
        return value_at(self.xs, self.ys, min(x, self.xs[-1]))

    def until(self, x: float) -> PiecewiseLinear:
        """That part of it that ends at `x`, which is after its first point."""
        number = bisect_left(self.xs, x)
        if number == len(self.xs):
            return self
        return PiecewiseLinear((*self.xs[:number], x), (*self.ys[:number], self(x)))

    @property
    def least_slope(self) -> float:
        """How much it grows at the least for one more of `x`."""
        return min((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(self.points))


def value_at(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """What a frontier is at `x`, which is not above its last charge."""
    at = bisect_left(xs, x)
    if at == 0 or xs[at] == x:
        return ys[at]
    before = at - 1
    left, low = xs[before], ys[before]
    return low + (ys[at] - low) * ((x - left) / (xs[at] - left))


def part(xs: Sequence[float], ys: Sequence[float], low: float, high: float) -> Frontier:
    """
    A frontier from `low` to `high`, which are within it.

    Where it jumps at `low`, it begins above the jump: what is below belongs to what is left out.
    """
    first, last = bisect_right(xs, low), bisect_left(xs, high)
    if low <= xs[0]:
        # Where it jumps at once the lower point is what it has below.
        first, head, value = 0, [], []
    elif xs[first - 1] == low:
        head, value = [low], [ys[first - 1]]
    else:
        head, value = [low], [value_at(xs, ys, low)]
    if high <= low:
        return [high], [value[0] if value else ys[0]]
    return (
        [*head, *xs[first:last], high],
        [*value, *ys[first:last], value_at(xs, ys, high)],
    )


def driven(
    xs: Sequence[float], ys: Sequence[float], energy: float, cost: float, floor: float
) -> Frontier | None:
    """A frontier after a drive; None where nobody arrives with `floor` or more."""
    lowest = floor + energy
    if xs[-1] < lowest:
        if xs[-1] < lowest - NOTHING_KWH:
            return None
        return [floor], [ys[-1] + cost]
    if xs[0] >= lowest:
        return [x - energy for x in xs], [y + cost for y in ys]
    at = bisect_left(xs, lowest)
    before = at - 1
    left, low = xs[before], ys[before]
    begin = low + (ys[at] - low) * ((lowest - left) / (xs[at] - left))
    if xs[at] == lowest:
        # The point itself, and above a jump at it nothing is lost.
        at += 1
    return (
        [floor, *[x - energy for x in xs[at:]]],
        [begin + cost, *[y + cost for y in ys[at:]]],
    )


def waited(xs: list[float], ys: list[float], until: float) -> Frontier:
    """A frontier whose cost is the clock, after waiting until then."""
    if ys[0] >= until:
        return xs, ys
    at = bisect_left(ys, until)
    if at == len(ys):
        return [xs[0], xs[-1]], [until, until]
    left, low = xs[at - 1], ys[at - 1]
    met = left + (xs[at] - left) * ((until - low) / (ys[at] - low))
    return [xs[0], met, *xs[at:]], [until, until, *ys[at:]]


def charged(
    xs: Sequence[float],
    ys: Sequence[float],
    curve_xs: Sequence[float],
    curve_ys: Sequence[float],
    stop: float,
) -> Frontier | None:
    """
    A frontier after a charge: for each charge on leaving the least over all those of arriving.

    It is `curve(s) + min over a <= s of (F(a) + stop - curve(a))`. The minimum is at a kink of
    either function, as power may rise: what it comes from is followed from kink to kink.

    :param curve_xs: the charges of the curve, from nothing to the most that is charged.
    :param curve_ys: what it costs to be charged so far from nothing.
    :param stop: what stopping costs.
    :return: None where there is nothing left to charge.
    """
    x, most, last = xs[0], curve_xs[-1], xs[-1]
    if x >= most - NOTHING_KWH:
        return None
    k = bisect_right(curve_xs, x)
    curve_x, curve_y = curve_xs[k], curve_ys[k]
    before_x, before_y = curve_xs[k - 1], curve_ys[k - 1]
    curve_slope = (curve_y - before_y) / (curve_x - before_x)
    curve = before_y + curve_slope * (x - before_x)
    gap = least = ys[0] - curve
    found_x, found_y = [x], [ys[0] + stop]
    append_x, append_y = found_x.append, found_y.append
    i, count = 1, len(xs)
    while i < count:
        # From x to the next kink of either, on which both are linear.
        next_x, next_y = xs[i], ys[i]
        if next_x == x:
            gap = next_y - curve
            i += 1
            continue
        if curve_x < next_x:
            y = curve + gap
            next_y = y + (next_y - y) * ((curve_x - x) / (next_x - x))
            next_x, next_curve, at_kink = curve_x, curve_y, True
        else:
            at_kink = next_x == curve_x
            next_curve = curve_y if at_kink else curve + curve_slope * (next_x - x)
            i += 1
        next_gap = next_y - next_curve
        if next_gap < least - SAME_H:
            if gap > least:
                # Up to here one charges from where the least was, from here on it is left.
                share = (gap - least) / (gap - next_gap)
                append_x(x + (next_x - x) * share)
                append_y(curve + (next_curve - curve) * share + least + stop)
            elif found_x[-1] < x:
                append_x(x)
                append_y(curve + least + stop)
            least = next_gap
            append_x(next_x)
            append_y(next_curve + least + stop)
        elif at_kink:
            append_x(next_x)
            append_y(next_curve + least + stop)
        x, curve, gap = next_x, next_curve, next_gap
        if at_kink:
            k += 1
            if k == len(curve_xs):
                break
            before_x, before_y = curve_x, curve_y
            curve_x, curve_y = curve_xs[k], curve_ys[k]
            curve_slope = (curve_y - before_y) / (curve_x - before_x)
    if last < most:
        rest = bisect_right(curve_xs, last)
        least += stop
        found_x += curve_xs[rest:]
        found_y += [y + least for y in curve_ys[rest:]]
    return found_x, found_y


def is_lower(
    xs: Sequence[float],
    ys: Sequence[float],
    more: float,
    old: tuple[Sequence[float], Sequence[float]],
) -> bool:
    """
    Whether a frontier, with so much more of cost, is lower than an old one at any of its charges.

    Between kinks of either both are linear, so it is so at one of them, if anywhere.

    :param old: has no jumps, as no frontier of leaving a station has.
    """
    old_xs, old_ys = old
    more += SAME_H
    first, last, end = xs[0], xs[-1], old_xs[-1]
    at = begin = bisect_left(old_xs, first)
    for x, y in zip(xs, ys, strict=True):
        if x > end:
            break
        while old_xs[at] < x:
            at += 1
        value = old_ys[at]
        if at and old_xs[at] > x:
            left, low = old_xs[at - 1], old_ys[at - 1]
            value = low + (value - low) * ((x - left) / (old_xs[at] - left))
        if y + more < value:
            return True
    at, count = 0, len(old_xs)
    while begin < count and old_xs[begin] < last:
        x = old_xs[begin]
        while xs[at] < x:
            at += 1
        value = ys[at]
        if at and xs[at] > x:
            left, low = xs[at - 1], ys[at - 1]
            value = low + (value - low) * ((x - left) / (xs[at] - left))
        if value + more < old_ys[begin]:
            return True
        begin += 1
    return False


def lowered(
    old_xs: list[float], old_ys: list[float], new_xs: list[float], new_ys: list[float]
) -> tuple[list[float], list[float], float, float] | None:
    """
    The lower one of two frontiers at each charge.

    :return: it, and the least and the most charge at which the new one is lower than the old one;
        None where it is so nowhere. Where one ends that is below the other, the other begins just
        above the end: there is a jump.
    """
    i = j = 0
    old_count, new_count = len(old_xs), len(new_xs)
    old_x, new_x = old_xs[0], new_xs[0]
    # At x, or just above it.
    old, new = old_ys[0], new_ys[0]
    old_slope = new_slope = 0.0
    x = old_x if old_x < new_x else new_x
    xs: list[float] = []
    ys: list[float] = []
    low, high = inf, -inf
    begins_new = new < old - SAME_H
    if begins_new:
        low = high = x
    while True:
        # From x, which is done, to the next point of either, on which both are linear.
        next_x = old_x if old_x < new_x else new_x
        width = next_x - x
        next_old = old_ys[i] if old_x == next_x else old + old_slope * width
        next_new = new_ys[j] if new_x == next_x else new + new_slope * width
        lead = next_new - next_old
        is_new = lead < -SAME_H
        if begins_new or is_new:
            if begins_new and x < low:
                low = x
            if begins_new is not is_new:
                met = _crossing(x, new - old, next_x, lead)
                if is_new:
                    low = met if met < low else low
                else:
                    high = met
                if x < met < next_x:
                    xs.append(met)
                    ys.append(new + (next_new - new) * ((met - x) / width))
            if is_new:
                high = next_x
        # A point of what is above there is none of the lower one's.
        if is_new:
            if new_x == next_x:
                xs.append(next_x)
                ys.append(next_new)
        elif old_x == next_x or lead <= SAME_H:
            xs.append(next_x)
            ys.append(next_new if lead < 0.0 else next_old)
        x, old, new = next_x, next_old, next_new
        if old_x == x:
            i += 1
            while i < old_count and old_xs[i] == x:
                i += 1
            old = old_ys[i - 1]
            if i < old_count:
                old_x = old_xs[i]
                old_slope = (old_ys[i] - old) / (old_x - x)
            else:
                old = inf
        if new_x == x:
            j += 1
            while j < new_count and new_xs[j] == x:
                j += 1
            new = new_ys[j - 1]
            if j < new_count:
                new_x = new_xs[j]
                new_slope = (new_ys[j] - new) / (new_x - x)
            else:
                new = inf
        above = new if new < old else old
        if xs and xs[-1] == x and ys[-1] < above < inf:
            xs.append(x)
            ys.append(above)
        if old == inf or new == inf:
            break
        begins_new = new < old - SAME_H
    if j < new_count:
        # There is no more of the old one.
        low, high = (x if x < low else low), new_xs[-1]
        xs += new_xs[j:]
        ys += new_ys[j:]
    else:
        xs += old_xs[i:]
        ys += old_ys[i:]
    return None if low > high else (xs, ys, low, high)


def _crossing(x: float, lead: float, next_x: float, next_lead: float) -> float:
    """Where a difference of two frontiers, which is linear between, is 0; else where it is less."""
    if lead * next_lead < 0.0:
        return x + (next_x - x) * (lead / (lead - next_lead))
    return x if next_lead < lead else next_x
