"""Replications on a Dask cluster: a scheduler and two workers, on this machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator import study
from evcharge.simulator.executors import NoCluster, cluster, here
from tests.simulator.test_study import files
from tests.support import replications
from tests.support.replications import SCENARIOS, fail_at_2, plan, replicate

ROOT = Path(replications.__file__).parents[2]


class ClusterTests(SynchronousTestCase):
    """`--cluster`."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.told = self.folder / "scheduler.json"
        self.dask("scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard")
        deadline = time.monotonic() + 60
        while not self.told.exists() or not self.told.read_text().strip():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.address = json.loads(self.told.read_text())["address"]

    def dask(self, *words: str) -> None:
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

    def start_workers(self) -> None:
        """Two, of one thread each."""
        for _ in range(2):
            self.dask("worker", "--host=127.0.0.1", "--nthreads=1", "--no-nanny", "--no-dashboard")
        from distributed import Client

        with Client(self.address) as client:
            client.wait_for_workers(2, timeout=60)

    def test_cluster(self) -> None:
        """A cluster comes to the same bytes as this process; what fails there fails here."""
        with here(1) as workers:
            study.run(plan(), SCENARIOS, self.folder / "here", workers, replicate)
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
        self.assertEqual(files(self.folder / "there"), files(self.folder / "here"))

    def test_no_workers(self) -> None:
        """A scheduler that has no workers is told by its address."""
        with self.assertRaises(NoCluster) as caught, cluster(self.address):
            pass
        self.assertIn(self.address, str(caught.exception))
        self.assertIn("no workers", str(caught.exception))
