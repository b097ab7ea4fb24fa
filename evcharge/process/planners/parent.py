"""The planners of a server, and the trips that wait for them."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from evcharge.handlers.plan import Plan
from evcharge.models.slots import StationState
from evcharge.outcomes import UNAVAILABLE, Refusal
from evcharge.planning.planner import Asked
from evcharge.planning.sites import Look
from evcharge.process.planners.planner import Job, Planner
from evcharge.process.settings import PlanSettings
from evcharge.storage import Eventual
from evcharge.storage.location import STORAGE_VARIABLE
from evcharge.watch.metrics import Metrics

MOST_WAITING = 100
"""Trips that may wait for a planner."""

JUST_NOW_S = 0.1
"""Who was answered no longer ago is one who is served, seconds."""

MOST_ATTEMPTS = 2
"""How often a trip is begun whose planner has died."""


class Planners(Service):
    """
    Has trips searched for in other processes, which start with the first one.

    Stopping: they are ended, and whoever waits is refused.

    :param reactor: its timers go by steady seconds.
    """

    name = "planners"

    def __init__(self, settings: PlanSettings, reactor: Any, metrics: Metrics) -> None:
        self._settings = settings
        self._reactor = reactor
        self._metrics = metrics
        self._counts = metrics.plans
        self._served, self._served_s = 0, -inf
        """Requests for something else than plans, and when there was one more, steady seconds."""
        self._waiting: deque[Job] = deque()
        self._due: deque[Callable[[], object]] = deque()
        """What is to be done in the turns of the reactor to come, one in each."""
        self.planners: list[Planner] = []
        # A planner finds the modules where we do, wherever twistd goes. It needs no storage.
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        }
        self._environment.pop(STORAGE_VARIABLE, None)

    def solve(
        self, asked: Asked, look: Look, states: Sequence[StationState], avoid: Collection[str]
    ) -> Eventual[dict[str, Any] | Refusal]:
        """
        What is told of a trip, see :class:`evcharge.handlers.Context`; refused where too many
        wait. Cancelled, it is not begun any more.
        """
        if not self.running or self._are_failing or len(self._waiting) >= MOST_WAITING:
            return Refusal(UNAVAILABLE)
        job = Job(asked, look, states, avoid, Deferred(lambda _: self._cancel(job)))
        self._waiting.append(job)
        if not self.planners:
            for number in range(1, self._settings.workers + 1):
                planner = Planner(
                    number,
                    self._settings.seconds,
                    self._spawn,
                    self._reactor,
                    self._found,
                    self._lost,
                    self._go_on,
                    self._in_turn,
                    self._others_are_served,
                )
                self.planners.append(planner)
                planner.start()
        self._go_on()
        return job.done

    @property
    def patience_s(self) -> float:
        """
        How long a trip may have to wait, and be searched for, seconds. On a busy machine a search
        takes longer than it may, and there is what comes before and after.
        """
        settings = self._settings
        return (MOST_WAITING / settings.workers + 2) * (2.0 * settings.seconds + 1.0)

    def _spawn(self, planner: Planner) -> None:
        self._reactor.spawnProcess(
            planner,
            sys.executable,
            [sys.executable, "-m", "evcharge.process.planners.child"],
            env=self._environment,
        )

    def _go_on(self) -> None:
        """Give those who are free what waits."""
        for planner in self.planners:
            if self._waiting and planner.is_free:
                planner.take(self._waiting.popleft())
        self._counts.waiting = len(self._waiting)

    def _others_are_served(self) -> bool:
        """Whether something else than plans is asked for just now."""
        answered = self._metrics.requests.items()
        served = sum(count for (kind, _), count in answered if kind != Plan.TYPE)
        now = self._reactor.seconds()
        if served != self._served:
            self._served, self._served_s = served, now
        return bool(now < self._served_s + JUST_NOW_S)

    def _in_turn(self, do: Callable[[], object]) -> None:
        """Have something done in a turn of the reactor in which nothing else is done for trips: it
        sees to others in between."""
        self._due.append(do)
        if len(self._due) == 1:
            self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        try:
            self._due[0]()
        finally:
            self._due.popleft()
            if self._due:
                self._reactor.callLater(0, self._turn)

    def _cancel(self, job: Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
            self._counts.waiting = len(self._waiting)

    def _found(self, job: Job, found: dict[str, Any] | Failure, seconds: float) -> None:
        if isinstance(found, dict):
            plan = found.get("plan")
            gap = None if plan is None else plan["gap_minutes"]
            self._counts.searched(
                seconds,
                found["stations_considered"],
                None if plan is None else len(plan["stops"]),
                None if gap is None else gap * 60.0,
            )
        self._go_on()
        if not job.done.called:
            job.done.callback(found)

    def _lost(self, job: Job | None) -> None:
        self._counts.lost += 1
        if job is not None and not job.done.called:
            if job.attempts < MOST_ATTEMPTS and self.running:
                self._waiting.appendleft(job)
            else:
                job.done.callback(Refusal(UNAVAILABLE))
        if self._are_failing:
            self._refuse_all()
        self._go_on()

    @property
    def _are_failing(self) -> bool:
        """Whether none of them comes to anything."""
        return bool(self.planners) and all(planner.is_failing for planner in self.planners)

    def _refuse_all(self) -> None:
        while self._waiting:
            self._waiting.popleft().done.callback(Refusal(UNAVAILABLE))

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        ended = DeferredList([planner.stop() for planner in self.planners])
        self._refuse_all()
        return ended
