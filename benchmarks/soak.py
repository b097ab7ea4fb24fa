"""
A soak: hundreds of drivers make their journeys, badly behaved, while the server is killed now and
then; in the end every slot, payment and user has to add up, and memory not to have grown.

    python benchmarks/soak.py --seconds 600 --storage files

Each driver logs in, looks around, pays, and leaves or waits for the sweep. On the way it drops its
connection, closes its half, sends garbage, trickles bytes, pipelines, reads late; after a loss it
asks again over a new connection, as a program would. It notes what it was told. Where it was told
nothing, either is right.

The last third of the time is without kills: there the server's memory is watched. With `--early`
every driver leaves as soon as it has logged in, or paid, and comes again: many journeys a second,
of which nothing may be left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import logging
import math
import os
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import twisted

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.requests import positive  # noqa: E402
from benchmarks.soak_audit import (  # noqa: E402
    SLACK_S,
    SWEEP_S,
    Book,
    Sample,
    audit,
    check_shown,
    memory,
    read,
)
from benchmarks.soak_charges import Network, audit_charges  # noqa: E402
from benchmarks.soak_drivers import FRAGILE, Driver, envelope  # noqa: E402
from benchmarks.soak_sessions import audit_sessions  # noqa: E402
from evcharge.client import Client, NoReply  # noqa: E402
from evcharge.storage import StorageError  # noqa: E402
from evcharge.storage.location import parse, without_password  # noqa: E402

TIME_SCALE = 200
"""Charging that takes an hour takes 18 seconds here."""

LONGEST_TTL_S, SHORTEST_TTL_S, EARLY_TTL_S = 60.0, 10.0, 86400.0
"""After which a user who never paid is removed: in a run of ten minutes or more, at least, and
where drivers leave early: what is kept for that time is seen to pile up."""

DISORDER_S = 2.0
"""How long a worker may be behind another one, seconds: as long as a request is tried."""

LAST_REPLIES_S, START_S, END_S = 40.0, 30.0, 15.0
"""How long the drivers may take to end, and the server to start, and to end; it gives itself five
seconds for that."""

HARD_LIMIT_S = 180.0
"""How much longer than it was told the soak may take in all."""

LIBC = ctypes.CDLL(None)


class Problem(Exception):
    """The soak cannot go on; says why."""


def read_by_server(port: int, table: str) -> set[int]:
    """
    The ports of the clients of which the server on `port` has read all that they have sent.

    :param table: the kernel's table of connections, as in /proc/net/tcp.
    """
    arrived, taken = set(), set()
    for row in table.splitlines()[1:]:
        _, here, there, _, queues, *_ = row.split()
        own, other = (int(address.rpartition(":")[2], 16) for address in (here, there))
        unsent, unread = (int(length, 16) for length in queues.split(":"))
        if own == port and not unread:
            taken.add(other)
        elif other == port and not unsent:
            arrived.add(own)
    return arrived & taken


def die_with_parent() -> None:
    """In a new process: have the kernel kill it when the soak ends, however that may be."""
    pr_set_pdeathsig = 1
    LIBC.prctl(pr_set_pdeathsig, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def is_worker(pid: int) -> bool:
    """Whether there is such a process, and it is a worker: ids are given anew."""
    try:
        return b"evcharge.process.workers" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def free_ports() -> tuple[int, int]:
    """Two ports that nobody listens on."""
    any_port = ("127.0.0.1", 0)
    with socket.create_server(any_port) as one, socket.create_server(any_port) as other:
        return one.getsockname()[1], other.getsockname()[1]


class Server:
    """The server under test, killed and started again."""

    def __init__(self, folder: Path, url: str, workers: int, book: Book) -> None:
        self.port, self.http_port = free_ports()
        self.token_file = folder / "operator-token"
        self._log, self._book = folder / "server.log", book
        options = {
            "port": f"tcp:{self.port}:interface=127.0.0.1",
            "http-port": f"tcp:{self.http_port}:interface=127.0.0.1",
            "operator-token-file": self.token_file,
            "data": folder / "data",
            "workers": workers,
            "time-scale": TIME_SCALE,
            "sweep-interval": SWEEP_S,
            "user-ttl": book.ttl_s,
        }
        run = "from twisted.scripts.twistd import run; run()"
        self._command = [sys.executable, "-c", run, "--nodaemon", "--pidfile=", "evcharge"]
        self._command += [f"--{name}={value}" for name, value in options.items()]
        # Not on the command line, which others can read: a database's URL may hold a password.
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVCHARGE_STORAGE": url}
        self._process: subprocess.Popen[bytes] | None = None
        self._lives = 0
        self._refused_until = 0.0
        self.life: int | None = None
        """None while it does not listen; another number after each kill."""

    def may_refuse(self) -> bool:
        """Whether it is ending, or was so short ago that its last replies are still being read."""
        return time.monotonic() < self._refused_until

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        limit = time.monotonic() + START_S
        while time.monotonic() < limit:
            with open(self._log, "ab") as log:
                at = log.tell()
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    # A Ctrl-C is for this process, which then ends the others in order.
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            while self._process.poll() is None and time.monotonic() < limit:
                if b" listens on " in self._log.read_bytes()[at:]:
                    self._live()
                    return
                await asyncio.sleep(0.05)
            # What is left of the one before may still hold the port, or the storage.
            await asyncio.sleep(0.5)
        raise Problem(f"the server does not start:\n{self.log()[-3000:]}")

    def _live(self) -> None:
        self._lives += 1
        self.life = self._lives
        self._book.killed = time.time()

    async def end(self, how: signal.Signals) -> None:
        """End it by a signal, and wait until it and its workers are gone."""
        process, self._process, self.life = self._process, None, None
        if process is None:
            return
        self._book.killed = math.inf
        workers = children(process.pid)
        if how is signal.SIGTERM:
            self._refused_until = math.inf
        process.send_signal(how)
        limit = time.monotonic() + END_S
        while process.poll() is None or any(map(is_worker, workers)):
            if time.monotonic() > limit:
                self._book.find(f"{how.name} has not ended the server within {END_S:g} s")
                for pid in filter(is_worker, workers):
                    os.kill(pid, signal.SIGKILL)
                process.kill()
                limit = math.inf
            await asyncio.sleep(0.02)
        if how is signal.SIGTERM:
            self._refused_until = time.monotonic() + SLACK_S
        told = f"ended by {how.name}, the server's status is {process.returncode}"
        self._book.find(told, process.returncode != -how)

    def kill_a_worker(self, chance: random.Random) -> bool:
        """Kill one of its workers; False where it has none."""
        workers = [] if self._process is None else children(self._process.pid)
        if workers:
            self._live()
            os.kill(chance.choice(workers), signal.SIGKILL)
        return bool(workers)

    def has_ended(self) -> int | None:
        """The status of a server that has ended by itself."""
        return None if self._process is None else self._process.poll()

    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text(errors="replace")

    def memory_kib(self) -> int:
        """The memory that it and its workers have for themselves, KiB."""
        total = 0
        for pid in [self._process.pid, *children(self._process.pid)] if self._process else ():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                total += sum(map(int, re.findall(r"^RssAnon:\s+(\d+)", status, re.M)))
        return total


class Operator:
    """Breaks EVSEs of the fragile stations, and has them mended."""

    def __init__(self, server: Server, network: Network, book: Book, chance: random.Random) -> None:
        self._server, self._book, self._chance = server, book, chance
        self._evses = [uid for station in sorted(book.fragile) for uid in network.evses[station]]
        self._broken: dict[str, str] = {}
        """Why each of them is, by uid."""
        self.stopping = False

    async def run(self) -> None:
        """Do so until told to stop, and leave none broken."""
        while self._broken or not self.stopping:
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
            if self._broken and (self.stopping or self._chance.random() < 0.5):
                uid = self._chance.choice(list(self._broken))
                if await self._check(uid) and await self._set(uid, "IN_SERVICE", None):
                    del self._broken[uid]
                    self._book.events["EVSEs mended"] += 1
            elif not self.stopping:
                uid = self._chance.choice(self._evses)
                reason = f"broken at {time.time():.3f}"
                if uid not in self._broken and await self._set(uid, "OUTOFORDER", reason):
                    self._broken[uid] = reason
                    self._book.events["EVSEs broken"] += 1

    async def _set(self, uid: str, status: str, reason: str | None) -> bool:
        """Say something of an EVSE, until it is answered, as after a kill nobody knows."""
        body = {"uid": uid, "status": status, **({} if reason is None else {"reason": reason})}
        while (reply := await self._ask("POST /operator/evse", body)) is None:
            await asyncio.sleep(0.2)
        told = (reply["data"].get("status"), reply["data"].get("reason"))
        self._book.find(f"{uid} was set to {status}: {reply}", told != (status, reason))
        return told[0] == status

    async def _check(self, uid: str) -> bool:
        """It is still broken, whatever was killed meanwhile."""
        reply = await self._ask(f"GET /operator/evse/{uid}", None)
        if reply is not None:
            told = (reply["data"].get("status"), reply["data"].get("reason"))
            right = ("OUTOFORDER", self._broken[uid])
            self._book.find(f"{uid} should be {right}: {reply}", told != right)
        return reply is not None

    async def _ask(self, what: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        """The reply; None where the server is gone, or going."""
        content = b"" if body is None else json.dumps(body).encode()
        token = self._server.token_file.read_text().strip()
        head = (
            f"{what} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            "Connection: close\r\n\r\n"
        )
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server.http_port)
            writer.write(head.encode() + content)
            answer = await asyncio.wait_for(reader.read(), END_S)
            writer.close()
        except (OSError, asyncio.TimeoutError):
            return None
        _, _, text = answer.partition(b"\r\n\r\n")
        if not text.endswith(b"}\n"):
            return None
        reply: dict[str, Any] = json.loads(text)
        code = reply["status"]["code"]
        self._book.find(f"the operator was told {reply}", code not in (200, 503))
        return reply if code == 200 else None


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace, folder: Path, url: str, book: Book) -> None:
        self._options, self._data, self._url, self._book = options, folder / "data", url, book
        self._samples: list[Sample] = []
        """Each second of the phase without kills."""
        self._chance = random.Random(options.seed)
        self._server = Server(folder, url, options.workers, book)
        self._network = Network(TIME_SCALE)
        alone = options.workers == 1 and options.storage in ("files", "sqlite")
        self._drivers = [
            Driver(
                n,
                self._server,
                book,
                random.Random(f"{options.seed} {n}"),
                self._network.cars,
                options.early,
                None if options.early else self._network,
                alone,
            )
            for n in range(options.connections)
        ]
        self._operator = Operator(self._server, self._network, book, self._chance)

    async def run(self) -> str:
        """Run it, and leave the server ended; what to print."""
        book, server, loop = self._book, self._server, asyncio.get_running_loop()
        running = asyncio.current_task()
        assert running is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.cancel)
        tasks: list[asyncio.Task[None]] = []
        try:
            await server.start()
            tasks += [asyncio.create_task(driver.run()) for driver in self._drivers]
            if not self._options.early:
                tasks.append(asyncio.create_task(self._operator.run()))
            await self._trouble(tasks)
            self._operator.stopping = True
            for driver in self._drivers:
                driver.stopping = True
            _, late = await asyncio.wait(tasks, timeout=LAST_REPLIES_S)
            book.find(f"{len(late)} drivers have not ended within {LAST_REPLIES_S:g} s", late)
            # What START says of the slots may be a second old.
            await asyncio.sleep(1.5)
            shown_at, shown = time.time(), self._last_start()
            await server.end(signal.SIGTERM)
        finally:
            for task in tasks:
                task.cancel()
            await server.end(signal.SIGKILL)
        for line in re.findall(
            r".*#(?:error|critical)\].*|(?:.*\n){3}.*Traceback.*|.*Incident.*", server.log()
        ):
            # That a worker was killed is told as an error.
            book.find(f"the log has: {line}", "the next one starts in" not in line)
        audited = audit(book, self._url, self._data, time.time())
        audited += f"\n{audit_charges(book, self._network)}"
        audited += f"\n{audit_sessions(book, self._network, read(self._url, self._data))}"
        if shown:
            check_shown(book, shown, shown_at, read(self._url, self._data))
        return f"{audited}\n{memory(book, self._samples, self._options.early)}"

    async def _trouble(self, tasks: list[asyncio.Task[None]]) -> None:
        """Kill the server for two thirds of the time, and watch its memory in the last."""
        options, book, server = self._options, self._book, self._server
        began, next_kill = time.monotonic(), options.kill_every
        while (passed := time.monotonic() - began) < options.seconds:
            await asyncio.sleep(min(1.0, options.seconds - passed))
            for task in filter(asyncio.Task.done, tasks):
                task.result()
            if (status := server.has_ended()) is not None:
                book.find(f"the server ended by itself, with {status}:\n{server.log()[-3000:]}")
                await server.start()
            if passed >= options.seconds * 2 / 3:
                ended, lost = book.events["journeys ended by drivers"], len(book.lost_logins)
                users = book.present(time.time())
                self._samples.append(Sample(server.memory_kib(), users, ended, lost))
            elif passed >= next_kill:
                next_kill = passed + options.kill_every * self._chance.uniform(0.5, 1.5)
                await self._kill()

    async def _kill(self) -> None:
        server, events = self._server, self._book.events
        if self._chance.random() < 0.3 and server.kill_a_worker(self._chance):
            events["workers killed"] += 1
            return
        how = signal.SIGTERM if self._chance.random() < 0.3 else signal.SIGKILL
        events[f"server ended by {how.name}"] += 1
        if how is signal.SIGTERM:
            read = read_by_server(server.port, Path("/proc/net/tcp").read_text())
            for driver in self._drivers:
                driver.promise(read)
        await server.end(how)
        await server.start()

    def _last_start(self) -> dict[str, Any]:
        """The stations, when nobody asks for anything any more."""
        lines: list[bytes] = []
        try:
            with Client(port=self._server.port, on_line=lambda *line: lines.append(line[1])) as one:
                stations: dict[str, Any] = one.request("START")["data"]["station_models"]
        except (NoReply, KeyError) as error:
            self._book.find(f"the last START was not answered: {error!r}")
            return {}
        problem, _ = envelope(lines[-1])
        self._book.find(f"the last reply {problem}", problem)
        return stations


def report(book: Book, seconds: float, checked: str) -> int:
    """Print what came of it; the exit status."""
    total = sum(book.replies.values())
    print(f"{total} replies, {total / seconds:.0f} a second:")
    for (kind, code, reason), count in sorted(book.replies.items()):
        print(f"  {kind} {code} {reason}".rstrip() + f": {count}")
    print("; ".join(f"{count} {event}" for event, count in sorted((+book.events).items())))
    print(checked, *(f"FINDING: {finding}" for finding in book.findings), sep="\n")
    if book.untold_findings:
        print(f"and {book.untold_findings} more")
    count = len(book.findings) + book.untold_findings
    print(f"{count} findings" if count else "all adds up")
    return 1 if count else 0


def prepare(url: str, data: Path) -> None:
    """Make the storage. Problem: it cannot be, or holds something already."""
    try:
        storage = parse(url, str(data)).storage()
        storage.open(time.time())
        storage.close()
        found = read(url, data)
    except (ValueError, StorageError) as error:
        raise Problem(str(error)) from None
    if found.users or found.sessions or found.payments:
        raise Problem(f"{without_password(url)} is in use: name a database that is empty")


def over_zero(value: str) -> float:
    """A number over 0."""
    number = float(value)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("must be a number over 0")
    return number


def read_arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0].strip())
    add = parser.add_argument
    add("--connections", type=positive, default=500, help="drivers; default %(default)s")
    add("--seconds", type=over_zero, default=600.0, help="default %(default)g")
    every = "seconds, on the average; default: 20, or an eighth of a shorter run's time"
    add("--kill-every", type=over_zero, help=every)
    add("--storage", default="files", help="files, sqlite or the URL of an empty database")
    add("--workers", type=positive, default=1, help="processes of the server; default %(default)s")
    add("--seed", type=int, default=random.randrange(10**6), help="of its choices")
    add("--early", action="store_true", help="drivers who leave at once: many short journeys")
    add("--scratch", type=Path, help="where to put the folder that it works in")
    options = parser.parse_args()
    if options.kill_every is None:
        options.kill_every = min(20.0, options.seconds / 8)
    return options


def soak(options: argparse.Namespace, folder: Path) -> int:
    """Run, audit and report; the exit status."""
    url = f"sqlite:///{folder}/soak.db" if options.storage == "sqlite" else options.storage
    prepare(url, folder / "data")
    ttl_s = min(LONGEST_TTL_S, max(SHORTEST_TTL_S, options.seconds / 10))
    book = Book(EARLY_TTL_S if options.early else ttl_s, fragile=FRAGILE)
    book.disorder_s = DISORDER_S if options.workers > 1 else 0.0
    run, limit_s = Soak(options, folder, url, book), options.seconds + HARD_LIMIT_S
    try:
        checked = asyncio.run(asyncio.wait_for(run.run(), limit_s))
    except asyncio.TimeoutError:
        raise Problem(f"it has not ended within {limit_s:g} s") from None
    return report(book, options.seconds, checked)


def main() -> int:
    """Soak the server in a folder that is removed afterwards."""
    options = read_arguments()
    # Its own word on connections that are lost, which is what they are here for.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    print(
        f"soak: {options.connections} connections, {options.seconds:g} s, storage "
        f"{without_password(options.storage)}, {options.workers} workers, seed {options.seed}; "
        f"Python {platform.python_version()}, Twisted {twisted.__version__}, "
        f"{os.cpu_count()} cores",
        flush=True,
    )
    try:
        with tempfile.TemporaryDirectory(prefix=".evcharge-soak-", dir=options.scratch) as folder:
            return soak(options, Path(folder))
    except (Problem, OSError) as problem:
        print(f"soak: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("soak: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
