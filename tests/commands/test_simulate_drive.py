"""`evcharge simulate drive`: the drivers of a scenario at a real server, over TCP."""

import json
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from tests.support.certificates import make_certificate, tls_options
from tests.support.commands import run
from tests.support.scripted import COMMAND, command, environment, reply, says, scripted
from tests.support.servers import Server, ServerTestCase
from tests.support.simulations import HERE, sources
from tests.support.waiting import LIMIT_S, until

ESTABLISHED = "01"
"""The state of an open connection in /proc/net/tcp."""

FIRST_FIVE = ("START", "LOGIN", "NAVIGATION", "SELECTION_STATION", "PAYMENT")
"""What servers knew at first, and what their replies had."""
FIRST_FIELDS = {
    "START": ("car_models", "station_models"),
    "LOGIN": ("user_id",),
    "NAVIGATION": ("can_complete", "autonomy", "message"),
    "SELECTION_STATION": (
        *("user_id", "id_station", "price_loading", "message", "distance_km", "travel_minutes"),
        *("wait_minutes", "charge_minutes", "alternatives"),
    ),
    "PAYMENT": (
        *("user_id", "id_station", "confirmation", "message", "amount", "receipt_id"),
        *("estimated_timestamp", "charge_minutes"),
    ),
}

SCENARIO = f"""
title = "A test"
start = 2026-03-02T08:00:00
[fleet]
"Car" = 1.0
[network]
stations = "network/"
[demand]
drivers_per_day = %s
[[demand.zone]]
name = "here"
share = 1.0
centre = [{HERE[0]}, {HERE[1]}]
radius_km = 0.5
[driver]
start_percent = 40
target_percent = 80
city_trip_km = 3
accepts_eta_minutes = 1000
patience_minutes = {{ exponential = 60 }}
"""
"""Charges for half an hour."""


def old(port: int, connection: socket.socket) -> None:
    """Serve a connection as a server of the first version does, by one of today's."""
    new = socket.create_connection(("127.0.0.1", port), 20)
    with new, new.makefile("rb") as replies, connection.makefile("rb") as requests:
        for line in requests:
            request = json.loads(line)
            kind, number = request["type"], request["id"]
            if kind not in FIRST_FIVE:
                more = {"reason": "unknown_type", "types": FIRST_FIVE}
                connection.sendall(reply(number, kind, 404, **more))
                continue
            new.sendall(json.dumps(request).encode() + b"\n")
            said = json.loads(replies.readline())
            fields = (*FIRST_FIELDS[kind], "reason")
            said["data"] = {name: said["data"][name] for name in fields if name in said["data"]}
            connection.sendall(json.dumps(said).encode() + b"\n")


def without_plan(port: int, connection: socket.socket) -> None:
    """Serve a connection as a server does that knows all but PLAN, by one of today's."""
    new = socket.create_connection(("127.0.0.1", port), 20)
    new.settimeout(None)
    with new, new.makefile("rb") as replies, connection.makefile("rb") as requests:
        told = threading.Thread(target=lambda: [connection.sendall(line) for line in replies])
        told.start()
        for line in requests:
            new.sendall(line.replace(b'"type":"PLAN"', b'"type":"FLY"'))
        new.shutdown(socket.SHUT_RDWR)
        told.join()


