"""`evcharge plan`, run as people run it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import tests
from evcharge.commands.plan_network import from_files
from tests.support.commands import run
from tests.support.scripted import ROOT, command

VECTORS = Path(tests.__file__).parent / "data" / "planner-vectors.json"
SHIPPED = resources.files("evcharge") / "data"
STATIONS = str(SHIPPED / "feira_de_santana_stations.csv")
FEIRA, SALVADOR, CONQUISTA = "-12.2664,-38.9663", "-12.9714,-38.5014", "-14.8615,-40.8442"
TESLA = ("plan", "--car", "Tesla Model 3")


def planned(battery: float, *more: str, to: str = SALVADOR) -> dict[str, Any]:
    """What is printed as JSON."""
    trip = ("--battery", str(battery), "--from", FEIRA, "--to", to, "--json")
    status, out, err = run(*TESLA, *trip, *more)
    assert (status, err) == (0, ""), (status, err)
    found: dict[str, Any] = json.loads(out)
    return found


class PlanTests(SynchronousTestCase):
    """Trips."""

    def test_worked_numbers(self) -> None:
        """From Feira to Salvador by the shipped stations, it is each time the one that trying
        each of them by itself has found."""
        for battery, criterion, station, arrive, depart, kwh, charge, km, total, price in (
            (40, "time", "35", 37.89, 45.13, 3.620, 2.172, 121.700, 98.447, 8.51),
            (40, "balanced", "18", 39.02, 46.19, 3.584, 2.688, 121.465, 98.787, 7.89),
            (40, "price", "6", 39.40, 47.65, 4.125, 8.250, 124.999, 106.999, 7.42),
            (20, "time", "32", 16.72, 44.28, 13.780, 5.860, 122.748, 102.922, 38.45),
            (20, "price", "6", 19.40, 47.65, 14.125, 28.250, 124.999, 126.999, 25.42),
        ):
            data = planned(battery, "--criterion", criterion, "--stations", STATIONS)
            plan = data["plan"]
            (stop,) = plan["stops"]
            self.assertEqual((stop["id_station"], stop["connector"]), (station, "CCS2"))
            for told, wanted in (
                (stop["arrive_percent"], arrive),
                (stop["depart_percent"], depart),
                (plan["price"], price),
            ):
                self.assertLess(abs(told - wanted), 0.005001)
            for told, wanted in (
                (plan["energy_kwh"], kwh),
                (plan["charge_minutes"], charge),
                (plan["distance_km"], km),
                (plan["total_minutes"], total),
            ):
                self.assertLess(abs(told - wanted), 0.0005001)
            self.assertEqual((data["stations_considered"], plan["gap_minutes"]), (25, 0))
            self.assertEqual(data["assumed"], ["road", "speed", "consumption"])

    def test_within_range(self) -> None:
        """There and back, within range, there is no stop."""
        plan = planned(90, "--via", SALVADOR, "--stations", STATIONS, to=FEIRA)["plan"]
        self.assertEqual((plan["stops"], plan["price"]), ([], 0))
        self.assertAlmostEqual(plan["distance_km"], 242.374, 3)
        self.assertAlmostEqual(plan["total_minutes"], 181.781, 3)
        self.assertEqual([leg["to"] for leg in plan["legs"]], [{"place": 1}, {"place": 2}])

    def test_as_written(self) -> None:
        """It works as it is written, with places that begin with a minus, and draws a table."""
        trip = ("--battery", "90", "--from", FEIRA, "--to", CONQUISTA)
        done = command(*TESLA, *trip)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        head, names, departure, *stops, destination, last = done.stdout.splitlines()
        self.assertRegex(
            head, r"^Tesla Model 3: 460\.7 km in 6 h \d+ min, 2 stops, R\$ .*, arrives with 10\.0 %"
        )
        self.assertEqual(
            names.split(), ["km", "at", "arrive", "leave", "kWh", "charge", "wait", "R$"]
        )
        self.assertEqual(departure.split(), ["departure", "0:00", "90.0", "%"])
        self.assertEqual(len(stops), 2)
        self.assertTrue(stops[1].startswith("115 Jequié"))
        self.assertTrue(destination.startswith("destination"))
        self.assertIn("assumed: road, speed, consumption", last)

    def test_front(self) -> None:
        """A front goes from the fastest plan to the cheapest one."""
        plans = planned(40, "--criterion", "front", "--stations", STATIONS)["plans"]
        self.assertEqual(plans[0]["stops"][0]["id_station"], "35")
        self.assertEqual(plans[-1]["stops"][0]["id_station"], "6")
        minutes = [plan["total_minutes"] for plan in plans]
        prices = [plan["price"] for plan in plans]
        self.assertEqual((minutes, prices), (sorted(minutes), sorted(prices, reverse=True)))
        trip = ("--battery", "40", "--from", FEIRA, "--to", SALVADOR, "--criterion", "front")
        _, out, _ = run(*TESLA, *trip, "--stations", STATIONS)
        self.assertEqual(out.count("destination"), len(plans))

    def test_why_not(self) -> None:
        """Where there is no plan it is said which leg, what is missing, and what would help."""
        trip = ("--battery", "30", "--from", CONQUISTA, "--to", FEIRA)
        status, _, err = run(*TESLA, *trip, "--stations", STATIONS)
        self.assertEqual(status, 1)
        self.assertRegex(err, r"on leg 1 of the trip \d+\.\d km are missing; neither more battery")
        status, _, err = run(*TESLA, "--battery", "2", "--from", FEIRA, "--to", SALVADOR)
        self.assertIn("there is one with 11 % in the battery or with a reserve of 1 %", err)
        data = planned(30, "--via", CONQUISTA, "--stations", STATIONS)
        self.assertFalse(data["feasible"])
        self.assertEqual(data["blocked_leg"], 0)

    def test_avoid(self) -> None:
        """A station that is to be avoided is."""
        avoided = planned(40, "--avoid", "35", "--avoid", "18", "--stations", STATIONS)
        self.assertNotIn(avoided["plan"]["stops"][0]["id_station"], ("35", "18"))
        self.assertEqual(avoided["stations_considered"], 23)

    def test_storage(self) -> None:
        """The cars and stations of a storage are planned on, and who charges there is waited
        for."""
        folder = self.mktemp()
        trip = ("--battery", "40", "--from", FEIRA, "--to", SALVADOR)
        status, _, err = run(*TESLA, *trip, "--storage", f"files:{folder}")
        self.assertEqual(status, 1)
        self.assertIn("no such file or directory", err)
        run("bootstrap", "--data", folder, "--users", "100", "--seed", "1")
        plan = planned(40, "--storage", f"files:{folder}")["plan"]
        self.assertEqual(len(plan["stops"]), 1)
        cars = Path(folder) / "car_models.json"
        models = json.loads(cars.read_text())
        models["Mine"] = models.pop("Tesla Model 3")
        cars.write_text(json.dumps(models))
        status, _, err = run(*TESLA, *trip, "--storage", f"files:{folder}")
        self.assertEqual(status, 2)
        self.assertIn("has no model 'Tesla Model 3'; it has Tesla Model 3 Long Range", err)
        shutil.rmtree(folder)

    def test_wrong_options(self) -> None:
        """A mistake is told with its option, and never as a traceback."""
        trip = ("--battery", "40", "--from", FEIRA, "--to", SALVADOR)
        for words, why in (
            (TESLA, "--battery, --from, --to must be given"),
            (
                (*TESLA, *trip[:4], "--to", "-12.9"),
                "--to must be latitude and longitude, with points, as -12.2664,-38.9663",
            ),
            ((*TESLA, *trip[:4], "--to", "-92,1"), "--to: '-92,1' is no place on Earth"),
            ((*TESLA, *trip, "--max", "10"), "--max must be more than --reserve, which is 10"),
            ((*TESLA, *trip, "--stations", "/nowhere.csv"), "/nowhere.csv: No such file"),
            ((*TESLA, *trip, *["--via", FEIRA] * 11), "--via can be given 10 times"),
            ((*TESLA, *trip, "--avoid", "35", "--avoid", "x"), "--avoid: there is no station 'x'"),
            (("plan", "--car", "Tesla", *trip), "has no model 'Tesla'; it has Tesla Model"),
        ):
            status, out, err = run(*words)
            self.assertEqual((status, out), (2, ""), words)
            self.assertIn(why, err)


class PageTests(SynchronousTestCase):
    """docs/planner.md."""

    def test_transcripts(self) -> None:
        """What it shows of commands is what they print."""
        page = (ROOT / "docs" / "planner.md").read_text()
        shown = re.findall(r"^\$ (evcharge|python) (.*)\n((?:.*\n)*?)```", page, re.M)
        self.assertEqual(len(shown), 3)
        for program, words, output in shown:
            if program == "evcharge":
                self.assertEqual(command(*shlex.split(words)).stdout, output)
            else:
                done = subprocess.run(
                    [sys.executable, *words.split()], cwd=ROOT, capture_output=True, text=True
                )
                self.assertEqual((done.stdout, done.stderr), (output, ""))


class RoadTests(SynchronousTestCase):
    """The stations on the roads."""

    def test_ids(self) -> None:
        """There are at most 30, and none has the id of one in the city."""
        states = from_files(None).states
        self.assertEqual(len({state.station.key for state in states}), len(states))
        self.assertLessEqual(len(states) - 36, 30)


class VectorTests(SynchronousTestCase):
    """Cases of which the answers are known."""

    def test_all(self) -> None:
        """Each case of a file is solved, in order, a line of JSON each."""
        status, out, err = run("plan", "--vectors", str(VECTORS))
        self.assertEqual((status, err), (0, ""))
        whole = json.loads(VECTORS.read_text())
        lines = [json.loads(line) for line in out.splitlines()]
        wanted = [
            (of, each["name"], each["objective_h"])
            for of in ("routes", "other_starts", "made")
            for each in whole[of]
        ]
        self.assertEqual([(line["set"], line["name"]) for line in lines], [w[:2] for w in wanted])
        for line, (of, name, hours) in zip(lines, wanted, strict=True):
            found = line["objective_h"]
            if hours is None:
                self.assertIsNone(found, (of, name))
            else:
                self.assertLess(abs(found - hours), 5e-7, (of, name))

    def test_same_again(self) -> None:
        """Another process prints the same bytes, whatever its hashes are."""
        printed = [
            command("plan", "--vectors", str(VECTORS), PYTHONHASHSEED=seed).stdout
            for seed in ("1", "2")
        ]
        self.assertEqual(len(printed[0].splitlines()), 164)
        self.assertEqual(*printed)

    def test_no_stations(self) -> None:
        """Where there is no station, a route is driven with what the battery has, to the end."""
        whole = json.loads(VECTORS.read_text())
        whole["instance"]["stations"] = {}
        path = Path(self.mktemp())
        path.write_text(json.dumps({**whole, "other_starts": [], "made": []}))
        status, out, err = run("plan", "--vectors", str(path))
        self.assertEqual((status, err), (0, ""))
        energy = whole["instance"]["energy_wh"]
        for line, case in zip(out.splitlines(), whole["routes"], strict=True):
            needed = sum(energy[a][b] for a, b in pairwise(case["route"]))
            hours = json.loads(line)["objective_h"]
            self.assertEqual(hours is not None, needed <= 16_000, case["name"])

    def test_wrong_files(self) -> None:
        """A mistake in a file is told by its path, and nothing is printed."""
        whole = json.loads(VECTORS.read_text())
        case = whole["made"][0]

        def made(**changes: Any) -> str:
            return json.dumps({"made": [{**case, **changes}]})

        def routes(**changes: Any) -> str:
            return json.dumps({**whole, "routes": [{**whole["routes"][0], **changes}]})

        def instance(**changes: Any) -> str:
            return json.dumps({**whole, "instance": {**whole["instance"], **changes}})

        path = Path(self.mktemp())
        for text, why in (
            ("{", "not JSON"),
            ("[]", "the file: must be an object"),
            ("{}", "must have routes, other_starts or made"),
            (json.dumps({"routes": whole["routes"]}), "instance: is missing"),
            (made(route=[0, 99]), "made[0].route[1]: must be a whole number from 0 to 7"),
            (made(start="x"), "made[0].start: must be a number of 0 or more"),
            (made(energy=[[0, 1]]), "made[0].energy: must be square"),
            (made(most=0), "made[0]: most_kwh must be more than reserve_kwh"),
            (made(stations={"3": {"charge": [0, 1], "time_h": [0]}}), "stations.3.charge: there"),
            (
                made(stations={"3": {"charge": [0, 1], "time_h": [0, 1]}}),
                "made[0]: charge of the station of node 3 must go from 0 to most_kwh",
            ),
            (made(energy=[], time_h=[]), "made[0].energy: must be square"),
            (made(route=[]), "made[0].route: must have two nodes or more"),
            (routes(route=[0]), "routes[0].route: must have two nodes or more"),
            (instance(time_h="energy_wh / 0"), "instance.time_h: must begin as"),
            (instance(time_h="energy_wh / ..."), "instance.time_h: must begin as"),
        ):
            path.write_text(text)
            status, out, err = run("plan", "--vectors", str(path))
            self.assertEqual((status, out), (2, ""), text[:80])
            self.assertIn(why, err)
        status, _, err = run("plan", "--vectors", "/nowhere.json")
        self.assertIn("/nowhere.json: No such file", err)
