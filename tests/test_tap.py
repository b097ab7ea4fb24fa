"""The services together, in this process, over real sockets, threads and files."""

import contextlib
import io
import json
import re
import time
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.application.twist._options import TwistOptions
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.scripts.twistd import ServerOptions as TwistdOptions
from twisted.trial.unittest import SynchronousTestCase, TestCase

from evcharge.datasets import COLUMNS
from evcharge.datasets.files import STATIONS, TARIFFS
from evcharge.healthcheck import healthy
from evcharge.models.terms import Terms
from evcharge.net.guards.limits import Limits
from evcharge.net.ports import BACKLOG, endpoint
from evcharge.process import server as server_module
from evcharge.process.server import DriverService
from evcharge.process.settings import Settings
from evcharge.storage import StorageUnavailable
from evcharge.storage.location import Location
from evcharge.tap import Options, makeService
from tests.support.drivers import Driver
from tests.support.folders import new_folder


class ServerTests(TestCase):
    """A server made from its options."""

    def make(self, *more: str) -> object:
        options = Options()
        options.parseOptions(
            ["--port", "tcp:0:interface=127.0.0.1", "--data", self.mktemp(), "--verbose", *more]
        )
        server = makeService(options)
        server.privilegedStartService()
        server.startService()
        (self.drivers,) = (s for s in server if isinstance(s, DriverService))
        self.port = int(self.drivers.addresses.rsplit(":", 1)[1])
        return server

    async def connect(self) -> Driver:
        endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{self.port}")
        return await connectProtocol(endpoint, Driver())

    async def test_journey(self) -> None:
        """A driver logs in, pays, and is swept away when charging has ended."""
        server = self.make("--time-scale", "1000000", "--sweep-interval", "0.05")
        try:
            driver = await self.connect()
            login = await driver.request(
                "LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=40
            )
            user = login["data"]["user_id"]
            paid = await driver.request("PAYMENT", user_id=user, id_station=1, confirmation=True)
            self.assertTrue(paid["data"]["confirmation"])
            while True:
                reply = await driver.request("NAVIGATION", user_id=user, route_distance=1)
                if reply["status"]["code"] == 404:
                    break
            self.assertTrue(await deferToThread(healthy, "127.0.0.1", self.port))
        finally:
            await server.stopService()
        await driver.lost
        self.assertFalse(await deferToThread(healthy, "127.0.0.1", self.port))

    async def test_time_zone(self) -> None:
        """A vehicle that an earlier installation noted no price of pays by the network's zone."""
        element = {"price_components": [{"type": "ENERGY", "price": 2, "step_size": 1}]}
        morning = {
            "price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}],
            "restrictions": {"start_time": "00:00", "end_time": "12:00"},
        }
        tariff = {"id": "dia", "currency": "BRL", "elements": [morning, element]}
        car = {
            "brand": "", "model": "", "battery_capacity": 40, "energy_consumption": 0.16,
            "max_speed": 144, "current_battery": 20,
        }  # fmt: skip
        user = {"user_id": "u", "user_name": "Ana", "user_car": car}
        for hour, amount in ((6, 12.0), (18, 24.0)):
            data = new_folder(self)
            for name, content in (
                (STATIONS, "\n".join((";".join((*COLUMNS, "tarifa")), "7;A;B;-12;-39;1;dia", ""))),
                (TARIFFS, json.dumps([tariff])),
                ("users/u.json", json.dumps(user)),
                ("stations/station_7.json", json.dumps({"vehicles": {"u": {}}})),
            ):
                (data / name).parent.mkdir(mode=0o700, exist_ok=True)
                (data / name).write_text(content)
            ahead = (hour - time.gmtime().tm_hour + 12) % 24 - 12
            zone = f"Etc/GMT{-ahead:+d}"
            server = self.make("--data", str(data), "--time-zone", zone)
            await server.stopService()
            record = json.loads((data / "stations/station_7.json").read_text())
            self.assertEqual(record["vehicles"]["u"]["amount"], amount, zone)

    async def test_drain_limit(self) -> None:
        """A request that the storage never answers gets 503 when the server must end."""
        self.patch(server_module, "ANSWER_S", 0.2)
        server = self.make()
        handler = self.drivers._engine.controller._handlers["START"]
        stuck: Deferred = Deferred()
        object.__setattr__(handler.context, "perform", lambda operation: stuck)
        driver = await self.connect()
        first, second = driver.request("START"), driver.request("NAVIGATION")
        # The server has read both once it answers another connection.
        other = await self.connect()
        await other.request("NAVIGATION")
        with capturedLogs() as logged:
            stopped = server.stopService()
            self.assertEqual((await first)["status"]["code"], 503)
            self.assertEqual((await second)["status"]["code"], 503)
            await stopped
        self.assertIn(
            "stopped; those of 1 client answered with 503: done, or not",
            [event.get("said") for event in logged],
        )
        await driver.lost
        await other.lost

    async def test_unix_socket(self) -> None:
        """The port may be any endpoint."""
        path = Path("/tmp") / f"evcharge-{id(self)}.sock"
        options = Options()
        options.parseOptions(["--port", f"unix:{path}", "--data", self.mktemp()])
        server = makeService(options)
        server.startService()
        try:
            endpoint = clientFromString(reactor, f"unix:{path}")
            driver = await connectProtocol(endpoint, Driver())
            self.assertEqual((await driver.request("START"))["id"], "START")
        finally:
            await server.stopService()
            await driver.lost

    async def test_cannot_start(self) -> None:
        """A start that cannot be ends with status 1 and leaves nothing behind."""
        server = self.make()
        try:
            for arguments in (["--port", f"{self.port}"], ["--data", "/proc/x", "--port", "0"]):
                options = Options()
                options.parseOptions(["--data", self.mktemp(), *arguments])
                second = makeService(options)
                with self.assertRaises(SystemExit) as exit:
                    second.startService()
                self.assertEqual(exit.exception.code, 1)
                await second.stopService()
        finally:
            await server.stopService()

    async def test_thread(self) -> None:
        """What a storage raises in its thread reaches who asked."""
        server = self.make()
        (thread,) = (s._opened._thread for s in server if s.name == "engine")

        def fail() -> None:
            raise StorageUnavailable("x")

        try:
            await self.assertFailure(thread(fail), StorageUnavailable)
        finally:
            await server.stopService()


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def test_defaults(self) -> None:
        """The defaults are those of the documents, and paths are made absolute."""
        options = Options()
        options.parseOptions([])
        path = Path("evcharge-data").absolute()
        self.assertEqual(
            options.settings,
            Settings(
                storage=Location("files", str(path), path),
                port="8888",
                tls=None,
                http_port=None,
                web=None,
                operator_token_file=None,
                workers=1,
                sweep_interval_s=5,
                live_interval_s=0.1,
                terms=Terms(1, 15 * 60, 5 * 60, 30 * 60, 20, "America/Bahia"),
                language="pt",
                max_line=65536,
                limits=Limits(
                    connections=16384,
                    connections_per_address=None,
                    rate_per_connection=None,
                    rate_per_address=None,
                    pending_logins=None,
                    subscribers=5000,
                    user_ttl_s=86400,
                    idle_s=3600,
                    line_s=30,
                    unread_s=60,
                    proxy_protocol=False,
                ),
                verbose=False,
            ),
        )

    def test_wrong(self) -> None:
        """A wrong value is refused with the option's name."""
        for option, value in (
            ("sweep-interval", "0"),
            ("user-ttl", "x"),
            ("time-zone", "Bahia"),
            ("time-zone", ""),
            ("time-zone", "America"),
            ("time-scale", "inf"),
            ("language", "fr"),
            ("max-line", "1.5"),
            ("port", "70000"),
            ("port", "nonsense:1"),
            ("data", ""),
            ("storage", "mysql://h/db"),
            ("workers", "0"),
            ("workers", "x"),
            ("workers", "2"),
        ):
            error = self.assertRaises(UsageError, Options().parseOptions, [f"--{option}", value])
            self.assertIn(f"--{option}", str(error))

    def test_wrong_command_line(self) -> None:
        """Whatever is wrong behind the word evcharge ends the process with a line and status 1."""
        # What each of them says and ends with by itself depends on the version of Twisted.
        for program in (TwistdOptions, TwistOptions):
            for given, word in (
                (["--prot", "9"], "no such option: --prot; did you mean --port?"),
                (["--xyz"], "no such option: --xyz (`"),
                (["--max", "9"], "--max is short for several: --max-line, --max-connections,"),
                (["--verbose=9"], "--verbose takes no value"),
                (["--reactor=poll"], "an option of twistd: it goes before the word evcharge"),
                (["--max-line"], "--max-line needs a value"),
                (["--max-line", "x"], "--max-line must be a whole number"),
                (["--tls-port", "8889"], "TLS needs --tls-certificate and --tls-key too"),
                (["START"], "'START' is no option"),
                (["--time-zone", "America/Baia"], "did you mean America/Bahia?"),
                (["--time-scale", "1,5"], "not '1,5'; write a point: 1.5"),
                (["--port", "x:1"], "--port must be a number, localhost:8888 or an endpoint"),
            ):
                said = io.StringIO()
                with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as ended:
                    program().parseOptions(["evcharge", *given])
                self.assertEqual(ended.exception.code, 1)
                self.assertIn(word, said.getvalue())
                self.assertIn("evcharge --help` lists all options)", said.getvalue())
                self.assertEqual(len(said.getvalue().splitlines()), 1)

    def test_help(self) -> None:
        """Each option is listed, once, in a group; on a narrow terminal too no line is cut."""
        options = Options()
        for width in (50, 80):
            lines = options.getUsage(width=width).splitlines()
            listed = [
                found[1] for line in lines if (found := re.match(r"  (?:-\w, )?--([\w-]+)", line))
            ]
            self.assertEqual(sorted(listed), sorted(name.rstrip("=") for name in options.longOpt))
            self.assertEqual([line for line in lines if len(line) > width], [])
        self.assertIn(
            "  --unread-timeout=       Disconnect a client that has not read its replies for", lines
        )

    def test_backlog(self) -> None:
        """A port's description may say what the backlog is, by its name or its place."""
        for description, backlog in (
            ("tcp:0:interface=127.0.0.1", BACKLOG),
            ("tcp:0:interface=127.0.0.1:backlog=7", 7),
            ("tcp:0:127.0.0.1:7", 7),
        ):
            reactor = MemoryReactorClock()
            self.successResultOf(endpoint(reactor, description).listen(Factory()))
            ((_, _, listened, _),) = reactor.tcpServers
            self.assertEqual(listened, backlog, description)

    def test_version(self) -> None:
        """`--version` exits with status 0."""
        error = self.assertRaises(SystemExit, Options().parseOptions, ["--version"])
        self.assertEqual(error.code, 0)

    def test_plugin(self) -> None:
        """twistd knows the plugin."""
        self.assertIn("evcharge", [plugin.tapname for plugin in getPlugins(IServiceMaker)])
