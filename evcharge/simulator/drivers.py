"""
What a driver does, as a generator that knows messages, and no engine.

It yields :class:`Ask`, and is sent what was :class:`Said`; or :class:`Sleep`, and is sent None when
the time has come, or how its journey stands, where it listens and that has changed meanwhile. It
returns how the journey ended, one of :data:`evcharge.simulator.replication.OUTCOMES`. So it may be
driven by virtual time, in a server's own process, or over a connection.

A driver knows what replies say, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from math import inf
from typing import Any, TypeAlias

import attrs

from evcharge.models.session import FREE, OFFERED, RESERVED, WAITING
from evcharge.models.terms import MOST_ARRIVAL_MINUTES
from evcharge.simulator.arrivals import Person
from evcharge.simulator.distributions import Distribution, pick
from evcharge.simulator.doing import DRIVING, STANDING_AT_EVSE, STANDING_IN_LINE, Doing
from evcharge.simulator.known import Known
from evcharge.simulator.parts import Driver, Point
from evcharge.simulator.streams import to_the_ms
from evcharge.utils.geo_utils import distance_km

OLD_TARGET_PERCENT = 80.0
"""To which state of charge those charge who cannot say it."""

LEAST_PERCENT = 0.01
"""To which anybody charges at least: nobody asks for nothing."""

HABIT = "habit"

MINUTE_S = 60.0

PLANS = ("no_plan", "unknown_type", "too_many_stations")
"""Why PLAN may come to nothing: there is none, or the server does not plan such trips."""

MOST_ROAD_FACTOR = 3.0
"""The greatest that PLAN takes."""


@attrs.frozen
class Ask:
    """A request."""

    type: str
    data: Mapping[str, Any]


@attrs.frozen
class Sleep:
    """Wait until an instant, seconds since the epoch; or to be told of one's journey, too."""

    until: float
    listens: bool = False


@attrs.frozen
class Said:
    """A reply: the code of its status, and its data."""

    code: int
    data: Mapping[str, Any]

    @property
    def reason(self) -> Any:
        """Why it is none of a plain success; None of one that is."""
        return self.data.get("reason")


Journey: TypeAlias = Generator[Ask | Sleep, Any, str]
Chosen: TypeAlias = tuple[tuple[str, float] | None, str]
"""A station, and how far away it is, km; or None, and what becomes of the driver."""


@attrs.define(eq=False)
class Diary:
    """What has become of a driver so far. Instants are seconds since the epoch."""

    person: Person
    doing: Doing | None = None
    user_id: str | None = None
    station: str | None = None
    """Where the driver went last."""
    evse: str | None = None
    arrived: float | None = None
    queued: float | None = None
    """When the driver joined a line; the last one, of two."""
    waited_s: float = 0.0
    """How long in lines, all in all."""
    charging: float | None = None
    ended: float | None = None
    """When it ended to charge."""
    left: float | None = None
    kwh: float = 0.0
    paid: float = 0.0
    """BRL."""
    km: float = 0.0
    drive_s: float = 0.0
    within_range: bool | None = None
    """What NAVIGATION said of the trip."""
    finding: str | None = None
    """What was replied that is in no script."""


class Unexpected(Exception):
    """A reply that is in no script."""


