"""
Group commit: operations that arrive while a batch is under way wait, and share the next one.

::

    submit(a) ----> | batch 1: a       | in a thread: one hop, one transaction, one fsync
    submit(b) --.   |                  |
    submit(c) --+-> | batch 2: b, c, d | starts when batch 1 has ended
    submit(d) --'

Where operations come many at a time, the thread rests after a batch for as long as that took: more
of them share the next one, which costs less for each, and under load all are done sooner. One that
comes alone waits for nothing.

What an operation is, only the function that carries a batch out knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

Operation = TypeVar("Operation")

MOST_AT_ONCE = 500
"""Operations that one batch carries at most."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.25
"""Before a batch is tried for the third time, and the most before any time."""

LONGEST_REST_S = 0.01
"""The longest rest after a batch, seconds."""

WATCH_S = 0.1
"""How often the patience of those who wait is looked at, seconds."""


class Unavailable(Exception):
    """The operation was not carried out, as far as is known; it may be tried again."""


class TryAgain(Exception):
    """A batch changed nothing, or it is not known whether it did: it is to be tried again whole."""


class InThread(Protocol):
    """Calls a blocking function in a thread: ``call(f, *args)``, a Deferred of what it returns."""

    def __call__(self, f: Callable[..., Any], /, *args: Any) -> Deferred[Any]: ...


@attrs.define(eq=False)
class _Waiting(Generic[Operation]):
    operation: Operation
    since: float
    done: Deferred[Any]


class GroupCommit(Generic[Operation]):
    """
    Carries out operations in batches, one batch at a time.

    :param execute: carries out a batch, blocking: takes the operations and returns, in their order,
        what each one results in, or the exception that it ends in. What it returns is durable.
        It raises :class:`TryAgain` for a batch to be tried again, :class:`Unavailable` for one that
        cannot be carried out at all; after anything else each operation is tried on its own, so
        that one which breaks the batch breaks for itself alone. Operations are idempotent.
    :param in_thread: where `execute` is called.
    :param patience_s: how long an operation may take before it fails with :class:`Unavailable`. It
        may be carried out all the same, if its batch is under way.
    :param soon: calls what it is given when the reactor has seen to all that is ready now. So all
        that came together shares a batch; and the thread works while the reactor waits for events,
        rather than contend with it for the interpreter.
    :param interrupt: called from the reactor when a batch has used up that patience on its own,
        to wake a thread that waits for something which may never come.
    :param carried_out: called when a batch has ended, well or not, with its size, the seconds from
        its start, and how often it was tried.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Operation]], Sequence[Any]],
        in_thread: InThread,
        clock: IReactorTime,
        patience_s: float,
        soon: Callable[[Callable[[], None]], object],
        interrupt: Callable[[], None] = lambda: None,
        carried_out: Callable[[int, float, int], None] = lambda size, seconds, attempts: None,
    ) -> None:
        self._carried_out = carried_out
        self._first_started = 0.0
        self._size = 0
        """Of the batch, before anybody gave up."""
        self._execute = execute
        self._in_thread = in_thread
        self._clock = clock
        self._patience_s = patience_s
        self._interrupt = interrupt
        self._soon = soon
        self._starting = False
        self._rest_until = 0.0
        self._rest: IDelayedCall | None = None
        self._waiting: deque[_Waiting[Operation]] = deque()
        self._alone: deque[_Waiting[Operation]] = deque()
        """Those whose batch broke: each is tried by itself before the others go on."""
        self._batch: list[_Waiting[Operation]] = []
        self._started = 0.0
        self._attempt = 0
        self._trouble = ""
        """What kept the batch from being carried out, as far as is known."""
        self._watch: IDelayedCall | None = None

    def submit(self, operation: Operation) -> Deferred[Any]:
        """Carry out `operation` with the next batch; fires with its result when it is durable."""
        done: Deferred[Any] = Deferred()
        self._waiting.append(_Waiting(operation, self._clock.seconds(), done))
        self._start()
        return done

    def _start(self) -> None:
        """Start the next batch after the rest, unless one is under way or about to be."""
        if self._batch or (self._starting and self._rest is None):
            return
        rest = self._rest_until - self._clock.seconds()
        if rest > 0:
            self._starting = True
            self._rest = self._rest or self._clock.callLater(rest, self._next_batch)
            return
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._starting = True
        self._soon(self._next_batch)

    def close(self) -> None:
        """Look after the patience of nobody any more; what is under way may end."""
        for call in (self._watch, self._rest):
            if call is not None:
                call.cancel()
        self._watch = self._rest = None

    @property
    def pending(self) -> int:
        """How many operations wait or are under way."""
        return len(self._waiting) + len(self._alone) + len(self._batch)

    def _next_batch(self) -> None:
        self._starting = False
        self._rest = None
        if self._alone:
            self._batch = [self._alone.popleft()]
        else:
            most = min(len(self._waiting), MOST_AT_ONCE)
            self._batch = [self._waiting.popleft() for _ in range(most)]
        self._attempt = 0
        self._size = len(self._batch)
        self._first_started = self._clock.seconds()
        self._trouble = "it takes too long"
        self._run()

    def _run(self) -> None:
        """Try the batch, without those that nobody waits for any more."""
        self._batch = [waiting for waiting in self._batch if not waiting.done.called]
        if not self._batch:
            self._count()
            self._ended()
            return
        self._attempt += 1
        self._started = self._clock.seconds()
        if self._watch is None:
            self._watch = self._clock.callLater(WATCH_S, self._look)
        operations = [waiting.operation for waiting in self._batch]
        self._in_thread(self._execute, operations).addCallbacks(self._executed, self._failed)

    def _executed(self, results: Sequence[Any]) -> None:
        batch, self._batch = self._batch, []
        now = self._clock.seconds()
        self._count()
        if len(batch) > 1:
            self._rest_until = now + min(now - self._started, LONGEST_REST_S)
        self._ended()
        for waiting, result in zip(batch, results, strict=True):
            if waiting.done.called:
                continue
            if isinstance(result, Exception):
                waiting.done.errback(result)
            else:
                waiting.done.callback(result)

    def _failed(self, failure: Failure) -> None:
        if failure.check(TryAgain):
            # The first time at once: a connection that was lost while idle is made anew.
            pause = FIRST_PAUSE_S * 2 ** (self._attempt - 2) if self._attempt > 1 else 0
            self._clock.callLater(min(pause, LONGEST_PAUSE_S), self._run)
            self._trouble = failure.getErrorMessage()
            return
        batch, self._batch = self._batch, []
        self._count()
        if len(batch) > 1 and not failure.check(Unavailable):
            self._alone.extend(batch)
            batch = []
        self._ended()
        for waiting in batch:
            if not waiting.done.called:
                waiting.done.errback(failure)

    def _count(self) -> None:
        """Tell of the batch, unless nobody waited for it in the first place."""
        if self._attempt:
            seconds = self._clock.seconds() - self._first_started
            self._carried_out(self._size, seconds, self._attempt)

    def _ended(self) -> None:
        if self._waiting or self._alone:
            self._start()

    def _look(self) -> None:
        self._watch = None
        if not self.pending:
            return
        self._watch = self._clock.callLater(WATCH_S, self._look)
        if self._batch and self._clock.seconds() - self._started >= self._patience_s:
            self._interrupt()
        latest = self._clock.seconds() - self._patience_s
        for waiting in [*self._batch, *self._alone, *self._waiting]:
            if waiting.since <= latest and not waiting.done.called:
                waiting.done.errback(Unavailable(self._trouble))
