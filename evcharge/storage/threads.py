"""Blocking storage calls on a pool of threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
R = TypeVar("R")


class _DaemonThread(threading.Thread):
    """A thread that a process may end without: one stuck on a dead disk must not keep it alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["daemon"] = True
        super().__init__(*args, **kwargs)


class StorageThreads(Service):
    """
    Owns the pool; an instance is the :class:`evcharge.storage.Call` of the running server.

    The reactor's own pool has ten threads and looks up host names too, so it is left alone.
    """

    name = "storage threads"

    def __init__(self, reactor: IReactorFromThreads, size: int = 16) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, size, name="storage")
        self._pool.threadFactory = _DaemonThread
        self._under_way = 0

    def __call__(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Deferred[R]:
        """Call `f` in a thread of the pool; cancelling the Deferred does not stop it."""

        def counted() -> R:
            try:
                return f(*args, **kwargs)
            finally:
                self._reactor.callFromThread(self._ended)

        self._under_way += 1
        return deferToThreadPool(self._reactor, self._pool, counted)

    def _ended(self) -> None:
        self._under_way -= 1

    def startService(self) -> None:
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        super().stopService()
        # Stopping joins the threads. One that is still busy by now has had its time: it dies with
        # the process, and what it was writing is whole or absent, as after any crash.
        if not self.busy:
            self._pool.stop()

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._under_way > 0
