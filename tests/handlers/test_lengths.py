"""How long replies get: what docs/protocol.md says of it, and clients that have a limit."""

import asyncio
import json
import re
from decimal import Decimal

import attrs
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.evse import Connector, Evse, EvseKind
from evcharge.models.station import Station
from evcharge.models.tariffs import parse_tariff
from evcharge.rules.journey import ListStations
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import MemoryServer, shipped_network
from tests.support.journey import CARS, LONG, login
from tests.support.servers import ROOT

PAGE = " ".join((ROOT / "docs" / "protocol.md").read_text().split())
WIDE = "😀"
"""A character of four bytes; an escape of a control character takes six."""
LONG_NAME = WIDE * 200
"""The longest name that a connector may have."""
TARIFF = {
    "id": "t" * 36,
    "currency": "BRL",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 1234.56, "step_size": 1}]}],
}
PARTS = [
    {"type": kind, "price": 1.2345678, "vat": 12.34, "step_size": 59}
    for kind in ("FLAT", "TIME", "ENERGY", "PARKING_TIME")
]
RICH = {
    "id": "t",
    "currency": "BRL",
    "min_price": {"excl_vat": 1234.56, "incl_vat": 2345.67},
    "elements": [
        {"price_components": PARTS[:2], "restrictions": {"reservation": "RESERVATION"}},
        {"price_components": PARTS},
    ],
}
"""A tariff of which there are bills of many lines."""
DRIVER = "6f1f2b9c-3c1e-4c53-9a55-0f8a7c5de001"


def figure(pattern: str) -> int:
    """A figure that the page has, where the pattern has brackets."""
    found = re.search(pattern, PAGE)
    assert found is not None, pattern
    return int(found[1].replace(",", ""))


def network(size: int) -> MemoryServer:
    """The shipped network, with more stations like those it has."""
    shipped = shipped_network()
    stations = [state.station for state in shipped.recall(ListStations())]
    return MemoryServer(
        MemoryStorage(
            shipped.catalogue().car_models,
            [attrs.evolve(stations[n % len(stations)], station_id=n + 1) for n in range(size)],
            shipped.catalogue().tariffs,
        )
    )


def reply(to: MemoryServer, kind: str, more: dict | None = None, /, **data: object) -> bytes:
    message = {"type": kind, "data": data, "status": {}, "timestamp": "", **(more or {})}
    protocol, transport = to.connect()
    protocol.dataReceived(json.dumps(message).encode() + b"\n")
    return transport.take().removesuffix(b"\n")


