"""The processes that plan trips: real ones, killed and stopped, and who waits for them."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import struct
import threading
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPResponse
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets import parse_car_models, parse_stations
from evcharge.datasets.files import CARS, shipped
from evcharge.models.slots import StationState
from evcharge.models.terms import DEFAULT_TERMS
from evcharge.outcomes import UNAVAILABLE
from evcharge.planning.planner import Asked
from evcharge.planning.sites import Look
from evcharge.process.planners.child import packed, received
from evcharge.process.planners.parent import JUST_NOW_S, MOST_WAITING, Planners
from evcharge.process.planners.planner import (
    GRACE_S,
    MOST_AT_ONCE,
    TRIPS_PER_S,
    SearchFailed,
)
from evcharge.process.settings import PlanSettings
from evcharge.process.virtual_clock import VirtualClock
from evcharge.rules.journey import ListStations
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import MemoryServer, shipped_network
from evcharge.watch.metrics import Metrics
from tests.handlers.test_plan import CONQUISTA, FEIRA, SALVADOR
from tests.process.test_workers import gone, state
from tests.support.commands import run
from tests.support.frames import TEXT, UPGRADE, frame
from tests.support.servers import LOGIN, Client, HealthTestCase, Server, request_line
from tests.support.waiting import until

TRIP: dict[str, Any] = {"places": [FEIRA, SALVADOR]}
WITHIN_RANGE: dict[str, Any] = {**TRIP, "battery_percent": 90}


def http_request(user: str) -> bytes:
    """A PLAN by HTTP, whole."""
    body = json.dumps({"user_id": user, **TRIP}).encode()
    head = (
        "POST /api/v1/plan HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class PlannersTestCase(HealthTestCase):
    """A real server, whose planners are found by its log."""

    def planning(self, *options: str, **more: Any) -> Server:
        self.server = self.serve(*options, **more)
        self.addCleanup(self.end_planners)
        self.user = self.client(self.server).request("LOGIN", **LOGIN)["data"]["user_id"]
        return self.server

    def ask(self, client: Client, **more: Any) -> dict[str, Any]:
        return client.request("PLAN", user_id=self.user, **{**TRIP, **more})

    def begin(self, client: Client, **more: Any) -> None:
        client.begin("PLAN", user_id=self.user, **{**TRIP, **more})

    def pids(self) -> list[int]:
        """The processes of all planners that there have been."""
        found = re.findall(r"Planner \d+ is process (\d+)", "".join(list(self.server.log)))
        return [int(pid) for pid in found]

    def planner(self, number: int = 1) -> int:
        """The process of the so-manieth planner that there has been."""
        return until(lambda: self.pids()[number - 1 :], "a planner", log=self.server.log)[0]

    def stopped(self) -> int:
        """The only planner, which does nothing from now on."""
        client = self.client(self.server)
        self.assertEqual(self.ask(client)["status"]["code"], 200)
        pid = self.planner()
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state(pid) == "T", "the planner is stopped")
        return pid

    def end_planners(self) -> None:
        for pid in self.pids():
            if state(pid) != "Z":
                os.kill(pid, signal.SIGKILL)

    def waiting(self) -> float:
        return self.samples()["evcharge_plan_queue",]


class PlannersTests(PlannersTestCase):
    """One planner."""

    def test_same(self) -> None:
        """It finds what is found in the server itself; who need not stop starts no process."""
        self.planning()
        client = self.client(self.server)
        self.assertEqual(self.ask(client, **WITHIN_RANGE)["data"]["plan"]["stops"], [])
        self.assertEqual(self.pids(), [])
        here = MemoryServer()
        user = here.request("LOGIN", **LOGIN)["data"]["user_id"]
        for more in ({}, {"criterion": "front"}, {"places": [FEIRA, CONQUISTA]}):
            there = self.ask(client, **more)
            self.assertEqual(
                there["data"], here.request("PLAN", user_id=user, **{**TRIP, **more})["data"]
            )
        self.assertEqual(len(self.pids()), 1)
        nice = Path(f"/proc/{self.planner()}/stat").read_text().rpartition(")")[2].split()[16]
        self.assertGreater(int(nice), 0)
        samples = self.samples()
        self.assertEqual(samples["evcharge_plan_duration_seconds_count",], 3)
        self.assertEqual(samples["evcharge_plan_stops_bucket", "1.0"], 2)
        self.assertEqual(samples["evcharge_plan_stops_count",], 2)
        self.assertEqual(samples["evcharge_plan_gap_seconds_bucket", "0.0"], 2)
        self.assertEqual(samples["evcharge_plan_stations_bucket", "25.0"], 2)
        self.assertEqual(samples["evcharge_plans_impossible_total",], 1)
        self.assertEqual(samples["evcharge_planners_lost_total",], 0)

    def test_others(self) -> None:
        """While one waits for a plan others are served, and so is what it asks before the reply
        in its turn."""
        self.planning()
        pid = self.stopped()
        client, other = self.client(self.server), self.client(self.server)
        asked = {"user_id": self.user, "route_distance": 1}
        client.socket.sendall(
            request_line("PLAN", user_id=self.user, **TRIP) + request_line("NAVIGATION", **asked)
        )
        self.assertEqual(other.request("NAVIGATION", **asked)["status"]["code"], 200)
        self.assertEqual(self.ask(other, **WITHIN_RANGE)["status"]["code"], 200)
        os.kill(pid, signal.SIGCONT)
        self.assertEqual([client.reply()["type"] for _ in range(2)], ["PLAN", "NAVIGATION"])

    def test_killed(self) -> None:
        """When one dies another does what it was at; where that dies too it is given up."""
        self.planning()
        pid = self.stopped()
        client = self.client(self.server)
        self.begin(client)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(client.reply()["status"]["code"], 200)
        self.assertNotEqual(self.planner(2), pid)
        os.kill(self.planner(2), signal.SIGSTOP)
        until(lambda: state(self.planner(2)) == "T", "the planner is stopped")
        self.begin(client)
        os.kill(self.planner(2), signal.SIGKILL)
        # As soon as it is there.
        os.kill(self.planner(3), signal.SIGKILL)
        reply = client.reply()
        self.assertEqual((reply["type"], reply["data"]["reason"]), ("PLAN", "unavailable"))
        self.assertIs(reply["data"]["feasible"], False)
        # It may be refused as none of them lives long: then the last one may end after that.
        until(
            lambda: self.samples()["evcharge_planners_lost_total",] == 3,
            "three are lost",
        )

    def test_full(self) -> None:
        """A hundred may wait; the next is refused, and the others are planned for in time."""
        self.planning()
        pid = self.stopped()
        clients = [self.client(self.server) for _ in range(101)]
        for client in clients:
            client.socket.sendall(request_line("PLAN", user_id=self.user, **TRIP))
        until(lambda: self.waiting() == 100, "a hundred wait")
        reply = self.ask(self.client(self.server))
        self.assertEqual((reply["status"]["code"], reply["data"]["reason"]), (503, "unavailable"))
        self.assertTrue(self.ask(self.client(self.server), **WITHIN_RANGE)["data"]["feasible"])
        os.kill(pid, signal.SIGCONT)
        for client in clients:
            self.assertEqual(client.reply()["status"]["code"], 200)
        self.assertEqual(self.waiting(), 0)

    def test_gone(self) -> None:
        """Nobody plans for a client that has gone before it was begun."""
        self.planning()
        pid = self.stopped()
        first = self.client(self.server)
        self.begin(first)
        clients = [Client(self.server.port) for _ in range(3)]
        for client in clients:
            self.begin(client)
        until(lambda: self.waiting() == 3, "three wait")
        for client in clients:
            # The connection is lost at once.
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        until(lambda: self.waiting() == 0, "nobody waits")
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(first.reply()["status"]["code"], 200)
        samples = self.samples()
        self.assertEqual(samples["evcharge_plan_duration_seconds_count",], 2)
        self.assertNotIn(("evcharge_requests_total", "503", "PLAN"), samples)

    def test_closed(self) -> None:
        """Nor for one that has closed its end, which only its reset tells from half a close."""
        self.planning("--web-port", "0")
        pid = self.stopped()
        first = Client(self.server.port)
        self.begin(first)
        clients = [Client(self.server.port) for _ in range(3)]
        for client in clients:
            self.begin(client)
        post = http_request(self.user)
        web = [socket.create_connection(("127.0.0.1", self.server.web_port)) for _ in range(4)]
        for each in web[:3]:
            each.sendall(post)
        line = request_line("PLAN", user_id=self.user, **TRIP)
        web[3].sendall(UPGRADE + frame(TEXT, line))
        until(lambda: self.waiting() == 7, "seven wait")
        for client in clients:
            client.close()
        until(lambda: self.waiting() == 4, "four wait", GRACE_S / 2)
        web[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for each in web:
            each.close()
        until(lambda: self.waiting() == 0, "nobody waits", GRACE_S / 2)
        # What is begun is ended, and answered to nobody.
        first.close()
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(self.ask(self.client(self.server))["status"]["code"], 200)
        self.assertEqual(self.samples()["evcharge_plan_duration_seconds_count",], 3)
        self.assertNotIn("Traceback", "".join(list(self.server.log)))

    def test_half(self) -> None:
        """Who has closed its half is answered all the same, behind what it was probed with."""
        self.planning("--web-port", "0")
        pid = self.stopped()
        client = self.client(self.server)
        self.begin(client)
        client.socket.shutdown(socket.SHUT_WR)
        post = HTTPConnection("127.0.0.1", self.server.web_port)
        self.addCleanup(post.close)
        post.connect()
        post.sock.sendall(http_request(self.user))
        post.sock.shutdown(socket.SHUT_WR)
        web = socket.create_connection(("127.0.0.1", self.server.web_port))
        self.addCleanup(web.close)
        line = request_line("PLAN", user_id=self.user, **TRIP)
        web.sendall(UPGRADE + frame(TEXT, line))
        web.shutdown(socket.SHUT_WR)
        for each in (client.socket, post.sock):
            # Until then it was not probed.
            self.assertTrue(each.recv(1, socket.MSG_PEEK))
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(client.reply()["status"]["code"], 200)
        response = HTTPResponse(post.sock, method="POST")
        response.begin()
        self.assertEqual(response.status, 200)
        self.assertTrue(json.loads(response.read())["data"]["feasible"])
        with web.makefile("rb") as read:
            self.assertIn(b'"feasible":true', read.read())


class Transport:
    """Where a planner's process would be."""

    pid = 1

    def __init__(self) -> None:
        self.signals: list[str] = []
        self._told = BytesIO()

    def write(self, data: bytes) -> None:
        at = self._told.tell()
        self._told.seek(0, SEEK_END)
        self._told.write(data)
        self._told.seek(at)

    def told(self) -> list[Any]:
        """What it was told since this was asked last."""
        values = []
        with contextlib.suppress(EOFError):
            while True:
                values.append(received(self._told))
        return values

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


