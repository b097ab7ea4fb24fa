"""What the metrics say of sessions, lines, offers, receipts and money."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.receipts import ENDS
from evcharge.models.session import FREE, LIVE
from evcharge.models.station import Station
from evcharge.models.tariffs import LINE_DIMENSIONS, parse_tariff
from evcharge.rules.events import OFFER_ENDS, PLACE_ENDS, WITHDRAWN
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.states import TABLE
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import MemoryServer
from evcharge.watch.exposition import exposition, families, session_families, together
from evcharge.watch.metrics import Metrics, Present, SessionCounts
from tests.support import postgres
from tests.support.journey import CARS, login, station
from tests.support.operators import OUT, OperatorTestCase
from tests.support.servers import LOGIN, Client, HealthTestCase
from tests.support.waiting import until

MINUTE = 60.0
CHARGE_S = 24 * MINUTE
"""What a Small takes from 40 to 80 per cent, at 50 kW."""


def tariff(*components: tuple[str, float], **more: object) -> dict[str, Any]:
    """A tariff with prices of these dimensions, and with a price of 6.00 an hour reserved."""
    return {
        "id": "t",
        "currency": "BRL",
        "elements": [
            {
                "price_components": [
                    {"type": kind, "price": price, "step_size": 1} for kind, price in components
                ]
            },
            {
                "price_components": [{"type": "TIME", "price": 6, "step_size": 1}],
                "restrictions": {"reservation": "RESERVATION"},
            },
        ],
        **more,
    }


def sampled(text: str) -> dict[tuple, float]:
    """Each sample's value, by its name and its labels' values in the order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Watched:
    """A server in memory, and what is scraped of it."""

    def __init__(
        self, *stations: Station, priced: dict[str, Any] | None = None, options: Sequence[str] = ()
    ) -> None:
        tariffs = {} if priced is None else {"t": parse_tariff(priced)}
        self.storage = MemoryStorage(CARS, stations, tariffs)
        self.server = MemoryServer(self.storage, options=["--http-port=0", *options])

    def samples(self) -> dict[tuple, float]:
        present = Present(True, 1, 2, 3, 4, [*self.storage.records.states])
        return sampled(exposition(families(self.server.metrics, present)).decode())

    def ask(self, kind: str, user: str, **data: object) -> dict[str, Any]:
        """Ask for something that is done; the data of the reply."""
        reply = self.server.request(kind, user_id=user, **data)
        assert reply["status"]["code"] == 200, reply
        return reply["data"]

    def reserve(self, user: str, **data: object) -> str:
        """The state that a RESERVE at station 1 ends in."""
        return self.ask("RESERVE", user, id_station=1, **data)["state"]


class StateTests(SynchronousTestCase):
    """What is so just now."""

    def test_sessions(self) -> None:
        """Sessions are counted by the state they are in, and by those they have come into."""
        watched = Watched(station(1, 4))
        begun = watched.samples()
        self.assertEqual([begun["evcharge_sessions", state] for state in LIVE], [0] * 4)
        kept, charging, charged = (login(watched.server) for _ in range(3))
        watched.reserve(kept)
        watched.ask("PAYMENT", charging, id_station=1, confirmation=True)
        watched.reserve(charged)
        watched.ask("ARRIVE", charged, id_station=1)
        watched.ask("STOP", charged, leave=False)
        samples = watched.samples()
        self.assertEqual([samples["evcharge_sessions", state] for state in LIVE], [0, 1, 1, 1])
        entered = [samples["evcharge_session_changes_total", state] for state in LIVE]
        self.assertEqual(entered, [0, 2, 2, 1])
        self.assertEqual(samples["evcharge_slots", "taken"], 3)
        self.assertEqual(samples["evcharge_slots", "free"], 1)

    def test_line(self) -> None:
        """The lines are told together, the longest by itself, and how long one may be."""
        watched = Watched(station(1), station(2), station(3), options=["--queue-limit", "5"])
        for number, waiting in ((1, 3), (2, 1), (3, 0)):
            for _ in range(1 + waiting):
                user = login(watched.server)
                watched.ask("RESERVE", user, id_station=number, wait=True)
        samples = watched.samples()
        self.assertEqual(samples["evcharge_queue_length",], 4)
        self.assertEqual(samples["evcharge_queue_longest",], 3)
        self.assertEqual(samples["evcharge_queue_limit",], 5)

    def test_out_of_service(self) -> None:
        """An EVSE that is broken is neither free nor taken, and its station not full."""
        watched = Watched(station(1, 2), station(2))
        samples = watched.samples()
        self.assertEqual(samples["evcharge_slots", "out_of_service"], 0)
        self.assertEqual(samples["evcharge_stations", "out_of_service"], 0)
        for uid in ("1-1", "2-1"):
            now = watched.server.clock.seconds()
            watched.server.engine.perform(SetEvseStatus(uid, "OUTOFORDER", None, now))
        samples = watched.samples()
        slots = [samples["evcharge_slots", state] for state in ("free", "taken", "out_of_service")]
        self.assertEqual(slots, [1, 0, 2])
        states = ("available", "full", "out_of_service")
        self.assertEqual([samples["evcharge_stations", state] for state in states], [1, 0, 1])


