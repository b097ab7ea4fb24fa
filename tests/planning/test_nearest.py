"""The tree of the stations: it finds what a look at all of them would, and looks at few."""

import functools
import itertools
import random
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.session import ChargingSession, Place
from evcharge.models.slots import SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.stations import Stations
from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.models.user import User
from evcharge.planning import nearest as module
from evcharge.planning.nearest import Nearest, nearest
from evcharge.planning.selection import CRITERIA, Selection, rank_around, rank_stations
from evcharge.testing import NOON
from evcharge.utils.geo_utils import distance_km
from tests.support.examples import examples, given
from tests.support.selection import CARS, TARIFFS, slots, states

latitudes = st.sampled_from([-90.0, 90.0, 0.0, -0.0, 89.9999]) | st.floats(-90, 90)
longitudes = st.sampled_from([-180.0, 180.0, 179.9999, -179.9999, 0.0]) | st.floats(-180, 180)
# Few places, so that many stations are at the same, or a little beside it.
towns = st.lists(st.tuples(latitudes, longitudes), min_size=1, max_size=4)
cars = st.sampled_from(sorted(CARS)).map(CARS.__getitem__) | st.sampled_from(
    [CarModel("B", "M", 50.0, use, 150.0, 11.0, 100.0) for use in (0.001, 20.0)]
)


@st.composite
def networks(draw: st.DrawFn) -> list[StationState]:
    """Up to some 20 stations in a few towns, with ids in no order."""
    around, found = draw(towns), []
    for number in draw(
        st.sets(st.integers(1, 99), min_size=draw(st.sampled_from([0, 12])), max_size=20)
    ):
        latitude, longitude = draw(st.sampled_from(around))
        latitude = max(
            -90.0, min(90.0, latitude + draw(st.sampled_from([0.0, 1e-7, 0.01, -1.0, 3.0])))
        )
        state = draw(states(st.just(number)))
        station = attrs.evolve(state.station, latitude=latitude, longitude=longitude)
        found.append(attrs.evolve(state, station=station))
    return found


class NearestTests(SynchronousTestCase):
    """A search, beside a look at every station."""

    def setUp(self) -> None:
        # So that few stations make a tree of several levels.
        self.patch(module, "SMALLEST", 2)
        self.patch(module, "PARTS", 2)

    @given(
        networks(),
        cars,
        st.sampled_from([0.0, 3.0, 40.0, 100.0]),
        st.tuples(latitudes, longitudes),
        st.sampled_from(sorted(CRITERIA)),
        st.integers(1, 5),
        st.data(),
    )
    @settings(max_examples=examples(150), deadline=None)
    def test_selection(
        self,
        before: list[StationState],
        model: CarModel,
        percent: float,
        place: tuple[float, float],
        criterion: str,
        most: int,
        data: st.DataObject,
    ) -> None:
        """It ranks and counts stations as one by one, by each criterion, as slots change."""
        stations, car = Stations(before), ElectricCar.charged_to(model, percent)
        tree, how = Nearest(stations), (criterion, TARIFFS, NOON, Terms(time_scale=2.0), most)
        if before and data.draw(st.booleans()):
            there = data.draw(st.sampled_from(before)).station
            place = there.latitude, there.longitude
        for _ in range(3):
            one_by_one = rank_stations(car, 80, measured(stations, *place), *how)
            found = rank_around(car, 80, tree, place, *how)
            self.assertEqual(counted(found), counted(one_by_one))
            if before:
                station = data.draw(st.sampled_from(before)).station
                stations.put(StationState.of(station, data.draw(slots(station))))

    @given(networks(), latitudes, longitudes)
    @settings(max_examples=examples(100), deadline=None)
    def test_order(self, all_states: list[StationState], latitude: float, longitude: float) -> None:
        """Without any rank, stations come by distance, and by id where that is the same."""
        stations = Stations(all_states)
        found = Nearest(stations).search(latitude, longitude, lambda *_: ())
        expected = sorted(
            (
                (km, state.station.station_id)
                for state, km in measured(stations, latitude, longitude)
            )
        )
        self.assertEqual([(km, state.station.station_id) for _, km, state in found], expected)

    def test_circle(self) -> None:
        """Wherever the circle of a distance runs, those in it are counted, and the next found."""
        chance = random.Random(2)
        stations = Stations(
            StationState.of(Station(number, "", "", *place, 1), SlotTable(number, 1))
            for number in range(1, 201)
            for place in [(chance.uniform(-30, 0), chance.uniform(-60, -40))]
        )
        tree, place = Nearest(stations), (-12.0, -50.0)
        away = sorted(km for _, km in measured(stations, *place))
        for nearer, km in enumerate(away):
            self.assertEqual(tree.count(*place, km).total(), nearer)
            _, first, _ = next(tree.search(*place, lambda *_: (), from_km=km))
            self.assertEqual(first, km)

    def test_turn(self) -> None:
        """A car whose turn comes before the deadline of whoever stands there is sent there."""

        def state(number: int, **of_session: Any) -> StationState:
            there, paid = Station(number, "", "", -12.0, -50.0, 1), (Decimal(1), 1.0, NOON)
            session = ChargingSession("u", number, NOON + 300, "r", *paid, f"{number}-1")
            session = attrs.evolve(session, **of_session)
            return StationState.of(there, SlotTable(number, 1, {"u": session}))

        ends_soon = state(1)
        is_charged = state(2, state="FINISHED", expires_timestamp=NOON + 3000)
        charged = User("w", "Ana", CAR, NOON)
        assert is_charged.slots is not None
        line = is_charged.slots.with_place(Place(charged, 2, 1, NOON, 0.0, 90.0, 80.0))
        with_line = StationState.of(is_charged.station, line)
        for last, first in ((is_charged, "1"), (with_line, "2")):
            stations = Stations([ends_soon, last])
            place, how = (-12.0, -50.0), ("time", {}, NOON, DEFAULT_TERMS, 1)
            (found,) = rank_around(CAR, 80, Nearest(stations), place, *how).candidates
            (alone,) = rank_stations(CAR, 80, measured(stations, *place), *how).candidates
            self.assertEqual(found.state.station.key, first)
            self.assertEqual(found, alone)


