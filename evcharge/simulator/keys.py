"""
Reads tables of a scenario as attrs classes, and collects what is wrong with them.

A class says of each field how it is read (:func:`key`), so its fields are the keys that there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import attrs

from evcharge.datasets.problems import listed
from evcharge.outcomes import LANGUAGES
from evcharge.simulator.distributions import Distribution, read_distribution
from evcharge.simulator.places import Path, Place, dotted
from evcharge.simulator.texts import Text
from evcharge.utils.objects import shown
from evcharge.utils.texts import alike

Read = Callable[["Keys", Path, Any], Any]
"""Makes something of the value at a path. ValueError: what is wrong with the value itself."""


MOST_NAMED = 12
"""How many names of those that there are a message has."""

AN_INSTANT = "2026-03-02T00:00:00"

FIRST_YEAR, LAST_YEAR = 2000, 2199


class ScenarioError(Exception):
    """A scenario has mistakes: `problems` names each, with file, line and key."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(listed(self.problems)))


@attrs.define
class Keys:
    """What is wrong so far, and what keys may name."""

    place: Callable[[Path], Place]
    """Where the value at a path is written, or what it is in."""
    stations: Sequence[str] | None
    """The ids of the network's stations; None where it could not be read. So it is with the two
    that follow."""
    cars: Sequence[str] | None
    tariffs: Sequence[str] | None
    found: list[tuple[Place, str]] = attrs.field(factory=list)

    def wrong(self, path: Path, what: str) -> None:
        """Say what is wrong at a path."""
        place = self.place(path)
        where = f"{dotted(path)}: " if path else ""
        self.found.append((place, f"{place}: {where}{what}"))

    @property
    def problems(self) -> list[str]:
        """All that is wrong, in the order of the files."""
        ordered = sorted(self.found, key=lambda each: (each[0].file, each[0].line))
        return list(dict.fromkeys(text for _, text in ordered))


def key(read: Read, default: Any = attrs.NOTHING, name: str = "") -> Any:
    """
    A field that is a key.

    :param default: without one the key has to be there.
    :param name: of the key, where the field has another.
    """
    return attrs.field(default=default, metadata={"read": read, "name": name})


def keys_of(cls: type[Any]) -> dict[str, Any]:
    """The fields of a class that are keys, by the key."""
    fields = attrs.fields(cls)
    return {f.metadata["name"] or f.name: f for f in fields if "read" in f.metadata}


Check = Callable[[Any], Iterable[tuple[str, str]]]
"""Says of an object of a table what does not go together: the key to tell it at, empty for the
table as a whole, and what is wrong."""


def together(*names: str) -> Callable[[Check], Check]:
    """Marks a method as a :data:`Check` of these keys: it is asked when each of them is right."""

    def mark(check: Check) -> Check:
        check.__dict__["checked"] = frozenset(names)
        return check

    return mark


def table(cls: type[Any]) -> Read:
    """Reads a table as `cls`; None where something is wrong, which has been said."""
    fields = keys_of(cls)
    checks = [check for check in vars(cls).values() if hasattr(check, "checked")]

    def read(keys: Keys, path: Path, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"must be a table, not {shown_value(value)}")
        before = len(keys.found)
        wrong = set()
        for name in value:
            if name not in fields:
                keys.wrong((*path, name), f"there is no such key{nearest(name, fields)}")
                wrong.update(alike(name, fields))
        found = {}
        for name, field in fields.items():
            so_far = len(keys.found)
            if name in value:
                found[field.name] = _value_at(keys, (*path, name), value[name], field)
            elif field.default is attrs.NOTHING:
                keys.wrong(path, f"{name} is missing")
                found[field.name] = None
            if len(keys.found) > so_far:
                wrong.add(name)
        made = cls(**found)
        for check in checks:
            if wrong.isdisjoint(check.checked):
                for name, what in check(made):
                    keys.wrong((*path, name) if name else path, what)
        return made if len(keys.found) == before else None

    return read


def _value_at(keys: Keys, path: Path, value: Any, field: Any) -> Any:
    try:
        return field.metadata["read"](keys, path, value)
    except ValueError as error:
        keys.wrong(path, str(error))
        return None


