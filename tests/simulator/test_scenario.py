"""Scenarios: what they may say, what is wrong with them, and what they come to."""

import json
import pickle
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.datasets.files import EVSES, STATIONS, TARIFFS, shipped
from evcharge.models.terms import Terms
from evcharge.simulator.distributions import Distribution
from evcharge.simulator.keys import ScenarioError, keys_of, plain
from evcharge.simulator.networks import load
from evcharge.simulator.parts import (
    Change,
    Choose,
    Demand,
    Driver,
    Faults,
    NetworkKeys,
    Options,
    Study,
    TariffTime,
    Vary,
    Zone,
)
from evcharge.simulator.scenario import Scenario, read, variants
from evcharge.simulator.texts import called
from evcharge.simulator.tree import setting, shipped_scenarios, varied
from tests.support.scripted import ROOT

LEAST = "[demand]\ndrivers_per_day = 100\n"

ROW = "id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos;potenciaKW"


class ScenarioTestCase(SynchronousTestCase):
    """Scenarios in a folder of their own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, content: str, name: str = "feira.toml") -> Path:
        path = self.folder / name
        path.write_text(content)
        return path

    def read(self, content: str, *options: str) -> Scenario:
        return read(self.write(content), [setting("--set", each) for each in options])

    def problems(self, content: str, *options: str) -> list[str]:
        """What is wrong with a scenario, without the folder's name."""
        error = self.assertRaises(ScenarioError, self.read, content, *options)
        return [problem.replace(f"{self.folder}/", "") for problem in error.problems]


