"""
Drivers of a soak who follow their sessions: reserve, wait in line, decline, are late, stop early,
and look at what has become of them; and whether what they were told adds up.

What may come after what, how long a deadline is, and what a session comes to is worked out here, by
arithmetic of its own.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

import attrs

from benchmarks.soak_audit import LATE_S, SLACK_S, Account, Book, Found, Hold, Wait
from benchmarks.soak_charges import MOST_OFF, Network
from benchmarks.soak_charges import SLACK_S as CLOCK_S

HOLD_MIN, OFFER_MIN, IDLE_MIN = 15.0, 5.0, 30.0
"""How long a reservation holds after the arrival, an offer, and a place for who is charged."""

FREE, WAITING, OFFERED, RESERVED, CHARGING, FINISHED, GONE = (
    "FREE",
    "WAITING",
    "OFFERED",
    "RESERVED",
    "CHARGING",
    "FINISHED",
    "GONE",
)
"""The states of a user; `GONE`: there is none any more."""

LATER = {
    FREE: {FREE},
    WAITING: {WAITING, OFFERED, FREE},
    OFFERED: {OFFERED, FREE},
    RESERVED: {RESERVED, FREE},
    CHARGING: {CHARGING, FINISHED, GONE},
    FINISHED: {FINISHED, GONE},
    GONE: {GONE},
}
"""What may have become of a state when nobody did anything."""

TAKEN = {FREE: FREE, WAITING: WAITING, OFFERED: CHARGING, RESERVED: CHARGING}
"""What ARRIVE and PAYMENT make of a state for certain, and where nothing is free."""

AFTER = {
    "STATUS": {state: {state} for state in LATER},
    "RESERVE": {
        FREE: {FREE, WAITING, RESERVED},
        WAITING: {WAITING, RESERVED},
        OFFERED: {RESERVED},
        RESERVED: {RESERVED},
    },
    "ARRIVE": {state: {CHARGING, after} for state, after in TAKEN.items()},
    "PAYMENT": {state: {CHARGING, after} for state, after in TAKEN.items()},
    "CANCEL": {state: {FREE} for state in (FREE, WAITING, OFFERED, RESERVED)},
    "STOP": {state: {GONE, FINISHED} for state in (CHARGING, FINISHED)},
}
"""What a message makes of a state; what is not here is a `wrong_state`."""

TAKING = ("ARRIVE", "PAYMENT")
"""What has a car be charged."""

ACTIONS = {
    FREE: ["RESERVE", "ARRIVE", "PAYMENT"],
    WAITING: ["CANCEL"],
    OFFERED: ["RESERVE", "ARRIVE", "PAYMENT", "CANCEL"],
    RESERVED: ["ARRIVE", "PAYMENT", "CANCEL"],
    CHARGING: ["STOP"],
    FINISHED: ["STOP"],
}

ALLOWED = {
    "RESERVE": {
        *((200, ""), (200, "no_slot"), (404, "user_not_found"), (409, "already_reserved")),
        *((409, "wrong_state"), (409, "no_compatible_connector"), (409, "waiting_list_full")),
    },
    "ARRIVE": {
        *((200, ""), (200, "no_slot"), (404, "user_not_found"), (409, "already_reserved")),
        *((409, "wrong_state"), (409, "no_compatible_connector")),
    },
    "CANCEL": {(200, ""), (404, "user_not_found"), (409, "wrong_state")},
    "STOP": {(200, ""), (404, "user_not_found"), (409, "wrong_state")},
    "STATUS": {(200, ""), (404, "user_not_found")},
    "RECEIPT": {(200, ""), (404, "receipt_not_found")},
    "HISTORY": {(200, "")},
}
"""The codes and reasons that what is sent here may get."""

ROUNDING_S = 0.02
"""How far instants of the server may be apart that are one, seconds: some are told to the ms."""


def instant(told: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(str(told).replace("Z", "+00:00")).timestamp()


@attrs.define
class Means:
    """By what a driver lives."""

    insist: Callable[[str, dict[str, Any]], Awaitable[tuple[dict[str, Any], int]]]
    """Asks until there is an answer; it, and how often it took asking."""
    sleep: Callable[[float], Awaitable[None]]
    now: Callable[[], float]
    chance: random.Random
    life: Callable[[], int | None]
    """Which of the server's lives it is; None: none."""
    stopping: Callable[[], bool]
    alone: bool = True
    """Whether what START says is never old: the server is one process, with a storage to itself."""


