"""
The clocks of a database, and rows that are moved with them: see :mod:`evcharge.rules.clocks`.

One row says which clocks there were, and moves everything by being written. Sessions, and places in
line, are written anew with it, and users, of whom there may be many, by the sweeps that follow. A
row that a request has locked, or that a server wrote which had not heard of it yet, is left to them
too: they pass over what is by a clock that was moved, until it is written anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from evcharge.rules.clocks import Clocks, Newest
from evcharge.storage.sql import schema

MOST_WRITTEN = 1000
"""Users that one sweep writes anew at most: drivers' requests wait for it."""

STRAGGLING_S = 60.0
"""How long it is looked for rows of servers that had not heard of another clock, seconds."""

_clock = schema.clock.c
_users, _sessions, _payments = schema.users.c, schema.sessions.c, schema.payments.c

STANDING = {
    schema.sessions: (
        "estimated_timestamp",
        "paid_timestamp",
        "since_timestamp",
        "due_timestamp",
        "expires_timestamp",
        "reserved_timestamp",
        "started_timestamp",
        "stopped_timestamp",
    ),
    schema.waiting: ("joined_timestamp",),
}
"""The tables of what is written anew at once, and their instants."""

READ = select(
    _clock.number, _clock.marked_from, _clock.boot_id, _clock.lead_s, _clock.since, _clock.moved_s
)
LOCK = READ.with_for_update()


def read(connection: Connection, lock: bool = False) -> Clocks:
    """The clocks; nobody else sets them before the end of the transaction, where it is to lock."""
    row = connection.execute(LOCK if lock else READ).one_or_none()
    if row is None:
        return Clocks()
    moved = {int(number): by_s for number, by_s in json.loads(row.moved_s).items()}
    return Clocks(*row[:-1], moved_s=moved)


def fill(connection: Connection, clocks: Clocks | None = None) -> None:
    """Have clocks in a database; by default its own, or those of one that has known none."""
    found = connection.execute(select(_clock.id)).scalar()
    row = {**(clocks or Clocks()).record(), "id": 1}
    row["moved_s"] = json.dumps(row["moved_s"])
    if found is None:
        connection.execute(insert(schema.clock).values(row))
    elif clocks is not None:
        connection.execute(update(schema.clock).values(row))


def newest(connection: Connection, clocks: Clocks) -> Newest:
    """The latest of what was the present once."""

    def latest(is_marked: bool) -> float | None:
        first = clocks.marked_from
        if first is None:
            return None if is_marked else _latest(connection, lambda clock: None)
        return _latest(connection, lambda clock: clock >= first if is_marked else clock < first)

    return Newest(latest(False), latest(True))


def _latest(
    connection: Connection, condition: Callable[[Any], ColumnElement[bool] | None]
) -> float | None:
    found = []
    for instant, clock in (
        (_users.created_timestamp, _users.clock),
        (_sessions.paid_timestamp, _sessions.clock),
        (_payments.paid_timestamp, _payments.clock),
    ):
        query = select(func.max(instant))
        wanted = condition(clock)
        found.append(connection.execute(query if wanted is None else query.where(wanted)).scalar())
    return max((instant for instant in found if instant is not None), default=None)


def is_right(clock: Any, clocks: Clocks) -> ColumnElement[bool]:
    """That a row's instants are right as they stand: `clock` is the column that says by which."""
    # Those by a clock that is newer than what is known were moved meanwhile.
    return and_(clock <= clocks.number, clock.not_in(list(clocks.moved_s)))


def move(connection: Connection, before: Clocks, after: Clocks) -> None:
    """Move what stands, and the payments that are to be, as far as the clocks were."""
    write_standing(connection, after)
    write_payments(connection, after)
    by_s = after.moved(0) - before.moved(0)
    if by_s < 0:
        # The others are history. But these cannot be, and would make each clock seem wrong.
        connection.execute(
            update(schema.payments)
            .where(_payments.clock == 0, _payments.paid_timestamp > after.since)
            .values(paid_timestamp=_payments.paid_timestamp + by_s, clock=after.anew(0))
        )


def write_payments(connection: Connection, clocks: Clocks) -> None:
    """Write anew the payments that name a clock which was moved."""
    for number, by_s in clocks.moved_s.items():
        if number:
            connection.execute(
                update(schema.payments)
                .where(_payments.clock == number, _payments.clock != 0)
                .values(paid_timestamp=_payments.paid_timestamp + by_s, clock=clocks.anew(number))
            )


def write_standing(connection: Connection, clocks: Clocks) -> None:
    """Write anew the sessions, and places in line, whose clock was moved; not what is locked."""
    for number, by_s in clocks.moved_s.items():
        for table, instants in STANDING.items():
            columns = table.c
            free = select(columns.user_id).where(columns.clock == number)
            moved = {name: columns[name] + by_s for name in instants}
            connection.execute(
                update(table)
                .where(columns.user_id.in_(free.with_for_update(skip_locked=True)))
                .values(**moved, clock=clocks.anew(number))
            )


def write_users(connection: Connection, clocks: Clocks, after: str) -> str | None:
    """
    Write some users anew, those whose clock was moved and that are not locked.

    :param after: the id that theirs are to come after.
    :return: the last of theirs; None: there are no more.
    """
    found = connection.execute(
        select(_users.user_id, _users.clock)
        .where(_users.user_id > after, _users.clock.in_(list(clocks.moved_s)))
        .order_by(_users.user_id)
        .limit(MOST_WRITTEN)
        .with_for_update(skip_locked=True)
    ).all()
    for number, by_s in clocks.moved_s.items():
        ids = [row.user_id for row in found if row.clock == number]
        if ids:
            connection.execute(
                update(schema.users)
                .where(_users.user_id.in_(ids), _users.clock == number)
                .values(
                    created_timestamp=_users.created_timestamp + by_s, clock=clocks.anew(number)
                )
            )
    return found[-1].user_id if len(found) == MOST_WRITTEN else None


class Rewriting:
    """
    What sweeps write anew after the clock was set: all of it once, and then what comes late.

    :param monotonic: seconds, by a clock that nobody sets.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._number = -1
        self._proved = 0
        self._until = float("-inf")
        self._after: str | None = None
        """The id up to which users have been written; None between two rounds."""

    def go_on(self, connection: Connection, clocks: Clocks, now: float) -> bool:
        """Write a part; whether there is more that need not wait."""
        if not (clocks.suspect or clocks.is_new(now) or self._proved == clocks.number):
            # Payments name no clock that has proved right: they are history.
            named = update(schema.payments).where(_payments.clock != 0)
            connection.execute(named.values(clock=0))
            self._proved = clocks.number
        if clocks.number != self._number:
            self._number, self._after = clocks.number, ""
            self._until = self._monotonic() + STRAGGLING_S
        elif self._after is None and self._monotonic() < self._until:
            self._after = ""
        if not clocks.moved_s or self._after is None:
            return False
        write_standing(connection, clocks)
        write_payments(connection, clocks)
        self._after = write_users(connection, clocks, self._after)
        return self._after is not None
