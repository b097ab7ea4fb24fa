"""A data directory whose catalogue or rows are not as they should be: what still works."""

import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from evcharge.cli import main
from evcharge.datasets import (
    COLUMNS,
    OPTIONAL_COLUMNS,
    DatasetError,
    parse_car_models,
    parse_stations,
)
from evcharge.datasets.columns import meaning
from evcharge.datasets.evses import parse_evses
from evcharge.datasets.files import CARS, STATIONS, shipped
from evcharge.datasets.tariffs import parse_tariffs
from evcharge.models.connectors import connector_kind
from evcharge.rules.journey import UNKNOWN_STATION, held_at
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.testing import NOON, MemoryServer
from tests.support.logged import logged
from tests.support.operations import a_session, a_user, add_user, stations, sweep, take_slot
from tests.support.servers import LOGIN, ROOT, ServerTestCase
from tests.support.waiting import until

HEADER = ";".join((*COLUMNS, *OPTIONAL_COLUMNS))
ROWS = (
    "7;Centro;Rua A;-12.25;-38.95;4;22;2.00;CCS2",
    "8;Sul;Rua B;-12.26;-38.96;2;22;2.00;CCS2",
    "9;Norte;Rua C;-12.27;-38.97;1;22;2.00;CCS2",
)
FACTS = {
    "brand": "B", "model": "M", "battery_capacity": 50, "energy_consumption": 0.2, "max_speed": 100,
}  # fmt: skip


def command(*arguments: str) -> tuple[int, str, str]:
    """Run `evcharge`: exit status, standard output and error."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(arguments)
    except SystemExit as ended:
        return ended.code, out.getvalue(), err.getvalue()


class Directory:
    """Has a data directory."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp()).absolute()
        self.data.mkdir(mode=0o700)
        self.rows(*ROWS)
        self.write(CARS, {"A": FACTS, "Z": FACTS})
        self.logged = logged(self)

    def write(self, name: str, content: object) -> None:
        (self.data / name).parent.mkdir(mode=0o700, exist_ok=True)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (self.data / name).write_bytes(data)

    def rows(self, *lines: str) -> None:
        self.write(STATIONS, "\n".join((HEADER, *lines, "")).encode())

    def warnings(self) -> list[str]:
        """What was logged since the last time."""
        said = [formatEvent(e) for e in self.logged if e["log_level"] >= LogLevel.warn]
        self.logged.clear()
        return said

    def open(self) -> FileStorage:
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def in_service(self, storage: FileStorage) -> list[int]:
        return [state.station.station_id for state in stations(storage)]


