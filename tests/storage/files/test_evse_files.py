"""A data directory with EVSEs and tariffs: what its files say, and what a mistake in them costs."""

import json
from pathlib import Path
from typing import Any

from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets import COLUMNS, OPTIONAL_COLUMNS
from evcharge.datasets.evses import read_evses
from evcharge.datasets.files import CARS, EVSES, STATIONS, TARIFFS, shipped
from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.user import User
from evcharge.rules.clocks import Clocks
from evcharge.rules.journey import UNKNOWN_STATION
from evcharge.storage.files.store import FileStorage
from evcharge.testing import NOON, MemoryServer
from tests.support.commands import run
from tests.support.folders import new_folder
from tests.support.logged import logged
from tests.support.operations import (
    a_session,
    a_user,
    add_user,
    available,
    find_user,
    station,
    stations,
    sweep,
    take_slot,
)

HEADER = ";".join((*COLUMNS, *OPTIONAL_COLUMNS))
ROWS = ("7;Centro;Rua A;-12.25;-38.95;2;50;2.00;CCS2", "8;Sul;Rua B;-12.26;-38.96;2;22;2.00;Type 2")
LEAF = {
    "brand": "Nissan", "model": "Leaf", "battery_capacity": 40, "energy_consumption": 0.16,
    "max_speed": 144,
}  # fmt: skip
CURVED = {
    **LEAF, "ac_power_kw": 6.6, "dc_power_kw": 50, "ac_phases": 1, "ac_connectors": ["Type 2"],
    "dc_connectors": ["CCS2"], "dc_curve": [[0, 40], [100, 20]],
}  # fmt: skip
CCS2 = {"id": "1", "standard": "IEC_62196_T2_COMBO", "power_type": "DC", "max_power_kw": 50.0}
NIGHT = {
    "id": "noite",
    "currency": "BRL",
    "elements": [
        {
            "price_components": [{"type": "ENERGY", "price": 1.9, "step_size": 1}],
            "restrictions": {"start_time": "22:00", "end_time": "06:00"},
        },
        {"price_components": [{"type": "ENERGY", "price": 2.7, "step_size": 1}]},
    ],
}


def an_evse(uid: str, **facts: Any) -> dict[str, Any]:
    return {"uid": uid, "connectors": [CCS2], **facts}


class Directory(SynchronousTestCase):
    """Has a data directory."""

    def setUp(self) -> None:
        self.data = new_folder(self)
        self.write(CARS, {"Leaf": CURVED})
        self.rows(*ROWS)
        self.logged = logged(self)

    def write(self, name: str, content: object) -> None:
        path = self.data / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def read(self, name: str) -> Any:
        return json.loads((self.data / name).read_text())

    def rows(self, *rows: str, header: str = HEADER) -> None:
        self.write(STATIONS, "\n".join((header, *rows, "")))

    def open(self) -> FileStorage:
        storage = FileStorage(self.data)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def again(self, storage: FileStorage) -> FileStorage:
        storage.close()
        return self.open()

    def warnings(self) -> list[str]:
        """What was logged since the last time."""
        said = [formatEvent(e) for e in self.logged if e["log_level"] >= LogLevel.warn]
        self.logged.clear()
        return said

    def opens(self, *ids: int) -> tuple[FileStorage, str]:
        """The storage, in which these stations are in service, and what was said."""
        storage = self.open()
        self.assertEqual([state.station.station_id for state in stations(storage)], list(ids))
        return storage, "\n".join(self.warnings())


