"""
The tables of docs/operation/options.md, from the options that the code has.

    python tools/options.py

writes them into the page anew; with --print, the page goes to the standard output.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.python.usage import UsageError

from evcharge.process.help import GROUPS
from evcharge.process.options import Options
from evcharge.process.plan_options import PlanOptions
from evcharge.process.simulate_options import SimulateOptions
from evcharge.process.web_options import WebOptions

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operation" / "options.md"
BEGIN, END = "<!-- made by tools/options.py -->\n", "<!-- end of what is made -->\n"

_CLASSES = (Options, WebOptions, SimulateOptions, PlanOptions)
_RANGE = re.compile(r"must be a (?:whole )?number (from .*), not '\?'")


def _range(coerce: object) -> str | None:
    """What an option may be, as its error says; None: there is no more to be said."""
    try:
        assert callable(coerce)
        coerce("?")
    except UsageError as error:
        found = _RANGE.search(str(error))
        return found and found[1].replace("1e+06", "1000000").replace("1e+09", "1000000000")
    except (AssertionError, ValueError):
        pass
    return None


def options() -> Iterator[tuple[str, str | None, str]]:
    """Each option of the server: name, short form, and what is said of it, in Markdown."""
    for each in _CLASSES:
        for name, short, default, text, *coerce in vars(each)["optParameters"]:
            said = [text]
            bounds = _range(coerce[0]) if coerce and "port" not in name else None
            if bounds:
                said.append(f"{bounds.capitalize()}.")
            if default is not None:
                shown = f"{default:g}" if isinstance(default, float) else default
                said.append(f"Default: `{shown}`.")
            yield name, short, " ".join(said)
        for name, short, text in vars(each).get("optFlags", []):
            yield name, short, text
        for name, method in vars(each).items():
            if name.startswith("opt_") and name != "opt_version":
                yield name[4:].replace("_", "-"), None, inspect.getdoc(method) or ""


def _cell(text: str) -> str:
    """Options and examples in it are code, as nothing of them may be read as Markdown."""
    text = " ".join(text.split()).replace("|", "\\|")
    code = r"(?<![`\w])(?:--[a-z][\w-]+|\w+://\S*\w|[a-z0-9]+:[\w./:=-]*\w|\{[xyz]\}|/[a-z]+/?\w*)"
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(code, lambda found: f"`{found[0]}`", part)
        for part in parts
    )


def tables() -> str:
    """All of them, each under its heading."""
    there = {name: (short, text) for name, short, text in options()}
    groups = {title: names for title, names in GROUPS.items() if title != "Help"}
    grouped = [name for names in groups.values() for name in names]
    assert sorted(grouped) == sorted(there), set(grouped) ^ set(there)
    lines = []
    for title, names in groups.items():
        lines += [f"### {title}", "", "| option | what it does |", "|---|---|"]
        for name in names:
            short, text = there[name]
            shown = f"`--{name}`" + (f", `-{short}`" if short else "")
            lines.append(f"| {shown} | {_cell(text)} |")
        lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its tables made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    made = page(PAGE.read_text())
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(made)
    else:
        PAGE.write_text(made)
