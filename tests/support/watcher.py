"""
Ends what the tests started, when their process ends, even where that is killed. Linux only.

Everything that a test starts inherits a mark. A process beside the tests holds the end of a pipe
whose other end only they have: when that closes, it kills whatever has the mark, with all that
descends from it, and removes the folders that it was told of.

The mark is an odd value of a resource limit that nothing here comes near to. Unlike a variable of
the environment it stays where a process writes itself another title, and unlike the parent it stays
where a process goes to the background.

    python tests/support/watcher.py MARK
"""

import contextlib
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

WATCHED = "EVCHARGE_TESTS_WATCHED"
"""In the environment of a process that tests, and of what it has started: where its pipe is."""


def watch() -> None:
    """Have all that this process starts from now on end with it."""
    if WATCHED in os.environ or not sys.platform.startswith("linux"):
        return
    _, most = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    mark = secrets.randbelow(2**20 if most == resource.RLIM_INFINITY else max(1, most))
    # Descriptors, as a file would be closed while the interpreter still has things to put away.
    theirs, ours = os.pipe()
    os.environ[WATCHED] = f"/proc/{os.getpid()}/fd/{ours}"
    # Apart from the terminal, as Ctrl+C there is meant for the tests.
    process = subprocess.Popen(
        [sys.executable, "-S", __file__, str(mark)],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs)
    # It outlives us: nobody is to say that it was not waited for.
    process.returncode = 0
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (mark, most))


def remove(folder: Path) -> None:
    """Have `folder` removed at the end."""
    # Opened anew, and not for long: the end comes when nobody has the pipe any more.
    if WATCHED in os.environ:
        with contextlib.suppress(OSError), open(os.environ[WATCHED], "wb", buffering=0) as pipe:
            pipe.write(os.fsencode(folder) + b"\n")


def marked(mark: int) -> set[int]:
    """The processes that have the mark, and all that descend from one."""
    found: set[int] = set()
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
            limits = Path(f"/proc/{name}/limits").read_text()
        except OSError:
            # It has gone.
            continue
        if state != "Z":
            parents[int(name)] = int(parent)
            # Of one that is ending there are none.
            soft = [line.split()[3] for line in limits.splitlines() if "msgqueue" in line]
            if soft == [str(mark)]:
                found.add(int(name))
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _wait_and_kill(mark: int) -> None:
    # Tests that start tests watch over this one, which has to see to its end.
    _, most = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (most, most))
    folders = sys.stdin.buffer.read().splitlines()
    # Until there is none: one may have been starting another one. We are a child of the tests
    # ourselves until they have wholly ended.
    while pids := marked(mark) - {os.getpid()}:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _wait_and_kill(int(sys.argv[1]))
