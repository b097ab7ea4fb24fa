"""What a person sees who types `make run`, on a terminal of its own."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import sys
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge.client import Client
from evcharge.healthcheck import healthy
from tests.support.ports import families, free_port
from tests.support.servers import ROOT

DEBIAN = """
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" "$3/bin/python3"
    echo "The virtual environment was not created successfully because ensurepip is not"
    echo "available.  On Debian/Ubuntu systems, you need to install the python3-venv"
    echo "package using the following command."
    echo
    echo "    apt install python3.11-venv"
    exit 1
fi
"""
WITHOUT_VENV = """
if [ "$1 $2" = "-m venv" ]; then
    echo "$0: No module named venv" >&2
    exit 1
fi
"""
FULL_DISK = """
if [ "$1 $2" = "-m venv" ]; then
    mkdir "$3"
    echo "Error: [Errno 28] No space left on device" >&2
    exit 1
fi
"""
HANGS = """
if [ "$1 $2" = "-m venv" ]; then
    mkdir "$3"
    echo "half of it is there" > /dev/tty
    exec sleep 100
fi
"""
OLD = """
if [ "$1" = -c ]; then exit 1; fi
if [ "$1" = --version ]; then echo "Python 3.9.2"; exit; fi
"""
GOOD = """
if [ "$1 $2" = "-m venv" ]; then
    echo "(venv)" > /dev/tty
    mkdir -p "$3/bin"
    for name in pip twistd; do
        printf '#!/bin/sh\\necho "(%s)"\\n' $name > "$3/bin/$name"
    done
    # That it is a port which is free, for one.
    echo '#!/bin/sh' > "$3/bin/python"
    chmod +x "$3/bin/"*
    exit
fi
"""


class Terminal:
    """A command on a terminal, and what it shows there."""

    def __init__(self, *command: str, **environment: str) -> None:
        self._read = b""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            # What make is told by the make that runs the tests is not for this one.
            inherited = {key: os.environ[key] for key in os.environ if not key.startswith("MAKE")}
            os.execvpe(command[0], command, {**inherited, "LC_ALL": "C.UTF-8", **environment})

    @property
    def shown(self) -> str:
        """All that it has shown so far."""
        return self._read.decode(errors="ignore").replace("\r", "")

    def wait(self, text: str | None = None) -> None:
        """Read until `text`, or to the end."""
        while text is None or text not in self.shown:
            try:
                more = os.read(self._terminal, 65536)
            except OSError:
                # Nobody has the other end any more.
                more = b""
            if not more:
                assert text is None, f"{text!r} not in {self.shown}"
                return
            self._read += more

    def press_ctrl_c(self) -> None:
        os.write(self._terminal, b"\x03")

    def end(self) -> int:
        """Read to the end; the exit status."""
        self.wait()
        os.close(self._terminal)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return status

    def kill(self) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.end()


class MakeTestCase(SynchronousTestCase):
    """Runs make with an environment of the test's."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.venv = self.folder / "venv"

    def script(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o700)
        return path

    def make(self, *arguments: str, **environment: str) -> Terminal:
        terminal = Terminal("make", *arguments, f"VENV={self.venv}", **environment)
        self.addCleanup(terminal.kill)
        return terminal


