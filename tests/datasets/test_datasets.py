"""The data sets as people write them: what is read, what is doubted, and what is refused where."""

import csv
import io
import json
import re
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets import (
    COLUMNS,
    OPTIONAL_COLUMNS,
    DatasetError,
    StationRows,
    check_car_models,
    listed,
    merge_car_models,
    merge_stations,
    parse_car_models,
    parse_stations,
    read_car_models,
    read_stations,
    station_csv,
)
from evcharge.datasets.files import CARS, STATIONS, shipped
from evcharge.datasets.stations import MIDDLE
from evcharge.datasets.tables import NotANumber, read_number, read_table
from evcharge.models.connectors import connector_kind, connector_names, shown_connectors
from evcharge.models.electric_car import CarModel
from evcharge.models.station import Station
from tests.support.examples import given
from tests.support.servers import ROOT

HEADER = ";".join((*COLUMNS, *OPTIONAL_COLUMNS))
GOOD = "7;Praça;Rua A;-12.25;-38.95;4;22;1.45;Type 2"


def rows(*lines: str, header: str = HEADER) -> StationRows:
    """What a network makes of these lines."""
    return read_stations("\n".join((header, *lines, "")).encode(), "x.csv")


def refused(content: bytes | str) -> list[str]:
    """What is said of stations that are not taken in."""
    data = content if isinstance(content, bytes) else content.encode()
    try:
        parse_stations(data, "x.csv")
    except DatasetError as error:
        return error.problems
    return []


