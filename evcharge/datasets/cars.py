"""The catalogue of cars: `car_models.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from evcharge.datasets.problems import DatasetError, shown
from evcharge.datasets.reading_json import read_json, why_unwritable
from evcharge.models.electric_car import CarModel


@attrs.frozen
class Catalogue:
    """The models of a catalogue, in its order."""

    models: dict[str, dict[str, Any]]
    """The facts of each that can be used, with the numbers as numbers."""
    everything: dict[str, Any]
    """The others too, as they are."""
    problems: list[str]
    """What is wrong with those."""


def parse_car_models(content: bytes, source: str) -> dict[str, dict[str, Any]]:
    """
    Read a catalogue that is to be taken in.

    :param content: JSON, an object keyed by the model's name.
    :param source: where it is from, for the messages.
    :return: the facts of each model, whatever it has of them, with the numbers as numbers.
    :raise DatasetError: names every model and field that is wrong.
    """
    catalogue = read_car_models(content, source)
    if catalogue.problems:
        raise DatasetError(catalogue.problems)
    return catalogue.models


def read_car_models(content: bytes, source: str) -> Catalogue:
    """
    Read the catalogue that a network has.

    :param content: as for :func:`parse_car_models`.
    :param source: likewise.
    :raise DatasetError: there is no object in it.
    """
    facts = read_json(content, source)
    if not isinstance(facts, dict):
        raise DatasetError([f"{source}: must be a JSON object keyed by model name"])
    catalogue = check_car_models(facts, source)
    if not facts:
        catalogue.problems.append(f"{source}: has no car model")
    return catalogue


def check_car_models(everything: Mapping[str, Any], source: str) -> Catalogue:
    """
    Which models can be used.

    :param everything: a catalogue's values by its keys.
    :param source: where it is from, for the messages.
    """
    catalogue = Catalogue({}, {}, [])
    for name, facts in everything.items():
        wrong = _mistakes(name, facts)
        if wrong:
            catalogue.problems.extend(
                f"{source}: model {shown(repr(name))}: {why}" for why in wrong
            )
            catalogue.everything[name] = facts
        else:
            usable = {**facts, **CarModel.from_facts(facts).facts()}
            catalogue.models[name] = catalogue.everything[name] = usable
    return catalogue


def _mistakes(name: str, facts: object) -> list[str]:
    """What is wrong with a model."""
    if not isinstance(facts, dict):
        return ["must be an object"]
    unwritable = why_unwritable(facts) or why_unwritable(name)
    if unwritable is not None:
        return [unwritable]
    try:
        return CarModel.from_facts(facts).implausible()
    except ValueError as error:
        return [str(error)]


def merge_car_models(there: Mapping[str, Any], more: Mapping[str, Any]) -> bytes:
    """The catalogue `there` with the models that only `more` has, as JSON."""
    merged = {**there, **{name: facts for name, facts in more.items() if name not in there}}
    text = json.dumps(merged, ensure_ascii=False, indent=1)
    try:
        # Bytes that were no text are written as they were.
        return text.encode("utf-8", "surrogateescape") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(merged, indent=1).encode() + b"\n"
