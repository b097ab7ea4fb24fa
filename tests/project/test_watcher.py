"""What tests start ends with their process, even where that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.servers import ROOT
from tests.support.waiting import until
from tests.support.watcher import WATCHED, marked

TESTS = """
import resource, subprocess, sys
from pathlib import Path
from tests.support import postgres
from tests.process.test_server import Server

folder = Path(sys.argv[1])
Server(folder / "one").wait()
shared = postgres.shared()
url = shared.url(shared.create_database())
Server(folder / "two", "--storage", url, "--workers", "2").wait()
# In the background it is nobody's child.
command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
where = [f"--pidfile={folder}/pid", f"--logfile={folder}/log", "evcharge", "--data", folder / "3"]
subprocess.run([*command, *where, "--port", "tcp:0:interface=127.0.0.1"], check=True)
shared.pause()
# As the processes do that share the tests.
(folder / "4").mkdir()
tell = "import sys; from tests.support import watcher; watcher.remove(sys.argv[1])"
subprocess.run([sys.executable, "-c", tell, folder / "4"], check=True)
print(resource.getrlimit(resource.RLIMIT_MSGQUEUE)[0], shared.socket_folder, flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class WatcherTests(SynchronousTestCase):
    """The process that watches."""

    def begin(self) -> tuple[subprocess.Popen[bytes], int, list[Path], set[int]]:
        """A process that tests, its mark, the folders to be removed, and what it has started."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        surroundings = {name: text for name, text in os.environ.items() if name != WATCHED}
        process = subprocess.Popen(
            [sys.executable, "-c", TESTS, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**surroundings, "PYTHONPATH": str(ROOT)},
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.stdout.close)
        mark, data = process.stdout.readline().split()
        started = marked(int(mark))
        # A server, a parent and its two workers, one in the background, PostgreSQL.
        self.assertGreater(len(started), 6)
        self.assertIn(int((folder / "pid").read_text()), started)
        return process, int(mark), [Path(data.decode()), folder / "4"], started

    def test_killed(self) -> None:
        """Servers, workers, one in the background and a PostgreSQL that hangs: nothing stays."""
        process, mark, folders, started = self.begin()
        self.assertTrue(all(map(Path.exists, folders)))
        process.send_signal(signal.SIGKILL)
        until(lambda: not any(map(alive, started)), "all of them end")
        until(lambda: not any(map(Path.exists, folders)), "the folders are removed")
        self.assertEqual(marked(mark), set())

    def test_ended(self) -> None:
        """The same where it ends by itself, and has left something."""
        process, _, folders, started = self.begin()
        process.stdin.close()
        self.assertEqual(process.wait(60), 0)
        until(lambda: not any(map(alive, started)), "all of them end")
        until(lambda: not any(map(Path.exists, folders)), "the folders are removed")
