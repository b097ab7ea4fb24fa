"""What became of the drivers of a run, and the figures that this comes to."""

from __future__ import annotations

import hashlib
import math
import tempfile
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import IO, Any

import attrs

from evcharge.models.station import Station
from evcharge.simulator import areas
from evcharge.simulator.areas import Window
from evcharge.simulator.drivers import Diary
from evcharge.simulator.observe import Observer
from evcharge.simulator.parts import Zone
from evcharge.simulator.replication import (
    LOST,
    NETWORK,
    OUTCOMES,
    SERVED,
    DriverRecord,
    Figures,
    Hours,
    Place,
    driver_line,
    drivers_of,
)
from evcharge.simulator.statistics import percentile

PERCENTILES = (50, 90, 95, 99)

MOST_IN_MEMORY = 10_000
"""Drivers who are gone; before that many have gathered they go to disk."""


class Gone:
    """
    Those who are gone, in their order: a collection that is on disk where it is large.

    :param most: so many are in memory at the most.
    """

    def __init__(self, most: int = MOST_IN_MEMORY) -> None:
        self._most = most
        self._last: list[DriverRecord] = []
        self._file: IO[bytes] | None = None
        self._on_disk = 0

    def add(self, record: DriverRecord) -> None:
        """
        One more.

        :raise OSError: there is no room for temporary files.
        """
        self._last.append(record)
        if len(self._last) >= self._most:
            if self._file is None:
                # It goes when nobody has it any more, by whatever end.
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
            self._file.writelines(map(driver_line, self._last))
            self._on_disk += len(self._last)
            self._last.clear()

    def all(self) -> Collection[DriverRecord]:
        """All of them; a tuple where none is on disk."""
        return tuple(self._last) if self._file is None else self

    def __len__(self) -> int:
        return self._on_disk + len(self._last)

    def __iter__(self) -> Iterator[DriverRecord]:
        if self._file is not None:
            self._file.seek(0)
            yield from drivers_of(self._file)
        yield from self._last

    def __contains__(self, record: object) -> bool:
        return any(each == record for each in self)


@attrs.define(eq=False)
class Tally:
    """What drivers came to who were born in the window, of a place, or of all."""

    window: Window
    ends: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(OUTCOMES, 0))
    waits: array[float] = attrs.field(factory=lambda: array("d"))
    """Of those who came to a station, minutes: percentiles are of all of them."""
    kwh: float = 0.0
    revenue: float = 0.0
    km: float = 0.0
    drive_s: float = 0.0
    hours: dict[str, array[float]] = attrs.field(init=False)
    """By the hour in which they were born."""

    @hours.default
    def _hours(self) -> dict[str, array[float]]:
        nothing = bytes(8 * self.window.hours)
        return {name: array("d", nothing) for name in ("born", "served", "lost")}

    def add(self, outcome: str, diary: Diary) -> None:
        """One more."""
        self.ends[outcome] += 1
        if diary.arrived is not None:
            self.waits.append(diary.waited_s / 60.0)
        self.kwh += diary.kwh
        self.revenue += diary.paid
        self.km += diary.km
        self.drive_s += diary.drive_s
        hour = self.window.hour(diary.person.born)
        if hour is not None:
            self.hours["born"][hour] += 1.0
            if outcome in SERVED:
                self.hours["served"][hour] += 1.0
            elif outcome in LOST:
                self.hours["lost"][hour] += 1.0

    def figures(self) -> Figures:
        """Those that drivers tell."""
        born = sum(self.ends.values())
        lost = sum(self.ends[outcome] for outcome in LOST)
        waits = sorted(self.waits)
        waited = [wait for wait in waits if wait > 0.0]
        found: dict[str, float | None] = {"born": float(born)}
        found |= {outcome: float(number) for outcome, number in self.ends.items()}
        found["lost"] = float(lost)
        found["lost_share"] = lost / born if born else None
        found["wait_mean"] = math.fsum(waits) / len(waits) if waits else None
        found["wait_mean_of_waiting"] = math.fsum(waited) / len(waited) if waited else None
        for percent in PERCENTILES:
            found[f"wait_p{percent}"] = percentile(waits, percent / 100) if waits else None
        found["kwh"] = self.kwh
        found["revenue"] = self.revenue
        found["km"] = self.km
        found["drive_minutes"] = self.drive_s / 60.0
        return found


@attrs.define(eq=False)
class Records:
    """
    Those who are gone.

    :param begin: of the scenario, seconds since the epoch.
    """

    window: Window
    begin: float
    born: int = 0
    gone: Gone = attrs.field(factory=Gone)
    digest: Any = attrs.field(factory=hashlib.sha256)
    """Of the records, in their order."""
    findings: list[str] = attrs.field(factory=list)
    """What was replied that is in no script, with who was."""
    _tallies: dict[str, Tally] = attrs.field(factory=dict)
    """Of those who were born in the window, by the key of the place."""

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
        self.gone.add(record)
        self.digest.update(driver_line(record))
        if diary.finding is not None:
            self.findings.append(f"{person.identity}: {diary.finding}")
        if self.window.begin <= person.born < self.window.end:
            keys = [NETWORK, f"zone:{person.zone.name}"]
            if diary.station is not None:
                keys.append(f"station:{diary.station}")
            for key in keys:
                self._tally(key).add(outcome, diary)

    def _tally(self, key: str) -> Tally:
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(self.window)
        return tally

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
        nothing: Figures = dict.fromkeys(areas.figures(observer.network))
        for place in places:
            tally = self._tally(place.key)
            figures[place.key] = {**nothing, **tally.figures()}
            hours[place.key] = {name: tuple(values) for name, values in tally.hours.items()}
            if place.key in seen:
                told = dict(areas.figures(seen[place.key]))
                if told["peak_at"] is not None:
                    told["peak_at"] += ahead_h
                figures[place.key] = {**figures[place.key], **told}
                hours[place.key] = {**hours[place.key], **areas.hours(seen[place.key])}
        return tuple(places), figures, hours
