"""From a scenario to the plan of its study."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from evcharge.simulator import scenario as scenarios
from evcharge.simulator.distributions import Distribution
from evcharge.simulator.keys import plain
from evcharge.simulator.networks import Sources
from evcharge.simulator.scenario import Scenario
from evcharge.simulator.study import Plan, Variant, repeatable

BASE = "base"
"""The variant of a study that compares nothing."""

LONGEST_NAME = 60
"""Of a variant: it is in the names of files."""


def plan_of(
    scenario: Scenario, command: Iterable[str], has_drivers: bool = True
) -> tuple[Plan, Sequence[Scenario]]:
    """
    What a scenario's study runs, and the scenario of each variant.

    :param command: the words that were typed.
    :param has_drivers: whether each driver is kept, beside the figures.
    """
    found = scenarios.variants(scenario)
    labels = {each.varied: each.label or each.varied for each in scenario.study.vary}
    settings = [
        tuple((labels[key], plain(value)) for key, value in each.values.items()) for each in found
    ]
    plan = Plan(
        title=scenario.title,
        start=scenario.start.isoformat(),
        days=scenario.days,
        warm_up_hours=scenario.study.warm_up_hours,
        seed=scenario.study.seed,
        replications=scenario.study.replications,
        confidence=scenario.study.confidence,
        variants=tuple(map(Variant, _names([each.values for each in found]), settings)),
        files={**scenario.files, **_contents(scenario.sources)},
        scenario=_values(scenario),
        command=repeatable(command),
        has_drivers=has_drivers,
    )
    return plan, [each.scenario for each in found]


def _names(values: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """Of files, and each different: `add_evses=2`."""
    names = [
        re.sub(r"[^\w.,=+-]+", "_", ",".join(f"{_last(k)}={_short(v)}" for k, v in each.items()))
        for each in values
    ]
    cut = [name[:LONGEST_NAME].lstrip(".") or BASE for name in names]
    many = Counter(name.casefold() for name in cut)
    return [
        f"{number}-{name}" if many[name.casefold()] > 1 else name for number, name in enumerate(cut)
    ]


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)


def _values(scenario: Scenario) -> Mapping[str, Any]:
    """All that a scenario says and leaves to be understood, as TOML would have it."""
    keys = ("title", "start", "days", "time_zone", "network", "fleet", "demand", "driver", "faults")
    found: dict[str, Any] = {key: _plain(getattr(scenario, key)) for key in (*keys, "study")}
    if scenario.fleet is not None:
        found["fleet"] = dict(scenario.fleet)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Distribution):
        if value.form == "number":
            return value.figures[0]
        pairs = zip(value.figures, value.shares, strict=True)
        figures = [list(pair) for pair in pairs] if value.shares else list(value.figures)
        return {value.form: figures[0] if len(figures) == 1 else figures}
    if attrs.has(type(value)):
        return {
            field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [_plain(each) for each in value]
    return plain(value)


def _contents(sources: Sources) -> Mapping[str, str]:
    """The network's own files; those that come with evcharge go by its version."""
    files = {
        "stations": sources.stations,
        "evses": sources.evses,
        "cars": sources.cars,
        "tariffs": sources.tariffs,
    }
    return {
        f"{sources.name}: {name}": content.decode("utf-8", "replace")
        for name, content in files.items()
        if content is not None
    }