class EvseTests(Directory):
    """`evses.json`."""

    def test_shipped(self) -> None:
        """EVSEs and tariffs come with the shipped rows, and to no rows of one's own."""
        for path in self.data.iterdir():
            path.unlink()
        self.open().close()
        for name in (EVSES, TARIFFS):
            self.assertEqual((self.data / name).read_bytes(), shipped(name))
            (self.data / name).unlink()
        self.open()
        self.assertFalse((self.data / EVSES).exists() or (self.data / TARIFFS).exists())

    def test_half_filled(self) -> None:
        """A directory whose filling was interrupted before its rows gets all of what is shipped."""
        (self.data / STATIONS).unlink()
        (self.data / EVSES).write_bytes(shipped(EVSES))
        storage, said = self.opens(*range(1, 37))
        self.assertEqual((len(storage.catalogue().tariffs), said), (2, ""))

    def test_named(self) -> None:
        """The EVSEs that are named count; a row or a file that says another number is doubted."""
        self.write(EVSES, {"7": [an_evse("7-A"), an_evse("7-B"), an_evse("7-C")]})
        self.write("stations/station_7.json", {"id": 7, "max_slots": 5, "vehicles": {}})
        storage, said = self.opens(7, 8)
        self.assertEqual((available(storage), available(storage, 8)), (3, 2))
        self.assertIn("line 2, column quantidadeDeVeiculosSimultaneos: 2, but ", said)
        self.assertIn("evses.json has 3 EVSEs of station 7; these count", said)
        self.assertIn("station_7.json: 5 slots, but there are 3 EVSEs of the station", said)
        self.assertEqual(self.read("stations/station_7.json")["max_slots"], 3)
        add_user(storage, a_user())
        take_slot(storage, a_session())
        self.assertEqual(self.read("stations/station_7.json")["vehicles"]["u1"]["evse"], "7-A")

    def test_out_of_service(self) -> None:
        """An EVSE out of service is no slot, in the file neither, unless a vehicle stands there."""
        self.write(EVSES, {"7": [an_evse("7-A", status="OUTOFORDER"), an_evse("7-B")]})
        storage, said = self.opens(7, 8)
        self.assertEqual(said, "")

        def slots() -> tuple[int, int, int, int]:
            record = self.read("stations/station_7.json")
            state = station(storage, 7)
            self.assertEqual(
                (state.max_slots, state.available_slots),
                (record["max_slots"], record["available_slots"]),
            )
            self.assertEqual(
                record["available_slots"] + len(record["vehicles"]), record["max_slots"]
            )
            return (record["max_slots"], record["total_slots"], record["available_slots"])

        self.assertEqual(slots(), (1, 2, 1))
        add_user(storage, a_user())
        take_slot(storage, a_session())
        self.assertEqual(slots(), (1, 2, 0))
        storage.close()
        self.write(EVSES, {"7": [an_evse("7-A"), an_evse("7-B", status="OUTOFORDER")]})
        for _ in range(2):
            storage = self.open()
            record = self.read("stations/station_7.json")
            self.assertEqual((record["max_slots"], record["available_slots"]), (2, 1))
            self.assertNotIn("total_slots", record)
            storage.close()
        storage = self.open()
        sweep(storage, NOON + 61, 0)
        self.assertEqual(slots(), (1, 2, 1))

    def test_mistakes(self) -> None:
        """Mistakes are named, each by EVSE and field, and stop only the stations that have them."""
        wrong = {"uid": "8-1", "connectors": [{**CCS2, "max_power_kw": "many"}], "status": "BROKEN"}
        self.write(EVSES, {"8": [wrong], "7": [an_evse("7-A")]})
        self.write("stations/station_8.json", {"max_slots": 2, "vehicles": {}})
        before = (self.data / "stations" / "station_8.json").read_bytes()
        _, said = self.opens(7)
        self.assertIn('evses.json: "8-1": connectors[0].max_power_kw: must be', said)
        self.assertIn('evses.json: "8-1": status: must be', said)
        self.assertIn("stations whose EVSEs or tariffs are wrong: 1", said)
        self.assertNotEqual(before, b"")

    def test_of_another(self) -> None:
        """An EVSE called as one that another station has for a slot stops its own station."""
        self.write(EVSES, {"8": [an_evse("7-2"), an_evse("7-3")]})
        _, said = self.opens(7)
        self.assertIn('evses.json: "7-2": uid: station 7 has one that is called so', said)
        self.assertNotIn('"7-3"', said)
        self.assertIn("stations whose EVSEs or tariffs are wrong: 1", said)

    def test_doubled(self) -> None:
        """Where a station, or a field, is there twice nobody can tell which one is meant."""
        one = json.dumps([an_evse("7-A", status="PLANNED", since=None)])
        one = one.replace("since", "status")
        self.write(EVSES, f'{{"7": {one}, "8": [], "8": {json.dumps([an_evse("8-A")])}}}')
        _, said = self.opens()
        self.assertIn('evses.json: "7-A": status: is there twice', said)
        self.assertIn('evses.json: "8": the station is there twice', said)

    def test_many_mistakes(self) -> None:
        """No more than twenty mistakes are listed, and then how many there are."""
        self.write(EVSES, {"8": [{"uid": f"8-{n}"} for n in range(50)]})
        _, said = self.opens(7)
        self.assertEqual(said.count("connectors: is missing"), 20)
        self.assertIn("… and 30 more", said)

    def test_no_json(self) -> None:
        """Where nobody can tell which stations are named, none is in service; who charges stays."""
        self.write(EVSES, {"7": [an_evse("7-A"), an_evse("7-B", status="PLANNED")]})
        storage = self.open()
        add_user(storage, a_user())
        add_user(storage, a_user("u2"))
        take_slot(storage, a_session())
        storage.close()
        before = self.read("stations/station_7.json")
        self.write(EVSES, "{")
        storage, said = self.opens()
        self.assertIn("evses.json: not JSON", said)
        self.assertIn("no station is in service", said)
        self.assertEqual(take_slot(storage, a_session()), a_session())
        self.assertEqual(take_slot(storage, a_session("u2")), UNKNOWN_STATION)
        self.assertEqual(self.read("stations/station_7.json"), before)

    def test_strangers(self) -> None:
        """EVSEs of a station that has no row are doubted."""
        self.write(EVSES, {"9": [an_evse("9-A")]})
        _, said = self.opens(7, 8)
        self.assertIn('evses.json: "9": there is no such station', said)

    def test_two_at_one(self) -> None:
        """A file in which two vehicles stand at one EVSE takes its station out of service."""
        vehicle = {"estimated_timestamp": NOON + 60, "evse": "7-1"}
        self.write(
            "stations/station_7.json", {"max_slots": 2, "vehicles": {"a": vehicle, "b": vehicle}}
        )
        _, said = self.opens(8)
        self.assertIn("station_7.json: cannot be used: vehicles: two of them stand at one", said)


