"""Files whose times a clock that was set has moved: written anew bit by bit, for people to read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import attrs

from evcharge.rules.clocks import Clocks
from evcharge.storage.files.directory import CLOCK, DataDirectory, needed
from evcharge.storage.files.payments import PaymentList

MOST_WRITTEN = 20
"""Files of a kind that one sweep writes anew at most: drivers' requests wait for it."""

FORGOTTEN_S = 120.0
"""After which nobody says any more that an operation was made before the clock was set, seconds."""


class MovedFiles:
    """
    Keeps the clocks of a data directory, and has its files follow.

    What the file of the clocks says is true at once: until the others are written anew they are
    read by it.
    """

    def __init__(self, directory: DataDirectory, payments: PaymentList) -> None:
        self._directory = directory
        self._payments = payments
        self._users: set[str] = set()
        """Those whose file still has the times as they were; and"""
        self._stations: set[int] = set()
        """stations, likewise."""

    def __bool__(self) -> bool:
        return bool(self._users or self._stations)

    def read(self) -> Clocks:
        """The clocks, before anything else is read. StorageError, OSError."""
        self._directory.read_clocks()
        self._payments.clocks = self._directory.clocks
        return self._directory.clocks

    def save(self, before: Clocks, after: Clocks) -> None:
        """Have other clocks, and all that they say was moved, in one step. StorageUnavailable."""
        by_s = after.moved(0) - before.moved(0)
        if by_s < 0:
            # By itself, as it is true whether or not the rest comes about.
            with needed(self._payments.path):
                self._payments.move_from(after.since, by_s, after.anew(0))
        with needed(self._directory.path / CLOCK):
            self._directory.write_clocks(after)
        self._payments.move(before, after)

    def add(self, users: Iterable[str] = (), stations: Iterable[int] = ()) -> None:
        """The files of these still have the times as they were."""
        self._users.update(users)
        self._stations.update(stations)

    def written(self, users: Iterable[str] = (), stations: Iterable[int] = ()) -> None:
        """These have been written, whoever had it done."""
        self._users.difference_update(users)
        self._stations.difference_update(stations)

    def some(self) -> tuple[list[str], list[int]]:
        """Users, and stations, whose files one sweep is to write anew."""
        return list(islice(self._users, MOST_WRITTEN)), list(islice(self._stations, MOST_WRITTEN))

    def follow(self, clocks: Clocks, now: float, all_read: bool) -> Clocks:
        """
        Once no file and no operation is by an earlier clock, forget these: so an earlier evcharge
        need not know of them.

        :param now: the present by the newest clock.
        :param all_read: whether there is no other file whose times may be by an earlier one.
        :return: the clocks that are left.
        :raise StorageUnavailable: something cannot be written.
        """
        with needed(self._payments.path):
            self._payments.make_history(now)
        done = all_read and not self and self._payments.is_right
        if not clocks.moved_s or not done or now - clocks.since < FORGOTTEN_S:
            return clocks
        with needed(self._directory.path / CLOCK):
            self._directory.write_clocks(attrs.evolve(clocks, moved_s={}))
        self._payments.clocks = self._directory.clocks
        return self._directory.clocks
