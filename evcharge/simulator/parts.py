"""
The tables of a scenario, with every key that there is.

Nothing in :class:`Driver` is a fact about anywhere: its values are made up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import attrs

from evcharge.datasets.evses import MOST_EVSES, check_evses
from evcharge.models.evse import STATUSES
from evcharge.models.station import zone_of
from evcharge.models.terms import DEFAULT_TERMS
from evcharge.simulator.distributions import Distribution, add_up, is_figure
from evcharge.simulator.keys import (
    Keys,
    drawn,
    figure,
    key,
    moment,
    nearest,
    numbers,
    plain,
    shown_value,
    table,
    tables,
    text,
    texts,
    together,
)
from evcharge.simulator.places import Path
from evcharge.simulator.texts import Text

Point = tuple[float, float]
"""Latitude and longitude, degrees, WGS 84."""

WATCHED = "lost_share"

EVERYWHERE = "everywhere"
"""What a zone is called that nobody has named."""

Mistakes = Iterator[tuple[str, str]]
"""As of a :data:`evcharge.simulator.keys.Check`."""

_SHARE = figure(0, 1)


def _one_of(*words: str) -> Any:
    def read(_: Keys, __: Path, value: Any) -> str:
        if value not in words:
            like = nearest(value, words) if isinstance(value, str) else ""
            raise ValueError(f"must be one of {', '.join(words)}, not {shown_value(value)}{like}")
        return str(value)

    return read


def _known(what: str, value: str, there: Any) -> str:
    if there is not None and value not in there:
        raise ValueError(f"there is no {what} {shown_value(value)}{nearest(value, there)}")
    return value


def _station(keys: Keys, path: Path, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    _known("station", text(keys, path, value), keys.stations)
    return int(value) if value.isdigit() else 0


def _tariff(keys: Keys, path: Path, value: Any) -> str:
    return _known("tariff", text(keys, path, value), keys.tariffs)


def read_time_zone(keys: Keys, path: Path, value: Any) -> str:
    zone_of(text(keys, path, value))
    return str(value)


def _evses(_: Keys, path: Path, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of EVSEs, not {shown_value(value)}")
    given = plain(value)
    problems = check_evses({"0": given}, "").problems
    if problems:
        raise ValueError("; ".join(problem.removeprefix(": ") for problem in problems))
    return tuple(given)


def _point(_: Keys, __: Path, value: Any) -> Point:
    is_pair = isinstance(value, list) and len(value) == 2
    if is_pair and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
        latitude, longitude = value
        if -90 <= latitude <= 90 and -180 <= longitude <= 180:
            return float(latitude), float(longitude)
    raise ValueError(f"must be [latitude, longitude] in degrees, not {_short(value)}")


def _points(least: int, most: int) -> Any:
    def read(keys: Keys, path: Path, value: Any) -> tuple[Point, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            what = "two corners" if least == most else "a list of places"
            raise ValueError(f"must be {what}, each [latitude, longitude], not {_short(value)}")
        return tuple(_point(keys, path, each) for each in value)

    return read


def _short(value: Any) -> str:
    return str(value)[:60] if isinstance(value, list) else shown_value(value)


WAYS = ("add_evses", "evses", "remove_evses", "status")


@attrs.frozen
class Change:
    """What becomes of a station, from an instant on."""

    station_id: int = key(_station, name="station")
    at: datetime | None = key(moment, None)
    """Local; None: from the start."""
    add_evses: int | None = key(figure(0, MOST_EVSES, is_whole=True), None)
    """How many more it has, each like its best."""
    evses: tuple[Any, ...] | None = key(_evses, None)
    """Those that it has besides, in the JSON form of `evses.json`."""
    remove_evses: int | None = key(figure(0, MOST_EVSES, is_whole=True), None)
    status: str | None = key(_one_of(*STATUSES), None)
    """Of all its EVSEs."""

    @together(*WAYS)
    def _one_way(self) -> Mistakes:
        there = [name for name in WAYS if getattr(self, name) is not None]
        if len(there) != 1:
            which = " and ".join(there) or "none"
            yield "", f"one of {', '.join(WAYS)} says what changes, not {which}"


@attrs.frozen
class TariffTime:
    """By which tariff a station's sessions go that begin within some time."""

    station_id: int = key(_station, name="station")
    begin: datetime = key(moment, name="from")
    """Local, as is the end."""
    end: datetime = key(moment, name="to")
    tariff_id: str = key(_tariff, name="tariff")

    @together("from", "to")
    def _in_order(self) -> Mistakes:
        if self.end <= self.begin:
            yield "to", f"must be later than from, which is {self.begin.isoformat()}"