class TableTests(SynchronousTestCase):
    """Bytes to cells, and where each stands."""

    def the(self, content: bytes) -> Station:
        (station,) = parse_stations(content, "x.csv").stations.values()
        return station

    def test_encodings(self) -> None:
        """UTF-8 and UTF-16 with their marks and without; what is neither is Windows-1252."""
        text = f"{HEADER}\n{GOOD}\n"
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
            read = parse_stations(text.encode(encoding), "x.csv")
            self.assertEqual(read.stations[7].name, "Praça", encoding)
            self.assertEqual(bool(read.doubts), encoding == "cp1252")
        (doubt,) = read.doubts
        self.assertIn("is not UTF-8 (line 1, character 22); read as Windows-1252", doubt)
        for mark in ("utf-16-le", "utf-16-be"):
            content = "\ufeff".encode(mark) + text.encode(mark)
            self.assertEqual(self.the(content).name, "Praça")
        self.assertIn("is not UTF-16", refused("\ufeff".encode("utf-16-le") + b"\0\xd8")[0])

    def test_damaged_byte(self) -> None:
        """One damaged byte costs its row, not the accents of all others."""
        content = f"{HEADER}\n{GOOD}\n8;Paço X;R;-12.2;-38.9;1;;;\n".encode()
        content = content.replace(b"X", b"\xe7")
        read = read_stations(content, "x.csv")
        self.assertEqual([s.name for s in read.stations.values()], ["Praça"])
        self.assertIn("line 3, column nomeDoPosto: has bytes that are not text", read.problems[0])
        # It is kept to the byte, wherever it goes.
        merged = merge_stations(read, rows("9;C;R;-12.2;-38.9;1;;;"))
        self.assertIn("Paço ".encode() + b"\xe7", merged)
        self.assertEqual(len(read_stations(merged, "x.csv").wrong), 1)
        self.assertEqual(len(refused(content)), 1)
        # So it is where the header has nothing that would tell the encoding.
        content = content.replace("endereço".encode(), b"endereco")
        self.assertEqual(read_stations(content, "x.csv").stations[7].name, "Praça")
        content = content.decode("utf-8", "surrogateescape").encode("cp1252", "surrogateescape")
        read = read_stations(content, "x.csv")
        self.assertEqual([s.name for s in read.stations.values()], ["Praça", "Paço ç"])

    def test_separators(self) -> None:
        """The separator is the one that the header is written with, or that a first line names."""
        for separator in ";,\t|":
            lines = [HEADER, GOOD, "8;B;R;-12.2;-38.9;1;;;"]
            content = "\n".join(line.replace(";", separator) for line in lines)
            self.assertEqual(len(parse_stations(content.encode(), "x").stations), 2, separator)
        for first in ("sep=;", '"sep=;"', "SEP=;", "\ufeffsep=;"):
            self.assertEqual(self.the(f"{first}\r\n{HEADER}\r\n{GOOD}".encode()).name, "Praça")
        self.assertEqual(refused(f"sep=,\n{HEADER}\n{GOOD}")[0],
                         "x.csv: line 2: has none of the columns id, nomeDoPosto, endereço, "
                         "latitude, longitude, quantidadeDeVeiculosSimultaneos; is ',' what "
                         "separates them? It can be ';', ',', a tab or '|'")  # fmt: skip
        colon = f"sep=:\n{HEADER}\n{GOOD}".replace(";", ":")
        self.assertEqual(self.the(colon.encode()).name, "Praça")

    def test_line_ends(self) -> None:
        """Lines end in any way; what is inside quotes stays."""
        for end in ("\n", "\r\n", "\r"):
            content = end.join((HEADER, "", GOOD, ";;;;;;;;", '8;"a\rb";R;-12.2;-38.9;1;;;', ""))
            read = parse_stations(content.encode(), "x.csv")
            self.assertEqual([s.name for s in read.stations.values()], ["Praça", "a\rb"])

    def test_places(self) -> None:
        """A wrong cell is named by the line where it begins, and its character there."""
        content = f'{HEADER}\n\n7;"a\r\nb";"c\nd""";x;-38.9;1\n8;B;R;-12.2;y;1;;;\n'
        self.assertEqual(refused(content), [
            "x.csv: line 5, column latitude: 'x' is not a number, at character 6",
            "x.csv: line 6, column longitude: 'y' is not a number, at character 13",
        ])  # fmt: skip
        (wrong,) = refused(f'{HEADER}\n7;A;R;"\nz";-38.9;1;;;')
        self.assertIn("line 2, column latitude: 'z' is not a number, at character 7", wrong)

    @settings(deadline=None)
    @given(
        st.lists(
            st.lists(st.text(st.sampled_from('a;"\n\r,x '), max_size=5), min_size=9, max_size=9),
            max_size=4,
        )
    )
    def test_any_cells(self, cells: list[list[str]]) -> None:
        """Whatever csv writes is read the same, and each cell is where its place says."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
        writer.writerow(HEADER.split(";"))
        writer.writerows(cells)
        # What csv leaves unquoted would be the end of a line here.
        content = text.getvalue()
        table = read_table(content.encode(), lambda name: name in HEADER)
        found = [row.cells for row in table.rows]
        self.assertEqual(found, [c for c in cells if any(cell.strip(" ;,") for cell in c)])
        lines = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for row in table.rows:
            for number, cell in enumerate(row.cells):
                line, character = row.place(number)
                rest = lines[line - 1][character - 1 :]
                start = cell.replace("\r\n", "\n").replace("\r", "\n").partition("\n")[0]
                # It is quoted there, or it is not.
                self.assertTrue(
                    rest.startswith((start, '"' + start.replace('"', '""'))), (row, number)
                )

    def test_quotes(self) -> None:
        """Quotes that make no sense cost their own line alone, and say where they open."""
        for line, character in (
            ('8;"Bar;R;-12.2;-38.9;1;;;', 3),
            ('8;"Bar" do Zé;R;-12.2;-38.9;1;;;', 3),
            ('8;B;"R"" ;-12.2;-38.9;1;;;', 5),
        ):
            read = rows(line, GOOD, '9;"B";R;-12.2;-38.9;1;;;')
            self.assertEqual(list(read.stations), [7, 9])
            self.assertEqual(read.problems, [
                "x.csv: line 2: the quotes that open here do not close at the end of a cell, "
                f"at character {character}"
            ])  # fmt: skip
        # Some make sense, and take in the rows of others.
        read = rows('8;"B;R;-12.2;-38.9;1;;;', '9;C";R;-12.2;-38.9;1;;;', GOOD)
        self.assertEqual(read.doubts, ["x.csv: line 2: its quotes go on to line 3"])
        read = rows('8;B;"R;-12.2;-38.9;1;;;', '9;C";R;-12.2;-38.9', GOOD)
        self.assertEqual(list(read.stations), [7])
        self.assertIn("x.csv: line 2: its quotes go on to line 3", read.problems)
        read = rows('8;"B', 'C";R', GOOD)
        self.assertIn("x.csv: line 2: its quotes go on to line 3", read.problems)
        # Where they do not begin a cell they are part of it.
        self.assertEqual(rows('8;Bar "X";R;-12.2;-38.9;1;;;').stations[8].name, 'Bar "X"')
        self.assertEqual(rows('8; "B;C" ;R;-12.2;-38.9;1;;;').stations[8].name, "B;C")

    def test_no_table(self) -> None:
        """What is no table says what it is."""
        for content, words in (
            (b"PK\3\4...", "is an Excel workbook: save it as CSV"),
            (b"\xd0\xcf\x11\xe0...", "is an Excel workbook"),
            (b"", "is empty"),
            (b"\n;;\n", "is empty"),
            (b"sep=;", "is empty"),
            (b'"id', "line 1: the quotes that open here"),
            (b"Relat\xf3rio\n", "line 1: has none of the columns id, "),
        ):
            self.assertIn(words, "; ".join(refused(content)))


class NumberTests(SynchronousTestCase):
    """Numbers as people write them."""

    def test_read(self) -> None:
        """Units, commas, minus signs and spaces of any kind are understood."""
        for text, plain in (
            ("-12.2664", "-12.2664"),
            ("-12,2664", "-12.2664"),
            ("−12,2664", "-12.2664"),
            ("– 12,2664", "-12.2664"),
            ("R$ 1,95", "1.95"),
            ("R$\xa01,95 / kWh", "1.95"),
            ("7,4 kW", "7.4"),
            ("7.4kw", "7.4"),
            ("1.950,5", "1950.5"),
            ("1,950.5", "1950.5"),
            ("1.234.567,5", "1234567.5"),
            ("1 950,5", "1950.5"),
            ("1\u202f950", "1950"),
            ("1e3", "1e3"),
            ("+.5", "+.5"),
        ):
            number = read_number(text, False)
            self.assertEqual((number.plain, number.words), (plain, ""), text)

    def test_not_read(self) -> None:
        """What could be one of two things is none."""
        for text in ("abc", "", "-", ",", "1,2,3", "1.2.3", "1.2,3,4", "2 3", "12°", "22;5", "nan",
                     "1e999", "12.5x", "1" * 201, "12 34 567", "R$"):  # fmt: skip
            self.assertRaises(NotANumber, read_number, text, False)
        error = self.assertRaises(NotANumber, read_number, "-12.266.400", False)
        self.assertEqual(error.why, "the spreadsheet took the point for thousands")
        self.assertEqual(error.otherwise, "-12.266400")

    def test_thousands(self) -> None:
        """Beside decimal commas, a point before three digits stands between thousands."""
        for text, plain in (("1.950", "1950"), ("-122.664", "-122664"), ("22.500 kW", "22500"),
                            ("0.950", "0.950"), ("1950.500", "1950.500"), ("1.95", "1.95"),
                            ("-12.2394", "-12.2394")):  # fmt: skip
            self.assertEqual(read_number(text, True).plain, plain)

    def test_words(self) -> None:
        """White space and words may follow."""
        for text, plain, words in (
            ("-38.9545 sometimes", "-38.9545", "sometimes"),
            ("-38,9545\t(à noite, 2 vezes)", "-38.9545", "(à noite, 2 vezes)"),
            ("22 kW DC", "22", "DC"),
        ):
            number = read_number(text, False)
            self.assertEqual((number.plain, number.words), (plain, words))
        for text in ("-38.9545sometimes", "sometimes -38.9545", "-38.9545 100"):
            self.assertRaises(NotANumber, read_number, text, False)


class StationTests(SynchronousTestCase):
    """Cells to stations."""

    def test_names(self) -> None:
        """Columns are known by what people call them."""
        header = "Código;NOME DO POSTO;Logradouro;Lat.;LNG;Vagas;Potência (kW);Preço (R$/kWh);Plugs"
        self.assertEqual(rows(GOOD, header=header).stations, rows(GOOD).stations)
        header = "id;name;address;lat;lon;slots;power_kw;price;connectors"
        self.assertEqual(rows(GOOD, header=header).stations, rows(GOOD).stations)
        # Decomposed accents, as one system's files have them.
        self.assertEqual(rows(GOOD, header=HEADER.replace("ç", "c\u0327")).stations,
                         rows(GOOD).stations)  # fmt: skip

    def test_two_of_one_meaning(self) -> None:
        """Two columns of one meaning are named; a network goes by the one that is called so."""
        header = f"{HEADER};Nome;nota"
        content = f"{header}\n{GOOD};B;n\n"
        what = "columns 'nomeDoPosto' and 'Nome' both mean nomeDoPosto"
        self.assertEqual(refused(content), [f"x.csv: line 1: {what}"])
        read = read_stations(content.encode(), "x.csv")
        self.assertEqual((read.stations[7].name, len(read.doubts)), ("Praça", 1))
        self.assertEqual((read.rows[7]["Nome"], read.rows[7]["nota"]), ("B", "n"))
        # What is written of it can be taken in again.
        again = parse_stations(merge_stations(read, read), "x.csv")
        self.assertEqual(again.stations, read.stations)
        header = HEADER.replace("nomeDoPosto", "Nome").replace("endereço", "Posto")
        self.assertRaises(DatasetError, rows, GOOD, header=header)

    def test_other_columns(self) -> None:
        """Columns that mean nothing here are kept, those without a name or with one twice too."""
        read = rows(f"{GOOD};a;b;c;SP;", header=f"{HEADER};Nota;nota;Nota;Estado;")
        self.assertEqual(list(read.rows[7].items())[-5:], [
            ("Nota", "a"), ("nota", "b"), ("Nota #2", "c"), ("uf", "SP"), ("#1", "")
        ])  # fmt: skip
        # In one file "UF", in another "Estado": together they are one column.
        more = rows("9;C;R;-12.2;-38.9;1;;;;BA", header=f"{HEADER};UF")
        merged = parse_stations(merge_stations(read, more), "x.csv")
        self.assertEqual([row["uf"] for row in merged.rows.values()], ["SP", "BA"])

    def test_bounds(self) -> None:
        """Each figure's least and most are taken, and what is beyond is not."""
        for place, name, good, bad in (
            (0, "id", ("0", "2147483647"), ("-1", "2147483648", "7.5")),
            (3, "latitude", ("-90", "90"), ("-90.1", "90.1")),
            (4, "longitude", ("-180", "180"), ("-180.1", "180.1")),
            (5, COLUMNS[5], ("1", "1000"), ("0", "1001", "1.5")),
            (6, "potenciaKW", ("0.1", "10000"), ("0.09", "10001")),
            (7, "precoKWh", ("0", "50", "50.00"), ("-0.01", "50.01")),
        ):
            for cell in (*good, *bad):
                cells = GOOD.split(";")
                cells[place] = cell
                problems = refused(f"{HEADER}\n{';'.join(cells)}\n")
                self.assertEqual(len(problems), cell in bad, (name, cell))
                self.assertTrue(all(f"column {name}: " in problem for problem in problems))

    def test_decimal_lost(self) -> None:
        """A figure that cannot be says what it may have been; nothing is put right by a guess."""
        header = "id;nome;endereco;lat;lon;vagas;preco"
        lines = ("1;X;R;-122.664;-389.663;2;1.950,00", "2;Y;R;-12.266.400;-38.966.300;2;2,5",
                 "3;Z;R;-122664;-389663;2;abc")  # fmt: skip
        problems = refused("\n".join((header, *lines)))
        lost = "the decimal point may have been lost"
        for number, words in enumerate((
            f"line 2, column lat: -122.664 is out of range (-90 to 90): {lost} (-12.2664?)",
            f"line 2, column lon: -389.663 is out of range (-180 to 180): {lost} (-38.9663?)",
            "line 2, column preco: 1.950,00 is out of range (0 to 50): it is BRL per kWh (1.95?)",
            "line 3, column lat: '-12.266.400' is not a number: the spreadsheet took the point for "
            "thousands (-12.2664?)",
            "line 3, column lon: '-38.966.300' is not a number",
            f"line 4, column lat: -122664 is out of range (-90 to 90): {lost} (-12.2664?)",
            f"line 4, column lon: -389663 is out of range (-180 to 180): {lost} (-38.9663?)",
            "line 4, column preco: 'abc' is not a number",
        )):  # fmt: skip
            self.assertIn(words, problems[number])
        self.assertEqual(len(problems), 8)
        self.assertEqual(len(rows(*lines, header=header).wrong), 3)

    def test_commas_elsewhere(self) -> None:
        """Commas in one column say what points in it mean; with ';' between cells, in all."""
        lines = ("1;A;R;-12,25;-38.950;2;22.000;", "2;B;R;-12,26;-38,9;2;22.5;")
        header = HEADER.rpartition(";")[0]
        problems = refused("\n".join((header, *lines)))
        self.assertEqual(len(problems), 2)
        self.assertIn("line 2, column longitude: -38.950 is out of range", problems[0])
        self.assertIn("(-38.95?)", problems[0])
        self.assertIn("line 2, column potenciaKW: 22.000 is out of range (0.1 to 10000) (22?)",
                      problems[1])  # fmt: skip
        quoted = "\n".join((header, *lines)).replace(",", "#").replace(";", ",")
        for cell in ("-12#25", "-12#26", "-38#9"):
            quoted = quoted.replace(cell, f'"{cell.replace("#", ",")}"')
        # Here the column of powers has no comma.
        (problem,) = refused(quoted)
        self.assertIn("line 2, column longitude", problem)

    def test_words(self) -> None:
        """Words behind a number: a doubt in a network's own rows, a mistake in what comes to it."""
        line = GOOD.replace("-38.95", "-38.9545 sometimes")
        read = rows(line)
        self.assertEqual(read.stations[7].longitude, -38.9545)
        self.assertEqual(read.doubts, [
            "x.csv: line 2, column longitude: '-38.9545 sometimes' is read as -38.9545, "
            "at character 22"
        ])  # fmt: skip
        self.assertEqual(read.problems, [])
        (problem,) = refused(f"{HEADER}\n{line}\n")
        self.assertIn("column longitude: '-38.9545 sometimes' is not a number", problem)

    def test_wrong_rows(self) -> None:
        """A wrong row costs its own station, and is kept with every cell of it."""
        read = rows(GOOD, "8;B;R;95;-38.9;3;;2,5;", "x;C;R;-12.2;-38.9;1;;;", "7;D;R;1;1;1;;;",
                    "9;E;R;-12.2;-38.9;1;;;;more;")  # fmt: skip
        self.assertEqual(list(read.stations), [7])
        self.assertEqual(len(read.problems), 4)
        self.assertIn("line 5, column id: 7 is on line 2 already", read.problems[2])
        self.assertIn("line 6, after the last column: 2 cells too many", read.problems[3])
        eight, x, seven, nine = read.wrong
        # As far as it can be read, so that who stands there owes what was agreed.
        self.assertEqual((eight.station.max_slots, eight.station.price_kwh), (3, Decimal("2.5")))
        self.assertEqual([x.station, seven.station], [None, None])
        self.assertEqual(list(read.known), [8, 9, 7])
        more = rows("8;new;R;-12.2;-38.9;1;;;", "10;J;R;-12.225;-38.9;1;;1.234;")
        merged = merge_stations(read, more)
        again = read_stations(merged, "x.csv")
        # The one that is there already is not taken in, whatever is wrong with it.
        self.assertEqual(list(again.stations), [7, 10])
        self.assertEqual(again.stations, {**read.stations, 10: more.stations[10]})
        self.assertEqual([row.cells for row in again.wrong],
                         [{**row.cells, **({"": "more;"} if row is nine else {})}
                          for row in read.wrong])  # fmt: skip
        self.assertEqual(len(again.problems), 4)

    def test_free(self) -> None:
        """What costs nothing is doubted."""
        read = rows(GOOD.replace("1.45", "0"))
        self.assertEqual(read.stations[7].price_kwh, 0)
        self.assertIn("column precoKWh: 0 means that charging is free", read.doubts[0])

    def test_many(self) -> None:
        """A long list of mistakes ends in their number."""
        problems = refused("\n".join((HEADER, *(f"{n};;R;x;1;1;;;" for n in range(30)))))
        self.assertEqual(len(problems), 60)
        self.assertEqual(len(listed(problems)), 21)
        self.assertEqual(listed(problems)[-1], "… and 40 more")
        self.assertEqual(listed(problems[:20]), problems[:20])
        self.assertEqual(str(DatasetError(problems)).count("x.csv"), 20)

    def test_none(self) -> None:
        """A header alone is no network."""
        self.assertEqual(refused(f"{HEADER}\n"), ["x.csv: has no station"])
        self.assertEqual(rows().problems, ["x.csv: has no station"])

    def test_shown(self) -> None:
        """What is shown of a cell is not all of it, and moves no cursor."""
        (problem,) = refused(f"{HEADER}\n{GOOD.replace('-12.25', chr(27) + 'x' * 999)}\n")
        self.assertNotIn("\x1b", problem)
        self.assertLess(len(problem), 200)

    def test_written(self) -> None:
        """What is written is read the same, beside rows that are wrong and have commas too."""
        read = rows(GOOD, "10;J;R;-12.225;-38.9;1;22.000;1.234;")
        columns = [*COLUMNS, *OPTIONAL_COLUMNS]
        for wrong in ([], [{"id": "x", "latitude": "-12,5"}]):
            written = station_csv(columns, read.rows.values(), wrong)
            self.assertEqual(read_stations(written, "x.csv").stations, read.stations)


