"""What answers drivers, whatever brings their requests: all of a server but for its ports."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, execute, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from evcharge.controller import NO_GUARDS, Controller, Guard
from evcharge.handlers import Context, handlers
from evcharge.handlers.handler import Solve
from evcharge.handlers.session import Status
from evcharge.handlers.subscribe import find_journey
from evcharge.outcomes import LANGUAGES
from evcharge.planning.itinerary import planned
from evcharge.process.clock import SteadyClock
from evcharge.process.settings import Settings
from evcharge.process.timekeeper import Timekeeper
from evcharge.push.figures import Figures
from evcharge.push.hub import Hub
from evcharge.rules.events import Event
from evcharge.rules.operation import Operation
from evcharge.station_monitor import StationMonitor
from evcharge.storage import Eventual, Storage, Summary, carry_out, performer
from evcharge.storage.group_commit import GroupCommit
from evcharge.storage.threads import StorageThread
from evcharge.watch.metrics import Metrics


class InOrder(MultiService):
    """Services that start in order and stop in the opposite one, one after another."""

    @inlineCallbacks
    def stopService(self) -> Any:
        self.running = 0
        for part in reversed(list(self)):
            # One that fails to stop is no reason for the others not to.
            yield DeferredList([maybeDeferred(part.stopService)], consumeErrors=True)


class Here(Service):
    """In the place of a storage's thread, where nothing blocks: all is called here and now."""

    busy = False

    def __init__(self, call: Callable[..., Deferred[Any]] = execute) -> None:
        self._call = call

    def __call__(self, f: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
        """Call `f`."""
        return self._call(f, *args)

    def soon(self, f: Callable[[], object]) -> None:
        """Call `f`."""
        f()


class Alone(Service):
    """
    In the place of a storage's thread, where nothing blocks and nobody else has the storage: each
    operation is carried out here and now by itself, and waits for no batch.
    """

    busy = False

    def soon(self, f: Callable[[], object]) -> None:
        """Call `f`."""
        f()


class StorageService(Service):
    """
    Opens the storage when it starts; closes it when it stops, as all who use it have stopped.

    :param storage: not open yet.
    :param timers: whose timers it goes by.
    :param clock: says by which of the storage's clocks the instants of operations are.
    :param thread: where the storage blocks.
    :param happened: called with what has happened, and when that was durable, in seconds of the
        timers; before anybody is told a result.
    :param carried_out: see :class:`evcharge.storage.group_commit.GroupCommit`.
    """

    name = "storage"
    log = Logger()
    summary: Summary
    """What there was at the start."""

    def __init__(
        self,
        storage: Storage,
        timers: IReactorTime,
        clock: SteadyClock,
        thread: StorageThread | Here | Alone,
        happened: Callable[[Sequence[Event], float], None] = lambda events, at: None,
        carried_out: Callable[[int, float, int], None] = lambda size, seconds, attempts: None,
    ) -> None:
        self._happened = happened
        self._carried_out = carried_out
        self._heard: deque[tuple[Sequence[Event], float]] = deque()
        """What has happened, as the thread puts it in."""
        storage.listeners.append(lambda events: self._heard.append((events, timers.seconds())))
        self._storage = storage
        self._clock = clock
        self._thread = thread
        self._group_commit: GroupCommit[Operation[Any]] | None = None
        submit: Callable[[Operation[Any]], Eventual[Any]] = self._carry_out
        if not isinstance(thread, Alone):
            self._group_commit = GroupCommit(
                storage.execute,
                thread,
                timers,
                storage.patience_s,
                thread.soon,
                storage.interrupt,
                self._batch_ended,
            )
            submit = self._group_commit.submit
        self.perform = performer(storage, submit, lambda: clock.number)

    def _carry_out(self, operation: Operation[Any]) -> Any:
        result = carry_out(self._storage, operation)
        self._tell()
        return result

    def _batch_ended(self, size: int, seconds: float, attempts: int) -> None:
        self._carried_out(size, seconds, attempts)
        self._tell()

    def _tell(self) -> None:
        while self._heard:
            try:
                self._happened(*self._heard.popleft())
            except Exception:
                # Whoever waits for a result is to have it all the same.
                self.log.failure("What has happened could not be told")

    def startService(self) -> None:
        super().startService()
        self.summary = self._storage.open(self._clock.seconds())
        self._thread.startService()

    def stopService(self) -> None:
        super().stopService()
        self._thread.stopService()
        if self._group_commit is not None:
            self._group_commit.close()
        # With a write still stuck in a thread, no other process may have the storage before this
        # one is gone.
        if not self._thread.busy:
            self._storage.close()


class Engine(InOrder):
    """
    The storage and its time, the controller, and the monitor.

    As it stops, the last sweep may end, and then the storage is closed.

    :param storage: not open yet.
    :param timers: whose timers it goes by.
    :param clock: says what time it is.
    :param thread: where the storage blocks.
    :param guards: stand around the handlers, by message type.
    :param keeps_time: whether it is to keep the clock right; else somebody else does.
    :param new_id: see :class:`evcharge.handlers.Context`.
    :param solve: likewise; by default trips are planned here and now.
    """

    name = "engine"

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        timers: IReactorTime,
        clock: SteadyClock,
        thread: StorageThread | Here | Alone,
        metrics: Metrics,
        guards: Mapping[str, Guard] = NO_GUARDS,
        keeps_time: bool = True,
        new_id: Callable[[], str] | None = None,
        solve: Solve = planned,
    ) -> None:
        super().__init__()
        now = clock.seconds
        self.storage = storage
        self._opened = StorageService(
            storage, timers, clock, thread, self._happened, metrics.carried_out
        )
        self.perform = perform = self._opened.perform
        terms = settings.terms
        self.figures = Figures(perform, timers, now, terms)
        self.listeners: list[Callable[[Sequence[Event]], object]] = []
        """Who hears what has happened, once it is durable."""
        self.find_journey: Callable[[str], Eventual[Mapping[str, Any]]] = lambda user_id: (
            find_journey(messages[Status.TYPE], user_id)
        )
        """How a user's journey stands, by id: the data of STATUS's reply."""
        self.hub = Hub(
            perform,
            timers,
            settings.live_interval_s,
            self.find_journey,
            self.figures.points,
            metrics.told,
            metrics.spared,
        )
        self.figures.on_point = self.hub.new_point
        # What costs each request something is done only where it can be asked for.
        is_watched = settings.http_port is not None
        self._counts = metrics.sessions if is_watched else None
        context = Context(
            perform,
            storage.catalogue,
            now,
            self.hub,
            terms,
            solve,
            settings.planning.stations,
            settings.planning.error_s,
        )
        if new_id is not None:
            context = attrs.evolve(context, new_id=new_id)
        messages = handlers(context)
        self.context = context
        self.controllers = {
            language: Controller(
                messages,
                now,
                language,
                settings.verbose,
                guards,
                metrics.answered if is_watched else None,
                timers.seconds,
            )
            for language in LANGUAGES
        }
        """By the language of their texts; they are the same for the rest."""
        self.controller = self.controllers[settings.language]
        self.monitor = StationMonitor(
            perform,
            timers,
            now,
            settings.sweep_interval_s,
            settings.limits.user_ttl_s,
            metrics.swept,
            terms,
        )
        storage.listeners.append(partial(self.monitor.hear, soon=thread.soon))
        self._opened.setServiceParent(self)
        if keeps_time:
            Timekeeper(clock, timers, perform, begins_with=storage).setServiceParent(self)
        self.monitor.setServiceParent(self)
        self.figures.setServiceParent(self)

    def _happened(self, events: Sequence[Event], at: float) -> None:
        self.figures.happened(events)
        self.hub.happened(events, at)
        if self._counts is not None:
            self._counts.happened(events)
        for listener in self.listeners:
            listener(events)

    def close(self) -> None:
        """From now on have every request answered with `unavailable`."""
        for controller in self.controllers.values():
            controller.close()

    @property
    def summary(self) -> Summary:
        """What the storage held at the start."""
        return self._opened.summary