class DriveTestCase(ServerTestCase):
    """Servers of a network of a few stations, and what drives them."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def serve(self, *slots: int, options: tuple[str, ...] = (), scale: float = 600) -> Server:
        """A server of stations with so many EVSEs."""
        found = sources(*slots)
        for name in ("network", "data"):
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name / "feira_de_santana_stations.csv").write_bytes(found.stations)
            (self.folder / name / "car_models.json").write_bytes(found.cars)
        self.slots = sum(slots)
        return self.start(self.folder / "data", f"--time-scale={scale}", *options).wait()

    def scenario(self, a_day: int) -> str:
        path = self.folder / "scenario.toml"
        path.write_text(SCENARIO % a_day)
        return str(path)

    def words(self, a_day: int, port: int, *more: str) -> list[str]:
        server = () if "--server" in more else ("--server", f"tcp:127.0.0.1:{port}")
        return ["simulate", "drive", self.scenario(a_day), *server, *more]

    def drive(
        self, a_day: int, server: Server | int, *more: str
    ) -> subprocess.CompletedProcess[str]:
        port = server if isinstance(server, int) else server.port
        done = command(*self.words(a_day, port, *more))
        self.assertNotIn("Traceback", done.stderr)
        return done

    def begin(self, a_day: int, server: Server, *more: str) -> subprocess.Popen:
        """What drives, while it does."""
        process = subprocess.Popen(
            [*COMMAND, *self.words(a_day, server.port, *more)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip

        def end() -> None:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()

        self.addCleanup(end)
        return process

    def held(self, server: Server) -> int:
        """How many EVSEs are held."""
        stations = self.ask(server, "START")["station_models"].values()
        return self.slots - sum(station["available_slots"] for station in stations)

    def ask(self, server: Server, kind: str) -> dict:
        client = self.client(server)
        data = client.request(kind)["data"]
        client.close()
        return data

    def users(self) -> int:
        return len(list((self.folder / "data").glob("users/*.json")))

    def outcomes(self, said: str) -> dict[str, int]:
        """The table at the end."""
        found = re.findall(r"^(\w+) +(\d+) +[\d.]+ %$", said, re.M)
        outcomes = {name: int(number) for name, number in found}
        self.assertEqual(outcomes.pop("born"), sum(outcomes.values()), said)
        return outcomes


class DriveTests(DriveTestCase):
    """Drivers who go about."""

    def test_hours(self) -> None:
        """An hour passes in six seconds; then all have ended, and nothing is held."""
        server = self.serve(90)
        done = self.drive(2400, server, "--speed", "600", "--hours", "1")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        outcomes = self.outcomes(done.stdout)
        self.assertGreater(outcomes["served"], 50)
        self.assertLessEqual(set(outcomes), {"served", "no_show"})
        self.assertEqual((self.held(server), self.users()), (0, 0))
        said = done.stdout
        self.assertRegex(said, r"^A test: 1 station and 1 car at tcp:127\.0\.0\.1:\d+, 600 times")
        self.assertIn("left out: what operators do (faults, stations, prices)", said)
        self.assertRegex(said, r"lateness, in the worst minute: late by \d+\.\d\d s \(median\)")

    def test_line(self) -> None:
        """
        Those who wait in line are told of their offers, also where they are more than connections.
        """
        server = self.serve(2)
        for connections in ("1", "3"):
            more = ("--speed", "600", "--hours", "1", "--connections", connections)
            done = self.drive(480, server, *more)
            outcomes = self.outcomes(done.stdout)
            self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
            self.assertGreater(outcomes["served_after_wait"], 3, done.stdout)
            self.assertEqual((self.held(server), self.users()), (0, 0))

    def test_old_server(self) -> None:
        """A server that knows five messages, and no scale, is driven by those."""
        server = self.serve(10)
        port = scripted(self, lambda connection: old(server.port, connection))
        more = ("--speed", "600", "--hours", "1", "--connections", "1")
        done = self.drive(1200, port, *more)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        self.assertIn("of an earlier version, 600 times as fast", done.stdout)
        self.assertIn(f"know {', '.join(FIRST_FIVE[:4])} and PAYMENT\n", done.stdout)
        self.assertIn("does not tell its --time-scale: --speed 600 is right only", done.stderr)
        outcomes = self.outcomes(done.stdout)
        self.assertLessEqual(set(outcomes), {"served", "balked"})
        self.assertGreater(outcomes["served"], 10)

    def test_trips(self) -> None:
        """
        Trips beyond the range are planned by the server; where it plans none, it is said, and
        drivers charge at the nearest station on their way.
        """
        server = self.serve(30)
        scenario = SCENARIO.replace("[driver]", "trip_to = [[-12.97, -38.5]]\n[driver]")
        scenario = scenario.replace("start_percent = 40", "start_percent = 20")
        path = self.folder / "trips.toml"
        path.write_text(scenario % 1200)
        without = scripted(self, lambda connection: without_plan(server.port, connection))
        for port, plans in ((server.port, True), (without, False)):
            how = ("--server", f"tcp:127.0.0.1:{port}", "--speed=600", "--hours=0.5")
            done = command("simulate", "drive", str(path), *how, "--connections=1")
            self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
            self.assertEqual("it plans no trips" in done.stdout, not plans)
            self.assertGreater(self.outcomes(done.stdout)["served"], 10)

    def test_tls(self) -> None:
        """Over TLS it trusts the certificates that it is told to trust, and no others."""
        certificate, key = make_certificate(self.folder / "tls")
        server = self.serve(30, options=tuple(tls_options(certificate, key)))
        there = ("--speed=600", "--hours=0.5", "--server", f"tls:localhost:{server.tls_port}")
        done = self.drive(2400, server, *there, "--ca", str(certificate))
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        self.assertGreater(self.outcomes(done.stdout)["served"], 20)
        done = self.drive(2400, server, *there)
        self.assertEqual(done.returncode, 3, done.stderr + done.stdout)
        self.assertIn("certificate verify failed", done.stderr)


class EndTests(DriveTestCase):
    """Ctrl-C, and servers that go."""

    def test_interrupted(self) -> None:
        """Ctrl-C has all give up what they hold, and tells how it went."""
        server = self.serve(30)
        for sig in (signal.SIGINT, signal.SIGTERM):
            process = self.begin(2400, server, "--speed", "600", "--for-ever")
            until(lambda: self.held(server) > 15, "drivers who charge")
            process.send_signal(sig)
            said, errors = process.communicate(timeout=LIMIT_S)
            self.assertEqual(process.returncode, 130, errors)
            self.assertGreater(self.outcomes(said)["still_there"], 15)
            self.assertEqual((self.held(server), self.users()), (0, 0))
            self.assertNotIn("Traceback", errors)

    def test_interrupted_twice(self) -> None:
        """The second time it ends at once, though the server does not answer."""
        server = self.serve(30)
        process = self.begin(2400, server, "--speed", "600", "--for-ever")
        until(lambda: self.held(server) > 5, "drivers who charge")
        server.process.send_signal(signal.SIGSTOP)
        self.addCleanup(lambda: server.process.send_signal(signal.SIGCONT))
        process.send_signal(signal.SIGINT)
        self.assertIn("to leave; again: at once", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        self.assertEqual(process.wait(LIMIT_S), 130)
        self.assertLess(time.monotonic() - began, 10)
        self.assertIn("ended at once", process.stderr.read())

    def test_server_goes(self) -> None:
        """Connections that are lost are made anew; who was asking is a finding, told as such."""
        server = self.serve(30)
        there = f"tcp:{server.port}:interface=127.0.0.1"
        process = self.begin(2400, server, "--speed", "600", "--hours", "4")
        until(lambda: self.held(server) > 5, "drivers who charge")
        server.process.send_signal(signal.SIGSTOP)
        # One may be of who listens, which no driver misses; most of so many are drivers' LOGINs.
        until(lambda: self.unread(server) > 4000, "requests that it does not read")
        server.process.kill()
        server.process.wait()
        self.started(process, "no connection any more")
        again = self.start(self.folder / "data", "--time-scale=600", port=there).wait()
        self.started(process, "connected again")
        said, errors = process.communicate(timeout=LIMIT_S)
        self.assertNotIn("Traceback", errors)
        self.assertEqual(process.returncode, 1, said + errors)
        self.assertRegex(said, r"connections lost: \d+\n")
        self.assertRegex(said, r"finding, \d+ times?: \w+: no reply\n")
        outcomes = self.outcomes(said)
        self.assertGreater(outcomes["refused"], 0)
        self.assertGreater(outcomes["served"], 20)
        # Those whose LOGIN had no reply are not known here: they hold nothing.
        self.assertEqual(self.held(again), 0)

    def unread(self, server: Server) -> int:
        """How many bytes have come to the server over connections that it has not read."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        ours = [line.split() for line in lines if f":{server.port:04X} " in line[:24]]
        return sum(int(each[4].split(":")[1], 16) for each in ours if each[3] == ESTABLISHED)

    def started(self, process: subprocess.Popen, text: str) -> None:
        """Read its errors until one has the text."""
        for line in process.stderr:
            if text in line:
                return
        self.fail(f"it did not say {text!r}")