class Machine(VirtualClock):
    """Timers, and processes of which there are none, or that do nothing."""

    starts = True

    def __init__(self) -> None:
        super().__init__()
        self.transports: list[Transport] = []

    def spawnProcess(self, protocol: Any, *_: Any, **more: Any) -> None:
        if not self.starts:
            raise OSError("no more processes")
        self.transports.append(Transport())
        protocol.makeConnection(self.transports[-1])


class FaultTests(SynchronousTestCase):
    """Planners that cannot do what they are there for."""

    def setUp(self) -> None:
        self.machine, self.metrics = Machine(), Metrics()
        self.counts = self.metrics.plans
        self.planners = Planners(PlanSettings(), self.machine, self.metrics)
        self.planners.startService()
        model = shipped_network().catalogue().models["Tesla Model 3"]
        place = FEIRA["latitude"], FEIRA["longitude"]
        self.asked = Asked(model, 40.0, [place, place])
        self.look = Look(model, 0.0, DEFAULT_TERMS, {})

    def solve(self, states: Sequence[StationState] = ()) -> Any:
        return maybeDeferred(self.planners.solve, self.asked, self.look, states, ())

    def solved(self, states: Sequence[StationState] = ()) -> list[Any]:
        """What the planner is told where it answers at once."""
        searched = self.solve(states)
        self.machine.advance(0.001)
        data = {"feasible": False, "stations_considered": 0}
        self.planners.planners[0].outReceived(packed((0.001, data)))
        self.machine.advance(0)
        self.assertEqual(self.successResultOf(searched), data)
        return self.machine.transports[0].told()

    def test_changes(self) -> None:
        """A planner is told of each station once, of one that has changed again, and for each trip
        of which stations it may go to."""
        server = MemoryServer()

        def states() -> list[StationState]:
            return [*server.engine.context.perform(ListStations())]

        first = states()
        _, *told, trip = self.solved(first)
        self.assertEqual([state for part in told for state in part], first)
        self.assertEqual(trip[2], [state.station.station_id for state in first])
        (trip,) = self.solved(first[1:])
        self.assertEqual(trip[2], [state.station.station_id for state in first[1:]])
        user = server.request("LOGIN", **LOGIN)["data"]["user_id"]
        server.request("PAYMENT", user_id=user, id_station="2", confirmation=True)
        ((changed,), _) = self.solved(states())
        self.assertEqual(changed, states()[1])
        self.assertEqual(changed.slots, states()[1].slots)
        self.assertIn(user, changed.slots.sessions)

    def test_pace(self) -> None:
        """While others are served so many trips are begun with at once, and after that no more in a
        second than leaves others their time; else as many as there are."""
        for _ in range(20 * MOST_AT_ONCE):
            self.metrics.answered("PLAN", 200, 0.001)
            self.solved()
        for _ in range(MOST_AT_ONCE):
            self.metrics.answered("NAVIGATION", 200, 0.001)
            self.solved()
        late = self.solve()
        self.assertEqual(self.counts.waiting, 1)
        self.machine.advance(1 / TRIPS_PER_S)
        self.assertEqual(self.counts.waiting, 0)
        self.planners.planners[0].outReceived(packed("Traceback: here"))
        self.machine.advance(JUST_NOW_S)
        self.failureResultOf(late, SearchFailed)
        for _ in range(20 * MOST_AT_ONCE):
            self.solved()

    def test_none(self) -> None:
        """Where no process can be started it is said at once, and it is tried again later."""
        self.machine.starts = False
        for _ in range(2):
            self.assertEqual(self.successResultOf(self.solve()).outcome, UNAVAILABLE)
        self.assertEqual(self.counts.waiting, 0)
        self.machine.starts = True
        self.machine.advance(10)
        self.assertEqual(len(self.machine.transports), 1)
        self.assertNoResult(self.solve())

    def test_fault(self) -> None:
        """A fault in a search is one of the server, which is told with where it was."""
        searched = self.solve()
        (planner,) = self.planners.planners
        line = packed("Traceback: here")
        planner.outReceived(line[:3])
        planner.outReceived(line[3:])
        self.machine.advance(0)
        failure = self.failureResultOf(searched, SearchFailed)
        self.assertIn("here", failure.getErrorMessage())
        self.assertNoResult(self.solve())

    def test_busy(self) -> None:
        """The last who may wait is waited for, though each search takes twice as long as it may."""
        seconds = PlanSettings().seconds
        searches = [self.solve() for _ in range(MOST_WAITING + 1)]
        began = self.machine.seconds()
        (planner,) = self.planners.planners
        for searched in searches:
            self.machine.advance(2 * seconds)
            planner.outReceived(packed("Traceback: here"))
            self.machine.advance(0)
            self.failureResultOf(searched, SearchFailed)
        self.assertLess(self.machine.seconds() - began, self.planners.patience_s)

    def test_endless(self) -> None:
        """A search that does not end, though its time is up, is killed."""
        self.assertNoResult(self.solve())
        (transport,) = self.machine.transports
        self.machine.advance(2 + GRACE_S - 0.1)
        self.assertEqual(transport.signals, [])
        self.machine.advance(0.2)
        self.assertEqual(transport.signals, ["KILL"])


