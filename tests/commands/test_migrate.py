"""`evcharge migrate` and `evcharge export`: everything goes over, or nothing does."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

import evcharge
from evcharge.datasets import COLUMNS, OPTIONAL_COLUMNS, parse_car_models, parse_stations
from evcharge.datasets.files import CARS, EVSES, STATIONS, TARIFFS, shipped
from evcharge.models.network import StationRecord
from evcharge.models.receipts import Payment
from evcharge.storage import StorageError, Summary
from evcharge.storage.contents import Contents
from evcharge.storage.files.directory import PAYMENTS
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.testing import NOON
from evcharge.utils.time_utils import iso_utc
from tests.support import engines, postgres
from tests.support.commands import run
from tests.support.examples import examples, given
from tests.support.logged import logged
from tests.support.operations import (
    MODEL,
    a_session,
    a_user,
    add_user,
    available,
    end_journey,
    find_user,
    stations,
    sweep,
    take_slot,
    user_ids,
)
from tests.support.waiting import until

engines.share()

ROOT = Path(evcharge.__file__).resolve().parent.parent
HEADER = ";".join((*COLUMNS, *OPTIONAL_COLUMNS))

CATALOGUE = {
    "Zoe": {**MODEL.facts(), "dc_curve": [[0, 130], [100, 12.5]], "nome": "é", "none": None},
    "Ampera": {**MODEL.facts(), "ac_power_kw": 7.4},
}
VEHICLES = {
    "u1": {
        "estimated_timestamp": NOON + 60.125,
        "receipt_id": "r1",
        "amount": 12.3,
        "charge_minutes": 1.1,
        "paid_timestamp": NOON,
        "evse": "7-B",
        "connector": "CCS2",
        "start_percent": 1 / 3,
        "target_percent": 70.0,
        "energy_kwh": 0.1 + 0.2,
        "profile": [[0.1, 50.0, 130.0], [0.2, 130.0, 1e-6]],
        "assumed": ["car_curve", "price"],
    },
    # Of this one's user there is no record.
    "lost": {
        "estimated_timestamp": NOON + 1e7,
        "receipt_id": "r2",
        "amount": 0.0,
        "charge_minutes": 0.0,
        "paid_timestamp": None,
        "evse": "gone",
    },
}
TARIFFS_THERE = [
    {
        "id": "noite é",
        "currency": "BRL",
        "tariff_alt_text": [{"language": "pt", "text": "à noite"}],
        "elements": [
            {
                "price_components": [{"type": "ENERGY", "price": 1.9, "step_size": 1}],
                "restrictions": {"start_time": "22:00", "end_time": "06:00"},
            },
            {"price_components": [{"type": "ENERGY", "price": 2.79, "vat": 5.0, "step_size": 1}]},
        ],
    },
    {
        "id": "A",
        "currency": "BRL",
        "elements": [{"price_components": [{"type": "FLAT", "price": 5, "step_size": 1}]}],
    },
]
EVSES_THERE: dict[str, Any] = {
    "7": [
        {
            "uid": "7-B",
            "max_power_kw": 150.0,
            "connectors": [
                {
                    "id": "1",
                    "standard": "IEC_62196_T2_COMBO",
                    "format": "CABLE",
                    "power_type": "DC",
                    "max_power_kw": 149.5,
                    "tariff_ids": ["noite é", "A"],
                }
            ],
            "status": "OUTOFORDER",
            "since": "2026-11-25T12:00:00Z",
            "reason": "cabo cortado",
        },
        {"uid": "7-A", "connectors": [{"id": "1", "name": "Plugue da casa"}]},
        {"uid": "7-10", "connectors": [{"id": "a", "standard": "DOMESTIC_N"}]},
        {
            "uid": "7-9",
            "connectors": [{"id": "a", "standard": "DOMESTIC_N"}],
            "physical_reference": "P4",
        },
    ],
}
PAID = [("r0", NOON - 1, 8, 99.99, "gone"), ("r1", NOON, 7, 12.3, "u1")]


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def a_network(folder: Path) -> None:
    """A data directory with something of everything."""
    write(folder, CARS, CATALOGUE)
    write(
        folder,
        STATIONS,
        f"{HEADER};telefone;Observação\n"
        "7;Centro;Rua A, 5;-12.25;-38.95;4;22.5;1.230;CCS2,Type 2;0800;\n"
        '8;"Sul; ""B""";;-12.5;-38.0;2;;2.00;;"0\r8";"a\nb"\n',
    )
    write(folder, TARIFFS, TARIFFS_THERE)
    write(folder, EVSES, EVSES_THERE)
    for station_id, slots, vehicles in ((7, 4, VEHICLES), (8, 2, {}), (99, 5, {})):
        facts = {"id": station_id, "max_slots": slots, "available_slots": slots - len(vehicles)}
        write(folder, f"stations/station_{station_id}.json", {**facts, "vehicles": vehicles})
    for user_id in ("u1", "u2"):
        facts = {
            "user_id": user_id,
            "user_name": "Zé \u2028 \U0001f600",
            "user_car": {**MODEL.facts(), "dc_power_kw": 0.1 + 0.2, "current_battery": 1 / 3},
            "created_timestamp": NOON - 0.001,
        }
        if user_id == "u2":
            facts |= {"selected_car": "Zoe", "target_percent": 99.5}
        write(folder, f"users/{user_id}.json", facts)
    lines = [
        {"receipt_id": r, "paid": iso_utc(paid), "station": s, "amount_brl": a, "user": u}
        for r, paid, s, a, u in PAID
    ]
    write(folder, PAYMENTS, "".join(json.dumps(line) + "\n" for line in lines))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("lock")
    }