class Visit:
    """One driver's session at a station, or place in its line, from the first wish to the end."""

    def __init__(
        self, means: Means, book: Book, network: Network, user_id: str, account: Account, at: str
    ) -> None:
        self._means, self._book, self._network = means, book, network
        self._user_id, self._account, self._station = user_id, account, at
        self._fragile = at in book.fragile
        self._state = FREE
        self._told: dict[str, Any] = {}
        """What was told of the state last."""
        self._life: int | None = None
        """The server's when it was."""
        self._hold: Hold | None = None
        self._wait: Wait | None = None
        self._arrival_min = 0.0
        self._ours: list[str] = []
        """Receipts of sessions that were reserved or charged."""
        self._declined: list[str] = []
        """Those of offers that were declined, and never taken: there are none."""

    async def run(self) -> None:
        """Make the visit; in the end nothing is held that was not left to itself."""
        chance = self._means.chance
        self._arrival_min = chance.choice((0.0, 10.0, 40.0))
        if chance.random() < 0.2:
            await self._claim("ARRIVE", leaves_when_done=chance.random() < 0.3)
        else:
            await self._claim("RESERVE", wait=True, arrival_minutes=self._arrival_min)
        if self._state == FREE:
            self._book.events["found nothing"] += 1
        act = {
            WAITING: self._in_line,
            OFFERED: self._offered,
            RESERVED: self._on_the_way,
            CHARGING: self._charging,
            FINISHED: self._charged,
        }
        looks = 0
        while self._state in act and not self._means.stopping():
            await act[self._state]()
            looks += 1
        if not self._means.stopping():
            await self._settle()

    # What drivers do

    async def _in_line(self) -> None:
        way = self._means.chance.random()
        await self._think()
        if way < 0.05:
            await self._do("CANCEL")
        elif way < 0.4 and self._means.alone:
            await self._look_for_free()
        else:
            await self._do("STATUS")

    async def _offered(self) -> None:
        way = self._means.chance.random()
        if way < 0.5:
            await self._claim("RESERVE", arrival_minutes=self._arrival_min)
        elif way < 0.65:
            await self._claim("ARRIVE")
        elif way < 0.75:
            await self._claim("PAYMENT", confirmation=True)
        elif way < 0.85:
            self._declined.append(self._told["receipt_id"])
            await self._do("CANCEL")
        else:
            await self._be_late()

    async def _on_the_way(self) -> None:
        chance, way = self._means.chance, self._means.chance.random()
        await self._think()
        if way < 0.1:
            await self._do("CANCEL")
        elif way < 0.2:
            await self._be_late()
        elif way < 0.55:
            await self._do("STATUS")
        elif way < 0.65:
            await self._claim("PAYMENT", confirmation=True)
        else:
            await self._claim("ARRIVE", leaves_when_done=chance.random() < 0.3)

    async def _be_late(self) -> None:
        """Come when the deadline has passed: what was held is not honoured any more."""
        expires, receipt = self._told["expires_timestamp"], self._told["receipt_id"]
        # A server that was away has given it two minutes, for which no end of the soak waits.
        while (left_s := expires + ROUNDING_S - self._means.now()) > 0:
            if self._means.stopping():
                return
            await self._means.sleep(min(left_s, 1.0))
        self._book.events["late"] += 1
        # A server that was away gives holds more time, of which nothing is told until it is asked;
        # it may be away while it is asked, too.
        life = self._life
        same = life is not None and life == self._means.life()
        await self._claim("ARRIVE")
        if self._state == CHARGING and same and life == self._means.life():
            told = f"a hold was honoured after its deadline, {expires}: {self._told}"
            self._find(told, self._told["receipt_id"] == receipt)

    async def _charging(self) -> None:
        way = self._means.chance.random()
        await self._think()
        if way < 0.15:
            await self._do("STOP", leave=True, receipt_id=self._told["receipt_id"])
        elif way < 0.25:
            await self._do("STOP", leave=False, receipt_id=self._told["receipt_id"])
        else:
            await self._do("STATUS")

    async def _charged(self) -> None:
        way = self._means.chance.random()
        await self._think()
        if way < 0.4:
            await self._do("STOP", leave=True, receipt_id=self._told["receipt_id"])
        else:
            await self._do("STATUS")

    async def _think(self) -> None:
        await self._means.sleep(self._means.chance.uniform(0.2, 1.5))

    async def _look_for_free(self) -> None:
        """Nothing that fits is free at a station while somebody waits there."""
        wait = self._wait
        reply, _ = await self._means.insist("START", {"stations": [self._station]})
        await self._do("STATUS")
        if self._state != WAITING or self._wait is not wait or reply["status"]["code"] != 200:
            return
        shown = reply["data"]["station_models"].get(self._station)
        if shown is None:
            self._find("START does not show the station")
            return
        free = {evse["uid"] for evse in shown["evses"] if evse["status"] == "AVAILABLE"}
        fitting = free & self._network.fitting(self._account.car, self._station)
        self._find(f"free at the same time are {fitting}: {shown}", fitting)
        self._find(f"the line there is empty: {shown}", shown["queue_length"] < 1)
        check_station(self._book, self._station, shown)
        self._book.events["looked for a free EVSE"] += 1

    async def _settle(self) -> None:
        """In the end, see the receipts of what was held; and leave."""
        means = self._means
        for receipt in self._ours:
            reply, _ = await means.insist("RECEIPT", {"receipt_id": receipt})
            self._find(f"there is no receipt {receipt}: {reply}", reply["status"]["code"] == 404)
            if reply["status"]["code"] == 200:
                self._check_receipt(reply["data"])
        for receipt in self._declined:
            reply, _ = await means.insist("RECEIPT", {"receipt_id": receipt})
            self._find(f"an offer has a receipt: {reply}", reply["status"]["code"] == 200)
        if self._account.driver_id and self._ours:
            asked = {"driver_id": self._account.driver_id}
            until = means.now() + LATE_S
            while True:
                reply, _ = await means.insist("HISTORY", asked)
                told = [one["receipt_id"] for one in reply["data"].get("receipts", ())]
                if set(self._ours) <= set(told) or means.now() > until:
                    break
                # What is over by its time is listed when the sweep has come.
                await means.sleep(0.2)
            wrong = told != sorted(told, reverse=True) or not set(self._ours) <= set(told)
            self._find(f"HISTORY has {told}; there are {self._ours}", wrong)
        if self._state == FREE:
            data = {"id_station": self._station, "confirmation": False}
            await means.insist("PAYMENT", {"user_id": self._user_id, **data})
        self._account.stage = "left"
        self._book.events["visits"] += 1

    # What they are told

    def _find(self, what: str, wrong: object = True) -> None:
        account = self._account
        told = f"{account.name}, a {account.car} at {self._station}, was {self._state}"
        self._book.find(f"{told}: {what}", wrong)

    async def _claim(self, kind: str, **data: Any) -> None:
        """Ask for an EVSE here, or a place in line."""
        if self._account.arrival_percent is not None:
            data["arrival_percent"] = self._account.arrival_percent
        await self._do(kind, id_station=self._station, **data)

    async def _do(self, kind: str, **data: Any) -> None:
        """Ask for something, and see whether what has become of it may have."""
        means, before = self._means, self._state
        life = means.life()
        asked = means.now()
        reply, times = await means.insist(kind, {"user_id": self._user_id, **data})
        answered = means.now()
        code, told = reply["status"]["code"], reply["data"]
        reason = told.get("reason", "")
        same_life = life is not None and life == means.life()
        if code == 404:
            after = GONE
        elif kind == "STOP" and code == 200 and "final" in told:
            after = GONE
            self._check_receipt(told)
        elif code == 409:
            self._refused(kind, reason, told, times)
            return
        else:
            after = told.get("state") or (WAITING if before == WAITING else FREE)
        if not self._may_be(kind, before, after, asked, answered, times, same_life):
            self._find(f"after {kind}, asked {times} times, it is {after}: {reply}")
        not_asked = kind == "RESERVE" and data.get("wait") and reason == "no_slot"
        self._find(f"somebody who would wait was told {reply}", not_asked)
        self._become(after, told, asked, answered, same_life and times == 1, kind)

    def _refused(self, kind: str, reason: str, told: dict[str, Any], times: int) -> None:
        """A 409: nothing has changed."""
        if reason == "no_compatible_connector":
            fits = self._network.fits(self._account.car, self._station)
            self._find(f"a car that fits was told {told}", fits)
        elif reason == "wrong_state":
            # It may have begun to charge by an earlier one that was not answered.
            told_state = told.get("state")
            possible = LATER.get(self._state, set())
            wrong = times == 1 and (told_state not in possible or told_state in AFTER[kind])
            self._find(f"{kind} was refused: {told}", wrong and not self._fragile)
            self._state = told_state or GONE
        else:
            self._find(f"{kind} was refused: {told}", reason != "waiting_list_full")

    def _may_be(
        self,
        kind: str,
        before: str,
        after: str,
        asked: float,
        answered: float,
        times: int,
        same_life: bool,
    ) -> bool:
        """Whether a state may be what has become of one before."""
        if after == GONE and before in (FREE, WAITING, OFFERED, RESERVED):
            if times > 1 and kind in TAKING:
                # It may have charged by an earlier one that was not answered, and be over.
                return True
            # A place or a hold may have ended unseen, and the sweep come then.
            return self._account.asked + self._book.ttl_s - SLACK_S < answered
        if self._fragile or times > 1:
            return True
        within = LATER[before]
        due = self._told.get("expires_timestamp") or self._told.get("estimated_timestamp")
        if same_life and self._life == self._means.life() and due is not None and before != WAITING:
            if answered < due - ROUNDING_S:
                within = {before}
            elif asked > due + ROUNDING_S:
                within = within - {before}
        possible = set().union(*(AFTER[kind].get(state, ()) for state in within))
        return after in possible or (after == GONE and GONE in within)

    def _become(
        self,
        after: str,
        told: dict[str, Any],
        asked: float,
        answered: float,
        is_new: bool,
        kind: str,
    ) -> None:
        """Note a state, and check what was told of it."""
        before, old = self._state, self._told
        self._state = after
        if after in (FREE, GONE):
            self._told, self._hold, self._wait = {}, None, None
            return
        if kind == "PAYMENT":
            # It says the session in its own words.
            self._book.events["paid ahead"] += 1
            if before in (OFFERED, RESERVED) and answered < old["expires_timestamp"] - ROUNDING_S:
                # Else it may have come without one, as anybody may.
                another = is_new and old["receipt_id"] != told["receipt_id"] and not self._fragile
                self._find(f"it has another receipt: {told}", another)
            # Not since it was answered: who asks again after a crash learns late of it.
            self._keep(told["receipt_id"], told["id_evse"], self._network.began(told), asked)
            self._wait = None
            self._told, self._life = told, self._means.life()
            self._own(told["receipt_id"])
            return
        self._find(f"it is at another station: {told}", told["id_station"] != self._station)
        if after == WAITING:
            self._hold = None
            self._check_place(told, asked, before)
        else:
            self._wait_ended(after, told, answered)
            since = instant(told["since"])
            if self._hold is not None and self._told.get("receipt_id") == told["receipt_id"]:
                moved = self._hold.evse != told["id_evse"]
                self._find(f"it is at another EVSE: {told}", moved and not self._fragile)
            self._keep(told["receipt_id"], told["id_evse"], since, asked)
            if after != OFFERED:
                self._own(told["receipt_id"])
            # Of a server that was away meanwhile a hold has more time.
            is_new = is_new and before != after and since > self._book.killed
            self._check_session(after, told, since, is_new)
        if "actions" in told:
            self._find(f"it may do {told['actions']}", told["actions"] != ACTIONS[after])
        self._told, self._life = told, self._means.life()

    def _own(self, receipt: str) -> None:
        """A session that was reserved or charged will have a receipt."""
        if receipt not in self._ours:
            self._ours.append(receipt)

    def _keep(self, receipt: str, evse: str, since: float, asked: float) -> None:
        """An EVSE was held when it was asked for, and since then."""
        if self._hold is None or self._hold.evse != evse or self._hold.receipt != receipt:
            self._hold = Hold(evse, receipt, since, since, self._account.name)
            if not self._fragile:
                # There it may have been moved to another EVSE, and back, unseen.
                self._book.holds.append(self._hold)
        self._hold.until = max(self._hold.until, asked)
        self._book.events["sessions seen"] += 1

    def _wait_ended(self, after: str, told: dict[str, Any], answered: float) -> None:
        wait, self._wait = self._wait, None
        if wait is not None and after == OFFERED:
            wait.offered = instant(told["since"])
            wait.evse = told["id_evse"]
            wait.told = answered

    def _check_place(self, told: dict[str, Any], asked: float, before: str) -> None:
        since = instant(told["since"])
        if self._wait is None or self._wait.since != since:
            again = before == WAITING
            self._find(f"its place is another one: {told}", again and not self._fragile)
            returned = before != FREE
            car, station = self._account.car, self._station
            self._wait = Wait(self._account.name, car, station, since, since, returned)
            self._book.waits.append(self._wait)
        self._wait.until = max(self._wait.until, asked)
        old = self._told.get("position") if before == WAITING else None
        position, length = told["position"], told["queue_length"]
        self._find(f"{position} in a line of {length}", not 1 <= position <= length)
        fell = old is not None and position > old and not self._fragile
        self._find(f"its position was {old}, and is {position}", fell)
        eta = [told[f"eta_{name}minutes"] for name in ("earliest_", "", "latest_")]
        if None in eta:
            self._find(f"its turn is expected {eta}", not self._fragile or eta != [None] * 3)
        else:
            wrong = not 0 <= eta[0] <= eta[1] + 1e-6
            # Else those before may go to other EVSEs when all is late, and mine be free sooner.
            wrong = wrong or (eta[1] > eta[2] + 1e-6 and self._network.alike(self._station))
            self._find(f"its turn is expected {eta}", wrong)

    def _check_session(self, state: str, told: dict[str, Any], since: float, is_new: bool) -> None:
        """What is told of a session, by arithmetic of our own."""
        network, account = self._network, self._account
        start, target = told["start_percent"], told["target_percent"]
        right = (account.start_percent, account.target_percent)
        far = abs(start - right[0]) > 1e-5 or abs(target - right[1]) > 1e-5
        self._find(f"it is to charge from {right[0]:g} to {right[1]:g} %: {told}", far)
        battery, most = told["battery_percent"], max(start, target)
        self._find(f"it is over {most:g} %: {told}", battery is not None and battery > most + 1e-5)
        capacity = network.cars[account.car]["battery_capacity"]
        if battery is not None:
            energy = (battery - start) / 100 * capacity
            self._find(f"{energy} kWh are charged: {told}", abs(energy - told["energy_kwh"]) > 1e-4)
        known = told["id_evse"] in network.evses[self._station]
        self._find(f"the station has no EVSE {told['id_evse']}", not known)
        if known and state == CHARGING and "server_timestamp" in told and target > start:
            passed = (told["server_timestamp"] - since) * network.time_scale / 60
            took = network.shortest(account.car, self._station, told["id_evse"], start, battery)
            off = abs(took - min(passed, took if battery >= target - 1e-6 else math.inf))
            wrong = off > 2 * MOST_OFF * took + ROUNDING_S * network.time_scale / 60
            self._find(f"{passed:.3f} minutes have passed, and it took {took:.3f}: {told}", wrong)
        span = {
            OFFERED: OFFER_MIN,
            RESERVED: self._arrival_min + HOLD_MIN,
            FINISHED: IDLE_MIN,
        }.get(state)
        if span is not None and is_new:
            right_s = span * 60 / network.time_scale
            off = abs(told["expires_timestamp"] - since - right_s)
            self._find(f"it should hold for {right_s:g} s: {told}", off > ROUNDING_S)

    def _check_receipt(self, told: dict[str, Any]) -> None:
        """What a session came to."""
        network, account = self._network, self._account
        energy, start, end = told["energy_kwh"], told["start_percent"], told["end_percent"]
        capacity = network.cars[account.car]["battery_capacity"]
        receipt = told["receipt_id"]
        self._find(f"it is over, and has no final receipt: {told}", not told["final"])
        known = self._book.totals.setdefault(receipt, (told["total"], told["state"]))
        changed = known != (told["total"], told["state"])
        self._find(f"its receipt was {known}, and is {told}", changed)
        charged = (end - start) / 100 * capacity
        self._find(f"{charged} kWh were charged: {told}", abs(charged - energy) > 1e-4)
        over = end > max(start, account.target_percent) + 1e-5
        self._find(f"it was charged to {end} %: {told}", over)
        began, until, minutes = told["started"], told["charged_until"], told["charge_minutes"]
        evse = told["id_evse"]
        if began is not None and evse in network.evses[self._station]:
            took = network.shortest(account.car, self._station, evse, start, end)
            wrong = abs(took - minutes) > MOST_OFF * 2 * took + 0.01
            self._find(f"it takes {took:.3f} minutes: {told}", wrong)
            passed = (instant(until) - instant(began)) * network.time_scale / 60
            off = abs(passed - minutes) > ROUNDING_S * network.time_scale / 60
            self._find(f"{passed:.3f} minutes are between begin and end: {told}", off)
        if self._station in network.prices:
            price = network.prices[self._station]
            cost = (Decimal(str(energy)) * price).quantize(Decimal("0.01"), ROUND_HALF_UP)
            self._find(f"it costs {cost}: {told}", told["total"] != float(cost))
        reasons = {
            "COMPLETED": {"target", "stopped", "idle_limit", "journey_ended", "operator"},
            "CANCELLED": {"cancelled", "journey_ended", "operator"},
            "NO_SHOW": {"expired"},
        }.get(told["state"], set())
        self._find(f"it ended so: {told}", told["end_reason"] not in reasons)