class ReadingTests(ScenarioTestCase):
    """What a scenario says is what is read."""

    def test_example(self) -> None:
        """The example that `new` writes, with what is commented out in it."""
        content = shipped_scenarios()["weekday"]
        scenario = self.read(re.sub(r"(?m)^# (?=\[\[|\w+ = )", "", content))
        self.assertEqual(scenario.title, "Feira de Santana, a weekday")
        self.assertEqual(scenario.start, datetime(2026, 3, 2))
        self.assertEqual(
            scenario.network,
            NetworkKeys(
                "shipped",
                Options(15, 5, 30, 20),
                (Change(3, datetime(2026, 3, 2, 6), add_evses=2),),
                (TariffTime(3, datetime(2026, 3, 2, 18), datetime(2026, 3, 2, 21), "ponta"),),
            ),
        )
        self.assertEqual(dict(scenario.fleet or ())["BYD Dolphin"], 0.3)
        self.assertEqual(scenario.demand.by_hour[18], 14)
        self.assertEqual([zone.name for zone in scenario.demand.zones][1:], ["cidade", "BR-324"])
        self.assertEqual(scenario.demand.zones[2].trip_to, ((-12.9714, -38.5014),))
        self.assertEqual(
            scenario.study.vary,
            (Vary("network.change.0.add_evses", (0, 2, 4, 6), "more EVSEs at the bus terminal"),),
        )

    def test_example_has_all(self) -> None:
        """The example has every key that there is."""
        content = shipped_scenarios()["weekday"]
        classes = (Change, Choose, Demand, Driver, Faults, NetworkKeys, Options, Scenario, Study)
        later = {"precision", "watch", "most_replications", "extends", "trip_to", "box"}
        for cls in (*classes, TariffTime, Vary, Zone):
            for key in keys_of(cls):
                if key not in later:
                    self.assertRegex(content, rf"\b{key}\b")

    def test_page(self) -> None:
        """The page has every key that there is, and names no other of a table's."""
        page = (ROOT / "docs" / "simulator" / "scenarios.md").read_text()
        classes = (Change, Choose, Demand, Driver, Faults, NetworkKeys, Options, Scenario, Study)
        known = {key for cls in (*classes, TariffTime, Vary, Zone) for key in keys_of(cls)}
        named = set(re.findall(r"`(\w+)`", page))
        tables = {"network", "demand", "driver", "faults", "study"}
        self.assertEqual(known - named - tables, set())
        rows = {
            key
            for cell in re.findall(r"(?m)^\| (`[a-z_`, ]+`) \|", page)
            for key in re.findall(r"\w+", cell)
        }
        self.assertEqual(rows - known, set())

    def test_defaults(self) -> None:
        """All but the number of drivers may be left out: what is, is as in the example."""
        scenario, example = self.read(LEAST), read("weekday")
        self.assertEqual(scenario.driver, example.driver)
        self.assertEqual(scenario.network, example.network)
        self.assertEqual(scenario.study, example.study)
        self.assertEqual((scenario.start, scenario.days), (example.start, example.days))
        self.assertEqual(scenario.faults.mean_days_between, 0)
        self.assertIsNone(scenario.fleet)

    def test_default_zone(self) -> None:
        """Where no zone is named drivers come from all around the stations."""
        (zone,) = self.read(LEAST).demand.zones
        self.assertEqual(zone.share, 1)
        self.assertEqual(zone.box, ((-12.3132, -39.0112), (-12.1899, -38.8989)))

    def test_zones_elsewhere(self) -> None:
        """At other stations drivers come from around these, unless the scenario names its zones."""
        stations = [(-3.0, -60.0), (-3.1, -60.2)]
        (zone,) = self.read(LEAST).zones_at(stations)
        self.assertEqual((zone.share, zone.box), (1, ((-3.1, -60.2), (-3.0, -60.0))))
        weekday = read("weekday")
        self.assertEqual(weekday.zones_at(stations), weekday.demand.zones)

    def test_shipped(self) -> None:
        """Each shipped scenario can be read by its name, and has a title of its own."""
        names = shipped_scenarios()
        self.assertEqual(sorted(names), ["demo", "growth", "holiday", "terminal", "weekday"])
        for language in ("pt", "en"):
            titles = {called(read(name).title, language) for name in names}
            self.assertEqual(len(titles), len(names))
        self.assertEqual(len(variants(read("terminal"))), 4)

    def test_distributions(self) -> None:
        """A distribution may be a number, or a table of one form."""
        driver = self.read(
            LEAST + "[driver]\nstart_percent = 20\npatience_minutes = inf\n"
            "accepts_eta_minutes = { weibull = [30, 2] }"
        ).driver
        self.assertEqual(driver.start_percent, Distribution("number", (20.0,)))
        self.assertEqual(driver.patience_minutes.draw(0.5), float("inf"))
        self.assertEqual(driver.accepts_eta_minutes, Distribution("weibull", (30.0, 2.0)))

    def test_local(self) -> None:
        """Times are local in the scenario's time zone, whatever the machine's is."""
        scenario = self.read('time_zone = "Europe/Lisbon"\nstart = 2026-03-28\ndays = 2\n' + LEAST)
        self.assertEqual(scenario.begin, 1774656000)
        # In the second night an hour is missing.
        self.assertEqual(scenario.end - scenario.begin, 47 * 3600)

    def test_terms(self) -> None:
        """Options are what sessions go by."""
        scenario = self.read(
            LEAST + "[network]\noptions = { hold_minutes = 1, queue_limit = 0, idle_minutes = 2 }"
        )
        self.assertEqual(scenario.terms, Terms(hold_s=60, offer_s=300, idle_s=120, most_waiting=0))

    def test_mean(self) -> None:
        """The hours of a week have together as many drivers as its days, and each year more."""
        demand = read("weekday").demand
        week = [[demand.mean(day, hour) for hour in range(24)] for day in range(7)]
        self.assertAlmostEqual(sum(map(sum, week)), 7 * 900)
        self.assertAlmostEqual(week[0][18] / week[0][3], 14)
        self.assertAlmostEqual(sum(week[6]) / sum(week[0]), 0.7)
        grown = Demand(100, growth_per_year=0.5)
        self.assertAlmostEqual(grown.mean(0, 0, 2.0) / grown.mean(0, 0), 2.25)

    def test_pickled(self) -> None:
        """A scenario goes to other processes as it is, its network with it."""
        scenario = read("terminal")
        self.assertEqual(pickle.loads(pickle.dumps(scenario)), scenario)

    def test_whole(self) -> None:
        """What it goes by is kept: its files by content, and its tables as they were merged."""
        self.write(LEAST, "base.toml")
        content = 'extends = "base.toml"\nstart = 2026-03-02\n[driver]\npatience_minutes = inf\n'
        scenario = self.read(content, "days=3")
        self.assertEqual(scenario.files, {"feira.toml": content, "base.toml": LEAST})
        self.assertEqual(
            json.loads(json.dumps(plain(scenario.raw), allow_nan=False)),
            {
                "extends": "base.toml",
                "start": "2026-03-02",
                "days": 3,
                "driver": {"patience_minutes": "inf"},
                "demand": {"drivers_per_day": 100},
            },
        )


