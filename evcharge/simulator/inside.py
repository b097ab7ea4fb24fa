"""
How simulated drivers reach the server that they are in.

They ask as all do, through the controller, and are told by the engine as it tells the hub; there is
no other way from here into it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.net.guards.clients import Address, CountedClient
from evcharge.outcomes import Reply
from evcharge.process.engine import Engine
from evcharge.push.journeys import Journeys
from evcharge.simulator.drivers import Diary, Said
from evcharge.wire.envelope import Request, encode

LOOK_S = 2.0
"""How often it is looked what other processes have changed for drivers, seconds, where they can."""

_decode = msgspec.json.Decoder().decode


class Unlimited(Address):
    """Where simulated drivers come from: how many log in is the scenario's to say."""

    def limit(self, asked: int | None, otherwise: int) -> int | None:
        return None


class Inside:
    """The way in: a :class:`evcharge.simulator.crowd.Outlet`."""

    log = Logger()

    def __init__(self, engine: Engine, reactor: IReactorTime) -> None:
        self._answer = engine.controller.answer
        self._reactor = reactor
        self._address = Unlimited("the simulation", True)
        self._journeys = Journeys(engine.find_journey, self._changed)
        self._tells: dict[str, Callable[[Mapping[str, Any]], object]] = {}
        """Who listens, by user id."""
        self._engine = engine
        self._next: IDelayedCall | None = None

    def _client(self) -> CountedClient:
        """Who asks: as over connections, a client waits for one reply at a time."""
        return CountedClient(self._address, lambda address: None)

    def start(self) -> None:
        """Hear what happens."""
        self._engine.listeners.append(self._journeys.happened)
        self._next = self._reactor.callLater(LOOK_S, self._look)

    def stop(self) -> None:
        """Hear nothing any more."""
        if self._next is not None and self._next.active():
            self._next.cancel()
            self._engine.listeners.remove(self._journeys.happened)
        self._next = None

    def _look(self) -> None:
        self._next = self._reactor.callLater(LOOK_S, self._look)
        self._journeys.look()

    def look_around(self) -> Deferred[Any]:
        """The data of START's reply."""
        asked: Deferred[Any] = maybeDeferred(self._answer, Request("START", {}), self._client())
        # Parts of it are written already.
        return asked.addCallback(lambda reply: _decode(encode(reply, ""))["data"])

    def ask(
        self, kind: str, data: Mapping[str, Any], answered: Callable[[Said | None], object]
    ) -> None:
        reply = self._answer(Request(kind, dict(data)), self._client())
        if isinstance(reply, Deferred):
            reply.addCallback(lambda reply: answered(_said(reply))).addErrback(self._failed)
        else:
            answered(_said(reply))

    def _failed(self, failure: Failure) -> None:
        self.log.failure("A simulated driver could not go on", failure=failure)

    def listen(
        self, diary: Diary, waits: bool, tell: Callable[[Mapping[str, Any]], object]
    ) -> None:
        user_id = diary.user_id
        assert user_id is not None
        is_new = user_id not in self._tells
        self._tells[user_id] = tell
        if is_new:
            self._journeys.begin(user_id, {})
        else:
            self._changed(user_id)

    def hush(self, user_id: str) -> None:
        if self._tells.pop(user_id, None) is not None:
            self._journeys.end(user_id)

    def _changed(self, user_id: str) -> None:
        # Whoever has changed it is to have the result first.
        self._reactor.callLater(0, self._tell, user_id)

    def _tell(self, user_id: str) -> None:
        tell = self._tells.get(user_id)
        if tell is not None and (found := self._journeys.found(user_id)):
            tell(found)


def _said(reply: Reply) -> Said:
    return Said(reply.outcome.code, reply.data)