class TariffTests(Directory):
    """`tariffs.json`, and who names tariffs."""

    def test_known(self) -> None:
        """A station goes by the tariff that its row names, in its own time zone."""
        self.write(TARIFFS, [NIGHT])
        # At 13:45 in UTC it is night in Auckland, and morning in Feira de Santana.
        for zone, price in (("", 2.7), ("Pacific/Auckland", 1.9)):
            row = f"{ROWS[0]};noite;{zone}"
            self.rows(row, ROWS[1], header=f"{HEADER};tarifa;fusoHorario")
            storage, said = self.opens(7, 8)
            self.assertEqual(said, "")
            shown = MemoryServer(storage).request("START")["data"]["station_models"]
            self.assertEqual((shown["7"]["tariff"], shown["7"]["price_kwh"]), ("noite", price))
            storage.close()

    def test_time_zone(self) -> None:
        """The network's time zone is that of the stations that have none."""
        self.write(TARIFFS, [NIGHT])
        self.rows(f"{ROWS[0]};noite", f"{ROWS[1]};", header=f"{HEADER};tarifa")
        storage, _ = self.opens(7, 8)
        user = User("u", "Ana", ElectricCar(CarModel.from_facts(LEAF), 20.0), NOON)
        distances = {"7": {"distance_origin_position": 0.0}}
        for zone, price in (("America/Bahia", 2.7), ("Pacific/Auckland", 1.9)):
            server = MemoryServer(storage, options=["--time-zone", zone])
            shown = server.request("START")["data"]["station_models"]
            self.assertEqual(shown["7"]["price_kwh"], price)
            add_user(storage, user)
            found = server.request("SELECTION_STATION", user_id="u", list_stations=distances)
            # 12 kWh to 80 % of 40 kWh.
            self.assertEqual(found["data"]["price_loading"], round(12 * price, 2))
            paid = server.request("PAYMENT", user_id="u", id_station="7", confirmation=True)
            self.assertEqual(paid["data"]["amount"], round(12 * price, 2))
            server.request("PAYMENT", user_id="u", id_station="7", confirmation=False)

    def test_unknown_zone(self) -> None:
        """A time zone that there is not is a mistake of its row."""
        self.rows(f"{ROWS[0]};Bahia", f"{ROWS[1]};", header=f"{HEADER};fusoHorario")
        _, said = self.opens(8)
        self.assertIn("line 2, column fusoHorario: 'Bahia' is no time zone", said)

    def test_not_there(self) -> None:
        """Who names a tariff that there is not, is out of service: row and connector are named."""
        self.write(TARIFFS, [NIGHT])
        self.write(
            EVSES, {"8": [an_evse("8-A", connectors=[{**CCS2, "tariff_ids": ["noite", "x"]}])]}
        )
        self.rows(f"{ROWS[0]};dia", f"{ROWS[1]};", header=f"{HEADER};tarifa")
        _, said = self.opens()
        self.assertIn("line 2, column tarifa: there is no tariff 'dia', at character 45", said)
        self.assertIn(
            "evses.json: \"8-A\": connectors[0].tariff_ids[1]: there is no tariff 'x'", said
        )

    def test_wrong(self) -> None:
        """A wrong tariff is named by its field, and stops only the stations that name it."""
        element = {**NIGHT["elements"][0], "restrictions": {"start_time": "24:00"}}
        for content in ([{**NIGHT, "elements": [element]}], "[{]"):
            self.write(TARIFFS, content)
            self.rows(f"{ROWS[0]};noite", f"{ROWS[1]};", header=f"{HEADER};tarifa")
            storage, said = self.opens(8)
            if content == "[{]":
                self.assertIn("no station that names a tariff is in service", said)
            else:
                self.assertIn(
                    'tariffs.json: "noite": elements[0].restrictions.start_time: must be HH:MM',
                    said,
                )
            storage.close()

    def test_taken_in(self) -> None:
        """bootstrap refuses a table whose tariffs there are not, and writes none of it."""
        (self.data / "more.csv").write_text(f"{HEADER};tarifa\n9;N;R;-12;-38;1;;;;dia\n")
        before = (self.data / STATIONS).read_bytes()
        arguments = ("bootstrap", "--data", str(self.data), "--storage", "files", "--users", "0")
        status, _, err = run(*arguments, "--stations", str(self.data / "more.csv"))
        self.assertEqual(status, 1)
        self.assertIn("more.csv: line 2, column tarifa: there is no tariff 'dia'", err)
        self.assertEqual((self.data / STATIONS).read_bytes(), before)
        for url in (f"files:{self.data}/none", f"sqlite:///{self.data}/none"):
            table = str(self.data / "more.csv")
            status, _, err = run("bootstrap", "--storage", url, "--stations", table)
            self.assertEqual(status, 1)
            self.assertIn("nothing was written:\n  " + table + ": line 2, column tarifa", err)
            self.assertFalse((self.data / "none").exists())
        self.write(TARIFFS, [{**NIGHT, "id": "dia"}])
        status, _, err = run(*arguments, "--stations", str(self.data / "more.csv"))
        self.assertEqual((status, err), (0, ""))


