"""What became of the drivers of a run, and the figures that this comes to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from evcharge.models.station import Station
from evcharge.simulator import observe
from evcharge.simulator.drivers import Diary
from evcharge.simulator.observe import Observer, Window
from evcharge.simulator.parts import Zone
from evcharge.simulator.replication import (
    LOST,
    NETWORK,
    OUTCOMES,
    DriverRecord,
    Figures,
    Hours,
    Place,
)
from evcharge.simulator.statistics import percentile

SERVED = ("served", "served_after_wait")

PERCENTILES = (50, 90, 95, 99)

_encode = msgspec.json.Encoder().encode


@attrs.define(eq=False)
class Records:
    """
    Those who are gone.

    :param begin: of the scenario, seconds since the epoch.
    """

    window: Window
    begin: float
    born: int = 0
    drivers: list[DriverRecord] = attrs.field(factory=list)
    digest: Any = attrs.field(factory=hashlib.sha256)
    """Of the records, in their order."""
    findings: list[str] = attrs.field(factory=list)
    """What was replied that is in no script, with who was."""
    _counted: list[tuple[DriverRecord, Diary]] = attrs.field(factory=list)
    """Those who were born in the window."""

    def add(self, diary: Diary, outcome: str) -> None:
        """A driver's journey is over."""
        person = diary.person
        record = DriverRecord(
            identity=person.identity,
            zone=person.zone.name,
            car=person.car,
            outcome=outcome,
            station=diary.station,
            evse=diary.evse,
            born=self._since_begin(person.born),
            arrived=self._at(diary.arrived),
            queued=self._at(diary.queued),
            charging=self._at(diary.charging),
            ended=self._at(diary.ended),
            left=self._at(diary.left),
            waited=round(diary.waited_s, 3),
            kwh=diary.kwh,
            paid=diary.paid,
        )
        self.drivers.append(record)
        self.digest.update(_encode(record) + b"\n")
        if diary.finding is not None:
            self.findings.append(f"{person.identity}: {diary.finding}")
        if self.window.begin <= person.born < self.window.end:
            self._counted.append((record, diary))

    def _since_begin(self, at: float) -> float:
        return round(at - self.begin, 6)

    def _at(self, at: float | None) -> float | None:
        return None if at is None else self._since_begin(at)

    def figures(
        self,
        observer: Observer,
        stations: Iterable[Station],
        zones: Iterable[Zone],
        title: str,
    ) -> tuple[tuple[Place, ...], Mapping[str, Figures], Mapping[str, Hours]]:
        """The places that there are figures of, those figures, and what each hour had."""
        places = [Place(NETWORK, NETWORK, title)]
        places += [Place(f"zone:{z.name}", "zone", z.name) for z in zones]
        figures: dict[str, Figures] = {}
        hours: dict[str, Hours] = {}
        seen = {NETWORK: observer.network}
        of: dict[str, list[tuple[DriverRecord, Diary]]] = {NETWORK: self._counted}
        for each in self._counted:
            of.setdefault(f"zone:{each[0].zone}", []).append(each)
            if each[0].station is not None:
                of.setdefault(f"station:{each[0].station}", []).append(each)
        evses = 0
        for station in sorted(stations, key=lambda station: station.station_id):
            key, there = f"station:{station.key}", len(station.evses)
            evses += there
            seen[key] = observer.stations[station.station_id]
            position = station.latitude, station.longitude
            places.append(Place(key, "station", station.name, *position, there))
        places[0] = attrs.evolve(places[0], evses=evses)
        ahead_h = (self.window.begin - self.begin) / 3600.0
        # Of a zone there are those alone that drivers tell.
        nothing: Figures = dict.fromkeys(observe.figures(observer.network))
        for place in places:
            drivers = of.get(place.key, [])
            figures[place.key] = {**nothing, **self._of_drivers(drivers)}
            hours[place.key] = self._by_hour(drivers)
            if place.key in seen:
                told = dict(observe.figures(seen[place.key]))
                if told["peak_at"] is not None:
                    told["peak_at"] += ahead_h
                figures[place.key] = {**figures[place.key], **told}
                hours[place.key] = {**hours[place.key], **observe.hours(seen[place.key])}
        return tuple(places), figures, hours

    def _of_drivers(self, drivers: Sequence[tuple[DriverRecord, Diary]]) -> Figures:
        born = len(drivers)
        ends = dict.fromkeys(OUTCOMES, 0)
        for record, _ in drivers:
            ends[record.outcome] += 1
        lost = sum(ends[outcome] for outcome in LOST)
        waits = sorted(diary.waited_s / 60.0 for _, diary in drivers if diary.arrived is not None)
        waited = [wait for wait in waits if wait > 0.0]
        found: dict[str, float | None] = {"born": float(born)}
        found |= {outcome: float(number) for outcome, number in ends.items()}
        found["lost"] = float(lost)
        found["lost_share"] = lost / born if born else None
        found["wait_mean"] = math.fsum(waits) / len(waits) if waits else None
        found["wait_mean_of_waiting"] = math.fsum(waited) / len(waited) if waited else None
        for percent in PERCENTILES:
            found[f"wait_p{percent}"] = percentile(waits, percent / 100) if waits else None
        found["kwh"] = math.fsum(record.kwh for record, _ in drivers)
        found["revenue"] = math.fsum(record.paid for record, _ in drivers)
        found["km"] = math.fsum(diary.km for _, diary in drivers)
        found["drive_minutes"] = math.fsum(diary.drive_s for _, diary in drivers) / 60.0
        return found

    def _by_hour(self, drivers: Sequence[tuple[DriverRecord, Diary]]) -> Hours:
        """By the hour in which they were born."""
        found = {name: [0.0] * self.window.hours for name in ("born", "served", "lost")}
        for record, diary in drivers:
            hour = self.window.hour(diary.person.born)
            if hour is None:
                continue
            found["born"][hour] += 1.0
            if record.outcome in SERVED:
                found["served"][hour] += 1.0
            elif record.outcome in LOST:
                found["lost"][hour] += 1.0
        return {name: tuple(values) for name, values in found.items()}