class OutOfPlaceTests(SynchronousTestCase):
    """Stations that are not where one would look for them."""

    def places(self, *places: tuple[float, float]) -> StationRows:
        return rows(*(f"{100 + n};A;R;{lat};{lon};1;;;" for n, (lat, lon) in enumerate(places)))

    def test_middle(self) -> None:
        """The middle of the shipped network is that."""
        read = parse_stations(shipped(STATIONS), STATIONS)
        latitudes = sorted(s.latitude for s in read.stations.values())
        longitudes = sorted(s.longitude for s in read.stations.values())
        middle = len(latitudes) // 2
        self.assertEqual(len(latitudes) % 2, 0)
        for ours, found in zip(MIDDLE, (latitudes, longitudes), strict=True):
            self.assertAlmostEqual(ours, (found[middle - 1] + found[middle]) / 2, 4)
        self.assertEqual(read.out_of_place(), [])

    def test_alone(self) -> None:
        """A single one is looked for in the shipped network."""
        self.assertEqual(self.places((-12.9, -38.5)).out_of_place(), [])
        (doubt,) = self.places((-23.55, -46.63)).out_of_place()
        self.assertIn("line 2, columns latitude and longitude: -23.55, -46.63 is 1", doubt)
        self.assertIn(" km from the middle of Feira de Santana, at character 9", doubt)
        (doubt,) = self.places((-38.9602, -12.2564)).out_of_place()
        self.assertIn("latitude and longitude seem to be swapped", doubt)

    def test_others(self) -> None:
        """One of several is looked for among the others, wherever those are."""
        south = [(-23.5 - n / 100, -46.6) for n in range(5)]
        self.assertEqual(self.places(*south).out_of_place(), [])
        (doubt,) = self.places(*south, (-46.6, -23.5)).out_of_place()
        self.assertIn("line 7, ", doubt)
        self.assertIn("of the other stations: latitude and longitude seem to be swapped", doubt)
        (doubt,) = self.places(*south, (-12.25, -38.95)).out_of_place()
        self.assertNotIn("swapped", doubt)
        # Five hundred kilometres are 4.4966 degrees of a meridian.
        self.assertEqual(self.places((-12, -38), (-12, -38), (-16.49, -38)).out_of_place(), [])
        self.assertEqual(len(self.places((-12, -38), (-12, -38), (-16.5, -38)).out_of_place()), 1)

    def test_network(self) -> None:
        """So are those that come to a network."""
        there = parse_stations(shipped(STATIONS), STATIONS).stations.values()
        self.assertEqual(self.places((-12.2, -38.9)).out_of_place(there), [])
        south = [Station(99, "S", "R", -23.5, -46.6, 1)]
        self.assertEqual(self.places((-23.6, -46.6)).out_of_place(south), [])
        self.assertEqual(len(self.places((-12.2, -38.9)).out_of_place(south)), 1)

    def test_all_swapped(self) -> None:
        """Those of a whole file that has them the wrong way round are seen too."""
        doubts = self.places((-38.96, -12.25), (-38.95, -12.26), (-38.97, -12.2)).out_of_place()
        self.assertEqual(len(doubts), 3)
        self.assertTrue(all("seem to be swapped" in doubt for doubt in doubts))


