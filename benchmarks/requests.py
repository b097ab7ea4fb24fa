"""
What a request costs: the server's CPU, requests a second and latency, beside a bare echo's.

`python benchmarks/requests.py` runs everything and prints a Markdown table of medians;
`benchmarks/README.md` says what is measured and how.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.util
import json
import os
import platform
import re
import select
import shlex
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

HERE = Path(__file__).resolve().parent
KINDS = ("navigation", "login", "journey")
ECHO = "echo"

START_S = 20.0
"""How long a server may take to listen."""
STOP_S = 8.0
"""How long it may take to end; evcharge gives itself five seconds."""
AROUND_S = 1.5
"""What one measurement takes besides its load, about: a server's start and end, and cleaning up."""
LATE_S = 15.0
"""How much longer than it was told the load generator may take: it gives up on silence at 10 s."""

DISTURBED = 0.15
"""As much of a core for anything else shows; the kernel alone stays under it."""

FACTS = """
import json, sys
import msgspec, twisted, evcharge
print(json.dumps({
    "Python": sys.version.split()[0], "Twisted": twisted.__version__,
    "msgspec": msgspec.__version__, "evcharge": evcharge.__version__,
    "evcharge's source": list(evcharge.__path__)[0],
}))
"""
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


class Problem(Exception):
    """The benchmark cannot go on; says why."""


class WrongReplies(Exception):
    """The server did not answer as it should: there is no figure, only what was counted."""


@dataclass(frozen=True)
class Storage:
    """
    A storage to measure.

    :ivar label: how the table names it.
    :ivar spec: `files`, `sqlite`, or what the server's option `--storage` takes.
    """

    label: str
    spec: str

    def arguments(self, folder: Path) -> list[str]:
        """The server's options for it, in `folder` where it has any files."""
        if self.spec == "files":
            return ["--data", str(folder / "data")]
        if self.spec == "sqlite":
            return ["--storage", f"sqlite:///{folder / 'evcharge.sqlite3'}"]
        return ["--storage", self.spec.replace("{dir}", str(folder))]


@dataclass(frozen=True)
class Target:
    """One row of the table: a kind of load on a server with a storage; the echo has none."""

    kind: str
    storage: Storage | None
    depth: int

    @property
    def name(self) -> str:
        return self.kind if self.storage is None else f"{self.kind} on {self.storage.label}"


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


# Processes: all are ended by their ids, whatever happens.


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the process on the way out: asked first, for its storage's sake, then killed."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                # What was not flushed to a process that has ended is of no use to it.
                with contextlib.suppress(OSError):
                    stream.close()


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


def free_port() -> int:
    """A port that nothing listens on, and that the system gives to no client of its own accord."""
    for port in range(20000 + os.getpid() % 10000, 32768):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


def await_listening(server: subprocess.Popen[bytes], port: int, log: Path, name: str) -> None:
    """Wait until the server accepts connections; Problem, with its log, where it does not."""
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    how = "does not listen" if server.poll() is None else f"ended with {server.returncode}"
    raise Problem(f"the server for {name} {how}; its log:\n{tail(log)}")


def tail(log: Path, lines: int = 30) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def apart(folder: Path) -> None:
    """
    Have the folders that are made in `folder` lie apart on the disk, where it can be had.

    ext4 without a journal looks, for a minute or more, at each inode that was freed near a new
    file before it passes it over, so that a storage of many files would pay for the folders that
    earlier measurements, of this run or the last, have left: it doubled a LOGIN's CPU.
    """
    # linux/fs.h: its folders are at the top of unrelated hierarchies (chattr +T).
    get_flags, set_flags, top_dir = 0x80086601, 0x40086602, 0x00020000
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = struct.unpack("=l4x", fcntl.ioctl(descriptor, get_flags, bytes(8)))[0]
        fcntl.ioctl(descriptor, set_flags, struct.pack("=l4x", flags | top_dir))
    except OSError:
        pass  # another kind of file system, which has its own ways
    finally:
        os.close(descriptor)


