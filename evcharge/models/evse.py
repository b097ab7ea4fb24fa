"""
EVSEs and their connectors: which fits which car, and which EVSE a car is given. Pure.

An EVSE serves one vehicle at a time, through one of its connectors. The names are OCPI 2.2.1's
(module locations: `ConnectorType`, `ConnectorFormat`, `PowerType`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs

from evcharge.models.charging import Rate, Supply, least_power, rate_of
from evcharge.models.connectors import (
    CCS1,
    CCS2,
    CHADEMO,
    GBT_AC,
    GBT_DC,
    NBR_14136,
    SCHUKO,
    TESLA,
    TYPE_1,
    TYPE_2,
    connector_kind,
)
from evcharge.models.electric_car import CarModel

CONNECTORS = "connectors"
"""What replies call it where it was assumed that a connector fits."""

LONGEST_UID = 36

IN_SERVICE = "IN_SERVICE"
STATUSES = (IN_SERVICE, "INOPERATIVE", "OUTOFORDER", "PLANNED", "REMOVED", "UNKNOWN")
"""What an operator may say of an EVSE."""

DC = "DC"
PHASES = {"AC_1_PHASE": 1, "AC_2_PHASE": 2, "AC_2_PHASE_SPLIT": 2, "AC_3_PHASE": 3}
POWER_TYPES = (*PHASES, DC)

SOCKET, CABLE = FORMATS = ("SOCKET", "CABLE")
"""Whether the driver brings the cable, or the connector is at the end of one."""

STANDARDS = {
    "IEC_62196_T1": TYPE_1,
    "IEC_62196_T2": TYPE_2,
    "IEC_62196_T1_COMBO": CCS1,
    "IEC_62196_T2_COMBO": CCS2,
    "CHADEMO": CHADEMO,
    "TESLA_S": TESLA,
    "GBT_AC": GBT_AC,
    "GBT_DC": GBT_DC,
    "DOMESTIC_N": NBR_14136,
    "DOMESTIC_F": SCHUKO,
}
"""The standards that we can say of what fits them -> what people call them, and their current."""

OTHER_STANDARDS = frozenset(
    [
        *("CHAOJI", "PANTOGRAPH_BOTTOM_UP", "PANTOGRAPH_TOP_DOWN", "TESLA_R"),
        *(f"DOMESTIC_{letter}" for letter in "ABCDEGHIJKLMO"),
        *(f"IEC_60309_2_{kind}" for kind in ("single_16", "three_16", "three_32", "three_64")),
        *("IEC_62196_T3A", "IEC_62196_T3C"),
        *(f"NEMA_{n}" for n in ("5_20", "6_30", "6_50", "10_30", "10_50", "14_30", "14_50")),
    ]
)
"""The others that OCPI has; a car that lists one of them by its name fits."""

_STANDARD_OF = {kind.name: standard for standard, kind in STANDARDS.items()}

DOMESTIC = frozenset(("DOMESTIC_N", "DOMESTIC_F"))

AC_MOST_KW = {"IEC_62196_T2": 22.0, "IEC_62196_T1": 7.4, "DOMESTIC_N": 3.7, "DOMESTIC_F": 3.7}
"""What an AC connector gives at most at a station that has DC ones too and says one power for all:
posts with both have 32 A on the AC side."""


@attrs.frozen
class Connector:
    """A plug or a socket of an EVSE."""

    connector_id: str
    """Unique in its EVSE."""
    name: str
    """For people."""
    standard: str | None
    """One of OCPI's; None where the connector has a name that we do not know."""
    format: str | None = None
    power_type: str | None = None
    max_power_kw: float | None = None
    """None where unknown."""
    tariff_ids: tuple[str, ...] = ()

    @property
    def is_dc(self) -> bool | None:
        """Whether it carries direct current; None where that is not known."""
        if self.power_type is not None:
            return self.power_type == DC
        kind = STANDARDS.get(self.standard or "") or connector_kind(self.name)
        return None if kind is None else kind.is_dc


