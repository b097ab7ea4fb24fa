"""
What a request costs: the server's CPU, requests a second and latency, beside a bare echo's.

`python benchmarks/requests.py` runs everything and prints a Markdown table of medians;
`benchmarks/README.md` says what is measured and how.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import instructions
from benchmarks.servers import (
    ECHO,
    KINDS,
    LATE_S,
    START_S,
    STOP_S,
    Problem,
    Running,
    Storage,
    Target,
    WrongReplies,
    apart,
    await_ready,
    compile_load,
    facts,
    loaded,
    postgres,
    result_of,
    started,
    tail,
)

AROUND_S = 1.5
"""What one measurement takes besides its load, about: a server's start and end, and cleaning up."""

DISTURBED = 0.15
"""As much of a core for anything else shows; the kernel alone stays under it."""


@dataclass(frozen=True)
class Sample:
    """What one measurement gave."""

    server_cpu_us: float
    """Per request: user and system, all threads and child processes."""
    server_core: float
    """The share of the window in which the server's core was busy with it."""
    per_second: float
    p50_ms: float
    p99_ms: float
    load_cpu_us: float
    load_core: float
    other_cores: float
    """What else the two cores did, as a share of one: other processes, and the kernel's threads."""
    no_slot: int
    requests: int


Samples = dict[Target, list[Sample | None]]
"""A sample a round; None where the round was not measured after wrong replies."""


def descendants(pid: int) -> Iterator[int]:
    """The child processes of a process, and theirs."""
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                yield child
                yield from descendants(child)


def cpu_ns(pid: int) -> int:
    """
    The CPU time that a process has had, user and system, with its child processes.

    The kernel's clock of a process has nanoseconds and keeps the time of threads that have ended,
    which the sum over /proc/<pid>/task would lose. Children that have ended are in the process's
    own account, in clock ticks of 10 ms.
    """
    total = 0
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(OSError):
            # What clock_getcpuclockid(3) returns, which Python has for threads only.
            total += time.clock_gettime_ns((~each << 3) | 2)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    reaped_ticks = int(fields[13]) + int(fields[14])
    return total + reaped_ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def busy_ns(cores: Iterable[int]) -> int:
    """How long cores have not been idle since the machine started, in ticks of 10 ms."""
    ticks = 0
    names = {f"cpu{core}" for core in cores}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *counts = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, counts)
            ticks += user + nice + system + irq + softirq + steal
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


# Measuring


class Bench:
    """
    Measures targets.

    :param load: the load generator.
    :param scratch: the folder in which each server gets a fresh one of its own.
    """

    def __init__(self, options: argparse.Namespace, load: Path, scratch: Path) -> None:
        self._options = options
        self._load = load
        self._scratch = scratch
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise Problem("two cores are needed: one for the server, one for the load")
        self._load_core, self._server_core = cores[0], cores[-1]
        # This process too: from now on nothing of the benchmark but the server is on its core.
        os.sched_setaffinity(0, {self._load_core})

    def measure(self, target: Target, round_number: int) -> Sample:
        """
        One measurement, of a server that is new and has a new storage.

        :raise WrongReplies: the server did not answer as it should.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"{target.kind}-", dir=self._scratch))
        options, profiler = self._options, []
        if options.profile is not None and target.storage is not None:
            name = f"{target.kind}-{target.storage.label}-{round_number}.prof"
            profiler = ["--profiler", "cprofile", "--savestats"]
            profiler += ["--profile", str(options.profile.resolve() / name)]
        try:
            with started(
                target, options, folder, with_twistd=profiler, core=self._server_core
            ) as server:
                return self._under_load(target, server)
        finally:
            # What was written must not be written back under the next measurement. Nor is it
            # removed before the last one: see apart().
            os.sync()

    def _under_load(self, target: Target, server: Running) -> Sample:
        options, cores = self._options, (self._load_core, self._server_core)
        pid = server.process.pid
        with loaded(
            self._load, target, server, options, seconds=options.seconds, warmup=options.warmup
        ) as load:
            await_ready(load, target, server.log, options.warmup + LATE_S)
            busy, before = busy_ns(cores), cpu_ns(pid)
            try:
                output, _ = load.communicate(b"\n", options.seconds + LATE_S)
                used, busy = cpu_ns(pid) - before, busy_ns(cores) - busy
            except subprocess.TimeoutExpired:
                raise Problem(f"the load on {target.name} does not end") from None
            except OSError as error:
                why = f"no CPU time of {target.name}: {error}"
                raise Problem(f"{why}\n{tail(server.log)}") from None
        result = result_of(load, output, target, server)
        count, wall = result["requests"], result["seconds"]
        load_core = result["cpu_us_per_request"] * count / 1e6 / wall
        return Sample(
            server_cpu_us=used / 1e3 / count,
            server_core=used / 1e9 / wall,
            per_second=count / wall,
            p50_ms=result["p50_ms"],
            p99_ms=result["p99_ms"],
            load_cpu_us=result["cpu_us_per_request"],
            load_core=load_core,
            other_cores=max(0.0, (busy - used) / 1e9 / wall - load_core),
            no_slot=result["no_slot"],
            requests=count,
        )


def run_rounds(
    bench: Bench, targets: Sequence[Target], rounds: int
) -> tuple[Samples, dict[Target, str]]:
    """
    Measure every target once a round, in an order that rotates from round to round.

    :return: the samples, and the targets that answered wrongly with what they said; those are not
        measured again.
    """
    samples: Samples = {target: [] for target in targets}
    wrong: dict[Target, str] = {}
    for number in range(rounds):
        first = number % len(targets)
        for target in (*targets[first:], *targets[:first]):
            sample = None
            if target not in wrong:
                try:
                    sample = bench.measure(target, number + 1)
                except WrongReplies as problem:
                    wrong[target] = str(problem)
            samples[target].append(sample)
            shown = "wrong replies" if sample is None else f"{sample.server_cpu_us:.1f} us"
            print(f"round {number + 1}: {target.name}: {shown}", file=sys.stderr, flush=True)
    return samples, wrong


# What is printed


def medians(samples: Iterable[Sample]) -> Sample:
    """The median of each figure by itself."""
    rows = [vars(sample) for sample in samples]
    return Sample(**{name: statistics.median(row[name] for row in rows) for name in rows[0]})


def echo_ratio(own: Sequence[Sample | None], echo: Sequence[Sample | None]) -> str:
    """The median of the rounds' ratios: what slows a whole round down does not count."""
    both = [a.server_cpu_us / b.server_cpu_us for a, b in zip(own, echo, strict=True) if a and b]
    return f"{statistics.median(both):.2f}" if both else "-"


