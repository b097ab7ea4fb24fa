"""The systemd unit of docs/operation: that systemd takes it, and the server runs under it."""

import json
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge import cli
from evcharge.client import Client
from evcharge.net.guards.descriptors import RESERVED
from evcharge.process.options import Options
from evcharge.process.planners.child import NICENESS
from evcharge.process.workers.worker import END_S
from evcharge.storage.location import STORAGE_VARIABLE
from tests.handlers.test_plan import FEIRA, SALVADOR
from tests.support import postgres
from tests.support.certificates import make_certificate, tls_options
from tests.support.confined import settings
from tests.support.ports import free_port
from tests.support.servers import ROOT, Server, ServerTestCase
from tests.support.tools import need

UNIT = ROOT / "docs" / "operation" / "evcharge.service"
BACKUP = [UNIT.with_name(f"evcharge-backup.{kind}") for kind in ("service", "timer")]
DROP_INS = sorted((ROOT / "docs" / "operation" / "evcharge.service.d").glob("*.conf"))
PROGRAM, COMMAND = "/opt/evcharge/bin/twistd", "/opt/evcharge/bin/evcharge"

MOST_EXPOSED = 1.5
"""What `systemd-analyze security` may give the unit; 0 is best, 10 worst."""

PROBE = """
import errno, json, mmap, os, resource, socket, sys, threading
def tried(f, *args):
    try:
        f(*args)
    except OSError as error:
        return errno.errorcode[error.errno]
thread = threading.Thread(target=print, args=("",), kwargs={"end": ""})
thread.start()
thread.join()
json.dump({
    "executable memory": tried(mmap.mmap, -1, 4096, mmap.MAP_PRIVATE, 7),
    "memory": tried(mmap.mmap, -1, 4096, mmap.MAP_PRIVATE, 3),
    "netlink": tried(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW),
    "tcp": tried(socket.socket),
    "chown": tried(os.chown, "/", 0, 0),
    "nice": tried(os.nice, 1),
    "scheduler": tried(os.sched_setscheduler, 0, os.SCHED_BATCH, os.sched_param(0)),
    "umask": os.umask(0),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if "CapEff" in line],
}, sys.stdout)
"""


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess:
    need("systemd-analyze")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


