"""The best plan of a trip: published optima, a grid search, and what must always hold."""

import json
import math
from itertools import pairwise, repeat
from pathlib import Path

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import tests
from evcharge.planning.piecewise import PiecewiseLinear
from evcharge.planning.roads import Distances, Straight
from evcharge.planning.search import Best, Search
from evcharge.planning.trips import (
    PRICE,
    TIME,
    NoPlan,
    Plan,
    PlanStation,
    Trip,
    Weights,
    direct,
    front,
    never,
    plan,
    task_of,
)
from tests.support.examples import examples, given
from tests.support.plans import Case, cases, curves, made, must, on_grid, planned, published, replay

VECTORS = json.loads((Path(tests.__file__).parent / "data" / "planner-vectors.json").read_text())

EVEN = PiecewiseLinear.of([(0, 0), (40, 1)])


def faster(charge: PiecewiseLinear) -> PiecewiseLinear:
    """A charge that takes four fifths of the time."""
    return PiecewiseLinear.of((x, 0.8 * y) for x, y in charge.points)


class PublishedTests(SynchronousTestCase):
    """Optima that others have found."""

    def test_routes(self) -> None:
        """Each of frvcpy's routes takes as long as is published, to the last digit there."""
        for route in VECTORS["routes"]:
            case = published(VECTORS, route)
            found = must(planned(self, case.trip, case.stations))
            self.assertLess(abs(found.hours - route["objective_h"]), 5e-7, route["name"])
            self.assertEqual(found.gap_h, 0.0)

    def test_other_starts(self) -> None:
        """With less in the battery each takes as long as frvcpy says, or longer than it looks."""
        for route in VECTORS["other_starts"]:
            case = published(VECTORS, route)
            found = must(planned(self, case.trip, case.stations))
            if route["objective_h"] is None:
                self.assertGreater(found.hours, VECTORS["instance"]["limit_h"])
            else:
                self.assertLess(abs(found.hours - route["objective_h"]), 5e-7, route["name"])

    def test_stops(self) -> None:
        """A route's stops and charges are those that are published of it."""
        route = {"route": [0, 40, 12, 33, 38, 16, 0], "start_wh": 8000}
        case = published(VECTORS, route)
        found = must(planned(self, case.trip, case.stations))
        told = [
            (case.stations[stop.station].index, stop.arrive_kwh, stop.depart_kwh)
            for stop in found.stops
        ]
        rounded = [(node, round(a, 5), round(b, 5)) for node, a, b in told]
        self.assertEqual(rounded, [(49, 8.0, 13.74276), (48, 0.0, 8.93061)])

    def test_made(self) -> None:
        """Rising power, waits, reserves, caps, several legs, and none at all: as is published."""
        for each in VECTORS["made"]:
            case = made(each)
            found = planned(self, case.trip, case.stations)
            if each["objective_h"] is None:
                self.assertIsInstance(found, NoPlan, each["name"])
            else:
                self.assertLess(abs(must(found).hours - each["objective_h"]), 1e-8, each["name"])


class GridTests(SynchronousTestCase):
    """Small trips, held against a search that tries every kWh."""

    @settings(max_examples=examples(2000), deadline=None)
    @given(cases())
    def test_time(self, case: Case) -> None:
        """Nothing that charges whole kWh is faster, and what cannot be made there is no plan of."""
        found, wanted = planned(self, case.trip, case.stations), on_grid(case.trip, case.stations)
        if wanted is None:
            self.assertIsInstance(found, NoPlan)
        else:
            self.assertLess(must(found).hours, wanted + 1e-8)
            self.assertEqual(must(found).gap_h, 0.0)

    @settings(max_examples=examples(500), deadline=None)
    @given(cases(), st.sampled_from([0, 1]), st.data())
    def test_any_roads(self, case: Case, least: int, data: st.DataObject) -> None:
        """Nor where roads are no metric, some ways take nothing, and one departs with more than is
        charged up to: but for what is charged at a stop that is for the way alone."""
        nodes = range(len(case.trip.energy_kwh))
        way = st.integers(least, 20) if least else st.sampled_from([0, 0, 1, 5, 9, 14, 20])
        row = st.lists(way, min_size=len(nodes), max_size=len(nodes))
        energy = [
            [kwh * (here != there) for there, kwh in zip(nodes, data.draw(row), strict=True)]
            for here in nodes
        ]
        trip = attrs.evolve(
            case.trip,
            energy_kwh=energy,
            hours=[[kwh / 20 for kwh in row] for row in energy],
            most_kwh=data.draw(st.sampled_from([10, int(case.trip.most_kwh)])),
        )
        found, wanted = planned(self, trip, case.stations), on_grid(trip, case.stations)
        if wanted is not None:
            self.assertLess(must(found).hours, wanted + 1e-5)

    @settings(max_examples=examples(300), deadline=None)
    @given(cases(waits=False, prices=True), st.sampled_from([0.01, 3.0, 20.0, 200.0]))
    def test_money(self, case: Case, value: float) -> None:
        """Nor is anything cheaper, whatever an hour is worth."""
        weights = Weights(value)
        found = planned(self, case.trip, case.stations, weights)
        wanted = on_grid(case.trip, case.stations, value)
        if wanted is None:
            self.assertIsInstance(found, NoPlan)
        else:
            self.assertLess(must(found).cost_h(weights), wanted * (1 + 1e-12) + 1e-8)

    @settings(max_examples=examples(150), deadline=None)
    @given(cases(waits=False, prices=True))
    def test_front(self, case: Case) -> None:
        """A front goes from the fastest plan to the cheapest one, and none of it is dominated."""
        found = front(case.trip, case.stations)
        if not found:
            self.assertIsInstance(plan(case.trip, case.stations), NoPlan)
            return
        for each in found:
            replay(self, case.trip, case.stations, each)
        fastest, cheapest = (must(plan(case.trip, case.stations, each)) for each in (TIME, PRICE))
        self.assertLess(abs(found[0].hours - fastest.hours), 1e-8)
        self.assertLess(abs(found[-1].cost_h(PRICE) - cheapest.cost_h(PRICE)), 1e-6)
        for one, other in pairwise(found):
            self.assertLess(one.hours, other.hours)
            self.assertGreater(one.money, other.money)


