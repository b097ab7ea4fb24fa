"""Which stations come first: those that would if every one of them had been looked at closely."""

from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.evse import Connector, Evse, EvseKind
from evcharge.models.slots import SlotTable, StationState
from evcharge.models.station import Station
from evcharge.models.terms import DEFAULT_TERMS
from evcharge.planning.selection import CRITERIA, Candidate, rank_stations
from evcharge.testing import NOON
from tests.support.examples import examples, given
from tests.support.selection import CARS, TARIFFS, states


def figure(criterion: str, found: Candidate) -> Any:
    """What a candidate is compared by, of what is said of it."""
    total = found.travel_s + found.wait_s + found.plan.seconds
    if criterion == "distance":
        is_full = not found.fitting_slots
        return is_full, round(total, 3) if is_full else 0
    return round(total, 3) if criterion == "time" else (not found.fitting_slots, found.price)


class OrderTests(SynchronousTestCase):
    """The order of stations."""

    @settings(max_examples=examples(100), deadline=None)
    @given(
        st.lists(
            st.tuples(states(), st.floats(0, 250)),
            max_size=12,
            unique_by=lambda pair: pair[0].station.station_id,
        ),
        st.sampled_from(sorted(CARS)),
        st.floats(0, 100),
        st.floats(1, 100),
        st.sampled_from(sorted(CRITERIA)),
    )
    def test_as_one_by_one(
        self, network: list, name: str, percent: float, target: float, criterion: str
    ) -> None:
        """The best are those that are, asked about one by one; each of the others is counted."""
        car = ElectricCar.charged_to(CARS[name], percent)

        def rank(pairs: list, most: int) -> Any:
            return rank_stations(car, target, pairs, criterion, TARIFFS, NOON, DEFAULT_TERMS, most)

        alone = [found for pair in network for found in rank([pair], 1).candidates]
        best = rank(network, 5)
        self.assertEqual(
            [figure(criterion, found) for found in best.candidates],
            sorted(figure(criterion, found) for found in alone)[:5],
        )
        for found in best.candidates:
            self.assertIn(found, alone)
        out = best.excluded
        counted = out.out_of_range + out.no_connector + out.not_in_service
        self.assertEqual(counted + len(alone), len(network))

    def test_smallest_uid(self) -> None:
        """Of EVSEs as good it is the smallest uid that is meant, wherever it stands in the file."""
        plugs = [Connector("1", name, None, power_type="DC") for name in ("A", "B")]
        own = (Evse("10", EvseKind((plugs[0],), 50.0)), Evse("2", EvseKind((plugs[1],), 50.0)))
        station = attrs.evolve(Station(1, "P", "R", 0, 0, 2), own_evses=own)
        state = StationState.of(station, SlotTable(1, 2))
        car = ElectricCar.charged_to(CarModel("", "", 40.0, 0.15, 150.0), 20)
        for criterion in CRITERIA:
            (found,) = rank_stations(
                car, 80, [(state, 1)], criterion, {}, NOON, DEFAULT_TERMS, 5
            ).candidates
            self.assertEqual(found.plan.plug.connector, plugs[1])

    def test_as_long(self) -> None:
        """What takes as long, in other pieces, is as long: it goes by the id."""
        curve = ((0.0, 100.0), (13.7, 100.0), (61.3, 90.0), (100.0, 90.0))
        model = CarModel("", "", 50.1, 0.15, 150.0, 22.0, None, 3, dc_curve=curve)
        for names in (("CCS2", "Type 2"), ("Type 2", "CCS2")):
            network = []
            for number, name in enumerate(names, 1):
                station = Station(number, "P", "R", 0, 0, 1, 22.0, None, (name,))
                network.append((StationState.of(station, SlotTable(number, 1)), 0.0))
            for percent in range(1, 80):
                car = ElectricCar.charged_to(model, percent)
                best = rank_stations(
                    car, 80, network, "time", {}, NOON, DEFAULT_TERMS, 5
                ).candidates
                ids = [found.state.station.station_id for found in best]
                self.assertEqual(ids, [1, 2], f"{names} from {percent} %")