class UnitTests(SynchronousTestCase):
    """What the unit says."""

    def installed(self, *drop_ins: Path) -> Path:
        """The unit with `drop_ins`, as it is where the program is installed."""
        folder = Path(self.mktemp()).absolute()
        beside = folder / "evcharge.service.d"
        beside.mkdir(parents=True)
        for source in (UNIT, *drop_ins):
            target = folder / source.name if source == UNIT else beside / source.name
            text = source.read_text()
            # systemd looks for it; any program will do.
            target.write_text(text.replace(PROGRAM, sys.executable))
        return folder / UNIT.name

    def test_verify(self) -> None:
        """systemd has nothing to say against it, nor against the drop-ins."""
        self.assertEqual(
            [path.name for path in DROP_INS], ["low-port.conf", "tls.conf", "web.conf"]
        )
        for drop_ins in ((), *((path,) for path in DROP_INS), DROP_INS):
            done = systemd_analyze("verify", str(self.installed(*drop_ins)))
            self.assertEqual((done.returncode, done.stderr), (0, ""), drop_ins)

    def test_backup(self) -> None:
        """Nor against the copy that is made each night, by a command that there is."""
        folder = self.installed().parent
        for path in BACKUP:
            text = path.read_text().replace(COMMAND, sys.executable)
            (folder / path.name).write_text(text)
        done = systemd_analyze("verify", *(str(folder / path.name) for path in BACKUP))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        (command,) = [
            shlex.split(each)[1:]
            for each in settings(BACKUP[0])["ExecStart"]
            if each.startswith(COMMAND)
        ]
        asked = cli._parser("").parse_args(command)
        (environment,) = settings(UNIT)["Environment"]
        self.assertEqual(environment, f"{STORAGE_VARIABLE}={asked.storage}")

    def test_exposure(self) -> None:
        """What systemd thinks of its hardening stays below a bound."""
        most = f"--threshold={MOST_EXPOSED * 10:g}"
        done = systemd_analyze(
            "security", "--offline=true", "--no-pager", most, str(self.installed())
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("Overall exposure level", done.stdout)

    def test_command(self) -> None:
        """The options of each command are the server's; none of them is a secret."""
        for path in (UNIT, *DROP_INS):
            for command in filter(None, settings(path).get("ExecStart", [])):
                program, *arguments = shlex.split(command)
                self.assertEqual(program, PROGRAM)
                self.assertEqual(arguments[:3], ["--nodaemon", "--pidfile=", "evcharge"])
                self.assertNotIn("--storage", arguments)
                options = Options()
                options.parseOptions(arguments[3:])
                # Behind the address of a proxy, or nobody's; by TLS, everybody's.
                self.assertEqual(options.settings.web.port, "localhost:8080")

    def test_order(self) -> None:
        """It comes after the network, the time and a database."""
        unit = UNIT.read_text().partition("[Service]")[0].splitlines()
        (after,) = [line.partition("=")[2].split() for line in unit if line.startswith("After=")]
        for target in ("network-online.target", "time-sync.target", "postgresql.service"):
            self.assertIn(target, after)
        # The time is not to be asked for: who keeps it does that (systemd.special(7)).
        self.assertIn("Wants=network-online.target", unit)

    def test_limits(self) -> None:
        """It has the time to drain, the descriptors for its connections, and its own restart."""
        said = {name: values[-1] for name, values in settings(UNIT).items()}
        self.assertGreater(float(said["TimeoutStopSec"]), END_S)
        options = Options()
        options.parseOptions([])
        self.assertGreaterEqual(
            int(said["LimitNOFILE"]), options.settings.limits.connections + RESERVED
        )
        self.assertEqual(said["Restart"], "on-failure")
        self.assertEqual(said["User"], "evcharge")
        self.assertEqual(said["StateDirectoryMode"], "0700")
        self.assertEqual(said["UMask"], "0077")
        self.assertNotIn("ExecReload", said)


class ConfinedServerTests(ServerTestCase):
    """
    The real server under those of the unit's restrictions that a process can put on itself.

    tests/support/confined.py says which.
    """

    def setUp(self) -> None:
        need("systemd-analyze", "libseccomp")
        self.confine(UNIT)

    def confine(self, unit: Path) -> None:
        program = ROOT / "tests" / "support" / "confined.py"
        self.confined = [sys.executable, str(program), str(unit)]

    def test_confined(self) -> None:
        """What is forbidden cannot be done, and what is needed can."""
        done = subprocess.run(
            [*self.confined, sys.executable, "-c", PROBE], capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(
            found,
            {
                "executable memory": "EPERM",
                "memory": None,
                "netlink": "EAFNOSUPPORT",
                "tcp": None,
                "chown": "EPERM",
                "nice": None,
                "scheduler": "EPERM",
                "umask": 0o077,
                "core": [0, 0],
                "capabilities": ["0000000000000000"],
            },
        )

    def journey(self, *options: str, lowered: int = NICENESS) -> Path:
        """
        A server that starts, serves a journey and ends by SIGTERM; its folder.

        :param lowered: how much nicer than the tests what plans a trip is to be.
        """
        data = Path(self.mktemp()).absolute()
        web = free_port()
        server = Server(data, "--web-port", str(web), *options, before=self.confined)
        self.addCleanup(self.stop, server)
        server.wait()
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/static/icon.svg", timeout=60) as icon:
            self.assertIn(b"<svg", icon.read())
        client = self.client(server)
        reply = client.request(
            "LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=40
        )
        self.assertEqual(reply["status"]["code"], 200, reply)
        user_id = reply["data"]["user_id"]
        reply = client.request("PLAN", user_id=user_id, places=[FEIRA, SALVADOR])
        self.assertEqual(len(reply["data"]["plan"]["stops"]), 1, reply)
        (planner,) = re.findall(r"Planner 1 is process (\d+)", "".join(list(server.log)))
        found = os.getpriority(os.PRIO_PROCESS, int(planner))
        self.assertEqual(found, min(os.getpriority(os.PRIO_PROCESS, 0) + lowered, 19))
        reply = client.request("PAYMENT", user_id=user_id, id_station=7, confirmation=True)
        self.assertTrue(reply["data"]["confirmation"], reply)
        reply = client.request("PAYMENT", user_id=user_id, id_station=7, confirmation=False)
        self.assertEqual(reply["status"]["code"], 200, reply)
        # For systemd a good end: a unit needs no SuccessExitStatus for it.
        self.assertEqual(server.end(), -signal.SIGTERM)
        return data

    def test_tls(self) -> None:
        """It speaks TLS, whose callbacks need what the unit alone does not let it have."""
        folder = Path(self.mktemp()).absolute()
        certificate, key = make_certificate(folder, "localhost")
        trusted = ssl.create_default_context(cafile=str(certificate))
        for name in ("tls.conf", "web.conf"):
            both = folder / name
            both.write_text(UNIT.read_text() + (DROP_INS[0].parent / name).read_text())
            self.confined[-1] = str(both)
            options = tls_options(certificate, key)
            server = Server(Path(self.mktemp()), *options, before=self.confined)
            self.addCleanup(self.stop, server)
            server.wait()
            with Client("localhost", server.tls_port, trusted) as client:
                self.assertEqual(client.request("START")["status"]["code"], 200)
            server.end()

    def test_files(self) -> None:
        """It serves a data directory."""
        self.journey()

    def test_earlier(self) -> None:
        """Under the unit of an earlier version, which allows no setpriority, it plans trips too."""
        unit = Path(self.mktemp()).absolute()
        unit.write_text(UNIT.read_text().replace("\nSystemCallFilter=setpriority\n", "\n"))
        self.confine(unit)
        self.journey(lowered=0)

    def test_sqlite(self) -> None:
        """It serves SQLite, with workers."""
        path = Path(self.mktemp()).absolute()
        self.journey("--storage", f"sqlite:///{path}", "--workers", "2")

    def test_postgresql(self) -> None:
        """It serves PostgreSQL, whose driver is a library of its own."""
        shared = postgres.shared()
        self.journey("--storage", shared.url(shared.create_database()))
