"""What a scenario means, in words: what its drivers ask for, against what is there. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import attrs

from evcharge.models.electric_car import CarModel
from evcharge.models.station import Station
from evcharge.outcomes import Phrase
from evcharge.simulator.distributions import Distribution
from evcharge.simulator.networks import LoadedNetwork, load
from evcharge.simulator.parts import Change
from evcharge.simulator.scenario import Scenario, Variant, variants
from evcharge.simulator.texts import called
from evcharge.utils.figures import decimal

STEPS = 100
"""Into so many equal parts a distribution is cut to take means over it."""

LOW_PERCENT = 15.0
"""Who has less than that may not reach every station of a city."""

MOST_DAYS = 3660
"""Of a longer scenario only so many are looked at: the demand of a week comes again and again."""


@attrs.frozen
class Meaning:
    """What a scenario comes to before it is run; all of it means, worked out and not simulated."""

    drivers_per_day: float
    drivers_per_hour: float
    busiest: tuple[int, int]
    """The weekday, 0 for Monday, and the hour that have the most drivers."""
    busiest_drivers: float
    energy_kwh: float
    """What a driver needs."""
    evses: int
    """In service, with all changes that the scenario has."""
    stations: int
    power_kw: float
    """What those EVSEs give together, as far as it is known."""
    unknown: int
    """Of how many EVSEs it is not."""

    @property
    def asked_kw(self) -> float:
        """The power that drivers need on average over all hours, kW."""
        return self.drivers_per_hour * self.energy_kwh

    @property
    def busiest_kw(self) -> float:
        """That of the busiest hour, if all of it were charged within it."""
        return self.busiest_drivers * self.energy_kwh


def meaning(scenario: Scenario) -> Meaning:
    """What a scenario asks for, and what there is."""
    network = load(scenario.sources)
    demand = scenario.demand
    days = min(scenario.days, MOST_DAYS)
    hours: dict[tuple[int, int], float] = {}
    total = []
    for day in range(days):
        local = scenario.start + timedelta(days=day)
        years = scenario.years(scenario.instant(local))
        for hour in range(24):
            mean = demand.mean(local.weekday(), hour, years)
            total.append(mean)
            place = local.weekday(), hour
            hours[place] = max(mean, hours.get(place, 0.0))
    busiest = max(hours, key=lambda place: hours[place])
    evses, power, unknown = _there(network.stations, scenario.network.changes)
    return Meaning(
        drivers_per_day=math.fsum(total) / days,
        drivers_per_hour=math.fsum(total) / days / 24,
        busiest=busiest,
        busiest_drivers=hours[busiest],
        energy_kwh=_battery_kwh(scenario, network) * _charged_share(scenario),
        evses=evses,
        stations=len(network.stations),
        power_kw=power,
        unknown=unknown,
    )


def _there(stations: Mapping[int, Station], changes: Sequence[Change]) -> tuple[int, float, int]:
    """How many EVSEs, how many kW together, and of how many EVSEs nobody knows it."""
    powers = {
        station_id: sorted(evse.kind.power_kw or 0.0 for evse in station.in_order)
        for station_id, station in stations.items()
    }
    for change in changes:
        there = powers[change.station_id]
        if change.add_evses is not None:
            there += [max(there, default=0.0)] * change.add_evses
        elif change.evses is not None:
            there += [float(evse.get("max_power_kw") or 0.0) for evse in change.evses]
        elif change.remove_evses is not None:
            del there[: change.remove_evses]
        elif change.status is not None and change.status != "IN_SERVICE":
            there.clear()
    every = [power for there in powers.values() for power in there]
    return len(every), math.fsum(every), every.count(0.0)


def _battery_kwh(scenario: Scenario, network: LoadedNetwork) -> float:
    models = network.car_models
    fleet = scenario.fleet or [(name, 1 / len(models)) for name in models]
    return math.fsum(
        CarModel.from_facts(models[name]).battery_capacity_kwh * share for name, share in fleet
    )


def _charged_share(scenario: Scenario) -> float:
    """Which share of a battery is charged, on average."""
    starts = _values(scenario.driver.start_percent)
    targets = _values(scenario.driver.target_percent)
    charged = (max(0.0, target - start) for start in starts for target in targets)
    return math.fsum(charged) / len(starts) / len(targets) / 100


def _values(of: Distribution) -> Sequence[float]:
    return [of.draw((step + 0.5) / STEPS) for step in range(STEPS)]


WEEKDAYS = (
    Phrase("segunda-feira", "Monday"),
    Phrase("terça-feira", "Tuesday"),
    Phrase("quarta-feira", "Wednesday"),
    Phrase("quinta-feira", "Thursday"),
    Phrase("sexta-feira", "Friday"),
    Phrase("sábado", "Saturday"),
    Phrase("domingo", "Sunday"),
)
WHEN = Phrase(
    "de {begin} a {end} ({zone}); dias: {days}", "{begin} to {end} ({zone}); days: {days}"
)
DRIVERS = Phrase(
    "{day} motoristas por dia, {hour} por hora; {busiest} por hora na mais cheia "
    "({weekday}, {from_hour}:00)",
    "{day} drivers a day, {hour} an hour; {busiest} an hour in the busiest "
    "({weekday}, {from_hour}:00)",
)
POWER = Phrase(
    "{energy} kWh por motorista: {asked} kW necessários em média, {busiest} kW na hora mais cheia, "
    "para {power} kW em {evses} vagas de {stations} postos",
    "{energy} kWh a driver: {asked} kW asked for on average, {busiest} kW in the busiest hour, "
    "against {power} kW there, at {evses} EVSEs of {stations} stations",
)
UNKNOWN = Phrase(
    "de {unknown} vagas a potência não é conhecida", "of {unknown} EVSEs the power is not known"
)
ZONE = Phrase("{share} % de {name}{trip}", "{share} % from {name}{trip}")
TRIP = Phrase(
    ", a caminho de outra cidade; além da autonomia perguntam por PLAN",
    ", on their way to another city; beyond the range they ask PLAN",
)
TRIPS = Phrase(
    "numa viagem além da autonomia PLAN diz até quanto o carro carrega; aqui ela conta por "
    "target_percent",
    "of a trip beyond the range PLAN says how far the car is charged; here it counts by "
    "target_percent",
)
RUNS = Phrase(
    "variantes: {variants}; replicações de cada: {replications}; execuções: {runs}",
    "variants: {variants}; replications of each: {replications}; runs: {runs}",
)
VARIED = Phrase("{key}: {values}", "{key}: {values}")
NO_RANGE = Phrase(
    "ninguém começa com menos de {low} % nem vai a outra cidade: a autonomia nunca falta, e "
    "NAVIGATION e PLAN não são postas à prova",
    "nobody starts with less than {low} % or goes to another city: no range is ever too short, "
    "and NAVIGATION and PLAN are not put to the test",
)
TOO_MUCH = Phrase(
    "na hora mais cheia pede-se mais do que há: haverá filas",
    "more is asked for in the busiest hour than there is: there will be queues",
)
MADE_UP = Phrase(
    "os valores de [driver] são inventados, até que alguém os meça",
    "the values of [driver] are made up, until somebody measures them",
)


def words(scenario: Scenario, language: str) -> Iterator[str]:
    """
    What a scenario means, as lines of text.

    :param language: "pt" or "en".
    """

    def figure(value: float, places: int = 0) -> str:
        return decimal(value, language, places)

    found = meaning(scenario)
    end = scenario.start + timedelta(days=scenario.days)
    if scenario.title:
        yield called(scenario.title, language)
    yield WHEN.say(
        language,
        {
            "begin": scenario.start.isoformat(" ", "minutes"),
            "end": end.isoformat(" ", "minutes"),
            "zone": scenario.time_zone,
            "days": scenario.days,
        },
    )
    weekday, hour = found.busiest
    yield DRIVERS.say(
        language,
        {
            "day": figure(found.drivers_per_day),
            "hour": figure(found.drivers_per_hour, 1),
            "weekday": WEEKDAYS[weekday],
            "from_hour": hour,
            "busiest": figure(found.busiest_drivers, 1),
        },
    )
    for zone in scenario.demand.zones:
        trip = TRIP.say(language) if zone.trip_to else ""
        share = figure(100 * (1.0 if zone.share is None else zone.share), 0)
        yield "  " + ZONE.say(language, {"share": share, "name": zone.name, "trip": trip})
    yield POWER.say(
        language,
        {
            "energy": figure(found.energy_kwh, 1),
            "asked": figure(found.asked_kw),
            "busiest": figure(found.busiest_kw),
            "power": figure(found.power_kw),
            "evses": found.evses,
            "stations": found.stations,
        },
    )
    is_local = not any(zone.trip_to for zone in scenario.demand.zones)
    if not is_local:
        yield "  " + TRIPS.say(language)
    if found.unknown:
        yield "  " + UNKNOWN.say(language, {"unknown": found.unknown})
    if found.busiest_kw > found.power_kw and not found.unknown:
        yield "  " + TOO_MUCH.say(language)
    yield from _runs(scenario, variants(scenario), language)
    if is_local and scenario.driver.start_percent.least >= LOW_PERCENT:
        yield NO_RANGE.say(language, {"low": figure(LOW_PERCENT)})
    yield MADE_UP.say(language)


def _runs(scenario: Scenario, compared: Sequence[Variant], language: str) -> Iterator[str]:
    runs = len(compared) * scenario.study.replications
    values = {
        "variants": len(compared),
        "replications": decimal(scenario.study.replications, language, 0),
        "runs": decimal(runs, language, 0),
    }
    yield RUNS.say(language, values)
    for each in scenario.study.vary:
        tried = ", ".join(str(value) for value in each.values)
        label = called(each.label or each.varied, language)
        yield "  " + VARIED.say(language, {"key": label, "values": tried})