@attrs.frozen(cache_hash=True)
class EvseKind:
    """What EVSEs have in common that are alike to whoever charges."""

    connectors: tuple[Connector, ...] = ()
    """Empty where nothing is known of them."""
    max_power_kw: float | None = None
    """Of a whole EVSE; None where only the connectors say, or nobody."""
    power_kw: float | None = attrs.field(init=False, eq=False, repr=False)
    """What a vehicle gets here at most, kW; None where unknown."""

    @power_kw.default
    def _power_kw(self) -> float | None:
        powers = [least_power(self.max_power_kw, c.max_power_kw) for c in self.connectors]
        known = [power for power in powers if power is not None]
        return max(known, default=self.max_power_kw)


@lru_cache(maxsize=20_000)
def kind_of(connectors: tuple[Connector, ...], max_power_kw: float | None) -> EvseKind:
    """A kind of EVSE, the same object for all that are alike: selection knows them by that."""
    return EvseKind(connectors, max_power_kw)


@lru_cache(maxsize=20_000)
def without_ids(kind: EvseKind) -> EvseKind:
    """A kind as far as it matters which cars it fits, and how they charge there."""
    bare = (attrs.evolve(each, connector_id="", tariff_ids=()) for each in kind.connectors)
    return kind_of(tuple(bare), kind.max_power_kw)


@attrs.frozen
class Evse:
    """Serves one vehicle at a time."""

    uid: str
    """Unique in the network, and never used again."""
    kind: EvseKind = EvseKind()
    status: str = IN_SERVICE
    """What the operator says of it, one of :data:`STATUSES`."""
    since: str | None = None
    """When that began, ISO 8601 in UTC; None where unknown."""
    reason: str | None = None
    physical_reference: str | None = None
    """What is written on it."""
    others: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    """The fields of its JSON form that evcharge has no use for; those of its connectors under
    `connectors`, by the id of each."""

    @property
    def in_service(self) -> bool:
        return self.status == IN_SERVICE


@attrs.frozen
class EvseStatus:
    """What an operator says of an EVSE."""

    status: str
    """One of :data:`STATUSES`."""
    since: str
    """When that began, ISO 8601 in UTC."""
    reason: str | None = None

    @property
    def in_service(self) -> bool:
        return self.status == IN_SERVICE

    def of(self, evse: Evse) -> Evse:
        """The EVSE of which that is said."""
        return attrs.evolve(evse, status=self.status, since=self.since, reason=self.reason)


@attrs.frozen
class Plug:
    """How cars of a model charge at EVSEs of a kind, by one of their connectors."""

    connector: Connector | None
    """None where nothing is known of the connectors."""
    rate: Rate
    assumed: tuple[str, ...]
    """What was not known."""


@lru_cache(maxsize=20_000)
def plugs_of(model: CarModel, kind: EvseKind) -> tuple[Plug, ...]:
    """The ways in which cars of a model can charge at EVSEs of a kind; empty: they cannot."""
    if not kind.connectors:
        is_dc = model.dc_connectors != ()
        return (_plug(model, None, Supply(is_dc, kind.max_power_kw), assumed=True),)
    plugs: list[Plug] = []
    for connector in kind.connectors:
        fit = fits(model, connector)
        if fit is False:
            continue
        power = least_power(kind.max_power_kw, connector.max_power_kw)
        phases = PHASES.get(connector.power_type or "")
        plug = _plug(model, connector, Supply(_by_dc(model, connector), power, phases), fit is None)
        # What is as quick in every case is taken by its place.
        if not any((p.rate, p.assumed) == (plug.rate, plug.assumed) for p in plugs):
            plugs.append(plug)
    return tuple(plugs)


def _plug(model: CarModel, connector: Connector | None, supply: Supply, assumed: bool) -> Plug:
    rate = rate_of(model, supply)
    return Plug(connector, rate, ((CONNECTORS,) if assumed else ()) + rate.assumed)


def _by_dc(model: CarModel, connector: Connector) -> bool:
    """Whether a car charges by direct current there."""
    if connector.is_dc is not None:
        return connector.is_dc
    # Of a connector that nobody knows a driver is not told the time of a fast one.
    return _key(_known_as(connector)) in _keys(model.dc_connectors)


def _known_as(connector: Connector) -> str:
    """The name by which cars list a connector, whatever people call this one."""
    kind = STANDARDS.get(connector.standard or "")
    return (kind and kind.name) or connector.name


