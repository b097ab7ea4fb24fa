"""A scenario, read from its TOML file, and the variants that its study compares."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from evcharge.datasets import DatasetError
from evcharge.models.station import DEFAULT_TIME_ZONE, zone_of
from evcharge.models.terms import Terms
from evcharge.simulator.keys import (
    Keys,
    ScenarioError,
    figure,
    key,
    moment,
    table,
    text,
    texts,
    together,
)
from evcharge.simulator.networks import SHIPPED, Sources, find, impossible, load
from evcharge.simulator.parts import (
    Demand,
    Driver,
    Faults,
    Mistakes,
    NetworkKeys,
    Point,
    Study,
    Zone,
    around,
    read_fleet,
    read_time_zone,
    twice,
)
from evcharge.simulator.places import dotted
from evcharge.simulator.texts import Text
from evcharge.simulator.tree import Setting, Tree, path_of, read_tree

DAYS_A_YEAR = 365.25

MOST_VARIANTS = 200


@attrs.frozen
class Scenario:
    """A scenario, of which nothing is wrong. Plain data: it can be pickled."""

    demand: Demand = key(table(Demand))
    title: Text = key(texts, "")
    start: datetime = key(moment, datetime(2026, 3, 2))
    """Local."""
    days: int = key(figure(1, 36_600, is_whole=True), 1)
    time_zone: str = key(read_time_zone, DEFAULT_TIME_ZONE)
    network: NetworkKeys = key(table(NetworkKeys), NetworkKeys())
    fleet: tuple[tuple[str, float], ...] | None = key(read_fleet, None)
    """Models of the catalogue with their shares; None: all alike."""
    driver: Driver = key(table(Driver), Driver())
    faults: Faults = key(table(Faults), Faults())
    study: Study = key(table(Study), Study())
    extends: str | None = key(text, None)
    """The file that this one changes; already merged."""
    sources: Sources = attrs.field(factory=Sources)
    """The network's files, by content."""
    raw: Mapping[str, Any] = attrs.field(factory=dict)
    """All tables, merged and with what the command line has set, as TOML has them;
    :func:`evcharge.simulator.keys.plain` makes JSON of them."""
    files: Mapping[str, str] = attrs.field(factory=dict)
    """The scenario's own files, by name and content."""
    folder: str = attrs.field(default="", eq=False)
    """Where paths begin that a variant names."""

    def instant(self, local: datetime) -> float:
        """A local time as seconds since the epoch."""
        return local.replace(tzinfo=zone_of(self.time_zone)).timestamp()

    @property
    def begin(self) -> float:
        """When it starts, seconds since the epoch."""
        return self.instant(self.start)

    @property
    def end(self) -> float:
        """When nobody is born any more, seconds since the epoch."""
        return self.instant(self.start + timedelta(days=self.days))

    @property
    def terms(self) -> Terms:
        """What sessions go by."""
        options = self.network.options
        return Terms(
            hold_s=options.hold_minutes * 60,
            offer_s=options.offer_minutes * 60,
            idle_s=options.idle_minutes * 60,
            most_waiting=options.queue_limit,
            time_zone=self.time_zone,
        )

    def years(self, instant: float) -> float:
        """How many years after the start an instant is, for the growth."""
        return (instant - self.begin) / (DAYS_A_YEAR * 86400)

    def zones_at(self, stations: Iterable[Point]) -> Sequence[Zone]:
        """
        Where drivers come from at other stations than the scenario's own: from its zones, or from
        around these, where it names none.

        :param stations: where they are, at least one.
        """
        demand = self.raw.get("demand")
        # One that no file says has the zones that it has been given.
        is_named = demand is None or "zone" in demand
        return self.demand.zones if is_named else (around(stations),)

    @together("study", "days")
    def _leaves_something(self) -> Mistakes:
        if self.study.warm_up_hours >= self.days * 24:
            yield "study", f"warm_up_hours leaves nothing of {self.days} days"


@attrs.frozen
class Variant:
    """One of the scenarios that a study compares."""

    values: Mapping[str, Any]
    """By the key that is varied; empty where nothing is."""
    scenario: Scenario


