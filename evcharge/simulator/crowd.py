"""
Drivers at a running server: each goes on when its reply has come, its time has, or it is told.

How requests get to the server, and how one hears of changes, is an :class:`Outlet`'s: a server's
own process has one, and connections are another. A driver lives in simulated time; instants that
the server tells are its own clock's, and are turned into simulated ones here. Without a server it
is :mod:`evcharge.simulator.world` that has drivers go on, under a virtual clock.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall

from evcharge.models.terms import MOST_ARRIVAL_MINUTES
from evcharge.simulator.arrivals import Person
from evcharge.simulator.drivers import Ask, Diary, DriverScript, Journey, Said, Sleep
from evcharge.simulator.known import Known
from evcharge.simulator.pace import Pace
from evcharge.simulator.parts import Driver

REFUSED, STILL_THERE, NO_SHOW = "refused", "still_there", "no_show"

GOES_AWAY = ("balked", "reneged", "no_fit", "stranded", REFUSED, STILL_THERE)
"""Outcomes after which the server need not know the driver any more, and is told so: it would for
a day."""

ABSENT_S = (MOST_ARRIVAL_MINUTES + 24 * 60) * 60.0
"""For how long an EVSE may be kept at the most for who does not come, simulated seconds."""

MOST_FINDINGS = 100
"""How many different ones are counted by themselves."""

OTHERS = "others"


class Outlet(Protocol):
    """By which drivers reach the server."""

    def ask(
        self, kind: str, data: Mapping[str, Any], answered: Callable[[Said | None], object]
    ) -> None:
        """
        Send a request.

        :param answered: called once, now or later, with the reply; None: it never comes.
        """

    def listen(
        self, diary: Diary, waits: bool, tell: Callable[[Mapping[str, Any]], object]
    ) -> None:
        """
        Have a driver told how the journey stands, when that changes.

        :param waits: whether it is an EVSE that the driver waits for, who must not miss it.
        :param tell: called with what STATUS would say, as it is and as it becomes, until the driver
            hushes or listens anew; what has not changed may be told as well.
        """

    def hush(self, user_id: str) -> None:
        """Tell a driver nothing any more, if it is told anything."""


@attrs.define(eq=False)
class Actor:
    """A driver who is there."""

    diary: Diary
    journey: Journey
    timer: IDelayedCall | None = None
    """When it goes on by itself."""
    sleeps_until: float | None = None
    """Simulated seconds since the epoch; None: it does not sleep."""
    due: float | None = None
    """When what it does now was due; None where nobody could know before."""
    asks: str | None = None
    """The type of the request whose reply it waits for."""
    listens: bool = False
    known: Any = None
    """By what is told apart how the journey stood when it was told last."""


class Crowd:
    """
    Makes a driver of each person, and counts how they end; only those who are there are in memory.

    :param ways: what drivers do.
    :param known: what START has told.
    :param moved: called with each driver who begins to sleep, and with how long and what for; and
        with each who has ended, and None.
    """

    def __init__(
        self,
        pace: Pace,
        ways: Driver,
        known: Known,
        outlet: Outlet,
        moved: Callable[[Actor, Sleep | None], object] = lambda actor, sleep: None,
    ) -> None:
        self._pace = pace
        self._ways = ways
        self.known = known
        """What those go by who come from now on."""
        self._outlet = outlet
        self._moved = moved
        self.actors: dict[Actor, None] = {}
        """Those who are there, in the order in which they came."""
        self.born = 0
        self.outcomes: Counter[str] = Counter()
        """How many have ended how."""
        self.findings: Counter[str] = Counter()
        """What was replied that is in no script, and how often."""
        self._absent: deque[tuple[float, Actor]] = deque()
        """For whom an EVSE may still be kept who do not come, and until when at the most."""
        self._over: Callable[[], object] | None = None
        """Called when all have left; None: they are not to leave."""

    def come(self, person: Person) -> None:
        """Have somebody begin a journey."""
        if self._over is not None:
            return
        self.born += 1
        diary = Diary(person)
        journey = DriverScript(diary, self._ways, self.known, self._pace.seconds).run()
        actor = Actor(diary, journey, due=person.born)
        self.actors[actor] = None
        self._go_on(actor, None)

    def leave(self, over: Callable[[], object]) -> None:
        """
        Have all give up what they hold, and nobody come any more.

        :param over: called when nothing is held; who waits for a reply is waited for.
        """
        absent = [actor for _, actor in self._absent]
        self._absent.clear()
        # Until their replies have come they are there again.
        self.actors.update(dict.fromkeys(absent))
        self._over = over
        for actor in absent:
            self._give_up(actor)
        for actor in [each for each in self.actors if each.asks is None]:
            self._end(actor, STILL_THERE)
        self._look_whether_over()

    # One driver

    def _go_on(self, actor: Actor, value: Any) -> None:
        """Let a driver do what comes next."""
        asked = actor.asks
        actor.asks = None
        try:
            step = actor.journey.send(value)
        except StopIteration as end:
            self._end(actor, end.value)
            return
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            # A server of another version may say less than the script goes by.
            self._find(actor, f"{asked}: not as expected: {type(error).__name__} {error}")
            return
        if isinstance(step, Ask):
            actor.asks = step.type
            self._outlet.ask(step.type, step.data, lambda said: self._answered(actor, said))
        else:
            self._done(actor)
            self._moved(actor, step)
            if step.until < math.inf:
                actor.sleeps_until = step.until
                actor.timer = self._pace.call_at(step.until, self._wake, actor)
            if step.listens and actor.diary.user_id is not None:
                actor.listens = True
                waits = actor.diary.charging is None
                self._outlet.listen(actor.diary, waits, lambda told: self._told(actor, told))

    def _answered(self, actor: Actor, said: Said | None) -> None:
        self._done(actor)
        if said is None:
            self._find(actor, f"{actor.asks}: no reply")
        elif self._over is not None:
            if actor.asks == "LOGIN" and said.reason is None:
                actor.diary.user_id = said.data.get("user_id")
            self._end(actor, STILL_THERE)
        else:
            self._go_on(actor, Said(said.code, self._simulated(said.data)))

    def _done(self, actor: Actor) -> None:
        if actor.due is not None:
            self._pace.done(actor.due)
            actor.due = None

    def _wake(self, actor: Actor) -> None:
        actor.due = actor.sleeps_until
        self._resume(actor, None)

    def _told(self, actor: Actor, told: Mapping[str, Any]) -> None:
        """A driver is told how the journey stands: what is new wakes who listens."""
        known = [told.get(name) for name in ("state", "since", "id_station", "reason")]
        if actor.listens and actor in self.actors and known != actor.known:
            actor.known = known
            self._resume(actor, self._simulated(told))

    def _resume(self, actor: Actor, value: Any) -> None:
        self._rest(actor)
        self._go_on(actor, value)

    def _rest(self, actor: Actor) -> None:
        """Have nothing wake a driver any more."""
        if actor.timer is not None and actor.timer.active():
            actor.timer.cancel()
        actor.timer = actor.sleeps_until = None
        actor.listens = False

    def _simulated(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            name: self._pace.to_simulated(value)
            if name.endswith("_timestamp") and isinstance(value, (int, float))
            else value
            for name, value in data.items()
        }

    # The end

    def _find(self, actor: Actor, finding: str) -> None:
        actor.diary.finding = finding
        self._end(actor, REFUSED)

    def _end(self, actor: Actor, outcome: str) -> None:
        """A driver has ended; it stays for as long as the server has to be told so."""
        self._rest(actor)
        self._done(actor)
        actor.journey.close()
        self._moved(actor, None)
        diary = actor.diary
        self.outcomes[outcome] += 1
        if diary.finding is not None:
            is_counted = diary.finding in self.findings or len(self.findings) < MOST_FINDINGS
            self.findings[diary.finding if is_counted else OTHERS] += 1
        if diary.user_id is not None:
            self._outlet.hush(diary.user_id)
        leaves = self._over is not None
        if outcome == NO_SHOW and not leaves:
            now = self._pace.seconds()
            while self._absent and self._absent[0][0] <= now:
                self._absent.popleft()
            self._absent.append((now + ABSENT_S, actor))
        if diary.user_id is not None and (leaves or outcome in GOES_AWAY):
            self._give_up(actor)
        else:
            self._gone(actor)

    def _give_up(self, actor: Actor) -> None:
        """Have the server free what a driver holds, and forget it: all know this message."""
        diary = actor.diary
        actor.asks = "PAYMENT"
        data = {"user_id": diary.user_id, "id_station": diary.station or "0", "confirmation": False}
        self._outlet.ask("PAYMENT", data, lambda said: self._gone(actor))

    def _gone(self, actor: Actor) -> None:
        self.actors.pop(actor, None)
        self._look_whether_over()

    def _look_whether_over(self) -> None:
        if self._over is not None and not self.actors:
            over, self._over = self._over, lambda: None
            over()
