"""What the measures of a request share: storages, the server's process, and the load's program."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import platform
import re
import select
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))  # for the tests' PostgreSQL

KINDS = ("start", "navigation", "login", "journey")
ECHO = "echo"

START_S = 20.0
"""How long a server may take to listen."""
STOP_S = 8.0
"""How long it may take to end; evcharge gives itself five seconds."""
LATE_S = 15.0
"""How much longer than it was told the load generator may take: it gives up on silence at 10 s."""

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
    :ivar spec: `files`, `sqlite`, `postgresql` for a server of our own, or what the option
        `--storage` takes.
    """

    label: str
    spec: str

    def arguments(self, folder: Path) -> list[str]:
        """The server's options for it, in `folder` where it has any files."""
        if self.spec == "files":
            return ["--data", str(folder / "data")]
        if self.spec == "sqlite":
            return ["--storage", f"sqlite:///{folder / 'evcharge.sqlite3'}"]
        if self.spec == "postgresql":
            return ["--storage", postgres().url(postgres().create_database())]
        return ["--storage", self.spec.replace("{dir}", str(folder))]


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path


@dataclass(frozen=True)
class Target:
    """One row of the table: a kind of load on a server with a storage; the echo has none."""

    kind: str
    storage: Storage | None
    depth: int

    @property
    def name(self) -> str:
        return self.kind if self.storage is None else f"{self.kind} on {self.storage.label}"


@functools.cache
def postgres() -> Any:
    """The PostgreSQL that the tests use, durable; Problem where it is not installed."""
    try:
        from tests.support.postgres import Postgres

        return Postgres(durable=True)
    except (ImportError, RuntimeError) as error:
        raise Problem(f"no PostgreSQL of our own ({error}): pip install -e '.[test]'") from None


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


def free_port() -> int:
    """A port that nothing listens on, and that the system gives to no client of its own accord."""
    for port in range(20000 + os.getpid() % 10000, 32768):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


def await_listening(
    server: subprocess.Popen[bytes], port: int, log: Path, name: str, within_s: float = START_S
) -> None:
    """Wait until the server accepts connections; Problem, with its log, where it does not."""
    deadline = time.monotonic() + within_s
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


def server_environment(options: Namespace) -> dict[str, str]:
    """The environment in which evcharge is found, the one that was asked for."""
    given = os.environ.get("PYTHONPATH")
    if options.source is not None:
        path = [str(options.source.resolve()), given]
    else:
        path = [given, str(ROOT)]
    # No bytecode in the source that is measured: it may be someone's working tree.
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    best, kind = -1, "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, each, *_ = line.split()
        if folder.is_relative_to(mounted) and len(mounted) > best:
            best, kind = len(mounted), each
    return kind


def facts(options: Namespace, scratch: Path) -> dict[str, str]:
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


@contextlib.contextmanager
def started(
    target: Target,
    options: Namespace,
    folder: Path,
    under: Sequence[str] = (),
    with_twistd: Sequence[str] = (),
    within_s: float = START_S,
    core: int | None = None,
) -> Iterator[Running]:
    """
    A new server that listens, with a new storage in `folder`; it ends on the way out.

    :param under: the program that runs Python, with its options, if any does.
    :param with_twistd: more options of twistd.
    :param within_s: how soon it has to listen.
    :param core: on which it runs, with what it starts; None: wherever there is time.
    """
    log, port = folder / "server.log", free_port()
    command = [*under, options.python]
    if target.storage is None:
        command += [str(HERE / "echo.py"), str(port)]
    else:
        command += ["-c", TWISTD, "--nodaemon", "--pidfile=", *with_twistd]
        command += ["evcharge", "--port", f"tcp:{port}:interface=127.0.0.1"]
        command += [*target.storage.arguments(folder), *shlex.split(options.server_arguments)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=server_environment(options),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A Ctrl-C is for this process, which then ends the others in order.
            start_new_session=True,
        )
    with ended(process):
        if core is not None:
            # Threads and children that it starts later are on the same core.
            os.sched_setaffinity(process.pid, {core})
        await_listening(process, port, log, target.name, within_s)
        yield Running(process, port, log)


@contextlib.contextmanager
def loaded(
    program: Path, target: Target, server: Running, options: Namespace, **wanted: float
) -> Iterator[subprocess.Popen[bytes]]:
    """
    The load generator at work on a server, with its options `wanted`.

    It says "ready" when it is warm, and counts from when it is told to.
    """
    wanted |= {"port": server.port, "connections": options.connections, "depth": target.depth}
    arguments = [f"--mode={target.kind}", *(f"--{name}={value}" for name, value in wanted.items())]
    load = subprocess.Popen(
        [str(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        bufsize=0,
    )
    with ended(load):
        yield load


def await_ready(load: subprocess.Popen[bytes], target: Target, log: Path, within_s: float) -> None:
    """Wait until the load is warm; Problem, with the server's log, where it does not get so."""
    assert load.stdout is not None
    readable, _, _ = select.select([load.stdout], [], [], within_s)
    if not readable or load.stdout.readline() != b"ready\n":
        raise Problem(f"no load on {target.name}; the server's log:\n{tail(log)}")


def result_of(
    load: subprocess.Popen[bytes], output: bytes, target: Target, server: Running
) -> dict[str, Any]:
    """
    What the load says that has ended.

    :raise WrongReplies: the server did not answer as it should.
    """
    result: dict[str, Any] = json.loads(output) if load.returncode == 0 else {}
    log = tail(server.log)
    if "closed" in result.get("errors", ()):
        # Which it does not do of itself: see whether it is still there.
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = server.process.wait(1)
            raise Problem(f"the server for {target.name} ended with {code}:\n{log}")
    if not result.get("requests") or result["errors"]:
        raise WrongReplies(f"{result.get('errors', 'no result')}; server's log:\n{log}")
    return result
