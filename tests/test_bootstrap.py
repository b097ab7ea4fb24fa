"""`evcharge bootstrap`: what it makes, tops up, refuses and fetches."""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from evcharge.bootstrap import make_users
from evcharge.cli import main
from evcharge.commands.bootstrap import fetch_limited
from evcharge.commands.storages import SourceError
from evcharge.models.session import ChargingSession
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.testing import NOON, shipped_network
from tests.support import postgres
from tests.support.operations import NO_FREE_SLOT, end_journey, pay, stations, unseated

ROOT = Path(__file__).resolve().parent.parent
HEADER = "id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos"


class UsersTests(SynchronousTestCase):
    """Simulated users."""

    def test_charging(self) -> None:
        """Who is under 80 % stands at a station while there is room, others nowhere."""
        storage = shipped_network()
        made = make_users(storage, 150, 1, NOON)
        users = {user.user_id: user for user in storage.users()}
        self.assertEqual(len(users), 150)
        self.assertEqual(
            {user.user_name for user in users.values()}, {f"Cliente_{n}" for n in range(1, 151)}
        )
        shares = {u: x.car.battery_level_kwh / x.car.model.battery_capacity_kwh
                  for u, x in users.items()}  # fmt: skip
        self.assertTrue(all(0.1 <= share <= 1 for share in shares.values()))
        self.assertEqual(
            set(storage.records.held), {u for u, share in shares.items() if share < 0.8}
        )
        self.assertEqual(made.charging, len(storage.records.held))

    def test_tops_up(self) -> None:
        """Run again it makes those that are missing, and never more."""
        storage = shipped_network()
        make_users(storage, 10, 1, NOON)
        self.assertEqual(make_users(storage, 10, 1, NOON).users, 0)
        end_journey(storage, next(u.user_id for u in storage.users()))
        self.assertEqual(make_users(storage, 12, None, NOON).users, 3)
        self.assertEqual(len(storage.users()), 12)

    def test_seed(self) -> None:
        """The same seed gives the same cars, batteries and stations."""

        def network(seed: int) -> list:
            storage = shipped_network()
            make_users(storage, 50, seed, NOON)
            return [
                (u.user_name, u.car, storage.records.held.get(u.user_id)) for u in storage.users()
            ]

        self.assertEqual(network(1), network(1))
        self.assertNotEqual(network(1), network(2))

    def test_every_storage(self) -> None:
        """A seed gives the same network in every storage, and when it is made in several runs."""

        def network(storage: Any, *counts: int) -> list[Any]:
            storage.open(NOON)
            self.addCleanup(storage.close)
            for count in counts:
                make_users(storage, count, 1, NOON)
            users = list(storage.users())
            # Takes nothing: the plan fails.
            taken = storage.execute([pay(u.user_id, "1", lambda *_: 1 / 0) for u in users])
            found = zip(users, taken, strict=True)
            facts = ((u.user_name, u.car, standing(result)) for u, result in found)
            return sorted(facts, key=lambda each: each[0])

        def standing(found: Any) -> int | None:
            if isinstance(found, ChargingSession):
                return found.station_id
            if isinstance(found, ZeroDivisionError) or unseated(found) == NO_FREE_SLOT:
                return None
            return int(str(found.figures["station"]))

        memory = network(shipped_network(), 1200)
        self.assertGreater(len({place for _, _, place in memory}), 20)
        # What seed 1 gave before users were made in batches.
        self.assertEqual(
            [(car.model.model, place) for _, car, place in memory[:3]],
            [("Kangoo E-Tech", 6), ("ID.4", 1), ("Kangoo E-Tech", 14)],
        )
        self.assertEqual(sum(n * (place or 0) for n, (*_, place) in enumerate(memory)), 1517106)
        urls = (
            f"files:{self.mktemp()}",
            f"sqlite:///{self.mktemp()}",
            postgres.shared().url(postgres.shared().create_database()),
        )
        for url in urls:
            self.assertEqual(network(parse(url, "").storage(), 3, 1200), memory, url)

    def test_full(self) -> None:
        """With more cars than slots, the rest is put nowhere."""
        storage = shipped_network()
        made = make_users(storage, 400, 1, NOON)
        self.assertEqual(sum(state.available_slots for state in stations(storage)), 0)
        self.assertEqual(made.charging, sum(s.station.max_slots for s in stations(storage)))


