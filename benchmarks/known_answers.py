"""
The simulator against systems of which the answer is known: losses, lines, impatience, the hours.

`python benchmarks/known_answers.py` prints a Markdown table: what the formulas say, and what the
simulator's drivers met at the engine, with the 99 % interval over the replications. Of so many
intervals one in a hundred misses its answer by chance. So what decides is another, wider interval,
by which all of them hold at once in 99 of 100 such tables (Bonferroni): with an answer outside of
that the program exits with 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evcharge.simulator.statistics import interval  # noqa: E402
from evcharge.simulator.world import run  # noqa: E402
from tests.support.known_answers import systems  # noqa: E402

CONFIDENCE = 0.99


def main() -> int:
    """Try each system; 1: an answer cannot be by chance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument("--replications", type=int, default=20)
    parser.add_argument("--arrivals", type=int, default=2500, help="in each of them (2500)")
    parser.add_argument("--only", default="", help="systems whose name has this in it")
    options = parser.parse_args()
    chosen = [system for system in systems(options.arrivals) if options.only in system.name]
    of = sum(len(system.answers) for system in chosen)
    print(
        "| system | | figure | known | met | ± | inside |\n|---|---|---|--:|--:|--:|---|",
        flush=True,
    )
    outside = impossible = 0
    for system in chosen:
        met: list[list[float]] = [[] for _ in system.answers]
        for number in range(options.replications):
            found = run(system.scenario, number)
            for values, answer in zip(met, system.answers, strict=True):
                values.append(answer.figure(system.scenario, found))
        for values, answer in zip(met, system.answers, strict=True):
            alone = interval(values, CONFIDENCE)
            together = interval(values, 1.0 - (1.0 - CONFIDENCE) / of)
            half = alone.high - alone.mean
            inside = alone.low <= answer.known <= alone.high
            outside += not inside
            impossible += not together.low <= answer.known <= together.high
            said = "yes" if inside else "no"
            print(
                f"| {system.name} | {system.of} | {answer.what} | {answer.known:g} | "
                f"{alone.mean:.6g} | {half:.2g} | {said} |",
                flush=True,
            )
    print(
        f"\n{outside} of {of} are outside of their interval, {of * (1 - CONFIDENCE):.1f} would be "
        f"by chance; {impossible} are too far outside for that."
    )
    return int(impossible > 0)


if __name__ == "__main__":
    sys.exit(main())