def table(samples: Samples, wrong: Mapping[Target, str]) -> str:
    """The medians as a Markdown table."""
    columns = (
        "requests",
        "storage",
        "depth",
        "server CPU µs/request",
        "lowest to highest",
        "x echo",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "server core",
        "generator CPU µs/request",
    )
    lines = [f"| {' | '.join(columns)} |", "|---|---|" + "---:|" * (len(columns) - 2)]
    echo = next(target for target in samples if target.kind == ECHO)
    for target, rounds in samples.items():
        cells = [target.kind, "" if target.storage is None else target.storage.label]
        cells.append(str(target.depth))
        if target in wrong:
            cells += ["**wrong replies**", *[""] * (len(columns) - 4)]
        else:
            done = [sample for sample in rounds if sample is not None]
            middle = medians(done)
            costs = [sample.server_cpu_us for sample in done]
            # At another depth than the echo's, the ratio would compare two different things.
            comparable = target.depth == echo.depth
            cells += [
                f"{middle.server_cpu_us:.1f}",
                f"{min(costs):.1f} to {max(costs):.1f}",
                echo_ratio(rounds, samples[echo]) if comparable else "-",
                f"{middle.per_second:,.0f}",
                f"{middle.p50_ms:.2f}",
                f"{middle.p99_ms:.2f}",
                f"{middle.server_core:.0%}",
                f"{middle.load_cpu_us:.1f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def notes(samples: Samples) -> list[str]:
    """What one has to know beside the table."""
    said = []
    for target, rounds in samples.items():
        done = [sample for sample in rounds if sample is not None]
        if full := sum(sample.no_slot for sample in done):
            share = full / sum(sample.requests for sample in done)
            said.append(f"{target.name}: {full} answers were `Sem vagas disponíveis` ({share:.2%})")
        if any(sample.load_core > 0.9 for sample in done):
            said.append(f"{target.name}: the generator's core was full too: not the server's limit")
        if disturbed := sum(sample.other_cores > DISTURBED for sample in done):
            said.append(
                f"{target.name}: in {disturbed} of {len(done)} rounds something else took over "
                f"{DISTURBED:.0%} of a core: other programs, or the kernel writing to the disk"
            )
    return said


# The command line


def storages(specs: Sequence[str]) -> list[Storage]:
    """The storages to measure, each with a name of its own that gives no password away."""
    found: list[Storage] = []
    for spec in specs:
        label = base = spec.partition(":")[0]
        number = 1
        while label in {storage.label for storage in found}:
            number += 1
            label = f"{base}-{number}"
        found.append(Storage(label, spec))
    return found


def all_storages() -> list[str]:
    """What is measured where nothing is asked for: all that there are on this machine."""
    try:
        postgres()
    except Problem as problem:
        print(f"postgresql is left out: {problem}", flush=True)
        return ["sqlite", "files"]
    return ["sqlite", "files", "postgresql"]


def kinds(value: str) -> list[str]:
    """The value of `--only`."""
    chosen = value.split(",")
    for kind in chosen:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r} is not one of {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in chosen]