class BusyTests(DriveTestCase):
    """Servers that limit what one address may have."""

    def limited(self, *options: str, a_day: int = 1200) -> str:
        """What is said, as all goes well all the same."""
        server = self.serve(30, options=options)
        done = self.drive(a_day, server, "--speed", "600", "--hours", "1")
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        self.assertGreater(self.outcomes(done.stdout)["served"], a_day / 24 / 3)
        self.assertEqual((self.held(server), self.users()), (0, 0))
        self.assertIn("all come from this address", done.stderr)
        return done.stdout

    def test_connections(self) -> None:
        """Of more connections than one address may have, those that there are do."""
        said = self.limited("--max-connections-per-address=5")
        self.assertRegex(
            said, r"refused by the server \d+ times?: connections: .*-connections-per-address"
        )

    def test_rate(self) -> None:
        """A rate is kept to, once the server has told of it, and nobody ends for it."""
        said = self.limited("--rate-per-address=12", a_day=480)
        self.assertRegex(said, r"refused by the server \d+ times?: 429 \w+: .*--rate-per-address")

    def test_subscribers(self) -> None:
        """Where nobody may listen it goes on without."""
        said = self.limited("--max-subscribers=0")
        self.assertRegex(said, r"times: 503 SUBSCRIBE: look at its --max-subscribers")