class ConnectorTests(SynchronousTestCase):
    """What connectors are called."""

    def test_known(self) -> None:
        """Every way of writing a name means the one kind."""
        for name, is_dc, written in (
            ("Type 1", False, "type1|Tipo 1|TIPO-1|J1772|SAE J1772|J-1772|IEC_62196_T1|"
             "Type 1 (J1772)|Conector Tipo 1"),
            ("Type 2", False, "Type2|type-2|Tipo 2|Mennekes|Type 2 (Socket Only)|"
             "Type 2 (Tethered Connector) |IEC_62196_T2|IEC 62196-2 Type 2|Tomada Tipo 2|"
             "Tipo 2 fêmea com cabo|2x Type 2|Type 2 22 kW|AC Type 2|Tipo 2 (Mennekes)"),
            ("CCS2", True, "ccs2|CCS 2|CCS|Combo 2|CCS Combo 2|CCS (Type 2)|CCS Tipo 2|"
             "IEC_62196_T2_COMBO|Combined Charging System"),
            ("CCS1", True, "CCS 1|CCS (Type 1)|IEC_62196_T1_COMBO|Combo 1"),
            ("CHAdeMO", True, "CHADEMO|chademo|Cha-de-mo"),
            ("Tesla", True, "TESLA_S|NACS|NACS / Tesla Supercharger|Tesla (Model S/X)"),
            ("Tesla", False, "Tesla AC"),
            ("GB/T AC", False, "GBT_AC|gb-t ac|GB-T AC - GB/T 20234.2 (Socket)|"
             "GB-T AC - GB/T 20234.2 (Tethered Cable)"),
            ("GB/T DC", True, "GBT_DC|GB-T DC - GB/T 20234.3"),
            ("NBR 14136", False, "NBR14136|Tomada comum|tomada|Tomada 2P+T 20A|DOMESTIC_N|"
             "Tomada doméstica|Tomada de 3 pinos|Household socket|wall outlet"),
            ("Schuko", False, "SCHUKO|CEE 7/4 - Schuko - Type F|DOMESTIC_F|Tomada Schuko"),
            (None, False, "IEC 60309 5-pin|Blue Commando (2P+E)|NEMA 14-50|Type I (AS 3112)|"
             "BS1363 3 Pin 13 Amp|CEE 3 Pin|SCAME Type 3A (Low Power)|Tomada industrial"),
        ):  # fmt: skip
            for text in written.split("|"):
                kind = connector_kind(text)
                self.assertIsNotNone(kind, text)
                self.assertEqual((kind.name, kind.is_dc), (name, is_dc), text)

    def test_unknown(self) -> None:
        """What is not known, or says two things, is not known."""
        for text in ("", "Plugue X", "DC", "GB/T", "Type 2 DC", "CCS1 Type 2", "Type 5", "Unknown",
                     "Type 22", "Type 2" + " socket" * 11, "Tesla Battery Swap"):  # fmt: skip
            self.assertIsNone(connector_kind(text), text)

    def test_lists(self) -> None:
        """Names in a cell stand apart in many ways, some of which names have in themselves."""
        for text, names in (
            ("CCS2, CHAdeMO,Type 2", ("CCS2", "CHAdeMO", "Type 2")),
            ("CCS2/CHAdeMO + Tipo 2", ("CCS2", "CHAdeMO", "Tipo 2")),
            ("Tipo 2 e CCS2; GB/T AC\nTomada 2P+T",
             ("Tipo 2", "CCS2", "GB/T AC", "Tomada 2P+T")),
            ("Foo/Bar, ,", ("Foo/Bar",)),
            ("CCS2/Foo", ("CCS2/Foo",)),
        ):  # fmt: skip
            self.assertEqual(connector_names(text), names)

    def test_shown(self) -> None:
        """A kind is shown by its one name, once; what is not known, as it was written."""
        names = ("Tipo 2", "Mennekes", "Foo", "NEMA 14-50", "combo 2")
        self.assertEqual(shown_connectors(names), ("Type 2", "Foo", "NEMA 14-50", "CCS2"))

    def test_ac_only(self) -> None:
        """A station gives DC only by a connector that is known to."""
        for connectors, ac_only in (
            ((), False),
            (("Tipo 2",), True),
            (("Foo",), True),
            (("Tipo 2", "Foo"), True),
            (("Tipo 2", "ccs 2"), False),
            (("Foo", "CHAdeMO"), False),
        ):
            station = Station(1, "A", "R", 0, 0, 1, connectors=connectors)
            dc = [c.is_dc for kind in station.kinds for c in kind.connectors]
            self.assertEqual(bool(dc) and not any(dc), ac_only, connectors)

    def test_import(self) -> None:
        """One that is not known is named where it is taken in."""
        read = parse_stations(f"{HEADER}\n{GOOD},Foo\n".encode(), "x.csv")
        self.assertEqual(read.stations[7].connectors, ("Type 2", "Foo"))
        (doubt,) = read.doubts
        self.assertIn("line 2, column conectores: 'Foo' is not a connector that is known", doubt)


