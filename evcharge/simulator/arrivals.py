"""Who comes, where and when: the drivers of a scenario in order of time, an hour at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import partial

import attrs

from evcharge.models.station import zone_of
from evcharge.simulator.distributions import pick
from evcharge.simulator.parts import Driver, Point, Zone
from evcharge.simulator.scenario import Scenario
from evcharge.simulator.streams import (
    Uniforms,
    parts_of,
    poisson,
    to_a_hundredth,
    to_the_ms,
    uniforms,
)
from evcharge.utils.time_utils import HOUR_S

COOL_DOWN_S = 24 * HOUR_S
"""For how long those may go on who are still there when nobody comes any more."""

KM_A_DEGREE = 111.195
"""Of latitude."""

DECIMALS = 6
"""Of a place, degrees, as it is drawn: a hundred thousandth of a kilometre."""


@attrs.frozen
class Person:
    """Somebody who needs to charge, by what nobody decides."""

    zone: Zone
    day: int
    """Since the scenario's start, as the hour since that day's midnight."""
    hour: int
    number: int
    """Among those of the zone and the hour."""
    born: float
    """Seconds since the epoch."""
    place: Point
    car: str
    """Its key in the catalogue."""
    start_percent: float
    luck: Luck

    @property
    def identity(self) -> str:
        """What tells this driver from all others of the scenario, whatever else changes in it."""
        return f"{self.zone.name}/{self.day}/{self.hour}/{self.number}"


@attrs.frozen
class Luck:
    """What somebody draws: uniform numbers by what they are for."""

    seed: int
    replication: int
    key: tuple[object, ...]

    def __call__(self, purpose: str) -> Uniforms:
        """
        Eight numbers.

        :param purpose: a name for each decision: two never share one.
        """
        return uniforms(self.seed, self.replication, *self.key, purpose)


@attrs.frozen
class Hour:
    """An hour of a local day."""

    day: int
    date: date
    number: int
    """Since midnight: on a day that has one twice there are 25."""
    local: int
    """What clocks show."""
    begin: float
    """Seconds since the epoch."""


def hours(scenario: Scenario) -> Iterator[Hour]:
    """The hours in which somebody may come, in order; the first and last one perhaps not whole."""
    zone = zone_of(scenario.time_zone)
    for day in range(scenario.days + 1):
        today = scenario.start.date() + timedelta(days=day)
        begin, end = (_midnight(today + timedelta(days=more), zone) for more in (0, 1))
        for number in range(math.ceil((end - begin) / HOUR_S)):
            at = begin + number * HOUR_S
            if at >= scenario.end:
                return
            if at + HOUR_S > scenario.begin:
                local = datetime.fromtimestamp(at, timezone.utc).astimezone(zone).hour
                yield Hour(day, today, number, local, at)


def _midnight(day: date, zone: tzinfo) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def people(
    scenario: Scenario,
    zones: Sequence[Zone],
    hour: Hour,
    replication: int,
    cars: Sequence[str],
) -> list[Person]:
    """
    Those who are born in an hour, in order of time.

    :param zones: where they come from.
    :param cars: the keys of the catalogue, for a fleet of all of them alike.
    """
    demand, seed = scenario.demand, scenario.study.seed
    years = scenario.years(hour.begin)
    mean = demand.mean(hour.date.weekday(), hour.local, years)
    fleet = scenario.fleet or [(car, 1.0 / len(cars)) for car in cars]
    found = []
    for zone in zones:
        of_zone = mean * (1.0 if zone.share is None else zone.share)
        key = (zone.name, hour.day, hour.number)
        draws = [
            uniforms(seed, replication, "n", *key, part)[0] for part in range(parts_of(of_zone))
        ]
        for number in range(poisson(of_zone, draws)):
            luck = Luck(seed, replication, ("driver", *key, number))
            born = to_the_ms(hour.begin + HOUR_S * luck("instant")[0])
            if scenario.begin <= born < scenario.end:
                person = partial(Person, zone, hour.day, hour.number, number, born)
                place = _place(zone, luck("place"))
                car = pick(fleet, luck("car")[0])
                found.append(person(place, car, _start_percent(scenario.driver, luck), luck))
    # Those of one instant in the order of their zones, and of their numbers there.
    found.sort(key=lambda person: person.born)
    return found


def _start_percent(driver: Driver, luck: Luck) -> float:
    return min(100.0, max(0.0, to_a_hundredth(driver.start_percent.draw(luck("battery")[0]))))


def _place(zone: Zone, draws: Uniforms) -> Point:
    """A place in a zone, each as likely as any other."""
    if zone.box is not None:
        (south, west), (north, east) = zone.box
        latitude = south + (north - south) * draws[0]
        longitude = west + (east - west) * draws[1]
    else:
        assert zone.centre is not None
        latitude, longitude = zone.centre
        away = (zone.radius_km or 0.0) * math.sqrt(draws[0]) / KM_A_DEGREE
        angle = 2 * math.pi * draws[1]
        longitude += away * math.sin(angle) / math.cos(math.radians(latitude))
        latitude += away * math.cos(angle)
    return round(latitude, DECIMALS), round(longitude, DECIMALS)