def check_station(book: Book, station: str, shown: dict[str, Any]) -> None:
    """What START says of one station with its EVSEs: their number adds up."""
    status = Counter(evse["status"] for evse in shown["evses"])
    held = status["RESERVED"] + status["CHARGING"] + status["BLOCKED"]
    free, slots = shown["available_slots"], shown["max_slots"]
    told = f"START shows {free} of {slots} free at station {station}, and {dict(status)}"
    # The EVSE of a vehicle that is out of service is shown as what it is.
    adds_up = free == status["AVAILABLE"] and free + held <= slots <= len(shown["evses"])
    book.find(told, not adds_up)
    if set(status) <= {"AVAILABLE", "RESERVED", "CHARGING", "BLOCKED"}:
        book.find(told, free + held != slots)
    groups = shown["evse_groups"]
    told = f"START shows {free} free at station {station}, and {groups}"
    book.find(told, sum(group["available"] for group in groups) != free)


def audit_sessions(book: Book, network: Network, found: Found | None) -> str:
    """
    Hold what drivers were told of their sessions against one another, and against the storage.

    :param found: what the storage holds; None: that is not known.
    :return: what to print; what is wrong is in the book's findings.
    """
    _audit_holds(book, network)
    _audit_order(book, network)
    if found is not None:
        _audit_money(book, found)
    offers = sum(wait.offered is not None for wait in book.waits)
    return (
        f"sessions: {len(book.holds)} holds, {len(book.waits)} places in line, {offers} offers, "
        f"{len(book.totals)} receipts"
    )


