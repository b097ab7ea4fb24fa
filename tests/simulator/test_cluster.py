"""Replications on a Dask cluster: a scheduler and two workers, on this machine."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator import study
from evcharge.simulator.executors import NoCluster, cluster, here
from tests.simulator.test_study import files
from tests.support import replications
from tests.support.ports import free_port
from tests.support.replications import (
    SCENARIOS,
    be_killed,
    fail_at_2,
    plan,
    replicate,
    replicate_with_leave,
)
from tests.support.tools import need

ROOT = Path(replications.__file__).parents[2]
PAGE = ROOT / "docs" / "simulator" / "cluster.md"
WAIT_S = 60.0


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that will be so."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class ClusterTests(SynchronousTestCase):
    """`--cluster`."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.told = self.folder / "scheduler.json"
        self.scheduler = self.dask("scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard")
        until(lambda: self.told.exists() and self.told.read_text().strip())
        self.address = json.loads(self.told.read_text())["address"]

    def dask(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one of its processes, which ends with the test."""
        command = [sys.executable, "-m", "dask", *words, f"--scheduler-file={self.told}"]
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def start_workers(self, count: int = 2) -> list[subprocess.Popen[bytes]]:
        """Some, of one thread each."""
        words = ("worker", "--host=127.0.0.1", "--nthreads=1", "--no-nanny", "--no-dashboard")
        started = [self.dask(*words) for _ in range(count)]
        self.wait_for_workers(count)
        return started

    def wait_for_workers(self, count: int) -> None:
        """Until the scheduler has as many."""
        from distributed import Client

        with Client(self.address) as client:
            client.wait_for_workers(count, timeout=WAIT_S)

    def expected(self) -> dict[str, bytes]:
        """The files of the study that is run by one process."""
        with here(1) as workers:
            study.run(plan(), SCENARIOS, self.folder / "here", workers, replicate)
        return files(self.folder / "here")

    def test_cluster(self) -> None:
        """A cluster comes to the same bytes as this process; what fails there fails here."""
        self.start_workers()
        with cluster(self.address) as workers:
            self.assertEqual(workers.at_once, 2)
            made = study.run(plan(), SCENARIOS, self.folder / "there", workers, replicate)
            self.assertTrue(made.is_complete)
            broken = self.folder / "broken"
            error = self.assertRaises(
                ArithmeticError, study.run, plan(), SCENARIOS, broken, workers, fail_at_2
            )
            self.assertIn("born are 3", str(error))
        self.assertEqual(files(self.folder / "there"), self.expected())

    def test_no_workers(self) -> None:
        """A scheduler that has no workers is told by its address."""
        with self.assertRaises(NoCluster) as caught, cluster(self.address):
            pass
        self.assertIn(self.address, str(caught.exception))
        self.assertIn("no workers", str(caught.exception))

    def test_no_certificates(self) -> None:
        """TLS without certificates is told in words."""
        address = self.address.replace("tcp:", "tls:")
        with self.assertRaises(NoCluster) as caught, cluster(address):
            pass
        self.assertIn(f"{address} needs Dask's certificates", str(caught.exception))

    def run_with(self, meanwhile: Callable[[], object]) -> study.Study:
        """
        Run the study, and do something when the first replications are under way.

        They go on after that.
        """
        scenarios = [attrs.evolve(each, folder=str(self.folder)) for each in SCENARIOS]

        def when_under_way() -> None:
            until(lambda: len(list(self.folder.glob("under-way-*"))) >= 2)
            meanwhile()
            (self.folder / "leave").touch()

        thread = Thread(target=when_under_way)
        thread.start()
        self.addCleanup(thread.join)
        with cluster(self.address) as workers:
            return study.run(
                plan(), scenarios, self.folder / "there", workers, replicate_with_leave
            )

    def test_lost_worker(self) -> None:
        """What a worker was at when it was killed is done by another, and comes to the same."""
        doomed, _ = self.start_workers()
        made = self.run_with(doomed.kill)
        self.assertTrue(made.is_complete)
        self.assertEqual(files(self.folder / "there"), self.expected())

    def test_lost_scheduler(self) -> None:
        """A scheduler that is killed ends the study, in words; it goes on without one."""
        self.start_workers()
        error = self.assertRaises(NoCluster, self.run_with, self.scheduler.kill)
        self.assertIn("was lost; the same command goes on where this ended", str(error))
        with here(1) as workers:
            study.run(plan(), SCENARIOS, self.folder / "there", workers, replicate)
        self.assertEqual(files(self.folder / "there"), self.expected())

    def test_lost_workers(self) -> None:
        """A replication with which one worker after another is lost ends the study, in words."""
        # Its nanny starts another one.
        self.dask("worker", "--host=127.0.0.1", "--nthreads=1", "--no-dashboard")
        self.wait_for_workers(1)
        with self.assertRaises(NoCluster) as caught, cluster(self.address) as workers:
            study.run(plan(), SCENARIOS, self.folder / "there", workers, be_killed)
        self.assertIn("4 workers were lost with the same replication", str(caught.exception))


SHELL = """
set -e
trap 'kill $(jobs -p); wait' EXIT
evcharge() { @python -c 'from evcharge.cli import main; main()' "$@"; }
dask() { exec @python -m dask "$@"; }
pip() { :; }
"""
"""As a person's, who ends in the end what goes on; nothing has to be installed."""

READY = "@python -c 'from distributed import Client; Client(\"{}\").wait_for_workers(2, {})'"


class PageTests(SynchronousTestCase):
    """docs/simulator/cluster.md."""

    def test_commands(self) -> None:
        """Each command does what is shown: on one machine, and by TLS on several that are one."""
        need("bash", "openssl")
        page = PAGE.read_text("utf-8")
        trial, certificate, several = re.findall(r"^```console\n(.*?)^```", page, re.M | re.S)
        (settings,) = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
        self.assertEqual(*self.replay(trial))
        self.assertEqual(*self.replay(certificate, settings, several))

    def replay(self, *blocks: str) -> tuple[str, str]:
        """
        Run blocks of the page in one shell, whatever machines they are for.

        :return: what is printed, and what is shown.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        shown = re.findall(r"^(?!\$ |export |for |done|    ).*\n", "".join(blocks), re.M)
        script = re.sub(r"^\$ ", "", "".join(blocks), flags=re.M).replace("10.0.0.5", "127.0.0.1")
        script = "".join(each for each in script.splitlines(True) if each not in shown)
        port = free_port()
        script = re.sub(r"(dask scheduler .*) &", rf"\1 --port {port} &", script)
        script = script.replace(":8786", f":{port}").replace("$(nproc)", "2")
        (address,) = re.findall(r"--cluster (\S+)", script)
        ready = READY.format(address, WAIT_S)
        script = re.sub("^(?=evcharge)", f"{ready}\n", script, flags=re.M)
        done = subprocess.run(
            [need("bash"), "-c", (SHELL + script).replace("@python", sys.executable)],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, "".join(shown)
