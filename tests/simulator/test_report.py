"""The report of a study, and its tables."""

import csv
import io
import itertools
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator import report, study, tables
from evcharge.simulator.beside import beside
from evcharge.simulator.executors import here
from evcharge.simulator.replication import DriverRecord
from evcharge.simulator.study import Study, StudyError, Variant
from evcharge.simulator.summaries import (
    by_hour,
    differences,
    is_counted,
    steady,
    waiting_longer,
)
from evcharge.simulator.words import FIGURES, MONEY, SHARE, number, setting, written
from tests.simulator.test_study import files
from tests.support.replications import BY_HOUR, SCENARIOS, Scenario, plan, replicate
from tests.support.servers import ROOT

VOID = {"meta", "br", "link", "img", "use", "path", "rect"}


EYES = {
    "all": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "no red": ((0.1523, 1.0526, -0.2049), (0.1145, 0.7863, 0.0992), (-0.0039, -0.0481, 1.052)),
    "no green": ((0.3673, 0.8606, -0.228), (0.2801, 0.6725, 0.0474), (-0.0118, 0.0429, 0.969)),
    "no blue": ((1.2555, -0.0767, -0.1788), (-0.0784, 0.9308, 0.1476), (0.0047, 0.6914, 0.3039)),
}
"""What linear red, green and blue are to them: Machado, Oliveira and Fernandes, 2009."""


def _lab(colour: str, matrix) -> tuple[float, float, float]:
    """A colour in CIE L*a*b*, in which distances are those that people see."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    r, g, b = (
        min(max(sum(a * b for a, b in zip(row, linear, strict=True)), 0), 1) for row in matrix
    )
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


class Page(HTMLParser):
    """What a page has in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.alternatives: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes) -> None:
        found = dict(attributes)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("src", "href", "xlink:href") if key in found]
        if tag == "svg":
            self.alternatives.append(found.get("aria-label") or "")

    def handle_startendtag(self, tag, attributes) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag) -> None:
        while self.open and self.open.pop() != tag:
            pass


def run(folder: Path, scenarios=SCENARIOS, **changes: object) -> Study:
    """A made-up study."""
    with here(1) as workers:
        return study.run(plan(**changes), scenarios, folder, workers, replicate)


def one_variant(folder: Path, **changes: object) -> Study:
    """A study that compares nothing."""
    return run(folder, SCENARIOS[:1], variants=(Variant("base"),), **changes)