def _audit_holds(book: Book, network: Network) -> None:
    """No EVSE was held by two at once."""
    by_evse: dict[str, list[Hold]] = defaultdict(list)
    for hold in book.holds:
        by_evse[hold.evse].append(hold)
    for charge in book.charges:
        held = Hold(
            charge.told["id_evse"],
            charge.told["receipt_id"],
            # Not from its answer on: who asks again after a crash learns late of it.
            network.began(charge.told),
            charge.held_until - CLOCK_S,
            charge.account.name,
        )
        by_evse[held.evse].append(held)
    for holds in by_evse.values():
        holds.sort(key=lambda hold: hold.since)
        for one, other in pairwise(holds):
            twice = (
                other.since < one.until - ROUNDING_S - book.disorder_s
                and one.receipt != other.receipt
                # What charged nothing was there for no time: perhaps just before the other one.
                and (other.until >= other.since or other.since >= one.since + ROUNDING_S)
            )
            book.find(f"an EVSE was held twice: {one}, {other}", twice)


def _audit_order(book: Book, network: Network) -> None:
    """Offers went to the first in line who fits."""
    by_station: dict[str, list[Wait]] = defaultdict(list)
    for wait in book.waits:
        by_station[wait.station].append(wait)
    for station, waits in by_station.items():
        for wait in waits:
            if wait.offered is None or wait.returned:
                continue
            for other in waits:
                if (
                    other.since < wait.since - ROUNDING_S - book.disorder_s
                    and wait.went_first(other, ROUNDING_S + book.disorder_s)
                    and wait.evse in network.fitting(other.car, station)
                ):
                    book.find(f"{wait} was offered an EVSE before {other}")


def _audit_money(book: Book, found: Found) -> None:
    """What was paid for each session, and given back, is the total of its receipt."""
    paid: dict[str, Decimal] = defaultdict(Decimal)
    for payment in found.payments:
        paid[payment.refund_of or payment.receipt_id] += payment.amount
    for receipt, (total, state) in book.totals.items():
        sum_of = paid[receipt]
        told = f"{sum_of} was paid for {receipt}, {state}, which came to {total}"
        book.find(told, sum_of != Decimal(str(total)).quantize(Decimal("0.01")))