class LengthTests(SynchronousTestCase):
    """The page's figures."""

    def test_start(self) -> None:
        """START is as long as the page says, whole and with a limit."""
        whole, one = (len(reply(network(36), "START", limit=limit)) for limit in (36, 1))
        self.assertEqual(whole, figure(r"shipped network of 36 stations is ([\d,]+) bytes"))
        self.assertGreater(whole, LineReceiver.MAX_LENGTH)
        more = ',"total_stations":36,"truncated":true'
        each = (whole - one + len(more)) / 35
        self.assertEqual(round(each), figure(r"of the stations shipped: (\d+) in all"))
        ten_more = len(reply(network(46), "START"))
        self.assertEqual(ten_more, figure(r"with ten more it would be ([\d,]+)"))
        most = 36 + figure(r"with up to ([\d,]+) more it stays under 65,536")
        self.assertLess(len(reply(network(most), "START")), 65536)
        self.assertGreater(len(reply(network(most + 1), "START")), 65536)
        self.assertLess(
            len(reply(network(1000), "START")), figure(r"\(([\d,]+) bytes are enough for 1,000")
        )
        few = figure(r'with `"limit": 5` the reply is ([\d,]+) bytes')
        for size in (36, 300, 1000):
            self.assertLessEqual(abs(len(reply(network(size), "START", limit=5)) - few), 2)
        cars = shipped_network().catalogue().car_models
        self.assertEqual(
            len(json.dumps(cars, ensure_ascii=False, separators=(",", ":")).encode()),
            figure(r"the catalogue \(([\d,]+) as shipped\)"),
        )

    def test_start_at_most(self) -> None:
        """A station adds no more than the page says, whatever its figures are."""
        odd = 1.0000000000000002

        def start(*stations: Station, **data: object) -> int:
            storage = MemoryStorage({}, stations, {"t" * 36: parse_tariff(TARIFF)})
            return len(reply(MemoryServer(storage), "START", {"id": "\x00" * 128}, **data))

        def place(*kinds: EvseKind) -> Station:
            evses = [
                Evse(f"{number:036}", kind, "INOPERATIVE", "2026-11-25T12:00:00.123456Z")
                for number, kind in enumerate(kinds)
            ]
            return Station(
                2**31 - 1, "N" * 50, "A" * 60, -12.345678901234567 * odd, -138.45678901234567,
                1000, 1234.5678901234567, Decimal("1234.5678901234567"),
                own_evses=tuple(evses), tariff_id="t" * 36,
            )  # fmt: skip

        def plug(number: int) -> Connector:
            return Connector(
                f"{number}", "N" * 10, "S" * 20, None, "AC_2_PHASE_SPLIT", 1234.5678901234 + number
            )

        empty = start()
        self.assertLessEqual(empty, figure(r"\| START \| ([\d,]+),"))
        a_station, a_group, a_plug, an_evse = (
            figure(pattern)
            for pattern in (
                r"for each station (\d+) besides",
                r"for each group of its EVSEs (\d+)",
                r"for each connector in it (\d+) besides",
                r"for each EVSE (\d+)",
            )
        )
        lengths = {}
        for plugs in ((1,), (1, 2), (2, 1)):
            kinds = [EvseKind(tuple(map(plug, range(n)))) for n in plugs]
            texts = 50 + 60 + 10 + sum(plugs) * (10 + 20)
            bound = a_station + len(kinds) * a_group + sum(plugs) * a_plug + texts
            lengths[plugs] = start(place(*kinds)) - empty
            self.assertLessEqual(lengths[plugs], bound, plugs)
            named = start(place(*kinds), stations=[2**31 - 1]) - empty
            in_evses = len(plugs) * an_evse + sum(plugs) * (a_plug + 30)
            tariffs = len(',"tariffs":{}') + len(json.dumps({"t" * 36: {}}))
            self.assertLessEqual(named, bound + in_evses + tariffs)
        # Not more than by what it says that they are short of it.
        self.assertGreater(lengths[(1,)], a_station + a_group + a_plug + 150 - 90)

    def test_others_at_most(self) -> None:
        """No other reply is longer than the page says, whatever is repeated in it."""
        name = "Posto " + "x" * 94
        plug = Connector("1", LONG_NAME, None, max_power_kw=49.12345678901234)
        evse = Evse(WIDE * 36, EvseKind((plug,), 49.12345678901234))
        station = Station(2**31 - 1, name, "", -12.3, -38.9, 1, own_evses=(evse,))
        others = [
            Station(
                2**31 - 2 - n, name, "", -12.345678901234567, -38.9123456789 - n / 7, 1,
                own_evses=(attrs.evolve(evse, uid=f"{n}" + WIDE * 35),),
            )
            for n in range(8)
        ]  # fmt: skip
        to = MemoryServer(MemoryStorage(CARS, [station, *others]))
        few = MemoryServer(MemoryStorage(CARS, [Station(1, name, "", -12.3, -38.9, 1)]))
        user = login(to, 99.87654321012345)
        more = {"id": "\x00" * 128}
        long = WIDE * 200
        place = {"latitude": -12.3, "longitude": -38.87654321}
        chosen = reply(to, "SELECTION_STATION", more, user_id=user, position=place)
        self.assertEqual(len(json.loads(chosen)["data"]["alternatives"]), 4)
        most = figure(r"\| SELECTION_STATION \| ([\d,]+)")
        self.assertLessEqual(len(chosen) - len(name) - 6 * len(LONG_NAME.encode()), most)
        paid = {"user_id": user, "id_station": station.key, "confirmation": True}
        held = reply(to, "PAYMENT", more, **paid)
        self.assertIn(LONG_NAME.encode(), held)
        bound = figure(r"\| every other one \| ([\d,]+)")
        self.assertLessEqual(len(held) - 2 * len(LONG_NAME.encode()), bound)
        replies = [
            reply(to, "PAYMENT", more, **{**paid, "id_station": others[0].key}),
            reply(to, "PAYMENT", more, **{**paid, "user_id": long, "id_station": long}),
            reply(to, "PAYMENT", more, user_id=long, id_station=long, confirmation=1),
            reply(to, "LOGIN", more, user_name="A", selected_car="Small", battery_car=1),
            reply(to, "LOGIN", more, user_name="", selected_car="Small", battery_car=1),
            reply(to, "NAVIGATION", more, user_id=user, route_distance=1.2345678901234567e300),
            reply(to, "NAVIGATION", more, user_id=user, route_distance=123456789012345.67),
            reply(to, "SELECTION_STATION", more, user_id=long, list_stations={}),
            reply(to, "SELECTION_STATION", more, user_id=long, list_stations={"\x00" * 999: {}}),
            reply(to, long, more),
            reply(to, long, {**more, "status": 1, '"' + long + "\x00": 0, "id": True}),
            reply(few, "START", {**more, "\x00" * 999: float("1e200")}),
        ]
        huge = json.dumps({"type": long, "\x00" * 999: 7, **more}).replace(": 7", f": {LONG}")
        for line in (huge, '{"type”: "' + "x" * 1000 + "“", "x" * 60000, "\x01", "[[", "{\u202e}"):
            protocol, transport = to.connect()
            protocol.dataReceived(line.encode() + b"\n")
            replies.append(transport.take())
        for each in replies:
            self.assertLessEqual(len(each), bound, each)

    def test_receipts_at_most(self) -> None:
        """Nor is a receipt, wherever it stands, and nor is what is said of a session."""
        name, more = "Posto " + WIDE * 94, {"id": "\x00" * 128}
        plug = Connector("1", LONG_NAME, None, max_power_kw=49.12345678901234)
        evse = Evse(WIDE * 36, EvseKind((plug,), 49.12345678901234))
        tariff = parse_tariff(RICH)
        at = Station(2**31 - 1, name, "", -12.3, -38.9, 1, own_evses=(evse,), tariff_id="t")
        to = MemoryServer(MemoryStorage(CARS, [at], {"t": tariff}), time_scale=7.3)
        texts = len(name.encode()) + len(LONG_NAME.encode())
        other = figure(r"\| every other one \| ([\d,]+)")
        user, waits = (login(to, 9.87654321012345, driver_id=DRIVER) for _ in range(2))
        mine = {"user_id": user, "id_station": at.key}
        for kind, data in (
            ("RESERVE", {**mine, "arrival_minutes": 11.23456789012345}),
            ("RESERVE", {"user_id": waits, "id_station": at.key, "wait": True}),
            ("STATUS", mine),
            ("STATUS", {"user_id": waits}),
            ("STOP", mine),
            ("ARRIVE", {"user_id": WIDE * 200, "id_station": at.key, "id_evse": WIDE * 200}),
            ("ARRIVE", {**mine, "arrival_percent": 1.2345678901234}),
            ("STATUS", mine),
            ("STOP", {**mine, "leave": False}),
            ("STATUS", mine),
        ):
            told = reply(to, kind, more, **data)
            self.assertLessEqual(len(told) - texts, other, told)
            to.advance(1.2345678901234)
        receipt_id = json.loads(told)["data"]["receipt_id"]
        receipt, line = (
            figure(rf"\| RECEIPT, STOP, CANCEL, and HISTORY .*?{words} ([\d,]+)")
            for words in (r"\|", "bill")
        )
        whole = receipt + texts + len(json.dumps(RICH))
        for kind, data in (
            ("RECEIPT", {"receipt_id": receipt_id}),
            ("STOP", {**mine, "receipt_id": receipt_id}),
            ("HISTORY", {"driver_id": DRIVER}),
        ):
            told = reply(to, kind, more, **data)
            found = json.loads(told)["data"]
            found = found["receipts"][0] if kind == "HISTORY" else found
            self.assertEqual(len(found["lines"]), 7)
            self.assertLessEqual(len(told), whole + 7 * line, told)


class LimitTests(SynchronousTestCase):
    """Clients of which the defaults are small, and a network that is large."""

    def setUp(self) -> None:
        self.server = network(300)

    def test_twisted(self) -> None:
        """Twisted's LineReceiver gets the whole of what it asked for with a limit."""
        for data, fits in (({"limit": 5}, True), ({}, False)):
            lines: list[bytes] = []
            receiver = LineReceiver()
            receiver.delimiter = b"\n"
            receiver.lineReceived = lines.append
            receiver.lineLengthExceeded = lambda line: None
            receiver.dataReceived(reply(self.server, "START", **data) + b"\n")
            self.assertEqual(len(lines), fits)

    def test_asyncio(self) -> None:
        """So does asyncio's reader."""

        async def read(data: dict) -> bytes:
            reader = asyncio.StreamReader()
            reader.feed_data(reply(self.server, "START", **data) + b"\n")
            return await reader.readline()

        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        stations = json.loads(loop.run_until_complete(read({"limit": 5})))["data"]
        self.assertEqual(len(stations["station_models"]), 5)
        with self.assertRaises(ValueError):
            loop.run_until_complete(read({}))