class DeadlineTests(PlannersTestCase):
    """Searches that take too long."""

    def test_gap(self) -> None:
        """When time is up it is the best plan so far, and its gap says how far off the best is."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        stations, luck = folder / "stations.csv", random.Random(7)
        rows = [
            f"{number};Posto {number};Rua;{luck.uniform(-18, -12):.4f};"
            f"{luck.uniform(-41, -38):.4f};2;{luck.choice([50, 60, 100])};2.0;CCS2"
            for number in range(1, 801)
        ]
        head = (
            "id;nomeDoPosto;endereço;latitude;longitude;"
            "quantidadeDeVeiculosSimultaneos;potenciaKW;precoKWh;conectores"
        )
        stations.write_text("\n".join([head, *rows]) + "\n")
        data = folder / "data"
        made = run(*("bootstrap", "--data", str(data), "--stations", str(stations), "--users", "0"))
        self.assertEqual(made[0], 0, made)
        self.planning("--plan-seconds", "0.01", data=data)
        trip = {"places": [FEIRA, {"latitude": -17.5, "longitude": -39.7}]}
        soon = self.ask(self.client(self.server), **trip)["data"]["plan"]
        self.assertGreater(soon["gap_minutes"], 0)
        self.assertGreater(self.samples()["evcharge_plan_gap_seconds_sum",], 0)
        there = parse_stations(stations.read_bytes(), "stations.csv").stations
        here = MemoryServer(MemoryStorage(parse_car_models(shipped(CARS), CARS), [*there.values()]))
        user = here.request("LOGIN", **LOGIN)["data"]["user_id"]
        best = here.request("PLAN", user_id=user, **trip)["data"]["plan"]
        self.assertEqual(best["gap_minutes"], 0)
        # The search's own lines are off by as much as that for each stop.
        error = 2 * 5 / 60 * (len(soon["stops"]) + len(best["stops"]))
        self.assertLessEqual(best["total_minutes"], soon["total_minutes"] + error)
        least = soon["total_minutes"] - soon["gap_minutes"]
        self.assertGreaterEqual(best["total_minutes"], least - error)


class EndTests(PlannersTestCase):
    """Nothing is left behind."""

    def test_end(self) -> None:
        """The server ends in the middle of a search: it is answered with 503, and the planner is
        gone with the server, be it that it does nothing."""
        self.planning("--plan-workers", "2")
        pid = self.stopped()
        other = self.planner(2)
        os.kill(other, signal.SIGSTOP)
        clients = [self.client(self.server) for _ in range(3)]
        for client in clients:
            self.begin(client)
        self.assertEqual(self.server.end(), -signal.SIGTERM)
        self.assertTrue(gone([pid, other])())
        for client in clients:
            self.assertEqual(client.reply()["data"]["reason"], "unavailable")

    def test_killed_server(self) -> None:
        """When the server is killed its planners end by themselves."""
        self.planning()
        self.ask(self.client(self.server))
        pid = self.planner()
        self.server.process.kill()
        until(gone([pid]), "the planner ends")

    def test_workers(self) -> None:
        """Each of several workers has planners of its own, which end with it."""
        file = Path(self.mktemp()).absolute()
        self.planning("--storage", f"sqlite:///{file}", "--workers", "2")
        clients = [self.client(self.server) for _ in range(12)]
        for client in clients:
            self.assertEqual(self.ask(client)["status"]["code"], 200)
        pids = self.pids()
        self.assertIn(len(pids), (1, 2))
        self.assertEqual(self.server.end(), -signal.SIGTERM)
        self.assertTrue(gone(pids)())


class WebTests(PlannersTestCase):
    """Over HTTP."""

    def test_post(self) -> None:
        """POST waits for a planner as TCP does, and another one is answered meanwhile."""
        server = self.planning("--web-port", "0")
        pid = self.stopped()
        self.http = f"127.0.0.1:{server.web_port}"
        answers = []

        def post() -> None:
            answers.append(self.post("plan", user_id=self.user, **TRIP))

        asking = threading.Thread(target=post)
        asking.start()
        self.assertTrue(self.post("plan", user_id=self.user, **WITHIN_RANGE)["data"]["feasible"])
        self.assertEqual(answers, [])
        os.kill(pid, signal.SIGCONT)
        asking.join()
        self.assertEqual(answers[0]["data"]["plan"]["stops"][0]["id_station"], "35")

    def post(self, path: str, **data: Any) -> dict[str, Any]:
        import json
        import urllib.request

        request = urllib.request.Request(
            f"http://{self.http}/api/v1/{path}",
            json.dumps(data).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            found: dict[str, Any] = json.loads(reply.read())
            return found
