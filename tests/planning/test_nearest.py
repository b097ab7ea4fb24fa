"""The tree of the stations: it finds what a look at all of them would, and looks at few."""

import itertools
import random
from decimal import Decimal
from math import inf
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.station import Station, StationState
from evcharge.models.stations import Stations
from evcharge.planning import nearest as module
from evcharge.planning.nearest import Nearest, nearest
from evcharge.planning.selection import CRITERIA, rank_around, rank_stations
from evcharge.utils.geo_utils import distance_km
from tests.support.examples import examples, given

NOW = 1000.0

latitudes = st.sampled_from([-90.0, 90.0, 0.0, -0.0, 89.9999]) | st.floats(-90, 90)
longitudes = st.sampled_from([-180.0, 180.0, 179.9999, -179.9999, 0.0]) | st.floats(-180, 180)
# Few places, so that many stations are at the same, or a little beside it.
towns = st.lists(st.tuples(latitudes, longitudes), min_size=1, max_size=4)
slots = st.tuples(
    st.sampled_from([0, 0, 1]), st.sampled_from([None, 900.0, 1000.5, 2000.0, 4600.0])
)
kinds = st.tuples(
    st.sampled_from([None, 7.0, 22.0, 150.0]),
    st.sampled_from([(), ("Tipo 2",), ("CCS2",)]),
    st.sampled_from([Decimal("1"), Decimal("1.999"), Decimal("2")]),
)
models = st.builds(
    CarModel,
    brand=st.just("B"),
    model=st.just("M"),
    battery_capacity_kwh=st.just(50.0),
    consumption_kwh_per_km=st.sampled_from([0.001, 0.2, 20.0]),
    max_speed_km_h=st.just(150.0),
    ac_limit_kw=st.sampled_from([None, 11.0]),
    dc_limit_kw=st.sampled_from([None, 100.0]),
)
cars = st.builds(ElectricCar.charged_to, models, st.sampled_from([0.0, 1.0, 40.0, 100.0]))


@st.composite
def states(draw: st.DrawFn) -> list[StationState]:
    """Up to some 40 stations in a few towns, with ids in no order."""
    around, found = draw(towns), []
    for number in draw(st.lists(st.integers(1, 99), max_size=40, unique=True)):
        latitude, longitude = draw(st.sampled_from(around))
        latitude = max(-90.0, min(90.0, latitude + draw(st.sampled_from([0.0, 1e-7, 0.01, -1.0]))))
        power, connectors, price = draw(kinds)
        station = Station(number, "", "", latitude, longitude, 1, power, price, connectors)
        found.append(StationState(station, *draw(slots)))
    return found


class NearestTests(SynchronousTestCase):
    """A search, beside a look at every station."""

    def setUp(self) -> None:
        # So that few stations make a tree of several levels.
        self.patch(module, "SMALLEST", 2)
        self.patch(module, "PARTS", 2)

    @given(
        states(),
        cars,
        st.tuples(latitudes, longitudes),
        st.sampled_from(sorted(CRITERIA)),
        st.integers(1, 5),
        st.data(),
    )
    @settings(max_examples=examples(150), deadline=None)
    def test_selection(
        self,
        before: list[StationState],
        car: ElectricCar,
        place: tuple[float, float],
        criterion: str,
        most: int,
        data: st.DataObject,
    ) -> None:
        """It ranks stations as they are ranked one by one, by each criterion, as slots change."""
        stations = Stations(before)
        tree = Nearest(stations)
        for _ in range(3):
            one_by_one = rank_stations(car, measured(stations, *place), criterion, NOW, 2.0, most)
            found = rank_around(car, tree, *place, criterion, NOW, 2.0, most)
            self.assertEqual(found, one_by_one)
            if before:
                changed = data.draw(st.sampled_from(before))
                stations.put(StationState(changed.station, *data.draw(slots)))

    @given(states(), latitudes, longitudes)
    @settings(max_examples=examples(100), deadline=None)
    def test_order(self, all_states: list[StationState], latitude: float, longitude: float) -> None:
        """Without any rank, stations come by distance, and by id where that is the same."""
        stations = Stations(all_states)
        found = Nearest(stations).search(latitude, longitude, inf, lambda *_: ())
        expected = sorted(
            (
                (km, state.station.station_id)
                for state, km in measured(stations, latitude, longitude)
            )
        )
        self.assertEqual([(km, state.station.station_id) for _, km, state in found], expected)


class EffortTests(SynchronousTestCase):
    """How many stations and groups a search looks at, which is what it costs."""

    def effort(self, count: int, full: int = 0, criterion: str = "distance") -> int:
        """How many ranks are worked out for five of `count` stations; the nearest are `full`."""
        chance = random.Random(1)
        places = [(chance.uniform(-30, 0), chance.uniform(-60, -40)) for _ in range(count)]
        places.sort(key=lambda place: distance_km(*place, -12.0, -50.0))
        stations = Stations(
            StationState(
                Station(number, "", "", *place, 1, chance.choice([7.0, 50.0, 150.0]),
                        Decimal(chance.randrange(100, 300)) / 100),
                0 if number <= full else 1,
                chance.uniform(NOW, NOW + 3600),
            )
            for number, place in enumerate(places, 1)
        )  # fmt: skip
        rank, looks = CRITERIA[criterion], itertools.count()

        def counted(*args: Any) -> Any:
            next(looks)
            return rank(*args)

        CRITERIA[criterion] = counted
        try:
            found = rank_around(CAR, nearest(stations), -12.0, -50.0, criterion, NOW, 1.0, 5)
        finally:
            CRITERIA[criterion] = rank
        self.assertEqual(len(found), 5)
        return next(looks)

    def test_growth(self) -> None:
        """Of thirty times as many stations it looks at a few more."""
        for criterion in CRITERIA:
            few, many = (self.effort(count, criterion=criterion) for count in (1000, 30000))
            self.assertLess(many, 300, criterion)
            self.assertLess(many, 4 * few, criterion)

    def test_full(self) -> None:
        """A whole region without a free slot costs as little as a station that is."""
        self.assertLess(self.effort(20000, full=15000), 1000)
        self.assertLess(self.effort(20000, full=20000), 300)


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
