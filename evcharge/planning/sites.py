"""The stations of a network as places at which a car may stop on a trip. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import tzinfo
from functools import lru_cache
from itertools import pairwise
from math import inf

import attrs

from evcharge.models.charging import Rate
from evcharge.models.electric_car import TARGET_PERCENT, CarModel
from evcharge.models.estimates import charging_segments, plan_charge
from evcharge.models.evse import EvseKind, Plug, plugs_of
from evcharge.models.slots import StationState
from evcharge.models.station import Station
from evcharge.models.tariffs import ENERGY, Tariff, price
from evcharge.models.tariffs.objects import FLAT, TIME
from evcharge.models.terms import Terms
from evcharge.planning.piecewise import PiecewiseLinear
from evcharge.planning.roads import Place
from evcharge.rules.waiting import open_to, turn
from evcharge.utils.geo_utils import distance_km

ERROR_S = 5.0
"""How far the search may be off in the time of a charge, seconds."""

TYPICAL_PERCENT = 10.0
"""From which state of charge a typical charge goes, by which EVSEs are compared."""

MOST_KNOWN = 20_000
"""Of how many stations it is remembered what they are to a model."""

LEAST_KM = 110.0
"""No degree of latitude has fewer kilometres."""

STRETCH_S = 900.0
"""For how long a tariff is taken to say the same, seconds."""


@attrs.frozen
class Site:
    """A station where something fits the car."""

    station_id: int
    latitude: float
    """Degrees, like the longitude."""
    longitude: float
    is_dc: bool
    """Whether the car is charged by direct current."""
    charge: PiecewiseLinear
    """Hours from empty to a charge, kWh."""
    price_kwh: float
    """What a kWh costs with VAT, BRL, where a typical charge begins when one is there at once."""
    price_hour: float
    """The same for an hour of charging,"""
    fee: float
    """and for a stop."""
    free_at_h: float
    """Hours until an EVSE that fits is free, or it is the car's turn."""


@attrs.frozen
class Look:
    """With whose eyes stations are looked at, and when."""

    model: CarModel
    now: float
    """Seconds since the epoch."""
    terms: Terms
    tariffs: Mapping[str, Tariff]
    """Those of the network, by id."""
    user_id: str = ""
    """Who may be in line somewhere."""
    waits: bool = True
    """Whether it matters when an EVSE is free."""
    error_s: float = ERROR_S


def sites(
    look: Look,
    states: Iterable[StationState],
    origin: Place,
    hours_per_km: float,
    avoid: Collection[str] = (),
) -> list[Site]:
    """
    Where a car may stop: the stations in service that have an EVSE which fits.

    :param origin: from where it departs.
    :param hours_per_km: how long a kilometre of the great circle takes.
    :param avoid: ids of stations that the driver does not want.
    """
    found = []
    known = _known(look.model, look.error_s)
    for state in states:
        station = state.station
        place = known.get(id(station))
        if place is None or place.station is not station:
            if len(known) >= MOST_KNOWN:
                known.clear()
            place = known[id(station)] = _Place.of(look, station)
        if place.plug is None or station.key in avoid:
            continue
        free_s = _free_in_s(look, state, place.fitting) if look.waits else 0.0
        if free_s == inf:
            continue
        site = place.site
        if site is None:
            there_s = 3600.0 * hours_per_km * distance_km(*origin, *place.at)
            begin = look.now + max(there_s, free_s) / look.terms.time_scale
            tariff, _ = station.prices.tariff(place.plug.connector, look.tariffs, begin)
            stretch = begin // STRETCH_S * STRETCH_S
            costs = _costs(tariff, place.plug, stretch, station.zone(look.terms.zone))
            site = place.priced(look, costs)
        found.append(attrs.evolve(site, free_at_h=free_s / 3600.0) if free_s else site)
    return found