@attrs.frozen
class Options:
    """What `twistd evcharge` would be told."""

    hold_minutes: float = key(figure(0.01, 1440), DEFAULT_TERMS.hold_s / 60)
    offer_minutes: float = key(figure(0.01, 1440), DEFAULT_TERMS.offer_s / 60)
    idle_minutes: float = key(figure(0.01, 1440), DEFAULT_TERMS.idle_s / 60)
    queue_limit: int = key(figure(0, 1000, is_whole=True), DEFAULT_TERMS.most_waiting)


@attrs.frozen
class NetworkKeys:
    """The table `network`."""

    stations: str = key(text, "shipped")
    options: Options = key(table(Options), Options())
    changes: tuple[Change, ...] = key(tables(Change), (), "change")
    tariffs: tuple[TariffTime, ...] = key(tables(TariffTime), (), "tariff")


@attrs.frozen
class Zone:
    """Where some of the drivers come from."""

    name: str = key(text)
    share: float | None = key(_SHARE, None)
    """Of the drivers; only the one zone that there is may leave it out."""
    centre: Point | None = key(_point, None)
    radius_km: float | None = key(figure(0, 1000), None)
    box: tuple[Point, ...] | None = key(_points(2, 2), None)
    """South-west and north-east corner."""
    trip_to: tuple[Point, ...] = key(_points(1, 100), ())
    """Where those go who are on their way to another city; empty: they stay in this one."""

    @together("centre", "radius_km", "box")
    def _one_shape(self) -> Mistakes:
        if (self.centre is None) == (self.box is None):
            yield "", "must have centre and radius_km, or box"
        elif (self.centre is None) != (self.radius_km is None):
            yield "", "centre and radius_km go together"

    @together("box")
    def _corners(self) -> Mistakes:
        if self.box is not None and not (
            self.box[0][0] <= self.box[1][0] and self.box[0][1] <= self.box[1][1]
        ):
            yield "box", "must have its south-west corner first, then the north-east one"


def twice(names: Sequence[str]) -> list[str]:
    """Which names come more than once."""
    return list(dict.fromkeys(name for name in names if names.count(name) > 1))


def around(stations: Iterable[Point]) -> Zone:
    """
    The zone that there is where none is named: the box that all stations are in.

    :param stations: where they are, at least one.
    """
    latitudes, longitudes = zip(*stations, strict=True)
    corners = ((min(latitudes), min(longitudes)), (max(latitudes), max(longitudes)))
    return Zone(EVERYWHERE, 1.0, box=corners)


def _zones(keys: Keys, path: Path, value: Any) -> Any:
    found = tables(Zone)(keys, path, value)
    given = [each for each in value if isinstance(each, dict)]
    names = [each["name"] for each in given if isinstance(each.get("name"), str)]
    for name in twice(names):
        keys.wrong(path, f"two are called {name}")
    shares = [each.get("share") for each in given]
    if len(shares) > 1 and None in shares:
        keys.wrong(path, "each of several must have its share")
    elif shares != [None]:
        _whole(keys, path, shares)
    return found


def _whole(keys: Keys, path: Path, shares: Iterable[Any]) -> None:
    """Say it where shares that are right by themselves do not add up."""
    there = list(shares)
    if there and all(is_figure(share) and share >= 0 for share in there) and not add_up(there):
        keys.wrong(path, f"the shares add up to {math.fsum(there):.12g}, not to 1")


@attrs.frozen
class Demand:
    """How many drivers need to charge, where and when."""

    drivers_per_day: float = key(figure(0, 1e7))
    """On the average day of a week, before any growth."""
    growth_per_year: float = key(figure(-0.99, 100), 0.0)
    by_hour: tuple[float, ...] = key(numbers(24), (1.0,) * 24)
    """Proportions, from midnight on."""
    by_weekday: tuple[float, ...] = key(numbers(7), (1.0,) * 7)
    """Proportions, from Monday on."""
    zones: tuple[Zone, ...] = key(_zones, (), "zone")

    def mean(self, weekday: int, hour: int, years: float = 0.0) -> float:
        """
        How many drivers an hour of the day has on average, in all zones.

        :param weekday: 0 for Monday.
        :param years: since the start, for the growth.
        """
        of_day = self.by_weekday[weekday] / math.fsum(self.by_weekday) * 7
        of_hour = self.by_hour[hour] / math.fsum(self.by_hour)
        grown: float = (1 + self.growth_per_year) ** years
        return self.drivers_per_day * of_day * of_hour * grown


CRITERIA = ("time", "distance", "price", "habit")
"""How drivers choose; by habit they go to the nearest station that fits, unasked."""