class LineTests(SynchronousTestCase):
    """How long drivers wait, and what becomes of that."""

    def wait_in_line(self, watched: Watched, drivers: int) -> list[str]:
        """Drivers of whom the first charges at station 1, and the others are in line."""
        users = [login(watched.server) for _ in range(drivers)]
        watched.ask("PAYMENT", users[0], id_station=1, confirmation=True)
        for user in users[1:]:
            self.assertEqual(watched.reserve(user, wait=True), "WAITING")
        return users

    def test_waits(self) -> None:
        """A wait is from joining to the offer; one that ends otherwise is told apart."""
        watched = Watched(station(1))
        users = self.wait_in_line(watched, 4)
        watched.server.advance(10 * MINUTE)
        watched.ask("CANCEL", users[2])
        watched.server.advance(CHARGE_S - 10 * MINUTE)
        samples = watched.samples()
        name = "evcharge_queue_wait_seconds"
        self.assertEqual(samples[f"{name}_count", "offered"], 1)
        self.assertAlmostEqual(samples[f"{name}_sum", "offered"], CHARGE_S, 6)
        self.assertEqual(samples[f"{name}_bucket", "1200.0", "offered"], 0)
        self.assertEqual(samples[f"{name}_bucket", "1800.0", "offered"], 1)
        self.assertEqual(samples[f"{name}_count", "left"], 1)
        self.assertAlmostEqual(samples[f"{name}_sum", "left"], 10 * MINUTE, 6)
        for outcome in ("claimed", "withdrawn"):
            self.assertEqual(samples[f"{name}_count", outcome], 0)

    def test_simulated(self) -> None:
        """Waits are in simulated seconds, as all that drivers are told."""
        storage = MemoryStorage(CARS, [station(1)])
        server = MemoryServer(storage, time_scale=60.0, options=["--http-port=0"])
        users = [login(server) for _ in range(2)]
        server.request("PAYMENT", user_id=users[0], id_station=1, confirmation=True)
        server.request("RESERVE", user_id=users[1], id_station=1, wait=True)
        server.advance(CHARGE_S / 60)
        waits = server.metrics.sessions.waits["offered"]
        self.assertAlmostEqual(waits.total, CHARGE_S, 3)
        self.assertEqual(waits.counts[waits.bounds.index(1800.0)], 1)

    def test_offers(self) -> None:
        """An offer is accepted, declined, has run out or is withdrawn: each is counted once."""
        watched = Watched(station(1))
        outcomes = ("accepted", "declined", "expired", "withdrawn")

        def counts() -> list[float]:
            samples = watched.samples()
            return [samples["evcharge_offers_total", outcome] for outcome in outcomes]

        self.assertEqual(counts(), [0, 0, 0, 0])
        users = self.wait_in_line(watched, 6)
        watched.ask("STOP", users[0])
        self.assertEqual(watched.samples()["evcharge_sessions", "OFFERED"], 1)
        self.assertEqual(counts(), [0, 0, 0, 0])
        watched.ask("CANCEL", users[1])
        self.assertEqual(counts(), [0, 1, 0, 0])
        watched.server.advance(5 * MINUTE)
        self.assertEqual(counts(), [0, 1, 1, 0])
        self.assertEqual(watched.reserve(users[3]), "RESERVED")
        self.assertEqual(counts(), [1, 1, 1, 0])
        # Once: it is a reservation from then on.
        watched.ask("ARRIVE", users[3], id_station=1)
        watched.ask("STOP", users[3])
        watched.ask("ARRIVE", users[4], id_station=1)
        watched.ask("STOP", users[4])
        self.assertEqual(counts(), [2, 1, 1, 0])
        now = watched.server.clock.seconds()
        watched.server.engine.perform(SetEvseStatus("1-1", "OUTOFORDER", None, now))
        self.assertEqual(counts(), [2, 1, 1, 1])
        samples = watched.samples()
        self.assertEqual(samples["evcharge_queue_length",], 1)
        self.assertEqual(samples["evcharge_session_changes_total", "OFFERED"], 5)

    def test_moved(self) -> None:
        """A session that goes on at another EVSE has come into no state, and is no offer's end."""
        watched = Watched(station(1, 2))
        users = [login(watched.server) for _ in range(3)]
        evses = []
        for user in users[:2]:
            evses.append(watched.ask("ARRIVE", user, id_station=1)["id_evse"])
        watched.reserve(users[2], wait=True)
        for user in users[:2]:
            watched.ask("STOP", user)

        def put_out(uid: str, status: str) -> None:
            now = watched.server.clock.seconds()
            watched.server.engine.perform(SetEvseStatus(uid, status, None, now))

        put_out(evses[0], "OUTOFORDER")
        self.assertEqual(watched.ask("STATUS", users[2])["id_evse"], evses[1])
        offers = watched.server.metrics.sessions.offers
        self.assertEqual((watched.ask("STATUS", users[2])["state"], offers.total()), ("OFFERED", 0))
        watched.reserve(users[2])
        put_out(evses[0], "IN_SERVICE")
        put_out(evses[1], "OUTOFORDER")
        self.assertEqual(watched.ask("STATUS", users[2])["id_evse"], evses[0])
        changes = watched.server.metrics.sessions.changes
        self.assertEqual((changes["OFFERED"], changes["RESERVED"]), (1, 1))
        self.assertEqual((offers["accepted"], offers.total()), (1, 1))

    def test_uncounted(self) -> None:
        """Where nobody may ask, nothing is counted."""
        server = MemoryServer(MemoryStorage(CARS, [station(1)]))
        user = login(server)
        server.request("RESERVE", user_id=user, id_station=1)
        server.request("CANCEL", user_id=user)
        self.assertEqual(server.metrics.sessions.changes["RESERVED"], 0)


