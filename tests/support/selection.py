"""Stations with EVSEs and tariffs of many kinds, for tests of which is chosen."""

from decimal import Decimal

import attrs
from hypothesis import strategies as st

from evcharge.models.electric_car import ElectricCar
from evcharge.models.evse import Connector, Evse, EvseKind
from evcharge.models.session import LIVE, ChargingSession, Place
from evcharge.models.slots import SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.tariffs import parse_tariff
from evcharge.models.user import User
from evcharge.testing import NOON, shipped_network

CARS = shipped_network().catalogue().models
ENERGY = {"type": "ENERGY", "price": 1.50, "step_size": 1}
NUMBERS = st.integers(1, 10**6)
PERCENTS = st.sampled_from([5.0, 40.0, 79.5])
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
def places(draw: st.DrawFn, station: Station, number: int) -> Place:
    """A driver in line, with a car to which this or that may be open."""
    car = ElectricCar.charged_to(CARS[draw(st.sampled_from(sorted(CARS)))], draw(PERCENTS))
    user = User(f"waits {number}", "Ana", car, NOON)
    away, target = draw(st.sampled_from([0.0, 7.0, 60.0])), draw(st.sampled_from([50.0, 80.0]))
    return Place(user, station.station_id, number, NOON, away, car.percent, target)


@st.composite
def slots(draw: st.DrawFn, station: Station) -> SlotTable:
    """Vehicles at some of its EVSEs, and drivers in line."""
    found = SlotTable(station.station_id, station.max_slots)
    for evse in station.evses:
        end = draw(st.none() | st.integers(-60, 7200))
        if end is not None:
            paid = (NOON + end, "r", Decimal(1), 1.0, NOON, evse.uid)
            session = ChargingSession(evse.uid, station.station_id, *paid)
            state = draw(st.sampled_from(["CHARGING", "CHARGING", *LIVE]))
            if state != "CHARGING":
                session = attrs.evolve(session, state=state, expires_timestamp=NOON + end + 60)
            found = found.with_session(session)
    for number in range(draw(st.sampled_from([0, 0, 1, 3]))):
        found = found.with_place(draw(places(station, number)))
    return found


@st.composite
def states(draw: st.DrawFn, numbers: st.SearchStrategy[int] = NUMBERS) -> StationState:
    """A station with up to three EVSEs, some of them in use, or out of order, or with a line."""
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