FACTS = {
    "brand": "B", "model": "M", "battery_capacity": 50, "energy_consumption": 0.2, "max_speed": 100,
}  # fmt: skip


class CarPageTests(SynchronousTestCase):
    """docs/cars.md."""

    def test_figures(self) -> None:
        """It has a row for each shipped model, with its figures and where they are from."""
        page = (ROOT / "docs" / "cars.md").read_text()
        sources = re.findall(r"^- \*(.*?)\*:", page, re.M)
        found = {}
        for row in re.findall(r"^\| (.*) \|$", page, re.M)[1:]:
            name, *cells, source = (cell.strip() for cell in row.split("|"))
            self.assertIn(source, sources)
            found[name] = cells
        wanted = {}
        for name, facts in json.loads(shipped(CARS)).items():
            self.assertEqual(facts["ac_connectors"], ["Type 2"])
            how = facts.get("dc_curve_source", "default") if facts["dc_connectors"] else ""
            wanted[name] = [
                f"{facts['battery_capacity']:g}",
                f"{facts['energy_consumption'] * 100:.1f}",
                f"{facts['max_speed']:g}",
                f"{facts['ac_power_kw']:g}, {facts.get('ac_phases', '?')}",
                f"{facts['dc_power_kw']:g}" if "dc_power_kw" in facts else "",
                ", ".join(facts["dc_connectors"]) or "none",
                "default shape" if how == "default" else how,
            ]
        self.assertEqual(found, wanted)


