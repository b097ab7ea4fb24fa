"""What a driver is told of a trip: from the reply alone it can be driven again."""

import math
import pickle
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.evse import Evse, EvseStatus, kind_of_row
from evcharge.models.slots import SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.terms import DEFAULT_TERMS
from evcharge.planning.itinerary import assumptions, tell
from evcharge.planning.planner import CRITERIA, Asked, Matrix, solve, straight
from evcharge.planning.sites import Look, sites
from evcharge.planning.trips import never
from evcharge.testing import NOON
from tests.support.examples import examples, given
from tests.support.retold import retold
from tests.support.selection import CARS, TARIFFS, states

FEIRA, SALVADOR = (-12.2664, -38.9663), (-12.9714, -38.5014)


def a_station(number: int, place: tuple[float, float], *names: str, kw: float = 100.0) -> Station:
    """A station with an EVSE that has connectors of those names."""
    return Station(number, f"P{number}", "", *place, 1, kw, Decimal("2.00"), names)


def idle(*stations: Station) -> list[StationState]:
    """Stations where nobody is."""
    return [
        StationState.of(each, SlotTable(each.station_id, each.max_slots).at(each))
        for each in stations
    ]


TESLA = CARS["Tesla Model 3"]
LOOK = Look(TESLA, NOON, DEFAULT_TERMS, TARIFFS)


def asked_with(there: Sequence[StationState], look: Look = LOOK, **more: Any) -> Asked:
    """A trip from Feira to Salvador, or another one, with stations."""
    asked = Asked(look.model, 40.0, [FEIRA, SALVADOR])
    asked = attrs.evolve(asked, **more)
    found = sites(look, there, asked.places[0], asked.hours_per_km)
    return attrs.evolve(asked, sites=found)


class PickledTests(SynchronousTestCase):
    """What planners are told of stations."""

    @given(states())
    def test_states(self, state: StationState) -> None:
        """A station in another process has all that it has here, and so has who is there."""
        statuses = {
            evse.uid: EvseStatus("BLOCKED", "2026-01-01T00:00:00Z")
            for evse in state.station.evses[:1]
        }
        station = attrs.evolve(state.station, address="A", time_zone="UTC", statuses=statuses)
        for one in (
            StationState.of(station, state.slots or SlotTable(station.station_id, 1)),
            attrs.evolve(state, station=station, slots=None),
        ):
            other = pickle.loads(pickle.dumps(one))
            self.assertEqual((one, one.slots), (other, other.slots))
            for field in attrs.fields(Station):
                of_both = [getattr(each.station, field.name) for each in (one, other)]
                self.assertEqual(*of_both, field.name)


