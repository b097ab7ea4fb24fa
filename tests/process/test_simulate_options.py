"""The options of simulated drivers."""

from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.options import Options
from evcharge.process.settings import Settings, SimulationSettings


class SimulateOptionsTests(SynchronousTestCase):
    """What is typed, and what it comes to."""

    def settings(self, *options: str) -> Settings:
        parsed = Options()
        parsed.parseOptions(options)
        return parsed.settings

    def simulation(self, *options: str) -> SimulationSettings:
        simulation = self.settings(*options).simulation
        assert simulation is not None
        return simulation

    def refused(self, *options: str) -> str:
        """Why it cannot be."""
        return str(self.assertRaises(UsageError, self.settings, *options))

    def scenario(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_shipped(self) -> None:
        """The name of a shipped scenario will do; without a speed an hour takes a minute."""
        simulation = self.simulation("--simulate", "weekday")
        self.assertEqual(
            (simulation.name, simulation.speed, simulation.for_ever), ("weekday", 60.0, False)
        )
        self.assertEqual(simulation.scenario.demand.drivers_per_day, 900)
        self.assertTrue(self.simulation("--simulate=weekday", "--for-ever").for_ever)
        self.assertIsNone(self.settings().simulation)

    def test_speed(self) -> None:
        """The speed is the time scale, whichever of the two was typed."""
        for options, speed in (
            (["--speed=1"], 1.0),
            (["--speed", "600"], 600.0),
            (["--time-scale=30"], 30.0),
            (["--time-scale=30", "--speed=30"], 30.0),
            ([], 60.0),
        ):
            settings = self.settings("--simulate=weekday", *options)
            assert settings.simulation is not None
            self.assertEqual((settings.simulation.speed, settings.terms.time_scale), (speed, speed))

    def test_refused(self) -> None:
        """What does not go together, or is out of range, is refused, and names the options."""
        for options, why in (
            (["--speed=60"], "--speed needs --simulate SCENARIO, as"),
            (["--for-ever"], "--for-ever needs --simulate SCENARIO, as"),
            (
                ["--simulate=weekday", "--speed=60", "--time-scale=1"],
                "--speed 60 is --time-scale 60, not 1: say one of them",
            ),
            (["--simulate=weekday", "--speed=0.5"], "--speed must be a number from 1 to 600"),
            (["--simulate=weekday", "--speed=601"], "--speed must be a number from 1 to 600"),
            (
                ["--simulate=weekday", "--time-scale=3600"],
                "--simulate goes with a --time-scale from 1 to 600, not 3600",
            ),
            (
                ["--simulate=weekday", "--workers=2", "--storage=sqlite:///x.db"],
                "--simulate goes with one process, not with --workers 2",
            ),
            (["--simulate", "holyday"], "holiday"),
        ):
            self.assertIn(why, self.refused(*options))

    def test_mistakes(self) -> None:
        """All mistakes of a scenario are told at once, each by its line and key."""
        path = self.scenario("days = 0\n[demand]\ndrivers_per_day = -1\n")
        told = self.refused("--simulate", path)
        self.assertIn(f"{path}:1: days: ", told)
        self.assertIn(f"{path}:3: demand.drivers_per_day: ", told)

    def test_options_of_a_scenario(self) -> None:
        """The server goes by what the scenario says, unless it was told otherwise."""
        path = self.scenario(
            'time_zone = "America/Manaus"\n[demand]\ndrivers_per_day = 1\n[network]\n'
            "options = { hold_minutes = 3, offer_minutes = 2, idle_minutes = 7, queue_limit = 4 }\n"
        )
        terms = self.settings("--simulate", path).terms
        self.assertEqual(
            (terms.hold_s, terms.offer_s, terms.idle_s, terms.most_waiting, terms.time_zone),
            (180, 120, 420, 4, "America/Manaus"),
        )
        typed = ["--hold-minutes=15", "--queue-limit=20", "--time-zone=America/Bahia"]
        terms = self.settings("--simulate", path, *typed).terms
        self.assertEqual(
            (terms.hold_s, terms.offer_s, terms.most_waiting, terms.time_zone),
            (900, 120, 20, "America/Bahia"),
        )
