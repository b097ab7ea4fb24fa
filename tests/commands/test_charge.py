"""`evcharge charge` and `evcharge price`, run as people run them."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import tests
from tests.support.scripted import ROOT, command, environment

VECTORS = json.loads((Path(tests.__file__).parent / "data" / "tariff-vectors.json").read_text())


class ChargeTests(SynchronousTestCase):
    """How long a car charges."""

    def test_dc(self) -> None:
        """The minutes, the energy and a curve, by the car's own connector for DC."""
        done = command("charge", "Tesla Model 3", "--from", "40", "--to", "80", "--power", "150")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        first, second, _, *curve = done.stdout.splitlines()
        self.assertEqual(first, "Tesla Model 3 at 150 kW by CCS2, 40 % to 80 %")
        self.assertEqual(second, "11.5 minutes, 20.00 kWh, 104.0 kW on average, 149.0 kW at most")
        self.assertEqual(len(curve), 14)
        self.assertEqual(max(map(len, curve)), 71)
        self.assertIn("149 kW │", curve[0])
        self.assertTrue(curve[-1].endswith("80 %"))

    def test_ac(self) -> None:
        """By another connector, whose phases are taken into account."""
        done = command("charge", "nissan leaf", "--from=20", "--connector=tipo 2", "--power=11")
        self.assertIn("373.1 minutes, 22.80 kWh", done.stdout)
        self.assertIn("Nissan Leaf at 11 kW by Type 2, 20 % to 80 %", done.stdout)

    def test_narrow(self) -> None:
        """In a narrow terminal the curve is as wide as that, and not wrapped."""
        done = command("charge", "Nissan Leaf", COLUMNS="40")
        curve = done.stdout.splitlines()[3:]
        self.assertEqual((len(curve), max(map(len, curve))), (14, 40))

    def test_assumed(self) -> None:
        """What is not known is said."""
        done = command("charge", "BYD Seal", "--power", "50")
        self.assertIn("assumed, as it is not known: car_curve", done.stdout)

    def test_other_catalogue(self) -> None:
        """A model of another catalogue."""
        path = Path(self.mktemp())
        facts = {"battery_capacity": 40, "energy_consumption": 0.15, "max_speed": 150}
        wrong = {**facts, "dc_curve": [[0, 50], [50, 40]]}
        path.write_text(json.dumps({"Mine": facts, "Wrong": wrong}))
        done = command("charge", "mine", "--from", "75", "--cars", str(path))
        self.assertIn("2.4 minutes, 2.00 kWh", done.stdout)
        self.assertIn("connectors, car_limit, station_power", done.stdout)
        done = command("charge", "Wrong", "--cars", str(path))
        self.assertEqual(
            (done.returncode, done.stderr),
            (2, f"evcharge: {path}: model 'Wrong': dc_curve must go from 0 to 100 %\n"),
        )

    def test_refused(self) -> None:
        """A mistake is named in a line."""
        for words, status, said in (
            (("Tesla Modell 3",), 2, "the shipped catalogue has no model 'Tesla Modell 3'; it has"),
            (("Nissan Leaf", "--connector", "CCS2"), 1, "CCS2 does not fit a Nissan Leaf, which"),
            (("Nissan Leaf", "--connector", "Z-9"), 2, "'Z-9' is no connector that is known"),
            (("Nissan Leaf", "--from", "80"), 2, "--to must be more than --from, which is 80"),
            (("Nissan Leaf", "--from", "x"), 2, "--from must be a number from 0 to 100"),
            (("Nissan Leaf", "--to", "79,5"), 2, "100, not '79,5'; write a point: 79.5 ("),
            (("Nissan Leaf", "--cars", "none"), 2, "none: No such file or directory"),
        ):
            done = command("charge", *words)
            self.assertEqual(done.returncode, status, words)
            self.assertIn(said, done.stderr.splitlines()[-1])


class PageTests(SynchronousTestCase):
    """docs/charging.md."""

    def test_transcripts(self) -> None:
        """What it shows of commands is what they print."""
        page = (ROOT / "docs" / "charging.md").read_text()
        shown = re.findall(r"^\$ evcharge (.*)\n((?:.*\n)*?)```", page, re.M)
        self.assertEqual(len(shown), 2)
        for words, output in shown:
            done = command(*(word.replace("docs/", f"{ROOT}/docs/") for word in shlex.split(words)))
            self.assertEqual(done.stdout, output)

    def test_figures(self) -> None:
        """Its pictures are those that the program in tools draws."""
        folder = Path(self.mktemp()).absolute()
        subprocess.run(
            [sys.executable, "tools/figures.py", folder], cwd=ROOT, env=environment(), check=True
        )
        drawn = {path.name: path.read_bytes() for path in folder.iterdir()}
        kept = {path.name: path.read_bytes() for path in (ROOT / "docs/figures").glob("*.svg")}
        self.assertEqual(drawn, kept)


