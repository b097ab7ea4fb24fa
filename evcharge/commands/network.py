"""How two networks differ, for a person: what `evcharge apply` does, and `bootstrap` leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from evcharge.datasets.difference import (
    IN_SERVICE,
    Difference,
    difference,
    station_fields,
    value_text,
    wanted_stations,
)
from evcharge.datasets.problems import shown
from evcharge.datasets.stations import StationRows
from evcharge.datasets.tariffs import TariffRows
from evcharge.models.network import Network, StationRecord


@attrs.frozen
class Kind:
    """The records of one kind, where they are and where they are to be."""

    name: str
    """Of one of them: `station`."""
    there: Mapping[Any, Mapping[str, Any]]
    wanted: Mapping[Any, Mapping[str, Any]]
    difference: Difference[Any]

    @classmethod
    def of(
        cls, name: str, there: Mapping[Any, Mapping[str, Any]], wanted: Mapping[Any, Any]
    ) -> Kind:
        return cls(name, there, wanted, difference(there, wanted))

    def is_changed(self, remove: bool) -> bool:
        """Whether anything is to be done, to `remove` what is gone or not."""
        there = self.difference
        return bool(there.new or there.changed or (remove and there.gone))

    def summary(self, remove: bool) -> str:
        """How many there are of each."""
        there = self.difference
        counts = {
            "new": there.new,
            "changed": there.changed,
            "gone" if remove else "not in the files": there.gone,
            "unchanged": there.unchanged,
        }
        return f"{self.name}s: " + ", ".join(f"{len(keys)} {what}" for what, keys in counts.items())

    def new(self) -> Sequence[str]:
        """The same for each record that is new."""
        lines = []
        for key in self.difference.new:
            lines.append(f"{self.title(key)}: new")
            for name, value in self.wanted[key].items():
                # What goes without saying.
                if name != "id" and (name, value) != (IN_SERVICE, True):
                    lines.append(f"    {shown(name)}: {value_text(value)}")
        return lines

    def changed(self) -> Sequence[str]:
        """A line for each record that is changed, and one for each field of it."""
        lines = []
        for key, changes in self.difference.changed.items():
            lines.append(f"{self.title(key)}: changed")
            lines += [f"    {change}" for change in changes]
        return lines

    def title(self, key: Any) -> str:
        """What a record is called."""
        name = {**self.there.get(key, {}), **self.wanted.get(key, {})}.get("nomeDoPosto", "")
        return shown(f"{self.name} {key} {name}".strip())


def kinds(
    there: Network,
    cars: Mapping[str, Any] | None,
    stations: Mapping[int, StationRecord] | None,
    tariffs: TariffRows | None = None,
) -> list[Kind]:
    """
    Compare a network with what files describe, as far as they do.

    :param cars: the models that there are to be, and
    :param stations: the stations likewise, and
    :param tariffs: the tariffs; None where no file says.
    """
    found = []
    if cars is not None:
        facts = {
            name: model if isinstance(model, Mapping) else {"": model}
            for name, model in there.car_models.items()
        }
        found.append(Kind.of("car model", facts, cars))
    if stations is not None:
        before = {key: station_fields(record) for key, record in there.stations.items()}
        after = {key: station_fields(record) for key, record in stations.items()}
        found.append(Kind.of("station", before, after))
    if tariffs is not None:
        known = {tariff_key(body): body for body in there.tariffs}
        wanted = {tariff_key(body): body for body in tariffs.everything}
        found.append(Kind.of("tariff", known, wanted))
    return found


def tariff_key(body: Any) -> str:
    """What a tariff is called; one that is wrong may have no name."""
    name = body.get("id") if isinstance(body, Mapping) else None
    return name if isinstance(name, str) else json.dumps(body)


def left_as_it_is(
    there: Network, cars: Mapping[str, Any] | None, stations: StationRows | None
) -> list[str]:
    """What `bootstrap` leaves as it is, though its files say something else: a line each."""
    wanted = None if stations is None else wanted_stations(stations, True, there.stations)
    return [line for kind in kinds(there, cars, wanted) for line in kind.changed()]
