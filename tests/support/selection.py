"""Stations with EVSEs and tariffs of many kinds, for tests of which is chosen."""

from decimal import Decimal

import attrs
from hypothesis import strategies as st

from evcharge.models.evse import Connector, Evse, EvseKind
from evcharge.models.session import ChargingSession
from evcharge.models.slots import SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.tariffs import parse_tariff
from evcharge.testing import NOON, shipped_network

CARS = shipped_network().catalogue().models
ENERGY = {"type": "ENERGY", "price": 1.50, "step_size": 1}
NUMBERS = st.integers(1, 10**6)
TARIFFS = {
    body["id"]: parse_tariff({"currency": "BRL", **body})
    for body in (
        {"id": "flat", "elements": [{"price_components": [ENERGY]}]},
        {
            "id": "night",
            "elements": [
                {
                    "price_components": [{**ENERGY, "price": 1.10, "vat": 10}],
                    "restrictions": {"start_time": "11:00"},
                },
                {"price_components": [ENERGY]},
            ],
        },
        {
            "id": "hour",
            "elements": [{"price_components": [{"type": "TIME", "price": 9, "step_size": 60}]}],
        },
        {
            "id": "most",
            "elements": [{"price_components": [{**ENERGY, "price": 2, "step_size": 500}]}],
            "max_price": {"excl_vat": 20},
        },
        {
            "id": "start",
            "elements": [
                {"price_components": [ENERGY, {"type": "FLAT", "price": 3, "step_size": 1}]}
            ],
            "min_price": {"excl_vat": 30},
        },
    )
}


@st.composite
def kinds(draw: st.DrawFn) -> EvseKind:
    name, standard, power_type = draw(
        st.sampled_from(
            [
                ("CCS2", "IEC_62196_T2_COMBO", "DC"),
                ("CHAdeMO", "CHADEMO", "DC"),
                ("Type 2", "IEC_62196_T2", "AC_3_PHASE"),
            ]
        )
    )
    tariffs = draw(st.lists(st.sampled_from([*TARIFFS, "none"]), max_size=2))
    power = draw(st.sampled_from([None, 11.0, 22.0, 50.0, 150.0]))
    plug = Connector("1", name, standard, None, power_type, power, tuple(tariffs))
    return draw(st.sampled_from([EvseKind((plug,)), EvseKind((), power)]))


@st.composite
def slots(draw: st.DrawFn, station: Station) -> SlotTable:
    """Vehicles at some of its EVSEs."""
    found = SlotTable(station.station_id, station.max_slots)
    for evse in station.evses:
        end = draw(st.none() | st.integers(-60, 7200))
        if end is not None:
            paid = (NOON + end, "r", Decimal(1), 1.0, NOON, evse.uid)
            found = found.with_session(ChargingSession(evse.uid, station.station_id, *paid))
    return found


@st.composite
def states(draw: st.DrawFn, numbers: st.SearchStrategy[int] = NUMBERS) -> StationState:
    """A station with up to three EVSEs, some of them in use, or out of order."""
    number = draw(numbers)
    status = st.sampled_from(["IN_SERVICE", "IN_SERVICE", "OUTOFORDER"])
    evses = tuple(
        Evse(f"{number}-{n}", kind, draw(status))
        for n, kind in enumerate(draw(st.lists(kinds(), max_size=3)))
    )
    price = draw(st.sampled_from([None, Decimal("1.20"), Decimal("2.80")]))
    station = attrs.evolve(
        Station(number, "P", "R", 0, 0, len(evses), None, price),
        own_evses=evses,
        tariff_id=draw(st.sampled_from([None, None, *TARIFFS])),
    )
    return StationState.of(station, draw(slots(station)))