class MistakeTests(DriveTestCase):
    """What is told instead of a beginning."""

    def fails(self, status: int, text: str, port: int, *more: str) -> None:
        done = self.drive(100, port, *more)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_speed(self) -> None:
        """Another speed than the server's is an error that names both."""
        port = self.serve(2, scale=60).port
        both = "--speed is {}, but the server's --time-scale is 60"
        self.fails(2, both.format(600), port, "--speed", "600")
        self.fails(2, both.format(1), port)

    def test_fleet(self) -> None:
        """So are cars that the server does not have, by name."""
        port = self.serve(2).port
        cars = self.folder / "network" / "car_models.json"
        known = json.loads(cars.read_text())
        cars.write_text(json.dumps({**known, "Roda": known["Car"]}))
        more = ("--set", 'fleet={"Car" = 0.5, "Roda" = 0.5}', "--speed=600")
        self.fails(1, "scenario.toml: fleet: the server has no Roda", port, *more)

    def test_no_server(self) -> None:
        """Where nobody listens, or something else answers, it is said."""
        self.serve(2)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            nobody = listener.getsockname()[1]
        self.fails(3, f"tcp:127.0.0.1:{nobody}: no server there", nobody)
        other = scripted(self, says(b"HTTP/1.1 400 Bad Request\r\n"))
        self.fails(3, "what answers there is no evcharge server", other)
        gone = scripted(self, lambda connection: None)
        self.fails(3, "no reply, the connection was closed", gone)

    def test_full_server(self) -> None:
        """A server that takes no more connections says which limit that is."""
        server = self.serve(2, options=("--max-connections-per-address=1",))
        self.client(server)
        self.fails(3, "it takes no more connections: its --max-conn", server.port, "--speed=600")

    def test_usage(self) -> None:
        """What cannot be meant is told by option."""
        self.serve(2)
        for words, text in (
            (("--server", "127.0.0.1:8888"), "--server 127.0.0.1:8888: must be tcp:HOST:PORT"),
            (("--server", "tcp:there"), "must be tcp:HOST:PORT"),
            (("--server", "tcp:there:99999"), "must be tcp:HOST:PORT"),
            (("--server", "unix:/tmp/x:1"), "must be tcp:HOST:PORT"),
            (("--ca", "x.pem"), "--ca goes with --server tls:HOST:PORT"),
            (("--ca", "no.pem", "--server", "tls:there:1"), "--ca no.pem: No such file"),
            (("--hours", "1", "--for-ever"), "either --hours or --for-ever"),
        ):
            # These come before anything else is done.
            status, said, errors = run(*self.words(100, 1, *words))
            self.assertEqual((status, said, errors.count("\n")), (2, "", 1), errors)
            self.assertIn(text, errors)

    def test_odd_server(self) -> None:
        """A server that says something else than START's reply is no reason for a traceback."""

        def serve(connection: socket.socket) -> None:
            with connection.makefile("rb") as requests:
                for line in requests:
                    request = json.loads(line)
                    connection.sendall(reply(request["id"], request["type"], cars={}))

        port = scripted(self, serve)
        self.serve(2)
        self.fails(1, "START: its reply is not as expected: KeyError 'car_models'", port)