class SentenceTests(SynchronousTestCase):
    """What stands first."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def sentence(self, made: Study, language: str) -> str:
        """The first paragraph."""
        found = re.search(r'<p class="lead">(.*?)</p>', report.page(made, language))
        assert found is not None
        return found[1]

    def test_variants(self) -> None:
        """It says by how much fewer are lost, in points, with its interval, in both languages."""
        made = run(self.folder, replications=8)
        (apart,) = differences(made, "network", "lost_share")
        self.assertTrue(apart.is_apart_from_0)
        found = self.sentence(made, "pt")
        self.assertRegex(
            found,
            r"^Com 4 vagas a mais na rodoviária perdem-se \d+,\d % em vez de \d+,\d % dos "
            r"motoristas \(−\d+,\d pontos, IC 95 % −\d+,\d a −\d+,\d\)\.$",
        )
        self.assertIn(f"({number(100 * apart.mean, 'pt', 1)} pontos", found)
        self.assertRegex(self.sentence(made, "en"), r"^With 4 vagas .* \(−\d+\.\d points, 95 % CI")

    def test_not_apart(self) -> None:
        """Where 0 is inside the interval it says that they cannot be told apart."""
        same = (Scenario(0), attrs.evolve(Scenario(0), seed=8))
        found = self.sentence(run(self.folder, same), "pt")
        self.assertIn("não se distinguem", found)

    def test_one_variant(self) -> None:
        """Of one scenario it says how many are lost, and how long the others wait."""
        found = self.sentence(one_variant(self.folder), "pt")
        self.assertRegex(
            found,
            r"^Perdem-se \d+,\d % dos motoristas \(IC 95 % \d+,\d a \d+,\d\); "
            r"a espera média é de \d+,\d min\.$",
        )

    def test_one_replication(self) -> None:
        """One replication has no interval, and says so: not ± 0."""
        made = one_variant(self.folder, replications=1)
        self.assertIn("n = 1, sem intervalo", self.sentence(made, "pt"))
        self.assertNotIn("± 0", report.page(made, "pt"))


class PageTests(SynchronousTestCase):
    """The whole page."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_page(self) -> None:
        """It is one file: whole, without ids that come twice, and nothing loaded from anywhere."""
        made = run(self.folder)
        for language in ("pt", "en"):
            text = report.page(made, language)
            page = Page(text)
            self.assertEqual(page.open, [])
            self.assertEqual(len(page.ids), len(set(page.ids)))
            self.assertEqual([link for link in page.links if not link.startswith("#")], [])
            for link in page.links:
                self.assertIn(link[1:], page.ids)
            outside = re.findall(r"(?:url\((?!#)|@import|https?://)[^\s\"')]*", text)
            self.assertEqual({each for each in outside if "www.w3.org" not in each}, set())
            self.assertEqual(page.tags.count("figure"), 7)

    def test_tables_behind(self) -> None:
        """Each picture has a table behind it, to which it leads."""
        for made in (run(self.folder / "two"), one_variant(self.folder / "one")):
            text = report.page(made, "en")
            behind = re.findall(r'<figcaption>.*?<a href="#(.*?)">The table', text)
            self.assertEqual(len(behind), Page(text).tags.count("figure"))
            for name in behind:
                self.assertRegex(text, f'id="{name}"[^>]*><table')
        self.assertRegex(text, r"<td>BYD Dolphin</td><td>\d+\.\d kWh</td><td>R\$ \d+")

    def test_languages(self) -> None:
        """What a scenario calls things by the language is in the report's own."""
        label = {"pt": "vagas", "en": "EVSEs"}
        variants = (Variant("a", ((label, 0),)), Variant("b", ((label, 4),)))
        title = {"pt": "Um dia", "en": "A day"}
        made = run(self.folder, title=title, variants=variants)
        self.assertEqual(study.read(self.folder), made)
        for language, own, other in (("pt", "4 vagas", "4 EVSEs"), ("en", "4 EVSEs", "4 vagas")):
            text = report.page(made, language)
            self.assertIn(f"<h1>{title[language]}</h1>", text)
            self.assertIn(own, text)
            self.assertNotIn(other, text)
        self.assertEqual(tables.figures(made)["title"], "A day")
        self.assertEqual(tables.figures(made)["variants"][1]["settings"], {"EVSEs": 4})

    def test_many_variants(self) -> None:
        """All of many variants are compared, and a table has columns of some."""
        variants = tuple(Variant(f"v{n}", (("vagas", n),)) for n in range(9))
        made = run(self.folder, [Scenario(n) for n in range(9)], variants=variants, replications=2)
        text = report.page(made, "pt")
        compared = text[text.index('id="table-variants"') :]
        rows = re.findall(r'<th scope="row">(.*?)</th>', compared[: compared.index("</table>")])
        self.assertEqual(rows, [f"{n} vagas" for n in range(9)])
        heads = re.findall(r'<th scope="col">(\d vagas)</th>', text)
        self.assertEqual(heads, [f"{n} vagas" for n in (0, 1, 2, 3, 4, 8)])

    def test_refused(self) -> None:
        """What the server refused is shown red, at the top and in the table."""
        made = one_variant(self.folder)
        self.assertNotIn('class="bad"', report.page(made, "pt"))
        first, *others = made.results[0]
        figures = {**first.figures, "network": {**first.figures["network"], "refused": 2.0}}
        made = attrs.evolve(made, results=((attrs.evolve(first, figures=figures), *others),))
        text = report.page(made, "pt")
        self.assertIn('<p class="bad" role="note">O servidor recusou 0,50 requisições', text)
        self.assertRegex(text, r'<span class="bad">recusados pelo servidor</span>')
        self.assertRegex(text, r'<td[^>]*><span class="bad">0,5 ± 1,6')

    def test_steady_state(self) -> None:
        """One long run with a warm-up has batch means; one that is too short says so."""
        made = one_variant(self.folder, replications=1, warm_up_hours=2.0)
        (alone,) = made.results[0]
        # Each hour is like the one before.
        hours = {"network": {**alone.hours["network"], "queue": tuple(map(float, range(24)))}}
        made = attrs.evolve(made, results=((attrs.evolve(alone, hours=hours),),))
        found = steady(made, 0)
        self.assertEqual(list(found), ["lost_share", "wait_mean", "kwh", "queue", "charging"])
        self.assertTrue(found["queue"].is_too_short)
        self.assertFalse(found["lost_share"].is_too_short)
        text = report.page(made, "pt")
        self.assertIn("Regime permanente", text)
        self.assertEqual(
            text.count("curta demais</td>"), sum(b.is_too_short for b in found.values())
        )
        self.assertIn("n = 1, sem intervalo", text)
        for others in ({"replications": 1}, {"warm_up_hours": 2.0}):
            other = one_variant(self.folder / str(others), **others)
            self.assertNotIn("Regime permanente", report.page(other, "pt"))

    def test_alternatives(self) -> None:
        """Each picture says in words what it shows, figures included."""
        for made in (run(self.folder / "two"), one_variant(self.folder / "one")):
            alternatives = Page(report.page(made, "pt")).alternatives
            self.assertGreaterEqual(len(alternatives), 5)
            for text in alternatives:
                self.assertRegex(text, r"\d")

    def test_axes(self) -> None:
        """Numbers at the axes have the language's comma."""
        made = run(self.folder)
        number = r"<text[^>]*>−?\d+%s\d+(?: %%)?</text>"
        for language, own, other in (("pt", ",", r"\."), ("en", r"\.", ",")):
            text = report.page(made, language)
            self.assertRegex(text, number % own)
            self.assertNotRegex(text, number % other)

    def test_same_bytes(self) -> None:
        """The same study has the same report and tables, to the byte, each time."""
        for folder in ("a", "b"):
            self.assertTrue(report.write(run(self.folder / folder), "pt"))
        one = files(self.folder / "a")
        self.assertIn("report.html", one)
        self.assertEqual(files(self.folder / "b"), one)

    def test_colours(self) -> None:
        """Any two series differ by their colours to who sees no red, no green or no blue."""
        css = (ROOT / "evcharge/simulator/report.css").read_text()
        schemes = re.findall(r"^ *:root \{(.*?)\}", css, re.S | re.M)
        self.assertEqual(len(schemes), 3)
        for scheme in schemes:
            colours = re.findall(r"--series-\d: (#\w{6})", scheme)
            self.assertEqual(len(colours), 6)
            for eye, matrix in EYES.items():
                seen = [_lab(colour, matrix) for colour in colours]
                for one, other in itertools.combinations(seen, 2):
                    self.assertGreater(math.dist(one, other), 10, (eye, colours))

    def test_escapes(self) -> None:
        """What a scenario says is text, whatever stands in it."""
        bad = "<script>alert(1)</script>&"
        variants = (Variant("a", ((bad, 1),)), Variant("b", ((bad, 2),)))
        text = report.page(run(self.folder, title=bad, files={bad: bad}, variants=variants), "en")
        self.assertNotIn("<script>alert", text)
        self.assertEqual(Page(text).open, [])

    def test_incomplete(self) -> None:
        """A study that was interrupted says how much of it there is."""
        run(self.folder)
        for path in (self.folder / "replications").glob("*-3.json"):
            path.unlink()
        made = study.read(self.folder)
        self.assertIn("há 6 de 8 replicações", report.page(made, "pt"))
        self.assertFalse(tables.figures(made)["complete"])

    def test_nothing_yet(self) -> None:
        """A study of which no replication ended has a report all the same."""
        run(self.folder)
        for path in (self.folder / "replications").iterdir():
            path.unlink()
        self.assertTrue(report.write(study.read(self.folder), "en"))
        self.assertIn("0 of 8", (self.folder / "report.html").read_text())

    def test_assumptions(self) -> None:
        """It has the scenario's files, all values, and the command that repeats it."""
        text = report.page(run(self.folder), "en")
        self.assertIn("# &lt;made up&gt; &amp; short", text)
        self.assertIn("demand.drivers_per_day", text)
        self.assertIn("evcharge simulate run feira.toml --seed 7", text)
        self.assertIn("made up", text)

    def test_without_matplotlib(self) -> None:
        """Without the extra there are the tables, and no report."""
        made = run(self.folder)
        with mock.patch.object(report, "version", side_effect=report.PackageNotFoundError):
            self.assertFalse(report.write(made, "pt"))
        self.assertFalse((self.folder / "report.html").exists())
        self.assertTrue((self.folder / "figures.json").exists())

    def test_beside(self) -> None:
        """Two studies stand beside one another, each by the name of its folder."""
        one, other = one_variant(self.folder / "now"), one_variant(self.folder / "then", seed=8)
        both = beside(one, other)
        text = report.page(both, "pt")
        self.assertIn("Com then perdem-se", text)
        self.assertEqual(list(both.drivers(1, 2)), list(other.drivers(0, 2)))

    def test_beside_others(self) -> None:
        """Where two studies have other drivers it is said; of other lengths they have no report."""
        one = one_variant(self.folder / "a")
        same = one_variant(self.folder / "b", scenario={"driver": {"books": 0.5}})
        text = report.page(beside(one, same), "en")
        self.assertNotIn("do not have the same drivers", text)
        self.assertIn("The same drivers in each variant", text)
        self.assertIn('<th scope="row">a.driver.books</th>', text)
        self.assertIn('<th scope="row">b.driver.books</th>', text)
        text = report.page(beside(one, one_variant(self.folder / "c", seed=8)), "en")
        self.assertIn("do not have the same drivers: they differ in seed.", text)
        self.assertNotIn("The same drivers in each variant", text)
        for other, expected in (
            (one_variant(self.folder / "d", days=2), "days is 1 in one, 2 in the other"),
            (one, "is named twice"),
        ):
            error = self.assertRaises(StudyError, beside, one, other)
            self.assertIn(expected, str(error))


