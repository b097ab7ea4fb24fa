"""`evcharge apply`: the network becomes what the files say, in one step, or nothing changes."""

import csv
import io
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets import COLUMNS
from evcharge.datasets.files import CARS, EVSES, OUT_OF_SERVICE, STATIONS, TARIFFS
from evcharge.storage.location import parse
from evcharge.testing import NOON
from tests.support import engines, postgres
from tests.support.commands import run
from tests.support.operations import a_session, a_user, add_user, available, stations, take_slot
from tests.support.servers import LOGIN, ROOT, ServerTestCase
from tests.support.transcripts import replay, shell
from tests.support.waiting import until

engines.share()

SLOTS = "quantidadeDeVeiculosSimultaneos"


class Files:
    """The files of a network that was exported."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        assert run("export", "--storage", url, "--data", str(folder))[0] == 0

    def edit(self, change: Callable[[dict[str, dict[str, str]]], Any]) -> None:
        """Change the rows of the stations, which are by their id."""
        path = self.folder / STATIONS
        reader = csv.DictReader(io.StringIO(path.read_text()), delimiter=";")
        rows = {row["id"]: row for row in reader}
        change(rows)
        text = io.StringIO()
        writer = csv.DictWriter(text, reader.fieldnames, delimiter=";", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
        path.write_text(text.getvalue())

    def edit_evses(self, change: Callable[[dict[str, Any]], Any]) -> None:
        self._edit(EVSES, change)

    def edit_tariffs(self, change: Callable[[list[Any]], Any]) -> None:
        self._edit(TARIFFS, change)

    def edit_cars(self, change: Callable[[dict[str, Any]], Any]) -> None:
        self._edit(CARS, change)

    def _edit(self, name: str, change: Callable[[Any], Any]) -> None:
        path = self.folder / name
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))


def contents(url: str) -> Any:
    """All that a storage says: to be compared."""
    with parse(url, "").storage().read_contents(NOON) as there:
        return (
            list(there.car_models.items()),
            list(there.stations),
            sorted(there.users, key=lambda user: user.user_id),
            sorted(there.sessions, key=lambda session: session.user_id),
            sorted(there.payments, key=lambda payment: payment.receipt_id),
            list(there.tariffs),
        )


class ApplyContract:
    """For every kind of storage."""

    def new_url(self) -> str:
        raise NotImplementedError

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.url = self.new_url()
        storage = parse(self.url, "").storage()
        storage.open(NOON)
        for user_id in ("u1", "u2"):
            add_user(storage, a_user(user_id))
            take_slot(storage, a_session(user_id, end=NOON + 1e9))
        storage.close()
        self.files = Files(self.folder / "files", self.url)

    def apply(self, *options: str, status: int = 0) -> str:
        found, out, err = run("apply", str(self.files.folder), "--storage", self.url, *options)
        self.assertEqual(found, status, err)
        self.assertNotIn("Traceback", err)
        return out if status == 0 else err

    def test_round_trip(self) -> None:
        """What was exported and not changed is nothing to do."""
        before = contents(self.url)
        out = self.apply("--remove")
        self.assertIn("stations: 0 new, 0 changed, 0 gone, 36 unchanged\n", out)
        self.assertIn("car models: 0 new, 0 changed, 0 gone, 43 unchanged\n", out)
        self.assertIn("nothing to do", out)
        self.assertEqual(contents(self.url), before)

    def change(self) -> None:
        """Have the files say something else."""

        def rows(there: dict[str, dict[str, str]]) -> None:
            there["9"].update({"precoKWh": "2.15", SLOTS: "7", "nomeDoPosto": "Abastecimento"})
            there["40"] = {**there["9"], "id": "40", "nomeDoPosto": "Novo", SLOTS: "3"}
            del there["8"]

        def cars(there: dict[str, Any]) -> None:
            there["Mine"] = {**there["Nissan Leaf"], "model": "Mine"}
            there["Nissan Leaf"]["battery_capacity"] = 41
            del there["Fiat 500e"]

        self.files.edit(rows)
        self.files.edit_cars(cars)
        self.files.edit_evses(lambda there: there["9"].append({**there["9"][0], "uid": "9-7"}))

    def test_changes(self) -> None:
        """It says what is new, changed, gone and unchanged, field by field, and does it once."""
        self.change()
        before = contents(self.url)
        said = self.apply("--dry-run")
        for line in (
            "station 40 Novo: new",
            "station 9 Abastecimento: changed",
            "    nomeDoPosto: Centro de Abastecimento -> Abastecimento",
            f"    {SLOTS}: 6 -> 7",
            "    precoKWh: 1.95 -> 2.15",
            "station 8 CUCA - Centro Universitário de Cultura e Arte: not in the files, and stays; "
            "--remove takes it out",
            "car model Mine: new",
            "    battery_capacity: 38.0 -> 41.0",
            "car model Fiat 500e: not in the files, and stays; --remove takes it out",
            "stations: 1 new, 1 changed, 1 not in the files, 34 unchanged",
            "car models: 1 new, 1 changed, 1 not in the files, 41 unchanged",
        ):
            self.assertIn(f"{line}\n", said)
        self.assertIn("nothing was written", said)
        self.assertEqual(contents(self.url), before)
        out = self.apply()
        self.assertEqual(out.splitlines()[:-1], said.splitlines()[:-1])
        self.assertTrue(out.endswith(": done\n"))
        cars, there, *rest = contents(self.url)
        records = {record.station.station_id: record for record in there}
        self.assertEqual(records.keys(), {*range(1, 37), 40})
        self.assertEqual([name for name, _ in cars],
                         [name for name, _ in before[0]] + ["Mine"])  # fmt: skip
        self.assertEqual(records[9].station.max_slots, 7)
        self.assertEqual(tuple(rest), before[2:])
        self.assertIn("nothing to do", self.apply())
        out = self.apply("--remove")
        self.assertIn("station 8 CUCA - Centro Universitário de Cultura e Arte: gone", out)
        self.assertIn("stations: 0 new, 0 changed, 1 gone, 36 unchanged", out)
        self.assertIn("nothing to do", self.apply("--remove"))
        cars, there, *_ = contents(self.url)
        self.assertNotIn("Fiat 500e", dict(cars))
        self.assertNotIn(8, [record.station.station_id for record in there])
        self.assertEqual(contents(self.url)[2:], before[2:])
        storage = parse(self.url, "").storage()
        storage.open(NOON)
        self.addCleanup(storage.close)
        self.assertEqual(available(storage, 40), 3)
        self.assertEqual(str(stations(storage)[-1].station.price_kwh), "2.15")

    def test_vehicles(self) -> None:
        """Who charges goes on: a station shrinks as they leave, one that is gone goes with them."""
        before = contents(self.url)
        self.files.edit_evses(lambda evses: evses["7"].pop())
        self.files.edit(lambda rows: rows["7"].update({SLOTS: "1"}))
        self.apply()
        self.files.edit(lambda rows: rows.pop("7"))
        self.assertIn("station 7", self.apply("--remove"))
        self.assertIn("nothing to do", self.apply("--remove"))
        self.assertEqual(contents(self.url)[2:], before[2:])

    def test_part(self) -> None:
        """What there is no file for stays as it is."""
        self.change()
        (self.files.folder / CARS).unlink()
        before = contents(self.url)
        out = self.apply("--remove")
        self.assertNotIn("car model", out)
        self.assertEqual(contents(self.url)[0], before[0])
        (self.files.folder / STATIONS).rename(self.files.folder / "stations.csv")
        self.assertIn("nothing to do", self.apply("--remove"))
        for name in (EVSES, TARIFFS):
            (self.files.folder / name).unlink()
        before = contents(self.url)
        self.assertIn("nothing to do", self.apply("--remove"))
        self.assertEqual(contents(self.url), before)

    def test_evses_and_tariffs(self) -> None:
        """EVSEs and tariffs are changed each by itself, and counted."""
        for name in (CARS, STATIONS):
            (self.files.folder / name).unlink()

        def evses(there: dict[str, Any]) -> None:
            there["9"][0].update(status="OUTOFORDER", reason="cabo cortado")
            there["9"][1]["connectors"][0]["tariff_ids"] = ["dia"]
            del there["10"]

        def tariffs(there: list[Any]) -> None:
            there.append({**there[0], "id": "dia"})
            there[0]["currency"] = "BRL"

        self.files.edit_evses(evses)
        before = contents(self.url)
        err = self.apply(status=1)
        place = '"9-2": connectors[0].tariff_ids[0]'
        self.assertIn(f"{EVSES}: {place}: there is no tariff 'dia'\n", err)
        self.assertEqual(contents(self.url), before)
        self.files.edit_tariffs(tariffs)
        out = self.apply()
        self.assertIn('    EVSE 9-1: {"uid": "9-1",', out)
        self.assertIn("tariff dia: new\n", out)
        self.assertIn("stations: 0 new, 1 changed, 0 not in the files, 35 unchanged\n", out)
        self.assertIn("tariffs: 1 new, 0 changed, 0 not in the files, 2 unchanged\n", out)
        self.assertIn("nothing to do", self.apply())
        records = {record.station.station_id: record.station for record in contents(self.url)[1]}
        self.assertEqual(
            [(e.status, e.reason) for e in records[9].own_evses[:2]],
            [("OUTOFORDER", "cabo cortado"), ("IN_SERVICE", None)],
        )
        self.assertEqual(len(records[10].own_evses), records[10].max_slots)
        storage = parse(self.url, "").storage()
        storage.open(NOON)
        self.assertEqual(available(storage, 9), records[9].max_slots - 1)
        self.assertEqual(list(storage.catalogue().tariffs), ["estrada", "noite", "dia"])
        storage.close()
        self.assertIn("    EVSE 10-1: ", self.apply("--remove"))
        self.files.edit_tariffs(lambda there: there.pop())
        err = self.apply("--remove", status=1)
        self.assertIn(f"{EVSES}: {place}: there is no tariff 'dia'\n", err)
        self.files.edit_evses(lambda there: there["9"][1]["connectors"][0].pop("tariff_ids"))
        self.assertIn("tariff dia: gone", self.apply("--remove"))
        self.assertIn("nothing to do", self.apply("--remove"))

    def test_twice(self) -> None:
        """Two EVSEs of one name are a mistake, also where only one of them is in a file."""
        first = json.loads((self.files.folder / EVSES).read_text())["9"][0]
        (self.files.folder / EVSES).write_text(json.dumps({"7": [first]}))
        err = self.apply(status=1)
        self.assertIn(f'{EVSES}: "9-1": uid: stations 7 and 9 have one that is called so', err)

    def test_without_a_row(self) -> None:
        """A station that stays without a row in the files has the EVSEs that they give it."""
        (self.files.folder / STATIONS).write_text(f"{';'.join(COLUMNS)}\n99;N;R;-12;-38;1\n")
        one = {"uid": "9-Z", "connectors": [{"id": "1", "standard": "CHADEMO"}]}
        (self.files.folder / EVSES).write_text(json.dumps({"9": [one]}))
        self.assertIn("EVSE 9-Z: - -> ", self.apply())
        self.assertIn("9-Z", str([r for r in contents(self.url)[1] if r.station.station_id == 9]))
        self.assertIn("station 9 Centro de Abastecimento: gone", self.apply("--remove"))

    def test_of_another(self) -> None:
        """So are two of which a station has one for a slot, and nobody has named it."""
        (self.files.folder / STATIONS).write_text(f"{';'.join(COLUMNS)}\n99;N;R;-12;-38;1\n")
        first = json.loads((self.files.folder / EVSES).read_text())["9"][0]
        (self.files.folder / EVSES).write_text(json.dumps({"9": [{**first, "uid": "99-1"}]}))
        err = self.apply(status=1)
        self.assertIn(f'{EVSES}: "99-1": uid: stations 9 and 99 have one that is called so', err)

    def test_named_by_row(self) -> None:
        """A row that names a tariff that there is not is named by its place."""
        path = self.files.folder / STATIONS
        head, first, *rest = path.read_text().splitlines()
        path.write_text("\n".join((f"{head};tarifa", f"{first};dia", *(f"{row};" for row in rest))))
        err = self.apply(status=1)
        self.assertIn(f"{STATIONS}: line 2, column tarifa: there is no tariff 'dia', at char", err)

    def test_out_of_service(self) -> None:
        """A row that goes over to the other file takes its station out of service, and back."""
        folder = self.files.folder
        whole = (folder / STATIONS).read_text()
        self.files.edit(lambda rows: rows.pop("9"))
        head, *rows = whole.splitlines(keepends=True)
        (folder / OUT_OF_SERVICE).write_text(head + next(r for r in rows if r.startswith("9;")))
        self.assertIn("    in service: yes -> no\n", self.apply("--remove"))
        self.assertIn("nothing to do", self.apply("--remove"))
        record = next(r for r in contents(self.url)[1] if r.station.station_id == 9)
        self.assertEqual((record.in_service, record.station.name),
                         (False, "Centro de Abastecimento"))  # fmt: skip
        # Without its file, nothing is said of it.
        (folder / OUT_OF_SERVICE).unlink()
        self.assertIn("nothing to do", self.apply("--remove"))
        (folder / STATIONS).write_text(whole)
        self.assertIn("    in service: no -> yes\n", self.apply())

    def test_mistakes(self) -> None:
        """Every mistake in every file is named by its place, and nothing is written."""
        before = contents(self.url)
        self.files.edit(lambda rows: (rows["3"].update(latitude="x"), rows["9"].update(id="")))
        self.files.edit_cars(lambda cars: cars["Nissan Leaf"].update(max_speed=-1))
        err = self.apply(status=1)
        for words in (
            "nothing was written:\n",
            f"{STATIONS}: line 4, column latitude: 'x' is not a number, at character ",
            f"{STATIONS}: line 10, column id: is missing, at character 1",
            f"{CARS}: model 'Nissan Leaf': max_speed must be a number over 0",
        ):
            self.assertIn(words, err)
        (self.files.folder / CARS).write_text("{")
        self.assertRegex(self.apply(status=1), rf"{CARS}: not JSON: .* line 1 column 2")
        self.assertEqual(contents(self.url), before)


class FilesTests(ApplyContract, SynchronousTestCase):
    """In a data directory."""

    def new_url(self) -> str:
        return f"files:{self.folder / 'data'}"


class SqliteTests(ApplyContract, SynchronousTestCase):
    """In an SQLite file."""

    def new_url(self) -> str:
        return f"sqlite:///{self.folder / 'a.db'}"


class PostgresTests(ApplyContract, SynchronousTestCase):
    """In PostgreSQL."""

    def new_url(self) -> str:
        return postgres.shared().url(postgres.shared().create_database())

    def test_changed_meanwhile(self) -> None:
        """What another has changed since the network was looked at is refused, too."""
        self.files.edit_evses(lambda there: there["9"][0]["connectors"][0].update(tariff_ids=["x"]))
        self.files.edit_tariffs(lambda there: there.append({**there[0], "id": "x"}))
        self.apply()
        self.files.edit_evses(lambda there: there.update({"10": [{**there["9"][0], "uid": "y"}]}))
        (self.files.folder / TARIFFS).unlink()
        errors: list[str] = []
        with psycopg.connect(self.url) as other:
            other.execute("SELECT FROM network FOR UPDATE")
            thread = threading.Thread(target=lambda: errors.append(self.apply(status=1)))
            thread.start()
            with psycopg.connect(self.url, autocommit=True) as watcher:
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                until(lambda: watcher.execute(waiting).fetchone()[0], "it waits")
            other.execute("DELETE FROM tariffs WHERE tariff_id = 'x'")
            before = contents(self.url)
        thread.join(20)
        self.assertIn("\"y\": connectors[0].tariff_ids[0]: there is no tariff 'x'", errors[0])
        self.assertIn("nothing was written", errors[0])
        self.assertEqual(contents(self.url)[:-1], before[:-1])


class RunningTests(ServerTestCase):
    """With a server."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()

    def test_alone(self) -> None:
        """On a data directory, or an SQLite file, no server may run: one line says whose it is."""
        for url in (f"files:{self.folder / 'data'}", f"sqlite:///{self.folder / 'a.db'}"):
            self.assertEqual(run("bootstrap", "--storage", url, "--users", "0")[0], 0)
            files = Files(self.folder / url.partition(":")[0], url)
            server = self.start(self.folder / "data", "--storage", url).wait()
            status, out, err = run("apply", str(files.folder), "--storage", url)
            self.assertEqual((status, out, err.count("\n")), (1, "", 1))
            self.assertIn(f"is in use by another evcharge process ({server.process.pid})", err)
            server.end()

    def test_shared(self) -> None:
        """Servers on PostgreSQL have it within a second; who charges there goes on."""
        url = postgres.shared().url(postgres.shared().create_database())
        server = self.start(self.folder / "data", "--storage", url).wait()
        files = Files(self.folder / "files", url)
        client = self.client(server)
        user = client.request("LOGIN", **LOGIN)["data"]["user_id"]
        paid = client.request("PAYMENT", user_id=user, id_station="8", confirmation=True)
        self.assertTrue(paid["data"]["confirmation"])

        def rows(there: dict[str, dict[str, str]]) -> None:
            there["9"].update(precoKWh="9.99")
            there["40"] = {**there["9"], "id": "40"}
            del there["8"]

        files.edit(rows)
        files.edit_cars(lambda cars: cars.update(Mine=cars["Nissan Leaf"]))
        status, _, err = run("apply", str(files.folder), "--storage", url, "--remove")
        self.assertEqual((status, err), (0, ""))
        applied = time.monotonic()
        # The first to ask is told so within a second.
        mine = {**LOGIN, "selected_car": "Mine"}
        until(lambda: client.request("LOGIN", **mine)["status"]["code"] == 200, "the new model")
        start = client.request("START")["data"]["station_models"]
        self.assertLess(time.monotonic() - applied, 1)
        self.assertEqual((start["9"]["price_kwh"], "40" in start, "8" in start),
                         (9.99, True, False))  # fmt: skip
        again = client.request("PAYMENT", user_id=user, id_station="8", confirmation=True)
        self.assertEqual(again["data"]["receipt_id"], paid["data"]["receipt_id"])
        other = client.request("LOGIN", **LOGIN)["data"]["user_id"]
        refused = client.request("PAYMENT", user_id=other, id_station="8", confirmation=True)
        self.assertEqual(refused["data"]["reason"], "station_not_found")