class MistakeTests(ScenarioTestCase):
    """What is wrong is told with its file, line and key."""

    def test_each(self) -> None:
        """Each key says what it wants."""
        many = "; there are demand, title, start"
        for line, expected in (
            ("title = 3", "title: must be text, not 3"),
            ('title = ""', 'title: must be text, not ""'),
            (
                "start = 2026-03-02T00:00:00Z",
                "start: must be a local time, without an offset: time_zone says where",
            ),
            (
                'start = "monday"',
                'start: must be a local time such as 2026-03-02T00:00:00, not "monday"',
            ),
            ("start = 1026-03-02", "start: must be in the years 2000 to 2199, not 1026"),
            ("days = 0", "days: must be a whole number from 1 to 36600, not 0"),
            ("days = 1.5", "days: must be a whole number from 1 to 36600, not 1.5"),
            ("days = true", "days: must be a whole number from 1 to 36600, not true"),
            (
                'time_zone = "Bahia"',
                "time_zone: 'Bahia' is no time zone, such as America/Bahia",
            ),
            ('fleet = "all"', 'fleet: must be "catalogue", or a table of models and their shares'),
            ("network = 1", "network: must be a table, not 1"),
            ("network.change = 1", "network.change: must be a list of tables, not 1"),
            ("network.change = [1]", "network.change.0: must be a table, not 1"),
            ("driver.books = 1.1", "driver.books: must be a number from 0 to 1, not 1.1"),
            ("driver.books = nan", "driver.books: must be a number from 0 to 1, not nan"),
            ("driver.old_app = '1'", 'driver.old_app: must be a number from 0 to 1, not "1"'),
            (
                "driver.road_factor = 0.9",
                "driver.road_factor: must be a number from 1 to 10, not 0.9",
            ),
            ("driver.speed_km_h = 0", "driver.speed_km_h: must be a number from 1 to 300, not 0"),
            (
                "driver.start_percent = { uniform = [10, 101] }",
                "driver.start_percent: must be from 0 to 100",
            ),
            (
                "driver.target_percent = { exponential = 50 }",
                "driver.target_percent: must be from 0 to 100; exponential has no end",
            ),
            ("driver.overstay_minutes = -1", "driver.overstay_minutes: must be 0 or more"),
            ("driver.overstay_minutes = inf", "driver.overstay_minutes: must be finite"),
            (
                "driver.city_trip_km = { lognormal = 6 }",
                "driver.city_trip_km: lognormal: must be [median, sigma]",
            ),
            (
                "driver.choose = { time = 0.5, price = 0.4 }",
                "driver.choose: the shares add up to 0.9, not to 1",
            ),
            (
                "faults.mean_days_between = -1",
                "faults.mean_days_between: must be a number from 0 to 1e+06, not -1",
            ),
            ("study.seed = -1", "study.seed: must be a whole number from 0 to 9.22337e+18, not -1"),
            (
                "study.precision = 0.05",
                "study.precision: must be 0: there is no stopping by precision yet; "
                "say replications",
            ),
            ("study.warm_up_hours = 24", "study: warm_up_hours leaves nothing of 1 days"),
            ("study.vary = [{ key = 'days' }]", "study.vary.0: values is missing"),
            (
                "study.vary = [{ key = 'days', values = [] }]",
                "study.vary.0.values: must be a list of the values to try, not an empty one",
            ),
            (
                "network.options = { queue_limit = 2000 }",
                "network.options.queue_limit: must be a whole number from 0 to 1000, not 2000",
            ),
            ("extends = 3", "extends: must be text, not 3"),
            ("titel = 'x'", "titel: there is no such key; the nearest is title"),
            ("zzz.zzz = 1", f"zzz: there is no such key{many}"),
        ):
            (problem,) = self.problems(f"# A comment\n{line}\n{LEAST}")
            self.assertTrue(problem.startswith(f"feira.toml:2: {expected}"), problem)
            if many not in expected:
                self.assertEqual(problem, f"feira.toml:2: {expected}")

    def test_demand(self) -> None:
        """So does each of the demand's."""
        zone = "[[demand.zone]]\nname = 'a'\n"
        for content, expected in (
            ("", "1: demand is missing"),
            ("[demand]", "1: demand: drivers_per_day is missing"),
            (
                "[demand]\ndrivers_per_day = -1",
                "2: demand.drivers_per_day: must be a number from 0 to 1e+07, not -1",
            ),
            (
                LEAST + f"by_hour = {[1] * 23}",
                "3: demand.by_hour: 24 numbers, not 23",
            ),
            (LEAST + "by_weekday = 7", "3: demand.by_weekday: 7 numbers, not 7"),
            (LEAST + f"by_weekday = {[0] * 7}", "3: demand.by_weekday: all of them are 0"),
            (
                LEAST + "by_weekday = [1, 1, -1, 1, 1, 1, 1]",
                "3: demand.by_weekday: number 3 of 7 must be 0 or more, not -1",
            ),
            (LEAST + zone, "3: demand.zone.0: must have centre and radius_km, or box"),
            (
                LEAST + zone + "centre = [0, 0]",
                "3: demand.zone.0: centre and radius_km go together",
            ),
            (
                LEAST + zone + "centre = [91, 0]\nradius_km = 1",
                "5: demand.zone.0.centre: must be [latitude, longitude] in degrees, not [91, 0]",
            ),
            (
                LEAST + zone + "box = [[1, 0], [0, 1]]",
                "5: demand.zone.0.box: must have its south-west corner first, then the "
                "north-east one",
            ),
            (
                LEAST + zone + "box = [[1, 0]]",
                "5: demand.zone.0.box: must be two corners, each [latitude, longitude], "
                "not [[1, 0]]",
            ),
            (
                LEAST + (zone + "share = 0.4\nbox = [[0, 0], [1, 1]]\n") * 2,
                "3: demand.zone: two are called a",
            ),
            (
                LEAST + zone + "share = 0.4\nbox = [[0, 0], [1, 1]]",
                "3: demand.zone: the shares add up to 0.4, not to 1",
            ),
            (
                LEAST
                + "".join(f"[[demand.zone]]\nname='{n}'\nbox=[[0, 0], [1, 1]]\n" for n in "ab"),
                "3: demand.zone: each of several must have its share",
            ),
        ):
            self.assertEqual(self.problems(content)[0], f"feira.toml:{expected}")

    def test_network(self) -> None:
        """Stations, tariffs and models are those that there are."""
        change = "[[network.change]]\nstation = '3'\n"
        hours = "from = 2026-03-02T18:00:00\nto = 2026-03-02T21:00:00\n"
        for content, expected in (
            (
                "[[network.change]]\nstation = '333'\nadd_evses = 1",
                '2: network.change.0.station: there is no station "333"; the nearest is 33',
            ),
            (
                change,
                "1: network.change.0: one of add_evses, evses, remove_evses, status says what "
                "changes, not none",
            ),
            (
                change + "add_evses = 1\nstatus = 'REMOVED'",
                "1: network.change.0: one of add_evses, evses, remove_evses, status says what "
                "changes, not add_evses and status",
            ),
            (
                change + "status = 'BROKEN'",
                "3: network.change.0.status: must be one of IN_SERVICE, INOPERATIVE, OUTOFORDER, "
                'PLANNED, REMOVED, UNKNOWN, not "BROKEN"',
            ),
            (
                change + "evses = [{ uid = 'x' }]",
                '3: network.change.0.evses: "x": connectors: is missing',
            ),
            (
                change + "evses = [{ uid = '1-1', connectors = [{ id = '1', standard = "
                "'IEC_62196_T2', format = 'SOCKET', power_type = 'AC_3_PHASE' }] }]",
                "1: network.change.0: evses: there is one already that is called 1-1",
            ),
            (
                change + "remove_evses = 7",
                "1: network.change.0: remove_evses: the station has 6 then",
            ),
            (
                f"[[network.tariff]]\nstation = 3\n{hours}tariff = 'peak'",
                '5: network.tariff.0.tariff: there is no tariff "peak"; there are ponta, estrada, '
                "noite",
            ),
            (
                "[[network.tariff]]\nstation = '3'\nfrom = 2026-03-02T18:00:00\n"
                "to = 2026-03-02T18:00:00\ntariff = 'noite'",
                "4: network.tariff.0.to: must be later than from, which is 2026-03-02T18:00:00",
            ),
            (
                "[fleet]\n'BYD Dolfin' = 1.0",
                '2: fleet."BYD Dolfin": there is no model "BYD Dolfin"; the nearest is BYD Dolphin',
            ),
            (
                "[fleet]\n'BYD Dolphin' = 0.5",
                "1: fleet: the shares add up to 0.5, not to 1",
            ),
        ):
            (problem,) = self.problems(f"{content}\n{LEAST}")
            self.assertTrue(problem.startswith(f"feira.toml:{expected}"), problem)

    def test_at_once(self) -> None:
        """All are told at once, in the order of the file; and the nearest of an unknown key."""
        self.assertEqual(
            self.problems(
                "dais = 2\n"
                "[network]\n"
                "options = { hold = 3, offer_minutes = 0 }\n"
                "[fleet]\n"
                "'Nissan Laef' = 0.5\n"
                "'BYD Dolphin' = 0.4\n"
                "[demand]\n"
                f"by_hour = {[1] * 23}\n"
                "drivers_a_day = 900\n"
                "[[demand.zone]]\n"
                "name = 'a'\n"
                "radius = 3\n"
                "share = 0.5\n"
                "[driver]\n"
                "choose = { time = 1, price = 1 }\n"
                "books = 2\n"
            ),
            [
                "feira.toml:1: dais: there is no such key; the nearest is days",
                "feira.toml:3: network.options.hold: there is no such key; the nearest is "
                "hold_minutes",
                "feira.toml:3: network.options.offer_minutes: must be a number from 0.01 to 1440, "
                "not 0",
                "feira.toml:4: fleet: the shares add up to 0.9, not to 1",
                'feira.toml:5: fleet."Nissan Laef": there is no model "Nissan Laef"; the nearest '
                "is Nissan Leaf",
                "feira.toml:7: demand: drivers_per_day is missing",
                "feira.toml:8: demand.by_hour: 24 numbers, not 23",
                "feira.toml:9: demand.drivers_a_day: there is no such key; the nearest is "
                "drivers_per_day",
                "feira.toml:10: demand.zone: the shares add up to 0.5, not to 1",
                "feira.toml:12: demand.zone.0.radius: there is no such key; the nearest is "
                "radius_km",
                "feira.toml:15: driver.choose: the shares add up to 2, not to 1",
                "feira.toml:16: driver.books: must be a number from 0 to 1, not 2",
            ],
        )

    def test_no_toml(self) -> None:
        """What is no TOML is told with its line, and so is a file that cannot be read."""
        self.assertEqual(self.problems("[demand]\nx = = 1\n"), ["feira.toml:2: Invalid value"])
        (problem,) = self.problems("a = 1\nb = [1, ")
        self.assertTrue(problem.startswith("feira.toml:2: "), problem)
        (problem,) = self.problems("a = " + "[" * 5000)
        self.assertIn("too deep", problem)
        (problem,) = self.problems("a = " + "1" * 5000)
        self.assertTrue(problem.startswith("feira.toml:1: "), problem)
        path = self.folder / "bytes.toml"
        path.write_bytes(b"title = '\xff'")
        error = self.assertRaises(ScenarioError, read, path)
        self.assertEqual(error.problems, [f"{path}: is no text in UTF-8"])
        for name, expected in (
            ("weekdya", "there is no file weekdya, nor is a scenario of that name shipped; the "
             "nearest is weekday"),
            ("not-there.toml", "there is no file not-there.toml"),
            ("growth.toml", "there is no file growth.toml; the shipped scenario is called growth"),
            (str(self.folder), f"{self.folder}: Is a directory"),
            ("a\0b", "a\0b: embedded null byte"),
        ):  # fmt: skip
            error = self.assertRaises(ScenarioError, read, name)
            self.assertEqual(error.problems, [expected])

    def test_windows(self) -> None:
        """Line ends and marks of other systems are no mistakes, and lines are counted right."""
        path = self.folder / "feira.toml"
        path.write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\ndays = 0\r\n[demand]\r\ndrivers_per_day = 1")
        error = self.assertRaises(ScenarioError, read, path)
        self.assertEqual(len(error.problems), 1)
        self.assertIn(":3: days", error.problems[0])

    @settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
    @given(st.data())
    def test_any_file(self, data: Any) -> None:
        """Whatever becomes of a file, it is a scenario or its mistakes are told by line."""
        text = data.draw(st.sampled_from(sorted(shipped_scenarios().values())))
        for _ in range(data.draw(st.integers(1, 3))):
            start = data.draw(st.integers(0, len(text)))
            more = data.draw(
                st.sampled_from(["", "\n", "0", "-", "[", "]", "{", '"', "=", ",", ".", "x", "1e9"])
                | st.text(max_size=3)
            )
            text = text[:start] + more + text[start + data.draw(st.integers(0, 30)) :]
        try:
            text.encode()
            self.assertIsInstance(self.read(text), Scenario)
        except ScenarioError as error:
            self.assertTrue(error.problems)
            for problem in error.problems:
                self.assertRegex(problem, r"^(\S*\.toml:\d+: |there is no file |\S+: )")