class RowTests(Directory, SynchronousTestCase):
    """Rows that are wrong."""

    def stand(self) -> None:
        """A driver stands at station 8, and another is logged in."""
        storage = self.open()
        add_user(storage, a_user("u1"))
        add_user(storage, a_user("u2"))
        take_slot(storage, a_session("u1", 8))
        storage.close()
        self.assertEqual(self.warnings(), [])

    def test_words(self) -> None:
        """A number that words follow is read, and said."""
        self.rows(ROWS[0].replace("-38.95", "-38.9545 sometimes"), *ROWS[1:])
        storage = self.open()
        self.assertEqual(self.in_service(storage), [7, 8, 9])
        self.assertEqual(stations(storage)[0].station.longitude, -38.9545)
        (said,) = self.warnings()
        self.assertIn("line 2, column longitude: '-38.9545 sometimes' is read as -38.9545", said)

    def test_wrong_row(self) -> None:
        """A wrong row stops its own station, whose driver keeps the slot and the answer."""
        self.stand()
        for line in ("8;Sul;Rua B;-12.26;-138.96x;2;22;2.00;CCS2", '8;"Sul;Rua B;-12;1;2;;;',
                     "x;Sul;Rua B;-12;-38;2;22;2.00;CCS2", "8;;;;;;;;"):  # fmt: skip
            self.rows(ROWS[0], line, ROWS[2])
            storage = self.open()
            said = self.warnings()
            self.assertTrue(any(f"{STATIONS}: line 3" in line for line in said), said)
            self.assertIn("wrong rows: 1; their stations are out of service", "".join(said))
            self.assertEqual(self.in_service(storage), [7, 9])
            self.assertEqual(take_slot(storage, a_session("u1", 8)), a_session("u1", 8))
            self.assertEqual(take_slot(storage, a_session("u1", 9)), held_at(8))
            self.assertEqual(take_slot(storage, a_session("u2", 8)), UNKNOWN_STATION)
            storage.close()
        self.rows(*ROWS)
        storage = self.open()
        self.assertEqual(stations(storage)[1].available_slots, 1)
        storage.close()
        self.rows(ROWS[0], "8;Sul", ROWS[2])
        self.assertEqual(sweep(self.open(), NOON + 61, 0).freed, 1)

    def test_owed(self) -> None:
        """What a vehicle owes that an earlier installation let in comes from what can be read."""
        self.rows(ROWS[0], ROWS[1].replace("-12.26", "x").replace("2.00", "3.00"), ROWS[2])
        self.write("stations/station_8.json",
                   {"vehicles": {"u1": {"estimated_timestamp": NOON + 60}}})  # fmt: skip
        car = {**FACTS, "current_battery": 20}
        self.write("users/u1.json", {"user_name": "Ana", "user_car": car})
        storage = self.open()
        session = take_slot(storage, a_session("u1", 8))
        # 20 kWh to 80 %, at 22 kW.
        self.assertEqual(session.amount, 60)
        self.assertAlmostEqual(session.charge_minutes, 20 / 22 * 60)

    def test_owed_elsewhere(self) -> None:
        """Where no row can be read at all, that is worked out when one can; nobody has to go."""
        self.write("stations/station_8.json", {"max_slots": 2, "vehicles": {"u1": {}}})
        car = {**FACTS, "current_battery": 20}
        self.write("users/u1.json", {"user_name": "Ana", "user_car": car})
        self.write(STATIONS, b"?")
        storage = self.open()
        # 20 kWh at 50 kW.
        self.assertEqual(sweep(storage, NOON + 20 / 50 * 3600 - 1, 0).freed, 0)
        storage.close()
        self.rows(*ROWS)
        self.assertEqual(take_slot(self.open(), a_session("u1", 8)).amount, 40)

    def test_no_file(self) -> None:
        """A row that says not how many slots there are makes no file that would."""
        self.rows(ROWS[0], "8;Sul;Rua B;-12.26;-38.96;many;22;2.00;CCS2")
        self.open().close()
        self.assertFalse((self.data / "stations" / "station_8.json").exists())

    def test_many(self) -> None:
        """Of many mistakes twenty are told, and how many more there are."""
        self.rows(*(f"{n};A;R;x;y;1;;;" for n in range(30)))
        self.open()
        said = self.warnings()
        self.assertEqual(len([line for line in said if "is not a number" in line]), 20)
        self.assertIn("… and 40 more", said)

    def test_doubts(self) -> None:
        """What may be wrong is said at the start as well."""
        self.rows(*ROWS, "10;J;R;-38.95;-12.25;1;;0;Foo")
        self.assertEqual(self.in_service(self.open()), [7, 8, 9, 10])
        said = self.warnings()
        self.assertEqual(len(said), 3)
        for words, line in zip(("'Foo' is not a connector", "charging is free", "to be swapped"),
                               sorted(said), strict=True):  # fmt: skip
            self.assertIn(words, line)

    def test_as_people_write(self) -> None:
        """A table as a spreadsheet writes it is a network's too, and stays as it is."""
        content = (
            "Código;Nome do Posto;Endereço;Latitude;Longitude;Vagas;Potência (kW)\r\n"
            "7;Praça;R. São João;-12,2664;-38,9663;4;22\r\n;;;;;;\r\n"
        ).encode("cp1252")
        self.write(STATIONS, content)
        (state,) = stations(self.open())
        self.assertEqual((state.station.name, state.station.latitude), ("Praça", -12.2664))
        self.assertIn("read as Windows-1252", "".join(self.warnings()))
        self.assertEqual((self.data / STATIONS).read_bytes(), content)

    def test_no_table(self) -> None:
        """Of a file that is no table no station is in service; who is charging goes on."""
        self.stand()
        for content, words in (
            (b"", "is empty"),
            (b"PK\3\4", "is an Excel workbook: save it as CSV"),
            (b"id;nome\n7;A\n", "line 1: columns missing: "),
            (None, f"{STATIONS}: Is a directory"),
        ):
            if content is None:
                (self.data / STATIONS).unlink()
                (self.data / STATIONS).mkdir()
            else:
                self.write(STATIONS, content)
            storage = self.open()
            said = self.warnings()
            self.assertIn(words, "".join(said))
            self.assertIn("no station is in service until it is put right", said[-1])
            self.assertEqual(self.in_service(storage), [])
            self.assertEqual(take_slot(storage, a_session("u1", 8)), a_session("u1", 8))
            storage.close()
        self.assertEqual(sweep(self.open(), NOON + 61, 0).freed, 1)

    def test_header_alone(self) -> None:
        """Nor is one of a network that has none, which is said."""
        self.rows()
        self.assertEqual(self.in_service(self.open()), [])
        self.assertIn("has no station", "".join(self.warnings()))