@attrs.frozen(eq=False)
class _Place:
    """What of a station is the same for all drivers of a model."""

    station: Station
    plug: Plug | None
    """By what they charge; None: nothing fits, or is in service."""
    fitting: Collection[EvseKind]
    """The kinds of EVSE that do it so."""
    site: Site | None
    """When it is free; None: what a charge costs depends on when it begins."""

    @classmethod
    def of(cls, look: Look, station: Station) -> _Place:
        kinds = tuple(dict.fromkeys(evse.kind for evse in station.in_order))
        best = _best(look.model, kinds)
        if best is None:
            return cls(station, None, (), None)
        found = cls(station, *best, None)
        if station.by_tariff:
            return found
        tariff = station.prices.flat
        costs = _costs(tariff, best[0], look.now, station.zone(look.terms.zone))
        return attrs.evolve(found, site=found.priced(look, costs))

    @property
    def at(self) -> Place:
        return self.station.latitude, self.station.longitude

    def priced(self, look: Look, costs: tuple[float, float, float]) -> Site:
        """As a place to stop at, free at once, where a kWh, an hour and a stop cost that."""
        assert self.plug is not None
        curve = _curve(self.plug.rate, look.error_s)
        return Site(self.station.station_id, *self.at, _is_dc(self.plug), curve, *costs, 0.0)


@lru_cache(maxsize=64)
def _known(model: CarModel, error_s: float) -> dict[int, _Place]:
    """What is known of stations for a model, by the `id` of each: it is asked with each trip."""
    return {}


def within_reach(
    states: Iterable[StationState], model: CarModel, places: Sequence[Place]
) -> list[StationState]:
    """The stations for which nobody makes a detour on a leg that takes more than a full battery."""
    detour_km = model.battery_capacity_kwh / model.consumption_kwh_per_km
    legs = [
        (here, there, distance_km(*here, *there) + detour_km) for here, there in pairwise(places)
    ]
    most_km = max(most for _, _, most in legs)
    found = []
    for state in states:
        # Most of those that are far are so by this alone.
        if min(abs(state.station.latitude - here[0]) for here in places) * LEAST_KM > most_km:
            continue
        at = state.station.latitude, state.station.longitude
        if any(
            distance_km(*here, *at) + distance_km(*at, *there) <= most for here, there, most in legs
        ):
            found.append(state)
    return found


@lru_cache(maxsize=20_000)
def _best(model: CarModel, kinds: tuple[EvseKind, ...]) -> tuple[Plug, frozenset[EvseKind]] | None:
    """By what a car is charged at a station, and which kinds of EVSE do it so: a car that can be
    charged by direct current has no other kind there where one gives it."""
    fitting = [kind for kind in kinds if plugs_of(model, kind)]
    fast = [kind for kind in fitting if any(map(_is_dc, plugs_of(model, kind)))]
    found = plan_charge(model, fast or fitting, TYPICAL_PERCENT, TARGET_PERCENT)
    return None if found is None else (found[1].plug, frozenset(fast or fitting))


def _is_dc(plug: Plug) -> bool:
    return plug.connector is None or plug.connector.is_dc is not False


@lru_cache(maxsize=20_000)
def _curve(rate: Rate, error_s: float) -> PiecewiseLinear:
    return PiecewiseLinear.of(rate.chords(error_s))


@lru_cache(maxsize=20_000)
def _costs(tariff: Tariff, plug: Plug, begin: float, zone: tzinfo) -> tuple[float, float, float]:
    """What a kWh, an hour and a stop cost, as far as it can be said without the charge."""
    if tariff.energy_price is not None:
        numerator, denominator = tariff.energy_price
        return numerator / denominator, 0.0, 0.0
    profile = plug.rate.profile(TYPICAL_PERCENT, TARGET_PERCENT)
    bill = price(tariff, charging_segments(profile, plug.connector, begin), zone)

    def of(dimension: str) -> float:
        return float(sum(line.incl_vat for line in bill.lines if line.dimension == dimension))

    return (
        of(ENERGY) / profile.energy_kwh,
        of(TIME) / (profile.seconds / 3600.0),
        of(FLAT),
    )


def _free_in_s(look: Look, state: StationState, fitting: Collection[EvseKind]) -> float:
    """Simulated seconds until an EVSE is free, or it is the car's turn; infinite: never."""
    station, slots = state.station, state.slots
    if not state.is_occupied:
        return 0.0
    if state.queue_length and slots is not None:
        if any(evse.kind in fitting for evse in open_to(station, slots, look.user_id)):
            return 0.0
        place = slots.place(look.user_id)
        expected = turn(station, slots, look.now, look.terms, look.model, place)
        return inf if expected is None else 60.0 * expected.minutes
    at = min((at for kind, at in state.soonest.at if kind in fitting), default=inf)
    return inf if at == inf else max(0.0, (at - look.now) * look.terms.time_scale)