class EnvironmentTests(MakeTestCase):
    """While the environment is made, of which Debian's Python comes without a part."""

    def python(self, text: str, name: str = "python3") -> Path:
        """A Python that behaves as `text` says, and else as the one that runs the tests."""
        return self.script(name, f'{text}\nexec "{sys.executable}" "$@"\n')

    def refused(self, python: Path | str) -> str:
        """The line that says why there is no environment, which leaves nothing behind."""
        make = self.make("run", f"PYTHON={python}")
        self.assertEqual(make.end(), 2)
        begin, *said, end = make.shown.splitlines()
        self.assertEqual(begin, f"Making a Python environment in {self.venv}/")
        self.assertTrue(end.startswith("make: *** "), end)
        self.assertFalse(self.venv.exists())
        return "\n".join(said).replace(str(python), "PYTHON")

    def test_without_ensurepip(self) -> None:
        """A Python without ensurepip, or without venv: one line, with the command to type."""
        for text in (DEBIAN, WITHOUT_VENV):
            self.assertEqual(
                self.refused(self.python(text)),
                "evcharge: PYTHON lacks what makes a virtual environment; "
                "on Debian and Ubuntu, as root: apt install python3-venv",
            )
        said = self.refused(self.python(DEBIAN, "python3.12"))
        self.assertTrue(said.endswith(": apt install python3.12-venv"), said)

    def test_no_python(self) -> None:
        """No Python at all, or one that is too old, is named too."""
        self.assertEqual(
            self.refused("/nowhere/python3"),
            "evcharge: there is no PYTHON on this machine; "
            "on Debian and Ubuntu, as root: apt install python3-venv",
        )
        self.assertEqual(
            self.refused(self.python(OLD)),
            "evcharge: PYTHON is Python 3.9.2, and 3.10 is needed; "
            "name a later one: PYTHON=python3.12",
        )

    def test_other_trouble(self) -> None:
        """Any other trouble is shown as it is."""
        self.assertEqual(
            self.refused(self.python(FULL_DISK)),
            "Error: [Errno 28] No space left on device\n"
            f"evcharge: PYTHON cannot make a virtual environment in {self.venv}",
        )

    def test_interrupted(self) -> None:
        """Who stops it half-way finds nothing half made."""
        make = self.make("run", f"PYTHON={self.python(HANGS)}")
        make.wait("half of it is there")
        make.press_ctrl_c()
        make.end()
        self.assertFalse(self.venv.exists())

    def test_not_ours(self) -> None:
        """A folder that was there before is left alone."""
        self.venv.mkdir()
        (self.venv / "mine").touch()
        make = self.make("run", f"PYTHON={self.python(DEBIAN)}")
        self.assertEqual(make.end(), 2)
        self.assertTrue((self.venv / "mine").exists())

    def test_steps(self) -> None:
        """Each step that takes long says so before it begins."""
        make = self.make("run", f"PYTHON={self.python(GOOD)}", "PORT=9")
        self.assertEqual(make.end(), 0)
        self.assertEqual(
            make.shown.splitlines(),
            [
                f"Making a Python environment in {self.venv}/",
                "(venv)",
                f"Installing evcharge and what it needs in {self.venv}/: once, about a minute",
                "(pip)",
                "(twistd)",
            ],
        )


