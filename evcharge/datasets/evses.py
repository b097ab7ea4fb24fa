"""The EVSEs of a network: `evses.json`, by station."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import Any

import attrs

from evcharge.datasets.problems import DatasetError
from evcharge.datasets.problems import shown as shown_text
from evcharge.datasets.reading_json import Doubled, named_twice, read_json, why_unwritable
from evcharge.models.connectors import connector_kind
from evcharge.models.evse import (
    DC,
    FORMATS,
    IN_SERVICE,
    LONGEST_UID,
    OTHER_STANDARDS,
    POWER_TYPES,
    STANDARDS,
    STATUSES,
    Connector,
    Evse,
    kind_of,
)
from evcharge.models.tariffs.parsing import LONGEST_ID
from evcharge.utils.numbers import finite_number
from evcharge.utils.objects import ObjectReader

MOST_POWER_KW = 10_000.0
MOST_CONNECTORS = 20
MOST_EVSES = 1000
LONGEST_REASON = 200

UNKNOWN = "?"
"""What a connector is called of which nothing is known."""

_EVSE_FIELDS = {
    "uid",
    "connectors",
    "max_power_kw",
    "status",
    "since",
    "reason",
    "physical_reference",
}
_CONNECTOR_FIELDS = {
    "id",
    "standard",
    "name",
    "format",
    "power_type",
    "max_power_kw",
    "tariff_ids",
}
"""What models keep. Volts and amperes are not among it, but for the power that they make."""

_STATION_ID = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")


@attrs.frozen
class EvseRows:
    """The EVSEs of the stations that a file names."""

    evses: Mapping[int, tuple[Evse, ...]]
    """By the station's id, of those that can be used."""
    everything: Mapping[str, Any]
    """The whole of the file, by the station's id as text."""
    wrong: Mapping[int, str] = attrs.field(factory=dict)
    """The stations of which something is wrong, each with the first thing."""
    problems: tuple[str, ...] = ()
    """All that is wrong."""
    source: str = ""
    """Where it is from, for the messages."""


def parse_evses(content: bytes, source: str) -> EvseRows:
    """
    Read the EVSEs that are to be taken in.

    :param content: JSON, an object of lists of EVSEs, keyed by the station's id.
    :param source: where it is from, for the messages.
    :raise DatasetError: names every mistake.
    """
    rows = read_evses(content, source)
    if rows.problems:
        raise DatasetError(rows.problems)
    return rows


def read_evses(content: bytes, source: str) -> EvseRows:
    """
    Read the EVSEs that a network has: what is wrong costs the station that has it.

    :raise DatasetError: there is no object in it.
    """
    everything = read_json(content, source)
    if not isinstance(everything, dict):
        raise DatasetError([f"{source}: must be a JSON object keyed by station id"])
    return check_evses(everything, source)


def check_evses(everything: Mapping[str, Any], source: str) -> EvseRows:
    """
    Which EVSEs can be used.

    :param everything: lists of EVSEs, by the station's id as text.
    :param source: where they are from, for the messages.
    """
    found: dict[int, tuple[Evse, ...]] = {}
    wrong: dict[int, str] = {}
    problems: list[str] = []
    homes: dict[str, int] = {}
    for key, value in everything.items():
        if not _STATION_ID.match(key):
            problems.append(f"{source}: {shown_text(repr(key))}: is no id of a station")
            continue
        station_id = int(key)
        mistakes, evses = _station(key, value)
        if isinstance(everything, Doubled) and key in everything.twice:
            mistakes.append(f'"{key}": the station is there twice')
        for evse in evses:
            home = homes.setdefault(evse.uid, station_id)
            if home != station_id:
                mistakes.append(f'"{evse.uid}": uid: station {home} has one that is called so')
        if mistakes:
            told = [f"{source}: {mistake}" for mistake in mistakes]
            problems += told
            wrong[station_id] = told[0]
        else:
            found[station_id] = evses
    return EvseRows(found, everything, wrong, tuple(problems), source)