class BetterTests(SynchronousTestCase):
    """What can only make a plan better, or leaves it as it is."""

    def best(self, case: Case) -> float:
        found = planned(self, case.trip, case.stations)
        return found.hours if isinstance(found, Plan) else float("inf")

    @settings(max_examples=examples(150), deadline=None)
    @given(cases(), st.integers(1, 5))
    def test_more(self, case: Case, more: int) -> None:
        """More battery, a smaller reserve, an earlier free post, faster posts, a station more: it
        is never slower."""
        trip, stations = case.trip, case.stations
        best = self.best(case) + 1e-9
        charge = min(trip.start_kwh + more, trip.capacity_kwh)
        reserve = max(trip.reserve_kwh - more, 0)
        for better in (
            Case(attrs.evolve(trip, start_kwh=charge), stations),
            Case(attrs.evolve(trip, reserve_kwh=reserve), stations),
            Case(trip, [attrs.evolve(each, free_at_h=0.0) for each in stations]),
            Case(trip, [attrs.evolve(each, charge=faster(each.charge)) for each in stations]),
        ):
            self.assertLessEqual(self.best(better), best)
        self.assertGreaterEqual(self.best(Case(trip, stations[:-1])), best - 2e-9)

    @settings(max_examples=examples(150), deadline=None)
    @given(cases())
    def test_scale(self, case: Case) -> None:
        """In a world where all takes twice as long, so does the plan."""
        trip = attrs.evolve(
            case.trip,
            hours=[[2 * each for each in row] for row in case.trip.hours],
            stays_h=[2 * each for each in case.trip.stays_h],
        )
        stations = [
            attrs.evolve(
                each,
                charge=PiecewiseLinear.of((x, 2 * y) for x, y in each.charge.points),
                stop_h=2 * each.stop_h,
                free_at_h=2 * each.free_at_h,
            )
            for each in case.stations
        ]
        best = self.best(case)
        if best != float("inf"):
            self.assertLess(abs(self.best(Case(trip, stations)) - 2 * best), 1e-8)

    @settings(max_examples=examples(150), deadline=None)
    @given(cases())
    def test_no_stop_too_many(self, case: Case) -> None:
        """Without the stations of any one stop there is no plan, or only a slower one."""
        found = planned(self, case.trip, case.stations)
        for stop in found.stops if isinstance(found, Plan) else ():
            left = [each for at, each in enumerate(case.stations) if at != stop.station]
            self.assertGreater(self.best(Case(case.trip, left)), must(found).hours - 1e-9)

    @settings(max_examples=examples(100), deadline=None)
    @given(cases(), st.integers(0, 40))
    def test_deadline(self, case: Case, asked: int) -> None:
        """Whenever time is up, the best plan lies within the gap that is told."""
        best, left = self.best(case), iter(range(asked))
        found = planned(self, case.trip, case.stations, TIME, lambda: next(left, None) is None)
        if isinstance(found, Plan):
            assert found.gap_h is not None
            self.assertLess(best, found.hours + 1e-8)
            self.assertGreater(best, found.hours - found.gap_h - 1e-8)
        else:
            self.assertEqual(best, float("inf"))