class CommandTests(SynchronousTestCase):
    """The command line."""

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = self.assertRaises(SystemExit, main, arguments).code
        return status, out.getvalue(), err.getvalue()

    def setUp(self) -> None:
        self.data = Path(self.mktemp())
        self.file = Path(self.mktemp())

    def bootstrap(self, *arguments: str) -> tuple[int, str, str]:
        return self.run_command("bootstrap", "--data", str(self.data), *arguments)

    def test_makes(self) -> None:
        """It makes a network of the shipped data, without a bar where nobody watches."""
        status, out, err = self.bootstrap("--users", "5", "--seed", "1")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("36 stations", out)
        self.assertEqual(len(list((self.data / "users").iterdir())), 5)
        self.assertIn("0 users made", self.bootstrap("--users", "5")[1])

    def test_storage(self) -> None:
        """It takes any storage, from the option or the environment, and never says a password."""
        url = f"sqlite:///{self.data}/a.db"
        status, out, err = self.run_command("bootstrap", "--storage", url, "--users", "5")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("a.db: 36 stations with", out)
        self.patch(os, "environ", {**os.environ, "EVCHARGE_STORAGE": url})
        self.assertIn("0 users made", self.run_command("bootstrap", "--users", "5")[1])
        _, out, _ = self.run_command("bootstrap", "--storage", "files", "--data", str(self.file))
        self.assertIn(f"{self.file.name}: 36 stations with", out)
        url = postgres.shared().url(postgres.shared().create_database())
        status, out, err = self.run_command("bootstrap", "--storage", url, "--users", "5")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("5 users made", out)
        self.assertNotIn(postgres.shared().password, out)
        for wrong, words in (
            ("mysql://u:geheim@h/x", "--storage must be files"),
            (url.replace("secret", "geheim"), "password authentication failed"),
            ("postgresql://u:geheim@127.0.0.1:1/x", "Connection refused"),
        ):
            status, out, err = self.run_command("bootstrap", "--storage", wrong)
            self.assertEqual((status, out, len(err.splitlines())), (1, "", 1))
            self.assertIn(words, err)
            self.assertNotIn("geheim", err)

    def test_own_stations(self) -> None:
        """A new directory has the stations named; a later run adds those that are missing."""
        self.file.write_text(f"{HEADER}\n5;A;Rua;-12.3;-38.9;2\n")
        self.assertIn("1 stations with 2", self.bootstrap("--stations", str(self.file),
                                                          "--users", "0")[1])  # fmt: skip
        self.file.write_text(f"{HEADER};potenciaKW\n5;B;Rua;-12.3;-38.9;9;7\n6;C;R;-1;-2;1;22\n")
        self.assertIn("2 stations with 3", self.bootstrap("--stations", str(self.file),
                                                          "--users", "0")[1])  # fmt: skip
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        five, six = (state.station for state in stations(storage))
        self.assertEqual((five.name, five.power_kw, six.power_kw), ("A", None, 22))

    def test_differences(self) -> None:
        """Where its files differ from what is there it names each field, and what changes it."""
        urls = [f"files:{self.data}", f"sqlite:///{self.data}.db"]
        urls.append(postgres.shared().url(postgres.shared().create_database()))
        facts = {"battery_capacity": 1, "energy_consumption": 1, "max_speed": 1}
        cars = Path(self.mktemp())
        for url in urls:
            options = ("--storage", url, "--users", "0", "--stations", str(self.file))
            self.file.write_text(f"{HEADER};precoKWh\n5;A;Rua;-12.3;-38.9;2;1.95\n"
                                 "6;B;Rua;-12.3;-38.9;2;\n")  # fmt: skip
            cars.write_text(json.dumps({"Mine": facts}))
            for _ in range(2):
                status, _, err = self.run_command("bootstrap", *options, "--cars", str(cars))
                self.assertEqual((status, err), (0, ""))
            self.file.write_text(f"{HEADER};precoKWh\n5;A;Rua;-12.3;-38.9;3;2,1\n"
                                 "6;B;Rua;-12.3;-38.9;2;\n7;C;Rua;-12.3;-38.9;2;\n")  # fmt: skip
            cars.write_text(json.dumps({"Mine": {**facts, "battery_capacity": 2}}))
            status, out, err = self.run_command("bootstrap", *options, "--cars", str(cars))
            self.assertEqual(status, 0)
            self.assertIn("3 stations with 6 free slots", out)
            said = [
                "evcharge: car model Mine: changed",
                "evcharge:     battery_capacity: 1.0 -> 2.0",
                "evcharge: station 5 A: changed",
                "evcharge:     quantidadeDeVeiculosSimultaneos: 2 -> 3",
                "evcharge:     precoKWh: 1.95 -> 2.1",
                "evcharge: what is there stays as it is; to have it changed: evcharge apply",
            ]
            self.assertEqual(err.splitlines(), said)
            # Of what the file does not say there is nothing to say.
            self.file.write_text(f"{HEADER}\n5;A;Rua;-12.3;-38.9;2\n")
            self.assertEqual(self.run_command("bootstrap", *options)[::2], (0, ""))

    def test_odd_cells(self) -> None:
        """A cell that holds half an end of line, a quote or a separator is read as it was."""
        name = 'A\r"B;C"'
        cell = '"' + name.replace('"', '""') + '"'
        self.file.write_bytes(f"{HEADER}\n5;{cell};Rua;-12.3;-38.9;2\n".encode())
        for _ in range(2):
            status, _, err = self.bootstrap("--stations", str(self.file), "--users", "0")
            self.assertEqual((status, err), (0, ""))
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        self.assertEqual([state.station.name for state in stations(storage)], [name])

    def test_own_cars(self) -> None:
        """Car models are added likewise."""
        facts = {"battery_capacity": 1, "energy_consumption": 1, "max_speed": 1}
        self.bootstrap("--users", "0")
        self.file.write_text(json.dumps({"Tesla Model 3": facts, "Mine": facts}))
        self.assertEqual(self.bootstrap("--cars", str(self.file), "--users", "0")[0], 0)
        cars = json.loads((self.data / "car_models.json").read_text())
        self.assertEqual((len(cars), cars["Tesla Model 3"]["battery_capacity"]), (44, 50))

    def test_wrong_rows(self) -> None:
        """Every wrong row of both sources is named by line and column; nothing is written."""
        self.file.write_text(
            f"{HEADER}\n1;A;R;-95;x;3\n1;A;R;-1;1;0\n;;B;-1;1\n7;A;R;1;1;1;extra\n"
        )
        cars = Path(self.mktemp())
        cars.write_text('{"A":{}}')
        status, _, err = self.bootstrap("--stations", str(self.file), "--cars", str(cars))
        self.assertEqual(status, 1)
        for words in (
            "line 2, column latitude: -95 is out of range (-90 to 90)",
            "line 2, column longitude: 'x' is not a number",
            "line 3, column id: 1 is on line 2 already",
            "line 3, column quantidadeDeVeiculosSimultaneos: 0 is out of range",
            "line 4, column id: is missing",
            "line 4, column nomeDoPosto: is missing",
            "line 5, after the last column: 1 cells too many",
            "model 'A': battery_capacity is missing",
        ):
            self.assertIn(words, err)
        self.assertFalse(self.data.exists())

    def test_other_mistakes(self) -> None:
        """A missing file, a directory in use, a wrong number: one clear message."""
        self.assertIn("No such file", self.bootstrap("--stations", "/nowhere.csv")[2])
        self.assertIn("--users: must be a whole number", self.bootstrap("--users", "many")[2])
        self.assertEqual(self.run_command("bootstrap", "--users", "-1")[0], 2)
        status, out, err = self.run_command()
        self.assertEqual((status, out), (2, ""))
        self.assertIn("bring a network to what files say", err)
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        self.assertIn("in use", self.bootstrap()[2])
        self.assertIn("bootstrap", self.run_command("--help")[1])


