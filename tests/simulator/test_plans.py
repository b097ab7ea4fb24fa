"""From a scenario to the plan of its study."""

import json
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator import scenario as scenarios
from evcharge.simulator.plans import plan_of
from evcharge.simulator.study import Plan
from evcharge.simulator.tree import setting, varied

COMMAND = ("evcharge", "simulate", "run", "weekday", "--out", "x", "--seed", "3")


def plan(source: str | Path, *settings: object) -> tuple[Plan, list[scenarios.Scenario]]:
    """The plan of a scenario with what the command line sets."""
    made, found = plan_of(scenarios.read(source, settings), COMMAND)
    return made, list(found)


class PlanTests(SynchronousTestCase):
    """What a scenario's study runs."""

    def test_base(self) -> None:
        """A scenario that varies nothing has one variant, and the command without --out."""
        made, (one,) = plan("weekday", setting("--set", "study.seed=3"))
        self.assertEqual([variant.name for variant in made.variants], ["base"])
        self.assertEqual((made.seed, made.replications), (3, one.study.replications))
        self.assertEqual(made.command, (*COMMAND[:4], "--seed", "3"))
        self.assertTrue(any("[demand]" in text for text in made.files.values()))

    def test_variants(self) -> None:
        """Each value is a variant of its own, called by it, with its own scenario."""
        vary = varied("--vary", "demand.drivers_per_day=900,1200")
        made, found = plan("weekday", vary)
        names = [variant.name for variant in made.variants]
        self.assertEqual(names, ["drivers_per_day=900", "drivers_per_day=1200"])
        self.assertEqual([each.demand.drivers_per_day for each in found], [900, 1200])
        self.assertEqual(made.variants[1].settings, (("demand.drivers_per_day", 1200),))

    def test_names(self) -> None:
        """Names of variants are those of files: none has a slash, nor the same as another."""
        path = Path(self.mktemp())
        path.write_text(
            "[demand]\ndrivers_per_day = 9\n[[study.vary]]\n"
            'key = "title"\nvalues = ["BYD Dolphin", "a/b", "a:b", "A:B", "../.."]\n'
        )
        made, _ = plan(path)
        names = [variant.name for variant in made.variants]
        self.assertEqual(len({name.casefold() for name in names}), 5)
        self.assertFalse([name for name in names if "/" in name or name.startswith(".")])

    def test_values(self) -> None:
        """All values stand in it, also those that the file leaves to be understood."""
        made, _ = plan("weekday")
        self.assertEqual(len(made.scenario["demand"]["by_hour"]), 24)
        self.assertIn("patience_minutes", made.scenario["driver"])
        text = json.dumps(msgspec.to_builtins(made))
        self.assertEqual(msgspec.convert(json.loads(text), Plan), made)