class ManyTests(SynchronousTestCase):
    """Networks so large that few of their stations are tried first."""

    @settings(max_examples=examples(20), deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(-10, 110), st.integers(-30, 30)),
            min_size=65,
            max_size=80,
            unique=True,
        ),
        st.lists(st.tuples(curves(40), st.sampled_from([1.0, 1.5, 2.2])), min_size=4, max_size=4),
        st.sampled_from([TIME, Weights(20.0), PRICE]),
        st.sampled_from([0, 1, None]),
    )
    def test_all_the_same(
        self,
        at: list[tuple[int, int]],
        kinds: list[tuple[PiecewiseLinear, float]],
        weights: Weights,
        asked: int | None,
    ) -> None:
        """The best plan is that of a search among all of them at once; and within the gap, where
        time is up."""
        points = [(0, 0), (100, 0), *at]
        energy = [[math.dist(one, other) for other in points] for one in points]
        stations = [
            PlanStation(2 + n, kinds[n % 4][0], kinds[n % 4][1], stop_h=0.05)
            for n in range(len(at))
        ]
        hours = [[each / 60 for each in row] for row in energy]
        trip = Trip([0, 1], energy, hours, [0.0, 0.0], 30.0, 40.0, 4.0, 4.0, 40.0)
        turns = repeat(0) if asked is None else iter(range(asked))
        found = planned(self, trip, stations, weights, lambda: next(turns, None) is None)
        whole = Search(task_of(trip, stations, weights), range(len(stations)), Best()).run(never)
        if isinstance(found, NoPlan):
            self.assertIsNone(whole.stops)
            return
        assert found.gap_h is not None
        least = found.cost_h(weights) - found.gap_h
        self.assertLess(least, whole.cost + 1e-7)
        self.assertLess(whole.cost, found.cost_h(weights) + 1e-7)

    def test_front_when_time_is_up(self) -> None:
        """A front whose time is up makes no more searches, however many stations there are."""
        count = 400
        charge = PiecewiseLinear.of([(0, 0), (60, 1)])
        places = [(-12.0, -40.5), (-12.0, -30.0)]
        there = [(-12.0 + at % 20 / 10, -40.0 + at // 20 / 2) for at in range(count)]
        stations = [PlanStation(2 + at, charge, 1 + at % 7 / 7) for at in range(count)]
        asked: list[int] = []
        distances = Distances([*places, *there])
        roads = Straight(distances, 0.2)
        trip = Trip([0, 1], roads, Straight(distances, 1 / 80), [0.0] * 2, 24, 60, 6, 6, 60)

        def up(after: int) -> bool:
            asked.append(after)
            return len(asked) > after

        for after in (0, 5, 40):
            asked.clear()
            found = front(trip, stations, lambda after=after: up(after))
            self.assertTrue(found)
            for each in found:
                replay(self, trip, stations, each)
            self.assertLess(len(asked), after + 8)


class TripTests(SynchronousTestCase):
    """Single trips."""

    def on_a_line(self, *stations: PlanStation, km: float = 100.0, **figures: float) -> Case:
        """A trip of `km` of which each takes 1 kWh and a minute; stations are where `index` says,
        and get the numbers of nodes of their own."""
        at = [0.0, km, *(float(each.index) for each in stations)]
        energy = [[abs(here - there) for there in at] for here in at]
        hours = [[kwh / 60 for kwh in row] for row in energy]
        own = [attrs.evolve(each, index=2 + n) for n, each in enumerate(stations)]
        whole = {
            "start_kwh": 40.0,
            "capacity_kwh": 40.0,
            "reserve_kwh": 4.0,
            "arrival_kwh": 4.0,
            "most_kwh": 40.0,
            **figures,
        }
        return Case(Trip([0, 1], energy, hours, [0.0, 0.0], **whole), own)

    @settings(max_examples=examples(200), deadline=None)
    @given(cases())
    def test_direct(self, case: Case) -> None:
        """Who need not stop has the plan of a trip where there is no station, to the last digit."""
        found = plan(case.trip, [])
        self.assertEqual(direct(case.trip), None if isinstance(found, NoPlan) else found)

    def test_within_range(self) -> None:
        """Within range there is no stop."""
        case = self.on_a_line(PlanStation(20, EVEN), km=36.0)
        found = must(planned(self, case.trip, case.stations))
        self.assertEqual((found.stops, found.arrival_kwh), ((), 4.0))

    def test_waypoint(self) -> None:
        """A place on the way, where nobody stays, changes nothing of the whole."""
        stations = [PlanStation(at, EVEN) for at in (22, 47, 66)]
        case = self.on_a_line(*stations, PlanStation(50, EVEN), km=100.0)
        (*stations, waypoint) = case.stations
        trip = attrs.evolve(case.trip, places=[0, waypoint.index, 1], stays_h=[0.0] * 3)
        through, straight = (must(planned(self, each, stations)) for each in (trip, case.trip))
        self.assertAlmostEqual(through.hours, straight.hours, 9)
        self.assertEqual([stop.place for stop in through.stops], [0, 0, 1])

    def test_fewest_stops(self) -> None:
        """Of plans that take as long it is that with the fewest stops."""
        stations = [PlanStation(at, EVEN) for at in (10, 20, 30)]
        case = self.on_a_line(*stations, km=60.0)
        found = must(planned(self, case.trip, case.stations))
        self.assertEqual(len(found.stops), 1)

    def test_first_station(self) -> None:
        """Of stations that are alike it is the first one."""
        case = self.on_a_line(*(PlanStation(30, EVEN) for _ in range(3)), km=60.0)
        found = must(planned(self, case.trip, case.stations))
        self.assertEqual([stop.station for stop in found.stops], [0])

    def test_detour_for_nothing(self) -> None:
        """A station at the departure is used where that is the best, and left once."""
        case = self.on_a_line(PlanStation(0, EVEN), km=36.0, start_kwh=10.0)
        found = must(planned(self, case.trip, case.stations))
        self.assertEqual(len(found.stops), 1)
        self.assertAlmostEqual(found.stops[0].depart_kwh, 40.0)

    def test_no_charge_over_most(self) -> None:
        """Who arrives with more than may be left with does not stop, but may later."""
        fast = PiecewiseLinear.of([(0, 0), (40, 0.1)])
        case = self.on_a_line(PlanStation(5, fast), PlanStation(30, EVEN), km=55.0, most_kwh=30.0)
        found = must(planned(self, case.trip, case.stations))
        self.assertEqual([stop.station for stop in found.stops], [1])

    def test_wait_of_money(self) -> None:
        """Where money counts a wait is never left out, and the gap is not told."""
        near = PlanStation(25, EVEN, 1.0, free_at_h=5.0)
        far = PlanStation(30, EVEN, 2.0)
        case = self.on_a_line(near, far, km=60.0)
        dear = must(planned(self, case.trip, case.stations, Weights(1000.0)))
        self.assertEqual(([stop.station for stop in dear.stops], dear.gap_h), ([1], None))
        cheap = must(planned(self, case.trip, case.stations, PRICE))
        self.assertEqual([stop.station for stop in cheap.stops], [0])
        self.assertGreater(cheap.stops[0].wait_h, 4.0)

    def test_blocked(self) -> None:
        """Where a leg cannot be made it is told which, and what is missing on it."""
        case = self.on_a_line(PlanStation(30, EVEN), km=100.0)
        trip = attrs.evolve(case.trip, places=[0, 0, 1], stays_h=[0.0] * 3)
        self.assertEqual(planned(self, trip, case.stations), NoPlan(1, 34.0))

    def test_no_metric(self) -> None:
        """Where straight roads are the longer ones, what is found is no worse than the grid's."""
        case = self.on_a_line(PlanStation(20, EVEN), PlanStation(40, EVEN), km=60.0)
        energy = [list(row) for row in case.trip.energy_kwh]
        hours = [list(row) for row in case.trip.hours]
        energy[2][3], hours[2][3] = 5.0, 0.1
        energy[0][1], hours[0][1] = 90.0, 1.5
        trip = attrs.evolve(case.trip, energy_kwh=energy, hours=hours)
        wanted = on_grid(trip, case.stations)
        assert wanted is not None
        self.assertLess(must(planned(self, trip, case.stations)).hours, wanted + 1e-8)

    def test_way_over_a_station(self) -> None:
        """Where the way over a station is the shorter one, something is charged at that stop."""
        case = self.on_a_line(PlanStation(20, EVEN), PlanStation(22, EVEN), km=30.0)
        hours = [list(row) for row in case.trip.hours]
        hours[0][1] = 5.0
        trip = attrs.evolve(case.trip, hours=hours)
        found = must(planned(self, trip, case.stations))
        self.assertEqual(len(found.stops), 1)
        self.assertLess(found.hours, 0.51)

    def test_wrong_figures(self) -> None:
        """A trip that cannot be meant is refused in words."""
        case = self.on_a_line()
        for wrong in ({"places": [0]}, {"stays_h": [0.0]}, {"most_kwh": 4.0}, {"most_kwh": 50.0}):
            with self.assertRaisesRegex(ValueError, "must"):
                attrs.evolve(case.trip, **wrong)
        for curve in (PiecewiseLinear.of([(0, 0), (39, 1)]), PiecewiseLinear.of([(1, 0), (40, 1)])):
            with self.assertRaisesRegex(ValueError, "node 2 must go from 0 to most_kwh, 40"):
                plan(case.trip, [PlanStation(2, curve)])
        with self.assertRaisesRegex(ValueError, "value_of_hour must be more than 0, not 0"):
            Weights(0.0)
