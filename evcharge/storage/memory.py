"""A storage that keeps nothing but what is in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from evcharge.models.catalogue import Catalogue
from evcharge.models.network import Network, StationRecord
from evcharge.models.receipts import Payment, Receipt
from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.models.tariffs import Tariff
from evcharge.models.user import User
from evcharge.rules.events import Event, NetworkChanged, PaymentListed, ReceiptIssued
from evcharge.rules.operation import Due, History, Needs, Operation
from evcharge.rules.view import View
from evcharge.storage import Listener, Summary
from evcharge.storage.due import claim
from evcharge.storage.execute import execute
from evcharge.storage.records import Records

R = TypeVar("R")


class MemoryStorage:
    """
    A storage that forgets: for tests.

    :param car_models: the facts of each model by its name.
    :param stations: those in service.
    :param tariffs: by id.
    """

    patience_s = 30.0

    def __init__(
        self,
        car_models: Mapping[str, Mapping[str, Any]] | None = None,
        stations: Sequence[Station] = (),
        tariffs: Mapping[str, Tariff] | None = None,
    ) -> None:
        self._network = Network(
            car_models or {},
            {station.station_id: StationRecord(station, True, {}) for station in stations},
            tuple(tariff.body for tariff in (tariffs or {}).values()),
        )
        self.records = Records()
        self.records.catalogue = Catalogue(car_models or {}, tariffs or {})
        self.receipts: dict[str, Receipt] = {}
        """Those that were issued, by id."""
        self.payments: list[Payment] = []
        """All that were listed."""
        self.listeners: list[Listener] = []
        self._lock = threading.Lock()
        self.records.put_stations(
            (station, SlotTable(station.station_id, station.max_slots)) for station in stations
        )

    def open(self, now: float) -> Summary:
        return Summary(stations=len(self.records.states), users=len(self.records.users))

    def close(self) -> None:
        pass

    def interrupt(self) -> None:
        """Nothing here waits for another machine."""

    def catalogue(self) -> Catalogue:
        return self.records.catalogue

    def recall(self, operation: Operation[R]) -> R | None:
        return self.records.recall(operation)

    def users(self) -> Sequence[User]:
        return tuple(self.records.users.values())

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        with self._lock:
            return execute(self, operations)

    # As a store, and a transaction of it

    def transaction(self, write: bool) -> AbstractContextManager[MemoryStorage]:
        return nullcontext(self)

    def load(self, needs: Needs) -> View:
        view = self.records.load(needs)
        if needs.network:
            view.know_network(self._network, self.records.taken(), self.records.waiting())
        for receipt_id in needs.receipts:
            if receipt_id in self.receipts:
                view.receipts[receipt_id] = self.receipts[receipt_id]
        for asked in needs.histories:
            view.histories[asked] = self._history(asked)
        return view

    def _history(self, asked: History) -> Sequence[Receipt]:
        found = [
            receipt
            for receipt in self.receipts.values()
            if receipt.driver_id == asked.driver_id
            and (asked.before is None or receipt.receipt_id < asked.before)
        ]
        found.sort(key=lambda receipt: receipt.receipt_id, reverse=True)
        return found[: asked.most]

    def claim(self, view: View, due: Due) -> None:
        claim(self.records, view, due)

    def save(self, events: Sequence[Event]) -> Mapping[int, Exception]:
        return {}

    def apply(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, NetworkChanged):
                self._network = event.after
            elif isinstance(event, ReceiptIssued):
                self.receipts[event.receipt.receipt_id] = event.receipt
            elif isinstance(event, PaymentListed):
                self.payments.append(event.payment)
        self.records.apply(events)
