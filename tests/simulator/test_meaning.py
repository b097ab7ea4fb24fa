"""What a scenario means, before it is run."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.meaning import meaning, words
from evcharge.simulator.scenario import read
from evcharge.simulator.tree import setting, varied


class MeaningTests(SynchronousTestCase):
    """What drivers ask for, against what is there."""

    def of(self, name: str, *options: str) -> Any:
        return meaning(read(name, [setting("--set", each) for each in options]))

    def test_drivers(self) -> None:
        """Drivers a day and an hour, and the busiest hour."""
        found = self.of("weekday", "days=7")
        self.assertAlmostEqual(found.drivers_per_day, 900)
        self.assertAlmostEqual(found.drivers_per_hour, 37.5)
        # A Friday, from 18 to 19: 1.1 of 6.7 sevenths of a week, and 14 of 163 of a day.
        self.assertEqual(found.busiest, (4, 18))
        self.assertAlmostEqual(found.busiest_drivers, 900 * 7 * 1.1 / 6.7 * 14 / 163)

    def test_growth(self) -> None:
        """In a year that grows by a half, days have on average more than the first."""
        found = self.of("weekday", "days=365", "demand.growth_per_year=0.5")
        self.assertAlmostEqual(found.drivers_per_day / 900, 1.2331, 2)

    def test_energy(self) -> None:
        """The energy of a driver: what of a battery is charged."""
        found = self.of(
            "weekday",
            'fleet={"Nissan Leaf" = 1}',
            "driver.start_percent={uniform = [10, 70]}",
            "driver.target_percent=80",
        )
        self.assertAlmostEqual(found.energy_kwh, 38 * 0.4)
        self.assertAlmostEqual(found.asked_kw, found.drivers_per_hour * 38 * 0.4)
        full = self.of("weekday", "driver.start_percent=90", "driver.target_percent=80")
        self.assertEqual(full.energy_kwh, 0)

    def test_power(self) -> None:
        """The power of all EVSEs in service, as the scenario changes them."""
        before = self.of("weekday")
        self.assertEqual(before.stations, 36)
        change = 'network.change=[{{station = "3", {}}}]'
        for what, evses, kw in (
            ("add_evses = 2", 2, 120),
            ("remove_evses = 6", -6, -360),
            ('status = "OUTOFORDER"', -6, -360),
            ('status = "IN_SERVICE"', 0, 0),
            (
                'evses = [{uid = "new", max_power_kw = 150, connectors = [{id = "1", standard = '
                '"IEC_62196_T2_COMBO", format = "CABLE", power_type = "DC"}]}]',
                1,
                150,
            ),
        ):
            found = self.of("weekday", change.format(what))
            self.assertEqual(found.evses - before.evses, evses, what)
            self.assertAlmostEqual(found.power_kw - before.power_kw, kw, 6, what)

    def test_words(self) -> None:
        """In words, in each language."""
        settings = (
            "title=More EVSEs at the bus terminal",
            'network.change=[{station = "3", add_evses = 2}]',
            'study.vary=[{key = "network.change.0.add_evses", values = [0, 2, 4, 6], '
            'label = "more EVSEs at the bus terminal"}]',
        )
        scenario = read("weekday", [setting("--set", each) for each in settings])
        english = [*words(scenario, "en")]
        self.assertEqual(
            english,
            [
                "More EVSEs at the bus terminal",
                "2026-03-02 00:00 to 2026-03-03 00:00 (America/Bahia); days: 1",
                "940 drivers a day, 39.2 an hour; 80.8 an hour in the busiest (Monday, 18:00)",
                "  25 % from rodoviária",
                "  65 % from cidade",
                "  10 % from BR-324, on their way to another city; beyond the range they ask PLAN",
                "18.6 kWh a driver: 730 kW asked for on average, 1,505 kW in the busiest hour, "
                "against 11,480 kW there, at 171 EVSEs of 36 stations",
                "  of a trip beyond the range PLAN says how far the car is charged; here it counts "
                "by target_percent",
                "variants: 4; replications of each: 20; runs: 80",
                "  more EVSEs at the bus terminal: 0, 2, 4, 6",
                "the values of [driver] are made up, until somebody measures them",
            ],
        )

    def test_remarks(self) -> None:
        """It is said where more is asked for than there is, and where no range is too short."""
        calm = read(
            "weekday",
            [
                setting("--set", "driver.start_percent=20"),
                setting(
                    "--set", 'demand.zone=[{name = "a", centre = [-12.2, -38.9], radius_km = 1}]'
                ),
            ],
        )
        self.assertIn("NAVIGATION and PLAN are not put to the test", "\n".join(words(calm, "en")))
        self.assertNotIn("NAVIGATION", "\n".join(words(read("weekday"), "en")))
        many = read("weekday", [setting("--set", "demand.drivers_per_day=9000")])
        self.assertIn("haverá filas", "\n".join(words(many, "pt")))
        self.assertNotIn("haverá filas", "\n".join(words(read("weekday"), "pt")))

    def test_runs(self) -> None:
        """It is said how many runs a study has, and of what."""
        scenario = read(
            "weekday",
            [varied("--vary", "driver.books=0,1"), setting("--set", "study.replications=1000")],
        )
        said = [*words(scenario, "pt")]
        self.assertIn("variantes: 2; replicações de cada: 1.000; execuções: 2.000", said)
        self.assertIn("  driver.books: 0, 1", said)
