"""What a sweep claims in a database. It waits for nobody: what others have locked it leaves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from evcharge.rules.clocks import Clocks
from evcharge.storage.sql import clocks as sql_clocks
from evcharge.storage.sql import schema

_users, _sessions, _waiting = schema.users.c, schema.sessions.c, schema.waiting.c


def due(connection: Connection, clocks: Clocks, now: float, most: int) -> Sequence[Any]:
    """Of some sessions whose deadline has passed, the earliest first: whose they are, and where."""
    return connection.execute(
        select(_sessions.user_id, _sessions.station_id)
        .where(_sessions.due_timestamp <= now, sql_clocks.is_right(_sessions.clock, clocks))
        .order_by(_sessions.due_timestamp)
        .limit(most)
    ).all()


def next_due(connection: Connection, now: float) -> float | None:
    """When the next deadline is after `now`; None: there is none."""
    soonest = select(func.min(_sessions.due_timestamp)).where(_sessions.due_timestamp > now)
    found: float | None = connection.execute(soonest).scalar()
    return found


def waited_at(connection: Connection) -> Sequence[int]:
    """The stations where somebody waits."""
    return connection.execute(select(_waiting.station_id).distinct()).scalars().all()


def free(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those of some users whom no request has locked: now we have, or they are not there."""
    if not ids:
        return set()
    among = select(_users.user_id).where(_users.user_id.in_(ids))
    present = set(connection.execute(among).scalars())
    locked = set(connection.execute(among.with_for_update(skip_locked=True)).scalars())
    return {user_id for user_id in ids if user_id in locked or user_id not in present}


def unpaid(connection: Connection, clocks: Clocks, before: float, most: int) -> Sequence[Any]:
    """
    The rows of some users who logged in before then, hold no EVSE and do not wait for one, locked.
    """
    holds = select(_sessions.user_id).where(_sessions.user_id == _users.user_id).exists()
    waits = select(_waiting.user_id).where(_waiting.user_id == _users.user_id).exists()
    return connection.execute(
        select(schema.users)
        .where(
            _users.created_timestamp < before,
            sql_clocks.is_right(_users.clock, clocks),
            ~holds,
            ~waits,
        )
        .order_by(_users.created_timestamp)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
