"""The table of states, as docs/sessions.md shows it."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import evcharge
from evcharge.models.session import FINAL, FREE, LIVE, WAITING
from evcharge.rules.states import ACTIONS, CAUSES, REPEATS, TABLE

PAGE = Path(evcharge.__file__).resolve().parent.parent / "docs" / "sessions.md"


def rows() -> list[str]:
    """The rows of the page's table."""
    return [
        f"| {row.before} | {row.cause} | {row.after} | {row.when} | {row.ends or ''} | "
        f"{'goes' if row.user_goes else ''} |"
        for row in TABLE
    ]


class PageTests(SynchronousTestCase):
    """The page and the code say the same."""

    def test_table(self) -> None:
        """The rows are those of the table."""
        shown = re.findall(r"^\| [A-Z]+ \| .*$", PAGE.read_text(), re.M)
        self.assertEqual(shown, rows())


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_words(self) -> None:
        """It has only states and causes that there are, and no pair twice for one reason."""
        states = {FREE, WAITING, *LIVE}
        for row in TABLE:
            self.assertLessEqual({row.before, row.after}, states)
            self.assertIn(row.cause, CAUSES)
            self.assertIn(row.ends, (None, *FINAL))
        pairs = [(row.before, row.cause, row.when) for row in TABLE]
        self.assertEqual(len(pairs), len(set(pairs)))
        self.assertLessEqual({state for state, _ in REPEATS}, states)

    def test_actions(self) -> None:
        """What an app offers in a state leads somewhere from there."""
        self.assertEqual(set(ACTIONS), {FREE, WAITING, *LIVE})
        for state, actions in ACTIONS.items():
            leads = {row.cause.split()[0].rstrip(",") for row in TABLE if row.before == state}
            self.assertLessEqual(set(actions), leads, state)
