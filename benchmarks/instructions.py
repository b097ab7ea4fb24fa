"""
User-space instructions a request, by valgrind's callgrind: `benchmarks/requests.py --instructions`.

CPU time on a machine that others use wanders; instructions do not, whatever else runs. What they
leave out is the kernel's part. What a server does unasked comes oftener a request where everything
is slow, as under valgrind: it is measured by itself, and not counted.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.servers import (
    ECHO,
    Problem,
    Running,
    Storage,
    Target,
    WrongReplies,
    await_ready,
    loaded,
    result_of,
    started,
)

MANY = 16
"""Requests outstanding on each connection, where it is not one."""
WITH_MANY = ("navigation", "login")
"""What is measured with so many too, on the first of the storages."""

SLOW_S = 600.0
"""How long anything may take under valgrind."""
QUIET_S = 0.5
"""For how long the server is let alone, so that it has done all that the warm-up asked of it."""
IDLE_S = 4.0
"""For how long it is then seen what it does of itself, which is no request's cost."""


def require_valgrind() -> None:
    """Problem where there is no valgrind."""
    if shutil.which("valgrind") is None or shutil.which("callgrind_control") is None:
        raise Problem("valgrind counts instructions: install it (Debian: apt install valgrind)")


def targets(options: argparse.Namespace, chosen: Sequence[Storage]) -> list[Target]:
    """The rows of the table: an echo for each number of requests outstanding first."""
    rows = [Target(kind, storage, options.depth) for storage in chosen for kind in options.only]
    if options.depth == 1:
        rows += [Target(kind, chosen[0], MANY) for kind in options.only if kind in WITH_MANY]
    return [Target(ECHO, None, depth) for depth in sorted({row.depth for row in rows})] + rows


def measure(
    target: Target, options: argparse.Namespace, load_program: Path, scratch: Path
) -> float:
    """
    Instructions a request, all threads, of a server that is new and has a new storage.

    :raise WrongReplies: the server did not answer as it should.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{target.kind}-", dir=scratch))
    counts = folder / "callgrind.out"
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
    # Threads take turns as the kernel's have theirs, not as valgrind happens to let them.
    valgrind += ["--fair-sched=try", f"--callgrind-out-file={counts}"]
    wanted = options.requests * (1 if target.depth == 1 else 4)
    with (
        started(target, options, folder, under=valgrind, within_s=SLOW_S) as server,
        loaded(load_program, target, server, options, requests=wanted) as load,
    ):
        await_ready(load, target, server.log, SLOW_S)
        time.sleep(QUIET_S)
        control(server, "-i", "on")
        began = time.monotonic()
        time.sleep(IDLE_S)
        control(server, "-d")
        asked = time.monotonic()
        try:
            output, _ = load.communicate(b"\n", SLOW_S)
        except subprocess.TimeoutExpired:
            raise Problem(f"the load on {target.name} does not end") from None
        result = result_of(load, output, target, server)
        control(server, "-d")
        ended = time.monotonic()
        # It has nothing to keep, and would take its time to end.
        server.process.kill()
    idle, busy = (total(counts.with_name(f"{counts.name}.{number}")) for number in (1, 2))
    unasked = idle / (asked - began) * (ended - asked)
    return (busy - unasked) / int(result["requests"])


def total(dump: Path) -> int:
    """The instructions in a file of callgrind."""
    totals = [line for line in dump.read_text().splitlines() if line.startswith("totals:")]
    return int(totals[0].split()[1])


def control(server: Running, *command: str) -> None:
    """Have callgrind do something, and wait until it is done."""
    done = subprocess.run(
        ["callgrind_control", *command, str(server.process.pid)],
        capture_output=True,
        text=True,
        timeout=SLOW_S,
    )
    if done.returncode != 0 or "OK" not in done.stdout:
        raise Problem(f"callgrind_control {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def compare(
    options: argparse.Namespace, chosen: Sequence[Storage], load_program: Path, scratch: Path
) -> int:
    """Measure and print; returns the exit status."""
    rows = targets(options, chosen)
    print(f"{options.rounds} rounds of {len(rows)} targets: some 20 seconds each\n", flush=True)
    counted: dict[Target, list[float]] = {row: [] for row in rows}
    wrong: dict[Target, str] = {}
    for number in range(options.rounds):
        for row in rows:
            if row in wrong:
                continue
            try:
                counted[row].append(measure(row, options, load_program, scratch))
                shown = f"{counted[row][-1]:,.0f} instructions"
            except WrongReplies as problem:
                wrong[row] = shown = f"wrong replies: {problem}"
            said = f"round {number + 1}: {row.name} at depth {row.depth}: {shown}"
            print(said, file=sys.stderr, flush=True)
    print(table(counted))
    return 1 if wrong else 0


def table(counted: dict[Target, list[float]]) -> str:
    """The medians as a Markdown table."""
    lines = [
        "| requests | storage | outstanding | instructions/request | lowest to highest | x echo |",
        "|---|---|---:|---:|---:|---:|",
    ]
    echo = {row.depth: each for row, each in counted.items() if row.kind == ECHO}
    for row, each in counted.items():
        storage = "" if row.storage is None else row.storage.label
        cells = [row.kind, storage, str(row.depth)]
        if each and echo[row.depth]:
            middle = statistics.median(each)
            cells += [f"{middle:,.0f}", f"{min(each):,.0f} to {max(each):,.0f}"]
            cells.append(f"{middle / statistics.median(echo[row.depth]):.2f}")
        else:
            cells += ["**wrong replies**", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