def _station(key: str, value: object) -> tuple[list[str], tuple[Evse, ...]]:
    """What is wrong with the EVSEs of a station, and those that are not wrong."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_EVSES:
        return [f'"{key}": must be a list of 1 to {MOST_EVSES} EVSEs'], ()
    problems: list[str] = []
    evses: dict[str, Evse] = {}
    for number, each in enumerate(value):
        reader = _Reader()
        evse = reader.evse(each)
        uid = each.get("uid") if isinstance(each, dict) else None
        has_name = isinstance(uid, str) and bool(uid)
        name = shown_text(f'"{uid}"') if has_name else f'"{key}": [{number}]'
        if (unwritable := why_unwritable(each)) is not None:
            reader.problems.append(unwritable)
        else:
            reader.problems += [f"{path}: is there twice" for path in named_twice(each)]
        if evse is not None and evse.uid in evses:
            reader.problems.append("uid: the station has two that are called so")
        problems += [f"{name}: {problem}" for problem in reader.problems]
        if evse is not None:
            evses.setdefault(evse.uid, evse)
    return problems, tuple(evses.values())


class _Reader(ObjectReader):
    """Reads an EVSE."""

    def evse(self, value: object) -> Evse | None:
        if not isinstance(value, dict):
            self.problems.append("must be an object")
            return None
        uid = self.required(value, "", "uid", self.text(LONGEST_UID))
        connectors = self.required(value, "", "connectors", self.connectors)
        power = self.optional(value, "", "max_power_kw", self.power)
        status = self.optional(value, "", "status", self.one_of(*STATUSES))
        since = self.optional(value, "", "since", self.since)
        reason = self.optional(value, "", "reason", self.text(LONGEST_REASON))
        reference = self.optional(value, "", "physical_reference", self.text(LONGEST_ID))
        if self.problems or uid is None or connectors is None:
            return None
        kind = kind_of(connectors, power)
        others = _others(value, _EVSE_FIELDS)
        more = {each["id"]: _others(each, _CONNECTOR_FIELDS) for each in value["connectors"]}
        if any(more.values()):
            others["connectors"] = {name: fields for name, fields in more.items() if fields}
        return Evse(uid, kind, status or IN_SERVICE, since, reason, reference, others)

    def connectors(self, path: str, value: object) -> tuple[Connector, ...] | None:
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_CONNECTORS:
            self.wrong(path, f"a list of 1 to {MOST_CONNECTORS} connectors", value)
            return None
        found = [self.connector(f"{path}[{n}]", each) for n, each in enumerate(value)]
        ids = [connector.connector_id for connector in found if connector is not None]
        for number, each in enumerate(ids):
            if each in ids[:number]:
                self.problems.append(f"{path}[{number}].id: the EVSE has two that are called so")
        return tuple(connector for connector in found if connector is not None)

    def connector(self, path: str, value: object) -> Connector | None:
        if not isinstance(value, dict):
            self.wrong(path, "an object", value)
            return None
        at = f"{path}."
        connector_id = self.required(value, at, "id", self.text(LONGEST_ID))
        standard = self.optional(value, at, "standard", self.standard)
        name = self.optional(value, at, "name", self.text(LONGEST_REASON))
        # One that is null says that nobody knows it.
        if name is None and "standard" not in value:
            self.problems.append(f"{path}: has neither a standard nor a name")
        power_type = self.optional(value, at, "power_type", self.one_of(*POWER_TYPES))
        power = self.optional(value, at, "max_power_kw", self.power)
        volts = self.optional(value, at, "max_voltage", self.power)
        amperes = self.optional(value, at, "max_amperage", self.power)
        if power is None and volts is not None and amperes is not None:
            power = _power_of(power_type, volts, amperes)
        tariffs = self.optional(value, at, "tariff_ids", self.ids)
        how = self.optional(value, at, "format", self.one_of(*FORMATS))
        if connector_id is None:
            return None
        known = STANDARDS.get(standard or "")
        if known is None and standard is None and name is not None:
            kind = connector_kind(name)
            standard = next((s for s, k in STANDARDS.items() if k == kind), None)
            known = STANDARDS.get(standard or "")
        current = UNKNOWN if power_type is None else "DC" if power_type == DC else "AC"
        shown = name or (known and known.name) or standard or current
        return Connector(
            connector_id, shown, standard, how, power_type, power, tuple(tariffs or ())
        )

    def standard(self, path: str, value: object) -> str | None:
        if isinstance(value, str) and (value in STANDARDS or value in OTHER_STANDARDS):
            return value
        self.wrong(path, "a ConnectorType of OCPI 2.2.1, such as IEC_62196_T2, or null", value)
        return None

    def power(self, path: str, value: object) -> float | None:
        number = None if isinstance(value, str) else finite_number(value)
        if number is None or not 0 < number <= MOST_POWER_KW:
            self.wrong(path, f"a number over 0, up to {MOST_POWER_KW:g}", value)
            return None
        return number

    def since(self, path: str, value: object) -> str | None:
        if isinstance(value, str) and value.endswith("Z"):
            try:
                moment = datetime.fromisoformat(value[:-1])
            except ValueError:
                pass
            else:
                if moment.tzinfo is None:
                    return moment.replace(tzinfo=timezone.utc).isoformat().replace("+00:00", "Z")
        self.wrong(path, "a time in UTC such as 2026-11-25T12:00:00Z", value)
        return None

    def ids(self, path: str, value: object) -> list[str] | None:
        if not isinstance(value, list):
            self.wrong(path, "a list of ids of tariffs", value)
            return None
        read = self.text(LONGEST_ID)
        found = [read(f"{path}[{n}]", each) for n, each in enumerate(value)]
        return [each for each in found if each is not None]


def _others(value: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in known}


def evses_json(everything: Mapping[str, Any]) -> bytes:
    """
    A file of EVSEs, one of them a line.

    :param everything: lists of EVSEs by the station's id; what is wrong is written as it is.
    """

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    stations = []
    for key, value in everything.items():
        lines = [f"\n  {text(each)}" for each in value] if isinstance(value, list) else []
        shown = f"[{','.join(lines)}\n ]" if lines else text(value)
        stations.append(f"\n {text(key)}: {shown}")
    content = f"{{{','.join(stations)}\n}}\n"
    try:
        # Bytes that were no text are written as they were.
        return content.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return json.dumps(everything, indent=1).encode() + b"\n"


def _power_of(power_type: str | None, volts: float, amperes: float) -> float:
    """The power of a connector, kW; the volts are those between a line and neutral."""
    lines = 3 if power_type == "AC_3_PHASE" else 1
    return lines * volts * amperes / 1000


def evse_facts(evse: Evse) -> dict[str, Any]:
    """The JSON form of an EVSE, of which :func:`read_evses` reads the same."""
    facts: dict[str, Any] = {"uid": evse.uid}
    if evse.kind.max_power_kw is not None:
        facts["max_power_kw"] = evse.kind.max_power_kw
    others = dict(evse.others)
    of_connectors = others.pop("connectors", {})
    facts["connectors"] = [
        connector_facts(connector, of_connectors.get(connector.connector_id, {}))
        for connector in evse.kind.connectors
    ]
    if not evse.in_service:
        facts["status"] = evse.status
    for name in ("since", "reason", "physical_reference"):
        if getattr(evse, name) is not None:
            facts[name] = getattr(evse, name)
    return {**facts, **others}


def connector_facts(connector: Connector, others: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON form of a connector; `others` are the fields that evcharge has no use for."""
    facts: dict[str, Any] = {"id": connector.connector_id}
    known = STANDARDS.get(connector.standard or "")
    if connector.standard is not None:
        facts["standard"] = connector.standard
    if connector.name not in (connector.standard, known and known.name):
        facts["name"] = connector.name
    for name in ("format", "power_type", "max_power_kw"):
        if getattr(connector, name) is not None:
            facts[name] = getattr(connector, name)
    volts, amperes = others.get("max_voltage"), others.get("max_amperage")
    if (
        volts
        and amperes
        and facts.get("max_power_kw") == _power_of(connector.power_type, volts, amperes)
    ):
        # It was not said: who changes one of them later is to change the power with it.
        del facts["max_power_kw"]
    if connector.tariff_ids:
        facts["tariff_ids"] = list(connector.tariff_ids)
    return {**facts, **others}