class FetchTests(TestCase):
    """Sources over HTTP, from a real server on the loopback interface."""

    def setUp(self) -> None:
        root = Resource()
        for name, render in (
            (b"good", lambda request: b"x" * 1000),
            (b"slow", lambda request: NOT_DONE_YET),
            (b"stations", lambda request: f"{HEADER}\n5;A;Rua;-12.3;-38.9;2\n".encode()),
        ):
            page = Resource()
            page.render_GET = render
            root.putChild(name, page)
        port = reactor.listenTCP(0, Site(root), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/"

    async def fails(self, fetched: Deferred, words: str) -> None:
        error = await self.assertFailure(fetched, SourceError)
        self.assertIn(words, str(error))

    async def test_command(self) -> None:
        """The command takes its stations from a URL, and names one that it cannot have."""
        data = self.mktemp()
        run = [
            "-c",
            "from evcharge.cli import main; main()",
            "bootstrap",
            "--users=1",
            f"--data={data}",
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        out, _, status = await getProcessOutputAndValue(
            sys.executable, [*run, f"--stations={self.url}stations"], environment
        )
        self.assertIn(b"1 stations", out)
        self.assertEqual(status, 0)
        _, err, status = await getProcessOutputAndValue(
            sys.executable, [*run, f"--stations={self.url}none"], environment
        )
        self.assertIn(b"answered 404", err)
        self.assertEqual(status, 1)

    async def test_fetch(self) -> None:
        """A body within the limits is fetched; what is not, says why."""
        self.assertEqual(len(await fetch_limited(self.url + "good", reactor)), 1000)
        await self.fails(fetch_limited(self.url + "none", reactor), "answered 404")
        await self.fails(fetch_limited(self.url + "good", reactor, limit_bytes=999), "larger than")
        await self.fails(fetch_limited(self.url + "slow", reactor, timeout_s=0.2), "longer than")
        await self.fails(fetch_limited("http://127.0.0.1:1/", reactor), "cannot be fetched")
        await self.fails(fetch_limited("http:///", reactor), "cannot be fetched")
