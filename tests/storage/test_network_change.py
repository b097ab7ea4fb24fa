"""Another network while drivers go on: the contract of `ChangeNetwork` for every storage."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import psycopg
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets.files import CARS, EVSES, STATIONS, TARIFFS
from evcharge.models.evse import Evse, EvseKind, connector_of
from evcharge.models.network import Network, StationRecord
from evcharge.models.session import plan_session
from evcharge.models.station import Station
from evcharge.rules.claims import RESERVE, Claim
from evcharge.rules.events import NetworkChanged, PublicEvent, told
from evcharge.rules.journey import UNKNOWN_STATION, FindStanding, ListStations, held_at
from evcharge.rules.network import ChangeNetwork, NetworkChange
from evcharge.storage import Storage, StorageUnavailable, carry_out
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.storage.sql.databases import Sqlite
from evcharge.storage.sql.rows import session_row
from evcharge.storage.sql.store import SqlStorage
from evcharge.testing import NOON, shipped_network
from tests.support import engines, postgres
from tests.support.calls import Calls, Killed
from tests.support.folders import NETWORK, ONE_CAR, new_folder
from tests.support.operations import (
    MODEL,
    NO_FREE_SLOT,
    a_session,
    a_user,
    add_user,
    available,
    end_journey,
    find_user,
    pay,
    station,
    stations,
    sweep,
    take,
    take_slot,
    unseated,
    until_done,
)
from tests.support.waiting import until

engines.share()

SMALL = {
    CARS: ONE_CAR,
    STATIONS: NETWORK + b"9;Norte;Rua C;-12.2;-38.97;2\n1;Leste;Rua D;-12.2;-38.9;2\n",
    EVSES: b"{}",
    TARIFFS: b"[]",
}
"""The files of a network that is read in no time."""

NEW = Station(40, "Novo", "Rua B", -12.2, -38.9, 2, 22.0, Decimal("1.95"), ("Type 2",))


def change(storage: Storage, how: Callable[[Network], Network]) -> NetworkChange:
    return carry_out(storage, ChangeNetwork(how))


def network(storage: Storage) -> Network:
    return change(storage, lambda there: there).after


def with_slots(station: Station, slots: int) -> Station:
    """The same with so many slots, of which nothing more is named."""
    return attrs.evolve(station, own_evses=(), max_slots=slots)


def without_blanks(there: Network) -> Network:
    """The same without empty cells: in a file each station has every column."""
    return attrs.evolve(
        there,
        stations={
            i: attrs.evolve(r, other_columns={k: v for k, v in r.other_columns.items() if v})
            for i, r in there.stations.items()
        },
    )


def with_stations(*put: Station, gone: tuple[int, ...] = ()) -> Callable[[Network], Network]:
    """The network with some stations, and without others."""

    def changed(there: Network) -> Network:
        records = {i: record for i, record in there.stations.items() if i not in gone}
        for each in put:
            records[each.station_id] = StationRecord(each, True, {"telefone": "0800"})
        return attrs.evolve(there, stations=records)

    return changed


def with_cars(cars: Mapping[str, Any]) -> Callable[[Network], Network]:
    return lambda there: attrs.evolve(there, car_models=cars)


def a_tariff(tariff_id: str, price: float) -> dict[str, Any]:
    component = {"type": "ENERGY", "price": price, "step_size": 1}
    return {
        "id": tariff_id,
        "currency": "BRL",
        "elements": [{"price_components": [component]}],
        "x": None,
    }


def with_tariff(price: float) -> Callable[[Network], Network]:
    """The network with a station of four slots that goes by a tariff."""

    def changed(there: Network) -> Network:
        there = with_stations(attrs.evolve(NEW, tariff_id="dia é", max_slots=4))(there)
        return attrs.evolve(there, tariffs=(a_tariff("other", 1), a_tariff("dia é", price)))

    return changed


class NetworkContract:
    """What every storage does; a subclass makes one with the shipped network, and opens it anew."""

    def make(self) -> Storage:
        """A storage, open."""
        raise NotImplementedError

    def again(self, storage: Storage) -> Storage:
        """The same, opened anew."""
        storage.close()
        return self.make()

    def test_one_batch(self) -> None:
        """Changes that share a batch all come about, each upon the one before it."""
        storage = self.make()
        cars = dict(list(network(storage).car_models.items())[:2])
        eight = attrs.evolve(network(storage).stations[8].station, name="Oito")
        operations = (with_stations(NEW, gone=(7,)), with_cars(cars), with_stations(eight))
        done = storage.execute([ChangeNetwork(how) for how in operations])
        self.assertEqual([each.before for each in done[1:]], [each.after for each in done[:-1]])
        for _ in range(2):
            there = network(storage)
            self.assertEqual(without_blanks(there), without_blanks(done[-1].after))
            self.assertEqual((there.stations[8].station, 7 in there.stations), (eight, False))
            self.assertEqual(dict(storage.catalogue().car_models), cars)
            storage = self.again(storage)

    def test_stations(self) -> None:
        """Stations come, change and go, in one step, with every figure and column."""
        storage = self.make()
        before = network(storage)
        seven = attrs.evolve(before.stations[7].station, name="Sete", price_kwh=Decimal("2.10"))
        done = change(storage, with_stations(seven, NEW, gone=(8,)))
        self.assertEqual(done.before, before)
        for _ in range(2):
            self.assertEqual(without_blanks(network(storage)), without_blanks(done.after))
            self.assertEqual(done.after.stations.keys() ^ before.stations.keys(), {8, 40})
            self.assertEqual(
                done.after.stations[40], StationRecord(NEW, True, {"telefone": "0800"})
            )
            self.assertEqual([s.station.station_id for s in stations(storage)],
                             [i for i in range(1, 37) if i != 8] + [40])  # fmt: skip
            self.assertEqual((station(storage, 7).station, station(storage, 40).station),
                             (seven, NEW))  # fmt: skip
            self.assertEqual(available(storage, 40), 2)
            storage = self.again(storage)
        add_user(storage, a_user())
        self.assertEqual(take_slot(storage, a_session(station=8)), UNKNOWN_STATION)
        self.assertEqual(take_slot(storage, a_session(station=40)), a_session(station=40))
        self.assertEqual(available(storage, 40), 1)

    def test_out_of_service(self) -> None:
        """A station goes out of service and back, and keeps what is known of it."""
        storage = self.make()
        before = network(storage)

        def turn(there: Network) -> Network:
            record = there.stations[7]
            other = attrs.evolve(record, in_service=not record.in_service)
            return attrs.evolve(there, stations={**there.stations, 7: other})

        change(storage, turn)
        for _ in range(2):
            self.assertNotIn(7, [s.station.station_id for s in stations(storage)])
            self.assertEqual(network(storage).stations[7].station, before.stations[7].station)
            storage = self.again(storage)
        change(storage, turn)
        self.assertEqual(network(storage), before)
        self.assertEqual(available(storage, 7), before.stations[7].station.max_slots)

    def test_cars(self) -> None:
        """Car models come, change and go; whoever drives one goes on driving it."""
        storage = self.make()
        add_user(storage, a_user())
        cars = {"Mine": {**MODEL.facts(), "colour": "red"}, "Tesla Model 3": MODEL.facts()}
        done = change(storage, with_cars(cars))
        for _ in range(2):
            self.assertEqual((storage.catalogue().car_models, network(storage)), (cars, done.after))
            self.assertEqual(find_user(storage, "u1"), a_user())
            storage = self.again(storage)

    def test_nothing(self) -> None:
        """A network that is as it was is not written."""
        storage = self.make()
        done = change(storage, lambda there: attrs.evolve(there))
        self.assertEqual(done.before, done.after)
        self.assertEqual(self.written(storage), 0)
        change(storage, with_stations(NEW))
        self.assertEqual(self.written(storage), 1)
        change(storage, with_stations(NEW))
        self.assertEqual(self.written(storage), 0)

    def written(self, storage: Storage) -> int:
        """How many changes were saved since this was asked last."""
        saved, self.saved = getattr(self, "saved", []), []
        if not getattr(storage, "is_watched", False):
            storage.is_watched = True
            apply = storage.apply

            def applied(events: Any) -> None:
                self.saved += [event for event in events if isinstance(event, NetworkChanged)]
                apply(events)

            storage.apply = applied
        return len(saved)

    def test_fewer_slots(self) -> None:
        """A station with fewer slots than vehicles takes nobody until enough have left."""
        storage = self.make()
        seven = with_slots(network(storage).stations[7].station, 3)
        change(storage, with_stations(seven))
        for number in range(3):
            add_user(storage, a_user(f"u{number}"))
            session = a_session(f"u{number}", end=NOON + 60 * (number + 1))
            self.assertEqual(take_slot(storage, session), session)
        add_user(storage, a_user("late"))
        change(storage, with_stations(with_slots(seven, 1)))
        for _ in range(2):
            self.assertEqual(available(storage), 0)
            self.assertEqual(take_slot(storage, a_session("late")), NO_FREE_SLOT)
            self.assertEqual(take_slot(storage, a_session("u1")), a_session("u1", end=NOON + 120))
            storage = self.again(storage)
        end_journey(storage, "u0")
        end_journey(storage, "u1")
        self.assertEqual(take_slot(storage, a_session("late")), NO_FREE_SLOT)
        end_journey(storage, "u2")
        self.assertEqual(take_slot(storage, a_session("late")), a_session("late"))

    def test_more_slots(self) -> None:
        """A station with more slots has them at once."""
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        seven = network(storage).stations[7].station
        change(storage, with_stations(with_slots(seven, seven.max_slots + 5)))
        for _ in range(2):
            self.assertEqual(available(storage), seven.max_slots + 4)
            storage = self.again(storage)

    def waiting(self, storage: Storage) -> list[str]:
        """The states of two who wait at station 8, which another has the only EVSE of."""
        return [
            getattr(carry_out(storage, FindStanding(user_id)), "state", "gone")
            for user_id in ("w1", "w2")
        ]

    def wait(self, storage: Storage) -> None:
        """Have them wait."""
        for user_id in ("u1", "w1", "w2"):
            add_user(storage, a_user(user_id))
        take_slot(storage, a_session(station=8))
        for user_id in ("w1", "w2"):
            carry_out(storage, Claim(user_id, "8", user_id, NOON, intent=RESERVE, wait=True))
        self.assertEqual(self.waiting(storage), ["WAITING", "WAITING"])

    def test_no_line(self) -> None:
        """Who waits at a station that goes out of service waits no longer, and stays a user."""
        storage = self.make()
        self.wait(storage)
        heard: list[PublicEvent] = []
        storage.listeners.append(lambda events: heard.extend(told(events)))
        carry_out(storage, ChangeNetwork(with_stations(gone=(8,)), NOON))
        for user_id in ("w1", "w2"):
            self.assertEqual(self.waiting(storage), ["FREE", "FREE"])
            self.assertEqual(take_slot(storage, a_session(user_id)), a_session(user_id))
            end_journey(storage, user_id)
            add_user(storage, a_user(user_id))
            storage = self.again(storage)
        lengths = [e.data["queue_length"] for e in heard if e.type == "queue.changed"]
        self.assertEqual((len(lengths), lengths[-1]), (2, 0))
        self.assertEqual({(e.type, e.at) for e in heard[:3]},
                         {("network.changed", NOON), ("queue.changed", NOON)})  # fmt: skip

    def test_longer(self) -> None:
        """An EVSE that a station gets is offered to who waits there, and nobody overtakes."""
        storage = self.make()
        self.wait(storage)
        eight = with_slots(network(storage).stations[8].station, 2)
        change(storage, with_stations(eight))
        add_user(storage, a_user("late"))
        self.assertEqual(take_slot(storage, a_session("late", station=8)), NO_FREE_SLOT)
        sweep(storage, NOON, 0)
        for _ in range(2):
            self.assertEqual(self.waiting(storage), ["OFFERED", "WAITING"])
            storage = self.again(storage)

    def test_other_evses(self) -> None:
        """Who stands at an EVSE that is gone goes on, in the place of one of those that are new."""
        storage = self.make()
        for user_id in ("u1", "u2", "u3"):
            add_user(storage, a_user(user_id))
        (there,) = storage.execute([take(a_session("u1"))])
        kind = EvseKind((connector_of("1", "CCS2"),), 50.0)
        broken = Evse("7-C", kind, "OUTOFORDER", "2026-11-25T12:00:00Z", "cabo cortado", "P3")
        evses = (Evse("7-A", kind), Evse("7-B", kind), broken)
        seven = network(storage).stations[7].station
        seven = attrs.evolve(seven, own_evses=evses, max_slots=3)
        change(storage, with_stations(seven))
        for _ in range(2):
            state = station(storage, 7)
            self.assertEqual(state.station, seven)
            self.assertEqual((state.max_slots, state.available_slots), (2, 1))
            self.assertEqual(storage.execute([take(a_session("u1"))]), [there])
            storage = self.again(storage)
        (taken,) = storage.execute([take(a_session("u2"))])
        self.assertEqual(taken, a_session("u2", evse="7-A"))
        self.assertEqual(take_slot(storage, a_session("u3")), NO_FREE_SLOT)
        end_journey(storage, "u1")
        self.assertEqual(available(storage), 1)
        (taken,) = storage.execute([take(a_session("u3"))])
        self.assertEqual(taken, a_session("u3", evse="7-B"))

    def test_tariffs(self) -> None:
        """Tariffs come, change and go; payments cost what the present ones say."""
        storage = self.make()
        for number in range(4):
            add_user(storage, a_user(f"u{number}"))
        plan = partial(plan_session, now=NOON)
        for number, (price, cost) in enumerate(((1.5, "30.00"), (2.345678, "46.91"))):
            change(storage, with_tariff(price))
            for twice in range(2):
                self.assertEqual(
                    [tariff.body for tariff in storage.catalogue().tariffs.values()],
                    [a_tariff("other", 1), a_tariff("dia é", price)],
                )
                user_id = f"u{2 * number + twice}"
                payment = pay(user_id, "40", partial(plan, receipt_id=f"r-{user_id}"))
                # 20 kWh to 80 % of 50 kWh.
                self.assertEqual(str(storage.execute([payment])[0].amount), cost)
                storage = self.again(storage)
        change(storage, lambda there: attrs.evolve(with_stations(gone=(40,))(there), tariffs=()))
        for _ in range(2):
            self.assertEqual(dict(storage.catalogue().tariffs), {})
            storage = self.again(storage)

    def test_tariff_taken_away(self) -> None:
        """A station is in service only while there is each tariff that it names, or its EVSEs."""
        storage = self.make()
        add_user(storage, a_user())
        connector = attrs.evolve(connector_of("1", "CCS2"), tariff_ids=("noite", "dia"))
        own = (Evse("41-A", EvseKind((connector,), 50.0)),)
        by_evse = attrs.evolve(NEW, station_id=41, own_evses=own, max_slots=1)
        put = with_stations(attrs.evolve(NEW, tariff_id="dia"), by_evse)
        noite = network(storage).tariffs
        with_dia = (*noite, a_tariff("dia", 1.5))
        in_dollars = (*noite, {**a_tariff("dia", 1.5), "currency": "USD"})

        def listed() -> list[int]:
            ids = [each.station.station_id for each in stations(storage)]
            return [i for i in ids if i in (34, 40, 41)]

        for bodies, there_are in (
            (noite, [34]),
            (with_dia, [34, 40, 41]),
            (in_dollars, [34]),
            (with_dia[-1:], [40]),
            (with_dia, [34, 40, 41]),
            ((), []),
        ):
            change(storage, lambda there, bodies=bodies: attrs.evolve(put(there), tariffs=bodies))
            for _ in range(2):
                self.assertEqual(listed(), there_are)
                self.assertEqual(network(storage).stations.keys() & {34, 40, 41}, {34, 40, 41})
                if 40 not in there_are:
                    self.assertEqual(take_slot(storage, a_session(station=40)), UNKNOWN_STATION)
                storage = self.again(storage)

    def test_gone_with_vehicles(self) -> None:
        """Who charges at a station that is gone goes on; when they have left, so has the record."""
        storage = self.make()
        for user_id in ("u1", "u2"):
            add_user(storage, a_user(user_id))
            take_slot(storage, a_session(user_id, end=NOON + (60 if user_id == "u1" else 1e6)))
        add_user(storage, a_user("late"))
        remove = with_stations(gone=(7,))
        change(storage, remove)
        for _ in range(2):
            self.assertNotIn(7, [s.station.station_id for s in stations(storage)])
            self.assertEqual(take_slot(storage, a_session("late")), UNKNOWN_STATION)
            self.assertEqual(take_slot(storage, a_session("u1")), a_session("u1"))
            self.assertEqual(take_slot(storage, a_session("u1", 8)), held_at(7))
            done = change(storage, remove)
            self.assertEqual(done.before, done.after)
            left = done.after.stations[7]
            self.assertEqual((left.in_service, left.station.name), (False, ""))
            storage = self.again(storage)
        self.assertEqual(sweep(storage, NOON + 61, 0).freed, 1)
        self.assertIn(7, network(storage).stations)
        end_journey(storage, "u2")
        # Nor has another one, all of whose life is seen by one process.
        take_slot(storage, a_session("late", 8))
        change(storage, with_stations(gone=(8,)))
        end_journey(storage, "late")
        if hasattr(storage, "read_contents"):
            storage.close()
            with storage.read_contents(NOON) as contents:
                kept = {record.station.station_id for record in contents.stations}
                self.assertEqual(kept & {7, 8}, set())
            storage = self.make()
        for _ in range(2):
            self.assertEqual(network(storage).stations.keys() & {7, 8}, set())
            storage = self.again(storage)

    def test_swept_after(self) -> None:
        """A deadline that was left early, at a station that is gone, stops no sweep."""
        storage = self.make()
        for user_id, at in (("u1", 8), ("u2", 7)):
            add_user(storage, a_user(user_id))
            take_slot(storage, a_session(user_id, at))
        end_journey(storage, "u1")
        change(storage, with_stations(gone=(8,)))
        self.assertEqual(sweep(storage, NOON + 1e6, 0).freed, 1)

    def test_comes_back(self) -> None:
        """A station that comes back while somebody stands there has them in its slots."""
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        seven = network(storage).stations[7].station
        change(storage, with_stations(gone=(7,)))
        change(storage, with_stations(seven))
        for _ in range(2):
            self.assertEqual(available(storage), seven.max_slots - 1)
            storage = self.again(storage)
        end_journey(storage, "u1")
        self.assertEqual(available(storage), seven.max_slots)
        self.assertIn(7, network(storage).stations)

    def test_breaks(self) -> None:
        """A change that breaks changes nothing, and breaks nothing else in its batch."""
        storage = self.make()
        add_user(storage, a_user())
        before = network(storage)
        results = storage.execute([ChangeNetwork(lambda there: 1 / 0), take(a_session())])
        self.assertIsInstance(results[0], ZeroDivisionError)
        self.assertEqual(unseated(results[1]), a_session())
        self.assertEqual(network(storage), before)

    def test_in_a_batch(self) -> None:
        """What is in a batch with a change is decided at the stations that there are after it."""
        storage = self.make()
        for user_id in ("u0", "u1", "u2", "u3", "u4"):
            add_user(storage, a_user(user_id))
        take_slot(storage, a_session("u0"))
        seven = with_slots(network(storage).stations[7].station, 1)
        results = storage.execute(
            [
                take(a_session("u1", 40)),
                take(a_session("u2", 8)),
                ChangeNetwork(with_stations(attrs.evolve(NEW, max_slots=1), seven, gone=(8,))),
                take(a_session("u3", 40)),
                take(a_session("u4")),
            ]
        )
        self.assertEqual(
            [*map(unseated, results[:2]), *map(unseated, results[3:])],
            [a_session("u1", 40), UNKNOWN_STATION, NO_FREE_SLOT, NO_FREE_SLOT],
        )
        for _ in range(2):
            self.assertEqual(available(storage, 40), 0)
            storage = self.again(storage)


class MemoryTests(NetworkContract, SynchronousTestCase):
    """In memory."""

    def make(self) -> Storage:
        return shipped_network()

    def again(self, storage: Storage) -> Storage:
        return storage


class FilesTests(NetworkContract, SynchronousTestCase):
    """In a data directory."""

    def setUp(self) -> None:
        self.folder = new_folder(self) / "data"

    def make(self) -> FileStorage:
        storage = FileStorage(self.folder)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def test_interrupted(self) -> None:
        """However it is interrupted, after the next opening it is the old network or the new."""
        self.folder.mkdir()
        for name, content in SMALL.items():
            (self.folder / name).write_bytes(content)
        storage = self.make()
        add_user(storage, a_user())
        take_slot(storage, a_session())
        seven = network(storage).stations[7].station
        how = with_stations(with_slots(seven, 5), NEW, gone=(8, 9))
        car = with_cars({"Mine": MODEL.facts()})
        before = network(storage)
        storage.close()
        kept = self.folder.with_name("kept")
        shutil.copytree(self.folder, kept)
        calls = Calls(self, self.folder)
        outcomes = set()
        for kind in ("before", "after", "half", "killed"):
            for number in range(100):
                shutil.rmtree(self.folder)
                shutil.copytree(kept, self.folder)
                storage = self.make()
                calls.fail(number, kind)
                try:
                    change(storage, lambda there: car(how(there)))
                    calls.clear()
                    break
                except (StorageUnavailable, Killed):
                    calls.clear()
                if kind == "killed":
                    storage._directory.release()
                else:
                    # Drivers go on, and nothing that they are answered is lost.
                    add_user(storage, a_user("u2"))
                    take_slot(storage, a_session("u2", 1))
                    storage.close()
                storage = self.make()
                there = network(storage)
                outcomes.add(there != before)
                if there != before:
                    ids = (before.stations.keys() | {40}) - {8, 9}
                    self.assertEqual(
                        (list(there.car_models), there.stations.keys()), (["Mine"], ids)
                    )
                    self.assertEqual(available(storage), 4)
                self.assertEqual(take_slot(storage, a_session()), a_session())
                if kind != "killed":
                    self.assertEqual(take_slot(storage, a_session("u2", 1)), a_session("u2", 1))
                left = [path.name for path in self.folder.iterdir()]
                self.assertFalse([n for n in left if n.endswith((".new", ".tmp"))], left)
                self.assertNotIn("change.json", left)
                storage.close()
            self.assertGreater(number, 5)
        self.assertEqual(outcomes, {False, True})

    def test_meanwhile(self) -> None:
        """Until an interrupted change is gone on with, drivers come, and files are spoilt."""
        outcomes = set()
        for number in range(40):
            storage = self.make()
            add_user(storage, a_user())
            calls = Calls(self, self.folder)
            calls.fail(number, "before")
            with contextlib.suppress(StorageUnavailable):
                change(storage, with_stations(NEW, gone=(8,)))
            calls.clear()
            taken = storage.execute([take(a_session("u1", 8))])
            paid = list(map(unseated, taken)) == [a_session("u1", 8)]
            storage.close()
            (self.folder / "stations" / "station_40.json").write_text("{")
            storage = self.make()
            if paid:
                self.assertEqual(take_slot(storage, a_session("u1", 8)), a_session("u1", 8))
            in_service = {state.station.station_id for state in stations(storage)}
            outcomes.add((paid, 8 in in_service))
            storage.close()
            shutil.rmtree(self.folder)
        self.assertEqual(outcomes, {(True, True), (True, False), (False, False)})


class SqliteTests(NetworkContract, SynchronousTestCase):
    """In an SQLite file that one process owns."""

    shared = False

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def make(self) -> SqlStorage:
        storage = SqlStorage(Sqlite(self.path, self.shared))
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage


class SharedSqliteTests(SqliteTests):
    """In an SQLite file that several processes of a server share."""

    shared = True


class PostgresTests(NetworkContract, SynchronousTestCase):
    """In PostgreSQL."""

    def setUp(self) -> None:
        self.url = postgres.shared().url(postgres.shared().create_database())

    def make(self) -> SqlStorage:
        storage = parse(self.url, "").storage()
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def test_seen_by_others(self) -> None:
        """Another process decides by the new network at once, and shows it when it asks anew."""
        one, other = self.make(), self.make()
        add_user(one, a_user())
        change(one, with_stations(NEW, gone=(8,)))
        change(one, with_cars({"Mine": MODEL.facts()}))
        self.assertEqual(take_slot(other, a_session(station=8)), UNKNOWN_STATION)
        self.assertEqual(take_slot(other, a_session(station=40)), a_session(station=40))
        (states,) = other.execute([ListStations()])
        self.assertIn(40, [state.station.station_id for state in states])
        self.assertEqual(list(other.catalogue().car_models), ["Mine"])

    def test_tariff_of_others(self) -> None:
        """A payment in another process costs what the tariff says now, though it lists nothing."""
        one, other = self.make(), self.make()
        for number in range(2):
            add_user(one, a_user(f"u{number}"))
        for number, (price, cost) in enumerate(((1.5, "30.00"), (2.0, "40.00"))):
            change(one, with_tariff(price))
            known = other.catalogue()
            plan = partial(plan_session, receipt_id=f"r{number}", now=NOON)
            (session,) = other.execute([pay(f"u{number}", "40", plan)])
            self.assertEqual(str(session.amount), cost)
            self.assertIsNot(other.catalogue(), known)
        known = other.catalogue()
        end_journey(other, "u0")
        self.assertEqual(available(other, 40), 3)
        self.assertIs(other.catalogue(), known)

    def test_payment_under_way(self) -> None:
        """A station that goes while another process sells a slot of it stays until that is over."""
        storage = self.make()
        add_user(storage, a_user())
        row = session_row(a_session(station=8))
        names, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
        with psycopg.connect(self.url) as other:
            other.execute("SELECT FROM stations WHERE station_id = 8 FOR UPDATE")
            other.execute(f"INSERT INTO sessions ({names}) VALUES ({places})", row)
            remove = ChangeNetwork(with_stations(gone=(8,)))
            thread = threading.Thread(target=carry_out, args=(storage, remove))
            thread.start()
            with psycopg.connect(self.url, autocommit=True) as watcher:
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                until(lambda: watcher.execute(waiting).fetchone()[0], "it waits")
        thread.join(20)
        self.assertTrue(network(storage).stations[8].is_gone)
        with storage.read_contents(NOON) as contents:
            self.assertEqual([session.station_id for session in contents.sessions], [8])

    def test_at_once(self) -> None:
        """Changes by several processes, while drivers pay and leave, are all made, one by one."""
        opened = [self.make() for _ in range(4)]
        problems: list[BaseException] = []

        def carry_on(storage: Storage, number: int) -> None:
            try:
                for turn in range(10):
                    new = attrs.evolve(NEW, station_id=100 + number * 10 + turn)
                    until_done(storage, ChangeNetwork(with_stations(new, gone=(number + 1,))))
                    user = a_user(f"u{number}-{turn}")
                    add_user(storage, user)
                    for place in (number + 2, new.station_id):
                        until_done(storage, take(a_session(user.user_id, place)))
            except BaseException as problem:
                problems.append(problem)

        threads = [
            threading.Thread(target=carry_on, args=(storage, number))
            for number, storage in enumerate(opened)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(problems, [])
        there = network(opened[0]).stations
        self.assertLessEqual({100 + n for n in range(40)}, there.keys())
        self.assertFalse([i for i in (1, 2, 3, 4) if there.get(i) and there[i].in_service])
