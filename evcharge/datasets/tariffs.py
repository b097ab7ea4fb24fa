"""The tariffs of a network: `tariffs.json`, a list of OCPI 2.2.1 Tariff objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from evcharge.datasets.problems import DatasetError, shown
from evcharge.datasets.reading_json import named_twice, read_json, why_unwritable
from evcharge.models.tariffs import Tariff, TariffError, parse_tariff
from evcharge.utils.objects import shown as shown_value

CURRENCY = "BRL"
"""A network has one, in which all its prices are."""


@attrs.frozen
class TariffRows:
    """The tariffs of a file."""

    tariffs: Mapping[str, Tariff]
    """By id, those that can be used."""
    everything: tuple[Any, ...]
    """The whole of the file."""
    wrong: Mapping[str, str] = attrs.field(factory=dict)
    """Ids of those that cannot, each with the first thing that is wrong with it."""
    problems: tuple[str, ...] = ()
    """All that is wrong."""


def parse_tariffs(content: bytes, source: str) -> TariffRows:
    """
    Read tariffs that are to be taken in.

    :param content: JSON, a list of OCPI 2.2.1 Tariff objects.
    :param source: where it is from, for the messages.
    :raise DatasetError: names every mistake.
    """
    rows = read_tariffs(content, source)
    if rows.problems:
        raise DatasetError(rows.problems)
    return rows


def check_tariffs(bodies: Sequence[Any], source: str) -> TariffRows:
    """
    Which tariffs can be used.

    :param bodies: their JSON forms.
    :param source: where they are from, for the messages.
    """
    return read_tariffs(tariffs_json(bodies), source)


def tariffs_json(bodies: Sequence[Any]) -> bytes:
    """A file of tariffs, of their JSON forms."""
    try:
        # Bytes that were no text are written as they were.
        text = json.dumps(list(bodies), ensure_ascii=False, indent=1)
        return text.encode("utf-8", "surrogateescape") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(list(bodies), indent=1).encode() + b"\n"


def read_tariffs(content: bytes, source: str) -> TariffRows:
    """
    Read the tariffs that a network has: what is wrong costs the stations that go by it.

    :raise DatasetError: there is no list in it.
    """
    # As programs write it again, and with every number by its text, as prices have to be.
    everything = read_json(content, source)
    exact = read_json(content, source, Decimal)
    if not isinstance(everything, list):
        raise DatasetError([f"{source}: must be a JSON list of OCPI Tariff objects"])
    tariffs: dict[str, Tariff] = {}
    wrong: dict[str, str] = {}
    problems: list[str] = []
    for number, (body, value) in enumerate(zip(everything, exact, strict=True)):
        tariff_id = body.get("id") if isinstance(body, dict) else None
        has_name = isinstance(tariff_id, str) and bool(tariff_id)
        name = shown(f'"{tariff_id}"') if has_name else f"[{number}]"
        mistakes = []
        try:
            tariff = attrs.evolve(parse_tariff(value), body=body)
            if tariff.tariff_id in tariffs:
                mistakes.append("id: two tariffs are called so")
        except TariffError as error:
            mistakes += error.problems
        currency = body.get("currency") if isinstance(body, dict) else None
        if isinstance(currency, str) and currency != CURRENCY:
            mistakes = [each for each in mistakes if not each.startswith("currency:")]
            mistakes.append(f"currency: must be {CURRENCY}, not {shown_value(currency)}")
        # START sends all of it.
        if (unwritable := why_unwritable(body)) is not None:
            mistakes.append(unwritable)
        else:
            mistakes += [f"{path}: is there twice" for path in named_twice(body)]
        told = [f"{source}: {name}: {mistake}" for mistake in mistakes]
        problems += told
        if told and isinstance(tariff_id, str):
            wrong[tariff_id] = told[0]
        elif not told:
            tariffs[tariff.tariff_id] = tariff
    usable = {name: tariff for name, tariff in tariffs.items() if name not in wrong}
    return TariffRows(usable, tuple(everything), wrong, tuple(problems))
