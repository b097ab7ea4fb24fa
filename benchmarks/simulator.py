"""
How fast the simulator is, beside real time and beside the engine that it drives; and its memory.

`python benchmarks/simulator.py` prints a Markdown table. Each figure is the best of some rounds, in
CPU seconds, but for the workers', which need two free cores, and are by the clock on the wall. With
`--days 365` the memory is that of a year, which takes a while.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evcharge.simulator import study, world  # noqa: E402
from evcharge.simulator.executors import here  # noqa: E402
from evcharge.simulator.plans import plan_of  # noqa: E402
from evcharge.simulator.scenario import Scenario, read  # noqa: E402
from evcharge.simulator.tree import setting  # noqa: E402
from evcharge.simulator.world import World  # noqa: E402

DAY_S = 86400.0


def weekday(drivers: int, **keys: int) -> Scenario:
    """The shipped weekday, with so many drivers a day."""
    values = {"demand.drivers_per_day": drivers, **keys}
    return read("weekday", [setting("--set", f"{key}={value}") for key, value in values.items()])


def best(rounds: int, measured: Callable[[], float]) -> float:
    """The least of some rounds."""
    return min(measured() for _ in range(rounds))


def a_day(rounds: int) -> tuple[float, int]:
    """CPU seconds of a day whose requests and replies are lines, with a SHA-256 of all of them."""
    scenario, born = weekday(1510), 0

    def measured() -> float:
        nonlocal born
        began = time.process_time()
        born = len(World(scenario, 0, by_bytes=True).run().drivers)
        return time.process_time() - began

    return best(rounds, measured), born


def own_work(rounds: int) -> float:
    """CPU seconds of what the simulator does itself, by those inside the engine's `answer`."""

    def measured() -> float:
        run, inside = World(weekday(900), 0), 0.0
        answer = run._answer

        def timed(request: Any) -> Any:
            nonlocal inside
            began = time.process_time()
            reply = answer(request)
            inside += time.process_time() - began
            return reply

        run._answer = timed  # type: ignore[assignment]
        began = time.process_time()
        run.run()
        return (time.process_time() - began - inside) / inside

    return best(rounds, measured)


def small(rounds: int) -> float:
    """CPU seconds of a day of 150, with the start of the interpreter, and without a report."""
    code = (
        "from evcharge.simulator.scenario import read\n"
        "from evcharge.simulator.tree import setting\n"
        "from evcharge.simulator.world import run\n"
        "run(read('weekday', [setting('--set', 'demand.drivers_per_day=150')]), 0)"
    )

    def measured() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return best(rounds, measured)


def workers(rounds: int) -> float:
    """How many times as fast a study is with two workers as with one."""

    def measured(number: int) -> float:
        plan, scenarios = plan_of(weekday(900, **{"study.replications": 16}), (), False)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            with here(number) as there:
                study.run(plan, scenarios, Path(folder) / "out", there, world.run)
            return time.perf_counter() - began

    return best(rounds, lambda: measured(1)) / best(rounds, lambda: measured(2))


def memory(days: int, drivers: int) -> float:
    """MiB of a process at the most that has run so many days of 150 drivers, or of others."""
    code = (
        "from pathlib import Path\n"
        "from evcharge.simulator.scenario import read\n"
        "from evcharge.simulator.tree import setting\n"
        "from evcharge.simulator.world import run\n"
        f"sets = ['days={days}', 'demand.drivers_per_day={drivers}']\n"
        "run(read('weekday', [setting('--set', each) for each in sets]), 0)\n"
        # Of this process alone, as getrusage has what its parent had before.
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return float(done.stdout) / 1024.0


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--days", type=int, default=60, help="of the run for the memory (60)")
    options = parser.parse_args()
    print("| what | measured |\n|---|--:|", flush=True)

    def row(what: str, measured: str) -> None:
        print(f"| {what} | {measured} |", flush=True)

    seconds, born = a_day(options.rounds)
    row(f"a day of {born} drivers, by lines", f"{seconds:.2f} s")
    row("times as fast as real time", f"{DAY_S / seconds:,.0f}")
    row("journeys a second", f"{born / seconds:,.0f}")
    row("a day of 150, with the start of Python", f"{small(options.rounds):.2f} s")
    row("the simulator's own work, of the engine's", f"{own_work(options.rounds):.2f}")
    row("two workers, times as fast as one", f"{workers(max(1, options.rounds // 2)):.2f}")
    for days in (1, options.days):
        row(f"memory: 150 a day, {days} days", f"{memory(days, 150):.0f} MiB")
    row(f"memory: 600 a day, {options.days} days", f"{memory(options.days, 600):.0f} MiB")


if __name__ == "__main__":
    main()