class ExtendsTests(ScenarioTestCase):
    """A scenario that changes another one."""

    def test_merged(self) -> None:
        """Tables are merged key by key; lists and distributions are replaced."""
        self.write(
            "title = 'base'\n[demand]\ndrivers_per_day = 100\n"
            "[[demand.zone]]\nname = 'a'\nbox = [[0, 0], [1, 1]]\n"
            "[driver]\nbooks = 0.1\nno_show = 0.2\nstart_percent = { uniform = [1, 2] }\n",
            "base.toml",
        )
        scenario = self.read(
            "extends = 'base.toml'\n[demand]\n"
            "zone = [{ name = 'b', centre = [0, 0], radius_km = 1 }]\n"
            "[driver]\nbooks = 0.9\nstart_percent = { triangular = [1, 2, 3] }\n"
        )
        self.assertEqual(scenario.title, "base")
        self.assertEqual(scenario.demand.drivers_per_day, 100)
        self.assertEqual([zone.name for zone in scenario.demand.zones], ["b"])
        self.assertEqual((scenario.driver.books, scenario.driver.no_show), (0.9, 0.2))
        self.assertEqual(scenario.driver.start_percent.form, "triangular")

    def test_places(self) -> None:
        """Each mistake is told where it is written, those of the file itself first."""
        self.write("\ndays = 0\n[demand]\ndrivers_per_day = 1\nby_hour = []\n", "base.toml")
        self.assertEqual(
            self.problems("extends = 'base.toml'\n[driver]\nbooks = 2\n[demand]\nby_hour = 3"),
            [
                "feira.toml:3: driver.books: must be a number from 0 to 1, not 2",
                "feira.toml:5: demand.by_hour: 24 numbers, not 3",
                "base.toml:2: days: must be a whole number from 1 to 36600, not 0",
            ],
        )

    def test_shipped(self) -> None:
        """A shipped scenario can be extended by its name, from any folder."""
        scenario = self.read("extends = 'terminal'\n[driver]\nbooks = 1.0")
        self.assertEqual((scenario.driver.books, len(variants(scenario))), (1.0, 4))

    def test_circle(self) -> None:
        """Files that extend one another are told, and so is one that is not there."""
        self.write("extends = 'feira.toml'", "other.toml")
        self.assertEqual(
            self.problems("extends = 'other.toml'"),
            ["other.toml: extends: feira.toml extends other.toml extends feira.toml"],
        )
        self.assertEqual(
            self.problems("\nextends = 'gone.toml'"),
            ["feira.toml:2: extends: there is no file gone.toml"],
        )


