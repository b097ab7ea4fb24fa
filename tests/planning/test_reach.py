"""Why there is no plan, and what would help."""

from collections.abc import Sequence

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.planning.chains import charges
from evcharge.planning.piecewise import PiecewiseLinear
from evcharge.planning.reach import blocked, carried, least, some_chain
from evcharge.planning.roads import Distances, Place, Straight
from evcharge.planning.search import Task
from evcharge.planning.trips import TIME, NoPlan, PlanStation, Trip, never, plan, task_of
from evcharge.utils.geo_utils import distance_km
from tests.support.examples import examples, given
from tests.support.plans import Case, cases, on_grid


def until(trip: Trip, place: int, arrival_kwh: float) -> Trip:
    """The part of a trip that ends at a place."""
    return attrs.evolve(
        trip,
        places=trip.places[: place + 1],
        stays_h=trip.stays_h[: place + 1],
        arrival_kwh=arrival_kwh,
    )


def with_more(
    trip: Trip, stations: Sequence[PlanStation], kwh: float
) -> tuple[Trip, Sequence[PlanStation]]:
    """A trip with a battery into which so much more fits, and has been charged."""
    longer = attrs.evolve(
        trip,
        start_kwh=trip.start_kwh + kwh,
        capacity_kwh=trip.capacity_kwh + kwh,
        most_kwh=trip.most_kwh + kwh,
    )
    end = (longer.capacity_kwh, 1e3)
    return longer, [
        attrs.evolve(each, charge=PiecewiseLinear.of([*each.charge.points, end]))
        for each in stations
    ]


class Counted(Straight):
    """Counts the pairs of nodes that are looked at."""

    pairs = 0

    def row(self, node: int, others: Sequence[int]) -> list[float]:
        self.pairs += len(others)
        return super().row(node, others)


def by_stations(places: Sequence[Place], stations: Sequence[Place]) -> tuple[Task, Counted]:
    """A trip with stations, by straight lines of 0.2 kWh a km, whose pairs are counted."""
    roads = Counted(Distances([*places, *stations]), 0.2)
    legs = range(len(places))
    trip = Trip(legs, roads, roads, [0.0] * len(places), 24.0, 60.0, 6.0, 6.0, 60.0)
    charge = PiecewiseLinear.of([(0.0, 0.0), (60.0, 1.0)])
    there = [PlanStation(at, charge) for at in range(len(places), len(places) + len(stations))]
    return task_of(trip, there, TIME), roads


class ReachTests(SynchronousTestCase):
    """Trips that cannot be made."""

    @settings(max_examples=examples(300), deadline=None)
    @given(cases())
    def test_missing(self, case: Case) -> None:
        """A leg that is told to be blocked is the first, and carries with what is missing."""
        trip, stations = case.trip, case.stations
        found = plan(trip, stations)
        if not isinstance(found, NoPlan):
            return
        last = found.leg == len(trip.places) - 2
        if found.leg:
            before = until(trip, found.leg, trip.reserve_kwh)
            self.assertIsNotNone(on_grid(before, stations))
        through = until(trip, found.leg + 1, trip.arrival_kwh if last else trip.reserve_kwh)
        self.assertIsNone(on_grid(through, stations))
        if not found.leg:
            more, less = found.missing_kwh, found.missing_kwh - 0.01
            self.assertNotIsInstance(plan(*with_more(through, stations, more)), NoPlan)
            self.assertIsInstance(plan(*with_more(through, stations, less)), NoPlan)

    @settings(max_examples=examples(300), deadline=None)
    @given(cases(), st.booleans())
    def test_some_chain(self, case: Case, carefully: bool) -> None:
        """Whatever can be made there is a chain for that is found without a search, of stops that
        all charge."""
        task = task_of(case.trip, case.stations, TIME)
        stations = range(len(case.stations))
        chain = some_chain(task, stations, carefully)
        if chain is not None:
            carries = charges(task, chain)
            if carefully:
                self.assertIsNotNone(carries)
            if carries is not None:
                best = plan(case.trip, case.stations)
                assert not isinstance(best, NoPlan)
                self.assertGreater(carries[0], best.hours - 1e-9)
        if carefully:
            self.assertEqual(chain is None, blocked(task, stations, never) is not None)

    @given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 120))
    def test_bisection(self, over: int, most: int, needed: int) -> None:
        """The least number that suffices is found in seven questions; None where none does."""
        asked = []

        def carries(number: int) -> bool:
            asked.append(number)
            return number >= needed

        found = least(carries, over, most, never)
        wanted = max(needed, over + 1)
        self.assertEqual(found, wanted if wanted <= most else None)
        self.assertLessEqual(len(asked), 8)

    def test_over_the_ocean(self) -> None:
        """Where nothing carries, thousands of stations are not each compared with all others."""
        count = 1000
        stations = [(-12.0 + at % 32 / 10.0, -40.0 + at // 32 / 10.0) for at in range(count)]
        task, roads = by_stations([(-12.0, -40.0), (-12.0, 15.0)], stations)
        self.assertFalse(carried(task, range(count)))
        self.assertIsNotNone(blocked(task, range(count), never))
        self.assertLess(roads.pairs, 50 * count)

    def test_on_both_shores(self) -> None:
        """Nor are those on one shore with all on the other; what is missing is the way between."""
        count = 2000
        stations = [
            (-12.0 + at % 31 / 20.0, (-40.0, -35.6)[at % 2] + at // 62 / 20.0)
            for at in range(count)
        ]
        task, roads = by_stations([(-11.2, -39.9), (-11.2, -34.6)], stations)
        self.assertFalse(carried(task, range(count)))
        told = blocked(task, range(count), never)
        assert told is not None
        shores = min(
            distance_km(*here, *there) for here in stations[::2] for there in stations[1::2]
        )
        self.assertAlmostEqual(told.missing_kwh, 0.2 * shores - 54.0)
        self.assertLess(roads.pairs, 300 * count)

    def test_chain_of_thousands(self) -> None:
        """A chain is found without comparing all stations with each other, and has few stops."""
        count = 2000
        stations = [(-12.0 + at % 20 / 10.0, -40.0 + at // 20 / 10.0) for at in range(count)]
        task, roads = by_stations([(-12.0, -40.5), (-12.0, -35.0), (-12.0, -30.0)], stations)
        for carefully in (False, True):
            roads.pairs = 0
            chain = some_chain(task, range(count), carefully)
            assert chain is not None
            self.assertIsNotNone(charges(task, chain))
            self.assertLess(len(chain), 8)
            self.assertLess(roads.pairs, 50 * count)

    def test_time_is_up(self) -> None:
        """Once time is up no more is asked, and what is told to suffice does."""
        left = iter([False, False, False])
        asked = []

        def carries(number: int) -> bool:
            asked.append(number)
            return number >= 40

        self.assertEqual(least(carries, 0, 100, lambda: next(left, True)), 50)
        self.assertEqual(asked, [100, 50, 25])
        self.assertIsNone(least(carries, 0, 100, lambda: True))
        stations = [(-12.0, -40.0 + at / 10.0) for at in range(50)]
        task, _ = by_stations([(-12.0, -40.0), (-12.0, 15.0)], stations)
        less, more = (blocked(task, range(50), up) for up in (never, lambda: True))
        assert less is not None and more is not None
        self.assertLess(less.missing_kwh, more.missing_kwh)
