"""Two networks beside one another: what is new, changed, gone and unchanged."""

from decimal import Decimal

import attrs
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets import parse_stations
from evcharge.datasets.difference import (
    Change,
    difference,
    station_fields,
    wanted_stations,
)
from evcharge.models.network import StationRecord
from evcharge.models.station import Station
from tests.support.examples import given

HEADER = "id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos"
SEVEN = Station(7, "A", "Rua", -12.3, -38.9, 2, 7.4, Decimal("1.950"), ("Type 2",))
THERE = {7: StationRecord(SEVEN, True, {"telefone": "0800"})}

RECORDS = st.dictionaries(
    st.integers(0, 4), st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 2))
)


class DifferenceTests(SynchronousTestCase):
    """Records of any kind."""

    def test_kinds(self) -> None:
        """Each record is of one kind, and each field that differs is named."""
        found = difference(
            {1: {"a": 1, "b": True}, 2: {"a": 1}, 3: {}},
            {2: {"a": 1.0, "c": None}, 1: {"a": 2, "b": 1, "c": "x"}, 4: {"a": 1}},
        )
        self.assertEqual((found.new, found.gone, found.unchanged), ([4], [3], [2]))
        self.assertEqual(
            found.changed, {1: [Change("a", 1, 2), Change("b", True, 1), Change("c", None, "x")]}
        )
        self.assertEqual(str(found.changed[1][2]), "c: - -> x")

    @given(RECORDS, RECORDS)
    def test_whole(self, there: dict, wanted: dict) -> None:
        """It says all that it takes to make the one of the other, and nothing of what is equal."""
        found = difference(there, wanted)
        made = {key: dict(fields) for key, fields in there.items() if key not in found.gone}
        made.update({key: wanted[key] for key in found.new})
        for key, changes in found.changed.items():
            for change in changes:
                self.assertEqual(made[key].get(change.field), change.before)
                made[key] = {**made[key], change.field: change.after}

        def known(records: dict) -> dict:
            return {k: {n: v for n, v in r.items() if v is not None} for k, r in records.items()}

        self.assertEqual(known(made), known(wanted))
        self.assertEqual(known(difference(wanted, wanted).changed), {})
        places = [*found.new, *found.changed, *found.gone, *found.unchanged]
        self.assertEqual(sorted(places), sorted(there.keys() | wanted.keys()))


class StationTests(SynchronousTestCase):
    """Stations as a file has them."""

    def wanted(self, rows: str, there: dict[int, StationRecord] = THERE) -> list[str]:
        """What a file changes, field by field."""
        found = wanted_stations(parse_stations(rows.encode(), "x.csv"), True, there)
        before = {key: station_fields(record) for key, record in there.items()}
        after = {key: station_fields(record) for key, record in found.items()}
        changes = difference(before, after).changed.values()
        return [str(change) for each in changes for change in each]

    def test_columns_that_lack(self) -> None:
        """A column that a file lacks says nothing; an empty cell says that there is none."""
        row = "7;A;Rua;-12.3;-38.9;2"
        self.assertEqual(self.wanted(f"{HEADER}\n{row}\n"), [])
        self.assertEqual(self.wanted(f"{HEADER};precoKWh\n{row};1,95\n"), [])
        self.assertEqual(self.wanted(f"{HEADER};precoKWh\n{row};\n"), ["precoKWh: 1.950 -> -"])
        self.assertEqual(
            self.wanted(f"{HEADER};precoKWh;potenciaKW;telefone;conectores\n{row};2.1;;;CCS2\n"),
            [
                "potenciaKW: 7.4 -> -",
                "precoKWh: 1.950 -> 2.1",
                "conectores: Type 2 -> CCS2",
                "telefone: 0800 -> -",
            ],
        )

    def test_slots(self) -> None:
        """Numbers of slots that no file can say are not taken for others."""
        row = "7;A;Rua;-12.3;-38.9;"
        for there, said, expected in (
            (2, 3, ["quantidadeDeVeiculosSimultaneos: 2 -> 3"]),
            (0, 1, []),
            (0, 2, ["quantidadeDeVeiculosSimultaneos: 0 -> 2"]),
            (1001, 1000, []),
        ):
            record = attrs.evolve(THERE[7], station=attrs.evolve(SEVEN, max_slots=there))
            self.assertEqual(self.wanted(f"{HEADER}\n{row}{said}\n", {7: record}), expected)

    def test_wrong_row(self) -> None:
        """What is known of a wrong row is its cells."""
        wrong = StationRecord(SEVEN, False, {"id": "7", "nomeDoPosto": "A", "latitude": "x"})
        changed = self.wanted(f"{HEADER}\n7;A;Rua;-12.3;-38.9;2\n", {7: wrong})
        self.assertIn("latitude: x -> -12.3", changed)
        self.assertIn("in service: no -> yes", changed)
