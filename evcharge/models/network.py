"""A network as a whole: its stations, in service or not, the car models and the tariffs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from evcharge.models.station import Station


@attrs.frozen
class StationRecord:
    """A station as it is kept."""

    station: Station
    """With the slots that it has in truth, whatever its row of the CSV says; -1, where that is not
    known."""
    in_service: bool
    other_columns: Mapping[str, str]
    """The cells of its CSV row that evcharge has no use for, by column; all of them, where the row
    is wrong."""
    wrong_evses: Any = None
    """What `evses.json` has of it, where that is wrong: it is out of service until it is put
    right. None: nothing is wrong."""

    @property
    def is_unread(self) -> bool:
        """Whether its row is wrong: the station is then known as far as that can be read."""
        return not self.in_service and "id" in self.other_columns

    @property
    def is_usable(self) -> bool:
        """Whether drivers may be sent there."""
        return self.in_service and self.wrong_evses is None

    @property
    def is_gone(self) -> bool:
        """Whether there is nothing of it but who still stands there."""
        return not (self.in_service or self.station.name or self.other_columns)

    def gone(self) -> StationRecord:
        """What is kept of it while somebody stands there, when it is gone."""
        slots = max(0, self.station.max_slots)
        return StationRecord(Station(self.station.station_id, "", "", 0.0, 0.0, slots), False, {})


@attrs.frozen
class Network:
    """What a storage knows of the network, or is to know."""

    car_models: Mapping[str, Any]
    """The facts of each model by its name, in the catalogue's order."""
    stations: Mapping[int, StationRecord]
    """By id."""
    tariffs: Sequence[Any] = ()
    """OCPI 2.2.1 Tariff objects, in their order; those that cannot be used, as they are."""