@attrs.define
class DriverScript:
    """
    One driver.

    :param diary: is kept while the driver goes.
    :param ways: what drivers do, by distributions.
    :param known: what START has told.
    :param now: the present, seconds since the epoch.
    """

    diary: Diary
    ways: Driver
    known: Known
    now: Callable[[], float]
    percent: float = 0.0
    """What is in the battery."""
    target_percent: float = OLD_TARGET_PERCENT
    is_old: bool = False
    """Whether its application knows the first five messages alone."""

    def run(self) -> Journey:
        """The journey, from the login on."""
        try:
            return (yield from self._journey())
        except Unexpected as error:
            self.diary.finding = str(error)
            return "refused"

    # What is drawn

    def _drawn(self, what: Distribution, purpose: str) -> float:
        return what.draw(self.diary.person.luck(purpose)[0])

    def _happens(self, share: float, purpose: str) -> bool:
        return self.diary.person.luck(purpose)[0] < share

    def _later(self, seconds: float) -> float:
        return self.now() + to_the_ms(seconds)

    # The journey

    def _ask(self, kind: str, *reasons: str, **data: Any) -> Generator[Ask | Sleep, Any, Said]:
        """The reply, which is a success, or one of `reasons`."""
        if self.diary.user_id is not None:
            data = {"user_id": self.diary.user_id, **data}
        said: Said = yield Ask(kind, data)
        if said.reason is not None and said.reason not in reasons:
            raise Unexpected(f"{kind}: {said.code} {said.reason}")
        return said

    def _journey(self) -> Journey:
        person, ways = self.diary.person, self.ways
        self.percent = person.start_percent
        self.is_old = self._happens(ways.old_app, "old_app")
        login = {
            "user_name": f"sim-{person.identity}"[:100],
            "selected_car": person.car,
            "battery_car": self.percent,
        }
        if not self.is_old:
            target = round(self._drawn(ways.target_percent, "target"), 2)
            login["target_percent"] = self.target_percent = min(100.0, max(LEAST_PERCENT, target))
        said = yield from self._ask("LOGIN", **login)
        self.diary.user_id = said.data["user_id"]
        goal = yield from self._look_at_trip()
        chosen, outcome = yield from self._choose(person.place, None, goal)
        outcome = outcome if chosen is None else (yield from self._go(*chosen, "first"))
        if outcome != "turned_away" or chosen is None:
            return outcome
        if not self._happens(ways.second_try, "second_try"):
            return "balked"
        station, _ = chosen
        chosen, _ = yield from self._choose(self.known.place_of(station), station, goal)
        outcome = "balked" if chosen is None else (yield from self._go(*chosen, "second"))
        return "balked" if outcome == "turned_away" else outcome

    def _look_at_trip(self) -> Generator[Ask | Sleep, Any, Point | None]:
        """Ask whether the trip is within range; where it goes, if that is another city."""
        person, ways = self.diary.person, self.ways
        goals = person.zone.trip_to
        if goals:
            goal = goals[int(person.luck("trip_to")[0] * len(goals))]
            km = distance_km(*person.place, *goal) * ways.road_factor
        else:
            goal, km = None, self._drawn(ways.city_trip_km, "trip")
        if km <= 0.0:
            return None
        said = yield from self._ask("NAVIGATION", route_distance=round(km, 3))
        self.diary.within_range = said.data["can_complete"]
        return goal

    def _plan(
        self, place: Point, but: str | None, goal: Point, criterion: str
    ) -> Generator[Ask | Sleep, Any, Chosen | None]:
        """Ask for the first stop of a trip beyond the range, and how far to charge there; None: the
        server plans no such trip."""
        if self.ways.road_factor > MOST_ROAD_FACTOR:
            return None
        asked: dict[str, Any] = {
            "places": [_position(place), _position(goal)],
            "battery_percent": self.percent,
            "criterion": "price" if criterion == "price" else "time",
            "road_factor": self.ways.road_factor,
            "avoid": [] if but is None else [but],
        }
        said = yield from self._ask("PLAN", *PLANS, **asked)
        reserve = said.data.get("reserve_percent_possible")
        if reserve is not None:
            # Who has hardly anything left cannot keep as much as others do.
            said = yield from self._ask("PLAN", *PLANS, **asked, reserve_percent=reserve)
        if said.reason == "no_plan":
            return None, "stranded" if said.data["stations_considered"] else "no_fit"
        if said.reason is not None or not said.data["plan"]["stops"]:
            return None
        stop = said.data["plan"]["stops"][0]
        self.target_percent = round(stop["depart_percent"], 2)
        where = self.known.place_of(stop["id_station"])
        return (stop["id_station"], distance_km(*place, *where)), ""

    def _choose(
        self, place: Point, but: str | None, goal: Point | None
    ) -> Generator[Ask | Sleep, Any, Chosen]:
        """
        Choose a station.

        :param but: one that is not gone to again.
        :param goal: of who goes to another city.
        """
        ways, person, away = self.ways, self.diary.person, None
        criterion = pick(ways.choose.shares, person.luck("choice")[0])
        if goal is not None:
            if not self.is_old and not self.diary.within_range:
                planned = yield from self._plan(place, but, goal, criterion)
                if planned is not None:
                    return planned
            away = self.known.on_the_way(place, goal, but)
            criterion = "distance"
        elif criterion == HABIT and not self.is_old:
            for km, key in self.known.away(place, but):
                if self.known.fits(person.car, key):
                    return (key, km), ""
            return None, "no_fit"
        elif but is not None:
            away = self.known.away(place, but)
        how: dict[str, Any] = {"position": _position(place)}
        if away is not None or self.is_old:
            away = self.known.away(place, but) if away is None else away
            how = {"list_stations": {k: {"distance_origin_position": km} for km, k in away}}
        if not self.is_old:
            how |= {"criterion": "distance" if criterion == HABIT else criterion}
            how |= {"target_percent": self.target_percent}
        said = yield from self._ask("SELECTION_STATION", "no_station", **how)
        if said.reason is not None:
            # In range there was nothing that fits, or there was nothing in range.
            excluded = said.data.get("excluded", {})
            in_range = excluded.get("no_connector", 0) + excluded.get("not_in_service", 0)
            return None, "no_fit" if in_range else "stranded"
        return (said.data["id_station"], said.data["distance_km"]), ""

    def _go(self, station: str, straight_km: float, which: str) -> Journey:
        """Go to a station, and charge there; or be `turned_away`."""
        diary, ways = self.diary, self.ways
        km = straight_km * ways.road_factor
        drive_s = to_the_ms(km / ways.speed_km_h * 3600.0)
        facts = self.known.cars[diary.person.car]
        used = km * facts["energy_consumption"] / facts["battery_capacity"] * 100.0
        if used > 0.0 and used >= self.percent:
            return "stranded"
        arrives_with = round(self.percent - used, 2)
        goal, origin = self.known.place_of(station), diary.person.place
        if diary.station is not None:
            origin = self.known.place_of(diary.station)
        diary.station = station
        if which == "first" and not self.is_old and self._happens(ways.books, "books"):
            said = yield from self._ask(
                "RESERVE",
                "no_slot",
                "no_compatible_connector",
                id_station=station,
                arrival_minutes=min(MOST_ARRIVAL_MINUTES, round(drive_s / MINUTE_S, 3)),
                arrival_percent=arrives_with,
                target_percent=self.target_percent,
            )
            if said.reason is None and self._happens(ways.no_show, "no_show"):
                return "no_show"
        diary.doing = Doing(DRIVING, origin, goal, self.percent, arrives_with)
        yield Sleep(self.now() + drive_s)
        self.percent = arrives_with
        diary.km += km
        diary.drive_s += drive_s
        diary.arrived = diary.arrived or self.now()
        if self.is_old:
            return (yield from self._pay(station))
        return (yield from self._arrive(station, which))

    def _pay(self, station: str) -> Journey:
        """What an old application does: it pays, and the car goes when it is charged."""
        diary = self.diary
        said = yield from self._ask(
            "PAYMENT", "no_slot", "no_compatible_connector", id_station=station, confirmation=True
        )
        if said.reason is not None:
            return "turned_away" if said.reason == "no_slot" else "no_fit"
        # Servers that know no more than such an application tell neither EVSE nor energy.
        kwh = said.data.get("energy_kwh") or 0.0
        diary.charging, diary.evse = self.now(), said.data.get("id_evse")
        self._stand(STANDING_AT_EVSE, self.target_percent)
        told = yield from self._until(said.data["estimated_timestamp"])
        diary.ended = diary.left = self.now()
        begun, until = diary.charging, said.data["estimated_timestamp"]
        if told is not None and self.now() < until:
            # By the operator; such an application does not know the receipt.
            diary.kwh = kwh * (self.now() - begun) / (until - begun)
            return "evicted"
        diary.kwh, diary.paid = kwh, said.data["amount"]
        return "served"

    def _arrive(self, station: str, which: str) -> Journey:
        here = {
            "id_station": station,
            "arrival_percent": self.percent,
            "target_percent": self.target_percent,
        }
        said = yield from self._ask("ARRIVE", "no_slot", "no_compatible_connector", **here)
        if said.reason == "no_compatible_connector":
            return "no_fit"
        if said.reason is None:
            return (yield from self._charge(said, "served"))
        return (yield from self._wait(said, here, which))

    def _wait(self, said: Said, here: Mapping[str, Any], which: str) -> Journey:
        """Join the line, or not."""
        diary, ways = self.diary, self.ways
        eta = said.data["eta_minutes"]
        accepts = self._drawn(ways.accepts_eta_minutes, f"accepts_{which}")
        joins = self._happens(ways.joins_queue, f"joins_{which}")
        if eta is None or not joins or eta > accepts:
            return "turned_away"
        said = yield from self._ask("RESERVE", "waiting_list_full", wait=True, **here)
        if said.reason is not None:
            return "turned_away"
        if said.data["state"] == RESERVED:
            # At this very instant one came free.
            return (yield from self._accepted(here, "served"))
        diary.queued = self.now()
        self._stand(STANDING_IN_LINE, self.percent)
        patience = self._drawn(ways.patience_minutes, f"patience_{which}")
        until = self._later(patience * MINUTE_S) if patience < inf else inf
        while True:
            told: Mapping[str, Any] | None = yield Sleep(until, listens=True)
            if told is None:
                yield from self._ask("CANCEL")
                self._end_wait()
                return "reneged"
            state = told.get("state")
            if state == OFFERED:
                self._end_wait()
                outcome = yield from self._answer(told, here, which)
                if outcome is not None:
                    return outcome
                # It was withdrawn before that, and the place in line is the first one.
                diary.queued = self.now()
            elif state != WAITING:
                # The station is out of service.
                self._end_wait()
                return "turned_away"

    def _stand(self, state: str, to_percent: float) -> None:
        place = self.known.place_of(self.diary.station or "")
        self.diary.doing = Doing(state, place, place, self.percent, to_percent)

    def _end_wait(self) -> None:
        if self.diary.queued is not None:
            self.diary.waited_s += self.now() - self.diary.queued

    def _answer(
        self, offer: Mapping[str, Any], here: Mapping[str, Any], which: str
    ) -> Generator[Ask | Sleep, Any, str | None]:
        """Accept an offer; None: it is withdrawn, and the driver waits again."""
        minutes = self._drawn(self.ways.answers_offer_minutes, f"answer_{which}")
        answers, expires = self._later(minutes * MINUTE_S), offer["expires_timestamp"]
        while True:
            told: Mapping[str, Any] | None = None
            if min(answers, expires) > self.now():
                told = yield Sleep(min(answers, expires), listens=True)
            if told is not None and told.get("state") == WAITING:
                return None
            if answers >= expires or (told is not None and told.get("state") == FREE):
                return "offer_lapsed"
            if told is None:
                break
        yield from self._ask("RESERVE", **here)
        if self._happens(self.ways.no_show, "no_show_after_wait"):
            return "no_show"
        return (yield from self._accepted(here, "served_after_wait"))

    def _accepted(self, here: Mapping[str, Any], outcome: str) -> Journey:
        said = yield from self._ask("ARRIVE", **here)
        return (yield from self._charge(said, outcome))

    def _until(self, until: float) -> Generator[Ask | Sleep, Any, Mapping[str, Any] | None]:
        """Wait while the session goes on; what is told once it is over, or None when it is time."""
        while True:
            told: Mapping[str, Any] | None = None
            if until > self.now():
                told = yield Sleep(until, listens=True)
            if told is None or told.get("reason") is not None or told.get("state") == FREE:
                return told

    def _charge(self, said: Said, outcome: str) -> Journey:
        """Charge to the target, and go, now or later."""
        diary = self.diary
        receipt = {"receipt_id": said.data["receipt_id"]}
        diary.charging, diary.evse = self.now(), said.data["id_evse"]
        self._stand(STANDING_AT_EVSE, self.target_percent)
        told = yield from self._until(said.data["estimated_timestamp"])
        diary.ended = self.now()
        if told is None:
            self.percent = self.target_percent
            stays = self._drawn(self.ways.overstay_minutes, "overstay")
            if stays > 0.0:
                self._stand(STANDING_AT_EVSE, self.percent)
                yield from self._ask("STOP", leave=False, **receipt)
                # Until the operator has it go, at the latest.
                yield from self._until(self._later(stays * MINUTE_S))
        said = yield from self._ask("STOP", **receipt)
        diary.left = self.now()
        diary.kwh, diary.paid = said.data["energy_kwh"], said.data["total"]
        return "evicted" if said.data["end_reason"] == "operator" else outcome


def _position(place: Point) -> Mapping[str, float]:
    return {"latitude": place[0], "longitude": place[1]}
