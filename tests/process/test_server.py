"""A real server process: the tools people use, ends and kills."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.support import postgres
from tests.support.servers import LINE, LOGIN, ROOT, Client, Server, ServerTestCase, request_line
from tests.support.tools import need
from tests.support.waiting import until


class ToolsTests(ServerTestCase):
    """The ways people try the server from a shell."""

    def run_line(self, shell: str, needs: str, command: str) -> list[dict]:
        need(shell, needs)
        server = self.start(Path(self.mktemp())).wait()
        done = subprocess.run(
            [shell, "-c", command.replace("PORT", str(server.port))],
            capture_output=True,
            timeout=30,
        )
        lines = done.stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def check(self, shell: str, needs: str, command: str, replies: int = 1) -> None:
        got = self.run_line(shell, needs, command)
        self.assertEqual([reply["status"]["code"] for reply in got], [200] * replies)

    def test_bash_nc(self) -> None:
        """echo with a typed line end, in bash, through nc -N."""
        self.check("bash", "nc", f"echo '{LINE}\\n' | nc -N 127.0.0.1 PORT")

    def test_dash_nc(self) -> None:
        """The same in dash, whose echo makes a line end of it."""
        self.check("dash", "nc", f"echo '{LINE}\\n' | nc -N 127.0.0.1 PORT")

    def test_nc_q(self) -> None:
        """nc -q 1, and a last line without its end."""
        self.check("bash", "nc", f"printf '%s\\n%s' '{LINE}' '{LINE}' | nc -q 1 127.0.0.1 PORT", 2)

    def test_busybox(self) -> None:
        """busybox nc."""
        self.check("dash", "busybox", f"echo '{LINE}' | busybox nc 127.0.0.1 PORT")

    def test_telnet(self) -> None:
        """telnet, typed by a person who leaves after a while."""
        self.check("bash", "telnet", f"(echo '{LINE}'; sleep 2) | telnet 127.0.0.1 PORT")


class JourneyTests(ServerTestCase):
    """The whole journey over sockets."""

    def test_journey(self) -> None:
        """From START to a paid slot and out again, over several connections and a restart."""
        data = Path(self.mktemp())
        server = self.start(data, "--time-scale", "1", "--verbose").wait()
        client = self.client(server)
        start = client.request("START")["data"]
        self.assertIn("Tesla Model 3", start["car_models"])
        user = client.request(
            "LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car="40"
        )["data"]["user_id"]
        self.assertTrue((data / "users" / f"{user}.json").exists())
        place = {"latitude": -12.2664, "longitude": -38.9663}
        chosen = self.client(server).request("SELECTION_STATION", user_id=user, position=place)
        station = chosen["data"]["id_station"]
        pay = {"user_id": user, "id_station": station, "confirmation": True}
        pay["arrival_percent"] = chosen["data"]["arrival_percent"]
        paid = client.request("PAYMENT", **pay)
        self.assertEqual(paid["data"]["amount"], chosen["data"]["price_loading"])
        self.assertEqual(server.end(), -signal.SIGTERM)
        self.assertNotIn(user, "".join(server.log))
        self.wait_for(server, f"user …{user[-6:]!r}")
        server = self.start(data).wait()
        self.wait_for(server, "36 stations, 1 users")
        client = self.client(server)
        self.assertEqual(client.request("PAYMENT", **pay)["data"], paid["data"])
        left = client.request("PAYMENT", **{**pay, "confirmation": False})
        self.assertEqual(left["status"]["code"], 200)
        self.assertEqual(list((data / "users").iterdir()), [])

    def test_python_m_twisted(self) -> None:
        """The plugin runs under `python -m twisted` too."""
        process = subprocess.run(
            [sys.executable, "-m", "twisted", "evcharge", "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.assertIn("--time-scale", process.stdout + process.stderr)

    def test_too_large(self) -> None:
        """The reply to a line over the limit reaches a client that is still sending."""
        server = self.start(Path(self.mktemp())).wait()
        client = self.client(server)
        client.socket.sendall(b"x" * 5_000_000 + b"\n")
        reply = json.loads(client.replies.readline())
        self.assertEqual((reply["type"], reply["status"]["code"]), ("error", 413))
        self.assertEqual(client.replies.read(), b"")

    def test_not_reading(self) -> None:
        """A client that does not read is not read from, and others are served."""
        server = self.start(Path(self.mktemp())).wait()
        greedy = self.client(server)
        greedy.socket.settimeout(2)
        sent = 0
        request = (LINE + "\n").encode() * 1000
        try:
            while sent < 50_000_000:
                sent += greedy.socket.send(request)
        except TimeoutError:
            pass
        self.assertLess(sent, 50_000_000)
        self.assertEqual(self.client(server).request("START")["status"]["code"], 200)


class EndTests(ServerTestCase):
    """SIGTERM, and starts that cannot be."""

    def test_drain(self) -> None:
        """After SIGTERM every request that was read is answered before the process ends."""
        server = self.start(Path(self.mktemp())).wait()
        client = self.client(server)
        idle = self.client(server)
        idle.request("START")
        client.socket.sendall(request_line("LOGIN", **LOGIN) * 200)
        client.replies.readline()
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        rest = client.replies.read().splitlines()
        client.close()
        self.assertEqual(idle.replies.read(), b"")
        idle.close()
        self.assertEqual(server.process.wait(20), -signal.SIGTERM)
        self.assertLess(time.monotonic() - began, 5.5)
        self.assertEqual(len(rest), 199)
        for line in rest:
            self.assertEqual(json.loads(line)["status"]["code"], 200)

    def refused(self, *words: str, options: tuple = (), data: Path, **more: str) -> None:
        server = self.start(data, *options, **more)
        out, err = server.process.communicate(timeout=20)
        self.assertEqual(server.process.returncode, 1, out + err)
        self.assertNotIn("Traceback", out + err)
        for word in words:
            self.assertIn(word, (err or out).splitlines()[-1])

    def test_port_taken(self) -> None:
        """A port that is taken is one line and status 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.refused(
                f"cannot listen on tcp:{port}",
                "in use",
                data=Path(self.mktemp()),
                port=f"tcp:{port}:interface=127.0.0.1",
            )

    def test_directory(self) -> None:
        """A directory that cannot be used, or is in use, is one line and status 1."""
        data = Path(self.mktemp())
        data.write_text("")
        self.refused("is not a directory", data=data)
        data = Path(self.mktemp())
        self.start(data).wait()
        self.refused("is in use by another evcharge process", data=data)
        self.refused("/proc/", data=Path("/proc/nothing/here"))

    def test_options(self) -> None:
        """A wrong option is named."""
        for option, value in (
            ("--sweep-interval", "0"),
            ("--user-ttl", "x"),
            ("--time-scale", "nan"),
            ("--language", "fr"),
            ("--max-line", "1.5"),
            ("--port", "70000"),
            ("--port", "nonsense:1"),
            ("--data", ""),
        ):
            process = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    "from twisted.scripts.twistd import run; run()",
                    "-n",
                    "--pidfile=",
                    "evcharge",
                    option,
                    value,
                ],
                capture_output=True,
                text=True,
                timeout=20,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            out = process.stdout + process.stderr
            self.assertEqual(process.returncode, 1, out)
            (said,) = process.stderr.splitlines()
            self.assertIn(option, said)


