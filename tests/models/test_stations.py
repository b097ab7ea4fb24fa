"""The stations in service as a whole."""

from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.slots import StationState
from evcharge.models.stations import Stations
from tests.support.journey import station


class StationsTests(SynchronousTestCase):
    """Their states, and what becomes of them."""

    def test_order(self) -> None:
        """They are in the order of their ids, as numbers, and stay in it as they change."""
        stations = Stations(StationState(station(number), 1, 1) for number in (10, 9, 101))
        stations.put(StationState(station(10), 1, 0))
        self.assertEqual([state.station.station_id for state in stations], [9, 10, 101])
        self.assertEqual(len(stations), 3)

    def test_live(self) -> None:
        """A state that is put is seen by its id, as text, and by whoever follows."""
        stations = Stations([StationState(station(7), 1, 1)])
        before, after = stations.follow(), StationState(station(7), 1, 0)
        stations.put(after)
        self.assertIs(stations.get("7"), after)
        self.assertIsNone(stations.get("07"))
        self.assertEqual(before, {"7": after})
        self.assertEqual(stations.follow(), {})

    def test_others(self) -> None:
        """A station that is not among them is not put there."""
        with self.assertRaises(KeyError):
            Stations().put(StationState(station(7), 1, 1))