class SolveTests(SynchronousTestCase):
    """Trips by the stations of a network."""

    @settings(max_examples=examples(300), deadline=None)
    @given(
        st.lists(states(), max_size=8, unique_by=lambda state: state.station.station_id),
        st.data(),
    )
    def test_told(self, network: list[StationState], data: st.DataObject) -> None:
        """What is told of a plan is so, whatever the stations have, and whoever is there."""
        model = CARS[data.draw(st.sampled_from(sorted(CARS)))]
        near = st.floats(-1.0, 1.0).map(lambda x: round(x, 3))
        places = data.draw(st.lists(st.tuples(near, near), min_size=2, max_size=4))
        there = [
            attrs.evolve(
                state,
                station=attrs.evolve(
                    state.station, latitude=data.draw(near), longitude=data.draw(near)
                ),
            )
            for state in network
        ]
        look = attrs.evolve(LOOK, model=model, waits=data.draw(st.booleans()))
        asked = asked_with(
            there,
            look,
            places=places,
            battery_percent=data.draw(st.sampled_from([15.0, 30.0, 55.0])),
            criterion=data.draw(st.sampled_from(CRITERIA)),
            stays_minutes=data.draw(st.sampled_from([(), tuple(range(len(places)))])),
            arrival_percent=data.draw(st.sampled_from([None, 0.0, 50.0])),
            max_percent=data.draw(st.sampled_from([80.0, 100.0])),
        )
        found = pickle.loads(pickle.dumps(solve(pickle.loads(pickle.dumps(asked)), never)))
        self.assertEqual(bool(found.plans), found.why is None)
        by_id = {state.station.station_id: state for state in there}
        by_key = {state.station.key: state for state in there}
        for plan in found.plans:
            told = tell(asked, found, plan, look, by_id)
            retold(self, asked, told.plan, by_key)
            for stop in told.plan["stops"]:
                if not look.waits:
                    self.assertEqual(stop["wait_minutes"], 0)
        if len(found.plans) == 1 and not found.plans[0].stops:
            direct = straight(asked)
            assert direct is not None
            self.assertEqual(direct.plans, found.plans)

    def test_knots(self) -> None:
        """However coarse the search's lines are, the exact plan is no more than twice the error
        of each stop dearer than with fine ones."""
        there = idle(*(a_station(n, (-12.3 - n / 10, -38.9), "CCS2") for n in range(1, 6)))
        far = [FEIRA, (-14.0, -38.9)]
        totals = {}
        for error_s in (0.1, 60.0):
            look = attrs.evolve(LOOK, error_s=error_s)
            asked = asked_with(there, look, places=far)
            found = solve(asked, never)
            by_id = {state.station.station_id: state for state in there}
            told = tell(asked, found, found.plans[0], look, by_id).plan
            totals[error_s] = told["total_minutes"], len(told["stops"])
        fine, coarse = totals[0.1], totals[60.0]
        self.assertGreaterEqual(coarse[0], fine[0] - 0.2 / 60 * fine[1])
        self.assertLessEqual(coarse[0], fine[0] + 2 * (fine[1] + coarse[1]))

    def test_direct_current(self) -> None:
        """A car that has a fast connector is not sent to a slow post for the sake of the price,
        unless nothing else carries."""
        slow = a_station(1, (-12.4, -38.9), "Type 2", kw=22.0)
        fast = a_station(2, (-12.4, -38.8), "CCS2", "Type 2")
        found = solve(asked_with(idle(slow, fast), criterion="price"), never)
        self.assertEqual([site.station_id for site in found.sites], [2])
        found = solve(asked_with(idle(slow)), never)
        self.assertEqual(len(found.plans[0].stops), 1)
        leaf = attrs.evolve(LOOK, model=CARS["Nissan Leaf"])
        (site,) = sites(leaf, idle(fast), FEIRA, 0.01)
        self.assertFalse(site.is_dc)

    def test_slow_and_cheap(self) -> None:
        """Nobody pays more for a fast post far off than for the fastest plan of all, by a slow one
        on the way; and the front's cheapest plan is that of the price."""
        slow = a_station(1, (-12.6, -38.74), "Type 2", kw=22.0)
        far = a_station(2, (-12.3, -39.6), "CCS2")
        told = {}
        for criterion in ("time", "price", "front"):
            asked = asked_with(idle(slow, far), criterion=criterion)
            found = solve(asked, never)
            told[criterion] = found.plans[-1]
            self.assertEqual(
                [found.sites[stop.station].station_id for stop in found.plans[-1].stops], [1]
            )
        for each in told.values():
            self.assertEqual((each.hours, each.money), (told["time"].hours, told["time"].money))
        self.assertEqual(told["price"].gap_h, 0.0)

    def test_slow_on_the_way(self) -> None:
        """A fast post far off the way does not take a slow one on it away: a station more makes
        no plan slower, and the front begins with the fastest one."""
        slow = a_station(1, (-12.6, -38.74), "Type 2", kw=22.0)
        far = a_station(2, (-12.3, -39.6), "CCS2")
        near = a_station(3, (-12.6, -38.76), "CCS2")
        for criterion in ("time", "balanced", "front"):
            best, stops = math.inf, []
            for there in ([slow], [slow, far], [slow, far, near]):
                asked = asked_with(idle(*there), criterion=criterion)
                found = solve(asked, never)
                first = found.plans[0]
                cost = first.cost_h(asked.weights)
                self.assertLessEqual(cost, best + 1e-9, criterion)
                best = cost
                stops.append([found.sites[stop.station].station_id for stop in first.stops])
                self.assertEqual(first.gap_h, 0.0)
                hours = [each.hours for each in found.plans]
                self.assertEqual(hours, sorted(hours))
            self.assertEqual(stops, [[1], [1], [3]])
            self.assertEqual([site.station_id for site in found.sites], [2, 3])

    def test_cheap_off_the_way(self) -> None:
        """Where a slow post on the way is the fastest, the front ends with the cheapest plan all
        the same, though that was the only one among fast posts."""
        slow = a_station(1, (-12.6, -38.74), "Type 2", kw=22.0)
        cheap = attrs.evolve(a_station(2, (-12.3, -39.6), "CCS2"), price_kwh=Decimal("0.10"))
        asked = asked_with(idle(slow, cheap))
        found, (last,) = (
            solve(attrs.evolve(asked, criterion=criterion), never).plans
            for criterion in ("front", "price")
        )
        self.assertEqual([len(each.stops) for each in found], [1, 1])
        self.assertLess(found[0].hours, last.hours)
        self.assertEqual((found[-1].hours, found[-1].money), (last.hours, last.money))
        self.assertEqual(len(solve(asked, never).plans), 1)

    def test_time_is_up(self) -> None:
        """Where time is up before it is known what would help that is said, and so for a matrix
        that was not looked through."""
        there = idle(a_station(1, (-12.6, -38.9), "CCS2"))
        asked = asked_with(there, places=[FEIRA, (-16.6, -38.9)])
        self.assertNotIn("search_time", assumptions(asked, solve(asked, never)))
        found = solve(asked, lambda: True)
        assert found.why is not None
        self.assertGreater(found.why.missing_km, 0)
        self.assertIn("search_time", assumptions(asked, found))
        km = [[0.0, 200.0, 60.0], [200.0, 0.0, 140.0], [60.0, 140.0, 0.0]]
        asked = asked_with(there, matrix=Matrix(km, km, [1]))
        self.assertEqual(assumptions(asked, solve(asked, never)), ["consumption"])
        found = solve(asked, lambda: True)
        self.assertEqual(len(found.plans), 1)
        self.assertIn("matrix_triangle", assumptions(asked, found))

    def test_out_of_service(self) -> None:
        """Where no EVSE is in service nobody stops; nor where the driver does not want to."""
        there = idle(a_station(1, (-12.4, -38.9), "CCS2"))
        self.assertEqual(len(sites(LOOK, there, FEIRA, 0.01)), 1)
        self.assertEqual(sites(LOOK, there, FEIRA, 0.01, ["1"]), [])
        broken = Evse("1-1", kind_of_row(["CCS2"], 100.0), "OUTOFORDER")
        station = attrs.evolve(there[0].station, own_evses=(broken,))
        self.assertEqual(sites(LOOK, idle(station), FEIRA, 0.01), [])

    def test_tariffs(self) -> None:
        """What a kWh, an hour and a stop cost is what the tariff says where one gets there."""
        for tariff, wanted in (
            (None, (2.0, 0, 0)),
            ("flat", (1.5, 0, 0)),
            ("start", (1.5, 0, 3)),
        ):
            station = attrs.evolve(a_station(1, FEIRA, "CCS2"), tariff_id=tariff)
            (site,) = sites(LOOK, idle(station), FEIRA, 0.01)
            found = site.price_kwh, site.price_hour, site.fee
            for told, is_so in zip(found, wanted, strict=True):
                self.assertAlmostEqual(told, is_so, 9, (tariff, found))
        station = attrs.evolve(a_station(1, FEIRA, "CCS2"), tariff_id="hour")
        (site,) = sites(LOOK, idle(station), FEIRA, 0.01)
        self.assertEqual((site.price_kwh, site.fee), (0, 0))
        self.assertTrue(9 <= site.price_hour < 9.6, site)
        station = attrs.evolve(a_station(1, FEIRA, "CCS2"), tariff_id="night")
        (site,) = sites(LOOK, idle(station), FEIRA, 0.01)
        self.assertTrue(1.21 <= site.price_kwh <= 1.5, site)

    def test_both_prices(self) -> None:
        """Where the exact price is another one than that of the search both are told."""
        station = attrs.evolve(a_station(1, (-12.4, -38.9), "CCS2"), tariff_id="start")
        there = idle(station)
        asked = asked_with(there)
        found = solve(asked, never)
        told = tell(asked, found, found.plans[0], LOOK, {1: there[0]})
        self.assertIn("tariff_time", told.assumed)
        self.assertEqual(told.plan["price"], 30.0)
        self.assertLess(told.plan["searched_price"], 30.0)

    def test_matrix(self) -> None:
        """Another program's roads take the place of straight lines; where they are no metric it is
        said."""
        there = idle(a_station(7, (-12.4, -38.9), "CCS2"))
        km = [[0.0, 200.0, 60.0], [200.0, 0.0, 140.0], [60.0, 140.0, 0.0]]
        minutes = [[1.5 * each for each in row] for row in km]
        asked = asked_with(there, matrix=Matrix(km, minutes, [7]))
        found = solve(asked, never)
        (plan,) = found.plans
        self.assertAlmostEqual(plan.drive_h * 60, 300)
        told = tell(asked, found, plan, LOOK, {7: there[0]})
        self.assertEqual([leg["distance_km"] for leg in told.plan["legs"]], [60.0, 140.0])
        self.assertEqual(assumptions(asked, found), ["consumption"])
        km[0][1] = 250.0
        asked = asked_with(there, matrix=Matrix(km, minutes, [7]))
        self.assertIn("matrix_triangle", assumptions(asked, solve(asked, never)))

    @settings(max_examples=examples(60), deadline=None)
    @given(st.integers(0, 40), st.integers(0, 50), st.none() | st.integers(0, 60))
    def test_why_not(self, battery: int, reserve: int, arrival: int | None) -> None:
        """What would help is the least that helps, by whole per cents."""
        there = idle(a_station(1, (-12.6, -38.9), "CCS2"), a_station(2, (-13.6, -38.9), "CCS2"))
        asked = asked_with(
            there,
            places=[FEIRA, (-14.6, -38.9)],
            battery_percent=float(battery),
            reserve_percent=float(reserve),
            arrival_percent=None if arrival is None else float(arrival),
        )

        def has(**more: float) -> bool:
            return solve(attrs.evolve(asked, **more), never).why is None

        why = solve(asked, never).why
        if why is None:
            return
        needed = [p for p in range(battery + 1, 101) if has(battery_percent=p)]
        self.assertEqual(why.start_percent_needed, min(needed, default=None))
        possible = [p for p in range(reserve) if has(reserve_percent=p)]
        self.assertEqual(why.reserve_percent_possible, max(possible, default=None))
        self.assertGreater(why.missing_km, 0)

    def test_wait(self) -> None:
        """Where money counts and one may have to wait it is said that this is not exact."""
        there = idle(a_station(1, (-12.4, -38.9), "CCS2"))
        asked = asked_with(there, criterion="price")
        self.assertNotIn("wait", assumptions(asked, solve(asked, never)))
        late = [attrs.evolve(site, free_at_h=3.0) for site in asked.sites]
        asked = attrs.evolve(asked, sites=late)
        self.assertIn("wait", assumptions(asked, solve(asked, never)))
