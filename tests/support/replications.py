"""Studies that are made up: replications of the true shape, which take no time."""

import math
import os
import signal
import time
from pathlib import Path

import attrs

from evcharge.simulator.replication import (
    LOST,
    NETWORK,
    OUTCOMES,
    DriverRecord,
    Place,
    Replication,
)
from evcharge.simulator.statistics import percentile
from evcharge.simulator.streams import uniforms
from evcharge.simulator.study import Plan, Variant

BY_HOUR = (2, 1, 1, 1, 1, 2, 5, 9, 10, 8, 7, 8, 10, 9, 8, 8, 10, 13, 14, 12, 9, 7, 5, 3)
STATIONS = (
    Place("station:1", "station", "Shopping Avenida", -12.2430, -38.9570, 6),
    Place("station:2", "station", "Posto São João & Filhos", -12.2700, -38.9300, 4),
    Place("station:3", "station", "Rodoviária", -12.2593, -38.9562, 4),
)
ZONES = (Place("zone:cidade", "zone", "cidade"), Place("zone:rodoviária", "zone", "rodoviária"))


@attrs.frozen
class Scenario:
    """What a made-up replication goes by."""

    added: int = 0
    """EVSEs; each takes its share of those who are lost."""
    seed: int = 7
    folder: str = ""
    """Where a replication says that it is under way, and waits for leave; none: it does not."""


def plan(**changes: object) -> Plan:
    """Two variants of four replications, or what is changed of that."""
    made = Plan(
        title="Feira de Santana, um dia útil",
        start="2026-03-02T00:00:00",
        days=1,
        warm_up_hours=0.0,
        seed=7,
        replications=4,
        confidence=0.95,
        variants=(
            Variant("add_evses=0", (("vagas a mais na rodoviária", 0),)),
            Variant("add_evses=4", (("vagas a mais na rodoviária", 4),)),
        ),
        files={"feira.toml": 'title = "Feira de Santana, um dia útil"\n# <made up> & short\n'},
        scenario={"demand": {"drivers_per_day": 180}, "driver": {"books": 0.3}},
        command=("evcharge", "simulate", "run", "feira.toml", "--seed", "7"),
    )
    return attrs.evolve(made, **changes)


SCENARIOS = (Scenario(0), Scenario(4))


def replicate(scenario: Scenario, number: int) -> Replication:
    """Make one up: by chance, and the same drivers for each variant."""
    drivers = [
        _driver(scenario, number, hour, k) for hour, born in enumerate(BY_HOUR) for k in range(born)
    ]
    places = (Place(NETWORK, NETWORK, "Feira de Santana", None, None, 14), *ZONES, *STATIONS)
    of = {
        place.key: [
            driver
            for driver in drivers
            if place.kind == NETWORK
            or place.key in (f"zone:{driver.zone}", f"station:{driver.station}")
        ]
        for place in places
    }
    return Replication(
        number,
        places,
        {place.key: _figures(of[place.key], place.evses) for place in places},
        {place.key: _hours(of[place.key]) for place in places},
        tuple(drivers),
        f"{number:064x}",
    )


def replicate_with_leave(scenario: Scenario, number: int) -> Replication:
    """Say that it is under way by a file, and wait for another one before the end."""
    folder = Path(scenario.folder)
    (folder / f"under-way-{scenario.added}-{number}").touch()
    while not (folder / "leave").exists():
        time.sleep(0.01)
    return replicate(scenario, number)


def fail_at_2(scenario: Scenario, number: int) -> Replication:
    """Fail as a broken invariant would, in the third replication."""
    if number == 2:
        raise ArithmeticError("born are 3, outcomes 2")
    return replicate(scenario, number)


def be_killed(scenario: Scenario, number: int) -> Replication:
    """Lose the process that this runs in."""
    os.kill(os.getpid(), signal.SIGKILL)
    return replicate(scenario, number)


def _driver(scenario: Scenario, number: int, hour: int, k: int) -> DriverRecord:
    when, lost, wait, size, where, zone, *_ = uniforms(scenario.seed, number, hour, k)
    born = round((hour + when) * 3600, 3)
    station = STATIONS[int(where * 3)].key.partition(":")[2]
    name = ZONES[zone < 0.3].name
    identity = f"{name}/0/{hour}/{k}"
    if lost < 0.02 + 0.2 * BY_HOUR[hour] / 14 / (1 + scenario.added / 2):
        outcome = LOST[int(wait * 5)]
        return DriverRecord(identity, name, "BYD Dolphin", outcome, station, born=born)
    waited = max(0.0, -math.log1p(-wait) * 30 - 20) * 60 / (1 + scenario.added)
    arrived = born + 600
    charging = round(arrived + waited, 3)
    ended = round(charging + 1200 + 2400 * size, 3)
    return DriverRecord(
        identity,
        name,
        "BYD Dolphin",
        "served_after_wait" if waited else "served",
        station,
        f"{station}-{k % 4 + 1}",
        born,
        arrived,
        arrived if waited else None,
        charging,
        ended,
        ended + 60,
        charging - arrived,
        round(10 + 30 * size, 3),
        round(20 + 60 * size, 2),
    )


def _figures(drivers: list[DriverRecord], evses: int) -> dict[str, float | None]:
    counted = {name: float(sum(d.outcome == name for d in drivers)) for name in OUTCOMES}
    lost = sum(counted[name] for name in LOST)
    waits = [d.waited / 60 for d in drivers if d.charging is not None]
    later = [wait for wait in waits if wait > 0]
    kwh = math.fsum(d.kwh for d in drivers)
    paid = math.fsum(d.paid for d in drivers)
    hours = math.fsum((d.ended - (d.charging or 0)) / 3600 for d in drivers if d.ended)
    shares = {f"wait_p{p}": percentile(waits, p / 100) if waits else None for p in (50, 90, 95, 99)}
    return {
        "born": float(len(drivers)),
        **counted,
        "lost": lost,
        "lost_share": lost / len(drivers) if drivers else None,
        "wait_mean": math.fsum(waits) / len(waits) if waits else None,
        "wait_mean_of_waiting": math.fsum(later) / len(later) if later else None,
        **shares,
        "queue_mean": math.fsum(later) / 60 / 24,
        "queue_most": float(min(len(later), 3)),
        "utilisation": hours / (24 * evses) if evses else None,
        "kwh": kwh,
        "revenue": paid,
        "price_kwh": paid / kwh if kwh else None,
        "peak_kw": kwh / 12,
        "peak_at": 18.25,
        "sessions": float(len(waits)),
    }


def _hours(drivers: list[DriverRecord]) -> dict[str, tuple[float, ...]]:
    def by_hour(of: list[tuple[float, float]]) -> tuple[float, ...]:
        sums = [0.0] * 24
        for instant, value in of:
            sums[min(23, int(instant // 3600))] += value
        return tuple(sums)

    return {
        "born": by_hour([(d.born, 1.0) for d in drivers]),
        "served": by_hour([(d.ended, 1.0) for d in drivers if d.ended]),
        "lost": by_hour([(d.born, 1.0) for d in drivers if d.outcome in LOST]),
        "kwh": by_hour([(d.charging, d.kwh) for d in drivers if d.charging]),
        "queue": by_hour(
            [(d.queued, (d.charging - d.queued) / 3600) for d in drivers if d.queued and d.charging]
        ),
        "charging": by_hour([(d.charging, 0.5) for d in drivers if d.charging]),
    }
