"""
Server processes that need not import anything: that is most of what starting one takes.

A process beside the tests has imported what a server needs, and forks itself for each. It ends with
the tests.

    python -m tests.support.forked
"""

import functools
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from struct import Struct

NUMBER = Struct("i")
"""First the number of a process, then its exit status."""

USED = (
    *("evcharge.tap", "evcharge.process.workers.parent", "evcharge.process.workers.watch"),
    *("evcharge.net.tls.alpn", "evcharge.net.tls.certificate", "evcharge.web.health"),
    *("evcharge.web.operator", "evcharge.web.site", "evcharge.storage.sql.store"),
    *("alembic.command", "psycopg", "sqlalchemy.dialects.postgresql.psycopg"),
    *("sqlalchemy.dialects.sqlite.pysqlite", "sqlalchemy.sql.compiler", "sqlite3"),
)
"""What servers import, some of it only where they are told to do what it is for."""


class Forked:
    """
    A process of `twistd`, which is used as :class:`subprocess.Popen` is.

    Its command line, and its limits but that of open files, are of the process that it came from.

    :param modules: a folder where Python looks for modules first, as for `sitecustomize`, before
        anything is imported.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], modules: str = ""
    ) -> None:
        out, theirs_out = os.pipe()
        err, theirs_err = os.pipe()
        self._status, theirs_status = os.pipe()
        theirs = [theirs_out, theirs_err, theirs_status]
        os.umask(mask := os.umask(0))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = [list(arguments), dict(environment), os.getcwd(), mask, limits]
        socket.send_fds(_origin(modules), [json.dumps(wanted).encode()], theirs)
        for descriptor in theirs:
            os.close(descriptor)
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)
        (self.pid,) = NUMBER.unpack(os.read(self._status, NUMBER.size))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit status."""
        status = self._wait(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("twistd", timeout)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; its last words, which have to be few, and its last errors."""
        self.wait(timeout)
        return self.stdout.read(), self.stderr.read()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            # Not `select`, which knows no descriptor over 1023.
            waiting = select.poll()
            waiting.register(self._status)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                return None
            (self.returncode,) = NUMBER.unpack(os.read(self._status, NUMBER.size))
            os.close(self._status)
        return self.returncode


@functools.cache
def _origin(modules: str) -> socket.socket:
    """Where the process can be asked that forks itself; it looks for modules there first."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked"],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([*filter(None, [modules]), *sys.path]),
            },
            cwd="/",
        )
    # It ends when we do: nobody is to say that it was not waited for.
    process.returncode = 0
    return ours


def _serve(asks: socket.socket) -> None:
    """Fork for each who asks; returns in the forks alone, as what they are to be."""
    statuses: dict[int, int] = {}

    def reap(*_: object) -> None:
        while statuses:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            descriptor = statuses.pop(pid)
            os.write(descriptor, NUMBER.pack(os.waitstatus_to_exitcode(status)))
            os.close(descriptor)

    signal.signal(signal.SIGCHLD, reap)
    while True:
        message, theirs, _, _ = socket.recv_fds(asks, 1 << 20, 3)
        if not message:
            sys.exit()
        # Nobody is reaped before he is known.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if not pid:
            break
        statuses[pid] = theirs.pop()
        os.write(statuses[pid], NUMBER.pack(pid))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for descriptor in theirs:
            os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    asks.close()
    for place, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), *enumerate(theirs[:2], 1)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    for descriptor in (theirs[2], *statuses.values()):
        os.close(descriptor)
    arguments, environment, folder, mask, limits = json.loads(message)
    os.umask(mask)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[1:] = arguments
    sys.orig_argv[1:] = arguments


if __name__ == "__main__":
    from twisted.application.service import IServiceMaker
    from twisted.plugin import getPlugins
    from twisted.scripts.twistd import run

    for each in USED:
        import_module(each)
    list(getPlugins(IServiceMaker))
    assert "twisted.internet.reactor" not in sys.modules, "a reactor cannot be shared"
    _serve(socket.socket(fileno=0))
    run()