class UsageTests(SynchronousTestCase):
    """What it is asked wrongly."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.url = f"sqlite:///{self.folder / 'a.db'}"
        self.assertEqual(run("bootstrap", "--storage", self.url, "--users", "0")[0], 0)
        self.files = Files(self.folder / "files", self.url)

    def refused(self, words: str, *arguments: str, status: int = 1) -> None:
        found, out, err = run("apply", *arguments)
        self.assertEqual((found, out), (status, ""))
        self.assertRegex(err, words)

    def test_refused(self) -> None:
        """What cannot be is said in a line that names the file or the option."""
        files, storage = str(self.files.folder), ("--storage", self.url)
        self.refused("apply: DIR is missing", *storage, status=2)
        self.refused("nowhere: no such directory", "nowhere", *storage)
        self.refused("a.db: no such directory", str(self.folder / "a.db"), *storage)
        (self.folder / "empty").mkdir()
        self.refused(re.escape(f"has none of {CARS}"), str(self.folder / "empty"), *storage)
        self.refused("none.db: no such file", files, "--storage",
                     f"sqlite:///{self.folder / 'none.db'}")  # fmt: skip
        self.assertFalse((self.folder / "none.db").exists())
        self.refused("--storage must be files", files, "--storage", "mysql://x")
        path = self.files.folder / STATIONS
        (self.files.folder / "stations.csv").write_bytes(path.read_bytes())
        self.refused("has both", files, *storage)
        (self.files.folder / "stations.csv").rename(self.files.folder / OUT_OF_SERVICE)
        self.refused("station 1 is in both files", files, *storage)

    def test_doubts(self) -> None:
        """What may be wrong is told, and applied all the same."""
        self.files.edit(lambda rows: rows["9"].update(latitude="40"))
        status, out, err = run("apply", str(self.files.folder), "--storage", self.url)
        self.assertEqual(status, 0)
        self.assertIn("latitude: -12.2598 -> 40.0", out)
        self.assertIn("km from the middle of the other stations", err)


class PageTests(SynchronousTestCase):
    """The page about it."""

    def test_transcript(self) -> None:
        """The commands on the page say what it says that they do."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        shell(folder, "evcharge bootstrap --storage sqlite:///evcharge.db --users 0")
        self.assertEqual(replay(self, ROOT / "docs" / "operation" / "apply.md", folder), 6)
