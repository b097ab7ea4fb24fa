"""Changing the network itself: its car models, stations and tariffs, while drivers go on."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from evcharge.models.catalogue import Catalogue
from evcharge.models.network import Network
from evcharge.rules.events import WITHDRAWN
from evcharge.rules.operation import Needs, Operation
from evcharge.rules.view import View


@attrs.define
class FindCatalogue(Operation[Catalogue]):
    """The cars that drivers can choose, and the tariffs, not more than a second old."""

    def add_needs(self, needs: Needs) -> None:
        needs.catalogue = True

    def decide(self, view: View) -> Catalogue:
        return view.catalogue()


@attrs.frozen
class NetworkChange:
    """The network before and after, which may be the same."""

    before: Network
    after: Network


@attrs.define
class ChangeNetwork(Operation[NetworkChange]):
    """
    Have another network, in one step. Who stands at a station goes on standing there; who waits
    at one that is in service no more waits no longer.

    One that has fewer slots than vehicles takes nobody until enough have left. One that is not in
    the new network any more is out of service at once, and is gone when it is empty: until then it
    is kept as one without a name.
    """

    change: Callable[[Network], Network]
    """The network that there is -> the one that there is to be; pure."""
    now: float = 0.0
    """Seconds since the epoch, for those who hear of it."""

    def add_needs(self, needs: Needs) -> None:
        needs.write = needs.network = True

    def decide(self, view: View) -> NetworkChange:
        before = view.network()
        wanted = self.change(before)
        stations = dict(wanted.stations)
        for station_id, record in before.stations.items():
            if view.taken(station_id):
                stations.setdefault(station_id, record.gone())
            elif record.is_gone and stations.get(station_id) == record:
                del stations[station_id]
        after = Network(wanted.car_models, dict(sorted(stations.items())), wanted.tariffs)
        if after != before:
            view.change_network(after, self.now)
            for station_id in before.stations:
                there = after.stations.get(station_id)
                if there is None or not there.in_service:
                    for place in list(view.line(station_id)):
                        view.leave_line(place, self.now, WITHDRAWN)
        return NetworkChange(before, after)