class MoneyTests(SynchronousTestCase):
    """Receipts, and what they come to."""

    def test_receipts(self) -> None:
        """Each receipt is counted by how its session ended, with what it came to."""
        watched = Watched(station(1, 9, tariff_id="t"), priced=tariff(("ENERGY", 2.0)))
        server = watched.server
        early, cancelled, late, ends, gone = (login(server) for _ in range(5))
        watched.ask("PAYMENT", ends, id_station=1, confirmation=True)
        watched.ask("ARRIVE", early, id_station=1)
        for user in (cancelled, late, gone):
            watched.reserve(user)
        server.advance(6 * MINUTE)
        receipts = [
            watched.ask("STOP", early),
            watched.ask("CANCEL", cancelled)["receipt"],
            watched.ask("PAYMENT", gone, id_station=1, confirmation=False),
        ]
        self.assertEqual((receipts[0]["total"], receipts[1]["total"]), (10.0, 0.6))
        server.advance(CHARGE_S)
        samples = watched.samples()
        for state, reason, total in (
            ("COMPLETED", "stopped", 10.0),
            ("CANCELLED", "cancelled", 0.6),
            ("CANCELLED", "journey_ended", 0.6),
            ("NO_SHOW", "expired", 1.5),
            ("COMPLETED", "target", 40.0),
        ):
            self.assertEqual(samples["evcharge_receipts_total", reason, state], 1, reason)
            self.assertEqual(samples["evcharge_receipts_brl_total", reason, state], total, reason)
        self.assertEqual(samples["evcharge_receipts_brl_total", "idle_limit", "COMPLETED"], 0)
        self.assertAlmostEqual(samples["evcharge_receipts_energy_kwh_total",], 25.0, 4)

    def test_payments(self) -> None:
        """What is paid and what is given back are told apart, and come to what receipts say."""
        watched = Watched(station(1, 4, price_kwh=Decimal("2.00")))
        server = watched.server
        ahead, after = login(server), login(server)
        watched.ask("PAYMENT", ahead, id_station=1, confirmation=True)
        watched.ask("ARRIVE", after, id_station=1)
        self.assertEqual(watched.samples()["evcharge_payments_brl_total", "paid"], 40.0)
        server.advance(6 * MINUTE)
        for user in (ahead, after):
            watched.ask("STOP", user)
        samples = watched.samples()
        self.assertEqual(samples["evcharge_payments_total", "paid"], 2)
        self.assertEqual(samples["evcharge_payments_total", "refunded"], 1)
        self.assertEqual(samples["evcharge_payments_brl_total", "paid"], 50.0)
        self.assertEqual(samples["evcharge_payments_brl_total", "refunded"], 30.0)
        self.assertEqual(samples["evcharge_receipts_brl_total", "stopped", "COMPLETED"], 20.0)

    def test_dimensions(self) -> None:
        """Money is told by what it is for: energy, time, idle time, and the reservation's time."""
        priced = tariff(("FLAT", 1.0), ("ENERGY", 2.0), ("TIME", 5.0), ("PARKING_TIME", 30.0))
        watched = Watched(station(1, 4, tariff_id="t"), priced=priced)
        user = login(watched.server)
        watched.reserve(user)
        watched.server.advance(6 * MINUTE)
        watched.ask("ARRIVE", user, id_station=1)
        watched.server.advance(CHARGE_S + 10 * MINUTE)
        total = watched.ask("STOP", user)["total"]
        samples = watched.samples()
        told = {kind: samples["evcharge_receipt_lines_brl_total", kind] for kind in LINE_DIMENSIONS}
        self.assertEqual(
            told,
            {
                "ENERGY": 40.0,
                "TIME": 2.0,
                "PARKING_TIME": 5.0,
                "RESERVATION_TIME": 0.6,
                "FLAT": 1.0,
                "MIN_PRICE": 0.0,
                "MAX_PRICE": 0.0,
            },
        )
        self.assertEqual(total, 48.6)

    def test_bounds(self) -> None:
        """What a highest price takes off counts up, as all that is counted does."""
        for limit, dimension, total in (
            ({"max_price": {"excl_vat": 30.0}}, "MAX_PRICE", 10.0),
            ({"min_price": {"excl_vat": 45.0}}, "MIN_PRICE", 5.0),
        ):
            watched = Watched(station(1, tariff_id="t"), priced=tariff(("ENERGY", 2.0), **limit))
            user = login(watched.server)
            watched.ask("PAYMENT", user, id_station=1, confirmation=True)
            watched.server.advance(CHARGE_S)
            samples = watched.samples()
            self.assertEqual(samples["evcharge_receipt_lines_brl_total", dimension], total)
            self.assertEqual(samples["evcharge_receipt_lines_brl_total", "ENERGY"], 40.0)