class CarTests(Directory, SynchronousTestCase):
    """Models that are wrong."""

    def test_wrong_model(self) -> None:
        """A model that is wrong can be chosen by nobody; who has it keeps it."""
        facts = {**FACTS, "energy_consumption": 129}
        self.write(CARS, {"A": facts, "B": 5, "Z": FACTS})
        car = {**facts, "current_battery": 20}
        self.write("users/u1.json", {"user_name": "Ana", "user_car": car})
        server = MemoryServer(self.open())
        said = "".join(self.warnings())
        for words in ("model 'A': energy_consumption must be", "model 'B': must be an object",
                      "no driver can log in with the models that are wrong"):  # fmt: skip
            self.assertIn(words, said)
        self.assertEqual(list(server.request("START")["data"]["car_models"]), ["Z"])
        for model, code in (("A", 400), ("B", 400), ("Z", 200)):
            reply = server.request("LOGIN", user_name="B", selected_car=model, battery_car=40)
            self.assertEqual(reply["status"]["code"], code)
        reply = server.request("NAVIGATION", user_id="u1", route_distance=0.1)
        self.assertAlmostEqual(reply["data"]["autonomy"], 20 / 129)

    def test_no_catalogue(self) -> None:
        """Of what is no catalogue no model can be chosen; all else goes on."""
        for content in (b"{", b"[]", b"{}", b"[" * 100_000, b""):
            self.write(CARS, content)
            server = MemoryServer(self.open())
            said = "".join(self.warnings())
            self.assertIn(CARS, said)
            self.assertIn("no driver can log in", said)
            reply = server.request("START")
            self.assertEqual(reply["data"]["car_models"], {})
            self.assertEqual(len(reply["data"]["station_models"]), 3)
            reply = server.request("LOGIN", user_name="B", selected_car="A", battery_car=40)
            self.assertEqual(reply["status"]["code"], 400)
            server.storage.close()


