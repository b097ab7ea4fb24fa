"""The time of several processes of one server, which the first of them keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService

from evcharge.process.clock import SteadyClock
from evcharge.process.timekeeper import Timekeeper
from evcharge.storage import Operation, Storage, performer
from evcharge.storage.group_commit import GroupCommit
from evcharge.storage.threads import StorageThread
from evcharge.tap import StorageService


class SharedTime(MultiService):
    """
    Keeps the time in a process that serves nobody, and has the storage open for that alone.

    :param storage: not open yet; others have it open too.
    :param told: called when the time may have become another one.
    """

    name = "shared time"

    def __init__(
        self, storage: Storage, clock: SteadyClock, reactor: Any, told: Callable[[], None]
    ) -> None:
        super().__init__()
        thread = StorageThread(reactor)
        group_commit: GroupCommit[Operation[Any]] = GroupCommit(
            storage.execute,
            thread,
            reactor,
            storage.patience_s,
            reactor.callFromThread,
            storage.interrupt,
        )
        perform = performer(storage, group_commit.submit, lambda: clock.number)
        self._timekeeper = Timekeeper(clock, reactor, perform, told)
        for part in (
            StorageService(storage, group_commit, thread, clock.seconds, None),
            thread,
            self._timekeeper,
        ):
            part.setServiceParent(self)

    def begin(self, storage: Storage) -> None:
        """Set the clock: see :meth:`evcharge.process.timekeeper.Timekeeper.begin`."""
        self._timekeeper.begin(storage)