class LabelTests(SynchronousTestCase):
    """The values of labels."""

    def test_from_the_start(self) -> None:
        """Each is there from the start, as what is not there seems not to increase."""
        samples = sampled(exposition(families(Metrics(), Present(True, 1, 2, 3, 4, []))).decode())
        for state, reason in ENDS:
            self.assertEqual(samples["evcharge_receipts_total", reason, state], 0)
            self.assertEqual(samples["evcharge_receipts_brl_total", reason, state], 0)
        for outcome in OFFER_ENDS:
            self.assertEqual(samples["evcharge_offers_total", outcome], 0)
        for outcome in PLACE_ENDS:
            self.assertEqual(samples["evcharge_queue_wait_seconds_count", outcome], 0)
        self.assertIn(WITHDRAWN, PLACE_ENDS)
        self.assertEqual({state for state, _ in ENDS}, {row.ends for row in TABLE} - {None})
        self.assertNotIn(FREE, LIVE)
        # Of the network nothing is said while the storage is away.
        self.assertNotIn("evcharge_sessions", {key[0] for key in samples})


class ServerTests(HealthTestCase):
    """Real servers."""

    def book(self, client: Client, kind: str, user: str, **data: object) -> dict[str, Any]:
        reply = client.request(kind, user_id=user, **data)
        self.assertEqual(reply["status"]["code"], 200, reply)
        return reply["data"]

    def full_station(self, client: Client) -> list[str]:
        """Three drivers, of whom the last one waits for the two slots of station 7."""
        users = [client.request("LOGIN", **LOGIN)["data"]["user_id"] for _ in range(3)]
        states = [
            self.book(client, "RESERVE", user, id_station=7, wait=True)["state"] for user in users
        ]
        self.assertEqual(states, ["RESERVED", "RESERVED", "WAITING"])
        return users

    def test_scrape(self) -> None:
        """A driver waits, is offered an EVSE, charges and stops: the port tells of it."""
        server = self.serve()
        client = self.client(server)
        users = self.full_station(client)
        samples = self.samples()
        self.assertEqual(samples["evcharge_sessions", "RESERVED"], 2)
        self.assertEqual(samples["evcharge_queue_length",], 1)
        self.assertEqual(samples["evcharge_queue_longest",], 1)
        self.assertEqual(samples["evcharge_queue_limit",], 20)
        self.book(client, "CANCEL", users[0])
        self.assertEqual(self.samples()["evcharge_sessions", "OFFERED"], 1)
        self.book(client, "ARRIVE", users[2], id_station=7)
        receipt = self.book(client, "STOP", users[2])
        samples = self.samples()
        self.assertEqual(samples["evcharge_queue_length",], 0)
        self.assertEqual(samples["evcharge_queue_wait_seconds_count", "offered"], 1)
        self.assertEqual(samples["evcharge_offers_total", "accepted"], 1)
        self.assertEqual(samples["evcharge_session_changes_total", "CHARGING"], 1)
        self.assertEqual(samples["evcharge_receipts_total", "cancelled", "CANCELLED"], 1)
        self.assertEqual(samples["evcharge_receipts_total", "stopped", "COMPLETED"], 1)
        told = samples["evcharge_receipts_brl_total", "stopped", "COMPLETED"]
        self.assertEqual(told, receipt["total"])

    def nobody_waits(self) -> dict[tuple, float] | None:
        """The metrics, once nobody is in line."""
        samples = self.samples()
        return None if samples["evcharge_queue_length",] else samples

    def test_shared(self) -> None:
        """Servers that share a database tell the same of the network, each of its own doings."""
        database = postgres.shared()
        url = database.url(database.create_database())
        one = self.serve("--storage", url)
        first = self.http
        other = self.serve("--storage", url)
        users = self.full_station(self.client(one))
        self.book(self.client(other), "CANCEL", users[2])
        told = []
        for server, at in ((one, first), (other, self.http)):
            self.http = at
            # What others have done is seen within a second.
            samples = until(self.nobody_waits, "nobody waits", process=server.process)
            self.assertEqual(samples["evcharge_sessions", "RESERVED"], 2)
            told.append(samples)
        changes = [samples["evcharge_session_changes_total", "RESERVED"] for samples in told]
        self.assertEqual(changes, [2, 0])
        left = [samples["evcharge_queue_wait_seconds_count", "left"] for samples in told]
        self.assertEqual(left, [0, 1])


