"""`evcharge bootstrap`: what it makes, tops up, refuses and fetches."""

import io
import json
import os
import re
import sys
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from operator import itemgetter
from pathlib import Path
from typing import Any

import attrs
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
from evcharge.models.session import (
    CHARGING,
    FINISHED,
    FREE,
    OFFERED,
    RESERVED,
    WAITING,
    ChargingSession,
)
from evcharge.models.slots import SlotTable, StationState
from evcharge.models.terms import DEFAULT_TERMS
from evcharge.models.user import User
from evcharge.rules.journey import FindStanding, Standing
from evcharge.storage import Storage, carry_out
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.testing import NOON, MemoryServer, shipped_network
from tests.support import postgres
from tests.support.operations import end_journey, stations

ROOT = Path(__file__).resolve().parent.parent
HEADER = "id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos"


def sessions_of(state: StationState) -> list[ChargingSession]:
    """The sessions at a station."""
    return [] if state.slots is None else list(state.slots.sessions.values())


def line_of(storage: Storage) -> SlotTable:
    """The slots of the one station where some wait."""
    (line,) = (state.slots for state in stations(storage) if state.queue_length)
    assert line is not None
    return line


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
        there = {*storage.records.held, *(place.user_id for place in line_of(storage).waiting)}
        self.assertEqual(there, {u for u, share in shares.items() if share < 0.8})
        self.assertEqual(made.users - made.states[FREE], len(there))

    def test_states(self) -> None:
        """Whatever the seed, users charge, stand there charged, are on the way, and are in line."""
        for seed in range(1, 9):
            storage = shipped_network()
            made = make_users(storage, 150, seed, NOON)
            slots = [state.slots for state in stations(storage) if state.slots is not None]
            sessions = [session for table in slots for session in table.sessions.values()]
            found = Counter(session.state for session in sessions)
            line = line_of(storage)
            found[WAITING] = len(line.waiting)
            found[FREE] = 150 - found.total()
            self.assertEqual(made.states, found)
            assert made.line_at is not None
            self.assertEqual(made.line_at.station_id, line.station_id)
            self.assertGreater(found[CHARGING], 50)
            self.assertGreater(found[FINISHED], 2)
            self.assertGreater(found[RESERVED], 4)
            self.assertEqual(found[WAITING], 5)

    def test_instants(self) -> None:
        """All began before now, and none of it is over; who is in line came once it was full."""
        for seed in range(1, 9):
            storage = shipped_network()
            make_users(storage, 150, seed, NOON)
            users = {user.user_id: user for user in storage.users()}
            began: dict[int, list[float]] = {}
            for session in (s for state in stations(storage) for s in sessions_of(state)):
                since, started = session.since_timestamp, session.started_timestamp
                assert since is not None
                self.assertLess(users[session.user_id].created_timestamp, started or since)
                self.assertLess(since, NOON)
                self.assertGreater(session.due_timestamp, NOON)
                if session.state == RESERVED:
                    # The arrival is ahead.
                    self.assertGreater(session.estimated_timestamp, NOON)
                    self.assertGreater(session.due_timestamp - DEFAULT_TERMS.hold_s, NOON)
                if session.state == FINISHED:
                    self.assertEqual(session.stopped_timestamp, session.estimated_timestamp)
                began.setdefault(session.station_id, []).append(started or since)
            (line,) = (state for state in stations(storage) if state.queue_length)
            assert line.slots is not None
            joined = [place.joined_timestamp for place in line.slots.waiting]
            instants = [max(began[line.station.station_id]), *joined, NOON]
            self.assertEqual(instants, sorted(set(instants)))
            for place in line.slots.waiting:
                # Who could take an EVSE does not wait.
                self.assertFalse(any(each.free and place.fits(each.kind) for each in line.kinds))

    def test_goes_on(self) -> None:
        """Time passes: sessions end, and those in line are offered what comes free, in order."""
        server = MemoryServer()
        make_users(server.storage, 150, 1, NOON)
        (line,) = (state for state in stations(server.storage) if state.queue_length)
        first = line.slots.waiting[0].user_id  # type: ignore[union-attr]
        due = min(session.due_timestamp for session in sessions_of(line))
        server.advance(due - NOON - 1)
        self.assertEqual(server.request("STATUS", user_id=first)["data"]["state"], WAITING)
        server.advance(3)
        self.assertEqual(server.request("STATUS", user_id=first)["data"]["state"], OFFERED)
        for _ in range(24 * 60):
            server.advance(60.0)
        self.assertEqual(sum(s.available_slots for s in stations(server.storage)),
                         sum(s.max_slots for s in stations(server.storage)))  # fmt: skip

    def test_line_stands(self) -> None:
        """Where some wait already, others join them, and nobody overtakes them."""
        storage = shipped_network()
        make_users(storage, 150, 1, NOON)
        (line,) = (state for state in stations(storage) if state.queue_length)
        made = make_users(storage, 400, 2, NOON + 60)
        (after,) = (state for state in stations(storage) if state.queue_length)
        self.assertEqual(after.station, line.station)
        self.assertEqual(after.held.keys(), line.held.keys())
        self.assertEqual(made.states.get(WAITING, 0), after.queue_length - line.queue_length)
        self.assertEqual(after.queue_length, 5)

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

        one = self.network(shipped_network(), 150)
        self.assertEqual(one, self.network(shipped_network(), 150))
        self.assertNotEqual(one, self.network(shipped_network(), 150, seed=2))

    def test_every_storage(self) -> None:
        """A seed gives the same network in every storage, and when it is made in several runs."""
        memory = self.network(shipped_network(), 3, 1200)
        self.assertGreater(len({station for _, _, _, station, *_ in memory}), 20)
        self.assertEqual(memory, self.network(shipped_network(), 1200))
        # What seed 1 gives goes on being what it gives.
        self.assertEqual(
            [(car.model.model, state, place) for _, car, state, place, *_ in memory[:3]],
            [
                ("Kangoo E-Tech", RESERVED, 6),
                ("ID.4", CHARGING, 23),
                ("Kangoo E-Tech", CHARGING, 14),
            ],
        )
        urls = (
            f"files:{self.mktemp()}",
            f"sqlite:///{self.mktemp()}",
            postgres.shared().url(postgres.shared().create_database()),
        )
        for url in urls:
            self.assertEqual(self.network(parse(url, "").storage(), 3, 1200), memory, url)

    def network(self, storage: Any, *counts: int, seed: int = 1) -> list[Any]:
        """All that becomes of the users, but for their ids and receipts, by their names."""
        storage.open(NOON)
        self.addCleanup(storage.close)
        for count in counts:
            make_users(storage, count, seed, NOON)
        return sorted((self.facts(storage, user) for user in storage.users()), key=itemgetter(0))

    def facts(self, storage: Any, user: User) -> tuple[Any, ...]:
        """What becomes of a user."""
        found = carry_out(storage, FindStanding(user.user_id))
        assert isinstance(found, Standing)
        at = found.session or found.place
        place = None if at is None else at.station_id
        what = None if at is None else attrs.asdict(at, filter=self.is_fact)
        return user.user_name, user.car, found.state, place, user.created_timestamp, what

    @staticmethod
    def is_fact(field: Any, value: Any) -> bool:
        return field.name not in (
            "user_id",
            "receipt_id",
            "driver_id",
            "user",
            "tariff",
            "_charges",
        )

    def test_full(self) -> None:
        """With more cars than slots, the rest is put nowhere."""
        storage = shipped_network()
        made = make_users(storage, 400, 1, NOON)
        self.assertEqual(sum(state.available_slots for state in stations(storage)), 0)
        held = sum(made.states[state] for state in (CHARGING, FINISHED, RESERVED))
        self.assertEqual(held, sum(s.station.max_slots for s in stations(storage)))


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

    def test_says(self) -> None:
        """It says how many users there are in each state, and where the line is."""
        out = self.bootstrap("--seed", "1")[1]
        found = re.search(
            r"36 stations with (\d+) free slots; 150 users made: (\d+) charging, (\d+) charged and "
            r"still there, (\d+) on the way to a reserved slot, "
            r"5 in the queue of station (\d+) (.+), (\d+) at no station\n$",
            out,
        )
        assert found is not None, out
        free, *held, line_at, name, nowhere = found.groups()
        storage = FileStorage(self.data)
        storage.open(time.time())
        self.addCleanup(storage.close)
        (line,) = (state for state in stations(storage) if state.queue_length)
        self.assertEqual((line.station.key, line.station.name), (line_at, name))
        self.assertEqual(free, str(sum(state.available_slots for state in stations(storage))))
        states = Counter(s.state for state in stations(storage) for s in sessions_of(state))
        self.assertEqual([*map(int, held)], [states[s] for s in (CHARGING, FINISHED, RESERVED)])
        self.assertEqual(int(nowhere), 145 - sum(states.values()))

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

    def test_roads(self) -> None:
        """The stations on the roads come to those that there are, or that are shipped."""
        sources = [f"files:{self.data}", f"sqlite:///{self.data}.db"]
        for url in sources:
            options = ("--storage", url, "--users", "0", "--roads")
            for _ in range(2):
                status, out, err = self.run_command("bootstrap", *options)
                self.assertEqual((status, err), (0, ""))
                self.assertIn(": 65 stations", out)
        self.assertTrue((self.data / "evses.json").exists())
        self.file.write_text(f"{HEADER}\n5;A;Rua;-12.3;-38.9;2\n")
        own = ("--storage", f"files:{self.data}2", "--users", "0", "--stations", str(self.file))
        self.assertIn(": 30 stations", self.run_command("bootstrap", *own, "--roads")[1])

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
        self.assertIn("--users must be a whole number", self.bootstrap("--users", "many")[2])
        self.assertEqual(self.run_command("bootstrap", "--users", "-1")[0], 2)
        status, out, err = self.run_command()
        self.assertEqual((status, out), (2, ""))
        self.assertIn("change stations, cars and tariffs to what files say", err)
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