def positive(value: str) -> int:
    """A whole number of at least one."""
    number = int(value)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def read_arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0].strip())
    add = parser.add_argument
    add(
        "--instructions",
        action="store_true",
        help="count user-space instructions under valgrind in place of CPU time",
    )
    add("--rounds", type=positive, help="rounds; default 5, and 1 with --instructions")
    add(
        "--requests",
        type=positive,
        default=3000,
        help="that --instructions counts, and four times as many where many are outstanding; "
        "default %(default)s",
    )
    add("--seconds", type=float, default=3.0, help="of each measurement; default %(default)s")
    add("--warmup", type=float, default=1.0, help="seconds before each; default %(default)s")
    add("--connections", type=positive, default=50, help="default %(default)s")
    add(
        "--depth",
        type=positive,
        default=1,
        help="requests outstanding on each connection, but for journeys; default %(default)s",
    )
    add(
        "--storage",
        action="append",
        metavar="sqlite|files|postgresql|URL",
        help="what to measure with, repeatable; postgresql is a server of our own; {dir} in a URL "
        "is a fresh folder; default: the first two, and postgresql where the test extra is "
        "installed. A database that a URL names is neither made nor cleared",
    )
    add(
        "--only",
        type=kinds,
        default=[kind for kind in KINDS if kind != "start"],
        help=f"of {','.join(KINDS)}; with the echo; default: all but start",
    )
    add("--scratch", type=Path, default=Path(), help="where data goes, a real disk; default: here")
    add("--json", type=Path, metavar="FILE", help="write every sample")
    add("--python", default=sys.executable, help="that runs the server; default: this one")
    add("--source", type=Path, help="checkout to measure; default: PYTHONPATH, then this one")
    add("--server-arguments", default="", help="more options of the server, in one word")
    add("--profile", type=Path, metavar="DIR", help="write cProfile's of the reactor's thread")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.instructions else 5)
    return options


def benchmark(options: argparse.Namespace, scratch: Path) -> int:
    """Measure and print; returns the exit status."""
    if options.instructions:
        instructions.require_valgrind()
    known = facts(options, scratch)
    load = compile_load(scratch)
    chosen = storages(options.storage or all_storages())
    if options.instructions:
        return instructions.compare(options, chosen, load, scratch)
    targets = [Target(ECHO, None, options.depth)] + [
        Target(kind, storage, 1 if kind == "journey" else options.depth)
        for storage in chosen
        for kind in options.only
    ]
    if known["File system"] in ("tmpfs", "ramfs"):
        print("The scratch folder is in memory: durable writes cost nothing there.", flush=True)
    count = len(targets) * options.rounds
    under_load = options.warmup + options.seconds
    about = count * (under_load + AROUND_S) / 60
    most = count * (under_load + 2 * LATE_S + START_S + STOP_S) / 60
    print(
        f"{options.rounds} rounds of {len(targets)} targets: about {about:.1f} minutes "
        f"(at most {most:.0f}, if all that can wait does)\n",
        flush=True,
    )
    samples, wrong = run_rounds(Bench(options, load, scratch), targets, options.rounds)
    print(f"\nMedians of {options.rounds} rounds, {options.connections} connections:\n")
    print(table(samples, wrong), end="\n\n")
    for line in (*notes(samples), *(f"{name}: {value}" for name, value in known.items())):
        print(f"- {line}")
    for target, problem in wrong.items():
        print(f"\n{target.name}: WRONG REPLIES: {problem}", file=sys.stderr)
    if options.json is not None:
        record = {
            "facts": known,
            "connections": options.connections,
            "seconds": options.seconds,
            "targets": [
                {
                    "kind": target.kind,
                    "storage": target.storage.label if target.storage is not None else None,
                    "depth": target.depth,
                    "wrong": wrong.get(target),
                    "rounds": [vars(sample) if sample else None for sample in rounds],
                }
                for target, rounds in samples.items()
            ],
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if wrong else 0


def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends what Ctrl-C ends."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the benchmark in a folder that is removed afterwards."""
    options = read_arguments()
    signal.signal(signal.SIGTERM, stop)
    try:
        if options.profile is not None:
            options.profile.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".evcharge-bench-", dir=options.scratch.resolve(), ignore_cleanup_errors=True
        ) as scratch:
            apart(Path(scratch))
            return benchmark(options, Path(scratch))
    except Problem as problem:
        print(f"{Path(sys.argv[0]).name}: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