class SettingTests(ScenarioTestCase):
    """What the command line sets."""

    def test_set(self) -> None:
        """Each kind of value, in tables that are there or not, in lists, of quoted keys."""
        scenario = self.read(
            shipped_scenarios()["terminal"],
            "demand.drivers_per_day=1200",
            "title=More of it",
            "faults.mean_days_between = 3",
            "network.change.0.add_evses=5",
            "driver.patience_minutes={exponential = 3}",
            'fleet={"Nissan Leaf" = 1}',
            "network.options.queue_limit=7",
        )
        self.assertEqual(scenario.demand.drivers_per_day, 1200)
        self.assertEqual(scenario.title, "More of it")
        self.assertEqual(scenario.faults.mean_days_between, 3)
        self.assertEqual(scenario.network.changes[0].add_evses, 5)
        self.assertEqual(scenario.driver.patience_minutes.mean, 3)
        self.assertEqual(scenario.fleet, (("Nissan Leaf", 1),))
        self.assertEqual(scenario.terms.most_waiting, 7)
        more, less = 'fleet."BYD Dolphin Mini"=0.5', "fleet.'BYD Dolphin'=0.15"
        fleet = dict(self.read(shipped_scenarios()["weekday"], more, less).fleet or ())
        self.assertEqual((fleet["BYD Dolphin Mini"], fleet["BYD Dolphin"]), (0.5, 0.15))

    def test_mistakes(self) -> None:
        """A mistake is told by its option, and beside those of the file."""
        self.assertEqual(
            self.problems(
                LEAST + "[driver]\nbooks = 2",
                "demand.driver_per_day=9",
                "days=many",
                "network.change.0.add_evses=1",
                "demand.drivers_per_day.x=1",
            ),
            [
                "feira.toml:4: driver.books: must be a number from 0 to 1, not 2",
                "--set: demand.driver_per_day: there is no such key; the nearest is "
                "drivers_per_day",
                '--set: days: must be a whole number from 1 to 36600, not "many"',
                "--set: network.change.0.add_evses: there is no list here that could have an "
                "entry 0",
                "--set: demand.drivers_per_day.x: there is no x in what is not a table",
            ],
        )
        self.assertEqual(
            self.problems(shipped_scenarios()["terminal"], "network.change.3.add_evses=1"),
            ["--set: network.change.3.add_evses: there are 1 entries, counted from 0, and no 3"],
        )

    def test_unreadable(self) -> None:
        """What is no key=value is refused."""
        for read_it, text in (
            (setting, "days"),
            (setting, "=3"),
            (setting, "days="),
            (setting, "a b=3"),
            (setting, "[days]=3"),
            (varied, "days"),
            (varied, "a b=1,2"),
        ):
            self.assertRaises(ValueError, read_it, "--set", text)

    def test_precedence(self) -> None:
        """The last one counts."""
        self.assertEqual(self.read(LEAST, "days=2", "days=3").days, 3)


