"""Two networks beside one another: the one that there is, and the one that files describe."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs

from evcharge.datasets.columns import MOST_SLOTS, OPTIONAL_COLUMNS, TARIFF_COLUMNS
from evcharge.datasets.evses import EvseRows, evse_facts
from evcharge.datasets.problems import shown
from evcharge.datasets.stations import OWN_COLUMNS, StationRows, other_columns
from evcharge.datasets.together import with_own
from evcharge.models.network import StationRecord

K = TypeVar("K", bound=Hashable)

IN_SERVICE = "in service"

_OPTIONAL = dict(
    zip(
        (*OPTIONAL_COLUMNS, *TARIFF_COLUMNS),
        ("power_kw", "price_kwh", "connectors", "tariff_id", "time_zone"),
        strict=True,
    )
)
"""Columns that a file may lack, and what of a station is in each."""


@attrs.frozen
class Change:
    """A field that is another than before."""

    field: str
    before: Any
    """None where there was none, like the next."""
    after: Any

    def __str__(self) -> str:
        return f"{shown(self.field)}: {value_text(self.before)} -> {value_text(self.after)}"


@attrs.frozen
class Difference(Generic[K]):
    """What makes one set of records another; each record by its key, in order."""

    new: Sequence[K]
    changed: Mapping[K, Sequence[Change]]
    gone: Sequence[K]
    unchanged: Sequence[K]


def difference(
    there: Mapping[K, Mapping[str, Any]], wanted: Mapping[K, Mapping[str, Any]]
) -> Difference[K]:
    """
    Compare two sets of records, field by field. The order of either does not count.

    :param there: the fields of each record that there is, and
    :param wanted: of each that there shall be; a field that is None is one that is not there.
    """
    changes = {
        key: list(_changes(there[key], fields)) for key, fields in wanted.items() if key in there
    }
    return Difference(
        new=[key for key in wanted if key not in there],
        changed={key: found for key, found in changes.items() if found},
        gone=[key for key in there if key not in wanted],
        unchanged=[key for key, found in changes.items() if not found],
    )


def _changes(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys((*there, *wanted)):
        before, after = there.get(name), wanted.get(name)
        # To Python True is 1.
        if before != after or isinstance(before, bool) is not isinstance(after, bool):
            yield Change(name, before, after)


def value_text(value: Any) -> str:
    """The value of a field, for a person."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, dict)):
        return shown(json.dumps(value, ensure_ascii=False))
    return shown(str(value))


# Stations


def station_fields(record: StationRecord) -> dict[str, Any]:
    """A station as people read it in a file: its columns by name, and whether it is in service."""
    if record.is_unread:
        return {**record.other_columns, IN_SERVICE: False}
    station = record.station
    values = (
        station.station_id,
        station.name,
        station.address,
        station.latitude,
        station.longitude,
        station.max_slots,
        station.power_kw,
        station.price_kwh,
        ", ".join(station.connectors),
        station.tariff_id or "",
        station.time_zone or "",
    )
    fields = {
        **dict(zip(OWN_COLUMNS, values, strict=True)),
        **record.other_columns,
    }
    evses = {f"EVSE {evse.uid}": evse_facts(evse) for evse in station.own_evses}
    if record.wrong_evses is not None:
        evses = {"EVSEs": record.wrong_evses}
    # An empty cell is as good as none.
    return {
        **{name: value for name, value in fields.items() if value != ""},
        **evses,
        IN_SERVICE: record.in_service,
    }


def wanted_stations(
    rows: StationRows, in_service: bool, there: Mapping[int, StationRecord]
) -> dict[int, StationRecord]:
    """
    The stations that a file describes. A column that it lacks says nothing: what a station has of
    that stays. So do its EVSEs, whatever number the row says.

    :param in_service: whether those in this file are.
    :param there: the stations that there are.
    """
    lacking = [attribute for name, attribute in _OPTIONAL.items() if name not in rows.columns]
    wanted = {}
    for station_id, station in rows.stations.items():
        before = there.get(station_id)
        known = {} if before is None else before.other_columns
        # An empty cell is there because another station has something in that column.
        others = {
            name: cell
            for name, cell in other_columns(rows.rows[station_id]).items()
            if cell or name in known
        }
        if before is not None and not before.is_unread:
            others = {**before.other_columns, **others}
            kept = {name: getattr(before.station, name) for name in lacking}
            slots = before.station.max_slots
            if slots >= 0 and station.max_slots == min(max(slots, 1), MOST_SLOTS):
                # A file has no other way to say this number.
                kept["max_slots"] = slots
            station = with_own(attrs.evolve(station, **kept), before.station.own_evses)
        wrong_evses = None if before is None else before.wrong_evses
        wanted[station_id] = StationRecord(station, in_service, others, wrong_evses)
    return wanted


def wanted_evses(
    evses: EvseRows, records: Mapping[int, StationRecord], remove: bool
) -> dict[int, StationRecord]:
    """
    The stations with the EVSEs that a file describes. Of one that it does not name they stay.

    :param remove: whether they go instead.
    """
    found = {}
    for station_id, record in records.items():
        own = evses.evses.get(station_id, ())
        if own or (remove and not record.is_unread):
            station = with_own(attrs.evolve(record.station, own_evses=()), own)
            record = attrs.evolve(record, station=station, wrong_evses=None)
        found[station_id] = record
    return found