class VehicleTests(Directory):
    """What files say of a vehicle, and of its driver."""

    def test_whole(self) -> None:
        """A session is read as it was, and a file that says it is left as it is."""
        storage = self.open()
        server = MemoryServer(storage)
        user = server.request(
            "LOGIN", user_name="Ana", selected_car="Leaf", battery_car=40, target_percent=90
        )["data"]["user_id"]
        paid = server.request("PAYMENT", user_id=user, id_station=7, confirmation=True)
        self.assertEqual((paid["data"]["id_evse"], paid["data"]["energy_kwh"]), ("7-1", 20))
        known, session = find_user(storage, user), storage.records.session(user)
        record = self.read("stations/station_7.json")
        vehicle = record["vehicles"][user]
        self.assertEqual(
            {name: vehicle[name] for name in ("evse", "connector", "start_percent")},
            {"evse": "7-1", "connector": "CCS2", "start_percent": 40.0},
        )
        self.assertEqual((vehicle["target_percent"], vehicle["energy_kwh"]), (90.0, 20.0))
        self.assertAlmostEqual(sum(energy for energy, _, _ in vehicle["profile"]), 20)
        self.assertEqual(
            (self.read(f"users/{user}.json")["selected_car"],
             self.read(f"users/{user}.json")["target_percent"]),
            ("Leaf", 90.0),
        )  # fmt: skip
        before = (self.data / "stations" / "station_7.json").stat().st_mtime_ns
        storage = self.again(storage)
        self.assertEqual((self.data / "stations" / "station_7.json").stat().st_mtime_ns, before)
        self.assertEqual(
            (find_user(storage, user), storage.records.session(user)), (known, session)
        )
        again = MemoryServer(storage).request(
            "PAYMENT", user_id=user, id_station=7, confirmation=True
        )
        self.assertEqual(again["data"], paid["data"])

    def test_assumed(self) -> None:
        """What was assumed is told after a restart as it was before."""
        self.rows("7;C;R;-12;-38;1;;;")
        storage = self.open()
        server = MemoryServer(storage)
        user = server.request("LOGIN", user_name="A", selected_car="Leaf", battery_car=40)["data"]
        ask = {"user_id": user["user_id"], "id_station": 7, "confirmation": True}
        paid = server.request("PAYMENT", **ask)
        self.assertEqual(paid["data"]["assumed"], ["connectors", "price"])
        before = (self.data / "stations" / "station_7.json").stat().st_mtime_ns
        again = MemoryServer(self.again(storage)).request("PAYMENT", **ask)
        self.assertEqual(again["data"], paid["data"])
        self.assertEqual((self.data / "stations" / "station_7.json").stat().st_mtime_ns, before)

    def test_defaults(self) -> None:
        """What is the default is in no file."""
        storage = self.open()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        self.assertEqual(
            set(self.read("users/u1.json")),
            {"user_id", "user_name", "user_car", "created_timestamp"},
        )
        self.assertEqual(
            set(self.read("stations/station_7.json")["vehicles"]["u1"]),
            {
                "estimated_timestamp",
                "receipt_id",
                "amount",
                "charge_minutes",
                "paid_timestamp",
                "evse",
            },
        )

    def test_shared_model(self) -> None:
        """A driver's car is the catalogue's by its name; where that is gone, what the file says."""
        storage = self.open()
        server = MemoryServer(storage)
        user = server.request("LOGIN", user_name="Ana", selected_car="Leaf", battery_car=40)["data"]
        storage = self.again(storage)
        model = find_user(storage, user["user_id"]).car.model
        self.assertIs(model, storage.catalogue().models["Leaf"])
        storage.close()
        self.write(CARS, {"Zoe": CURVED})
        model = find_user(self.open(), user["user_id"]).car.model
        self.assertEqual(
            model, CarModel.from_facts({**LEAF, "ac_power_kw": 6.6, "dc_power_kw": 50})
        )

    def test_damaged(self) -> None:
        """A vehicle whose charge cannot be understood takes its station out of service, named."""
        vehicle = {"estimated_timestamp": NOON, "amount": 1, "charge_minutes": 1}
        for facts, what in (
            ({"evse": 5}, "evse must be text"),
            ({"evse": "x" * 37}, "evse must be text of up to 36 characters"),
            ({"profile": [[1, 2]]}, "profile must be a list of [kWh, kW, kW]"),
            ({"profile": [[1, 0, 2]]}, "profile must be a list of [kWh, kW, kW]"),
            ({"profile": [[-1, 1, 2]]}, "profile must be a list of [kWh, kW, kW]"),
            ({"energy_kwh": "much"}, "energy_kwh must be a number"),
            ({"assumed": "price"}, "assumed must be a list of words"),
        ):
            record = {"max_slots": 2, "vehicles": {"u": {**vehicle, **facts}}}
            self.write("stations/station_7.json", record)
            storage, said = self.opens(8)
            self.assertIn(f"station_7.json: cannot be used: vehicle …: {what}", said)
            storage.close()
        self.write("stations/station_7.json", {"max_slots": 10**9})
        self.assertIn("max_slots must be a whole number up to 10000", self.opens(8)[1])

    def test_damaged_user(self) -> None:
        """A driver whose wishes cannot be understood is set aside, like any damaged file."""
        car = {**LEAF, "current_battery": 20}
        for facts, what in (
            ({"target_percent": 0}, "target_percent must be a number over 0, up to 100"),
            ({"selected_car": 5}, "selected_car must be text"),
        ):
            self.write("users/u1.json", {"user_car": car, **facts})
            storage, said = self.opens(7, 8)
            self.assertIn(f"users/….json: damaged: {what}", said)
            storage.close()


