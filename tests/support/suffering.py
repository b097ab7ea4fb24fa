"""Hostile clients beside one that is served."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.support.servers import ROOT, Client, ServerTestCase, memory_kib

SECONDS = 2.5
"""How long each hostile client goes on, at first."""


def p99_of(waits: list[float]) -> float:
    """The longest but for one in a hundred."""
    return statistics.quantiles(waits, n=100)[98]


class HostileTestCase(ServerTestCase):
    """Hostile clients, each a process of its own, and what they take from others."""

    MOST_KIB = 10 * 1024
    MOST_S, MOST_TIMES = 0.05, 20
    """How long the other one may wait: so many seconds, or so many times what it waits with nobody
    else there, on a machine that has other things to do."""

    ATTEMPTS = 4
    """What else runs on a machine only ever makes a client wait longer, and do less: each attempt
    lasts twice as long as the one before."""

    def suffer(self, kind: str, *options: str, least: int = 0) -> None:
        """
        Have a hostile client go on while another one is served.

        :param least: what the first is to do.
        """
        for attempt in range(self.ATTEMPTS):
            seconds = SECONDS * 2**attempt
            done, grown_kib, calm, waits = self.try_once(kind, seconds, *options)
            self.assertLess(grown_kib, self.MOST_KIB)
            most = max(self.MOST_S, self.MOST_TIMES * p99_of(calm))
            if len(waits) > 100 and p99_of(waits) < most and done >= least:
                return
        self.fail(f"{kind} did {done}, and {len(waits)} waits were up to {p99_of(waits)} s: {most}")

    def try_once(
        self, kind: str, seconds: float, *options: str
    ) -> tuple[int, int, list[float], list[float]]:
        """
        What the hostile client did, the memory it cost (KiB), and how long the other one waited
        before it came, and while it was there.
        """
        server = self.start(Path(self.mktemp()), *options).wait()
        client = self.client(server)
        calm = []
        # What the first requests make is not to be counted.
        for _ in range(200):
            client.request("START")
            calm.append(self.wait_of(client))
        before = most = memory_kib(server)
        port = server.port
        if "--tls-port" in options:
            port = server.tls_port
        elif "--web-port" in options:
            port = server.web_port
        hostile = subprocess.Popen(
            [sys.executable, "-m", "tests.support.hostile", kind, str(port), str(seconds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        waits = []
        while hostile.poll() is None:
            waits.append(self.wait_of(client))
            if len(waits) % 20 == 0:
                most = max(most, memory_kib(server))
            # A driver, not another flood.
            time.sleep(0.001)
        done = json.loads(hostile.communicate()[0])["done"]
        self.assertEqual(hostile.returncode, 0)
        self.assertEqual(self.client(server).request("START")["status"]["code"], 200)
        # The next attempt may want its storage.
        self.stop(server)
        return done, most - before, calm, waits

    def wait_of(self, client: Client) -> float:
        """How long a client waits for an answer, seconds."""
        began = time.perf_counter()
        # Of somebody who is not there, so that the thread of the storage is asked too.
        reply = client.request("NAVIGATION", user_id="nobody", route_distance=10)
        self.assertEqual(reply["status"]["code"], 404)
        return time.perf_counter() - began