class PriceTests(SynchronousTestCase):
    """The bill of a session."""

    def files(self, tariff: Any, session: Any) -> list[str]:
        paths = []
        for name, value in (("--tariff", tariff), ("--session", session)):
            path = Path(self.mktemp())
            path.write_text(value if isinstance(value, str) else json.dumps(value))
            paths += [name, str(path)]
        return paths

    def test_receipt(self) -> None:
        """A receipt with its lines, and its totals."""
        (vector,) = (v for v in VECTORS["vectors"] if v["name"] == "spec/complex-monday")
        done = command("price", *self.files(vector["tariff"], vector["session"]))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        head, *lines = done.stdout.splitlines()
        self.assertEqual(head, "tariff 14, EUR")
        self.assertEqual(lines[0].split()[:2], ["quantity", "price"])
        self.assertEqual([line.split()[0] for line in lines[1:]][-1], "total")
        expected = vector["expected"]
        self.assertEqual(lines[-1].split()[1:], [expected["excl_vat"], expected["incl_vat"]])

    def test_large_figures(self) -> None:
        """Prices of any currency are written out, with the places that they have."""
        component = {"type": "ENERGY", "price": 1234567.5, "vat": 8.875, "step_size": 1}
        tariff = {"id": "t", "currency": "IDR", "elements": [{"price_components": [component]}]}
        session = {
            "start": "2026-11-25T21:30:00",
            "time_zone": "Asia/Jakarta",
            "segments": [{"kind": "charging", "seconds": 3600, "energy_kwh": 100}],
        }
        done = command("price", *self.files(tariff, session))
        line = done.stdout.splitlines()[2]
        self.assertEqual(line.split()[:5], ["ENERGY", "100", "kWh", "1234567.5", "8.875"])

    def test_json(self) -> None:
        """For programs: totals as text, and the lines."""
        for vector in VECTORS["vectors"][:3] + VECTORS["vectors"][-3:]:
            files = self.files(vector["tariff"], vector["session"])
            done = command("price", *files, "--json")
            found = json.loads(done.stdout)
            self.assertEqual(found["total_excl_vat"], vector["expected"]["excl_vat"])
            self.assertEqual(found["total"], vector["expected"]["incl_vat"])
            self.assertEqual(
                set(found["lines"][0]),
                {"dimension", "quantity", "unit", "price", "vat", "step_size", "excl_vat",
                 "incl_vat"},
            )  # fmt: skip

    def test_refused(self) -> None:
        """What is wrong with a file is named, all at once, by its path."""
        vector = VECTORS["vectors"][0]
        late = {"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}]}
        late["restrictions"] = {"start_time": "24:00", "max_kwh": "much"}
        bad = {**vector["tariff"], "elements": [late]}
        done = command("price", *self.files(bad, vector["session"]))
        self.assertEqual(done.returncode, 2)
        self.assertIn(
            'elements[0].restrictions.start_time: must be HH:MM, not "24:00"', done.stderr
        )
        self.assertIn("elements[0].restrictions.max_kwh: must be a number", done.stderr)
        done = command("price", *self.files(vector["tariff"], {"segments": [{"kind": "x"}]}))
        self.assertEqual(done.returncode, 2)
        for problem in (
            "time_zone: is missing",
            "start: is missing",
            'segments[0].kind: must be one of reserved, charging, idle, not "x"',
            "segments[0].seconds: is missing",
        ):
            self.assertIn(f"\n  {problem}", done.stderr)
        year = 366 * 86400
        for field, value, problem in (
            ("start", "9999-12-31T23:59:00", "start: must be a local time such as"),
            ("start", "0001-01-01T00:00:00", "start: must be a local time such as"),
            ("segments", [{"kind": "idle", "seconds": year}] * 2, "segments: must be no longer"),
            (
                "segments",
                [{"kind": "idle", "seconds": year + 1}],
                "segments[0].seconds: must be a number from 0 to 31622400, not 31622401",
            ),
            (
                "time_zone",
                "Mars",
                'time_zone: must be an IANA time zone such as America/Bahia, not "Mars"',
            ),
        ):
            done = command(
                "price", *self.files(vector["tariff"], {**vector["session"], field: value})
            )
            self.assertEqual(done.returncode, 2, (field, value))
            self.assertIn(f"\n  {problem}", done.stderr)
        done = command("price", *self.files("{", vector["session"]))
        self.assertIn(": not JSON: ", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
