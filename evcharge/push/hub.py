"""
The hub: what has changed since the last line, told to everybody who listens.

::

    apply(events) --> happened --+
    ListStations ---> see -------+--> Group.changed --tick--> one line --slices--> Listener.hear
    figures --------> new_point -+    what, since when        for all of a group      |
    Simulation ------------------+                                                    |
                                                                                      | cannot now
                                 Subscription.owed <----------------------------------+
                                 goes into one line, at a later tick

What is kept of a change is *that* something has changed; what it is now is looked up when a line is
made. So memory goes by how many stations there are, however long somebody does not read, and who
reads slowly is told less, but always what is so in the end.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.models.slots import StationState
from evcharge.models.stations import Stations
from evcharge.push import FIGURES, SIMULATED, STATIONS, USER, Listener, Wishes
from evcharge.push.journeys import Journeys
from evcharge.push.lines import Change, Line, live_fields
from evcharge.push.simulation import Simulation
from evcharge.rules.events import Event, NetworkChanged
from evcharge.rules.journey import ListStations
from evcharge.storage import Eventual, Perform
from evcharge.storage.group_commit import Unavailable

SLICE_S = 0.00025
"""How long subscribers are served in one turn of the reactor, seconds: so much longer a driver's
request waits that comes meanwhile, which takes about as long itself."""

LOOK_S = 0.25
"""How often it is looked what other processes have changed, seconds. A database is asked when what
is known of it is too old."""

QUIET_S, QUIET_LOOK_S = 30.0, 1.0
"""After how long without a change a line says that there was none, and how often that is looked at,
seconds."""

MARGIN_S = 1e-6
"""How much too early a line may be, seconds: no more than what adding up intervals comes to."""


@attrs.define(eq=False)
class Group:
    """Those who wish for the same."""

    wishes: Wishes
    stations: frozenset[str] | None
    """The ids of the stations that this comes to; None: any."""
    told_at: float
    """When the last line was made."""
    due_at: float
    """Before when there is to be none."""
    members: dict[Subscription, None] = attrs.field(factory=dict)
    tell_at: float = 0.0
    """When what has changed is to be told."""
    changed: dict[Change, float] = attrs.field(factory=dict)
    """What has changed since the last line, each with when it first did."""

    def wants(self, change: Change) -> bool:
        """Whether its members are told of such a change."""
        topic, key = change
        if topic not in self.wishes.topics:
            return False
        if topic == STATIONS:
            return self.stations is None or key in self.stations
        return topic != USER or key == self.wishes.user_id


class Subscription:
    """What one connection listens to, from :meth:`begin` to :meth:`end`."""

    __slots__ = ("_hub", "group", "journey", "listener", "owed", "told_at", "wishes")

    def __init__(self, hub: Hub, wishes: Wishes, journey: Mapping[str, Any] | None = None) -> None:
        self._hub = hub
        self.wishes = wishes
        self.journey = journey
        self.listener: Listener | None = None
        self.group: Group | None = None
        self.told_at = float("-inf")
        """When its last line was due."""
        self.owed: dict[Change, float] = {}
        """What it has not been told, as it could not hear."""

    @property
    def is_for_nothing(self) -> bool:
        """Whether nothing is listened to by it."""
        return not self.wishes.topics

    def begin(self, listener: Listener) -> None:
        """Have `listener` told what changes from now on."""
        self.listener = listener
        self._hub.begin(self)

    def end(self) -> None:
        """Have it told nothing more; a second time it changes nothing."""
        self._hub.end(self)


class Hub:
    """
    Tells listeners what has changed.

    Without a listener it has no timer and writes nothing.

    :param interval_s: the least time between two lines to the same listener.
    :param find_journey: how a user's journey stands: the data of STATUS's reply.
    :param points: the figures of the last hour, kept by somebody else: see :meth:`new_point`.
    :param sent: called with the listener's form for each line that was handed over, and with how
        many seconds after the change that was; None where it had to wait for the listener.
    :param merged: called with how many lines a change has spared, as a later one says it too.
    """

    log = Logger()

    def __init__(
        self,
        perform: Perform,
        clock: IReactorTime,
        interval_s: float,
        find_journey: Callable[[str], Eventual[Mapping[str, Any]]],
        points: Sequence[Mapping[str, Any]] = (),
        sent: Callable[[str, float | None], object] = lambda form, lag_s: None,
        merged: Callable[[int], object] = lambda lines: None,
    ) -> None:
        self._perform = perform
        self._clock = clock
        self.interval_s = interval_s
        self.points = points
        self.simulation: Simulation | None = None
        """See :meth:`simulate`."""
        self._journeys = Journeys(find_journey, lambda user_id: self.change((USER, user_id)))
        self._sent = sent
        self._merged = merged
        self._seq = 0
        self._stations = Stations()
        self._changes: dict[str, StationState] = {}
        """Those of the stations that have another state, and were not looked at yet."""
        self._groups: dict[Wishes, Group] = {}
        self._changed: set[Group] = set()
        """Those that are to be told something."""
        self._owing: dict[Subscription, None] = {}
        """Those that could not hear."""
        self._queue: deque[tuple[Subscription, Line | None]] = deque()
        """Who is to be served in this round; without a line, with what is owed."""
        self._tick: IDelayedCall | None = None
        self._turn: IDelayedCall | None = None
        self._look_again: IDelayedCall | None = None
        self._quiet: IDelayedCall | None = None
        self.listening: Counter[str] = Counter()
        """How many listen, by form."""

    # Who listens

    @property
    def subscribers(self) -> int:
        """How many listen."""
        return self.listening.total()

    def subscription(
        self, wishes: Wishes, journey: Mapping[str, Any] | None = None
    ) -> Subscription:
        """A subscription that has not begun yet; `journey`: what is known of the user's."""
        return Subscription(self, wishes, journey)

    def next_seq(self) -> int:
        """The number of the next line."""
        self._seq += 1
        return self._seq

    def begin(self, subscription: Subscription) -> None:
        """See :meth:`Subscription.begin`."""
        if subscription.is_for_nothing or subscription.listener is None:
            return
        wishes = subscription.wishes
        group = self._groups.get(wishes)
        now = self._clock.seconds()
        if group is None:
            group = Group(wishes, self._ids(wishes), now, now)
            self._groups[wishes] = group
        group.members[subscription] = None
        subscription.group = group
        self.listening[subscription.listener.form_name] += 1
        if wishes.user_id is not None and subscription.journey is not None:
            self._journeys.begin(wishes.user_id, subscription.journey)
        if self.simulation is not None and wishes.topics & SIMULATED:
            self.simulation.wake()
        if self._look_again is None:
            self._look_again = self._clock.callLater(LOOK_S, self._look)
        if self._quiet is None:
            self._quiet = self._clock.callLater(QUIET_LOOK_S, self._look_for_quiet)

    def end(self, subscription: Subscription) -> None:
        """See :meth:`Subscription.end`."""
        group, listener = subscription.group, subscription.listener
        if group is None or listener is None:
            return
        subscription.group = subscription.listener = None
        subscription.owed = {}
        self._owing.pop(subscription, None)
        self.listening[listener.form_name] -= 1
        del group.members[subscription]
        if group.wishes.user_id is not None and subscription.journey is not None:
            self._journeys.end(group.wishes.user_id)
        if not group.members:
            del self._groups[group.wishes]
            self._changed.discard(group)
        if not self._groups:
            self.close()

    def close(self) -> None:
        """Have no timers, as nobody listens."""
        for call in (self._tick, self._turn, self._look_again, self._quiet):
            if call is not None and call.active():
                call.cancel()
        self._tick = self._turn = self._look_again = self._quiet = None
        self._queue.clear()
        if self.simulation is not None:
            self.simulation.close()

    def _ids(self, wishes: Wishes) -> frozenset[str] | None:
        if wishes.area is None:
            return wishes.stations
        return frozenset(
            state.station.key
            for state in self._stations
            if wishes.area.has(state.station.latitude, state.station.longitude)
        )

    # What changes

    def see(self, stations: Stations) -> None:
        """These are the stations now: tell what is other than when they were last seen."""
        since = self._clock.seconds()
        before = self._stations
        if stations is before:
            self._follow(since)
            return
        self._stations, self._changes = stations, stations.follow()
        for group in self._groups.values():
            group.stations = self._ids(group.wishes)
        for key in {*(state.station.key for state in (*before, *stations))}:
            if live_fields(before.get(key)) != live_fields(stations.get(key)):
                self.change((STATIONS, key), since)

    def _follow(self, since: float) -> None:
        changes = self._changes
        while changes:
            self.change((STATIONS, changes.popitem()[0]), since)

    def happened(self, events: Sequence[Event], since: float) -> None:
        """
        Tell of what this process has done.

        :param since: when it was durable, seconds of the clock.
        """
        if not self._groups:
            return
        if any(isinstance(event, NetworkChanged) for event in events):
            self._list()
        self._follow(since)
        self._journeys.happened(events)

    def change(self, change: Change, since: float | None = None) -> None:
        """Something is other than it was; `since`: when that became so, or now."""
        now = self._clock.seconds()
        for group in self._groups.values():
            if not group.wants(change):
                continue
            if change in group.changed:
                self._merged(len(group.members))
                continue
            group.changed[change] = now if since is None else since
            if group not in self._changed:
                self._changed.add(group)
                group.tell_at = max(now + self.interval_s, group.due_at)
                self._wake(group.tell_at)

    def new_point(self) -> None:
        """There are newer figures."""
        self.change((FIGURES, ""))

    def simulate(self, simulation: Simulation) -> None:
        """Tell of a simulation, from now on."""
        self.simulation = simulation
        simulation.tell(self.change, self._is_watched)
        if self._is_watched():
            simulation.wake()

    def _is_watched(self) -> bool:
        """Whether anybody listens to what is simulated."""
        return any(group.topics & SIMULATED for group in self._groups)

    def _look(self) -> None:
        self._look_again = None
        self._list()
        self._journeys.look()

    def _list(self) -> None:
        """Look at the stations, which others may have changed."""
        try:
            found = self._perform(ListStations())
        except Exception:
            self._not_seen(Failure())
            return
        if type(found) is Deferred:
            found.addCallbacks(self._seen, self._not_seen)
        else:
            self._seen(found)

    def _seen(self, stations: Any) -> None:
        self._next_look()
        if self._groups:
            self.see(stations)

    def _not_seen(self, failure: Failure) -> None:
        self._next_look()
        if not failure.check(Unavailable):
            self.log.failure("The stations could not be looked at", failure=failure)

    def _next_look(self) -> None:
        if self._groups and self._look_again is None:
            self._look_again = self._clock.callLater(LOOK_S, self._look)

    # Telling

    def _wake(self, at: float) -> None:
        """Have the next tick at `at`, unless one is before, or a round is under way."""
        if self._turn is not None:
            return
        delay = max(0.0, at - self._clock.seconds())
        if self._tick is None:
            self._tick = self._clock.callLater(delay, self._tell)
        elif self._tick.getTime() > at:
            self._tick.reset(delay)

    def _tell(self) -> None:
        """Begin a round: whoever may be told something is served, in slices."""
        self._tick = None
        if self._turn is not None:
            # One is under way, which plans the next.
            return
        now = self._clock.seconds()
        for group in [group for group in self._changed if group.tell_at <= now + MARGIN_S]:
            self._changed.discard(group)
            changes, group.changed = group.changed, {}
            self._address(group, changes, now)
        self._queue.extend((subscription, None) for subscription in self._owing)
        self._serve()

    def _address(self, group: Group, changes: Mapping[Change, float], now: float) -> None:
        group.told_at, group.due_at = now, now + group.wishes.interval_s
        line = Line(changes, now, self._data)
        self._queue.extend((subscription, line) for subscription in group.members)

    def _serve(self) -> None:
        self._turn = None
        seconds, queue = self._clock.seconds, self._queue
        ends = seconds() + SLICE_S
        while queue:
            subscription, line = queue.popleft()
            if subscription.listener is not None:
                try:
                    self._offer(subscription, subscription.listener, line)
                except Exception:
                    # The others are to be served all the same.
                    self.log.failure("A subscriber could not be told")
                    subscription.end()
            if queue and seconds() >= ends:
                self._turn = self._clock.callLater(0, self._serve)
                return
        self._plan()

    def _offer(self, subscription: Subscription, listener: Listener, line: Line | None) -> None:
        """Hand over a line, or what is owed; where that cannot be, it is owed from now on."""
        owed, interval_s = subscription.owed, subscription.wishes.interval_s
        at = self._clock.seconds() if line is None else line.at
        can_hear = at >= subscription.told_at + interval_s - MARGIN_S and listener.can_hear
        if line is None:
            if not (owed and can_hear):
                return
            line = Line(owed, at, self._data)
            subscription.owed = {}
            del self._owing[subscription]
            lag_s = None
        elif can_hear and not owed:
            since = line.since
            # Who wishes for longer pauses does not wait for the server.
            is_late = since is not None and interval_s <= self.interval_s
            lag_s = self._clock.seconds() - since if since is not None and is_late else None
        else:
            if line.changes:
                for change, since in line.changes.items():
                    # Of cars it counts since when.
                    owed.setdefault(change, since)
                self._owing[subscription] = None
                self._merged(1)
            return
        subscription.told_at = at
        listener.hear(line.written(listener.form))
        self._sent(listener.form_name, lag_s)

    def _plan(self) -> None:
        """A round is over: plan the next one."""
        now = self._clock.seconds()
        if self._owing:
            self._wake(now + self.interval_s)
        for group in self._changed:
            self._wake(group.tell_at)

    def _look_for_quiet(self) -> None:
        now = self._clock.seconds()
        self._quiet = self._clock.callLater(QUIET_LOOK_S, self._look_for_quiet)
        for group in list(self._groups.values()):
            limit = max(QUIET_S, group.wishes.interval_s)
            if not group.changed and now - group.told_at >= limit - MARGIN_S:
                self._address(group, {}, now)
        if self._queue and self._turn is None:
            self._turn = self._clock.callLater(0, self._serve)

    def _data(self, changes: Mapping[Change, float]) -> dict[str, Any]:
        """The `data` of an event that says how what has changed is now."""
        data: dict[str, Any] = {"seq": self.next_seq()}
        for (topic, key), since in changes.items():
            if topic == STATIONS:
                data.setdefault(STATIONS, {})[key] = live_fields(self._stations.get(key))
            elif topic == FIGURES:
                data[FIGURES] = self.points[-1]
            elif topic == USER:
                data[USER] = self._journeys.found(key)
            elif self.simulation is not None:
                data |= self.simulation.told(topic, since)
        return data
