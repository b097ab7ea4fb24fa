"""The thread in which the storage blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool


class _DaemonThread(threading.Thread):
    """A thread that a process may end without: one stuck on a dead disk must not keep it alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["daemon"] = True
        super().__init__(*args, **kwargs)


class StorageThread(Service):
    """
    Owns the thread; an instance is the :class:`evcharge.storage.group_commit.InThread` of the
    running server.

    One is enough, as there is one batch at a time. The reactor's own pool looks up host names too,
    so it is left alone.
    """

    name = "storage thread"

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self.soon = reactor.callFromThread
        """Calls what it is given in the reactor's next turn: it costs less than a timer of 0."""
        self._pool = ThreadPool(0, 1, name="storage")
        self._pool.threadFactory = _DaemonThread
        self._under_way = 0

    def __call__(self, f: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
        """Call `f` in the thread; cancelling the Deferred does not stop it."""
        self._under_way += 1
        return deferToThreadPool(self._reactor, self._pool, f, *args).addBoth(self._ended)

    def _ended(self, result: Any) -> Any:
        self._under_way -= 1
        return result

    def startService(self) -> None:
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        super().stopService()
        # Stopping joins the thread. One that is still busy by now has had its time: it dies with
        # the process, and what it was writing is whole or absent, as after any crash.
        if not self.busy:
            self._pool.stop()

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._under_way > 0