class VariantTests(ScenarioTestCase):
    """The scenarios that a study compares."""

    def test_grid(self) -> None:
        """Each value with each other, the first key changing the slowest."""
        scenario = read(
            self.write(LEAST),
            [
                varied("--vary", "demand.drivers_per_day=100,200"),
                varied("--vary", "driver.books=0,0.5,1"),
            ],
        )
        found = variants(scenario)
        self.assertEqual(
            [(v.scenario.demand.drivers_per_day, v.scenario.driver.books) for v in found],
            [(100, 0), (100, 0.5), (100, 1), (200, 0), (200, 0.5), (200, 1)],
        )
        self.assertEqual(found[4].values, {"demand.drivers_per_day": 200, "driver.books": 0.5})

    def test_none(self) -> None:
        """Where nothing is varied there is the scenario itself."""
        scenario = self.read(LEAST)
        (only,) = variants(scenario)
        self.assertEqual((only.values, only.scenario), ({}, scenario))

    def test_texts(self) -> None:
        """Values may be words and times."""
        scenario = read(
            self.write(LEAST),
            [
                varied("--vary", "time_zone=America/Bahia,Europe/Lisbon"),
                varied("--vary", "start=2026-03-02,2026-03-03"),
            ],
        )
        self.assertEqual(len({each.scenario.begin for each in variants(scenario)}), 4)

    def test_replaced(self) -> None:
        """The command line's values of a key go before those of the file."""
        scenario = read("terminal", [varied("--vary", "network.change.0.add_evses=1,3")])
        added = [each.scenario.network.changes[0].add_evses for each in variants(scenario)]
        self.assertEqual(added, [1, 3])
        label = scenario.study.vary[0].label
        self.assertEqual(label["en"], "more EVSEs at the bus terminal")
        none = read("terminal", [setting("--set", "study.vary=[]")])
        self.assertEqual(len(variants(none)), 1)

    def test_mistakes(self) -> None:
        """A value that is wrong is told at once, where it is written."""
        vary = "[[study.vary]]\nkey = 'driver.books'\nvalues = [0.5, 2, 3]\n"
        self.assertEqual(
            self.problems(LEAST + vary),
            [
                "feira.toml:3: driver.books: must be a number from 0 to 1, not 2",
                "feira.toml:3: driver.books: must be a number from 0 to 1, not 3",
            ],
        )
        for key, values, expected in (
            ("study.seed", "[1, 2]", "study.seed cannot be varied: all variants run the same"),
            ("driver.boks", "[1]", "driver.boks: there is no such key; the nearest is books"),
            ("a b", "[1]", "a b: 'a b' is no key, such as demand.drivers_per_day"),
            ("days", str(list(range(1, 300))), "299 variants are over 200"),
        ):
            content = f"{LEAST}[[study.vary]]\nkey = '{key}'\nvalues = {values}\n"
            (problem,) = self.problems(content)
            self.assertTrue(problem.startswith("feira.toml:3: "), problem)
            self.assertTrue(problem.endswith(expected), problem)
        twice = "[[study.vary]]\nkey = 'days'\nvalues = [1, 2]\n" * 2
        self.assertEqual(
            self.problems(LEAST + twice), ["feira.toml:3: study.vary: days is there twice"]
        )


