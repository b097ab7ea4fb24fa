"""
The simulator against systems of which the answer is known: losses, lines, and impatience.

`python benchmarks/known_answers.py` prints a Markdown table: what the formulas say, and what the
simulator's drivers met at the engine, with the 99 % interval over the replications. It exits with 1
where an answer lies outside. `--days` is the length of each replication: longer is narrower.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evcharge.simulator.distributions import Distribution, number  # noqa: E402
from evcharge.simulator.parts import Options  # noqa: E402
from evcharge.simulator.replication import Figures  # noqa: E402
from evcharge.simulator.scenario import Scenario  # noqa: E402
from evcharge.simulator.statistics import interval  # noqa: E402
from evcharge.simulator.world import run  # noqa: E402
from tests.support.simulations import CAR, one_station  # noqa: E402

CONFIDENCE = 0.99
WARM_UP_HOURS = 12.0
BIG_KWH = 1000.0
"""Of a battery of which a charge takes a small part, so that its length has no end."""
LEAST_PERCENT = 0.01


def exponential(slots: int, an_hour: float, minutes: float, days: int, **ways: Any) -> Scenario:
    """Charges whose length is exponential."""
    percent = minutes / 60.0 * 50.0 / BIG_KWH * 100.0
    return one_station(
        slots,
        an_hour,
        days,
        warm_up_hours=WARM_UP_HOURS,
        car={**CAR, "battery_capacity": BIG_KWH},
        start_percent=number(LEAST_PERCENT),
        target_percent=Distribution("exponential", (percent,)),
        **ways,
    )


def uniform(slots: int, an_hour: float, days: int, **ways: Any) -> Scenario:
    """Charges of 3.6 to 50.4 minutes, all equally likely."""
    return one_station(slots, an_hour, days, warm_up_hours=WARM_UP_HOURS, **ways)


def share(what: str) -> Callable[[Figures], float]:
    """Of those who were born."""
    return lambda figures: (figures[what] or 0.0) / (figures["born"] or 1.0)


def wait(figures: Figures) -> float:
    """The mean wait of all, minutes."""
    return figures["wait_mean"] or 0.0


def systems(days: int) -> Sequence[tuple[str, Scenario, str, Callable[[Figures], float], float]]:
    """Each with what is looked at, and what that is by the formulas."""
    endless = {"joins_queue": 1.0, "options": Options(queue_limit=1000)}
    lost, reneged = share("lost"), share("reneged")
    found = [
        ("M/G/c/c", uniform(c, a / 0.45, days), f"{c} EVSEs, {a} erlang: lost", lost, expected)
        for c, a, expected in (
            (4, 4.05, 0.315484), (6, 4.5, 0.154166), (6, 6.0, 0.264922), (8, 8.0, 0.235570),
            (10, 8.0, 0.121661),
        )
    ]  # fmt: skip
    for an_hour, expected in ((1.0, 13.8109), (1.6, 43.4057), (1.9, 99.5338)):
        scenario = uniform(1, an_hour, days * 4, **endless)
        found.append(("M/G/1", scenario, f"{an_hour} an hour: wait, min", wait, expected))
    fixed = uniform(1, 1.6, days * 4, start_percent=number(42.5), **endless)
    found.append(("M/D/1", fixed, "1.6 an hour: wait, min", wait, 34.7143))
    for c, an_hour, minutes, expected in (
        (1, 1.0, 30.0, 30.0), (2, 3.0, 30.0, 38.5714), (4, 8.0, 24.0, 17.8930),
        (6, 13.5, 20.0, 5.6220), (8, 17.28, 25.0, 21.9229),
    ):  # fmt: skip
        scenario = exponential(c, an_hour, minutes, days * 2, **endless)
        found.append(("M/M/c", scenario, f"{c} EVSEs, {an_hour} an hour: wait", wait, expected))
    for c, an_hour, minutes, patience, expected, waits in (
        (2, 5.0, 30.0, 20.0, 0.370102, 7.4020), (4, 12.0, 24.0, 15.0, 0.289602, 4.3440),
        (6, 20.0, 20.0, 30.0, 0.189640, 5.6892),
    ):  # fmt: skip
        ways = {**endless, "patience_minutes": Distribution("exponential", (patience,))}
        scenario = exponential(c, an_hour, minutes, days, **ways)
        what = f"{c} EVSEs, {an_hour} an hour: "
        found.append(("M/M/c+M", scenario, f"{what}reneged", reneged, expected))
        found.append(("M/M/c+M", scenario, f"{what}wait, min", wait, waits))
    for c, k, an_hour, minutes, expected in (
        (2, 4, 5.0, 30.0, 0.316776), (4, 8, 12.0, 24.0, 0.228925),
    ):  # fmt: skip
        ways = {"joins_queue": 1.0, "options": Options(queue_limit=k - c)}
        scenario = exponential(c, an_hour, minutes, days, **ways)
        found.append(("M/M/c/K", scenario, f"{c} EVSEs, {k} in all: lost", lost, expected))
    return found


def main() -> int:
    """Try each system; 1: an answer lies outside its interval."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument("--replications", type=int, default=20)
    parser.add_argument("--days", type=int, default=10, help="of each replication (10)")
    parser.add_argument("--only", default="", help="systems whose name has this in it")
    options = parser.parse_args()
    print("| system | figure | known | met | ± | inside |\n|---|---|---|---|---|---|", flush=True)
    is_outside = False
    for name, scenario, what, figure, expected in systems(options.days):
        if options.only not in name:
            continue
        met = [
            figure(run(scenario, each).figures["network"]) for each in range(options.replications)
        ]
        found = interval(met, CONFIDENCE)
        inside = found.low <= expected <= found.high
        is_outside = is_outside or not inside
        half = (found.high - found.low) / 2
        said = "yes" if inside else "**no**"
        print(f"| {name} | {what} | {expected:g} | {found.mean:.6g} | {half:.2g} | {said} |",
              flush=True)  # fmt: skip
    return int(is_outside)


if __name__ == "__main__":
    sys.exit(main())
