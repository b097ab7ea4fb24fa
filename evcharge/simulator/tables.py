"""A study as CSV and JSON: for programs and spreadsheets, in English, whatever the report is in."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from evcharge.simulator.replication import DriverRecord
from evcharge.simulator.statistics import Interval
from evcharge.simulator.study import Study
from evcharge.simulator.summaries import HOURS, differences, places, summary
from evcharge.simulator.texts import called
from evcharge.simulator.whole import write_whole, writing
from evcharge.simulator.words import FIGURES

DRIVER = tuple(field.name for field in attrs.fields(DriverRecord))


def write_tables(study: Study, folder: Path) -> None:
    """
    Write all tables of a study, each whole: figures.json, figures.csv, hours.csv, stations.csv,
    and drivers.csv where drivers were kept.

    :raise OSError: one cannot be written.
    :raise StudyError: a replication cannot be read any more.
    """
    text = json.dumps(figures(study), ensure_ascii=False, indent=1)
    write_whole(folder / "figures.json", text + "\n")
    _write(
        folder / "figures.csv",
        ("variant", "replication", "place", "figure", "value"),
        (
            (variant.name, each.number, place, figure, value)
            for variant, results in zip(study.plan.variants, study.results, strict=True)
            for each in results
            for place, found in each.figures.items()
            for figure, value in found.items()
        ),
    )
    _write(folder / "hours.csv", ("variant", "replication", "place", "hour", *HOURS), _hours(study))
    _write(
        folder / "stations.csv",
        ("variant", "station", "name", "latitude", "longitude", "evses", *FIGURES),
        _stations(study),
    )
    if study.plan.has_drivers:
        _write(folder / "drivers.csv", ("variant", "replication", *DRIVER), _drivers(study))


def figures(study: Study) -> Mapping[str, Any]:
    """
    All figures over the replications, with their intervals, and differences to the first variant.
    """
    plan = study.plan
    there = places(study)
    variants = [
        {
            "name": variant.name,
            "settings": {called(label, "en"): value for label, value in variant.settings},
            "replications": len(results),
            "figures": {
                place.key: {
                    name: _interval(found)
                    for name in FIGURES
                    if (found := summary(results, place.key, name, plan.confidence)) is not None
                }
                for place in there
            },
        }
        for variant, results in zip(plan.variants, study.results, strict=True)
    ]
    apart: list[dict[str, Any]] = [
        {"variant": variant.name, "to": plan.variants[0].name, "figures": {}}
        for variant in plan.variants[1:]
    ]
    for place in there:
        for name in FIGURES:
            for row, found in zip(apart, differences(study, place.key, name), strict=True):
                if found is not None:
                    told = {**_interval(found), "apart_from_0": found.is_apart_from_0}
                    row["figures"].setdefault(place.key, {})[name] = told
    return {
        "title": called(plan.title, "en"),
        "complete": study.is_complete,
        "seed": plan.seed,
        "replications": plan.replications,
        "confidence": plan.confidence,
        "places": [attrs.asdict(place) for place in there],
        "variants": variants,
        "differences": apart,
    }


def plain(value: Any) -> Any:
    """A value as files have it: figures with nine digits, the same whatever summed them up."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.9g}")
    return value


def _interval(found: Interval) -> dict[str, Any]:
    return {name: plain(value) for name, value in attrs.asdict(found).items()}


def _hours(study: Study) -> Iterable[Sequence[Any]]:
    for variant, results in zip(study.plan.variants, study.results, strict=True):
        for each in results:
            for place, found in each.hours.items():
                count = max(map(len, found.values()), default=0)
                for hour in range(count):
                    row = (found[name][hour] if name in found else None for name in HOURS)
                    yield (variant.name, each.number, place, hour, *row)


def _stations(study: Study) -> Iterable[Sequence[Any]]:
    for variant, results in zip(study.plan.variants, study.results, strict=True):
        for place in results[0].places if results else ():
            if place.kind == "station":
                found = (
                    summary(results, place.key, name, study.plan.confidence) for name in FIGURES
                )
                means = (each and each.mean for each in found)
                station = place.key.partition(":")[2]
                where = (place.latitude, place.longitude)
                yield (variant.name, station, place.name, *where, place.evses, *means)


def _drivers(study: Study) -> Iterable[Sequence[Any]]:
    for number, results in enumerate(study.results):
        name = study.plan.variants[number].name
        for each in results:
            for driver in study.drivers(number, each.number):
                yield (name, each.number, *(getattr(driver, field) for field in DRIVER))


def _write(path: Path, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with writing(path) as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(heads)
        lines.writerows([plain(value) for value in row] for row in rows)
