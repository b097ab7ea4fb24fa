"""What a sweep claims of the records in memory: what is due, and those whose turn it is."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, TypeVar

from evcharge.rules.operation import Due
from evcharge.rules.view import View
from evcharge.rules.waiting import next_offer
from evcharge.storage.records import Records

Entry = TypeVar("Entry", bound=tuple[Any, ...])

MayEnd = Callable[[str], bool]
"""Whether what a user, by id, has may end now."""


def anybody(user_id: str) -> bool:
    """What anybody has may end."""
    return True


def claim(records: Records, view: View, due: Due, may_end: MayEnd = anybody) -> None:
    """
    Add to `view` what is due.

    It stays in the heaps, and is dropped from there when it is found to have ended: so nothing is
    to be put back where it cannot be.
    """
    by_s = records.clocks.moved(due.clock)
    claim_ends(records, view, due.now + by_s, due.most, may_end)
    _claim_logins(records, view, due.logged_in_before + by_s, due.most, may_end)


def claim_ends(
    records: Records, view: View, now: float, most: int, may_end: MayEnd = anybody
) -> None:
    """
    Add to `view` stations where a deadline has passed, or an offer can be made.

    :param now: seconds since the epoch, in truth.
    :param most: how many sessions are claimed.
    """

    def stands(entry: tuple[float, str, int]) -> bool:
        # The station may have left the network since.
        slots = records.slots.get(entry[2])
        session = None if slots is None else slots.sessions.get(entry[1])
        return session is not None and session.due_timestamp == entry[0]

    due, later = _claimed(view, records.ends, lambda entry: entry[0] <= now, stands, most, may_end)
    found = dict.fromkeys(station_id for _, _, station_id in due)
    for station_id in dict.fromkeys(records.lines.values()):
        book = records.book(station_id)
        if book is None or book.station is None:
            continue
        if next_offer(book.station, book.slots, may_end) is not None:
            found[station_id] = None
    for station_id in found:
        if station_id not in view.books:
            view.books[station_id] = records.book(station_id)
    view.due += found
    view.next_due = None if later is None else later[0]


def _claim_logins(records: Records, view: View, before: float, most: int, may_end: MayEnd) -> None:
    """Add to `view` users who logged in before then, and neither hold an EVSE nor wait."""

    def is_unpaid(entry: tuple[float, str]) -> bool:
        user = records.users.get(entry[1])
        # With the end of a session its user goes as well.
        return (
            user is not None
            and user.created_timestamp == entry[0]
            and entry[1] not in records.held
            and entry[1] not in records.lines
        )

    unpaid, _ = _claimed(
        view, records.logins, lambda entry: entry[0] < before, is_unpaid, most, may_end
    )
    for _, user_id in unpaid:
        view.unpaid.append(user_id)
        view.users[user_id] = records.users[user_id]
        view.sessions[user_id] = None


def _claimed(
    view: View,
    heap: list[Entry],
    is_due: Callable[[Entry], bool],
    stands: Callable[[Entry], bool],
    most: int,
    may_end: MayEnd,
) -> tuple[list[Entry], Entry | None]:
    """
    The first entries of `heap` that are due, and the first that is not; those of what has ended
    already are dropped.
    """
    claimed: list[Entry] = []
    waiting: list[Entry] = []
    while heap and is_due(heap[0]) and len(claimed) < most:
        entry = heapq.heappop(heap)
        if stands(entry):
            (claimed if may_end(entry[1]) else waiting).append(entry)
    later = heap[0] if heap else None
    for entry in (*claimed, *waiting):
        heapq.heappush(heap, entry)
    view.more_due |= len(claimed) == most
    return claimed, later