class NetworkTests(ScenarioTestCase):
    """The network of a scenario."""

    def test_csv(self) -> None:
        """A CSV beside the scenario; its cars and tariffs are the shipped ones."""
        self.write(f"{ROW}\n7;A;Rua;-12.2;-38.9;3;50\n", "mine.csv")
        scenario = self.read(LEAST + "[network]\nstations = 'mine.csv'\n")
        network = load(scenario.sources)
        self.assertEqual([(s.station_id, s.max_slots) for s in network.stations.values()], [(7, 3)])
        self.assertIn("Nissan Leaf", network.car_models)
        self.assertIn("noite", network.tariffs)
        self.assertIn(b"A;Rua", scenario.sources.stations or b"")

    def test_directory(self) -> None:
        """A data directory, with what it has of its own, while a server may run on it."""
        folder = self.folder / "data"
        folder.mkdir()
        (folder / STATIONS).write_text(f"{ROW}\n1;A;Rua;-12.2;-38.9;3;50\n")
        (folder / TARIFFS).write_bytes(shipped(TARIFFS).replace(b"estrada", b"mine"))
        evses = json.loads(shipped(EVSES))
        (folder / EVSES).write_text(json.dumps({"1": evses["1"]}))
        (folder / ".lock").touch()
        scenario = self.read(LEAST + "[network]\nstations = 'data'\n")
        network = load(scenario.sources)
        self.assertEqual(len(network.stations[1].evses), 8)
        self.assertEqual(sorted(network.tariffs), ["mine", "noite", "ponta"])

    def test_mistakes(self) -> None:
        """What is wrong in its files is told by the key that names them."""
        content = "[network]\nstations = 'mine.csv'\n" + LEAST
        (problem,) = self.problems(content)
        self.assertEqual(
            problem, "feira.toml:2: network.stations: mine.csv: No such file or directory"
        )
        (problem,) = self.problems(content.replace("mine.csv", "sqlite:///mine.db"))
        self.assertIn("feira.toml:2: network.stations: must be a file or a directory", problem)
        self.write(f"{ROW}\n7;A;Rua;-91;-38.9;0;50\n", "mine.csv")
        problems = self.problems("days = 0\n" + content)
        self.assertEqual(len(problems), 3)
        self.assertIn("feira.toml:1: days", problems[0])
        for problem in problems[1:]:
            self.assertIn("feira.toml:3: network.stations: mine.csv: line 2", problem)

    def test_never_written(self) -> None:
        """Reading a scenario writes nothing."""
        self.write(f"{ROW}\n7;A;Rua;-12.2;-38.9;3;50\n", "mine.csv")
        self.read(LEAST + "[network]\nstations = 'mine.csv'\n")
        self.assertEqual(
            sorted(path.name for path in self.folder.iterdir()), ["feira.toml", "mine.csv"]
        )
