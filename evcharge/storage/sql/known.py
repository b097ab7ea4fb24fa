"""What a process knows of a database between two batches."""

from __future__ import annotations

import attrs

from evcharge.models.receipts import Receipt
from evcharge.storage.records import Records
from evcharge.storage.sql.network import Network
from evcharge.storage.sql.used import UsedTariffs

MOST_PASSED = 3
"""How often sweeps pass over a user whom others have locked, before one waits for that."""


@attrs.define
class Known:
    """What a process knows of a database between two batches."""

    records: Records
    """Where the process is alone: all but users, of whom there may be too many. Else the clocks,
    and the states of the stations as they were listed."""
    network: Network = attrs.field(factory=lambda: Network(version=-1))
    looked_at: float = float("-inf")
    """When it was seen that this is the network, in the storage's own seconds."""
    listed_at: float = float("-inf")
    """When the states were listed, likewise."""
    listed_version: int = -1
    """Of the network whose stations were listed."""
    occupied: set[int] = attrs.field(factory=set)
    """Stations where vehicles stood when they were listed, where the process is not alone."""
    leaving: dict[str, Receipt | None] = attrs.field(factory=dict)
    """Users whose removal was to be committed when the connection was lost, each with the receipt
    of the session that ended, if one did."""
    used: UsedTariffs = attrs.field(factory=UsedTariffs)
    """The tariffs of sessions and receipts, as far as they were met with."""
    passed: dict[str, int] = attrs.field(factory=dict)
    """Users whose session is over, and how often sweeps have passed over it."""

    def passed_often(self) -> set[str]:
        """Users whom sweeps have passed over too often: the next one waits until it has them."""
        often = {user_id for user_id, times in self.passed.items() if times >= MOST_PASSED}
        for user_id in often:
            # Where it waits in vain, others go on before the next one does.
            del self.passed[user_id]
        return often