def read(source: str | Path, settings: Iterable[Setting] = ()) -> Scenario:
    """
    Read a scenario.

    :param source: a TOML file, or the name of a shipped scenario.
    :param settings: what the command line sets, in that order.
    :raise ScenarioError: names every mistake, as `file:line: key: what`.
    """
    tree = read_tree(source)
    problems = []
    for each in settings:
        try:
            tree = tree.put(each)
        except ValueError as error:
            problems.append(f"{each.option}: {dotted(each.path)}: {error}")
    scenario, found = _made(tree)
    problems = found + problems
    if scenario is None or problems:
        raise ScenarioError(problems)
    problems = _variants(scenario, tree)[1]
    if problems:
        raise ScenarioError(problems)
    return scenario


def variants(scenario: Scenario) -> Sequence[Variant]:
    """
    What a scenario's study compares: each value of each key with each of the others, the first key
    changing the slowest; the scenario itself where nothing is varied.
    """
    tree = Tree(scenario.raw, {}, scenario.files, scenario.folder)
    return _variants(scenario, tree)[0]


def _variants(scenario: Scenario, tree: Tree) -> tuple[Sequence[Variant], list[str]]:
    """Likewise, and what is wrong with them."""
    vary = scenario.study.vary
    if not vary:
        return [Variant({}, scenario)], []
    places = [tree.place(("study", "vary", number)) for number in range(len(vary))]
    problems = [
        f"{place}: study.vary: {each.varied} cannot be varied: all variants run the same"
        for each, place in zip(vary, places, strict=True)
        if each.varied.partition(".")[0].strip() in ("study", "extends")
    ]
    names = [each.varied for each in vary]
    problems += [f"{places[0]}: study.vary: {n} is there twice" for n in twice(names)]
    count = math.prod(len(each.values) for each in vary)
    if count > MOST_VARIANTS:
        problems.append(f"{places[0]}: study.vary: {count} variants are over {MOST_VARIANTS}")
    if problems:
        return [], problems
    found = []
    for values in itertools.product(*(each.values for each in vary)):
        changed = tree
        for each, place, value in zip(vary, places, values, strict=True):
            try:
                changed = changed.put(Setting(str(place), path_of(each.varied), value), place)
            except ValueError as error:
                problems.append(f"{place}: study.vary: {each.varied}: {error}")
        made, wrong = _made(changed, scenario)
        problems += wrong
        if made is not None:
            values_by_key = {e.varied: value for e, value in zip(vary, values, strict=True)}
            found.append(Variant(values_by_key, made))
    return found, list(dict.fromkeys(problems))


def _made(tree: Tree, before: Scenario | None = None) -> tuple[Scenario | None, list[str]]:
    """
    The scenario of a tree, and all that is wrong with it.

    :param before: one of which it is a variant: the same network is not read again.
    """
    keys = Keys(tree.place, None, None, None)
    network = tree.raw.get("network")
    named = network.get("stations", SHIPPED) if isinstance(network, dict) else SHIPPED
    path = ("network", "stations")
    loaded, sources = None, Sources()
    if isinstance(named, str):
        try:
            if before is not None and named == before.network.stations:
                sources = before.sources
            else:
                sources = find(named, tree.folder_of(path))
            loaded = load(sources)
        except ValueError as error:
            keys.wrong(path, str(error))
        except DatasetError as error:
            for problem in error.problems:
                keys.wrong(path, problem)
    if loaded is not None:
        keys.stations = [str(each) for each in loaded.stations]
        keys.cars, keys.tariffs = list(loaded.car_models), list(loaded.tariffs)
    scenario: Scenario | None = table(Scenario)(keys, (), tree.raw)
    if scenario is None or loaded is None:
        return None, keys.problems
    for number, what in impossible(scenario.network.changes, loaded.stations):
        keys.wrong(("network", "change", number), what)
    demand = scenario.demand
    if not demand.zones:
        places = [(each.latitude, each.longitude) for each in loaded.stations.values()]
        demand = attrs.evolve(demand, zones=(around(places),))
    made = attrs.evolve(
        scenario,
        demand=demand,
        sources=sources,
        raw=tree.raw,
        files=tree.files,
        folder=tree.folder,
    )
    return made, keys.problems
