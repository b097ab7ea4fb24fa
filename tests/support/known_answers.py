"""Systems of which the answer is known: scenarios of one station, and what formulas say of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import attrs

from evcharge.simulator.distributions import Distribution, number
from evcharge.simulator.parts import Demand, Options
from evcharge.simulator.replication import DriverRecord, Replication
from evcharge.simulator.scenario import Scenario
from tests.support.simulations import CAR, one_station

Figure = Callable[[Scenario, Replication], float]
"""What is looked at in a replication."""

WARM_UP_SHARE = 0.1
"""Of the length of a replication: it begins with an empty station."""

BIG_KWH = 400.0
"""Of a battery of which a charge takes a small part, so that its length has no end."""
LEAST_PERCENT = 0.01
"""In it on arrival, and the grain of what is charged."""
KW = 50.0

BY_HOUR = (2, 1, 1, 1, 1, 2, 5, 9, 10, 8, 7, 8, 10, 9, 8, 8, 10, 13, 14, 12, 9, 7, 5, 3)
INSTANTS = {8: 22.362, 13: 24.847, 18: 32.301, 19: 34.785, 24: 7.454}
"""The hour of the day, and how many charge then on average, of 900 who come in a day."""


@attrs.frozen
class Answer:
    """A figure, and what it is by the formulas."""

    what: str
    figure: Figure
    known: float


@attrs.frozen
class System:
    """
    One system.

    :param name: in Kendall's notation.
    :param of: its numbers, for people.
    """

    name: str
    of: str
    scenario: Scenario
    answers: Sequence[Answer]


def counted(scenario: Scenario, found: Replication) -> list[DriverRecord]:
    """The drivers who were born in the window."""
    begin = scenario.study.warm_up_hours * 3600.0
    return [driver for driver in found.drivers if driver.born >= begin]


def share(*outcomes: str) -> Figure:
    """Of those who were born, who ended so."""

    def figure(scenario: Scenario, found: Replication) -> float:
        drivers = counted(scenario, found)
        return sum(driver.outcome in outcomes for driver in drivers) / len(drivers)

    return figure


def share_in_line(scenario: Scenario, found: Replication) -> float:
    """Of those who were born, who had to wait."""
    drivers = counted(scenario, found)
    return sum(driver.queued is not None for driver in drivers) / len(drivers)


def wait_of_all(_: Scenario, found: Replication) -> float:
    """The mean wait of all who came, minutes."""
    return found.figures["network"]["wait_mean"] or 0.0


def wait_of_served(scenario: Scenario, found: Replication) -> float:
    """The mean wait of those who charged, minutes."""
    drivers = counted(scenario, found)
    return fmean(driver.waited for driver in drivers if driver.charging is not None) / 60.0


def length(_: Scenario, found: Replication) -> float:
    """The mean length of the line."""
    return found.figures["network"]["queue_mean"] or 0.0


def kwh_a_day(scenario: Scenario, found: Replication) -> float:
    """What was charged, by the day on which the driver was born."""
    return math.fsum(driver.kwh for driver in found.drivers) / scenario.days


def charging_at(hour: int) -> Figure:
    """How many charge at an hour of the day, on average over the days."""
    return lambda scenario, found: fmean(_charging(scenario, found, hour))


def dispersion(scenario: Scenario, found: Replication) -> float:
    """The variance of how many charge at an hour, by what it is on average, of all the hours."""
    return fmean(
        (there - mean) ** 2 / mean
        for hour, mean in INSTANTS.items()
        for there in _charging(scenario, found, hour)
    )


def _charging(scenario: Scenario, found: Replication, hour: int) -> list[int]:
    """How many charge then, on each day."""
    instants = [(24 * day + hour) * 3600.0 for day in range(scenario.days)]
    spans = [(d.charging, d.ended) for d in found.drivers if d.charging is not None]
    return [sum(begin <= at < (end or math.inf) for begin, end in spans) for at in instants]


def uniform_charges(slots: int, an_hour: float, arrivals: int, **ways: Any) -> Scenario:
    """Charges of 3.6 to 50.4 minutes, all equally likely, 27 on average; so many come at least."""
    days = math.ceil(arrivals / an_hour / 24.0 / (1.0 - WARM_UP_SHARE))
    return one_station(slots, an_hour, days, warm_up_hours=24.0 * days * WARM_UP_SHARE, **ways)


def exponential_charges(
    slots: int, an_hour: float, minutes: float, arrivals: int, **ways: Any
) -> Scenario:
    """Charges whose length is exponential, with that mean."""
    # What is there on arrival is not charged: that much more makes up for it.
    percent = minutes / 60.0 * KW / BIG_KWH * 100.0 + LEAST_PERCENT
    return uniform_charges(
        slots,
        an_hour,
        arrivals,
        car={**CAR, "battery_capacity": BIG_KWH},
        start_percent=number(LEAST_PERCENT),
        target_percent=Distribution("exponential", (percent,)),
        **ways,
    )


ENDLESS = {"joins_queue": 1.0, "options": Options(queue_limit=1000)}
"""All wait, for as long as it takes."""


def loss(slots: int, an_hour: float, arrivals: int, known: float) -> System:
    """M/G/c/c: who finds all taken goes. Erlang B."""
    of = f"c {slots}, λ {an_hour:g}/h, 27 min"
    scenario = uniform_charges(slots, an_hour, arrivals)
    return System("M/G/c/c", of, scenario, [Answer("lost", share("balked"), known)])


def one_server(an_hour: float, arrivals: int, known: float, minutes: float = 0.0) -> System:
    """M/G/1: Pollaczek and Khinchine; M/D/1 where a charge always takes as long."""
    if minutes:
        ways = {**ENDLESS, "start_percent": number(80.0 - minutes / 60.0 * KW / 0.6)}
    else:
        ways = ENDLESS
    scenario = uniform_charges(1, an_hour, arrivals, **ways)
    of = f"λ {an_hour:g}/h, " + (f"{minutes:g} min" if minutes else "3.6 to 50.4 min")
    answers = [Answer("wait, min", wait_of_all, known)]
    return System("M/D/1" if minutes else "M/G/1", of, scenario, answers)


def line(
    slots: int,
    an_hour: float,
    minutes: float,
    arrivals: int,
    waits: float,
    wait: float,
    long: float,
) -> System:
    """M/M/c. Erlang C."""
    scenario = exponential_charges(slots, an_hour, minutes, arrivals, **ENDLESS)
    answers = [
        Answer("who wait", share_in_line, waits),
        Answer("wait, min", wait_of_all, wait),
        Answer("in line", length, long),
    ]
    return System("M/M/c", f"c {slots}, λ {an_hour:g}/h, {minutes:g} min", scenario, answers)


def impatience(
    slots: int,
    an_hour: float,
    minutes: float,
    patience: float,
    arrivals: int,
    reneged: float,
    wait: float,
    waits: float,
) -> System:
    """M/M/c+M: patience is exponential, too. Erlang A."""
    ways = {**ENDLESS, "patience_minutes": Distribution("exponential", (patience,))}
    scenario = exponential_charges(slots, an_hour, minutes, arrivals, **ways)
    answers = [
        Answer("reneged", share("reneged"), reneged),
        Answer("wait of all, min", wait_of_all, wait),
        Answer("who wait", share_in_line, waits),
    ]
    of = f"c {slots}, λ {an_hour:g}/h, {minutes:g} min, patience {patience:g} min"
    return System("M/M/c+M", of, scenario, answers)


def full_line(
    slots: int, room: int, an_hour: float, minutes: float, arrivals: int, lost: float, wait: float
) -> System:
    """M/M/c/K: who finds the line full goes."""
    ways = {"joins_queue": 1.0, "options": Options(queue_limit=room - slots)}
    scenario = exponential_charges(slots, an_hour, minutes, arrivals, **ways)
    answers = [
        Answer("turned away", share("balked"), lost),
        Answer("wait of who stay, min", wait_of_served, wait),
    ]
    return System(
        "M/M/c/K", f"c {slots}, K {room}, λ {an_hour:g}/h, {minutes:g} min", scenario, answers
    )


def by_the_hour(days: int) -> System:
    """M_t/G/∞: there is room for all, and more come at some hours than at others."""
    plain = one_station(80, 37.5, days)
    demand = Demand(900.0, by_hour=BY_HOUR, by_weekday=(1.0,) * 7, zones=plain.demand.zones)
    answers = [
        Answer(f"charging at {hour} h", charging_at(hour), known)
        for hour, known in INSTANTS.items()
    ]
    answers += [
        Answer("variance / mean", dispersion, 1.0), Answer("kWh a day", kwh_a_day, 20_250.0)
    ]  # fmt: skip
    scenario = attrs.evolve(plain, demand=demand)
    return System("M_t/G/∞", "80 EVSEs, 900 a day by the hour", scenario, answers)


def systems(arrivals: int) -> Sequence[System]:
    """
    All of them.

    :param arrivals: so many come in a replication at least, after its warm-up.
    """
    return [
        loss(4, 9.0, arrivals, 0.315484),
        loss(6, 10.0, arrivals, 0.154166),
        loss(6, 6.0 / 0.45, arrivals, 0.264922),
        loss(10, 8.0 / 0.45, arrivals, 0.121661),
        line(1, 1.0, 30.0, arrivals, 0.5, 30.0, 0.5),
        line(1, 1.6, 30.0, arrivals, 0.8, 120.0, 3.2),
        line(2, 3.0, 30.0, arrivals, 0.642857, 38.5714, 1.92857),
        line(4, 8.0, 24.0, arrivals, 0.596432, 17.8930, 2.38573),
        line(6, 13.5, 20.0, arrivals, 0.421652, 5.6220, 1.26496),
        line(8, 17.28, 25.0, arrivals, 0.701533, 21.9229, 6.31380),
        one_server(1.0, arrivals, 13.8109),
        one_server(1.6, arrivals, 43.4057),
        one_server(1.9, arrivals, 99.5338),
        one_server(1.6, arrivals, 34.7143, minutes=27.0),
        line(1, 1.6, 27.0, arrivals, 0.72, 69.4286, 1.6 * 69.4286 / 60.0),
        impatience(2, 5.0, 30.0, 20.0, arrivals, 0.370102, 7.4020, 0.669246),
        impatience(4, 12.0, 24.0, 15.0, arrivals, 0.289602, 4.3440, 0.647632),
        impatience(6, 20.0, 20.0, 30.0, arrivals, 0.189640, 5.6892, 0.705588),
        full_line(2, 4, 5.0, 30.0, arrivals, 0.316776, 15.5786),
        full_line(4, 8, 12.0, 24.0, arrivals, 0.228925, 12.5697),
        by_the_hour(max(1, arrivals // 900)),
    ]
