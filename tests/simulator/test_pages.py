"""docs/simulator: its pages name the options that there are."""

import re

from twisted.trial.unittest import SynchronousTestCase

from evcharge import cli
from evcharge.process.options import Options
from tests.support.servers import ROOT

PAGES = ROOT / "docs" / "simulator"
OTHERS = {"--only", "--arrivals", "--nodaemon"}
"""Of benchmarks, and of twistd."""


def options() -> dict[str, set[str]]:
    """Those of each of the simulator's commands."""
    (commands,) = cli._parser("simulate")._subparsers._group_actions
    (what,) = commands.choices["simulate"]._subparsers._group_actions
    return {
        name: {word for word in each._option_string_actions if word.startswith("--")} - {"--help"}
        for name, each in what.choices.items()
    }


class OptionTests(SynchronousTestCase):
    """What a person types."""

    def test_there(self) -> None:
        """Each option on the pages is one of a command, or of the server."""
        server = Options()
        known = OTHERS.union(*options().values())
        known |= {f"--{name}" for name in (*server.synonyms, *server.docs)}
        for page in sorted(PAGES.glob("*.md")):
            # There the commands themselves are run.
            if page.name != "cluster.md":
                named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", page.read_text("utf-8")))
                self.assertEqual(named - known, set(), page.name)

    def test_told(self) -> None:
        """Each option of `run` and `drive` is on the page that is about it."""
        for command, name in (("run", "index.md"), ("drive", "live.md")):
            text = (PAGES / name).read_text("utf-8")
            own = options()[command] - (options()["check"] if command == "drive" else set())
            self.assertEqual({each for each in own if each not in text}, set(), name)