class CommandTests(Directory, SynchronousTestCase):
    """What the commands do with such a directory."""

    def bootstrap(self, *arguments: str) -> tuple[int, str, str]:
        return command("bootstrap", "--data", str(self.data), "--users", "2", *arguments)

    def file(self, *lines: str) -> str:
        path = Path(self.mktemp())
        path.write_text("\n".join((HEADER, *lines, "")))
        return str(path)

    def test_bootstrap(self) -> None:
        """A wrong row or model keeps no users from being made, and is shown."""
        self.rows(*ROWS[:2], ROWS[2].replace("-38.97", "-38.97 sometimes"), "10;J;R;x;1;1;;;")
        self.write(CARS, {"A": 5, "Z": FACTS})
        status, out, err = self.bootstrap()
        self.assertEqual(status, 0)
        self.assertIn("3 stations with", out)
        for words in ("line 4, column longitude", "line 5, column latitude", "model 'A'"):
            self.assertIn(words, err)

    def test_bootstrap_adds(self) -> None:
        """What is added leaves what is wrong as it is, and takes no station's place."""
        wrong = "8;B;R;x;-38.9;3;;2,5;"
        self.rows(ROWS[0], wrong)
        self.write(CARS, {"A": 5, "Z": FACTS})
        cars = Path(self.mktemp())
        cars.write_text(json.dumps({"A": FACTS, "N": FACTS}))
        added = self.file("8;N;R;-12.2;-38.9;1;;;", "9;N;R;-12.225;-38.9;1;;1.234;Foo")
        status, _, err = self.bootstrap("--stations", added, "--cars", str(cars))
        self.assertEqual(status, 0, err)
        self.assertIn("'Foo' is not a connector", err)
        self.assertEqual(err.count("Foo"), 1)
        self.assertIn("line 4, column latitude: 'x' is not a number", err)
        self.assertIn(wrong, (self.data / STATIONS).read_text())
        self.warnings()
        storage = self.open()
        self.assertEqual(self.in_service(storage), [7, 9])
        self.assertEqual(stations(storage)[1].station.latitude, -12.225)
        self.assertEqual(list(storage.catalogue().car_models), ["Z", "N"])
        self.assertEqual(json.loads((self.data / CARS).read_text())["A"], 5)

    def test_bootstrap_refuses(self) -> None:
        """What cannot be read at all is not added to; and no car, no user."""
        self.write(CARS, b"{")
        self.write(STATIONS, b"id")
        for option, words in (
            ("--cars", "not JSON"),
            ("--stations", "columns missing: nomeDoPosto"),
        ):
            source = Path(self.mktemp())
            source.write_bytes(shipped(CARS if option == "--cars" else STATIONS))
            status, _, err = self.bootstrap(option, str(source))
            self.assertEqual(status, 1)
            self.assertIn(words, err)
        self.assertEqual((self.data / STATIONS).read_bytes(), b"id")
        status, _, err = self.bootstrap()
        self.assertEqual(status, 1)
        self.assertIn("no users can be made: the catalogue has no car model", err)
        self.assertNotIn("Traceback", err)

    def test_takes_in(self) -> None:
        """What is taken in is refused for what is read in a directory, all mistakes at once."""
        added = self.file(*(line.replace("2.00", "2.00 sometimes") for line in ROWS), "x")
        status, _, err = self.bootstrap("--stations", added)
        self.assertEqual(status, 1)
        for line in (2, 3, 4):
            self.assertIn(f"line {line}, column precoKWh: '2.00 sometimes' is not a number", err)
        self.assertIn("line 5, column id: 'x' is not a whole number", err)

    def test_out_of_place(self) -> None:
        """A station that comes to a network is looked for there, in every storage."""
        for url in (f"files:{self.data}", f"sqlite:///{self.mktemp()}"):
            self.assertEqual(command("bootstrap", "--storage", url, "--users", "0")[0], 0)
            added = self.file("90;A;R;-38.95;-12.25;1;;;", "91;A;R;-38.96;-12.25;1;;;")
            status, _, err = command(
                "bootstrap", "--storage", url, "--users", "0", "--stations", added
            )
            self.assertEqual(status, 0)
            for line in (2, 3):
                self.assertIn(f"{added}: line {line}, columns latitude and longitude", err)
            self.assertEqual(err.count("seem to be swapped"), 2)

    def test_copies(self) -> None:
        """What is wrong goes to other storages as it is, and comes back; what stands there too."""
        storage = self.open()
        add_user(storage, a_user("u1"))
        take_slot(storage, a_session("u1", 8))
        storage.close()
        wrong = [
            "8;Sul;Rua B;-12.26;x;2;22;2,00 ;CCS2",
            "10;J;R;95;;many;;;",
            "11;\udce7;R;1;1;1;;;",
        ]
        content = "\n".join((HEADER, ROWS[0], *wrong, "")).encode("utf-8", "surrogateescape")
        self.write(STATIONS, content)
        self.write(CARS, {"A": {"note": "é"}, "B": 5, "Z": FACTS, "\ud800": 1})
        folder = self.data.parent
        sources = [f"files:{self.data}"]
        for name in ("files:a", "sqlite:///a.db", "sqlite:///b.db", "files:end"):
            kind, _, rest = name.rpartition(":") if "files" in name else name.rpartition("/")
            target = f"{kind}{':' if 'files' in name else '/'}{folder / (self.data.name + rest)}"
            status, out, err = command("migrate", "--from", sources[-1], "--to", target)
            self.assertEqual(status, 0, err)
            self.assertIn("5 stations, 1 users, 1 sessions, 0 receipts, 1 payments", out)
            if sources[-1].startswith("files"):
                for words in ("line 3, column longitude: 'x'", "model 'A': battery_capacity is",
                              "what is wrong is copied as it is"):  # fmt: skip
                    self.assertIn(words, err)
                # What no database could name goes no further than its own directory.
                unnamed = r"model '\ud800': is not copied" in err
                self.assertEqual(unnamed, len(sources) == 1)
            sources.append(target)
        end = Path(sources[-1].partition(":")[2])
        text = (end / STATIONS).read_bytes().decode("utf-8", "surrogateescape")
        for line in wrong:
            self.assertIn(f"\n{line}\n", text)
        found = json.loads((end / CARS).read_text())
        self.assertEqual((found["A"], found["B"]), ({"note": "é"}, 5))
        self.assertFalse((end / "stations" / "station_10.json").exists())
        for url in sources:
            storage = parse(url, "").storage()
            storage.open(NOON)
            self.addCleanup(storage.close)
            self.assertEqual(self.in_service(storage), [7], url)
            self.assertEqual(list(storage.catalogue().car_models), ["Z"])
            self.assertEqual(take_slot(storage, a_session("u1", 8)), a_session("u1", 8))

    def test_put_right_in_database(self) -> None:
        """A row that is put right where it went is a row like any other."""
        self.rows(*ROWS[:2], ROWS[2].replace("-38.97", "x"))
        path = self.data.with_name(f"{self.data.name}.db")
        self.assertEqual(
            command("migrate", "--from", str(self.data), "--to", f"sqlite:///{path}")[0], 0
        )
        with closing(sqlite3.connect(path)) as database:
            database.execute(
                "update stations set in_service = 1, longitude = -38.97 where station_id = 9"
            )
            database.commit()
        end = f"{self.data}.end"
        status, _, err = command("export", "--storage", f"sqlite:///{path}", "--data", end)
        self.assertEqual((status, err), (0, ""))
        storage = FileStorage(Path(end))
        storage.open(NOON)
        self.addCleanup(storage.close)
        self.assertEqual(self.in_service(storage), [7, 8, 9])

    def test_loose_rows(self) -> None:
        """Rows that name no station of their own go where they can be kept, or are said not to."""
        loose = ["x;A;R;1;1;1;;;", "7;B;R;-12;-38;1;;;"]
        self.rows(*ROWS, *loose)
        end = self.data.with_name(f"{self.data.name}.end")
        status, _, err = command("export", "--storage", f"files:{self.data}", "--data", str(end))
        self.assertEqual(status, 0)
        self.assertIn("line 6, column id: 7 is on line 2 already", err)
        for line in loose:
            self.assertIn(f"\n{line}\n", (end / STATIONS).read_text())
        database = f"sqlite:///{end}.db"
        status, _, err = command("migrate", "--from", f"files:{end}", "--to", database)
        self.assertEqual(status, 0)
        self.assertIn("2 of the wrong rows name no station of their own", err)

    def test_copies_nothing(self) -> None:
        """Of a directory whose rows or catalogue cannot be read at all nothing is copied."""
        for name in (CARS, STATIONS):
            self.rows(*ROWS)
            self.write(CARS, {"A": FACTS})
            self.write(name, b"?")
            target = self.data.with_name(f"{self.data.name}.end")
            status, _, err = command("migrate", "--from", str(self.data), "--to", f"files:{target}")
            self.assertEqual(status, 1)
            self.assertIn(name, err)
            self.assertFalse(target.exists())

    def test_shipped(self) -> None:
        """The shipped catalogue is refused when a single figure of it is in another unit."""
        cars = json.loads(shipped(CARS))
        cars["Tesla Model 3"]["energy_consumption"] *= 1000
        self.assertRaises(DatasetError, parse_car_models, json.dumps(cars).encode(), "c")


