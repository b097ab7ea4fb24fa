"""EVSEs and tariffs as files have them: what is read, refused and written."""

import json
import re
from datetime import datetime
from importlib import resources
from zoneinfo import ZoneInfo

from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets import DatasetError, parse_car_models
from evcharge.datasets.evses import evse_facts, parse_evses, read_evses
from evcharge.datasets.tariffs import parse_tariffs, read_tariffs
from evcharge.models.tariffs import Segment, price
from tests.support.servers import ROOT

CONNECTOR = {"id": "1", "standard": "IEC_62196_T2_COMBO"}
DATA = resources.files("evcharge") / "data"


def evses(**stations: object) -> bytes:
    return json.dumps({name.removeprefix("s"): value for name, value in stations.items()}).encode()


class EvseTests(SynchronousTestCase):
    """`evses.json`."""

    def problems(self, content: bytes) -> list[str]:
        return self.assertRaises(DatasetError, parse_evses, content, "evses.json").problems

    def test_shipped(self) -> None:
        """The shipped ones are those of the shipped stations, and are written as they are read."""
        content = (DATA / "evses.json").read_bytes()
        rows = parse_evses(content, "evses.json")
        self.assertEqual(list(rows.evses), list(range(1, 37)))
        for station_id, found in rows.evses.items():
            facts = [evse_facts(evse) for evse in found]
            self.assertEqual(facts, json.loads(content)[str(station_id)])

    def test_whole(self) -> None:
        """Every field is read; power also from volts and amperes, a standard also from a name."""
        one = {
            "uid": "7-A",
            "connectors": [
                {"id": "1", "name": "mennekes", "power_type": "AC_3_PHASE", "max_voltage": 230,
                 "max_amperage": 32, "format": "SOCKET", "tariff_ids": ["rapida"]},
                {"id": "2", "standard": "IEC_60309_2_three_32"},
            ],
            "status": "OUTOFORDER", "since": "2026-11-25T12:00:00Z", "reason": "cabo cortado",
            "physical_reference": "A",
        }  # fmt: skip
        rows = parse_evses(evses(s7=[one]), "evses.json")
        (evse,) = rows.evses[7]
        first, second = evse.kind.connectors
        self.assertEqual((first.standard, first.name), ("IEC_62196_T2", "mennekes"))
        self.assertAlmostEqual(first.max_power_kw or 0, 22.08)
        self.assertEqual((first.tariff_ids, first.is_dc), (("rapida",), False))
        self.assertEqual((second.standard, second.is_dc), ("IEC_60309_2_three_32", False))
        self.assertFalse(evse.in_service)
        again = parse_evses(evses(s7=[evse_facts(evse)]), "evses.json")
        self.assertEqual(again.evses, rows.evses)

    def test_others(self) -> None:
        """Fields that evcharge has no use for are kept, in their place; volts and amperes too."""
        one = {
            "uid": "7-A",
            "connectors": [
                {"id": "1", "standard": "CHADEMO", "x": {"y": [None]}},
                {"id": "2", "standard": "IEC_62196_T2", "max_voltage": 230, "max_amperage": 32},
                {"id": "3", "standard": "IEC_62196_T2"},
            ],
            "serial": "",
            "capabilities": ["RFID_READER"],
            "note": None,
        }
        (evse,) = parse_evses(evses(s7=[one]), "evses.json").evses[7]
        self.assertEqual(evse_facts(evse), one)
        (other,) = parse_evses(evses(s7=[{**one, "serial": "1"}]), "evses.json").evses[7]
        self.assertNotEqual(evse, other)
        self.assertIs(evse.kind, other.kind)

    def test_mistakes(self) -> None:
        """All are named at once, by object and field."""
        content = evses(
            s7=[
                {"uid": "7-A", "connectors": [{**CONNECTOR, "power_type": "AC"}], "status": "BUSY"},
                {"uid": "7-B", "connectors": []},
                {"connectors": [CONNECTOR, CONNECTOR], "max_power_kw": "150", "since": "hoje"},
                {"uid": "7-B" * 20, "connectors": [{"id": "1"}]},
                7,
            ],
            s8={},
            sx=[],
        )
        self.assertEqual(
            self.problems(content),
            [
                'evses.json: "7-A": connectors[0].power_type: must be one of AC_1_PHASE, '
                'AC_2_PHASE, AC_2_PHASE_SPLIT, AC_3_PHASE, DC, not "AC"',
                'evses.json: "7-A": status: must be one of IN_SERVICE, INOPERATIVE, OUTOFORDER, '
                'PLANNED, REMOVED, UNKNOWN, not "BUSY"',
                'evses.json: "7-B": connectors: must be a list of 1 to 20 connectors, not a list',
                'evses.json: "7": [2]: uid: is missing',
                'evses.json: "7": [2]: connectors[1].id: the EVSE has two that are called so',
                'evses.json: "7": [2]: max_power_kw: must be a number over 0, up to 10000, '
                'not "150"',
                'evses.json: "7": [2]: since: must be a time in UTC such as 2026-11-25T12:00:00Z, '
                'not "hoje"',
                f'evses.json: "{"7-B" * 19}7-…: uid: must be text of 1 to 36 characters, '
                f'not "{"7-B" * 18}7-…',
                f'evses.json: "{"7-B" * 19}7-…: connectors[0]: has neither a standard nor a name',
                'evses.json: "7": [4]: must be an object',
                'evses.json: "8": must be a list of 1 to 1000 EVSEs',
                "evses.json: 'x': is no id of a station",
            ],
        )

    def test_standard(self) -> None:
        """A standard is one of OCPI's, or null where nobody knows it."""
        one = {"id": "1", "power_type": "DC"}
        mixed = {"id": "2", "standard": "IEC_62196_T2_COMB0"}
        self.assertEqual(
            self.problems(evses(s7=[{"uid": "A", "connectors": [one, mixed]}])),
            [
                'evses.json: "A": connectors[0]: has neither a standard nor a name',
                'evses.json: "A": connectors[1].standard: must be a ConnectorType of OCPI 2.2.1, '
                'such as IEC_62196_T2, or null, not "IEC_62196_T2_COMB0"',
            ],
        )
        for power_type, name in (("DC", "DC"), ("AC_2_PHASE", "AC"), (None, "?")):
            one = {"id": "1", "standard": None, "power_type": power_type}
            content = evses(s7=[{"uid": "A", "connectors": [one]}])
            (evse,) = parse_evses(content, "evses.json").evses[7]
            self.assertEqual(evse.kind.connectors[0].name, name)
            again = parse_evses(evses(s7=[evse_facts(evse)]), "evses.json")
            self.assertEqual(again.evses[7], (evse,))

    def test_twice(self) -> None:
        """No two EVSEs of a network are called the same."""
        one = {"uid": "A", "connectors": [CONNECTOR]}
        self.assertEqual(
            self.problems(evses(s7=[one, one])),
            ['evses.json: "A": uid: the station has two that are called so'],
        )
        self.assertEqual(
            self.problems(evses(s7=[one], s8=[one])),
            ['evses.json: "A": uid: station 7 has one that is called so'],
        )

    def test_null(self) -> None:
        """What is null is not there: a connector whose tariffs are null has none."""
        nothing = dict.fromkeys(("tariff_ids", "format", "power_type", "max_power_kw", "name"))
        one = {"uid": "A", "connectors": [{**CONNECTOR, **nothing}], "status": None, "since": None}
        (evse,) = parse_evses(evses(s7=[one]), "evses.json").evses[7]
        (connector,) = evse.kind.connectors
        self.assertEqual((connector.tariff_ids, connector.name), ((), "CCS2"))
        self.assertTrue(evse.in_service)

    def test_unwritable(self) -> None:
        """What could not be written again is refused, and no name moves a cursor."""
        deep: list = []
        for _ in range(70):
            deep = [deep]
        one = {"uid": "A", "connectors": [CONNECTOR]}
        for more, why in (
            ({"uid": "\n" * 99}, repr('"' + "\n" * 59 + "…")),
            ({"x": deep}, '"A": is nested more than 64 levels deep'),
            ({"x": "\ud800"}, '"A": has text that is not Unicode'),
        ):
            (problem,) = self.problems(evses(s7=[{**one, **more}]))
            self.assertTrue(problem.startswith(f"evses.json: {why}"), problem)

    def test_no_object(self) -> None:
        """What is no object of JSON is refused as a whole."""
        for content, why in (
            (b"[]", "must be a JSON object keyed by station id"),
            (b"{", "not JSON: "),
            (b"\xff", "not JSON: "),
            (b"[" * 100_000, "not JSON: nested too deeply"),
        ):
            self.assertIn(f"evses.json: {why}", self.problems(content)[0])

    def test_only_theirs(self) -> None:
        """In what a network has already, a mistake costs the station that has it."""
        rows = read_evses(
            evses(s7=[{"uid": "7-A"}], s8=[{"uid": "8-A", "connectors": [CONNECTOR]}]), "evses.json"
        )
        self.assertEqual(list(rows.evses), [8])
        self.assertEqual(rows.wrong, {7: 'evses.json: "7-A": connectors: is missing'})


