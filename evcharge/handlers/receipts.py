"""RECEIPT: what one session came to. HISTORY: the receipts of a driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.receipts import Receipt, receipt_at
from evcharge.models.session import ChargingSession
from evcharge.models.slots import Book
from evcharge.outcomes import Reply
from evcharge.rules import receipts as rules
from evcharge.storage import Eventual
from evcharge.wire.fields import Data, Field, Integer, Text

MOST_RECEIPTS = 50
"""The most that one reply carries."""

USUAL_RECEIPTS = 20

RECEIPT_ID = Field("receipt_id", Text(1))
DRIVER_ID = Field("driver_id", Text(1))


class FindReceipt(Handler):
    """Answers RECEIPT."""

    TYPE = "RECEIPT"
    FIELDS = (RECEIPT_ID,)

    def handle(self, receipt_id: str) -> Eventual[Answer]:
        return then(self.context.perform(rules.FindReceipt(receipt_id)), self._reply)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"receipt_id": RECEIPT_ID.repeated(data)}

    def _reply(self, found: Receipt | tuple[ChargingSession, Book]) -> Answer:
        receipt: Receipt | None
        if isinstance(found, Receipt):
            receipt = found
        else:
            session, book = found
            receipt = receipt_at(session, self.context.now(), book.station, self.context.terms)
        return rules.NO_RECEIPT if receipt is None else Reply(dict(receipt.body))


class History(Handler):
    """Answers HISTORY."""

    TYPE = "HISTORY"
    FIELDS = (
        DRIVER_ID,
        Field("limit", Integer(1, MOST_RECEIPTS), optional=True),
        Field("before", Text(1), optional=True),
    )

    def handle(
        self, driver_id: str, limit: int = USUAL_RECEIPTS, before: str | None = None
    ) -> Eventual[Answer]:
        # One more than is told shows whether there are more.
        asked = rules.ListReceipts(driver_id, limit + 1, before)
        return then(self.context.perform(asked), self._reply, limit)

    def on_failure(self, data: Data) -> dict[str, Any]:
        return {"driver_id": DRIVER_ID.repeated(data)}

    def _reply(self, receipts: Sequence[Receipt], limit: int) -> Reply:
        shown = [receipt.body for receipt in receipts[:limit]]
        return Reply({"receipts": shown, "more": len(receipts) > limit})