def _key(name: str) -> str:
    """What two names of one connector have in common."""
    kind = connector_kind(name)
    return re.sub(r"[\s\-‐-―]+", "", (kind and kind.name) or name).casefold()


@lru_cache(maxsize=1000)
def _keys(names: tuple[str, ...] | None) -> frozenset[str]:
    return frozenset(map(_key, names or ()))


def fits(model: CarModel, connector: Connector) -> bool | None:
    """Whether cars of a model can be charged by a connector; None: so it is assumed."""
    key, ac, dc = _key(_known_as(connector)), _keys(model.ac_connectors), _keys(model.dc_connectors)
    if model.ac_connectors is None and model.dc_connectors is None:
        return None
    if connector.is_dc is None:
        return key in ac | dc
    if connector.is_dc:
        return key in dc
    if model.ac_connectors is None:
        # That it has an onboard charger is known: not by which inlet.
        return None if model.ac_limit_kw is not None else False
    if key in ac:
        return True
    if connector.standard in DOMESTIC:
        return bool(ac)
    # With the driver's own cable, for which a post that has one leaves no place.
    own_cable = connector.standard == "IEC_62196_T2" and connector.format != CABLE
    return own_cable and _key(TYPE_1.name or "") in ac


def quickest(
    plugs: Iterable[Plug], start_percent: float, target_percent: float
) -> tuple[Plug, float]:
    """The plug by which a charge is the shortest, the first of several, and its seconds."""
    best, least = None, math.inf
    for plug in plugs:
        seconds = plug.rate.seconds(start_percent, target_percent)
        if best is None or to_the_ms(seconds) < to_the_ms(least):
            best, least = plug, seconds
    if best is None:
        raise ValueError("no plug")
    return best, least


def to_the_ms(seconds: float) -> float:
    """
    A span to compare with others. What a car takes alike from two supplies adds up over other
    pieces, and so to another last digit, which must not decide who is given the fast EVSE.
    """
    # In a third of the time that `round` takes for three decimals.
    return round(seconds * 1e3) / 1e3 if seconds < 9e12 else seconds


@lru_cache(maxsize=20_000)
def natural(uid: str) -> tuple[tuple[bool, int, str], ...]:
    """What puts 7-2 before 7-10, and numbers before letters."""
    parts = re.findall(r"[0-9]+|[^0-9]+", uid)
    return tuple(
        (False, int(part), "") if part[0] in "0123456789" else (True, 0, part) for part in parts
    )


def connector_of(connector_id: str, name: str) -> Connector:
    """A connector of which only a name is known, as people write it."""
    kind = connector_kind(name)
    standard = _STANDARD_OF.get(kind.name) if kind is not None and kind.name else None
    power_type = DC if kind is not None and kind.is_dc else None
    if kind is not None and kind.name == TESLA.name and not kind.is_dc:
        # What this standard means where its power type is not said.
        power_type = "AC_3_PHASE"
    shown = kind.name if kind is not None and kind.name else name
    return Connector(connector_id, shown, standard, power_type=power_type)


def kind_of_row(names: Sequence[str], power_kw: float | None) -> EvseKind:
    """
    Each EVSE of a station of which a row of the CSV says all that is known.

    :param names: of the connectors that each of them has.
    :param power_kw: the highest power of the station, kW; None where unknown.
    """
    connectors = [connector_of(str(n), name) for n, name in enumerate(names, 1)]
    has_dc = any(connector.is_dc for connector in connectors)

    def power(connector: Connector) -> float | None:
        is_beside_dc = has_dc and connector.is_dc is False
        most = AC_MOST_KW.get(connector.standard or "") if is_beside_dc else None
        return None if power_kw is None else least_power(power_kw, most)

    return kind_of(tuple(attrs.evolve(c, max_power_kw=power(c)) for c in connectors), power_kw)


def evses_of_row(
    station_id: int, count: int, names: Sequence[str], power_kw: float | None
) -> tuple[Evse, ...]:
    """One anonymous EVSE for each slot of a station of which only a row of the CSV is known."""
    kind = kind_of_row(names, power_kw)
    return tuple(Evse(f"{station_id}-{number}", kind) for number in range(1, count + 1))