class TableTests(SynchronousTestCase):
    """CSV and JSON."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.made = run(self.folder)
        tables.write_tables(self.made, self.folder)

    def rows(self, name: str) -> list[dict[str, str]]:
        """Those of a CSV file."""
        return list(csv.DictReader(io.StringIO((self.folder / name).read_text())))

    def test_figures(self) -> None:
        """figures.csv has each replication's own figures; figures.json what they say together."""
        rows = self.rows("figures.csv")
        self.assertEqual(list(rows[0]), ["variant", "replication", "place", "figure", "value"])
        lost = [
            float(row["value"])
            for row in rows
            if row["variant"] == "add_evses=4"
            and (row["place"], row["figure"]) == ("network", "lost_share")
        ]
        self.assertEqual(len(lost), 4)
        found = json.loads((self.folder / "figures.json").read_text())
        own = found["variants"][1]["figures"]["network"]["lost_share"]
        self.assertAlmostEqual(own["mean"], sum(lost) / 4, 8)
        self.assertEqual((own["n"], own["least"]), (4, min(lost)))
        apart = found["differences"][0]["figures"]["network"]["lost_share"]
        base = found["variants"][0]["figures"]["network"]["lost_share"]
        self.assertAlmostEqual(apart["mean"], own["mean"] - base["mean"], 8)
        self.assertTrue(found["complete"])

    def test_hours(self) -> None:
        """hours.csv has a row for each hour, and its drivers are those of the figures."""
        rows = [
            row
            for row in self.rows("hours.csv")
            if row["place"] == "network" and row["variant"] == "add_evses=0"
        ]
        self.assertEqual(len(rows), 4 * 24)
        self.assertEqual(sum(float(row["born"]) for row in rows), 4 * sum(BY_HOUR))

    def test_drivers(self) -> None:
        """drivers.csv has a row for each driver; what did not happen is empty."""
        rows = self.rows("drivers.csv")
        self.assertEqual(len(rows), 2 * 4 * sum(BY_HOUR))
        fields = [field.name for field in attrs.fields(DriverRecord)]
        self.assertEqual(list(rows[0]), ["variant", "replication", *fields])
        lost = next(row for row in rows if row["outcome"] == "balked")
        self.assertEqual((lost["charging"], lost["kwh"]), ("", "0"))

    def test_columns(self) -> None:
        """docs/simulator/results.md names every column, and every figure, in order."""
        text = (ROOT / "docs/simulator/results.md").read_text()
        text = text[text.index("## Columns") : text.index("## Stop and go on")]
        hours, stations, drivers, figures = re.split(
            r"`stations.csv` has |`drivers.csv` has |These are the figures", text
        )
        named = [name for name in re.findall(r"`(\w+)`", hours) if name != "hours"]
        self.assertEqual(named, list(self.rows("hours.csv")[0]))
        listed = re.findall(r"^\| `(\w+)` \|", figures, re.M)
        self.assertEqual(listed, list(FIGURES))
        named = re.findall(r"`(\w+)`", stations)
        self.assertEqual(named + listed, list(self.rows("stations.csv")[0]))
        heads = re.findall(r"`(\w+)`", drivers.partition("| column")[0])
        cells = re.findall(r"^\| (`.*?) \|", drivers, re.M)
        named = heads + [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
        self.assertEqual(named, list(self.rows("drivers.csv")[0]))

    def test_no_drivers(self) -> None:
        """A study of figures alone writes no drivers, and its report does without them."""
        made = run(self.folder / "figures", has_drivers=False)
        report.write(made, "pt")
        self.assertFalse((made.folder / "drivers.csv").exists())
        self.assertEqual(Page((made.folder / "report.html").read_text()).tags.count("figure"), 5)

    def test_stations(self) -> None:
        """stations.csv has a row for each station and variant."""
        rows = self.rows("stations.csv")
        self.assertEqual([row["station"] for row in rows], ["1", "2", "3"] * 2)
        self.assertEqual(rows[1]["name"], "Posto São João & Filhos")
        self.assertEqual((rows[0]["evses"], rows[0]["latitude"]), ("6", "-12.243"))


class SummaryTests(SynchronousTestCase):
    """Figures over replications."""

    def test_days(self) -> None:
        """Of more than two days the hours of the day are shown, on their mean."""
        made = one_variant(Path(self.mktemp()), start="2026-03-02T22:00:00", days=3)
        (results,) = made.results
        long = tuple(float(hour) for hour in range(72))
        each = {"network": {"born": long}}
        made = attrs.evolve(made, results=(tuple(attrs.evolve(r, hours=each) for r in results),))
        found = [hour.mean for hour in by_hour(made, 0, "network", "born")]
        # Hour 2 of the window is midnight: of three days it is 2, 26 and 50.
        self.assertEqual((len(found), found[0], found[22], found[23]), (24, 26.0, 24.0, 25.0))

    def test_waiting_longer(self) -> None:
        """The share that waits longer than some minutes is that of each replication, averaged."""
        made = one_variant(Path(self.mktemp()))
        found = waiting_longer(made, 0, (0, 10, 10_000))
        assert found is not None
        shares = []
        for replication in range(4):
            came = [d for d in made.drivers(0, replication) if d.charging is not None]
            longer = [d for d in came if d.charging - d.arrived > 600]
            shares.append(len(longer) / len(came))
        self.assertAlmostEqual(found[1].mean, sum(shares) / 4, 12)
        self.assertEqual(found[2].mean, 0.0)

    def test_long_day(self) -> None:
        """Who comes in the last hour of a day of 25 counts, but nobody in a warm-up."""
        made = one_variant(Path(self.mktemp()), warm_up_hours=2.0)
        driver = next(made.drivers(0, 0))
        counted = [is_counted(made, attrs.evolve(driver, born=3600.0 * h)) for h in (1.9, 2, 24.5)]
        self.assertEqual(counted, [False, True, True])

    def test_missing(self) -> None:
        """A figure that a replication has not is left out, in pairs with the other variant's."""
        made = run(Path(self.mktemp()))
        first, *others = made.results[1]
        without = {"network": {**first.figures["network"], "price_kwh": None}}
        results = (made.results[0], (attrs.evolve(first, figures=without), *others))
        (apart,) = differences(attrs.evolve(made, results=results), "network", "price_kwh")
        self.assertEqual(apart.n, 3)


class WordTests(SynchronousTestCase):
    """How figures are written."""

    def test_numbers(self) -> None:
        """Each language has its comma, a true minus, and no decimals where nobody reads them."""
        self.assertEqual(written(0.1166, SHARE, "pt"), "11,7 %")
        self.assertEqual(written(-0.061, SHARE, "pt", signed=True), "−6,1 pontos")
        self.assertEqual(written(0.061, SHARE, "en", signed=True), "+6.1 points")
        self.assertEqual(written(-1234.5, MONEY, "pt", signed=True), "−R$ 1.234")
        self.assertEqual(written(39.0, MONEY, "pt"), "R$ 39,00")
        self.assertEqual(number(-0.01, "pt", 1), "0,0")
        self.assertEqual(number(12345.6, "pt", 1), "12.346")

    def test_settings(self) -> None:
        """A variant is called by what it has different."""
        self.assertEqual(setting((("vagas a mais", 4),), "pt"), "4 vagas a mais")
        self.assertEqual(setting((("driver.books", 0.5),), "pt"), "driver.books = 0,5")
        self.assertEqual(setting((("a", 1), ("b", 2.5)), "en"), "1 a, 2.5 b")
        self.assertEqual(setting((), "en"), "the scenario")