class GenerationTests(Directory):
    """Directories of earlier installations open, and answer as they did."""

    def wire(self, storage: FileStorage, kind: str, **data: Any) -> dict[str, Any]:
        return MemoryServer(storage).request(kind, **data)["data"]

    def test_first(self) -> None:
        """The first program's: figures as text, rows with words in them, users without a time."""
        self.write(CARS, {"Leaf": {**LEAF, "battery_capacity": "40"}})
        rows = ("7;Centro;Rua A;-12.25;-38.9545 aprox;2", "8;Sul;Rua B;-12.26;-38.96;2")
        self.rows(*rows, header=";".join(COLUMNS))
        car = {**LEAF, "battery_capacity": "40", "current_battery": "10"}
        for user_id in ("u1", "u2", "u3"):
            self.write(f"users/{user_id}.json", {"user_name": "Ana", "user_car": car})
        ends = {"u2": {"estimated_timestamp": NOON + 50}, "u1": {"estimated_timestamp": NOON + 500}}
        self.write(
            "stations/station_7.json",
            {"id": 7, "max_slots": 2, "available_slots": 0, "vehicles": {"u1": {}, **ends}},
        )
        storage = self.open()
        held = {u: s.evse_uid for u, s in storage.records.slots[7].sessions.items()}
        self.assertEqual(held, {"u1": "7-2", "u2": "7-1"})
        # 22 kWh to 80 % of 40 kWh, at the 50 kW of a station and a car of which nothing is known.
        paid = self.wire(storage, "PAYMENT", user_id="u3", id_station=8, confirmation=True)
        self.assertEqual((paid["amount"], paid["charge_minutes"]), (44.0, 22 / 50 * 60))
        self.assertEqual(paid["assumed"], ["connectors", "car_limit", "station_power", "price"])
        owed = self.wire(storage, "PAYMENT", user_id="u1", id_station=7, confirmation=True)
        self.assertEqual((owed["amount"], owed["charge_minutes"]), (44.0, 22 / 50 * 60))
        self.assertEqual((owed["id_evse"], owed["energy_kwh"]), ("7-2", 22.0))
        again = self.wire(self.again(storage), "PAYMENT", user_id="u1", id_station=7,
                          confirmation=True)  # fmt: skip
        self.assertEqual(again, owed)

    def test_released(self) -> None:
        """0.1's: what a vehicle owes was noted, and stays; a car has limits, and no curve."""
        car = {**LEAF, "current_battery": 10.0, "dc_power_kw": 20.0}
        for user_id in ("u1", "u2"):
            self.write(f"users/{user_id}.json", {
                "user_id": user_id, "user_name": "Ana", "user_car": car, "created_timestamp": NOON,
            })  # fmt: skip
        vehicle = {
            "estimated_timestamp": NOON + 500.5,
            "receipt_id": "r1",
            "amount": 12.34,
            "charge_minutes": 66.0,
            "paid_timestamp": NOON - 1.5,
        }
        self.write(
            "stations/station_7.json",
            {"id": 7, "max_slots": 6, "available_slots": 5, "vehicles": {"u1": vehicle}},
        )
        empty = '{\n "id": 8,\n "max_slots": 2,\n "available_slots": 2,\n "vehicles": {}\n}\n'
        self.write("stations/station_8.json", empty)
        storage = self.open()
        # What the station's file says counts, not its row.
        self.assertEqual((available(storage, 7), station(storage, 7).max_slots), (5, 6))
        paid = self.wire(storage, "PAYMENT", user_id="u1", id_station=7, confirmation=True)
        self.assertEqual(
            (paid["amount"], paid["charge_minutes"], paid["estimated_timestamp"], paid["id_evse"]),
            (12.34, 66.0, NOON + 500.5, "7-1"),
        )
        self.assertEqual((paid["energy_kwh"], paid["power_kw"]), (None, None))
        self.assertEqual((self.data / "stations" / "station_8.json").read_text(), empty)
        record = self.read("stations/station_7.json")
        self.assertEqual(record["vehicles"]["u1"], {**vehicle, "evse": "7-1"})
        # One more: by a curve of default shape, as the car's limit is known.
        paid = self.wire(storage, "PAYMENT", user_id="u2", id_station=7, confirmation=True)
        self.assertEqual(paid["assumed"], ["connectors", "car_curve"])
        self.assertGreater(paid["charge_minutes"], 66.0)

    def test_before(self) -> None:
        """The last one's: a clock that was set, connectors, and cars without a catalogue's key."""
        self.rows("7;Centro;Rua A;-12.25;-38.95;2;150;2.00;CCS2,Type 2", ROWS[1])
        clocks = {**Clocks().record(), "number": 1, "moved_s": {"0": 3600.0}}
        self.write("clock.json", clocks)
        limits = {"ac_power_kw": 7.0, "dc_power_kw": 60.0}
        # One is as it was before the clock was set, the other as it was after that.
        for user_id, more in (("u1", {}), ("u2", {"clock": 1})):
            self.write(f"users/{user_id}.json", {
                "user_id": user_id, "user_name": "Ana",
                "user_car": {**LEAF, **limits, "current_battery": 20.0},
                "created_timestamp": NOON - 10, **more,
            })  # fmt: skip
        vehicle = {
            "estimated_timestamp": NOON - 3600 + 900.5,
            "receipt_id": "r1",
            "amount": 24.0,
            "charge_minutes": 15.0,
            "paid_timestamp": NOON - 3600,
        }
        self.write(
            "stations/station_7.json",
            {"id": 7, "max_slots": 2, "available_slots": 1, "vehicles": {"u1": vehicle}},
        )
        storage = self.open()
        paid = self.wire(storage, "PAYMENT", user_id="u1", id_station=7, confirmation=True)
        self.assertEqual(
            (paid["amount"], paid["charge_minutes"], paid["estimated_timestamp"], paid["id_evse"]),
            (24.0, 15.0, NOON + 900.5, "7-1"),
        )
        chosen = self.wire(storage, "SELECTION_STATION", user_id="u2", criterion="time",
                           list_stations={"7": {"distance_origin_position": 0.0}})  # fmt: skip
        # 12 kWh by the default curve, of what the user's record knows of the car.
        self.assertEqual(chosen["assumed"], ["connectors", "car_curve"])
        self.assertEqual((chosen["connector"], chosen["energy_kwh"]), ("CCS2", 12.0))
        paid = self.wire(storage, "PAYMENT", user_id="u2", id_station=7, confirmation=True)
        self.assertEqual((paid["amount"], paid["id_evse"]), (24.0, "7-2"))
        self.assertEqual(paid["charge_minutes"], chosen["charge_minutes"])
        (evse, other) = station(storage, 7).station.evses
        self.assertEqual((evse.uid, other.uid), ("7-1", "7-2"))
        self.assertEqual(
            [(c.name, c.max_power_kw) for c in evse.kind.connectors],
            [("CCS2", 150.0), ("Type 2", 22.0)],
        )
        self.assertFalse((self.data / EVSES).exists())