class EffortTests(SynchronousTestCase):
    """How many stations and groups a search looks at, which is what it costs."""

    def effort(self, count: int, full: int = 0, criterion: str = "distance") -> int:
        """How many ranks are worked out for five of `count` stations; the nearest are `full`."""
        stations = spread(count, full)
        rank, looks = CRITERIA[criterion], itertools.count()

        def counted(*args: Any) -> Any:
            next(looks)
            return rank.at_best(*args)

        CRITERIA[criterion] = attrs.evolve(rank, at_best=counted)
        try:
            how = (criterion, {}, NOON, DEFAULT_TERMS, 5)
            found = rank_around(CAR, 80, nearest(stations), (-12.0, -50.0), *how)
        finally:
            CRITERIA[criterion] = rank
        self.assertEqual(len(found.candidates), 5)
        return next(looks)

    def test_growth(self) -> None:
        """Of twenty times as many stations it looks at a few more."""
        for criterion in CRITERIA:
            few, many = (self.effort(count, criterion=criterion) for count in (500, 10000))
            self.assertLess(many, 300, criterion)
            self.assertLess(many, 4 * few, criterion)

    def test_full(self) -> None:
        """A whole region without a free slot costs as little as a station that is."""
        self.assertLess(self.effort(5000, full=4000), 1000)
        self.assertLess(self.effort(5000, full=5000), 300)


@functools.cache
def spread(count: int, full: int) -> Stations:
    """Stations all over a country, by distance from its middle; the nearest are `full`."""
    chance = random.Random(1)
    places = [(chance.uniform(-30, 0), chance.uniform(-60, -40)) for _ in range(count)]
    places.sort(key=lambda place: distance_km(*place, -12.0, -50.0))
    return Stations(
        StationState.of(station, SlotTable(number, 1, busy(number, chance, number <= full)))
        for number, place in enumerate(places, 1)
        for power in [chance.choice([7.0, 50.0, 150.0])]
        for price in [Decimal(chance.randrange(100, 300)) / 100]
        for station in [Station(number, "", "", *place, 1, power, price)]
    )


def busy(number: int, chance: random.Random, is_full: bool) -> dict[str, ChargingSession]:
    """Who stands at a station of one slot."""
    end = chance.uniform(NOON, NOON + 3600)
    session = ChargingSession("u", number, end, "r", Decimal(1), 1.0, NOON, f"{number}-1")
    return {"u": session} if is_full else {}


def counted(found: Selection) -> Selection:
    """A selection; the nearest station that is out of range only where there is no other."""
    if found.candidates:
        found.excluded.nearest = None
    return found


CAR = ElectricCar.charged_to(CarModel("B", "M", 100.0, 0.02, 150.0), 60)
"""It reaches 3000 km."""


def measured(
    stations: Stations, latitude: float, longitude: float
) -> list[tuple[StationState, float]]:
    """Every station with its distance from a place."""
    return [
        (state, distance_km(latitude, longitude, state.station.latitude, state.station.longitude))
        for state in stations
    ]