class KillTests(ServerTestCase):
    """kill -9 under load."""

    ROUNDS = 4

    def test_files(self) -> None:
        """In files, whatever was answered is there after each kill, and every station is whole."""
        data = Path(self.mktemp())
        self.kill(data)
        for path in (data / "stations").glob("*.json"):
            json.loads(path.read_text())

    def test_sqlite(self) -> None:
        """And so it is in an SQLite file."""
        data = Path(self.mktemp()).absolute()
        self.kill(data, "--storage", f"sqlite:///{data}.db")

    def test_postgresql(self) -> None:
        """And in PostgreSQL."""
        database = postgres.shared()
        url = database.url(database.create_database())
        self.kill(Path(self.mktemp()), "--storage", url)

    def kill(self, data: Path, *options: str) -> None:
        users: dict[str, bool] = {}
        paid: dict[str, dict] = {}
        for _ in range(self.ROUNDS):
            server = self.start(data, *options).wait()
            self.check(server, users, paid)
            threads = [
                threading.Thread(target=self.load, args=(server.port, seed, users, paid))
                for seed in range(6)
            ]
            for thread in threads:
                thread.start()
            enough = len(users) + 50 // self.ROUNDS
            until(lambda enough=enough: len(users) > enough, "drivers who were answered")
            # Not luck: the kill may come at any instant, and that it differs is the point.
            time.sleep(random.uniform(0.0, 0.5))
            server.process.kill()
            server.process.wait()
            for thread in threads:
                thread.join()
        self.assertGreater(len(paid), 20)
        self.assertGreater(len(users), 50)
        self.check(self.start(data, *options).wait(), users, paid)

    def load(self, port: int, seed: int, users: dict, paid: dict) -> None:
        """Log in, pay, and sometimes leave, noting what was answered, until the server dies."""
        chance = random.Random()
        try:
            client = Client(port)
            while True:
                user = client.request(
                    "LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=10
                )["data"]["user_id"]
                users[user] = True
                request = {"id_station": chance.randint(1, 36), "confirmation": True}
                data = client.request("PAYMENT", user_id=user, **request)["data"]
                if data["confirmation"]:
                    paid[user] = data
                if chance.random() < 0.3:
                    # From here until the answer, either is right.
                    users[user] = False
                    paid.pop(user, None)
                    client.request("PAYMENT", user_id=user, id_station=1, confirmation=False)
        except (OSError, ValueError):
            return

    def check(self, server: Server, users: dict, paid: dict) -> None:
        """Ask the server for everything that was answered."""
        client = self.client(server)
        for user, stays in list(users.items()):
            reply = client.request("NAVIGATION", user_id=user, route_distance=1)
            if stays:
                self.assertEqual(reply["status"]["code"], 200)
        for user, data in paid.items():
            again = client.request(
                "PAYMENT", user_id=user, id_station=data["id_station"], confirmation=True
            )
            self.assertEqual(again["data"], data)
        for station in client.request("START")["data"]["station_models"].values():
            self.assertTrue(0 <= station["available_slots"] <= station["max_slots"])