@attrs.frozen
class Choose:
    """Which share of the drivers chooses by what."""

    time: float = key(_SHARE, 0.0)
    distance: float = key(_SHARE, 0.0)
    price: float = key(_SHARE, 0.0)
    habit: float = key(_SHARE, 0.0)

    @property
    def shares(self) -> tuple[tuple[str, float], ...]:
        """As :func:`evcharge.simulator.distributions.pick` takes them."""
        return tuple((name, getattr(self, name)) for name in CRITERIA)

    @together(*CRITERIA)
    def _all_of_them(self) -> Mistakes:
        if not add_up(share for _, share in self.shares):
            total = math.fsum(share for _, share in self.shares)
            yield "", f"the shares add up to {total:.12g}, not to 1"


_PERCENT = drawn(0, 100)
_MINUTES = drawn(0, math.inf)
_ENDLESS = drawn(0, math.inf, may_be_endless=True)


@attrs.frozen
class Driver:
    """What drivers do. All of it is made up."""

    start_percent: Distribution = key(_PERCENT, Distribution("triangular", (8.0, 25.0, 60.0)))
    target_percent: Distribution = key(
        _PERCENT, Distribution("table", (80.0, 100.0, 60.0), (0.8, 0.1, 0.1))
    )
    road_factor: float = key(figure(1, 10), 1.3)
    """Length of the road by that of the straight line."""
    speed_km_h: float = key(figure(1, 300), 28.0)
    city_trip_km: Distribution = key(drawn(0, math.inf), Distribution("lognormal", (6.0, 0.7)))
    choose: Choose = key(table(Choose), Choose(0.5, 0.3, 0.2))
    books: float = key(_SHARE, 0.3)
    joins_queue: float = key(_SHARE, 0.8)
    accepts_eta_minutes: Distribution = key(_ENDLESS, Distribution("exponential", (25.0,)))
    patience_minutes: Distribution = key(_ENDLESS, Distribution("exponential", (20.0,)))
    answers_offer_minutes: Distribution = key(_MINUTES, Distribution("exponential", (0.5,)))
    no_show: float = key(_SHARE, 0.04)
    old_app: float = key(_SHARE, 0.0)
    second_try: float = key(_SHARE, 0.5)
    overstay_minutes: Distribution = key(
        _MINUTES, Distribution("table", (0.0, 15.0, 45.0), (0.7, 0.2, 0.1))
    )


@attrs.frozen
class Faults:
    """How often an EVSE breaks, and for how long."""

    mean_days_between: float = key(figure(0, 1e6), 0.0)
    """In service, exponential; 0: never."""
    repair_hours: Distribution = key(_MINUTES, Distribution("lognormal", (8.0, 1.0)))


def _values(_: Keys, __: Path, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value:
        given = "an empty one" if value == [] else shown_value(value)
        raise ValueError(f"must be a list of the values to try, not {given}")
    return tuple(value)


@attrs.frozen
class Vary:
    """A key that is tried with several values."""

    varied: str = key(text, name="key")
    """The key, as :func:`evcharge.simulator.tree.path_of` reads it."""
    values: tuple[Any, ...] = key(_values)
    label: Text | None = key(texts, None)


def _precision(keys: Keys, path: Path, value: Any) -> float:
    if figure(0, 1)(keys, path, value):
        raise ValueError("must be 0: there is no stopping by precision yet; say replications")
    return 0.0


@attrs.frozen
class Study:
    """How a scenario is tried, and how sure the answer is to be."""

    seed: int = key(figure(0, 2**63 - 1, is_whole=True), 7)
    replications: int = key(figure(1, 100_000, is_whole=True), 20)
    confidence: float = key(figure(0.5, 0.9999), 0.95)
    warm_up_hours: float = key(figure(0, 1e6), 0.0)
    """From the start, left out of every figure."""
    precision: float = key(_precision, 0.0)
    watch: str = key(text, WATCHED)
    most_replications: int = key(figure(1, 100_000, is_whole=True), 200)
    vary: tuple[Vary, ...] = key(tables(Vary), ())


def _model(keys: Keys, _: Path, value: Any) -> str:
    return _known("model", value, keys.cars)


def read_fleet(keys: Keys, path: Path, value: Any) -> tuple[tuple[str, float], ...] | None:
    if value == "catalogue":
        return None
    if not isinstance(value, dict) or not value:
        raise ValueError('must be "catalogue", or a table of models and their shares')
    for name, share in value.items():
        for read, given in ((_model, name), (_SHARE, share)):
            try:
                read(keys, (*path, name), given)
            except ValueError as error:
                keys.wrong((*path, name), str(error))
    _whole(keys, path, value.values())
    return tuple(value.items())
