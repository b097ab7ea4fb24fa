"""Stations: where they are, which EVSEs they have, and by what their sessions are priced."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from evcharge.models.connectors import shown_connectors
from evcharge.models.estimates import Priced, Prices
from evcharge.models.evse import Evse, EvseKind, EvseStatus, evses_of_row, natural

DEFAULT_TIME_ZONE = "America/Bahia"
"""Whose local time a tariff's hours are where nobody says it."""


@lru_cache
def zone_of(name: str) -> tzinfo:
    """The time zone of that name. ValueError: there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone, such as {DEFAULT_TIME_ZONE}") from None


@attrs.frozen
class Station:
    """A charging station, as the network describes it."""

    station_id: int
    name: str
    address: str
    latitude: float
    """Degrees, WGS 84, like the longitude."""
    longitude: float
    max_slots: int
    """How many vehicles charge at once."""
    power_kw: float | None = None
    """What one EVSE gives at most, kW, by the station's row; None where unknown."""
    price_kwh: Decimal | None = None
    """BRL per kWh; None where nobody says it."""
    connectors: tuple[str, ...] = ()
    """Kinds of connector, as they were written (`Tipo 2`, `CCS2`, …); empty where unknown."""
    own_evses: tuple[Evse, ...] = ()
    """Its EVSEs where they are named, of which there are then `max_slots`; else there is one for
    each slot, of which is known what is known of the station."""
    tariff_id: str | None = None
    """By which tariff its sessions go whose connector does not say it."""
    time_zone: str | None = None
    """IANA name; None: that of the network."""
    statuses: Mapping[str, EvseStatus] = attrs.field(factory=dict, eq=False)
    """What an operator has said of EVSEs since, by uid: it goes before what is said of them."""
    key: str = attrs.field(init=False, eq=False, repr=False)
    """The id as text, as messages have it."""
    evses: tuple[Evse, ...] = attrs.field(init=False, eq=False, repr=False)
    """All of them."""
    by_kind: Mapping[EvseKind, tuple[Evse, ...]] = attrs.field(init=False, eq=False, repr=False)
    """The same, those that are alike together, in the order in which the first of each comes."""
    kinds: tuple[EvseKind, ...] = attrs.field(init=False, eq=False, repr=False)
    in_order: tuple[Evse, ...] = attrs.field(init=False, eq=False, repr=False)
    """Those in service, in the natural order of their uids."""
    prices: Prices = attrs.field(init=False, eq=False, repr=False)
    priced: Priced = attrs.field(init=False, eq=False, repr=False)
    by_tariff: bool = attrs.field(init=False, eq=False, repr=False)
    """Whether what a kWh costs may differ from one moment to another."""

    @key.default
    def _key(self) -> str:
        return str(self.station_id)

    @evses.default
    def _evses(self) -> tuple[Evse, ...]:
        evses = self.own_evses or evses_of_row(
            self.station_id, self.max_slots, self.connectors, self.power_kw
        )
        statuses = self.statuses
        if not statuses:
            return evses
        return tuple(
            statuses[evse.uid].of(evse) if evse.uid in statuses else evse for evse in evses
        )

    @by_kind.default
    def _by_kind(self) -> Mapping[EvseKind, tuple[Evse, ...]]:
        found: dict[EvseKind, list[Evse]] = {}
        for evse in self.evses:
            found.setdefault(evse.kind, []).append(evse)
        return {kind: tuple(evses) for kind, evses in found.items()}

    @kinds.default
    def _kinds(self) -> tuple[EvseKind, ...]:
        return tuple(self.by_kind)

    @in_order.default
    def _in_order(self) -> tuple[Evse, ...]:
        there = (evse for evse in self.evses if evse.in_service)
        return tuple(sorted(there, key=lambda evse: natural(evse.uid)))

    @prices.default
    def _prices(self) -> Prices:
        return Prices(self.tariff_id, self.price_kwh)

    @priced.default
    def _priced(self) -> Priced:
        return Priced.of(self.prices, self.kinds)

    @by_tariff.default
    def _by_tariff(self) -> bool:
        return bool(self.priced.named)

    def __reduce__(self) -> tuple[type[Station], tuple[Any, ...]]:
        # What follows from the rest is worked out again: it is most of what there is.
        return Station, _given(self)

    def zone(self, network: tzinfo | None = None) -> tzinfo:
        """
        Whose local time its tariffs go by.

        :param network: that of the network, where it is not the default.
        """
        if self.time_zone is None and network is not None:
            return network
        return zone_of(self.time_zone or DEFAULT_TIME_ZONE)

    @property
    def shown_power_kw(self) -> float | None:
        """The highest power that there is here, kW; None where unknown."""
        if not self.own_evses:
            return self.power_kw
        powers = [kind.power_kw for kind in self.kinds]
        return max((power for power in powers if power is not None), default=None)

    @property
    def shown_connectors(self) -> tuple[str, ...]:
        """The names of the connectors that there are, each once."""
        if not self.own_evses:
            return shown_connectors(self.connectors)
        return tuple(dict.fromkeys(c.name for kind in self.kinds for c in kind.connectors))

    def with_slots(self, max_slots: int) -> Station:
        """The station with as many slots; what is named counts."""
        if self.own_evses or max_slots == self.max_slots:
            return self
        return attrs.evolve(self, max_slots=max_slots)

    def evse(self, uid: str) -> Evse | None:
        """The EVSE of that uid; None where it has none."""
        return next((evse for evse in self.evses if evse.uid == uid), None)

    def with_statuses(self, statuses: Mapping[str, EvseStatus]) -> Station:
        """
        The station of which an operator has said that, and nothing else.

        :param statuses: by uid, of other stations too.
        """
        own = {evse.uid: statuses[evse.uid] for evse in self.evses if evse.uid in statuses}
        return self if own == self.statuses else attrs.evolve(self, statuses=own)

    def free(self, held: Collection[str]) -> list[Evse]:
        """
        The EVSEs that may be taken, in the order of their uids.

        :param held: uids of those that a vehicle stands at. There may be some that the station has
            no more: as many of the others stay unused until those are gone.
        """
        free = [evse for evse in self.in_order if evse.uid not in held]
        if held and free:
            beyond = len(set(held).difference(evse.uid for evse in self.evses))
            if beyond:
                return free[: max(0, len(free) - beyond)]
        return free


_given = attrgetter(*(each.name for each in attrs.fields(Station) if each.init))
"""What a station is made of."""