class DaemonTests(ServerTestCase):
    """The server in the background, as twistd puts it there unless told otherwise."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def daemon(self, name: str, *options: str, data: str = "data") -> tuple[int, list[str]]:
        """Start one; its status, and what its terminal shows."""
        run = "from twisted.scripts.twistd import run; run()"
        files = [f"--pidfile={self.folder / name}.pid", f"--logfile={self.folder / name}.log"]
        data_options = ["--data", str(self.folder / data), *options]
        command = [sys.executable, "-c", run, *files, "evcharge", *data_options]
        # Through a pipe: who waits for its end waits for the daemon too, should that keep it.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        pid = self.folder / f"{name}.pid"
        if pid.exists():
            self.addCleanup(self.end, int(pid.read_text()))
        return done.returncode, done.stdout.splitlines()

    def end(self, pid: int) -> None:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{pid}").exists(), "it ends")

    def test_cannot_start(self) -> None:
        """What keeps it from starting is one line on the terminal; one that runs says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            free = ("--port", "tcp:0:interface=127.0.0.1")
            self.assertEqual(self.daemon("first", *free), (0, []))
            pid = (self.folder / "first.pid").read_text()
            data = self.folder / "data"
            workers = ("--storage", f"sqlite:///{self.folder}/a.db", "--workers", "2")
            for name, options, words in (
                ("second", free, f"{data}: is in use by another evcharge process ({pid})"),
                ("third", ("--port", port, *workers), f"cannot listen on {port}: "),
            ):
                status, said = self.daemon(name, *options)
                self.assertEqual(status, 1)
                self.assertEqual(len(said), 1, said)
                self.assertTrue(said[0].startswith(f"evcharge: {words}"), said)
                self.assertIn(words, (self.folder / f"{name}.log").read_text())
                self.assertFalse((self.folder / f"{name}.pid").exists())