def tables(cls: type[Any]) -> Read:
    """Reads a list of tables."""
    read_one = table(cls)

    def read(keys: Keys, path: Path, value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"must be a list of tables, not {shown_value(value)}")
        found = []
        for number, each in enumerate(value):
            try:
                found.append(read_one(keys, (*path, number), each))
            except ValueError as error:
                keys.wrong((*path, number), str(error))
        return tuple(found)

    return read


def text(_: Keys, __: Path, value: Any) -> str:
    """Reads text that people can see."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"must be text, not {shown_value(value)}")
    return value


def texts(keys: Keys, path: Path, value: Any) -> Text:
    """Reads text, or a table of it by the language."""
    if not isinstance(value, dict):
        return text(keys, path, value)
    if set(value) != set(LANGUAGES):
        raise ValueError(f"must be text, or a table of {' and '.join(LANGUAGES)}")
    return {language: text(keys, path, value[language]) for language in LANGUAGES}


def figure(least: float, most: float, is_whole: bool = False) -> Read:
    """Reads a number within bounds."""
    what = "a whole number" if is_whole else "a number"

    def read(_: Keys, __: Path, value: Any) -> Any:
        kinds = (int,) if is_whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            raise ValueError(f"must be {what} from {least:g} to {most:g}, not {shown_value(value)}")
        return value if is_whole else float(value)

    return read


def drawn(least: float, most: float, may_be_endless: bool = False) -> Read:
    """
    Reads a distribution of which no draw is beyond these bounds.

    :param may_be_endless: whether it may be the number `inf`.
    """

    def read(_: Keys, __: Path, value: Any) -> Distribution:
        found = read_distribution(value)
        if found.form == "number" and found.most == math.inf:
            if may_be_endless:
                return found
            raise ValueError("must be finite")
        if found.least < least or found.most > most:
            bounds = f"from {least:g} to {most:g}" if math.isfinite(most) else f"{least:g} or more"
            end = "" if math.isfinite(found.most) else f"; {found.form} has no end"
            raise ValueError(f"must be {bounds}{end}")
        return found

    return read


def numbers(count: int) -> Read:
    """Reads so many proportions."""

    def read(_: Keys, __: Path, value: Any) -> tuple[float, ...]:
        given = value if isinstance(value, list) else []
        if not isinstance(value, list) or len(given) != count:
            there = len(given) if isinstance(value, list) else shown_value(value)
            raise ValueError(f"{count} numbers, not {there}")
        for nth, each in enumerate(given, 1):
            is_number = isinstance(each, (int, float)) and not isinstance(each, bool)
            if not is_number or not 0 <= each <= 1e9:
                raise ValueError(f"number {nth} of {count} must be 0 or more, not {shown(each)}")
        if not any(given):
            raise ValueError("all of them are 0")
        return tuple(map(float, given))

    return read


def moment(_: Keys, __: Path, value: Any) -> datetime:
    """Reads a local time."""
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            raise ValueError("must be a local time, without an offset: time_zone says where")
        local = value
    elif isinstance(value, date):
        local = datetime.combine(value, time())
    else:
        raise ValueError(f"must be a local time such as {AN_INSTANT}, not {shown_value(value)}")
    if not FIRST_YEAR <= local.year <= LAST_YEAR:
        raise ValueError(f"must be in the years {FIRST_YEAR} to {LAST_YEAR}, not {local.year}")
    return local


def shown_value(value: Any) -> str:
    """A value of TOML for a message."""
    return shown(value.isoformat() if isinstance(value, (date, time)) else value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Words that name what `name` may have been meant for, or else the first of all there are."""
    names = list(known)
    for near in alike(name, names):
        return f"; the nearest is {near}"
    more = ", …" if len(names) > MOST_NAMED else ""
    return f"; there are {', '.join(names[:MOST_NAMED])}{more}" if names else ""


def plain(value: Any) -> Any:
    """A value of TOML as JSON has it: times, and numbers that are not finite, as text."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (date, time)):
        return value.isoformat()
    is_endless = isinstance(value, float) and not math.isfinite(value)
    return str(value) if is_endless else value
