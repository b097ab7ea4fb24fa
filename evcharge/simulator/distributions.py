"""Distributions as scenarios write them: a number, or one of seven forms. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import NormalDist

import attrs

SAME = 1e-9
"""Shares add up to 1 when they are no further from it."""

_SMALLEST = 2.0**-54
"""Stands for a uniform of 0 where its logarithm is needed: half of the least one beside it."""

_MOST = 1e15
"""No figure is as large."""

_NORMAL = NormalDist()


def add_up(shares: Iterable[float]) -> bool:
    """Whether shares are a whole."""
    return abs(math.fsum(shares) - 1.0) <= SAME


def pick(shares: Sequence[tuple[str, float]], uniform: float) -> str:
    """
    The name that a uniform number falls upon.

    :param shares: names with their shares, which add up to 1.
    :param uniform: in [0, 1).
    """
    return shares[_place([share for _, share in shares], uniform)][0]


def _place(shares: Sequence[float], uniform: float) -> int:
    total = 0.0
    for number, share in enumerate(shares):
        total += share
        if uniform < total:
            return number
    # Shares may be a whole but for their last digit.
    return max(number for number, share in enumerate(shares) if share)


@attrs.frozen
class Distribution:
    """What a number is drawn from, by the inverse of its distribution."""

    form: str
    """`number`, or one of :data:`FORMS`."""
    figures: tuple[float, ...]
    """Its parameters; of a table, the values."""
    shares: tuple[float, ...] = ()
    """Of the values of a table."""

    def draw(self, uniform: float) -> float:
        """
        The value that belongs to a uniform number; the greater that is, the greater the value, but
        for a table, which has them in its own order.

        :param uniform: in [0, 1).
        """
        return _DRAWS[self.form](self, uniform)

    @property
    def least(self) -> float:
        """No draw is less."""
        if self.form in ("exponential", "weibull", "lognormal"):
            return 0.0
        return min(self.figures)

    @property
    def most(self) -> float:
        """No draw is more; infinite where there is no end to them."""
        if self.form in ("exponential", "weibull", "lognormal"):
            return math.inf
        return max(self.figures)

    @property
    def mean(self) -> float:
        """What draws are on average."""
        return _MEANS[self.form](self)


def number(value: float) -> Distribution:
    """Always that."""
    return Distribution("number", (value,))


def _triangular(of: Distribution, uniform: float) -> float:
    low, mode, high = of.figures
    span = high - low
    if uniform * span < mode - low:
        return low + math.sqrt(uniform * span * (mode - low))
    return high - math.sqrt((1.0 - uniform) * span * (high - mode))


def _lognormal(of: Distribution, uniform: float) -> float:
    median, sigma = of.figures
    return median * math.exp(sigma * _NORMAL.inv_cdf(max(uniform, _SMALLEST)))


_DRAWS: Mapping[str, Callable[[Distribution, float], float]] = {
    "number": lambda of, _: of.figures[0],
    "uniform": lambda of, u: of.figures[0] + (of.figures[1] - of.figures[0]) * u,
    "exponential": lambda of, u: -of.figures[0] * math.log1p(-u),
    "triangular": _triangular,
    "weibull": lambda of, u: of.figures[0] * (-math.log1p(-u)) ** (1.0 / of.figures[1]),
    "lognormal": _lognormal,
    "table": lambda of, u: of.figures[_place(of.shares, u)],
}

_MEANS: Mapping[str, Callable[[Distribution], float]] = {
    "number": lambda of: of.figures[0],
    "uniform": lambda of: sum(of.figures) / 2,
    "exponential": lambda of: of.figures[0],
    "triangular": lambda of: sum(of.figures) / 3,
    "weibull": lambda of: of.figures[0] * math.gamma(1.0 + 1.0 / of.figures[1]),
    "lognormal": lambda of: of.figures[0] * math.exp(of.figures[1] ** 2 / 2),
    "table": lambda of: math.fsum(v * s for v, s in zip(of.figures, of.shares, strict=True)),
}

FORMS: Mapping[str, tuple[str, ...]] = {
    "uniform": ("from", "to"),
    "exponential": ("mean",),
    "triangular": ("least", "most likely", "greatest"),
    "weibull": ("scale", "shape"),
    "lognormal": ("median", "sigma"),
    "table": (),
}
"""What a distribution may be called, and its parameters; those of a table are pairs."""


def read_distribution(value: object) -> Distribution:
    """
    Read a distribution.

    :param value: a number, or a table of one form such as `{uniform = [10, 75]}`.
    :raise ValueError: it is none; says why.
    """
    if _is_number(value):
        return number(float(value))  # type: ignore[arg-type]
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in FORMS:
        raise ValueError(f"must be a number, or a table of one of {', '.join(FORMS)}")
    ((form, given),) = value.items()
    if form == "table":
        return _read_table(given)
    words = FORMS[form]
    figures = given if isinstance(given, list) else [given]
    if len(figures) != len(words) or not all(map(is_figure, figures)):
        raise ValueError(f"{form}: must be {_wanted(words)}")
    found = Distribution(form, tuple(map(float, figures)))
    if form in ("uniform", "triangular") and sorted(found.figures) != list(found.figures):
        raise ValueError(f"{form}: {_wanted(words)} must be in order")
    if form in ("exponential", "weibull", "lognormal"):
        for word, figure in zip(words, found.figures, strict=True):
            if figure <= 0 and not (word == "sigma" and figure == 0):
                raise ValueError(f"{form}: the {word} must be over 0, not {figure:g}")
    return found


def _wanted(words: Sequence[str]) -> str:
    return f"[{', '.join(words)}]" if len(words) > 1 else f"a number, the {words[0]}"


def _read_table(given: object) -> Distribution:
    pairs = given if isinstance(given, list) else []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(is_figure, pair)):
            pairs = []
            break
    if not pairs:
        raise ValueError("table: must be a list of [value, share]")
    values, shares = zip(*pairs, strict=True)
    if min(shares) < 0:
        raise ValueError(f"table: a share is less than 0: {min(shares):g}")
    if not add_up(shares):
        raise ValueError(f"table: the shares add up to {math.fsum(shares):.12g}, not to 1")
    return Distribution("table", tuple(map(float, values)), tuple(map(float, shares)))


def _is_number(value: object) -> bool:
    # Integers of TOML may be too large for a float.
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_one and (abs(value) < _MOST or value == math.inf)  # type: ignore[arg-type]


def is_figure(value: object) -> bool:
    """Whether that is a number, as scenarios may have one: finite, and not too large."""
    return _is_number(value) and value != math.inf
