"""How all workers are, for those who watch the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime

from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.process.workers.worker import Worker
from evcharge.watch.exposition import operator_requests, session_families, together
from evcharge.watch.metrics import SessionCounts
from evcharge.web.health import Shared


class WorkersWatch:
    """
    Watches all workers.

    :param is_running: whether the server is not about to end.
    :param terms: what sessions go by.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        is_running: Callable[[], bool],
        clock: IReactorTime,
        terms: Terms = DEFAULT_TERMS,
    ) -> None:
        self.operator_requests: Counter[int] = Counter()
        """Those that the parent has answered, by the code."""
        self.sessions = SessionCounts(terms)
        """What came of them."""
        self._workers = workers
        self._is_running = is_running
        self._asked = Shared(self._ask_for_one, clock)

    def trouble(self) -> Deferred[str | None]:
        """Whether all is about to end, or no worker is ready."""
        if not self._is_running():
            return succeed("the server is shutting down")
        return self._asked()

    def _ask_for_one(self) -> Deferred[str | None]:
        # The first that is ready will do: another one that hangs would take its time.
        asked = [worker.ask().addCallback(self._see_ready) for worker in self._workers]
        one: Deferred[Any] = DeferredList(asked, fireOnOneCallback=True, consumeErrors=True)
        return one.addCallback(self._trouble)

    def _see_ready(self, answer: Any) -> None:
        trouble = "a worker does not answer" if answer is None else answer["trouble"]
        if trouble is not None:
            raise _NotReady(trouble)

    def _trouble(self, found: Any) -> str | None:
        if not self._is_running():
            return "the server is shutting down"
        if isinstance(found, tuple):
            return None
        return "; ".join(dict.fromkeys(str(failure.value) for _, failure in found))

    def metrics(self) -> Deferred[bytes]:
        """The metrics of all, by worker."""
        asked = DeferredList([worker.ask() for worker in self._workers])
        return asked.addCallback(self._together)

    def _together(self, answers: list[tuple[bool, Any]]) -> bytes:
        expositions = {
            number: None if answer is None else answer["metrics"]
            for number, (_, answer) in enumerate(answers, 1)
        }
        requests = self.operator_requests
        own = [operator_requests(requests), *session_families(self.sessions)] if requests else []
        return together(expositions, own)


class _NotReady(Exception):
    """A worker that is not; says why."""