class ServerTests(Directory, ServerTestCase):
    """A real server on such a directory."""

    def test_start(self) -> None:
        """It starts, and says what is wrong where a person looks, and in the log."""
        self.rows(ROWS[0].replace("-38.95", "-38.9545 sometimes"), "8;B;R;-12;x;1;;;")
        self.write(CARS, b"{")
        server = self.start(self.data).wait()
        client = self.client(server)
        self.assertEqual(list(client.request("START")["data"]["station_models"]), ["7"])
        self.assertEqual(server.process.poll(), None)
        log = "".join(server.log)
        server.process.terminate()
        server.process.wait(20)
        told = server.process.stderr.read()
        for words in ("line 2, column longitude: '-38.9545 sometimes' is read as -38.9545",
                      "line 3, column longitude: 'x' is not a number", "not JSON"):  # fmt: skip
            self.assertIn(words, log)
            self.assertIn(words, told)
        self.assertNotIn("Traceback", log + told)

    def test_log_file(self) -> None:
        """So it does where the log goes to a file."""
        self.rows(*ROWS, "10;B;R;-12;x;1;;;")
        log = Path(self.mktemp()).absolute()
        # As on a terminal, the standard output and the standard error are one.
        run = "import os, sys; os.dup2(2, 1); from twisted.scripts.twistd import run; "
        launch = f"sys.argv[1:1] = ['--logfile', {str(log)!r}]; run()"
        server = self.start(self.data, launch=("-c", run + launch))
        until(
            lambda: log.exists() and " listens on " in log.read_text(),
            "it listens",
            process=server.process,
        )
        server.process.terminate()
        _, told = server.process.communicate(timeout=60)
        self.assertIn("line 5, column longitude: 'x' is not a number", told)

    def test_daemon(self) -> None:
        """And where it goes on in the background."""
        self.rows(*ROWS, "10;B;R;-12;x;1;;;")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()",
                   f"--pidfile={folder / 'pid'}", f"--logfile={folder / 'log'}", "evcharge",
                   "--port", "tcp:0:interface=127.0.0.1", "--data", str(self.data)]  # fmt: skip
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.addCleanup(os.kill, int((folder / "pid").read_text()), signal.SIGTERM)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("line 5, column longitude: 'x' is not a number", done.stderr)


