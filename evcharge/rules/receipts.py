"""Receipts, and those of sessions that go on."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from evcharge.models.receipts import Receipt
from evcharge.models.session import ChargingSession
from evcharge.models.slots import Book
from evcharge.outcomes import RECEIPT_NOT_FOUND, Refusal
from evcharge.rules.operation import History, Needs, Operation
from evcharge.rules.view import View

NO_RECEIPT = Refusal(RECEIPT_NOT_FOUND)


@attrs.define
class FindReceipt(Operation[Receipt | tuple[ChargingSession, Book] | Refusal]):
    """
    A receipt, or the session that is to have it, with its station's book. Refused: there is
    neither.
    """

    receipt_id: str

    def add_needs(self, needs: Needs) -> None:
        needs.receipts.add(self.receipt_id)

    def decide(self, view: View) -> Receipt | tuple[ChargingSession, Book] | Refusal:
        found = view.issued.get(self.receipt_id) or view.receipt(self.receipt_id)
        return NO_RECEIPT if found is None else found


@attrs.define
class ListReceipts(Operation[Collection[Receipt]]):
    """The receipts of a driver that have been issued, the newest first, by their ids."""

    driver_id: str
    most: int
    before: str | None = None
    """Those before this receipt; None: from the newest on."""

    @property
    def asked(self) -> History:
        """What is asked for."""
        return History(self.driver_id, self.most, self.before)

    def add_needs(self, needs: Needs) -> None:
        needs.histories.add(self.asked)

    def decide(self, view: View) -> Collection[Receipt]:
        return view.history(self.asked)