class CarTests(SynchronousTestCase):
    """The catalogue."""

    def problems(self, **changes: object) -> list[str]:
        return check_car_models({"A": {**FACTS, **changes}}, "c").problems

    def test_units(self) -> None:
        """A figure in another unit says in which it might be."""
        for changes, words in (
            (
                {"energy_consumption": 129},
                ["0.02 to 3 kWh/km, not 129", "129 Wh/km would be 0.129"],
            ),
            ({"energy_consumption": 12.9}, ["12.9 kWh/100 km would be 0.129"]),
            ({"energy_consumption": 7.75}, ["7.75 km/kWh would be 0.129"]),
            ({"energy_consumption": 1e-5}, ["is it in Wh/km, kWh/100 km or km/kWh?"]),
            ({"battery_capacity": 44000}, ["0.5 to 2000 kWh, not 44000", "44000 Wh would be 44"]),
            ({"energy_consumption": 165.6}, ["165.6 Wh/km would be 0.166"]),
            ({"battery_capacity": 44460}, ["44460 Wh would be 44.5"]),
            ({"battery_capacity": 0.1}, ["0.5 to 2000 kWh, not 0.1"]),
        ):
            (problem,) = self.problems(**changes)
            for word in ("c: model 'A': ", *words):
                self.assertIn(word, problem)
        self.assertEqual(len(self.problems(energy_consumption=129, battery_capacity=44000)), 2)

    def test_bounds(self) -> None:
        """Each bound itself is plausible, what is beyond is not."""
        for name, good, bad in (
            ("energy_consumption", (0.02, 3), (0.0199, 3.001)),
            ("battery_capacity", (0.5, 2000), (0.499, 2000.1)),
            ("max_speed", (1e-6, 1e6), (0, 9e-7, 1000001, -1, 1e300, True, "x", None, [])),
            ("ac_power_kw", (1e-6, 1e6, None), (0, 1000001, "x", True)),
            ("dc_power_kw", (1e-6, 1e6, None), (0, 1000001, "x", True)),
        ):
            for figure in (*good, *bad):
                self.assertEqual(bool(self.problems(**{name: figure})), figure in bad,
                                 (name, figure))  # fmt: skip

    def test_text(self) -> None:
        """A brand, and a model, is text."""
        for name in ("brand", "model"):
            self.assertIn(f"{name} must be text, not 5", self.problems(**{name: 5})[0])
            self.assertEqual(self.problems(**{name: ""}), [])

    def test_every_field(self) -> None:
        """Every field of a model that is wrong is named."""
        error = self.assertRaises(DatasetError, parse_car_models, b'{"A":{"brand":5}}', "c")
        for name in ("brand", "battery_capacity", "energy_consumption", "max_speed"):
            self.assertIn(name, str(error))

    def test_limits(self) -> None:
        """Both limits of a car's power come back from its facts."""
        model = CarModel("B", "M", 50.0, 0.2, 100.0, ac_limit_kw=7.4, dc_limit_kw=100.0)
        self.assertEqual(CarModel.from_facts(model.facts()), model)

    def test_one_wrong(self) -> None:
        """A model that is wrong costs itself, and stays as it is."""
        facts = json.dumps(FACTS)
        deep = "[" * 500 + "]" * 500
        models = {
            "A": facts,
            "B": "5",
            "C": f'{{"max_speed": {"9" * 5000}}}',
            "D": facts.replace("50", "1e999"),
            "E": facts.replace("}", ', "note": "\\ud800"}'),
            "F": facts.replace("}", f', "note": {deep}}}'),
            "\\udc00": facts,
        }
        text = "{" + ",".join(f'"{name}": {model}' for name, model in models.items()) + "}"
        catalogue = read_car_models(text.encode(), "c")
        self.assertEqual(list(catalogue.models), ["A"])
        self.assertEqual(list(catalogue.everything), ["A", "B", "C", "D", "E", "F", "\udc00"])
        self.assertEqual(len(catalogue.problems), 6)
        self.assertRaises(DatasetError, parse_car_models, text.encode(), "c")
        merged = merge_car_models(catalogue.everything, {"A": {}, "G": FACTS})
        again = read_car_models(merged, "c")
        self.assertEqual(again.everything, {**catalogue.everything, "G": {**FACTS}})

    def test_damaged_byte(self) -> None:
        """So does one with a byte that is no text, which stays that byte."""
        content = json.dumps({"A": FACTS, "B": {**FACTS, "nome": "X"}}).encode()
        content = content.replace(b"X", b"\xe7")
        catalogue = read_car_models(content, "c")
        self.assertEqual(list(catalogue.models), ["A"])
        self.assertIn(b'"\xe7"', merge_car_models(catalogue.everything, {}))

    def test_mark(self) -> None:
        """A byte order mark is no mistake, in a catalogue or in rows."""
        content = shipped(CARS)
        self.assertEqual(parse_car_models(b"\xef\xbb\xbf" + content, CARS),
                         parse_car_models(content, CARS))  # fmt: skip
        content = shipped(STATIONS)
        self.assertEqual(parse_stations(b"\xef\xbb\xbf" + content, STATIONS),
                         parse_stations(content, STATIONS))  # fmt: skip

    def test_no_catalogue(self) -> None:
        """What is no catalogue says so, with the place of the mistake."""
        for content, words in (
            ("[" * 100_000, "not JSON: nested too deeply"),
            ('{"A": ' + "[" * 100_000, "not JSON: nested too deeply"),
            ('{\n "A": {\n', "line 3 column 1"),
            ("[]", "must be a JSON object"),
            ("", "not JSON"),
        ):
            error = self.assertRaises(DatasetError, read_car_models, content.encode(), "c")
            self.assertIn(words, str(error))
        self.assertRaises(DatasetError, parse_car_models, b"{}", "c")
        self.assertEqual(read_car_models(b"{}", "c").problems, ["c: has no car model"])
