"""The options, and the page that has a table of them."""

import re

from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.options import Options
from evcharge.process.plan_options import PlanOptions
from evcharge.process.simulate_options import SimulateOptions
from evcharge.process.web_options import WebOptions
from tests.support.servers import ROOT

CLASSES = (Options, WebOptions, SimulateOptions, PlanOptions)
PARAMETERS = [row for each in CLASSES for row in each.optParameters]
FLAGS = [*Options.optFlags, *SimulateOptions.optFlags]


class PageTests(SynchronousTestCase):
    """docs/operation.md and --help name the same options."""

    def setUp(self) -> None:
        page = (ROOT / "docs" / "operation.md").read_text()
        self.rows = {}
        for line in page.partition("| option |")[2].partition("\n\n")[0].splitlines():
            names, default, *_ = [cell.strip() for cell in line.strip("|").split("|")]
            for name in re.findall(r"`--([\w-]+)`", names):
                self.rows[name] = (re.findall(r"`-(\w)`", names), default)

    def test_names(self) -> None:
        """Each option stands in the table, with its short form, and no other."""
        shorts = {name: short for name, short, *_ in [*PARAMETERS, *FLAGS]}
        # Those that may be given several times.
        shorts.update(
            {name[4:].replace("_", "-"): None for name in vars(WebOptions) if name[:4] == "opt_"}
        )
        self.assertEqual(
            {name: found for name, (found, _) in self.rows.items()},
            {name: [short] if short else [] for name, short in shorts.items()},
        )

    def test_defaults(self) -> None:
        """So does the default of each that has one."""
        for name, _, default, *_ in PARAMETERS:
            if default is not None:
                self.assertEqual(
                    self.rows[name][1].strip("`"),
                    f"{default:g}" if isinstance(default, float) else str(default),
                    name,
                )
        for name, *_ in FLAGS:
            self.assertEqual(self.rows[name][1], "off", name)