class TariffTests(SynchronousTestCase):
    """`tariffs.json`."""

    ELEMENT = {"price_components": [{"type": "ENERGY", "price": 0.1, "step_size": 1}]}  # noqa: RUF012

    def test_shipped(self) -> None:
        """The shipped ones can be used."""
        rows = parse_tariffs((DATA / "tariffs.json").read_bytes(), "tariffs.json")
        self.assertEqual(list(rows.tariffs), ["estrada", "noite"])
        begin = datetime(2026, 11, 25, 21, 50, tzinfo=ZoneInfo("America/Bahia")).timestamp()
        session = [
            Segment("charging", begin, 1200.0, 20.0, 60.0, 60.0),
            Segment("idle", begin + 1200, 600.0),
        ]
        # 10 kWh before ten o'clock and 10 after it; and ten minutes at R$ 30.00 an hour.
        for tariff_id, total in (("estrada", "60.80"), ("noite", "51.00")):
            bill = price(rows.tariffs[tariff_id], session, ZoneInfo("America/Bahia"))
            self.assertEqual(str(bill.incl_vat), total)

    def test_exact(self) -> None:
        """Prices are what their text says, and the object stays as programs write it."""
        text = json.dumps([{"id": "a", "currency": "BRL", "elements": [self.ELEMENT], "x": 1}])
        (tariff,) = parse_tariffs(text.encode(), "tariffs.json").tariffs.values()
        (component,) = tariff.elements[0].components
        self.assertEqual(component.price, component.price.__class__(1, 10))
        self.assertEqual([tariff.body], json.loads(text))

    def test_mistakes(self) -> None:
        """All are named at once, by tariff and field; the others can be used."""
        good = {"id": "good", "currency": "BRL", "elements": [self.ELEMENT]}
        late = {**self.ELEMENT, "restrictions": {"start_time": "24:00"}}
        content = json.dumps(
            [
                good,
                {**good, "id": "noite", "elements": [self.ELEMENT, self.ELEMENT, late]},
                {**good, "id": "euro", "currency": "EUR"},
                {**good, "id": "twice"},
                {**good, "id": "twice"},
                {"currency": "BRL", "elements": [self.ELEMENT]},
                5,
            ]
        ).encode()
        problems = self.assertRaises(DatasetError, parse_tariffs, content, "tariffs.json").problems
        self.assertEqual(
            problems,
            [
                'tariffs.json: "noite": elements[2].restrictions.start_time: must be HH:MM, '
                'not "24:00"',
                'tariffs.json: "euro": currency: must be BRL, not "EUR"',
                'tariffs.json: "twice": id: two tariffs are called so',
                "tariffs.json: [5]: id: is missing",
                "tariffs.json: [6]: must be an object, not 5",
            ],
        )
        rows = read_tariffs(content, "tariffs.json")
        self.assertEqual(list(rows.tariffs), ["good"])
        self.assertEqual(list(rows.wrong), ["noite", "euro", "twice"])

    def test_unwritable(self) -> None:
        """What START could not send is refused, whatever else is wrong with it."""
        deep: list = []
        for _ in range(70):
            deep = [deep]
        tariff = {"id": "a", "currency": "EUR", "elements": []}
        for more, why in (
            (deep, "is nested more than 64 levels deep"),
            ("\ud800", "has text that is not Unicode"),
        ):
            content = json.dumps([{**tariff, "x": more}]).encode()
            error = self.assertRaises(DatasetError, parse_tariffs, content, "tariffs.json")
            self.assertEqual(
                error.problems,
                [
                    'tariffs.json: "a": elements: must be a list of one element or more, '
                    "not a list",
                    'tariffs.json: "a": currency: must be BRL, not "EUR"',
                    f'tariffs.json: "a": {why}',
                ],
            )

    def test_no_list(self) -> None:
        """What is no list of JSON is refused as a whole."""
        error = self.assertRaises(DatasetError, parse_tariffs, b"{}", "tariffs.json")
        self.assertEqual(
            error.problems, ["tariffs.json: must be a JSON list of OCPI Tariff objects"]
        )


class PageTests(SynchronousTestCase):
    """docs/operation/stations.md."""

    def test_examples(self) -> None:
        """The files that it shows can be read."""
        page = (ROOT / "docs" / "operation" / "stations.md").read_text()
        shown = [block.encode() for block in re.findall(r"```json\n(.*?)```", page, re.S)]
        evses, tariffs, cars = shown
        self.assertEqual([len(found) for found in parse_evses(evses, "").evses.values()], [2])
        self.assertEqual(list(parse_tariffs(tariffs, "").tariffs), ["noite"])
        self.assertEqual(list(parse_car_models(cars, "")), ["Nissan Leaf"])
