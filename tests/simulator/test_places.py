"""On which line of a TOML file each key is."""

import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.places import Path, dotted, lines_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WRITTEN = '''\
# A comment with [brackets] and = signs
title = "a # b ] }"   # no = comment
when = 2026-03-02T06:00:00
text = """
[not] = a table
"quoted" \\""" still
"""
raw = \'\'\'
x = 1 \'\'
\'\'\'
[a."b.c"]
d . e = { f = 1, "g h" = [1, { i = 2 },
  3] }
[[list]]
one = 1
[[list.inner]]
two = [
  # three
  [1, 2],

  { three = 3 },
]
[[list]]
one = 2
[list.sub]
x = 1
'''

KEY = st.text(min_size=1, max_size=8) | st.sampled_from(["a", "b-c", "1", "d.e"])
SCALAR = st.one_of(
    st.integers(-(10**9), 10**9),
    st.booleans(),
    st.sampled_from(['"x"', "'#]}'", "2026-03-02 10:00:00", '"""\n#\\""""', "inf"]),
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3),
    max_leaves=10,
)


class Writer:
    """Writes TOML, and notes the line of each key."""

    def __init__(self) -> None:
        self.text = ""
        self.lines: dict[Path, int] = {(): 1}

    def note(self, path: Path) -> None:
        self.lines[path] = self.text.count("\n") + 1

    def key(self, name: str) -> None:
        escaped = "".join(f"\\U{ord(character):08X}" for character in name)
        is_bare = name.isascii() and name.replace("-", "").isalnum()
        self.text += name if is_bare else f'"{escaped}"'

    def value(self, path: Path, value: Any) -> None:
        if isinstance(value, list):
            self.text += "["
            for number, each in enumerate(value):
                self.text += "\n # , ]\n" if number % 2 else " "
                self.note((*path, number))
                self.value((*path, number), each)
                self.text += ","
            self.text += "]"
        elif isinstance(value, dict):
            self.text += "{"
            for number, (name, each) in enumerate(value.items()):
                self.text += ", " if number else " "
                self.note((*path, name))
                self.key(name)
                self.text += " = "
                self.value((*path, name), each)
            self.text += "}"
        else:
            self.text += str(value).lower() if isinstance(value, bool) else str(value)


class LineTests(SynchronousTestCase):
    """Keys are found where they are written."""

    def test_written(self) -> None:
        """Strings of all kinds, comments, tables, lists of tables, and values over lines."""
        tomllib.loads(WRITTEN)
        expected: dict[Path, int] = {
            (): 1,
            ("title",): 2,
            ("when",): 3,
            ("text",): 4,
            ("raw",): 8,
            ("a",): 11,
            ("a", "b.c"): 11,
            ("a", "b.c", "d"): 12,
            ("a", "b.c", "d", "e"): 12,
            ("a", "b.c", "d", "e", "f"): 12,
            ("a", "b.c", "d", "e", "g h"): 12,
            ("a", "b.c", "d", "e", "g h", 0): 12,
            ("a", "b.c", "d", "e", "g h", 1): 12,
            ("a", "b.c", "d", "e", "g h", 1, "i"): 12,
            ("a", "b.c", "d", "e", "g h", 2): 13,
            ("list",): 14,
            ("list", 0): 14,
            ("list", 0, "one"): 15,
            ("list", 0, "inner"): 16,
            ("list", 0, "inner", 0): 16,
            ("list", 0, "inner", 0, "two"): 17,
            ("list", 0, "inner", 0, "two", 0): 19,
            ("list", 0, "inner", 0, "two", 0, 0): 19,
            ("list", 0, "inner", 0, "two", 0, 1): 19,
            ("list", 0, "inner", 0, "two", 1): 21,
            ("list", 0, "inner", 0, "two", 1, "three"): 21,
            ("list", 1): 23,
            ("list", 1, "one"): 24,
            ("list", 1, "sub"): 25,
            ("list", 1, "sub", "x"): 26,
        }
        self.assertEqual(lines_of(WRITTEN), expected)

    @given(st.dictionaries(KEY, VALUE, max_size=4))
    def test_any(self, tables: dict[str, Any]) -> None:
        """So they are in whatever there may be in a file."""
        writer = Writer()
        for name, value in tables.items():
            writer.text += "\n"
            writer.note((name,))
            writer.key(name)
            writer.text += " = "
            writer.value((name,), value)
            writer.text += "# }\n"
        tomllib.loads(writer.text)
        self.assertEqual(lines_of(writer.text), writer.lines)

    def test_dotted(self) -> None:
        """A path is written as TOML would have it."""
        path = ("network", "change", 0, "BYD Dolphin")
        self.assertEqual(dotted(path), 'network.change.0."BYD Dolphin"')
