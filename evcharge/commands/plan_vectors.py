"""`evcharge plan --vectors`: solves published cases, of which the answers are known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from evcharge.commands import USAGE, Exit
from evcharge.datasets.problems import DatasetError
from evcharge.datasets.reading_json import read_json
from evcharge.planning.piecewise import PiecewiseLinear
from evcharge.planning.trips import TIME, Plan, PlanStation, Trip, plan, task_of
from evcharge.utils.numbers import finite_number, whole_number

WH = 1000.0
"""In a kWh."""


class Wrong(Exception):
    """A case cannot be solved: says where, and why."""


@attrs.frozen
class Case:
    """One of a file."""

    of: str
    """Its set: `routes`, `other_starts` or `made`."""
    name: str
    trip: Trip
    stations: Sequence[PlanStation]
    limit_h: float | None
    """A plan that takes longer is none."""

    def solved(self) -> str:
        """A line of JSON: what it takes."""
        found = plan(self.trip, self.stations)
        hours = found.hours if isinstance(found, Plan) else None
        if hours is not None and self.limit_h is not None and hours > self.limit_h:
            hours = None
        return json.dumps({"set": self.of, "name": self.name, "objective_h": hours})


def cases(path: Path) -> list[Case]:
    """
    Read the cases of a file, in its order: `routes`, `other_starts`, `made`.

    :raise Exit: it cannot be used; names what is wrong.
    """
    try:
        whole = _Value(read_json(path.read_bytes(), str(path)), "")
        return list(_cases(whole))
    except OSError as error:
        raise Exit(f"{path}: {error.strerror or error}", USAGE) from None
    except DatasetError as error:
        raise Exit(str(error), USAGE) from None
    except Wrong as error:
        raise Exit(f"{path}: {error}", USAGE) from None


def _cases(whole: _Value) -> Iterator[Case]:
    found = [(name, whole.maybe(name)) for name in ("routes", "other_starts", "made")]
    if not any(each for _, each in found):
        raise Wrong("must have routes, other_starts or made")
    instance = None
    for name, each in found:
        for case in each.items() if each is not None else ():
            try:
                if name == "made":
                    made = _made(case)
                else:
                    instance = instance or _Instance(whole["instance"])
                    made = instance.case(name, case)
                # Before any is solved: nothing is printed of a file in which something is wrong.
                task_of(made.trip, made.stations, TIME)
            except ValueError as error:
                raise Wrong(f"{case.path}: {error}") from None
            yield made


@attrs.frozen
class _Value:
    """A value of JSON, and where it is."""

    value: Any
    path: str

    def _must(self, what: str) -> Wrong:
        return Wrong(f"{self.path or 'the file'}: must be {what}")

    def fields(self) -> Mapping[str, Any]:
        if not isinstance(self.value, dict):
            raise self._must("an object")
        return self.value

    def maybe(self, name: str) -> _Value | None:
        """A field that may be missing."""
        value = self.fields().get(name)
        return None if value is None else _Value(value, f"{self.path}.{name}".lstrip("."))

    def __getitem__(self, name: str) -> _Value:
        found = self.maybe(name)
        if found is None:
            raise Wrong(f"{self.path}.{name}: is missing".lstrip("."))
        return found

    def items(self) -> list[_Value]:
        if not isinstance(self.value, list):
            raise self._must("a list")
        return [_Value(value, f"{self.path}[{at}]") for at, value in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self._must("text")
        return self.value

    def number(self, least: float = 0.0) -> float:
        number = finite_number(self.value)
        if number is None or number < least:
            raise self._must(f"a number of {least:g} or more")
        return number

    def whole(self, below: int) -> int:
        number = whole_number(self.value)
        if number is None or not 0 <= number < below:
            raise self._must(f"a whole number from 0 to {below - 1}")
        return number

    def matrix(self, unit: float = 1.0) -> list[list[float]]:
        rows = self.items()
        found = [[each.number() / unit for each in row.items()] for row in rows]
        if not rows or any(len(row) != len(rows) for row in found):
            raise self._must("square")
        return found


def _curve(charges: _Value, hours: _Value, unit: float = 1.0) -> PiecewiseLinear:
    xs = [each.number() / unit for each in charges.items()]
    ys = [each.number() for each in hours.items()]
    try:
        return PiecewiseLinear(tuple(xs), tuple(ys))
    except ValueError as error:
        raise Wrong(f"{charges.path}: {error}") from None


def _route(value: _Value, count: int) -> list[int]:
    nodes = [each.whole(count) for each in value.items()]
    if len(nodes) < 2:
        raise Wrong(f"{value.path}: must have two nodes or more")
    return nodes


def _node(name: str, value: _Value, count: int) -> int:
    return _Value(name, value.path).whole(count)


class _Instance:
    """What all routes have in common."""

    def __init__(self, value: _Value) -> None:
        self.energy = value["energy_wh"].matrix(WH)
        speed = re.match(r"energy_wh / ([0-9.]+)", value["time_h"].text())
        wh_per_hour = None if speed is None else finite_number(speed[1])
        if not wh_per_hour:
            raise Wrong("instance.time_h: must begin as: energy_wh / 5000")
        self.hours = [[kwh * WH / wh_per_hour for kwh in row] for row in self.energy]
        self.battery = value["battery_wh"].number() / WH
        self.limit_h = value["limit_h"].number()
        service, count = value["service_h"], len(self.energy)
        nodes = re.fullmatch(r"([0-9]+)-([0-9]+)", service["nodes"].text())
        if nodes is None:
            raise Wrong("instance.service_h.nodes: must be as: 1-40")
        each = service["each"].number()
        first, last = int(nodes[1]), int(nodes[2])
        self.stays = [each if first <= node <= last else 0.0 for node in range(count)]
        curves = {
            name: _curve(value["curves"][name]["charge_wh"], value["curves"][name]["time_h"], WH)
            for name in value["curves"].fields()
        }
        self.stations = []
        for name in value["stations"].fields():
            kind = value["stations"][name].text()
            if kind not in curves:
                raise Wrong(f"instance.stations.{name}: there is no curve {kind}")
            node = _node(name, value["stations"], count)
            self.stations.append(PlanStation(node, curves[kind]))

    def case(self, of: str, value: _Value) -> Case:
        """A case of `routes` or `other_starts`."""
        route = _route(value["route"], len(self.energy))
        start = value.maybe("start_wh")
        # From the last place one must still get to a station.
        to_stations = [self.energy[route[-1]][each.index] for each in self.stations]
        at_one = route[-1] in {each.index for each in self.stations}
        left = 0.0 if at_one else min(to_stations, default=0.0)
        trip = Trip(
            places=route,
            energy_kwh=self.energy,
            hours=self.hours,
            stays_h=[self.stays[node] for node in route],
            start_kwh=self.battery if start is None else start.number() / WH,
            capacity_kwh=self.battery,
            reserve_kwh=0.0,
            arrival_kwh=left,
            most_kwh=self.battery,
        )
        return Case(of, value["name"].text(), trip, self.stations, self.limit_h)


def _made(value: _Value) -> Case:
    """A case of `made`."""
    energy, hours = value["energy"].matrix(), value["time_h"].matrix()
    if len(energy) != len(hours):
        raise Wrong(f"{value.path}.time_h: must have as many rows as energy")
    route, stop_h = _route(value["route"], len(energy)), value["stop_h"].number()
    service = value["service_h"]
    stays = {_node(name, service, len(energy)): service[name].number() for name in service.fields()}
    stations = []
    for name in value["stations"].fields():
        each = value["stations"][name]
        free_at = each.maybe("free_at_h")
        stations.append(
            PlanStation(
                _node(name, value["stations"], len(energy)),
                _curve(each["charge"], each["time_h"]),
                stop_h=stop_h,
                free_at_h=0.0 if free_at is None else free_at.number(),
            )
        )
    trip = Trip(
        places=route,
        energy_kwh=energy,
        hours=hours,
        # On arrival: nobody arrives where the trip begins.
        stays_h=[0.0, *(stays.get(node, 0.0) for node in route[1:])],
        start_kwh=value["start"].number(),
        capacity_kwh=value["battery"].number(),
        reserve_kwh=value["least"].number(),
        arrival_kwh=value["least_at_end"].number(),
        most_kwh=value["most"].number(),
    )
    return Case("made", value["name"].text(), trip, stations, None)