def raw(folder: Path) -> dict[str, Any]:
    """What the files say, read without any code of evcharge."""
    found: dict[str, Any] = {}
    for name, content in files_of(folder).items():
        if name.endswith(".csv"):
            reader = csv.DictReader(io.StringIO(content.decode(), newline=""), delimiter=";")
            found[name] = list(reader)
        elif name.endswith(".jsonl"):
            found[name] = sorted(json.loads(line)["receipt_id"] for line in content.splitlines())
            found["lines"] = [json.loads(line) for line in content.splitlines()]
            found["lines"].sort(key=lambda line: line["receipt_id"])
        else:
            found[name] = json.loads(content.decode("utf-8", "surrogateescape"))
    found["order"] = list(found[CARS])
    return found


class MigrateCase(SynchronousTestCase):
    """Has folders and databases of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.source = self.folder / "source"
        a_network(self.source)

    def at(self, name: str) -> str:
        return f"files:{self.folder / name}"

    def sqlite(self, name: str = "a.db") -> str:
        return f"sqlite:///{self.folder / name}"

    def postgres(self) -> str:
        return postgres.shared().url(postgres.shared().create_database())

    def migrate(self, source: str, target: str) -> str:
        status, out, err = run("migrate", "--from", source, "--to", target)
        self.assertEqual((status, err), (0, ""))
        return out

    def refused(self, *arguments: str, words: str, status: int = 1) -> str:
        """The command says so in a line, and changes nothing there."""
        before = files_of(self.folder)
        found, out, err = run(*arguments)
        self.assertEqual((found, out), (status, ""))
        self.assertIn(words, err)
        self.assertNotIn("Traceback", err)
        self.assertEqual(files_of(self.folder), before)
        return err

    def holds_nothing(self, url: str) -> None:
        """There is no storage, or it has no tables."""
        with self.assertRaises(StorageError), parse(url, "").storage().read_contents(0):
            self.fail("there is something")

    def opened(self, url: str) -> Any:
        storage = parse(url, "").storage()
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def sql(self, url: str, statement: str) -> None:
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with closing(engine.raw_connection()) as connection:
            if engine.dialect.name == "sqlite":
                connection.cursor().execute("pragma journal_mode = wal")
            connection.cursor().execute(str(text(statement)))
            connection.commit()
        engine.dispose()


class CopyTests(MigrateCase):
    """What arrives."""

    def test_round_trip(self) -> None:
        """Through every kind of storage and back, everything is as it was."""
        before = files_of(self.source)
        urls = [str(self.source), self.at("a"), self.sqlite(), self.sqlite("b.db"),
                self.postgres(), self.postgres(), self.sqlite("c.db"), self.at("end")]  # fmt: skip
        for source, target in pairwise(urls):
            out = self.migrate(source, target)
            self.assertIn("2 car models, 3 stations, 2 users, 2 sessions, ", out)
            self.assertIn("0 receipts, 2 payments", out)
            self.assertNotIn("secret", out)
        self.maxDiff = None
        self.assertEqual(raw(self.folder / "end"), raw(self.source))
        self.assertEqual(files_of(self.source), before)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir() if p.is_dir()),
                         ["a", "end", "source"])  # fmt: skip

    def test_wrong(self) -> None:
        """EVSEs and tariffs that are wrong go along as they are; the rest is in service."""
        no_evse = [{"uid": "8-1", "connectors": []}, "x\udce9"]
        write(self.source, EVSES, {**EVSES_THERE, "8": no_evse})
        wrong = [{"id": "Z", "currency": "EUR"}, *TARIFFS_THERE]
        write(self.source, TARIFFS, [*wrong, {"id": "A"}, {"id": ""}, 5])
        for source, target, words in (
            (str(self.source), self.sqlite(), "2 of the tariffs have no id of their own"),
            (self.sqlite(), self.postgres(), ""),
        ):
            status, _, err = run("migrate", "--from", source, "--to", target)
            self.assertEqual(status, 0, err)
            self.assertIn(words, err)
            there = self.opened(target)
            self.assertEqual([state.station.station_id for state in stations(there)], [7])
            there.close()
        self.migrate(target, self.at("end"))
        end = raw(self.folder / "end")
        self.assertEqual(end[EVSES], {**EVSES_THERE, "8": no_evse})
        self.assertEqual(end[TARIFFS], [*wrong, {"id": ""}])

    def test_export(self) -> None:
        """An exported directory opens without a word, and gives the same answers."""
        (self.source / "stations" / "station_99.json").unlink()
        self.migrate(str(self.source), self.sqlite())
        out = self.folder / "new" / "out"
        self.assertEqual(run("export", "--storage", self.sqlite(), "--data", str(out))[0], 0)
        said = logged(self)
        written = files_of(out)
        storages = [self.opened(self.sqlite()), self.opened(f"files:{out}")]
        self.assertEqual([e for e in said if e["log_level"] >= LogLevel.warn], [])
        self.assertEqual(files_of(out), written)

        def story(storage: Any) -> Iterator[Any]:
            yield storage.catalogue().car_models, list(storage.catalogue().car_models)
            yield list(stations(storage)), user_ids(storage)
            yield find_user(storage, "u1"), find_user(storage, "u2")
            yield take_slot(storage, a_session("u1"))
            yield take_slot(storage, a_session("u2", 8)), available(storage, 8)
            yield end_journey(storage, "u1"), available(storage, 7)
            yield sweep(storage, NOON + 1e8, 0), list(stations(storage)), user_ids(storage)

        one, other = (list(story(storage)) for storage in storages)
        self.assertEqual(one, other)

    def test_earlier(self) -> None:
        """What an earlier installation did not note is worked out, as the server would."""
        write(self.source, "stations/station_7.json", {"vehicles": {"u1": {}, "lost": {}}})
        write(self.source, "stations/station_8.json",
              {"vehicles": {"u1": {"estimated_timestamp": 5}}})  # fmt: skip
        (self.source / "stations" / "station_99.json").unlink()
        (self.source / PAYMENTS).unlink()
        write(self.source, "users/notes.txt", "x")
        write(self.source, "users/u9.json.tmp", "x")
        status, _, err = run("migrate", "--from", str(self.source), "--to", self.sqlite())
        self.assertEqual(status, 0)
        self.assertIn("user … stood at stations 7 and 8; the latter is freed", err)
        self.assertIn("notes.txt: is not copied", err)
        self.assertNotIn(".tmp", err)
        copied, there = self.opened(self.sqlite()), self.opened(str(self.at("source")))
        for ours, theirs in zip(stations(copied), stations(there), strict=True):
            self.assertEqual(ours.station, theirs.station)
            self.assertEqual(ours.available_slots, theirs.available_slots)
        ours, theirs = (take_slot(s, a_session("u1")) for s in (copied, there))
        self.assertEqual((ours.amount, ours.charge_minutes), (theirs.amount, theirs.charge_minutes))
        self.assertGreater(ours.amount, 0)

    def test_slots(self) -> None:
        """A station has the slots that its own file says, though the CSV could not say it."""
        for slots in (0, 2000):
            write(self.source, "stations/station_8.json", {"max_slots": slots})
            self.migrate(str(self.source), self.sqlite(f"{slots}.db"))
            self.migrate(self.sqlite(f"{slots}.db"), self.at(str(slots)))
            storage = self.opened(self.at(str(slots)))
            self.assertEqual(available(storage, 8), slots)

    def test_out_of_service(self) -> None:
        """A station that a database has out of service is so in files, and keeps its facts."""
        self.migrate(str(self.source), self.sqlite())
        self.sql(self.sqlite(), "update stations set in_service = false where station_id = 8")
        self.migrate(self.sqlite(), self.at("a"))
        self.assertEqual([s.station.station_id for s in stations(self.opened(self.at("a")))], [7])
        shutil.copytree(self.folder / "a", self.folder / "b")
        self.migrate(self.at("b"), self.sqlite("b.db"))
        self.sql(self.sqlite("b.db"), "update stations set in_service = true where station_id = 8")
        self.migrate(self.sqlite("b.db"), self.at("c"))
        self.assertEqual(raw(self.folder / "c")[STATIONS], raw(self.source)[STATIONS])

    def test_payments(self) -> None:
        """Payments that stand and are not listed yet go over, also from half a last line."""
        # Lines of an earlier version name the user by the start of the id, and stay as they are.
        listed = (self.source / PAYMENTS).read_text()
        first, second = listed.splitlines(keepends=True)
        anew = second.replace('"u1"', '""')
        contents = (
            (listed, second),
            (first, anew),
            (first + second[:30], anew),
            (first + second[:-4], anew),
            (first + "\n" + second[:-1], anew),
            (first + "\n" + anew[:-1], anew),
            (listed + first, second),
        )
        for number, (content, last) in enumerate(contents):
            write(self.source, PAYMENTS, content)
            self.migrate(str(self.source), self.sqlite(f"{number}.db"))
            self.migrate(self.sqlite(f"{number}.db"), self.at(f"{number}"))
            after = (self.folder / str(number) / PAYMENTS).read_text()
            self.assertEqual(after, first + last)

    def test_one_moment(self) -> None:
        """Of a PostgreSQL source, what was there when it began is copied, while servers go on."""
        url = self.postgres()
        server = self.opened(url)
        for number in range(5):
            add_user(server, a_user(f"u{number}"))
        with parse(url, "").storage().read_contents(NOON) as contents:
            add_user(server, a_user("late"))
            take_slot(server, a_session("u1"))
            parse(self.sqlite(), "").storage().write_contents(contents)
        copied = self.opened(self.sqlite())
        self.assertEqual(user_ids(copied), [f"u{number}" for number in range(5)])
        self.assertEqual(available(copied), copied._known.network.stations[7].max_slots)

    def test_empty_folder(self) -> None:
        """An empty directory is filled, and keeps its mode; and it may be named by a link."""
        (self.folder / "real").mkdir(mode=0o750)
        (self.folder / "link").symlink_to("real")
        self.migrate(str(self.source), str(self.folder / "link"))
        self.assertTrue((self.folder / "link").is_symlink())
        self.assertEqual((self.folder / "real").stat().st_mode & 0o777, 0o750)
        self.assertEqual(raw(self.folder / "real"), raw(self.source))

    def test_emptied(self) -> None:
        """A database of ours whose tables are empty is filled; its servers will notice."""
        for url in (self.sqlite(), self.postgres()):
            self.opened(url).close()
            for table in ("car_models", "stations", "tariffs"):
                self.sql(url, f"delete from {table}")
            before = self.version(url)
            self.migrate(str(self.source), url)
            self.assertGreater(self.version(url), before)

    def version(self, url: str) -> int:
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            found = connection.execute(text("select version from network")).scalar_one()
        engine.dispose()
        return found


class RefusalTests(MigrateCase):
    """What is refused, and how it is said."""

    def test_damage(self) -> None:
        """Every damaged file and line is named; nothing is copied, nothing set aside."""
        write(self.source, "users/u1.json", "{")
        write(self.source, "users/u3.json", '{"user_car": {}}')
        write(self.source, "users/u4.json",
              (self.source / "users/u2.json").read_text().replace("Z", "\\ud800"))  # fmt: skip
        (self.source / "users" / "u5.json").mkdir()
        write(self.source, "stations/station_8.json", '{"max_slots": "many"}')
        write(self.source, "stations/station_5.json", "{}")
        bad = {"receipt_id": "r", "user": "u", "station": 7, "amount_brl": 1, "paid": "monday"}
        changes = (
            {},
            {"paid": "2025-04-07T13:45:12"},
            {"station": "x"},
            {"amount_brl": None},
            {"user": 5},
        )
        lines = [
            "[]",
            '{"receipt_id": "r5"}',
            '{"receipt',
            *(json.dumps({**bad, **change}) for change in changes),
            "[" * 100000,
        ]
        listed = (self.source / PAYMENTS).read_text()
        write(self.source, PAYMENTS, listed + "\n".join(lines))
        for target in (self.sqlite(), self.at("out"), self.postgres()):
            err = self.refused_from_source(target)
            for words in ("u1.json: not JSON", "u3.json: user_car.current_battery must be",
                          "u4.json: ", "u5.json: Is a directory",
                          "station_8.json: cannot be used: max_slots must be",
                          "station_5.json: cannot be used: max_slots must be",
                          f"{PAYMENTS}: line 3: must be a JSON object", "line 4: user must be text",
                          "line 5: not JSON", "line 6: paid must be a time such as",
                          "line 7: paid must be", "line 8: station must be",
                          "line 9: amount_brl must be", "line 10: user must be",
                          "line 11: "):  # fmt: skip
                self.assertIn(words, err)
            self.assertEqual(len(err.splitlines()), 16)
        self.assertFalse((self.folder / "out").exists())

    def refused_from_source(self, target: str) -> str:
        before = files_of(self.source)
        status, out, err = run("migrate", "--from", str(self.source), "--to", target)
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(files_of(self.source), before)
        self.holds_nothing(target)
        return err

    def test_data_sets(self) -> None:
        """What is no catalogue, or no table of stations, is named."""
        write(self.source, STATIONS, "id;nome\n")
        words = "line 1: columns missing: "
        self.refused("migrate", "--from", str(self.source), "--to", self.at("x"), words=words)
        a_network(self.source)
        write(self.source, CARS, "[]")
        self.refused("migrate", "--from", str(self.source), "--to", self.at("x"), words="object")

    def test_no_source(self) -> None:
        """A source that is not there is said so, and not made."""
        empty = self.folder / "empty"
        empty.mkdir()
        write(self.folder, "not.db", "x" * 5000)
        write(self.folder, "none.db", "")
        for source, words in (
            (self.at("none"), "none: no such file or directory"),
            (self.sqlite("x/none"), "none: no such file or directory"),
            (str(empty), f"{empty / CARS}: No such file or directory"),
            (str(self.folder / "not.db"), "--from must be files, files:DIRECTORY, sqlite:///FILE"),
            (self.sqlite("not.db"), "not.db: file is not a database"),
            (f"files:{self.folder / 'not.db'}", "not.db"),
            (self.postgres(), "has no tables of evcharge"),
            (postgres.shared().url("nowhere"), 'database "nowhere" does not exist'),
            ("postgresql://u:secret@127.0.0.1:1/x", "Connection refused"),
            (postgres.shared().url("postgres").replace("secret", "geheim"),
             "password authentication failed"),
            ("postgresql://u:geheim@[::1/x", "cannot be read as a PostgreSQL URL"),
        ):  # fmt: skip
            for target in (self.at("out"), self.sqlite()):
                err = self.refused("migrate", "--from", source, "--to", target, words=words)
                self.assertEqual(len(err.splitlines()), 1)
                self.assertNotIn("secret", err)
                self.assertNotIn("geheim", err)
        self.assertEqual(list(empty.iterdir()), [])
        err = self.refused("migrate", "--from", self.at("source"), "--to",
                           postgres.shared().url("nowhere"), words="does not exist")  # fmt: skip
        self.assertNotIn("secret", err)
        self.refused("migrate", "postgresql://u:geheim@h/x", "--to=files", words="--from", status=2)
        err = self.refused("migrate", "postgresql://u:geheim@h/x", "--to=files", "--from=files",
                           words="u:***@h", status=2)  # fmt: skip
        self.assertNotIn("geheim", err)

    def test_empty_tables(self) -> None:
        """A file without tables of ours is no source, and neither are those of another version."""
        self.sql(self.sqlite(), "create table t (a int)")
        command = ("migrate", "--from", self.sqlite(), "--to", self.at("x"))
        self.refused(*command, words="has no tables of evcharge")
        self.sql(self.sqlite(), "create table alembic_version (version_num text)")
        self.sql(self.sqlite(), "insert into alembic_version values ('9999')")
        self.refused(*command, words="version 9999, not ")

    def test_same(self) -> None:
        """The target must not be the source, however that is written."""
        (self.folder / "link").symlink_to("source")
        for other in (self.at("link"), self.at("a/../source"), str(self.source)):
            self.refused("migrate", "--from", str(self.source), "--to", other, words="both")
        self.migrate(str(self.source), self.sqlite())
        self.refused("migrate", "--from", self.sqlite(), "--to", self.sqlite("./a.db"),
                     words="both the source and the target")  # fmt: skip
        url = self.postgres()
        self.migrate(str(self.source), url)
        self.refused("migrate", "--from", url, "--to", url, words="both the source and the target")
        self.refused("migrate", "--from", url, "--to", url.replace("127.0.0.1", "localhost"),
                     words="is not empty")  # fmt: skip

    def test_not_empty(self) -> None:
        """A target that has anything is refused, with what to do."""
        url = self.postgres()
        for target in (self.sqlite(), url):
            self.opened(target).close()
            words = "is not empty: the table car_models has rows (a server fills a database"
            self.refused("migrate", "--from", str(self.source), "--to", target, words=words)
        write(self.folder, "there/x", "x")
        words = "there: is not empty; name a new directory"
        self.refused("migrate", "--from", str(self.source), "--to", self.at("there"), words=words)
        self.refused("migrate", "--from", str(self.source), "--to", self.at("there/x"),
                     words="Not a directory")  # fmt: skip

    def test_in_use(self) -> None:
        """A source, or target, that a server has open is refused."""
        self.migrate(str(self.source), self.sqlite())
        for url in (self.at("source"), self.sqlite()):
            storage = self.opened(url)
            words = "is in use by another evcharge process"
            self.refused("migrate", "--from", url, "--to", self.at("x"), words=words)
            storage.close()
        self.opened(self.sqlite("b.db"))
        self.refused("migrate", "--from", str(self.source), "--to", self.sqlite("b.db"),
                     words="in use")  # fmt: skip
        half = FileStorage(self.folder / ".x.copying")
        half.open(NOON)
        self.addCleanup(half.close)
        self.refused("migrate", "--from", str(self.source), "--to", self.at("x"), words="in use")

    def test_link(self) -> None:
        """A link under the name of the half-made copy is not followed, nor one within it."""
        write(self.folder, "mine/thesis.txt", "x")
        (self.folder / ".x.copying").symlink_to("mine")
        self.migrate(str(self.source), self.at("x"))
        (self.folder / ".y.copying").mkdir()
        (self.folder / ".y.copying" / "users").symlink_to(self.folder / "mine")
        self.migrate(str(self.source), self.at("y"))
        self.assertEqual((self.folder / "mine" / "thesis.txt").read_text(), "x")
        for name in ("x", "y"):
            self.assertTrue((self.folder / name / "users" / "u2.json").exists())

    def test_cannot_be_kept(self) -> None:
        """What the target cannot hold is named, and nothing is copied."""
        self.migrate(str(self.source), self.sqlite())
        drained = "update users set car = json_set(car, '$.battery_level_kwh', -1)"
        for number, (statement, words) in enumerate((
            ("update stations set max_slots = -1, evses = null",
             "station 7: cannot be kept in files: max_slots"),
            ("update users set user_id = '../x' where user_id = 'u2'", "cannot name a file"),
            (drained, "user …: cannot be kept in files"),
            ("update users set user_id = '' where user_id = 'u2'", "cannot name a file"),
            ("update payments set paid_timestamp = 1e300", "payment r0: cannot be kept"),
            ("update stations set latitude = 95", "column latitude: 95.0 is out of range"),
            ("delete from stations where station_id = 7", "station 7, which is not in the table"),
        )):  # fmt: skip
            url = self.sqlite(f"{number}.db")
            self.migrate(self.sqlite(), url)
            self.sql(url, statement)
            self.refused("export", "--storage", url, "--data", str(self.folder / "o"), words=words)
        record = json.loads((self.source / "users" / "u2.json").read_text())
        write(self.source, "users/u2.json", {**record, "user_name": "a\0b"})
        self.migrate(str(self.source), self.sqlite("nul.db"))
        self.refused("migrate", "--from", str(self.source), "--to", self.postgres(),
                     words="table users: PostgreSQL text fields cannot contain NUL")  # fmt: skip
        line = json.loads((self.source / PAYMENTS).read_text().splitlines()[0])
        write(self.source, PAYMENTS, json.dumps({**line, "station": 2**70}) + "\n")
        err = self.refused_from_source(self.sqlite("big.db"))
        self.assertIn("table payments: Python int too large", err)

    def test_over_full(self) -> None:
        """A station that was lowered under its vehicles is copied as it is, there and back."""
        self.migrate(str(self.source), self.sqlite())
        lowered = "update stations set max_slots = 1, evses = null where station_id = 7"
        self.sql(self.sqlite(), lowered)
        self.migrate(self.sqlite(), self.at("x"))
        record = json.loads((self.folder / "x" / "stations" / "station_7.json").read_text())
        self.assertEqual((record["max_slots"], record["available_slots"]), (1, 0))
        self.assertEqual(len(record["vehicles"]), 2)
        self.migrate(self.at("x"), self.sqlite("b.db"))
        copied = self.opened(self.sqlite("b.db"))
        self.assertEqual(available(copied), 0)
        self.assertEqual(copied._known.network.stations[7].max_slots, 1)

    def test_two_payments(self) -> None:
        """A receipt that stands twice in the list, with other figures, is named."""
        lines = (self.source / PAYMENTS).read_text()
        write(self.source, PAYMENTS, lines + lines.replace("99.99", "99.98"))
        err = self.refused_from_source(self.sqlite())
        self.assertIn("payment r0: stands twice in the list, and differs", err)

    def test_arguments(self) -> None:
        """Wrong options are said in a line; each option explains itself."""
        self.assertEqual(run("migrate")[0], 2)
        self.assertEqual(run("export")[0], 2)
        self.refused("migrate", "--from", "mysql://x", "--to", "files", words="--from must be")
        self.refused("migrate", "--from", str(self.source), "--to", "sqlite://", words="--to 'sqli")
        self.refused("export", "--data", "", words="--data must name a directory")
        for command in ("migrate", "export", "bootstrap"):
            self.assertIn("--data", run(command, "--help")[1])


def many(count: int) -> Contents:
    """A network with many users and payments."""
    return Contents(
        car_models=parse_car_models(shipped(CARS), CARS),
        stations=[
            StationRecord(station, True, {})
            for station in parse_stations(shipped(STATIONS), STATIONS).stations.values()
        ],
        users=(a_user(f"u{number}") for number in range(count)),
        sessions=[a_session("u1"), a_session("u2", 8)],
        payments=(Payment(f"r{n}", NOON, 7, Decimal("1.00"), "u") for n in range(count)),
        count=2 * count + 2,
    )


class KillTests(MigrateCase):
    """A process that is killed leaves nothing behind that would hinder the next one."""

    USERS = 10_000

    def killed(self, source: str, target: str, begun: Callable[[], bool]) -> None:
        command = [sys.executable, "-c", "from evcharge.cli import main; main()"]
        process = subprocess.Popen(
            [*command, "migrate", "--from", source, "--to", target],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        until(begun, "it has begun", 60, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assertEqual(process.returncode, -signal.SIGKILL)

    def big(self) -> str:
        parse(self.sqlite("big.db"), "").storage().write_contents(many(self.USERS))
        return self.sqlite("big.db")

    def arrived(self, target: str) -> None:
        status, out, err = run("migrate", "--from", self.sqlite("big.db"), "--to", target)
        self.assertEqual((status, err), (0, ""))
        self.assertIn(f"{self.USERS} users, 2 sessions, 0 receipts, {self.USERS} payments", out)

    def test_files(self) -> None:
        """The directory is not there, and what stands beside it is cleared away."""
        users = self.folder / ".out.copying" / "users"
        self.killed(self.big(), self.at("out"),
                    lambda: users.exists() and len(os.listdir(users)) > 500)  # fmt: skip
        self.assertFalse((self.folder / "out").exists())
        self.assertTrue(users.exists())
        write(users, "stranger.json", "{}")
        self.arrived(self.at("out"))
        self.assertEqual(len(list((self.folder / "out" / "users").iterdir())), self.USERS)
        self.assertFalse((self.folder / ".out.copying").exists())

    def test_sqlite(self) -> None:
        """The file has no tables, or it has everything."""
        big = self.big()
        for number in range(10):
            target = self.sqlite(f"out{number}.db")
            log = self.folder / f"out{number}.db-wal"
            self.killed(big, target,
                        lambda log=log: log.exists() and log.stat().st_size > 100_000)  # fmt: skip
            try:
                with parse(target, "").storage().read_contents(0) as contents:
                    # It was killed when all was done, on a machine that is busy.
                    self.assertEqual(len(list(contents.users)), self.USERS)
            except StorageError:
                break
        self.holds_nothing(target)
        self.arrived(target)

    def test_postgres(self) -> None:
        """The database has no tables."""
        server = postgres.shared()
        name = server.create_database()
        with psycopg.connect(server.url("postgres"), autocommit=True) as watch:
            query = "select query ilike '%%into users%%' from pg_stat_activity where datname = %s"
            self.killed(self.big(), server.url(name),
                        lambda: (True,) in watch.execute(query, [name]).fetchall())  # fmt: skip
        self.holds_nothing(server.url(name))
        self.arrived(server.url(name))

    def test_failure(self) -> None:
        """Neither does one that fails leave anything, and the failure is said."""

        def broken() -> Iterator[Any]:
            yield a_user()
            raise StorageError("the source is gone")

        contents = many(10)
        for url in (self.at("x"), self.sqlite("x.db")):
            storage = parse(url, "").storage()
            object.__setattr__(contents, "users", broken())
            error = self.assertRaises(StorageError, storage.write_contents, contents)
            self.assertEqual(str(error), "the source is gone")
        self.assertEqual(sorted(path.name for path in self.folder.iterdir() if path.is_dir()),
                         ["source"])  # fmt: skip
        self.migrate(str(self.source), self.sqlite("x.db"))


# Text that can stand in a file of UTF-8.
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
named = anything.filter(str.strip)
finite = st.floats(allow_nan=False, allow_infinity=False)
figure = st.floats(1e-6, 1e6)
ids = st.integers(0, 2**31 - 1)
user_id = st.text("abcdef0123456789-", min_size=1, max_size=36)
when = st.floats(0, 4e9)


@st.composite
def networks(draw: Any) -> dict[str, Any]:
    """The files of a data directory, by name."""
    facts = {
        "brand": anything, "model": anything, "battery_capacity": figure,
        "energy_consumption": figure, "max_speed": figure,
    }  # fmt: skip
    limits = {"ac_power_kw": figure | st.none(), "dc_power_kw": figure}
    others = draw(st.lists(named.map(str.strip), max_size=3, unique=True))
    others = [name for name in others if name not in HEADER]
    optional = st.sampled_from(["", "0.5", "22", "1e3", " 7.250 ", "+.5"])
    rows = draw(st.dictionaries(ids, st.tuples(
        named, anything, st.floats(-90, 90), st.floats(-180, 180), st.integers(1, 1000),
        optional, optional, anything, *[anything for _ in others],
    ), min_size=1, max_size=4))  # fmt: skip
    users = draw(st.dictionaries(user_id, st.fixed_dictionaries({
        "user_name": anything,
        "user_car": st.fixed_dictionaries(
            {**facts, "current_battery": st.floats(0, 1e6)}, optional=limits
        ),
        "created_timestamp": finite,
    }), max_size=4))  # fmt: skip
    files: dict[str, Any] = {
        CARS: draw(st.dictionaries(anything, st.fixed_dictionaries(
            facts, optional={**limits, "other": st.recursive(
                st.none() | finite | anything, lambda some: st.lists(some, max_size=2)
            )}), min_size=1, max_size=3)),
        **{f"users/{name}.json": user for name, user in users.items()},
    }  # fmt: skip
    free = [*users, *draw(st.lists(user_id, max_size=2))]
    for station_id in draw(st.lists(st.sampled_from([*rows, 5]), unique=True)):
        vehicles = {}
        while free and draw(st.booleans()):
            vehicles[free.pop()] = draw(st.fixed_dictionaries({}, optional={
                "estimated_timestamp": finite, "receipt_id": user_id,
                "amount": st.integers(0, 10**9).map(lambda cents: cents / 100),
                "charge_minutes": finite, "paid_timestamp": when | st.none(),
            }))  # fmt: skip
        slots = len(vehicles) + draw(st.integers(0, 3000))
        files[f"stations/station_{station_id}.json"] = {"max_slots": slots, "vehicles": vehicles}
    table = io.StringIO(newline="")
    writer = csv.writer(table, delimiter=";", quoting=csv.QUOTE_ALL)
    writer.writerow([*COLUMNS, *OPTIONAL_COLUMNS, *others])
    writer.writerows([station_id, *cells] for station_id, cells in rows.items())
    files[STATIONS] = table.getvalue()
    receipts = draw(st.lists(user_id, max_size=3, unique=True))
    files[PAYMENTS] = "".join(
        json.dumps({
            "receipt_id": f"p{receipt}", "paid": draw(when.map(iso_utc) | st.none()),
            "station": draw(ids), "amount_brl": draw(finite), "user": draw(anything),
        }) + "\n"
        for receipt in receipts
    )  # fmt: skip
    return files


class PropertyTests(MigrateCase):
    """Whatever a network is made of."""

    @settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
    @given(networks())
    def test_networks(self, files: dict[str, Any]) -> None:
        """From files to SQLite and back: opening one gives what opening the other does."""
        shutil.rmtree(self.folder)
        for name, content in files.items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, str) else json.dumps(content)
            path.write_bytes(data.encode())
        # What the server would make of it once: times and receipts that are missing, worked out.
        self.open_and_close("source")
        # Most of these cars are none, and some rows are wrong: they go along.
        for source, target in ((str(self.source), self.sqlite()), (self.sqlite(), self.at("end"))):
            status, _, err = run("migrate", "--from", source, "--to", target)
            self.assertEqual(status, 0, err)
        end = self.folder / "end"
        written = files_of(end)
        self.assertEqual(self.open_and_close("end"), Summary(*self.summary()))
        self.assertEqual(files_of(end), written)
        self.assertEqual(self.everything("end"), self.everything("source"))

    def open_and_close(self, name: str) -> Summary:
        storage = FileStorage(self.folder / name)
        with closing(storage):
            return storage.open(NOON)

    def summary(self) -> tuple[int, int]:
        found = self.everything("source")
        return sum(record.in_service for record in found[1]), len(found[2])

    def everything(self, name: str) -> list[Any]:
        with FileStorage(self.folder / name).read_contents(NOON) as contents:
            cars = list(contents.car_models.items())
            records = list(contents.stations)
            users = sorted(contents.users, key=lambda user: user.user_id)
            sessions = sorted(contents.sessions, key=lambda session: session.user_id)
            return [cars, records, users, sessions, list(contents.tariffs),
                    sorted(contents.payments, key=lambda payment: payment.receipt_id)]  # fmt: skip
