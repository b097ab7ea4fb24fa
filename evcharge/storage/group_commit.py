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
from itertools import chain
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

MOST_GIVEN_UP = 10
"""Operations that are given up in one turn of the reactor: each has a reply made, and sent."""


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
        cannot be carried out at all; after anything else its halves are tried, and theirs, so that
        an operation which breaks the batch breaks for itself alone. Operations are idempotent.
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
        self._again: IDelayedCall | None = None
        self._waiting: deque[_Waiting[Operation]] = deque()
        self._broken: deque[list[_Waiting[Operation]]] = deque()
        """The parts of a batch that broke, in order: all of them are tried before others go on."""
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
        for call in (self._watch, self._rest, self._again):
            if call is not None:
                call.cancel()
        self._watch = self._rest = self._again = None

    @property
    def pending(self) -> int:
        """How many operations wait or are under way."""
        return len(self._waiting) + sum(map(len, self._broken)) + len(self._batch)

    def _next_batch(self) -> None:
        self._starting = False
        self._rest = None
        if self._broken:
            self._batch = self._broken.popleft()
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
        self._again = None
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
        if len(results) != len(self._batch):
            # Whose results they are cannot be told; and nobody else would ever hear of theirs.
            self._failed(Failure(ValueError(f"{len(results)} results of {len(self._batch)}")))
            return
        batch, self._batch = self._batch, []
        now = self._clock.seconds()
        self._count()
        if len(batch) > 1 and not self._broken:
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
            self._again = self._clock.callLater(min(pause, LONGEST_PAUSE_S), self._run)
            self._trouble = failure.getErrorMessage()
            return
        batch, self._batch = self._batch, []
        self._count()
        if len(batch) > 1 and not failure.check(Unavailable):
            # In front of the parts that there are: they are what came later.
            half = (len(batch) + 1) // 2
            self._broken.extendleft([batch[half:], batch[:half]])
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
        if self._waiting or self._broken:
            self._start()

    def _look(self) -> None:
        self._watch = None
        if not self.pending:
            return
        now = self._clock.seconds()
        late = self._take_late(now - self._patience_s)
        # Those who are left wait for another turn, so that all else has its own in between.
        self._watch = self._clock.callLater(
            0 if len(late) == MOST_GIVEN_UP else WATCH_S, self._look
        )
        for waiting in late:
            waiting.done.errback(Unavailable(self._trouble))
        if self._batch and now - self._started >= self._patience_s:
            self._interrupt()

    def _take_late(self, latest: float) -> list[_Waiting[Operation]]:
        """
        The first of those who came by `latest` and still wait, :data:`MOST_GIVEN_UP` at most.

        They are taken out of those that no batch has yet, which else were more and more for as
        long as a batch hangs.
        """
        late = [
            waiting
            for waiting in chain(self._batch, *self._broken)
            if waiting.since <= latest and not waiting.done.called
        ][:MOST_GIVEN_UP]
        while self._waiting and len(late) < MOST_GIVEN_UP:
            first = self._waiting[0]
            if not first.done.called:
                if first.since > latest:
                    break
                late.append(first)
            self._waiting.popleft()
        return late