class WorkersTests(OperatorTestCase):
    """Several processes of one server."""

    def test_operator(self) -> None:
        """What an operator does is counted by the parent, beside what the workers have counted."""
        data = Path(self.mktemp()).absolute()
        server = self.serve("--workers", "2", "--storage", f"sqlite:///{data}.db")
        self.wait_for_workers(server)
        client = self.client(server)
        user = client.request("LOGIN", **LOGIN)["data"]["user_id"]
        paid = client.request("PAYMENT", user_id=user, id_station=7, confirmation=True)
        self.assertEqual(self.ask(body={**OUT, "uid": paid["data"]["id_evse"]})[0], 200)
        samples = self.samples()
        name = "evcharge_receipts_total", "operator", "COMPLETED"
        self.assertEqual([samples[(*name, n)] for n in ("1", "2", "parent")], [0, 0, 1])
        name = "evcharge_session_changes_total", "CHARGING"
        self.assertEqual(sum(samples[(*name, n)] for n in ("1", "2", "parent")), 1)

    def test_merged(self) -> None:
        """What the parent has counted stands beside the workers', under the same name."""
        worker = exposition(families(Metrics(), Present(True, 1, 2, 3, 4, []))).decode()
        text = together({1: worker}, session_families(SessionCounts())).decode()
        self.assertEqual(text.count("# TYPE evcharge_offers_total counter\n"), 1)
        samples = sampled(text)
        self.assertEqual(samples["evcharge_offers_total", "expired", "1"], 0)
        self.assertEqual(samples["evcharge_offers_total", "expired", "parent"], 0)