class InputTests(SynchronousTestCase):
    """Tables as they came from somewhere."""

    def test_connectors(self) -> None:
        """However an AC connector is called, the same car charges there as long, if it fits."""
        names = ("Type 2", "Tipo 2", "Type2", "Mennekes", "Type 2 (Socket Only)", "IEC_62196_T2",
                 "Type 2 (Tethered Connector)", "Tipo 1", "J1772", "NBR 14136", "Tomada comum",
                 "GB/T AC", "Plugue do Zé")  # fmt: skip
        rows = [f"{n};P;R;-12.2{n:02};-38.96;2;22;2.00;{name}" for n, name in enumerate(names, 1)]
        data = Path(self.mktemp())
        data.mkdir()
        self.addCleanup(shutil.rmtree, data)
        (data / STATIONS).write_text("\n".join((HEADER, *rows)))
        storage = FileStorage(data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        server = MemoryServer(storage)
        for number in range(1, len(names) + 1):
            user = server.request("LOGIN", **LOGIN)["data"]["user_id"]
            reply = server.request("PAYMENT", user_id=user, id_station=number, confirmation=True)
            if names[number - 1] in ("Tipo 1", "J1772", "GB/T AC", "Plugue do Zé"):
                self.assertEqual(reply["data"]["reason"], "no_compatible_connector")
                continue
            # 20 kWh at the 11 kW of the car's onboard charger.
            self.assertAlmostEqual(
                reply["data"]["charge_minutes"], 20 / 11 * 60, 5, names[number - 1]
            )
        shown = server.request("START")["data"]["station_models"]
        self.assertEqual([shown[str(number)]["connectors"] for number in (4, 9, 11, 13)],
                         [["Type 2"], ["Type 1"], ["NBR 14136"], ["Plugue do Zé"]])  # fmt: skip


class PageTests(SynchronousTestCase):
    """The page for those who bring stations of their own."""

    def setUp(self) -> None:
        self.page = (ROOT / "docs" / "operation" / "stations.md").read_text()

    def table(self, title: str) -> list[list[str]]:
        """The rows of the first table of a section, each as its cells."""
        section = self.page.partition(f"## {title}\n")[2].partition("\n## ")[0]
        lines = [line for line in section.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]

    def test_mistakes(self) -> None:
        """The mistakes that it shows are said like that."""
        lines = (
            "Código;Nome;Endereço;Latitude;Longitude;Vagas",
            "1;Praça da Matriz;R;-12.266.400;-38,9663;4",
            "2;Terminal Rodoviário;R. A;-12,2590;-38,9;",
        )
        file = Path(self.mktemp())
        file.write_text("\n".join(lines))
        status, _, err = command("bootstrap", "--data", self.mktemp(), "--stations", str(file))
        self.assertEqual(status, 1)
        self.assertIn(err.replace(str(file), "my-stations.csv"), self.page)

    def test_columns(self) -> None:
        """Columns are called what it says."""
        rows = self.table("The table")
        self.assertEqual(len(rows), 10)
        for names, others, _ in rows:
            columns = re.findall("`(.*?)`", names)
            for column, aliases in zip(columns, others.split(";") if others else [], strict=True):
                for alias in aliases.split(","):
                    self.assertEqual(meaning(alias), column, alias)

    def test_connectors(self) -> None:
        """So are connectors, with the current that it says."""
        rows = self.table("Connectors")
        for shown, currents, others in rows[:-1]:
            names = shown.split(", ")
            for number, name in enumerate(names):
                kind = connector_kind(name)
                self.assertEqual(kind.name, name)
                self.assertTrue(
                    currents.split(", ")[number].startswith("DC" if kind.is_dc else "AC")
                )
            for other in re.split(", ", others.replace("`", "")) if others else ():
                self.assertIn(connector_kind(other).name, names, other)
        self.assertEqual(connector_kind("NEMA 14-50").name, None)

    def test_facts(self) -> None:
        """Its smallest table, its EVSEs, its tariffs and its catalogue can be taken in."""
        table = "".join(re.findall(r"(?:^    (?:id|\d+);.*\n)", self.page, re.M))
        stations = parse_stations(textwrap.dedent(table).encode(), "t").stations
        self.assertEqual(list(stations), [3])
        blocks = [block.encode() for block in re.findall(r"```json\n(.*?)```", self.page, re.S)]
        evses, tariffs, catalogue = blocks
        self.assertEqual([evse.uid for evse in parse_evses(evses, "e").evses[7]], ["7-A", "7-B"])
        self.assertEqual(list(parse_tariffs(tariffs, "t").tariffs), ["noite"])
        self.assertEqual(list(parse_car_models(catalogue, "c")), ["Nissan Leaf"])