def compile_load(folder: Path) -> Path:
    """Compile the load generator; Problem where there is no compiler, or it fails."""
    if compiler := shutil.which("cc"):
        command = [compiler]
    elif importlib.util.find_spec("ziglang") is not None:
        command = [sys.executable, "-m", "ziglang", "cc"]
    else:
        raise Problem(
            "the load generator needs a C compiler: install one (Debian: apt install gcc libc6-dev)"
            f", or the wheel that brings one: {sys.executable} -m pip install ziglang"
        )
    program = folder / "load"
    command += ["-O2", "-std=c11", "-o", str(program), str(HERE / "load.c")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Problem(f"{shlex.join(command)} failed:\n{done.stderr}")
    return program


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
        log = folder / "server.log"
        port = free_port()
        try:
            with log.open("w") as output:
                server = subprocess.Popen(
                    self._server_command(target, port, folder, round_number),
                    cwd=folder,
                    env=server_environment(self._options),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # A Ctrl-C is for this process, which then ends the others in order.
                    start_new_session=True,
                )
            with ended(server):
                # Threads and children that it starts later are on the same core.
                os.sched_setaffinity(server.pid, {self._server_core})
                await_listening(server, port, log, target.name)
                return self._under_load(target, server, port, log)
        finally:
            # What was written must not be written back under the next measurement. Nor is it
            # removed before the last one: see apart().
            os.sync()

    def _server_command(
        self, target: Target, port: int, folder: Path, round_number: int
    ) -> list[str]:
        options = self._options
        if target.storage is None:
            return [options.python, str(HERE / "echo.py"), str(port)]
        command = [options.python, "-c", TWISTD, "--nodaemon", "--pidfile="]
        if options.profile is not None:
            name = f"{target.kind}-{target.storage.label}-{round_number}.prof"
            command += ["--profiler", "cprofile", "--savestats"]
            command += ["--profile", str(options.profile.resolve() / name)]
        command += ["evcharge", "--port", f"tcp:{port}:interface=127.0.0.1"]
        return command + target.storage.arguments(folder) + shlex.split(options.server_arguments)

    def _under_load(
        self, target: Target, server: subprocess.Popen[bytes], port: int, log: Path
    ) -> Sample:
        options = self._options
        wanted = {
            "port": port,
            "connections": options.connections,
            "depth": target.depth,
            "seconds": options.seconds,
            "warmup": options.warmup,
            "mode": target.kind,
        }
        load = subprocess.Popen(
            [str(self._load), *(f"--{name}={value}" for name, value in wanted.items())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        with ended(load):
            assert load.stdout is not None
            # It says "ready" when it is warm, and counts from when it is told to.
            readable, _, _ = select.select([load.stdout], [], [], options.warmup + LATE_S)
            if not readable or load.stdout.readline() != b"ready\n":
                raise Problem(f"no load on {target.name}; the server's log:\n{tail(log)}")
            cores = (self._load_core, self._server_core)
            busy, before = busy_ns(cores), cpu_ns(server.pid)
            try:
                output, _ = load.communicate(b"\n", options.seconds + LATE_S)
                used, busy = cpu_ns(server.pid) - before, busy_ns(cores) - busy
            except subprocess.TimeoutExpired:
                raise Problem(f"the load on {target.name} does not end") from None
            except OSError as error:
                raise Problem(f"no CPU time of {target.name}: {error}\n{tail(log)}") from None
        result = json.loads(output) if load.returncode == 0 else {}
        if "closed" in result.get("errors", ()):
            # Which it does not do of itself: see whether it is still there.
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = server.wait(1)
                raise Problem(f"the server for {target.name} ended with {code}:\n{tail(log)}")
        if not result.get("requests") or result["errors"]:
            raise WrongReplies(f"{result.get('errors', 'no result')}; server's log:\n{tail(log)}")
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


def server_environment(options: argparse.Namespace) -> dict[str, str]:
    """The environment in which evcharge is found, the one that was asked for."""
    given = os.environ.get("PYTHONPATH")
    if options.source is not None:
        path = [str(options.source.resolve()), given]
    else:
        path = [given, str(HERE.parent)]
    # No bytecode in the source that is measured: it may be someone's working tree.
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


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


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    best, kind = -1, "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, each, *_ = line.split()
        if folder.is_relative_to(mounted) and len(mounted) > best:
            best, kind = len(mounted), each
    return kind


def facts(options: argparse.Namespace, scratch: Path) -> dict[str, str]:
    """What the figures depend on."""
    done = subprocess.run(
        [options.python, "-c", FACTS],
        env=server_environment(options),
        cwd=scratch,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Problem(f"{options.python} cannot import the server:\n{done.stderr}")
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "CPU": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "Kernel": platform.release(),
        "File system": file_system(scratch),
        **json.loads(done.stdout),
        # A database's URL may hold a password.
        "Command": re.sub(r"(://[^:@/\s]*:)[^@/\s]*@", r"\1***@", shlex.join(sys.orig_argv)),
    }


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
    add("--rounds", type=positive, default=5, help="rounds; default %(default)s")
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
        metavar="files|sqlite|URL",
        help="what to measure with, repeatable; {dir} in a URL is a fresh folder; default: files "
        "and sqlite. A database that a URL names is neither made nor cleared",
    )
    add("--only", type=kinds, default=list(KINDS), help=f"of {','.join(KINDS)}; with the echo")
    add("--scratch", type=Path, default=Path(), help="where data goes, a real disk; default: here")
    add("--json", type=Path, metavar="FILE", help="write every sample")
    add("--python", default=sys.executable, help="that runs the server; default: this one")
    add("--source", type=Path, help="checkout to measure; default: PYTHONPATH, then this one")
    add("--server-arguments", default="", help="more options of the server, in one word")
    add("--profile", type=Path, metavar="DIR", help="write cProfile's of the reactor's thread")
    return parser.parse_args()


def benchmark(options: argparse.Namespace, scratch: Path) -> int:
    """Measure and print; returns the exit status."""
    known = facts(options, scratch)
    load = compile_load(scratch)
    chosen = storages(options.storage or ["files", "sqlite"])
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