class CopyTests(Directory):
    """Copies of a directory have its EVSEs and tariffs."""

    def test_export(self) -> None:
        """export, migrate and backup keep them, those that are wrong and the vehicles too."""
        wrong = [{"uid": "9-A", "status": "BROKEN"}]
        self.rows(f"{ROWS[0]};noite;Pacific/Auckland", f"{ROWS[1]};;", "9;N;R;-12;-38;1;;;;;",
                  header=f"{HEADER};tarifa;fusoHorario")  # fmt: skip
        evses = {"7": [an_evse("7-A", status="PLANNED", since="2026-11-25T12:00:00Z"),
                       an_evse("7-B", physical_reference="2º andar", serial=[1, None])],
                 "9": wrong}  # fmt: skip
        evses["7"][0]["connectors"] = [{**CCS2, "cable": {"m": 5.5}, "last_updated": None}]
        self.write(EVSES, evses)
        self.write(TARIFFS, [{**NIGHT, "x-note": "kept"}])
        storage = self.open()
        server = MemoryServer(storage)
        user = server.request("LOGIN", user_name="Ana", selected_car="Leaf", battery_car=40)["data"]
        server.request("PAYMENT", user_id=user["user_id"], id_station=7, confirmation=True)
        storage.close()
        folder = new_folder(self)
        source = f"files:{self.data}"
        status, _, err = run("export", "--storage", source, "--data", str(folder / "a"))
        self.assertEqual(status, 0, err)
        self.assertIn('evses.json: "9-A": status: must be', err)
        sqlite = f"sqlite:///{folder / 'b.db'}"
        for at, to in ((f"files:{folder / 'a'}", sqlite), (sqlite, f"files:{folder / 'c'}")):
            status, _, err = run("migrate", "--from", at, "--to", to)
            self.assertEqual(status, 0, err)
        self.assertEqual(run("backup", "--storage", source, str(folder / "d"))[0], 0)
        names = [EVSES, TARIFFS, STATIONS, *(f"stations/station_{n}.json" for n in (7, 8)),
                 f"users/{user['user_id']}.json"]  # fmt: skip
        self.assertEqual(json.loads((folder / "a" / EVSES).read_text()), evses)
        self.assertEqual(read_evses((folder / "a" / EVSES).read_bytes(), "").wrong.keys(), {9})
        for name in names:
            one = (folder / "a" / name).read_bytes()
            self.assertEqual(one, (folder / "c" / name).read_bytes(), name)
            if name.endswith(".json"):
                self.assertEqual(json.loads(one), self.read(name), name)
            self.assertEqual((folder / "d" / name).read_bytes(), (self.data / name).read_bytes())

    def test_loose(self) -> None:
        """EVSEs of a station that is not there are named, and not copied."""
        self.write(EVSES, {"9": [an_evse("9-A")]})
        folder = new_folder(self)
        status, _, err = run(
            "export", "--storage", f"files:{self.data}", "--data", str(folder / "a")
        )
        self.assertEqual(status, 0, err)
        self.assertIn('evses.json: "9": there is no such station: is not copied', err)
        self.assertFalse(Path(folder / "a" / EVSES).exists())
