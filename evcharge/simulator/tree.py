"""
The tables of a scenario as they are written, with where each key is.

A file may extend another one: tables are merged key by key, all else is replaced. What the command
line sets goes before what the files say.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path as FilePath
from typing import Any

import attrs

from evcharge.datasets.files import shipped
from evcharge.simulator.distributions import FORMS
from evcharge.simulator.keys import ScenarioError, nearest
from evcharge.simulator.networks import SCENARIOS
from evcharge.simulator.places import Path, Place, lines_of
from evcharge.utils.permissions import remedy_to_read

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEEPEST = 10
"""How many files may extend one another."""

_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")


@attrs.frozen
class Setting:
    """A key that the command line sets."""

    option: str
    path: Path
    value: Any
    is_varied: bool = False
    """Whether it is one more that is compared, and not all of them."""


@attrs.frozen
class Tree:
    """Tables, and where each key of them is written."""

    raw: Mapping[str, Any]
    places: Mapping[Path, Place]
    files: Mapping[str, str]
    """The files that they are from: content by name."""
    folder: str = ""
    """Of the first file."""

    def place(self, path: Path) -> Place:
        """Where the value at a path is written, or else what it is in."""
        ways = (path[:n] for n in range(len(path), -1, -1))
        return next((self.places[way] for way in ways if way in self.places), Place("", 0, 0))

    def folder_of(self, path: Path) -> FilePath:
        """Where a relative path begins that is the value there."""
        place = self.place(path)
        return FilePath(place.source).parent if place.line else FilePath(self.folder)

    def put(self, each: Setting, place: Place | None = None) -> Tree:
        """
        The tree in which a key is set.

        :param place: where that is written; by default in its option.
        :raise ValueError: a number is that of no entry, or what is not a table should have a key.
        """
        value = each.value
        if each.is_varied:
            value = self._with_varied(value)
        path: Path = ()
        raw: Any = self.raw
        is_new, new = False, list[Path]()
        for part in each.path:
            is_entry = isinstance(raw, list)
            path = (*path, int(part) if is_entry and str(part).isdigit() else part)
            is_new = is_new or (isinstance(raw, dict) and part not in raw)
            if is_new:
                # A table that no file has is in the option, too.
                new.append(path)
            raw = _inside(raw, path)
        at = place or Place(each.option, 0, len(self.files))
        return attrs.evolve(
            self,
            raw=_with(self.raw, path, value),
            places={**_without(self.places, path), **dict.fromkeys(new, at), path: at},
        )

    def _with_varied(self, entry: Mapping[str, Any]) -> list[Any]:
        study = self.raw.get("study")
        there = study.get("vary") if isinstance(study, dict) else None
        kept: list[Any] = []
        for other in there if isinstance(there, list) else []:
            if not isinstance(other, dict) or other.get("key") != entry["key"]:
                kept.append(other)
            elif "label" in other:
                # What it is called there it is still called.
                entry = {**entry, "label": other["label"]}
        return [*kept, entry]

    def extended(self, over: Tree) -> Tree:
        """This one with what `over` says, which extends it."""
        raw, places = dict(self.raw), dict(self.places)
        _merge(raw, places, over.raw, over.places, ())
        # The heads of tables that both have are those of the file that extends.
        return Tree(raw, {**places, **over.places}, {**over.files, **self.files}, over.folder)


def _inside(raw: Any, path: Path) -> Any:
    """What is at the last part of a path, in `raw`."""
    part = path[-1]
    if isinstance(raw, list):
        if not isinstance(part, int) or part >= len(raw):
            raise ValueError(f"there are {len(raw)} entries, counted from 0, and no {part}")
        return raw[part]
    if not isinstance(raw, dict):
        raise ValueError(f"there is no {part} in what is not a table")
    if str(part).isdigit() and part not in raw:
        raise ValueError(f"there is no list here that could have an entry {part}")
    return raw.get(str(part), {})


def _with(raw: Any, path: Path, value: Any) -> Any:
    """A copy of `raw` with a value at a path."""
    if not path:
        return value
    part, *rest = path
    if isinstance(raw, list) and isinstance(part, int):
        return [*raw[:part], _with(raw[part], tuple(rest), value), *raw[part + 1 :]]
    return {**raw, part: _with(raw.get(part, {}), tuple(rest), value)}


def _without(places: Mapping[Path, Place], path: Path) -> dict[Path, Place]:
    return {each: place for each, place in places.items() if each[: len(path)] != path}


def _merge(
    raw: dict[str, Any],
    places: dict[Path, Place],
    over: Mapping[str, Any],
    of_over: Mapping[Path, Place],
    path: Path,
) -> None:
    """Put what `over` says into `raw`, and where it stands into `places`."""
    for name, value in over.items():
        here = (*path, name)
        there = raw.get(name)
        # A distribution is a value, of one form.
        is_value = not isinstance(value, dict) or (bool(value) and value.keys() <= FORMS.keys())
        if isinstance(there, dict) and not is_value:
            raw[name] = dict(there)
            _merge(raw[name], places, value, of_over, here)
        else:
            raw[name] = value
            for each in [each for each in places if each[: len(here)] == here]:
                del places[each]


def shipped_scenarios() -> dict[str, str]:
    """The scenarios that come with evcharge: their text by their name."""
    folder = resources.files("evcharge") / "data" / SCENARIOS
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".toml"))
    return {
        name.removesuffix(".toml"): shipped(f"{SCENARIOS}/{name}").decode("utf-8") for name in names
    }


def setting(option: str, written: str) -> Setting:
    """
    What `--set key=value` says.

    :param option: its name, for the messages.
    :raise ValueError: it cannot be read.
    """
    name, _, value = written.partition("=")
    if not name.strip() or not value.strip():
        raise ValueError(f"{option} must be key=value, not {written!r}")
    return Setting(option, path_of(name), _value(value))


def varied(option: str, written: str) -> Setting:
    """What `--vary key=value,value` says, as a table of the list `study.vary`; as `setting`."""
    name, _, values = written.partition("=")
    if not name.strip() or not values.strip():
        raise ValueError(f"{option} must be key=value,value, not {written!r}")
    path_of(name)
    listed = _value(f"[{values}]")
    if isinstance(listed, str):
        listed = [_value(each) for each in values.split(",")]
    entry = {"key": name.strip(), "values": listed}
    return Setting(option, ("study", "vary"), entry, is_varied=True)


def path_of(name: str) -> Path:
    """
    The path of a key with dots; numbers in it are those of entries of a list, from 0.

    :raise ValueError: it is none.
    """
    try:
        found: Any = tomllib.loads(f"{name} = 0")
    except ValueError:
        found = 0
    path: list[str] = []
    while isinstance(found, dict) and len(found) == 1:
        ((part, found),) = found.items()
        path.append(part)
    if not path or found != 0:
        raise ValueError(f"{name!r} is no key, such as demand.drivers_per_day")
    return tuple(path)


def _value(written: str) -> Any:
    """A value as TOML has it; what is none is text, as shells take quotes away."""
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except ValueError:
        return written.strip()


def read_tree(source: str | FilePath) -> Tree:
    """
    Read a file, and those that it extends.

    :param source: a TOML file, or the name of a shipped scenario.
    :raise ScenarioError: one cannot be read, or is no TOML.
    """
    try:
        return _read(str(source), FilePath(), ())
    except FileNotFoundError as error:
        raise ScenarioError([str(error)]) from None


def _read(source: str, beside: FilePath, above: Sequence[str]) -> Tree:
    name, content = _content(source, beside)
    if name in above or len(above) >= DEEPEST:
        raise ScenarioError([f"{above[-1]}: extends: {' extends '.join((*above, name))}"])
    file = len(above)
    try:
        raw = tomllib.loads(content)
        places = {path: Place(name, line, file) for path, line in lines_of(content).items()}
    except ValueError as error:
        said = str(error)
        at = _AT.search(said)
        line = (at and at.group(1)) or content.count("\n") + 1
        raise ScenarioError([f"{name}:{line}: {_AT.sub('', said)}"]) from None
    except RecursionError:
        raise ScenarioError([f"{name}: has lists within lists, too deep to be read"]) from None
    # Where on this machine they are is nobody's business who has the results.
    called = source if above else FilePath(name).name
    own = Tree(raw, places, {called: content}, str(FilePath(name).parent))
    extends = raw.get("extends")
    if not isinstance(extends, str):
        return own
    try:
        base = _read(extends, FilePath(name).parent, (*above, name))
    except FileNotFoundError as error:
        raise ScenarioError([f"{places['extends',]}: extends: {error}"]) from None
    return base.extended(own)


def _content(source: str, beside: FilePath) -> tuple[str, str]:
    """A file's name and text. FileNotFoundError: there is none, in words for people."""
    path, known = beside / source, shipped_scenarios()
    if source in known and not os.path.isfile(path):
        return f"{source}.toml", known[source]
    try:
        return str(path), path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ScenarioError([f"{path}: is no text in UTF-8"]) from None
    except FileNotFoundError:
        what = f"there is no file {path}"
        if path.stem in known:
            what += f"; the shipped scenario is called {path.stem}"
        elif not path.suffix:
            what += f", nor is a scenario of that name shipped{nearest(source, known)}"
        raise FileNotFoundError(what) from None
    except (OSError, ValueError) as error:
        cure = remedy_to_read(error, path) if isinstance(error, OSError) else ""
        why = getattr(error, "strerror", None) or error
        raise ScenarioError([f"{path}: {why}{cure}"]) from None
