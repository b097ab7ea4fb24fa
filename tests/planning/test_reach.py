"""Why there is no plan, and what would help."""

from collections.abc import Sequence

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.planning.chains import charges
from evcharge.planning.piecewise import PiecewiseLinear
from evcharge.planning.reach import blocked, carried, least, some_chain
from evcharge.planning.roads import Distances, Straight
from evcharge.planning.trips import TIME, NoPlan, PlanStation, Trip, never, plan, task_of
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

        found = least(carries, over, most)
        wanted = max(needed, over + 1)
        self.assertEqual(found, wanted if wanted <= most else None)
        self.assertLessEqual(len(asked), 8)

    def test_over_the_ocean(self) -> None:
        """Where nothing carries, thousands of stations are not each compared with all others."""
        count = 1000
        stations = [(-12.0 + at % 32 / 10.0, -40.0 + at // 32 / 10.0) for at in range(count)]
        roads = Counted(Distances([(-12.0, -40.0), (-12.0, 15.0), *stations]), 0.2)
        trip = Trip(range(2), roads, roads, [0.0, 0.0], 24.0, 60.0, 6.0, 6.0, 60.0)
        charge = PiecewiseLinear.of([(0.0, 0.0), (60.0, 1.0)])
        there = [PlanStation(at + 2, charge) for at in range(count)]
        task = task_of(trip, there, TIME)
        self.assertFalse(carried(task, range(count)))
        self.assertIsNotNone(blocked(task, range(count), never))
        self.assertLess(roads.pairs, 50 * count)
