"""A real server with drivers of its own, seen by a client."""

import signal
import time
from pathlib import Path
from typing import Any

from tests.support import postgres
from tests.support.servers import Client, Server, ServerTestCase
from tests.support.waiting import LIMIT_S

STATIONS = (
    "id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos;potenciaKW;"
    "precoKWh;conectores\n1;Posto;Rua;-12.25;-38.95;2;50;2.00;CCS2\n"
)
SCENARIO = """
[network]
stations = "stations.csv"
[fleet]
"BYD Dolphin" = 1.0
[demand]
drivers_per_day = 240
[[demand.zone]]
name = "here"
share = 1.0
centre = [-12.25, -38.95]
radius_km = 4
[driver]
start_percent = { uniform = [20, 40] }
choose = { habit = 1.0 }
joins_queue = 1.0
accepts_eta_minutes = inf
patience_minutes = 120
second_try = 0
no_show = 0
"""
STATES = {"driving", "waiting", "charging"}


class SimulateTests(ServerTestCase):
    """`twistd evcharge --simulate`."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "stations.csv").write_text(STATIONS)
        self.scenario = folder / "here.toml"
        self.scenario.write_text(SCENARIO)
        self.data = Path(self.mktemp())

    def serve(self, *options: str) -> Server:
        simulate = ("--simulate", str(self.scenario), "--speed", "600", *options)
        return self.start(self.data, *simulate).wait()

    def listen(self, server: Server) -> tuple[Client, dict[str, Any]]:
        """A client that listens, once there is something."""
        client = self.client(server)
        ends = time.monotonic() + LIMIT_S
        while True:
            reply = client.request("SUBSCRIBE", topics=["vehicles", "simulation"])
            snapshot: dict[str, Any] = reply["data"]["snapshot"]
            if snapshot:
                return client, snapshot
            assert time.monotonic() < ends, server.log
            client.request("SUBSCRIBE", topics=[])
            time.sleep(0.05)

    def watch(self, server: Server) -> None:
        """See cars drive, queue and charge."""
        client, snapshot = self.listen(server)
        self.assertEqual(snapshot["simulation"]["speed"], 600)
        began = snapshot["simulation"]["timestamp"]
        seen: dict[str, set[tuple[float, float]]] = {state: set() for state in STATES}
        latest, ends = began, time.monotonic() + LIMIT_S
        while not all(seen.values()) or len(seen["driving"]) < 20 or latest == began:
            assert time.monotonic() < ends, (seen, server.log)
            data = client.reply()["data"]
            for key, car in data.get("vehicles", {}).items():
                self.assertTrue(key.startswith("sim-"))
                self.assertTrue(0 < car["battery_percent"] <= 100, car)
                seen[car["state"]].add((car["latitude"], car["longitude"]))
            latest = data.get("simulation", {"timestamp": latest})["timestamp"]
        self.assertGreater(latest, began)
        self.assertEqual(seen["charging"] | seen["waiting"], {(-12.25, -38.95)})

    def check_end(self, server: Server, sig: int = signal.SIGTERM) -> None:
        """It ends as every server does, and nothing has gone wrong."""
        self.assertEqual(server.end(sig), -sig)
        log = "".join(server.log)
        self.assertIn("Simulates ", log)
        for wrong in ("Traceback", "in no script", "#error", "#critical", "Unhandled"):
            self.assertNotIn(wrong, log)

    def test_files(self) -> None:
        """Cars drive, queue and charge at the scenario's station; after SIGTERM nobody is there."""
        server = self.serve()
        self.watch(server)
        self.check_end(server)
        again = self.start(self.data).wait()
        (there,) = self.client(again).request("START")["data"]["station_models"].values()
        self.assertEqual(
            (there["name_station"], there["available_slots"], there["queue_length"]),
            ("Posto", 2, 0),
        )
        self.check_again(again)

    def check_again(self, server: Server, *options: str) -> None:
        """Where the scenario's network is, it is simulated as if it were new."""
        if server.process.poll() is None:
            server.end()
        again = self.serve(*options)
        self.wait_for(again, "Simulates ")
        self.assertNotIn("left out", "".join(again.log))

    def test_sqlite(self) -> None:
        """So it is with SQLite; and Ctrl-C ends it as well."""
        storage = ("--storage", f"sqlite:///{self.data.absolute()}.db")
        server = self.serve(*storage, "--for-ever")
        self.watch(server)
        self.check_end(server, signal.SIGINT)
        self.assertIn("for ever", "".join(server.log))
        self.check_again(server, *storage)

    def test_postgresql(self) -> None:
        """So it is with PostgreSQL, whose replies all come later."""
        there = postgres.shared()
        server = self.serve("--storage", there.url(there.create_database()))
        self.watch(server)
        self.check_end(server)

    def test_mistake(self) -> None:
        """A mistake in the scenario is told by file, line and key, and nothing is made."""
        self.scenario.write_text(SCENARIO.replace("240", '"many"'))
        server = Server(self.data, "--simulate", str(self.scenario))
        self.addCleanup(self.stop, server)
        self.assertEqual(server.process.wait(LIMIT_S), 1)
        told = server.process.stderr.read()
        self.assertIn(f"{self.scenario}:7: demand.drivers_per_day: ", told)
        self.assertNotIn("Traceback", told)
        self.assertFalse(self.data.exists())