class RunTests(MakeTestCase):
    """With an environment that is there already."""

    def setUp(self) -> None:
        super().setUp()
        (self.venv / "bin").mkdir(parents=True)
        for name in (".made", ".run"):
            (self.venv / name).touch()
        run = (
            "import sys; sys.argv[0] = sys.argv.pop(1); "
            "from twisted.scripts.twistd import run; run()"
        )
        twistd = self.script("twistd", f"exec '{sys.executable}' -c '{run}' \"$0\" \"$@\"\n")
        twistd.rename(self.venv / "bin" / "twistd")
        (self.venv / "bin" / "python").symlink_to(sys.executable)
        (self.venv / "bin" / "evcharge").touch()

    def run_at(self, port: object, web: object = "", **environment: str) -> Terminal:
        data = f"DATA={self.folder / 'data'}"
        return self.make("run", f"PORT={port}", f"WEB={web}", data, **environment)

    def test_sentences(self) -> None:
        """It says in sentences what it does and where it is, until Ctrl-C."""
        web = free_port()
        make = self.run_at(0, web)
        make.wait("Ctrl-C\n")
        port = re.search(r"^Apps: +\S+:(\d+)", make.shown, re.M)[1]
        # Until it answers, the reactor may not run yet, and Ctrl-C is not its own.
        self.assertTrue(healthy("127.0.0.1", int(port)))
        for host in families().values():
            socket.create_connection((host, web)).close()
        make.press_ctrl_c()
        self.assertEqual(make.end(), -signal.SIGINT)
        *said, end = make.shown.replace("^C", "").splitlines()
        self.assertEqual(
            said,
            [
                f"Apps:  127.0.0.1:{port}, from other machines too",
                f"Map:   http://127.0.0.1:{web}",
                f"Data:  {self.folder}/data (36 stations, 0 users)",
                f"Try:   {self.example(port)}     Stop: Ctrl-C",
                "stopped; nothing lost",
            ],
        )
        self.assertRegex(end, r"^make: \*\*\* .*Interrupt$")

    def example(self, port: str) -> str:
        """The command that a person is told of, and that there is."""
        beside = str(self.venv / "bin" / "evcharge").removeprefix(f"{ROOT}/")
        program = "evcharge" if shutil.which("evcharge") else beside
        return f"{program} ask START --port {port}"

    def test_options(self) -> None:
        """Any further option of the server may be given."""
        data = f"DATA={self.folder / 'data'}"
        make = self.make("run", "PORT=0", "WEB=", data, "OPTIONS=--time-scale=60 --language en")
        make.wait("Ctrl-C\n")
        port = int(re.search(r"^Apps: +\S+:(\d+)", make.shown, re.M)[1])
        with Client("127.0.0.1", port) as client:
            start = client.request("START", limit=1)
        self.assertEqual(start["status"]["message"], "Success")
        self.assertEqual(start["data"]["time_scale"], 60)

    def test_demo(self) -> None:
        """A demonstration says where its map is, and has cars there, until Ctrl-C."""
        web = free_port()
        data = self.folder / "demo"
        make = self.make("demo", "PORT=0", f"WEB={web}", f"DEMO={data}", f"DATA={self.folder}/mine")
        make.wait("Ctrl-C\n")
        self.assertEqual(
            [re.sub(r"\(.*|:\d+,", "", line) for line in make.shown.splitlines()[:4]],
            [
                "Drivers are simulated, and their time goes 60 times as fast as ours",
                "Apps:  127.0.0.1 from other machines too",
                f"Map:   http://127.0.0.1:{web}",
                f"Data:  {data} ",
            ],
        )
        seen = set[str]()
        address = f"http://127.0.0.1:{web}/api/v1/live?topics=vehicles,simulation"
        with urllib.request.urlopen(address, timeout=60) as live:
            for line in live:
                if line.startswith(b"data: "):
                    told = json.loads(line[6:])
                    told = told.get("snapshot", told)
                    seen |= {car["state"] for car in told.get("vehicles", {}).values()}
                if seen >= {"driving", "charging"}:
                    break
        make.press_ctrl_c()
        self.assertEqual(make.end(), -signal.SIGINT)
        self.assertIn("stopped; ", make.shown)
        self.assertNotIn("Traceback", make.shown)
        self.assertFalse((self.folder / "mine").exists())

    def started(self, make: Terminal) -> list[str]:
        """What is said of the map, by a server that listens and is then ended."""
        make.wait("Ctrl-C\n")
        make.kill()
        return [line for line in make.shown.splitlines() if re.match("Map:|Port ", line)]

    def test_map_taken(self) -> None:
        """Where the map's port is taken, of either family, it runs without, and says so."""
        without = "Map:   none; --web-port 8080 shows one"
        for family, host in families().items():
            with socket.create_server((host, 0), family=family) as other:
                web = other.getsockname()[1]
                self.assertEqual(
                    self.started(self.run_at(0, web)),
                    [
                        f"Port {web} is taken, so there is no map: "
                        "make run WEB=8081 shows it at another",
                        without,
                    ],
                )
        self.assertEqual(self.started(self.run_at(0)), [without])

    def test_map_taken_meanwhile(self) -> None:
        """A map's port that is taken after it was found free is told by the server, in a line."""
        (self.venv / "bin" / "python").unlink()
        self.script("python", "exit 0\n").rename(self.venv / "bin" / "python")
        with socket.create_server(("127.0.0.1", 0)) as other:
            make = self.run_at(0, other.getsockname()[1])
            self.assertEqual(make.end(), 2)
        (problem,) = (line for line in make.shown.splitlines() if "cannot" in line)
        self.assertTrue(problem.endswith("by --web-port (make run WEB=…)"), problem)
        self.assertNotIn("Traceback", make.shown)

    def test_port_taken(self) -> None:
        """A port that is taken, by a server of IPv6 alone too, says how to choose another."""
        for family, host in families().items():
            with socket.create_server((host, 0), family=family) as other:
                make = self.run_at(other.getsockname()[1])
                self.assertEqual(make.end(), 2)
            (problem,) = (line for line in make.shown.splitlines() if "cannot" in line)
            self.assertRegex(
                problem, r"^evcharge: cannot listen on \S+:\d+: Address already in use; "
            )
            self.assertTrue(problem.endswith("by --port (make run PORT=…)"), problem)
            self.assertNotIn("Traceback", make.shown)
