"""Two studies as one, to be reported side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from evcharge.outcomes import LANGUAGES
from evcharge.simulator.study import Study, StudyError
from evcharge.simulator.texts import called

LENGTHS = ("days", "warm_up_hours")
"""What two studies have to have in common, as their sums are of as many hours."""


def beside(one: Study, other: Study) -> Study:
    """
    Two studies as one, whose variants are those of both: the differences are to the first of `one`,
    replication by replication.

    :raise StudyError: they are the same one, or of other lengths of time.
    """
    both = (one, other)
    if one.folder.resolve() == other.folder.resolve():
        raise StudyError(f"{other.folder}: is named twice; other results are to be beside it")
    for key in LENGTHS:
        values = [getattr(study.plan, key) for study in both]
        if values[0] != values[1]:
            raise StudyError(
                f"{one.folder} and {other.folder} cannot be compared: {key} is "
                f"{values[0]:g} in one, {values[1]:g} in the other"
            )
    names = [study.folder.resolve().name for study in both]
    if names[0] == names[1]:
        names = [str(study.folder) for study in both]
    named = list(zip(names, both, strict=True))
    variants = [
        attrs.evolve(
            variant,
            name=f"{name}: {variant.name}",
            settings=(("", name), *variant.settings),
        )
        for name, study in named
        for variant in study.plan.variants
    ]
    plan = attrs.evolve(
        one.plan,
        title={
            language: " | ".join(dict.fromkeys(called(each.plan.title, language) for each in both))
            for language in LANGUAGES
        },
        replications=max(study.plan.replications for study in both),
        variants=tuple(variants),
        files={
            f"{name}: {file}": text
            for name, study in named
            for file, text in study.plan.files.items()
        },
        scenario={name: study.plan.scenario for name, study in named},
        command=("evcharge", "simulate", "report", *(str(study.folder) for study in both)),
        has_drivers=one.plan.has_drivers and other.plan.has_drivers,
    )
    drawn = [_drawn(study) for study in both]
    return attrs.evolve(
        one,
        plan=plan,
        results=(*one.results, *other.results),
        sources=(*one.sources, *other.sources),
        versions={
            name: " | ".join(dict.fromkeys(each.versions.get(name, "–") for each in both))
            for name in {**one.versions, **other.versions}
        },
        unlike=tuple(key for key in drawn[0] if drawn[0][key] != drawn[1][key]),
    )


def _drawn(study: Study) -> Mapping[str, Any]:
    """By what drivers are drawn: who has all of it in common has the same drivers."""
    zones = study.plan.scenario.get("demand", {}).get("zones", [])
    return {
        "evcharge": study.versions["evcharge"],
        "seed": study.plan.seed,
        "start": study.plan.start,
        "demand.zone": [zone.get("name") for zone in zones],
    }
